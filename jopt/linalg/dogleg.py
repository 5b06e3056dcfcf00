# SPDX-License-Identifier: Apache-2.0
r"""Powell's dogleg: the path from 0 to Cauchy's minimiser to Newton's point, followed to the boundary of a ball.

For a positive definite model <g, p> + 1/2 <p, B p> the path

    p_C = -(<g, g> / <g, B g>) g,   p_N = -B^-1 g,   p(t) = t p_C (t <= 1),  p_C + (t - 1) (p_N - p_C) (1 <= t <= 2)

grows in length and falls in the model, so its last point within the ball is a step at least as good as Cauchy's. An
indefinite matrix is replaced by the one with the absolute eigenvalues, which has the same eigenvectors and turns a way up
along negative curvature into a way down.

References: Powell (1970), A hybrid method for nonlinear equations, in Numerical Methods for Nonlinear Algebraic
Equations; Nocedal and Wright (2006), Numerical Optimization, eq. (4.16), Lemma 4.2, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import jax.numpy as jnp

from jopt.linalg.more_sorensen import BallStep, Spectrum
from jopt.types import Scalar


def follow_dogleg(model: Spectrum, radius: Scalar) -> BallStep:
    """Return the last point of the dogleg path within the ball.

    Args:
      model: what `jopt.linalg.more_sorensen.decompose` returned.
      radius: > 0, scalar.

    Returns:
      The step, with what the positive definite model says of it; the shift is 0.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, eq. (4.16).
    """
    c, w = model.coefficients, jnp.abs(model.values)
    w = jnp.maximum(w, jnp.finfo(w.dtype).eps * jnp.max(w))
    w = jnp.where(w == 0, 1, w)  # of the zero matrix
    newton = -c / w
    cauchy = -c * (jnp.sum(c * c) / jnp.sum(w * c * c))
    cc, leg = jnp.sum(cauchy * cauchy), newton - cauchy
    # The leg's crossing of the boundary, by the root that is no difference of near numbers.
    aa, ab, room = jnp.sum(leg * leg), jnp.sum(cauchy * leg), radius * radius - cc
    root = jnp.sqrt(jnp.maximum(ab * ab + aa * room, 0))
    t = jnp.where(ab > 0, room / (ab + root), (root - ab) / jnp.where(aa > 0, aa, 1))
    bent = cauchy + jnp.clip(t, 0, 1) * leg
    p = jnp.where(jnp.sum(newton * newton) <= radius * radius, newton, bent)
    p = jnp.where(room <= 0, cauchy * (radius / jnp.sqrt(cc)), p)
    slope, norm = jnp.sum(c * p), jnp.sqrt(jnp.sum(p * p))
    decrease = -(slope + jnp.sum(w * p * p) / 2)
    return BallStep(jnp.matmul(model.vectors, p, precision="highest"), norm, slope, decrease, jnp.zeros_like(norm))


__all__ = ["follow_dogleg"]

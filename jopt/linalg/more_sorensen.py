# SPDX-License-Identifier: Apache-2.0
r"""The exact minimiser of a quadratic within a ball, from the eigenvalues of its matrix.

    minimise  m(p) = <g, p> + 1/2 <p, A p>   subject to  |p| <= radius

p is a minimiser exactly if (A + s I) p = -g with s >= 0, A + s I positive semidefinite and s (radius - |p|) = 0 (Moré and
Sorensen 1983, Lemma 2.1). With A = V diag(w) V', c = V'g and t = s + w_1, w_1 the least eigenvalue,

    |p(t)|^2 = sum c_i^2 / (w_i - w_1 + t)^2

falls in t > 0, and t is the root of the secular equation 1/radius - 1/|p(t)| = 0, which is nearly linear in t: Newton's
method from the left of the root rises to it without passing it; a bracket guards against rounding. t may be many orders
smaller than w_1, and is found to full relative precision because s itself is never formed on the way.

*Hard case*: c has nothing along the eigenvectors of w_1 < 0, and the rest of p at t = 0 is shorter than the radius. Then
an eigenvector of w_1 fills p up to the boundary: the step by which one leaves a saddle where the gradient does not see the
way down.

References: Moré and Sorensen (1983), Computing a trust region step, SIAM J. Sci. Stat. Comput. 4(3), doi:10.1137/0904038;
Conn, Gould and Toint (2000), Trust-Region Methods, section 7.3, doi:10.1137/1.9780898719857.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt.types import Scalar

# Newton's method on the secular equation doubles the digits in each step; bisection takes over where it leaves the bracket.
SECULAR_ITERATIONS = 40


class Spectrum(NamedTuple):
    """A quadratic model in the basis of its matrix's eigenvectors.

    Attributes:
      values: w, ascending, shape (n,).
      vectors: V, as columns, shape (n, n).
      coefficients: V'g, shape (n,).
    """

    values: jax.Array
    vectors: jax.Array
    coefficients: jax.Array


class BallStep(NamedTuple):
    """The minimiser within a ball.

    Attributes:
      step: p, shape (n,).
      norm: |p|.
      slope: <g, p>.
      decrease: -m(p) >= 0.
      shift: s, 0 inside the ball.
    """

    step: jax.Array
    norm: Scalar
    slope: Scalar
    decrease: Scalar
    shift: Scalar


def decompose(matrix: jax.Array, grads: jax.Array) -> Spectrum:
    """Return the model <g, p> + 1/2 <p, A p> in A's eigenvectors.

    Args:
      matrix: A, symmetric, shape (n, n).
      grads: g, shape (n,).
    """
    values, vectors = jnp.linalg.eigh(matrix)
    return Spectrum(values, vectors, jnp.matmul(vectors.T, grads, precision="highest"))


def minimise_in_ball(model: Spectrum, radius: Scalar) -> BallStep:
    """Return the minimiser of the model within the ball.

    Args:
      model: what `decompose` returned.
      radius: > 0, scalar.

    Returns:
      The step with what the model says of it.
    """
    w, c = model.values, model.coefficients
    eps = jnp.finfo(w.dtype).eps
    size = jnp.maximum(jnp.max(jnp.abs(w)), jnp.finfo(w.dtype).tiny)
    gaps = w - w[0]
    # Below this t an entry along the first eigenvectors is made of rounding.
    least = jnp.maximum(w[0], jnp.maximum(eps * eps * size, jnp.finfo(w.dtype).tiny))
    longest = _norm(c, gaps, least)
    inside = (w[0] > eps * size) & (longest <= radius)
    hard = ~inside & (longest < radius)
    most = jnp.maximum(least, jnp.sqrt(jnp.sum(c * c)) / radius)  # |p| <= |c| / t
    t = jnp.where(inside | hard, least, _root(c, gaps, radius, least, most))
    p = -c / (gaps + t)
    # Fill up along the first eigenvector, on the side where p is already. Only where A is not positive definite.
    room = jnp.sqrt(jnp.maximum(radius * radius - jnp.sum(p * p), 0))
    fill = jnp.where(hard & (w[0] < 0), jnp.where(p[0] < 0, -1, 1) * _fill(p[0], room), 0)
    p = p.at[0].add(fill)
    slope, curvature = jnp.sum(c * p), jnp.sum(w * p * p)
    step = jnp.matmul(model.vectors, p, precision="highest")
    shift = jnp.where(inside, 0, jnp.maximum(t - w[0], 0))
    return BallStep(step, jnp.sqrt(jnp.sum(p * p)), slope, -(slope + curvature / 2), shift)


def _fill(entry: Scalar, room: Scalar) -> Scalar:
    """Return t >= 0 with (|entry| + t)^2 = entry^2 + room^2."""
    return room * room / (jnp.abs(entry) + jnp.sqrt(entry * entry + room * room) + jnp.finfo(room.dtype).tiny)


def _norm(c: jax.Array, gaps: jax.Array, t: Scalar) -> Scalar:
    return jnp.sqrt(jnp.sum(jnp.square(c / (gaps + t))))


def _root(c: jax.Array, gaps: jax.Array, radius: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """Return the t in [low, high] with |p(t)| = radius."""
    close = 4 * jnp.finfo(c.dtype).eps * radius

    def improve(carry: tuple[Scalar, Scalar, Scalar, jax.Array]) -> tuple[Scalar, Scalar, Scalar, jax.Array]:
        t, low, high, k = carry
        p = c / (gaps + t)
        pp = jnp.sum(p * p)
        norm = jnp.sqrt(pp)
        low, high = jnp.where(norm > radius, t, low), jnp.where(norm > radius, high, t)
        newton = t + (norm - radius) / radius * pp / jnp.sum(p * p / (gaps + t))
        # Bisection by the geometric mean: the bracket may span many orders of magnitude.
        t_next = jnp.where((newton > low) & (newton < high), newton, jnp.sqrt(low) * jnp.sqrt(high))
        done = jnp.abs(norm - radius) <= close
        return jnp.where(done, t, t_next), low, high, jnp.where(done, SECULAR_ITERATIONS, k + 1)

    start = (low, low, high, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda carry: carry[3] < SECULAR_ITERATIONS, improve, start)[0]


__all__ = ["BallStep", "Spectrum", "decompose", "minimise_in_ball"]

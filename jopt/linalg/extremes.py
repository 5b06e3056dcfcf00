# SPDX-License-Identifier: Apache-2.0
r"""The ends of a spectrum from a Lanczos run, with bounds that hold for a random start.

The least Ritz value is never below the least eigenvalue, but how far above may it be? Its residual only says that *some*
eigenvalue is near, and before the run has resolved the end of a dense spectrum there are nearer ones than the last. The
start tells more. The vector after k steps is a polynomial in A,

    v_(k+1) = p(A) v_1,      p(t) = prod_i (t - theta_i) / (beta_1 ... beta_k),

and has unit length. So p(lambda)^2 g^2 <= 1 for each eigenvalue, g being the part of v_1 along its eigenvector. |p| grows
beyond the last Ritz value, which bounds the eigenvalue: it lies before the point where |p| = 1 / |g|. In a random direction
of n dimensions |g| < d has a chance of at most d sqrt(2 n / pi). With d such that this is `CHANCE`, the distance s of
the bound from the Ritz value solves

    sum_i log(s + |theta_end - theta_i|) = sum_j log beta_j - log d,

which Newton's method in log s, where the left side is convex, meets from above: stopping early only widens the bound.

Reference: van Dorsselaer, Hochstenbach and van der Vorst (2001), Computing probabilistic bounds for extreme eigenvalues
of symmetric matrices with the Lanczos method, SIAM J. Matrix Anal. Appl. 22(3), section 3 (Lanczos polynomials),
https://ir.cwi.nl/pub/4505; the chance from the density of one coordinate on the sphere, sqrt(n / (2 pi)) at most.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, tree
from jopt.linalg.lanczos import Ritz, Tridiagonal
from jopt.types import Scalar

# Chance that a bound does not hold. A smaller one costs little: the bound widens as its inverse, and shrinks by a factor
# with each step once the end shows.
CHANCE = 1e-3

NEWTON_STEPS = 20


class Extremes(NamedTuple):
    """The ends of a spectrum; NaN if no step was taken.

    Attributes:
      lowest: the least Ritz value, a scalar; the least eigenvalue is at most this, but for `rounding`.
      lowest_error: the least eigenvalue is at least `lowest - lowest_error`, up to the chance `CHANCE` over the start.
      highest: the greatest Ritz value; the greatest eigenvalue is at least this, but for `rounding`.
      highest_error: the greatest eigenvalue is at most `highest + highest_error`, up to the same chance.
      rounding: what rounding may have done, a part of both errors.
    """

    lowest: Scalar
    lowest_error: Scalar
    highest: Scalar
    highest_error: Scalar
    rounding: Scalar

    __repr__ = report.record


@jax.jit
def extremes(form: Tridiagonal, pairs: Ritz) -> Extremes:
    """Return the ends of the spectrum with bounds, from a run with a start of random direction.

    Where the steps fill the space the bounds are rounding. Cost: a few passes over k numbers.

    Args:
      form: what `lanczos` returned for a start from `jopt.linalg.probes.normal`.
      pairs: `ritz(form)`.

    Reference: van Dorsselaer, Hochstenbach and van der Vorst (2001), section 3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jopt.linalg import extremes, lanczos, probes, ritz
      >>> form = lanczos(lambda v: jnp.arange(100.0) * v, probes.normal(jax.random.key(0), jnp.zeros(100)), steps=9)
      >>> ends = extremes(form, ritz(form))
      >>> bool(ends.lowest - ends.lowest_error < 0.0 < ends.lowest)
      True
    """
    values, dtype = pairs.values, pairs.values.dtype
    n, steps = tree.size(form.residual), jnp.maximum(form.taken, 1).astype(dtype)
    taken = jnp.arange(values.size, dtype=jnp.int32) < form.taken
    # Eigenvectors of slots without a step have no part in those with one.
    seen = jnp.sum(jnp.where(taken[:, None], jnp.square(pairs.vectors), 0), axis=0) > 1 / 2
    tiny = float(jnp.finfo(dtype).tiny)
    log_d = jnp.log(jnp.asarray(CHANCE * (jnp.pi / (2 * n)) ** 0.5, dtype))
    total = jnp.sum(jnp.where(taken, jnp.log(jnp.maximum(form.offdiagonal, tiny)), 0)) - log_d
    log_gaps = jnp.log(jnp.abs(values - jnp.stack([values[0], values[-1]])[:, None]))

    def newton(_: int, u: jax.Array) -> jax.Array:
        excess = jnp.sum(jnp.where(seen, jnp.logaddexp(u[:, None], log_gaps), 0), axis=1) - total
        slope = jnp.sum(jnp.where(seen, jax.nn.sigmoid(u[:, None] - log_gaps), 0), axis=1)
        return u - excess / slope

    u = jax.lax.fori_loop(0, NEWTON_STEPS, newton, jnp.full(2, total / steps, dtype))
    errors = jnp.where(form.taken == n, 0, jnp.exp(u)) + pairs.rounding
    return Extremes(values[0], errors[0], values[-1], errors[1], pairs.rounding)

# SPDX-License-Identifier: Apache-2.0
r"""The second-order check: where the gradient vanishes, is it a minimum or a saddle?

No Krylov space of the gradient sees a direction in which the gradient is zero, so a method can end on the ridge of a
saddle as if it were a minimum. Lanczos from a random start sees every direction. Where the least Ritz value of the Hessian
lies below zero by more than rounding, its vector v is a way down: f(x + t v) = f(x) + t^2/2 <v, H v> + O(t^3).

To go on, t is taken from 1, 1/2, 1/4, ... times max(1, |x|_inf), on that side of x where the value is lower, until the
value has fallen by a tenth of what the quadratic promises. If it never does, the solve ends there with SADDLE.

Reference: Nocedal and Wright (2006), Numerical Optimization, theorem 2.3; Kuczyński and Woźniakowski (1992), Estimating
the largest eigenvalue by the power and Lanczos algorithms with a random start, SIAM J. Matrix Anal. Appl. 13(4),
doi:10.1137/0613066.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.curvature import lowest_curvature
from jopt.solvers.objective import Point
from jopt.status import Status
from jopt.types import Params

ACTIONS = ("report", "escape")

# Lanczos steps: the extreme eigenvalues of most matrices show within a few dozen.
STEPS = 32
# Part of the promised decrease that a step away from a saddle has to bring, and halvings of t to find it.
WORTHWHILE = 0.1
HALVINGS = 40
KEY = 0


class Finding(NamedTuple):
    """What the check found.

    Attributes:
      status: the status of the solve: as it was, SADDLE, or RUNNING where there is a lower point to go on from; int32.
      moved: whether there is such a point, bool.
      params: that point; otherwise where the solve stands.
      nfev: evaluations of the objective, int32.
      nhev: Hessian-vector products, int32.
    """

    status: jax.Array
    moved: jax.Array
    params: Params
    nfev: jax.Array
    nhev: jax.Array


def look(objective: Any, point: Point, status: jax.Array, action: str, budget: jax.Array) -> Finding:
    """Look for negative curvature where a solve is about to end CONVERGED.

    Args:
      objective: with the methods `linearize` and `value`.
      point: the point just evaluated.
      status: the status of the solve; any but CONVERGED comes back as it is, at no cost (but in a batch, where JAX makes
        a select of the condition, every trip pays for the check).
      action: "report" or "escape"; the latter looks for a lower point, too.
      budget: evaluations left, int32.
    """
    zero = jnp.zeros((), jnp.int32)
    unseen = Finding(status, jnp.bool_(False), point.params, zero, zero)
    return jax.lax.cond(
        status == Status.CONVERGED, lambda: _examine(objective, point, status, action, budget), lambda: unseen
    )


def _examine(objective: Any, point: Point, status: jax.Array, action: str, budget: jax.Array) -> Finding:
    hvp = objective.linearize(point.params)[1]
    lowest = lowest_curvature(hvp, point.params, KEY, STEPS)
    saddle = lowest.value < -lowest.rounding
    told = jnp.where(saddle, Status.SADDLE, status).astype(jnp.int32)
    if action == "report":
        return Finding(told, jnp.zeros_like(saddle), point.params, jnp.zeros((), jnp.int32), lowest.nhev)
    params, found, nfev = _go_down(objective, point, lowest.vector, lowest.value, saddle, budget)
    return Finding(jnp.where(found, Status.RUNNING, told).astype(jnp.int32), found, params, nfev, lowest.nhev)


def _go_down(
    objective: Any, point: Point, direction: Params, curvature: jax.Array, wanted: jax.Array, budget: jax.Array
) -> Any:
    """Return a lower point along a direction of negative curvature, whether there is one, and the evaluations made."""
    dtype = point.value.dtype

    def lower(t: jax.Array) -> jax.Array:
        value = objective.value(tree.axpy(t, direction, point.params))
        return value < point.value + WORTHWHILE * t * t * curvature / 2

    def try_next(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        t, _, k = carry
        t = jnp.where(k % 2 == 0, jnp.where(k == 0, t, jnp.abs(t) / 2), -t)  # t, -t, t/2, -t/2, ...
        return t, lower(t), k + 1

    start = (jnp.maximum(1, tree.max_abs(point.params)).astype(dtype), jnp.bool_(False), jnp.zeros((), jnp.int32))
    t, found, nfev = jax.lax.while_loop(
        lambda c: wanted & ~c[1] & (c[2] < jnp.minimum(budget, 2 * HALVINGS)), try_next, start
    )
    return tree.axpy(jnp.where(found, t, 0), direction, point.params), found, nfev

# SPDX-License-Identifier: Apache-2.0
"""When a solve has reached the floor of round-off: neither the value nor the gradient improves any more."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt.solvers.info import Info
from jopt.status import Status
from jopt.types import Scalar

# Accepted steps in a row that improve neither the value beyond rounding nor the gradient by half, after which the solve
# counts as stalled. L-BFGS was seen to need up to ten in float32 and up to sixty in float64 (CUTEst GAUSS1LS) before it
# went on to the minimum.
STALL_LIMIT = 60
STALL_GRADIENT = 0.5


class Floor(NamedTuple):
    """The least so far, and for how many accepted steps neither has fallen any more.

    Attributes:
      value: least value, scalar.
      grad: least |g|_inf, scalar.
      stalls: accepted steps since one of them fell, int32.
      blocked: whether the last trial that led away from the accepted point was rejected as not finite, bool.
    """

    value: Scalar
    grad: Scalar
    stalls: jax.Array
    blocked: jax.Array


def no_floor(dtype: Any) -> Floor:
    """Return the floor before the first point."""
    infinity = jnp.full((), jnp.inf, dtype)
    return Floor(infinity, infinity, jnp.zeros((), jnp.int32), jnp.bool_(False))


def find_floor(floor: Floor, info: Info) -> Floor:
    """Compare with the least so far, not with the point before: within its noise a value falls every other step."""
    value = info.point.value
    lower = value < floor.value - float(jnp.finfo(value.dtype).eps) * jnp.abs(value)
    flatter = info.grad_norm < STALL_GRADIENT * floor.grad
    finite = jnp.isfinite(value) & jnp.isfinite(info.grad_norm)
    told = info.accepted | ~finite | (info.step_norm > 0)
    return Floor(
        value=jnp.where(info.accepted & lower, value, floor.value),
        grad=jnp.where(info.accepted & flatter, info.grad_norm, floor.grad),
        stalls=jnp.where(info.accepted, jnp.where(lower | flatter, 0, floor.stalls + 1), floor.stalls),
        blocked=jnp.where(told, ~finite, floor.blocked),
    )


def stalled_or(floor: Floor, status: jax.Array) -> jax.Array:
    """Return what a solve that stands on the floor, or cannot leave its point, has to say; otherwise the status; int32.

    Where the shortest trials were not finite, the end of the domain is in the way and not round-off.
    """
    stalled = (status == Status.RUNNING) & (floor.stalls >= STALL_LIMIT)
    stuck = (status == Status.STALLED) | (status == Status.SEARCH_FAILED)
    ended = jnp.where(stalled, Status.STALLED, status)
    return jnp.where(stuck & floor.blocked, Status.NONFINITE, ended).astype(jnp.int32)

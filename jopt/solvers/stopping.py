# SPDX-License-Identifier: Apache-2.0
"""When to stop: the tests that a solve can be asked for, each with its own status.

    CONVERGED           |g|_inf <= gtol        (within bounds g is the projected gradient, `jopt.linalg.box`)
    TARGET              f <= target
    STEP                |x - x_previous|_inf <= xtol
    DECREASE            |f_previous - f| <= ftol
    RELATIVE_DECREASE   |f_previous - f| <= frtol |f_previous|
    MAX_EVALUATIONS     evaluations >= maxfev
    MAX_ITERATIONS      accepted steps >= maxiter

They are asked of accepted points, in this order, before the solver's own word. A test that was not asked for is absent
from the program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jopt import validate
from jopt.solvers.info import Info
from jopt.status import Status, first_of
from jopt.types import Scalar

Limit = float | jax.Array | None


class Stopping(NamedTuple):
    """The limits of a solve; None leaves a test out.

    Attributes:
      gtol: largest gradient entry, absolute, >= 0; None means sqrt(eps) max(1, |g_0|_inf).
      xtol: largest change of a parameter in a step, absolute, >= 0.
      ftol: change of the value in a step, absolute, >= 0.
      frtol: change of the value in a step relative to the value, >= 0.
      target: value to reach, any number.
      maxiter: accepted steps, >= 0.
      maxfev: evaluations of the objective, >= 1.
    """

    gtol: Limit = None
    xtol: Limit = None
    ftol: Limit = None
    frtol: Limit = None
    target: Limit = None
    maxiter: int | jax.Array = 1000
    maxfev: int | jax.Array | None = None


Tolerance = Callable[[Scalar], Scalar]
"""`|g|_inf -> gtol`: the tolerance in force at a point, which in the first may depend on the gradient there."""


def is_last(tolerance: Tolerance | None, accepted: jax.Array, grad_norm: Scalar) -> jax.Array:
    """Return whether the caller of a solver's step will stop at this point."""
    return jnp.bool_(False) if tolerance is None else accepted & (grad_norm <= tolerance(grad_norm))


def check(function: str, stopping: Stopping) -> Stopping:
    """Return the limits, or raise naming the one outside its range.

    Raises:
      ValueError: if a tolerance is negative or NaN, maxiter < 0 or maxfev < 1.
      TypeError: if a limit is not a number, or a count not a whole number.
    """
    for name in ("gtol", "xtol", "ftol", "frtol"):
        if getattr(stopping, name) is not None:
            validate.number(function, name, getattr(stopping, name), low=0.0)
    if stopping.target is not None:
        validate.number(function, "target", stopping.target)
    validate.integer(function, "maxiter", stopping.maxiter, low=0)
    if stopping.maxfev is not None:
        validate.integer(function, "maxfev", stopping.maxfev, low=1)
    return Stopping(*map(_canonical, stopping[:5]), *map(_counter, stopping[5:]))


def _canonical(limit: Limit) -> Any:
    """Return a number as one type of array whatever it was given as, so that no program is traced for each."""
    return limit if limit is None or isinstance(limit, Tracer) else np.float64(limit)


def _counter(limit: Any) -> Any:
    return limit if limit is None or isinstance(limit, Tracer) else np.int32(min(int(limit), np.iinfo(np.int32).max))


def default_gtol(eps: float, first_grad_norm: Scalar) -> Scalar:
    """Return sqrt(eps) max(1, |g_0|_inf), eps of the least precise parameter."""
    return eps**0.5 * jnp.maximum(1.0, first_grad_norm)


def judge(stopping: Stopping, gtol: Scalar, info: Info, nit: jax.Array, nfev: jax.Array) -> jax.Array:
    """Return the status after a step, int32: a test passed, the solver's own word, or a limit reached."""
    dtype = info.point.value.dtype
    change = jnp.abs(info.decrease)
    cases: list[tuple[jax.Array, Any]] = [(info.accepted & (info.grad_norm <= gtol), Status.CONVERGED)]
    if stopping.target is not None:
        cases.append((info.accepted & (info.point.value <= jnp.asarray(stopping.target, dtype)), Status.TARGET))
    if stopping.xtol is not None:
        cases.append((info.accepted & (info.step_norm <= _finite(stopping.xtol, dtype)), Status.STEP))
    if stopping.ftol is not None:
        cases.append((info.accepted & (change <= _finite(stopping.ftol, dtype)), Status.DECREASE))
    if stopping.frtol is not None:
        previous = jnp.abs(info.point.value + info.decrease)
        small = jnp.isfinite(change) & (change <= jnp.asarray(stopping.frtol, dtype) * previous)
        cases.append((info.accepted & small, Status.RELATIVE_DECREASE))
    cases.append((info.status != Status.RUNNING, info.status))
    return first_of(*cases, *_limits(stopping, nit, nfev), otherwise=Status.RUNNING)


def _finite(limit: Limit, dtype: Any) -> jax.Array:
    """Return a limit below infinity, which is what the change is at the start, where there was no step."""
    return jnp.minimum(jnp.asarray(limit, dtype), jnp.finfo(dtype).max)


def judge_limits(stopping: Stopping, nit: jax.Array, nfev: jax.Array) -> jax.Array:
    """Return the limit reached, or RUNNING; int32."""
    return first_of(*_limits(stopping, nit, nfev), otherwise=Status.RUNNING)


def _limits(stopping: Stopping, nit: jax.Array, nfev: jax.Array) -> list[tuple[jax.Array, Any]]:
    evaluations = [] if stopping.maxfev is None else [(nfev >= stopping.maxfev, Status.MAX_EVALUATIONS)]
    return [*evaluations, (nit >= stopping.maxiter, Status.MAX_ITERATIONS)]

# SPDX-License-Identifier: Apache-2.0
r"""Newton and secant: to a point where the slope of f vanishes.

    Newton    x' = x - f'(x) / f''(x)
    secant    x' = x - f'(x) (x - y) / (f'(x) - f'(y)),   y the point before x

Both minimise the quadratic that they fit, or maximise it where f'' < 0: nothing makes them prefer a minimum, and the
status tells which one was reached. The safeguarded form of Newton does prefer it. It goes along -f' whatever the sign of
the curvature,

    x' = x + a d,   d = -f'(x) / |f''(x)|,   a = 1, 1/2, 1/4, ... until f(x') <= f(x) + c a d f'(x),

so f falls in every step, and it neither cycles nor climbs. Where f'' = 0, d = -f'(x).

Reference: Nocedal and Wright (2006), Numerical Optimization, sections 3.1 and 3.4 (backtracking, modified curvature),
doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jopt import tree, validate
from jopt.status import Status, first_of
from jopt.types import Scalar
from jopt.univariate import engine
from jopt.univariate.record import Record, Sample

# c of Armijo's test, and what a rejected step is multiplied by: Nocedal and Wright (2006), section 3.1 and alg. 3.1.
DECREASE = 1e-4
CONTRACTION = 0.5
# Values nearer than this power of eps, relatively, cannot tell a good step from a bad one: the slopes decide instead
# (the approximate Wolfe test of Hager and Zhang (2005), eq. (4.1), doi:10.1137/030601880).
NOISE_POWER = 2 / 3


class NewtonState(NamedTuple):
    """State of Newton's method.

    Attributes:
      trial: the point to be evaluated next.
      status: a `Status`, int32.
      best: the last accepted point.
      step: trial - best.x.
      gtol: the largest slope that counts as zero; NaN before the first evaluation where it is relative to it.
    """

    trial: Scalar
    status: jax.Array
    best: Sample
    step: Scalar
    gtol: Scalar


class SecantState(NamedTuple):
    """State of the secant method.

    Attributes:
      trial: the point to be evaluated next.
      status: a `Status`, int32.
      best: the last point.
      second: x1, evaluated after x0.
      gtol: the largest slope that counts as zero; NaN before the first evaluation where it is relative to it.
    """

    trial: Scalar
    status: jax.Array
    best: Sample
    second: Scalar
    gtol: Scalar


def newton(
    fun: Any,
    x0: Any,
    args: Any = (),
    *,
    safeguard: bool = False,
    gtol: Any = None,
    maxiter: Any = engine.MAXITER,
    path: bool = False,
) -> Record:
    """Go to a point of zero slope by Newton's method.

    Assumes that `fun` is twice differentiable by JAX. One iteration costs one value with two derivatives.

    Args:
      fun: `fun(x, *args)` giving a real scalar for a scalar x.
      x0: start, a real scalar; narrower than float32, it is taken as float32.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      safeguard: whether to insist on descent: |f''| in place of f'', and steps halved until the value falls.
      gtol: the slope that counts as zero, >= 0; None means sqrt(eps) max(1, |f'(x0)|).
      maxiter: evaluations after the first, >= 0.
      path: whether to record the points evaluated; `maxiter` must then be a Python number.

    Returns:
      A `Record`. CONVERGED: the slope vanishes and the curvature is not negative (where it is zero, second derivatives
      cannot tell a minimum from an inflection). MAXIMUM: the slope vanishes and the curvature is negative, no success.
      NONFINITE, STALLED, UNBOUNDED and MAX_ITERATIONS end at the last accepted point.

    Raises:
      ValueError: for a setting outside its range, or a start that is not finite.
      TypeError: if `fun` is not a function of one scalar giving one, or x0 not a real scalar.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, sections 3.1 and 3.4, doi:10.1007/978-0-387-40065-5.

    Example:
      >>> from jopt import univariate
      >>> record = univariate.newton(lambda t: (t - 3.0) ** 2 * (t + 3.0), 1.5)
      >>> abs(float(record.x) - 3.0) < 1e-2, bool(record.success)
      (True, True)
    """
    x = engine.point("newton", "x0", x0)
    state = NewtonState(
        trial=x,
        status=engine.running(),
        best=engine.nothing(x, 2),
        step=jnp.zeros_like(x),
        gtol=engine.tolerance("newton", "gtol", gtol, jnp.nan, x),
    )
    update = _safeguarded if validate.flag("newton", "safeguard", safeguard) else _plain
    return engine.solve(engine.Method("newton", update, 2, 1), fun, state, args, maxiter, path)


def secant(
    fun: Any,
    x0: Any,
    x1: Any,
    args: Any = (),
    *,
    gtol: Any = None,
    maxiter: Any = engine.MAXITER,
    path: bool = False,
) -> Record:
    """Go to a point of zero slope by the secant method, from two starts.

    Assumes that `fun` is differentiable by JAX. One iteration costs one value with one derivative.

    Args:
      fun: `fun(x, *args)` giving a real scalar for a scalar x.
      x0: first start, a real scalar; narrower than float32, it is taken as float32.
      x1: second start, another number near x0.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      gtol: the slope that counts as zero, >= 0; None means sqrt(eps) max(1, |f'(x0)|).
      maxiter: evaluations after the first two, >= 0.
      path: whether to record the points evaluated; `maxiter` must then be a Python number.

    Returns:
      A `Record` with the states of `newton`; `curvature` is the quotient of the last two differences, NaN where only one
      point was evaluated.

    Raises:
      ValueError: for a setting outside its range, a start that is not finite, or equal starts.
      TypeError: if `fun` is not a function of one scalar giving one, or a start not a real scalar.

    Reference:
      Ortega and Rheinboldt (1970), Iterative Solution of Nonlinear Equations in Several Variables, section 7.2,
      doi:10.1137/1.9780898719468.

    Example:
      >>> from jopt import univariate
      >>> record = univariate.secant(lambda t: (t - 3.0) ** 2 * (t + 3.0), 4.0, 3.5)
      >>> abs(float(record.x) - 3.0) < 1e-2, bool(record.success)
      (True, True)
    """
    first, second = engine.points("secant", x0=x0, x1=x1)
    if not isinstance(first == second, Tracer) and bool(first == second):
        msg = f"secant: x0 and x1 must differ, got {x0!r} and {x1!r}."
        raise ValueError(msg)
    state = SecantState(
        trial=first,
        status=engine.running(),
        best=engine.nothing(first, 1),
        second=second,
        gtol=engine.tolerance("secant", "gtol", gtol, jnp.nan, first),
    )
    return engine.solve(engine.Method("secant", _secant, 1, 2), fun, state, args, maxiter, path)


def _plain(state: NewtonState, sample: Sample, nfev: jax.Array) -> NewtonState:
    del nfev
    return _moved(state, sample, jnp.isfinite(sample.value + sample.slope), -sample.slope / sample.curvature, True)


def _safeguarded(state: NewtonState, sample: Sample, nfev: jax.Array) -> NewtonState:
    first = nfev == 0
    accepted = first | _falls(state.best, sample, state.step)
    curvature = jnp.where(jnp.isfinite(sample.curvature) & (sample.curvature != 0), jnp.abs(sample.curvature), 1)
    finite = jnp.isfinite(sample.value + sample.slope)
    return _moved(state, sample, accepted & finite, -sample.slope / curvature, first | (sample.value == -jnp.inf))


def _moved(state: NewtonState, sample: Sample, accepted: jax.Array, newton_step: Scalar, final: Any) -> NewtonState:
    """Return the state after a trial: moved if accepted, otherwise a shorter step; `final` forbids the latter."""
    gtol = _gtol(state.gtol, sample)
    best = tree.where(accepted, sample, state.best)
    step = jnp.where(accepted, newton_step, CONTRACTION * state.step)
    trial = best.x + step
    status = first_of(
        (final & (sample.value == -jnp.inf), Status.UNBOUNDED),
        (final & ~accepted, Status.NONFINITE),
        *_stationary(accepted, best, gtol),
        (~jnp.isfinite(trial), Status.NONFINITE),
        (trial == best.x, Status.STALLED),
        otherwise=Status.RUNNING,
    )
    return NewtonState(trial, status, best, step, gtol)


def _secant(state: SecantState, sample: Sample, nfev: jax.Array) -> SecantState:
    before = state.best
    gtol = _gtol(state.gtol, sample)
    curvature = (sample.slope - before.slope) / (sample.x - before.x)
    finite = jnp.isfinite(sample.value + sample.slope)
    best = tree.where(finite, sample._replace(curvature=curvature), before._replace(curvature=before.curvature))
    trial = jnp.where(nfev == 0, state.second, sample.x - sample.slope / curvature)
    status = first_of(
        (sample.value == -jnp.inf, Status.UNBOUNDED),
        (~finite, Status.NONFINITE),
        *_stationary(finite, best, gtol),
        (trial == sample.x, Status.STALLED),
        (~jnp.isfinite(trial), Status.NONFINITE),
        otherwise=Status.RUNNING,
    )
    return SecantState(trial, status, best, state.second, gtol)


def _stationary(accepted: jax.Array, best: Sample, gtol: Scalar) -> list[tuple[jax.Array, Any]]:
    flat = accepted & (jnp.abs(best.slope) <= gtol)
    return [(flat & (best.curvature < 0), Status.MAXIMUM), (flat, Status.CONVERGED)]


def _gtol(gtol: Scalar, sample: Sample) -> Scalar:
    """Return the tolerance, made from the first slope where it is not yet known."""
    relative = engine.machine_eps(sample.x) ** 0.5 * jnp.maximum(1.0, jnp.abs(sample.slope))
    return jnp.where(jnp.isnan(gtol), relative, gtol)


def _falls(start: Sample, trial: Sample, step: Scalar) -> jax.Array:
    """Return whether the value falls enough, by Armijo's test or, within the noise of values, by the slopes."""
    promised = step * start.slope
    change = trial.value - start.value
    noise = engine.machine_eps(start.x) ** NOISE_POWER * jnp.abs(start.value)
    by_slope = step * trial.slope <= (2 * DECREASE - 1) * promised
    return (change <= DECREASE * promised) | (by_slope & (jnp.abs(change) <= noise))

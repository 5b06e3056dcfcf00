# SPDX-License-Identifier: Apache-2.0
r"""Golden section and Brent's method: to a minimum of f between two ends, from values alone.

    golden section   two points divide the bracket at 1 - r and r, r = (sqrt(5) - 1) / 2; the part beyond the higher one is
                     left out, and the other one divides what remains in the same ratio: a factor r for each evaluation
    Brent            the minimum of the parabola through the three best points where that shrinks the steps fast enough,
                     a golden section of the larger part otherwise

Golden section ends when high - low <= xtol + rtol |x|. Brent's method ends, with t = xtol + rtol |x| and m the middle of the
bracket, when |x - m| <= 2 t - (high - low) / 2; no step is shorter than t. What either certifies is a width: for a unimodal f the
minimum lies within it, for others a local one (perhaps an end). Values near a minimum differ by less than their rounding
within sqrt(eps) |x|, so a smaller tolerance asks for noise. A value of infinity is only high; but two of them do not tell where
f is lower, so a search that has met no other is no success, however narrow its bracket.

Reference: Kiefer (1953), Sequential minimax search for a maximum, Proc. AMS 4(3), doi:10.2307/2032161; Brent (1973),
Algorithms for Minimization without Derivatives, chapter 5.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jopt import tree
from jopt.status import Status, first_of
from jopt.types import Scalar
from jopt.univariate import engine
from jopt.univariate.record import Record, Sample

# r: the part of a bracket that one evaluation of golden section leaves.
GOLDEN = 0.5 * (5**0.5 - 1)
# The two points at 1 - r and r lie this part of half the bracket from its middle.
OFFSET = 2 * GOLDEN - 1


class GoldenState(NamedTuple):
    """State of golden section.

    Attributes:
      trial: the point to be evaluated next.
      status: a `Status`, int32.
      best: the lower one of the two inner points.
      low: lower end.
      high: upper end.
      left: the inner point nearer to `low`.
      right: the inner point nearer to `high`.
      xtol: absolute tolerance of the width.
      rtol: relative tolerance of the width.
    """

    trial: Scalar
    status: jax.Array
    best: Sample
    low: Scalar
    high: Scalar
    left: Sample
    right: Sample
    xtol: Scalar
    rtol: Scalar


class BrentState(NamedTuple):
    """State of Brent's method for minima.

    Attributes:
      trial: the point to be evaluated next.
      status: a `Status`, int32.
      best: x, the lowest point.
      second: w, the second lowest.
      third: v, the previous value of w.
      low: lower end of the bracket.
      high: upper end of the bracket.
      step: the last step.
      step_before: the one before it, or the length of the part that was divided.
      xtol: absolute tolerance of the minimum.
      rtol: relative tolerance of the minimum.
    """

    trial: Scalar
    status: jax.Array
    best: Sample
    second: Sample
    third: Sample
    low: Scalar
    high: Scalar
    step: Scalar
    step_before: Scalar
    xtol: Scalar
    rtol: Scalar


def golden_section(
    fun: Any,
    low: Any,
    high: Any,
    args: Any = (),
    *,
    xtol: Any = None,
    rtol: Any = None,
    maxiter: Any = engine.MAXITER,
    path: bool = False,
) -> Record:
    """Find a minimum by golden section.

    Assumes that `fun` is unimodal between the ends. One iteration costs one value and shortens the bracket by 0.618.

    Args:
      fun: `fun(x, *args)` giving a real scalar for a scalar x.
      low: lower end, a real scalar; narrower than float32, it is taken as float32. It is not evaluated.
      high: upper end, > low; it is not evaluated either.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      xtol: absolute width at which to end, >= 0; None means eps (high - low).
      rtol: width relative to |x| at which to end, >= 0; None means sqrt(eps).
      maxiter: evaluations after the first two, >= 0.
      path: whether to record points and brackets; `maxiter` must then be a Python number.

    Returns:
      A `Record`: STEP (a success) when the bracket is narrow enough; NONFINITE at a NaN, or if every value met is infinite;
      UNBOUNDED at minus infinity; STALLED when no number lies between the points; MAX_ITERATIONS.

    Raises:
      ValueError: for a setting outside its range, an end that is not finite, or low >= high.
      TypeError: if `fun` is not a function of one scalar giving one, or an end not a real scalar.

    Reference:
      Kiefer (1953), Sequential minimax search for a maximum, Proc. AMS 4(3), doi:10.2307/2032161.

    Example:
      >>> from jopt import univariate
      >>> record = univariate.golden_section(lambda t: (t - 3.0) ** 2 * (t + 3.0), 0.0, 5.0)
      >>> abs(float(record.x) - 3.0) < 1e-3, bool(record.success)
      (True, True)
    """
    a, b = engine.ends("golden_section", low, high)
    xtol_, rtol_ = engine.bracket_tolerances("golden_section", xtol, rtol, engine.machine_eps(a) ** 0.5, a, b)
    middle, half = engine.halves(a, b)
    left, right = engine.nothing(middle - OFFSET * half, 0), engine.nothing(middle + OFFSET * half, 0)
    state = GoldenState(left.x, engine.running(), left, a, b, left, right, xtol_, rtol_)
    return engine.solve(engine.Method("golden_section", _golden, 0, 2), fun, state, args, maxiter, path)


def brent_minimum(
    fun: Any,
    low: Any,
    high: Any,
    args: Any = (),
    *,
    start: Any = None,
    xtol: Any = None,
    rtol: Any = None,
    maxiter: Any = engine.MAXITER,
    path: bool = False,
) -> Record:
    """Find a minimum by Brent's method.

    Assumes that `fun` is unimodal between the ends, and smooth near the minimum. One iteration costs one value.

    Args:
      fun: `fun(x, *args)` giving a real scalar for a scalar x.
      low: lower end, a real scalar; narrower than float32, it is taken as float32. It is not evaluated.
      high: upper end, > low; it is not evaluated either.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      start: the first point, between the ends; None means the golden section nearer to `low`.
      xtol: absolute tolerance of the minimum, >= 0; None means eps (high - low).
      rtol: tolerance of the minimum relative to |x|, >= 0; None means sqrt(eps).
      maxiter: evaluations after the first, >= 0.
      path: whether to record points and brackets; `maxiter` must then be a Python number.

    Returns:
      A `Record`: STEP (a success) when the bracket is narrow enough; NONFINITE at a NaN, or if every value met is infinite;
      UNBOUNDED at minus infinity; STALLED when a step moves nothing; MAX_ITERATIONS.

    Raises:
      ValueError: for a setting outside its range, an end that is not finite, low >= high, or a start beyond the ends.
      TypeError: if `fun` is not a function of one scalar giving one, or an end not a real scalar.

    Reference:
      Brent (1973), Algorithms for Minimization without Derivatives, chapter 5, procedure localmin.

    Example:
      >>> from jopt import univariate
      >>> record = univariate.brent_minimum(lambda t: (t - 3.0) ** 2 * (t + 3.0), 0.0, 5.0)
      >>> abs(float(record.x) - 3.0) < 1e-3, bool(record.success)
      (True, True)
    """
    a, b = engine.ends("brent_minimum", low, high)
    xtol_, rtol_ = engine.bracket_tolerances("brent_minimum", xtol, rtol, engine.machine_eps(a) ** 0.5, a, b)
    middle, half = engine.halves(a, b)
    x = middle - OFFSET * half
    if start is not None:
        x = engine.point("brent_minimum", "start", start).astype(a.dtype)
        if not isinstance(x, Tracer) and not isinstance(a < b, Tracer) and not bool((a <= x) & (x <= b)):
            msg = f"brent_minimum: start must lie between low and high, got {start!r} for {low!r} and {high!r}."
            raise ValueError(msg)
    blank, zero = engine.nothing(x, 0), jnp.zeros_like(x)
    state = BrentState(x, engine.running(), blank, blank, blank, a, b, zero, zero, xtol_, rtol_)
    return engine.solve(engine.Method("brent_minimum", _brent, 0, 1), fun, state, args, maxiter, path)


def _golden(state: GoldenState, sample: Sample, nfev: jax.Array) -> GoldenState:
    first = nfev == 0
    at_left = first | ((nfev > 1) & (sample.x == state.left.x))
    left, right = tree.where(at_left, (sample, state.right), (state.left, sample))
    down = right.value < left.value  # the minimum is not left of the left point
    best = tree.where(~first & down, right, left)
    low = jnp.where(~first & down, left.x, state.low)
    high = jnp.where(first | down, state.high, right.x)
    middle, half = engine.halves(low, high)
    inner = middle + jnp.where(down, OFFSET * half, -OFFSET * half)
    new = engine.nothing(inner, 0)
    moved = tree.where(down, (right, new), (new, left))
    after_left, after_right = tree.where(first, (left, right), moved)
    trial = jnp.where(first, right.x, inner)
    nan = jnp.isnan(sample.value)
    narrow = ~first & (half <= 0.5 * state.xtol + 0.5 * state.rtol * jnp.abs(best.x))
    stuck = ~first & ~(after_left.x < after_right.x)
    status = _status(sample, best, narrow, stuck)
    best = tree.where(nan, state.best, best)
    return GoldenState(trial, status, best, low, high, after_left, after_right, state.xtol, state.rtol)


def _status(sample: Sample, best: Sample, narrow: jax.Array, stuck: jax.Array) -> jax.Array:
    """Return why to end after an evaluation: `narrow` is the test asked for, `stuck` that no further point exists."""
    return first_of(
        (jnp.isnan(sample.value) | ((narrow | stuck) & (best.value == jnp.inf)), Status.NONFINITE),
        (sample.value == -jnp.inf, Status.UNBOUNDED),
        (narrow, Status.STEP),
        (stuck, Status.STALLED),
        otherwise=Status.RUNNING,
    )


def _brent(state: BrentState, sample: Sample, nfev: jax.Array) -> BrentState:
    first, nan = nfev == 0, jnp.isnan(sample.value)
    x, w, v, low, high = _ranked(state, sample, first)
    middle, half = engine.halves(low, high)
    least = state.xtol + state.rtol * jnp.abs(x.x)
    fit, ok = _parabola(x, w, v, low - x.x, high - x.x, state.step_before)
    ok &= ~first & (jnp.abs(state.step_before) > least)
    near_end = (x.x + fit - low < 2 * least) | (high - (x.x + fit) < 2 * least)
    fit = jnp.where(near_end, jnp.where(middle >= x.x, least, -least), fit)
    half_part = 0.5 * jnp.where(x.x >= middle, low, high) - 0.5 * x.x
    step, step_before = tree.where(ok, (fit, state.step), (2 * (1 - GOLDEN) * half_part, 2 * half_part))
    moved = jnp.where(jnp.abs(step) < least, jnp.where(step >= 0, least, -least), step)
    trial = x.x + moved
    status = _status(sample, x, jnp.abs(x.x - middle) < 2 * least - half, trial == x.x)
    best = tree.where(nan, state.best, x)
    return BrentState(trial, status, best, w, v, low, high, step, step_before, state.xtol, state.rtol)


def _ranked(state: BrentState, new: Sample, first: jax.Array) -> tuple[Sample, Sample, Sample, Scalar, Scalar]:
    """Return the three best points after an evaluation, and the bracket."""
    x, w, v = state.best, state.second, state.third
    lower = (new.value <= x.value) & (new.value < jnp.inf)  # two infinite values do not tell where f is lower
    left = new.x < x.x
    end = jnp.where(lower, x.x, new.x)  # the worse of the two becomes an end
    to_low = jnp.where(lower, ~left, left) & ~first
    to_high = jnp.where(lower, left, ~left) & ~first
    is_second = (new.value <= w.value) | (w.x == x.x)
    is_third = (new.value <= v.value) | (v.x == x.x) | (v.x == w.x)
    rest = tree.where(is_second, (new, w), tree.where(is_third, (w, new), (w, v)))
    points = tree.where(lower, (new, x, w), (x, *rest))
    points = tree.where(first, (new, new, new), points)
    return *points, jnp.where(to_low, end, state.low), jnp.where(to_high, end, state.high)


def _parabola(
    x: Sample, w: Sample, v: Sample, to_low: Scalar, to_high: Scalar, step_before: Scalar
) -> tuple[Scalar, jax.Array]:
    """Return the step to the minimum of the parabola through three points, and whether it may be trusted.

    It may if it stays within the bracket and is less than half the step before the last.
    """
    r = (x.x - w.x) * (x.value - v.value)
    q = (x.x - v.x) * (x.value - w.value)
    top, bottom = (x.x - w.x) * r - (x.x - v.x) * q, 2 * (q - r)
    top, bottom = jnp.where(bottom < 0, -top, top), jnp.abs(bottom)
    inside = (top > bottom * to_low) & (top < bottom * to_high)
    return top / bottom, inside & (jnp.abs(top) < jnp.abs(0.5 * bottom * step_before))

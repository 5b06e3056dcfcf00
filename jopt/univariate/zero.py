# SPDX-License-Identifier: Apache-2.0
r"""Bisection and Brent's method: to a zero of f between two ends where it has opposite signs.

    bisection   halve the bracket and keep the half whose ends differ in sign
    Brent       a step by the secant or by inverse quadratic interpolation where that shrinks the steps fast enough,
                half the bracket otherwise

With x the best point, c the end of opposite sign and t = (xtol + rtol |x|) / 2, Brent's method ends when |c - x| / 2 < t;
no step is shorter than t. Bisection ends when high - low <= xtol + rtol |x|. What either certifies is a change of sign
within the last bracket; for a continuous function that is a zero, for others it may be a jump or a pole.

Reference: Brent (1973), Algorithms for Minimization without Derivatives, chapter 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.status import Status, first_of
from jopt.types import Scalar
from jopt.univariate import engine
from jopt.univariate.record import Record, Sample

# The relative tolerance in units of eps: Brent (1973), chapter 4, where 4 eps is the least that round-off lets hold.
RTOL_EPS = 4.0
# A step by interpolation may be this part of the way to the other end, less half the tolerance: ibid.
REACH = 0.75


class BisectionState(NamedTuple):
    """State of bisection.

    Attributes:
      trial: the point to be evaluated next.
      status: a `Status`, int32.
      best: the end of least |f|.
      low: lower end.
      high: upper end.
      at_low: f(low).
      at_high: f(high).
      xtol: absolute tolerance of the bracket's width.
      rtol: relative tolerance of the bracket's width.
    """

    trial: Scalar
    status: jax.Array
    best: Sample
    low: Scalar
    high: Scalar
    at_low: Scalar
    at_high: Scalar
    xtol: Scalar
    rtol: Scalar


class BrentState(NamedTuple):
    """State of Brent's method for zeros.

    Attributes:
      trial: the point to be evaluated next.
      status: a `Status`, int32.
      best: the point x of least |f| of the bracket.
      contra: the other end, where f has the opposite sign.
      step: the last step, which led to `trial`.
      step_before: the one before it.
      low: lower end of the bracket.
      high: upper end of the bracket.
      second: the end that is evaluated after the first.
      xtol: absolute tolerance of the zero.
      rtol: relative tolerance of the zero.
    """

    trial: Scalar
    status: jax.Array
    best: Sample
    contra: Sample
    step: Scalar
    step_before: Scalar
    low: Scalar
    high: Scalar
    second: Scalar
    xtol: Scalar
    rtol: Scalar


def bisection(
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
    """Find a zero by halving a bracket.

    Assumes that `fun` is continuous with opposite signs at the ends. One iteration costs one value.

    Args:
      fun: `fun(x, *args)` giving a real scalar for a scalar x.
      low: lower end, a real scalar; narrower than float32, it is taken as float32.
      high: upper end, > low.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      xtol: absolute width at which to end, >= 0; None means eps (high - low).
      rtol: width relative to |x| at which to end, >= 0; None means 4 eps.
      maxiter: halvings at most, >= 0.
      path: whether to record points and brackets; `maxiter` must then be a Python number.

    Returns:
      A `Record`: STEP (a success) when the bracket is narrow enough or f is 0; NO_BRACKET when the ends do not differ in
      sign; NONFINITE at a NaN; STALLED when no number lies between the ends; MAX_ITERATIONS.

    Raises:
      ValueError: for a setting outside its range, an end that is not finite, or low >= high.
      TypeError: if `fun` is not a function of one scalar giving one, or an end not a real scalar.

    Reference:
      Brent (1973), Algorithms for Minimization without Derivatives, section 4.1.

    Example:
      >>> from jopt import univariate
      >>> record = univariate.bisection(lambda t: t**2 - 2.0, 0.0, 2.0)
      >>> abs(float(record.x) - 2.0**0.5) < 1e-6, bool(record.success)
      (True, True)
    """
    a, b = engine.ends("bisection", low, high)
    xtol_, rtol_ = engine.bracket_tolerances("bisection", xtol, rtol, RTOL_EPS * engine.machine_eps(a), a, b)
    unknown = jnp.full_like(a, jnp.nan)
    state = BisectionState(a, engine.running(), engine.nothing(a, 0), a, b, unknown, unknown, xtol_, rtol_)
    return engine.solve(engine.Method("bisection", _bisect, 0, 2), fun, state, args, maxiter, path)


def brent_zero(
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
    """Find a zero in a bracket by Brent's method.

    Assumes that `fun` is continuous with opposite signs at the ends. One iteration costs one value.

    Args:
      fun: `fun(x, *args)` giving a real scalar for a scalar x.
      low: lower end, a real scalar; narrower than float32, it is taken as float32.
      high: upper end, > low.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      xtol: absolute tolerance of the zero, >= 0; None means eps (high - low).
      rtol: tolerance of the zero relative to |x|, >= 0; None means 4 eps.
      maxiter: evaluations after the two ends, >= 0.
      path: whether to record points and brackets; `maxiter` must then be a Python number.

    Returns:
      A `Record`: STEP (a success) when the bracket is narrow enough or f is 0; NO_BRACKET when the ends do not differ in
      sign; NONFINITE at a NaN; STALLED when a step moves nothing; MAX_ITERATIONS.

    Raises:
      ValueError: for a setting outside its range, an end that is not finite, or low >= high.
      TypeError: if `fun` is not a function of one scalar giving one, or an end not a real scalar.

    Reference:
      Brent (1973), Algorithms for Minimization without Derivatives, chapter 4, procedure zero.

    Example:
      >>> from jopt import univariate
      >>> record = univariate.brent_zero(lambda t: t**2 - 2.0, 0.0, 2.0)
      >>> abs(float(record.x) - 2.0**0.5) < 1e-6, bool(record.success)
      (True, True)
    """
    a, b = engine.ends("brent_zero", low, high)
    xtol_, rtol_ = engine.bracket_tolerances("brent_zero", xtol, rtol, RTOL_EPS * engine.machine_eps(a), a, b)
    blank, zero = engine.nothing(a, 0), jnp.zeros_like(a)
    state = BrentState(a, engine.running(), blank, blank, zero, zero, a, b, b, xtol_, rtol_)
    return engine.solve(engine.Method("brent_zero", _brent, 0, 2), fun, state, args, maxiter, path)


def _bisect(state: BisectionState, sample: Sample, nfev: jax.Array) -> BisectionState:
    x, f = sample.x, sample.value
    zero = f == 0
    left = jnp.where(nfev <= 1, nfev == 0, jnp.sign(f) == jnp.sign(state.at_low))
    low, at_low = tree.where(left | zero, (x, f), (state.low, state.at_low))
    high, at_high = tree.where(~left | zero, (x, f), (state.high, state.at_high))
    nearer = ~(jnp.abs(state.best.value) <= jnp.abs(f)) & ~jnp.isnan(f)
    best = tree.where(nearer, sample, state.best)
    middle, half = engine.halves(low, high)
    opened = nfev >= 1
    status = first_of(
        (jnp.isnan(f), Status.NONFINITE),
        (zero, Status.STEP),
        (opened & (jnp.sign(at_low) == jnp.sign(at_high)), Status.NO_BRACKET),
        (opened & (half <= 0.5 * state.xtol + 0.5 * state.rtol * jnp.abs(best.x)), Status.STEP),
        (opened & ((middle == low) | (middle == high)), Status.STALLED),
        otherwise=Status.RUNNING,
    )
    trial = jnp.where(opened, middle, high)
    return BisectionState(trial, status, best, low, high, at_low, at_high, state.xtol, state.rtol)


def _brent(state: BrentState, sample: Sample, nfev: jax.Array) -> BrentState:
    first = nfev == 0
    crossed = (sample.value != 0) & (jnp.sign(state.best.value) * jnp.sign(sample.value) < 0)
    before, contra = state.best, tree.where(crossed, state.best, state.contra)
    length = sample.x - before.x
    step, step_before = tree.where(crossed, (length, length), (state.step, state.step_before))
    swap = jnp.abs(contra.value) < jnp.abs(sample.value)
    x, contra, before = tree.where(swap, (contra, sample, sample), (sample, contra, before))

    half = 0.5 * contra.x - 0.5 * x.x
    least = 0.5 * (state.xtol + state.rtol * jnp.abs(x.x))
    fit = _interpolated(before, x, contra)
    promising = (jnp.abs(step_before) > least) & (jnp.abs(x.value) < jnp.abs(before.value))
    # |fit| < |step_before| / 2 and |fit| < REACH |contra - x| - least / 2, both halved: |contra - x| may overflow.
    short = 0.5 * jnp.abs(fit) < jnp.minimum(0.25 * jnp.abs(step_before), REACH * jnp.abs(half) - 0.25 * least)
    step, step_before = tree.where(promising & short, (fit, step), (half, half))
    moved = jnp.where(jnp.abs(step) > least, step, jnp.where(half > 0, least, -least))
    trial = jnp.where(first, state.second, x.x + moved)
    nan = jnp.isnan(sample.value)
    status = first_of(
        (nan, Status.NONFINITE),
        (x.value == 0, Status.STEP),
        ((nfev == 1) & ~crossed, Status.NO_BRACKET),
        (~first & (jnp.abs(half) < least), Status.STEP),
        (~first & (trial == x.x), Status.STALLED),
        otherwise=Status.RUNNING,
    )
    ends = tree.where(x.value == 0, (x.x, x.x), (jnp.minimum(x.x, contra.x), jnp.maximum(x.x, contra.x)))
    low, high = tree.where(jnp.isnan(ends[0]) | nan, (state.low, state.high), ends)
    nearer = (nfev == 1) & ~crossed & (jnp.abs(state.best.value) < jnp.abs(sample.value))  # of two ends without a zero
    best = tree.where(nan | nearer, state.best, x)
    return BrentState(trial, status, best, contra, step, step_before, low, high, state.second, state.xtol, state.rtol)


def _interpolated(before: Sample, x: Sample, contra: Sample) -> Scalar:
    """Return the step to the zero of the line through two points, or of the inverse parabola through three."""
    line = -x.value * (x.x - before.x) / (x.value - before.value)
    s, q, r = x.value / before.value, before.value / contra.value, x.value / contra.value
    top = s * ((contra.x - x.x) * q * (q - r) - (x.x - before.x) * (r - 1))
    parabola = -top / ((q - 1) * (r - 1) * (s - 1))
    return jnp.where(before.x == contra.x, line, parabola)

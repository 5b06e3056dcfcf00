# SPDX-License-Identifier: Apache-2.0
"""Strong Wolfe search: bracket a minimiser, then shrink the bracket by safeguarded cubic interpolation.

The bracket is a best end l (`low`) and another end u (`high`): psi(l) is the lowest value so far, and a step that passes
the test lies between. Until a step with psi <= 0 and phi' >= 0 is found, psi(a) = phi(a) - phi(0) - decrease a phi'(0)
takes the place of phi, so that the bracket holds a step of sufficient decrease and not just any minimiser. With t the
trial, c the minimiser of the cubic through l and t, q that of the parabola through phi(l), phi'(l), phi(t), and s the
zero of the line through phi'(l) and phi'(t), the next trial is

    1  t higher than l                       c if it is nearer to l than q, otherwise their midpoint; u <- t
    2  lower, slopes of opposite sign        whichever of c and s is farther from t;                   u <- l, l <- t
    3  lower, same sign, flatter             the nearer of c and s (the farther before there is a bracket); l <- t
    4  lower, same sign, not flatter         the minimiser of the cubic through t and u, or the largest step; l <- t

Reference: Moré and Thuente (1994), Line search algorithms with guaranteed sufficient decrease, ACM TOMS 20(3), sections
2 to 4, doi:10.1145/192115.192132. Values that differ by less than their noise count as equal (see conditions.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.linesearch.conditions import (
    Trial,
    both,
    check_constants,
    strong_curvature,
    sufficient_decrease,
    value_noise,
)
from jopt.linesearch.interpolation import cubic_minimiser, nonzero, ratio
from jopt.linesearch.machine import Proposal, check_budget, line_search
from jopt.types import LineSearch, Scalar, described

# Moré and Thuente (1994), section 4 and their code: how far an unbracketed step extrapolates, how near to the far end a
# step of case 3 may come, and how much a bracket must shrink in two trials before it is halved instead.
EXTRAPOLATE_LEAST = 1.1
EXTRAPOLATE_MOST = 4.0
TOWARDS_FAR_END = 0.66
ENOUGH_SHRINKING = 0.66


class Bracket(NamedTuple):
    """Where a good step lies; scalars.

    Attributes:
      low: the best end l.
      high: the other end u, meaningful when `closed`.
      closed: whether low and high enclose a good step.
      modified: whether psi takes the place of phi (the paper's first stage).
      width: |u - l| after the previous trial.
      width_before: |u - l| one trial earlier.
      least: lower limit of the next step.
      most: upper limit of the next step.
    """

    low: Trial
    high: Trial
    closed: jax.Array
    modified: jax.Array
    width: Scalar
    width_before: Scalar
    least: Scalar
    most: Scalar


@described
def strong_wolfe(
    *,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    max_trials: int = 30,
    max_step: float = math.inf,
    noise: float | None = None,
) -> LineSearch:
    """Search for a step that satisfies the strong Wolfe conditions.

    Assumes a continuously differentiable phi. The step accepted has |phi'(a)| <= curvature |phi'(0)| and passes Armijo's
    test, or its approximate form where values are too noisy for it (conditions.py).

    Args:
      decrease: part of the linear decrease that a step must reach, in (0, 1/2).
      curvature: part of the first slope that may remain, in [decrease, 1); 0.1 for nonlinear CG, 0.9 for quasi-Newton.
      max_trials: evaluations allowed before the search goes back to the lowest trial, >= 1.
      max_step: no step is larger, > 0.
      noise: relative error of a value, >= 0; None means eps^(2/3), 0 gives the textbook's exact conditions.

    Raises:
      ValueError: for a setting outside its range.

    Reference:
      Moré and Thuente (1994), Line search algorithms with guaranteed sufficient decrease, doi:10.1145/192115.192132;
      default constants: Nocedal and Wright (2006), Numerical Optimization, section 3.1.
    """
    check_constants("strong_wolfe", decrease, curvature, noise)
    check_budget("strong_wolfe", max_trials, max_step)
    sufficient = sufficient_decrease(decrease, noise)

    def begin(start: Trial, first_step: Scalar) -> Bracket:
        infinite = jnp.full_like(first_step, jnp.inf)
        return Bracket(
            low=start,
            high=start,
            closed=jnp.bool_(False),
            modified=jnp.bool_(True),
            width=infinite,
            width_before=infinite,
            least=jnp.zeros_like(first_step),
            most=(1 + EXTRAPOLATE_MOST) * first_step,
        )

    def refine(bracket: Bracket, start: Trial, trial: Trial) -> Proposal:
        decreased = sufficient(start, trial)
        modified = bracket.modified & ~(decreased & (trial.slope >= 0))
        slack = value_noise(noise, start.value)
        tilted = modified & ~decreased & (trial.value <= bracket.low.value)
        tilt = jnp.where(tilted, decrease * start.slope, 0.0)
        low, high, t = (_tilted(end, tilt) for end in (bracket.low, bracket.high, trial))
        step, closed = _next_step(bracket, low, high, t, slack)
        higher, opposite = t.value > low.value + slack, _opposite(t, low)
        new_high = tree.where(higher, trial, tree.where(opposite, bracket.low, bracket.high))
        new_low = tree.where(higher, bracket.low, trial)
        return _shrink(bracket, new_low, new_high, closed, modified, step)

    return line_search(
        both(sufficient, strong_curvature(curvature)), begin, refine, max_trials=max_trials, max_step=max_step
    )


def _tilted(end: Trial, tilt: Scalar) -> Trial:
    """Return psi at the end instead of phi, up to a constant, when tilt = decrease phi'(0)."""
    return Trial(end.step, end.value - tilt * end.step, end.slope - tilt)


def _opposite(a: Trial, b: Trial) -> jax.Array:
    """Return whether the slopes have opposite signs; their product would underflow where both are small."""
    return jnp.sign(a.slope) * jnp.sign(b.slope) < 0


def _next_step(bracket: Bracket, low: Trial, high: Trial, t: Trial, slack: Scalar) -> tuple[Scalar, jax.Array]:
    """Return the next step by the four cases of the module, and whether the bracket is closed now."""
    higher = t.value > low.value + slack
    opposite = _opposite(t, low)
    flatter = jnp.abs(t.slope) <= jnp.abs(low.slope)
    fourth = ~higher & ~opposite & ~flatter
    onward = jnp.where(t.step > low.step, bracket.most, bracket.least)

    cubic, downhill = cubic_minimiser(tree.where(fourth, high, low), t)
    parabola = low.step + 0.5 * ratio(low.slope, (low.value - t.value) / nonzero(t.step - low.step) + low.slope) * (
        t.step - low.step
    )
    secant = t.step + ratio(t.slope, t.slope - low.slope) * (low.step - t.step)

    near_low = jnp.abs(cubic - low.step) < jnp.abs(parabola - low.step)
    first = jnp.where(near_low, cubic, 0.5 * (cubic + parabola))
    cubic_farther = jnp.abs(cubic - t.step) > jnp.abs(secant - t.step)
    # Two values nearer to each other than their noise make a cubic of noise; the slopes are believed instead.
    indistinct = jnp.abs(t.value - low.value) < slack
    second = jnp.where(cubic_farther & ~indistinct, cubic, secant)
    cubic_3 = jnp.where(downhill, cubic, onward)
    farther_3 = jnp.abs(cubic_3 - t.step) > jnp.abs(secant - t.step)
    # Within a bracket the nearer of the two and not too near the far end; before there is one, the farther.
    third = jnp.where((farther_3 == bracket.closed) | indistinct, secant, cubic_3)
    guard = t.step + TOWARDS_FAR_END * (high.step - t.step)
    guarded = jnp.where(t.step > low.step, jnp.minimum(guard, third), jnp.maximum(guard, third))
    third = jnp.where(bracket.closed, guarded, jnp.clip(third, bracket.least, bracket.most))
    last = jnp.where(bracket.closed, cubic, onward)

    step = jnp.where(higher, first, jnp.where(opposite, second, jnp.where(flatter, third, last)))
    return step, bracket.closed | higher | opposite


def _shrink(
    bracket: Bracket, low: Trial, high: Trial, closed: jax.Array, modified: jax.Array, step: Scalar
) -> Proposal:
    """Return the new bracket and the step made safe: halved where the bracket shrinks too slowly."""
    width = jnp.abs(high.step - low.step)
    slow = width >= ENOUGH_SHRINKING * bracket.width_before
    middle = low.step + 0.5 * (high.step - low.step)
    step = jnp.where(closed & (slow | ~jnp.isfinite(step)), middle, step)
    left, right = jnp.minimum(low.step, high.step), jnp.maximum(low.step, high.step)
    outside = closed & ((step <= left) | (step >= right))
    step = jnp.where(outside, middle, step)
    advance = step - low.step
    return Proposal(
        Bracket(
            low=low,
            high=high,
            closed=closed,
            modified=modified,
            width=jnp.where(closed, width, bracket.width),
            width_before=jnp.where(closed, bracket.width, bracket.width_before),
            least=jnp.where(closed, left, step + EXTRAPOLATE_LEAST * advance),
            most=jnp.where(closed, right, step + EXTRAPOLATE_MOST * advance),
        ),
        step,
        closed & (width <= float(jnp.finfo(step.dtype).eps) * right),
    )

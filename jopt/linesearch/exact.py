# SPDX-License-Identifier: Apache-2.0
r"""Exact search: a minimiser along the line, as a zero of phi'.

The bracket [l, u] keeps phi'(l) < 0 with phi(l) not above phi(0), and phi'(u) >= 0 or phi(u) above phi(0); values are
compared up to their noise. The next trial is

    before there is an upper end    the zero of the line through the last two slopes, l - phi'(l) (t - l)/(phi'(t) - phi'(l))
    within the bracket              the minimiser of the cubic through values and slopes at both ends, or the zero of the
                                    line through the slopes where the values differ by no more than their noise
    where two trials shrank it      the geometric mean of the ends, which needs few trials even where the first step is
    too little                      wrong by many powers of ten

On a quadratic phi' is a straight line, and the second trial is the answer.

Reference: Nocedal and Wright (2006), Numerical Optimization, section 3.5, eq. (3.59), doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linesearch.conditions import Trial, both, no_rise, strong_curvature, value_noise
from jopt.linesearch.interpolation import REACH, believable, cubic_minimiser, secant
from jopt.linesearch.machine import Proposal, check_budget, line_search
from jopt.types import LineSearch, Scalar, described

# Growth of a step where the slope has not risen: rho of Hager and Zhang (2006), doi:10.1145/1132973.1132979.
EXPANSION = 5.0
# Part of a bracket that two trials may leave before it is divided instead: what bisection leaves of it in one.
ENOUGH_SHRINKING = 0.5
# Where a bracket is divided whose lower end is 0, as part of the upper end; the geometric mean would be 0.
PART_OF_HIGH = 0.1


class Bracket(NamedTuple):
    """Where the zero lies; scalars.

    Attributes:
      low: the end where phi falls, at first the start.
      high: the other end, meaningful when `closed`.
      closed: whether there is an upper end.
      width: u - l after the previous trial.
      width_before: u - l one trial earlier.
    """

    low: Trial
    high: Trial
    closed: jax.Array
    width: Scalar
    width_before: Scalar


@described
def exact(
    *,
    tolerance: float | None = None,
    max_trials: int = 60,
    max_step: float = math.inf,
    noise: float | None = None,
) -> LineSearch:
    """Search for a zero of phi' at which phi is not above phi(0).

    Assumes a continuously differentiable phi. The step accepted has |phi'(a)| <= tolerance |phi'(0)| and
    phi(a) <= phi(0) + noise |phi(0)|.

    Args:
      tolerance: part of the first slope that may remain, in [0, 1); None means sqrt(eps) of the dtype.
      max_trials: evaluations allowed before the search goes back to the lowest trial, >= 1.
      max_step: no step is larger, > 0.
      noise: relative error of a value, >= 0; None means eps^(2/3).

    Raises:
      ValueError: for a setting outside its range.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 3.5, doi:10.1007/978-0-387-40065-5.
    """
    check_budget("exact", max_trials, max_step)
    if tolerance is not None:
        validate.number("exact", "tolerance", tolerance, low=0.0, high=1.0, high_open=True)
    if noise is not None:
        validate.number("exact", "noise", noise, low=0.0)
    level = no_rise(noise)

    def flat(start: Trial, trial: Trial) -> jax.Array:
        part = float(jnp.finfo(trial.slope.dtype).eps) ** 0.5 if tolerance is None else tolerance
        return strong_curvature(part)(start, trial)

    def begin(start: Trial, first_step: Scalar) -> Bracket:
        infinite = jnp.full_like(first_step, jnp.inf)
        return Bracket(low=start, high=start, closed=jnp.bool_(False), width=infinite, width_before=infinite)

    def refine(bracket: Bracket, start: Trial, trial: Trial) -> Proposal:
        far = (trial.slope >= 0) | ~level(start, trial)
        low = tree.where(far, bracket.low, trial)
        high = tree.where(far, trial, bracket.high)
        closed = bracket.closed | far
        width = jnp.where(closed, high.step - low.step, jnp.inf)
        slow = width > ENOUGH_SHRINKING * bracket.width_before
        within = _within(low, high, slow, value_noise(noise, start.value))
        step = jnp.where(closed, within, _beyond(bracket.low, trial))
        stuck = closed & (width <= float(jnp.finfo(step.dtype).eps) * high.step)
        return Proposal(Bracket(low, high, closed, width, bracket.width), step, stuck)

    return line_search(both(flat, level), begin, refine, max_trials=max_trials, max_step=max_step)


def _within(low: Trial, high: Trial, slow: jax.Array, slack: Scalar) -> Scalar:
    """Return the minimiser that the ends suggest, or where to divide the bracket instead."""
    cubic, _ = cubic_minimiser(high, low)
    step = jnp.where(jnp.abs(high.value - low.value) <= slack, secant(low, high), cubic)
    divided = jnp.maximum(jnp.sqrt(low.step) * jnp.sqrt(high.step), PART_OF_HIGH * high.step)
    return jnp.where(~slow & believable(step, low, high), step, divided)


def _beyond(low: Trial, trial: Trial) -> Scalar:
    """Return a longer step: by the secant where the slope rises, within its reach."""
    zero = jnp.minimum(secant(low, trial), REACH * trial.step)
    return jnp.where(trial.slope > low.slope, zero, EXPANSION * trial.step)

# SPDX-License-Identifier: Apache-2.0
r"""Exact search: the nearest minimiser along the line, as a zero of phi'.

The bracket [l, u] keeps phi'(l) < 0 with phi(l) not above phi(0), and phi'(u) >= 0 or phi(u) above phi(0); values are
compared up to their noise. Before there is an upper end the next trial is the zero of the line through the last two
slopes, and within the bracket the zero of the line through the slopes at its ends, the slope at an end that stays being
reduced each time (the Pegasus rule), so that both ends close in:

    s = l - phi'(l) (u - l) / (phi'(u) - phi'(l)),    phi'(kept) <- phi'(kept) phi'(old) / (phi'(old) + phi'(new))

On a quadratic phi' is that line, and the second trial is the answer. A bracket that shrinks too slowly is divided at the
geometric mean of its ends, which needs few trials even where the first step is wrong by many powers of ten.

References: Dowell and Jarratt (1972), The "Pegasus" method for computing the root of an equation, BIT 12,
doi:10.1007/BF01932959; Nocedal and Wright (2006), Numerical Optimization, section 3.5, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linesearch.conditions import Test, Trial, both, no_rise, strong_curvature
from jopt.linesearch.interpolation import REACH, believable, ratio, secant
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
      low: the end where phi falls, at first the start; its slope may have been reduced.
      high: the other end, meaningful when `closed`; its slope may have been reduced.
      closed: whether there is an upper end.
      far: whether the previous trial became the upper end.
      width: u - l after the previous trial.
      width_before: u - l one trial earlier.
    """

    low: Trial
    high: Trial
    closed: jax.Array
    far: jax.Array
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
      Dowell and Jarratt (1972), The "Pegasus" method for computing the root of an equation, doi:10.1007/BF01932959.
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
        no, infinite = jnp.bool_(False), jnp.full_like(first_step, jnp.inf)
        return Bracket(low=start, high=start, closed=no, far=no, width=infinite, width_before=infinite)

    def refine(bracket: Bracket, start: Trial, trial: Trial) -> Proposal:
        low, high, far = _enclose(bracket, start, trial, level)
        closed = bracket.closed | far
        width = jnp.where(closed, high.step - low.step, jnp.inf)
        step = jnp.where(closed, _within(bracket, low, high, width), _beyond(bracket.low, trial))
        stuck = closed & (width <= float(jnp.finfo(step.dtype).eps) * high.step)
        return Proposal(Bracket(low, high, closed, far, width, bracket.width), step, stuck)

    return line_search(both(flat, level), begin, refine, max_trials=max_trials, max_step=max_step)


def _enclose(bracket: Bracket, start: Trial, trial: Trial, level: Test) -> tuple[Trial, Trial, jax.Array]:
    """Return the new ends, and whether the trial is the upper one; Pegasus' rule for the end that stays."""
    far = (trial.slope >= 0) | ~level(start, trial)
    replaced = jnp.where(far, bracket.high.slope, bracket.low.slope)
    part = ratio(replaced, replaced + trial.slope)
    part = jnp.where((far == bracket.far) & (part > 0) & (part < 1), part, 1.0)
    kept = tree.where(far, bracket.low, bracket.high)
    kept = kept._replace(slope=part * kept.slope)
    return tree.where(far, kept, trial), tree.where(far, trial, kept), far


def _within(bracket: Bracket, low: Trial, high: Trial, width: Scalar) -> Scalar:
    """Return the zero of the line through the ends' slopes, or where to divide the bracket instead."""
    step = secant(low, high)
    slow = width > ENOUGH_SHRINKING * bracket.width_before
    usable = ~slow & (high.slope >= 0) & believable(step, low, high)
    divided = jnp.maximum(jnp.sqrt(low.step) * jnp.sqrt(high.step), PART_OF_HIGH * high.step)
    return jnp.where(usable, step, divided)


def _beyond(low: Trial, trial: Trial) -> Scalar:
    """Return a longer step: by the secant where the slope rises, within its reach."""
    zero = jnp.minimum(secant(low, trial), REACH * trial.step)
    return jnp.where(trial.slope > low.slope, zero, EXPANSION * trial.step)

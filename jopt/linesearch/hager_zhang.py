# SPDX-License-Identifier: Apache-2.0
r"""Hager and Zhang's search: bracket by slopes, shrink by two secant steps at a time, accept by values or by slopes.

The bracket [l, u] keeps a lower end of sufficient decrease whose slope is too steep, and an upper end that rises or is too
high. (The paper asks of l only that phi(l) is not above phi(0); with Armijo's test there is a step in the bracket that
passes the test advertised.) The trials, each one a trip of the machine:

    expand    before there is an upper end: `expansion` times the trial                                       (B3)
    divide    where u is too high but falls still: l + division (u - l), until its slope is >= 0           (B2, U3)
    first     the secant step through the slopes at l and u                                                  (S1)
    second    the secant step through the slopes at the trial and at the end it replaced, if it lies inside  (S2-S4)
    halve     the midpoint, where both together left more than `shrinking` of the bracket                     (L2)

In a bracket of a convex phi the two secant steps close in from both sides. Near the minimiser the values are noise while
the slopes still tell: there the test is the approximate one (conditions.py), here applied where the value differs from
phi(0) by no more than its noise.

References: Hager and Zhang (2005), A new conjugate gradient method with guaranteed descent and an efficient line search,
SIAM J. Optim. 16(1), section 4, doi:10.1137/030601880; Hager and Zhang (2006), Algorithm 851: CG_DESCENT, ACM TOMS 32(1),
whose names of the stages stand above, doi:10.1145/1132973.1132979.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linesearch.conditions import (
    Trial,
    both,
    check_constants,
    sufficient_decrease,
    weak_curvature,
)
from jopt.linesearch.interpolation import believable, secant
from jopt.linesearch.machine import Proposal, check_budget, line_search
from jopt.types import LineSearch, Scalar, described


class Bracket(NamedTuple):
    """Where a good step lies; scalars.

    Attributes:
      low: the end of sufficient decrease with a negative slope, at first the start.
      high: the other end, meaningful when `closed`; its slope is negative while it is being divided off.
      closed: whether there is an upper end.
      first: whether the trial under way is the first of two secant steps.
      width: u - l before the two secant steps under way; infinite where none are.
    """

    low: Trial
    high: Trial
    closed: jax.Array
    first: jax.Array
    width: Scalar


@described
def hager_zhang(
    *,
    decrease: float = 0.1,
    curvature: float = 0.9,
    expansion: float = 5.0,
    division: float = 0.5,
    shrinking: float = 0.66,
    max_trials: int = 50,
    max_step: float = math.inf,
    noise: float | None = None,
) -> LineSearch:
    """Search for a step that satisfies the weak Wolfe conditions, or their approximate form near round-off.

    Assumes a continuously differentiable phi. The step accepted has phi'(a) >= curvature phi'(0) and passes Armijo's
    test or, where its value is within the noise of phi(0), phi'(a) <= (2 decrease - 1) phi'(0).

    Args:
      decrease: part of the linear decrease that a step must reach (delta), in (0, 1/2).
      curvature: part of the first slope that may remain (sigma), in [decrease, 1).
      expansion: growth of the steps before there is an upper end (rho), > 1.
      division: where a bracket is divided whose upper end falls (theta), in (0, 1).
      shrinking: part of the bracket that two secant steps may leave before it is halved (gamma), in (0, 1).
      max_trials: evaluations allowed before the search goes back to the lowest trial, >= 1.
      max_step: no step is larger, > 0.
      noise: relative error of a value (epsilon), >= 0; None means eps^(2/3), 0 gives the exact conditions.

    Raises:
      ValueError: for a setting outside its range.

    Reference:
      Hager and Zhang (2006), Algorithm 851: CG_DESCENT, section 2 and the defaults of its table of parameters (there
      epsilon is 1e-6 for every precision), doi:10.1145/1132973.1132979.
    """
    check_constants("hager_zhang", decrease, curvature, noise)
    check_budget("hager_zhang", max_trials, max_step)
    validate.number("hager_zhang", "expansion", expansion, low=1.0, low_open=True, high_open=True)
    for name, part in (("division", division), ("shrinking", shrinking)):
        validate.number("hager_zhang", name, part, low=0.0, high=1.0, low_open=True, high_open=True)
    sufficient = sufficient_decrease(decrease, noise)

    def begin(start: Trial, first_step: Scalar) -> Bracket:
        no = jnp.bool_(False)
        return Bracket(low=start, high=start, closed=no, first=no, width=jnp.full_like(first_step, jnp.inf))

    def refine(bracket: Bracket, start: Trial, trial: Trial) -> Proposal:
        far = (trial.slope >= 0) | ~sufficient(start, trial)
        low = tree.where(far, bracket.low, trial)
        high = tree.where(far, trial, bracket.high)
        closed = bracket.closed | far
        second = secant(tree.where(far, trial, bracket.low), tree.where(far, bracket.high, trial))
        return _propose(bracket._replace(low=low, high=high, closed=closed), second, trial)

    def _propose(bracket: Bracket, second: Scalar, trial: Trial) -> Proposal:
        low, high = bracket.low.step, bracket.high.step
        width = high - low
        falling = bracket.high.slope < 0
        take_second = bracket.first & ~falling & believable(second, bracket.low, bracket.high)
        first = secant(bracket.low, bracket.high)
        slow = width > shrinking * bracket.width
        take_first = ~(falling | take_second | slow) & believable(first, bracket.low, bracket.high)
        part = jnp.where(falling, division, 0.5)
        step = jnp.where(take_second, second, jnp.where(take_first, first, low + part * width))
        left = jnp.where(falling | take_second, bracket.width, jnp.inf)
        proposed = bracket._replace(first=take_first & bracket.closed, width=jnp.where(take_first, width, left))
        stuck = bracket.closed & (width <= float(jnp.finfo(width.dtype).eps) * high)
        return Proposal(proposed, jnp.where(bracket.closed, step, expansion * trial.step), stuck)

    accepts = both(sufficient, weak_curvature(curvature))
    return line_search(accepts, begin, refine, max_trials=max_trials, max_step=max_step)

# SPDX-License-Identifier: Apache-2.0
r"""Weak Wolfe search: double until the step is too long, then bisect.

With l = 0 and u = infinity at first, and t the trial,

    phi(t) > phi(0) + decrease t phi'(0)     too long:    u <- t
    phi'(t) < curvature phi'(0)              too short:   l <- t
    otherwise                                accept t

and the next trial is (l + u)/2, or 2 t as long as u is infinite. It uses no model of phi, so that phi need be neither
smooth nor convex: the interval shrinks to a point in any case, and ends at a step of the kind wanted unless phi is
unbounded below. Where phi is smooth, the other searches need fewer trials.

Reference: Lewis and Overton (2013), Nonsmooth optimization via quasi-Newton methods, Math. Program. 141, section 4,
doi:10.1007/s10107-012-0514-2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp

from jopt.linesearch.conditions import Trial, both, check_constants, sufficient_decrease, weak_curvature
from jopt.linesearch.machine import Proposal, check_budget, line_search
from jopt.types import LineSearch, Scalar, described


class Bracket(NamedTuple):
    """Where a good step lies; scalars.

    Attributes:
      low: the longest step that was too short, 0 before there is one.
      high: the shortest step that was too long, infinite before there is one.
    """

    low: Scalar
    high: Scalar


@described
def weak_wolfe(
    *,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    max_trials: int = 60,
    max_step: float = math.inf,
    noise: float | None = None,
) -> LineSearch:
    """Search for a step that satisfies the weak Wolfe conditions, by doubling and bisection.

    Assumes only that phi is continuous, and differentiable at the trials. The step accepted has phi'(a) >= curvature
    phi'(0), so that <s, y> > 0, and passes Armijo's test, or its approximate form where values are too noisy for it
    (conditions.py).

    Args:
      decrease: part of the linear decrease that a step must reach, in (0, 1/2).
      curvature: part of the first slope that may remain, in [decrease, 1).
      max_trials: evaluations allowed before the search goes back to the lowest trial, >= 1.
      max_step: no step is larger, > 0.
      noise: relative error of a value, >= 0; None means eps^(2/3), 0 gives the textbook's exact conditions.

    Raises:
      ValueError: for a setting outside its range.

    Reference:
      Lewis and Overton (2013), Nonsmooth optimization via quasi-Newton methods, section 4,
      doi:10.1007/s10107-012-0514-2; default constants: Nocedal and Wright (2006), Numerical Optimization, section 3.1.
    """
    check_constants("weak_wolfe", decrease, curvature, noise)
    check_budget("weak_wolfe", max_trials, max_step)
    sufficient = sufficient_decrease(decrease, noise)

    def begin(start: Trial, first_step: Scalar) -> Bracket:
        del first_step
        return Bracket(start.step, jnp.full_like(start.step, jnp.inf))

    def refine(bracket: Bracket, start: Trial, trial: Trial) -> Proposal:
        short = sufficient(start, trial)
        low = jnp.where(short, trial.step, bracket.low)
        high = jnp.where(short, bracket.high, trial.step)
        closed = jnp.isfinite(high)
        step = jnp.where(closed, low + 0.5 * (high - low), 2 * trial.step)
        # Halving has come to its end where the middle is one of the ends.
        return Proposal(Bracket(low, high), step, closed & ((step == low) | (step == high)))

    accepts = both(sufficient, weak_curvature(curvature))
    return line_search(accepts, begin, refine, max_trials=max_trials, max_step=max_step)

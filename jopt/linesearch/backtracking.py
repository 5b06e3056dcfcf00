# SPDX-License-Identifier: Apache-2.0
r"""Backtracking: shorten the step until it decreases the value enough.

    a <- first, factor first, factor^2 first, ...   until   phi(a) <= phi(0) + decrease a phi'(0)

With `factor=None` the next step is instead the minimiser of the cubic through phi(0), phi'(0), phi(a), phi'(a), kept
within [a/10, a/2]: the slope is known at each trial anyway, and a first step that is far too long is left sooner. No step
is longer than the first, so the slope at the accepted step may still be steep; quasi-Newton pairs need a Wolfe search.

References: Armijo (1966), Minimization of functions having Lipschitz continuous first partial derivatives, Pacific J.
Math. 16(1), doi:10.2140/pjm.1966.16.1; Dennis and Schnabel (1996), Numerical Methods for Unconstrained Optimization,
Algorithm A6.3.1 (interpolation and its limits), doi:10.1137/1.9781611971200.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from jopt import validate
from jopt.linesearch.conditions import Trial, check_constants, sufficient_decrease
from jopt.linesearch.interpolation import cubic_minimiser
from jopt.linesearch.machine import Proposal, check_budget, line_search
from jopt.types import LineSearch, Scalar, described

# Dennis and Schnabel (1996), Algorithm A6.3.1: limits of an interpolated step, as parts of the rejected one.
SHORTEST_PART = 0.1
LONGEST_PART = 0.5


@described
def backtracking(
    *,
    decrease: float = 1e-4,
    factor: float | None = 2 / 3,
    max_trials: int = 60,
    max_step: float = math.inf,
    noise: float | None = None,
) -> LineSearch:
    """Search for a step of sufficient decrease by shortening the first.

    Assumes a phi that is differentiable at 0. The step accepted passes Armijo's test, or its approximate form where
    values are too noisy for it (conditions.py). A step to where phi is not finite is cut to a tenth, whatever the factor.

    Args:
      decrease: part of the linear decrease that a step must reach, in (0, 1/2).
      factor: what a rejected step is multiplied by, in (0, 1); None interpolates.
      max_trials: evaluations allowed before the search goes back to the lowest trial, >= 1.
      max_step: no step is larger, > 0.
      noise: relative error of a value, >= 0; None means eps^(2/3), 0 gives the textbook's exact condition.

    Raises:
      ValueError: for a setting outside its range.

    Reference:
      Armijo (1966), Minimization of functions having Lipschitz continuous first partial derivatives,
      doi:10.2140/pjm.1966.16.1; decrease: Nocedal and Wright (2006), Numerical Optimization, section 3.1.
    """
    check_constants("backtracking", decrease, None, noise)
    check_budget("backtracking", max_trials, max_step)
    if factor is not None:
        hint = "Use None to interpolate."
        validate.number("backtracking", "factor", factor, low=0.0, high=1.0, low_open=True, high_open=True, hint=hint)

    def begin(start: Trial, first_step: Scalar) -> tuple[()]:
        del start, first_step
        return ()

    def refine(bracket: tuple[()], start: Trial, trial: Trial) -> Proposal:
        step = _interpolated(start, trial) if factor is None else factor * trial.step
        return Proposal(bracket, step, jnp.bool_(False))

    return line_search(sufficient_decrease(decrease, noise), begin, refine, max_trials=max_trials, max_step=max_step)


def _interpolated(start: Trial, trial: Trial) -> Scalar:
    """Return the cubic's minimiser within the limits; the longest part where the cubic is undefined."""
    step, _ = cubic_minimiser(start, trial)
    step = jnp.where(jnp.isnan(step), trial.step, step)
    return jnp.clip(step, SHORTEST_PART * trial.step, LONGEST_PART * trial.step)

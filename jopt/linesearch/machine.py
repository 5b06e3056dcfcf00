# SPDX-License-Identifier: Apache-2.0
"""What every line search does with a trial, whatever it decides next.

A search is three functions of numbers: `accepts(start, trial)`, the test it advertises; `begin(start, first_step)`, its
own bracket at the beginning; and `refine(bracket, start, trial)`, which takes one more finite trial into the bracket and
proposes the next step. `line_search` makes the machine of them. It counts the trials, keeps the lowest one, and

- a non-finite trial never reaches the bracket: the next step goes back towards the lowest trial, and no later step
  reaches as far again;
- a search that cannot go on returns to its lowest trial, evaluates it once more, and ends there with the reason, so that
  the last evaluation is always the one at the step decided; where no trial was lower than phi(0) that step is 0. A null
  step is never called progress.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linesearch.conditions import Test, Trial
from jopt.status import SearchStatus, first_of
from jopt.types import LineSearch, Scalar

# Of the way back to the lowest trial, the part kept after a non-finite one: a cliff is left fast, as by SciPy's and
# Hager and Zhang's codes, since what lies just before it is rarely the step wanted.
NONFINITE_SHRINK = 0.1


class Proposal(NamedTuple):
    """What `refine` returns: the new bracket, the next step, and whether the bracket can shrink no more."""

    bracket: Any
    step: Scalar
    stuck: jax.Array


class SearchState(NamedTuple):
    """State of every line search; scalars.

    Attributes:
      step: the next trial, or the decided step (0 where no trial was lower than the start).
      status: a `SearchStatus`, int32.
      trials: evaluations so far, int32.
      reason: why the search is on its way back to the lowest trial, SEARCHING while it is not; int32.
      start: step 0 with phi(0) and phi'(0).
      lowest: the lowest trial below phi(0) so far, `start` before there is one.
      ceiling: the shortest non-finite step beyond the lowest trial, at first infinity.
      shortest: steps below this are not tried.
      bracket: what the particular search knows.
    """

    step: Scalar
    status: jax.Array
    trials: jax.Array
    reason: jax.Array
    start: Trial
    lowest: Trial
    ceiling: Scalar
    shortest: Scalar
    bracket: Any


def line_search(
    accepts: Test,
    begin: Callable[[Trial, Scalar], Any],
    refine: Callable[[Any, Trial, Trial], Proposal],
    *,
    max_trials: int,
    max_step: float,
) -> LineSearch:
    """Make a line search of its three functions (see the module).

    Args:
      accepts: the test that a step must pass.
      begin: `(start, first_step) -> bracket`.
      refine: `(bracket, start, trial) -> Proposal`, called with finite trials that fail the test.
      max_trials: evaluations allowed before the search goes back to the lowest trial, >= 1.
      max_step: no step is larger, > 0.
    """

    def _longest(like: Scalar) -> float:
        """Return the largest step allowed: never infinity, where no objective has a value."""
        return min(max_step, float(jnp.finfo(like.dtype).max))

    def init(value: Scalar, slope: Scalar, first_step: Scalar) -> SearchState:
        start = Trial(jnp.zeros_like(value), value, slope)
        first = jnp.minimum(first_step, _longest(value))
        # A first step of 0 (or NaN) would pass Armijo's test at the start itself.
        begun = jnp.where(first > 0, SearchStatus.SEARCHING, SearchStatus.STEP_TOO_SMALL)
        status = jnp.where(slope < 0, begun, SearchStatus.NOT_DESCENT)
        return SearchState(
            step=jnp.where(status == SearchStatus.SEARCHING, first, 0.0),
            status=status.astype(jnp.int32),
            trials=jnp.zeros((), jnp.int32),
            reason=jnp.zeros((), jnp.int32),
            start=start,
            lowest=start,
            ceiling=jnp.full_like(value, jnp.inf),
            shortest=first * float(jnp.finfo(value.dtype).eps) ** 2,
            bracket=begin(start, first),
        )

    def update(state: SearchState, value: Scalar, slope: Scalar) -> SearchState:
        trial = Trial(state.step, value, slope)
        finite = jnp.isfinite(value) & jnp.isfinite(slope)
        returning = state.reason != SearchStatus.SEARCHING
        accepted = finite & ~returning & accepts(state.start, trial)
        lowest = tree.where(finite & (value < state.lowest.value), trial, state.lowest)
        # A hole below the lowest trial is left towards that trial and bounds nothing.
        beyond = ~finite & (trial.step > lowest.step)
        ceiling = jnp.where(beyond, jnp.minimum(state.ceiling, trial.step), state.ceiling)

        proposal = refine(state.bracket, state.start, trial)
        retreat = lowest.step + NONFINITE_SHRINK * (trial.step - lowest.step)
        step = jnp.where(finite, proposal.step, retreat)
        step = jnp.where(step < ceiling, step, 0.5 * (trial.step + ceiling))
        longest = _longest(step)
        step = jnp.minimum(step, longest)

        trials = state.trials + 1
        reason = first_of(
            (returning, state.reason),
            (value == -jnp.inf, SearchStatus.UNBOUNDED),
            ((trials >= max_trials) & _endless(state, trial, lowest), SearchStatus.UNBOUNDED),
            (trials >= max_trials, SearchStatus.TOO_MANY_TRIALS),
            (finite & proposal.stuck, SearchStatus.INTERVAL_TOO_SMALL),
            (step < state.shortest, SearchStatus.STEP_TOO_SMALL),
            ((trial.step >= longest) & (step >= longest), SearchStatus.STEP_TOO_LARGE),
            otherwise=SearchStatus.SEARCHING,
        )
        failing = reason != SearchStatus.SEARCHING
        # The decided step must be the one last evaluated; otherwise one more trial goes back to the lowest.
        ended = failing & (returning | (lowest.step == trial.step) | (lowest.step == 0))
        status = jnp.where(accepted, SearchStatus.ACCEPTED, jnp.where(ended, reason, SearchStatus.SEARCHING))
        return SearchState(
            step=jnp.where(accepted, trial.step, jnp.where(failing, lowest.step, step)),
            status=status.astype(jnp.int32),
            trials=trials,
            reason=reason,
            start=state.start,
            lowest=lowest,
            ceiling=ceiling,
            shortest=state.shortest,
            bracket=tree.where(finite, proposal.bracket, state.bracket),
        )

    return LineSearch(init, update)


def _endless(state: SearchState, trial: Trial, lowest: Trial) -> jax.Array:
    """Return whether the trial, 1 / eps times as far as the first one, is still the lowest and still falling."""
    eps = float(jnp.finfo(trial.step.dtype).eps)
    return (trial.step == lowest.step) & (trial.slope < 0) & (state.shortest < eps**3 * trial.step)


def check_budget(function: str, max_trials: int, max_step: float) -> None:
    """Raise unless max_trials is a whole number >= 1 and max_step > 0."""
    validate.integer(function, "max_trials", max_trials, low=1)
    validate.number(function, "max_step", max_step, low=0.0, low_open=True)


def check_parts(function: str, search: Any, first_trial: Any) -> None:
    """Raise unless the two parts of a search along a direction are what they should be.

    Raises:
      TypeError: if `search` is not a line search or `first_trial` not a function.
    """
    if not isinstance(search, LineSearch):
        msg = f"{function}: search must be a line search, such as jopt.linesearch.strong_wolfe(), got {search!r}."
        raise TypeError(msg)
    if not callable(first_trial):
        msg = f"{function}: first_trial must be a function of a FirstTrialInfo, such as jopt.linesearch.unit, got {first_trial!r}."
        raise TypeError(msg)

# SPDX-License-Identifier: Apache-2.0
r"""A line search whose steps end at a limit: what `descent` does where bounds lie ahead.

Along d the trial x + a d is feasible for a up to a limit. The search itself knows of none: no first trial and no proposal
of its gets beyond the limit, and a trial there is judged as L-BFGS-B does at its longest step:

    decreases enough and still falls    accepted, though the curvature test may ask for more
    the search asks for more            over: the point moves if the value is lower, otherwise the search has failed
    otherwise                           the search goes on, towards shorter steps

Reference: Byrd, Lu, Nocedal and Zhu (1995), A limited memory algorithm for bound constrained optimization, SIAM J. Sci.
Comput. 16(5), section 6, doi:10.1137/0916069; Moré and Thuente (1994), section 4, on a largest step,
doi:10.1145/192115.192132.
"""

from __future__ import annotations

import jax.numpy as jnp

from jopt.linesearch.conditions import Trial, sufficient_decrease
from jopt.linesearch.machine import SearchState
from jopt.status import SearchStatus
from jopt.types import LineSearch, Scalar

# Part of the linear decrease that a trial at the limit must reach: the searches' own default, Nocedal and Wright (2006),
# section 3.1.
DECREASE = 1e-4


def update_within(search: LineSearch, state: SearchState, value: Scalar, slope: Scalar, limit: Scalar) -> SearchState:
    """Return the search's state after a trial, its next step at most the limit.

    Args:
      search: the line search.
      state: its state; `state.step` is the trial and at most `limit`.
      value: phi at the trial.
      slope: phi' at the trial.
      limit: the longest step allowed, > 0, perhaps infinite.
    """
    after = search.update(state, value, slope)
    trial = Trial(state.step, value, slope)
    at_limit = (trial.step >= limit) & (after.status == SearchStatus.SEARCHING) & jnp.isfinite(value)
    fine = at_limit & (slope < 0) & sufficient_decrease(DECREASE, None)(after.start, trial)
    beyond = at_limit & (after.step >= limit) & (after.reason == SearchStatus.SEARCHING)
    lower = value < after.start.value
    over = jnp.where(fine, SearchStatus.ACCEPTED, SearchStatus.STEP_TOO_LARGE)
    ended = fine | beyond
    step = jnp.where(fine | lower, trial.step, 0)
    return after._replace(
        step=jnp.where(ended, step, jnp.minimum(after.step, limit)),
        status=jnp.where(ended, over, after.status).astype(jnp.int32),
    )

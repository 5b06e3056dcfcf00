# SPDX-License-Identifier: Apache-2.0
"""Going on from the state in which a solve ended.

The state of the loop holds all that its next trip reads, so a solve that is taken up makes the trips that the unbroken
one would have made. Only the status is looked at anew:

    RUNNING, STOPPED, TIME, MAX_ITERATIONS, MAX_EVALUATIONS    goes on, unless a limit now in force is reached
    CONVERGED, TARGET                                          goes on if the test now in force fails at the best point
    STEP, DECREASE, RELATIVE_DECREASE                          goes on: the test is asked of the next accepted point
    any other                                                  stays as it is
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.solvers import bounds, loop
from jopt.solvers.loop import History, LoopState, Options
from jopt.solvers.residuals import Residuals
from jopt.solvers.stopping import Stopping, judge_limits
from jopt.status import Status
from jopt.types import Params, Solver


def as_state(function: str, resume: Any) -> LoopState | None:
    """Return the state to go on from, or None.

    Raises:
      TypeError: if it is something else.
    """
    if resume is None or isinstance(resume, LoopState):
        return resume
    msg = f"{function}: resume must be the state of a result, such as result.state, got {type(resume).__name__}."
    raise TypeError(msg)


def take_up(
    solver: Solver, objective: Any, stopping: Stopping, params: Params, options: Options, state: LoopState
) -> tuple[Options, LoopState]:
    """Return the options and the state of a solve that goes on, its history as long as both ask for.

    Args:
      solver: the solver.
      objective: an `Objective` or `Residuals`.
      stopping: the limits now in force.
      params: a tree like the parameters; its values are not read.
      options: what the loop does beside solving.
      state: the state to go on from.

    Raises:
      ValueError: at trace time, if the state is not one of this solve, naming the path and both shapes.
      TypeError: likewise, if a dtype differs.
    """
    if options.rows is not None and isinstance(state.history, History):
        rows = max(options.rows, jnp.shape(state.history.nfev)[0])
        options = options._replace(rows=rows)
        state = state._replace(history=_lengthened(state.history, rows))
    like = jax.eval_shape(lambda p: loop.begin(solver, objective, p, options), params)
    _check("least_squares" if isinstance(objective, Residuals) else "minimize", state, like)
    state = tree.cast(state, like)
    reached = judge_limits(stopping, state.nit, state.nfev)
    status = jnp.where(_is_open(objective, stopping, state), reached, state.status)
    infeasible = bounds.first_status(objective)
    if infeasible is not None:
        status = jnp.where(infeasible == Status.RUNNING, status, infeasible)
    return options, state._replace(status=status)


def _lengthened(history: History, rows: int) -> History:
    """Return a history with rows for the steps that may follow."""
    more = rows - jnp.shape(history.nfev)[0]

    def column(x: Any, nothing: float) -> jax.Array:
        return jnp.pad(jnp.asarray(x), (0, more), constant_values=nothing)

    return History(
        fun=column(history.fun, jnp.nan),
        grad_norm=column(history.grad_norm, jnp.nan),
        step_norm=column(history.step_norm, jnp.nan),
        nfev=column(history.nfev, -1),
    )


def _is_open(objective: Any, stopping: Stopping, state: LoopState) -> jax.Array:
    """Return whether the solve is to go on, as far as its status and the tests at the best point say."""
    gtol = state.gtol if stopping.gtol is None else jnp.asarray(stopping.gtol, state.gtol.dtype)
    steep = bounds.grad_norm(getattr(objective, "bounds", None), state.best) > gtol
    if stopping.target is None:
        above = jnp.bool_(True)
    else:
        above = state.best.value > jnp.asarray(stopping.target, state.best.value.dtype)
    goes_on = (
        Status.RUNNING, Status.STOPPED, Status.TIME, Status.MAX_ITERATIONS, Status.MAX_EVALUATIONS,
        Status.STEP, Status.DECREASE, Status.RELATIVE_DECREASE,
    )  # fmt: skip
    anyway = jnp.any(state.status == jnp.asarray(goes_on, jnp.int32))
    return anyway | ((state.status == Status.CONVERGED) & steep) | ((state.status == Status.TARGET) & above)


def _check(function: str, state: LoopState, like: LoopState) -> None:
    """Raise unless a state has the structure, shapes and dtypes of one of this solve."""
    tree.check_like(function, "resume", state, "a state of this solve", like)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(like), strict=True):
        dtype = getattr(x, "dtype", None) or jnp.result_type(x)
        if dtype != y.dtype:
            at = jax.tree_util.keystr(path)
            msg = (
                f"{function}: resume{at} must be {y.dtype}{list(y.shape)}, as in a state of this solve, "
                f"got {dtype}{list(jnp.shape(x))}; go on with the method and the dtypes that made it."
            )
            raise TypeError(msg)

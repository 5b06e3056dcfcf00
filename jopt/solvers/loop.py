# SPDX-License-Identifier: Apache-2.0
"""The one loop: step the solver until a test passes or a limit is reached, keeping the best point.

Invariant at the beginning of a trip: `best` is the finite point of least value seen so far, or the start before there is
one. When a test passes, `best` becomes the point where it passed, whatever its value.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.solvers import second_order
from jopt.solvers.info import Info
from jopt.solvers.objective import Objective, Point
from jopt.solvers.stopping import Stopping, default_gtol, judge, judge_limits
from jopt.status import Status
from jopt.types import Params, Scalar, Solver


class History(NamedTuple):
    """One row for the start and one for each accepted step, shape (maxiter + 1,); NaN and -1 where there was none.

    Attributes:
      fun: value.
      grad_norm: |g|_inf.
      step_norm: |x - x_previous|_inf; 0 at the start.
      nfev: evaluations so far, int32.
    """

    fun: jax.Array
    grad_norm: jax.Array
    step_norm: jax.Array
    nfev: jax.Array


class Options(NamedTuple):
    """What the loop does beside solving; static.

    Attributes:
      rows: length of the history, None without one.
      second_order: "report" or "escape" where saddles are to be told from minima (`jopt.solvers.second_order`), or None.
    """

    rows: int | None = None
    second_order: str | None = None


PLAIN = Options()


class LoopState(NamedTuple):
    """What the loop carries.

    Attributes:
      solver: state of the solver.
      best: the point to return.
      gtol: the gradient tolerance in force (known after the first evaluation where it is relative to it), scalar.
      status: a `Status`, int32.
      nit: accepted steps, int32.
      nfev: evaluations of value and gradient, int32.
      nhev: Hessian-vector products, int32.
      history: rows so far, None unless asked for.
    """

    solver: Any
    best: Point
    gtol: Scalar
    status: jax.Array
    nit: jax.Array
    nfev: jax.Array
    nhev: jax.Array
    history: History | None


def begin(solver: Solver, objective: Objective, params: Params, options: Options = PLAIN) -> LoopState:
    """Return the state before the first trip; nothing is evaluated."""
    blank = objective.blank(params)
    zero = jnp.zeros((), jnp.int32)
    return LoopState(
        solver=solver.init(objective, params),
        best=blank,
        gtol=jnp.zeros_like(blank.value),
        status=zero,
        nit=zero,
        nfev=zero,
        nhev=zero,
        history=None if options.rows is None else _blank_history(options.rows, blank.value.dtype),
    )


def trip(
    solver: Solver, objective: Objective, stopping: Stopping, state: LoopState, options: Options = PLAIN
) -> LoopState:
    """Make one step of the solver, judge it, keep the best point."""
    first = state.nfev == 0

    def tolerance(grad_norm: Scalar) -> Scalar:
        return _tolerance(stopping, state, grad_norm, first)

    after, info = solver.step(objective, state.solver, tolerance)
    nfev = state.nfev + 1
    nit = state.nit + (info.accepted & ~first).astype(jnp.int32)
    nhev = state.nhev + info.nhev
    gtol = tolerance(info.grad_norm)
    status = judge(stopping, gtol, info, nit, nfev)
    passed = (status >= Status.CONVERGED) & (status <= Status.TARGET)
    if options.second_order is not None:
        most = jnp.asarray(jnp.iinfo(jnp.int32).max if stopping.maxfev is None else stopping.maxfev, jnp.int32)
        found = second_order.look(objective, info.point, status, options.second_order, most - nfev)
        after = tree.where(found.moved, solver.init(objective, found.params), after)
        nfev, nhev = nfev + found.nfev, nhev + found.nhev
        beyond = judge_limits(stopping, nit, nfev)
        status = jnp.where(found.status == Status.RUNNING, beyond, found.status)
    finite = jnp.isfinite(info.point.value) & jnp.isfinite(info.grad_norm)
    better = first | passed | (finite & (info.point.value < state.best.value))
    return LoopState(
        solver=after,
        best=tree.where(better, tree.cast(info.point, state.best), state.best),
        gtol=gtol,
        status=status,
        nit=nit,
        nfev=nfev,
        nhev=nhev,
        history=None if state.history is None else _record(state.history, info, nit, nfev),
    )


def run(solver: Solver, objective: Objective, stopping: Stopping, params: Params, options: Options) -> LoopState:
    """Run the solver from `params` until a status is reached; nothing in here raises."""
    start = begin(solver, objective, params, options)
    pack, unpack = tree.packing(start)  # a loop pays for each array that it carries
    packed = jax.lax.while_loop(
        lambda packed: unpack(packed).status == Status.RUNNING,
        lambda packed: pack(trip(solver, objective, stopping, unpack(packed), options)),
        pack(start),
    )
    return unpack(packed)


def unrolled(
    solver: Solver, objective: Objective, stopping: Stopping, params: Params, options: Options, trips: int
) -> LoopState:
    """Run the solver for a given number of trips, idle once a status is reached, so that JAX can go back through it."""

    def body(state: LoopState, _: None) -> tuple[LoopState, None]:
        running = state.status == Status.RUNNING
        return jax.lax.cond(running, lambda s: trip(solver, objective, stopping, s, options), lambda s: s, state), None

    return jax.lax.scan(body, begin(solver, objective, params, options), None, length=trips)[0]


def _tolerance(stopping: Stopping, state: LoopState, grad_norm: Scalar, first: jax.Array) -> Scalar:
    if stopping.gtol is not None:
        return jnp.asarray(stopping.gtol, state.gtol.dtype)
    relative = default_gtol(tree.coarsest_eps(state.best.params), grad_norm)
    return jnp.where(first, relative, state.gtol)


def _blank_history(rows: int, dtype: Any) -> History:
    nothing = jnp.full(rows, jnp.nan, dtype)
    return History(nothing, nothing, nothing, jnp.full(rows, -1, jnp.int32))


def _record(history: History, info: Info, nit: jax.Array, nfev: jax.Array) -> History:
    step_norm = jnp.where(jnp.isinf(info.step_norm), 0, info.step_norm)
    row = History(info.point.value, info.grad_norm, step_norm, nfev)
    return jax.tree.map(lambda column, x: column.at[nit].set(jnp.where(info.accepted, x, column[nit])), history, row)

# SPDX-License-Identifier: Apache-2.0
"""The one loop: step the solver until a test passes or a limit is reached, keeping the best point.

Invariant at the beginning of a trip: `best` is the finite point of least value seen so far, or the start before there is
one. When a test passes, `best` becomes the point where it passed, whatever its value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import scalars, tree
from jopt.solvers import bounds, second_order
from jopt.solvers.info import Info
from jopt.solvers.objective import Objective, Point
from jopt.solvers.stopping import Stopping, default_gtol, judge, judge_limits
from jopt.status import Status
from jopt.types import Params, Scalar, Solver


class History(NamedTuple):
    """One row for the start and one for each accepted step, shape (maxiter + 1,); NaN and -1 where there was none.

    Attributes:
      fun: value.
      grad_norm: |g|_inf; within bounds that of the projected gradient.
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
      observe: `(objective, state before, state after, info) -> None`, called where a trip is traced, or None.
    """

    rows: int | None = None
    second_order: str | None = None
    observe: Callable[[Any, LoopState, LoopState, Info], None] | None = None


PLAIN = Options()


class LoopState(NamedTuple):
    """What the loop carries, and all that a solve needs to go on: a pytree of arrays, whose structure no value decides.

    Attributes:
      solver: state of the solver, as its `init` makes it.
      best: the point to return, a `Point`.
      gtol: the gradient tolerance in force (known after the first evaluation where it is relative to it), scalar.
      status: a `Status`, int32.
      nit: accepted steps, int32.
      nfev: evaluations of value and gradient, int32.
      nhev: Hessian-vector products, int32.
      history: rows so far, a `History`; None unless asked for.
    """

    solver: Any
    best: Point
    gtol: Scalar
    status: jax.Array
    nit: jax.Array
    nfev: jax.Array
    nhev: jax.Array
    history: History | None


class Seen(NamedTuple):
    """The state with what the last trip showed, for those who watch; zeros before the first trip.

    Attributes:
      state: the loop's.
      params: the point evaluated, a tree like x0.
      value: the value there, scalar.
      grad_norm: |g|_inf there, scalar.
      step_norm: |x - x_previous|_inf, infinity at the start, scalar.
    """

    state: LoopState
    params: Params
    value: Scalar
    grad_norm: Scalar
    step_norm: Scalar


class Until(NamedTuple):
    """Where a chunk of the loop ends.

    Attributes:
      nfev: evaluations so far, int32.
      nit: accepted steps so far, int32.
    """

    nfev: Any
    nit: Any


def begin(solver: Solver, objective: Objective, params: Params, options: Options = PLAIN) -> LoopState:
    """Return the state before the first trip; nothing is evaluated."""
    blank = objective.blank(params)
    zero = jnp.zeros((), jnp.int32)
    infeasible = bounds.first_status(objective)
    return LoopState(
        solver=solver.init(objective, params),
        best=blank,
        gtol=jnp.zeros_like(blank.value),
        status=zero if infeasible is None else infeasible,
        nit=zero,
        nfev=zero,
        nhev=zero,
        history=None if options.rows is None else _blank_history(options.rows, blank.value.dtype),
    )


def trip(
    solver: Solver, objective: Objective, stopping: Stopping, state: LoopState, options: Options = PLAIN
) -> tuple[LoopState, Info]:
    """Make one step of the solver, judge it, keep the best point; return the state and what the step showed."""
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
    better, status, nit, nfev = scalars.settled((better, status, nit, nfev), first)
    reached = LoopState(
        solver=after,
        best=tree.where(better, tree.cast(info.point, state.best), state.best),
        gtol=gtol,
        status=status,
        nit=nit,
        nfev=nfev,
        nhev=nhev,
        history=None if state.history is None else _record(state.history, info, nit, nfev),
    )
    if options.observe is not None:
        options.observe(objective, state, reached, info)
    return reached, info


def run(
    solver: Solver,
    objective: Objective,
    stopping: Stopping,
    params: Params,
    options: Options,
    start: LoopState | None = None,
) -> LoopState:
    """Run the solver from `params`, or on from `start`, until a status is reached; nothing in here raises."""
    start = begin(solver, objective, params, options) if start is None else start
    pack, unpack = scalars.packing(start)  # a loop pays for each array that it carries
    packed = jax.lax.while_loop(
        lambda packed: unpack(packed).status == Status.RUNNING,
        lambda packed: pack(trip(solver, objective, stopping, unpack(packed), options)[0]),
        pack(start),
    )
    return unpack(packed)


def run_until(
    solver: Solver, objective: Objective, stopping: Stopping, seen: Seen, options: Options, until: Until
) -> Seen:
    """Run the solver on until a status is reached, or one of two counts: a chunk of what `run` does, trip for trip."""
    pack, unpack = scalars.packing(seen)

    def more(packed: Any) -> jax.Array:
        state = unpack(packed).state
        return (state.status == Status.RUNNING) & (state.nfev < until.nfev) & (state.nit < until.nit)

    def body(packed: Any) -> Any:
        before = unpack(packed)
        state, info = trip(solver, objective, stopping, before.state, options)
        shown = (info.point.params, info.point.value, info.grad_norm, info.step_norm)
        return pack(Seen(state, *tree.cast(shown, before[1:])))

    return unpack(jax.lax.while_loop(more, body, pack(seen)))


def unseen(state: LoopState) -> Seen:
    """Return a state as it is before its first trip, or before its next."""
    zero = jnp.zeros_like(state.best.value)
    return Seen(state, tree.zeros_like(state.best.params), zero, zero, zero)


def unrolled(
    solver: Solver,
    objective: Objective,
    stopping: Stopping,
    params: Params,
    options: Options,
    trips: int,
    start: LoopState | None = None,
) -> LoopState:
    """Run the solver for a given number of trips, idle once a status is reached, so that JAX can go back through it."""
    start = begin(solver, objective, params, options) if start is None else start

    def body(state: LoopState, _: None) -> tuple[LoopState, None]:
        running = state.status == Status.RUNNING
        stepped = jax.lax.cond(running, lambda s: trip(solver, objective, stopping, s, options)[0], lambda s: s, state)
        return stepped, None

    return jax.lax.scan(body, start, None, length=trips)[0]


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

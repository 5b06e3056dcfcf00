# SPDX-License-Identifier: Apache-2.0
"""Seeing inside a solve: callbacks, a progress bar, a limit of time.

Outside a trace the loop runs in chunks, with Python between them:

    chunk:  trips of `jopt.solvers.loop.run` until a status is reached, nfev >= until.nfev or nit >= until.nit

`until` is an argument of the one program, so the trips, and with them the answer, are those of the unbroken loop, and a
second solve traces nothing. `until.nit` is the next multiple of `every`, so that each report stands at an accepted point;
`until.nfev` is set after each chunk so that the next takes about a tenth of a second, or what is left of the time. The
first call of the program makes no trip: it compiles, and the clock starts after it.

Under a trace a callback may only look (`jopt.solvers.observing`).
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec

from jopt import tree, validate
from jopt.solvers import bounds, implicit, loop, progress, resuming
from jopt.solvers.loop import LoopState, Options, Seen, Until
from jopt.solvers.objective import data_of
from jopt.solvers.observing import Iteration, Observer, iteration, says_stop, way_out
from jopt.solvers.result import Result, make_result
from jopt.solvers.stopping import Stopping
from jopt.status import Status
from jopt.types import Params, Solver, hashable

# A chunk: long beside the call of a program and Python between (a few tenths of a millisecond), and the delay that still
# feels immediate for a limit of time, an interrupt and a bar: Nielsen (1993), Usability Engineering, section 5.5.
CHUNK_SECONDS = 0.1
# The first chunk has one trip, each other at most so many times those of the one before: a trip may be unlike the last.
GROWTH = 8
MOST = int(np.iinfo(np.int32).max)


class Watch(NamedTuple):
    """What was asked for.

    Attributes:
      function: the name of the call, for errors.
      callback: `Iteration -> True to stop, anything else to go on`, or None.
      every: accepted steps between calls, >= 1.
      progress: whether to show a bar.
      time_limit: seconds, infinity without one.
    """

    function: str
    callback: Callable[[Iteration], Any] | None
    every: int
    progress: bool
    time_limit: float


class _Frame(NamedTuple):
    """An objective without its data (`jopt.solvers.objective.data_of`): its type and its other fields; static."""

    kind: type
    fields: tuple[tuple[str, Any], ...]

    def fill(self, data: dict[str, Any]) -> Any:
        return self.kind(**dict(self.fields), **data)


def check(function: str, callback: Any, every: Any, progress_: Any, time_limit: Any) -> Watch | None:
    """Return what was asked for, None if nothing was, or raise naming the setting that is wrong.

    Raises:
      ValueError: if `every` < 1 or `time_limit` <= 0.
      TypeError: for a setting of the wrong type.
      ImportError: if a bar is asked for and `rich` is not installed.
    """
    if callback is not None and not callable(callback):
        msg = f"{function}: callback must be a function of one jopt.Iteration, got {callback!r}."
        raise TypeError(msg)
    for name, value in (("every", every), ("time_limit", time_limit)):
        if isinstance(value, Tracer):
            msg = f"{function}: {name} must be a Python number, got a traced value."
            raise TypeError(msg)
    validate.integer(function, "every", every, low=1)
    if time_limit is not None:
        validate.number(function, "time_limit", time_limit, low=0.0, low_open=True)
    if validate.flag(function, "progress", progress_):
        progress.require(function)
    elif callback is None and time_limit is None:
        return None
    return Watch(function, callback, int(every), progress_, math.inf if time_limit is None else float(time_limit))


def solve(
    watch: Watch,
    solver: Solver,
    objective: Any,
    limits: Stopping,
    params: Params,
    options: Options,
    resume: LoopState | None,
    compiled: Callable[[Options], Result],
) -> Result:
    """Run a solver to its end, watched.

    Args:
      watch: what was asked for.
      solver: the solver.
      objective: an `Objective` or `Residuals` whose function has a hash.
      limits: when to stop.
      params: the start.
      options: what the loop does beside solving.
      resume: the state to go on from, or None.
      compiled: the whole solve as one program, for use under a trace.

    Returns:
      The result; that of the solve that is not watched, unless it was stopped or ran out of time.

    Raises:
      ValueError: under a trace, if what was asked for needs Python between trips.
    """
    frame, data = _split(objective)
    if isinstance(jnp.zeros(()) + 0, Tracer) or _is_traced((params, data, limits, resume)):
        return _within_trace(watch, options, compiled)
    # A program does not know how its arguments are spread over devices, and would make whole zeros on each.
    begin = _begin if any(map(tree.is_sharded, jax.tree.leaves(params))) else _begin_compiled
    seen = _beside(begin(frame, solver, options, params, data, limits, resume), params)
    go = functools.partial(_advance, frame, solver, options, data, limits)
    seen = go(seen, Until(np.int32(0), np.int32(0)))  # compiles, and makes no trip
    if _is_traced(seen):  # the function closes over a traced value
        return _within_trace(watch, options, compiled)
    with progress.bar(watch.progress, int(limits.maxiter)) as show:
        return make_result(_drive(watch, go, data.get("bounds"), seen, show))


def _within_trace(watch: Watch, options: Options, compiled: Callable[[Options], Result]) -> Result:
    for name, asked in (("progress", watch.progress), ("time_limit", watch.time_limit < math.inf)):
        if asked:
            msg = (
                f"{watch.function}: {name} must not be set under jit, vmap or grad, where no Python runs between the trips "
                f"of the loop; {way_out(watch.function)}, or set maxiter or maxfev instead."
            )
            raise ValueError(msg)
    if watch.callback is None:  # a limit of infinitely many seconds
        return compiled(options)
    return compiled(options._replace(observe=Observer(watch.function, hashable(watch.callback), watch.every)))


def _begin(
    frame: _Frame, solver: Solver, options: Options, params: Params, data: Any, limits: Stopping, resume: Any
) -> Seen:
    objective = frame.fill(data)
    if resume is None:
        return loop.unseen(loop.begin(solver, objective, params, options))
    return loop.unseen(resuming.take_up(solver, objective, limits, params, options, resume)[1])


def _beside(seen: Seen, params: Params) -> Seen:
    """Return a state with its scalars whole on each device of spread parameters.

    As a program returns them: one that is given them otherwise is compiled twice.
    """
    laid_out = [x.sharding for x in jax.tree.leaves(params) if tree.is_sharded(x)]
    meshes = [s.mesh for s in laid_out if isinstance(s, NamedSharding) and s.is_fully_addressable]
    if not meshes:
        return seen
    whole = NamedSharding(meshes[0], PartitionSpec())

    def place(x: Any) -> Any:
        return x if isinstance(x, jax.Array) and len(x.sharding.device_set) > 1 else jax.device_put(x, whole)

    return jax.tree.map(place, seen)


_begin_compiled = jax.jit(_begin, static_argnums=(0, 1, 2))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _advance(
    frame: _Frame, solver: Solver, options: Options, data: Any, limits: Stopping, seen: Seen, until: Until
) -> Seen:
    objective = implicit.as_solved(frame.fill(data), seen.params)
    return loop.run_until(solver, objective, limits, seen, options, until)


def _drive(watch: Watch, go: Callable[[Seen, Until], Seen], box: Any, seen: Seen, show: progress.Show) -> LoopState:
    """Run chunk after chunk with Python between them; an exception leaves with the state so far."""
    began = time.perf_counter()
    trips = 1
    nit, nfev = (int(n) for n in jax.device_get((seen.state.nit, seen.state.nfev)))
    try:
        while True:
            report = (nit // watch.every + 1) * watch.every if watch.callback else MOST
            before, chunk_began = nfev, time.perf_counter()
            seen = go(seen, Until(np.int32(min(nfev + trips, MOST)), np.int32(min(report, MOST))))
            status, nit, nfev, value, grad_norm = _look(seen)
            now = time.perf_counter()
            trips = _next_trips(trips, nfev - before, now - chunk_began, watch.time_limit - (now - began))
            if status == Status.RUNNING and now - began >= watch.time_limit:
                seen, status = _ended(seen, Status.TIME), Status.TIME
            over = status != Status.RUNNING
            show(nit, value, grad_norm, over)
            if watch.callback and (over or nit >= report):
                said = watch.callback(_report(box, seen, over, now - began))
                if says_stop(said) and not over:
                    return _ended(seen, Status.STOPPED).state
            if over:
                return seen.state
    except BaseException as error:
        vars(error)["loop_state"] = seen.state
        error.add_note(
            f"{watch.function}: `loop_state` of this exception is the state so far; resume= goes on from it."
        )
        raise


def _look(seen: Seen) -> tuple[Any, ...]:
    state = seen.state
    return tuple(
        x.item() for x in jax.device_get((state.status, state.nit, state.nfev, state.best.value, seen.grad_norm))
    )


def _next_trips(trips: int, made: int, seconds: float, left: float) -> int:
    """Return the trips for a chunk of about a tenth of a second, or of what is left of the time."""
    if made <= 0 or seconds <= 0:
        return trips
    wanted = min(CHUNK_SECONDS, max(left, 0.0)) * made / seconds
    return int(max(1, min(wanted, GROWTH * trips, MOST)))


def _ended(seen: Seen, status: Status) -> Seen:
    return seen._replace(state=seen.state._replace(status=jnp.int32(status)))


def _report(box: Any, seen: Seen, over: bool, elapsed: float) -> Iteration:
    """Return what a callback gets: the point just accepted, or at the end the one that is returned."""
    state = seen.state
    counts, shown = jax.device_get(((state.nit, state.nfev, state.nhev, state.status), seen[1:]))
    params, value, grad_norm, step_norm = shown
    if over:
        best = state.best._replace(aux=None)
        params, value, grad_norm = jax.device_get((best.params, best.value, _grad_norm(box, best)))
    return iteration(counts, (value, grad_norm, step_norm), params, elapsed, state)


_grad_norm = jax.jit(bounds.grad_norm)


def _split(objective: Any) -> tuple[_Frame, dict[str, Any]]:
    """Return an objective as a static frame and data."""
    data = data_of(objective)
    static = tuple((name, x) for name, x in objective._asdict().items() if name not in data)
    return _Frame(type(objective), static), data


def _is_traced(a: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(a))

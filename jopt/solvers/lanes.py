# SPDX-License-Identifier: Apache-2.0
r"""Many problems at once: lanes that are done make room for problems that wait.

`jax.vmap(minimize)` steps all lanes until the slowest has ended: it costs (lanes) x (trips of the slowest). Here a fixed
number of working lanes makes trips together; when a few of them have ended, their states are written to the results and
the next problems take their places:

    until nothing is left:
        trip of every working lane    while fewer than lanes / 16 have ended, or nothing waits and one still runs
        write those that have ended to the results, begin as many of those that wait

so the cost is (problems) x (trips of the mean problem), plus the tail in which nothing waits any more. All of it is one
program on the device; the trip stands in it once. A lane that has ended is frozen until it leaves, and lanes share no
arithmetic, so a problem's trips do not depend on the company it keeps, but for the rounding of sums whose order a compiler
may choose by the width of the batch.

Invariant at the beginning of a round: `owner` names for each lane the problem it works on, `size` if none is left for it;
problems below `waiting` that own no lane are in the results.

The few working lanes also keep the states within a core's cache, where the whole batch would not fit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from jopt import scalars, validate
from jopt.solvers import loop
from jopt.solvers.loop import LoopState
from jopt.status import Status
from jopt.types import Params, Solver, described

# Working lanes: enough that arithmetic outweighs the start of each kernel, few enough for the cache. Measured by
# `jopt.bench.batch` with several numbers on two CPU cores (docs/measurements.md).
LANES = 256
# A round of retiring is due when this part of the lanes has ended: its cost is then shared by so many problems, and on
# average half of that part stands idle.
PARTS = 16


class Crew(NamedTuple):
    """The lanes at work, with what they have done so far.

    Attributes:
      data: what is each problem's own, a list of arrays of shape (lanes, ...).
      states: the loop's states, packed (`jopt.scalars.packing`), with a leading axis of length lanes.
      owner: the problem of each lane, `size` if it has none; int32, shape (lanes,).
      waiting: the first problem that has not begun, int32.
      results: the states of the problems that have ended, packed, with a leading axis of length `size`.
    """

    data: list[jax.Array]
    states: Any
    owner: jax.Array
    waiting: jax.Array
    results: Any


def drive(
    begin: Callable[[list[jax.Array]], LoopState],
    trip: Callable[[list[jax.Array], LoopState], LoopState],
    data: list[jax.Array],
    size: int,
    lanes: int,
) -> LoopState:
    """Run the loops of many problems to their ends, a fixed number of them at a time.

    Args:
      begin: the first state from a problem's own data.
      trip: the next state of a problem that runs.
      data: what is each problem's own, arrays of shape (size, ...).
      size: problems, >= 1.
      lanes: of them at work at a time, >= 1.

    Returns:
      The last states, with a leading axis of length `size`.
    """
    lanes = min(lanes, size)
    leaving = max(1, lanes // PARTS)
    one = jax.eval_shape(begin, jax.eval_shape(lambda rows: [x[0] for x in rows], data))
    pack, unpack = scalars.packing(one)  # a loop pays for each array that it carries
    begin_all = jax.vmap(lambda rows: pack(begin(rows)))
    trip_all = jax.vmap(lambda rows, packed: pack(trip(rows, unpack(packed))))
    running = jax.vmap(lambda packed: unpack(packed).status == Status.RUNNING)

    def more(crew: Crew) -> jax.Array:
        active = jnp.sum(running(crew.states), dtype=jnp.int32)
        return jnp.where(crew.waiting < size, active > lanes - leaving, active > 0)

    def make_trip(crew: Crew) -> Crew:
        states = _where(running(crew.states), trip_all(crew.data, crew.states), crew.states)
        return crew._replace(states=states)

    def round_(crew: Crew) -> Crew:
        crew = jax.lax.while_loop(more, make_trip, crew)
        ended = ~running(crew.states) & (crew.owner < size)
        # What is beyond the last index is dropped by writes: lanes that stay, problems that there are none of.
        gone = jnp.nonzero(ended, size=leaving, fill_value=lanes)[0].astype(jnp.int32)
        problem = jnp.where(gone < lanes, _rows(crew.owner, gone), size)
        results = _write(crew.results, problem, _rows(crew.states, gone))
        fresh = crew.waiting + jnp.arange(leaving, dtype=jnp.int32)
        lane = jnp.where(fresh < size, gone, lanes)
        own = _rows(data, fresh)
        return Crew(
            data=_write(crew.data, lane, own),
            states=_write(crew.states, lane, begin_all(own)),
            owner=_write(crew.owner, gone, jnp.minimum(fresh, size)),
            waiting=jnp.minimum(crew.waiting + jnp.sum(gone < lanes, dtype=jnp.int32), size),
            results=results,
        )

    owner = jnp.arange(lanes, dtype=jnp.int32)
    first = _rows(data, owner)
    states = begin_all(first)
    crew = Crew(first, states, owner, jnp.int32(lanes), _rows(states, jnp.zeros(size, jnp.int32)))
    crew = jax.lax.while_loop(lambda crew: jnp.any(crew.owner < size), round_, crew)
    return jax.vmap(unpack)(crew.results)


def _rows(arrays: Any, index: jax.Array) -> Any:
    """Return the rows of stacked arrays, of those beyond the last one anything."""
    return jax.tree.map(lambda x: x.at[index].get(mode="clip"), arrays)


def _write(arrays: Any, index: jax.Array, rows: Any) -> Any:
    """Return the stacked arrays with new rows; what goes beyond the last one is dropped."""
    return jax.tree.map(lambda x, row: x.at[index].set(row, mode="drop"), arrays, rows)


def _where(condition: jax.Array, a: Any, b: Any) -> Any:
    """Return for each lane the rows of a where its condition holds, otherwise those of b."""
    return jax.tree.map(lambda x, y: jnp.where(condition.reshape(-1, *(1,) * (x.ndim - 1)), x, y), a, b)


@described
def packed(solver: Solver, lanes: int = LANES) -> Solver:
    """Make a solver whose solves, under `jax.vmap`, share a fixed number of working lanes.

    Alone it is the solver itself. `minimize_batch` and `least_squares_batch` use it; with it `jax.vmap(minimize)` does the
    same.

    Args:
      solver: any solver of `jopt.minimize` or `jopt.least_squares`.
      lanes: problems at work at a time, >= 1.

    Returns:
      A solver with the same states.

    Raises:
      ValueError: if `lanes` < 1.
      TypeError: if `lanes` is not a whole number.
    """
    lanes = int(validate.integer("packed", "lanes", lanes, low=1))
    made = Solver(solver.init, solver.step)
    made.bounded = solver.bounded
    made.run = functools.partial(_run, solver, lanes)
    return made


def _run(
    solver: Solver,
    lanes: int,
    rebuild: Callable[[Any], Any],
    values: Any,
    limits: Any,
    params: Params,
    options: loop.Options,
    start: LoopState | None,
) -> LoopState:
    """Run one solve; under `jax.vmap`, all of them by `drive`."""
    whole = (values, limits, params, start)

    def begin(whole: Any) -> LoopState:
        values, _, params, start = whole
        return loop.begin(solver, rebuild(values), params, options) if start is None else start

    def trip(whole: Any, state: LoopState) -> LoopState:
        return loop.trip(solver, rebuild(whole[0]), whole[1], state, options)[0]

    @custom_vmap
    def solve(whole: Any) -> LoopState:
        values, limits, params, start = whole
        return loop.run(solver, rebuild(values), limits, params, options, start)

    @solve.def_vmap
    def solve_all(size: int, is_own: Any, whole: Any) -> tuple[LoopState, Any]:
        leaves, structure = jax.tree.flatten(whole)
        own = [i for i, mine in enumerate(jax.tree.leaves(is_own[0])) if mine]

        def fill(rows: list[jax.Array]) -> Any:
            mine = dict(zip(own, rows, strict=True))
            return structure.unflatten([mine.get(i, leaf) for i, leaf in enumerate(leaves)])

        ends = drive(
            lambda rows: begin(fill(rows)),
            lambda rows, state: trip(fill(rows), state),
            [leaves[i] for i in own],
            size,
            lanes,
        )
        return ends, jax.tree.map(lambda _: True, ends)

    return solve(whole)

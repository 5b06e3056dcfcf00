# SPDX-License-Identifier: Apache-2.0
"""Timing programs in turn: the engine of every suite.

A *heat* is a set of contenders that do the same work on one case. Each is compiled ahead of time (`compiled`), which is
timed apart, and run once, which warms up what a first run starts. Then they take turns, round after round, so that what
slows the machine down slows all of them. Every other round has the order of the last reversed, every second one begins
one further, so that each follows each of the others: threads of one that still spin are nobody's burden alone. A turn
repeats a short program until `LEAST_S` have passed and waits for its results, each run's or, where every run goes on
from the last as in a training loop, the last run's; the figure is the time of one unit of work.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.compilation_cache import compilation_cache

from jopt.bench.measurements import Row

LEAST_S = 0.02
"""Seconds that a turn takes at least: some ten thousand times the clock's resolution."""

LONGEST_TEXT = 200
"""Characters kept of what an exception says: compilers write pages."""

COPIED = 64_000_000
"""Float32 numbers copied to measure the copy rate: 256 MB, several times what the last cache of a GPU holds."""

MULTIPLIED = {"cpu": 1024}
"""Rows of the square matrices multiplied to measure the rate of operations, by platform."""

MULTIPLIED_ELSEWHERE = 8192

RATE_ROUNDS = 15


class Absent(Exception):
    """Raised by the `prepare` of a contender that has no place on this device: it leaves no row."""


class Ready(NamedTuple):
    """A contender that can run.

    Attributes:
      run: function of nothing that does the work and returns a tree whose leaves, where they have `block_until_ready`,
        are waited for.
      trace_s: seconds to trace and lower.
      compile_s: seconds to compile.
      peak_bytes: as in `Row`.
      figures: by name, as in `Row`.
      work: units of work in a run; None means those of the heat.
      repeats: runs that make a turn, for one that needs no run to warm up; None warms up and finds out.
      queued: whether each run goes on from the last, so that only the last of a turn is waited for.
    """

    run: Callable[[], Any]
    trace_s: float = math.nan
    compile_s: float = math.nan
    peak_bytes: int | None = None
    figures: Mapping[str, Any] = {}
    work: float | None = None
    repeats: int | None = None
    queued: bool = False


class Contender(NamedTuple):
    """Who takes part in a heat.

    Attributes:
      name: such as "jopt adam".
      prepare: makes it ready; called once, when the heat begins, and may raise, `Absent` where it has no place.
      least_bytes: that one unit of its work must move, 0 where that is not what limits it.
      flops: operations in one unit of its work, 0 where nobody counted.
    """

    name: str
    prepare: Callable[[], Ready]
    least_bytes: int = 0
    flops: int = 0


class Heat(NamedTuple):
    """Contenders that do the same work on one case.

    Attributes:
      case: its name.
      size: number of parameters, inputs or problems.
      unit: of work, for one: "step".
      contenders: who takes part; the first is the base of the ratios.
      work: units of work in a run.
      rounds: turns at most, where a turn takes long; None sets no bound of its own.
    """

    case: str
    size: int
    unit: str
    contenders: tuple[Contender, ...]
    work: float = 1.0
    rounds: int | None = None


Report = Callable[[int, int, str], None]
"""Called as `(contenders done, contenders in all, what begins)`."""


class Compiled(NamedTuple):
    """A program compiled ahead of time.

    Attributes:
      program: call it with arguments like those it was compiled for.
      trace_s: seconds to trace and lower.
      compile_s: seconds to compile.
      peak_bytes: of its arguments, outputs and temporaries; None where the backend does not tell.
    """

    program: Any
    trace_s: float
    compile_s: float
    peak_bytes: int | None

    def ready(self, run: Callable[[], Any], **figures: Any) -> Ready:
        """Return the contender that runs so."""
        return Ready(run, self.trace_s, self.compile_s, self.peak_bytes, figures)


def compiled(function: Callable[..., Any], *args: Any, donate: Sequence[int] = ()) -> Compiled:
    """Trace, lower and compile a function, and say how long that took.

    The cache of compiled programs that outlives the process is off meanwhile.

    Args:
      function: of arrays.
      *args: trees of arrays, or of their descriptions.
      donate: numbers of the arguments whose memory the program may write to.
    """
    with _cache_off():
        begin = time.perf_counter()
        # A new function each time: JAX remembers what it has traced.
        lowered = jax.jit(lambda *args: function(*args), donate_argnums=donate).lower(*args)
        middle = time.perf_counter()
        program = lowered.compile()
        end = time.perf_counter()
    return Compiled(program, middle - begin, end - middle, _peak_bytes(program))


def chained(function: Callable[..., Any], state: Any, *args: Any) -> Ready:
    """Return the contender whose every run goes on from the state of the last: `state = function(state, *args)`.

    The state's memory is given to each run, as in a training loop. It must not be used by the caller afterwards.
    """
    made = compiled(function, state, *args, donate=(0,))
    kept = [state]

    def run() -> Any:
        kept[0] = made.program(kept[0], *args)
        return kept[0]

    return made.ready(run)._replace(queued=True)


def run_heats(suite: str, heats: Iterable[Heat], rounds: int, report: Report | None = None) -> Iterable[Row]:
    """Yield the rows of some heats, each when its heat has ended.

    Args:
      suite: name of the suite.
      heats: what to run.
      rounds: turns of each contender, >= 1.
      report: told of each contender as it is prepared, and of the end.
    """
    heats = tuple(heats)
    total = sum(len(heat.contenders) for heat in heats)
    done = 0
    for heat in heats:
        tell = functools.partial(_tell, report, total)
        yield from _run(suite, heat, rounds, functools.partial(tell, done))
        done += len(heat.contenders)
    if report is not None:
        report(total, total, "done")


def most_rounds(heat: Heat, rounds: int) -> int:
    """Return how many turns each contender of a heat has where so many are asked for."""
    return rounds if heat.rounds is None else min(rounds, heat.rounds)


def copy_rate(count: int = COPIED) -> float:
    """Return the bytes a second that a plain copy reads and writes on the device, the median of some.

    Args:
      count: float32 numbers copied, >= 1.
    """
    # A factor that is not one, so that the copy is not optimised away; the memory of the last run is written to again.
    ready = chained(lambda x: x * jnp.float32(1.0000001), jnp.ones(count, jnp.float32))
    return 2 * count * jnp.dtype(jnp.float32).itemsize / _median_seconds(ready)


def flop_rate(rows: int | None = None) -> float:
    """Return the operations a second of a product of square float32 matrices as JAX multiplies them, the median of some.

    Args:
      rows: of the matrices, >= 1; None means enough for the device.
    """
    rows = rows or MULTIPLIED.get(jax.default_backend(), MULTIPLIED_ELSEWHERE)
    ready = chained(jnp.matmul, jnp.ones((rows, rows), jnp.float32), jnp.eye(rows, dtype=jnp.float32))
    return 2 * rows**3 / _median_seconds(ready)


def _median_seconds(ready: Ready) -> float:
    repeats = _warmed_up(ready)
    return sorted(_elapsed(ready, repeats) / repeats for _ in range(RATE_ROUNDS))[RATE_ROUNDS // 2]


def _tell(report: Report | None, total: int, before: int, i: int, what: str) -> None:
    if report is not None:
        report(before + i, total, what)


def _run(suite: str, heat: Heat, rounds: int, tell: Callable[[int, str], None]) -> Iterable[Row]:
    ready, repeats, errors = _made_ready(heat, tell)
    seconds = _turns(heat, ready, repeats, errors, rounds)
    for contender in heat.contenders:
        row = Row(suite, heat.case, heat.size, contender.name, heat.unit)
        row = row._replace(least_bytes=contender.least_bytes, flops=contender.flops)
        if contender.name in errors:
            yield row._replace(error=errors[contender.name])
        elif contender.name in ready:
            made = ready[contender.name]
            figures = {"seconds": tuple(seconds[contender.name]), "figures": dict(made.figures)}
            times = {"trace_s": made.trace_s, "compile_s": made.compile_s, "peak_bytes": made.peak_bytes}
            yield row._replace(**figures, **times)


def _made_ready(
    heat: Heat, tell: Callable[[int, str], None]
) -> tuple[dict[str, Ready], dict[str, int], dict[str, str]]:
    """Return who can run, how many runs make a turn of each, and what the others raised, by name."""
    ready: dict[str, Ready] = {}
    repeats: dict[str, int] = {}
    errors: dict[str, str] = {}
    for i, contender in enumerate(heat.contenders):
        tell(i, f"{heat.case}, {contender.name}")
        try:
            made = contender.prepare()
            repeats[contender.name] = made.repeats or _warmed_up(made)
        except Absent:
            continue
        except Exception as error:  # another package may raise anything; the others still have their turns
            errors[contender.name] = _told(error)
        else:
            ready[contender.name] = made
    return ready, repeats, errors


def _turns(
    heat: Heat, ready: dict[str, Ready], repeats: dict[str, int], errors: dict[str, str], rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of one unit of work, one figure a round; who fails moves from `ready` to `errors`."""
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for number in range(most_rounds(heat, rounds)):
        for name in _order(tuple(ready), number):
            try:
                elapsed = _elapsed(ready[name], repeats[name])
            except Exception as error:  # as above
                errors[name] = _told(error)
                del ready[name]
                continue
            own = ready[name].work
            seconds[name].append(elapsed / repeats[name] / (heat.work if own is None else own))
    return seconds


def _order(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Return whose turn it is in a round."""
    first = number // 2 % max(1, len(names))
    turned = names[first:] + names[:first]
    return turned if number % 2 == 0 else turned[::-1]


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_TEXT]


def _warmed_up(ready: Ready) -> int:
    """Run twice, and return how many runs make a turn."""
    _elapsed(ready, 1)
    return max(1, math.ceil(LEAST_S / max(_elapsed(ready, 1), 1e-9)))


def _elapsed(ready: Ready, repeats: int) -> float:
    """Return the seconds of some runs until their results are there."""
    begin = time.perf_counter()
    for i in range(repeats):
        result = ready.run()
        if not ready.queued or i == repeats - 1:
            jax.block_until_ready(result)
    return time.perf_counter() - begin


@contextlib.contextmanager
def _cache_off() -> Iterator[None]:
    """Switch off the cache of compiled programs that outlives the process, where there is one."""
    before = jax.config.values["jax_enable_compilation_cache"]
    if not before or jax.config.values["jax_compilation_cache_dir"] is None:
        yield
        return
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # or the setting is not looked at again
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def _peak_bytes(program: Any) -> int | None:
    try:
        told = program.memory_analysis()
        held = told.argument_size_in_bytes + told.output_size_in_bytes + told.temp_size_in_bytes
        return int(held - told.alias_size_in_bytes)
    except (AttributeError, NotImplementedError, RuntimeError):
        return None

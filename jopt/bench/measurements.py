# SPDX-License-Identifier: Apache-2.0
"""What the suites of the benchmark record, and what is read from it: medians, spreads, ratios, shares of the limit.

A ratio is taken round by round, since contenders of one case take turns: the median over the rounds of (seconds of the
base) / (seconds of the contender), with the least and the largest. Above 1 the contender is faster.

The limit of work that only moves memory is the time in which its least bytes could be copied: reads of all that must be
read and writes of all that must be written, over the rate of a plain copy measured in the same run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jopt.bench.lines import Format

SCHEMA = 1


class Header(NamedTuple):
    """How the rows that follow were measured.

    Attributes:
      suite: name of the suite.
      precision: "float64" or "float32".
      quick: whether with the small sizes of `--quick`.
      rounds: turns that each contender had; the most, where heats differ.
      device: what JAX says of the device.
      versions: of Python and the packages, by name.
      commit: of jopt, with "+changes" if its files differed from it; None where there is no repository.
      copy_rate: bytes a second read and written by a plain copy, measured in the same run; None where it was not.
      flop_rate: operations a second of a product of matrices, likewise.
    """

    suite: str
    precision: str
    quick: bool
    rounds: int
    device: str
    versions: dict[str, str]
    commit: str | None
    copy_rate: float | None = None
    flop_rate: float | None = None


class Row(NamedTuple):
    """One contender on one case.

    Attributes:
      suite: name of the suite.
      case: what was worked on, such as "leaf 16M".
      size: its number of parameters, inputs or problems.
      contender: who, such as "jopt adam".
      unit: of the work that is timed: "step", "direction", "product", "solve", "epoch", "compilation".
      seconds: for one unit of work, one figure a round.
      trace_s: seconds to trace and lower; NaN where it cannot be told apart.
      compile_s: seconds to compile what was lowered; NaN likewise.
      peak_bytes: of the arguments, outputs and temporaries of the program, as the compiler plans them; None where the backend does
        not tell.
      least_bytes: that one unit of work must move; 0 where it does more than to move memory.
      flops: additions, multiplications and the like in one unit of work, as jopt does it; 0 where nobody counted.
      figures: further figures by name, such as evaluations or copies of the objective.
      error: what went wrong, or empty. A row with an error has no seconds.
    """

    suite: str
    case: str
    size: int
    contender: str
    unit: str
    seconds: tuple[float, ...] = ()
    trace_s: float = math.nan
    compile_s: float = math.nan
    peak_bytes: int | None = None
    least_bytes: int = 0
    flops: int = 0
    figures: dict[str, Any] = {}  # noqa: RUF012 - never written to
    error: str = ""


class Spread(NamedTuple):
    """A median with the least and the largest figure.

    Attributes:
      median: of the figures; NaN if there are none.
      least: of them.
      largest: of them.
    """

    median: float
    least: float
    largest: float


class Summary(NamedTuple):
    """A row with what is read from it.

    Attributes:
      row: the row.
      seconds: for one unit of work.
      ratio: seconds of the base over these, round by round.
      above: these seconds less those of the base, round by round.
      compilation: seconds to trace and compile of the base over these; NaN where not known.
      limit: share of the limit that is reached: 1 as fast as a copy; NaN where the work has none.
    """

    row: Row
    seconds: Spread
    ratio: Spread
    above: Spread
    compilation: float
    limit: float


FILE = Format("a benchmark of jopt", SCHEMA, Header, Row)
"""The JSON-lines form of these records."""


def spread(figures: Sequence[float]) -> Spread:
    """Return the median, least and largest of some figures."""
    if not figures:
        return Spread(math.nan, math.nan, math.nan)
    return Spread(statistics.median(figures), min(figures), max(figures))


def summaries(rows: Iterable[Row], copy_rate: float | None = None, against: str = "") -> tuple[Summary, ...]:
    """Return a summary of each row, in their order.

    Args:
      rows: of one suite.
      copy_rate: bytes a second of a plain copy; None: no limit is known.
      against: name of the base of every case that has it; the first contender of the others.

    Example:
      >>> rows = [Row("steps", "leaf", 8, "a", "step", (2.0, 4.0)), Row("steps", "leaf", 8, "b", "step", (1.0, 1.0))]
      >>> summaries(rows)[1].ratio
      Spread(median=3.0, least=2.0, largest=4.0)
    """
    cases: dict[str, list[Row]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(row)
    made = []
    for case in cases.values():
        base = next((row for row in case if row.contender == against), case[0])
        made += [_summary(row, base, copy_rate) for row in case]
    return tuple(made)


def _summary(row: Row, base: Row, copy_rate: float | None) -> Summary:
    pairs = tuple(zip(base.seconds, row.seconds, strict=False))  # a contender that failed had no turns
    seconds = spread(row.seconds)
    limited = copy_rate is not None and row.least_bytes > 0
    limit = row.least_bytes / copy_rate / seconds.median if limited and copy_rate else math.nan
    compilation = (base.trace_s + base.compile_s) / (row.trace_s + row.compile_s)
    ratio, above = spread([one / other for one, other in pairs]), spread([other - one for one, other in pairs])
    return Summary(row, seconds, ratio, above, compilation, limit)

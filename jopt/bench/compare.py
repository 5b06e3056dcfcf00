# SPDX-License-Identifier: Apache-2.0
"""What got slower or faster from one file of measurements to another, and what is only noise.

Files of suites are compared case by case. Of the seconds a contender needed in its rounds, the median is taken with an
interval that covers the true one with 95 % whatever their distribution: from the k-th least to the k-th largest, k as
large as the binomial distribution with probability 1/2 allows. The ratio of two medians then lies between the ratios of
the opposite ends. A solver's time in a race of solvers is one figure a problem: there the ratios over the problems that
both files have as solved take the place of the rounds.

A change counts when the whole interval lies beyond 1 and the ratio is further than `DRIFT` from it. With fewer than six
figures no interval of 95 % exists, and the least and the largest stand for it. Of two files with n and m such figures
that do not differ, all of one lie beyond all of the other with probability 2 / C(n + m, n), and n ratios all on one side
of 1 with 2 / 2^n: where that is more than 5 % - fewer than four rounds each, fewer than six problems - there is no
verdict on times. Evaluations are counted, not timed: for them a few problems are enough.

Reference: Hoefler, Belli (2015), Scientific benchmarking of parallel computing systems, section 3.1.3, doi:10.1145/2807591.2807644;
  the interval: David, Nagaraja (2003), Order Statistics, section 7.1, doi:10.1002/0471722162.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jopt.bench import cutest_records, measurements, scores
from jopt.bench.lines import Format
from jopt.bench.measurements import Spread

COVERED = 0.95
"""Part of all files in which the interval holds the true median."""

DRIFT = 0.05
"""What the speed of a machine may change between two runs: no verdict on less."""

ALIKE = ("device", "precision", "quick", "versions", "gtol", "maxiter", "family")
"""Fields of headers that ought to agree."""

VERDICTS = {"s": ("slower", "faster"), "evaluations": ("more", "fewer")}
"""Words for a ratio above and below 1, by unit."""


class Change(NamedTuple):
    """One figure of both files.

    Attributes:
      what: whose, such as "steps, leaf 16M, jopt adam".
      unit: "s" or "evaluations".
      before: median in the first file.
      after: median in the second.
      ratio: of the second over the first, with its interval.
      verdict: "slower", "faster", "more" or "fewer"; empty within the noise.
      few: whether it rests on too few figures for a verdict.
    """

    what: str
    unit: str
    before: float
    after: float
    ratio: Spread
    verdict: str
    few: bool = False


class Comparison(NamedTuple):
    """Two files.

    Attributes:
      changes: of every figure that both have, in the order of the second.
      lost: what the first file solved or measured and the second failed at.
      gained: the opposite.
      missing: what only one of them has.
      differences: in the circumstances, one sentence each.
    """

    changes: tuple[Change, ...]
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether anything got slower, dearer or was lost."""
        return bool(self.lost) or any(change.verdict in {"slower", "more"} for change in self.changes)


class _Figures(NamedTuple):
    """A file, its rows by name of what they are of; a failed one has no figures."""

    rows: Mapping[str, tuple[float, ...]]
    headers: Mapping[str, Any]


def median_interval(figures: Sequence[float]) -> Spread:
    """Return the median with the interval that covers the true one (David and Nagaraja 2003, equation 7.1.3).

    Args:
      figures: at least one.

    Example:
      >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
      Spread(median=5.0, least=2.0, largest=8.0)
    """
    ordered, n = sorted(figures), len(figures)
    k, tail = 0, 0.0
    while k < n // 2 and tail + math.comb(n, k) / 2**n <= (1 - COVERED) / 2:
        tail += math.comb(n, k) / 2**n
        k += 1
    k = max(k, 1)
    return Spread(statistics.median(ordered), ordered[k - 1], ordered[n - k])


def compare(first: Path, second: Path) -> Comparison:
    """Compare two files of the same kind.

    Args:
      first: as it was.
      second: as it is.

    Raises:
      ValueError: if a file holds no measurements, or they are of two kinds.
      OSError: if a file cannot be read.
    """
    kinds = [kind_of(path) for path in (first, second)]
    if kinds[0] is not kinds[1]:
        msg = f"compare: {first} is of {kinds[0].what}, {second} of {kinds[1].what}; give two of a kind."
        raise ValueError(msg)
    files = [kinds[0].read(path) for path in (first, second)]
    for path, (headers, rows) in zip((first, second), files, strict=True):
        if not headers or not rows:
            msg = f"compare: {path} holds no rows."
            raise ValueError(msg)
    return _races(*files) if kinds[0] is cutest_records.FILE else _suites(*files)


def kind_of(path: Path) -> Format:
    """Return the format of a file, by its first line.

    Raises:
      ValueError: if it is neither of a suite nor of a race of solvers.
      OSError: if it cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline()
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    if isinstance(fields, dict) and fields.get("kind") == "header":
        return measurements.FILE if "suite" in fields else cutest_records.FILE
    msg = f"compare: {path} holds no measurements of jopt bench: its first line is no header."
    raise ValueError(msg)


def text(comparison: Comparison) -> str:
    """Return what a person is told beside the table, one line each."""
    few = sum(change.few for change in comparison.changes)
    within = sum(not change.verdict for change in comparison.changes) - few
    lines = [f"warning: {line}" for line in comparison.differences]
    for word in ("lost", "gained", "missing"):
        told = getattr(comparison, word)
        lines += [f"{word}: {'; '.join(told)}"] if told else []
    lines += [f"{few} of {len(comparison.changes)} rest on too few rounds or problems for a verdict"] if few else []
    return "\n".join([*lines, f"{within} of {len(comparison.changes)} figures within the noise"])


def _suites(first: Any, second: Any) -> Comparison:
    old, new = (_suite_figures(*file) for file in (first, second))
    changes = []
    for what in _both(old, new):
        before, after = median_interval(old.rows[what]), median_interval(new.rows[what])
        ends = (after.median / before.median, after.least / before.largest, after.largest / before.least)
        n, m = len(old.rows[what]), len(new.rows[what])
        few = _by_chance(math.comb(n + m, n))
        changes.append(_change(what, "s", before.median, after.median, Spread(*ends), few=few))
    return _comparison(changes, old, new)


def _suite_figures(headers: Iterable[Any], rows: Iterable[Any]) -> _Figures:
    named = {f"{row.suite}, {row.case}, {row.contender}": row.seconds for row in rows}
    return _Figures(named, {header.suite: header for header in headers})


def _races(first: Any, second: Any) -> Comparison:
    old, new = (_race_rows(*file) for file in (first, second))
    figures = [
        _Figures({f"{solver} on {name}": (1.0,) if good else () for (solver, name), (_, good) in rows.items()}, headers)
        for rows, headers in (old, new)
    ]
    changes = []
    for solver in dict.fromkeys(solver for solver, _ in new[0]):
        pairs = [
            (old[0][key][0], row)
            for key, (row, good) in new[0].items()
            if key[0] == solver and good and key in old[0] and old[0][key][1]
        ]
        for unit, field in (("s", "run_s"), ("evaluations", "nfev")):
            both = [(getattr(one, field), getattr(other, field)) for one, other in pairs]
            both = [(one, other) for one, other in both if one > 0 and other > 0]
            if both:
                before, after = (statistics.median(column) for column in zip(*both, strict=True))
                ratio = median_interval([other / one for one, other in both])
                few = unit == "s" and _by_chance(2 ** len(both))
                changes.append(_change(f"{solver}, {len(both)} problems", unit, before, after, ratio, few=few))
    return _comparison(changes, *figures)


def _race_rows(headers: Sequence[Any], rows: Sequence[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return rows with whether they count as solved, by solver and problem, and the last header."""
    asked = headers[-1]
    settings = cutest_records.Settings(precision=asked.precision, gtol=asked.gtol)
    solved = scores.verdicts(cutest_records.Race(settings, tuple(headers), tuple(rows)))
    return {(row.solver, row.problem): (row, solved[row.problem, row.solver]) for row in rows}, {"": asked}


def _by_chance(orders: int) -> bool:
    """Whether one of two extreme orders out of so many comes too often when nothing has changed."""
    return 2 / orders > 1 - COVERED


def _change(what: str, unit: str, before: float, after: float, ratio: Spread, *, few: bool) -> Change:
    above, below = VERDICTS[unit]
    verdict = ""
    if ratio.least > 1 and ratio.median > 1 + DRIFT:
        verdict = above
    elif ratio.largest < 1 and ratio.median < 1 / (1 + DRIFT):
        verdict = below
    return Change(what, unit, before, after, ratio, "" if few else verdict, few)


def _comparison(changes: Iterable[Change], old: _Figures, new: _Figures) -> Comparison:
    common = [what for what in new.rows if what in old.rows]
    lost = [what for what in common if old.rows[what] and not new.rows[what]]
    gained = [what for what in common if new.rows[what] and not old.rows[what]]
    missing = old.rows.keys() ^ new.rows.keys()
    differences = [
        line
        for name in new.headers
        if name in old.headers
        for line in _differences(name, old.headers[name]._asdict(), new.headers[name]._asdict())
    ]
    return Comparison(tuple(changes), *map(tuple, (lost, gained, sorted(missing), differences)))


def _both(old: _Figures, new: _Figures) -> list[str]:
    return [what for what, seconds in new.rows.items() if seconds and old.rows.get(what)]


def _differences(suite: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    begin = f"{suite}: " if suite else ""
    lines = []
    for field in ALIKE:
        one, other = old.get(field), new.get(field)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            changed = [
                f"{name} {one.get(name, 'none')} and {other.get(name, 'none')}"
                for name in sorted(one.keys() | other.keys())
                if one.get(name) != other.get(name)
            ]
            lines.append(f"{begin}versions differ: {', '.join(changed)}.")
        else:
            lines.append(f"{begin}{field} differs: {one} and {other}.")
    return lines

# SPDX-License-Identifier: Apache-2.0
"""A CUTEst benchmark for people: a table for the terminal, and Markdown.

Medians are over the problems that a solver itself solved, so a solver that solves only the easy ones looks quick there;
the ratios are over the problems that both solved, and are the figures to compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from jopt import console
from jopt.bench import scores
from jopt.bench.cutest_records import Header, Race, Row, Settings

COLUMNS = (
    "solver",
    "solved",
    "to\ngtol",
    "false\nclaims",
    "failed",
    "iters",
    "evals",
    "HVPs",
    "compile\ns",
    "run\nms",
    "time\nratio",
    "evals\nratio",
    "HVPs\nratio",
    "over",
)
"""Of the main table: `solved` as `jopt.bench.scores` says, `to gtol` with |g| <= gtol to the letter, `over` the problems that
the ratios are taken over."""


def cells(summary: scores.Summary) -> tuple[str, ...]:
    """Return a row of the main table."""
    return (
        summary.solver,
        f"{summary.solved}/{summary.problems}",
        str(summary.strict),
        str(summary.false_claims),
        str(summary.errors),
        _count(summary.nit),
        _count(summary.nfev),
        _count(summary.nhev),
        _number(summary.compile_s, ".2f"),
        _number(1e3 * summary.run_s, ".3g"),
        _number(summary.time.mean, ".2f"),
        _number(summary.evaluations.mean, ".2f"),
        _number(summary.products.mean, ".2f"),
        str(summary.time.over),
    )


def table(summaries: Iterable[scores.Summary]) -> Any:
    """Return the rich table, one row for each solver."""
    made = console.grid(COLUMNS, left=1)
    for summary in summaries:
        made.add_row(*cells(summary))
    return made


def heading(race: Race, against: str) -> str:
    """Return what was measured, where and against whom, in a few lines."""
    asked = race.settings
    count = len(scores.complete(race))
    lines = [
        f"{title(asked)}, {count} of {len(asked.names)} problems, {asked.precision}, gtol {asked.gtol:g}, at most "
        f"{asked.maxiter} iterations and {asked.limit:g} s",
        f"medians over the problems that each solved; ratios to {against}, geometric means over those that both solved",
    ]
    lines += [_circumstances(header) for header in race.headers]
    if len(race.headers) > 1:
        lines.append("the file was added to under other circumstances: times across them are not comparable")
    return "\n".join(lines)


def title(settings: Settings) -> str:
    """Return which problems were raced on."""
    known = {"catalogue": "problems of jopt", "all": "problems of jopt and CUTEst"}
    cutest = f"CUTEst, {settings.family}, {share(settings.names)}"
    return known.get(settings.family, cutest)


def share(names: Sequence[str]) -> str:
    """Return which half the problems are of."""
    from jopt.bench.cutest_problems import half

    halves = sorted({half(name) for name in names})
    return "both halves" if len(halves) > 1 else f"{''.join(halves)} half"


def markdown(race: Race, solved: scores.Verdicts, against: str) -> str:
    """Return the whole account: the main table, ratios of times of each to each, and what was not solved.

    Args:
      race: the race.
      solved: its verdicts.
      against: the solver whose times the others' are divided by.
    """
    rows = [cells(summary) for summary in scores.summaries(race, solved, against)]
    parts = [
        heading(race, against).replace("\n", ";\n") + ".",
        console.markdown_grid([" ".join(c.split()) for c in COLUMNS], rows),
    ]
    for least_size, where in ((0, "all problems"), (scores.LARGE, f"problems with n >= {scores.LARGE}")):
        matrix = _matrix(race, solved, least_size)
        if matrix:
            parts += [f"Run time of the row's solver over that of the column's, {where} that both solved:", matrix]
    parts += _failures(race, solved)
    return "\n\n".join(parts) + "\n"


def _matrix(race: Race, solved: scores.Verdicts, least_size: int) -> str:
    methods = race.settings.methods
    ratios = {
        (one, other): scores.ratio(race, solved, one, other, least_size=least_size)
        for one in methods
        for other in methods
    }
    if len(methods) < 2 or not any(ratio.over for ratio in ratios.values()):
        return ""
    rows = [
        (one, *(_number(ratios[one, other].mean, ".2f") + f" ({ratios[one, other].over})" for other in methods))
        for one in methods
    ]
    return console.markdown_grid(["", *methods], rows)


def _failures(race: Race, solved: scores.Verdicts) -> list[str]:
    """Return sentences that name the problems nobody solved, and for each solver those it did not, and its errors."""
    complete = scores.complete(race)
    nobody = [name for name, rows in complete.items() if not any(solved[name, method] for method in rows)]
    parts = [f"Solved by none: {', '.join(nobody) or 'no problem'}."]
    lines = []
    for method in race.settings.methods:
        missed = [rows[method] for name, rows in complete.items() if not solved[name, method] and name not in nobody]
        told = ", ".join(_missed(row, race.settings.gtol) for row in missed)
        lines.append(f"- {method}: {told or 'solved all that any solved'}")
    return [*parts, "Solved by another, and not by\n\n" + "\n".join(lines)]


def _missed(row: Row, gtol: float) -> str:
    if row.error:
        return f"{row.problem} ({row.error.split(':')[0]})"
    return f"{row.problem} (claimed)" if scores.false_claim(row, gtol) else row.problem


def _circumstances(header: Header) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in header.versions.items())
    return f"{header.device}; {versions}; commit {header.commit or 'unknown'}"


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def _count(value: float) -> str:
    return _number(value, ".0f") if value >= 0 else "-"

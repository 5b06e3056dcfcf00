# SPDX-License-Identifier: Apache-2.0
"""A suite for people: a table for the terminal, and Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jopt import console
from jopt.bench.measurements import Header, Spread, Summary, summaries
from jopt.bench.suites import Measured, Suite

COLUMNS = (
    "case",
    "contender",
    "median",
    "range",
    "ratio",
    "range",
    "above\nfirst",
    "of the\nlimit",
    "compile\ns",
    "compile\nratio",
    "peak\nMiB",
)
"""Of the table, before those of the suite; one that holds nothing is left out."""

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))

NOTHING = "-"


def heading(suite: Suite, header: Header, unit: str) -> str:
    """Return what was measured and where, in a few lines.

    Args:
      suite: that was run.
      header: of its rows.
      unit: of the work that was timed.
    """
    rate = "" if header.copy_rate is None else f"; a copy moves {header.copy_rate / 1e9:.3g} GB/s, which is the limit"
    versions = ", ".join(f"{name} {version}" for name, version in header.versions.items())
    return "\n".join(
        (
            f"{suite.name}: {suite.title} {header.precision}{', quick' if header.quick else ''}",
            f"time of one {unit}, median of {header.rounds} rounds in turn, with the least and the largest; ratio: time of the "
            f"first of the case over own, round by round, above 1 is faster{rate}",
            f"{header.device}; {versions}; commit {header.commit or 'unknown'}",
        )
    )


def unit_of(measured: Measured) -> str:
    """Return the unit of work of a suite that was run."""
    return next((row.unit for row in measured.rows), "unit")


def shown(suite: Suite, measured: Measured) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the names of the columns that hold something, and the rows.

    Args:
      suite: that was run.
      measured: what came of it.
    """
    names = (*COLUMNS, *(name.replace(" ", "\n") for name in suite.columns))
    told = summaries(measured.rows, measured.header.copy_rate)
    rows = [(*_cells(summary), *_figures(suite, summary)) for summary in told]
    kept = [i for i in range(len(names)) if any(row[i] != NOTHING for row in rows)]
    return tuple(names[i] for i in kept), [tuple(row[i] for i in kept) for row in rows]


def table(suite: Suite, measured: Measured) -> Any:
    """Return the rich table, one row for each contender of each case."""
    names, rows = shown(suite, measured)
    made = console.grid(names, left=2)
    previous = ""
    for row in rows:
        if previous and row[0] != previous:
            made.add_section()
        made.add_row("" if row[0] == previous else row[0], *row[1:])
        previous = row[0]
    return made


def markdown(suite: Suite, measured: Measured) -> str:
    """Return heading, table and failures as Markdown."""
    parts = [heading(suite, measured.header, unit_of(measured)).replace("\n", ";\n") + "."]
    parts.append(console.markdown_grid(*shown(suite, measured)))
    parts += [f"- {row.case}, {row.contender}: {row.error}" for row in measured.rows if row.error]
    return "\n\n".join(parts) + "\n"


def seconds(value: float) -> str:
    """Return a time with a unit that suits it.

    Example:
      >>> seconds(0.00123456)
      '1.23 ms'
    """
    if not math.isfinite(value):
        return NOTHING
    scale, unit = next((pair for pair in UNITS if value >= pair[0]), UNITS[-1])
    return f"{value / scale:.3g} {unit}"


def _cells(summary: Summary) -> tuple[str, ...]:
    row = summary.row
    peak = NOTHING if row.peak_bytes is None else f"{row.peak_bytes / 2**20:,.1f}"
    return (
        row.case,
        row.contender,
        "failed" if row.error else seconds(summary.seconds.median),
        _between_seconds(summary.seconds),
        _number(summary.ratio.median),
        _between(summary.ratio),
        _above(summary),
        _number(summary.limit),
        _number(row.trace_s + row.compile_s),
        _number(summary.compilation),
        peak,
    )


def _above(summary: Summary) -> str:
    """Return the seconds of a compilation beyond those of the first: what an aim with a fixed part is held to."""
    known = summary.row.unit == "compilation" and math.isfinite(summary.above.median)
    return f"{summary.above.median:+.2f} s" if known else NOTHING


def _figures(suite: Suite, summary: Summary) -> Sequence[str]:
    return [_figure(summary.row.figures.get(name)) for name in suite.columns]


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else NOTHING
    return NOTHING if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _between_seconds(spread: Spread) -> str:
    """Return the ends in the unit of the larger."""
    if not math.isfinite(spread.largest):
        return NOTHING
    scale, _ = next((pair for pair in UNITS if spread.median >= pair[0]), UNITS[-1])
    return f"{spread.least / scale:.3g}-{spread.largest / scale:.3g}"


def _between(spread: Spread) -> str:
    return f"{spread.least:.2f}-{spread.largest:.2f}" if math.isfinite(spread.median) else NOTHING


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else NOTHING

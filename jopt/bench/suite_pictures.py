# SPDX-License-Identifier: Apache-2.0
"""The picture that suits a suite: a roofline where moving memory is the limit, else time against size."""

from __future__ import annotations

import re
from typing import Any

from jopt import viz
from jopt.bench.measurements import Row
from jopt.bench.suites import Measured, Suite

_NUMBER = re.compile(r"[\d,.]+[kMG]?")
"""A word of a case that says its size, as in "1,000 rosenbrock" or "leaf 16M"."""


def picture(suite: Suite, measured: Measured, theme: str) -> Any:
    """Return the figure of a suite, or None if nothing was measured.

    Args:
      suite: that was run.
      measured: what came of it.
      theme: "light" or "dark".
    """
    rows = [row for row in measured.rows if row.seconds]
    if not rows:
        return None
    title = f"{suite.name}, {measured.header.precision}, {measured.header.device}"
    if suite.limited and measured.header.copy_rate is not None:
        rows = [row._replace(case=setting(row)) for row in rows]
        return viz.roofline(rows, measured.header.copy_rate, measured.header.flop_rate, title=title, theme=theme)
    if len({(row.contender, row.size) for row in rows}) < len(rows):  # kinds of cases of one size are no spread
        rows = [row._replace(contender=f"{row.contender}: {family(row)}") for row in rows]
    return viz.time_against_size(rows, title=title, theme=theme)


def family(row: Row) -> str:
    """Return the case of a row without its size.

    Example:
      >>> family(Row("batch", "1,000 rosenbrock", 1000, "jopt bfgs, vmap", "solve"))
      'rosenbrock'
    """
    return " ".join(word for word in row.case.split() if not _NUMBER.fullmatch(word))


def setting(row: Row) -> str:
    """Return the case of a row without the parts that its contender says already.

    Example:
      >>> setting(Row("steps", "adam, leaf 16M", 16, "jopt adam", "step"))
      'leaf 16M'
    """
    said = row.contender.split()
    return ", ".join(part for part in row.case.split(", ") if part not in said)

# SPDX-License-Identifier: Apache-2.0
"""`jopt problems`: the catalogue as a table or as JSON, and one problem in full.

typer and rich come with the extra `race`; they are imported when the command runs.
"""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import jax
import numpy as np

from jopt import console, problems, validate
from jopt.problems.records import Problem

COLUMNS = ("name", "n", "minimum", "starts", "source")

POINTS = ("starts", "minimisers", "local_minimisers", "stationary")

SHOWN = 8
"""Entries of a point that are printed."""

WIDTH = 120
"""Columns of the output where there is no terminal to ask."""


def show_all(*, as_json: bool) -> None:
    """Print the catalogue.

    Args:
      as_json: as one JSON list, for machines.
    """
    told = [_summary(name) for name in problems.names()]
    if as_json:
        print(json.dumps(told, indent=2, allow_nan=False))
        return
    table = console.grid(COLUMNS)
    for line in told:
        lacking = line["n"] is None
        minimum = "unbounded" if line["unbounded"] else "unknown" if line["minimum"] is None else f"{line['minimum']:g}"
        cells = ("-", "-", "-") if lacking else (str(line["n"]), minimum, str(line["starts"]))
        table.add_row(line["name"], *cells, line["source"])
    table.columns[-1].justify = "left"
    out = console.terminal(WIDTH)
    out.print(table)
    out.print("In full: jopt problems NAME. In Python: jopt.problems.get(NAME).", markup=False)


def show(name: str, *, as_json: bool) -> int:
    """Print one problem in full, and return the exit code.

    Args:
      name: of the catalogue.
      as_json: as one JSON object, for machines.

    Raises:
      ValueError: if there is no such problem.
    """
    validate.choice("jopt problems", "the problem", name, problems.names())
    try:
        made = problems.get(name)
    except ImportError as error:
        return console.complain(str(error))
    if as_json:
        print(json.dumps(_full(name, made), indent=2, allow_nan=False))
        return 0
    print(made, "", inspect.getdoc(getattr(problems, name)), "", f"n: {_size(made)}", sep="\n")
    print(f"minimum: {'unknown' if made.minimum is None else made.minimum}")
    for kind in POINTS:
        for i, point in enumerate(getattr(made, kind)):
            print(f"{kind.replace('_', ' ')}[{i}]: {_brief(point)}")
    if made.n_terms:
        print(f"terms: {made.n_terms}")
    if _size(made) == 2 and isinstance(made.starts[0], np.ndarray):
        print(f"\nTo see methods on it: jopt race {name} --png {name}.png")
    return 0


def _summary(name: str) -> dict[str, Any]:
    try:
        made = problems.get(name)
    except ImportError as error:
        return {"name": name, "n": None, "minimum": None, "unbounded": False, "starts": None, "source": str(error)}
    return {"name": name, "n": _size(made), **_minimum(made), "starts": len(made.starts), "source": made.source}


def _full(name: str, made: Problem) -> dict[str, Any]:
    points = {kind: jax.tree.map(lambda x: x.tolist(), list(getattr(made, kind))) for kind in POINTS}
    return {"name": name, "n": _size(made), **_minimum(made), **points, "terms": made.n_terms, "source": made.source}


def _minimum(made: Problem) -> dict[str, Any]:
    unbounded = made.minimum == -math.inf
    return {"minimum": None if unbounded else made.minimum, "unbounded": unbounded}


def _size(made: Problem) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(made.starts[0]))


def _brief(point: Any) -> str:
    """Return a point in one line, only the shapes of large arrays."""
    shown = jax.tree.map(lambda x: x.tolist() if x.size <= SHOWN else f"<{list(x.shape)}>", point)
    return str(shown)

# SPDX-License-Identifier: Apache-2.0
"""The suites of the benchmark by name, and how one is run.

A suite is a function that returns heats (`jopt.bench.turns`) for a scope; all else is shared: turns, files, tables,
pictures, the command line. Making the heats starts nothing and allocates nothing, so names can be listed and checked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from jopt import validate
from jopt.bench import circumstances
from jopt.bench.measurements import FILE, Header, Row
from jopt.bench.turns import Heat, Report, copy_rate, flop_rate, most_rounds, run_heats

PACKAGES = ("jax", "jaxlib", "optax", "optimistix", "jaxopt", "scipy", "torch", "sif2jax")
"""Packages whose versions a header names, where they are installed."""

PRECISIONS = ("float32", "float64")


class Scope(NamedTuple):
    """What of a suite is asked for.

    Attributes:
      precision: "float32" or "float64".
      quick: small sizes and few contenders, done within a minute on two cores.
      cases: names of cases; empty means all.
      contenders: names of contenders; empty means all.
      rounds: turns of each contender, >= 1.
    """

    precision: str = "float32"
    quick: bool = False
    cases: tuple[str, ...] = ()
    contenders: tuple[str, ...] = ()
    rounds: int = 7


class Suite(NamedTuple):
    """One benchmark.

    Attributes:
      name: on the command line.
      title: what it measures, one sentence.
      heats: `(scope) -> heats`, all of them: names are picked by `chosen`.
      limited: whether its work only moves memory, so that the copy rate is its limit.
      columns: names of `Row.figures` that its table shows.
      precision: the default.
    """

    name: str
    title: str
    heats: Callable[[Scope], tuple[Heat, ...]]
    limited: bool = False
    columns: tuple[str, ...] = ()
    precision: str = "float32"


class Measured(NamedTuple):
    """A suite that was run.

    Attributes:
      header: how it was measured.
      rows: one for each contender of each case, in the order they ran.
    """

    header: Header
    rows: tuple[Row, ...]


def chosen(suite: Suite, scope: Scope) -> tuple[Heat, ...]:
    """Return the heats of a suite that a scope asks for.

    Raises:
      ValueError: if a name is unknown; the message lists them and suggests the nearest.
      TypeError: if the number of rounds is none.
    """
    name = f"jopt bench {suite.name}"
    validate.choice(name, "precision", scope.precision, PRECISIONS)
    validate.integer(name, "rounds", scope.rounds, low=1)
    heats = suite.heats(scope)
    for case in scope.cases:
        validate.choice(name, "cases", case, {heat.case for heat in heats})
    for contender in scope.contenders:
        validate.choice(name, "contenders", contender, {c.name for heat in heats for c in heat.contenders})
    heats = [heat for heat in heats if not scope.cases or heat.case in scope.cases]
    if scope.contenders:
        heats = [heat._replace(contenders=_named(heat, scope.contenders)) for heat in heats]
    return tuple(heat for heat in heats if heat.contenders)


def run_suite(suite: Suite, scope: Scope, path: Path | None = None, report: Report | None = None) -> Measured:
    """Run a suite.

    The precision is a setting of the process in JAX: float64 is switched on or off here, and stays so.

    Args:
      suite: which.
      scope: what of it.
      path: file of JSON lines to which header and rows are added as they come; None keeps no file.
      report: told of each contender as it begins, and of the end.

    Returns:
      The header and the rows.

    Raises:
      ValueError: if a name is unknown or a number is out of its range.
      TypeError: if a number is none.
      OSError: if the file cannot be written.
    """
    heats = chosen(suite, scope)
    jax.config.update("jax_enable_x64", scope.precision == "float64")
    rates = (copy_rate(), flop_rate()) if suite.limited else (None, None)
    rounds = max((most_rounds(heat, scope.rounds) for heat in heats), default=0)
    asked = (suite.name, scope.precision, scope.quick, rounds)
    header = Header(*asked, circumstances.device(), circumstances.versions(PACKAGES), circumstances.commit(), *rates)
    if path is not None:
        FILE.append(path, header)
    rows = []
    for row in run_heats(suite.name, heats, scope.rounds, report):
        rows.append(row)
        if path is not None:
            FILE.append(path, row)
    return Measured(header, tuple(rows))


def _named(heat: Heat, names: tuple[str, ...]) -> tuple:
    return tuple(contender for contender in heat.contenders if contender.name in names)

# SPDX-License-Identifier: Apache-2.0
"""Which values of a program have a row in a table and a node in a graph, and which rows an operation uses.

An input has one row, or one for each entry where only single entries of it are used; every array constant and every
output of an operation has one. Folded values have none: who uses them uses the row of what they show. Numbers that stand
in the program have none either.
"""

from __future__ import annotations

from typing import NamedTuple

from jopt.autodiff.program import Program


class Place(NamedTuple):
    """A row.

    Attributes:
      value: the index in `Program.values`.
      operation: the index of the operation that makes it, None for inputs and constants.
      operands: the rows of what the operation uses, in the order of its formula, one for each use.
    """

    value: int
    operation: int | None
    operands: tuple[int, ...]


class Layout(NamedTuple):
    """The rows of a program.

    Attributes:
      places: in the order of evaluation, inputs and constants first.
      outputs: for each output of the program its row, None for a number.
    """

    places: tuple[Place, ...]
    outputs: tuple[int | None, ...]


def layout(program: Program) -> Layout:
    """Return the rows of a program.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff.layout import layout
      >>> from jopt.autodiff.program import trace
      >>> program = trace(lambda t: t[0] * jnp.sin(t[0]), jnp.ones(2))
      >>> [(program.values[place.value].name, place.operands) for place in layout(program).places]
      [('t[0]', ()), ('a1', (0,)), ('a2', (0, 1))]
    """
    places: list[Place] = []
    rows: dict[int, int] = {}

    def add(values: list[int], operation: int | None = None, operands: tuple[int, ...] = ()) -> None:
        rows.update(dict.fromkeys(values, len(places)))
        places.append(Place(values[0], operation, operands))

    for i in program.inputs:
        entries = program.entries(i)
        covered = entries and i not in program.outputs and set(program.direct_users(i)) <= set(program.sources(entries))
        for group in entries.values() if covered else [[i]]:
            add(group)
    for i, value in enumerate(program.values):
        if value.kind == "constant":
            add([i])
    for k, operation in enumerate(program.operations):
        if not operation.folded:
            used = (_row(program, rows, i) for i in operation.inputs)
            operands = tuple(row for row in used if row is not None)
            for i in operation.outputs:
                if i is not None:
                    add([i], k, operands)
    return Layout(tuple(places), tuple(_row(program, rows, i) for i in program.outputs))


def _row(program: Program, rows: dict[int, int], value: int) -> int | None:
    """Return the row of a value or, of a folded one, that of what it shows; None for a number."""
    view = program.values[value].view
    if value in rows or view is None:
        return rows.get(value)
    if view.base in rows:
        return rows[view.base]
    for other, row in rows.items():  # an input with a row for each entry
        shown = program.values[other].view
        if shown is not None and (shown.base, shown.ranges) == (view.base, view.ranges):
            return row
    return None

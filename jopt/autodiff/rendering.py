# SPDX-License-Identifier: Apache-2.0
"""How evaluation tables look: plain text, Markdown, HTML and LaTeX.

A table becomes one or two grids of cells (the values; in reverse mode also the adjoints), and each form writes grids.
Bodies of loops and branches follow the grid that their row stands in, indented or under a title.
"""

from __future__ import annotations

import html as _html
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import report
from jopt.autodiff.program import Operation, Program, Value, as_text, without_ones

SHORT = 4  # entries up to which a vector is written out
FIRST = 3  # entries shown of longer arrays

INFIX = {
    "add": "+", "add_any": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "rem": "%", "gt": ">", "ge": ">=",
    "lt": "<", "le": "<=", "eq": "==", "ne": "!=", "and": "&", "or": "|", "xor": "^", "dot_general": "@",
}  # fmt: skip
QUIET = ("accuracy", "precision", "sharding", "out_sharding", "num_consts", "weak_type", "index_dtype")


class Grid(NamedTuple):
    """A grid of cells.

    Attributes:
      title: a line above it, may be empty.
      header: the names of the columns.
      rows: the cells; a column of numbers stands to the right, names and formulas to the left.
      numeric: the columns of numbers.
      bodies: (row, table) for each row with a table within.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numeric: tuple[int, ...]
    bodies: list[tuple[int, Any]]


def formula(program: Program, operation: Operation) -> str:
    """Return an operation on the names of its operands, in Python's notation."""
    made = operation.equation.outvars[0].aval if len(operation.outputs) == 1 else None
    names = [_operand(program.values[i], made) for i in operation.inputs]
    params = operation.equation.params
    plain = operation.kind == "primitive"
    if plain and operation.name in INFIX and len(names) == 2:
        return f"{names[0]} {INFIX[operation.name]} {names[1]}"
    if plain and operation.name == "neg":
        return f"-{names[0]}"
    if plain and operation.name == "integer_pow":
        return f"{names[0]}**{params['y']}"
    if plain and operation.name == "convert_element_type":
        return f"{jnp.dtype(params['new_dtype']).name}({names[0]})"
    settings = [f"{key}={value}" for key, value in sorted(params.items()) if plain and _worth_showing(key, value)]
    return f"{operation.name}({', '.join([*names, *settings])})"


def _operand(value: Value, made: Any) -> str:
    """Return the name of an operand; a broadcast is said where the shape of the result does not say it."""
    shape = value.aval.shape
    same = value.view is None or without_ones(value.view.shape) == without_ones(shape)
    if same or (made is not None and made.shape == shape):
        return value.name
    return f"broadcast_to({value.name}, {shape})"


def number(value: Any) -> str:
    """Return a number or an abridged array as text, "-" for None."""
    if value is None:
        return "-"
    kind = jnp.result_type(value)
    if jnp.issubdtype(kind, jax.dtypes.extended):  # random keys, whose numbers say nothing
        return f"{kind}{list(jnp.shape(value))}"
    array = np.asarray(value) if not jnp.issubdtype(kind, jnp.bfloat16) else np.asarray(value, np.float32)
    if array.ndim == 0:
        return as_text(array.item())
    entries = array.reshape(-1)
    if array.ndim == 1 and array.size <= SHORT:
        return f"[{', '.join(as_text(e.item()) for e in entries)}]"
    shown = [as_text(e.item()) for e in entries[:FIRST]] + (["..."] if array.size > FIRST else [])
    return f"{kind.name}{list(array.shape)} [{', '.join(shown)}]"


def text(table: Any) -> str:
    """Return a table as aligned text."""
    return "\n".join(line for grid in grids(table) for line in _lines(grid))


def markdown(table: Any) -> str:
    """Return a table in Markdown."""
    parts: list[str] = []
    for grid in grids(table):
        marks = ["---:" if column in grid.numeric else ":---" for column in range(len(grid.header))]
        lines = [_pipes(grid.header), _pipes(marks)]
        for row in grid.rows:
            lines.append(_pipes([c if k in grid.numeric else _code(c) for k, c in enumerate(row)]))
        parts += [*([f"{grid.title}\n"] if grid.title else []), *lines, ""]
    parts += [f"Within {_code(row.name)}:\n\n{markdown(row.body)}" for row in table.rows if row.body is not None]
    return "\n".join(parts).strip() + "\n"


def html(table: Any) -> str:
    """Return a table in HTML."""
    parts: list[str] = []
    for grid in grids(table):
        head = "".join(f"<th>{_html.escape(cell)}</th>" for cell in grid.header)
        bodies = dict(grid.bodies)
        parts.append(f"<table>{_caption(grid.title)}<thead><tr>{head}</tr></thead><tbody>")
        for k, row in enumerate(grid.rows):
            cells = (_cell(cell, column in grid.numeric) for column, cell in enumerate(row))
            parts.append(f"<tr>{''.join(cells)}</tr>")
            if k in bodies:
                parts.append(f'<tr><td></td><td colspan="{len(grid.header) - 1}">{html(bodies[k])}</td></tr>')
        parts.append("</tbody></table>")
    return "\n".join(parts)


def latex(table: Any) -> str:
    """Return a table in LaTeX."""
    parts: list[str] = []
    for grid in grids(table):
        columns = "".join("r" if column in grid.numeric else "l" for column in range(len(grid.header)))
        lines = [f"% {grid.title}"] if grid.title else []
        lines += [rf"\begin{{tabular}}{{{columns}}}", r"\hline", " & ".join(grid.header) + r" \\", r"\hline"]
        for row in grid.rows:
            cells = [_mathematics(c) if k in grid.numeric else _typewriter(c) for k, c in enumerate(row)]
            lines.append(" & ".join(cells) + r" \\")
        parts.append("\n".join([*lines, r"\hline", r"\end{tabular}"]))
    parts += [f"% within {row.name}\n{latex(row.body).rstrip()}" for row in table.rows if row.body is not None]
    return "\n\n".join(parts) + "\n"


def grids(table: Any) -> list[Grid]:
    """Return a table as grids of text: the values, and in reverse mode the adjoints."""
    bodies = [(k, row.body) for k, row in enumerate(table.rows) if row.body is not None]
    if table.mode == "forward":
        rows = [(row.name, row.formula, number(row.value), number(row.tangent)) for row in table.rows]
        return [Grid(table.title, ("name", "operation", "value", "tangent"), rows, (2, 3), bodies)]
    rows = [(row.name, row.formula, number(row.value)) for row in table.rows]
    if table.mode == "primal":
        return [Grid(table.title, ("name", "operation", "value"), rows, (2,), bodies)]
    adjoints = [(a.name, number(a.value), _sum(a.contributions)) for a in table.adjoints]
    title = f"{table.title}: " if table.title else ""
    return [
        Grid(f"{title}forward pass", ("name", "operation", "value"), rows, (2,), bodies),
        Grid(f"{title}reverse pass", ("name", "adjoint", "contributions"), adjoints, (1,), []),
    ]


def _worth_showing(key: str, value: Any) -> bool:
    """Return whether a setting is short and says what the operation does: a number, an axis, a word."""
    if key in QUIET or isinstance(value, bool):
        return False
    return isinstance(value, (int, str)) or (
        isinstance(value, tuple) and len(value) > 0 and all(type(v) is int for v in value)
    )


def _sum(contributions: Any) -> str:
    return " + ".join(f"{number(amount)} from {user}" for user, amount in contributions)


def _lines(grid: Grid) -> list[str]:
    left = set(range(len(grid.header))) - set(grid.numeric)
    header, *rows = report.columns(grid.header, grid.rows, left)
    bodies = dict(grid.bodies)
    lines = [*([grid.title] if grid.title else []), header, "-" * max(map(len, [header, *rows]))]
    for k, row in enumerate(rows):
        lines.append(row)
        if k in bodies:
            lines += [f"    | {line}" for line in text(bodies[k]).splitlines()]
    return lines


def _pipes(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _code(cell: str) -> str:
    """Return a cell as a Markdown code span; a bar would end the cell."""
    return f"`{cell.replace('`', chr(39)).replace('|', chr(92) + '|')}`" if cell else ""


def _caption(title: str) -> str:
    return f"<caption>{_html.escape(title)}</caption>" if title else ""


def _cell(cell: str, numeric: bool) -> str:
    side = "right" if numeric else "left"
    return f'<td style="text-align: {side}">{_html.escape(cell)}</td>'


SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "^": r"\^{}", "#": r"\#", "$": r"\$", "%": r"\%",
    "&": r"\&", "~": r"\~{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def _escaped(cell: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in cell)


def _typewriter(cell: str) -> str:
    return rf"\texttt{{{_escaped(cell)}}}" if cell else ""


def _mathematics(cell: str) -> str:
    """Return a number with its power of ten written out; arrays and dashes as text."""
    match = re.fullmatch(r"(-?[0-9.]+)(?:e([+-]?[0-9]+))?", cell)
    if match is None:
        return _escaped(cell)
    return f"${match[1]}$" if match[2] is None else rf"${match[1]} \cdot 10^{{{int(match[2])}}}$"

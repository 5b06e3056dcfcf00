# SPDX-License-Identifier: Apache-2.0
"""How records of results print: one line for each field, numbers with their errors, a status by its name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jopt.status import KrylovStatus

DIGITS = 7
SHOWN = 8  # entries up to which a vector is written out
NUMBERS = (jax.Array, np.ndarray, np.generic, bool, int, float)


def record(self: Any) -> str:
    """Return a NamedTuple as a table; bind it as `__repr__`. Traced values print as what they are."""
    rows, fields = {}, self._asdict()
    for field, value in fields.items():
        if field == "status":
            rows[field] = _leaf(value, _status)
        elif not is_concrete(value):
            rows |= {} if value is None else {field: str(jax.tree.map(_leaf, value)).replace("'", "")}
        elif not (field.endswith("_error") and field.removesuffix("_error") in fields):  # else behind its number
            rows[field] = number(value, fields.get(f"{field}_error"))
    return table(type(self).__name__, rows)


def table(name: str, rows: dict[str, str]) -> str:
    """Return the name and the rows, field names aligned to the right."""
    width = max(map(len, rows), default=0)
    return "\n".join([f"{name}:", *(f"  {field:>{width}}: {text}" for field, text in rows.items())])


def columns(header: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Return the lines of a table, the header's first: cells two blanks apart, aligned to the right but in `left` columns."""
    cells = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = (
        (c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    )
    return ["  ".join(row).rstrip() for row in padded]


def number(value: Any, error: Any = None) -> str:
    """Return a scalar as text, with its error if there is one; arrays and traced values as what they are."""
    if not is_concrete(value):
        return f"{value.dtype}{list(value.shape)}" if hasattr(value, "dtype") else repr(value)
    text = f"{float(value):.{DIGITS}g}" if jnp.issubdtype(jnp.result_type(value), jnp.floating) else str(value)
    return f"{text} +- {float(error):.1g}" if is_concrete(error) else text


def is_concrete(value: Any, ndim: int = 0) -> bool:
    """Return whether a value can be read as one number now, or as a vector of them."""
    readable = isinstance(value, NUMBERS) and not isinstance(value, Tracer) and np.ndim(value) == ndim
    return readable and bool(jnp.isdtype(jnp.result_type(value), ("bool", "integral", "real floating")))


def _leaf(value: Any, text: Any = number) -> str:
    short = is_concrete(value, 1) and len(value) <= SHOWN
    return f"[{', '.join(map(text, np.asarray(value)))}]" if short else text(value)


def _status(value: Any) -> str:
    names = {int(status): status.name for status in KrylovStatus}
    return names.get(int(value), str(value)) if is_concrete(value) else number(value)

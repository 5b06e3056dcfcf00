# SPDX-License-Identifier: Apache-2.0
"""How the records of this room print: one line for each field, numbers with their errors."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

DIGITS = 7


def table(name: str, rows: dict[str, str]) -> str:
    """Return the name and the rows, field names aligned to the right."""
    width = max(map(len, rows), default=0)
    return "\n".join([f"{name}:", *(f"  {field:>{width}}: {text}" for field, text in rows.items())])


def number(value: Any, error: Any = None) -> str:
    """Return a scalar as text, with its error if there is one; arrays and traced values as what they are."""
    if not is_concrete_scalar(value):
        return _outline(value)
    text = f"{float(value):.{DIGITS}g}"
    return f"{text} +- {float(error):.1g}" if error is not None and is_concrete_scalar(error) else text


def is_concrete_scalar(value: Any) -> bool:
    """Return whether a value can be read as one number now."""
    return not isinstance(value, Tracer) and np.ndim(value) == 0


def _outline(value: Any) -> str:
    return f"{jax.numpy.result_type(value)}{list(np.shape(value))}"

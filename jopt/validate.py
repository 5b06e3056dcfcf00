# SPDX-License-Identifier: Apache-2.0
"""The wording of every error about a setting, in one place.

Each helper returns the value it was given when the value is admissible; otherwise it raises an error that names the
function, the argument, the value and the admissible set. Traced values pass: they have no value to look at yet.

Nothing here sees a parameter tree; errors about trees are raised by `jopt.tree`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import jax


def number(
    function: str,
    argument: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
    hint: str = "",
) -> Any:
    """Check that a real number lies between `low` and `high`; NaN never does."""
    if isinstance(value, jax.core.Tracer):
        return value
    interval = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
    try:
        x = float(value)
    except (TypeError, ValueError):
        msg = f"{function}: {argument} must be a number in {interval}, got {value!r} ({type(value).__name__}).{_pad(hint)}"
        raise TypeError(msg) from None
    above = x > low if low_open else x >= low
    below = x < high if high_open else x <= high
    if not (above and below):
        msg = f"{function}: {argument} must be in {interval}, got {value!r}.{_pad(hint)}"
        raise ValueError(msg)
    return value


def integer(function: str, argument: str, value: Any, *, low: int = 0, hint: str = "") -> Any:
    """Check that a whole number is at least `low`; booleans and floats are refused."""
    if isinstance(value, jax.core.Tracer):
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        msg = f"{function}: {argument} must be a whole number >= {low}, got {value!r} ({type(value).__name__}).{_pad(hint)}"
        raise TypeError(msg)
    if value.__index__() < low:
        msg = f"{function}: {argument} must be a whole number >= {low}, got {value!r}.{_pad(hint)}"
        raise ValueError(msg)
    return value


def choice(function: str, argument: str, value: Any, allowed: Iterable[str]) -> str:
    """Check that a word is one of `allowed`; a near miss is answered with a suggestion."""
    words = sorted(allowed)
    if value in words:
        return value
    near = difflib.get_close_matches(str(value), words, n=1)
    suggestion = f" Did you mean {near[0]!r}?" if near else ""
    msg = f"{function}: {argument} must be one of {', '.join(map(repr, words))}, got {value!r}.{suggestion}"
    raise ValueError(msg)


def _pad(hint: str) -> str:
    return f" {hint}" if hint else ""

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

import jax.numpy as jnp
from jax.core import Tracer


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
    if isinstance(value, Tracer):
        return value
    interval = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
    try:
        x = float(_not_text(value))
    except (TypeError, ValueError):
        msg = f"{function}: {argument} must be a number in {interval}, got {value!r} ({type(value).__name__}).{_pad(hint)}"
        raise TypeError(msg) from None
    above = x > low if low_open else x >= low
    below = x < high if high_open else x <= high
    if not (above and below):
        msg = f"{function}: {argument} must be in {interval}, got {value!r}.{_pad(hint)}"
        raise ValueError(msg)
    return value


def integer(function: str, argument: str, value: Any, *, low: int = 0, high: int | None = None, hint: str = "") -> Any:
    """Check that a whole number is at least `low`, at most `high`; booleans and floats are refused."""
    if isinstance(value, Tracer):
        return value
    allowed = f">= {low}" if high is None else f"in [{low}, {high}]"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        msg = f"{function}: {argument} must be a whole number {allowed}, got {value!r} ({type(value).__name__}).{_pad(hint)}"
        raise TypeError(msg)
    if value.__index__() < low or (high is not None and value.__index__() > high):
        msg = f"{function}: {argument} must be a whole number {allowed}, got {value!r}.{_pad(hint)}"
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


def floating_dtype(function: str, argument: str, value: Any) -> Any:
    """Check that a dtype is None or a real floating one."""
    if value is None:
        return None
    try:
        dtype = jnp.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        msg = (
            f"{function}: {argument} must be None or a floating dtype such as 'float32' or jnp.bfloat16, got {value!r}."
        )
        raise TypeError(msg)
    return dtype


def given(function: str, argument: str, value: Any, *, hint: str = "") -> Any:
    """Check that `update` received an argument that this transformation needs, such as `params` or `value`."""
    if value is None:
        msg = f"{function}: update needs {argument}, got None.{_pad(hint)}"
        raise ValueError(msg)
    return value


def _not_text(value: Any) -> Any:
    """Refuse text that `float` would read as a number."""
    if isinstance(value, (str, bytes)):
        raise TypeError
    return value


def _pad(hint: str) -> str:
    return f" {hint}" if hint else ""

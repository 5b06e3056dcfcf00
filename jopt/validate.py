# SPDX-License-Identifier: Apache-2.0
"""The wording of every error about a setting, in one place.

Each helper returns the value it was given when the value is admissible; otherwise it raises an error that names the
function, the argument, the value and the admissible set. Traced values pass: they have no value to look at yet.

Nothing here sees a parameter tree; errors about trees are raised by `jopt.tree`.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
    """Check that a real number lies between `low` and `high`.

    NaN never does, and a boolean is no number.
    """
    if isinstance(value, Tracer) and not value.shape:
        return value
    interval = f"{'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
    try:
        x = float(_one_number(value))
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
    """Check that a whole number is at least `low`, at most `high`.

    Booleans and floats are refused.
    """
    if isinstance(value, Tracer):
        return value
    allowed = f">= {low}" if high is None else f"in [{low}, {high}]"
    try:
        number_ = operator.index(value)
    except TypeError:  # also of an array of floats, which has an __index__ that raises
        number_ = None
    if number_ is None or isinstance(value, bool):
        msg = f"{function}: {argument} must be a whole number {allowed}, got {value!r} ({type(value).__name__}).{_pad(hint)}"
        raise TypeError(msg)
    if number_ < low or (high is not None and number_ > high):
        msg = f"{function}: {argument} must be a whole number {allowed}, got {value!r}.{_pad(hint)}"
        raise ValueError(msg)
    return value


def flag(function: str, argument: str, value: Any) -> bool:
    """Check that a switch is True or False.

    Text and numbers, which Python takes for either, are refused.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    msg = f"{function}: {argument} must be True or False, got {value!r} ({type(value).__name__})."
    raise TypeError(msg)


def scalar(function: str, argument: str, value: Any, *, hint: str = "") -> jax.Array:
    """Check that a number, such as a schedule's value, is a real scalar.

    It may be traced; it returns as an array.
    """
    try:
        array = jnp.asarray(_not_none(value))
    except (TypeError, ValueError):
        array = None
    if array is None or not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        msg = f"{function}: {argument} must be a real number, got {value!r} ({type(value).__name__}).{_pad(hint)}"
        raise TypeError(msg)
    if array.shape:
        msg = f"{function}: {argument} must be a scalar, got shape {array.shape}.{_pad(hint)}"
        raise ValueError(msg)
    return array


def sequence(function: str, argument: str, value: Any) -> list[Any]:
    """Check that an argument is a list or another sequence of things."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        msg = f"{function}: {argument} must be a list, got {value!r} ({type(value).__name__}); put it in brackets."
        raise TypeError(msg)
    return list(value)


def choice(function: str, argument: str, value: Any, allowed: Iterable[str], *, hint: str = "") -> str:
    """Check that a word is one of `allowed`.

    A near miss, whatever its case, is answered with a suggestion.
    """
    words = sorted(allowed)
    if value in words:
        return value
    near = difflib.get_close_matches(str(value).casefold(), words, n=1)
    suggestion = f" Did you mean {near[0]!r}?" if near else _pad(hint)
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
    """Check that `update` received an argument that it needs.

    Such are `params` and `value`.
    """
    if value is None:
        msg = f"{function}: update needs {argument}, got None.{_pad(hint)}"
        raise ValueError(msg)
    return value


def random_key(function: str, argument: str, value: Any) -> jax.Array:
    """Check that a value is one random key, or a whole number to make one of; return the key."""
    if isinstance(value, jax.Array):
        typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.shape == ()
        if typed or (value.dtype == jnp.uint32 and value.ndim == 1):
            return value
        if jnp.issubdtype(value.dtype, jnp.integer) and value.shape == ():
            return jax.random.key(value)
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return jax.random.key(value)
    msg = f"{function}: {argument} must be one random key such as jax.random.key(0), or a whole number, got {value!r}."
    raise TypeError(msg)


def _one_number(value: Any) -> Any:
    """Refuse what `float` would read as a number: text, booleans, arrays of one entry."""
    if isinstance(value, (str, bytes, bool, np.bool_)) or getattr(value, "shape", ()) or _dtype_of(value) == jnp.bool_:
        raise TypeError
    return value


def _dtype_of(value: Any) -> Any:
    return getattr(value, "dtype", None)


def _not_none(value: Any) -> Any:
    if value is None:
        raise TypeError
    return value


def _pad(hint: str) -> str:
    return f" {hint}" if hint else ""

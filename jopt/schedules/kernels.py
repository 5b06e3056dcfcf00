# SPDX-License-Identifier: Apache-2.0
"""What every schedule is made of: the callable, its settings, and the curves from one value to another.

A `Schedule` maps a step number t to a value. It takes a Python or NumPy integer, or an integer array of any shape, traced
or not, and works entry by entry; a number before 0 counts as 0, one beyond the int32 range as its end. The value has the
default floating dtype and, like a Python float, is weakly typed: it takes the dtype of the array it multiplies. (A setting
given as an array gives its own dtype to the value.)

Each curve runs from `start` at step `begin` to `end` at step `begin + steps` and is constant before and after. Steps are
subtracted and divided as integers as long as that is possible: exact for all int32 numbers. The two weights

    left = (begin + steps - t) / steps,   gone = (t - begin) / steps,   left + gone = 1

are computed apart, so that neither loses digits near its zero, and the value is start * left + end * gone, so that both
ends are hit exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jopt import validate
from jopt.types import Described, ScalarOrSchedule

LAST_COUNT = int(np.iinfo(np.int32).max)
"""The largest step number: counters are int32 and stay at their end (`optax.safe_increment`)."""

Number = float | jax.Array
"""A setting that is a number, or an array of shape ()."""

Curve = Callable[[jax.Array], Any]
"""A function from int32 step numbers >= 0 to values of the same shape."""


class Schedule(Described):
    """A function from the step number to a value.

    It prints as the call that made it.

    Schedules made by equal calls are equal, so a compiled program that takes one as a static argument serves all.
    """

    def __init__(self, curve: Curve) -> None:
        self._curve = curve

    def __call__(self, count: jax.typing.ArrayLike) -> jax.Array:
        """Return the value at a step number, or at each of an array of them.

        Args:
          count: whole number, or integer array of any shape; below 0 it counts as 0.

        Raises:
          TypeError: if `count` is not a whole number or an integer array.
        """
        steps = as_count(self.name, count)
        return jnp.broadcast_to(as_float(self._curve(steps)), steps.shape)


def as_count(function: str, count: Any) -> jax.Array:
    """Return step numbers as int32 in [0, LAST_COUNT]."""
    if isinstance(count, int) and not isinstance(count, bool):
        return jnp.asarray(min(max(count, 0), LAST_COUNT), jnp.int32)
    array: Any = count if isinstance(count, jax.Array) else np.asarray(count)
    if not np.issubdtype(array.dtype, np.integer):
        msg = f"{function or 'Schedule'}: count must be a whole number or an array of integers, got {array.dtype}{list(array.shape)}."
        raise TypeError(msg)
    if array.dtype == np.int32:
        return jnp.maximum(array, 0)
    return jnp.asarray(array.clip(0, min(LAST_COUNT, np.iinfo(array.dtype).max)), jnp.int32)


def as_float(value: Any) -> jax.Array:
    """Return floating arrays as they are, other numbers as weakly typed ones.

    Those have the default floating dtype.
    """
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    with jax.numpy_dtype_promotion("standard"):  # strict promotion knows no weakly typed integer-to-float conversion
        return jnp.asarray(value) * 1.0


def finite(function: str, argument: str, value: Any) -> Any:
    """Return a setting that may be any finite number.

    It is a Python float unless it came as an array.
    """
    validate.number(function, argument, value, low=-math.inf, high=math.inf, low_open=True, high_open=True)
    return value if isinstance(value, jax.Array) else float(value)


def positive(function: str, argument: str, value: Any, *, high: float = math.inf) -> Any:
    """Return a setting that must be finite, > 0 and <= `high`.

    It is a Python float unless it came as an array.
    """
    validate.number(function, argument, value, low=0.0, high=high, low_open=True, high_open=high == math.inf)
    return value if isinstance(value, jax.Array) else float(value)


def fraction(function: str, argument: str, value: Any, *, low: float = 0.0) -> Any:
    """Return a setting in [low, 1], as a Python float unless it is an array."""
    validate.number(function, argument, value, low=low, high=1.0)
    return value if isinstance(value, jax.Array) else float(value)


def whole(function: str, argument: str, value: Any, *, low: int = 1, high: int = LAST_COUNT) -> int:
    """Return a setting that is a number of steps."""
    return int(validate.integer(function, argument, value, low=low, high=high))


def as_curve(function: str, argument: str, schedule: ScalarOrSchedule) -> Curve:
    """Return a schedule as it is, and a number as the constant schedule."""
    if callable(schedule):
        return schedule
    if isinstance(schedule, (int, float, jax.Array, np.ndarray, np.generic)):
        value = finite(function, argument, schedule)
        return lambda _: value
    msg = f"{function}: {argument} must be a number or a function of the step number, got {schedule!r} ({type(schedule).__name__})."
    raise TypeError(msg)


def elapsed(count: jax.Array, begin: int, steps: int | None = None) -> jax.Array:
    """Return the steps gone since `begin`, an integer in [0, steps]."""
    begin = min(begin, LAST_COUNT)
    since = jnp.maximum(count, begin) - begin if begin else count
    return since if steps is None else jnp.minimum(since, steps)


def is_one(value: Number) -> bool:
    """Return whether a setting is known to be 1.

    A power of which it is the exponent or the base can then go.
    """
    return isinstance(value, float) and value == 1.0


def weights(left: jax.Array, gone: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the two parts of a whole as fractions of it."""
    # XLA turns a division by a constant into a product with its reciprocal, which misses 1 by a rounding; by the sum it divides.
    whole_ = left + gone
    return left / whole_, gone / whole_


def linear(count: jax.Array, start: Number, end: Number, begin: int, steps: int) -> Any:
    """Return the straight line; no steps mean that the end is reached."""
    if steps == 0:
        return end
    k = elapsed(count, begin, steps)
    left, gone = weights(as_float(steps - k), as_float(k))
    return start * left + end * gone


def half_cosine(left: jax.Array, gone: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (1 + cos(pi gone)) / 2 and (1 - cos(pi gone)) / 2.

    They are computed as squares of sines, so that small ones keep their digits.
    """
    quarter = math.pi / 2
    return jnp.square(jnp.sin(quarter * left)), jnp.square(jnp.sin(quarter * gone))


def cosine(count: jax.Array, start: Number, end: Number, begin: int, steps: int, exponent: Number = 1.0) -> Any:
    """Return the half cosine wave, its weight raised to `exponent`.

    No steps mean that the end is reached.
    """
    if steps == 0:
        return end
    k = elapsed(count, begin, steps)
    left, gone = half_cosine(*weights(as_float(steps - k), as_float(k)))
    return blend(start, end, left, gone, exponent)


def blend(start: Number, end: Number, left: jax.Array, gone: jax.Array, exponent: Number) -> Any:
    """Return start w + end (1 - w) with w = left**exponent, where left + gone = 1."""
    if is_one(exponent):
        return start * left + end * gone
    w = left**exponent
    return start * w + end * (1.0 - w)


def pieces(count: jax.Array, curves: Sequence[Curve], boundaries: Sequence[int]) -> Any:
    """Return curve i from boundary i - 1 on, each seeing the steps since then.

    None sees a negative number.
    """
    value = as_float(curves[0](count))
    for boundary, curve in zip(boundaries, curves[1:], strict=True):
        value = jnp.where(count >= boundary, as_float(curve(elapsed(count, boundary))), value)
    return value

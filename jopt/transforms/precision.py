# SPDX-License-Identifier: Apache-2.0
"""Moments in one dtype, arithmetic in another: what every transformation that keeps moments is made of.

A transformation with moments is a kernel over the entries of one leaf: from the gradient and the old moments it
computes the update and the new moments,

    kernel(g, m, ..., *, setting=...) -> (u, m', ...)

`leafwise` maps it over trees. The kernel computes in the widest of the gradient's dtype, the moments' dtypes and
float32; afterwards each result is rounded once: the update to the gradient's dtype, each moment to the dtype in which
it is stored. Moments that are kept in bfloat16 are thus summed in float32, and a setting such as 0.999, which is 1 in
bfloat16, keeps its value.

What remains is the rounding of the stored moment. Below a relative change of half an eps the stored number no longer
moves: with decay 0.999 a bfloat16 second moment (eps = 2^-7) of constant gradients stops at a quarter of its limit. A
first moment, which has decay 0.9, is safe in bfloat16; a second moment is better off in float32, in particular where
the parameters themselves are bfloat16.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jopt import tree, validate
from jopt.types import Params, ScalarOrSchedule, Updates


def filled(params: Params, value: Any, dtype: Any = None) -> Params:
    """Return a tree like the parameters with every entry `value`.

    Its dtypes are theirs, or `dtype`.
    """
    return jax.tree.map(lambda x: jnp.full_like(x, value, dtype=dtype), params)


def leafwise(
    function: str, kernel: Callable[..., tuple[Any, ...]], updates: Updates, *moments: Params, **settings: Any
) -> tuple[Updates, ...]:
    """Map a kernel over gradients and moments, computing wide, storing narrow.

    The module says which dtypes these are.

    Args:
      function: the name that errors carry.
      kernel: from one leaf of the gradients and of each moment, with the settings as keywords, to the update and
        the new moments.
      updates: the gradients.
      *moments: trees of the structure and shapes of `updates`, in any floating dtypes.
      **settings: numbers or scalar arrays; each reaches the kernel in the dtype of its arithmetic.

    Returns:
      The update and the new moments.

    Raises:
      ValueError: if the trees differ, naming the path.
    """
    for moment in moments:
        tree.check_like(function, "updates", updates, "the state", moment)

    arrays = {name: value for name, value in settings.items() if isinstance(value, jax.Array)}
    known = tuple((name, float(value)) for name, value in settings.items() if name not in arrays)

    def leaf(*given: Any) -> tuple[jax.Array, ...]:
        traced = any(isinstance(x, Tracer) for x in (*given, *arrays.values()))
        return (_traced_once if traced else _entrywise)(kernel, known, arrays, *given)

    return tree.map_unzip(leaf, 1 + len(moments), updates, *moments)


def _entrywise(
    kernel: Callable[..., tuple[Any, ...]],
    known: tuple[tuple[str, float], ...],
    arrays: dict[str, jax.Array],
    *given: Any,
) -> tuple[jax.Array, ...]:
    """Return the results of the kernel on one leaf of the gradients and of each moment."""
    leaves = [jnp.asarray(x) for x in given]
    g, *stored = (x.dtype for x in leaves)
    dtype = functools.reduce(tree.common_dtype, stored, tree.wide(g))
    numbers = {**dict(known), **{name: number(value, dtype) for name, value in arrays.items()}}
    results = kernel(*(x.astype(dtype) for x in leaves), **numbers)
    return tuple(y.astype(x.dtype) for y, x in zip(results, leaves, strict=True))


# Leaves of the same shape share what was traced for the first; inlined, the program is the one without this. It halves
# the time in which a step of many leaves is traced.
_traced_once = jax.jit(_entrywise, static_argnums=(0, 1), inline=True)


def number(value: Any, dtype: Any) -> Any:
    """Return a setting ready for arithmetic in `dtype`.

    An array is cast, any other number becomes a Python float.
    """
    return value.astype(dtype) if isinstance(value, jax.Array) else float(value)


def is_zero(value: Any) -> bool:
    """Return whether a setting is known to be 0 while a program is traced; an array is not."""
    return not isinstance(value, jax.Array) and not callable(value) and float(value) == 0.0


def times(factor: Any, x: jax.Array) -> jax.Array:
    """Return factor x, and x itself where the factor is known to be 1."""
    return x if isinstance(factor, float) and factor == 1.0 else factor * x


def at_step(function: str, argument: str, setting: ScalarOrSchedule, count: Any, dtype: Any = None) -> jax.Array:
    """Return a number, or a schedule's value at a step, as a scalar array.

    Raises:
      ValueError: if the schedule's value is not a scalar.
      TypeError: if it is not a real number.
    """
    hint = "A schedule returns one number." if callable(setting) else ""
    value = validate.scalar(function, argument, setting(count) if callable(setting) else setting, hint=hint)
    return value if dtype is None else value.astype(dtype)


def one_minus_power(base: Any, exponent: Any, dtype: Any) -> jax.Array:
    """Return 1 - base^exponent for 0 <= base < 1 and exponent >= 0, to round-off.

    The subtraction as written loses all digits where the power rounds to 1 (0.999 in bfloat16, or a base within a
    few eps of 1 in any dtype); -expm1(exponent log(base)) loses none.

    Args:
      base: a number or a scalar array, in [0, 1).
      exponent: a number or a scalar array, >= 0; may be infinite.
      dtype: the dtype of the result, float32 or wider.
    """
    if isinstance(base, jax.Array):
        log = jnp.log1p(base.astype(tree.wide(base.dtype)) - 1.0).astype(dtype)
    else:
        log = math.log(base) if base > 0.0 else -math.inf
    n = jnp.asarray(exponent).astype(dtype)
    return jnp.where(n == 0.0, 0.0, -jnp.expm1(n * log))  # the first for 0^0, where n log(base) is 0 (-infinity)

# SPDX-License-Identifier: Apache-2.0
r"""Whether a table has the numbers of JAX.

A table is made in one of a few ways of rounding; the one that gives JAX's numbers in every bit is kept. Where none does,
a number y of the table must be JAX's up to rounding: with y* JAX's, and s the largest number in the table,

    |y - y*| <= max(BOUND, SPACINGS eps) max(s, |y*|)

with eps the coarsest spacing among the program's dtypes, or up to AMPLIFIED times what rounding can do here: the scatter
of y over the ways, and over x moved by one spacing up and down. That is much where f is ill-conditioned or chaotic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jopt.autodiff.program import Program
from jopt.autodiff.sweeps import WAYS, differentiable

BOUND = 1e-6  # what tables promise with opened calls
SPACINGS = 8  # for coarser dtypes
AMPLIFIED = 100  # the scatter is that of a few samples


def agreeing(
    function: str, program: Program, leaves: list[Any], own: Any, make: Callable[[list[Any], str], Any]
) -> Any:
    """Return the table made in the way that gives JAX's own numbers, the first one if none does in every bit.

    Args:
      function: whose table it is, for the error.
      program: of the table.
      leaves: the leaves of x.
      own: JAX's value and derivative.
      make: makes the table from the leaves of x in a way, with `value`, `derivative` and `rows`.

    Returns:
      The table, with `exact` filled in.

    Raises:
      RuntimeError: if no table has JAX's numbers within rounding.
    """
    tables: list[Any] = []
    for way in WAYS[:1] if program.opened else WAYS:
        table = make(leaves, way)
        if _same((table.value, table.derivative), own):
            return table._replace(exact=True)
        tables.append(table)
    first = tables[0]
    eps = max((_eps(value.aval.dtype) for value in program.values), default=0.0)
    excess = _excess(first, own, max(BOUND, SPACINGS * eps))
    if any(amount > 0 for amount, _ in excess):
        others = tables[1:] or [make(leaves, way) for way in WAYS[1:]]
        others += [make([_moved(leaf, towards) for leaf in leaves], WAYS[0]) for towards in (-np.inf, np.inf)]
        scatter = [max(column) for column in zip(*(_distances(first, other) for other in others), strict=True)]
        for (amount, distance), width in zip(excess, scatter, strict=True):
            if amount > 0 and not distance <= AMPLIFIED * width:
                msg = (
                    f"{function}: the table must have the numbers of JAX, but is off by {distance:.2g}. f must return the "
                    "same at each call with the same x; if it does, this is a fault of the table: please report it."
                )
                raise RuntimeError(msg)
    return first._replace(exact=False)


def _excess(table: Any, own: Any, bound: float) -> list[tuple[float, float]]:
    """Return for each leaf of value and derivative how far it is beyond the bound, and how far off."""
    derivatives = [a for row in table.rows for a in (row.tangent, row.adjoint)]
    scales = [_size([row.value for row in table.rows])] * len(_numbers(table.value))
    scales += [_size(derivatives)] * len(_numbers(table.derivative))
    pairs = zip(_numbers((table.value, table.derivative)), _numbers(own), scales, strict=True)
    distances = [(_distance(a, b), max(scale, _size([b]))) for a, b, scale in pairs]
    return [(distance - bound * scale, distance) for distance, scale in distances]


def _distances(table: Any, other: Any) -> list[float]:
    pairs = zip(*(_numbers((one.value, one.derivative)) for one in (table, other)), strict=True)
    return [_distance(a, b) for a, b in pairs]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference, infinite where one is finite and the other is not the same."""
    with np.errstate(all="ignore"):
        gap = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return float(np.max(np.where(same, 0, np.where(np.isnan(gap), np.inf, gap)), initial=0))


def _size(values: Sequence[Any]) -> float:
    """Return the largest finite absolute value."""
    arrays = (np.abs(a) for a in _numbers(list(values)))
    return max((float(np.max(a, where=np.isfinite(a), initial=0)) for a in arrays), default=0.0)


def _numbers(values: Any) -> list[np.ndarray]:
    """Return the leaves that have derivatives, in double precision."""
    leaves = [a for a in jax.tree.leaves(values) if a.dtype != jax.dtypes.float0 and differentiable(a)]
    return [np.asarray(a, complex if jnp.issubdtype(a.dtype, jnp.complexfloating) else float) for a in leaves]


def _eps(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.inexact) else 0.0


def _moved(leaf: Any, towards: float) -> Any:
    """Return a floating leaf one spacing further up or down, another as it is."""
    return jnp.nextafter(leaf, jnp.full_like(leaf, towards)) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _same(a: Any, b: Any) -> bool:
    """Return whether two trees agree in every number."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(_equal(x, y) for x, y in pairs)


def _equal(x: Any, y: Any) -> bool:
    if x.dtype == jax.dtypes.float0 or not differentiable(x):
        return True
    return bool(np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True))

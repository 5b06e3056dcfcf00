# SPDX-License-Identifier: Apache-2.0
"""Pytrees as vectors, and the errors about them.

The one place in jopt for inner products, norms and combinations of trees. A tree is one vector: the concatenation of
its leaves. Scalars made from it (inner products, norms, steps) have `scalar_dtype(tree)`: the widest leaf's dtype, at
least float32, so that half-precision trees are summed in float32. Functions that return a tree keep each leaf's dtype.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Tree = Any


def scalar_dtype(tree: Tree) -> Any:
    """Return the dtype of the scalars that belong to a tree: the widest leaf's, at least float32."""
    return functools.reduce(jnp.promote_types, (x.dtype for x in jax.tree.leaves(tree)), jnp.dtype("float32"))


def coarsest_eps(tree: Tree) -> float:
    """Return the machine epsilon of the least precise leaf: how exactly the tree as a whole can be placed."""
    return max((float(jnp.finfo(x.dtype).eps) for x in jax.tree.leaves(tree)), default=float(jnp.finfo("float32").eps))


def size(tree: Tree) -> int:
    """Return the number of scalars in a tree."""
    return sum(x.size for x in jax.tree.leaves(tree))


def vdot(a: Tree, b: Tree) -> jax.Array:
    """Return the inner product <a, b>, at highest precision, in `scalar_dtype(a)`."""
    dtype = scalar_dtype(a)
    return _total(jax.tree.map(lambda x, y: jnp.sum(x.astype(dtype) * y.astype(dtype)), a, b), dtype)


def norm(a: Tree) -> jax.Array:
    """Return the Euclidean norm |a|."""
    return jnp.sqrt(vdot(a, a))


def max_abs(a: Tree) -> jax.Array:
    """Return the largest absolute entry |a|_inf, 0 for an empty tree; NaN wins over any number."""
    dtype = scalar_dtype(a)
    tops = [jnp.max(jnp.abs(x)).astype(dtype) for x in jax.tree.leaves(a) if x.size]
    return functools.reduce(jnp.maximum, tops, jnp.zeros((), dtype))


def all_finite(a: Tree) -> jax.Array:
    """Return whether every entry is finite."""
    return functools.reduce(jnp.logical_and, (jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(a)), jnp.bool_(True))


def add(a: Tree, b: Tree) -> Tree:
    """Return a + b."""
    return jax.tree.map(operator.add, a, b)


def sub(a: Tree, b: Tree) -> Tree:
    """Return a - b."""
    return jax.tree.map(operator.sub, a, b)


def negative(a: Tree) -> Tree:
    """Return -a."""
    return jax.tree.map(operator.neg, a)


def scale(alpha: Any, a: Tree) -> Tree:
    """Return alpha a, computed in at least float32 and rounded to each leaf's dtype."""
    return jax.tree.map(lambda x: (_to(alpha, wide(x.dtype)) * x.astype(wide(x.dtype))).astype(x.dtype), a)


def axpy(alpha: Any, a: Tree, b: Tree) -> Tree:
    """Return alpha a + b, computed in at least float32 and rounded to the dtypes of b."""

    def leaf(x: jax.Array, y: jax.Array) -> jax.Array:
        dtype = wide(y.dtype)
        return (_to(alpha, dtype) * x.astype(dtype) + y.astype(dtype)).astype(y.dtype)

    return jax.tree.map(leaf, a, b)


def where(condition: jax.Array, a: Tree, b: Tree) -> Tree:
    """Return a if the scalar condition holds, otherwise b."""
    return jax.tree.map(functools.partial(jnp.where, condition), a, b)


def zeros_like(a: Tree, dtype: Any = None) -> Tree:
    """Return zeros of the same shapes (and shardings), in the same dtypes or in `dtype`."""
    return jax.tree.map(lambda x: jnp.zeros_like(x, dtype=dtype), a)


def cast(a: Tree, like: Tree) -> Tree:
    """Return a with the dtypes of `like`."""
    return jax.tree.map(lambda x, y: x.astype(y.dtype), a, like)


def wide(dtype: Any) -> Any:
    """Return the dtype in which to compute on leaves of `dtype`: the same, at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def as_parameters(function: str, argument: str, params: Tree) -> Tree:
    """Return a tree of strongly typed floating arrays, or raise naming the leaf that cannot be one.

    Raises:
      TypeError: if a leaf is not a real floating number or array, with its path and what it is.
    """

    def leaf(path: Any, x: Any) -> jax.Array:
        where_ = f"{argument}{jax.tree_util.keystr(path)}"
        try:
            array = jnp.asarray(x)
        except TypeError:
            msg = f"{function}: {where_} must be an array or a number, got {type(x).__name__}."
            raise TypeError(msg) from None
        if not jnp.issubdtype(array.dtype, jnp.floating):
            hint = "split it into real and imaginary parts" if jnp.iscomplexobj(array) else "write 1.0 for 1"
            msg = f"{function}: {where_} must be real floating numbers, got {array.dtype}{list(array.shape)}; {hint}."
            raise TypeError(msg)
        return jax.lax.convert_element_type(array, array.dtype)  # drops the weak type of a Python number

    return jax.tree_util.tree_map_with_path(leaf, params)


def check_like(function: str, argument: str, tree: Tree, reference: str, like: Tree) -> None:
    """Raise unless `tree` has the structure and shapes of `like`.

    Raises:
      ValueError: naming the first path that differs, and both shapes.
    """
    ours, theirs = (dict(_shapes(t)) for t in (tree, like))
    for path in [*theirs, *ours]:
        a, b = ours.get(path, "nothing"), theirs.get(path, "nothing")
        if a != b:
            msg = f"{function}: {argument} must be a tree like {reference}, but at {path or 'the root'} {argument} has {a} and {reference} has {b}."
            raise ValueError(msg)
    if jax.tree.structure(tree) != jax.tree.structure(like):
        msg = f"{function}: {argument} must be a tree like {reference}, got {jax.tree.structure(tree)} for {jax.tree.structure(like)}."
        raise ValueError(msg)


def _shapes(tree: Tree) -> list[tuple[str, str]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), f"shape {jnp.shape(x)}") for path, x in leaves]


def _to(alpha: Any, dtype: Any) -> jax.Array:
    return jnp.asarray(alpha).astype(dtype)


def _total(terms: Tree, dtype: Any) -> jax.Array:
    add_: Callable[[Any, Any], Any] = operator.add
    return functools.reduce(add_, jax.tree.leaves(terms), jnp.zeros((), dtype))


__all__ = [
    "add", "all_finite", "as_parameters", "axpy", "cast", "check_like", "coarsest_eps", "max_abs", "negative", "norm",
    "scalar_dtype", "scale", "size", "sub", "vdot", "where", "wide", "zeros_like",
]  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""Pytrees as vectors, and the errors about them.

The one place in jopt for inner products, norms and combinations of trees. A tree is one vector: the concatenation of
its leaves. Scalars made from it (inner products, norms, steps) have `scalar_dtype(tree)`: the widest leaf's dtype, at
least float32, so that half-precision trees are summed in float32. Functions that return a tree keep each leaf's dtype.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jopt import scalars

Tree = Any
T = TypeVar("T")

# The way out for complex numbers: two real ones each, of which the function is one like any other.
COMPLEX_HINT = (
    "split it into real and imaginary parts (around a transformation, optax.contrib.split_real_and_imaginary does)"
)

# From this number on, scalars of a tree are selected as one vector: one CPU kernel instead of one for each.
MANY_SCALARS = 3


def scalar_dtype(tree: Tree) -> Any:
    """Return the dtype of a tree's scalars: the widest leaf's, at least float32."""
    dtypes = dict.fromkeys(_dtype(x) for x in jax.tree.leaves(tree))
    return functools.reduce(common_dtype, dtypes, jnp.dtype("float32"))


def coarsest_eps(tree: Tree) -> float:
    """Return the machine epsilon of the least precise leaf.

    The tree as a whole cannot be placed more exactly.
    """
    return max((float(jnp.finfo(x.dtype).eps) for x in jax.tree.leaves(tree)), default=float(jnp.finfo("float32").eps))


def size(tree: Tree) -> int:
    """Return the number of scalars in a tree."""
    return sum(x.size for x in jax.tree.leaves(tree))


def paths(name: str, tree: Tree) -> list[str]:
    """Return what the leaves of a tree called `name` are called, such as x['w'][0]."""
    return [f"{name}{jax.tree_util.keystr(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def vdot(a: Tree, b: Tree) -> jax.Array:
    """Return the inner product <a, b>, at highest precision, in `scalar_dtype(a)`."""
    dtype = scalar_dtype(a)
    return _total(jax.tree.map(lambda x, y: jnp.sum(_to(x, dtype) * _to(y, dtype)), a, b), dtype)


def scaled_norm(a: Tree) -> tuple[jax.Array, jax.Array]:
    """Return (m, r) with |a| = m r, where no square leaves the range.

    m is about the largest entry, and r = |a / m|.

    The pair is for comparisons and quotients that must hold where m r itself overflows. r is finite exactly where all
    entries are; for a zero tree it is zero, with derivative zero. The tree is read twice.
    """
    dtype = scalar_dtype(a)
    # Within these bounds the reciprocal of m is a normal number: compilers divide by multiplying with it.
    low = jnp.finfo(dtype).tiny
    m = jax.lax.stop_gradient(jnp.clip(max_abs(a), low, 1 / low))  # |a| does not depend on the unit it is computed in
    squares = _total([jnp.sum(jnp.square(x.astype(dtype) / m)) for x in jax.tree.leaves(a)], dtype)
    # The root has no derivative at zero: take it at one instead, and select zero.
    return m, jnp.where(squares == 0, squares, jnp.sqrt(jnp.where(squares == 0, jnp.ones_like(squares), squares)))


def max_abs(a: Tree) -> jax.Array:
    """Return the largest absolute entry |a|_inf, 0 for an empty tree.

    NaN wins over any number.
    """
    dtype = scalar_dtype(a)
    tops = [jnp.max(jnp.abs(x)).astype(dtype) for x in jax.tree.leaves(a) if x.size]
    return scalars.combined(jnp.maximum, tops, jnp.zeros((), dtype))


def sub(a: Tree, b: Tree) -> Tree:
    """Return a - b."""
    return jax.tree.map(operator.sub, a, b)


def negative(a: Tree) -> Tree:
    """Return -a."""
    return jax.tree.map(operator.neg, a)


def scale(alpha: Any, a: Tree) -> Tree:
    """Return alpha a, computed in at least float32 and rounded to each leaf's dtype."""
    factor = functools.cache(functools.partial(_to, alpha))  # one conversion, however many leaves

    def leaf(x: Any) -> jax.Array:
        dtype = _dtype(x)
        return _to(factor(wide(dtype)) * _to(x, wide(dtype)), dtype)

    return jax.tree.map(leaf, a)


def axpy(alpha: Any, a: Tree, b: Tree) -> Tree:
    """Return alpha a + b, computed in at least float32, in the dtypes of b."""
    factor = functools.cache(functools.partial(_to, alpha))

    def leaf(x: Any, y: Any) -> jax.Array:
        dtype = _dtype(y)
        return _to(factor(wide(dtype)) * _to(x, wide(dtype)) + _to(y, wide(dtype)), dtype)

    return jax.tree.map(leaf, a, b)


def where(condition: jax.Array, a: Tree, b: Tree) -> Tree:
    """Return a if the scalar condition holds, otherwise b.

    The scalars among the leaves are chosen as one vector.
    """
    if sum(scalars.carrier_of(x) is not None for x in jax.tree.leaves(b)) < MANY_SCALARS:
        return jax.tree.map(functools.partial(jnp.where, condition), a, b)
    pack, unpack = scalars.packing(b)
    return unpack(jax.tree.map(functools.partial(jnp.where, condition), pack(a), pack(b)))


def map_unzip(function: Callable[..., tuple[Any, ...]], outputs: int, a: Tree, *rest: Tree) -> tuple[Tree, ...]:
    """Map a function of leaves with several values; return a tree for each.

    `outputs` is the number of values.

    One pass over the leaves, so that a compiler sees everything that belongs to a leaf together. All trees have the
    structure of `a`; a tree without leaves gives `outputs` trees without leaves, and None stays None.
    """
    leaves, structure = jax.tree.flatten(a)
    rows = zip(leaves, *(structure.flatten_up_to(b) for b in rest), strict=True)
    results = [function(*row) for row in rows]
    return tuple(structure.unflatten([result[i] for result in results]) for i in range(outputs))


def ravel(a: Tree) -> tuple[jax.Array, Callable[[jax.Array], Tree]]:
    """Return the tree as one vector of `scalar_dtype(a)`, leaf after leaf in the order of `jax.tree.leaves`, and the way back.

    The way back takes a vector of shape (size,) and returns a tree with the dtypes of `a`. For dense methods on few
    parameters; it copies, and leaves that are spread over devices come together on each.
    """
    leaves, structure = jax.tree.flatten(a)
    dtype = scalar_dtype(a)
    ends = list(itertools.accumulate((x.size for x in leaves), initial=0))

    def unravel(vector: jax.Array) -> Tree:
        parts = (vector[i:j].reshape(x.shape).astype(x.dtype) for i, j, x in zip(ends, ends[1:], leaves, strict=False))
        return structure.unflatten(_laid_out(part, x) for part, x in zip(parts, leaves, strict=True))

    vector = jnp.concatenate([_whole(x).astype(dtype).ravel() for x in leaves]) if leaves else jnp.zeros(0, dtype)
    return vector, unravel


def stacked_vdot(rows: Tree, a: Tree) -> jax.Array:
    """Return the inner products of k stacked trees with one, shape (k,), at highest precision.

    `rows` is a tree like `a` whose leaves have a leading axis of length k.
    """
    dtype = scalar_dtype(a)

    def leaf(r: jax.Array, x: jax.Array) -> jax.Array:
        axes = tuple(range(x.ndim))
        if is_sharded(x):  # a contraction over a dimension that is known to be spread needs to be told what comes out
            return jnp.sum(_to(r, dtype) * _to(x, dtype)[None], axis=tuple(axis + 1 for axis in axes))
        after = tuple(axis + 1 for axis in axes)
        return jnp.tensordot(_to(r, dtype), _to(x, dtype), (after, axes), precision=jax.lax.Precision.HIGHEST)

    return _total(jax.tree.map(leaf, rows, a), dtype)


def stacked_gram(a: Tree, b: Tree) -> jax.Array:
    """Return the inner products of k stacked trees with l others, shape (k, l), at highest precision."""
    dtype = scalar_dtype(a)

    def leaf(x: jax.Array, y: jax.Array) -> jax.Array:
        x, y = _to(x, dtype), _to(y, dtype)
        axes = tuple(range(1, x.ndim))
        if is_sharded(x):  # see stacked_vdot
            return jnp.sum(x[:, None] * y[None], axis=tuple(axis + 1 for axis in axes))
        return jnp.tensordot(x, y, (axes, axes), precision=jax.lax.Precision.HIGHEST)

    return _total(jax.tree.map(leaf, a, b), dtype)


def stacked_sum(weights: jax.Array, rows: Tree) -> Tree:
    """Return the sum of k stacked trees with weights of shape (k,), at highest precision.

    Computed in at least float32, in the dtypes of `rows`.
    """

    def leaf(r: jax.Array) -> jax.Array:
        dtype = wide(r.dtype)
        total = jnp.tensordot(_to(weights, dtype), _to(r, dtype), 1, precision=jax.lax.Precision.HIGHEST)
        return total.astype(r.dtype)

    return jax.tree.map(leaf, rows)


def is_sharded(x: Any) -> bool:
    """Return whether an array is known, when this is called, to be spread over devices."""
    if isinstance(x, Tracer):
        return is_sharded_by_type(x)
    sharding = getattr(x, "sharding", None)  # an array of NumPy's has none
    return sharding is not None and not sharding.is_fully_replicated


def is_sharded_by_type(x: Any) -> bool:
    """Return whether an array's type, the same in a trace and out of it, says that it is spread over explicit axes."""
    return _spread(jax.typeof(x).sharding)


def beside(x: jax.Array, like: Tree) -> jax.Array:
    """Return x, whole on each device of the mesh on which the leaves of `like` are known to be laid out.

    A constant knows no mesh, and an array of a mesh with explicit axes is not written into one that knows none.
    """
    return functools.reduce(lambda x, leaf: _on_mesh_of(leaf, x, PartitionSpec()), jax.tree.leaves(like), x)


def _whole(x: jax.Array) -> jax.Array:
    """Return x whole on each device, where its type says that it is spread."""
    return _on_mesh_of(x, x, PartitionSpec()) if _spread(jax.typeof(x).sharding) else x


def _laid_out(x: jax.Array, like: jax.Array) -> jax.Array:
    """Return x as the type of `like` says that it is laid out."""
    return _on_mesh_of(like, x, jax.typeof(like).sharding.spec)


def _on_mesh_of(like: Any, x: jax.Array, spec: PartitionSpec) -> jax.Array:
    """Return x on the mesh of `like`, if it has explicit axes: else layouts are the compiler's, and no part of a type."""
    # The type knows the mesh without its devices, which an array outside a trace has to be told.
    sharding = jax.typeof(like).sharding if isinstance(like, Tracer) else getattr(like, "sharding", None)
    mesh = getattr(sharding, "mesh", None)
    if mesh is None or AxisType.Explicit not in mesh.axis_types:
        return x
    place = jax.sharding.reshard if isinstance(x, Tracer) or isinstance(like, Tracer) else jax.device_put
    return place(x, NamedSharding(mesh, spec))


def _spread(sharding: Any) -> bool:
    return any(axis is not None for axis in getattr(sharding, "spec", ()))


def zeros_like(a: Tree, dtype: Any = None) -> Tree:
    """Return zeros of the same shapes (and shardings), perhaps in `dtype`."""
    return jax.tree.map(lambda x: jnp.zeros_like(x, dtype=dtype), a)


def cast(a: Tree, like: Tree) -> Tree:
    """Return a with the dtypes of `like`, strongly typed."""
    return jax.tree.map(lambda x, y: _strong(jnp.asarray(x), jnp.result_type(y)), a, like)


def strong(a: Tree) -> Tree:
    """Return a as strongly typed arrays, as a loop carries them."""
    return jax.tree.map(lambda x: _strong(jnp.asarray(x), jnp.asarray(x).dtype), a)


@functools.cache
def wide(dtype: Any) -> Any:
    """Return the dtype to compute in for leaves of `dtype`: at least float32."""
    return common_dtype(dtype, jnp.float32)


def common_dtype(a: Any, b: Any) -> Any:
    """Return the dtype that holds both, by JAX's standard rules.

    Whatever promotion the user has set.
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(a, b)


def as_parameters(function: str, argument: str, params: Tree) -> Tree:
    """Return a tree of strongly typed floating arrays.

    What cannot be one raises, with its path.

    Raises:
      TypeError: if a leaf is not a real floating number or array, with its path and what it is.
    """
    leaves, structure = jax.tree.flatten(params)
    if all(_is_parameter(x) for x in leaves):  # paths are named only where one is needed
        return structure.unflatten(leaves)

    def leaf(path: Any, x: Any) -> jax.Array:
        where_ = f"{argument}{jax.tree_util.keystr(path)}"
        try:
            array = jnp.asarray(x)
        except TypeError:
            msg = f"{function}: {where_} must be an array or a number, got {type(x).__name__}."
            raise TypeError(msg) from None
        if not jnp.issubdtype(array.dtype, jnp.floating):
            hint = COMPLEX_HINT if jnp.iscomplexobj(array) else "write 1.0 for 1"
            msg = f"{function}: {where_} must be real floating numbers, got {array.dtype}{list(array.shape)}; {hint}."
            raise TypeError(msg)
        return _strong(array, array.dtype)

    return jax.tree_util.tree_map_with_path(leaf, params)


def check_like(function: str, argument: str, tree: Tree, reference: str, like: Tree) -> None:
    """Raise unless `tree` has the structure and shapes of `like`.

    Raises:
      ValueError: naming the first path that differs, and both shapes.
    """
    if jax.tree.structure(tree) == jax.tree.structure(like) and _same_shapes(tree, like):
        return
    ours, theirs = (dict(_shapes(t)) for t in (tree, like))
    for path in [*theirs, *ours]:
        a, b = ours.get(path, "nothing"), theirs.get(path, "nothing")
        if a != b:
            msg = f"{function}: {argument} must be a tree like {reference}, but at {path or 'the root'} {argument} has {a} and {reference} has {b}."
            raise ValueError(msg)
    msg = f"{function}: {argument} must be a tree like {reference}, got {jax.tree.structure(tree)} for {jax.tree.structure(like)}."
    raise ValueError(msg)


def _same_shapes(a: Tree, b: Tree) -> bool:
    return all(np.shape(x) == np.shape(y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def _shapes(tree: Tree) -> list[tuple[str, str]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), f"shape {jnp.shape(x)}") for path, x in leaves]


def _strong(x: jax.Array, dtype: Any) -> jax.Array:
    """Convert without a weak type; random keys and other extended dtypes stay as they are."""
    return x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else jax.lax.convert_element_type(x, dtype)


def _is_parameter(x: Any) -> bool:
    return isinstance(x, jax.Array) and not x.weak_type and jnp.issubdtype(x.dtype, jnp.floating)


def _dtype(x: Any) -> Any:
    """Return the dtype of an array or a number; `jnp.result_type` alone takes longer than a multiplication to trace."""
    return x.dtype if isinstance(x, jax.Array) else jnp.result_type(x)


def _to(alpha: Any, dtype: Any) -> jax.Array:
    if isinstance(alpha, jax.Array) and alpha.dtype == dtype and not alpha.weak_type:
        return alpha
    return jnp.asarray(alpha).astype(dtype)


def _total(terms: Tree, dtype: Any) -> jax.Array:
    return scalars.combined(operator.add, jax.tree.leaves(terms), jnp.zeros((), dtype))


__all__ = [
    "as_parameters", "axpy", "beside", "cast", "check_like", "coarsest_eps", "common_dtype", "is_sharded", "is_sharded_by_type",
    "map_unzip", "max_abs",
    "negative", "paths", "ravel", "scalar_dtype", "scale", "scaled_norm", "size", "stacked_gram", "stacked_sum", "stacked_vdot", "strong",
    "sub", "vdot", "where", "wide", "zeros_like",
]  # fmt: skip

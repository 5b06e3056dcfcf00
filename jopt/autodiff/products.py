# SPDX-License-Identifier: Apache-2.0
r"""Derivatives of a function of one tree, made of the two products that automatic differentiation offers.

For f from n numbers to m, with the Jacobian J (m rows, n columns) at x,

    jvp    v -> J v     forward mode, one pass: the column j of J is J e_j
    vjp    w -> J' w    reverse mode, one pass forward and one back: the row i of J is J' e_i

and everything else is bookkeeping: n passes forward or m passes back make the Jacobian, so "auto" goes forward where
n <= m; one vjp with w = 1 makes a gradient; the Jacobian of the gradient is the Hessian. A pass of either mode costs a
small multiple of f, whatever n and m.

Entries of trees are counted from 0 over the leaves in the order of `jax.tree.leaves`, each leaf in row-major order.

Reference: Griewank and Walther (2008), Evaluating Derivatives, chapters 3 and 4, doi:10.1137/1.9780898717761.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.curvature import hvp
from jopt.curvature.hvp import scalar_function
from jopt.types import Params

Function = Callable[[Params], Any]
"""A function of one tree of floating arrays, with a tree of floating arrays as its value."""

_HESSIAN_MODES = (
    "auto",
    "forward-over-forward",
    "forward-over-reverse",
    "reverse-over-forward",
    "reverse-over-reverse",
)


def jvp(f: Function, x: Params, v: Params) -> Any:
    """Return J v, the derivative of f at x along v: one pass of forward mode.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value.
      x: a tree of floating arrays.
      v: a tree like x.

    Returns:
      A tree like f(x).

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x`, `v` or f(x) is not floating.
      ValueError: if `v` is no tree like `x`.

    Reference: Griewank and Walther (2008), section 3.1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import jvp
      >>> g = lambda t: jnp.stack([t[0] - 7.0 * t[1] + 5.0 * t[2], t[1] * t[2]])
      >>> bool(jnp.allclose(jvp(g, jnp.array([2.5, 2.1, 1.4]), jnp.array([0.0, 1.0, 0.0])), jnp.array([-7.0, 1.4])))
      True
    """
    x, _ = checked("jvp", f, x)
    return jax.jvp(f, (x,), (_tree_like("jvp", "v", v, "x", x),))[1]


def vjp(f: Function, x: Params, w: Any) -> Params:
    """Return J' w, the gradient of <w, f> at x: one pass of reverse mode.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value.
      x: a tree of floating arrays.
      w: a tree like f(x).

    Returns:
      A tree like x.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x`, `w` or f(x) is not floating.
      ValueError: if `w` is no tree like f(x).

    Reference: Griewank and Walther (2008), section 3.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import vjp
      >>> g = lambda t: jnp.stack([t[0] - 7.0 * t[1] + 5.0 * t[2], t[1] * t[2]])
      >>> bool(jnp.allclose(vjp(g, jnp.array([2.5, 2.1, 1.4]), jnp.array([1.0, 0.0])), jnp.array([1.0, -7.0, 5.0])))
      True
    """
    x, y = checked("vjp", f, x)
    return jax.vjp(f, x)[1](_tree_like("vjp", "w", w, "f(x)", y))[0]


def gradient(f: Function, x: Params) -> Params:
    """Return the gradient of a real scalar function: one vjp, with w = 1.

    Args:
      f: a function of one tree, with a real scalar as its value.
      x: a tree of floating arrays.

    Returns:
      A tree like x.

    Raises:
      TypeError: if `f` cannot be called or does not return a real scalar, or a leaf of `x` is not floating.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import gradient
      >>> bool(jnp.allclose(gradient(lambda t: t[0] * t[1] ** 2, jnp.array([1.0, 3.0])), jnp.array([9.0, 6.0])))
      True
    """
    x = tree.as_parameters("gradient", "x", x)
    value, pullback, _ = jax.vjp(scalar_function("gradient", f, (), False, "f"), x, has_aux=True)
    return pullback(jnp.ones_like(value))[0]


def partial_derivative(f: Function, x: Params, i: int, j: int, *, mode: str = "forward") -> jax.Array:
    """Return the derivative of output i with respect to input j: one entry of one product.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value.
      x: a tree of floating arrays, n entries in all.
      i: the output, from 0, < m.
      j: the input, from 0, < n.
      mode: "forward" takes entry i of J e_j, "reverse" entry j of J' e_i.

    Returns:
      A scalar.

    Raises:
      TypeError: if `f` cannot be called, a leaf of `x` or f(x) is not floating, or `i` or `j` is no whole number.
      ValueError: if `i` or `j` is out of range, or `mode` is neither word.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import partial_derivative
      >>> g = lambda t: jnp.stack([t[0] - 7.0 * t[1] + 5.0 * t[2], t[1] * t[2]])
      >>> bool(jnp.allclose(partial_derivative(g, jnp.array([2.5, 2.1, 1.4]), 1, 2), 2.1))
      True
    """
    validate.choice("partial_derivative", "mode", mode, ("forward", "reverse"))
    x, y = checked("partial_derivative", f, x)
    for argument, k, of in (("i", i, y), ("j", j, x)):
        count = tree.size(of)
        if not count:
            msg = f"partial_derivative: {argument} must count an entry, but there is none: {'f(x)' if of is y else 'x'} is empty."
            raise ValueError(msg)
        validate.integer("partial_derivative", argument, k, low=0, high=count - 1)
    if mode == "forward":
        return tree.ravel(jax.jvp(f, (x,), (_unit(x, j),))[1])[0][i]
    return tree.ravel(jax.vjp(f, x)[1](_unit(y, i))[0])[0][j]


def jacobian(f: Function, x: Params, *, mode: str = "auto") -> Any:
    """Return the Jacobian: its columns by n passes forward, or its rows by m passes back, in one batch.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value, m entries in all.
      x: a tree of floating arrays, n entries in all.
      mode: "forward", "reverse", or "auto": forward where n <= m.

    Returns:
      A tree like f(x) of trees like x; the block of an output leaf and an input leaf has the shape of the first followed
      by that of the second, and the dtype of the first, in either mode.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x` or f(x) is not floating.
      ValueError: if `mode` is none of the three.

    Reference: Griewank and Walther (2008), section 3.5.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import jacobian
      >>> g = lambda t: {"sum": jnp.sum(t), "squares": t**2}
      >>> blocks = jacobian(g, jnp.array([1.0, 3.0]))
      >>> blocks["squares"].shape, bool(jnp.allclose(blocks["sum"], 1.0))
      ((2, 2), True)
    """
    validate.choice("jacobian", "mode", mode, ("auto", "forward", "reverse"))
    x, y = checked("jacobian", f, x)
    if not jax.tree.leaves(x) or not jax.tree.leaves(y):
        return jax.tree.map(lambda _: x, y)  # trees without leaves
    if mode == "auto":
        mode = "forward" if tree.size(x) <= tree.size(y) else "reverse"
    return _by_columns(f, x) if mode == "forward" else _by_rows(f, x, y)


def hessian(f: Function, x: Params, *, mode: str = "auto") -> Any:
    """Return the Hessian of a real scalar function: the Jacobian of its gradient, in blocks of leaves.

    Each column is one product of `jopt.curvature.hvp`, and they come as they are: where a custom rule is not
    symmetric, neither is this. `jopt.curvature.hessian` returns one symmetric matrix.

    Args:
      f: a function of one tree, with a real scalar as its value.
      x: a tree of floating arrays, n entries in all.
      mode: a mode of `jopt.curvature.hvp`; "forward-over-forward", n^2 passes, for functions without a reverse rule
        (a while loop of unknown length); or "auto", which takes each of the two derivatives by shape: forward over
        forward for n = 1, else forward over reverse.

    Returns:
      A tree like x of trees like x; a block has the shape of its row's leaf followed by that of its column's.

    Raises:
      TypeError: if `f` cannot be called or does not return a real scalar, or a leaf of `x` is not floating.
      ValueError: if `mode` is none of these.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import hessian
      >>> blocks = hessian(lambda x: x["a"] * x["b"] ** 2, {"a": jnp.float32(1.0), "b": jnp.float32(3.0)})
      >>> bool(jnp.allclose(blocks["a"]["b"], 6.0)), bool(jnp.allclose(blocks["b"]["b"], 2.0))
      (True, True)
    """
    validate.choice("hessian", "mode", mode, _HESSIAN_MODES)
    x = tree.as_parameters("hessian", "x", x)
    objective = scalar_function("hessian", f, (), False, "f")
    jax.eval_shape(objective, x)  # its errors name this function
    if not jax.tree.leaves(x):
        return x
    if mode == "auto":
        mode = "forward-over-forward" if tree.size(x) == 1 else "forward-over-reverse"
    if mode == "forward-over-forward":

        def first(x: Params) -> Params:
            return tree.cast(_by_columns(lambda x: objective(x)[0], x), x)

        return _by_columns(first, x)
    return _columns(hvp(f, x, mode=mode), x)


def checked(function: str, f: Function, x: Params) -> tuple[Params, Any]:
    """Return x as a tree of floating arrays, and f(x) as a tree of shapes; nothing is computed.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x` or f(x) is not floating, with its path.
    """
    if not callable(f):
        msg = f"{function}: f must be a function of one tree, got {type(f).__name__}."
        raise TypeError(msg)
    x = tree.as_parameters(function, "x", x)
    y = jax.eval_shape(lambda x: f(x), x)  # a function of its own, which JAX traces anew
    for path, leaf in jax.tree_util.tree_leaves_with_path(y):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = f"f(x){jax.tree_util.keystr(path)}"
            msg = f"{function}: {where} must be real floating numbers, got {leaf.dtype}{list(leaf.shape)}; return it by another function."
            raise TypeError(msg)
    return x, y


def basis(like: Any) -> Any:
    """Return the unit trees e_0, e_1, ... of a tree, stacked along a new first axis of each leaf."""
    vector, unravel = tree.ravel(tree.zeros_like(like))
    return jax.vmap(unravel)(jnp.eye(vector.size, dtype=vector.dtype))


def _unit(like: Any, k: int) -> Any:
    vector, unravel = tree.ravel(tree.zeros_like(like))
    return unravel(vector.at[k].set(1))


def _by_columns(f: Function, x: Params) -> Any:
    return _columns(lambda v: jax.jvp(f, (x,), (v,))[1], x)


def _columns(product: Function, x: Params) -> Any:
    """Return the blocks of the matrix whose products with trees like x are given."""
    columns = jax.vmap(product)(basis(x))
    return jax.tree.map(lambda column: _cut(jnp.moveaxis(column, 0, -1), x), columns)


def _by_rows(f: Function, x: Params, y: Any) -> Any:
    pullback = jax.vjp(f, x)[1]
    rows = jax.vmap(lambda w: tree.ravel(pullback(w)[0])[0])(basis(y))  # shape (m, n)
    blocks = [
        _cut(rows[a:b].reshape(*leaf.shape, rows.shape[1]).astype(leaf.dtype), x)
        for (a, b), leaf in zip(_ranges(y), jax.tree.leaves(y), strict=True)
    ]
    return jax.tree.structure(y).unflatten(blocks)


def _cut(rows: jax.Array, x: Params) -> Params:
    """Return the last axis, which counts the entries of x, as a tree like x."""
    leaves, structure = jax.tree.flatten(x)
    outer = rows.shape[:-1]
    ranges = zip(_ranges(x), leaves, strict=True)
    return structure.unflatten([rows[..., a:b].reshape(*outer, *leaf.shape) for (a, b), leaf in ranges])


def _ranges(like: Any) -> list[tuple[int, int]]:
    """Return for each leaf of a tree the first of its entries and the one past its last, counted over the tree."""
    ends = itertools.accumulate((leaf.size for leaf in jax.tree.leaves(like)), initial=0)
    return list(itertools.pairwise(ends))


def _tree_like(function: str, argument: str, given: Any, reference: str, like: Any) -> Any:
    given = tree.as_parameters(function, argument, given)
    tree.check_like(function, argument, given, reference, like)
    return jax.tree.map(lambda a, b: a.astype(b.dtype), given, like)

# SPDX-License-Identifier: Apache-2.0
r"""Do the two modes agree? The dot-product test of jvp against vjp.

J v by forward mode and J' w by reverse mode are products with one matrix and its transpose, so for any v and w

    <w, J v> = <J' w, v>.

With independent standard normal entries the difference of the two sides has the variance |J - K|_F^2, K the matrix that reverse
mode uses, while |J v|^2 and |J' w|^2 have the mean |J|_F^2: relative to |J v| + |J' w| it is of order one for a wrong rule
and rounding for a right one, whatever the dimensions. The test is made for each pair of an output leaf and an input
leaf, so that it says which block of the Jacobian is wrong.

It owes nothing to differences, so it works to half the digits where f is noisy or has kinks. It cannot tell which mode is
wrong, and finds nothing where both are wrong together: JAX derives reverse mode from the forward rules, but where a
function has a rule of its own for one (`custom_vjp`, `linear_call`, `custom_linear_solve`, a primitive of the user's).
A function with a `custom_vjp` has no forward mode at all, which is said.

Reference: Claerbout (1992), Earth Soundings Analysis, chapter 5; Griewank and Walther (2008), section 3.3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import report, tree, validate
from jopt.autodiff.products import checked
from jopt.linalg import probes
from jopt.types import Params, hashable


class ProductsCheck(NamedTuple):
    """What the dot-product test found; it prints as a table.

    Attributes:
      ok: whether both modes exist and no block's difference is above the bound.
      message: one sentence: the verdict.
      worst: the block of the largest difference, such as "f(x)['y'] by x['w']"; empty where a mode is missing.
      difference: |<w, J v> - <J' w, v>| / (|J v| + |J' w|) of that block, the largest over the pairs tried; NaN where a
        product is not finite or a mode is missing.
      bound: from where on modes count as different: sqrt(eps), half the digits.
      forward: whether f has a forward mode.
      reverse: whether f has a reverse mode.
      differences: all of them, shape (output leaves, input leaves).
    """

    ok: bool
    message: str
    worst: str
    difference: float
    bound: float
    forward: bool
    reverse: bool
    differences: np.ndarray

    def __repr__(self) -> str:
        rows = {"ok": str(self.ok), "verdict": self.message}
        if self.worst:
            rows |= {"worst": self.worst, "difference": f"{self.difference:.1g}, bound {self.bound:.1g}"}
        return report.table(type(self).__name__, rows)


def check_products(f: Callable[[Params], Any], x: Params, *, pairs: int = 3, key: jax.Array | int = 0) -> ProductsCheck:
    """Compare forward mode with reverse mode by the dot-product test.

    Cost: one compiled program; `pairs` passes forward for each leaf of x and back for each leaf of f(x).

    Args:
      f: a function of one tree, with a tree of floating arrays as its value.
      x: a tree of floating arrays, at least one leaf.
      pairs: random pairs (v, w) for each block, >= 1.
      key: a random key, or a whole number to make one of.

    Returns:
      A `ProductsCheck`. Where f has no forward mode (a `custom_vjp`) or no reverse mode (a while loop of unknown length),
      nothing can be compared: `ok` is False, `message` says which, and `check_gradient` with the other mode serves.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x` or f(x) is not floating.
      ValueError: if `x` or f(x) has no leaf, or `pairs` is less than 1.

    Reference: Claerbout (1992), chapter 5.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import check_products
      >>> check_products(lambda x: {"y": jnp.sin(x) * x[0]}, jnp.arange(3.0)).ok
      True
    """
    validate.integer("check_products", "pairs", pairs, low=1)
    key = validate.random_key("check_products", "key", key)
    x, y = checked("check_products", f, x)
    for argument, given in (("x", x), ("f(x)", y)):
        if not jax.tree.leaves(given):
            msg = f"check_products: {argument} must hold at least one array, got none."
            raise ValueError(msg)
    missing = {mode: _missing(f, x, y, mode) for mode in ("forward", "reverse")}
    bound = max(tree.coarsest_eps(x), tree.coarsest_eps(y)) ** 0.5
    inputs, outputs = (_paths(*named) for named in (("x", x), ("f(x)", y)))
    if any(missing.values()):
        other = "reverse" if missing["forward"] else "forward"
        message = " and ".join(f"f has no {mode} mode: {why}" for mode, why in missing.items() if why)
        message += f"; check_gradient(f, x, mode={other!r}) compares what there is with differences"
        nothing = np.full((len(outputs), len(inputs)), np.nan)
        return ProductsCheck(
            False, message, "", float("nan"), bound, not missing["forward"], not missing["reverse"], nothing
        )
    differences = np.asarray(_differences(hashable(f), x, key, pairs), np.float64)
    at = np.unravel_index(np.where(np.isnan(differences), np.inf, differences).argmax(), differences.shape)
    worst, largest = f"{outputs[at[0]]} by {inputs[at[1]]}", float(differences[at])
    return ProductsCheck(
        largest <= bound, _verdict(largest, bound, worst), worst, largest, bound, True, True, differences
    )


def _verdict(difference: float, bound: float, worst: str) -> str:
    if difference <= bound:
        return "jvp and vjp are products with one matrix and its transpose"
    if np.isnan(difference):
        return f"a product is not finite, in the block {worst}"
    return f"jvp and vjp differ, in the block {worst}: look for a rule that has one mode only"


def _missing(f: Callable[..., Any], x: Params, y: Any, mode: str) -> str:
    """Return why a mode does not exist, empty where it does. Some functions say so when lowered; nothing is computed."""
    try:
        if mode == "forward":
            jax.jit(lambda x: jax.jvp(f, (x,), (x,))[1]).lower(x)
        else:
            jax.jit(lambda x, w: jax.vjp(f, x)[1](w)).lower(x, y)
    except (TypeError, ValueError, NotImplementedError) as error:
        return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
    return ""


@functools.partial(jax.jit, static_argnames=("f", "pairs"))
def _differences(f: Callable[..., Any], x: Params, key: jax.Array, pairs: int) -> jax.Array:
    """Return the relative differences of all blocks, shape (output leaves, input leaves)."""
    y, pullback = jax.vjp(f, x)

    def one(key: jax.Array) -> jax.Array:
        v, w = probes.normal(key, (x, y))
        columns = [jax.tree.leaves(jax.jvp(f, (x,), (part,))[1]) for part in _parts(v)]
        rows = [jax.tree.leaves(pullback(part)[0]) for part in _parts(w)]
        vs, ws = jax.tree.leaves(v), jax.tree.leaves(w)
        blocks = [[_relative(ws[o], columns[i][o], rows[o][i], vs[i]) for i in range(len(vs))] for o in range(len(ws))]
        return jnp.stack([jnp.stack(row) for row in blocks])

    return jnp.max(jax.lax.map(one, jax.random.split(key, pairs)), axis=0)


def _relative(w: jax.Array, column: jax.Array, row: jax.Array, v: jax.Array) -> jax.Array:
    """Return |<w, column> - <row, v>| / (|column| + |row|); in units of the largest entry, so that nothing overflows."""
    (m, a), (n, b) = tree.scaled_norm(column), tree.scaled_norm(row)
    dtype = tree.scalar_dtype((column, row))
    top = jnp.maximum(m.astype(dtype), n.astype(dtype))
    left = tree.vdot(w.astype(dtype), column.astype(dtype) / top)
    right = tree.vdot(v.astype(dtype), row.astype(dtype) / top)
    total = m.astype(dtype) / top * a.astype(dtype) + n.astype(dtype) / top * b.astype(dtype)
    return jnp.abs(left - right) / jnp.where(total == 0, jnp.ones_like(total), total)


def _parts(a: Any) -> list[Any]:
    """Return the trees with one leaf of a and zeros elsewhere."""
    leaves, structure = jax.tree.flatten(a)
    zeros = [jnp.zeros_like(leaf) for leaf in leaves]
    return [structure.unflatten([*zeros[:k], leaf, *zeros[k + 1 :]]) for k, leaf in enumerate(leaves)]


def _paths(name: str, a: Any) -> list[str]:
    return [f"{name}{jax.tree_util.keystr(path)}" for path, _ in jax.tree_util.tree_leaves_with_path(a)]

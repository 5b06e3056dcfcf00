# SPDX-License-Identifier: Apache-2.0
r"""Do the two modes agree? The dot-product test of jvp against vjp.

J v by forward mode and J' w by reverse mode are products with one matrix and its transpose, so for any v and w

    <w, J v> = <J' w, v>.

With independent standard normal entries the difference of the two sides has the variance |J - K|_F^2, K the matrix that reverse
mode uses, while |J v|^2 and |J' w|^2 have the mean |J|_F^2: relative to |J v| + |J' w| it is of order one for a wrong rule
and rounding for a right one, whatever the dimensions: unless the block is zero, or much smaller than the numbers that
it is made of, and all is rounding. So both sides are taken again with x moved by an ulp or two, and only what is beyond
their scatter counts. The test is made for each pair of an output leaf and an input leaf, so that it says which block of
the Jacobian is wrong.

It owes nothing to differences, so it works to half the digits where f is noisy or has kinks nearby; at a kink itself the
products jump with x, and an error below the jump is not seen. It cannot tell which mode is
wrong, and finds nothing where both are wrong together: JAX derives reverse mode from the forward rules, but where a
function has a rule of its own for one (`custom_vjp`, `linear_call`, `custom_linear_solve`, a primitive of the user's).
A function with a `custom_vjp` has no forward mode at all, which is said.

Reference: Claerbout (1992), Earth Soundings Analysis, chapter 5; Griewank and Walther (2008), section 3.3.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import report, tree, validate
from jopt.autodiff.differences import FACTORS, MOVES, NUDGES, fresh, precision, units
from jopt.autodiff.products import checked
from jopt.linalg import probes
from jopt.types import Params


class ProductsCheck(NamedTuple):
    """What the dot-product test found; it prints as a table.

    Attributes:
      ok: whether both modes exist and no block's difference is above the bound.
      message: one sentence: the verdict.
      worst: the block of the largest difference, such as "f(x)['y'] by x['w']"; empty where a mode is missing.
      difference: |<w, J v> - <J' w, v>| of that block beyond its scatter when x is moved by an ulp or two, relative to
        |J v| + |J' w|, the largest over the pairs tried; NaN where a product is not finite or a mode is missing.
      bound: from where on modes count as different: sqrt(eps), half the digits of the least precise values in f.
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

    Cost: one compiled program; 9 `pairs` passes forward for each leaf of x and back for each leaf of f(x).

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
    f = fresh(f)
    x, y = checked("check_products", f, x)
    for argument, given in (("x", x), ("f(x)", y)):
        if not jax.tree.leaves(given):
            msg = f"check_products: {argument} must hold at least one array, got none."
            raise ValueError(msg)
    missing = {mode: _missing(f, x, y, mode) for mode in ("forward", "reverse")}
    eps = precision(f, x)
    bound = eps**0.5
    inputs, outputs = tree.paths("x", x), tree.paths("f(x)", y)
    if any(missing.values()):
        other = "reverse" if missing["forward"] else "forward"
        message = " and ".join(f"f has no {mode} mode: {why}" for mode, why in missing.items() if why)
        message += f"; check_gradient(f, x, mode={other!r}) compares what there is with differences"
        nothing = np.full((len(outputs), len(inputs)), np.nan)
        return ProductsCheck(
            False, message, "", float("nan"), bound, not missing["forward"], not missing["reverse"], nothing
        )
    made = jax.jit(lambda nearby, key: _sides(f, x, nearby, key, pairs))(nudged(x, eps), key)
    differences = beyond_scatter(made)
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


class Sides(NamedTuple):
    """Both sides of equations <w, J v> = <J' w, v>; fields of shape (points, pairs, ...), the point itself first.

    Attributes:
      left: <w, J v>, in units of `top`.
      right: <J' w, v>, in these units.
      total: |J v| + |J' w|, in these units.
      top: the largest entry of both products, so that nothing overflows.
    """

    left: Any
    right: Any
    total: Any
    top: Any


def nudged(x: Params, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x and points a few eps of each entry's unit from it, as vectors in rows, and a factor for each.

    Vectors are to be multiplied by the factor there, and the products divided.
    """
    vector = np.asarray(tree.ravel(x)[0])
    unit = units(x, None)[0] * (-1.0) ** np.arange(vector.size) if vector.size else vector
    moves = np.array([(0.0, 1.0), *itertools.product([*NUDGES, *(2 * nudge for nudge in NUDGES)], FACTORS)])
    points = vector + (eps * moves[:, :1] * unit).astype(vector.dtype)
    return points, moves[:, 1].astype(vector.dtype)


def beyond_scatter(sides: Sides) -> np.ndarray:
    """Return how far both sides differ beyond their scatter, relative to the products' size; the largest of all pairs."""
    left, right, total, top = (np.asarray(field, np.float64) for field in sides)
    with np.errstate(all="ignore"):
        share = top / np.where(top[0] > 0, top[0], 1.0)
        moves = (np.abs(side * share - side[0])[1:] for side in (left, right))
        scatter = MOVES * sum(np.where(np.isfinite(move), move, 0.0).max(axis=(0, 1)) for move in moves)
        apart = np.abs(left - right)[0]
        return (np.maximum(apart - scatter, 0.0) / np.where(total[0] == 0, 1.0, total[0])).max(axis=0)


def sides(w: Any, column: Any, row: Any, v: Any, factor: Any) -> Sides:
    """Return <w, column> and <row, v>, for columns J v and rows J' w, with their size; v and w hold a factor, divided out."""
    (m, a), (n, b) = tree.scaled_norm(column), tree.scaled_norm(row)
    dtype = tree.scalar_dtype((column, row))
    m, n, a, b = (number.astype(dtype) for number in (m, n, a, b))
    top = jnp.maximum(m, n)
    wide = [jax.tree.map(lambda leaf: leaf.astype(dtype), part) for part in (w, column, row, v)]
    column, row = (jax.tree.map(lambda leaf: leaf / top, part) for part in wide[1:3])
    square = jnp.square(factor.astype(dtype))
    left, right = tree.vdot(wide[0], column) / square, tree.vdot(wide[3], row) / square
    return Sides(left, right, m / top * a + n / top * b, top)


def _sides(f: Callable[..., Any], x: Params, nearby: tuple[Any, Any], key: jax.Array, pairs: int) -> Sides:
    """Return both sides for all blocks; fields of shape (points, pairs, output leaves, input leaves)."""
    unravel = tree.ravel(x)[1]

    def at(point: tuple[Any, Any]) -> Sides:
        x, factor = unravel(point[0]), point[1]
        y, pullback = jax.vjp(f, x)

        def one(key: jax.Array) -> Sides:
            v, w = tree.scale(factor, probes.normal(key, (x, y)))
            columns = [jax.tree.leaves(jax.jvp(f, (x,), (part,))[1]) for part in _parts(v)]
            rows = [jax.tree.leaves(pullback(part)[0]) for part in _parts(w)]
            vs, ws = jax.tree.leaves(v), jax.tree.leaves(w)
            blocks = [
                [sides(ws[o], columns[i][o], rows[o][i], vs[i], factor) for i in range(len(vs))] for o in range(len(ws))
            ]
            return jax.tree.map(
                lambda *parts: jnp.stack(parts), *(jax.tree.map(lambda *p: jnp.stack(p), *row) for row in blocks)
            )

        return jax.lax.map(one, jax.random.split(key, pairs))

    return jax.lax.map(at, nearby)


def _parts(a: Any) -> list[Any]:
    """Return the trees with one leaf of a and zeros elsewhere."""
    leaves, structure = jax.tree.flatten(a)
    zeros = [jnp.zeros_like(leaf) for leaf in leaves]
    return [structure.unflatten([*zeros[:k], leaf, *zeros[k + 1 :]]) for k, leaf in enumerate(leaves)]

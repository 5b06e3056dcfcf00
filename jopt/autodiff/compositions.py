# SPDX-License-Identifier: Apache-2.0
r"""What compositions of the modes cost: products with the Hessian, and gradients that recompute instead of storing.

Reverse mode over L layers h <- layer(h) keeps what each layer's derivative needs, of size s a layer, and `jax.checkpoint`
trades that for evaluating layers again:

    none                       memory L s                 no layer twice
    every layer                memory L |h| + s           each layer twice
    every sqrt(L) layers       memory sqrt(L) (|h| + s)   each layer twice

Reference: Griewank and Walther (2008), Evaluating Derivatives, chapters 5 and 12, doi:10.1137/1.9780898717761; Chen et
al. (2016), Training deep nets with sublinear memory cost, section 4, arXiv:1604.06174; Pearlmutter (1994), Fast exact
multiplication by the Hessian, doi:10.1162/neco.1994.6.1.147.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.autodiff.measuring import CostTable, compared
from jopt.autodiff.modes import LIMIT, MEMORY_LIMIT, checked_runs, chosen_modes, mapped, sized, unit
from jopt.curvature import hvp
from jopt.curvature.hvp import scalar_function
from jopt.types import Params, Scalar

PRODUCTS = ("forward-over-reverse", "reverse-over-forward", "reverse-over-reverse", "forward-over-forward")
KEEPING = ("none", "every layer", "every sqrt(depth) layers")


class CheckpointCosts(NamedTuple):
    """Costs of gradients through layers, by depth; it prints table by table, and `jopt.viz.checkpoint_costs` draws it.

    Attributes:
      depths: numbers of layers, shape (D,).
      tables: one for each depth, with the rows "function", "none", "every layer" and "every sqrt(depth) layers".
    """

    depths: tuple[int, ...]
    tables: tuple[CostTable, ...]

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.tables))

    __str__ = __repr__


def compare_hvp(
    f: Callable[[Params], Any],
    x: Params,
    *,
    modes: Iterable[str] = PRODUCTS,
    repeats: int = 5,
    limit: float = LIMIT,
    memory_limit: float = MEMORY_LIMIT,
) -> CostTable:
    """Measure the ways to one product of the Hessian with a vector, on the device that x is on.

    Cost: a compilation and `repeats` + 1 runs for each row.

    Args:
      f: a function of one tree, with a real scalar as its value.
      x: a tree of floating arrays, n entries in all, at least one.
      modes: some of the modes of `jopt.curvature.hvp` and "forward-over-forward", which takes n passes.
      repeats: runs whose median is kept, >= 1.
      limit: operations up to which a row is run, > 0; one that has more is counted and compiled only.
      memory_limit: bytes of temporary arrays and outputs up to which a row is run, > 0, where the backend tells them.

    Returns:
      A `CostTable` with the rows "function", "gradient" (reverse mode) and the modes.

    Raises:
      TypeError: if `f` cannot be called or does not return a real scalar, or a leaf of `x` is not floating.
      ValueError: if `repeats` is less than 1, a mode unknown, or `modes` or `x` is empty.

    Reference: Griewank and Walther (2008), section 5.4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import compare_hvp
      >>> table = compare_hvp(lambda x: jnp.sum(jnp.sin(x) ** 2), jnp.ones(50), repeats=1)
      >>> [row.name for row in table.rows][1:3]
      ['gradient', 'forward-over-reverse']
      >>> table.row("forward-over-forward").operations > table.row("reverse-over-reverse").operations
      True
    """
    chosen = chosen_modes("compare_hvp", modes, PRODUCTS)
    limits = checked_runs("compare_hvp", repeats, limit, memory_limit)
    objective = scalar_function("compare_hvp", f, (), False, "f")
    x = tree.as_parameters("compare_hvp", "x", x)
    jax.eval_shape(objective, x)  # its errors name this function
    x, _ = sized("compare_hvp", f, x)
    programs = {
        "function": lambda x, _: f(x),
        "gradient": lambda x, _: jax.grad(lambda x: objective(x)[0])(x),
    } | hvp_programs(f, chosen)
    ones = jax.tree.map(jnp.ones_like, x)
    return compared(f"Hessian-vector product, {tree.size(x)} inputs", programs, (x, ones), repeats, limits)


def hvp_programs(
    f: Callable[[Params], Any], modes: Iterable[str] = PRODUCTS
) -> dict[str, Callable[[Params, Params], Params]]:
    """Return programs (x, v) -> H v by mode; all return the same tree like x."""

    def program(mode: str) -> Callable[[Params, Params], Params]:
        return lambda x, v: hvp(f, x, mode=mode)(v)

    return {mode: _forward_over_forward(f) if mode == "forward-over-forward" else program(mode) for mode in modes}


def _forward_over_forward(f: Callable[[Params], Any]) -> Callable[[Params, Params], Params]:
    """Return H v entry by entry: entry i is the derivative along e_i of the derivative along v."""

    def product(x: Params, v: Params) -> Params:
        def slope(x: Params) -> Scalar:
            return jax.jvp(f, (x,), (v,))[1]

        entries = mapped(lambda i: jax.jvp(slope, (x,), (unit(x, i),))[1], tree.size(x), 1)
        return tree.ravel(x)[1](entries)

    return product


def compare_checkpoint(
    layer: Callable[[Params], Params],
    x: Params,
    *,
    depth: int | Iterable[int] = (4, 16, 64),
    repeats: int = 5,
    limit: float = LIMIT,
    memory_limit: float = MEMORY_LIMIT,
) -> CheckpointCosts:
    """Measure the gradient through many layers with and without `jax.checkpoint`: memory against recomputation.

    The function is 1/2 |h|^2 of the last h, where h starts at x and becomes layer(h) `depth` times, in a scan.

    Cost: four compilations and 4 (`repeats` + 1) runs for each depth.

    Args:
      layer: a function of one tree, with a tree like it as its value.
      x: a tree of floating arrays, at least one entry.
      depth: layers, >= 1, or a list of such numbers.
      repeats: runs whose median is kept, >= 1.
      limit: operations up to which a row is run, > 0; one that has more is counted and compiled only.
      memory_limit: bytes of temporary arrays and outputs up to which a row is run, > 0, where the backend tells them.

    Returns:
      A `CheckpointCosts`.

    Raises:
      TypeError: if `layer` cannot be called, or a leaf of `x` is not floating.
      ValueError: if layer(x) is not like x, `depth` or `repeats` is less than 1, or `x` is empty.

    Reference: Chen et al. (2016), section 4.1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import compare_checkpoint
      >>> costs = compare_checkpoint(lambda h: jnp.sin(jnp.cos(h)), jnp.ones(8), depth=9, repeats=1)
      >>> none, every = (costs.tables[0].row(name) for name in ("none", "every layer"))
      >>> none.operations < every.operations
      True
    """
    limits = checked_runs("compare_checkpoint", repeats, limit, memory_limit)
    depths = [depth] if not isinstance(depth, Iterable) else list(depth)
    for number in depths:
        validate.integer("compare_checkpoint", "depth", number, low=1)
    if not depths:
        msg = "compare_checkpoint: depth must hold at least one number of layers, got none."
        raise ValueError(msg)
    x, y = sized("compare_checkpoint", layer, x)
    tree.check_like("compare_checkpoint", "layer(x)", y, "x", x)
    layers = jax.tree.map(lambda a, like: a.dtype == like.dtype, y, x)
    if not all(jax.tree.leaves(layers)):
        msg = "compare_checkpoint: layer(x) must have the dtypes of x; cast it in layer."
        raise TypeError(msg)
    tables = (
        compared(
            f"Gradient through {number} layers, blocks of {block_of(number)}", checkpoint_programs(layer, number), (x,),
            repeats, limits,
        )
        for number in depths
    )  # fmt: skip
    return CheckpointCosts(tuple(map(int, depths)), tuple(tables))


def checkpoint_programs(layer: Callable[[Params], Params], depth: int) -> dict[str, Callable[[Params], Any]]:
    """Return the programs of the rows: the function, and its gradient with more and less kept; gradients all agree."""
    block = block_of(depth)

    def again(function: Callable[[Params], Params]) -> Callable[[Params], Params]:
        return jax.checkpoint(function, prevent_cse=False)  # within a scan nothing is merged across trips

    def in_blocks(h: Params) -> Params:
        h = _repeated(again(lambda h: _repeated(layer, h, block)), h, depth // block)
        rest = depth % block
        return again(lambda h: _repeated(layer, h, rest))(h) if rest else h

    through = {
        "none": lambda h: _repeated(layer, h, depth),
        "every layer": lambda h: _repeated(again(layer), h, depth),
        "every sqrt(depth) layers": in_blocks,
    }

    def gradient(name: str) -> Callable[[Params], Params]:
        return lambda x: jax.grad(lambda x: _half_square(through[name](x)))(x)

    return {"function": lambda x: _half_square(through["none"](x))} | {name: gradient(name) for name in KEEPING}


def block_of(depth: int) -> int:
    """Return the layers of a block: the root of their number, rounded up."""
    return math.isqrt(depth - 1) + 1


def _repeated(layer: Callable[[Params], Params], h: Params, times: int) -> Params:
    return jax.lax.scan(lambda h, _: (layer(h), None), h, length=times)[0]


def _half_square(h: Params) -> Scalar:
    return tree.vdot(h, h) / 2

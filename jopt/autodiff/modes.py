# SPDX-License-Identifier: Apache-2.0
r"""What the modes cost on a function: the same Jacobian, m rows and n columns, composed in different ways.

    forward               n passes, one tangent at a time: each evaluates f again and keeps nothing
    forward, batches of k n / k passes with k tangents at once: each evaluates f once
    linearised            f once, its linear part kept; then n tangents through that, one at a time
    reverse               f once, its linear part kept; then m cotangents back through that, one at a time
    reverse, batches of k m / k passes with k cotangents at once

Forward mode grows with n, reverse mode with m. In the measure of Griewank and Walther (2008, sections 3.1 and 3.2), where
an elementary function weighs more than a product, a tangent costs at most 3/2 of f beyond f itself, and a cotangent at
most 3 f, whatever n and m. The counts here weigh both alike, so the derivative of a function such as cbrt, which takes
more products than the function itself, can go beyond these multiples.

Reference: Griewank and Walther (2008), Evaluating Derivatives, chapters 3 and 4, doi:10.1137/1.9780898717761.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.autodiff.measuring import CostTable, Limits, compared
from jopt.autodiff.products import checked
from jopt.types import Params

MODES = ("forward", "forward-batched", "linearised", "reverse", "reverse-batched")
LIMIT = 1e11  # operations of a run: a hundred seconds at a billion a second
MEMORY_LIMIT = 4e9  # bytes of a run: half of what a small machine has
BATCH = 16  # tangents at once: so many float32 fill the widest registers of a CPU


def compare_modes(
    f: Callable[[Params], Any],
    x: Params,
    *,
    k: int = BATCH,
    modes: Iterable[str] = MODES,
    repeats: int = 5,
    limit: float = LIMIT,
    memory_limit: float = MEMORY_LIMIT,
) -> CostTable:
    """Measure forward, reverse and mixed ways to the Jacobian of a function, on the device that x is on.

    Cost: a compilation and `repeats` + 1 runs for each row.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value, m entries in all.
      x: a tree of floating arrays, n entries in all, at least one.
      k: tangents or cotangents at once in the batched modes, >= 1.
      modes: some of "forward", "forward-batched", "linearised", "reverse" and "reverse-batched".
      repeats: runs whose median is kept, >= 1.
      limit: operations up to which a row is run, > 0; one that has more is counted and compiled only.
      memory_limit: bytes of temporary arrays and outputs up to which a row is run, > 0, where the backend tells them.

    Returns:
      A `CostTable` with the rows "function", the unit of the others, and "forward", "forward, batches of k",
      "linearised", "reverse", "reverse, batches of k". For a scalar function the Jacobian is the gradient. A mode that
      JAX refuses (reverse through a while loop, forward through a `jax.custom_vjp`) has a row with the reason.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x` or f(x) is not floating.
      ValueError: if `k` or `repeats` is less than 1, a limit not positive, a mode unknown, `modes` empty, or `x` or f(x) is empty.

    Reference: Griewank and Walther (2008), sections 3.1 and 3.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import compare_modes
      >>> table = compare_modes(lambda x: jnp.sum(jnp.sin(x)), jnp.ones(100), modes=["forward", "reverse"], repeats=1)
      >>> [row.name for row in table.rows], table.row("reverse").operations < table.row("forward").operations
      (['function', 'forward', 'reverse'], True)
    """
    chosen = chosen_modes("compare_modes", modes, MODES)
    limits = checked_runs("compare_modes", repeats, limit, memory_limit)
    x, y = sized("compare_modes", f, x)
    n, m = tree.size(x), tree.size(y)
    programs = {"function": f} | jacobian_programs(f, y, k, chosen)
    return compared(f"Jacobian, {m} x {n} (outputs x inputs)", programs, (x,), repeats, limits)


def jacobian_programs(
    f: Callable[[Params], Any], y: Any, k: int = BATCH, modes: Iterable[str] = MODES
) -> dict[str, Callable[[Params], jax.Array]]:
    """Return programs x -> Jacobian of f at x by name; all return the same matrix of shape (m, n).

    Rows and columns count the entries of f(x) and of x over the leaves, in the order of `jopt.tree.ravel`.

    Args:
      f: a function of one tree.
      y: a tree like f(x), of arrays or shapes.
      k: tangents or cotangents at once in the batched modes, >= 1.
      modes: some of `MODES`.

    Raises:
      ValueError: if `k` is less than 1.
    """
    validate.integer("compare_modes", "k", k, low=1)

    def forward(x: Params, batch: int = 1) -> jax.Array:
        def column(j: jax.Array) -> jax.Array:
            return tree.ravel(jax.jvp(f, (x,), (unit(x, j),))[1])[0]

        return mapped(column, tree.size(x), batch).T

    def linearised(x: Params) -> jax.Array:
        push = jax.linearize(f, x)[1]
        return mapped(lambda j: tree.ravel(push(unit(x, j)))[0], tree.size(x), 1).T

    def reverse(x: Params, batch: int = 1) -> jax.Array:
        pull = jax.vjp(f, x)[1]
        return mapped(lambda i: tree.ravel(pull(unit(y, i))[0])[0], tree.size(y), batch)

    programs: dict[str, tuple[str, Callable[[Params], jax.Array]]] = {
        "forward": ("forward", forward),
        "forward-batched": (f"forward, batches of {k}", lambda x: forward(x, k)),
        "linearised": ("linearised", linearised),
        "reverse": ("reverse", reverse),
        "reverse-batched": (f"reverse, batches of {k}", lambda x: reverse(x, k)),
    }
    return dict(programs[mode] for mode in modes)


def mapped(function: Callable[[jax.Array], Any], count: int, batch: int) -> Any:
    """Return what a function of an index returns for 0, 1, ..., stacked: in a loop over batches, none around a single one."""
    indices = jnp.arange(count)
    if count == 1:
        return jax.tree.map(lambda a: a[None], function(indices[0]))
    if batch >= count:
        return jax.vmap(function)(indices)
    return jax.lax.map(function, indices, batch_size=None if batch == 1 else batch)


def unit(like: Any, k: jax.Array) -> Any:
    """Return the tree with entry k one and the others zero; k may be traced."""
    leaves, structure = jax.tree.flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        at = jnp.arange(start, start + leaf.size) == k
        parts.append(at.astype(leaf.dtype).reshape(leaf.shape))
        start += leaf.size
    return structure.unflatten(parts)


def sized(function: str, f: Callable[[Params], Any], x: Params) -> tuple[Params, Any]:
    """Return x as a tree of floating arrays, and f(x) as a tree of shapes, each with an entry at least.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x` or f(x) is not floating.
      ValueError: if `x` or f(x) is empty.
    """
    x, y = checked(function, f, x)
    for argument, a in (("x", x), ("f(x)", y)):
        if not tree.size(a):
            msg = f"{function}: {argument} must have at least one entry, got none."
            raise ValueError(msg)
    return x, y


def chosen_modes(function: str, modes: Any, allowed: tuple[str, ...]) -> list[str]:
    """Return the modes asked for, each once.

    Raises:
      TypeError: if `modes` is no list.
      ValueError: if one is unknown, or there is none.
    """
    chosen = [validate.choice(function, "modes", mode, allowed) for mode in validate.sequence(function, "modes", modes)]
    if not chosen:
        msg = f"{function}: modes must name at least one of {', '.join(allowed)}, got none."
        raise ValueError(msg)
    return list(dict.fromkeys(chosen))


def checked_runs(function: str, repeats: Any, limit: Any, memory_limit: Any) -> Limits:
    """Check how often a program is run, and return up to how many operations and bytes.

    Raises:
      TypeError: if one is no number.
      ValueError: if one is out of range.
    """
    validate.integer(function, "repeats", repeats, low=1)
    operations = validate.number(function, "limit", limit, low=0.0, low_open=True)
    return Limits(operations, validate.number(function, "memory_limit", memory_limit, low=0.0, low_open=True))

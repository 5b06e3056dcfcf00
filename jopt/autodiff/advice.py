# SPDX-License-Identifier: Apache-2.0
"""Which mode to take for the Jacobian of a function, and why, from shapes alone: nothing is run, nothing compiled.

The rule: reverse mode where it saves operations enough to pay for what it keeps between its passes, else forward mode,
which keeps nothing. Where a loop's trips make up most of what reverse mode keeps, `jax.checkpoint` is part of the advice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal

from jopt import tree
from jopt.autodiff.costs import count_operations, scan_lengths
from jopt.autodiff.measuring import REFUSALS, size_text, text
from jopt.autodiff.modes import sized
from jopt.autodiff.products import jacobian
from jopt.types import Params

SAVING = 1.25
"""Forward over reverse operations beyond which reverse mode is advised: a counted operation is no second, and what is
kept must be written and read."""

MUCH = 10
"""What reverse mode keeps, over the size of x and f(x), from which on it is much: an order of magnitude."""

HUNDRED = 100  # ratios from which on whole numbers say enough


class _Figures(NamedTuple):
    """What the advice rests on.

    Attributes:
      inputs: entries of x.
      outputs: entries of f(x).
      function: operations of f.
      forward: of its Jacobian by forward mode; None where there is no such mode.
      reverse: of its Jacobian by reverse mode; None where there is no such mode.
      kept: bytes that reverse mode keeps.
      steps: trips of the loop that makes up most of a large `kept`, else 0.
      trip: " a trip" where a loop has no known length, else empty.
    """

    inputs: int
    outputs: int
    function: int
    forward: int | None
    reverse: int | None
    kept: int
    steps: int
    trip: str


def advise(f: Callable[[Params], Any], x: Params) -> str:
    """Say in one sentence which mode to take for the derivatives of f at points like x, and why.

    Operations are counted for the whole Jacobian, by `jopt.autodiff.jacobian`: one pass for each input in forward mode,
    one for each output in reverse mode. f is traced; it is neither run nor compiled.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value, at least one entry.
      x: a tree of floating arrays, at least one entry; only shapes and dtypes matter.

    Returns:
      A sentence with the numbers of inputs, outputs and operations, and what reverse mode keeps in memory.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x` or f(x) is not floating.
      ValueError: if `x` or f(x) is empty, or JAX has a rule for neither mode.

    Reference: Griewank and Walther (2008), Evaluating Derivatives, sections 3.1, 3.2 and 12.1,
    doi:10.1137/1.9780898717761.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import advise
      >>> print(advise(lambda x: jnp.sum(jnp.sin(x)), jnp.ones(1000))[:50])
      Use reverse mode: for 1,000 inputs and 1 output th
      >>> print(advise(lambda t: jnp.sin(jnp.arange(99.0) * t), 0.5)[:17])
      Use forward mode:
    """
    figures = _figures(f, x)
    if figures.reverse is None:
        return f"Use forward mode: reverse mode has no rule for this function; {_passes(figures, 'forward')}."
    if figures.forward is None:
        return f"Use reverse mode: forward mode has no rule for this function; {_passes(figures, 'reverse')}{_memory(figures)}."
    sizes = f"for {_number(figures.inputs, 'input')} and {_number(figures.outputs, 'output')} the Jacobian takes"
    forward, reverse = (_operations(figures, mode) for mode in ("forward", "reverse"))
    if figures.forward > SAVING * figures.reverse:
        why = f"{reverse} in reverse mode and {forward} in forward mode{_memory(figures)}"
        return f"Use reverse mode: {sizes} {why}."
    kept = f"where reverse mode keeps {size_text(figures.kept)}"
    if figures.reverse > SAVING * figures.forward:
        return f"Use forward mode: {sizes} {forward} in forward mode and {reverse} in reverse mode, and nothing is kept {kept}."
    tie = f"about as much in forward mode, {forward}, as in reverse mode, {reverse}"
    return f"Use forward mode: {sizes} {tie}, and nothing is kept {kept}."


def _figures(f: Callable[[Params], Any], x: Params) -> _Figures:
    x, y = sized("advise", f, x)
    own = count_operations(f, x)
    counts = [_count(f, x, mode) for mode in ("forward", "reverse")]
    if counts == [None, None]:
        msg = "advise: f must have a derivative, but JAX has a rule for neither mode."
        raise ValueError(msg)
    kept, steps = (0, 0) if counts[1] is None else _kept(f, x, y)
    trip = " a trip" if own.loops else ""
    return _Figures(tree.size(x), tree.size(y), own.total, counts[0], counts[1], kept, steps, trip)


def _count(f: Callable[[Params], Any], x: Params, mode: str) -> int | None:
    try:
        return count_operations(lambda x: jacobian(f, x, mode=mode), x).total
    except REFUSALS:
        return None


def _kept(f: Callable[[Params], Any], x: Params, y: Any) -> tuple[int, int]:
    """Return the bytes of what reverse mode keeps, and the trips of the loop that most of it comes from, if it is much.

    What is there anyway, x and the constants of f, is not kept.
    """
    jaxpr = jax.make_jaxpr(lambda x: jax.tree.leaves(jax.vjp(f, x)[1]))(x).jaxpr
    there = {*jaxpr.invars, *jaxpr.constvars}
    made = [v.aval for v in dict.fromkeys(v for v in jaxpr.outvars if not isinstance(v, Literal)) if v not in there]
    kept, lengths = _bytes(made), scan_lengths(f, x)
    stacked: dict[int, int] = {}
    for array in made:
        if array.ndim and array.shape[0] in lengths:
            stacked[array.shape[0]] = stacked.get(array.shape[0], 0) + _bytes([array])
    most = max(stacked.values(), default=0)
    much = kept >= MUCH * _bytes([*jax.tree.leaves(x), *jax.tree.leaves(y)])
    return kept, max(stacked, key=lambda length: stacked[length]) if much and 2 * most > kept else 0


def _bytes(leaves: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _operations(figures: _Figures, mode: str) -> str:
    count = getattr(figures, mode)
    times = (
        f" ({_times(count / figures.function)} times the function's {text(figures.function)})"
        if figures.function
        else ""
    )
    return f"{text(count)} operations{figures.trip}{times}"


def _times(ratio: float) -> str:
    return text(ratio) if ratio >= HUNDRED else f"{ratio:.3g}"


def _passes(figures: _Figures, mode: str) -> str:
    count = figures.inputs if mode == "forward" else figures.outputs
    return f"{_number(count, 'pass', 'passes')} for the Jacobian, {_operations(figures, mode)}"


def _memory(figures: _Figures) -> str:
    kept = f", keeping {size_text(figures.kept)} between its passes"
    if not figures.steps:
        return kept
    return f"{kept}, most of it for a loop of {figures.steps:,} steps: put jax.checkpoint around its body"


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"

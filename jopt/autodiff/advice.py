# SPDX-License-Identifier: Apache-2.0
"""Which mode to take for the Jacobian of a function, and why, from shapes alone: nothing is run, nothing compiled.

The rule: reverse mode where it saves operations enough to pay for what it keeps between its passes, else forward mode,
which keeps nothing for a pass back. Where most of what reverse mode keeps is made by the trips of one loop, and is more than
the loop's carry at each of them, `jax.checkpoint` around the body is part of the advice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jopt import tree
from jopt.autodiff.costs import count_operations
from jopt.autodiff.measuring import REFUSALS, reason, size_text, text
from jopt.autodiff.modes import sized
from jopt.autodiff.products import jacobian
from jopt.autodiff.program import kind_of
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

    Operations are counted for the whole Jacobian, by `jopt.autodiff.jacobian`, which evaluates f once and takes all tangents
    through it at once, or all cotangents back. f is traced; it is neither run nor compiled.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value, at least one entry.
      x: a tree of floating arrays, at least one entry; only shapes and dtypes matter.

    Returns:
      A sentence with the numbers of inputs, outputs and operations, and what reverse mode keeps in memory.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x` or f(x) is not floating.
      ValueError: if `x` or f(x) is empty, or JAX has a rule for neither mode; the message has JAX's reason.

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
        return f"Use reverse mode: forward mode has no rule for this function; {_passes(figures, 'reverse')}; {_memory(figures)}."
    sizes = f"for {_number(figures.inputs, 'input')} and {_number(figures.outputs, 'output')} the Jacobian takes"
    forward, reverse = (f"{_operations(figures, mode)} in {_at_once(figures, mode)}" for mode in ("forward", "reverse"))
    if figures.forward > SAVING * figures.reverse:
        return f"Use reverse mode: {sizes} {reverse} and {forward}; {_memory(figures)}."
    kept = f"nothing is kept for a pass back, where reverse mode keeps {size_text(figures.kept)}"
    about = "" if figures.reverse > SAVING * figures.forward else "about as much either way, "
    return f"Use forward mode: {sizes} {about}{forward} and {reverse}; {kept}."


def _figures(f: Callable[[Params], Any], x: Params) -> _Figures:
    x, y = sized("advise", f, x)
    own = count_operations(f, x)
    counts = [_count(f, x, mode) for mode in ("forward", "reverse")]
    reasons = [count for count in counts if isinstance(count, str)]
    if len(reasons) == len(counts):
        msg = f"advise: f must have a derivative, but JAX has a rule for neither mode: {'; '.join(dict.fromkeys(reasons))}"
        raise ValueError(msg)
    forward, reverse = (None if isinstance(count, str) else count for count in counts)
    kept, steps = (0, 0) if reverse is None else _kept(f, x, y)
    trip = " a trip" if own.loops else ""
    return _Figures(tree.size(x), tree.size(y), own.total, forward, reverse, kept, steps, trip)


def _count(f: Callable[[Params], Any], x: Params, mode: str) -> int | str:
    """Return the operations of the Jacobian, or in JAX's words why there is no such mode."""
    try:
        return count_operations(lambda x: jacobian(f, x, mode=mode), x).total
    except REFUSALS as error:
        return reason(error)


def _kept(f: Callable[[Params], Any], x: Params, y: Any) -> tuple[int, int]:
    """Return the bytes of what reverse mode keeps, and the trips of the loop that most of it comes from, if it is much.

    What is there anyway, x and the constants of f, is not kept.
    """
    jaxpr = jax.make_jaxpr(lambda x: jax.tree.leaves(jax.vjp(f, x)[1]))(x).jaxpr
    there = {*jaxpr.invars, *jaxpr.constvars}
    made = [v for v in dict.fromkeys(v for v in jaxpr.outvars if not isinstance(v, Literal)) if v not in there]
    kept = _bytes(v.aval for v in made)
    if kept < MUCH * _bytes([*jax.tree.leaves(x), *jax.tree.leaves(y)]):
        return kept, 0
    loops: dict[int, tuple[JaxprEqn, int]] = {}
    for v in made:
        scan = _maker(jaxpr, v)
        if scan is not None:
            loops[id(scan)] = (scan, loops.get(id(scan), (scan, 0))[1] + _bytes([v.aval]))
    if not loops:
        return kept, 0
    scan, most = max(loops.values(), key=lambda loop: loop[1])
    length, carried = int(scan.params["length"]), _bytes(v.aval for v in scan.outvars[: scan.params["num_carry"]])
    return kept, length if 2 * most > kept and most > length * carried else 0


def _maker(jaxpr: Jaxpr, variable: Any) -> JaxprEqn | None:
    """Return the scan whose body makes the entries of a value trip by trip; None where there is none.

    None too where the program uses the value besides, and where the body is only handed what is kept: both would stay with
    `jax.checkpoint` around the body, as they do where it is there already.
    """
    equation = next((e for e in jaxpr.eqns if any(v is variable for v in e.outvars)), None)
    if equation is None or any(v is variable for e in jaxpr.eqns for v in e.invars):
        return None
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    body = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    if not isinstance(body, Jaxpr) or len(body.outvars) != len(equation.outvars):
        return None
    at = next(i for i, v in enumerate(equation.outvars) if v is variable)
    made = body.outvars[at]
    if kind_of(equation) != "scan":
        return _maker(body, made)
    handed = isinstance(made, Literal) or any(v is made for v in body.invars)
    return None if handed or at < equation.params["num_carry"] else equation


def _bytes(leaves: Iterable[Any]) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _operations(figures: _Figures, mode: str) -> str:
    count = getattr(figures, mode)
    times = (
        f" ({_times(count / figures.function)} times the function's {text(figures.function)})"
        if figures.function
        else ""
    )
    return f"{text(count)} operations{figures.trip}{times}"


def _at_once(figures: _Figures, mode: str) -> str:
    count, what = (figures.inputs, "tangents") if mode == "forward" else (figures.outputs, "cotangents")
    return f"{mode} mode" + (f" with all {count:,} {what} at once" if count > 1 else "")


def _times(ratio: float) -> str:
    return text(ratio) if ratio >= HUNDRED else f"{ratio:.3g}"


def _passes(figures: _Figures, mode: str) -> str:
    count = figures.inputs if mode == "forward" else figures.outputs
    return f"{_number(count, 'pass', 'passes')} for the Jacobian, {_operations(figures, mode)}"


def _memory(figures: _Figures) -> str:
    kept = f"reverse mode keeps {size_text(figures.kept)} between its passes"
    if not figures.steps:
        return kept
    return f"{kept}, most of it for a loop of {figures.steps:,} steps: put jax.checkpoint around its body"


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"

# SPDX-License-Identifier: Apache-2.0
r"""Floating-point operations of a function, counted over its program, with no run and no compilation.

The count goes through the jaxpr of the function, into calls and rules, and takes what is there from the shapes by the
table in `cost_rules.py`. A scan counts its body times its length (a compiled program's own count, XLA's, takes the body
once); a cond its dearest branch; a while loop, whose length is not known, one trip of the whole body and condition. What no
output needs counts nothing, as a compiler leaves it out, save in the body of a while loop, which counts whole whatever
parts of its carry are needed; what is computed twice counts twice.

Reference: Griewank and Walther (2008), Evaluating Derivatives, section 2.5 (a temporal complexity that adds up over
elementary operations), doi:10.1137/1.9780898717761.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jopt import report
from jopt.autodiff.cost_rules import TRANSCENDENTAL, cost, outputs, size, window
from jopt.autodiff.program import kind_of


class OperationCount(NamedTuple):
    """Floating-point operations of a function.

    Attributes:
      total: their number, loops of unknown length counted for one trip.
      transcendental: how many of them are transcendental functions.
      by_primitive: their number by JAX's name of the primitive, largest first.
      loops: loops of unknown length in the program; where there are any, `total` is "a trip".
      unknown: primitives that are not in the table of costs, by name: counted as one for each output, or as the programs
        within them once.
    """

    total: int
    transcendental: int
    by_primitive: dict[str, int]
    loops: int
    unknown: tuple[str, ...]

    def __repr__(self) -> str:
        rows = {"total": f"{self.total:,}{' a trip' if self.loops else ''}"}
        rows["transcendental"] = f"{self.transcendental:,}"
        rows["by primitive"] = ", ".join(f"{name} {count:,}" for name, count in self.by_primitive.items()) or "none"
        if self.loops:
            rows["loops"] = f"{self.loops} of unknown length, counted for one trip"
        if self.unknown:
            rows["unknown"] = f"{', '.join(self.unknown)}: counted as one for each output, or by the programs within"
        return report.table(type(self).__name__, rows)


class _Tally(NamedTuple):
    """A count under way.

    Attributes:
      operations: by primitive.
      loops: of unknown length.
      unknown: primitives that are not in the table.
    """

    operations: Counter[str]
    loops: int = 0
    unknown: frozenset[str] = frozenset()

    def plus(self, other: _Tally) -> _Tally:
        return _Tally(self.operations + other.operations, self.loops + other.loops, self.unknown | other.unknown)

    def times(self, factor: int) -> _Tally:
        return self._replace(operations=Counter({name: factor * n for name, n in self.operations.items()}))


def count_operations(f: Callable[..., Any], *args: Any) -> OperationCount:
    """Count the floating-point operations of f(*args), from shapes alone: nothing is run, nothing compiled.

    Args:
      f: a function that JAX can trace.
      args: its arguments, trees of arrays, of numbers or of `jax.ShapeDtypeStruct`.

    Returns:
      An `OperationCount`.

    Raises:
      TypeError: if `f` cannot be called.

    Reference: Golub and Van Loan (2013), Matrix Computations, 4th edition, section 1.1.15 (flops).

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import count_operations
      >>> count = count_operations(lambda a, x: jnp.tanh(a @ x), jnp.ones((3, 4)), jnp.ones(4))
      >>> count.total, count.transcendental, count.by_primitive["dot_general"]
      (27, 3, 24)
    """
    if not callable(f):
        msg = f"count_operations: f must be a function, got {type(f).__name__}."
        raise TypeError(msg)
    jaxpr = jax.make_jaxpr(lambda *a: f(*a))(*args).jaxpr  # a new function: JAX keeps programs, what f calls may change
    tally, _ = _program(jaxpr, [True] * len(jaxpr.outvars))
    ordered = dict(sorted(tally.operations.items(), key=lambda item: (-item[1], item[0])))
    transcendental = sum(n for name, n in ordered.items() if name in TRANSCENDENTAL)
    return OperationCount(sum(ordered.values()), transcendental, ordered, tally.loops, tuple(sorted(tally.unknown)))


def _program(jaxpr: Jaxpr, used: Sequence[bool]) -> tuple[_Tally, list[bool]]:
    """Count what the used outputs need; return with it which inputs they need.

    Invariant: before an equation is looked at, `live` holds the variables that something after it, or an output, needs.
    """
    live = {v for v, wanted in zip(jaxpr.outvars, used, strict=True) if wanted and not isinstance(v, Literal)}
    total = _Tally(Counter())
    for equation in reversed(jaxpr.eqns):
        wanted = [v in live for v in equation.outvars]
        if any(wanted) or equation.effects:
            tally, needed = _equation(equation, wanted)
            total = total.plus(tally)
            live |= {v for v, n in zip(equation.invars, needed, strict=True) if n and not isinstance(v, Literal)}
    return total, [v in live for v in jaxpr.invars]


def _equation(equation: JaxprEqn, used: Sequence[bool]) -> tuple[_Tally, list[bool]]:
    kind = kind_of(equation)
    if kind == "scan":
        return _scan(equation, used)
    if kind == "cond":
        return _cond(equation, used)
    everything = [True] * len(equation.invars)
    if kind == "while":
        parts = [_whole(equation.params[name]) for name in ("cond_jaxpr", "body_jaxpr")]
        return parts[0].plus(parts[1]).plus(_Tally(Counter(), loops=1)), everything
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    if inner is not None and (kind in {"call", "rule"} or "call_jaxpr" in equation.params):
        return _program(_open(inner), used)
    return _primitive(equation, used), everything


def _scan(equation: JaxprEqn, used: Sequence[bool]) -> tuple[_Tally, list[bool]]:
    """Count the body times the length; a part of the carry is needed if it comes out, or another trip needs it."""
    params = equation.params
    constants, carried = params["num_consts"], params["num_carry"]
    while True:
        tally, needed = _program(_open(params["jaxpr"]), used)
        carry = [a or b for a, b in zip(used[:carried], needed[constants:], strict=False)]
        if carry == list(used[:carried]):
            needed[constants : constants + carried] = carry
            return tally.times(int(params["length"])), needed
        used = [*carry, *used[carried:]]


def _cond(equation: JaxprEqn, used: Sequence[bool]) -> tuple[_Tally, list[bool]]:
    """Count the dearest branch; an operand is needed if any branch needs it."""
    branches = [_program(_open(branch), used) for branch in equation.params["branches"]]
    dearest = max((tally for tally, _ in branches), key=lambda tally: tally.operations.total())
    return dearest, [True, *map(any, zip(*(needed for _, needed in branches), strict=True))]


def _primitive(equation: JaxprEqn, used: Sequence[bool]) -> _Tally:
    name = equation.primitive.name
    if name == "custom_linear_solve":  # of its four functions the two that transpose it wait for derivatives
        return _whole(equation.params["jaxprs"].solve)
    operations = cost(equation, used)
    if operations is not None:
        return _Tally(Counter({name: operations} if operations else {}))
    within = [_whole(inner) for inner in _within(equation)]
    if within and name == "reduce":
        return within[0].times(size(equation.invars[0]))
    if within and name == "reduce_window":
        return within[0].times(outputs(equation) * window(equation))
    unknown = _Tally(Counter() if within else Counter({name: outputs(equation)}), unknown=frozenset([name]))
    return functools.reduce(_Tally.plus, within, unknown)


def _whole(program: Any) -> _Tally:
    jaxpr = _open(program)
    return _program(jaxpr, [True] * len(jaxpr.outvars))[0]


def _open(program: Any) -> Jaxpr:
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def _within(equation: JaxprEqn) -> list[Jaxpr]:
    """Return the programs among the parameters of an equation."""
    parts = []
    for value in equation.params.values():
        parts += value if isinstance(value, (tuple, list)) else [value]
    return [_open(part) for part in parts if isinstance(part, (ClosedJaxpr, Jaxpr))]

# SPDX-License-Identifier: Apache-2.0
r"""The two sweeps over a program: tangents forward, adjoints backward, one elementary operation at a time.

Forward mode carries with every value a the tangent a' = da/dx v: for a = o(b, c), a' = do/db b' + do/dc c'. Reverse mode
first evaluates the program and keeps, for each operation, its linear part at the point; then it goes through the
operations from the last to the first and gives each operand b the contribution a* do/db to its adjoint b* = dy/db,
where a* is complete, since all users of a come later in the program.

Every rule is JAX's own: `jax.jvp` and `jax.linearize` of the single operation, and `jax.linear_transpose` of its linear
part. What does not depend on x, through derivatives that are zero by their structure, has no tangent and no adjoint,
as in JAX, and contributions are added in JAX's order: so the numbers are those of `jax.jvp` and `jax.vjp` themselves.

Reference: Griewank and Walther (2008), Evaluating derivatives, 2nd edition, SIAM, tables 1.2 and 1.3,
doi:10.1137/1.9780898717761; Radul et al. (2023), You only linearize once, POPL, doi:10.1145/3571236.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jopt.autodiff.program import Operation, Program, as_function

EVALUATIONS = 512
"""Compiled operations that are kept, the latest; compiling is most of what a table costs, and tables are made again."""

_EVALUATIONS: dict[tuple[Any, ...], Callable[..., list[Any]]] = {}

WAYS = ("numbers", "constants", "steps")
"""How an operation and its rule are evaluated, which shows in the last bits: compiled, the numbers in the program handed
over as Python numbers and converted within, as JAX does for the functions of `jax.numpy`; compiled, with these numbers
as constants, as within `jnp.mean`; or step by step, as JAX does for the functions of `jax.lax`."""

SINGLE = (
    "add", "sub", "neg", "add_any", "slice", "squeeze", "expand_dims", "reshape", "broadcast_in_dim", "transpose", "rev",
    "convert_element_type", "concatenate", "copy", "select_n", "iota", "gt", "ge", "lt", "le", "eq", "ne", "floor", "sign",
    "stop_gradient",
)  # fmt: skip
"""Operations that, with their rules, round each number once at most: there is only one way, and JAX has them compiled."""


class Forward(NamedTuple):
    """A forward sweep.

    Attributes:
      values: of every value of the program.
      tangents: of every value, None where it is zero by structure or the value is no floating number.
    """

    values: list[Any]
    tangents: list[Any]


class Contribution(NamedTuple):
    """What one use of a value adds to its adjoint.

    Attributes:
      value: the index in `Program.values` of the value used.
      operation: the index of the operation that uses it, None for an output of the function.
      amount: an array like the value.
    """

    value: int
    operation: int | None
    amount: Any


class Reverse(NamedTuple):
    """A reverse sweep.

    Attributes:
      values: of every value of the program.
      adjoints: of every value, None where nothing arrives.
      contributions: in the order in which they are made.
    """

    values: list[Any]
    adjoints: list[Any]
    contributions: list[Contribution]


class _Linear(NamedTuple):
    """The linear part of an operation: its program, and the values that its inputs and outputs belong to."""

    program: ClosedJaxpr
    inputs: list[int]
    outputs: tuple[int | None, ...]


def forward_sweep(program: Program, x: Sequence[Any], tangents: Sequence[Any], way: str = WAYS[0]) -> Forward:
    """Return all values and tangents.

    Args:
      program: as `trace` makes it.
      x: the leaves of the point.
      tangents: one for each leaf, None for none.
      way: one of `WAYS`; the last bits may differ.

    Returns:
      The sweep.
    """
    values = _start(program, x)
    carried: list[Any] = [None] * len(values)
    for i, tangent in zip(program.inputs, tangents, strict=True):
        carried[i] = tangent
    for operation in program.operations:
        active = [k for k, i in enumerate(operation.inputs) if carried[i] is not None]
        made, rates = _push(operation, [values[i] for i in operation.inputs], active, carried, way)
        for i, value, tangent in zip(operation.outputs, made, rates, strict=True):
            if i is not None:
                values[i], carried[i] = value, tangent
    return Forward(values, carried)


def reverse_sweep(program: Program, x: Sequence[Any], seeds: Sequence[Any], way: str = WAYS[0]) -> Reverse:
    """Return all values, and the adjoints with their contributions.

    Args:
      program: as `trace` makes it.
      x: the leaves of the point.
      seeds: the adjoint of each output, None for none.
      way: one of `WAYS`; the last bits may differ.

    Returns:
      The sweep.
    """
    values, linear = _linearised(program, x, way)
    adjoints: list[Any] = [None] * len(values)
    contributions: list[Contribution] = []

    def contribute(i: int, operation: int | None, amount: Any) -> None:
        contributions.append(Contribution(i, operation, amount))
        adjoints[i] = amount if adjoints[i] is None else jax.lax.add(adjoints[i], amount)

    reached = _active(program, linear)
    for i, seed in zip(program.outputs, seeds, strict=True):
        if seed is not None and i in reached:
            contribute(i, None, seed)
    for k in range(len(linear) - 1, -1, -1):
        part = linear[k]
        if part is None:
            continue
        arriving = [None if i is None else adjoints[i] for i in part.outputs]
        for position, amount in _pull(part.program, arriving):
            contribute(part.inputs[position], k, amount)
    return Reverse(values, adjoints, contributions)


def differentiable(value: Any) -> bool:
    """Return whether a value has tangents: floating and complex numbers do."""
    return bool(jnp.issubdtype(jnp.result_type(value), jnp.inexact))


def _start(program: Program, x: Sequence[Any]) -> list[Any]:
    values = [value.content for value in program.values]
    for i, leaf in zip(program.inputs, x, strict=True):
        values[i] = leaf
    return values


def _evaluation(operation: Operation, way: str) -> Callable[..., list[Any]]:
    """Return an operation as a function, evaluated in one of `WAYS`; JAX runs custom rules and checkpoints step by step."""
    equation = operation.equation
    stepwise = operation.kind == "rule" or "prevent_cse" in equation.params
    numbers = {k: _number(v) for k, v in enumerate(equation.invars) if isinstance(v, Literal) and _is_number(v)}
    if way == "steps" or stepwise or equation.primitive.name in SINGLE:
        way = "steps"
    elif not numbers:
        way = WAYS[0]  # the two compiled ways are the same
    if operation.kind != "primitive" or any(map(_is_function, jax.tree.leaves(equation.params))):
        return _made(equation, way, numbers)  # what a user wrote is not kept
    try:
        key = (way, *_identity(equation))
        known = _EVALUATIONS.pop(key, None) or _made(equation, way, numbers)
    except TypeError:  # settings that have no hash
        return _made(equation, way, numbers)
    _EVALUATIONS[key] = known  # the latest are at the end
    if len(_EVALUATIONS) > EVALUATIONS:
        del _EVALUATIONS[next(iter(_EVALUATIONS))]
    return known


def _is_function(setting: Any) -> bool:
    return callable(setting) or isinstance(setting, (Jaxpr, ClosedJaxpr))


def _identity(equation: JaxprEqn) -> tuple[Any, ...]:
    """Return what an equation does, as far as it shows: its operation, settings, shapes and numbers."""
    settings = tuple((key, type(value), value) for key, value in sorted(equation.params.items()))
    operands = tuple((v.aval, _bits(v.val) if isinstance(v, Literal) else None) for v in equation.invars)
    return equation.primitive, settings, operands, tuple(v.aval for v in equation.outvars), repr(equation.ctx)


def _bits(number: Any) -> tuple[Any, ...]:
    array = np.asarray(number)
    return type(number), array.dtype, array.tobytes()


def _made(equation: JaxprEqn, way: str, numbers: dict[int, Any]) -> Callable[..., list[Any]]:
    """Return an equation as a function, evaluated in one of `WAYS`, with its floating numbers."""
    f = as_function(equation)
    if way == "steps":
        return f
    convert = jax.lax.convert_element_type

    def constant(*given: Any) -> list[Any]:
        return f(*(numbers.get(k, x) for k, x in enumerate(given)))

    def converted(*given: Any) -> list[Any]:
        return f(*(convert(x, numbers[k].dtype) if k in numbers else x for k, x in enumerate(given)))

    compiled = jax.jit(constant if way == "constants" else converted, inline=True)
    return lambda *given: compiled(*(x.item() if k in numbers else x for k, x in enumerate(given)))


def _is_number(literal: Literal) -> bool:
    aval: Any = literal.aval
    return jnp.ndim(literal.val) == 0 and jnp.issubdtype(aval.dtype, jnp.inexact)


def _number(literal: Literal) -> Any:
    """Return a number of a program with its dtype."""
    aval: Any = literal.aval
    return literal.val if hasattr(literal.val, "dtype") else np.asarray(literal.val, aval.dtype)


def _push(
    operation: Operation, operands: list[Any], active: list[int], tangents: list[Any], way: str
) -> tuple[list[Any], list[Any]]:
    """Return an operation's outputs and their tangents."""
    f = _evaluation(operation, way)
    if not active:
        made = f(*operands)
        return made, [None] * len(made)
    g = _of(f, operands, active)
    point, rates = [operands[k] for k in active], [tangents[operation.inputs[k]] for k in active]
    made, pushed = jax.jvp(g, point, rates)
    program = jax.make_jaxpr(lambda *t: jax.jvp(g, point, list(t))[1])(*rates)
    depends = _reached(program)
    return made, [t if hit and differentiable(y) else None for y, t, hit in zip(made, pushed, depends, strict=True)]


def _linearised(program: Program, x: Sequence[Any], way: str) -> tuple[list[Any], list[_Linear | None]]:
    """Evaluate the program; return all values, and for each operation its linear part, None where there is none."""
    values = _start(program, x)
    active = {i for i in program.inputs if differentiable(values[i])}
    linear: list[_Linear | None] = []
    for operation in program.operations:
        f, operands = _evaluation(operation, way), [values[i] for i in operation.inputs]
        inputs = list(dict.fromkeys(i for i in operation.inputs if i in active))
        if not inputs:
            made, part = f(*operands), None
        else:
            g = _repeating(f, operands, operation.inputs, inputs)
            point = [values[i] for i in inputs]
            made, push = jax.linearize(g, *point)
            part = _part(jax.make_jaxpr(push)(*point), inputs, operation.outputs, made)
            active |= {i for i in part.outputs if i is not None}
        for i, value in zip(operation.outputs, made, strict=True):
            if i is not None:
                values[i] = value
        linear.append(part)
    return values, linear


def _part(program: ClosedJaxpr, inputs: list[int], outputs: Sequence[int | None], made: Sequence[Any]) -> _Linear:
    """Return a linear part without the outputs that are zero by structure."""
    hits = _reached(program)
    kept = (i if hit and differentiable(y) else None for i, y, hit in zip(outputs, made, hits, strict=True))
    return _Linear(program, inputs, tuple(kept))


def _active(program: Program, linear: Sequence[_Linear | None]) -> set[int]:
    """Return the values through which derivatives with respect to x flow."""
    inputs = {i for i in program.inputs if jnp.issubdtype(program.values[i].aval.dtype, jnp.inexact)}
    return inputs | {i for part in linear if part is not None for i in part.outputs if i is not None}


def _of(f: Callable[..., Any], operands: list[Any], positions: list[int]) -> Callable[..., Any]:
    """Return f as a function of the operands at some positions, the others fixed."""

    def g(*free: Any) -> Any:
        filled = list(operands)
        for k, value in zip(positions, free, strict=True):
            filled[k] = value
        return f(*filled)

    return g


def _repeating(f: Callable[..., Any], operands: list[Any], names: Sequence[int], free: list[int]) -> Callable[..., Any]:
    """Return f as a function of the values `free`, each of which may stand at several positions."""

    def g(*values: Any) -> Any:
        given = dict(zip(free, values, strict=True))
        return f(*(given.get(i, operand) for i, operand in zip(names, operands, strict=True)))

    return g


def _reached(program: ClosedJaxpr) -> list[bool]:
    """Return for each output whether it depends on an input, by the structure of the program."""
    depends = set(program.jaxpr.invars)
    for equation in program.jaxpr.eqns:
        if _uses(equation, depends):
            depends |= set(equation.outvars)
    return [not isinstance(v, Literal) and v in depends for v in program.jaxpr.outvars]


def _uses(equation: JaxprEqn, variables: Iterable[Any]) -> list[int]:
    """Return the positions at which an equation has one of the variables."""
    return [k for k, v in enumerate(equation.invars) if not isinstance(v, Literal) and v in variables]


def _pull(program: ClosedJaxpr, adjoints: Sequence[Any]) -> list[tuple[int, Any]]:
    """Transpose a linear program, equation by equation from the last.

    Returns:
      What arrives at its inputs, as pairs (position of the input, amount), in the order in which it arrives.
    """
    jaxpr = program.jaxpr
    positions = {v: k for k, v in enumerate(jaxpr.invars)}
    known, steps = _residuals(program)
    pending: dict[Any, Any] = {}
    arrived: list[tuple[int, Any]] = []

    def add(variable: Any, amount: Any) -> None:
        if variable in positions:
            arrived.append((positions[variable], amount))
        else:
            pending[variable] = jax.lax.add(pending[variable], amount) if variable in pending else amount

    for variable, adjoint in zip(jaxpr.outvars, adjoints, strict=True):
        if adjoint is not None:
            add(variable, adjoint)
    for equation, linear in reversed(steps):
        cotangents = [pending.pop(v, None) for v in equation.outvars]
        if any(c is not None for c in cotangents):
            operands = [v.val if isinstance(v, Literal) else known.get(v) for v in equation.invars]
            for k, amount in _transposed(equation, linear, operands, cotangents):
                add(equation.invars[k], amount)
    return arrived


def _residuals(program: ClosedJaxpr) -> tuple[dict[Any, Any], list[tuple[JaxprEqn, list[int]]]]:
    """Evaluate what is not linear in the inputs; return the values, and the linear equations with their positions."""
    jaxpr = program.jaxpr
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, program.consts, strict=True))
    depends, steps = set(jaxpr.invars), []
    for equation in jaxpr.eqns:
        linear = _uses(equation, depends)
        if linear:
            depends |= set(equation.outvars)
            steps.append((equation, linear))
        else:
            operands = (v.val if isinstance(v, Literal) else known[v] for v in equation.invars)
            known |= dict(zip(equation.outvars, as_function(equation)(*operands), strict=True))
    return known, steps


def _transposed(
    equation: JaxprEqn, linear: list[int], operands: list[Any], adjoints: list[Any]
) -> list[tuple[int, Any]]:
    """Return what one linear equation gives to its linear operands; to those that it does not reach, nothing."""
    live = [k for k, adjoint in enumerate(adjoints) if adjoint is not None]
    g = _of(as_function(equation), operands, linear)
    avals: list[Any] = [equation.invars[k].aval for k in linear]
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    transpose = jax.linear_transpose(lambda *t: [g(*t)[k] for k in live], *shapes)
    arriving = [adjoints[k] for k in live]
    amounts = transpose(arriving)
    if len(linear) == 1:
        return [(linear[0], amounts[0])]
    hits = _reached(jax.make_jaxpr(transpose)(arriving))
    return [(k, amount) for k, amount, hit in zip(linear, amounts, hits, strict=True) if hit]

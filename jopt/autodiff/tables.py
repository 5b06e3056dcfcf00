# SPDX-License-Identifier: Apache-2.0
r"""Evaluation tables: the derivation of a derivative, one row for each elementary operation.

The forward table has for each operation the value a_i and the tangent a_i' along a direction v. The reverse table has
the values, and then the adjoints a_i* = dy/da_i in the order in which reverse mode makes them, each with what every use
of the value contributes to it. The numbers are JAX's own: for functions without calls, and with calls left closed, they
are those of `jax.jvp` and `jax.vjp` in every bit. JAX compiles each function of `jax.numpy` with its rule, and runs those
of `jax.lax` step by step, which may round differently; a table does what gives JAX's numbers for this function.

References: Griewank and Walther (2008), Evaluating derivatives, 2nd edition, SIAM, sections 3.1 and 3.2,
doi:10.1137/1.9780898717761; Liquet, Moka and Nazarathy (2024), Mathematical engineering of deep learning, section 4.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jopt import tree, validate
from jopt.autodiff import rendering
from jopt.autodiff.agreement import agreeing
from jopt.autodiff.layout import Layout, layout
from jopt.autodiff.nesting import first_trip, last_trip
from jopt.autodiff.program import CALLS, Program, nested, trace
from jopt.autodiff.sweeps import Forward, Reverse, differentiable, forward_sweep, reverse_sweep


class Row(NamedTuple):
    """A value.

    Attributes:
      name: what it is called.
      formula: the operation on the names of its operands, empty for inputs and constants.
      operation: JAX's name of the operation, "input" or "constant".
      value: the number or array.
      tangent: like the value in a forward table; None in a reverse table and for what has no tangent (integers, booleans).
      body: the table of what is within (a trip of a loop, the branch taken), None for other operations.
      adjoint: like the value in a reverse table; None in a forward table and where nothing arrives.
      operands: the indices in `Table.rows` of what the operation uses, one for each use; numbers have no row.
    """

    name: str
    formula: str
    operation: str
    value: Any
    tangent: Any = None
    body: Table | None = None
    adjoint: Any = None
    operands: tuple[int, ...] = ()


class Adjoint(NamedTuple):
    """An adjoint.

    Attributes:
      name: of the value.
      value: the derivative of the output with respect to it, an array like it; None for what has none (integers).
      contributions: pairs (who uses the value, the amount), in the order in which they are added; the output itself
        contributes as "output".
    """

    name: str
    value: Any
    contributions: tuple[tuple[str, Any], ...]


class Table(NamedTuple):
    """An evaluation table; it prints as text, shows itself in notebooks, and has the numbers in its fields.

    Attributes:
      mode: "forward" or "reverse"; "primal" for values alone, as graphs use them.
      title: of a body, what it shows; else empty.
      rows: the values, in the order of evaluation.
      adjoints: in the order in which they are complete; empty in a forward table.
      value: f(x); of a body, the list of its outputs.
      derivative: forward: J v, a tree like f(x); reverse: the cotangent times J, a tree like x. As in JAX, what has no
        derivative has dtype float0.
      outputs: for each leaf of f(x) the index of its row, None for a number, which has none.
      exact: whether value and derivative are those of JAX in every bit; None within a body.
    """

    mode: str
    title: str
    rows: tuple[Row, ...]
    adjoints: tuple[Adjoint, ...]
    value: Any
    derivative: Any
    outputs: tuple[int | None, ...] = ()
    exact: bool | None = None

    def __repr__(self) -> str:
        return rendering.text(self)

    __str__ = __repr__

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        return rendering.markdown(self)

    def to_latex(self) -> str:
        """Return the table in LaTeX, as `tabular` environments that need no package."""
        return rendering.latex(self)

    def _repr_html_(self) -> str:
        return rendering.html(self)


def forward_table(f: Callable[[Any], Any], x: Any, v: Any, *, calls: str = "open", fold: bool = True) -> Table:
    """Return the evaluation table of f at x in forward mode, with tangents along v.

    Args:
      f: a function of one tree, with any tree as its value. A table has a row for every operation: choose it small.
      x: a tree of arrays or numbers.
      v: a tree like x, the direction. Entries for integers and booleans, which have no tangent, are not used.
      calls: whether a function under `jax.jit` is "open" (its operations have rows) or "closed" (it has one row). Only
        closed calls give JAX's numbers in every bit: a call is compiled as a whole, which may round differently.
      fold: whether operations that only move numbers (static indices, reshapes, broadcasts) are shown within the
        formulas of their users instead of in rows of their own.

    Returns:
      The table. Calls with a rule of their own and checkpointed calls are one row. Loops show their first trip, cond
      the branch taken.

    Raises:
      ValueError: if `calls` is neither word or v is not like x.
      TypeError: if f cannot be called, a leaf of x is no number or array or is traced, or f has a rule for reverse mode
        only (`jax.custom_vjp`).
      RuntimeError: if the table's numbers are not those of `jax.jvp` within rounding.

    Reference: Griewank and Walther (2008), table 3.4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import forward_table
      >>> table = forward_table(lambda t: jnp.sin(t[0] * t[1]), jnp.array([0.5, 2.0]), jnp.array([0.0, 1.0]))
      >>> [row.formula for row in table.rows]
      ['', '', 't[0] * t[1]', 'sin(a1)']
      >>> bool(jnp.allclose(table.derivative, 0.5 * jnp.cos(1.0)))
      True
    """
    x = _point("forward_table", f, x, calls, fold)
    tree.check_like("forward_table", "v", v, "x", x)
    leaves, structure = jax.tree.flatten(x)
    tangents = [_typed(t, leaf) for t, leaf in zip(jax.tree.leaves(v), leaves, strict=True)]
    own = _own("forward_table", lambda: jax.jvp(f, (x,), (structure.unflatten(map(_instantiated, tangents, leaves)),)))
    program = trace(f, x, calls=calls, fold=fold)

    def make(leaves: list[Any], way: str) -> Table:
        return _forward(program, forward_sweep(program, leaves, tangents, way))

    return agreeing("forward_table", program, leaves, own, make)


def reverse_table(
    f: Callable[[Any], Any], x: Any, cotangent: Any = None, *, calls: str = "open", fold: bool = True
) -> Table:
    """Return the evaluation table of f at x in reverse mode.

    Args:
      f: a function of one tree, with any tree as its value. A table has a row for every operation: choose it small.
      x: a tree of arrays or numbers.
      cotangent: a tree like f(x), the weights of the outputs; None for a single real number as output, whose weight
        is one.
      calls: whether a function under `jax.jit` is "open" (its operations have rows) or "closed" (it has one row). Only
        closed calls give JAX's numbers in every bit: a call is compiled as a whole, which may round differently.
      fold: whether operations that only move numbers (static indices, reshapes, broadcasts) are shown within the
        formulas of their users instead of in rows of their own.

    Returns:
      The table. Calls with a rule of their own and checkpointed calls are one row. Loops show their last trip, which is
      the first that reverse mode visits; cond shows the branch taken.

    Raises:
      ValueError: if `calls` is neither word, the cotangent is not like f(x), or x goes through a loop of unknown length.
      TypeError: if f cannot be called, a leaf of x is no number or array or is traced, or the cotangent is None and f(x)
        is no real number.
      RuntimeError: if the table's numbers are not those of `jax.vjp` within rounding.

    Reference: Griewank and Walther (2008), table 3.6.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import reverse_table
      >>> table = reverse_table(lambda t: t * jnp.exp(t), 0.0)
      >>> [(adjoint.name, [user for user, _ in adjoint.contributions]) for adjoint in table.adjoints]
      [('a2', ['output']), ('a1', ['a2']), ('t', ['a2', 'a1'])]
      >>> float(table.derivative)
      1.0
    """
    x = _point("reverse_table", f, x, calls, fold)
    y = jax.eval_shape(lambda x: f(x), x)  # a function of its own, which JAX traces anew
    cotangent = _weights(y, cotangent)
    leaves = jax.tree.leaves(x)
    seeds = [_typed(c, leaf) for c, leaf in zip(jax.tree.leaves(cotangent), jax.tree.leaves(y), strict=True)]
    dual = jax.tree.structure(y).unflatten(map(_instantiated, seeds, jax.tree.leaves(y)))

    def pullback() -> Any:
        value, pull = jax.vjp(f, x)
        return value, *pull(dual)

    own = _own("reverse_table", pullback)
    program = trace(f, x, calls=calls, fold=fold)

    def make(leaves: list[Any], way: str) -> Table:
        return _reverse(program, reverse_sweep(program, leaves, seeds, way))

    return agreeing("reverse_table", program, leaves, own, make)


def primal_table(function: str, f: Callable[[Any], Any], x: Any, *, calls: str, fold: bool) -> Table:
    """Return the table of the values alone, which needs no derivative rules; errors name `function`."""
    x = _point(function, f, x, calls, fold)
    leaves, program = jax.tree.leaves(x), trace(f, x, calls=calls, fold=fold)

    def make(leaves: list[Any], way: str) -> Table:
        return _without_tangents(_forward(program, forward_sweep(program, leaves, [None] * len(leaves), way)))

    return agreeing(function, program, leaves, (f(x), None), make)


def _without_tangents(table: Table) -> Table:
    rows = (row._replace(tangent=None, body=row.body and _without_tangents(row.body)) for row in table.rows)
    return table._replace(mode="primal", rows=tuple(rows), derivative=None)


def _forward(program: Program, sweep: Forward, title: str = "") -> Table:
    """Return a forward sweep as a table."""
    bodies: dict[int, Table] = {}
    for k, operation in enumerate(program.operations):
        trip = first_trip(program, operation, sweep.values, sweep.tangents)
        if trip is not None:
            body = nested(trip.body, trip.names, program)
            bodies[k] = _forward(body, forward_sweep(body, trip.values, trip.derivatives), trip.title)

    def tangent(i: int) -> Any:
        value = sweep.values[i]
        return _instantiated(sweep.tangents[i], value) if differentiable(value) else None

    value = [_output(program, sweep.values, i) for i in program.outputs]
    rates = [_instantiated(sweep.tangents[i], y) for i, y in zip(program.outputs, value, strict=True)]
    trees = (_grown(program.output_tree, value), _grown(program.output_tree, rates))
    plan = layout(program)
    rows = [
        row._replace(tangent=tangent(place.value))
        for row, place in zip(_rows(program, plan, sweep.values, bodies), plan.places, strict=True)
    ]
    return Table("forward", title, tuple(rows), (), *trees, plan.outputs)


def _reverse(program: Program, sweep: Reverse, title: str = "") -> Table:
    """Return a reverse sweep as a table."""
    bodies: dict[int, Table] = {}
    for k, operation in enumerate(program.operations):
        trip = last_trip(program, operation, sweep.values, sweep.adjoints)
        if trip is not None:
            body = nested(trip.body, trip.names, program)
            bodies[k] = _reverse(body, reverse_sweep(body, trip.values, trip.derivatives), trip.title)
    value = [_output(program, sweep.values, i) for i in program.outputs]
    rates = [_instantiated(sweep.adjoints[i], sweep.values[i]) for i in program.inputs]
    trees = (_grown(program.output_tree, value), _grown(program.input_tree, rates))
    plan, adjoints = layout(program), _adjoints(program, sweep)
    complete = {i: adjoint.value for i, adjoint in adjoints}
    rows = [
        row._replace(adjoint=complete.get(place.value))
        for row, place in zip(_rows(program, plan, sweep.values, bodies), plan.places, strict=True)
    ]
    return Table("reverse", title, tuple(rows), tuple(adjoint for _, adjoint in adjoints), *trees, plan.outputs)


def _rows(program: Program, plan: Layout, values: list[Any], bodies: dict[int, Table]) -> list[Row]:
    """Return the rows of the values that are shown, without derivatives."""
    rows: list[Row] = []
    for place in plan.places:
        value, k = program.values[place.value], place.operation
        if k is None:
            kind = "constant" if value.kind == "constant" else "input"
            rows.append(Row(value.name, "", kind, values[place.value]))
            continue
        operation = program.operations[k]
        formula = rendering.formula(program, operation)
        if len(operation.outputs) > 1:
            formula += f"[{operation.outputs.index(place.value)}]"
        body = bodies.pop(k, None)  # it stands in the first of the operation's rows
        rows.append(Row(value.name, formula, operation.name, values[place.value], body=body, operands=place.operands))
    return rows


def _adjoints(program: Program, sweep: Reverse) -> list[tuple[int, Adjoint]]:
    """Return the adjoints that are shown, with their contributions, each after the index of its value."""
    arrived = _arrived(program, sweep)
    made: list[tuple[int, Adjoint]] = []
    for operation in reversed(program.operations):
        shown = [] if operation.folded else [i for i in operation.outputs if i is not None]
        made += [
            (i, Adjoint(program.values[i].name, sweep.adjoints[i], tuple(arrived[i]))) for i in shown if i in arrived
        ]
    for i in program.inputs:
        for name, group in program.entries(i).items():
            parts = [(user, amount) for member in group for user, amount in arrived.get(member, [])]
            if parts:
                made.append((group[0], Adjoint(name, sum(amount for _, amount in parts), tuple(parts))))
    for i in program.inputs:
        value = sweep.values[i]
        adjoint = _instantiated(sweep.adjoints[i], value) if differentiable(value) else None
        made.append((i, Adjoint(program.values[i].name, adjoint, tuple(arrived.get(i, ())))))
    return made


def _arrived(program: Program, sweep: Reverse) -> dict[int, list[tuple[str, Any]]]:
    """Return for each value what arrives, with the name of who uses it.

    A rule may have more linear terms than operands, as tanh has two: these are one contribution.
    """
    by_user: dict[tuple[int, int | None], list[Any]] = {}
    arrived: dict[int, list[tuple[str, Any]]] = {}
    users: dict[int | None, str] = {}
    for i, operation, amount in sweep.contributions:
        by_user.setdefault((i, operation), []).append(amount)
    for (i, operation), amounts in by_user.items():
        uses = len(amounts) if operation is None else program.operations[operation].inputs.count(i)
        listed = [sum(amounts[1:], amounts[0])] if len(amounts) > uses else amounts
        if operation not in users:
            users[operation] = _user(program, operation)
        arrived.setdefault(i, []).extend((users[operation], amount) for amount in listed)
    return arrived


def _user(program: Program, operation: int | None) -> str:
    """Return the name of an operation's first output; for a folded one, of the entry it shows or of its users."""
    if operation is None:
        return "output"
    record = program.operations[operation]
    made = [i for i in record.outputs if i is not None]
    if not record.folded:
        return program.values[made[0]].name
    for i in made:
        for entry, group in program.entries(record.inputs[0]).items():
            if set(group) & {i, *(j for k in program.direct_users(i) for j in program.operations[k].outputs)}:
                return entry
    return ", ".join(dict.fromkeys(_user(program, k) for i in made for k in program.users(i)))


def _point(function: str, f: Any, x: Any, calls: str, fold: bool) -> Any:
    """Check the settings; return the point as a tree of arrays."""
    if not callable(f):
        msg = f"{function}: f must be a function of one tree, got {type(f).__name__}."
        raise TypeError(msg)
    validate.choice(function, "calls", calls, CALLS)
    validate.flag(function, "fold", fold)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(x)):
        msg = f"{function}: x must be numbers, got traced values; a table is made outside jit, grad and vmap."
        raise TypeError(msg)

    def leaf(path: Any, value: Any) -> jax.Array:
        try:
            return jnp.asarray(value)
        except (TypeError, ValueError) as error:
            where = f"x{jax.tree_util.keystr(path)}"
            msg = f"{function}: {where} must be a number or an array, got {value!r} ({type(value).__name__})."
            raise TypeError(msg) from error

    return jax.tree_util.tree_map_with_path(leaf, x)


def _weights(y: Any, cotangent: Any) -> Any:
    """Check the cotangent against the outputs' shapes; None is one for a real number."""
    if cotangent is not None:
        tree.check_like("reverse_table", "cotangent", cotangent, "f(x)", y)
        return cotangent
    single = jax.tree_util.treedef_is_leaf(jax.tree.structure(y)) and y.shape == ()
    if not (single and jnp.issubdtype(y.dtype, jnp.floating)):
        shown = jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", y)
        msg = f"reverse_table: cotangent must be a tree like f(x) where f(x) is no real number, got None for {shown}."
        raise TypeError(msg)
    return jnp.ones((), y.dtype)


def _own(function: str, differentiate: Callable[[], Any]) -> Any:
    """Return JAX's own value and derivative; what JAX cannot do is said in the table's terms."""
    try:
        return differentiate()
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        msg = f"{function}: f must have rules for forward mode, but a function under jax.custom_vjp has none; use reverse_table."
        raise TypeError(msg) from error
    except ValueError as error:
        if "Reverse-mode differentiation does not work" not in str(error):
            raise
        msg = (
            f"{function}: f must be transposable, but x goes through a loop of unknown length (while_loop, or fori_loop "
            "with traced bounds), for which JAX has no reverse mode; use forward_table, scan, or a fixed number of trips."
        )
        raise ValueError(msg) from error


def _typed(derivative: Any, like: Any) -> Any:
    """Return a tangent or cotangent in the dtype of its value, None for what has none."""
    return jnp.asarray(derivative, like.dtype) if jnp.issubdtype(like.dtype, jnp.inexact) else None


def _instantiated(derivative: Any, like: Any) -> Any:
    """Return zeros for None, of dtype float0 where there is no derivative."""
    if derivative is not None:
        return derivative
    inexact = jnp.issubdtype(like.dtype, jnp.inexact)
    return jnp.zeros(like.shape, like.dtype) if inexact else np.zeros(like.shape, jax.dtypes.float0)


def _output(program: Program, values: Sequence[Any], i: int) -> Any:
    return jnp.asarray(values[i], program.values[i].aval.dtype)


def _grown(structure: Any, leaves: list[Any]) -> Any:
    return leaves if structure is None else jax.tree.unflatten(structure, leaves)

# SPDX-License-Identifier: Apache-2.0
"""What is within a loop or a branch, at the point: the trip that a table shows.

Of a scan, forward mode visits the first trip first and reverse mode the last, and that is the one shown. Of a while
loop, the first trip, if there is one. Of cond, the branch taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jopt.autodiff.program import Operation, Program


class Trip(NamedTuple):
    """One pass through a body.

    Attributes:
      title: which one, in words.
      body: the program.
      names: of its inputs.
      values: of its inputs.
      derivatives: forward: the tangents of its inputs; reverse: the adjoints of its outputs. None for none.
    """

    title: str
    body: ClosedJaxpr
    names: list[str]
    values: list[Any]
    derivatives: list[Any]


def first_trip(program: Program, operation: Operation, values: Sequence[Any], tangents: Sequence[Any]) -> Trip | None:
    """Return the first trip of a loop or the branch taken, with tangents; None for other operations and no trips."""
    operands = [values[i] for i in operation.inputs]
    rates = [tangents[i] for i in operation.inputs]
    params = operation.equation.params
    if operation.kind == "cond":
        title, body = _branch(params, operands)
        return Trip(title, body, _outer(program, operation.inputs[1:]), operands[1:], rates[1:])
    if operation.kind == "scan" and params["length"] > 0:
        consts, carried = params["num_consts"], params["num_carry"]
        at = -1 if params["reverse"] else 0
        pick = [None] * (consts + carried) + [at] * (len(operands) - consts - carried)
        names = [
            *_outer(program, operation.inputs[:consts]),
            *_counted("carry", carried),
            *_counted("each", len(pick) - consts - carried),
        ]
        title = f"first of {params['length']} trips"
        return Trip(title, params["jaxpr"], names, *(list(map(_entry, side, pick)) for side in (operands, rates)))
    if operation.kind == "while":
        tests, consts = params["cond_nconsts"], params["body_nconsts"]
        carry = operands[tests + consts :]
        if not bool(jaxpr_as_fun(params["cond_jaxpr"])(*operands[:tests], *carry)[0]):
            return None
        names = [*_outer(program, operation.inputs[tests : tests + consts]), *_counted("carry", len(carry))]
        return Trip("first trip", params["body_jaxpr"], names, operands[tests:], rates[tests:])
    return None


def last_trip(program: Program, operation: Operation, values: Sequence[Any], adjoints: Sequence[Any]) -> Trip | None:
    """Return the last trip of a scan or the branch taken, with the adjoints of its outputs; None for the rest."""
    operands = [values[i] for i in operation.inputs]
    arriving = [None if i is None else adjoints[i] for i in operation.outputs]
    params = operation.equation.params
    if all(adjoint is None for adjoint in arriving):
        return None
    if operation.kind == "cond":
        title, body = _branch(params, operands)
        return Trip(title, body, _outer(program, operation.inputs[1:]), operands[1:], arriving)
    if operation.kind != "scan" or params["length"] == 0:
        return None
    consts, carried, length = params["num_consts"], params["num_carry"], params["length"]
    fixed, carry, xs = operands[:consts], operands[consts : consts + carried], operands[consts + carried :]
    body, at = jaxpr_as_fun(params["jaxpr"]), 0 if params["reverse"] else -1
    rest = slice(1, None) if params["reverse"] else slice(None, -1)

    def trip(c: list[Any], x: list[Any]) -> tuple[list[Any], None]:
        return list(body(*fixed, *c, *x))[:carried], None

    carry, _ = jax.lax.scan(trip, carry, [x[rest] for x in xs], length=length - 1, reverse=params["reverse"])
    names = [*_outer(program, operation.inputs[:consts]), *_counted("carry", carried), *_counted("each", len(xs))]
    outputs = [*arriving[:carried], *(_entry(y, at) for y in arriving[carried:])]
    return Trip(f"last of {length} trips", params["jaxpr"], names, [*fixed, *carry, *(x[at] for x in xs)], outputs)


def _branch(params: dict[str, Any], operands: list[Any]) -> tuple[str, ClosedJaxpr]:
    branches = params["branches"]
    taken = int(jnp.clip(jnp.asarray(operands[0], jnp.int32), 0, len(branches) - 1))
    return f"branch {taken} of {len(branches)}, from 0", branches[taken]


def _outer(program: Program, inputs: Sequence[int]) -> list[str]:
    return [program.values[i].name for i in inputs]


def _counted(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}{i + 1}" for i in range(count)]


def _entry(array: Any, at: int | None) -> Any:
    return array if array is None or at is None else array[at]

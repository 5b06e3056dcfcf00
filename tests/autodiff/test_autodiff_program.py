# SPDX-License-Identifier: Apache-2.0
"""The walk over a function's jaxpr: names, kinds, folding, users and bodies."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jopt.autodiff.program import as_function, bodies, nested, trace
from jopt.autodiff.rendering import formula


def formulas(program):
    return [formula(program, operation) for operation in program.operations if not operation.folded]


def test_inputs_are_called_by_parameter_and_path():
    program = trace(lambda weights: weights["a"][0] + weights["b"], {"a": [1.0], "b": 2.0})
    assert [program.values[i].name for i in program.inputs] == ["weights['a'][0]", "weights['b']"]
    assert formulas(program) == ["weights['a'][0] + weights['b']"]
    assert program.values[trace(jnp.sin, 1.0).inputs[0]].kind == "input"


def test_views_read_as_python_writes_them():
    def f(x):
        return (
            x[1, 2] * 2.0,
            x[:, 1] * 2.0,
            x[0:1] * 2.0,
            x[1].reshape(1, 3) * 2.0,
            (x * x)[0, 0] * 2.0,
            x[:, 1][1] * 2.0,
            x.reshape(3, 2) @ x,
            x.reshape(6)[4] * 2.0,
            x[:, :1] * x[:1, :],
            x[0][:, None] * x[0][None, :],
            x - jnp.sum(x, axis=1, keepdims=True),
            jnp.sum(jnp.broadcast_to(x[0], (4, 3))),
            x.reshape(6).reshape(2, 3) * 2.0,
            jnp.sum(x[0][:, None][:, 0]),
        )

    program = trace(f, jnp.ones((2, 3)))
    shown = formulas(program)
    assert shown[:4] == ["x[1, 2] * 2", "x[:, 1] * 2", "x[0:1] * 2", "x[1] * 2"]
    assert shown[4:6] == ["x * x", "a5[0, 0] * 2"]
    # An entry of a column is not called after a row, and what has another shape is not called after its source.
    assert shown[6:] == [
        "slice(x[:, 1], limit_indices=(2,), start_indices=(1,))",
        "a7 * 2",
        "x.reshape(3, 2) @ x",
        "slice(x.reshape(6), limit_indices=(5,), start_indices=(4,))",
        "a10 * 2",
        "x[:, 0:1] * x[0:1]",
        "x[0].reshape(3, 1) * x[0]",
        "reduce_sum(x, axes=(1,))",
        "x - a14.reshape(2, 1)",
        "reduce_sum(broadcast_to(x[0], (4, 3)), axes=(0, 1))",
        "x * 2",
        "reduce_sum(x[0], axes=(0,))",
    ]


def test_outputs_and_what_rounds_never_fold():
    program = trace(lambda x: (x[0], x.astype(jnp.int32) * 2, (x > 0).astype(x.dtype) * 3.0), jnp.ones(2))
    assert [o.name for o in program.operations if not o.folded].count("convert_element_type") == 2
    assert program.values[program.outputs[0]].name.startswith("a")


def test_kinds_are_told_by_what_an_operation_holds():
    def f(x):
        y = lax.scan(lambda c, _: (c * x, None), x, None, length=2)[0]
        y += lax.while_loop(lambda c: c < 9, lambda c: c * 2, x)
        y += lax.cond(x > 0, jnp.sin, jnp.cos, x)
        return y + jax.nn.relu(x) + jax.checkpoint(jnp.exp)(x) + jax.jit(jnp.tan)(x)

    program = trace(f, 1.0, calls="closed")
    kinds = {operation.kind: operation for operation in program.operations}
    assert set(kinds) == {"scan", "while", "cond", "rule", "call", "primitive"}
    assert list(bodies(kinds["while"])) == ["condition", "body"]
    assert list(bodies(kinds["cond"])) == ["branch 0", "branch 1"]
    assert list(bodies(kinds["scan"])) == ["body"]
    assert list(bodies(kinds["rule"])) == list(bodies(kinds["call"])) == ["call"]
    assert bodies(kinds["primitive"]) == {}
    inner = nested(bodies(kinds["cond"])["branch 1"], ["y"], program)
    assert (inner.depth, formulas(inner), inner.values[inner.outputs[0]].name) == (1, ["sin(y)"], "b1")
    assert {operation.name for operation in program.operations} >= {"relu", "tan"}


def test_users_are_found_through_folded_operations():
    program = trace(lambda x: x[0] * x[1] + x[0], jnp.ones(2))
    shown = [program.operations[k].name for k in program.users(program.inputs[0])]
    assert shown == ["mul", "add"]


def test_opened_calls_are_known():
    f = jax.jit(jnp.sin)
    assert trace(f, 1.0).opened
    assert not trace(f, 1.0, calls="closed").opened
    assert [o.name for o in trace(f, 1.0).operations] == ["sin"]


def test_constants_have_names_and_numbers_are_themselves():
    table = jnp.arange(3.0)
    program = trace(lambda x: x * table + 2.0, jnp.ones(3))
    assert formulas(program) == ["x * const1", "a1 + 2"]


def test_equation_is_a_function_of_every_operand():
    operation = trace(lambda x: x * x, jnp.float32(3)).operations[0]
    (product,) = as_function(operation.equation)(jnp.float32(3), jnp.float32(5))
    assert float(product) == 15.0


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="trace: calls must be one of"):
        trace(jnp.sin, 1.0, calls="shut")
    with pytest.raises(TypeError, match="trace: fold must be True or False"):
        trace(jnp.sin, 1.0, fold="yes")

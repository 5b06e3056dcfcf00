# SPDX-License-Identifier: Apache-2.0
"""Evaluation tables: the textbook's numbers row by row, and JAX's own numbers bit for bit."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jopt.autodiff import forward_table, parse, parse_point, reverse_table, sweeps
from jopt.autodiff.program import trace

N = 37  # entries: enough for a difference in the order of a sum to show


@jax.custom_jvp
def ruled(x):
    return x * x


@ruled.defjvp
def _(primals, tangents):
    return primals[0] * primals[0], 5.0 * tangents[0] * primals[0]  # a planted rule, not the derivative


@jax.custom_vjp
def pulled(x):
    return x * x


pulled.defvjp(lambda x: (x * x, x), lambda x, c: (7.0 * x * c,))


def draw(*shape, seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).uniform(0.5, 1.5, shape), dtype)


MATRIX = draw(N, N, seed=1) + N * jnp.eye(N, dtype=jnp.float32)


def network(p):
    hidden = jnp.tanh(p["x"] @ p["w1"] + p["b1"])
    logits = jax.nn.relu(hidden) @ p["w2"]
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * p["y"], axis=-1))


NETWORK = {
    "x": draw(5, 4), "w1": draw(4, 6, seed=1) - 1, "b1": draw(6, seed=2), "w2": draw(6, 3, seed=3) - 1,
    "y": jax.nn.one_hot(jnp.arange(5) % 3, 3, dtype=jnp.float32),
}  # fmt: skip

EXACT = {
    "powers": lambda x: x * x * x + x / (x * x) - jnp.maximum(x, x * 0.3) * x + x**2.5,
    "elementary": lambda x: jnp.sin(x) + jnp.arctan2(x, x * x) + x**x + jnp.cbrt(x) + jnp.sqrt(x) / jnp.tan(x),
    "lax": lambda x: lax.add(lax.add(lax.sin(x), lax.pow(x, x)), lax.atan2(x, lax.mul(x, lax.exp(x)))),
    "products": lambda x: x @ x + jnp.dot(MATRIX @ x, x) + jnp.sum(x),
    "mixed": lambda x: jnp.tanh(x.astype(jnp.bfloat16)).astype(jnp.float32) * x,
    "from a number": lambda x: lax.fori_loop(0, 3, lambda i, c: c * x[i], 1.0),
    "where": lambda x: jnp.where(x > 1, x * 2.3, x / 3) + x * jnp.where(x > 0.8, x, 0),
    "index": lambda x: x[jnp.array([0, 2])].sum() * x[1] + x.at[1].set(x[2]).sum() + x[-1],
    "sorted": lambda x: jnp.cumsum(x) * jnp.sort(x),
    "solve": lambda x: jnp.linalg.solve(MATRIX + jnp.diag(x), x),
    "scan": lambda x: lax.scan(lambda c, y: (c * y + jnp.sin(c), c * x[0]), x[1], x)[1].sum() + x[0],
    "cond": lambda x: lax.cond(x[0] > 1, lambda y: y * 2.0, jnp.sin, x) + x,
    "custom_jvp": lambda x: ruled(x) * x + ruled(x * x),
    "checkpoint": lambda x: jax.checkpoint(lambda y: jnp.sin(jnp.cos(y) * x))(x * x) * x,
    "several": lambda x: {
        "a": (jnp.floor(x) * x, lax.stop_gradient(x) * x),
        "b": jnp.argmax(x),
        "c": (3.0, lax.stop_gradient(1.0)),
        "d": x,
    },
    "constant": lambda _: jnp.arange(2.0),
    "custom_vjp": lambda x: pulled(x) * x + pulled(x * x),
    "while": lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, x))[1],
}
ONE_WAY = {"custom_vjp": "reverse", "while": "forward"}


def directions(y, seed):
    """Return a random tree like y, float0 where it has no derivatives."""
    leaves, structure = jax.tree.flatten(y)
    drawn = [
        draw(*jnp.shape(a), seed=seed + i, dtype=jnp.result_type(a)) - 1
        if jnp.issubdtype(jnp.result_type(a), jnp.inexact)
        else np.zeros(jnp.shape(a), jax.dtypes.float0)
        for i, a in enumerate(leaves)
    ]
    return structure.unflatten(drawn)


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert jnp.shape(a) == jnp.shape(e)
        assert a.dtype == jnp.result_type(e)
        if a.dtype != jax.dtypes.float0:
            np.testing.assert_array_equal(a, e)


def assert_near(actual, expected, rtol):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        if a.dtype == jax.dtypes.float0:
            continue
        a, e = np.asarray(a), np.asarray(e)
        np.testing.assert_allclose(a, e, rtol=0, atol=rtol * np.abs(e).max())


agree = {"closed": assert_same, "open": lambda actual, expected: assert_near(actual, expected, 1e-6)}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_closed_calls_give_the_numbers_of_jax_bit_for_bit_and_open_ones_within_a_millionth(name):
    f, x = EXACT[name], draw(N)
    settings = ["closed", "open"] if trace(f, x).opened else ["closed"]  # without calls these are the same
    if ONE_WAY.get(name) != "reverse":
        v = directions(x, 5)
        own = jax.jvp(f, (x,), (v,))
        for calls in settings:
            table = forward_table(f, x, v, calls=calls)
            agree[calls]((table.value, table.derivative), own)
            assert str(table)
    if ONE_WAY.get(name) != "forward":
        value, pull = jax.vjp(f, x)
        cotangent = directions(value, 55)
        own = (value, pull(cotangent)[0])
        for calls in settings:
            table = reverse_table(f, x, cotangent, calls=calls)
            agree[calls]((table.value, table.derivative), own)
            assert str(table)


@pytest.mark.slow
@pytest.mark.parametrize("calls", ["closed", "open"])
def test_network_agrees_with_jax_with_calls_open_and_closed(calls):
    v = directions(NETWORK, 5)
    y, rate = jax.jvp(network, (NETWORK,), (v,))
    forward, reverse = forward_table(network, NETWORK, v, calls=calls), reverse_table(network, NETWORK, calls=calls)
    assert len([row for row in reverse.rows if row.operation == "log_softmax"]) == (calls == "closed")
    gradient = jax.grad(network)(NETWORK)
    if calls == "closed":
        assert_same((forward.value, forward.derivative), (y, rate))
        assert_same(reverse.derivative, gradient)
    assert_near((forward.value, forward.derivative, reverse.derivative), (y, rate, gradient), 1e-6)


def test_a_table_says_whether_its_numbers_are_those_of_jax_in_every_bit():
    def mixed(x):  # JAX compiles the call as a whole: opened, it rounds differently
        return jax.jit(lambda x: jnp.sum(jnp.exp(jnp.sin(x) * x / 3) + x * 0.37))(x)

    x = draw(N)
    own = jax.value_and_grad(mixed)(x)
    said = []
    for calls in ("closed", "open"):
        table = reverse_table(mixed, x, calls=calls)
        same = all(np.array_equal(a, b) for a, b in zip((table.value, table.derivative), own, strict=True))
        assert table.exact is same
        said.append(same)
    assert said == [True, False]


def test_a_table_is_of_what_f_does_now():
    factor = 3.0
    f = lambda x: x * x if factor == 3.0 else jnp.ones(2) * x  # noqa: E731

    def operations(table):
        return [row.operation for row in table.rows if row.formula]

    assert operations(reverse_table(f, 2.0)) == ["mul"]
    assert operations(forward_table(f, 2.0, 1.0)) == ["mul"]
    factor = 1.0  # as where a cell of a notebook runs again
    assert forward_table(f, 2.0, 1.0).derivative.shape == (2,)
    with pytest.raises(TypeError, match=r"cotangent must be .* None for float64\[2\]"):
        reverse_table(f, 2.0)


def test_compiled_operations_are_kept_and_told_apart_by_their_numbers(monkeypatch):
    monkeypatch.setattr(sweeps, "_EVALUATIONS", kept := {})
    x = jnp.float32(3)
    assert float(reverse_table(lambda x: x * 2.0, x).value) == 6.0
    assert len(kept) == 1
    first = list(kept.values())
    assert float(reverse_table(lambda y: y * 2.0, x + 1).value) == 8.0
    assert list(kept.values()) == first
    assert float(reverse_table(lambda x: x * 0.0, x).value) == 0.0
    assert bool(jnp.signbit(reverse_table(lambda x: x * -0.0, x).value))
    monkeypatch.setattr(sweeps, "EVALUATIONS", 3)
    reverse_table(lambda x: x * 5.0, x)
    assert len(kept) == 3


def test_value_used_four_times_is_summed_in_the_order_of_jax():
    def f(x):
        return x * 0.37 + jnp.arctan2(x, x * x) + x**x + jnp.sin(x)

    x = draw(N)
    cotangent = directions(x, 55)
    (gradient,) = jax.vjp(f, x)[1](cotangent)
    table = reverse_table(f, x, cotangent)
    parts = [amount for _, amount in table.adjoints[-1].contributions]
    assert len(parts) >= 6
    assert_same(table.derivative, gradient)
    np.testing.assert_array_equal(table.adjoints[-1].value, gradient)
    assert not np.array_equal(sum(parts[::-1]), gradient)  # the order is visible in the last bits


def test_textbook_table_row_by_row():
    f = parse("sin(t1*t2) + exp(t2+t3) - 2*t3")
    t = jnp.asarray(parse_point("pi/6, 2, 5"))
    forward, reverse = forward_table(f, t, jnp.array([0.0, 1.0, 0.0])), reverse_table(f, t)
    root, e7, third = math.sqrt(3) / 2, math.exp(7), math.pi / 12
    expected = [
        ("t1", "", math.pi / 6, 0), ("t2", "", 2, 1), ("t3", "", 5, 0),
        ("a1", "t1 * t2", math.pi / 3, math.pi / 6), ("a2", "t2 + t3", 7, 1), ("a3", "2 * t3", 10, 0),
        ("a4", "sin(a1)", root, third), ("a5", "exp(a2)", e7, e7),
        ("a6", "a4 + a5", root + e7, third + e7), ("a7", "a6 - a3", root + e7 - 10, third + e7),
    ]  # fmt: skip
    for rows in (forward.rows, reverse.rows):
        assert [row[:2] for row in rows] == [row[:2] for row in expected]
        np.testing.assert_allclose([row.value for row in rows], [row[2] for row in expected], rtol=1e-14)
    np.testing.assert_allclose([row.tangent for row in forward.rows], [row[3] for row in expected], rtol=1e-14)
    assert all(row.tangent is None for row in reverse.rows)
    gradient = [1, third + e7, e7 - 2]
    adjoints = {"a7": 1, "a6": 1, "a5": 1, "a4": 1, "a3": -1, "a2": e7, "a1": 0.5}
    adjoints |= dict(zip(("t1", "t2", "t3"), gradient, strict=True))
    assert [a.name for a in reverse.adjoints] == [*adjoints, "t"]
    np.testing.assert_allclose([a.value for a in reverse.adjoints[:-1]], list(adjoints.values()), rtol=1e-14)
    uses = {a.name: a.contributions for a in reverse.adjoints}
    assert [(user, float(amount)) for user, amount in uses["t2"]] == [
        ("a2", pytest.approx(e7)),
        ("a1", pytest.approx(third)),
    ]
    assert [(user, float(amount)) for user, amount in uses["t3"]] == [("a3", -2.0), ("a2", pytest.approx(e7))]
    np.testing.assert_allclose(reverse.derivative, gradient, rtol=1e-14)
    assert uses["a7"][0][0] == "output"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_dtype_of_the_input_is_kept(dtype):
    x = draw(3, dtype=dtype)
    table = forward_table(lambda x: jnp.sin(x) * 2, x, np.ones(3))  # a direction of another dtype is converted
    assert {row.value.dtype for row in table.rows} | {row.tangent.dtype for row in table.rows} == {jnp.dtype(dtype)}
    assert reverse_table(lambda x: jnp.sum(x * x), x).derivative.dtype == dtype
    assert str(table)


def test_strict_promotion_is_enough():
    with jax.numpy_dtype_promotion("strict"):
        x = draw(3)
        np.testing.assert_array_equal(reverse_table(lambda x: jnp.sum(x * x) * 2, x).derivative, 4 * x)


def test_integers_and_unused_leaves_have_no_derivative():
    x = {"n": jnp.array([1, 2]), "w": draw(2), "idle": draw(3)}

    def f(x):
        return jnp.sum(x["w"] * x["n"]), x["n"] + 1, x["w"] > 1

    v = {"n": jnp.array([9, 9]), "w": jnp.ones(2), "idle": jnp.ones(3)}
    forward = forward_table(f, x, v)
    rows = {row.name: row for row in forward.rows}
    assert rows["x['n']"].tangent is None
    assert rows["x['w']"].tangent.shape == (2,)
    assert [d.dtype == jax.dtypes.float0 for d in forward.derivative] == [False, True, True]
    assert re.search(r"x\['n'\] .* -$", str(forward), re.MULTILINE)
    reverse = reverse_table(f, x, (jnp.float32(1), jnp.zeros(2), jnp.zeros(2)))
    adjoints = {a.name: a for a in reverse.adjoints}
    assert adjoints["x['n']"].value is None
    assert reverse.derivative["n"].dtype == jax.dtypes.float0
    np.testing.assert_array_equal(reverse.derivative["idle"], 0)
    assert adjoints["x['idle']"].contributions == ()


def test_structural_zeros_carry_no_derivative_but_show_as_zero():
    table = forward_table(lambda x: jnp.floor(x) * jnp.inf + x, jnp.float32(1.5), 1.0)
    assert float(table.derivative) == 1.0  # 0 times infinity would be NaN
    assert [float(row.tangent) for row in table.rows] == [1.0, 0.0, 0.0, 1.0]
    assert [a.name for a in reverse_table(lambda x: jnp.floor(x) + x, 1.5).adjoints] == ["a2", "x"]


def test_custom_rules_are_one_row_and_are_used():
    x = jnp.float32(3)
    for f, slope in ((ruled, 15.0), (pulled, 21.0)):
        table = reverse_table(lambda x, f=f: f(x), x)
        assert [row.operation for row in table.rows] == ["input", f.__name__]
        assert float(table.derivative) == slope
    assert float(forward_table(ruled, x, 1.0).derivative) == 15.0


def test_closed_call_is_one_row_and_open_call_its_operations():
    f = jax.jit(lambda x: jnp.sin(x) * 2)
    assert [row.operation for row in forward_table(f, 1.0, 1.0).rows] == ["input", "sin", "mul"]
    assert len(forward_table(f, 1.0, 1.0, calls="closed").rows) == 2


def test_unfolded_table_has_rows_for_moves():
    def f(x):
        return x[1] * x[0]

    folded, plain = (forward_table(f, draw(2), jnp.ones(2), fold=fold) for fold in (True, False))
    assert [row.formula for row in folded.rows] == ["", "", "x[1] * x[0]"]
    assert [row.operation for row in plain.rows] == ["input", "slice", "squeeze", "slice", "squeeze", "mul"]
    assert_same(folded.derivative, plain.derivative)


def test_scan_shows_its_first_trip_forward_and_its_last_in_reverse():
    def f(x):
        return lax.scan(lambda c, y: (c * y, c + y), x, jnp.array([2.0, 3.0, 5.0]))

    x = jnp.float64(7)
    body = body_of(forward_table(f, x, 1.0))
    assert body.title == "first of 3 trips"
    assert [(row.name, float(row.value), float(row.tangent)) for row in body.rows] == [
        ("carry", 7, 1), ("each", 2, 0), ("b1", 14, 2), ("b2", 9, 1),
    ]  # fmt: skip
    table = reverse_table(f, x, (1.0, jnp.array([10.0, 20.0, 30.0])))
    body = body_of(table)
    assert body.title == "last of 3 trips"
    assert [(row.name, float(row.value)) for row in body.rows] == [("carry", 42), ("each", 5), ("b1", 210), ("b2", 47)]
    adjoints = {a.name: [float(amount) for _, amount in a.contributions] for a in body.adjoints}
    assert adjoints["b1"] == [1.0]
    assert adjoints["b2"] == [30.0]
    assert sorted(adjoints["carry"]) == [5.0, 30.0]
    assert "last of 3 trips" in str(table)


def test_reversed_scan_and_no_trips():
    def f(x, n=3, reverse=True):
        return lax.scan(lambda c, y: (c * y, c), x, jnp.arange(1.0, n + 1), reverse=reverse)[0]

    x = jnp.float64(7)
    body = body_of(forward_table(f, x, 1.0))
    assert [float(row.value) for row in body.rows[:2]] == [7, 3]
    body = body_of(reverse_table(f, x))
    assert [float(row.value) for row in body.rows[:2]] == [42, 1]
    for table in (forward_table(lambda x: f(x, n=0), x, 1.0), reverse_table(lambda x: f(x, n=0), x)):
        assert all(row.body is None for row in table.rows)
        assert float(table.derivative) == 1


def test_cond_shows_the_branch_taken():
    def f(x):
        return lax.switch(jnp.int32(x), [jnp.sin, jnp.cos, jnp.exp], x)

    for x, name, slope in ((0.5, "sin", math.cos(0.5)), (9.0, "exp", math.exp(9.0))):
        table, reverse = forward_table(f, x, 1.0), reverse_table(f, x)
        assert [row.operation for row in body_of(table).rows] == ["input", name]
        assert float(body_of(reverse).derivative[0]) == pytest.approx(slope)
        assert float(reverse.derivative) == pytest.approx(slope)


def test_while_shows_its_first_trip_if_there_is_one():
    def f(x, n):
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * x), (0, x))[1]

    table = forward_table(lambda x: f(x, 3), 2.0, 1.0)
    assert float(table.derivative) == 32.0
    assert [row.formula for row in body_of(table).rows] == ["", "", "", "carry1 + 1", "carry2 * x"]
    assert all(row.body is None for row in forward_table(lambda x: f(x, 0), 2.0, 1.0).rows)
    counted = reverse_table(lambda x: x * f(jnp.float32(2.0), 3), 1.0)  # a loop that x does not go through
    assert float(counted.derivative) == 16.0


def body_of(table):
    """Return the only table within."""
    (body,) = [row.body for row in table.rows if row.body is not None]
    return body


def test_what_jax_cannot_do_is_said_in_plain_words():
    with pytest.raises(ValueError, match=r"reverse_table: f must be transposable, .* loop of unknown length"):
        reverse_table(EXACT["while"], draw(2), jnp.ones(2))
    with pytest.raises(TypeError, match=r"forward_table: f must have rules for forward mode, .* use reverse_table"):
        forward_table(pulled, 1.0, 1.0)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"forward_table: calls must be one of .*'clsoed'.*Did you mean 'closed'"):
        forward_table(jnp.sin, 1.0, 1.0, calls="clsoed")
    with pytest.raises(TypeError, match="reverse_table: fold must be True or False"):
        reverse_table(jnp.sin, 1.0, fold=1)
    with pytest.raises(ValueError, match=r"forward_table: v must be a tree like x, .*\(2,\).*\(3,\)"):
        forward_table(jnp.sin, jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match=r"reverse_table: cotangent must be a tree like f\(x\)"):
        reverse_table(jnp.sin, jnp.ones(3), jnp.ones(2))
    with pytest.raises(
        TypeError, match=r"reverse_table: cotangent must be a tree like f\(x\) .* None for float64\[3\]"
    ):
        reverse_table(jnp.sin, jnp.ones(3))
    for table in (reverse_table, lambda f, x: forward_table(f, x, x)):
        with pytest.raises(TypeError, match="_table: f must be a function of one tree, got int"):
            table(3, 1.0)
        with pytest.raises(TypeError, match=r"_table: x\['a'\]\[0\] must be a number or an array, got 'b' \(str\)"):
            table(jnp.sin, {"a": ["b"]})
    with pytest.raises(TypeError, match="x must be numbers, got traced values"):
        jax.jit(lambda x: forward_table(jnp.sin, x, x).derivative)(1.0)


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_errors_of_the_function_pass(error):
    def f(_):
        raise error("deliberate")

    with pytest.raises(error, match=r"^deliberate"):
        forward_table(f, 1.0, 1.0)
    with pytest.raises(error, match=r"^deliberate"):
        reverse_table(f, 1.0)

# SPDX-License-Identifier: Apache-2.0
"""The engines of examples/autodiff, written from scratch for reading, agree with JAX on random programs."""

import importlib
import math
import sys
from pathlib import Path

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings

SETTINGS = settings(max_examples=100, deadline=None, derandomize=True)
EXAMPLES = Path(__file__).parents[2] / "examples" / "autodiff"
RTOL = 1e-11  # of the largest number on the way, for at most ten operations in float64


def load(name):
    """Return an example as a module; it finds the example that it builds on beside it."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLES))


symbols = load("01_numerical_symbolic_automatic")
duals = load("02_dual_numbers")
tapes = load("03_tape")
linear = load("06_linearise_and_transpose")
nested = load("11_nested_derivatives")

# An operation takes a module of functions and two values. Arguments are kept where every function is smooth.
BASIC = {
    "add": lambda _m, a, b: a + b,
    "sub": lambda _m, a, b: a - b,
    "mul": lambda _m, a, b: a * b,
    "affine": lambda _m, a, _b: 0.5 * a + (-1.25),
    "sin": lambda m, a, _b: m.sin(a),
    "cos": lambda m, a, _b: m.cos(a),
    "exp": lambda m, a, _b: m.exp(m.sin(a)),
}
REVERSED = {"rsub": lambda _m, a, _b: 1.5 - a}
QUOTIENTS = {
    "div": lambda m, a, b: a / (2.0 + m.sin(b)),
    "over": lambda _m, a, _b: a / 3.0,
    "log": lambda m, a, _b: m.log(2.0 + m.sin(a)),
    "sqrt": lambda m, a, _b: m.sqrt(2.0 + m.cos(a)),
    "tanh": lambda m, a, _b: m.tanh(a),
}
OVER = {"rdiv": lambda m, a, _b: 1.5 / (2.0 + m.cos(a)), "neg": lambda _m, a, _b: -a}
POWERS = {"cube": lambda _m, a, _b: a**3, "inverse": lambda m, a, _b: (2.0 + m.sin(a)) ** -1}
ALL = {**BASIC, **REVERSED, **QUOTIENTS, **OVER, **POWERS}


def programs(*groups):
    """Return random straight-line programs: each operation takes earlier values, often one that was used before."""
    names = [name for group in groups for name in group]
    place = st.integers(0, 50)
    return st.lists(st.tuples(st.sampled_from(names), place, place), min_size=1, max_size=10)


def run(program, functions, x):
    """Return the values that a program computes, its inputs left out."""
    values = list(x)
    for name, i, j in program:
        values.append(ALL[name](functions, values[i % len(values)], values[j % len(values)]))
    return values[len(x) :]


def close(ours, theirs, *scales):
    """Say whether numbers agree, to rounding of the largest of them and of the further ones."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    scale = max(1.0, *(float(np.max(np.abs(s))) for s in (theirs, *scales)))
    return bool(np.all(np.abs(ours - theirs) <= RTOL * scale))


def tame(program, x):
    """Keep only programs whose values are of moderate size."""
    values, _ = duals.jvp(lambda x: run(program, duals, x), x, [1.0] * len(x))
    assume(all(math.isfinite(a) and abs(a) < 1e3 for a in values))


points = st.lists(st.floats(-2.0, 2.0, allow_nan=False), min_size=3, max_size=3)
everything = programs(BASIC, REVERSED, QUOTIENTS, OVER, POWERS)


@SETTINGS
@given(program=everything, x=points, v=points)
def test_dual_numbers_compute_the_jvp(program, x, v):
    tame(program, x)
    values, tangents = duals.jvp(lambda x: run(program, duals, x), x, v)
    primals_jax, tangents_jax = jax.jvp(lambda *x: run(program, jnp, x), tuple(x), tuple(v))
    assert close(values, primals_jax)
    assert close(tangents, tangents_jax)


@SETTINGS
@given(program=everything, x=points, weights=st.lists(st.floats(-2.0, 2.0), min_size=10, max_size=10))
def test_tape_computes_the_vjp(program, x, weights):
    tame(program, x)
    w = weights[: len(program)]
    values, pullback = tapes.vjp(lambda x: run(program, tapes, x), x)
    values_jax, pullback_jax = jax.vjp(lambda *x: run(program, jnp, x), *x)
    assert close(values, values_jax)
    assert close(pullback(w), pullback_jax([jnp.asarray(a) for a in w]))
    assert pullback(w) == pullback(w)


@SETTINGS
@given(program=programs(BASIC, QUOTIENTS), x=points, v=points, weights=st.lists(st.floats(-2.0, 2.0), min_size=10))
def test_linear_program_computes_the_jvp_and_its_transpose_the_vjp(program, x, v, weights):
    tame(program, x)
    w = weights[: len(program)]
    values, tangents = linear.linearise(lambda x: run(program, linear, x), x)
    adjoints = linear.transpose(tangents)
    values_jax, tangents_jax = jax.jvp(lambda *x: run(program, jnp, x), tuple(x), tuple(v))
    gradient_jax = jax.vjp(lambda *x: run(program, jnp, x), *x)[1]([jnp.asarray(a) for a in w])
    assert close(values, values_jax)
    assert close(linear.apply(tangents, v), tangents_jax)
    assert close(linear.apply(adjoints, w), gradient_jax)
    assert linear.transpose(adjoints) == tangents


@SETTINGS
@given(program=programs(BASIC, REVERSED), x=st.floats(-2.0, 2.0))
def test_symbolic_derivative_has_the_value_of_the_automatic_one(program, x):
    tame(program, [x])
    formula = symbols.formula(run(program, symbols, [symbols.X])[-1])
    value, slope = jax.value_and_grad(lambda x: run(program, jnp, [x])[-1])(x)
    assert close(symbols.evaluate(formula, x), value)
    assert close(symbols.evaluate(symbols.derivative(formula), x), slope)


@SETTINGS
@given(outer=programs(BASIC, REVERSED, QUOTIENTS, OVER), inner=programs(BASIC, QUOTIENTS), x=st.floats(-2.0, 2.0))
def test_tags_keep_nested_derivatives_apart(outer, inner, x):
    outer, inner = outer[:5], inner[:5]

    def mixed(derivative, functions):
        def slope(x):
            return derivative(lambda y: run(inner, functions, [x, y])[-1] + 0.0 * y)(x)

        return lambda x: run(outer, functions, [x, slope(x)])[-1] + 0.0 * x

    tame(inner, [x, x])
    value = mixed(nested.derivative, nested)(x)
    assume(abs(value) < 1e3)
    assert close(value, mixed(jax.grad, jnp)(x))
    assert close(nested.derivative(mixed(nested.derivative, nested))(x), jax.grad(mixed(jax.grad, jnp))(x), 1e3)


def test_without_tags_the_textbook_case_is_wrong():
    def f(derivative):
        return derivative(lambda x: x * derivative(lambda y: x + y)(1.0))(1.0)

    def by_untagged_duals(f):
        return lambda x: duals.dual(f(duals.Dual(x, 1.0))).tangent

    assert f(by_untagged_duals) == f(nested.untagged) == 2.0
    assert f(nested.derivative) == f(jax.grad) == 1.0


def test_tape_of_100_000_operations_needs_no_recursion():
    length = 100_000
    assert length > 10 * sys.getrecursionlimit()

    def chain(x):
        y = x[0]
        for _ in range(length // 2):
            y = 0.999999 * y + x[1]
        return [y]

    (value,), pullback = tapes.vjp(chain, [2.0, 1e-6])
    power = 0.999999 ** (length // 2)
    geometric = (1.0 - power) / 1e-6
    assert math.isclose(value, 2.0 * power + 1e-6 * geometric, rel_tol=1e-9)
    assert np.allclose(pullback([1.0]), [power, geometric], rtol=1e-9)


@pytest.mark.parametrize(
    ("outputs", "tangents", "gradient"),
    [
        (lambda x: [3.0 + 0.0 * x[0]], [0.0], [0.0, 0.0]),
        (lambda x: [x[1]], [10.0], [0.0, 1.0]),
        (lambda x: [x[0], x[0] * x[1], x[0]], [1.0, 7.0, 1.0], [1.0 + 2.0 * 2.0 + 4.0, 2.0 * 0.5]),
    ],
    ids=["constant", "input", "repeated"],
)
def test_outputs_may_be_constant_inputs_or_repeated(outputs, tangents, gradient):
    x, v, w = [0.5, 2.0], [1.0, 10.0], [1.0, 2.0, 4.0][: len(tangents)]
    program = linear.linearise(outputs, x)[1]
    assert duals.jvp(outputs, x, v)[1] == linear.apply(program, v) == tangents
    assert tapes.vjp(outputs, x)[1](w) == linear.apply(linear.transpose(program), w) == gradient


def test_a_plain_number_is_a_constant_output():
    assert duals.jvp(lambda _: [3.0], [1.0], [1.0]) == ([3.0], [0.0])
    assert linear.apply(linear.linearise(lambda _: [3.0], [1.0])[1], [1.0]) == [0.0]
    values, pullback = tapes.vjp(lambda _: [3.0], [1.0])
    assert (values, pullback([1.0])) == ([3.0], [0.0])


@pytest.mark.parametrize("x", [-2.0, 0.0, 2.0])
def test_branches_of_dual_numbers_depend_on_values_alone(x):
    def f(inputs):
        (a,) = inputs
        faster = 2.0 * a - x  # of the same value
        taken = (a < 0.0, a <= 0.0, a == 0.0, a != 0.0, a >= 0.0, a > 0.0, a < faster, a == faster)
        return [a * a if taken == expected else math.nan]

    expected = (x < 0.0, x <= 0.0, x == 0.0, x != 0.0, x >= 0.0, x > 0.0, False, True)
    assert duals.jvp(f, [x], [1.0]) == ([x * x], [2.0 * x])


@pytest.mark.parametrize("functions", [duals, tapes, linear, nested], ids=lambda module: module.__name__)
def test_functions_take_plain_numbers_as_constants(functions):
    def f(x):
        return [x[0] * functions.sin(0.5)]

    if functions is duals:
        slope = duals.jvp(f, [2.0], [1.0])[1]
    elif functions is tapes:
        slope = tapes.vjp(f, [2.0])[1]([1.0])
    elif functions is linear:
        slope = linear.apply(linear.linearise(f, [2.0])[1], [1.0])
    else:
        slope = [nested.derivative(lambda x: f([x])[0])(2.0)]
    assert slope == [math.sin(0.5)]


def test_formulas_take_plain_numbers_as_constants():
    formula = symbols.X * symbols.sin(0.5)
    assert symbols.evaluate(symbols.derivative(formula), 2.0) == math.sin(0.5)

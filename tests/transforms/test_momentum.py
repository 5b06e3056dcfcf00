# SPDX-License-Identifier: Apache-2.0
"""Momentum: NumPy transcriptions, optax, and the identity of Nesterov's two forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import DTYPES, assert_trees_close, gradients, nested_tree, run
from transcription import transcribed

from jopt.combinators import chain
from jopt.transforms.elementary import scale_by_learning_rate
from jopt.transforms.momentum import ema, lookahead_momentum, shifted_momentum, trace

B = 0.9
FACTORIES = {"trace": trace, "ema": ema, "lookahead_momentum": lookahead_momentum}


def heavy_ball(g, v, _):
    v = B * v + g
    return v, v


def nesterov(g, v, _):
    v = B * v + g
    return B * v + g, v


def mean(g, v, _):
    v = B * v + (1 - B) * g
    return v, v


def corrected_mean(g, v, t):
    v = B * v + (1 - B) * g
    return v / (1 - B**t), v


def lookahead(g, v, _):
    v = B * v + (1 - B) * g
    return B * v + (1 - B) * g, v


CASES = [
    (trace(B), heavy_ball, optax.trace(B)),
    (trace(B, nesterov=True), nesterov, optax.trace(B, nesterov=True)),
    (ema(B), corrected_mean, optax.ema(B)),
    (ema(B, debias=False), mean, optax.ema(B, debias=False)),
    (lookahead_momentum(B), lookahead, None),
]


def along(rule):
    """Return the formula that maps a list of gradients to updates by repeating a rule from velocity zero."""

    def formula(gs):
        v = 0.0
        for t, g in enumerate(gs, start=1):
            u, v = rule(g, v, t)
            yield u

    return formula


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("made", "rule", "theirs"), CASES, ids=[repr(case[0]) for case in CASES])
def test_equals_transcription_and_optax_over_ten_steps(made, rule, theirs, dtype):
    params, grads = nested_tree(dtype), gradients(dtype)
    updates, _ = run(made, grads, params)
    for actual, expected in zip(updates, transcribed(along(rule), grads), strict=True):
        assert_trees_close(actual, expected)
    if theirs is not None:
        for actual, expected in zip(updates, run(theirs, grads, params)[0], strict=True):
            assert_trees_close(actual, expected)


@pytest.mark.parametrize("t", [1, 2, 5])
def test_mean_of_a_constant(t):
    g = jnp.full(2, 3.0)
    corrected, plain = (run(ema(0.99, debias=d), [g] * t, g)[0][-1] for d in (True, False))
    np.testing.assert_allclose(corrected, g, rtol=1e-14)
    np.testing.assert_allclose(plain, (1 - 0.99**t) * g, rtol=1e-14)


def test_bias_correction_is_exact_in_float32():
    # 1 - float32(0.999) is off by 1e-5 of its value; the mean of a constant must be that constant all the same
    g = jnp.full(1, 3.0, jnp.float32)
    (u,), _ = run(ema(0.9999), [g], g)
    np.testing.assert_allclose(u, g, rtol=2 * jnp.finfo(jnp.float32).eps)


def test_decay_zero_is_the_identity():
    g = nested_tree(jnp.float32)
    for factory in (*FACTORIES.values(), lambda b: trace(b, nesterov=True), lambda b: ema(b, debias=False)):
        (u,), _ = run(factory(0.0), [g], g)
        assert_trees_close(u, g, rtol=0.0)


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_accumulator_dtype_is_stored_and_arithmetic_stays_wide(factory):
    grads = gradients(jnp.float32, 3)
    narrow, state = run(factory(B, accumulator_dtype="bfloat16"), grads, grads[0])
    wide, _ = run(factory(B), grads, grads[0])
    stored = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in stored} == {jnp.dtype("bfloat16")}
    assert_trees_close(narrow[0], wide[0])  # nothing stored has been read yet
    assert_trees_close(narrow[2], wide[2], rtol=2e-2)
    gap = jnp.max(jnp.abs(narrow[2]["layer"]["weight"] - wide[2]["layer"]["weight"]))
    assert float(gap) > 1e-5  # and a bfloat16 velocity is not a float32 one


def rosenbrock(p):
    """Rosenbrock's function in two leaves."""
    return (1 - p["x"]) ** 2 + 100 * (p["y"] - p["x"] ** 2) ** 2


def rosenbrock_gradient(x):
    return np.array([-2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)])


START, RATE, STEPS = np.array([-1.2, 1.0]), 2e-4, 100


def changed_variables():
    """Nesterov's method in the variable y = x + B v, transcribed: the list of (y, v) from the start on."""
    y, v = START.copy(), np.zeros(2)
    path = [(y, v)]
    for _ in range(STEPS):
        v_next = B * v - RATE * rosenbrock_gradient(y)
        y, v = y + v_next + B * (v_next - v), v_next
        path.append((y, v))
    return path


def as_tree(x):
    return {"x": jnp.asarray(x[0]), "y": jnp.asarray(x[1])}


def test_shifted_gradient_and_change_of_variables_make_one_sequence():
    made = shifted_momentum(RATE, decay=B)
    params = as_tree(START)
    state = made.init(params)
    step = jax.jit(lambda p, s: made.update(jax.tree.map(jnp.zeros_like, p), s, p, value_fn=rosenbrock))
    path = changed_variables()
    for y, v in path[1:]:
        u, state = step(params, state)
        params = optax.apply_updates(params, u)
        shifted = jax.tree.map(lambda p, w: p + B * w, params, state.velocity)
        assert_trees_close(state.velocity, as_tree(v), rtol=1e-10)
        assert_trees_close(shifted, as_tree(y), rtol=1e-12)
    moved = np.abs(path[-1][0] - START).max()
    assert moved > 0.3  # the identity was tested along a path, not at a point


def test_trace_with_nesterov_is_the_method_in_the_changed_variable():
    made = chain(trace(B, nesterov=True), scale_by_learning_rate(RATE))
    y = as_tree(START)
    state = made.init(y)
    for expected, _ in changed_variables()[1:]:
        u, state = made.update(as_tree(rosenbrock_gradient([float(y["x"]), float(y["y"])])), state, y)
        y = optax.apply_updates(y, u)
        assert_trees_close(y, as_tree(expected), rtol=1e-12)


def test_shifted_momentum_takes_a_schedule_and_shows_the_rate():
    made = shifted_momentum(lambda count: 0.1 / (1 + count), decay=0.5)
    x = jnp.array([4.0])
    state = made.init(x)
    # f = x^2 / 2: v1 = -0.1 * 4; v2 = 0.5 v1 - 0.05 (x1 + 0.5 v1), x1 = 4 + v1
    v1 = -0.4
    for rate, expected in [(0.1, v1), (0.05, 0.5 * v1 - 0.05 * (4.0 + v1 + 0.5 * v1))]:
        u, state = made.update(x, state, x, value_fn=lambda p: 0.5 * jnp.vdot(p, p))
        np.testing.assert_allclose(u, expected, rtol=1e-14)
        assert float(state.learning_rate) == rate
        x = x + u


def test_shifted_momentum_ignores_the_gradient_that_comes_in():
    made = shifted_momentum(0.1)
    x = jnp.array([1.0, 2.0])
    first, second = (
        made.update(g, made.init(x), x, value_fn=lambda p: jnp.sum(p**2))[0] for g in (x, jnp.full(2, jnp.nan))
    )
    np.testing.assert_array_equal(first, second)


def test_shifted_momentum_stores_its_velocity_as_asked():
    x = jnp.array([1.0, 2.0], jnp.float32)
    (u,), state = run(shifted_momentum(0.1, accumulator_dtype=jnp.bfloat16), [x], x, value_fn=lambda p: jnp.sum(p**2))
    assert (u.dtype, state.velocity.dtype) == (jnp.float32, jnp.bfloat16)


def test_shifted_momentum_says_what_is_missing():
    made, x = shifted_momentum(0.1), jnp.ones(2)
    with pytest.raises(ValueError, match=r"shifted_momentum: update needs params.*value_fn="):
        made.update(x, made.init(x), value_fn=jnp.sum)
    with pytest.raises(ValueError, match="shifted_momentum: update needs value_fn, got None"):
        made.update(x, made.init(x), x)
    with pytest.raises(TypeError, match="shifted_momentum: value_fn must be a function of params, got 3"):
        made.update(x, made.init(x), x, value_fn=3.0)


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_wrong_settings_are_named(factory):
    name = factory.__name__
    for wrong in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=rf"{name}: decay must be in \[0, 1\), got {wrong}"):
            factory(wrong)
    with pytest.raises(TypeError, match=f"{name}: decay must be a number"):
        factory("0.9")
    with pytest.raises(TypeError, match=f"{name}: accumulator_dtype must be None or a floating dtype"):
        factory(0.9, accumulator_dtype="int32")


def test_wrong_settings_of_shifted_momentum_are_named():
    with pytest.raises(ValueError, match=r"shifted_momentum: learning_rate must be in \[0, inf\), got -1"):
        shifted_momentum(-1.0)
    with pytest.raises(ValueError, match=r"shifted_momentum: decay must be in \[0, 1\), got 1"):
        shifted_momentum(0.1, decay=1.0)
    with pytest.raises(TypeError, match="shifted_momentum: accumulator_dtype"):
        shifted_momentum(0.1, accumulator_dtype=int)


def test_a_gradient_tree_unlike_the_parameters_names_the_path():
    params = nested_tree(jnp.float32)
    wrong = {**params, "layer": {**params["layer"], "bias": jnp.zeros(5, jnp.float32)}}
    for factory in FACTORIES.values():
        made = factory(0.9)
        with pytest.raises(ValueError, match=rf"{factory.__name__}: updates .*\['layer'\]\['bias'\].*\(5,\).*\(4,\)"):
            jax.eval_shape(made.update, wrong, made.init(params))
    made = shifted_momentum(0.1)
    with pytest.raises(ValueError, match=r"shifted_momentum: updates .*\['layer'\]\['bias'\].*\(5,\).*params.*\(4,\)"):
        made.update(wrong, made.init(params), params, value_fn=lambda p: p["gain"])

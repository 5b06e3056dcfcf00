# SPDX-License-Identifier: Apache-2.0
"""Directions made from differences, as plain transformations; the matrix itself is tested in tests/linalg."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import assert_trees_close, nested_tree, tolerance

import jopt
from jopt.linalg import limited_memory
from jopt.transforms.quasi_newton import PairDirection, from_pairs, scale_by_lbfgs


def gradient(x):
    """Return the gradient of the strictly convex function sum(log(cosh(x)) + (x - 1)^2 / 10)."""
    return jax.tree.map(lambda v: (np.tanh(v) + 0.2 * (v - 1)).astype(v.dtype), x)


def points(dtype, steps=15):
    """Return points and gradients, stacked: a sequence that no direction has any part in."""
    x = np.random.default_rng(0).standard_normal((steps, 8))
    return tuple(jnp.asarray(v, dtype) for v in (x, gradient(x)))


def nested_points(dtype, steps=15):
    x = [nested_tree(dtype, seed=i) for i in range(steps)]
    x = jax.tree.map(lambda *rows: np.stack(rows), *x)
    return x, gradient(x)


@functools.partial(jax.jit, static_argnums=0)
def scan(transformation, params, grads):
    first = jax.tree.map(lambda x: x[0], params)

    def step(state, point):
        u, state = transformation.update(point[1], state, point[0])
        return state, u

    return jax.lax.scan(step, transformation.init(first), (params, grads))


@pytest.mark.parametrize(
    ("product", "dtype"), [(None, jnp.float64), (limited_memory.gram, jnp.float64), (None, jnp.float32)]
)
def test_directions_are_those_of_optax(product, dtype):
    params, grads = nested_points(dtype)
    _, ours = scan(scale_by_lbfgs(4, product=product), params, grads)
    _, theirs = scan(optax.scale_by_lbfgs(4), params, grads)
    # optax shortens the first direction to length one; ours is the gradient.
    assert_trees_close(jax.tree.map(lambda x: x[0], ours), jax.tree.map(lambda x: x[0], grads), rtol=0)
    rest = [jax.tree.map(lambda x: x[1:].astype(dtype), u) for u in (ours, theirs)]
    assert_trees_close(*rest, rtol={"float32": 2e-4, "float64": 1e-10}[jnp.dtype(dtype).name])


# Settings -------------------------------------------------------------------------------------------------------------


def test_memory_is_the_number_of_pairs_that_count():
    params, grads = points(jnp.float64)

    def last(memory, start):
        rows = [jax.tree.map(lambda x: x[start:], t) for t in (params, grads)]
        state, u = scan(scale_by_lbfgs(memory), *rows)
        assert state.inner.curvatures.shape == (memory,)
        return u[-1]

    # of fifteen points the last five make four pairs
    np.testing.assert_allclose(last(4, 0), last(4, 10), rtol=1e-10)
    assert not np.allclose(last(5, 0), last(4, 0), rtol=1e-3)
    assert inspect.signature(scale_by_lbfgs).parameters["memory"].default == 10


@pytest.mark.parametrize(
    ("product", "size", "used"),
    [
        (None, 3, limited_memory.two_loop),
        (None, limited_memory.TWO_LOOP_MOST + 1, limited_memory.gram),
        (limited_memory.gram, 3, limited_memory.gram),
        (limited_memory.two_loop, limited_memory.TWO_LOOP_MOST + 1, limited_memory.two_loop),
    ],
)
def test_product_is_the_form_used(product, size, used):
    direction = scale_by_lbfgs(2, product=product)

    def jaxpr(update):
        x = jnp.zeros(size)
        s = limited_memory.empty(x, 2, product=used)
        return str(jax.make_jaxpr(update)(x, s, x, x))

    ours = jaxpr(lambda g, state, s, y: direction.pairs.update(g, state, s, y, jnp.bool_(True))[::-1])
    assert ours == jaxpr(lambda g, state, s, y: used(state, s, y, g))


@pytest.mark.parametrize("history_dtype", [None, "float64", "float32", jnp.bfloat16])
def test_history_dtype_is_the_dtype_of_the_pairs_alone(history_dtype):
    params, grads = points(jnp.float32)
    state, u = scan(scale_by_lbfgs(4, history_dtype=history_dtype), params, grads)
    stored = {x.dtype for x in jax.tree.leaves(limited_memory.stacked(state.inner))}
    assert stored == {jnp.dtype(history_dtype or "float32")}
    assert {x.dtype for x in jax.tree.leaves((u, state.params, state.grads, state.inner.gamma))} == {
        jnp.dtype("float32")
    }
    slopes = jax.vmap(lambda u, g: jopt.tree.vdot(u, g))(u, grads)
    assert bool(jnp.all(slopes > 0))
    # the setting makes a difference of the size of its rounding
    _, plain = scan(scale_by_lbfgs(4), params, grads)
    error = jnp.abs(u - plain).max() / jnp.abs(plain).max()
    assert (1e-4 < error < 0.2) if history_dtype is jnp.bfloat16 else (error < 1e-5)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"memory": 0}, ValueError, r"scale_by_lbfgs: memory must be a whole number >= 1, got 0"),
        ({"memory": -3}, ValueError, r"memory"),
        ({"memory": 2.0}, TypeError, r"memory.*float"),
        ({"memory": True}, TypeError, r"memory.*bool"),
        ({"product": "gram"}, TypeError, r"scale_by_lbfgs: product .* 'gram'"),
        ({"history_dtype": "int32"}, TypeError, r"scale_by_lbfgs: history_dtype .* 'int32'"),
        ({"history_dtype": "complex64"}, TypeError, r"history_dtype"),
        ({"history_dtype": "half a float"}, TypeError, r"history_dtype"),
    ],
)
def test_bad_settings_raise(settings, error, message):
    with pytest.raises(error, match=message):
        scale_by_lbfgs(**settings)


# Curvature safety -----------------------------------------------------------------------------------------------------


def double_well(x):
    return jnp.sum(x**4 / 4 - x**2 / 2)


def starts():
    """Return starts on both sides of the inflections at 1 / sqrt(3), where the curvature changes sign."""
    return jnp.asarray(np.random.default_rng(0).uniform(-1.5, 1.5, (40, 3))).at[0].set(jnp.array([0.1, -0.1, 0.05]))


def slopes_with_fixed_step(direction, step, steps=25):
    """Return <g, d> and |g| along runs with a fixed step, of shape (starts, steps)."""

    def run(x):
        def trip(carry, _):
            x, state = carry
            g = jax.grad(double_well)(x)
            u, state = direction.update(g, state, x)
            return (x - step * u, state), (-jnp.vdot(g, u), jnp.linalg.norm(g))

        return jax.lax.scan(trip, (x, direction.init(x)), length=steps)[1]

    slopes, norms = jax.jit(jax.vmap(run))(starts())
    return np.asarray(slopes), np.asarray(norms)


@pytest.mark.parametrize("product", [limited_memory.two_loop, limited_memory.gram])
def test_no_direction_ascends_with_a_fixed_step(product):
    for step in (0.1, 1.0):
        slopes, norms = slopes_with_fixed_step(scale_by_lbfgs(5, product=product), step)
        assert np.isfinite(slopes).all()
        assert (slopes[norms > 0] < 0).all()


def test_the_double_well_makes_optax_ascend():
    """Without this the tests of curvature safety would say nothing."""
    slopes, _ = slopes_with_fixed_step(optax.scale_by_lbfgs(5), 0.1)
    assert (slopes > 0).any()


@pytest.mark.parametrize(
    "search", [jopt.linesearch.backtracking(), jopt.linesearch.strong_wolfe()], ids=["Armijo", "Wolfe"]
)
@pytest.mark.parametrize("product", [limited_memory.two_loop, limited_memory.gram])
def test_no_direction_ascends_with_a_line_search(search, product):
    optimizer = jopt.chain(scale_by_lbfgs(5, product=product), jopt.scale_by_line_search(search))

    def run(x):
        def trip(carry, _):
            x, state = carry
            value, g = jax.value_and_grad(double_well)(x)
            u, state = optimizer.update(g, state, x, value=value, grad=g, value_fn=double_well)
            return (x + u, state), (state[-1].start_slope, jnp.linalg.norm(g), value)

        return jax.lax.scan(trip, (x, optimizer.init(x)), length=15)[1]

    slopes, norms, values = (np.asarray(v) for v in jax.jit(jax.vmap(run))(starts()))
    assert (slopes[norms > 0] < 0).all()
    assert (np.diff(values) <= 1e-12).all()
    assert np.median(norms[:, -1]) < 1e-6  # and the runs got somewhere


# From pairs to a plain transformation ---------------------------------------------------------------------------------


def differences():
    """Return a pair direction that shows what it is told: the gradient goes out, the rest is its state."""

    def update(grads, state, s, y, moved):
        del state
        return grads, (s, y, moved)

    return PairDirection(lambda p: (p, p, jnp.bool_(False)), update, lambda state, _: state)


def test_from_pairs_tells_the_differences_from_the_second_update_on():
    made = from_pairs("shown", differences())
    x, g = ([nested_tree(jnp.float32, seed=10 * i + k) for i in range(3)] for k in range(2))
    state = made.init(x[0])
    u, state = made.update(g[0], state, x[0])
    s, y, moved = state.inner
    assert_trees_close(u, g[0])
    assert not moved
    zeros = jax.tree.map(jnp.zeros_like, x[0])
    assert_trees_close((s, y), (zeros, zeros))
    for i in (1, 2):
        u, state = made.update(g[i], state, x[i])
        s, y, moved = state.inner
        assert_trees_close(u, g[i])
        assert moved
        assert_trees_close(s, jax.tree.map(jnp.subtract, x[i], x[i - 1]))
        assert_trees_close(y, jax.tree.map(jnp.subtract, g[i], g[i - 1]))
        assert_trees_close((state.params, state.grads), (x[i], g[i]))


def test_from_pairs_keeps_the_pair_form_for_solvers():
    direction = differences()
    assert from_pairs("shown", direction).pairs is direction
    assert isinstance(scale_by_lbfgs().pairs, PairDirection)
    assert jopt.scale(0.1).pairs is None


def test_wrong_trees_raise_with_the_path():
    made = scale_by_lbfgs()
    params = {"a": jnp.ones(2), "b": {"c": jnp.ones(3)}}
    state = made.init(params)
    with pytest.raises(ValueError, match="scale_by_lbfgs: update needs params"):
        made.update(params, state)
    wrong = {"a": jnp.ones(2), "b": {"c": jnp.ones(4)}}
    with pytest.raises(ValueError, match=r"scale_by_lbfgs: updates .*\['b'\]\['c'\].*\(4,\).*\(3,\)"):
        made.update(wrong, state, params)
    with pytest.raises(ValueError, match=r"scale_by_lbfgs: params .*\['b'\]\['c'\].*\(4,\).*\(3,\)"):
        made.update(wrong, state, wrong)
    with pytest.raises(TypeError, match=r"scale_by_lbfgs: params\['a'\].*int"):
        made.init({"a": jnp.arange(2)})
    with pytest.raises(ValueError, match="shown: update needs params"):
        from_pairs("shown", differences()).update(params, None)


def test_compiled_is_eager_and_lanes_are_a_loop():
    direction = scale_by_lbfgs(3)
    x = np.random.default_rng(0).standard_normal((2, 4, 5))  # lanes, updates, n
    x, g = jnp.asarray(x), jnp.asarray(gradient(x))
    _, together = jax.vmap(lambda x, g: scan(direction, x, g))(x, g)
    for lane in range(2):
        _, alone = scan(direction, x[lane], g[lane])
        np.testing.assert_allclose(together[lane], alone, rtol=1e-12, atol=1e-14)
    state = direction.init(x[0, 0])
    for i in range(2):
        u, state = direction.update(g[0, i], state, x[0, i])
        np.testing.assert_allclose(u, together[0, i], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "dtypes", [("float32", "float32"), ("bfloat16", "bfloat16"), ("float32", "float64"), ("bfloat16", "float64")]
)
def test_dtypes_and_structure_are_kept_under_strict_promotion(dtypes):
    a, b = dtypes
    params = {"a": jax.ShapeDtypeStruct((2, 3), a), "b": (jax.ShapeDtypeStruct((), b), jax.ShapeDtypeStruct((0,), a))}

    def described(t):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), t)

    with jax.numpy_dtype_promotion("strict"):
        for settings in ({}, {"product": limited_memory.gram}, {"history_dtype": "bfloat16"}):
            made = scale_by_lbfgs(2, **settings)
            state = jax.eval_shape(made.init, params)
            u, after = jax.eval_shape(made.update, params, state, params)
            assert described(after) == described(state)
            assert described(u) == described(params)


def test_numbers_and_weak_types_become_strong_arrays():
    made = scale_by_lbfgs(2)
    state = made.init(1.0)
    _, after = jax.eval_shape(lambda: made.update(jnp.asarray(2.0), state, 1.0))
    assert jax.tree.map(lambda x: (x.dtype, x.weak_type), after) == jax.tree.map(
        lambda x: (x.dtype, x.weak_type), state
    )


def test_a_gradient_that_is_not_finite_spoils_nothing_later():
    params, grads = points(jnp.float64)
    state, _ = scan(scale_by_lbfgs(4), params, grads)
    spoilt = jax.tree.map(lambda x: x.at[9].set(jnp.nan), grads)
    after, u = scan(scale_by_lbfgs(4), params, spoilt)
    assert int(after.inner.stored) == int(state.inner.stored) - 2  # the pairs on both sides of it
    assert bool(jnp.all(jnp.isfinite(u[10:])))


def test_half_precision_parameters_descend():
    params, grads = points(jnp.bfloat16)
    _, u = scan(scale_by_lbfgs(4), params, grads)
    assert {x.dtype for x in jax.tree.leaves(u)} == {jnp.dtype("bfloat16")}
    assert bool(jnp.all(jax.vmap(jopt.tree.vdot)(u, grads) > 0))
    _, exact = scan(scale_by_lbfgs(4), params.astype(jnp.float32), grads.astype(jnp.float32))
    # one more rounding, of the differences
    assert_trees_close(u.astype(jnp.float32), exact, rtol=5 * tolerance("bfloat16"))

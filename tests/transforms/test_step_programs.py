# SPDX-License-Identifier: Apache-2.0
"""What the compiled step of an optimizer holds: no array of the parameters' size beside its inputs and results."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jopt
from jopt.transforms import adaptive
from jopt.transforms.precision import is_zero, leafwise, times

SIZE = 100_000
NOTHING = 0.01  # of the parameters' bytes: scalars and the padding of buffers

# The half-precision mean is stored rounded, while the update reads the mean before it is rounded, hence the old one.
ROUNDED = 0.51
# The update reads b1 m + (1 - b1) g, which cannot be had from m' without losing digits where b2 < b1.
LEANING = 1.01
# Two results read one quotient or root, which a compiler does not compute twice.
SHARED = 1.01

RECIPES = [
    ("sgd", {}, NOTHING),
    ("sgd", {"momentum": 0.9}, NOTHING),
    ("momentum", {}, NOTHING),
    ("nesterov", {}, NOTHING),
    ("adagrad", {}, NOTHING),
    ("rmsprop", {}, NOTHING),
    ("rmsprop", {"centered": True}, NOTHING),
    ("rmsprop", {"momentum": 0.9}, NOTHING),
    ("rmsprop", {"momentum": 0.9, "nesterov": True}, SHARED),
    ("adam", {}, NOTHING),
    ("adam", {"mu_dtype": jnp.bfloat16}, ROUNDED),
    ("adamw", {}, NOTHING),
    ("nadam", {}, NOTHING),
    ("nadamw", {}, NOTHING),
    ("amsgrad", {}, NOTHING),
    ("adamax", {}, NOTHING),
    ("adadelta", {}, NOTHING),
    ("adadelta", {"weight_decay": 0.1}, SHARED),  # the decayed gradient
    ("lion", {}, NOTHING),
    ("lion", {"b2": 0.5}, LEANING),
]
STAGES = [
    (jopt.ema(0.9), NOTHING),
    (jopt.lookahead_momentum(0.9), NOTHING),
    (jopt.scale_by_rss(), NOTHING),
    (jopt.scale_by_stddev(), NOTHING),
    (jopt.scale_by_lp_adam(3.0), SHARED),
    (jopt.sign(), NOTHING),
]


def temporaries(optimizer):
    """Return the bytes a donated step holds beside its arguments and results, over those of the parameters."""

    def step(params_and_state, grads):
        params, state = params_and_state
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = jax.ShapeDtypeStruct((SIZE,), jnp.float32)
    state = jax.eval_shape(optimizer.init, params)
    program = jax.jit(step, donate_argnums=0).lower((params, state), params).compile()
    return program.memory_analysis().temp_size_in_bytes / (4 * SIZE)


@pytest.mark.parametrize(
    ("name", "settings", "most"), RECIPES, ids=lambda x: str(x) if isinstance(x, (str, dict)) else ""
)
def test_a_step_of_a_recipe_keeps_no_array_of_its_own_and_no_more_than_optax(name, settings, most):
    ours = temporaries(getattr(jopt, name)(1e-3, **settings))
    assert most - NOTHING - 0.5 <= ours <= most, ours
    if hasattr(optax, name):
        assert ours <= temporaries(getattr(optax, name)(1e-3, **settings)) + NOTHING


@pytest.mark.parametrize(("stage", "most"), STAGES, ids=lambda x: getattr(x, "name", ""))
def test_a_step_of_a_transformation_keeps_no_array_of_its_own(stage, most):
    assert temporaries(stage) <= most


def primitives(transformation, size=7):
    """Return the names of the operations on arrays in the update's program, in order."""
    params = jnp.ones(size)
    state = transformation.init(params)
    program = jax.make_jaxpr(transformation.update)(params, state, params)
    return [e.primitive.name for e in program.eqns if e.outvars[0].aval.shape == (size,)]


def test_what_is_literally_zero_or_one_is_not_in_the_program():
    assert primitives(jopt.add_decayed_weights(0.0)) == primitives(jopt.add_decayed_weights(0)) == []
    assert primitives(jopt.add_decayed_weights(0.1)) != []
    plain = jopt.chain(jopt.scale_by_adadelta(), jopt.scale_by_learning_rate(1.0))
    assert primitives(jopt.adadelta(1.0)) == primitives(plain)
    assert primitives(jopt.scale_by_rms()) == ["mul", "mul", "mul", "add", "add", "rsqrt", "mul"]
    assert primitives(jopt.scale_by_rms(eps_in_sqrt=False)) == ["mul", "mul", "mul", "add", "sqrt", "add", "div"]
    assert primitives(jopt.scale_by_rms(0.0)) == ["mul", "add", "rsqrt", "mul"]
    assert primitives(jopt.scale_by_rms(bias_correction=True)).count("mul") == 5


def test_weight_decay_of_zero_still_checks_its_mask_and_counts():
    stage = jopt.add_decayed_weights(0.0, {"x": True})
    params = {"y": jnp.ones(2)}
    with pytest.raises(ValueError, match="mask"):
        stage.update(params, stage.init(params), params)
    with pytest.raises(ValueError, match="params"):
        stage.update(params, stage.init(params))
    stage = jopt.add_decayed_weights(0.0)
    assert int(stage.update(params, stage.init(params), params)[1].count) == 1


def test_only_what_is_known_is_zero_or_one():
    assert is_zero(0.0)
    assert is_zero(0)
    assert is_zero(np.float32(0.0))
    assert not is_zero(1e-300)
    assert not is_zero(jnp.zeros(()))
    assert not is_zero(jnp.zeros_like)
    x = jnp.arange(3.0)
    assert times(1.0, x) is x
    np.testing.assert_array_equal(times(2.0, x), 2.0 * x)
    np.testing.assert_array_equal(times(jnp.ones(()), x), x)


def test_leaves_of_one_shape_are_traced_once_and_the_program_is_flat():
    calls = []

    def kernel(g, m, *, b, of_m):
        calls.append(g.shape)
        return of_m * (b * m + g), b * m + g

    tree = {"w": [jnp.ones((2, 3)) * i for i in range(5)], "b": [jnp.ones(3) * i for i in range(5)]}
    call = functools.partial(leafwise, "test", kernel)
    program = jax.make_jaxpr(lambda t, s: call(t, t, b=0.5, of_m=s))(tree, jnp.float64(2.0))
    assert sorted(calls) == [(2, 3), (3,)]
    assert {e.primitive.name for e in program.eqns} <= {"mul", "add", "convert_element_type"}
    calls.clear()
    eager = call(tree, tree, b=0.5, of_m=jnp.float64(2.0))
    assert len(calls) == 10
    jax.tree.map(np.testing.assert_array_equal, eager, jax.jit(lambda t, s: call(t, t, b=0.5, of_m=s))(tree, 2.0))


@pytest.mark.parametrize("rho", [0.0, 2.0**-10, 0.9375])  # 1 - rho is exact in float32
def test_adadelta_read_from_the_new_mean_is_that_read_from_the_old(rho):
    g, v, d = np.random.default_rng(0).lognormal(0.0, 6.0, (3, 500)).astype(np.float32)
    d = np.where(np.arange(500) % 2, d, 0).astype(np.float32)
    g64, v64, d64 = (np.asarray(x, np.longdouble) for x in (g, v, d))
    eps = 1e-6
    after = np.longdouble(rho) * v64 + (1 - np.longdouble(rho)) * g64**2
    expected = g64 * np.sqrt((d64 + eps) / (after + eps))
    for given in (rho, jnp.float32(rho)):
        u, v_, d_ = adaptive.adadelta_kernel(*map(jnp.asarray, (g, v, d)), rho=given, eps=eps)
        limit = 16 * float(jnp.finfo(jnp.float32).eps)
        np.testing.assert_allclose(np.asarray(v_, np.longdouble), after, rtol=limit)
        np.testing.assert_allclose(np.asarray(u, np.longdouble), expected, rtol=limit)
        np.testing.assert_allclose(np.asarray(d_), rho * d64 + (1 - rho) * expected**2, rtol=2 * limit)
        still = adaptive.adadelta_kernel(jnp.zeros(1), jnp.zeros(1), jnp.zeros(1), rho=given, eps=eps)
        assert all(x[0] == 0 for x in still)

# SPDX-License-Identifier: Apache-2.0
"""Rates from squared gradients: formulas in NumPy, optax, and what the docstrings promise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import DTYPES, assert_trees_close, gradients, nested_tree, run
from transcription import relative_difference, stored, transcribed

from jopt.transforms.adaptive import scale_by_adadelta, scale_by_rms, scale_by_rss, scale_by_stddev


def root(v, eps, eps_in_sqrt):
    return np.sqrt(v + eps) if eps_in_sqrt else np.sqrt(v) + eps


def rss(gs, initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True, nu_dtype=None):
    """ME 4.20-22."""
    s = stored(initial_accumulator_value, nu_dtype)
    for g in gs:
        s = s + g * g
        yield g / root(s, eps, eps_in_sqrt)
        s = stored(s, nu_dtype)


def rms(gs, decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False, nu_dtype=None):
    c, s = decay, initial_scale
    for t, g in enumerate(gs, 1):
        s = c * s + (1 - c) * g * g
        yield g / root(s / (1 - c**t) if bias_correction else s, eps, eps_in_sqrt)
        s = stored(s, nu_dtype)


def stddev(gs, decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False):
    """Graves (2013), equations 38-40, in long double because the difference of the two moments cancels."""
    c, m, n = np.longdouble(decay), np.longdouble(0), np.longdouble(initial_scale)
    for t, g in enumerate(np.asarray(gs, np.longdouble), 1):
        n, m = c * n + (1 - c) * g * g, c * m + (1 - c) * g
        k = 1 - c**t if bias_correction else 1
        yield g / root(np.maximum(n / k - (m / k) ** 2, 0), eps, eps_in_sqrt)


def adadelta(gs, rho=0.9, eps=1e-6, nu_dtype=None):
    """ME 4.38."""
    s = d = 0.0
    for g in gs:
        s = rho * s + (1 - rho) * g * g
        step = np.sqrt(d + eps) / np.sqrt(s + eps) * g
        d = rho * d + (1 - rho) * step * step
        yield step
        s, d = stored(s, nu_dtype), stored(d, nu_dtype)


RMS_OPTIONS = [{"decay": 0.5}, {"eps": 0.1}, {"initial_scale": 0.5}, {"bias_correction": True, "eps": 0.01}]
RMS_OPTIONS += [{"eps_in_sqrt": False, "eps": 0.1}]

CASES = [
    (scale_by_rss, rss, optax.scale_by_rss, [{}, {"initial_accumulator_value": 1.0}, {"eps": 0.1}]),
    (scale_by_rss, rss, None, [{"eps_in_sqrt": False, "eps": 0.1}]),
    (scale_by_rms, rms, optax.scale_by_rms, [{}, *RMS_OPTIONS]),
    (scale_by_stddev, stddev, optax.scale_by_stddev, [{}, *RMS_OPTIONS]),
    (scale_by_adadelta, adadelta, optax.scale_by_adadelta, [{}, {"rho": 0.5}, {"eps": 0.1}]),
]
TABLE = [
    pytest.param(ours, formula, theirs, options, id=f"{ours.__name__}-{options}")
    for ours, formula, theirs, variants in CASES
    for options in variants
]
FACTORIES = [scale_by_rss, scale_by_rms, scale_by_stddev, scale_by_adadelta]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ours", "formula", "theirs", "options"), TABLE)
def test_agrees_with_formula_and_with_optax(ours, formula, theirs, options, dtype):
    grads, params = gradients(dtype), nested_tree(dtype)
    updates, _ = run(ours(**options), grads, params)
    assert_trees_close(updates, transcribed(formula, grads, **options))
    if theirs is not None:
        assert_trees_close(updates, run(theirs(**options), grads, params)[0])


@pytest.mark.parametrize(("ours", "formula", "theirs", "options"), [case for case in TABLE if case.values[3]])
def test_option_matters(ours, formula, theirs, options):
    del formula, theirs
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    with_options, _ = run(ours(**options), grads, params)
    for left_out in options:
        others = {key: value for key, value in options.items() if key != left_out}
        assert relative_difference(with_options, run(ours(**others), grads, params)[0]) > 1e-3


@pytest.mark.parametrize(("ours", "formula"), [(scale_by_rss, rss), (scale_by_rms, rms), (scale_by_adadelta, adadelta)])
def test_moments_are_rounded_only_when_stored(ours, formula):
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    updates, state = run(ours(nu_dtype="bfloat16"), grads, params)
    assert_trees_close(updates, transcribed(formula, grads, nu_dtype=jnp.bfloat16))
    assert relative_difference(updates, run(ours(), grads, params)[0]) > 1e-4
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.dtype != jnp.int32]
    assert {leaf.dtype for leaf in moments} == {jnp.dtype(jnp.bfloat16)}


def test_stddev_stores_each_moment_in_the_dtype_asked_for():
    params = nested_tree(jnp.float32)
    _, state = run(scale_by_stddev(mu_dtype="bfloat16", nu_dtype="float64"), gradients(jnp.float32, 2), params)
    assert {x.dtype for x in jax.tree.leaves(state.mu)} == {jnp.dtype("bfloat16")}
    assert {x.dtype for x in jax.tree.leaves(state.var)} == {jnp.dtype("float64")}


def test_stddev_of_nearly_constant_gradients_keeps_its_digits():
    grads = [{"x": jnp.asarray([100.0, 1e4], jnp.float32) * (1 + 1e-4 * (-1) ** i)} for i in range(10)]
    for options in ({"eps": 1e-8}, {"eps": 1e-8, "bias_correction": True}, {"eps": 0.0}):
        updates, _ = run(scale_by_stddev(**options), grads, grads[0])
        # The difference of the two moments is round-off here, of either sign: its root is not a number.
        expected = transcribed(stddev, grads, **options)
        assert_trees_close(updates[1:], expected[1:], rtol=2e-3)
        assert options["eps"] == 0.0 or np.isfinite(updates[0]["x"]).all()


def test_stddev_of_constant_gradients_leaves_eps_alone():
    g = {"x": jnp.asarray([2.0, 1024.0], jnp.float32)}
    updates, _ = run(scale_by_stddev(bias_correction=True, eps=0.25), [g] * 20, g)
    assert_trees_close(updates, [{"x": 2.0 * g["x"]}] * 20)


def test_stddev_of_decay_zero_has_no_spread():
    g = {"x": jnp.asarray([1.0, -2.0])}
    for bias_correction in (False, True):
        updates, _ = run(scale_by_stddev(0.0, 0.25, bias_correction=bias_correction), [g, {"x": g["x"] + 1.0}], g)
        np.testing.assert_allclose(updates[1]["x"], [4.0, -2.0])


def test_textbook_adagrad_has_eps_inside_or_outside():
    g = {"x": jnp.asarray([3.0, -0.5])}
    inside = run(scale_by_rss(0.0, 0.01), [g, g], g)[0][1]["x"]
    outside = run(scale_by_rss(0.0, 0.01, eps_in_sqrt=False), [g, g], g)[0][1]["x"]
    s = 2 * np.asarray(g["x"]) ** 2
    np.testing.assert_allclose(inside, g["x"] / np.sqrt(s + 0.01), rtol=1e-12)
    np.testing.assert_allclose(outside, g["x"] / (np.sqrt(s) + 0.01), rtol=1e-12)


def test_adadelta_step_has_the_unit_of_the_parameters():
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    tiny = scale_by_adadelta(eps=1e-14)
    scaled = [jax.tree.map(lambda x: 1e3 * x, g) for g in grads]
    assert relative_difference(run(tiny, scaled, params)[0], run(tiny, grads, params)[0]) < 1e-6


ZERO_SAFE = [scale_by_rss(0.0, 0.0), scale_by_rms(eps=0.0), scale_by_stddev(eps=0.0)]
ZERO_SAFE += [scale_by_rms(eps=0.0, eps_in_sqrt=False, bias_correction=True), scale_by_adadelta()]
SMOOTH = [scale_by_rss(0.0), scale_by_rms(), scale_by_stddev(), scale_by_stddev(bias_correction=True)]


@pytest.mark.parametrize("transformation", ZERO_SAFE + SMOOTH, ids=repr)
def test_zero_gradient_gives_zero_update_and_finite_derivative(transformation):
    zero = jnp.zeros(3)
    state = transformation.init(zero)
    value, slope = jax.value_and_grad(lambda g: jnp.sum(transformation.update(g, state)[0]))(zero)
    assert value == 0.0
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("transformation", ZERO_SAFE, ids=repr)
def test_nan_is_not_taken_for_zero(transformation):
    g = jnp.asarray([jnp.nan, 1.0])
    updates, _ = run(transformation, [g, jnp.ones(2)], g)
    assert np.isnan([u[0] for u in updates]).all()
    assert np.isfinite([u[1] for u in updates]).all() or transformation.settings.get("eps") == 0.0


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes_are_kept_without_implicit_promotion(factory, dtype):
    params = {"narrow": jnp.ones(2, dtype), "wide": jnp.ones((), jnp.float64)}
    transformation = factory(bias_correction=True) if "bias" in repr(factory()) else factory()
    with jax.numpy_dtype_promotion("strict"):
        updates, state = run(transformation, [params] * 2, params)
    assert updates[1]["narrow"].dtype == dtype
    assert updates[1]["wide"].dtype == jnp.float64
    like = transformation.init(params)
    assert [x.dtype for x in jax.tree.leaves(state)] == [x.dtype for x in jax.tree.leaves(like)]


@pytest.mark.parametrize(("ours", "options"), [(case.values[0], case.values[3]) for case in TABLE])
def test_state_structure_does_not_depend_on_options(ours, options):
    params = nested_tree(jnp.float32)
    state = ours(**options).init(params)
    assert jax.tree.structure(state) == jax.tree.structure(ours().init(params))
    assert jax.tree.structure(ours(**options).update(params, state)[1]) == jax.tree.structure(state)


@pytest.mark.parametrize(
    ("factory", "argument"),
    [(f, a) for f in FACTORIES for a in ("decay", "rho") if a in f().settings],
)
@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_decay_outside_its_range_raises(factory, argument, value):
    with pytest.raises(ValueError, match=rf"{factory.__name__}: {argument} must be in \[0, 1\)"):
        factory(**{argument: value})


@pytest.mark.parametrize(
    ("factory", "argument"),
    [(f, a) for f in FACTORIES for a in ("eps", "initial_scale", "initial_accumulator_value") if a in f().settings],
)
@pytest.mark.parametrize("value", [-1e-8, float("inf"), float("nan")])
def test_small_number_outside_its_range_raises(factory, argument, value):
    with pytest.raises(ValueError, match=f"{factory.__name__}: {argument} must be in"):
        factory(**{argument: value})


def test_adadelta_without_eps_raises():
    with pytest.raises(ValueError, match=r"eps must be in .* With eps = 0 the first update is zero"):
        scale_by_adadelta(eps=0.0)


@pytest.mark.parametrize(
    ("factory", "argument"), [(f, a) for f in FACTORIES for a in ("mu_dtype", "nu_dtype") if a in f().settings]
)
@pytest.mark.parametrize("value", ["int32", "no such dtype"])
def test_dtype_that_is_not_floating_raises(factory, argument, value):
    with pytest.raises(TypeError, match=f"{factory.__name__}: {argument}"):
        factory(**{argument: value})


@pytest.mark.parametrize("factory", FACTORIES)
def test_gradients_unlike_the_state_raise_with_the_path(factory):
    params = {"a": jnp.ones((2, 3)), "b": jnp.ones(3)}
    state = factory().init(params)
    with pytest.raises(ValueError, match=rf"{factory.__name__}: updates .*\['a'\].*\(3,\).*\(2, 3\)"):
        factory().update({"a": jnp.ones(3), "b": jnp.ones(3)}, state)

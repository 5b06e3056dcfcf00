# SPDX-License-Identifier: Apache-2.0
"""Adam and its relatives: formulas in NumPy, optax, identities between them, and what the docstrings promise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import DTYPES, assert_trees_close, gradients, nested_tree, run, tolerance
from transcription import relative_difference, stored, transcribed

from jopt.transforms.adam import (
    p_norm,
    scale_by_adam,
    scale_by_adamax,
    scale_by_amsgrad,
    scale_by_lion,
    scale_by_lp_adam,
)

BFLOAT16 = jnp.bfloat16


def adam(
    gs,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    nu_dtype=None,
    bias_correction=True,
    nesterov=False,
):
    """ME Algorithm 4.2, and its Nadam."""
    b, c, v, s = b1, b2, 0.0, 0.0
    for t, g in enumerate(gs):
        v, s = b * v + (1 - b) * g, c * s + (1 - c) * g * g
        k0, k1, l0 = (1 - b ** (t + 1), 1 - b ** (t + 2), 1 - c ** (t + 1)) if bias_correction else (1, 1, 1)
        v_hat = b / k1 * v + (1 - b) / k0 * g if nesterov else v / k0
        yield v_hat / (np.sqrt(s / l0 + eps_root) + eps)
        v, s = stored(v, mu_dtype), stored(s, nu_dtype)


def amsgrad(
    gs,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    nu_dtype=None,
    bias_correction_mu=True,
    bias_correction_nu=True,
):
    """Reddi et al. (2018), Algorithm 2."""
    m, v, v_hat = 0.0, 0.0, 0.0
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        v_hat = np.maximum(v_hat, v / (1 - b2**t) if bias_correction_nu else v)
        yield m / (1 - b1**t if bias_correction_mu else 1) / (np.sqrt(v_hat + eps_root) + eps)
        m, v, v_hat = stored(m, mu_dtype), stored(v, nu_dtype), stored(v_hat, nu_dtype)


def lp_adam(gs, p, b1=0.9, b2=0.999, eps=1e-8, mu_dtype=None, nu_dtype=None):
    """ME 4.39-40, with the power itself, in long double, whose exponent has room for it."""
    c, v, s = np.longdouble(b2), 0.0, np.longdouble(0)
    for t, g in enumerate(gs, 1):
        v, s = b1 * v + (1 - b1) * g, c**p * s + (1 - c**p) * np.abs(g).astype(np.longdouble) ** p
        yield v / (1 - b1**t) / ((s / (1 - c ** (p * t))) ** (1 / np.longdouble(p)) + eps)
        v, s = stored(v, mu_dtype), stored((s ** (1 / np.longdouble(p))).astype(float), nu_dtype) ** np.longdouble(p)


def adamax(gs, b1=0.9, b2=0.999, eps=1e-8, mu_dtype=None, nu_dtype=None):
    """ME 4.41-42, with optax's place for eps."""
    v = r = 0.0
    for t, g in enumerate(gs, 1):
        v, r = b1 * v + (1 - b1) * g, np.maximum(b2 * r, np.abs(g) + eps)
        yield v / (1 - b1**t) / r
        v, r = stored(v, mu_dtype), stored(r, nu_dtype)


def lion(gs, b1=0.9, b2=0.99, mu_dtype=None):
    """Chen et al. (2023), Algorithm 2."""
    m = 0.0
    for g in gs:
        yield np.sign(b1 * m + (1 - b1) * g)
        m = stored(b2 * m + (1 - b2) * g, mu_dtype)


DECAYS = [{"b1": 0.5}, {"b2": 0.5}]
SMALLS = [{"eps": 0.1}, {"eps_root": 0.1}]
STORED = [{"mu_dtype": BFLOAT16}, {"nu_dtype": BFLOAT16}]
RAW = [{"bias_correction_mu": False}, {"bias_correction_nu": False}]

CASES = [
    (scale_by_adam, adam, optax.scale_by_adam, [{}, *DECAYS, *SMALLS, STORED[0], {"nesterov": True}]),
    (scale_by_adam, adam, None, [{"bias_correction": False}, {"nesterov": True, "bias_correction": False}, STORED[1]]),
    (scale_by_amsgrad, amsgrad, optax.scale_by_amsgrad, [{}, *DECAYS, *SMALLS, STORED[0], *RAW]),
    (scale_by_amsgrad, amsgrad, None, [STORED[1]]),
    (scale_by_lp_adam, lp_adam, None, [{"p": 3.0, **x} for x in ({}, *DECAYS, SMALLS[0], *STORED)]),
    (scale_by_lp_adam, lp_adam, None, [{"p": 1.0}, {"p": 1.5}, {"p": 8}]),
    (scale_by_adamax, adamax, optax.scale_by_adamax, [{}, *DECAYS, SMALLS[0]]),
    (scale_by_adamax, adamax, None, STORED),
    (scale_by_lion, lion, optax.scale_by_lion, [{}, *DECAYS, STORED[0]]),
]
TABLE = [
    pytest.param(ours, formula, theirs, options, id=f"{ours.__name__}-{options}")
    for ours, formula, theirs, variants in CASES
    for options in variants
]
FACTORIES = [scale_by_adam, scale_by_amsgrad, scale_by_lp_adam, scale_by_adamax, scale_by_lion]


def make(factory, **options):
    """Make a transformation, of order 3 where one is needed."""
    return factory(**({"p": 3.0} | options if factory is scale_by_lp_adam else options))


def stacked(trees):
    """Return one tree of the steps, whose leaves have the scale of the largest step."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


STATES = {
    scale_by_adam: ["count", "mu", "nu"],
    scale_by_amsgrad: ["count", "mu", "nu", "nu_max"],
    scale_by_lp_adam: ["count", "mu", "nu"],
    scale_by_adamax: ["count", "mu", "nu"],
    scale_by_lion: ["mu"],
}


def takes(*arguments):
    """Return the pairs of a factory and one of these arguments that it takes."""
    return [(f, a) for f in FACTORIES for a in arguments if a in make(f).settings]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ours", "formula", "theirs", "options"), TABLE)
def test_agrees_with_formula_and_with_optax(ours, formula, theirs, options, dtype):
    grads, params = gradients(dtype), nested_tree(dtype)
    updates, _ = run(ours(**options), grads, params)
    expected = transcribed(formula, grads, **options)
    rivals = run(theirs(**options), grads, params)[0] if theirs is not None else updates
    if not set(options) & {"mu_dtype", "nu_dtype"}:
        assert_trees_close(updates, expected)
        assert_trees_close(updates, rivals)
        return
    # A moment computed in float32 rounds to another bfloat16 than one computed in float64, now and then; and optax
    # multiplies the stored moment in bfloat16, before it adds to it in float32. Either is a bfloat16 error of the mean.
    for others in (expected, rivals):
        assert_trees_close(stacked(updates), stacked(others), tolerance(BFLOAT16))
    if dtype == jnp.float64:
        assert_trees_close(updates, expected)


@pytest.mark.parametrize(("ours", "formula", "theirs", "options"), [case for case in TABLE if case.values[3]])
def test_option_matters(ours, formula, theirs, options):
    del formula, theirs
    # Signs differ where a mean changes its sign: for that the weights must differ much.
    grads, params = gradients(jnp.float64, 30 if ours is scale_by_lion else 10), nested_tree(jnp.float64)
    grads = [jax.tree.map(lambda x: x + 0.01, g) for g in grads]
    with_options, _ = run(ours(**options), grads, params)
    for left_out in set(options) - {"p"}:
        others = {key: value for key, value in options.items() if key != left_out}
        least = 1e-4 if left_out.endswith("dtype") else 1e-2
        difference = relative_difference(with_options, run(ours(**others), grads, params)[0])
        assert difference > least or (ours is scale_by_lion and left_out == "mu_dtype")


@pytest.mark.parametrize(("factory", "argument"), takes("mu_dtype", "nu_dtype"))
def test_moments_are_stored_in_the_dtype_asked_for(factory, argument):
    params = nested_tree(jnp.float32)
    for stored_in in ("bfloat16", "float64"):
        updates, state = run(make(factory, **{argument: stored_in}), gradients(jnp.float32, 2), params)
        dtypes = {field: {x.dtype.name for x in jax.tree.leaves(value)} for field, value in state._asdict().items()}
        expected = {field: {"float32"} for field in state._fields} | {"count": {"int32"}}
        asked = ["mu"] if argument == "mu_dtype" else ["nu", "nu_max"]
        expected |= {field: {stored_in} for field in asked}
        assert dtypes == {field: expected[field] for field in STATES[factory]}
        assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype("float32")}


def test_order_two_is_adam_up_to_the_name_of_its_decay():
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    for c in (0.5, 0.999):
        updates, _ = run(scale_by_lp_adam(2.0, b2=c, eps=0.01), grads, params)
        assert_trees_close(updates, run(scale_by_adam(b2=c * c, eps=0.01), grads, params)[0])


def test_infinite_order_is_adamax():
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    updates, _ = run(scale_by_lp_adam(np.inf, eps=0.0), grads, params)
    assert_trees_close(updates, run(scale_by_adamax(eps=0.0), grads, params)[0])


def test_large_orders_approach_adamax():
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    limit, _ = run(scale_by_adamax(eps=0.0), grads, params)
    errors, orders = [], np.asarray([10.0, 100.0, 1000.0])
    for p in orders:
        errors.append(relative_difference(run(scale_by_lp_adam(p, eps=0.0), grads, params)[0], limit))
    # |log(r'/max)| <= (log 2 - log(1 - b2^p)) / p, and the correction of r' adds at most the last term once more.
    bounds = np.expm1((np.log(2) - 2 * np.log(1 - 0.999**orders)) / orders)
    assert np.all(errors < bounds)
    assert np.all(np.diff(errors) < 0)


@pytest.mark.parametrize("size", [100.0, 0.01])
def test_which_orders_leave_float32_and_that_ours_do_not(size):
    """The power |g|^p of the textbook's form overflows, or underflows, where p |log|g|| > 88.7, or 87.3."""
    grads = [{"x": jnp.asarray(x, jnp.float32)} for x in (size, 0.9 * size, 0.95 * size)]
    info = np.finfo(np.float32)
    last = int(np.log(info.max if size > 1 else info.tiny) / np.log(size))
    assert last == (19 if size > 1 else 18)
    for p in (2, last, last + 1, 64, 1000):
        with np.errstate(over="ignore", under="ignore"):
            power = np.float32(size) ** np.float32(p)
        assert (info.tiny <= power <= info.max) == (p <= last)
        updates, _ = run(scale_by_lp_adam(p), grads, grads[0])
        assert_trees_close(updates, transcribed(lp_adam, grads, p=p))


@pytest.mark.parametrize("p", [1.0, 2.0, 7.5, np.inf])
def test_p_norm_agrees_with_numpy_and_survives_zeros(p):
    a, b = np.random.default_rng(0).random((2, 20))
    expected = [np.linalg.norm(pair, ord=p) for pair in zip(a, b, strict=True)]
    np.testing.assert_allclose(p_norm(jnp.asarray(a), jnp.asarray(b), p), expected, rtol=1e-14)
    assert p_norm(jnp.zeros(()), jnp.zeros(()), p) == 0.0
    assert p_norm(jnp.zeros(()), jnp.asarray(3.0), p) == 3.0


def test_amsgrad_maximum_never_falls_and_adams_second_moment_does():
    grads = [{"x": jnp.asarray(x)} for x in (3.0, 0.1, 0.1, 0.1)]
    states = [run(scale_by_amsgrad(b2=0.5), grads[:n], grads[0])[1] for n in range(1, 5)]
    assert all(a.nu_max["x"] <= b.nu_max["x"] for a, b in itertools.pairwise(states))
    assert states[-1].nu["x"] < states[0].nu["x"]
    assert states[-1].nu_max["x"] == pytest.approx(9.0)


@pytest.mark.parametrize("options", [{"eps": 0.0}, {"eps": 0.0, "bias_correction": False}])
def test_first_step_of_adam_is_the_sign(options):
    g = nested_tree(jnp.float64)
    (update,), _ = run(scale_by_adam(**options), [g], g)
    factor = 1.0 if options.get("bias_correction", True) else 0.1 / np.sqrt(0.001)
    assert_trees_close(update, jax.tree.map(lambda x: factor * jnp.sign(x), g))


def test_textbook_adam_has_eps_inside_or_outside_the_root():
    g = {"x": jnp.asarray([3.0, -0.5])}
    inside = run(scale_by_adam(eps=0.0, eps_root=0.01), [g, g], g)[0][1]["x"]
    outside = run(scale_by_adam(eps=0.01), [g, g], g)[0][1]["x"]
    np.testing.assert_allclose(inside, g["x"] / np.sqrt(g["x"] ** 2 + 0.01), rtol=1e-12)
    np.testing.assert_allclose(outside, g["x"] / (abs(g["x"]) + 0.01), rtol=1e-12)


def test_decay_near_one_keeps_its_value_in_bfloat16_trees():
    assert jnp.bfloat16(0.999) == 1.0  # so that a formula in bfloat16 divides by zero
    params = nested_tree(jnp.bfloat16)
    grads = gradients(jnp.bfloat16)
    updates, state = run(scale_by_adam(nu_dtype="float32"), grads, params)
    exact = transcribed(adam, grads)
    assert_trees_close(updates, exact)
    assert {x.dtype for x in jax.tree.leaves(state.mu)} == {jnp.dtype(jnp.bfloat16)}


def test_long_runs_end_in_corrections_of_one():
    g = {"x": jnp.asarray([2.0, -3.0], jnp.float32)}
    for transformation in (scale_by_adam(), scale_by_adam(nesterov=True), scale_by_amsgrad(), scale_by_lp_adam(3.0)):
        state = transformation.init(g)._replace(count=jnp.int32(2**31 - 1), mu=g, nu={"x": jnp.asarray([4.0, 9.0])})
        updates, state = transformation.update(g, state)
        assert state.count == 2**31 - 1
        assert np.isfinite(updates["x"]).all()
    near = scale_by_adam(b2=1 - 1e-7, eps=0.0)  # 1 - b2 is two eps of float32
    (update,), _ = run(near, [g], g)
    np.testing.assert_allclose(update["x"], [1.0, -1.0], rtol=1e-5)


def test_settings_may_be_traced():
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    for factory, options in [(scale_by_adam, {"b1": 0.5, "b2": 0.75, "eps": 0.25}), (scale_by_adamax, {"b2": 0.5})]:
        injected = optax.inject_hyperparams(factory)(**options)
        assert_trees_close(run(injected, grads, params)[0], run(factory(**options), grads, params)[0])


ZERO_SAFE = [scale_by_adam(eps=0.0), scale_by_adam(eps=0.0, nesterov=True), scale_by_amsgrad(eps=0.0)]
ZERO_SAFE += [scale_by_lp_adam(3.0, eps=0.0), scale_by_adamax(eps=0.0), scale_by_lp_adam(np.inf, eps=0.0)]
SMOOTH = [scale_by_adam(eps_root=1e-8), scale_by_amsgrad(eps_root=1e-8), scale_by_adam(eps=0.0, eps_root=1e-8)]
SMOOTH += [scale_by_adamax(), scale_by_lp_adam(3.0), scale_by_lion()]


@pytest.mark.parametrize("transformation", ZERO_SAFE + SMOOTH, ids=repr)
def test_zero_gradient_gives_zero_update_and_finite_derivative(transformation):
    zero = jnp.zeros(3)
    state = transformation.init(zero)
    value, slope = jax.value_and_grad(lambda g: jnp.sum(transformation.update(g, state)[0]))(zero)
    assert value == 0.0
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("transformation", [scale_by_adam(), scale_by_amsgrad()], ids=repr)
def test_zero_gradient_gives_zero_update_by_default(transformation):
    (update,), _ = run(transformation, [jnp.zeros(3)], jnp.zeros(3))
    assert not update.any()


@pytest.mark.parametrize("transformation", ZERO_SAFE, ids=repr)
def test_nan_is_not_taken_for_zero(transformation):
    g = jnp.asarray([jnp.nan, 1.0])
    updates, _ = run(transformation, [g, jnp.ones(2)], g)
    assert np.isnan([u[0] for u in updates]).all()
    assert np.isfinite([u[1] for u in updates]).all()


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes_are_kept_without_implicit_promotion(factory, dtype):
    params = {"narrow": jnp.ones(2, dtype), "wide": jnp.ones((), jnp.float64)}
    options = {"nesterov": True} if factory is scale_by_adam else {}
    with jax.numpy_dtype_promotion("strict"):
        updates, state = run(make(factory, **options), [params] * 2, params)
    assert updates[1]["narrow"].dtype == dtype
    assert updates[1]["wide"].dtype == jnp.float64
    like = make(factory).init(params)
    assert [x.dtype for x in jax.tree.leaves(state)] == [x.dtype for x in jax.tree.leaves(like)]


@pytest.mark.parametrize(("ours", "options"), [(case.values[0], case.values[3]) for case in TABLE])
def test_state_structure_does_not_depend_on_options(ours, options):
    params = nested_tree(jnp.float32)
    state = ours(**options).init(params)
    assert jax.tree.structure(state) == jax.tree.structure(make(ours).init(params))
    assert jax.tree.structure(ours(**options).update(params, state)[1]) == jax.tree.structure(state)


@pytest.mark.parametrize(("factory", "argument"), takes("b1", "b2"))
@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_decay_outside_its_range_raises(factory, argument, value):
    with pytest.raises(ValueError, match=rf"{factory.__name__}: {argument} must be in \[0, 1\)"):
        make(factory, **{argument: value})


@pytest.mark.parametrize(("factory", "argument"), takes("eps", "eps_root"))
@pytest.mark.parametrize("value", [-1e-8, float("inf"), float("nan")])
def test_small_number_outside_its_range_raises(factory, argument, value):
    with pytest.raises(ValueError, match=f"{factory.__name__}: {argument} must be in"):
        make(factory, **{argument: value})


@pytest.mark.parametrize("p", [0.5, 0.0, -2.0, float("nan")])
def test_order_below_one_raises(p):
    with pytest.raises(ValueError, match="scale_by_lp_adam: p must be in"):
        scale_by_lp_adam(p)


@pytest.mark.parametrize(("factory", "argument"), takes("mu_dtype", "nu_dtype"))
@pytest.mark.parametrize("value", ["int32", "no such dtype"])
def test_dtype_that_is_not_floating_raises(factory, argument, value):
    with pytest.raises(TypeError, match=f"{factory.__name__}: {argument}"):
        make(factory, **{argument: value})

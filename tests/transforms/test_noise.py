# SPDX-License-Identifier: Apache-2.0
"""Annealed noise: its variance and annealing, independence, reproducibility, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import DTYPES, assert_trees_close, gradients, nested_tree, run

from jopt.transforms.noise import add_noise, standard_deviation

N = 100_000
SIGMAS = 5.0  # a sample variance of N normal draws has relative standard deviation sqrt(2 / N)


def noise(made, steps, shape=(N,), dtype=jnp.float32):
    return run(made, [jnp.zeros(shape, dtype)] * steps, jnp.zeros(shape, dtype))[0]


@pytest.mark.parametrize(("eta", "gamma"), [(0.3, 0.55), (4.0, 0.0), (1.0, 2.0)])
def test_variance_is_eta_over_a_power_of_the_step(eta, gamma):
    for t, z in enumerate(noise(add_noise(eta, gamma, 1), 3)):
        z_ = np.asarray(z, np.float64)
        expected = eta / (1 + t) ** gamma
        assert abs(z_.var() / expected - 1) < SIGMAS * (2 / N) ** 0.5
        assert abs(z_.mean()) < SIGMAS * (expected / N) ** 0.5
        kurtosis = (z_**4).mean() / expected**2
        assert abs(kurtosis - 3) < SIGMAS * (96 / N) ** 0.5  # Gaussian, not merely of that variance


def test_standard_deviation_known():
    t = jnp.asarray(3, jnp.int32)
    assert float(standard_deviation(4.0, 1.0, t, jnp.float64)) == 1.0
    assert float(standard_deviation(4.0, 0.0, t, jnp.float64)) == 2.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_optax_over_ten_steps(dtype):
    # the same keys in the same order, so that a run carried over keeps its noise
    params, grads = nested_tree(dtype), gradients(dtype)
    ours, theirs = (f(0.3, 0.55, jax.random.key(7)) for f in (add_noise, optax.add_noise))
    for actual, expected in zip(run(ours, grads, params)[0], run(theirs, grads, params)[0], strict=True):
        assert_trees_close(actual, expected)


def test_noise_is_a_function_of_the_key():
    first, again, other, same, raw = (
        noise(add_noise(1.0, 0.0, key), 1, (4,))[0] for key in (0, 0, 1, jax.random.key(0), jax.random.PRNGKey(0))
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(first, raw)
    assert not np.any(np.asarray(first) == np.asarray(other))


def test_leaves_and_steps_share_no_noise():
    g = {"a": jnp.zeros(8), "b": jnp.zeros(8)}
    updates, state = run(add_noise(1.0, 0.0, 0), [g] * 3, g)
    draws = np.concatenate([np.asarray(x) for u in updates for x in jax.tree.leaves(u)])
    assert len(np.unique(draws)) == draws.size
    before = add_noise(1.0, 0.0, 0).init(g)
    assert int(state.count) == 3
    assert not np.array_equal(*(jax.random.key_data(s.key) for s in (before, state)))


def test_a_stored_state_goes_on_with_the_same_noise():
    made, g = add_noise(1.0, 0.5, 3), jnp.zeros(4)
    whole, _ = run(made, [g] * 4, g)
    _, state = run(made, [g] * 2, g)
    u, _ = made.update(g, state)
    np.testing.assert_array_equal(u, whole[2])


def test_noise_is_added_to_the_gradient():
    made, g = add_noise(0.3, 0.0, 5), jnp.arange(4.0)
    (with_g,), (alone,) = (run(made, [x], g)[0] for x in (g, jnp.zeros(4)))
    np.testing.assert_allclose(with_g, g + alone, rtol=1e-15)


def test_eta_zero_adds_nothing():
    g = nested_tree(jnp.float32)
    assert_trees_close(run(add_noise(0.0, 0.55, 0), [g], g)[0][0], g, rtol=0.0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: add_noise(-1.0, 0.5, 0), ValueError, r"add_noise: eta must be in \[0, inf\), got -1"),
        (lambda: add_noise(1.0, -0.5, 0), ValueError, r"add_noise: gamma must be in \[0, inf\), got -0.5"),
        (lambda: add_noise("1", 0.5, 0), TypeError, "add_noise: eta must be a number"),
        (lambda: add_noise(1.0, None, 0), TypeError, "add_noise: gamma must be a number"),
        (lambda: add_noise(1.0, 0.5, 0.5), TypeError, "add_noise: key must be one random key"),
        (lambda: add_noise(1.0, 0.5, None), TypeError, "add_noise: key must be one random key"),
        (lambda: add_noise(1.0, 0.5, True), TypeError, "add_noise: key must be one random key"),
        (lambda: add_noise(1.0, 0.5, jax.random.split(jax.random.key(0))), TypeError, "must be one random key"),
        (lambda: add_noise(1.0, 0.5, jnp.zeros(2)), TypeError, "add_noise: key must be one random key"),
    ],
)
def test_wrong_setting_names_function_argument_value_and_range(make, error, message):
    with pytest.raises(error, match=message):
        make()

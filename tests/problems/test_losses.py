"""Losses and models against transcriptions, and where careless formulas overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jopt.problems import losses

RNG = np.random.default_rng(0)


def test_linear_and_network_are_their_formulas():
    x = RNG.standard_normal((5, 3))
    hidden = {"weight": RNG.standard_normal((3, 4)), "bias": RNG.standard_normal(4)}
    output = {"weight": RNG.standard_normal((4, 2)), "bias": RNG.standard_normal(2)}
    inner = x @ hidden["weight"] + hidden["bias"]
    np.testing.assert_allclose(losses.linear(hidden, x), inner, rtol=1e-13, atol=1e-13)
    expected = np.tanh(inner) @ output["weight"] + output["bias"]
    np.testing.assert_allclose(
        losses.network({"hidden": hidden, "output": output}, x), expected, rtol=1e-13, atol=1e-13
    )


def test_products_are_asked_for_at_highest_precision():
    layer = {"weight": jnp.ones((3, 2), "float32"), "bias": jnp.ones(2, "float32")}
    assert "HIGHEST" in str(jax.make_jaxpr(losses.linear)(layer, jnp.ones((4, 3), "float32")))


def test_binary_cross_entropy_is_minus_the_log_probability():
    z, y = jnp.asarray(RNG.standard_normal(6)), jnp.array([0, 1, 1, 0, 1, 0])
    expected = -np.where(y == 1, scipy.special.log_expit(z), scipy.special.log_expit(-z))
    np.testing.assert_allclose(losses.binary_cross_entropy(z, y), expected, rtol=1e-13)


def test_cross_entropy_is_minus_the_log_softmax():
    z, y = jnp.asarray(RNG.standard_normal((4, 3))), jnp.array([0, 2, 1, 2])
    expected = -scipy.special.log_softmax(z, axis=1)[np.arange(4), y]
    np.testing.assert_allclose(losses.cross_entropy(z, y), expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_and_gradients_stay_finite_and_exact_far_out(dtype):
    far = jnp.array([-1e4, 1e4], dtype)
    y = jnp.array([1, 0])

    @jax.jit
    def everything(z):
        rows = jnp.stack([z, z])
        binary, binary_back = jax.vjp(lambda z: losses.binary_cross_entropy(z, y), z)
        many, many_back = jax.vjp(lambda z: losses.cross_entropy(z, y), rows)
        ones = jnp.ones(2, dtype)
        return binary, binary_back(ones)[0], losses.binary_cross_entropy(z, 1 - y), many, many_back(ones)[0]

    expected = [1e4, 1e4], [-1.0, 1.0], [0.0, 0.0], [0.0, 2e4], [[0.0, 0.0], [-1.0, 1.0]]
    for found, known in zip(everything(far), expected, strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, known)


def test_penalty_is_half_the_weighted_sum_of_squares():
    assert float(losses.penalty(0.5, jnp.array([1.0, 2.0]), jnp.array([[3.0]]))) == 0.25 * 14
    with jax.numpy_dtype_promotion("strict"):
        assert losses.penalty(np.float64(0.5), jnp.ones(2, "float32")).dtype == "float32"


def test_accuracy_is_the_share_of_right_answers():
    outputs = jnp.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [0.0, 5.0]], "float32")
    share = losses.accuracy(outputs, jnp.array([1, 0, 0, 1], "int32"))
    assert float(share) == 0.75
    assert share.dtype == "float32"

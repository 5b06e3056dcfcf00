# SPDX-License-Identifier: Apache-2.0
"""Fisher products against the expectation written out over all labels, and against sums over examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import tolerance

from jopt.curvature import empirical_fisher, fisher, hessian
from jopt.linalg import dense

N, CLASSES = 5, 3
INPUTS = np.random.default_rng(0).standard_normal((N, 2))
LABELS = np.array([0, 2, 1, 1, 0])
X = np.random.default_rng(1).standard_normal((2, CLASSES))


def model(x):
    """Return logits that are not linear in x."""
    return jnp.tanh(jnp.asarray(INPUTS, x.dtype) @ x) * 2


def losses(x, labels=LABELS):
    return -jnp.take_along_axis(jax.nn.log_softmax(model(x)), jnp.asarray(labels)[:, None], axis=1)[:, 0]


jacobian_of_losses = jax.jit(jax.jacobian(losses))


def gradients(labels):
    return np.asarray(jacobian_of_losses(X, labels)).reshape(N, -1)


@jax.jit
def matrices(x):
    return {
        ("categorical", "mean"): dense(fisher(model, x), x),
        ("categorical", "sum"): dense(fisher(model, x, reduction="sum"), x),
        ("gaussian", "mean"): dense(fisher(model, x, family="gaussian", variance=0.25), x),
        ("gaussian", "sum"): dense(fisher(model, x, family="gaussian", reduction="sum"), x),
        ("empirical", "mean"): dense(empirical_fisher(losses, x), x),
        ("empirical", "sum"): dense(empirical_fisher(losses, x, reduction="sum"), x),
    }


@pytest.fixture(scope="module")
def expected():
    """Return the matrices by their definitions in NumPy."""
    p = np.asarray(jax.nn.softmax(model(jnp.asarray(X))))
    categorical = sum(np.einsum("i,ij,ik->jk", p[:, k], *[gradients(np.full(N, k))] * 2) for k in range(CLASSES))
    j = np.asarray(jax.jacobian(model)(jnp.asarray(X))).reshape(N * CLASSES, -1)
    given = gradients(LABELS)
    return {
        ("categorical", "mean"): categorical / N,
        ("categorical", "sum"): categorical,
        ("gaussian", "mean"): j.T @ j / 0.25 / N,
        ("gaussian", "sum"): j.T @ j,
        ("empirical", "mean"): given.T @ given / N,
        ("empirical", "sum"): given.T @ given,
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_those_of_the_definition(dtype, expected):
    for name, matrix in matrices(jnp.asarray(X, dtype)).items():
        bound = 20 * tolerance(dtype) * np.abs(expected[name]).max()
        np.testing.assert_allclose(matrix, expected[name], atol=bound, err_msg=str(name))
        np.testing.assert_allclose(matrix, matrix.T, atol=bound)
        assert np.linalg.eigvalsh(matrix).min() > -bound
        assert matrix.dtype == dtype


def test_where_logits_are_linear_it_is_the_hessian_of_the_cross_entropy_whatever_the_labels():
    @jax.jit
    def both(x):
        def logits(x):
            return jnp.asarray(INPUTS) @ x

        own = jnp.asarray(LABELS)[:, None] == jnp.arange(CLASSES)
        return dense(fisher(logits, x), x), hessian(lambda x: -jnp.sum(own * jax.nn.log_softmax(logits(x))) / N, x)

    np.testing.assert_allclose(*both(jnp.asarray(X)), atol=1e-14)


def test_the_empirical_matrix_vanishes_where_every_example_is_fitted_and_the_models_own_does_not():
    @jax.jit
    def both(x):
        own = fisher(lambda x: x[:, None] * jnp.array([1.0, 2.0]), x, family="gaussian")
        return empirical_fisher(lambda x: (x - 1.0) ** 2, x)(x), own(x)

    np.testing.assert_allclose(both(np.ones(2)), [[0.0, 0.0], [2.5, 2.5]])


def test_further_axes_of_logits_are_predictions_of_the_same_example():
    x = jnp.asarray(np.random.default_rng(2).standard_normal((2, 4, 3)))
    both = jax.jit(lambda x: (fisher(lambda x: x, x)(jnp.cos(x)), fisher(lambda x: x.reshape(8, 3), x)(jnp.cos(x)) * 4))
    np.testing.assert_allclose(*both(x), rtol=1e-12)


def test_further_arguments_and_half_precision():
    x = jnp.ones(3, jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"):
        product = jax.eval_shape(lambda x: fisher(lambda x, c: c * x[None], x, (jnp.bfloat16(2.0),))(x), x)
    assert product.dtype == jnp.bfloat16
    products = jax.jit(
        lambda x: [
            empirical_fisher(lambda x, c: c * x[None], x, (3.0,))(1.0),
            fisher(lambda x, c: c * x[None], x, (3.0,), family="gaussian")(1.0),
        ]
    )(np.float64(1.0))
    assert products == [9.0, 9.0]


def test_bad_arguments_raise():
    x = jnp.ones((2, 3))
    with pytest.raises(
        ValueError, match=r"fisher: family must be one of 'categorical', 'gaussian', .* Did you mean 'gaussian'"
    ):
        fisher(lambda x: x, x, family="Gaussian")
    with pytest.raises(ValueError, match="fisher: reduction must be one of 'mean', 'sum'"):
        fisher(lambda x: x, x, reduction="total")
    with pytest.raises(ValueError, match=r"fisher: variance must be in \(0, inf\], got 0"):
        fisher(lambda x: x, x, family="gaussian", variance=0)
    with pytest.raises(TypeError, match="fisher: model must return one array, got tuple"):
        fisher(lambda x: (x,), x)
    with pytest.raises(
        ValueError, match=r"fisher: model must return an array of shape \(examples, classes\), got shape \(3,\)"
    ):
        fisher(lambda x: x[0], x)
    with pytest.raises(
        ValueError, match=r"empirical_fisher: losses must return an array of shape \(examples,\), got shape \(\)"
    ):
        empirical_fisher(jnp.sum, x)
    with pytest.raises(ValueError, match="empirical_fisher: reduction must be one of"):
        empirical_fisher(lambda x: x, x, reduction="average")
    with pytest.raises(ValueError, match=r"fisher: v must be a tree like x.*\(3,\).*\(2, 3\)"):
        fisher(lambda x: x, x)(jnp.ones(3))

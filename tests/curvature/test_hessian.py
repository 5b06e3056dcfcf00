# SPDX-License-Identifier: Apache-2.0
"""The dense Hessian and its diagonal against JAX's own and against the textbook's formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import nested_tree, tolerance

from jopt import tree
from jopt.curvature import hessian, hessian_diagonal, hvp
from jopt.curvature.hessian import BATCH
from jopt.linalg import hutchinson
from jopt.problems import losses

X = np.random.default_rng(0).standard_normal((9, 3))
Y = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1])


def curved(x):
    return jnp.sum(jnp.tanh(x["layer"]["bias"] @ x["layer"]["weight"].T * x["gain"]) ** 3)


@jax.jit
def on_trees(x):
    vector, unravel = tree.ravel(x)
    return hessian(curved, x), hessian_diagonal(curved, x), jax.hessian(lambda v: curved(unravel(v)))(vector)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_and_columns_are_the_raveled_tree(dtype):
    x = nested_tree(jnp.dtype(dtype), seed=5)
    matrix, diagonal, expected = on_trees(x)
    bound = 10 * tolerance(dtype) * np.abs(expected).max()
    np.testing.assert_allclose(matrix, expected, atol=bound)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(tree.ravel(diagonal)[0], np.diag(expected), atol=bound)
    assert matrix.dtype == dtype
    assert jax.tree.map(jnp.result_type, diagonal) == jax.tree.map(jnp.result_type, x)


def test_logistic_regression_has_the_textbooks_hessian():
    w = np.array([0.3, -1.0, 2.0])

    def fun(w):
        return jnp.sum(losses.binary_cross_entropy(jnp.asarray(X) @ w, jnp.asarray(Y)))

    s = 1 / (1 + np.exp(-X @ w))
    np.testing.assert_allclose(jax.jit(lambda w: hessian(fun, w))(w), (X.T * (s * (1 - s))) @ X, rtol=1e-12)


def test_linear_regression_has_the_textbooks_hessian():
    matrix = jax.jit(lambda w: hessian(lambda w: jnp.sum((jnp.asarray(X) @ w - Y) ** 2), w))(np.zeros(3))
    np.testing.assert_allclose(matrix, 2 * X.T @ X, rtol=1e-13)


def test_more_entries_than_fit_one_batch():
    n = BATCH + 5
    c = jnp.arange(1.0, n + 1)

    @jax.jit
    def diagonal(x):
        return hessian_diagonal(lambda x: jnp.sum(c * x**3) + jnp.sum(x) ** 2, x)

    np.testing.assert_allclose(diagonal(c), 6 * c**2 + 2, rtol=1e-13)


def test_probing_is_hutchinsons_estimate_and_exact_where_the_hessian_is_diagonal():
    def fun(x, power):
        return jnp.sum(x**power) + jnp.prod(x), None

    @jax.jit
    def program(x):
        settings = {"key": 4, "samples": 3}
        return (
            hessian_diagonal(fun, x, (3,), method="probing", has_aux=True, **settings),
            hutchinson(hvp(fun, x, (3,), has_aux=True), x, **settings).diagonal,
            hessian_diagonal(fun, x, (3,), has_aux=True),
            hessian(fun, x, (3,), has_aux=True)[0],
            hessian_diagonal(lambda x: jnp.sum(x**3), x, method="probing", samples=1),
        )

    x = np.array([1.0, 2.0, 3.0])
    probed, expected, exact, row, separable = program(x)
    np.testing.assert_allclose(probed, expected, rtol=1e-14)
    assert np.abs(probed - 6 * x).max() > 0.1  # the product is not diagonal
    np.testing.assert_allclose(exact, 6 * x, rtol=1e-14)
    np.testing.assert_allclose(row, [6.0, 3.0, 2.0], rtol=1e-14)
    np.testing.assert_allclose(separable, 6 * x, rtol=1e-14)


def test_bad_arguments_raise():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="hessian_diagonal: method must be one of 'exact', 'probing', got 'exakt'"):
        hessian_diagonal(jnp.sum, x, method="exakt")
    with pytest.raises(ValueError, match="hessian_diagonal: samples must be a whole number >= 1"):
        hessian_diagonal(jnp.sum, x, method="probing", samples=0)
    with pytest.raises(TypeError, match="hessian_diagonal: key must be one random key"):
        hessian_diagonal(jnp.sum, x, method="probing", key=1.5)
    with pytest.raises(TypeError, match="hessian: fun must return a real floating scalar"):
        hessian(lambda x: x, x)
    with pytest.raises(TypeError, match="hessian: x must be real floating numbers"):
        hessian(jnp.sum, jnp.arange(2))

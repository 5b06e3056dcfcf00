# SPDX-License-Identifier: Apache-2.0
"""Gauss-Newton products against dense J'HJ, and where they equal the Hessian's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import tolerance

from jopt import tree
from jopt.bench.marker import copies, marker_p
from jopt.curvature import gauss_newton, hessian, normal_operator
from jopt.linalg import dense

RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.standard_normal((6, 2)), np.array([0, 2, 1, 1, 0, 2])


def point(dtype):
    rng = np.random.default_rng(1)
    return {"w": jnp.asarray(rng.standard_normal((2, 3)), dtype), "b": jnp.asarray(rng.standard_normal(3), dtype)}


def model(x):
    z = jnp.asarray(INPUTS, x["w"].dtype) @ x["w"] + x["b"]
    return {"scores": jnp.tanh(z), "size": jnp.sum(x["w"] ** 2)}


def loss(outputs):
    own = jnp.take_along_axis(outputs["scores"], jnp.asarray(LABELS)[:, None], axis=1)
    return jnp.mean(jax.nn.logsumexp(outputs["scores"], axis=1) - own[:, 0]) + outputs["size"] ** 2


def flat_jacobian(fun, x):
    vector, unravel = tree.ravel(x)
    return jax.jacobian(lambda vector: tree.ravel(fun(unravel(vector)))[0])(vector)


@jax.jit
def both(x):
    j = flat_jacobian(model, x)
    z, unravel = tree.ravel(model(x))
    h = jax.hessian(lambda z: loss(unravel(z)))(z)
    return dense(gauss_newton(model, loss, x), x), j.T @ h @ j, dense(normal_operator(model, x), x), j.T @ j


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_those_of_the_dense_matrices(dtype):
    g, expected, n, expected_n = map(np.asarray, both(point(dtype)))
    np.testing.assert_allclose(g, expected, atol=20 * tolerance(dtype) * np.abs(expected).max())
    np.testing.assert_allclose(n, expected_n, atol=20 * tolerance(dtype) * np.abs(expected_n).max())
    assert g.dtype == n.dtype == dtype
    for matrix in (g, n):
        scale = np.abs(matrix).max()
        np.testing.assert_allclose(matrix, matrix.T, atol=20 * tolerance(dtype) * scale)
        assert np.linalg.eigvalsh((matrix + matrix.T) / 2).min() > -20 * tolerance(dtype) * scale


def test_with_half_the_squared_norm_it_is_the_normal_operator_and_without_residual_the_hessian():
    x = point(jnp.float64)

    target = model(x)

    def squared(z):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(z)) / 2

    @jax.jit
    def matrices(x):
        def residual(x):
            return jax.tree.map(jnp.subtract, model(x), target)

        return (
            dense(gauss_newton(model, squared, x), x),
            dense(normal_operator(residual, x), x),
            hessian(lambda x: squared(residual(x)), x),
            hessian(lambda x: squared(model(x)), x),
        )

    g, n, fitted, unfitted = map(np.asarray, matrices(x))
    np.testing.assert_allclose(g, n, atol=1e-12)
    np.testing.assert_allclose(g, fitted, atol=1e-12)
    assert np.abs(g - unfitted).max() > 0.1  # the model's own curvature is left out


def test_the_model_stands_once_and_outside_the_loop_that_applies_it():
    def marked_model(x):
        return marker_p.bind(jnp.sin(x))

    def many_products(x, v):
        product = gauss_newton(marked_model, lambda z: jnp.sum(z**4), x)
        return jax.lax.fori_loop(0, 5, lambda _, v: product(v), v)

    assert copies(many_products, jnp.ones(3), jnp.ones(3)) == 1
    text = str(jax.make_jaxpr(many_products)(jnp.ones(3), jnp.ones(3)))
    assert "marker" not in text[text.index("scan[") :]


def test_further_arguments_reach_the_model():
    x = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(normal_operator(lambda x, c: c * x, x, (3.0,))(x), [9.0, 18.0])
    np.testing.assert_allclose(gauss_newton(lambda x, c: c * x, jnp.sum, x, (3.0,))(x), [0.0, 0.0])
    np.testing.assert_allclose(gauss_newton(lambda x, c: c * x, lambda z: jnp.sum(z**2), x, (3.0,))(x), [18.0, 36.0])


def test_a_mixed_tree_under_strict_promotion_keeps_its_dtypes():
    x = {"half": jnp.ones(2, "bfloat16"), "single": jnp.ones(3, "float32")}

    def residual(x):
        return [x["half"] ** 2, jnp.sum(x["half"].astype("float32")) * x["single"]]

    with jax.numpy_dtype_promotion("strict"):
        for operator in (
            lambda x: normal_operator(residual, x)(x),
            lambda x: gauss_newton(residual, lambda z: jnp.sum(z[0].astype("float32")) * jnp.sum(z[1]), x)(x),
        ):
            product = jax.eval_shape(operator, x)
            assert jax.tree.map(lambda x: x.dtype.name, product) == {"half": "bfloat16", "single": "float32"}


def test_bad_arguments_raise():
    x = jnp.ones(3)
    with pytest.raises(
        ValueError, match=r"normal_operator: residual must return the vector .* got a scalar of shape \(\)"
    ):
        normal_operator(lambda x: jnp.sum(x**2), x)
    with pytest.raises(TypeError, match="normal_operator: residual must be a function residual"):
        normal_operator(x, x)
    with pytest.raises(TypeError, match=r"gauss_newton: model must return real floating arrays, got int.* at \['k'\]"):
        gauss_newton(lambda x: {"k": jnp.arange(3), "z": x}, jnp.sum, x)
    with pytest.raises(TypeError, match=r"gauss_newton: loss must return a real floating scalar of shape \(\)"):
        gauss_newton(lambda x: x, lambda z: z, x)
    with pytest.raises(TypeError, match="gauss_newton: x must be real floating numbers"):
        gauss_newton(lambda x: x, jnp.sum, jnp.arange(3))
    with pytest.raises(ValueError, match=r"gauss_newton: v must be a tree like x.*\(2,\).*\(3,\)"):
        gauss_newton(lambda x: x, jnp.sum, x)(jnp.ones(2))

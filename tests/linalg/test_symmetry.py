# SPDX-License-Identifier: Apache-2.0
"""The measure of asymmetry against Frobenius norms, and the matrix of an operator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from operators_for_tests import SIZE, flat, on_trees, symmetric
from support import nested_tree, tolerance

from jopt import tree
from jopt.linalg import asymmetry, dense, symmetry_tolerance

SYMMETRIC = symmetric(np.linspace(-3.0, 7.0, SIZE))
GENERAL = np.random.default_rng(2).standard_normal((SIZE, SIZE))


@jax.jit
def measured(matrix, like):
    """Return the measure for many keys."""
    return jax.vmap(lambda key: asymmetry(on_trees(matrix, like), like, key))(KEYS)


KEYS = jax.random.split(jax.random.key(0), 400)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_tolerance_parts_symmetric_operators_from_others(dtype):
    like = nested_tree(jnp.dtype(dtype))
    limit = symmetry_tolerance(like)
    assert limit == float(jnp.finfo(dtype).eps) ** 0.5
    assert (measured(SYMMETRIC, like) < limit).all()
    assert (measured(GENERAL, like) > limit).mean() > (0.8 if dtype == "bfloat16" else 0.99)


@pytest.mark.parametrize("n", [10, 1000])
def test_the_measure_is_the_relative_frobenius_norm_whatever_the_dimension(n):
    shift = jax.jit(jax.vmap(lambda key: asymmetry(lambda v: jnp.roll(v, 1), jnp.zeros(n, jnp.float32), key)))
    # ||A - A'|| / (2 ||A||) = sqrt(2n) / (2 sqrt(n)); a normal variable has E|N| = sqrt(2 / pi).
    assert np.mean(shift(KEYS)) == pytest.approx(0.5**0.5 * (2 / np.pi) ** 0.5, rel=0.15)


def test_zero_is_symmetric_and_nan_is_unknown():
    times = jax.jit(lambda c: asymmetry(lambda v: c * v, jnp.zeros(3)))
    assert float(times(0.0)) == 0.0
    assert np.isnan(times(jnp.nan))


def test_squares_out_of_range_do_no_harm():
    like = nested_tree(jnp.float32)
    expected = measured(GENERAL, like)
    assert expected.dtype == jnp.float32
    for size in (1e-30, 1e30):
        np.testing.assert_allclose(measured(size * GENERAL, like), expected, atol=1e-5)


def test_the_matrix_of_an_operator_has_its_products_for_columns():
    like = nested_tree(jnp.float32)
    matrix = jax.jit(lambda like: dense(on_trees(GENERAL, like), like))(like)
    np.testing.assert_allclose(matrix, GENERAL, atol=tolerance("float32"))
    assert matrix.dtype == jnp.float32
    only_gain = jax.jit(lambda like: dense(lambda v: {**tree.zeros_like(v), "gain": v["layer"]["bias"][1]}, like))(like)
    place = np.flatnonzero(flat({**tree.zeros_like(like), "gain": jnp.float32(1.0)}))[0]
    column = np.flatnonzero(
        flat({**tree.zeros_like(like), "layer": {**tree.zeros_like(like["layer"]), "bias": jnp.eye(4)[1]}})
    )[0]
    assert np.argwhere(np.asarray(only_gain)).tolist() == [[place, column]]


def test_bad_arguments_raise():
    with pytest.raises(TypeError, match="asymmetry: operator must be a function"):
        asymmetry(jnp.eye(3), jnp.zeros(3))
    with pytest.raises(TypeError, match="asymmetry: key must be one random key"):
        asymmetry(lambda v: v, jnp.zeros(3), "0")
    with pytest.raises(ValueError, match=r"dense: operator\(v\) must be a tree like v.*\(2,\).*\(3,\)"):
        dense(lambda v: v[:2], jnp.zeros(3))
    with pytest.raises(TypeError, match=r"dense: like\[0\] must be real floating numbers"):
        dense(lambda v: v, [1])

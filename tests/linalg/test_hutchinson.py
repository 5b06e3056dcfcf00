# SPDX-License-Identifier: Apache-2.0
"""Hutchinson's estimates against the same probes in NumPy, and their error bars against theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from operators_for_tests import SIZE, flat, on_trees, rows, symmetric
from support import nested_tree, tolerance

from jopt.linalg import hutchinson, probes

MATRIX = symmetric(np.linspace(-3.0, 7.0, SIZE)) + np.triu(np.full((SIZE, SIZE), 0.1), 1)  # not symmetric


def test_estimates_are_means_over_the_probes_with_their_standard_errors():
    dtype = "float32"
    samples, like = 7, nested_tree(jnp.dtype(dtype))
    program = jax.jit(lambda x, key: hutchinson(on_trees(MATRIX, x), x, key, samples))
    estimate = program(like, 5)
    z = rows(jax.jit(jax.vmap(lambda key: probes.rademacher(key, like)))(jax.random.split(jax.random.key(5), samples)))
    own = z * (z @ MATRIX.T)
    close = {"rtol": 20 * tolerance(dtype), "atol": 20 * tolerance(dtype)}
    np.testing.assert_allclose(flat(estimate.diagonal), own.mean(axis=0), **close)
    np.testing.assert_allclose(flat(estimate.diagonal_error), own.std(axis=0, ddof=1) / samples**0.5, **close)
    np.testing.assert_allclose(estimate.trace, own.sum(axis=1).mean(), **close)
    np.testing.assert_allclose(estimate.trace_error, own.sum(axis=1).std(ddof=1) / samples**0.5, **close)
    assert estimate.trace.dtype == estimate.trace_error.dtype == dtype
    assert jax.tree.map(jnp.result_type, estimate.diagonal) == jax.tree.map(jnp.result_type, like)
    assert int(estimate.nhev) == samples
    assert float(program(like, 6).trace) != float(estimate.trace)


def test_the_error_bar_is_that_of_the_theory_and_covers_the_truth():
    samples = 4000
    a = jnp.asarray(MATRIX)
    estimate = jax.jit(lambda x: hutchinson(lambda v: a @ v, x, samples=samples))(jnp.zeros(SIZE))
    part = (MATRIX + MATRIX.T) / 2
    variance = 2 * (np.sum(part**2) - np.sum(np.diag(part) ** 2))
    assert float(estimate.trace_error) == pytest.approx((variance / samples) ** 0.5, rel=0.1)
    assert abs(float(estimate.trace) - np.trace(MATRIX)) < 4 * float(estimate.trace_error)
    assert (np.abs(estimate.diagonal - np.diag(MATRIX)) < 4.5 * np.asarray(estimate.diagonal_error)).all()


@jax.jit
def diagonal(d):
    return [hutchinson(lambda v: d * v, d, samples=samples) for samples in (1, 2)]


def test_a_diagonal_matrix_is_read_exactly():
    d = np.arange(1.0, 5.0)
    for estimate, error in zip(diagonal(d), (np.inf, 0.0), strict=True):
        np.testing.assert_array_equal(estimate.diagonal, d)
        assert float(estimate.trace) == 10.0
        assert float(estimate.trace_error) == error
        assert np.asarray(estimate.diagonal_error).tolist() == [error] * 4


def test_products_that_are_not_finite_give_nan():
    for estimate in diagonal(np.full(4, np.nan)):
        assert np.isnan([estimate.trace, estimate.trace_error]).all()
        assert np.isnan([estimate.diagonal, estimate.diagonal_error]).all()


def test_half_precision_is_accumulated_in_single_precision():
    d = jnp.full(4096, 1.0, jnp.bfloat16)  # in bfloat16 the sum would stop at 256
    estimate = jax.jit(lambda d: hutchinson(lambda v: d * v, d, samples=2))(d)
    assert float(estimate.trace) == 4096.0
    assert estimate.trace.dtype == jnp.float32
    assert estimate.diagonal.dtype == jnp.bfloat16


def test_bad_arguments_raise():
    x = jnp.zeros(3)
    with pytest.raises(ValueError, match="hutchinson: samples must be a whole number >= 1, got 0"):
        hutchinson(lambda v: v, x, samples=0)
    with pytest.raises(
        TypeError, match=r"hutchinson: key must be one random key such as jax.random.key\(0\), .* got 0\.5"
    ):
        hutchinson(lambda v: v, x, 0.5)
    with pytest.raises(TypeError, match="hutchinson: key must be one random key"):
        hutchinson(lambda v: v, x, jax.random.split(jax.random.key(0)))
    with pytest.raises(TypeError, match="hutchinson: like must be real floating numbers"):
        hutchinson(lambda v: v, jnp.arange(3))
    with pytest.raises(ValueError, match=r"hutchinson: operator\(v\) must be a tree like v"):
        hutchinson(lambda v: (v,), x)

# SPDX-License-Identifier: Apache-2.0
"""Dense least squares against NumPy's, and the limits of the damping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.linalg.dense_least_squares import damped_solution, least_norm_solution

rng = np.random.default_rng(5)
A, B = rng.standard_normal((7, 4)), rng.standard_normal(7)
D = np.array([2.0, 1.0, 0.1, 30.0])
damped = jax.jit(damped_solution)


def oracle(a, b, damping, scale):
    stacked = np.vstack([a, np.sqrt(damping) * np.diag(scale)])
    return np.linalg.lstsq(stacked, np.concatenate([b, np.zeros(a.shape[1])]), rcond=None)[0]


@pytest.mark.parametrize("damping", [0.0, 1e-8, 0.5, 1e6])
def test_damped_solution_is_that_of_the_stacked_system(damping):
    np.testing.assert_allclose(damped(A, B, damping, D), oracle(A, B, damping, D), rtol=1e-10)


def test_fewer_rows_than_columns():
    a = A.T[:2]
    np.testing.assert_allclose(damped_solution(a, B[:2], 0.1), oracle(a, B[:2], 0.1, np.ones(7)), rtol=1e-10)
    np.testing.assert_allclose(least_norm_solution(a, B[:2]), np.linalg.pinv(a) @ B[:2], rtol=1e-10)


def test_limits_of_the_damping():
    np.testing.assert_allclose(damped(A, B, 1e-14, D), least_norm_solution(A, B), rtol=1e-8)
    np.testing.assert_allclose(1e12 * damped(A, B, 1e12, D), D**-2 * (A.T @ B), rtol=1e-6)


def test_the_condition_number_is_not_squared():
    a = A[:, :2] @ np.array([[1.0, 1.0], [0.0, 1e-9]])  # cond 1e9, its square beyond float64
    x = np.array([1.0, 1.0])
    np.testing.assert_allclose(damped_solution(a, a @ x, 0.0), x, rtol=1e-5)


def test_least_norm_solution_is_numpys_whatever_the_rank():
    for a in (A, A @ np.diag([1.0, 0, 1, 1]), np.outer(B, D), np.zeros((7, 4))):
        np.testing.assert_allclose(
            least_norm_solution(a, B), np.linalg.lstsq(a, B, rcond=None)[0], rtol=1e-9, atol=1e-12
        )


def test_float32_stays():
    out = damped_solution(A.astype(np.float32), B.astype(np.float32), 0.5, D.astype(np.float32))
    assert out.dtype == jnp.float32
    assert least_norm_solution(A.astype(np.float32), B.astype(np.float32)).dtype == jnp.float32

# SPDX-License-Identifier: Apache-2.0
"""The exact minimiser in a ball by its optimality conditions, and Powell's dogleg by its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.linalg.dogleg import follow_dogleg
from jopt.linalg.more_sorensen import decompose, minimise_in_ball

SOLVE = jax.jit(lambda a, g, radius: minimise_in_ball(decompose(a, g), radius))
DOGLEG = jax.jit(lambda a, g, radius: follow_dogleg(decompose(a, g), radius))


def problem(seed, shift):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((4, 4))
    return a + a.T + shift * np.eye(4), rng.standard_normal(4)


def model(a, g, p):
    return g @ p + p @ a @ p / 2


def check_optimality(a, g, radius, found, rtol=1e-9):
    """Assert the conditions of Moré and Sorensen (1983), Lemma 2.1, which hold exactly at a minimiser."""
    p, s = np.asarray(found.step), float(found.shift)
    size = np.linalg.norm(g) + np.linalg.norm(a) * radius
    assert np.linalg.norm(p) <= radius * (1 + 1e-12)
    np.testing.assert_allclose((a + s * np.eye(len(g))) @ p, -g, atol=rtol * size)
    assert s >= 0
    assert np.linalg.eigvalsh(a)[0] + s >= -rtol * np.linalg.norm(a)
    assert s * (radius - np.linalg.norm(p)) <= rtol * size
    assert float(found.decrease) == pytest.approx(-model(a, g, p), rel=1e-9, abs=1e-12 * size)
    assert float(found.slope) == pytest.approx(g @ p, rel=1e-9, abs=1e-12 * size)
    assert float(found.norm) == pytest.approx(np.linalg.norm(p), rel=1e-12)


@pytest.mark.parametrize("radius", [1e-6, 0.1, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("shift", [-5.0, 0.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_conditions_of_a_minimiser_hold(seed, shift, radius):
    a, g = problem(seed, shift)
    check_optimality(a, g, radius, SOLVE(a, g, radius))


def test_newtons_point_inside_the_ball():
    a, g = problem(0, 8.0)
    found = SOLVE(a, g, 30.0)
    np.testing.assert_allclose(found.step, np.linalg.solve(a, -g), rtol=1e-10)
    assert float(found.shift) == 0.0


@pytest.mark.parametrize("radius", [0.5, 2.0, 100.0])
def test_the_hard_case_fills_up_along_the_eigenvector(radius):
    a, g = np.diag([-2.0, 1.0, 3.0, 4.0]), np.array([0.0, 0.3, 0.0, 0.9])
    found = SOLVE(a, g, radius)
    check_optimality(a, g, radius, found, rtol=1e-7)
    assert np.linalg.norm(found.step) == pytest.approx(radius, rel=1e-9)
    assert abs(float(found.step[0])) > 0.1 * radius


def test_at_a_saddle_without_gradient_the_step_goes_down():
    found = SOLVE(np.diag([-2.0, 1.0, 3.0, 4.0]), np.zeros(4), 0.5)
    np.testing.assert_allclose(np.abs(found.step), [0.5, 0, 0, 0], atol=1e-9)


@pytest.mark.parametrize("gap", [1e-12, 1e-8, 1e-4])
def test_near_the_hard_case(gap):
    a, g = np.diag([-2.0, 1.0, 3.0, 4.0]), np.array([gap, 0.3, 0.0, 0.9])
    found = SOLVE(a, g, 10.0)
    check_optimality(a, g, 10.0, found, rtol=1e-6)


def test_a_matrix_of_zeros_gives_the_steepest_step():
    g = np.array([3.0, 4.0])
    for solve in (SOLVE, DOGLEG):
        np.testing.assert_allclose(solve(np.zeros((2, 2)), g, 0.1).step, -g / 50, rtol=1e-9)


def test_the_shorter_the_ball_the_nearer_to_steepest_descent():
    a, g = problem(1, 8.0)
    p = np.asarray(SOLVE(a, g, 1e-7).step)
    np.testing.assert_allclose(p / np.linalg.norm(p), -g / np.linalg.norm(g), atol=1e-6)


def test_in_float32_the_boundary_is_met():
    a, g = problem(0, -5.0)
    found = SOLVE(jnp.asarray(a, jnp.float32), jnp.asarray(g, jnp.float32), jnp.float32(2.0))
    assert found.step.dtype == jnp.float32
    assert float(found.norm) == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_dogleg_is_the_last_point_of_its_path_within_the_ball(seed):
    a, g = problem(seed, 8.0)
    newton = np.linalg.solve(a, -g)
    cauchy = -g * (g @ g) / (g @ a @ g)
    n, c = np.linalg.norm(newton), np.linalg.norm(cauchy)
    np.testing.assert_allclose(DOGLEG(a, g, 1.1 * n).step, newton, rtol=1e-10)
    np.testing.assert_allclose(DOGLEG(a, g, 0.5 * c).step, cauchy / 2, rtol=1e-10)
    between = DOGLEG(a, g, (n + c) / 2)
    assert np.linalg.norm(between.step) == pytest.approx((n + c) / 2, rel=1e-9)
    along = (np.asarray(between.step) - cauchy) / (newton - cauchy)
    np.testing.assert_allclose(along, along[0], rtol=1e-6)
    assert 0 < along[0] < 1
    assert float(between.decrease) == pytest.approx(-model(a, g, np.asarray(between.step)), rel=1e-9)
    assert model(a, g, np.asarray(between.step)) < model(a, g, cauchy)


def test_the_dogleg_takes_absolute_eigenvalues():
    a, g = np.diag([-4.0, 2.0]), np.array([1.0, 1.0])
    np.testing.assert_allclose(DOGLEG(a, g, 10.0).step, [-0.25, -0.5], rtol=1e-10)
    assert float(DOGLEG(a, g, 10.0).decrease) == pytest.approx(0.375, rel=1e-10)

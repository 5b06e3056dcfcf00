"""Quadratics: spectrum, position, terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt import problems


@pytest.mark.parametrize(("n", "condition"), [(2, 1.0), (7, 1e6)])
def test_eigenvalues_go_in_equal_ratios_from_one_to_the_condition(n, condition):
    problem = problems.quadratic(n, condition=condition)
    hessian = jax.jit(jax.hessian(problem.fun))(problem.start())
    np.testing.assert_array_equal(problem.hessian, problem.hessian.T)
    np.testing.assert_allclose(hessian, problem.hessian, rtol=1e-12, atol=1e-14 * condition)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), np.geomspace(1.0, condition, n), rtol=1e-14 * n * condition)


def test_value_and_gradient_are_those_of_the_matrix():
    problem = problems.quadratic(6, condition=50.0)
    shift = np.linspace(-1, 1, 6)
    x = jnp.asarray(problem.minimisers[0] + shift)
    value, gradient = jax.jit(jax.value_and_grad(problem.fun))(x)
    np.testing.assert_allclose(value, shift @ problem.hessian @ shift / 2, rtol=1e-13)
    np.testing.assert_allclose(gradient, problem.hessian @ shift, rtol=1e-12)
    np.testing.assert_array_equal(problem.starts[0], np.zeros(6))


def test_eigenvectors_and_minimiser_are_in_general_position_and_follow_the_seed():
    one, same, other = (problems.quadratic(4, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.hessian, same.hessian)
    assert np.abs(one.hessian - other.hessian).max() > 0.1
    assert np.abs(one.minimisers[0] - other.minimisers[0]).max() > 0.1
    assert np.abs(one.hessian - np.diag(np.diag(one.hessian))).max() > 0.1


@pytest.mark.parametrize("name", ["booth", "finite_sum"])
def test_recorded_constant_hessian(name):
    problem = problems.get(name)
    np.testing.assert_allclose(jax.jit(jax.hessian(problem.fun))(problem.start()), problem.hessian, rtol=1e-14)


@pytest.mark.parametrize(
    "settings", [{"n": 1}, {"condition": 0.5}, {"condition": 1e17}, {"condition": np.nan}, {"seed": -1}]
)
def test_quadratic_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=f"quadratic: {next(iter(settings))} must be"):
        problems.quadratic(**settings)


def test_terms_are_the_single_quadratics_and_their_mean_is_the_value():
    a, u = [1.0, 2.0, 4.0], [[0.0, 1.0], [2.0, -1.0], [1.0, 3.0]]
    problem = problems.finite_sum(a, u)
    x = jnp.array([0.5, -2.0])
    expected = [1 * 0.25 + 9, 2 * 2.25 + 1, 4 * 0.25 + 25]
    np.testing.assert_allclose(problem.terms(x), expected, rtol=1e-15)
    np.testing.assert_allclose(problem.terms(x, jnp.array([2, 2, 0])), np.take(expected, [2, 2, 0]), rtol=1e-15)
    np.testing.assert_allclose(problem.terms(x, index=1), expected[1], rtol=1e-15)
    np.testing.assert_allclose(problem.fun(x), np.mean(expected), rtol=1e-15)
    assert problem.n_terms == 3


def test_minimum_of_the_sum_is_the_least_squares_solution():
    a, u = np.array([1.0, 2.0, 4.0]), np.array([[0.0, 1.0], [2.0, -1.0], [1.0, 3.0]])
    problem = problems.finite_sum(a, u)
    design = np.kron(np.eye(2), np.ones((3, 1))) * np.concatenate([np.sqrt(a), np.ones(3)])[:, None]
    target = np.concatenate([np.sqrt(a) * u[:, 0], u[:, 1]])
    solution, squares, *_ = np.linalg.lstsq(design, target)
    np.testing.assert_allclose(problem.minimisers[0], solution, rtol=1e-14)
    np.testing.assert_allclose(problem.minimum, squares[0] / 3, rtol=1e-14)
    np.testing.assert_allclose(problem.fun(problem.minimiser()), problem.minimum, rtol=1e-15)


def test_equal_centres_interpolate():
    problem = problems.finite_sum([1.0, 3.0], [[1.0, 2.0]] * 2)
    assert problem.minimum == 0.0
    np.testing.assert_array_equal(jax.jit(jax.jacobian(problem.terms))(problem.minimiser()), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("a", "u", "message"),
    [
        ([1.0, 2.0], [[0.0, 0.0]], r"shapes \(n,\) and \(n, 2\), n >= 1, got \(2,\) and \(1, 2\)"),
        ([], np.zeros((0, 2)), "n >= 1"),
        ([[1.0]], [[0.0, 0.0]], "shapes"),
        ([0.0], [[0.0, 0.0]], "positive"),
        ([np.inf], [[0.0, 0.0]], "finite"),
        ([1.0], [[np.nan, 0.0]], "finite"),
    ],
)
def test_finite_sum_settings_out_of_range_are_refused(a, u, message):
    with pytest.raises(ValueError, match=f"finite_sum: a .*{message}"):
        problems.finite_sum(a, u)

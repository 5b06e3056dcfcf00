# SPDX-License-Identifier: Apache-2.0
"""Derivatives of a solve within bounds: held entries go with their bound, free ones by the reduced system."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt

pytestmark = pytest.mark.slow  # compiles many programs

MATRIX = np.random.default_rng(1).standard_normal((5, 5))
HESSIAN = jnp.asarray(MATRIX @ MATRIX.T + np.eye(5))
DATA = jnp.asarray([1.0, -2.0, 3.0, 0.5, 1.5])
LOWER = jnp.asarray([-jnp.inf, 0.1, -1.0, 0.0, 0.3])
UPPER = jnp.asarray([0.2, 3.0, jnp.inf, 1.0, 0.3])  # the last one is fixed


def quadratic(x, data):
    return 0.5 * x @ HESSIAN @ x - data @ x + 0.1 * jnp.sum(x**4), {"double": 2 * x * data}


@functools.partial(jax.jit, static_argnums=3)
def solution(data, lower, upper, trust=False):
    solve = functools.partial(jopt.minimize, quadratic, jnp.zeros(5), method="lbfgs", has_aux=True, gtol=1e-11)
    result = solve((data,), bounds=(lower, upper), trust_unconverged=trust)
    return {"x": result.x, "fun": result.fun, "jac": result.jac, "aux": result.aux["double"]}


SOLVED = {}


def at_the_solution():
    """Return x, which entries are held at the lower and the upper bound, and the Hessian there."""
    if not SOLVED:
        SOLVED.update(jax.tree.map(np.asarray, solution(DATA, LOWER, UPPER)))
    x, g = SOLVED["x"], SOLVED["jac"]
    low, high = (x == LOWER) & ((g > 0) | (np.asarray(LOWER) == UPPER)), (x == UPPER) & (g < 0)
    return x, low, high & ~low, np.asarray(HESSIAN) + np.diag(1.2 * x**2)


def test_the_case_has_entries_of_every_kind():
    x, low, high, _ = at_the_solution()
    assert low.sum() >= 2
    assert high.sum() >= 1
    assert (~low & ~high).sum() >= 1
    assert np.all((x >= LOWER) & (x <= UPPER))


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev], ids=["forward", "reverse"])
def test_closed_form_in_the_data_and_in_both_bounds(jacobian):
    _, low, high, hessian = at_the_solution()
    held, free = low | high, ~(low | high)
    in_data, in_low, in_high = jacobian(lambda *a: solution(*a)["x"], (0, 1, 2))(DATA, LOWER, UPPER)
    inverse = np.zeros((5, 5))
    inverse[np.ix_(free, free)] = np.linalg.inv(hessian[np.ix_(free, free)])
    with_bounds = np.diag(held.astype(float)) - inverse @ (hessian * held)
    np.testing.assert_allclose(in_data, inverse, atol=1e-8)
    np.testing.assert_allclose(in_low, with_bounds * low, atol=1e-8)
    np.testing.assert_allclose(in_high, with_bounds * high, atol=1e-8)


def test_finite_differences_of_every_field_along_a_common_direction():
    rng = np.random.default_rng(2)
    dots = [jnp.asarray(rng.standard_normal(5)) for _ in range(2)]
    dots.append(dots[1])  # fixed entries stay fixed
    point = (DATA, LOWER, UPPER)
    tangent = jax.jvp(solution, point, tuple(dots))[1]
    h = 1e-6
    ahead, behind = (solution(*(p + sign * h * d for p, d in zip(point, dots, strict=True))) for sign in (1, -1))
    expected = jax.tree.map(lambda a, b: (a - b) / (2 * h), ahead, behind)
    jax.tree.map(lambda t, e: np.testing.assert_allclose(t, e, rtol=1e-5, atol=1e-6), tangent, expected)


def test_the_value_changes_with_a_bound_by_the_gradient_of_what_it_holds():
    at_the_solution()
    _, low, high, _ = at_the_solution()
    in_low, in_high = jax.grad(lambda lo, hi: solution(DATA, lo, hi)["fun"], (0, 1))(LOWER, UPPER)
    np.testing.assert_allclose(in_low, np.where(low, SOLVED["jac"], 0), atol=1e-9)
    np.testing.assert_allclose(in_high, np.where(high, SOLVED["jac"], 0), atol=1e-9)


def test_a_number_for_all_bounds_gets_the_sum_of_their_derivatives():
    def fun(low):
        return jopt.minimize(
            quadratic, jnp.zeros(5), (DATA,), "lbfgs", has_aux=True, bounds=(low, None), gtol=1e-10
        ).fun

    h = 1e-5
    expected = (fun(0.4 + h) - fun(0.4 - h)) / (2 * h)
    assert float(jax.grad(fun)(0.4)) == pytest.approx(float(expected), rel=1e-6)


def test_a_solve_without_a_feasible_point_has_no_derivative():
    bad = jax.grad(lambda d: solution(d, UPPER + 2, LOWER - 2)["x"].sum())(DATA)
    assert np.isnan(bad).all()

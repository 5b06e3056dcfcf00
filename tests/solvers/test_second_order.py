# SPDX-License-Identifier: Apache-2.0
"""Saddles told from minima on request, by every kind of method, and left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status
from jopt.bench.marker import copies, marked


def ridge(x):
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4


def bowl(x):
    return jnp.sum((x - 1) ** 2)


def flat(x):
    return jnp.sum(x**4)


def cap(x):
    return -jnp.sum(x**2)


FUNCTIONS = (ridge, bowl, flat, cap, jopt.problems.get("monkey_saddle").fun)
MONKEY = len(FUNCTIONS) - 1
ON_THE_RIDGE = jnp.array([1.0, 0.0])


def one_of_them(x, which):
    """Return the value of one of the functions of two parameters: they share a compiled solve."""
    return jax.lax.switch(which, FUNCTIONS, x)


def solve(which, x0, second_order, method="trust-ncg", **limits):
    which = which if isinstance(which, int) else FUNCTIONS.index(which)
    return jopt.minimize(one_of_them, x0, (which,), method, gtol=1e-10, second_order=second_order, **limits)


def test_on_the_ridge_of_a_saddle_the_check_sees_what_the_gradient_does_not():
    blind = solve(ridge, ON_THE_RIDGE, None)
    assert Status(int(blind.status)) is Status.CONVERGED
    np.testing.assert_allclose(blind.x, 0.0, atol=1e-10)
    told = solve(ridge, ON_THE_RIDGE, "report")
    assert Status(int(told.status)) is Status.SADDLE
    assert not bool(told.success)
    np.testing.assert_array_equal(told.x, blind.x)
    assert int(told.nhev) == int(blind.nhev) + 2, "Lanczos exhausts two dimensions with two products"
    away = solve(ridge, ON_THE_RIDGE, "escape")
    assert_escaped(away)
    assert int(away.nfev) > int(blind.nfev) + 2


def assert_escaped(away):
    assert Status(int(away.status)) is Status.CONVERGED
    np.testing.assert_allclose(np.abs(away.x), [0.0, 0.5**0.5], atol=1e-9)
    assert float(away.fun) == pytest.approx(-0.25)


@pytest.mark.slow
def test_methods_without_products_are_checked_too_each_lane_of_a_batch_by_itself():
    starts = jnp.array([[1.0, 0.0], [1.0, 0.5]])
    told = jax.vmap(lambda x: solve(ridge, x, "report", jopt.sgd(0.1)))(starts)
    assert [Status(int(s)) for s in told.status] == [Status.SADDLE, Status.CONVERGED]
    assert told.success.tolist() == [False, True]
    np.testing.assert_allclose(told.x[0], 0.0, atol=1e-10)
    assert told.nhev.tolist() == [2, 2]
    away = solve(ridge, ON_THE_RIDGE, "escape", "lbfgs")
    assert_escaped(away)
    assert int(away.nhev) == 4, "two products where it leaves and two where it ends"


def test_a_minimum_stays_a_minimum():
    for action in ("report", "escape"):
        result = solve(bowl, jnp.zeros(2), action)
        assert Status(int(result.status)) is Status.CONVERGED
        np.testing.assert_allclose(result.x, 1.0)


def test_a_flat_minimum_is_no_saddle():
    result = solve(flat, jnp.ones(2), "report")
    assert Status(int(result.status)) is Status.CONVERGED


def test_the_monkey_saddle_is_left_where_its_curvature_shows():
    # On the axis the gradient never points off it; the curvature across is -6 x.
    blind = solve(MONKEY, jnp.array([0.1, 0.0]), None)
    assert Status(int(blind.status)) is Status.CONVERGED
    away = solve(MONKEY, jnp.array([0.1, 0.0]), "escape")
    assert Status(int(away.status)) is Status.UNBOUNDED
    assert float(away.fun) < -1e10


def test_a_start_that_is_a_saddle():
    result = solve(ridge, jnp.zeros(2), "escape")
    assert bool(result.success)
    assert float(result.fun) == pytest.approx(-0.25)


def test_limits_hold_on_the_way_from_saddle_to_saddle():
    result = solve(cap, jnp.zeros(2), "escape", maxiter=5)
    assert Status(int(result.status)) in (Status.MAX_ITERATIONS, Status.UNBOUNDED)


def test_without_a_request_nothing_is_added_to_the_program():
    def program(action):
        return copies(lambda x: jopt.minimize(marked(ridge), x, method="trust-ncg", second_order=action), ON_THE_RIDGE)

    assert program(None) == 1
    assert program("report") == 2


def test_errors():
    with pytest.raises(
        ValueError, match=r"minimize: second_order must be one of 'escape', 'report', got 'reprot'.*'report'"
    ):
        solve(ridge, ON_THE_RIDGE, "reprot")

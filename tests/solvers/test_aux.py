# SPDX-License-Identifier: Apache-2.0
"""Auxiliary outputs: those of the point returned, of every call that solves, at the price of no evaluation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import counted, evaluations

import jopt
from jopt import Status

START = jnp.asarray([-1.2, 1.0])


def rosenbrock(x, weight):
    return weight * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def told(x, weight):
    """Return the value with the point itself, so that the aux says where it was made, and a tree of other dtypes."""
    return rosenbrock(x, weight), {"x": x, "whole": jnp.int32(7), "on": x[0] > 0}


def residual(x, weight):
    return jnp.stack([jnp.sqrt(weight) * (x[1] - x[0] ** 2), 1.0 - x[0]])


def residual_told(x, weight):
    return residual(x, weight), {"x": x, "whole": jnp.int32(7)}


SGD = jopt.sgd(1e-3)
SLOW = pytest.mark.slow


@pytest.mark.parametrize("method", ["sgd", *(pytest.param(m, marks=SLOW) for m in ("trust-ncg", "newton-cg", "lbfgs"))])
def test_minimize_returns_the_aux_of_its_point_and_evaluates_nothing_for_it(method):
    method = SGD if method == "sgd" else method
    settings = {"gtol": 1e-12, "maxfev": 30, "method": method}
    result, made = evaluations(lambda: jopt.minimize(counted(told), START, (100.0,), has_aux=True, **settings))
    np.testing.assert_array_equal(result.aux["x"], result.x)
    assert (result.aux["whole"].dtype, int(result.aux["whole"])) == (jnp.int32, 7)
    assert result.aux["on"].dtype == jnp.bool_
    assert made == int(result.nfev)
    plain = jopt.minimize(rosenbrock, START, (100.0,), **settings)
    assert (plain.aux, int(plain.nfev), int(plain.nhev)) == (None, int(result.nfev), int(result.nhev))


@SLOW
@pytest.mark.parametrize("solve", ["qr", "lsqr"])
def test_least_squares_returns_residuals_and_aux_of_its_point(solve):
    method = jopt.levenberg_marquardt(linear_solve=solve)
    settings = {"gtol": 1e-12, "maxfev": 12, "method": method, "loss": "huber", "f_scale": 0.5}
    result, made = evaluations(
        lambda: jopt.least_squares(counted(residual_told), START, (100.0,), has_aux=True, **settings)
    )
    r, aux = result.aux
    np.testing.assert_allclose(r, residual(result.x, 100.0), rtol=1e-12)
    np.testing.assert_array_equal(aux["x"], result.x)
    assert aux["whole"].dtype == jnp.int32
    assert made == int(result.nfev)
    plain = jopt.least_squares(residual, START, (100.0,), **settings)
    np.testing.assert_allclose(plain.aux, r, rtol=1e-9)
    assert int(plain.nfev) == int(result.nfev)


def test_under_jit_and_in_each_lane_of_a_batch_it_belongs_to_the_point():
    starts = jnp.stack([START, jnp.ones(2), -START])
    weights = jnp.asarray([1.0, 10.0, 100.0])

    def solve(x, weight):
        return jopt.minimize(told, x, (weight,), SGD, has_aux=True, maxiter=20)

    batch = jax.jit(jax.vmap(solve))(starts, weights)
    np.testing.assert_array_equal(batch.aux["x"], batch.x)
    assert batch.aux["whole"].shape == (3,)


@SLOW
def test_in_each_lane_of_least_squares_too():
    starts = jnp.stack([START, jnp.ones(2), -START])
    fits = jax.vmap(lambda x: jopt.least_squares(residual_told, x, (100.0,), has_aux=True, maxiter=3))(starts)
    np.testing.assert_array_equal(fits.aux[1]["x"], fits.x)


def test_a_watched_solve_has_it_too():
    result = jopt.minimize(told, START, (100.0,), SGD, has_aux=True, maxiter=20, callback=lambda it: it.nit == 4)
    np.testing.assert_array_equal(result.aux["x"], result.x)


@SLOW
def test_its_derivative_is_that_of_the_point():
    def fit(weight):
        return jopt.least_squares(
            lambda x, w: (x - w, {"double": 2 * x, "whole": jnp.int32(1)}), START, (weight,), has_aux=True
        ).aux[1]["double"][0]

    assert float(jax.grad(fit)(0.3)) == pytest.approx(2.0, rel=1e-6)


def test_multistart_returns_that_of_each_run_and_of_the_best():
    starts = jnp.stack([START, jnp.ones(2) * 3, -START])
    found = jopt.multistart(told, starts, (1.0,), SGD, has_aux=True, maxiter=20)
    np.testing.assert_array_equal(found.runs.aux["x"], found.runs.x)
    np.testing.assert_array_equal(found.best.aux["x"], found.best.x)


BOX = (jnp.full(2, -2.0), jnp.full(2, 2.0))


@SLOW
def test_random_search_returns_that_of_the_best_point():
    search = functools.partial(jopt.random_search, where=BOX, key=3, args=(1.0,), trials=25, chunk=10)
    found, made = evaluations(lambda: search(counted(told), has_aux=True))
    np.testing.assert_array_equal(found.aux["x"], found.x)
    assert (found.aux["whole"].dtype, found.aux["on"].dtype) == (jnp.int32, jnp.bool_)
    assert made == 30  # three chunks, as without
    plain = search(rosenbrock)
    assert plain.aux is None
    np.testing.assert_array_equal(plain.x, found.x)


@SLOW
def test_in_each_lane_of_random_searches_too():
    keys = jnp.arange(3)
    batch = jax.vmap(lambda key: jopt.random_search(told, BOX, jax.random.key(key), (1.0,), has_aux=True, trials=9))(
        keys
    )
    np.testing.assert_array_equal(batch.aux["x"], batch.x)


@SLOW
def test_random_search_without_a_finite_value_has_zeros():
    found = jopt.random_search(lambda x: (jnp.nan * x[0], x + 1), BOX, 0, has_aux=True, trials=5)
    assert Status(int(found.status)) is Status.NONFINITE
    np.testing.assert_array_equal(found.aux, jnp.zeros(2))


def test_errors():
    with pytest.raises(TypeError, match=r"least_squares: residual must return .residuals, aux. with has_aux=True, got"):
        jopt.least_squares(residual, START, (1.0,), has_aux=True)
    with pytest.raises(TypeError, match="random_search: has_aux must be True or False, got 'yes'"):
        jopt.random_search(told, BOX, 0, (1.0,), has_aux="yes")
    with pytest.raises(TypeError, match="least_squares: has_aux must be True or False, got 1"):
        jopt.least_squares(residual, START, (1.0,), has_aux=1)

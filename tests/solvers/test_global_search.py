# SPDX-License-Identifier: Apache-2.0
"""Random points and many starts: known minima are found, the best is the best, and lanes are separate solves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status
from jopt.bench.marker import copies, marked
from jopt.solvers.global_search import uniform

pytestmark = pytest.mark.slow  # compiles many programs

TRACES = []
BOX = -5.0 * np.ones(2), 5.0 * np.ones(2)


def himmelblau(x):
    """Himmelblau (1972): four minima of value 0 in [-5, 5]^2. Counts how often it is traced."""
    TRACES.append(1)
    return (x[0] ** 2 + x[1] - 11.0) ** 2 + (x[0] + x[1] ** 2 - 7.0) ** 2


MINIMA = np.array([[3.0, 2.0], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848126]])


def rastrigin(x):
    """Rastrigin (1974): a minimum at each whole point, the lowest, of value 0, at the origin."""
    return jnp.sum(x**2 + 10.0 - 10.0 * jnp.cos(2 * jnp.pi * x))


def lanes(x):
    """A function whose runs end differently: NaN for x_0 < 0, unbounded below for x_0 > 10, else a bowl at (5, 0)."""
    bowl = (x[0] - 5.0) ** 2 + x[1] ** 2 + 1.0
    return jnp.where(x[0] < 0, jnp.nan, jnp.where(x[0] > 10, -x[0], bowl))


FUNCTIONS = (himmelblau, rastrigin, lanes)


def one_of_them(x, which):
    """Return the value of one of the functions of two parameters: they share a compiled search."""
    return jax.lax.switch(which, FUNCTIONS, x)


# Random search --------------------------------------------------------------------------------------------------------


def drawn(key, trials, sampler):
    """Return the points of a search, one by one."""
    return np.stack([sampler(jax.random.fold_in(key, i)) for i in range(trials)])


def normal(key):
    return jax.random.normal(key, (2,))


def test_the_best_of_the_points_drawn_is_returned():
    key = jax.random.key(3)
    points = drawn(key, 25, normal)
    values = himmelblau(points.T)
    found = jopt.random_search(himmelblau, normal, key, trials=25, chunk=10)
    np.testing.assert_array_equal(found.x, points[values.argmin()])
    np.testing.assert_allclose(found.fun, values.min(), rtol=1e-12)
    assert (int(found.nfev), int(found.njev), int(found.nit)) == (25, 0, 0)
    assert Status(int(found.status)) is Status.MAX_EVALUATIONS
    assert not found.success
    assert "Not converged" in found.message
    assert found.jac is None


def test_the_chunk_changes_the_memory_and_not_the_points():
    results = [jopt.random_search(himmelblau, normal, 3, trials=25, chunk=chunk) for chunk in (7, 10, 40)]
    for result in results[1:]:
        np.testing.assert_array_equal(result.x, results[0].x)
        assert int(result.nfev) == 25
    for chunk in (7, 40):
        program = str(
            jax.make_jaxpr(lambda c=chunk: jopt.random_search(himmelblau, normal, 3, trials=10**6, chunk=c))()
        )
        assert f"f64[{chunk},2]" in program
        assert "f64[1000000" not in program


def test_more_trials_find_more():
    values = [float(jopt.random_search(himmelblau, normal, 0, trials=n, chunk=10).fun) for n in (1, 10, 1000)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


def test_points_are_uniform_in_the_box():
    box = {"a": jnp.zeros(2), "b": jnp.float32(-1.0)}, {"a": jnp.array([1.0, 3.0]), "b": jnp.float32(-1.0)}
    points = jax.vmap(lambda key: uniform(key, *box))(jax.random.split(jax.random.key(0), 2000))
    assert (points["a"].dtype, points["b"].dtype) == (jnp.float64, jnp.float32)
    assert (np.asarray(points["b"]) == -1).all()
    a = np.asarray(points["a"])
    np.testing.assert_allclose(a.mean(axis=0), [0.5, 1.5], atol=0.1)
    np.testing.assert_allclose(a.var(axis=0), [1 / 12, 9 / 12], atol=0.05)
    assert (a >= 0).all()
    assert (a <= [1, 3]).all()
    assert abs(np.corrcoef(a.T)[0, 1]) < 0.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_widest_box_does_not_overflow(dtype):
    top = jnp.finfo(dtype).max
    x = uniform(jax.random.key(0), -top, top)
    assert x.dtype == jnp.dtype(dtype)
    assert 0 < abs(float(x)) < np.inf


def test_a_search_in_a_box_draws_uniform_points():
    key = jax.random.key(3)
    points = drawn(key, 25, lambda k: uniform(k, *map(jnp.asarray, BOX)))
    found = jopt.random_search(himmelblau, BOX, key, trials=25, chunk=10)
    np.testing.assert_allclose(found.x, points[himmelblau(points.T).argmin()], rtol=1e-12)


def test_target_stops_after_the_first_chunk_that_reaches_it():
    found = jopt.random_search(himmelblau, normal, 3, trials=1000, chunk=10, target=60.0)
    assert Status(int(found.status)) is Status.TARGET
    assert found.success
    assert float(found.fun) <= 60.0
    assert int(found.nfev) < 1000
    assert int(found.nfev) % 10 == 0
    before = jopt.random_search(himmelblau, normal, 3, trials=int(found.nfev) - 10 or 1, chunk=10)
    assert float(before.fun) > 60.0 or int(found.nfev) == 10
    assert Status(int(jopt.random_search(himmelblau, normal, 3, trials=20, chunk=10, target=-1.0).status)) is (
        Status.MAX_EVALUATIONS
    )


def test_values_that_are_not_finite_are_never_the_best():
    found = jopt.random_search(lambda x: jnp.where(x > 0.9, x, jnp.log(-x) * jnp.inf), (0.0, 1.0), 0, chunk=50)
    assert 0.9 < float(found.x) < 0.91
    assert float(found.fun) == float(found.x)
    nowhere = jopt.random_search(lambda x: x / 0.0, (0.0, 1.0), 0, trials=20, chunk=10)
    assert Status(int(nowhere.status)) is Status.NONFINITE
    assert 0.0 <= float(nowhere.x) <= 1.0
    assert float(nowhere.fun) == np.inf


def test_it_works_in_jit_and_vmap_with_one_copy_and_one_trace():
    keys = jax.random.split(jax.random.key(1), 3)
    together = jax.jit(jax.vmap(lambda key: jopt.random_search(himmelblau, BOX, key, trials=25, chunk=10)))(keys)
    alone = [jopt.random_search(himmelblau, BOX, key, trials=25, chunk=10) for key in keys]
    for i, result in enumerate(alone):
        np.testing.assert_allclose(together.x[i], result.x, rtol=1e-12)
    once = len(TRACES)
    jopt.random_search(himmelblau, BOX, 5, trials=70, chunk=10)
    assert len(TRACES) == once
    assert copies(lambda key: jopt.random_search(marked(himmelblau), BOX, key), keys[0]) == 1


def test_arguments_reach_the_function():
    found = jopt.random_search(lambda x, a, b: (x - a) ** 2 + b, (0.0, 1.0), 0, (0.25, 7.0), chunk=500)
    assert abs(float(found.x) - 0.25) < 0.01
    assert 7.0 <= float(found.fun) < 7.001


def test_it_starts_any_other_method():
    start = jopt.random_search(himmelblau, BOX, 0, trials=100, chunk=10).x
    result = jopt.minimize(one_of_them, start, (0,), "lbfgs", gtol=1e-8)
    assert result.success
    assert np.abs(MINIMA - result.x).sum(axis=1).min() < 1e-5


@pytest.mark.parametrize(
    ("where", "settings", "error", "message"),
    [
        (BOX, {"trials": 0}, ValueError, r"random_search: trials must be a whole number >= 1, got 0"),
        (BOX, {"chunk": 2.0}, TypeError, r"random_search: chunk must be a whole number"),
        (BOX, {"target": "low"}, TypeError, r"random_search: target must be a number"),
        (BOX[::-1], {}, ValueError, r"random_search: lower must be finite and at most upper, got \[5"),
        (([0.0], [np.inf]), {}, ValueError, r"random_search: lower\[0\] must be finite and at most upper\[0\]"),
        (([np.nan], [1.0]), {}, ValueError, r"lower\[0\] must be finite"),
        (([0.0, 1.0], [1.0]), {}, ValueError, r"random_search: upper must be a tree like lower, but at \[1\]"),
        ((0, 1), {}, TypeError, r"random_search: lower must be real floating numbers"),
        (5.0, {}, TypeError, r"random_search: where must be a pair \(lower, upper\).*got 5.0"),
        (lambda _: 3, {}, TypeError, r"random_search: the sampler's point must be real floating numbers"),
        (BOX, {"key": 0.5}, TypeError, r"random_search: key must be one random key"),
        (BOX, {"args": "text"}, TypeError, r"random_search: args\[0\] must be an array"),
        (BOX, {"fun": 3.0}, TypeError, r"random_search: fun must be a function"),
        (BOX, {"fun": lambda x: x}, TypeError, r"random_search: .*fun must return a real floating scalar"),
    ],
)
def test_bad_settings_raise(where, settings, error, message):
    given = {"fun": himmelblau, "key": 0} | settings
    with pytest.raises(error, match=message):
        jopt.random_search(where=where, **given)


# Many starts ----------------------------------------------------------------------------------------------------------


def starts(number, seed=0, width=5.0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-width, width, (number, 2)))


def search(fun, starts, **limits):
    return jopt.multistart(one_of_them, starts, (FUNCTIONS.index(fun),), **limits)


def test_every_run_is_the_separate_solve_and_all_minima_are_found():
    found = search(himmelblau, starts(20), gtol=1e-8)
    assert found.runs.x.shape == (20, 2)
    assert found.runs.success.all()
    for minimum in MINIMA:
        assert np.abs(found.runs.x - minimum).sum(axis=1).min() < 1e-5
    for i in range(3):
        alone = jopt.minimize(one_of_them, starts(20)[i], (0,), "lbfgs", gtol=1e-8)
        np.testing.assert_allclose(found.runs.x[i], alone.x, rtol=1e-6)
        assert (int(found.runs.nfev[i]), int(found.runs.status[i])) == (int(alone.nfev), int(alone.status))
    once = len(TRACES)
    search(himmelblau, starts(20, seed=1), gtol=1e-6)
    assert len(TRACES) == once


def test_the_lowest_of_many_minima_is_the_best():
    near = starts(20, width=2.0).at[7].set(jnp.array([0.1, -0.1]))
    found = search(rastrigin, near, gtol=1e-6)
    assert found.runs.success.all()
    assert int(found.lane) == int(np.argmin(found.runs.fun))
    jax.tree.map(lambda best, runs: np.testing.assert_array_equal(best, runs[found.lane]), found.best, found.runs)
    np.testing.assert_allclose(found.best.x, 0.0, atol=1e-6)
    assert len(np.unique(np.round(found.runs.fun, 3))) > 5  # most starts lead elsewhere


def four(*first):
    """Return twenty starts with these four first entries, over and over."""
    return jnp.asarray(np.tile([[x, 0.0] for x in first], (5, 1)))


def test_statuses_per_lane_and_the_best_among_the_successes():
    found = search(lanes, four(-1.0, 6.0, 20.0, 4.0), gtol=1e-6)
    statuses = [Status(int(s)) for s in found.runs.status]
    assert statuses == [Status.NONFINITE, Status.CONVERGED, Status.UNBOUNDED, Status.CONVERGED] * 5
    assert float(found.runs.fun[2]) < float(found.best.fun)  # a failure is not the best, however low
    assert int(found.lane) % 4 in (1, 3)
    assert found.best.success
    np.testing.assert_allclose(found.best.x, [5.0, 0.0], atol=1e-6)
    assert len(found.runs.message) == 20


def test_without_a_success_the_best_is_the_least_finite_value():
    found = search(lanes, four(-1.0, 9.5, 3.0, -2.0), gtol=0.0, maxiter=0)
    assert not found.runs.success.any()
    assert int(found.lane) == 2
    assert float(found.best.fun) == 5.0
    none = search(lanes, four(-1.0, -2.0, -3.0, -4.0), gtol=0.0, maxiter=0)
    assert int(none.lane) == 0
    assert Status(int(none.best.status)) is Status.NONFINITE


def test_arguments_limits_and_the_method_reach_every_run():
    def fun(x, scale, shift):
        return jnp.sum(scale * (x["a"] - shift) ** 2), x["b"]

    tree = {"a": jnp.ones((3, 2)), "b": jnp.arange(3.0)}
    found = jopt.multistart(fun, tree, (2.0, 5.0), jopt.sgd(0.1), has_aux=True, maxiter=4, history=True, gtol=0.0)
    np.testing.assert_array_equal(found.runs.aux, [0.0, 1.0, 2.0])
    assert found.runs.history.fun.shape == (3, 5)
    assert (np.asarray(found.runs.nit) == 4).all()
    np.testing.assert_allclose(found.runs.x["a"], 5.0 - 4.0 * 0.6**4)  # four steps of this method


@pytest.mark.parametrize(
    ("given", "settings", "error", "message"),
    [
        (1.0, {}, ValueError, r"multistart: starts must have a leading axis .*got shape \(\); for a single start use"),
        (np.ones((0, 2)), {}, ValueError, r"multistart: starts must have a leading axis"),
        (
            {"a": np.ones(3), "b": np.ones(2)},
            {},
            ValueError,
            r"starts\['b'\] must have .*\(3, as in the first leaf\).*\(2,\)",
        ),
        ({}, {}, ValueError, r"multistart: starts must have"),
        (np.arange(3), {}, TypeError, r"multistart: starts must be real floating numbers"),
        (np.ones(3), {"maxiter": -1}, ValueError, r"multistart: maxiter must be"),
        (np.ones(3), {"method": "newtons"}, ValueError, r"multistart: method must be one of"),
    ],
)
def test_bad_starts_raise(given, settings, error, message):
    with pytest.raises(error, match=message):
        jopt.multistart(lambda x: jnp.sum(x**2), given, **settings)

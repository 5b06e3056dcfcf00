# SPDX-License-Identifier: Apache-2.0
"""BFGS, DFP, SR1 and nonlinear conjugate gradients as solvers: what theory says of them on a quadratic, and their settings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jopt
from jopt import Status, linesearch, problems
from jopt.solvers.methods import METHODS, by_name
from jopt.transforms.conjugate import BETAS

pytestmark = pytest.mark.slow  # compiles many programs

N = 4
START = np.array([1.0, -2.0, 0.5, 3.0])


def hessian():
    a = np.random.default_rng(2).standard_normal((N, N))
    return a @ a.T + np.eye(N)


A, B = hessian(), np.array([1.0, 0.0, -1.0, 2.0])


def quadratic(x):
    return 0.5 * x @ A @ x - B @ x


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def linear_conjugate_gradients():
    """Return the points of Hestenes and Stiefel (1952): n steps from the start to the minimum."""
    x, r = START, B - A @ START
    d, points = r, [x]
    for _ in range(N):
        step = (r @ r) / (d @ A @ d)
        x, after = x + step * d, r - step * (A @ d)
        d, r = after + (after @ after) / (r @ r) * d, after
        points.append(x)
    return np.asarray(points)


def trips(solver, fun, start, number):
    """Return the states and infos of a number of trips, stacked."""
    objective = jopt.Objective(fun)

    def trip(state, _):
        state, info = solver.step(objective, state)
        return state, (state, info)

    return jax.lax.scan(trip, solver.init(objective, start), None, length=number)[1]


exactly = {"search": linesearch.exact(tolerance=1e-12), "first_trial": linesearch.slope_ratio}
TRIPS = 4 * N


@functools.cache
def exact_run(name):
    """Return the accepted points and the last matrix of a solver with exact steps on the quadratic."""
    solver = jopt.descent(jopt.scale_by_sr1(), **exactly) if name == "sr1" else by_factory(name)(**exactly)
    states, infos = jax.jit(lambda x: trips(solver, quadratic, x, TRIPS))(jnp.asarray(START))
    accepted = np.flatnonzero(np.asarray(infos.accepted))[: N + 1]
    return np.asarray(infos.point.params)[accepted], np.asarray(states.inner.matrix)[accepted[-1]]


def by_factory(name):
    return {"bfgs": jopt.bfgs, "dfp": jopt.dfp}[name]


@pytest.mark.parametrize("name", ["bfgs", "dfp"])
def test_with_exact_steps_on_a_quadratic_they_are_conjugate_gradients_and_end_with_the_inverse(name):
    points, matrix = exact_run(name)
    expected = linear_conjugate_gradients()
    np.testing.assert_allclose(points, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(A @ points[-1], B, atol=1e-6)
    assert np.abs(A @ points[-2] - B).max() > 1e-3  # and not before
    inverse = np.linalg.inv(A)
    np.testing.assert_allclose(matrix, inverse, rtol=0, atol=1e-5 * np.abs(inverse).max())


def test_with_exact_steps_on_a_quadratic_all_betas_are_linear_conjugate_gradients(monkeypatch):
    # One program for the five formulas: the number of the formula is an argument of it.
    names = sorted(BETAS)
    formulas = [BETAS[name] for name in names]

    def run(number):
        def chosen(products, eta):
            return jnp.select([number == i for i in range(len(names))], [f(products, eta) for f in formulas])

        monkeypatch.setitem(BETAS, "chosen", chosen)
        return trips(jopt.nonlinear_cg("chosen", **exactly), quadratic, jnp.asarray(START), TRIPS)

    run = jax.jit(run)
    expected = linear_conjugate_gradients()
    for number, name in enumerate(names):
        states, infos = run(number)
        accepted = np.flatnonzero(np.asarray(infos.accepted))[: N + 1]
        points = np.asarray(infos.point.params)[accepted]
        np.testing.assert_allclose(points, expected, rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(np.asarray(states.inner.updates)[accepted[:-1]], np.arange(1, N + 1))
        assert int(states.resets[-1]) == 0


# Not quadratic --------------------------------------------------------------------------------------------------------

SOLVERS = {"bfgs": jopt.bfgs(), "dfp": jopt.dfp(), "nonlinear-cg": jopt.nonlinear_cg()}


@pytest.mark.parametrize("method", SOLVERS)
def test_reaches_a_recorded_minimum(method):
    case = problems.get("wood")
    result = jopt.minimize(case.fun, case.start(jnp.float64), method=SOLVERS[method], gtol=1e-6, maxfev=3000)
    assert Status(int(result.status)) is Status.CONVERGED
    assert float(jnp.abs(jax.grad(case.fun)(result.x)).max()) <= 1e-6
    assert float(result.fun) == pytest.approx(float(case.minimum), abs=1e-7)


def test_bfgs_needs_about_as_many_evaluations_as_scipys():
    start = np.array([-1.2, 1.0])
    gradient = jax.jit(jax.value_and_grad(rosenbrock))
    theirs = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, gradient(x))), start, jac=True, method="BFGS", options={"gtol": 1e-6}
    )
    ours = jopt.minimize(rosenbrock, start, method="bfgs", gtol=1e-6)
    assert theirs.success
    assert ours.success
    assert int(ours.nfev) <= 1.2 * theirs.nfev


def double_well(x):
    return jnp.sum(x**4 / 4 - x**2 / 2)


def test_sr1_may_ascend_and_descent_then_goes_along_the_gradient():
    solver = jopt.descent(jopt.scale_by_sr1(), linesearch.strong_wolfe())
    states, _ = jax.jit(lambda x: trips(solver, double_well, x, 25))(jnp.asarray([0.1, -0.05, 0.2, 0.4]))
    slopes = np.sum(np.asarray(states.grad) * np.asarray(states.direction), axis=1)
    moving = np.abs(np.asarray(states.grad)).max(axis=1) > 1e-7
    assert (slopes[moving] < 0).all()
    assert int(states.resets[-1]) > 0
    assert (np.linalg.eigvalsh(states.inner.matrix) < 0).any()
    assert float(states.value[-1]) == pytest.approx(-1.0, abs=1e-6)


def test_in_single_precision_success_is_a_certificate():
    start = jnp.asarray([-1.2, 1.0, -1.2, 1.0], jnp.float32)
    for method in ("bfgs", "nonlinear-cg"):
        result = jopt.minimize(rosenbrock, start, method=method, gtol=1e-2)
        assert result.success
        assert result.x.dtype == jnp.float32
        assert float(jnp.abs(jax.grad(rosenbrock)(result.x)).max()) <= 1e-2


# Settings -------------------------------------------------------------------------------------------------------------


def test_the_names_are_those_of_the_factories():
    for name, factory in (("bfgs", jopt.bfgs), ("dfp", jopt.dfp), ("nonlinear-cg", jopt.nonlinear_cg)):
        assert METHODS[name] is factory
        assert by_name(name) == factory()


def program(solver):
    x = jnp.zeros(3)
    state = solver.init(None, x)
    return str(jax.make_jaxpr(lambda s: solver.step(jopt.Objective(rosenbrock), s))(state))


@pytest.mark.parametrize(
    ("factory", "settings"),
    [
        (jopt.bfgs, {"search": linesearch.strong_wolfe(curvature=0.5)}),
        (jopt.bfgs, {"first_trial": linesearch.slope_ratio}),
        (jopt.dfp, {"search": linesearch.strong_wolfe()}),
        (jopt.dfp, {"first_trial": linesearch.slope_ratio}),
        *((jopt.nonlinear_cg, {"beta": beta}) for beta in BETAS if beta != "hestenes-stiefel"),
        (jopt.nonlinear_cg, {"restart": None}),
        (jopt.nonlinear_cg, {"restart": 0.3}),
        (jopt.nonlinear_cg, {"restart_every": 7}),
        (jopt.nonlinear_cg, {"search": linesearch.strong_wolfe()}),
        (jopt.nonlinear_cg, {"first_trial": linesearch.unit}),
    ],
)
def test_every_setting_changes_the_program(factory, settings):
    assert program(factory(**settings)) != program(factory())


def test_the_defaults_of_the_settings():
    accurate = linesearch.strong_wolfe(curvature=0.1)
    slope_ratio, unit = linesearch.slope_ratio, linesearch.unit
    direction = jopt.scale_by_nonlinear_cg("hestenes-stiefel", restart=0.2)
    for solver, expected in (
        (jopt.bfgs(), jopt.descent(jopt.scale_by_bfgs(), linesearch.strong_wolfe(), first_trial=unit)),
        (jopt.dfp(), jopt.descent(jopt.scale_by_dfp(), accurate, first_trial=unit)),
        (jopt.nonlinear_cg(), jopt.descent(direction, accurate, first_trial=slope_ratio)),
    ):
        assert program(solver) == program(expected)
    eta = program(jopt.nonlinear_cg("hager-zhang", eta=0.25))
    assert eta != program(jopt.nonlinear_cg("hager-zhang"))


def test_settings_are_passed_on_with_the_name_of_the_solver():
    with pytest.raises(ValueError, match=r"nonlinear_cg: scale_by_nonlinear_cg: beta must be one of"):
        jopt.nonlinear_cg("fletcher")
    with pytest.raises(ValueError, match=r"bfgs: scale_by_bfgs: max_bytes must be"):
        jopt.bfgs(max_bytes=0)
    for factory in (jopt.bfgs, jopt.dfp):
        with pytest.raises(ValueError, match=r"params must be few, but 4 of them .*above max_bytes=127"):
            factory(max_bytes=127).init(None, jnp.zeros(4))
        assert factory(max_bytes=128).init(None, jnp.zeros(4)).inner.matrix.shape == (4, 4)

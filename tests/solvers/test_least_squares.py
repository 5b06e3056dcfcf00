# SPDX-License-Identifier: Apache-2.0
"""Levenberg-Marquardt and Gauss-Newton: the step by its formula, limits, statuses, SciPy at the solution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jopt
from jopt import Status
from jopt.bench.marker import copies, marked
from jopt.solvers import linear_models
from jopt.solvers.linearised import FIRST_GROWTH, LEAST_RATIO
from jopt.solvers.residuals import Residuals, dense_jacobian
from jopt.solvers.robust import LOSSES

pytestmark = pytest.mark.slow  # compiles many programs

T = np.linspace(0.0, 2.0, 12)
Y = 3.0 * np.exp(-1.3 * T) + 0.4 + 0.05 * np.sin(7 * T)
OUTLIERS = Y + np.where(np.arange(12) % 5 == 2, 3.0, 0.0)
START = np.array([1.0, 0.5, 0.0])


def decay(p, y=Y):
    return p[0] * jnp.exp(-p[1] * T) + p[2] - y


def line(p, y=Y):
    return p[0] + p[1] * T + p[2] * T**2 - y


def logarithm(p, _):
    return jnp.tile(jnp.log(p) + 2.0, 4)


@jax.custom_jvp
def wrong(p):
    return jnp.tile(p - jnp.array([1.0, -2.0, 0.0]), 4)


wrong.defjvp(lambda primals, tangents: (wrong(primals[0]), -jnp.tile(tangents[0], 4)))


def lies(p, _):
    """Residuals whose derivative has the wrong sign."""
    return wrong(p)


def hidden(p, y):
    """Residuals of a perfect fit beside a constant one, y[0]."""
    return jnp.append(decay(p, 3.0 * jnp.exp(-1.3 * T) + 0.4)[1:], y[0])


def redundant(p, y):
    """Only p0 + p1 matters, and p2 does not."""
    return jnp.exp(p[0] + p[1]) * jnp.exp(-1.3 * T) + 0.4 - y + 0 * p[2]


FUNCTIONS = (decay, line, logarithm, lies, hidden, redundant)


def one_of_them(p, which, y, units):
    """Return one of the lists of twelve residuals of three parameters: they share a compiled solve of each method."""
    return jax.lax.switch(which, FUNCTIONS, p / units, y)


def problem(method, fun, y, units=(1.0, 1.0, 1.0)):
    """Return residuals and their arguments: those of `decay` alone for a method that nothing else is tried on."""
    if method in SHARED:
        return one_of_them, (FUNCTIONS.index(fun), jnp.asarray(y), jnp.asarray(units))
    assert fun is decay
    return decay, (jnp.asarray(y),)


def solve(method, fun=decay, start=START, y=Y, units=(1.0, 1.0, 1.0), **settings):
    method = METHODS.get(method, method)
    residual, args = (
        problem(method, fun, y, units) if settings.get("loss", "linear") == "linear" else (fun, (jnp.asarray(y),))
    )
    return jopt.least_squares(residual, jnp.asarray(start), args, method, **({"gtol": 1e-9} | settings))


def decay_numpy(p, y=Y):
    return p[0] * np.exp(-p[1] * T) + p[2] - y


def jacobian_numpy(p):
    e = np.exp(-p[1] * T)
    return np.stack([e, -p[0] * T * e, np.ones(12)], axis=1)


METHODS = {
    "lm": jopt.levenberg_marquardt(),
    "lm lsqr": jopt.levenberg_marquardt(linear_solve="lsqr"),
    "lm geodesic": jopt.levenberg_marquardt(geodesic=True),
    "gn": jopt.gauss_newton_descent(),
    "gn lsqr": jopt.gauss_newton_descent(linear_solve="lsqr", rtol=1e-13),
}
EXACT_LSQR = jopt.levenberg_marquardt(linear_solve="lsqr", rtol=1e-13)
SHARED = METHODS["lm"], METHODS["gn"]
methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


@functools.cache
def best(name):
    return solve(name)


@functools.partial(jax.jit, static_argnums=(0, 1))
def trip(method, residual, state, args, stop):
    return method.step(Residuals(residual, args), state, lambda _: jnp.where(stop, jnp.inf, -1.0))


def step_of(method, state, fun=decay, *, stop=False):
    """Make a step; with `stop` the step is told that the loop will end at the point if it is accepted."""
    residual, args = problem(method, fun, Y)
    return trip(method, residual, state, args, stop)


def initial(method, fun=decay, start=START):
    return method.init(Residuals(*problem(method, fun, Y)), jnp.asarray(start))


def first(method, fun=decay, damping=None, start=START):
    """Return the state after the start has been evaluated: its direction leads to the first trial."""
    state = initial(method, fun, start)
    if damping is not None:
        state = state._replace(damping=jnp.asarray(damping))
    return step_of(method, state, fun)[0]


J = jacobian_numpy(START)
R = decay_numpy(START)
COLUMNS = np.linalg.norm(J, axis=0)


# The step


@pytest.mark.parametrize("damping", [1e-3, 2.0])
def test_step_solves_the_damped_model(damping):
    state = first(METHODS["lm"], damping=damping)
    d = np.linalg.solve(J.T @ J + damping * np.diag(COLUMNS**2), -J.T @ R)
    np.testing.assert_allclose(state.direction, d, rtol=1e-9)
    np.testing.assert_allclose(state.slope, R @ J @ d, rtol=1e-9)
    np.testing.assert_allclose(state.promised, (R @ R - (R + J @ d) @ (R + J @ d)) / 2, rtol=1e-9)


def test_limits_of_the_damping_are_gauss_newton_and_the_gradient():
    newton = first(METHODS["gn"])
    np.testing.assert_allclose(first(METHODS["lm"], damping=1e-15).direction, newton.direction, rtol=1e-9)
    np.testing.assert_allclose(newton.direction, np.linalg.lstsq(J, -R, rcond=None)[0], rtol=1e-9)
    steep = first(METHODS["lm"], damping=1e12)
    np.testing.assert_allclose(1e12 * steep.direction, -(COLUMNS**-2) * (J.T @ R), rtol=1e-6)


def test_identity_scaling_goes_along_the_gradient():
    method = jopt.levenberg_marquardt(scaling="identity")
    g = J.T @ R
    unit = np.linalg.norm(J @ g) / np.linalg.norm(g)
    np.testing.assert_allclose(1e12 * first(method, damping=1e12).direction, -g / unit**2, rtol=1e-6)


def test_qr_and_lsqr_take_the_same_step():
    dense = jopt.levenberg_marquardt(scaling="identity")
    for damping in (1e-3, 10.0):
        a, b = first(dense, damping=damping), first(EXACT_LSQR, damping=damping)
        np.testing.assert_allclose(a.direction, b.direction, rtol=1e-8)
        np.testing.assert_allclose(a.promised, b.promised, rtol=1e-8)
    one = [solve(name, maxiter=1) for name in ("gn", "gn lsqr")]
    assert int(one[0].nit) == int(one[1].nit) == 1
    np.testing.assert_allclose(one[0].x, one[1].x, rtol=1e-8)


def test_geodesic_acceleration_adds_half_of_what_the_formula_says():
    v = first(METHODS["lm"], damping=2.0)
    d = np.asarray(v.direction)
    bend = np.exp(-START[1] * T) * (START[0] * (d[1] * T) ** 2 - 2 * d[0] * d[1] * T)
    a = np.linalg.solve(J.T @ J + 2.0 * np.diag(COLUMNS**2), -J.T @ bend)
    ratio = np.linalg.norm(COLUMNS * a) / np.linalg.norm(COLUMNS * d)
    assert 1e-3 < ratio < 0.75
    bent = first(METHODS["lm geodesic"], damping=2.0)
    np.testing.assert_allclose(bent.direction, d + a / 2, rtol=1e-9)
    np.testing.assert_allclose(bent.slope, R @ J @ (d + a / 2), rtol=1e-9)
    np.testing.assert_allclose(bent.promised, v.promised, rtol=1e-9)
    strict = jopt.levenberg_marquardt(geodesic=True, acceleration_limit=0.9 * ratio)
    np.testing.assert_allclose(first(strict, damping=2.0).direction, d, rtol=1e-12)


def test_damping_follows_nielsen_and_rejections_keep_the_base():
    method = METHODS["lm"]
    state, seen = first(method, damping=1e-9, start=[1.0, -3.0, 0.0]), set()
    for _ in range(12):
        after, info = step_of(method, state)
        ratio = float(info.decrease / state.promised)
        accepted = ratio > LEAST_RATIO
        assert bool(info.accepted) == accepted
        if accepted:
            factor = max(1 / 3, 1 - (2 * ratio - 1) ** 3)
            np.testing.assert_allclose(after.damping, state.damping * factor, rtol=1e-9)
            assert float(after.growth) == FIRST_GROWTH
            np.testing.assert_array_equal(after.params, info.point.params)
            np.testing.assert_allclose(
                after.scale, np.maximum(state.scale, np.linalg.norm(jacobian_numpy(after.params), axis=0)), rtol=1e-12
            )
        else:
            np.testing.assert_allclose(after.damping, state.damping * state.growth)
            np.testing.assert_allclose(after.growth, 2 * state.growth)
            np.testing.assert_array_equal(after.params, state.params)
            np.testing.assert_array_equal(after.kept.matrix, state.kept.matrix)
        seen.add(accepted)
        state = after
    assert seen == {True, False}


def test_the_matrix_free_form_evaluates_the_base_again_after_a_rejection():
    method = EXACT_LSQR
    start = [1.0, -1.0, 0.0]
    state = first(method, start=start, damping=3e-5)  # the step goes too far
    rejected, info = step_of(method, state)
    assert not info.accepted
    assert int(info.nhev) == 0
    assert rejected.again
    again, info = step_of(method, rejected)
    np.testing.assert_array_equal(info.point.params, start)
    assert not info.accepted
    assert int(info.nhev) > 0
    assert not again.again
    np.testing.assert_allclose(again.damping, 2 * state.damping)
    assert float(jnp.linalg.norm(again.direction)) < float(jnp.linalg.norm(state.direction))


def test_gauss_newton_halves_a_rejected_step():
    method = METHODS["gn"]
    state = first(method, logarithm, start=[20.0] * 3)
    halved, info = step_of(method, state, logarithm)
    assert not info.accepted
    np.testing.assert_allclose(halved.direction, state.direction / 2)
    np.testing.assert_allclose(halved.promised, -state.slope / 2)


def test_budget_and_tolerance_of_lsqr_are_used():
    def products(**settings):
        method = jopt.levenberg_marquardt(linear_solve="lsqr", **settings)
        return int(step_of(method, initial(method))[1].nhev)

    assert products(inner_maxiter=1, rtol=1e-13) == 1
    assert products() < products(rtol=1e-13)


@pytest.mark.parametrize("name", METHODS)
def test_no_step_is_planned_at_the_last_point_and_stepping_on_makes_up_for_it(name):
    method = METHODS[name]
    base = initial(method, start=ROBUST)
    for _ in range(2):
        planned, info = step_of(method, base)
        ended, last = step_of(method, base, stop=True)
        assert info.accepted
        assert int(last.nhev) == 0
        np.testing.assert_array_equal(ended.direction, 0.0)
        resumed, again = step_of(method, ended)
        assert not again.accepted
        assert int(again.status) == Status.RUNNING
        assert int(again.nhev) == int(info.nhev)
        np.testing.assert_array_equal(again.point.params, info.point.params)
        for ours, theirs in zip(jax.tree.leaves(resumed), jax.tree.leaves(planned), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        base = planned


def test_a_solve_that_ends_at_its_start_makes_no_products():
    fit = solve("lm lsqr", gtol=1e9)
    assert fit.success
    assert int(fit.nfev) == 1
    assert int(fit.nhev) == 0


def primitives(jaxpr):
    """Return the names of the primitives that run whatever the conditions say."""
    names = set()
    for eqn in jaxpr.eqns:
        names.add(eqn.primitive.name)
        inner = [] if eqn.primitive.name == "cond" else jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr)
        names.update(*(primitives(getattr(p, "jaxpr", p)) for p in inner if is_jaxpr(p)))
    return names


def is_jaxpr(value):
    return hasattr(getattr(value, "jaxpr", value), "eqns")


@methods
def test_linear_solves_stand_under_the_condition(method):
    def step(state, stop):
        return method.step(Residuals(decay), state, lambda _: jnp.where(stop, jnp.inf, -1.0))

    state = method.init(Residuals(decay), jnp.asarray(START))
    always = primitives(jax.make_jaxpr(step)(state, True).jaxpr)
    assert "cond" in always
    assert not always & {"qr", "geqrf", "svd", "triangular_solve", "while"}


# Invariance, shapes, dtypes


@pytest.mark.parametrize("settings", [{"linear_solve": "lsqr"}, {"scaling": "identity"}], ids=str)
def test_the_unit_of_the_residuals_is_irrelevant(settings):
    """Powers of two change no digit; |J'r| grows with the square, |J g|^2 with the sixth power of the unit."""
    method = jopt.levenberg_marquardt(**settings)

    def rosenbrock(p, unit):
        return unit * jnp.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])

    def fit(exponent):
        unit = jnp.float32(2.0**exponent)
        return jopt.least_squares(rosenbrock, jnp.array([-1.2, 1.0], jnp.float32), (unit,), method, gtol=0.0)

    plain = fit(0)
    assert int(plain.status) == Status.CONVERGED
    for exponent in (-30, -10, 10, 23, 40):
        scaled = fit(exponent)
        assert int(scaled.status) == Status.CONVERGED
        assert int(scaled.nfev) == int(plain.nfev)
        np.testing.assert_array_equal(scaled.x, plain.x)


def test_column_scaling_makes_the_units_of_parameters_irrelevant():
    def travelled(units):
        return solve("lm", start=START * units, units=units, gtol=0.0, maxiter=3).x / units

    np.testing.assert_allclose(travelled(np.array([1e3, 1e-2, 1.0])), travelled(np.ones(3)), rtol=1e-7)


def test_trees_in_and_out_equal_vectors_and_repeated_calls_trace_once():
    traces = []

    def residual(p, y):
        traces.append(1)
        r = decay(jnp.stack([p["size"], p["rate"], p["floor"][0]]), y)
        return {"early": r[:5], "late": (r[5:].reshape(7, 1), jnp.zeros(()))}

    start = {"size": 1.0, "rate": 0.5, "floor": np.zeros(1)}
    ours, flat = jopt.least_squares(residual, start, Y, gtol=1e-9, maxiter=30, history=True), best("lm")
    np.testing.assert_allclose([ours.x["size"], ours.x["rate"], ours.x["floor"][0]], flat.x, rtol=1e-7)
    np.testing.assert_allclose(ours.aux["late"][0][:, 0], flat.aux[5:], rtol=1e-6)
    assert ours.success
    rows = int(ours.nit) + 1
    assert np.isfinite(ours.history.fun[:rows]).all()
    assert np.isnan(ours.history.fun[rows:]).all()
    assert float(ours.history.fun[rows - 1]) == float(ours.fun)
    once, again = len(traces), jopt.levenberg_marquardt()
    jopt.least_squares(residual, start, Y + 1.0, again, gtol=1e-3, maxiter=30, history=True)
    assert len(traces) == once


def test_jacobian_by_rows_equals_that_by_columns():
    def few(p):
        return decay(p)[:2]

    @functools.partial(jax.jit, static_argnums=0)
    def both(fun, p):
        return dense_jacobian(Residuals(fun).linearize(p)[2], p)

    for fun, rows in ((few, 2), (decay, 12)):
        np.testing.assert_allclose(both(fun, START), J[:rows], rtol=1e-14, atol=1e-15)


def test_underdetermined_problems_are_fitted_exactly():
    fit = jopt.least_squares(lambda p: decay(p)[:2], START, gtol=1e-10)
    assert fit.success
    assert float(fit.fun) < 1e-18


@methods
def test_nothing_is_promoted_and_no_rank_is_guessed(method):
    def residual(p):
        return jnp.exp(-p["a"]) - p["b"].astype(jnp.float32) * jnp.ones(4, jnp.float32)

    start = {"a": jnp.zeros(4, jnp.float32), "b": jnp.ones((), jnp.bfloat16)}
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        shapes = jax.eval_shape(lambda x: jopt.least_squares(residual, x, (), method, loss="huber"), start)
    assert shapes.x["a"].dtype == shapes.fun.dtype == shapes.aux.dtype == jnp.float32
    assert shapes.x["b"].dtype == jnp.bfloat16


def test_float32_converges_to_its_accuracy():
    fit = jopt.least_squares(decay, START.astype(np.float32), Y.astype(np.float32), gtol=3e-5)
    assert fit.success
    assert fit.x.dtype == fit.fun.dtype == jnp.float32
    np.testing.assert_allclose(fit.x, best("lm").x, rtol=2e-3)


def test_lanes_of_a_batch_are_those_alone():
    starts = jnp.stack([START, START * 2, np.array([1.0, np.nan, 0.0])])
    batch = jax.vmap(lambda s: jopt.least_squares(decay, s, method=METHODS["lm"], gtol=1e-9))(starts)
    for i in range(2):
        alone = solve("lm", start=starts[i])
        np.testing.assert_allclose(batch.x[i], alone.x, rtol=1e-9)
        assert batch.nfev[i] == alone.nfev
    assert batch.status.tolist() == [Status.CONVERGED, Status.CONVERGED, Status.NONFINITE]


# Solutions


def test_linear_residuals_take_one_gauss_newton_step():
    fit = solve("gn", line, gtol=1e-10)
    a = np.stack([np.ones(12), T, T**2], axis=1)
    assert int(fit.nit) == 1
    assert fit.success
    np.testing.assert_allclose(fit.x, np.linalg.lstsq(a, Y, rcond=None)[0], rtol=1e-9)


ROBUST = np.array([2.5, 1.0, 0.2])


@functools.cache
def scipys(loss):
    return scipy.optimize.least_squares(
        lambda p: decay_numpy(p, OUTLIERS), ROBUST, loss=loss, f_scale=0.3, xtol=1e-15, ftol=1e-15, gtol=1e-15
    )


@jax.jit
def points(solutions):
    """Return the value and gradient of each loss at its solution."""
    return {loss: Residuals(decay, (OUTLIERS,), loss, 0.3).evaluate(x) for loss, x in solutions.items()}


def test_scipys_solutions_are_stationary_with_the_same_costs():
    found = points({loss: scipys(loss).x for loss in LOSSES})
    for loss, point in found.items():
        np.testing.assert_allclose(point.value, scipys(loss).cost, rtol=1e-12, err_msg=loss)
        np.testing.assert_allclose(point.grad, 0.0, atol=1e-7, err_msg=loss)
        np.testing.assert_allclose(point.aux, scipys(loss).fun, rtol=1e-12, atol=1e-14, err_msg=loss)


@pytest.mark.parametrize("loss", ["linear", "huber", "arctan"])
def test_solutions_and_costs_are_scipys(loss):
    theirs, ours = scipys(loss), solve("lm", start=ROBUST, y=OUTLIERS, loss=loss, f_scale=0.3)
    assert ours.success
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-6)
    np.testing.assert_allclose(ours.fun, theirs.cost, rtol=1e-12)
    np.testing.assert_allclose(ours.aux, theirs.fun, rtol=1e-5, atol=1e-6)


def test_the_unrolled_solve_is_differentiated_backwards():
    """From zero every iterate of a linear fit is proportional to the data, so that its derivative is x / y."""

    def fit(y):
        result = jopt.least_squares(lambda p, y: jnp.ones(2) * p - y, 0.0, y, gtol=0.0, maxfev=3, derivative="unrolled")
        return result.x, result.x

    slope, x = jax.grad(fit, has_aux=True)(2.0)
    np.testing.assert_allclose(slope, x / 2.0, rtol=1e-9)
    np.testing.assert_allclose(x, 2.0, rtol=1e-4)


def test_f_scale_is_used_by_robust_losses_alone_and_compiles_nothing_new():
    def solution(loss, scale):
        return solve("lm", start=ROBUST, y=OUTLIERS, loss=loss, f_scale=scale).x

    assert not np.allclose(solution("huber", 0.3), solution("huber", 3.0), rtol=1e-3)
    np.testing.assert_array_equal(solution("linear", 0.3), solution("linear", 3.0))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_the_solution(name):
    fit = best(name)
    theirs = scipy.optimize.least_squares(decay_numpy, START, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert fit.success
    np.testing.assert_allclose(fit.x, theirs.x, rtol=1e-6)
    np.testing.assert_allclose(fit.jac, jacobian_numpy(np.asarray(fit.x)).T @ fit.aux, atol=1e-12)
    np.testing.assert_allclose(fit.fun, np.sum(fit.aux**2) / 2, rtol=1e-12)
    assert (int(fit.nhev) > 0) == ("lsqr" in name)


REDUNDANT = np.array([0.25, 0.25, 7.0])


def test_without_full_rank_gauss_newton_takes_the_step_of_least_norm():
    d = first(METHODS["gn"], redundant, start=REDUNDANT).direction
    column = np.exp(0.5 - 1.3 * T)
    np.testing.assert_allclose(d[0], d[1], rtol=1e-9)
    np.testing.assert_allclose(d[0] + d[1], -column @ (column + 0.4 - Y) / (column @ column), rtol=1e-9)
    assert float(d[2]) == 0.0


def test_without_full_rank_levenberg_marquardt_converges():
    fit = solve("lm", redundant, REDUNDANT)
    column = np.exp(-1.3 * T)
    assert fit.success
    np.testing.assert_allclose(np.exp(fit.x[0] + fit.x[1]), column @ (Y - 0.4) / (column @ column), rtol=1e-7)
    assert float(fit.x[2]) == 7.0


# What goes wrong, and what the status says


@pytest.mark.parametrize("name", ["lm", "gn"])
def test_a_trial_outside_the_domain_is_rejected(name):
    fit = solve(name, logarithm, [20.0] * 3)
    assert fit.success
    assert int(fit.nfev) > int(fit.nit) + 1
    np.testing.assert_allclose(fit.x, np.exp(-2.0), rtol=1e-6)


def test_a_start_that_is_not_finite_says_so():
    fit = solve("lm", logarithm, [-1.0] * 3)
    assert int(fit.status) == Status.NONFINITE
    assert int(fit.nfev) == 1
    np.testing.assert_array_equal(fit.x, [-1.0] * 3)


@pytest.mark.parametrize("method", ["lm", "gn"])
def test_a_wrong_derivative_ends_as_search_failed(method):
    fit = solve(method, lies, [3.0, 4.0, 5.0])
    assert int(fit.status) == Status.SEARCH_FAILED
    np.testing.assert_array_equal(fit.x, [3.0, 4.0, 5.0])


@pytest.mark.parametrize("name", ["lm", "gn"])
def test_the_ratio_is_safe_near_round_off(name):
    """The decrease of the last steps is below the rounding of a cost of 5e7; the gradient tells."""
    large = solve(name, hidden, y=np.full(12, 1e4))
    assert large.success
    np.testing.assert_allclose(large.x, [3.0, 1.3, 0.4], rtol=1e-7)
    zero = solve(name, hidden, y=np.zeros(12), gtol=0.0)
    assert int(zero.status) in {Status.STALLED, Status.CONVERGED}  # a gradient of exactly zero may be met
    assert int(zero.nfev) < 150
    np.testing.assert_allclose(zero.x, [3.0, 1.3, 0.4], rtol=1e-12)


def test_asking_for_more_than_rounding_allows_ends_as_stalled():
    fit = solve("lm", gtol=0.0)
    assert int(fit.status) == Status.STALLED
    np.testing.assert_allclose(fit.x, best("lm").x, rtol=1e-7)


def test_limits_reach_the_loop_each_with_its_status():
    off = {"gtol": 0.0, "xtol": 0.0, "ftol": 0.0, "frtol": 0.0, "target": -1.0, "maxfev": 10**6, "maxiter": 10**6}

    def status(**limit):
        return Status(int(jopt.least_squares(decay, START, **(off | limit)).status))

    assert status(gtol=1e3) == Status.CONVERGED
    assert status(xtol=1e3) == Status.STEP
    assert status(ftol=1e3) == Status.DECREASE
    assert status(frtol=0.9) == Status.RELATIVE_DECREASE
    assert status(target=1e3) == Status.TARGET
    assert status(maxfev=2) == Status.MAX_EVALUATIONS
    assert status(maxiter=1) == Status.MAX_ITERATIONS


# The program


@methods
def test_the_residual_stands_once_in_the_program(method):
    program = copies(lambda x: jopt.least_squares(marked(decay), x, method=method), jnp.asarray(START))
    assert program == (2 if "geodesic=True" in repr(method) else 1)


def test_the_form_is_chosen_by_size():
    def dense(n, m, linear_solve="auto"):
        return linear_models.is_dense(linear_solve, jnp.zeros(n), jax.ShapeDtypeStruct((m,), jnp.float32))

    assert dense(512, 8192)
    assert not dense(512, 8193)
    assert not dense(513, 10)
    assert dense(513, 10, "qr")
    assert not dense(2, 2, "lsqr")


# Errors


@pytest.mark.parametrize(
    ("residual", "match"),
    [
        (lambda p: jnp.sum(decay(p) ** 2), r"an array or a tree of arrays, got a scalar; return the vector r"),
        (
            lambda p: {"a": decay(p), "b": jnp.arange(3)},
            r"residual\['b'\] must be real floating arrays, got int64\[3\]",
        ),
        (lambda p: decay(p) + 1j, r"real floating arrays, got complex128\[12\]; return real and imaginary"),
        (lambda _: {}, "at least one number"),
        (None, "residual must be a function"),
    ],
)
def test_residuals_that_are_none_are_refused_at_trace_time(residual, match):
    with pytest.raises(TypeError, match=match):
        jopt.least_squares(residual, START)


def test_a_solver_for_residuals_refuses_a_scalar_objective():
    with pytest.raises(TypeError, match=r"call jopt\.least_squares, not jopt\.minimize"):
        jopt.minimize(lambda x: jnp.sum(x**2), START, method=METHODS["lm"])


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"method": "newton"}, ValueError, "method must be one of 'gauss-newton', 'lm'"),
        ({"method": jopt.levenberg_marquardt}, TypeError, "was the factory not called"),
        ({"method": 3}, TypeError, "method must be a name or a solver"),
        ({"method": "lbfgs"}, ValueError, r"jopt\.minimize takes the other methods"),
        ({"method": jopt.lbfgs()}, TypeError, r"got lbfgs\(.*'lm', 'gauss-newton', levenberg_marquardt\(\.\.\.\)"),
        ({"method": jopt.trust_ncg()}, TypeError, r"got trust_ncg\(.*jopt\.minimize takes the other methods"),
        ({"loss": "hubert"}, ValueError, "Did you mean 'huber'"),
        ({"f_scale": 0.0}, ValueError, "f_scale must be in"),
        ({"gtol": -1.0}, ValueError, "gtol must be in"),
        ({"args": ("text",)}, TypeError, r"args\[0\] must be an array or a number"),
        ({"x0": 1}, TypeError, "x0 must be real floating"),
    ],
)
def test_bad_arguments_of_the_call(settings, error, match):
    with pytest.raises(error, match=f"^least_squares: .*{match}"):
        jopt.least_squares(**({"residual": decay, "x0": START} | settings))


@pytest.mark.parametrize("factory", [jopt.levenberg_marquardt, jopt.gauss_newton_descent])
@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"linear_solve": "cholesky"}, ValueError),
        ({"scaling": "rows"}, ValueError),
        ({"rtol": -1.0}, ValueError),
        ({"inner_maxiter": 0}, ValueError),
    ],
)
def test_bad_settings_of_the_solvers(factory, setting, error):
    with pytest.raises(error, match=f"^{factory.__name__}: {next(iter(setting))} must"):
        factory(**setting)


@pytest.mark.parametrize(
    ("setting", "error"),
    [({"damping": 0.0}, ValueError), ({"geodesic": 1}, TypeError), ({"acceleration_limit": 0.0}, ValueError)],
)
def test_bad_settings_of_levenberg_marquardt(setting, error):
    with pytest.raises(error, match=f"^levenberg_marquardt: {next(iter(setting))} must"):
        jopt.levenberg_marquardt(**setting)


def test_a_history_needs_a_length_known_when_traced():
    with pytest.raises(TypeError, match="maxiter must be a Python number with history=True"):
        jax.jit(lambda k: jopt.least_squares(decay, START, maxiter=k, history=True))(3)

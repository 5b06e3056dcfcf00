# SPDX-License-Identifier: Apache-2.0
"""Levenberg-Marquardt and Gauss-Newton: the step by its formula, limits, statuses, SciPy at the solution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from marker import copies, marked

import jopt
from jopt import Status
from jopt.solvers import linear_models
from jopt.solvers.linearised import FIRST_GROWTH, LEAST_RATIO
from jopt.solvers.residuals import Residuals, dense_jacobian
from jopt.solvers.robust import LOSSES

T = np.linspace(0.0, 2.0, 12)
Y = 3.0 * np.exp(-1.3 * T) + 0.4 + 0.05 * np.sin(7 * T)
OUTLIERS = Y + np.where(np.arange(12) % 5 == 2, 3.0, 0.0)
START = np.array([1.0, 0.5, 0.0])


def decay(p, y=Y):
    return p[0] * jnp.exp(-p[1] * T) + p[2] - y


def line(p, y=Y):
    return p[0] + p[1] * T + p[2] * T**2 - y


def stretched(p, units):
    return decay(p / units)


def logarithm(p):
    return jnp.log(p) - jnp.array([-2.0])


METHODS = {
    "lm": jopt.levenberg_marquardt(),
    "lm lsqr": jopt.levenberg_marquardt(linear_solve="lsqr"),
    "lm geodesic": jopt.levenberg_marquardt(geodesic=True),
    "gn": jopt.gauss_newton_descent(),
    "gn lsqr": jopt.gauss_newton_descent(linear_solve="lsqr"),
}
methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


@functools.cache
def best(name):
    return jopt.least_squares(decay, START, method=METHODS[name], gtol=1e-9)


@functools.cache
def stepper(method, fun=decay):
    return jax.jit(lambda state: method.step(Residuals(fun), state))


def first(method, fun=decay, damping=None, start=START):
    """Return the state after the start has been evaluated: its direction leads to the first trial."""
    state = method.init(Residuals(fun), jnp.asarray(start))
    if damping is not None:
        state = state._replace(damping=jnp.asarray(damping))
    return stepper(method, fun)(state)[0]


J = np.asarray(jax.jacfwd(decay)(jnp.asarray(START)))
R = np.asarray(decay(START))
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
    free = jopt.levenberg_marquardt(linear_solve="lsqr", rtol=1e-13)
    for damping in (1e-3, 10.0):
        a, b = first(dense, damping=damping), first(free, damping=damping)
        np.testing.assert_allclose(a.direction, b.direction, rtol=1e-8)
        np.testing.assert_allclose(a.promised, b.promised, rtol=1e-8)
    gn = jopt.gauss_newton_descent(linear_solve="lsqr", rtol=1e-13)
    np.testing.assert_allclose(first(gn).direction, first(METHODS["gn"]).direction, rtol=1e-8)


def test_geodesic_acceleration_adds_half_of_what_the_formula_says():
    v = first(METHODS["lm"], damping=2.0)
    d = np.asarray(v.direction)
    bend = jax.jvp(lambda x: jax.jvp(decay, (x,), (d,))[1], (START,), (d,))[1]
    a = np.linalg.solve(J.T @ J + 2.0 * np.diag(COLUMNS**2), -J.T @ np.asarray(bend))
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
        after, info = stepper(method)(state)
        ratio = float(info.decrease / state.promised)
        accepted = ratio > LEAST_RATIO
        assert bool(info.accepted) == accepted
        if accepted:
            factor = max(1 / 3, 1 - (2 * ratio - 1) ** 3)
            np.testing.assert_allclose(after.damping, state.damping * factor, rtol=1e-9)
            assert float(after.growth) == FIRST_GROWTH
            np.testing.assert_array_equal(after.params, info.point.params)
            np.testing.assert_allclose(
                after.scale, np.maximum(state.scale, np.linalg.norm(jax.jacfwd(decay)(after.params), axis=0))
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
    method = METHODS["lm lsqr"]
    state = first(method, logarithm, start=[20.0])  # the full step goes to -80
    rejected, info = stepper(method, logarithm)(state)
    assert not info.accepted
    assert int(info.nhev) == 0
    assert rejected.again
    again, info = stepper(method, logarithm)(rejected)
    np.testing.assert_array_equal(info.point.params, [20.0])
    assert not info.accepted
    assert int(info.nhev) > 0
    assert not again.again
    np.testing.assert_allclose(again.damping, 2 * state.damping)
    assert 0 < -float(again.direction[0]) < -float(state.direction[0])


def test_gauss_newton_halves_a_rejected_step():
    method = METHODS["gn"]
    state = first(method, logarithm, start=[20.0])
    halved, info = stepper(method, logarithm)(state)
    assert not info.accepted
    np.testing.assert_allclose(halved.direction, state.direction / 2)
    np.testing.assert_allclose(halved.promised, -state.slope / 2)


def test_budget_and_tolerance_of_lsqr_are_used():
    def products(**settings):
        method = jopt.levenberg_marquardt(linear_solve="lsqr", **settings)
        return int(stepper(method)(method.init(Residuals(decay), jnp.asarray(START)))[1].nhev)

    assert products(inner_maxiter=1, rtol=1e-13) == 1
    assert products() < products(rtol=1e-13)


# Invariance, shapes, dtypes


def test_column_scaling_makes_the_units_of_parameters_irrelevant():
    def travelled(units):
        return jopt.least_squares(stretched, START * units, units, METHODS["lm"], gtol=0.0, maxiter=3).x / units

    np.testing.assert_allclose(travelled(np.array([1e3, 1e-2, 1.0])), travelled(np.ones(3)), rtol=1e-7)


def test_trees_in_and_out_equal_vectors():
    def residual(p):
        r = decay(jnp.stack([p["size"], p["rate"], p["floor"][0]]))
        return {"early": r[:5], "late": (r[5:].reshape(7, 1), jnp.zeros(()))}

    start = {"size": 1.0, "rate": 0.5, "floor": np.zeros(1)}
    ours, flat = jopt.least_squares(residual, start, gtol=1e-9, maxiter=30, history=True), best("lm")
    np.testing.assert_allclose([ours.x["size"], ours.x["rate"], ours.x["floor"][0]], flat.x, rtol=1e-7)
    np.testing.assert_allclose(ours.aux["late"][0][:, 0], flat.aux[5:], rtol=1e-6)
    assert ours.success
    rows = int(ours.nit) + 1
    assert np.isfinite(ours.history.fun[:rows]).all()
    assert np.isnan(ours.history.fun[rows:]).all()
    assert float(ours.history.fun[rows - 1]) == float(ours.fun)


def test_jacobian_by_rows_equals_that_by_columns():
    def few(p):
        return decay(p)[:2]

    for fun in (few, decay):
        _, _, model = Residuals(fun).linearize(START)
        np.testing.assert_allclose(dense_jacobian(model, jnp.asarray(START)), jax.jacfwd(fun)(START), rtol=1e-14)


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
        alone = jopt.least_squares(decay, starts[i], method=METHODS["lm"], gtol=1e-9)
        np.testing.assert_allclose(batch.x[i], alone.x, rtol=1e-9)
        assert batch.nfev[i] == alone.nfev
    assert batch.status.tolist() == [Status.CONVERGED, Status.CONVERGED, Status.NONFINITE]


# Solutions


def test_linear_residuals_take_one_gauss_newton_step():
    fit = jopt.least_squares(line, START, method=METHODS["gn"], gtol=1e-10)
    a = np.stack([np.ones(12), T, T**2], axis=1)
    assert int(fit.nit) == 1
    assert fit.success
    np.testing.assert_allclose(fit.x, np.linalg.lstsq(a, Y, rcond=None)[0], rtol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_solutions_and_costs_are_scipys(loss):
    settings = {"loss": loss, "f_scale": 0.3}
    start = np.array([2.5, 1.0, 0.2])
    theirs = scipy.optimize.least_squares(
        lambda p: np.asarray(decay_numpy(p)), start, xtol=1e-15, ftol=1e-15, gtol=1e-15, **settings
    )
    ours = jopt.least_squares(decay, start, OUTLIERS, gtol=1e-9, **settings)
    assert ours.success
    np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-6)
    np.testing.assert_allclose(ours.fun, theirs.cost, rtol=1e-12)
    np.testing.assert_allclose(ours.aux, theirs.fun, rtol=1e-5, atol=1e-6)


def decay_numpy(p):
    return p[0] * np.exp(-p[1] * T) + p[2] - OUTLIERS


def test_f_scale_is_used_by_robust_losses_alone_and_compiles_nothing_new():
    def solution(loss, scale):
        return jopt.least_squares(decay, np.array([2.5, 1.0, 0.2]), OUTLIERS, loss=loss, f_scale=scale, gtol=1e-9).x

    assert not np.allclose(solution("huber", 0.3), solution("huber", 3.0), rtol=1e-3)
    np.testing.assert_array_equal(solution("linear", 0.3), solution("linear", 3.0))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_the_solution(name):
    fit = best(name)
    theirs = scipy.optimize.least_squares(
        lambda p: decay_numpy(p) + OUTLIERS - Y, START, xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    assert fit.success
    np.testing.assert_allclose(fit.x, theirs.x, rtol=1e-6)
    np.testing.assert_allclose(fit.jac, np.asarray(jax.jacfwd(decay)(fit.x)).T @ fit.aux, atol=1e-12)
    np.testing.assert_allclose(fit.fun, np.sum(fit.aux**2) / 2, rtol=1e-12)
    assert (int(fit.nhev) > 0) == ("lsqr" in name)


def twice(p):
    """Only p0 + p1 matters, and p4 does not."""
    return decay(jnp.stack([p[0] + p[1], p[2], p[3]])) + 0 * p[4]


REDUNDANT = np.array([0.5, 0.5, 0.5, 0.0, 7.0])


def test_without_full_rank_gauss_newton_takes_the_step_of_least_norm():
    state = first(METHODS["gn"], twice, start=REDUNDANT)
    np.testing.assert_allclose(state.direction[0], state.direction[1], rtol=1e-9)
    plain = first(METHODS["gn"]).direction
    np.testing.assert_allclose(state.direction[0] + state.direction[1], plain[0], rtol=1e-9)
    assert float(state.direction[4]) == 0.0


def test_without_full_rank_levenberg_marquardt_converges():
    fit = jopt.least_squares(twice, REDUNDANT, gtol=1e-9)
    assert fit.success
    np.testing.assert_allclose(fit.x[0] + fit.x[1], best("lm").x[0], rtol=1e-7)
    assert float(fit.x[4]) == 7.0


# What goes wrong, and what the status says


@pytest.mark.parametrize("name", ["lm", "gn"])
def test_a_trial_outside_the_domain_is_rejected(name):
    fit = jopt.least_squares(logarithm, jnp.array([20.0]), method=METHODS[name], gtol=1e-9)
    assert fit.success
    assert int(fit.nfev) > int(fit.nit) + 1
    np.testing.assert_allclose(fit.x, np.exp(-2.0), rtol=1e-6)


def test_a_start_that_is_not_finite_says_so():
    fit = jopt.least_squares(logarithm, jnp.array([-1.0]), method=METHODS["lm"], gtol=1e-9)
    assert int(fit.status) == Status.NONFINITE
    assert int(fit.nfev) == 1
    np.testing.assert_array_equal(fit.x, [-1.0])


@jax.custom_jvp
def lies(p):
    return jnp.stack([p[0] - 1.0, p[1] + 2.0])


lies.defjvp(lambda primals, tangents: (lies(*primals), -tangents[0]))


@pytest.mark.parametrize("method", ["lm", "gn"])
def test_a_wrong_derivative_ends_as_search_failed(method):
    fit = jopt.least_squares(lies, jnp.array([3.0, 4.0]), method=METHODS[method])
    assert int(fit.status) == Status.SEARCH_FAILED
    np.testing.assert_array_equal(fit.x, [3.0, 4.0])


def hidden(p, offset):
    """Residuals of a perfect fit beside a constant one."""
    return jnp.append(decay(p, 3.0 * jnp.exp(-1.3 * T) + 0.4), offset)


@pytest.mark.parametrize("name", ["lm", "gn"])
def test_the_ratio_is_safe_near_round_off(name):
    """The decrease of the last steps is below the rounding of a cost of 5e7; the gradient tells."""
    large = jopt.least_squares(hidden, START, 1e4, METHODS[name], gtol=1e-9)
    assert large.success
    np.testing.assert_allclose(large.x, [3.0, 1.3, 0.4], rtol=1e-7)
    zero = jopt.least_squares(hidden, START, 0.0, METHODS[name], gtol=0.0)
    assert int(zero.status) in {Status.STALLED, Status.CONVERGED}  # a gradient of exactly zero may be met
    assert int(zero.nfev) < 150
    np.testing.assert_allclose(zero.x, [3.0, 1.3, 0.4], rtol=1e-12)


def test_asking_for_more_than_rounding_allows_ends_as_stalled():
    fit = jopt.least_squares(decay, START, method=METHODS["lm"], gtol=0.0)
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


def test_repeated_calls_trace_once():
    traces = []

    def residual(p, y):
        traces.append(1)
        return decay(p, y)

    counts = []
    for shift in (0.0, 1.0):
        jopt.least_squares(residual, START, Y + shift, jopt.levenberg_marquardt(), gtol=1e-3 + shift, maxiter=5)
        counts.append(len(traces))
    assert counts[1] == counts[0]


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

# SPDX-License-Identifier: Apache-2.0
"""`minimize`: every status, every kind of input, every error."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from support import DTYPES

import jopt
from jopt import Status


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


START = np.array([-1.2, 1.0])


def bowl(x):
    return 0.5 * jnp.sum(x**2)


def holds(result, fun, gtol, *args):
    """Return whether the gradient test holds afresh at the point returned."""
    return float(jnp.max(jnp.abs(jax.grad(fun)(result.x, *args)))) <= gtol


# Each status, produced.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["lbfgs", "gradient-descent"])
def test_converged_is_a_certificate(method, dtype):
    gtol = 1e-2 if method == "gradient-descent" else 1e-4
    result = jopt.minimize(rosenbrock, jnp.asarray(START, dtype), method=method, gtol=gtol, maxiter=5000)
    assert Status(int(result.status)) is Status.CONVERGED
    assert bool(result.success)
    assert result.x.dtype == dtype
    assert holds(result, rosenbrock, gtol)
    rounding = 1e3 * float(jnp.finfo(dtype).eps)  # the terms of the gradient are of size 400
    np.testing.assert_allclose(result.jac, jax.grad(rosenbrock)(result.x), rtol=0, atol=rounding)
    assert float(result.fun) == pytest.approx(float(rosenbrock(result.x)), rel=1e-4, abs=1e-12)


def test_default_gtol_is_relative_to_the_first_gradient_and_to_the_dtype():
    for dtype in DTYPES:
        result = jopt.minimize(bowl, jnp.full(3, 1e4, dtype), method="gradient-descent")
        assert Status(int(result.status)) is Status.CONVERGED
        assert holds(result, bowl, float(jnp.finfo(dtype).eps) ** 0.5 * 1e4)
    start = jnp.asarray([1e-6, 0.0])  # |g_0| < 1: the tolerance is sqrt(eps), not eps^(1/2) |g_0|
    assert int(jopt.minimize(bowl, start).nit) > 0
    assert int(jopt.minimize(bowl, 1e-3 * start).nit) == 0


@pytest.mark.parametrize(
    ("setting", "status"),
    [
        ({"xtol": 1e-2}, Status.STEP),
        ({"ftol": 1e-4}, Status.DECREASE),
        ({"frtol": 1e-3}, Status.RELATIVE_DECREASE),
        ({"target": 1.001}, Status.TARGET),
        ({"maxiter": 7}, Status.MAX_ITERATIONS),
        ({"maxfev": 11}, Status.MAX_EVALUATIONS),
    ],
)
@pytest.mark.parametrize("method", ["lbfgs", jopt.sgd(1e-1)], ids=["lbfgs", "sgd"])
def test_each_limit_has_its_status(method, setting, status):
    def quartic(x):
        return 1.0 + jnp.sum(x**4 + x**2)

    result = jopt.minimize(
        quartic, jnp.asarray([0.9, -0.4]), method=method, gtol=0.0, history=True, **({"maxiter": 300} | setting)
    )
    assert Status(int(result.status)) is status
    assert bool(result.success) == status.success
    nit = int(result.nit)
    fun, steps, nfev = (
        np.asarray(a)[: nit + 1] for a in (result.history.fun, result.history.step_norm, result.history.nfev)
    )
    change = np.abs(np.diff(fun))
    checks = {
        Status.STEP: steps[1:] <= 1e-2,
        Status.DECREASE: change <= 1e-4,
        Status.RELATIVE_DECREASE: change <= 1e-3 * np.abs(fun[:-1]),
        Status.TARGET: fun[1:] <= 1.001,
        Status.MAX_ITERATIONS: np.arange(1, nit + 1) >= 7,
        Status.MAX_EVALUATIONS: nfev[1:] >= 11,
    }
    passed = checks[status]
    assert passed[-1]
    assert not passed[:-1].any()


def test_maxfev_is_a_bound_in_the_middle_of_a_search():
    for maxfev in range(1, 9):
        result = jopt.minimize(rosenbrock, jnp.asarray(START), maxfev=maxfev, gtol=0.0)
        assert int(result.nfev) == maxfev
        assert Status(int(result.status)) is Status.MAX_EVALUATIONS


def test_no_iterations_returns_the_start_evaluated():
    result = jopt.minimize(rosenbrock, jnp.asarray(START), maxiter=0)
    assert Status(int(result.status)) is Status.MAX_ITERATIONS
    assert int(result.nfev) == 1
    np.testing.assert_array_equal(result.x, START)
    assert float(result.fun) == pytest.approx(24.2)


@pytest.mark.parametrize("method", ["lbfgs", "gradient-descent", jopt.adam(0.1)], ids=["lbfgs", "gd", "adam"])
def test_nan_at_the_start(method):
    result = jopt.minimize(lambda x: jnp.sum(jnp.sqrt(x)), jnp.asarray([-1.0, 2.0]), method=method)
    assert Status(int(result.status)) is Status.NONFINITE
    assert int(result.nfev) == 1
    np.testing.assert_array_equal(result.x, [-1.0, 2.0])


def test_a_chain_that_runs_out_of_the_domain_returns_the_last_good_point():
    def fun(x):
        return x - jnp.log(x)

    result = jopt.minimize(fun, 3.0, method=jopt.sgd(4.6))
    assert Status(int(result.status)) is Status.NONFINITE
    assert float(result.fun) == float(fun(result.x))
    assert np.isfinite(result.jac)


def test_a_search_steps_back_from_a_cliff():
    def fun(x):
        return x - jnp.log(x)  # NaN below 0; minimum at 1

    result = jopt.minimize(fun, 20.0, method=jopt.lbfgs(first_trial=jopt.linesearch.constant(64.0)), gtol=1e-8)
    assert Status(int(result.status)) is Status.CONVERGED
    assert float(result.x) == pytest.approx(1.0, abs=1e-8)


def test_nothing_finite_but_the_start():
    def fun(x):
        return jnp.where(x == 1.0, x, jnp.nan * x)

    result = jopt.minimize(fun, 1.0)
    assert Status(int(result.status)) is Status.NONFINITE
    assert float(result.x) == 1.0
    assert float(result.fun) == 1.0


@pytest.mark.parametrize("method", ["lbfgs", jopt.sgd(1e2)], ids=["lbfgs", "sgd"])
def test_unbounded_below(method):
    result = jopt.minimize(lambda x: -jnp.sum(x**2), jnp.asarray([1.0, 2.0]), method=method, maxiter=5000)
    assert Status(int(result.status)) is Status.UNBOUNDED
    assert np.isfinite(result.fun)


@jax.custom_vjp
def wrong_sign(x):
    return jnp.sum(x**2)


wrong_sign.defvjp(lambda x: (jnp.sum(x**2), x), lambda x, ct: (-2.0 * ct * x,))


def test_a_gradient_with_a_wrong_sign_fails_the_search():
    for method in ("trust-ncg", "lbfgs"):
        result = jopt.minimize(wrong_sign, jnp.asarray([1.0, 2.0]), method=method)
        assert Status(int(result.status)) is Status.SEARCH_FAILED
        np.testing.assert_array_equal(result.x, [1.0, 2.0])


def test_stalled_at_the_round_off_floor():
    rng = np.random.default_rng(0)
    matrix = jnp.asarray(rng.standard_normal((20, 6)) * np.geomspace(1, 1e3, 6), jnp.float32)
    right = jnp.asarray(1e3 * rng.standard_normal(20), jnp.float32)

    def fun(x):
        return jnp.sum((matrix @ x - right) ** 2)

    result = jopt.minimize(fun, jnp.zeros(6, jnp.float32), gtol=1e-6, maxiter=20000)
    assert Status(int(result.status)) is Status.STALLED
    best = np.linalg.lstsq(np.asarray(matrix, np.float64), np.asarray(right, np.float64), rcond=None)[1][0]
    assert float(result.fun) == pytest.approx(best, rel=1e-5)
    assert int(result.nfev) < 400


@pytest.mark.parametrize("slope", [1e-13, 1e-3])
def test_a_failed_search_is_stalled_only_where_the_promise_was_below_the_noise(slope):
    # The value never changes and the gradient never vanishes: whether that is noise or a wrong gradient is a matter of size.
    @jax.custom_jvp
    def flat(x):
        return 1.0 + 0.0 * x

    flat.defjvp(lambda x, v: (flat(*x), slope * v[0]))
    status = Status(
        int(jopt.minimize(flat, 1.0, gtol=0.0, method=jopt.lbfgs(first_trial=jopt.linesearch.constant(1.0))).status)
    )
    assert status is (Status.STALLED if slope < 1e-11 else Status.SEARCH_FAILED)


def test_falling_for_ever_is_unbounded():
    for method, most in (("lbfgs", 40), ("trust-ncg", 200)):
        result = jopt.minimize(jnp.sum, jnp.ones(3, jnp.float32), method=method)
        assert Status(int(result.status)) is Status.UNBOUNDED
        assert int(result.nfev) < most
    # A long way down is not for ever.
    far = jopt.minimize(lambda x: jnp.sqrt(1.0 + (x - 1e9) ** 2), 0.0)
    assert Status(int(far.status)) is Status.CONVERGED


def test_a_step_that_moves_nothing_is_no_progress():
    method = jopt.gradient_descent(search=jopt.linesearch.backtracking(), first_trial=jopt.linesearch.constant(1.0))
    result = jopt.minimize(lambda x: 1e-30 * x, 1e20, method=method, gtol=0.0, xtol=1e-8)
    assert Status(int(result.status)) is Status.STALLED
    assert int(result.nit) == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lbfgs", "gradient-descent"])
@pytest.mark.parametrize(
    ("dtype", "size"), [(jnp.float32, 1e25), (jnp.float32, 1e-25), (jnp.float64, 1e200), (jnp.float64, 1e-200)]
)
def test_squares_that_leave_the_range_of_numbers_stop_nothing(method, dtype, size):
    def fun(x, c):
        return c * jnp.sum((x - 1.0) ** 2)

    c = jnp.asarray(size, dtype)
    result = jopt.minimize(fun, jnp.zeros(3, dtype), (c,), method, gtol=1e-3 * c)
    assert Status(int(result.status)) is Status.CONVERGED
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


def test_noise_in_value_and_gradient_ends_stalled():
    scales = jnp.asarray([1.0, 30.0, 1000.0])

    @jax.custom_jvp
    def fun(x):
        return 1.0 + 0.5 * jnp.sum(scales * x**2) + 2e-14 * jnp.sin(1e12 * jnp.sum(x))

    fun.defjvp(lambda x, v: (fun(*x), jnp.sum((scales * x[0] + 5e-8 * jnp.sin(1e12 * x[0])) * v[0])))
    result = jopt.minimize(fun, jnp.ones(3), method="lbfgs", gtol=0.0, maxiter=5000)
    assert Status(int(result.status)) is Status.STALLED
    assert int(result.nfev) < 1000


# Which point comes back.


def test_failure_returns_the_least_value_seen():
    # A large rate oscillates: the last point is not the best one.
    result = jopt.minimize(
        lambda x: jnp.sum(jnp.abs(x) ** 1.5),
        jnp.asarray([1.0]),
        method=jopt.sgd(0.5),
        gtol=0.0,
        maxiter=40,
        history=True,
    )
    least = np.nanmin(np.asarray(result.history.fun))
    assert float(result.fun) == least
    assert float(result.history.fun[40]) > least


def test_a_trial_of_least_value_is_returned_when_evaluations_run_out():
    values = []

    def watched(x):
        jax.debug.callback(lambda v: values.append(float(v)), rosenbrock(x))
        return rosenbrock(x)

    for maxfev in (4, 6, 9):
        values.clear()
        result = jopt.minimize(watched, jnp.asarray(START), maxfev=maxfev, gtol=0.0)
        jax.effects_barrier()
        assert float(result.fun) == pytest.approx(min(values), rel=1e-12)


def test_success_returns_the_point_where_the_test_held_even_if_another_was_lower():
    # One step leaps out of a well onto the plateau, where the gradient vanishes at a higher value.
    def well(x):
        return -jnp.exp(-100.0 * x**2)

    result = jopt.minimize(well, 0.05, method=jopt.sgd(1.0), gtol=1e-3)
    assert Status(int(result.status)) is Status.CONVERGED
    assert abs(float(result.x)) > 1.0
    assert float(result.fun) > float(well(0.05))
    assert holds(result, well, 1e-3)


# Methods.


@pytest.mark.parametrize(
    "method",
    [
        jopt.adam(0.05),
        optax.adam(0.05),
        jopt.chain(jopt.clip_by_global_norm(10.0), optax.scale_by_adam(), jopt.scale_by_learning_rate(0.05)),
        optax.chain(jopt.clip_by_global_norm(10.0), jopt.adam(0.05)),
    ],
    ids=["jopt", "optax", "jopt chain", "optax chain"],
)
def test_a_transformation_is_added_as_it_stands(method):
    result = jopt.minimize(rosenbrock, jnp.asarray(START), method=method, gtol=0.0, maxiter=50)
    x, state = jnp.asarray(START), method.init(jnp.asarray(START))
    best = np.inf
    for _ in range(51):
        value, grads = jax.value_and_grad(rosenbrock)(x)
        best = min(best, float(value))
        updates, state = method.update(grads, state, x)
        x = optax.apply_updates(x, updates)
    assert int(result.nit) == 50
    assert int(result.nfev) == 51
    assert float(result.fun) == pytest.approx(best, rel=1e-9)


def test_a_stage_that_needs_the_extras_gets_them():
    method = jopt.chain(jopt.scale_by_lbfgs(), jopt.scale_by_line_search())
    chained = jopt.minimize(rosenbrock, jnp.asarray(START), method=method, gtol=1e-6)
    solver = jopt.minimize(rosenbrock, jnp.asarray(START), method="lbfgs", gtol=1e-6)
    assert Status(int(chained.status)) is Status.CONVERGED
    assert int(chained.nit) == int(solver.nit)
    np.testing.assert_allclose(chained.x, solver.x, rtol=1e-9)
    plateau = jopt.chain(jopt.sgd(1e-3), jopt.reduce_on_plateau())
    assert int(jopt.minimize(rosenbrock, jnp.asarray(START), method=plateau, maxiter=3).nit) == 3


def test_evaluations_match_scipy():
    value_and_grad = jax.jit(jax.value_and_grad(rosenbrock))
    for n in (2, 10):
        start = np.tile(START, n // 2)
        result = jopt.minimize(rosenbrock, jnp.asarray(start), gtol=1e-8)
        peer = scipy.optimize.minimize(
            lambda x: tuple(map(np.asarray, value_and_grad(x))), start, jac=True, method="L-BFGS-B",
            options={"gtol": 1e-8, "ftol": 0.0},
        )  # fmt: skip
        assert int(result.nfev) <= 1.1 * peer.nfev


# Inputs.


def test_has_aux_returns_the_aux_of_the_point_returned():
    def fun(x):
        return rosenbrock(x), {"double": 2.0 * x, "count": jnp.int32(3)}

    for method in ("lbfgs", jopt.sgd(1e-3)):
        result = jopt.minimize(fun, jnp.asarray(START), method=method, has_aux=True, maxiter=20)
        np.testing.assert_array_equal(result.aux["double"], 2.0 * result.x)
        assert int(result.aux["count"]) == 3
    assert jopt.minimize(rosenbrock, jnp.asarray(START), maxiter=1).aux is None


def test_args_are_passed_on():
    def fun(x, a, b):
        return jnp.sum((x - a["shift"]) ** 2) + b

    result = jopt.minimize(fun, jnp.zeros(2), ({"shift": jnp.asarray([1.0, 2.0])}, 5.0))
    np.testing.assert_allclose(result.x, [1.0, 2.0], atol=1e-7)
    assert float(result.fun) == pytest.approx(5.0)
    alone = jopt.minimize(lambda x, a: jnp.sum((x - a) ** 2), jnp.zeros(2), jnp.asarray([1.0, 2.0]))
    np.testing.assert_allclose(alone.x, [1.0, 2.0], atol=1e-7)


def nested(params):
    return (
        jnp.sum((params["w"].astype(jnp.float64) - 1.0) ** 2) + (params["b"]["s"] - 2.0) ** 2 + jnp.sum(params["none"])
    )


@pytest.mark.parametrize("method", ["lbfgs", "gradient-descent", jopt.adam(0.1)], ids=["lbfgs", "gd", "adam"])
def test_any_pytree_with_mixed_dtypes(method):
    start = {"w": jnp.zeros((2, 3), jnp.float32), "b": {"s": jnp.zeros((), jnp.float64)}, "none": jnp.zeros((0,))}
    result = jopt.minimize(nested, start, method=method, gtol=1e-3, maxiter=2000)
    assert bool(result.success)
    assert jax.tree.structure(result.x) == jax.tree.structure(start)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), result.x) == jax.tree.map(lambda a: (a.shape, a.dtype), start)
    np.testing.assert_allclose(result.x["w"], 1.0, atol=1e-3)
    np.testing.assert_allclose(result.x["b"]["s"], 2.0, atol=1e-3)
    assert result.fun.dtype == jnp.float64


@pytest.mark.parametrize("method", ["lbfgs", jopt.sgd(0.25)], ids=["lbfgs", "sgd"])
def test_bfloat16_parameters_use_float32_scalars(method):
    result = jopt.minimize(lambda x: jnp.sum((x - 1.0) ** 2), jnp.zeros(4, jnp.bfloat16), method=method)
    assert result.x.dtype == jnp.bfloat16
    assert result.fun.dtype == jnp.float32
    assert bool(result.success)
    np.testing.assert_allclose(np.asarray(result.x, np.float32), 1.0, atol=0.1)  # sqrt(eps) is 0.09


def test_python_numbers_and_numpy_arrays_are_starts():
    assert float(jopt.minimize(lambda x: (x - 2.0) ** 2, 0.5).x) == pytest.approx(2.0, abs=1e-7)
    np.testing.assert_allclose(jopt.minimize(bowl, np.ones(3)).x, 0.0, atol=1e-7)


def test_a_tree_without_numbers_is_at_its_minimum():
    for method in ("lbfgs", jopt.adam(0.1)):
        result = jopt.minimize(
            lambda p: jnp.float32(4.0) + jnp.sum(p["none"]), {"none": jnp.zeros((0,), jnp.float32)}, method=method
        )
        assert Status(int(result.status)) is Status.CONVERGED
        assert float(result.fun) == 4.0


# Under transformations of JAX.


def test_under_jit_vmap_and_scan():
    starts = jnp.asarray([[-1.2, 1.0], [0.0, 0.0], [3.0, -2.0]])

    def solve(start):
        result = jopt.minimize(rosenbrock, start, gtol=1e-6)
        return result.x, result.status, result.nfev

    alone = [jax.tree.map(np.asarray, solve(start)) for start in starts]
    batch = jax.jit(jax.vmap(solve))(starts)
    scanned = jax.jit(lambda xs: jax.lax.scan(lambda _, x: (None, solve(x)), None, xs)[1])(starts)
    for i, (x, status, nfev) in enumerate(alone):
        for xs, statuses, nfevs in (batch, scanned):
            np.testing.assert_allclose(xs[i], x, atol=1e-7)
            assert int(statuses[i]) == int(status) == Status.CONVERGED
            assert abs(int(nfevs[i]) - int(nfev)) <= 1


def test_each_lane_of_a_batch_has_its_own_status_and_message():
    def fun(x):
        return jnp.where(x > 0.0, (x - 2.0) ** 2, jnp.nan)

    result = jax.vmap(lambda x: jopt.minimize(fun, x))(jnp.asarray([1.0, -1.0]))
    assert [Status(int(s)) for s in result.status] == [Status.CONVERGED, Status.NONFINITE]
    assert result.message[0] == Status.CONVERGED.advice
    assert result.message[1] == Status.NONFINITE.advice
    with pytest.raises(RuntimeError, match=r"NONFINITE in lane 1 \(1 of 2 failed\)"):
        result.raise_on_failure()


def test_history_rows_are_the_accepted_points():
    result = jopt.minimize(rosenbrock, jnp.asarray(START), gtol=1e-6, maxiter=60, history=True)
    nit = int(result.nit)
    fun = np.asarray(result.history.fun)
    assert fun.shape == (61,)
    assert fun[0] == pytest.approx(24.2)
    assert fun[nit] == pytest.approx(float(result.fun))
    assert np.isnan(fun[nit + 1 :]).all()
    assert (np.asarray(result.history.nfev)[nit + 1 :] == -1).all()
    assert (np.diff(fun[: nit + 1]) < 0).all()
    assert int(result.history.nfev[nit]) == int(result.nfev)
    assert float(result.history.grad_norm[nit]) <= 1e-6
    assert float(result.history.step_norm[0]) == 0.0
    assert jopt.minimize(rosenbrock, jnp.asarray(START), maxiter=1).history is None


def test_a_state_goes_on_where_it_stopped():
    solver, objective = jopt.lbfgs(), jopt.Objective(rosenbrock)
    step = jax.jit(lambda state: solver.step(objective, state))
    state = solver.init(objective, jnp.asarray(START))
    for _ in range(10):
        state, info = step(state)
    saved = jax.tree.map(np.asarray, state)
    for _ in range(10):
        state, info = step(state)
    again = jax.tree.map(jnp.asarray, saved)
    for _ in range(10):
        again, info_again = step(again)
    for a, b in zip(jax.tree.leaves((state, info)), jax.tree.leaves((again, info_again)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_callable_without_a_hash_is_an_objective():
    class Model:
        __hash__ = None

        def __eq__(self, other):
            return NotImplemented

        def __call__(self, x):
            return bowl(x)

    assert bool(jopt.minimize(Model(), jnp.ones(2)).success)


# Results.


def test_the_result_prints_and_raises():
    good = jopt.minimize(bowl, jnp.ones(2))
    assert "Converged" in repr(good)
    assert "CONVERGED" in repr(good)
    assert "ShapeDtypeStruct" in repr(jax.eval_shape(lambda x: jopt.minimize(bowl, x), jnp.ones(2)))
    assert good.raise_on_failure() is good
    assert good.message == Status.CONVERGED.advice
    bad = jopt.minimize(rosenbrock, jnp.asarray(START), maxiter=1)
    with pytest.raises(RuntimeError, match=r"MAX_ITERATIONS.*maxiter"):
        bad.raise_on_failure()


# Errors.


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: jopt.minimize(bowl, jnp.ones(2), method="lbgfs"), ValueError, "'lbfgs'.*Did you mean 'lbfgs'"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), method="L-BFGS-B"), ValueError, "Did you mean 'lbfgs'"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), method="adam"), ValueError, r"jopt\.adam\(1e-2\)"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), method=jopt.scale_by_lbfgs()), TypeError, "jopt.descent"),
        (lambda: jopt.lbfgs(first_trial=1.0), TypeError, "first_trial must be a function"),
        (lambda: jax.jit(lambda x: jopt.minimize(bowl, x).message)(jnp.ones(2)), TypeError, "outside jit"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), method=jopt.adam), TypeError, "was the factory not called"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), method=3), TypeError, "method must be a name, a solver"),
        (lambda: jopt.minimize(3, jnp.ones(2)), TypeError, "fun must be a function"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), gtol=-1.0), ValueError, r"gtol must be in \[0, inf\], got -1.0"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), xtol=float("nan")), ValueError, "xtol"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), ftol=-1.0), ValueError, "ftol"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), frtol=-1.0), ValueError, "frtol"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), target="low"), TypeError, "target"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), maxiter=-1), ValueError, "maxiter"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), maxiter=1.5), TypeError, "maxiter"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), maxiter=np.array(5.0)), TypeError, "maxiter must be a whole number"),
        (lambda: jopt.minimize(lambda x, _: bowl(x), jnp.ones(2), ("a",)), TypeError, r"args\[0\] must be an array"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), maxfev=0), ValueError, "maxfev"),
        (lambda: jopt.minimize(bowl, {"a": jnp.ones(2), "b": jnp.arange(3)}), TypeError, r"x0\['b'\].*int"),
        (lambda: jopt.minimize(bowl, 1j * jnp.ones(2)), TypeError, "real and imaginary"),
        (lambda: jopt.minimize(bowl, "start"), TypeError, "x0 must be an array"),
        (lambda: jopt.minimize(lambda x: x**2, jnp.ones(2)), TypeError, r"shape \(\), got float64\[2\]"),
        (lambda: jopt.minimize(lambda _: jnp.int32(1), jnp.ones(2)), TypeError, "int32"),
        (lambda: jopt.minimize(lambda x: (bowl(x), x), jnp.ones(2)), TypeError, "has_aux=True"),
        (lambda: jopt.minimize(bowl, jnp.ones(2), has_aux=True), TypeError, "must return a pair"),
        (lambda: jopt.lbfgs(memory=0), ValueError, "memory must be a whole number >= 1, got 0"),
        (lambda: jopt.lbfgs(memory=2.5), TypeError, "memory"),
        (lambda: jopt.lbfgs(search="wolfe"), TypeError, "search must be a line search"),
        (lambda: jopt.descent(jopt.identity, jopt.linesearch.strong_wolfe()), TypeError, "direction"),
        (lambda: jopt.fixed_step(jopt.adam), TypeError, "fixed_step"),
        (lambda: jax.jit(lambda n: jopt.minimize(bowl, jnp.ones(2), maxiter=n, history=True))(3), TypeError, "history"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def without_second_derivatives(x):
    """A function whose gradient comes from the host, where no rule differentiates it again."""
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)

    @jax.custom_vjp
    def fun(x):
        return jnp.sum(x * x)

    fun.defvjp(lambda x: (fun(x), x), lambda x, c: (c * jax.pure_callback(lambda v: 2 * v, shape, x),))
    return fun(x)


def test_a_function_without_second_derivatives_is_told_of_a_method_that_does_without():
    with pytest.raises(Exception, match=r"JVP|differentiat") as caught:
        jopt.minimize(without_second_derivatives, jnp.ones(2))
    assert any("method='lbfgs'" in note for note in caught.value.__notes__)
    assert bool(jopt.minimize(without_second_derivatives, jnp.ones(2), method="lbfgs").success)


def test_a_function_that_fails_by_itself_is_told_nothing_of_second_derivatives():
    with pytest.raises(ValueError, match="of its own") as caught:
        jopt.minimize(broken, jnp.ones(2))
    assert not any("method='lbfgs'" in note for note in getattr(caught.value, "__notes__", []))


def broken(_):
    raise ValueError("a fault of its own")

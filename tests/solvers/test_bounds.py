# SPDX-License-Identifier: Apache-2.0
"""Solves within bounds: every point feasible, optimal where they say so, and every wrong bound named.

One program serves most tests: the problem is chosen by a number among the arguments, and bounds are arguments too.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jopt
from jopt import Objective, Status
from jopt.linalg import Box, projected_gradient
from jopt.solvers import bounds as reading

INF = np.inf
N = 4
MATRIX = np.random.default_rng(0).standard_normal((N, N))
HESSIAN = MATRIX @ MATRIX.T + 0.1 * np.eye(N)
CENTRE = np.array([1.5, -2.0, 0.3, 4.0])
SCALES = np.array([1.0, 10.0, 0.1, 1000.0])
GTOL = 1e-7


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def separable(x):
    return 0.5 * jnp.sum(SCALES * (x - CENTRE) ** 2)


def coupled(x):
    return 0.5 * x @ HESSIAN @ x - jnp.sum(x)


def colville(x):  # Hock and Schittkowski (1981), problem 38
    a, b, c, d = x
    tail = 10.1 * ((b - 1) ** 2 + (d - 1) ** 2) + 19.8 * (b - 1) * (d - 1)
    return 100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2 + tail


def slope(x):
    return -x[0] + 2 * x[1] - 3 * x[2] + 0.5 * x[3]


def product(x):  # problem 45 with one variable less
    return 2 - jnp.prod(x) / 24


def root(x):
    return jnp.sum(jnp.sqrt(x)) + jnp.sum(x**2)


def below_zero(x):
    return jnp.where(jnp.all(x > 0.5), jnp.sum(x**2), jnp.nan)


def kink(x):
    return jnp.sum(jnp.abs(x - 0.3) + 0.5 * x)


def wrong_gradient(x):
    return 2 * jax.lax.stop_gradient(jnp.sum(x**2)) - jnp.sum(x**2)


PROBLEMS = [rosenbrock, separable, coupled, colville, slope, product, root, below_zero, kink, wrong_gradient]


def fun(x, kind):
    return jax.lax.switch(kind, PROBLEMS, x)


def solve(problem, x0, lower, upper, **settings):
    lower, upper = np.broadcast_to(np.asarray(lower, float), N), np.broadcast_to(np.asarray(upper, float), N)
    settings = {"gtol": GTOL, "maxfev": 2000, "target": -INF} | settings
    x0 = np.broadcast_to(np.asarray(x0, float), N)
    return jopt.minimize(fun, x0, PROBLEMS.index(problem), "lbfgs", bounds=(lower, upper), **settings)


def error(problem, lower, upper, x):
    """Return |projected gradient|_inf at x, evaluated afresh."""
    lower, upper = np.broadcast_to(lower, N), np.broadcast_to(upper, N)
    g = np.asarray(jax.grad(problem)(x))
    return float(np.max(np.abs(projected_gradient(Box(lower, upper), x, g))))


SOLVER = jopt.lbfgs()


@jax.jit
def advance(state, kind, lower, upper):
    return SOLVER.step(Objective(fun, (kind,), bounds=Box(lower, upper)), state)


def walk(problem, x0, lower, upper, steps=200):
    """Return every point that the solver evaluates, accepted or not, with the last info."""
    lower, upper = (jnp.broadcast_to(jnp.asarray(side, float), N) for side in (lower, upper))
    kind = jnp.int32(PROBLEMS.index(problem))
    objective = Objective(fun, (kind,), bounds=Box(lower, upper))
    state, points = SOLVER.init(objective, jnp.broadcast_to(jnp.asarray(x0, float), N)), []
    for _ in range(steps):
        state, info = advance(state, kind, lower, upper)
        points.append(np.asarray(info.point.params))
        if info.status != 0 or (info.accepted and info.grad_norm <= GTOL):
            break
    return np.stack(points), info


CASES = {
    "rosenbrock, upper bounds active": (rosenbrock, -1.2, -2.0, 0.5),
    "rosenbrock, from a corner": (rosenbrock, [-2.0, 2.0, -2.0, 2.0], -2.0, 2.0),
    "rosenbrock, one-sided": (rosenbrock, 2.0, [1.1, -INF, -INF, -INF], INF),
    "separable": (separable, 0.0, -1.0, [1.0, 2.0, INF, 3.0]),
    "coupled": (coupled, 0.3, 0.0, 0.7),
    "coupled, one entry fixed": (coupled, 0.0, [0.0, 0.2, 0.0, -1.0], [1.0, 0.2, 1.0, 1.0]),
    "Hock and Schittkowski 38": (colville, [-3.0, -1.0, -3.0, -1.0], -10.0, 10.0),
    "a linear function": (slope, 0.1, -1.0, [1.0, 2.0, 3.0, 4.0]),
    "Hock and Schittkowski 45": (product, 0.9, 0.0, [1.0, 2.0, 3.0, 4.0]),
    "rosenbrock, narrow": (rosenbrock, 0.0, 0.3 - 1e-9, 0.3 + 1e-9),
}
every_case = pytest.mark.parametrize(("problem", "x0", "lower", "upper"), CASES.values(), ids=CASES.keys())


# What is promised of every solve -----------------------------------------------------------------------------------


@every_case
def test_every_point_evaluated_is_feasible_and_the_last_one_is_where_minimize_ends(problem, x0, lower, upper):
    points, info = walk(problem, x0, lower, upper)
    assert np.all((points >= lower) & (points <= upper))
    assert float(info.grad_norm) == pytest.approx(error(problem, lower, upper, points[-1]), rel=1e-6, abs=1e-12)
    result = solve(problem, x0, lower, upper)
    assert int(result.nfev) == len(points)
    np.testing.assert_allclose(result.x, points[-1], rtol=1e-9, atol=1e-9)


@every_case
def test_success_is_a_certificate_and_the_answer_is_that_of_scipy(problem, x0, lower, upper):
    result = solve(problem, x0, lower, upper)
    assert result.success
    assert Status(int(result.status)) == Status.CONVERGED
    assert error(problem, lower, upper, result.x) <= GTOL
    np.testing.assert_allclose(result.jac, jax.grad(problem)(result.x), rtol=1e-6, atol=1e-9)
    start = np.clip(np.broadcast_to(x0, N), lower, upper)
    sides = list(zip(np.broadcast_to(lower, N), np.broadcast_to(upper, N), strict=True))
    both = jax.jit(jax.value_and_grad(problem))
    theirs = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, both(x))), start, jac=True, method="L-BFGS-B", bounds=sides,
        options={"gtol": GTOL, "ftol": 0.0},
    )  # fmt: skip
    assert float(result.fun) == pytest.approx(theirs.fun, rel=1e-8, abs=1e-10)
    assert int(result.nfev) <= 1.5 * theirs.nfev + 5


def test_the_first_trial_is_the_whole_step_where_every_entry_has_two_bounds_and_a_move_of_length_one_elsewhere():
    gradient, upper = np.array([-1.0, 2.0, -3.0, 0.5]), np.array([1.0, 2.0, 3.0, 4.0])
    points, _ = walk(slope, 0.1, -1.0, upper, steps=2)
    np.testing.assert_allclose(points[1], np.clip(0.1 - gradient, -1.0, upper), rtol=1e-12)
    points, _ = walk(slope, 0.1, -1.0, [INF, 2.0, 3.0, 4.0], steps=2)
    assert np.linalg.norm(points[1] - points[0]) == pytest.approx(1.0)


def test_a_separable_quadratic_ends_at_the_projection_of_its_minimum():
    lower, upper = np.array([-1.0, -3.0, 0.0, -INF]), np.array([1.0, INF, 0.1, 3.5])
    result = solve(separable, 0.05, lower, upper, gtol=1e-10)
    np.testing.assert_allclose(result.x, np.clip(CENTRE, lower, upper), rtol=0, atol=1e-9)
    held = (np.asarray(result.x) == lower) | (np.asarray(result.x) == upper)
    np.testing.assert_array_equal(held, [True, False, True, True])  # on the bound exactly, not nearly


def test_bounds_that_are_not_active_change_nothing():
    for problem in (coupled, separable, rosenbrock):
        free = jopt.minimize(fun, jnp.full(N, -1.2), PROBLEMS.index(problem), "lbfgs", gtol=GTOL)
        for lower, upper in ((-INF, INF), (-1e6, INF)):
            result = solve(problem, -1.2, lower, upper)
            np.testing.assert_allclose(result.x, free.x, rtol=1e-6)
            # Rounding is not the same, and rosenbrock's valley makes much of it.
            assert abs(int(result.nfev) - int(free.nfev)) <= (10 if problem is rosenbrock else 1)


def test_where_all_entries_are_fixed_the_start_is_the_answer_whatever_the_gradient():
    result = solve(rosenbrock, 5.0, CENTRE, CENTRE)
    np.testing.assert_array_equal(result.x, CENTRE)
    assert result.success
    assert int(result.nfev) == 1
    assert result.projected


# The start --------------------------------------------------------------------------------------------------------


def test_a_start_outside_is_projected_and_the_result_says_so():
    outside, inside = solve(separable, 9.0, -1.0, 1.0), solve(separable, 1.0, -1.0, 1.0)
    assert bool(outside.projected)
    assert not bool(inside.projected)
    np.testing.assert_array_equal(outside.x, inside.x)
    assert outside.message.startswith(Status.CONVERGED.advice)
    assert outside.message.endswith("The start lay outside the bounds and was projected onto them.")
    assert "projected" not in inside.message.replace("projected gradient", "")


def test_a_solve_that_is_taken_up_says_nothing_of_its_template():
    broken = solve(rosenbrock, -1.2, -2.0, 0.5, maxiter=2)
    whole = solve(rosenbrock, -1.2, -2.0, 0.5)
    for template in (0.0, 9.0):
        result = solve(rosenbrock, template, -2.0, 0.5, resume=broken.state)
        np.testing.assert_array_equal(result.x, whole.x)
        assert not bool(result.projected)
        assert int(result.nfev) == int(whole.nfev)


def test_a_nan_in_the_start_is_no_matter_of_bounds():
    result = solve(separable, [0.0, np.nan, 0.0, 0.0], -1.0, 1.0)
    assert Status(int(result.status)) == Status.NONFINITE


# Every other status -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "problem", "x0", "lower", "upper", "settings"),
    [
        (Status.TARGET, rosenbrock, -1.2, -2.0, 0.5, {"target": 50.0}),
        (Status.MAX_ITERATIONS, rosenbrock, -1.2, -2.0, 0.5, {"maxiter": 2}),
        (Status.MAX_EVALUATIONS, rosenbrock, -1.2, -2.0, 0.5, {"maxfev": 2}),
        (Status.UNBOUNDED, slope, 0.0, -INF, 1.0, {}),
        (Status.NONFINITE, below_zero, 0.0, 0.0, 1.0, {}),
        (Status.STALLED, kink, 0.9, 0.0, 1.0, {"gtol": 0.0}),
        (Status.SEARCH_FAILED, wrong_gradient, 1.0, 0.5, 2.0, {}),
    ],
    ids=lambda value: value.name if isinstance(value, Status) else None,
)
def test_every_other_status(status, problem, x0, lower, upper, settings):
    result = solve(problem, x0, lower, upper, **settings)
    assert Status(int(result.status)) == status
    assert bool(result.success) == status.success
    assert np.all((result.x >= lower) & (result.x <= upper))


def test_an_infinite_gradient_is_not_hidden_by_a_bound():
    # sqrt has one at 0: the search turns back before it, and no false success comes of it.
    result = solve(root, 1.0, 0.0, 2.0, maxiter=50)
    assert np.all(np.isfinite(result.jac))
    assert not result.success or error(root, 0.0, 2.0, result.x) <= GTOL
    assert Status(int(solve(root, 0.0, 0.0, 2.0).status)) == Status.NONFINITE


# How bounds may be written ------------------------------------------------------------------------------------------

TREE = {"w": jnp.zeros((2, 3)), "b": [jnp.zeros((), jnp.float32)]}


@pytest.mark.parametrize(
    ("side", "w", "b"),
    [
        (None, -INF, -INF),
        (-2, -2.0, -2.0),
        (np.float32(0.5), 0.5, 0.5),
        ({"w": -1.0, "b": None}, -1.0, -INF),
        ({"w": np.arange(6.0).reshape(2, 3) - 9, "b": [-INF]}, np.arange(6.0).reshape(2, 3) - 9, -INF),
        ({"w": jnp.full((2, 3), -3, jnp.int32), "b": -1}, -3.0, -1.0),
    ],
)
def test_a_side_is_a_number_a_tree_a_prefix_or_none(side, w, b):
    box = reading.fill(reading.read("minimize", (side, None), TREE), TREE)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), box.lower) == jax.tree.map(lambda x: (x.shape, x.dtype), TREE)
    np.testing.assert_array_equal(box.lower["w"], np.broadcast_to(w, (2, 3)))
    assert float(box.lower["b"][0]) == b
    assert all(np.all(np.asarray(x) == INF) for x in jax.tree.leaves(box.upper))


NAN_AT = np.array([[0.0, 0.0, 0.0], [0.0, np.nan, 0.0]])


@pytest.mark.parametrize(
    ("bounds", "kind", "message"),
    [
        (3.0, TypeError, r"minimize: bounds must be a pair \(lower, upper\), got 3.0"),
        ([(0, 1)] * 3, TypeError, r"bounds must be a pair .*SciPy's list of pairs is its transpose"),
        (({"w": [0.0] * 6, "b": 0}, None), ValueError, r"bounds.lower must be .*with arrays where x0 has them"),
        (({"w": 0.0}, None), ValueError, r"minimize: bounds.lower must be a number, None, or a tree like x0"),
        ((None, (0.0, 1.0)), ValueError, r"minimize: bounds.upper must be a number, None, or a tree like x0"),
        (({"w": np.zeros(3), "b": 0}, None), ValueError, r"bounds.lower\['w'\] must be .*shape \(2, 3\).*got shape \(3,\)"),
        ((None, {"w": "1", "b": 0}), TypeError, r"bounds.upper\['w'\] must be a real number or an array, got '1'"),
        ((True, None), TypeError, r"bounds.lower\['b'\]\[0\] must be a real number or an array, got True"),
        ((np.zeros((), complex), None), TypeError, r"bounds.lower\['b'\]\[0\] must be .*got complex128"),
        ((None, {"w": NAN_AT, "b": 1}), ValueError, r"bounds.upper\['w'\] must not be NaN.* at \[1, 1\]; use None or inf"),
        ((float("nan"), None), ValueError, r"bounds.lower\['b'\]\[0\] must not be NaN.*; use None or -inf"),
        ((2.0, {"w": 3.0, "b": 1.0}), ValueError, r"\['b'\]\[0\] must not be above the upper bound, got lower 2.0 and upper 1.0; swap"),
        ((INF, None), ValueError, r"bounds.lower\['b'\]\[0\] must be below infinity"),
        ((None, -INF), ValueError, r"bounds.upper\['b'\]\[0\] must be above -infinity"),
        ((1e300, None), ValueError, r"bounds.lower\['b'\]\[0\] must be below infinity"),  # in float32
    ],
)  # fmt: skip
def test_wrong_bounds_are_named(bounds, kind, message):
    with pytest.raises(kind, match=message):
        jopt.minimize(lambda t: jnp.sum(t["w"]) + t["b"][0], TREE, method="lbfgs", bounds=bounds)


def test_traced_bounds_of_a_wrong_structure_raise():
    with pytest.raises(ValueError, match=r"bounds.lower\['w'\] must be one number or an array of shape \(2, 3\)"):
        jax.eval_shape(lambda b: reading.read("minimize", ({"w": b, "b": 0.0}, None), TREE), jnp.zeros(4))


@pytest.mark.parametrize("method", ["bfgs", "nonlinear-cg", "gradient-descent", jopt.adam(1e-2)], ids=str)
def test_a_method_that_does_not_keep_within_bounds_is_refused(method):
    with pytest.raises(ValueError, match=r"method must keep within bounds.*use one of.*'lbfgs'"):
        jopt.minimize(rosenbrock, jnp.zeros(2), method=method, bounds=(0.0, 1.0))


@pytest.mark.parametrize("action", ["report", "escape"])
def test_a_second_order_check_within_bounds_is_refused_with_the_way_out(action):
    with pytest.raises(ValueError, match=r"second_order must be None with bounds.*classify"):
        jopt.minimize(rosenbrock, jnp.zeros(2), method="lbfgs", bounds=(0.0, 1.0), second_order=action)


def test_a_derivative_through_the_loop_within_bounds_is_refused():
    with pytest.raises(ValueError, match="derivative must be 'implicit' with bounds"):
        jopt.minimize(rosenbrock, jnp.zeros(2), method="lbfgs", bounds=(0.0, 1.0), derivative="unrolled", maxfev=9)


# Batches, traces, trees ---------------------------------------------------------------------------------------------


CROSSED = [(1.0, 0.0), (np.nan, 1.0), (0.0, np.nan), (INF, INF), (-INF, -INF)]


@pytest.mark.slow
def test_starts_bounds_and_arguments_batch_together_and_lanes_without_a_feasible_point_evaluate_nothing():
    rows = [*(CASES[name] for name in ("rosenbrock, upper bounds active", "coupled", "separable"))]
    rows += [(coupled, 0.5, low, high) for low, high in CROSSED]
    x0, lower, upper = (np.stack([np.broadcast_to(np.asarray(r[i], float), N) for r in rows]) for i in (1, 2, 3))
    kinds = jnp.asarray([PROBLEMS.index(r[0]) for r in rows])

    @jax.jit
    @jax.vmap
    def batch(x0, kind, lower, upper):
        return jopt.minimize(fun, x0, kind, "lbfgs", bounds=(lower, upper), gtol=GTOL, maxfev=2000)

    result = batch(jnp.asarray(x0), kinds, jnp.asarray(lower), jnp.asarray(upper))
    assert [Status(int(s)).name for s in result.status] == ["CONVERGED"] * 3 + ["INFEASIBLE"] * len(CROSSED)
    for i in range(3):
        alone = solve(rows[i][0], x0[i], lower[i], upper[i])
        np.testing.assert_allclose(result.x[i], alone.x, rtol=1e-6, atol=1e-8)
    assert result.projected.shape == (len(rows),)
    assert not result.success[3:].any()
    assert not result.nfev[3:].any()
    assert result.message[4].startswith("No point lies within the bounds")


def test_new_values_of_bounds_are_no_new_program_and_history_and_aux_come_along():
    traces = []

    def traced(tree):
        traces.append(1)
        value = separable(jnp.concatenate([tree["a"], tree["b"].astype(float)]))
        return value, {"double": 2 * tree["a"]}

    x0 = {"a": jnp.zeros(2), "b": jnp.zeros(2, jnp.float32)}
    run = functools.partial(
        jopt.minimize, traced, x0, method="lbfgs", has_aux=True, history=True, maxiter=30, gtol=1e-3
    )
    for low, high in ((-1.0, 1.0), (-3.0, 0.5), ({"a": -1, "b": 0}, {"a": 2.0, "b": 0})):
        result = run(bounds=(low, high))
        expected = np.clip(
            CENTRE, *(np.array([s["a"]] * 2 + [s["b"]] * 2 if isinstance(s, dict) else [s] * 4) for s in (low, high))
        )
        np.testing.assert_allclose(np.concatenate([result.x["a"], result.x["b"]]), expected, atol=1e-2)
        assert jax.tree.map(lambda x: x.dtype, result.x) == jax.tree.map(lambda x: x.dtype, x0)
        np.testing.assert_array_equal(result.aux["double"], 2 * result.x["a"])
        rows = int(result.nit) + 1
        assert np.isfinite(result.history.grad_norm[:rows]).all()
        assert float(result.history.grad_norm[rows - 1]) <= 1e-3
    assert len(traces) == 1


@pytest.mark.slow
def test_the_direction_keeps_within_the_box_by_pairs_and_as_a_plain_transformation():
    direction = jopt.scale_by_lbfgs(memory=3)
    assert direction.bounded
    rng = np.random.default_rng(4)
    points = [jnp.asarray(rng.uniform(0, 1, N)) for _ in range(4)]
    plain, pairs = direction.init(points[0]), direction.pairs.init(points[0])
    update, by_pairs = jax.jit(direction.update), jax.jit(direction.pairs.update)
    before = (points[0], jnp.zeros(N))
    for i, x in enumerate(points):
        g = HESSIAN @ x - 1
        steps = Box(-x, 1 - x)
        u, plain = update(g, plain, x, box=steps)
        s, y = (x - before[0], g - before[1]) if i else (jnp.zeros(N), jnp.zeros(N))
        v, pairs = by_pairs(g, pairs, s, y, jnp.bool_(i > 0), box=steps)
        before = (x, g)
        np.testing.assert_allclose(u, v, rtol=1e-12)
        assert np.all((-u >= steps.lower) & (-u <= steps.upper))
        assert float(g @ u) > 0
    assert np.all(
        np.asarray(update(g, plain, x)[0])
        == np.asarray(update(g, plain, x, box=Box(-jnp.full(N, INF), jnp.full(N, INF)))[0])
    )


def test_nothing_of_bounds_is_in_a_program_without_them():
    def program(**settings):
        return str(jax.make_jaxpr(lambda x: jopt.minimize(rosenbrock, x, method="lbfgs", **settings))(jnp.zeros(N)))

    assert "triangular_solve" in program(bounds=(0.0, 1.0))
    assert "triangular_solve" not in program()
    assert jopt.minimize(separable, jnp.zeros(N), method="lbfgs", maxiter=0).projected is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "search",
    [
        jopt.linesearch.weak_wolfe(),
        jopt.linesearch.hager_zhang(),
        jopt.linesearch.exact(),
        jopt.linesearch.backtracking(),
    ],
    ids=lambda s: s.name,
)
def test_every_line_search_serves(search):
    method = jopt.lbfgs(5, search=search, first_trial=jopt.linesearch.quadratic_interpolation)
    for name in ("rosenbrock, upper bounds active", "coupled", "a linear function"):
        problem, x0, lower, upper = CASES[name]
        sides = (np.broadcast_to(lower, N).astype(float), np.broadcast_to(upper, N).astype(float))
        start = np.broadcast_to(x0, N).astype(float)
        result = jopt.minimize(fun, start, PROBLEMS.index(problem), method, bounds=sides, gtol=GTOL)
        assert result.success
        assert error(problem, lower, upper, result.x) <= GTOL
        np.testing.assert_allclose(result.x, solve(problem, x0, lower, upper).x, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32], ids=lambda d: d.__name__)
def test_dtypes_come_back_as_they_went_in_and_a_bound_is_met_in_its_own(dtype):
    centre = jnp.asarray(CENTRE, dtype)

    def quadratic(tree):
        return (
            jnp.sum((tree["w"] - centre[:3]).astype(jnp.float32) ** 2 * 2) + (tree["b"] - 4.0).astype(jnp.float32) ** 2
        )

    x0 = {"w": jnp.zeros(3, dtype), "b": jnp.zeros((), dtype)}
    with jax.numpy_dtype_promotion("strict"):
        result = jopt.minimize(quadratic, x0, method="lbfgs", bounds=(-0.1, {"w": 0.7, "b": None}), gtol=0.05)
    assert {x.dtype for x in jax.tree.leaves((result.x, result.jac))} == {jnp.dtype(dtype)}
    low, high = (float(jnp.asarray(b, dtype)) for b in (-0.1, 0.7))
    expected = np.clip(np.asarray(centre[:3], float), low, high)
    np.testing.assert_allclose(np.asarray(result.x["w"], float), expected, atol=0.02)
    assert float(result.x["w"][0]) == high
    assert float(result.x["w"][1]) == low
    assert float(result.x["b"]) == pytest.approx(4.0, abs=0.03)


@pytest.mark.slow
def test_with_bounds_the_solve_runs_in_a_scan_and_compiles_for_arrays_spread_over_devices():
    mesh = jax.make_mesh((len(jax.devices()),), ("data",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    size = 8 * len(jax.devices())
    centre = jnp.linspace(-2.0, 2.0, size)

    def quartic(x, scale):
        return jnp.sum((x - centre) ** 2 + scale * (x - centre) ** 4)

    @jax.jit
    def path(x0):
        def next_(x, scale):
            result = jopt.minimize(quartic, x, (scale,), "lbfgs", bounds=(-1.0, 0.5), gtol=1e-8)
            return result.x, result.success

        return jax.lax.scan(next_, x0, jnp.asarray([1.0, 10.0]))

    x, success = path(jax.device_put(jnp.zeros(size), spread))
    assert success.all()
    np.testing.assert_allclose(x, np.clip(centre, -1.0, 0.5), atol=1e-4)

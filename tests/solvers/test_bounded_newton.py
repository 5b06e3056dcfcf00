# SPDX-License-Identifier: Apache-2.0
"""Trust-region Newton-CG and Newton-CG within bounds: feasible always, stationary at the end, as low as SciPy's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from support import assert_trees_close

import jopt
from jopt.bench.marker import copies, marked
from jopt.linalg.box import Box, moved, project, projected_gradient, steps_within
from jopt.linalg.boxed_path import BoxedPath
from jopt.solvers.objective import Objective
from jopt.solvers.subproblems import Task, dogleg_path, exact, truncated_cg
from jopt.solvers.trust_region import trust_region
from jopt.status import KrylovStatus, Status

INF = np.inf
N = 5
METHODS = ("trust-ncg", "newton-cg")
SEEN = []


def value(x, a, g, quartic, valley):
    """Return a quadratic, quartic and curved valley in one, so that one program serves every case."""
    bend = jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    return x @ a @ x / 2 + g @ x + quartic * jnp.sum(x**4) + valley * bend


def watched(x, *args):
    jax.debug.callback(SEEN.append, x)
    return value(x, *args)


def case(a=0.0, g=0.0, quartic=0.0, valley=0.0, low=-INF, high=INF, start=0.0):
    """Return the arguments of `value`, the box and the start as arrays."""
    a = np.diag(np.broadcast_to(a, N)) if np.ndim(a) < 2 else a
    low, high, start, g = (np.array(np.broadcast_to(v, N), float) for v in (low, high, start, g))
    return (a, g, quartic, valley), Box(low, high), start


rng = np.random.default_rng(0)
Q = rng.standard_normal((N, N))
CASES = {
    "valley, bounds in the way": case(valley=1.0, low=-1.0, high=0.8, start=-0.5),
    "valley, bounds out of the way": case(valley=1.0, low=-9.0, high=9.0),
    "valley, from a corner": case(valley=1.0, low=[-2, 0.2, 0, -1, -2], high=[2, 2, 0.5, 3, 2], start=[2, 2, 0, 3, 2]),
    "convex, half of the bounds active": case(a=Q @ Q.T + np.eye(N), g=[9, -9, 5, 0.1, -7], low=-0.5, high=0.5),
    "concave at the bounds": case(a=[-1, -2, 1, -3, 2], g=[1, 0.1, -1, 0.2, 3], low=-1.0, high=2.0),
    "negative curvature at a bound, none beyond it": case(
        a=[-4, -1, 2, -1, 1], g=[0.5, -1, 1, 0, 0.3], quartic=0.1, low=[0, -3, -1, -INF, -1], start=[1, 0, 0, 0.1, 0]
    ),
    "zero multipliers at active bounds": case(a=1.0, g=[-1, -2, 1, 0, 3], low=-INF, high=[1, 1, 0, 0, 5]),
    "fixed entries": case(valley=1.0, low=[-2, 0.5, -2, 0.3, -2], high=[2, 0.5, 2, 0.3, 2]),
    "everything fixed": case(a=1.0, g=1.0, low=0.25, high=0.25),
    "nothing but the corner": case(g=[1, -2, 3, -4, 5], low=-1.0, high=1.0),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_every_trial_is_feasible_and_the_end_stationary_and_as_low_as_scipys(name, method):
    args, box, start = CASES[name]
    start = np.clip(start, *box)
    SEEN.clear()
    found = jopt.minimize(watched, start, args, method, bounds=tuple(box), gtol=1e-8)
    jax.effects_barrier()
    x, trials = np.asarray(found.x), np.stack(SEEN)
    assert Status(int(found.status)) is Status.CONVERGED
    assert len(trials) >= int(found.nfev)
    assert np.all((trials >= box.lower) & (trials <= box.upper))
    assert np.abs(projected_gradient(box, x, GRAD(x, *args))).max() <= 1e-8
    bounds = scipy.optimize.Bounds(*box)
    options = {"ftol": 0, "gtol": 1e-9}
    oracle = scipy.optimize.minimize(VALUE, start, args, "L-BFGS-B", jac=GRAD, bounds=bounds, options=options)
    assert float(found.fun) <= oracle.fun + 1e-9 * max(1, abs(oracle.fun))
    assert int(found.nfev) <= 2 * oracle.nfev + 10


VALUE, GRAD = jax.jit(value), jax.jit(jax.grad(value))


def test_agrees_with_trust_constr():
    args, box, start = CASES["valley, bounds in the way"]
    oracle = scipy.optimize.minimize(
        VALUE, start, args, "trust-constr", jac=GRAD, bounds=scipy.optimize.Bounds(*box), options={"gtol": 1e-9}
    )
    found = jopt.minimize(watched, start, args, "trust-ncg", bounds=tuple(box), gtol=1e-8)
    np.testing.assert_allclose(found.x, oracle.x, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_active_entries_end_exactly_on_their_bounds(method):
    args, box, start = CASES["convex, half of the bounds active"]
    found = jopt.minimize(watched, start, args, method, bounds=tuple(box), gtol=1e-8)
    x, g = np.asarray(found.x), np.asarray(GRAD(found.x, *args))
    pushed = np.abs(g) > 1e-3
    assert pushed.sum() >= 2
    np.testing.assert_array_equal(x[pushed], np.where(g > 0, box.lower, box.upper)[pushed])


def test_convergence_is_fast_once_the_active_set_is_found():
    args, box, start = CASES["valley, bounds in the way"]
    solver, norms = jopt.trust_ncg(), []
    objective = Objective(value, args, bounds=Box(*map(jnp.asarray, box)))
    step = jax.jit(lambda s: solver.step(objective, s))
    state = solver.init(objective, start)
    for _ in range(60):
        state, info = step(state)
        norms += [float(info.grad_norm)] if info.accepted else []
        if norms[-1] < 1e-12:
            break
    last = np.array([n for n in norms if n < 1e-1])
    assert last[-1] < 1e-12
    assert np.all(last[1:] <= 20 * last[:-1] ** 1.4)  # superlinear of order 3/2, by the forcing term


def test_infinite_bounds_are_no_bounds():
    args, _, start = CASES["valley, bounds out of the way"]
    open_ = np.full(N, INF)
    bounded = jopt.minimize(watched, start, args, "trust-ncg", bounds=(-open_, open_), gtol=1e-8)
    free = jopt.minimize(value, start, args, "trust-ncg", gtol=1e-8)
    assert int(bounded.status) == int(free.status)
    assert abs(int(bounded.nfev) - int(free.nfev)) <= 3
    np.testing.assert_allclose(bounded.x, free.x, atol=1e-8)


@pytest.mark.parametrize("make", [jopt.trust_ncg, jopt.newton_cg])
def test_the_program_holds_the_objective_once(make):
    box = Box(-jnp.ones(N), jnp.ones(N))
    objective = Objective(marked(lambda x: jnp.sum(x**4)), bounds=box)
    solver = make()
    assert solver.bounded
    state = jax.eval_shape(lambda x: solver.init(objective, x), jnp.zeros(N))
    assert copies(lambda s: solver.step(objective, s), state) == 1


def test_a_start_outside_is_projected_and_the_plan_is_one_within_bounds():
    objective = Objective(lambda x: jnp.sum(x**2), bounds=Box(jnp.zeros(2), jnp.ones(2)))
    state = jopt.trust_ncg(kept=2).init(objective, jnp.array([-3.0, 3.0]))
    np.testing.assert_array_equal(state.params, [0.0, 1.0])
    assert isinstance(state.plan, BoxedPath)
    assert state.plan.points.shape == (2, 2)


@pytest.mark.parametrize("subproblem", [exact(), dogleg_path()])
def test_a_subproblem_that_knows_no_bounds_says_so(subproblem):
    solver = trust_region(subproblem)
    assert not solver.bounded
    objective = Objective(lambda x: jnp.sum(x**2), bounds=Box(jnp.zeros(2), jnp.ones(2)))
    with pytest.raises(
        ValueError, match=r"trust_region: subproblem must keep within bounds, which .* use truncated_cg"
    ):
        solver.init(objective, jnp.zeros(2))
    with pytest.raises(ValueError, match="must keep within bounds"):
        jopt.minimize(lambda x: jnp.sum(x**2), jnp.zeros(2), method=solver, bounds=(0, 1))


@jax.jit
def solve_within(a, g, first, gtol, low, high, forcing_is_quadratic):
    task = Task(lambda v: a @ v, g, jnp.asarray(1e3), jnp.linalg.norm(g), first, gtol, Box(low, high))
    by = [truncated_cg(forcing=f).within.solve(task) for f in ("superlinear", "quadratic")]
    return jax.tree.map(lambda x, y: jnp.where(forcing_is_quadratic, y, x), *by)


def test_the_model_within_bounds_is_solved_as_exactly_as_the_forcing_term_and_the_tolerance_ask():
    a, g = np.diag(np.geomspace(0.3, 1, N)), np.ones(N)
    far, norm = np.full(N, 1e3), N**0.5

    def residual(first, gtol=0.0, quadratic=False):
        step, _, nhev = solve_within(a, g, first, gtol, -far, far, quadratic)
        return np.linalg.norm(g + a @ np.asarray(step.step)) / norm, int(nhev)

    # Conjugate gradients reach 0.42, 0.14, 0.040, 0.0083 and 0 here.
    assert residual(first=norm) == (pytest.approx(0.416, abs=1e-3), 1)  # min(1/2, 1)
    assert residual(first=norm / 0.03) == (pytest.approx(0.140, abs=1e-3), 2)  # sqrt(0.03)
    assert residual(first=norm / 0.03, quadratic=True) == (pytest.approx(0.0083, abs=1e-4), 4)  # 0.03
    assert residual(first=1e30)[1] == 5
    assert residual(first=1e30, gtol=0.2) == (pytest.approx(0.0399, abs=1e-4), 3)  # half of it, over |g|


def test_curvature_that_is_not_finite_marks_the_step():
    args = (np.full((N, N), np.nan), np.ones(N), 1.0, 0.0, -np.ones(N), np.ones(N), False)
    step, _, nhev = solve_within(*args)
    assert np.isnan(step.decrease)
    assert int(nhev) == 1
    np.testing.assert_array_equal(step.step, 0.0)


@jax.jit
def direct(a, g, low, high, terms):
    direction = jopt.scale_by_newton_cg(forcing=1e-10)
    state = direction.init(g)
    return direction.update(g * terms, state, g, hvp=lambda v: a @ v, box=Box(low, high))


def test_the_direction_is_the_model_s_minimiser_in_the_box_of_steps():
    a, g = np.diag([1.0, 2.0, 4.0]), np.array([1.0, 2.0, -4.0])
    u, state = direct(a, g, np.array([-0.5, -9, -9]), np.array([9, 9, 0.25]), 1.0)
    np.testing.assert_allclose(u, [0.5, 1.0, -0.25], rtol=1e-9)
    assert KrylovStatus(int(state.status)) is KrylovStatus.CONVERGED
    assert 1 <= int(state.nhev) <= 5
    assert float(state.residual_norm) <= 1e-10
    u, state = direct(-a, g, np.full(3, -INF), np.full(3, INF), 1.0)
    assert KrylovStatus(int(state.status)) is KrylovStatus.NEGATIVE_CURVATURE
    assert np.all(np.isfinite(u))
    assert np.asarray(u) @ g > 0


def test_where_the_curvature_is_not_finite_the_direction_is_the_projected_gradient():
    g = np.array([1.0, 2.0, -4.0])
    u, state = direct(np.full((3, 3), np.nan), g, np.array([-0.5, -9, -9]), np.full(3, 0.25), 1.0)
    np.testing.assert_array_equal(u, [0.5, 2.0, -0.25])
    assert KrylovStatus(int(state.status)) is KrylovStatus.NONFINITE


SCALED = np.logspace(0, 5, 8)  # the diagonal of a Hessian


@functools.partial(jax.jit, static_argnums=0)
def precondition(tool, g, low, high):
    """Return the direction in a box for a Hessian with a diagonal of many sizes and a little beside it."""
    roots = np.sqrt(SCALED)
    hessian = np.diag(SCALED) + 0.1 * np.outer(roots, roots)
    params = {"a": jnp.zeros(3), "b": jnp.zeros(5, g["b"].dtype)}
    direction = jopt.scale_by_newton_cg(forcing=1e-9, preconditioner=tool)

    def hvp(v):
        product = jnp.asarray(hessian) @ jnp.concatenate([v["a"], v["b"].astype(float)])
        return {"a": product[:3], "b": product[3:].astype(v["b"].dtype)}

    return direction.update(g, direction.init(params), params, hvp=hvp, box=Box(low, high)), hessian


@pytest.mark.parametrize("tool", ["jacobi", pytest.param("hutchinson", marks=pytest.mark.slow)])
def test_a_diagonal_preconditioner_saves_products_and_changes_neither_the_minimiser_nor_the_box(tool):
    low, high, g = (
        {"a": jnp.asarray(row[:3]), "b": jnp.asarray(row[3:])}
        for row in (
            np.array([-0.1, -INF, -1 / 3, -INF, -9, -9, -9, -INF]) / np.sqrt(SCALED),
            np.array([INF, 0.7, 0.0, INF, 9, 9, 0.3, INF]) / np.sqrt(SCALED),
            np.array([2.0, -5, 0.5, -1, 1, 2, -3, 0.1]) * np.sqrt(SCALED),
        )
    )
    (u, state), hessian = precondition(tool, g, low, high)
    (plain, before), _ = precondition(None, g, low, high)
    g, p, low, high = (np.concatenate([t["a"], t["b"]]) for t in (g, jax.tree.map(jnp.negative, u), low, high))
    assert np.all((p >= low) & (p <= high))
    residual = g + hessian @ p
    held = ((p == low) & (residual > 0)) | ((p == high) & (residual < 0))
    assert held.sum() == 4
    np.testing.assert_allclose(residual[~held] / np.sqrt(SCALED[~held]), 0, atol=1e-6)
    np.testing.assert_allclose(-plain["a"], p[:3], rtol=1e-5)
    assert KrylovStatus(int(state.status)) is KrylovStatus.CONVERGED
    made = 8 if tool == "jacobi" else 10
    assert int(state.nhev) - made < int(before.nhev)
    assert int(state.preconditioner.count) == 1


def test_a_diagonal_preconditioner_keeps_single_precision_and_serves_a_solve():
    sizes = np.logspace(0, 5, 6, dtype=np.float32)

    def fun(x):
        return jnp.sum(jnp.asarray(sizes) * ((x - 1) ** 2 + 0.1 * (x - 1) ** 4)) + 0.1 * jnp.sum(x) ** 2

    bounds = (None, np.array([0.5, 2, 0.25, 2, 2, 0.9], np.float32))
    with jax.numpy_dtype_promotion("strict"):
        found = jopt.minimize(
            fun, jnp.zeros(6, jnp.float32), method=jopt.newton_cg(preconditioner="jacobi"), bounds=bounds, gtol=1e-2
        )
    assert Status(int(found.status)) is Status.CONVERGED
    assert found.x.dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(found.x)[[0, 2, 5]], bounds[1][[0, 2, 5]])
    assert int(found.nit) <= 12


def test_a_preconditioner_that_is_not_diagonal_refuses_bounds():
    direction = jopt.scale_by_newton_cg(preconditioner="lbfgs")
    assert jopt.scale_by_newton_cg().bounded
    assert jopt.newton_cg(preconditioner="jacobi").bounded
    assert not direction.bounded
    assert not jopt.newton_cg(preconditioner=lambda _, r: r).bounded
    x = jnp.ones(2)
    with pytest.raises(
        ValueError, match=r"preconditioner must be diagonal \('jacobi', 'hutchinson'\) or None within.*'lbfgs'"
    ):
        direction.update(x, direction.init(x), x, hvp=lambda v: v, box=Box(-x, x))


def test_moved_lands_on_the_bound_exactly():
    rng = np.random.default_rng(1)
    box = Box(*np.sort(rng.standard_normal((2, 1000)) * 10.0 ** rng.uniform(-8, 8, 1000), axis=0))
    x = box.lower + rng.uniform(size=1000) * (box.upper - box.lower)
    x = np.asarray(project(box, x))
    room = steps_within(box, x)
    assert np.any(np.asarray(x + room.lower) != box.lower)
    np.testing.assert_array_equal(moved(box, x, room.lower), box.lower)
    np.testing.assert_array_equal(moved(box, x, room.upper), box.upper)
    half = np.asarray(moved(box, x, 0.5 * np.asarray(room.upper)))
    np.testing.assert_array_equal(half, np.clip(x + 0.5 * np.asarray(room.upper), *box))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_tree_in_single_precision_keeps_its_dtypes_and_its_bounds(method):
    params = {"w": jnp.ones((2, 3), jnp.float32), "b": jnp.zeros((), jnp.float32)}
    bounds = ({"w": 0.5, "b": None}, {"w": None, "b": -1.0})

    def fun(p):
        return jnp.sum((p["w"] - jnp.arange(6, dtype=jnp.float32).reshape(2, 3) / 5) ** 2) + (p["b"] - 1) ** 2

    with jax.numpy_dtype_promotion("strict"):
        found = jopt.minimize(fun, params, method=method, bounds=bounds)
    assert bool(found.success)
    expected = {"w": np.maximum(np.arange(6).reshape(2, 3) / 5, 0.5).astype("float32"), "b": np.float32(-1)}
    assert_trees_close(found.x, jax.tree.map(jnp.asarray, expected), rtol=1e-5)
    assert found.x["w"].dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_lanes_of_a_batch_end_where_the_solves_one_by_one_end(method):
    chosen = [CASES[name] for name in ("valley, bounds in the way", "concave at the bounds", "fixed entries")]
    solve = lambda args, box, start: jopt.minimize(value, start, args, method, bounds=tuple(box), gtol=1e-8)  # noqa: E731
    lanes = jax.tree.map(lambda *rows: np.stack(rows), *chosen)
    batch = jax.vmap(solve)(*lanes)
    for i, each in enumerate(chosen):
        alone = solve(*each)
        assert int(batch.status[i]) == int(alone.status) == Status.CONVERGED
        np.testing.assert_allclose(batch.x[i], alone.x, atol=1e-7)

# SPDX-License-Identifier: Apache-2.0
"""The trust region: one trial by its definition, radius rules, round-off, saddles, statuses, and what is in the program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status
from jopt.bench.marker import copies, jaxprs_of, marked
from jopt.solvers import radius as radius_rules
from jopt.solvers.objective import Objective
from jopt.solvers.subproblems import Task, dogleg_path, exact, truncated_cg
from jopt.solvers.trust_region import trust_region

SOLVERS = {"trust-ncg": jopt.trust_ncg(), "trust-exact": jopt.trust_exact(), "dogleg": jopt.dogleg()}
every_solver = pytest.mark.parametrize("name", SOLVERS)


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def saddle(x):
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4


H, B = np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([0.1, 0.2])


def quadratic(x):
    return x @ H @ x / 2 - B @ x


def offset(x):
    return 1e12 + jnp.sum(jnp.array([1.0, 100.0]) * x**2)  # eps |f| is 1e-4, far above the decrease to be seen


def barrier(x):
    return jnp.sum(x - jnp.log(x))


def falling(x):
    return -jnp.sum(jnp.exp(x))


@jax.custom_jvp
def wrong_gradient(x):
    return jnp.sum(x * x) - 5.0


wrong_gradient.defjvp(lambda primals, tangents: (wrong_gradient(primals[0]), -2 * jnp.sum(primals[0] * tangents[0])))


@jax.custom_jvp
def slope_without_derivative(x):
    return 2 * x


slope_without_derivative.defjvp(lambda primals, tangents: (2 * primals[0], tangents[0] * jnp.nan))


@jax.custom_jvp
def nan_curvature(x):
    return jnp.sum(x * x)


nan_curvature.defjvp(
    lambda primals, tangents: (jnp.sum(primals[0] ** 2), jnp.sum(slope_without_derivative(primals[0]) * tangents[0]))
)
monkey = jopt.problems.get("monkey_saddle").fun

FUNCTIONS = (rosenbrock, saddle, quadratic, offset, barrier, falling, wrong_gradient, nan_curvature, monkey)


def one_of_them(x, which):
    """Return the value of one of the functions of two parameters: they share a compiled solve of each method."""
    return jax.lax.switch(which, FUNCTIONS, x)


def solve(fun, x0, method, **limits):
    return jopt.minimize(one_of_them, jnp.asarray(x0), (FUNCTIONS.index(fun),), method, **({"gtol": 1e-10} | limits))


# The first step of a quadratic is Newton's.
TIGHT = jopt.trust_ncg(forcing=1e-12, radius=50.0)


@functools.cache
def stepper(solver, fun):
    return jax.jit(lambda state: solver.step(Objective(fun), state))


def trips(solver, fun, x0, count):
    """Return the states before and after each of `count` steps, with the infos."""
    state, seen = solver.init(Objective(fun), jnp.asarray(x0)), []
    for _ in range(count):
        before = state
        state, info = stepper(solver, fun)(state)
        seen.append(jax.tree.map(np.asarray, (before, info, state)))
    return seen


@functools.cache
def path_of(solver):
    return trips(solver, rosenbrock, [-1.2, 1.0], 20)


def rosenbrock_by_hand(x):
    """Return value, gradient and Hessian."""
    a, b = x
    r = b - a * a
    hessian = np.array([[2 + 1200 * a * a - 400 * b, -400 * a], [-400 * a, 200.0]])
    return 100 * r * r + (1 - a) ** 2, np.array([-400 * a * r - 2 * (1 - a), 200 * r]), hessian


@every_solver
def test_each_trial_is_accepted_and_the_radius_set_by_the_ratio(name):
    seen = path_of(SOLVERS[name])
    rejected = 0
    for before, info, after in seen[1:]:
        x, p = before.params, before.step.step
        np.testing.assert_allclose(info.point.params, x + p, rtol=1e-12)
        value, grad, h = rosenbrock_by_hand(x)
        if name == "dogleg":
            w, v = np.linalg.eigh(h)
            h = v @ np.diag(np.abs(w)) @ v.T
        promised = -(grad @ p + p @ h @ p / 2)
        assert float(before.step.decrease) == pytest.approx(float(promised), rel=1e-6)
        norm = np.linalg.norm(p)
        assert norm <= float(before.radius) * (1 + 1e-9)
        ratio = (value - rosenbrock_by_hand(x + p)[0]) / promised
        assert bool(info.accepted) == (ratio > 1e-4)
        np.testing.assert_allclose(after.params, x + p if info.accepted else x, rtol=1e-12)
        expected = norm / 4 if ratio < 0.25 else float(before.radius)
        if ratio > 0.75 and norm > 0.99 * float(before.radius):
            expected *= 2
        assert float(after.radius) == pytest.approx(expected, rel=1e-9)
        rejected += not info.accepted
    assert rejected > 0, "the start is chosen so that a trial is rejected"


@every_solver
def test_a_rejected_trial_costs_no_product_and_an_accepted_one_at_least_one(name):
    for _, info, _ in path_of(SOLVERS[name]):
        assert (int(info.nhev) > 0) == bool(info.accepted)
        if name != "trust-ncg":
            assert int(info.nhev) in (0, 2)


def test_products_are_counted_truly():
    counted = []

    @jax.custom_jvp
    def watched(x):
        return x

    @watched.defjvp
    def _(primals, tangents):
        jax.debug.callback(lambda _: counted.append(1), tangents[0])
        return primals[0], tangents[0]

    scale = jnp.array([1.0, 10.0, 100.0])

    def gradient(x):
        return scale * watched(x)

    # The Hessian is the derivative of a gradient written by hand, so that each product passes `watched` once.
    @jax.custom_jvp
    def fun(x):
        return jnp.sum(scale * x**2) / 2

    @fun.defjvp
    def _(primals, tangents):
        return fun(primals[0]), jnp.sum(gradient(primals[0]) * tangents[0])

    solver = jopt.trust_ncg(forcing=1e-8, radius=100.0)
    _, info = stepper(solver, fun)(solver.init(Objective(fun), jnp.ones(3)))
    jax.effects_barrier()
    assert len(counted) == int(info.nhev) == 3


@every_solver
def test_the_objective_stands_once_and_the_product_once(name):
    matrix = jnp.asarray(np.random.default_rng(0).standard_normal((7, 5)))

    def fun(x):
        return jnp.sum(jnp.cosh(matrix @ x))

    def once(x, v):
        (_, grad), hvp = jax.linearize(jax.value_and_grad(fun), x)
        return grad, hvp(v)

    x = jnp.zeros(5)
    program = jax.make_jaxpr(lambda x: jopt.minimize(fun, x, method=name))(x).jaxpr
    assert copies(lambda x: jopt.minimize(marked(fun), x, method=name), x) == 1
    assert products(program) == products(jax.make_jaxpr(once)(x, x).jaxpr) == 4


def products(jaxpr):
    """Count the matrix-vector products with the data of the objective, a matrix of 7 by 5."""
    here = sum(e.primitive.name == "dot_general" and any(7 in v.aval.shape for v in e.invars) for e in jaxpr.eqns)
    return here + sum(products(inner) for e in jaxpr.eqns for inner in jaxprs_of(e))


def test_radius_rules_by_their_formulas():
    def outcome(ratio, norm=1.0, radius=2.0, slope=-1.0, decrease=0.3):
        return radius_rules.Outcome(*(jnp.float64(v) for v in (radius, norm, slope, decrease, ratio)))

    nw, cgt, lm = radius_rules.nocedal_wright, radius_rules.conn_gould_toint, radius_rules.lin_more
    assert [float(nw(outcome(r))) for r in (-1.0, 0.24, 0.26, 0.9)] == [0.25, 0.25, 2.0, 2.0]
    assert [float(nw(outcome(r, norm=2.0))) for r in (0.7, 0.8)] == [2.0, 4.0]
    assert [float(cgt(outcome(r))) for r in (0.0, 0.02, 0.96)] == [0.25, 2.0, 2.5]
    assert float(cgt(outcome(0.96, norm=0.1))) == 2.0
    # The parabola through 0, slope -1 and -0.3 has its minimum at 1 / (2 (1 - 0.3)).
    alpha = 1 / 1.4
    assert float(lm(outcome(0.0))) == pytest.approx(alpha)
    assert float(lm(outcome(0.0, norm=1.9))) == pytest.approx(1.0)  # at most half the radius
    assert float(lm(outcome(0.1, norm=0.1))) == pytest.approx(0.5)  # at least a quarter
    assert float(lm(outcome(0.5, norm=1.5))) == pytest.approx(1.5 * alpha)
    assert float(lm(outcome(0.8))) == pytest.approx(2.0)  # never shorter
    assert float(lm(outcome(0.8, norm=2.0, decrease=1.0))) == pytest.approx(8.0)  # no minimum: four times
    assert float(lm(outcome(-jnp.inf))) == pytest.approx(0.25)


def outcomes(solver):
    """Return, for each step but the first, the ratio, what the rules see, whether it was accepted, and the radius."""
    for before, info, after in path_of(solver)[1:]:
        decrease = before.value - info.point.value
        ratio = decrease / before.step.decrease
        outcome = (before.radius, before.step.norm, before.step.slope, decrease, ratio)
        seen = radius_rules.Outcome(*(jnp.float64(v) for v in outcome))
        yield float(ratio), seen, bool(info.accepted), float(after.radius)


def test_settings_are_seen_in_the_steps():
    solver = jopt.trust_ncg(rule="lin-more", radius=0.3, cg_maxiter=1, kept=1)
    for ratio, seen, accepted, after in outcomes(solver):
        assert accepted == (ratio > 1e-4)
        assert after == pytest.approx(float(radius_rules.lin_more(seen)))
    assert float(path_of(solver)[0][2].radius) == pytest.approx(0.3 * np.hypot(1.2, 1.0))
    assert {int(info.nhev) for _, info, _ in path_of(solver)} <= {0, 1}
    assert path_of(solver)[0][2].plan.numbers.shape[0] == 1
    solver = jopt.trust_ncg(rule="conn-gould-toint", max_radius=0.5, eta=0.2)
    for ratio, seen, accepted, after in outcomes(solver):
        assert accepted == (ratio > 0.2)
        assert after == pytest.approx(min(0.5, float(radius_rules.conn_gould_toint(seen))))
    assert max(float(after.radius) for *_, after in path_of(solver)) == 0.5


def program(solver):
    """Return one step of a solver as text."""
    objective = Objective(rosenbrock)
    return str(jax.make_jaxpr(lambda s: solver.step(objective, s))(solver.init(objective, jnp.zeros(3))))


@pytest.mark.parametrize(
    "setting",
    [{"forcing": f} for f in ("quadratic", "absolute", 1e-3)]
    + [{"kept": 1}, {"cg_maxiter": 1}, {"rule": "lin-more"}, {"rule": "conn-gould-toint"}]
    + [{"max_radius": 0.5}, {"eta": 0.2}, {"noise": 0.0}],
    ids=str,
)
def test_every_setting_reaches_its_part(setting):
    inner = {
        "maxiter" if k == "cg_maxiter" else k: v for k, v in setting.items() if k in ("forcing", "kept", "cg_maxiter")
    }
    outer = {k: v for k, v in setting.items() if k in ("rule", "max_radius", "eta", "noise")}
    made = program(jopt.trust_ncg(**setting))
    assert made == program(trust_region(truncated_cg(**inner), **outer))
    assert made != program(SOLVERS["trust-ncg"])


FORCED = {"superlinear": 0.1, "absolute": 0.5, "quadratic": 0.01, 0.3: 0.3}


@jax.jit
def forced(scale):
    grads = jnp.ones(30)
    norm = jnp.linalg.norm(grads)
    task = Task(lambda v: scale * v, grads, jnp.float64(1e6), norm, 100 * norm, jnp.float64(0.0))
    runs = [truncated_cg(forcing=f).solve(task) for f in FORCED]
    runs.append(truncated_cg(forcing="quadratic").solve(task._replace(gtol=0.4 * norm)))  # half of it is 0.2 |g|
    return [(step.step, nhev) for step, _, nhev in runs]


def test_forcing_terms_and_no_more_than_half_the_tolerance():
    scale = np.logspace(0, 2, 30)
    # The relative residuals of conjugate gradients.
    r, relative = np.ones(30), []
    d = -r
    for _ in range(30):
        after = r + (r @ r) / (d @ (scale * d)) * scale * d
        r, d = after, -after + (after @ after) / (r @ r) * d
        relative.append(np.linalg.norm(r) / 30**0.5)
    for (step, nhev), expected in zip(forced(scale), [*FORCED.values(), 0.2], strict=True):
        assert np.linalg.norm(1.0 + scale * step) / 30**0.5 <= expected
        assert int(nhev) == 1 + next(k for k, value in enumerate(relative) if value <= expected)


def test_values_that_cannot_tell_leave_the_ratio_to_the_slopes():
    start = [1e-3, 1e-3]
    assert Status(int(solve(offset, start, "trust-ncg").status)) is Status.CONVERGED
    blind = jopt.minimize(offset, jnp.asarray(start), method=jopt.trust_ncg(noise=0.0), gtol=1e-10)
    assert not bool(blind.success)


def test_slopes_do_not_decide_where_the_values_can():
    # Over the hump the two slopes promise a decrease that the values deny, though these differ by little.
    def fun(x):
        return 1e8 + 1e4 * jnp.cos(x[0])

    solver = trust_region(truncated_cg(), radius=2 * np.pi)
    state = trips(solver, fun, [0.1], 1)[0][2]
    _, info, _ = (state, *stepper(solver, fun)(state)[::-1])
    assert not bool(info.accepted) or float(info.point.value) < float(state.value)


@every_solver
def test_a_saddle_is_left_by_negative_curvature(name):
    result = solve(saddle, [1.0, 1e-9], name)
    assert Status(int(result.status)) is Status.CONVERGED
    np.testing.assert_allclose(np.abs(result.x), [0.0, 0.5**0.5], atol=1e-9)


@every_solver
def test_from_beside_the_monkey_saddle_the_way_down_is_found(name):
    result = solve(monkey, [1e-3, 1e-3], name, gtol=1e-8)
    assert Status(int(result.status)) is Status.UNBOUNDED


@every_solver
def test_a_quadratic_takes_one_step_of_newton(name):
    result = solve(quadratic, [0.0, 0.0], TIGHT if name == "trust-ncg" else name)
    assert int(result.nit) == 1
    assert int(result.nhev) <= 4
    np.testing.assert_allclose(result.x, np.linalg.solve(H, B), rtol=1e-10)


def test_statuses():
    def status(fun, x0, **limits):
        return Status(int(solve(fun, x0, "trust-ncg", **limits).status))

    assert status(barrier, [-1.0, 1.0]) is Status.NONFINITE
    assert status(falling, [1.0, 1.0]) is Status.UNBOUNDED
    assert status(rosenbrock, [-1.2, 1.0], maxiter=3) is Status.MAX_ITERATIONS
    assert status(wrong_gradient, [1.0, 2.0]) is Status.SEARCH_FAILED


def test_noise_ends_as_stalled():
    def fun(x):
        return jnp.float32(1e4) * (1 + x @ x) + jnp.sin(1e7 * x[0])

    result = jopt.minimize(fun, jnp.ones(2, jnp.float32), method="trust-ncg", gtol=0.0)
    assert Status(int(result.status)) is Status.STALLED


@every_solver
def test_curvature_that_is_not_finite_ends_with_the_last_good_point(name):
    result = solve(nan_curvature, [1.0, 1.0], name)
    assert Status(int(result.status)) is Status.NONFINITE
    np.testing.assert_array_equal(result.x, np.ones(2))


def test_a_trial_outside_the_domain_is_rejected_and_the_solve_goes_on():
    result = solve(barrier, [0.01, 5.0], TIGHT, gtol=1e-8)
    assert bool(result.success)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-8)
    assert int(result.nfev) > int(result.nit) + 1


def test_trees_mixed_dtypes_and_a_batch():
    def fun(p):
        return jnp.sum((p["a"] - 1.0) ** 2).astype(jnp.float32) + jnp.sum((p["b"] + 2.0) ** 4 + p["b"] ** 2).astype(
            jnp.float32
        )

    start = {"a": jnp.zeros(2, jnp.float32), "b": jnp.zeros((), jnp.bfloat16)}
    result = jopt.minimize(fun, start, method="trust-ncg", gtol=0.1)
    assert bool(result.success)
    for method in SOLVERS:
        shapes = jax.eval_shape(functools.partial(jopt.minimize, fun, method=method, gtol=0.1), start)
        assert [x.dtype for x in jax.tree.leaves(shapes.x)] == [jnp.float32, jnp.bfloat16]
    assert [x.dtype for x in jax.tree.leaves(result.x)] == [jnp.float32, jnp.bfloat16]


def test_a_batch_is_a_loop_over_its_lanes():
    starts = jnp.array([[-1.2, 1.0], [2.0, 2.0], [0.0, 0.0]])
    batch = jax.vmap(lambda x: jopt.minimize(rosenbrock, x, method="trust-ncg", gtol=1e-8))(starts)
    for i, x0 in enumerate(starts):
        alone = solve(rosenbrock, x0, "trust-ncg", gtol=1e-8)
        assert int(batch.nit[i]) == int(alone.nit)
        np.testing.assert_allclose(batch.x[i], alone.x, rtol=1e-7)


def test_errors():
    with pytest.raises(TypeError, match="trust_region: subproblem must be a Subproblem, got "):
        trust_region(truncated_cg)
    for factory in (jopt.trust_ncg, jopt.trust_exact, jopt.dogleg):
        with pytest.raises(ValueError, match=r"trust_region: radius must be in \(0, inf\), got 0"):
            factory(radius=0.0)
        with pytest.raises(ValueError, match=r"max_radius must be in \(0, inf\]"):
            factory(max_radius=-1.0)
        with pytest.raises(ValueError, match=r"rule must be one of .*Did you mean 'lin-more'"):
            factory(rule="lin-moré")
        with pytest.raises(ValueError, match=r"eta must be in \[0, 0.25\)"):
            factory(eta=0.3)
        with pytest.raises(ValueError, match="noise must be in"):
            factory(noise=-1.0)
    with pytest.raises(ValueError, match="truncated_cg: forcing must be one of"):
        jopt.trust_ncg(forcing="linear")
    with pytest.raises(ValueError, match=r"truncated_cg: forcing must be in \[0, 1\)"):
        jopt.trust_ncg(forcing=1.0)
    with pytest.raises(ValueError, match="truncated_cg: kept must be"):
        jopt.trust_ncg(kept=0)
    with pytest.raises(ValueError, match="truncated_cg: maxiter must be"):
        jopt.trust_ncg(cg_maxiter=0)
    for factory in (exact, dogleg_path):
        with pytest.raises(ValueError, match="most must be"):
            factory(most=0)
    with pytest.raises(ValueError, match="exact: params must have 1 to 2 entries for a dense Hessian, got 3"):
        jopt.minimize(rosenbrock, jnp.zeros(3), method=jopt.trust_exact(most=2))

# SPDX-License-Identifier: Apache-2.0
"""The trust region: one trial by its definition, radius rules, round-off, saddles, statuses, and what is in the program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from marker import copies, jaxprs_of, marked

import jopt
from jopt import Status
from jopt.solvers import radius as radius_rules
from jopt.solvers.objective import Objective
from jopt.solvers.subproblems import dogleg_path, exact, truncated_cg
from jopt.solvers.trust_region import trust_region

SOLVERS = {"trust-ncg": jopt.trust_ncg(), "trust-exact": jopt.trust_exact(), "dogleg": jopt.dogleg()}
every_solver = pytest.mark.parametrize("name", SOLVERS)


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@functools.cache
def stepper(solver, fun):
    return jax.jit(lambda state: solver.step(Objective(fun), state))


def trips(solver, fun, x0, count):
    """Return the states before and after each of `count` steps, with the infos."""
    state, seen = solver.init(Objective(fun), jnp.asarray(x0)), []
    for _ in range(count):
        before = state
        state, info = stepper(solver, fun)(state)
        seen.append((before, info, state))
    return seen


@every_solver
def test_each_trial_is_accepted_and_the_radius_set_by_the_ratio(name):
    seen = trips(SOLVERS[name], rosenbrock, [-1.2, 1.0], 20)
    grad, hessian = jax.grad(rosenbrock), jax.hessian(rosenbrock)
    rejected = 0
    for before, info, after in seen[1:]:
        x, p = before.params, before.step.step
        np.testing.assert_allclose(info.point.params, x + p, rtol=1e-12)
        h = hessian(x)
        if name == "dogleg":
            w, v = np.linalg.eigh(h)
            h = v @ np.diag(np.abs(w)) @ v.T
        promised = -(grad(x) @ p + p @ h @ p / 2)
        assert float(before.step.decrease) == pytest.approx(float(promised), rel=1e-6)
        assert float(jnp.linalg.norm(p)) <= float(before.radius) * (1 + 1e-9)
        ratio = float((rosenbrock(x) - rosenbrock(x + p)) / promised)
        assert bool(info.accepted) == (ratio > 1e-4)
        np.testing.assert_allclose(after.params, x + p if info.accepted else x, rtol=1e-12)
        norm = float(jnp.linalg.norm(p))
        expected = norm / 4 if ratio < 0.25 else float(before.radius)
        if ratio > 0.75 and norm > 0.99 * float(before.radius):
            expected *= 2
        assert float(after.radius) == pytest.approx(expected, rel=1e-9)
        rejected += not info.accepted
    assert rejected > 0, "the start is chosen so that a trial is rejected"


@every_solver
def test_a_rejected_trial_costs_no_product_and_an_accepted_one_at_least_one(name):
    for _, info, _ in trips(SOLVERS[name], rosenbrock, [-1.2, 1.0], 20):
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


def test_settings_reach_the_method():
    start = [-1.2, 1.0, 0.3, -0.5, 2.0]
    base = [float(s.radius) for _, _, s in trips(SOLVERS["trust-ncg"], rosenbrock, start, 15)]
    for changes in (
        {"rule": "lin-more"},
        {"rule": "conn-gould-toint"},
        {"radius": 0.3},
        {"max_radius": 0.5},
        {"kept": 1},
        {"forcing": 1e-3},
        {"forcing": "quadratic"},
        {"forcing": "absolute"},
        {"maxiter_cg": 1},
        {"eta": 0.2},
    ):
        solver = jopt.trust_ncg(**changes)
        seen = trips(solver, rosenbrock, start, 15)
        path = [(float(s.radius), *np.asarray(s.params), int(i.nhev)) for _, i, s in seen]
        default = trips(SOLVERS["trust-ncg"], rosenbrock, start, 15)
        assert path != [(float(s.radius), *np.asarray(s.params), int(i.nhev)) for _, i, s in default], changes
        if "max_radius" in changes:
            assert max(r for r, *_ in path) <= 0.5 < max(base)
        if "radius" in changes:
            assert path[0][0] == pytest.approx(0.3)
        if "maxiter_cg" in changes:
            assert {n for *_, n in path} <= {0, 1}
        if "eta" in changes:  # a trial with a ratio between 1e-4 and 0.2 is now refused
            assert all(float((b.value - i.point.value) / b.step.decrease) > 0.2 for b, i, _ in seen[1:] if i.accepted)


@pytest.mark.parametrize(
    ("forcing", "expected"),
    [("superlinear", 0.1), ("absolute", 0.5), ("quadratic", 0.01), (0.3, 0.3)],
)
def test_forcing_terms(forcing, expected):
    from jopt.solvers.subproblems import Task

    scale = jnp.logspace(0, 4, 30)
    grads = jnp.ones(30)
    norm = jnp.linalg.norm(grads)
    task = Task(lambda v: scale * v, grads, jnp.float64(1e6), norm, 100 * norm)
    step, _, nhev = truncated_cg(forcing=forcing).solve(task)
    residual = jnp.linalg.norm(grads + scale * step.step) / norm
    shorter = truncated_cg(forcing=forcing, maxiter=int(nhev) - 1).solve(task)[0] if nhev > 1 else None
    assert float(residual) <= expected
    if shorter is not None:
        assert float(jnp.linalg.norm(grads + scale * shorter.step) / norm) > expected


def test_values_that_cannot_tell_leave_the_ratio_to_the_slopes():
    offset = 1e12  # eps |f| is 1e-4, far above the decrease to be seen

    def fun(x):
        return offset + jnp.sum(jnp.array([1.0, 100.0]) * x**2)

    exact_ = jopt.minimize(fun, jnp.array([1e-3, 1e-3]), method="trust-ncg", gtol=1e-10)
    assert Status(int(exact_.status)) is Status.CONVERGED
    blind = jopt.minimize(fun, jnp.array([1e-3, 1e-3]), method=jopt.trust_ncg(noise=0.0), gtol=1e-10)
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
    def fun(x):
        return x[0] ** 2 - x[1] ** 2 + x[1] ** 4

    result = jopt.minimize(fun, jnp.array([1.0, 1e-9]), method=name, gtol=1e-10)
    assert Status(int(result.status)) is Status.CONVERGED
    np.testing.assert_allclose(np.abs(result.x), [0.0, 0.5**0.5], atol=1e-9)


@every_solver
def test_from_beside_the_monkey_saddle_the_way_down_is_found(name):
    result = jopt.minimize(jopt.problems.get("monkey_saddle").fun, jnp.array([1e-3, 1e-3]), method=name)
    assert Status(int(result.status)) is Status.UNBOUNDED


@every_solver
def test_a_quadratic_takes_one_step_of_newton(name):
    h = np.array([[4.0, 1.0], [1.0, 3.0]])
    b = np.array([1.0, 2.0])
    solver = jopt.trust_ncg(forcing=1e-12, radius=10.0) if name == "trust-ncg" else {
        "trust-exact": jopt.trust_exact, "dogleg": jopt.dogleg}[name](radius=10.0)  # fmt: skip
    result = jopt.minimize(lambda x: x @ h @ x / 2 - b @ x, jnp.zeros(2), method=solver, gtol=1e-10)
    assert int(result.nit) == 1
    assert int(result.nhev) <= 4
    np.testing.assert_allclose(result.x, np.linalg.solve(h, b), rtol=1e-10)


@jax.custom_jvp
def wrong_gradient(x):
    return jnp.sum(x * x) - 5.0


wrong_gradient.defjvp(lambda primals, tangents: (wrong_gradient(primals[0]), -2 * jnp.sum(primals[0] * tangents[0])))


def test_statuses():
    def status(fun, x0, **limits):
        return Status(int(jopt.minimize(fun, jnp.asarray(x0), method="trust-ncg", **limits).status))

    assert status(lambda x: jnp.sum(jnp.log(x)), [-1.0]) is Status.NONFINITE
    assert status(lambda x: -jnp.sum(jnp.exp(x)), [1.0]) is Status.UNBOUNDED
    assert status(rosenbrock, [-1.2, 1.0], maxiter=3) is Status.MAX_ITERATIONS
    assert status(wrong_gradient, [1.0, 2.0]) is Status.SEARCH_FAILED
    noisy = jnp.float32(1e4)
    assert (
        status(lambda x: noisy * (1 + x @ x) + jnp.sin(1e7 * x[0]), jnp.ones(2, jnp.float32), gtol=0.0)
        is Status.STALLED
    )


def test_curvature_that_is_not_finite_ends_with_the_last_good_point():
    @jax.custom_jvp
    def slope(x):
        return 2 * x

    slope.defjvp(lambda primals, tangents: (slope(primals[0]), tangents[0] * jnp.nan))

    @jax.custom_jvp
    def fun(x):
        return jnp.sum(x * x)

    fun.defjvp(lambda primals, tangents: (fun(primals[0]), jnp.sum(slope(primals[0]) * tangents[0])))
    for method in SOLVERS:
        result = jopt.minimize(fun, jnp.ones(2), method=method)
        assert Status(int(result.status)) is Status.NONFINITE
        np.testing.assert_array_equal(result.x, np.ones(2))


def test_a_trial_outside_the_domain_is_rejected_and_the_solve_goes_on():
    def fun(x):
        return jnp.sum(x - jnp.log(x))

    result = jopt.minimize(fun, jnp.array([0.01, 5.0]), method=jopt.trust_ncg(radius=50.0), gtol=1e-8)
    assert bool(result.success)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-8)
    assert int(result.nfev) > int(result.nit) + 1


def test_trees_mixed_dtypes_and_a_batch():
    def fun(p):
        return jnp.sum((p["a"] - 1.0) ** 2).astype(jnp.float32) + jnp.sum((p["b"] + 2.0) ** 4 + p["b"] ** 2).astype(
            jnp.float32
        )

    start = {"a": jnp.zeros(2, jnp.float32), "b": jnp.zeros((), jnp.bfloat16)}
    for method in SOLVERS:
        result = jopt.minimize(fun, start, method=method, gtol=0.1)
        assert bool(result.success), method
        assert [x.dtype for x in jax.tree.leaves(result.x)] == [jnp.float32, jnp.bfloat16]
    starts = jnp.array([[-1.2, 1.0], [2.0, 2.0], [0.0, 0.0]])
    batch = jax.vmap(lambda x: jopt.minimize(rosenbrock, x, method="trust-ncg", gtol=1e-8))(starts)
    for i, x0 in enumerate(starts):
        alone = jopt.minimize(rosenbrock, x0, method="trust-ncg", gtol=1e-8)
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
        jopt.trust_ncg(maxiter_cg=0)
    for factory in (exact, dogleg_path):
        with pytest.raises(ValueError, match="most must be"):
            factory(most=0)
    with pytest.raises(ValueError, match="exact: params must have at most 2 entries for a dense Hessian, got 3"):
        jopt.minimize(rosenbrock, jnp.zeros(3), method=jopt.trust_exact(most=2))

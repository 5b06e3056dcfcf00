# SPDX-License-Identifier: Apache-2.0
"""Descent: every direction descends, noise does not stop it, and what it does when a search fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status
from jopt.linesearch import backtracking, exact, hager_zhang, strong_wolfe, weak_wolfe
from jopt.solvers.stalling import STALL_LIMIT

SEARCHES = {
    "backtracking": backtracking(),
    "weak": weak_wolfe(),
    "strong": strong_wolfe(),
    "hager-zhang": hager_zhang(),
    "exact": exact(),
}


def double_well(x):
    return jnp.sum(x**4 / 4 - x**2 / 2)


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def trips(solver, fun, start, number):
    """Return the states and infos of a number of trips, stacked."""
    objective = jopt.Objective(fun)

    def trip(state, _):
        state, info = solver.step(objective, state)
        return state, (state, info)

    return jax.jit(lambda x: jax.lax.scan(trip, solver.init(objective, x), None, length=number)[1])(start)


@pytest.mark.slow
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
def test_every_direction_descends_where_curvature_is_negative(search):
    states, infos = trips(jopt.lbfgs(search=search), double_well, jnp.asarray([0.1, -0.05, 0.2]), 40)
    slopes = np.sum(np.asarray(states.grad) * np.asarray(states.direction), axis=1)
    moving = np.abs(np.asarray(states.grad)).max(axis=1) > 1e-7
    assert (slopes[moving] < 0).all()
    # Only at the very end, where round-off decides, may descent have had to replace a direction.
    assert int(np.asarray(states.resets)[moving].max()) == 0
    assert float(infos.point.value.min()) == pytest.approx(-0.75, abs=1e-9)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES.keys())
def test_the_value_never_rises_between_accepted_points(search):
    states, infos = trips(jopt.lbfgs(search=search), rosenbrock, jnp.asarray([-1.2, 1.0]), 300)
    accepted = np.asarray(infos.accepted)
    values = np.asarray(infos.point.value)[accepted]
    assert (np.diff(values) <= 1e-12 * np.abs(values[:-1])).all()
    assert values[-1] < 1e-10
    assert not states.started[0] or accepted[0]


def test_gradient_descent_with_exact_search_has_orthogonal_successive_gradients():
    _, infos = trips(jopt.gradient_descent(search=exact()), rosenbrock, jnp.asarray([0.8, 0.0]), 60)
    grads = np.asarray(infos.point.grad)[np.asarray(infos.accepted)]
    cosines = (
        np.sum(grads[1:] * grads[:-1], axis=1) / np.linalg.norm(grads[1:], axis=1) / np.linalg.norm(grads[:-1], axis=1)
    )
    assert len(cosines) > 5
    assert np.abs(cosines).max() < 1e-6


def test_multiplying_the_objective_changes_no_iterate():
    plain = trips(jopt.lbfgs(), rosenbrock, jnp.asarray([-1.2, 1.0]), 30)[1].point.params
    scaled = trips(jopt.lbfgs(), lambda x: 2.0**20 * rosenbrock(x), jnp.asarray([-1.2, 1.0]), 30)[1].point.params
    np.testing.assert_array_equal(plain, scaled)


@pytest.mark.slow
def test_turning_the_coordinates_turns_the_iterates():
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0])
    start = jnp.asarray([-1.2, 1.0, -1.2, 1.0])
    plain = trips(jopt.lbfgs(), rosenbrock, start, 25)[1].point.params
    turned = trips(jopt.lbfgs(), lambda z: rosenbrock(turn @ z), turn.T @ start, 25)[1].point.params
    np.testing.assert_allclose(turned @ turn.T, plain, rtol=1e-6, atol=1e-6)


def noisy_bowl(dtype):
    """Return a quadratic whose value, not its gradient, carries errors of a hundred eps."""
    scales, eps = jnp.asarray([1.0, 10.0, 100.0], dtype), float(jnp.finfo(dtype).eps)

    def clean(x):
        return 1.0 + 0.5 * jnp.sum(scales * (x - 1.0) ** 2)

    @jax.custom_jvp
    def fun(x):
        return clean(x) + 80 * eps * jnp.sin(jnp.sum(x) / eps)

    fun.defjvp(lambda x, v: (fun(*x), jax.jvp(clean, x, v)[1]))
    return fun


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_noise_in_the_value_does_not_stop_the_descent(dtype):
    fun, start, gtol = noisy_bowl(dtype), jnp.zeros(3, dtype), 20 * float(jnp.finfo(dtype).eps)
    default = jopt.minimize(fun, start, gtol=gtol)
    textbook = jopt.minimize(fun, start, method=jopt.lbfgs(search=strong_wolfe(noise=0.0)), gtol=gtol)
    assert Status(int(default.status)) is Status.CONVERGED
    assert int(default.nfev) < 30
    assert Status(int(textbook.status)) is not Status.CONVERGED or int(textbook.nfev) > 2 * int(default.nfev)


def ascending():
    """Return a transformation whose output points uphill on every second call."""

    def init(params):
        del params
        return jnp.zeros((), jnp.int32)

    def update(updates, state, params=None, **extra):
        del params, extra
        factor = jnp.where(state % 2 == 0, 1.0, -1.0)
        return jax.tree.map(lambda g: factor * g, updates), state + 1

    return jopt.GradientTransformation(init, update)


def test_an_ascent_direction_is_replaced_by_the_gradient_and_counted():
    solver = jopt.descent(ascending(), strong_wolfe())
    states, infos = trips(solver, rosenbrock, jnp.asarray([-1.2, 1.0]), 30)
    slopes = np.sum(np.asarray(states.grad) * np.asarray(states.direction), axis=1)
    assert (slopes < 0).all()
    turns = int(np.asarray(infos.accepted).sum())
    assert int(states.resets[-1]) == turns // 2


def test_a_failed_search_restarts_along_the_gradient_and_goes_on():
    # Overflowing scale: the direction is so wrong that no trial within the budget lowers the value.
    def init(params):
        del params
        return jnp.zeros((), jnp.int32)

    def update(updates, state, params=None, **extra):
        del params, extra
        factor = jnp.where(state == 1, 1e200, 1.0)
        return factor * updates, state + 1

    solver = jopt.descent(jopt.GradientTransformation(init, update), strong_wolfe(max_trials=5))
    states, infos = trips(solver, rosenbrock, jnp.asarray([-1.2, 1.0]), 40)
    assert bool(states.steepest.any())
    assert (np.asarray(infos.status) == Status.RUNNING).all()
    after = int(np.argmax(states.steepest))
    assert int(states.inner[after]) == 0, "the direction's state starts anew"
    assert float(infos.point.value[after + 1 :].min()) < float(states.value[after])


def test_after_a_failed_search_the_history_is_forgotten():
    solver, objective = jopt.lbfgs(search=strong_wolfe(max_trials=4)), jopt.Objective(rosenbrock)
    step = jax.jit(lambda state: solver.step(objective, state))
    state = solver.init(objective, jnp.asarray([-1.2, 1.0]))
    for _ in range(12):
        state, _ = step(state)
    assert int(state.inner.stored) > 2
    state = state._replace(direction=1e200 * state.direction)  # nothing along it lowers the value
    for _ in range(8):
        state, _ = step(state)
        if state.steepest:
            break
    assert bool(state.steepest)
    assert int(state.inner.stored) == 0
    assert float(jnp.abs(state.inner.curvatures).max()) == 0.0


def test_a_search_that_fails_keeps_its_lowest_point():
    # Two trials are rarely enough for so strict a slope test, but mostly they lower the value.
    search = strong_wolfe(curvature=1e-3, decrease=1e-4, max_trials=2)
    states, infos = trips(jopt.gradient_descent(search=search), rosenbrock, jnp.asarray([-1.2, 1.0]), 60)
    accepted = np.flatnonzero(np.asarray(infos.accepted))
    failed = 0
    for k in accepted[1:]:
        direction = np.asarray(states.direction)[k - 1]
        before, after = (float(g @ direction) for g in (np.asarray(states.grad)[k - 1], np.asarray(states.grad)[k]))
        assert float(states.value[k]) < float(states.value[k - 1])
        if abs(after) > 1e-3 * abs(before):
            failed += 1
            assert not states.steepest[k]
    assert failed >= 3


def test_stalled_after_a_number_of_steps_without_improvement():
    # A value that does not change at all and a gradient that does not either.
    @jax.custom_vjp
    def flat(x):
        return jnp.float64(1.0) + 0.0 * jnp.sum(x)

    flat.defvjp(lambda x: (flat(x), x), lambda x, ct: (ct * jnp.sign(x) * 1e-12,))
    solver = jopt.descent(jopt.identity(), backtracking(), first_trial=jopt.linesearch.constant(1.0))
    result = jopt.minimize(flat, jnp.asarray([3.0]), method=solver, gtol=0.0)
    assert Status(int(result.status)) is Status.STALLED
    assert int(result.nit) <= STALL_LIMIT + 1


@pytest.mark.slow
def test_every_setting_of_lbfgs_matters():
    start = jnp.asarray(np.tile([-1.2, 1.0], 5))

    def path(**settings):
        return np.asarray(trips(jopt.lbfgs(**settings), rosenbrock, start, 30)[1].point.params)

    plain = path()
    for settings in (
        {"memory": 2},
        {"search": backtracking()},
        {"first_trial": jopt.linesearch.slope_ratio},
        {"history_dtype": jnp.float32},
    ):
        assert np.abs(path(**settings) - plain).max() > 1e-8, settings

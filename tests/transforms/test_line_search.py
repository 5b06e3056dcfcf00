# SPDX-License-Identifier: Apache-2.0
"""The line search as a transformation: the same search as in a solver, for loops written by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import assert_trees_close

import jopt
from jopt import linesearch
from jopt.status import SearchStatus
from jopt.transforms.line_search import scale_by_line_search


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def bowl(params):
    """A quadratic with minimum 0 at 3, in each leaf's dtype and summed in float32 or wider."""
    terms = [jnp.sum(jnp.square(x - 3).astype(jnp.result_type(x.dtype, jnp.float32))) for x in jax.tree.leaves(params)]
    return sum(terms[1:], terms[0])


START = (-1.2, 1.0, -1.2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def step(optimizer, fun, x, state):
    """Take one step of a hand-written loop."""
    value, grad = optax.value_and_grad_from_state(fun)(x, state=state)
    u, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=fun)
    return optax.apply_updates(x, u), state


def once(optimizer, updates=None, x=None, fun=bowl, value=None, grad=None):
    """Return updates and state of the first update."""
    x = jnp.zeros(2) if x is None else x
    f, g = jax.value_and_grad(fun)(x)
    grad = g if grad is None else grad
    return first_update(optimizer, fun, x, grad if updates is None else updates, f if value is None else value, grad)


@functools.partial(jax.jit, static_argnums=(0, 1))
def first_update(optimizer, fun, x, updates, value, grad):
    return optimizer.update(updates, optimizer.init(x), x, value=value, grad=grad, value_fn=fun)


# The same as in a solver ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "first_trial"),
    [(None, linesearch.unit), (linesearch.backtracking(), linesearch.quadratic_interpolation)],
)
def test_a_hand_written_loop_takes_the_points_and_evaluations_of_the_solver(search, first_trial):
    x = jnp.array(START)
    solver = jopt.lbfgs(search=search, first_trial=first_trial)
    advance = jax.jit(lambda state: solver.step(rosenbrock, state))
    optimizer = jopt.chain(jopt.scale_by_lbfgs(), scale_by_line_search(search, first_trial=first_trial))
    state, ours = solver.init(rosenbrock, x), optimizer.init(x)
    evaluations, steps = 0, 0
    trials = 1  # at the start
    while steps < 12:
        state, info = advance(state)
        evaluations += 1
        if info.accepted:
            assert evaluations == trials
            np.testing.assert_allclose(x, state.params, rtol=1e-9)
            x, ours = step(optimizer, rosenbrock, x, ours)
            trials += int(ours[-1].trials)
            steps += 1


def test_a_loop_evaluates_nothing_twice():
    calls = []

    def counted(x):
        jax.debug.callback(lambda: calls.append(1))
        return rosenbrock(x)

    optimizer = jopt.chain(jopt.scale_by_lbfgs(3), scale_by_line_search(linesearch.backtracking()))
    x = jnp.array(START)
    state = optimizer.init(x)
    trials = 1
    for _ in range(6):
        x, state = step(optimizer, counted, x, state)
        trials += int(state[-1].trials)
    jax.effects_barrier()
    assert len(calls) == trials > 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_state_holds_value_and_gradient_of_the_point_reached(dtype):
    optimizer = scale_by_line_search(linesearch.backtracking())
    x = {"a": jnp.array([0.1, -0.7], dtype), "b": (jnp.asarray(0.3, dtype),)}
    state = optimizer.init(x)
    for _ in range(3):
        x, state = step(optimizer, bowl, x, state)
        value, grad = jax.value_and_grad(bowl)(x)
        np.testing.assert_allclose(state.value, value, rtol=4 * jnp.finfo(dtype).eps, atol=jnp.finfo(dtype).tiny)
        assert_trees_close(state.grad, grad)


def test_half_precision_parameters_are_searched_in_float32():
    x = jnp.asarray(np.linspace(0.1, 5.3, 50), jnp.bfloat16)
    u, state = once(scale_by_line_search(linesearch.exact()), x=x)
    assert u.dtype == jnp.bfloat16
    assert state.value.dtype == jnp.float32
    assert float(state.step) == pytest.approx(0.5, rel=1e-2)
    assert float(bowl(optax.apply_updates(x, u))) < 1e-3 * float(bowl(x))


def test_value_and_gradient_stay_where_the_point_stays():
    x = jnp.array([0.0, 1.0])
    _, state = once(scale_by_line_search(linesearch.backtracking()), updates=jnp.ones(2), x=x)
    value, grad = jax.value_and_grad(bowl)(x)
    assert state.value == value
    np.testing.assert_array_equal(state.grad, grad)


# Settings -------------------------------------------------------------------------------------------------------------


def test_search_is_the_search_used():
    seen = {}
    for name in ("strong_wolfe", "backtracking", "exact"):
        u, state = once(scale_by_line_search(getattr(linesearch, name)(), first_trial=linesearch.constant(1e-3)))
        seen[name] = float(state.step)
    assert seen["backtracking"] == 1e-3  # decreases enough at once
    assert seen["exact"] == pytest.approx(0.5)  # the minimum of the bowl along -g
    assert seen["strong_wolfe"] not in (seen["backtracking"], seen["exact"])
    u, state = once(scale_by_line_search(first_trial=linesearch.constant(1e-3)))
    assert float(state.step) == seen["strong_wolfe"]
    np.testing.assert_allclose(u, -state.step * jax.grad(bowl)(jnp.zeros(2)), rtol=1e-15)


def test_first_trial_is_asked_with_what_the_searches_found():
    asked = []

    def strategy(info):
        asked.append(info)
        return 0.01 * len(asked)

    optimizer = scale_by_line_search(linesearch.backtracking(), first_trial=strategy)
    x = jnp.array([0.0, 1.0])
    state = optimizer.init(x)
    for i in range(3):
        value, grad = jax.value_and_grad(bowl)(x)
        p = jnp.array([2.0, 1.0]) * grad
        u, state = optimizer.update(p, state, x, value=value, grad=grad, value_fn=bowl)
        info = asked[i]
        assert float(state.step) == pytest.approx(0.01 * (i + 1))
        assert bool(info.first) == (i == 0)
        assert float(info.grad_norm) == pytest.approx(float(jnp.linalg.norm(grad)))
        assert float(info.value) == float(value)
        assert float(info.slope) == pytest.approx(-float(jnp.vdot(grad, p)))
        if i:
            before = asked[i - 1]
            assert float(info.previous_step) == pytest.approx(0.01 * i)
            assert float(info.previous_value) == float(before.value)
            assert float(info.previous_slope) == float(before.slope)
        x = optax.apply_updates(x, u)


def test_by_default_the_unit_step_is_tried_after_the_first():
    optimizer = scale_by_line_search(linesearch.backtracking())
    x = jnp.array([0.0, 1.0])
    grad = jax.grad(bowl)(x)
    _, state = once(optimizer, updates=0.1 * grad, x=x)
    # |g| / |phi'(0)|: a move of the length that 1 / |g| makes along -g, whatever the direction's own length
    assert float(state.step) == pytest.approx(1 / (0.1 * float(jnp.linalg.norm(grad))))
    _, state = optimizer.update(0.1 * grad, state, x, value=bowl(x), grad=grad, value_fn=bowl)
    assert float(state.step) == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": "wolfe"}, "scale_by_line_search: search must be a line search.*'wolfe'"),
        ({"search": linesearch.strong_wolfe}, "scale_by_line_search: search must be a line search"),
        ({"search": jopt.scale(0.1)}, "search must be a line search"),
        ({"first_trial": 0.1}, "scale_by_line_search: first_trial must be a function.*0.1"),
    ],
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(TypeError, match=message):
        scale_by_line_search(**settings)


@pytest.mark.parametrize("missing", ["params", "value", "grad", "value_fn", "value, grad, value_fn"])
def test_an_update_without_what_it_needs_says_what_is_missing(missing):
    x = jnp.zeros(2)
    optimizer = scale_by_line_search()
    given = {"params": x, "value": bowl(x), "grad": x, "value_fn": bowl}
    given |= dict.fromkeys(missing.split(", "))
    with pytest.raises(ValueError, match=f"scale_by_line_search: update needs {missing}; "):
        optimizer.update(x, optimizer.init(x), given.pop("params"), **given)


def test_wrong_trees_raise_with_the_path():
    optimizer = scale_by_line_search()
    x, wrong = {"a": jnp.ones(2)}, {"a": jnp.ones(3)}
    state = optimizer.init(x)
    with pytest.raises(ValueError, match=r"scale_by_line_search: updates .*\['a'\]"):
        optimizer.update(wrong, state, x, value=1.0, grad=x, value_fn=bowl)
    with pytest.raises(ValueError, match=r"scale_by_line_search: grad .*\['a'\]"):
        optimizer.update(x, state, x, value=1.0, grad=wrong, value_fn=bowl)
    with pytest.raises(TypeError, match=r"scale_by_line_search: params\['a'\]"):
        optimizer.init({"a": 1})


# Failure --------------------------------------------------------------------------------------------------------------


def everything_finite(t):
    return all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(t))


def test_an_ascent_direction_is_a_failure_and_no_change_of_sign():
    x = jnp.zeros(2)
    for updates in (-jax.grad(bowl)(x), jnp.zeros(2), jnp.array([1.0, -1.0])):
        u, state = once(scale_by_line_search(linesearch.backtracking()), updates=updates, x=x)
        assert int(state.status) == SearchStatus.NOT_DESCENT
        assert int(state.trials) == 0
        assert float(state.step) == 0
        np.testing.assert_array_equal(u, 0.0)
        assert everything_finite(state)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_makes_zero_updates(bad):
    optimizer = scale_by_line_search(linesearch.backtracking(max_trials=4))
    grad = jnp.array([bad, -6.0])
    for given in ({"grad": grad}, {"updates": grad}, {"grad": grad, "updates": jnp.array([-6.0, -6.0])}):
        u, state = once(optimizer, **given)
        np.testing.assert_array_equal(u, 0.0)
        assert int(state.status) != SearchStatus.ACCEPTED
    u, _ = once(optimizer, value=jnp.asarray(np.nan))
    np.testing.assert_array_equal(u, 0.0)


def test_a_search_that_only_rises_makes_zero_updates_and_the_next_one_works():
    optimizer = scale_by_line_search(linesearch.backtracking(max_trials=2), first_trial=linesearch.constant(100.0))
    u, state = once(optimizer)
    np.testing.assert_array_equal(u, 0.0)
    assert int(state.status) == SearchStatus.TOO_MANY_TRIALS
    assert float(state.step) == 0.0
    works = scale_by_line_search(linesearch.backtracking())
    x = jnp.zeros(2)
    # eagerly, with what the failed search left
    u, state = works.update(state.grad, state, x, value=state.value, grad=state.grad, value_fn=bowl)
    assert int(state.status) == SearchStatus.ACCEPTED
    assert float(bowl(x + u)) < float(bowl(x))


def test_a_search_that_failed_but_lowered_the_value_goes_there():
    search = linesearch.strong_wolfe(max_trials=1, curvature=0.1)
    u, state = once(scale_by_line_search(search, first_trial=linesearch.constant(1e-3)))
    assert int(state.status) == SearchStatus.TOO_MANY_TRIALS
    assert float(state.step) == 1e-3
    assert float(state.value) == pytest.approx(float(bowl(u)), rel=1e-14)


# Composition, transformations of JAX, dtypes --------------------------------------------------------------------------


def test_it_works_in_a_chain_of_optax():
    x = jnp.array([0.0, 30.0])
    grad = jax.grad(bowl)(x)
    search = scale_by_line_search(linesearch.backtracking())
    u, state = once(optax.chain(optax.clip_by_global_norm(0.1), search), x=x)
    step_, p = float(state[-1].step), 0.1 * grad / jnp.linalg.norm(grad)
    np.testing.assert_allclose(u, -step_ * p, rtol=1e-12)
    np.testing.assert_array_equal(u, once(jopt.chain(optax.clip_by_global_norm(0.1), search), x=x)[0])
    assert float(bowl(x + u)) < float(bowl(x))


def test_lanes_are_a_loop():
    optimizer = jopt.chain(jopt.scale_by_lbfgs(3), scale_by_line_search(linesearch.backtracking()))
    xs = jnp.array([[-1.2, 1.0], [2.0, 0.5], [0.3, -1.0]])

    def run(x):
        def trip(carry, _):
            x, state = carry
            value, grad = jax.value_and_grad(rosenbrock)(x)
            u, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=rosenbrock)
            return (x + u, state), (x + u, state[-1].trials)

        return jax.lax.scan(trip, (x, optimizer.init(x)), length=4)[1]

    together, trials = jax.jit(jax.vmap(run))(xs)
    assert len({tuple(t) for t in np.asarray(trials).tolist()}) > 1  # the lanes' searches differ in length
    alone = jax.jit(run)
    for x, path, counts in zip(xs, together, trials, strict=True):
        own, own_counts = alone(x)
        np.testing.assert_allclose(path, own, rtol=1e-9)
        np.testing.assert_array_equal(counts, own_counts)


@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("bfloat16", "bfloat16"), ("float32", "float64")])
@pytest.mark.parametrize("wide", [False, True])
def test_dtypes_and_structure_are_kept_under_strict_promotion(dtypes, wide):
    """`wide`: value, gradient and updates come in float64, whatever the parameters are."""
    a, b = dtypes
    params = {"a": jax.ShapeDtypeStruct((2, 3), a), "b": (jax.ShapeDtypeStruct((), b), jax.ShapeDtypeStruct((0,), a))}
    grads = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, "float64" if wide else x.dtype), params)

    def fun(params):
        return sum((jnp.sum(x.astype("float32") ** 2) for x in jax.tree.leaves(params)), jnp.zeros((), "float32"))

    def described(t):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), t)

    with jax.numpy_dtype_promotion("strict"):
        for first_trial in (linesearch.unit, linesearch.slope_ratio, linesearch.quadratic_interpolation):
            made = scale_by_line_search(first_trial=first_trial)
            state = jax.eval_shape(made.init, params)
            value = np.float64(1) if wide else np.float32(1)
            u, after = jax.eval_shape(
                lambda g, s, p, v=value, made=made: made.update(g, s, p, value=v, grad=g, value_fn=fun),
                grads,
                state,
                params,
            )
            assert described(after) == described(state)
            assert described(u) == described(grads)


def test_one_state_structure_whatever_the_search():
    x = {"a": jnp.ones(2), "b": jnp.ones(())}
    structures = {
        jax.tree.structure(scale_by_line_search(search).init(x))
        for search in (None, linesearch.backtracking(), linesearch.hager_zhang(), linesearch.weak_wolfe())
    }
    assert len(structures) == 1

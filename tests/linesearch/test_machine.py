# SPDX-License-Identifier: Apache-2.0
"""What every search owes, whatever it decides: the contract of the machine, statuses, cliffs, budgets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lines import FIRST_TRIALS, SMOOTH, outcomes, run, run_all, value_and_slope
from more_thuente import polynomial

from jopt import linesearch
from jopt.linesearch.machine import Proposal, line_search
from jopt.status import SearchStatus

SEARCHES = {
    "backtracking": linesearch.backtracking(),
    "interpolating": linesearch.backtracking(factor=None),
    "weak_wolfe": linesearch.weak_wolfe(),
    "strong_wolfe": linesearch.strong_wolfe(),
    "hager_zhang": linesearch.hager_zhang(),
    "exact": linesearch.exact(),
}
EVERY_SEARCH = pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
EXPANDING = [name for name in SEARCHES if name not in ("backtracking", "interpolating")]


def parabola(a):
    return (a - 1) ** 2 - 1


def always_nan(a):
    return -a + jnp.where(a == 0, 0.0, jnp.nan)


# --- the contract ---------------------------------------------------------------------------------------------------


@EVERY_SEARCH
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_state_keeps_its_structure_and_dtype_under_strict_promotion(search, dtype):
    number = jax.ShapeDtypeStruct((), dtype)
    with jax.numpy_dtype_promotion("strict"):
        before = jax.eval_shape(search.init, number, number, number)
        after = jax.eval_shape(search.update, before, number, number)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
        assert old.shape == ()
        assert not jnp.issubdtype(old.dtype, jnp.floating) or old.dtype == dtype
    assert before.status.dtype == before.trials.dtype == jnp.int32


def test_while_loop_gives_what_a_python_loop_gives():
    search, phi = SEARCHES["strong_wolfe"], polynomial

    @jax.jit
    def solve(first):
        state = search.init(*value_and_slope(phi, jnp.float64(0)), first)
        return jax.lax.while_loop(
            lambda s: s.status == SearchStatus.SEARCHING,
            lambda s: search.update(s, *value_and_slope(phi, s.step)),
            state,
        )

    inside, (outside, tried) = solve(jnp.float64(10.0)), run(search, phi, 10.0)
    assert (int(inside.status), int(inside.trials)) == (1, len(tried))
    np.testing.assert_allclose(inside.step, outside.step, rtol=1e-10)


@EVERY_SEARCH
def test_vmap_gives_what_a_loop_gives(search):
    states = run_all(search, jnp.float64)
    for name in ("parabola", "quartic", "cliff"):
        for first in (1e-2, 7.0):
            i, j = list(SMOOTH).index(name), FIRST_TRIALS.index(first)
            state, tried = run(search, SMOOTH[name], first)
            assert int(states.status[i, j]) == int(state.status)
            assert int(states.trials[i, j]) == len(tried) == int(state.trials)
            np.testing.assert_allclose(states.step[i, j], state.step, rtol=1e-9)


@EVERY_SEARCH
@pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
def test_multiplying_phi_by_a_number_changes_no_trial(search, scale):
    for phi in (polynomial, SMOOTH["decay"]):
        plain, tried = run(search, phi, 7.0, jnp.float32)
        scaled, tried_scaled = run(search, phi, 7.0, jnp.float32, scale)
        assert tried == tried_scaled
        assert plain.status == scaled.status


@EVERY_SEARCH
def test_stretching_the_line_stretches_the_trials(search):
    _, tried = run(search, SMOOTH["quartic"], 7.0)
    _, stretched = run(search, lambda a: SMOOTH["quartic"](a / 2.0**20), 7.0 * 2.0**20)
    np.testing.assert_allclose(np.array(stretched) / 2.0**20, tried, rtol=1e-10)


@EVERY_SEARCH
def test_equal_calls_make_equal_searches_that_show_the_call(search):
    again = getattr(linesearch, search.name)(**search.settings)
    assert again == search
    assert hash(again) == hash(search)
    assert repr(search).startswith(f"{search.name}(")
    assert getattr(linesearch, search.name)(**{**search.settings, "max_trials": 7}) != search


@EVERY_SEARCH
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_failures_say_why_and_return_the_lowest_trial(search, dtype):
    for name, first, status, start, end in outcomes(search, dtype):
        assert status != SearchStatus.SEARCHING
        assert end[1] <= start[1] or status == SearchStatus.ACCEPTED, (name, first)
        assert (end[0] > 0) or status != SearchStatus.ACCEPTED, (name, first)


# --- statuses -------------------------------------------------------------------------------------------------------


@EVERY_SEARCH
@pytest.mark.parametrize("slope", [0.0, 1.0, np.nan])
def test_not_descent_without_a_negative_slope(search, slope):
    state = search.init(jnp.float32(1), jnp.float32(slope), jnp.float32(1))
    assert state.status == SearchStatus.NOT_DESCENT
    assert state.step == 0


@EVERY_SEARCH
@pytest.mark.parametrize("first", [0.0, -1.0, np.nan])
def test_step_too_small_where_the_first_is_none(search, first):
    state = search.init(jnp.float32(1), jnp.float32(-1), jnp.float32(first))
    assert state.status == SearchStatus.STEP_TOO_SMALL
    assert state.step == 0


@EVERY_SEARCH
def test_step_too_small_where_nothing_is_finite(search):
    state, tried = run(search, always_nan, 1.0, jnp.float32)
    assert state.status == SearchStatus.STEP_TOO_SMALL
    assert state.step == 0
    assert len(tried) == int(state.trials)
    np.testing.assert_allclose(tried, 0.1 ** np.arange(len(tried)), rtol=1e-5)
    assert tried[-1] >= float(jnp.finfo("float32").eps) ** 2 > 0.1 * tried[-1]


@pytest.mark.parametrize("name", EXPANDING)
def test_step_too_large_where_phi_only_falls(name):
    search = getattr(linesearch, name)(max_step=8.0)
    state, tried = run(search, lambda a: -a, 1.0)
    assert state.status == SearchStatus.STEP_TOO_LARGE
    assert state.step == tried[-1] == max(tried) == 8.0
    assert tried.count(8.0) == 1


@EVERY_SEARCH
def test_no_step_is_larger_than_the_largest(search):
    limited = getattr(linesearch, search.name)(**{**search.settings, "max_step": 0.5})
    _, tried = run(limited, parabola, 7.0)
    assert tried[0] == 0.5 == max(tried)


def test_the_largest_number_is_a_largest_step():
    # Doubling from 1e38 would leave float32; infinity is no step.
    state, tried = run(linesearch.weak_wolfe(), lambda a: -1e-3 * a, 1e38, jnp.float32)
    assert state.status == SearchStatus.STEP_TOO_LARGE
    assert tried[-1] == state.step == jnp.finfo("float32").max


@EVERY_SEARCH
def test_too_many_trials_ends_at_the_lowest(search):
    # Fails the test everywhere: the value falls by too little, and the slope says nothing good.
    limited = getattr(linesearch, search.name)(**{**search.settings, "max_trials": 3})
    start = jnp.float64(0.0), jnp.float64(-1.0)
    state, tried = limited.init(*start, jnp.float64(1.0)), []
    values = [-1e-7, -2e-7, -1e-7, -2e-7]
    while state.status == SearchStatus.SEARCHING:
        tried.append(float(state.step))
        state = limited.update(state, jnp.float64(values[len(tried) - 1]), jnp.float64(2.0))
    assert state.status == SearchStatus.TOO_MANY_TRIALS
    assert len(tried) == 4  # three, and back to the second
    assert tried[3] == tried[1] == state.step == state.lowest.step


def test_the_trial_budget_is_the_number_of_trials():
    for budget in (1, 2, 5):
        state, tried = run(linesearch.backtracking(max_trials=budget), lambda a: a * (1e3 * a - 1), 1.0)
        assert state.status == SearchStatus.TOO_MANY_TRIALS
        assert len(tried) == int(state.trials) == budget  # nothing lower than the start: no way back
        assert state.step == 0


def test_interval_too_small_where_round_off_hides_the_step():
    # The slope of polynomial rises by a factor of 1e7 from one float32 to the next near its minimiser.
    state, _ = run(linesearch.strong_wolfe(), polynomial, 1.0, jnp.float32)
    assert state.status == SearchStatus.INTERVAL_TOO_SMALL
    np.testing.assert_allclose(state.step, 1.596, rtol=1e-3)
    assert polynomial(state.step) < polynomial(0.0)


@EVERY_SEARCH
def test_unbounded_where_the_value_is_minus_infinity(search):
    state, tried = run(search, lambda a: jnp.where(a > 1, -jnp.inf, -a), 2.0)
    assert state.status == SearchStatus.UNBOUNDED
    assert tried == [2.0]
    assert state.step == 0


# --- cliffs ---------------------------------------------------------------------------------------------------------


@EVERY_SEARCH
@pytest.mark.parametrize("outside", [np.nan, np.inf])
def test_non_finite_trials_shrink_the_step(search, outside):
    state, tried = run(search, lambda a: jnp.where(a > 1.5, outside, parabola(a)), 1e4)
    assert state.status == SearchStatus.ACCEPTED
    assert 0 < state.step <= 1.5
    assert state.step == tried[-1]
    beyond = [a for a in tried if a > 1.5]
    np.testing.assert_allclose(beyond, [1e4, 1e3, 1e2, 1e1], rtol=1e-12)


def test_a_non_finite_slope_counts_as_non_finite():
    search = linesearch.backtracking()
    state = search.init(jnp.float64(0), jnp.float64(-1), jnp.float64(1))
    after = search.update(state, jnp.float64(-1), jnp.float64(jnp.nan))
    assert after.status == SearchStatus.SEARCHING
    assert after.lowest.step == 0
    np.testing.assert_allclose(after.step, 0.1)


@pytest.mark.parametrize("name", EXPANDING)
def test_no_step_reaches_as_far_as_a_cliff_again(name):
    search = getattr(linesearch, name)(max_trials=20)
    state, tried = run(search, lambda a: jnp.where(a >= 2, jnp.nan, -a), 1.0)
    assert state.status == SearchStatus.TOO_MANY_TRIALS
    ceiling = np.inf
    for step in tried:
        assert step < ceiling
        ceiling = min(ceiling, step) if step >= 2 else ceiling
    assert 1.9 < state.step < 2  # the lowest: nearest to the cliff


def test_a_hole_below_the_lowest_trial_bounds_nothing():
    def refine(bracket, start, trial):
        del start
        return Proposal(bracket, jnp.where(trial.step == 2.0, 1.0, 5.0), jnp.bool_(False))

    search = line_search(lambda *_: jnp.bool_(False), lambda *_: (), refine, max_trials=4, max_step=10.0)
    _, tried = run(search, lambda a: jnp.where(a == 1.0, jnp.nan, -a), 2.0)
    np.testing.assert_allclose(tried, [2.0, 1.0, 1.9, 5.0])


# --- settings shared by all -----------------------------------------------------------------------------------------


@EVERY_SEARCH
def test_noise_decides_where_values_tell_nothing(search):
    # Every value but the first is high by a few units in the last place; the slopes are right.
    def noisy(step):
        return jnp.where(step == 0, 1e8, 1e8 + 6e-8) + 0 * step, 2e-9 * (step - 1)

    def finish(noise):
        made = getattr(linesearch, search.name)(**{**search.settings, "noise": noise, "max_trials": 12})
        state = made.init(*noisy(jnp.float64(0)), jnp.float64(1.0))
        while state.status == SearchStatus.SEARCHING:
            state = made.update(state, *noisy(state.step))
        return state

    for noise in (None, 1e-12):
        state = finish(noise)
        assert (int(state.status), int(state.trials), float(state.step)) == (SearchStatus.ACCEPTED, 1, 1.0)
    for noise in (0.0, 1e-17):
        state = finish(noise)
        assert state.status > SearchStatus.ACCEPTED
        assert state.step == 0
        assert state.trials > 10


WRONG = [
    ({"max_trials": 0}, ValueError, "max_trials"),
    ({"max_trials": 2.5}, TypeError, "max_trials"),
    ({"max_step": 0.0}, ValueError, "max_step"),
    ({"max_step": np.nan}, ValueError, "max_step"),
    ({"noise": -1e-9}, ValueError, "noise"),
]


@pytest.mark.parametrize("name", ["backtracking", "weak_wolfe", "strong_wolfe", "hager_zhang", "exact"])
@pytest.mark.parametrize(("settings", "error", "argument"), WRONG)
def test_wrong_settings_raise_naming_function_and_argument(name, settings, error, argument):
    with pytest.raises(error, match=f"{name}: {argument}"):
        getattr(linesearch, name)(**settings)


@pytest.mark.parametrize("name", ["backtracking", "weak_wolfe", "strong_wolfe", "hager_zhang"])
@pytest.mark.parametrize("decrease", [0.0, 0.5, -0.1])
def test_decrease_outside_its_range_raises(name, decrease):
    with pytest.raises(ValueError, match=f"{name}: decrease"):
        getattr(linesearch, name)(decrease=decrease)


@pytest.mark.parametrize("name", ["weak_wolfe", "strong_wolfe", "hager_zhang"])
@pytest.mark.parametrize("curvature", [0.2, 1.0])
def test_curvature_outside_its_range_raises(name, curvature):
    with pytest.raises(ValueError, match=f"{name}: curvature"):
        getattr(linesearch, name)(decrease=0.3, curvature=curvature)

# SPDX-License-Identifier: Apache-2.0
import jax.numpy as jnp
import numpy as np
import pytest
from lines import SMOOTH, is_sufficient, outcomes, run

from jopt.linesearch import backtracking
from jopt.status import SearchStatus


def parabola(a):
    return (a - 1) ** 2 - 1


@pytest.mark.parametrize("search", [backtracking(), backtracking(factor=None)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_accepted_step_passes_armijo_afresh(search, dtype):
    for name, first, status, start, end in outcomes(search, dtype):
        assert status == SearchStatus.ACCEPTED, (name, first)
        assert is_sufficient(start, end, 1e-4), (name, first)
        assert 0 < end[0] <= np.asarray(first, dtype), (name, first)


def test_textbook_steps_are_two_thirds_of_the_last():
    state, tried = run(backtracking(), parabola, 7.0)
    np.testing.assert_allclose(tried, 7.0 * (2 / 3) ** np.arange(5), rtol=1e-14)
    assert state.status == SearchStatus.ACCEPTED
    assert state.step == tried[-1]


@pytest.mark.parametrize("factor", [0.1, 0.5, 0.9])
def test_factor_is_the_ratio_of_steps(factor):
    _, tried = run(backtracking(factor=factor), parabola, 7.0)
    np.testing.assert_allclose(np.divide(tried[1:], tried[:-1]), factor, rtol=1e-14)
    assert len(tried) == 1 + int(np.ceil(np.log(2 / 7) / np.log(factor)))


def test_interpolation_finds_the_minimiser_of_a_cubic():
    def cubic(a):
        return a**3 / 3 + a**2 - 3 * a  # minimum at 1

    _, tried = run(backtracking(factor=None), cubic, 2.5)
    np.testing.assert_allclose(tried, [2.5, 1.0], rtol=1e-14)


@pytest.mark.parametrize(("first", "part"), [(1e3, 0.1), (2.1, 1 / 2.1), (2.0, 0.5)])
def test_interpolation_stays_within_its_limits(first, part):
    _, tried = run(backtracking(factor=None), parabola, first)
    np.testing.assert_allclose(tried[1] / tried[0], part, rtol=1e-14)


def test_interpolation_keeps_the_longest_part_where_the_minimiser_is_farther():
    _, tried = run(backtracking(decrease=0.4, factor=None), parabola, 1.3)  # the minimiser is 1
    np.testing.assert_allclose(tried, [1.3, 0.65], rtol=1e-14)


def test_interpolation_survives_overflow():
    search = backtracking(factor=None)
    state = search.init(jnp.float64(-1e308), jnp.float64(-1e308), jnp.float64(1e-3))
    after = search.update(state, jnp.float64(1.7e308), jnp.float64(1e308))
    assert 1e-4 <= after.step <= 5e-4


@pytest.mark.parametrize(("decrease", "trials"), [(1e-4, 1), (0.1, 1), (0.2, 2), (0.49, 2)])
def test_decrease_is_the_part_of_the_slope_reached(decrease, trials):
    # At 1.7 the parabola has fallen by 0.15 of what the slope promises, at 2/3 of that by more than 0.4.
    _, tried = run(backtracking(decrease=decrease, factor=0.5), parabola, 1.7)
    assert len(tried) == trials


def test_interpolation_needs_fewer_trials_far_away():
    plain, _ = run(backtracking(), SMOOTH["quartic"], 1e4)
    modelled, _ = run(backtracking(factor=None), SMOOTH["quartic"], 1e4)
    assert modelled.trials < plain.trials / 2


@pytest.mark.parametrize("factor", [0.0, 1.0, 1.5, -0.1])
def test_factor_outside_its_range_raises(factor):
    with pytest.raises(ValueError, match="backtracking: factor"):
        backtracking(factor=factor)

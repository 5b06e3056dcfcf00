# SPDX-License-Identifier: Apache-2.0
import jax.numpy as jnp
import numpy as np
import pytest
from lines import is_sufficient, outcomes, run

from jopt.linesearch import weak_wolfe
from jopt.status import SearchStatus


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_accepted_step_passes_both_tests_afresh(dtype):
    for name, first, status, start, end in outcomes(weak_wolfe(), dtype):
        assert status == SearchStatus.ACCEPTED, (name, first)
        assert is_sufficient(start, end, 1e-4), (name, first)
        assert end[2] >= 0.9 * start[2], (name, first)


def test_steps_double_and_then_bisect():
    # Too short up to 4, too long from 5 on.
    def valley(a):
        return jnp.where(a < 4.9, -a, 10 * a)

    _, tried = run(weak_wolfe(max_trials=8), valley, 1.0)
    assert tried[:8] == [1.0, 2.0, 4.0, 8.0, 6.0, 5.0, 4.5, 4.75]


def test_ends_at_a_kink():
    # Lewis and Overton's case: phi is nowhere flat, its slope jumps from -1 to 3.
    def kink(a):
        return jnp.where(a < np.pi, -a, 3 * (a - np.pi) - np.pi)

    state, _ = run(weak_wolfe(), kink, 1e-3)
    assert state.status == SearchStatus.ACCEPTED
    assert np.pi <= state.step < np.pi * 4 / 3


def test_interval_too_small_where_no_step_is_both():
    # The value rises just where the slope still falls: a broken derivative.
    search = weak_wolfe(max_trials=100)
    state, _ = run(search, lambda a: jnp.where(a < 0.3, -a, 5.0 - a), 1.0)
    assert state.status == SearchStatus.INTERVAL_TOO_SMALL
    np.testing.assert_allclose(state.step, 0.3)


@pytest.mark.parametrize(("decrease", "trials"), [(0.1, 1), (0.2, 2)])
def test_decrease_is_the_part_of_the_slope_reached(decrease, trials):
    _, tried = run(weak_wolfe(decrease=decrease), lambda a: (a - 1) ** 2, 1.7)
    assert len(tried) == trials


@pytest.mark.parametrize(("curvature", "tried"), [(0.8, [0.3]), (0.6, [0.3, 0.6]), (0.3, [0.3, 0.6, 1.2])])
def test_curvature_is_the_part_of_the_slope_left(curvature, tried):
    assert run(weak_wolfe(curvature=curvature), lambda a: (a - 1) ** 2, 0.3)[1] == tried


def test_a_steep_rise_is_accepted_where_the_value_is_low():
    assert run(weak_wolfe(curvature=0.1), lambda a: (a - 1) ** 2, 1.9)[1] == [1.9]

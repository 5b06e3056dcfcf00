# SPDX-License-Identifier: Apache-2.0
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.linesearch import conditions
from jopt.linesearch.conditions import Trial


def trial(step, value, slope, dtype=jnp.float64):
    return Trial(*(jnp.asarray(x, dtype) for x in (step, value, slope)))


START = trial(0.0, 10.0, -2.0)


@pytest.mark.parametrize(
    ("decrease", "value", "passes"), [(0.25, 9.5, True), (0.25, 9.51, False), (0.3, 9.5, False), (0.2, 9.6, True)]
)
def test_armijo_compares_with_the_sloping_line(decrease, value, passes):
    assert bool(conditions.sufficient_decrease(decrease, 0.0)(START, trial(1.0, value, 5.0))) == passes


@pytest.mark.parametrize(
    ("noise", "decrease", "value", "slope", "passes"),
    [
        (0.01, 0.25, 10.05, 1.0, True),  # too high for Armijo, within the noise, slope at the limit (1 - 2 decrease) 2
        (0.01, 0.25, 10.05, 1.01, False),  # slope above the limit
        (0.01, 0.2, 10.05, 1.01, True),
        (0.01, 0.25, 10.11, 1.0, False),  # higher than the noise
        (0.0, 0.25, 10.05, 1.0, False),
        (0.01, 0.25, 9.89, 1.0, False),  # lower than the noise, but not by enough: values decide
    ],
)
def test_noisy_values_are_replaced_by_slopes(noise, decrease, value, slope, passes):
    # At the step 10 Armijo's line lies far below all these values.
    assert bool(conditions.sufficient_decrease(decrease, noise)(START, trial(10.0, value, slope))) == passes


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_noise_comes_from_the_precision_unless_given(dtype):
    start = trial(0.0, -8.0, -1.0, dtype)
    assert conditions.value_noise(None, start.value).dtype == dtype
    np.testing.assert_allclose(
        conditions.value_noise(None, start.value), 8 * float(jnp.finfo(dtype).eps) ** (2 / 3), rtol=1e-6
    )
    np.testing.assert_allclose(conditions.value_noise(0.5, start.value), 4.0)


def test_weak_and_strong_curvature_differ_in_the_sign():
    weak, strong = conditions.weak_curvature(0.5), conditions.strong_curvature(0.5)
    for slope, by_weak, by_strong in [
        (-1.01, False, False),
        (-1.0, True, True),
        (1.0, True, True),
        (1.01, True, False),
    ]:
        end = trial(1.0, 0.0, slope)
        assert (bool(weak(START, end)), bool(strong(START, end))) == (by_weak, by_strong)


def test_no_rise_is_up_to_the_noise():
    assert bool(conditions.no_rise(0.0)(START, trial(1.0, 10.0, 0.0)))
    assert not bool(conditions.no_rise(0.0)(START, trial(1.0, 10.01, 0.0)))
    assert bool(conditions.no_rise(0.01)(START, trial(1.0, 10.1, 0.0)))


def test_both_asks_for_both():
    low, flat = conditions.no_rise(0.0), conditions.strong_curvature(0.1)
    for value, slope, passes in [(1.0, 0.0, True), (11.0, 0.0, False), (1.0, 1.0, False)]:
        assert bool(conditions.both(low, flat)(START, trial(1.0, value, slope))) == passes

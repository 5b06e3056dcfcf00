# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lines import SMOOTH, is_sufficient, outcomes, run

from jopt.linesearch import hager_zhang
from jopt.status import SearchStatus


class Accepted(Exception):
    pass


def transcription(phi, first, decrease=0.1, curvature=0.9, expansion=5.0, division=0.5, shrinking=0.66):
    """Return the trials of Hager and Zhang's nested loops, L0-L3, B0-B3, U0-U3, S1-S4, in their words."""
    derivative = jax.grad(phi)
    value0, slope0 = float(phi(0.0)), float(derivative(0.0))
    tried = []

    def slope(c):
        return float(derivative(c))

    def sufficient(c):
        return float(phi(c)) <= value0 + decrease * c * slope0

    def evaluate(c):
        tried.append(c)
        if sufficient(c) and slope(c) >= curvature * slope0:
            raise Accepted

    def divide(a, b):  # U3
        while True:
            d = (1 - division) * a + division * b
            evaluate(d)
            if slope(d) >= 0:
                return a, d
            a, b = (d, b) if sufficient(d) else (a, d)

    def update(a, b, c):  # U0-U3
        if not a < c < b:
            return a, b
        evaluate(c)
        if slope(c) >= 0:
            return a, c
        return (c, b) if sufficient(c) else divide(a, c)

    def secant(a, b):
        return (a * slope(b) - b * slope(a)) / (slope(b) - slope(a))

    def secant2(a, b):  # S1-S4
        c = secant(a, b)
        low, high = update(a, b, c)
        if c == high:
            return update(low, high, secant(b, high))
        if c == low:
            return update(low, high, secant(a, low))
        return low, high

    def bracket(c):  # B0-B3
        low = 0.0
        while True:
            evaluate(c)
            if slope(c) >= 0:
                return low, c
            if not sufficient(c):
                return divide(low, c)
            low, c = c, expansion * c

    try:
        a, b = bracket(first)
        while True:
            low, high = secant2(a, b)
            if high - low > shrinking * (b - a):
                low, high = update(low, high, (low + high) / 2)
            a, b = low, high
    except Accepted:
        return tried


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_accepted_step_passes_both_tests_afresh(dtype):
    for name, first, status, start, end in outcomes(hager_zhang(), dtype):
        assert status == SearchStatus.ACCEPTED, (name, first)
        assert is_sufficient(start, end, 0.1), (name, first)
        assert end[2] >= 0.9 * start[2], (name, first)


HARD = {
    "quartic": SMOOTH["quartic"],
    "sine": SMOOTH["sine"],
    "decay": SMOOTH["decay"],
    "wavy": SMOOTH["more_thuente_3"],
    "fraction": SMOOTH["more_thuente_1"],
    "cubic": lambda a: a**3 + 0.3 * a**2 - a,
    "skew": lambda a: jnp.exp(3 * (a - 1)) - 4 * a,
}


@pytest.mark.parametrize(("name", "first"), [(n, a) for n in HARD for a in (0.01, 1.9, 30.0) if (n, a) != ("skew", 30.0)])
def test_trials_are_those_of_the_nested_loops(name, first):
    settings = {"decrease": 0.3, "curvature": 0.3}
    _, tried = run(hager_zhang(**settings, noise=0.0), HARD[name], first)
    np.testing.assert_allclose(tried, transcription(HARD[name], first, **settings), rtol=1e-8)


@pytest.mark.parametrize(
    ("setting", "value", "name", "first"),
    [
        ("expansion", 3.0, "decay", 0.01),
        ("division", 0.25, "sine", 7.0),
        ("shrinking", 0.3, "quartic", 1.9),
        ("decrease", 0.2, "skew", 3.0),
        ("curvature", 0.5, "cubic", 1.9),
    ],
)
def test_each_setting_changes_the_trials_as_in_the_nested_loops(setting, value, name, first):
    settings = {"decrease": 0.3, "curvature": 0.3}
    changed = {**settings, setting: value}
    _, tried = run(hager_zhang(**changed, noise=0.0), HARD[name], first)
    _, plain = run(hager_zhang(**settings, noise=0.0), HARD[name], first)
    np.testing.assert_allclose(tried, transcription(HARD[name], first, **changed), rtol=1e-8)
    assert tried != plain


def test_goes_on_by_slopes_where_values_are_noise():
    # Exact slopes; values high by up to twelve units in the last place, more than the decrease to be had.
    def phi(step):
        error = jnp.where(step == 0, 0.0, 6e-8 * (2 + jnp.sin(1e6 * step)))
        return 1e8 + error, 4e-10 * (step - 1) ** 3

    for noise, accepted in [(None, True), (0.0, False)]:
        search = hager_zhang(decrease=0.01, curvature=0.01, noise=noise)
        state = search.init(*phi(jnp.float64(0)), jnp.float64(3.0))
        while state.status == SearchStatus.SEARCHING:
            state = search.update(state, *phi(state.step))
        assert (state.status == SearchStatus.ACCEPTED) == accepted
        if accepted:
            assert state.trials < 10
            assert abs(state.step - 1) <= 0.01 ** (1 / 3) or state.step > 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [("expansion", 1.0), ("expansion", np.inf), ("division", 0.0), ("division", 1.0), ("shrinking", 0.0), ("shrinking", 1.0)],
)
def test_wrong_settings_raise_naming_the_argument(setting, value):
    with pytest.raises(ValueError, match=f"hager_zhang: {setting}"):
        hager_zhang(**{setting: value})

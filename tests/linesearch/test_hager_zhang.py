# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lines import SMOOTH, is_sufficient, outcomes, run

from jopt.linesearch import hager_zhang
from jopt.status import SearchStatus


class Accepted(Exception):
    """The search has found its step."""


class NestedLoops:
    """Hager and Zhang's search as they write it: L0-L3, B0-B3, U0-U3, S1-S4, in their words."""

    def __init__(self, phi, decrease, curvature, expansion=5.0, division=0.5, shrinking=0.66):
        self.phi, self.derivative = jax.jit(phi), jax.jit(jax.grad(phi))
        self.decrease, self.curvature = decrease, curvature
        self.expansion, self.division, self.shrinking = expansion, division, shrinking
        self.value0, self.slope0 = float(phi(0.0)), self.slope(0.0)
        self.tried = []

    def slope(self, c):
        return float(self.derivative(c))

    def sufficient(self, c):
        return float(self.phi(c)) <= self.value0 + self.decrease * c * self.slope0

    def evaluate(self, c):
        self.tried.append(c)
        if self.sufficient(c) and self.slope(c) >= self.curvature * self.slope0:
            raise Accepted

    def divide(self, a, b):  # U3
        while True:
            d = (1 - self.division) * a + self.division * b
            self.evaluate(d)
            if self.slope(d) >= 0:
                return a, d
            a, b = (d, b) if self.sufficient(d) else (a, d)

    def update(self, a, b, c):  # U0-U3
        if not a < c < b:
            return a, b
        self.evaluate(c)
        if self.slope(c) >= 0:
            return a, c
        return (c, b) if self.sufficient(c) else self.divide(a, c)

    def secant(self, a, b):
        return (a * self.slope(b) - b * self.slope(a)) / (self.slope(b) - self.slope(a))

    def secant2(self, a, b):  # S1-S4
        c = self.secant(a, b)
        low, high = self.update(a, b, c)
        if c == high:
            return self.update(low, high, self.secant(b, high))
        if c == low:
            return self.update(low, high, self.secant(a, low))
        return low, high

    def bracket(self, c):  # B0-B3
        low = 0.0
        while True:
            self.evaluate(c)
            if self.slope(c) >= 0:
                return low, c
            if not self.sufficient(c):
                return self.divide(low, c)
            low, c = c, self.expansion * c

    def search(self, first):  # L0-L3
        a, b = self.bracket(first)
        while True:
            low, high = self.secant2(a, b)
            if high - low > self.shrinking * (b - a):
                low, high = self.update(low, high, (low + high) / 2)
            a, b = low, high


def transcription(phi, first, **settings):
    """Return the trials of the nested loops."""
    loops = NestedLoops(phi, **settings)
    with pytest.raises(Accepted):
        loops.search(first)
    return loops.tried


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


@pytest.mark.parametrize(
    ("name", "first"), [(n, a) for n in HARD for a in (0.01, 1.9, 30.0) if (n, a) != ("skew", 30.0)]
)
def test_trials_are_those_of_the_nested_loops(name, first):
    settings = {"decrease": 0.3, "curvature": 0.3}
    _, tried = run(hager_zhang(**settings, noise=0.0), HARD[name], first)
    np.testing.assert_allclose(tried, transcription(HARD[name], first, **settings), rtol=1e-8)


@pytest.mark.parametrize("name", [name for name in HARD if name != "skew"])
def test_a_bracket_just_halved_is_not_halved_again(name):
    settings = {"decrease": 0.45, "curvature": 0.45, "shrinking": 0.2}
    _, tried = run(hager_zhang(**settings, noise=0.0), HARD[name], 20.0)
    np.testing.assert_allclose(tried, transcription(HARD[name], 20.0, **settings), rtol=1e-8)


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
    [
        ("expansion", 1.0),
        ("expansion", np.inf),
        ("division", 0.0),
        ("division", 1.0),
        ("shrinking", 0.0),
        ("shrinking", 1.0),
    ],
)
def test_wrong_settings_raise_naming_the_argument(setting, value):
    with pytest.raises(ValueError, match=f"hager_zhang: {setting}"):
        hager_zhang(**{setting: value})

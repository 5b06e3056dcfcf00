# SPDX-License-Identifier: Apache-2.0
r"""The tests that a step must pass, on numbers phi(a), phi'(a) along a line.

With phi0 = phi(0), slope0 = phi'(0) < 0, 0 < decrease <= curvature < 1:

    Armijo (first Wolfe)    phi(a) <= phi0 + decrease a slope0
    weak (second Wolfe)     phi'(a) >= curvature slope0
    strong (second Wolfe)   |phi'(a)| <= curvature |slope0|
    approximate Armijo      phi'(a) <= (2 decrease - 1) slope0   and   |phi(a) - phi0| <= noise |phi0|

The last one is Armijo's test with the difference of two values replaced by what a quadratic makes of the two slopes. A
value carries an error of hundreds to thousands of eps |phi|; where the decrease to be seen is smaller than that, the
values cannot tell a perfect step from a useless one and the slopes can. `noise` bounds the relative error of a value;
where the values differ by more than that, they decide.

References: Wolfe (1969), Convergence conditions for ascent methods, SIAM Review 11(2), doi:10.1137/1011036; Hager and
Zhang (2005), A new conjugate gradient method with guaranteed descent and an efficient line search, SIAM J. Optim.
16(1), eq. (4.1), (4.4), doi:10.1137/030601880.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import validate
from jopt.types import Scalar


class Trial(NamedTuple):
    """A step along the line with the value and the slope there; all scalars of one dtype.

    Attributes:
      step: a >= 0, as a multiple of the direction.
      value: phi(a).
      slope: phi'(a).
    """

    step: Scalar
    value: Scalar
    slope: Scalar


Test = Callable[[Trial, Trial], jax.Array]
"""`(start, trial) -> bool`, with `start` the trial at step 0."""


def value_noise(noise: float | None, value: Scalar) -> Scalar:
    """Return the absolute error expected in a value near this one: eps^(2/3) |value| unless `noise` is given.

    The exponent 2/3 stands between eps (rounding of one operation) and sqrt(eps) (where a quadratic's decrease shows in
    the slope); it covers the errors seen in practice, up to some thousands of eps.
    """
    relative = float(jnp.finfo(value.dtype).eps) ** (2 / 3) if noise is None else noise
    return relative * jnp.abs(value)


def sufficient_decrease(decrease: float, noise: float | None) -> Test:
    """Return Armijo's test, or its approximate form where the value is too noisy for it."""

    def test(start: Trial, trial: Trial) -> jax.Array:
        exact = trial.value <= start.value + decrease * trial.step * start.slope
        by_slope = trial.slope <= (2 * decrease - 1) * start.slope
        return exact | (by_slope & (jnp.abs(trial.value - start.value) <= value_noise(noise, start.value)))

    return test


def weak_curvature(curvature: float) -> Test:
    """Return the second Wolfe test: the slope has risen enough."""
    return lambda start, trial: trial.slope >= curvature * start.slope


def strong_curvature(curvature: float) -> Test:
    """Return the strong second Wolfe test: the slope is near enough to zero."""
    return lambda start, trial: jnp.abs(trial.slope) <= curvature * jnp.abs(start.slope)


def no_rise(noise: float | None) -> Test:
    """Return the test that the value is not above phi(0), up to its noise."""
    return lambda start, trial: trial.value <= start.value + value_noise(noise, start.value)


def both(first: Test, second: Test) -> Test:
    """Return the test that two tests pass."""
    return lambda start, trial: first(start, trial) & second(start, trial)


def check_constants(function: str, decrease: float, curvature: float | None, noise: float | None) -> None:
    """Raise ValueError unless 0 < decrease <= curvature < 1, decrease < 1/2 and noise >= 0."""
    validate.number(function, "decrease", decrease, low=0.0, high=0.5, low_open=True, high_open=True)
    if curvature is not None:
        hint = "Below decrease no step need pass both tests."
        validate.number(function, "curvature", curvature, low=decrease, high=1.0, high_open=True, hint=hint)
    if noise is not None:
        validate.number(function, "noise", noise, low=0.0)

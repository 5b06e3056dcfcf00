# SPDX-License-Identifier: Apache-2.0
r"""First trials: functions `FirstTrialInfo -> step` that say where a search along a new direction begins.

With a', phi' and so on from the previous search, f the value now and f' the one before the previous step,

    unit                      1
    constant(step)            step
    keep_growing(factor)      factor a'
    slope_ratio               a' phi'(0)' / phi'(0)           the first-order change is the same as last time
    quadratic_interpolation   min(1, 1.01 * 2 (f - f') / phi'(0))    the minimiser of a parabola falling by as much as then

Along the first direction, and after a reset, there is no previous search: except for `constant` the first trial is then
|g|_2 / |phi'(0)|, which makes a move of length 1 along -g and does not change when f is multiplied by a number. Where a formula
gives no positive finite number, a' stands in (1 for `quadratic_interpolation`), and where that is none either, 1.

Reference: Nocedal and Wright (2006), Numerical Optimization, section 3.5 (initial step length), eq. (3.60),
doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import validate
from jopt.types import Described, Scalar, described

# Nocedal and Wright (2006), after eq. (3.60): a little more than the parabola says, so that the unit step, which a
# superlinear method needs, is reached.
A_LITTLE_MORE = 1.01


class FirstTrialInfo(NamedTuple):
    """What a first-trial strategy may look at; scalars, all but `first` of one floating dtype.

    Attributes:
      first: whether there is no previous search to learn from: the first direction, or one after a reset. bool.
      grad_norm: |g|_2 now.
      value: phi(0) = f now.
      slope: phi'(0) now.
      previous_step: the step accepted by the previous search.
      previous_value: phi(0) of the previous search.
      previous_slope: phi'(0) of the previous search.
    """

    first: jax.Array
    grad_norm: Scalar
    value: Scalar
    slope: Scalar
    previous_step: Scalar
    previous_value: Scalar
    previous_slope: Scalar


Strategy = Callable[[FirstTrialInfo], Scalar]


class FirstTrial(Described):
    """A first-trial strategy with settings; equal to another one made by the same call."""

    def __init__(self, function: Strategy) -> None:
        self._function = function

    def __call__(self, info: FirstTrialInfo) -> Scalar:
        """Return the first trial."""
        return self._function(info)


def unit(info: FirstTrialInfo) -> Scalar:
    """Try 1, the natural step of Newton and quasi-Newton directions."""
    one = jnp.ones_like(info.slope)
    return _after_first(info, one, one)


def slope_ratio(info: FirstTrialInfo) -> Scalar:
    """Try the step whose first-order change of the value is that of the previous step.

    Meant for directions without a scale of their own: steepest descent and nonlinear conjugate gradients.

    Reference: Nocedal and Wright (2006), Numerical Optimization, section 3.5, first of the initial step lengths.
    """
    step = info.previous_step * (info.previous_slope / info.slope)
    return _after_first(info, step, info.previous_step)


def quadratic_interpolation(info: FirstTrialInfo) -> Scalar:
    """Try the minimiser of a parabola with the slope here and the decrease of the previous step, at most 1.

    Reference: Nocedal and Wright (2006), Numerical Optimization, eq. (3.60) and the remark after it.
    """
    step = 2 * ((info.value - info.previous_value) / info.slope)
    return _after_first(info, jnp.minimum(1.0, A_LITTLE_MORE * step), jnp.ones_like(info.slope))


@described
def constant(step: float) -> FirstTrial:
    """Try the same step each time, from the first direction on.

    Args:
      step: a finite number > 0.

    Raises:
      ValueError: if `step` is not positive and finite.
    """
    validate.number("constant", "step", step, low=0.0, low_open=True, high_open=True)
    return FirstTrial(lambda info: jnp.full_like(info.slope, step))


@described
def keep_growing(factor: float = 2.0) -> FirstTrial:
    """Try a multiple of the step last accepted, for searches that only shorten steps.

    Args:
      factor: a finite number >= 1; 1 begins with the previous step.

    Raises:
      ValueError: if `factor` is below 1 or infinite.
    """
    validate.number("keep_growing", "factor", factor, low=1.0, high_open=True)
    return FirstTrial(lambda info: _after_first(info, factor * info.previous_step, info.previous_step))


def _after_first(info: FirstTrialInfo, step: Scalar, otherwise: Scalar) -> Scalar:
    """Return the step, `otherwise` where it is unusable, or a move of unit length where nothing was accepted yet."""
    step = jnp.where(info.first, info.grad_norm / jnp.abs(info.slope), jnp.where(_usable(step), step, otherwise))
    return jnp.where(_usable(step), step, 1.0)


def _usable(step: Scalar) -> jax.Array:
    return jnp.isfinite(step) & (step > 0)

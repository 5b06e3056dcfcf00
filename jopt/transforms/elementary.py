# SPDX-License-Identifier: Apache-2.0
"""Elementary transformations: the update of each leaf is the gradient times a number, or its sign.

    identity                u = g
    scale                   u = step_size g
    scale_by_schedule       u = step_size_fn(t) g
    scale_by_learning_rate  u = -learning_rate(t) g        the sign makes a descent step of a gradient
    sign                    u = sign(g)

Here g is the gradient and t the number of updates so far, from 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jopt import tree, validate
from jopt.transforms.checked import transformation
from jopt.transforms.precision import at_step
from jopt.types import Count, Params, ScalarOrSchedule, Transformation, Updates, stateless


@transformation
def identity() -> Transformation:
    """Return the gradients unchanged: the neutral element of `chain`."""
    return stateless(lambda g, _: g)


@transformation
def scale(step_size: float | jax.Array) -> Transformation:
    """Multiply every leaf by a number.

    Args:
      step_size: any finite number; -1.0 turns a gradient into a descent direction.

    Raises:
      ValueError: if `step_size` is NaN or infinite.
      TypeError: if it is not a number.
    """
    validate.number("scale", "step_size", step_size, low_open=True, high_open=True)
    return stateless(lambda g, _: tree.scale(step_size, g))


@transformation
def sign() -> Transformation:
    """Replace every entry by its sign, in {-1, 0, 1}.

    Reference: Bernstein et al. (2018), signSGD, Algorithm 1, arXiv:1802.04434.
    """
    return stateless(lambda g, _: jax.tree.map(jnp.sign, g))


class ScaleByScheduleState(NamedTuple):
    """State of `scale_by_schedule`.

    Attributes:
      count: updates so far, int32.
    """

    count: Count


@transformation
def scale_by_schedule(step_size_fn: Callable[[Any], Any]) -> Transformation:
    """Multiply every leaf by a scheduled number.

    Args:
      step_size_fn: function of the number of updates so far (int32, from 0) giving a number.

    Raises:
      TypeError: if `step_size_fn` is not callable.
    """
    if not callable(step_size_fn):
        msg = f"scale_by_schedule: step_size_fn must be a function of the step number, got {step_size_fn!r}; use scale for a number."
        raise TypeError(msg)

    def init(params: Params) -> ScaleByScheduleState:
        del params
        return ScaleByScheduleState(jnp.zeros((), jnp.int32))

    def update(updates: Updates, state: ScaleByScheduleState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        factor = at_step("scale_by_schedule", "step_size_fn(count)", step_size_fn, state.count)
        return tree.scale(factor, updates), ScaleByScheduleState(optax.safe_increment(state.count))

    return Transformation(init, update)


class ScaleByLearningRateState(NamedTuple):
    """State of `scale_by_learning_rate`.

    Attributes:
      count: updates so far, int32.
      learning_rate: the rate last used (before the first update: the one that will be), in the scalar dtype.
    """

    count: Count
    learning_rate: jax.Array


@transformation
def scale_by_learning_rate(learning_rate: ScalarOrSchedule, *, flip_sign: bool = True) -> Transformation:
    """Multiply every leaf by minus the learning rate, a number or a schedule.

    Args:
      learning_rate: a number >= 0, or a function from the number of updates so far (from 0) to one.
      flip_sign: whether to multiply by -1, so that the update is added to the parameters.

    Returns:
      A transformation whose state holds the rate last used, for users to read.

    Raises:
      ValueError: if a number is negative, NaN or infinite.
      TypeError: if it is neither a number nor a function.
    """
    if not callable(learning_rate):
        validate.number("scale_by_learning_rate", "learning_rate", learning_rate, low=0.0, high_open=True)
    sign_ = -1.0 if validate.flag("scale_by_learning_rate", "flip_sign", flip_sign) else 1.0
    rate_at = functools.partial(at_step, "scale_by_learning_rate", "learning_rate", learning_rate)

    def init(params: Params) -> ScaleByLearningRateState:
        count = jnp.zeros((), jnp.int32)
        return ScaleByLearningRateState(count, rate_at(count, tree.scalar_dtype(params)))

    def update(updates: Updates, state: ScaleByLearningRateState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        rate = rate_at(state.count, state.learning_rate.dtype)
        return tree.scale(sign_ * rate, updates), ScaleByLearningRateState(optax.safe_increment(state.count), rate)

    return Transformation(init, update)

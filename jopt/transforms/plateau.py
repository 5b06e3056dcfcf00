# SPDX-License-Identifier: Apache-2.0
"""Reduce the rate when a metric stops improving.

    u = scale g,   scale' = max(factor scale, min_scale) whenever `patience` metrics in a row do not improve

A metric improves if it is below best - rtol |best| - atol, where best is the last metric that improved. With |best| the
demand on a negative metric (a log-likelihood, an energy) is as strict as on a positive one; (1 - rtol) best would lie
above a negative best and call a worse metric an improvement. NaN never improves, and counts as a metric that does not.

After a reduction the next `cooldown` metrics are not counted against the patience, though they may improve on best.
The metric may be noisy, such as the loss on one minibatch: then the mean over `accumulation_size` of them counts as one.

Reference: the idea is common usage; settings and their defaults are those of `optax.contrib.reduce_on_plateau`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.transforms.checked import transformation
from jopt.types import Count, Params, Transformation, Updates


class ReduceOnPlateauState(NamedTuple):
    """State of `reduce_on_plateau`.

    Floating fields are in the scalar dtype of the parameters.

    Attributes:
      scale: what the last update was multiplied by, from 1 downwards.
      best_value: the last metric that improved, from infinity.
      plateau_count: metrics in a row that did not improve, int32.
      cooldown_count: metrics left to wait after a reduction, int32.
      count: values in the present mean, int32.
      avg_value: their mean.
    """

    # change with every metric that is complete
    scale: jax.Array
    best_value: jax.Array
    plateau_count: jax.Array
    cooldown_count: jax.Array
    # change with every update
    count: Count
    avg_value: jax.Array


def improves(value: jax.Array, best: jax.Array, rtol: Any, atol: Any) -> jax.Array:
    """Return whether value < best - rtol |best| - atol.

    Every number improves on infinity, NaN on nothing.
    """
    margin = jnp.asarray(rtol).astype(best.dtype) * jnp.abs(best) + jnp.asarray(atol).astype(best.dtype)
    return value < jnp.where(jnp.isfinite(best), best - margin, best)


@transformation
def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> Transformation:
    """Multiply the updates by a scale that falls when a metric stops improving.

    Its `update` needs the extra argument `value`, the metric, a scalar. To maximize a metric pass its negative.

    Args:
      factor: what the scale is multiplied by, in (0, 1).
      patience: metrics in a row without improvement that make one reduction, at least 1.
      rtol: improvement asked for, relative to the size of the best metric, in [0, 1].
      atol: improvement asked for in the metric's unit, in [0, inf).
      cooldown: metrics after a reduction during which none is counted, at least 0.
      accumulation_size: values whose mean is one metric, at least 1.
      min_scale: the least scale, in [0, 1].

    Returns:
      A transformation whose `update` needs the extra `value`.

    Raises:
      ValueError: if a setting is outside its range; by `update`, if `value` is missing or not a scalar.
      TypeError: if a setting is not a number, or a count not a whole one.
    """
    _check_settings(factor, patience, rtol, atol, cooldown, accumulation_size, min_scale)

    def init(params: Params) -> ReduceOnPlateauState:
        zero, none = jnp.zeros((), tree.scalar_dtype(params)), jnp.zeros((), jnp.int32)
        return ReduceOnPlateauState(jnp.ones_like(zero), jnp.full_like(zero, jnp.inf), none, none, none, zero)

    def judge(state: ReduceOnPlateauState) -> ReduceOnPlateauState:
        """Return the state after a complete metric."""
        better = improves(state.avg_value, state.best_value, rtol, atol)
        resting = state.cooldown_count > 0
        bad = jnp.where(better | resting, 0, state.plateau_count + 1)
        reduce = bad >= patience
        dtype = state.scale.dtype
        lower = jnp.maximum(state.scale * _scalar(factor, dtype), _scalar(min_scale, dtype))
        return ReduceOnPlateauState(
            scale=jnp.where(reduce, lower, state.scale),
            best_value=jnp.where(better, state.avg_value, state.best_value),
            plateau_count=jnp.where(reduce, 0, bad),
            cooldown_count=jnp.where(reduce, cooldown, jnp.maximum(state.cooldown_count - 1, 0)),
            count=jnp.zeros_like(state.count),
            avg_value=jnp.zeros_like(state.avg_value),
        )

    def update(updates: Updates, state: ReduceOnPlateauState, params: Params = None, **extra: Any) -> Any:
        del params
        value = _check_value(extra.get("value"), state.avg_value.dtype)
        count = state.count + 1
        mean = state.avg_value + (value - state.avg_value) / count.astype(value.dtype)
        state = state._replace(count=count, avg_value=mean)
        state = tree.where(count >= accumulation_size, judge(state), state)
        return tree.scale(state.scale, updates), state

    return Transformation(init, update)


def _scalar(x: Any, dtype: Any) -> jax.Array:
    return jnp.asarray(x).astype(dtype)


def _check_value(value: Any, dtype: Any) -> jax.Array:
    validate.given("reduce_on_plateau", "value", value, hint="Call update(updates, state, params, value=metric).")
    return validate.scalar(
        "reduce_on_plateau", "value", value, hint="It is one number: the metric, or its mean."
    ).astype(dtype)


def _check_settings(
    factor: Any, patience: Any, rtol: Any, atol: Any, cooldown: Any, accumulation_size: Any, min_scale: Any
) -> None:
    name = "reduce_on_plateau"
    validate.number(name, "factor", factor, low=0.0, high=1.0, low_open=True, high_open=True)
    validate.integer(name, "patience", patience, low=1)
    validate.number(name, "rtol", rtol, low=0.0, high=1.0)
    validate.number(name, "atol", atol, low=0.0, high_open=True)
    validate.integer(name, "cooldown", cooldown)
    validate.integer(name, "accumulation_size", accumulation_size, low=1)
    validate.number(name, "min_scale", min_scale, low=0.0, high=1.0)

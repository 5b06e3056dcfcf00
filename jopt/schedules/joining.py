# SPDX-License-Identifier: Apache-2.0
"""Schedules made of pieces: any joined in a row, jumps, lines between milestones, and a warm-up before anything.

    join_schedules(s, b)        s_i(t - b_(i-1))   for b_(i-1) <= t < b_i, with b_(-1) = 0
    warmup(s, W, I)             I + (s(0) - I) t/W   for t < W, then s(t - W)

The names with `_schedule` that optax has too have its order of arguments and its values.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jopt import validate
from jopt.schedules.decay import exponential_curve
from jopt.schedules.kernels import (
    LAST_COUNT,
    Curve,
    Number,
    Schedule,
    as_curve,
    as_float,
    blend,
    cosine,
    elapsed,
    finite,
    linear,
    pieces,
    positive,
    weights,
    whole,
)
from jopt.types import ScalarOrSchedule, described


@described
def join_schedules(schedules: Sequence[ScalarOrSchedule], boundaries: Sequence[int]) -> Schedule:
    """Follow one schedule after another; each sees the steps since its own start.

    Args:
      schedules: functions of the step number, of jopt, optax or your own, or numbers; at least one.
      boundaries: steps at which the second and each further schedule takes over, >= 0, not falling; one fewer than
        `schedules`.

    Raises:
      TypeError: if an entry is not of the kind stated.
      ValueError: if there is no schedule, or the boundaries are out of order or of another number.

    Example:
      >>> from jopt import schedules
      >>> schedule = schedules.join_schedules([1.0, schedules.linear_schedule(0.5, 0.0, 2)], [3])
      >>> list(map(float, map(schedule, range(6))))
      [1.0, 1.0, 1.0, 0.5, 0.25, 0.0]
    """
    name = "join_schedules"
    parts, steps = validate.sequence(name, "schedules", schedules), validate.sequence(name, "boundaries", boundaries)
    curves = [as_curve(name, f"schedules[{i}]", schedule) for i, schedule in enumerate(parts)]
    bounds = [whole(name, f"boundaries[{i}]", boundary, low=0) for i, boundary in enumerate(steps)]
    if not curves or len(bounds) != len(curves) - 1:
        msg = f"{name}: boundaries must have one entry fewer than schedules, got {len(bounds)} for {len(curves)} schedules."
        raise ValueError(msg)
    if bounds != sorted(bounds):
        msg = f"{name}: boundaries must not fall, got {bounds}."
        raise ValueError(msg)
    return Schedule(lambda count: pieces(count, curves, bounds))


def milestones(function: str, boundaries_and_scales: Mapping[int, Number] | None) -> list[tuple[int, Any]]:
    """Return the jumps in order of their steps."""
    if boundaries_and_scales is None:
        return []
    if not isinstance(boundaries_and_scales, Mapping):
        msg = (
            f"{function}: boundaries_and_scales must be a mapping from steps to factors, got {boundaries_and_scales!r}."
        )
        raise TypeError(msg)
    scales = {}
    for step, scale in boundaries_and_scales.items():
        argument = f"boundaries_and_scales[{step!r}]"
        validate.number(function, argument, scale, low=0.0, high=math.inf, high_open=True)
        scales[whole(function, "a step of boundaries_and_scales", step, low=0)] = finite(function, argument, scale)
    return sorted(scales.items())


def knots(init_value: Number, jumps: Sequence[tuple[int, Any]]) -> tuple[list[int], list[Any]]:
    """Return the steps, from 0, and the value at each after all factors up to there."""
    values = [init_value]
    for _, scale in jumps:
        values.append(values[-1] * scale)
    return [0, *(step for step, _ in jumps)], values


@described
def piecewise_constant_schedule(
    init_value: Number, boundaries_and_scales: Mapping[int, Number] | None = None
) -> Schedule:
    """Multiply by a factor, all at once, at each of some steps.

    Args:
      init_value: value before the first jump, finite.
      boundaries_and_scales: from the steps of the jumps (>= 0) to the factors (>= 0), in any order; a factor acts from
        its step on, together with all before it.

    Raises:
      TypeError: if `boundaries_and_scales` is not a mapping from whole numbers.
      ValueError: if a step or a factor is negative.
    """
    name = "piecewise_constant_schedule"
    bounds, values = knots(finite(name, "init_value", init_value), milestones(name, boundaries_and_scales))

    def curve(count: jax.Array) -> jax.Array:
        value = as_float(values[0])
        for bound, after in zip(bounds[1:], values[1:], strict=True):
            value = jnp.where(count >= bound, after, value)
        return value

    return Schedule(curve)


_SHAPES = {"linear": linear, "cosine": cosine}


def through(shape: str, bounds: Sequence[int], values: Sequence[Any]) -> Curve:
    """Return the curve through `values[i]` at step `bounds[i]`.

    It is made of lines or half cosine waves.
    """
    curves: list[Curve] = [
        functools.partial(_SHAPES[shape], start=values[i], end=values[i + 1], begin=0, steps=bounds[i + 1] - bounds[i])
        for i in range(len(bounds) - 1)
    ]
    return lambda count: pieces(count, curves, bounds[1:-1]) if curves else values[0]


@described
def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Number, boundaries_and_scales: Mapping[int, Number] | None = None
) -> Schedule:
    """Go through the values of `piecewise_constant_schedule` without its jumps.

    Args:
      interpolate_type: `"linear"` for straight lines between the steps, `"cosine"` for half cosine waves.
      init_value: value at step 0, finite.
      boundaries_and_scales: from steps (>= 0) to factors (>= 0): at each step the value has been multiplied by its
        factor and all before it.

    Raises:
      TypeError: if `boundaries_and_scales` is not a mapping from whole numbers.
      ValueError: if a step or a factor is negative, or `interpolate_type` is another word.
    """
    name = "piecewise_interpolate_schedule"
    shape = validate.choice(name, "interpolate_type", interpolate_type, _SHAPES)
    bounds, values = knots(finite(name, "init_value", init_value), milestones(name, boundaries_and_scales))
    return Schedule(through(shape, bounds, values))


def after_warmup(curve: Curve, steps: int, init_value: Number) -> Curve:
    """Return the curve after a line from `init_value` to its first value.

    The line takes `steps`, and the curve begins so much later.
    """
    # Until the warm-up is over the curve stands at its first value, so one evaluation serves both parts.
    return lambda count: linear(count, init_value, as_float(curve(elapsed(count, steps))), 0, steps)


@described
def warmup(schedule: ScalarOrSchedule, steps: int, init_value: Number = 0.0) -> Schedule:
    """Put a linear warm-up before any schedule.

    Args:
      schedule: function of the step number, of jopt, optax or your own, or a number; it begins after the warm-up.
      steps: length of the warm-up, >= 0.
      init_value: value at step 0, finite.

    Raises:
      TypeError: if `schedule` is neither a function nor a number.
      ValueError: if a setting is outside its range.

    Reference:
      Goyal et al. (2017), Accurate, Large Minibatch SGD, section 2.2, arXiv:1706.02677.
    """
    start, length = finite("warmup", "init_value", init_value), whole("warmup", "steps", steps, low=0)
    return Schedule(after_warmup(as_curve("warmup", "schedule", schedule), length, start))


@described
def warmup_constant_schedule(init_value: Number, peak_value: Number, warmup_steps: int) -> Schedule:
    """Warm up on a straight line, then stay.

    Args:
      init_value: value at step 0, finite.
      peak_value: value from step `warmup_steps` on, finite.
      warmup_steps: length of the warm-up, >= 0.

    Raises:
      ValueError: if a setting is outside its range.
    """
    name = "warmup_constant_schedule"
    start, peak = finite(name, "init_value", init_value), finite(name, "peak_value", peak_value)
    steps = whole(name, "warmup_steps", warmup_steps, low=0)
    return Schedule(lambda count: linear(count, start, peak, 0, steps))


def warmup_cosine_curve(
    function: str,
    init_value: Number,
    peak_value: Number,
    warmup_steps: int,
    decay_steps: int,
    end_value: Number = 0.0,
    exponent: Number = 1.0,
) -> Curve:
    """Return the curve of `warmup_cosine_decay_schedule`.

    Errors carry the name of `function`.
    """
    start, peak = finite(function, "init_value", init_value), finite(function, "peak_value", peak_value)
    end, power = finite(function, "end_value", end_value), positive(function, "exponent", exponent)
    up = whole(function, "warmup_steps", warmup_steps, low=0)
    hint = "It is the length of the whole, warm-up included."
    down = int(validate.integer(function, "decay_steps", decay_steps, low=up + 1, high=LAST_COUNT, hint=hint)) - up
    return after_warmup(lambda count: cosine(count, peak, end, 0, down, power), up, start)


@described
def warmup_cosine_decay_schedule(
    init_value: Number,
    peak_value: Number,
    warmup_steps: int,
    decay_steps: int,
    end_value: Number = 0.0,
    exponent: Number = 1.0,
) -> Schedule:
    """Warm up on a straight line, then fall along half a cosine wave.

    Args:
      init_value: value at step 0, finite.
      peak_value: value at step `warmup_steps`, finite.
      warmup_steps: length of the warm-up, >= 0.
      decay_steps: length of the whole, the warm-up included, > `warmup_steps`.
      end_value: value from step `decay_steps` on, finite.
      exponent: power of the cosine's weight, > 0; more than 1 falls earlier.

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Loshchilov and Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts, equation 5, arXiv:1608.03983.
    """
    settings = (init_value, peak_value, warmup_steps, decay_steps, end_value, exponent)
    return Schedule(warmup_cosine_curve("warmup_cosine_decay_schedule", *settings))


@described
def warmup_exponential_decay_schedule(
    init_value: Number,
    peak_value: Number,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: Number,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Number | None = None,
) -> Schedule:
    """Warm up on a straight line, then decay exponentially.

    Args:
      init_value: value at step 0, finite.
      peak_value: value at step `warmup_steps`, finite.
      warmup_steps: length of the warm-up, >= 0.
      transition_steps: steps T in which the value changes by the factor `decay_rate`, >= 1.
      decay_rate: the factor, > 0.
      transition_begin: steps between the warm-up and the decay, >= 0.
      staircase: whether the value stays constant within each T steps and jumps after them.
      end_value: bound at which the value stays: a lower one for a rate below 1, an upper one otherwise; None for none.

    Raises:
      ValueError: if a setting is outside its range, or `peak_value` is beyond `end_value`.
    """
    name = "warmup_exponential_decay_schedule"
    start, up = finite(name, "init_value", init_value), whole(name, "warmup_steps", warmup_steps, low=0)
    settings = (transition_steps, decay_rate, transition_begin, staircase, end_value)
    return Schedule(after_warmup(exponential_curve(name, "peak_value", peak_value, *settings), up, start))


@described
def warmup_stable_decay(
    peak_value: Number,
    warmup_steps: int,
    stable_steps: int,
    decay_steps: int,
    *,
    init_value: Number = 0.0,
    end_value: Number = 0.0,
    exponent: Number = 1.0,
) -> Schedule:
    """Warm up, stay at the peak for most of the training, and cool down at its end.

    With W, S, D the three lengths, the fall is peak + (end - peak) ((t - W - S)/D)^exponent.

    Args:
      peak_value: value of the stable phase, finite.
      warmup_steps: length of the warm-up, a straight line, >= 0.
      stable_steps: length of the stable phase, >= 0.
      decay_steps: length of the fall, >= 1; a tenth to a fifth of the whole is customary.
      init_value: value at step 0, finite.
      end_value: value after the fall, finite.
      exponent: power of the fall's progress, > 0: 1 for a straight line, 1/2 for the "1 - sqrt" fall.

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Hu et al. (2024), MiniCPM, section 4.2, arXiv:2404.06395; the "1 - sqrt" fall: Hägele et al. (2024), Scaling Laws
      and Compute-Optimal Training Beyond Fixed Training Durations, section 3.1, arXiv:2405.18392.
    """
    name = "warmup_stable_decay"
    peak, start = finite(name, "peak_value", peak_value), finite(name, "init_value", init_value)
    end, power = finite(name, "end_value", end_value), positive(name, "exponent", exponent)
    up = whole(name, "warmup_steps", warmup_steps, low=0)
    stay = whole(name, "stable_steps", stable_steps, low=0)
    down = whole(name, "decay_steps", decay_steps)

    def fall(count: jax.Array) -> jax.Array:
        k = elapsed(count, stay, down)
        left, gone = weights(as_float(down - k), as_float(k))
        # The weights change places, as the power is that of the steps gone: "1 - sqrt" and not "sqrt(1 - ...)".
        return blend(end, peak, gone, left, power)

    return Schedule(after_warmup(fall, up, start))

# SPDX-License-Identifier: Apache-2.0
"""Schedules along one curve, with t the step number, B `transition_begin`, T `transition_steps`, I and E the two values.

    constant_schedule       I
    linear_schedule         I + (E - I) k/T                   k = min(max(t - B, 0), T)
    linear_to_floor         (1 - t/tau) I + (t/tau) E          up to t = tau, then E
    polynomial_schedule     E + (I - E) (1 - k/T)^power
    cosine_decay_schedule   I (alpha + (1 - alpha) ((1 + cos(pi k/T))/2)^exponent)
    exponential_decay       I rate^p                           p = max(t - B, 0)/T, rounded down on a staircase
    step_schedule           I rate^floor(t/T)
    inverse_time_schedule   I / (1 + rate p)
    inverse_sqrt_schedule   I sqrt(W / t)                      after W steps of linear warm-up

The names, the order of arguments and the values of the constant, linear, polynomial, cosine and exponential schedule are
optax's. A setting that optax answers with a constant schedule (no steps, a zero rate) is an error here.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jopt import validate
from jopt.schedules.kernels import (
    Curve,
    Number,
    Schedule,
    as_float,
    blend,
    cosine,
    elapsed,
    finite,
    fraction,
    linear,
    positive,
    weights,
    whole,
)
from jopt.types import described


@described
def constant_schedule(value: Number) -> Schedule:
    """Return the same value at every step.

    Args:
      value: any finite number.

    Raises:
      ValueError: if `value` is not finite.
    """
    value = finite("constant_schedule", "value", value)
    return Schedule(lambda _: value)


@described
def linear_schedule(
    init_value: Number, end_value: Number, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """Go from one value to another on a straight line.

    Args:
      init_value: value up to step `transition_begin`, finite.
      end_value: value from step `transition_begin + transition_steps` on, finite.
      transition_steps: steps between the two, >= 1.
      transition_begin: first step of the line, >= 0.

    Raises:
      ValueError: if a setting is outside its range.

    Example:
      >>> from jopt import schedules
      >>> schedule = schedules.linear_schedule(1.0, 0.0, transition_steps=4)
      >>> list(map(float, map(schedule, range(6))))
      [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
      >>> schedule
      linear_schedule(init_value=1.0, end_value=0.0, transition_steps=4, transition_begin=0)
    """
    name = "linear_schedule"
    start, end = finite(name, "init_value", init_value), finite(name, "end_value", end_value)
    steps = whole(name, "transition_steps", transition_steps)
    begin = whole(name, "transition_begin", transition_begin, low=0)
    return Schedule(lambda count: linear(count, start, end, begin, steps))


@described
def linear_to_floor(init_value: Number, end_value: Number, tau: int) -> Schedule:
    """Fall on a straight line to a floor over tau steps, then stay there.

    Args:
      init_value: value e_0 at step 0, > 0.
      end_value: the floor e_tau, in [0, init_value]; about one percent of `init_value` is customary.
      tau: step at which the floor is reached, >= 1.

    Raises:
      ValueError: if a setting is outside its range, so also if the floor is above the start.

    Reference:
      Goodfellow, Bengio and Courville (2016), Deep Learning, equation 8.14, https://www.deeplearningbook.org.
    """
    name = "linear_to_floor"
    start = positive(name, "init_value", init_value)
    top = math.inf if isinstance(start, Tracer) else float(start)
    validate.number(name, "end_value", end_value, low=0.0, high=top, hint="The floor lies below init_value.")
    end = finite(name, "end_value", end_value)
    steps = whole(name, "tau", tau)
    return Schedule(lambda count: linear(count, start, end, 0, steps))


@described
def polynomial_schedule(
    init_value: Number, end_value: Number, power: Number, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """Go from one value to another along a power of the steps that are left.

    Args:
      init_value: value up to step `transition_begin`, finite.
      end_value: value from step `transition_begin + transition_steps` on, finite.
      power: exponent, > 0; 1 gives the straight line, more a faster start.
      transition_steps: steps between the two, >= 1.
      transition_begin: first step of the curve, >= 0.

    Raises:
      ValueError: if a setting is outside its range.
    """
    name = "polynomial_schedule"
    start, end = finite(name, "init_value", init_value), finite(name, "end_value", end_value)
    exponent = positive(name, "power", power)
    steps = whole(name, "transition_steps", transition_steps)
    begin = whole(name, "transition_begin", transition_begin, low=0)

    def curve(count: jax.Array) -> jax.Array:
        k = elapsed(count, begin, steps)
        return blend(start, end, *weights(as_float(steps - k), as_float(k)), exponent)

    return Schedule(curve)


@described
def cosine_decay_schedule(
    init_value: Number, decay_steps: int, alpha: Number = 0.0, exponent: Number = 1.0
) -> Schedule:
    """Fall along half a cosine wave to a fraction of the start, then stay there.

    Args:
      init_value: value at step 0, finite.
      decay_steps: step at which the end is reached, >= 1.
      alpha: the end as a fraction of `init_value`, in [0, 1].
      exponent: power of the cosine's weight, > 0; more than 1 falls earlier.

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Loshchilov and Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts, equation 5, arXiv:1608.03983.
    """
    name = "cosine_decay_schedule"
    start = finite(name, "init_value", init_value)
    end = fraction(name, "alpha", alpha) * start
    steps, power = whole(name, "decay_steps", decay_steps), positive(name, "exponent", exponent)
    return Schedule(lambda count: cosine(count, start, end, 0, steps, power))


def exponential_curve(
    function: str,
    value_name: str,
    init_value: Number,
    transition_steps: int,
    decay_rate: Number,
    transition_begin: int,
    staircase: bool,
    end_value: Number | None,
) -> Curve:
    """Return the curve of `exponential_decay`, with errors in the name of `function`."""
    start, steps = finite(function, value_name, init_value), whole(function, "transition_steps", transition_steps)
    rate = positive(function, "decay_rate", decay_rate)
    validate.flag(function, "staircase", staircase)
    begin = whole(function, "transition_begin", transition_begin, low=0)
    clip = None
    if end_value is not None:
        falling = bool(rate < 1.0)
        if not isinstance(start, Tracer):
            hint = f"It bounds a {'falling' if falling else 'growing'} value that begins at {value_name}."
            low, high = (-math.inf, float(start)) if falling else (float(start), math.inf)
            validate.number(function, "end_value", end_value, low=low, high=high, hint=hint)
        end_value, clip = finite(function, "end_value", end_value), jnp.maximum if falling else jnp.minimum

    def curve(count: jax.Array) -> jax.Array:
        k = elapsed(count, begin)
        # The stairs are whole numbers divided, which rounding cannot move by a step.
        power = as_float(k // steps) if staircase else as_float(k) / steps
        value = start * rate**power
        return value if clip is None or end_value is None else clip(value, end_value)

    return curve


@described
def exponential_decay(
    init_value: Number,
    transition_steps: int,
    decay_rate: Number,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Number | None = None,
) -> Schedule:
    """Multiply by a rate every `transition_steps` steps, gradually or all at once.

    Args:
      init_value: value up to step `transition_begin`, finite.
      transition_steps: steps T in which the value changes by the factor `decay_rate`, >= 1.
      decay_rate: the factor, > 0; above 1 the value grows.
      transition_begin: first step of the decay, >= 0.
      staircase: whether the value stays constant within each T steps and jumps after them.
      end_value: bound at which the value stays: a lower one for a rate below 1, an upper one otherwise; None for none.

    Raises:
      ValueError: if a setting is outside its range, or `init_value` is beyond `end_value`.
    """
    settings = (init_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return Schedule(exponential_curve("exponential_decay", "init_value", *settings))


@described
def step_schedule(init_value: Number, transition_steps: int, decay_rate: Number) -> Schedule:
    """Multiply by a rate, all at once, after every `transition_steps` steps.

    For steps of unequal lengths or rates see `piecewise_constant_schedule`.

    Args:
      init_value: value in the first `transition_steps` steps, finite.
      transition_steps: steps for which the value stays, >= 1.
      decay_rate: the factor, > 0.

    Raises:
      ValueError: if a setting is outside its range.
    """
    return Schedule(
        exponential_curve("step_schedule", "init_value", init_value, transition_steps, decay_rate, 0, True, None)
    )


@described
def inverse_time_schedule(
    init_value: Number,
    transition_steps: int,
    decay_rate: Number,
    transition_begin: int = 0,
    staircase: bool = False,
) -> Schedule:
    """Fall like one over the number of steps.

    This is the rate of decay that stochastic approximation asks for.

    With such steps, sum a_t = infinity and sum a_t^2 < infinity, so noise averages out and no point is out of reach.

    Args:
      init_value: value up to step `transition_begin`, finite.
      transition_steps: unit T of time, in steps, >= 1.
      decay_rate: growth of the denominator in T steps, > 0; with 1 the value halves in the first T.
      transition_begin: first step of the decay, >= 0.
      staircase: whether the value stays constant within each T steps and jumps after them.

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Robbins and Monro (1951), A stochastic approximation method, equations 6 and 8, doi:10.1214/aoms/1177729586.
    """
    name = "inverse_time_schedule"
    start, rate = finite(name, "init_value", init_value), positive(name, "decay_rate", decay_rate)
    steps = whole(name, "transition_steps", transition_steps)
    begin = whole(name, "transition_begin", transition_begin, low=0)
    validate.flag(name, "staircase", staircase)

    def curve(count: jax.Array) -> jax.Array:
        k = elapsed(count, begin)
        return start / (1.0 + rate * (as_float(k // steps) if staircase else as_float(k) / steps))

    return Schedule(curve)


@described
def inverse_sqrt_schedule(peak_value: Number, warmup_steps: int, init_value: Number = 0.0) -> Schedule:
    """Warm up on a straight line, then fall like one over the root of the step.

    The Transformer of model size d is trained with `peak_value = (d * warmup_steps)**-0.5`, its steps counted from 1.

    Args:
      peak_value: value at step `warmup_steps`, finite.
      warmup_steps: length W of the warm-up and unit of the fall, >= 1: the value at step 4 W is half the peak.
      init_value: value at step 0, finite; `peak_value` for no warm-up.

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Vaswani et al. (2017), Attention Is All You Need, equation 3, arXiv:1706.03762.
    """
    name = "inverse_sqrt_schedule"
    peak, start = finite(name, "peak_value", peak_value), finite(name, "init_value", init_value)
    steps = whole(name, "warmup_steps", warmup_steps)

    def curve(count: jax.Array) -> jax.Array:
        fall = jnp.sqrt(steps / as_float(jnp.maximum(count, steps)))
        return linear(count, start, peak, 0, steps) * fall

    return Schedule(curve)

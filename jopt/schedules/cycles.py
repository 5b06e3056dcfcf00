# SPDX-License-Identifier: Apache-2.0
"""Schedules that go up and down: warm restarts, triangles, one cycle.

sgdr_schedule              one warm-up cosine after another, each with its own settings
warm_restarts_schedule     cosine i has length T_i = T_0 growth^i and starts at T_0 + ... + T_(i-1)
triangular_schedule        up and down on straight lines, again and again
cosine_onecycle_schedule   up and down along half cosine waves, once
linear_onecycle_schedule   up, down and out on straight lines, once
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jopt import validate
from jopt.schedules.joining import through, warmup_cosine_curve
from jopt.schedules.kernels import (
    LAST_COUNT,
    Number,
    Schedule,
    as_float,
    finite,
    fraction,
    half_cosine,
    is_one,
    pieces,
    positive,
    weights,
    whole,
)
from jopt.types import described

_CYCLE_NEEDS = {"init_value", "peak_value", "warmup_steps", "decay_steps"}
_CYCLE_TAKES = _CYCLE_NEEDS | {"end_value", "exponent"}


@described
def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Follow one warm-up cosine decay after another, each with settings of its own.

    For periods that grow by a factor see `warm_restarts_schedule`.

    Args:
      cosine_kwargs: for each cycle the settings of `warmup_cosine_decay_schedule`; `decay_steps` is the length of the
        cycle. The last cycle's end value stays.

    Raises:
      TypeError: if a cycle is not a mapping, or has other settings.
      ValueError: if there is no cycle, or a setting is outside its range.

    Reference:
      Loshchilov and Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv:1608.03983.
    """
    curves, ends = [], [0]
    for i, settings in enumerate(validate.sequence("sgdr_schedule", "cosine_kwargs", cosine_kwargs)):
        if not isinstance(settings, Mapping) or not _CYCLE_NEEDS <= settings.keys() <= _CYCLE_TAKES:
            msg = (
                f"sgdr_schedule: cosine_kwargs[{i}] must be a mapping with {', '.join(sorted(_CYCLE_NEEDS))}, and "
                f"perhaps {', '.join(sorted(_CYCLE_TAKES - _CYCLE_NEEDS))}, got {settings!r}."
            )
            raise TypeError(msg)
        curves.append(warmup_cosine_curve(f"sgdr_schedule: cosine_kwargs[{i}]", **settings))
        ends.append(whole("sgdr_schedule", "the sum of decay_steps", ends[-1] + int(settings["decay_steps"])))
    if not curves:
        msg = "sgdr_schedule: cosine_kwargs must have at least one cycle, got none."
        raise ValueError(msg)
    return Schedule(lambda count: pieces(count, curves, ends[1:-1]))


def restarts(first: int, growth: int) -> list[int]:
    """Return the steps at which cycles of lengths `first * growth**i` begin.

    The list goes as far as step numbers do.
    """
    starts = [0]
    while (start := starts[-1] + first * growth ** (len(starts) - 1)) <= LAST_COUNT:
        starts.append(start)
    return starts


@described
def warm_restarts_schedule(
    init_value: Number,
    first_decay_steps: int,
    *,
    growth: int = 2,
    peak_factor: Number = 1.0,
    alpha: Number = 0.0,
) -> Schedule:
    """Fall along half a cosine wave, start again at the top, and so for ever.

    The periods grow.

    Args:
      init_value: value at step 0, finite.
      first_decay_steps: length T_0 of the first period, >= 1.
      growth: factor from one period's length to the next one's (T_mult in the paper), >= 1; 1 keeps the length.
      peak_factor: factor from one period's top to the next one's, in (0, 1].
      alpha: the end of a period as a fraction of its top, in [0, 1].

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Loshchilov and Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts, equation 5, arXiv:1608.03983.

    Example:
      >>> from jopt import schedules
      >>> schedule = schedules.warm_restarts_schedule(1.0, 2)
      >>> list(round(float(schedule(t)), 2) for t in range(7))
      [1.0, 0.5, 1.0, 0.85, 0.5, 0.15, 1.0]
    """
    name = "warm_restarts_schedule"
    start, low = finite(name, "init_value", init_value), fraction(name, "alpha", alpha)
    first, factor = whole(name, "first_decay_steps", first_decay_steps), whole(name, "growth", growth)
    fade = positive(name, "peak_factor", peak_factor, high=1.0)
    starts = restarts(first, factor) if factor > 1 else []

    def cycle(count: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the number of the cycle and the steps since its start, in integers: no logarithm rounds a restart away."""
        if factor == 1:
            return count // first, count % first
        begun = jnp.asarray(starts, jnp.int32)
        i = jnp.sum(count[..., None] >= begun, axis=-1, dtype=jnp.int32) - 1
        return i, count - begun[i]

    def curve(count: jax.Array) -> jax.Array:
        number, since = cycle(count)
        i, gone = as_float(number), as_float(since)
        left, gone = half_cosine(*weights(first * float(factor) ** i - gone, gone))
        top = start if is_one(fade) else start * fade**i
        return top * (left + low * gone)

    return Schedule(curve)


@described
def triangular_schedule(
    init_value: Number, peak_value: Number, half_cycle_steps: int, *, peak_factor: Number = 1.0
) -> Schedule:
    """Go up and down on straight lines, again and again.

    Args:
      init_value: value at steps 0, 2 h, 4 h, ..., finite.
      peak_value: value at step h, and at 3 h, 5 h, ... unless the height shrinks, finite.
      half_cycle_steps: steps h from bottom to top (the stepsize of the paper), >= 1; two to ten epochs are customary.
      peak_factor: factor from one triangle's height to the next one's, in (0, 1]; 1/2 gives "triangular2".

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Smith (2017), Cyclical Learning Rates for Training Neural Networks, section 3.2, arXiv:1506.01186.
    """
    name = "triangular_schedule"
    low, high = finite(name, "init_value", init_value), finite(name, "peak_value", peak_value)
    half = whole(name, "half_cycle_steps", half_cycle_steps, high=LAST_COUNT // 2)
    fade = positive(name, "peak_factor", peak_factor, high=1.0)

    def top(count: jax.Array) -> Any:
        return high if is_one(fade) else low + (high - low) * fade ** as_float(count // (2 * half))

    def curve(count: jax.Array) -> jax.Array:
        height = half - jnp.abs(count % (2 * half) - half)
        down, up = weights(as_float(half - height), as_float(height))
        return low * down + top(count) * up

    return Schedule(curve)


@described
def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: Number,
    pct_start: float = 0.3,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
) -> Schedule:
    """Go up to a peak and down to almost nothing along half cosine waves.

    Args:
      transition_steps: length of the whole, >= 1.
      peak_value: the highest value, finite.
      pct_start: fraction of the steps spent going up, in [0, 1].
      div_factor: peak over the value at step 0, > 0.
      final_div_factor: value at step 0 over the last value, > 0.

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Smith and Topin (2017), Super-Convergence, section 3, arXiv:1708.07120; the defaults are fastai's.
    """
    name = "cosine_onecycle_schedule"
    steps, peak = whole(name, "transition_steps", transition_steps), finite(name, "peak_value", peak_value)
    first = peak / positive(name, "div_factor", div_factor)
    last = first / positive(name, "final_div_factor", final_div_factor)
    top = int(fraction(name, "pct_start", pct_start) * steps)
    return Schedule(through("cosine", [0, top, steps], [first, peak, last]))


@described
def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: Number,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
) -> Schedule:
    """Go up to a peak, down to the first value and on to almost nothing.

    The ways are straight lines.

    Args:
      transition_steps: length of the whole, >= 1.
      peak_value: the highest value, finite.
      pct_start: fraction of the steps at which the peak is reached, in [0, 1].
      pct_final: fraction of the steps at which the first value is reached again, in [pct_start, 1].
      div_factor: peak over the value at step 0, > 0.
      final_div_factor: value at step 0 over the last value, > 0.

    Raises:
      ValueError: if a setting is outside its range.

    Reference:
      Smith and Topin (2017), Super-Convergence, section 3, arXiv:1708.07120.
    """
    name = "linear_onecycle_schedule"
    steps, peak = whole(name, "transition_steps", transition_steps), finite(name, "peak_value", peak_value)
    up = fraction(name, "pct_start", pct_start)
    back = fraction(name, "pct_final", pct_final, low=float(up))
    first = peak / positive(name, "div_factor", div_factor)
    last = first / positive(name, "final_div_factor", final_div_factor)
    bounds = [0, int(up * steps), int(back * steps), steps]
    return Schedule(through("linear", bounds, [first, peak, first, last]))

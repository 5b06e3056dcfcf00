# SPDX-License-Identifier: Apache-2.0
"""Schedules: functions from the step number (from 0) to a number, such as a learning rate.

- decay.py: constant, linear, linear to a floor, polynomial, cosine, exponential, step, inverse time, inverse square root.
- joining.py: any schedules in a row, a warm-up before anything, jumps and lines between milestones, warm-up stable decay.
- cycles.py: warm restarts (SGDR), triangles, one cycle.
- kernels.py: the `Schedule` class, which says what step numbers are taken and what dtype comes out, and the curves.

Every schedule goes where a learning rate goes, in jopt and in optax; any function of the step number does the same.
"""

from jopt.schedules.cycles import (
    cosine_onecycle_schedule,
    linear_onecycle_schedule,
    sgdr_schedule,
    triangular_schedule,
    warm_restarts_schedule,
)
from jopt.schedules.decay import (
    constant_schedule,
    cosine_decay_schedule,
    exponential_decay,
    inverse_sqrt_schedule,
    inverse_time_schedule,
    linear_schedule,
    linear_to_floor,
    polynomial_schedule,
    step_schedule,
)
from jopt.schedules.joining import (
    join_schedules,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
    warmup,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
    warmup_stable_decay,
)
from jopt.schedules.kernels import Schedule

__all__ = [
    "Schedule",
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "exponential_decay",
    "inverse_sqrt_schedule",
    "inverse_time_schedule",
    "join_schedules",
    "linear_onecycle_schedule",
    "linear_schedule",
    "linear_to_floor",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "sgdr_schedule",
    "step_schedule",
    "triangular_schedule",
    "warm_restarts_schedule",
    "warmup",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_stable_decay",
]

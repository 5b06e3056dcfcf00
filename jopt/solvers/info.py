# SPDX-License-Identifier: Apache-2.0
"""What every solver says of one step: the one vocabulary between solvers and the loop."""

from __future__ import annotations

from typing import NamedTuple

import jax

from jopt.solvers.objective import Point
from jopt.types import Scalar


class Info(NamedTuple):
    """What the caller may want to know of one step; the state holds only what the next step needs.

    Attributes:
      point: the point evaluated in this step.
      accepted: whether the solver moved to it (the first point counts as accepted), bool.
      grad_norm: |g|_inf at the point; within bounds that of the projected gradient.
      step_norm: |x - x_previous|_inf between accepted points, infinity at the first.
      decrease: value of the previous accepted point minus this value, infinity at the first.
      status: a `Status` that ends the solve, RUNNING otherwise; int32.
      nhev: Hessian-vector products made in this step, int32.
    """

    point: Point
    accepted: jax.Array
    grad_norm: Scalar
    step_norm: Scalar
    decrease: Scalar
    status: jax.Array
    nhev: jax.Array

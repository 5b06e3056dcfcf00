# SPDX-License-Identifier: Apache-2.0
"""The six functions of Moré and Thuente (1994), ACM TOMS 20(3), section 5, with their tables I to VI."""

from typing import NamedTuple

import jax.numpy as jnp

FIRST_TRIALS = (1e-3, 1e-1, 1e1, 1e3)


class Line(NamedTuple):
    """One function of the paper.

    Attributes:
      phi: the function of the step.
      decrease: mu of the table.
      curvature: eta of the table.
      trials: the evaluations of the paper from each first trial.
      steps: the steps it ended at, to two digits.
    """

    phi: object
    decrease: float
    curvature: float
    trials: tuple
    steps: tuple


def fraction(a):
    """Function 1: convex up to sqrt(2), concave and rising beyond; minimum at sqrt(2)."""
    return -a / (a * a + 2)


def polynomial(a):
    """Function 2: minimum at 1.596, steep beyond."""
    shifted = a + 0.004
    return shifted**5 - 2 * shifted**4


def wavy(a, b=0.01, waves=39):
    """Function 3: |a - 1|, rounded within b of 1, with a wave on it; the minimum near 1 is sharp."""
    rounded = (a - 1) ** 2 / (2 * b) + b / 2
    valley = jnp.where(a <= 1 - b, 1 - a, jnp.where(a >= 1 + b, a - 1, rounded))
    return valley + 2 * (1 - b) / (waves * jnp.pi) * jnp.sin(waves * jnp.pi / 2 * a)


def yanai(b1, b2):
    """Functions 4 to 6: two nearly straight pieces; b1 and b2 are the sharpness of the bends at 0 and 1."""

    def bend(b):
        return (1 + b * b) ** 0.5 - b

    return lambda a: bend(b1) * jnp.sqrt((1 - a) ** 2 + b2**2) + bend(b2) * jnp.sqrt(a * a + b1**2)


LINES = {
    "1": Line(fraction, 1e-3, 0.1, (6, 3, 1, 4), (1.4, 1.4, 10, 37)),
    "2": Line(polynomial, 0.1, 0.1, (12, 8, 8, 11), (1.6, 1.6, 1.6, 1.6)),
    "3": Line(wavy, 0.1, 0.1, (12, 12, 10, 13), (1.0, 1.0, 1.0, 1.0)),
    "4": Line(yanai(0.001, 0.001), 1e-3, 1e-3, (4, 1, 3, 4), (0.085, 0.10, 0.35, 0.83)),
    "5": Line(yanai(0.01, 0.001), 1e-3, 1e-3, (6, 3, 7, 8), (0.075, 0.078, 0.073, 0.076)),
    "6": Line(yanai(0.001, 0.01), 1e-3, 1e-3, (13, 11, 8, 11), (0.93, 0.93, 0.92, 0.92)),
}

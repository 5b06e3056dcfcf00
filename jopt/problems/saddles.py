# SPDX-License-Identifier: Apache-2.0
"""Functions with negative curvature: what a method does near a saddle or a maximiser shows here."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jopt import validate
from jopt.problems.records import Problem, from_formula
from jopt.types import described


@described
def monkey_saddle() -> Problem:
    """Return the monkey saddle: a stationary point with zero Hessian, and no minimum.

        f(x, y) = x^3 - 3 x y^2

    Starts: (1, 0.1), from where steepest descent escapes, and (1, 0), from where it ends at the saddle.

    Reference: Hilbert, Cohn-Vossen (1952), Geometry and the Imagination, Chelsea, chapter IV.
    """

    def formula(params: jax.Array) -> jax.Array:
        x, y = params
        return x**3 - 3.0 * x * y**2

    return from_formula(
        "monkey_saddle",
        formula,
        ((1.0, 0.1), (1.0, 0.0)),
        source="Hilbert, Cohn-Vossen (1952), Geometry and the Imagination",
        minimum=-math.inf,
        stationary=((0.0, 0.0),),
    )


@described
def quartic_saddle() -> Problem:
    """Return a strict saddle between two minimisers.

        f(x, y) = x^2 - y^2 + y^4,      f(0, +-1/sqrt(2)) = -1/4

    Starts: (1, 0.1), from where steepest descent escapes, and (1, 0), from where it ends at the saddle.

    Reference: after Nesterov (2004), Introductory Lectures on Convex Optimization, example 1.2.2.
    """

    def formula(params: jax.Array) -> jax.Array:
        x, y = params
        return x**2 - y**2 + y**4

    return from_formula(
        "quartic_saddle",
        formula,
        ((1.0, 0.1), (1.0, 0.0)),
        source="after Nesterov (2004), Introductory Lectures on Convex Optimization, example 1.2.2",
        minimum=-0.25,
        minimisers=((0.0, math.sqrt(0.5)), (0.0, -math.sqrt(0.5))),
        stationary=((0.0, 0.0),),
    )


@described
def double_well(n: int = 2) -> Problem:
    """Return n independent double wells, concave around the start.

        f(x) = sum_i x_i^4 / 4 - x_i^2 / 2,      f(+-1, ..., +-1) = -n/4

    Every choice of signs is a minimiser: recorded are the one downhill from the start (0.1, -0.1, 0.1, ...) and
    its opposite. The second derivative 3 x_i^2 - 1 is negative for |x_i| < 1/sqrt(3).

    Args:
      n: number of variables, >= 1.

    Raises:
      ValueError: if `n` is less than 1.

    Reference: Landau (1937), On the theory of phase transitions.
    """
    validate.integer("double_well", "n", n, low=1)

    def formula(x: jax.Array) -> jax.Array:
        return jnp.sum(x**4 / 4.0 - x**2 / 2.0)

    signs = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    return from_formula(
        "double_well",
        formula,
        (0.1 * signs,),
        source="Landau (1937), On the theory of phase transitions",
        minimum=-n / 4.0,
        minimisers=(signs, -signs),
        stationary=(np.zeros(n),),
    )

# SPDX-License-Identifier: Apache-2.0
"""Steps that a model through two trials proposes, safe in any scale of values.

    secant            the zero of the line through two slopes: the minimiser of a parabola
    cubic_minimiser   the minimiser of the cubic through two values and two slopes

Neither is guaranteed to lie anywhere, or to be finite; the searches safeguard what they take from here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jopt.linesearch.conditions import Trial
from jopt.types import Scalar

# Ratio of two steps up to which a secant step between or beyond them is believed: a quadratic's minimiser is found by the
# second trial when the first is wrong by up to this factor, either way, and a line that only looks straight leads no
# farther astray than this.
REACH = 1e5


def secant(left: Trial, right: Trial) -> Scalar:
    """Return the zero of the line through two slopes.

    It is measured from the left trial, so that it keeps its relative accuracy when it is a small part of the right step.
    """
    return left.step + (right.step - left.step) * ratio(left.slope, left.slope - right.slope)


def believable(step: Scalar, left: Trial, right: Trial) -> jax.Array:
    """Return whether a step lies between two trials, and not below the right one by more than `REACH`."""
    return (step > left.step) & (step < right.step) & (step * REACH >= right.step)


def cubic_minimiser(a: Trial, b: Trial) -> tuple[Scalar, jax.Array]:
    """Return the minimiser of the cubic through two trials, and whether it lies beyond b, seen from a.

    Where the cubic has no minimiser the discriminant counts as zero. Nocedal and Wright (2006), eq. (3.59).
    """
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / nonzero(a.step - b.step)
    scale = jnp.maximum(jnp.abs(d1), jnp.maximum(jnp.abs(a.slope), jnp.abs(b.slope)))
    scale = nonzero(scale)
    root = jnp.sqrt(jnp.maximum(0.0, (d1 / scale) ** 2 - (a.slope / scale) * (b.slope / scale)))
    d2 = jnp.sign(b.step - a.step) * scale * root
    part = ratio(b.slope + d2 - d1, b.slope - a.slope + 2 * d2)
    return b.step - (b.step - a.step) * part, (part < 0) & (root != 0)


def nonzero(x: Scalar) -> Scalar:
    """Return x, or the smallest normal number in place of 0."""
    return jnp.where(x == 0, float(jnp.finfo(x.dtype).tiny), x)


def ratio(numerator: Scalar, denominator: Scalar) -> Scalar:
    """Return a quotient that is large, not undefined, where the denominator is 0."""
    return numerator / nonzero(denominator)

# SPDX-License-Identifier: Apache-2.0
r"""How the radius of a trust region follows from one trial, as named rules.

ratio is the decrease of the objective over what the model promised, |p| the length of the trial step:

    nocedal-wright      ratio < 1/4:  |p|/4;   ratio > 3/4 at the boundary:  2 radius
    conn-gould-toint    ratio < 0.01:  |p|/4;   ratio >= 0.95:  max(2.5 |p|, radius)
    lin-more            by the parabola through f(x), <g, p> and f(x + p), whose minimiser is alpha p:
                        ratio < 1e-3:  min(max(alpha, 1/4) |p|, radius/2);   ratio < 1/4:  alpha |p| within [1/4, 1/2] radius;
                        ratio < 3/4:  alpha |p| within [1/4, 4] radius;   otherwise:  alpha |p| within [1, 4] radius

Otherwise the radius stays. A trial that is not finite counts as ratio = -infinity, with alpha = 0.

References: Nocedal and Wright (2006), Numerical Optimization, Algorithm 4.1, doi:10.1007/978-0-387-40065-5; Conn, Gould
and Toint (2000), Trust-Region Methods, section 17.1, doi:10.1137/1.9780898719857; Lin and Moré (1999), Newton's method
for large bound-constrained optimization problems, SIAM J. Optim. 9(4), eq. (4.3), doi:10.1137/S1052623498345075.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt.types import Scalar

# |p| from this part of the radius on counts as a step to the boundary.
AT_BOUNDARY = 0.999


class Outcome(NamedTuple):
    """What one trial showed; scalars of one dtype.

    Attributes:
      radius: of the ball it was taken in, > 0.
      norm: |p|.
      slope: <g, p> < 0.
      decrease: f(x) - f(x + p), as far as it can be known.
      ratio: that over the model's promise; -infinity where the trial was not finite.
    """

    radius: Scalar
    norm: Scalar
    slope: Scalar
    decrease: Scalar
    ratio: Scalar


def nocedal_wright(outcome: Outcome) -> Scalar:
    """Return the radius by Nocedal and Wright (2006), Algorithm 4.1, shrinking from |p|."""
    radius, norm, _, _, ratio = outcome
    longer = (ratio > 0.75) & (norm >= AT_BOUNDARY * radius)
    return jnp.where(ratio < 0.25, norm / 4, jnp.where(longer, 2 * radius, radius))


def conn_gould_toint(outcome: Outcome) -> Scalar:
    """Return the radius by Conn, Gould and Toint (2000), section 17.1."""
    radius, norm, _, _, ratio = outcome
    longer = jnp.maximum(2.5 * norm, radius)
    return jnp.where(ratio < 0.01, norm / 4, jnp.where(ratio >= 0.95, longer, radius))


def lin_more(outcome: Outcome) -> Scalar:
    """Return the radius by Lin and Moré (1999), eq. (4.3)."""
    radius, norm, slope, decrease, ratio = outcome
    bend = -decrease - slope  # f(x + p) - f(x) - <g, p>
    alpha = jnp.where(bend > 0, -slope / (2 * jnp.where(bend > 0, bend, 1)), 4)
    alpha = jnp.where(ratio == -jnp.inf, 0, jnp.maximum(alpha, 0.25))
    wanted = alpha * norm
    rejected = jnp.minimum(jnp.maximum(alpha, 0.25) * norm, radius / 2)
    low = jnp.where(ratio < 0.75, 0.25, 1) * radius
    high = jnp.where(ratio < 0.25, 0.5, 4) * radius
    return jnp.where(ratio < 1e-3, rejected, jnp.clip(wanted, low, high))


RadiusRule = Callable[[Outcome], jax.Array]
"""`outcome -> radius`."""

RADIUS_RULES: dict[str, RadiusRule] = {
    "nocedal-wright": nocedal_wright,
    "conn-gould-toint": conn_gould_toint,
    "lin-more": lin_more,
}

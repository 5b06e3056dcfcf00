# SPDX-License-Identifier: Apache-2.0
r"""Boxes: lower <= x <= upper, entry by entry, with infinities where there is no bound.

    projection            P(x) = min(max(x, lower), upper)
    projected gradient    x - P(x - g) = min(max(g, x - upper), x - lower), taken in the second form, which does not cancel

Within a box the projected gradient has the part that the gradient has without one: it is zero at a point exactly where
no feasible direction descends to first order. An entry is *held* where x stands on a bound and -g points out of the box;
the others are *free*.

Reference: Bertsekas (1982), Projected Newton methods for optimization problems with simple constraints, SIAM J. Control
Optim. 20(2), doi:10.1137/0320018; Conn, Gould and Toint (2000), Trust-Region Methods, section 12.1.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.types import Params, Scalar


class Box(NamedTuple):
    """The bounds of a vector, or of a step from one.

    Attributes:
      lower: least values, a tree like the vector, -infinity where there is none.
      upper: largest values, a tree like the vector, infinity where there is none.
    """

    lower: Params
    upper: Params


def project(box: Box, x: Params) -> Params:
    """Return the point of the box nearest to x; a NaN stays one."""
    return jax.tree.map(jnp.clip, x, box.lower, box.upper)


def projected_gradient(box: Box, x: Params, g: Params) -> Params:
    """Return x - P(x - g), for x in the box."""
    return jax.tree.map(lambda x, g, low, high: jnp.clip(g, x - high, x - low), x, g, box.lower, box.upper)


def free(box: Box, x: Params, g: Params) -> Params:
    """Return a tree of booleans: which entries of x can go along -g, at least a little."""

    def leaf(x: jax.Array, g: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return ~(((x <= low) & (g > 0)) | ((x >= high) & (g < 0)))

    return jax.tree.map(leaf, x, g, box.lower, box.upper)


def steps_within(box: Box, x: Params) -> Box:
    """Return the box of the steps p for which x + p stays in the box, for x in it."""
    return Box(tree.sub(box.lower, x), tree.sub(box.upper, x))


def moved(box: Box, x: Params, p: Params) -> Params:
    """Return x + p in the box, exactly on a bound where p takes all the room that `steps_within` finds.

    Rounding of x + (lower - x) may miss the bound by a little, and the entry would seem free.
    """

    def leaf(x: jax.Array, p: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        inside = jnp.clip(x + p, low, high)
        return jnp.where(p <= low - x, low, jnp.where(p >= high - x, high, inside))

    return jax.tree.map(leaf, x, p, box.lower, box.upper)


def is_bounded(box: Box) -> jax.Array:
    """Return whether every entry has two bounds, bool."""
    finite = jax.tree.map(lambda low, high: jnp.all(jnp.isfinite(low) & jnp.isfinite(high)), box.lower, box.upper)
    return jnp.all(jnp.stack([jnp.bool_(True), *jax.tree.leaves(finite)]))


def longest(steps: Box, d: Params) -> Scalar:
    """Return the largest a with a d within a box of steps; infinity where no bound lies ahead.

    Args:
      steps: a box that holds zero, as of `steps_within`.
      d: a direction.
    """

    def leaf(d: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        room = jnp.where(d > 0, high, low)
        ratio = jnp.where(d == 0, jnp.inf, room / jnp.where(d == 0, 1, d))
        return jnp.min(ratio, initial=jnp.inf)

    dtype = tree.scalar_dtype(d)
    ratios = jax.tree.leaves(jax.tree.map(leaf, d, steps.lower, steps.upper))
    infinity = jnp.full((), jnp.inf, dtype)
    return jnp.min(jnp.stack([infinity, *(ratio.astype(dtype) for ratio in ratios)]))

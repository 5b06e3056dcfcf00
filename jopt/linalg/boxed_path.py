# SPDX-License-Identifier: Apache-2.0
r"""The points that a run within a box has passed, for shorter steps without a product.

Each kept point p_j is in the box, and with |p_j|, <g, p_j>, <p_j, A p_j> and <p_i, A p_j>, p_i the one kept before it,
the model m(p) = <g, p> + 1/2 <p, A p> is known on the line between the two and on the ray from 0 to either. A box that
holds 0 holds all three.

For a radius the run left for the last time between p_i and p_j, the step is the best of: p_i; the point of the line with
|p| = radius; the point of the ray to p_j with |p| = radius.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.linalg.steihaug import DOUBLING, Step
from jopt.types import Params, Scalar


class BoxedPath(NamedTuple):
    """Points of a run in slots; an empty slot holds zeros, at an infinite time. k is the number of slots.

    Attributes:
      points: p, tree like params with leaves of shape (k, ...).
      numbers: time, |p|, <g, p>, <p, A p> and <p', A p>, p' the point of the time before, as rows of shape (k, 5).
    """

    points: Params
    numbers: jax.Array


class Recorder(NamedTuple):
    """A path while it is written.

    Attributes:
      path: what is kept so far.
      time: of the next point, int32; it goes into slot `time` mod k, where the last one is overwritten unless it stayed.
      start: |p|^2 of the last point that stays, scalar.
    """

    path: BoxedPath
    time: jax.Array
    start: Scalar


def empty_boxed_path(params: Params, kept: int) -> BoxedPath:
    """Return a path without points.

    Args:
      params: tree of floating arrays.
      kept: slots, >= 1.
    """
    nothing = jnp.asarray([jnp.inf, jnp.inf, 0, 0, 0], tree.scalar_dtype(params))
    return BoxedPath(
        points=jax.tree.map(lambda x: jnp.broadcast_to(jnp.zeros_like(x), (kept, *x.shape)), params),
        numbers=tree.beside(jnp.broadcast_to(nothing, (kept, 5)), params),
    )


def record(recorder: Recorder, p: Params, pp: Scalar, gp: Scalar, a_p: Params) -> Recorder:
    """Return the recorder with one point more; it stays if |p| has doubled since the last one that did.

    Args:
      recorder: so far.
      p: the point.
      pp: |p|^2.
      gp: <g, p>.
      a_p: A p.
    """
    path, time, start = recorder
    slots = path.numbers.shape[0]
    slot, before = jnp.mod(time, slots), jnp.mod(time - 1, slots)
    previous = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, before, keepdims=False), path.points)
    mixed = jnp.where(time > 0, tree.vdot(previous, a_p), 0)
    row = jnp.stack([time.astype(pp.dtype), jnp.sqrt(pp), gp, tree.vdot(p, a_p), mixed])
    fresh = pp > DOUBLING * DOUBLING * start

    def write(rows: jax.Array, x: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(rows, x.astype(rows.dtype), slot, 0)

    return Recorder(
        path=jax.tree.map(write, path, BoxedPath(p, row)),
        time=time + fresh.astype(jnp.int32),
        start=jnp.where(fresh, pp, start),
    )


def shorten_boxed(path: BoxedPath, radius: Scalar) -> Step:
    """Return the step for a smaller radius from a run's path, without a product, within the run's box.

    Args:
      path: of a run with a radius larger than this one.
      radius: of the ball, > 0, scalar.

    Returns:
      The step, with |p| <= radius, and what the model says of it.
    """
    times, norms = path.numbers[:, 0], path.numbers[:, 1]
    within = (norms <= radius) & jnp.isfinite(times)
    i = jnp.argmax(jnp.where(within, times, -1))
    none_within = ~jnp.any(within)
    later = jnp.isfinite(times) & (none_within | (times > times[i]))
    j = jnp.where(jnp.any(later), jnp.argmin(jnp.where(later, times, jnp.inf)), i)
    near = jax.tree.map(lambda x: jnp.where(none_within, jnp.zeros_like(x[i]), x[i]), path.points)
    far = jax.tree.map(lambda x: x[j], path.points)
    _, _, slope_i, curve_i, _ = jnp.where(none_within, 0, path.numbers[i])
    _, norm_j, slope_j, curve_j, mixed_j = path.numbers[j]
    mixed_j = jnp.where(none_within, 0, mixed_j)
    t = jnp.where(jnp.any(later), crossing(near, tree.sub(far, near), radius), 0)
    ray = jnp.where(norm_j > radius, radius / jnp.where(norm_j > 0, norm_j, 1), 1)
    # The candidates as (weight of near, weight of far): the line, the ray, near alone.
    weights = jnp.stack([jnp.stack([1 - t, t]), jnp.stack([0 * ray, ray]), jnp.stack([0 * t + 1, 0 * t])])
    a, b = weights[:, 0], weights[:, 1]
    slopes = a * slope_i + b * slope_j
    decreases = -(slopes + (a * a * curve_i + 2 * a * b * mixed_j + b * b * curve_j) / 2)
    best = jnp.argmax(decreases)
    step = jax.tree.map(lambda x, y: _between(x, y, a[best], b[best]), near, far)
    unit, ratio = tree.scaled_norm(step)
    return Step(step, jnp.minimum(unit * ratio, radius), slopes[best], decreases[best])


def crossing(near: Params, along: Params, radius: Scalar) -> Scalar:
    """Return the t in [0, 1] with |near + t along| = radius, or 1 where that is further."""
    # In units of the radius, as long as |along|^2 is then a number.
    least = (tree.size(along) * float(jnp.finfo(radius.dtype).tiny)) ** 0.5
    length = jnp.maximum(radius, least * tree.max_abs(along).astype(radius.dtype))
    unit = tree.scale(1 / length, along), tree.scale(1 / length, near)
    dd, pd, pp = tree.vdot(unit[0], unit[0]), tree.vdot(*unit), tree.vdot(unit[1], unit[1])
    room = jnp.maximum(jnp.square(radius / length) - pp, 0)
    root = jnp.sqrt(pd * pd + dd * room)
    t = jnp.where(pd > 0, room / jnp.where(pd > 0, root + pd, 1), (root - pd) / jnp.where(dd > 0, dd, 1))
    return jnp.clip(t, 0, 1)


def _between(near: jax.Array, far: jax.Array, a: Scalar, b: Scalar) -> jax.Array:
    """Return a near + b far, which rounding does not carry beyond the three of near, far and 0."""
    wide = tree.wide(near.dtype)
    x, y = near.astype(wide), far.astype(wide)
    low, high = jnp.minimum(jnp.minimum(x, y), 0), jnp.maximum(jnp.maximum(x, y), 0)
    return jnp.clip(a.astype(wide) * x + b.astype(wide) * y, low, high).astype(near.dtype)


def in_units(path: BoxedPath, length: Scalar, work: Scalar) -> BoxedPath:
    """Return the path with lengths and works in other units."""
    one = jnp.ones_like(length)
    return BoxedPath(tree.scale(length, path.points), path.numbers * jnp.stack([one, length, work, work, work]))


__all__ = ["BoxedPath", "Recorder", "crossing", "empty_boxed_path", "in_units", "record", "shorten_boxed"]

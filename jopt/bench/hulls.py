# SPDX-License-Identifier: Apache-2.0
"""Stochastic and full gradients inside and outside the convex hull of the single minima.

    C_i(x) = a_i (x1 - u_i1)^2 + (x2 - u_i2)^2,      C = 1/n sum_i C_i      (`jopt.problems.finite_sum`)
    SGD: x' = x - rate grad C_i(x), i drawn at random;       GD: x' = x - rate grad C(x)

With a_i = 1 a stochastic step goes straight towards u_i. Outside the hull of the u_i every one of them therefore heads for
the hull, and SGD is about as good as GD; inside they pull against one another, and SGD wanders where GD goes on.

A step heads for the hull if the ray along it meets it: from x outside, if it lies between the two outermost corners as seen
from x, up to what rounding makes of a direction.

References: Liquet, Moka, Nazarathy (2024), Mathematical Engineering of Deep Learning, chapter 4; Andrew (1979), Another
efficient algorithm for convex hulls in two dimensions, doi:10.1016/0020-0190(79)90072-3 (the hull).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import problems, validate
from jopt.bench import trajectories
from jopt.bench.planar_records import Landscape

MINIMA = ((-1.0, 0.5), (0.0, -1.0), (2.0, 0.0), (1.0, 1.5), (0.5, 2.5))
"""The minimisers of the single terms: those of `jopt.problems.finite_sum`."""

_ROUNDING = 4.0
"""Rounding errors of a point in one step, in units of eps |x|: the step's direction is known no better than this over |d|."""


class StochasticPaths(NamedTuple):
    """One run of stochastic and one of full gradients, from the same start.

    Attributes:
      minima: u_i, shape (n, 2).
      hull: corners of their convex hull, counter-clockwise, shape (h, 2).
      best: the minimiser of the mean, shape (2,).
      rate: the learning rate of both.
      stochastic: points of SGD, shape (k + 1, 2).
      full: points of GD, shape (k + 1, 2).
      terms: index of the term that each stochastic step used, shape (k,).
      inside: whether each point of SGD but the last lies in the hull, shape (k,).
      heads: whether each stochastic step heads for the hull, true inside, shape (k,).
      landscape: the mean, over a rectangle around all points.
    """

    minima: np.ndarray
    hull: np.ndarray
    best: np.ndarray
    rate: float
    stochastic: np.ndarray
    full: np.ndarray
    terms: np.ndarray
    inside: np.ndarray
    heads: np.ndarray
    landscape: Landscape


def stochastic_paths(
    minima: Any = MINIMA,
    scales: Any = None,
    *,
    start: Sequence[float] = (5.0, 5.0),
    rate: float = 0.03,
    steps: int = 150,
    seed: int = 0,
) -> StochasticPaths:
    """Run stochastic and full gradient descent on a mean of quadratics in the plane.

    Args:
      minima: the minimisers u_i of the terms, shape (n, 2); equal ones make every stochastic gradient vanish there.
      scales: a_i > 0, shape (n,); None means 1 for all, for which stochastic steps head for the hull.
      start: of both runs, shape (2,).
      rate: learning rate of both, > 0.
      steps: >= 1.
      seed: of the terms drawn, a whole number >= 0.

    Raises:
      ValueError: if a shape or a number is out of its range.
      TypeError: if a number is none.

    Example:
      >>> from jopt.bench import hulls
      >>> bool(hulls.stochastic_paths(steps=50).heads.all())
      True
    """
    name = "stochastic_paths"
    validate.number(name, "rate", rate, low=0.0, low_open=True)
    validate.integer(name, "steps", steps, low=1)
    validate.integer(name, "seed", seed)
    minima = np.asarray(minima, np.float64)
    problem = problems.finite_sum(np.ones(len(minima)) if scales is None else scales, minima)
    chosen = np.random.default_rng(seed).integers(problem.n_terms, size=steps)
    of_terms: Any = problem.terms
    x0 = jnp.asarray(start, jnp.result_type(float))

    def one(x: jax.Array, index: jax.Array) -> jax.Array:
        return of_terms(x, index[None])[0]

    def stochastic(x: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        moved = x - rate * jax.grad(one)(x, index)
        return moved, moved

    def full(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        moved = x - rate * jax.grad(problem.fun)(x)
        return moved, moved

    paths = (jax.lax.scan(stochastic, x0, jnp.asarray(chosen))[1], jax.lax.scan(full, x0, None, length=steps)[1])
    sgd, gd = (np.concatenate([np.asarray(x0)[None], np.asarray(path)]).astype(np.float64) for path in paths)
    hull = convex_hull(minima)
    inside = np.asarray([contains(hull, x) for x in sgd[:-1]])
    moves = np.diff(sgd, axis=0)
    rounding = _ROUNDING * float(jnp.finfo(x0.dtype).eps)
    heads = inside | [heads_for(hull, x, d, rounding * _ratio(x, d)) for x, d in zip(sgd[:-1], moves, strict=True)]
    marks = np.concatenate([minima, sgd, gd])
    room = trajectories.MARGIN * float(np.ptp(marks, axis=0).max())
    ground = trajectories.landscape(problem.fun, marks.min(0) - room, marks.max(0) + room)
    best = np.asarray(problem.minimisers[0])
    return StochasticPaths(minima, hull, best, float(rate), sgd, gd, chosen, inside, heads, ground)


def convex_hull(points: np.ndarray) -> np.ndarray:
    """Return the corners of the convex hull, counter-clockwise; one or two points where all are equal or in line.

    Args:
      points: shape (n, 2), n >= 1.
    """
    ordered = sorted(set(map(tuple, np.asarray(points, np.float64).tolist())))
    if len(ordered) <= 2:
        return np.asarray(ordered)

    def chain(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        kept: list[tuple[float, ...]] = []
        for point in points:
            while len(kept) >= 2 and _turn(kept[-2], kept[-1], point) <= 0.0:
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.asarray(chain(ordered) + chain(ordered[::-1]))


def contains(hull: np.ndarray, point: np.ndarray) -> bool:
    """Return whether a point lies in a hull or on its border.

    Args:
      hull: corners as of `convex_hull`, at least three.
      point: shape (2,).
    """
    if len(hull) < 3:
        return bool((np.abs(hull - point).max(1) == 0.0).any())
    sides = [(a, b) for a, b in zip(hull, np.roll(hull, -1, axis=0), strict=True)]
    return all(_turn(a, b, point) >= 0.0 for a, b in sides)


def heads_for(hull: np.ndarray, point: np.ndarray, direction: np.ndarray, slack: float = 0.0) -> bool:
    """Return whether the ray from a point outside a hull along a direction meets it.

    Args:
      hull: corners as of `convex_hull`.
      point: shape (2,), not in the hull.
      direction: shape (2,), not zero.
      slack: angle by which the ray may miss, >= 0, radians.
    """
    corners = hull - point
    middle = corners.mean(0)  # seen from outside, all corners lie less than half a turn from their mean
    angles = [_angle(middle, corner) for corner in corners]
    return min(angles) - slack <= _angle(middle, direction) <= max(angles) + slack


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle from a to b, in (-pi, pi]."""
    return math.atan2(_cross(a, b), float(a @ b))


def _ratio(x: np.ndarray, d: np.ndarray) -> float:
    return float(np.linalg.norm(x) / np.linalg.norm(d)) if d.any() else math.inf


def _cross(a: Any, b: Any) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _turn(a: Any, b: Any, c: Any) -> float:
    """Return twice the area of a triangle, positive where it goes round counter-clockwise."""
    return _cross((b[0] - a[0], b[1] - a[1]), (c[0] - a[0], c[1] - a[1]))

# SPDX-License-Identifier: Apache-2.0
r"""Where a function is evaluated to check its derivative, and the one program that does it.

A direction moves the entries [low, high) of x, each by one unit up or down. The unit of entry j is a power of two near

    max(|x_j|, scale),

so that x_j +- t is exact for the steps t, powers of two too, but for a carry; the distance that was really gone is
measured all the same, and differences are divided by it. In these units a function that is smooth on the scale of x has
derivatives of one size, its round-off is eps |f|, and the best step of a centred difference is about eps^(1/3), whatever
the units of f and x (Gill, Murray and Wright 1981, section 8.6; Dennis and Schnabel 1996, section 5.4). Steps go
from 1/8 down by factors of 8 to that step and on to round-off, for functions that are not.

Round-off is measured, not assumed: along three directions that change every entry by one relative amount, the values at
equally spaced points near x scatter, and so does the derivative when x moves by an ulp or two and v is multiplied by a number, which is divided out again. eps is that of the least
precise values on the way from x to f(x): a part of f in half precision sets it for all.

References: Gill, Murray and Wright (1981), Practical Optimization, section 8.6; Dennis and Schnabel (1996), Numerical Methods
for Unconstrained Optimization and Nonlinear Equations, section 5.4, doi:10.1137/1.9781611971200.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from jopt import tree
from jopt.autodiff.richardson import Line, noise_level
from jopt.types import Params

# Steps are 2^-3, 2^-6, ...: large enough a ratio to reach round-off in a few, small enough for extrapolation to work.
OCTAVES = 3
# Further steps beyond round-off of an entry of the unit's size, for entries that are smaller.
FURTHER = 4
# Directions along which noise is measured, and points on each at one spacing.
NOISE_DIRECTIONS = 3
NOISE_POINTS = 8
# Spacings of these points, as powers of eps: smooth functions leave nothing of third differences there.
NOISE_SPACINGS = (1 / 2, 2 / 3, 5 / 6)
# A point counts as t away if it is, to this relative error: rounding x + t v to its dtype moves it.
OFF = 2.0**-6
# The scatter of a derivative, in the largest of the moves that it makes there.
MOVES = 3.0
# Relative error that a derivative has from rounded steps which no change of x reveals, in eps.
ROUNDED = 8.0
# Points, so many ulps of x away, at which the derivative is taken again to see how it scatters.
NUDGES = (-2.0, 2.0)


# Factors that the direction has there, divided out again: in exact arithmetic a derivative is linear.
FACTORS = (1.1, 0.9)


class Quantity(NamedTuple):
    """What is checked.

    Attributes:
      value: `(f, x, weights) -> array of shape (m,)`.
      derivative: `(f, x, weights) -> (v -> array of shape (m,))`, its derivative along v by automatic differentiation.
    """

    value: Callable[..., Any]
    derivative: Callable[..., Any]


class Directions(NamedTuple):
    """Directions, as the entries that they move; all fields of shape (d,).

    Attributes:
      low: first entry of the range, int32.
      high: end of the range, int32.
      row: which row of signs; int32. A range of one entry moves up.
      relative: whether the unit is |x_j| (zero for zero) instead of max(|x_j|, scale).
    """

    low: Any
    high: Any
    row: Any
    relative: Any


class Samples(NamedTuple):
    """What a function and its derivative are along d directions.

    Attributes:
      line: values at the steps, with fields of shape (d, m, K) and (d, m).
      derivative: by automatic differentiation, shape (d, m).
      scatter: how much that moves with x moved by an ulp or two and v multiplied by a number, shape (d, m).
      noise: bound on the random part of the values, shape (m,).
      eps: the relative error of the values, as given.
      pick: index of the step nearest to eps^(1/3).
      steps: the steps, shape (K,).
    """

    line: Line
    derivative: np.ndarray
    scatter: np.ndarray
    noise: np.ndarray
    eps: float
    pick: int
    steps: np.ndarray


def units(x: Params, scale: float | None) -> np.ndarray:
    """Return the units of all entries, shape (2, n): in row 0 those of size max(|x_j|, scale), in row 1 those of |x_j|.

    Args:
      x: a tree of floating arrays.
      scale: the size below which an entry counts as small, > 0; None takes the root mean square of each leaf, 1 for a
        leaf of zeros.
    """
    rows = []
    for leaf in jax.tree.leaves(x):
        size = np.abs(np.asarray(leaf, np.float64)).ravel()
        size = np.where(np.isfinite(size), size, 0.0)
        usual = (float(np.sqrt(np.mean(size**2))) if size.size else 0.0) if scale is None else scale
        rows.append((np.maximum(size, usual or 1.0), size))
    absolute, relative = (np.concatenate(part) for part in zip(*rows, strict=True))
    relative = relative if relative.any() else absolute
    return np.stack([power_of_two(absolute), power_of_two(relative)])


def coordinates(count: int) -> Directions:
    """Return one direction for each of `count` entries."""
    entries = np.arange(count, dtype=np.int32)
    return Directions(entries, entries + np.int32(1), np.zeros_like(entries), np.zeros(count, bool))


def along(low: int, high: int, directions: int) -> Directions:
    """Return random directions over a range of entries."""
    rows = NOISE_DIRECTIONS + np.arange(directions, dtype=np.int32)
    first, end = (np.full(directions, entry, np.int32) for entry in (low, high))
    return Directions(first, end, rows, np.zeros(directions, bool))


def step_ladder(eps: float) -> tuple[np.ndarray, int]:
    """Return the steps, from the largest to the smallest, and the index of the one nearest to eps^(1/3)."""
    bits = -math.log2(eps)
    count = math.ceil(bits / OCTAVES) + FURTHER
    steps = 2.0 ** -(OCTAVES * np.arange(1.0, count + 1))
    return steps, int(np.abs(np.log(steps) - math.log(eps) / 3).argmin())


def fresh(f: Any) -> Any:
    """Return f as a function that no cache knows; what cannot be called as it is.

    JAX keeps programs by function. What f calls may have been defined anew since, with a right rule for a wrong one: a
    public function that traces f does so anew.
    """
    return (lambda x: f(x)) if callable(f) else f


def precision(f: Callable[..., Any], x: Params) -> float:
    """Return the machine epsilon of the least precise values that f(x) is made of, x and f(x) among them."""
    program = jax.make_jaxpr(f)(x).jaxpr
    return max((float(jnp.finfo(dtype).eps) for dtype in _dtypes(program)), default=tree.coarsest_eps(x))


def _dtypes(program: Jaxpr) -> set[Any]:
    """Return the floating dtypes in a program and all that it calls."""
    values = [*program.invars, *(v for equation in program.eqns for v in equation.outvars), *program.outvars]
    found = {dtype for v in values if jnp.issubdtype(dtype := getattr(v.aval, "dtype", jnp.int32), jnp.floating)}
    for equation in program.eqns:
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda a: isinstance(a, (ClosedJaxpr, Jaxpr))):
            if isinstance(inner, (ClosedJaxpr, Jaxpr)):
                found |= _dtypes(inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner)
    return found


def evaluator(quantity: Quantity, f: Callable[..., Any], batch: int | None) -> Callable[..., Any]:
    """Return the program that `sample` runs: compiled once for all samples of so many directions.

    Args:
      quantity: what is checked.
      f: the user's function.
      batch: trial points evaluated at once; None: one after another, without `vmap`.
    """
    return jax.jit(lambda *points: _evaluated(quantity, f, batch, *points))


def sample(
    evaluate: Callable[..., Any],
    x: Params,
    weights: Any,
    directions: Directions,
    scales: np.ndarray,
    signs: np.ndarray,
    eps: float,
) -> Samples:
    """Evaluate a quantity and its derivative at all points that a check needs, in one program.

    Args:
      evaluate: the program, from `evaluator`.
      x: a tree of floating arrays, at least one entry.
      weights: a tree like f(x).
      directions: where to go.
      scales: the units, from `units`.
      signs: rows of signs, from `random_signs`.
      eps: the relative error of the values, from `precision`.
    """
    wide = tree.scalar_dtype(x)
    steps, pick = step_ladder(float(jnp.finfo(wide).eps))
    noisy = _noise_directions(scales.shape[1])
    every = Directions(*(np.concatenate(pair) for pair in zip(noisy, directions, strict=True)))
    points = 2 * len(steps) + 1
    ladder = np.concatenate([steps, -steps, [0.0]])
    near = _noise_points(points, eps)
    trials = np.stack([*[near] * NOISE_DIRECTIONS, *[ladder] * len(directions.low)]).astype(wide)
    nudges = np.array([[0.0, 1.0], *itertools.product(NUDGES, FACTORS)]) * [eps, 1.0]
    made = evaluate(x, weights, every, trials, nudges.astype(wide), scales.astype(wide), signs)
    values, gone, derivatives = (np.asarray(array, np.float64) for array in made)
    return _samples(values, gone, derivatives, steps, eps, pick)


def _samples(
    values: np.ndarray, gone: np.ndarray, derivatives: np.ndarray, steps: np.ndarray, eps: float, pick: int
) -> Samples:
    rows = values[:NOISE_DIRECTIONS]  # (directions, points, m)
    size = NOISE_POINTS * len(NOISE_SPACINGS)
    noise = noise_level(rows[:, :size].reshape(len(rows), -1, NOISE_POINTS, rows.shape[2]), eps)
    values, gone = np.moveaxis(values[NOISE_DIRECTIONS:], 1, 2), gone[NOISE_DIRECTIONS:, None, :]
    count = len(steps)
    both = (np.where(np.abs(a - steps) <= OFF * steps, a, 0.0) for a in (gone[..., :count], -gone[..., count:-1]))
    up, down = (np.broadcast_to(a, values[..., :count].shape) for a in both)
    line = Line(values[..., :count], values[..., count:-1], values[..., -1], up, down)
    there, nearby = derivatives[0, NOISE_DIRECTIONS:], derivatives[1:, NOISE_DIRECTIONS:]
    with np.errstate(all="ignore"):
        moved = np.abs(nearby - there)
    scatter = MOVES * np.where(np.isfinite(moved), moved, 0.0).max(axis=0) + ROUNDED * eps * np.abs(there)
    return Samples(line, there, scatter, noise, eps, pick, steps)


def _evaluated(
    quantity: Quantity,
    f: Callable[..., Any],
    batch: int | None,
    x: Params,
    weights: Any,
    directions: Directions,
    trials: Any,
    nudges: Any,
    scales: Any,
    signs: Any,
) -> Any:
    """Return values (d, B, m), distances gone (d, B) and derivatives (nudges, d, m)."""
    vector, unravel = tree.ravel(x)

    def line(at: tuple[Directions, jax.Array]) -> Any:
        v = direction(at[0], scales, signs)
        square = jnp.sum(v * v)

        def value(t: jax.Array) -> Any:
            point = unravel(vector + t * v)
            moved = tree.ravel(point)[0] - vector
            return quantity.value(f, point, weights), jnp.sum(moved * v) / square

        return jax.lax.map(value, at[1], batch_size=batch)

    def derivative(at: tuple[jax.Array, jax.Array]) -> Any:
        (nudge, factor), k = at
        first = Directions(*(jnp.asarray(field)[k] for field in directions))
        product = quantity.derivative(f, unravel(vector + nudge * direction(first, scales, signs)), weights)
        return jax.lax.map(lambda one: product(unravel(factor * direction(one, scales, signs))) / factor, directions)

    values, gone = jax.lax.map(line, (directions, trials))
    # After the point itself the first two noise directions, in turn, there and back.
    return values, gone, jax.lax.map(derivative, (nudges, jnp.asarray([0, 0, 1, 1, 0], jnp.int32)))


def direction(one: Directions, scales: jax.Array, signs: jax.Array) -> jax.Array:
    """Return a direction as a vector; ranges of one entry have the sign +."""
    entry = jnp.arange(scales.shape[1], dtype=jnp.int32)
    sign = jnp.asarray(signs)[one.row].astype(scales.dtype)
    sign = jnp.where(one.high - one.low == 1, jnp.ones_like(sign), sign)
    unit = jnp.where(one.relative, scales[1], scales[0])
    return jnp.where((entry >= one.low) & (entry < one.high), sign * unit, jnp.zeros_like(unit))


def random_signs(key: jax.Array, directions: int, count: int) -> np.ndarray:
    """Return rows of random signs, those of the noise directions first; shape (NOISE_DIRECTIONS + directions, count)."""
    seed = np.asarray(jax.random.bits(key, (4,), jnp.uint32)).tolist()
    bits = np.random.default_rng(seed).integers(0, 2, (NOISE_DIRECTIONS + directions, count), np.int8)
    return 2 * bits - np.int8(1)


def _noise_directions(count: int) -> Directions:
    """Return directions over all entries, with signs of their own."""
    low, high = np.zeros(NOISE_DIRECTIONS, np.int32), np.full(NOISE_DIRECTIONS, count, np.int32)
    return Directions(low, high, np.arange(NOISE_DIRECTIONS, dtype=np.int32), np.ones(NOISE_DIRECTIONS, bool))


def _noise_points(count: int, eps: float) -> np.ndarray:
    """Return `count` steps: a row of equally spaced points about 0 for each spacing, and zeros."""
    index = np.arange(NOISE_POINTS) - NOISE_POINTS // 2
    rows = [index * power_of_two(eps**power) for power in NOISE_SPACINGS]
    return np.concatenate([*rows, np.zeros(count - NOISE_POINTS * len(rows))])


def power_of_two(size: Any) -> np.ndarray:
    """Return the powers of two next to positive numbers, zero for zero."""
    with np.errstate(divide="ignore"):
        return np.where(np.greater(size, 0), np.exp2(np.round(np.log2(size))), 0.0)

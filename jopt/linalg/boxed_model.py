# SPDX-License-Identifier: Apache-2.0
r"""The minimiser, nearly, of a model with a limited-memory BFGS matrix within a box: the step of L-BFGS-B.

    minimise  m(p) = <g, p> + 1/2 <p, B p>   subject to  lower <= p <= upper,    lower <= 0 <= upper

1. *Cauchy's point*: a low point on the projected path p(t) = P(-t g). Its slope along the path, <g + B p(t), v(t)> with
   v(t) the part of -g that has not met a bound yet, is brought near zero by Newton's method on the path, held within what
   brackets the zero; each trial t costs W'p and W'v, one pass over the pairs. No breakpoint is computed or sorted, so a
   tree spread over devices stays where it is.
2. *The face's minimiser*: on the entries F strictly within the box, p <- p - (B_FF)^-1 (g + B p)_F.
3. *Back into the box*: both the projection of that point and the last point of the box on the way to it are looked at,
   and p moves to the one where m is lower, if it is lower than at Cauchy's point. With projection several bounds are met at once; the way
   to it never raises m.

Steps 2 and 3 are repeated on the face reached, where fewer entries are left.

References: Byrd, Lu, Nocedal and Zhu (1995), sections 4 and 5, doi:10.1137/0916069; Moré and Toraldo (1991), On the
solution of large quadratic programming problems with bound constraints, SIAM J. Optim. 1(1), doi:10.1137/0801008, and
Lin and Moré (1999), Newton's method for large bound-constrained optimization problems, SIAM J. Optim. 9(4),
doi:10.1137/S1052623498345075, for a projected search in the place of breakpoints; Morales and Nocedal (2011), Remark on
algorithm 778, ACM TOMS 38(1), doi:10.1145/1916461.1916464, for the projection of the face's minimiser.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import scalars, tree
from jopt.linalg import compact
from jopt.linalg.box import Box, longest, project
from jopt.linalg.compact import Compact
from jopt.types import Params, Scalar

# Part of the path's first slope that may remain at Cauchy's point, and trials allowed to get there. Neither decides
# whether the step descends: the lowest trial is taken.
FLAT = 0.1
MOST_TRIALS = 10
# Faces visited after Cauchy's point.
FACES = 2


class _Search(NamedTuple):
    """Where Newton's method on the path stands.

    Attributes:
      t: the next trial. low, high: what brackets the zero of the slope.
      best: the trial where m is lowest, with m there. first: |slope| at zero. trials: made so far, int32.
      over: whether the slope is flat enough, bool.
    """

    t: Scalar
    low: Scalar
    high: Scalar
    best: Scalar
    value: Scalar
    first: Scalar
    trials: jax.Array
    over: jax.Array


def minimise(b: Compact, g: Params, steps: Box) -> tuple[Params, Scalar]:
    """Return a step within a box that nearly minimises the model, and the model's value there.

    Args:
      b: B.
      g: the gradient, a tree of at least float32.
      steps: the box, which holds zero; trees like g.

    Returns:
      p, no higher on the model than the lowest trial on the projected path, and m(p) < 0; zero where there is none.
    """
    p = _cauchy(b, g, steps)
    w_p = compact.along(b, p)

    def visit(_: jax.Array, carry: tuple[Params, jax.Array, Scalar]) -> tuple[Params, jax.Array, Scalar]:
        return _descend_in_face(b, g, steps, *carry)

    p, _, value = jax.lax.fori_loop(0, FACES, visit, (p, w_p, _value(b, g, p, w_p)))
    return p, value


def _value(b: Compact, g: Params, p: Params, w_p: jax.Array) -> Scalar:
    """Return m(p), given W'p."""
    return tree.vdot(g, p) + 0.5 * compact.form(b, tree.vdot(p, p), w_p, w_p)


def _cauchy(b: Compact, g: Params, steps: Box) -> Params:
    """Return the point of the projected path where the lowest value of the model was seen."""
    zero = jnp.zeros_like(b.theta)
    infinity = jnp.full_like(zero, jnp.inf)
    start = _Search(zero, zero, infinity, zero, zero, zero, jnp.zeros((), jnp.int32), jnp.bool_(False))

    def going(s: _Search) -> jax.Array:
        return ~s.over & (s.trials < MOST_TRIALS)

    def body(s: _Search) -> _Search:
        p, v = _on_path(g, steps, s.t)
        w_p, w_v = compact.along(b, p), compact.along(b, v)
        vv = tree.vdot(v, v)
        value = _value(b, g, p, w_p)
        slope = compact.form(b, tree.vdot(p, v), w_p, w_v) - vv
        # B is positive definite; where rounding hides it, theta stands for its curvature.
        curvature = compact.form(b, vv, w_v, w_v)
        curvature = jnp.where(curvature > 0, curvature, b.theta * vv)
        low, high = jnp.where(slope < 0, s.t, s.low), jnp.where(slope < 0, s.high, s.t)
        newton = s.t - slope / jnp.where(curvature > 0, curvature, 1)
        first = jnp.where(s.trials == 0, -slope, s.first)
        lower = value < s.value
        return _Search(
            t=jnp.where((newton > low) & (newton < high), newton, low + 0.5 * (high - low)),
            low=low,
            high=high,
            best=jnp.where(lower, s.t, s.best),
            value=jnp.where(lower, value, s.value),
            first=first,
            trials=s.trials + 1,
            over=~(jnp.abs(slope) > FLAT * first) | ((s.trials == 0) & ~(slope < 0)),
        )

    pack, unpack = scalars.packing(start)
    found = jax.lax.while_loop(lambda s: going(unpack(s)), lambda s: pack(body(unpack(s))), pack(start))
    return _on_path(g, steps, unpack(found).best)[0]


def _on_path(g: Params, steps: Box, t: Scalar) -> tuple[Params, Params]:
    """Return P(-t g), and -g where it has met no bound, zero elsewhere."""

    def leaf(g: jax.Array, low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
        along = -t.astype(g.dtype) * g
        # At t = 0 as on its way: an entry on a bound that -g leads out of has met it.
        met = ((along <= low) & (g > 0)) | ((along >= high) & (g < 0))
        return jnp.clip(along, low, high), jnp.where(met, 0, -g)

    p, v = tree.map_unzip(leaf, 2, g, steps.lower, steps.upper)
    return p, v


def _descend_in_face(
    b: Compact, g: Params, steps: Box, p: Params, w_p: jax.Array, value: Scalar
) -> tuple[Params, jax.Array, Scalar]:
    """Go to the minimiser of the face, or as far as lowers the model; return the point with W'p and m(p)."""
    free = jax.tree.map(lambda p, low, high: (p > low) & (p < high), p, steps.lower, steps.upper)
    residual = jax.tree.map(lambda f, g, bp: jnp.where(f, g + bp, 0), free, g, compact.product(b, p, w_p))
    d = tree.negative(compact.solve(b, compact.reduced(b, free), residual))
    projected = project(steps, tree.axpy(1, d, p))
    room = Box(tree.sub(steps.lower, p), tree.sub(steps.upper, p))
    a = jnp.minimum(1, longest(room, d))
    stopped = project(steps, tree.axpy(a, d, p))
    here = (p, w_p, value)
    for other in (stopped, projected):
        w_other = compact.along(b, other)
        there = (other, w_other, _value(b, g, other, w_other))
        here = tree.where(there[2] < here[2], there, here)
    return here

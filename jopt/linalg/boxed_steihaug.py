# SPDX-License-Identifier: Apache-2.0
r"""Conjugate gradients on a quadratic model within a box and a ball.

    minimise  m(p) = <g, p> + 1/2 <p, A p>   subject to  lower <= p <= upper,  |p| <= radius

The run goes in rounds. A round begins by fixing the *held* entries: those on a bound where -r points out of the box, r the
model's gradient g + A p. On the others, the *free* ones, it runs conjugate gradients from d = -r. Its steps are of two kinds:

    straight   the next point p + a d is in the box: an ordinary step
    bent       it is not: the candidate is P(p + a d), P the projection on the box. It is taken where it lowers the model
               enough, m(P(p + a d)) - m(p) <= 0.01 <r, P(p + a d) - p>; otherwise a is shortened, at last to the first
               bound on the way, up to which the model is known to fall. A bent step ends the round.

A round ends as well where the residual on the free entries is small enough, or smaller than the gradient on the held
entries that could now leave their bounds. The first step of each round is a projected gradient step with sufficient
decrease; so the run tends to a point without descent whatever the bounds do, and the first never ends above Cauchy's
value. Many entries arrive at their bounds in one bent step, and one that has little room shortens no more than the one
step, because it is held in the next round.

Each trip of the loop makes one product with A: with d, or with the difference P(p + a d) - p, which gives the model at the
candidate, and its gradient if it is taken. Where <d, A d> <= 0 it goes to the ball or, bent, to
the bounds on the way. Without a ball it goes |r|^2 / |<d, A d>| along d, the step that the opposite curvature would make,
bent or not, and ends there.

All is computed for p and g in units that are powers of two, so that squares neither overflow nor vanish and a point
on a bound stays exactly on it.

References: Lin and Moré (1999), Newton's method for large bound-constrained optimization problems, SIAM J. Optim. 9(4),
doi:10.1137/S1052623498345075; Moré and Toraldo (1991), On the solution of large quadratic programming problems with bound
constraints, SIAM J. Optim. 1(1), doi:10.1137/0801008; Dostál and Schöberl (2005), Minimizing quadratic functions subject
to bound constraints, Comput. Optim. Appl. 30, doi:10.1007/s10589-005-4557-7, for leaving a round when the releasable part
of the gradient is the larger; Steihaug (1983), doi:10.1137/0720042.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, scalars, tree, validate
from jopt.linalg.box import Box, project
from jopt.linalg.boxed_path import BoxedPath, Recorder, empty_boxed_path, in_units
from jopt.linalg.boxed_rounds import Carry, Rule, on_free, trip
from jopt.linalg.operators import Operator, applied
from jopt.linalg.steihaug import KEPT, Step
from jopt.status import KrylovStatus, first_of
from jopt.types import Params, Scalar

# Products allowed unless the caller says: twice Steihaug's budget, because a bent step takes two.
BUDGET_PER_UNKNOWN = 4
LEAST_BUDGET = 40


class BoxedResult(NamedTuple):
    """What a run returns.

    Attributes:
      step: the step, in the box exactly, with what the model says of it.
      path: the points for smaller radii (`jopt.linalg.boxed_path.shorten_boxed`); None if none are kept.
      status: a `jopt.status.KrylovStatus`, int32.
      nhev: products made, int32.
      residual: g + A p on the free entries, zero on the held ones, a tree like g.
      residual_norm: its norm over that of g on the entries free at first; 0 where that is 0.
      curvature: <d, A d> / <d, d> of the last direction.
    """

    step: Step
    path: BoxedPath | None
    status: jax.Array
    nhev: jax.Array
    residual: Params
    residual_norm: Scalar
    curvature: Scalar

    __repr__ = report.record


def boxed_steihaug(
    operator: Operator,
    grads: Params,
    steps: Box,
    radius: Any,
    *,
    rtol: Any = 1e-5,
    atol: Any = 0.0,
    maxiter: Any = None,
    kept: int = KEPT,
) -> BoxedResult:
    """Minimise a quadratic model within a box and a ball, by products alone.

    Args:
      operator: v -> A v on trees like `grads`; A symmetric, not necessarily positive definite.
      grads: g, a tree of floating arrays; bfloat16 leaves are computed in float32.
      steps: the box, trees like `grads`; it must hold 0, as that of `jopt.linalg.box.steps_within`.
      radius: of the ball, > 0, perhaps infinite; a number or a scalar.
      rtol: the run stops where |g + A p| <= rtol |g| in [0, 1), both on the entries then free; a number or a scalar.
      atol: or where |g + A p| on them is at most this, >= 0; a number or a scalar.
      maxiter: products at most, >= 1; None means 4 n, and at least 40.
      kept: points to keep for smaller radii, >= 0; memory of as many trees.

    Returns:
      A `BoxedResult`. Its status is CONVERGED; BOUNDARY (of the ball) or NEGATIVE_CURVATURE (followed to the ball, or
      without one by the mirrored step); MAX_ITERATIONS; LITTLE_PROGRESS, where steps are lost in rounding; or
      NONFINITE: a product or g is not finite, or a traced radius not positive, and the step is the last finite iterate.

    Raises:
      TypeError: if the operator cannot be called, or an argument is not of its kind.
      ValueError: if a number is outside its range, or the operator or the box has another tree than `grads`.

    Reference:
      Lin and Moré (1999), Newton's method for large bound-constrained optimization problems, sections 3 and 4,
      doi:10.1137/S1052623498345075; Moré and Toraldo (1991), doi:10.1137/0801008.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.linalg import boxed_steihaug
      >>> from jopt.linalg.box import Box
      >>> steps = Box(jnp.array([-0.5, -9.0]), jnp.array([0.5, 9.0]))
      >>> found = boxed_steihaug(lambda v: 2.0 * v, jnp.array([2.0, 4.0]), steps, radius=jnp.inf)
      >>> bool(jnp.allclose(found.step.step, jnp.array([-0.5, -2.0])))
      True
    """
    grads = _checked(grads, steps, radius, rtol, atol, kept)
    n = tree.size(grads)
    if maxiter is None:
        maxiter = max(BUDGET_PER_UNKNOWN * n, LEAST_BUDGET)
    budget = validate.integer("boxed_steihaug", "maxiter", maxiter, low=1)
    rule, d, units = _prepare(grads, steps, radius, (rtol, atol), budget)
    unit, length, _ = units

    def scaled(v: Params) -> Params:
        return tree.scale(length / unit, _widened(applied("boxed_steihaug", operator, tree.cast(v, grads))))

    rr, g = jnp.square(rule.first), rule.g
    broken = ~(jnp.isfinite(tree.max_abs(grads)) & (rule.radius > 0))
    zero, nothing = jnp.zeros_like(rr), jnp.zeros((), jnp.int32)
    carry = Carry(
        p=tree.zeros_like(g), r=g, d=d, rr=rr, pp=zero, size=zero, top=zero, curvature=zero, a=zero, least=zero, tries=nothing,
        steepest=jnp.bool_(True), recorder=Recorder(empty_boxed_path(g, kept), nothing, zero) if kept else None, k=nothing,
        status=first_of((broken, KrylovStatus.NONFINITE), (rr == 0, KrylovStatus.CONVERGED), otherwise=0),
    )  # fmt: skip
    pack, unpack = scalars.packing(carry)  # a loop pays for each array that it carries
    last = jax.lax.while_loop(
        lambda c: unpack(c).status == KrylovStatus.RUNNING,
        lambda c: pack(trip(scaled, rule, unpack(c))),
        pack(carry),
    )
    return _result(rule, unpack(last), grads, steps, units)


def _prepare(
    grads: Params, steps: Box, radius: Any, tolerances: tuple[Any, Any], budget: Any
) -> tuple[Rule, Params, tuple[Scalar, Scalar, Scalar]]:
    """Return what does not change, the first direction, and the units of gradients, steps and the model.

    The gradient's unit is that of its largest free entry: a held one may be larger by more than squares can hold.
    """
    dtype = tree.scalar_dtype(grads)
    radius = jnp.asarray(radius).astype(dtype)
    steps = tree.cast(steps, Box(grads, grads))
    freed = on_free(steps, tree.zeros_like(grads), grads, grads)
    top = tree.max_abs(freed)
    unit = _binary(jnp.where(top > 0, top, tree.max_abs(grads)))
    length = jnp.where(jnp.isinf(radius), unit, _binary(radius))
    d = tree.scale(-1 / unit, _widened(freed))
    rule = Rule(
        g=tree.scale(1 / unit, _widened(grads)),
        box=tree.scale(1 / length, _widened(steps)),
        radius=radius / length,
        first=jnp.sqrt(tree.vdot(d, d)),
        rtol=jnp.asarray(tolerances[0]).astype(dtype),
        atol=jnp.asarray(tolerances[1]).astype(dtype) / unit,
        eps=tree.coarsest_eps(grads),
        budget=budget,
    )
    return rule, d, (unit, length, length * unit)


def _result(rule: Rule, c: Carry, grads: Params, steps: Box, units: tuple[Scalar, Scalar, Scalar]) -> BoxedResult:
    unit, length, work = units
    gp = tree.vdot(rule.g, c.p)
    p_a_p = tree.vdot(c.r, c.p) - gp
    norm = jnp.minimum(jnp.sqrt(tree.vdot(c.p, c.p)), rule.radius) * length
    p = project(tree.cast(steps, Box(grads, grads)), tree.cast(tree.scale(length, c.p), grads))
    path = None if c.recorder is None else in_units(c.recorder.path, length, work)
    residual = on_free(rule.box, c.p, c.r, c.r)
    reached = jnp.sqrt(tree.vdot(residual, residual))
    return BoxedResult(
        step=Step(p, norm, gp * work, -(gp + p_a_p / 2) * work),
        path=None if path is None else path._replace(points=tree.cast(path.points, grads)),
        status=c.status,
        nhev=c.k,
        residual=tree.cast(tree.scale(unit, residual), grads),
        residual_norm=reached / jnp.where(rule.first > 0, rule.first, 1),
        curvature=c.curvature * (unit / length),
    )


def _binary(x: Scalar) -> Scalar:
    """Return the power of two above x, within the range where its reciprocal is a normal number; that of 1 for a NaN."""
    low = jnp.finfo(x.dtype).tiny
    x = jnp.where(jnp.isnan(x), 1, jnp.clip(x, 2 * low, 0.25 / low))
    return x / jnp.frexp(x)[0]


def _widened(a: Params) -> Params:
    return jax.tree.map(lambda x: x.astype(tree.wide(x.dtype)), a)


def _checked(grads: Params, steps: Box, radius: Any, rtol: Any, atol: Any, kept: int) -> Params:
    name = "boxed_steihaug"
    validate.number(name, "radius", radius, low=0.0, low_open=True)
    validate.number(name, "rtol", rtol, low=0.0, high=1.0, high_open=True)
    validate.number(name, "atol", atol, low=0.0)
    validate.integer(name, "kept", kept, low=0)
    grads = tree.as_parameters(name, "grads", grads)
    if not isinstance(steps, Box):
        msg = f"{name}: steps must be a Box of the least and the largest step, got {type(steps).__name__}."
        raise TypeError(msg)
    tree.check_like(name, "steps.lower", steps.lower, "grads", grads)
    tree.check_like(name, "steps.upper", steps.upper, "grads", grads)
    return grads


__all__ = ["BoxedResult", "boxed_steihaug"]

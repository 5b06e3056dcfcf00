# SPDX-License-Identifier: Apache-2.0
r"""The step of Steihaug and Toint: conjugate gradients on a quadratic model within a ball.

    minimise  m(p) = <g, p> + 1/2 <p, A p>   subject to  |p| <= radius

Conjugate gradients from p = 0 lower m and lengthen p in every step. They stop where the residual |g + A p| is at most
rtol |g|; where the next point would leave the ball: at the boundary on the way to it; where a direction of curvature
<d, A d> <= 0 shows: at the boundary along it, at that of the two ends where m is lower; or when the products are spent.
The first step is Cauchy's, so m never ends above Cauchy's value. One product with A an iteration, two inner products.

All is computed for p / radius and g / max|g|: then squares of long or short vectors neither overflow nor vanish.

The *path* keeps a few iterates: the first after each doubling of |p|, and the last. The step for a smaller radius lies
on the same path, so a rejected step costs no new product: between two kept iterates the model falls, and is known from
<g, p> and <p, A p> alone, because conjugate gradients make <p_i, A p_j> = -<g, p_i> for i < j; below the shortest it is
known along the ray. As long as the first iterate is kept, the shorter step too is at least as good as Cauchy's.

References: Steihaug (1983), The conjugate gradient method and trust regions in large scale optimization, SIAM J. Numer.
Anal. 20(3), doi:10.1137/0720042; Toint (1981), Towards an efficient sparsity exploiting Newton method for minimization;
Conn, Gould and Toint (2000), Trust-Region Methods, section 7.5.1, doi:10.1137/1.9780898719857.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, scalars, tree, validate
from jopt.linalg.operators import Operator, applied
from jopt.status import KrylovStatus, first_of
from jopt.types import Params, Scalar

# Iterates that a path keeps: with one for each doubling of |p|, radii down to an eighth of the step are on the path.
KEPT = 4
DOUBLING = 2.0


class Path(NamedTuple):
    """The last iterates of a run, in slots; an empty slot holds zeros. k is the number of slots.

    Attributes:
      points: p, tree like params with leaves of shape (k, ...).
      numbers: |p|, <g, p> and <p, A p> as rows of shape (k, 3); |p| is infinite where the slot is empty.
    """

    points: Params
    numbers: jax.Array

    @property
    def norms(self) -> jax.Array:
        """Return |p|, shape (k,)."""
        return self.numbers[:, 0]


class Step(NamedTuple):
    """A step of a quadratic model.

    Attributes:
      step: p, a tree like g.
      norm: |p|.
      slope: <g, p>.
      decrease: -m(p) >= 0.
    """

    step: Params
    norm: Scalar
    slope: Scalar
    decrease: Scalar


class SteihaugResult(NamedTuple):
    """What a run returns.

    Attributes:
      step: the step with what the model says of it.
      path: the iterates for smaller radii.
      status: a `jopt.status.KrylovStatus`, int32.
      nhev: products made, int32.
    """

    step: Step
    path: Path
    status: jax.Array
    nhev: jax.Array

    __repr__ = report.record


class _Carry(NamedTuple):
    """What the iteration carries, in units of radius for p and of |g|_inf for r and d.

    Attributes:
      p: the iterate. r: residual g + A p. d: direction.
      rr: |r|^2. pp: |p|^2. pd: <p, d>. dd: |d|^2. gp: <g, p>.
      path: the iterates kept; slot: where the next goes; start: |p|^2 of the last one that stays.
      k: products made, int32. status: int32.
    """

    p: Params
    r: Params
    d: Params
    rr: Scalar
    pp: Scalar
    pd: Scalar
    dd: Scalar
    gp: Scalar
    path: Path
    slot: jax.Array
    start: Scalar
    k: jax.Array
    status: jax.Array


def empty_path(params: Params, kept: int = KEPT) -> Path:
    """Return a path without iterates.

    Args:
      params: tree of floating arrays.
      kept: slots, >= 1.
    """
    dtype = tree.scalar_dtype(params)
    return Path(
        points=jax.tree.map(lambda x: jnp.broadcast_to(jnp.zeros_like(x), (kept, *x.shape)), params),
        numbers=tree.beside(jnp.broadcast_to(jnp.asarray([jnp.inf, 0, 0], dtype), (kept, 3)), params),
    )


def steihaug(
    operator: Operator,
    grads: Params,
    radius: Any,
    *,
    rtol: Any = 1e-5,
    maxiter: int | None = None,
    kept: int = KEPT,
) -> SteihaugResult:
    """Minimise a quadratic model within a ball by truncated conjugate gradients.

    Args:
      operator: v -> A v on trees like `grads`; A symmetric, not necessarily positive definite.
      grads: g, a tree of floating arrays.
      radius: of the ball, > 0; a number or a scalar.
      rtol: the run stops where |g + A p| <= rtol |g|, in [0, 1]; a number or a scalar.
      maxiter: products at most, >= 1; None means 2 n, and at least 20.
      kept: iterates to keep for smaller radii, >= 1; memory of as many trees.

    Returns:
      A `SteihaugResult`. Its status is CONVERGED, BOUNDARY, NEGATIVE_CURVATURE (the step is then on the boundary),
      MAX_ITERATIONS, or NONFINITE: a product or g is not finite, or a traced radius not positive, and the step is the last
      finite iterate.

    Raises:
      TypeError: if the operator cannot be called, or an argument is not of its kind.
      ValueError: if a number is outside its range, or the operator returns another tree than it got.

    Reference:
      Steihaug (1983), The conjugate gradient method and trust regions in large scale optimization, doi:10.1137/0720042.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.linalg import steihaug
      >>> a = jnp.array([2.0, 4.0])
      >>> inside = steihaug(lambda v: a * v, jnp.array([2.0, 4.0]), radius=10.0)
      >>> bool(jnp.allclose(inside.step.step, -1.0))
      True
      >>> short = steihaug(lambda v: a * v, jnp.array([2.0, 4.0]), radius=0.5)
      >>> bool(jnp.allclose(jnp.linalg.norm(short.step.step), 0.5))
      True
    """
    validate.number("steihaug", "radius", radius, low=0.0, low_open=True)
    validate.number("steihaug", "rtol", rtol, low=0.0, high=1.0)
    validate.integer("steihaug", "kept", kept, low=1)
    grads = tree.as_parameters("steihaug", "grads", grads)
    n = tree.size(grads)
    budget = max(20, 2 * n) if maxiter is None else validate.integer("steihaug", "maxiter", maxiter, low=1)
    dtype = tree.scalar_dtype(grads)
    radius = jnp.asarray(radius, dtype)
    unit, _ = tree.scaled_norm(grads)  # about the largest entry, in the range of normal numbers

    def scaled(v: Params) -> Params:
        product = tree.cast(applied("steihaug", operator, tree.cast(v, grads)), g)
        # Where the quotient leaves the range of numbers, no curvature at all must stay none.
        return tree.scale(jnp.minimum(radius / unit, jnp.finfo(dtype).max), product)

    # In at least float32: what is of order one here, radius / |g|_inf times a product, leaves the range of float16.
    g = jax.tree.map(lambda x: x.astype(tree.wide(x.dtype)) / unit.astype(tree.wide(x.dtype)), grads)
    gg = tree.vdot(g, g)
    zero = jnp.zeros_like(gg)

    carry = _Carry(
        p=tree.zeros_like(g), r=g, d=tree.negative(g), rr=gg, pp=zero, pd=zero, dd=gg, gp=zero,
        path=empty_path(grads, kept), slot=jnp.int32(0), start=zero, k=jnp.int32(0),
        status=first_of((~(jnp.isfinite(gg) & (radius > 0)), KrylovStatus.NONFINITE), (gg == 0, KrylovStatus.CONVERGED), otherwise=0),
    )  # fmt: skip
    small = jnp.square(jnp.asarray(rtol, dtype)) * gg
    pack, unpack = scalars.packing(carry)  # a loop pays for each array that it carries
    last = jax.lax.while_loop(
        lambda c: unpack(c).status == KrylovStatus.RUNNING,
        lambda c: pack(_iterate(scaled, small, budget, unpack(c))),
        pack(carry),
    )
    last = unpack(last)
    # The last iterate as it is, without what recurrences have lost on the way.
    gp = tree.vdot(g, last.p)
    p_a_p = tree.vdot(last.r, last.p) - gp
    norm = jnp.minimum(jnp.sqrt(tree.vdot(last.p, last.p)), 1) * radius
    work = radius * unit
    step = Step(tree.cast(tree.scale(radius, last.p), grads), norm, gp * work, -(gp + p_a_p / 2) * work)
    return SteihaugResult(step, _in_units(last.path, radius, work), last.status, last.k)


def _iterate(operator: Operator, small: Scalar, budget: int, c: _Carry) -> _Carry:
    """Make one step of conjugate gradients, or the last one to the boundary |p| = 1."""
    a_d = operator(c.d)
    d_a_d = tree.vdot(c.d, a_d)
    alpha = c.rr / d_a_d
    longer = c.pp + alpha * (2 * c.pd + alpha * c.dd)
    convex = d_a_d > 0
    inside = convex & (longer < 1)
    finite = jnp.isfinite(d_a_d)
    forward, best = _to_boundary(c, d_a_d)
    length = jnp.where(finite, jnp.where(inside, alpha, best), 0)
    # On the path stands the way forward, on which the model falls all along: the other end is beyond a hill.
    ahead = jnp.where(inside, length, jnp.where(finite, forward, 0))
    length, ahead, finite, inside = scalars.settled((length, ahead, finite, inside), c.k > 0)
    p, r = tree.axpy(length, c.d, c.p), tree.axpy(length, _finite_or_zero(finite, a_d), c.r)
    rr = tree.vdot(r, r)
    beta = rr / c.rr
    status = first_of(
        (~finite, KrylovStatus.NONFINITE),
        (~convex, KrylovStatus.NEGATIVE_CURVATURE),
        (~inside, KrylovStatus.BOUNDARY),
        (~jnp.isfinite(rr), KrylovStatus.NONFINITE),
        (rr <= small, KrylovStatus.CONVERGED),
        (c.k + 1 >= budget, KrylovStatus.MAX_ITERATIONS),
        otherwise=KrylovStatus.RUNNING,
    )
    pp = jnp.where(inside, longer, 1)
    gp = c.gp - length * c.rr
    g_ahead = c.gp - ahead * c.rr
    curvature = jnp.where(inside, -g_ahead, -c.gp + ahead * ahead * d_a_d)
    on_path = jax.tree.map(lambda p, d: p + ahead.astype(p.dtype) * d, c.p, c.d)
    fresh = pp > jnp.square(DOUBLING) * c.start
    path = _keep(c.path, jnp.mod(c.slot, len(c.path.numbers)), on_path, jnp.sqrt(pp), g_ahead, curvature)
    return _Carry(
        p=p,
        r=r,
        d=jax.tree.map(lambda d, r: beta.astype(d.dtype) * d - r, c.d, r),
        rr=rr,
        pp=pp,
        pd=beta * (c.pd + length * c.dd),
        dd=rr + beta * beta * c.dd,
        gp=gp,
        path=path,
        slot=c.slot + fresh.astype(jnp.int32),
        start=jnp.where(fresh, pp, c.start),
        k=c.k + 1,
        status=status,
    )


def _to_boundary(c: _Carry, d_a_d: Scalar) -> tuple[Scalar, Scalar]:
    """Return the t >= 0 with |p + t d| = 1, and the root where the model is lower: at negative curvature perhaps t < 0.

    The recurrence of <p, d> adds what is not negative, so neither root is a difference of near numbers.
    """
    room = jnp.maximum(1 - c.pp, 0)
    reach = c.pd + jnp.sqrt(c.pd * c.pd + c.dd * room)
    forward, backward = room / reach, -reach / c.dd
    lower = backward * (d_a_d * backward / 2 - c.rr) < forward * (d_a_d * forward / 2 - c.rr)
    return forward, jnp.where((d_a_d <= 0) & lower, backward, forward)


def shorten(path: Path, radius: Scalar) -> Step:
    """Return the step for a smaller radius from a run's path, without a product.

    Between the longest kept iterate within the radius and the shortest beyond it the step is on the line between them;
    below the shortest kept iterate it is a part of that.

    Args:
      path: of a run with a radius larger than this one.
      radius: of the ball, > 0, scalar.

    Returns:
      The step, with |p| = radius, or the longest iterate where that is shorter.
    """
    norms = path.norms
    within = norms <= radius
    low = jnp.argmax(jnp.where(within, norms, -1))
    high = jnp.argmin(jnp.where(within, jnp.inf, norms))
    none_below, none_beyond = ~jnp.any(within), ~jnp.any(~within & jnp.isfinite(norms))
    high = jnp.where(none_beyond, low, high)
    near = jax.tree.map(lambda x: jnp.where(none_below, jnp.zeros_like(x[low]), x[low]), path.points)
    far = jax.tree.map(lambda x: x[high], path.points)
    along = tree.sub(far, near)
    # |near + t along| = radius, in units of the radius, as long as |along|^2 is then a number.
    length = jnp.maximum(radius, jnp.where(none_beyond, 0, norms[high]) * float(jnp.finfo(norms.dtype).tiny) ** 0.5)
    unit = tree.scale(1 / length, along), tree.scale(1 / length, near)
    dd, pd, pp = tree.vdot(unit[0], unit[0]), tree.vdot(*unit), tree.vdot(unit[1], unit[1])
    room = jnp.maximum(jnp.square(radius / length) - pp, 0)
    root = jnp.sqrt(pd * pd + dd * room)
    t = jnp.where(pd > 0, room / (root + pd), (root - pd) / jnp.where(dd > 0, dd, 1))
    t = jnp.where(none_beyond, 0, jnp.clip(t, 0, 1))
    (_, slope_near, curve_near), (_, slope_far, curve_far) = (path.numbers[i] for i in (low, high))
    slope_near, curve_near = jnp.where(none_below, 0, slope_near), jnp.where(none_below, 0, curve_near)
    slope = slope_near + t * (slope_far - slope_near)
    # <p_i, A p_j> = -<g, p_i> for i < j.
    mixed = 2 * t * (1 - t) * -slope_near
    curvature = (1 - t) ** 2 * curve_near + mixed + t * t * curve_far
    norm = jnp.where(none_beyond, norms[low], radius)
    return Step(tree.axpy(t, along, near), norm, slope, -(slope + curvature / 2))


def _keep(path: Path, slot: jax.Array, p: Params, norm: Scalar, gp: Scalar, p_a_p: Scalar) -> Path:
    def write(rows: jax.Array, row: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(rows, row.astype(rows.dtype), slot, 0)

    return jax.tree.map(write, path, Path(p, jnp.stack([norm, gp, p_a_p])))


def _in_units(path: Path, radius: Scalar, work: Scalar) -> Path:
    return Path(tree.scale(radius, path.points), path.numbers * jnp.stack([radius, work, work]))


def _finite_or_zero(finite: jax.Array, a: Params) -> Params:
    """Return a, or zeros where the product is not finite: 0 times NaN is NaN."""
    return jax.tree.map(lambda x: jnp.where(finite, x, jnp.zeros_like(x)), a)


__all__ = ["Path", "SteihaugResult", "Step", "empty_path", "shorten", "steihaug"]

# SPDX-License-Identifier: Apache-2.0
r"""One trip of `jopt.linalg.boxed_steihaug`: one product with A, and what follows from it.

In a straight step the product is with the direction d. Its curvature gives the length a, the least of

    |r|^2 / <d, A d>, where that is positive;  the way to the ball;  without either |r|^2 / |<d, A d>|, the mirrored step.

If a bound lies nearer, the next trip makes the product with P(p + a d) - p instead, P the projection on the box, and takes
that candidate or shortens a. After each step the direction follows from the residual r = g + A p, on the entries of the
round (d' = -r + beta d), or in a new round on all that are free (d' = -r).

References: as for `jopt.linalg.boxed_steihaug`, where the whole is explained.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.linalg.box import Box, longest, steps_within
from jopt.linalg.boxed_path import Recorder, record
from jopt.linalg.operators import Operator
from jopt.status import KrylovStatus, first_of
from jopt.types import Params, Scalar

# Part of what the slope promises that a bent step has to bring: mu_0 of Lin and Moré (1999), section 3.
SUFFICIENT = 0.01
# Candidates of a bent step; the last is the first bound on the way.
TRIALS = 3
# A rejected candidate is followed by one between these parts of its length (Moré and Toraldo 1991, section 3).
SHORTEST, LONGEST = 0.1, 0.5


class Rule(NamedTuple):
    """What does not change, in the run's units.

    Attributes:
      g: gradient; box: of the steps; radius: of the ball, perhaps infinite.
      first: |g| on the free entries. rtol, atol: when to stop. eps: rounding of the coarsest leaf.
      budget: products.
    """

    g: Params
    box: Box
    radius: Scalar
    first: Scalar
    rtol: Scalar
    atol: Scalar
    eps: float
    budget: Any


class Carry(NamedTuple):
    """What the iteration carries, in the run's units.

    Attributes:
      p: the iterate. r: residual g + A p. d: direction.
      rr: |r|^2 on the entries of d. pp: |p|^2.
      size: largest |g| or |r| on free entries at the beginning of a round but the first; 0 before.
      top: largest <d, A d> / |d|^2. curvature: the last.
      a: candidate's length along d. least: length to the first bound. tries: candidates so far, 0 for a straight step; int32.
      steepest: whether d is -r, bool.
      recorder: the path, None where it is not asked for.
      k: products made, int32. status: int32.
    """

    p: Params
    r: Params
    d: Params
    rr: Scalar
    pp: Scalar
    size: Scalar
    top: Scalar
    curvature: Scalar
    a: Scalar
    least: Scalar
    tries: jax.Array
    steepest: jax.Array
    recorder: Recorder | None
    k: jax.Array
    status: jax.Array


class _Move(NamedTuple):
    """What one product decides.

    Attributes:
      finite: whether it is, bool.
      accepted: whether what follows is a new direction, bool. lost: whether it is one from the same point, since even the
        shortest candidate has lowered nothing, bool.
      length: a, along d. weight: of the product in the next residual.
      least: length to the first bound. fall: the model's change at a candidate.
      convex: whether d has positive curvature, bool. at_ball: whether the step ends on the ball, bool.
      curvature: <d, A d> / |d|^2.
    """

    finite: jax.Array
    accepted: jax.Array
    lost: jax.Array
    length: Scalar
    weight: Scalar
    least: Scalar
    fall: Scalar
    convex: jax.Array
    at_ball: jax.Array
    curvature: Scalar


def trip(operator: Operator, rule: Rule, c: Carry) -> Carry:
    """Make one product, and what follows from it."""
    searching = c.tries > 0
    v = jax.tree.map(
        lambda p, d, low, high: jnp.where(searching, _along(p, c.a, d, low, high) - p, d), c.p, c.d, *rule.box
    )
    product = operator(v)
    move = _decide(rule, c, searching, v, product)
    p, r = _moved(rule, c, move, product)
    face = jax.tree.map(lambda p, d, r, low, high: jnp.where(_in_face(p, d, low, high), r, 0), p, c.d, r, *rule.box)
    freed, g_freed = on_free(rule.box, p, r, r), on_free(rule.box, p, r, rule.g)
    rr_face, rr_free, gg_free = tree.vdot(face, face), tree.vdot(freed, freed), tree.vdot(g_freed, g_freed)
    releasable = rr_free > 2 * rr_face
    restart = searching | (rr_face <= _small(rule, c.size)) | releasable
    size = jnp.where(move.accepted & restart, jnp.maximum(c.size, jnp.sqrt(jnp.maximum(rr_free, gg_free))), c.size)
    status = first_of(
        (~move.finite, KrylovStatus.NONFINITE),
        (~move.accepted, KrylovStatus.RUNNING),
        (~move.convex & (~searching | jnp.isinf(rule.radius)), KrylovStatus.NEGATIVE_CURVATURE),
        (~searching & move.at_ball, KrylovStatus.BOUNDARY),
        (~jnp.isfinite(rr_free), KrylovStatus.NONFINITE),
        (restart & (rr_free <= _small(rule, size)), KrylovStatus.CONVERGED),
        (move.lost & c.steepest, KrylovStatus.LITTLE_PROGRESS),
        otherwise=KrylovStatus.RUNNING,
    )
    spent = (status == KrylovStatus.RUNNING) & (c.k + 1 >= rule.budget)
    beta = jnp.where(restart, 0, rr_face / c.rr)
    pp = tree.vdot(p, p)
    a, tries = _next_candidate(c, move, searching)
    return Carry(
        p=p,
        r=r,
        d=jax.tree.map(
            lambda d, f, r: jnp.where(move.accepted, beta.astype(d.dtype) * d - jnp.where(restart, f, r), d),
            c.d, freed, face,
        ),
        rr=jnp.where(move.accepted, jnp.where(restart, rr_free, rr_face), c.rr),
        pp=pp,
        size=size,
        top=jnp.where(searching, c.top, jnp.maximum(c.top, move.curvature)),
        curvature=jnp.where(searching, c.curvature, move.curvature),
        a=a,
        least=jnp.where(searching, c.least, move.least),
        tries=tries,
        steepest=jnp.where(move.accepted, restart, c.steepest),
        recorder=c.recorder and record(c.recorder, p, pp, tree.vdot(rule.g, p), tree.sub(r, rule.g)),
        k=c.k + 1,
        status=jnp.where(spent, jnp.int32(KrylovStatus.MAX_ITERATIONS), status),
    )  # fmt: skip


def _decide(rule: Rule, c: Carry, searching: jax.Array, v: Params, product: Params) -> _Move:
    """Judge the candidate; or find the length of a straight step, and whether it leaves the box."""
    v_a_v, rv = tree.vdot(v, product), tree.vdot(c.r, v)
    pd, dd = tree.vdot(c.p, c.d), tree.vdot(c.d, c.d)
    to_ball = _to_ball(rule.radius, c.pp, pd, dd)
    least = longest(steps_within(rule.box, c.p), c.d)
    curvature = v_a_v / dd
    convex = jnp.where(searching, c.curvature, curvature) > rule.eps * c.top
    # Curvatures below sqrt(eps) of the largest met say nothing of a length.
    steepness = jnp.maximum(jnp.abs(curvature), rule.eps**0.5 * c.top) * dd
    mirrored = jnp.where(steepness > 0, c.rr / jnp.where(steepness > 0, steepness, 1), 1)
    downhill = jnp.where(jnp.isinf(to_ball), mirrored, to_ball)
    straight = jnp.minimum(jnp.where(convex, c.rr / jnp.where(convex, v_a_v, 1), downhill), to_ball)
    fall = rv + v_a_v / 2
    final = c.a <= c.least
    enough = (rv < 0) & (fall <= jnp.where(final, 0, SUFFICIENT * rv)) & (fall < 0)
    lost = searching & final & ~enough
    length = jnp.where(searching, jnp.where(lost, 0, c.a), straight)
    finite = jnp.isfinite(v_a_v) & jnp.isfinite(length)
    return _Move(
        finite=finite,
        accepted=finite & jnp.where(searching, enough | lost, least >= straight),
        lost=lost,
        length=length,
        weight=jnp.where(searching & ~lost, 1, length),
        least=least,
        fall=fall,
        convex=convex,
        at_ball=straight >= to_ball,
        curvature=curvature,
    )


def _next_candidate(c: Carry, move: _Move, searching: jax.Array) -> tuple[Scalar, jax.Array]:
    """Return the length of the next candidate and its number: by the parabola through the last one, and at last `least`."""
    excess = jnp.maximum(move.fall + c.rr * c.a, jnp.finfo(c.a.dtype).tiny)
    lower = jnp.clip(c.rr * c.a * c.a / (2 * excess), SHORTEST * c.a, LONGEST * c.a)
    shorter = jnp.where(c.tries + 1 >= TRIALS, c.least, jnp.maximum(lower, c.least))
    a = jnp.where(searching, shorter, move.length)
    return a, jnp.where(move.accepted, 0, c.tries + 1).astype(jnp.int32)


def _moved(rule: Rule, c: Carry, move: _Move, product: Params) -> tuple[Params, Params]:
    """Return the next iterate and its residual."""
    p = jax.tree.map(
        lambda p, d, low, high: jnp.where(move.accepted, _along(p, move.length, d, low, high), p), c.p, c.d, *rule.box
    )
    r = jax.tree.map(lambda r, y: jnp.where(move.accepted, r + move.weight.astype(r.dtype) * y, r), c.r, product)
    return p, r


def _along(p: jax.Array, a: Scalar, d: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Return P(p + a d)."""
    return jnp.clip(p + a.astype(p.dtype) * d, low, high)


def _in_face(p: jax.Array, d: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Return which entries the round moves: those off their bounds, and those that leave them."""
    return ((p > low) & (p < high)) | (d != 0)


def on_free(box: Box, p: Params, r: Params, a: Params) -> Params:
    """Return a on the entries that can go along -r, zero on the others."""

    def leaf(p: jax.Array, r: jax.Array, a: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return jnp.where(((p > low) | (r < 0)) & ((p < high) | (r > 0)), a, 0)

    return jax.tree.map(leaf, p, r, a, *box)


def _small(rule: Rule, size: Scalar) -> Scalar:
    """Return the square of the residual that is small enough.

    Relative to the gradient on the entries that were free at first; after a bent step to that on those still free, so
    that a steep entry with little room does not decide for the others.
    """
    size = jnp.where(size > 0, size, rule.first)
    return jnp.square(jnp.maximum(jnp.maximum(rule.rtol * jnp.minimum(rule.first, size), rule.atol), rule.eps * size))


def _to_ball(radius: Scalar, pp: Scalar, pd: Scalar, dd: Scalar) -> Scalar:
    """Return the t >= 0 with |p + t d| = radius; infinity without a ball."""
    bounded = jnp.isfinite(radius)
    room = jnp.where(bounded, jnp.maximum(radius * radius - pp, 0), 1)
    root = jnp.sqrt(pd * pd + dd * room)
    t = jnp.where(pd > 0, room / jnp.where(pd > 0, pd + root, 1), (root - pd) / dd)
    return jnp.where(bounded, t, jnp.inf)


__all__ = ["Carry", "Rule", "on_free", "trip"]

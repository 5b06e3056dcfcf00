# SPDX-License-Identifier: Apache-2.0
r"""Trust region: minimise a model within a ball, go there if the objective agrees, adapt the ball.

    p = argmin <g, p> + 1/2 <p, H p>  over |p| <= radius        (how: jopt.solvers.subproblems)
    ratio = (f(x) - f(x + p)) / (decrease that the model promised)
    x' = x + p if ratio > eta, otherwise x' = x

One step of the solver is one trial: value, gradient and the linearised gradient at x + p, all from one copy of the
objective. Where the trial is accepted, the products with H for the next model come from that linearisation; where it is
rejected, the next step comes from the plan of the model that is known already, and no product is made.

*The ratio near round-off.* Where the two values differ by less than their noise, eps^(2/3) |f|, and the first step from x
promised no more than that, their difference says nothing. There f(x) - f(x + p) is taken from the slopes at both ends, -(<g, p> + <g(x + p), p>) / 2, which is exact for a
quadratic and has an error of third order in |p|.

*The last point.* Where the caller says that it will stop, no model is made: near the minimum it would be the most exact one.

*The radius* is at first a multiple of max(1, |x0|); it shrinks after a poor step and grows after a good one, by a named rule (jopt.solvers.radius).

*Within bounds* the model is minimised over the ball and the box of steps (where the subproblem can), so that every trial
is feasible, and wherever |g| stands above it is that of the projected gradient.

Invariant at the beginning of a step: `params`, `value`, `grad` are the last accepted point, `step` the trial to be
evaluated, |step| <= radius up to rounding, and `plan` the model there.

References: Conn, Gould and Toint (2000), Trust-Region Methods, Algorithm 6.1.1, section 17.4,
doi:10.1137/1.9780898719857; Nocedal and Wright (2006), Numerical Optimization, Algorithm 4.1; Hager and Zhang (2005), SIAM
J. Optim. 16(1), doi:10.1137/030601880, for values and slopes near round-off.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import scalars, tree, validate
from jopt.linalg.box import Box, moved, projected_gradient, steps_within
from jopt.linalg.steihaug import Step
from jopt.linesearch.conditions import value_noise
from jopt.solvers import bounds
from jopt.solvers.info import Info
from jopt.solvers.objective import Point, as_objective
from jopt.solvers.radius import RADIUS_RULES, Outcome, RadiusRule
from jopt.solvers.stalling import Floor, find_floor, no_floor, stalled_or
from jopt.solvers.stopping import is_last
from jopt.solvers.subproblems import Subproblem, Task
from jopt.status import Status, first_of
from jopt.types import Params, Scalar, Solver, described


class TrustRegionState(NamedTuple):
    """State of a trust-region solver.

    Attributes:
      params: the last accepted point x.
      grad: the gradient g there.
      value: f there, scalar.
      step: the trial p with its length, slope and promised decrease.
      plan: the subproblem's plan at x.
      promise: the decrease that the first step from x promised, scalar.
      radius: of the ball, scalar.
      first_grad_norm: |g| at the start, scalar; within bounds of the projected gradient.
      floor: the least value and gradient so far, and the accepted steps in a row that improved neither.
      started: whether the start has been evaluated, bool.
    """

    params: Params
    grad: Params
    value: Scalar
    step: Step
    plan: Any
    promise: Scalar
    radius: Scalar
    first_grad_norm: Scalar
    floor: Floor
    started: jax.Array


@described
def trust_region(
    subproblem: Subproblem,
    *,
    radius: float = 1.0,
    max_radius: float | None = None,
    rule: str = "nocedal-wright",
    eta: float = 1e-4,
    noise: float | None = None,
) -> Solver:
    """Make a solver of a way to minimise a quadratic model within a ball.

    Args:
      subproblem: a `jopt.solvers.subproblems.Subproblem`: `truncated_cg()`, `exact()` or `dogleg_path()`.
      radius: of the first ball, > 0, as a multiple of max(1, |x0|).
      max_radius: largest radius, > 0; None sets no limit.
      rule: how the radius follows from a trial: "nocedal-wright", "conn-gould-toint" or "lin-more"
        (`jopt.solvers.radius` has the formulas).
      eta: a trial is accepted where the objective falls by more than this part of what the model promised, in [0, 1/4).
      noise: relative error of a value, >= 0, below which slopes decide instead; None means eps^(2/3).

    Returns:
      A solver whose state is a `TrustRegionState`. One step costs one value and gradient and, where it accepts the
      trial, the subproblem's products. It honours bounds where the subproblem does (`truncated_cg()`).

    Raises:
      TypeError: if `subproblem` is not one, or a setting not a number.
      ValueError: for a setting outside its range; at trace time for bounds with another subproblem.

    Reference:
      Conn, Gould and Toint (2000), Trust-Region Methods, Algorithm 6.1.1, doi:10.1137/1.9780898719857.
    """
    next_radius = _check(subproblem, radius, max_radius, rule, eta, noise)

    def init(objective: Any, params: Params) -> TrustRegionState:
        box = as_objective(objective).bounds
        params = bounds.within(box, tree.as_parameters("trust_region", "params", params))
        zeros, zero = tree.zeros_like(params), jnp.zeros((), tree.scalar_dtype(params))
        return TrustRegionState(
            params=params,
            grad=zeros,
            value=zero,
            step=Step(zeros, zero, zero, zero),
            plan=_within(subproblem, box).init(params),
            promise=zero,
            radius=_first_radius(radius, params),
            first_grad_norm=zero,
            floor=no_floor(zero.dtype),
            started=jnp.bool_(False),
        )

    def step(objective: Any, state: TrustRegionState, tolerance: Any = None) -> tuple[TrustRegionState, Info]:
        objective = as_objective(objective)
        box, problem = objective.bounds, _within(subproblem, objective.bounds)
        point, hvp = objective.linearize(_target(box, state))
        error = value_noise(noise, state.value)
        seen = _look(state, point, error, eta, box)
        unit, ratio = tree.scaled_norm(_descendable(box, point))
        first_grad_norm = jnp.where(state.started, state.first_grad_norm, unit * ratio)
        ball = jnp.where(state.started, next_radius(seen.outcome), state.radius)
        last = is_last(tolerance, seen.accepted, seen.grad_norm)
        gtol = jnp.zeros_like(ball) if tolerance is None else tolerance(seen.grad_norm)
        ball = ball if max_radius is None else jnp.minimum(ball, jnp.asarray(max_radius, ball.dtype))

        def plan_anew(plan: Any) -> tuple[Step, Any, jax.Array]:
            del plan
            return problem.solve(Task(hvp, point.grad, ball, unit * ratio, first_grad_norm, gtol, _room(box, point)))

        def shorten(plan: Any) -> tuple[Step, Any, jax.Array]:
            shorter = problem.shorten(plan, ball, state.params)
            return tree.where(last, jax.tree.map(jnp.zeros_like, shorter), shorter), plan, jnp.int32(0)

        next_step, plan, nhev = jax.lax.cond(seen.accepted & ~last, plan_anew, shorten, state.plan)
        here = (point.params, point.grad, point.value)
        params, grad, value = tree.where(seen.accepted, here, (state.params, state.grad, state.value))
        info = Info(
            point=point,
            accepted=seen.accepted,
            grad_norm=seen.grad_norm,
            step_norm=jnp.where(state.started, seen.step_norm, jnp.inf),
            decrease=jnp.where(state.started, state.value - point.value, jnp.inf),
            status=_status(state, point, seen, error),
            nhev=nhev,
        )
        floor = find_floor(state.floor, info)
        after = TrustRegionState(
            params=params,
            grad=grad,
            value=value,
            step=next_step,
            plan=plan,
            promise=jnp.where(seen.accepted, next_step.decrease, state.promise),
            radius=ball,
            first_grad_norm=first_grad_norm,
            floor=floor,
            started=~last,  # a solve that is taken up again evaluates its point again
        )
        return after, info._replace(status=stalled_or(floor, info.status))

    solver = Solver(init, step)
    solver.bounded = subproblem.within is not None
    return solver


def _check(subproblem: Any, radius: Any, max_radius: Any, rule: Any, eta: Any, noise: Any) -> RadiusRule:
    """Return the radius rule, or raise for a setting outside its range."""
    if not isinstance(subproblem, Subproblem):
        msg = f"trust_region: subproblem must be a Subproblem, got {subproblem!r}; call truncated_cg(), exact() or dogleg_path()."
        raise TypeError(msg)
    validate.number("trust_region", "radius", radius, low=0.0, low_open=True, high_open=True)
    if max_radius is not None:
        validate.number("trust_region", "max_radius", max_radius, low=0.0, low_open=True)
    validate.number("trust_region", "eta", eta, low=0.0, high=0.25, high_open=True)
    if noise is not None:
        validate.number("trust_region", "noise", noise, low=0.0)
    return RADIUS_RULES[validate.choice("trust_region", "rule", rule, RADIUS_RULES)]


def _within(subproblem: Subproblem, box: Box | None) -> Subproblem:
    """Return the subproblem, within bounds the one that keeps within them."""
    if box is None:
        return subproblem
    if subproblem.within is None:
        msg = f"trust_region: subproblem must keep within bounds, which {subproblem!r} does not; use truncated_cg()."
        raise ValueError(msg)
    return subproblem.within


def _target(box: Box | None, state: TrustRegionState) -> Params:
    """Return the trial point."""
    if box is None:
        return tree.axpy(1, state.step.step, state.params)
    return moved(box, state.params, state.step.step)


def _descendable(box: Box | None, point: Point) -> Params:
    """Return the gradient, within bounds the projected one."""
    return point.grad if box is None else projected_gradient(box, point.params, point.grad)


def _room(box: Box | None, point: Point) -> Box | None:
    """Return the steps that keep within bounds."""
    return None if box is None else steps_within(box, point.params)


class _Seen(NamedTuple):
    """What one trial showed: the outcome for the radius, whether the point moves there, and its norms."""

    outcome: Outcome
    accepted: jax.Array
    finite: jax.Array
    grad_norm: Scalar
    step_norm: Scalar


def _first_radius(radius: float, params: Params) -> Scalar:
    unit, ratio = tree.scaled_norm(params)
    return jnp.asarray(radius, ratio.dtype) * jnp.maximum(1, unit * ratio)


def _look(state: TrustRegionState, point: Point, error: Scalar, eta: float, box: Box | None) -> _Seen:
    """Compare the trial with what the model promised; by slopes where that is less than `error`."""
    grad_norm = bounds.grad_norm(box, point)
    finite = jnp.isfinite(point.value) & jnp.isfinite(grad_norm)
    step_norm = tree.max_abs(tree.sub(point.params, state.params))
    by_values = state.value - point.value
    by_slopes = -(state.step.slope + tree.vdot(point.grad, state.step.step)) / 2
    blind = (jnp.abs(by_values) <= error) & (state.promise <= error)
    decrease = jnp.where(blind, by_slopes, by_values)
    ratio = jnp.where(finite & (state.step.decrease > 0), decrease / state.step.decrease, -jnp.inf)
    accepted = finite & (~state.started | ((ratio > eta) & (step_norm > 0)))
    outcome = Outcome(state.radius, state.step.norm, state.step.slope, decrease, ratio)
    return scalars.settled(_Seen(outcome, accepted, finite, grad_norm, step_norm), state.started)


def _status(state: TrustRegionState, point: Point, seen: _Seen, error: Scalar) -> jax.Array:
    """Return why the solve ends.

    A rejected step that is too short to move the point, or is no step, is the last; so is one that promises less than the
    values resolve, where the first step from there promised more than their noise: slopes are then not asked.
    """
    resolved = float(jnp.finfo(error.dtype).eps) * jnp.abs(state.value)
    vain = (state.promise > error) & (state.step.decrease <= resolved)
    over = state.started & ~seen.accepted & (~(seen.step_norm > 0) | vain)
    return first_of(
        (point.value == -jnp.inf, Status.UNBOUNDED),
        (~state.started & ~seen.finite, Status.NONFINITE),
        (over & ~jnp.isfinite(state.step.decrease), Status.NONFINITE),
        (over & (state.promise <= error), Status.STALLED),
        (over, Status.SEARCH_FAILED),
        otherwise=Status.RUNNING,
    )

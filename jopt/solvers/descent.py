# SPDX-License-Identifier: Apache-2.0
"""Descent: choose a direction, search along it, repeat.

    x' = x + a d,   d = -u,   u the direction's output for the gradient at x,   a from the line search

Within bounds, where the direction honours them, x + d is feasible, a goes no further than that line stays so, and every
trial is projected, so that rounding does not lead out. In place of -g stands the step to the projection of x - g.

One step of the solver is one trial of the search. When the search is over the point moves, the direction is asked again
and a new search begins, all in the same step, so the objective stands once in the compiled program.

Invariant at the beginning of a step: `params`, `value`, `grad` are the last accepted point, `direction` descends there
(<g, d> < 0), and the step of the search's state is the trial to be evaluated. Before the first step the direction is zero, so that the
first trial is the start itself.

What happens when things go wrong: a direction that does not descend is replaced by -g and counted. A search that fails
but has lowered the value keeps its lowest point. One that fails without lowering it makes the direction forget what it
learnt (its state starts anew) and go along -g; when that fails as well the solve ends, with a status that says which of the known reasons it was.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jopt import scalars, tree
from jopt.linalg.box import Box, is_bounded, longest, projected_gradient, steps_within
from jopt.linesearch.conditions import value_noise
from jopt.linesearch.first_trial import FirstTrialInfo, Strategy, unit
from jopt.linesearch.machine import SearchState, check_parts
from jopt.solvers import bounds
from jopt.solvers.info import Info
from jopt.solvers.limited_search import update_within
from jopt.solvers.objective import Point, as_objective
from jopt.solvers.stalling import Floor, find_floor, no_floor, stalled_or
from jopt.solvers.steering import Turning, steer
from jopt.solvers.stopping import is_last
from jopt.status import SearchStatus, Status, first_of
from jopt.types import LineSearch, Params, Scalar, Solver, described


class DescentState(NamedTuple):
    """State of a descent solver.

    Changed when a point is accepted:

    Attributes:
      params: the last accepted point x.
      grad: the gradient g there.
      value: f there, scalar.
      direction: d, like params.
      inner: state of the direction.
      steepest: whether d is -g because the search before it failed, bool.
      hopeless: whether the decrease that search was promised is below the value's noise, bool.
      floor: the least value and gradient so far, and the accepted steps in a row that improved neither.
      resets: directions replaced by -g so far, int32.
      started: whether the start has been evaluated, bool.

    Changed in every step:

      search: state of the line search, its scalars packed into vectors (`jopt.scalars.packing`).
    """

    params: Params
    grad: Params
    value: Scalar
    direction: Params
    inner: Any
    steepest: jax.Array
    hopeless: jax.Array
    floor: Floor
    resets: jax.Array
    started: jax.Array
    search: Any


class _Verdict(NamedTuple):
    """What one trial decides: whether the point moves, whether to restart along -g, whether to give up."""

    moved: jax.Array
    restart: jax.Array
    status: jax.Array


class _Course(NamedTuple):
    """A new direction with what the search along it needs."""

    direction: Params
    slope: Scalar
    grad_norm: Scalar
    steepest: jax.Array


@described
def descent(direction: optax.GradientTransformation, search: LineSearch, *, first_trial: Strategy = unit) -> Solver:
    """Make a solver of a direction and a line search.

    Args:
      direction: a transformation whose output is a preconditioned gradient +B g, such as `scale_by_lbfgs()`,
        `scale_by_newton_cg()` or any chain of first-order stages. It is asked once for each accepted point, and gets
        `value`, `grad`, `value_fn` and, if it calls it, `hvp`, the product with the Hessian there. A direction counts
        its products in a field `nhev` of its state. The solver is bounded if the direction's attribute `bounded` is
        true; within bounds such a one gets `box`, the box of steps in which its -u has to lie.
      search: a line search, such as `jopt.linesearch.strong_wolfe()`.
      first_trial: a strategy of `jopt.linesearch` that says where each search begins.

    Returns:
      A solver whose state is a `DescentState`. One step costs one value and gradient.

    Raises:
      TypeError: if `direction` is not a transformation, `search` not a line search or `first_trial` not a function.
    """
    if not isinstance(direction, optax.GradientTransformation):
        msg = f"descent: direction must be a transformation, got {direction!r}; call its factory."
        raise TypeError(msg)
    check_parts("descent", search, first_trial)
    steering = steer(direction)

    def init(objective: Any, params: Params) -> DescentState:
        box = as_objective(objective).bounds
        params = bounds.within(box, tree.as_parameters("descent", "params", params))
        one = jnp.ones((), tree.scalar_dtype(params))
        return DescentState(
            params=params,
            grad=tree.zeros_like(params),
            value=jnp.zeros_like(one),
            direction=tree.zeros_like(params),
            inner=steering.init(params),
            steepest=jnp.bool_(False),
            hopeless=jnp.bool_(False),
            floor=no_floor(one.dtype),
            resets=jnp.zeros((), jnp.int32),
            started=jnp.bool_(False),
            search=_packing(search, one)[0](search.init(jnp.zeros_like(one), -one, one)),
        )

    def step(objective: Any, state: DescentState, tolerance: Any = None) -> tuple[DescentState, Info]:
        objective = as_objective(objective)
        box = objective.bounds
        pack, unpack = _packing(search, state.value)
        searching = unpack(state.search)
        target = bounds.trial(box, state.params, searching.step, state.direction)
        point, hvp = steering.look(objective, target, state.inner)
        searched = _search_on(search, searching, point, state, box)
        grad_norm = bounds.grad_norm(box, point)
        step_norm = tree.max_abs(tree.sub(point.params, state.params))
        verdict = _judge(state, searched, point.value, grad_norm, step_norm)
        searched, verdict, grad_norm, step_norm = scalars.settled(
            (searched, verdict, grad_norm, step_norm), state.started
        )
        info = _report(state, point, grad_norm, step_norm, verdict)
        floor = find_floor(state.floor, info)

        base = tree.where(
            verdict.moved, (point.params, point.grad, point.value), (state.params, state.grad, state.value)
        )
        params, grad, value = base
        here = Point(params, value, grad, None)
        last = is_last(tolerance, verdict.moved, grad_norm)
        turning = Turning(verdict.moved, verdict.restart, last, state.started, state.params, state.grad, hvp)
        answer = steering.ask(objective, state.inner, here, turning)
        course = _set_course(here, answer.scaled, verdict.restart, box)
        turn = verdict.moved | verdict.restart
        begun = _begin(search, first_trial, state, searching, here, course, box)
        noise = value_noise(None, searching.start.value)
        after = DescentState(
            params=params,
            grad=grad,
            value=value,
            direction=tree.where(turn, course.direction, state.direction),
            inner=answer.inner,
            steepest=jnp.where(turn, verdict.restart, state.steepest),
            hopeless=jnp.where(verdict.restart, jnp.abs(searching.start.slope) <= noise, state.hopeless),
            floor=floor,
            resets=state.resets + (turn & state.started & course.steepest).astype(jnp.int32),
            started=jnp.bool_(True),
            search=tree.where(turn, pack(begun), pack(searched)),
        )
        return after, info._replace(status=stalled_or(floor, info.status), nhev=answer.nhev)

    solver = Solver(init, step)
    solver.bounded = bool(getattr(direction, "bounded", False))
    return solver


def _packing(search: LineSearch, scalar: Scalar) -> Any:
    """Return `pack` and `unpack` for the states of a search whose scalars are like `scalar`."""
    like = jax.ShapeDtypeStruct((), scalar.dtype)
    return scalars.packing(jax.eval_shape(search.init, like, like, like))


def _search_on(
    search: LineSearch, searching: SearchState, point: Point, state: DescentState, box: Box | None
) -> SearchState:
    """Return the search's state after a trial, within bounds with no step beyond them."""
    slope = tree.vdot(point.grad, state.direction)
    if box is None:
        return search.update(searching, point.value, slope)
    return update_within(search, searching, point.value, slope, _limit(box, state.params, state.direction))


def _begin(
    search: LineSearch,
    first_trial: Strategy,
    state: DescentState,
    searching: SearchState,
    base: Point,
    course: _Course,
    box: Box | None,
) -> SearchState:
    """Return the state of a search along a new direction, within bounds with no first trial beyond them.

    Where a direction has no scale of its own yet but every entry has two bounds, these are one: the whole step is tried, as
    L-BFGS-B does.
    """
    fresh = ~state.started | course.steepest
    trial = first_trial(
        FirstTrialInfo(
            first=fresh,
            grad_norm=course.grad_norm,
            value=base.value,
            slope=course.slope,
            previous_step=searching.step,
            previous_value=searching.start.value,
            previous_slope=searching.start.slope,
        )
    )
    if box is not None:
        trial = jnp.where(fresh & is_bounded(box), 1, trial)
        trial = jnp.minimum(trial, _limit(box, base.params, course.direction))
    return search.init(base.value, course.slope, trial.astype(base.value.dtype))


def _limit(box: Box, params: Params, direction: Params) -> Scalar:
    """Return how far the direction stays within bounds, at least 1, which rounding may have undercut."""
    return jnp.maximum(1, longest(steps_within(box, params), direction))


def _judge(state: DescentState, searched: SearchState, value: Scalar, grad_norm: Scalar, step_norm: Scalar) -> _Verdict:
    """Decide from the search's status whether to move, to go on, to restart along -g or to give up.

    A step that leaves every parameter as it was is a failure of the search, whatever its test says.
    """
    finite = jnp.isfinite(value) & jnp.isfinite(grad_norm)
    over = searched.status != SearchStatus.SEARCHING
    moved = jnp.where(state.started, over & (searched.step > 0) & (step_norm > 0) & finite, finite)
    failed = state.started & over & ~moved
    unbounded = (value == -jnp.inf) & (~state.started | over) | (over & (searched.status == SearchStatus.UNBOUNDED))
    status = first_of(
        (unbounded, Status.UNBOUNDED),
        (~finite & jnp.where(state.started, failed & state.steepest, True), Status.NONFINITE),
        (failed & state.steepest & state.hopeless, Status.STALLED),
        (failed & state.steepest, Status.SEARCH_FAILED),
        otherwise=Status.RUNNING,
    )
    return _Verdict(moved, failed, status)


def _report(state: DescentState, point: Point, grad_norm: Scalar, step_norm: Scalar, verdict: _Verdict) -> Info:
    first = ~state.started
    return Info(
        point=point,
        accepted=verdict.moved,
        grad_norm=grad_norm,
        step_norm=jnp.where(first, jnp.inf, step_norm),
        decrease=jnp.where(first, jnp.inf, state.value - point.value),
        status=verdict.status,
        nhev=jnp.zeros((), jnp.int32),
    )


def _set_course(base: Point, scaled: Params, restart: jax.Array, box: Box | None) -> _Course:
    """Return the direction -scaled if it descends and no restart is due, otherwise -g over its largest entry.

    <g, d> leaves the range of numbers long before g does; divided by its largest entry, -g has a slope wherever g is.
    Within bounds the latter is cut off where it leaves them.
    """
    unit_, ratio = tree.scaled_norm(base.grad)
    g_d = -tree.vdot(base.grad, scaled)
    steepest = restart | ~((g_d < 0) & jnp.isfinite(g_d))
    unit_, ratio, g_d, steepest = scalars.settled((unit_, ratio, g_d, steepest), restart)
    # In the dtype of the scalars: in that of a leaf the largest entry of all may be zero.
    unit_grad = jax.tree.map(lambda g: (g.astype(unit_.dtype) / unit_).astype(g.dtype), base.grad)
    if box is not None:
        return _cut_course(base, scaled, unit_grad, (unit_, g_d, steepest), box)
    downhill = tree.where(steepest, unit_grad, scaled)
    return _Course(
        direction=tree.negative(downhill),
        slope=jnp.where(steepest, -unit_ * ratio * ratio, g_d),
        grad_norm=unit_ * ratio,
        steepest=steepest,
    )


def _cut_course(base: Point, scaled: Params, unit_grad: Params, numbers: tuple[Any, ...], box: Box) -> _Course:
    """Return the direction -scaled within bounds, or the projected step along -g over its largest entry.

    In the place of |g| stands |<g, d>| / |d|, so that the first trial of all makes a move of length 1 here too.
    """
    unit_, g_d, steepest = numbers
    cut = projected_gradient(box, base.params, unit_grad)
    downhill = tree.where(steepest, cut, scaled)
    slope = jnp.where(steepest, -unit_ * tree.vdot(unit_grad, cut), g_d)
    largest, ratio = tree.scaled_norm(downhill)
    return _Course(tree.negative(downhill), slope, (jnp.abs(slope) / largest) / ratio, steepest)

# SPDX-License-Identifier: Apache-2.0
r"""One solver for least squares, of which Levenberg-Marquardt and Gauss-Newton are two settings.

    Levenberg-Marquardt    d = argmin |J~ d + r~|^2 + damping |D d|^2,      x' = x + d if the cost agrees
    Gauss-Newton           d = argmin |J~ d + r~|^2,                        x' = x + a d,  a = 1, 1/2, 1/4, ...

One step of the solver is one trial: residuals and their linearisation at x + d, from one copy of the residual. What
follows a trial is decided by

    ratio = (cost(x) - cost(x + d)) / promised

where `promised` is the decrease of the model, -(<g, d> + |J~ d|^2 / 2); for Gauss-Newton -<g, d>, the first-order
decrease, which makes the test Armijo's. The point moves where ratio > 1e-4.

*The damping* follows Nielsen: after an accepted step it is multiplied by max(1/3, 1 - (2 ratio - 1)^3), continuous in the
ratio; rejected steps in a row multiply it by 2, 4, 8, ... It has no unit: D carries that (`jopt.solvers.linear_models`).
As damping -> 0 the step tends to Gauss-Newton's, as damping -> infinity to -D^-2 g / damping.

*The ratio near round-off.* Where already the first trial from a point is promised less than the noise of the cost, and the
costs differ by less than that too, the decrease is taken from the slopes at both ends, -(<g, d> + <g(x + d), d>) / 2, exact for
a quadratic. The noise is eps^(2/3) cost, and at least what a relative change of x by eps^(2/3) makes of the residuals,
1/2 (eps^(2/3) |D x|)^2: the residuals of a perfect fit are all rounding. A step that had to shrink until its promise is below
the noise gets no such help: its end says that the gradient and the cost disagree.

*Geodesic acceleration*: with v the step above and r_vv the second derivative of the residuals along it,
a = argmin |J~ a + r_vv|^2 + damping |D a|^2 and d = v + a/2, as long as |D a| <= limit |D v|; beyond that d = v.

*The last point.* Where the loop says that it stops at the point just accepted, the model there is not solved; a state
that is stepped on all the same evaluates that point once more and goes on from it.

References: Levenberg (1944), doi:10.1090/qam/10666; Marquardt (1963), doi:10.1137/0111030; Moré (1978),
doi:10.1007/BFb0067700; Nielsen (1999), Damping parameter in Marquardt's method, IMM-REP-1999-05, section 2; Madsen,
Nielsen and Tingleff (2004), Methods for non-linear least squares problems, Algorithm 3.16; Transtrum and Sethna (2012),
Improvements to the Levenberg-Marquardt algorithm, arXiv:1201.5885, section 4; Nocedal and Wright (2006), Numerical
Optimization, section 10.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.solvers import linear_models
from jopt.solvers.info import Info
from jopt.solvers.objective import Point
from jopt.solvers.residuals import Residuals, as_residuals
from jopt.solvers.stalling import Floor, find_floor, no_floor, stalled_or
from jopt.solvers.stopping import is_last
from jopt.status import Status, first_of
from jopt.transforms.forcing import superlinear_term
from jopt.types import Params, Scalar, Solver

# A trial is accepted above this ratio: Moré (1978), Algorithm 7.1, where it is 0.0001; as Armijo's constant, Nocedal and
# Wright (2006), section 3.1.
LEAST_RATIO = 1e-4

# Nielsen (1999), eq. (2.4): the least factor after an accepted step, and the first one after a rejected step.
LEAST_FACTOR = 1 / 3
FIRST_GROWTH = 2.0

SOLVES = ("auto", "qr", "lsqr")


class LeastSquaresState(NamedTuple):
    """State of the solvers for least squares.

    Changed when a point is accepted:

    Attributes:
      params: the last accepted point x.
      grad: the gradient of the cost there.
      value: the cost there, scalar.
      kept: the model there, a `linear_models.Kept`; None in the matrix-free form.
      scale: the diagonal of D, shape (n,), or one number for all, scalar.
      first_norm: |g| at the start, scalar.
      hopeless: whether the first trial from here was promised less than the noise of the cost, bool.
      floor: the least value and gradient so far, and the accepted steps in a row that improved neither.
      started: whether the start has been evaluated, bool.

    Changed in every step:

      direction: d, the trial is x + d; zero where the base is to be evaluated (once more).
      slope: <g, d>, scalar.
      promised: the decrease that the trial is measured by, scalar.
      damping: scalar; 0 for Gauss-Newton.
      growth: what the next rejection multiplies the damping by; for Gauss-Newton 1 / a; scalar.
      again: whether the next trial is the base once more, bool: in the matrix-free form after a rejection, in both where
        the loop said that it stops there, so that no step was planned.
    """

    params: Params
    grad: Params
    value: Scalar
    kept: linear_models.Kept | None
    scale: jax.Array
    first_norm: Scalar
    hopeless: jax.Array
    floor: Floor
    started: jax.Array
    direction: Params
    slope: Scalar
    promised: Scalar
    damping: Scalar
    growth: Scalar
    again: jax.Array


class Settings(NamedTuple):
    """What the two factories choose; `damping` None is Gauss-Newton."""

    name: str
    linear_solve: str
    scaling: str
    damping: float | None
    geodesic: bool
    limit: float
    rtol: float | None
    inner_maxiter: int | None


class _Verdict(NamedTuple):
    """What a trial showed: the ratio, whether the point moves, whether there is a model to solve, the status."""

    ratio: Scalar
    moved: jax.Array
    solvable: jax.Array
    status: jax.Array


class _Step(NamedTuple):
    """A trial: d, <g, d>, what it promises, and the products made for it."""

    direction: Params
    slope: Scalar
    promised: Scalar
    nhev: jax.Array


def linearised_descent(settings: Settings) -> Solver:
    """Make the solver of the settings.

    Args:
      settings: as the factories of `jopt.solvers.levenberg_marquardt` give them.

    Returns:
      A solver whose state is a `LeastSquaresState`.

    Raises:
      ValueError: for a setting that both methods have, outside its range.
    """
    validate.choice(settings.name, "linear_solve", settings.linear_solve, SOLVES)
    validate.choice(settings.name, "scaling", settings.scaling, ("columns", "identity"))
    if settings.rtol is not None:
        validate.number(settings.name, "rtol", settings.rtol, low=0.0)
    if settings.inner_maxiter is not None:
        validate.integer(settings.name, "inner_maxiter", settings.inner_maxiter, low=1)

    def init(objective: Any, params: Params) -> LeastSquaresState:
        residuals = as_residuals(settings.name, objective)
        params = tree.as_parameters(settings.name, "params", params)
        blank = residuals.blank(params)
        zero = jnp.zeros_like(blank.value)
        dense = linear_models.is_dense(settings.linear_solve, params, residuals.among(blank.aux))
        columns = dense and settings.scaling == "columns"
        return LeastSquaresState(
            params=params,
            grad=blank.grad,
            value=zero,
            kept=linear_models.blank_kept(params, residuals, rows=settings.geodesic) if dense else None,
            scale=jnp.zeros(tree.size(params) if columns else (), zero.dtype),
            first_norm=zero,
            hopeless=jnp.bool_(False),
            floor=no_floor(zero.dtype),
            started=jnp.bool_(False),
            direction=blank.grad,
            slope=zero,
            promised=zero,
            damping=zero + (settings.damping or 0.0),
            growth=zero + FIRST_GROWTH,
            again=jnp.bool_(False),
        )

    def step(objective: Any, state: LeastSquaresState, tolerance: Any = None) -> tuple[LeastSquaresState, Info]:
        residuals = as_residuals(settings.name, objective)
        point, look = _evaluate(settings, residuals, state)
        info, verdict = _judge(state, point)
        base = _rebase(state, point, look, verdict)
        base = _set_damping(settings, state, base, verdict)
        last = is_last(tolerance, info.accepted, info.grad_norm)
        after, nhev = _plan(settings, residuals, base, look, verdict, last)
        floor = find_floor(state.floor, info)
        return after._replace(floor=floor), info._replace(status=stalled_or(floor, info.status), nhev=nhev)

    return Solver(init, step)


def _evaluate(settings: Settings, residuals: Residuals, state: LeastSquaresState) -> tuple[Point, linear_models.Look]:
    trial = tree.axpy(1, state.direction, state.params)
    aux, weighted, model = residuals.linearize(trial)
    if state.kept is None:
        look = linear_models.look_free(model, weighted)
    else:
        look = linear_models.look_dense(model, weighted, trial, rows=settings.geodesic)
    return Point(trial, weighted.value, look.grad, aux), look


def _judge(state: LeastSquaresState, point: Point) -> tuple[Info, _Verdict]:
    """Compare the trial with what was promised; the start is accepted if it is finite, the base once more never."""
    first = ~state.started
    grad_norm = tree.max_abs(point.grad)
    step_norm = tree.max_abs(tree.sub(point.params, state.params))
    finite = jnp.isfinite(point.value) & jnp.isfinite(grad_norm)
    change = state.value - point.value
    by_slopes = -(state.slope + tree.vdot(point.grad, state.direction)) / 2
    decrease = jnp.where(state.hopeless & (jnp.abs(change) <= _noise(state)), by_slopes, change)
    good = (state.promised > 0) & (decrease > LEAST_RATIO * state.promised) & (step_norm > 0)
    moved = finite & (first | (good & ~state.again))
    rejected = ~first & ~moved & ~state.again
    # Nothing is left to try: the trial is the base, or the step is shorter than any that could matter.
    far = 1 / float(jnp.finfo(point.value.dtype).eps) ** 2
    over = rejected & ((step_norm == 0) | ~(jnp.maximum(state.damping, state.growth) <= far))
    status = first_of(
        (~finite & (first | over), Status.NONFINITE),
        (over & state.hopeless, Status.STALLED),
        (over, Status.SEARCH_FAILED),
        otherwise=Status.RUNNING,
    )
    info = Info(
        point=point,
        accepted=moved,
        grad_norm=grad_norm,
        step_norm=jnp.where(first, jnp.inf, step_norm),
        decrease=jnp.where(first, jnp.inf, change),
        status=status,
        nhev=jnp.zeros((), jnp.int32),
    )
    ratio = decrease / jnp.where(state.promised > 0, state.promised, 1)
    return info, _Verdict(ratio, moved, moved | state.again, status)


def _noise(state: LeastSquaresState) -> Scalar:
    """Return the change of the cost that says nothing."""
    relative = float(jnp.finfo(state.value.dtype).eps) ** (2 / 3)
    x = tree.ravel(state.params)[0] if state.scale.shape else state.params
    moved = tree.scaled_norm(state.scale * x if state.scale.shape else x)
    length = relative * moved[0] * moved[1] * (1 if state.scale.shape else state.scale)
    return relative * state.value + jnp.square(length) / 2


def _rebase(state: LeastSquaresState, point: Point, look: linear_models.Look, verdict: _Verdict) -> LeastSquaresState:
    """Return the state with the trial as its base where the point moves."""
    first = ~state.started
    unit, rest = tree.scaled_norm(point.grad)
    if look.fresh is None or not state.scale.shape:
        scale = jnp.where(first, linear_models.gradient_scale(look.model, point.grad), state.scale)
    else:
        scale = linear_models.column_scale(state.scale, look.fresh.matrix)
    new = (point.params, point.grad, point.value, look.fresh, scale)
    old = (state.params, state.grad, state.value, state.kept, state.scale)
    params, grad, value, kept, scale = tree.where(verdict.moved, new, old)
    return state._replace(
        params=params,
        grad=grad,
        value=value,
        kept=kept,
        scale=scale,
        first_norm=jnp.where(first, unit * rest, state.first_norm),
        started=jnp.bool_(True),
    )


def _set_damping(
    settings: Settings, state: LeastSquaresState, base: LeastSquaresState, verdict: _Verdict
) -> LeastSquaresState:
    """Return the base with damping and growth after a trial: Nielsen's rule; the start and the base change nothing."""
    if settings.damping is None:
        growth = jnp.where(verdict.solvable, 1.0, state.growth * FIRST_GROWTH).astype(state.growth.dtype)
        return base._replace(growth=growth)
    tiny = float(jnp.finfo(state.value.dtype).eps) ** 2
    factor = jnp.maximum(LEAST_FACTOR, 1 - (2 * jnp.minimum(verdict.ratio, 1) - 1) ** 3)
    lower = jnp.maximum(state.damping * factor, tiny)
    step = state.started & ~state.again
    damping = jnp.where(verdict.moved, lower, state.damping * state.growth)
    growth = jnp.where(verdict.moved, FIRST_GROWTH, state.growth * FIRST_GROWTH).astype(state.growth.dtype)
    return base._replace(damping=jnp.where(step, damping, state.damping), growth=jnp.where(step, growth, state.growth))


def _plan(
    settings: Settings,
    residuals: Residuals,
    base: LeastSquaresState,
    look: linear_models.Look,
    verdict: _Verdict,
    last: jax.Array,
) -> tuple[LeastSquaresState, jax.Array]:
    """Return the state with the next trial, and the products made; the model is solved only where a step needs it."""
    newton = settings.damping is None
    solvable = verdict.solvable | (base.kept is not None and not newton)
    wanted = solvable & ~last
    found = jax.lax.cond(
        wanted,
        lambda: _solved(settings, residuals, base, look, wanted),
        lambda: _unsolved(settings, base, last),
    )
    # A rejection doubles the growth: until then this is the first step planned from here.
    fresh = verdict.solvable & (base.growth <= FIRST_GROWTH)
    return base._replace(
        hopeless=jnp.where(fresh, found.promised <= _noise(base), base.hopeless),
        direction=found.direction,
        slope=found.slope,
        promised=found.promised,
        again=last if newton else ~wanted,
    ), found.nhev


def _solved(
    settings: Settings, residuals: Residuals, base: LeastSquaresState, look: linear_models.Look, wanted: jax.Array
) -> _Step:
    """Return the step that minimises the model."""
    model = _base_model(settings, base, look, wanted)
    direction, nhev = model.solve(None, None if settings.damping is None else base.damping)
    slope = tree.vdot(base.grad, direction)
    if settings.damping is None:
        return _Step(direction, slope, -slope, nhev)
    promised = -(slope + model.image(direction) / 2)
    if settings.geodesic:
        direction, more = _accelerated(settings, residuals, base, model, direction, base.damping)
        slope, nhev = tree.vdot(base.grad, direction), nhev + more
    return _Step(direction, slope, promised, nhev)


def _unsolved(settings: Settings, base: LeastSquaresState, last: jax.Array) -> _Step:
    """Return half the step for a rejection of Gauss-Newton's, otherwise none."""
    direction = tree.zeros_like(base.direction)
    if settings.damping is None:
        direction = tree.where(last, direction, tree.scale(1 / FIRST_GROWTH, base.direction))
    slope = tree.vdot(base.grad, direction)
    return _Step(direction, slope, -slope, jnp.zeros((), jnp.int32))


def _base_model(
    settings: Settings, base: LeastSquaresState, look: linear_models.Look, wanted: jax.Array
) -> linear_models.Base:
    if base.kept is not None:
        return linear_models.dense_base(base.kept, base.scale, base.params)
    budget = 2 * tree.size(base.params) if settings.inner_maxiter is None else settings.inner_maxiter
    unit, rest = tree.scaled_norm(base.grad)
    rtol = superlinear_term(unit * rest, base.first_norm) if settings.rtol is None else settings.rtol
    maxiter = jnp.where(wanted, jnp.int32(budget), 0)  # in a batch the condition is a select
    effort = linear_models.Effort(jnp.asarray(rtol, base.value.dtype), maxiter)
    return linear_models.free_base(look, base.scale, base.params, effort)


def _accelerated(
    settings: Settings,
    residuals: Residuals,
    base: LeastSquaresState,
    model: linear_models.Base,
    velocity: Params,
    damping: Scalar,
) -> tuple[Params, jax.Array]:
    """Return v + a/2, or v where the correction is too large beside it, and the products made."""
    bend = model.weigh(residuals.bend(base.params, velocity))
    acceleration, nhev = model.solve(jax.tree.map(jnp.negative, bend), damping)
    fits = model.length(acceleration) <= settings.limit * model.length(velocity)
    return tree.where(fits, tree.axpy(0.5, acceleration, velocity), velocity), nhev

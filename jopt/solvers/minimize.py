# SPDX-License-Identifier: Apache-2.0
"""Minimise a function from a start: the one call over solvers, chains and names."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import optax

from jopt import tree, validate
from jopt.linalg.box import Box, project
from jopt.solvers import bounds as boxes
from jopt.solvers import calls, implicit, loop, methods, resuming, stopping, watching
from jopt.solvers.fixed_step import fixed_step
from jopt.solvers.objective import Objective
from jopt.solvers.observing import Iteration
from jopt.solvers.result import Result
from jopt.solvers.second_order import ACTIONS
from jopt.types import Params, Solver


def minimize(
    fun: Callable[..., Any],
    x0: Params,
    args: tuple[Any, ...] = (),
    method: str | Solver | optax.GradientTransformation = "trust-ncg",
    *,
    bounds: tuple[Any, Any] | None = None,
    has_aux: bool = False,
    gtol: float | None = None,
    xtol: float | None = None,
    ftol: float | None = None,
    frtol: float | None = None,
    target: float | None = None,
    maxiter: int = 1000,
    maxfev: int | None = None,
    history: bool = False,
    callback: Callable[[Iteration], Any] | None = None,
    every: int = 1,
    progress: bool = False,
    time_limit: float | None = None,
    resume: loop.LoopState | None = None,
    second_order: str | None = None,
    derivative: str = "implicit",
    trust_unconverged: bool = False,
) -> Result:
    """Minimise a smooth function of a pytree.

    The whole solve is one compiled program with one copy of the objective, as if under `jax.jit`: what `fun` closes over
    is read at the first call and frozen, so hand over through `args` what changes. Call it again with the same `fun` and
    the same or an equal jopt method, and new values of `x0`, `args` or the limits, and nothing is traced or compiled anew
    (an optax transformation, or a method with an array or a random key among its settings, equals itself alone: make it
    once). It works inside `jit`, `vmap` and `lax.scan`.

    Args:
      fun: `fun(params, *args)` giving a real scalar, or `(value, aux)` with `has_aux`. It must be traceable by JAX.
      x0: start: a number, an array or any tree of them, real and floating.
      args: further arguments of `fun`: a tuple of trees of arrays (one argument alone need not be wrapped).
      method: a name (`"trust-ncg"`, `"newton-cg"`, `"lbfgs"`, `"bfgs"`, `"nonlinear-cg"`, `"trust-exact"`, `"dogleg"`,
        `"newton"`, `"dfp"`, `"gradient-descent"`), a solver such as `jopt.lbfgs(memory=5)`, or a transformation or chain,
        jopt's or optax's, such as `jopt.adam(1e-2)`, whose updates are then added as they stand. The default asks for
        second derivatives of `fun`; `"lbfgs"` does without.
      bounds: `(lower, upper)`, each a number, None for no bound, a tree like x0 of numbers, Nones and arrays of the leaves'
        shapes, or a prefix of such a tree, whose entries then stand for all leaves below them; -inf and inf are no bounds,
        and lower = upper fixes an entry. Every point at which `fun` is evaluated lies within them, and in all tests below
        the gradient is the projected gradient (`jopt.linalg.projected_gradient`). For the methods that keep within bounds.
      has_aux: whether `fun` returns auxiliary output beside the value.
      gtol: CONVERGED when the largest gradient entry is at most this, >= 0; None means sqrt(eps) max(1, |g(x0)|_inf),
        with eps that of the least precise leaf of x0.
      xtol: STEP when no parameter moved by more than this, >= 0; None leaves the test out.
      ftol: DECREASE when the value changed by at most this, >= 0; None leaves the test out.
      frtol: RELATIVE_DECREASE when the value changed by at most this times its size, >= 0; None leaves the test out.
      target: TARGET when the value is at most this; None leaves the test out.
      maxiter: accepted steps at most, >= 0.
      maxfev: evaluations at most, >= 1; None sets no limit.
      history: whether to record value, gradient norm, step and evaluations at each accepted point. The arrays have
        maxiter + 1 rows, so `maxiter` must then be a Python number.
      callback: called with a `jopt.Iteration` at every so many accepted steps and at the end. Outside `jit`, `vmap` and
        `grad` it ends the solve with STOPPED by returning True; inside it can only observe.
      every: accepted steps between calls of `callback`, >= 1.
      progress: whether to show a bar while solving, by the package rich (`pip install 'jopt[progress]'`). Not under
        `jit`, `vmap` or `grad`.
      time_limit: TIME when so many seconds have passed, > 0, compilation left out; looked at about ten times a second.
        None sets no limit. Not under `jit`, `vmap` or `grad`.
      resume: the `state` of a result to go on from; x0 then gives the structure alone. None begins at x0.
      second_order: what to do where the gradient test holds: None ends with CONVERGED; "report" looks for negative
        curvature by Lanczos, at most 32 Hessian-vector products, and ends with SADDLE if it finds some; "escape" then goes
        on from a lower point along it.
      derivative: how the result is differentiated with respect to `args`. "implicit": by the implicit function theorem, in
        both modes, at the cost of one linear solve with the Hessian. "unrolled": back or forth through the loop, which
        then makes `maxfev` trips, a Python number; the derivative with respect to `x0` too is then that of the loop.
      trust_unconverged: whether implicit derivatives of a solve that did not end CONVERGED are computed as if it had,
        instead of being NaN.

    Returns:
      A `Result`. `success` is true only if the test that ended the solve holds at the point returned; `message` says
      what happened otherwise, and what to try.

    Raises:
      ValueError: for a setting outside its range, an unknown method, bounds that do not fit x0, are NaN or cross, or
        bounds with a method that does not keep within them.
        At trace time: for a state of another solve, or a bar or a limit of time, which need Python between trips.
      TypeError: at trace time, if `fun` does not return a real scalar, or a leaf of `x0` is not a real floating array.
      ImportError: for a bar without the package rich.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> result = jopt.minimize(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(2))
      >>> bool(jnp.allclose(result.x, 3.0, atol=1e-3)), bool(result.success)
      (True, True)
    """
    static = calls.as_static("minimize", "fun", fun)
    solver = as_solver(method)
    limits = stopping.check("minimize", stopping.Stopping(gtol, xtol, ftol, frtol, target, maxiter, maxfev))
    params = tree.as_parameters("minimize", "x0", x0)
    options = loop.Options(
        rows=calls.history_rows("minimize", maxiter) if history else None,
        second_order=None
        if second_order is None
        else validate.choice("minimize", "second_order", second_order, ACTIONS),
    )
    rule = implicit.check("minimize", derivative, trust_unconverged, maxfev)
    box = boxes.read("minimize", bounds, params)
    if box is not None:
        boxes.check_solve("minimize", solver, methods.METHODS, second_order, derivative)
    args, state = calls.as_args("minimize", args), resuming.as_state("minimize", resume)

    def compiled(options: loop.Options) -> Result:
        return _solve(static, solver, has_aux, options, rule, params, args, limits, box, state)

    watch = watching.check("minimize", callback, every, progress, time_limit)
    if watch is None:
        return compiled(options)
    full = None if box is None else boxes.fill(box, params)
    objective = Objective(static, args, has_aux, full)
    start = boxes.within(full, params)
    result = watching.solve(watch, solver, objective, limits, start, options, state, compiled)
    return result if full is None else result._replace(projected=boxes.was_projected(full, params, state))


def as_solver(method: Any) -> Solver:
    """Return the solver that `minimize` makes of its `method` argument.

    Raises:
      ValueError: for an unknown name.
      TypeError: if it is neither a name, a solver nor a transformation.
    """
    if isinstance(method, str):
        return methods.by_name(method)
    if isinstance(method, Solver):
        return method
    if getattr(method, "pairs", None) is not None:
        msg = f"minimize: method must move the parameters, but {method!r} is a direction; use jopt.descent(direction, search)."
        raise TypeError(msg)
    if isinstance(method, optax.GradientTransformation):
        return fixed_step(method)
    called = "; was the factory not called?" if callable(method) else ""
    msg = f"minimize: method must be a name, a solver or a transformation, got {method!r}{called}"
    raise TypeError(msg)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _solve(
    fun: Any,
    solver: Solver,
    has_aux: bool,
    options: loop.Options,
    rule: implicit.Rule,
    params: Params,
    args: Any,
    limits: stopping.Stopping,
    box: Box | None,
    resume: loop.LoopState | None,
) -> Result:
    if box is None:
        return implicit.solve(solver, Objective(fun, args, has_aux), limits, params, options, rule, resume)
    box = boxes.fill(box, params)
    objective, start = Objective(fun, args, has_aux, box), project(box, params)
    result = implicit.solve(solver, objective, limits, start, options, rule, resume)
    return result._replace(projected=boxes.was_projected(box, params, resume))

# SPDX-License-Identifier: Apache-2.0
"""Minimise a sum of squared residuals from a start: the one call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jopt import tree, validate
from jopt.solvers import calls, implicit, loop, resuming, stopping, watching
from jopt.solvers.levenberg_marquardt import gauss_newton_descent, levenberg_marquardt
from jopt.solvers.observing import Iteration
from jopt.solvers.residuals import Residuals
from jopt.solvers.result import Result
from jopt.solvers.robust import LOSSES
from jopt.types import Params, Solver

LEAST_SQUARES_METHODS = {"gauss-newton": gauss_newton_descent, "lm": levenberg_marquardt}
"""Names for `least_squares(..., method=name)`; "lm" is SciPy's name."""


def least_squares(
    residual: Callable[..., Any],
    x0: Params,
    args: tuple[Any, ...] = (),
    method: str | Solver = "lm",
    *,
    has_aux: bool = False,
    loss: str = "linear",
    f_scale: float = 1.0,
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
    derivative: str = "implicit",
    trust_unconverged: bool = False,
) -> Result:
    r"""Minimise half the sum of the squares of residuals.

    With a robust loss, 1/2 f_scale^2 sum_i rho((r_i / f_scale)^2). The whole solve is one compiled program with one copy of
    the residual, as if under `jax.jit`; what `jopt.minimize` says of closures, `args`, repeated calls, `jit`, `vmap` and
    `lax.scan` holds here too.

    Args:
      residual: `residual(params, *args)` giving the residuals before they are squared: an array or a tree of arrays, real
        and floating. It must be traceable by JAX and differentiable forwards (`jax.custom_jvp`, not `jax.custom_vjp`).
      x0: start: a number, an array or any tree of them, real and floating.
      args: further arguments of `residual`: a tuple of trees of arrays (one argument alone need not be wrapped).
      method: "lm" (Levenberg-Marquardt), "gauss-newton", or a solver with settings of its own, such as
        `jopt.levenberg_marquardt(geodesic=True)`.
      has_aux: whether `residual` returns `(residuals, aux)`.
      loss: "linear", "huber", "soft_l1", "cauchy" or "arctan", as SciPy defines them.
      f_scale: > 0: the size from which on a residual counts as an outlier; the linear loss does not use it.
      gtol: CONVERGED when the largest entry of the cost's gradient is at most this, >= 0; None means
        sqrt(eps) max(1, |g(x0)|_inf).
      xtol: STEP when no parameter moved by more than this, >= 0; None leaves the test out.
      ftol: DECREASE when the cost changed by at most this, >= 0; None leaves the test out.
      frtol: RELATIVE_DECREASE when the cost changed by at most this times its size, >= 0; None leaves the test out.
      target: TARGET when the cost is at most this; None leaves the test out.
      maxiter: accepted steps at most, >= 0.
      maxfev: evaluations at most, >= 1; None sets no limit.
      history: whether to record cost, gradient norm, step and evaluations at each accepted point; `maxiter` must then be
        a Python number.
      callback: as for `jopt.minimize`: called with a `jopt.Iteration` at every so many accepted steps and at the end;
        outside `jit`, `vmap` and `grad` it ends the solve with STOPPED by returning True.
      every: accepted steps between calls of `callback`, >= 1.
      progress: whether to show a bar while solving, by the package rich (`pip install 'jopt[progress]'`). Not under
        `jit`, `vmap` or `grad`.
      time_limit: TIME when so many seconds have passed, > 0, compilation left out. None sets no limit. Not under `jit`,
        `vmap` or `grad`.
      resume: the `state` of a result to go on from; x0 then gives the structure alone. None begins at x0.
      derivative: "implicit" or "unrolled", as for `jopt.minimize`: how the result is differentiated with respect to `args`.
      trust_unconverged: as for `jopt.minimize`.

    Returns:
      A `Result`: `fun` is the cost, `jac` its gradient, `aux` the residuals at x (not weighted by the loss), or the pair
      `(residuals, aux)` with has_aux, `njev` counts
      linearisations of the residual, `nhev` the steps of LSQR, each a product with J and one with J'.

    Raises:
      ValueError: for a setting outside its range, an unknown method or loss; at trace time for a state of another solve,
        or a bar or a limit of time, which need Python between trips.
      TypeError: for a method of `jopt.minimize`; at trace time, if the residuals are a scalar or not real floating
        arrays, or a leaf of `x0` is not.
      ImportError: for a bar without the package rich.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> t = jnp.linspace(0.0, 1.0, 9)
      >>> def residual(p, t, y):
      ...     return p["size"] * jnp.exp(-p["rate"] * t) - y
      >>> fit = jopt.least_squares(residual, {"size": 1.0, "rate": 1.0}, (t, 3.0 * jnp.exp(-2.0 * t)))
      >>> bool(jnp.allclose(fit.x["rate"], 2.0, atol=1e-2)), bool(fit.success)
      (True, True)

    Reference:
      Moré (1978), doi:10.1007/BFb0067700; Nielsen (1999), IMM-REP-1999-05; Triggs et al. (2000), doi:10.1007/3-540-44480-7_21.
    """
    name = "least_squares"
    fun = calls.as_static(name, "residual", residual)
    solver = as_least_squares_solver(method)
    validate.flag(name, "has_aux", has_aux)
    validate.choice(name, "loss", loss, LOSSES)
    validate.number(name, "f_scale", f_scale, low=0.0, low_open=True)
    limits = stopping.check(name, stopping.Stopping(gtol, xtol, ftol, frtol, target, maxiter, maxfev))
    params = tree.as_parameters(name, "x0", x0)
    options = loop.Options(calls.history_rows(name, maxiter) if history else None)
    args = calls.as_args(name, args)
    rule = implicit.check(name, derivative, trust_unconverged, maxfev)
    size = f_scale if isinstance(f_scale, Tracer) else np.float64(f_scale)
    state = resuming.as_state(name, resume)

    def compiled(options: loop.Options) -> Result:
        return _solve(fun, solver, loss, has_aux, options, rule, params, args, size, limits, state)

    watch = watching.check(name, callback, every, progress, time_limit)
    if watch is None:
        return compiled(options)
    return watching.solve(
        watch, solver, Residuals(fun, args, loss, size, has_aux), limits, params, options, state, compiled
    )


def as_least_squares_solver(method: Any) -> Solver:
    """Return the solver that `least_squares` makes of its `method` argument.

    Raises:
      ValueError: for an unknown name.
      TypeError: if it is neither a name nor a solver for least squares.
    """
    if isinstance(method, str):
        return _by_name(method)
    ours = {factory.__name__ for factory in LEAST_SQUARES_METHODS.values()}
    if isinstance(method, Solver):
        made = method.settings["solver"] if method.name == "packed" else method
        if made.name in {"", *ours}:  # a pair made by hand has no name
            return method
    called = "; was the factory not called?" if callable(method) else "."
    msg = (
        f"least_squares: method must be a name or a solver for least squares, got {method!r}{called} It takes 'lm', "
        "'gauss-newton', levenberg_marquardt(...) or gauss_newton_descent(...); jopt.minimize takes the other methods."
    )
    raise TypeError(msg)


@functools.cache
def _by_name(name: str) -> Solver:
    hint = "Or pass a solver such as jopt.levenberg_marquardt(geodesic=True); jopt.minimize takes the other methods."
    return LEAST_SQUARES_METHODS[validate.choice("least_squares", "method", name, LEAST_SQUARES_METHODS, hint=hint)]()


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4, 5))
def _solve(
    fun: Any,
    solver: Solver,
    loss: str,
    has_aux: bool,
    options: loop.Options,
    rule: implicit.Rule,
    params: Params,
    args: Any,
    f_scale: Any,
    limits: stopping.Stopping,
    resume: loop.LoopState | None,
) -> Result:
    return implicit.solve(solver, Residuals(fun, args, loss, f_scale, has_aux), limits, params, options, rule, resume)

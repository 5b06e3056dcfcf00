# SPDX-License-Identifier: Apache-2.0
"""The named solvers: each is a choice of a direction, a search and a first trial."""

from __future__ import annotations

import functools
from typing import Any

from jopt import linesearch, validate
from jopt.linesearch.first_trial import Strategy
from jopt.solvers.descent import descent
from jopt.solvers.trust_methods import dogleg, trust_exact, trust_ncg
from jopt.transforms.conjugate import scale_by_nonlinear_cg
from jopt.transforms.dense_quasi_newton import MAX_BYTES, scale_by_bfgs, scale_by_dfp
from jopt.transforms.elementary import identity
from jopt.transforms.newton import scale_by_newton
from jopt.transforms.newton_cg import scale_by_newton_cg
from jopt.transforms.quasi_newton import scale_by_lbfgs
from jopt.types import LineSearch, Solver, described

# Part of the first slope that an accurate search leaves: Nocedal and Wright (2006), section 3.1, for nonlinear CG.
ACCURATE = 0.1


@described
def lbfgs(
    memory: int = 10,
    *,
    search: LineSearch | None = None,
    first_trial: Strategy = linesearch.unit,
    history_dtype: Any = None,
) -> Solver:
    """Minimise by limited-memory BFGS with a Wolfe line search.

    For smooth objectives with any number of parameters, with or without bounds. Memory: 2 m + 5 arrays of parameter size
    within `minimize` without bounds.

    Args:
      memory: pairs kept, m >= 1.
      search: a line search; None means `jopt.linesearch.strong_wolfe()`.
      first_trial: a strategy of `jopt.linesearch` for the first trial of each search.
      history_dtype: floating dtype of the stored pairs, for example bfloat16; None keeps each leaf's.

    Returns:
      A solver; `minimize(..., method="lbfgs")` uses it with its defaults.

    Reference:
      Liu and Nocedal (1989), On the limited memory BFGS method for large scale optimization, doi:10.1007/BF01589116;
      with bounds: Byrd, Lu, Nocedal and Zhu (1995), doi:10.1137/0916069 (`jopt.linalg.boxed_model` has the step).
    """
    direction = scale_by_lbfgs(memory, history_dtype=history_dtype)
    return descent(direction, search or linesearch.strong_wolfe(), first_trial=first_trial)


@described
def bfgs(
    *,
    search: LineSearch | None = None,
    first_trial: Strategy = linesearch.unit,
    max_bytes: int = MAX_BYTES,
) -> Solver:
    """Minimise by BFGS with the whole inverse matrix and a Wolfe line search.

    For smooth objectives with up to a few dozen parameters, or batches of such; beyond that the n x n matrix costs more
    than it brings, and `lbfgs` is faster.

    Args:
      search: a line search; None means `jopt.linesearch.strong_wolfe()`.
      first_trial: a strategy of `jopt.linesearch` for the first trial of each search.
      max_bytes: largest size of the matrix in bytes, >= 1; beyond it the solve raises when it is traced.

    Returns:
      A solver; `minimize(..., method="bfgs")` uses it with its defaults.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, Algorithm 6.1, doi:10.1007/978-0-387-40065-5.
    """
    return descent(scale_by_bfgs(max_bytes=max_bytes), search or linesearch.strong_wolfe(), first_trial=first_trial)


@described
def dfp(
    *,
    search: LineSearch | None = None,
    first_trial: Strategy = linesearch.unit,
    max_bytes: int = MAX_BYTES,
) -> Solver:
    """Minimise by the method of Davidon, Fletcher and Powell, for study; `bfgs` does better.

    Args:
      search: a line search; None means `jopt.linesearch.strong_wolfe(curvature=0.1)`: with inexact steps the matrix is
        slow to shrink where it is too large.
      first_trial: a strategy of `jopt.linesearch` for the first trial of each search.
      max_bytes: largest size of the matrix in bytes, >= 1; beyond it the solve raises when it is traced.

    Returns:
      A solver; `minimize(..., method="dfp")` uses it with its defaults.

    Reference:
      Fletcher and Powell (1963), A rapidly convergent descent method for minimization, doi:10.1093/comjnl/6.2.163; the
      weakness: Powell (1986), How bad are the BFGS and DFP methods when the objective function is quadratic?, Math.
      Program. 34, doi:10.1007/BF01582161.
    """
    search = search or linesearch.strong_wolfe(curvature=ACCURATE)
    return descent(scale_by_dfp(max_bytes=max_bytes), search, first_trial=first_trial)


@described
def nonlinear_cg(
    beta: str = "hestenes-stiefel",
    *,
    restart: float | None = 0.2,
    restart_every: int | None = None,
    eta: float = 0.4,
    search: LineSearch | None = None,
    first_trial: Strategy = linesearch.slope_ratio,
) -> Solver:
    """Minimise by nonlinear conjugate gradients with an accurate Wolfe line search.

    For smooth objectives with so many parameters that the history of `lbfgs` does not fit: it carries six arrays of
    parameter size within `minimize`. It needs more evaluations.

    Args:
      beta: the formula: "hestenes-stiefel", "polak-ribiere+", "fletcher-reeves", "dai-yuan" or "hager-zhang".
      restart: Powell's test for a restart along -g, > 0; None never.
      restart_every: a restart at least once in so many steps, >= 1; None never.
      eta: how far below zero "hager-zhang" lets beta go, >= 0; without effect on the others.
      search: a line search; None means `jopt.linesearch.strong_wolfe(curvature=0.1)`.
      first_trial: a strategy of `jopt.linesearch` for the first trial of each search.

    Returns:
      A solver; `minimize(..., method="nonlinear-cg")` uses it with its defaults.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 5.2, doi:10.1007/978-0-387-40065-5;
      `jopt.transforms.conjugate` names the source of each formula.
    """
    direction = scale_by_nonlinear_cg(beta, restart=restart, restart_every=restart_every, eta=eta)
    return descent(direction, search or linesearch.strong_wolfe(curvature=ACCURATE), first_trial=first_trial)


@described
def gradient_descent(
    *,
    search: LineSearch | None = None,
    first_trial: Strategy = linesearch.slope_ratio,
) -> Solver:
    """Minimise along the negative gradient with a line search: the method of steepest descent.

    Args:
      search: a line search; None means `jopt.linesearch.strong_wolfe()`.
      first_trial: a strategy of `jopt.linesearch` for the first trial of each search.

    Returns:
      A solver; `minimize(..., method="gradient-descent")` uses it with its defaults.

    Reference:
      Cauchy (1847), Méthode générale pour la résolution des systèmes d'équations simultanées; Nocedal and Wright
      (2006), Numerical Optimization, section 3.3.
    """
    return descent(identity(), search or linesearch.strong_wolfe(), first_trial=first_trial)


@described
def newton(
    *,
    damping: Any = 0.0,
    modification: str | None = "absolute",
    search: LineSearch | None = None,
) -> Solver:
    """Minimise by Newton's method with the whole Hessian and a line search.

    For smooth objectives with few parameters: each iteration makes n products and the eigenvalues of an n x n matrix.

    Args:
      damping: added to the Hessian's diagonal, >= 0.
      modification: "absolute", "clip", "shift" or None, as for `scale_by_newton`.
      search: a line search; None means `jopt.linesearch.backtracking()`. Its first trial is 1.

    Returns:
      A solver; `minimize(..., method="newton")` uses it with its defaults.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 3.4, doi:10.1007/978-0-387-40065-5.
    """
    direction = scale_by_newton(damping=damping, modification=modification)
    return descent(direction, search or linesearch.backtracking(), first_trial=linesearch.constant(1.0))


@described
def newton_cg(
    *,
    forcing: str | float = "superlinear",
    cg_maxiter: int | None = None,
    preconditioner: Any = None,
    search: LineSearch | None = None,
) -> Solver:
    """Minimise by Newton's method with truncated conjugate gradients and a line search.

    For smooth objectives with any number of parameters; the Hessian is known by its products alone. It keeps within
    bounds, unless there is a preconditioner that is not diagonal.

    Args:
      forcing: how exactly each direction is solved for: "superlinear", "eisenstat-walker-1", "eisenstat-walker-2", or a
        number in [0, 1).
      cg_maxiter: products for one direction at most, >= 1; None means 2 n, and at least 20.
      preconditioner: None, "jacobi", "hutchinson", "lbfgs", or as for `scale_by_newton_cg`.
      search: a line search; None means `jopt.linesearch.backtracking()`. Its first trial is 1.

    Returns:
      A solver; `minimize(..., method="newton-cg")` uses it with its defaults.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 7.1, doi:10.1007/978-0-387-40065-5.
    """
    direction = scale_by_newton_cg(forcing=forcing, maxiter=cg_maxiter, preconditioner=preconditioner)
    return descent(direction, search or linesearch.backtracking(), first_trial=linesearch.constant(1.0))


METHODS = {
    "bfgs": bfgs,
    "dfp": dfp,
    "dogleg": dogleg,
    "gradient-descent": gradient_descent,
    "lbfgs": lbfgs,
    "newton": newton,
    "newton-cg": newton_cg,
    "nonlinear-cg": nonlinear_cg,
    "trust-exact": trust_exact,
    "trust-ncg": trust_ncg,
}
"""Names for `minimize(..., method=name)`: the factory's name with hyphens."""


@functools.cache
def by_name(name: str) -> Solver:
    """Return the named solver with its default settings, the same object each time.

    Raises:
      ValueError: for an unknown name, listing the valid ones.
    """
    hint = "Or pass a solver, or a transformation such as jopt.adam(1e-2)."
    return METHODS[validate.choice("minimize", "method", name, METHODS, hint=hint)]()

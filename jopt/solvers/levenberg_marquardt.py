# SPDX-License-Identifier: Apache-2.0
"""The named solvers for least squares: Levenberg and Marquardt's method, and Gauss and Newton's with backtracking.

Both are settings of one solver; `jopt.solvers.linearised` says what a step does and why.
"""

from __future__ import annotations

from jopt import validate
from jopt.solvers.linearised import Settings, linearised_descent
from jopt.types import Solver, described


@described
def levenberg_marquardt(
    *,
    linear_solve: str = "auto",
    scaling: str = "columns",
    damping: float = 1e-3,
    geodesic: bool = False,
    acceleration_limit: float = 0.75,
    rtol: float | None = None,
    inner_maxiter: int | None = None,
) -> Solver:
    """Solve nonlinear least squares by Levenberg and Marquardt's method.

    For residuals that are smooth; of any shape, more or fewer than the parameters, of any rank. Use it through
    `jopt.least_squares(residual, x0, method=levenberg_marquardt(...))`.

    Args:
      linear_solve: "qr" forms the Jacobian and factorises it; "lsqr" needs products alone; "auto" forms it up to 512
        parameters and 2^22 entries.
      scaling: "columns" measures steps in the largest norms that the Jacobian's columns have had (Moré), which makes the
        method independent of the parameters' units; "identity" in one unit for all. The matrix-free form knows no
        columns and always uses "identity".
      damping: the first damping, > 0, without a unit. Small for a good start, 1 for a poor one.
      geodesic: whether to correct each step for the curvature of the model manifold; adds a second copy of the residual
        to the program, and a second linear solve.
      acceleration_limit: > 0: largest |a| / |v| at which the correction is used.
      rtol: >= 0: relative tolerance of LSQR; None means min(1/2, sqrt(|g| / |g_0|)).
      inner_maxiter: LSQR steps at most for one solve, >= 1; None means twice the number of parameters.

    Returns:
      A solver whose state is a `LeastSquaresState`. One step costs one residual, n products with J or m with J' and one
      factorisation of (m + n) x n; or, matrix-free, one residual and two products for each step of LSQR, which `nhev` counts.

    Raises:
      ValueError: for a setting outside its range.

    Reference:
      Nielsen (1999), Damping parameter in Marquardt's method, IMM-REP-1999-05; Moré (1978), doi:10.1007/BFb0067700;
      Transtrum and Sethna (2012), arXiv:1201.5885.
    """
    name = "levenberg_marquardt"
    validate.number(name, "damping", damping, low=0.0, low_open=True)
    validate.flag(name, "geodesic", geodesic)
    validate.number(name, "acceleration_limit", acceleration_limit, low=0.0, low_open=True)
    settings = Settings(name, linear_solve, scaling, damping, geodesic, acceleration_limit, rtol, inner_maxiter)
    return linearised_descent(settings)


@described
def gauss_newton_descent(
    *,
    linear_solve: str = "auto",
    scaling: str = "columns",
    rtol: float | None = None,
    inner_maxiter: int | None = None,
) -> Solver:
    """Solve nonlinear least squares by Gauss and Newton's method with backtracking.

    For residuals that are nearly linear or nearly zero at the solution; there it converges fast, and linear residuals
    take one step. Where the Jacobian loses rank it takes the step of least norm. `levenberg_marquardt` is the safer choice.

    Args:
      linear_solve: as for `levenberg_marquardt`.
      scaling: as for `levenberg_marquardt`; it decides the rank, and the norm that is least.
      rtol: as for `levenberg_marquardt`.
      inner_maxiter: as for `levenberg_marquardt`.

    Returns:
      A solver whose state is a `LeastSquaresState`.

    Raises:
      ValueError: for a setting outside its range.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 10.3.
    """
    return linearised_descent(
        Settings("gauss_newton_descent", linear_solve, scaling, None, False, 1.0, rtol, inner_maxiter)
    )

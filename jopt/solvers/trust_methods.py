# SPDX-License-Identifier: Apache-2.0
"""The named trust-region solvers: each is a choice of a subproblem."""

from __future__ import annotations

from jopt.solvers.subproblems import DENSE_MOST, dogleg_path, exact, truncated_cg
from jopt.solvers.trust_region import trust_region
from jopt.types import Solver, described


@described
def trust_ncg(
    *,
    forcing: str | float = "superlinear",
    radius: float = 1.0,
    max_radius: float | None = None,
    rule: str = "nocedal-wright",
    eta: float = 1e-4,
    noise: float | None = None,
    kept: int = 4,
    cg_maxiter: int | None = None,
) -> Solver:
    """Minimise by trust-region Newton-CG, on Hessian-vector products.

    For smooth objectives with any number of parameters, convex or not: negative curvature is followed to the boundary.
    Within bounds, too: the model is then minimised in the ball and the box, on the entries free to move.
    The program holds the objective once and the product once. `minimize` carries `kept` + 5 arrays of parameter size,
    beside those of the inner iteration and of the linearised gradient.

    Args:
      forcing: how exactly to solve the model, see `jopt.solvers.subproblems.truncated_cg`.
      radius: of the first ball, > 0, as a multiple of max(1, |x0|).
      max_radius: largest radius, > 0; None sets no limit.
      rule: how the radius follows from a trial, see `trust_region`.
      eta: least ratio, in [0, 1/4), at which a trial is accepted.
      noise: relative error of a value, >= 0; None means eps^(2/3).
      kept: iterates kept so that a rejected step costs no product, >= 1.
      cg_maxiter: products at a point at most, >= 1; None means 2 n, and at least 20.

    Returns:
      A solver; `minimize(..., method="trust-ncg")` uses it with its defaults.

    Reference:
      Steihaug (1983), The conjugate gradient method and trust regions in large scale optimization, doi:10.1137/0720042.
    """
    subproblem = truncated_cg(forcing=forcing, kept=kept, maxiter=cg_maxiter)
    return trust_region(subproblem, radius=radius, max_radius=max_radius, rule=rule, eta=eta, noise=noise)


@described
def trust_exact(
    *,
    radius: float = 1.0,
    max_radius: float | None = None,
    rule: str = "nocedal-wright",
    eta: float = 1e-4,
    noise: float | None = None,
    most: int = DENSE_MOST,
) -> Solver:
    """Minimise by a trust region whose model is solved exactly, on a dense Hessian.

    For few parameters: n products and O(n^3) operations at each accepted point.

    Args:
      radius: of the first ball, > 0, as a multiple of max(1, |x0|).
      max_radius: largest radius, > 0; None sets no limit.
      rule: how the radius follows from a trial, see `trust_region`.
      eta: least ratio, in [0, 1/4), at which a trial is accepted.
      noise: relative error of a value, >= 0; None means eps^(2/3).
      most: parameters accepted, >= 1; a solve with more raises.

    Returns:
      A solver; `minimize(..., method="trust-exact")` uses it with its defaults.

    Reference:
      Moré and Sorensen (1983), Computing a trust region step, SIAM J. Sci. Stat. Comput. 4(3), doi:10.1137/0904038.
    """
    return trust_region(exact(most=most), radius=radius, max_radius=max_radius, rule=rule, eta=eta, noise=noise)


@described
def dogleg(
    *,
    radius: float = 1.0,
    max_radius: float | None = None,
    rule: str = "nocedal-wright",
    eta: float = 1e-4,
    noise: float | None = None,
    most: int = DENSE_MOST,
) -> Solver:
    """Minimise by a trust region along Powell's dogleg, on a dense positive definite model.

    For few parameters; costs as `trust_exact`. An indefinite Hessian enters with its absolute eigenvalues.

    Args:
      radius: of the first ball, > 0, as a multiple of max(1, |x0|).
      max_radius: largest radius, > 0; None sets no limit.
      rule: how the radius follows from a trial, see `trust_region`.
      eta: least ratio, in [0, 1/4), at which a trial is accepted.
      noise: relative error of a value, >= 0; None means eps^(2/3).
      most: parameters accepted, >= 1; a solve with more raises.

    Returns:
      A solver; `minimize(..., method="dogleg")` uses it with its defaults.

    Reference:
      Powell (1970), A hybrid method for nonlinear equations; Nocedal and Wright (2006), Numerical Optimization,
      eq. (4.16).
    """
    return trust_region(dogleg_path(most=most), radius=radius, max_radius=max_radius, rule=rule, eta=eta, noise=noise)

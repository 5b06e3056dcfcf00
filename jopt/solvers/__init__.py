# SPDX-License-Identifier: Apache-2.0
"""Objective and start to result.

- minimize.py: `minimize`, the one call.
- methods.py: the named solvers; trust_methods.py: those with a trust region.
- trust_region.py: a model within a ball; subproblems.py: how it is solved; radius.py: how the ball adapts.
- descent.py: direction x line search; steering.py: how it asks the direction; fixed_step.py: a finished optimizer, added as it stands.
- least_squares.py: `least_squares`, the call; levenberg_marquardt.py: its solvers; linearised.py: what a step of them does;
  linear_models.py: how the linear model is solved; residuals.py, robust.py: the user's residuals, and losses.
- loop.py: the one loop; watching.py, observing.py, progress.py: seeing inside it; resuming.py: going on from its state;
  stopping.py, stalling.py: when it ends; result.py: what it returns.
- batch.py: `minimize_batch` and `least_squares_batch`, the calls; lanes.py: many problems that share a few working lanes.
- global_search.py: random points, and a method from many starts.
- objective.py: the user's function; info.py: what a solver says of one step.
"""

from jopt.solvers.batch import least_squares_batch, minimize_batch
from jopt.solvers.descent import DescentState, descent
from jopt.solvers.fixed_step import FixedStepState, fixed_step
from jopt.solvers.global_search import MultistartResult, multistart, random_search
from jopt.solvers.info import Info
from jopt.solvers.least_squares import least_squares
from jopt.solvers.levenberg_marquardt import gauss_newton_descent, levenberg_marquardt
from jopt.solvers.linearised import LeastSquaresState
from jopt.solvers.loop import History, LoopState
from jopt.solvers.methods import bfgs, dfp, gradient_descent, lbfgs, newton, newton_cg, nonlinear_cg
from jopt.solvers.minimize import minimize
from jopt.solvers.objective import Objective, Point
from jopt.solvers.observing import Iteration
from jopt.solvers.residuals import Residuals
from jopt.solvers.result import Result
from jopt.solvers.stopping import Stopping
from jopt.solvers.trust_methods import dogleg, trust_exact, trust_ncg
from jopt.solvers.trust_region import TrustRegionState, trust_region

__all__ = [
    "DescentState", "FixedStepState", "History", "Info", "Iteration", "LeastSquaresState", "LoopState", "MultistartResult", "Objective", "Point",
    "Residuals", "Result", "Stopping", "TrustRegionState", "bfgs", "descent", "dfp", "dogleg", "fixed_step",
    "gauss_newton_descent", "gradient_descent", "lbfgs", "least_squares", "least_squares_batch", "levenberg_marquardt", "minimize", "minimize_batch",
    "multistart", "newton", "newton_cg", "nonlinear_cg", "random_search", "trust_exact", "trust_ncg", "trust_region",
]  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""Objective and start to result.

- minimize.py: `minimize`, the one call.
- methods.py: the named solvers, `lbfgs`, `gradient_descent`.
- descent.py: direction x line search; fixed_step.py: a finished optimizer, added as it stands.
- loop.py: the one loop; stopping.py: when it ends; result.py: what it returns.
- objective.py: the user's function; info.py: what a solver says of one step.
"""

from jopt.solvers.descent import DescentState, descent
from jopt.solvers.fixed_step import FixedStepState, fixed_step
from jopt.solvers.info import Info
from jopt.solvers.loop import History
from jopt.solvers.methods import gradient_descent, lbfgs
from jopt.solvers.minimize import minimize
from jopt.solvers.objective import Objective, Point
from jopt.solvers.result import Result
from jopt.solvers.stopping import Stopping

__all__ = [
    "DescentState", "FixedStepState", "History", "Info", "Objective", "Point", "Result", "Stopping", "descent",
    "fixed_step", "gradient_descent", "lbfgs", "minimize",
]  # fmt: skip

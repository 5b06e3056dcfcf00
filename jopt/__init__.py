# SPDX-License-Identifier: Apache-2.0
"""jopt: optimization in JAX.

One idea: choose a direction, choose how far, repeat until a stated condition holds, and all of it is pure
`init`/`update` pairs over pytrees.

- Minimise a function:         `jopt.minimize(fun, x0)`, see `help(jopt.minimize)`
- Many problems at once:       `jopt.minimize_batch(fun, starts, args)`, `jopt.least_squares_batch(residual, starts, args)`
- From many starts:            `jopt.multistart(fun, starts)`, `jopt.random_search(fun, box, key)`
- Fit residuals:               `jopt.least_squares(residual, x0)`
- Train by hand:               `jopt.adam(1e-3)`, `jopt.chain(...)`, `jopt.apply_updates`
- Solvers for any size:        `jopt.trust_ncg()`, `jopt.newton_cg()`, `jopt.lbfgs()`, `jopt.nonlinear_cg()`
- Solvers for few parameters:  `jopt.trust_exact()`, `jopt.dogleg()`, `jopt.newton()`, `jopt.bfgs()`, `jopt.dfp()`
- Solvers put together:        `jopt.descent(direction, search)`, `jopt.trust_region(subproblem)`
- Learning rates:              `jopt.schedules`
- How far along a direction:   `jopt.linesearch`
- One variable:                `jopt.univariate`
- Problems with known minima:  `jopt.problems`
- Products with matrices:      `jopt.linalg`
- Hessians and spectra:        `jopt.curvature`
- Forward and reverse mode:    `jopt.autodiff`
"""

from optax import apply_updates

from jopt import autodiff, curvature, linalg, linesearch, problems, schedules, univariate
from jopt.combinators import chain
from jopt.optimizers import (
    adadelta,
    adagrad,
    adam,
    adamax,
    adamw,
    amsgrad,
    lion,
    momentum,
    nadam,
    nadamw,
    nesterov,
    rmsprop,
    sgd,
)
from jopt.solvers import (
    DescentState,
    FixedStepState,
    History,
    Info,
    Iteration,
    LeastSquaresState,
    LoopState,
    MultistartResult,
    Objective,
    Point,
    Residuals,
    Result,
    Stopping,
    TrustRegionState,
    bfgs,
    descent,
    dfp,
    dogleg,
    fixed_step,
    gauss_newton_descent,
    gradient_descent,
    lbfgs,
    least_squares,
    least_squares_batch,
    levenberg_marquardt,
    minimize,
    minimize_batch,
    multistart,
    newton,
    newton_cg,
    nonlinear_cg,
    random_search,
    trust_exact,
    trust_ncg,
    trust_region,
)
from jopt.status import SearchStatus, Status
from jopt.transforms import (
    add_decayed_weights,
    add_noise,
    clip,
    clip_by_global_norm,
    clip_by_leaf_norm,
    ema,
    identity,
    lookahead_momentum,
    reduce_on_plateau,
    scale,
    scale_by_adadelta,
    scale_by_adam,
    scale_by_adamax,
    scale_by_amsgrad,
    scale_by_bfgs,
    scale_by_dfp,
    scale_by_gauss_newton_cg,
    scale_by_lbfgs,
    scale_by_learning_rate,
    scale_by_line_search,
    scale_by_lion,
    scale_by_lp_adam,
    scale_by_newton,
    scale_by_newton_cg,
    scale_by_nonlinear_cg,
    scale_by_rms,
    scale_by_rss,
    scale_by_schedule,
    scale_by_sr1,
    scale_by_stddev,
    shifted_momentum,
    sign,
    trace,
)
from jopt.types import GradientTransformation, LineSearch, Solver

__version__ = "0.1.0"

__all__ = [
    "DescentState", "FixedStepState", "GradientTransformation", "History", "Info", "Iteration", "LeastSquaresState", "LineSearch", "LoopState",
    "MultistartResult", "Objective", "Point", "Residuals", "Result", "SearchStatus", "Solver", "Status", "Stopping",
    "TrustRegionState", "adadelta", "adagrad", "adam", "adamax", "adamw", "add_decayed_weights", "add_noise", "amsgrad",
    "apply_updates", "autodiff", "bfgs", "chain", "clip", "clip_by_global_norm", "clip_by_leaf_norm", "curvature", "descent", "dfp",
    "dogleg", "ema", "fixed_step", "gauss_newton_descent", "gradient_descent", "identity", "lbfgs", "least_squares",
    "least_squares_batch", "levenberg_marquardt", "linalg", "linesearch", "lion", "lookahead_momentum", "minimize", "minimize_batch", "momentum", "multistart",
    "nadam", "nadamw", "nesterov", "newton", "newton_cg", "nonlinear_cg", "problems", "random_search",
    "reduce_on_plateau", "rmsprop", "scale", "scale_by_adadelta", "scale_by_adam", "scale_by_adamax",
    "scale_by_amsgrad", "scale_by_bfgs", "scale_by_dfp", "scale_by_gauss_newton_cg", "scale_by_lbfgs",
    "scale_by_learning_rate", "scale_by_line_search", "scale_by_lion", "scale_by_lp_adam", "scale_by_newton",
    "scale_by_newton_cg", "scale_by_nonlinear_cg", "scale_by_rms", "scale_by_rss", "scale_by_schedule", "scale_by_sr1",
    "scale_by_stddev", "schedules", "sgd", "shifted_momentum", "sign", "trace", "trust_exact", "trust_ncg",
    "trust_region", "univariate",
]  # fmt: skip

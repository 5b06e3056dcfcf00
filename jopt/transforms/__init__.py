# SPDX-License-Identifier: Apache-2.0
"""Gradients to updates.

First order:

- elementary.py: identity, a number, a schedule, the learning rate, the sign
- momentum.py: heavy ball, exponential average, look-ahead, Nesterov's method as first written
- adaptive.py: Adagrad, RMSProp, Adadelta; adam.py: Adam and its relatives; precision.py: moments in another dtype
- clipping.py, weight_decay.py, noise.py, plateau.py

Curved, as directions whose output is a preconditioned gradient:

- quasi_newton.py: limited-memory BFGS; dense_quasi_newton.py: BFGS, DFP, SR1; conjugate.py: nonlinear conjugate gradients
- newton.py: Newton with the whole Hessian; newton_cg.py: by conjugate gradients (forcing.py: how exactly)
- hessian_free.py: damped Gauss-Newton on minibatches

How far, for loops written by hand:

- line_search.py: a whole line search in one update
"""

from jopt.transforms.adam import scale_by_adam, scale_by_adamax, scale_by_amsgrad, scale_by_lion, scale_by_lp_adam
from jopt.transforms.adaptive import scale_by_adadelta, scale_by_rms, scale_by_rss, scale_by_stddev
from jopt.transforms.clipping import clip, clip_by_global_norm, clip_by_leaf_norm
from jopt.transforms.conjugate import scale_by_nonlinear_cg
from jopt.transforms.dense_quasi_newton import scale_by_bfgs, scale_by_dfp, scale_by_sr1
from jopt.transforms.elementary import identity, scale, scale_by_learning_rate, scale_by_schedule, sign
from jopt.transforms.hessian_free import scale_by_gauss_newton_cg
from jopt.transforms.line_search import scale_by_line_search
from jopt.transforms.momentum import ema, lookahead_momentum, shifted_momentum, trace
from jopt.transforms.newton import scale_by_newton
from jopt.transforms.newton_cg import scale_by_newton_cg
from jopt.transforms.noise import add_noise
from jopt.transforms.plateau import reduce_on_plateau
from jopt.transforms.quasi_newton import scale_by_lbfgs
from jopt.transforms.weight_decay import add_decayed_weights

__all__ = [
    "add_decayed_weights", "add_noise", "clip", "clip_by_global_norm", "clip_by_leaf_norm", "ema", "identity",
    "lookahead_momentum", "reduce_on_plateau", "scale", "scale_by_adadelta", "scale_by_adam", "scale_by_adamax",
    "scale_by_amsgrad", "scale_by_bfgs", "scale_by_dfp", "scale_by_gauss_newton_cg", "scale_by_lbfgs",
    "scale_by_learning_rate", "scale_by_line_search", "scale_by_lion", "scale_by_lp_adam", "scale_by_newton",
    "scale_by_newton_cg", "scale_by_nonlinear_cg", "scale_by_rms", "scale_by_rss", "scale_by_schedule", "scale_by_sr1",
    "scale_by_stddev", "shifted_momentum", "sign", "trace",
]  # fmt: skip

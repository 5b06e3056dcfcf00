# SPDX-License-Identifier: Apache-2.0
"""Curvature at a point: objective and parameters in, an operator v -> A v out, and what its products tell.

Operators are functions of one tree like the parameters. They are linearised once, when they are made, and applied many
times; what is done with them that needs no objective lives in `jopt.linalg`.

    hvp.py            products with the Hessian, in three modes; the quadratic model of an objective
    gauss_newton.py   J'HJ of a loss of a model, J'J of a residual
    fisher.py         Fisher matrices, of the model's own predictions and of the gradients of given losses
    hessian.py        the Hessian as a matrix, and its diagonal
    spectrum.py       ends, condition number, trace, diagonal and density of the spectrum
    classify.py       minimum, maximum or saddle; the largest stable step of gradient descent
    lowest.py         the direction of lowest curvature
"""

from jopt.curvature.classify import Classification, PointKind, classify, largest_stable_step
from jopt.curvature.fisher import empirical_fisher, fisher
from jopt.curvature.gauss_newton import gauss_newton, normal_operator
from jopt.curvature.hessian import hessian, hessian_diagonal
from jopt.curvature.hvp import Expansion, expansion, hvp
from jopt.curvature.lowest import LowestCurvature, lowest_curvature
from jopt.curvature.spectrum import Density, Spectrum, spectral_density, spectrum

__all__ = [
    "Classification",
    "Density",
    "Expansion",
    "LowestCurvature",
    "PointKind",
    "Spectrum",
    "classify",
    "empirical_fisher",
    "expansion",
    "fisher",
    "gauss_newton",
    "hessian",
    "hessian_diagonal",
    "hvp",
    "largest_stable_step",
    "lowest_curvature",
    "normal_operator",
    "spectral_density",
    "spectrum",
]

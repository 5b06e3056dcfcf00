# SPDX-License-Identifier: Apache-2.0
"""Test problems with known minima, and learning problems on real data.

A `Problem` is an objective `fun` with its starts, what is known of its minimisers, and its source. Nothing here starts
a JAX backend before an objective is evaluated.

    catalogue.py    Rosenbrock, Beale, Himmelblau, peaks, Booth, Powell's singular function, Wood
    saddles.py      monkey saddle, quartic saddle, double well: negative curvature
    quadratics.py   quadratics of given condition number; a finite sum of quadratics, for stochastic gradients
    learning.py     logistic and multinomial regression, a two-layer network, on given data; the Challenger data
    digits.py       scikit-learn's handwritten digits, and a regression and a network on them
    losses.py       the models and losses of these, as functions of parameters and data
    nist/           nine nonlinear regressions with certified answers
    records.py      the record `Problem`, and how to make one
    registry.py     the problems by name
    commands.py     `jopt problems`
"""

from jopt.problems import losses, nist
from jopt.problems.catalogue import beale, booth, himmelblau, peaks, powell_singular, rosenbrock, wood
from jopt.problems.digits import Digits, digits_network, digits_regression, load_digits
from jopt.problems.learning import challenger, logistic_regression, multinomial_regression, two_layer_network
from jopt.problems.quadratics import finite_sum, quadratic
from jopt.problems.records import Problem, from_formula, from_terms
from jopt.problems.registry import get, names
from jopt.problems.saddles import double_well, monkey_saddle, quartic_saddle

__all__ = [
    "Digits", "Problem", "beale", "booth", "challenger", "digits_network", "digits_regression", "double_well",
    "finite_sum", "from_formula", "from_terms", "get", "himmelblau", "load_digits", "logistic_regression", "losses",
    "monkey_saddle", "multinomial_regression", "names", "nist", "peaks", "powell_singular", "quadratic", "quartic_saddle",
    "rosenbrock", "two_layer_network", "wood",
]  # fmt: skip

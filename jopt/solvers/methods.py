# SPDX-License-Identifier: Apache-2.0
"""The named solvers: each is a choice of a direction, a search and a first trial."""

from __future__ import annotations

import functools
from typing import Any

from jopt import linesearch, validate
from jopt.linesearch.first_trial import Strategy
from jopt.solvers.descent import descent
from jopt.transforms.elementary import identity
from jopt.transforms.quasi_newton import scale_by_lbfgs
from jopt.types import LineSearch, Solver, described


@described
def lbfgs(
    memory: int = 10,
    *,
    search: LineSearch | None = None,
    first_trial: Strategy = linesearch.unit,
    history_dtype: Any = None,
) -> Solver:
    """Minimise by limited-memory BFGS with a Wolfe line search.

    For smooth objectives with any number of parameters. Memory: 2 m + 5 arrays of parameter size within `minimize`.

    Args:
      memory: pairs kept, m >= 1.
      search: a line search; None means `jopt.linesearch.strong_wolfe()`.
      first_trial: a strategy of `jopt.linesearch` for the first trial of each search.
      history_dtype: floating dtype of the stored pairs, for example bfloat16; None keeps each leaf's.

    Returns:
      A solver; `minimize(..., method="lbfgs")` uses it with its defaults.

    Reference:
      Liu and Nocedal (1989), On the limited memory BFGS method for large scale optimization, doi:10.1007/BF01589116.
    """
    direction = scale_by_lbfgs(memory, history_dtype=history_dtype)
    return descent(direction, search or linesearch.strong_wolfe(), first_trial=first_trial)


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


METHODS = {"gradient-descent": gradient_descent, "lbfgs": lbfgs}
"""Names for `minimize(..., method=name)`: the factory's name with hyphens."""


@functools.cache
def by_name(name: str) -> Solver:
    """Return the named solver with its default settings, the same object each time.

    Raises:
      ValueError: for an unknown name, listing the valid ones.
    """
    hint = "Or pass a solver, or a transformation such as jopt.adam(1e-2)."
    return METHODS[validate.choice("minimize", "method", name, METHODS, hint=hint)]()

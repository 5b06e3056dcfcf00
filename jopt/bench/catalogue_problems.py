# SPDX-License-Identifier: Apache-2.0
"""The catalogue of `jopt.problems` as the races of solvers take it: every problem with a least value, by name.

Those that come in any number of variables stand in two, as "rosenbrock-2" and "rosenbrock-100". The digits take part where
scikit-learn, which holds them, is installed. A problem without a minimum, such as the monkey saddle, has nothing to be
found and takes no part.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

from jopt import problems
from jopt.bench import cutest_problems
from jopt.problems import Problem

SIZES = {"rosenbrock": (2, 100), "quadratic": (10, 100), "double_well": (2, 100)}
"""Numbers of variables of the problems that come in any."""

UNBOUNDED = ("monkey_saddle",)
"""Problems of the catalogue that have no minimum."""

DATA = ("digits_regression", "digits_network")
"""Problems whose data are scikit-learn's."""

QUICK = ("rosenbrock-2", "rosenbrock-100", "beale", "powell_singular")
"""A few for a first look: every solver compiles every problem, and four of each are done within a minute on two cores."""


class Entry:
    """A problem of the catalogue with the attributes of sif2jax's, made when it is first needed.

    Args:
      make: makes it.
    """

    args = None

    def __init__(self, make: Callable[[], Problem]) -> None:
        self._make = make

    @functools.cached_property
    def problem(self) -> Problem:
        """The record of `jopt.problems`."""
        return self._make()

    @property
    def y0(self) -> Any:
        """The customary start."""
        return self.problem.start()

    def objective(self, y: Any, args: Any) -> Any:
        """Return the value at a point."""
        del args
        return self.problem.fun(y)


def load() -> dict[str, Entry]:
    """Return the problems by name."""
    left_out = UNBOUNDED + (() if importlib.util.find_spec("sklearn") else DATA)
    found: dict[str, Entry] = {}
    for name in problems.names():
        if name in left_out:
            continue
        if name not in SIZES:
            found[name] = Entry(functools.partial(problems.get, name))
        for n in SIZES.get(name, ()):
            found[f"{name}-{n}"] = Entry(functools.partial(problems.get, name, n=n))
    return found


def load_all() -> dict[str, Any]:
    """Return the catalogue and the CUTEst problems without bounds.

    Raises:
      ImportError: if sif2jax is not installed.
    """
    return load() | cutest_problems.load()

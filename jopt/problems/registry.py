# SPDX-License-Identifier: Apache-2.0
"""The problems by name: those that need no data from the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jopt import validate
from jopt.problems import catalogue, digits, learning, quadratics, saddles
from jopt.problems.records import Problem

_FACTORIES: dict[str, Callable[..., Problem]] = {
    factory.__name__: factory
    for factory in (
        catalogue.rosenbrock,
        catalogue.beale,
        catalogue.himmelblau,
        catalogue.peaks,
        catalogue.booth,
        catalogue.powell_singular,
        catalogue.wood,
        saddles.monkey_saddle,
        saddles.quartic_saddle,
        saddles.double_well,
        quadratics.quadratic,
        quadratics.finite_sum,
        learning.challenger,
        digits.digits_regression,
        digits.digits_network,
    )
}


def names() -> tuple[str, ...]:
    """Return the names that `get` knows, those of the factories."""
    return tuple(_FACTORIES)


def get(name: str, **settings: Any) -> Problem:
    """Return a problem by name.

    Args:
      name: one of `names()`.
      **settings: arguments of the factory of that name.

    Raises:
      ValueError: if there is no such problem; the message lists them and suggests the nearest.

    Example:
      >>> from jopt import problems
      >>> problems.get("rosenbrock", n=4)
      rosenbrock(n=4)
    """
    return _FACTORIES[validate.choice("get", "name", name, _FACTORIES)](**settings)

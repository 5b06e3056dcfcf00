# SPDX-License-Identifier: Apache-2.0
"""What each choice of the trust region is worth: variants of `jopt.trust_ncg` against its default, on CUTEst problems.

Each variant changes one setting. They take turns on each problem of the even half, as all that takes part in
`jopt.bench.cutest` does, and are measured and judged in the same way: solved, iterations, evaluations, Hessian-vector
products, time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jopt.bench import rivals
from jopt.solvers.methods import METHODS

DEFAULT = "default"
"""Name of the variant without settings, which the others are compared with."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {},
    # How exactly the model is solved.
    "forcing absolute": {"forcing": "absolute"},
    "forcing quadratic": {"forcing": "quadratic"},
    "forcing 0.1": {"forcing": 0.1},
    # Iterates kept for the shorter step after a rejection: with one, it lies on the segment to the last iterate.
    "kept 1": {"kept": 1},
    "kept 16": {"kept": 16},
    # Which ratio accepts a trial, and what the radius then becomes.
    "eta 0": {"eta": 0.0},
    "eta 0.1": {"eta": 0.1},
    "rule conn-gould-toint": {"rule": "conn-gould-toint"},
    "rule lin-more": {"rule": "lin-more"},
    # The first radius, in the unit of the parameters.
    "radius 0.1": {"radius": 0.1},
    "radius 10": {"radius": 10.0},
    "radius 100": {"radius": 100.0},
    # Without noise the values alone decide, down to round-off.
    "noise 0": {"noise": 0.0},
}
"""Settings of `jopt.trust_ncg` by name of the variant."""


def entrants(variants: Mapping[str, Mapping[str, Any]] = VARIANTS) -> dict[str, rivals.Entrant]:
    """Return an entrant for each variant.

    Args:
      variants: settings of `jopt.trust_ncg` by name.

    Raises:
      TypeError: if `jopt.trust_ncg` has no such setting.
      ValueError: if a setting is out of its range.
    """
    made = {name: METHODS["trust-ncg"](**settings) for name, settings in variants.items()}
    return {name: rivals.by_jopt(lambda solver=solver: solver) for name, solver in made.items()}

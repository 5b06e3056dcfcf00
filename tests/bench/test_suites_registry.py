# SPDX-License-Identifier: Apache-2.0
"""The suites by name: making their heats allocates nothing, and their names are those of the contract."""

import jax
import pytest

from jopt.bench.registry import SUITES
from jopt.bench.suites import Scope

PACKAGES = {"jax", "jopt", "optax", "optimistix", "jaxopt", "scipy", "torch"}


def test_the_suites_are_these():
    assert {"steps", "directions", "hvp", "compile", "train", "batch"} <= set(SUITES)
    assert all(name == suite.name and suite.title.endswith(".") for name, suite in SUITES.items())


@pytest.mark.parametrize("name", SUITES)
def test_heats_hold_nothing_and_are_named_by_case_and_package(name):
    before = len(jax.live_arrays())
    for quick in (False, True):
        heats = SUITES[name].heats(Scope(quick=quick))
        assert len({heat.case for heat in heats}) == len(heats) > 0
        for heat in heats:
            names = [contender.name for contender in heat.contenders]
            assert len(set(names)) == len(names) > 1
            assert {contender.split()[0] for contender in names} <= PACKAGES
            assert any(contender.startswith("jopt ") for contender in names)
    assert len(jax.live_arrays()) <= before

# SPDX-License-Identifier: Apache-2.0
"""The suite of L-BFGS directions: all compute the same, and the error is one against long double."""

import jax
import numpy as np
import pytest

from jopt.bench import directions, turns
from jopt.bench.suites import Scope
from jopt.linalg import limited_memory


def test_all_forms_give_the_same_direction_to_rounding():
    found = directions.errors("float64", 1e3, 12)
    assert list(found) == list(directions.FORMS)
    assert all(0 < error < 1e-12 for error in found.values())


def test_the_error_sees_a_wrong_direction():
    def wrong(history, s, y, g):
        history, out = limited_memory.gram(history, s, y, g)
        return history, out * (1 + 1e-6)

    assert directions._error(directions.of_product(wrong), "float64", 10.0, 5) == pytest.approx(1e-6, rel=1e-3)


def test_errors_are_of_small_sizes_alone():
    with pytest.raises(ValueError, match="size"):
        directions.errors("float64", 10.0, directions.ORACLE_MOST + 1)


def test_bytes_are_those_of_reading_the_pairs_twice():
    for heat in directions.heats(Scope()):
        assert {contender.least_bytes for contender in heat.contenders} == {16 * 10 * heat.size}
        assert {contender.flops for contender in heat.contenders} == {8 * 10 * heat.size}
    (heat,) = directions.heats_of([100], "float64")
    assert heat.contenders[0].least_bytes == 32 * 10 * 100


def test_sizes_are_those_of_the_scope():
    sizes = [heat.size for heat in directions.heats(Scope())]
    assert sizes == [10, 1_000, 100_000, 10_000_000, 100_000_000]
    assert [heat.size for heat in directions.heats(Scope(quick=True))] == sizes[:3]
    assert directions.heats(Scope())[0].contenders[0].name == "optax scale_by_lbfgs"


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="runs elsewhere")
def test_the_largest_size_has_no_place_on_a_cpu():
    heat = directions.heats(Scope())[-1]
    with pytest.raises(turns.Absent):
        heat.contenders[0].prepare()


def test_a_run_goes_down_from_the_start_and_keeps_its_pairs():
    (heat,) = directions.heats_of([3], "float32")
    ready = {c.name: c for c in heat.contenders}["jopt two_loop"].prepare()
    (history, *_), x = ready.run()
    stored, x = int(history.stored), np.asarray(x)
    assert stored > directions.MEMORY
    again = ready.run()[1]
    assert 0 < float(x[0]) < 1
    assert 0 < float(again[0]) < 1
    assert 0 < ready.figures["error"] < 1e-5
    assert heat.work == directions.MOST_LENGTH

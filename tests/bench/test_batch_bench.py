# SPDX-License-Identifier: Apache-2.0
"""The benchmark of batches: fair counts, and a table for each family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jopt.bench import batch, rivals, turns
from jopt.bench.suites import Scope

CENTRES = batch.Family(
    lambda x, c: jnp.sum((x - c) ** 2) / 2,
    lambda number, dtype: (jnp.zeros((number, 2), dtype), (jnp.arange(number, dtype=dtype),)),
)


def beside(distance):
    """Return the program that answers, for every problem but the first, a point so far from the minimum."""

    def answer(starts, data):
        (centres,) = data
        return starts + (centres + jnp.where(centres > 0, distance, 0))[:, None], jnp.arange(len(centres))

    return answer


def test_what_counts_is_a_fresh_gradient_and_the_time_is_that_of_one_problem_solved():
    entrants = {batch.BASE: beside(0.0), "near": beside(2e-6), "far": lambda x, data: (x - 1e3, data[0])}
    heat = batch.heat_of("four", CENTRES, 4, "float64", entrants)
    assert (heat.case, heat.size, heat.unit) == ("four", 4, "solve")
    first, second, third = turns.run_heats("batch", [heat], rounds=2)
    assert first.figures == {"solved": 4, "mean evals": 1.5, "most evals": 3}
    assert (second.figures["solved"], second.error) == (1, "")
    assert len(second.seconds) == 2
    assert third.error == "ArithmeticError: none of the 4 problems was solved."
    prepared = [contender.prepare() for contender in heat.contenders[:2]]
    assert [made.work for made in prepared] == [4.0, 1.0]


@pytest.mark.parametrize("name", sorted(batch.FAMILIES))
def test_families_have_so_many_problems_that_differ(name):
    family = batch.FAMILIES[name]
    starts, data = family.make(5, jnp.float32)
    assert starts.shape == (5, batch.SIZE)
    assert {x.dtype.name for x in (starts, *data)} == {"float32"}
    values = jax.vmap(family.fun)(starts + 1, *data)
    assert len(set(map(float, values))) == 5
    again = family.make(5, jnp.float32)
    np.testing.assert_array_equal(again[0], starts)


def test_rosenbrock_and_logistic_are_what_they_are_called():
    assert float(batch.rosenbrock(jnp.ones(10))) == 0
    start = np.tile([-1.2, 1.0], 5)
    np.testing.assert_allclose(batch.rosenbrock(jnp.asarray(start)), optimize.rosen(start))
    rows = jnp.array([[1.0, 0.0], [0.0, -2.0]])
    x = jnp.array([0.3, 0.4])
    expected = (np.log1p(np.exp(-0.3)) + np.log1p(np.exp(0.8))) / 2 + batch.RIDGE * 0.125
    np.testing.assert_allclose(batch.logistic(x, rows), expected)


def test_all_take_part_by_name(monkeypatch):
    monkeypatch.setattr(rivals, "usable", lambda _: False)
    names = list(batch.programs(batch.rosenbrock, "float64", ["bfgs"]))
    assert names == [batch.BASE, "jopt bfgs, vmap", "jopt bfgs, batch"]
    monkeypatch.setattr(rivals, "usable", lambda _: True)
    more = set(batch.programs(batch.rosenbrock, "float64", []))
    assert more == {batch.BASE, "optimistix lbfgs, vmap", "optimistix bfgs, vmap"}


def test_suite_has_each_family_in_each_size():
    cases = [heat.case for heat in batch.heats(Scope())]
    assert cases == ["1,000 rosenbrock", "10,000 rosenbrock", "1,000 logistic", "10,000 logistic"]
    quick = batch.heats(Scope(quick=True))
    assert [heat.size for heat in quick] == [batch.QUICK_SIZE] * 2
    assert batch.SUITE.precision == "float64"


@pytest.mark.slow
def test_everybody_solves_all():
    entrants = batch.programs(batch.rosenbrock, "float64", ["newton-cg"])
    heat = batch.heat_of("8", batch.FAMILIES["rosenbrock"], 8, "float64", entrants)
    rows = list(turns.run_heats("batch", [heat], rounds=1))
    assert {batch.BASE, "jopt newton-cg, vmap", "jopt newton-cg, batch"} <= {row.contender for row in rows}
    assert all(row.figures["solved"] == 8 for row in rows)

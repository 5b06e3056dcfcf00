# SPDX-License-Identifier: Apache-2.0
"""The benchmark of batches: fair counts, and a table for each family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.bench import batch, rivals

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


def test_what_counts_is_a_fresh_gradient_and_what_is_compared_is_the_same_round():
    entrants = {batch.BASE: beside(0.0), "near": beside(2e-6)}
    first, second = batch.measure(CENTRES, entrants, 4, "float64", rounds=2)
    assert (first.entrant, first.solved, second.solved) == (batch.BASE, 4, 1)
    assert (first.ratio, first.least, first.largest) == (1.0, 1.0, 1.0)
    assert second.least <= second.ratio <= second.largest
    assert (second.mean_nfev, second.most_nfev) == (1.5, 3)
    np.testing.assert_allclose(second.rate * second.seconds, 1)


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
    np.testing.assert_allclose(batch.rosenbrock(jnp.array([-1.2, 1.0])), 24.2)
    rows = jnp.array([[1.0, 0.0], [0.0, -2.0]])
    x = jnp.array([0.3, 0.4])
    expected = (np.log1p(np.exp(-0.3)) + np.log1p(np.exp(0.8))) / 2 + batch.RIDGE * 0.125
    np.testing.assert_allclose(batch.logistic(x, rows), expected)


def test_all_take_part_by_name(monkeypatch):
    monkeypatch.setattr(rivals, "usable", lambda _: False)
    names = list(batch.programs(batch.rosenbrock, "float64", ["bfgs"], [8, 16]))
    assert names == [batch.BASE, "vmap jopt-bfgs", "minimize_batch bfgs, 8 lanes", "minimize_batch bfgs, 16 lanes"]
    monkeypatch.setattr(rivals, "usable", lambda _: True)
    assert {"vmap optimistix-lbfgs", "vmap optimistix-bfgs"} <= set(
        batch.programs(batch.rosenbrock, "float64", [], [8])
    )


@pytest.mark.slow
def test_the_command_prints_a_table_in_which_everybody_solved_all(capsys):
    batch.main(["--sizes", "8", "--families", "rosenbrock", "--methods", "newton-cg", "--lanes", "4", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(("| vmap", "| minimize_batch"))]
    assert "8 x rosenbrock, float64" in lines[1]
    assert {"vmap optax-lbfgs", "vmap jopt-newton-cg", "minimize_batch newton-cg"} <= {
        row.split("|")[1].strip() for row in rows
    }
    assert all(row.split("|")[2].strip() == "8" for row in rows)

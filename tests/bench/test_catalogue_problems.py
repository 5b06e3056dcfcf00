# SPDX-License-Identifier: Apache-2.0
"""The catalogue as the races of solvers take it, and data profiles of a race."""

import jax
import numpy as np

from jopt import problems
from jopt.bench import catalogue_problems, cutest_problems, data_profiles
from jopt.bench.cutest_records import Race, Row, Settings


def test_every_problem_with_a_minimum_takes_part_in_its_sizes():
    found = catalogue_problems.load()
    assert {name.partition("-")[0] for name in found} == set(problems.names()) - {"monkey_saddle"}
    assert set(catalogue_problems.QUICK) <= set(found)
    sizes = cutest_problems.sizes({name: found[name] for name in found if not name.startswith("digits")})
    assert (sizes["rosenbrock-2"], sizes["rosenbrock-100"], sizes["challenger"]) == (2, 100, 2)
    assert problems.get("monkey_saddle").minimum == -np.inf


def test_problems_of_sklearn_take_part_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(catalogue_problems.importlib.util, "find_spec", lambda name: None if name == "sklearn" else 1)
    assert not any(name.startswith("digits") for name in catalogue_problems.load())


def test_a_tree_is_a_flat_vector():
    made = cutest_problems.flat("challenger", catalogue_problems.load()["challenger"], "float32")
    assert (made.size, made.x0.dtype, made.bounds) == (2, np.float32, None)
    np.testing.assert_allclose(made.fun(made.x0), np.log(2), rtol=1e-6)
    fun = problems.challenger().fun
    expected, _ = jax.flatten_util.ravel_pytree(jax.grad(fun)(problems.challenger().start()))
    np.testing.assert_allclose(jax.grad(made.fun)(made.x0), expected, rtol=1e-5)


def test_all_is_the_catalogue_and_cutest(monkeypatch):
    monkeypatch.setattr(cutest_problems, "load", lambda: {"AKIVA": 1})
    assert set(catalogue_problems.load_all()) == set(catalogue_problems.load()) | {"AKIVA"}


def solve(problem, size, solver, nfev, nhev=0, run_s=1.0):
    return Row(problem, size, solver, run_s=run_s, nfev=nfev, nhev=nhev)


ROWS = (
    solve("p", 1, "a", 4, run_s=3.0),
    solve("p", 1, "b", 2, 2),
    solve("q", 9, "a", 5, run_s=4.0),
    solve("q", 9, "b", 10),
    solve("r", 4, "a", 1),
    solve("r", 4, "b", 5),
    solve("p", 1, "silent", -1),
    solve("q", 9, "silent", -1),
    solve("r", 4, "silent", -1),
)
SOLVED = {(row.problem, row.solver): (row.problem, row.solver) != ("r", "a") for row in ROWS}


def test_data_profile_is_the_share_solved_within_so_many_evaluations_and_products_over_n_plus_1():
    made = data_profiles.data_profiles_of(Race(Settings(methods=("a", "b", "silent")), (), ROWS), SOLVED)
    assert list(made) == ["a", "b"]  # who does not count has none
    assert made["a"] == data_profiles.DataProfile((0.5, 2.0), (1 / 3, 2 / 3))
    assert made["b"] == data_profiles.DataProfile((1.0, 2.0), (2 / 3, 1.0))


def test_nobody_solved_it_counts_all_the_same():
    made = data_profiles.data_profiles({"a": [np.inf, 4.0]}, [1, 1])
    assert made["a"] == data_profiles.DataProfile((2.0,), (0.5,))
    assert data_profiles.data_profiles({"a": [np.inf]}, [1])["a"] == data_profiles.DataProfile((), ())


def test_times_are_of_what_was_solved_in_order_of_size():
    made = data_profiles.times_of(Race(Settings(methods=("a",)), (), ROWS), SOLVED)
    assert made == {"a": ((1, 9), (3.0, 4.0))}

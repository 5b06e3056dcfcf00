# SPDX-License-Identifier: Apache-2.0
"""The CUTEst benchmark: its problems, their halves, and the race over them."""

import hashlib
import importlib.util
import sys

import casts
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.bench import circumstances, cutest, cutest_problems
from jopt.bench.cutest_records import Row, Settings


@pytest.mark.parametrize("name", ["ROSENBR", "BEALE", "DIXMAANC", "a", ""])
def test_half_is_the_parity_of_the_digest_as_an_integer(name):
    odd = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2
    assert cutest_problems.half(name) == ("odd" if odd else "even")


def test_a_first_look_spoils_no_problem_of_the_odd_half():
    assert len(set(cutest_problems.QUICK)) == 12
    names = cutest_problems.QUICK + cutest_problems.QUICK_BOUNDED
    assert {cutest_problems.half(name) for name in names} == {"even"}


def test_problem_is_a_function_of_one_vector():
    made = cutest_problems.flat("STEEP", casts.Bowl(100.0), jnp.float32)
    assert (made.name, made.size, made.x0.dtype) == ("STEEP", 3, jnp.float32)
    np.testing.assert_allclose(made.fun(jnp.array([2.0, 1.0, 0.0])), 100.0)
    assert cutest_problems.sizes(casts.problems()) == {"EASY": 3, "STEEP": 3}


def test_bounds_are_vectors_and_the_start_is_within_them():
    made = cutest_problems.flat("WALLED", casts.Walled(1.0), jnp.float64)
    np.testing.assert_array_equal(made.bounds.lower, [0.25, -np.inf, -1.0])
    np.testing.assert_array_equal(made.bounds.upper, [np.inf, 0.5, 9.0])
    np.testing.assert_array_equal(made.x0, [0.25, 0.0, 0.0])


def test_missing_sif2jax_is_said_with_the_cure(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"load: .*sif2jax.*pip install 'jopt\[cutest\]'"):
        cutest_problems.load()


@pytest.mark.filterwarnings("ignore")  # those of sif2jax are its own
def test_cutest_problems_are_loaded_without_the_rest_of_sif2jax():
    pytest.importorskip("jaxtyping", reason="sif2jax needs it")
    if not cutest_problems.available():
        pytest.skip("sif2jax is not installed")
    before = set(sys.modules)
    made = cutest_problems.load()
    assert list(made) == sorted(made)
    assert not {"sif2jax", "sif2jax.cutest"} & (set(sys.modules) - before)  # a later import finds the whole package
    assert not any("_constrained" in name for name in set(sys.modules) - before)
    sizes = cutest_problems.sizes(made)
    assert set(cutest_problems.QUICK) <= {name for name, size in sizes.items() if size <= 4}
    rosenbrock = cutest_problems.flat("ROSENBR", made["ROSENBR"], jnp.float64)
    np.testing.assert_allclose(rosenbrock.x0, [-1.2, 1.0])
    np.testing.assert_allclose(rosenbrock.fun(rosenbrock.x0), 24.2)
    assert sizes["ROSENBR"] == rosenbrock.size == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_cutest_problems_with_bounds_are_loaded():
    pytest.importorskip("jaxtyping", reason="sif2jax needs it")
    if not cutest_problems.available():
        pytest.skip("sif2jax is not installed")
    made = cutest_problems.load_bounded()
    assert set(cutest_problems.QUICK_BOUNDED) <= {
        name for name, size in cutest_problems.sizes(made).items() if size <= 10
    }
    hs5 = cutest_problems.flat("HS5", made["HS5"], jnp.float64)
    np.testing.assert_array_equal(hs5.bounds, [[-1.5, -3.0], [4.0, 3.0]])
    assert {"BQPGABIM", "DIAGPQB"} <= set(made)  # quadratics stand in a list of their own


def test_a_package_that_is_no_longer_one_is_said(monkeypatch):
    monkeypatch.delitem(sys.modules, "sif2jax", raising=False)
    with (
        pytest.raises(ImportError, match="nowhere is not the package it was"),
        cutest_problems._bare_packages("nowhere"),
    ):
        pass


CAST = cutest.Cast(casts.problems, casts.entrants)
LIMIT = 8.0


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("cutest") / "rows.jsonl"


@pytest.fixture(scope="module")
def first(file):
    """Run every solver on one problem."""
    told = []
    settings = Settings(names=("EASY",), limit=LIMIT)
    race = cutest.race_cutest(settings, file, lambda *news: told.append(news), cast=CAST)
    return race, told


def test_race_goes_on_after_hangs_and_crashes_and_judges_afresh(first):
    race, told = first
    rows = {row.solver: row for row in race.rows}
    assert list(rows) == list(casts.entrants()) == list(race.settings.methods)
    assert rows["sleeper"] == Row("EASY", 3, "sleeper", error="timeout: no answer within 8 s")
    assert rows["crasher"] == Row("EASY", 3, "crasher", error="crash: the process died, exit code 3")
    assert rows["raiser"].error.startswith("error: FloatingPointError: a long story")
    right = rows["right"]
    assert (right.fun0, right.grad0, right.fun, right.grad) == (1.5, 1.0, 0.0, 0.0)
    assert (right.exact_fun0, right.exact_fun) == (1.5, 0.0)
    assert (right.claimed, right.word, right.nit, right.nfev, right.nhev) == (True, "code 7", 3, 4, 5)
    assert (right.compile_s, right.error) == (0.5, "")
    assert 0 < right.run_s < 1
    assert (rows["wrong"].fun, rows["wrong"].grad, rows["wrong"].claimed) == (0.375, 0.5, True)
    assert rows["modest"].claimed is False
    assert told[0] == (0, 6, "EASY, right")
    assert told[-1] == (6, 6, "done")
    assert len(told) == 7


def test_header_says_how_it_was_measured(first):
    (header,) = first[0].headers
    assert header.task == ("float64", 1e-6, 2000, LIMIT, "unconstrained")
    assert header.device == "cpu"
    assert {"python", "jopt", "jax", "optax"} <= set(header.versions)
    assert header.commit == circumstances.commit()


def test_file_is_resumed_where_it_ends(first, file):
    before = file.read_text()
    file.write_text(before + '{"kind": "row", "prob')  # the power failed
    told = []
    settings = Settings(names=("STEEP", "EASY"), methods=("wrong", "right"), limit=LIMIT)
    race = cutest.race_cutest(settings, file, lambda *news: told.append(news), cast=CAST)
    assert told == [(0, 4, "STEEP, wrong"), (1, 4, "STEEP, right"), (4, 4, "done")]
    assert file.read_text().startswith(before)
    assert len(file.read_text().splitlines()) == len(before.splitlines()) + 2
    assert {(row.problem, row.solver) for row in race.rows} == {
        (problem, solver) for problem in ("EASY", "STEEP") for solver in ("wrong", "right")
    }
    assert race.headers == first[0].headers
    with pytest.raises(ValueError, match="rows of another task"):
        cutest.race_cutest(settings._replace(gtol=1e-3), file, cast=CAST)


def test_within_bounds_the_projected_gradient_counts_and_a_point_outside_is_none():
    settings = Settings(names=("WALLED",), family="bounded")
    race = cutest.race_cutest(settings, cast=cutest.Cast(casts.walled, casts.within_bounds))
    right, outside = race.rows
    assert (right.fun, right.grad) == (0.125, 0.0)  # the gradient is -0.5 in the entry that is held
    assert (right.fun0, right.grad0) == ((0.75**2 + 2) / 2, 1.0)
    assert np.isnan(outside.fun)
    assert race.headers[0].task[-1] == "bounded"


def test_float32_is_solved_in_single_and_judged_in_double():
    settings = Settings(names=("EASY",), methods=("third",), precision="float32")
    race = cutest.race_cutest(settings, cast=cutest.Cast(casts.problems, casts.thirds))
    (row,) = race.rows
    third = np.float32(1 / 3)
    assert row.fun == float(np.float32(row.fun))
    assert row.exact_fun == pytest.approx(1.5 * (1 - float(third)) ** 2, rel=1e-14)
    assert row.exact_fun != row.fun
    assert row.exact_fun0 == 1.5
    assert race.headers[0].precision == "float32"


def test_what_runs_is_chosen_by_half_and_size_unless_it_is_named():
    listing = cutest.Listing({"ROSENBR": 2, "BEALE": 2, "BOX": 10000}, ("a", "b"), "cpu")  # even, odd, even
    names = lambda **more: cutest.chosen(Settings(**more), listing).names  # noqa: E731
    assert names() == ("ROSENBR",)
    assert names(half="odd") == ("BEALE",)
    assert names(half="both") == ("ROSENBR", "BEALE")
    assert names(max_n=10000) == ("ROSENBR", "BOX")
    assert names(max_n=2) == ("ROSENBR",)
    assert names(names=("BOX", "BEALE", "BOX")) == ("BOX", "BEALE")
    assert cutest.chosen(Settings(), listing).methods == ("a", "b")
    assert cutest.chosen(Settings(methods=("b", "b")), listing).methods == ("b",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"methods": ("aa",)}, "methods must be one of 'a', 'b', got 'aa'. Did you mean 'a'?"),
        ({"methods": ("x",)}, "A rival takes part where its package is installed"),
        ({"names": ("ROSENBRO",)}, "Did you mean"),
        ({"max_n": 1}, "no problem of the half 'even' has at most 1 variables"),
    ],
)
def test_unknown_names_are_refused(fields, message):
    listing = cutest.Listing({"rosenbr": 2, "BEALE": 2}, ("a", "b"), "cpu")
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - looked at below
        cutest.chosen(Settings(**fields), listing)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"half": "evn"}, ValueError, "half must be one of .* Did you mean 'even'"),
        ({"precision": "double"}, ValueError, "precision must be one of"),
        ({"max_n": 0}, ValueError, "max_n must be a whole number >= 1"),
        ({"maxiter": 1.5}, TypeError, "maxiter must be a whole number >= 1"),
        ({"gtol": -1.0}, ValueError, r"gtol must be in \[0, inf\]"),
        ({"limit": 0.0}, ValueError, r"limit must be in \(0, inf\]"),
    ],
)
def test_settings_out_of_range_are_refused_before_a_process_starts(fields, error, message):
    with pytest.raises(error, match=f"race_cutest: {message}"):
        cutest.race_cutest(Settings(**fields))

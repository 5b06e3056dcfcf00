# SPDX-License-Identifier: Apache-2.0
"""Verdicts, ratios and profiles, on rows made up so that every figure can be worked out by hand."""

import math

import pytest

from jopt import viz
from jopt.bench import cutest_tables, scores
from jopt.bench.cutest_records import Header, Race, Row, Settings

INF, NAN = math.inf, math.nan


def row(problem="P", solver="s", **fields):
    good = {
        "size": 3, "fun0": 2.0, "grad0": 10.0, "fun": 1.0, "grad": 5e-7, "exact_fun0": 2.0, "exact_fun": 1.0,
        "claimed": True, "nit": 2, "nfev": 4, "nhev": 6, "compile_s": 1.0, "run_s": 1.0,
    }  # fmt: skip
    return Row(problem=problem, solver=solver, **(good | fields))


def error(problem="P", solver="s", text="timeout: no answer within 60 s"):
    return Row(problem, 3, solver, error=text)


def race(rows, **settings):
    names = tuple(dict.fromkeys(r.problem for r in rows))
    methods = tuple(dict.fromkeys(r.solver for r in rows))
    header = Header("float64", 1e-6, 2000, 60.0, "cpu", {"jax": "0.0.1"}, "abc")
    return Race(Settings(**{"names": names, "methods": methods, **settings}), (header,), tuple(rows))


GTOL = 1e-6


@pytest.mark.parametrize(
    ("fields", "solved", "false_claim"),
    [
        ({}, True, False),
        ({"claimed": False}, True, False),
        ({"grad": 2e-6 + 9.9e-9}, True, False),  # slack: 2 gtol + 1e-9 of the gradient at the start, which is 10
        ({"grad": 2e-6 + 10.1e-9}, False, True),
        ({"grad": 2e-6 + 10.1e-9, "claimed": False}, False, False),
        ({"grad": 1.0, "grad0": 1e9}, True, False),
        ({"grad": NAN}, False, True),
        ({"grad": INF}, False, True),
        ({"fun": NAN}, False, True),
        ({"fun": -INF}, False, True),
        ({"grad0": NAN}, False, True),
        ({"fun": 2.0}, True, False),
        ({"fun": 2.0 + 1e-12}, True, False),
        ({"fun": 2.0 + 4e-12}, False, False),  # a stationary point above the start: true to its word, not solved
        ({"fun": -5.0, "fun0": -5.0 - 4e-12}, True, False),
        ({"fun": -5.0, "fun0": -5.0 - 6e-12}, False, False),
    ],
)
def test_float64_is_judged_by_the_gradient_and_the_start(fields, solved, false_claim):
    made = row(**fields)
    assert scores.stationary(made, GTOL) is solved
    assert scores.verdicts(race([made]))["P", "s"] is solved
    assert scores.false_claim(made, GTOL) is false_claim


def test_errors_are_failures_and_no_claims():
    for kind in ("timeout", "crash", "error"):
        made = error(text=f"{kind}: something")
        assert not scores.stationary(made, GTOL)
        assert not scores.decreased(made, 0.0)
        assert not scores.false_claim(made, GTOL)
    assert not scores.stationary(row(error="crash: late"), GTOL)


def test_tolerance_is_that_of_the_settings():
    made = row(grad=1.5e-4)
    assert not scores.verdicts(race([made]))["P", "s"]
    assert scores.verdicts(race([made], gtol=1e-4))["P", "s"]


@pytest.mark.parametrize(
    ("value", "solved"), [(1.0, True), (1.0 + 0.9e-4, True), (1.0 + 1.1e-4, False), (NAN, False), (INF, False)]
)
def test_float32_is_judged_by_the_decrease_in_float64(value, solved):
    rows = [row(exact_fun=value, fun=1.0, grad=9.0), row(solver="best", exact_fun=1.0)]
    verdicts = scores.verdicts(race(rows, precision="float32"))
    assert verdicts["P", "s"] is solved
    assert verdicts["P", "best"]


def test_least_value_of_a_reference_counts_in_float32():
    rows = [row(exact_fun=1.0)]
    single = race(rows, precision="float32")
    assert scores.verdicts(single)["P", "s"]
    assert not scores.verdicts(single, [row(solver="double", exact_fun=0.5)])["P", "s"]
    assert scores.verdicts(single, [row(solver="double", exact_fun=NAN), error()])["P", "s"]
    assert scores.verdicts(single, [row("Q", exact_fun=0.0)])["P", "s"]
    assert scores.least_values([row(exact_fun=-INF), row(exact_fun=3.0)]) == {"P": 3.0}


def test_profile_is_that_of_dolan_and_more_by_hand():
    profiles = scores.profiles(
        {
            "a": [1.0, 4.0, INF, 1.0, INF],
            "b": [2.0, 1.0, 5.0, INF, INF],
            "c": [1.0, 2.0, INF, INF, INF],
        }
    )
    assert profiles["a"] == scores.Profile((1.0, 4.0), (2 / 5, 3 / 5))
    assert profiles["b"] == scores.Profile((1.0, 2.0), (2 / 5, 3 / 5))
    assert profiles["c"] == scores.Profile((1.0, 2.0), (1 / 5, 2 / 5))


def test_profile_of_a_solver_that_is_never_first_or_never_there_begins_at_nought():
    profiles = scores.profiles({"a": [1.0, 1.0], "late": [3.0, 2.0], "never": [INF, INF]})
    assert profiles["late"] == scores.Profile((1.0, 2.0, 3.0), (0.0, 0.5, 1.0))
    assert profiles["never"] == scores.Profile((1.0,), (0.0,))


def test_profiles_of_a_race_count_only_what_is_solved_and_only_complete_problems():
    rows = [
        row("P", "a", run_s=1.0), row("P", "b", run_s=2.0),
        row("Q", "a", run_s=0.1, grad=1.0), row("Q", "b", run_s=7.0),
        row("R", "a", run_s=0.1),
    ]  # fmt: skip
    made = race(rows)
    profiles = scores.profiles_of(made, scores.verdicts(made))
    assert profiles == {"a": scores.Profile((1.0,), (0.5,)), "b": scores.Profile((1.0, 2.0), (0.5, 1.0))}


def test_geometric_mean():
    assert scores.geometric_mean([2.0, 8.0]) == pytest.approx((4.0, 2))
    assert scores.geometric_mean([0.5, 2.0]).mean == pytest.approx(1.0)
    none = scores.geometric_mean([])
    assert math.isnan(none.mean)
    assert none.over == 0


@pytest.fixture(scope="module")
def small_race():
    """Solver a against b: both solve P and Q; b alone R; a lies on R, b times out on S, where a is true."""
    return race([
        row("P", "a", run_s=2.0, nfev=30, nhev=24, size=2), row("P", "b", run_s=1.0, nfev=10, size=2),
        row("Q", "a", run_s=8.0, nfev=12, size=1000, grad=1.5e-6), row("Q", "b", run_s=1.0, nfev=1, size=1000),
        row("R", "a", run_s=100.0, grad=1.0), row("R", "b", claimed=False),
        row("S", "a", run_s=4.0, nfev=7, nhev=2), error("S", "b"),
    ])  # fmt: skip


def test_ratios_are_over_what_both_solved(small_race):
    solved = scores.verdicts(small_race)
    assert scores.ratio(small_race, solved, "a", "b") == pytest.approx((4.0, 2))
    assert scores.ratio(small_race, solved, "b", "a") == pytest.approx((0.25, 2))
    assert scores.ratio(small_race, solved, "a", "b", field="nfev") == pytest.approx((6.0, 2))
    assert scores.ratio(small_race, solved, "a", "b", least_size=1000) == pytest.approx((8.0, 1))
    assert scores.ratio(small_race, solved, "a", "b", least_size=1001).over == 0


def test_counts_that_a_solver_does_not_keep_are_left_out_of_ratios():
    rows = [row("P", "a", nfev=-1), row("P", "b"), row("Q", "a", nfev=8), row("Q", "b", nfev=4)]
    made = race(rows)
    assert scores.ratio(made, scores.verdicts(made), "a", "b", field="nfev") == pytest.approx((2.0, 1))
    made = race([row("P", "a", nhev=0), row("P", "b")])
    assert scores.summaries(made, scores.verdicts(made), "b")[0].products.over == 0


def test_summaries_by_hand(small_race):
    a, b = scores.summaries(small_race, scores.verdicts(small_race), "b")
    assert (a.solver, a.problems, a.solved, a.strict, a.false_claims, a.errors) == ("a", 4, 3, 2, 1, 0)
    assert (b.solver, b.problems, b.solved, b.strict, b.false_claims, b.errors) == ("b", 4, 3, 3, 0, 1)
    assert (a.run_s, a.nfev, a.nit, a.nhev, a.compile_s) == (4.0, 12, 2, 6, 1.0)
    assert a.time == pytest.approx((4.0, 2))
    assert b.time == pytest.approx((1.0, 3))
    assert a.evaluations == pytest.approx((6.0, 2))
    assert a.products == pytest.approx((2.0, 2))


def test_summary_of_a_solver_that_solved_nothing_has_no_figures():
    made = race([error("P", "a"), row("P", "b")])
    a, _ = scores.summaries(made, scores.verdicts(made), "b")
    assert a.solved == 0
    assert all(map(math.isnan, (a.run_s, a.nfev, a.compile_s, a.time.mean)))
    assert cutest_tables.cells(a) == ("a", "0/1", "0", "0", "1", *["-"] * 8, "0")


def test_markdown_holds_the_table_the_ratios_and_what_was_not_solved(small_race):
    text = cutest_tables.markdown(small_race, scores.verdicts(small_race), "b")
    lines = text.splitlines()
    assert (
        "| a | 3/4 | 2 | 1 | 0 | 2 | 12 | 6 | 1.00 | 4e+03 | 4.00 | 6.00 | 2.00 | 2 |" in lines
    )  # products: 24 / 6 and 6 / 6
    assert "| a | 1.00 (3) | 4.00 (2) |" in lines  # over all sizes
    assert "| a | 1.00 (1) | 8.00 (1) |" in lines  # n >= 1000
    assert "Solved by none: no problem." in lines
    assert "- a: R (claimed)" in lines
    assert "- b: S (timeout)" in lines
    widths = {line.count("|") for line in lines if line.startswith("| a | 3/4")} | {lines[4].count("|")}
    assert widths == {len(cutest_tables.COLUMNS) + 1}


def test_heading_tells_of_several_circumstances(small_race):
    assert "other circumstances" not in cutest_tables.heading(small_race, "b")
    mixed = small_race._replace(headers=(*small_race.headers, small_race.headers[0]._replace(commit=None)))
    told = cutest_tables.heading(mixed, "b")
    assert "other circumstances" in told
    assert "commit abc" in told
    assert "commit unknown" in told


def test_table_shows_every_solver_on_one_line(small_race):
    import io

    from rich.console import Console

    out = io.StringIO()
    named = [
        s._replace(solver="a-solver-of-25-letters-xx")
        for s in scores.summaries(small_race, scores.verdicts(small_race), "b")
    ]
    Console(file=out, width=120).print(cutest_tables.table(named))
    assert out.getvalue().count("a-solver-of-25-letters-xx") == 2
    assert "…" not in out.getvalue()


def test_profile_picture_draws_the_steps_and_names_the_share():
    profiles = {"a": scores.Profile((1.0, 4.0), (0.4, 0.6)), "b": scores.Profile((1.0, 2.0), (0.0, 0.5))}
    figure = viz.performance_profile(profiles, title="A race")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.get_lines()] == ["a (60%)", "b (50%)"]
    first, second = axes.get_lines()
    assert list(first.get_xdata()) == pytest.approx([1.0, 4.0, 4.4])
    assert list(first.get_ydata()) == [0.4, 0.6, 0.6]
    assert list(second.get_xdata()) == pytest.approx([1.0, 2.0, 4.4])  # all go on to the same end
    assert first.get_drawstyle() == "steps-post"
    assert axes.get_xscale() == "log"
    assert axes.get_ylim() == (0.0, 1.0)
    assert figure.get_suptitle() == "A race"


def test_profile_picture_tells_many_solvers_apart():
    lines = viz.performance_profile({str(i): scores.Profile((1.0,), (0.5,)) for i in range(20)}).axes[0].get_lines()
    assert len({(line.get_color(), str(line._unscaled_dash_pattern), line.get_marker()) for line in lines}) == 20


def test_profile_picture_of_nobody_is_refused():
    with pytest.raises(ValueError, match="performance_profile: profiles must hold at least one solver"):
        viz.performance_profile({})

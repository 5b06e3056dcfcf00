# SPDX-License-Identifier: Apache-2.0
"""What got slower from one file to another, and what is noise: files of suites and of races, all made up."""

import math

import pytest
from typer.testing import CliRunner

from jopt.bench import commands, compare, cutest_records, measurements
from jopt.bench.measurements import Spread

HEADER = measurements.Header("steps", "float32", False, 7, "cpu", {"jax": "0.10.2"}, "abc", 1e10)
RACE = cutest_records.Header("float64", 1e-6, 2000, 60.0, "cpu", {"jax": "0.10.2"}, "abc", "catalogue")
STEADY = (1.0, 1.01, 1.02, 0.99, 0.98, 1.0, 1.0)


def timed(contender, seconds, **fields):
    return measurements.Row("steps", "leaf", 8, contender, "step", tuple(seconds), **fields)


def solve(solver, problem, run_s=1.0, nfev=10, *, solved=True):
    grad = 1e-7 if solved else 1.0
    figures = {"fun0": 2.0, "grad0": 1.0, "fun": 1.0, "grad": grad, "run_s": run_s, "nfev": nfev}
    return cutest_records.Row(problem, 2, solver, **figures)


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a file of records."""

    def write(name, *records, form=measurements.FILE):
        path = tmp_path / name
        path.write_text("".join(form.to_line(record) + "\n" for record in records))
        return path

    return write


@pytest.mark.parametrize(
    ("figures", "ends"),
    [
        ([3.0], (3.0, 3.0)),
        (range(1, 6), (1, 5)),  # five figures have no interval of 95 %: least and largest
        (range(1, 7), (1, 6)),  # 2 / 2^6 = 3 %
        (range(1, 9), (1, 8)),  # without the ends 2 * (1 + 8) / 2^8 = 7 %
        (range(1, 10), (2, 8)),  # 2 * (1 + 9) / 2^9 = 3.9 %
        (range(1, 21), (6, 15)),  # the classical interval of twenty: 4.1 %
    ],
)
def test_interval_of_a_median_is_the_narrowest_that_covers_it(figures, ends):
    found = compare.median_interval(list(figures))
    assert (found.least, found.largest) == ends
    assert found.median == sum(ends) / 2


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [
        ([1.3] * 7, "slower"),
        ([0.7] * 7, "faster"),
        ([1.04] * 7, ""),  # beyond the interval, within the drift of the machine
        ([0.8, 1.5, 1.6, 0.9, 1.4, 1.2, 1.3], ""),  # within the noise
        ([1.0] * 7, ""),
    ],
)
def test_slower_is_what_is_slower_beyond_the_noise(file, factors, verdict):
    old = file("a", HEADER, timed("jopt adam", [1.0] * 7))
    new = file("b", HEADER, timed("jopt adam", factors))
    (change,) = compare.compare(old, new).changes
    assert change.verdict == verdict
    assert change.what == "steps, leaf, jopt adam"
    assert (change.before, change.unit) == (1.0, "s")
    assert change.ratio == Spread(change.after, min(factors), max(factors))


@pytest.mark.parametrize(("before", "after", "verdict"), [(4, 4, "slower"), (3, 3, ""), (2, 7, ""), (2, 8, "slower")])
def test_a_few_rounds_are_no_verdict(file, before, after, verdict):
    # 2 / C(8, 4) = 2.9 %, 2 / C(6, 3) = 10 %, 2 / C(9, 2) = 5.6 %, 2 / C(10, 2) = 4.4 %
    old = file("a", HEADER, timed("x", [1.0] * before), timed("steady", STEADY))
    found = compare.compare(old, file("b", HEADER, timed("x", [2.0] * after), timed("steady", STEADY)))
    assert [change.verdict for change in found.changes] == [verdict, ""]
    assert [change.few for change in found.changes] == [not verdict, False]
    assert found.worse is bool(verdict)
    told = ["1 of 2 rest on too few rounds or problems for a verdict"] * (not verdict)
    assert compare.text(found).splitlines() == [*told, "1 of 2 figures within the noise"]


@pytest.mark.parametrize(("problems", "verdict"), [(5, ""), (6, "slower")])
def test_a_few_problems_are_no_verdict_on_times_but_on_what_is_counted(file, problems, verdict):
    old, new = ([solve("s", f"p{i}", run_s, nfev) for i in range(problems)] for run_s, nfev in ((1.0, 10), (2.0, 9)))
    form = cutest_records.FILE
    found = compare.compare(file("a", RACE, *old, form=form), file("b", RACE, *new, form=form))
    assert [change.verdict for change in found.changes] == [verdict, "fewer"]


def test_interval_of_the_ratio_has_the_noise_of_both(file):
    wide = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.5]
    (change,) = compare.compare(
        file("a", HEADER, timed("x", wide)), file("b", HEADER, timed("x", [2 * x for x in STEADY]))
    ).changes
    assert change.ratio == Spread(2.0, 1.96 / 1.5, 2.04 / 0.5)


def test_failures_and_absences_are_named(file):
    old = file("a", HEADER, timed("kept", STEADY), timed("broken", STEADY), timed("mended", ()), timed("gone", STEADY))
    new = file("b", HEADER, timed("kept", STEADY), timed("broken", (), error="no"), timed("mended", STEADY))
    found = compare.compare(old, new)
    assert [change.what for change in found.changes] == ["steps, leaf, kept"]
    assert found.lost == ("steps, leaf, broken",)
    assert found.gained == ("steps, leaf, mended",)
    assert found.missing == ("steps, leaf, gone",)
    assert found.worse
    assert compare.text(found).splitlines() == [
        "lost: steps, leaf, broken",
        "gained: steps, leaf, mended",
        "missing: steps, leaf, gone",
        "1 of 1 figures within the noise",
    ]


def test_other_circumstances_are_a_warning(file):
    other = HEADER._replace(
        device="gpu", versions={"jax": "0.11", "torch": "2"}, quick=True, precision="float64", commit="other"
    )
    found = compare.compare(file("a", HEADER, timed("x", STEADY)), file("b", other, timed("x", STEADY)))
    assert found.differences == (
        "steps: device differs: cpu and gpu.",
        "steps: precision differs: float32 and float64.",
        "steps: quick differs: False and True.",
        "steps: versions differ: jax 0.10.2 and 0.11, torch none and 2.",
    )
    assert compare.compare(*[file("c", HEADER, timed("x", STEADY))] * 2).differences == ()


def test_races_are_compared_over_the_problems_that_both_solved(file):
    form = cutest_records.FILE
    names = [f"p{i}" for i in range(7)]
    old = [solve("jopt-lbfgs", name, 1.0, 10) for name in names] + [solve("a", "q", solved=False), solve("a", "r")]
    new = [solve("jopt-lbfgs", name, 1.5, 9) for name in names] + [solve("a", "q"), solve("a", "r", solved=False)]
    found = compare.compare(file("a", RACE, *old, form=form), file("b", RACE, *new, form=form))
    seconds, evaluations = found.changes
    assert (seconds.what, seconds.verdict, seconds.ratio.median) == ("jopt-lbfgs, 7 problems", "slower", 1.5)
    assert (evaluations.unit, evaluations.verdict, evaluations.ratio.median) == ("evaluations", "fewer", 0.9)
    assert found.lost == ("a on r",)
    assert found.gained == ("a on q",)


def test_more_evaluations_are_worse(file):
    form = cutest_records.FILE
    old, new = ([solve("s", f"p{i}", 1.0, nfev) for i in range(7)] for nfev in (10, 12))
    found = compare.compare(file("a", RACE, *old, form=form), file("b", RACE, *new, form=form))
    assert [change.verdict for change in found.changes] == ["", "more"]
    assert found.worse
    assert not found._replace(changes=found.changes[:1]).worse


def call(*arguments):
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(
        commands.application(), [str(x) for x in arguments]
    )


def test_command_prints_what_changed_and_fails_only_on_request(file):
    old = file("a.jsonl", HEADER, timed("jopt adam", STEADY), timed("optax adam", STEADY))
    new = file("b.jsonl", HEADER, timed("jopt adam", [2 * x for x in STEADY]), timed("optax adam", STEADY))
    result = call("--compare", old, new)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if "jopt adam" in line).split()
    assert " ".join(row) == "steps, leaf, jopt adam time 1 s 2 s 2.00 1.92 to 2.08 slower"
    assert "optax adam" not in result.output
    assert "1 of 2 figures within the noise" in result.output
    assert call("--compare", old, new, "--fail-slower").exit_code == 1
    assert call("--compare", new, old, "--fail-slower").exit_code == 0


def test_mistakes_are_one_line(file, tmp_path):
    suite = file("a.jsonl", HEADER, timed("x", STEADY))
    race = file("r.jsonl", RACE, solve("x", "p"), form=cutest_records.FILE)
    missing = call("--compare", suite, tmp_path / "none.jsonl")
    assert missing.exit_code == 1
    assert "none.jsonl could not be read: No such file or directory" in missing.output
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "bad").write_text(measurements.FILE.to_line(HEADER) + '\n{"kind": "row"}\n')
    for other, message in (
        (race, "give two of a kind"),
        (tmp_path / "text", "holds no measurements of jopt bench"),
        (tmp_path / "bad", "line 2 of"),
        (file("empty", HEADER), "holds no rows"),
    ):
        result = call("--compare", suite, other)
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
        assert "Traceback" not in result.output
    for arguments in (["--fail-slower"], ["--compare", suite, suite, "steps"]):
        assert "give either a command or --compare" in call(*arguments).output


def test_figures_that_are_missing_are_not_compared(file):
    rows = [solve("s", "p", math.nan, -1), solve("s", "q", 1.0, 5)]
    path = file("a", RACE, *rows, form=cutest_records.FILE)
    assert [change.what for change in compare.compare(path, path).changes] == ["s, 1 problems"] * 2

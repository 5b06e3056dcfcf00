# SPDX-License-Identifier: Apache-2.0
"""The command line of the benchmarks: what it understands, what it prints and writes, how it refuses."""

import contextlib
import json
import os
import sys
from types import SimpleNamespace

import jax
import pytest
from typer.testing import CliRunner

from jopt import cli
from jopt.bench import (
    ablation,
    catalogue_problems,
    commands,
    counting,
    cutest,
    cutest_problems,
    rivals,
    solver_commands,
)
from jopt.bench.cutest_records import FILE, Header, Race, Row, Settings
from jopt.bench.workers import Failure

HEADER = Header("float64", 1e-6, 2000, 60.0, "cpu", {"jax": "0.0.1"}, "abc")


def made_up(settings, cast):
    """Return a race of the settings, of two problems at most, in which the solvers are ever slower."""
    everyone = ("default", "kept 1") if cast.entrants is ablation.entrants else ("jopt-lbfgs", "optax-lbfgs")
    names, methods = settings.names[:2] or ("ROSENBR", "AKIVA"), settings.methods or everyone
    rows = [
        Row(name, 2, method, 2.0, 1.0, 1.0, 1e-7, 2.0, 1.0, True, "fine", 1, 2, 3, 0.5, 0.1 * (1 + i))
        for name in names
        for i, method in enumerate(methods)
    ]
    return Race(settings._replace(names=names, methods=methods), (HEADER,), tuple(rows))


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Return a function that runs the command line in an empty directory with a benchmark that costs nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setitem(sys.modules, "sif2jax", SimpleNamespace(__spec__=True))

    def race_cutest(settings, path, report, *, mixed, cast):
        call.asked.append(SimpleNamespace(settings=settings, path=str(path), mixed=mixed, cast=cast))
        if report is not None:
            report(1, 2, "ROSENBR, jopt-lbfgs")
        if call.error:
            raise call.error
        return made_up(settings, cast)

    def call(*arguments):
        return CliRunner().invoke(commands.application(), [str(x) for x in arguments])

    call.asked, call.error = [], None
    monkeypatch.setattr(cutest, "race_cutest", race_cutest)
    return call


def test_cutest_prints_a_table_and_writes_what_is_asked_for(call, tmp_path):
    result = call("cutest", "--png", "p.png", "--markdown", "m.md")
    assert result.exit_code == 0, result.output
    assert "ROSENBR, jopt-lbfgs" in result.output  # the bar
    assert "2/2" in result.output
    assert "ratios to optax-lbfgs" in result.output
    assert "wrote p.png" in result.output
    assert "rows in cutest-float64.jsonl" in result.output
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert (
        "| jopt-lbfgs | 2/2 | 2 | 0 | 0 | 1 | 2 | 3 | 0.50 | 100 | 0.50 | 1.00 | 1.00 | 2 |"
        in (tmp_path / "m.md").read_text()
    )
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Settings()),
        (["--half", "odd"], Settings(half="odd")),
        (
            ["--max-n", 9, "--gtol", 1e-3, "--maxiter", 7, "--limit", 2],
            Settings(max_n=9, gtol=1e-3, maxiter=7, limit=2.0),
        ),
        (["--names", "A, B", "--methods", "optax-lbfgs,x"], Settings(names=("A", "B"), methods=("optax-lbfgs", "x"))),
        (["--f32"], Settings(precision="float32", max_n=200, gtol=1e-4, maxiter=1000)),
        (["--f32", "--max-n", 9], Settings(precision="float32", max_n=9, gtol=1e-4, maxiter=1000)),
    ],
)
def test_options_reach_the_benchmark(call, arguments, expected):
    result = call("cutest", *arguments, "--no-progress")
    assert result.exit_code == 0, result.output
    (asked,) = call.asked
    assert asked.settings == expected
    assert asked.mixed is False
    assert asked.path == f"cutest-{expected.precision}.jsonl"
    assert asked.cast == cutest.Cast()


def test_bounded_takes_other_problems_and_solvers(call, monkeypatch):
    monkeypatch.setattr(rivals, "METHODS", {"lbfgs": None})
    result = call("cutest", "--bounded", "--no-progress")
    assert result.exit_code == 0, result.output
    call("cutest", "--bounded", "--quick")
    first, second = call.asked
    assert first.settings == Settings(family="bounded")
    assert first.cast == cutest.Cast(cutest_problems.load_bounded, rivals.bounded_entrants)
    assert first.path == "cutest-bounded-float64.jsonl"
    assert second.settings.names == cutest_problems.QUICK_BOUNDED
    assert second.settings.methods == ("jopt-lbfgs", "scipy-lbfgsb")


def test_quick_takes_a_dozen_problems_and_the_methods_that_are_there(call, monkeypatch):
    monkeypatch.setattr(rivals, "METHODS", {"lbfgs": None})
    call("cutest", "--quick", "--out", "rows.jsonl", "--mixed")
    call("cutest", "--quick", "--methods", "a", "--names", "B")
    first, second = call.asked
    assert first.settings.names == cutest_problems.QUICK
    assert first.settings.methods == ("jopt-lbfgs", "optax-lbfgs", "scipy-trust-ncg")
    assert (first.path, first.mixed) == ("rows.jsonl", True)
    assert (second.settings.names, second.settings.methods) == (("B",), ("a",))


def test_times_are_divided_by_those_of_the_one_asked_for_else_optax_else_the_first(call):
    assert "ratios to jopt-lbfgs" in call("cutest", "--against", "jopt-lbfgs").output
    assert "ratios to a," in call("cutest", "--methods", "a,b").output
    assert "ratios to b," in call("cutest", "--methods", "a,b", "--against", "b").output
    unknown = call("cutest", "--against", "optax-lbfg")
    assert unknown.exit_code == 2
    assert "Did you mean 'optax-lbfgs'?" in unknown.output


def test_reference_is_read_in_float32(call, tmp_path):
    lower = Row("ROSENBR", 2, "other", exact_fun0=2.0, exact_fun=-7.0)
    (tmp_path / "r.jsonl").write_text(f"{FILE.to_line(HEADER)}\n{FILE.to_line(lower)}\n")
    assert "1/2" not in call("cutest", "--f32", "--no-progress").output
    assert "1/2" in call("cutest", "--f32", "--no-progress", "--reference", "r.jsonl").output


def test_ablation_runs_its_variants_against_the_default(call):
    result = call("ablation", "--f32", "--limit", 3)
    assert result.exit_code == 0, result.output
    assert "ratios to default" in result.output
    call("ablation", "--variants", "kept 1")
    first, second = call.asked
    assert first.cast == cutest.Cast(entrants=ablation.entrants)
    assert first.settings == Settings(precision="float32", max_n=200, gtol=1e-4, maxiter=1000, limit=3.0)
    assert first.path == "ablation-float32.jsonl"
    assert second.settings.methods == ("default", "kept 1")


def test_progress_is_shown_unless_refused(call):
    assert "2/2 " not in call("cutest", "--no-progress").output.split("CUTEst")[0]
    assert "1/2" in call("cutest").output.split("CUTEst")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--half", "evn"], "Did you mean 'even'?"),
        (["--gtol", "-1"], "gtol must be in [0, inf]"),
        (["--limit", "0"], "limit must be in (0, inf]"),
        (["--max-n", "0"], "max_n must be a whole number >= 1"),
        (["--png", "p.pdf"], "--png must name a file that ends in .png"),
        (["--png", "nowhere/p.png"], "--png must name a file in a directory that exists"),
        (["--out", "."], "--out must name a file in a directory"),
        (["--markdown", "nowhere/m.md"], "--markdown must name a file in a directory"),
        (["--reference", "r.jsonl", "--f32"], "--reference must name a file of rows"),
        (["--methods", "a,b", "--against", "c"], "against must be one of 'a', 'b', got 'c'"),
        (["--limits", "9"], "--limits"),
    ],
)
def test_mistakes_are_answered_before_anything_runs_without_a_traceback(call, arguments, message):
    result = call("cutest", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert call.asked == []


def test_reference_goes_with_single_precision(call, tmp_path):
    (tmp_path / "r.jsonl").touch()
    result = call("cutest", "--reference", "r.jsonl")
    assert result.exit_code == 2
    assert "goes with --f32" in result.output


def test_what_the_benchmark_refuses_is_answered_in_one_line(call):
    call.error = ValueError("resume: rows.jsonl holds rows of another task")
    result = call("cutest")
    assert result.exit_code == 2
    assert "rows.jsonl holds rows of another task" in result.output
    call.error = RuntimeError("Worker: the process could not start")
    result = call("cutest")
    assert result.exit_code == 1
    assert "jopt: Worker: the process could not start" in result.output


def test_unwritable_result_is_one_line(call, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(solver_commands.Path, "write_text", full)
    result = call("cutest", "--markdown", "m.md")
    assert result.exit_code == 1
    assert "jopt: m.md could not be written: No space left on device" in result.output


def test_missing_packages_are_one_line_that_says_what_to_install(call, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sif2jax", None)
    result = call("cutest")
    assert result.exit_code == 1
    assert "jopt: CUTEst needs sif2jax; pip install 'jopt[cutest]'" in result.output
    assert call("solvers", "--no-progress").exit_code == 0  # the catalogue is jopt's own
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "jopt: the race needs matplotlib; pip install 'jopt[race]'" in call("solvers", "--png", "p.png").output
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(SystemExit) as raised:
        commands.main(["cutest"])
    assert raised.value.code == 1
    assert capsys.readouterr().err == "jopt: the command line needs rich; pip install 'jopt[race]'\n"


def test_help_names_every_option(call):
    text = call("cutest", "--help").output
    for name in set(solver_commands.HELP) - {"variants", "progress"}:
        assert f"--{name}" in text, name
    for name in rivals.RIVALS:
        assert name in text
    text = call("ablation", "--help").output
    assert "--variants" in text


@pytest.mark.parametrize(
    ("arguments", "family", "cast", "half", "path"),
    [
        ([], "catalogue", cutest.Cast(catalogue_problems.load, rivals.entrants), "both", "solvers-float64.jsonl"),
        (["--problems", "cutest"], "unconstrained", cutest.Cast(), "even", "cutest-float64.jsonl"),
        (
            ["--bounded", "--half", "odd"],
            "bounded",
            cutest.Cast(cutest_problems.load_bounded, rivals.bounded_entrants),
            "odd",
            "cutest-bounded-float64.jsonl",
        ),
        (
            ["--problems", "all"],
            "all",
            cutest.Cast(catalogue_problems.load_all, rivals.entrants),
            "both",
            "solvers-all-float64.jsonl",
        ),
        (
            ["--quick", "--json", "r.jsonl"],
            "catalogue",
            cutest.Cast(catalogue_problems.load, rivals.entrants),
            "both",
            "r.jsonl",
        ),
    ],
)
def test_solvers_race_on_the_problems_asked_for(call, arguments, family, cast, half, path):
    result = call("solvers", "--no-progress", *arguments)
    assert result.exit_code == 0, result.output
    (asked,) = call.asked
    assert (asked.settings.family, asked.cast, asked.settings.half, asked.path) == (family, cast, half, path)
    assert (asked.settings.names == catalogue_problems.QUICK) is ("--quick" in arguments)


def test_unknown_set_of_problems_is_answered_with_a_suggestion(call):
    assert "Did you mean 'cutest'?" in call("solvers", "--problems", "cutes").output
    assert "Did you mean 'dark'?" in call("solvers", "--theme", "drak").output


def test_pictures_of_budgets_and_sizes_are_drawn(call, tmp_path):
    result = call("solvers", "--data-png", "d.png", "--size-png", "s.png", "--theme", "dark", "--no-progress")
    assert result.exit_code == 0, result.output
    for name in ("d.png", "s.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_checked_counts_are_told(call, monkeypatch, tmp_path):
    made = {"a": counting.Check("a", 3, 3, 0, 0), "b": counting.Check("b", 3, 4, 0, 0)}
    monkeypatch.setattr(counting, "check_all", lambda *_, **__: made)
    result = call("solvers", "--check-counts", "--markdown", "m.md", "--no-progress")
    assert "counts, and true: a\n" in result.output
    assert "not true: b: 3 + 0 reported, 4 + 0 counted" in (tmp_path / "m.md").read_text()


def test_platform_is_that_of_the_processes(call, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    seen = []
    known = cutest.race_cutest
    monkeypatch.setattr(
        cutest, "race_cutest", lambda *a, **k: seen.append(os.environ["JAX_PLATFORMS"]) or known(*a, **k)
    )
    monkeypatch.setattr(solver_commands, "_lacks_platform", lambda _: 0)
    call("solvers", "--platform", "TPU", "--no-progress")
    assert seen == ["tpu,cpu"]
    assert os.environ["JAX_PLATFORMS"] == "cpu"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("cpu", "jopt: JAX has no platform 'gpu' to run on here, or was told too late: it runs on 'cpu'.\n"),
        (
            Failure("error", "RuntimeError: no cuda (set JAX)"),
            "jopt: JAX has no platform 'gpu' to run on here: no cuda\n",
        ),
    ],
)
def test_a_platform_that_the_processes_lack_is_one_line_before_the_race(call, monkeypatch, answer, told):
    asked = []

    class Asked(contextlib.nullcontext):
        def ask(self, *_):
            asked.append(os.environ["JAX_PLATFORMS"])
            return answer

    monkeypatch.setattr(solver_commands, "Worker", lambda _: Asked(Asked()))
    result = call("solvers", "--platform", "gpu", "--no-progress")
    assert (result.exit_code, result.output) == (1, told)
    assert asked == ["cuda,cpu"]
    assert call.asked == []


def test_the_platform_of_a_process_is_asked_for():
    assert solver_commands.platform_teller()(None) == jax.devices()[0].platform


def test_a_failure_to_start_names_no_function(call):
    call.error = RuntimeError("race_cutest: the problems could not be listed: why")
    assert call("solvers", "--no-progress").output == "jopt: the problems could not be listed: why\n"


def test_rows_cannot_go_to_standard_output(call, tmp_path):
    result = call("solvers", "--json", "-")
    assert result.exit_code == 2
    assert "--out must name a file, got '-'" in result.output
    assert not (tmp_path / "-").exists()


def test_benchmarks_hang_under_the_command_line_of_jopt(call):
    result = CliRunner().invoke(cli.application(), ["bench", "cutest", "--no-progress"])
    assert result.exit_code == 0, result.output
    assert len(call.asked) == 1


def test_rows_are_not_touched_by_a_mistake(call, tmp_path):
    (tmp_path / "cutest-float64.jsonl").write_text(json.dumps({}))
    call("cutest", "--half", "x")
    assert (tmp_path / "cutest-float64.jsonl").read_text() == "{}"

# SPDX-License-Identifier: Apache-2.0
"""The commands of the suites: what they understand, what they print and write, how they refuse."""

import json
import pathlib

import pytest
from typer.testing import CliRunner

from jopt import console
from jopt.bench import commands, registry, suite_commands, suite_pictures, suite_tables, suites
from jopt.bench.measurements import FILE, Header, Row, summaries
from jopt.bench.suites import Measured, Scope, Suite
from jopt.bench.turns import Contender, Heat

HEADER = Header("quiet", "float32", False, 7, "cpu: test", {"jax": "0.0.1"}, "abc", 1e9)


def row(case, contender, seconds, **fields):
    return Row("quiet", case, 8, contender, "step", seconds, **fields)


ROWS = (
    row("leaf 8", "optax adam", (2e-3, 4e-3), trace_s=1.0, compile_s=1.0, peak_bytes=2**21, least_bytes=10**6),
    row("leaf 8", "jopt adam", (1e-3, 1e-3), trace_s=0.5, compile_s=0.5, figures={"copies": 1, "error": 0.125}),
    row("tree 8", "jopt adam", (), error="ValueError: no"),
)


def never():
    raise AssertionError("nothing may run")


def heats(scope):
    who = tuple(Contender(name, never) for name in ("optax adam", "jopt adam"))
    return tuple(Heat(case, 8, "step", who) for case in (["leaf 8"] if scope.quick else ["leaf 8", "tree 1,000"]))


QUIET = Suite("quiet", "What takes no time.", heats, limited=True, columns=("copies", "error"))
LOUD = QUIET._replace(name="loud", precision="float64", limited=False)


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Return a function that runs the command line in an empty directory with suites that cost nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(registry, "SUITES", {"quiet": QUIET, "loud": LOUD})

    def run_suite(suite, scope, path=None, report=None):
        call.asked.append((suite.name, scope))
        if report is not None:
            report(1, 2, "leaf 8, jopt adam")
        rows = tuple(one._replace(suite=suite.name) for one in call.rows)
        if path is not None:
            for record in (HEADER, *rows):
                FILE.append(path, record)
        return Measured(HEADER._replace(suite=suite.name), rows)

    def call(*arguments):
        return CliRunner().invoke(commands.application(), [str(x) for x in arguments])

    call.asked, call.rows = [], ROWS[:2]
    monkeypatch.setattr(suites, "run_suite", run_suite)
    return call


def test_suite_prints_a_table_and_writes_what_is_asked_for(call, tmp_path):
    result = call("quiet", "--json", "r.jsonl", "--markdown", "m.md", "--png", "p.png", "--theme", "dark")
    assert result.exit_code == 0, result.output
    assert "leaf 8, jopt adam" in result.output  # the bar
    assert "ratio: time of the first of the case over own" in result.output
    assert "a copy moves 1 GB/s" in result.output
    line = next(line for line in result.output.splitlines() if "jopt adam  " in line).split()
    assert line == ["jopt", "adam", "1", "ms", "1-1", "3.00", "2.00-4.00", "-", "1.00", "2.00", "-", "1", "0.125"]
    assert FILE.read(tmp_path / "r.jsonl") == ((HEADER,), ROWS[:2])
    assert "| leaf 8 | optax adam | 3 ms | 2-4 | 1.00 | 1.00-1.00 | 0.33 | 2.00 | 1.00 | 2.0 | - | - |" in (
        tmp_path / "m.md"
    ).read_text(encoding="utf-8")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Scope("float32")),
        (["--quick", "--rounds", 3], Scope("float32", quick=True, rounds=3)),
        (["--precision", "float64"], Scope("float64")),
        (["--cases", "tree 1,000", "--cases", "leaf 8"], Scope("float32", cases=("tree 1,000", "leaf 8"))),
        (["--contenders", "jopt adam"], Scope("float32", contenders=("jopt adam",))),
    ],
)
def test_options_reach_the_suite(call, arguments, expected):
    result = call("quiet", "--no-progress", *arguments)
    assert result.exit_code == 0, result.output
    assert call.asked == [("quiet", expected)]
    assert "1/2" not in result.output


def test_all_runs_every_suite_in_its_precision(call, tmp_path):
    result = call("all", "--quick", "--json", "r.jsonl", "--markdown", "m.md", "--png", "p.png", "--no-progress")
    assert result.exit_code == 0, result.output
    assert call.asked == [("quiet", Scope("float32", quick=True)), ("loud", Scope("float64", quick=True))]
    assert [one.suite for one in FILE.read(tmp_path / "r.jsonl")[1]] == ["quiet"] * 2 + ["loud"] * 2
    assert (tmp_path / "m.md").read_text(encoding="utf-8").count("| case |") == 2
    assert {path.name for path in tmp_path.glob("*.png")} == {"p-quiet.png", "p-loud.png"}


def test_json_on_standard_output_leaves_it_to_machines(call):
    result = call("quiet", "--json", "-", "--no-progress")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["header", "row", "row"]
    assert "jopt adam" in result.stderr


def test_file_of_figures_is_replaced(call, tmp_path):
    (tmp_path / "r.jsonl").write_text("old\n")
    assert call("quiet", "--json", "r.jsonl").exit_code == 0
    assert FILE.read(tmp_path / "r.jsonl") == ((HEADER,), ROWS[:2])


def test_listing_runs_nothing(call):
    result = call("quiet", "--list")
    assert result.exit_code == 0
    assert "tree 1,000: 'optax adam', 'jopt adam'" in result.output
    assert "tree" not in call("quiet", "--list", "--quick").output
    assert call.asked == []


def test_a_contender_that_fails_is_one_line_and_exit_code_one(call):
    call.rows = ROWS
    result = call("quiet", "--no-progress", "--markdown", "m.md")
    assert result.exit_code == 1
    assert "jopt: tree 8, jopt adam: ValueError: no" in result.output
    assert "failed" in result.output
    assert "- tree 8, jopt adam: ValueError: no" in pathlib.Path("m.md").read_text(encoding="utf-8")
    call.rows = ROWS[2:]
    assert "p.png is not drawn: nothing was measured." in call("quiet", "--png", "p.png").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quiet", "--cases", "leaf 9"], "Did you mean 'leaf 8'?"),
        (["quiet", "--contenders", "jopt adan"], "Did you mean 'jopt adam'?"),
        (["quiet", "--precision", "float46"], "Did you mean 'float64'?"),
        (["quiet", "--theme", "drak"], "Did you mean 'dark'?"),
        (["quiet", "--rounds", 0], "rounds must be a whole number >= 1"),
        (["quiet", "--png", "p.pdf"], "--png must name a file that ends in .png"),
        (["quiet", "--json", "nowhere/r.jsonl"], "--json must name a file in a directory that exists"),
        (["quiet", "--markdown", "."], "--markdown must name a file in a directory"),
        (["quiet", "--quik"], "--quick"),
        (["quite"], "Did you mean 'quiet'?"),
        (["all", "--cases", "leaf 8"], "--cases and --contenders go with one suite"),
    ],
)
def test_mistakes_are_answered_before_anything_runs_without_a_traceback(call, arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert call.asked == []


def test_a_platform_that_is_not_there_is_one_line(call, monkeypatch):
    asked = []

    def devices():
        msg = "Unknown backend 'gppu'. (set JAX_PLATFORMS='')\nmore"
        raise RuntimeError(msg)

    monkeypatch.setattr(console.jax, "devices", devices)
    monkeypatch.setattr(console.jax.config, "update", lambda *pair: asked.append(pair))
    result = call("quiet", "--platform", "Gppu")
    assert result.exit_code == 1
    expected = "jopt: JAX has no platform 'Gppu' to run on here (did you mean 'gpu'?): Unknown backend 'gppu'.\n"
    assert result.output == expected
    assert asked == [("jax_platforms", "gppu,cpu")]
    assert call.asked == []


def test_files_that_cannot_be_written_are_one_line(call, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(console.Path, "write_text", full)
    for option in ("--json", "--markdown"):
        result = call("quiet", option, "f.txt")
        assert result.exit_code == 1
        assert "jopt: f.txt could not be written: No space left on device" in result.output


def test_help_names_every_option_and_begins_with_what_is_measured(call):
    text = call("quiet", "--help").output
    assert "What takes no time." in text
    for name in suite_commands.HELP:
        assert f"--{name}" in text, name
    assert "jopt bench quiet --quick" in text
    text = call("--help").output
    for name in ("quiet", "loud", "all", "solvers", "cutest", "ablation", "--compare"):
        assert name in text


def test_seconds_above_the_first_are_those_of_compilations():
    header = Header("quiet", "float32", False, 2, "cpu", {}, None)
    base, other = row("leaf 8", "base", (1.0, 2.0)), row("leaf 8", "other", (1.5, 2.25))
    for unit, shown in (("step", None), ("compilation", ["+0.00 s", "+0.38 s"])):
        rows = tuple(each._replace(unit=unit) for each in (base, other))
        names, cells = suite_tables.shown(QUIET, suites.Measured(header, rows))
        assert ("above\nfirst" in names) is (shown is not None)
        if shown:
            assert [cell[names.index("above\nfirst")] for cell in cells] == shown


def test_columns_that_hold_nothing_are_left_out():
    names, cells = suite_tables.shown(QUIET, Measured(HEADER, (row("leaf", "a", (1.0,)),)))
    assert names == ("case", "contender", "median", "range", "ratio", "range")
    assert cells == [("leaf", "a", "1 s", "1-1", "1.00", "1.00-1.00")]


@pytest.mark.parametrize(
    ("value", "text"), [(2.0, "2 s"), (0.5, "500 ms"), (1.23456e-5, "12.3 us"), (5e-10, "0.5 ns"), (float("nan"), "-")]
)
def test_times_have_a_unit_that_suits_them(value, text):
    assert suite_tables.seconds(value) == text


def test_kinds_of_cases_are_curves_of_their_own():
    rows = [row(case, "jopt", (1.0, 2.0)) for case in ("8 rosenbrock", "8 logistic")]
    figure = suite_pictures.picture(LOUD, Measured(HEADER._replace(copy_rate=None), tuple(rows)), "light")
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert {"jopt: rosenbrock", "jopt: logistic"} <= set(labels)
    assert summaries(rows)[0].ratio.median == 1.0


def test_a_roofline_names_by_colour_only_what_the_contender_does_not_say():
    rows = [row(f"adam, {shape} 8", "jopt adam", (1.0, 2.0), least_bytes=8) for shape in ("leaf", "tree")]
    figure = suite_pictures.picture(QUIET, Measured(HEADER, tuple(rows)), "light")
    assert figure.axes[0].get_legend_handles_labels()[1][:2] == ["leaf 8", "tree 8"]


def test_a_roofline_is_level_at_the_rate_of_operations():
    header = HEADER._replace(copy_rate=4e9, flop_rate=16e9)
    rows = (row("leaf 8", "jopt adam", (1.0, 2.0), least_bytes=8, flops=4),)
    roof = suite_pictures.picture(QUIET, Measured(header, rows), "light").axes[0].get_lines()[-1]
    assert list(roof.get_ydata()) == [1.0, 16.0, 16.0]


def test_every_suite_is_under_its_own_name_and_lists_its_cases_without_running():
    for name, suite in registry.SUITES.items():
        assert suite.name == name
        for quick in (True, False):
            assert suites.chosen(suite, Scope(suite.precision, quick=quick))

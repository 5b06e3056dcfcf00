"""The command line: what it understands, what it prints and writes, and how it refuses."""

import io
import json
import subprocess
import sys

import pytest
from races import diverged_run, made_up_race, made_up_run
from rich.console import Console
from typer.testing import CliRunner

import jopt
from jopt import bench, cli


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Return a function that runs the command line in an empty directory with a race that costs nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # no line breaks within messages
    monkeypatch.setenv("NO_COLOR", "1")
    asked = []

    def race_digits(settings, report=None):
        asked.append(settings)
        if report is not None:
            report(0, 2, "regression, lbfgs: compile")
            report(2, 2, "done")
        return made_up_race(*call.runs, **settings._asdict())

    def call(*arguments):
        call.asked = asked
        return CliRunner().invoke(cli.application(), [str(x) for x in arguments])

    call.runs = ()
    monkeypatch.setattr(bench, "race_digits", race_digits)
    return call


def test_race_prints_a_table_and_writes_the_picture(call, tmp_path):
    result = call("race", "digits")
    assert result.exit_code == 0, result.output
    assert "lbfgs" in result.output
    assert "CONVERGED" in result.output
    assert "wrote race-digits.png" in result.output
    assert (tmp_path / "race-digits.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "race-digits.png").stat().st_size > 10_000
    assert not list(tmp_path.glob("*.json"))


def test_defaults_are_a_thousand_evaluations_in_float64_with_every_problem_and_method(call):
    call("race", "digits")
    assert call.asked == [
        bench.Settings("digits", 1000, "float64", 1e-5, 0, ("regression", "network"), ("sgd", "adam", "chain", "lbfgs"))
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--evaluations", 7], {"evaluations": 7}),
        (["--quick"], {"evaluations": 20}),
        (["--precision", "float32"], {"precision": "float32", "gtol": None}),
        (["--gtol", "1e-3"], {"gtol": 1e-3}),
        (["--precision", "float32", "--gtol", "0.01"], {"precision": "float32", "gtol": 0.01}),
        (["--seed", 5], {"seed": 5}),
        (["--problems", "network"], {"problems": ("network",)}),
        (["--methods", "lbfgs, adam"], {"methods": ("lbfgs", "adam")}),
    ],
)
def test_options_reach_the_race(call, arguments, expected):
    result = call("race", "digits", *arguments)
    assert result.exit_code == 0, result.output
    (asked,) = call.asked
    assert {key: getattr(asked, key) for key in expected} == expected


def test_json_holds_the_records_and_files_go_where_they_are_asked_to(call, tmp_path):
    result = call("race", "digits", "--json", "figures.json", "--png", "picture.PNG", "--seed", 2)
    assert result.exit_code == 0, result.output
    race = bench.from_json((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert race == made_up_race(**call.asked[0]._asdict())
    assert sorted(x.name for x in tmp_path.iterdir()) == ["figures.json", "picture.PNG"]
    assert "wrote figures.json" in result.output


def test_progress_is_shown_unless_refused(call):
    assert "2/2" in call("race", "digits").output
    assert "2/2" not in call("race", "digits", "--no-progress").output


def test_table_has_all_figures_in_a_hundred_columns():
    out = io.StringIO()
    Console(file=out, width=cli.WIDTH).print(cli.table(made_up_race()))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for word in " ".join(cli.COLUMNS).split():
        assert word in text
    row = next(line for line in text.splitlines() if "adam" in line).split()
    figures = ["0.251235", "3.4e-06", "97.5%", "41", "987", "12.35", "0.065", "MAX_EVALUATIONS"]
    assert row == ["regression", "adam", *figures]
    assert len(row) == len(cli.COLUMNS)


def test_not_converging_is_a_normal_result(call):
    call.runs = (made_up_run(status="MAX_EVALUATIONS"), made_up_run(status="STALLED"))
    assert call("race", "digits").exit_code == 0


def test_a_number_that_is_not_finite_ends_in_exit_code_one_with_all_results_written(call, tmp_path):
    call.runs = (made_up_run(), diverged_run())
    result = call("race", "digits", "--json", "figures.json")
    assert result.exit_code == 1
    assert "jopt: regression, sgd: The advice for NONFINITE." in result.output
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["runs"][1]["final_loss"] is None
    assert (tmp_path / "race-digits.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--methods", "lbfg"],
            "methods must be one of 'adam', 'chain', 'lbfgs', 'sgd', got 'lbfg'. Did you mean 'lbfgs'?",
        ),
        (["--problems", "regresion"], "got 'regresion'. Did you mean 'regression'?"),
        (["--precision", "float46"], "Did you mean 'float64'?"),
        (["--evaluations", "1"], "evaluations must be a whole number >= 2"),
        (["--evaluations", "many"], "valid integer"),
        (["--evaluations", "9", "--quick"], "either --quick or --evaluations, not both"),
        (["--gtol", "-1"], "gtol must be in [0, inf]"),
        (["--gtol", "nan"], "gtol must be in [0, inf]"),
        (["--seed", "-1"], "seed must be a whole number >= 0"),
        (["--png", "race.pdf"], "--png must name a file that ends in .png"),
        (["--png", "nowhere/race.png"], "--png must name a file in a directory that exists"),
        (["--json", "nowhere/race.json"], "--json must name a file in a directory that exists"),
        (["--json", "."], "--json must name a file in a directory"),
        (["--evaluation", "9"], "--evaluations"),
    ],
)
def test_mistakes_are_answered_before_anything_runs_without_a_traceback(call, arguments, message):
    result = call("race", "digits", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert call.asked == []


def test_unknown_data_set_is_answered_with_a_suggestion(call):
    result = call("race", "digit")
    assert result.exit_code == 2
    assert "Did you mean 'digits'?" in result.output


def test_unwritable_result_is_one_line_and_the_other_is_written(call, monkeypatch, tmp_path):
    (tmp_path / "full.json").touch()

    def full(self, *_, **__):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(cli.Path, "write_text", full)
    result = call("race", "digits", "--json", "full.json")
    assert result.exit_code == 1
    assert "jopt: full.json could not be written: No space left on device" in result.output
    assert "wrote race-digits.png" in result.output


def test_no_device_is_one_line(call, monkeypatch):
    def devices():
        msg = "Unknown backend: 'abacus'"
        raise RuntimeError(msg)

    monkeypatch.setattr(cli.jax, "devices", devices)
    result = call("race", "digits")
    assert result.exit_code == 1
    assert "jopt: JAX has no device to run on: Unknown backend: 'abacus'" in result.output


def test_help_names_every_option_problem_and_method(call):
    result = call("race", "--help")
    assert result.exit_code == 0
    options = [name for name in cli.HELP if name not in {"dataset", "progress"}]
    for name in (
        *(f"--{option}" for option in options),
        "--progress",
        "--no-progress",
        *bench.PROBLEMS,
        *bench.METHODS,
    ):
        assert name in result.output, name
    assert "default: 1000" in result.output
    assert "default: 1e-05 in float64" in result.output
    assert "Exit code" in result.output


def test_help_of_the_program_names_where_to_begin(call):
    result = call("--help")
    assert result.exit_code == 0
    for beginning in ("jopt race digits", "jopt autodiff table"):
        assert beginning in result.output


def test_version_is_the_packages(call):
    assert call("--version").output.strip() == f"jopt {jopt.__version__}"


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("typer", "the command line needs typer"),
        ("rich", "jopt race needs rich"),
        ("matplotlib", "jopt race needs matplotlib"),
        ("sklearn", "jopt race needs scikit-learn"),
    ],
)
def test_missing_extra_is_one_line_that_says_what_to_install(monkeypatch, capsys, module, needs):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as raised:
        cli.main(["race", "digits"])
    assert raised.value.code == 1
    assert capsys.readouterr().err == f"jopt: {needs}; pip install 'jopt[race]'\n"


@pytest.mark.parametrize("module", ["matplotlib", "sklearn"])
def test_a_package_that_a_command_does_not_use_is_not_asked_for(monkeypatch, capsys, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as raised:
        cli.main(["autodiff", "table", "2*t1", "--at", "3"])
    assert raised.value.code == 0
    assert "2 * t" in capsys.readouterr().out


def test_import_of_jopt_and_of_the_command_line_brings_none_of_the_extra():
    code = f"import sys, jopt, jopt.cli, jopt.viz; print(*(set({list(cli.NEEDED)}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "jopt", "race", "digits", "--methods", "nope"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Usage: jopt race" in done.stderr
    assert "Traceback" not in done.stderr

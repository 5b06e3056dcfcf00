"""The command line: what it understands, what it prints and writes, and how it refuses."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from races import diverged_run, made_up_race, made_up_run
from rich.console import Console
from typer.testing import CliRunner

import jopt
from jopt import bench, cli, console, problems, viz
from jopt.bench import planar_records, race_commands, trajectories
from jopt.bench.planar_records import Landscape, PlanarRace, PlanarRun


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Return a function that runs the command line in an empty directory with a race that costs nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")  # no line breaks within messages
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
    Console(file=out, width=race_commands.WIDTH).print(race_commands.table(made_up_race()))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for word in " ".join(race_commands.COLUMNS).split():
        assert word in text
    row = next(line for line in text.splitlines() if "adam" in line).split()
    figures = ["0.251235", "3.4e-06", "97.5%", "41", "987", "12.35", "0.065", "MAX_EVALUATIONS"]
    assert row == ["regression", "adam", *figures]
    assert len(row) == len(race_commands.COLUMNS)


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

    monkeypatch.setattr(console.Path, "write_text", full)
    result = call("race", "digits", "--json", "full.json")
    assert result.exit_code == 1
    assert "jopt: full.json could not be written: No space left on device" in result.output
    assert "wrote race-digits.png" in result.output


def test_no_device_is_one_line(call, monkeypatch):
    def devices():
        msg = "Unknown backend: 'abacus'"
        raise RuntimeError(msg)

    monkeypatch.setattr(console.jax, "devices", devices)
    result = call("race", "digits")
    assert result.exit_code == 1
    assert "jopt: JAX has no device to run on: Unknown backend: 'abacus'" in result.output


@pytest.mark.parametrize("what", ["digits", "beale"])
def test_a_race_runs_on_the_platform_that_was_asked_for(plane, monkeypatch, what):
    asked = []
    monkeypatch.setattr(race_commands.console, "start_device", lambda platform="": asked.append(platform) or 1)
    assert plane("race", what, "--platform", "tpu").exit_code == 1
    assert plane("race", what).exit_code == 1
    assert asked == ["tpu", ""]
    assert plane.asked == []


def test_help_names_every_option_problem_and_method(call):
    result = call("race", "--help")
    assert result.exit_code == 0
    options = [name for name in race_commands.HELP if name not in {"what", "progress"}]
    for name in (
        *(f"--{option}" for option in options),
        "--progress",
        "--no-progress",
        *bench.PROBLEMS,
        *bench.METHODS,
        *trajectories.METHODS,
        *race_commands.PLANE,
    ):
        assert name in result.output, name
    assert "default: 1000" in result.output
    assert "default: 1e-05 in float64" in result.output
    assert "Exit code" in result.output


def test_help_of_the_program_names_where_to_begin(call):
    result = call("--help")
    assert result.exit_code == 0
    for beginning in ("jopt race digits", "jopt race beale", "jopt autodiff table", "jopt bench steps"):
        assert beginning in result.output


@pytest.mark.parametrize(
    "command", [(), ("race",), ("bench",), ("bench", "steps"), ("autodiff", "modes"), ("problems",)]
)
def test_help_is_short_too(call, command):
    short, long = call(*command, "-h"), call(*command, "--help")
    assert short.exit_code == 0
    assert short.output == long.output
    assert "-h" in short.output.replace("--help", "")


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
    code = (
        "import sys, jopt, jopt.cli, jopt.viz; print(*({'typer', 'rich', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
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


LINE = np.linspace(-3.0, 3.0, 5)


def made_up_plane(status="CONVERGED"):
    """Return a race in the plane that nobody ran."""
    points = np.array([[2.0, -2.0], [2.5, 0.0], [3.0, 0.5]])
    values = np.array([9.0, 1.0, 0.0])
    told = {"success": status == "CONVERGED", "message": f"The advice for {status}.", "distance": 1e-9}
    runs = tuple(
        PlanarRun(name, name, (2.0, -2.0), points, values, np.array([1, 2, 3]), 0, status, **told)
        for name in ("gd", "lbfgs")
    )
    ground = Landscape(LINE, LINE, np.add.outer(LINE**2, LINE**2))
    ends = (points[:1], points[-1:], 0.0, ground, runs)
    return PlanarRace("beale()", 500, 1e-8, *ends, "cpu: test", {"jax": "0.0.1"})


@pytest.fixture
def plane(call, monkeypatch):
    """Return the function that runs the command line, with a race in the plane that costs nothing."""

    def race_planar(*arguments):
        plane.asked.append(arguments)
        return made_up_plane(plane.status)

    def plane(*arguments):
        return call(*arguments)

    plane.asked, plane.status = [], "CONVERGED"
    monkeypatch.setattr(trajectories, "race_planar", race_planar)
    return plane


def test_race_in_the_plane_prints_a_table_and_writes_pictures_and_figures(plane, tmp_path):
    result = plane("race", "beale", "--animate", "b.gif", "--json", "b.json", "--theme", "dark", "--no-progress")
    assert result.exit_code == 0, result.output
    assert plane.asked == [("beale", None, (), 500)]
    row = next(line for line in result.output.splitlines() if "lbfgs" in line).split()
    assert row == ["(2,", "-2)", "lbfgs", "0", "1.0e-09", "2", "3", "0", "CONVERGED"]
    assert (tmp_path / "race-beale.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "b.gif").read_bytes().startswith(b"GIF")
    assert planar_records.from_json((tmp_path / "b.json").read_text()).runs[1].method == "lbfgs"


def test_figures_on_standard_output_leave_it_to_machines(plane, tmp_path):
    result = plane("race", "beale", "--json", "-")
    assert planar_records.from_json(result.stdout).runs[1].method == "lbfgs"
    assert "CONVERGED" in result.stderr
    assert not (tmp_path / "-").exists()


def test_options_reach_the_race_in_the_plane(plane, monkeypatch):
    drawn = []
    monkeypatch.setattr(viz, "trajectories", lambda _, **look: drawn.append(look) or viz.trajectories)
    monkeypatch.setattr(console, "write_figure", lambda *_: 0)
    starts = ("--start", "0.2,0.2", "--start", "-3,3")
    plane("race", "rosenbrock", *starts, "--methods", "gd, adam", "--steps", 9, "--theme", "dark")
    plane("race", "rosenbrock", "--quick")
    assert plane.asked == [
        ("rosenbrock", ((0.2, 0.2), (-3.0, 3.0)), ("gd", "adam"), 9),
        ("rosenbrock", None, (), race_commands.QUICK_STEPS),
    ]
    assert [look["theme"] for look in drawn] == ["dark", "light"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["beal"], "Did you mean 'beale'?"),
        (["wood"], "wood is no problem with two variables; take one of rosenbrock, beale,"),
        (["beale", "--methods", "lbfg"], "Did you mean 'lbfgs'?"),
        (["beale", "--start", "1"], "--start must be two numbers with a comma, such as 2,-2, got '1'"),
        (["beale", "--start", "1,nan"], "--start must be two numbers"),
        (["beale", "--start", "one,two"], "--start must be two numbers"),
        (["beale", "--steps", 0], "steps must be a whole number >= 1"),
        (["beale", "--steps", 9, "--quick"], "either --quick or --steps, not both"),
        (["beale", "--precision", "half"], "precision must be one of"),
        (["beale", "--animate", "b.avi"], "--animate must name a file that ends in .gif or .mp4"),
        (["beale", "--theme", "drak"], "Did you mean 'dark'?"),
        (["beale", "--evaluations", 9], "--evaluations goes with a race on the digits"),
        (["digits", "--steps", 9], "--steps goes with a race in the plane"),
        (["digits", "--animate", "b.gif"], "--animate goes with a race in the plane"),
    ],
)
def test_mistakes_in_the_plane_are_answered_before_anything_runs(plane, arguments, message):
    result = plane("race", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert plane.asked == []


def test_trouble_in_the_plane_is_one_line(plane, monkeypatch):
    plane.status = "NONFINITE"
    result = plane("race", "beale")
    assert result.exit_code == 1
    assert "jopt: gd from (2, -2): The advice for NONFINITE." in result.output
    plane.status = "CONVERGED"

    def no_ffmpeg(*_, **__):
        raise RuntimeError("ffmpeg is not installed")

    monkeypatch.setattr(viz, "animate_trajectories", no_ffmpeg)
    result = plane("race", "beale", "--animate", "b.mp4")
    assert result.exit_code == 1
    assert "jopt: b.mp4 could not be made: ffmpeg is not installed" in result.output


def test_races_in_the_plane_are_on_all_problems_with_two_variables():
    made = {name: problems.get(name) for name in problems.names() if not name.startswith("digits")}
    planar = [name for name, one in made.items() if np.shape(one.starts[0]) == (2,)]
    assert sorted(planar) == sorted(race_commands.PLANE)


def test_catalogue_is_listed(call):
    text = call("problems").output
    for name in problems.names():
        assert name in text
    assert "unbounded" in next(line for line in text.splitlines() if "monkey_saddle" in line)
    told = {line["name"]: line for line in json.loads(call("problems", "--json").output)}
    assert list(told) == list(problems.names())
    assert (told["beale"]["n"], told["beale"]["minimum"], told["beale"]["starts"]) == (2, 0.0, 3)
    assert (told["monkey_saddle"]["minimum"], told["monkey_saddle"]["unbounded"]) == (None, True)
    assert told["digits_network"]["minimum"] is None


def test_one_problem_is_shown_in_full(call):
    text = call("problems", "beale").output
    for word in (
        "beale()",
        "(1.5 - x + x y)^2",
        "minimisers[0]: [3.0, 0.5]",
        "starts[1]: [-3.0, 3.0]",
        "jopt race beale",
    ):
        assert word in text
    assert "jopt race" not in call("problems", "wood").output
    full = json.loads(call("problems", "challenger", "--json").output)
    assert full["minimisers"][0]["bias"] == pytest.approx(15.04290164770244)
    assert (full["terms"], full["n"]) == (23, 2)
    text = call("problems", "digits_regression").output
    assert "'weight': '<[64, 10]>'" in text
    assert "terms: 1437" in text


def test_unknown_problem_is_answered_with_a_suggestion(call):
    result = call("problems", "bele")
    assert result.exit_code == 2
    assert "Did you mean 'beale'?" in result.output


def test_catalogue_is_listed_without_the_package_of_the_digits(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    result = call("problems", "--json")
    told = {line["name"]: line for line in json.loads(result.output)}
    assert told["digits_network"]["n"] is None
    assert "scikit-learn" in told["digits_network"]["source"]
    assert call("problems").exit_code == 0
    result = call("problems", "digits_network")
    assert result.exit_code == 1
    assert "scikit-learn" in result.output


def test_unknown_command_is_answered_with_a_suggestion(call):
    result = call("rac")
    assert result.exit_code == 2
    assert "Did you mean 'race'?" in result.output

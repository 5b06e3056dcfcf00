"""`jopt autodiff`: the tables and the costs on the command line, and how it refuses."""

import sys

import matplotlib.image
import pytest
from typer.testing import CliRunner

from jopt import cli
from jopt.autodiff import commands

TEXTBOOK = "sin(t1*t2) + exp(t2+t3) - 2*t3"

MODULE = """
import jax.numpy as jnp
number = 3
def sines(x):
    return jnp.sin(x) * x[0]
def whole(x):
    return x > 0
def broken(x):
    raise KeyError("no such thing")
def wrong(x):
    raise ValueError("bad value")
def pretender(x):
    raise ValueError("compare_modes: it is me")
def leaves(x):
    raise SystemExit(3)
class Model:
    @staticmethod
    def loss(x):
        return jnp.sum(x ** 2)
"""

POINTS = """
import jax.numpy as jnp
import numpy as np
point = np.ones(4)
single = jnp.ones(2)
def first(x):
    return x[0] * single.sum()
def layer(parameters):
    return jnp.tanh(parameters["w"] @ jnp.ones(3) + parameters["b"])
layer_point = {"w": np.ones((2, 3)), "b": np.zeros(2)}
"""

QUICK = ["--modes", "reverse", "--repeats", 1]


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Return a function that runs the command line in a directory with a module of functions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "functions_to_study.py").write_text(MODULE)
    (tmp_path / "functions_with_points.py").write_text(POINTS)
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('broken on import')")
    (tmp_path / "leaving_module.py").write_text("raise SystemExit")

    def call(*arguments):
        return CliRunner().invoke(cli.application(), ["autodiff", *map(str, arguments)])

    return call


def refusal(result):
    """Return the one line of a command that was not understood."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    (line,) = (line.strip("│ ") for line in result.output.splitlines() if line.startswith("│"))
    return line


def test_table_is_the_textbooks_gradient(call):
    result = call("table", TEXTBOOK, "--at", "pi/6,2,5")
    assert result.exit_code == 0, result.output
    for number in ("1.047198", "0.8660254", "1096.633", "1087.499", "1096.895", "1094.633"):
        assert number in result.output


def test_table_along_a_direction_is_the_textbooks_tangents(call):
    result = call("table", TEXTBOOK, "--at", "pi/6,2,5", "--along", "0,1,0")
    assert result.exit_code == 0, result.output
    for number in ("0.5235988", "0.2617994", "1096.895"):
        assert number in result.output


def test_mode_is_reverse_unless_there_is_a_direction():
    def text(mode, along):
        return commands.table_text("2*t1", "3", mode, along, "text", "float64")

    assert text("", "") == text("reverse", "")
    assert text("", "1") == text("forward", "1") != text("", "")


@pytest.mark.parametrize(
    ("form", "mark"), [("markdown", "| `t1 * t2` |"), ("latex", r"\begin{tabular}"), ("html", "<table")]
)
def test_table_in_other_formats(call, form, mark):
    result = call("table", "t1*t2", "--at", "2,3", "--format", form)
    assert result.exit_code == 0, result.output
    assert mark in result.output


def test_precision_is_that_asked_for(call):
    digits = "0.6331584"  # of e^7 - 1096: float32 has e^7 to 6e-5
    texts = [call("table", "exp(t1) - 1096", "--at", "7", "--precision", p).output for p in ("float64", "float32")]
    assert [(digits in text, digits[:5] in text) for text in texts] == [(True, True), (False, True)]
    assert commands.sample(commands.Sample("1", "", 0, "float32")).dtype == "float32"
    assert commands.sample(commands.Sample("1", "", 0, "float64")).dtype == "float64"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["__import__('os')", "--at", "1"], "__import__"),
        (["t1.real", "--at", "1"], "t1.real"),
        (["sin(t1", "--at", "1"], "must be an expression"),
        (["t3", "--at", "1,2"], "--at must hold one value for each of t1 to t3, got 2"),
        (["t1*t2", "--at", "1,2,3"], "--at must hold one value for each of t1 to t2, got 3"),
        (["t1", "--at", "1,2"], "--at must hold one value for t1, got 2"),
        (["t1", "--at", "t1"], "--at: 't1' must be a number"),
        (["t1", "--at", "1,2,x"], "--at: 'x' must be"),
        (["t1", "--at", "1", "--mode", "sideways"], "--mode must be one of 'forward', 'reverse', got 'sideways'"),
        (["t1", "--at", "1", "--mode", "forward"], "--along, the direction of the tangents, must be given"),
        (["t1", "--at", "1", "--mode", "reverse", "--along", "1"], "--along, the direction of the tangents, must be"),
        (["t1", "--at", "1", "--along", "1,2"], "--along must hold as many entries as --at, 1, got 2"),
        (["t1", "--at", "1", "--format", "pdf"], "--format must be one of"),
        (["t1", "--at", "1", "--precision", "float16"], "--precision must be one of"),
        (["t1"], "Missing option '--at'"),
    ],
)
def test_bad_tables_are_refused_in_one_line(call, arguments, message):
    assert message in refusal(call("table", *arguments))


def test_an_expression_is_never_executed(call, tmp_path):
    result = call("table", f"open('{tmp_path}/made','w')", "--at", "1")
    assert result.exit_code == 2
    assert not (tmp_path / "made").exists()


def test_an_expression_may_begin_with_a_minus(call):
    result = call("table", "--at", "-2", "--", "-t1")
    assert result.exit_code == 0, result.output


def test_modes_prints_the_costs_and_the_advice_and_draws_them(call, tmp_path):
    options = ["--k", 2, "--repeats", 1, "--modes", "forward-batched, reverse", "--png", "costs.png"]
    result = call("modes", "functions_to_study:sines", "--at", "1,2,pi", *options)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("Jacobian, 3 x 3 (outputs x inputs); cpu")
    names = [line.split("  ")[0] for line in lines[3:6]]
    assert names == ["function", "forward, batches of 2", "reverse"]
    assert "Use forward mode: for 3 inputs and 3 outputs" in result.output
    assert lines[-1] == "wrote costs.png"
    assert matplotlib.image.imread(tmp_path / "costs.png").shape[1] > 900


def test_sample_has_the_shape_and_the_seed_asked_for():
    first, again, other = (commands.sample(commands.Sample("", "2, 3", seed, "float32")) for seed in (0, 0, 1))
    assert first.shape == (2, 3)
    assert (first == again).all()
    assert (first != other).all()


def test_modes_at_the_point_of_the_module(call):
    """A function's own point is taken first, a tree of arrays stays one, and its dtype stays too."""
    result = call("modes", "functions_with_points:layer", *QUICK)
    assert result.exit_code == 0, result.output
    assert "Jacobian, 2 x 8" in result.output
    result = call("modes", "functions_with_points:first", *QUICK)
    assert result.exit_code == 0, result.output
    assert "Jacobian, 1 x 4" in result.output


def test_options_count_more_than_the_point_of_the_module(call):
    result = call("modes", "functions_with_points:first", "--at", "1,2,3", *QUICK)
    assert "Jacobian, 1 x 3" in result.output


def test_double_precision_is_switched_on_before_the_import(monkeypatch):
    asked = []
    monkeypatch.setattr(commands, "_dtype", asked.append)
    monkeypatch.setattr(commands, "function_named", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        commands.run_modes(commands.Order("m:f", commands.Sample("", "", 0, "float64"), 1, "", 1, None), None)
    assert asked == ["float64"]


def test_names_may_have_dots(call):
    result = call("modes", "functions_to_study:Model.loss", "--at", "1,2", *QUICK)
    assert result.exit_code == 0, result.output
    assert "Jacobian, 1 x 2" in result.output


def test_modes_of_a_random_matrix(call):
    result = call(
        "modes", "functions_to_study:sines", "--shape", "4,2", "--seed", 3, "--modes", "forward", "--repeats", 1
    )
    assert result.exit_code == 0, result.output
    assert "Jacobian, 8 x 8" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["functions_to_study"], "the function must be given as module:function, got 'functions_to_study'"),
        (["nowhere_to_be_found:f"], "nowhere_to_be_found could not be imported: ModuleNotFoundError"),
        (["broken_module:f"], "broken_module could not be imported: RuntimeError: broken on import"),
        (["functions_to_study:nothing"], "functions_to_study:nothing must be a function, there is none of this name"),
        (["functions_to_study:Model.nothing"], "functions_to_study:Model.nothing must be a function, there is none"),
        (["leaving_module:f"], "leaving_module could not be imported: SystemExit"),
        (["functions_to_study.py:sines"], "must be given as functions_to_study:sines, by the name of its module"),
        (["package/functions.py:f"], "must be given as package.functions:f, by the name"),
        (["./package/functions:f"], "must be given as package.functions:f, by the name"),
        ([r"C:\code\functions.py:f"], "must be given as functions:f, by the name"),
        (["/code/functions.py:f"], "must be given as functions:f, by the name"),
        ([".functions:f"], "must be given as functions:f, by the name"),
        (["functions_to_study:number"], "functions_to_study:number must be a function, got int"),
        (["functions_to_study:whole"], "f(x) must be real floating numbers"),
        (["functions_to_study:sines", "--shape", "3"], "give either --at"),
        (["functions_to_study:sines", "--k", 0], "--k must be a whole number >= 1, got 0"),
        (["functions_to_study:sines", "--repeats", 0], "--repeats must be a whole number >= 1, got 0"),
        (["functions_to_study:sines", "--modes", "sideways"], "--modes must be one of"),
        (["functions_to_study:sines", "--precision", "half"], "--precision must be one of"),
        (["functions_to_study:sines", "--png", "costs.pdf"], "--png must name a file that ends in .png"),
        (
            ["functions_to_study:sines", "--png", "nowhere/costs.png"],
            "--png must name a file in a directory that exists",
        ),
    ],
)
def test_bad_modes_are_refused_in_one_line(call, arguments, message):
    assert message in refusal(call("modes", *arguments, "--at", "1,2"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            [],
            "give --at, the entries of a vector, or --shape, that of a random array; or define sines_point or point in "
            "functions_to_study",
        ),
        (["--shape", "0"], "--shape must be whole numbers >= 1"),
        (["--shape", "2,x"], "--shape must be whole numbers >= 1"),
        (["--shape", "2", "--seed", "-1"], "--seed must be a whole number >= 0"),
    ],
)
def test_bad_points_are_refused(call, options, message):
    assert message in refusal(call("modes", "functions_to_study:sines", *options))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "raised KeyError: 'no such thing'"),
        ("wrong", "raised ValueError: bad value"),
        ("pretender", "raised ValueError: compare_modes: it is me"),
        ("leaves", "raised SystemExit: 3"),
    ],
)
def test_a_function_that_raises_ends_in_exit_code_one(call, name, message):
    result = call("modes", f"functions_to_study:{name}", "--at", "1,2")
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_picture_that_cannot_be_written_ends_in_exit_code_one(monkeypatch, call):
    def refuse(costs, path):
        del costs, path
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "_draw_costs", refuse)
    result = call(
        "modes", "functions_to_study:sines", "--at", "1", "--modes", "forward", "--repeats", 1, "--png", "costs.png"
    )
    assert result.exit_code == 1
    assert "costs.png could not be written: No space left on device" in result.output


def test_a_picture_without_matplotlib_is_refused_before_anything_runs(monkeypatch, call):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = call("modes", "functions_to_study:broken", "--at", "1", "--png", "costs.png")
    assert result.exit_code == 1
    assert result.output == "jopt: --png needs matplotlib; pip install 'jopt[race]'\n"


def test_pictures_are_left_to_the_command_line_of_the_package():
    with pytest.raises(ValueError, match="--png: this program makes no pictures"):
        commands.run_modes(
            commands.Order("m:f", commands.Sample("1", "", 0, "float32"), 1, "", 1, commands.Path("a.png")), None
        )


def test_help_names_the_commands_and_importing_needs_no_typer(call):
    result = call("--help")
    assert "table" in result.output
    assert "modes" in result.output
    assert "typer" not in vars(commands)

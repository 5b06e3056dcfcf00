# SPDX-License-Identifier: Apache-2.0
"""The command line of the study: `jopt autodiff table "sin(t1*t2)" --at 1,2`, `jopt autodiff modes module:function`.

Expressions are read by `jopt.autodiff.parse`, which executes nothing; a function for `modes` is imported, as Python does.

Exit codes: 0 the command ran; 1 the function raised, a result could not be written, or the package for it is missing; 2
the command was not understood.

typer comes with the extra `race`; it is imported when a command runs.
"""

import functools
import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import console, validate
from jopt.autodiff.advice import advise
from jopt.autodiff.expression import parse, parse_point
from jopt.autodiff.measuring import CostTable
from jopt.autodiff.modes import BATCH, MODES, compare_modes
from jopt.autodiff.tables import Table, forward_table, reverse_table

PRECISIONS = ("float32", "float64")
FORMATS: dict[str, Callable[[Table], str]] = {
    "text": str,
    "markdown": Table.to_markdown,
    "latex": Table.to_latex,
    "html": Table._repr_html_,
}

HELP = {
    "expression": 'Of t1, t2, ..., such as "sin(t1*t2) + exp(t2+t3) - 2*t3": arithmetic, pi, e and the elementary '
    "functions of jax.numpy. One that begins with a minus stands behind `--`, after the options.",
    "at": "The values of t1, t2, ..., in this order, such as pi/6,2,5.",
    "mode": "forward or reverse (default: forward where --along is given, else reverse).",
    "along": "The direction of the tangents of forward mode, such as 0,1,0.",
    "format": f"Of the table: {', '.join(FORMATS)}.",
    "precision": f"Of the numbers: {' or '.join(PRECISIONS)}.",
    "study": "Of the entries: float32 or float64. A module's point keeps its own, but is float64 only where this is.",
    "function": "module:function, of one tree of arrays; the module is looked for in the current directory first. Without "
    "--at and --shape the point is `function_point`, else `point`, of the module: an array, or any tree of arrays.",
    "point": "The entries of a vector, such as 1,2.5,pi.",
    "shape": "Instead of --at: the shape of an array of random normal entries, such as 100 or 8,8.",
    "seed": "Of the random entries.",
    "k": "Tangents or cotangents at once in the batched modes.",
    "modes": f"Comma-separated (default: all): {', '.join(MODES)}.",
    "repeats": "Runs whose median is taken.",
    "png": "Where to draw the costs. Replaced if it is there.",
}

Draw = Callable[[CostTable, Path], None]
"""Draws a table of costs into a file; pictures are made further up the house."""


class Sample(NamedTuple):
    """Where a function is measured.

    Attributes:
      at: entries of a vector as text, or empty.
      shape: of a random array as text, or empty; where both are empty, at the point beside the function.
      seed: of its entries, >= 0.
      precision: "float32" or "float64".
    """

    at: str
    shape: str
    seed: int
    precision: str


class Order(NamedTuple):
    """What `modes` is asked for.

    Attributes:
      function: "module:function".
      sample: where.
      k: tangents at once.
      modes: comma-separated, or empty for all.
      repeats: runs.
      png: picture, or None.
    """

    function: str
    sample: Sample
    k: int
    modes: str
    repeats: int
    png: Path | None


def application(draw: Draw | None = None) -> Any:
    """Return the typer application, which `jopt.cli` hangs under `jopt autodiff`.

    Args:
      draw: draws a table of costs into a file; None where no pictures are made.
    """
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=console.SETTINGS,
        help='The study of forward and reverse mode. Begin with `jopt autodiff table "sin(t1*t2)" --at 1,2`.',
    )

    def option(name: str, text: str = "", **more: Any) -> Any:
        return typer.Option(f"--{name}", help=HELP[text or name], **more)

    @app.command("table", no_args_is_help=True)
    def table_command(
        expression: Annotated[str, typer.Argument(help=HELP["expression"], show_default=False)],
        at: Annotated[str, option("at", show_default=False)],
        mode: Annotated[str, option("mode", show_default=False)] = "",
        along: Annotated[str, option("along", show_default=False)] = "",
        form: Annotated[str, option("format")] = "text",
        precision: Annotated[str, option("precision")] = "float64",
    ) -> None:
        """Print the evaluation table of an expression: every operation, with its tangent or the adjoints."""
        try:
            text = table_text(expression, at, mode, along, form, precision)
        except (ValueError, TypeError) as error:
            raise typer.BadParameter(_one_line(error)) from None
        typer.echo(text)

    @app.command("modes", no_args_is_help=True)
    def modes_command(
        function: Annotated[str, typer.Argument(help=HELP["function"], show_default=False)],
        at: Annotated[str, option("at", "point", show_default=False)] = "",
        shape: Annotated[str, option("shape", show_default=False)] = "",
        seed: Annotated[int, option("seed")] = 0,
        precision: Annotated[str, option("precision", "study")] = "float32",
        k: Annotated[int, option("k")] = BATCH,
        modes: Annotated[str, option("modes", show_default=False)] = "",
        repeats: Annotated[int, option("repeats")] = 5,
        png: Annotated[Path | None, option("png", show_default=False)] = None,
    ) -> None:
        """Measure what the Jacobian of a function costs in forward and in reverse mode, and say which to take."""
        order = Order(function, Sample(at, shape, seed, precision), k, modes, repeats, png)
        try:
            code = run_modes(order, draw)
        except (ValueError, TypeError) as error:
            raise typer.BadParameter(_one_line(error)) from None
        raise typer.Exit(code)

    return app


def table_text(expression: str, at: str, mode: str, along: str, form: str, precision: str) -> str:
    """Return the evaluation table of an expression as text.

    Args:
      expression: of t1, t2, ....
      at: their values, with commas.
      mode: "forward", "reverse" or empty: forward where there is a direction.
      along: the direction, like `at`, or empty.
      form: a key of `FORMATS`.
      precision: "float32" or "float64".

    Raises:
      ValueError: if anything is not understood.
    """
    mode = validate.choice("table", "--mode", mode or ("forward" if along else "reverse"), ("forward", "reverse"))
    validate.choice("table", "--format", form, FORMATS)
    if bool(along) != (mode == "forward"):
        msg = "--along, the direction of the tangents, must be given with --mode forward, and only then."
        raise ValueError(msg)
    f, x = parse(expression), _vector("--at", at)
    if f.size and len(x) != f.size:
        names = "t1" if f.size == 1 else f"each of t1 to t{f.size}"
        msg = f"--at must hold one value for {names}, got {len(x)}."
        raise ValueError(msg)
    v = _vector("--along", along) if along else x
    if len(v) != len(x):
        msg = f"--along must hold as many entries as --at, {len(x)}, got {len(v)}."
        raise ValueError(msg)
    dtype = _dtype(precision)
    t = jnp.asarray(x, dtype)
    table = forward_table(f, t, jnp.asarray(v, dtype)) if mode == "forward" else reverse_table(f, t)
    return FORMATS[form](table)


def run_modes(order: Order, draw: Draw | None) -> int:
    """Measure, print, draw, and return the exit code.

    Args:
      order: what is asked for.
      draw: draws a table of costs into a file.

    Raises:
      ValueError: if anything is not understood.
      TypeError: if the function is none, or does not return floating numbers.
    """
    _check_png(order.png, draw)
    if order.png is not None and console.lacks("--png", {"matplotlib": "matplotlib"}, "race"):
        return 1
    validate.integer("modes", "--k", order.k, low=1)
    validate.integer("modes", "--repeats", order.repeats, low=1)
    modes = [validate.choice("modes", "--modes", word, MODES) for word in console.words(order.modes)] or MODES
    _dtype(order.sample.precision)  # before the import: arrays that the module makes are of this precision too
    module, function = function_named(order.function)
    x = sample(order.sample) if order.sample.at or order.sample.shape else point_beside(module, order.function)
    raised: list[BaseException] = []
    f = _watched(function, raised)
    try:
        costs = compare_modes(f, x, k=order.k, modes=modes, repeats=order.repeats)
        advice = advise(f, x)
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        ours = isinstance(error, (ValueError, TypeError)) and str(error).startswith(("compare_modes:", "advise:"))
        if ours and not any(error is other for other in raised):
            raise
        return console.complain(f"{order.function} raised {_named(error)}")
    print(costs, advice, sep="\n\n")
    if order.png is None or draw is None:
        return 0
    try:
        draw(costs, order.png)
    except OSError as error:
        return console.complain(f"{order.png} could not be written: {error.strerror or error}")
    print(f"wrote {order.png}")
    return 0


def function_named(name: str) -> tuple[ModuleType, Callable[[Any], Any]]:
    """Import a function by "module:function", the current directory before others; return the module too.

    Args:
      name: module path and the name of the function in it, which may have dots, such as "package.module:model.loss".

    Raises:
      ValueError: if there is no such module or function, or importing it fails.
      TypeError: if it is no function.
    """
    path, _, attribute = name.rpartition(":")
    if not path or not attribute:
        msg = f"the function must be given as module:function, got {name!r}."
        raise ValueError(msg)
    if (path.endswith(".py") and Path(path).is_file()) or not all(map(str.isidentifier, path.split("."))):
        file = PureWindowsPath(path).with_suffix("") if path.endswith(".py") else PureWindowsPath(path)
        module = file.name if file.anchor else ".".join(file.parts).strip(".")
        msg = f"the function must be given as {module}:{attribute}, by the name of its module, not by a path, got {name!r}."
        raise ValueError(msg)
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except (Exception, SystemExit) as error:
        msg = f"{path} could not be imported: {_named(error)}"
        raise ValueError(msg) from None
    finally:
        sys.path.remove(here)
    try:
        found = functools.reduce(getattr, attribute.split("."), module)
    except AttributeError:
        msg = f"{name} must be a function, there is none of this name."
        raise ValueError(msg) from None
    if not callable(found):
        msg = f"{name} must be a function, got {type(found).__name__}."
        raise TypeError(msg)
    return module, found


def point_beside(module: ModuleType, name: str) -> Any:
    """Return the point that a module defines for its function: `function_point`, else `point`.

    Args:
      module: where the function was found.
      name: "module:function"; of a name with dots, the last part counts.

    Returns:
      A tree of arrays or numbers.

    Raises:
      ValueError: if the module has neither.
    """
    names = (f"{name.rpartition(':')[2].rpartition('.')[2]}_point", "point")
    for candidate in names:
        if hasattr(module, candidate):
            return getattr(module, candidate)
    msg = f"give --at, the entries of a vector, or --shape, that of a random array; or define {' or '.join(names)} in {module.__name__}."
    raise ValueError(msg)


def sample(asked: Sample) -> jax.Array:
    """Return the point that `--at` or `--shape` and `--seed` ask for.

    Args:
      asked: one of `at` and `shape`.

    Raises:
      ValueError: if none or both are given, or one is not understood.
    """
    if bool(asked.at) == bool(asked.shape):
        msg = "give either --at, the entries of a vector, or --shape, that of a random array, not both."
        raise ValueError(msg)
    dtype = _dtype(asked.precision)
    if asked.at:
        return jnp.asarray(_vector("--at", asked.at), dtype)
    sides = [part.strip() for part in asked.shape.split(",")]
    if not all(side.isascii() and side.isdigit() for side in sides) or not math.prod(map(int, sides)):
        msg = f"--shape must be whole numbers >= 1 with commas, such as 100 or 8,8, got {asked.shape!r}."
        raise ValueError(msg)
    validate.integer("modes", "--seed", asked.seed)
    random = np.random.default_rng(asked.seed)
    return jnp.asarray(random.standard_normal([int(side) for side in sides]), dtype)


def _vector(option: str, text: str) -> np.ndarray:
    try:
        return parse_point(text)
    except ValueError as error:
        msg = f"{option}: {str(error).removeprefix('parse: ')}"
        raise ValueError(msg) from None


def _dtype(precision: str) -> Any:
    validate.choice("jopt autodiff", "--precision", precision, PRECISIONS)
    if precision == "float64":
        jax.config.update("jax_enable_x64", True)
    return precision


def _check_png(png: Path | None, draw: Draw | None) -> None:
    if png is None:
        return
    if draw is None:
        msg = "--png: this program makes no pictures; use `jopt autodiff modes`."
        raise ValueError(msg)
    console.check_output("png", png, (".png",))


def _watched(f: Callable[[Any], Any], raised: list[BaseException]) -> Callable[[Any], Any]:
    """Return f with a record of what it raises, to tell the user's errors from those about the command."""

    def watched(x: Any) -> Any:
        try:
            return f(x)
        except (Exception, SystemExit) as error:
            raised.append(error)
            raise

    return watched


def _named(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    for function in ("parse: ", "table: ", "modes: ", "compare_modes: ", "advise: ", "jopt autodiff: "):
        text = text.removeprefix(function)
    return text

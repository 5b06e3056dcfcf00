# SPDX-License-Identifier: Apache-2.0
"""The command line: `jopt race`, `jopt bench`, `jopt autodiff`. It reads options, calls the other rooms, prints.

Exit codes: 0 all runs ended with finite numbers, converged or not; 1 a run met a number that is not finite, a result
could not be written, or a package is missing; 2 the command was not understood.

typer, rich, matplotlib and scikit-learn come with the extra `race`. They are imported when a command runs, so that a
missing one is answered with a line that says what to install.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax

import jopt
from jopt import bench
from jopt.autodiff import CostTable
from jopt.autodiff import commands as autodiff_commands
from jopt.bench import commands

NEEDED = {"typer": "typer", "rich": "rich", "matplotlib": "matplotlib", "sklearn": "scikit-learn"}
"""Modules that the command line needs beyond those of jopt, and the packages that hold them."""

USES = {"race": ("rich", "matplotlib", "sklearn"), "bench": ("rich",)}
"""Which of these a command needs beside typer; `bench` looks for its other packages itself, `autodiff` where it draws."""

GTOL = {"float64": 1e-5, "float32": None}
"""Gradient tolerance of a race by precision: in float64 jopt's default asks for more than a comparison needs."""

QUICK = 20
"""Evaluations with `--quick`."""

WIDTH = 100
"""Columns of the output where there is no terminal to ask."""

DEFAULTS = bench.Settings()

HELP = {
    "evaluations": f"Evaluations of value and gradient that each method may spend (default: {DEFAULTS.evaluations}).",
    "quick": f"A budget of {QUICK} evaluations: see that everything works.",
    "precision": "Of parameters and data: float64 or float32.",
    "gtol": f"Converged when the largest gradient entry is at most this (default: {GTOL['float64']:g} in float64; in "
    "float32 jopt's own, the root of its epsilon times the largest entry at the start or 1).",
    "seed": "Of the network's start. The regression starts at zero.",
    "problems": "Comma-separated (default: all): regression (multinomial logistic), network (two layers).",
    "methods": "Comma-separated (default: all): sgd (with momentum), adam, chain (clipping, Adam, weight decay, warm-up "
    "and cosine), lbfgs. The learning rates were picked by hand on these data, lbfgs has its defaults.",
    "png": "Where the picture goes, of loss against evaluations and against seconds. Replaced if it is there.",
    "json": "Where to write the same figures, and the course of every run, for machines. Replaced if it is there.",
    "progress": "Show a progress bar, on standard error.",
    "dataset": "The data: digits, 1,797 handwritten digits that ship with scikit-learn.",
}


COLUMNS = (
    "problem",
    "method",
    "final\nloss",
    "gradient\nnorm",
    "test\naccuracy",
    "steps",
    "evals",
    "compile\ns",
    "run\ns",
    "status",
)
"""Of the table: the gradient norm is the largest entry, evals are evaluations of value and gradient."""

_EPILOG = (
    "Exit code: 0 if all runs ended with finite numbers, converged or not; 1 if one did not or a result could not be "
    "written; 2 if the command was not understood. "
    "Examples: jopt race digits --quick; "
    "jopt race digits --precision float32 --methods adam,lbfgs --json figures.json"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
      arguments: what follows the name of the program; None means those of the process.

    Raises:
      SystemExit: always, with the exit code.
    """
    if _lack("the command line", ("typer",)):
        raise SystemExit(1)
    application()(args=arguments, prog_name="jopt")


def application() -> Any:
    """Return the typer application."""
    import typer

    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    def option(name: str, **more: Any) -> Any:
        return typer.Option(f"--{name}", help=HELP[name.split("/")[0]], **more)

    def version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"jopt {jopt.__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        context: typer.Context,
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=version, is_eager=True)
        ] = False,
    ) -> None:
        """Optimization in JAX. Begin with `jopt race digits`, or with `jopt autodiff table "sin(t1*t2)" --at 1,2`."""
        del version
        command = context.invoked_subcommand or ""
        if _lack(f"jopt {command}", USES.get(command, ())):
            raise typer.Exit(1)

    @app.command(no_args_is_help=True, epilog=_EPILOG)
    def race(
        dataset: Annotated[str, typer.Argument(help=HELP["dataset"], show_default=False)],
        evaluations: Annotated[int | None, option("evaluations", show_default=False)] = None,
        quick: Annotated[bool, option("quick")] = False,
        precision: Annotated[str, option("precision")] = DEFAULTS.precision,
        gtol: Annotated[float | None, option("gtol", show_default=False)] = None,
        seed: Annotated[int, option("seed")] = DEFAULTS.seed,
        problems: Annotated[str, option("problems", show_default=False)] = "",
        methods: Annotated[str, option("methods", show_default=False)] = "",
        png: Annotated[Path, option("png")] = Path("race-digits.png"),
        json: Annotated[Path | None, option("json", show_default=False)] = None,
        progress: Annotated[bool, option("progress/--no-progress")] = True,
    ) -> None:
        """Race first-order methods against L-BFGS on real data, with equal budgets of evaluations.

        Trains a multinomial logistic regression and a two-layer network, prints a table and draws the losses.
        """
        try:
            budget = _budget(evaluations, quick)
            settings = bench.Settings(dataset, budget, precision, gtol, seed, _words(problems), _words(methods))
            settings = _checked(settings, png, json)
        except (ValueError, TypeError) as error:
            raise typer.BadParameter(str(error).removeprefix("race_digits: ")) from None
        raise typer.Exit(run_race(settings, png, json, progress))

    app.add_typer(commands.application(), name="bench")
    app.add_typer(autodiff_commands.application(_draw_costs), name="autodiff")
    return app


def run_race(settings: bench.Settings, png: Path, json: Path | None, progress: bool) -> int:
    """Race, print the table, write the files, and return the exit code.

    Args:
      settings: checked settings.
      png: where the picture goes.
      json: where the figures go, if anywhere.
      progress: whether to show a bar on standard error.
    """
    from rich.console import Console

    from jopt import viz

    try:
        jax.devices()
    except RuntimeError as error:
        return _complain(f"JAX has no device to run on: {error}")
    result = _with_bar(settings) if progress else bench.race_digits(settings)
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(_heading(result), table(result), sep="\n")
    title = f"{settings.dataset}, full gradients, {settings.precision}, {result.device}"
    files: list[tuple[Path, Callable[[Path], Any]]] = [
        (png, lambda path: viz.loss_curves(result.runs, title=title).savefig(path, format="png", dpi=150))
    ]
    if json is not None:
        files.append((json, lambda path: path.write_text(bench.to_json(result), encoding="utf-8")))
    failures = 0
    for path, write in files:
        try:
            write(path)
        except OSError as error:
            failures += _complain(f"{path} could not be written: {error.strerror or error}")
        else:
            console.print(f"wrote {path}", markup=False, soft_wrap=True)
    for run in result.runs:
        if not run.finite:
            failures += _complain(f"{run.problem}, {run.method}: {run.message}")
    return min(failures, 1)


def table(result: bench.Race) -> Any:
    """Return the rich table of a race, one row for each run."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        made.add_column(name, justify="left" if name in {"problem", "method", "status"} else "right", overflow="fold")
    previous = None
    for run in result.runs:
        if previous not in {None, run.problem}:
            made.add_section()
        previous = run.problem
        made.add_row(*_cells(run))
    return made


def _draw_costs(costs: CostTable, path: Path) -> None:
    from jopt import viz

    viz.cost_bars(costs).savefig(path, format="png", dpi=150)


def _cells(run: bench.Run) -> tuple[str, ...]:
    return (
        run.problem,
        run.method,
        f"{run.final_loss:.6f}",
        f"{run.grad_norm:.1e}",
        f"{run.test_accuracy:.1%}",
        str(run.steps),
        str(run.evaluations),
        f"{run.compile_s:.2f}",
        f"{run.run_s:.3f}",
        run.status,
    )


def _heading(result: bench.Race) -> str:
    asked = result.settings
    gtol = "jopt's default" if asked.gtol is None else f"{asked.gtol:g}"
    return (
        f"{asked.dataset}, {asked.precision}, gtol {gtol}, at most {asked.evaluations} evaluations each; "
        f"{result.device}, jax {result.versions['jax']}"
    )


def _with_bar(settings: bench.Settings) -> bench.Race:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        return bench.race_digits(
            settings, lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
        )


def _budget(evaluations: int | None, quick: bool) -> int:
    if quick and evaluations is not None:
        msg = "give either --quick or --evaluations, not both."
        raise ValueError(msg)
    return QUICK if quick else DEFAULTS.evaluations if evaluations is None else evaluations


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def _checked(settings: bench.Settings, png: Path, json: Path | None) -> bench.Settings:
    """Return the settings with the tolerance and all names filled in, or raise what the user can mend."""
    if settings.gtol is None:
        settings = settings._replace(gtol=GTOL.get(settings.precision))
    if settings.precision == "float64":
        jax.config.update("jax_enable_x64", True)
    if png.suffix.lower() != ".png":
        msg = f"--png must name a file that ends in .png, got {str(png)!r}."
        raise ValueError(msg)
    for name, path in (("png", png), ("json", json)):
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            msg = f"--{name} must name a file in a directory that exists and can be written, got {str(path)!r}."
            raise ValueError(msg)
    return bench.check(settings)


def _lack(what: str, modules: Sequence[str]) -> bool:
    """Say in one line which of the packages are not installed, if any."""
    missing = [NEEDED[module] for module in modules if importlib.util.find_spec(module) is None]
    return bool(missing and _complain(f"{what} needs {', '.join(missing)}; pip install 'jopt[race]'"))


def _complain(message: str) -> int:
    print(f"jopt: {message}", file=sys.stderr)
    return 1

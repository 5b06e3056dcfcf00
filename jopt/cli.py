# SPDX-License-Identifier: Apache-2.0
"""The command line: `jopt race digits`. It reads options, calls the other rooms, prints.

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

NEEDED = {"typer": "typer", "rich": "rich", "matplotlib": "matplotlib", "sklearn": "scikit-learn"}
"""Modules that the command line needs beyond those of jopt, and the packages that hold them."""

GTOL = {"float64": 1e-5, "float32": None}
"""Gradient tolerance of a race by precision: in float64 jopt's default asks for more than a comparison needs."""

QUICK = 20
"""Evaluations with `--quick`."""

WIDTH = 100
"""Columns of the output where there is no terminal to ask."""

DEFAULTS = bench.Settings()

HELP = {
    "evaluations": f"Evaluations of value and gradient that each method may spend. [default: {DEFAULTS.evaluations}]",
    "quick": f"A budget of {QUICK} evaluations: see that everything works.",
    "precision": "Of parameters and data: float64 or float32.",
    "gtol": f"Converged when the largest gradient entry is at most this. [default: {GTOL['float64']:g} in float64; "
    "in float32 jopt's own, sqrt(eps) max(1, largest entry at the start)]",
    "seed": "Of the network's start. The regression starts at zero.",
    "problems": f"Comma-separated, of: {', '.join(bench.PROBLEMS)}. [default: all]",
    "methods": f"Comma-separated, of: {', '.join(bench.METHODS)}. [default: all]",
    "png": "Where the picture goes, of loss against evaluations and against seconds. Replaced if it is there.",
    "json": "Where to write the same figures, and the course of every run, for machines. Replaced if it is there.",
    "progress": "Show a progress bar, on standard error.",
    "dataset": "The data: digits, 1,797 handwritten digits that ship with scikit-learn.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
      arguments: what follows the name of the program; None means those of the process.

    Raises:
      SystemExit: always, with the exit code.
    """
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f"jopt: the command line needs {', '.join(missing)}; pip install 'jopt[race]'", file=sys.stderr)
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
        version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=version, is_eager=True)] = False,
    ) -> None:
        """Optimization in JAX. Begin with: jopt race digits"""
        del version

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
        """Race first-order methods against L-BFGS on real data, with equal budgets of evaluations."""
        ...

    return app

# SPDX-License-Identifier: Apache-2.0
"""The command line: `jopt race`, `jopt bench`, `jopt autodiff`, `jopt problems`. The rooms define the commands.

Exit codes: 0 all went well; 1 a run met a number that is not finite, a result could not be written, or a package or a device
is missing; 2 the command was not understood.

typer, rich, matplotlib and scikit-learn come with the extra `race`. They are imported when a command runs, so that a
missing one is answered with a line that says what to install.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jopt
from jopt import console
from jopt.autodiff import CostTable
from jopt.autodiff import commands as autodiff_commands
from jopt.bench import commands as bench_commands
from jopt.bench import race_commands
from jopt.problems import commands as problem_commands

NEEDED = {"typer": "typer"}
"""Modules that the command line needs beyond those of jopt, and the packages that hold them."""

HELP = {
    "name": "A problem, to see it in full with its formula (default: a table of all).",
    "json": "Print JSON, for machines.",
}

_EPILOG = "Examples: jopt problems; jopt problems beale; jopt problems --json"

_BEGIN = (
    'Optimization in JAX. Begin with `jopt race digits`, `jopt race beale`, `jopt autodiff table "sin(t1*t2)" --at 1,2` or '
    "`jopt bench steps --quick`; `jopt COMMAND --help` says more."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
      arguments: what follows the name of the program; None means those of the process.

    Raises:
      SystemExit: always, with the exit code.
    """
    if console.lacks("the command line", NEEDED, "race"):
        raise SystemExit(1)
    application()(args=arguments, prog_name="jopt")


def application() -> Any:
    """Return the typer application."""
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=console.SETTINGS,
        help=_BEGIN,
    )

    def version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"jopt {jopt.__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=version, is_eager=True)
        ] = False,
    ) -> None:
        del version

    race_commands.add(app)
    app.add_typer(bench_commands.application(), name="bench")
    app.add_typer(autodiff_commands.application(_draw_costs), name="autodiff")

    @app.command(epilog=_EPILOG)
    def problems(
        name: Annotated[str, typer.Argument(help=HELP["name"], show_default=False)] = "",
        json: Annotated[bool, typer.Option("--json", help=HELP["json"])] = False,
    ) -> None:
        """List the test problems, or show one in full."""
        if console.lacks("jopt problems", {"rich": "rich"}, "race"):
            raise typer.Exit(1)
        with console.refusing("jopt problems"):
            if name:
                raise typer.Exit(problem_commands.show(name, as_json=json))
            problem_commands.show_all(as_json=json)

    return app


def _draw_costs(costs: CostTable, path: Path) -> None:
    from jopt import viz

    viz.cost_bars(costs).savefig(path, format="png", dpi=150)

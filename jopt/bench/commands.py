# SPDX-License-Identifier: Apache-2.0
"""The command line of the benchmarks: `jopt bench`, or `python -m jopt.bench`.

    jopt bench SUITE                       one of `jopt.bench.registry.SUITES`, or all (`suite_commands`)
    jopt bench solvers | cutest | ablation races of solvers (`solver_commands`)
    jopt bench --compare A.jsonl B.jsonl   what got slower (`compare`)

Exit codes: 0 the benchmark ran, whatever the solvers did; 1 a contender failed, a result could not be written, or a package
or a device is missing; 2 the command was not understood.

typer and rich come with the extra `race`; they are imported when a command runs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from jopt import console
from jopt.bench import compare, registry, solver_commands, suite_commands, suite_tables

NEEDED = {"typer": "typer", "rich": "rich"}
"""Modules that every command here needs, and the packages that hold them."""

HELP = (
    "Benchmarks, on the device that JAX prefers. Begin with `jopt bench steps --quick` or `jopt bench solvers --quick`; "
    "`jopt bench all --quick` runs every suite."
)

EPILOG = (
    "Exit code: 0 if the benchmark ran, whatever the solvers did; 1 if a contender failed, a file could not be read or "
    "written, or a package or a device is missing; 2 if the command, or a file to compare, was not understood."
)

COMPARE = (
    "Say what got slower or faster from one file of --json (or of rows of a race) to another, with the noise: within the "
    "interval of the medians, or within 5 %, nothing is said to have changed."
)

FAIL_SLOWER = "With --compare: end in exit code 1 if anything got slower or was lost."

COLUMNS = ("what", "unit", "first", "second", "second\nover first", "interval", "")
"""Of the table of a comparison."""

WIDTH = 120
"""Columns of the output where there is no terminal to ask."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of this room and exit.

    Args:
      arguments: what follows `python -m jopt.bench`; None means those of the process.

    Raises:
      SystemExit: always, with the exit code.
    """
    if console.lacks("the command line", NEEDED, "race"):
        raise SystemExit(1)
    words = sys.argv[1:] if arguments is None else arguments
    application()(args=words, prog_name="python -m jopt.bench")


def application() -> Any:
    """Return the typer application, which `jopt.cli` hangs under `jopt bench`."""
    import typer

    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings=console.SETTINGS,
        help=HELP,
        epilog=EPILOG,
    )

    @app.callback(invoke_without_command=True)
    def root(
        context: typer.Context,
        files: Annotated[
            tuple[Path, Path] | None, typer.Option("--compare", help=COMPARE, metavar="A B", show_default=False)
        ] = None,
        fail_slower: Annotated[bool, typer.Option("--fail-slower", help=FAIL_SLOWER)] = False,
    ) -> None:
        if (files is None) == (context.invoked_subcommand is None) or (fail_slower and files is None):
            msg = "give either a command or --compare with two files (--fail-slower goes with it)."
            raise typer.BadParameter(msg)
        if files is not None:
            with console.refusing("compare", "read"):
                raise typer.Exit(run_compare(*files, fail_slower=fail_slower))

    suite_commands.add(app, registry.SUITES)
    solver_commands.add(app)
    return app


def run_compare(first: Path, second: Path, *, fail_slower: bool) -> int:
    """Compare two files, print what changed, and return the exit code.

    Args:
      first: as it was.
      second: as it is.
      fail_slower: whether anything slower ends in exit code 1.

    Raises:
      ValueError: if a file holds no measurements, or they are of two kinds.
    """
    try:
        found = compare.compare(first, second)
    except OSError as error:
        return console.complain(f"{error.filename} could not be read: {error.strerror or error}")
    out = console.terminal(WIDTH)
    changed = [change for change in found.changes if change.verdict]
    if changed:
        table = console.grid(COLUMNS, left=2)
        for change in sorted(changed, key=lambda change: -change.ratio.median):
            table.add_row(*_cells(change))
        out.print(table)
    out.print(compare.text(found), markup=False, soft_wrap=True)
    return int(fail_slower and found.worse)


def _cells(change: compare.Change) -> tuple[str, ...]:
    timed = change.unit == "s"
    shown = [suite_tables.seconds(x) if timed else f"{x:,.0f}" for x in (change.before, change.after)]
    ratio = change.ratio
    interval = f"{ratio.least:.2f} to {ratio.largest:.2f}"
    return (change.what, "time" if timed else change.unit, *shown, f"{ratio.median:.2f}", interval, change.verdict)

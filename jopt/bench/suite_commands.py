# SPDX-License-Identifier: Apache-2.0
"""One command a suite: `jopt bench steps`, `jopt bench batch` and so on, and `jopt bench all`.

All take the same options, so that who knows one knows all.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from jopt import console, validate
from jopt.bench import suite_pictures, suite_tables, suites
from jopt.bench.measurements import FILE
from jopt.bench.suites import Measured, Scope, Suite
from jopt.console import STANDARD_OUTPUT
from jopt.viz.themes import THEMES

NEEDED = {"rich": "rich"}
"""Modules that these commands need beyond those of jopt, and the packages that hold them."""

WIDTH = 140
"""Columns of the output where there is no terminal to ask."""

ROUNDS = Scope().rounds

HELP = {
    "quick": "Small sizes and few contenders: a suite is done within a minute.",
    "list": "Print the cases and contenders and run nothing.",
    "cases": "A case that --list names, in quotes; repeat the option for more (default: all). For several suites: give none.",
    "contenders": "A contender that --list names, in quotes, such as 'jopt adam'; repeat for more (default: all).",
    "rounds": "Turns of each contender.",
    "precision": f"Of the arrays: {' or '.join(suites.PRECISIONS)} (default: the suite's own).",
    "platform": console.PLATFORM_HELP,
    "json": "Where to write all figures as JSON lines, for machines and for --compare. Replaced if it is there; - is standard "
    "output, and the table then goes to standard error.",
    "markdown": "Where to write the table as Markdown. Replaced if it is there.",
    "png": "Where to draw what the suite is best seen by. Replaced if it is there.",
    "theme": "Of the picture: light or dark.",
    "progress": "Show a progress bar, on standard error.",
}

_EPILOG = (
    "Exit code: 0 if all ran; 1 if a contender failed, a file could not be written, or a package or device is missing; 2 "
    "if the command was not understood. Examples: jopt bench {name} --quick; jopt bench {name} --platform cpu --json "
    "{name}.jsonl --markdown {name}.md"
)


class Order(NamedTuple):
    """What a command asks for.

    Attributes:
      suites: what to run.
      scope: what of them; with an empty precision, the suite's own.
      platform: what to run on; empty leaves the choice to JAX.
      json: figures, or None.
      markdown: tables, or None.
      png: picture, or None.
      theme: of the picture.
      progress: whether to show a bar on standard error.
    """

    suites: tuple[Suite, ...]
    scope: Scope
    platform: str = ""
    json: Path | None = None
    markdown: Path | None = None
    png: Path | None = None
    theme: str = "light"
    progress: bool = True

    def scope_of(self, suite: Suite) -> Scope:
        """Return what is asked of one suite."""
        return self.scope._replace(precision=self.scope.precision or suite.precision)


def add(app: Any, known: Mapping[str, Suite]) -> None:
    """Hang a command for each suite under a typer application, and `all`."""
    for name, suite in known.items():
        app.command(name, help=suite.title, epilog=_EPILOG.format(name=name))(_command((suite,)))
    text = f"Run all of these, one after another: {', '.join(known)}."
    app.command("all", help=text, epilog=_EPILOG.format(name="all"))(_command(tuple(known.values())))


def _option(name: str, **more: Any) -> Any:
    import typer

    return typer.Option(f"--{name}", help=HELP[name.split("/")[0]], **more)


def _command(asked: tuple[Suite, ...]) -> Callable[..., None]:
    import typer

    def command(
        quick: Annotated[bool, _option("quick")] = False,
        listing: Annotated[bool, _option("list")] = False,
        cases: Annotated[list[str] | None, _option("cases", show_default=False)] = None,
        contenders: Annotated[list[str] | None, _option("contenders", show_default=False)] = None,
        rounds: Annotated[int, _option("rounds")] = ROUNDS,
        precision: Annotated[str, _option("precision", show_default=False)] = "",
        platform: Annotated[str, _option("platform", show_default=False)] = "",
        json: Annotated[Path | None, _option("json", show_default=False)] = None,
        markdown: Annotated[Path | None, _option("markdown", show_default=False)] = None,
        png: Annotated[Path | None, _option("png", show_default=False)] = None,
        theme: Annotated[str, _option("theme")] = "light",
        progress: Annotated[bool, _option("progress/--no-progress")] = True,
    ) -> None:
        scope = Scope(precision, quick, tuple(cases or ()), tuple(contenders or ()), rounds)
        order = Order(asked, scope, platform, json, markdown, png, theme, progress)
        with console.refusing(*(f"jopt bench {suite.name}" for suite in asked), "jopt bench"):
            _check(order)
        if listing:
            _list(order)
            raise typer.Exit
        raise typer.Exit(run(order))

    return command


def run(order: Order) -> int:
    """Run suites, print a table of each, write the files, and return the exit code.

    Args:
      order: what is asked for, checked.
    """
    needed = NEEDED | ({"matplotlib": "matplotlib"} if order.png is not None else {})
    failed = console.lacks("jopt bench", needed, "race") or console.start_device(order.platform)
    if failed:
        return failed
    if order.json not in {None, STANDARD_OUTPUT}:
        try:
            Path(str(order.json)).write_text("", encoding="utf-8")
        except OSError as error:
            return console.complain(f"{order.json} could not be written: {error.strerror or error}")
    failures, tables = 0, []
    out = console.terminal(WIDTH, stderr=order.json == STANDARD_OUTPUT)
    for suite in order.suites:
        try:
            measured = _measured(order, suite)
        except OSError as error:
            return console.complain(f"{order.json} could not be written: {error.strerror or error}")
        failures += _shown(order, suite, measured, out)
        tables.append(suite_tables.markdown(suite, measured))
    if order.markdown is not None:
        failures += console.write_text(order.markdown, "\n".join(tables), out)
    if order.json not in {None, STANDARD_OUTPUT}:
        out.print(f"wrote {order.json}", markup=False, soft_wrap=True)
    return min(failures, 1)


def _measured(order: Order, suite: Suite) -> Measured:
    path = None if order.json == STANDARD_OUTPUT else order.json
    with console.bar(order.progress) as report:
        measured = suites.run_suite(suite, order.scope_of(suite), path, report)
    if order.json == STANDARD_OUTPUT:
        for record in (measured.header, *measured.rows):
            print(FILE.to_line(record))
    return measured


def _shown(order: Order, suite: Suite, measured: Measured, out: Any) -> int:
    """Print and draw one suite, and return how much went wrong."""
    out.print(
        suite_tables.heading(suite, measured.header, suite_tables.unit_of(measured)), soft_wrap=True, markup=False
    )
    out.print(suite_tables.table(suite, measured))
    failures = 0
    for row in measured.rows:
        if row.error:
            failures += console.complain(f"{row.case}, {row.contender}: {row.error}")
    if order.png is not None:
        path = order.png if len(order.suites) == 1 else order.png.with_stem(f"{order.png.stem}-{suite.name}")
        figure = suite_pictures.picture(suite, measured, order.theme)
        if figure is None:
            return failures + console.complain(f"{path} is not drawn: nothing was measured.")
        failures += console.write_figure(path, figure, out)
    return failures


def _check(order: Order) -> None:
    """Raise what the user can mend, before anything runs."""
    console.check_output("png", order.png, (".png",))
    console.check_output("markdown", order.markdown)
    if order.json != STANDARD_OUTPUT:
        console.check_output("json", order.json)
    validate.choice("jopt bench", "--theme", order.theme, THEMES)
    if len(order.suites) > 1 and (order.scope.cases or order.scope.contenders):
        msg = "--cases and --contenders go with one suite, such as jopt bench steps."
        raise ValueError(msg)
    for suite in order.suites:
        suites.chosen(suite, order.scope_of(suite))


def _list(order: Order) -> None:
    for suite in order.suites:
        print(f"{suite.name}: {suite.title}")
        for heat in suites.chosen(suite, order.scope_of(suite)):
            print(f"  {heat.case}: {', '.join(repr(contender.name) for contender in heat.contenders)}")

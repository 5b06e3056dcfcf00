# SPDX-License-Identifier: Apache-2.0
"""The command line of the benchmarks: `jopt bench cutest`, or `python -m jopt.bench cutest` (ablation, directions).

Exit codes: 0 the benchmark ran, whatever the solvers did; 1 a result could not be written, or a package is missing; 2 the
command was not understood.

typer and rich come with the extras `race` and `cutest`; they are imported when a command runs.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from jopt import validate, viz
from jopt.bench import ablation, cutest, cutest_problems, cutest_records, cutest_tables, directions, rivals, scores
from jopt.bench.cutest_records import Race, Settings

NEEDED = {"typer": "typer", "rich": "rich", "matplotlib": "matplotlib", "sif2jax": "sif2jax"}
"""Modules that the CUTEst benchmark needs beyond those of jopt, and the packages that hold them."""

SINGLE = {"max_n": 200, "gtol": 1e-4, "maxiter": 1000}
"""What float32 is asked for: round-off leaves less within reach, the more variables the less."""

QUICK_METHODS = ("jopt-lbfgs", "jopt-trust-ncg", "optax-lbfgs", "scipy-trust-ncg")
"""With `--quick`: jopt's two ways of choice, each with the rival of its kind."""

QUICK_BOUNDED = ("jopt-lbfgs", "jopt-trust-ncg", "scipy-lbfgsb")
"""The same within bounds."""

BASE = "optax-lbfgs"
"""The solver that others are compared with where it takes part: the most used of the rivals."""

BOUNDED_BASE = "scipy-lbfgsb"
"""The same within bounds."""

DEFAULTS = Settings()

WIDTH = 120
"""Columns of the output where there is no terminal to ask."""

HELP = {
    "half": "Which problems, by the parity of the SHA-256 of their name: even (for development; tune on these alone), odd "
    "(kept unseen until all is decided) or both.",
    "bounded": "The problems with bounds, and the solvers that take them, in place of those without.",
    "max-n": "Variables at most (default: 5000; 200 in float32).",
    "names": "Comma-separated problems, whatever their half and size (default: all of the half).",
    "methods": "Comma-separated solvers (default: all of jopt as jopt-NAME, and the rivals that are installed: "
    f"{', '.join(rivals.RIVALS)}).",
    "variants": f"Comma-separated variants (default: all): {', '.join(ablation.VARIANTS)}.",
    "quick": f"A dozen small problems with {', '.join(QUICK_METHODS)}: see that everything works.",
    "f32": "Solve in float32; judge in float64 by the decrease: f - f* at most 1e-4 (f0 - f*), f* the least value seen.",
    "gtol": "Largest gradient entry that solvers are asked for (default: 1e-6; 1e-4 in float32).",
    "maxiter": "Iterations that each may make (default: 2000; 1000 in float32).",
    "limit": "Seconds for one solve with its compilation and repetitions; past them it has failed.",
    "out": "The rows, as JSON lines. A file that is there is resumed: what it holds is not run again.",
    "mixed": "Resume a file that other versions, another commit or another device began.",
    "reference": "With --f32: rows of a float64 run, whose least values count for f* too.",
    "against": f"The solver whose times the others' are divided by (default: {BASE}, or the first).",
    "png": "Where to draw the performance profile.",
    "markdown": "Where to write the tables as Markdown, with the ratios of all pairs and what was not solved.",
    "progress": "Show a progress bar, on standard error.",
}


class Files(NamedTuple):
    """Where results go.

    Attributes:
      out: rows.
      png: picture, or None.
      markdown: tables, or None.
      reference: rows to take least values from, or None.
      mixed: whether to add to rows of other circumstances.
    """

    out: Path
    png: Path | None
    markdown: Path | None
    reference: Path | None
    mixed: bool


class Order(NamedTuple):
    """All that a command asks for.

    Attributes:
      settings: what to run.
      files: where results go.
      against: the solver to compare with; empty means `BASE`, or the first.
      progress: whether to show a bar on standard error.
      cast: who runs on what.
    """

    settings: Settings
    files: Files
    against: str
    progress: bool
    cast: cutest.Cast


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of this room and exit.

    Args:
      arguments: what follows `python -m jopt.bench`; None means those of the process.

    Raises:
      SystemExit: always, with the exit code.
    """
    words = sys.argv[1:] if arguments is None else arguments
    missing = [name for name in ("typer", "rich") if not _found(name)]
    if missing:
        raise SystemExit(_complain(f"the command line needs {', '.join(missing)}; pip install 'jopt[cutest]'"))
    application()(args=words, prog_name="python -m jopt.bench")


def application() -> Any:
    """Return the typer application, which `jopt.cli` hangs under `jopt bench`."""
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Benchmarks. Begin with `jopt bench cutest --quick`.",
    )

    def option(name: str, **more: Any) -> Any:
        return typer.Option(f"--{name}", help=HELP[name.split("/")[0]], **more)

    @app.command("cutest")
    def cutest_command(
        half: Annotated[str, option("half")] = DEFAULTS.half,
        max_n: Annotated[int | None, option("max-n", show_default=False)] = None,
        names: Annotated[str, option("names", show_default=False)] = "",
        methods: Annotated[str, option("methods", show_default=False)] = "",
        bounded: Annotated[bool, option("bounded")] = False,
        quick: Annotated[bool, option("quick")] = False,
        f32: Annotated[bool, option("f32")] = False,
        gtol: Annotated[float | None, option("gtol", show_default=False)] = None,
        maxiter: Annotated[int | None, option("maxiter", show_default=False)] = None,
        limit: Annotated[float, option("limit")] = DEFAULTS.limit,
        against: Annotated[str, option("against", show_default=False)] = "",
        out: Annotated[Path | None, option("out", show_default=False)] = None,
        mixed: Annotated[bool, option("mixed")] = False,
        reference: Annotated[Path | None, option("reference", show_default=False)] = None,
        png: Annotated[Path | None, option("png", show_default=False)] = None,
        markdown: Annotated[Path | None, option("markdown", show_default=False)] = None,
        progress: Annotated[bool, option("progress/--no-progress")] = True,
    ) -> None:
        """Race jopt's methods and rivals on CUTEst problems."""
        limits = {"max_n": max_n, "gtol": gtol, "maxiter": maxiter, "limit": limit}
        asked = {
            "names": _words(names),
            "methods": _words(methods),
            "family": "bounded" if bounded else "unconstrained",
        }
        settings = settings_of(f32, limits, half=half, **asked)
        stem = "cutest-bounded" if bounded else "cutest"
        files = Files(out or Path(f"{stem}-{settings.precision}.jsonl"), png, markdown, reference, mixed)
        cast = cutest.Cast(cutest_problems.load_bounded, rivals.bounded_entrants) if bounded else cutest.Cast()
        order = Order(_quick(settings) if quick else settings, files, against, progress, cast)
        raise typer.Exit(_refusing(order))

    @app.command("ablation")
    def ablation_command(
        half: Annotated[str, option("half")] = DEFAULTS.half,
        max_n: Annotated[int | None, option("max-n", show_default=False)] = None,
        names: Annotated[str, option("names", show_default=False)] = "",
        variants: Annotated[str, option("variants", show_default=False)] = "",
        f32: Annotated[bool, option("f32")] = False,
        limit: Annotated[float, option("limit")] = DEFAULTS.limit,
        out: Annotated[Path | None, option("out", show_default=False)] = None,
        mixed: Annotated[bool, option("mixed")] = False,
        png: Annotated[Path | None, option("png", show_default=False)] = None,
        markdown: Annotated[Path | None, option("markdown", show_default=False)] = None,
        progress: Annotated[bool, option("progress/--no-progress")] = True,
    ) -> None:
        """Compare variants of the trust region, each with one choice changed, with its default."""
        chosen = tuple(dict.fromkeys((ablation.DEFAULT, *_words(variants)))) if variants else ()
        settings = settings_of(f32, {"max_n": max_n, "limit": limit}, half=half, names=_words(names), methods=chosen)
        files = Files(out or Path(f"ablation-{settings.precision}.jsonl"), png, markdown, None, mixed)
        cast = cutest.Cast(entrants=ablation.entrants)
        raise typer.Exit(_refusing(Order(settings, files, ablation.DEFAULT, progress, cast)))

    @app.command(
        "directions",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        add_help_option=False,
    )
    def directions_command(context: typer.Context) -> None:
        """Time one L-BFGS direction beside optax's."""
        directions.main(context.args)

    return app


def settings_of(single: bool, limits: dict[str, Any], **more: Any) -> Settings:
    """Return the settings that the options ask for; a limit that is None takes the default of the precision.

    Args:
      single: whether in float32.
      limits: some of `max_n`, `gtol`, `maxiter`, `limit`.
      more: other fields of `Settings`.
    """
    precision = {"precision": "float32", **SINGLE} if single else {}
    given = {key: value for key, value in limits.items() if value is not None}
    return Settings(**(precision | given | more))


def run(order: Order) -> int:
    """Run a benchmark, print the table, write the files, and return the exit code.

    Args:
      order: what is asked for, checked.

    Raises:
      ValueError: if a name is unknown, or the file of rows is of another task.
    """
    from rich.console import Console

    files = order.files
    reference = () if files.reference is None else cutest_records.read(files.reference)[1]
    try:
        race = _with_bar(order) if order.progress else _race(order, None)
    except RuntimeError as error:
        return _complain(str(error))
    methods = race.settings.methods
    base = next((name for name in (BASE, BOUNDED_BASE) if name in methods), methods[0])
    against = order.against or base
    validate.choice("race_cutest", "against", against, methods)
    solved = scores.verdicts(race, reference)
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(cutest_tables.heading(race, against), soft_wrap=True, markup=False)
    console.print(cutest_tables.table(scores.summaries(race, solved, against)))
    failures = sum(_write(path, write, console) for path, write in _results(race, solved, files, against))
    console.print(f"rows in {files.out}", markup=False, soft_wrap=True)
    return min(failures, 1)


def _race(order: Order, report: cutest.Report | None) -> Race:
    return cutest.race_cutest(order.settings, order.files.out, report, mixed=order.files.mixed, cast=order.cast)


def _results(
    race: Race, solved: scores.Verdicts, files: Files, against: str
) -> Iterable[tuple[Path, Callable[[Path], Any]]]:
    if files.png is not None:
        title = (
            f"CUTEst, {cutest_tables.share(race.settings.names)}, {race.settings.precision}, {race.headers[-1].device}"
        )
        figure = viz.performance_profile(scores.profiles_of(race, solved), title=title)
        yield files.png, lambda path: figure.savefig(path, format="png", dpi=150)
    if files.markdown is not None:
        text = cutest_tables.markdown(race, solved, against)
        yield files.markdown, lambda path: path.write_text(text, encoding="utf-8")


def _refusing(order: Order) -> int:
    """Check all that can be before anything runs, run, and answer what the user can mend as typer does."""
    import typer

    missing = [package for module, package in NEEDED.items() if not _found(module)]
    if missing:
        return _complain(f"the CUTEst benchmark needs {', '.join(missing)}; pip install 'jopt[cutest]'")
    try:
        cutest.check(order.settings)
        _check_files(order.settings, order.files)
        if order.against and order.settings.methods:
            validate.choice("race_cutest", "against", order.against, order.settings.methods)
        return run(order)
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error).removeprefix("race_cutest: ").removeprefix("resume: ")) from None


def _check_files(settings: Settings, files: Files) -> None:
    if files.png is not None and files.png.suffix.lower() != ".png":
        msg = f"--png must name a file that ends in .png, got {str(files.png)!r}."
        raise ValueError(msg)
    for name in ("out", "png", "markdown"):
        path = getattr(files, name)
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            msg = f"--{name} must name a file in a directory that exists and can be written, got {str(path)!r}."
            raise ValueError(msg)
    if files.reference is not None and (settings.precision == "float64" or not files.reference.is_file()):
        msg = f"--reference must name a file of rows, and goes with --f32, got {str(files.reference)!r}."
        raise ValueError(msg)


def _quick(settings: Settings) -> Settings:
    """Return settings with the dozen problems and few methods, where none are named."""
    bounded = settings.family == "bounded"
    quick = QUICK_BOUNDED if bounded else QUICK_METHODS
    here = [name for name in quick if name not in rivals.RIVALS or _found(rivals.RIVALS[name].package)]
    here = [name for name in here if not name.startswith("jopt-") or name.removeprefix("jopt-") in rivals.METHODS]
    names = cutest_problems.QUICK_BOUNDED if bounded else cutest_problems.QUICK
    return settings._replace(names=settings.names or names, methods=settings.methods or tuple(here))


def _with_bar(order: Order) -> Race:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def report(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        return _race(order, report)


def _write(path: Path, write: Callable[[Path], Any], console: Any) -> int:
    try:
        write(path)
    except OSError as error:
        return _complain(f"{path} could not be written: {error.strerror or error}")
    console.print(f"wrote {path}", markup=False, soft_wrap=True)
    return 0


def _found(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def _complain(message: str) -> int:
    print(f"jopt: {message}", file=sys.stderr)
    return 1

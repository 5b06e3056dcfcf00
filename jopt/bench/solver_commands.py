# SPDX-License-Identifier: Apache-2.0
"""The commands that race solvers: `jopt bench solvers`, `jopt bench cutest` and `jopt bench ablation`.

`solvers` and `cutest` are one command with another default of `--problems`.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax

from jopt import console, validate, viz
from jopt.bench import (
    ablation,
    catalogue_problems,
    counting,
    cutest,
    cutest_problems,
    cutest_records,
    cutest_tables,
    data_profiles,
    rivals,
    scores,
)
from jopt.bench.cutest_records import Race, Settings
from jopt.bench.workers import Failure, Worker
from jopt.viz.themes import THEMES

SIF2JAX = {"sif2jax": "sif2jax"}
"""What the CUTEst problems need, and the package that holds it."""

NEEDED = {"rich": "rich"}
"""Modules that these commands need beyond those of jopt, and the packages that hold them."""

SINGLE = {"max_n": 200, "gtol": 1e-4, "maxiter": 1000}
"""What float32 is asked for: round-off leaves less within reach, the more variables the less."""

BASE = "optax-lbfgs"
"""The solver that others are compared with where it takes part: the most used of the rivals."""

BOUNDED_BASE = "scipy-lbfgsb"
"""The same within bounds."""

WIDTH = 120
"""Columns of the output where there is no terminal to ask."""

DEFAULTS = Settings()


class Kind(NamedTuple):
    """A set of problems and who can solve them.

    Attributes:
      family: its name in `Settings`.
      cast: who runs on what.
      half: the default.
      stem: of the default name of the file of rows.
      quick_problems: with `--quick`.
      quick_methods: with `--quick`.
      needed: modules and packages beyond `NEEDED`.
    """

    family: str
    cast: cutest.Cast
    half: str
    stem: str
    quick_problems: tuple[str, ...]
    quick_methods: tuple[str, ...] = ("jopt-lbfgs", "jopt-trust-ncg", "optax-lbfgs", "scipy-trust-ncg")
    needed: dict[str, str] = SIF2JAX


_ALL = cutest.Cast(catalogue_problems.load_all, rivals.entrants)
_BOUNDED = cutest.Cast(cutest_problems.load_bounded, rivals.bounded_entrants)

KINDS = {
    "catalogue": Kind(
        "catalogue",
        cutest.Cast(catalogue_problems.load, rivals.entrants),
        "both",
        "solvers",
        catalogue_problems.QUICK,
        needed={},
    ),
    "cutest": Kind("unconstrained", cutest.Cast(), "even", "cutest", cutest_problems.QUICK),
    "bounded": Kind(
        "bounded",
        _BOUNDED,
        "even",
        "cutest-bounded",
        cutest_problems.QUICK_BOUNDED,
        ("jopt-lbfgs", "jopt-trust-ncg", "scipy-lbfgsb"),
    ),
    "all": Kind("all", _ALL, "both", "solvers-all", (*catalogue_problems.QUICK, *cutest_problems.QUICK)),
}
"""What `--problems` takes. With `--quick`: jopt's two ways of choice, each with the rival of its kind."""

HELP = {
    "problems": "catalogue (the test problems of jopt), cutest (CUTEst without bounds), bounded (CUTEst with bounds, and the "
    "solvers that take them) or all (the catalogue and cutest). CUTEst needs sif2jax.",
    "bounded": "The same as --problems bounded.",
    "half": "Which problems, by the parity of the SHA-256 of their name: even (for development; tune on these alone), odd "
    "(kept unseen until all is decided) or both (default: even for CUTEst, both for others).",
    "max-n": "Variables at most (default: 5000; 200 in float32).",
    "names": "Comma-separated problems, whatever their half and size (default: all of the half).",
    "methods": "Comma-separated solvers (default: all of jopt as jopt-NAME, and the rivals that are installed: "
    f"{', '.join(rivals.RIVALS)}).",
    "variants": f"Comma-separated variants (default: all): {', '.join(ablation.VARIANTS)}.",
    "quick": "A few small problems with the solvers of choice and their rivals: see that everything works.",
    "f32": "Solve in float32; judge in float64 by the decrease: f - f* at most 1e-4 (f0 - f*), f* the least value seen.",
    "gtol": "Largest gradient entry that solvers are asked for (default: 1e-6; 1e-4 in float32).",
    "maxiter": "Iterations that each may make (default: 2000; 1000 in float32).",
    "limit": "Seconds for one solve with its compilation and repetitions; past them it has failed.",
    "out": "The rows, as JSON lines. A file that is there is resumed: what it holds is not run again.",
    "mixed": "Resume a file that other versions, another commit or another device began.",
    "reference": "With --f32: rows of a float64 run, whose least values count for f* too.",
    "against": f"The solver whose times the others' are divided by (default: {BASE}, or the first).",
    "check-counts": "Check on Rosenbrock's function, with an objective that counts, that each solver reports the evaluations "
    "and Hessian-vector products that it makes.",
    "platform": console.PLATFORM_HELP,
    "png": "Where to draw the performance profile: the share solved within so many times the fastest's time.",
    "data-png": "Where to draw the data profile: the share solved within so many evaluations over n + 1.",
    "size-png": "Where to draw time against the number of variables.",
    "theme": "Of the pictures: light or dark.",
    "markdown": "Where to write the tables as Markdown, with the ratios of all pairs and what was not solved.",
    "progress": "Show a progress bar, on standard error.",
}

_EPILOG = (
    "Exit code: 0 if the race ran, whatever the solvers did; 1 if a file could not be written or a package or device is "
    "missing; 2 if the command was not understood. Examples: jopt bench {name} --quick; "
    "jopt bench {name} --methods jopt-lbfgs,scipy-lbfgsb --png profile.png --markdown table.md"
)


class Files(NamedTuple):
    """Where results go.

    Attributes:
      out: rows.
      png: performance profile, or None.
      markdown: tables, or None.
      reference: rows to take least values from, or None.
      mixed: whether to add to rows of other circumstances.
      data_png: data profile, or None.
      size_png: time against size, or None.
      theme: of the pictures.
    """

    out: Path
    png: Path | None = None
    markdown: Path | None = None
    reference: Path | None = None
    mixed: bool = False
    data_png: Path | None = None
    size_png: Path | None = None
    theme: str = "light"


class Order(NamedTuple):
    """All that a command asks for.

    Attributes:
      settings: what to run.
      files: where results go.
      against: the solver to compare with; empty means `BASE`, or the first.
      progress: whether to show a bar on standard error.
      cast: who runs on what.
      needed: modules and packages beyond `NEEDED`.
      platform: what to run on; empty leaves the choice to JAX.
      check_counts: whether to check what solvers count.
    """

    settings: Settings
    files: Files
    against: str
    progress: bool
    cast: cutest.Cast
    needed: dict[str, str] = SIF2JAX
    platform: str = ""
    check_counts: bool = False


def add(app: Any) -> None:
    """Hang the commands of this file under a typer application."""
    about = {
        "solvers": ("catalogue", "Race jopt's methods and rivals on the problems of the catalogue or of CUTEst."),
        "cutest": ("cutest", "Race jopt's methods and rivals on CUTEst problems: solvers --problems cutest."),
    }
    for name, (default, text) in about.items():
        app.command(name, help=text, epilog=_EPILOG.format(name=name))(_race_command(default))
    app.command("ablation")(_ablation_command())


def _option(name: str, *more_names: str, **more: Any) -> Any:
    import typer

    return typer.Option(f"--{name}", *more_names, help=HELP[name.split("/")[0]], **more)


def _race_command(default: str) -> Callable[..., None]:
    import typer

    def command(
        problems: Annotated[str, _option("problems")] = default,
        bounded: Annotated[bool, _option("bounded")] = False,
        half: Annotated[str | None, _option("half", show_default=False)] = None,
        max_n: Annotated[int | None, _option("max-n", show_default=False)] = None,
        names: Annotated[str, _option("names", show_default=False)] = "",
        methods: Annotated[str, _option("methods", show_default=False)] = "",
        quick: Annotated[bool, _option("quick")] = False,
        f32: Annotated[bool, _option("f32")] = False,
        gtol: Annotated[float | None, _option("gtol", show_default=False)] = None,
        maxiter: Annotated[int | None, _option("maxiter", show_default=False)] = None,
        limit: Annotated[float, _option("limit")] = DEFAULTS.limit,
        against: Annotated[str, _option("against", show_default=False)] = "",
        check_counts: Annotated[bool, _option("check-counts")] = False,
        platform: Annotated[str, _option("platform", show_default=False)] = "",
        out: Annotated[Path | None, _option("out", "--json", show_default=False)] = None,
        mixed: Annotated[bool, _option("mixed")] = False,
        reference: Annotated[Path | None, _option("reference", show_default=False)] = None,
        png: Annotated[Path | None, _option("png", show_default=False)] = None,
        data_png: Annotated[Path | None, _option("data-png", show_default=False)] = None,
        size_png: Annotated[Path | None, _option("size-png", show_default=False)] = None,
        theme: Annotated[str, _option("theme")] = "light",
        markdown: Annotated[Path | None, _option("markdown", show_default=False)] = None,
        progress: Annotated[bool, _option("progress/--no-progress")] = True,
    ) -> None:
        with console.refusing("jopt bench"):
            kind = KINDS["bounded" if bounded else validate.choice("jopt bench", "--problems", problems, KINDS)]
            validate.choice("jopt bench", "--theme", theme, THEMES)
        limits = {"max_n": max_n, "gtol": gtol, "maxiter": maxiter, "limit": limit}
        asked = {"names": console.words(names), "methods": console.words(methods), "family": kind.family}
        settings = settings_of(f32, limits, half=kind.half if half is None else half, **asked)
        stem = f"{kind.stem}-quick" if quick and kind.stem.startswith("solvers") else kind.stem
        rows = out or Path(f"{stem}-{settings.precision}.jsonl")
        files = Files(rows, png, markdown, reference, mixed, data_png, size_png, theme)
        settings = _quick(settings, kind) if quick else settings
        order = Order(settings, files, against, progress, kind.cast, kind.needed, platform, check_counts)
        raise typer.Exit(_refusing(order))

    return command


def _ablation_command() -> Callable[..., None]:
    import typer

    def command(
        half: Annotated[str, _option("half")] = DEFAULTS.half,
        max_n: Annotated[int | None, _option("max-n", show_default=False)] = None,
        names: Annotated[str, _option("names", show_default=False)] = "",
        variants: Annotated[str, _option("variants", show_default=False)] = "",
        f32: Annotated[bool, _option("f32")] = False,
        limit: Annotated[float, _option("limit")] = DEFAULTS.limit,
        out: Annotated[Path | None, _option("out", "--json", show_default=False)] = None,
        mixed: Annotated[bool, _option("mixed")] = False,
        png: Annotated[Path | None, _option("png", show_default=False)] = None,
        markdown: Annotated[Path | None, _option("markdown", show_default=False)] = None,
        progress: Annotated[bool, _option("progress/--no-progress")] = True,
    ) -> None:
        """Compare variants of the trust region, each with one choice changed, with its default."""
        chosen = tuple(dict.fromkeys((ablation.DEFAULT, *console.words(variants)))) if variants else ()
        limits = {"max_n": max_n, "limit": limit}
        settings = settings_of(f32, limits, half=half, names=console.words(names), methods=chosen)
        files = Files(out or Path(f"ablation-{settings.precision}.jsonl"), png, markdown, mixed=mixed)
        cast = cutest.Cast(entrants=ablation.entrants)
        raise typer.Exit(_refusing(Order(settings, files, ablation.DEFAULT, progress, cast)))

    return command


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
    """Run a race, print the table, write the files, and return the exit code.

    Args:
      order: what is asked for, checked.

    Raises:
      ValueError: if a name is unknown, or the file of rows is of another task.
    """
    files = order.files
    reference = () if files.reference is None else cutest_records.FILE.read(files.reference)[1]
    checks: dict[str, Any] = {}
    try:
        with _platform(order.platform), console.bar(order.progress) as report:
            failed = _lacks_platform(order.platform)
            if failed:
                return failed
            race = cutest.race_cutest(order.settings, files.out, report, mixed=files.mixed, cast=order.cast)
            if order.check_counts:
                asked = (race.settings.methods, race.settings.precision, order.cast.entrants)
                checks = counting.check_all(*asked, report=report)
    except RuntimeError as error:
        return console.complain(str(error).removeprefix("race_cutest: "))
    methods = race.settings.methods
    base = next((name for name in (BASE, BOUNDED_BASE) if name in methods), methods[0])
    against = order.against or base
    validate.choice("race_cutest", "against", against, methods)
    solved = scores.verdicts(race, reference)
    out = console.terminal(WIDTH)
    out.print(cutest_tables.heading(race, against), soft_wrap=True, markup=False)
    out.print(cutest_tables.table(scores.summaries(race, solved, against)))
    told = counting.told(checks)
    if told:
        out.print(told, soft_wrap=True, markup=False)
    failures = _written(race, solved, files, against, told, out)
    out.print(f"rows in {files.out}", markup=False, soft_wrap=True)
    return min(failures, 1)


def _written(race: Race, solved: scores.Verdicts, files: Files, against: str, told: str, out: Any) -> int:
    """Write pictures and tables, and return how many could not be."""
    title = f"{cutest_tables.title(race.settings)}, {race.settings.precision}, {race.headers[-1].device}"
    look = {"title": title, "theme": files.theme}
    failures = 0
    if files.png is not None:
        failures += console.write_figure(
            files.png, viz.performance_profile(scores.profiles_of(race, solved), **look), out
        )
    if files.data_png is not None:
        profiles = data_profiles.data_profiles_of(race, solved)
        failures += console.write_figure(files.data_png, viz.data_profile(profiles, **look), out)
    if files.size_png is not None:
        points = data_profiles.times_of(race, solved)
        failures += console.write_figure(files.size_png, viz.time_against_size(points, **look), out)
    if files.markdown is not None:
        text = cutest_tables.markdown(race, solved, against) + (f"\n{told}\n" if told else "")
        failures += console.write_text(files.markdown, text, out)
    return failures


def platform_teller() -> Callable[[object], str]:
    """Return what answers, in a process of its own, which platform JAX runs on there."""
    return lambda _: jax.devices()[0].platform


def _lacks_platform(name: str) -> int:
    """Say in one line that the processes would not run on a platform, if so; return the exit code.

    One of them is asked: JAX in this process would hold an accelerator that only one process can use.
    """
    if not name or name.lower() == "cpu":
        return 0
    with Worker(platform_teller) as worker:
        answer = worker.ask(None, cutest.LISTING_S)
    failed = isinstance(answer, Failure)
    return console.complain_of_platform(name, answer.text) if failed else console.lacks_platform(name, answer)


@contextlib.contextmanager
def _platform(name: str) -> Iterator[None]:
    """Let the processes that start within run on a platform."""
    before = os.environ.get("JAX_PLATFORMS")
    if name:
        os.environ["JAX_PLATFORMS"] = console.jax_platforms(name)
    try:
        yield
    finally:
        if name and before is None:
            del os.environ["JAX_PLATFORMS"]
        elif before is not None:
            os.environ["JAX_PLATFORMS"] = before


def _refusing(order: Order) -> int:
    """Check all that can be before anything runs, run, and answer what the user can mend as typer does."""
    files = order.files
    drawn = any((files.png, files.data_png, files.size_png))
    needed = NEEDED | ({"matplotlib": "matplotlib"} if drawn else {})
    failed = console.lacks("the race", needed, "race") or console.lacks("CUTEst", order.needed, "cutest")
    if failed:
        return failed
    with console.refusing("race_cutest", "resume"):
        cutest.check(order.settings)
        _check_files(order.settings, files)
        if order.against and order.settings.methods:
            validate.choice("race_cutest", "against", order.against, order.settings.methods)
        return run(order)


def _check_files(settings: Settings, files: Files) -> None:
    for name, path in (("png", files.png), ("data-png", files.data_png), ("size-png", files.size_png)):
        console.check_output(name, path, (".png",))
    console.check_output("out", files.out)
    console.check_output("markdown", files.markdown)
    if files.reference is not None and (settings.precision == "float64" or not files.reference.is_file()):
        msg = f"--reference must name a file of rows, and goes with --f32, got {str(files.reference)!r}."
        raise ValueError(msg)


def _quick(settings: Settings, kind: Kind) -> Settings:
    """Return settings with the few problems and methods, where none are named."""
    here = [
        name for name in kind.quick_methods if name not in rivals.RIVALS or console.found(rivals.RIVALS[name].package)
    ]
    here = [name for name in here if not name.startswith("jopt-") or name.removeprefix("jopt-") in rivals.METHODS]
    return settings._replace(names=settings.names or kind.quick_problems, methods=settings.methods or tuple(here))

# SPDX-License-Identifier: Apache-2.0
"""`jopt race`: methods side by side, on the handwritten digits or on a problem of the catalogue in the plane.

typer, rich, matplotlib and scikit-learn come with the extra `race`; they are imported when the command runs.
"""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax

from jopt import bench, console, problems, validate, viz
from jopt.bench import planar_records, trajectories
from jopt.bench.planar_records import PlanarRace, PlanarRun
from jopt.viz.themes import THEMES

NEEDED = {"rich": "rich", "matplotlib": "matplotlib"}
"""Modules that a race needs beyond those of jopt, and the packages that hold them."""

DATA = {"sklearn": "scikit-learn"}
"""What the digits need besides."""

GTOL = {"float64": 1e-5, "float32": None}
"""Gradient tolerance of a race by precision: in float64 jopt's default asks for more than a comparison needs."""

QUICK = 20
"""Evaluations with `--quick`."""

QUICK_STEPS = 50
"""Steps with `--quick`, in the plane."""

STEPS = 500
"""Steps in the plane."""

ANIMATIONS = (".gif", ".mp4")

WIDTH = 100
"""Columns of the output where there is no terminal to ask."""

DEFAULTS = bench.Settings()

PLANE = (
    "rosenbrock", "beale", "himmelblau", "peaks", "booth", "monkey_saddle", "quartic_saddle", "double_well", "finite_sum",
)  # fmt: skip
"""The problems with two variables."""

DIGITS_ONLY = ("evaluations", "gtol", "seed", "problems")
PLANE_ONLY = ("steps", "start", "animate")

HELP = {
    "what": "digits, 1,797 handwritten digits that ship with scikit-learn, or a problem in the plane: "
    f"{', '.join(PLANE)} (jopt problems NAME shows one).",
    "evaluations": f"Evaluations of value and gradient that each method may spend (default: {DEFAULTS.evaluations}).",
    "quick": f"A budget of {QUICK} evaluations, or of {QUICK_STEPS} steps in the plane: see that everything works.",
    "precision": "Of parameters and data: float64 or float32.",
    "gtol": f"Converged when the largest gradient entry is at most this (default: {GTOL['float64']:g} in float64; in "
    "float32 jopt's own, the root of its epsilon times the largest entry at the start or 1).",
    "seed": "Of the network's start. The regression starts at zero.",
    "platform": console.PLATFORM_HELP,
    "problems": "Comma-separated (default: all): regression (multinomial logistic), network (two layers).",
    "methods": "Comma-separated (default: all). On the digits: sgd (with momentum), adam, chain (clipping, Adam, weight "
    "decay, warm-up and cosine), lbfgs; the learning rates were picked by hand on these data, lbfgs has its defaults. In the "
    f"plane: {', '.join(trajectories.METHODS)}.",
    "steps": f"Steps at most (default: {STEPS}).",
    "start": "Where to begin, such as 2,-2; repeat the option for more (default: the first two of the problem).",
    "png": "Where the picture goes: loss against evaluations and seconds, or the ways over the plane. Replaced if it is "
    "there (default: race-NAME.png).",
    "animate": "Where to write the ways as they grow: a GIF, or an MP4 where ffmpeg is installed.",
    "json": "Where to write the same figures, and the course of every run, for machines. Replaced if it is there; - is "
    "standard output, and the table then goes to standard error.",
    "theme": "Of the pictures: light or dark.",
    "progress": "Show a progress bar on standard error, where a race takes long enough: on the digits.",
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

PLANE_COLUMNS = ("start", "method", "final\nvalue", "to the\nminimiser", "steps", "evals", "HVPs", "status")
"""Of the table of a race in the plane."""

_EPILOG = (
    "Exit code: 0 if all runs ended with finite numbers, converged or not; 1 if one did not, a result could not be "
    "written, or a package is missing; 2 if the command was not understood. "
    "Examples: jopt race digits --quick; jopt race digits --precision float32 --methods adam,lbfgs --json figures.json; "
    "jopt race beale --animate beale.gif; jopt race rosenbrock --start 0.2,0.2 --methods gd,adam --theme dark"
)


class Files(NamedTuple):
    """Where results go.

    Attributes:
      png: the picture.
      json: the figures, or None.
      animate: the moving picture, or None.
      theme: of the pictures.
    """

    png: Path
    json: Path | None = None
    animate: Path | None = None
    theme: str = "light"


class Course(NamedTuple):
    """A race in the plane.

    Attributes:
      problem: its name.
      starts: points; empty means those of the problem.
      methods: names; empty means all.
      steps: at most.
      precision: "float64" or "float32".
    """

    problem: str
    starts: tuple[tuple[float, ...], ...]
    methods: tuple[str, ...]
    steps: int
    precision: str


def add(app: Any) -> None:
    """Hang the command under a typer application."""
    import typer

    def option(name: str, **more: Any) -> Any:
        return typer.Option(f"--{name}", help=HELP[name.split("/")[0]], **more)

    @app.command(no_args_is_help=True, epilog=_EPILOG)
    def race(
        context: typer.Context,
        what: Annotated[str, typer.Argument(help=HELP["what"], show_default=False, metavar="digits|PROBLEM")],
        evaluations: Annotated[int | None, option("evaluations", show_default=False)] = None,
        quick: Annotated[bool, option("quick")] = False,
        precision: Annotated[str, option("precision")] = DEFAULTS.precision,
        gtol: Annotated[float | None, option("gtol", show_default=False)] = None,
        seed: Annotated[int, option("seed")] = DEFAULTS.seed,
        platform: Annotated[str, option("platform", show_default=False)] = "",
        problems: Annotated[str, option("problems", show_default=False)] = "",
        methods: Annotated[str, option("methods", show_default=False)] = "",
        steps: Annotated[int | None, option("steps", show_default=False)] = None,
        start: Annotated[list[str] | None, option("start", show_default=False)] = None,
        png: Annotated[Path | None, option("png", show_default=False)] = None,
        animate: Annotated[Path | None, option("animate", show_default=False)] = None,
        json: Annotated[Path | None, option("json", show_default=False)] = None,
        theme: Annotated[str, option("theme")] = "light",
        progress: Annotated[bool, option("progress/--no-progress")] = True,
    ) -> None:
        """Race methods against one another, print a table and draw a picture.

        On the digits: first-order methods against L-BFGS, with equal budgets of evaluations, on a multinomial logistic
        regression and a two-layer network. On a problem in the plane: the ways of the methods to the minimum.
        """
        files = Files(png or Path(f"race-{what}.png"), json, animate, theme)
        with console.refusing("jopt race", "race_digits"):
            _check_what(what)
            _check_belonging(context, what)
            _check_files(files)
            words = console.words(methods)
            if what == "digits":
                budget = _limit(evaluations, QUICK if quick else None, DEFAULTS.evaluations, "evaluations")
                settings = bench.Settings(what, budget, precision, gtol, seed, console.words(problems), words)
                run = functools.partial(run_race, _checked(settings), files, platform, progress=progress)
            else:
                count = _limit(steps, QUICK_STEPS if quick else None, STEPS, "steps")
                course = _checked_course(Course(what, tuple(map(_point, start or ())), words, count, precision))
                run = functools.partial(run_plane, course, files, platform)
        raise typer.Exit(run())


def run_race(settings: bench.Settings, files: Files, platform: str = "", *, progress: bool) -> int:
    """Race on the digits, print the table, write the files, and return the exit code.

    Args:
      settings: checked settings.
      files: where results go.
      platform: what to run on; empty leaves the choice to JAX.
      progress: whether to show a bar on standard error.
    """
    failed = console.lacks("jopt race", NEEDED | DATA, "race") or console.start_device(platform)
    if failed:
        return failed
    with console.bar(progress) as report:
        result = bench.race_digits(settings, report)
    out = console.terminal(WIDTH, stderr=files.json == console.STANDARD_OUTPUT)
    out.print(_heading(result), table(result), sep="\n")
    title = f"{settings.dataset}, full gradients, {settings.precision}, {result.device}"
    failures = console.write_figure(files.png, viz.loss_curves(result.runs, title=title, theme=files.theme), out)
    if files.json is not None:
        failures += console.write_text(files.json, bench.to_json(result), out)
    for run in result.runs:
        if not run.finite:
            failures += console.complain(f"{run.problem}, {run.method}: {run.message}")
    return min(failures, 1)


def run_plane(course: Course, files: Files, platform: str = "") -> int:
    """Race in the plane, print the table, write the files, and return the exit code.

    Args:
      course: checked.
      files: where results go.
      platform: what to run on; empty leaves the choice to JAX.
    """
    jax.config.update("jax_enable_x64", course.precision == "float64")
    failed = console.lacks("jopt race", NEEDED, "race") or console.start_device(platform)
    if failed:
        return failed
    result = trajectories.race_planar(course.problem, course.starts or None, course.methods, course.steps)
    out = console.terminal(WIDTH, stderr=files.json == console.STANDARD_OUTPUT)
    out.print(_plane_heading(result, course.precision), plane_table(result), sep="\n")
    failures = console.write_figure(files.png, viz.trajectories(result, title=result.problem, theme=files.theme), out)
    if files.animate is not None:
        try:
            failures += console.write(
                files.animate,
                lambda path: viz.animate_trajectories(result, path, title=result.problem, theme=files.theme),
                out,
            )
        except (RuntimeError, ImportError) as error:
            failures += console.complain(f"{files.animate} could not be made: {error}")
    if files.json is not None:
        failures += console.write_text(files.json, planar_records.to_json(result), out)
    for run in result.runs:
        if run.status == "NONFINITE":
            failures += console.complain(f"{run.method} from {_shown(run.start)}: {run.message}")
    return min(failures, 1)


def table(result: bench.Race) -> Any:
    """Return the rich table of a race on the digits, one row for each run."""
    made = console.grid(COLUMNS, left=2)
    made.columns[-1].justify = "left"
    return _sections(made, {(run.problem, run.method): (run.problem, _cells(run)) for run in result.runs})


def plane_table(result: PlanarRace) -> Any:
    """Return the rich table of a race in the plane, one row for each run."""
    made = console.grid(PLANE_COLUMNS, left=2)
    made.columns[-1].justify = "left"
    return _sections(made, {(run.start, run.method): (run.start, _plane_cells(run)) for run in result.runs})


def _sections(made: Any, rows: Mapping[Any, tuple[Any, tuple[str, ...]]]) -> Any:
    previous: Any = None
    for key, cells in rows.values():
        if previous not in {None, key}:
            made.add_section()
        previous = key
        made.add_row(*cells)
    return made


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


def _plane_cells(run: PlanarRun) -> tuple[str, ...]:
    return (
        _shown(run.start),
        run.method,
        f"{run.values[-1]:.3g}",
        f"{run.distance:.1e}" if math.isfinite(run.distance) else "-",
        str(len(run.points) - 1),
        str(int(run.evaluations[-1])),
        str(run.products),
        run.status,
    )


def _heading(result: bench.Race) -> str:
    asked = result.settings
    gtol = "jopt's default" if asked.gtol is None else f"{asked.gtol:g}"
    return (
        f"{asked.dataset}, {asked.precision}, gtol {gtol}, at most {asked.evaluations} evaluations each; "
        f"{result.device}, jax {result.versions['jax']}"
    )


def _plane_heading(result: PlanarRace, precision: str) -> str:
    return (
        f"{result.problem}, {precision}, gtol {result.gtol:.1e}, at most {result.steps} steps each; {result.device}, jax "
        f"{result.versions['jax']}"
    )


def _shown(point: tuple[float, float]) -> str:
    return f"({point[0]:g}, {point[1]:g})"


def _point(text: str) -> tuple[float, ...]:
    try:
        point = tuple(float(word) for word in console.words(text))
    except ValueError:
        point = ()
    if len(point) != 2 or not all(map(math.isfinite, point)):
        msg = f"--start must be two numbers with a comma, such as 2,-2, got {text!r}."
        raise ValueError(msg)
    return point


def _limit(given: int | None, quick: int | None, default: int, option: str) -> int:
    if quick is not None and given is not None:
        msg = f"give either --quick or --{option}, not both."
        raise ValueError(msg)
    return quick if quick is not None else default if given is None else given


def _check_what(what: str) -> None:
    if what in problems.names() and what not in PLANE:
        msg = f"a race shows the ways over a plane, and {what} is no problem with two variables; take one of {', '.join(PLANE)}."
        raise ValueError(msg)
    validate.choice("jopt race", "the problem", what, ("digits", *PLANE))


def _check_belonging(context: Any, what: str) -> None:
    """Raise if an option was given that belongs to the other kind of race."""
    other = PLANE_ONLY if what == "digits" else DIGITS_ONLY
    for name in other:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            where = "in the plane, such as jopt race beale" if what == "digits" else "on the digits"
            msg = f"--{name} goes with a race {where}."
            raise ValueError(msg)


def _check_files(files: Files) -> None:
    console.check_output("png", files.png, (".png",))
    if files.json != console.STANDARD_OUTPUT:
        console.check_output("json", files.json)
    console.check_output("animate", files.animate, ANIMATIONS)
    validate.choice("jopt race", "--theme", files.theme, THEMES)


def _checked(settings: bench.Settings) -> bench.Settings:
    """Return the settings with the tolerance and all names filled in, or raise what the user can mend."""
    if settings.gtol is None:
        settings = settings._replace(gtol=GTOL.get(settings.precision))
    if settings.precision == "float64":
        jax.config.update("jax_enable_x64", True)
    return bench.check(settings)


def _checked_course(course: Course) -> Course:
    """Return it, or raise what the user can mend."""
    validate.choice("jopt race", "precision", course.precision, tuple(GTOL))
    for word in course.methods:
        validate.choice("jopt race", "methods", word, trajectories.METHODS)
    validate.integer("jopt race", "steps", course.steps, low=1)
    return course

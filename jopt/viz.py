# SPDX-License-Identifier: Apache-2.0
"""Pictures of jopt's records. The one room that imports matplotlib, and only when a picture is asked for.

Figures are plain `matplotlib.figure.Figure` objects: they belong to no window, and `figure.savefig(path)` writes them.
Colours, line styles and markers all differ from curve to curve, so that none of the three is needed to read a picture.

Reference: Okabe, Ito (2008), Color Universal Design, https://jfly.uni-koeln.de/color (the palette).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Vermilion, blue, bluish green, black, reddish purple, orange, sky blue: Okabe and Ito's, less the yellow, which is faint
# on white.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
_LINES = ("--", "-.", ":", "-", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKERS = ("s", "^", "D", "o", "v", "P", "X")
_LOSS_TICKS = (1.0, 2.0, 5.0)  # labelled multiples of the powers of ten: a loss seldom spans many of these
_PANEL = (5.2, 3.1)  # width and height of one panel, inches
_PROFILE = (9.0, 5.0)  # width and height of a picture of profiles, inches
_BEYOND = 1.1  # a profile is drawn so much further than its last step, which would else be at the edge

_COLUMNS = {
    "evaluations": "evaluations of value and gradient",
    "seconds": "seconds of run time, in proportion to evaluations",
}


def loss_curves(runs: Sequence[Any], *, title: str = "") -> Figure:
    """Draw loss against evaluations and against seconds, one row of panels for each problem.

    All axes are logarithmic. A marker stands at the end of each curve: filled where the run passed its test, hollow
    where it did not.

    Args:
      runs: records with `problem`, `method`, `success` and `history`, the last with sequences of equal length
        `evaluations`, `seconds` and `loss`, such as the runs of `jopt.bench.race_digits`.
      title: a line above the picture.

    Raises:
      ValueError: if there are no runs.
      ImportError: if matplotlib is not installed.
    """
    if not runs:
        msg = "loss_curves: runs must hold at least one record, got none."
        raise ValueError(msg)
    figure_type, lines = _matplotlib("loss_curves")
    problems = list(dict.fromkeys(run.problem for run in runs))
    methods = list(dict.fromkeys(run.method for run in runs))
    size = (len(_COLUMNS) * _PANEL[0], len(problems) * _PANEL[1] + 1.0)
    figure = figure_type(figsize=size, layout="constrained")
    panels = figure.subplots(len(problems), len(_COLUMNS), squeeze=False, sharex="col", sharey="row")
    for problem, row in zip(problems, panels, strict=True):
        for column, axes in zip(_COLUMNS, row, strict=True):
            for run in runs:
                if run.problem == problem and len(run.history.loss):
                    _draw(axes, run, column, methods.index(run.method))
            _dress(axes)
        row[0].set_ylabel(f"{problem}: loss")
    for label, axes in zip(_COLUMNS.values(), panels[-1], strict=True):
        axes.set_xlabel(label)
    figure.suptitle(title)
    figure.legend(
        handles=[lines.Line2D([], [], label=method, **_look(i, filled=True)) for i, method in enumerate(methods)],
        loc="outside lower center",
        ncols=len(methods),
        frameon=False,
        title="filled end: passed its test; hollow: stopped by a limit or by trouble",
    )
    return figure


def performance_profile(profiles: Mapping[str, Any], *, title: str = "") -> Figure:
    """Draw performance profiles: the share of problems solved within each multiple of the fastest solver's time.

    At the left end stands how often a solver was the fastest, at the right end how much it solved at all. The axis of
    times is logarithmic, to base 2.

    Args:
      profiles: by solver, records with sequences of equal length `ratios` (increasing from 1) and `shares`, such as
        `jopt.bench.scores.profiles` returns.
      title: a line above the picture.

    Raises:
      ValueError: if there are no profiles.
      ImportError: if matplotlib is not installed.

    Reference:
      Dolan and Moré (2002), Benchmarking optimization software with performance profiles, doi:10.1007/s101070100263.
    """
    if not profiles:
        msg = "performance_profile: profiles must hold at least one solver, got none."
        raise ValueError(msg)
    figure_type, _ = _matplotlib("performance_profile")
    figure = figure_type(figsize=_PROFILE, layout="constrained")
    axes = figure.subplots()
    end = _BEYOND * max(profile.ratios[-1] for profile in profiles.values())
    for index, (solver, profile) in enumerate(profiles.items()):
        axes.plot(
            [*profile.ratios, end],
            [*profile.shares, profile.shares[-1]],
            label=f"{solver} ({profile.shares[-1]:.0%})",
            drawstyle="steps-post",
            markevery=[len(profile.ratios)],
            clip_on=False,
            zorder=3,
            **_look(index, filled=True),
        )
    _dress_profile(axes, end)
    figure.suptitle(title)
    figure.legend(loc="outside right center", frameon=False, title="solver (share solved)")
    return figure


def _matplotlib(function: str) -> tuple[type[Figure], Any]:
    """Return what pictures are made of, or raise naming the function that needs it."""
    try:
        from matplotlib import figure, lines
    except ImportError as error:
        msg = f"{function}: pictures need matplotlib, which is not installed; pip install 'jopt[race]'"
        raise ImportError(msg) from error
    return figure.Figure, lines


def _draw(axes: Axes, run: Any, column: str, index: int) -> None:
    axes.plot(
        getattr(run.history, column),
        run.history.loss,
        label=run.method,
        markevery=[len(run.history.loss) - 1],
        clip_on=False,
        zorder=3,
        **_look(index, filled=run.success),
    )


def _look(index: int, *, filled: bool) -> dict[str, Any]:
    """Return colour, line and marker of the method with this index; the seven of each meet in 49 ways."""
    colour, turns = _COLOURS[index % len(_COLOURS)], index // len(_COLOURS)
    return {
        "color": colour,
        "linestyle": _LINES[(index + turns) % len(_LINES)],
        "linewidth": 1.6,
        "marker": _MARKERS[(index + turns) % len(_MARKERS)],
        "markersize": 7,
        "markerfacecolor": colour if filled else "white",
        "markeredgewidth": 1.6,
    }


def _dress(axes: Axes) -> None:
    from matplotlib import ticker

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=_LOSS_TICKS))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(True, which="major", color="0.88", linewidth=0.6)
    axes.tick_params(labelleft=True, labelbottom=True)
    axes.spines[["top", "right"]].set_visible(False)


def _dress_profile(axes: Axes, end: float) -> None:
    from matplotlib import ticker

    axes.set_xscale("log", base=2)
    axes.set_xlim(1.0, end)
    axes.set_ylim(0.0, 1.0)
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
    axes.set_xlabel("time over that of the fastest solver on the problem")
    axes.set_ylabel("problems solved within that")
    axes.grid(True, which="major", color="0.88", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)

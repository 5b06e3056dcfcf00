# SPDX-License-Identifier: Apache-2.0
"""Pictures of jopt's records. The one room that imports matplotlib, and only when a picture is asked for.

Figures are plain `matplotlib.figure.Figure` objects: they belong to no window, and `figure.savefig(path)` writes them.
Colours, line styles and markers all differ from curve to curve, so that none of the three is needed to read a picture.

Reference: Okabe, Ito (2008), Color Universal Design, https://jfly.uni-koeln.de/color (the palette).
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Return colour, line and marker of the method with this index."""
    colour = _COLOURS[index % len(_COLOURS)]
    return {
        "color": colour,
        "linestyle": _LINES[index % len(_LINES)],
        "linewidth": 1.6,
        "marker": _MARKERS[index % len(_MARKERS)],
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

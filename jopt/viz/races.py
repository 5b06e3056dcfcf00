# SPDX-License-Identifier: Apache-2.0
"""Loss against evaluations and against time: how the methods of a race came on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jopt.viz import canvas as canvases
from jopt.viz.canvas import Canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (5.2, 3.1)  # width and height of one panel, inches
_LOSS_TICKS = (1.0, 2.0, 5.0)  # labelled multiples of the powers of ten: a loss seldom spans many of these
_COLUMNS = {
    "evaluations": "evaluations of value and gradient",
    "seconds": "seconds of run time, in proportion to evaluations",
}


def loss_curves(runs: Sequence[Any], *, title: str = "", theme: str = "light") -> Figure:
    """Draw loss against evaluations and against seconds, one row of panels for each problem.

    All axes are logarithmic. A marker stands at the end of each curve: filled where the run passed its test, hollow
    where it did not.

    Args:
      runs: records with `problem`, `method`, `success` and `history`, the last with sequences of equal length
        `evaluations`, `seconds` and `loss`, such as the runs of `jopt.bench.race_digits`.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are no runs.
      ImportError: if matplotlib is not installed.
    """
    canvases.some("loss_curves", "runs", runs, "record")
    problems = list(dict.fromkeys(run.problem for run in runs))
    methods = list(dict.fromkeys(run.method for run in runs))
    size = (len(_COLUMNS) * _PANEL[0], len(problems) * _PANEL[1] + 1.0)
    canvas = canvases.begin("loss_curves", theme, size, len(problems), len(_COLUMNS), sharex="col", sharey="row")
    for problem, row in zip(problems, canvas.axes, strict=True):
        for column, axes in zip(_COLUMNS, row, strict=True):
            for run in runs:
                if run.problem == problem and len(run.history.loss):
                    _draw(canvas, axes, run, column, methods.index(run.method))
            _dress(canvas, axes)
        row[0].set_ylabel(f"{problem}: loss")
    for label, axes in zip(_COLUMNS.values(), canvas.axes[-1], strict=True):
        axes.set_xlabel(label)
    canvas.figure.legend(
        handles=canvases.handles(canvas, methods),
        loc="outside lower center",
        ncols=canvases.abreast(methods, size[0]),
        frameon=False,
        title="filled end: passed its test; hollow: stopped by a limit or by trouble",
    )
    return canvases.finish(canvas, title)


def _draw(canvas: Canvas, axes: Axes, run: Any, column: str, index: int) -> None:
    axes.plot(
        getattr(run.history, column),
        run.history.loss,
        label=run.method,
        markevery=[len(run.history.loss) - 1],
        clip_on=False,
        zorder=3,
        **canvas.look(index, filled=run.success),
    )


def _dress(canvas: Canvas, axes: Axes) -> None:
    from matplotlib import ticker

    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=_LOSS_TICKS))
    canvases.plain_ticks(axes.xaxis, axes.yaxis)
    axes.tick_params(labelleft=True, labelbottom=True)
    canvases.grid(canvas, axes)

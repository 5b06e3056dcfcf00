# SPDX-License-Identifier: Apache-2.0
"""What `jopt.autodiff` sweeps over: steps of differences, and numbers of inputs and outputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from jopt.viz import canvas as canvases
from jopt.viz.themes import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (9.0, 5.0)  # width and height of the picture of a step sweep, inches
_MARGIN = 3.0  # factor between the extreme errors of a sweep and the ends of the axis
_DOT = 5  # size of a marker of an error, points
_CELL = 0.8  # side of a cell of a heat map, inches


def step_sweep(sweep: Any, *, title: str = "", theme: str = "light") -> Figure:
    """Draw the V-shaped curves of a step sweep: errors of differences against the step, and what theory predicts.

    Round-off falls to the left of the lowest point, truncation rises to its right. Errors of zero cannot be drawn on a
    logarithmic axis and are left out.

    Args:
      sweep: a record with the fields of `jopt.autodiff.StepSweep`.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if no error is positive and finite.
      ImportError: if matplotlib is not installed.
    """
    drawn = [e for errors in (sweep.centred, sweep.forward) for e in errors if 0 < e < math.inf]
    if not drawn:
        msg = "step_sweep: sweep must hold at least one error that is positive and finite, got none."
        raise ValueError(msg)
    canvas = canvases.begin("step_sweep", theme, _SIZE)
    axes = canvas.axes[0, 0]
    predictions = ((sweep.third, 2, 6.0, 1.0), (sweep.second, 1, 2.0, 2.0))  # derivative, order, its divisor, roundings
    for index, name in enumerate(("centred", "forward")):
        looks = canvas.look(index)
        errors = canvases.positive(getattr(sweep, name))
        dots = {"linestyle": "none", "markersize": _DOT}
        axes.plot(sweep.steps, errors, label=f"{name} difference", **(looks | dots))
        derivative, order, divisor, roundings = predictions[index]
        bounds = [
            roundings * sweep.eps * abs(sweep.value) / h + abs(derivative) * h**order / divisor for h in sweep.steps
        ]
        axes.plot(sweep.steps, bounds, label=f"{name}: round-off + truncation", **(looks | {"marker": ""}))
        step, bound = getattr(sweep, f"{name}_step"), getattr(sweep, f"{name}_bound")
        if 0 < step < math.inf and 0 < bound < math.inf:
            axes.plot(
                [step], [bound], label=f"{name}: predicted best step {step:.1g}", **canvas.look(index, filled=False)
            )
    axes.set(xscale="log", yscale="log", xlabel="step h", ylabel="error of the derivative")
    axes.set_ylim(min(drawn) / _MARGIN, max(drawn) * _MARGIN)
    canvases.grid(canvas, axes)
    canvas.figure.legend(loc="outside right center", frameon=False)
    return canvases.finish(canvas, title)


def size_sweep(sweep: Any, *, title: str = "", theme: str = "light") -> Figure:
    """Draw where forward overtakes reverse mode: the ratio of their costs over numbers of inputs and outputs.

    Cells where forward mode is cheaper (a ratio below 1) are purple, those where reverse mode is are orange. A cell where one
    mode costs nothing has the colour of the furthest ratio, one where neither costs anything has none.

    Args:
      sweep: a record with the fields of `jopt.autodiff.SizeSweep`.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ImportError: if matplotlib is not installed.
    """
    from_time = any(ratio > 0 for row in sweep.time_ratio for ratio in row)  # not so where nothing was timed
    panels = [("operations", sweep.operations_ratio)]
    if from_time:
        panels.append(("run time", sweep.time_ratio))
    width, height = (_CELL * len(sizes) + 2.0 for sizes in (sweep.sizes_in, sweep.sizes_out))
    canvas = canvases.begin("size_sweep", theme, (len(panels) * width, height), 1, len(panels))
    colours = _diverging(canvas.theme)
    for axes, (what, ratios) in zip(canvas.axes[0], panels, strict=True):
        finite = [ratio for row in ratios for ratio in row if 0 < ratio < math.inf]
        reach = max([abs(math.log10(ratio)) for ratio in finite] or [1.0]) or 1.0
        low, high = 10.0**-reach, 10.0**reach
        logarithms = [
            [math.log10(min(max(ratio, low), high)) if ratio >= 0 else ratio for ratio in row] for row in ratios
        ]
        axes.imshow(logarithms, cmap=colours, vmin=-reach, vmax=reach, origin="lower", aspect="auto")
        for i, row in enumerate(ratios):
            for j, ratio in enumerate(row):
                shown = f"{ratio:.2g}" if math.isfinite(ratio) else "-"
                axes.text(j, i, shown, ha="center", va="center", color=canvas.theme.text)
        axes.set_xticks(range(len(sweep.sizes_in)), map(str, sweep.sizes_in))
        axes.set_yticks(range(len(sweep.sizes_out)), map(str, sweep.sizes_out))
        axes.set(xlabel="inputs", ylabel="outputs", title=f"{what}, forward / reverse")
    return canvases.finish(canvas, title)


def _diverging(theme: Theme) -> Any:
    """Return the colours from below through the ground to above; text is readable on all of them."""
    from matplotlib import colors

    return colors.LinearSegmentedColormap.from_list("ratios", (theme.below, theme.background, theme.above))

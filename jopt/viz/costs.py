# SPDX-License-Identifier: Apache-2.0
"""What `jopt.autodiff` counts and times: operations, peak memory and run time of derivatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jopt.viz import canvas as canvases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BARS = (4.0, 0.4)  # width of a panel of bars and height of a bar, inches
_EDGE = 0.02  # where the dash of a missing bar stands, from the left edge of the panel
_ROOM = 4.0  # factor to the right of the longest bar, for its label
_PANEL = 3.1  # side of a panel of curves, inches
_ABREAST = 4  # names in a row of a legend below three panels: so many of the longest fit


def cost_bars(costs: Any, *, title: str = "", theme: str = "light") -> Figure:
    """Draw a table of costs as bars, one panel for operations, one for peak memory and one for run time.

    Operations and run time are in multiples of the first row, the function itself; figures that are not known have no bar. The axes are logarithmic: bars begin at the power
    of ten below the shortest.

    Args:
      costs: a record with the fields of `jopt.autodiff.CostTable`.
      title: a line above the picture; empty means that of the table.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are no rows.
      ImportError: if matplotlib is not installed.
    """
    canvases.some("cost_bars", "costs", costs.rows, "row")
    size = (3 * _BARS[0], 1.5 + _BARS[1] * len(costs.rows))
    canvas = canvases.begin("cost_bars", theme, size, 1, 3, sharey=True)
    from matplotlib import ticker

    names, first = [row.name for row in costs.rows], costs.rows[0]
    panels = (
        ("operations, x function", [row.multiple for row in costs.rows]),
        ("peak memory, bytes", [row.peak_bytes for row in costs.rows]),
        ("run time, x function", [_over(row.run_s, first.run_s) for row in costs.rows]),
    )
    for axes, (label, values) in zip(canvas.axes[0], panels, strict=True):
        lengths = canvases.positive(values)
        bars = axes.barh(names, lengths, color=canvas.theme.curves[1])
        axes.bar_label(
            bars,
            labels=["" if value is None else f"{value:.3g}" for value in values],
            padding=3,
            color=canvas.theme.text,
        )
        for i, value in enumerate(values):
            if value is None:
                axes.text(_EDGE, i, "-", va="center", transform=axes.get_yaxis_transform(), color=canvas.theme.text)
        axes.set_xlabel(label)
        drawn = [length for length in lengths if length > 0]
        if drawn:
            axes.set_xscale("log")
            axes.set_xlim(10.0 ** (math.ceil(math.log10(min(drawn))) - 1), _ROOM * max(drawn))
            axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.spines[["top", "right"]].set_visible(False)
    canvas.axes[0, 0].set_ylim(len(names) - 0.5, -0.5)  # rows without a bar too, the first on top
    return canvases.finish(canvas, title or f"{costs.title}; {costs.device}, jax {costs.version}")


def checkpoint_costs(costs: Any, *, title: str = "", theme: str = "light") -> Figure:
    """Draw peak memory, operations and run time over the number of layers, one curve for each way to keep values.

    Args:
      costs: a record with the fields of `jopt.autodiff.CheckpointCosts`.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are no depths.
      ImportError: if matplotlib is not installed.
    """
    canvases.some("checkpoint_costs", "costs", costs.depths, "depth")
    return _cost_curves("checkpoint_costs", costs.depths, costs.tables, "layers", title, theme)


def hvp_costs(costs: Any, *, title: str = "", theme: str = "light") -> Figure:
    """Draw peak memory, operations and run time of products with the Hessian over the number of inputs, a curve a mode.

    Args:
      costs: a record with the fields of `jopt.autodiff.HvpCosts`.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are no sizes.
      ImportError: if matplotlib is not installed.
    """
    canvases.some("hvp_costs", "costs", costs.sizes, "size")
    return _cost_curves("hvp_costs", costs.sizes, costs.tables, "inputs", title, theme)


def _cost_curves(
    function: str, numbers: Sequence[int], tables: Sequence[Any], label_x: str, title: str, theme: str
) -> Figure:
    """Draw the rows of tables over a number that each stands for."""
    canvas = canvases.begin(function, theme, (3 * _PANEL, _PANEL + 1.0), 1, 3)
    from matplotlib import ticker

    names = [row.name for row in tables[0].rows]
    panels = (("peak_bytes", "peak memory, bytes"), ("operations", "operations"), ("run_s", "run time, s"))
    for axes, (field, label) in zip(canvas.axes[0], panels, strict=True):
        for index, name in enumerate(names):
            found = [getattr(table.row(name), field) for table in tables]
            axes.plot(numbers, canvases.positive(found), label=name, **canvas.look(index))
        axes.set(xscale="log", xlabel=label_x, ylabel=label)
        if any(value > 0 for line in axes.get_lines() for value in line.get_ydata()):
            axes.set_yscale("log")
        axes.set_xticks(numbers, map(str, numbers))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        canvases.grid(canvas, axes)
    marks = canvases.handles(canvas, names)
    canvas.figure.legend(handles=marks, loc="outside lower center", ncols=min(len(names), _ABREAST), frameon=False)
    return canvases.finish(canvas, title)


def _over(value: float | None, unit: float | None) -> float | None:
    return value / unit if value is not None and unit else None

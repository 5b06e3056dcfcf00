# SPDX-License-Identifier: Apache-2.0
"""How every picture begins and ends: the figure and its axes, and at last the colours of all that frames the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jopt.viz import themes
from jopt.viz.themes import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GRID_WIDTH = 0.6  # points
# Of a legend, inches: its edges, the mark before a name with the space between columns, and a letter.
_EDGE, _HANDLE, _LETTER = 0.2, 0.75, 0.09


class Canvas(NamedTuple):
    """A picture in the making.

    Attributes:
      figure: the figure.
      axes: its axes, shape (rows, columns).
      theme: its colours.
    """

    figure: Figure
    axes: Any
    theme: Theme

    def look(self, index: int, *, filled: bool = True) -> dict[str, Any]:
        """Return colour, line and marker of the curve with this index (see `jopt.viz.themes.look`)."""
        return themes.look(self.theme, index, filled=filled)


def begin(
    function: str, theme: str, size: tuple[float, float], rows: int = 1, columns: int = 1, **shared: Any
) -> Canvas:
    """Return an empty picture.

    Args:
      function: who draws, for messages.
      theme: "light" or "dark".
      size: width and height, inches.
      rows: of axes.
      columns: of axes.
      **shared: further arguments of `Figure.subplots`.

    Raises:
      ValueError: if there is no such theme.
      ImportError: if matplotlib is not installed.
    """
    colours = themes.named(function, theme)
    try:
        from matplotlib import figure
    except ImportError as error:
        msg = f"{function}: pictures need matplotlib, which is not installed; pip install 'jopt[race]'"
        raise ImportError(msg) from error
    made = figure.Figure(figsize=size, layout="constrained", facecolor=colours.background)
    return Canvas(made, made.subplots(rows, columns, squeeze=False, **shared), colours)


def finish(canvas: Canvas, title: str) -> Figure:
    """Give the title, and all that frames the data the colours of the theme; return the figure.

    Args:
      canvas: with everything drawn.
      title: a line above the picture; empty means none.
    """
    figure, theme = canvas.figure, canvas.theme
    figure.suptitle(title, color=theme.text)
    for axes in figure.axes:
        axes.set_facecolor(theme.background)
        axes.tick_params(which="both", color=theme.text, labelcolor=theme.text)
        for spine in axes.spines.values():
            spine.set_edgecolor(theme.text)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, axes.xaxis.offsetText, axes.yaxis.offsetText):
            text.set_color(theme.text)
    for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes)]:
        if legend is not None:
            for text in [*legend.get_texts(), legend.get_title()]:
                text.set_color(theme.text)
            legend.get_frame().set(facecolor=theme.background, edgecolor=theme.grid)
    return figure


def grid(canvas: Canvas, axes: Axes) -> None:
    """Draw a grid, and leave out the spines that bear no ticks."""
    axes.grid(True, which="major", color=canvas.theme.grid, linewidth=_GRID_WIDTH)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def handles(canvas: Canvas, names: Sequence[str]) -> list[Any]:
    """Return what stands for curves of these names in a legend."""
    from matplotlib import lines

    return [lines.Line2D([], [], label=name, **canvas.look(i)) for i, name in enumerate(names)]


def abreast(names: Sequence[str], width: float) -> int:
    """Return how many columns of a legend of these names fit into a width in inches, at least 1."""
    for columns in range(len(names), 1, -1):
        rows = math.ceil(len(names) / columns)
        longest = (max(map(len, names[i : i + rows])) for i in range(0, len(names), rows))
        if sum(_HANDLE + _LETTER * letters for letters in longest) + 2 * _EDGE <= width:
            return math.ceil(len(names) / rows)
    return 1


def plain_ticks(*axes: Any) -> None:
    """Write the ticks of some x- or y-axes as plain numbers, and none between the powers."""
    from matplotlib import ticker

    for axis in axes:
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())


def positive(values: Iterable[float | None]) -> list[float]:
    """Return values for a logarithmic axis: NaN, which is not drawn, for what is not known, positive and finite."""
    return [value if value is not None and 0 < value < math.inf else math.nan for value in values]


def some(function: str, argument: str, values: Any, what: str) -> None:
    """Refuse an empty collection.

    Raises:
      ValueError: if it is empty.
    """
    if not len(values):
        msg = f"{function}: {argument} must hold at least one {what}, got none."
        raise ValueError(msg)

# SPDX-License-Identifier: Apache-2.0
"""The ways of optimizers over a plane: contours of log(f - f*), and on them where each method went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jopt.viz import canvas as canvases
from jopt.viz.canvas import Canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (5.4, 4.2)  # width and height of one panel, inches
_TALLEST = 1.6  # times its height, for a panel with equal scales
_FRAME = 0.8  # height of the title and of the heading of the legend, inches
_ROW = 0.3  # height of a row of the legend, inches
_LEVELS = 18  # contour lines
_LOW = 1.7  # power that draws them to the low ground
_NEAR = 0.5  # a minimiser so near to the paths, in parts of the longer side of their box, is in the picture
_AROUND = 0.12  # ground around what is in the picture, in the same parts
_MARKS = 7  # markers along a path, at equal distances in the picture
_SMALL = 4.5  # size of the markers along a path, points
_STAR = 15  # size of the star at a minimiser, points
_THIN = 1.3  # width of a path, points


_KEY = ("ring: start; star: minimiser", "large marker: end, filled where the run passed its test")


class Panel(NamedTuple):
    """The picture from one start.

    Attributes:
      axes: where it is.
      runs: those from that start.
      low: left and lower end, shape (2,).
      high: right and upper end, shape (2,).
    """

    axes: Axes
    runs: list[Any]
    low: np.ndarray
    high: np.ndarray


def trajectories(race: Any, *, equal: bool = False, title: str | None = None, theme: str = "light") -> Figure:
    """Draw where methods went on a problem in the plane, one panel for each start.

    The ground has contours of log(f - f*), shaded towards the low; f* is the least value known, else the least on the
    landscape. Stars are the known minimisers near the paths, the ring is the start. A large marker stands at the end of each
    path: filled where the run passed its test, hollow where it was stopped by a limit or by trouble, on the edge of the
    picture where it left it.

    Args:
      race: a record with the fields of `jopt.bench.trajectories.PlanarRace`: `problem`, `starts`, `minimisers`, `minimum`,
        `landscape` (`x`, `y`, `values`) and `runs`, each with `method`, `start`, `points` and `success`.
      equal: whether both axes have the same scale, so that right angles look right.
      title: a line above the picture; None means the problem, empty means none.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are no runs.
      ImportError: if matplotlib is not installed.

    Reference:
      Ruder (2016), An overview of gradient descent optimization algorithms, arXiv:1609.04747, section 4.10 (such pictures).
    """
    canvas, panels = planar_panels("trajectories", race, theme, equal=equal)
    methods = methods_of(race)
    for panel in panels:
        for run in panel.runs:
            index = methods.index(run.method)
            path = np.asarray(run.points)
            looks: dict[str, Any] = {**canvas.look(index), "linewidth": _THIN, "markersize": _SMALL}
            along = spaced(path, panel)
            panel.axes.plot(path[:, 0], path[:, 1], label=run.method, markevery=along, zorder=3 + _over(index), **looks)
            draw_end(canvas, panel, path, index, filled=run.success)
    legend(canvas, methods)
    return canvases.finish(canvas, race.problem if title is None else title)


def methods_of(race: Any) -> list[str]:
    """Return the names of the methods of a race, in the order in which they ran."""
    return list(dict.fromkeys(run.method for run in race.runs))


def planar_panels(function: str, race: Any, theme: str, *, equal: bool = False) -> tuple[Canvas, list[Panel]]:
    """Return a canvas with the ground of a race and what stands on it from the first, and a panel for each start.

    Args:
      function: who draws, for messages.
      race: as in `trajectories`.
      theme: "light" or "dark".
      equal: whether both axes have the same scale.

    Raises:
      ValueError: if there are no runs, or no such theme.
      ImportError: if matplotlib is not installed.
    """
    canvases.some(function, "race", race.runs, "run")
    starts = [tuple(start) for start in np.asarray(race.starts).tolist()]
    best = np.asarray(race.minimisers)
    runs = [[run for run in race.runs if np.allclose(run.start, start)] for start in starts]
    corners = [_corners(race.landscape, start, own, best) for start, own in zip(starts, runs, strict=True)]
    width, methods = len(starts) * _PANEL[0], methods_of(race)
    rows = math.ceil(len(methods) / canvases.abreast(methods, width))
    height = _PANEL[1]
    if equal:
        height *= min(_TALLEST, max((high[1] - low[1]) / (high[0] - low[0]) for low, high in corners))
    canvas = canvases.begin(function, theme, (width, height + _FRAME + _ROW * rows), 1, len(starts))
    panels = []
    for axes, start, own, (low, high) in zip(canvas.axes[0], starts, runs, corners, strict=True):
        axes.set_aspect("equal" if equal else "auto")
        ground(canvas, axes, race.landscape, race.minimum, low, high)
        if len(best):
            star(canvas, axes, best)
        axes.plot(
            *start,
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgecolor=canvas.theme.text,
            zorder=4,
            label="_start",
        )
        axes.set(xlabel="x", ylabel="y", title=f"from ({start[0]:g}, {start[1]:g})")
        panels.append(Panel(axes, own, low, high))
    return canvas, panels


def _corners(landscape: Any, start: Any, runs: Sequence[Any], minimisers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower left and the upper right corner of what is drawn of a landscape: paths, and minimisers near them."""
    ends = np.array([[landscape.x[0], landscape.y[0]], [landscape.x[-1], landscape.y[-1]]])
    path = np.concatenate([np.reshape(start, (1, 2)), *(np.asarray(run.points) for run in runs)])
    path = path[((path >= ends[0]) & (path <= ends[1])).all(1)]
    low, high = path.min(0), path.max(0)
    room = _NEAR * (float((high - low).max()) or 1.0)
    near = [x for x in minimisers if ((x >= low - room) & (x <= high + room)).all()]
    path = np.concatenate([path, *np.reshape(near, (-1, 1, 2))])
    low, high = path.min(0), path.max(0)
    extent = float((high - low).max()) or 1.0
    # No side is less than half of the other: a path along an axis would else be a line in a slit.
    pad = _AROUND * extent + np.maximum(0.0, extent / 2.0 - (high - low)) / 2.0
    return np.maximum(low - pad, ends[0]), np.minimum(high + pad, ends[1])


def ground(
    canvas: Canvas, axes: Axes, landscape: Any, minimum: float = math.nan, low: Any = None, high: Any = None
) -> None:
    """Draw contours of log(f - f*), and keep the axes to the landscape, or to a part of it.

    Args:
      canvas: whose colours.
      axes: where.
      landscape: a record with `x`, `y` and `values`, shape (len(y), len(x)).
      minimum: f*; NaN means the least value of the landscape.
      low: left and lower end of the part, shape (2,); None means those of the landscape.
      high: right and upper end of it.
    """
    from matplotlib import colors

    heights = log_heights(landscape.values, minimum)
    x, y = np.asarray(landscape.x), np.asarray(landscape.y)
    left, bottom = (x[0], y[0]) if low is None else low
    right, top = (x[-1], y[-1]) if high is None else high
    shown = heights[np.ix_((y >= bottom) & (y <= top), (x >= left) & (x <= right))].compressed()
    levels = np.unique(np.quantile(shown, np.linspace(0.0, 1.0, _LEVELS + 2) ** _LOW)) if len(shown) else []
    if len(levels) > 1:
        fill = colors.LinearSegmentedColormap.from_list("ground", (canvas.theme.shade, canvas.theme.background))
        axes.contourf(x, y, heights, levels=levels, cmap=fill, zorder=0)
        axes.contour(
            x, y, heights, levels=levels[1:-1], colors=canvas.theme.contour, linewidths=0.7,
            linestyles="solid", zorder=1,
        )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def log_heights(values: Any, minimum: float = math.nan) -> np.ma.MaskedArray:
    """Return log10(f - f*), masked where f is not finite; where f = f* that of the least positive difference.

    Args:
      values: f.
      minimum: f*; NaN means the least of the finite values.
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    known = values[finite]
    least = minimum if math.isfinite(minimum) else float(known.min()) if len(known) else 0.0
    above = np.where(finite, values, least) - least
    smallest = above[above > 0.0].min(initial=math.inf)
    floor = smallest if math.isfinite(smallest) else 1.0
    return np.ma.masked_array(np.log10(np.maximum(above, floor)), ~finite)


def star(canvas: Canvas, axes: Axes, points: np.ndarray) -> None:
    """Mark minimisers with stars, shape (m, 2)."""
    axes.plot(
        points[:, 0], points[:, 1], linestyle="none", marker="*", markersize=_STAR, zorder=6, label="_minimiser",
        markerfacecolor="none", markeredgecolor=canvas.theme.text, markeredgewidth=1.2,
    )  # fmt: skip


def draw_end(canvas: Canvas, panel: Panel, path: np.ndarray, index: int, *, filled: bool) -> Any:
    """Draw the marker at the end of a path, on the edge where the path has left the picture; return the line."""
    looks = canvas.look(index, filled=filled)
    (line,) = panel.axes.plot([], [], label="_end", clip_on=False, zorder=5 + _over(index), **looks)
    line.set_data(*np.transpose([end_of(path, panel)]))
    return line


def end_of(path: np.ndarray, panel: Panel) -> np.ndarray:
    """Return where a path ends, or where it leaves a panel for the last time; shape (2,).

    Args:
      path: shape (k + 1, 2), the first point in the panel.
      panel: the picture.
    """
    inside = np.flatnonzero(((path >= panel.low) & (path <= panel.high)).all(1))
    last = int(inside[-1]) if len(inside) else 0
    if last == len(path) - 1:
        return path[-1]
    step = path[last + 1] - path[last]
    edges = np.where(step > 0, panel.high, panel.low) - path[last]
    shares = np.divide(edges, step, out=np.ones(2), where=step != 0)
    return kept_within(path[last] + np.clip(shares, 0.0, 1.0).min() * step, panel)


def kept_within(points: np.ndarray, panel: Panel) -> np.ndarray:
    """Return the points of a panel that are nearest to given ones, shape (..., 2)."""
    return np.clip(points, panel.low, panel.high)


def spaced(path: np.ndarray, panel: Panel, marks: int = _MARKS) -> list[int]:
    """Return indices of points of a path that lie at about equal distances along it, in parts of the picture.

    Args:
      path: shape (k + 1, 2).
      panel: the picture.
      marks: number of indices at most, the start and the end not among them.
    """
    steps = np.diff(kept_within(path, panel), axis=0) / (panel.high - panel.low)
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(steps, axis=1))])
    wanted = np.linspace(0.0, lengths[-1], marks + 2)[1:-1]
    return sorted(set(np.searchsorted(lengths, wanted).tolist()) - {0, len(path) - 1})


def legend(canvas: Canvas, methods: Sequence[str]) -> None:
    """Name the methods below the panels."""
    width = canvas.figure.get_figwidth()
    made = canvas.figure.legend(
        handles=canvases.handles(canvas, methods),
        loc="outside lower center",
        ncols=canvases.abreast(methods, width),
        frameon=False,
        title=("; " if width > _PANEL[0] else "\n").join(_KEY),
    )
    made.get_title().set_multialignment("center")


def _over(index: int) -> float:
    """Return a small height, so that a path and its end lie over those drawn before."""
    return 0.01 * index

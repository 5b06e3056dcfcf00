# SPDX-License-Identifier: Apache-2.0
"""Pictures of small studies: loss surfaces, stochastic paths, Newton's parabolas, schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jopt import validate
from jopt.viz import canvas as canvases
from jopt.viz import paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL = (5.4, 4.6)  # width and height of one panel of a landscape, inches
_WIDE = (8.0, 4.6)  # width and height of a picture of curves, inches
_MARGIN = 0.15  # ground above and below the curve of f, in parts of its span
_LEAST = 0.005  # level of the lowest contour line that bears its value, in parts of the highest
_BIG = 7  # size of a marker of a minimum, points
_POINTS = 1000  # of a schedule's steps, at most so many are evaluated


def loss_surface(surfaces: Any, *, title: str = "", theme: str = "light") -> Figure:
    """Draw the loss of a network over its two weights, one panel for each loss.

    Args:
      surfaces: one record or several with the fields of `jopt.bench.studies.LossSurface`: `loss`, `best` and `landscape`
        (`x`, `y`, `values`).
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are none.
      ImportError: if matplotlib is not installed.

    Reference:
      Glorot, Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, figure 5.
    """
    several = [surfaces] if hasattr(surfaces, "landscape") else list(surfaces)
    canvases.some("loss_surface", "surfaces", several, "record")
    canvas = canvases.begin("loss_surface", theme, (len(several) * _PANEL[0], _PANEL[1]), 1, len(several))
    for axes, surface in zip(canvas.axes[0], several, strict=True):
        paths.ground(canvas, axes, surface.landscape)
        land = surface.landscape
        lines = axes.contour(
            land.x, land.y, land.values, levels=_round_levels(land.values), colors=[canvas.theme.curves[1]], linewidths=1.2,
            zorder=2,
        )  # fmt: skip
        axes.clabel(lines, fmt="%g", fontsize=8, colors=[canvas.theme.text])
        paths.star(canvas, axes, np.reshape(surface.best, (1, 2)))
        axes.set(xlabel="w1", ylabel="w2", title=f"{surface.loss}, above its least value")
    return canvases.finish(canvas, title)


def _round_levels(values: Any) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten among the values, less the smallest, whose lines would lie in a heap."""
    top = float(np.max(values[np.isfinite(values)]))
    decade = 10.0 ** np.floor(np.log10(top)) if top > 0.0 else 1.0
    levels = np.outer((0.001, 0.01, 0.1, 1.0), (1.0, 2.0, 5.0)).ravel() * decade
    return levels[(levels > _LEAST * top) & (levels < top)].tolist()


def stochastic_paths(record: Any, *, title: str = "", theme: str = "light") -> Figure:
    """Draw stochastic and full gradient descent, with the convex hull of the single minima.

    Args:
      record: with the fields of `jopt.bench.hulls.StochasticPaths`: `minima`, `hull`, `best`, `rate`, `stochastic`, `full`
        and `landscape`.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ImportError: if matplotlib is not installed.

    Reference:
      Liquet, Moka, Nazarathy (2024), Mathematical Engineering of Deep Learning, chapter 4.
    """
    canvas = canvases.begin("stochastic_paths", theme, (7.6, 6.2))
    axes = canvas.axes[0, 0]
    paths.ground(canvas, axes, record.landscape)
    closed = np.concatenate([record.hull, record.hull[:1]])
    axes.fill(*closed.T, facecolor=canvas.theme.curves[1], alpha=0.12, zorder=1.5)
    axes.plot(*closed.T, color=canvas.theme.curves[1], linewidth=1.2, label="convex hull of the minima", zorder=2)
    axes.plot(
        *np.transpose(record.minima), linestyle="none", marker="P", markersize=_BIG + 2, color=canvas.theme.curves[1],
        markeredgecolor=canvas.theme.background, label="minima of the single terms", zorder=4,
    )  # fmt: skip
    for index, (name, path) in {0: ("SGD", record.stochastic), 3: ("GD", record.full)}.items():
        looks = canvas.look(index) | {"linestyle": "-", "markersize": 2.5, "linewidth": 1.0}
        axes.plot(*np.transpose(path), label=f"{name}, rate {record.rate:g}", zorder=3, **looks)
    paths.star(canvas, axes, np.reshape(record.best, (1, 2)))
    axes.set(xlabel="x1", ylabel="x2")
    canvas.figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return canvases.finish(canvas, title)


def newton_models(record: Any, *, title: str = "", theme: str = "light") -> Figure:
    """Draw the parabolas of Newton's method in one variable: each fits f at a point, and its vertex is the next.

    Args:
      record: with the fields of `jopt.bench.studies.NewtonModels`: `points`, `values`, `slopes`, `curvatures`, `grid` and
        `curve`.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ImportError: if matplotlib is not installed.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 3.3, doi:10.1007/978-0-387-40065-5.
    """
    canvas = canvases.begin("newton_models", theme, _WIDE)
    axes = canvas.axes[0, 0]
    axes.plot(record.grid, record.curve, color=canvas.theme.text, linewidth=2.2, label="f", zorder=2)
    last = len(record.points) - 1
    for index in range(last):
        t, value = float(record.points[index]), float(record.values[index])
        slope, curvature = float(record.slopes[index]), float(record.curvatures[index])
        shift = np.asarray(record.grid) - t
        model = value + slope * shift + curvature / 2.0 * shift**2
        looks = canvas.look(index + (index >= 3))  # black is f
        at = [int(np.argmin(np.abs(shift)))]  # where it touches f
        axes.plot(record.grid, model, zorder=3, label=f"model {index}, at t = {t:.4g}", markevery=at, **looks)
        vertex = value - slope**2 / (2.0 * curvature) if curvature else np.nan
        following = float(record.points[index + 1])
        axes.plot(
            [following, following], [vertex, float(record.values[index + 1])], color=looks["color"], linewidth=0.9,
            linestyle=":", label="_step",
        )  # fmt: skip
    end = canvas.look(3, filled=False) | {"linestyle": "none", "color": canvas.theme.text, "marker": "o"}
    axes.plot(record.points[last:], record.values[last:], zorder=5, label=f"t = {record.points[last]:.6g}", **end)
    low, high = np.nanmin(record.curve), np.nanmax(record.curve)
    axes.set_ylim(low - 2 * _MARGIN * (high - low), high + _MARGIN * (high - low))
    axes.set_xlim(record.grid[0], record.grid[-1])
    axes.set(xlabel="t", ylabel="f")
    canvases.grid(canvas, axes)
    canvas.figure.legend(loc="outside right upper", frameon=False)
    return canvases.finish(canvas, title)


def schedule(
    schedules: Callable[[Any], Any] | float | Mapping[str, Any] | Sequence[Any],
    steps: int,
    *,
    log: bool = False,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw schedules: the value at each step, from 0.

    Args:
      schedules: a schedule (a function of the number of updates so far that JAX can trace, jopt's or another's) or a number;
        or several: a mapping from names, or a sequence, whose entries are named by how they print.
      steps: number of steps, >= 2; of more than a thousand, about a thousand are evaluated.
      log: whether the axis of values is logarithmic.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are no schedules, or `steps` is out of its range.
      TypeError: if an entry is neither a function nor a number.
      ImportError: if matplotlib is not installed.
    """
    validate.integer("schedule", "steps", steps, low=2)
    named = _named(schedules)
    canvases.some("schedule", "schedules", named, "schedule")
    canvas = canvases.begin("schedule", theme, _WIDE)
    axes = canvas.axes[0, 0]
    counts = np.unique(np.linspace(0, steps - 1, min(steps, _POINTS)).astype(np.int32))
    for index, (name, each) in enumerate(named.items()):
        # Markers at other places on each curve: schedules often run together for a while.
        marks = (0.02 + 0.16 * index / len(named), 0.16)
        axes.plot(counts, _values(name, each, counts), label=name, markevery=marks, zorder=3, **canvas.look(index))
    axes.set(xlabel="step", ylabel="value", yscale="log" if log else "linear")
    axes.set_xlim(0, steps - 1)
    canvases.grid(canvas, axes)
    if len(named) > 1 or next(iter(named)):
        canvas.figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return canvases.finish(canvas, title)


def _named(schedules: Any) -> dict[str, Any]:
    if isinstance(schedules, Mapping):
        return dict(schedules)
    if callable(schedules) or np.ndim(schedules) == 0:
        schedules = [schedules]
    return {getattr(each, "__name__", "") or repr(each): each for each in schedules}


def _values(name: str, each: Any, counts: np.ndarray) -> np.ndarray:
    if not callable(each):
        return np.full(len(counts), validate.number("schedule", name or "schedules", each), np.float64)
    return np.asarray(jax.vmap(lambda count: jnp.asarray(each(count)))(jnp.asarray(counts)), np.float64)

# SPDX-License-Identifier: Apache-2.0
"""How time grows with size, and how near the work comes to the limit of a plain copy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jopt.viz import canvas as canvases
from jopt.viz.canvas import Canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (8.6, 5.0)  # width and height of a picture, inches
_ROOF = 3.6  # height of the roof, inches
_LINE = 0.34  # height of a line below it, inches
_SLOPES = {1.0: "n", 2.0: "n^2"}  # growth of the guides, and how it is written
_PALE = 0.18  # opacity of a band
_ROOM = 1.25  # ground to the right of the fastest, as a factor

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""By name: sizes and seconds, of equal length. A size that repeats has a spread."""


def time_against_size(
    measured: Curves | Sequence[Any], *, unit: str = "", title: str = "", theme: str = "light"
) -> Figure:
    """Draw time against size, one curve for each contender, with guides for growth with n and with n^2.

    Both axes are logarithmic. A curve goes through the medians; its band reaches from the least to the largest of the
    figures for the same size. The guides end at the fastest figure of the largest size.

    Args:
      measured: by name sizes and seconds, such as `jopt.bench.data_profiles.times_of` returns; or records with `contender`,
        `size` and `seconds` (a sequence), such as `jopt.bench.measurements.Row`, of which those without seconds are left
        out.
      unit: of the work that is timed, such as "step"; empty means that of the records, if they have one.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if nothing was timed.
      ImportError: if matplotlib is not installed.
    """
    if not isinstance(measured, Mapping):
        unit = unit or next((row.unit for row in measured if getattr(row, "unit", "")), "")
    curves = _by_size(measured)
    sizes = sorted({size for curve in curves.values() for size in curve})
    canvases.some("time_against_size", "measured", sizes, "positive time")
    canvas = canvases.begin("time_against_size", theme, _SIZE)
    axes = canvas.axes[0, 0]
    axes.set(xscale="log", yscale="log", xlabel="size n", ylabel=f"seconds a {unit}" if unit else "seconds")
    for index, (name, curve) in enumerate(curves.items()):
        where = sorted(curve)
        middle = [statistics.median(curve[size]) for size in where]
        ends = [min(curve[size]) for size in where], [max(curve[size]) for size in where]
        axes.fill_between(where, *ends, color=canvas.look(index)["color"], alpha=_PALE, linewidth=0, zorder=2)
        axes.plot(where, middle, label=name, zorder=3, **canvas.look(index))
    _guides(
        canvas, axes, sizes, min(seconds for curve in curves.values() for seconds in curve.get(sizes[-1], [math.inf]))
    )
    canvases.grid(canvas, axes)
    canvas.figure.legend(loc="outside right center", frameon=False)
    return canvases.finish(canvas, title)


def roofline(
    rows: Sequence[Any],
    copy_rate: float | None = None,
    flop_rate: float | None = None,
    *,
    title: str = "",
    theme: str = "light",
) -> Figure:
    """Draw how fast each contender computes and moves the bytes it must, against what the device can.

    Above, for rows whose operations are known: operations a second against intensity, operations a byte that must move.
    The roof rises with the rate of a plain copy and is level at that of a product of matrices; work under its slope is
    limited by memory. Below, a line for each contender: least_bytes over the median of the seconds, a whisker from the
    slowest to the fastest round, the rate of a plain copy, and the share of it that the median reaches. Beyond the roof
    lie figures for data that stay in the cache.

    Args:
      rows: records with `contender`, `case`, `seconds` (a sequence), `least_bytes` and perhaps `flops`, such as
        `jopt.bench.measurements.Row`; those without seconds or bytes are left out, those without flops above.
      copy_rate: bytes a second read and written by a plain copy, measured in the same run, > 0; None leaves out the roof.
      flop_rate: operations a second of a product of matrices, likewise; None leaves out the level part.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if no row has seconds and bytes.
      ImportError: if matplotlib is not installed.

    Reference:
      Williams, Waterman, Patterson (2009), Roofline: an insightful visual performance model for multicore architectures,
      doi:10.1145/1498765.1498785.
    """
    kept = [row for row in rows if row.least_bytes > 0 and len(row.seconds)]
    canvases.some("roofline", "rows", kept, "row with bytes and seconds")
    counted = [row for row in kept if getattr(row, "flops", 0) > 0]
    heights = [_ROOF] * bool(counted) + [1.6 + _LINE * len({row.contender for row in kept})]
    size = (_SIZE[0], 0.3 + sum(heights))
    canvas = canvases.begin("roofline", theme, size, len(heights), gridspec_kw={"height_ratios": heights})
    cases = {
        case: canvas.look(i) | {"linestyle": "none"} for i, case in enumerate(dict.fromkeys(row.case for row in kept))
    }
    if counted:
        _intensities(canvas, canvas.axes[0, 0], counted, cases, copy_rate, flop_rate)
    _shares(canvas, canvas.axes[-1, 0], kept, cases, copy_rate)
    canvas.figure.legend(
        *canvas.axes[-1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
    )
    return canvases.finish(canvas, title)


def _intensities(
    canvas: Canvas,
    axes: Axes,
    rows: Sequence[Any],
    cases: Mapping[str, Any],
    copy_rate: float | None,
    flop_rate: float | None,
) -> None:
    """Draw operations a second against operations a byte, and the roof."""
    named: dict[float, dict[str, None]] = {}  # what has which intensity, in order
    for case, look in cases.items():
        own = [row for row in rows if row.case == case]
        where = [row.flops / row.least_bytes for row in own]
        rates = [sorted(row.flops / seconds / 1e9 for seconds in row.seconds) for row in own]
        axes.vlines(where, [r[0] for r in rates], [r[-1] for r in rates], color=look["color"], zorder=2)
        axes.plot(where, [statistics.median(r) for r in rates], zorder=3, **look)
        for x, row in zip(where, own, strict=True):
            named.setdefault(round(x, 6), {})[row.contender.split()[-1]] = None
    axes.set(xscale="log", yscale="log", xlabel="operations a byte that must move", ylabel="operations, G/s")
    left, right = min(named) / 2, max(named) * 4
    if copy_rate is not None:
        ridge = math.inf if flop_rate is None else flop_rate / copy_rate
        ends = [left, right] if flop_rate is None else sorted([left, ridge, max(right, 2 * ridge)])
        roof = [min(x, ridge) * copy_rate / 1e9 for x in ends]
        axes.plot(ends, roof, color=canvas.theme.text, linewidth=1.4, label="_roof", zorder=1)
    axes.set_ylim(axes.get_ylim()[0] / 4, axes.get_ylim()[1])
    look = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 8, "color": canvas.theme.text}
    for x, names in named.items():
        axes.annotate(f" {', '.join(names)}", (x, 0.0), xycoords=("data", "axes fraction"), **look)
    canvases.grid(canvas, axes)


def _shares(canvas: Canvas, axes: Axes, rows: Sequence[Any], cases: Mapping[str, Any], copy_rate: float | None) -> None:
    """Draw the bytes a second of each contender on a line of its own, and the rate of a copy."""
    names = list(dict.fromkeys(row.contender for row in rows))
    for index, (case, look) in enumerate(cases.items()):
        own = [row for row in rows if row.case == case]
        # Cases of one contender lie side by side within its line.
        heights = [names.index(row.contender) + 0.6 * ((index + 0.5) / len(cases) - 0.5) for row in own]
        rates = [_rates(row) for row in own]
        axes.hlines(heights, [min(r) for r in rates], [max(r) for r in rates], color=look["color"], zorder=2)
        middle = [statistics.median(r) for r in rates]
        axes.plot(middle, heights, label=case, zorder=3, **look)
        for rate, height, all_rates in zip(middle, heights, rates, strict=True):
            if copy_rate is None:
                break
            share = f"   {1e9 * rate / copy_rate:.2f}"
            axes.text(max(all_rates), height, share, color=canvas.theme.text, ha="left", va="center", fontsize=8)
    fastest = max(max(_rates(row)) for row in rows)
    axes.set_xlim(0.0, _ROOM * max(fastest, (copy_rate or 0.0) / 1e9))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("least bytes that must move, GB/s")
    canvases.grid(canvas, axes)
    if copy_rate is not None:
        axes.axvline(
            copy_rate / 1e9, color=canvas.theme.text, linewidth=1.4, label=f"plain copy, {copy_rate / 1e9:.3g} GB/s"
        )


def _rates(row: Any) -> list[float]:
    return [row.least_bytes / seconds / 1e9 for seconds in row.seconds]


def _by_size(measured: Curves | Sequence[Any]) -> dict[str, dict[float, list[float]]]:
    """Return the positive times by contender and size."""
    if isinstance(measured, Mapping):
        pairs = [(name, size, t) for name, (sizes, s) in measured.items() for size, t in zip(sizes, s, strict=True)]
    else:
        pairs = [(row.contender, row.size, seconds) for row in measured for seconds in row.seconds]
    curves: dict[str, dict[float, list[float]]] = {}
    for name, size, seconds in pairs:
        if size > 0 and 0 < seconds < math.inf:
            curves.setdefault(name, {}).setdefault(size, []).append(seconds)
    return curves


def _guides(canvas: Canvas, axes: Axes, sizes: Sequence[float], least: float) -> None:
    """Draw what grows with n and with n^2 up to the least time of the largest size, as far down as the times go."""
    if len(sizes) < 2:
        return
    bottom, top = axes.get_ylim()
    for slope, name in _SLOPES.items():
        start = max(sizes[0], sizes[-1] * (bottom / least) ** (1.0 / slope))
        height = least * (start / sizes[-1]) ** slope
        ends = [start, sizes[-1]], [height, least]
        axes.plot(*ends, color=canvas.theme.contour, linewidth=1.0, zorder=1, label=f"_{name}")
        axes.text(start, height, f" ~ {name}", color=canvas.theme.text, va="bottom", fontsize=8)
    axes.set_ylim(bottom, top)

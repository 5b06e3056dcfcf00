# SPDX-License-Identifier: Apache-2.0
"""Pictures of jopt's records. The one room that imports matplotlib, and only when a picture is asked for.

Figures are plain `matplotlib.figure.Figure` objects: they belong to no window, and `figure.savefig(path)` writes them.
Colours, line styles and markers all differ from curve to curve, so that none of the three is needed to read a picture.

Reference: Okabe, Ito (2008), Color Universal Design, https://jfly.uni-koeln.de/color (the palette).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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

_BARS = (4.0, 0.4)  # width of a panel of bars and height of a bar, inches
_EDGE = 0.02  # where the dash of a missing bar stands, from the left edge of the panel
_ROOM = 4.0  # factor to the right of the longest bar, for its label
_CELL = 0.8  # side of a cell of a heat map, inches
_ABREAST = 4  # names in a row of a legend below three panels: so many of the longest fit
_PALE = 1.6  # colours reach so much further than the values: dark text stays readable on them

_MARGIN = 3.0  # factor between the extreme errors of a sweep and the ends of the axis

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


def step_sweep(sweep: Any, *, title: str = "") -> Figure:
    """Draw the V-shaped curves of a step sweep: errors of differences against the step, and what theory predicts.

    Round-off falls to the left of the lowest point, truncation rises to its right. Errors of zero cannot be drawn on a
    logarithmic axis and are left out.

    Args:
      sweep: a record with the fields of `jopt.autodiff.StepSweep`.
      title: a line above the picture.

    Raises:
      ValueError: if no error is positive and finite.
      ImportError: if matplotlib is not installed.
    """
    drawn = [e for errors in (sweep.centred, sweep.forward) for e in errors if 0 < e < math.inf]
    if not drawn:
        msg = "step_sweep: sweep must hold at least one error that is positive and finite, got none."
        raise ValueError(msg)
    figure_type, _ = _matplotlib("step_sweep")
    figure = figure_type(figsize=_PROFILE, layout="constrained")
    axes = figure.subplots()
    predictions = ((sweep.third, 2, 6.0, 1.0), (sweep.second, 1, 2.0, 2.0))  # derivative, order, its divisor, roundings
    for index, name in enumerate(("centred", "forward")):
        colour = _COLOURS[index]
        errors = _positive(getattr(sweep, name))
        axes.plot(
            sweep.steps, errors, label=f"{name} difference", linestyle="none", marker=_MARKERS[index], color=colour
        )
        derivative, order, divisor, roundings = predictions[index]
        bounds = [
            roundings * sweep.eps * abs(sweep.value) / h + abs(derivative) * h**order / divisor for h in sweep.steps
        ]
        axes.plot(sweep.steps, bounds, label=f"{name}: round-off + truncation", linestyle=_LINES[index], color=colour)
        step, bound = getattr(sweep, f"{name}_step"), getattr(sweep, f"{name}_bound")
        if 0 < step < math.inf and 0 < bound < math.inf:
            axes.plot([step], [bound], label=f"{name}: predicted best step {step:.1g}", **_look(index, filled=False))
    axes.set(xscale="log", yscale="log", xlabel="step h", ylabel="error of the derivative")
    axes.set_ylim(min(drawn) / _MARGIN, max(drawn) * _MARGIN)
    _grid(axes)
    figure.suptitle(title)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def cost_bars(costs: Any, *, title: str = "") -> Figure:
    """Draw a table of costs as bars, one panel for operations, one for peak memory and one for run time.

    Operations and run time are in multiples of the first row, the function itself; figures that are not known have no bar. The axes are logarithmic: bars begin at the power
    of ten below the shortest.

    Args:
      costs: a record with the fields of `jopt.autodiff.CostTable`.
      title: a line above the picture; empty means that of the table.

    Raises:
      ValueError: if there are no rows.
      ImportError: if matplotlib is not installed.
    """
    if not costs.rows:
        msg = "cost_bars: costs must hold at least one row, got none."
        raise ValueError(msg)
    figure_type, _ = _matplotlib("cost_bars")
    from matplotlib import ticker

    figure = figure_type(figsize=(3 * _BARS[0], 1.5 + _BARS[1] * len(costs.rows)), layout="constrained")
    names, first = [row.name for row in costs.rows], costs.rows[0]
    panels = (
        ("operations, x function", [row.multiple for row in costs.rows]),
        ("peak memory, bytes", [row.peak_bytes for row in costs.rows]),
        ("run time, x function", [_over(row.run_s, first.run_s) for row in costs.rows]),
    )
    for axes, (label, values) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        lengths = _positive(values)
        bars = axes.barh(names, lengths, color=_COLOURS[1])
        axes.bar_label(bars, labels=["" if value is None else f"{value:.3g}" for value in values], padding=3)
        for i, value in enumerate(values):
            if value is None:
                axes.text(_EDGE, i, "-", va="center", transform=axes.get_yaxis_transform())
        axes.set_xlabel(label)
        drawn = [length for length in lengths if length > 0]
        if drawn:
            axes.set_xscale("log")
            axes.set_xlim(10.0 ** (math.ceil(math.log10(min(drawn))) - 1), _ROOM * max(drawn))
            axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylim(len(names) - 0.5, -0.5)  # rows without a bar too, the first on top
    figure.suptitle(title or f"{costs.title}; {costs.device}, jax {costs.version}")
    return figure


def checkpoint_costs(costs: Any, *, title: str = "") -> Figure:
    """Draw peak memory, operations and run time over the number of layers, one curve for each way to keep values.

    Args:
      costs: a record with the fields of `jopt.autodiff.CheckpointCosts`.
      title: a line above the picture.

    Raises:
      ValueError: if there are no depths.
      ImportError: if matplotlib is not installed.
    """
    if not costs.depths:
        msg = "checkpoint_costs: costs must hold at least one depth, got none."
        raise ValueError(msg)
    return _cost_curves("checkpoint_costs", costs.depths, costs.tables, "layers", title)


def hvp_costs(costs: Any, *, title: str = "") -> Figure:
    """Draw peak memory, operations and run time of products with the Hessian over the number of inputs, a curve a mode.

    Args:
      costs: a record with the fields of `jopt.autodiff.HvpCosts`.
      title: a line above the picture.

    Raises:
      ValueError: if there are no sizes.
      ImportError: if matplotlib is not installed.
    """
    if not costs.sizes:
        msg = "hvp_costs: costs must hold at least one size, got none."
        raise ValueError(msg)
    return _cost_curves("hvp_costs", costs.sizes, costs.tables, "inputs", title)


def _cost_curves(function: str, numbers: Sequence[int], tables: Sequence[Any], label_x: str, title: str) -> Figure:
    """Draw the rows of tables over a number that each stands for."""
    figure_type, lines = _matplotlib(function)
    from matplotlib import ticker

    figure = figure_type(figsize=(3 * _PANEL[1], _PANEL[1] + 1.0), layout="constrained")
    names = [row.name for row in tables[0].rows]
    panels = (("peak_bytes", "peak memory, bytes"), ("operations", "operations"), ("run_s", "run time, s"))
    for axes, (field, label) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for index, name in enumerate(names):
            found = [getattr(table.row(name), field) for table in tables]
            axes.plot(numbers, _positive(found), label=name, **_look(index, filled=True))
        axes.set(xscale="log", xlabel=label_x, ylabel=label)
        if any(value > 0 for line in axes.get_lines() for value in line.get_ydata()):
            axes.set_yscale("log")
        axes.set_xticks(numbers, map(str, numbers))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        _grid(axes)
    figure.suptitle(title)
    handles = [lines.Line2D([], [], label=name, **_look(i, filled=True)) for i, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), _ABREAST), frameon=False)
    return figure


def size_sweep(sweep: Any, *, title: str = "") -> Figure:
    """Draw where forward overtakes reverse mode: the ratio of their costs over numbers of inputs and outputs.

    Cells where forward mode is cheaper (a ratio below 1) are purple, those where reverse mode is are orange. A cell where one
    mode costs nothing has the colour of the furthest ratio, one where neither costs anything has none.

    Args:
      sweep: a record with the fields of `jopt.autodiff.SizeSweep`.
      title: a line above the picture.

    Raises:
      ImportError: if matplotlib is not installed.
    """
    figure_type, _ = _matplotlib("size_sweep")
    panels = [("operations", sweep.operations_ratio)]
    if any(ratio > 0 for row in sweep.time_ratio for ratio in row):  # not so where nothing was timed
        panels.append(("run time", sweep.time_ratio))
    width, height = (_CELL * len(sizes) + 2.0 for sizes in (sweep.sizes_in, sweep.sizes_out))
    figure = figure_type(figsize=(len(panels) * width, height), layout="constrained")
    for axes, (what, ratios) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        finite = [ratio for row in ratios for ratio in row if 0 < ratio < math.inf]
        reach = max([abs(math.log10(ratio)) for ratio in finite] or [1.0]) or 1.0
        low, high = 10.0**-reach, 10.0**reach
        logarithms = [
            [math.log10(min(max(ratio, low), high)) if ratio >= 0 else ratio for ratio in row] for row in ratios
        ]
        axes.imshow(logarithms, cmap="PuOr_r", vmin=-reach * _PALE, vmax=reach * _PALE, origin="lower", aspect="auto")
        for i, row in enumerate(ratios):
            for j, ratio in enumerate(row):
                axes.text(j, i, f"{ratio:.2g}" if math.isfinite(ratio) else "-", ha="center", va="center")
        axes.set_xticks(range(len(sweep.sizes_in)), map(str, sweep.sizes_in))
        axes.set_yticks(range(len(sweep.sizes_out)), map(str, sweep.sizes_out))
        axes.set(xlabel="inputs", ylabel="outputs", title=f"{what}, forward / reverse")
    figure.suptitle(title)
    return figure


def _positive(values: Iterable[float | None]) -> list[float]:
    """Return values for a logarithmic axis: NaN, which is not drawn, for what is not known, positive and finite."""
    return [value if value is not None and 0 < value < math.inf else math.nan for value in values]


def _grid(axes: Axes) -> None:
    axes.grid(True, which="major", color="0.88", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _over(value: float | None, unit: float | None) -> float | None:
    return value / unit if value is not None and unit else None


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
    axes.tick_params(labelleft=True, labelbottom=True)
    _grid(axes)


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
    _grid(axes)

# SPDX-License-Identifier: Apache-2.0
"""Shares of problems solved: within multiples of the fastest (performance), within a budget (data).

References: Dolan and Moré (2002), Benchmarking optimization software with performance profiles,
doi:10.1007/s101070100263; Moré and Wild (2009), Benchmarking derivative-free optimization algorithms,
doi:10.1137/080724083.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jopt.viz import canvas as canvases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (9.0, 5.0)  # width and height of the picture, inches
_BEYOND = 1.1  # a profile is drawn so much further than its last step, which would else be at the edge


def performance_profile(profiles: Mapping[str, Any], *, title: str = "", theme: str = "light") -> Figure:
    """Draw performance profiles: the share of problems solved within each multiple of the fastest solver's time.

    At the left end stands how often a solver was the fastest, at the right end how much it solved at all. The axis of
    times is logarithmic, to base 2.

    Args:
      profiles: by solver, records with sequences of equal length `ratios` (increasing from 1) and `shares`, such as
        `jopt.bench.scores.profiles` returns.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are no profiles.
      ImportError: if matplotlib is not installed.

    Reference:
      Dolan and Moré (2002), Benchmarking optimization software with performance profiles, doi:10.1007/s101070100263.
    """
    label = "time over that of the fastest solver on the problem"
    steps = {solver: (profile.ratios, profile.shares) for solver, profile in profiles.items()}
    return _profile("performance_profile", steps, 1.0, label, title, theme)


def data_profile(profiles: Mapping[str, Any], *, title: str = "", theme: str = "light") -> Figure:
    """Draw data profiles: the share of problems solved within each budget of evaluations.

        d(kappa) = share of the problems that are solved within kappa (n + 1) evaluations, n variables each

    Unlike a performance profile it does not change with the solvers that take part. A unit of kappa is what one gradient
    by differences would cost; where a gradient comes with each value, it is n + 1 values with their gradients.

    Args:
      profiles: by solver, records with sequences of equal length `budgets` (kappa > 0, increasing) and `shares`, such as
        `jopt.bench.data_profiles.data_profiles` returns.
      title: a line above the picture.
      theme: "light" or "dark".

    Raises:
      ValueError: if there are no profiles.
      ImportError: if matplotlib is not installed.

    Reference:
      Moré and Wild (2009), Benchmarking derivative-free optimization algorithms, equation (2.4), doi:10.1137/080724083.
    """
    label = "budget kappa: evaluations over n + 1"
    starts = [profile.budgets[0] for profile in profiles.values() if len(profile.budgets)]
    start = min(starts, default=1.0) / _BEYOND
    steps = {  # a profile is 0 before its first budget
        solver: ((start, *profile.budgets), (0.0, *profile.shares)) for solver, profile in profiles.items()
    }
    return _profile("data_profile", steps, start, label, title, theme)


def _profile(
    function: str, steps: Mapping[str, tuple[Any, Any]], start: float, label: str, title: str, theme: str
) -> Figure:
    """Draw step functions of shares, each from its first step on."""
    canvases.some(function, "profiles", steps, "solver")
    canvas = canvases.begin(function, theme, _SIZE)
    axes = canvas.axes[0, 0]
    end = _BEYOND * max(where[-1] for where, _ in steps.values())
    for index, (solver, (where, shares)) in enumerate(steps.items()):
        axes.plot(
            [*where, end],
            [*shares, shares[-1]],
            label=f"{solver} ({shares[-1]:.0%})",
            drawstyle="steps-post",
            markevery=[len(where)],
            clip_on=False,
            zorder=3,
            **canvas.look(index),
        )
    _dress(axes, start, end)
    axes.set(xlabel=label, ylabel="problems solved within that")
    canvases.grid(canvas, axes)
    canvas.figure.legend(loc="outside right center", frameon=False, title="solver (share solved)")
    return canvases.finish(canvas, title)


def _dress(axes: Any, start: float, end: float) -> None:
    from matplotlib import ticker

    axes.set_xscale("log", base=2)
    axes.set_xlim(start, end)
    axes.set_ylim(0.0, 1.0)
    canvases.plain_ticks(axes.xaxis)
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))

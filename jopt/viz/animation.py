# SPDX-License-Identifier: Apache-2.0
"""Paths over a plane as a moving picture: a GIF, or an MP4 where ffmpeg is installed.

The frames go through evaluations of value and gradient in about equal ratios, 1, 2, 3, ..., 700, 1000: methods that are done
after twenty are seen at work, and so are those that need a thousand.
"""

from __future__ import annotations

import itertools
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jopt import validate
from jopt.viz import canvas as canvases
from jopt.viz import paths
from jopt.viz.themes import Theme

SUFFIXES = (".gif", ".mp4")
"""Kinds of files that can be written."""

DPI = 80
"""Dots an inch: a GIF holds every one of them in every frame."""

_HOLD = 1.5  # seconds for which the last frame stays


def animate_trajectories(
    race: Any,
    path: str | PathLike[str],
    *,
    title: str | None = None,
    theme: str = "light",
    frames: int = 90,
    fps: int = 15,
) -> Path:
    """Write a moving picture of methods on a problem in the plane.

    Args:
      race: as in `trajectories`; its runs have `evaluations` too, those spent until each point.
      path: where to write; the name ends with .gif or .mp4.
      title: a line above the picture; None means the problem.
      theme: "light" or "dark".
      frames: at most, >= 2; no more than there are different numbers of evaluations.
      fps: frames a second, >= 1.

    Returns:
      The path.

    Raises:
      ValueError: if there are no runs, the name ends otherwise, or a number is out of its range.
      TypeError: if a number is none.
      RuntimeError: for .mp4 if ffmpeg is not installed.
      ImportError: if matplotlib is not installed.
    """
    name = "animate_trajectories"
    validate.integer(name, "frames", frames, low=2)
    validate.integer(name, "fps", fps, low=1)
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        msg = f"{name}: path must end with one of {', '.join(SUFFIXES)}, got {str(path)!r}."
        raise ValueError(msg)
    canvas, panels = paths.planar_panels(name, race, theme)
    writer = _writer(name, target, canvas.theme, fps)
    drawn = _empty_paths(canvas, panels, race)
    paths.legend(canvas, paths.methods_of(race))
    figure = canvases.finish(canvas, " ")
    heading = race.problem if title is None else title
    counts = frame_counts(race.runs, frames)
    _freeze(figure, [line for _, _, *moving in drawn for line in moving])
    with writer.saving(figure, str(target), DPI):
        for count in counts:
            figure.suptitle(_told(heading, count))
            for moving in drawn:
                _advance(*moving, count)
            writer.grab_frame()
        for _ in range(round(_HOLD * fps)):
            writer.grab_frame()
    return target


def frame_counts(runs: Any, frames: int) -> list[int]:
    """Return the numbers of evaluations at which the frames stand, increasing from 1 in about equal ratios.

    Args:
      runs: records with `evaluations`.
      frames: at most, >= 2.
    """
    most = max(int(run.evaluations[-1]) for run in runs)
    if most <= frames:
        return list(range(1, most + 1))
    # Whole numbers repeat at the low end of equal ratios: take more of them until enough differ.
    counts = next(found for n in itertools.count(frames) if len(found := _ratios(most, n)) >= frames)
    return [counts[i] for i in np.linspace(0, len(counts) - 1, frames).astype(int)]


def _ratios(most: int, number: int) -> list[int]:
    return np.unique(np.rint(np.geomspace(1, most, number)).astype(int)).tolist()


def _told(heading: str, count: int) -> str:
    unit = "evaluation" if count == 1 else "evaluations"
    return f"{heading}: {count} {unit}" if heading else f"{count} {unit}"


def _empty_paths(canvas: Any, panels: Any, race: Any) -> list[tuple[Any, Any, Any, Any]]:
    """Return each run with its panel, the line of its path and that of its end."""
    methods = paths.methods_of(race)
    drawn = []
    for panel in panels:
        for run in panel.runs:
            index = methods.index(run.method)
            looks = canvas.look(index) | {"marker": ""}
            (line,) = panel.axes.plot([], [], label=run.method, zorder=3, **looks)
            end = paths.draw_end(canvas, panel, np.asarray(run.points)[:1], index, filled=False)
            drawn.append((run, panel, line, end))
    return drawn


def _freeze(figure: Any, moving: list[Any]) -> None:
    """Replace all that does not move by one image of it: a frame is then drawn many times faster, and nothing else moves."""
    from matplotlib.backends import backend_agg

    for line in moving:
        line.set_visible(False)
    figure.set_dpi(DPI)
    agg = backend_agg.FigureCanvasAgg(figure)
    agg.draw()
    figure.set_layout_engine("none")
    still = np.array(agg.buffer_rgba())
    for artist in [*figure.legends, *(artist for axes in figure.axes for artist in axes.get_children())]:
        artist.set_visible(artist in moving)
    for axes in figure.axes:
        axes.set_axis_off()
    figure.figimage(still, zorder=-1)


def _advance(run: Any, panel: Any, line: Any, end: Any, count: int) -> None:
    """Show a run as it stood after so many evaluations; the marker is filled once it has passed its test."""
    spent = np.asarray(run.evaluations)
    reached = np.asarray(run.points)[: max(1, int(np.searchsorted(spent, count, side="right")))]
    line.set_data(*reached.T)
    end.set_data(*np.transpose([paths.end_of(reached, panel)]))
    if run.success and len(reached) == len(run.points):
        end.set_markerfacecolor(end.get_color())


def _writer(function: str, target: Path, theme: Theme, fps: int) -> Any:
    from matplotlib import animation

    if target.suffix.lower() == ".gif":
        from jopt.viz.gif import PaletteWriter

        return PaletteWriter(theme, fps)
    if not animation.FFMpegWriter.isAvailable():
        msg = f"{function}: {target.suffix} needs the program ffmpeg on the path, which is not there; install it, or write a .gif."
        raise RuntimeError(msg)
    return animation.FFMpegWriter(fps=fps)

# SPDX-License-Identifier: Apache-2.0
"""Paths over a plane, still and moving: what is drawn is what the race holds."""

import math
import sys

import numpy as np
import planar
import pytest
from matplotlib.animation import FFMpegWriter
from matplotlib.colors import to_rgba
from PIL import Image

from jopt import viz
from jopt.viz import animation, gif, paths, themes


@pytest.fixture(scope="module")
def figure():
    return viz.trajectories(planar.race())


def curves(axes):
    return [line for line in axes.get_lines() if not line.get_label().startswith("_")]


def ends(axes):
    return [line for line in axes.get_lines() if line.get_label() == "_end"]


def test_there_is_a_panel_for_each_start_and_a_path_for_each_run(figure):
    race = planar.race()
    assert [axes.get_title() for axes in figure.axes] == ["from (2, -2)", "from (-3, 3)"]
    drawn = [(line.get_label(), line.get_xydata()) for axes in figure.axes for line in curves(axes)]
    for (label, points), run in zip(drawn, race.runs, strict=True):
        assert label == run.method
        np.testing.assert_array_equal(points, run.points)
    assert figure.get_suptitle() == "bowl()"
    assert viz.trajectories(race, title="Mine").get_suptitle() == "Mine"


def test_markers_stand_at_the_ends_filled_where_the_test_was_passed(figure):
    for axes, start in zip(figure.axes, planar.STARTS, strict=True):
        failed, passed = ends(axes)
        np.testing.assert_allclose(passed.get_xydata(), [np.array(start) / 64])
        assert to_rgba(failed.get_markerfacecolor()) == to_rgba("white")
        assert to_rgba(passed.get_markerfacecolor()) == to_rgba(passed.get_color())
        (ring,) = [line for line in axes.get_lines() if line.get_label() == "_start"]
        np.testing.assert_array_equal(ring.get_xydata(), [start])
        (star,) = [line for line in axes.get_lines() if line.get_label() == "_minimiser"]
        np.testing.assert_array_equal(star.get_xydata(), [[0.0, 0.0]])


def test_a_path_that_leaves_the_picture_ends_on_its_edge():
    away = planar.run("gd", (1.0, 0.0), steps=4, shrink=1e3, success=False)
    axes = viz.trajectories(planar.race(starts=((1.0, 0.0),), runs=(away,))).axes[0]
    (end,) = ends(axes)
    assert end.get_xdata()[0] == axes.get_xlim()[1] < 5.0
    assert end.get_ydata()[0] == 0.0


def test_the_end_is_where_the_path_leaves_for_the_last_time():
    panel = paths.Panel(None, [], np.zeros(2), np.ones(2))
    path = np.array([[0.5, 0.5], [0.5, 3.0], [0.5, 0.25], [2.5, 1.25], [9.0, 9.0]])
    np.testing.assert_allclose(paths.end_of(path, panel), [1.0, 0.5])
    np.testing.assert_allclose(paths.end_of(path[:2], panel), [0.5, 1.0])
    np.testing.assert_allclose(paths.end_of(path[:3], panel), [0.5, 0.25])
    np.testing.assert_allclose(paths.end_of(np.array([[0.5, 0.5], [0.5, -1e300]]), panel), [0.5, 0.0])


def test_a_minimiser_far_from_the_paths_is_not_in_the_picture():
    far = planar.race(starts=((1.0, 1.0),), minimisers=np.array([[0.0, 0.0], [-4.0, -4.0]]))
    far.runs = (planar.run("gd", (1.0, 1.0)),)
    (axes,) = viz.trajectories(far).axes
    assert -1.0 < axes.get_xlim()[0] < 0.0
    assert 1.0 < axes.get_xlim()[1] < 1.5


def test_equal_scales_keep_right_angles():
    figure = viz.trajectories(planar.race(), equal=True)
    assert {axes.get_aspect() for axes in figure.axes} == {1.0}
    assert viz.trajectories(planar.race()).axes[0].get_aspect() == "auto"


def test_contours_are_of_the_logarithm_above_the_minimum():
    np.testing.assert_allclose(paths.log_heights([[1.0, 11.0], [1.1, 2.0]], 1.0), [[-1.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(paths.log_heights([3.0, 4.0, 13.0]), [0.0, 0.0, 1.0])  # f* is not known
    heights = paths.log_heights([1.0, np.inf, np.nan, 101.0], 1.0)
    assert heights.mask.tolist() == [False, True, True, False]
    assert heights.compressed().tolist() == [2.0, 2.0]
    assert len(viz.trajectories(planar.race()).axes[0].collections) == 2  # filled and lines


def test_a_flat_ground_has_no_contours():
    flat = planar.landscape()
    flat.values = np.ones_like(flat.values)
    assert not viz.trajectories(planar.race(landscape=flat)).axes[0].collections
    flat.values = np.full_like(flat.values, np.nan)
    assert not viz.trajectories(planar.race(landscape=flat, minimum=math.nan)).axes[0].collections


def test_markers_along_a_path_are_evenly_apart():
    low, high = np.zeros(2), np.array([10.0, 1.0])
    panel = paths.Panel(None, [], low, high)
    path = np.column_stack([np.concatenate([np.linspace(0, 1, 50), np.linspace(1, 10, 91)[1:]]), np.zeros(140)])
    np.testing.assert_allclose(path[paths.spaced(path, panel, 9), 0], np.arange(1, 10), atol=0.11)
    assert paths.spaced(path[:1], panel) == []


def test_legend_names_every_method_once_and_fits():
    figure = viz.trajectories(planar.race([f"a method called {i}" for i in range(9)], planar.STARTS[:1]))
    figure.draw_without_rendering()
    legend, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert len(figure.legends[0].get_texts()) == 9
    assert whole.x0 <= legend.x0
    assert legend.x1 <= whole.x1


def test_animation_has_its_frames_and_the_colours_of_the_theme(tmp_path):
    path = viz.animate_trajectories(planar.race(), tmp_path / "race.gif", frames=5, fps=4, theme="dark")
    assert path == tmp_path / "race.gif"
    with Image.open(path) as moving:
        assert moving.n_frames == 5
        assert moving.info["duration"] == 250
        shown = moving.convert("RGB")
        moving.seek(4)
        assert moving.info["duration"] > 1500  # the last stays
        last = moving.convert("RGB")
    colours = {colour for _, colour in last.getcolors(100_000)}
    theme = themes.THEMES["dark"]
    for colour in (theme.background, *theme.curves[:2]):
        wanted = tuple(round(255 * part) for part in to_rgba(colour)[:3])
        assert min(max(abs(a - b) for a, b in zip(wanted, have, strict=True)) for have in colours) <= 8, colour
    assert np.any(np.asarray(shown) != np.asarray(last))


def test_frames_stand_at_increasing_numbers_of_evaluations():
    runs = [planar.run("gd", steps=500), planar.run("adam")]
    counts = animation.frame_counts(runs, 40)
    assert (counts[0], counts[-1], len(counts)) == (1, 1001, 40)
    assert (np.diff(counts) > 0).all()
    assert np.diff(counts)[-1] > 20 * np.diff(counts)[0]
    assert animation.frame_counts([planar.run("adam")], 40) == list(range(1, 14))


def test_a_frame_shows_a_run_as_it_stood():
    run = planar.run("gd")
    panel = paths.Panel(None, [], np.full(2, -9.0), np.full(2, 9.0))
    canvas, (first, _) = paths.planar_panels("test", planar.race(), "light")
    (line,) = first.axes.plot([], [])
    end = paths.draw_end(canvas, first, run.points[:1], 0, filled=False)
    for count, shown in ((1, 1), (2, 1), (3, 2), (12, 6)):
        animation._advance(run, panel, line, end, count)
        np.testing.assert_array_equal(line.get_xydata(), run.points[:shown])
        np.testing.assert_array_equal(end.get_xydata(), run.points[shown - 1 : shown])
        assert end.get_markerfacecolor() != end.get_color()
    animation._advance(run, panel, line, end, 13)
    assert end.get_markerfacecolor() == end.get_color()


def test_palette_holds_every_colour_of_its_theme():
    for theme in themes.THEMES.values():
        palette = {tuple(colour) for colour in gif.palette(theme).tolist()}
        assert len(palette) <= 256
        for colour in (theme.background, theme.text, theme.shade, theme.contour, *theme.curves):
            assert tuple(round(255 * part) for part in to_rgba(colour)[:3]) in palette


def test_an_mp4_without_ffmpeg_is_refused_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda _: False))
    with pytest.raises(RuntimeError, match=r"mp4 needs the program ffmpeg .*install it, or write a \.gif"):
        viz.animate_trajectories(planar.race(), tmp_path / "race.mp4")


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="there is no ffmpeg")
def test_an_mp4_is_written_where_ffmpeg_is(tmp_path):
    assert viz.animate_trajectories(planar.race(), tmp_path / "race.mp4", frames=3).stat().st_size > 1000


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"path": "race.webp"}, r"path must end with one of \.gif, \.mp4, got 'race.webp'"),
        ({"frames": 1}, "frames must be"),
        ({"fps": 0}, "fps must be"),
        ({"theme": "drak"}, "Did you mean 'dark'"),
        ({"race": planar.race(runs=())}, "race must hold at least one run"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, settings, match):
    race = settings.pop("race", planar.race())
    with pytest.raises(ValueError, match=match):
        viz.animate_trajectories(race, **({"path": tmp_path / "race.gif"} | settings))


def test_an_empty_race_is_refused():
    with pytest.raises(ValueError, match="trajectories: race must hold at least one run"):
        viz.trajectories(planar.race(runs=()))


def test_missing_matplotlib_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="trajectories: pictures need matplotlib"):
        viz.trajectories(planar.race())
    with pytest.raises(ImportError, match="animate_trajectories: pictures need matplotlib"):
        viz.animate_trajectories(planar.race(), tmp_path / "race.gif")

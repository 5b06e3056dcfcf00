# SPDX-License-Identifier: Apache-2.0
"""Pictures of studies and of measurements: what is drawn is what the records hold."""

import math
from types import SimpleNamespace

import numpy as np
import planar
import pytest

from jopt import schedules, viz


def curves(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def test_loss_surface_has_a_panel_for_each_loss():
    figure = viz.loss_surface([planar.surface("squared error"), planar.surface("cross entropy")], title="Losses")
    assert [axes.get_title().split(",")[0] for axes in figure.axes] == ["squared error", "cross entropy"]
    assert figure.get_suptitle() == "Losses"
    for axes in figure.axes:
        (star,) = axes.get_lines()
        np.testing.assert_array_equal(star.get_xydata(), [[0.0, 0.0]])
        assert axes.get_xlim() == (-4.0, 4.0)
        values = [text.get_text() for text in axes.texts]
        assert set(values) <= {"0.2", "0.5", "1", "2", "5", "10", "20"}
        assert len(values) >= 5
    assert len(viz.loss_surface(planar.surface()).axes) == 1
    with pytest.raises(ValueError, match="loss_surface: surfaces must hold at least one record"):
        viz.loss_surface([])


def test_stochastic_paths_are_drawn_with_the_hull():
    record = planar.stochastic()
    axes = viz.stochastic_paths(record).axes[0]
    drawn = curves(axes)
    np.testing.assert_array_equal(drawn["SGD, rate 0.1"].get_xydata(), record.stochastic)
    np.testing.assert_array_equal(drawn["GD, rate 0.1"].get_xydata(), record.full)
    np.testing.assert_array_equal(drawn["minima of the single terms"].get_xydata(), record.minima)
    hull = drawn["convex hull of the minima"].get_xydata()
    np.testing.assert_array_equal(hull, [*record.hull, record.hull[0]])


def test_newton_models_touch_f_and_lead_to_the_next_point():
    record = planar.newton()
    axes = viz.newton_models(record, title="Newton").axes[0]
    drawn = curves(axes)
    np.testing.assert_array_equal(drawn["f"].get_ydata(), record.curve)
    model = drawn["model 0, at t = 2"]
    shift = record.grid - 2.0
    np.testing.assert_allclose(model.get_ydata(), 16 + 32 * shift + 24 * shift**2)
    assert record.grid[model.get_markevery()[0]] == pytest.approx(2.0)
    assert len(drawn) == 4  # f, two models, the last point
    np.testing.assert_array_equal(drawn["t = 0.888889"].get_xydata(), [[record.points[2], record.values[2]]])
    steps = [line.get_xydata() for line in axes.get_lines() if line.get_label() == "_step"]
    np.testing.assert_allclose(steps[0], [[4 / 3, 16 - 32**2 / 96], [4 / 3, (4 / 3) ** 4]])


def test_schedule_is_its_values_at_each_step():
    cosine = schedules.cosine_decay_schedule(0.1, 50)
    figure = viz.schedule({"cosine": cosine, "fixed": 0.05, "mine": lambda count: 0.1 / (1.0 + count)}, 50)
    drawn = curves(figure.axes[0])
    np.testing.assert_array_equal(drawn["cosine"].get_xdata(), np.arange(50))
    np.testing.assert_allclose(drawn["cosine"].get_ydata(), [cosine(t) for t in range(50)], rtol=1e-6)
    np.testing.assert_array_equal(drawn["fixed"].get_ydata(), 0.05)
    np.testing.assert_allclose(drawn["mine"].get_ydata(), 0.1 / (1.0 + np.arange(50)), rtol=1e-6)
    assert figure.axes[0].get_yscale() == "linear"
    assert viz.schedule(cosine, 5, log=True).axes[0].get_yscale() == "log"


def test_a_long_schedule_is_drawn_from_its_first_step_to_its_last():
    (line,) = viz.schedule(schedules.linear_schedule(1.0, 0.0, 10**6), 10**6).axes[0].get_lines()
    assert len(line.get_xdata()) == 1000
    assert list(line.get_xdata()[[0, -1]]) == [0, 10**6 - 1]


def test_schedules_without_names_are_named_by_how_they_print():
    drawn = viz.schedule([schedules.constant_schedule(0.5), 0.25], 4).axes[0].get_lines()
    assert [line.get_label() for line in drawn] == ["constant_schedule(value=0.5)", "0.25"]


@pytest.mark.parametrize(
    ("schedule", "steps", "error", "match"),
    [
        ({}, 5, ValueError, "schedules must hold at least one"),
        (0.1, 1, ValueError, "steps must be"),
        ({"a": "b"}, 5, TypeError, "a must be"),
    ],
)
def test_wrong_schedules_are_refused(schedule, steps, error, match):
    with pytest.raises(error, match=match):
        viz.schedule(schedule, steps)


def test_data_profile_is_zero_before_its_first_budget():
    profiles = {
        "a": SimpleNamespace(budgets=(2.0, 8.0), shares=(0.5, 0.75)),
        "b": SimpleNamespace(budgets=(4.0,), shares=(0.25,)),
        "c": SimpleNamespace(budgets=(), shares=()),
    }
    figure = viz.data_profile(profiles, title="A race")
    first, second, none = figure.axes[0].get_lines()
    assert [line.get_label() for line in (first, second, none)] == ["a (75%)", "b (25%)", "c (0%)"]
    start = figure.axes[0].get_xlim()[0]
    np.testing.assert_allclose(first.get_xydata(), [[start, 0], [2, 0.5], [8, 0.75], [8.8, 0.75]])
    np.testing.assert_allclose(second.get_xydata(), [[start, 0], [4, 0.25], [8.8, 0.25]])
    np.testing.assert_allclose(none.get_ydata(), 0.0)
    assert start < 2.0
    assert figure.axes[0].get_xscale() == "log"
    assert first.get_drawstyle() == "steps-post"
    assert figure.get_suptitle() == "A race"
    assert "n + 1" in figure.axes[0].get_xlabel()
    with pytest.raises(ValueError, match="data_profile: profiles must hold at least one solver"):
        viz.data_profile({})


def test_data_profile_takes_what_the_benchmark_makes():
    data_profiles = pytest.importorskip("jopt.bench.data_profiles")
    profiles = data_profiles.data_profiles({"a": [6.0, math.inf], "b": [3.0, 20.0]}, [2, 9])
    first, second = viz.data_profile(profiles).axes[0].get_lines()
    np.testing.assert_allclose(first.get_xydata()[1], [2.0, 0.5])
    np.testing.assert_allclose(second.get_xydata()[1:3], [[1.0, 0.5], [2.0, 1.0]])


ROWS = [
    planar.row("jopt adam", 1000, 2.0, 4.0, 3.0), planar.row("jopt adam", 10, 1.0), planar.row("optax adam", 1000, 6.0),
    planar.row("torch adam", 10),
]  # fmt: skip


def test_time_against_size_goes_through_medians_with_the_spread_as_a_band():
    figure = viz.time_against_size(ROWS)
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_ylabel() == "seconds a step"
    drawn = curves(axes)
    np.testing.assert_array_equal(drawn["jopt adam"].get_xydata(), [[10, 1], [1000, 3]])
    np.testing.assert_array_equal(drawn["optax adam"].get_xydata(), [[1000, 6]])
    assert set(drawn) == {"jopt adam", "optax adam"}
    band = axes.collections[0].get_paths()[0].vertices
    assert {tuple(v) for v in band.tolist()} >= {(10.0, 1.0), (1000.0, 2.0), (1000.0, 4.0)}


def test_guides_grow_with_n_and_with_its_square():
    lines = {line.get_label(): line.get_xydata() for line in viz.time_against_size(ROWS).axes[0].get_lines()}
    for name, slope in (("_n", 1), ("_n^2", 2)):
        start, end = np.log(lines[name])
        np.testing.assert_allclose((end - start)[1] / (end - start)[0], slope)
        np.testing.assert_allclose(lines[name][1], [1000, 2.0])
    alone = viz.time_against_size(ROWS[2:3]).axes[0].get_lines()
    assert [line.get_label() for line in alone] == ["optax adam"]


def test_time_against_size_takes_sizes_and_seconds_by_name():
    figure = viz.time_against_size({"a": ((2, 2, 8), (1.0, 3.0, 5.0)), "b": ((), ())}, unit="solve")
    np.testing.assert_array_equal(curves(figure.axes[0])["a"].get_xydata(), [[2, 2], [8, 5]])
    assert figure.axes[0].get_ylabel() == "seconds a solve"
    with pytest.raises(ValueError, match="measured must hold at least one positive time"):
        viz.time_against_size({"a": ((2,), (math.nan,))})
    with pytest.raises(ValueError, match="measured must hold at least one positive time"):
        viz.time_against_size([planar.row("a", 3)])


BYTES = [
    planar.row("optax adam", 1, 2.0, 4.0, 3.0, least_bytes=6 * 10**9), planar.row("jopt adam", 1, 1.0, least_bytes=4 * 10**9),
    planar.row("jopt adam", 1, 1.0, case="tree", least_bytes=3 * 10**9), planar.row("jopt lbfgs", 1, 1.0), planar.row("a", 1),
]  # fmt: skip


def test_roofline_is_bytes_over_seconds_below_the_copy():
    (axes,) = viz.roofline(BYTES, 5e9).axes
    drawn = curves(axes)
    np.testing.assert_array_equal(drawn["leaf"].get_xdata(), [2.0, 4.0])
    np.testing.assert_array_equal(drawn["tree"].get_xdata(), [3.0])
    np.testing.assert_array_equal(drawn["plain copy, 5 GB/s"].get_xdata(), [5.0, 5.0])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["optax adam", "jopt adam"]
    assert [text.get_text().strip() for text in axes.texts] == ["0.40", "0.80", "0.60"]  # shares of the roof
    whisker = axes.collections[0].get_segments()[0]
    np.testing.assert_array_equal(whisker[:, 0], [1.5, 3.0])
    leaf, tree = drawn["leaf"].get_ydata(), drawn["tree"].get_ydata()
    np.testing.assert_array_equal(np.rint(leaf), [0, 1])
    assert leaf[1] < tree[0]
    assert round(tree[0]) == 1


COUNTED = [
    planar.row("optax adam", 1, 2.0, 4.0, 3.0, least_bytes=6 * 10**9, flops=3 * 10**9),
    planar.row("jopt adam", 1, 1.0, least_bytes=6 * 10**9, flops=3 * 10**9),
    planar.row("jopt sgd", 1, 0.5, case="tree", least_bytes=4 * 10**9, flops=10**9), BYTES[1],
]  # fmt: skip


def test_roofline_is_operations_over_seconds_at_operations_over_bytes_below_the_roof():
    above, below = viz.roofline(COUNTED, 4e9, 16e9).axes
    leaf, tree, roof = above.get_lines()
    np.testing.assert_array_equal(leaf.get_xydata(), [[0.5, 1.0], [0.5, 3.0]])
    np.testing.assert_array_equal(tree.get_xydata(), [[0.25, 2.0]])
    whisker = above.collections[0].get_segments()[0]
    np.testing.assert_array_equal(whisker, [[0.5, 0.75], [0.5, 1.5]])
    # Bytes times the rate of a copy up to 16 / 4 operations a byte, from there on that of a product of matrices.
    np.testing.assert_array_equal(roof.get_xydata(), [[0.125, 0.5], [4.0, 16.0], [8.0, 16.0]])
    assert {text.get_text().strip(): text.xy[0] for text in above.texts} == {"adam": 0.5, "sgd": 0.25}
    assert len(below.get_yticklabels()) == 3
    slope = viz.roofline(COUNTED, 4e9).axes[0].get_lines()[-1]
    np.testing.assert_array_equal(slope.get_xydata(), [[0.125, 0.5], [2.0, 8.0]])
    low = viz.roofline(COUNTED, 4e9, 4e8).axes[0].get_lines()[-1]
    np.testing.assert_allclose(low.get_xydata(), [[0.1, 0.4], [0.125, 0.4], [2.0, 0.4]])
    assert len(viz.roofline(COUNTED).axes[0].get_lines()) == 2


def test_roofline_without_a_measured_copy_has_no_roof():
    (axes,) = viz.roofline(BYTES).axes
    assert set(curves(axes)) == {"leaf", "tree"}
    assert not axes.texts
    with pytest.raises(ValueError, match="roofline: rows must hold at least one row with bytes and seconds"):
        viz.roofline(BYTES[3:])

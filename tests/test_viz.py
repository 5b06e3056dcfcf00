"""Pictures: what is drawn is what the records hold, and it reads without colour."""

import sys

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from races import diverged_run, made_up_race, made_up_run

from jopt import viz


@pytest.fixture(scope="module")
def figure():
    return viz.loss_curves(made_up_race().runs, title="A race")


def test_panels_are_problems_by_evaluations_and_seconds(figure):
    labels = [(axes.get_ylabel(), axes.get_xlabel()) for axes in figure.axes]
    assert labels == [
        ("regression: loss", ""),
        ("", ""),
        ("network: loss", "evaluations of value and gradient"),
        ("", "seconds of run time, in proportion to evaluations"),
    ]
    assert {(axes.get_xscale(), axes.get_yscale()) for axes in figure.axes} == {("log", "log")}
    assert figure.get_suptitle() == "A race"


def test_curves_hold_the_history(figure):
    history = made_up_run().history
    for axes, column in zip(figure.axes, ("evaluations", "seconds") * 2, strict=True):
        assert [line.get_label() for line in axes.get_lines()] == ["adam", "lbfgs"]
        for line in axes.get_lines():
            np.testing.assert_array_equal(line.get_xdata(), getattr(history, column))
            np.testing.assert_array_equal(line.get_ydata(), history.loss)


def test_end_of_a_curve_is_filled_where_the_run_passed_its_test(figure):
    for axes in figure.axes:
        adam, lbfgs = axes.get_lines()
        assert to_rgba(adam.get_markerfacecolor()) == to_rgba("white")
        assert to_rgba(lbfgs.get_markerfacecolor()) == to_rgba(lbfgs.get_color())
        assert adam.get_markevery() == [4]


def test_methods_differ_in_colour_in_line_and_in_marker():
    runs = [made_up_run(method=f"method {i}") for i in range(7)]
    lines = viz.loss_curves(runs).axes[0].get_lines()
    for looks in ("get_color", "get_linestyle", "get_marker"):
        if looks == "get_linestyle":  # dash patterns all read as "--"
            assert len({str(line._unscaled_dash_pattern) for line in lines}) == 7
        else:
            assert len({getattr(line, looks)() for line in lines}) == 7


def test_legend_names_every_method_once_and_outside_the_panels(figure):
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["adam", "lbfgs"]
    assert not any(axes.get_legend() for axes in figure.axes)


def test_a_method_looks_the_same_where_it_ran_alone_on_a_problem():
    runs = [made_up_run("regression", "adam"), made_up_run("regression", "lbfgs"), made_up_run("network", "lbfgs")]
    axes = viz.loss_curves(runs).axes
    assert axes[0].get_lines()[1].get_color() == axes[2].get_lines()[0].get_color()


@pytest.mark.parametrize("others", [(), (made_up_run(),), (made_up_run("network"),)])
def test_a_run_without_a_course_can_be_drawn_and_saved(tmp_path, others):
    viz.loss_curves([diverged_run(), *others]).savefig(tmp_path / "race.png")
    pixels = matplotlib.image.imread(tmp_path / "race.png")
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 900
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20


def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="loss_curves: runs must hold at least one record"):
        viz.loss_curves([])


def test_missing_matplotlib_is_said_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"loss_curves: pictures need matplotlib.*pip install 'jopt\[race\]'"):
        viz.loss_curves([made_up_run()])

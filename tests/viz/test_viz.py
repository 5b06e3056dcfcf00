"""Pictures: what is drawn is what the records hold, and it reads without colour."""

import sys
from types import SimpleNamespace

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


@pytest.fixture(scope="module")
def sweep():
    h = 2.0 ** -np.arange(20.0)
    return SimpleNamespace(
        value=2.0, eps=1e-6, second=1.0, third=3.0, steps=h, centred=np.where(h == h[3], 0.0, h**2), forward=h,
        centred_step=1e-2, centred_bound=3e-4, forward_step=3e-3, forward_bound=np.inf,
    )  # fmt: skip


def test_step_sweep_draws_errors_bounds_and_the_predicted_steps(sweep):
    figure = viz.step_sweep(sweep, title="A sweep")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale(), figure.get_suptitle()) == ("log", "log", "A sweep")
    curves = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    np.testing.assert_array_equal(curves["centred difference"][:, 0], sweep.steps)
    np.testing.assert_array_equal(
        curves["centred difference"][:, 1], np.where(sweep.centred == 0, np.nan, sweep.centred)
    )
    np.testing.assert_array_equal(curves["forward difference"][:, 1], sweep.forward)
    np.testing.assert_allclose(curves["centred: round-off + truncation"][0, 1], 2e-6 + 3 / 6)
    np.testing.assert_allclose(curves["forward: round-off + truncation"][0, 1], 4e-6 + 1 / 2)
    np.testing.assert_array_equal(curves["centred: predicted best step 0.01"], [[1e-2, 3e-4]])
    assert len(curves) == 5  # the forward prediction is not finite


def test_step_sweep_can_be_saved_and_an_empty_one_is_refused(tmp_path, sweep):
    viz.step_sweep(sweep).savefig(tmp_path / "sweep.png")
    assert matplotlib.image.imread(tmp_path / "sweep.png").shape[0] > 300
    nothing = SimpleNamespace(**(vars(sweep) | {"centred": np.zeros(20), "forward": np.full(20, np.inf)}))
    with pytest.raises(ValueError, match="step_sweep: sweep must hold at least one error"):
        viz.step_sweep(nothing)


def cost_row(name, multiple, peak_bytes, run_s):
    operations = None if multiple is None else int(100 * multiple)
    return SimpleNamespace(
        name=name, operations=operations, multiple=multiple, peak_bytes=peak_bytes, run_s=run_s, compile_s=1.0
    )


ROWS = [
    cost_row("function", 1.0, 400, 0.5),
    cost_row("forward", 30.0, 2000, 2.0),
    cost_row("reverse", None, None, None),
]


def cost_table(*rows):
    named = {row.name: row for row in rows}
    return SimpleNamespace(title="Jacobian", device="cpu", version="1.2", rows=rows, row=named.__getitem__)


def test_cost_bars_are_the_figures_of_the_table():
    figure = viz.cost_bars(cost_table(*ROWS))
    assert figure.get_suptitle() == "Jacobian; cpu, jax 1.2"
    assert viz.cost_bars(cost_table(*ROWS), title="Mine").get_suptitle() == "Mine"
    labels = ["operations, x function", "peak memory, bytes", "run time, x function"]
    assert [axes.get_xlabel() for axes in figure.axes] == labels
    widths = [[bar.get_width() for bar in axes.patches] for axes in figure.axes]
    np.testing.assert_array_equal(widths, [[1.0, 30.0, np.nan], [400, 2000, np.nan], [1.0, 4.0, np.nan]])
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text()] == ["1", "30", "-"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["function", "forward", "reverse"]


def test_cost_bars_keep_rows_without_a_figure_within_the_axes():
    figure = viz.cost_bars(cost_table(*ROWS, ROWS[2], ROWS[2]))
    assert figure.axes[0].get_ylim() == (4.5, -0.5)


def test_cost_bars_begin_at_a_power_of_ten_below_the_shortest():
    figure = viz.cost_bars(cost_table(*ROWS, cost_row("linearised", 2.0, 90, 0.02)))
    assert [axes.get_xlim()[0] for axes in figure.axes] == [0.1, 10.0, 0.01]
    for axes, longest in zip(figure.axes, (30.0, 2000.0, 4.0), strict=True):
        assert axes.get_xlim()[1] > longest
    figure.draw_without_rendering()
    assert not any(text.get_text() for axes in figure.axes for text in axes.get_xticklabels(minor=True))


def test_cost_bars_can_be_saved_whatever_is_missing(tmp_path):
    viz.cost_bars(cost_table(ROWS[2])).savefig(tmp_path / "costs.png")
    assert matplotlib.image.imread(tmp_path / "costs.png").shape[1] > 900
    with pytest.raises(ValueError, match="cost_bars: costs must hold at least one row"):
        viz.cost_bars(cost_table())


def test_checkpoint_costs_are_drawn_over_depth(tmp_path):
    rows = [[cost_row("none", 3.0 * d, 100 * d, None), cost_row("every layer", 4.0 * d, 10 * d, 0.1)] for d in (4, 16)]
    costs = SimpleNamespace(depths=(4, 16), tables=[cost_table(*r) for r in rows])
    figure = viz.checkpoint_costs(costs, title="Layers")
    assert [axes.get_ylabel() for axes in figure.axes] == ["peak memory, bytes", "operations", "run time, s"]
    none, every = figure.axes[0].get_lines()
    np.testing.assert_array_equal(none.get_xydata(), [[4, 400], [16, 1600]])
    np.testing.assert_array_equal(every.get_xydata(), [[4, 40], [16, 160]])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["none", "every layer"]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    for axes in figure.axes:
        assert [text.get_text() for text in axes.get_xticklabels()] == ["4", "16"]
        assert len(axes.get_xticks(minor=True)) == 0
    figure.savefig(tmp_path / "layers.png")
    with pytest.raises(ValueError, match="checkpoint_costs: costs must hold at least one depth"):
        viz.checkpoint_costs(SimpleNamespace(depths=(), tables=()))


def test_hvp_costs_are_drawn_over_sizes(tmp_path):
    rows = [[cost_row("gradient", 3.0, 100 * n, 0.1), cost_row("forward-over-forward", n, n, None)] for n in (4, 16)]
    figure = viz.hvp_costs(SimpleNamespace(sizes=(4, 16), tables=[cost_table(*r) for r in rows]), title="Products")
    assert figure.get_suptitle() == "Products"
    assert {axes.get_xlabel() for axes in figure.axes} == {"inputs"}
    _, forward = figure.axes[1].get_lines()
    np.testing.assert_array_equal(forward.get_xydata(), [[4, 400], [16, 1600]])
    figure.savefig(tmp_path / "products.png")
    six = cost_table(*(cost_row(f"{name}-over-reverse", 1.0, 1, 1.0) for name in ["forward"] * 3 + ["reverse"] * 3))
    figure = viz.hvp_costs(SimpleNamespace(sizes=(4,), tables=[six]))
    figure.draw_without_rendering()
    legend, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert legend.x0 >= whole.x0
    assert legend.x1 <= whole.x1
    with pytest.raises(ValueError, match="hvp_costs: costs must hold at least one size"):
        viz.hvp_costs(SimpleNamespace(sizes=(), tables=()))


def test_size_sweep_clips_what_is_free_and_leaves_out_what_is_nothing():
    ratios = np.array([[0.0, 0.1, 10.0, np.inf, np.nan]])
    sweep = SimpleNamespace(
        sizes_in=np.arange(5), sizes_out=np.array([1]), operations_ratio=ratios, time_ratio=np.full((1, 5), np.nan)
    )
    axes = viz.size_sweep(sweep).axes[0]
    (image,) = axes.get_images()
    np.testing.assert_allclose(np.ma.filled(image.get_array(), np.nan), [[-1.0, -1.0, 1.0, 1.0, np.nan]])
    assert image.norm.vmax == 1
    assert [text.get_text() for text in axes.texts] == ["0", "0.1", "10", "-", "-"]
    nothing = sweep.__class__(**(vars(sweep) | {"operations_ratio": np.full((1, 5), np.inf)}))
    assert np.isfinite(viz.size_sweep(nothing).axes[0].get_images()[0].norm.vmax)


@pytest.mark.parametrize("timed", [True, False])
def test_size_sweep_is_a_map_of_ratios_with_one_at_its_middle(tmp_path, timed):
    ratios = np.array([[0.1, 1.0, 100.0], [0.01, 0.5, 2.0]])
    times = ratios**2 if timed else np.full((2, 3), np.nan)
    sweep = SimpleNamespace(
        sizes_in=np.array([1, 2, 4]), sizes_out=np.array([1, 8]), operations_ratio=ratios, time_ratio=times
    )
    figure = viz.size_sweep(sweep, title="Sizes")
    titles = ["operations, forward / reverse", "run time, forward / reverse"]
    assert [axes.get_title() for axes in figure.axes] == titles[: 1 + timed]
    (image,) = figure.axes[0].get_images()
    np.testing.assert_allclose(image.get_array(), np.log10(ratios))
    assert image.norm.vmin == -image.norm.vmax
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.1", "1", "1e+02", "0.01", "0.5", "2"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "2", "4"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["1", "8"]
    figure.savefig(tmp_path / "sizes.png")


@pytest.mark.parametrize("draw", [viz.cost_bars, viz.checkpoint_costs, viz.hvp_costs, viz.size_sweep])
def test_pictures_of_costs_say_what_is_missing(monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    sweep = {"sizes_in": (1,), "sizes_out": (1,), "operations_ratio": ((1.0,),), "time_ratio": ((1.0,),)}
    record = SimpleNamespace(rows=ROWS, depths=(4,), sizes=(4,), tables=(), **sweep)
    with pytest.raises(ImportError, match=rf"{draw.__name__}: pictures need matplotlib"):
        draw(record)

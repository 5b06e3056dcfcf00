# SPDX-License-Identifier: Apache-2.0
"""Every picture is legible in both themes: text and curves stand out from the ground, and not by colour alone."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import planar
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from races import made_up_race

from jopt import viz
from jopt.viz import themes


def luminance(colour):
    """Return WCAG 2.1's relative luminance."""
    parts = np.asarray(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def cost_table():
    row = SimpleNamespace(name="f", operations=3, multiple=1.0, peak_bytes=4, run_s=None, compile_s=1.0)
    return SimpleNamespace(title="Costs", device="cpu", version="1", rows=[row], row=lambda _: row)


PROFILE = SimpleNamespace(ratios=(1.0, 2.0), budgets=(1.0, 2.0), shares=(0.5, 1.0))
STEPS = SimpleNamespace(
    value=2.0, eps=1e-6, second=1.0, third=3.0, steps=[0.1, 0.01], centred=[0.01, 1e-4], forward=[0.1, 0.01],
    centred_step=1e-2, centred_bound=3e-4, forward_step=3e-3, forward_bound=math.inf,
)  # fmt: skip
SIZES = SimpleNamespace(sizes_in=(1, 2), sizes_out=(1,), operations_ratio=[[0.01, 100.0]], time_ratio=[[math.nan, 1.0]])
PICTURES = {
    "loss_curves": lambda **look: viz.loss_curves(made_up_race().runs, **look),
    "performance_profile": lambda **look: viz.performance_profile({"a": PROFILE}, **look),
    "data_profile": lambda **look: viz.data_profile({"a": PROFILE}, **look),
    "step_sweep": lambda **look: viz.step_sweep(STEPS, **look),
    "size_sweep": lambda **look: viz.size_sweep(SIZES, **look),
    "cost_bars": lambda **look: viz.cost_bars(cost_table(), **look),
    "checkpoint_costs": lambda **look: viz.checkpoint_costs(
        SimpleNamespace(depths=(2,), tables=[cost_table()]), **look
    ),
    "hvp_costs": lambda **look: viz.hvp_costs(SimpleNamespace(sizes=(2,), tables=[cost_table()]), **look),
    "trajectories": lambda **look: viz.trajectories(planar.race(), **look),
    "loss_surface": lambda **look: viz.loss_surface(planar.surface(), **look),
    "stochastic_paths": lambda **look: viz.stochastic_paths(planar.stochastic(), **look),
    "newton_models": lambda **look: viz.newton_models(planar.newton(), **look),
    "schedule": lambda **look: viz.schedule({"a": 0.1, "b": 0.2}, 10, **look),
    "time_against_size": lambda **look: viz.time_against_size([planar.row("a", n, 1.0 * n) for n in (1, 9)], **look),
    "roofline": lambda **look: viz.roofline([planar.row("a", 1, 1.0, least_bytes=10**9)], 2e9, **look),
}


@pytest.mark.parametrize("name", themes.THEMES)
def test_curves_stand_out_from_the_ground_and_from_the_shade_of_contours(name):
    theme = themes.THEMES[name]
    for colour in theme.curves:
        assert contrast(colour, theme.background) >= 3.0, colour
        assert contrast(colour, theme.shade) >= 3.0, colour
    assert len(set(theme.curves)) == len(theme.curves) == 9


@pytest.mark.parametrize("name", themes.THEMES)
def test_text_stands_out_wherever_it_stands(name):
    theme = themes.THEMES[name]
    for ground in (theme.background, theme.shade, theme.above, theme.below):
        assert contrast(theme.text, ground) >= 4.5, ground


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.005)


def test_every_picture_of_the_room_is_looked_at():
    assert set(PICTURES) | {"animate_trajectories"} == set(viz.__all__)


@pytest.mark.parametrize(("picture", "name"), list(itertools.product(PICTURES, themes.THEMES)))
def test_every_text_of_a_picture_is_in_the_theme(picture, name):
    theme = themes.THEMES[name]
    figure = PICTURES[picture](theme=name, title="A title")
    figure.draw_without_rendering()  # makes the ticks
    assert to_rgb(figure.get_facecolor()) == to_rgb(theme.background)
    for axes in figure.axes:
        assert to_rgb(axes.get_facecolor()) == to_rgb(theme.background)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    assert any(text.get_text() == "A title" for text in texts)
    for text in texts:
        assert to_rgb(text.get_color()) == to_rgb(theme.text), text.get_text()


@pytest.mark.parametrize("picture", PICTURES)
def test_light_is_the_default_and_an_unknown_theme_is_refused(picture):
    assert to_rgb(PICTURES[picture]().get_facecolor()) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=rf"{picture}: theme must be one of 'dark', 'light', got 'drak'. Did you mean"):
        PICTURES[picture](theme="drak")


@pytest.mark.parametrize("name", themes.THEMES)
def test_looks_differ_in_each_of_three_ways_and_together_for_long(name):
    looks = [themes.look(themes.THEMES[name], i) for i in range(81)]
    for part in ("color", "linestyle", "marker"):
        assert len({str(look[part]) for look in looks[:9]}) == 9
    assert len({(look["color"], str(look["linestyle"]), look["marker"]) for look in looks}) == 81
    hollow = themes.look(themes.THEMES[name], 0, filled=False)
    assert hollow["markerfacecolor"] == themes.THEMES[name].background

# SPDX-License-Identifier: Apache-2.0
"""Small studies: each record is its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from jopt import problems
from jopt.bench import studies

ROSENBROCK = problems.rosenbrock()
START = (0.2, 0.2)


@pytest.fixture(scope="module")
def slope():
    return jax.jit(jax.grad(ROSENBROCK.fun))


def test_learning_rates_are_fixed_or_decay(slope):
    race = studies.learning_rates(steps=12)
    assert [run.method for run in race.runs] == ["0.005", "0.0025", "0.005 x 0.99^t", "0.0025 x 0.99^t"]
    for run, rate, decay in zip(race.runs, (0.005, 0.0025) * 2, (1.0, 1.0, 0.99, 0.99), strict=True):
        x = np.array(START)
        assert len(run.points) == 13
        for t, point in enumerate(run.points):
            np.testing.assert_allclose(point, x, rtol=1e-7)
            x = x - rate * decay**t * np.asarray(slope(x))


def test_momentum_weights_make_up_for_the_smoothing(slope):
    race = studies.momentum_weights(steps=12)
    assert [run.method for run in race.runs] == ["b = 0", "b = 0.5", "b = 0.9"]
    for run, b in zip(race.runs, (0.0, 0.5, 0.9), strict=True):
        x, v = np.array(START), np.zeros(2)
        for point in run.points:
            np.testing.assert_allclose(point, x, rtol=1e-9)
            v = b * v + (1 - b) * np.asarray(slope(x))
            x = x - 0.001 / (1 - b) * v


def test_the_newest_gradient_counts_the_rate(slope):
    (run,) = studies.momentum_weights((0.3,), rate=0.004, steps=1).runs
    np.testing.assert_allclose(run.points[1] - run.points[0], -0.004 * slope(np.array(START)), rtol=1e-9)


def test_exact_line_search_turns_at_right_angles():
    race = studies.zig_zag(steps=15)
    assert (race.problem, race.runs[0].status) == ("rosenbrock(n=2)", "MAX_ITERATIONS")
    (run,) = race.runs
    assert run.start == (-0.4, -0.2)
    assert len(run.points) == 16
    grads = np.array(jax.vmap(jax.grad(ROSENBROCK.fun))(run.points))
    grads /= np.linalg.norm(grads, axis=1, keepdims=True)
    assert np.abs(np.sum(grads[1:] * grads[:-1], axis=1)).max() < 1e-6
    steps = np.diff(run.points, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    np.testing.assert_allclose(np.sum(steps * grads[:-1], axis=1), -1.0, rtol=1e-6)
    assert (np.diff(run.values) < 0).all()


@pytest.mark.parametrize("loss", studies.LOSSES)
def test_loss_surface_is_the_mean_loss_of_the_network(loss):
    surface = studies.loss_surface(loss, reach=4.0, samples=5, cells=9)
    x = np.linspace(-studies.SPAN, studies.SPAN, 5)

    def mean(w1, w2):
        y = expit(studies.TRUTH[1] * expit(studies.TRUTH[0] * x))
        f = expit(w2 * expit(w1 * x))
        return np.mean((f - y) ** 2 if loss == "squared error" else -y * np.log(f) - (1 - y) * np.log1p(-f))

    ground = surface.landscape
    np.testing.assert_array_equal(ground.x, np.linspace(-4, 4, 9))
    expected = [[mean(w1, w2) - mean(*studies.TRUTH) for w1 in ground.x] for w2 in ground.y]
    np.testing.assert_allclose(ground.values, expected, atol=1e-12)
    assert surface.loss == loss
    i, j = np.unravel_index(np.argmin(ground.values), ground.values.shape)
    np.testing.assert_array_equal(surface.best, [ground.x[j], ground.y[i]])


def test_squared_error_is_flat_where_cross_entropy_is_steep():
    squared, cross = (studies.loss_surface(loss, reach=30.0, cells=3).landscape.values for loss in studies.LOSSES)
    at_edge = [float(values[2, 2] - values[1, 2]) for values in (squared, cross)]  # from w2 = 0 to 30
    assert at_edge[1] > 10 * at_edge[0]


def test_newton_models_are_those_of_the_textbook():
    models = studies.newton_models(lambda t: (t - 3.0) ** 2 * (t + 3.0), 1.5)
    np.testing.assert_allclose(models.points, [1.5, 5.25, 3.5956, 3.0683, 3.0011], atol=1e-4)
    t = models.points
    np.testing.assert_allclose(models.values, (t - 3) ** 2 * (t + 3))
    np.testing.assert_allclose(models.slopes, 3 * (t - 3) * (t + 1))
    np.testing.assert_allclose(models.curvatures, 6 * t - 6)
    np.testing.assert_allclose(t[1:], (t - models.slopes / models.curvatures)[:-1])  # vertices
    np.testing.assert_allclose(models.curve, (models.grid - 3) ** 2 * (models.grid + 3))
    assert models.grid[0] < t.min() < t.max() < models.grid[-1]
    assert len(models.grid) == 400
    assert models.status == "MAX_ITERATIONS"


def test_newton_models_can_be_looked_at_in_a_window():
    models = studies.newton_models(lambda t: -(t**4) / 4 + 5 * t**2 / 2, 1.0, steps=3, window=(-2.0, 4.0), cells=7)
    np.testing.assert_allclose(models.grid, np.arange(-2.0, 5.0), atol=1e-12)
    np.testing.assert_allclose(models.points, [1.0, -1.0, 1.0, -1.0])


WRONG = {
    "rates": (lambda: studies.learning_rates((0.0,)), "rates must be"),
    "weights": (lambda: studies.momentum_weights((1.0,)), "weights must be"),
    "rate": (lambda: studies.momentum_weights(rate=0.0), "rate must be"),
    "loss": (lambda: studies.loss_surface("square error"), "Did you mean 'squared error'"),
    "reach": (lambda: studies.loss_surface(reach=0.0), "reach must be"),
    "samples": (lambda: studies.loss_surface(samples=1), "samples must be"),
    "cells": (lambda: studies.loss_surface(cells=1), "cells must be"),
    "steps": (lambda: studies.newton_models(jnp.sin, 1.0, steps=0), "steps must be"),
    "grid": (lambda: studies.newton_models(jnp.sin, 1.0, cells=1), "cells must be"),
    "plane": (lambda: studies.zig_zag("wood"), "two entries"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_refused(case):
    call, match = WRONG[case]
    with pytest.raises(ValueError, match=match):
        call()

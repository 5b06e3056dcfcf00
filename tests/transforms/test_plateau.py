# SPDX-License-Identifier: Apache-2.0
"""Reduction on a plateau: optax on positive metrics, a plain Python reference on all, each setting, errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jopt.transforms.plateau import reduce_on_plateau

G = jnp.ones(1)
SHORT = {"factor": 0.5, "patience": 2, "rtol": 0.0}


def scales(made, metrics, dtype=jnp.float64):
    """Return the factor that each update was multiplied by."""
    g = G.astype(dtype)
    update = jax.jit(lambda s, value: made.update(g, s, value=value))
    state, seen = made.init(g), []
    for value in metrics:
        u, state = update(state, value)
        seen.append(float(u[0]))
    return seen


@jax.jit
def step(settings, state, value):
    return reduce_on_plateau(**settings).update(G, state, value=value)


def scales_with(settings, metrics):
    """Return the same for settings that are traced: one program for all of them."""
    state, seen = reduce_on_plateau(**settings).init(G), []
    for value in metrics:
        u, state = step({**reduce_on_plateau().settings, **settings}, state, float(value))
        seen.append(float(u[0]))
    return seen


def reference(metrics, factor=0.1, patience=10, rtol=1e-4, atol=0.0, cooldown=0, accumulation_size=1, min_scale=0.0):
    """The algorithm in plain Python, with the branches as branches."""
    scale, best, bad, rest, window, seen = 1.0, math.inf, 0, 0, [], []
    for value in metrics:
        window.append(value)
        if len(window) == accumulation_size:
            metric, window = sum(window) / len(window), []
            bad += 1
            if (best == math.inf and metric < best) or metric < best - rtol * abs(best) - atol:
                best, bad = metric, 0
            if rest > 0:
                rest, bad = rest - 1, 0
            elif bad == patience:
                scale, bad, rest = max(scale * factor, min_scale), 0, cooldown
        seen.append(scale)
    return seen


SETTINGS = [
    {"factor": 0.5, "patience": 3},
    {"factor": 0.5, "patience": 2, "cooldown": 3},
    {"factor": 0.3, "patience": 2, "min_scale": 0.05},
    {"factor": 0.5, "patience": 2, "accumulation_size": 3},
    {"factor": 0.5, "patience": 2, "rtol": 0.05},
    {"factor": 0.5, "patience": 2, "rtol": 0.0, "atol": 0.1},
]


def metrics(offset):
    """A noisy descent to a plateau."""
    rng = np.random.default_rng(0)
    return [float(x) for x in offset + np.exp(-np.arange(60) / 6.0) + 0.05 * rng.standard_normal(60)]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_equals_optax_on_positive_metrics_and_the_reference_on_all(settings):
    made = reduce_on_plateau(**settings)
    for offset in (2.0, -2.0):
        values = metrics(offset)
        expected = reference(values, **settings)
        np.testing.assert_allclose(scales(made, values), expected, rtol=1e-12)
        assert expected[-1] < 1.0
    theirs = scales(optax.contrib.reduce_on_plateau(**settings), metrics(2.0))
    np.testing.assert_allclose(theirs, reference(metrics(2.0), **settings), rtol=1e-12)


def test_defaults_are_those_of_optax():
    values = [1.0] * 25
    made = reduce_on_plateau()
    assert made.settings == {
        "factor": 0.1, "patience": 10, "rtol": 1e-4, "atol": 0.0, "cooldown": 0, "accumulation_size": 1, "min_scale": 0.0
    }  # fmt: skip
    np.testing.assert_allclose(scales(made, values), [1.0] * 10 + [0.1] * 10 + [0.01] * 5, rtol=1e-14)
    np.testing.assert_allclose(scales(optax.contrib.reduce_on_plateau(), values), scales(made, values), rtol=1e-14)


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        ({}, [1, 1, 1, 1, 1], [1, 1, 0.5, 0.5, 0.25]),
        ({"factor": 0.2}, [1, 1, 1], [1, 1, 0.2]),
        ({"patience": 1}, [1, 1, 1], [1, 0.5, 0.25]),
        ({"patience": 3}, [1, 1, 1, 1], [1, 1, 1, 0.5]),
        ({}, [3, 2, 1, 1, 0.9, 0.9], [1] * 6),  # improvement resets the count
        ({"rtol": 0.2}, [1, 0.9, 0.85], [1, 1, 0.5]),  # neither is below 0.8
        ({"rtol": 0.05}, [1, 0.9, 0.85], [1, 1, 1]),
        ({"rtol": 0.2}, [-1, -1.1, -1.15], [1, 1, 0.5]),  # neither is below -1.2
        ({"rtol": 0.2}, [-1, -0.9, -0.95], [1, 1, 0.5]),  # worse, though below (1 - 0.2) best
        ({"rtol": 0.05}, [-1, -1.1, -1.2], [1, 1, 1]),
        ({"atol": 0.2}, [0.1, 0.0, -0.05], [1, 1, 0.5]),
        ({"atol": 0.01}, [0.1, 0.0, -0.05], [1, 1, 1]),
        ({"cooldown": 2}, [1] * 8, [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ({"accumulation_size": 2}, [2, 0, 1, 1, 0, 2, 5, 5], [1, 1, 1, 1, 1, 0.5, 0.5, 0.5]),
        ({"min_scale": 0.4}, [1] * 7, [1, 1, 0.5, 0.5, 0.4, 0.4, 0.4]),
    ],
)
def test_each_setting_on_a_sequence_worked_by_hand(settings, values, expected):
    assert scales_with({**SHORT, **settings}, values) == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_never_improves(bad):
    assert scales_with(SHORT, [bad, bad, bad]) == [1.0, 0.5, 0.5]
    assert scales_with(SHORT, [1.0, bad, bad, 0.5, 0.5, 0.5]) == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25]
    # and a window that holds one is forgotten after it
    assert scales_with({**SHORT, "accumulation_size": 2}, [bad, 1.0, 1.0, 1.0, 0.5, 0.5]) == [1.0] * 6


def test_improvement_during_the_cooldown_counts_as_the_best():
    values = [1.0, 1.0, 1.0, 0.1, 0.5, 0.5, 0.5]
    assert scales_with({**SHORT, "cooldown": 1}, values) == [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_scale_and_metric_are_kept_in_float32_beside_bfloat16_gradients():
    made = reduce_on_plateau(0.9, 1, 0.0)
    g = G.astype(jnp.bfloat16)
    state = made.init(g)
    for value in (1.0, 1.0, 1.0):
        u, state = made.update(g, state, value=value)
    assert u.dtype == jnp.bfloat16
    assert state.scale.dtype == state.best_value.dtype == jnp.float32
    np.testing.assert_allclose(state.scale, 0.81, rtol=1e-6)


def test_missing_or_wrong_metric_is_named():
    made = reduce_on_plateau()
    with pytest.raises(ValueError, match="reduce_on_plateau: update needs value, got None"):
        made.update(G, made.init(G))
    with pytest.raises(ValueError, match=r"reduce_on_plateau: value must be a scalar, got shape \(1,\)"):
        made.update(G, made.init(G), value=G)
    for wrong in ("1.0", 1j, {}):
        with pytest.raises(TypeError, match="reduce_on_plateau: value must be a real number, got"):
            made.update(G, made.init(G), value=wrong)


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"factor": 1.0}, ValueError, r"factor must be in \(0, 1\), got 1"),
        ({"factor": 0.0}, ValueError, r"factor must be in \(0, 1\), got 0"),
        ({"patience": 0}, ValueError, "patience must be a whole number >= 1, got 0"),
        ({"patience": 2.5}, TypeError, "patience must be a whole number >= 1, got 2.5"),
        ({"rtol": -0.1}, ValueError, r"rtol must be in \[0, 1\], got -0.1"),
        ({"rtol": 1.1}, ValueError, r"rtol must be in \[0, 1\], got 1.1"),
        ({"atol": -0.1}, ValueError, r"atol must be in \[0, inf\), got -0.1"),
        ({"cooldown": -1}, ValueError, "cooldown must be a whole number >= 0, got -1"),
        ({"accumulation_size": 0}, ValueError, "accumulation_size must be a whole number >= 1, got 0"),
        ({"min_scale": 2.0}, ValueError, r"min_scale must be in \[0, 1\], got 2"),
        ({"min_scale": "0"}, TypeError, "min_scale must be a number"),
    ],
)
def test_wrong_setting_names_function_argument_value_and_range(setting, error, message):
    with pytest.raises(error, match="reduce_on_plateau: " + message):
        reduce_on_plateau(**setting)

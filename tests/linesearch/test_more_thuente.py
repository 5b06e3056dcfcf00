# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from more_thuente import LINES


@pytest.mark.parametrize(
    ("name", "step", "value"),
    [
        ("1", 1.0, -1 / 3),
        ("2", 0.996, -1.0),
        ("3", 0.5, 0.5 + 1.98 / (39 * np.pi) * np.sin(39 * np.pi / 4)),
        ("3", 1.0, 0.005 - 1.98 / (39 * np.pi)),
        ("3", 2.0, 1.0),
        ("4", 0.0, (np.sqrt(1 + 1e-6) - 1e-3) * (np.sqrt(1 + 1e-6) + 1e-3)),
        ("5", 0.0, (np.sqrt(1.0001) - 0.01) * np.sqrt(1 + 1e-6) + (np.sqrt(1 + 1e-6) - 1e-3) * 0.01),
        ("6", 1.0, (np.sqrt(1 + 1e-6) - 1e-3) * 0.01 + (np.sqrt(1.0001) - 0.01) * np.sqrt(1 + 1e-6)),
    ],
)
def test_value_is_the_closed_form(name, step, value):
    np.testing.assert_allclose(LINES[name].phi(jnp.float64(step)), value, rtol=1e-13)


# The minimisers that the paper's sections 5 state or draw; the slope at 0 is negative everywhere.
@pytest.mark.parametrize(("name", "minimiser"), [("1", np.sqrt(2)), ("2", 1.596), ("3", 1.0)])
def test_slope_is_zero_at_the_minimiser(name, minimiser):
    slope = jax.grad(LINES[name].phi)
    np.testing.assert_allclose(slope(jnp.float64(minimiser)), 0.0, atol=1e-12)


@pytest.mark.parametrize("name", LINES)
def test_slope_at_zero_is_negative_and_agrees_with_differences(name):
    phi = LINES[name].phi
    for step in (0.0, 0.3, 0.995, 1.7):
        h = 1e-7
        difference = (phi(jnp.float64(step + h)) - phi(jnp.float64(step - h))) / (2 * h)
        np.testing.assert_allclose(jax.grad(phi)(jnp.float64(step)), difference, rtol=1e-5, atol=1e-8)
    assert jax.grad(phi)(jnp.float64(0.0)) < 0

# SPDX-License-Identifier: Apache-2.0
"""The losses: formulas, derivatives, SciPy's correction of residuals and Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.solvers.robust import LOSSES, weigh

Z = np.array([0.0, 1e-20, 1e-3, 0.5, 0.999, 1.001, 4.0, 1e6])
FORMULAS = {
    "linear": lambda z: z,
    "huber": lambda z: np.where(z <= 1, z, 2 * np.sqrt(z) - 1),
    "soft_l1": lambda z: 2 * (np.sqrt(1 + z) - 1),
    "cauchy": np.log1p,
    "arctan": np.arctan,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_values_are_scipys_formulas(loss):
    np.testing.assert_allclose(LOSSES[loss](jnp.asarray(Z)).value, FORMULAS[loss](Z), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
def test_slope_and_convexity_are_the_derivatives(loss):
    rho = LOSSES[loss]

    def slope(z):
        return jax.grad(lambda t: rho(t).value)(z)

    z = jnp.asarray(Z)
    first, second = jax.vmap(slope)(z), jax.vmap(jax.grad(slope))(z)
    np.testing.assert_allclose(rho(z).slope, first, rtol=1e-12)
    np.testing.assert_allclose(rho(z).convexity, 1 + 2 * z * second / first, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_residuals_stay_finite_or_infinite_never_nan(loss):
    rho = LOSSES[loss](jnp.array([jnp.inf]))
    assert not any(bool(jnp.isnan(part).any()) for part in rho)


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"linear"}))
def test_the_correction_is_triggs_as_scipy_applies_it(loss):
    r, scale = np.array([-0.1, 0.3, 0.9, -2.0]), 0.5
    out = weigh(loss, scale, {"r": jnp.asarray(r)})
    z = (r / scale) ** 2
    rho = LOSSES[loss](jnp.asarray(z))
    slope, convexity = np.asarray(rho.slope), np.asarray(rho.convexity)
    curvature = slope * np.maximum(convexity, np.sqrt(np.finfo(float).eps))  # SciPy's floor is eps, absolute
    np.testing.assert_allclose(out.value, scale**2 / 2 * np.sum(FORMULAS[loss](z)), rtol=1e-14)
    np.testing.assert_allclose(out.rows["r"], np.sqrt(curvature), rtol=1e-13)
    np.testing.assert_allclose(out.residual["r"], r * slope / np.sqrt(curvature), rtol=1e-13)
    np.testing.assert_allclose(out.rows["r"] * out.residual["r"], slope * r, rtol=1e-13)
    np.testing.assert_allclose(out.pull["r"], slope * r, rtol=1e-13)


def test_the_linear_loss_leaves_the_residuals_alone():
    r = {"r": jnp.array([1.0, -2.0])}
    out = weigh("linear", 7.0, r)
    assert float(out.value) == 2.5
    assert out.residual is r
    assert out.rows is None

# SPDX-License-Identifier: Apache-2.0
"""NIST's nonlinear regressions from both starts, against SciPy and the certified values; the data themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jopt
from jopt import Status
from jopt.problems import nist

pytestmark = pytest.mark.slow  # compiles many programs

SIZES = {
    "misra1a": 14, "chwirut2": 54, "lanczos3": 24, "gauss1": 250, "mgh17": 33, "rat43": 15, "hahn1": 236, "eckerle4": 35,
    "bennett5": 154,
}  # fmt: skip


def scipys(fit):
    """Return the minimiser that SciPy finds at its tightest tolerance with exact Jacobians, from the certified point."""
    both = jax.jit(lambda b: (fit.residual(b), jax.jacfwd(fit.residual)(b)))
    tight = np.finfo(float).eps
    return scipy.optimize.least_squares(
        lambda b: np.asarray(both(b)[0]),
        fit.certified,
        jac=lambda b: np.asarray(both(b)[1]),
        method="lm",
        x_scale="jac",
        xtol=tight,
        ftol=tight,
        gtol=tight,
    ).x


@pytest.mark.parametrize("name", nist.NAMES)
def test_both_starts_lead_to_scipys_minimiser_and_the_certified_one(name):
    fit = nist.load(name)
    solve = jax.vmap(lambda start: jopt.least_squares(fit.residual, start, gtol=0.0, maxiter=2000))
    out = solve(jnp.stack(fit.starts))
    assert set(out.status.tolist()) <= {Status.STALLED, Status.CONVERGED}  # a gradient of exactly zero was asked for
    np.testing.assert_allclose(out.x, np.stack([scipys(fit)] * 2), rtol=1e-6)
    np.testing.assert_allclose(out.x, np.stack([fit.certified] * 2), rtol=1e-6)
    np.testing.assert_allclose(2 * out.fun, fit.sum_of_squares, rtol=1e-9)


@pytest.mark.parametrize("name", nist.NAMES)
def test_data_have_the_certified_sum_of_squares_at_the_certified_parameters(name):
    fit = nist.load(name)
    assert fit.name == name
    assert fit.x.shape == fit.y.shape == (SIZES[name],)
    assert {start.shape for start in fit.starts} == {fit.certified.shape}
    assert not fit.y.flags.writeable
    np.testing.assert_allclose(np.sum(np.square(fit.residual(fit.certified))), fit.sum_of_squares, rtol=1e-9)


def test_lanczos3_is_its_formula_rounded_to_five_digits():
    fit = nist.load("lanczos3")
    exact = 0.0951 * np.exp(-fit.x) + 0.8607 * np.exp(-3 * fit.x) + 1.5576 * np.exp(-5 * fit.x)
    np.testing.assert_allclose(fit.y, exact, rtol=0, atol=0.51e-4)


def test_residuals_follow_the_dtype_of_the_parameters():
    fit = nist.load("misra1a")
    assert fit.residual(jnp.asarray(fit.certified, jnp.float32)).dtype == jnp.float32


def test_unknown_names_are_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'misra1a'"):
        nist.load("Misra1a")

# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt import linesearch
from jopt.linesearch import FirstTrialInfo, constant, keep_growing, quadratic_interpolation, slope_ratio, unit

STRATEGIES = {
    "unit": unit,
    "constant": constant(0.25),
    "slope_ratio": slope_ratio,
    "quadratic_interpolation": quadratic_interpolation,
    "keep_growing": keep_growing(3.0),
}
EVERY_STRATEGY = pytest.mark.parametrize("name", STRATEGIES)


def info(dtype=jnp.float64, **changed):
    """Return a plain situation, with some fields changed."""
    fields = {
        "grad_norm": 4.0, "value": 5.0, "slope": -16.0, "previous_step": 0.5, "previous_value": 7.0, "previous_slope": -24.0
    } | changed  # fmt: skip
    first = jnp.bool_(fields.pop("first", False))
    return FirstTrialInfo(first=first, **{name: jnp.asarray(x, dtype) for name, x in fields.items()})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unit", 1.0),
        ("constant", 0.25),
        ("slope_ratio", 0.5 * 24 / 16),
        ("quadratic_interpolation", 1.01 * 2 * 2 / 16),
        ("keep_growing", 1.5),
    ],
)
def test_step_is_the_formula(name, expected):
    np.testing.assert_allclose(STRATEGIES[name](info()), expected, rtol=1e-14)


@EVERY_STRATEGY
def test_first_move_along_the_gradient_has_unit_length(name):
    step = STRATEGIES[name](info(first=True, previous_step=np.nan))
    np.testing.assert_allclose(step, 0.25)  # 1 / grad_norm, and the constant


@EVERY_STRATEGY
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_step_keeps_the_dtype_under_strict_promotion(name, dtype):
    with jax.numpy_dtype_promotion("strict"):
        step = jax.eval_shape(STRATEGIES[name], info(dtype))
    assert (step.shape, step.dtype) == ((), dtype)


@EVERY_STRATEGY
@pytest.mark.parametrize(
    "trouble",
    [
        {"slope": 0.0},
        {"slope": np.nan},
        {"value": np.inf},
        {"value": 8.0},
        {"previous_slope": np.nan},
        {"previous_step": np.inf},
        {"grad_norm": 0.0, "first": True},
        {"grad_norm": np.nan, "first": True},
        {"previous_step": 1e308, "previous_slope": -1e308},
        {"slope": -1e308, "previous_slope": -1e-308},
    ],
)
def test_step_is_always_positive_and_finite(name, trouble):
    step = STRATEGIES[name](info(**trouble))
    assert 0 < step < np.inf


def test_fallbacks_are_the_ones_stated():
    assert slope_ratio(info(slope=np.nan)) == 0.5  # the previous step
    assert keep_growing(2.0)(info(previous_step=1e308)) == 1e308
    assert quadratic_interpolation(info(value=8.0)) == 1.0  # risen
    for strategy in (unit, slope_ratio, quadratic_interpolation, keep_growing(2.0)):
        assert strategy(info(first=True, grad_norm=0.0)) == 1.0


def test_quadratic_interpolation_reaches_the_unit_step_and_no_more():
    assert quadratic_interpolation(info(value=5.0, previous_value=5.0 + 8 / 1.005)) == 1.0
    assert quadratic_interpolation(info(previous_value=100.0)) == 1.0
    np.testing.assert_allclose(quadratic_interpolation(info(previous_value=5.8)), 0.101)


@EVERY_STRATEGY
def test_multiplying_the_objective_by_a_number_keeps_the_move(name):
    # Along -g: values and |g| times c, slopes times c^2, so that a step divided by c is the same move.
    c = 2.0**20
    plain = {"grad_norm": 4.0, "value": 5.0, "slope": -16.0, "previous_value": 7.0, "previous_slope": -24.0}
    scaled = {k: x * (c * c if "slope" in k else c) for k, x in plain.items()}
    for first in (True, False):
        before = STRATEGIES[name](info(**plain, first=first))
        after = STRATEGIES[name](info(**scaled, previous_step=0.5 / c, first=first))
        if name == "constant" or (name == "unit" and not first):
            assert before == after
        else:
            np.testing.assert_allclose(after * c, before, rtol=1e-14)


def test_strategies_with_settings_show_and_compare_as_their_call():
    assert repr(constant(0.5)) == "constant(step=0.5)"
    assert repr(keep_growing()) == "keep_growing(factor=2.0)"
    assert constant(0.5) == constant(0.5) != constant(0.25)
    assert hash(keep_growing(3.0)) == hash(keep_growing(3.0))


@pytest.mark.parametrize(
    ("factory", "argument", "value", "error"),
    [
        (constant, "step", 0.0, ValueError),
        (constant, "step", np.inf, ValueError),
        (constant, "step", "long", TypeError),
        (keep_growing, "factor", 0.5, ValueError),
        (keep_growing, "factor", np.inf, ValueError),
    ],
)
def test_wrong_settings_raise_naming_the_argument(factory, argument, value, error):
    with pytest.raises(error, match=f"{factory.__name__}: {argument}"):
        factory(value)


def test_every_public_name_exists_and_is_documented():
    for name in linesearch.__all__:
        assert getattr(linesearch, name).__doc__

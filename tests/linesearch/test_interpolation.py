# SPDX-License-Identifier: Apache-2.0
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.linesearch import interpolation
from jopt.linesearch.conditions import Trial

CUBIC = np.polynomial.Polynomial([1.0, -3.0, 0.5, 0.7])


def on(polynomial, step, dtype=jnp.float64):
    return Trial(*(jnp.asarray(x, dtype) for x in (step, polynomial(step), polynomial.deriv()(step))))


@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.0), (0.1, 0.2), (3.0, 5.0)])
def test_cubic_minimiser_is_exact_on_a_cubic(ends):
    minimiser = CUBIC.deriv().roots().max()
    a, b = (on(CUBIC, end) for end in ends)
    step, beyond = interpolation.cubic_minimiser(a, b)
    np.testing.assert_allclose(step, minimiser, rtol=1e-10)
    assert bool(beyond) == ((minimiser - ends[1]) * (ends[1] - ends[0]) > 0)


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
def test_cubic_minimiser_does_not_depend_on_the_scale_of_the_values(scale):
    plain = interpolation.cubic_minimiser(*(on(CUBIC, end, jnp.float32) for end in (0.0, 2.0)))
    scaled = interpolation.cubic_minimiser(*(on(scale * CUBIC, end, jnp.float32) for end in (0.0, 2.0)))
    assert plain == scaled


def test_secant_is_exact_on_a_parabola_and_keeps_relative_accuracy():
    parabola = np.polynomial.Polynomial([1.0, -1e-9, 0.5])  # minimum at 1e-9, seen from 0 and 1
    np.testing.assert_allclose(interpolation.secant(on(parabola, 0.0), on(parabola, 1.0)), 1e-9, rtol=1e-15)


def test_equal_slopes_give_no_believable_step():
    line = np.polynomial.Polynomial([1.0, -1.0])
    ends = on(line, 0.0), on(line, 1.0)
    assert not bool(interpolation.believable(interpolation.secant(*ends), *ends))


@pytest.mark.parametrize(
    ("step", "inside"), [(1.0, False), (1.1, True), (2.9, True), (3.0, False), (np.nan, False), (np.inf, False)]
)
def test_believable_steps_lie_strictly_inside(step, inside):
    assert bool(interpolation.believable(jnp.float64(step), on(CUBIC, 1.0), on(CUBIC, 3.0))) == inside


def test_believable_steps_are_within_reach_of_the_upper_end():
    ends = on(CUBIC, 0.0), on(CUBIC, 1.0)
    assert bool(interpolation.believable(jnp.float64(2 / interpolation.REACH), *ends))
    assert not bool(interpolation.believable(jnp.float64(0.5 / interpolation.REACH), *ends))


def test_ratio_of_zero_by_zero_is_zero():
    assert interpolation.ratio(jnp.float32(0), jnp.float32(0)) == 0
    assert interpolation.nonzero(jnp.float32(0)) == jnp.finfo("float32").tiny

# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lines import SMOOTH, allowed_rise, outcomes, run
from numpy.polynomial import Polynomial

from jopt.linesearch import exact
from jopt.status import SearchStatus


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_accepted_step_is_stationary_and_no_higher_afresh(dtype):
    tolerance = float(jnp.finfo(dtype).eps) ** 0.5
    for name, first, status, start, end in outcomes(exact(), dtype):
        if dtype == jnp.float32 and name == "more_thuente_2":  # no float32 near the minimiser is as flat
            assert status == SearchStatus.INTERVAL_TOO_SMALL, first
            continue
        assert status == SearchStatus.ACCEPTED, (name, first)
        assert abs(end[2]) <= tolerance * abs(start[2]), (name, first)
        assert end[1] <= start[1] + allowed_rise(start), (name, first)


@pytest.mark.parametrize("ratio", [1e-4, 1e-2, 0.3, 2.0, 1e2, 1e4])
@pytest.mark.parametrize("curvature", [1e-6, 1.0, 1e6])
def test_second_trial_is_the_answer_on_a_quadratic(ratio, curvature):
    minimiser = 3.0 / curvature
    state, tried = run(exact(), lambda a: 0.5 * curvature * a**2 - 3.0 * a, ratio * minimiser)
    assert state.status == SearchStatus.ACCEPTED
    assert len(tried) == 2
    np.testing.assert_allclose(state.step, minimiser, rtol=1e-10)


@pytest.mark.parametrize(("tolerance", "first", "trials"), [(0.8, 0.3, 1), (0.6, 0.3, 2), (0.8, 1.7, 1), (0.6, 1.7, 2)])
def test_tolerance_is_the_part_of_the_slope_left(tolerance, first, trials):
    assert len(run(exact(tolerance=tolerance), SMOOTH["parabola"], first)[1]) == trials


def test_tolerance_comes_from_the_precision_unless_given():
    # The first trial leaves 1e-6 of the slope: enough in float32, not in float64.
    def parabola(a):
        return (a - 1) ** 2

    for dtype, trials in [(jnp.float32, 1), (jnp.float64, 2)]:
        assert len(run(exact(), parabola, 1 - 1e-6, dtype)[1]) == trials


def test_a_stationary_point_above_the_start_is_refused():
    # From 0 the nearest minimum is at 1; the other one, at 5, is higher than phi(0).
    polynomial = Polynomial([0.0, -15.0, 11.5, -3.0, 0.25]) + Polynomial([0.0, 4.0])

    def two_valleys(a):
        return ((0.25 * a - 3.0) * a + 11.5) * a * a - 11.0 * a

    roots = polynomial.deriv().roots().real
    low, high = roots.min(), roots.max()
    assert two_valleys(high) > two_valleys(0.0) > two_valleys(low)
    for first in (high, 0.95 * high, 0.8 * high):
        state, _ = run(exact(), two_valleys, first)
        assert state.status == SearchStatus.ACCEPTED
        np.testing.assert_allclose(state.step, low, rtol=1e-6)


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def test_exact_step_on_rosenbrock_is_the_root_of_the_slope():
    point = np.array([0.8, 0.0])
    gradient = np.asarray(jax.grad(rosenbrock)(point))
    x, y = (Polynomial([p, -g]) for p, g in zip(point, gradient, strict=True))
    roots = ((1 - x) ** 2 + 100 * (y - x**2) ** 2).deriv().roots()
    nearest = min(r.real for r in roots if abs(r.imag) < 1e-12 and r.real > 0)
    for first in (1e-5, 1e-3, 1 / np.linalg.norm(gradient)):
        state, _ = run(exact(), lambda a: rosenbrock(point - a * gradient), first)
        np.testing.assert_allclose(state.step, nearest, rtol=1e-7)
        assert round(float(state.step), 5) == 0.00165


def test_steepest_descent_has_orthogonal_successive_gradients():
    search, gradient_of = exact(), jax.grad(rosenbrock)
    point = jnp.array([0.8, 0.0])
    gradient = gradient_of(point)
    for _ in range(6):
        state, _ = run(search, lambda a, p=point, g=gradient: rosenbrock(p - a * g), 1e-3)
        assert state.status == SearchStatus.ACCEPTED
        point = point - state.step * gradient
        after = gradient_of(point)
        cosine = jnp.vdot(gradient, after) / (jnp.linalg.norm(gradient) * jnp.linalg.norm(after))
        assert abs(cosine) <= 1e-6
        gradient = after


def test_goes_on_by_slopes_where_values_are_noise():
    def phi(step):
        error = jnp.where(step == 0, 0.0, 6e-8 * (2 + jnp.sin(1e6 * step)))
        return 1e8 + error, 4e-10 * (jnp.exp(step) - 3)

    search = exact()
    state = search.init(*phi(jnp.float64(0)), jnp.float64(7.0))
    while state.status == SearchStatus.SEARCHING:
        state = search.update(state, *phi(state.step))
    assert state.status == SearchStatus.ACCEPTED
    np.testing.assert_allclose(state.step, np.log(3), rtol=1e-7)
    assert state.trials < 25


@pytest.mark.parametrize("tolerance", [-1e-9, 1.0, np.nan])
def test_tolerance_outside_its_range_raises(tolerance):
    with pytest.raises(ValueError, match="exact: tolerance"):
        exact(tolerance=tolerance)

# SPDX-License-Identifier: Apache-2.0
"""One variable: known paths, SciPy evaluation by evaluation, every status and every error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jopt import Status, univariate
from jopt.bench.marker import copies, marked


def cubic(t):
    return (t - 3.0) ** 2 * (t + 3.0)


def quartic(t):
    return -(t**4) / 4.0 + 5.0 * t**2 / 2.0


def slope_of_cubic(t):
    return 3.0 * (t - 3.0) * (t + 1.0)


def status(record):
    return Status(int(record.status))


def points(record):
    return np.asarray(record.path.x)[: int(record.nfev)]


# Newton and the secant.


def test_newton_goes_the_known_way():
    record = univariate.newton(cubic, 1.5, path=True, maxiter=20)
    np.testing.assert_allclose(points(record)[:5], [1.5, 5.25, 3.5956, 3.0683, 3.0011], atol=5e-5)
    assert cubic(5.25) == pytest.approx(41.77, abs=1e-2)
    assert abs(points(record)[6] - 3.0) < 1e-13
    assert status(record) is Status.CONVERGED
    assert bool(record.success)
    assert (int(record.nit), int(record.nfev)) == (6, 7)
    assert float(record.value) == pytest.approx(0.0, abs=1e-13)
    assert abs(float(record.slope)) <= 1.5e-8 * 11.25
    assert float(record.curvature) == pytest.approx(12.0)
    np.testing.assert_array_equal(record.path.value[:7], jax.vmap(cubic)(record.path.x[:7]))
    assert np.isnan(record.path.x[7:]).all()
    assert record.path.low is None
    assert record.low is None


def test_from_the_left_of_the_inflection_newton_goes_to_the_maximum_and_says_so():
    record = univariate.newton(cubic, 0.5, maxiter=20)
    assert status(record) is Status.MAXIMUM
    assert not bool(record.success)
    assert float(record.x) == pytest.approx(-1.0)
    assert float(record.curvature) < 0
    assert "maximum" in record.message
    asked = univariate.newton(cubic, -1.0, safeguard=True)  # a start at the maximum: nothing to ask for but another one
    assert status(asked) is Status.MAXIMUM
    assert "Start elsewhere" in asked.message
    assert "ask for" not in asked.message
    safe = univariate.newton(cubic, 0.5, safeguard=True)
    assert status(safe) is Status.CONVERGED
    assert float(safe.x) == pytest.approx(3.0)


def test_plain_newton_oscillates_for_ever_and_the_safeguarded_form_does_not():
    record = univariate.newton(quartic, 1.0, path=True, maxiter=7)
    np.testing.assert_array_equal(points(record), [1.0, -1.0] * 4)
    assert status(record) is Status.MAX_ITERATIONS
    assert not bool(record.success)
    safe = univariate.newton(quartic, 1.0, safeguard=True, path=True, maxiter=7)
    np.testing.assert_array_equal(points(safe), [1.0, -1.0, 0.0])  # the step of length 2 is halved
    assert status(safe) is Status.CONVERGED
    assert float(safe.x) == 0.0


def test_the_safeguarded_form_accepts_only_points_that_fall():
    def bumpy(t):
        return jnp.log(jnp.cosh(t)) + 0.1 * jnp.sin(5.0 * t)

    record = univariate.newton(bumpy, 4.0, safeguard=True, path=True)
    values = np.asarray(record.path.value)[: int(record.nfev)]
    assert status(record) is Status.CONVERGED
    assert float(record.value) == values.min()
    plain = univariate.newton(bumpy, 4.0)
    assert not bool(plain.success) or float(plain.value) > float(record.value)


def test_secant_steps_by_the_quotient_of_two_slopes():
    record = univariate.secant(cubic, 1.5, 2.0, path=True, maxiter=20)
    xs = points(record)
    f, x, y = slope_of_cubic, xs[1:-1], xs[:-2]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(xs[2:], x - f(x) * (x - y) / (f(x) - f(y)), rtol=1e-9)
    assert status(record) is Status.CONVERGED
    assert int(record.nit) == int(record.nfev) - 2
    assert float(record.x) == pytest.approx(3.0, abs=1e-8)
    assert float(record.curvature) == pytest.approx(12.0, rel=1e-3)
    assert status(univariate.secant(cubic, -0.5, -0.6)) is Status.MAXIMUM


@pytest.mark.parametrize("gtol", [1e-2, 1e-6])
def test_gtol_is_the_slope_at_the_answer(gtol):
    for record in (univariate.newton(cubic, 2.0, gtol=gtol), univariate.secant(cubic, 2.0, 2.2, gtol=gtol)):
        assert abs(slope_of_cubic(float(record.x))) <= gtol
    slopes = np.abs(slope_of_cubic(points(univariate.newton(cubic, 2.0, gtol=gtol, path=True))))
    assert (slopes[:-1] > gtol).all()


def kinked(t):
    return (t - 1.0) ** 2 + 1e-9 * jnp.abs(t - 1.0)


def stiff(t):  # at 1 the slope is 1 and the step 1e-20
    return t + 0.5e20 * (t - 1.0) ** 2


@pytest.mark.parametrize(
    ("fun", "start", "settings", "expected"),
    [
        (jnp.sqrt, -1.0, {}, Status.NONFINITE),  # undefined at the start
        (jnp.sqrt, -1.0, {"safeguard": True}, Status.NONFINITE),
        (lambda t: t, 1.0, {}, Status.NONFINITE),  # no curvature: there is no Newton step
        (lambda t: t, 1.0, {"safeguard": True}, Status.MAX_ITERATIONS),
        (lambda t: jnp.log(t), 3e-320, {"safeguard": True}, Status.UNBOUNDED),
        (lambda t: jnp.where(t == 1.0, 0.0 * t - jnp.inf, t), 1.0, {}, Status.UNBOUNDED),
        (kinked, 1e8, {"gtol": 0.0}, Status.MAX_ITERATIONS),  # from one side of the kink to the other
        (kinked, 1e8, {"gtol": 0.0, "safeguard": True}, Status.STALLED),  # no step is short enough
        (stiff, 1.0, {}, Status.STALLED),
        (stiff, 1.0, {"safeguard": True}, Status.STALLED),
    ],
)
def test_newton_says_why_it_ends(fun, start, settings, expected):
    record = univariate.newton(fun, start, **settings)
    assert status(record) is expected
    assert not bool(record.success)
    assert np.isfinite(record.x)


def test_a_secant_step_below_round_off_stalls():
    record = univariate.secant(stiff, 1.0 + 2.0**-20, 1.0, gtol=0.5)
    assert status(record) is Status.STALLED
    assert not bool(record.success)
    assert (float(record.x), float(record.slope), int(record.nfev)) == (1.0, 1.0, 2)
    assert "below round-off" in record.message


def test_an_exact_start_needs_no_step():
    for record in (univariate.newton(cubic, 3.0), univariate.secant(cubic, 3.0, 2.0)):
        assert status(record) is Status.CONVERGED
        assert (int(record.nit), int(record.nfev)) == (0, 1)


# Zeros.

ZEROS = [
    (lambda t, np: np.cos(t) - t, 0.0, 2.0),
    (lambda t, _: t**3 - 2.0 * t - 5.0, 0.0, 4.0),
    (lambda t, _: t**5 + 0.1 * t**4, -1.0, 1.5),  # a flat zero: interpolation fails and bisection helps
    (lambda t, np: np.exp(-20.0 * t) - 1e-3, 0.0, 3.0),
]


@pytest.mark.parametrize(("fun", "low", "high"), ZEROS)
def test_brent_zero_evaluates_where_scipy_does(fun, low, high):
    seen = []

    def recorded(t):
        seen.append(t)
        return fun(t, np)

    zero = scipy.optimize.brentq(recorded, low, high, xtol=1e-12, rtol=1e-14)
    record = univariate.brent_zero(lambda t: fun(t, jnp), low, high, xtol=1e-12, rtol=1e-14, path=True)
    np.testing.assert_allclose(points(record), seen, rtol=1e-13, atol=1e-13)
    assert float(record.x) == pytest.approx(zero, abs=1e-12)
    assert status(record) is Status.STEP
    assert int(record.nit) == int(record.nfev) - 2
    n = int(record.nfev)
    assert (np.sign(fun(record.path.low[1:n], np)) * np.sign(fun(record.path.high[1:n], np)) <= 0).all()
    assert float(record.low) <= float(record.x) <= float(record.high)


def test_bisection_halves_exactly():
    record = univariate.bisection(slope_of_cubic, 0.0, 4.0, xtol=2.0**-20, rtol=0.0, path=True)
    n = int(record.nfev)
    width = np.asarray(record.path.high - record.path.low)[1:n]
    # 4 -> 2 -> 1: then the middle is the zero itself.
    np.testing.assert_array_equal(width, [4.0, 2.0, 0.0])
    record = univariate.bisection(lambda t: t - 0.1, 0.0, 4.0, xtol=2.0**-20, rtol=0.0, path=True)
    n = int(record.nfev)
    width = np.asarray(record.path.high - record.path.low)[1:n]
    np.testing.assert_array_equal(width, 4.0 * 0.5 ** np.arange(23))
    assert int(record.nit) == 22
    assert float(record.low) <= 0.1 <= float(record.high)
    assert status(record) is Status.STEP
    assert abs(float(record.value)) == min(abs(float(record.low) - 0.1), abs(float(record.high) - 0.1))
    # A falling function keeps the other half.
    assert float(univariate.bisection(lambda t: 0.1 - t, 0.0, 4.0).x) == pytest.approx(0.1)


@pytest.mark.parametrize("method", [univariate.bisection, univariate.brent_zero])
def test_statuses_of_a_bracketed_zero(method):
    def fun(t, zero, hole=0.0):
        return jnp.where((t > 2.0) & (t < 2.0 + hole), jnp.nan, t - zero)

    record = method(fun, 4.0, 5.0, 3.0)
    assert status(record) is Status.NO_BRACKET
    assert not bool(record.success)
    assert int(record.nfev) == 2
    assert float(record.x) == 4.0  # the end nearest to zero
    assert "same sign" in record.message
    for end in (4.0, 5.0):  # an end that is a zero is the answer
        exact = method(fun, 4.0, 5.0, end)
        assert status(exact) is Status.STEP
        assert float(exact.x) == float(exact.low) == float(exact.high) == end
    assert status(method(fun, 0.0, 5.0, 1.0 / 3.0, maxiter=0)) is Status.MAX_ITERATIONS
    assert status(method(fun, 0.0, 5.0, jnp.nan)) is Status.NONFINITE
    hole = method(fun, 0.0, 5.0, (2.5, 0.999))
    assert status(hole) is Status.NONFINITE
    assert abs(float(hole.value)) == 2.5  # one of the ends
    assert status(method(fun, 0.0, 5.0, 1.0 / 3.0)) is Status.STEP


def test_no_number_left_between_the_ends_is_stalled():
    record = univariate.bisection(lambda t: t * t - 2.0, 1.0, 2.0, xtol=0.0, rtol=0.0)
    assert status(record) is Status.STALLED
    assert float(record.high) == np.nextafter(float(record.low), 2.0)
    record = univariate.brent_zero(lambda t: t * t - 2.0, 1.0, 2.0, xtol=0.0, rtol=0.0)
    assert status(record) is Status.STALLED
    assert float(record.x) == pytest.approx(2.0**0.5, rel=1e-15)


@pytest.mark.parametrize("method", [univariate.bisection, univariate.brent_zero, univariate.golden_section])
@pytest.mark.parametrize("setting", ["xtol", "rtol"])
def test_tolerances_bound_the_width(method, setting):
    def fun(t):
        return jnp.abs(t - 70.3) if method is univariate.golden_section else t**3 - 100.4**3

    other = {"xtol": "rtol", "rtol": "xtol"}[setting]
    coarse, fine = (method(fun, 60.0, 200.0, **{setting: tol, other: 0.0}) for tol in (1e-2, 1e-5))
    assert int(coarse.nfev) < int(fine.nfev)
    answer = 70.3 if method is univariate.golden_section else 100.4
    for record, tol in ((coarse, 1e-2), (fine, 1e-5)):
        bound = tol * (answer if setting == "rtol" else 1.0)
        assert abs(float(record.x) - answer) <= 1.01 * bound


# Minima.

MINIMA = [
    (lambda t, _: (t - 3.0) ** 2 * (t + 3.0), 0.0, 5.0),
    (lambda t, np: np.sin(t), 3.0, 6.0),
    (lambda t, _: abs(t - 1.0) ** 1.5 + t, -2.0, 4.0),
]


@pytest.mark.parametrize(("fun", "low", "high"), MINIMA)
def test_brent_minimum_evaluates_where_scipy_does(fun, low, high):
    seen = []

    def recorded(t):
        seen.append(float(t))
        return fun(t, np)

    start = 0.4 * low + 0.6 * high
    x, value, _, _ = scipy.optimize.brent(recorded, brack=(low, start, high), tol=1e-6, full_output=True)
    record = univariate.brent_minimum(lambda t: fun(t, jnp), low, high, start=start, rtol=1e-6, xtol=1e-11, path=True)
    # SciPy evaluates the three points of its bracket first, and rounds the golden section to seven digits.
    np.testing.assert_allclose(points(record), [start, *seen[3:]], rtol=0, atol=1e-6)
    assert float(record.x) == pytest.approx(x, abs=1e-6)
    assert float(record.value) == pytest.approx(value, abs=1e-12)
    assert status(record) is Status.STEP
    assert int(record.nit) == int(record.nfev) - 1


def test_brent_minimum_starts_at_the_golden_section():
    record = univariate.brent_minimum(cubic, 0.0, 5.0, path=True)
    seen = []

    def recorded(t):
        seen.append(float(t))
        return cubic(t)

    scipy.optimize.fminbound(recorded, 0.0, 5.0, xtol=1e-5)
    np.testing.assert_allclose(points(record)[:5], seen[:5], atol=1e-6)
    assert float(record.x) == pytest.approx(3.0, abs=1e-6)


def test_golden_section_leaves_the_golden_part_for_each_evaluation():
    record = univariate.golden_section(cubic, 0.0, 5.0, path=True)
    n = int(record.nfev)
    width = np.asarray(record.path.high - record.path.low)
    ratio = (5**0.5 - 1) / 2
    assert width[0] == 5.0
    np.testing.assert_allclose(width[1:n] / width[: n - 1], ratio, rtol=1e-6)
    np.testing.assert_allclose(points(record)[:2], [5 - 5 * ratio, 5 * ratio])
    assert width[n - 2] > 1.5e-8 * 3.0 >= width[n - 1] * (1 - 1e-3)
    low, high = np.asarray(record.path.low)[:n], np.asarray(record.path.high)[:n]
    assert ((low <= 3.0 + 1e-7) & (high >= 3.0 - 1e-7)).all()
    assert status(record) is Status.STEP


@pytest.mark.parametrize("method", [univariate.golden_section, univariate.brent_minimum])
def test_statuses_of_a_bracketed_minimum(method):
    def fun(t, depth):
        return jnp.where(t < 4.0, t**2, depth * t)

    assert status(method(fun, -1.0, 3.0, 1.0)) is Status.STEP
    assert status(method(fun, -1.0, 3.0, 1.0, maxiter=3)) is Status.MAX_ITERATIONS
    assert status(method(fun, 5.0, 9.0, jnp.nan)) is Status.NONFINITE
    assert status(method(fun, 5.0, 9.0, -jnp.inf)) is Status.UNBOUNDED
    hole = method(fun, 2.0, 6.0, jnp.nan)
    assert status(hole) is Status.NONFINITE
    assert float(hole.x) == pytest.approx(2 + 4 * (3 - 5**0.5) / 2)  # the first point
    assert np.isfinite(hole.value)
    stalled = method(lambda t: jnp.abs(t - 1.3), 1.0, 2.0, xtol=0.0, rtol=0.0)  # no number left between the points
    assert status(stalled) is Status.STALLED
    assert not bool(stalled.success)
    np.testing.assert_allclose([stalled.low, stalled.x, stalled.high], 1.3, rtol=1e-15)
    monotone = method(fun, 1.0, 2.0, 1.0)
    assert status(monotone) is Status.STEP
    assert float(monotone.x) == pytest.approx(1.0, abs=1e-6)
    barrier = method(fun, -1.0, 9.0, jnp.inf)  # infinite is high, not wrong
    assert float(barrier.x) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("method", [univariate.golden_section, univariate.brent_minimum])
def test_an_infinite_value_is_no_minimum(method):
    def fun(t, low, high):
        return jnp.where((t < low) | (t > high), jnp.inf, (t - 0.5 * (low + high)) ** 2)

    for domain in ((0.9, 1.0), (2.0, 3.0)):  # neither is met
        record = method(fun, 0.0, 1.0, domain)
        assert status(record) is Status.NONFINITE
        assert not bool(record.success)
        assert float(record.value) == np.inf
    stuck = method(fun, 1.0, 2.0, (3.0, 4.0), xtol=0.0, rtol=0.0)
    assert status(stuck) is Status.NONFINITE
    for domain in ((0.5, 0.7), (0.3, 0.5)):  # one of the first two points is within
        record = method(fun, 0.0, 1.0, domain)
        assert status(record) is Status.STEP
        assert float(record.x) == pytest.approx(0.5 * sum(domain), abs=1e-6)
    left = method(fun, 0.0, 1.0, (0.0, 0.1))  # golden section goes to the left of two infinite points, Brent stays
    assert (status(left), bool(left.success)) in [(Status.STEP, True), (Status.NONFINITE, False)]
    assert bool(left.success) == np.isfinite(left.value)


# What all share.

WIDE = np.float32(3e38)  # the difference of the ends overflows


@pytest.mark.parametrize("method", [univariate.bisection, univariate.brent_zero])
def test_a_zero_is_found_between_ends_whose_difference_overflows(method):
    def fun(t, zero):
        return t - zero

    for zero in (np.float32(1e-3), np.float32(-2.5e38), np.float32(2.5e38)):
        record = method(fun, -WIDE, WIDE, zero, xtol=1e-6, rtol=1e-6, maxiter=200)
        assert status(record) is Status.STEP
        assert float(record.x) == pytest.approx(float(zero), rel=1e-6, abs=1e-6)
    record = method(fun, -WIDE, WIDE, np.float32(1e-3))
    assert status(record) is Status.STEP
    eps = float(np.finfo(np.float32).eps)
    assert float(record.high) - float(record.low) <= 2 * eps * float(WIDE)
    assert float(record.low) <= 1e-3 <= float(record.high)


def test_interpolation_stays_in_a_bracket_whose_width_overflows():
    record = univariate.brent_zero(lambda t: jnp.arctan(0.1 * (t / 1e37 - 20.0)), -WIDE, WIDE, rtol=1e-6, path=True)
    assert status(record) is Status.STEP
    assert (np.abs(points(record)) <= WIDE).all()
    assert float(record.x) == pytest.approx(2e38, rel=2e-6)
    assert int(record.nfev) < 15


@pytest.mark.parametrize("method", [univariate.golden_section, univariate.brent_minimum])
def test_a_minimum_is_found_between_ends_whose_difference_overflows(method):
    def fun(t, minimum):
        return jnp.abs(t / 2 - minimum / 2)

    eps = float(np.finfo(np.float32).eps)
    for minimum in (0.0, -2.5e38, 2.5e38):
        record = method(fun, -WIDE, WIDE, np.float32(minimum), path=True)
        assert status(record) is Status.STEP
        assert (np.abs(points(record)) <= WIDE).all()
        assert float(record.x) == pytest.approx(minimum, rel=2 * eps**0.5, abs=2 * eps * float(WIDE))
    beside = univariate.brent_minimum(fun, 1e38, WIDE, np.float32(2.5e38))  # low + high overflows
    assert float(beside.x) == pytest.approx(2.5e38, rel=2 * eps**0.5)


def test_brent_minimum_reaches_the_far_end_from_a_start_at_the_near_one():
    record = univariate.brent_minimum(lambda t: -t, -WIDE, WIDE, start=-WIDE, path=True)
    assert (np.abs(points(record)) <= WIDE).all()
    assert float(record.x) == pytest.approx(3e38, rel=1e-3)


ALL = {
    "newton": lambda fun, shift, **kw: univariate.newton(fun, 1.5 + shift, shift, **kw),
    "safeguarded": lambda fun, shift, **kw: univariate.newton(fun, 1.5 + shift, shift, safeguard=True, **kw),
    "secant": lambda fun, shift, **kw: univariate.secant(fun, 1.5 + shift, 2.0 + shift, shift, **kw),
    "bisection": lambda fun, shift, **kw: univariate.bisection(jax.grad(fun), shift, 4.5 + shift, shift, **kw),
    "brent_zero": lambda fun, shift, **kw: univariate.brent_zero(jax.grad(fun), shift, 4.5 + shift, shift, **kw),
    "golden_section": lambda fun, shift, **kw: univariate.golden_section(fun, shift, 4.5 + shift, shift, **kw),
    "brent_minimum": lambda fun, shift, **kw: univariate.brent_minimum(fun, shift, 4.5 + shift, shift, **kw),
}


def shifted(t, shift):
    return cubic(t - shift)


@pytest.mark.parametrize("solve", ALL.values(), ids=ALL.keys())
def test_batches_keep_their_dtype(solve):
    shifts = jnp.asarray([0.0, 10.0, -3.3], jnp.float32)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        batch = jax.jit(jax.vmap(lambda s: solve(shifted, s)))(shifts)
    assert batch.x.dtype == batch.value.dtype == jnp.float32
    assert batch.status.dtype == batch.nit.dtype == batch.nfev.dtype == jnp.int32
    assert batch.success.all()
    assert isinstance(batch.message, list)
    np.testing.assert_allclose(batch.x, 3.0 + shifts, atol=1e-2)


@pytest.mark.parametrize("name", ["safeguarded", "brent_zero"])
def test_a_lane_of_a_batch_is_the_solve_alone(name):
    def fun(t, shift):
        return cubic(t - shift) + shift * (t - shift - 3.0) ** 4

    shifts = jnp.asarray([0.0, 10.0, 0.3])
    batch = jax.vmap(lambda s: ALL[name](fun, s))(shifts)
    alone = ALL[name](fun, shifts[1])
    assert len({int(n) for n in batch.nfev}) > 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[1], rtol=1e-12, atol=1e-12), alone, batch)


@pytest.mark.parametrize("solve", ALL.values(), ids=ALL.keys())
def test_the_function_stands_once_in_the_program(solve):
    fun = marked(shifted)
    assert copies(lambda s: solve(lambda t, shift: fun(t, shift), s), jnp.asarray(0.0)) == 1


def test_repeated_calls_trace_once():
    traces = []

    def fun(t, shift):
        traces.append(1)
        return (t - shift) ** 2

    for low, shift in ((0.0, 1.0), (0.5, 2.0)):
        univariate.golden_section(fun, low, 5.0, (shift,), maxiter=int(10 + low), rtol=1e-3)
    assert len(traces) == 1


def test_whole_numbers_and_half_precision_are_taken_as_wide_floats():
    assert univariate.bisection(lambda t: t - 0.5, 0, 2).x.dtype == jnp.float64
    half = univariate.newton(lambda t: (t - 0.5) ** 2, jnp.bfloat16(2.0))
    assert half.x.dtype == jnp.float32
    assert univariate.brent_zero(lambda t: t - 0.5, jnp.float32(0), 2).x.dtype == jnp.float32


def test_the_message_needs_concrete_values():
    with pytest.raises(TypeError, match="outside jit"):
        jax.jit(lambda x: univariate.newton(cubic, x).message)(1.0)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: univariate.newton(3.0, 1.0), TypeError, "newton: fun must be a function"),
        (lambda: univariate.newton(cubic, "1"), TypeError, "newton: x0 must be"),
        (lambda: univariate.newton(cubic, jnp.ones(2)), ValueError, "newton: x0 must be a scalar"),
        (lambda: univariate.newton(cubic, jnp.nan), ValueError, "newton: x0 must be finite"),
        (lambda: univariate.newton(cubic, 1.0, safeguard="yes"), TypeError, "safeguard must be True or False"),
        (lambda: univariate.newton(cubic, 1.0, gtol=-1.0), ValueError, "newton: gtol must be in"),
        (lambda: univariate.newton(cubic, 1.0, maxiter=-1), ValueError, "newton: maxiter must be"),
        (lambda: univariate.newton(cubic, 1.0, path=1), TypeError, "newton: path must be True or False"),
        (lambda: univariate.newton(lambda t: jnp.ones(2) * t, 1.0), TypeError, r"must return a real floating scalar"),
        (lambda: univariate.newton(lambda _: 3, 1.0), TypeError, r"must return a real floating scalar"),
        (lambda: univariate.secant(cubic, 1.0, jnp.inf), ValueError, "secant: x1 must be finite"),
        (lambda: univariate.secant(cubic, 1.0, 1.0), ValueError, "secant: x0 and x1 must differ"),
        (lambda: univariate.bisection(cubic, 2.0, 2.0), ValueError, "bisection: low must be less than high"),
        (lambda: univariate.brent_zero(cubic, 3.0, 2.0), ValueError, "brent_zero: low must be less than high"),
        (lambda: univariate.brent_zero(cubic, 0.0, jnp.inf), ValueError, "brent_zero: high must be finite"),
        (lambda: univariate.golden_section(cubic, 0.0, 1.0, rtol=-1.0), ValueError, "golden_section: rtol must be in"),
        (lambda: univariate.brent_minimum(cubic, 0.0, 1.0, xtol=-1.0), ValueError, "brent_minimum: xtol must be in"),
        (lambda: univariate.brent_minimum(cubic, 0.0, 1.0, start=2.0), ValueError, "start must lie between"),
        (
            lambda: jax.jit(lambda n: univariate.newton(cubic, 1.0, maxiter=n, path=True))(3),
            TypeError,
            "path=True needs maxiter",
        ),
    ],
)
def test_bad_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()

"""Every problem without data of its own against formulas and minimisers that others wrote."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jopt import problems

EPS = np.finfo(np.float64).eps


def _beale(v):
    return sum((c - v[0] * (1 - v[1] ** k)) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)))


def _himmelblau(v):
    return np.square([v[0] * v[0] + v[1] - 11, v[0] + v[1] * v[1] - 7]).sum()


def _peaks(v):
    x, y = v
    bumps = np.exp([-x * x - (y + 1) ** 2, -x * x - y * y, -((x + 1) ** 2) - y * y])
    return np.array([3 * (1 - x) ** 2, -2 * x + 10 * x**3 + 10 * y**5, -1 / 3]) @ bumps


def _booth(v):
    a = np.array([[1, 2], [2, 1]])
    return np.square(a @ v - np.array([7, 5])).sum()


def _powell_singular(v):  # residuals of Moré, Garbow, Hillstrom (1981), number 13
    a, b, c, d = v
    return np.square([a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2]).sum()


def _wood(v):  # residuals of Moré, Garbow, Hillstrom (1981), number 14
    a, b, c, d = v
    residuals = [10 * (b - a * a), 1 - a, 90**0.5 * (d - c * c), 1 - c, 10**0.5 * (b + d - 2), 10**-0.5 * (b - d)]
    return np.square(residuals).sum()


def _double_well(v):
    return np.sum((v**2 - 1) ** 2 - 1) / 4


def _finite_sum(v):
    scales = [0.5, 1, 2, 1, 0.5]
    centres = [(-1, 0.5), (0, -1), (2, 0), (1, 1.5), (0.5, 2.5)]
    return sum(a * (v[0] - p) ** 2 + (v[1] - q) ** 2 for a, (p, q) in zip(scales, centres, strict=True)) / 5


ORACLES = {
    "rosenbrock": scipy.optimize.rosen,
    "beale": _beale,
    "himmelblau": _himmelblau,
    "peaks": _peaks,
    "booth": _booth,
    "powell_singular": _powell_singular,
    "wood": _wood,
    "monkey_saddle": lambda v: np.real((v[0] + 1j * v[1]) ** 3),
    "quartic_saddle": lambda v: v[0] ** 2 + (v[1] ** 2 - 0.5) ** 2 - 0.25,
    "double_well": _double_well,
    "finite_sum": _finite_sum,
}
CASES = [*((name, {}) for name in ORACLES), ("rosenbrock", {"n": 5}), ("double_well", {"n": 3}), ("quadratic", {})]
IDS = [name + "".join(map(str, settings.values())) for name, settings in CASES]


def test_the_table_names_every_problem_of_plain_vectors():
    others = {"quadratic", "challenger", "digits_regression", "digits_network"}
    assert set(ORACLES) | others == set(problems.names())


KINDS = ("starts", "minimisers", "local_minimisers", "stationary")


@functools.cache
def _points(case):
    """Return (kind, x, value, gradient, hessian) at every recorded point of a case; one compilation for each case."""
    problem = problems.get(CASES[case][0], **CASES[case][1])
    points = [(kind, x) for kind in KINDS for x in getattr(problem, kind)]
    derivatives = jax.jit(jax.vmap(lambda x: (problem.fun(x), jax.grad(problem.fun)(x), jax.hessian(problem.fun)(x))))
    results = map(np.asarray, derivatives(jnp.stack([jnp.asarray(x) for _, x in points])))
    return problem, [(*point, *result) for point, *result in zip(points, *results, strict=True)]


@pytest.mark.parametrize("case", range(len(ORACLES) + 2), ids=IDS[: len(ORACLES) + 2])
def test_value_and_gradient_are_those_of_an_independent_formula(case):
    problem, points = _points(case)
    oracle = ORACLES[problem.name]
    for kind, x, value, gradient, _ in points:
        np.testing.assert_allclose(value, oracle(x), rtol=1e-13, atol=1e-13)
        if kind == "starts":
            ahead, behind = (scipy.optimize.approx_fprime(x, oracle, step) for step in (1e-6, -1e-6))
            np.testing.assert_allclose(gradient, (ahead + behind) / 2, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("case", range(len(CASES)), ids=IDS)
def test_recorded_points_are_stationary_and_of_the_recorded_kind(case):
    problem, points = _points(case)
    for kind, x, value, gradient, hessian in points:
        curvature = np.linalg.eigvalsh(hessian)
        if kind != "starts":
            # rounding x moves the gradient by |H| |x| eps; the formula's own rounding adds a few of these
            assert np.abs(gradient).max() <= 8 * EPS * max(1.0, np.abs(curvature).max() * np.abs(x).max())
        if kind == "minimisers":
            assert value == pytest.approx(problem.minimum, rel=4 * EPS, abs=1e-26)
            assert curvature.min() >= 0.0
        elif kind == "local_minimisers":
            assert value > problem.minimum + 1.0
            assert curvature.min() > 0.0
        elif kind == "stationary":
            assert value > problem.minimum
            assert curvature.min() < 0.0 or not np.any(hessian)
        else:
            assert value > problem.minimum


@pytest.mark.parametrize(
    ("name", "start", "minimum"),
    [
        *((name, 0, 0.0) for name in ("rosenbrock", "beale", "himmelblau", "booth", "powell_singular", "wood")),
        ("beale", 2, 0.0),
        ("himmelblau", 1, 0.0),
        ("peaks", 0, -6.5511333),
        ("peaks", 1, -3.0498494),
        ("quartic_saddle", 0, -0.25),
        ("double_well", 0, -0.5),
        ("finite_sum", 0, 2.4825),
    ],
)
def test_scipy_descends_from_the_start_to_the_recorded_minimum(name, start, minimum):
    problem = problems.get(name)
    found = scipy.optimize.minimize(ORACLES[name], problem.starts[start], method="BFGS")
    assert found.fun == pytest.approx(minimum, abs=1e-6)
    recorded = (*problem.minimisers, *problem.local_minimisers)
    assert min(np.abs(found.x - x).max() for x in recorded) < (2e-2 if name == "powell_singular" else 1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rosenbrock", 24.2), ("beale", 324.703125), ("himmelblau", 170.0), ("powell_singular", 215.0), ("wood", 19192.0)],
)
def test_first_start_has_the_value_worked_out_by_hand(name, value):
    _, points = _points(list(ORACLES).index(name))
    assert points[0][2] == pytest.approx(value, rel=1e-14)


def test_starts_are_those_of_the_literature():
    np.testing.assert_array_equal(problems.rosenbrock(3).starts, [[-1.2, 1.0, -1.2], [0.2, 0.2, 0.2]])
    np.testing.assert_array_equal(problems.beale().starts, [[2, -2], [-3, 3], [1, 1]])


def test_beale_falls_to_0_452_at_infinity():
    c = -13.875 / 14  # the least of the limit, a quadratic in c = lim x (y - 1)
    far = problems.beale().fun(jnp.array([-1e6, 1 + c / -1e6]))
    assert float(far) == pytest.approx(0.452009, abs=1e-4)


def test_negative_curvature_stands_where_the_saddles_say():
    for name in ("monkey_saddle", "quartic_saddle"):
        _, points = _points(list(ORACLES).index(name))
        gradients = [gradient for kind, _, _, gradient, _ in points if kind == "starts"]
        assert gradients[0][1] < 0.0  # upwards, away from the saddle
        assert gradients[1][1] == 0.0  # along the axis, into it
    assert problems.monkey_saddle().minimum == -np.inf
    assert problems.monkey_saddle().minimisers == ()
    _, points = _points(IDS.index("double_well3"))
    assert np.all(np.linalg.eigvalsh(points[0][4]) < 0.0)


def test_powell_singular_hessian_has_rank_two():
    _, points = _points(IDS.index("powell_singular"))
    assert [np.linalg.matrix_rank(hessian) for kind, *_, hessian in points if kind == "minimisers"] == [2]


@pytest.mark.parametrize(
    ("factory", "value", "error"),
    [
        (problems.rosenbrock, 1, ValueError),
        (problems.rosenbrock, 2.0, TypeError),
        (problems.double_well, 0, ValueError),
    ],
)
def test_dimensions_out_of_range_are_refused(factory, value, error):
    with pytest.raises(error, match=f"{factory.__name__}: n must be a whole number >= .*{value}"):
        factory(value)

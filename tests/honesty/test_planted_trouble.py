# SPDX-License-Identifier: Apache-2.0
"""Trouble planted in a plain problem: for each method the status that is right, and the best point seen.

What is right follows from what a method can know. A wall of NaN or infinity between start and minimum is the end of the
domain: NONFINITE, unless a method creeps towards it until its budget is spent. A gradient of the wrong sign leaves no
acceptable step: SEARCH_FAILED; a method that evaluates no decrease, like Adam, walks uphill to its last iteration and
returns the start. A function that falls for ever is UNBOUNDED for a search that lengthens its steps, and as soon as the
value is minus infinity; a Newton step never lengthens one. A constant, a minimum and a saddle are CONVERGED at the start: the
gradient is zero, which is all that is tested (`second_order=` asks for more). Noise in the value leaves the gradient as
it is: CONVERGED, or where the noise is too large for a search, what says so.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import wild
from honest import assert_honest

import jopt
from jopt import Status

CONVERGED, NONFINITE, UNBOUNDED = {Status.CONVERGED}, {Status.NONFINITE}, {Status.UNBOUNDED}
BUDGET = {Status.MAX_ITERATIONS, Status.MAX_EVALUATIONS}
FLOOR = {Status.SEARCH_FAILED, Status.STALLED}
NEWTON, TRUST = ("newton", "newton-cg"), ("dogleg", "trust-exact", "trust-ncg")
EYE = np.vstack([np.eye(wild.N), np.zeros((1, wild.N))])
ONE, ZEROS, ONES = np.array([1.0, 1.0, 1.0, 0.0]), np.zeros(wild.N), np.ones(wild.N)
BOWL = {"a": EYE, "shift": -ONE, "weight": np.array([1.0, 4.0, 9.0, 0.0])}
VALLEY = {
    "a": np.array([[0.0, 10.0, 0.0], [0.0, 0.0, 10.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "b": np.array([[-10.0, 0.0, 0.0], [0.0, -10.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    "shift": np.array([0.0, 0.0, 1.0, 1.0]),
    "weight": np.full(4, 2.0),
}
SADDLE = {"a": EYE, "weight": np.array([1.0, -1.0, 2.0, 0.0])}


def trouble(dtype):
    """Return the table: name -> (data, start, right statuses, statuses right for some methods alone)."""
    eps, big = float(jnp.finfo(dtype).eps), {"float32": 1e37, "float64": 1e300}[dtype]
    squares, adam = wild.LEAST_SQUARES, ("adam",)
    wall = NONFINITE | BUDGET
    # Out there the formula itself ends in NaN; whether that or minus infinity is met first depends on the last steps.
    falls = {
        **dict.fromkeys(TRUST, UNBOUNDED | NONFINITE | BUDGET),
        **dict.fromkeys((*NEWTON, *adam), BUDGET | UNBOUNDED),
    }
    uphill = dict.fromkeys(adam, BUDGET)
    # A search by halving takes a step uphill that the noise of the value hides; sixty of them are STALLED.
    hidden = uphill | dict.fromkeys(NEWTON, FLOOR | BUDGET)
    return {
        "nan outside": (
            {"kind": wild.BARRIER, "a": EYE, "weight": ONE, "slope": ONES, "shift": 1 - ONE}, 5 * ONES, CONVERGED, {},
        ),
        "nan wall": (BOWL | {"wall": 0.5, "behind": np.nan}, ZEROS, wall, dict.fromkeys(adam, NONFINITE)),
        "infinite wall": (BOWL | {"wall": 0.5, "behind": np.inf}, ZEROS, wall, dict.fromkeys(adam, NONFINITE)),
        "start behind nan": (BOWL | {"wall": 0.5, "behind": np.nan}, 2 * ONES, NONFINITE, {}),
        "start behind infinity": (BOWL | {"wall": 0.5, "behind": np.inf}, 2 * ONES, NONFINITE, {}),
        "minus infinity": (
            BOWL | {"wall": 0.5, "behind": -np.inf}, ZEROS, UNBOUNDED, dict.fromkeys(squares, NONFINITE),
        ),
        "wrong sign": (BOWL | {"sign": -1.0}, ZEROS, {Status.SEARCH_FAILED}, hidden),
        "wrong sign, curved": (
            VALLEY | {"sign": -1.0}, np.array([-1.2, 1.0, 1.0]), {Status.SEARCH_FAILED}, hidden | {"gauss-newton": FLOOR | BUDGET},
        ),
        "noise": (BOWL | {"noise": 1e3 * eps}, ZEROS, CONVERGED, {}),
        "much noise": (BOWL | {"noise": 1e-2}, ZEROS, CONVERGED | FLOOR | BUDGET, dict.fromkeys((*squares, *adam), CONVERGED)),
        "linear": ({"slope": ONES}, ZEROS, UNBOUNDED, falls | dict.fromkeys(squares, CONVERGED)),
        "concave": ({"a": EYE, "weight": -ONE}, ONES, UNBOUNDED, falls | dict.fromkeys(squares, CONVERGED)),
        "minus exponential": (
            {"kind": wild.EXP, "a": EYE, "weight": -ONE}, ZEROS, UNBOUNDED, falls | dict.fromkeys(squares, CONVERGED),
        ),
        "constant": ({"shift": np.ones(4), "weight": np.ones(4)}, ONES, CONVERGED, {}),
        "at the minimum": (BOWL, ONES, CONVERGED, {}),
        "at a saddle": (SADDLE, ZEROS, CONVERGED, {}),
        "small values": (BOWL | {"scale": 1 / big}, ZEROS, CONVERGED, {}),
        "large values": (BOWL | {"scale": big}, ZEROS, CONVERGED, uphill | dict.fromkeys(squares, NONFINITE)),
        "long scale": (BOWL | {"a": EYE / big}, ZEROS, CONVERGED, {}),
        "short scale": (BOWL | {"a": EYE * big}, ZEROS, NONFINITE, uphill | {"gauss-newton": NONFINITE | FLOOR}),
        "far start": (BOWL, big * ONES, NONFINITE, {}),
        "tiny start": (BOWL, ONES / big, CONVERGED, {}),
    }  # fmt: skip


# Where the start is all that there is to see, it comes back after one evaluation.
AT_ONCE = {
    "start behind nan", "start behind infinity", "constant", "at the minimum", "at a saddle", "small values", "long scale",
    "far start",
}  # fmt: skip


def meet(name, dtype, row):
    """Solve with the default gtol and check status and point."""
    fields, start, right, special = trouble(dtype)[row]
    d, x0 = wild.data(dtype, **fields), start.astype(dtype)
    at_start = wild.fresh(x0.astype(float), d, dtype, squares=name in wild.LEAST_SQUARES)
    with np.errstate(over="ignore"):
        steepest = float(np.max(np.abs(at_start.grad)))
    gtol = float(jnp.finfo(dtype).eps) ** 0.5 * max(1.0, steepest if np.isfinite(steepest) else 1.0)
    asked = wild.Limits(gtol=gtol)
    result = wild.solve(name, x0, d, asked)
    status = assert_honest(name, x0, d, asked, result)
    assert status in special.get(name, right), f"{status.name} after {int(result.nfev)} evaluations"
    if row in AT_ONCE:
        assert int(result.nfev) == 1
        np.testing.assert_array_equal(result.x["x"], x0)


FAST = [("lbfgs", "float32"), ("trust-ncg", "float64"), ("lm", "float64")]
SLOW = [(name, "float64") for name in (*wild.METHODS, *wild.LEAST_SQUARES) if (name, "float64") not in FAST]
SLOW += [(name, "float32") for name in ("trust-ncg", "newton-cg", "lm")]
ROWS = list(trouble("float64"))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("name", "dtype"), FAST)
def test_trouble_ends_in_the_right_status(name, dtype, row):
    meet(name, dtype, row)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("name", "dtype"), SLOW)
def test_trouble_ends_in_the_right_status_for_every_method(name, dtype, row):
    meet(name, dtype, row)


def test_data_and_limits_are_no_new_programs():
    for name, dtype in FAST[:1]:
        meet(name, dtype, "noise")
        before = wild.TRACES[name, np.dtype(dtype), False]
        for row in ("constant", "wrong sign"):
            meet(name, dtype, row)
        assert wild.TRACES[name, np.dtype(dtype), False] == before == 1


def test_a_trust_region_gives_up_where_no_value_can_show_what_is_promised():
    d = wild.data("float64", **BOWL, sign=-1.0)
    result = wild.solve("trust-ncg", ZEROS, d, wild.Limits(gtol=1e-6))
    assert Status(int(result.status)) is Status.SEARCH_FAILED
    promised = np.max(np.abs(wild.seen(result).x[-1])) * 9.0  # at the origin a step may be as short as numbers go
    assert promised > jnp.finfo("float64").eps ** 1.5


@pytest.mark.parametrize(("name", "dtype"), FAST)
def test_without_a_step_no_step_is_small(name, dtype):
    d, x0 = wild.data(dtype, **BOWL), ZEROS.astype(dtype)
    for test in ({"xtol": np.inf}, {"ftol": np.inf}):
        asked = wild.Limits(maxiter=50, **test)
        result = wild.solve(name, x0, d, asked)
        assert assert_honest(name, x0, d, asked, result) in {Status.STEP, Status.DECREASE}
        assert int(result.nit) == 1


def leaves_squared(params):
    return sum((jnp.sum((x - 1.0) ** 2) for x in params.values()), jnp.zeros((), jnp.float32))


@pytest.mark.parametrize("params", [{}, {"x": jnp.zeros((0,), jnp.float32)}], ids=["no leaf", "an empty leaf"])
def test_no_parameters_at_all_have_converged(params):
    result = jopt.minimize(leaves_squared, params, method="gradient-descent")
    assert Status(int(result.status)) is Status.CONVERGED
    assert int(result.nfev) == 1


@pytest.mark.parametrize("method", ["dogleg", "trust-exact"])
def test_no_parameters_are_refused_clearly_where_a_matrix_is_needed(method):
    with pytest.raises(ValueError, match="params must have 1 to 2000 entries for a dense Hessian, got 0"):
        jopt.minimize(leaves_squared, {}, method=method)


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(set(wild.METHODS) - {"dogleg", "trust-exact"}))
def test_no_parameters_at_all_have_converged_for_every_method(method):
    result = jopt.minimize(leaves_squared, {}, method=wild.METHODS[method])
    assert Status(int(result.status)) is Status.CONVERGED
    assert int(result.nfev) == 1


def test_no_residuals_are_refused_clearly():
    with pytest.raises(TypeError, match="residual must return at least one number"):
        jopt.least_squares(lambda params: params, {})


@pytest.mark.slow
def test_a_saddle_at_the_start_is_found_where_it_was_asked_for():
    d = wild.data("float64", **SADDLE)
    solve = functools.partial(jopt.minimize, wild.wild, {"x": ZEROS, "none": ZEROS[:0]}, (d,), "trust-ncg", maxfev=20)
    assert Status(int(solve(second_order="report").status)) is Status.SADDLE
    escaped = solve(second_order="escape")
    assert not escaped.success
    assert escaped.fun < 0.0

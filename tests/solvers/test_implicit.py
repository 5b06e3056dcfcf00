# SPDX-License-Identifier: Apache-2.0
"""The derivative of a solve: closed forms, finite differences, every mode, every switch, and what has none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status
from jopt.bench.marker import copies, jaxprs_of, marked
from jopt.solvers import loop

pytestmark = pytest.mark.slow  # compiles many programs

RNG = np.random.default_rng(3)
MATRIX = jnp.asarray(RNG.standard_normal((8, 3)))
TARGET = jnp.asarray(RNG.standard_normal(8))
HESSIAN = np.asarray(MATRIX.T @ MATRIX) + 0.7 * np.eye(3)
START = jnp.zeros(3)
# The rule does not know the method; this one is compiled in no time.
METHOD = jopt.sgd(0.04)


def ridge(w, penalty, matrix, target):
    return 0.5 * jnp.sum((matrix @ w - target) ** 2) + 0.5 * penalty * jnp.sum(w**2)


class ClosedForm:
    """The solution of ridge regression and its derivatives, from the normal equations H x = M' y."""

    def __init__(self, penalty):
        matrix, target = np.asarray(MATRIX), np.asarray(TARGET)
        inverse = np.linalg.inv(matrix.T @ matrix + penalty * np.eye(3))
        self.x = inverse @ matrix.T @ target
        self.first, self.second = -inverse @ self.x, 2 * inverse @ inverse @ self.x  # in the penalty
        self.in_target = inverse @ matrix.T
        left = target - matrix @ self.x
        self.in_matrix = np.einsum("il,k->ikl", inverse, left) - np.einsum("ik,l->ikl", self.in_target, self.x)


def solution(penalty, matrix=MATRIX, target=TARGET):
    return jopt.minimize(ridge, START, (penalty, matrix, target), METHOD, gtol=1e-10)


def assert_close(actual, expected, tol=1e-8):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=tol, atol=tol), actual, expected)


# Ridge regression has a closed form.


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev], ids=["forward", "reverse"])
def test_ridge_regression_in_penalty_and_data(jacobian):
    def x(*args):
        return solution(*args).x

    actual = jax.jit(jacobian(x, (0, 1, 2)))(0.7, MATRIX, TARGET)
    expected = ClosedForm(0.7)
    assert_close(actual, (expected.first, expected.in_matrix, expected.in_target))


def test_second_derivatives_reverse_over_reverse():
    weights, exact = np.arange(1.0, 4.0), ClosedForm(0.7)
    expected = np.sum(weights * (np.cos(exact.x) * exact.second - np.sin(exact.x) * exact.first**2))

    def ours(p):
        return jnp.sum(jnp.sin(solution(p).x) * weights)

    assert float(jax.jit(jax.grad(jax.grad(ours)))(0.7)) == pytest.approx(float(expected), rel=1e-7)


def test_the_value_has_the_envelope_derivative_and_its_second_forward_over_reverse_is_that_of_the_minimum():
    def ours(p):
        return solution(p).fun

    first, second = jax.jit(lambda p: jax.jvp(jax.grad(ours), (p,), (1.0,)))(0.7)
    exact = ClosedForm(0.7)
    assert float(first) == pytest.approx(0.5 * exact.x @ exact.x, rel=1e-9)
    assert float(second) == pytest.approx(exact.x @ exact.first, rel=1e-7)


# What has no derivative, and what to hand over how.


def cosine(x, shape, count, on):
    """Return a function with a minimum that depends on `shape`; count and on are no numbers to differentiate in."""
    scaled = jnp.where(on, 1.0, 2.0) * count
    return scaled * (jnp.sum(jnp.cosh(x["a"] - shape)) + (x["b"] - jnp.sum(x["a"]) * shape) ** 2), {
        "double": 2.0 * x["b"] * shape,
        "count": count,
    }


TREE = {"a": jnp.zeros(2), "b": jnp.zeros(())}


def tree_solution(shape, count, on, start=TREE):
    return jopt.minimize(cosine, start, (shape, count, on), METHOD, has_aux=True, gtol=1e-11)


def test_whole_numbers_have_no_derivative_and_aux_has_one():
    # a = shape, b = 2 shape^2, aux = 4 shape^3; the value is 2 count, whatever the shape.
    tangents = (jnp.float64(1.0), np.zeros((), jax.dtypes.float0), np.zeros((), jax.dtypes.float0))
    result, dots = jax.jvp(tree_solution, (jnp.float64(0.6), 3, True), tangents)
    assert Status(int(result.status)) is Status.CONVERGED
    assert_close(dots.x, {"a": jnp.ones(2), "b": jnp.float64(2.4)})
    assert float(dots.aux["double"]) == pytest.approx(12 * 0.36, rel=1e-7)
    assert dots.aux["count"].dtype == jax.dtypes.float0
    assert float(dots.fun) == pytest.approx(0.0, abs=1e-8)
    assert_close(dots.jac, {"a": jnp.zeros(2), "b": jnp.float64(0.0)})
    assert "status" in repr(dots)  # which has none to put into words
    for counter in (dots.nit, dots.nfev, dots.status, dots.success):
        assert counter.dtype == jax.dtypes.float0
    assert all(
        not np.any(np.asarray(t, np.float64)) for t in jax.tree.leaves(dots.state) if t.dtype != jax.dtypes.float0
    )
    grad = jax.grad(lambda s: tree_solution(s, 3, True).aux["double"])(0.6)
    assert float(grad) == pytest.approx(12 * 0.36, rel=1e-7)


def test_the_derivative_in_the_start_is_zero():
    grad = jax.grad(lambda start: tree_solution(0.6, 3, True, start).x["b"])(TREE)
    assert_close(grad, jax.tree.map(jnp.zeros_like, TREE), tol=0)


def closing(penalty, count=1):
    """Return the solution of a function that closes over what it is to be differentiated in."""
    return jopt.minimize(lambda w: count * ridge(w, penalty, MATRIX, TARGET), START, (), METHOD, gtol=1e-10).x.sum()


def expected_slope(penalty):
    return ClosedForm(penalty).first.sum()


@pytest.mark.parametrize(
    "differentiate",
    [
        lambda p: jax.grad(jax.jit(closing))(p, 2),  # a whole number, traced and closed over
        lambda p: jax.vmap(jax.grad(closing))(np.array([p, 2.0 * p]))[0],
        lambda p: jax.jvp(closing, (p,), (1.0,))[1],
    ],
    ids=["grad of jit, with an integer", "vmap of grad", "forward"],
)
def test_traced_values_that_fun_closes_over_are_hoisted(differentiate):
    assert float(differentiate(0.7)) == pytest.approx(float(expected_slope(0.7)), rel=1e-8)


class Holder:
    """An objective whose data are an attribute: a bound method equals itself from trace to trace."""

    def fun(self, w):
        return ridge(w, self.penalty, MATRIX, TARGET)

    def solve(self, penalty):
        self.penalty = penalty
        return jopt.minimize(lambda w: self.fun(w), START, (), METHOD, gtol=1e-10).x.sum()


def test_data_that_are_attributes_are_hoisted_anew_in_every_trace():
    holder = Holder()
    for penalty in (0.7, 1.1):
        assert float(jax.grad(holder.solve)(penalty)) == pytest.approx(float(expected_slope(penalty)), rel=1e-8)


# A solve that did not converge.


LIMITS = {"gtol": 1e-10, "ftol": 0.0, "target": -1.0, "maxiter": 1000}


@jax.jit
def derivatives(limits):
    """Return a solve under limits, its derivative in the penalty, and that of its gradient in reverse mode."""

    def result(penalty):
        return jopt.minimize(ridge, START, (penalty, MATRIX, TARGET), METHOD, **limits)

    return *jax.jvp(result, (0.7,), (1.0,)), jax.grad(lambda p: result(p).jac.sum())(0.7)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"maxiter": 1}, Status.MAX_ITERATIONS),
        ({"gtol": 0.0, "ftol": 1e-3}, Status.DECREASE),
        ({"target": 10.0}, Status.TARGET),
    ],
    ids=["failed", "another test", "target"],
)
def test_only_a_vanishing_gradient_has_derivatives(limits, status):
    out, dots, backward = derivatives(LIMITS | limits)
    assert Status(int(out.status)) is status
    assert np.isfinite(out.x).all()
    assert np.isnan(dots.x).all()
    assert np.isnan(dots.fun)
    assert np.isnan(dots.jac).all()
    assert np.isnan(backward)


def test_with_trust_the_formula_is_computed_at_the_point_returned():
    def result(penalty):
        return jopt.minimize(ridge, START, (penalty, MATRIX, TARGET), METHOD, maxiter=2, trust_unconverged=True)

    out, dots = jax.jvp(result, (0.7,), (1.0,))
    assert not bool(out.success)
    assert not np.asarray(dots.jac).any()
    assert_close(dots.x, -np.linalg.solve(HESSIAN, out.x))
    assert float(dots.fun) == pytest.approx(0.5 * float(jnp.sum(out.x**2)))


def test_a_lane_that_failed_does_not_spoil_the_others():
    def solved(p, n):
        result = jopt.minimize(ridge, START, (p, MATRIX, TARGET), METHOD, gtol=1e-10, maxiter=n)
        return result.x, result.success

    maxiter = np.array([1000, 1])
    _, pull, success = jax.vjp(lambda p: jax.vmap(solved)(p, maxiter), np.array([0.7, 0.9]), has_aux=True)
    assert success.tolist() == [True, False]
    pull = jax.jit(pull)
    every = np.ones((2, 3))
    assert_close(pull(every * np.asarray(success)[:, None])[0], np.array([expected_slope(0.7), 0.0]))
    assert np.isnan(pull(every)[0]).tolist() == [False, True]


def flat(x, a, tilt):
    """Return a function whose minima are a line, x_0 + x_1 = a; tilted, none of them moves to a neighbour."""
    return 0.5 * (jnp.sum(x) - a) ** 2 + tilt * (x[0] - x[1])


def test_a_singular_hessian_gives_the_shortest_answer_if_there_is_one():
    def x(a, tilt):
        return jopt.minimize(flat, jnp.asarray([1.0, 2.0]), (a, tilt), METHOD, gtol=1e-12).x

    in_a, in_tilt = jax.jit(jax.jacfwd(x, (0, 1)))(5.0, 0.0)
    assert_close(in_a, np.full(2, 0.5))  # the shortest of all with x_0. + x_1. = 1
    assert np.isnan(in_tilt).all()  # no neighbouring problem has a solution


def test_an_indefinite_hessian_is_no_minimum():
    def saddle(x, a):
        return 0.5 * (x[0] - a) ** 2 - 0.5 * (x[1] - a) ** 2

    def slope(trust):
        def x(a):
            return jopt.minimize(saddle, np.full(2, 2.0), a, METHOD, trust_unconverged=trust).x

        return jax.jvp(x, (2.0,), (1.0,))[1]

    assert np.isnan(slope(False)).all()  # the start is the saddle, and its gradient vanishes
    assert np.isfinite(slope(True)).all()


def test_data_that_are_not_finite_give_no_derivative_even_with_trust():
    def fun(x, a):
        return jnp.sum((x - jnp.sqrt(a)) ** 2)  # the slope of the root is infinite at 0

    def x(a):
        return jopt.minimize(fun, jnp.ones(2), a, METHOD, gtol=1e-9, trust_unconverged=True).x

    assert not np.isfinite(jax.jvp(x, (0.0,), (1.0,))[1]).any()


# Trees, dtypes, promotion.


def test_dtypes_are_kept_and_nothing_is_promoted():
    start = {"a": jnp.zeros(2, jnp.float32), "b": jnp.zeros((), jnp.float32)}

    def fun(x, a):
        return jnp.sum((x["a"] - a) ** 2) + (x["b"] - x["a"][0] * a) ** 2

    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        dots = jax.jvp(lambda a: jopt.minimize(fun, start, a, METHOD), (jnp.float32(0.5),), (jnp.float32(1.0),))[1]
    assert dots.x["a"].dtype == dots.x["b"].dtype == dots.fun.dtype == jnp.float32
    np.testing.assert_allclose(dots.x["b"], 1.0, atol=1e-2)


# The program.


def test_an_undifferentiated_solve_has_one_copy_and_is_traced_once():
    traces = []

    def fun(x, a):
        traces.append(1)
        return jnp.sum((x - a) ** 2)

    assert copies(lambda a: jopt.minimize(marked(fun), jnp.zeros(2), a).x, 1.0) == 1
    assert len(traces) == 1


def loops(fun):
    """Count the loops in the program of a function of the penalty."""
    return _count_loops(jax.make_jaxpr(fun)(0.7).jaxpr)


def _count_loops(jaxpr):
    total = 0
    for eqn in jaxpr.eqns:
        inner = sum(_count_loops(sub) for sub in jaxprs_of(eqn))
        # A linear solve carries its program twice, forwards and transposed.
        total += min(inner, 1) if "linear_solve" in eqn.primitive.name else inner + (eqn.primitive.name == "while")
    return total


def test_a_derivative_costs_one_linear_solve_and_that_of_the_value_none():
    plain = loops(solution)
    assert loops(jax.grad(lambda p: solution(p).x.sum())) == plain + 1  # conjugate gradients
    assert loops(jax.grad(lambda p: solution(p).fun)) == plain
    assert loops(jax.grad(lambda w: jopt.minimize(ridge, w * START, (0.7, MATRIX, TARGET), METHOD).x.sum())) == plain


# Unrolled.


def unrolled(penalty, start=START, method=METHOD, **settings):
    settings = {"maxfev": 400, "gtol": 1e-9} | settings
    return jopt.minimize(ridge, start, (penalty, MATRIX, TARGET), method, derivative="unrolled", **settings)


@functools.cache
def unrolled_forward():
    return jax.jvp(unrolled, (0.7,), (1.0,))


def test_unrolled_agrees_with_implicit_in_both_modes():
    forward = unrolled_forward()[1].x.sum()
    backward = jax.grad(lambda p: unrolled(p).x.sum())(0.7)
    assert float(forward) == pytest.approx(float(expected_slope(0.7)), rel=1e-5)
    assert float(backward) == pytest.approx(float(forward), rel=1e-9)


def test_unrolled_sees_the_start_where_the_loop_has_not_forgotten_it():
    def short(x):
        result = unrolled(0.7, x, jopt.sgd(0.01), maxfev=2)
        return result.x, result.status

    # One step of gradient descent with rate r maps x to x - r H x + ...: its derivative is I - r H.
    jacobian, status = jax.jit(jax.jacrev(short, has_aux=True))(START)
    assert_close(jacobian, np.eye(3) - 0.01 * HESSIAN)
    assert Status(int(status)) is Status.MAX_EVALUATIONS


def test_unrolled_runs_as_the_loop_does():
    plain = jopt.minimize(ridge, START, (0.7, MATRIX, TARGET), METHOD, gtol=1e-9, maxfev=400)
    for field, a, b in zip(plain._fields, plain, unrolled_forward()[0], strict=True):
        if field != "state":
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), a, b)
    assert int(plain.nfev) < 400


# Least squares.


def decay(p, t, y):
    return {"fit": p["size"] * jnp.exp(-p["rate"] * t) - y, "prior": 0.1 * p["rate"]}


TIMES = jnp.linspace(0.0, 2.0, 7)
DATA = 2.0 * jnp.exp(-1.3 * TIMES) + jnp.asarray(RNG.normal(scale=0.1, size=7))


def test_least_squares_against_finite_differences():
    def numbers(y, f_scale):
        start = {"size": 1.0, "rate": 1.0}
        fit = jopt.least_squares(decay, start, (TIMES, y), loss="soft_l1", f_scale=f_scale, gtol=1e-12)
        return jnp.stack([fit.x["size"], fit.x["rate"], fit.fun, fit.aux["prior"]])

    direction = jnp.asarray(RNG.standard_normal(7))
    h = 1e-5
    forward = jax.jit(lambda y, s: jax.jvp(numbers, (y, s), (direction, 1.0)))
    above, below = (forward(DATA + t * direction, 0.1 + t)[0] for t in (h, -h))
    along = forward(DATA, 0.1)[1]
    np.testing.assert_allclose(along, (above - below) / (2 * h), rtol=1e-6, atol=1e-7)
    weights = RNG.standard_normal(4)
    in_y, in_scale = jax.jit(jax.grad(lambda y, s: weights @ numbers(y, s), (0, 1)))(DATA, 0.1)
    np.testing.assert_allclose(in_y @ direction + in_scale, weights @ along, rtol=1e-7, atol=1e-10)


def test_a_function_without_closed_form_against_finite_differences():
    def fun(x, a):
        return jnp.sum(jnp.cosh(x - a)) + 0.3 * jnp.sin(x[0] * x[1] * a[1]) + 0.1 * jnp.sum(x**2)

    at, h, weights = np.asarray([0.4, -1.1]), 1e-5, np.asarray([1.3, -0.6])
    both = jax.jit(jax.value_and_grad(lambda a: weights @ jopt.minimize(fun, jnp.zeros(2), a, "lbfgs", gtol=1e-11).x))
    along = [(both(at + h * e)[0] - both(at - h * e)[0]) / (2 * h) for e in np.eye(2)]
    np.testing.assert_allclose(both(at)[1], along, rtol=1e-6, atol=1e-8)


# Errors.


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"derivative": "implict"}, ValueError, "minimize: derivative must be one of .* Did you mean 'implicit'"),
        ({"derivative": "unrolled"}, ValueError, "minimize: maxfev must be given with derivative='unrolled'"),
        ({"trust_unconverged": 1}, TypeError, "minimize: trust_unconverged must be True or False"),
    ],
)
def test_bad_settings_are_named(settings, error, match):
    with pytest.raises(error, match=match):
        jopt.minimize(ridge, START, (0.7, MATRIX, TARGET), **settings)


def test_the_length_of_the_unrolled_loop_cannot_be_traced():
    with pytest.raises(TypeError, match="maxfev must be a Python number with derivative='unrolled'"):
        jax.jit(lambda n: unrolled(0.7, maxfev=n).x)(5)


def test_reverse_mode_of_the_bare_loop_is_refused_by_jax():
    # What the rule replaces: JAX has no transpose of a while loop.
    def bare(p):
        objective = jopt.Objective(ridge, (p, MATRIX, TARGET))
        return loop.run(jopt.fixed_step(jopt.sgd(0.1)), objective, jopt.Stopping(), START, loop.PLAIN).best.value

    with pytest.raises(ValueError, match="Reverse-mode"):
        jax.grad(bare)(0.7)

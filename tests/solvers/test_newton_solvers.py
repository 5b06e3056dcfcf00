# SPDX-License-Identifier: Apache-2.0
"""Newton's method by a matrix and by conjugate gradients: products counted, saddles left, one copy of everything."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status
from jopt.bench.marker import copies, jaxprs_of, marked
from jopt.solvers.objective import Objective

N = 2
Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))
A = (Q * np.logspace(0, 2, N)) @ Q.T
B = np.random.default_rng(1).standard_normal(N)

SOLVERS = {"newton": jopt.newton(), "newton-cg": jopt.newton_cg()}
each = pytest.mark.parametrize("name", SOLVERS)


def quadratic(x):
    return 0.5 * x @ (A @ x) - B @ x


def rosenbrock(x):
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def double_well(x):
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4


def monkey(x):
    return x[0] ** 3 - 3 * x[0] * x[1] ** 2


def kinked(x):
    """Return a function with an infinite second derivative where x[0] = 0."""
    return jnp.abs(x[0]) ** 1.5 + (x[1] - 1.0) ** 2


compiled_gradient = jax.jit(jax.grad(rosenbrock))
FUNCTIONS = (rosenbrock, double_well, monkey, kinked, quadratic)


def one_of_them(x, which):
    """Return the value of one of the functions of two parameters: they share a compiled solve."""
    return jax.lax.switch(which, FUNCTIONS, x)


def solve(fun, x0, method, **limits):
    return jopt.minimize(one_of_them, jnp.asarray(x0), (FUNCTIONS.index(fun),), method, **limits)


def largest_slope(x):
    """Return the largest entry of the gradient of `rosenbrock` at two parameters, in double precision."""
    a, b = np.asarray(x, np.float64)
    return max(abs(-400 * a * (b - a * a) - 2 * (1 - a)), abs(200 * (b - a * a)))


@pytest.mark.parametrize("method", [jopt.newton(), jopt.newton_cg(forcing=1e-11)], ids=SOLVERS)
def test_a_quadratic_takes_one_step(method):
    result = solve(quadratic, np.zeros(N), method, gtol=1e-8)
    np.testing.assert_allclose(result.x, np.linalg.solve(A, B), rtol=1e-8)
    assert (int(result.nit), int(result.nfev)) == (1, 2)
    assert result.success
    # The point where it ends is accepted too, so its direction is made, and counted, before anyone asks for it.
    assert N <= int(result.nhev) <= 2 * N + 4


@each
def test_names_are_the_solvers_of_minimize(name):
    result = solve(rosenbrock, [-1.2, 1.0], name, gtol=1e-9)
    expected = solve(rosenbrock, [-1.2, 1.0], SOLVERS[name], gtol=1e-9)
    assert result.success
    np.testing.assert_array_equal(result.x, expected.x)
    np.testing.assert_allclose(result.x, 1.0, rtol=1e-6)
    assert int(result.nit) < 40
    assert largest_slope(result.x) <= 1.01e-9


@each
def test_products_are_counted_truly(name, monkeypatch):
    made = []
    linearize = Objective.linearize

    def counting(self, params):
        point, hvp = linearize(self, params)

        def counted(v):
            jax.debug.callback(made.append, v[0])  # called when the product is made, under `vmap` once for each
            return hvp(v)

        return point, counted

    monkeypatch.setattr(Objective, "linearize", counting)
    result = jax.block_until_ready(
        jopt.minimize(lambda x: rosenbrock(x), jnp.asarray([-1.2, 1.0]), method=name, maxiter=7)
    )
    jax.effects_barrier()
    assert int(result.nit) == 7
    assert int(result.nhev) == len(made) > 7


@each
def test_a_saddle_is_left_by_its_negative_curvature(name):
    result = solve(double_well, [1.0, 1e-9], name, gtol=1e-10)
    assert Status(int(result.status)) is Status.CONVERGED
    np.testing.assert_allclose(np.abs(result.x), [0.0, np.sqrt(0.5)], atol=1e-9)
    assert float(result.fun) == pytest.approx(-0.25)


@each
def test_the_monkey_saddle_is_left_downhill(name):
    for start in ([0.0, 1e-3], [1e-3, 2e-3], [0.5, -0.1]):
        result = solve(monkey, start, name, gtol=1e-12, maxiter=100)
        assert not result.success
        assert float(result.fun) < -1e6
        assert float(jnp.max(jnp.abs(result.x))) > 1e2


@each
def test_objective_and_product_stand_once_in_the_program(name):
    assert copies(lambda x: jopt.minimize(marked(quadratic), x, method=name), np.zeros(N)) == 1

    # A cumulative sum stands once in the value, once more (reversed) in the gradient, and twice in a product.
    def sums(jaxpr):
        inner = [sums(sub) for eqn in jaxpr.eqns for sub in jaxprs_of(eqn)]
        return sum(eqn.primitive.name == "cumsum" for eqn in jaxpr.eqns) + sum(inner)

    program = jax.make_jaxpr(lambda x: jopt.minimize(lambda x: jnp.sum(jnp.cumsum(x) ** 4), x, method=name))(
        np.zeros(N)
    )
    assert sums(program.jaxpr) == 4


@each
def test_success_is_a_certificate_in_float32_too(name):
    start = jnp.asarray([-1.2, 1.0], jnp.float32)
    gtol = float(jnp.finfo(jnp.float32).eps) ** 0.5
    result = jopt.minimize(rosenbrock, start, method=name, gtol=gtol, maxiter=200)
    assert result.x.dtype == result.fun.dtype == jnp.float32
    assert result.success
    np.testing.assert_allclose(result.jac, compiled_gradient(result.x), rtol=0, atol=0.1 * gtol)
    assert float(jnp.max(jnp.abs(result.jac))) <= gtol


@pytest.mark.slow
@each
def test_a_batch_is_a_loop_over_its_lanes(name):
    starts = jnp.asarray([[-1.2, 1.0], [2.0, 2.0], [0.5, 0.5]])
    batch = jax.vmap(lambda x: jopt.minimize(rosenbrock, x, method=name, gtol=1e-8))(starts)
    for i, start in enumerate(starts):
        one = solve(rosenbrock, start, name, gtol=1e-8)
        np.testing.assert_allclose(batch.x[i], one.x, rtol=1e-7)
        assert (int(batch.nit[i]), int(batch.nhev[i])) == (int(one.nit), int(one.nhev))


@each
def test_curvature_that_is_not_finite_does_not_end_the_descent(name):
    result = solve(kinked, [0.0, 3.0], name, gtol=1e-6, maxiter=50)
    assert result.success
    np.testing.assert_allclose(result.x, [0.0, 1.0], atol=1e-6)


@functools.cache
def program(solver):
    """Return one step of a solver as text."""
    objective, x = Objective(rosenbrock), jnp.zeros(3)
    return str(jax.make_jaxpr(lambda state: solver.step(objective, state))(solver.init(objective, x)))


def explicit(direction, search=None):
    return jopt.descent(direction, search or jopt.linesearch.backtracking(), first_trial=jopt.linesearch.constant(1.0))


SEARCH = jopt.linesearch.strong_wolfe()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (jopt.newton(), explicit(jopt.scale_by_newton())),
        (jopt.newton(damping=0.1), explicit(jopt.scale_by_newton(damping=0.1))),
        (jopt.newton(modification=None), explicit(jopt.scale_by_newton(modification=None))),
        (jopt.newton(search=SEARCH), explicit(jopt.scale_by_newton(), SEARCH)),
        (jopt.newton_cg(), explicit(jopt.scale_by_newton_cg())),
        (jopt.newton_cg(forcing=0.1), explicit(jopt.scale_by_newton_cg(forcing=0.1))),
        (jopt.newton_cg(cg_maxiter=2), explicit(jopt.scale_by_newton_cg(maxiter=2))),
        (jopt.newton_cg(preconditioner="jacobi"), explicit(jopt.scale_by_newton_cg(preconditioner="jacobi"))),
        (jopt.newton_cg(search=SEARCH), explicit(jopt.scale_by_newton_cg(), SEARCH)),
    ],
    ids=[
        "newton",
        "damping",
        "modification",
        "search",
        "newton-cg",
        "forcing",
        "maxiter",
        "preconditioner",
        "search-cg",
    ],
)
def test_a_solver_is_its_direction_with_a_search_from_one(made, expected):
    assert program(made) == program(expected)
    if made not in SOLVERS.values():
        assert all(program(made) != program(default) for default in SOLVERS.values())

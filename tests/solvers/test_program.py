# SPDX-License-Identifier: Apache-2.0
"""What is in the compiled program: one copy of the objective, few parameter-sized arrays, no new trace."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jopt
from jopt.bench.marker import copies, jaxprs_of, marked
from jopt.solvers import loop
from jopt.solvers.minimize import as_solver

SIZE = 37  # no other dimension of the program has this length


def bowl(x):
    return jnp.sum((x - 1.0) ** 2)


ONE_COPY = {
    "lbfgs": "lbfgs",
    "gradient-descent": "gradient-descent",
    "bfgs": "bfgs",
    "dfp": "dfp",
    "nonlinear-cg": "nonlinear-cg",
    "hager-zhang": jopt.lbfgs(search=jopt.linesearch.hager_zhang()),
    "weak-wolfe": jopt.lbfgs(search=jopt.linesearch.weak_wolfe()),
    "backtracking": jopt.lbfgs(search=jopt.linesearch.backtracking()),
    "exact": jopt.gradient_descent(search=jopt.linesearch.exact()),
    "chain as a direction": jopt.descent(jopt.scale_by_adam(), jopt.linesearch.strong_wolfe()),
    "jopt recipe": jopt.adam(1e-2),
    "jopt chain": jopt.chain(jopt.clip_by_global_norm(1.0), jopt.sgd(1e-2, momentum=0.9)),
    "optax recipe": optax.adamw(1e-2),
}


@pytest.mark.parametrize("method", ONE_COPY.values(), ids=ONE_COPY.keys())
def test_the_objective_stands_once_in_the_program(method):
    fun = marked(bowl)
    assert copies(lambda x: jopt.minimize(fun, x, method=method), jnp.zeros(3)) == 1


def test_a_stage_that_calls_value_fn_adds_its_own_copy():
    method = jopt.chain(jopt.scale_by_lbfgs(), jopt.scale_by_line_search())
    assert copies(lambda x: jopt.minimize(marked(bowl), x, method=method), jnp.zeros(3)) == 2


def test_the_marker_counts_what_rivals_compile():
    def solve(x):
        optimizer = optax.lbfgs()
        value, grad = jax.value_and_grad(marked(bowl))(x)
        updates, _ = optimizer.update(grad, optimizer.init(x), x, value=value, grad=grad, value_fn=marked(bowl))
        return updates

    assert copies(solve, jnp.zeros(3)) > 2


def carried_arrays(method):
    """Count parameter-sized arrays carried by the solver's loop; a history of m rows counts as m."""
    jaxpr = jax.make_jaxpr(lambda x: jopt.minimize(bowl, x, method=method))(jnp.zeros(SIZE)).jaxpr
    found = [sizes for sizes in _while_carries(jaxpr) if sizes]
    assert len(found) >= 1
    return max(sum(sizes) for sizes in found)


def _while_carries(jaxpr):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "while":
            yield [v.aval.size // SIZE for v in eqn.outvars if SIZE in v.aval.shape]
        for inner in jaxprs_of(eqn):
            yield from _while_carries(inner)


@pytest.mark.parametrize("memory", [1, 10])
def test_lbfgs_carries_at_most_2m_plus_5_arrays(memory):
    assert carried_arrays(jopt.lbfgs(memory)) == 2 * memory + 5


@pytest.mark.parametrize("kept", [1, 4])
def test_trust_ncg_carries_five_arrays_and_those_kept_of_the_path(kept):
    assert carried_arrays(jopt.trust_ncg(kept=kept)) == kept + 5


def test_gradient_descent_carries_five_arrays():
    assert carried_arrays("gradient-descent") == 5


@pytest.mark.parametrize("beta", ["hestenes-stiefel", "hager-zhang"])
def test_nonlinear_conjugate_gradients_carry_one_array_more(beta):
    assert carried_arrays(jopt.nonlinear_cg(beta)) == 6


@pytest.mark.parametrize("method", ["bfgs", "dfp"])
def test_dense_quasi_newton_methods_carry_one_matrix_more(method):
    assert carried_arrays(method) == SIZE + 5


def test_half_the_history_in_bfloat16():
    solver = jopt.lbfgs(10, history_dtype=jnp.bfloat16)
    history = jax.eval_shape(lambda x: solver.init(bowl, x), jnp.zeros(SIZE, jnp.float32)).inner.pairs
    assert history.dtype == jnp.bfloat16
    assert history.shape == (2, 10, SIZE)


@pytest.mark.parametrize("method", ["lbfgs", jopt.adam(1e-2)], ids=["lbfgs", "adam"])
def test_repeated_calls_trace_once(method):
    traces = []

    def fun(x, shift):
        traces.append(1)
        return jnp.sum((x - shift) ** 2)

    jopt.minimize(fun, jnp.zeros(2), (jnp.ones(2),), method, gtol=1e-3, maxiter=5)
    once = len(traces)
    for shift, gtol, maxiter in ((2.0, 1e-4, 6), (3.0, 1e-5, 7)):
        jopt.minimize(fun, jnp.full(2, shift), (shift * jnp.ones(2),), method, gtol=gtol, maxiter=maxiter)
    assert len(traces) == once == 1


def test_a_number_of_any_type_is_a_tolerance_without_a_new_trace():
    traces = []

    def fun(x):
        traces.append(1)
        return jnp.sum(x**2)

    for gtol in (1e-3, 0, np.float64(1e-3), jnp.float32(1e-2)):
        jopt.minimize(fun, jnp.ones(2), gtol=gtol, maxiter=np.int64(5))
    jopt.minimize(fun, jnp.ones(2), gtol=1e-3, maxiter=2**40)
    assert len(traces) == 1


def test_equal_methods_share_a_program():
    traces = []

    def fun(x):
        traces.append(1)
        return jnp.sum(x**2)

    for _ in range(3):
        jopt.minimize(fun, jnp.ones(2), method=jopt.lbfgs(memory=3), maxiter=2)
        jopt.minimize(fun, jnp.ones(2), method=jopt.adam(1e-2), maxiter=2)
    assert len(traces) == 2


def test_init_evaluates_nothing():
    evaluated = []
    for method in ("lbfgs", jopt.adam(1e-2)):
        as_solver(method).init(evaluated.append, jnp.zeros(2))
    assert evaluated == []


def test_tests_that_were_not_asked_for_are_absent_from_the_program():
    def operations(**settings):
        return len(jax.make_jaxpr(lambda x: loop_of(x, **settings))(jnp.zeros(2)).pretty_print().splitlines())

    def loop_of(x, **settings):
        objective = jopt.Objective(bowl)
        return loop.run(jopt.lbfgs(), objective, jopt.Stopping(**settings), x, loop.PLAIN).status

    plain = operations()
    for name in ("xtol", "ftol", "frtol", "target", "maxfev"):
        assert operations(**{name: 1}) > plain


@pytest.mark.parametrize("method", ["lbfgs", "gradient-descent", jopt.adam(1e-2)], ids=["lbfgs", "gd", "adam"])
def test_nothing_is_promoted_and_no_rank_is_guessed(method):
    start = {"a": jnp.zeros(SIZE, jnp.float32), "b": jnp.zeros((), jnp.float32)}
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        shapes = jax.eval_shape(
            lambda x: jopt.minimize(lambda p: jnp.sum(p["a"] ** 2) + p["b"] ** 2, x, method=method), start
        )
    assert shapes.x["a"].dtype == shapes.fun.dtype == jnp.float32


@pytest.mark.slow
def test_without_compilation_the_result_is_the_same():
    start = jnp.asarray([2.0, -1.0])
    compiled = jopt.minimize(bowl, start, maxiter=3)
    with jax.disable_jit():
        eager = jopt.minimize(bowl, start, maxiter=3)
    np.testing.assert_allclose(eager.x, compiled.x, rtol=1e-12)

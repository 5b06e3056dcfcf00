# SPDX-License-Identifier: Apache-2.0
"""Complex parameters: refused everywhere alike, and solved for as pairs of real numbers."""

import dtype_matrix as matrix
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_conformance

import jopt

REFUSED = r"{}\['a'\]\[0\] must be real floating numbers, got complex64\[2, 2\]; split it .*split_real_and_imaginary"
REAL = {"a": [np.ones((2, 2), np.float32)], "b": np.ones(3, np.float32)}
COMPLEX = {"a": [np.ones((2, 2), np.complex64)], "b": np.ones(3, np.float32)}
EXTRAS = {"value": np.float32(1.0), "value_fn": matrix.fun, "hvp": lambda v: v, "gnvp": lambda v: v, "grad": REAL}

CALLS = {
    "minimize": lambda: jopt.minimize(matrix.fun, COMPLEX),
    "minimize with a chain": lambda: jopt.minimize(matrix.fun, COMPLEX, method=jopt.adam(0.1)),
    "minimize with a chain of optax": lambda: jopt.minimize(matrix.fun, COMPLEX, method=optax.adam(0.1)),
    "minimize_batch": lambda: jopt.minimize_batch(matrix.fun, COMPLEX),
    "least_squares": lambda: jopt.least_squares(matrix.residual, COMPLEX),
    "multistart": lambda: jopt.multistart(matrix.fun, COMPLEX),
    "random_search": lambda: jopt.random_search(matrix.fun, (COMPLEX, COMPLEX), key=0),
}


@pytest.mark.parametrize("name", matrix.TRANSFORMATIONS)
def test_every_transformation_refuses_complex_leaves_and_names_the_way_out(name):
    made = matrix.TRANSFORMATIONS[name]()
    with pytest.raises(TypeError, match=REFUSED.format("params")):
        jax.eval_shape(made.init, COMPLEX)
    state = jax.eval_shape(made.init, REAL)
    for updates, params, which in ((COMPLEX, REAL, "updates"), (REAL, COMPLEX, "params")):
        with pytest.raises(TypeError, match=REFUSED.format(which)):
            jax.eval_shape(lambda g, s, p: made.update(g, s, p, **EXTRAS), updates, state, params)


def test_a_search_refuses_a_complex_gradient():
    made = jopt.scale_by_line_search()
    with pytest.raises(TypeError, match=REFUSED.format("grad")):
        made.update(REAL, made.init(REAL), REAL, **{**EXTRAS, "grad": COMPLEX})


@pytest.mark.parametrize("name", matrix.SOLVERS)
def test_every_solver_refuses_complex_leaves_and_names_the_way_out(name):
    solver = matrix.as_solver(matrix.SOLVERS[name]())
    objective = matrix.Residuals(matrix.residual) if name.endswith("residuals") else jopt.Objective(matrix.fun)
    with pytest.raises(TypeError, match=REFUSED.format("params")):
        solver.init(objective, COMPLEX)


@pytest.mark.parametrize("name", CALLS)
def test_every_call_refuses_complex_leaves_and_names_the_way_out(name):
    with pytest.raises(TypeError, match=REFUSED.format(r"\w+")):
        CALLS[name]()


def test_a_complex_value_is_refused():
    with pytest.raises(TypeError, match=r"fun must return a real floating scalar of shape \(\), got complex"):
        jopt.minimize(lambda x: jnp.sum(x) * 1j, jnp.ones(2))


# Those that need a value or a function are left out: optax's wrapper passes no extras on.
SPLIT = sorted(set(test_conformance.TABLE) - {"reduce_on_plateau", "shifted_momentum"})


@pytest.mark.parametrize("name", SPLIT)
def test_split_into_real_numbers_a_complex_leaf_is_two_real_ones(name):
    made = matrix.TRANSFORMATIONS[name]()
    split = optax.contrib.split_real_and_imaginary(made)
    re, im = jnp.asarray([0.5, -2.0, 0.0], jnp.float32), jnp.asarray([1.0, 0.0, -0.25], jnp.float32)
    whole, pair = {"z": jax.lax.complex(re, im)}, {"z": (re, im)}
    state, pair_state = split.init(whole), made.init(pair)
    for _ in range(2):
        u, state = split.update(whole, state, whole)
        v, pair_state = made.update(pair, pair_state, pair)
    assert u["z"].dtype == jnp.complex64
    np.testing.assert_array_equal(u["z"].real, v["z"][0])
    np.testing.assert_array_equal(u["z"].imag, v["z"][1])


def test_the_conjugate_of_jax_grad_is_the_gradient_of_the_two_parts():
    matrix_, b = jnp.asarray([[1.0 + 2.0j, 0.5], [0.0, 2.0 - 1.0j]]), jnp.asarray([1.0j, 2.0 + 1.0j])

    def fun(z):
        return jnp.sum(jnp.abs(matrix_ @ z - b) ** 2)

    z = jnp.asarray([0.3 - 0.1j, 1.0j])
    parts = jax.grad(lambda p: fun(jax.lax.complex(*p)))((z.real, z.imag))
    np.testing.assert_allclose(jnp.conj(jax.grad(fun)(z)), jax.lax.complex(*parts), rtol=1e-12)
    result = jopt.minimize(lambda p: fun(jax.lax.complex(*p)), (z.real, z.imag), method=jopt.sgd(0.1))
    assert bool(result.success)
    np.testing.assert_allclose(jax.lax.complex(*result.x), np.linalg.solve(matrix_, b), atol=1e-6)

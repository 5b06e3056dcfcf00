# SPDX-License-Identifier: Apache-2.0
"""The suite of Hessian-vector products: what is timed is the product, linearised once."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.bench import products
from jopt.bench.suites import Scope

TINY_SIZES = products.Sizes(5, 3, 4, 3)
PROBLEMS = {
    "network": products.network(TINY_SIZES),
    "logistic": products.logistic(TINY_SIZES),
    "rosenbrock": products.rosenbrock(5),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_every_way_to_a_product_is_the_product(case):
    problem = PROBLEMS[case]
    x, data = problem.start("float64"), problem.data("float64")
    flat, back = jax.flatten_util.ravel_pytree(x)
    assert flat.size == problem.size
    names = [name for name in products.PRODUCERS if name not in {products.BASE, "jopt gauss_newton"}]

    @jax.jit
    def found_and_expected(v):
        hessian = jax.hessian(lambda flat: problem.fun(back(flat), data))(flat)
        found = [products.PRODUCERS[name](problem, x, data)(back(v)) for name in names]
        return [jax.flatten_util.ravel_pytree(out)[0] for out in found], hessian @ v

    found, expected = found_and_expected(np.random.default_rng(0).standard_normal(flat.size))
    scale = float(jnp.max(jnp.abs(expected)))
    for name, out in zip(names, found, strict=True):
        # The naive one is at a point that is TINY away.
        np.testing.assert_allclose(out, expected, atol=scale * (1e-4 if name.startswith("jax") else 1e-10))


def test_the_base_is_the_gradient():
    problem = PROBLEMS["network"]
    x, data = problem.start("float64"), problem.data("float64")
    found = products.PRODUCERS[products.BASE](problem, x, data)(x)
    expected = jax.grad(problem.fun)(x, data)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_gauss_newton_product_is_that_of_the_residuals():
    problem = PROBLEMS["rosenbrock"]
    x = problem.start("float64")
    jacobian = jax.jacobian(lambda x: jnp.concatenate(problem.model(x, ())))(x)
    v = jnp.arange(5.0)
    found = products.PRODUCERS["jopt gauss_newton"](problem, x, ())(v)
    np.testing.assert_allclose(found, 2 * jacobian.T @ (jacobian @ v), rtol=1e-12)


def test_a_run_holds_one_linearisation_and_says_what_a_product_costs():
    heat = products._heat("rosenbrock", PROBLEMS["rosenbrock"], "float32")
    assert heat.contenders[0].name == products.BASE
    assert (heat.work, heat.unit) == (products.PRODUCTS, "product")
    ready = heat.contenders[1].prepare()
    assert ready.figures["linearisations"] == 1
    assert ready.figures["gradients"] < 2.5
    out = ready.run()
    assert out.dtype == "float32"
    np.testing.assert_allclose(out, PROBLEMS["rosenbrock"].start("float32"), rtol=1e-2)


def test_cases_are_those_of_the_scope():
    assert [heat.case for heat in products.heats(Scope())] == [
        "network",
        "logistic",
        "rosenbrock 1,000",
        "rosenbrock 100,000",
    ]
    quick = products.heats(Scope(quick=True))
    assert [heat.case for heat in quick] == ["network", "logistic", "rosenbrock 1,000"]
    assert quick[0].size < products.heats(Scope())[0].size

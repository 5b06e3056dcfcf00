# SPDX-License-Identifier: Apache-2.0
"""Hessian-vector products in three modes against the dense Hessian, and what stands in the compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import nested_tree, tolerance

from jopt import tree
from jopt.bench.marker import copies, marked
from jopt.curvature import expansion, hvp

MODES = ("forward-over-reverse", "reverse-over-forward", "reverse-over-reverse")


def flat(a):
    return np.asarray(tree.ravel(a)[0], np.float64)


def curved(x, shift=0.0):
    """Return a function with curvature between all leaves."""
    z = jnp.tanh(x["layer"]["bias"] @ x["layer"]["weight"].T * x["gain"]) + jnp.asarray(shift, x["gain"].dtype)
    return jnp.sum(z**3) + jnp.sum(x["layer"]["bias"] ** 4) * x["gain"]


@jax.jit
def every_mode(x, v, shift):
    dense = jax.hessian(lambda vector: curved(tree.ravel(x)[1](vector), shift))(tree.ravel(x)[0])
    products = {mode: hvp(curved, x, (shift,), mode=mode)(v) for mode in MODES}
    return products, dense


@pytest.fixture(scope="module", params=["float32", "float64"])
def evaluated(request):
    x, v = (nested_tree(jnp.dtype(request.param), seed) for seed in (1, 2))
    products, dense = every_mode(x, v, 0.5)
    return x, v, products, np.asarray(dense, np.float64)


@pytest.mark.parametrize("mode", MODES)
def test_products_are_those_of_the_dense_hessian(evaluated, mode):
    x, v, products, dense = evaluated
    expected = dense @ flat(v)
    bound = 10 * tolerance(x["gain"].dtype) * np.abs(expected).max()
    np.testing.assert_allclose(flat(products[mode]), expected, atol=bound)
    assert jax.tree.map(jnp.result_type, products[mode]) == jax.tree.map(jnp.result_type, x)
    assert jax.tree.structure(products[mode]) == jax.tree.structure(x)


@pytest.mark.parametrize("mode", MODES)
def test_products_are_symmetric(mode):
    x, u, v = (nested_tree(jnp.float64, seed) for seed in (1, 2, 3))
    h_u, h_v = jax.jit(lambda x: tuple(map(hvp(curved, x, mode=mode), (u, v))))(x)
    assert float(flat(u) @ flat(h_v)) == pytest.approx(float(flat(v) @ flat(h_u)), rel=1e-12)


# Which rules a mode needs: the derivative of x^3 as a function without a forward rule, within a forward or a reverse rule.


@jax.custom_vjp
def slope(x):
    return 3.0 * x**2


slope.defvjp(lambda x: (slope(x), x), lambda x, t: (6.0 * x * t,))


@jax.custom_jvp
def forward_cube(x):
    return x**3


forward_cube.defjvp(lambda x, t: (forward_cube(x[0]), slope(x[0]) * t[0]))


@jax.custom_vjp
def reverse_cube(x):
    return x**3


reverse_cube.defvjp(lambda x: (x**3, x), lambda x, t: (3.0 * x**2 * t,))


@pytest.mark.parametrize(
    ("mode", "through_forward_rule", "through_reverse_rule"),
    [
        ("forward-over-reverse", False, True),
        ("reverse-over-forward", True, False),
        ("reverse-over-reverse", True, True),
    ],
)
def test_each_mode_uses_the_rules_that_it_says(mode, through_forward_rule, through_reverse_rule):
    for fun, works in ((forward_cube, through_forward_rule), (reverse_cube, through_reverse_rule)):
        if works:
            assert float(hvp(fun, jnp.float64(2.0), mode=mode)(1.0)) == 12.0
        else:
            with pytest.raises((TypeError, NotImplementedError)):  # JAX's own: there is no such rule
                hvp(fun, jnp.float64(2.0), mode=mode)(1.0)


@pytest.mark.parametrize("mode", MODES)
def test_the_objective_stands_once_and_outside_the_loop_that_applies_it(mode):
    fun = marked(lambda x: jnp.sum(jnp.sin(x) ** 3))

    def many_products(x, v):
        product = hvp(fun, x, mode=mode)
        return jax.lax.fori_loop(0, 5, lambda _, v: product(v), v)

    assert copies(many_products, jnp.ones(3), jnp.ones(3)) == 1
    text = str(jax.make_jaxpr(many_products)(jnp.ones(3), jnp.ones(3)))
    body = text[text.index("scan[") :]  # nothing comes after the loop
    assert "mul" in body
    for nonlinear in ("marker", "sin", "cos", "pow"):
        assert nonlinear not in body


def test_the_expansion_is_one_evaluation():
    fun = marked(lambda x: jnp.sum(x**4))

    def program(x):
        at = expansion(fun, x)
        return at.value, at.grad, at.hvp(at.hvp(x))

    assert copies(program, jnp.ones(3)) == 1
    value, grad, twice = program(jnp.array([1.0, 2.0, 3.0]))
    assert float(value) == 98.0
    np.testing.assert_allclose(grad, [4.0, 32.0, 108.0])
    np.testing.assert_allclose(twice, [144.0, 48.0**2 * 2.0, 108.0**2 * 3.0])


def test_auxiliary_output_and_further_arguments_are_passed_on():
    def fun(x, c, power):
        return c * jnp.sum(x**power), {"sum": jnp.sum(x)}

    x = jnp.array([1.0, 2.0])
    at = expansion(fun, x, (5.0, 3), has_aux=True)
    assert float(at.aux["sum"]) == 3.0
    assert expansion(lambda x: jnp.sum(x), x).aux is None
    for mode in MODES:
        np.testing.assert_allclose(hvp(fun, x, (5.0, 3), mode=mode, has_aux=True)(jnp.ones(2)), [30.0, 60.0])


def test_a_mixed_tree_under_strict_promotion_keeps_its_dtypes():
    x = {"half": jnp.ones(2, "bfloat16"), "single": jnp.ones(3, "float32"), "weak": 1.0}

    def fun(x):
        terms = [jnp.sum(leaf.astype("float32") ** 3) for leaf in (x["half"], x["single"], x["weak"])]
        return terms[0] * terms[1] * terms[2]

    for mode in MODES:
        with jax.numpy_dtype_promotion("strict"):
            product = jax.eval_shape(lambda x, mode=mode: hvp(fun, x, mode=mode)(x), x)
        dtypes = jax.tree.map(lambda x: x.dtype.name, product)
        assert dtypes == {"half": "bfloat16", "single": "float32", "weak": "float64"}


def test_vmap_over_points_is_a_loop():
    points = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    products = jax.jit(jax.vmap(lambda x: hvp(lambda x: jnp.prod(x) ** 2, x)(jnp.ones(2))))(points)
    for (a, b), product in zip(points, products, strict=True):
        np.testing.assert_allclose(product, [2 * b**2 + 4 * a * b, 4 * a * b + 2 * a**2])


def test_bad_arguments_raise():
    x = {"a": jnp.ones(3)}

    def total(x):
        return jnp.sum(x["a"])

    with pytest.raises(ValueError, match=r"hvp: mode must be one of .* Did you mean 'reverse-over-reverse'"):
        hvp(total, x, mode="reverse-over-revers")
    with pytest.raises(TypeError, match="hvp: fun must be a function, got float"):
        hvp(3.0, x)
    with pytest.raises(TypeError, match=r"hvp: x\['a'\] must be real floating numbers, got int.*; write 1.0 for 1"):
        hvp(total, {"a": jnp.arange(3)})
    with pytest.raises(TypeError, match=r"hvp: fun must return a real floating scalar of shape \(\), got float64\[3\]"):
        hvp(lambda x: x["a"], x)
    with pytest.raises(TypeError, match="expansion: fun must return a real scalar, got a tuple; pass has_aux=True"):
        expansion(lambda x: (total(x), 1.0), x)
    with pytest.raises(TypeError, match=r"expansion: with has_aux=True fun must return a pair \(value, aux\)"):
        expansion(total, x, has_aux=True)
    with pytest.raises(TypeError, match="hvp: has_aux must be True or False, got 1"):
        hvp(total, x, has_aux=1)
    with pytest.raises(
        ValueError, match=r"hvp: v must be a tree like x, but at \['a'\] v has shape \(2,\) and x has shape \(3,\)"
    ):
        hvp(total, x)({"a": jnp.ones(2)})
    with pytest.raises(ValueError, match="hvp: v must be a tree like x"):
        hvp(total, x)(jnp.ones(3))
    with pytest.raises(TypeError, match=r"hvp: v\['a'\] must be real floating numbers"):
        hvp(total, x)({"a": jnp.arange(3)})

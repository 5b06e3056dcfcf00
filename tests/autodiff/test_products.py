# SPDX-License-Identifier: Apache-2.0
"""Derivatives from products: known answers, JAX's own, and that the mode asked for is the mode used."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import DTYPES, assert_trees_close, nested_tree

from jopt import curvature
from jopt.autodiff import gradient, hessian, jacobian, jvp, partial_derivative, vjp

POINT = [2.5, 2.1, 1.4]


def textbook(t):
    return jnp.stack([t[0] - 7 * t[1] + 5 * t[2], t[1] * t[2]])


def of_trees(x):
    """Return a tree of a scalar and a matrix from a nested tree."""
    layer = x["layer"]
    hidden = jnp.tanh(layer["weight"].sum(0) * x["gain"] + layer["bias"])
    return {"energy": jnp.sum(hidden**2), "pairs": jnp.outer(hidden, jnp.sin(hidden[:2]))}


def energy(x):
    return of_trees(x)["energy"]


@jax.custom_vjp
def backward_only(x):
    return jnp.sum(x**2)


backward_only.defvjp(lambda x: (jnp.sum(x**2), x), lambda x, w: (2 * w * x,))


def forward_only(x):
    """Return |x|^2 doubled until it is above 10: the loop has no reverse mode."""
    return jax.lax.while_loop(lambda s: s < 10, lambda s: 2 * s, jnp.sum(x**2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_textbook_answers(dtype):
    @jax.jit
    def answers(x, v, w):
        entries = [partial_derivative(textbook, x, 1, 2, mode=mode) for mode in ("forward", "reverse")]
        matrices = [jacobian(textbook, x, mode=mode) for mode in ("auto", "forward", "reverse")]
        return entries, jvp(textbook, x, v), vjp(textbook, x, w), matrices

    made = answers(*(jnp.array(a, dtype) for a in (POINT, [0, 1, 0], [1, 0])))
    matrix = [[1, -7, 5], [0, 1.4, 2.1]]
    expected = [2.1, 2.1], [-7, 1.4], [1, -7, 5], [matrix, matrix, matrix]
    for a, e in zip(made, expected, strict=True):
        assert_trees_close(jnp.asarray(a), jnp.asarray(e, dtype))


def test_products_are_those_of_jax():
    @jax.jit
    def both(x, v):
        y, tangent = jax.jvp(of_trees, (x,), (v,))
        own = tangent, jax.vjp(of_trees, x)[1](y)[0], jax.grad(energy)(x)
        return (jvp(of_trees, x, v), vjp(of_trees, x, y), gradient(energy, x)), own

    assert_trees_close(*both(nested_tree(jnp.float32), nested_tree(jnp.float32, seed=1)))


def test_jacobian_of_trees_is_that_of_jax():
    x = nested_tree(jnp.float32)
    expected = jax.jit(jax.jacfwd(of_trees))(x)
    for made in jax.jit(lambda x: [jacobian(of_trees, x, mode=mode) for mode in ("forward", "reverse")])(x):
        assert_trees_close(made, expected)


def test_jacobian_has_the_dtype_of_the_output_in_either_mode():
    def widened(x):
        return jnp.sin(x).astype(jnp.float64)

    for mode in ("forward", "reverse"):
        assert jacobian(widened, jnp.ones(2, jnp.float32), mode=mode).dtype == jnp.float64


def test_hessian_of_a_tree_is_that_of_jax_in_every_mode():
    modes = ("auto", "forward-over-forward", "forward-over-reverse", "reverse-over-forward", "reverse-over-reverse")
    f = lambda x: jnp.sum(jnp.sin(x["a"] * x["b"]))  # noqa: E731
    x = {"a": jnp.array([0.3, -0.2]), "b": jnp.array(0.7), "empty": jnp.zeros(0)}
    expected = jax.jit(jax.hessian(f))(x)
    for mode, made in jax.jit(lambda x: {m: hessian(f, x, mode=m) for m in modes})(x).items():
        chex.assert_trees_all_equal_shapes_and_dtypes(made, expected)
        chex.assert_trees_all_close(made, expected, rtol=1e-12, atol=1e-14, custom_message=mode)


def test_hessian_keeps_float32():
    made = hessian(lambda x: jnp.sum(x["a"] ** 3), {"a": jnp.ones(2, jnp.float32)})
    assert_trees_close(made, {"a": {"a": 6 * jnp.eye(2, dtype=jnp.float32)}})


def test_hessian_holds_the_matrix_of_the_curvature_room():
    x = jnp.array([0.3, -0.2, 0.5])
    f = lambda x: jnp.sum(jnp.sin(x) * x[0])  # noqa: E731
    np.testing.assert_allclose(hessian(f, x), curvature.hessian(f, x), rtol=1e-12)


@pytest.mark.parametrize(("inputs", "outputs", "forward"), [(2, 5, True), (5, 2, False), (3, 3, True)])
def test_auto_goes_forward_where_inputs_are_no_more_than_outputs(inputs, outputs, forward):
    matrix = np.arange(inputs * outputs, dtype=np.float64).reshape(outputs, inputs)
    f = lambda x: jnp.tanh(matrix @ x)  # noqa: E731
    programs = [
        str(jax.make_jaxpr(functools.partial(jacobian, f, mode=m))(jnp.ones(inputs)))
        for m in ("auto", "forward", "reverse")
    ]
    assert programs[0] == programs[1 if forward else 2]
    assert programs[1] != programs[2]


def test_the_jacobian_is_made_of_one_pass_for_each_column_or_row():
    columns = jax.make_jaxpr(lambda x: jacobian(jnp.tanh, x, mode="forward"))(jnp.ones(3))
    shapes = {v.aval.shape for equation in columns.eqns for v in equation.outvars}
    assert (3, 3) in shapes

    def wide(x):
        return jnp.concatenate([jnp.tanh(x), x])

    for mode, count in (("forward", 3), ("reverse", 6)):
        program = jax.make_jaxpr(functools.partial(jacobian, wide, mode=mode))(jnp.ones(3))
        batched = [v.aval.shape for e in program.eqns if e.primitive.name == "mul" for v in e.outvars]
        assert (count, 3) in batched, mode


def test_a_mode_that_f_lacks_raises_and_the_other_serves():
    x = jnp.array([1.0, 2.0])
    with pytest.raises(TypeError, match="custom_vjp"):
        jacobian(backward_only, x, mode="forward").block_until_ready()
    with pytest.raises(TypeError, match="custom_vjp"):
        partial_derivative(backward_only, x, 0, 1).block_until_ready()
    with pytest.raises(ValueError, match="Reverse-mode"):
        jacobian(forward_only, x, mode="reverse")
    with pytest.raises(ValueError, match="Reverse-mode"):
        partial_derivative(forward_only, x, 0, 1, mode="reverse")
    np.testing.assert_allclose(jacobian(backward_only, x), [2, 4])  # auto: two inputs, one output
    np.testing.assert_allclose(jacobian(forward_only, x, mode="forward"), [4, 8])
    np.testing.assert_allclose(partial_derivative(backward_only, x, 0, 1, mode="reverse"), 4)
    np.testing.assert_allclose(partial_derivative(forward_only, x, 0, 1), 8)
    np.testing.assert_allclose(hessian(forward_only, x, mode="forward-over-forward"), 4 * np.eye(2))
    with pytest.raises(ValueError, match="Reverse-mode"):
        hessian(forward_only, x)  # auto: two inputs
    np.testing.assert_allclose(hessian(forward_only, x[:1] + 1), [[8.0]])  # auto: one


def test_products_work_under_vmap_and_strict_promotion():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 3)), jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        made = jax.vmap(lambda x: jacobian(jnp.sin, x))(x)
        curved = jax.vmap(lambda x: hessian(lambda x: jnp.sum(jnp.sin(x)), x))(x)
    np.testing.assert_allclose(made, jnp.cos(x)[:, :, None] * jnp.eye(3), rtol=1e-6)
    np.testing.assert_allclose(curved, -jnp.sin(x)[:, :, None] * jnp.eye(3), rtol=1e-6)


def test_empty_and_scalar_trees():
    assert jacobian(jnp.sin, jnp.zeros(0)).shape == (0, 0)
    assert jacobian(lambda x: x[:0], jnp.ones(3), mode="reverse").shape == (0, 3)
    assert jacobian(lambda _: {"y": jnp.ones(2)}, {}) == {"y": {}}
    assert jacobian(lambda _: (), jnp.ones(3)) == ()
    for mode in ("auto", "forward-over-forward"):
        assert hessian(lambda _: 1.0, {}, mode=mode) == {}
    np.testing.assert_allclose(jacobian(jnp.sin, 0.0), 1.0)
    np.testing.assert_allclose(gradient(jnp.sin, 0.0), 1.0)


def test_a_function_is_taken_as_it_is_now():
    count = 2
    f = lambda x: jnp.ones(count) * x  # noqa: E731
    assert jacobian(f, 1.0, mode="reverse").shape == (2,)
    count = 3  # as where a cell of a notebook runs again
    assert jacobian(f, 1.0, mode="reverse").shape == (3,)


@pytest.mark.parametrize("function", [jacobian, hessian, gradient])
def test_what_is_no_function_of_floats_is_refused(function):
    name = function.__name__
    with pytest.raises(TypeError, match=f"{name}: f must be a function"):
        function(3.0, jnp.ones(2))
    with pytest.raises(TypeError, match=rf"{name}: x\['n'\] must be real floating numbers.*write 1.0"):
        function(lambda x: x["n"] * 1.0, {"n": 1})


def test_outputs_that_are_not_floating_are_named():
    with pytest.raises(TypeError, match=r"jvp: f\(x\)\['k'\] must be real floating numbers, got int32"):
        jvp(lambda x: {"k": jnp.int32(1), "y": x}, 1.0, 1.0)
    for function in (gradient, hessian):
        with pytest.raises(TypeError, match=f"{function.__name__}: f must return a real floating scalar"):
            function(jnp.sin, jnp.ones(2))


def test_wrong_vectors_modes_and_indices_are_refused():
    x = jnp.array(POINT)
    with pytest.raises(ValueError, match=r"jvp: v must be a tree like x.*shape \(2,\).*shape \(3,\)"):
        jvp(textbook, x, jnp.ones(2))
    with pytest.raises(ValueError, match=r"vjp: w must be a tree like f\(x\).*shape \(3,\).*shape \(2,\)"):
        vjp(textbook, x, jnp.ones(3))
    with pytest.raises(ValueError, match=r"jacobian: mode must be one of.*Did you mean 'forward'"):
        jacobian(textbook, x, mode="foward")
    with pytest.raises(ValueError, match="hessian: mode must be one of"):
        hessian(jnp.sum, x, mode="reverse")
    with pytest.raises(ValueError, match="partial_derivative: mode must be one of"):
        partial_derivative(textbook, x, 0, 0, mode="auto")
    with pytest.raises(ValueError, match=r"partial_derivative: i must be a whole number in \[0, 1\], got 2"):
        partial_derivative(textbook, x, 2, 0)
    with pytest.raises(ValueError, match=r"partial_derivative: j must be a whole number in \[0, 2\], got -1"):
        partial_derivative(textbook, x, 0, -1)
    with pytest.raises(TypeError, match="partial_derivative: j must be a whole number"):
        partial_derivative(textbook, x, 0, 1.0)
    with pytest.raises(ValueError, match="partial_derivative: j must count an entry, but there is none: x is empty"):
        partial_derivative(lambda x: jnp.sum(x), jnp.zeros(0), 0, 0)

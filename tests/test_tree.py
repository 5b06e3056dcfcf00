# SPDX-License-Identifier: Apache-2.0
"""Pytrees as vectors: each function against NumPy on the concatenated leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import nested_tree

from jopt import tree


def raveled(a):
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(a)])


A, B = nested_tree(jnp.float64, seed=1), nested_tree(jnp.float64, seed=2)


def test_inner_products_and_norms_are_those_of_the_concatenation():
    assert float(tree.vdot(A, B)) == pytest.approx(raveled(A) @ raveled(B), rel=1e-14)
    assert float(jnp.multiply(*tree.scaled_norm(A))) == pytest.approx(np.linalg.norm(raveled(A)), rel=1e-14)
    assert float(tree.max_abs(A)) == np.abs(raveled(A)).max()
    assert tree.size(A) == raveled(A).size


def test_combinations_are_those_of_the_concatenation():
    np.testing.assert_allclose(raveled(tree.axpy(3.0, A, B)), 3 * raveled(A) + raveled(B), rtol=1e-15)
    np.testing.assert_allclose(raveled(tree.scale(-2.0, A)), -2 * raveled(A))
    np.testing.assert_allclose(raveled(tree.sub(A, B)), raveled(A) - raveled(B))
    np.testing.assert_allclose(raveled(tree.negative(A)), -raveled(A))


def test_scalars_have_the_widest_leafs_dtype_and_at_least_float32():
    for dtypes, expected in (
        (("bfloat16",), jnp.float32),
        (("float16", "bfloat16"), jnp.float32),
        (("float32", "bfloat16"), jnp.float32),
        (("float32", "float64"), jnp.float64),
        ((), jnp.float32),
    ):
        leaves = [jnp.ones(2, d) for d in dtypes]
        assert tree.scalar_dtype(leaves) == expected
        assert tree.vdot(leaves, leaves).dtype == expected
        assert tree.max_abs(leaves).dtype == expected
    assert tree.coarsest_eps([jnp.ones(2, "float64"), jnp.ones(2, "bfloat16")]) == 2.0**-7
    assert tree.coarsest_eps([jnp.ones(2, "float64")]) == 2.0**-52


def test_half_precision_is_summed_in_float32():
    a = jnp.full(4096, 1.0, jnp.bfloat16)  # in bfloat16 the sum would stop at 256
    assert float(tree.vdot(a, a)) == 4096.0
    assert tree.axpy(0.5, a, a).dtype == jnp.bfloat16


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_the_scaled_norm_stays_in_the_range_where_squares_leave_it(size):
    a = jnp.asarray([3.0, 4.0], jnp.float32) * jnp.float32(size)
    unit, ratio = tree.scaled_norm(a)
    assert float(unit * ratio) == pytest.approx(5.0 * size, rel=1e-6)
    assert float(tree.scaled_norm(jnp.zeros(2))[1]) == 0.0


def test_nan_is_never_lost():
    assert np.isnan(tree.max_abs({"a": jnp.asarray([1.0, jnp.nan]), "b": jnp.asarray([9.0])}))
    assert np.isnan(tree.vdot(jnp.asarray([jnp.nan]), jnp.asarray([0.0])))


def test_where_chooses_few_and_many_scalars_alike():
    for number in (1, 2, 7):
        a = [jnp.float32(i) for i in range(number)] + [jnp.bool_(True), jnp.int32(3), jnp.ones(2)]
        b = [jnp.float32(-i) for i in range(number)] + [jnp.bool_(False), jnp.int32(4), jnp.zeros(2)]
        for condition, expected in ((True, a), (False, b)):
            chosen = tree.where(jnp.bool_(condition), a, b)
            for x, y in zip(chosen, expected, strict=True):
                assert x.dtype == y.dtype
                np.testing.assert_array_equal(x, y)


def test_casting_drops_weak_types_and_leaves_keys_alone():
    weak = jnp.asarray(1.0)
    assert tree.cast(weak, jnp.ones((), jnp.float32)).weak_type is False
    key = jax.random.key(1)
    assert tree.strong([key])[0] is key


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        (jnp.arange(3), r"x0\['a'\].*int.*write 1.0"),
        (1j * jnp.ones(2), "real and imaginary"),
        ("text", "got str"),
        (True, "bool"),
    ],
)
def test_what_cannot_be_a_parameter_is_named(leaf, words):
    with pytest.raises(TypeError, match=words):
        tree.as_parameters("minimize", "x0", {"a": leaf})


def test_trees_that_differ_are_named_with_both_shapes():
    with pytest.raises(ValueError, match=r"\['a'\] updates has shape \(3, 1\) and params has shape \(3,\)"):
        tree.check_like("f", "updates", {"a": jnp.ones((3, 1))}, "params", {"a": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"\['b'\]"):
        tree.check_like("f", "updates", {"a": jnp.ones(3)}, "params", {"a": jnp.ones(3), "b": jnp.ones(2)})
    tree.check_like("f", "updates", A, "params", B)


def test_stacked_trees_are_matrices_with_trees_for_rows():
    rows = jax.tree.map(lambda *xs: jnp.stack(xs), *[nested_tree(jnp.float32, seed) for seed in (3, 4, 5)])
    matrix = np.stack([raveled(jax.tree.map(lambda x, i=i: x[i], rows)) for i in range(3)])
    v = nested_tree(jnp.float32, seed=6)
    products = tree.stacked_vdot(rows, v)
    np.testing.assert_allclose(products, matrix @ raveled(v), rtol=1e-5)
    assert products.dtype == jnp.float32
    total = tree.stacked_sum(jnp.array([1.0, -2.0, 0.5]), rows)
    np.testing.assert_allclose(raveled(total), np.array([1.0, -2.0, 0.5]) @ matrix, rtol=1e-5, atol=1e-6)
    assert jax.tree.map(jnp.result_type, total) == jax.tree.map(jnp.result_type, v)
    half = {"a": jnp.ones((2, 4096), jnp.bfloat16)}
    assert tree.stacked_vdot(half, {"a": half["a"][0]}).tolist() == [4096.0, 4096.0]  # summed in float32
    assert tree.stacked_sum(jnp.ones(2), half)["a"].dtype == jnp.bfloat16


def test_one_device_holds_no_sharded_array():
    assert not tree.is_sharded(jnp.ones(3))
    assert not tree.is_sharded(np.ones(3))
    seen = []
    jax.eval_shape(lambda x: seen.append(tree.is_sharded(x)) or x, jnp.ones(3))
    assert seen == [False]

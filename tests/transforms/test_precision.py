# SPDX-License-Identifier: Apache-2.0
"""Arithmetic in float32 or wider, storage in any dtype."""

from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import nested_tree

from jopt.transforms.precision import filled, leafwise, number, one_minus_power


@pytest.mark.parametrize(
    ("gradient", "moment", "arithmetic"),
    [
        ("float32", "float32", "float32"),
        ("bfloat16", "bfloat16", "float32"),
        ("float32", "bfloat16", "float32"),
        ("float16", "bfloat16", "float32"),
        ("float32", "float64", "float64"),
        ("float64", "bfloat16", "float64"),
    ],
)
def test_kernel_computes_in_the_widest_dtype_and_results_return_to_theirs(gradient, moment, arithmetic):
    seen = []

    def kernel(g, m, *, setting):
        seen.append((g.dtype, m.dtype, setting.dtype))
        return g + setting, m + setting

    with jax.numpy_dtype_promotion("strict"):
        g, m = jnp.ones(2, gradient), jnp.ones(2, moment)
        u, new = leafwise("f", kernel, g, m, setting=jnp.asarray(1.0, jnp.float32))
    assert seen == [(jnp.dtype(arithmetic),) * 3]
    assert (u.dtype, new.dtype) == (jnp.dtype(gradient), jnp.dtype(moment))


def test_each_leaf_of_a_mixed_tree_has_its_own_arithmetic():
    tree = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones((), jnp.float64), "c": None, "d": jnp.zeros((0,))}
    u, m = leafwise("f", lambda g, m, *, k: (k * g, m + k * g), tree, tree, k=jnp.asarray(1 / 3))
    assert jax.tree.structure(u) == jax.tree.structure(m) == jax.tree.structure(tree)
    assert u["b"] == 1 / 3  # not 1/3 in float32
    assert [x.dtype for x in jax.tree.leaves(m)] == [x.dtype for x in jax.tree.leaves(tree)]


def test_tree_without_leaves_passes():
    assert leafwise("f", lambda g, m: (g, m), {"a": None}, {"a": None}) == ({"a": None}, {"a": None})


def test_sums_are_rounded_once_and_in_storage_only():
    third = jnp.full(1, 1 / 3, jnp.bfloat16)
    (u, m) = leafwise("f", lambda g, m: (256.0 * (m + g) - 256.0 * m, m + g), third, jnp.full(1, 64.0, jnp.bfloat16))
    assert u == 256 * third  # bfloat16 arithmetic gives 0 or 128
    assert m == 64.5


def test_trees_unlike_each_other_raise_with_function_and_path():
    a, b = {"x": [jnp.ones(2)]}, {"x": [jnp.ones(3)]}
    with pytest.raises(ValueError, match=r"scale_by_it: updates .*\['x'\]\[0\].*\(2,\).*the state.*\(3,\)"):
        leafwise("scale_by_it", lambda g, m: (g, m), a, b)
    with pytest.raises(ValueError, match="scale_by_it: updates"):
        leafwise("scale_by_it", lambda g, m: (g, m), a, {"y": [jnp.ones(2)]})


def test_number_drops_numpy_dtypes_and_casts_arrays():
    assert type(number(np.float64(0.1), jnp.float32)) is float
    assert type(number(1, jnp.float32)) is float
    assert number(jnp.asarray(0.1), jnp.float32).dtype == jnp.float32


def test_filled_takes_the_parameters_dtypes_or_the_one_given():
    params = nested_tree(jnp.float32)
    for dtype, expected in ((None, jnp.float32), (jnp.bfloat16, jnp.bfloat16)):
        tree = filled(params, 0.5, dtype)
        assert jax.tree.structure(tree) == jax.tree.structure(params)
        for x, p in zip(jax.tree.leaves(tree), jax.tree.leaves(params), strict=True):
            assert x.shape == p.shape
            assert x.dtype == expected
            assert (x == 0.5).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("base", [0.5, 0.9, 0.999, 1 - 2.0**-23, 1e-30])
@pytest.mark.parametrize("exponent", [1, 2, 1000, 10**9])
def test_one_minus_power_is_exact_to_round_off(base, exponent, dtype):
    getcontext().prec = 60
    exact = 1 - Decimal(base) ** exponent
    eps = float(jnp.finfo(dtype).eps)
    for b in (base, jnp.asarray(base, jnp.float64)):
        value = one_minus_power(b, jnp.int32(exponent), dtype)
        assert value.dtype == dtype
        error = abs(Decimal(float(value)) / exact - 1)
        assert error <= 8 * eps


def test_subtraction_as_written_loses_digits_that_one_minus_power_keeps():
    naive = 1 - np.float32(0.999) ** np.float32(1)
    assert abs(naive / 0.001 - 1) > 1e-5
    assert one_minus_power(0.999, 1, jnp.float32) == pytest.approx(0.001, rel=5e-7)


def test_one_minus_power_at_the_ends():
    for zero in (0.0, jnp.asarray(0.0)):
        assert one_minus_power(zero, 3, jnp.float32) == 1.0
        assert one_minus_power(zero, 0, jnp.float32) == 0.0
    assert one_minus_power(0.9, np.inf, jnp.float32) == 1.0
    assert one_minus_power(0.9, 0, jnp.float32) == 0.0


def test_second_moment_in_bfloat16_stalls_where_the_module_says():
    def kernel(g, v):
        return g, 0.999 * v + 0.001 * g * g

    def body(v, _):
        return leafwise("f", kernel, jnp.ones((), jnp.float32), v)[1], None

    for dtype, limit in ((jnp.bfloat16, 0.25), (jnp.float32, 1 - 0.999**5000)):
        last, _ = jax.lax.scan(body, jnp.zeros((), dtype), None, length=5000)
        assert float(last) == pytest.approx(limit, rel=1e-4)

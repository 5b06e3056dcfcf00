# SPDX-License-Identifier: Apache-2.0
"""Clipping: the bound holds, the direction stays, extreme and non-finite gradients, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import DTYPES, assert_trees_close, gradients, nested_tree, run

from jopt import tree
from jopt.transforms.clipping import clip, clip_by_global_norm, clip_by_leaf_norm

FACTORIES = {"clip": clip, "clip_by_global_norm": clip_by_global_norm, "clip_by_leaf_norm": clip_by_leaf_norm}


def clipped(factory, k, g):
    return run(factory(k), [g], g)[0][0]


def by_hand(name, g, k):
    """The three formulas in NumPy float64."""
    leaves = [np.asarray(x, np.float64) for x in jax.tree.leaves(g)]
    total = np.sqrt(sum((x**2).sum() for x in leaves))
    shrink = {
        "clip": lambda x: np.clip(x, -k, k),
        "clip_by_global_norm": lambda x: x * min(1.0, k / total),
        "clip_by_leaf_norm": lambda x: x * min(1.0, k / max(np.sqrt((x**2).sum()), 1e-300)),
    }[name]
    outs = [jnp.asarray(shrink(x), y.dtype) for x, y in zip(leaves, jax.tree.leaves(g), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(g), outs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("k", [0.3, 3.0, 100.0])
def test_equals_transcription(name, k, dtype):
    for g in gradients(dtype, 3):
        assert_trees_close(clipped(FACTORIES[name], k, g), by_hand(name, g, k))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [0.3, 100.0])
def test_equals_optax(k, dtype):
    for g in gradients(dtype, 10):
        assert_trees_close(clipped(clip, k, g), clipped(optax.clip, k, g))
        assert_trees_close(clipped(clip_by_global_norm, k, g), clipped(optax.clip_by_global_norm, k, g))
    leaf = nested_tree(dtype)["layer"]["weight"]
    assert_trees_close(clipped(clip_by_leaf_norm, k, leaf), clipped(optax.clip_by_block_rms, k / leaf.size**0.5, leaf))


def test_a_gradient_within_the_bound_is_returned_bit_for_bit():
    g = nested_tree(jnp.float32)
    for factory in FACTORIES.values():
        assert_trees_close(clipped(factory, 100.0, g), g, rtol=0.0)


def test_norms_see_the_whole_tree_or_one_leaf():
    g = {"a": jnp.array([3.0]), "b": jnp.array([0.0, 4.0])}
    assert_trees_close(clipped(clip_by_global_norm, 1.0, g), {"a": jnp.array([0.6]), "b": jnp.array([0.0, 0.8])})
    assert_trees_close(clipped(clip_by_leaf_norm, 1.0, g), {"a": jnp.array([1.0]), "b": jnp.array([0.0, 1.0])})
    assert_trees_close(clipped(clip, 3.5, g), {"a": jnp.array([3.0]), "b": jnp.array([0.0, 3.5])})


@pytest.mark.parametrize("size", [1e30, 3e38, 1e-30])
@pytest.mark.parametrize("factory", [clip_by_global_norm, clip_by_leaf_norm])
def test_norm_neither_overflows_nor_underflows_in_float32(factory, size):
    # size^2 leaves the range of float32; at 3e38 so does the norm itself
    g = jnp.array([size, -size, size, size], jnp.float32)
    k = 1.0 if size > 1 else 1e-32
    np.testing.assert_allclose(clipped(factory, k, g), k * np.array([0.5, -0.5, 0.5, 0.5]), rtol=1e-6)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_gradient_that_is_not_finite_stays_so(bad):
    g = {"a": jnp.array([bad, 5.0]), "b": jnp.array([5.0])}
    np.testing.assert_equal(clipped(clip, 1.0, g), {"a": np.array([bad, 1.0]), "b": np.array([1.0])})
    np.testing.assert_equal(clipped(clip_by_global_norm, 1.0, g), jax.tree.map(np.asarray, g))
    np.testing.assert_equal(clipped(clip_by_leaf_norm, 1.0, g), {"a": np.array([bad, 5.0]), "b": np.array([1.0])})


@pytest.mark.parametrize("factory", [clip_by_global_norm, clip_by_leaf_norm])
def test_bfloat16_norms_are_summed_in_float32(factory):
    # summed in bfloat16, ones stop adding up at 256
    g = jnp.ones(10_000, jnp.bfloat16)
    u = clipped(factory, 1.0, g)
    assert u.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(u, np.float64), 0.01, rtol=2.0**-8)


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_derivative_at_zero_is_the_identity(factory):
    zero, v = jnp.zeros(3), jnp.array([1.0, -2.0, 3.0])
    pushed = jax.jvp(lambda g: clipped(factory, 1.0, g), (zero,), (v,))[1]
    pulled = jax.vjp(lambda g: clipped(factory, 1.0, g), zero)[1](v)[0]
    np.testing.assert_array_equal(pushed, v)
    np.testing.assert_array_equal(pulled, v)


@pytest.mark.parametrize("factory", [clip_by_global_norm, clip_by_leaf_norm])
def test_derivative_of_a_clipped_gradient_is_the_projected_one(factory):
    g, v = jnp.array([3.0, 4.0, 12.0]), jnp.array([1.0, -2.0, 3.0])
    unit = g / 13.0
    expected = 2.0 * (v - unit * jnp.vdot(unit, v)) / 13.0
    np.testing.assert_allclose(jax.jvp(lambda x: clipped(factory, 2.0, x), (g,), (v,))[1], expected, rtol=1e-14)


def test_scaled_norm_is_the_norm():
    g = nested_tree(jnp.float64)
    m, r = tree.scaled_norm(g)
    np.testing.assert_allclose(m * r, jnp.sqrt(tree.vdot(g, g)), rtol=1e-14)
    assert 1.0 <= float(r) <= tree.size(g) ** 0.5
    assert float(tree.scaled_norm({})[1]) == 0.0


@pytest.mark.parametrize(("name", "argument"), [(n, "max_delta" if n == "clip" else "max_norm") for n in FACTORIES])
def test_wrong_bound_is_named(name, argument):
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"{name}: {argument} must be in \(0, inf\), got {wrong}"):
            FACTORIES[name](wrong)
    with pytest.raises(TypeError, match=f"{name}: {argument} must be a number"):
        FACTORIES[name](None)

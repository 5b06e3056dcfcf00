# SPDX-License-Identifier: Apache-2.0
"""What tests share: trees, tolerances, comparisons."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

DTYPES = (jnp.float32, jnp.float64)


def tolerance(dtype):
    """Return the relative error that ten rounded steps of a formula may collect in this dtype."""
    return {"bfloat16": 2e-2, "float32": 2e-5, "float64": 1e-12}[jnp.dtype(dtype).name]


def nested_tree(dtype, seed=0):
    """Return a nested tree with a matrix, a vector, a scalar and an empty leaf."""
    rng = np.random.default_rng(seed)
    shapes = {"layer": {"weight": (3, 4), "bias": (4,)}, "gain": (), "unused": (0,)}
    return jax.tree.map(
        lambda s: jnp.asarray(rng.standard_normal(s), dtype), shapes, is_leaf=lambda s: isinstance(s, tuple)
    )


def assert_trees_close(actual, expected, rtol=None):
    """Assert equal structure, dtypes and shapes, and entries close relative to each leaf's largest entry."""
    chex.assert_trees_all_equal_structs(actual, expected)
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    for (path, a), e in zip(jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        name = jax.tree_util.keystr(path)
        a_, e_ = np.asarray(a, np.float64), np.asarray(e, np.float64)
        bound = (tolerance(jnp.result_type(e)) if rtol is None else rtol) * max(1e-30, np.abs(e_).max(initial=0.0))
        np.testing.assert_allclose(a_, e_, rtol=0, atol=bound, err_msg=name)


EVALUATED = []


def counted(fun):
    """Return a function of (x, *args), x an array, that tells the host of each evaluation, under `vmap` of each lane's."""

    def counting(x, *args):
        jax.debug.callback(lambda _: EVALUATED.append(1), x[0])
        return fun(x, *args)

    return counting


def evaluations(solve):
    """Return what a solve returns and how often it evaluated what is `counted`."""
    EVALUATED.clear()
    result = jax.block_until_ready(solve())
    jax.effects_barrier()
    return result, len(EVALUATED)


def gradients(dtype, steps=10):
    """Return a list of nested trees, one for each step."""
    return [nested_tree(dtype, seed=100 + i) for i in range(steps)]


def run(transformation, grads, params, **extra):
    """Return the updates that a transformation makes of a list of gradients at fixed parameters, and its last state."""
    state = transformation.init(params)
    updates = []
    for g in grads:
        u, state = transformation.update(g, state, params, **extra)
        updates.append(u)
    return updates, state

# SPDX-License-Identifier: Apache-2.0
"""Formulas in NumPy as oracles of transformations."""

import jax
import jax.numpy as jnp
import numpy as np


def transcribed(formula, grads, **settings):
    """Return the updates that a formula makes of a list of gradients, computed leaf by leaf in float64.

    The formula maps the list of one leaf's gradients to an iterable of its updates.
    """
    structure = jax.tree.structure(grads[0])
    columns = [
        [jnp.asarray(u, g[0].dtype) for u in formula([np.asarray(x, np.float64) for x in g], **settings)]
        for g in zip(*(jax.tree.leaves(g) for g in grads), strict=True)
    ]
    return [structure.unflatten(row) for row in zip(*columns, strict=True)]


def stored(x, dtype):
    """Return x as it is read back from storage in a dtype (None: float64)."""
    return x if dtype is None else np.asarray(x).astype(dtype).astype(np.float64)


def relative_difference(a, b):
    """Return the largest difference between two lists of trees, in units of each leaf's largest entry in `b`."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    pairs = [(np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in pairs]
    return max(np.abs(x - y).max() / np.abs(y).max() for x, y in pairs if x.size)

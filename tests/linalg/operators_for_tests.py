# SPDX-License-Identifier: Apache-2.0
"""Operators on nested trees with known matrices."""

import jax
import jax.numpy as jnp
import numpy as np
from support import nested_tree

from jopt import tree

SIZE = tree.size(nested_tree(jnp.float64))


def symmetric(eigenvalues, seed=0):
    """Return a symmetric matrix with these eigenvalues in a random basis."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))
    a = (q * np.asarray(eigenvalues)) @ q.T
    return (a + a.T) / 2


def on_trees(matrix, like):
    """Return v -> A v on trees like `like`, computed in the dtype of their scalars."""
    dtype = tree.scalar_dtype(like)
    a = jnp.asarray(matrix, dtype)

    def operator(v):
        vector, unravel = tree.ravel(v)
        return unravel(jnp.matmul(a, vector, precision="highest"))

    return operator


def flat(a):
    """Return a tree as one NumPy vector in float64."""
    return np.asarray(tree.ravel(a)[0], np.float64)


def rows(basis):
    """Return a stacked tree as a NumPy matrix, one row for each entry of the leading axis."""
    return np.asarray(jax.vmap(lambda a: tree.ravel(a)[0])(basis), np.float64)

# SPDX-License-Identifier: Apache-2.0
"""Random trees to probe an operator with: independent entries of mean 0 and variance 1.

A tree is one draw, cut into leaves: a generator is costly to compile, and there would be one for each leaf.

Signs have the least variance in estimates of traces and diagonals and make them exact for diagonal matrices
(Hutchinson 1990). Normal entries have no preferred axes: with probability one none of them is orthogonal to an
eigenvector, while a vector of signs may be (to (1, -1), say, in the plane): they start Krylov spaces.

Reference: Hutchinson (1990), A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
splines, Commun. Stat. Simul. Comput. 19(2), doi:10.1080/03610919008812866.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from jopt import tree
from jopt.types import Params


def rademacher(key: jax.Array, like: Params) -> Params:
    """Return a tree of independent signs, -1 or 1, with the shapes and dtypes of `like`."""
    return _cut(jax.random.rademacher, key, like)


def normal(key: jax.Array, like: Params) -> Params:
    """Return a tree of independent standard normal entries, with the shapes and dtypes of `like`."""
    return _cut(jax.random.normal, key, like)


def _cut(draw: Callable[..., jax.Array], key: jax.Array, like: Params) -> Params:
    vector, unravel = tree.ravel(like)
    return unravel(draw(key, vector.shape, vector.dtype))

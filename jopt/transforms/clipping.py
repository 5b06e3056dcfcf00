# SPDX-License-Identifier: Apache-2.0
"""Clipping: bound an update that would throw the parameters off a cliff. The bound is k.

    clip                  u_i = min(max(g_i, -k), k)       every entry by itself
    clip_by_global_norm   u = g min(1, k / |g|)            one norm over the whole tree: keeps the direction
    clip_by_leaf_norm     u_j = g_j min(1, k / |g_j|)      one norm for each leaf j

Norms are formed in float32 or wider and relative to the largest entry, so that no square overflows or underflows: a
float32 gradient of 1e30 is scaled to norm k, and not to zero.

A gradient that is not finite stays so. `clip` leaves NaN and infinite entries as they are and clips the others; the
norms leave a tree, or a leaf, that holds one as it is, since it has no norm to compare. A stage that looks for such
entries (`optax.apply_if_finite` around the chain) still sees them.

All three are differentiable at zero, with the identity as derivative.

Reference: Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks, Algorithm 1,
arXiv:1211.5063.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.transforms.checked import transformation
from jopt.types import Transformation, Updates, stateless


def bound_entries(g: Updates, k: Any) -> Updates:
    """Return g with its finite entries in [-k, k]."""

    def leaf(x: jax.Array) -> jax.Array:
        top = jnp.asarray(k).astype(x.dtype)
        return jnp.where(jnp.isfinite(x), jnp.clip(x, -top, top), x)

    return jax.tree.map(leaf, g)


def bound_norm(g: Updates, k: Any) -> Updates:
    """Return g min(1, k / |g|), and g itself where it is not finite."""
    m, r = tree.scaled_norm(g)
    k_ = jnp.asarray(k).astype(m.dtype)
    # |g| = m r may overflow, but neither k / m nor g / m and k / r do (k / m = inf only if |g| is far below k).
    exceeds = jnp.isfinite(r) & (r > k_ / m)
    factor = k_ / jnp.where(exceeds, r, jnp.ones_like(r))

    def leaf(x: jax.Array) -> jax.Array:
        return jnp.where(exceeds, (x.astype(m.dtype) / m * factor).astype(x.dtype), x)

    return jax.tree.map(leaf, g)


@transformation
def clip(max_delta: float) -> Transformation:
    """Bound the absolute value of every entry.

    Args:
      max_delta: k, in (0, inf).

    Raises:
      ValueError: if `max_delta` is outside its range.
      TypeError: if it is not a number.
    """
    validate.number("clip", "max_delta", max_delta, low=0.0, low_open=True, high_open=True, hint=_HINT)
    return stateless(lambda g, _: bound_entries(g, max_delta))


@transformation
def clip_by_global_norm(max_norm: float) -> Transformation:
    """Bound the Euclidean norm of the whole tree, keeping its direction.

    Args:
      max_norm: k, in (0, inf).

    Raises:
      ValueError: if `max_norm` is outside its range.
      TypeError: if it is not a number.

    Reference: Pascanu, Mikolov and Bengio (2013), Algorithm 1.
    """
    validate.number("clip_by_global_norm", "max_norm", max_norm, low=0.0, low_open=True, high_open=True, hint=_HINT)
    return stateless(lambda g, _: bound_norm(g, max_norm))


@transformation
def clip_by_leaf_norm(max_norm: float) -> Transformation:
    """Bound the Euclidean norm of each leaf by itself.

    `optax.clip_by_block_rms(threshold)` is this with k = threshold times the square root of the leaf's size.

    Args:
      max_norm: k, in (0, inf), the same for every leaf.

    Raises:
      ValueError: if `max_norm` is outside its range.
      TypeError: if it is not a number.
    """
    validate.number("clip_by_leaf_norm", "max_norm", max_norm, low=0.0, low_open=True, high_open=True, hint=_HINT)
    return stateless(lambda g, _: jax.tree.map(lambda x: bound_norm(x, max_norm), g))


_HINT = "Leave the stage out for no clipping."

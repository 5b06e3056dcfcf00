# SPDX-License-Identifier: Apache-2.0
r"""The limited-memory BFGS matrix itself, in compact form, and its inverse on a part of the entries.

`jopt.linalg.limited_memory` multiplies by the inverse. With S, Y the pairs as columns, theta = 1 / gamma, D the diagonal
of S'Y and L the part of it where the s is newer than the y,

    B = theta I - W M W',    W = [theta S, Y],    M^-1 = [theta S'S, L; L', -D]

and on the entries F, with W_F the rows of W there, by the formula of Sherman, Morrison and Woodbury,

    (B_FF)^-1 = I / theta + W_F K^-1 W_F' / theta^2,    K = M^-1 - W_F'W_F / theta

    K = [theta S_A'S_A, L_A - U_F; (L_A - U_F)', -D - Y_F'Y_F / theta]

where A are the other entries, L_A the part L of S_A'Y_A, and U_F the rest of S_F'Y_F, its diagonal with it: nothing
cancels. The columns of W are scaled so that the diagonals of both blocks of M^-1 are ones. W'v costs one pass over the
history, and so does W c; a `Compact` or a `Reduced` costs the products of the pairs among each other.

References: Byrd, Nocedal and Schnabel (1994), Representations of quasi-Newton matrices and their use in limited memory
methods, Math. Program. 63, eq. (2.22), doi:10.1007/BF01582063; Byrd, Lu, Nocedal and Zhu (1995), A limited memory
algorithm for bound constrained optimization, SIAM J. Sci. Comput. 16(5), section 3, eq. (5.11), doi:10.1137/0916069.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.linalg.limited_memory import Kept, stacked
from jopt.types import Params, Scalar


class Compact(NamedTuple):
    """B = theta I - W M W'. m is the memory.

    Attributes:
      rows: the s, then the y, a tree like params with leaves of shape (2m, ...), in at least float32.
      scales: what the rows are multiplied by to give the columns of W, zero where there is no pair, shape (2m,).
      middle: M, shape (2m, 2m).
      theta: <y, y>/<s, y> of the newest pair, 1 while there is none.
      newer: where the s of the row is newer than the y of the column, bool, shape (m, m).
    """

    rows: Params
    scales: jax.Array
    middle: jax.Array
    theta: Scalar
    newer: jax.Array


class Reduced(NamedTuple):
    """The inverse of B on the entries F.

    Attributes:
      free: F, a tree of booleans like params.
      inner: K, shape (2m, 2m).
    """

    free: Params
    inner: jax.Array


def compact(history: Kept) -> Compact:
    """Return B of the pairs in a history."""
    memory = history.curvatures.shape[0]
    rows = jax.tree.map(lambda p: p.reshape(2 * memory, *p.shape[2:]).astype(tree.wide(p.dtype)), stacked(history))
    slots = jnp.arange(memory, dtype=jnp.int32)
    age = jnp.mod(history.stored - 1 - slots, memory)
    newer = age[:, None] < age[None, :]
    products = tree.stacked_gram(jax.tree.map(lambda r: r[:memory], rows), rows)
    there = history.curvatures > 0
    theta = 1 / history.gamma
    s_s, y_s = jnp.diagonal(products), history.curvatures
    roots = jnp.concatenate([jnp.sqrt(s_s / theta), jnp.sqrt(y_s)])
    there = jnp.concatenate([there, there])
    scales = jnp.where(there, 1 / jnp.where(there, roots, 1), 0)
    blocks = _scaled(products, scales, theta)
    cross = jnp.where(newer, blocks[:, memory:], 0)
    inverse = _symmetric(
        _ones_where_empty(blocks[:, :memory], scales[:memory]), cross, -jnp.eye(memory, dtype=theta.dtype)
    )
    return Compact(rows, scales, jnp.linalg.inv(inverse), theta, newer)


def reduced(b: Compact, free: Params) -> Reduced:
    """Return the inverse of B on the entries where `free` holds."""
    memory = b.newer.shape[0]
    held = jax.tree.map(jnp.logical_not, free)
    s = jax.tree.map(lambda r: r[:memory], b.rows)
    y = jax.tree.map(lambda r: r[memory:], b.rows)
    by_s = _scaled(tree.stacked_gram(_only(held, s), b.rows), b.scales, b.theta)
    by_y = tree.stacked_gram(_only(free, y), b.rows) * b.scales[memory:, None] * b.scales[None, :]
    s_y = (by_y[:, :memory] / b.theta).T
    cross = jnp.where(b.newer, by_s[:, memory:], -s_y)
    last = -jnp.eye(memory, dtype=b.theta.dtype) - by_y[:, memory:] / b.theta
    return Reduced(free, _symmetric(_ones_where_empty(by_s[:, :memory], b.scales[:memory]), cross, last))


def along(b: Compact, v: Params) -> jax.Array:
    """Return W'v, shape (2m,)."""
    return b.scales * tree.stacked_vdot(b.rows, v)


def product(b: Compact, v: Params, w_v: jax.Array) -> Params:
    """Return B v, given W'v."""
    part = tree.stacked_sum(-b.scales * (b.middle @ w_v), b.rows)
    return tree.axpy(b.theta, v, part)


def form(b: Compact, dot: Scalar, w_u: jax.Array, w_v: jax.Array) -> Scalar:
    """Return <u, B v>, given <u, v>, W'u and W'v."""
    return b.theta * dot - jnp.sum(w_u * jnp.sum(b.middle * w_v[None, :], axis=1))


def solve(b: Compact, part: Reduced, r: Params) -> Params:
    """Return v with (B v)_F = r_F and v = 0 on the other entries, for r = 0 there."""
    inner = jnp.linalg.solve(part.inner, along(b, r))
    v = tree.axpy(1 / b.theta, r, tree.stacked_sum(b.scales * inner / jnp.square(b.theta), b.rows))
    return _only(part.free, v)


def _only(mask: Params, a: Params) -> Params:
    """Return a, which may be stacked, where the mask holds, and zero elsewhere."""
    return jax.tree.map(lambda m, x: jnp.where(m, x, 0), mask, a)


def _scaled(products: jax.Array, scales: jax.Array, theta: Scalar) -> jax.Array:
    """Return inner products of the s with all rows as blocks of M^-1 or K."""
    return products * (scales[: products.shape[0], None] * scales[None, :] / theta)


def _ones_where_empty(block: jax.Array, scales: jax.Array) -> jax.Array:
    """Return a block with ones on its diagonal for the slots without a pair, so that it can be inverted."""
    return block + jnp.diag(jnp.where(scales > 0, 0, 1).astype(block.dtype))


def _symmetric(first: jax.Array, cross: jax.Array, last: jax.Array) -> jax.Array:
    return jnp.block([[first, cross], [cross.T, last]])

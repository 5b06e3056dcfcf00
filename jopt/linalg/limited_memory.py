# SPDX-License-Identifier: Apache-2.0
r"""The limited-memory BFGS matrix: the last m pairs (s, y) and the product B g, in two forms.

BFGS maps B to V' B V + rho s s' with V = I - rho y s', rho = 1 / <s, y>; started from gamma I with gamma = <s, y>/<y, y>
of the newest pair and applied to the m newest pairs from old to new, it gives B without ever forming it.

`two_loop` is Nocedal's recursion: 2m inner products, each waiting for the one before.

`gram` needs the inner products of the pairs among themselves and with g, all taken in one pass over the history, and one
more pass for the combination. With S, Y the pairs as columns, R the upper triangle of S'Y in order of age and
D = diag(S'Y),

    u = R^-1 S'g,    w = R^-T (D u + gamma (Y'Y u - Y'g)),    B g = gamma g + S w - gamma Y u.

R^-1 itself is kept. A new pair appends a column, [R r; 0 sigma]^-1 = [R^-1 -R^-1 r / sigma; 0 1 / sigma], and the oldest
leaves by striking its row and column, which for a triangular matrix commutes with inversion. So nothing is solved, and
an error in a column leaves with it. Rows and columns stay in the slot of their pair: no order of age is ever needed.

A pair is kept when <s, y> > eps |s| |y|: the test does not depend on the scale of x or f, B stays positive definite,
and a pair with a NaN or without movement fails it. So does one with a square that overflows, or with a subnormal <s, y>
or <y, y>.

The error of B g is at most 10 eps |B| |g| by `two_loop` and 30 eps |B| |g| by `gram`, with eps that of the scalars. The
tests hold both to it, against dense matrices in long double, on runs on quadratics of condition 10 and 1e6, with exact
and noisy gradients, on random and on nearly collinear steps, in float32 and float64; the largest seen are 7 and 14. Both
grow as 1 / cos(s, y) where that is small, because <s, y> itself is then known no better.

References: Nocedal (1980), Updating quasi-Newton matrices with limited storage, Math. Comp. 35(151),
doi:10.1090/S0025-5718-1980-0572855-7; Byrd, Nocedal and Schnabel (1994), Representations of quasi-Newton matrices and
their use in limited memory methods, Math. Program. 63, eq. (3.1), doi:10.1007/BF01582063.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jopt import scalars, tree
from jopt.types import Params, Scalar

# Up to this number of parameters `choose` takes the recursion.
TWO_LOOP_MOST = 12

# Up to this number of entries in a leaf a CPU is faster with one product of s and y with g, y and s, which is one call,
# than with five sums; of longer ones it first copies five vectors, and then multiplies at a tenth of the speed.
ONE_PRODUCT_MOST = 10_000

# Up to this number of entries in a leaf, and where there are many leaves, products are written as sums: XLA compiles
# sums of one shape once and each product anew. Beyond it sums are slower.
SUMS_MOST = 2_000

HIGHEST = jax.lax.Precision.HIGHEST


class Pairs(NamedTuple):
    """The pairs, as the recursion reads them. m is the memory; a slot without a pair holds zeros.

    Two arrays: XLA's CPU backend runs a program's small kernels one after the other as long as none of them touches an
    array of more than 512 bytes; else it hands them to threads, which takes longer than the kernels do. Ten pairs of
    twelve parameters in float32 are two arrays of 480 bytes, of six in float64 as well.

    Attributes:
      s: a tree like params with leaves of shape (m, ...).
      y: likewise.
      curvatures: <s_i, y_i>, shape (m,).
      gamma: <s, y>/<y, y> of the newest pair, 1 while there is none.
      stored: pairs kept since the last reset, int32; the next one goes into slot `stored` mod m.
    """

    s: Params
    y: Params
    curvatures: jax.Array
    gamma: Scalar
    stored: jax.Array


class History(NamedTuple):
    """The pairs and what is known of their inner products, as `gram` reads them.

    One array: long vectors are then multiplied with all rows in one pass.

    Attributes:
      pairs: tree like params with leaves of shape (2, m, ...): the s, then the y.
      curvatures: as in `Pairs`.
      inverse: R^-1 with rows and columns in slots, shape (m, m).
      yy: Y'Y, shape (m, m).
      gamma: as in `Pairs`.
      stored: as in `Pairs`.
    """

    pairs: Params
    curvatures: jax.Array
    inverse: jax.Array
    yy: jax.Array
    gamma: Scalar
    stored: jax.Array


Kept = Pairs | History
"""What L-BFGS keeps, as the form of its product reads it."""

AnyHistory = TypeVar("AnyHistory", bound=Kept)

Product = Callable[[Any, Params, Params, Params], tuple[Any, Params]]
"""`(history, s, y, g) -> (history with the pair if it is fit to keep, B g)`."""


def empty(params: Params, memory: int, dtype: Any = None, *, product: Product | None = None) -> Kept:
    """Return the history without pairs, for which B is the identity.

    Args:
      params: tree of floating arrays.
      memory: pairs to keep, m >= 1.
      dtype: dtype of the stored pairs; None keeps each leaf's.
      product: the form that will read it, `two_loop` or `gram`; None for the one that `choose` returns.
    """
    scalar = tree.scalar_dtype(params)

    def rows(*shape: int) -> Params:  # made of zeros like the leaf, which are spread over devices as the leaf is
        return jax.tree.map(lambda x: jnp.broadcast_to(jnp.zeros_like(x, dtype), (*shape, *x.shape)), params)

    curvatures, gamma, stored = jnp.zeros(memory, scalar), jnp.ones((), scalar), jnp.zeros((), jnp.int32)
    if (product or choose(params)) is two_loop:
        return Pairs(rows(memory), rows(memory), curvatures, gamma, stored)
    inverse, yy = (jnp.zeros((memory, memory), scalar) for _ in range(2))
    return History(rows(2, memory), curvatures, inverse, yy, gamma, stored)


def forget(history: AnyHistory, condition: jax.Array) -> AnyHistory:
    """Return the history without its pairs if the condition holds. The stored pairs stay, with weights of zero."""
    if isinstance(history, History):
        history = history._replace(inverse=jnp.where(condition, 0, history.inverse))
    return history._replace(
        curvatures=jnp.where(condition, 0, history.curvatures),
        gamma=jnp.where(condition, 1, history.gamma),
        stored=jnp.where(condition, 0, history.stored),
    )


def stacked(history: Kept) -> Params:
    """Return the pairs as one tree with leaves of shape (2, m, ...): the s, then the y."""
    if isinstance(history, History):
        return history.pairs
    return jax.tree.map(lambda s, y: jnp.stack([s, y]), history.s, history.y)


def choose(params: Params) -> Product:
    """Return the form that suits the parameters, by their number and the sharding in their types.

    Measured by `jopt bench directions`: on a few parameters the recursion's small buffers win, beyond that the
    passes of the other form do, and over devices each inner product of the recursion is a reduction to wait for. An array
    spread over automatic axes is treated as any other, also where it could be seen: the state of a transformation is
    then the same whether `init` is traced or not.
    """
    sharded = any(tree.is_sharded_by_type(x) for x in jax.tree.leaves(params))
    return gram if sharded or tree.size(params) > TWO_LOOP_MOST else two_loop


def product_of(history: Kept) -> Product:
    """Return the form for which a history was made."""
    return two_loop if isinstance(history, Pairs) else gram


def two_loop(history: Pairs, s: Params, y: Params, g: Params) -> tuple[Pairs, Params]:
    """Add the pair if it is fit to keep; return B g by Nocedal's recursion (1980, section 3).

    Raises:
      TypeError: if the history is not one of `Pairs`.
    """
    _check_kind("two_loop", history, Pairs)
    history = push(history, s, y)
    return history, recursion(history, g)


def push(history: Pairs, s: Params, y: Params) -> Pairs:
    """Return the pairs with a new one, if it is fit to keep."""
    s, y = _as_stored(history.s, s), _as_stored(history.y, y)
    s_y, y_y = tree.vdot(s, y), tree.vdot(y, y)
    kept = fit_to_keep(s_y, tree.vdot(s, s), y_y)
    slot = _next_slot(history)

    def write(rows: jax.Array, new: jax.Array) -> jax.Array:
        return _write_row(rows, slot, kept, new[None], axis=0)

    after = _count_in(history, kept, s_y, y_y)
    return after._replace(s=jax.tree.map(write, history.s, s), y=jax.tree.map(write, history.y, y))


def recursion(history: Pairs, g: Params) -> Params:
    """Return B g by Nocedal's recursion (1980, section 3), reading the pairs alone."""
    memory = history.curvatures.shape[0]
    weights = jnp.where(history.curvatures > 0, 1 / jnp.where(history.curvatures > 0, history.curvatures, 1), 0)

    newest = jnp.mod(history.stored - 1, memory)

    def pair(age: jax.Array) -> tuple[Params, Params, jax.Array]:
        slot = newest - jnp.asarray(age, jnp.int32)  # as for any index, -1 is the last
        row = functools.partial(jax.lax.dynamic_index_in_dim, index=slot, keepdims=False)
        return jax.tree.map(row, history.s), jax.tree.map(row, history.y), weights[slot]

    def from_new_to_old(age: jax.Array, carry: tuple[Params, jax.Array]) -> tuple[Params, jax.Array]:
        q, alphas = carry
        s_i, y_i, weight = pair(age)
        alpha = weight * tree.vdot(q, s_i)
        return tree.axpy(-alpha, y_i, q), alphas.at[age].set(alpha)

    def from_old_to_new(i: jax.Array, r: Params) -> Params:
        age = memory - 1 - i
        s_i, y_i, weight = pair(age)
        return tree.axpy(alphas[age] - weight * tree.vdot(r, y_i), s_i, r)

    q, alphas = jax.lax.fori_loop(0, memory, from_new_to_old, (_widened(g), jnp.zeros_like(weights)))
    r = jax.lax.fori_loop(0, memory, from_old_to_new, tree.scale(history.gamma, q))
    return tree.cast(r, g)


def gram(history: History, s: Params, y: Params, g: Params) -> tuple[History, Params]:
    """Add the pair if it is fit to keep; return B g from inner products (Byrd, Nocedal and Schnabel 1994, eq. 3.1).

    Raises:
      TypeError: if the history is not a `History`.
    """
    _check_kind("gram", history, History)
    s, y = _as_stored(history.pairs, s), _as_stored(history.pairs, y)
    old, new = _inner_products(history, s, y, g)
    (s_g, s_y, s_s), (y_g, y_y, _) = new
    kept = fit_to_keep(s_y, s_s, y_y)
    replaced = kept & _at_slot(history)
    after = _count_in(_border(history, kept, s_y, y_y, old), kept, s_y, y_y)

    p = jnp.where(replaced, s_g, old[0, :, 0])
    q = jnp.where(replaced, y_g, old[1, :, 0])
    u = _matvec(after.inverse, p)
    w = _matvec(after.inverse.T, after.curvatures * u + after.gamma * (_matvec(after.yy, u) - q))
    weights = jnp.stack([w, -after.gamma * u])
    # The old rows and the new pair are combined, and the write comes last: a write that is read again is made twice by
    # XLA, and a read that may come after the write is given a copy of the whole history.
    newest = jnp.sum(jnp.where(replaced, weights, 0), axis=1)
    newest, weights, gamma, kept = _settled(history, (newest, weights, after.gamma, kept))
    combined = _combine(history, jnp.where(replaced, 0, weights), s)
    direction = tree.axpy(newest[0], _only_if(kept, s), tree.axpy(newest[1], _only_if(kept, y), combined))
    direction = tree.axpy(gamma, g, direction)
    return after._replace(pairs=_write(history, kept, s, y, combined)), tree.cast(direction, g)


def _check_kind(form: str, history: Any, kind: type) -> None:
    if not isinstance(history, kind):
        msg = (
            f"{form}: history must be a {kind.__name__}, got {type(history).__name__}; "
            f"make it with empty(..., product={form}), or give scale_by_lbfgs product={form} itself."
        )
        raise TypeError(msg)


def fit_to_keep(s_y: Scalar, s_s: Scalar, y_y: Scalar) -> jax.Array:
    """Return whether a pair keeps B positive definite, and 1 / <s, y> and gamma finite."""
    info = jnp.finfo(s_y.dtype)
    # The root of each factor: the product of the squares overflows long before the pair does.
    curved = s_y > float(info.eps) * jnp.sqrt(s_s) * jnp.sqrt(y_y)
    return curved & (s_y >= float(info.tiny)) & (y_y >= float(info.tiny)) & jnp.isfinite(s_y) & jnp.isfinite(y_y)


def _next_slot(history: Kept) -> jax.Array:
    return jnp.mod(history.stored, history.curvatures.shape[0])


def _at_slot(history: Kept) -> jax.Array:
    """Return the mask, shape (m,), of the slot into which the next pair goes."""
    return jnp.arange(history.curvatures.shape[0], dtype=jnp.int32) == _next_slot(history)


def _count_in(history: AnyHistory, kept: jax.Array, s_y: Scalar, y_y: Scalar) -> AnyHistory:
    """Return the history with the scalars of the new pair, if it is kept."""
    return history._replace(
        curvatures=jnp.where(kept & _at_slot(history), s_y, history.curvatures),
        gamma=jnp.where(kept, s_y / jnp.where(kept, y_y, 1), history.gamma),
        stored=history.stored + kept.astype(jnp.int32),
    )


def _border(history: History, kept: jax.Array, s_y: Scalar, y_y: Scalar, old: jax.Array) -> History:
    """Return the history with R^-1 and Y'Y bordered by the new pair, if it is kept."""
    at_slot = _at_slot(history)
    row, column = at_slot[:, None], at_slot[None, :]
    struck = jnp.where(row | column, 0, history.inverse)
    last = (jnp.where(at_slot, 1, 0) - _matvec(struck, old[0, :, 1])) / jnp.where(kept, s_y, 1)
    inverse = jnp.where(column, last[:, None], struck)
    border = jnp.where(at_slot, y_y, old[1, :, 1])
    yy = jnp.where(row, border[None, :], jnp.where(column, border[:, None], history.yy))
    return history._replace(inverse=jnp.where(kept, inverse, history.inverse), yy=jnp.where(kept, yy, history.yy))


def _inner_products(history: History, s: Params, y: Params, g: Params) -> tuple[jax.Array, jax.Array]:
    """Return the inner products of the stored rows with g and y, shape (2, m, 2), and of s and y with g, s and y, (2, 3).

    They are one table, summed over the leaves: over many devices, one round of reductions.
    """
    memory, dtype, many = history.curvatures.shape[0], history.gamma.dtype, _many(history)

    def leaf(rows: jax.Array, s: jax.Array, y: jax.Array, g: jax.Array) -> jax.Array:
        rows = rows.reshape(2 * memory, *s.shape).astype(dtype)
        g, s, y = (v.astype(dtype) for v in (g, s, y))
        # A contraction over a dimension known to be spread needs to be told what comes out.
        if tree.is_sharded(s) or (many and s.size <= SUMS_MOST):
            return _by_sums(rows, s, y, g)
        return jax.lax.platform_dependent(rows, s, y, g, cpu=_by_vectors, default=_by_matrices)

    leaves = jax.tree.leaves(jax.tree.map(leaf, history.pairs, s, y, g))
    table = scalars.combined(operator.add, leaves, jnp.zeros((2 * memory + 2, 3), dtype))
    return table[: 2 * memory, :2].reshape(2, memory, 2), table[2 * memory :]


def _by_sums(rows: jax.Array, s: jax.Array, y: jax.Array, g: jax.Array) -> jax.Array:
    """Return the table of one leaf as one sum; its last column holds the products of the rows with s as well."""
    both, columns = jnp.concatenate([rows, jnp.stack([s, y])]), jnp.stack([g, y, s])
    return jnp.sum(both[:, None] * columns[None], axis=tuple(range(2, columns.ndim + 1)))


def _by_vectors(rows: jax.Array, s: jax.Array, y: jax.Array, g: jax.Array) -> jax.Array:
    """Return the table of one leaf from products of the rows with one vector each, the fastest on a CPU."""
    old = jnp.stack([jnp.tensordot(rows, v, v.ndim, precision=HIGHEST) for v in (g, y)], axis=1)
    if s.size <= ONE_PRODUCT_MOST:
        return _table(old, _contracted(jnp.stack([s, y]), jnp.stack([g, y, s])))
    s_g, s_y, s_s, y_g, y_y = (jnp.sum(a * b) for a, b in ((s, g), (s, y), (s, s), (y, g), (y, y)))
    return _table(old, jnp.stack([s_g, s_y, s_s, y_g, y_y, s_y]).reshape(2, 3))


def _by_matrices(rows: jax.Array, s: jax.Array, y: jax.Array, g: jax.Array) -> jax.Array:
    """Return the table of one leaf from two products, of which one reads the rows once."""
    return _table(
        _contracted(rows, jnp.stack([g, y])),
        _contracted(jnp.stack([s, y]), jnp.stack([g, y, s])),
    )


def _table(old: jax.Array, new: jax.Array) -> jax.Array:
    """Return the products of the stored rows, shape (2m, 2), and of the new pair, (2, 3), in one array."""
    return jnp.concatenate([jnp.pad(old, ((0, 0), (0, 1))), new])


def _contracted(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the inner products of k arrays with l others, shape (k, l)."""
    axes = tuple(range(1, a.ndim))
    return jnp.tensordot(a, b, (axes, axes), precision=HIGHEST)


def _combine(history: History, weights: jax.Array, like: Params) -> Params:
    """Return the sum of the stored rows times `weights`, shape (2, m), in the dtypes of `like`."""

    def leaf(rows: jax.Array, like: jax.Array) -> jax.Array:
        rows, flat = rows.reshape(weights.size, *like.shape).astype(like.dtype), weights.reshape(-1).astype(like.dtype)
        if many and like.size <= SUMS_MOST:
            return jnp.sum(flat.reshape(-1, *[1] * like.ndim) * rows, axis=0)
        return jnp.tensordot(flat, rows, 1, precision=HIGHEST)

    many = _many(history)
    return jax.tree.map(leaf, history.pairs, like)


def _write(history: History, kept: jax.Array, s: Params, y: Params, product: Params) -> Params:
    """Return the pairs with s and y in the next slot, if they are kept.

    Only one row is read and written, so that a loop updates the history in place. `product` was computed from the
    history as it stood: a test of it that always holds, but not for a compiler that cannot know so, makes the write wait.
    """
    slot = _next_slot(history)

    def leaf(rows: jax.Array, s: jax.Array, y: jax.Array, product: jax.Array) -> jax.Array:
        computed = ~jnp.isnan(jnp.nan_to_num(product))
        return _write_row(rows, slot, kept & computed, jnp.stack([s, y])[:, None], axis=1)

    return jax.tree.map(leaf, history.pairs, s, y, product)


def _write_row(rows: jax.Array, slot: jax.Array, kept: jax.Array, new: jax.Array, axis: int) -> jax.Array:
    row = jnp.where(kept, new.astype(rows.dtype), jax.lax.dynamic_slice_in_dim(rows, slot, 1, axis))
    return jax.lax.dynamic_update_slice_in_dim(rows, row, slot, axis)


def _settled(history: History, a: Any) -> Any:
    """Return numbers settled where there are leaves enough to read them."""
    return scalars.settled(a, history.stored > 0) if _many(history) else a


def _many(history: History) -> bool:
    return len(jax.tree.leaves(history.pairs)) >= scalars.MANY_LEAVES


def _as_stored(rows: Params, vector: Params) -> Params:
    """Return the vector as the rows will hold it, in the dtypes in which its leaves are computed."""
    return jax.tree.map(lambda x, rows: x.astype(rows.dtype).astype(tree.wide(x.dtype)), vector, rows)


def _widened(vector: Params) -> Params:
    return jax.tree.map(lambda x: x.astype(tree.wide(x.dtype)), vector)


def _only_if(kept: jax.Array, vector: Params) -> Params:
    return jax.tree.map(lambda x: jnp.where(kept, x, 0), vector)


def _matvec(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return a small matrix times a vector: a fused sum, where a library call would cost more than it does."""
    return jnp.sum(matrix * vector[None, :], axis=-1)

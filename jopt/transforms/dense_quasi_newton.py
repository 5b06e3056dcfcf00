# SPDX-License-Identifier: Apache-2.0
r"""Dense quasi-Newton directions: B g with B an n x n matrix that is kept and changed in place.

With v = B y and z = s / <s, y> - v / <y, v>, each rule adds squares of vectors, so that the secant equation B' y = s holds:

    scale_by_dfp     B' = B - v v' / <y, v> + s s' / <s, y>                   Davidon, Fletcher and Powell
    scale_by_bfgs    B' = B - v v' / <y, v> + s s' / <s, y> + <y, v> z z'     Broyden, Fletcher, Goldfarb and Shanno
    scale_by_sr1     B' = B + t t' / <t, y>,  t = s - v                       symmetric rank one

The second is (I - r s y') B (I - r y s') + r s s' with r = 1 / <s, y>, written as a member of Broyden's family. Of squares
no entry differs from its mirror image, whatever a compiler fuses: B stays symmetric to the last bit.

The first two start from gamma I with gamma = <s, y> / <y, y> of the first pair (I before there is one), keep the pairs
that `jopt.linalg.limited_memory` would keep, and start anew if round-off has cost B its definiteness, which
<y, B y> <= 0 tells. Each update is one product B y, one change of B and one product B' g.

References: Nocedal and Wright (2006), Numerical Optimization, sections 6.1 to 6.3, eq. (6.15), (6.17), (6.20), (6.25),
(6.26), doi:10.1007/978-0-387-40065-5; Fletcher (1970), A new approach to variable metric algorithms, Computer Journal
13(3), doi:10.1093/comjnl/13.3.317 (the family).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg.limited_memory import fit_to_keep
from jopt.transforms.quasi_newton import PairDirection, from_pairs
from jopt.types import Params, Scalar, Transformation, Updates, described

# Bytes of the matrix beyond which `init` raises: 5792 parameters in float64, 8192 in float32.
MAX_BYTES = 2**28


class MatrixState(NamedTuple):
    """State of a dense quasi-Newton direction; n is the number of parameters.

    Attributes:
      matrix: B, shape (n, n); while `stored` is 0 the identity stands in its place.
      stored: pairs kept since the last reset, int32.
    """

    matrix: jax.Array
    stored: jax.Array


class Change(NamedTuple):
    """What a rule decides: B' = scale B + the sum of weight p p', if the pair is kept.

    Attributes:
      kept: whether the pair is fit to keep, bool.
      lost: whether B is no longer usable and the identity takes its place, bool.
      scale: factor of B, scalar.
      squares: pairs (weight, p), weight a scalar and p of shape (n,).
    """

    kept: jax.Array
    lost: jax.Array
    scale: Scalar
    squares: tuple[tuple[Scalar, jax.Array], ...]


Rule = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], Change]
"""`(s, y, v, fresh) -> change`, with v = B y and `fresh` telling that no pair is stored."""


def update_matrix(rule: Rule, state: MatrixState, s: jax.Array, y: jax.Array, g: jax.Array) -> Any:
    """Return the state with the pair, if it is fit to keep, and B g."""
    identity = jnp.eye(g.size, dtype=g.dtype)
    fresh = state.stored == 0
    v = jnp.where(fresh, y, _product(state.matrix, y))
    kept, lost, scale, squares = rule(s, y, v, fresh)
    changed = scale * jnp.where(fresh | lost, identity, state.matrix)
    for weight, p in squares:
        changed = changed + weight * (p[:, None] * p[None, :])
    matrix = jnp.where(kept, changed, state.matrix)
    stored = jnp.where(lost, 0, state.stored) + kept.astype(jnp.int32)
    return MatrixState(matrix, stored), jnp.where(stored == 0, g, _product(matrix, g))


def broydens_family(phi: int) -> Rule:
    """Return the rule of Broyden's family: DFP for 0, BFGS for 1 (Fletcher 1970)."""

    def rule(s: jax.Array, y: jax.Array, v: jax.Array, fresh: jax.Array) -> Change:
        (s_s, s_y, _), (_, y_y, y_v) = _inner_products((s, y), (s, y, v))
        tiny = float(jnp.finfo(s_y.dtype).tiny)
        # The square of s must be a number too: the matrix is made of it.
        kept = fit_to_keep(s_y, s_s, y_y) & (s_s >= tiny)
        lost = kept & ~((y_v >= tiny) & jnp.isfinite(y_v))
        scale = jnp.where(kept & (fresh | lost), s_y / jnp.where(kept, y_y, 1), 1)
        v = scale * jnp.where(lost, y, v)
        y_v = jnp.where(kept, scale * jnp.where(lost, y_y, y_v), 1)
        part, part_v = 1 / jnp.where(kept, s_y, 1), 1 / y_v
        # As a product, which is stored: a sum computed anew for the rows and for the columns may be rounded differently.
        z = jnp.matmul(jnp.stack([part, -part_v]), jnp.stack([s, v]), precision=jax.lax.Precision.HIGHEST)
        squares = ((-part_v, v), (part, s), (y_v, z))
        return Change(kept, lost, scale, squares[: 2 + phi])

    return rule


def symmetric_rank_one(skip: float | None) -> Rule:
    """Return the rule SR1, which skips a pair where |<t, y>| <= skip |t| |y| (Nocedal and Wright 2006, eq. 6.26)."""

    def rule(s: jax.Array, y: jax.Array, v: jax.Array, fresh: jax.Array) -> Change:
        del fresh
        t = s - v
        (t_t, t_y), (_, y_y) = _inner_products((t, y), (t, y))
        info = jnp.finfo(t.dtype)
        part = float(info.eps) ** 0.5 if skip is None else skip
        large = jnp.abs(t_y) > part * jnp.sqrt(t_t) * jnp.sqrt(y_y)
        kept = large & (jnp.abs(t_y) >= float(info.tiny)) & jnp.isfinite(t_y) & jnp.isfinite(t_t)
        return Change(kept, jnp.bool_(False), jnp.ones_like(t_y), ((1 / jnp.where(kept, t_y, 1), t),))

    return rule


@described
def scale_by_bfgs(*, max_bytes: int = MAX_BYTES) -> Transformation:
    """Precondition the gradient by the BFGS matrix: u = B g.

    Assumes that the updates which come in are the gradients of a smooth objective at `params`. B is positive definite: a
    pair is kept only where <s, y> > eps |s| |y|, and one that is not leaves B as it was. For few parameters: the matrix
    has n^2 entries, and each update costs one product with it and one change of it.

    Args:
      max_bytes: largest size of the matrix in bytes, >= 1; beyond it `init` raises.

    Returns:
      A transformation whose update needs `params`.

    Raises:
      ValueError: if `max_bytes` < 1; by `init`, if the matrix would be larger.
      TypeError: if `max_bytes` is not a whole number.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, Algorithm 6.1 with eq. (6.20), doi:10.1007/978-0-387-40065-5.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> direction, curvature = jopt.scale_by_bfgs(), jnp.array([1.0, 4.0])
      >>> state = direction.init(jnp.ones(2))
      >>> for x in (jnp.array([1.0, 1.0]), jnp.array([0.0, 1.0]), jnp.array([0.0, 2.0])):
      ...     u, state = direction.update(curvature * x, state, x)
      >>> print(bool(jnp.allclose(u, x)))  # two steps along the axes tell the whole curvature
      True
    """
    return _dense("scale_by_bfgs", broydens_family(1), max_bytes)


@described
def scale_by_dfp(*, max_bytes: int = MAX_BYTES) -> Transformation:
    """Precondition the gradient by the DFP matrix: u = B g.

    The dual of BFGS, with s and y, B and its inverse exchanged. It corrects a matrix that is too large more slowly than
    BFGS does, and asks for a more exact line search; it is here for study. Assumptions and cost are those of
    `scale_by_bfgs`.

    Args:
      max_bytes: largest size of the matrix in bytes, >= 1; beyond it `init` raises.

    Returns:
      A transformation whose update needs `params`.

    Raises:
      ValueError: if `max_bytes` < 1; by `init`, if the matrix would be larger.
      TypeError: if `max_bytes` is not a whole number.

    Reference:
      Fletcher and Powell (1963), A rapidly convergent descent method for minimization, Computer Journal 6(2),
      doi:10.1093/comjnl/6.2.163; Nocedal and Wright (2006), Numerical Optimization, eq. (6.15).

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> direction = jopt.scale_by_dfp()
      >>> u, state = direction.update(jnp.array([2.0, 0.0]), direction.init(jnp.ones(2)), jnp.ones(2))
      >>> print(u)
      [2. 0.]
    """
    return _dense("scale_by_dfp", broydens_family(0), max_bytes)


@described
def scale_by_sr1(*, skip: float | None = None, max_bytes: int = MAX_BYTES) -> Transformation:
    """Precondition the gradient by the symmetric-rank-one matrix: u = B g.

    B starts as the identity and follows negative curvature too, so it may be indefinite and -u may ascend: `descent` then
    goes along -g and counts it. On a quadratic B is the inverse of the Hessian after n independent steps of any length,
    without any line search. Multiplying the objective by a number changes the first directions: no first scale is known
    that the rule does not skip.

    Args:
      skip: a pair is skipped where |<t, y>| <= skip |t| |y|, t = s - B y; in [0, 1). None means sqrt(eps), which in float64
        is the usual 1e-8.
      max_bytes: largest size of the matrix in bytes, >= 1; beyond it `init` raises.

    Returns:
      A transformation whose update needs `params`.

    Raises:
      ValueError: if a setting is outside its range; by `init`, if the matrix would be larger than `max_bytes`.
      TypeError: if a setting is not a number.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 6.2, eq. (6.25), (6.26), doi:10.1007/978-0-387-40065-5.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> direction = jopt.scale_by_sr1()
      >>> state = direction.init(jnp.ones(1))
      >>> for x in (jnp.array([1.0]), jnp.array([2.0])):
      ...     u, state = direction.update(-4.0 * x, state, x)  # the gradient of a concave function
      >>> print(u)
      [2.]
    """
    if skip is not None:
        validate.number("scale_by_sr1", "skip", skip, low=0.0, high=1.0, high_open=True)
    return _dense("scale_by_sr1", symmetric_rank_one(skip), max_bytes)


def _dense(name: str, rule: Rule, max_bytes: int) -> Transformation:
    """Return the transformation whose matrix changes by a rule."""
    validate.integer(name, "max_bytes", max_bytes, low=1)

    def init(params: Params) -> MatrixState:
        n, dtype = tree.size(params), tree.scalar_dtype(params)
        needed = n * n * jnp.dtype(dtype).itemsize
        if needed > max_bytes:
            msg = (
                f"{name}: params must be few, but {n} of them need a matrix of {needed} bytes, above max_bytes={max_bytes}; "
                "use scale_by_lbfgs (or method='lbfgs'), or raise max_bytes."
            )
            raise ValueError(msg)
        return MatrixState(jnp.eye(n, dtype=dtype), jnp.zeros((), jnp.int32))

    def update(
        grads: Updates, state: MatrixState, s: Params, y: Params, moved: jax.Array
    ) -> tuple[Updates, MatrixState]:
        del moved  # a pair of zeros is not kept
        g, back = tree.ravel(grads)
        state, direction = update_matrix(rule, state, tree.ravel(s)[0], tree.ravel(y)[0], g)
        return back(direction), state

    def forget(state: MatrixState, condition: jax.Array) -> MatrixState:
        return state._replace(stored=jnp.where(condition, 0, state.stored))

    return from_pairs(name, PairDirection(init, update, forget))


def _product(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Return the matrix times a vector."""
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)


def _inner_products(rows: tuple[jax.Array, ...], columns: tuple[jax.Array, ...]) -> jax.Array:
    """Return the inner products of the rows with the columns, as one table."""
    return jnp.sum(jnp.stack(rows)[:, None] * jnp.stack(columns)[None], axis=-1)

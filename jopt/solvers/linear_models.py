# SPDX-License-Identifier: Apache-2.0
r"""How the linear model of the residuals is kept and solved: as a matrix, or by products.

    d = argmin |J~ d + r~|^2 + damping |D d|^2

dense          J~ is formed (by columns or rows, whichever are fewer) and kept, so that a rejected trial is answered by
               another factorisation of the same matrix; QR of [J~; sqrt(damping) D], for Gauss-Newton a least-norm solution.
               D: the largest norm each column has had so far (Moré), so that the steps do not depend on the units of
               the parameters; or the same number for all.
matrix-free    J~ v and J~'u are products of the linearisation at the point just evaluated; LSQR. Nothing is kept: after a
               rejected trial the base is evaluated once more, which costs little beside the products. D is one number.

That number is |J~ g| / |g| at the start, the length of J~ along the gradient, so that the damping has no unit.

References: Moré (1978), The Levenberg-Marquardt algorithm: implementation and theory, section 3 and 6,
doi:10.1007/BFb0067700; Paige and Saunders (1982), LSQR, doi:10.1145/355984.355989; Dembo, Eisenstat and Steihaug (1982), Inexact
Newton methods, doi:10.1137/0719025, for the forcing term.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.linalg.dense_least_squares import damped_solution, least_norm_solution
from jopt.linalg.lsqr import lsqr
from jopt.solvers.residuals import LinearModel, Residuals, dense_jacobian
from jopt.solvers.robust import Weighted
from jopt.types import Params, Scalar

# Up to here "auto" forms the Jacobian: 2^22 entries are 32 MiB in float64. Chosen by memory, not by a measurement.
DENSE_ENTRIES = 2**22
DENSE_PARAMETERS = 512


class Kept(NamedTuple):
    """What the dense form keeps of the model at the base point.

    Attributes:
      matrix: J~, shape (m, n).
      residual: r~, shape (m,).
      rows: the loss's factors of the rows, shape (m,); None where they are not needed.
    """

    matrix: jax.Array
    residual: jax.Array
    rows: Any


class Look(NamedTuple):
    """What one evaluation shows of the model.

    Attributes:
      grad: J~' r~, a tree like params.
      fresh: the `Kept` there; None in the matrix-free form.
      model: the linear maps there.
      rows: the loss's factors of the rows, a tree like r; None for the linear loss.
    """

    grad: Params
    fresh: Kept | None
    model: LinearModel
    rows: Any


class Base(NamedTuple):
    """The model at the base point.

    Attributes:
      solve: `(right-hand side or None for -r~, damping) -> (d, products)`; damping None asks for the least-norm solution.
      image: `v -> |J~ v|^2`.
      length: `v -> |D v|`.
      weigh: the right-hand side of a tree like r.
    """

    solve: Callable[[Any, Scalar | None], tuple[Params, jax.Array]]
    image: Callable[[Params], Scalar]
    length: Callable[[Params], Scalar]
    weigh: Callable[[Any], Any]


class Effort(NamedTuple):
    """How exactly LSQR solves: its relative tolerance, scalar, and its budget, int32; not used by the dense form."""

    rtol: Scalar
    maxiter: jax.Array


def is_dense(linear_solve: str, params: Params, residual: Any) -> bool:
    """Return whether the Jacobian is to be formed: as asked, with "auto" by its size."""
    n, m = tree.size(params), tree.size(residual)
    small = n <= DENSE_PARAMETERS and m * n <= DENSE_ENTRIES
    return linear_solve == "qr" or (linear_solve == "auto" and small)


def look_dense(model: LinearModel, weighted: Weighted, params: Params, *, rows: bool) -> Look:
    """Form the Jacobian; the gradient is a product with it."""
    _, unravel = tree.ravel(params)
    matrix = dense_jacobian(model, params)
    residual = tree.ravel(model.residual)[0]
    kept = tree.ravel(weighted.rows)[0] if rows and weighted.rows is not None else None
    return Look(unravel(_product(residual, matrix)), Kept(matrix, residual, kept), model, weighted.rows)


def look_free(model: LinearModel, weighted: Weighted) -> Look:
    """Keep the linear maps; the gradient is one product with the transpose."""
    return Look(model.backward(model.residual), None, model, weighted.rows)


def dense_base(kept: Kept, scale: jax.Array, params: Params) -> Base:
    """Return the base of a kept matrix, with D = diag(scale)."""
    _, unravel = tree.ravel(params)

    def solve(rhs: Any, damping: Scalar | None) -> tuple[Params, jax.Array]:
        b = -kept.residual if rhs is None else rhs
        if damping is None:
            d = least_norm_solution(kept.matrix / jnp.broadcast_to(scale, (1, kept.matrix.shape[1])), b) / scale
        else:
            d = damped_solution(kept.matrix, b, damping, scale)
        return unravel(d), jnp.zeros((), jnp.int32)

    def image(v: Params) -> Scalar:
        return jnp.sum(jnp.square(_product(kept.matrix, tree.ravel(v)[0])))

    def length(v: Params) -> Scalar:
        return jnp.linalg.norm(scale * tree.ravel(v)[0])

    def weigh(bend: Any) -> jax.Array:
        flat = tree.ravel(bend)[0]
        return flat if kept.rows is None else kept.rows * flat

    return Base(solve, image, length, weigh)


def free_base(look: Look, unit: Scalar, params: Params, effort: Effort) -> Base:
    """Return the base of the linear maps at the point just evaluated, with D = unit times the identity."""
    model = look.model

    def solve(rhs: Any, damping: Scalar | None) -> tuple[Params, jax.Array]:
        b = tree.negative(model.residual) if rhs is None else rhs
        weight = jnp.zeros_like(unit) if damping is None else damping * jnp.square(unit)
        solved = lsqr(model.forward, b, params, transpose=model.backward, damping=weight, **effort._asdict())
        return solved.x, solved.nit

    def image(v: Params) -> Scalar:
        product = model.forward(v)
        return tree.vdot(product, product)

    def length(v: Params) -> Scalar:
        unit_, rest = tree.scaled_norm(v)
        return unit * unit_ * rest

    def weigh(bend: Any) -> Any:
        return bend if look.rows is None else jax.tree.map(jnp.multiply, look.rows, bend)

    return Base(solve, image, length, weigh)


def column_scale(before: jax.Array, matrix: jax.Array) -> jax.Array:
    """Return the largest norm each column has had; a column that was always zero counts as the largest of all."""
    norms = jnp.maximum(before, jnp.linalg.norm(matrix, axis=0))
    top = jnp.max(norms)
    return jnp.where(norms > 0, norms, jnp.where(top > 0, top, jnp.ones_like(top)))


def gradient_scale(model: LinearModel, grad: Params) -> Scalar:
    """Return |J~ g| / |g|, 1 where it is zero or has no meaning.

    |J~ g|^2 grows with the sixth power of the residuals' unit: no such number is formed.
    """
    unit, rest = tree.scaled_norm(grad)
    image, image_rest = tree.scaled_norm(model.forward(tree.scale(1 / unit, grad)))
    ratio = image * (image_rest / rest)
    return jnp.where((ratio > 0) & jnp.isfinite(ratio), ratio, jnp.ones_like(ratio))


def blank_kept(params: Params, residuals: Residuals, *, rows: bool) -> Kept:
    """Return zeros of the shapes that the dense form keeps, without evaluating."""
    blank = residuals.blank(params)
    dtype, m, n = blank.value.dtype, tree.size(residuals.among(blank.aux)), tree.size(params)
    weights = jnp.ones(m, dtype) if rows and residuals.loss != "linear" else None
    return Kept(jnp.zeros((m, n), dtype), jnp.zeros(m, dtype), weights)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)

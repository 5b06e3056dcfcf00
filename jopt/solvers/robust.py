# SPDX-License-Identifier: Apache-2.0
r"""Robust losses: residuals far from zero count less than their square.

    cost = 1/2 f_scale^2 sum_i rho(z_i),   z_i = (r_i / f_scale)^2

`f_scale` is the size of a residual from which on it is taken for an outlier. With rho(z) = z the cost is 1/2 |r|^2.

Gauss and Newton's model of such a cost has the gradient J'(rho' r) and the curvature J' diag(rho' + 2 z rho'') J, both
met by a weighted problem, Triggs' correction:

    J~ = diag(sqrt(rho' q)) J,   r~ = sqrt(rho' / q) r,   q = 1 + 2 z rho'' / rho'  in the place of which max(q, floor)

q is the curvature along the residual relative to that of a weighted square. It is zero for outliers of `huber` and negative for
those of `cauchy` and `arctan`; the floor keeps the matrix positive semidefinite. The gradient holds whatever the floor.

References: Triggs, McLauchlan, Hartley and Fitzgibbon (2000), Bundle adjustment: a modern synthesis, section 4.3,
doi:10.1007/3-540-44480-7_21; the losses as `scipy.optimize.least_squares` names and scales them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.types import Scalar


class Rho(NamedTuple):
    """A loss at z = (r / f_scale)^2, entry by entry; arrays of the shape of z.

    Attributes:
      value: rho(z), with rho(0) = 0.
      slope: rho'(z) >= 0, with rho'(0) = 1.
      convexity: q = 1 + 2 z rho''(z) / rho'(z).
    """

    value: jax.Array
    slope: jax.Array
    convexity: jax.Array


def linear(z: jax.Array) -> Rho:
    """Return rho = z: plain least squares."""
    return Rho(z, jnp.ones_like(z), jnp.ones_like(z))


def huber(z: jax.Array) -> Rho:
    """Return rho = z up to 1, 2 sqrt(z) - 1 beyond: square, then straight."""
    root = jnp.sqrt(jnp.maximum(z, 1))
    inner = z <= 1
    return Rho(jnp.where(inner, z, 2 * root - 1), 1 / root, inner.astype(z.dtype))


def soft_l1(z: jax.Array) -> Rho:
    """Return rho = 2 (sqrt(1 + z) - 1): a smooth huber."""
    root = jnp.sqrt(1 + z)
    value = jnp.where(jnp.isinf(z), z, 2 * (z / (1 + root)))  # the same, without cancellation for small z
    return Rho(value, 1 / root, 1 / (1 + z))


def cauchy(z: jax.Array) -> Rho:
    """Return rho = log(1 + z): the influence of a residual falls beyond 1."""
    return Rho(jnp.log1p(z), 1 / (1 + z), 2 / (1 + z) - 1)


def arctan(z: jax.Array) -> Rho:
    """Return the bounded loss: rho is the arc tangent of z."""
    slope = 1 / (1 + z * z)
    return Rho(jnp.arctan(z), slope, 4 * slope - 3)


LOSSES: dict[str, Callable[[jax.Array], Rho]] = {
    "linear": linear,
    "huber": huber,
    "soft_l1": soft_l1,
    "cauchy": cauchy,
    "arctan": arctan,
}
"""The losses by the names that SciPy gives them."""


class Weighted(NamedTuple):
    """What a loss makes of the residuals.

    Attributes:
      value: the cost, scalar.
      pull: rho' r, a tree like r; the gradient is J' pull.
      residual: r~, a tree like r.
      rows: sqrt(rho' q), the factors of the rows of J, a tree like r; None for the linear loss, where all are 1.
    """

    value: Scalar
    pull: Any
    residual: Any
    rows: Any


def weigh(loss: str, f_scale: Any, residual: Any) -> Weighted:
    """Return cost, weighted residuals and the factors of the rows of J.

    Args:
      loss: a name in `LOSSES`.
      f_scale: > 0, a scalar; the linear loss does not use it.
      residual: a tree of arrays of one floating dtype.
    """
    if loss == "linear":
        return Weighted(tree.vdot(residual, residual) / 2, residual, residual, None)
    dtype = tree.scalar_dtype(residual)
    size = jnp.asarray(f_scale, dtype)
    floor = float(jnp.finfo(dtype).eps) ** 0.5  # half the digits for the outliers' rows, half for the others

    def leaf(r: jax.Array) -> tuple[jax.Array, ...]:
        rho = LOSSES[loss](jnp.square(r / size))
        q = jnp.maximum(rho.convexity, floor)
        return rho.value, rho.slope * r, jnp.sqrt(rho.slope / q) * r, jnp.sqrt(rho.slope * q)

    values, pull, weighted, rows = tree.map_unzip(leaf, 4, residual)
    total = jax.tree.reduce(jnp.add, jax.tree.map(jnp.sum, values))
    return Weighted(jnp.square(size) / 2 * total, pull, weighted, rows)

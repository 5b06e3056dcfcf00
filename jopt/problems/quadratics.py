# SPDX-License-Identifier: Apache-2.0
"""Convex quadratics: of a given condition number, and as a finite sum for the study of stochastic gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jopt import validate
from jopt.problems.records import Problem, from_formula, from_terms, frozen
from jopt.types import described

_SCALES = (0.5, 1.0, 2.0, 1.0, 0.5)
_CENTRES = ((-1.0, 0.5), (0.0, -1.0), (2.0, 0.0), (1.0, 1.5), (0.5, 2.5))
_FAR = (5.0, 5.0)  # outside the convex hull of the default centres


@described
def quadratic(n: int = 10, *, condition: float = 100.0, seed: int = 0) -> Problem:
    """Return a convex quadratic in general position.

        f(x) = 1/2 (x - c)' A (x - c),      A = Q diag(lambda) Q',      f(c) = 0

    Q is orthogonal and c normal, both drawn at random; the eigenvalues lambda go in equal ratios from 1 to `condition`.
    The record holds A as `hessian`. Start: 0.

    Args:
      n: number of variables, >= 2.
      condition: largest over smallest eigenvalue, in [1, 1/eps(float64)].
      seed: a whole number >= 0.

    Raises:
      ValueError: if a setting is out of its range.

    Reference: Golub, Van Loan (2013), Matrix Computations, 4th edition, section 11.3.3 (what the condition number does
      to gradients and conjugate gradients).
    """
    validate.integer("quadratic", "n", n, low=2)
    validate.number("quadratic", "condition", condition, low=1.0, high=float(1.0 / np.finfo(np.float64).eps))
    validate.integer("quadratic", "seed", seed)
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    product = (q * np.geomspace(1.0, condition, n)) @ q.T
    a, centre = frozen((product + product.T) / 2.0), frozen(rng.standard_normal(n))

    def formula(x: jax.Array) -> jax.Array:
        shift = x - jnp.asarray(centre, x.dtype)
        product = jnp.matmul(jnp.asarray(a, x.dtype), shift, precision=jax.lax.Precision.HIGHEST)
        return jnp.sum(shift * product) / 2.0

    source = "Golub, Van Loan (2013), Matrix Computations"
    return from_formula(
        "quadratic", formula, (np.zeros(n),), source=source, minimum=0.0, minimisers=(centre,), hessian=a
    )


@described
def finite_sum(a: Any = _SCALES, u: Any = _CENTRES) -> Problem:
    """Return a mean of quadratics in the plane, each with its own minimiser.

        f(x) = 1/n sum_i C_i(x),      C_i(x) = a_i (x1 - u_i1)^2 + (x2 - u_i2)^2

    Least at x1 = sum a_i u_i1 / sum a_i, x2 = mean u_i2. `terms` gives the C_i. With equal u_i all stochastic gradients
    vanish at the minimiser, otherwise they do not. With a_i = 1 the negative gradient of C_i points at u_i, so that
    outside the convex hull of the u_i every stochastic step heads for the hull. Start: (5, 5).

    Args:
      a: the n scales a_i > 0, shape (n,), n >= 1.
      u: the minimisers u_i of the terms, shape (n, 2).

    Raises:
      ValueError: if the shapes are others, a scale is not positive, or an entry is not finite.

    Reference: Liquet, Moka, Nazarathy (2024), Mathematical Engineering of Deep Learning, CRC Press, chapter 4.
    """
    scales, centres = frozen(np.asarray(a, np.float64)), frozen(np.asarray(u, np.float64))
    if scales.ndim != 1 or not scales.size or centres.shape != (scales.size, 2):
        msg = f"finite_sum: a and u must have shapes (n,) and (n, 2), n >= 1, got {scales.shape} and {centres.shape}."
        raise ValueError(msg)
    if not (np.isfinite(scales).all() and (scales > 0.0).all() and np.isfinite(centres).all()):
        msg = "finite_sum: a must be positive and finite and u finite, got an entry that is not."
        raise ValueError(msg)

    def terms(x: jax.Array, index: Any = None) -> jax.Array:
        chosen = slice(None) if index is None else jnp.asarray(index)
        a_, u_ = jnp.asarray(scales, x.dtype)[chosen], jnp.asarray(centres, x.dtype)[chosen]
        return a_ * (x[0] - u_[..., 0]) ** 2 + (x[1] - u_[..., 1]) ** 2

    best = np.array([scales @ centres[:, 0] / scales.sum(), centres[:, 1].mean()])
    least = np.mean(scales * (best[0] - centres[:, 0]) ** 2 + (best[1] - centres[:, 1]) ** 2)
    return from_terms(
        "finite_sum",
        terms,
        scales.size,
        (_FAR,),
        source="Liquet, Moka, Nazarathy (2024), Mathematical Engineering of Deep Learning, chapter 4",
        minimum=float(least),
        minimisers=(best,),
        hessian=np.diag([2.0 * scales.mean(), 2.0]),
    )

# SPDX-License-Identifier: Apache-2.0
r"""Dense least squares by orthogonal factors; the normal equations are never formed.

    damped        x = argmin |A x - b|^2 + damping |D x|^2,   from  [A; sqrt(damping) D] = Q R,   D diagonal
    least norm    x = argmin |x| among the minimisers of |A x - b|,   from  A = Q R,  R = U S V'

Q is not formed either: the triangular factor of [A b; sqrt(damping) D 0] holds R and Q'[b; 0] side by side. Forming A'A
would square the condition number, and lose in float64 what a float32 could not hold.

References: Björck (1996), Numerical Methods for Least Squares Problems, section 2.4 and 2.7, doi:10.1137/1.9781611971484;
Moré (1978), The Levenberg-Marquardt algorithm: implementation and theory, section 3, doi:10.1007/BFb0067700.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def damped_solution(matrix: jax.Array, rhs: jax.Array, damping: Any, scale: Any = 1.0) -> jax.Array:
    """Return argmin |A x - b|^2 + damping |D x|^2 by one QR factorisation.

    Args:
      matrix: A, shape (m, n), any m and n >= 1.
      rhs: b, shape (m,).
      damping: > 0, or >= 0 where A has independent columns; a scalar.
      scale: the diagonal of D, > 0, shape (n,) or a scalar.

    Returns:
      x, shape (n,). Cost: 2 (m + n) n^2 operations.
    """
    n = matrix.shape[1]
    diagonal = jnp.sqrt(jnp.asarray(damping, matrix.dtype)) * jnp.asarray(scale, matrix.dtype)
    below = jnp.where(jnp.eye(n, n + 1, dtype=bool), jnp.broadcast_to(diagonal, (n,))[:, None], 0)
    stacked = jnp.concatenate([jnp.concatenate([matrix, rhs[:, None]], axis=1), below])
    factor = jnp.linalg.qr(stacked, mode="r")
    return jax.scipy.linalg.solve_triangular(factor[:n, :n], factor[:n, n])


def least_norm_solution(matrix: jax.Array, rhs: jax.Array) -> jax.Array:
    """Return the least-norm minimiser of |A x - b|, whatever the rank of A.

    Singular values up to max(m, n) eps of the largest count as zero, the rule of LAPACK's drivers as NumPy calls them.

    Args:
      matrix: A, shape (m, n), any m and n >= 1.
      rhs: b, shape (m,).

    Returns:
      x, shape (n,).
    """
    m, n = matrix.shape
    factor = jnp.linalg.qr(jnp.concatenate([matrix, rhs[:, None]], axis=1), mode="r")
    u, s, vt = jnp.linalg.svd(factor[:, :n], full_matrices=False)
    kept = s > max(m, n) * float(jnp.finfo(matrix.dtype).eps) * s[0]
    inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1), 0)
    return vt.T @ (inverse * (u.T @ factor[:, n]))

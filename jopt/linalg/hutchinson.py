# SPDX-License-Identifier: Apache-2.0
r"""Trace and diagonal of an operator from products with random signs, with error bars.

For a vector z of independent signs, z * A z has mean diag(A) and <z, A z> has mean tr(A); the variance of the latter is
2 sum_(i != j) ((A_ij + A_ji) / 2)^2, so a diagonal matrix is read exactly from one probe. Means over S probes come with
the standard error sqrt(sum (x - mean)^2 / (S (S - 1))), collected as the probes go by (Welford 1962).

References: Hutchinson (1990), A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
splines, Commun. Stat. Simul. Comput. 19(2), doi:10.1080/03610919008812866; Bekas, Kokiopoulou and Saad (2007), An
estimator for the diagonal of a matrix, Appl. Numer. Math. 57(11), doi:10.1016/j.apnum.2007.01.003; Welford (1962), Note
on a method for calculating corrected sums of squares and products, Technometrics 4(3), doi:10.1080/00401706.1962.10490022.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, tree, validate
from jopt.linalg import probes
from jopt.linalg.operators import Operator, applied
from jopt.types import Params, Scalar


class Estimate(NamedTuple):
    """Trace and diagonal with standard errors; NaN where a product was not finite.

    Attributes:
      trace: estimate of tr(A), a scalar.
      trace_error: its standard error, infinite for one probe.
      diagonal: estimate of diag(A), a tree like v.
      diagonal_error: its standard errors, a tree like v.
      nhev: products made, int32.
    """

    trace: Scalar
    trace_error: Scalar
    diagonal: Params
    diagonal_error: Params
    nhev: jax.Array

    __repr__ = report.record


def hutchinson(operator: Operator, like: Params, key: jax.Array | int = 0, samples: int = 16) -> Estimate:
    """Estimate trace and diagonal of an operator, symmetric or not.

    Cost: `samples` products one after another; memory for four trees. The error falls as 1 / sqrt(samples).

    Args:
      operator: linear, `v -> A v`.
      like: a tree of floating arrays that says what v is; its values are not used.
      key: a random key, or a whole number to make one of.
      samples: S, the number of probes, >= 1.

    Returns:
      An `Estimate`.

    Raises:
      TypeError: if `operator` cannot be called, a leaf of `like` is not floating, `key` is no key or `samples` no whole
        number.
      ValueError: if `samples` is less than 1 or A v is no tree like v.

    Reference: Hutchinson (1990); Bekas, Kokiopoulou and Saad (2007).

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.linalg import hutchinson
      >>> estimate = hutchinson(lambda v: jnp.array([1.0, 2.0, 6.0]) * v, jnp.zeros(3), samples=2)
      >>> float(estimate.trace), float(estimate.trace_error)
      (9.0, 0.0)
    """
    validate.integer("hutchinson", "samples", samples, low=1)
    like = tree.as_parameters("hutchinson", "like", like)
    keys = jax.random.split(validate.random_key("hutchinson", "key", key), samples)
    dtype = tree.scalar_dtype(like)
    zeros = jax.tree.map(lambda x: jnp.zeros_like(x, dtype), like), jnp.zeros((), dtype)

    def probe(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
        count, mean, squares = carry
        z = probes.rademacher(key, like)
        count = count + 1
        own = jax.tree.map(lambda x, y: x.astype(dtype) * y.astype(dtype), z, applied("hutchinson", operator, z))
        sample = own, tree.vdot(jax.tree.map(jnp.ones_like, own), own)
        off = jax.tree.map(jnp.subtract, sample, mean)
        mean = jax.tree.map(lambda m, d: m + d / count, mean, off)
        squares = jax.tree.map(lambda q, d, x, m: q + d * (x - m), squares, off, sample, mean)
        return (count, mean, squares), None

    (_, (diagonal, trace), squares), _ = jax.lax.scan(probe, (jnp.zeros((), dtype), zeros, zeros), keys)
    # One probe says nothing of its error: 0/0 would be NaN, which stands for a failure.
    degrees = samples * (samples - 1)
    errors = jax.tree.map(
        lambda q: jnp.sqrt(jnp.maximum(q, 0) / degrees) if degrees else jnp.where(jnp.isfinite(q), jnp.inf, q), squares
    )
    return Estimate(
        trace=trace,
        trace_error=errors[1],
        diagonal=tree.cast(diagonal, like),
        diagonal_error=tree.cast(errors[0], like),
        nhev=jnp.int32(samples),
    )

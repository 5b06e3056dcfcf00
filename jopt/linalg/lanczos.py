# SPDX-License-Identifier: Apache-2.0
r"""Lanczos' tridiagonal form of a symmetric operator, with full reorthogonalisation, and its Ritz values.

k products from a start q make an orthonormal basis V = [v_1 ... v_k] of the Krylov space of A and q, v_1 = q / |q|, with

    A V = V T + r e_k',      T tridiagonal: alpha_i on the diagonal, beta_i beside it,      |r| = beta_k.

Each product is made orthogonal to the whole basis twice, by which the basis stays orthonormal to rounding; without this
the extreme eigenvalues come back as copies of themselves. For T s = theta s the vector V s has A V s = theta V s + r s_k,
so an eigenvalue of A lies within |beta_k s_k| of the Ritz value theta. The extreme Ritz values lie inside the spectrum:
the lowest is never below the lowest eigenvalue. How far they may be from the ends is the subject of extremes.py.

The products with the basis also tell whether A is symmetric: <v_i, A v_j> is zero for i < j - 1 and beta_(j-1) for
i = j - 1 if it is. The largest difference, relative to the size of A, is `asymmetry`; it costs nothing.

References: Lanczos (1950), An iteration method for the solution of the eigenvalue problem, J. Res. Nat. Bur. Standards
45(4), doi:10.6028/jres.045.026; Parlett (1998), The Symmetric Eigenvalue Problem, sections 6.9 (twice is enough), 13.1
and 13.2 (the residual bound), doi:10.1137/1.9781611971163; Golub and Meurant (2010), Matrices, Moments and Quadrature
with Applications, section 3.1 (the weights), doi:10.1515/9781400833887.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, tree, validate
from jopt.linalg.operators import Operator, applied
from jopt.linalg.symmetry import symmetry_tolerance
from jopt.status import KrylovStatus, first_of
from jopt.types import Params, Scalar

# What rounding leaves of a product that lies in the basis, in units of eps |A|: the product and its argument are each
# rounded to the leaf's dtype, and so are two projections. What is missed below goes on as a random restart, harmless.
ROUNDING = 4.0


class Tridiagonal(NamedTuple):
    """An operator on the Krylov space of a start; k is the number of steps asked for, at most the number of variables.

    Attributes:
      basis: V, tree like the start with leaves of shape (k, ...) and the scalars' dtype; rows from `taken` on belong to
        no step.
      diagonal: alpha, shape (k,), zero from `taken` on.
      offdiagonal: beta, shape (k,), zero from `taken` on; the last one taken is |r|.
      residual: r, tree like the start.
      asymmetry: largest |<v_i, A v_j> - T_ij| with i < j in units of the size of A, a scalar.
      taken: steps kept, int32; one product each.
      nhev: products made, int32: `taken`, and one more if that was not finite.
      status: a `jopt.status.KrylovStatus` as int32: CONVERGED where the space is invariant (all that the start sees),
        MAX_ITERATIONS where the steps were spent, NONFINITE where a product or the start is not finite or the start is
        zero, NOT_SYMMETRIC where the asymmetry exceeds `symmetry_tolerance`.
    """

    basis: Params
    diagonal: jax.Array
    offdiagonal: jax.Array
    residual: Params
    asymmetry: Scalar
    taken: jax.Array
    nhev: jax.Array
    status: jax.Array

    __repr__ = report.record


class Ritz(NamedTuple):
    """Eigenpairs of T. Slots beyond the steps taken repeat alpha_1, inside the spectrum, with weight 0.

    Attributes:
      values: theta, shape (k,), ascending; NaN if no step was taken.
      errors: distance within which A has an eigenvalue, shape (k,): |beta_k s_k| + `rounding`.
      rounding: what rounding may have done to a value, a scalar.
      weights: squares of the first entries of the eigenvectors s, shape (k,). The values and weights are the nodes and
        weights of Gauss quadrature: sum_i weights_i f(theta_i) = q' f(A) q / q'q for polynomials up to degree 2k - 1.
      vectors: s, in columns, shape (k, k).
    """

    values: jax.Array
    errors: jax.Array
    rounding: Scalar
    weights: jax.Array
    vectors: jax.Array

    __repr__ = report.record


class _Carry(NamedTuple):
    """The state between two steps; scalars travel together, since each array that a loop carries costs kernels.

    Attributes:
      basis: V.
      coefficients: alpha and beta, shape (2, k).
      v: the next basis vector.
      sizes: of A as seen so far, and the largest difference of <v_i, A v_j> and T_ij, shape (2,).
      marks: steps kept and a `KrylovStatus`, int32, shape (2,).
    """

    basis: Params
    coefficients: jax.Array
    v: Params
    sizes: jax.Array
    marks: jax.Array


def lanczos(operator: Operator, start: Params, steps: int) -> Tridiagonal:
    """Reduce a symmetric operator to tridiagonal form on a Krylov space.

    Cost: one product a step, and four passes over the part of the basis; memory for `steps` trees. It ends early where
    the space is invariant or a product is not finite; under `vmap` all lanes run to the slowest one.

    Args:
      operator: linear and symmetric, `v -> A v`.
      start: q, a tree of floating arrays, not zero; see `jopt.linalg.probes.normal` for a random one.
      steps: k >= 1; more than the number of variables are not made.

    Returns:
      A `Tridiagonal`; what rounding and failure do is in its fields.

    Raises:
      TypeError: if `operator` cannot be called, a leaf of `start` is not floating or `steps` is no whole number.
      ValueError: if `steps` is less than 1, `start` has no entries or A v is no tree like v.

    Reference: Lanczos (1950); Parlett (1998), sections 6.9 and 13.1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.linalg import lanczos, ritz
      >>> form = lanczos(lambda v: jnp.array([1.0, 2.0, 6.0]) * v, jnp.ones(3), steps=3)
      >>> bool(jnp.allclose(ritz(form).values, jnp.array([1.0, 2.0, 6.0]), atol=1e-4))
      True
    """
    validate.integer("lanczos", "steps", steps, low=1)
    start = tree.as_parameters("lanczos", "start", start)
    steps = min(steps, tree.size(start))
    if not steps:
        msg = "lanczos: start must have at least one entry, got a tree without any."
        raise ValueError(msg)
    dtype, eps = tree.scalar_dtype(start), tree.coarsest_eps(start)

    def body(carry: _Carry) -> _Carry:
        product = applied("lanczos", operator, tree.cast(carry.v, start))
        return _step(carry, jax.tree.map(lambda x: x.astype(dtype), product), eps)

    end = jax.lax.while_loop(
        lambda carry: (carry.marks[0] < steps) & (carry.marks[1] == KrylovStatus.RUNNING), body, _begin(start, steps)
    )
    return _finish(end, start)


@jax.jit
def ritz(form: Tridiagonal) -> Ritz:
    """Return the eigenvalues of a tridiagonal form with their errors, weights and vectors.

    Cost: a dense eigenvalue problem of size k.

    Args:
      form: what `lanczos` returned.
    """
    k = form.diagonal.size
    slots = jnp.arange(k, dtype=jnp.int32)
    last = slots == form.taken - 1
    taken = slots < form.taken
    diagonal = jnp.where(taken, form.diagonal, form.diagonal[0])
    beside = jnp.where(slots < form.taken - 1, form.offdiagonal, 0)[:-1]
    values, vectors = jnp.linalg.eigh(jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1))
    # The residual's leaves have the dtypes in which A was applied; the second term is that of the dense problem.
    units = ROUNDING * tree.coarsest_eps(form.residual) + k * float(jnp.finfo(values.dtype).eps)
    beta_s = jnp.sum(jnp.where(last[:, None], form.offdiagonal[:, None] * vectors, 0), axis=0)
    nan = jnp.where(form.taken > 0, 0, jnp.nan).astype(values.dtype)
    rounding = units * jnp.max(jnp.abs(values)) + nan
    return Ritz(values + nan, jnp.abs(beta_s) + rounding, rounding, jnp.square(vectors[0]), vectors)


def ritz_vector(form: Tridiagonal, s: jax.Array) -> Params:
    """Return V s of unit length, the Ritz vector of an eigenvector s of T.

    Args:
      form: what `lanczos` returned.
      s: a column of `Ritz.vectors`, shape (k,).

    Returns:
      A tree like the start; zero if no step was taken.
    """
    y = tree.stacked_sum(jnp.where(jnp.arange(s.size, dtype=jnp.int32) < form.taken, s, 0), form.basis)
    m, r = tree.scaled_norm(y)
    return tree.cast(tree.scale(1 / jnp.where(r == 0, 1, m * r), y), form.residual)


@functools.partial(jax.jit, static_argnames="steps")
def _begin(start: Params, steps: int) -> _Carry:
    dtype = tree.scalar_dtype(start)
    q = jax.tree.map(lambda x: x.astype(dtype), start)
    m, r = tree.scaled_norm(q)
    sound = jnp.isfinite(r) & (r > 0)
    status = jnp.where(sound, jnp.int32(KrylovStatus.RUNNING), jnp.int32(KrylovStatus.NONFINITE))
    return _Carry(
        basis=jax.tree.map(lambda x: jnp.broadcast_to(jnp.zeros_like(x), (steps, *x.shape)), q),
        coefficients=jnp.zeros((2, steps), dtype),
        v=jax.tree.map(lambda x: jnp.where(sound, x / m / jnp.where(sound, r, 1), 0), q),
        sizes=jnp.zeros(2, dtype),
        marks=jnp.stack([jnp.zeros_like(status), status]),
    )


def _step(carry: _Carry, w: Params, eps: float) -> _Carry:
    """Return the carry after one more product w = A v."""
    j, slots = carry.marks[0], jnp.arange(carry.coefficients.shape[1], dtype=jnp.int32)
    basis = jax.tree.map(lambda rows, x: jax.lax.dynamic_update_index_in_dim(rows, x, j, 0), carry.basis, carry.v)
    h = tree.stacked_vdot(basis, w)
    once = tree.sub(w, tree.stacked_sum(h, basis))
    twice = tree.sub(once, tree.stacked_sum(tree.stacked_vdot(basis, once), basis))
    m, r = tree.scaled_norm(twice)
    alpha, beta = h[j], m * r
    expected = jnp.where(slots == j - 1, carry.coefficients[1], 0)
    defect = jnp.max(jnp.where(slots == j, 0, jnp.abs(h - expected)))
    sizes = jnp.maximum(carry.sizes, jnp.stack([jnp.abs(alpha) + beta, defect]))
    sound = jnp.isfinite(alpha) & jnp.isfinite(beta)
    status = first_of(
        (~sound, KrylovStatus.NONFINITE),
        (beta <= ROUNDING * eps * sizes[0], KrylovStatus.CONVERGED),
        otherwise=KrylovStatus.RUNNING,
    )
    length = jnp.where(r > 0, r, 1)
    return _Carry(
        basis=basis,
        coefficients=jnp.where(sound & (slots == j), jnp.stack([alpha, beta])[:, None], carry.coefficients),
        v=jax.tree.map(lambda x, y: jnp.where(sound, y / m / length, x), carry.v, twice),
        sizes=jnp.where(sound, sizes, carry.sizes),
        marks=jnp.stack([j + sound.astype(jnp.int32), status]),
    )


@jax.jit
def _finish(end: _Carry, start: Params) -> Tridiagonal:
    (diagonal, offdiagonal), (taken, status) = end.coefficients, end.marks
    asymmetry = end.sizes[1] / jnp.where(end.sizes[0] == 0, 1, end.sizes[0])
    # A start without a direction made no product; any other that is not finite made the one that failed.
    failed = (status == KrylovStatus.NONFINITE) & (tree.max_abs(end.v) > 0)
    last = jnp.arange(diagonal.size, dtype=jnp.int32) == taken - 1
    return Tridiagonal(
        basis=end.basis,
        diagonal=diagonal,
        offdiagonal=offdiagonal,
        residual=tree.cast(tree.scale(jnp.sum(jnp.where(last, offdiagonal, 0)), end.v), start),
        asymmetry=asymmetry,
        taken=taken,
        nhev=taken + failed.astype(jnp.int32),
        status=first_of(
            (status == KrylovStatus.NONFINITE, KrylovStatus.NONFINITE),
            (asymmetry > symmetry_tolerance(start), KrylovStatus.NOT_SYMMETRIC),
            ((status == KrylovStatus.CONVERGED) | (taken == tree.size(start)), KrylovStatus.CONVERGED),
            otherwise=KrylovStatus.MAX_ITERATIONS,
        ),
    )

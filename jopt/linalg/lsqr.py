# SPDX-License-Identifier: Apache-2.0
r"""Least squares by products alone: LSQR.

    x = argmin |A x - b|^2 + damping |x|^2,   A given as v -> A v (and u -> A'u)

Golub and Kahan's bidiagonalisation builds orthonormal u_k, v_k with A V_k = U_{k+1} B_k; x_k minimises the sum over the
span of v_1 ... v_k, by one plane rotation for the new column of B_k and one for the damping. In exact arithmetic the
iterates are those of conjugate gradients on (A'A + damping I) x = A'b, but A'A is never formed nor applied to a
residual, so that the condition number of A is not squared. Without damping, and where A has dependent columns, the
iterates tend to the solution of least norm.

One step costs one product with A and one with A'. One vector like b and three like x are carried.

References: Paige and Saunders (1982), LSQR: an algorithm for sparse linear equations and sparse least squares, ACM
TOMS 8(1), section 4 and (for the damping) section 2.3, doi:10.1145/355984.355989.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, tree, validate
from jopt.status import KrylovStatus, first_of
from jopt.tree import Tree
from jopt.types import Scalar


class LSQRResult(NamedTuple):
    """The outcome of `lsqr`.

    Attributes:
      x: the solution, a tree like `like`.
      status: a `jopt.status.KrylovStatus` as int32.
      nit: steps made, each one product with A and one with A'; int32.
      residual_norm: (|A x - b|^2 + damping |x|^2)^(1/2) as the recurrence has it, scalar.
      normal_residual: |A'(b - A x) - damping x| / |A'b| as the recurrence has it, scalar; 0 where A'b = 0.
    """

    x: Tree
    status: jax.Array
    nit: jax.Array
    residual_norm: Scalar
    normal_residual: Scalar

    __repr__ = report.record


class _Carry(NamedTuple):
    """The bidiagonalisation (u, v, alpha), the solution (x, w) and its rotations (rho_bar, phi_bar).

    `spent` is the part of the residual that the damping's rotations have fixed, squared.
    """

    u: Tree
    v: Tree
    w: Tree
    x: Tree
    alpha: Scalar
    rho_bar: Scalar
    phi_bar: Scalar
    spent: Scalar
    normal: Scalar
    status: jax.Array
    nit: jax.Array


def lsqr(
    operator: Callable[[Tree], Tree],
    b: Tree,
    like: Tree,
    *,
    transpose: Callable[[Tree], Tree] | None = None,
    damping: Any = 0.0,
    rtol: Any = None,
    maxiter: Any = None,
) -> LSQRResult:
    """Solve a linear least-squares problem with products alone.

    Args:
      operator: v -> A v, linear; takes a tree like `like`, returns a tree like `b`.
      b: the right-hand side, a tree of floating arrays.
      like: a tree with the structure, shapes and dtypes of x; its values are not used.
      transpose: u -> A'u; None means that JAX transposes `operator`.
      damping: >= 0; a number or a traced scalar.
      rtol: >= 0: done when the normal residual is at most this; None means sqrt(eps) of the dtype.
      maxiter: steps at most, >= 0; None means twice the number of unknowns. May be traced.

    Returns:
      An `LSQRResult`. CONVERGED: the normal residual passed the test, or the Krylov space is exhausted;
      MAX_ITERATIONS: the budget was spent; NONFINITE: a product, or b, is not finite, and x is the last finite iterate.

    Raises:
      ValueError: for a setting outside its range, or at trace time if `operator` does not return a tree like b.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.linalg import lsqr
      >>> a, b = jnp.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]), jnp.array([1.0, 4.0, 5.0])
      >>> bool(jnp.allclose(lsqr(lambda v: a @ v, b, jnp.zeros(2)).x, jnp.array([1.0, 2.0]), atol=1e-5))
      True
    """
    validate.number("lsqr", "damping", damping, low=0.0)
    if rtol is not None:
        validate.number("lsqr", "rtol", rtol, low=0.0)
    if maxiter is not None:
        validate.integer("lsqr", "maxiter", maxiter, low=0)
    tree.check_like("lsqr", "operator(x)", jax.eval_shape(operator, like), "b", b)
    dtype = tree.common_dtype(tree.scalar_dtype(like), tree.scalar_dtype(b))
    rtol = jnp.asarray(float(jnp.finfo(dtype).eps) ** 0.5 if rtol is None else rtol, dtype)
    budget = jnp.asarray(2 * tree.size(like) if maxiter is None else maxiter, jnp.int32)
    root = jnp.sqrt(jnp.asarray(damping, dtype))
    forward, backward = _wide_products(operator, transpose, like, b, dtype)
    first, start = _begin(backward, tree.cast(b, tree.zeros_like(b, dtype)), budget)
    last = jax.lax.while_loop(
        lambda carry: carry.status == KrylovStatus.RUNNING,
        lambda carry: _step(forward, backward, carry, root, rtol * first.alpha, budget),
        start,
    )
    return LSQRResult(
        x=tree.cast(tree.scale(jnp.where(jnp.isfinite(first.beta), first.beta, 0), last.x), like),
        status=last.status,
        nit=last.nit,
        residual_norm=first.beta * jnp.sqrt(jnp.square(last.phi_bar) + last.spent),
        normal_residual=jnp.where(first.alpha > 0, last.normal / jnp.where(first.alpha > 0, first.alpha, 1), 0),
    )


class _First(NamedTuple):
    """|b|, and |A'b| / |b|."""

    beta: Scalar
    alpha: Scalar


def _begin(backward: Callable[[Tree], Tree], b: Tree, budget: jax.Array) -> tuple[_First, _Carry]:
    """Return |b| with |A'b| / |b|, and the carry before the first step; the system is solved for b / |b|."""
    beta, u = _normalised(b)
    alpha, v = _normalised(backward(u))
    zero = jnp.zeros_like(beta)
    status = first_of(
        (~(jnp.isfinite(beta) & jnp.isfinite(alpha)), KrylovStatus.NONFINITE),
        ((beta == 0) | (alpha == 0), KrylovStatus.CONVERGED),
        (budget <= 0, KrylovStatus.MAX_ITERATIONS),
        otherwise=KrylovStatus.RUNNING,
    )
    x = tree.zeros_like(v)
    one = jnp.where(beta > 0, jnp.ones_like(beta), zero)
    carry = _Carry(u, v, v, x, alpha, alpha, one, zero, alpha, status, jnp.zeros((), jnp.int32))
    return _First(beta, alpha), carry


def _step(
    forward: Callable[[Tree], Tree],
    backward: Callable[[Tree], Tree],
    carry: _Carry,
    root: Scalar,
    tolerance: Scalar,
    budget: jax.Array,
) -> _Carry:
    """Make one step: a column of the bidiagonal matrix, two rotations, the new iterate."""
    beta, u = _normalised(tree.axpy(-carry.alpha, carry.u, forward(carry.v)))
    alpha, v = _normalised(tree.axpy(-beta, carry.v, backward(u)))
    damped = jnp.hypot(carry.rho_bar, root)  # zero only for an A of rank zero, which never gets here
    phi_bar = carry.rho_bar / damped * carry.phi_bar
    psi = root / damped * carry.phi_bar
    rho = jnp.hypot(damped, beta)
    cosine, sine = damped / rho, beta / rho
    x = tree.axpy(cosine * phi_bar / rho, carry.w, carry.x)
    w = tree.axpy(-sine * alpha / rho, carry.w, v)
    normal = jnp.abs(sine * phi_bar * alpha * cosine)
    nit = carry.nit + 1
    finite = jnp.isfinite(alpha) & jnp.isfinite(beta) & jnp.isfinite(tree.max_abs(x))
    status = first_of(
        (~finite, KrylovStatus.NONFINITE),
        ((normal <= tolerance) | (alpha == 0), KrylovStatus.CONVERGED),
        (nit >= budget, KrylovStatus.MAX_ITERATIONS),
        otherwise=KrylovStatus.RUNNING,
    )
    after = _Carry(u, v, w, x, alpha, -cosine * alpha, sine * phi_bar, carry.spent + psi * psi, normal, status, nit)
    kept = carry._replace(status=status, nit=nit)
    return tree.where(finite, after, kept)


def _normalised(a: Tree) -> tuple[Scalar, Tree]:
    """Return (|a|, a / |a|); zero stays zero."""
    unit, ratio = tree.scaled_norm(a)
    inverse = jnp.where(ratio > 0, 1 / jnp.where(ratio > 0, ratio, 1), 0)
    return unit * ratio, jax.tree.map(lambda x: x / unit * inverse, a)


def _wide_products(
    operator: Callable[[Tree], Tree], transpose: Callable[[Tree], Tree] | None, like: Tree, b: Tree, dtype: Any
) -> tuple[Callable[[Tree], Tree], Callable[[Tree], Tree]]:
    """Return the products on trees whose leaves are all of `dtype`, whatever the leaves of x and b are."""
    transposed = transpose or (lambda u: jax.linear_transpose(operator, like)(u)[0])

    def wide(a: Tree) -> Tree:
        return jax.tree.map(lambda x: x.astype(dtype), a)

    return lambda v: wide(operator(tree.cast(v, like))), lambda u: wide(transposed(tree.cast(u, b)))

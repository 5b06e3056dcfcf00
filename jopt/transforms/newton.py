# SPDX-License-Identifier: Apache-2.0
r"""Newton's direction with the whole Hessian, for few parameters: u = B^-1 g with B near H and positive definite.

With H = Q diag(lambda) Q', a the damping, l = lambda + a, top the largest |l| and least = floor * top, B = Q diag(t) Q':

    modification    t
    "absolute"      max(|l|, least)                     the same curvature, bent upwards; "saddle-free"
    "clip"          max(l, least)                       the nearest B (in Frobenius' norm) with no eigenvalue below least
    "shift"         l + max(0, least - min l)           the smallest multiple of the identity added that gives that
    None            l                                   Newton's method as it is: it goes to saddles and maxima too

The first three leave a matrix that is positive definite enough as it is, and -u always descends. Where curvature is
negative, "absolute" makes a step of its size; the other two make one along the lowest eigenvectors of 1 / floor times
that of the stiffest, unless the floor is raised. With None, eigenvalues below the floor contribute nothing.
a -> infinity is gradient descent with rate 1 / a.

References: Nocedal and Wright (2006), Numerical Optimization, section 3.4, eq. (3.40) to (3.43),
doi:10.1007/978-0-387-40065-5; Dauphin et al. (2014), Identifying and attacking the saddle point problem in
high-dimensional non-convex optimization, NeurIPS, arXiv:1406.2572 (|lambda|).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg.operators import dense
from jopt.status import KrylovStatus
from jopt.transforms.checked import transformation
from jopt.transforms.dense_quasi_newton import MAX_BYTES
from jopt.transforms.newton_cg import HINT
from jopt.types import Params, Scalar, Transformation, Updates

HIGHEST = jax.lax.Precision.HIGHEST


class NewtonState(NamedTuple):
    """State of `scale_by_newton`.

    Attributes:
      nhev: Hessian-vector products so far, int32; 0 with a `hessian` of the caller's.
      status: CONVERGED, or NONFINITE where the last Hessian was not finite (`jopt.status.KrylovStatus`), int32.
      lowest: the smallest eigenvalue of the last H, scalar; NaN where it was not finite.
      highest: the largest one.
    """

    nhev: jax.Array
    status: jax.Array
    lowest: Scalar
    highest: Scalar


def absolute(eigenvalues: jax.Array, least: Scalar) -> jax.Array:
    """Return max(|l|, least)."""
    return jnp.maximum(jnp.abs(eigenvalues), least)


def clip(eigenvalues: jax.Array, least: Scalar) -> jax.Array:
    """Return max(l, least)."""
    return jnp.maximum(eigenvalues, least)


def shift(eigenvalues: jax.Array, least: Scalar) -> jax.Array:
    """Return l + max(0, least - min l)."""
    return eigenvalues + jnp.maximum(0, least - jnp.min(eigenvalues))


def unmodified(eigenvalues: jax.Array, least: Scalar) -> jax.Array:
    """Return l, infinity where |l| < least: nothing is known along such directions."""
    return jnp.where(jnp.abs(eigenvalues) < least, jnp.inf, eigenvalues)


MODIFICATIONS: dict[str, Callable[[jax.Array, Scalar], jax.Array]] = {
    "absolute": absolute,
    "clip": clip,
    "shift": shift,
}


@transformation
def scale_by_newton(
    *,
    damping: Any = 0.0,
    modification: str | None = "absolute",
    floor: float | None = None,
    hessian: Callable[[Params], jax.Array] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Transformation:
    """Multiply the gradient by the inverse of the damped and modified Hessian.

    Assumes that the updates which come in are the gradients of a twice differentiable objective at `params`. Where the
    Hessian is not finite the gradient goes out as it came, and the status says so.

    Cost: n products in one batch and the eigenvalues of an n x n matrix, about 9 n^3 operations.

    Args:
      damping: a, added to the Hessian's diagonal, a finite number >= 0.
      modification: "absolute", "clip", "shift" or None (see above).
      floor: part of the largest |eigenvalue| that the least is raised to, in [0, 1); None means n eps.
      hessian: `params -> H` of shape (n, n), rows and columns in the order of `jax.tree.leaves`; None makes it from
        products, and is symmetric up to rounding. The symmetric part counts.
      max_bytes: largest size of the matrix in bytes, >= 1; beyond it `init` raises.

    Returns:
      A transformation whose update needs `params` and, without `hessian`, the extra `hvp`, v -> H v at `params`.

    Raises:
      ValueError: for a setting outside its range, an update without `hvp`, a `hessian` of another shape; by `init`, if
        the matrix would be larger than `max_bytes`.
      TypeError: for a setting of the wrong type.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 3.4, doi:10.1007/978-0-387-40065-5.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> direction = jopt.scale_by_newton()
      >>> x, h = jnp.ones(2), jnp.array([2.0, -8.0])
      >>> u, state = direction.update(h * x, direction.init(x), x, hvp=lambda v: h * v)
      >>> print(u, int(state.nhev))
      [ 1. -1.] 2
    """
    name = "scale_by_newton"
    validate.number(name, "damping", damping, low=0.0, high_open=True)
    modify = unmodified
    if modification is not None:
        modify = MODIFICATIONS[validate.choice(name, "modification", modification, MODIFICATIONS, hint="Or None.")]
    if floor is not None:
        validate.number(name, "floor", floor, low=0.0, high=1.0, high_open=True)
    if hessian is not None and not callable(hessian):
        msg = f"{name}: hessian must be None or a function of params, got {type(hessian).__name__}."
        raise TypeError(msg)
    validate.integer(name, "max_bytes", max_bytes, low=1)

    def init(params: Params) -> NewtonState:
        _check_size(name, params, max_bytes)
        zero = jnp.zeros((), tree.scalar_dtype(params))
        return NewtonState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), zero, zero)

    def update(
        updates: Updates, state: NewtonState, params: Params = None, *, hvp: Any = None, **extra: Any
    ) -> tuple[Updates, NewtonState]:
        del extra
        validate.given(name, "params", params)
        g, back = tree.ravel(updates)
        if g.size == 0:
            return updates, state
        made = jnp.zeros((), jnp.int32)
        if hessian is not None:
            matrix = _symmetric(name, hessian(params), g)
        else:
            matrix = _symmetric(name, dense(validate.given(name, "hvp", hvp, hint=HINT), params), g)
            made = jnp.full((), g.size, jnp.int32)
        finite = jnp.isfinite(jnp.sum(jnp.abs(matrix)))
        eigenvalues, vectors = jnp.linalg.eigh(jnp.where(finite, matrix, jnp.eye(g.size, dtype=g.dtype)))
        damped = eigenvalues + jnp.asarray(damping).astype(g.dtype)
        part = g.size * float(jnp.finfo(g.dtype).eps) if floor is None else floor
        t = modify(damped, part * jnp.max(jnp.abs(damped)))
        u = jnp.where(finite, _in_eigenvectors(vectors, t, g), g)
        return back(u), NewtonState(
            nhev=state.nhev + made,
            status=jnp.where(finite, jnp.int32(KrylovStatus.CONVERGED), jnp.int32(KrylovStatus.NONFINITE)),
            lowest=jnp.where(finite, eigenvalues[0], jnp.nan),
            highest=jnp.where(finite, eigenvalues[-1], jnp.nan),
        )

    return Transformation(init, update)


def _in_eigenvectors(vectors: jax.Array, t: jax.Array, g: jax.Array) -> jax.Array:
    """Return Q diag(1 / t) Q' g; g itself where all of t is zero, as for a linear function."""
    weights = jnp.where(t == 0, jnp.where(jnp.all(t == 0), 1.0, 0.0).astype(t.dtype), 1 / jnp.where(t == 0, 1, t))
    return jnp.matmul(vectors, weights * jnp.matmul(g, vectors, precision=HIGHEST), precision=HIGHEST)


def _symmetric(name: str, matrix: Any, g: jax.Array) -> jax.Array:
    """Return the symmetric part of a Hessian of the right shape."""
    if jnp.shape(matrix) != (g.size, g.size):
        msg = f"{name}: hessian(params) must be a matrix of shape {(g.size, g.size)}, got shape {jnp.shape(matrix)}."
        raise ValueError(msg)
    h = jnp.asarray(matrix).astype(g.dtype)
    return 0.5 * (h + h.T)


def _check_size(name: str, params: Params, max_bytes: int) -> None:
    n = tree.size(params)
    needed = n * n * jnp.dtype(tree.scalar_dtype(params)).itemsize
    if needed > max_bytes:
        msg = (
            f"{name}: params must be few, but {n} of them need a matrix of {needed} bytes, above max_bytes={max_bytes}; "
            "use scale_by_newton_cg (or method='newton-cg'), or raise max_bytes."
        )
        raise ValueError(msg)

# SPDX-License-Identifier: Apache-2.0
r"""What kind of point is this: a minimum, a maximum, a saddle? And how long may a gradient step be?

A stationary point is a strict minimum if all eigenvalues of the Hessian are positive, a strict maximum if all are
negative and a saddle if some are of either sign; with a zero eigenvalue the Hessian does not decide. Lanczos from a random
start finds the ends theta_1 <= theta_k of the spectrum and the errors e_1, e_k of both (`jopt.linalg.extremes`):

    minimum    theta_1 - e_1 > 0
    maximum    theta_k + e_k < 0
    saddle     theta_1 < -rounding  and  theta_k > rounding

A saddle needs no converged end, since theta_1 and theta_k are curvatures along directions at hand. A minimum or maximum
rests on the bound of the end: certain where the steps fill the space, up to a chance of one in a thousand otherwise.

Gradient descent with rate a on a quadratic multiplies the error along an eigenvector by 1 - a lambda, so it is stable
exactly for a < 2 / lambda_max.

References: Nocedal and Wright (2006), Numerical Optimization, theorems 2.2 to 2.4, doi:10.1007/978-0-387-40065-5; Polyak
(1987), Introduction to Optimization, section 1.4.1.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, tree, validate
from jopt.curvature.hvp import expanded
from jopt.linalg import Extremes, Tridiagonal, extremes, lanczos, probes, ritz
from jopt.linalg.operators import Operator
from jopt.status import KrylovStatus, first_of
from jopt.types import Params, Scalar


class PointKind(enum.IntEnum):
    """What a point is; carried through compiled code as an int32 scalar."""

    UNDECIDED = 0
    MINIMUM = 1
    MAXIMUM = 2
    SADDLE = 3
    NOT_STATIONARY = 4

    @property
    def advice(self) -> str:
        """What is known, and what to try."""
        return _ADVICE[self]


_ADVICE = {
    PointKind.UNDECIDED: (
        "Undecided: an end of the spectrum is zero to within its error, or the status says that products are not finite "
        "or not symmetric. Raise steps if the error is large, use float64 if it is rounding; if the eigenvalue is "
        "zero, higher derivatives decide."
    ),
    PointKind.MINIMUM: "A strict local minimum: the gradient is zero and all curvature positive.",
    PointKind.MAXIMUM: "A strict local maximum: the gradient is zero and all curvature negative.",
    PointKind.SADDLE: "A saddle: the gradient is zero, and there is curvature of either sign.",
    PointKind.NOT_STATIONARY: "The gradient is not zero here (larger than gtol), so this is none of them. Minimise first.",
}

_FAILURES = {
    KrylovStatus.NONFINITE: (
        "Undecided: the value, gradient or curvature is not finite here. Look for what overflows or leaves its domain."
    ),
    KrylovStatus.NOT_SYMMETRIC: (
        "Undecided: the products are not symmetric, <u, H v> and <v, H u> differ, so what was differentiated is no gradient. "
        "Mend the custom derivative rules of fun, or use float64 if it is rounding."
    ),
}


class Classification(NamedTuple):
    """What a point is, and on what grounds.

    Attributes:
      kind: a `PointKind` as int32.
      lowest: least Ritz value of the Hessian, a scalar; NaN if no product was finite.
      lowest_error: the least eigenvalue is at least `lowest - lowest_error`, see `jopt.linalg.Extremes`.
      highest: greatest Ritz value.
      highest_error: the greatest eigenvalue is at most `highest + highest_error`.
      grad_norm: |g|_inf.
      stationary: whether |g|_inf is at most the tolerance, bool.
      nhev: products made, int32.
      status: the `jopt.status.KrylovStatus` of the Lanczos run as int32.
    """

    kind: jax.Array
    lowest: Scalar
    lowest_error: Scalar
    highest: Scalar
    highest_error: Scalar
    grad_norm: Scalar
    stationary: jax.Array
    nhev: jax.Array
    status: jax.Array

    def __repr__(self) -> str:
        rows = {
            "lowest": report.number(self.lowest, self.lowest_error),
            "highest": report.number(self.highest, self.highest_error),
            "grad_norm": report.number(self.grad_norm),
            "nhev": report.number(self.nhev),
        }
        if report.is_concrete(self.kind):
            kind, status = PointKind(int(self.kind)), KrylovStatus(int(self.status))
            failure = _FAILURES.get(status) if kind == PointKind.UNDECIDED else None
            rows = {"kind": f"{kind.name}: {failure or kind.advice}", **rows, "status": status.name}
        return report.table("Classification", rows)


def classify(
    fun: Callable[..., Any],
    x: Params,
    args: Any = (),
    *,
    key: jax.Array | int = 0,
    steps: int = 32,
    gtol: float | None = None,
    has_aux: bool = False,
) -> Classification:
    """Say whether a point is a minimum, a maximum or a saddle.

    Cost: one gradient and at most min(`steps`, n) products; memory for that many trees. Works under `jit` and `vmap`.

    Args:
      fun: `fun(x, *args) -> value`, a real scalar, or `-> (value, aux)` with `has_aux`; twice differentiable.
      x: the point, a tree of floating arrays.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      key: a random key, or a whole number to make one of.
      steps: Lanczos steps, >= 1.
      gtol: the gradient counts as zero if |g|_inf <= gtol, >= 0. None means sqrt(eps) max(1, lambda |x|_inf), with
        lambda the largest curvature in size: what half the digits of x leave uncertain in g. After a solve pass its own.
      has_aux: whether `fun` returns something beside the value.

    Returns:
      A `Classification`.

    Raises:
      TypeError: if an argument is not of its kind, or `fun` does not return a real scalar.
      ValueError: if `steps` or `gtol` is out of its range or `x` has no entries.

    Reference: Nocedal and Wright (2006), theorems 2.2 to 2.4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import PointKind, classify
      >>> PointKind(int(classify(lambda x: x[0] ** 2 - x[1] ** 2, jnp.zeros(2)).kind)).name
      'SADDLE'
    """
    if gtol is not None:
        validate.number("classify", "gtol", gtol, low=0.0)
    x = tree.as_parameters("classify", "x", x)
    at = expanded("classify", fun, x, args, has_aux)
    ends, form = _ends("classify", at.hvp, x, key, steps)
    size = tree.max_abs(at.grad)
    most = jnp.maximum(jnp.abs(ends.lowest), jnp.abs(ends.highest))
    if gtol is None:
        tolerance = tree.coarsest_eps(x) ** 0.5 * jnp.maximum(1, most * tree.max_abs(x))
    else:
        tolerance = jnp.asarray(gtol).astype(size.dtype)
    stationary = size <= tolerance
    kind = first_of(
        (~(jnp.isfinite(size) & jnp.isfinite(most)), PointKind.UNDECIDED),
        (~stationary, PointKind.NOT_STATIONARY),
        (form.status == KrylovStatus.NOT_SYMMETRIC, PointKind.UNDECIDED),
        ((ends.lowest < -ends.rounding) & (ends.highest > ends.rounding), PointKind.SADDLE),
        (ends.lowest > ends.lowest_error, PointKind.MINIMUM),
        (ends.highest < -ends.highest_error, PointKind.MAXIMUM),
        otherwise=PointKind.UNDECIDED,
    )
    return Classification(
        kind=kind,
        lowest=ends.lowest,
        lowest_error=ends.lowest_error,
        highest=ends.highest,
        highest_error=ends.highest_error,
        grad_norm=size,
        stationary=stationary,
        nhev=form.nhev,
        status=form.status,
    )


def largest_stable_step(
    fun: Callable[..., Any],
    x: Params,
    args: Any = (),
    *,
    key: jax.Array | int = 0,
    steps: int = 32,
    has_aux: bool = False,
) -> Scalar:
    """Return 2 / lambda_max, the rate from which gradient descent is unstable on the quadratic model at a point.

    lambda_max is taken at the upper end of its error bar, so that the rate errs on the stable side. Cost: one gradient
    and at most min(`steps`, n) products.

    Args:
      fun: `fun(x, *args) -> value`, a real scalar, or `-> (value, aux)` with `has_aux`; twice differentiable.
      x: the point, a tree of floating arrays.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      key: a random key, or a whole number to make one of.
      steps: Lanczos steps, >= 1.
      has_aux: whether `fun` returns something beside the value.

    Returns:
      A scalar; infinite where no curvature is positive (very large where it is zero to rounding), NaN where the curvature is not finite or not symmetric.

    Raises:
      TypeError: if an argument is not of its kind, or `fun` does not return a real scalar.
      ValueError: if `steps` is less than 1 or `x` has no entries.

    Reference: Polyak (1987), section 1.4.1, theorem 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import largest_stable_step
      >>> step = largest_stable_step(lambda x: jnp.sum(jnp.array([1.0, 5.0]) * x**2), jnp.ones(2))
      >>> bool(jnp.allclose(step, 0.2))
      True
    """
    x = tree.as_parameters("largest_stable_step", "x", x)
    at = expanded("largest_stable_step", fun, x, args, has_aux)
    ends, form = _ends("largest_stable_step", at.hvp, x, key, steps)
    most = ends.highest + ends.highest_error
    step = jnp.where(ends.highest > 0, 2 / jnp.where(most == 0, 1, most), jnp.inf)
    return jnp.where(jnp.isnan(most) | (form.status == KrylovStatus.NOT_SYMMETRIC), jnp.nan, step)


def _ends(function: str, hvp: Operator, x: Params, key: jax.Array | int, steps: int) -> tuple[Extremes, Tridiagonal]:
    key = validate.random_key(function, "key", key)
    form = lanczos(hvp, probes.normal(key, x), steps)
    return extremes(form, ritz(form)), form

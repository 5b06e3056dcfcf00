# SPDX-License-Identifier: Apache-2.0
"""How a trust region chooses its step: the quadratic model within the ball, solved in three ways.

    truncated_cg   conjugate gradients up to the boundary (Steihaug, Toint), on products with the Hessian alone
                   within bounds the same on the free entries, with bends at the bounds
    exact          the model's minimiser in the ball (Moré, Sorensen), from the dense Hessian's eigenvalues
    dogleg_path    a path of two lines (Powell), on a positive definite dense model

A subproblem makes a *plan* of the model at a point, once, and takes from it the step for any radius up to the first one.
A rejected trial therefore costs no new product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg import more_sorensen
from jopt.linalg.boxed_path import empty_boxed_path, shorten_boxed
from jopt.linalg.boxed_steihaug import boxed_steihaug
from jopt.linalg.dogleg import follow_dogleg
from jopt.linalg.more_sorensen import BallStep
from jopt.linalg.operators import dense
from jopt.linalg.steihaug import KEPT, Step, empty_path, shorten, steihaug
from jopt.status import KrylovStatus
from jopt.transforms.forcing import SUPERLINEAR_MOST, superlinear_term
from jopt.types import Described, Params, Scalar, described

# Parameters up to which a dense Hessian is made without being asked for twice: 2000^2 float64 are 32 MB, and their
# eigenvalues take seconds.
DENSE_MOST = 2000

# A residual of this part of the caller's tolerance ends the solve if the model holds: a smaller one is work for nothing.
# Kelley (1995), Iterative Methods for Linear and Nonlinear Equations, section 6.3, doi:10.1137/1.9781611970944.
ENOUGH = 0.5


class Task(NamedTuple):
    """The model at a point, and how exactly to solve it.

    Attributes:
      hvp: v -> H v.
      grads: g, a tree.
      radius: of the ball, scalar.
      grad_norm: |g|, scalar; within bounds that of the projected gradient, as in the two that follow.
      first_grad_norm: |g| at the start of the solve, scalar.
      gtol: the caller stops where |g|_inf is at most this, scalar; 0 where that is not known.
      box: the `jopt.linalg.Box` of the steps that keep within bounds; None without bounds.
    """

    hvp: Callable[[Params], Params]
    grads: Params
    radius: Scalar
    grad_norm: Scalar
    first_grad_norm: Scalar
    gtol: Scalar
    box: Any = None


class _SubproblemFunctions(NamedTuple):
    init: Callable[..., Any]
    solve: Callable[..., Any]
    shorten: Callable[..., Any]


class Subproblem(Described, _SubproblemFunctions):
    """A way to minimise the model <g, p> + 1/2 <p, H p> over |p| <= radius.

    `init(params) -> plan` makes an empty plan; `solve(task) -> (step, plan, nhev)` makes the plan at a point, with the
    step for its radius and the number of products; `shorten(plan, radius, like) -> step` takes the step for a smaller
    radius, as a tree like the parameters.
    The step is a `jopt.linalg.steihaug.Step`; its decrease is NaN where the curvature was not finite.

    Attributes:
      within: the subproblem to be solved within bounds, whose `solve` reads `task.box`; None where there is none.
    """

    within: Subproblem | None = None


Forcing = Callable[[Scalar, Scalar], Scalar]
"""`(|g|, |g_0|) -> the relative residual asked for`."""

FORCINGS: dict[str, Forcing] = {
    "superlinear": superlinear_term,
    "absolute": lambda g, _: jnp.minimum(SUPERLINEAR_MOST, jnp.sqrt(g)),
    "quadratic": lambda g, g0: jnp.minimum(SUPERLINEAR_MOST, g / g0),
}


@described
def truncated_cg(*, forcing: str | float = "superlinear", kept: int = KEPT, maxiter: int | None = None) -> Subproblem:
    """Choose the step by conjugate gradients that stop at the boundary of the ball.

    Within bounds by `jopt.linalg.boxed_steihaug`, with the residual on the free entries.

    Args:
      forcing: how small the residual |g + H p| must become relative to |g|, but not below half the caller's tolerance: "superlinear" is min(1/2, sqrt(|g| / |g_0|)),
        independent of the scale of f; "absolute" is min(1/2, sqrt(|g|)) (Nocedal and Wright, eq. 7.3);
        "quadratic" is min(1/2, |g| / |g_0|); a number in [0, 1) stays as it is.
      kept: iterates kept for shorter steps, >= 1; memory of as many trees.
      maxiter: products a point at most, >= 1; None means 2 n, and at least 20, or within bounds twice as many.

    Raises:
      ValueError: for a setting outside its range.

    Reference:
      Steihaug (1983), The conjugate gradient method and trust regions in large scale optimization, doi:10.1137/0720042;
      Dembo, Eisenstat and Steihaug (1982), Inexact Newton methods, SIAM J. Numer. Anal. 19(2), doi:10.1137/0719025.
    """
    if isinstance(forcing, str):
        tolerance: Forcing = FORCINGS[validate.choice("truncated_cg", "forcing", forcing, FORCINGS)]
    else:
        number = validate.number("truncated_cg", "forcing", forcing, low=0.0, high=1.0, high_open=True)
        tolerance = lambda g, _: jnp.asarray(number, g.dtype)  # noqa: E731

    validate.integer("truncated_cg", "kept", kept, low=1)
    if maxiter is not None:
        validate.integer("truncated_cg", "maxiter", maxiter, low=1)

    def mark(step: Step, status: jax.Array) -> Step:
        return step._replace(decrease=jnp.where(status == KrylovStatus.NONFINITE, jnp.nan, step.decrease))

    def solve(task: Task) -> tuple[Step, Any, jax.Array]:
        enough = jnp.minimum(SUPERLINEAR_MOST, ENOUGH * task.gtol / jnp.where(task.grad_norm > 0, task.grad_norm, 1))
        rtol = jnp.maximum(tolerance(task.grad_norm, task.first_grad_norm), enough)
        run = steihaug(task.hvp, task.grads, task.radius, rtol=rtol, maxiter=maxiter, kept=kept)
        return mark(run.step, run.status), run.path, run.nhev

    def solve_within(task: Task) -> tuple[Step, Any, jax.Array]:
        rtol, atol = tolerance(task.grad_norm, task.first_grad_norm), ENOUGH * task.gtol
        run = boxed_steihaug(
            task.hvp, task.grads, task.box, task.radius, rtol=rtol, atol=atol, maxiter=maxiter, kept=kept
        )
        return mark(run.step, run.status), run.path, run.nhev

    free = Subproblem(lambda params: empty_path(params, kept), solve, lambda path, radius, _: shorten(path, radius))
    free.within = Subproblem(
        lambda params: empty_boxed_path(params, kept), solve_within, lambda path, radius, _: shorten_boxed(path, radius)
    )
    return free


@described
def exact(*, most: int = DENSE_MOST) -> Subproblem:
    """Choose the minimiser of the model in the ball, from the eigenvalues of the dense Hessian.

    Costs n products and O(n^3) operations at each accepted point, and no product for a shorter step.

    Args:
      most: parameters accepted, >= 1; a solve with more raises.

    Raises:
      ValueError: if `most` < 1; at trace time if there are more parameters.

    Reference:
      Moré and Sorensen (1983), Computing a trust region step, SIAM J. Sci. Stat. Comput. 4(3), doi:10.1137/0904038.
    """
    validate.integer("exact", "most", most, low=1)

    return _dense("exact", most, more_sorensen.minimise_in_ball)


@described
def dogleg_path(*, most: int = DENSE_MOST) -> Subproblem:
    """Choose the step on Powell's path: from the point to Cauchy's minimiser, and on to Newton's.

    The model is made positive definite first, by the absolute values of the Hessian's eigenvalues, so that the path
    exists and directions of negative curvature are descended, too. Costs as `exact`.

    Args:
      most: parameters accepted, >= 1; a solve with more raises.

    Raises:
      ValueError: if `most` < 1; at trace time if there are more parameters.

    Reference:
      Powell (1970), A hybrid method for nonlinear equations; Nocedal and Wright (2006), Numerical Optimization, eq.
      (4.16), and section 3.4 on the modification.
    """
    return _dense("dogleg_path", most, follow_dogleg)


def _dense(name: str, most: int, minimise: Callable[[more_sorensen.Spectrum, Scalar], BallStep]) -> Subproblem:
    """Return the subproblem that is solved in the basis of the dense Hessian's eigenvectors."""
    validate.integer(name, "most", most, low=1)

    def init(params: Params) -> more_sorensen.Spectrum:
        n = tree.size(params)
        if not 1 <= n <= most:
            msg = (
                f"{name}: params must have 1 to {most} entries for a dense Hessian, got {n}; "
                f"use trust_ncg(), or raise `most`."
            )
            raise ValueError(msg)
        flat = jnp.zeros(n, tree.scalar_dtype(params))
        return more_sorensen.Spectrum(flat, jnp.zeros((n, n), flat.dtype), flat)

    def solve(task: Task) -> tuple[Step, Any, jax.Array]:
        flat, _ = tree.ravel(task.grads)
        matrix = dense(task.hvp, task.grads)
        model = more_sorensen.decompose((matrix + matrix.T) / 2, flat)
        return shorten(model, task.radius, task.grads), model, jnp.int32(flat.size)

    def shorten(model: more_sorensen.Spectrum, radius: Scalar, like: Params) -> Step:
        # For p / radius and g / |g|_inf, so that squares stay in range.
        unit, _ = tree.scaled_norm(model.coefficients)
        scaled = more_sorensen.Spectrum(model.values * (radius / unit), model.vectors, model.coefficients / unit)
        found, work = minimise(scaled, jnp.ones_like(radius)), radius * unit
        step = tree.ravel(like)[1](radius * found.step)
        return Step(step, radius * found.norm, work * found.slope, work * found.decrease)

    return Subproblem(init, solve, shorten)

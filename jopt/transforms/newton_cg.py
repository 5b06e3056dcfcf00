# SPDX-License-Identifier: Apache-2.0
r"""Truncated Newton: solve H p = -g by conjugate gradients, no more exactly than it is worth.

The output u = -p solves H u = g to |g - H u| <= eta |g|, with eta a forcing term (forcing.py), by products with H alone.

Where conjugate gradients meet a direction d with <d, H d> <= 0, the model has no minimum. The output is then

    u = x + a d,   a = |<r, z> / <d, H d>|

x the iterate so far, r its residual: the step that the same curvature with the other sign would make. Since <g, x> >= 0
and <g, d> > 0, -u descends; its length does not depend on the units of x and f; and the search sees the negative
curvature instead of turning away from it (Nocedal and Wright's Algorithm 7.1 returns x, or g where there is none yet).

Within bounds the model is minimised over the box of steps instead (`jopt.linalg.boxed_steihaug`): conjugate gradients on
the free entries, with bends at the bounds; so x - u is feasible, and the residual is that on the free entries. In the
forcing term the projected gradient stands for g. A diagonal preconditioner D^-1 is a change of scale there,

    q = D^(1/2) p,    minimise  <D^(-1/2) g, q> + 1/2 <q, D^(-1/2) H D^(-1/2) q>  for q in D^(1/2) times the box,

which is a box again (a general one would turn it); the norms that the run stops by are then those of D^(-1/2) r.

References: Dembo and Steihaug (1983), Truncated-Newton algorithms for large-scale unconstrained optimization, Math.
Program. 26, doi:10.1007/BF02592055; Nocedal and Wright (2006), Numerical Optimization, section 7.1,
doi:10.1007/978-0-387-40065-5; Eisenstat and Walker (1996), doi:10.1137/0917003.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg import preconditioners
from jopt.linalg.box import Box, projected_gradient
from jopt.linalg.boxed_steihaug import BoxedResult, boxed_steihaug
from jopt.linalg.cg import CGResult, Operator, cg
from jopt.status import KrylovStatus
from jopt.transforms import forcing as forcing_terms
from jopt.transforms.checked import transformation
from jopt.types import Params, Scalar, Transformation, Updates


class NewtonCGState(NamedTuple):
    """State of `scale_by_newton_cg`.

    Attributes:
      nhev: Hessian-vector products so far, int32.
      status: a `jopt.status.KrylovStatus` of the last solve, int32.
      residual_norm: |g - H x| / |g| that it reached, scalar; within bounds on the free entries, and preconditioned.
      curvature: <d, H d> / <d, d> of its last direction, scalar; within bounds preconditioned.
      forcing: state of the forcing term.
      preconditioner: state of the preconditioner, None without one.
    """

    nhev: jax.Array
    status: jax.Array
    residual_norm: Scalar
    curvature: Scalar
    forcing: Any
    preconditioner: Any


@transformation
def scale_by_newton_cg(
    *,
    forcing: str | float = "superlinear",
    maxiter: int | None = None,
    preconditioner: Any = None,
) -> Transformation:
    """Multiply the gradient by the inverse Hessian, by truncated conjugate gradients.

    Assumes that the updates which come in are the gradients of a smooth objective at `params`. Where curvature is
    negative it is followed (see above); where a product is not finite the iterate so far goes out, and the gradient
    itself if there is none.

    Cost: 5 arrays of parameter size while it runs, none between updates without a preconditioner.

    Args:
      forcing: how exactly: "superlinear", "eisenstat-walker-1", "eisenstat-walker-2", or a number in [0, 1).
      maxiter: products for one update at most, >= 1; None means 2 n, and at least 20, or within bounds twice as many.
      preconditioner: None, "jacobi", "hutchinson", "lbfgs", one of `jopt.linalg.preconditioners` with its settings, or a
        function `(params, r) -> M r` with M symmetric, positive definite, near the inverse Hessian.

    Returns:
      A transformation whose update needs `params` and the extra `hvp`, the operator v -> H v at `params`. Without a
      preconditioner, or with a diagonal one ("jacobi", "hutchinson"), it is `bounded`: it takes the extra `box`, a
      `jopt.linalg.Box` of steps that holds 0, and returns u with -u in the box.

    Raises:
      ValueError: for a setting outside its range, an unknown name, an update without `hvp`, or one with a box and a
        preconditioner that is not diagonal.
      TypeError: for a setting of the wrong type.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 7.1, doi:10.1007/978-0-387-40065-5.

    Example:
      >>> import jax, jax.numpy as jnp, jopt
      >>> direction = jopt.scale_by_newton_cg(forcing=1e-6)
      >>> x, h = jnp.ones(2), jnp.array([2.0, 8.0])
      >>> u, state = direction.update(h * x, direction.init(x), x, hvp=lambda v: h * v)
      >>> bool(jnp.allclose(u, x)), int(state.nhev)
      (True, 2)
    """
    name = "scale_by_newton_cg"
    term = forcing_terms.resolve(name, forcing)
    tool = preconditioners.resolve(name, preconditioner)
    bounded = tool is None or tool.diagonal
    if maxiter is not None:
        validate.integer(name, "maxiter", maxiter, low=1)

    def init(params: Params) -> NewtonCGState:
        zero = jnp.zeros((), tree.scalar_dtype(params))
        return NewtonCGState(
            nhev=jnp.zeros((), jnp.int32),
            status=jnp.zeros((), jnp.int32),
            residual_norm=zero,
            curvature=zero,
            forcing=term.init(params),
            preconditioner=None if tool is None else tool.init(params),
        )

    def update(
        updates: Updates, state: NewtonCGState, params: Params = None, *, hvp: Any = None, box: Any = None, **extra: Any
    ) -> tuple[Updates, NewtonCGState]:
        del extra
        validate.given(name, "params", params)
        hvp = validate.given(name, "hvp", hvp, hint=HINT)
        if not (bounded or box is None):
            msg = f"{name}: preconditioner must be diagonal ('jacobi', 'hutchinson') or None within bounds, got {preconditioner!r}."
            raise ValueError(msg)
        right = updates if box is None else projected_gradient(box, tree.zeros_like(updates), updates)
        eta = term.begin(right, params, state.forcing)
        settings: dict[str, Any] = {"rtol": eta, "maxiter": maxiter}
        if box is None:
            run, memory, spent = solve(hvp, updates, params, tool, state.preconditioner, settings)
            u = along_negative_curvature(run, updates)
        else:
            run, memory, spent = _solve_within(hvp, updates, params, tool, state.preconditioner, settings, box)
            u = _ascending(run, right)
        return u, NewtonCGState(
            nhev=state.nhev + run.nhev + spent,
            status=run.status,
            residual_norm=run.residual_norm,
            curvature=run.curvature,
            forcing=term.end(right, params, state.forcing, eta, u, run.residual),
            preconditioner=memory,
        )

    made = Transformation(init, update)
    made.bounded = bounded
    return made


def _solve_within(
    operator: Operator,
    grads: Updates,
    params: Params,
    tool: preconditioners.Preconditioner | None,
    memory: Any,
    settings: dict[str, Any],
    box: Box,
) -> tuple[BoxedResult, Any, jax.Array]:
    """Do as `solve` does, but for the step p = -u in a box; the preconditioner, if there is one, is diagonal."""
    if tool is None:
        return boxed_steihaug(operator, grads, box, jnp.inf, kept=0, **settings), None, jnp.zeros((), jnp.int32)
    ready = tool.prepare(operator, params, memory)
    run = _rescaled(operator, grads, box, jax.tree.map(jnp.sqrt, ready.diagonal), settings)
    return run, ready.state, ready.nhev


def _ascending(run: BoxedResult, downhill: Updates) -> Updates:
    """Return u = -p, or the projected gradient where the run made no step."""
    nothing = tree.max_abs(run.step.step) == 0
    return jax.tree.map(lambda p, g: jnp.where(nothing, g, -p), run.step.step, downhill)


def _rescaled(operator: Operator, grads: Updates, box: Box, roots: Params, settings: dict[str, Any]) -> BoxedResult:
    """Return the run for q = s p, s the roots, with its step and residual as of p; exactly on a bound where q is."""

    def times(a: Params) -> Params:
        return jax.tree.map(lambda a, s: a.astype(s.dtype) * s, a, roots)

    def over(a: Params) -> Params:
        return jax.tree.map(lambda a, s: a.astype(s.dtype) / s, a, roots)

    def back(q: jax.Array, s: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        inside = jnp.clip((q / s).astype(low.dtype), low, high)
        return jnp.where(q <= low.astype(s.dtype) * s, low, jnp.where(q >= high.astype(s.dtype) * s, high, inside))

    def scaled(v: Params) -> Params:
        return over(operator(tree.cast(over(v), grads)))

    run = boxed_steihaug(scaled, over(grads), Box(*map(times, box)), jnp.inf, kept=0, **settings)
    p = jax.tree.map(back, run.step.step, roots, *box)
    return run._replace(step=run.step._replace(step=p), residual=tree.cast(times(run.residual), grads))


HINT = "Pass update(grads, state, params, hvp=v -> H v), such as jax.linearize(jax.grad(fun), params)[1]."


def solve(
    operator: Operator,
    b: Params,
    params: Params,
    tool: preconditioners.Preconditioner | None,
    memory: Any,
    settings: dict[str, Any],
) -> tuple[CGResult, Any, jax.Array]:
    """Run conjugate gradients with a preconditioner that has a memory.

    Returns:
      The result, the next memory, and the products that the preconditioner made itself.
    """
    if tool is None:
        return cg(operator, b, **settings), memory, jnp.zeros((), jnp.int32)
    ready = tool.prepare(operator, params, memory)
    observe = None if tool.observe is None else (tool.observe, ready.state)
    solution = cg(operator, b, preconditioner=ready.apply, observe=observe, **settings)
    return solution, ready.state if observe is None else solution.observed, ready.nhev


def along_negative_curvature(solution: CGResult, grads: Updates) -> Updates:
    """Return the iterate, with a step along the last direction where its curvature was negative.

    Where the solve gave nothing, return the gradient.
    """
    negative = solution.status == KrylovStatus.NEGATIVE_CURVATURE
    a = jnp.where(negative, solution.step, 0)
    nothing = ~negative & (tree.max_abs(solution.x) == 0)
    u = tree.axpy(a, solution.direction, solution.x)
    return jax.tree.map(lambda u, g: jnp.where(nothing, g, u), u, grads)

# SPDX-License-Identifier: Apache-2.0
r"""Hessian-free training: solve (G + lambda I) u = g by conjugate gradients on the minibatch at hand.

G is the Gauss-Newton matrix J' H_L J, known by its products v -> G v alone (the extra `gnvp`), lambda the damping. With
the model q(p) = f + <g, p> + 1/2 <p, G p> of the same minibatch, p = -u, the ratio

    rho = (f(x + p) - f(x)) / (q(p) - f)        rho < 1/4:  lambda <- 3/2 lambda        rho > 3/4:  lambda <- 2/3 lambda

says whether the model is to be trusted. Conjugate gradients start from the last solution times a decay, and stop when the
damped model has fallen by less than a part `progress` of itself for each of the last max(10, i / 10) iterations i: what is
left to gain on this minibatch is then not worth a product.

References: Martens (2010), Deep learning via Hessian-free optimization, ICML, sections 4.1 (damping), 4.4 (stopping) and
4.5 (sharing information across iterations); Martens and Sutskever (2012), Training deep and recurrent networks with
Hessian-free optimization, in Neural Networks: Tricks of the Trade, doi:10.1007/978-3-642-35289-8_27 (decay).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg import preconditioners
from jopt.linesearch.conditions import value_noise
from jopt.transforms.checked import transformation
from jopt.transforms.newton_cg import along_negative_curvature, solve
from jopt.types import Params, Scalar, Transformation, Updates

# Martens (2010), section 4.1: where the ratio counts as bad and as good, and the factor of the damping.
BAD = 0.25
GOOD = 0.75
FACTOR = 1.5


class GaussNewtonCGState(NamedTuple):
    """State of `scale_by_gauss_newton_cg`.

    Attributes:
      solution: the last solution, like params.
      damping: lambda for the next update, scalar.
      ratio: rho of the last update, scalar; NaN before there is one and where the model promised nothing.
      nhev: Gauss-Newton products so far, int32.
      status: a `jopt.status.KrylovStatus` of the last solve, int32.
      preconditioner: state of the preconditioner, None without one.
    """

    solution: Params
    damping: Scalar
    ratio: Scalar
    nhev: jax.Array
    status: jax.Array
    preconditioner: Any


@transformation
def scale_by_gauss_newton_cg(
    *,
    damping: float = 1.0,
    decay: float = 0.95,
    progress: float = 5e-4,
    rtol: float = 0.0,
    maxiter: int = 250,
    preconditioner: Any = None,
) -> Transformation:
    """Multiply the gradient by the inverse of the damped Gauss-Newton matrix, as in Hessian-free training.

    Assumes that gradient, `gnvp`, `value` and `value_fn` belong to the same minibatch and that G is positive
    semidefinite. The whole step -u is judged by one call of `value_fn`, whether or not a later stage shortens it, and
    decides the damping of the next update. A step that raises the value goes out all the same: put a rate or
    `scale_by_line_search` behind.

    Cost: one product an iteration and one for the start, one evaluation of `value_fn`, which adds its copy of the
    objective to the program; one array of parameter size between updates.

    Args:
      damping: lambda of the first update, a finite number > 0.
      decay: factor of the last solution at the start of the next solve, in [0, 1]; 0 starts from zero.
      progress: relative fall of the model for each iteration below which the solve stops, >= 0; 0 stops where it does not
        fall at all.
      rtol: the solve also stops where its residual is at most this times |g|, in [0, 1).
      maxiter: products for one update at most, >= 1.
      preconditioner: as for `scale_by_newton_cg`; it sees the damped products.

    Returns:
      A transformation whose update needs `params` and the extras `gnvp`, `value` and `value_fn`.

    Raises:
      ValueError: for a setting outside its range, an unknown name, or an update without its extras.
      TypeError: for a setting of the wrong type.

    Reference:
      Martens (2010), Deep learning via Hessian-free optimization, ICML, Algorithm 2.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> direction = jopt.scale_by_gauss_newton_cg(damping=1.0)
      >>> x, h = jnp.ones(2), jnp.array([3.0, 0.0])
      >>> fun = lambda x: 0.5 * jnp.sum(h * x**2)
      >>> u, state = direction.update(
      ...     h * x, direction.init(x), x, gnvp=lambda v: h * v, value=fun(x), value_fn=fun
      ... )
      >>> bool(jnp.allclose(u, h * x / (h + 1.0))), bool(state.damping < 1.0)
      (True, True)
    """
    name = "scale_by_gauss_newton_cg"
    validate.number(name, "damping", damping, low=0.0, low_open=True, high_open=True)
    validate.number(name, "decay", decay, low=0.0, high=1.0)
    validate.number(name, "progress", progress, low=0.0)
    validate.number(name, "rtol", rtol, low=0.0, high=1.0, high_open=True)
    validate.integer(name, "maxiter", maxiter, low=1)
    tool = preconditioners.resolve(name, preconditioner)

    def init(params: Params) -> GaussNewtonCGState:
        dtype = tree.scalar_dtype(params)
        return GaussNewtonCGState(
            solution=tree.zeros_like(params),
            damping=jnp.asarray(damping).astype(dtype),
            ratio=jnp.full((), jnp.nan, dtype),
            nhev=jnp.zeros((), jnp.int32),
            status=jnp.zeros((), jnp.int32),
            preconditioner=None if tool is None else tool.init(params),
        )

    def update(
        updates: Updates,
        state: GaussNewtonCGState,
        params: Params = None,
        *,
        gnvp: Any = None,
        value: Any = None,
        value_fn: Any = None,
        **extra: Any,
    ) -> tuple[Updates, GaussNewtonCGState]:
        del extra
        for argument, given in (("params", params), ("gnvp", gnvp), ("value", value), ("value_fn", value_fn)):
            validate.given(name, argument, given, hint=HINT)
        settings: dict[str, Any] = {"rtol": rtol, "maxiter": maxiter, "progress": progress}
        if decay != 0:
            settings["x0"] = tree.scale(decay, state.solution)
        operator = damped(gnvp, state.damping)
        solution, memory, spent = solve(operator, updates, params, tool, state.preconditioner, settings)
        u = along_negative_curvature(solution, updates)
        start, end = (jnp.asarray(f).astype(state.damping.dtype) for f in (value, value_fn(tree.sub(params, u))))
        promised = predicted_decrease(updates, u, solution.residual, state.damping)
        ratio = reduction_ratio(start, end, promised)
        return u, GaussNewtonCGState(
            solution=solution.x,
            damping=next_damping(state.damping, ratio, promised, value_noise(None, start)),
            ratio=ratio,
            nhev=state.nhev + solution.nhev + spent,
            status=solution.status,
            preconditioner=memory,
        )

    return Transformation(init, update)


HINT = "Pass update(grads, state, params, gnvp=v -> G v, value=..., value_fn=...), all of one minibatch."


def damped(operator: Callable[[Params], Params], damping: Scalar) -> Callable[[Params], Params]:
    """Return v -> G v + lambda v."""
    return lambda v: tree.axpy(damping, v, operator(v))


def predicted_decrease(g: Updates, u: Updates, residual: Updates, damping: Scalar) -> Scalar:
    """Return f - q(-u) = <g, u> - 1/2 <u, G u>, with G u = g - residual - lambda u."""
    return 0.5 * (tree.vdot(g, u) + tree.vdot(residual, u) + damping * tree.vdot(u, u))


def reduction_ratio(start: Scalar, end: Scalar, promised: Scalar) -> Scalar:
    """Return rho, NaN where the model promised no decrease."""
    return jnp.where(promised > 0, (start - end) / jnp.where(promised > 0, promised, 1), jnp.nan)


def next_damping(damping: Scalar, ratio: Scalar, promised: Scalar, noise: Scalar) -> Scalar:
    """Return lambda after one step (Martens 2010, section 4.1).

    A ratio that is not a number counts as bad. Where the promised decrease is within the noise of the values, the ratio
    says nothing and lambda stays.
    """
    info = jnp.finfo(damping.dtype)
    factor = jnp.where(ratio > GOOD, 1 / FACTOR, jnp.where(ratio >= BAD, 1.0, FACTOR))
    changed = jnp.clip(damping * factor.astype(damping.dtype), float(info.tiny), float(info.max))
    return jnp.where(jnp.abs(promised) <= noise, damping, changed)

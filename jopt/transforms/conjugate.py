# SPDX-License-Identifier: Apache-2.0
r"""Nonlinear conjugate gradients: u = g + beta u', with u' the direction before, learnt from one difference.

With d = -u the direction along which the last step went, g' = g - y the gradient before it, and y the difference,

    fletcher-reeves    beta = <g, g> / <g', g'>                             Fletcher and Reeves (1964)
    polak-ribiere+     beta = max(0, <g, y> / <g', g'>)                     Gilbert and Nocedal (1992)
    hestenes-stiefel   beta = <g, y> / <d, y>                               Hestenes and Stiefel (1952)
    dai-yuan           beta = <g, g> / <d, y>                               Dai and Yuan (1999)
    hager-zhang        beta = max(<g, y - 2 d <y, y> / <d, y>> / <d, y>,
                                  eta <d, g'> / <d, d>)                     Hager and Zhang (2005; bound of 2013)

and the next direction is -g + beta d. On a convex quadratic with an exact line search all five are the same number and
the directions are those of linear conjugate gradients, which ends in n steps.

The bound of "hager-zhang" is that of the authors' paper of 2013: the one of 2005, -1 / (|d| min(eta, |g'|)), changes when
the objective is multiplied by a number.

A restart gives beta = 0, so that u = g. It happens where there is no direction before; where u would not descend
(<g, u> > 0 fails, or beta is not finite); where <d, y> > 0 fails and the formula divides by it; where successive
gradients are far from orthogonal, |<g, g'>| >= restart |g|^2 (Powell 1977); and each `restart_every` updates. So -u
always descends, whatever the search.

References: Hestenes and Stiefel (1952), J. Res. NBS 49(6), doi:10.6028/jres.049.044; Fletcher and Reeves (1964), Computer
Journal 7(2), doi:10.1093/comjnl/7.2.149; Powell (1977), Restart procedures for the conjugate gradient method, Math.
Program. 12, doi:10.1007/BF01593790; Gilbert and Nocedal (1992), SIAM J. Optim. 2(1), doi:10.1137/0802003; Dai and Yuan
(1999), SIAM J. Optim. 10(1), doi:10.1137/S1052623497318992; Hager and Zhang (2005), SIAM J. Optim. 16(1), eq. (1.3),
doi:10.1137/030601880; Hager and Zhang (2013), The limited memory conjugate gradient method, SIAM J. Optim. 23(4),
doi:10.1137/120898097.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.transforms.quasi_newton import PairDirection, from_pairs
from jopt.types import Params, Scalar, Transformation, Updates, described


class ConjugateState(NamedTuple):
    """State of a conjugate gradient direction.

    Attributes:
      direction: u, the last output, like params; meaningful where `updates` > 0.
      square: <g, g> at the last update, scalar.
      updates: directions since the last restart, that one included; 0 before the first, int32.
    """

    direction: Params
    square: Scalar
    updates: jax.Array


class Products(NamedTuple):
    """Inner products of g, y and d = -u', and <g', g'>; scalars."""

    g_g: Scalar
    g_y: Scalar
    g_d: Scalar
    d_y: Scalar
    d_d: Scalar
    y_y: Scalar
    before: Scalar


Beta = Callable[[Products, float], Scalar]
"""`(products, eta) -> beta`; NaN where the formula has no meaning."""


def fletcher_reeves(p: Products, eta: float) -> Scalar:
    """Return <g, g> / <g', g'>."""
    del eta
    return p.g_g / p.before


def polak_ribiere_plus(p: Products, eta: float) -> Scalar:
    """Return max(0, <g, y> / <g', g'>)."""
    del eta
    return jnp.maximum(p.g_y / p.before, 0)


def hestenes_stiefel(p: Products, eta: float) -> Scalar:
    """Return <g, y> / <d, y>."""
    del eta
    return p.g_y / _curvature(p)


def dai_yuan(p: Products, eta: float) -> Scalar:
    """Return <g, g> / <d, y>."""
    del eta
    return p.g_g / _curvature(p)


def hager_zhang(p: Products, eta: float) -> Scalar:
    """Return (<g, y> - 2 <g, d> <y, y> / <d, y>) / <d, y>, at least eta <d, g'> / <d, d>."""
    curvature = _curvature(p)
    beta = (p.g_y - 2 * p.g_d * (p.y_y / curvature)) / curvature
    return jnp.maximum(beta, eta * (p.g_d - p.d_y) / p.d_d)


BETAS: dict[str, Beta] = {
    "dai-yuan": dai_yuan,
    "fletcher-reeves": fletcher_reeves,
    "hager-zhang": hager_zhang,
    "hestenes-stiefel": hestenes_stiefel,
    "polak-ribiere+": polak_ribiere_plus,
}
"""The formulas by the names that users write."""


@described
def scale_by_nonlinear_cg(
    beta: str = "hestenes-stiefel",
    *,
    restart: float | None = 0.2,
    restart_every: int | None = None,
    eta: float = 0.4,
) -> Transformation:
    """Make successive directions conjugate: u = g + beta u'.

    Assumes that the updates which come in are the gradients of a smooth objective at `params`, and that the step between
    two of them went along -u. Memory: one array of parameter size, u. Cost: up to six inner products. -u has no length of
    its own: it needs a line search, and one with an accurate step (`curvature` 0.1).

    Args:
      beta: the formula: "hestenes-stiefel", "polak-ribiere+", "fletcher-reeves", "dai-yuan" or "hager-zhang".
      restart: u = g where |<g, g'>| >= restart |g|^2, > 0; 0.2 is Powell's, None never.
      restart_every: u = g at least once in so many updates, >= 1, such as the number of parameters; None never.
      eta: how far below zero "hager-zhang" lets beta go, >= 0; without effect on the others.

    Returns:
      A transformation whose update needs `params`.

    Raises:
      ValueError: for an unknown formula or a setting outside its range.
      TypeError: for a setting that is not a number.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 5.2, Algorithm 5.4, doi:10.1007/978-0-387-40065-5; the
      module names the source of each formula.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> curvature, x, direction = jnp.array([1.0, 10.0]), jnp.array([1.0, 1.0]), jopt.scale_by_nonlinear_cg()
      >>> state = direction.init(x)
      >>> for _ in range(2):  # two exact steps end a quadratic in two variables
      ...     g = curvature * x
      ...     u, state = direction.update(g, state, x)
      ...     x = x - jnp.vdot(g, u) / jnp.vdot(u, curvature * u) * u
      >>> print(bool(jnp.allclose(x, 0.0, atol=1e-5)))
      True
    """
    validate.choice("scale_by_nonlinear_cg", "beta", beta, BETAS)
    if restart is not None:
        validate.number("scale_by_nonlinear_cg", "restart", restart, low=0.0, low_open=True)
    if restart_every is not None:
        validate.integer("scale_by_nonlinear_cg", "restart_every", restart_every, low=1)
    validate.number("scale_by_nonlinear_cg", "eta", eta, low=0.0, high_open=True)
    formula = BETAS[beta]

    def init(params: Params) -> ConjugateState:
        square = jnp.zeros((), tree.scalar_dtype(params))
        return ConjugateState(tree.zeros_like(params), square, jnp.zeros((), jnp.int32))

    def update(grads: Updates, state: ConjugateState, s: Params, y: Params, moved: jax.Array) -> tuple[Updates, Any]:
        del s
        p = _products(grads, state, y)
        weight = formula(p, eta)
        g_u = p.g_g - weight * p.g_d
        linked = (state.updates > 0) & jnp.isfinite(weight) & (g_u > 0)
        if restart is not None:
            linked &= jnp.abs(p.g_g - p.g_y) < restart * p.g_g
        if restart_every is not None:
            linked &= state.updates < restart_every
        # Without a step the last output stands; before there is one, it is the gradient.
        new = moved | (state.updates == 0)
        ahead = jnp.where(new, 1, jnp.zeros_like(weight))
        behind = jnp.where(new, jnp.where(linked, weight, 0), 1)
        direction = _combine(ahead, grads, behind, state.direction)
        count = jnp.where(linked, state.updates + 1, 1)
        after = ConjugateState(
            direction, jnp.where(new, p.g_g, state.square), jnp.where(new, count, state.updates).astype(jnp.int32)
        )
        return direction, after

    def forget(state: ConjugateState, condition: jax.Array) -> ConjugateState:
        return state._replace(updates=jnp.where(condition, 0, state.updates))

    return from_pairs("scale_by_nonlinear_cg", PairDirection(init, update, forget))


def _products(grads: Updates, state: ConjugateState, y: Params) -> Products:
    """Return all inner products; a compiler drops those that the formula does not use."""
    u = state.direction
    return Products(
        g_g=tree.vdot(grads, grads),
        g_y=tree.vdot(grads, y),
        g_d=-tree.vdot(grads, u),
        d_y=-tree.vdot(y, u),
        d_d=tree.vdot(u, u),
        y_y=tree.vdot(y, y),
        before=state.square,
    )


def _curvature(p: Products) -> Scalar:
    """Return <d, y> where it is positive, as every step that passes the second Wolfe test makes it, else NaN."""
    return jnp.where(p.d_y > 0, p.d_y, jnp.nan)


def _combine(ahead: Scalar, grads: Updates, behind: Scalar, direction: Params) -> Params:
    """Return ahead g + behind u', without a trace of a vector whose weight is zero."""

    def leaf(g: jax.Array, u: jax.Array) -> jax.Array:
        dtype = tree.wide(g.dtype)
        a, b = ahead.astype(dtype), behind.astype(dtype)
        both = jnp.where(a == 0, 0, a * g.astype(dtype)) + jnp.where(b == 0, 0, b * u.astype(dtype))
        return both.astype(g.dtype)

    return jax.tree.map(leaf, grads, direction)

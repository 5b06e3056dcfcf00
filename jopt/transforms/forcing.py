# SPDX-License-Identifier: Apache-2.0
r"""Forcing terms: how exactly a truncated Newton method solves for its direction, |g + H p| <= eta |g|.

With g' and so on from the previous update, r' = g' + H' s' the residual of its linear model at the step s' really taken:

    superlinear           eta = min(1/2, sqrt(|g| / |g_0|))            Nocedal and Wright (2006), eq. (7.3), made relative
    eisenstat-walker-1    eta = abs(|g| - |r'|) / |g'|                 how well the linear model foretold |g|
    eisenstat-walker-2    eta = gamma (|g| / |g'|)^2, gamma = 0.9      how fast |g| falls

The last two start from 1/2 and are safeguarded: where the previous term to the power a, a = (1 + sqrt 5) / 2 (for the
second gamma eta'^2), is above 1/10, eta is at least that, and never above 0.9, so that one lucky step does not make the
next solve too exact.

Reference: Eisenstat and Walker (1996), Choosing the forcing terms in an inexact Newton method, SIAM J. Sci. Comput.
17(1), eq. (2.1), (2.6) and section 2.1, doi:10.1137/0917003.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.types import Params, Scalar, Updates

# Nocedal and Wright (2006), eq. (7.3).
SUPERLINEAR_MOST = 0.5

# Eisenstat and Walker (1996), sections 2 and 4: first and largest term; when and with what powers the safeguards act.
FIRST = 0.5
MOST = 0.9
SAFEGUARD_FROM = 0.1
GOLDEN = (1 + 5**0.5) / 2
GAMMA = 0.9
POWER = 2


class Forcing(NamedTuple):
    """A forcing term with a memory.

    Attributes:
      init: `params -> state`.
      begin: `(grads, params, state) -> eta`, at each update before the system is solved.
      end: `(grads, params, state, eta, output, residual) -> state`, afterwards: `output` is u = -p, `residual` g - H u.
    """

    init: Callable[..., Any]
    begin: Callable[..., Any]
    end: Callable[..., Any]


class NormsState(NamedTuple):
    """State of `superlinear` and `eisenstat_walker_2`.

    Attributes:
      norm: |g| at the first update, or at the previous one; 0 before there is one.
      eta: the previous term.
    """

    norm: Scalar
    eta: Scalar


class ModelState(NamedTuple):
    """State of `eisenstat_walker_1`.

    Attributes:
      norm: |g'|, 0 before there is one.
      eta: the previous term.
      params: x', like params.
      length: |u'|, of the output of the previous update.
      dot: <g', r> / |g'|^2 with r = g' - H' u'.
      square: |r|^2 / |g'|^2.
    """

    norm: Scalar
    eta: Scalar
    params: Params
    length: Scalar
    dot: Scalar
    square: Scalar


def constant(eta: Any) -> Forcing:
    """Return the same term always."""

    def begin(grads: Updates, params: Params, state: tuple[()]) -> Scalar:
        del params, state
        return jnp.asarray(eta).astype(tree.scalar_dtype(grads))

    def end(grads: Updates, params: Params, state: tuple[()], *solution: Any) -> tuple[()]:
        del grads, params, solution
        return state

    return Forcing(lambda _: (), begin, end)


def superlinear_term(norm: Scalar, first_norm: Scalar) -> Scalar:
    """Return min(1/2, sqrt(|g| / |g_0|)); 1/2 from a start without a gradient."""
    return jnp.minimum(SUPERLINEAR_MOST, jnp.sqrt(jnp.where(first_norm > 0, norm / _nonzero(first_norm), 1)))


def superlinear() -> Forcing:
    """Return min(1/2, sqrt(|g| / |g_0|)): an exact solve in the limit, so convergence faster than linear."""

    def begin(grads: Updates, params: Params, state: NormsState) -> Scalar:
        del params
        norm = _norm(grads)
        return superlinear_term(norm, jnp.where(state.norm > 0, state.norm, norm))

    def end(grads: Updates, params: Params, state: NormsState, eta: Scalar, *solution: Any) -> NormsState:
        del params, solution
        return NormsState(jnp.where(state.norm > 0, state.norm, _norm(grads)), eta)

    return Forcing(_no_norms, begin, end)


def eisenstat_walker_1() -> Forcing:
    """Return Eisenstat and Walker's first choice with its safeguard."""

    def init(params: Params) -> ModelState:
        zero = jnp.zeros((), tree.scalar_dtype(params))
        return ModelState(zero, zero + FIRST, jax.tree.map(jnp.asarray, params), zero, zero, zero)

    def begin(grads: Updates, params: Params, state: ModelState) -> Scalar:
        # The step taken is s' = -a u', so g' + H' s' = (1 - a) g' + a r: its norm follows from two inner products.
        a = _norm(tree.sub(params, state.params)) / _nonzero(state.length)
        model = jnp.square(1 - a) + 2 * a * (1 - a) * state.dot + a * a * state.square
        eta = jnp.abs(_norm(grads) / _nonzero(state.norm) - jnp.sqrt(jnp.maximum(model, 0)))
        return jnp.where(state.norm > 0, safeguarded(eta, state.eta**GOLDEN), FIRST)

    def end(
        grads: Updates, params: Params, state: ModelState, eta: Scalar, output: Updates, residual: Updates
    ) -> ModelState:
        del state
        (m, _), norm = tree.scaled_norm(grads), _norm(grads)
        g, r = (tree.scale(1 / m, x) for x in (grads, residual))
        g_g = _nonzero(tree.vdot(g, g))
        return ModelState(norm, eta, params, _norm(output), tree.vdot(g, r) / g_g, tree.vdot(r, r) / g_g)

    return Forcing(init, begin, end)


def eisenstat_walker_2() -> Forcing:
    """Return Eisenstat and Walker's second choice with its safeguard."""

    def begin(grads: Updates, params: Params, state: NormsState) -> Scalar:
        del params
        eta = GAMMA * (_norm(grads) / _nonzero(state.norm)) ** POWER
        return jnp.where(state.norm > 0, safeguarded(eta, GAMMA * state.eta**POWER), FIRST)

    def end(grads: Updates, params: Params, state: NormsState, eta: Scalar, *solution: Any) -> NormsState:
        del params, state, solution
        return NormsState(_norm(grads), eta)

    return Forcing(_no_norms, begin, end)


def safeguarded(eta: Scalar, before: Scalar) -> Scalar:
    """Return the term, at least `before` where that is above 1/10, at most 0.9 (also where it is not a number)."""
    held = jnp.where(before > SAFEGUARD_FROM, jnp.maximum(eta, before), eta)
    return jnp.where(held < MOST, held, MOST)


NAMES = {
    "superlinear": superlinear,
    "eisenstat-walker-1": eisenstat_walker_1,
    "eisenstat-walker-2": eisenstat_walker_2,
}
"""Names for the `forcing` argument of Newton directions."""


def resolve(function: str, given: Any) -> Forcing:
    """Return the forcing term meant by a name, or by a number in [0, 1).

    Raises:
      ValueError: for an unknown name or a number outside the range.
      TypeError: for anything else.
    """
    if isinstance(given, str):
        return NAMES[validate.choice(function, "forcing", given, NAMES)]()
    validate.number(
        function, "forcing", given, low=0.0, high=1.0, high_open=True, hint=f"Or one of {', '.join(NAMES)}."
    )
    return constant(given)


def _no_norms(params: Params) -> NormsState:
    zero = jnp.zeros((), tree.scalar_dtype(params))
    return NormsState(zero, zero + FIRST)


def _norm(a: Params) -> Scalar:
    m, r = tree.scaled_norm(a)
    return m * r


def _nonzero(x: Scalar) -> Scalar:
    return jnp.where(x == 0, 1, x)

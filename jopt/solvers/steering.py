# SPDX-License-Identifier: Apache-2.0
"""How a descent solver asks a direction: by pairs, with Hessian-vector products, or plainly.

A direction by pairs is told s and y in every trip, also when nothing moved; any other is asked where the point moved, and
gets `value`, `grad`, `value_fn` and, if it calls it, `hvp`. Within bounds both get `box`, the box of the steps that keep
within them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jopt import tree
from jopt.linalg.box import steps_within
from jopt.solvers.objective import Objective, Point
from jopt.transforms.quasi_newton import PairDirection
from jopt.types import Params


class Turning(NamedTuple):
    """What the solver decided after a trial, as far as a direction needs it.

    Attributes:
      moved: whether the point moved to the trial, bool.
      restart: whether the direction has to forget what it learnt, bool.
      last: whether the solve ends at the trial, so that no direction is needed there, bool.
      started: whether there was a point before, bool.
      params: the point before.
      grad: the gradient there.
      hvp: the product with the Hessian at the trial; None for directions that ask for none.
    """

    moved: jax.Array
    restart: jax.Array
    last: jax.Array
    started: jax.Array
    params: Params
    grad: Params
    hvp: Callable[[Params], Params] | None


class Answer(NamedTuple):
    """What a direction answers.

    Attributes:
      scaled: its output for the gradient, a tree like params.
      inner: its next state.
      nhev: Hessian-vector products it made, int32.
    """

    scaled: Params
    inner: Any
    nhev: jax.Array


class Steering(NamedTuple):
    """A direction as the solver uses it.

    Attributes:
      init: `params -> inner`.
      look: `(objective, params, inner) -> (point, hvp)`; hvp is None for directions that ask for no products.
      ask: `(objective, inner, base, turning) -> answer`, with `base` the point where the solver now stands.
    """

    init: Callable[[Params], Any]
    look: Callable[[Objective, Params, Any], tuple[Point, Any]]
    ask: Callable[[Objective, Any, Point, Turning], Answer]


def steer(direction: optax.GradientTransformation) -> Steering:
    """Return the way to ask a direction."""
    pairs: PairDirection | None = getattr(direction, "pairs", None)
    return _steer_any(direction) if pairs is None else _steer_by_pairs(pairs)


def _steer_by_pairs(direction: PairDirection) -> Steering:
    def look(objective: Objective, params: Params, inner: Any) -> tuple[Point, None]:
        del inner
        return objective.evaluate(params), None

    def ask(objective: Objective, inner: Any, base: Point, turning: Turning) -> Answer:
        # A step without movement adds no pair and so leaves the state and B g as they were: no branch, and no copy of
        # the history, which a branch or a select would make.
        inner = direction.forget(inner, turning.restart)
        s, y = tree.sub(base.params, turning.params), tree.sub(base.grad, turning.grad)
        moved, within = turning.moved & turning.started, _within(objective, base.params)
        if within:
            within["needed"] = (turning.moved | turning.restart) & ~turning.last
        scaled, inner = direction.update(base.grad, inner, s, y, moved, **within)
        return Answer(scaled, inner, jnp.zeros((), jnp.int32))

    return Steering(direction.init, look, ask)


def _steer_any(direction: optax.GradientTransformation) -> Steering:
    extended = optax.with_extra_args_support(direction)

    def init(params: Params) -> Any:
        return tree.strong(extended.init(params))

    def look(objective: Objective, params: Params, inner: Any) -> tuple[Point, Any]:
        if _asks_for_products(extended, params, inner, _within(objective, params)):
            return objective.linearize(params)
        return objective.evaluate(params), None

    def ask(objective: Objective, inner: Any, base: Point, turning: Turning) -> Answer:
        def renew(inner: Any) -> tuple[Params, Any]:
            extra = {"value": base.value, "grad": base.grad, "value_fn": objective.value}
            extra |= _within(objective, base.params)
            # The point has just moved to the one evaluated, which is where `hvp` belongs.
            products = {} if turning.hvp is None else {"hvp": turning.hvp}
            scaled, new = extended.update(base.grad, inner, base.params, **extra, **products)
            return tree.cast(scaled, base.grad), tree.cast(new, inner)

        inner = tree.where(turning.restart, init(base.params), inner)
        scaled, new = jax.lax.cond(turning.moved & ~turning.last, renew, lambda inner: (base.grad, inner), inner)
        return Answer(scaled, new, _products(new) - _products(inner))

    return Steering(init, look, ask)


def _within(objective: Objective, params: Params) -> dict[str, Any]:
    """Return the extra `box`, the steps that keep within the objective's bounds; nothing without bounds."""
    return {} if objective.bounds is None else {"box": steps_within(objective.bounds, params)}


def _asks_for_products(
    direction: optax.GradientTransformationExtraArgs, params: Params, inner: Any, within: dict[str, Any]
) -> bool:
    """Return whether the direction calls `hvp`, whatever it is wrapped in: it is traced with one that notes the call."""
    calls = []

    def hvp(v: Params) -> Params:
        calls.append(v)
        return v

    def update(params: Params, inner: Any) -> Any:
        value = jnp.zeros((), tree.scalar_dtype(params))
        extra = {"value": value, "grad": params, "value_fn": lambda _: value, "hvp": hvp, **within}
        return direction.update(params, inner, params, **extra)

    jax.eval_shape(update, params, inner)
    return bool(calls)


def _products(inner: Any) -> jax.Array:
    """Return the Hessian-vector products that a direction says it has made: the fields `nhev` of its state."""
    counts = optax.tree_utils.tree_get_all_with_path(inner, "nhev")
    return jnp.asarray(sum(count for _, count in counts), jnp.int32)

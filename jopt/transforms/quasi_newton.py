# SPDX-License-Identifier: Apache-2.0
"""Quasi-Newton directions: B g, with B an approximate inverse Hessian learnt from differences.

Such a direction lives on pairs s = x' - x, y = g' - g between the points where it is called. `from_pairs` makes a plain
transformation of it, which remembers the point where it was last called. A solver that knows both points anyway uses
the pair form, kept in the `pairs` attribute, and saves the two arrays.

    scale_by_lbfgs    u = B g with the limited-memory BFGS matrix (jopt.linalg.limited_memory has the formulas)

References: Liu and Nocedal (1989), On the limited memory BFGS method for large scale optimization, Math. Program. 45,
doi:10.1007/BF01589116.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg import boxed_model, compact, limited_memory
from jopt.linalg.box import Box, project
from jopt.types import Params, Scalar, Transformation, Updates, described


class PairDirection(NamedTuple):
    """A direction that is told the differences.

    Attributes:
      init: `params -> state`.
      update: `(grads, state, s, y, moved) -> (direction, state)`. Where `moved` is false there is no new pair, s and y
        are zero, and the state must come back as it was. One that honours bounds takes `box`, the box of steps, and
        `needed`, whether its output is looked at, as well.
      forget: `(state, condition) -> state`, without what was learnt if the condition holds.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    forget: Callable[..., Any]


class PairState(NamedTuple):
    """State of a pair direction used as a plain transformation.

    Attributes:
      params: the point of the last update, like params.
      grads: the gradient there, like params.
      started: whether there was one, bool.
      inner: state of the pair direction.
    """

    params: Params
    grads: Updates
    started: jax.Array
    inner: Any


def from_pairs(name: str, direction: PairDirection, *, bounded: bool = False) -> Transformation:
    """Make a plain transformation of a direction that is told the differences.

    Args:
      name: the factory's name, for error messages.
      direction: the pair form.
      bounded: whether its update takes `box` and `needed`.
    """

    def init(params: Params) -> PairState:
        params = tree.as_parameters(name, "params", params)
        zeros = tree.zeros_like(params)
        return PairState(zeros, zeros, jnp.bool_(False), direction.init(params))

    def update(updates: Updates, state: PairState, params: Params = None, **extra: Any) -> tuple[Updates, PairState]:
        within = {name: extra[name] for name in ("box",) if bounded and extra.get(name) is not None}
        if params is None:
            msg = f"{name}: update needs params, the point where the gradient was taken; pass update(grads, state, params)."
            raise ValueError(msg)
        tree.check_like(name, "updates", updates, "params", params)
        tree.check_like(name, "params", params, "those given to init", state.params)
        params = tree.cast(tree.as_parameters(name, "params", params), state.params)
        grads = tree.cast(tree.as_parameters(name, "updates", updates), params)
        s = tree.where(state.started, tree.sub(params, state.params), state.params)
        y = tree.where(state.started, tree.sub(grads, state.grads), state.grads)
        scaled, inner = direction.update(grads, state.inner, s, y, state.started, **within)
        return tree.cast(scaled, updates), PairState(params, grads, jnp.bool_(True), inner)

    made = Transformation(init, update)
    made.pairs, made.bounded = direction, bounded
    return made


@described
def scale_by_lbfgs(
    memory: int = 10,
    *,
    product: limited_memory.Product | None = None,
    history_dtype: Any = None,
) -> Transformation:
    """Precondition the gradient by the limited-memory BFGS matrix: u = B g.

    Assumes that the updates which come in are the gradients of a smooth objective at `params`. B is positive definite
    whatever happens: a pair is kept only where <s, y> > eps |s| |y|, and one that is not leaves B as it was. With no
    pair yet B is the identity.

    Memory: 2 m + 2 arrays of parameter size, m = `memory`. Cost: one pass over the history for the inner products and
    one for the combination (`gram`), or 2 m dependent inner products (`two_loop`).

    Args:
      memory: pairs kept, m >= 1; 5 to 20 is usual.
      product: `jopt.linalg.limited_memory.two_loop`, `.gram`, or a function of a `History` like it; None chooses by the
        number of parameters and the explicit axes over which they are spread.
      history_dtype: floating dtype in which the pairs are stored, bfloat16 to halve the memory; None keeps each leaf's.

    Returns:
      A transformation whose update needs `params`. It is `bounded`: with the extra `box`, a `jopt.linalg.Box` of steps
      that holds 0, it returns u with -u in the box, near the minimiser there of the model with the inverse of B
      (`jopt.linalg.boxed_model`).

    Raises:
      ValueError: if `memory` < 1.
      TypeError: if `memory` is not a whole number, `product` not a function, or `history_dtype` not a floating dtype.

    Reference:
      Liu and Nocedal (1989), On the limited memory BFGS method for large scale optimization, Algorithm 2.1,
      doi:10.1007/BF01589116.

    Example:
      >>> import jax, jax.numpy as jnp, jopt
      >>> direction = jopt.scale_by_lbfgs(memory=5)
      >>> state = direction.init(jnp.ones(3))
      >>> u, state = direction.update(jnp.array([2.0, 0.0, 0.0]), state, jnp.ones(3))
      >>> print(u)
      [2. 0. 0.]
    """
    validate.integer("scale_by_lbfgs", "memory", memory, low=1)
    history_dtype = validate.floating_dtype("scale_by_lbfgs", "history_dtype", history_dtype)
    if product is not None and not callable(product):
        msg = f"scale_by_lbfgs: product must be None or a function such as limited_memory.gram, got {product!r}."
        raise TypeError(msg)

    def init(params: Params) -> limited_memory.Kept:
        return limited_memory.empty(params, memory, history_dtype, product=product)

    def update(
        grads: Updates,
        state: limited_memory.Kept,
        s: Params,
        y: Params,
        moved: jax.Array,
        *,
        box: Box | None = None,
        needed: Any = True,
    ) -> Any:
        del moved  # a pair of zeros is not kept
        multiply = product or limited_memory.product_of(state)
        state, scaled = multiply(state, s, y, grads)
        return (scaled, state) if box is None else _within(box, grads, scaled, state, needed)

    return from_pairs("scale_by_lbfgs", PairDirection(init, update, limited_memory.forget), bounded=True)


def _within(
    box: Box, grads: Updates, scaled: Updates, state: limited_memory.Kept, needed: Any
) -> tuple[Updates, limited_memory.Kept]:
    """Return B g where -B g lies within the box, otherwise the negative of the step that `boxed_model` finds.

    Where it finds none, by rounding or since no entry can move, the pairs are forgotten.
    """
    fits = jax.tree.map(lambda u, low, high: jnp.all((-u >= low) & (-u <= high)), scaled, box.lower, box.upper)
    inside = jnp.all(jnp.stack([jnp.bool_(True), *jax.tree.leaves(fits)]))

    def minimise(state: limited_memory.Kept) -> tuple[Updates, Scalar]:
        g, steps = jax.tree.map(lambda x: x.astype(tree.wide(x.dtype)), (grads, box))
        p, value = boxed_model.minimise(compact.compact(state), g, steps)
        return tree.negative(project(box, tree.cast(p, grads))), value

    def keep(state: limited_memory.Kept) -> tuple[Updates, Scalar]:
        return scaled, -jnp.ones_like(state.gamma)

    u, value = jax.lax.cond(needed & ~inside, minimise, keep, state)
    return u, limited_memory.forget(state, ~(value < 0))

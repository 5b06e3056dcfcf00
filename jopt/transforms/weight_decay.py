# SPDX-License-Identifier: Apache-2.0
"""Decoupled weight decay: pull the parameters towards zero, apart from the gradient's scaling.

    u = g + w params        for the leaves that the mask selects, u = g for the others; w = weight_decay(t)

Placed after the stage that scales gradients and before the learning rate, `chain(scale_by_adam(),
add_decayed_weights(w), scale_by_learning_rate(rate))`, it decays the parameters by rate * w each step however large
the gradients were (AdamW). Placed before the scaling stage it is the gradient of the penalty w/2 |params|^2.

Reference: Loshchilov and Hutter (2019), Decoupled weight decay regularization, Algorithm 2, arXiv:1711.05101.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jopt import tree, validate
from jopt.transforms.checked import transformation
from jopt.transforms.precision import at_step, is_zero
from jopt.types import Count, Params, ScalarOrSchedule, Transformation, Updates

Mask = Any
"""A tree of booleans like the parameters, or a prefix of it; or a function from the parameters to one."""


class AddDecayedWeightsState(NamedTuple):
    """State of `add_decayed_weights`.

    Attributes:
      count: updates so far, int32.
    """

    count: Count


def decay_leaves(w: Any, mask: Mask, params: Params, g: Updates) -> Updates:
    """Return g + w params where the mask holds, and g elsewhere."""

    def subtree(chosen: Any, p: Params, g_: Updates) -> Updates:
        return tree.axpy(w, p, g_) if chosen else g_

    return jax.tree.map(subtree, mask, params, g)


@transformation
def add_decayed_weights(
    weight_decay: ScalarOrSchedule = 0.0, mask: Mask | Callable[[Params], Mask] | None = None
) -> Transformation:
    """Add the parameters times a number to the updates.

    Its `update` needs `params`.

    Args:
      weight_decay: w, a number >= 0, or a function from the number of updates so far (from 0) to one.
      mask: which leaves decay: a tree of booleans like the parameters, or a prefix of it (True stands for a whole
        subtree), or a function from the parameters to such a tree; None for all. It is read when `update` is traced.

    Returns:
      A transformation whose `update` needs `params`.

    Raises:
      ValueError: if `weight_decay` is negative; by `update`, if `params` is missing, or the updates or the mask do not
        fit them.
      TypeError: if `weight_decay` is not a number, or a leaf of the mask is not a boolean.

    Reference: Loshchilov and Hutter (2019), Algorithm 2.
    """
    if not callable(weight_decay):
        validate.number("add_decayed_weights", "weight_decay", weight_decay, low=0.0, high_open=True)
    if not callable(mask):
        _check_booleans(mask)

    def init(params: Params) -> AddDecayedWeightsState:
        del params
        return AddDecayedWeightsState(jnp.zeros((), jnp.int32))

    def update(updates: Updates, state: AddDecayedWeightsState, params: Params = None, **extra: Any) -> Any:
        del extra
        validate.given("add_decayed_weights", "params", params, hint="Call update(updates, state, params).")
        chosen, after = _mask_of(mask, params), AddDecayedWeightsState(optax.safe_increment(state.count))
        if is_zero(weight_decay):
            return updates, after
        w = at_step("add_decayed_weights", "weight_decay", weight_decay, state.count)
        return decay_leaves(w, chosen, params, updates), after

    return Transformation(init, update)


def _mask_of(mask: Any, params: Params) -> Mask:
    """Return the tree of booleans for these parameters, checked against them."""
    if mask is None:
        return True
    chosen = mask(params) if callable(mask) else mask
    if callable(mask):
        _check_booleans(chosen)
    try:
        jax.tree.map(lambda *_: None, chosen, params)
    except ValueError as error:
        msg = f"add_decayed_weights: mask must be a tree like params, or a prefix of it: {error}"
        raise ValueError(msg) from None
    return chosen


def _check_booleans(mask: Mask) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(mask):
        if not isinstance(leaf, (bool, np.bool_)):
            where = f"mask{jax.tree_util.keystr(path)}"
            msg = f"add_decayed_weights: {where} must be True or False, got {leaf!r} ({type(leaf).__name__})."
            raise TypeError(msg)

# SPDX-License-Identifier: Apache-2.0
"""A line search as a transformation, for training loops written by hand.

    u = -a p,   a accepted by the search on   phi(a) = f(x - a p),   p the updates that come in (a preconditioned gradient)

It stands where `scale_by_learning_rate` would: last in a chain, after a direction such as `scale_by_lbfgs()`. One update
is one whole search. A solver (`jopt.descent`) interleaves search and loop instead and so has one copy of the objective;
here `value_fn` adds its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jopt import tree
from jopt.linesearch.first_trial import FirstTrialInfo, Strategy, unit
from jopt.linesearch.machine import check_parts
from jopt.linesearch.strong_wolfe import strong_wolfe
from jopt.status import SearchStatus
from jopt.types import LineSearch, Params, Scalar, Transformation, Updates, described


class ScaleByLineSearchState(NamedTuple):
    """State of `scale_by_line_search`.

    Attributes:
      step: the step last taken, 0 where the search failed without lowering the value; scalar.
      status: a `SearchStatus` of the last search, int32.
      trials: evaluations in the last search, int32.
      value: the value at the point the last update leads to, infinity before the first; scalar.
      grad: the gradient there, like params; with `value` it spares the caller the next evaluation.
      start_value: phi(0) of the last search; scalar.
      start_slope: phi'(0) of the last search; scalar.
      started: whether there was a search yet, bool.
    """

    step: Scalar
    status: jax.Array
    trials: jax.Array
    value: Scalar
    grad: Updates
    start_value: Scalar
    start_slope: Scalar
    started: jax.Array


@described
def scale_by_line_search(search: LineSearch | None = None, *, first_trial: Strategy = unit) -> Transformation:
    """Multiply the updates by minus the step that a line search finds.

    The updates that come in are a preconditioned gradient; those that go out are added to the parameters. Where the
    search fails without lowering the value the updates are zero and `status` says why; a direction that does not
    descend, or whose slope is not finite, is such a failure (NOT_DESCENT), never a change of sign.

    The state keeps value and gradient at the new point under the names that `optax.value_and_grad_from_state` looks
    for, so that a loop evaluates nothing twice.

    Args:
      search: a line search of `jopt.linesearch`; None means `strong_wolfe()`.
      first_trial: a strategy of `jopt.linesearch` that says where each search begins.

    Returns:
      A transformation whose update needs `params` and the extras `value`, `grad` and `value_fn` (a function of the
      parameters alone).

    Raises:
      TypeError: if `search` is not a line search or `first_trial` not a function.

    Example:
      >>> import jax, jax.numpy as jnp, jopt
      >>> optimizer = jopt.chain(jopt.scale_by_lbfgs(), jopt.scale_by_line_search())
      >>> fun, x = lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(2)
      >>> value, grad = jax.value_and_grad(fun)(x)
      >>> u, state = optimizer.update(grad, optimizer.init(x), x, value=value, grad=grad, value_fn=fun)
      >>> bool(fun(jopt.apply_updates(x, u)) < value)
      True
    """
    machine = strong_wolfe() if search is None else search
    check_parts("scale_by_line_search", machine, first_trial)

    def init(params: Params) -> ScaleByLineSearchState:
        params = tree.as_parameters("scale_by_line_search", "params", params)
        zero = jnp.zeros((), tree.scalar_dtype(params))
        return ScaleByLineSearchState(
            step=zero,
            status=jnp.zeros((), jnp.int32),
            trials=jnp.zeros((), jnp.int32),
            value=jnp.full_like(zero, jnp.inf),
            grad=tree.zeros_like(params),
            start_value=zero,
            start_slope=zero,
            started=jnp.bool_(False),
        )

    def update(
        updates: Updates,
        state: ScaleByLineSearchState,
        params: Params = None,
        *,
        value: Any = None,
        grad: Any = None,
        value_fn: Callable[[Params], Any] | None = None,
        **extra: Any,
    ) -> tuple[Updates, ScaleByLineSearchState]:
        del extra
        if params is None or value is None or grad is None or value_fn is None:
            missing = {"params": params, "value": value, "grad": grad, "value_fn": value_fn}
            names = ", ".join(name for name, given in missing.items() if given is None)
            msg = f"scale_by_line_search: update needs {names}; pass update(grads, state, params, value=..., grad=..., value_fn=...)."
            raise ValueError(msg)
        for name, given in (("updates", updates), ("grad", grad)):
            tree.check_like("scale_by_line_search", name, given, "params", params)
            tree.as_parameters("scale_by_line_search", name, given)  # a cast would drop imaginary parts
        params = tree.as_parameters("scale_by_line_search", "params", params)
        p, grad = tree.cast(updates, params), tree.cast(grad, params)
        value = jnp.asarray(value).astype(tree.scalar_dtype(params))
        slope = -tree.vdot(grad, p)
        slope = jnp.where(jnp.isfinite(slope), slope, jnp.nan)  # no test can be made of an infinite slope: NOT_DESCENT
        info = FirstTrialInfo(
            first=~state.started,
            grad_norm=jnp.multiply(*tree.scaled_norm(grad)),
            value=value,
            slope=slope,
            previous_step=state.step,
            previous_value=state.start_value,
            previous_slope=state.start_slope,
        )
        begun = machine.init(value, slope, jnp.asarray(first_trial(info)).astype(value.dtype))
        ended, last_value, last_grad = _search(machine, begun, value_fn, params, p, grad)
        moved = ended.step > 0
        taken = tree.where(moved, tree.scale(-ended.step, p), tree.zeros_like(p))
        return tree.cast(taken, updates), ScaleByLineSearchState(
            step=ended.step,
            status=ended.status,
            trials=ended.trials,
            value=jnp.where(moved, last_value, value),
            grad=tree.where(moved, last_grad, grad),
            start_value=value,
            start_slope=slope,
            started=jnp.bool_(True),
        )

    return Transformation(init, update)


def _search(
    machine: LineSearch, begun: Any, value_fn: Callable[[Params], Any], params: Params, p: Updates, grad: Updates
) -> tuple[Any, Scalar, Updates]:
    """Run the machine on f(x - a p) to its end; return it with value and gradient of the last trial."""

    def trial(carry: tuple[Any, Scalar, Updates]) -> tuple[Any, Scalar, Updates]:
        state, _, _ = carry
        # The point as the caller computes it: value and gradient are handed on as belonging to it.
        point = optax.apply_updates(params, tree.scale(-state.step, p))
        value, new = jax.value_and_grad(value_fn)(point)
        value = jnp.asarray(value).astype(state.step.dtype)
        return machine.update(state, value, -tree.vdot(new, p)), value, tree.cast(new, grad)

    start = (begun, jnp.zeros_like(begun.step), grad)
    return jax.lax.while_loop(lambda carry: carry[0].status == SearchStatus.SEARCHING, trial, start)

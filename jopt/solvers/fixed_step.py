# SPDX-License-Identifier: Apache-2.0
"""A finished optimizer as a solver: its updates are added to the parameters as they stand.

    x' = x + u,   u, state' = transformation.update(g(x), state, x)

One step evaluates the point, then moves. No search, so nothing is ever rejected.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from jopt import tree
from jopt.solvers.info import Info
from jopt.solvers.objective import as_objective
from jopt.status import Status
from jopt.types import Params, Scalar, Solver, described


class FixedStepState(NamedTuple):
    """State of a fixed-step solver.

    Attributes:
      params: the point to be evaluated next.
      inner: state of the transformation.
      value: f at the previous point, infinity before there is one.
      step_norm: |x' - x|_inf of the step that led to `params`, as rounded; infinity before there is one.
    """

    params: Params
    inner: Any
    value: Scalar
    step_norm: Scalar


@described
def fixed_step(transformation: optax.GradientTransformation) -> Solver:
    """Make a solver of a transformation whose updates are added as they stand, like `adam(1e-2)`.

    Args:
      transformation: any transformation or chain, of jopt or optax. It gets `value`, `grad` and `value_fn` if it takes
        extra arguments; one that calls `value_fn` adds its own copy of the objective to the program.

    Returns:
      A solver whose state is a `FixedStepState`. One step costs one value and gradient.

    Raises:
      TypeError: if `transformation` is not one.
    """
    if not isinstance(transformation, optax.GradientTransformation):
        msg = f"fixed_step: transformation must be an init/update pair, got {transformation!r}; call its factory."
        raise TypeError(msg)
    extended = optax.with_extra_args_support(transformation)

    def init(objective: Any, params: Params) -> FixedStepState:
        del objective
        params = tree.as_parameters("fixed_step", "params", params)
        infinity = jnp.full((), jnp.inf, tree.scalar_dtype(params))
        return FixedStepState(params, tree.strong(extended.init(params)), infinity, infinity)

    def step(objective: Any, state: FixedStepState, tolerance: Any = None) -> tuple[FixedStepState, Info]:
        del tolerance  # the next point is cheap
        objective = as_objective(objective)
        point = objective.evaluate(state.params)
        updates, inner = extended.update(
            point.grad, state.inner, state.params, value=point.value, grad=point.grad, value_fn=objective.value
        )
        grad_norm = tree.max_abs(point.grad)
        finite = jnp.isfinite(point.value) & jnp.isfinite(grad_norm)
        trouble = jnp.where(point.value == -jnp.inf, Status.UNBOUNDED, Status.NONFINITE)
        info = Info(
            point=point,
            accepted=finite,
            grad_norm=grad_norm,
            step_norm=state.step_norm,
            decrease=state.value - point.value,
            status=jnp.where(finite, Status.RUNNING, trouble).astype(jnp.int32),
            nhev=jnp.zeros((), jnp.int32),
        )
        params = optax.apply_updates(state.params, updates)
        return FixedStepState(
            params=params,
            inner=tree.cast(inner, state.inner),
            value=point.value,
            step_norm=tree.max_abs(tree.sub(params, state.params)).astype(point.value.dtype),
        ), info

    return Solver(init, step)

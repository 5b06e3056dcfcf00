# SPDX-License-Identifier: Apache-2.0
"""Compose transformations: each stage's output is the next one's input.

    u_0 = gradients,   u_(i+1), state_i' = stage_i.update(u_i, state_i, params),   updates = u_last

Composition is associative and `identity` is its neutral element.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optax

from jopt import tree
from jopt.types import GradientTransformation, Transformation, Updates, described


@described
def chain(*stages: optax.GradientTransformation, **named_stages: optax.GradientTransformation) -> Transformation:
    """Compose stages from left to right, given either by position or by name.

    Any optax transformation is a stage. Extra arguments (`value`, `value_fn`, ...) reach the stages that take them. A
    positional chain within a positional chain is flattened, so its state is one flat tuple; a named chain keeps its
    state in a dict under the stages' names, in the order given.

    Args:
      *stages: transformations, applied from left to right.
      **named_stages: transformations under names, instead of `stages`.

    Returns:
      A transformation whose state is a tuple of the stages' states, or a dict of them for named stages.

    Raises:
      TypeError: if a stage is not a transformation, or both forms are mixed.

    Example:
      >>> import jopt
      >>> jopt.chain(jopt.clip_by_global_norm(1.0), jopt.scale(-0.1))
      chain(clip_by_global_norm(max_norm=1.0), scale(step_size=-0.1))
    """
    if stages and named_stages:
        msg = "chain: give the stages either by position or by name, not both; got both."
        raise TypeError(msg)
    for label, stage in [*enumerate(stages), *named_stages.items()]:
        _check_stage(label, stage)
    return _named(named_stages) if named_stages else _positional(stages)


def _positional(stages: tuple[optax.GradientTransformation, ...]) -> Transformation:
    flat: list[GradientTransformation] = []
    for stage in stages:
        flat += _stages_of(stage)

    def init(params: Any) -> tuple[Any, ...]:
        return tuple(stage.init(params) for stage in flat)

    def update(updates: Updates, state: tuple[Any, ...], params: Any = None, **extra: Any) -> tuple[Updates, Any]:
        _check_length(state, len(flat))
        _check_updates(updates, params)
        after = []
        for stage, before in zip(flat, state, strict=True):
            updates, new = stage.update(updates, before, params, **extra)
            after.append(new)
        return updates, tuple(after)

    made = Transformation(init, update)
    made.stages = tuple(flat)
    return made


def _named(stages: dict[str, optax.GradientTransformation]) -> Transformation:
    extended = {name: optax.with_extra_args_support(stage) for name, stage in stages.items()}

    def init(params: Any) -> dict[str, Any]:
        return {name: stage.init(params) for name, stage in extended.items()}

    def update(updates: Updates, state: dict[str, Any], params: Any = None, **extra: Any) -> tuple[Updates, Any]:
        _check_names(state, list(extended))
        _check_updates(updates, params)
        after = {}
        for name, stage in extended.items():
            updates, after[name] = stage.update(updates, state[name], params, **extra)
        return updates, after

    return Transformation(init, update)


def _stages_of(stage: optax.GradientTransformation) -> tuple[GradientTransformation, ...]:
    """Return the stages of a positional chain of jopt's, and any other transformation as the only one."""
    if isinstance(stage, Transformation) and (stage.stages or (stage.name == "chain" and not stage.settings)):
        return stage.stages
    return (optax.with_extra_args_support(stage),)


def _check_stage(label: int | str, stage: Any) -> None:
    if not isinstance(stage, optax.GradientTransformation):
        hint = "; was the factory not called?" if callable(stage) else ""
        hint = "; unpack it: chain(*stages)" if isinstance(stage, (list, tuple)) else hint
        hint = "; unpack it: chain(**stages)" if isinstance(stage, Mapping) else hint
        msg = f"chain: stage {label!r} must be a transformation (an init/update pair), got {stage!r}{hint}"
        raise TypeError(msg)


def _check_updates(updates: Updates, params: Any) -> None:
    if params is not None:
        tree.check_like("chain", "updates", updates, "params", params)


def _check_length(state: Any, length: int) -> None:
    if not isinstance(state, (tuple, list)) or len(state) != length:
        got = f"{type(state).__name__} of {len(state)}" if hasattr(state, "__len__") else repr(state)
        msg = (
            f"chain: state must be a tuple of {length}, one for each stage, got {got}; make it with init of this chain."
        )
        raise ValueError(msg)


def _check_names(state: Any, names: list[str]) -> None:
    if not isinstance(state, Mapping) or set(state) != set(names):
        got = sorted(state) if isinstance(state, Mapping) else type(state).__name__
        msg = f"chain: state must be a dict of {names}, one for each stage, got {got}; make it with init of this chain."
        raise ValueError(msg)

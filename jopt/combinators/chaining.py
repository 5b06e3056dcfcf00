# SPDX-License-Identifier: Apache-2.0
"""Compose transformations: each stage's output is the next one's input.

    u_0 = gradients,   u_(i+1), state_i' = stage_i.update(u_i, state_i, params),   updates = u_last

Composition is associative and `identity` is its neutral element.
"""

from __future__ import annotations

from typing import Any

import optax

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
        flat += getattr(stage, "stages", ()) or (optax.with_extra_args_support(stage),)

    def init(params: Any) -> tuple[Any, ...]:
        return tuple(stage.init(params) for stage in flat)

    def update(updates: Updates, state: tuple[Any, ...], params: Any = None, **extra: Any) -> tuple[Updates, Any]:
        _check_length(state, len(flat))
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
        _check_length(state, len(extended))
        after = {}
        for name, stage in extended.items():
            updates, after[name] = stage.update(updates, state[name], params, **extra)
        return updates, after

    return Transformation(init, update)


def _check_stage(label: int | str, stage: Any) -> None:
    if not isinstance(stage, optax.GradientTransformation):
        called = "; was the factory not called?" if callable(stage) else ""
        msg = f"chain: stage {label!r} must be a transformation (an init/update pair), got {stage!r}{called}"
        raise TypeError(msg)


def _check_length(state: Any, length: int) -> None:
    if len(state) != length:
        msg = f"chain: state must have {length} entries, one for each stage, got {len(state)}; make it with init of this chain."
        raise ValueError(msg)

# SPDX-License-Identifier: Apache-2.0
r"""Bounds of a solve: what the user may write, what is checked, and what within them takes the gradient's part.

    lower <= x <= upper,    optimal to first order where    |x - P(x - g)|_inf = 0

The user gives `(lower, upper)`, each a tree like x0, a prefix of one, a number or None. Values that can be looked at are
checked when the call is made; those of traced bounds are looked at by the program, where bounds without a point between
them end the solve with the status INFEASIBLE before anything is evaluated.

Reference: `jopt.linalg.box` has the formulas and their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jopt import tree
from jopt.linalg.box import Box, moved, project, projected_gradient
from jopt.solvers.objective import Point
from jopt.status import Status
from jopt.types import Params, Scalar, Solver

SIDES = ("lower", "upper")
HINT = (
    "Write bounds=(lower, upper), each a number, None, or a tree like x0, with arrays where x0 has them (a list is a tree); "
    "SciPy's list of pairs is its transpose."
)


def read(function: str, bounds: Any, params: Params) -> Box | None:
    """Return the bounds as a box of trees like the parameters, or raise naming the entry that is wrong.

    Args:
      function: whose argument it is, for messages.
      bounds: None or the pair (lower, upper).
      params: the start, a tree of floating arrays.

    Returns:
      The box, in the dtypes of the parameters, with arrays of shape () where one number stands for a whole leaf; None
      where there are no bounds.

    Raises:
      TypeError: if it is no pair, or a bound not a real number.
      ValueError: for a structure or shape that does not fit, a NaN, bounds that cross, or a bound that nothing satisfies.
    """
    if bounds is None:
        return None
    if not isinstance(bounds, (tuple, list)) or len(bounds) != len(SIDES):
        msg = f"{function}: bounds must be a pair (lower, upper), got {bounds!r}. {HINT}"
        raise TypeError(msg)
    nothing = (-np.inf, np.inf)
    box = Box(*(_side(function, *each, params) for each in zip(SIDES, bounds, nothing, strict=True)))
    for path, low, high in zip(tree.paths("", params), *map(jax.tree.leaves, box), strict=True):
        if not any(map(_hidden, (low, high))):
            _check_values(function, path, np.asarray(low), np.asarray(high))
    return box


def fill(box: Box, params: Params) -> Box:
    """Return the box with every bound in the shape of its leaf."""
    return Box(*(jax.tree.map(lambda b, x: jnp.broadcast_to(b, x.shape), side, params) for side in box))


def feasible(box: Box) -> jax.Array:
    """Return whether there is a finite point between the bounds: false where they cross or are NaN."""

    def leaf(low: jax.Array, high: jax.Array) -> jax.Array:
        return jnp.all((low <= high) & (low < jnp.inf) & (high > -jnp.inf))

    return jnp.all(jnp.stack([jnp.bool_(True), *jax.tree.leaves(jax.tree.map(leaf, box.lower, box.upper))]))


def first_status(objective: Any) -> jax.Array | None:
    """Return INFEASIBLE where no point satisfies the objective's bounds, otherwise RUNNING; None without bounds."""
    box = getattr(objective, "bounds", None)
    return None if box is None else jnp.where(feasible(box), Status.RUNNING, Status.INFEASIBLE).astype(jnp.int32)


def outside(box: Box, params: Params) -> jax.Array:
    """Return whether an entry of the parameters lies outside the box, bool."""

    def leaf(x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return jnp.any((x < low) | (x > high))

    parts = jax.tree.leaves(jax.tree.map(leaf, params, box.lower, box.upper))
    return jnp.any(jnp.stack([jnp.bool_(False), *parts]))


def was_projected(box: Box, start: Params, resume: Any) -> jax.Array:
    """Return whether a solve begins at the projection of its start; one that is taken up reads no start. bool."""
    return outside(box, start) if resume is None else jnp.bool_(False)


def within(box: Box | None, params: Params) -> Params:
    """Return the point of the box nearest to one; without bounds the point itself."""
    return params if box is None else project(box, params)


def trial(box: Box | None, params: Params, step: Scalar, direction: Params) -> Params:
    """Return x + a d, within bounds exactly in the box, and exactly on a bound where a = 1 leads there."""
    if box is None:
        return tree.axpy(step, direction, params)
    return moved(box, params, tree.scale(step, direction))


def grad_norm(box: Box | None, point: Point) -> Scalar:
    """Return |g|_inf at a point, or within bounds that of the projected gradient.

    It is not finite wherever the gradient is not: a bound would cut an infinite entry off.
    """
    whole = tree.max_abs(point.grad)
    if box is None:
        return whole
    return jnp.where(jnp.isfinite(whole), tree.max_abs(projected_gradient(box, point.params, point.grad)), whole)


def check_solve(
    function: str, solver: Solver, methods: Mapping[str, Callable[[], Solver]], second_order: Any, derivative: Any
) -> None:
    """Raise unless the solver honours bounds and nothing is asked of it that has no meaning within them.

    Args:
      function: whose arguments they are.
      solver: the solver.
      methods: factories by name, among which to look for those that honour bounds.
      second_order: the argument of that name.
      derivative: the argument of that name.

    Raises:
      ValueError: naming the methods that do, or the way round.
    """
    if not solver.bounded:
        able = ", ".join(repr(name) for name, make in methods.items() if make().bounded)
        msg = (
            f"{function}: method must keep within bounds, which {solver!r} does not; use one of {able}, "
            "or transform the parameters so that all their values are admissible."
        )
        raise ValueError(msg)
    if second_order is not None:
        msg = (
            f"{function}: second_order must be None with bounds, within which a minimum may have negative curvature, got "
            f"{second_order!r}; look at the free entries with jopt.curvature.classify once the solve has ended."
        )
        raise ValueError(msg)
    if derivative == "unrolled":
        msg = (
            f"{function}: derivative must be 'implicit' with bounds: the search for the active ones is a loop of unknown "
            "length, which has no reverse mode, got 'unrolled'."
        )
        raise ValueError(msg)


def _side(function: str, name: str, side: Any, nothing: float, params: Params) -> Params:
    """Return one side as a tree like the parameters, with a bound that is none for every None."""
    where, structure = f"{function}: bounds.{name}", jax.tree.structure(params)
    try:
        prefix = jax.tree.broadcast(side, params, is_leaf=lambda b: b is None)
    except ValueError:
        ours = jax.tree.structure(side)
        msg = f"{where} must be a number, None, or a tree like x0, got {ours} for {structure}. {HINT}"
        raise ValueError(msg) from None
    leaves = jax.tree.leaves(prefix, is_leaf=lambda b: b is None)
    paths = tree.paths(where, params)
    filled = (nothing if b is None else b for b in leaves)
    return structure.unflatten(map(_bound, paths, filled, jax.tree.leaves(params)))


def _bound(path: str, bound: Any, x: jax.Array) -> Any:
    """Return one bound in the dtype of its leaf."""
    if not isinstance(bound, (jax.Array, np.ndarray, np.generic, int, float)) or isinstance(bound, bool):
        msg = f"{path} must be a real number or an array, got {bound!r} ({type(bound).__name__})."
        raise TypeError(msg)
    dtype = jnp.result_type(bound)
    if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
        msg = f"{path} must be a real number or an array, got {dtype}{list(np.shape(bound))}."
        raise TypeError(msg)
    if np.shape(bound) not in {(), x.shape}:
        msg = f"{path} must be one number or an array of shape {x.shape} as there in x0, got shape {np.shape(bound)}."
        raise ValueError(msg)
    if isinstance(bound, jax.Array):
        return bound.astype(x.dtype)
    with np.errstate(over="ignore"):  # beyond the largest number of the dtype there is no bound
        return np.asarray(bound).astype(x.dtype)


def _hidden(bound: Any) -> bool:
    """Return whether the values of a bound cannot be looked at here."""
    return isinstance(bound, Tracer) or not getattr(bound, "is_fully_addressable", True)


def _check_values(function: str, path: str, low: np.ndarray, high: np.ndarray) -> None:
    """Raise for the first entry that is NaN, an infinity on the wrong side, or crossed."""
    low, high = np.broadcast_arrays(low, high)
    faults = (
        ("lower", np.isnan(low), "must not be NaN", "use None or -inf for no bound"),
        ("upper", np.isnan(high), "must not be NaN", "use None or inf for no bound"),
        ("lower", low == np.inf, "must be below infinity", "use None or -inf for no bound"),
        ("upper", high == -np.inf, "must be above -infinity", "use None or inf for no bound"),
        ("lower", low > high, "must not be above the upper bound", "swap the two, or mend the entry"),
    )
    for side, wrong, demand, fix in faults:
        if np.any(wrong):
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            at = f"[{', '.join(map(str, index))}]" if index else ""
            got = f"lower {low[index]} and upper {high[index]}"
            msg = f"{function}: bounds.{side}{path} {demand}, got {got}{f' at {at}' if at else ''}; {fix}."
            raise ValueError(msg)

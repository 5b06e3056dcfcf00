# SPDX-License-Identifier: Apache-2.0
"""The calls that solve many problems at once: `minimize` and `least_squares` with a leading axis.

Each is `jax.vmap` over the call for one problem, with a solver whose lanes make room for problems that wait
(`jopt.solvers.lanes`), and says first which argument has not the leading axis that it should have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jopt import tree, validate
from jopt.solvers import calls
from jopt.solvers.lanes import LANES, packed
from jopt.solvers.least_squares import as_least_squares_solver, least_squares
from jopt.solvers.loop import LoopState
from jopt.solvers.minimize import as_solver, minimize
from jopt.solvers.result import Result
from jopt.types import Params, Solver, naming


def minimize_batch(
    fun: Callable[..., Any],
    x0: Params,
    args: tuple[Any, ...] = (),
    method: str | Solver | optax.GradientTransformation = "trust-ncg",
    *,
    in_axes: Any = 0,
    lanes: int = LANES,
    bounds: tuple[Any, Any] | None = None,
    bounds_axes: Any = None,
    resume: LoopState | None = None,
    **options: Any,
) -> Result:
    """Minimise a function from many starts, or with many data, in one program.

    The answer is that of `jax.vmap(minimize)`, problem for problem, but a problem that is solved makes room for the next
    instead of waiting for the slowest: the cost follows the mean problem. As with `minimize`, a second call with the same
    `fun`, an equal method and arrays of the same shapes traces and compiles nothing; it works inside `jit`.

    Args:
      fun: `fun(params, *args)` of one problem, giving a real scalar, or `(value, aux)` with `has_aux`.
      x0: the starts: a tree like the parameters of one problem whose leaves have one more axis, in front, of length
        N >= 1.
      args: further arguments of `fun`: a tuple of trees of arrays (one argument alone need not be wrapped).
      method: as for `minimize`.
      in_axes: which of `args` have the leading axis too: 0 those that do, None those shared by all problems; one entry
        for all of them, or a tuple with an entry for each of `args`, which may be a tree that is a prefix of it.
      lanes: problems at work at a time, >= 1; more use a wide device better, fewer fit a cache.
      bounds: `(lower, upper)` as for `minimize`.
      bounds_axes: as `in_axes`, for the two bounds; None where all problems share them.
      resume: the `state` of the result of a batch to go on from.
      **options: the other keywords of `minimize`, the same for all problems. What needs Python between the trips
        (`progress`, `time_limit`) is refused; a `callback` may observe, in no order. `derivative="unrolled"` runs all
        problems side by side.

    Returns:
      A `Result` whose arrays have a leading axis of length N; `message` is a list. `success` and `status` are those of
      each problem.

    Raises:
      ValueError: if the leading axes differ or are empty, or `lanes` < 1; or as `minimize` raises.
      TypeError: as `minimize` raises.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> def fun(x, centre, scale):
      ...     return jnp.sum(scale * (x - centre) ** 2)
      >>> centres, scale = jnp.arange(6.0).reshape(3, 2), jnp.array([1.0, 4.0])
      >>> found = jopt.minimize_batch(fun, jnp.zeros((3, 2)), (centres, scale), "newton-cg", in_axes=(0, None))
      >>> bool(jnp.allclose(found.x, centres, atol=1e-3)), bool(found.success.all()), len(found.message)
      (True, True, 3)
    """
    name = "minimize_batch"
    with naming(name, "minimize"):
        solver = _packed(name, as_solver(method), lanes)

        def solve(x0: Params, args: Any, bounds: Any, resume: Any) -> Result:
            return minimize(fun, x0, args, solver, bounds=bounds, resume=resume, **options)

        return _solve(name, solve, x0, args, in_axes, bounds, bounds_axes, resume, options)


def least_squares_batch(
    residual: Callable[..., Any],
    x0: Params,
    args: tuple[Any, ...] = (),
    method: str | Solver = "lm",
    *,
    in_axes: Any = 0,
    lanes: int = LANES,
    resume: LoopState | None = None,
    **options: Any,
) -> Result:
    """Fit a model many times, with many data or from many starts, in one program.

    The answer is that of `jax.vmap(least_squares)`, fit for fit, run as `minimize_batch` runs its problems.

    Args:
      residual: `residual(params, *args)` of one fit, giving its residuals, or `(residuals, aux)` with `has_aux`.
      x0: the starts: a tree like the parameters of one fit whose leaves have one more axis, in front, of length N >= 1.
      args: further arguments of `residual`: a tuple of trees of arrays (one argument alone need not be wrapped).
      method: as for `least_squares`.
      in_axes: which of `args` have the leading axis too, as for `minimize_batch`.
      lanes: fits at work at a time, >= 1.
      resume: the `state` of the result of a batch to go on from.
      **options: the other keywords of `least_squares`, the same for all fits, but for `progress` and `time_limit`.

    Returns:
      A `Result` whose arrays have a leading axis of length N; `message` is a list.

    Raises:
      ValueError: if the leading axes differ or are empty, or `lanes` < 1; or as `least_squares` raises.
      TypeError: as `least_squares` raises.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> t, rates = jnp.linspace(0.0, 1.0, 9), jnp.array([0.5, 1.0, 2.0])
      >>> data = jnp.exp(-rates[:, None] * t)
      >>> def residual(rate, t, y):
      ...     return jnp.exp(-rate * t) - y
      >>> fits = jopt.least_squares_batch(residual, jnp.ones(3), (t, data), in_axes=(None, 0))
      >>> bool(jnp.allclose(fits.x, rates, atol=1e-2)), bool(fits.success.all())
      (True, True)
    """
    name = "least_squares_batch"
    with naming(name, "least_squares"):
        solver = _packed(name, as_least_squares_solver(method), lanes)

        def solve(x0: Params, args: Any, _: None, resume: Any) -> Result:
            return least_squares(residual, x0, args, solver, resume=resume, **options)

        return _solve(name, solve, x0, args, in_axes, None, None, resume, options)


def _packed(function: str, solver: Solver, lanes: Any) -> Solver:
    return packed(solver, int(validate.integer(function, "lanes", lanes, low=1)))


def _solve(
    function: str,
    solve: Callable[[Params, Any, Any, Any], Result],
    x0: Params,
    args: Any,
    in_axes: Any,
    bounds: Any,
    bounds_axes: Any,
    resume: LoopState | None,
    options: dict[str, Any],
) -> Result:
    """Check what has a leading axis, and solve all problems."""
    calls.refuse_watching(function, options)
    starts, args = tree.as_parameters(function, "x0", x0), calls.as_args(function, args)
    size = calls.leading_axis(function, "x0", starts)
    axes = _axes(function, "in_axes", "args", args, in_axes, size)
    of_bounds = _axes(function, "bounds_axes", "bounds", bounds, bounds_axes, size)
    _check_lengths(function, "resume", resume, 0, size, "take the state of a result of this batch.")
    return jax.vmap(solve, in_axes=(0, axes, of_bounds, 0))(starts, args, bounds, resume)


def _axes(function: str, name: str, argument: str, values: Any, axes: Any, size: int) -> Any:
    """Return the axes as a tree like the values with an entry, 0 or None, for each leaf.

    Raises:
      ValueError: if they are not 0 or None, no prefix of the values, or a leaf has no leading axis as long as the starts.
    """
    try:
        full = jax.tree.broadcast(axes, values, is_leaf=_is_none)
    except ValueError:
        msg = f"{function}: {name} must be 0, None, or a tuple with an entry for each of {argument}, got {axes!r}."
        raise ValueError(msg) from None
    for axis in jax.tree.leaves(full):
        if type(axis) is not int or axis != 0:
            msg = f"{function}: {name} must hold 0 for what has the leading axis and None for what is shared, got {axis!r}; move the axis to the front."
            raise ValueError(msg)
    _check_lengths(function, argument, values, full, size, f"name what all problems share by None in {name}.")
    return full


def _check_lengths(function: str, argument: str, values: Any, axes: Any, size: int, hint: str) -> None:
    """Raise unless what has the leading axis has it as long as the starts.

    Raises:
      ValueError: naming the leaf that has not.
    """
    which = jax.tree.leaves(jax.tree.broadcast(axes, values, is_leaf=_is_none), is_leaf=_is_none)
    leaves = jax.tree_util.tree_leaves_with_path(values, is_leaf=_is_none)
    for (path, leaf), axis in zip(leaves, which, strict=True):
        shape = jnp.shape(leaf) if leaf is not None else ()
        if axis is not None and leaf is not None and (not shape or shape[0] != size):
            msg = (
                f"{function}: {argument}{jax.tree_util.keystr(path)} must have a leading axis of length {size}, as x0 has, "
                f"got shape {shape}; {hint}"
            )
            raise ValueError(msg)


def _is_none(x: Any) -> bool:
    return x is None

# SPDX-License-Identifier: Apache-2.0
"""What the calls that solve do with their arguments before anything is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jopt.types import as_tuple, hashable


def as_static(function: str, argument: str, fun: Any) -> Callable[..., Any]:
    """Return a function that can be a static argument of `jax.jit`.

    Raises:
      TypeError: if `fun` cannot be called.
    """
    if not callable(fun):
        msg = f"{function}: {argument} must be a function of the parameters, got {fun!r}."
        raise TypeError(msg)
    return hashable(fun)


def as_args(function: str, args: Any) -> tuple[Any, ...]:
    """Return the further arguments as a tuple; one argument alone need not be wrapped.

    Raises:
      TypeError: naming the leaf that is not an array or a number.
    """
    args = as_tuple(args)
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
            where = jax.tree_util.keystr(path)
            msg = f"{function}: args{where} must be an array or a number, got {leaf!r}; bind it to the function, as by functools.partial."
            raise TypeError(msg)
    return args


def history_rows(function: str, maxiter: Any) -> int:
    """Return the length of a history.

    Raises:
      TypeError: if `maxiter` is traced.
    """
    if isinstance(maxiter, Tracer):
        msg = f"{function}: maxiter must be a Python number with history=True, since it is the length of arrays; got a traced value."
        raise TypeError(msg)
    return int(maxiter) + 1


def refuse_watching(function: str, options: dict[str, Any]) -> None:
    """Raise if Python is wanted between the trips of solves that run as one program.

    Raises:
      ValueError: naming the option.
    """
    for name, off in (("progress", False), ("time_limit", None)):
        if options.get(name, off) is not off:
            msg = f"{function}: {name} must not be set: all problems run in one program, with no Python between the trips; set maxiter or maxfev instead."
            raise ValueError(msg)


def leading_axis(function: str, argument: str, starts: Any) -> int:
    """Return the length of the axis in front of every leaf.

    Raises:
      ValueError: naming the leaf that has none, or another length than the first leaf, or none of its entries.
    """
    leaves = [(jax.tree_util.keystr(path), x.shape) for path, x in jax.tree_util.tree_leaves_with_path(starts)]
    number = leaves[0][1][0] if leaves and leaves[0][1] else 0
    for path, shape in leaves or [("", ())]:
        if not shape or not shape[0] or shape[0] != number:
            alike = f" ({number}, as in the first leaf)" if number else ""
            msg = (
                f"{function}: {argument}{path} must have a leading axis with one entry for each start{alike}, got shape {shape}; "
                "for a single start use minimize."
            )
            raise ValueError(msg)
    return number

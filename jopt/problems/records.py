# SPDX-License-Identifier: Apache-2.0
"""The record of a test problem, and the two ways to make one: from a formula, or from the terms of a finite sum.

    fun(x)                                     a formula
    fun(x) = 1/n sum_i terms(x)_i              a finite sum; terms(x, index) gives the chosen ones alone

Whatever the formula, the parameters are checked against the start, their leaves are widened to one dtype (the widest
leaf's, at least float32), and the value has that dtype. Data and points are kept as read-only float64 NumPy arrays and
become JAX arrays inside the objective, so that making a problem starts no JAX backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import tree, validate
from jopt.types import Described, Params, Scalar


class _Fields(NamedTuple):
    fun: Callable[[Params], Scalar]
    starts: tuple[Params, ...]
    source: str
    minimum: float | None = None
    minimisers: tuple[Params, ...] = ()
    local_minimisers: tuple[Params, ...] = ()
    stationary: tuple[Params, ...] = ()
    hessian: np.ndarray | None = None
    terms: Callable[..., jax.Array] | None = None
    n_terms: int = 0


class Problem(Described, _Fields):
    """An objective with what is known of it; immutable, printed as the call that made it.

    Attributes:
      fun: params -> value, a scalar in the widest dtype of the params, at least float32.
      starts: trees of read-only float64 NumPy arrays, the customary start first; see `start`.
      source: where the problem comes from: author (year), title.
      minimum: the least value, -inf where there is none, None where it is unknown.
      minimisers: points where `fun` equals `minimum`: all of them, unless the factory says which.
      local_minimisers: other local minimisers, where they are known.
      stationary: known points of zero gradient that are saddles or maximisers.
      hessian: the Hessian, shape (n, n), where it is constant; None otherwise.
      terms: for a finite sum, (params, index=None) -> values of the terms that the integers `index` choose, or of all,
        shape (len(index),) or (n_terms,); their mean is an unbiased estimate of `fun`. None otherwise.
      n_terms: number of terms, 0 where the problem is no finite sum.
    """

    def start(self, dtype: Any = None, index: int = 0) -> Params:
        """Return a start as JAX arrays.

        Args:
          dtype: a floating dtype for all leaves; None means JAX's default one.
          index: which of `starts`.

        Raises:
          TypeError: if `dtype` is not a floating dtype.
          ValueError: if there is no such start.
        """
        return _point(f"{self._label()}.start", self.starts, dtype, index)

    def minimiser(self, dtype: Any = None, index: int = 0) -> Params:
        """Return a minimiser as JAX arrays.

        Args:
          dtype: a floating dtype for all leaves; None means JAX's default one.
          index: which of `minimisers`.

        Raises:
          TypeError: if `dtype` is not a floating dtype.
          ValueError: if there is no such minimiser.
        """
        return _point(f"{self._label()}.minimiser", self.minimisers, dtype, index)

    def __repr__(self) -> str:
        shown = (f"{key}={_brief(value)}" for key, value in self.settings.items())
        return f"{self._label()}({', '.join(shown)})"

    def _label(self) -> str:
        return self.name or type(self).__name__


def from_formula(
    name: str, formula: Callable[[Any], Any], starts: Sequence[Params], *, source: str, **known: Any
) -> Problem:
    """Return the problem of a formula.

    Decorate the factory that calls this with `jopt.types.described`: it gives the record its name and its equality.

    Args:
      name: the factory's name, for messages about params.
      formula: (params, all of one dtype) -> scalar of that dtype.
      starts: at least one array, sequence of numbers, or nested dict of these; the first decides the structure and
        shapes of the params.
      source: author (year), title.
      **known: further fields of `Problem`.
    """
    fixed = tuple(frozen(x) for x in starts)
    points = {key: tuple(frozen(x) for x in known.pop(key, ())) for key in _POINTS}
    return Problem(_checked(name, formula, fixed[0]), fixed, source, **points, **known)


def from_terms(
    name: str, terms: Callable[..., Any], n_terms: int, starts: Sequence[Params], *, source: str, **known: Any
) -> Problem:
    """Return the problem of a mean of terms.

    Args:
      name: the factory's name, for messages.
      terms: (params, all of one dtype; index, integers or None for all) -> values of the terms, shape (k,).
      n_terms: number of terms, >= 1.
      starts: as in `from_formula`.
      source: author (year), title.
      **known: further fields of `Problem`.
    """
    like = frozen(starts[0])
    checked = _checked(name, lambda params, index=None: terms(params, index), like)
    return from_formula(
        name,
        lambda params: jnp.mean(terms(params, None)),
        starts,
        source=source,
        terms=checked,
        n_terms=n_terms,
        **known,
    )


def frozen(point: Params) -> Params:
    """Return a tree of read-only float64 NumPy arrays; a tuple or list of numbers becomes one vector."""

    def leaf(x: Any) -> np.ndarray:
        array = np.array(x, np.float64)
        array.setflags(write=False)
        return array

    return jax.tree.map(leaf, point, is_leaf=lambda x: not isinstance(x, dict))


_POINTS = ("minimisers", "local_minimisers", "stationary")


def _checked(name: str, function: Callable[..., Any], like: Params) -> Callable[..., Any]:
    def objective(params: Params, *index: Any, **named_index: Any) -> Any:
        params = tree.as_parameters(name, "params", params)
        tree.check_like(name, "params", params, "the start", like)
        dtype = tree.scalar_dtype(params)
        return function(jax.tree.map(lambda x: x.astype(dtype), params), *index, **named_index)

    return objective


def _point(function: str, points: tuple[Params, ...], dtype: Any, index: int) -> Params:
    kind = validate.floating_dtype(function, "dtype", dtype) or jnp.result_type(float)
    if not points:
        msg = f"{function}: there is none on record for this problem."
        raise ValueError(msg)
    validate.integer(function, "index", index, high=len(points) - 1)
    return jax.tree.map(lambda x: jnp.asarray(x, kind), points[index])


def _brief(value: Any) -> str:
    array = isinstance(value, np.ndarray | jax.Array)
    return f"<{value.dtype}{list(value.shape)}>" if array else repr(value)

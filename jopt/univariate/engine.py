# SPDX-License-Identifier: Apache-2.0
"""The loop that the methods of one variable share: evaluate the trial, let the method decide, until it says why it ends.

A method is a function `update(state, sample, nfev) -> state` of the evaluation just made and the number of those before
it. Its state is a NamedTuple with at least the fields

    trial     the point to be evaluated next
    status    a `Status`, int32
    best      the `Sample` to return
    low, high the ends of the bracket; absent where there is none

so the function stands once in the program, whatever the method evaluates first.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jopt import tree, validate
from jopt.status import Status
from jopt.types import Scalar, hashable
from jopt.univariate.record import Path, Record, Sample

# Iterations at most unless the caller says otherwise: SciPy's `maxiter` for zeros in one variable is the same.
MAXITER = 100


class Method(NamedTuple):
    """How a method takes part in the loop; all static.

    Attributes:
      name: its public name, for errors.
      update: `(state, sample, nfev) -> state`.
      order: derivatives that it reads: 0, 1 or 2.
      opening: evaluations before the first iteration.
    """

    name: str
    update: Callable[[Any, Sample, jax.Array], Any]
    order: int
    opening: int


def solve(method: Method, fun: Any, state: Any, args: Any, maxiter: Any, path: bool) -> Record:
    """Check what all methods take, and run one."""
    if not callable(fun):
        msg = f"{method.name}: fun must be a function of one variable, got {fun!r}."
        raise TypeError(msg)
    validate.integer(method.name, "maxiter", maxiter, low=0)
    rows = None
    if validate.flag(method.name, "path", path):
        if isinstance(maxiter, Tracer):
            msg = f"{method.name}: path=True needs maxiter as a Python number, since it is the length of arrays; got a traced value."
            raise TypeError(msg)
        rows = int(maxiter) + method.opening
    args = args if isinstance(args, tuple) else (args,)
    limit = maxiter if isinstance(maxiter, Tracer) else np.int32(min(int(maxiter), np.iinfo(np.int32).max))
    return _run(hashable(fun), method, rows, state, limit, args)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _run(fun: Any, method: Method, rows: int | None, state: Any, maxiter: Any, args: tuple[Any, ...]) -> Record:
    def trip(carry: Any) -> Any:
        state, nfev, path = carry
        sample = _evaluate(fun, method, state.trial, args)
        after = method.update(state, sample, nfev)
        spent = (after.status == Status.RUNNING) & (nfev + 1 - method.opening >= maxiter)
        after = after._replace(status=jnp.where(spent, Status.MAX_ITERATIONS, after.status).astype(jnp.int32))
        return after, nfev + 1, None if path is None else _record(path, nfev, sample, after)

    begun = (state, jnp.int32(0), None if rows is None else _blank(rows, state))
    end, nfev, path = jax.lax.while_loop(lambda carry: carry[0].status == Status.RUNNING, trip, begun)
    return Record(
        **end.best._asdict(),
        low=getattr(end, "low", None),
        high=getattr(end, "high", None),
        nit=jnp.maximum(nfev - method.opening, 0),
        nfev=nfev,
        status=end.status,
        success=(end.status == Status.CONVERGED) | (end.status == Status.STEP),
        path=path,
    )


def _evaluate(fun: Any, method: Method, x: Scalar, args: tuple[Any, ...]) -> Sample:
    """Return the value with as many derivatives as the method reads, all from one evaluation."""

    def value(x: Scalar) -> Scalar:
        out = jnp.asarray(fun(x, *args))
        if out.shape != () or not jnp.issubdtype(out.dtype, jnp.floating):
            msg = (
                f"{method.name}: fun must return a real floating scalar of shape (), got {out.dtype}{list(out.shape)}."
            )
            raise TypeError(msg)
        return out.astype(x.dtype)

    if method.order == 0:
        return Sample(x, value(x))
    if method.order == 1:
        return Sample(x, *jax.value_and_grad(value)(x))
    (f, slope), (_, curvature) = jax.jvp(jax.value_and_grad(value), (x,), (jnp.ones_like(x),))
    return Sample(x, f, slope, curvature)


def _blank(rows: int, state: Any) -> Path:
    nothing = jnp.full(rows, jnp.nan, state.trial.dtype)
    ends = nothing if hasattr(state, "low") else None
    return Path(nothing, nothing, ends, ends)


def _record(path: Path, nfev: jax.Array, sample: Sample, after: Any) -> Path:
    row = Path(sample.x, sample.value, getattr(after, "low", None), getattr(after, "high", None))
    return jax.tree.map(lambda column, x: column.at[nfev].set(x), path, row)


def point(function: str, argument: str, value: Any) -> Scalar:
    """Return a start as a scalar of at least float32, or raise saying what it must be."""
    return _points(function, {argument: value})[0]


def points(function: str, **values: Any) -> list[Scalar]:
    """Return two starts as scalars of one dtype."""
    return _points(function, values)


def ends(function: str, low: Any, high: Any) -> list[Scalar]:
    """Return the ends of a bracket as scalars of one dtype.

    Raises:
      ValueError: unless low < high, where both are concrete.
    """
    checked = _points(function, {"low": low, "high": high})
    if not any(isinstance(x, Tracer) for x in checked) and not bool(checked[0] < checked[1]):
        msg = f"{function}: low must be less than high, got {low!r} and {high!r}."
        raise ValueError(msg)
    return checked


def _points(function: str, values: dict[str, Any]) -> list[Scalar]:
    arrays = [validate.scalar(function, name, value) for name, value in values.items()]
    for (name, value), array in zip(values.items(), arrays, strict=True):
        if not isinstance(array, Tracer) and not math.isfinite(float(array)):
            msg = f"{function}: {name} must be finite, got {value!r}."
            raise ValueError(msg)
    floating = [x for x in arrays if jnp.issubdtype(x.dtype, jnp.floating)]
    dtype = tree.scalar_dtype(floating) if floating else jnp.result_type(float)
    return [jax.lax.convert_element_type(x, dtype) for x in arrays]


def tolerance(function: str, name: str, value: Any, otherwise: Any, like: Scalar) -> Scalar:
    """Return a tolerance, >= 0, as a scalar like another; None means `otherwise`."""
    if value is not None:
        validate.number(function, name, value, low=0.0)
    return jnp.asarray(otherwise if value is None else value).astype(like.dtype)


def bracket_tolerances(
    function: str, xtol: Any, rtol: Any, relative: float, low: Scalar, high: Scalar
) -> tuple[Scalar, Scalar]:
    """Return xtol, where None means eps (high - low), and rtol, where None means `relative`, as scalars like the ends."""
    width = 2 * machine_eps(low) * halves(low, high)[1]
    return tolerance(function, "xtol", xtol, width, low), tolerance(function, "rtol", rtol, relative, low)


def halves(low: Scalar, high: Scalar) -> tuple[Scalar, Scalar]:
    """Return the middle of a bracket and half its width, finite even where low + high or high - low is not.

    Not 0.5 low + 0.5 high: XLA takes the factor out of such a sum, and then it overflows.
    """
    half = 0.5 * high - 0.5 * low
    return low + half, half


def machine_eps(x: Scalar) -> float:
    """Return the relative spacing of numbers of the dtype of x."""
    return float(jnp.finfo(x.dtype).eps)


def nothing(x: Scalar, order: int) -> Sample:
    """Return the sample before the first evaluation."""
    unknown = jnp.full_like(x, jnp.nan)
    return Sample(x, unknown, unknown if order >= 1 else None, unknown if order >= 1 else None)


def running() -> jax.Array:
    """Return the status of a solve that has not ended."""
    return jnp.int32(Status.RUNNING)

# SPDX-License-Identifier: Apache-2.0
"""Searching a whole region: random points, and any method from many starts.

    random_search    the best of N points drawn at random:  argmin f(x_i),  x_i uniform in a box or from a sampler
    multistart       the best of the results of a method from N starts, and all of them

Neither proves that a minimum is the global one. Random points are a baseline and a start for any other method; the chance
that none of N uniform points falls into a set of volume fraction p is (1 - p)^N, whatever the number of parameters.

Best means the least value: in `multistart` among the runs that succeeded, and if none did, among those with a finite
value. Points and runs whose value is not finite are never the best while there is another.

References: Brooks (1958), A discussion of random methods for seeking maxima, Operations Research 6(2),
doi:10.1287/opre.6.2.244; Rinnooy Kan and Timmer (1987), Stochastic global optimization methods part I: clustering
methods, Math. Program. 39, doi:10.1007/BF02592070 (multistart).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from jopt import tree, validate
from jopt.solvers import calls
from jopt.solvers.minimize import minimize
from jopt.solvers.objective import Objective
from jopt.solvers.result import Result
from jopt.status import Status, first_of
from jopt.types import Params, Scalar, Solver, naming

Sampler = Callable[[jax.Array], Params]
"""`key -> params`: one random point."""


class _Search(NamedTuple):
    """The loop of a random search.

    Attributes:
      params: the best point so far.
      value: its value, infinity while there is none.
      aux: its aux; zeros while there is none, None unless has_aux.
      chunks: chunks evaluated, int32.
    """

    params: Params
    value: Scalar
    aux: Any
    chunks: jax.Array


class MultistartResult(NamedTuple):
    """The outcome of solves from many starts: a pytree.

    Attributes:
      best: the `Result` with the least value among those that succeeded; if none did, among those with a finite value.
      runs: the results of all starts, each field with a leading axis.
      lane: which of the runs is the best, int32.
    """

    best: Result
    runs: Result
    lane: jax.Array


def random_search(
    fun: Callable[..., Any],
    where: tuple[Params, Params] | Sampler,
    key: Any,
    args: tuple[Any, ...] = (),
    *,
    has_aux: bool = False,
    trials: int = 1000,
    chunk: int = 100,
    target: float | None = None,
) -> Result:
    """Minimise by random search: the best of points drawn at random.

    The function need be neither smooth nor finite everywhere. Point i comes from `fold_in(key, i)`, so the points do not
    depend on `chunk`. The search is one compiled program with one copy of the function; it works in `jit` and `vmap`.

    Args:
      fun: `fun(params, *args)` giving a real scalar, or `(value, aux)` with `has_aux`, traceable by JAX.
      where: the box as a pair of trees (lower, upper) with lower <= upper, both finite, in which points are uniform; or a
        sampler `key -> params`.
      key: a random key, or a whole number to make one of.
      args: further arguments of `fun`: a tuple of trees of arrays (one argument alone need not be wrapped).
      has_aux: whether `fun` returns auxiliary output beside the value; that of the best point comes back.
      trials: points to draw, >= 1.
      chunk: points evaluated together, >= 1: the memory is that of so many points and evaluations.
      target: stop after the first chunk with a value of at most this; None draws all points.

    Returns:
      A `Result` without `jac`, `history` and `state`: `x` is the finite point of least value (one of the points drawn, if
      none was finite), `nfev` the points evaluated, `aux` zeros if none was finite. The status is TARGET, MAX_EVALUATIONS, or NONFINITE where no value
      was finite; only TARGET is a success.

    Raises:
      ValueError: if `trials` or `chunk` < 1, or the bounds are not finite, not alike, or lower exceeds upper.
      TypeError: if a setting or a leaf is of the wrong type, or `fun` gives no real scalar.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> box = -5.0 * jnp.ones(2), 5.0 * jnp.ones(2)
      >>> found = jopt.random_search(lambda x: jnp.sum((x - 1.0) ** 2), box, 0)
      >>> bool(jnp.allclose(found.x, 1.0, atol=0.5)), int(found.nfev)
      (True, 1000)
    """
    with naming("random_search"):
        static = calls.as_static("random_search", "fun", fun)
        validate.flag("random_search", "has_aux", has_aux)
        validate.integer("random_search", "trials", trials, low=1)
        validate.integer("random_search", "chunk", chunk, low=1)
        if target is not None:
            validate.number("random_search", "target", target)
        key = validate.random_key("random_search", "key", key)
        args = calls.as_args("random_search", args)
        sampler = calls.as_static("random_search", "where", where) if callable(where) else None
        box = None if callable(where) else _box(where)
        return _search(static, sampler, int(chunk), bool(has_aux), box, key, args, trials, target)


def multistart(
    fun: Callable[..., Any],
    starts: Params,
    args: tuple[Any, ...] = (),
    method: str | Solver | optax.GradientTransformation = "lbfgs",
    **limits: Any,
) -> MultistartResult:
    """Minimise from many starts in one program, and say which result is best.

    The starts are the lanes of one compiled loop, which runs until the last lane has ended.

    Args:
      fun: `fun(params, *args)` giving a real scalar, or `(value, aux)` with `has_aux`.
      starts: a tree like the parameters whose leaves have one more axis, in front, of the same length >= 1.
      args: further arguments of `fun`, the same for all starts.
      method: as for `minimize`.
      **limits: keywords of `minimize`, such as `gtol` and `maxiter`.

    Returns:
      A `MultistartResult`: the best result, all of them, and the lane of the best.

    Raises:
      ValueError: if the leading axes of the leaves differ or are empty; or as `minimize` raises.
      TypeError: as `minimize` raises.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> wells = lambda x: jnp.sum((x**2 - 1.0) ** 2 + 0.2 * x)  # two minima, the left one lower
      >>> found = jopt.multistart(wells, jnp.linspace(-2.0, 2.0, 8)[:, None], gtol=1e-3)
      >>> bool(found.best.x[0] < 0), found.runs.x.shape, bool(found.runs.success.all())
      (True, (8, 1), True)
    """
    with naming("multistart", "minimize"):
        calls.refuse_watching("multistart", limits)
        starts = tree.as_parameters("multistart", "starts", starts)
        calls.leading_axis("multistart", "starts", starts)
        runs = jax.vmap(lambda x0: minimize(fun, x0, args, method, **limits))(starts)
        return _pick(runs)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _search(
    fun: Any, sampler: Any, chunk: int, has_aux: bool, box: Any, key: jax.Array, args: Any, trials: Any, target: Any
) -> Result:
    """Draw and evaluate chunk after chunk, keeping the best point."""
    objective = Objective(fun, args, has_aux)

    def draw(index: jax.Array) -> Params:
        lane = jax.random.fold_in(key, index)
        if sampler is None:
            return uniform(lane, *box)
        return tree.as_parameters("random_search", "the sampler's point", sampler(lane))

    first = draw(jnp.int32(0))
    dtype = tree.scalar_dtype(first)
    # Without a target there is nothing to stop for, as no finite value is at most minus infinity.
    goal = jnp.asarray(-jnp.inf if target is None else target, dtype)
    trials = jnp.asarray(trials, jnp.int32)

    def more(search: _Search) -> jax.Array:
        return (search.chunks * chunk < trials) & ~(search.value <= goal)

    def body(search: _Search) -> _Search:
        indices = search.chunks * chunk + jnp.arange(chunk, dtype=jnp.int32)
        points = jax.vmap(draw)(indices)
        values, aux = jax.vmap(objective.outputs)(points)
        values = jnp.where(jnp.isfinite(values) & (indices < trials), values, jnp.inf)
        least = jnp.argmin(values)
        params, aux = jax.tree.map(lambda x: x[least], (points, aux))
        best = (search.params, search.value, search.aux)
        candidate = (params, values[least], tree.cast(aux, search.aux))
        params, value, aux = tree.where(values[least] < search.value, candidate, best)
        return _Search(params, value, aux, search.chunks + 1)

    blank = objective.blank(first)
    end = jax.lax.while_loop(more, body, _Search(first, blank.value, blank.aux, jnp.zeros((), jnp.int32)))
    status = first_of(
        (~jnp.isfinite(end.value), Status.NONFINITE),
        ((end.value <= goal), Status.TARGET),
        otherwise=Status.MAX_EVALUATIONS,
    )
    zero = jnp.zeros((), jnp.int32)
    nfev = jnp.minimum(end.chunks * chunk, trials)
    return Result(
        x=end.params, fun=end.value, jac=None, nit=zero, nfev=nfev, njev=zero, nhev=zero,
        status=status, success=status == Status.TARGET, aux=end.aux, history=None, state=None,
    )  # fmt: skip


def uniform(key: jax.Array, lower: Params, upper: Params) -> Params:
    """Return a point uniform in the box, drawn in at least float32; rounding to the leaf's dtype keeps it in the box."""
    leaves, structure = jax.tree.flatten(lower)
    keys = jax.random.split(key, max(1, len(leaves)))

    def leaf(key: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        dtype = tree.wide(low.dtype)
        part = jax.random.uniform(key, low.shape, dtype)
        # As a mean of the bounds: their difference may overflow.
        point = (1 - part) * low.astype(dtype) + part * high.astype(dtype)
        return jnp.clip(point.astype(low.dtype), low, high)

    return structure.unflatten(map(leaf, keys, leaves, jax.tree.leaves(upper)))


def _box(where: Any) -> tuple[Params, Params]:
    """Return the bounds as trees of arrays, or raise naming what is wrong with them."""
    if not (isinstance(where, tuple) and len(where) == 2):
        msg = f"random_search: where must be a pair (lower, upper) of trees or a function of a key, got {where!r}."
        raise TypeError(msg)
    lower, upper = (
        tree.as_parameters("random_search", name, x) for name, x in zip(("lower", "upper"), where, strict=True)
    )
    tree.check_like("random_search", "upper", upper, "lower", lower)
    upper = tree.cast(upper, lower)
    for (path, low), high in zip(jax.tree_util.tree_leaves_with_path(lower), jax.tree.leaves(upper), strict=True):
        if isinstance(low, Tracer) or isinstance(high, Tracer):
            continue
        low_, high_ = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if not (np.isfinite(low_).all() and np.isfinite(high_).all() and (low_ <= high_).all()):
            at = jax.tree_util.keystr(path)
            msg = f"random_search: lower{at} must be finite and at most upper{at}, got {low} and {high}."
            raise ValueError(msg)
    return lower, upper


@jax.jit
def _pick(runs: Result) -> MultistartResult:
    """Return the runs with the best of them."""
    finite = jnp.where(jnp.isfinite(runs.fun), runs.fun, jnp.inf)
    succeeded = jnp.where(runs.success, runs.fun, jnp.inf)
    lane = jnp.argmin(jnp.where(jnp.any(runs.success), succeeded, finite)).astype(jnp.int32)
    return MultistartResult(jax.tree.map(lambda x: x[lane], runs), runs, lane)

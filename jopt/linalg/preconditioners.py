# SPDX-License-Identifier: Apache-2.0
r"""Preconditioners made from products with the operator alone, for a sequence of systems that change slowly.

A preconditioner is an approximation M of the inverse of A, symmetric and positive definite whatever A is.

    jacobi            M = 1 / |diag A|, by the n products with the unit vectors
    hutchinson        M = 1 / |d|, d = mean of v * (A v) over random signs v, whose mean is diag A
    limited_memory    the L-BFGS matrix of the pairs (d, A d) of earlier runs of conjugate gradients

Entries of |diag A| below eps times the largest count as that. The diagonals are computed anew every `refresh` systems;
the pairs of a run serve the next one, because M must not change within a run.

References: Bekas, Kokiopoulou and Saad (2007), An estimator for the diagonal of a matrix, Appl. Numer. Math. 57,
doi:10.1016/j.apnum.2007.01.003; Morales and Nocedal (2000), Automatic preconditioning by limited memory quasi-Newton
updating, SIAM J. Optim. 10(4), doi:10.1137/S1052623497327854.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg import limited_memory as lbfgs
from jopt.linalg import probes
from jopt.linalg.operators import Operator, applied
from jopt.types import Described, Params, described


class _Parts(NamedTuple):
    init: Callable[..., Any]
    prepare: Callable[..., Any]
    observe: Callable[..., Any] | None = None


class Preconditioner(Described, _Parts):
    """A preconditioner with a memory.

    Attributes:
      init: `params -> state`.
      prepare: `(operator, params, state) -> Prepared`, once for each system, before it is solved.
      observe: `(state, d, A d) -> state`, once for each product of the run, or None.
      diagonal: whether M is diagonal, so that what it prepares has a `diagonal`; false unless set.
    """

    diagonal: bool = False


class Prepared(NamedTuple):
    """A preconditioner at work on one system.

    Attributes:
      apply: r -> M r.
      state: the memory to carry on.
      nhev: products made, int32.
      diagonal: that of the inverse of M, > 0, a tree like params; None where M is not diagonal.
    """

    apply: Operator
    state: Any
    nhev: jax.Array
    diagonal: Params | None = None


class DiagonalState(NamedTuple):
    """State of `jacobi` and `hutchinson`.

    Attributes:
      diagonal: |d| with its floor, like params.
      count: systems so far, int32.
      key: random key of the next estimate, None for `jacobi`.
    """

    diagonal: Params
    count: Any
    key: Any


@described
def jacobi(refresh: int = 1) -> Preconditioner:
    """Divide by the absolute diagonal, which n products give exactly.

    Args:
      refresh: systems for which one diagonal serves, >= 1.

    Returns:
      A preconditioner.

    Raises:
      ValueError: if `refresh` < 1.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> tool, x, h = jopt.linalg.preconditioners.jacobi(), jnp.ones(2), jnp.array([2.0, -8.0])
      >>> ready = tool.prepare(lambda v: h * v, x, tool.init(x))
      >>> bool(jnp.allclose(ready.apply(jnp.abs(h)), 8.0)), int(ready.nhev)  # only ratios count
      (True, 2)
    """
    validate.integer("jacobi", "refresh", refresh, low=1)

    def unit_vectors(params: Params, key: None) -> tuple[Callable[[jax.Array], Params], int]:
        del key
        flat, unravel = tree.ravel(params)
        return lambda i: unravel((jnp.arange(flat.size) == i).astype(flat.dtype)), flat.size

    return _by_diagonal(unit_vectors, refresh, None)


@described
def hutchinson(samples: int = 10, *, refresh: int = 10, key: int | jax.Array = 0) -> Preconditioner:
    """Divide by the absolute mean of v * (A v) over random signs v.

    The standard deviation of an entry is the norm of the rest of its row, over sqrt(samples).

    Args:
      samples: products for an estimate, >= 1.
      refresh: systems for which one estimate serves, >= 1.
      key: seed or key of the signs.

    Returns:
      A preconditioner.

    Raises:
      ValueError: if `samples` < 1 or `refresh` < 1.
      TypeError: if they are not whole numbers, or `key` is no random key.

    Reference:
      Bekas, Kokiopoulou and Saad (2007), An estimator for the diagonal of a matrix, doi:10.1016/j.apnum.2007.01.003.

    Example:
      >>> import jopt
      >>> jopt.scale_by_newton_cg(preconditioner=jopt.linalg.preconditioners.hutchinson(4)).settings["forcing"]
      'superlinear'
    """
    validate.integer("hutchinson", "samples", samples, low=1)
    validate.integer("hutchinson", "refresh", refresh, low=1)

    validate.random_key("hutchinson", "key", key)

    def signs(params: Params, key: jax.Array) -> tuple[Callable[[jax.Array], Params], int]:
        return lambda i: probes.rademacher(jax.random.fold_in(key, i), params), samples

    return _by_diagonal(signs, refresh, key)


@described
def limited_memory(memory: int = 10) -> Preconditioner:
    """Multiply by the L-BFGS matrix of the last m directions d and products A d of earlier runs.

    It costs no product. With y = A d each pair is exact on a quadratic, unlike the differences of two gradients.
    Directions without positive curvature are no pairs. Memory: twice 2 m trees while a system is solved.

    Args:
      memory: pairs kept, m >= 1.

    Returns:
      A preconditioner.

    Raises:
      ValueError: if `memory` < 1.

    Reference:
      Morales and Nocedal (2000), Automatic preconditioning by limited memory quasi-Newton updating,
      doi:10.1137/S1052623497327854. They spread the pairs over the run; these are its last ones.

    Example:
      >>> import jax.numpy as jnp, jopt
      >>> tool, b = jopt.linalg.preconditioners.limited_memory(2), jnp.array([1.0, 1.0])
      >>> operator = lambda v: jnp.array([1.0, 9.0]) * v
      >>> first = jopt.linalg.cg(operator, b, observe=(tool.observe, tool.init(b)))
      >>> ready = tool.prepare(operator, b, first.observed)
      >>> int(first.nhev), int(jopt.linalg.cg(operator, b, preconditioner=ready.apply).nhev)
      (2, 1)
    """
    validate.integer("limited_memory", "memory", memory, low=1)

    def prepare(operator: Operator, params: Params, state: lbfgs.Pairs) -> Prepared:
        del operator, params
        return Prepared(lambda r: lbfgs.recursion(state, r), state, jnp.zeros((), jnp.int32))

    return Preconditioner(lambda params: lbfgs.empty(params, memory, product=lbfgs.two_loop), prepare, lbfgs.push)


def fixed(function: Callable[[Params, Params], Params]) -> Preconditioner:
    """Make a preconditioner of a function `(params, r) -> M r`, M near the inverse of A at those parameters."""

    def prepare(operator: Operator, params: Params, state: tuple[()]) -> Prepared:
        del operator
        return Prepared(lambda r: function(params, r), state, jnp.zeros((), jnp.int32))

    return Preconditioner(lambda _: (), prepare)


NAMES = {"jacobi": jacobi, "hutchinson": hutchinson, "lbfgs": limited_memory}
"""Names for the `preconditioner` argument of Newton directions."""


def resolve(function: str, given: Any) -> Preconditioner | None:
    """Return the preconditioner meant by a name, a function `(params, r) -> M r`, a preconditioner or None.

    Raises:
      ValueError: for an unknown name.
      TypeError: for anything else.
    """
    if given is None or isinstance(given, Preconditioner):
        return given
    if isinstance(given, str):
        return NAMES[validate.choice(function, "preconditioner", given, NAMES)]()
    if callable(given):
        return fixed(given)
    msg = f"{function}: preconditioner must be None, a name, a preconditioner or a function (params, r), got {given!r}."
    raise TypeError(msg)


Vectors = Callable[[Params, Any], tuple[Callable[[jax.Array], Params], int]]
"""`(params, key) -> (i -> the i-th vector, how many)`."""


def _by_diagonal(vectors: Vectors, refresh: int, key: Any) -> Preconditioner:
    """Return the preconditioner by |sum of v * (A v)| over some vectors v."""

    def init(params: Params) -> DiagonalState:
        ones = jax.tree.map(lambda x: jnp.ones_like(x, dtype=tree.wide(x.dtype)), params)
        first = None if key is None else validate.random_key("hutchinson", "key", key)
        return DiagonalState(ones, jnp.zeros((), jnp.int32), first)

    def prepare(operator: Operator, params: Params, state: DiagonalState) -> Prepared:
        due = state.count % refresh == 0
        now = None if state.key is None else jax.random.fold_in(state.key, state.count)
        vector, number = vectors(params, now)

        def renew(old: Params) -> Params:
            def add(i: jax.Array, total: Params) -> Params:
                v = vector(i)
                product = applied("preconditioner", operator, v)
                return jax.tree.map(lambda t, v, p: t + v.astype(t.dtype) * p.astype(t.dtype), total, v, product)

            return floored(jax.lax.fori_loop(0, number, add, tree.zeros_like(old)))

        diagonal = jax.lax.cond(due, renew, lambda old: old, state.diagonal)

        def apply(r: Params) -> Params:
            return jax.tree.map(lambda r, d: (r.astype(d.dtype) / d).astype(r.dtype), r, diagonal)

        spent = jnp.where(due, jnp.int32(number), jnp.int32(0))
        return Prepared(apply, DiagonalState(diagonal, state.count + 1, state.key), spent, diagonal)

    made = Preconditioner(init, prepare)
    made.diagonal = True
    return made


def floored(diagonal: Params) -> Params:
    """Return |d| over its largest entry, at least eps; ones where d is zero or not finite. Only ratios count."""
    top = tree.max_abs(diagonal)
    usable = (top > 0) & jnp.isfinite(top)
    scale = jnp.where(usable, top, 1)
    least = tree.coarsest_eps(diagonal)

    def leaf(d: jax.Array) -> jax.Array:
        return jnp.where(usable, jnp.maximum(jnp.abs(d) / scale.astype(d.dtype), least), 1)

    return jax.tree.map(leaf, diagonal)

# SPDX-License-Identifier: Apache-2.0
"""Cost of one L-BFGS direction, and its error, beside optax's.

    x <- x - STEP B g(x),    g(x) = D x,    D = diag(1 ... 10)        from x = (1, ..., 1), for the length of a run

A run is a scan of such steps, which begins at the start again with the history of the last run, so that pairs stay those
of the quadratic and nothing underflows. Beside the direction a step costs the gradient, the pair and the new point,
which is the same for all.

    jopt two_loop, gram     the two forms of `jopt.linalg.limited_memory`, told the pair
    jopt scale_by_lbfgs     the transformation, with the form that jopt chooses; it forms the pair itself, as optax does

A direction must read S and Y twice, once for the inner products and once for the combination: 4 m n numbers, 16 m n bytes
in float32, with a multiplication and an addition for each: 8 m n operations. The `error` of the smallest size is that of B g against dense BFGS in long double, over runs on a quadratic of
condition `CONDITION`, relative to |B g|; `errors` gives it for any condition.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jopt
from jopt import validate
from jopt.bench.suites import Scope, Suite
from jopt.bench.turns import Absent, Contender, Heat, Ready, chained
from jopt.linalg import limited_memory

MEMORY = 10
STEP = 0.01
SIZES = (10, 1_000, 100_000, 10_000_000)
QUICK_SIZES = SIZES[:-1]

LARGEST = 100_000_000
"""Run where the device is no CPU; there is no other way to ask for it."""

ELEMENTS_PER_RUN = 5_000_000
LEAST_LENGTH, MOST_LENGTH = 5, 500
"""Steps of a run: so many that a run takes some milliseconds, so few that (1 - STEP)^steps is no small number."""

ORACLE_MOST = 100
"""The largest size whose error is measured, against matrices in long double."""

ORACLE_STEPS = 3 * MEMORY
CONDITION = 1e3


class Form(NamedTuple):
    """A way to compute the direction.

    Attributes:
      init: `x -> state`.
      update: `(state, x, g) -> (state, B g)`; what it is told of the last point stands in the state.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]


def of_product(product: limited_memory.Product) -> Form:
    """Return the form that is told the pair: it keeps the point and the gradient of its last call."""

    def init(x: jax.Array) -> Any:
        return (
            limited_memory.empty(x, MEMORY, product=product),
            jnp.copy(x),
            jnp.zeros_like(x),
        )  # the first s is zero: no pair

    def update(state: Any, x: jax.Array, g: jax.Array) -> tuple[Any, jax.Array]:
        history, before, grad_before = state
        history, out = product(history, x - before, g - grad_before, g)
        return (history, x, g), out

    return Form(init, update)


def of_transformation(direction: Any) -> Form:
    """Return the form that is a transformation of gradients."""

    def update(state: Any, x: jax.Array, g: jax.Array) -> tuple[Any, jax.Array]:
        out, state = direction.update(g, state, x)
        return state, out

    return Form(lambda x: jax.tree.map(jnp.copy, direction.init(x)), update)


FORMS: dict[str, Callable[[], Form]] = {
    "optax scale_by_lbfgs": lambda: of_transformation(optax.scale_by_lbfgs(MEMORY)),
    "jopt two_loop": lambda: of_product(limited_memory.two_loop),
    "jopt gram": lambda: of_product(limited_memory.gram),
    "jopt scale_by_lbfgs": lambda: of_transformation(jopt.scale_by_lbfgs(MEMORY)),
}
"""Who takes part, by name."""


def heats(scope: Scope) -> tuple[Heat, ...]:
    """Return the heats: one for each size.

    Args:
      scope: what is asked for.
    """
    sizes = QUICK_SIZES if scope.quick else SIZES
    return heats_of(sizes if scope.quick else (*sizes, LARGEST), scope.precision)


def heats_of(sizes: Sequence[int], precision: str) -> tuple[Heat, ...]:
    """Return the heats for some numbers of parameters."""
    return tuple(_heat(size, precision) for size in sizes)


def errors(precision: str, condition: float, size: int = 60) -> dict[str, float]:
    """Return the largest relative error of B g by contender, over runs on a quadratic.

    Args:
      precision: "float32" or "float64".
      condition: of the quadratic, >= 1.
      size: number of parameters, from 1 to `ORACLE_MOST`.
    """
    validate.integer("errors", "size", size, low=1, high=ORACLE_MOST)
    return {name: _error(make(), precision, condition, size) for name, make in FORMS.items()}


def _heat(size: int, precision: str) -> Heat:
    length = max(LEAST_LENGTH, min(MOST_LENGTH, ELEMENTS_PER_RUN // size))
    least = 4 * MEMORY * size * np.dtype(precision).itemsize
    contenders = tuple(
        Contender(name, functools.partial(_prepared, make, size, precision, length), least, 8 * MEMORY * size)
        for name, make in FORMS.items()
    )
    return Heat(f"n = {size:,}", size, "direction", contenders, length)


def _prepared(make: Callable[[], Form], size: int, precision: str, length: int) -> Ready:
    if size >= LARGEST and jax.default_backend() == "cpu":
        raise Absent
    form = make()
    scales = jnp.linspace(1.0, 10.0, size, dtype=precision)
    start = jnp.ones(size, precision)

    def step(carry: tuple[Any, Any], scales: jax.Array) -> tuple[Any, Any]:
        state, x = carry
        state, out = form.update(state, x, scales * x)
        return state, x - jnp.asarray(STEP, x.dtype) * out

    def run(carry: tuple[Any, Any], scales: jax.Array) -> tuple[Any, Any]:
        first = (carry[0], jnp.ones_like(carry[1]))
        return jax.lax.fori_loop(0, length, lambda _, carry: step(carry, scales), first)

    ready = chained(run, (form.init(start), start), scales)
    if size > ORACLE_MOST:
        return ready
    return ready._replace(figures={"error": _error(form, precision, CONDITION, size)})


def _error(form: Form, precision: str, condition: float, size: int) -> float:
    """Return the largest error over a run whose every step is a share of the gradient, as `STEP` would be."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    hessian = (basis * np.geomspace(1.0, condition, size)) @ basis.T
    update = jax.jit(form.update)
    point = rng.standard_normal(size)
    state, pairs, before, worst = form.init(jnp.asarray(point, precision)), [], None, 0.0
    for _ in range(ORACLE_STEPS):
        x, g = point.astype(precision), (hessian @ point).astype(precision)
        state, out = update(state, jnp.asarray(x), jnp.asarray(g))
        if before is not None:
            pairs.append(((x - before[0]).astype(np.longdouble), (g - before[1]).astype(np.longdouble)))
            exact = _dense(pairs[-MEMORY:], g.astype(np.longdouble))
            worst = max(worst, float(_norm(np.asarray(out) - exact) / _norm(exact)))
        before = x, g
        point = point - (hessian @ point) * rng.uniform(0.1, 1.0) / condition
    return worst


def _norm(x: Any) -> Any:
    return np.sqrt(np.sum(x * x))


def _dense(pairs: list[Any], g: Any) -> Any:
    """Return B g with B the matrix of the recursion, from gamma I."""
    s, y = pairs[-1]
    matrix = np.eye(len(g), dtype=np.longdouble) * (s @ y) / (y @ y)
    for s, y in pairs:
        rho = 1 / (s @ y)
        left = np.eye(len(g), dtype=np.longdouble) - rho * np.outer(y, s)
        matrix = left.T @ matrix @ left + rho * np.outer(s, s)
    return matrix @ g


SUITE = Suite("directions", "Cost of one L-BFGS direction with ten pairs, beside optax.", heats, True, ("error",))

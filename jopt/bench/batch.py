# SPDX-License-Identifier: Apache-2.0
"""Problems solved a second, many at once: `jopt bench batch`.

`jax.vmap(jopt.minimize)` ("vmap") and `jopt.minimize_batch` ("batch"), with several methods, beside a vmapped
`optax.lbfgs` in the while loop that its documentation advises, and a vmapped `optimistix.minimise`. Two families of ten
parameters:

    rosenbrock  sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2 from starts uniform in [-2, 2]^10
    logistic    mean_i log(1 + exp(-b_i <a_i, x>)) + ridge |x|^2 / 2 from 0, forty random rows a_i of random size for each
                problem: the data differ, and with them the condition

Every contender is asked for half the tolerance; what counts is whether a fresh gradient at the returned point has
|g|_inf <= tolerance, and the time is that of one problem solved so. optimistix has no test of the gradient: its own, on
value and point, is set so tight that it seldom ends a solve before the gradient is small.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt import problems
from jopt.bench import rivals
from jopt.bench.suites import Scope, Suite
from jopt.bench.turns import Contender, Heat, Ready, compiled

SIZE = 10
RANDOM_BOX = 2.0
OBSERVATIONS = 40
RIDGE = 1e-3
SIZES = (1_000, 10_000)
MAXITER = 500
METHODS = ("newton-cg", "trust-ncg", "bfgs", "lbfgs")
BASE = "optax lbfgs, vmap"

QUICK_SIZE = 200
QUICK_METHODS = ("newton-cg",)
"""With `--quick`."""

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
"""On |g|_inf; a rosenbrock gradient in float32 at the minimum is rounding times its second derivatives, about 1e-4."""

CAUCHY = {"float64": 1e-10, "float32": 1e-6}
"""optimistix's rtol and atol, as tight as the CUTEst benchmark's, or about ten eps."""


class Family(NamedTuple):
    """Problems of one kind.

    Attributes:
      fun: `fun(x, *data)` of one problem.
      make: `(number of problems, dtype) -> (starts, data)` with a leading axis.
    """

    fun: Callable[..., jax.Array]
    make: Callable[[int, Any], tuple[jax.Array, tuple[jax.Array, ...]]]


rosenbrock = problems.rosenbrock(SIZE).fun


def logistic(x: jax.Array, signed: jax.Array) -> jax.Array:
    """Return the ridge-regularised logistic loss; the rows of `signed` are b_i a_i."""
    return jnp.mean(jnp.logaddexp(0.0, -signed @ x)) + RIDGE * jnp.sum(x * x) / 2


def _rosenbrock_starts(number: int, dtype: Any) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    starts = np.random.default_rng(0).uniform(-RANDOM_BOX, RANDOM_BOX, (number, SIZE))
    return jnp.asarray(starts, dtype), ()


def _logistic_data(number: int, dtype: Any) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    rng = np.random.default_rng(1)
    rows = (
        rng.standard_normal((number, OBSERVATIONS, SIZE))
        * np.geomspace(0.3, 3, SIZE)
        * rng.uniform(0.5, 5, (number, 1, 1))
    )
    noise = rng.logistic(size=(number, OBSERVATIONS))
    signs = np.where(np.einsum("kij,kj->ki", rows, rng.standard_normal((number, SIZE))) + noise > 0, 1, -1)
    return jnp.zeros((number, SIZE), dtype), (jnp.asarray(rows * signs[..., None], dtype),)


FAMILIES = {
    "rosenbrock": Family(rosenbrock, _rosenbrock_starts),
    "logistic": Family(logistic, _logistic_data),
}

Program = Callable[[jax.Array, tuple[jax.Array, ...]], tuple[jax.Array, jax.Array]]
"""`(starts, data) -> (points, evaluations)`, each with a leading axis."""


def heats(scope: Scope) -> tuple[Heat, ...]:
    """Return the heats: each family in each number of problems.

    Args:
      scope: what is asked for.
    """
    sizes, methods = ((QUICK_SIZE,), QUICK_METHODS) if scope.quick else (SIZES, METHODS)
    return tuple(
        heat_of(f"{number:,} {name}", family, number, scope.precision, programs(family.fun, scope.precision, methods))
        for name, family in FAMILIES.items()
        for number in sizes
    )


def programs(fun: Callable[..., jax.Array], dtype: str, methods: Sequence[str]) -> dict[str, Program]:
    """Return what takes part, by name: optax first, optimistix if it is installed, then ours.

    Args:
      fun: of one problem.
      dtype: "float64" or "float32".
      methods: of `jopt.minimize`.
    """
    tolerance = TOLERANCE[dtype] / 2
    entrants: dict[str, Program] = {BASE: _vmapped(functools.partial(_by_optax, fun, tolerance))}
    if rivals.usable("optimistix"):
        for name in ("LBFGS", "BFGS"):
            alone = functools.partial(_by_optimistix, fun, name, CAUCHY[dtype])
            entrants[f"optimistix {name.lower()}, vmap"] = _vmapped(alone)
    for method in methods:
        entrants[f"jopt {method}, vmap"] = _vmapped(functools.partial(_by_jopt, fun, method, tolerance))
        entrants[f"jopt {method}, batch"] = functools.partial(_by_batch, fun, method, tolerance)
    return entrants


def heat_of(case: str, family: Family, number: int, dtype: str, entrants: dict[str, Program]) -> Heat:
    """Return the heat of some programs on one batch.

    Args:
      case: its name.
      family: of the problems.
      number: of problems, >= 1.
      dtype: "float64" or "float32".
      entrants: the programs by name.
    """

    @functools.cache
    def batch() -> tuple[Any, Any, Any]:
        starts, data = family.make(number, jnp.dtype(dtype))
        judge = jax.vmap(lambda x, *own: jnp.max(jnp.abs(jax.grad(family.fun)(x, *own))))
        return starts, data, jax.jit(judge).lower(starts, *data).compile()

    def prepare(program: Program) -> Ready:
        starts, data, judge = batch()
        made = compiled(program, starts, data)
        points, counts = made.program(starts, data)
        solved = int(jnp.sum(judge(points, *data) <= TOLERANCE[dtype]))
        if not solved:
            msg = f"none of the {number:,} problems was solved."
            raise ArithmeticError(msg)
        figures = {"solved": solved, "mean evals": float(jnp.mean(counts)), "most evals": int(jnp.max(counts))}
        return made.ready(lambda: made.program(starts, data), **figures)._replace(work=float(solved))

    contenders = [Contender(name, functools.partial(prepare, program)) for name, program in entrants.items()]
    return Heat(case, number, "solve", tuple(contenders))


def _vmapped(alone: Callable[..., tuple[jax.Array, jax.Array]]) -> Program:
    return lambda starts, data: jax.vmap(alone)(starts, *data)


def _by_optax(fun: Callable[..., jax.Array], tolerance: float, x0: jax.Array, *data: jax.Array) -> Any:
    _, make = rivals.MAKES["optax lbfgs"]
    made = make(lambda x: fun(x, *data), rivals.Budget(tolerance, MAXITER))
    found = made(x0)
    return found.x, found.nfev


def _by_optimistix(fun: Callable[..., jax.Array], name: str, cauchy: float, x0: jax.Array, *data: jax.Array) -> Any:
    optimistix = importlib.import_module("optimistix")
    solver = getattr(optimistix, name)(rtol=cauchy, atol=cauchy)
    found = optimistix.minimise(lambda x, _: fun(x, *data), solver, x0, max_steps=MAXITER, throw=False)
    return found.value, found.stats["num_steps"]


def _by_jopt(fun: Callable[..., jax.Array], method: str, tolerance: float, x0: jax.Array, *data: jax.Array) -> Any:
    found = jopt.minimize(fun, x0, data, method, gtol=tolerance, maxiter=MAXITER)
    return found.x, found.nfev


def _by_batch(fun: Callable[..., jax.Array], method: str, tolerance: float, starts: jax.Array, data: Any) -> Any:
    found = jopt.minimize_batch(fun, starts, data, method, gtol=tolerance, maxiter=MAXITER)
    return found.x, found.nfev


SUITE = Suite(
    "batch",
    "Small problems solved a second, thousands at once.",
    heats,
    columns=("solved", "mean evals", "most evals"),
    precision="float64",
)

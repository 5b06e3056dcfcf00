# SPDX-License-Identifier: Apache-2.0
"""Problems solved a second, many at once: `python -m jopt.bench.batch`.

`jax.vmap(jopt.minimize)` and `jopt.minimize_batch`, with several methods, beside a vmapped `optax.lbfgs` in the while loop
that its documentation advises, and a vmapped `optimistix.minimise`. Two families of ten parameters:

    rosenbrock  sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2 from starts uniform in [-2, 2]^10
    logistic    mean_i log(1 + exp(-b_i <a_i, x>)) + ridge |x|^2 / 2 from 0, forty random rows a_i of random size for each
                problem: the data differ, and with them the condition

Every entrant is asked for half the tolerance; what counts is whether a fresh gradient at the returned point has
|g|_inf <= tolerance. optimistix has no test of the gradient: its own, on value and point, is set so tight that it seldom
ends a solve before the gradient is small. Programs are compiled first; then all run in turn, once a round. The figure is the median over the rounds of
(problems solved a second) / (those of optax), with its spread, so that what slows the machine down slows both.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt.bench import rivals
from jopt.solvers.lanes import LANES
from jopt.solvers.methods import METHODS as NAMED

SIZE = 10
RANDOM_BOX = 2.0
OBSERVATIONS = 40
RIDGE = 1e-3
SIZES = (1_000, 10_000)
ROUNDS = 5
MAXITER = 500
METHODS = ("newton-cg", "trust-ncg", "bfgs", "lbfgs")
BASE = "vmap optax-lbfgs"

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


class Row(NamedTuple):
    """What an entrant did with a batch.

    Attributes:
      entrant: its name.
      solved: problems whose fresh gradient is within the tolerance.
      compile_s: seconds to compile.
      seconds: of a run, median over the rounds.
      rate: problems solved a second, by the median.
      ratio: median over the rounds of that round's rate over the base's.
      least: the least of these ratios.
      largest: the largest.
      mean_nfev: evaluations, mean over the problems.
      most_nfev: evaluations, of the slowest problem.
    """

    entrant: str
    solved: int
    compile_s: float
    seconds: float
    rate: float
    ratio: float
    least: float
    largest: float
    mean_nfev: float
    most_nfev: int


def rosenbrock(x: jax.Array) -> jax.Array:
    """Return Rosenbrock's chained function."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


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


def programs(
    fun: Callable[..., jax.Array], dtype: str, methods: Sequence[str], lanes: Sequence[int]
) -> dict[str, Program]:
    """Return what takes part, by name: optax first, optimistix if it is installed, then ours."""
    tolerance = TOLERANCE[dtype] / 2
    entrants: dict[str, Program] = {BASE: _vmapped(functools.partial(_by_optax, fun, tolerance))}
    if rivals.usable("optimistix"):
        for name in ("LBFGS", "BFGS"):
            alone = functools.partial(_by_optimistix, fun, name, CAUCHY[dtype])
            entrants[f"vmap optimistix-{name.lower()}"] = _vmapped(alone)
    for method in methods:
        entrants[f"vmap jopt-{method}"] = _vmapped(functools.partial(_by_jopt, fun, method, tolerance))
    for method in methods:
        for number in lanes:
            name = f"minimize_batch {method}" + (f", {number} lanes" if len(lanes) > 1 else "")
            entrants[name] = functools.partial(_by_batch, fun, method, tolerance, number)
    return entrants


def measure(family: Family, entrants: dict[str, Program], number: int, dtype: str, rounds: int = ROUNDS) -> list[Row]:
    """Return a row for each entrant."""
    starts, data = family.make(number, dtype)
    check = jax.jit(jax.vmap(lambda x, *own: jnp.max(jnp.abs(jax.grad(family.fun)(x, *own)))))
    ready, compile_s, solved, counts = {}, {}, {}, {}
    for name, program in entrants.items():
        begin = time.perf_counter()
        ready[name] = jax.jit(program).lower(starts, data).compile()
        compile_s[name] = time.perf_counter() - begin
        points, counts[name] = ready[name](starts, data)
        solved[name] = int(jnp.sum(check(points, *data) <= TOLERANCE[dtype]))
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, run in ready.items():
            begin = time.perf_counter()
            jax.block_until_ready(run(starts, data))
            seconds[name].append(time.perf_counter() - begin)
    base = solved[BASE] / np.asarray(seconds[BASE])
    rows = []
    for name, times in seconds.items():
        ratios = solved[name] / np.asarray(times) / base
        middle = float(np.median(times))
        spread = (float(np.median(ratios)), float(ratios.min()), float(ratios.max()))
        nfev = (float(jnp.mean(counts[name])), int(jnp.max(counts[name])))
        rows.append(Row(name, solved[name], compile_s[name], middle, solved[name] / middle, *spread, *nfev))
    return rows


def _vmapped(alone: Callable[..., tuple[jax.Array, jax.Array]]) -> Program:
    return lambda starts, data: jax.vmap(alone)(starts, *data)


def _by_optax(fun: Callable[..., jax.Array], tolerance: float, x0: jax.Array, *data: jax.Array) -> Any:
    made = rivals.MAKE_OPTAX(lambda x: fun(x, *data), rivals.Budget(tolerance, MAXITER))
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


def _by_batch(
    fun: Callable[..., jax.Array], method: str, tolerance: float, lanes: int, starts: jax.Array, data: Any
) -> Any:
    found = jopt.minimize_batch(fun, starts, data, method, lanes=lanes, gtol=tolerance, maxiter=MAXITER)
    return found.x, found.nfev


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table as Markdown for each family and number of problems.

    Args:
      arguments: of the command line; None means those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m jopt.bench.batch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of problems")
    parser.add_argument("--precision", choices=tuple(TOLERANCE), default="float64")
    parser.add_argument("--families", nargs="+", choices=tuple(FAMILIES), default=tuple(FAMILIES))
    parser.add_argument("--methods", nargs="+", choices=tuple(NAMED), default=METHODS)
    parser.add_argument("--lanes", type=int, nargs="+", default=(LANES,), help="working lanes of minimize_batch")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", options.precision == "float64")

    for family in options.families:
        entrants = programs(FAMILIES[family].fun, options.precision, options.methods, options.lanes)
        for number in options.sizes:
            print(f"\n{number:,} x {family}, {options.precision}, {jax.devices()[0].device_kind}\n")
            print(
                "| entrant | solved | ratio to optax | least to largest | solved a second | compile, s | evaluations |"
            )
            print("|---|---|---|---|---|---|---|")
            for row in measure(FAMILIES[family], entrants, number, options.precision, options.rounds):
                spread = f"{row.least:.2f} to {row.largest:.2f}"
                counts = f"{row.mean_nfev:.0f}, at most {row.most_nfev}"
                figures = f"{row.ratio:.2f} | {spread} | {row.rate:,.0f} | {row.compile_s:.1f} | {counts}"
                print(f"| {row.entrant} | {row.solved:,} | {figures} |", flush=True)


if __name__ == "__main__":
    main()

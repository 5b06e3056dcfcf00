# SPDX-License-Identifier: Apache-2.0
"""Cost of one L-BFGS direction, and its error, beside optax's: `python -m jopt.bench.directions`.

For each size the three programs (two-loop, Gram, `optax.scale_by_lbfgs`) run in turn, several times over, each as a scan
of directions along a gradient descent on a quadratic; the figure is the median of the ratio optax / jopt over the
rounds, with its spread. The error is that of B g against the dense BFGS recursion in long double.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jopt.linalg import limited_memory

MEMORY = 10
ROUNDS = 5
SIZES = (10, 1_000, 100_000, 10_000_000)
ELEMENTS_PER_RUN = 20_000_000  # so that small sizes are repeated often enough for the clock
LEAST_LENGTH = 10  # each run begins with a copy of the history, which must not count for much
ORACLE_SIZE = 60


class Row(NamedTuple):
    """Time of optax over time of ours (median, least, largest over the rounds) and ours in seconds a direction."""

    size: int
    form: str
    ratio: float
    least: float
    largest: float
    seconds: float


def time_directions(size: int, dtype: Any, rounds: int = ROUNDS) -> list[Row]:
    """Return a row for each form at one size."""
    length = max(LEAST_LENGTH, min(5_000, ELEMENTS_PER_RUN // size))
    programs = {name: _program(name, size, dtype, length) for name in ("two_loop", "gram", "optax")}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, run in programs.items():
            start = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - start) / length)
    rows = []
    for form in ("two_loop", "gram"):
        ratios = np.asarray(seconds["optax"]) / np.asarray(seconds[form])
        spread = (float(np.median(ratios)), float(ratios.min()), float(ratios.max()))
        rows.append(Row(size, form, *spread, float(np.median(seconds[form]))))
    return rows


def errors(dtype: Any, condition: float) -> dict[str, float]:
    """Return the largest relative error of B g over a history of pairs from a quadratic of given condition."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((ORACLE_SIZE, ORACLE_SIZE)))[0]
    hessian = (basis * np.geomspace(1.0, condition, ORACLE_SIZE)) @ basis.T
    worst = {}
    for form in (limited_memory.two_loop, limited_memory.gram):
        history, pairs, largest = limited_memory.empty(jnp.zeros(ORACLE_SIZE, dtype), MEMORY), [], 0.0
        multiply = jax.jit(form)
        point = rng.standard_normal(ORACLE_SIZE)
        for _ in range(3 * MEMORY):
            step = -(hessian @ point) * rng.uniform(0.1, 1.0) / condition
            point = point + step
            s, y = jnp.asarray(step, dtype), jnp.asarray(hessian @ step, dtype)
            g = jnp.asarray(hessian @ point, dtype)
            history, product = multiply(history, s, y, g)
            pairs.append((np.asarray(s, np.longdouble), np.asarray(y, np.longdouble)))
            exact = _dense(pairs[-MEMORY:], np.asarray(g, np.longdouble))
            error = np.linalg.norm((np.asarray(product) - exact).astype(float)) / np.linalg.norm(exact.astype(float))
            largest = max(largest, float(error))
        worst[form.__name__] = largest
    return worst


def _program(name: str, size: int, dtype: Any, length: int) -> Callable[[], Any]:
    scales = jnp.linspace(1.0, 10.0, size, dtype=dtype)
    start = jnp.ones(size, dtype)

    def by_form(carry: Any, _: Any) -> tuple[Any, None]:
        history, x, before = carry
        s = x - before
        history, product = getattr(limited_memory, name)(history, s, scales * s, scales * x)
        return (history, x - 0.1 * product, x), None

    def by_optax(carry: Any, _: Any) -> tuple[Any, None]:
        state, x = carry
        updates, state = rival.update(scales * x, state, x)
        return (state, optax.apply_updates(x, optax.tree.scale(-0.1, updates))), None

    rival = optax.scale_by_lbfgs(MEMORY)
    first = (rival.init(start), start) if name == "optax" else (limited_memory.empty(start, MEMORY), start, 1.1 * start)
    body = by_optax if name == "optax" else by_form
    program = jax.jit(lambda carry: jax.lax.scan(body, carry, None, length=length)[0]).lower(first).compile()
    jax.block_until_ready(program(first))
    return lambda: jax.block_until_ready(program(first))


def _dense(pairs: list[Any], g: Any) -> Any:
    s, y = pairs[-1]
    matrix = np.eye(len(g), dtype=np.longdouble) * (s @ y) / (y @ y)
    for s, y in pairs:
        rho = 1 / (s @ y)
        left = np.eye(len(g), dtype=np.longdouble) - rho * np.outer(y, s)
        matrix = left.T @ matrix @ left + rho * np.outer(s, s)
    return matrix @ g


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables as Markdown.

    Args:
      arguments: of the command line; None means those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m jopt.bench directions", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of parameters")
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", options.precision == "float64")
    dtype = jnp.dtype(options.precision)

    print(
        f"one direction, m = {MEMORY}, {options.precision}, {jax.devices()[0].device_kind}; optax {optax.__version__}\n"
    )
    print("| n | form | time of optax / ours | least to largest | ours, microseconds |\n|---|---|---|---|---|")
    for size in options.sizes:
        for row in time_directions(size, dtype):
            spread = f"{row.least:.2f} to {row.largest:.2f}"
            print(f"| {row.size:,} | {row.form} | {row.ratio:.2f} | {spread} | {1e6 * row.seconds:,.1f} |", flush=True)
    print("\n| condition | error of two_loop | error of gram |\n|---|---|---|")
    for condition in (1e1, 1e3, 1e6):
        worst = errors(dtype, condition)
        print(f"| {condition:.0e} | {worst['two_loop']:.1e} | {worst['gram']:.1e} |")


if __name__ == "__main__":
    main()

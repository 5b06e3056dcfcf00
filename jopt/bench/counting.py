# SPDX-License-Identifier: Apache-2.0
"""Whether solvers count truly: an objective that counts on the host what is done with it, and the check of an entrant.

    x -> [value] -> f              one evaluation, with or without its gradient
    g <- [gradient] <- f           one gradient
    g' = [product] H v             one product, however H v is made: forward over reverse, or from a linearisation

The tags are identities with derivative rules of their own, so that a program that differentiates the objective calls
other tags than one that evaluates it. Each tag calls the host, which is slow: nothing is timed here.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import problems
from jopt.bench.entrants import Budget, Entrant, Fun
from jopt.bench.workers import Failure, Worker

ROSENBROCK = problems.rosenbrock()
"""What every solver is checked on."""

BUDGET = Budget(gtol=1e-6, maxiter=200)

LIMIT = 60.0
"""Seconds that the check of one solver may take."""


class Check(NamedTuple):
    """What a solver said of a solve, and what was counted.

    Attributes:
      solver: its name.
      nfev: evaluations it reports.
      evaluations: counted.
      nhev: products it reports.
      products: counted.
    """

    solver: str
    nfev: int
    evaluations: int
    nhev: int
    products: int

    @property
    def true(self) -> bool:
        """Whether both agree."""
        return (self.nfev, self.nhev) == (self.evaluations, self.products)

    def __str__(self) -> str:
        told, counted = f"{self.nfev} + {self.nhev}", f"{self.evaluations} + {self.products}"
        return f"{self.solver}: {told}" + ("" if self.true else f" reported, {counted} counted")


def counting(fun: Fun) -> tuple[Fun, Counter[str]]:
    """Return an objective that counts, and its counts by name: "values", "linearisations", "gradients", "products".

    An evaluation that a Hessian-vector product follows, or many of them, is a linearisation, not a value.

    Args:
      fun: `(n,) -> scalar`.
    """
    counts: Counter[str] = Counter()

    def tell(name: str, x: jax.Array) -> jax.Array:
        # The host is told of one entry, so that nothing is dropped as unused and a batch tells of each of its members.
        jax.debug.callback(lambda _: counts.update([name]), jnp.ravel(x)[0])
        return x

    @jax.custom_jvp
    def value(x: jax.Array) -> jax.Array:
        return tell("values", x)

    @value.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return tell("linearisations", primals[0]), tangents[0]

    @jax.custom_jvp
    def gradient(g: jax.Array) -> jax.Array:
        return tell("gradients", g)

    @gradient.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return primals[0], tell("products", tangents[0])

    @jax.custom_vjp
    def tagged(x: jax.Array) -> jax.Array:
        return value(x)

    tagged.defvjp(lambda x: (value(x), None), lambda _, g: (gradient(g),))
    return lambda x: fun(tagged(x)), counts


def check(
    name: str,
    entrant: Entrant,
    fun: Fun = ROSENBROCK.fun,
    start: Any = ROSENBROCK.starts[0],
    budget: Budget = BUDGET,
) -> Check:
    """Solve a small problem and compare what the solver reports with what was counted.

    Args:
      name: of the solver.
      entrant: the solver.
      fun: the objective, `(n,) -> scalar`.
      start: shape (n,).
      budget: what is asked for.
    """
    counted, counts = counting(fun)
    x0 = jnp.asarray(start)
    _, solve = entrant.build(counted, x0, budget)
    jax.effects_barrier()
    counts.clear()
    answer = solve(x0)
    jax.effects_barrier()
    return Check(name, int(answer.nfev), evaluations(counts), int(answer.nhev), counts["products"])


def evaluations(counts: Mapping[str, int]) -> int:
    """Return how many evaluations the counts of `counting` amount to.

    Who makes each product from scratch has one linearisation for each, which is part of the product. Any other
    linearisation evaluates the function, whether instead of a value or once more where the value is known.

    Args:
      counts: by name.

    Example:
      >>> evaluations({"values": 3, "linearisations": 2, "products": 2})
      3
      >>> evaluations({"values": 3, "linearisations": 2, "products": 5})
      5
    """
    values, linearisations = counts.get("values", 0), counts.get("linearisations", 0)
    part_of_products = values > 0 and linearisations == counts.get("products", 0)
    return values if part_of_products else values + linearisations


class Checker:
    """The side of `check_all` that runs in the process: answers names of solvers.

    Args:
      precision: "float64" or "float32".
      entrants: function of nothing that returns `Entrant`s by name.
    """

    def __init__(self, precision: str, entrants: Callable[[], dict[str, Entrant]]) -> None:
        warnings.simplefilter("ignore")  # this process is ours alone
        jax.config.update("jax_enable_x64", precision == "float64")
        self._entrants = entrants()

    def __call__(self, name: str) -> Check:
        """Return the check of a solver."""
        return check(name, self._entrants[name])


def check_all(
    names: Sequence[str],
    precision: str,
    entrants: Callable[[], dict[str, Entrant]],
    *,
    limit: float = LIMIT,
    report: Callable[[int, int, str], None] | None = None,
) -> dict[str, Check | Failure]:
    """Return the check of each solver by name, or what happened instead.

    Args:
      names: of solvers.
      precision: "float64" or "float32".
      entrants: function of nothing that returns `Entrant`s by name.
      limit: seconds for each.
      report: told of each as it begins.

    Raises:
      RuntimeError: if the process cannot start.
    """
    checks = {}
    with Worker(functools.partial(Checker, precision, entrants)) as worker:
        for i, name in enumerate(names):
            if report is not None:
                report(i, len(names), f"counts of {name}")
            checks[name] = worker.ask(name, limit)
    return checks


def told(checks: Mapping[str, Check | Failure]) -> str:
    """Return in a few lines whose counts are true; empty where none were checked."""
    true = [name for name, made in checks.items() if isinstance(made, Check) and made.true]
    false = [str(made) for made in checks.values() if isinstance(made, Check) and not made.true]
    failed = [f"{name}: {made.kind}" for name, made in checks.items() if isinstance(made, Failure)]
    parts = (
        ("evaluations and products checked against an objective that counts, and true", true),
        ("not true", false),
        ("could not be checked", failed),
    )
    return "\n".join(f"{what}: {', '.join(names)}" for what, names in parts if names)

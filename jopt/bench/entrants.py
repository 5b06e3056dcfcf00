# SPDX-License-Identifier: Apache-2.0
"""What it is to take part in a race of solvers: what is asked for, what is answered, how one is made ready.

An entrant's `build(fun, x0, budget)` returns the seconds it took to compile and a function that solves and waits for the
result. All that an entrant answers, it says in its own words; the race judges the point afresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jopt.linalg.box import Box

MEMORY = 10
"""Pairs kept by every limited-memory method: jopt's default."""


class Budget(NamedTuple):
    """What every entrant is asked for.

    Attributes:
      gtol: tolerance on |g|_inf.
      maxiter: iterations at most.
      bounds: of the variables; None where there are none.
    """

    gtol: float
    maxiter: int
    bounds: Box | None = None


class Answer(NamedTuple):
    """What a solve returned, in its own words; each an array or a number.

    Attributes:
      x: the point, shape (n,).
      claimed: whether the solver says that its test holds.
      nit: iterations.
      nfev: evaluations of the value, with or without gradient; -1 where the solver does not count.
      nhev: Hessian-vector products.
      code: the solver's status as an integer.
    """

    x: Any
    claimed: Any
    nit: Any
    nfev: Any
    nhev: Any = 0
    code: Any = 0


Fun = Callable[[jax.Array], jax.Array]
Solve = Callable[[jax.Array], Answer]


class Entrant(NamedTuple):
    """A solver that takes part.

    Attributes:
      package: the module it needs.
      build: `(fun, x0, budget) -> (seconds to compile, solve)`.
      word: from the status code to a word, for people.
    """

    package: str
    build: Callable[[Fun, jax.Array, Budget], tuple[float, Solve]]
    word: Callable[[int], str] = str


def compiled(make: Callable[[Fun, Budget], Solve]) -> Callable[[Fun, jax.Array, Budget], tuple[float, Solve]]:
    """Return the `build` of an entrant that runs in one program: `make(fun, budget)` is a pure function of x0."""

    def build(fun: Fun, x0: jax.Array, budget: Budget) -> tuple[float, Solve]:
        begin = time.perf_counter()
        program = jax.jit(make(fun, budget)).lower(x0).compile()
        seconds = time.perf_counter() - begin
        return seconds, lambda start: jax.block_until_ready(program(start))

    return build

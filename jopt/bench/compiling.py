# SPDX-License-Identifier: Apache-2.0
"""How long a solve takes to trace and compile, beside value and gradient of its objective.

Each turn traces, lowers and compiles the whole solve of a function that JAX has not seen, with its persistent cache off.
Nothing is run. `trace_s` and `compile_s` of a row are those of one compilation before the turns; before the first of them
the base is compiled for nothing, since a process that has compiled nothing yet takes longer.

    copies     of the objective in the program
    kernels    operations that the compiled program launches, those in its loops counted once
    traces     calls of the objective while the program was traced

A compiler's time grows with the number of kernels on small objectives and with the copies on large ones. The rows
"jax value_and_grad" and "jax value_and_grad, hvp" say what can be reached: a first-order method needs the one, a method
of second order the other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt import problems
from jopt.bench import rivals
from jopt.bench.entrants import Budget
from jopt.bench.marker import copies, marked
from jopt.bench.suites import Scope, Suite
from jopt.bench.turns import Contender, Heat, Ready, compiled
from jopt.problems import losses
from jopt.types import Params

LAYERS, QUICK_LAYERS = 24, 3
ROUNDS, QUICK_ROUNDS = 5, 2
"""Turns at most: each is a compilation of seconds."""

WIDTH = 32
SAMPLES = 64
VARIABLES = 10
CLASSES = 10
SEED = 0

BUDGET = Budget(gtol=1e-5, maxiter=1000)
"""What every solve is asked for; nothing is solved."""

RATE = 1e-2

FREE = frozenset({
    "after-all", "bitcast", "call", "conditional", "constant", "get-tuple-element", "parameter", "partition-id",
    "replica-id", "tuple", "while",
})  # fmt: skip
"""Instructions of a compiled program that launch nothing themselves."""

_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = .*?\s([a-z][a-z0-9-]*)\(")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) .*\{$")
_INNER = re.compile(r"(?:calls|to_apply|select|scatter)=%?([\w.-]+)")


class Problem(NamedTuple):
    """An objective and the description of its parameters.

    Attributes:
      fun: `x -> value`.
      shapes: `precision -> x`, a tree of descriptions.
    """

    fun: Callable[[Params], jax.Array]
    shapes: Callable[[str], Params]


def network(layers: int) -> Problem:
    """Return a classifier of so many layers, each written out, with a weight and a bias in each."""
    rng = np.random.default_rng(SEED)
    data, labels = rng.standard_normal((SAMPLES, WIDTH)), rng.integers(0, CLASSES, SAMPLES)

    def fun(x: Params) -> jax.Array:
        hidden = jnp.asarray(data, x[0][0].dtype)
        for weight, bias in x:
            hidden = jnp.tanh(hidden @ weight + bias)
        return jnp.mean(losses.cross_entropy(hidden[:, :CLASSES], jnp.asarray(labels, jnp.int32)))

    def shapes(precision: str) -> Params:
        shape = jax.ShapeDtypeStruct
        return [(shape((WIDTH, WIDTH), precision), shape((WIDTH,), precision)) for _ in range(layers)]

    return Problem(fun, shapes)


def rosenbrock() -> Problem:
    """Return Rosenbrock's chained function of ten variables."""
    return Problem(
        problems.rosenbrock(VARIABLES).fun,
        lambda precision: jax.ShapeDtypeStruct((VARIABLES,), precision),
    )


def logistic() -> Problem:
    """Return a logistic regression with a weight and an intercept."""
    rng = np.random.default_rng(SEED)
    data, labels = rng.standard_normal((SAMPLES, WIDTH)), rng.integers(0, 2, SAMPLES)

    def fun(x: Params) -> jax.Array:
        outputs = losses.linear(x, jnp.asarray(data, x["bias"].dtype))
        return jnp.mean(losses.binary_cross_entropy(outputs, jnp.asarray(labels, jnp.int32)))

    shape = jax.ShapeDtypeStruct
    return Problem(fun, lambda precision: {"weight": shape((WIDTH,), precision), "bias": shape((), precision)})


Make = Callable[[Callable[[Params], jax.Array]], Callable[[Params], Any]]
"""From an objective to the program whose compilation is timed."""


def _hvp(fun: Callable[[Params], jax.Array]) -> Callable[[Params], Any]:
    def program(x: Params) -> Any:
        (value, grad), product = jax.linearize(jax.value_and_grad(fun), x)
        return value, grad, product(grad)[1]

    return program


def _by_jopt(method: Callable[[], Any]) -> Make:
    return lambda fun: lambda x: jopt.minimize(fun, x, method=method(), gtol=BUDGET.gtol, maxiter=BUDGET.maxiter)


def _by_rival(make: Any) -> Make:
    return lambda fun: make(fun, BUDGET)


BASE = "jax value_and_grad"

OURS: dict[str, Make] = {
    BASE: jax.value_and_grad,
    "jax value_and_grad, hvp": _hvp,
    "jopt adam": _by_jopt(lambda: jopt.adam(RATE)),
    "jopt lbfgs": _by_jopt(lambda: "lbfgs"),
    "jopt trust-ncg": _by_jopt(lambda: "trust-ncg"),
    "jopt newton-cg": _by_jopt(lambda: "newton-cg"),
}
"""What needs no other package, by name; rivals are those of `rivals.MAKES`."""

QUICK = frozenset({BASE, "jopt adam", "jopt lbfgs", "optax lbfgs"})
"""Who takes part with `--quick`."""

DENSE = frozenset({"optimistix bfgs"})
"""Methods that keep a matrix: not for the network."""


def heats(scope: Scope) -> tuple[Heat, ...]:
    """Return the heats: one for each problem.

    Args:
      scope: what is asked for.
    """
    layers, rounds = (QUICK_LAYERS, QUICK_ROUNDS) if scope.quick else (LAYERS, ROUNDS)
    makes = OURS | {name: _by_rival(make) for name, (package, make) in rivals.MAKES.items() if rivals.usable(package)}
    cases = {f"network, {layers} layers": network(layers), "rosenbrock 10": rosenbrock(), "logistic": logistic()}
    if scope.quick:
        makes = {name: make for name, make in makes.items() if name in QUICK}
        del cases["logistic"]
    found = []
    for case, problem in cases.items():
        fit = {name: make for name, make in makes.items() if not (name in DENSE and case.startswith("network"))}
        found.append(_heat(case, problem, fit, scope.precision)._replace(rounds=rounds))
    return tuple(found)


def kernels(text: str) -> int:
    """Count the operations that a compiled program launches; those in its loops count once.

    Args:
      text: the program, as `compiled.as_text()` prints it.
    """
    inner, blocks, block = set(), {}, ""
    for line in text.splitlines():
        heading, instruction = _COMPUTATION.match(line), _INSTRUCTION.match(line)
        if heading:
            block = heading[1]
        elif instruction:
            blocks.setdefault(block, []).append(instruction[1])
            if instruction[1] != "call":
                inner.update(_INNER.findall(line))
    launched = [name for block, names in blocks.items() if block not in inner for name in names]
    return sum(name not in FREE for name in launched)


def _heat(case: str, problem: Problem, makes: dict[str, Make], precision: str) -> Heat:
    x = problem.shapes(precision)
    size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(x))
    warm_up = functools.cache(lambda: compiled(jax.value_and_grad(problem.fun), x))
    contenders = tuple(
        Contender(name, functools.partial(_prepared, make, problem, precision, warm_up)) for name, make in makes.items()
    )
    return Heat(case, size, "compilation", contenders)


def _prepared(make: Make, problem: Problem, precision: str, warm_up: Callable[[], Any]) -> Ready:
    warm_up()
    x = problem.shapes(precision)
    traces = []

    def fresh() -> Callable[[Params], jax.Array]:
        """Return the objective as a function that JAX has not seen."""

        def fun(x: Params) -> jax.Array:
            traces.append(1)
            return problem.fun(x)

        return fun

    def run() -> None:
        compiled(make(fresh()), x)

    made = compiled(make(fresh()), x)
    figures = {"traces": len(traces), "copies": copies(make(marked(problem.fun)), x)}
    ready = made.ready(run, **figures, kernels=kernels(made.program.as_text()))
    return ready._replace(repeats=1)


SUITE = Suite(
    "compile",
    "How long a solve takes to trace and compile, beside value and gradient of its objective.",
    heats,
    columns=("copies", "kernels", "traces"),
)

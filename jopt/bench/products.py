# SPDX-License-Identifier: Apache-2.0
"""Cost of a Hessian-vector product, beside that of value and gradient.

A run applies `PRODUCTS` products, or takes as many gradients, one after another in one compiled loop,

    z <- z0 + TINY A z          A z a product with the Hessian at a fixed point, or the gradient at z,

so that each waits for the last and z stays where it is. `jopt.curvature.hvp` linearises once before the loop, as in a
solver's inner iteration; the run pays for that too. The base is `jax.value_and_grad`: a ratio of 0.5 is a product in the
time of two gradients. "jax jvp of grad" does without the linearisation: it evaluates the gradient again for each product,
at a point that moves with z, or the compiler would take it out of the loop.

    linearisations    copies of the objective in the program of a run, outside its loop or in it
    flops             of one product, or of value and gradient, as the compiler counts them; the linear part alone for
                      what is linearised once
    gradients         these flops over those of value and gradient
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jopt import curvature
from jopt.bench.marker import copies, marked
from jopt.bench.suites import Scope, Suite
from jopt.bench.turns import Contender, Heat, Ready, compiled
from jopt.problems import losses
from jopt.types import Params

PRODUCTS = 20
TINY = 1e-7

L2 = 1e-3
SEED = 0


class Sizes(NamedTuple):
    """How large the learning problems are.

    Attributes:
      samples: rows of data.
      features: columns of data.
      width: of each hidden layer.
      classes: labels.
    """

    samples: int
    features: int
    width: int
    classes: int


FULL = Sizes(512, 256, 512, 10)
QUICK = Sizes(128, 64, 128, 10)
ROSENBROCK = (1_000, 100_000)
QUICK_ROSENBROCK = (1_000,)


class Problem(NamedTuple):
    """An objective as a loss of a model.

    Attributes:
      model: `(x, data) -> outputs`.
      loss: `(outputs, data) -> value`, convex.
      start: `precision -> x`.
      data: `precision -> data`, a tree.
      size: number of parameters.
    """

    model: Callable[[Params, Any], Any]
    loss: Callable[[Any, Any], jax.Array]
    start: Callable[[str], Params]
    data: Callable[[str], Any]
    size: int

    def fun(self, x: Params, data: Any) -> jax.Array:
        """Return the value."""
        return self.loss(self.model(x, data), data)


def network(sizes: Sizes) -> Problem:
    """Return a classifier with three layers of weights and tanh between them, on random data."""
    widths = (sizes.features, sizes.width, sizes.width, sizes.classes)

    def model(x: Params, data: Any) -> jax.Array:
        hidden = data[0]
        for i, (weight, bias) in enumerate(x):
            hidden = hidden @ weight + bias
            hidden = hidden if i == len(x) - 1 else jnp.tanh(hidden)
        return hidden

    def start(precision: str) -> Params:
        rng = np.random.default_rng(SEED)
        layers = [(rng.standard_normal((m, n)) / m**0.5, np.zeros(n)) for m, n in itertools.pairwise(widths)]
        return jax.tree.map(lambda a: jnp.asarray(a, precision), layers)

    size = sum((m + 1) * n for m, n in itertools.pairwise(widths))
    return Problem(model, _cross_entropy, start, functools.partial(_data, sizes), size)


def logistic(sizes: Sizes) -> Problem:
    """Return a multinomial logistic regression on random data."""

    def start(precision: str) -> Params:
        rng = np.random.default_rng(SEED)
        return jnp.asarray(rng.standard_normal((sizes.features, sizes.classes)) / sizes.features, precision)

    size = sizes.features * sizes.classes
    return Problem(lambda x, data: data[0] @ x, _cross_entropy, start, functools.partial(_data, sizes), size)


def rosenbrock(size: int) -> Problem:
    """Return Rosenbrock's chained function as a sum of squares."""

    def model(x: Params, data: Any) -> Any:  # noqa: ARG001 - it has none
        return 10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]

    def loss(outputs: Any, data: Any) -> jax.Array:  # noqa: ARG001 - likewise
        return sum((jnp.sum(r**2) for r in outputs), jnp.zeros((), outputs[0].dtype))

    def start(precision: str) -> Params:
        return jnp.asarray(np.tile([-1.2, 1.0], size)[:size], precision)

    return Problem(model, loss, start, lambda precision: (), size)  # noqa: ARG005 - there is none


Products = Callable[[Problem, Params, Any], Callable[[Params], Params]]
"""`(problem, x, data) -> operator`: what is done once, and what is done in each trip."""


def _hessian(mode: str) -> Products:
    return lambda problem, x, data: curvature.hvp(_counted(problem), x, (data,), mode=mode)


def _gauss_newton(problem: Problem, x: Params, data: Any) -> Callable[[Params], Params]:
    loss = marked(lambda outputs: problem.loss(outputs, data))
    return curvature.gauss_newton(lambda x: problem.model(x, data), loss, x)


def _value_and_grad(problem: Problem, x: Params, data: Any) -> Callable[[Params], Params]:  # noqa: ARG001 - at z
    def apply(z: Params) -> Params:
        value, grad = jax.value_and_grad(_counted(problem))(z, data)
        return jax.tree.map(lambda g: g + value * jnp.asarray(TINY, g.dtype), grad)  # the value is wanted, too

    return apply


def _jvp_of_grad(problem: Problem, x: Params, data: Any) -> Callable[[Params], Params]:
    gradient = jax.grad(_counted(problem))

    def apply(z: Params) -> Params:
        point = jax.tree.map(lambda x, z: x + jnp.asarray(TINY, x.dtype) * z, x, z)
        return jax.jvp(lambda x: gradient(x, data), (point,), (z,))[1]

    return apply


BASE = "jax value_and_grad"

PRODUCERS: dict[str, Products] = {
    BASE: _value_and_grad,
    "jopt hvp": _hessian("forward-over-reverse"),
    "jopt hvp reverse-over-forward": _hessian("reverse-over-forward"),
    "jopt hvp reverse-over-reverse": _hessian("reverse-over-reverse"),
    "jopt gauss_newton": _gauss_newton,
    "jax jvp of grad": _jvp_of_grad,
}
"""Who takes part, by name. "jopt hvp" is forward over reverse, jopt's default."""


def heats(scope: Scope) -> tuple[Heat, ...]:
    """Return the heats: one for each problem.

    Args:
      scope: what is asked for.
    """
    sizes, chains = (QUICK, QUICK_ROSENBROCK) if scope.quick else (FULL, ROSENBROCK)
    problems = {"network": network(sizes), "logistic": logistic(sizes)}
    problems |= {f"rosenbrock {size:,}": rosenbrock(size) for size in chains}
    return tuple(_heat(case, problem, scope.precision) for case, problem in problems.items())


def _heat(case: str, problem: Problem, precision: str) -> Heat:
    def flops_of_base() -> float | None:
        return _flops(_value_and_grad, problem, problem.start(precision), problem.data(precision))

    base = functools.cache(flops_of_base)
    contenders = tuple(
        Contender(name, functools.partial(_prepared, products, problem, precision, base))
        for name, products in PRODUCERS.items()
    )
    return Heat(case, problem.size, "product", contenders, PRODUCTS)


def _prepared(products: Products, problem: Problem, precision: str, base: Callable[[], float | None]) -> Ready:
    x, data = problem.start(precision), problem.data(precision)

    def run(x: Params, data: Any) -> Params:
        apply = products(problem, x, data)

        def trip(_: jax.Array, z: Params) -> Params:
            return jax.tree.map(lambda x, a: x + jnp.asarray(TINY, x.dtype) * a, x, apply(z))

        return jax.lax.fori_loop(0, PRODUCTS, trip, x)

    flops, flops_of_base = _flops(products, problem, x, data), base()
    figures = {"linearisations": copies(run, x, data)}
    if flops is not None and flops_of_base is not None:
        figures |= {"flops": flops, "gradients": flops / flops_of_base}
    made = compiled(run, x, data)
    return made.ready(lambda: made.program(x, data), **figures)


def _flops(products: Products, problem: Problem, x: Params, data: Any) -> float | None:
    """Return the flops of one product without what is done once, None where the compiler does not tell."""
    once, constants = _linear_part(products, problem, x, data)
    try:
        told: Any = jax.jit(once).lower(constants, x).compile().cost_analysis()
        told = told[0] if isinstance(told, list) else told
        return float(told["flops"])
    except (KeyError, NotImplementedError, TypeError):
        return None


def _linear_part(products: Products, problem: Problem, x: Params, data: Any) -> tuple[Callable[..., Any], list[Any]]:
    """Return what is done in each trip as a function of what was kept and of the vector, with what was kept."""
    operator = products(problem, x, data)
    closed = jax.make_jaxpr(operator)(x)

    def once(kept: list[Any], z: Params) -> Any:
        return jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, kept))(*jax.tree.leaves(z))

    return once, closed.consts


def _counted(problem: Problem) -> Callable[..., jax.Array]:
    return marked(problem.fun)


def _cross_entropy(outputs: Any, data: Any) -> jax.Array:
    return jnp.mean(losses.cross_entropy(outputs, data[1]))


def _data(sizes: Sizes, precision: str) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(SEED + 1)
    features = rng.standard_normal((sizes.samples, sizes.features))
    return jnp.asarray(features, precision), jnp.asarray(rng.integers(0, sizes.classes, sizes.samples), jnp.int32)


SUITE = Suite(
    "hvp",
    "Cost of a Hessian-vector product, beside value and gradient.",
    heats,
    columns=("linearisations", "gradients"),
)

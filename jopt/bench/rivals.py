# SPDX-License-Identifier: Apache-2.0
"""What takes part in the CUTEst benchmark: jopt's methods by name, and rivals from other packages.

An entrant's `build(fun, x0, budget)` returns the seconds it took to compile and a function that solves and waits for the
result. Each is asked for |g|_inf <= gtol within so many iterations. Where an entrant has another test of its own, that is
set so tight that it does not end a solve early, and its claim of success is a claim of that other test:

- optimistix stops on Cauchy's criterion (value and point move by less than a tolerance), jaxopt on the 2-norm of the
  gradient, which is never the smaller one; SciPy's Newton-CG on the step, SciPy's trust-ncg on the 2-norm.

Evaluations are what each counts itself: jopt and SciPy return them; optax's search reports its steps, one evaluation
each, to which the start is added; optimistix evaluates once a step; jaxopt keeps a counter. jopt, optax, optimistix and
jaxopt run in one compiled program; SciPy's loops run in Python over a compiled value-and-gradient and a compiled
Hessian-vector product (forward over reverse), so its time is that of calls into the device, too.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt.linalg.box import Box
from jopt.solvers.methods import METHODS

MEMORY = 10
"""Pairs kept by every limited-memory method: jopt's default."""

CAUCHY = 1e-10
"""optimistix's rtol and atol: tight enough that its own test seldom ends a solve before |g| is small."""

STEP = 1e-10
"""SciPy Newton-CG's xtol, on the mean size of a step; for the same reason."""

SEARCH_TRIALS = 20
"""Evaluations per iteration that SciPy's L-BFGS-B may spend: the most its line search makes."""


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


def by_jopt(factory: Callable[[], Any]) -> Entrant:
    """Return the entrant for a method of `jopt.minimize`.

    Args:
      factory: makes the method; called for each problem.
    """

    def make(fun: Fun, budget: Budget) -> Solve:
        solver = factory()

        def solve(x0: jax.Array) -> Answer:
            limits = {"gtol": budget.gtol, "maxiter": budget.maxiter, "bounds": budget.bounds}
            found = jopt.minimize(fun, x0, method=solver, **limits)
            return Answer(found.x, found.success, found.nit, found.nfev, found.nhev, found.status)

        return solve

    return Entrant("jopt", compiled(make), lambda code: jopt.Status(code).name)


def _optax_lbfgs(fun: Fun, budget: Budget) -> Solve:
    import optax

    made = optax.lbfgs(memory_size=MEMORY)
    value_and_grad = optax.value_and_grad_from_state(fun)

    def solve(x0: jax.Array) -> Answer:
        def trip(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            x, state, _, nit, nfev = carry
            value, grad = value_and_grad(x, state=state)
            updates, state = made.update(grad, state, x, value=value, grad=grad, value_fn=fun)
            size = jnp.max(jnp.abs(optax.tree.get(state, "grad")))
            trials = jnp.asarray(optax.tree.get(state, "num_linesearch_steps"), jnp.int32)
            return optax.apply_updates(x, updates), state, size, nit + 1, nfev + trials

        def go_on(carry: tuple[Any, ...]) -> jax.Array:
            return (carry[2] > budget.gtol) & (carry[3] < budget.maxiter)

        zero, one = jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32)
        first = (x0, made.init(x0), jnp.full((), jnp.inf, x0.dtype), zero, one)
        x, _, size, nit, nfev = jax.lax.while_loop(go_on, trip, first)
        return Answer(x, size <= budget.gtol, nit, nfev)

    return solve


def _optimistix(name: str) -> Callable[[Fun, Budget], Solve]:
    def make(fun: Fun, budget: Budget) -> Solve:
        optimistix = importlib.import_module("optimistix")

        solver = getattr(optimistix, name)(rtol=CAUCHY, atol=CAUCHY)

        def solve(x0: jax.Array) -> Answer:
            found = optimistix.minimise(lambda x, _: fun(x), solver, x0, max_steps=budget.maxiter, throw=False)
            claimed = found.result == optimistix.RESULTS.successful
            steps = found.stats["num_steps"]
            return Answer(found.value, claimed, found.state.num_accepted_steps, steps)

        return solve

    return make


def _jaxopt_lbfgs(fun: Fun, budget: Budget) -> Solve:
    jaxopt = importlib.import_module("jaxopt")

    solver = jaxopt.LBFGS(
        fun, maxiter=budget.maxiter, tol=budget.gtol, history_size=MEMORY, linesearch="zoom", jit=True
    )

    def solve(x0: jax.Array) -> Answer:
        x, state = solver.run(x0)
        return Answer(x, state.error <= budget.gtol, state.iter_num, state.num_fun_eval)

    return solve


def _jaxopt_lbfgsb(fun: Fun, budget: Budget) -> Solve:
    jaxopt = importlib.import_module("jaxopt")

    solver = jaxopt.LBFGSB(fun, maxiter=budget.maxiter, tol=budget.gtol, history_size=MEMORY, jit=True)

    def solve(x0: jax.Array) -> Answer:
        x, state = solver.run(x0, bounds=tuple(budget.bounds or ()))
        return Answer(x, state.error <= budget.gtol, state.iter_num, state.num_fun_eval)

    return solve


def _scipy(
    method: str, options: Callable[[Budget], dict[str, Any]], *, products: bool = False
) -> Callable[[Fun, jax.Array, Budget], tuple[float, Solve]]:
    """Return the `build` of a SciPy method, with Hessian-vector products where it takes them."""

    def build(fun: Fun, x0: jax.Array, budget: Budget) -> tuple[float, Solve]:
        from scipy import optimize

        begin = time.perf_counter()
        value_and_grad = jax.jit(jax.value_and_grad(fun)).lower(x0).compile()
        times_hessian = jax.jit(lambda x, v: jax.jvp(jax.grad(fun), (x,), (v,))[1])
        program: Any = times_hessian.lower(x0, x0).compile() if products else None
        seconds = time.perf_counter() - begin
        counts = {"hvp": 0}

        def both(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, grad = value_and_grad(np.asarray(x, x0.dtype))
            return float(value), np.asarray(grad, np.float64)  # SciPy's loops are in double precision

        def product(x: np.ndarray, v: np.ndarray) -> np.ndarray:
            counts["hvp"] += 1
            return np.asarray(program(np.asarray(x, x0.dtype), np.asarray(v, x0.dtype)), np.float64)

        def solve(start: jax.Array) -> Answer:
            counts["hvp"] = 0
            more: dict[str, Any] = {"hessp": product} if products else {}
            if budget.bounds is not None:
                more["bounds"] = np.asarray(budget.bounds, np.float64).T
            asked = {"maxiter": budget.maxiter, **options(budget)}
            found: Any = optimize.minimize(both, np.asarray(start), jac=True, method=method, options=asked, **more)
            x = jnp.asarray(np.asarray(found.x, x0.dtype))
            return Answer(x, bool(found.success), found.nit, found.nfev, counts["hvp"], found.status)

        return seconds, solve

    return build


def _lbfgsb_options(budget: Budget) -> dict[str, Any]:
    most = SEARCH_TRIALS * budget.maxiter
    return {"ftol": 0.0, "gtol": budget.gtol, "maxcor": MEMORY, "maxfun": most}


def _tnc_options(budget: Budget) -> dict[str, Any]:
    return {"gtol": budget.gtol, "ftol": 0.0, "xtol": 0.0, "maxfun": SEARCH_TRIALS * budget.maxiter}


RIVALS = {
    "optax-lbfgs": Entrant("optax", compiled(_optax_lbfgs)),
    "optimistix-lbfgs": Entrant("optimistix", compiled(_optimistix("LBFGS"))),
    "optimistix-bfgs": Entrant("optimistix", compiled(_optimistix("BFGS"))),
    "jaxopt-lbfgs": Entrant("jaxopt", compiled(_jaxopt_lbfgs)),
    "scipy-lbfgsb": Entrant("scipy", _scipy("L-BFGS-B", _lbfgsb_options)),
    "scipy-trust-ncg": Entrant("scipy", _scipy("trust-ncg", lambda b: {"gtol": b.gtol}, products=True)),
    "scipy-newton-cg": Entrant("scipy", _scipy("Newton-CG", lambda _: {"xtol": STEP}, products=True)),
}
"""The rivals by name, whether installed or not."""

BOUNDED = {
    "scipy-lbfgsb": RIVALS["scipy-lbfgsb"],
    "scipy-tnc": Entrant("scipy", _scipy("TNC", _tnc_options)),
    "jaxopt-lbfgsb": Entrant("jaxopt", compiled(_jaxopt_lbfgsb)),
}
"""Those that take bounds."""

MAKE_OPTAX = _optax_lbfgs
"""optax's loop as `make(fun, budget) -> solve`, a pure function of x0: for use under `jax.vmap`."""


def usable(package: str) -> bool:
    """Whether a package can be imported; an old one may be installed and broken by a new JAX."""
    if importlib.util.find_spec(package) is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module(package)
        except Exception:
            return False
    return True


def entrants() -> dict[str, Entrant]:
    """Return all that can take part here: every method of jopt as `jopt-NAME`, then the rivals that are installed."""
    ours = {f"jopt-{name}": by_jopt(factory) for name, factory in METHODS.items()}
    return ours | {name: rival for name, rival in RIVALS.items() if usable(rival.package)}


def bounded_entrants() -> dict[str, Entrant]:
    """Return all that can take part where there are bounds."""
    ours = {f"jopt-{name}": by_jopt(factory) for name, factory in METHODS.items() if factory().bounded}
    return ours | {name: rival for name, rival in BOUNDED.items() if usable(rival.package)}

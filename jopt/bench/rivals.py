# SPDX-License-Identifier: Apache-2.0
"""What takes part in the races of solvers: jopt's methods by name, and rivals from other packages.

Each is asked for |g|_inf <= gtol within so many iterations. Where an entrant has another test of its own, that is set so
tight that it does not end a solve early, and its claim of success is a claim of that other test:

- optimistix stops on Cauchy's criterion (value and point move by less than a tolerance), jaxopt on the 2-norm of the
  gradient, which is never the smaller one; SciPy's Newton-CG on the step, SciPy's trust-ncg on the 2-norm; torch's test is ours.

Evaluations are what each counts itself: jopt, SciPy and torch return them; optax's search reports its steps, one
evaluation each, to which the start is added; optimistix evaluates once a step; jaxopt keeps a counter.
`jopt.bench.counting` checks them all. jopt, optax, optimistix and jaxopt run in one compiled program; the loops of SciPy and
torch run on the host (`jopt.bench.host_rivals`).
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import jopt
from jopt import tree
from jopt.bench.entrants import MEMORY, Answer, Budget, Entrant, Fun, Solve, compiled
from jopt.bench.host_rivals import STEP, by_scipy, by_torch, lbfgsb_options, tnc_options
from jopt.solvers.methods import METHODS

CAUCHY = 1e-10
"""optimistix's rtol and atol: tight enough that its own test seldom ends a solve before |g| is small."""


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
    # The loop of https://optax.readthedocs.io/en/stable/_collections/examples/lbfgs.html.
    import optax

    made = optax.lbfgs(memory_size=MEMORY)
    value_and_grad = optax.value_and_grad_from_state(fun)

    def solve(x0: jax.Array) -> Answer:
        def trip(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            x, state, _, nit, nfev = carry
            value, grad = value_and_grad(x, state=state)
            updates, state = made.update(grad, state, x, value=value, grad=grad, value_fn=fun)
            size = tree.max_abs(optax.tree.get(state, "grad"))
            trials = jnp.asarray(optax.tree.get(state, "num_linesearch_steps"), jnp.int32)
            return optax.apply_updates(x, updates), state, size, nit + 1, nfev + trials

        def go_on(carry: tuple[Any, ...]) -> jax.Array:
            return (carry[2] > budget.gtol) & (carry[3] < budget.maxiter)

        zero, one = jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32)
        first = (x0, made.init(x0), jnp.full((), jnp.inf, tree.scalar_dtype(x0)), zero, one)
        x, _, size, nit, nfev = jax.lax.while_loop(go_on, trip, first)
        return Answer(x, size <= budget.gtol, nit, nfev)

    return solve


def _optimistix(name: str) -> Callable[[Fun, Budget], Solve]:
    # As https://docs.kidger.site/optimistix/api/minimise/ says; without throw, running out of steps is a result.
    def make(fun: Fun, budget: Budget) -> Solve:
        optimistix = importlib.import_module("optimistix")

        solver = getattr(optimistix, name)(rtol=CAUCHY, atol=CAUCHY)

        def solve(x0: jax.Array) -> Answer:
            found = optimistix.minimise(lambda x, _: fun(x), solver, x0, max_steps=budget.maxiter, throw=False)
            claimed = found.result == optimistix.RESULTS.successful
            steps = found.stats["num_steps"]
            accepted = getattr(found.state, "num_accepted_steps", -1)  # nonlinear CG does not count them
            return Answer(found.value, claimed, accepted, steps)

        return solve

    return make


def _jaxopt(name: str, **settings: Any) -> Callable[[Fun, Budget], Solve]:
    # As https://jaxopt.github.io/stable/unconstrained.html and .../constrained.html say.
    def make(fun: Fun, budget: Budget) -> Solve:
        jaxopt = importlib.import_module("jaxopt")
        asked = {"maxiter": budget.maxiter, "tol": budget.gtol, "history_size": MEMORY}
        solver = getattr(jaxopt, name)(fun, jit=True, **asked, **settings)
        bounds = {} if budget.bounds is None else {"bounds": tuple(budget.bounds)}

        def solve(x0: jax.Array) -> Answer:
            x, state = solver.run(x0, **bounds)
            return Answer(x, state.error <= budget.gtol, state.iter_num, state.num_fun_eval)

        return solve

    return make


MAKES = {
    "optax lbfgs": ("optax", _optax_lbfgs),
    "optimistix bfgs": ("optimistix", _optimistix("BFGS")),
    "optimistix lbfgs": ("optimistix", _optimistix("LBFGS")),
    "jaxopt lbfgs": ("jaxopt", _jaxopt("LBFGS", linesearch="zoom")),
}
"""Loops that are one program, as a package and `make(fun, budget) -> solve`, a pure function of x0, also for `jax.vmap`."""

RIVALS = {name.replace(" ", "-"): Entrant(package, compiled(make)) for name, (package, make) in MAKES.items()} | {
    "optimistix-nonlinear-cg": Entrant("optimistix", compiled(_optimistix("NonlinearCG"))),
    "scipy-lbfgsb": Entrant("scipy", by_scipy("L-BFGS-B", lbfgsb_options)),
    "scipy-trust-ncg": Entrant("scipy", by_scipy("trust-ncg", lambda b: {"gtol": b.gtol}, products=True)),
    "scipy-newton-cg": Entrant("scipy", by_scipy("Newton-CG", lambda _: {"xtol": STEP}, products=True)),
    "torch-lbfgs": Entrant("torch", by_torch),
}
"""The rivals by name, whether installed or not."""

BOUNDED = {
    "scipy-lbfgsb": RIVALS["scipy-lbfgsb"],
    "scipy-tnc": Entrant("scipy", by_scipy("TNC", tnc_options)),
    "jaxopt-lbfgsb": Entrant("jaxopt", compiled(_jaxopt("LBFGSB"))),
}
"""Those that take bounds."""


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


def torch_device() -> str:
    """Return where torch runs beside JAX: "cpu" or "cuda", as JAX does; empty where it cannot."""
    backend = jax.default_backend()
    if backend == "gpu" and importlib.import_module("torch").cuda.is_available():
        return "cuda"
    return "cpu" if backend == "cpu" else ""


def entrants() -> dict[str, Entrant]:
    """Return all that can take part here: every method of jopt as `jopt-NAME`, then the rivals that are installed."""
    ours = {f"jopt-{name}": by_jopt(factory) for name, factory in METHODS.items()}
    return ours | {name: rival for name, rival in RIVALS.items() if usable(rival.package)}


def bounded_entrants() -> dict[str, Entrant]:
    """Return all that can take part where there are bounds."""
    ours = {f"jopt-{name}": by_jopt(factory) for name, factory in METHODS.items() if factory().bounded}
    return ours | {name: rival for name, rival in BOUNDED.items() if usable(rival.package)}

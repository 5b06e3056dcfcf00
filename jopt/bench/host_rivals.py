# SPDX-License-Identifier: Apache-2.0
"""Rivals whose loops run on the host, over compiled derivatives: SciPy's and torch's.

They call a compiled value-and-gradient, and where they take products a compiled Hessian-vector product (forward over
reverse), so that their time is that of calls into the device, too.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jopt.bench.entrants import MEMORY, Answer, Budget, Fun, Solve

SEARCH_TRIALS = 20
"""Evaluations per iteration that L-BFGS-B and torch may spend: the most that SciPy's line search makes."""

STEP = 1e-10
"""SciPy Newton-CG's xtol, on the mean size of a step: so tight that it seldom ends a solve before |g| is small."""


def by_scipy(
    method: str, options: Callable[[Budget], dict[str, Any]], *, products: bool = False
) -> Callable[[Fun, jax.Array, Budget], tuple[float, Solve]]:
    """Return the `build` of a SciPy method.

    Args:
      method: of `scipy.optimize.minimize`.
      options: of the method, for a budget.
      products: whether it takes Hessian-vector products.
    """

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


def lbfgsb_options(budget: Budget) -> dict[str, Any]:
    """Return the options of L-BFGS-B: the gradient alone ends it."""
    most = SEARCH_TRIALS * budget.maxiter
    return {"ftol": 0.0, "gtol": budget.gtol, "maxcor": MEMORY, "maxfun": most}


def tnc_options(budget: Budget) -> dict[str, Any]:
    """Return the options of TNC: the gradient alone ends it."""
    return {"gtol": budget.gtol, "ftol": 0.0, "xtol": 0.0, "maxfun": SEARCH_TRIALS * budget.maxiter}


def by_torch(fun: Fun, x0: jax.Array, budget: Budget) -> tuple[float, Solve]:
    """Build torch's L-BFGS with its Wolfe search, over a closure, as its page advises; tensors share JAX's memory.

    Its test of the gradient is ours, on the largest entry; that of the change is switched off.

    Args:
      fun: the objective.
      x0: the start.
      budget: what is asked for.

    Returns:
      The seconds to compile, and the solve.

    Reference:
      https://docs.pytorch.org/docs/stable/generated/torch.optim.LBFGS.html.
    """
    torch = importlib.import_module("torch")
    begin = time.perf_counter()
    program = jax.jit(jax.value_and_grad(fun)).lower(x0).compile()
    seconds = time.perf_counter() - begin
    limits = {"max_iter": budget.maxiter, "max_eval": SEARCH_TRIALS * budget.maxiter}
    tests = {"tolerance_grad": budget.gtol, "tolerance_change": 0.0}

    def solve(start: jax.Array) -> Answer:
        x = torch.from_dlpack(start).clone().requires_grad_()
        made = torch.optim.LBFGS([x], history_size=MEMORY, line_search_fn="strong_wolfe", **limits, **tests)

        def both() -> tuple[float, jax.Array]:
            value, grad = program(jnp.from_dlpack(x.detach()))
            return float(value), grad  # waits, so that torch may change x again

        def closure() -> float:
            value, grad = both()
            x.grad = torch.from_dlpack(grad)
            return value

        made.step(closure)
        spent = made.state[x]
        # The last evaluation need not be that of the point returned: one more tells what is claimed.
        claimed = bool(jnp.max(jnp.abs(both()[1])) <= budget.gtol)
        found = jnp.array(np.asarray(x.detach().cpu()))
        return Answer(found, claimed, spent["n_iter"], spent["func_evals"] + 1)

    return seconds, solve

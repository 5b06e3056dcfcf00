# SPDX-License-Identifier: Apache-2.0
"""Minimise a function of a pytree, read the result, and see what happens when it cannot be done."""

import jax
import jax.numpy as jnp

import jopt


def rosenbrock(params):
    """Return Rosenbrock's function of a dict with the entries x and y."""
    x, y = params["x"], params["y"]
    return (1.0 - x) ** 2 + 100.0 * (y - x**2) ** 2


start = {"x": -1.2, "y": 1.0}

# By name, by solver, or by any transformation whose updates are added as they stand.
for method in ("lbfgs", jopt.lbfgs(memory=5, search=jopt.linesearch.hager_zhang()), jopt.adam(2e-2)):
    result = jopt.minimize(rosenbrock, start, method=method, gtol=1e-3, maxiter=5000)
    print(f"{method}\n  {int(result.nfev)} evaluations, f = {float(result.fun):.1e}, {result.message}\n")
    assert result.success
    assert abs(float(result.x["x"]) - 1.0) < 1e-2

# A failure is a status, with the best point seen and a sentence that says what to try.
result = jopt.minimize(rosenbrock, start, maxiter=5)
print(result.message)
assert not result.success
assert jopt.Status(int(result.status)) is jopt.Status.MAX_ITERATIONS

# The whole solve is one pure function: jit it, batch it. Every lane has its own status.
starts = {"x": jnp.linspace(-2.0, 2.0, 5), "y": jnp.zeros(5)}
batch = jax.jit(jax.vmap(lambda s: jopt.minimize(rosenbrock, s, gtol=1e-3)))(starts)
print(batch.x["x"], batch.success)
assert batch.success.all()

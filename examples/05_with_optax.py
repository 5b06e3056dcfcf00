# SPDX-License-Identifier: Apache-2.0
"""jopt's transformations inside optax's wrappers, and optax's inside jopt's chain and `minimize`."""

import jax
import jax.numpy as jnp
import optax

import jopt


def fun(params):
    """Return a badly scaled quadratic of two leaves."""
    return jnp.sum((params["w"] - 1.0) ** 2) + 100.0 * jnp.sum((params["b"] + 2.0) ** 2)


start = {"w": jnp.zeros(3), "b": jnp.zeros(2)}

# optax's combinators around jopt's stages: another optimizer for each group of parameters, averages over two steps.
groups = optax.partition({"fast": jopt.adam(1e-1), "slow": jopt.sgd(2e-3, momentum=0.5)}, {"w": "fast", "b": "slow"})
optimizer = optax.apply_if_finite(groups, max_consecutive_errors=3)
params, state = start, optimizer.init(start)
update = jax.jit(optimizer.update)
for _ in range(500):
    updates, state = update(jax.grad(fun)(params), state, params)
    params = optax.apply_updates(params, updates)
print("partition of jopt's:", params)
assert fun(params) < 1e-3

# optax's stages inside jopt's chain, and the chain as a method.
chained = jopt.chain(optax.clip(10.0), optax.scale_by_adam(), jopt.scale_by_learning_rate(5e-2))
result = jopt.minimize(fun, start, method=chained, gtol=1e-2, maxiter=5000)
print("chain with optax's:", result.message, f"{int(result.nfev)} evaluations")
assert result.success

# Any of them is also a direction: jopt searches along it and guards it, where a fixed rate would have to be tuned.
solver = jopt.descent(optax.scale_by_rms(), jopt.linesearch.strong_wolfe())
result = jopt.minimize(fun, start, method=solver, gtol=1e-2)
print("optax's direction with a search:", result.message, f"{int(result.nfev)} evaluations")
assert result.success

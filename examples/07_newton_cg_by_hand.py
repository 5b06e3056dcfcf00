# SPDX-License-Identifier: Apache-2.0
"""Truncated Newton in a loop written by hand: the direction gets its products with the Hessian as the extra `hvp`."""

import jax
import jax.numpy as jnp

import jopt


def fun(x):
    """Return a double well in each coordinate, coupled to its neighbour: many saddles, few minima."""
    return jnp.sum(0.25 * x**4 - 0.5 * x**2) + 0.1 * jnp.sum((x[1:] - x[:-1]) ** 2)


direction = jopt.scale_by_newton_cg(forcing="eisenstat-walker-2")
optimizer = jopt.chain(
    newton=direction,
    search=jopt.scale_by_line_search(jopt.linesearch.backtracking(), first_trial=jopt.linesearch.constant(1.0)),
)


@jax.jit
def step(x, state):
    """Make one iteration; value, gradient and products come from one linearisation at x."""
    here = jopt.curvature.expansion(fun, x)
    updates, state = optimizer.update(here.grad, state, x, value=here.value, grad=here.grad, value_fn=fun, hvp=here.hvp)
    return jopt.apply_updates(x, updates), state, here.value, jnp.max(jnp.abs(here.grad))


x = 1e-3 * jnp.sin(jnp.arange(20.0))  # beside the saddle at zero, where the gradient is small and no help
state = optimizer.init(x)
for i in range(30):
    x, state, value, grad_norm = step(x, state)
    newton = state["newton"]
    print(
        f"iteration {i:2d}  value {float(value): .6f}  |g| {float(grad_norm):.1e}  products {int(newton.nhev):3d}  "
        f"curvature {float(newton.curvature): .2f}"
    )
    if grad_norm < 1e-5:
        break

assert grad_norm < 1e-5
assert jnp.linalg.eigvalsh(jax.hessian(fun)(x))[0] > 0, "a minimum, not a saddle"

# The same method as a solver: one flat loop, one copy of the objective, products counted.
result = jopt.minimize(fun, 1e-3 * jnp.sin(jnp.arange(20.0)), method="newton-cg", gtol=1e-5)
print(f"minimize: {int(result.nit)} iterations, {int(result.nfev)} evaluations, {int(result.nhev)} products")
assert result.success
assert result.fun < -3.0

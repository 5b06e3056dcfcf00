# SPDX-License-Identifier: Apache-2.0
"""L-BFGS with a Wolfe search as an ordinary transformation, in a loop written by hand; nothing is evaluated twice."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jopt


def fun(x):
    """Return Rosenbrock's function in ten dimensions."""
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


optimizer = jopt.chain(jopt.scale_by_lbfgs(memory=10), jopt.scale_by_line_search(jopt.linesearch.strong_wolfe()))

# The line search leaves value and gradient at the new point in its state, where optax's helper finds them.
value_and_grad = optax.value_and_grad_from_state(fun)


@jax.jit
def step(x, state):
    """Make one iteration: a direction and a whole search along it."""
    value, grad = value_and_grad(x, state=state)
    updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=fun)
    return jopt.apply_updates(x, updates), state


x = jnp.asarray(np.tile([-1.2, 1.0], 5), jnp.float32)
state = optimizer.init(x)
for i in range(80):
    x, state = step(x, state)
    search = state[1]
    if i % 20 == 0:
        print(
            f"iteration {i:2d}  value {float(search.value):9.2e}  step {float(search.step):.3f}  trials {int(search.trials)}"
        )
print("x =", x)
assert jnp.max(jnp.abs(x - 1.0)) < 1e-2

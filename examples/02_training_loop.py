# SPDX-License-Identifier: Apache-2.0
"""Compose an optimizer and train with it in a loop written by hand, as with optax."""

import jax
import jax.numpy as jnp

import jopt

key_x, key_w = jax.random.split(jax.random.key(0))
inputs = jax.random.normal(key_x, (256, 8))
targets = jnp.tanh(inputs @ jax.random.normal(key_w, (8, 1)))


def loss(params, x, y):
    """Return the mean squared error of a network with one hidden layer."""
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    return jnp.mean((hidden @ params["w2"] - y) ** 2)


keys = jax.random.split(jax.random.key(1))
params = {
    "w1": 0.5 * jax.random.normal(keys[0], (8, 16)),
    "b1": jnp.zeros(16),
    "w2": 0.5 * jax.random.normal(keys[1], (16, 1)),
}

optimizer = jopt.chain(
    clip=jopt.clip_by_global_norm(1.0),
    adam=jopt.scale_by_adam(),
    decay=jopt.add_decayed_weights(1e-4),
    rate=jopt.scale_by_learning_rate(jopt.schedules.warmup_cosine_decay_schedule(0.0, 3e-2, 20, 400)),
)
print(optimizer)


@jax.jit
def step(params, state, x, y):
    """Make one step on a minibatch."""
    value, grads = jax.value_and_grad(loss)(params, x, y)
    updates, state = optimizer.update(grads, state, params)
    return jopt.apply_updates(params, updates), state, value


state = optimizer.init(params)
first = loss(params, inputs, targets)
for i in range(400):
    batch = jax.random.choice(jax.random.key(i), 256, (64,), replace=False)
    params, state, value = step(params, state, inputs[batch], targets[batch])
    if i % 100 == 0:
        # A named chain keeps its state under the names; the stage of the learning rate shows the rate last used.
        print(f"step {i:3d}  loss {float(value):.4f}  rate {float(state['rate'].learning_rate):.4f}")

last = loss(params, inputs, targets)
print(f"loss {float(first):.4f} -> {float(last):.4f}")
assert last < 0.05 * first

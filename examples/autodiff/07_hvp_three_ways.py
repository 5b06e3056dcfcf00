# SPDX-License-Identifier: Apache-2.0
r"""Products with the Hessian, three ways, and what each costs.

The Hessian of a function of n variables has n^2 entries; a product H v with it needs none of them. H v is the
derivative of the gradient along v, so differentiate twice (Pearlmutter 1994). There are two modes and two places,
hence four orders, and three that make sense:

    forward over reverse    the tangent of the gradient      jvp of (x -> grad f(x)) along v
    reverse over forward    the gradient of the tangent      grad of (x -> <grad f(x), v>, made by jvp)
    reverse over reverse    the gradient of a product        vjp of (x -> grad f(x)) with v

(The last is right because H is symmetric. The fourth, forward over forward, gives one number u' H v a run, and a
product takes n runs.) They give the same numbers for about the same operations, a small multiple of a gradient. They
differ in what must be kept, since the outer mode keeps a tape of the inner one if it is reverse, and in what is asked
of f, which matters where a function brings a rule of its own for one mode alone:

    forward over reverse    a reverse rule of f, itself differentiated forwards; no tape of a tape: the default
    reverse over forward    a forward rule of f, itself differentiated in reverse
    reverse over reverse    a reverse rule of f, itself differentiated in reverse

All three are linear in v, so all the work that depends on x alone can be done once, and each product then costs only
the linear part. `jopt.curvature.hvp(f, x, mode=...)` returns that part; conjugate gradients apply it dozens of times
at one x.

What the reader sees: a product costs about two and a half gradients' operations if everything is included, and less
than two when the part of x is done. Beside it stand the differences of gradients, (grad f(x + h v) - grad f(x)) / h:
two gradients for half of the digits. (The compiler counts the operations. The times are those of a small problem on
whatever else the machine does; read them as "about the same".)

References: Pearlmutter (1994), Fast exact multiplication by the Hessian, doi:10.1162/neco.1994.6.1.147; Griewank and
Walther (2008), Evaluating Derivatives, chapter 5, doi:10.1137/1.9780898717761; Dagréou et al. (2024), How to compute
Hessian-vector products?, ICLR Blogposts.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jopt.curvature import hvp

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
inputs, targets = jnp.asarray(rng.standard_normal((256, 16))), jnp.asarray(rng.standard_normal((256, 4)))
weights = [jnp.asarray(rng.standard_normal(shape)) / 4.0 for shape in ((16, 16), (16, 16), (16, 4))]
x, as_layers = ravel_pytree(weights)
v = jnp.asarray(rng.standard_normal(x.size))


def loss(x):
    """Return the mean squared error of a network of three layers; x holds its weights in a row."""
    first, second, last = as_layers(x)
    return jnp.mean((jnp.tanh(jnp.tanh(inputs @ first) @ second) @ last - targets) ** 2)


def forward_over_reverse(x, v):
    """Return H v as the tangent of the gradient."""
    return jax.jvp(jax.grad(loss), (x,), (v,))[1]


def reverse_over_forward(x, v):
    """Return H v as the gradient of the tangent."""
    return jax.grad(lambda x: jax.jvp(loss, (x,), (v,))[1])(x)


def reverse_over_reverse(x, v):
    """Return H v as the gradient of the product of gradient and v."""
    return jax.vjp(jax.grad(loss), x)[1](v)[0]


def differences(x, v):
    """Return H v approximately, from two gradients; the step balances truncation and round-off."""
    h = jnp.sqrt(jnp.finfo(x.dtype).eps) * jnp.linalg.norm(x) / jnp.linalg.norm(v)
    return (jax.grad(loss)(x + h * v) - jax.grad(loss)(x)) / h


def measure(function, *args):
    """Return the result, the operations, the temporary memory in KiB (None if not told) and the time of a function."""
    program = jax.jit(function).lower(*args).compile()
    times = []
    for _ in range(7):
        start = time.perf_counter()
        result = jax.block_until_ready(program(*args))
        times.append(time.perf_counter() - start)
    memory = program.memory_analysis()
    return result, program.cost_analysis()["flops"], memory and memory.temp_size_in_bytes / 1024, min(times)


def line(name, figures, unit):
    """Print the figures of a function, operations and time in units of those of a gradient."""
    _, flops, memory, seconds = figures
    kept = "-" if memory is None else f"{memory:.0f}"
    print(f"{name:38s} {flops / unit[1]:10.2f} {kept:>10s} {seconds / unit[3]:10.2f}")


gradient = measure(jax.grad(loss), x)
print(f"{x.size} weights; operations and time in units of one gradient ({gradient[1] / 1e6:.1f} million operations)\n")
print(f"{'':38s} operations   temp KiB       time")
line("gradient", gradient, gradient)

ways = {way.__name__: measure(way, x, v) for way in (forward_over_reverse, reverse_over_forward, reverse_over_reverse)}
for name, figures in ways.items():
    line(name.replace("_", " "), figures, gradient)
line("differences of gradients", measure(differences, x, v), gradient)

# jopt's operators: the point is done when they are made; what is compiled here is the product alone.
products = {}
for name in ways:
    mode = name.replace("_", "-")
    products[name] = measure(hvp(loss, x, mode=mode), v)
    line(f"linearised, {mode}", products[name], gradient)

# The matrix, for one check only: n products.
hessian = jax.jit(jax.vmap(partial(forward_over_reverse, x)))(jnp.eye(x.size))
assert jnp.allclose(hessian, hessian.T, atol=1e-12)
expected = jax.jit(jax.hessian(loss))(x) @ v
for name in ways:
    for (result, flops, _, _), most in ((ways[name], 3.0), (products[name], 2.0)):
        assert jnp.allclose(result, expected, rtol=1e-9, atol=1e-11), name
        assert flops < most * gradient[1], name

error = jnp.linalg.norm(differences(x, v) - expected) / jnp.linalg.norm(expected)
print(f"\nrelative error of the differences: {float(error):.1e}")
assert 1e-11 < error < 1e-5

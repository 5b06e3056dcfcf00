# SPDX-License-Identifier: Apache-2.0
"""A trust region on a tree, a saddle that the gradient does not show, and a method from many starts."""

import jax
import jax.numpy as jnp

import jopt

# Parameters are any tree of arrays. Here: six equal weights on a chain of seven springs.


def energy(p, stiffness):
    """Return the energy of a chain that hangs between two fixed ends, each of whose springs has length 1 at rest."""
    points = jnp.concatenate([jnp.array([[0.0, 0.0]]), p["left"], p["right"], jnp.array([[8.0, 0.0]])])
    lengths = jnp.linalg.norm(points[1:] - points[:-1], axis=1)
    return 0.5 * stiffness * jnp.sum((lengths - 1.0) ** 2) + jnp.sum(points[:, 1])


where = jnp.arange(1.0, 7.0)
start = {"left": jnp.stack([where[:3], -where[:3]], axis=1), "right": jnp.stack([where[3:], -where[3:]], axis=1)}
hung = jopt.minimize(energy, start, (20.0,), gtol=1e-3)  # the default method is "trust-ncg"
print(f"chain: {hung.message} {int(hung.nit)} iterations, {int(hung.nhev)} products with the Hessian")
assert hung.success
assert jnp.allclose(hung.x["left"][:, 1], hung.x["right"][::-1, 1], atol=1e-2), "it hangs symmetrically"

# The same, with the settings of the trust region in hand.
method = jopt.trust_ncg(rule="conn-gould-toint", forcing="quadratic", radius=0.5)
assert jnp.allclose(jopt.minimize(energy, start, (20.0,), method, gtol=1e-3).fun, hung.fun, rtol=1e-3)


def ridge(x):
    """Return x^2 - y^2 + y^4: on the line y = 0 the gradient does not see that the value falls to both sides."""
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4


on_the_ridge = jnp.array([1.0, 0.0])
expected = {None: "CONVERGED", "report": "SADDLE", "escape": "CONVERGED"}
for second_order, status in expected.items():
    ended = jopt.minimize(ridge, on_the_ridge, second_order=second_order, gtol=1e-4)
    print(f"second_order={second_order!r}: {jopt.Status(int(ended.status)).name}, value {float(ended.fun):.3f}")
    assert jopt.Status(int(ended.status)).name == status
assert jnp.allclose(ended.fun, -0.25, atol=1e-5)


def wells(x):
    """Return a function with four minima, of which one is the lowest."""
    return jnp.sum((x**2 - 1.0) ** 2 + 0.2 * x)


starts = jax.random.uniform(jax.random.key(0), (20, 2), minval=-2.0, maxval=2.0)
found = jopt.multistart(wells, starts, method="trust-ncg", gtol=1e-4)
print(f"{int(found.runs.success.sum())} of 20 starts converged, the best to value {float(found.best.fun):.3f}")
assert found.best.success
assert jnp.all(found.best.x < 0.0)

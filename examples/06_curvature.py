# SPDX-License-Identifier: Apache-2.0
"""What kind of point is this, how long may a step be, and what does the spectrum of a network's Hessian look like?"""

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt import curvature

# Two stationary points of one function: a saddle, on whose ridge gradient descent stays, and the minimum beside it.


def quartic_saddle(x):
    """Return x^2 - y^2 + y^4."""
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4


ended = jopt.minimize(quartic_saddle, jnp.array([1.0, 0.0]), method="gradient-descent")
at_saddle = curvature.classify(quartic_saddle, ended.x, gtol=1e-3)
print(at_saddle)
assert at_saddle.kind == curvature.PointKind.SADDLE

down = curvature.lowest_curvature(curvature.hvp(quartic_saddle, ended.x), ended.x)
ended = jopt.minimize(quartic_saddle, ended.x + 0.1 * down.vector)
at_minimum = curvature.classify(quartic_saddle, ended.x, gtol=1e-3)
print(
    f"\nalong the direction of curvature {float(down.value):.3f} to a point of value {float(ended.fun):.3f}\n{at_minimum}"
)
assert at_minimum.kind == curvature.PointKind.MINIMUM

# Gradient descent on a quadratic is stable below 2 / (largest eigenvalue), and not above.
problem = jopt.problems.quadratic(n=20, condition=50.0)
x = problem.start()
limit = curvature.largest_stable_step(problem.fun, x)


@jax.jit
def after_500_steps(rate):
    """Return the value after 500 steps of gradient descent."""
    return problem.fun(jax.lax.fori_loop(0, 500, lambda _, x: x - rate * jax.grad(problem.fun)(x), x))


print(f"\nlargest stable step {float(limit):.4f}: from value {float(problem.fun(x)):.1f} 500 steps lead to")
for share in (0.95, 1.05):
    print(f"  {share} of it: {float(after_500_steps(share * limit)):.1e}")
assert after_500_steps(0.95 * limit) < 1e-3 < 1e3 < after_500_steps(1.05 * limit)

# A small network: the Hessian has a few large eigenvalues and a crowd near zero; the Gauss-Newton matrix no negative one.
rng = np.random.default_rng(0)
inputs = jnp.asarray(rng.standard_normal((64, 4)), jnp.float32)
labels = jnp.asarray(rng.integers(0, 3, 64))
weights = {
    "hidden": {"weight": jnp.asarray(rng.standard_normal((4, 8)) / 2, jnp.float32), "bias": jnp.zeros(8)},
    "output": {"weight": jnp.asarray(rng.standard_normal((8, 3)) / 2, jnp.float32), "bias": jnp.zeros(3)},
}


def model(params):
    """Return the logits."""
    return jopt.problems.losses.network(params, inputs)


def loss(logits):
    """Return the mean cross-entropy."""
    return jnp.mean(jopt.problems.losses.cross_entropy(logits, labels))


hessian = jax.jit(lambda p: curvature.spectrum(curvature.hvp(lambda p: loss(model(p)), p), p))(weights)
gauss_newton = jax.jit(lambda p: curvature.spectrum(curvature.gauss_newton(model, loss, p), p))(weights)
print(f"\nHessian {hessian}\nGauss-Newton {gauss_newton}")
assert hessian.lowest < 0 < hessian.highest
assert gauss_newton.lowest > -gauss_newton.lowest_error

density = curvature.spectral_density(hessian, points=12)
print("\nshare of eigenvalues around")
for t, height in zip(density.grid, density.density, strict=True):
    print(f"  {float(t):+.2f} {'#' * int(40 * height / jnp.max(density.density))}")
assert abs(float(jnp.argmax(density.density)) - float(jnp.argmin(jnp.abs(density.grid)))) <= 1

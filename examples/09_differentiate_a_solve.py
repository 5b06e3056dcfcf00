# SPDX-License-Identifier: Apache-2.0
"""Differentiate the answer of a solve with respect to its data: choose the penalty of a ridge regression by descent."""

import jax
import jax.numpy as jnp

import jopt

keys = jax.random.split(jax.random.key(0), 4)
truth = jnp.where(jnp.arange(8) < 3, 1.0, 0.0)
train, check = (jax.random.normal(key, (24, 8)) for key in keys[:2])
train_target, check_target = (
    x @ truth + 2.0 * jax.random.normal(key, (24,)) for x, key in zip((train, check), keys[2:], strict=True)
)


def ridge(weights, log_penalty, matrix, target):
    """Return half the squared error of the fit and the penalty on its size, a sum."""
    return 0.5 * jnp.sum((matrix @ weights - target) ** 2) + 0.5 * jnp.exp(log_penalty) * jnp.sum(weights**2)


def fit(log_penalty, matrix, target):
    """Return the weights: a solve inside, an ordinary differentiable function outside."""
    return jopt.minimize(ridge, jnp.zeros(8), (log_penalty, matrix, target), gtol=1e-3).x


def closed_form(log_penalty, matrix, target):
    """Return the same weights from the normal equations, to compare with."""
    return jnp.linalg.solve(matrix.T @ matrix + jnp.exp(log_penalty) * jnp.eye(8), matrix.T @ target)


# Both modes, in the penalty and in the data; the cost beside the solve is one linear system, whatever the iterations.
for jacobian in (jax.jacfwd, jax.jacrev):
    ours, exact = (jax.jit(jacobian(f, (0, 2)))(0.5, train, train_target) for f in (fit, closed_form))
    for a, b in zip(ours, exact, strict=True):
        assert jnp.allclose(a, b, atol=1e-3), jnp.abs(a - b).max()

# So the error on data that the fit has not seen has a gradient in the penalty, and an outer solve can lower it.


def validation(log_penalty):
    """Return the mean squared error on the other half of the data."""
    return jnp.mean((check @ fit(log_penalty, train, train_target) - check_target) ** 2)


outer = jopt.minimize(validation, 0.0, gtol=1e-3)
print(f"penalty {float(jnp.exp(outer.x)):.2f}: error {float(validation(0.0)):.4f} -> {float(outer.fun):.4f}")
assert outer.success
assert outer.fun <= validation(0.0)

# A solve that did not converge has no such derivative, and says so.
early = jax.grad(lambda p: jopt.minimize(ridge, jnp.zeros(8), (p, train, train_target), maxiter=1).x.sum())(0.5)
print("derivative of a solve stopped after one step:", early)
assert jnp.isnan(early)

# To differentiate the iterations themselves instead, unroll them: here eight steps of gradient descent.
steps = jax.grad(
    lambda p: jopt.minimize(
        ridge, jnp.zeros(8), (p, train, train_target), jopt.sgd(1e-2), maxfev=9, derivative="unrolled"
    ).x.sum()
)(0.5)
print("derivative of eight steps of gradient descent:", steps)
assert jnp.isfinite(steps)

# SPDX-License-Identifier: Apache-2.0
r"""Implicit differentiation: the derivative of a solver's answer, without differentiating the solver.

A solver finds x where an equation holds, and the equation contains data a:

    g(x, a) = 0        (a minimum: g is the gradient in x; a fixed point: g = x - T(x, a)).

How does the answer x*(a) move with the data? The **implicit function theorem**: let g be continuously differentiable
near a solution (x0, a0), and its Jacobian in x there, A = dg/dx, invertible. Then near a0 there is one and only one
continuous x*(a) with x*(a0) = x0 and g(x*(a), a) = 0, and it is differentiable. So the last equation may be
differentiated,

    A x. + B a. = 0,      B = dg/da,      hence      x. = -A^(-1) B a.      (forward)

and, transposed, for a cotangent w of x*,

    a_ = -B' A^(-T) w.                                                      (reverse)

For a minimum A is the Hessian, symmetric. Nothing in these lines says how x* was found: not the method, nor the number
of its iterations, nor their memory. The price is one linear system at the answer, by products alone. What must hold is
that the equation *is* solved: an error in x* makes an error of the same order in the derivative.

Differentiating the iterations instead (unrolling) gives the derivative of what the solver returned, which tends to
that of the answer no faster than the iterates themselves, at the price of all of them, and in reverse mode their
memory.

The example is Kepler's equation of 1609, E - e sin E = M: at which angle E (the eccentric anomaly) stands a planet at
the time M, if its orbit has the eccentricity e? It says that the convex function E^2/2 + e cos E - M E is stationary.
By the theorem,

    dE/dM = 1 / (1 - e cos E),      dE/de = sin E / (1 - e cos E).

References: Krantz and Parks (2013), The Implicit Function Theorem, doi:10.1007/978-1-4614-5981-1; Griewank and Walther
(2008), Evaluating Derivatives, chapter 15, doi:10.1137/1.9780898717761; Blondel et al. (2022), Efficient and modular
implicit differentiation, arXiv:2105.15183; Gilbert (1992), Automatic differentiation and iterative processes,
doi:10.1080/10556789208805503 (unrolling).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg

import jopt

jax.config.update("jax_enable_x64", True)


def implicit_jvp(g, x, a, a_dot):
    """Return the tangent of the solution x of g(x, a) = 0 along a tangent of the data; dg/dx symmetric and positive."""
    b_a_dot = jax.jvp(lambda a: g(x, a), (a,), (a_dot,))[1]
    _, a_times = jax.linearize(lambda x: g(x, a), x)
    return cg(a_times, -b_a_dot, tol=1e-13)[0]


def implicit_vjp(g, x, a, w):
    """Return the cotangent of the data for a cotangent w of the solution; dg/dx symmetric and positive definite."""
    _, a_times = jax.linearize(lambda x: g(x, a), x)
    u = cg(a_times, -w, tol=1e-13)[0]
    return jax.vjp(lambda a: g(x, a), a)[1](u)[0]


def energy(angle, data):
    """Return E^2/2 + e cos E - M E, whose stationarity is Kepler's equation."""
    mean, eccentricity = data
    return 0.5 * angle**2 + eccentricity * jnp.cos(angle) - mean * angle


@jax.jit
def anomaly(data):
    """Return the solution of Kepler's equation by jopt's default method."""
    return jopt.minimize(energy, data[0], (data,), gtol=1e-12).x


data = (jnp.array(0.4), jnp.array(0.6))
angle = anomaly(data)
closed_form = jnp.array([1.0, jnp.sin(angle)]) / (1.0 - data[1] * jnp.cos(angle))
print(f"Kepler: E = {float(angle):.12f} at M = 0.4, e = 0.6\n\n{'':26s} dE/dM           dE/de")

h = 1e-6
kepler_jvp = jax.jit(partial(implicit_jvp, jax.grad(energy)))
kepler_vjp = jax.jit(partial(implicit_vjp, jax.grad(energy)))
ways = {
    "closed form": closed_form,
    "theorem, two jvps": [kepler_jvp(angle, data, (1.0 - e, e)) for e in jnp.arange(2.0)],
    "theorem, one vjp": kepler_vjp(angle, data, 1.0),
    "jax.grad of jopt.minimize": jax.grad(anomaly)(data),
    "centred differences": [
        (anomaly((data[0] + h * (1 - k), data[1] + h * k)) - anomaly((data[0] - h * (1 - k), data[1] - h * k)))
        / (2 * h)
        for k in (0, 1)
    ],
}
for name, derivative in ways.items():
    print(f"{name:26s} {float(derivative[0]):.12f}  {float(derivative[1]):.12f}")
    assert jnp.allclose(jnp.array(derivative), closed_form, rtol=1e-8 if "diff" in name else 1e-12)

# A fixed number of steps of gradient descent, E <- E - (E - e sin E - M), is Kepler's own iteration. The error of the
# answer, of the derivative of the iterations and of the theorem used at the unfinished answer:
print("\nsteps   answer   unrolled dE/dM   theorem dE/dM   (errors)")


@jax.jit
def iterate(mean, steps):
    """Return E after a number of fixed-point steps from E = M, and its derivative by M."""

    def unrolled(mean):
        return jax.lax.fori_loop(0, steps, lambda _, angle: mean + data[1] * jnp.sin(angle), mean)

    return jax.jvp(unrolled, (mean,), (jnp.ones_like(mean),))


for steps in (2, 4, 8, 16, 32):
    rough, unrolled = iterate(data[0], steps)
    theorem = kepler_vjp(rough, data, 1.0)[0]
    errors = [abs(float(e)) for e in (rough - angle, unrolled - closed_form[0], theorem - closed_form[0])]
    print(f"{steps:5d}   {errors[0]:.1e}  {errors[1]:.1e}          {errors[2]:.1e}")
    assert errors[1] > errors[0], "unrolling is no faster than the iterates"
    # Of the order of the answer's error: the factor is the derivative of the formula, e sin E / (1 - e cos E)^2.
    assert errors[2] < 1.5 * errors[0] * data[1] / (1.0 - data[1] * jnp.cos(angle)) ** 2 + 1e-14

# In many variables nothing changes: one system for one cotangent, here of a ridge regression's four weights by its
# penalty and 50 targets.
matrix = jax.random.normal(jax.random.key(0), (50, 4), dtype=float)
target = jnp.tanh(matrix[:, 0])


def ridge(w, penalty, target):
    """Return half the squared error and penalty of a linear model."""
    return 0.5 * jnp.sum((matrix @ w - target) ** 2) + 0.5 * penalty * jnp.sum(w**2)


def of_weights(penalty, target):
    """Return a function of the fitted weights."""
    return jnp.sum(jopt.minimize(ridge, jnp.zeros(4), (penalty, target), gtol=1e-10).x ** 3)


def by_formula(penalty, target):
    """Return the same by the normal equations."""
    return jnp.sum(jnp.linalg.solve(matrix.T @ matrix + penalty * jnp.eye(4), matrix.T @ target) ** 3)


ours, theirs = (jax.jit(jax.grad(f, argnums=(0, 1)))(0.3, target) for f in (of_weights, by_formula))
print(f"\nridge: derivative by the penalty {float(ours[0]):.12f}, by the normal equations {float(theirs[0]):.12f}")
assert jnp.isclose(ours[0], theirs[0], rtol=1e-8)
assert jnp.allclose(ours[1], theirs[1], rtol=1e-8, atol=1e-12)

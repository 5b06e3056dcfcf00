# SPDX-License-Identifier: Apache-2.0
r"""From the jvp to Newton-CG, in one page.

The files before this one made derivatives. Here they are put to use. Each function below is made from those above it,
and the last one minimises a function of a thousand variables, knowing of each operation its tangent and, of the linear
ones, the transpose.

    jvp             x, v  ->  J v             what forward mode gives
    vjp             x, w  ->  J' w            linearise, then transpose
    gradient        x     ->  J' 1            one vjp, since a value has one row
    hvp             x, v  ->  H v             the jvp of the gradient
    solve           d with H d = -g, roughly  conjugate gradients: products alone
    newton_cg       x  ->  x + a d            a step along d that decreases the value

Newton's step minimises the quadratic model g' d + d' H d / 2. Far from the minimum an exact solution is wasted on a
model that is wrong, so the solve stops when its residual is below min(1/2, sqrt(|g|)) |g|, a demand that grows as |g|
falls; that makes the convergence superlinear (Dembo and Steihaug). Where conjugate gradients meet a direction p with
p' H p <= 0 the model has no minimum; they stop with what they have, which is still a direction of descent. The step
along it is halved until the value falls by a share of what the slope promises.

What the reader sees: a few products for each rough solve at first, more as the solves become exact, and at the end a
gradient that loses several digits at a step.

References: Nocedal and Wright (2006), Numerical Optimization, algorithm 7.1 and 3.1, doi:10.1007/978-0-387-40065-5;
Dembo and Steihaug (1983), Truncated-Newton algorithms for large-scale unconstrained optimization,
doi:10.1007/BF02592055; Pearlmutter (1994), doi:10.1162/neco.1994.6.1.147.
"""

import jax
import jax.numpy as jnp

import jopt

jax.config.update("jax_enable_x64", True)

ARMIJO = 1e-4  # the share of the promised decrease that a step must reach: Nocedal and Wright, section 3.1


def jvp(f, x, v):
    """Return J v."""
    return jax.jvp(f, (x,), (v,))[1]


def vjp(f, x, w):
    """Return J' w."""
    _, jvp_at_x = jax.linearize(f, x)
    return jax.linear_transpose(jvp_at_x, x)(w)[0]


def gradient(f, x):
    """Return the gradient of a scalar function."""
    return vjp(f, x, jnp.ones(()))


def hvp(f, x, v):
    """Return H v; for many v at one x, `jax.linearize` in place of the jvp does the part of x once."""
    return jvp(lambda x: gradient(f, x), x, v)


def solve(product, g, tolerance):
    """Return d with |H d + g| <= tolerance, or where the curvature was not positive, and the number of products."""

    def curved_or_done(state):
        _, r, _, _, k, positive = state
        return positive & (jnp.linalg.norm(r) > tolerance) & (k < g.size)

    def iterate(state):
        d, r, p, rr, k, _ = state
        hp = product(p)
        positive = p @ hp > 0.0
        a = jnp.where(positive, rr / (p @ hp), jnp.where(k == 0, 1.0, 0.0))  # first p is -g: at least descend along it
        d, r = d + a * p, r + a * hp
        return d, r, -r + (r @ r) / rr * p, r @ r, k + 1, positive

    d, *_, k, _ = jax.lax.while_loop(curved_or_done, iterate, (jnp.zeros_like(g), g, -g, g @ g, 0, True))
    return d, k


def newton_cg(f, x, gtol):
    """Return a point where the largest entry of the gradient is at most gtol, and a table of the way there."""

    @jax.jit
    def direction(x):
        g = gradient(f, x)
        size = jnp.linalg.norm(g)
        return g, *solve(lambda v: hvp(f, x, v), g, jnp.minimum(0.5, jnp.sqrt(size)) * size)

    @jax.jit
    def search(x, d, slope):
        value = f(x)
        return jax.lax.while_loop(lambda a: f(x + a * d) > value + ARMIJO * a * slope, lambda a: a / 2.0, 1.0)

    rows = []
    while True:
        g, d, products = direction(x)
        rows.append((float(f(x)), float(jnp.max(jnp.abs(g))), int(products)))
        if rows[-1][1] <= gtol:
            return x, rows
        x = x + search(x, d, g @ d) * d


def rosenbrock(x):
    """Return Rosenbrock's function of many variables: a curved valley along which the minimum lies."""
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


# Each rung of the ladder, against JAX's own.
x = jnp.sin(jnp.arange(6.0))
v = jnp.cos(jnp.arange(6.0))
assert jnp.isclose(jvp(rosenbrock, x, v), jax.grad(rosenbrock)(x) @ v, rtol=1e-13)
assert jnp.allclose(gradient(rosenbrock, x), jax.grad(rosenbrock)(x), rtol=1e-13)
assert jnp.allclose(hvp(rosenbrock, x, v), jax.hessian(rosenbrock)(x) @ v, rtol=1e-12)
d, _ = solve(lambda v: v * jnp.arange(1.0, 7.0), x, 1e-12)
assert jnp.allclose(d, -x / jnp.arange(1.0, 7.0), rtol=1e-10)

start = jnp.tile(jnp.array([0.5, 1.5]), 500)
x, rows = newton_cg(rosenbrock, start, 1e-8)
print(f"Rosenbrock's function of {start.size} variables\niteration        value   |gradient|   products")
for k, (value, size, products) in enumerate(rows):
    print(f"{k:9d}  {value:11.4e}  {size:11.4e}  {products:9d}")
assert jnp.allclose(x, 1.0, atol=1e-7)
assert rows[-1][1] < 1e-2 * rows[-2][1] or rows[-1][1] < 1e-10, "superlinear at the end"

# The same method in the package, with its guards, statuses and one flat loop.
result = jopt.minimize(rosenbrock, start, method="newton-cg", gtol=1e-8)
print(f"\njopt: {int(result.nit)} iterations, {int(result.nhev)} products, value {float(result.fun):.1e}")
assert result.success
assert jnp.allclose(result.x, x, atol=1e-7)

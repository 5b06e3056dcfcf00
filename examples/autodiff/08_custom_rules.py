# SPDX-License-Identifier: Apache-2.0
r"""Custom rules, and how to check them.

JAX has a derivative rule for nearly every primitive. There are three good reasons to write one:

**The derivative overflows.** log(1 + e^x) has the derivative e^x / (1 + e^x), which is inf / inf for large x; but that is
also (1 + tanh(x / 2)) / 2, which is safe everywhere. `jax.custom_jvp` takes a rule for the tangent. It serves both
modes, since JAX transposes it (06_linearise_and_transpose), and derivatives of higher order, since the rule is itself
differentiated: so the rule must be as safe as the function.

**The derivative is known better than the program.** A solver's loop of unknown length has no reverse mode. The root x
of x^3 + x = a has the derivative 1 / (3 x^2 + 1), by the implicit function theorem (09_implicit_differentiation).

**Something else than the derivative is wanted.** An identity that clips what comes back through it. `jax.custom_vjp`
takes the two halves of reverse mode, the pass forward, which keeps what it needs, and the pass back. It has no forward
mode. And it is no derivative: a check that calls it wrong is right.

Three questions to ask of a rule, with what answers them:

    is it the derivative of the function?     check_gradient    against differences, entry by entry
    are its own derivatives right?            check_hvp         against differences of gradients
    do the two modes agree?                   check_products    <w, J v> = <J' w, v>, without differences

The last matters where each mode is told something, as in a linear solve: how to solve with the matrix, and how with
its transpose. Calling a matrix symmetric that is not leaves forward mode right, and makes reverse mode wrong.

At a kink no number is the derivative. The check says so, and is content with any slope between the one-sided ones.

References: Bradbury et al., JAX: Custom derivative rules for JAX-transformable Python functions (documentation);
Griewank and Walther (2008), Evaluating Derivatives, chapters 14 (kinks) and 15, doi:10.1137/1.9780898717761; Pascanu,
Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks, arXiv:1211.5063 (clipping).
"""

import functools

import jax
import jax.numpy as jnp

from jopt.autodiff import Outcome, check_gradient, check_hvp, check_products

jax.config.update("jax_enable_x64", True)


def verdict(name, check):
    """Print the verdict of a check, and return it."""
    print(f"{name:23s} {'ok   ' if check.ok else 'WRONG'} {check.message}")
    return check


# A rule for the tangent: safe for every x, in both modes, at every order.


def naive(x):
    """Return log(1 + e^x), as it is written."""
    return jnp.log(1.0 + jnp.exp(x))


@jax.custom_jvp
def log1pexp(x):
    """Return log(1 + e^x)."""
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@log1pexp.defjvp
def _(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return log1pexp(x), 0.5 * (1.0 + jnp.tanh(0.5 * x)) * x_dot


as_written, by_rule = jax.grad(naive)(1000.0), jax.grad(log1pexp)(1000.0)
print(f"log(1 + e^x) at 1000 has the derivative {as_written} as written, {by_rule} by rule\n")
assert jnp.isnan(as_written)
assert by_rule == 1.0
assert jnp.isfinite(jax.grad(jax.grad(log1pexp))(-1000.0))
x = {"w": jnp.array([-30.0, -1.0, 0.0, 2.0]), "b": jnp.array(0.5)}
for check in (check_gradient, check_hvp, check_products):
    found = check(lambda x: jnp.sum(log1pexp(x["w"] * x["b"] + 0.1)) ** 2, x)
    assert verdict(f"log1pexp {check.__name__}", found).ok

# A rule by a theorem: the loop has no reverse mode, the root has.


@jax.custom_jvp
def root(a):
    """Return x with x^3 + x = a, by Newton's method."""

    def step(x):
        return x - (x**3 + x - a) / (3.0 * x**2 + 1.0)

    return jax.lax.while_loop(lambda x: jnp.any(jnp.abs(step(x) - x) > 1e-14 * (1.0 + jnp.abs(x))), step, a / 2.0)


@root.defjvp
def _(primals, tangents):
    x = root(*primals)
    return x, tangents[0] / (3.0 * x**2 + 1.0)


a = jnp.array([-3.0, 0.4, 10.0])
for check in (check_gradient, check_products):
    assert verdict(f"root {check.__name__}", check(root, a)).ok
assert jnp.allclose(root(a) ** 3 + root(a), a, rtol=1e-14)

# Not a derivative: an identity that clips the adjoint to a length.


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def clipped(x, length):
    """Return x; what comes back is no longer than `length`."""
    del length
    return x


clipped.defvjp(
    lambda x, _: (x, None),
    lambda length, _, w: (w * jnp.minimum(1.0, length / jnp.maximum(jnp.linalg.norm(w), length)),),
)

cliff = jnp.array([3.0, 4.0])
assert jnp.allclose(jax.grad(lambda x: 10.0 * jnp.sum(clipped(x, 1.0) ** 2))(cliff), jnp.array([0.6, 0.8]), rtol=1e-14)
check = verdict("clipped", check_gradient(lambda x: 10.0 * jnp.sum(clipped(x, 1.0) ** 2), cliff))
assert check.worst.outcome is Outcome.WRONG, "what comes back is not the gradient"

# A planted mistake: the rule of a product forgets the sum over the broadcast entry b.


@jax.custom_vjp
def scaled(x):
    """Return w times the number b."""
    return x["w"] * x["b"]


scaled.defvjp(lambda x: (scaled(x), x), lambda x, g: ({"w": g * x["b"], "b": jnp.mean(g * x["w"])},))
check = verdict("mean for sum", check_gradient(lambda x: jnp.sum(scaled(x) ** 2), x))
assert (check.ok, check.worst.path) == (False, "x['b']"), "the check names the entry"

# A matrix that is said to be symmetric and is not: one of the two modes is wrong, and differences tell which.
matrix = jnp.array([[2.0, 1.0], [0.0, 3.0]])


def solve(b):
    """Return the solution of a linear system by a rule that solves with the same matrix in reverse mode."""
    return jax.lax.custom_linear_solve(
        lambda v: matrix @ v, b, lambda _, b: jnp.linalg.solve(matrix, b), symmetric=True
    )


assert not verdict("solve check_products", check_products(solve, cliff)).ok
assert verdict("solve, forward mode", check_gradient(solve, cliff, mode="forward")).ok

# A kink: |x| at 0 has the slopes -1 and 1.
check = verdict("|x| at 0", check_gradient(lambda x: jnp.sum(jnp.abs(x)), jnp.array([1.0, 0.0])))
assert (check.ok, check.smooth, check.worst.path, check.worst.outcome) == (True, False, "x[1]", Outcome.KINK)

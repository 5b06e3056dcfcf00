# SPDX-License-Identifier: Apache-2.0
r"""Jacobians, by columns and by rows.

The Jacobian of f: R^n -> R^m at x is a matrix J of m rows and n columns, J_ij = df_i/dx_j. Automatic differentiation
never computes it; it computes products with it.

    forward mode    v -> J v      with the unit vector e_j:  column j, how all outputs move with one input
    reverse mode    w -> J' w     with the unit vector e_i:  row i, how one output moves with all inputs

Each product costs a small multiple of f. So the matrix costs n runs forward or m runs in reverse, and the rule is to
follow the smaller side: forward for tall matrices (a curve, a mesh that depends on few parameters), reverse for wide
ones. A loss is the extreme case m = 1: its gradient is the one row. Between equals forward wins, since it keeps no
tape. (For the cheapest way over *all* orders of elimination no good algorithm is known: the problem is NP-complete,
Naumann 2008.)

The runs differ only in the seed, so they are one run on a matrix of seeds, `jax.vmap`; this is what `jax.jacfwd` and
`jax.jacrev` do, and the ten lines below.

A **sparse** Jacobian is cheaper than either. If columns j and k have no row in common, one product J (e_j + e_k)
delivers both, each entry being in one of the two places known beforehand. Grouping the columns is colouring a graph; a
tridiagonal matrix needs three colours, whatever its size.

References: Griewank and Walther (2008), Evaluating Derivatives, sections 3.1, 3.2 and chapter 8,
doi:10.1137/1.9780898717761; Curtis, Powell and Reid (1974), On the estimation of sparse Jacobian matrices,
doi:10.1093/imamat/13.1.117; Naumann (2008), Optimal Jacobian accumulation is NP-complete,
doi:10.1007/s10107-006-0042-z.
"""

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)


def by_columns(f, x):
    """Return the Jacobian from one jvp for each input."""
    columns = jax.vmap(lambda v: jax.jvp(f, (x,), (v,))[1])(jnp.eye(x.size))
    return columns.T


def by_rows(f, x):
    """Return the Jacobian from one vjp for each output; f runs once, and its tape is walked m times."""
    y, pullback = jax.vjp(f, x)
    return jax.vmap(lambda w: pullback(w)[0])(jnp.eye(y.size))


def colour(pattern):
    """Return a group for each column such that columns of one group share no row, by taking the first that fits."""
    groups = []
    for j in range(pattern.shape[1]):
        taken = {groups[k] for k in range(j) if np.any(pattern[:, j] & pattern[:, k])}
        groups.append(next(c for c in range(j + 1) if c not in taken))
    return np.array(groups)


def compressed(f, x, pattern):
    """Return the Jacobian whose entries vanish outside a pattern of booleans, from one jvp for each colour."""
    groups = colour(pattern)
    seeds = jnp.asarray(groups == np.arange(groups.max() + 1)[:, None], x.dtype)
    products = jax.vmap(lambda v: jax.jvp(f, (x,), (v,))[1])(seeds)
    return jnp.where(pattern, products[groups].T, 0.0)


def counted(function, x):
    """Return the result of a compiled function and its floating-point operations, as the compiler counts them."""
    program = jax.jit(function).lower(x).compile()
    return program(x), program.cost_analysis()["flops"]


# A textbook's example, with the answer that a pencil finds.


def g(t):
    """Return (t1 - 7 t2 + 5 t3, t2 t3)."""
    return jnp.stack([t[0] - 7.0 * t[1] + 5.0 * t[2], t[1] * t[2]])


t = jnp.array([2.5, 2.1, 1.4])
jacobian = by_columns(g, t)
print(f"J of (t1 - 7 t2 + 5 t3, t2 t3) at (2.5, 2.1, 1.4)\n{jacobian}")
assert jnp.array_equal(jacobian, jnp.array([[1.0, -7.0, 5.0], [0.0, 1.4, 2.1]]))
assert jnp.array_equal(jacobian, by_rows(g, t))
assert jnp.array_equal(jacobian, jax.jacfwd(g)(t))
assert jnp.array_equal(jacobian, jax.jacrev(g)(t))
assert jnp.array_equal(jax.jvp(g, (t,), (jnp.array([0.0, 1.0, 0.0]),))[1], jnp.array([-7.0, 1.4]))
assert jnp.array_equal(jax.vjp(g, t)[1](jnp.array([1.0, 0.0]))[0], jnp.array([1.0, -7.0, 5.0]))

# Tall, square, wide: the operations of both, in units of those of f.
print("\n   n -> m    operations of f   by columns   by rows  (in units of f)")
ratio = {}
for n, m in ((2, 64), (16, 64), (64, 64), (64, 16), (64, 2)):
    wide, tall = (jnp.asarray(a) / n**0.5 for a in np.random.default_rng(0).standard_normal((2, 64, 64)))

    def f(x, wide=wide[:, :n], tall=tall[:m]):
        """Return a network with one hidden layer of 64."""
        return tall @ jnp.tanh(wide @ x)

    x = jnp.linspace(-1.0, 1.0, n)
    _, unit = counted(f, x)
    (columns, forward), (rows, reverse) = (
        counted(lambda x, f=f, way=way: way(f, x), x) for way in (by_columns, by_rows)
    )
    ratio[n, m] = forward / reverse
    print(f"{n:4d} -> {m:2d} {unit:15.0f} {forward / unit:13.1f} {reverse / unit:9.1f}")
    assert jnp.allclose(columns, rows, rtol=1e-12, atol=1e-14)
assert ratio[2, 64] < 0.2, "tall: columns"
assert ratio[64, 2] > 5.0, "wide: rows"

# A row of 60 nodes, each coupled to its neighbours: three products give all 178 entries.


def residual(u):
    """Return the discrete equation u'' = exp(u) between two walls."""
    padded = jnp.pad(u, 1)
    return padded[2:] - 2.0 * u + padded[:-2] - jnp.exp(u) / 61.0**2


u = jnp.sin(jnp.linspace(0.0, 3.0, 60))
pattern = np.abs(np.subtract.outer(np.arange(60), np.arange(60))) <= 1
sparse = compressed(residual, u, pattern)
print(f"\ntridiagonal, 60 x 60: {colour(pattern).max() + 1} products instead of 60")
assert colour(pattern).max() + 1 == 3
assert jnp.allclose(sparse, jax.jacfwd(residual)(u), rtol=1e-13, atol=1e-15)

# SPDX-License-Identifier: Apache-2.0
"""How far along a direction: five searches on one line, and the zig-zag of steepest descent with the exact one."""

import jax
import jax.numpy as jnp

import jopt
from jopt import linesearch


def fun(x):
    """Return Rosenbrock's function in two dimensions."""
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


def search_along(search, x, direction, first_step):
    """Run a search on phi(a) = fun(x + a direction); return its last state."""
    phi = jax.jit(lambda a: jax.value_and_grad(lambda a: fun(x + a * direction))(a))
    value, slope = phi(0.0)
    state = search.init(value, slope, jnp.asarray(first_step, value.dtype))
    while state.status == jopt.SearchStatus.SEARCHING:
        state = search.update(state, *phi(state.step))
    return state


x = jnp.asarray([0.8, 0.0])
direction = -jax.grad(fun)(x)
for make in (
    linesearch.backtracking,
    linesearch.weak_wolfe,
    linesearch.strong_wolfe,
    linesearch.hager_zhang,
    linesearch.exact,
):
    state = search_along(make(), x, direction, 0.01)
    status = jopt.SearchStatus(int(state.status))
    print(f"{make.__name__:14s} step {float(state.step):.5f}  {int(state.trials)} trials  {status.name}")
    assert status is jopt.SearchStatus.ACCEPTED
assert abs(float(search_along(linesearch.exact(), x, direction, 0.01).step) - 0.00165) < 1e-5

# With an exact search the next gradient is orthogonal to the direction: the path turns a right angle at each step.
print("\nsteepest descent with exact search")
previous = None
for _ in range(5):
    grad = jax.grad(fun)(x)
    if previous is not None:
        cosine = float(jnp.vdot(grad, previous) / (jnp.linalg.norm(grad) * jnp.linalg.norm(previous)))
        print(f"x = {x}, cosine of the angle with the previous gradient {cosine:+.1e}")
        assert abs(cosine) < 1e-2
    x = x - search_along(linesearch.exact(), x, -grad, 0.01).step * grad
    previous = grad

# SPDX-License-Identifier: Apache-2.0
"""What the tests of line searches share: functions of one step, and ways to run a search on them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from more_thuente import LINES

from jopt.status import SearchStatus

FIRST_TRIALS = (1e-4, 1e-2, 0.3, 1.0, 7.0, 1e2, 1e4)

SMOOTH = {
    **{f"more_thuente_{name}": line.phi for name, line in LINES.items()},
    "parabola": lambda a: (a - 1) ** 2 - 1,
    "far_parabola": lambda a: 1e-6 * (a - 1e3) ** 2,
    "quartic": lambda a: (a - 1) ** 4 + 1e-3 * (a - 1) ** 2,
    "decay": lambda a: jnp.exp(-a) + 0.01 * a,
    "sine": lambda a: -jnp.sin(a),
    "cliff": lambda a: -a - jnp.log(2 - a),
    "root_cliff": lambda a: -2 * a + jnp.where(a < 0.7, 0.0, jnp.sqrt(0.9 - a)) + 3 * a**2,
    "overflow": lambda a: jnp.exp(a * a) - 3 * a,
}


def value_and_slope(phi, step):
    """Return phi and phi' at a step."""
    return jax.value_and_grad(phi)(step)


def run(search, phi, first_step, dtype=jnp.float64, scale=1.0):
    """Run a search to its end, uncompiled (cheaper for one search); return the final state and the steps tried."""

    def evaluate(step):
        value, slope = value_and_slope(phi, step)
        return jnp.asarray(scale * value, dtype), jnp.asarray(scale * slope, dtype)

    state = search.init(*evaluate(jnp.zeros((), dtype)), jnp.asarray(first_step, dtype))
    tried = []
    while state.status == 0:
        tried.append(float(state.step))
        state = search.update(state, *evaluate(state.step))
    return state, tried


@functools.cache
def _evaluate_all(dtype):
    """Return the compiled function from steps of shape (F, T) to values and slopes of all functions there."""
    del dtype  # one compilation for each, whatever jit remembers
    branches = [functools.partial(value_and_slope, phi) for phi in SMOOTH.values()]

    def rows(steps):
        pairs = [jax.vmap(branch)(row) for branch, row in zip(branches, steps, strict=True)]
        return tuple(jnp.stack(part) for part in zip(*pairs, strict=True))

    return jax.jit(rows)


@functools.cache
def run_all(search, dtype):
    """Run a search on all functions from all first trials side by side; return states of shape (F, T)."""
    evaluate = _evaluate_all(dtype)
    firsts = jnp.broadcast_to(jnp.asarray(FIRST_TRIALS, dtype), (len(SMOOTH), len(FIRST_TRIALS)))

    @jax.jit
    def advance(states, values, slopes):
        after = jax.vmap(jax.vmap(search.update))(states, values, slopes)
        return jax.tree.map(lambda old, new: jnp.where(states.status == 0, new, old), states, after)

    states = jax.vmap(jax.vmap(search.init))(*evaluate(jnp.zeros_like(firsts)), firsts)
    while (states.status == 0).any():
        states = advance(states, *evaluate(states.step))
    return states


def outcomes(search, dtype):
    """Yield `(function, first, status, start, end)`, phi evaluated afresh at the step decided; ends are NumPy numbers."""
    states, evaluate = run_all(search, dtype), _evaluate_all(dtype)
    starts = [np.asarray(x) for x in (jnp.zeros_like(states.step), *evaluate(jnp.zeros_like(states.step)))]
    ends = [np.asarray(x) for x in (states.step, *evaluate(states.step))]
    for i, name in enumerate(SMOOTH):
        for j, first in enumerate(FIRST_TRIALS):
            start, end = (tuple(part[i, j] for part in point) for point in (starts, ends))
            yield name, first, SearchStatus(int(states.status[i, j])), start, end


def allowed_rise(start, noise=None):
    """Return the part of |phi(0)| that counts as noise, in the precision of the start."""
    relative = np.finfo(start[1].dtype).eps ** (2 / 3) if noise is None else noise
    return relative * abs(start[1])


def is_sufficient(start, end, decrease, noise=None):
    """Return whether Armijo's test or its approximate form holds, written anew."""
    (_, value, slope), (step, end_value, end_slope) = start, end
    # One rounding more or less than in the search: the comparison is exact only up to the last place.
    margin = 2 * np.finfo(value.dtype).eps * max(abs(value), abs(end_value))
    exact = end_value - value <= decrease * step * slope + margin
    noisy = abs(end_value - value) <= allowed_rise(start, noise) and end_slope <= (1 - 2 * decrease) * abs(slope)
    return bool(exact or noisy)

# SPDX-License-Identifier: Apache-2.0
"""The step of L-BFGS-B: within the box, below Cauchy's point, exact where the answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jopt.linalg import Box, boxed_model, compact, limited_memory

N, MEMORY = 12, 5
SEEDS = range(20)


@jax.jit
def step(s, y, g, lower, upper):
    """Return the step, the model's value there, and B as a matrix."""

    def push(history, pair):
        return limited_memory.push(history, *pair), None

    history = jax.lax.scan(push, limited_memory.empty(g, MEMORY, product=limited_memory.two_loop), (s, y))[0]
    b = compact.compact(history)
    p, value = boxed_model.minimise(b, g, Box(lower, upper))
    return p, value, jax.vmap(lambda v: compact.product(b, v, compact.along(b, v)))(jnp.eye(N, dtype=g.dtype))


def case(seed, pairs=8):
    """Return pairs, a gradient and a box that holds zero, with entries on their bounds, fixed ones and infinite ones."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((N, N)))
    hessian = (q * np.logspace(-1, 2, N)) @ q.T
    s = rng.standard_normal((8, N)) * (np.arange(8) < pairs)[:, None]
    lower, upper = -rng.uniform(0, 0.3, N), rng.uniform(0, 0.3, N)
    lower[:2], upper[2:4], lower[4], upper[4], lower[5:7], upper[6:8] = 0, 0, 0, 0, -np.inf, np.inf
    return s, s @ hessian, rng.standard_normal(N), lower, upper


def model(g, b, p):
    return g @ p + 0.5 * p @ b @ p


def exact_cauchy(g, b, lower, upper):
    """Return the first local minimiser of the model along the projected path, piece by piece."""
    room = np.where(g < 0, upper, lower)
    ends = np.where(g == 0, np.inf, -room / np.where(g == 0, 1, g))
    t = 0.0
    for end in [*np.unique(ends[ends > 0])]:
        p, v = np.clip(-t * g, lower, upper), np.where(ends > t, -g, 0)
        slope, curvature = (g + b @ p) @ v, v @ b @ v
        if slope >= 0:
            return p
        if t - slope / curvature < end:
            return p - slope / curvature * v
        t = end
    return np.clip(-t * g, lower, upper) if np.isfinite(t) else p


@pytest.mark.parametrize("seed", SEEDS)
def test_the_step_is_in_the_box_and_not_above_the_exact_cauchy_point(seed):
    s, y, g, lower, upper = case(seed)
    p, value, b = map(np.asarray, step(s, y, g, lower, upper))
    assert np.all((p >= lower) & (p <= upper))
    assert value == pytest.approx(model(g, b, p), rel=1e-10)
    assert value <= model(g, b, exact_cauchy(g, b, lower, upper)) * (1 - 1e-12) < 0
    assert g @ p < 0


def test_most_steps_are_nearly_the_minimiser_in_the_box():
    parts = []
    for seed in SEEDS:
        s, y, g, lower, upper = case(seed)
        _, value, b = map(np.asarray, step(s, y, g, lower, upper))
        bounds = list(zip(lower, upper, strict=True))
        best = scipy.optimize.minimize(
            lambda p, b=b, g=g: (model(g, b, p), g + b @ p), np.zeros(N), jac=True, method="L-BFGS-B", bounds=bounds
        )
        parts.append(value / best.fun)
    assert np.median(parts) > 0.99
    assert np.min(parts) > 0.8


def test_without_pairs_the_step_is_the_projected_gradient():
    s, y, g, lower, upper = case(0, pairs=0)
    p, _, b = step(s, y, g, lower, upper)
    np.testing.assert_allclose(b, np.eye(N))
    np.testing.assert_allclose(p, np.clip(-g, lower, upper), rtol=1e-12)


def test_without_bounds_the_step_is_that_of_the_inverse():
    s, y, g, _, _ = case(1)
    infinite = np.full(N, np.inf)
    p, _, b = map(np.asarray, step(s, y, g, -infinite, infinite))
    np.testing.assert_allclose(p, -np.linalg.solve(b, g), rtol=1e-9)


def test_where_no_entry_can_move_the_step_is_zero_and_so_is_its_value():
    s, y, g, _, _ = case(2)
    p, value, _ = step(s, y, g, np.zeros(N), np.zeros(N))
    assert np.all(p == 0)
    assert value == 0


def test_a_nan_in_the_gradient_gives_no_step_below_zero():
    s, y, g, lower, upper = case(3)
    g[0] = np.nan
    assert not step(s, y, g, lower, upper)[1] < 0

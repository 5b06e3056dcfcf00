# SPDX-License-Identifier: Apache-2.0
"""Steihaug's step against a transcription in extended precision, and what it promises on any symmetric matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import nested_tree, tolerance

from jopt import tree
from jopt.linalg import steihaug
from jopt.linalg.steihaug import shorten
from jopt.status import KrylovStatus

CASES = {
    "convex inside": ([1.0, 2.0, 5.0, 9.0], [1.0, -2.0, 0.5, 3.0], 10.0),
    "convex at the boundary": ([1.0, 2.0, 5.0, 9.0], [1.0, -2.0, 0.5, 3.0], 0.8),
    "convex, first step outside": ([1.0, 2.0, 5.0, 9.0], [1.0, -2.0, 0.5, 3.0], 1e-3),
    "negative at once": ([-3.0, -1.0, 2.0, 1.0], [1.0, -2.0, 0.5, 3.0], 2.0),
    "negative later": ([-0.05, 2.0, 5.0, 9.0], [0.1, -2.0, 0.5, 3.0], 4.0),
    "negative later, far": ([-0.05, 2.0, 5.0, 9.0], [0.1, -2.0, 0.5, 3.0], 100.0),
    "flat": ([0.0, 2.0, 5.0, 9.0], [1.0, -2.0, 0.5, 3.0], 50.0),
}


def matrix(eigenvalues, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues),) * 2))
    a = q @ np.diag(eigenvalues) @ q.T
    return (a + a.T) / 2


def model(a, g, p):
    return g @ p + p @ a @ p / 2


def transcription(a, g, radius, rtol):
    """Return the step by the algorithm as printed (Nocedal and Wright 2006, 7.2), with both ends compared."""
    a, g = np.asarray(a, np.longdouble), np.asarray(g, np.longdouble)
    p, r, d = np.zeros_like(g), g.copy(), -g
    for _ in range(2 * len(g)):
        curvature = d @ a @ d
        roots = np.roots(np.asarray([d @ d, 2 * p @ d, p @ p - radius**2], float))
        ends = [p + t.real * d for t in roots]
        if curvature <= 0:
            return min(ends, key=lambda q: model(a, g, q)), KrylovStatus.NEGATIVE_CURVATURE
        alpha = (r @ r) / curvature
        if np.sqrt((p + alpha * d) @ (p + alpha * d)) >= radius:
            return p + max(t.real for t in roots) * d, KrylovStatus.BOUNDARY
        p, after = p + alpha * d, r + alpha * (a @ d)
        if np.sqrt(after @ after) <= rtol * np.sqrt(g @ g):
            return p, KrylovStatus.CONVERGED
        r, d = after, -after + (after @ after) / (r @ r) * d
    return p, KrylovStatus.MAX_ITERATIONS


@jax.jit
def solve(a, g, radius, rtol):
    return steihaug(lambda v: a @ v, g, radius, rtol=rtol)


@pytest.mark.parametrize("rtol", [0.3, 1e-10])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_transcription(case, rtol):
    eigenvalues, g, radius = CASES[case]
    a, g = matrix(eigenvalues), np.asarray(g)
    expected, status = transcription(a, g, radius, rtol)
    found = solve(a, g, radius, rtol)
    assert KrylovStatus(int(found.status)) is status
    np.testing.assert_allclose(found.step.step, np.asarray(expected, float), rtol=1e-9, atol=1e-10 * radius)


def test_the_cases_end_in_every_way():
    seen = {transcription(matrix(e), g, radius, 1e-10)[1] for e, g, radius in CASES.values()}
    assert seen == {KrylovStatus.CONVERGED, KrylovStatus.BOUNDARY, KrylovStatus.NEGATIVE_CURVATURE}


def test_at_negative_curvature_the_lower_end_is_taken_also_where_it_lies_behind():
    backward = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        a, g = matrix([3.0, 1.0, 0.5, -1.0], seed), rng.standard_normal(4)
        found = solve(a, g, 30.0, 1e-12)
        expected, status = transcription(a, g, 30.0, 1e-12)
        np.testing.assert_allclose(found.step.step, np.asarray(expected, float), atol=1e-8)
        assert status is KrylovStatus.NEGATIVE_CURVATURE
        backward.append(forward_end_is_higher(a, g, 30.0))
    assert {True, False} == set(backward)


def forward_end_is_higher(a, g, radius):
    p, r, d = np.zeros_like(g), g, -g
    while d @ a @ d > 0:
        alpha = (r @ r) / (d @ a @ d)
        p, after = p + alpha * d, r + alpha * a @ d
        r, d = after, -after + (after @ after) / (r @ r) * d
    back, forth = sorted(np.roots([d @ d, 2 * p @ d, p @ p - radius**2]).real)
    return model(a, g, p + back * d) < model(a, g, p + forth * d)


@pytest.mark.parametrize("seed", range(20))
def test_promises(seed):
    rng = np.random.default_rng(seed)
    a, g, radius = matrix(rng.standard_normal(4) * 3, seed), rng.standard_normal(4), 10.0 ** rng.uniform(-3, 2)
    found = solve(a, g, radius, 1e-8)
    p = np.asarray(found.step.step)
    curvature, g_norm = g @ a @ g, np.linalg.norm(g)
    t = radius / g_norm if curvature <= 0 else min(radius / g_norm, g_norm**2 / curvature)
    assert np.linalg.norm(p) <= radius * (1 + 1e-12)
    assert model(a, g, p) <= model(a, g, -t * g) * (1 - 1e-12)  # Cauchy's decrease, both are negative
    assert float(found.step.decrease) == pytest.approx(-model(a, g, p), rel=1e-9)
    assert float(found.step.slope) == pytest.approx(g @ p, rel=1e-9)
    assert float(found.step.norm) == pytest.approx(np.linalg.norm(p), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_a_shorter_step_from_the_path_is_as_long_as_asked_known_to_the_model_and_no_worse_than_cauchys(seed):
    rng = np.random.default_rng(seed)
    a, g = matrix(rng.standard_normal(4) * 3 + 2, seed), rng.standard_normal(4)
    found = solve(a, g, 5.0, 1e-8)
    full = float(found.step.norm)
    for part in (0.9, 0.25, 0.06, 1e-3):
        short = SHORTEN(found.path, part * full)
        p = np.asarray(short.step)
        curvature, g_norm = g @ a @ g, np.linalg.norm(g)
        t = part * full / g_norm if curvature <= 0 else min(part * full / g_norm, g_norm**2 / curvature)
        assert np.linalg.norm(p) == pytest.approx(part * full, rel=1e-9)
        assert float(short.norm) == pytest.approx(part * full, rel=1e-12)
        assert float(short.slope) == pytest.approx(g @ p, rel=1e-8)
        assert float(short.decrease) == pytest.approx(-model(a, g, p), rel=1e-7)
        assert float(short.decrease) >= -model(a, g, -t * g) * (1 - 1e-9)


SHORTEN = jax.jit(shorten)


def test_where_each_iterate_doubles_a_shorter_step_is_the_run_with_the_smaller_radius():
    a, g = np.diag([0.01, 1.0, 100.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0])
    found = solve(a, g, 1e3, 1e-10)
    assert int(found.nhev) == 3
    norms = np.sort(np.asarray(found.path.norms)[:3])
    assert np.all(norms[1:] > 2 * norms[:-1])
    for radius in (norms[0] * 0.3, norms[0] * 1.2, norms[1] * 1.1, norms[2] * 0.9):
        again = solve(a, g, radius, 1e-12)
        np.testing.assert_allclose(SHORTEN(found.path, radius).step, again.step.step, rtol=1e-8, atol=1e-10)


def test_the_path_for_the_radius_of_the_run_is_its_last_step():
    a, g = matrix([1.0, 2.0, 5.0, 9.0]), np.array([1.0, -2.0, 0.5, 3.0])
    for radius in (10.0, 0.8):
        found = solve(a, g, radius, 1e-10)
        np.testing.assert_allclose(SHORTEN(found.path, radius).step, found.step.step, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("radius", [1e-100, 1e-200, 1e-300])
def test_a_step_shortened_beyond_any_square_is_still_a_part_of_the_first_iterate(radius):
    a, g = matrix([1.0, 2.0, 5.0, 9.0]), np.array([1.0, -2.0, 0.5, 3.0])
    short = SHORTEN(solve(a, g, 0.8, 1e-8).path, radius)
    part = np.asarray(short.step)
    assert np.all(np.isfinite(part))
    np.testing.assert_allclose(part, -radius * g / np.linalg.norm(g), rtol=1e-9, atol=0)


def test_no_curvature_stays_none_however_long_the_radius_beside_the_gradient():
    found = solve(np.zeros((2, 2)), np.array([1e-300, 2e-300]), 1e10, 1e-8)
    assert int(found.status) == KrylovStatus.NEGATIVE_CURVATURE
    assert float(found.step.norm) == pytest.approx(1e10)


def test_one_kept_iterate_leaves_parts_of_the_last_step():
    a, g = matrix([1.0, 30.0, 900.0]), np.array([1.0, 30.0, 900.0])
    found = jax.jit(lambda: steihaug(lambda v: a @ v, g, 1e3, rtol=1e-12, kept=1))()
    short = SHORTEN(found.path, found.step.norm / 4)
    np.testing.assert_allclose(short.step, found.step.step / 4, rtol=1e-9)
    assert found.path.numbers.shape == (1, 3)


def test_residual_is_as_small_as_asked_and_no_product_is_made_beyond():
    a, g = matrix([1.0, 2.0, 5.0, 9.0]), np.array([1.0, -2.0, 0.5, 3.0])
    products = []
    for rtol in (0.9, 1e-10):
        found = solve(a, g, 100.0, rtol)
        residual = np.linalg.norm(g + a @ np.asarray(found.step.step))
        assert residual <= rtol * np.linalg.norm(g)
        products.append(int(found.nhev))
    assert products == [1, 4]  # exact after n products


def test_the_budget_ends_a_run():
    a, g = matrix([1.0, 2.0, 5.0, 9.0]), np.array([1.0, -2.0, 0.5, 3.0])
    found = jax.jit(lambda: steihaug(lambda v: a @ v, g, 100.0, rtol=0.0, maxiter=2))()
    assert KrylovStatus(int(found.status)) is KrylovStatus.MAX_ITERATIONS
    assert int(found.nhev) == 2


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_long_and_short_gradients_in_float32_neither_overflow_nor_vanish(scale):
    a = jnp.asarray(np.diag([1.0, 4.0]), jnp.float32)
    g = jnp.asarray([1.0, 2.0], jnp.float32)
    scaled = solve(a, g * jnp.float32(scale), jnp.float32(0.1 * scale), jnp.float32(1e-6))
    plain = solve(a, g, jnp.float32(0.1), jnp.float32(1e-6))
    np.testing.assert_allclose(np.asarray(scaled.step.step, np.float64) / scale, plain.step.step, rtol=1e-5)
    assert int(scaled.status) == int(plain.status) == KrylovStatus.BOUNDARY


def test_a_product_that_is_not_finite_leaves_the_last_finite_iterate():
    a, g = np.diag([1.0, 3.0]), np.array([1.0, 1.0])

    @jax.jit
    def run(otherwise, first):
        def operator(v):
            return jnp.where(jnp.abs(v[0] - v[1]) < 1e-9, first, otherwise) * (a @ v)  # only the first direction is -g

        return steihaug(operator, g, 10.0, rtol=1e-10)

    found = run(np.nan, 1.0)
    assert KrylovStatus(int(found.status)) is KrylovStatus.NONFINITE
    np.testing.assert_allclose(found.step.step, -g * (g @ g) / (g @ a @ g), rtol=1e-12)
    nothing = run(np.nan, np.nan)
    assert KrylovStatus(int(nothing.status)) is KrylovStatus.NONFINITE
    assert not np.any(nothing.step.step)
    assert KrylovStatus(int(solve(np.eye(4), np.full(4, np.nan), 1.0, 0.1).status)) is KrylovStatus.NONFINITE


def test_a_zero_gradient_needs_no_product():
    found = solve(np.eye(4), np.zeros(4), 1.0, 0.1)
    assert KrylovStatus(int(found.status)) is KrylovStatus.CONVERGED
    assert int(found.nhev) == 0
    assert not np.any(found.step.step)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_trees_keep_their_dtypes(dtype):
    grads = nested_tree(jnp.dtype(dtype))
    with jax.numpy_dtype_promotion("strict"):
        found = jax.jit(lambda g: steihaug(lambda v: jax.tree.map(lambda x: x + x, v), g, 100.0, rtol=1e-2))(grads)
    assert [x.dtype for x in jax.tree.leaves(found.step.step)] == [x.dtype for x in jax.tree.leaves(grads)]
    for p, g in zip(jax.tree.leaves(found.step.step), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(
            np.asarray(p, np.float64), -np.asarray(g, np.float64) / 2, rtol=4 * tolerance(dtype), atol=1e-6
        )
    assert found.step.norm.dtype == tree.scalar_dtype(grads)


def test_lanes_of_a_batch_do_not_meet():
    a = np.stack([matrix(CASES[c][0]) for c in CASES])
    g = np.stack([CASES[c][1] for c in CASES])
    radius = np.array([CASES[c][2] for c in CASES])
    batch = jax.jit(jax.vmap(solve, in_axes=(0, 0, 0, None)))(a, g, radius, 1e-10)
    for i in range(len(CASES)):
        alone = solve(a[i], g[i], radius[i], 1e-10)
        np.testing.assert_allclose(batch.step.step[i], alone.step.step, rtol=1e-9, atol=1e-12 * radius[i])
        assert int(batch.nhev[i]) == int(alone.nhev)


def test_errors():
    g = {"a": jnp.ones(2)}
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"steihaug: radius must be in \(0, inf\]"):
            steihaug(lambda v: v, g, wrong)
    with pytest.raises(ValueError, match=r"steihaug: rtol must be in \[0, 1\]"):
        steihaug(lambda v: v, g, 1.0, rtol=2.0)
    with pytest.raises(ValueError, match="steihaug: maxiter must be a whole number >= 1"):
        steihaug(lambda v: v, g, 1.0, maxiter=0)
    with pytest.raises(ValueError, match="steihaug: kept must be a whole number >= 1"):
        steihaug(lambda v: v, g, 1.0, kept=0)
    with pytest.raises(ValueError, match=r"steihaug: operator\(v\) must be a tree like .*\['a'\]"):
        steihaug(lambda _: {"a": jnp.ones(3)}, g, 1.0)

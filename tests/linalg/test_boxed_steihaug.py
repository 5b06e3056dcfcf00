# SPDX-License-Identifier: Apache-2.0
"""The step within a box and a ball: exact on convex problems, feasible and no worse than Cauchy's on all others."""

import itertools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from operators_for_tests import flat, on_trees, symmetric
from scipy.optimize import lsq_linear
from support import nested_tree

from jopt import tree
from jopt.bench.marker import copies, marker_p
from jopt.linalg import boxed_steihaug, steihaug
from jopt.linalg.box import Box
from jopt.linalg.boxed_path import shorten_boxed
from jopt.status import KrylovStatus

INF = np.inf


@jax.jit
def program(a, g, low, high, radius, rtol, atol, maxiter, crooked):
    def product(v):
        return jnp.where(jnp.max(jnp.abs(v)) < 0.5, crooked, 1.0) * (a @ v)

    return boxed_steihaug(product, g, Box(low, high), radius, rtol=rtol, atol=atol, maxiter=maxiter)


def solve(a, g, low, high, radius, rtol, atol=0.0, maxiter=1000, crooked=1.0):
    """Run on a matrix; `crooked` multiplies the products with short vectors, of which no linear operator knows."""
    return program(a, g, low, high, radius, rtol, atol, maxiter, crooked)


SHORTEN = jax.jit(shorten_boxed)


def status(found):
    return KrylovStatus(int(found.status))


def model(a, g, p):
    return g @ p + p @ a @ p / 2


def stationarity(a, g, low, high, p):
    """Return |p - P(p - (g + A p))|_inf."""
    return np.abs(np.clip(g + a @ p, p - high, p - low)).max()


def minimum_by_active_sets(a, g, low, high):
    """Return the least value of a convex model over a box, by trying every set of active bounds."""
    best = 0.0
    for sides in itertools.product((0, 1, 2), repeat=len(g)):
        sides = np.array(sides)
        p = np.where(sides == 1, low, np.where(sides == 2, high, 0.0))
        free = sides == 0
        p[free] = np.linalg.solve(a[np.ix_(free, free)], -g[free] - a[np.ix_(free, ~free)] @ p[~free])
        if np.all(np.isfinite(p) & (p >= low - 1e-12) & (p <= high + 1e-12)):
            best = min(best, model(a, g, p))
    return best


@given(
    seed=st.integers(0, 10**6),
    condition=st.sampled_from([1.0, 1e2, 1e4]),
    rooms=st.lists(st.sampled_from([0.0, 1e-6, 0.1, 1.0, 1e3]), min_size=8, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_reaches_the_minimiser_of_a_convex_model_in_a_box(seed, condition, rooms):
    rng = np.random.default_rng(seed)
    a, g = symmetric(np.geomspace(1 / condition, 1, 4), seed), rng.standard_normal(4)
    low, high = -np.array(rooms[:4]), np.array(rooms[4:])
    found = solve(a, g, low, high, INF, 0.0)
    p = np.asarray(found.step.step)
    assert status(found) is KrylovStatus.CONVERGED
    assert int(found.nhev) <= 40
    assert np.all((low <= p) & (p <= high))
    assert stationarity(a, g, low, high, p) <= 1e-12 * np.abs(g).max()
    least = minimum_by_active_sets(a, g, low, high)
    assert float(found.step.decrease) == pytest.approx(-least, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_bounded_least_squares_in_thirty_unknowns(seed):
    rng = np.random.default_rng(seed)
    a, g = symmetric(np.geomspace(1e-3, 1, 30), seed), rng.standard_normal(30) * 10.0 ** rng.uniform(-2, 2, 30)
    low, high = (sign * 10.0 ** rng.uniform(-2, 2, 30) for sign in (-1, 1))
    factor = np.linalg.cholesky(a)
    expected = lsq_linear(factor.T, -np.linalg.solve(factor, g), (low, high), method="bvls", tol=1e-14).x
    found = solve(a, g, low, high, INF, 0.0)
    np.testing.assert_allclose(found.step.step, expected, atol=1e-9 * np.abs(expected).max())
    assert int(found.nhev) <= 4 * 30
    at_bound = (expected == low) | (expected == high)
    assert 0 < at_bound.sum() < 30
    np.testing.assert_array_equal(np.asarray(found.residual)[at_bound], 0.0)


def test_a_zero_multiplier_at_an_active_bound_is_no_obstacle():
    a = symmetric([1.0, 2.0, 3.0, 4.0])
    expected = np.array([0.5, -0.5, 0.2, 0.1])
    g = -a @ expected  # the free minimiser lies exactly on two bounds
    found = solve(a, g, np.array([-1.0, -0.5, -1.0, -1.0]), np.array([0.5, 1.0, 1.0, 1.0]), INF, 0.0)
    assert status(found) is KrylovStatus.CONVERGED
    np.testing.assert_allclose(found.step.step, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_without_bounds_the_step_is_steihaugs(seed):
    a, g = symmetric([1.0, 2.0, 5.0, 9.0], seed), np.random.default_rng(seed).standard_normal(4)
    for radius, name in ((100.0, "CONVERGED"), (0.05, "BOUNDARY")):
        plain, found = PLAIN(a, g, radius), solve(a, g, np.full(4, -INF), np.full(4, INF), radius, 1e-10)
        assert status(found) is status(plain) is KrylovStatus[name]
        assert int(found.nhev) == int(plain.nhev)
        np.testing.assert_allclose(found.step.step, plain.step.step, rtol=1e-9)
    found = solve(-a, g, np.full(4, -INF), np.full(4, INF), 2.0, 1e-10)
    assert status(found) is KrylovStatus.NEGATIVE_CURVATURE
    assert float(found.step.norm) == pytest.approx(2.0)


PLAIN = jax.jit(lambda a, g, radius: steihaug(lambda v: a @ v, g, radius, rtol=1e-10))


def random_model(seed):
    """Return an indefinite model, a box that is open here and there, and a radius."""
    rng = np.random.default_rng(seed)
    a, g = symmetric(rng.standard_normal(4) * 3 + 1, seed), rng.standard_normal(4)
    low, high = -rng.uniform(0, 1, 4), rng.uniform(0, 1, 4)
    low[rng.uniform(size=4) < 0.3], high[rng.uniform(size=4) < 0.3] = -INF, INF
    return a, g, low, high, 10.0 ** rng.uniform(-2, 1)


def cauchy(a, g, low, high, radius):
    """Return the least of the model on the projected gradient path in the ball, up to the inverse of the curvature."""
    path = (np.clip(-t * g, low, high) for t in np.linspace(0, 1, 100) / np.linalg.norm(a, 2))
    return min(model(a, g, c) for c in path if np.linalg.norm(c) <= radius)


def test_promises_on_any_model():
    seen = set()
    for seed in range(60):
        a, g, low, high, radius = random_model(seed)
        found = solve(a, g, low, high, radius, 1e-8)
        p = np.asarray(found.step.step)
        seen.add(status(found).name)
        assert np.all((low <= p) & (p <= high))
        assert np.linalg.norm(p) <= radius * (1 + 1e-12)
        assert float(found.step.norm) == pytest.approx(np.linalg.norm(p), rel=1e-12)
        assert float(found.step.slope) == pytest.approx(g @ p, rel=1e-9)
        assert float(found.step.decrease) == pytest.approx(-model(a, g, p), rel=1e-9)
        assert -float(found.step.decrease) <= 0.9 * cauchy(a, g, low, high, radius) < 0
    assert seen == {"CONVERGED", "BOUNDARY", "NEGATIVE_CURVATURE"}


def test_a_shorter_step_is_in_the_box_and_what_the_model_says_of_it_holds():
    for seed in range(60):
        a, g, low, high, radius = random_model(seed)
        found = solve(a, g, low, high, radius, 1e-8)
        full = before = float(found.step.decrease)
        for part in (1.0, 0.9, 0.25, 0.06, 1e-3):
            short = SHORTEN(found.path, part * float(found.step.norm))
            p = np.asarray(short.step)
            assert np.all((low <= p) & (p <= high))
            assert np.linalg.norm(p) <= part * float(found.step.norm) * (1 + 1e-12)
            assert float(short.norm) == pytest.approx(np.linalg.norm(p), rel=1e-12)
            assert float(short.slope) == pytest.approx(g @ p, rel=1e-8)
            assert float(short.decrease) == pytest.approx(-model(a, g, p), rel=1e-7, abs=1e-14)
            assert 0 < float(short.decrease) <= before * (1 + 1e-9)
            assert float(short.decrease) >= 0.5 * part * part * full
            before = float(short.decrease)


def test_the_path_for_the_radius_of_the_run_is_its_last_step():
    for seed in range(10):
        found = solve(*random_model(seed), 1e-8)
        again = SHORTEN(found.path, found.step.norm * (1 + 1e-12))
        np.testing.assert_allclose(again.step, found.step.step, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steepness", [1e2, 1e6, 1e12])
def test_an_entry_with_little_room_does_not_shorten_the_others(steepness):
    a, g = np.diag([steepness, 1.0, 1.0, 1.0]), np.array([steepness, 1.0, -1.0, 0.0])
    low, high = np.array([-1e-9, -5.0, -5.0, -5.0]), np.full(4, 5.0)
    for radius in (INF, 1.0):
        found = solve(a, g, low, high, radius, 0.5)
        p = np.asarray(found.step.step)
        assert p[0] == -1e-9
        np.testing.assert_allclose(p[1:], np.array([-1.0, 1.0, 0.0]) * min(1.0, radius / 2**0.5), atol=1e-6)
        assert int(found.nhev) <= 4


def test_negative_curvature_is_followed_to_the_ball_and_bent_at_bounds():
    a, g, open_ = -np.eye(4), np.array([1.0, 0.1, 0.0, 0.0]), np.full(4, INF)
    found = solve(a, g, -open_, open_, 3.0, 1e-8)
    np.testing.assert_allclose(found.step.step, -3 * g / np.linalg.norm(g))
    found = solve(a, g, np.array([-0.5, -INF, -INF, -INF]), open_, 3.0, 1e-8)
    np.testing.assert_allclose(found.step.step, [-0.5, -((9 - 0.25) ** 0.5), 0, 0])
    assert status(found) is KrylovStatus.NEGATIVE_CURVATURE
    found = solve(a, g, np.full(4, -0.5), np.full(4, 0.5), 3.0, 1e-8)
    np.testing.assert_array_equal(found.step.step, [-0.5, -0.5, 0, 0])
    assert status(found) is KrylovStatus.CONVERGED


def test_negative_curvature_without_a_ball_makes_the_mirrored_step():
    a, g, open_ = -4 * np.eye(4), np.array([2.0, 1.0, 0.0, 0.0]), np.full(4, INF)
    found = solve(a, g, -open_, open_, INF, 1e-8)
    np.testing.assert_allclose(found.step.step, -g / 4)
    assert status(found) is KrylovStatus.NEGATIVE_CURVATURE
    assert float(found.curvature) == pytest.approx(-4.0)
    found = solve(a, g, np.array([-0.1, -INF, -INF, -INF]), open_, INF, 1e-8)
    np.testing.assert_allclose(found.step.step, [-0.1, -0.25, 0, 0])
    assert status(found) is KrylovStatus.NEGATIVE_CURVATURE
    flat_ = solve(np.zeros((4, 4)), g, -open_, open_, INF, 1e-8)
    assert np.all(np.isfinite(flat_.step.step))
    assert g @ np.asarray(flat_.step.step) < 0


def test_held_and_fixed_entries_and_nothing_to_do():
    a, g = symmetric([1.0, 2.0, 5.0, 9.0]), np.array([1.0, -1.0, 2.0, 0.0])
    found = solve(a, g, np.array([0.0, -1.0, 0.0, -1.0]), np.array([0.0, 0.0, 0.0, 1.0]), INF, 0.0)
    np.testing.assert_array_equal(found.step.step, 0.0)
    assert (status(found), int(found.nhev), float(found.step.decrease)) == (KrylovStatus.CONVERGED, 0, 0.0)
    found = solve(a, g, np.array([-1.0, -1.0, 0.0, -1.0]), np.array([0.0, 9.0, 0.0, 1.0]), INF, 0.0)
    assert float(found.step.step[2]) == 0.0
    assert float(found.step.step[0]) < 0 < float(found.step.step[1])


def test_rtol_and_atol_end_the_run_where_they_say():
    a, g = symmetric(np.geomspace(1e-2, 1, 30)), np.random.default_rng(0).standard_normal(30)
    box = (np.full(30, -INF), np.full(30, INF))
    counts = []
    for rtol, atol in ((0.5, 0.0), (1e-2, 0.0), (0.0, 1e-6), (0.0, 0.0)):
        found = solve(a, g, *box, INF, rtol, atol)
        reached = np.linalg.norm(g + a @ np.asarray(found.step.step))
        assert reached <= max(rtol * np.linalg.norm(g), atol, 1e-13)
        assert float(found.residual_norm) == pytest.approx(reached / np.linalg.norm(g), rel=1e-5, abs=1e-12)
        counts.append(int(found.nhev))
    assert counts == sorted(set(counts))


def test_the_other_statuses():
    a, g, ones = symmetric([1.0, 2.0, 5.0, 9.0]), np.array([1.0, -2.0, 0.5, 3.0]), np.ones(4)

    def run(a=a, g=g, radius=INF, **settings):
        found = solve(a, g, -ones, ones, radius, 0.0, **settings)
        assert np.all(np.isfinite(found.step.step))
        return status(found).name, int(found.nhev), float(found.step.decrease)

    assert run(maxiter=2)[:2] == ("MAX_ITERATIONS", 2)
    assert run(a * np.nan) == ("NONFINITE", 1, 0.0)
    assert run(g=np.array([np.inf, 1, 1, 1]))[:2] == ("NONFINITE", 0)
    assert run(radius=-1.0)[:2] == ("NONFINITE", 0)
    # Every candidate is as bad as the direction promised it to be good.
    crooked = run(a * 1e-3, crooked=1e12)
    assert (crooked[0], crooked[2]) == ("LITTLE_PROGRESS", 0.0)


def test_scale_by_powers_of_two_changes_nothing_and_extreme_scales_are_solved():
    a, g, low, high, radius = random_model(3)
    one = np.asarray(solve(a, g, low, high, radius, 1e-8).step.step)
    np.testing.assert_array_equal(solve(a * 2.0**9, g * 2.0**9, low, high, radius, 1e-8).step.step, one)
    s = 2.0**-40
    np.testing.assert_array_equal(solve(a, g * s, low * s, high * s, radius * s, 1e-8).step.step, one * s)
    for f, x in ((1e250, 1.0), (1e-250, 1.0), (1.0, 1e100), (1.0, 1e-100)):
        found = solve(a * f / x / x, g * f / x, low * x, high * x, radius * x, 1e-8)
        np.testing.assert_allclose(np.asarray(found.step.step) / x, one, rtol=1e-6)


def test_lanes_of_a_batch_are_the_runs_one_by_one():
    models = [random_model(seed) for seed in range(8)]
    batch = jax.jit(jax.vmap(lambda *m: solve(*m, 1e-8)))(*map(np.stack, zip(*models, strict=True)))
    for i, each in enumerate(models):
        alone = solve(*each, 1e-8)
        assert (int(batch.status[i]), int(batch.nhev[i])) == (int(alone.status), int(alone.nhev))
        np.testing.assert_allclose(batch.step.step[i], alone.step.step, rtol=1e-9, atol=1e-12)


def test_trees_keep_their_dtypes_and_stay_in_their_box():
    g = nested_tree(jnp.bfloat16, seed=1)
    g["layer"]["bias"] = g["layer"]["bias"].astype(jnp.float32)
    a = symmetric(np.linspace(1, 3, tree.size(g)))
    steps = Box(jax.tree.map(lambda x: -jnp.full_like(x, 0.3), g), jax.tree.map(lambda x: jnp.full_like(x, 0.1), g))

    def both(g, steps):
        found = boxed_steihaug(on_trees(a, g), g, steps, 2.0, rtol=1e-2)
        return found.step, shorten_boxed(found.path, found.step.norm / 2)

    with jax.numpy_dtype_promotion("strict"):
        full, short = jax.jit(both)(g, steps)
    for step in (full, short):
        assert jax.tree.map(lambda x: x.dtype, step.step) == jax.tree.map(lambda x: x.dtype, g)
        leaves = zip(*map(jax.tree.leaves, (step.step, *steps)), strict=True)
        assert all(jnp.all((x >= low) & (x <= high)) for x, low, high in leaves)
        assert step.decrease.dtype == jnp.float32
    # The steps are numbers of bfloat16, so the stationary point is met to its rounding.
    assert stationarity(a, flat(g), flat(steps.lower), flat(steps.upper), flat(full.step)) <= 0.03


def test_a_steep_held_entry_does_not_hide_a_flat_free_one_in_single_precision():
    a, g = np.eye(4, dtype="f"), np.array([1e25, 1e-3, 0.0, 0.0], "f")
    low, high = np.array([0, -1, -1, -1], "f"), np.ones(4, "f")
    found = jax.jit(lambda g: boxed_steihaug(lambda v: a @ v, g, Box(low, high), INF))(g)
    np.testing.assert_allclose(found.step.step, [0, -1e-3, 0, 0], rtol=1e-5)
    assert float(found.step.decrease) == pytest.approx(5e-7, rel=1e-5)


def test_spread_over_devices_the_run_stays_spread():
    mesh = jax.make_mesh((8,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("i"))
    a = np.linspace(1, 3, 64)
    g = np.random.default_rng(0).standard_normal(64)
    put = lambda x: jax.device_put(x, rows)  # noqa: E731
    d, low, high = put(a), put(np.full(64, -0.3)), put(np.full(64, 0.2))
    run = jax.jit(lambda d, g, low, high: boxed_steihaug(lambda v: d * v, g, Box(low, high), INF, rtol=0.0, kept=2))
    compiled = run.lower(d, put(g), low, high).compile()
    assert "all-gather" not in compiled.as_text()
    found = compiled(d, put(g), low, high)
    assert found.step.step.sharding.is_equivalent_to(rows, 1)
    np.testing.assert_allclose(found.step.step, np.clip(-g / a, -0.3, 0.2), atol=1e-12)


def test_the_program_holds_one_product_and_no_path_unless_asked():
    g, steps = jnp.ones(3), Box(-jnp.ones(3), jnp.ones(3))

    def run(kept):
        return lambda g: boxed_steihaug(lambda v: marker_p.bind(v), g, steps, 1.0, kept=kept)

    assert copies(run(4), g) == copies(run(0), g) == 1
    assert jax.eval_shape(run(0), g).path is None
    assert jax.eval_shape(run(2), g).path.points.shape == (2, 3)
    assert len(str(jax.make_jaxpr(run(0))(g))) < len(str(jax.make_jaxpr(run(2))(g)))


def test_bad_arguments_are_named():
    g, steps = jnp.ones(3), Box(-jnp.ones(3), jnp.ones(3))

    def product(v):
        return v

    for message, error, arguments, settings_ in (
        ("radius must be in", ValueError, (product, g, steps, 0.0), {}),
        ("rtol must be in", ValueError, (product, g, steps, 1.0), {"rtol": 1.0}),
        ("atol must be in", ValueError, (product, g, steps, 1.0), {"atol": -1.0}),
        ("maxiter must be a whole number >= 1", ValueError, (product, g, steps, 1.0), {"maxiter": 0}),
        ("kept must be a whole number >= 0", ValueError, (product, g, steps, 1.0), {"kept": -1}),
        ("steps must be a Box", TypeError, (product, g, (g, g), 1.0), {}),
        ("steps.lower must be a tree like grads", ValueError, (product, g, Box(g[:2], g), 1.0), {}),
        ("steps.upper must be a tree like grads", ValueError, (product, g, Box(g, {"a": g}), 1.0), {}),
        ("operator must be a function", TypeError, (3, g, steps, 1.0), {}),
        ("operator\\(v\\) must be a tree like v", ValueError, (lambda v: v[:2], g, steps, 1.0), {}),
        ("grads must be real floating", TypeError, (product, jnp.arange(3), steps, 1.0), {}),
    ):
        with pytest.raises(error, match=f"boxed_steihaug: {message}"):
            jax.eval_shape(lambda: boxed_steihaug(*arguments, **settings_))  # noqa: B023

# SPDX-License-Identifier: Apache-2.0
"""Boxes: the identities between projection, projected gradient, free entries and the room along a direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.linalg import Box, project, projected_gradient
from jopt.linalg.box import free, is_bounded, longest, moved, steps_within

INF = np.inf
# Inside, on either bound with the gradient in and out, fixed, without bounds on one side or both.
X = np.array([0.5, 0.0, 0.0, 1.0, 1.0, 2.0, 7.0, -7.0, 3.0, 0.0])
G = np.array([0.1, 1.0, -1.0, 1.0, -1.0, 5.0, -9.0, 4.0, -2.0, 0.0])
LOWER = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 1.0, -INF, -INF, 0.0])
UPPER = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 2.0, INF, -6.5, INF, 1.0])
BOX = Box({"a": LOWER[:5], "b": [LOWER[5:]]}, {"a": UPPER[:5], "b": [UPPER[5:]]})


def split(v):
    return {"a": jnp.asarray(v[:5]), "b": [jnp.asarray(v[5:])]}


def joined(tree):
    return np.concatenate([tree["a"], tree["b"][0]])


def test_the_projected_gradient_is_the_way_to_the_projection():
    expected = X - np.clip(X - G, LOWER, UPPER)
    np.testing.assert_allclose(joined(projected_gradient(BOX, split(X), split(G))), expected, rtol=1e-15)


def test_it_does_not_cancel_where_the_gradient_is_small_beside_the_point():
    box = Box(jnp.zeros(1), jnp.full(1, 1e9))
    assert float(projected_gradient(box, jnp.full(1, 1e8), jnp.full(1, 1e-9))[0]) == 1e-9


def test_the_projection_is_the_nearest_point_and_keeps_a_nan():
    points = split(np.array([-1.0, 2.0, 0.5, 0.0, 1.0, 9.0, 0.0, 0.0, np.nan, 5.0]))
    expected = [0.0, 1.0, 0.5, 0.0, 1.0, 2.0, 1.0, -6.5, np.nan, 1.0]
    np.testing.assert_array_equal(joined(project(BOX, points)), expected)


def test_the_free_entries_are_those_where_the_projected_step_moves_or_the_gradient_is_zero():
    # A fixed entry is held only where its gradient says so: the projected gradient there is zero either way.
    expected = [True, False, True, True, False, False, True, True, True, True]
    np.testing.assert_array_equal(joined(free(BOX, split(X), split(G))), expected)


def test_the_longest_step_ends_on_the_first_bound():
    steps = steps_within(BOX, split(X))
    d = np.zeros(10)
    d[[0, 6, 8]] = [-0.25, 1.0, 5.0]
    assert float(longest(steps, split(d))) == 2.0  # 0.5 of room at 0.25 a step
    d[0] = 0.0
    assert float(longest(steps, split(d))) == INF
    d[1] = -1.0
    assert float(longest(steps, split(d))) == 0.0
    assert longest(steps, split(d)).dtype == jnp.float64
    assert float(longest(Box((), ()), ())) == INF


@pytest.mark.parametrize("seed", range(3))
def test_a_step_over_all_the_room_lands_on_the_bound_exactly(seed):
    rng = np.random.default_rng(seed)
    low, x, high = np.sort(rng.standard_normal((3, 1000)) * 10.0 ** rng.integers(-8, 8, (1, 1000)), axis=0)
    box = Box(jnp.asarray(low), jnp.asarray(high))
    steps = steps_within(box, jnp.asarray(x))
    np.testing.assert_array_equal(moved(box, jnp.asarray(x), steps.lower), low)
    np.testing.assert_array_equal(moved(box, jnp.asarray(x), steps.upper), high)
    half = moved(box, jnp.asarray(x), jax.tree.map(lambda p: 0.5 * p, steps.upper))
    np.testing.assert_array_equal(half, x + 0.5 * np.asarray(steps.upper))


def test_a_box_is_bounded_where_every_entry_has_two_bounds():
    for lower, upper, expected in [(-1.0, 1.0, True), (-jnp.inf, 1.0, False), (-1.0, jnp.inf, False)]:
        entries = Box(
            {"a": jnp.array([0.0, lower]), "b": jnp.zeros(0)}, {"a": jnp.array([upper, 2.0]), "b": jnp.zeros(0)}
        )
        assert bool(is_bounded(entries)) is expected

# SPDX-License-Identifier: Apache-2.0
"""Stochastic gradients outside the convex hull of the single minima head for it; the hull is SciPy's."""

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

from jopt.bench import hulls


@pytest.fixture(scope="module")
def paths():
    return hulls.stochastic_paths(steps=120)


@pytest.mark.parametrize("seed", range(4))
def test_hull_is_scipys(seed):
    points = np.random.default_rng(seed).normal(size=(20, 2))
    hull = hulls.convex_hull(points)
    reference = points[ConvexHull(points).vertices]  # counter-clockwise too, from another corner
    shift = next(i for i in range(len(reference)) if (reference[i] == hull[0]).all())
    np.testing.assert_array_equal(hull, np.roll(reference, -shift, axis=0))


def test_hull_of_points_in_line_and_of_one():
    np.testing.assert_array_equal(hulls.convex_hull(np.array([[1.0, 1], [0, 0], [2, 2]])), [[0, 0], [2, 2]])
    np.testing.assert_array_equal(hulls.convex_hull(np.ones((3, 2))), [[1, 1]])


def test_a_square_contains_its_border_and_no_more():
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    assert all(hulls.contains(square, np.array(x)) for x in ((0.5, 0.5), (0.0, 0.5), (1.0, 1.0)))
    assert not any(hulls.contains(square, np.array(x)) for x in ((1.1, 0.5), (0.5, -1e-9), (2.0, 2.0)))
    assert hulls.contains(np.ones((1, 2)), np.ones(2))
    assert not hulls.contains(np.ones((1, 2)), np.zeros(2))


def test_what_heads_for_a_hull_is_what_a_linear_program_says():
    rng = np.random.default_rng(5)
    hull = hulls.convex_hull(rng.normal(size=(8, 2)))
    for _ in range(40):
        point, direction = 4 * rng.normal(size=2), rng.normal(size=2)
        if hulls.contains(hull, point):
            continue
        # point + s direction = sum w_i corner_i, w and s >= 0, sum w = 1
        left = np.column_stack([np.vstack([hull.T, np.ones(len(hull))]), [*-direction, 0.0]])
        program = linprog(np.zeros(len(hull) + 1), A_eq=left, b_eq=[*point, 1.0])
        assert hulls.heads_for(hull, point, direction) == (program.status == 0)


def test_a_near_miss_is_a_hit_with_slack():
    corner, direction = np.array([[1.0, 0.0]]), np.array([1.0, 1e-3])
    assert not hulls.heads_for(corner, np.zeros(2), direction)
    assert hulls.heads_for(corner, np.zeros(2), direction, slack=2e-3)
    assert not hulls.heads_for(corner, np.zeros(2), -direction, slack=2e-3)


def test_outside_the_hull_every_stochastic_step_heads_for_it(paths):
    assert (~paths.inside).sum() >= 10
    assert paths.inside.sum() >= 10
    assert paths.heads.all()
    for x, after, i in zip(paths.stochastic, paths.stochastic[1:], paths.terms, strict=False):
        np.testing.assert_allclose(after, x - 0.03 * 2 * (x - paths.minima[i]), atol=1e-12)


def test_inside_the_hull_stochastic_steps_wander_where_full_ones_go_on(paths):
    gaps = [np.linalg.norm(path[-40:] - paths.best, axis=1) for path in (paths.stochastic, paths.full)]
    assert gaps[0].min() > 5 * gaps[1].min()
    assert (np.diff(gaps[0]) > 0).any()
    assert (np.diff(gaps[1]) < 0).all()
    np.testing.assert_allclose(paths.full[1], paths.full[0] - 0.03 * 2 * (paths.full[0] - paths.minima.mean(0)))


def test_unequal_scales_can_turn_a_step_away_from_the_hull():
    assert not hulls.stochastic_paths(scales=(0.1, 10.0, 0.1, 10.0, 1.0), steps=60).heads.all()


def test_equal_minima_let_stochastic_gradients_come_to_rest():
    paths = hulls.stochastic_paths(np.full((3, 2), 0.5), steps=300, rate=0.1, start=(1.0, 2.0))
    np.testing.assert_allclose(paths.stochastic[-1], 0.5, atol=1e-12)
    assert len(paths.hull) == 1


def test_seed_chooses_the_terms():
    runs = [hulls.stochastic_paths(steps=20, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0].terms, runs[1].terms)
    assert (runs[0].terms != runs[2].terms).any()


@pytest.mark.parametrize("settings", [{"rate": 0.0}, {"steps": 0}, {"seed": -1}, {"minima": np.zeros((3, 3))}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match="must"):
        hulls.stochastic_paths(**settings)

# SPDX-License-Identifier: Apache-2.0
"""The bounds of the ends hold from random starts, where residuals alone would mislead, and close as the run converges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.linalg import extremes, lanczos, probes, ritz
from jopt.linalg.extremes import CHANCE

N, STARTS = 60, 300


def runs(steps, dtype):
    @jax.jit
    @jax.vmap
    def program(key, eigenvalues):
        form = lanczos(lambda v: eigenvalues * v, probes.normal(key, jnp.zeros(N, dtype)), steps)
        pairs = ritz(form)
        return extremes(form, pairs), pairs, form

    return program


def spread(eigenvalues):
    return np.broadcast_to(eigenvalues, (STARTS, N))


KEYS = jax.random.split(jax.random.key(0), STARTS)
six_steps, many_steps = runs(6, "float64"), runs(30, "float32")


@pytest.mark.parametrize(
    "eigenvalues", [np.linspace(-0.05, 50.0, N), np.geomspace(1e-3, 1.0, N), -np.geomspace(1e-3, 1.0, N)]
)
def test_the_bounds_hold_from_random_starts_and_residuals_do_not(eigenvalues):
    ends, pairs, _ = six_steps(KEYS, spread(eigenvalues))
    least, greatest = eigenvalues.min(), eigenvalues.max()
    within = np.stack([ends.lowest - ends.lowest_error <= least, ends.highest + ends.highest_error >= greatest])
    assert within.mean() >= 1 - 5 * CHANCE
    by_residual = np.stack([ends.lowest - pairs.errors[:, 0] <= least, ends.highest + pairs.errors[:, -1] >= greatest])
    assert by_residual.mean() < 0.98
    assert (ends.lowest >= least - ends.rounding).all()
    assert (ends.highest <= greatest + ends.rounding).all()
    assert (ends.lowest_error < 2 * (greatest - least)).all()  # they say something


def test_the_bound_is_where_the_lanczos_polynomial_is_as_large_as_the_chance_allows():
    eigenvalues = np.linspace(-1.0, 2.0, N)
    ends, pairs, form = jax.tree.map(lambda x: np.asarray(x[0]), six_steps(KEYS, spread(eigenvalues)))
    d = CHANCE * np.sqrt(np.pi / (2 * N))
    low, high = ends.lowest - (ends.lowest_error - ends.rounding), ends.highest + (ends.highest_error - ends.rounding)
    for t in (low, high):
        p = np.prod((t - pairs.values) / form.offdiagonal)
        assert abs(p) == pytest.approx(1 / d, rel=1e-9)
    # p(A) v_1 is the residual's direction.
    v = np.prod([(eigenvalues - theta) for theta in pairs.values], axis=0) / np.prod(form.offdiagonal) * form.basis[0]
    np.testing.assert_allclose(v, form.residual / form.offdiagonal[-1], atol=1e-10)


def test_the_chance_is_that_of_one_coordinate_of_a_random_direction():
    d, n, draws = 0.05, 50, 20000
    x = np.random.default_rng(0).standard_normal((draws, n))
    share = np.mean(np.abs(x[:, 0]) < d * np.linalg.norm(x, axis=1))
    assert share <= d * np.sqrt(2 * n / np.pi) * 1.03
    assert share >= 0.9 * d * np.sqrt(2 * n / np.pi)


def test_the_bounds_close_as_separate_ends_are_found():
    eigenvalues = np.concatenate([[-3.0], np.linspace(0.0, 1.0, N - 2), [5.0]]).astype("float32")
    ends, _, form = many_steps(KEYS, spread(eigenvalues))
    assert (form.taken == 30).all() or (form.taken > 15).all()
    np.testing.assert_allclose(ends.lowest, -3.0, rtol=1e-5)
    np.testing.assert_allclose(ends.highest, 5.0, rtol=1e-5)
    assert (ends.lowest_error < 1e-2).all()
    assert (ends.highest_error < 1e-2).all()
    assert ends.highest_error.dtype == jnp.float32


def test_repeated_eigenvalues_end_early_and_nothing_seen_is_nan():
    eigenvalues = np.where(np.arange(N) % 2 == 0, 2.0, 7.0)
    ends, _, form = six_steps(KEYS, spread(eigenvalues))
    assert (form.taken == 2).all()
    np.testing.assert_allclose(ends.lowest, 2.0)
    assert (ends.lowest_error < 1e-9).all()
    assert (ends.highest_error < 1e-9).all()
    ends, _, _ = six_steps(KEYS, np.full((STARTS, N), np.nan))
    assert np.isnan(jax.tree.leaves(ends)).all()

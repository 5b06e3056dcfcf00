# SPDX-License-Identifier: Apache-2.0
"""Lanczos by its defining relation, its quadrature and its error bounds, against dense matrices in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from operators_for_tests import SIZE, flat, on_trees, rows, symmetric
from support import nested_tree, tolerance

from jopt import tree
from jopt.linalg import extremes, lanczos, probes, ritz, ritz_vector
from jopt.status import KrylovStatus

STEPS = 8
MATRIX = symmetric(np.linspace(-3.0, 7.0, SIZE))
VECTOR = jnp.asarray(np.random.default_rng(1).standard_normal(6))


@functools.partial(jax.jit, static_argnames="steps")
def run(matrix, start, steps=STEPS):
    """Return form and pairs of a run on trees."""
    form = lanczos(on_trees(matrix, start), start, steps)
    return form, ritz(form)


def on_vectors(matrix, start, steps=50):
    form = program_on_vectors(jnp.asarray(matrix), jnp.asarray(start), steps)
    return form, ritz(form)


vector = jax.jit(ritz_vector)
program_on_vectors = jax.jit(lambda a, q, steps: lanczos(lambda v: a @ v, q, steps), static_argnums=2)


@pytest.fixture(scope="module", params=["float32", "float64", "bfloat16"])
def decomposition(request):
    start = nested_tree(jnp.dtype(request.param), seed=3)
    return start, *run(MATRIX, start)


def tridiagonal(form):
    taken = int(form.taken)
    alpha, beta = np.asarray(form.diagonal, float)[:taken], np.asarray(form.offdiagonal, float)[: taken - 1]
    return np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1)


# The relation ---------------------------------------------------------------------------------------------------------


def test_the_defining_relation_holds(decomposition):
    start, form, _ = decomposition
    v, t = rows(form.basis), tridiagonal(form)
    residual = np.outer(np.eye(STEPS)[-1], flat(form.residual))
    assert np.abs(v @ MATRIX - (t @ v + residual)).max() < 7.0 * tolerance(start["gain"].dtype)


def test_the_basis_is_orthonormal_and_begins_with_the_start(decomposition):
    start, form, _ = decomposition
    v = rows(form.basis)
    scalars = tree.scalar_dtype(start)
    assert np.abs(v @ v.T - np.eye(STEPS)).max() < tolerance(scalars)
    np.testing.assert_allclose(v[0], flat(start) / np.linalg.norm(flat(start)), atol=tolerance(scalars))
    assert np.abs(v @ flat(form.residual)).max() < 7.0 * tolerance(start["gain"].dtype)


def test_the_fields_have_the_stated_dtypes_and_shapes(decomposition):
    start, form, pairs = decomposition
    scalars = tree.scalar_dtype(start)
    assert jax.tree.map(lambda x: x.shape[1:], form.basis) == jax.tree.map(jnp.shape, start)
    assert {x.dtype for x in jax.tree.leaves(form.basis)} == {scalars}
    assert jax.tree.map(jnp.result_type, form.residual) == jax.tree.map(jnp.result_type, start)
    assert form.diagonal.dtype == form.offdiagonal.dtype == form.asymmetry.dtype == pairs.errors.dtype == scalars
    assert form.taken.dtype == form.nhev.dtype == form.status.dtype == jnp.int32
    assert int(form.taken) == int(form.nhev) == STEPS
    assert int(form.status) == KrylovStatus.MAX_ITERATIONS


def test_an_eigenvalue_lies_within_each_error(decomposition):
    _, _, pairs = decomposition
    eigenvalues = np.linspace(-3.0, 7.0, SIZE)
    distances = np.abs(np.asarray(pairs.values, float)[:, None] - eigenvalues).min(axis=1)
    assert (distances <= np.asarray(pairs.errors, float)).all()


def test_errors_are_the_residuals_of_the_ritz_vectors():
    form, pairs = run(MATRIX, nested_tree(jnp.float64, seed=3))
    for i in (0, 3, STEPS - 1):
        y = flat(vector(form, np.asarray(pairs.vectors)[:, i]))
        assert np.linalg.norm(y) == pytest.approx(1.0, rel=1e-14)
        residual = np.linalg.norm(MATRIX @ y - float(pairs.values[i]) * y)
        assert float(pairs.errors[i] - pairs.rounding) == pytest.approx(residual, rel=1e-10)


def test_extreme_ritz_values_lie_inside_the_spectrum(decomposition):
    _, _, pairs = decomposition
    rounding = float(pairs.rounding)
    assert float(pairs.values[0]) >= -3.0 - rounding
    assert float(pairs.values[-1]) <= 7.0 + rounding


def test_values_and_weights_integrate_polynomials_of_degree_2k_minus_1():
    start = nested_tree(jnp.float64, seed=3)
    q, (_, pairs) = flat(start), run(MATRIX / 7.0, start)
    moments = [q @ np.linalg.matrix_power(MATRIX / 7.0, degree) @ q / (q @ q) for degree in range(2 * STEPS + 1)]
    quadrature = [
        np.sum(np.asarray(pairs.weights) * np.asarray(pairs.values) ** degree) for degree in range(2 * STEPS + 1)
    ]
    np.testing.assert_allclose(quadrature[:-1], moments[:-1], rtol=1e-11)
    assert abs(quadrature[-1] - moments[-1]) > 1e-8


def test_n_steps_find_all_eigenvalues_and_more_are_not_made():
    a = symmetric([-2.0, -1.0, 0.0, 1.0, 4.0, 9.0])
    form, pairs = on_vectors(a, VECTOR)
    assert form.diagonal.shape == (6,)
    assert int(form.nhev) == 6
    assert int(form.status) == KrylovStatus.CONVERGED
    np.testing.assert_allclose(pairs.values, [-2.0, -1.0, 0.0, 1.0, 4.0, 9.0], atol=1e-13)
    ends = extremes(form, pairs)
    assert float(ends.lowest_error) == float(ends.highest_error) == float(ends.rounding) < 1e-13


def test_the_basis_stays_orthonormal_where_the_plain_recurrence_loses_it():
    n, steps = 60, 45
    eigenvalues = np.append(np.linspace(0.0, 1.0, n - 1), 100.0)
    start = np.random.default_rng(0).standard_normal(n)
    form, _ = on_vectors(np.diag(eigenvalues), start, steps)
    gram = np.asarray(form.basis @ form.basis.T)
    assert np.abs(gram - np.eye(steps)).max() < 1e-14

    basis, before, beta = [start / np.linalg.norm(start)], np.zeros(n), 0.0
    for _ in range(steps - 1):
        w = eigenvalues * basis[-1] - beta * before
        w -= (w @ basis[-1]) * basis[-1]
        before, beta = basis[-1], np.linalg.norm(w)
        basis.append(w / beta)
    assert np.abs(np.array(basis) @ np.array(basis).T - np.eye(steps)).max() > 0.5


# How it ends ----------------------------------------------------------------------------------------------------------


def test_an_invariant_space_ends_it_early():
    a = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    form, pairs = on_vectors(a, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    assert int(form.status) == KrylovStatus.CONVERGED
    assert int(form.taken) == int(form.nhev) == 2
    seen = np.asarray(pairs.weights) > 0
    np.testing.assert_allclose(np.asarray(pairs.values)[seen], [2.0, 5.0], rtol=1e-14)
    # Slots without a step lie inside the spectrum and weigh nothing.
    np.testing.assert_allclose(np.asarray(pairs.values), [2.0, 3.5, 3.5, 3.5, 3.5, 5.0], rtol=1e-14)
    assert np.abs(np.asarray(form.basis)[2:]).max() == 0.0
    assert np.abs(np.asarray(form.diagonal)[2:]).max() == 0.0


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5])
def test_multiples_of_the_identity_take_one_step(value):
    form, pairs = on_vectors(value * np.eye(6), VECTOR)
    assert int(form.nhev) == 1
    assert int(form.status) == KrylovStatus.CONVERGED
    np.testing.assert_allclose(pairs.values, value, rtol=1e-15)
    assert abs(float(vector(form, np.asarray(pairs.vectors)[:, np.argmax(pairs.weights)]) @ VECTOR)) == pytest.approx(
        np.linalg.norm(VECTOR)
    )


def test_an_operator_that_is_not_symmetric_is_caught():
    a = symmetric([-2.0, -1.0, 0.0, 1.0, 4.0, 9.0])
    skew = np.triu(np.ones((6, 6)), 1)
    form, _ = on_vectors(a + 1e-3 * (skew - skew.T), VECTOR)
    assert int(form.status) == KrylovStatus.NOT_SYMMETRIC
    assert 1e-6 < float(form.asymmetry) < 1e-2
    form, _ = on_vectors(a, VECTOR)
    assert float(form.asymmetry) < 1e-14


def path_until_the_third_entry(v):
    """Apply the matrix of a path; not finite as soon as v has a third entry."""
    product = jnp.roll(v, 1).at[0].set(0.0) + jnp.roll(v, -1).at[-1].set(0.0)
    return jnp.where(v[2] == 0, product, jnp.nan)


def test_a_product_that_is_not_finite_leaves_the_steps_before_it():
    form = jax.jit(lambda q: lanczos(path_until_the_third_entry, q, 5))(2.0 * jnp.eye(6)[0])
    pairs = ritz(form)
    assert int(form.status) == KrylovStatus.NONFINITE
    assert (int(form.taken), int(form.nhev)) == (2, 3)
    assert bool(jnp.all(jnp.isfinite(form.basis)))
    np.testing.assert_allclose(np.asarray(pairs.values)[[0, -1]], [-1.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(np.asarray(pairs.errors)[[0, -1]], 0.5**0.5, rtol=1e-12)
    np.testing.assert_allclose(form.residual, np.eye(6)[2], atol=1e-15)


@pytest.mark.parametrize("start", [0.0, np.nan, np.inf])
def test_a_start_without_a_direction_makes_no_step(start):
    form, pairs = on_vectors(np.eye(6), np.full(6, start))
    assert int(form.status) == KrylovStatus.NONFINITE
    assert int(form.taken) == int(form.nhev) == 0
    assert np.isnan(pairs.values).all()
    assert np.isnan(pairs.errors).all()
    assert np.asarray(vector(form, np.asarray(pairs.vectors)[:, 0])).tolist() == [0.0] * 6


def test_squares_out_of_range_do_no_harm():
    start = nested_tree(jnp.float32, seed=3)
    form, _ = run(MATRIX, start)
    for size in (1e30, 1e-30):
        scaled, pairs = run(MATRIX * size, tree.scale(size, start))
        np.testing.assert_allclose(np.asarray(scaled.diagonal, float) / size, form.diagonal, atol=1e-3)
        assert np.isfinite(pairs.errors).all()
        assert int(scaled.taken) == STEPS


# Around it ------------------------------------------------------------------------------------------------------------


def test_vmap_is_a_loop():
    starts = jnp.stack([VECTOR, jnp.zeros(6).at[1].set(3.0), jnp.full(6, jnp.nan)])
    a = jnp.diag(jnp.arange(1.0, 7.0))
    batch = jax.jit(jax.vmap(lambda q: program_on_vectors(a, q, 50)))(starts)
    assert batch.status.tolist() == [KrylovStatus.CONVERGED, KrylovStatus.CONVERGED, KrylovStatus.NONFINITE]
    assert batch.nhev.tolist() == [6, 1, 0]
    for i in range(3):
        alone = program_on_vectors(a, starts[i], 50)
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(batch), strict=True):
            np.testing.assert_allclose(many[i], one, atol=1e-14)


def test_a_mixed_tree_under_strict_promotion_keeps_its_dtypes():
    start = {"half": jnp.ones(2, "bfloat16"), "single": jnp.ones(3, "float32"), "weak": 1.0}
    with jax.numpy_dtype_promotion("strict"):
        form = jax.eval_shape(lambda q: lanczos(lambda v: v, q, 3), start)
        vector = jax.eval_shape(ritz_vector, form, jax.eval_shape(ritz, form).values)
    expected = {"half": "bfloat16", "single": "float32", "weak": "float64"}
    assert jax.tree.map(lambda x: x.dtype.name, vector) == expected
    assert form.diagonal.dtype == "float64"


def test_bad_arguments_raise():
    q = jnp.ones(3)
    with pytest.raises(ValueError, match=r"lanczos: steps must be a whole number >= 1, got 0"):
        lanczos(lambda v: v, q, 0)
    with pytest.raises(TypeError, match=r"lanczos: steps must be a whole number >= 1, got 2\.5"):
        lanczos(lambda v: v, q, 2.5)
    with pytest.raises(TypeError, match=r"lanczos: start\['a'\] must be real floating numbers, got int"):
        lanczos(lambda v: v, {"a": jnp.arange(3)}, 2)
    with pytest.raises(ValueError, match="lanczos: start must have at least one entry"):
        lanczos(lambda v: v, {"a": jnp.zeros(0)}, 2)
    with pytest.raises(TypeError, match=r"lanczos: operator must be a function v -> A v, got ArrayImpl.*lambda"):
        lanczos(jnp.eye(3), q, 2)
    with pytest.raises(
        ValueError, match=r"lanczos: operator\(v\) must be a tree like v, but at \['a'\].*\(2,\).*\(3,\)"
    ):
        lanczos(lambda v: {"a": v["a"][:2]}, {"a": q}, 2)


# Probes ---------------------------------------------------------------------------------------------------------------


def test_probes_have_mean_zero_and_unit_variance_and_the_dtypes_of_the_tree():
    like = {"a": jnp.zeros(4000, "float32"), "b": jnp.zeros(4000, "bfloat16"), "c": jnp.zeros(0)}
    for draw in (jax.jit(probes.normal), jax.jit(probes.rademacher)):
        z = draw(jax.random.key(0), like)
        assert jax.tree.map(jnp.result_type, z) == jax.tree.map(jnp.result_type, like)
        for leaf in (z["a"], z["b"]):
            x = np.asarray(leaf, float)
            assert abs(x.mean()) < 4 / 4000**0.5
            assert abs((x**2).mean() - 1) < 8 / 4000**0.5
        assert (
            abs(np.mean(np.asarray(z["a"], float) * np.asarray(z["b"], float))) < 4 / 4000**0.5
        )  # no entry is used twice
        values = set(np.unique(z["a"]))
        assert values == {-1.0, 1.0} if len(values) < 3000 else draw(jax.random.key(1), like)["a"][0] != z["a"][0]

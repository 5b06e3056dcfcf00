# SPDX-License-Identifier: Apache-2.0
"""The spectrum against dense eigenvalues, the density against the smoothed one, and the lowest curvature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.curvature import Spectrum, hvp, lowest_curvature, spectral_density, spectrum
from jopt.status import KrylovStatus

pytestmark = pytest.mark.slow  # compiles many programs

N = 40
EIGENVALUES = np.concatenate([np.linspace(1.0, 2.0, N - 2), [5.0, 8.0]])


def matrix_of(eigenvalues):
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((len(eigenvalues),) * 2))
    return (q * eigenvalues) @ q.T


MATRIX = matrix_of(EIGENVALUES)


@jax.jit
def study(matrix, key):
    return spectrum(lambda v: matrix @ v, jnp.zeros(N), key, steps=12, samples=6)


density_of = jax.jit(spectral_density, static_argnames="points")


@pytest.fixture(scope="module")
def found():
    return study(jnp.asarray(MATRIX), jax.random.key(0))


def test_the_ends_are_within_their_errors_and_inside_the_spectrum(found):
    assert 0 <= float(found.lowest) - 1.0 <= float(found.lowest_error)
    assert -1e-13 <= 8.0 - float(found.highest) <= float(found.highest_error)
    assert float(found.highest_error) < 1e-3
    assert float(found.condition) == pytest.approx(float(found.highest / found.lowest))
    assert int(found.status) == KrylovStatus.MAX_ITERATIONS


def test_trace_and_diagonal_are_within_their_errors(found):
    assert abs(float(found.trace) - np.trace(MATRIX)) < 4 * float(found.trace_error)
    assert 0 < float(found.trace_error) < 0.1 * np.trace(MATRIX)
    assert np.mean(np.abs(found.diagonal - np.diag(MATRIX)) < 3 * np.asarray(found.diagonal_error)) > 0.9


def test_products_are_counted(found):
    assert int(found.nhev) == 6 * 12 + 6
    assert found.nodes.shape == found.weights.shape == (6, 12)
    np.testing.assert_allclose(np.sum(found.weights, axis=1), 1.0, rtol=1e-13)


def smoothed(grid, width):
    gauss = np.exp(-((grid[:, None] - EIGENVALUES) ** 2) / (2 * width**2)) / (width * np.sqrt(2 * np.pi))
    return gauss.mean(axis=1)


def test_the_density_is_the_smoothed_density_of_the_eigenvalues_within_its_error():
    several = [study(jnp.asarray(MATRIX), key) for key in jax.random.split(jax.random.key(1), 5)]
    nodes, weights = (np.concatenate([getattr(found, name) for found in several]) for name in ("nodes", "weights"))
    joined = several[0]._replace(nodes=nodes, weights=weights)
    grid = np.linspace(0.0, 10.0, 41)
    density = density_of(joined, grid, width=0.5)
    np.testing.assert_allclose(density.density, smoothed(grid, 0.5), atol=0.08)
    assert (np.abs(density.density - smoothed(grid, 0.5)) <= 4 * np.asarray(density.error) + 1e-6).all()
    assert np.trapezoid(density.density, grid) == pytest.approx(1.0, abs=0.02)
    fewer = density_of(joined._replace(nodes=joined.nodes[:7], weights=joined.weights[:7]), grid, width=0.5)
    assert float(jnp.max(fewer.error)) > float(jnp.max(density.error))


def test_the_error_of_the_density_is_the_standard_error_over_the_samples(found):
    grid = jnp.linspace(0.0, 10.0, 5)
    nodes, weights = np.asarray(found.nodes), np.asarray(found.weights)
    single = [
        density_of(found._replace(nodes=nodes[i : i + 1], weights=weights[i : i + 1]), grid, width=0.5)
        for i in range(6)
    ]
    rows = np.array([d.density for d in single])
    density = density_of(found, grid, width=0.5)
    np.testing.assert_allclose(density.density, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(density.error, rows.std(axis=0, ddof=1) / 6**0.5, rtol=1e-10)
    assert np.isinf(single[0].error).all()


def test_the_default_grid_reaches_beyond_the_ends_and_the_default_width_is_what_the_steps_resolve(found):
    density = density_of(found, points=300)
    width = float(found.highest - found.lowest) / 12
    assert density.grid.shape == (300,)
    assert float(density.grid[0]) == pytest.approx(float(found.lowest) - 4 * width)
    assert float(density.grid[-1]) == pytest.approx(float(found.highest) + 4 * width)
    same = density_of(found, density.grid, width=width)
    np.testing.assert_allclose(density.density, same.density, rtol=1e-9)
    assert np.trapezoid(density.density, density.grid) == pytest.approx(1.0, abs=1e-3)


ROWS = [[1.0, 2.0, 4.0], [-1.0, -2.0, -4.0], [-1.0, 2.0, 4.0], [0.0, 2.0, 4.0], [3.0] * 3, [1.0, np.nan, 1.0]]


@pytest.fixture(scope="module")
def diagonal():
    return jax.jit(jax.vmap(lambda d: spectrum(lambda v: d * v, jnp.zeros(3), samples=2)))(np.array(ROWS))


def test_the_condition_number_is_of_ends_with_one_sign(diagonal):
    np.testing.assert_allclose(np.asarray(diagonal.condition)[[0, 1, 2, 4]], [4.0, 4.0, np.inf, 1.0], rtol=1e-12)
    assert float(diagonal.condition[3]) > 1e14
    assert diagonal.status.tolist() == [KrylovStatus.CONVERGED] * 5 + [KrylovStatus.NONFINITE]
    assert np.isnan([diagonal.condition[5], diagonal.trace[5], diagonal.lowest[5]]).all()


def test_a_diagonal_matrix_has_no_error_in_its_trace(diagonal):
    np.testing.assert_allclose(diagonal.trace[:5], np.sum(ROWS, axis=1)[:5])
    np.testing.assert_allclose(diagonal.diagonal[:5], np.array(ROWS)[:5])
    assert np.asarray(diagonal.trace_error)[:5].tolist() == [0.0] * 5


def test_one_eigenvalue_takes_one_step_and_has_a_density_too(diagonal):
    found = jax.tree.map(lambda x: x[4], diagonal)
    assert int(found.nhev) == 2 * 1 + 2
    density = density_of(found)
    assert np.trapezoid(density.density, density.grid) == pytest.approx(1.0, abs=1e-3)


def test_an_operator_that_is_not_symmetric_is_reported():
    skew = np.triu(np.ones((N, N)), 1)
    found = study(jnp.asarray(MATRIX + 1e-2 * (skew - skew.T)), jax.random.key(0))
    assert int(found.status) == KrylovStatus.NOT_SYMMETRIC
    assert float(found.asymmetry) > 1e-4
    assert "NOT_SYMMETRIC" in repr(found)


def test_it_prints_numbers_with_their_errors(found):
    text = repr(found)
    assert text.startswith("Spectrum:\n")
    for line in ("lowest: 1.0", "highest: 8 +- ", "condition: ", "trace: ", "nhev: 78", "status: MAX_ITERATIONS: "):
        assert line in text
    assert "float64[2]" in repr(jax.tree.map(lambda x: jnp.stack([x, x]), found))
    texts = []
    jax.make_jaxpr(lambda found: texts.append(repr(found)))(found)
    assert "float64[]" in texts[0]


def test_a_mixed_tree_under_strict_promotion_keeps_its_dtypes():
    x = {"w": jnp.ones(3, "float32"), "b": jnp.ones((), "bfloat16")}

    def fun(x):
        return jnp.sum(jnp.tanh(x["w"] * x["b"].astype("float32")) ** 2)

    with jax.numpy_dtype_promotion("strict"):
        found = jax.eval_shape(lambda x: spectrum(hvp(fun, x), x, samples=2), x)
        density = jax.eval_shape(spectral_density, found)
        lowest = jax.eval_shape(lambda x: lowest_curvature(hvp(fun, x), x), x)
    scalars = (found.lowest, found.highest_error, found.nodes, found.trace, density.density, lowest.value, lowest.error)
    assert {x.dtype.name for x in scalars} == {"float32"}
    assert found.nhev.dtype == found.status.dtype == lowest.nhev.dtype == jnp.int32
    for like in (found.diagonal, found.diagonal_error, lowest.vector):
        assert jax.tree.map(lambda x: x.dtype.name, like) == {"w": "float32", "b": "bfloat16"}


# The lowest curvature -------------------------------------------------------------------------------------------------


@jax.jit
def lowest_of(matrices, keys):
    return jax.vmap(lambda a, key: lowest_curvature(lambda v: a @ v, jnp.zeros(6), key, 6))(matrices, keys)


def test_the_lowest_curvature_and_its_direction():
    rows = [[-2.0, -1.0, 0.5, 1.0, 4.0, 9.0], [1.0] * 6, [0.0] * 6, [2.0, 2.0, 2.0, 7.0, 7.0, 7.0], [np.nan] * 6]
    matrices = np.array([matrix_of(np.array(row)) for row in rows])
    found = lowest_of(matrices, jax.random.split(jax.random.key(0), 5))
    np.testing.assert_allclose(found.value, [-2.0, 1.0, 0.0, 2.0, np.nan], atol=1e-13)
    assert (np.asarray(found.error)[:4] < 1e-6).all()
    assert float(found.value[0]) < -float(found.rounding[0])
    for a, value, v in list(zip(matrices, found.value, found.vector, strict=True))[:4]:
        assert np.linalg.norm(v) == pytest.approx(1.0)
        np.testing.assert_allclose(a @ v, value * v, atol=1e-6)
    assert found.nhev.tolist()[1:] == [1, 1, 2, 1]
    assert found.status.tolist() == [KrylovStatus.CONVERGED] * 4 + [KrylovStatus.NONFINITE]
    assert np.isnan([found.error[4], found.rounding[4]]).all()
    assert np.asarray(found.vector[4]).tolist() == [0.0] * 6


def test_bad_arguments_raise(found):
    x = jnp.zeros(3)
    for function in (spectrum, lowest_curvature):
        with pytest.raises(ValueError, match="steps must be a whole number >= 1"):
            function(lambda v: v, x, steps=0)
        with pytest.raises(TypeError, match=f"{function.__name__}: key must be one random key"):
            function(lambda v: v, x, None)
        with pytest.raises(TypeError, match=f"{function.__name__}: like must be real floating numbers"):
            function(lambda v: v, jnp.arange(3))
    with pytest.raises(ValueError, match="spectrum: samples must be a whole number >= 1"):
        spectrum(lambda v: v, x, samples=0)
    with pytest.raises(ValueError, match=r"spectral_density: width must be in \(0, inf\], got 0"):
        spectral_density(found, width=0)
    with pytest.raises(ValueError, match="spectral_density: points must be a whole number >= 2"):
        spectral_density(found, points=1)
    with pytest.raises(ValueError, match=r"spectral_density: grid must have shape \(m,\), got shape \(2, 2\)"):
        spectral_density(found, jnp.zeros((2, 2)))
    assert isinstance(found, Spectrum)

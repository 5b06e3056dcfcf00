# SPDX-License-Identifier: Apache-2.0
"""Newton's direction with the whole Hessian, against NumPy's eigenvalues."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt.status import KrylovStatus
from jopt.transforms.newton import MODIFICATIONS

N = 5
Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))
CONVEX = np.array([0.5, 1.0, 2.0, 5.0, 10.0])
MIXED = np.array([-4.0, -0.1, 1e-20, 2.0, 10.0])
G = np.random.default_rng(1).standard_normal(N)


def matrix(eigenvalues):
    return (Q * eigenvalues) @ Q.T


@functools.cache
def compiled(**settings):
    """Return the compiled update (g, H) -> (u, state) of a direction on one array of parameters."""
    direction = jopt.scale_by_newton(**settings)

    def update(g, h):
        return direction.update(g, direction.init(g), g, hvp=lambda v: h @ v)

    return jax.jit(update)


def expected(t):
    return Q @ ((Q.T @ G) / t)


FLOOR = 1e-3


@pytest.mark.parametrize(
    ("modification", "bent"),
    [
        ("absolute", np.maximum(np.abs(MIXED), 1e-2)),
        ("clip", np.maximum(MIXED, 1e-2)),
        ("shift", MIXED + 4.0 + 1e-2),
        (None, np.where(np.abs(MIXED) < 1e-2, np.inf, MIXED)),
    ],
)
def test_eigenvalues_are_modified_as_the_formula_says(modification, bent):
    u, state = compiled(modification=modification, floor=FLOOR)(G, matrix(MIXED))
    np.testing.assert_allclose(u, expected(bent), rtol=1e-8)
    assert float(state.lowest) == pytest.approx(-4.0)
    assert float(state.highest) == pytest.approx(10.0)
    # A matrix that is positive definite enough is left alone.
    u, _ = compiled(modification=modification, floor=FLOOR)(G, matrix(CONVEX))
    np.testing.assert_allclose(u, np.linalg.solve(matrix(CONVEX), G), rtol=1e-10)


def test_every_modification_is_tested_and_descends_whatever_the_curvature():
    assert set(MODIFICATIONS) == {"absolute", "clip", "shift"}
    for modification in MODIFICATIONS:
        for eigenvalues in (MIXED, -CONVEX, CONVEX, 0 * CONVEX):
            u, _ = compiled(modification=modification, floor=FLOOR)(G, matrix(eigenvalues))
            assert G @ np.asarray(u) > 0
            assert np.isfinite(u).all()
    # Newton's method as it is goes uphill where the function is concave
    u, _ = compiled(modification=None, floor=FLOOR)(G, matrix(-CONVEX))
    assert G @ np.asarray(u) < 0


def test_the_default_is_absolute_with_a_floor_of_n_eps():
    tiny = np.array([1e-14, 1e-17, 1.0, 2.0, 4.0])
    u, _ = compiled()(G, np.diag(tiny))
    floor = N * np.finfo(float).eps * 4.0
    np.testing.assert_allclose(u, G / np.maximum(tiny, floor), rtol=1e-6)
    np.testing.assert_allclose(compiled()(G, matrix(-CONVEX))[0], expected(CONVEX), rtol=1e-10)


@pytest.mark.parametrize("damping", [0.3, 1e9])
def test_damping_is_added_to_the_diagonal_and_much_of_it_is_gradient_descent(damping):
    u, _ = compiled(damping=damping)(G, matrix(CONVEX))
    np.testing.assert_allclose(u, np.linalg.solve(matrix(CONVEX) + damping * np.eye(N), G), rtol=1e-9)
    if damping > 1e3:
        np.testing.assert_allclose(damping * np.asarray(u), G, rtol=1e-7)
    # it is added before the eigenvalues are bent
    u, _ = compiled(damping=damping)(G, matrix(-CONVEX))
    np.testing.assert_allclose(u, expected(np.abs(damping - CONVEX)), rtol=1e-8)


def test_a_linear_function_gives_its_gradient():
    for modification in (*MODIFICATIONS, None):
        u, _ = compiled(modification=modification, floor=FLOOR)(G, np.zeros((N, N)))
        np.testing.assert_allclose(u, G, rtol=1e-12)


def test_a_hessian_that_is_not_finite_gives_the_gradient_and_says_so():
    h = matrix(CONVEX)
    h[2, 3] = np.nan
    u, state = compiled()(G, h)
    np.testing.assert_array_equal(u, G)
    assert KrylovStatus(int(state.status)) is KrylovStatus.NONFINITE
    assert np.isnan(state.lowest)
    _, state = compiled()(G, matrix(CONVEX))
    assert KrylovStatus(int(state.status)) is KrylovStatus.CONVERGED


def test_products_are_counted_and_a_hessian_of_the_callers_makes_none():
    assert int(compiled()(G, matrix(CONVEX))[1].nhev) == N
    skew = np.diag(np.arange(1.0, N + 1)) + np.triu(np.ones((N, N)), 1) * 2  # the symmetric part counts
    own = jopt.scale_by_newton(hessian=lambda _: skew)
    u, state = jax.jit(lambda g: own.update(g, own.init(g)._replace(nhev=jnp.int32(3)), g))(G)
    w, v = np.linalg.eigh(0.5 * (skew + skew.T))
    np.testing.assert_allclose(u, v @ ((v.T @ G) / np.abs(w)), rtol=1e-9)
    assert int(state.nhev) == 3


def test_trees_of_any_dtype_under_strict_promotion():
    params = {"a": jnp.ones((2, 2), jnp.float32), "b": jnp.ones((), jnp.bfloat16), "e": jnp.zeros((0,), jnp.float32)}
    direction = jopt.scale_by_newton()
    with jax.numpy_dtype_promotion("strict"):
        u, state = jax.eval_shape(
            lambda p: direction.update(p, direction.init(p), p, hvp=lambda v: jax.tree.map(lambda x: 4 * x, v)), params
        )
        assert jax.tree.map(lambda x: x.dtype, u) == jax.tree.map(lambda x: x.dtype, params)
        assert state.lowest.dtype == jnp.float32
    u, state = direction.update({}, direction.init({}), {}, hvp=lambda v: v)
    assert u == {}


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"damping": -1.0}, ValueError, r"scale_by_newton: damping must be in \[0, inf\), got -1.0"),
        (
            {"modification": "abs"},
            ValueError,
            "scale_by_newton: modification must be one of 'absolute', 'clip', 'shift'",
        ),
        ({"floor": 1.0}, ValueError, r"scale_by_newton: floor must be in \[0, 1\)"),
        ({"hessian": np.eye(2)}, TypeError, "scale_by_newton: hessian must be None or a function"),
        ({"max_bytes": 0}, ValueError, "scale_by_newton: max_bytes must be a whole number >= 1"),
    ],
)
def test_wrong_settings_raise(settings, error, words):
    with pytest.raises(error, match=words):
        jopt.scale_by_newton(**settings)


def test_wrong_updates_raise():
    x = jnp.ones(3)
    direction = jopt.scale_by_newton()
    with pytest.raises(ValueError, match=r"scale_by_newton: update needs hvp, got None\. Pass update"):
        direction.update(x, direction.init(x), x)
    with pytest.raises(ValueError, match="scale_by_newton: update needs params"):
        direction.update(x, direction.init(x), None, hvp=lambda v: v)
    with pytest.raises(ValueError, match=r"operator\(v\) must be a tree like v"):
        jax.eval_shape(lambda x: direction.update(x, direction.init(x), x, hvp=lambda v: v[:2]), x)
    own = jopt.scale_by_newton(hessian=lambda _: jnp.ones((2, 2)))
    with pytest.raises(ValueError, match=r"hessian\(params\) must be a matrix of shape \(3, 3\), got shape \(2, 2\)"):
        own.update(x, own.init(x), x)
    with pytest.raises(ValueError, match=r"scale_by_newton: params must be few, but 100 .* use scale_by_newton_cg"):
        jopt.scale_by_newton(max_bytes=1000).init(jnp.ones(100))

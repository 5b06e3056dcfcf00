# SPDX-License-Identifier: Apache-2.0
"""Truncated Newton: forcing terms against their transcription, negative curvature, preconditioners, counts."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.linalg import cg, preconditioners
from jopt.status import KrylovStatus
from jopt.transforms import forcing
from jopt.transforms.newton_cg import scale_by_newton_cg

N = 6
Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))
A = (Q * np.logspace(0, 2, N)) @ Q.T
SADDLE = (Q * np.array([-2.0, 1.0, 2.0, 3.0, 20.0, 50.0])) @ Q.T
G = np.random.default_rng(1).standard_normal(N)


@functools.cache
def compiled(**settings):
    """Return the compiled step (g, state, x, H) -> (u, state) and the state to begin with."""
    direction = scale_by_newton_cg(**settings)
    step = jax.jit(lambda g, state, x, h: direction.update(g, state, x, hvp=lambda v: h @ v))
    return step, direction.init(jnp.zeros(N))


def once(g, h, **settings):
    step, state = compiled(**settings)
    return step(g, state, np.zeros(N), h)


# The direction --------------------------------------------------------------------------------------------------------


def test_a_tight_forcing_term_gives_newtons_direction():
    u, state = once(G, A, forcing=1e-12)
    np.testing.assert_allclose(u, np.linalg.solve(A, G), rtol=1e-9)
    assert float(state.residual_norm) <= 1e-12
    assert int(state.nhev) >= N
    u, state = once(G, A, forcing=0.5)
    residual = np.linalg.norm(G - A @ np.asarray(u)) / np.linalg.norm(G)
    assert residual <= 0.5
    assert float(state.residual_norm) == pytest.approx(residual)
    assert int(state.nhev) < N


def test_negative_curvature_is_followed_with_the_length_of_its_opposite():
    u, state = once(G, SADDLE, forcing=1e-12)
    result = jax.jit(lambda b: cg(lambda v: SADDLE @ v, b, rtol=1e-12))(G)
    assert KrylovStatus(int(state.status)) is KrylovStatus.NEGATIVE_CURVATURE
    d, r = np.asarray(result.direction), np.asarray(result.residual)
    expected = np.asarray(result.x) + abs((r @ d) / (d @ SADDLE @ d)) * d
    np.testing.assert_allclose(u, expected, rtol=1e-9)
    assert G @ np.asarray(u) > 0
    assert float(state.curvature) < 0
    # at the first product it is the Newton step for the opposite curvature
    u, _ = once(G, -2 * np.eye(N), forcing=1e-12)
    np.testing.assert_allclose(u, G / 2, rtol=1e-12)


def test_the_step_at_a_saddle_goes_down_both_ways():
    # f = x^2 - y^2: towards the saddle in x, away from it in y, by the lengths of the curvatures
    h, x = np.array([2.0, -2.0] + [1.0] * (N - 2)), np.array([1.0, 0.5] + [0.0] * (N - 2))
    u = np.asarray(once(h * x, np.diag(h), forcing=1e-3)[0])
    assert float(u @ (h * x)) > 0
    assert float((x - u)[0] ** 2 - (x - u)[1] ** 2) < float(x[0] ** 2 - x[1] ** 2)


def test_units_of_value_and_parameters_do_not_matter():
    plain, _ = once(G, SADDLE, forcing=1e-3)
    for c in (2.0**-80, 2.0**80):
        np.testing.assert_allclose(once(c * G, c * SADDLE, forcing=1e-3)[0], plain, rtol=1e-9)
        np.testing.assert_allclose(once(G / c, SADDLE / c / c, forcing=1e-3)[0], c * np.asarray(plain), rtol=1e-9)


def test_without_a_usable_product_the_gradient_goes_out():
    u, state = once(G, np.full((N, N), np.nan), forcing=1e-3)
    np.testing.assert_array_equal(u, G)
    assert KrylovStatus(int(state.status)) is KrylovStatus.NONFINITE
    u, _ = once(G, np.zeros((N, N)), forcing=1e-3)  # a linear function
    np.testing.assert_allclose(u, G, rtol=1e-14)
    u, state = once(np.zeros(N), A, forcing=1e-3)
    assert not np.any(u)
    assert int(state.nhev) == 0


def test_maxiter_bounds_the_products_of_an_update():
    _, state = once(G, A, forcing=0.0, maxiter=2)
    assert int(state.nhev) == 2
    assert KrylovStatus(int(state.status)) is KrylovStatus.MAX_ITERATIONS


def test_products_add_up_over_updates():
    step, state = compiled(forcing=0.5)
    counts = [0]
    for scale in (1.0, 2.0, 3.0):
        _, state = step(scale * G, state, np.zeros(N), A)
        counts.append(int(state.nhev))
    assert (np.diff(counts) == counts[1]).all()
    assert counts[1] > 0


# Forcing terms --------------------------------------------------------------------------------------------------------

POINTS = np.random.default_rng(2).standard_normal((6, N)) * np.array([3.0, 2.0, 1.9, 0.3, 1e-2, 1e-4])[:, None]


def gradient(x):
    return x + x**3


def hessian(x):
    return np.diag(1 + 3 * x**2)


def visits(name):
    """Return the terms used at a list of points, and the outputs, read off the states."""
    step, state = compiled(forcing=name)
    etas, outputs = [], []
    for x in POINTS:
        u, state = step(gradient(x), state, x, hessian(x))
        etas.append(float(state.forcing.eta))
        outputs.append(np.asarray(u))
        assert float(state.residual_norm) <= etas[-1]
    return etas, outputs


def test_superlinear_is_relative_to_the_first_gradient():
    norms = [np.linalg.norm(gradient(x)) for x in POINTS]
    np.testing.assert_allclose(visits("superlinear")[0], [min(0.5, np.sqrt(n / norms[0])) for n in norms], rtol=1e-10)


def test_eisenstat_walker_2_is_the_ratio_of_gradients_with_its_safeguard():
    norms = [np.linalg.norm(gradient(x)) for x in POINTS]
    expected = [0.5]
    for before, now in itertools.pairwise(norms):
        eta, held = 0.9 * (now / before) ** 2, 0.9 * expected[-1] ** 2
        expected.append(min(max(eta, held) if held > 0.1 else eta, 0.9))
    etas = visits("eisenstat-walker-2")[0]
    np.testing.assert_allclose(etas, expected, rtol=1e-10)


def test_eisenstat_walker_1_is_how_well_the_model_foretold_the_gradient():
    # Points on the way along -u, so that the step taken is a part of the output.
    step, state = compiled(forcing="eisenstat-walker-1")
    x, expected, etas = POINTS[0], [0.5], []
    for part in (0.5, 1.0, 1.0, 0.25, 1.0):
        u, state = step(gradient(x), state, x, hessian(x))
        etas.append(float(state.forcing.eta))
        s = -part * np.asarray(u)
        model = np.linalg.norm(gradient(x) + hessian(x) @ s)
        eta = abs(np.linalg.norm(gradient(x + s)) - model) / np.linalg.norm(gradient(x))
        held = expected[-1] ** ((1 + np.sqrt(5)) / 2)
        expected.append(min(max(eta, held) if held > 0.1 else eta, 0.9))
        x = x + s
    np.testing.assert_allclose(etas, expected[:-1], rtol=1e-8)
    assert len({round(e, 6) for e in etas}) > 3


def test_a_term_is_never_above_nine_tenths_nor_a_nan():
    for eta, before, expected in ((5.0, 0.0, 0.9), (np.nan, 0.0, 0.9), (0.01, 0.3, 0.3), (0.01, 0.05, 0.01)):
        assert float(forcing.safeguarded(jnp.float64(eta), jnp.float64(before))) == expected


def test_forcing_terms_of_every_name_are_tested():
    assert set(forcing.NAMES) == {"superlinear", "eisenstat-walker-1", "eisenstat-walker-2"}
    assert scale_by_newton_cg() == scale_by_newton_cg(forcing="superlinear")


# Preconditioners ------------------------------------------------------------------------------------------------------


def test_preconditioners_count_their_products_and_do_not_change_the_solution():
    rough = np.diag(np.logspace(0, 6, N)) + 0.1
    expected = np.linalg.solve(rough, G)
    step, state = compiled(forcing=1e-8)
    _, plain = step(G, state, np.zeros(N), rough)
    for name, own in (("jacobi", N), ("hutchinson", 10), ("lbfgs", 0)):
        step, state = compiled(forcing=1e-8, preconditioner=name)
        for repeat in range(2):
            before = int(state.nhev)
            u, state = step(G, state, np.zeros(N), rough)
            np.testing.assert_allclose(u, expected, rtol=1e-5)
            made = int(state.nhev) - before
            fresh = own if repeat == 0 or name == "jacobi" else 0
            assert made > fresh
            if name != "lbfgs" or repeat == 1:  # the first run of it has nothing to go by
                assert made - fresh < int(plain.nhev)


def test_a_function_of_the_parameters_is_a_preconditioner():
    seen = []

    def inverse_diagonal(params, r):
        seen.append((params, r))
        return r / jnp.asarray(np.logspace(0, 2, N))

    u, state = once(G, np.diag(np.logspace(0, 2, N)), forcing=1e-10, preconditioner=inverse_diagonal)
    np.testing.assert_allclose(u, G / np.logspace(0, 2, N), rtol=1e-9)
    assert int(state.nhev) == 1
    assert seen
    assert scale_by_newton_cg(preconditioner=preconditioners.jacobi(3)) == scale_by_newton_cg(
        preconditioner=preconditioners.jacobi(3)
    )


# Contracts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{"preconditioner": p} for p in (None, "jacobi", "hutchinson", "lbfgs")] + [{"forcing": f} for f in forcing.NAMES],
)
def test_trees_keep_their_dtypes_under_strict_promotion_and_states_their_structure(settings):
    direction = scale_by_newton_cg(**settings)
    for dtypes in (("float32", "float32"), ("bfloat16", "float64"), ("float64", "float64")):
        params = {"a": jax.ShapeDtypeStruct((2, 3), dtypes[0]), "b": jax.ShapeDtypeStruct((), dtypes[1])}
        with jax.numpy_dtype_promotion("strict"):
            state = jax.eval_shape(direction.init, params)
            u, after = jax.eval_shape(lambda p, s: direction.update(p, s, p, hvp=lambda v: v), params, state)
        for a, b in ((u, params), (after, state)):
            assert jax.tree.structure(a) == jax.tree.structure(b)
            assert [(x.shape, x.dtype) for x in jax.tree.leaves(a)] == [(x.shape, x.dtype) for x in jax.tree.leaves(b)]


def test_a_batch_is_a_loop_over_its_lanes():
    step, state = compiled(forcing=1e-3)
    hessians = np.stack([A, SADDLE])
    lanes, _ = jax.vmap(step, in_axes=(None, None, None, 0))(G, state, np.zeros(N), hessians)
    for u, h in zip(lanes, hessians, strict=True):
        np.testing.assert_allclose(u, step(G, state, np.zeros(N), h)[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        (
            {"forcing": "superliner"},
            ValueError,
            "scale_by_newton_cg: forcing must be one of .* Did you mean 'superlinear'",
        ),
        (
            {"forcing": 1.0},
            ValueError,
            r"scale_by_newton_cg: forcing must be in \[0, 1\), got 1.0. Or one of superlinear",
        ),
        ({"forcing": None}, TypeError, "scale_by_newton_cg: forcing must be a number"),
        ({"maxiter": 0}, ValueError, "scale_by_newton_cg: maxiter must be a whole number >= 1"),
        ({"preconditioner": "diagonal"}, ValueError, "scale_by_newton_cg: preconditioner must be one of"),
        ({"preconditioner": 2}, TypeError, "scale_by_newton_cg: preconditioner must be None, a name"),
    ],
)
def test_wrong_settings_raise(settings, error, words):
    with pytest.raises(error, match=words):
        scale_by_newton_cg(**settings)


def test_wrong_updates_raise():
    x, direction = {"a": jnp.ones(3)}, scale_by_newton_cg()
    with pytest.raises(ValueError, match=r"scale_by_newton_cg: update needs hvp, got None\. Pass update"):
        direction.update(x, direction.init(x), x)
    with pytest.raises(ValueError, match="scale_by_newton_cg: update needs params"):
        direction.update(x, direction.init(x), None, hvp=lambda v: v)
    wrong = scale_by_newton_cg(preconditioner=lambda _, r: {"a": r["a"][:2]})
    with pytest.raises(
        ValueError, match=r"scale_by_newton_cg: cg: preconditioner\(r\) must be a tree like b, but at \['a'\]"
    ):
        jax.eval_shape(lambda x: wrong.update(x, wrong.init(x), x, hvp=lambda v: v), x)

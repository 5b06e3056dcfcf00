# SPDX-License-Identifier: Apache-2.0
"""Dense quasi-Newton matrices: the secant equation, duality, symmetry, and the textbook's formulas in long double."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assert_trees_close, nested_tree

from jopt.transforms.dense_quasi_newton import (
    MAX_BYTES,
    MatrixState,
    broydens_family,
    scale_by_bfgs,
    scale_by_dfp,
    scale_by_sr1,
    symmetric_rank_one,
    update_matrix,
)

pytestmark = pytest.mark.slow  # compiles many programs

DIRECTIONS = {"bfgs": scale_by_bfgs(), "dfp": scale_by_dfp(), "sr1": scale_by_sr1()}
every_direction = pytest.mark.parametrize("name", DIRECTIONS)
update = jax.jit(update_matrix, static_argnums=0)
told = jax.jit(lambda name, *given: DIRECTIONS[name].pairs.update(*given), static_argnums=0)
BFGS, DFP, SR1 = broydens_family(1), broydens_family(0), symmetric_rank_one(None)


# The textbook in long double ------------------------------------------------------------------------------------------


def textbook(name, b, s, y):
    """Return the inverse matrix after a pair: Nocedal and Wright (2006), eq. (6.17), (6.15), (6.25)."""
    if name == "bfgs":
        rho = 1 / (y @ s)
        left = np.eye(len(s), dtype=b.dtype) - rho * np.outer(s, y)
        return left @ b @ left.T + rho * np.outer(s, s)
    v = b @ y
    if name == "dfp":
        return b - np.outer(v, v) / (y @ v) + np.outer(s, s) / (y @ s)
    return b + np.outer(s - v, s - v) / ((s - v) @ y)


def textbook_directions(name, points, grads):
    """Return B g at each point; the first pair scales B, but not that of SR1."""
    points, grads = (np.asarray(a, np.longdouble) for a in (points, grads))
    b, directions = np.eye(points.shape[1], dtype=np.longdouble), [grads[0]]
    for i in range(1, len(points)):
        s, y = points[i] - points[i - 1], grads[i] - grads[i - 1]
        if i == 1 and name != "sr1":
            b = b * (s @ y) / (y @ y)
        b = textbook(name, b, s, y)
        directions.append(b @ grads[i])
    return np.asarray(directions), b


def gradient(x):
    """Return the gradient of the strictly convex function sum(log(cosh(x)) + (x - 1)^2 / 10)."""
    return jax.tree.map(lambda v: (np.tanh(v) + 0.2 * (v - 1)).astype(v.dtype), x)


def points(dtype, steps=10, n=6):
    """Return points and gradients, stacked: a sequence that no direction has any part in."""
    x = np.random.default_rng(0).standard_normal((steps, n)).astype(np.dtype(dtype))
    return x, gradient(x)


@functools.partial(jax.jit, static_argnums=0)
def scan(transformation, params, grads):
    """Return the last state and the directions along given points."""
    first = jax.tree.map(lambda x: x[0], params)

    def step(state, point):
        u, state = transformation.update(point[1], state, point[0])
        return state, (u, state.inner.matrix)

    return jax.lax.scan(step, transformation.init(first), (params, grads))


@every_direction
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-11), ("float32", 2e-3)])
def test_directions_are_those_of_the_textbook_in_long_double(name, dtype, rtol):
    x, g = points(dtype)
    state, (u, _) = scan(DIRECTIONS[name], x, g)
    expected, b = textbook_directions(name, x, g)
    assert u.dtype == state.inner.matrix.dtype == jnp.dtype(dtype)
    assert int(state.inner.stored) == len(x) - 1
    for ours, theirs in ((u, expected), (state.inner.matrix, b)):
        np.testing.assert_allclose(ours, theirs.astype(np.float64), rtol=0, atol=rtol * float(np.abs(theirs).max()))


def test_a_tree_is_the_vector_of_its_leaves():
    x = [nested_tree(jnp.float64, seed=i) for i in range(4)]
    x = jax.tree.map(lambda *rows: np.stack(rows), *x)
    _, (u, _) = scan(DIRECTIONS["bfgs"], x, gradient(x))
    flat, ours = (
        np.concatenate([v.reshape(4, -1) for v in map(np.asarray, jax.tree.leaves(t))], axis=1) for t in (x, u)
    )
    expected, _ = textbook_directions("bfgs", flat, gradient(flat))
    np.testing.assert_allclose(ours, expected.astype(np.float64), rtol=1e-9, atol=1e-11)


# Identities -----------------------------------------------------------------------------------------------------------


@every_direction
def test_the_secant_equation_holds_and_symmetry_is_exact(name):
    for dtype, rtol in (("float64", 1e-11), ("float32", 2e-3)):
        x, g = points(dtype)
        _, (_, matrices) = scan(DIRECTIONS[name], x, g)
        for i in range(1, len(x)):
            s, y, b = x[i] - x[i - 1], g[i] - g[i - 1], np.asarray(matrices[i])
            np.testing.assert_allclose(b @ y, s, rtol=0, atol=rtol * np.abs(b).max())
            np.testing.assert_array_equal(b, b.T)


def positive_definite(n=5, seed=1):
    a = np.random.default_rng(seed).standard_normal((n, n))
    return a @ a.T + np.eye(n)


def pair(n=5, seed=2):
    """Return s, y, g with <s, y> > 0."""
    s, noise, g = np.random.default_rng(seed).standard_normal((3, n))
    y = 3 * s + 0.5 * noise
    return s, y, g


def after(rule, matrix, s, y, g=None, stored=1):
    state = MatrixState(jnp.asarray(matrix), jnp.int32(stored))
    return update(rule, state, *(jnp.asarray(v) for v in (s, y, s if g is None else g)))


def test_bfgs_and_dfp_are_dual():
    a, (s, y, _) = positive_definite(), pair()
    exchanged = after(BFGS, a, y, s)[0].matrix
    ours = after(DFP, np.linalg.inv(a), s, y)[0].matrix
    np.testing.assert_allclose(np.linalg.inv(exchanged), ours, rtol=1e-10, atol=1e-12)
    back = after(DFP, a, y, s)[0].matrix
    np.testing.assert_allclose(np.linalg.inv(back), after(BFGS, np.linalg.inv(a), s, y)[0].matrix, rtol=1e-10)
    assert np.abs(exchanged - back).max() > 1e-3


def test_sr1_is_its_own_dual():
    a, (s, y, _) = positive_definite(), pair()
    exchanged = after(SR1, a, y, s)[0].matrix
    np.testing.assert_allclose(
        np.linalg.inv(exchanged), after(SR1, np.linalg.inv(a), s, y)[0].matrix, rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("seed", range(3))
def test_sr1_finds_an_indefinite_matrix_in_n_steps_without_a_line_search(seed):
    n, rng = 6, np.random.default_rng(seed)
    a = rng.standard_normal((n, n))
    a = a + a.T
    assert (np.linalg.eigvalsh(a) < 0).any()
    x = np.cumsum(rng.standard_normal((10, n)), axis=0)
    _, (_, matrices) = scan(DIRECTIONS["sr1"], x, x @ a)
    inverse = np.linalg.inv(a)
    assert np.abs(matrices[n - 1] - inverse).max() > 1e-3 * np.abs(inverse).max()
    np.testing.assert_allclose(matrices[n], inverse, rtol=0, atol=1e-7 * np.abs(inverse).max())


@pytest.mark.parametrize("rule", [BFGS, DFP])
def test_the_first_pair_scales_the_identity(rule):
    s, y, g = pair()
    gamma = (s @ y) / (y @ y)
    fresh = after(rule, np.full((5, 5), np.nan), s, y, g, stored=0)  # the matrix counts as the identity
    scaled = after(rule, gamma * np.eye(5), s, y, g)
    assert_trees_close(fresh[0].matrix, scaled[0].matrix)
    assert_trees_close(fresh[1], scaled[1])
    assert int(fresh[0].stored) == 1


# Which pairs are kept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [BFGS, DFP])
def test_pairs_without_positive_curvature_leave_the_matrix_as_it_was(rule):
    a, (s, _, g) = positive_definite(), pair()
    across = np.roll(s, 1) - (np.roll(s, 1) @ s) / (s @ s) * s
    for y in (-s, across, 0 * s, np.nan * s, 1e-17 * s + across, 1e200 * s, 1e-160 * s):
        state, u = after(rule, a, s, y, g)
        np.testing.assert_array_equal(state.matrix, a)
        assert int(state.stored) == 1
        np.testing.assert_allclose(u, a @ g, rtol=1e-12)
    assert int(after(rule, a, 1e-160 * s, 1e10 * s)[0].stored) == 1  # the square of s is no number
    assert int(after(rule, a, s, 1e-12 * s + across)[0].stored) == 2


@pytest.mark.parametrize("rule", [BFGS, DFP])
def test_a_matrix_that_lost_its_definiteness_starts_anew(rule):
    s, y, g = pair()
    for lost in (-np.eye(5), np.full((5, 5), np.nan), np.zeros((5, 5))):
        state, u = after(rule, lost, s, y, g, stored=7)
        expected, v = after(rule, np.eye(5), s, y, g, stored=0)
        np.testing.assert_array_equal(state.matrix, expected.matrix)
        np.testing.assert_allclose(u, v)
        assert int(state.stored) == 1


def test_the_skip_rule_of_sr1():
    s, y, g = pair()
    b = np.eye(5)
    for part, kept in ((1e-3, True), (1e-5, True), (1e-10, False), (0.0, False)):
        across = np.roll(y, 1) - (np.roll(y, 1) @ y) / (y @ y) * y
        t = across / np.linalg.norm(across) + part * y / np.linalg.norm(y)
        state, _ = after(SR1, b, b @ y + t, y, g)
        assert (int(state.stored) == 2) == kept, part
        assert (not np.array_equal(state.matrix, b)) == kept
    assert int(after(SR1, b, y, y)[0].stored) == 1  # the equation holds already
    assert int(after(SR1, b, 0 * s, 0 * s)[0].stored) == 1
    assert int(after(SR1, b, s, np.nan * s)[0].stored) == 1


def test_skip_is_the_part_of_the_lengths_below_which_sr1_skips():
    y = np.array([1.0, 0.0])
    s = y + np.array([1e-5, 1.0])
    for skip, dtype, kept in (
        (None, "float64", 1), (None, "float32", 0), (1e-4, "float64", 0), (1e-6, "float64", 1), (1e-6, "float32", 1),
    ):  # fmt: skip
        state, u = after(
            symmetric_rank_one(skip), np.eye(2, dtype=dtype), s.astype(dtype), y.astype(dtype), y.astype(dtype)
        )
        assert int(state.stored) == 1 + kept, (skip, dtype)
        assert np.allclose(u, s, rtol=1e-2) == bool(kept)  # B' y = s
    state = jax.eval_shape(scale_by_sr1(skip=0.5).init, jax.ShapeDtypeStruct((2,), "float64"))

    def program(skip):
        x = jax.ShapeDtypeStruct((2,), "float64")
        return str(jax.make_jaxpr(scale_by_sr1(skip=skip).update)(x, state, x))

    assert "1e-06" in program(1e-6)
    assert "1e-06" not in program(None)


@pytest.mark.parametrize("name", ["bfgs", "dfp"])
def test_the_matrix_stays_positive_definite_where_the_function_is_not_convex(name):
    x = np.random.default_rng(0).uniform(-1.5, 1.5, (10, 6))
    state, (u, matrices) = scan(DIRECTIONS[name], x, x**3 - x)
    assert (np.linalg.eigvalsh(matrices) > 0).all()
    assert 0 < int(state.inner.stored) < 9  # some pairs were kept, some were not
    assert (np.sum(np.asarray(u) * (x**3 - x), axis=1) > 0).all()


@every_direction
def test_a_gradient_that_is_not_finite_spoils_nothing_later(name):
    x, g = points("float64")
    g[3] = np.nan
    state, (u, _) = scan(DIRECTIONS[name], x, g)
    assert int(state.inner.stored) == 7  # of nine, without the pairs on both sides of it
    assert np.isfinite(np.asarray(u)[4:]).all()


# The pair form --------------------------------------------------------------------------------------------------------


@every_direction
def test_without_movement_the_state_stays_and_after_forgetting_it_is_new(name):
    pairs, (s, y, g) = DIRECTIONS[name].pairs, pair()
    zero, start = 0 * s, pairs.init(s)
    u, _ = told(name, g, start, zero, zero, False)
    np.testing.assert_array_equal(u, g)
    fresh = _, state = told(name, g, start, s, y, True)
    u, same = told(name, g, state, zero, zero, False)
    assert_trees_close(same, state, rtol=0)
    np.testing.assert_allclose(u, state.matrix @ g, rtol=1e-12)
    assert_trees_close(pairs.forget(state, jnp.bool_(False)), state, rtol=0)
    forgotten = pairs.forget(state._replace(matrix=jnp.nan * state.matrix), jnp.bool_(True))
    np.testing.assert_array_equal(told(name, g, forgotten, zero, zero, False)[0], g)
    assert_trees_close(told(name, g, forgotten, s, y, True), fresh, rtol=0)


def test_lanes_are_a_loop_and_compiled_is_eager():
    x, g = (np.stack([a, a[::-1]]) for a in points("float64"))
    _, (together, _) = jax.vmap(functools.partial(scan, DIRECTIONS["bfgs"]))(x, g)
    for lane in range(2):
        _, (alone, _) = scan(DIRECTIONS["bfgs"], x[lane], g[lane])
        np.testing.assert_allclose(together[lane], alone, rtol=1e-10, atol=1e-12)
    s, y, g = map(jnp.asarray, pair())
    state = MatrixState(jnp.asarray(positive_definite()), jnp.int32(1))
    assert_trees_close(update_matrix(BFGS, state, s, y, g), update(BFGS, state, s, y, g), rtol=1e-12)


@every_direction
@pytest.mark.parametrize(("a", "b"), [("float32", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float64")])
def test_dtypes_and_structure_are_kept_under_strict_promotion(name, a, b):
    params = {"a": jax.ShapeDtypeStruct((2, 3), a), "b": (jax.ShapeDtypeStruct((), b), jax.ShapeDtypeStruct((0,), a))}

    def described(t):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), t)

    with jax.numpy_dtype_promotion("strict"):
        state = jax.eval_shape(DIRECTIONS[name].init, params)
        u, new = jax.eval_shape(DIRECTIONS[name].update, params, state, params)
    assert described(new) == described(state)
    assert described(u) == described(params)
    assert state.inner.matrix.shape == (7, 7)
    assert state.inner.matrix.dtype == ("float64" if b == "float64" else "float32")


def test_half_precision_parameters_are_computed_in_single():
    x, g = (jnp.asarray(v, jnp.bfloat16) for v in points("float32", steps=4))
    state, (u, _) = scan(DIRECTIONS["bfgs"], x, g)
    expected, b = textbook_directions("bfgs", *(np.asarray(v, np.float64) for v in (x, g)))
    assert (u.dtype, state.inner.matrix.dtype) == (jnp.bfloat16, jnp.float32)
    # the differences are rounded once more, and so is what comes out
    np.testing.assert_allclose(
        np.asarray(u, np.float64), expected.astype(np.float64), atol=0.05 * float(abs(expected).max())
    )
    np.testing.assert_allclose(state.inner.matrix, b.astype(np.float64), atol=0.05 * float(abs(b).max()))


def test_a_tree_without_parameters():
    for direction in DIRECTIONS.values():
        u, state = jax.eval_shape(lambda d=direction: d.update({}, d.init({}), {}))
        assert u == {}
        assert state.inner.matrix.shape == (0, 0)


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [scale_by_bfgs, scale_by_dfp, scale_by_sr1])
def test_max_bytes_is_the_largest_matrix(factory):
    def state(n, dtype="float64", **settings):
        return jax.eval_shape(factory(**settings).init, jax.ShapeDtypeStruct((n,), dtype))

    assert state(10, max_bytes=800).inner.matrix.shape == (10, 10)
    words = (
        rf"{factory.__name__}: params must be few, but 10 .* 800 bytes, above max_bytes=799; .*lbfgs.*raise max_bytes"
    )
    with pytest.raises(ValueError, match=words):
        state(10, max_bytes=799)
    assert state(10, "float32", max_bytes=400).inner.matrix.shape == (10, 10)
    assert MAX_BYTES == 2**28
    assert state(5792).inner.matrix.shape == (5792, 5792)
    with pytest.raises(ValueError, match="max_bytes=268435456"):
        state(5793)


@pytest.mark.parametrize(
    ("factory", "settings", "error", "message"),
    [
        (scale_by_bfgs, {"max_bytes": 0}, ValueError, r"scale_by_bfgs: max_bytes must be a whole number >= 1, got 0"),
        (scale_by_dfp, {"max_bytes": 1e6}, TypeError, r"scale_by_dfp: max_bytes must be a whole number"),
        (scale_by_sr1, {"max_bytes": True}, TypeError, r"scale_by_sr1: max_bytes"),
        (scale_by_sr1, {"skip": -1e-8}, ValueError, r"scale_by_sr1: skip must be in \[0, 1\)"),
        (scale_by_sr1, {"skip": 1.0}, ValueError, r"scale_by_sr1: skip"),
        (scale_by_sr1, {"skip": "no"}, TypeError, r"scale_by_sr1: skip must be a number"),
    ],
)
def test_bad_settings_raise(factory, settings, error, message):
    with pytest.raises(error, match=message):
        factory(**settings)


@every_direction
def test_wrong_trees_raise_with_the_path(name):
    made, factory = DIRECTIONS[name], f"scale_by_{name}"
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    state = made.init(params)
    with pytest.raises(ValueError, match=f"{factory}: update needs params"):
        made.update(params, state)
    with pytest.raises(ValueError, match=rf"{factory}: updates .*\['b'\].*\(4,\).*\(3,\)"):
        made.update({"a": jnp.ones(2), "b": jnp.ones(4)}, state, params)
    with pytest.raises(TypeError, match=rf"{factory}: params\['a'\].*int"):
        made.init({"a": jnp.arange(2)})

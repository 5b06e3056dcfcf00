# SPDX-License-Identifier: Apache-2.0
"""Nonlinear conjugate gradients: each formula against its transcription, all equal where they must be, every restart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assert_trees_close, nested_tree

import jopt
from jopt.transforms.conjugate import BETAS, scale_by_nonlinear_cg

every_beta = pytest.mark.parametrize("beta", sorted(BETAS))
never = functools.partial(scale_by_nonlinear_cg, restart=None)


# The papers' formulas in NumPy, with d the direction that was taken ---------------------------------------------------


def formula(beta, g, before, d, eta=0.4):
    """Return beta from the gradient, the one before it, and the direction between them."""
    y = g - before
    if beta == "hager-zhang":
        full = (y - 2 * d * (y @ y) / (d @ y)) @ g / (d @ y)
        return max(full, eta * (d @ before) / (d @ d))
    return {
        "fletcher-reeves": (g @ g) / (before @ before),
        "polak-ribiere+": max(0.0, (g @ y) / (before @ before)),
        "hestenes-stiefel": (g @ y) / (d @ y),
        "dai-yuan": (g @ g) / (d @ y),
    }[beta]


def gradient(x):
    """Return the gradient of the strictly convex function sum(log(cosh(x)) + (x - 1)^2 / 10)."""
    return np.tanh(x) + 0.2 * (x - 1)


STEPS = 8


def walk(beta, step=0.3, dtype="float64", **settings):
    """Return the points, gradients, directions and numbers beta of a walk with a fixed step."""
    x = np.random.default_rng(0).standard_normal(5)
    g = gradient(x)
    d, rows, betas = -g, [], []
    for _ in range(STEPS):
        rows.append((x, g, d))
        x = x + step * d
        g, before = gradient(x), g
        betas.append(formula(beta, g, before, d, **settings))
        d = -g + betas[-1] * d
    points, grads, directions = (np.asarray(a, dtype) for a in zip(*rows, strict=True))
    return points, grads, directions, np.asarray(betas)[:-1]


@functools.partial(jax.jit, static_argnums=0)
def scan(transformation, params, grads):
    """Return the directions along given points, and the number of updates since the last restart at each."""
    first = jax.tree.map(lambda x: x[0], params)

    def step(state, point):
        u, state = transformation.update(point[1], state, point[0])
        return state, (u, state.inner.updates)

    return jax.lax.scan(step, transformation.init(first), (params, grads))[1]


@every_beta
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-3)])
def test_directions_are_those_of_the_formula(beta, dtype, rtol):
    x, g, d, _ = walk(beta, dtype=dtype)
    u, updates = scan(never(beta), x, g)
    assert u.dtype == jnp.dtype(dtype)
    np.testing.assert_allclose(u, -d, rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(updates, np.arange(1, STEPS + 1))  # and no restart


def test_the_formulas_differ_where_the_function_is_not_quadratic():
    # The second direction: the first two points are the same for all.
    second = {beta: walk(beta)[2][1] for beta in BETAS}
    for a in second:
        for b in second:
            assert a == b or np.abs(second[a] - second[b]).max() > 1e-3, (a, b)


@every_beta
def test_on_a_quadratic_with_exact_steps_all_are_linear_conjugate_gradients(beta):
    n, rng = 5, np.random.default_rng(3)
    a = rng.standard_normal((n, n))
    a, b, x = a @ a.T + np.eye(n), rng.standard_normal(n), rng.standard_normal(n)
    points, directions, betas = [x], [b - a @ x], []
    for _ in range(n - 1):
        d = directions[-1]
        r = b - a @ points[-1]
        points.append(points[-1] + (r @ r) / (d @ a @ d) * d)
        after = b - a @ points[-1]
        betas.append((after @ after) / (r @ r))
        directions.append(after + betas[-1] * d)
    x = np.asarray(points + points[:1] * (STEPS - n))  # one program with the walks
    u, _ = scan(never(beta), x, x @ a - b)
    np.testing.assert_allclose(u[:n], -np.asarray(directions), rtol=1e-9, atol=1e-9)
    assert min(betas) > 0
    conjugate = np.asarray(u)[:n] @ a @ np.asarray(u)[:n].T
    np.testing.assert_allclose(conjugate - np.diag(np.diag(conjugate)), 0, atol=1e-9)


# Settings -------------------------------------------------------------------------------------------------------------


def test_hager_zhangs_beta_is_bounded_below_by_eta():
    # Steps far too long, after which the formula without its bound is negative.
    walks = {eta: walk("hager-zhang", step=1.6, eta=eta) for eta in (0.0, 0.1, 0.4, 1e6)}
    assert (walks[1e6][3] < 0).any()
    active = int(np.argmax(walks[1e6][3] < 0)) + 1
    directions = [walks[eta][2][active] for eta in walks]
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(directions[1:], directions, strict=False))
    for eta, (x, g, d, _) in walks.items():
        u, updates = scan(never("hager-zhang", eta=eta), x, g)
        until = int(np.argmax(np.asarray(updates) == 1)) if (np.asarray(updates)[1:] == 1).any() else STEPS
        until = STEPS if until == 0 else until
        assert until > active
        np.testing.assert_allclose(u[:until], -d[:until], rtol=1e-9, atol=1e-9)
    default = scan(never("hager-zhang"), *walks[0.4][:2])[0]
    np.testing.assert_array_equal(default, scan(never("hager-zhang", eta=0.4), *walks[0.4][:2])[0])


def test_polak_ribieres_beta_is_not_negative():
    # Two gradients in the same direction, the second shorter: <g, y> < 0.
    x, g = np.zeros((STEPS, 2)), np.tile([[1.0, 0.0], [0.5, 0.1]], (STEPS // 2, 1))
    u, _ = scan(never("polak-ribiere+"), x, g)
    np.testing.assert_array_equal(u[1], g[1])


def fletcher_reeves_where_it_was(restarts, step):
    """Return the directions of Fletcher and Reeves along the walk, with restarts at some of its points."""
    x, g, _, _ = walk("fletcher-reeves", step=step)
    u = [g[0]]
    for i in range(1, STEPS):
        weight = 0.0 if restarts[i] else (g[i] @ g[i]) / (g[i - 1] @ g[i - 1])
        u.append(g[i] + weight * u[-1])
    return x, g, np.asarray(u)


@pytest.mark.parametrize("restart", [0.2, 1.4, 5.0, None])
def test_restart_is_powells_test_of_orthogonality(restart):
    _, g, _, _ = walk("fletcher-reeves", step=1.3)
    part = np.abs(np.sum(g[1:] * g[:-1], axis=1)) / np.sum(g[1:] ** 2, axis=1)
    restarts = np.concatenate([[True], np.zeros(STEPS - 1, bool) if restart is None else part >= restart])
    counts = {0.2: 7, 1.4: 5, 5.0: 0, None: 0}
    assert restarts[1:].sum() == counts[restart]
    x, g, expected = fletcher_reeves_where_it_was(restarts, 1.3)
    u, updates = scan(scale_by_nonlinear_cg("fletcher-reeves", restart=restart), x, g)
    np.testing.assert_allclose(u, expected, rtol=1e-10)
    np.testing.assert_array_equal(np.asarray(updates) == 1, restarts)


@pytest.mark.parametrize("every", [1, 3, None])
def test_restart_every_so_many_updates(every):
    restarts = np.arange(STEPS) % (every or STEPS) == 0
    x, g, expected = fletcher_reeves_where_it_was(restarts, 0.3)
    u, updates = scan(never("fletcher-reeves", restart_every=every), x, g)
    np.testing.assert_allclose(u, expected, rtol=1e-10)
    np.testing.assert_array_equal(np.asarray(updates) == 1, restarts)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"beta": "polak-ribiere"}, ValueError, r"scale_by_nonlinear_cg: beta .*Did you mean 'polak-ribiere\+'"),
        ({"beta": "conjugate descent"}, ValueError, r"must be one of 'dai-yuan', 'fletcher-reeves', 'hager-zhang'"),
        ({"restart": 0.0}, ValueError, r"scale_by_nonlinear_cg: restart must be in \(0, inf\]"),
        ({"restart": "powell"}, TypeError, r"restart must be a number"),
        ({"restart_every": 0}, ValueError, r"scale_by_nonlinear_cg: restart_every must be a whole number >= 1"),
        ({"restart_every": 2.5}, TypeError, r"restart_every must be a whole number"),
        ({"eta": -0.1}, ValueError, r"scale_by_nonlinear_cg: eta must be in \[0, inf\)"),
        ({"eta": float("inf")}, ValueError, r"eta must be"),
    ],
)
def test_bad_settings_raise(settings, error, message):
    with pytest.raises(error, match=message):
        scale_by_nonlinear_cg(**settings)


# Where there is nothing to be conjugate to ----------------------------------------------------------------------------

told = jax.jit(lambda beta, *given: never(beta).pairs.update(*given), static_argnums=0)


def second(beta, g, before):
    """Return u and the state after a step along -before from a first update."""
    start = never(beta).pairs.init(np.zeros_like(g))
    _, state = told(beta, before, start, 0 * g, 0 * g, False)
    return told(beta, g, state, -before, g - before, True)


@every_beta
def test_minus_u_descends_or_u_is_the_gradient(beta):
    rng = np.random.default_rng(5)
    outcomes = set()
    for scale in (0.1, 1.0, 10.0):
        for _ in range(20):
            before, g = rng.standard_normal((2, 3))
            g = scale * g
            u, state = second(beta, g, before)
            plain = -g + formula(beta, g, before, -before) * -before
            divides = beta in ("hestenes-stiefel", "dai-yuan", "hager-zhang")
            ascends = -(g @ plain) <= 0 or (divides and -(before @ (g - before)) <= 0)
            outcomes.add(ascends)
            np.testing.assert_allclose(u, g if ascends else -plain, rtol=1e-9, atol=1e-12)
            assert int(state.updates) == (1 if ascends else 2)
            assert g @ np.asarray(u) > 0
    assert outcomes == {True, False} or beta == "dai-yuan"


@every_beta
def test_without_movement_the_last_output_stands_and_forgetting_restarts(beta):
    before, g = np.array([1.0, 2.0, -1.0]), np.array([0.5, -0.6, 0.3])
    u, state = second(beta, g, before)
    assert np.abs(u - g).max() > 1e-3
    again, same = told(beta, g, state, 0 * g, 0 * g, False)
    np.testing.assert_array_equal(again, u)
    assert_trees_close(same._replace(updates=None), state._replace(updates=None), rtol=0)
    assert int(same.updates) == int(state.updates) == 2
    pairs = never(beta).pairs
    assert int(pairs.forget(state, jnp.bool_(False)).updates) == 2
    spoilt = state._replace(direction=np.nan * g)
    u, state = told(beta, g, pairs.forget(spoilt, jnp.bool_(True)), 0 * g, 0 * g, False)
    np.testing.assert_array_equal(u, g)
    assert int(state.updates) == 1


@every_beta
def test_a_gradient_that_is_not_finite_spoils_nothing_later(beta):
    x, g, _, _ = walk(beta)
    g = g.copy()
    g[3] = np.nan
    u, updates = scan(never(beta), x, g)
    np.testing.assert_array_equal(u[4], g[4])
    assert np.isfinite(np.asarray(u)[4:]).all()
    assert list(np.asarray(updates)[3:6]) == [1, 1, 2]


@every_beta
def test_squares_that_leave_the_range_of_numbers_restart(beta):
    for size in (1e200, 1e-200):
        u, _ = second(beta, size * np.array([0.5, -0.6, 0.3]), size * np.array([1.0, 2.0, -1.0]))
        np.testing.assert_array_equal(u, size * np.array([0.5, -0.6, 0.3]))


@every_beta
def test_multiplying_the_objective_multiplies_the_directions(beta):
    x, g, _, _ = walk(beta, step=1.3)
    plain, scaled = scan(scale_by_nonlinear_cg(beta), x, g)[0], scan(scale_by_nonlinear_cg(beta), x, 2.0**30 * g)[0]
    np.testing.assert_array_equal(2.0**30 * plain, scaled)


# Trees ----------------------------------------------------------------------------------------------------------------


def test_a_tree_is_the_vector_of_its_leaves():
    x = jax.tree.map(lambda *rows: np.stack(rows), *[nested_tree(jnp.float64, seed=i) for i in range(STEPS)])
    g = jax.tree.map(lambda v: np.asarray(gradient(v)), x)
    u, updates = scan(never("hager-zhang"), x, g)
    flat = [np.concatenate([np.asarray(v).reshape(STEPS, -1) for v in jax.tree.leaves(t)], axis=1) for t in (x, g, u)]
    expected, counts = scan(never("hager-zhang"), *flat[:2])
    np.testing.assert_allclose(flat[2], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(updates, counts)


def test_lanes_are_a_loop():
    x, g, _, _ = walk("hestenes-stiefel")
    both = jax.vmap(functools.partial(scan, never("hestenes-stiefel")))(np.stack([x, x[::-1]]), np.stack([g, g[::-1]]))
    for lane, order in enumerate((1, -1)):
        alone = scan(never("hestenes-stiefel"), x[::order], g[::order])
        np.testing.assert_allclose(both[0][lane], alone[0], rtol=1e-10)
        np.testing.assert_array_equal(both[1][lane], alone[1])


@pytest.mark.parametrize(("a", "b"), [("float32", "float32"), ("bfloat16", "bfloat16"), ("bfloat16", "float64")])
def test_dtypes_and_structure_are_kept_under_strict_promotion(a, b):
    params = {"a": jax.ShapeDtypeStruct((2, 3), a), "b": (jax.ShapeDtypeStruct((), b), jax.ShapeDtypeStruct((0,), a))}

    def described(t):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), t)

    for beta in BETAS:
        made = scale_by_nonlinear_cg(beta, restart_every=3)
        with jax.numpy_dtype_promotion("strict"):
            state = jax.eval_shape(made.init, params)
            u, new = jax.eval_shape(made.update, params, state, params)
        assert described(new) == described(state)
        assert described(u) == described(params)
        assert described(state.inner.direction) == described(params)  # one array more than the pair


def test_wrong_trees_raise_with_the_path():
    made, params = scale_by_nonlinear_cg(), {"a": jnp.ones(2), "b": jnp.ones(3)}
    state = made.init(params)
    with pytest.raises(ValueError, match="scale_by_nonlinear_cg: update needs params"):
        made.update(params, state)
    with pytest.raises(ValueError, match=r"scale_by_nonlinear_cg: updates .*\['b'\].*\(4,\).*\(3,\)"):
        made.update({"a": jnp.ones(2), "b": jnp.ones(4)}, state, params)


def test_the_defaults():
    assert scale_by_nonlinear_cg() == scale_by_nonlinear_cg(
        "hestenes-stiefel", restart=0.2, restart_every=None, eta=0.4
    )
    assert jopt.scale_by_nonlinear_cg is scale_by_nonlinear_cg

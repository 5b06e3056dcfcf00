# SPDX-License-Identifier: Apache-2.0
"""Hessian-free training: the damped solve against dense algebra, Martens' rule transcribed, minibatches learnt."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt.status import KrylovStatus
from jopt.transforms.hessian_free import (
    FACTOR,
    next_damping,
    predicted_decrease,
    reduction_ratio,
    scale_by_gauss_newton_cg,
)

pytestmark = pytest.mark.slow  # compiles many programs

N = 6
J = np.random.default_rng(0).standard_normal((4, N))  # fewer residuals than parameters: G is singular
GN = J.T @ J
G = np.random.default_rng(1).standard_normal(N)


def quadratic(x):
    return 0.5 * jnp.sum((J @ x) ** 2) + G @ x


@functools.cache
def compiled(**settings):
    """Return the compiled step of a direction on `quadratic` bent by `bend` |x|^4, and the state to begin with."""
    direction = scale_by_gauss_newton_cg(**settings)

    def step(x, state, bend):
        def fun(x):
            return quadratic(x) + bend * jnp.sum(x**2) ** 2

        value, grad = jax.value_and_grad(fun)(x)
        return direction.update(grad, state, x, gnvp=lambda v: GN @ v, value=value, value_fn=fun)

    return jax.jit(step), direction.init(jnp.zeros(N))


EXACT = {"rtol": 1e-13, "progress": 0.0, "maxiter": 60}


@pytest.mark.parametrize("damping", [0.1, 7.0])
def test_run_to_the_end_it_is_the_dense_solution(damping):
    # The damping is a number in the state, so that one program serves them all.
    step, _ = compiled(damping=0.1, **EXACT)
    state = scale_by_gauss_newton_cg(damping=damping, **EXACT).init(jnp.zeros(N))
    u, state = step(np.zeros(N), state, 0.0)
    np.testing.assert_allclose(u, np.linalg.solve(GN + damping * np.eye(N), G), rtol=1e-9)
    np.testing.assert_allclose(state.solution, u)
    assert KrylovStatus(int(state.status)) is KrylovStatus.CONVERGED
    # the model of a quadratic is exact, so the ratio is 1 and the damping falls
    assert float(state.ratio) == pytest.approx(1.0, rel=1e-9)
    assert float(state.damping) == pytest.approx(damping * 2 / 3)


def test_the_damping_follows_martens_rule_step_by_step():
    step, state = compiled(damping=0.1, **EXACT)
    state = state._replace(damping=jnp.float64(2.0))
    x, seen = np.zeros(N), set()
    for bend in (0.0, 0.15, 1.0, 0.0):
        lam = float(state.damping)

        def fun(x, bend=bend):
            return 0.5 * np.sum((J @ x) ** 2) + G @ x + bend * np.sum(x**2) ** 2

        g = GN @ x + G + bend * 4 * np.sum(x**2) * x
        u, state = step(x, state, bend)
        p = -np.linalg.solve(GN + lam * np.eye(N), g)
        np.testing.assert_allclose(u, -p, rtol=1e-8, atol=1e-12)
        rho = (fun(x + p) - fun(x)) / (g @ p + 0.5 * p @ GN @ p)
        assert float(state.ratio) == pytest.approx(rho, rel=1e-6)
        factor = 1.5 if rho < 0.25 else 1 / 1.5 if rho > 0.75 else 1.0
        assert float(state.damping) == pytest.approx(lam * factor)
        seen.add(factor)
        x = x + 0.5 * p
    assert seen == {1.5, 1.0, 1 / 1.5}


def test_the_rule_at_its_borders():
    def factor(ratio, promised=1.0, noise=1e-8):
        return float(next_damping(jnp.float64(1.0), *(jnp.float64(x) for x in (ratio, promised, noise))))

    assert [factor(r) for r in (-1.0, 0.2499, 0.25, 0.75)] == [FACTOR, FACTOR, 1.0, 1.0]
    assert factor(0.7501) == pytest.approx(1 / FACTOR)
    assert factor(np.nan) == factor(-np.inf) == FACTOR  # a step to where the function is not finite
    assert factor(0.0, promised=1e-9) == 1.0  # a promise within the noise of the values says nothing
    info = jnp.finfo(jnp.float32)
    smallest = next_damping(jnp.float32(info.tiny), *(jnp.float32(x) for x in (1.0, 1.0, 0.0)))
    largest = next_damping(jnp.float32(info.max), *(jnp.float32(x) for x in (0.0, 1.0, 0.0)))
    assert float(smallest) == float(info.tiny)
    assert float(largest) == float(info.max)
    assert np.isnan(reduction_ratio(jnp.float64(1.0), jnp.float64(0.5), jnp.float64(0.0)))


def test_the_model_promises_what_the_undamped_matrix_says():
    u, lam = np.random.default_rng(2).standard_normal(N), 0.7
    residual = G - GN @ u - lam * u
    assert float(predicted_decrease(G, u, residual, lam)) == pytest.approx(G @ u - 0.5 * u @ GN @ u, rel=1e-10)


def test_each_solve_starts_from_the_decayed_solution():
    step, state = compiled(damping=3.0, decay=0.5, rtol=1e-6, progress=0.0, maxiter=60)
    x = np.linalg.solve(GN + 3.0 * np.eye(N), G)

    def products(remembered):
        u, after = step(np.zeros(N), state._replace(solution=jnp.asarray(remembered)), 0.0)
        np.testing.assert_allclose(u, x, rtol=1e-4)
        np.testing.assert_allclose(after.solution, u)
        return int(after.nhev)

    cold = products(np.zeros(N))
    assert products(2.0 * x) == 1  # the product at the start, which is the solution
    assert 1 < products(x) <= cold + 1


def test_progress_and_maxiter_stop_the_solve():
    n = 80
    h = np.logspace(0, 5, n)
    g = np.ones(n)

    def products(**settings):
        direction = scale_by_gauss_newton_cg(damping=1e-3, decay=0.0, **settings)

        @jax.jit
        def update(g):
            given = {"gnvp": lambda v: h * v, "value": 0.0, "value_fn": lambda x: 0.5 * jnp.sum(h * x**2) + g @ x}
            return direction.update(g, direction.init(g), 0 * g, **given)

        _, state = update(g)
        return int(state.nhev), KrylovStatus(int(state.status))

    made, status = products(progress=5e-2)
    assert status is KrylovStatus.LITTLE_PROGRESS
    assert made < products(progress=5e-4)[0]
    assert products(maxiter=3) == (3, KrylovStatus.MAX_ITERATIONS)


def test_a_step_to_where_the_function_is_not_finite_raises_the_damping():
    step, state = compiled(damping=0.1, **EXACT)
    u, after = step(np.zeros(N), state, 1e308)
    assert np.sum(np.asarray(u) ** 2) ** 2 > 2  # so the value there is infinite
    np.testing.assert_allclose(u, np.linalg.solve(GN + 0.1 * np.eye(N), G), rtol=1e-9)
    assert float(after.damping) == pytest.approx(0.1 * FACTOR)
    # where the very gradient is not finite it goes out as it came, and nothing of it is remembered
    u, after = step(np.full(N, np.nan), state, 0.0)
    assert KrylovStatus(int(after.status)) is KrylovStatus.NONFINITE
    assert not np.any(after.solution)
    assert float(after.damping) == pytest.approx(0.1 * FACTOR)


# Training -------------------------------------------------------------------------------------------------------------


def features(rows):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((rows, 4))
    return x, (x @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.3 * x[:, 0] * x[:, 1] > 0).astype(float)


def network(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def logistic(logits, labels):
    return jnp.mean(jnp.logaddexp(0.0, logits) - labels * logits)


def test_learns_a_classifier_from_minibatches():
    x, labels = features(400)
    rng = np.random.default_rng(4)
    params = {"w": rng.standard_normal((4, 6)) / 2, "b": np.zeros(6), "v": rng.standard_normal(6) / 2}
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    x, labels = jnp.asarray(x, jnp.float32), jnp.asarray(labels, jnp.float32)
    optimizer = jopt.chain(scale_by_gauss_newton_cg(damping=1.0, maxiter=30), jopt.scale_by_learning_rate(1.0))

    @jax.jit
    def train(params):
        def step(carry, rows):
            params, state = carry
            batch, targets = x[rows], labels[rows]

            def loss(p):
                return logistic(network(p, batch), targets)

            def gnvp(v):
                logits, tangent = jax.jvp(lambda p: network(p, batch), (params,), (v,))
                inner = jax.jvp(lambda z: jax.grad(logistic)(z, targets), (logits,), (tangent,))[1]
                return jax.vjp(lambda p: network(p, batch), params)[1](inner)[0]

            value, grad = jax.value_and_grad(loss)(params)
            u, state = optimizer.update(grad, state, params, gnvp=gnvp, value=value, value_fn=loss)
            return (jopt.apply_updates(params, u), state), value

        rows = jnp.stack([jnp.arange(i % 2, 400, 2) for i in range(20)])
        return jax.lax.scan(step, (params, optimizer.init(params)), rows)

    (params, state), values = train(params)
    logits = network(params, x)
    assert float(values[-1]) < 0.25 * float(values[0])
    assert float(jnp.mean((logits > 0) == (labels > 0))) > 0.95
    assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert float(state[0].damping) < 1.0
    assert 20 < int(state[0].nhev) <= 20 * 30


# Contracts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preconditioner", [None, "hutchinson", "lbfgs"])
def test_trees_keep_their_dtypes_under_strict_promotion(preconditioner):
    direction = scale_by_gauss_newton_cg(preconditioner=preconditioner)
    params = {"a": jax.ShapeDtypeStruct((2, 3), "float32"), "b": jax.ShapeDtypeStruct((), "bfloat16")}
    extras = {"gnvp": lambda v: v, "value": np.float32(1.0), "value_fn": lambda p: jnp.sum(p["a"])}
    with jax.numpy_dtype_promotion("strict"):
        state = jax.eval_shape(direction.init, params)
        u, after = jax.eval_shape(lambda p, s: direction.update(p, s, p, **extras), params, state)
    for a, b in ((u, params), (after, state)):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        assert [(x.shape, x.dtype) for x in jax.tree.leaves(a)] == [(x.shape, x.dtype) for x in jax.tree.leaves(b)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"damping": 0.0}, r"damping must be in \(0, inf\), got 0.0"),
        ({"decay": 1.5}, r"decay must be in \[0, 1\]"),
        ({"progress": -1.0}, r"progress must be in \[0, inf\]"),
        ({"rtol": 1.0}, r"rtol must be in \[0, 1\)"),
        ({"maxiter": 0}, "maxiter must be a whole number >= 1"),
        ({"preconditioner": "none"}, "preconditioner must be one of"),
    ],
)
def test_wrong_settings_raise(settings, words):
    with pytest.raises(ValueError, match=f"scale_by_gauss_newton_cg: {words}"):
        scale_by_gauss_newton_cg(**settings)


def test_missing_extras_raise_by_name():
    extras = {"gnvp": lambda v: v, "value": 1.0, "value_fn": jnp.sum}
    direction = scale_by_gauss_newton_cg()
    for missing in extras:
        given = {k: v for k, v in extras.items() if k != missing}
        with pytest.raises(ValueError, match=f"scale_by_gauss_newton_cg: update needs {missing}, got None. Pass"):
            direction.update(G, direction.init(G), G, **given)
    with pytest.raises(ValueError, match="scale_by_gauss_newton_cg: update needs params"):
        direction.update(G, direction.init(G), None, **extras)

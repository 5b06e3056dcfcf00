# SPDX-License-Identifier: Apache-2.0
"""LSQR against dense least squares and SciPy's LSQR, iterate by iterate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg

from jopt.linalg import lsqr
from jopt.status import KrylovStatus

rng = np.random.default_rng(3)
TALL = rng.standard_normal((9, 5)) @ np.diag([1.0, 3.0, 0.2, 1.0, 7.0])
B = rng.standard_normal(9)


@jax.jit
def solve(a, b, damping=0.0, rtol=0.0, maxiter=40):
    return lsqr(lambda v: a @ v, b, jnp.zeros(a.shape[1], a.dtype), damping=damping, rtol=rtol, maxiter=maxiter)


def damped(a, b, damping):
    n = a.shape[1]
    stacked = np.vstack([a, np.sqrt(damping) * np.eye(n)])
    return np.linalg.lstsq(stacked, np.concatenate([b, np.zeros(n)]), rcond=None)[0]


@pytest.mark.parametrize("damping", [0.0, 1e-6, 0.3, 50.0])
def test_solution_is_that_of_the_stacked_system(damping):
    np.testing.assert_allclose(solve(TALL, B, damping).x, damped(TALL, B, damping), rtol=1e-10)


@pytest.mark.parametrize("damping", [0.0, 0.7])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_iterates_and_norms_are_scipys(steps, damping):
    ours = solve(TALL, B, damping, maxiter=steps)
    theirs = scipy.sparse.linalg.lsqr(TALL, B, damp=np.sqrt(damping), atol=0, btol=0, conlim=0, iter_lim=steps)
    np.testing.assert_allclose(ours.x, theirs[0], rtol=1e-10)
    np.testing.assert_allclose(ours.residual_norm, theirs[4], rtol=1e-10)
    assert int(ours.nit) == steps
    assert int(ours.status) == KrylovStatus.MAX_ITERATIONS


def test_normal_residual_is_what_it_says():
    out = solve(TALL, B, 0.7, maxiter=3)
    normal = TALL.T @ (B - TALL @ out.x) - 0.7 * out.x
    np.testing.assert_allclose(out.normal_residual, np.linalg.norm(normal) / np.linalg.norm(TALL.T @ B), rtol=1e-10)


def test_stops_at_the_relative_tolerance_asked_for():
    loose, tight = solve(TALL, B, rtol=0.3), solve(TALL, B, rtol=1e-9)
    assert int(loose.status) == int(tight.status) == KrylovStatus.CONVERGED
    assert loose.normal_residual <= 0.3
    assert tight.normal_residual <= 1e-9
    assert loose.nit < tight.nit <= 6


@pytest.mark.parametrize("kind", ["wide", "dependent columns"])
def test_the_solution_of_least_norm(kind):
    a = TALL.T if kind == "wide" else np.hstack([TALL, TALL[:, :2]])
    b = B[: a.shape[0]]
    np.testing.assert_allclose(solve(a, b, rtol=1e-13).x, np.linalg.lstsq(a, b, rcond=None)[0], rtol=1e-8, atol=1e-10)


def test_nothing_to_do():
    for a, b in ((TALL, np.zeros(9)), (np.vstack([TALL[:8], np.zeros(5)]), np.eye(9)[8])):
        out = solve(a, b)
        assert int(out.status) == KrylovStatus.CONVERGED
        assert int(out.nit) == 0
        assert not out.x.any()
        assert out.normal_residual == 0
    assert int(solve(TALL, B, maxiter=0).status) == KrylovStatus.MAX_ITERATIONS


def test_exact_residual_zero_ends_at_once():
    out = solve(np.eye(9)[:, :5], np.eye(9)[2], maxiter=7)
    np.testing.assert_allclose(out.x, np.eye(5)[2])
    assert int(out.status) == KrylovStatus.CONVERGED
    assert int(out.nit) == 1


def test_a_product_that_is_not_finite_leaves_the_last_finite_iterate():
    assert int(solve(np.full_like(TALL, np.nan), B).status) == KrylovStatus.NONFINITE
    infinite = solve(TALL, np.full(9, np.inf))
    assert int(infinite.status) == KrylovStatus.NONFINITE
    assert not infinite.x.any()
    start = jnp.asarray(TALL.T @ B)
    cliff = lsqr(
        lambda v: (
            jnp.where(jnp.abs(v @ start) < 0.99 * jnp.linalg.norm(start) * jnp.linalg.norm(v), jnp.nan, 1.0)
            * (TALL @ v)
        ),
        jnp.asarray(B),
        jnp.zeros(5),
        transpose=lambda u: TALL.T @ u,
        maxiter=5,
    )
    assert int(cliff.status) == KrylovStatus.NONFINITE
    np.testing.assert_allclose(cliff.x, solve(TALL, B, maxiter=1).x, rtol=1e-10)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_units_do_not_matter_in_float32(size):
    a, b = (TALL * size).astype(np.float32), B.astype(np.float32)
    out = solve(a, b, rtol=1e-6)
    assert out.x.dtype == jnp.float32
    np.testing.assert_allclose(out.x * np.float32(size), damped(TALL, B, 0.0), rtol=2e-4)


def test_trees_of_several_dtypes():
    well = np.linalg.qr(TALL)[0]
    like = {"a": jnp.zeros(2, jnp.bfloat16), "b": jnp.zeros((3,), jnp.float32)}

    def operator(v):
        flat = jnp.concatenate([v["a"].astype(jnp.float32), v["b"]])
        return (jnp.asarray(well, jnp.float32) @ flat).reshape(3, 3)

    out = lsqr(operator, jnp.asarray(B, jnp.float32).reshape(3, 3), like)
    assert jax.tree.map(lambda x: x.dtype, out.x) == jax.tree.map(lambda x: x.dtype, like)
    flat = np.concatenate([np.asarray(out.x["a"], np.float64), out.x["b"]])
    np.testing.assert_allclose(flat, well.T @ B, rtol=0, atol=2e-2 * np.linalg.norm(B))


def test_the_default_tolerance_and_budget():
    bare = functools.partial(lsqr, lambda v: TALL @ v, jnp.asarray(B), jnp.zeros(5))
    assert float(bare().normal_residual) <= np.sqrt(np.finfo(np.float64).eps)
    spread = np.diag(np.logspace(0, -9, 10))
    stuck = lsqr(lambda v: spread @ v, jnp.ones(10), jnp.zeros(10), rtol=0.0)
    assert int(stuck.nit) == 20


def test_lanes_of_a_batch_are_independent():
    batch = jax.vmap(solve, (None, 0, 0))(TALL, jnp.stack([B, 0 * B, -B]), jnp.array([0.0, 1.0, 2.0]))
    for i, (b, damping) in enumerate(((B, 0.0), (0 * B, 1.0), (-B, 2.0))):
        np.testing.assert_allclose(batch.x[i], damped(TALL, b, damping), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("setting", "error"), [({"damping": -1.0}, ValueError), ({"rtol": -1.0}, ValueError), ({"maxiter": 1.5}, TypeError)]
)
def test_bad_settings(setting, error):
    with pytest.raises(error, match=f"lsqr: {next(iter(setting))}"):
        lsqr(lambda v: v, jnp.ones(2), jnp.ones(2), **setting)


def test_an_operator_into_another_tree_is_named_with_both_shapes():
    with pytest.raises(ValueError, match=r"lsqr: operator\(x\) .* shape \(9,\) and b has shape \(4,\)"):
        lsqr(lambda v: TALL @ v, jnp.ones(4), jnp.ones(5))

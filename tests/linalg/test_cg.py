# SPDX-License-Identifier: Apache-2.0
"""Conjugate gradients: the identities of the method, SciPy's iterates, and every way to end."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg
from support import assert_trees_close, nested_tree, tolerance

from jopt.bench.marker import copies, marked
from jopt.linalg import cg
from jopt.linalg.cg import BUDGET_PER_UNKNOWN, LEAST_BUDGET, PROGRESS_LEAST, PROGRESS_PART
from jopt.status import KrylovStatus

N = 7


def rotated(eigenvalues, seed=0):
    """Return the symmetric matrix with these eigenvalues and random axes."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues), len(eigenvalues))))
    return (q * np.asarray(eigenvalues)) @ q.T


A = rotated(np.logspace(0, 2, N))
B = np.random.default_rng(1).standard_normal(N)
M = rotated(np.logspace(0, -1.5, N), seed=0) + 0.05 * rotated(np.arange(1.0, N + 1), seed=2)
IDENTITY = np.eye(N)


@jax.jit
def solve(a, b, m=IDENTITY, rtol=1e-12, maxiter=50):
    """Return the result for dense matrices; with the identity for M the plain method."""
    return cg(lambda v: a @ v, b, rtol=rtol, maxiter=maxiter, preconditioner=lambda r: m @ r)


@functools.cache
def course(preconditioned):
    """Return the results for budgets 0 ... N, stacked: the course of one run."""
    precondition = (lambda r: M @ r) if preconditioned else None
    run = jax.jit(jax.vmap(lambda k: cg(lambda v: A @ v, B, rtol=0.0, maxiter=k, preconditioner=precondition)))
    return run(jnp.arange(N + 1))


both = pytest.mark.parametrize("preconditioned", [False, True], ids=["plain", "preconditioned"])


# Identities -----------------------------------------------------------------------------------------------------------


@both
def test_is_exact_in_n_steps(preconditioned):
    last = jax.tree.map(lambda x: x[-1], course(preconditioned))
    np.testing.assert_allclose(last.x, np.linalg.solve(A, B), rtol=1e-10)
    assert int(last.nhev) == N


@both
def test_directions_are_conjugate_and_residuals_orthogonal(preconditioned):
    run = course(preconditioned)
    d, r = np.asarray(run.direction[1:]), np.asarray(run.residual[:-1])
    for gram in (d @ A @ d.T, r @ (M if preconditioned else IDENTITY) @ r.T):
        scale = np.sqrt(np.diag(gram))
        np.testing.assert_allclose(gram / np.outer(scale, scale), IDENTITY, atol=1e-8)


@both
def test_iterates_are_those_of_scipy(preconditioned):
    iterates = []
    scipy.sparse.linalg.cg(
        A, B, rtol=0.0, maxiter=N, M=M if preconditioned else None, callback=lambda x: iterates.append(x.copy())
    )
    np.testing.assert_allclose(course(preconditioned).x[1:], iterates, rtol=1e-9)


@both
def test_what_is_reported_is_what_it_says(preconditioned):
    run = jax.tree.map(lambda x: np.asarray(x), course(preconditioned))
    np.testing.assert_allclose(run.residual, B - run.x @ A, atol=1e-12 * np.abs(B).max())
    np.testing.assert_allclose(run.value, 0.5 * np.sum(run.x * (run.x @ A), 1) - run.x @ B, rtol=1e-10)
    np.testing.assert_allclose(run.residual_norm, np.linalg.norm(run.residual, axis=1) / np.linalg.norm(B), rtol=1e-10)
    assert list(run.nhev) == list(range(N + 1))
    d = run.direction[1:]
    np.testing.assert_allclose(run.curvature[1:], np.sum(d * (d @ A), 1) / np.sum(d * d, 1), rtol=1e-10)
    # Below rounding, which the last product reaches, the residual is small and not zero.
    assert set(run.status[:-1]) == {KrylovStatus.MAX_ITERATIONS}


def test_a_zero_right_hand_side_needs_no_product():
    result = solve(A, np.zeros(N))
    assert KrylovStatus(int(result.status)) is KrylovStatus.CONVERGED
    assert int(result.nhev) == 0
    assert not np.any(result.x)
    assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(result))


# Ends -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rtol", [0.5, 1e-2, 1e-6])
def test_stops_at_the_relative_residual(rtol):
    result = solve(A, B, rtol=rtol)
    assert KrylovStatus(int(result.status)) is KrylovStatus.CONVERGED
    norms = np.asarray(course(False).residual_norm)
    assert int(result.nhev) == np.argmax(norms <= rtol)
    assert float(result.residual_norm) <= rtol


@pytest.mark.parametrize("budget", [0, 3])
def test_stops_at_the_budget(budget):
    result = solve(A, B, maxiter=budget)
    assert KrylovStatus(int(result.status)) is KrylovStatus.MAX_ITERATIONS
    assert int(result.nhev) == budget


def test_the_default_budget_grows_with_n():
    def skew(v):  # nothing that this method solves
        return jnp.roll(v, 1) - jnp.roll(v, -1) + 1e-3 * v

    for n in (3, 25):
        b = jnp.asarray(np.random.default_rng(0).standard_normal(n))
        assert int(cg(skew, b, rtol=0.0).nhev) == max(BUDGET_PER_UNKNOWN * n, LEAST_BUDGET)


@pytest.mark.parametrize("m", [IDENTITY, M], ids=["plain", "preconditioned"])
@pytest.mark.parametrize(
    "eigenvalues", [-np.ones(N), [1, 2, 3, 4, 5, 6, -0.5], [0.0] * N], ids=["first", "later", "zero"]
)
def test_negative_curvature_ends_with_its_direction(eigenvalues, m):
    a = rotated(eigenvalues, seed=3)
    result = solve(a, B, m)
    d, x = np.asarray(result.direction), np.asarray(result.x)
    assert KrylovStatus(int(result.status)) is KrylovStatus.NEGATIVE_CURVATURE
    assert d @ a @ d <= 0
    assert B @ d > 0
    assert B @ x >= 0
    assert float(result.curvature) == pytest.approx(d @ a @ d / (d @ d), abs=1e-12)
    np.testing.assert_allclose(result.residual, B - a @ x, atol=1e-12)
    # The length of a Newton step with the other sign of the curvature; 1 without any curvature at all.
    expected = 1.0 if not np.any(eigenvalues) else abs(np.asarray(result.residual) @ d / (d @ a @ d))
    assert float(result.step) == pytest.approx(expected, rel=1e-9)


def test_a_curvature_that_is_rounding_beside_the_largest_counts_as_none():
    a = rotated([0.0, *np.linspace(1, 2, N - 1)], seed=4)
    results = [solve(c * a, B) for c in (1.0, 2.0**-60, 2.0**60)]
    for result in results:
        assert KrylovStatus(int(result.status)) is KrylovStatus.NEGATIVE_CURVATURE
        d = np.asarray(result.direction)
        assert np.linalg.norm(a @ d) <= 1e-6 * np.linalg.norm(d)
        assert np.abs(result.x).max() * float(np.abs(a).max()) < 1e70
        # a curvature below sqrt(eps) of the largest counts as that, so the step is long but not infinite
        assert np.isfinite(result.step)
    assert len({int(r.nhev) for r in results}) == 1


def test_a_product_that_is_not_finite_ends_with_the_last_finite_iterate():
    norms = np.linalg.norm(np.asarray(course(False).direction), axis=1)
    limit = 0.999 * norms[3] / np.abs(B).max()  # the run is in units of the largest entry of b
    broken = int(np.argmax(norms[1:] / np.abs(B).max() < limit))  # the first direction that is that short
    run = jax.jit(lambda b, w: cg(lambda v: jnp.where(jnp.linalg.norm(v) < limit, w, A @ v), b, rtol=1e-12))
    for wrong in (np.nan, np.inf):
        result = run(B, wrong)
        assert KrylovStatus(int(result.status)) is KrylovStatus.NONFINITE
        assert int(result.nhev) == broken + 1
        np.testing.assert_allclose(result.x, course(False).x[broken], rtol=1e-9)
        assert np.isfinite(result.residual).all()


def test_a_right_hand_side_that_is_not_finite_needs_no_product():
    for wrong in (np.nan, np.inf):
        result = solve(A, np.where(np.arange(N) == 2, wrong, B))
        assert KrylovStatus(int(result.status)) is KrylovStatus.NONFINITE
        assert int(result.nhev) == 0
        assert not np.any(result.x)


def test_a_preconditioner_that_is_not_positive_definite_is_found_out():
    result = solve(A, B, -IDENTITY)
    assert KrylovStatus(int(result.status)) is KrylovStatus.INDEFINITE_PRECONDITIONER
    assert int(result.nhev) == 0
    # one that shows only later
    m = np.diag(np.where(np.arange(N) == 0, -1.0, 1.0))
    result = solve(A, np.where(np.arange(N) == 0, 1e-3, 1.0), m)
    assert KrylovStatus(int(result.status)) is KrylovStatus.INDEFINITE_PRECONDITIONER
    assert int(result.nhev) > 0
    assert np.isfinite(result.x).all()


@jax.jit
def checked(a, b, key):
    return cg(lambda v: a @ v, b, rtol=1e-3, key=key)


def test_an_operator_that_is_not_symmetric_is_found_out_on_request():
    skew = A + np.triu(A, 1)
    for key in range(3):
        result = checked(skew, B, jax.random.key(key))
        assert KrylovStatus(int(result.status)) is KrylovStatus.NOT_SYMMETRIC
        assert not np.any(result.x)
        result = checked(A, B, jax.random.key(key))
        assert KrylovStatus(int(result.status)) is KrylovStatus.CONVERGED
    assert int(result.nhev) == np.argmax(np.asarray(course(False).residual_norm) <= 1e-3) + 2
    assert KrylovStatus(int(solve(skew, B, maxiter=3).status)) is not KrylovStatus.NOT_SYMMETRIC


def iterations_until_little_progress(a, b, progress):
    """Run the method in NumPy until Martens' test stops it."""
    x, r = np.zeros_like(b), b.copy()
    d, values = r.copy(), []
    while True:
        alpha = (r @ r) / (d @ a @ d)
        x, new = x + alpha * d, r - alpha * (a @ d)
        d, r = new + (new @ new) / (r @ r) * d, new
        values.append(0.5 * x @ a @ x - b @ x)
        i = len(values)
        k = max(PROGRESS_LEAST, i // PROGRESS_PART)
        if i > k and values[-1] < 0 and (values[-1] - values[-1 - k]) / values[-1] < k * progress:
            return i


@functools.partial(jax.jit, static_argnums=2)
def until_little_progress(a, b, progress, x0=None):
    return cg(lambda v: a @ v, b, x0=x0, rtol=0.0, maxiter=400, progress=progress)


@pytest.mark.parametrize("progress", [5e-4, 1e-2])
def test_stops_where_the_model_hardly_falls(progress):
    n = 150  # so that i / 10 counts
    a = rotated(np.logspace(0, 6, n), seed=5)
    b = a @ np.random.default_rng(6).standard_normal(n)
    result = until_little_progress(a, b, progress)
    assert KrylovStatus(int(result.status)) is KrylovStatus.LITTLE_PROGRESS
    assert int(result.nhev) == iterations_until_little_progress(a, b, progress)


# Start, memory, units -------------------------------------------------------------------------------------------------


@jax.jit
def from_start(b, x0):
    return cg(lambda v: A @ v, b, x0=x0, rtol=1e-10, maxiter=50)


def test_a_start_costs_one_product_and_changes_no_solution():
    x = np.linalg.solve(A, B)
    at_solution = from_start(B, x)
    assert int(at_solution.nhev) == 1
    np.testing.assert_allclose(at_solution.x, x, rtol=1e-12)
    somewhere = from_start(B, 3 * B)
    np.testing.assert_allclose(somewhere.x, x, rtol=1e-8)
    assert N + 1 <= int(somewhere.nhev) <= N + 2
    # the iterates are those of the method for the residual at the start
    shifted = solve(A, B - A @ (3 * B), rtol=0.0, maxiter=3)
    three = jax.jit(lambda b, x0: cg(lambda v: A @ v, b, x0=x0, rtol=0.0, maxiter=4))(B, 3 * B)
    np.testing.assert_allclose(three.x, 3 * B + shifted.x, rtol=1e-9)
    assert int(from_start(np.zeros(N), B).nhev) == 0


def test_a_start_that_is_not_finite_is_left_for_zero():
    result = from_start(B, np.full(N, np.nan))
    assert KrylovStatus(int(result.status)) is KrylovStatus.NONFINITE
    assert not np.any(result.x)


def test_the_operator_stands_once_in_the_program():
    operator = marked(lambda v: 2.0 * v)
    for settings in ({}, {"x0": B}, {"preconditioner": lambda r: 0.5 * r}, {"progress": 1e-3}):
        assert copies(lambda b, settings=settings: cg(operator, b, **settings), B) == 1


def test_observe_sees_each_direction_and_its_product():
    def see(carried, d, product):
        k, rows = carried
        return k + 1, rows.at[k].set(jnp.stack([d, product]))

    result = jax.jit(lambda b: cg(lambda v: A @ v, b, rtol=1e-3, observe=(see, (jnp.int32(0), jnp.zeros((N, 2, N))))))(
        B
    )
    k, rows = result.observed
    assert int(k) == int(result.nhev)
    directions = np.asarray(course(False).direction[1 : int(k) + 1])
    # in units of the largest entry of b
    np.testing.assert_allclose(rows[: int(k), 0] * np.abs(B).max(), directions, rtol=1e-9)
    np.testing.assert_allclose(rows[: int(k), 1], rows[: int(k), 0] @ A, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_squares_neither_overflow_nor_vanish(unit):
    a, b = A.astype(np.float32), B.astype(np.float32)
    plain, scaled = (
        solve(a, b, IDENTITY.astype(np.float32), 1e-5),
        solve(a, b * np.float32(unit), IDENTITY.astype(np.float32), 1e-5),
    )
    assert scaled.x.dtype == np.float32
    assert int(scaled.nhev) == int(plain.nhev)
    np.testing.assert_allclose(np.asarray(scaled.x, np.float64) / unit, plain.x, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_trees_keep_their_dtypes_and_are_vectors(dtype):
    b = nested_tree(dtype)
    diagonal = jax.tree.map(lambda x: jnp.exp(0.3 * x.astype(jnp.float32)).astype(x.dtype), nested_tree(dtype, seed=1))
    with jax.numpy_dtype_promotion("strict"):
        result = jax.jit(lambda b: cg(lambda v: jax.tree.map(jnp.multiply, diagonal, v), b, rtol=tolerance(dtype)))(b)
    wide = jnp.promote_types(dtype, jnp.float32)
    assert {x.dtype for x in (result.curvature, result.step, result.value, result.residual_norm)} == {wide}
    expected = jax.tree.map(lambda d, x: (x / d).astype(x.dtype), diagonal, b)
    assert_trees_close(result.x, expected, rtol={"bfloat16": 1e-1}.get(dtype, 1e3 * tolerance(dtype)))
    assert {x.dtype for x in jax.tree.leaves((result.residual, result.direction))} == {jnp.dtype(dtype)}


def test_a_batch_is_a_loop_over_its_lanes():
    matrices = np.stack([A, rotated([1, 2, 3, 4, 5, 6, -1]), 1e-3 * A])
    lanes = jax.vmap(solve, in_axes=(0, None))(matrices, B)
    for i, a in enumerate(matrices):
        assert_trees_close(jax.tree.map(lambda x, i=i: x[i], lanes), solve(a, B), rtol=1e-9)


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"rtol": -1e-3}, ValueError, r"cg: rtol must be in \[0, 1\), got -0.001"),
        ({"rtol": 1.0}, ValueError, r"cg: rtol must be in \[0, 1\)"),
        ({"rtol": "small"}, TypeError, "cg: rtol must be a number"),
        ({"maxiter": -1}, ValueError, "cg: maxiter must be a whole number >= 0"),
        ({"maxiter": 2.5}, TypeError, "cg: maxiter must be a whole number"),
        ({"progress": -1.0}, ValueError, "cg: progress must be in"),
        ({"preconditioner": np.eye(2)}, TypeError, "cg: preconditioner must be None or a function"),
        ({"observe": max}, TypeError, r"cg: observe must be a pair \(function, initial\)"),
        ({"key": "seed"}, TypeError, "cg: key must be one random key"),
        ({"x0": {"a": jnp.ones(3)}}, ValueError, r"cg: x0 must be a tree like b, but at \['a'\] .*\(3,\).*\(2,\)"),
        (
            {"preconditioner": lambda r: {"a": r["a"][:1]}},
            ValueError,
            r"cg: preconditioner\(r\) must be a tree like b, but at \['a'\] .*\(1,\) and b has shape \(2,\)",
        ),
        ({"preconditioner": lambda r: r["a"]}, ValueError, r"cg: preconditioner\(r\) must be a tree like b"),
    ],
)
def test_wrong_settings_and_trees_raise(settings, error, words):
    with pytest.raises(error, match=words):
        jax.eval_shape(lambda b: cg(lambda v: v, b, **settings), {"a": jnp.ones(2)})


def test_wrong_operators_and_right_hand_sides_raise():
    with pytest.raises(ValueError, match=r"cg: operator\(v\) must be a tree like v, but at \['a'\]"):
        jax.eval_shape(lambda b: cg(lambda v: {"a": v["a"][:1]}, b), {"a": jnp.ones(2)})
    with pytest.raises(TypeError, match="cg: operator must be a function"):
        cg(np.eye(2), jnp.ones(2))
    with pytest.raises(TypeError, match=r"cg: b\['a'\] must be real floating numbers"):
        cg(lambda v: v, {"a": np.arange(2)})
    with pytest.raises(TypeError, match="cg: maxiter must be a Python number where progress is judged"):
        jax.jit(lambda k: cg(lambda v: v, jnp.ones(2), maxiter=k, progress=1e-3))(3)

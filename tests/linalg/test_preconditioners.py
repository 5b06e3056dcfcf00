# SPDX-License-Identifier: Apache-2.0
"""Preconditioners from products: the diagonals they estimate, the matrix they remember, when they do so anew."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assert_trees_close

from jopt.linalg import cg, limited_memory, preconditioners
from jopt.linalg.preconditioners import floored, hutchinson, jacobi, resolve
from jopt.types import Described

N = 6
Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))
A = (Q * np.array([-3.0, 1.0, 2.0, 30.0, 40.0, 50.0])) @ Q.T
B = np.random.default_rng(1).standard_normal(N)
LIKE = {"a": jnp.zeros(2), "b": jnp.zeros((4,))}


def product(v):
    return {"a": A[:2, :2] @ v["a"] + A[:2, 2:] @ v["b"], "b": A[2:, :2] @ v["a"] + A[2:, 2:] @ v["b"]}


def flat(a):
    return np.concatenate([np.asarray(a["a"]), np.asarray(a["b"])])


@functools.cache
def prepare(tool):
    """Return the compiled preparation: state -> (diagonal, state, products)."""

    def run(state):
        ready = tool.prepare(product, LIKE, state)
        return ready.state.diagonal, ready.state, ready.nhev

    return jax.jit(run)


def test_jacobi_is_the_absolute_diagonal_from_n_products():
    tool = jacobi()
    diagonal, state, made = prepare(tool)(tool.init(LIKE))
    expected = np.abs(np.diag(A))
    np.testing.assert_allclose(flat(diagonal), expected / expected.max(), rtol=1e-12)
    assert int(made) == N
    assert int(state.count) == 1


def test_hutchinson_is_the_mean_over_signs_with_the_error_it_states():
    tool = hutchinson(4)
    state = tool.init(LIKE)
    draws = [prepare(tool)(state._replace(key=jax.random.key(key))) for key in range(2)]
    assert [int(made) for _, _, made in draws] == [4, 4]
    assert not np.allclose(*[flat(diagonal) for diagonal, _, _ in draws])
    np.testing.assert_array_equal(flat(draws[0][0]), flat(prepare(tool)(state)[0]))
    other = hutchinson(4, key=1).init(LIKE)
    assert jnp.array_equal(jax.random.key_data(other.key), jax.random.key_data(jax.random.key(1)))
    # many samples come near: the standard deviation of an entry is the norm of the rest of its row over the root
    tool = hutchinson(4000)
    diagonal = flat(prepare(tool)(tool.init(LIKE))[0])
    expected = np.abs(np.diag(A))
    error = np.linalg.norm(A - np.diag(np.diag(A)), axis=1) / np.sqrt(4000)
    assert (np.abs(diagonal * expected[np.argmax(diagonal)] - expected) < 8 * error.max()).all()


@pytest.mark.parametrize("tool", [jacobi(2), hutchinson(3, refresh=2)], ids=["jacobi", "hutchinson"])
def test_a_diagonal_serves_for_as_many_systems_as_refresh_says(tool):
    state, made, diagonals = tool.init(LIKE), [], []
    for _ in range(4):
        diagonal, state, products = prepare(tool)(state)
        made.append(int(products))
        diagonals.append(flat(diagonal))
    number = N if tool == jacobi(2) else 3
    assert made == [number, 0, number, 0]
    np.testing.assert_array_equal(diagonals[0], diagonals[1])
    # new signs each time
    assert np.array_equal(diagonals[1], diagonals[2]) == (tool == jacobi(2))


def test_a_diagonal_is_floored_and_finite_whatever_it_is():
    eps = float(jnp.finfo(jnp.float32).eps)
    d = {"a": jnp.asarray([-2.0, 0.0, 1e-12], jnp.float32), "b": jnp.asarray(1.0, jnp.float32)}
    out = floored(d)
    np.testing.assert_allclose(out["a"], [1.0, eps, eps], rtol=1e-6)
    np.testing.assert_allclose(out["b"], 0.5)
    for useless in (0.0, np.nan, np.inf):
        assert_trees_close(floored(jax.tree.map(lambda x, u=useless: x * 0 + u, d)), jax.tree.map(jnp.ones_like, d))


def test_the_remembered_matrix_is_lbfgs_of_the_last_directions():
    tool = preconditioners.limited_memory(3)
    run = jax.jit(
        lambda b, history: cg(lambda v: A @ A @ v, b, rtol=0.0, maxiter=5, observe=(tool.observe, history)).observed
    )
    history = run(B, tool.init(jnp.zeros(N)))
    assert int(history.stored) == 5
    # On the directions remembered M is the inverse: M A d = d for the last of them (the secant equation).
    s, y = np.asarray(history.s[4 % 3]), np.asarray(history.y[4 % 3])
    np.testing.assert_allclose(y, A @ A @ s, rtol=1e-9)
    ready = tool.prepare(lambda v: v, jnp.zeros(N), history)
    np.testing.assert_allclose(ready.apply(jnp.asarray(y)), s, rtol=1e-9)
    assert int(ready.nhev) == 0
    expected = limited_memory.two_loop(history, jnp.zeros(N), jnp.zeros(N), jnp.asarray(B))[1]
    np.testing.assert_allclose(ready.apply(jnp.asarray(B)), expected, rtol=1e-12)


def test_preconditioners_spare_products_where_they_should():
    scales = np.logspace(0, 4, 12)
    rough = np.diag(scales) + 0.01 * np.ones((12, 12))
    b = jnp.asarray(np.random.default_rng(3).standard_normal(12))

    def operator(v):
        return rough @ v

    def solve(tool, state):
        ready = tool.prepare(operator, b, state)
        return int(cg(operator, b, rtol=1e-8, maxiter=100, preconditioner=ready.apply).nhev)

    memory = preconditioners.limited_memory(12)
    plain = cg(operator, b, rtol=1e-8, maxiter=100, observe=(memory.observe, memory.init(b)))
    assert solve(jacobi(), jacobi().init(b)) < int(plain.nhev) / 2
    assert solve(memory, plain.observed) < int(plain.nhev) / 2


def test_resolves_names_functions_and_objects():
    assert resolve("f", None) is None
    assert resolve("f", "jacobi") == jacobi()
    assert resolve("f", "hutchinson") == hutchinson()
    assert resolve("f", "lbfgs") == preconditioners.limited_memory()
    tool = hutchinson(3)
    assert resolve("f", tool) is tool
    own = resolve("f", lambda params, r: params * r)
    np.testing.assert_allclose(own.prepare(None, jnp.full(2, 3.0), own.init(jnp.zeros(2))).apply(jnp.ones(2)), 3.0)
    assert isinstance(tool, Described)
    assert repr(jacobi(2)) == "jacobi(refresh=2)"
    with pytest.raises(ValueError, match="f: preconditioner must be one of 'hutchinson', 'jacobi', 'lbfgs'"):
        resolve("f", "jacobian")
    with pytest.raises(TypeError, match="f: preconditioner must be None, a name"):
        resolve("f", 3.0)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: jacobi(0), ValueError, "jacobi: refresh must be a whole number >= 1"),
        (lambda: hutchinson(0), ValueError, "hutchinson: samples must be a whole number >= 1"),
        (lambda: hutchinson(refresh=0), ValueError, "hutchinson: refresh must be a whole number >= 1"),
        (lambda: hutchinson(key="a"), TypeError, "hutchinson: key must be one random key"),
        (lambda: preconditioners.limited_memory(0), ValueError, "limited_memory: memory must be a whole number >= 1"),
    ],
)
def test_wrong_settings_raise(make, error, words):
    with pytest.raises(error, match=words):
        make()

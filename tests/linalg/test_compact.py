# SPDX-License-Identifier: Apache-2.0
"""The limited-memory BFGS matrix in compact form, and its inverse on a part of the entries, against dense long double."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import DTYPES

from jopt.linalg import compact, limited_memory

N, MEMORY = 9, 4


def dense(pairs):
    """Return B of the pairs, from old to new, by the BFGS formula from theta I, in long double."""
    if not pairs:
        return np.eye(N, dtype=np.longdouble)
    s, y = pairs[-1]
    b = np.eye(N, dtype=np.longdouble) * ((y @ y) / (s @ y))
    for s, y in pairs:
        b_s = b @ s
        b = b - np.outer(b_s, b_s) / (s @ b_s) + np.outer(y, y) / (s @ y)
    return b


@functools.cache
def pairs(count, dtype, condition=1e3):
    rng = np.random.default_rng(count)
    q, _ = np.linalg.qr(rng.standard_normal((N, N)))
    hessian = (q * np.logspace(0, np.log10(condition), N)) @ q.T
    s = rng.standard_normal((count, N)).astype(dtype)
    return s, (s @ hessian).astype(dtype)


def split(x):
    """Return a vector, perhaps stacked, as a tree of two leaves."""
    return {"a": x[..., :4].reshape(*x.shape[:-1], 2, 2), "b": x[..., 4:]}


def joined(tree):
    return np.concatenate([np.ravel(tree["a"]), np.ravel(tree["b"])]).astype(np.longdouble)


@jax.jit
def everything(s, y, v, free, forgotten):
    """Return B v, <v, B v> and (B_FF)^-1 v_F from the pairs pushed in turn."""

    def push(history, pair):
        return limited_memory.push(history, *map(split, pair)), None

    history = jax.lax.scan(push, limited_memory.empty(split(v), MEMORY, product=limited_memory.two_loop), (s, y))[0]
    b = compact.compact(limited_memory.forget(history, forgotten))
    tree, mask = split(v), split(free)
    w_v = compact.along(b, tree)
    part = compact.reduced(b, mask)
    right = jax.tree.map(lambda m, x: jnp.where(m, x, 0), mask, tree)
    return compact.product(b, tree, w_v), compact.form(b, jnp.sum(v * v), w_v, w_v), compact.solve(b, part, right)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [2, 11])
@pytest.mark.parametrize("free", ["all", "some", "one", "none"])
def test_product_form_and_reduced_inverse_are_those_of_the_dense_matrix(dtype, count, free):
    s, y = pairs(11, dtype)
    s, y = (np.where(np.arange(11)[:, None] < count, z, 0) for z in (s, y))  # a pair of zeros is not kept
    mask = {"all": np.ones(N, bool), "some": np.arange(N) % 3 > 0, "one": np.arange(N) == 5, "none": np.zeros(N, bool)}[
        free
    ]
    v = np.random.default_rng(7).standard_normal(N).astype(dtype)
    product, form, solution = everything(s, y, v, mask, False)
    assert {x.dtype for x in jax.tree.leaves((product, form, solution))} == {jnp.dtype(dtype)}

    kept = list(zip(*(z[:count][-MEMORY:].astype(np.longdouble) for z in (s, y)), strict=True))
    b = dense(kept)
    long, eps = v.astype(np.longdouble), np.finfo(dtype).eps
    condition = np.linalg.cond(b.astype(float))
    np.testing.assert_allclose(joined(product), b @ long, atol=30 * eps * condition * np.linalg.norm(b @ long))
    assert float(form) == pytest.approx(float(long @ b @ long), rel=30 * eps * condition)
    expected = np.zeros(N)
    expected[mask] = np.linalg.solve(b[np.ix_(mask, mask)].astype(float), v[mask].astype(float))
    np.testing.assert_allclose(joined(solution), expected, atol=100 * eps * condition * np.linalg.norm(expected))
    assert np.all(joined(solution)[~mask] == 0)


def test_without_pairs_and_after_forgetting_them_it_is_the_identity():
    s, y = pairs(11, jnp.float64)
    v, some = np.arange(1.0, N + 1), np.arange(N) % 2 == 0
    product, form, solution = everything(s, y, v, some, True)
    np.testing.assert_allclose(joined(product), v)
    assert float(form) == pytest.approx(v @ v)
    np.testing.assert_allclose(joined(solution), np.where(some, v, 0))


@pytest.mark.parametrize("form", [limited_memory.two_loop, limited_memory.gram])
def test_its_inverse_is_the_product_of_either_form(form):
    g = jnp.asarray(np.random.default_rng(8).standard_normal(N))
    history = limited_memory.empty(g, MEMORY, product=form)
    history, directions = jax.lax.scan(lambda history, pair: form(history, *pair, g), history, pairs(11, jnp.float64))
    b = compact.compact(history)
    np.testing.assert_allclose(compact.solve(b, compact.reduced(b, g == g), g), directions[-1], rtol=1e-10)

# SPDX-License-Identifier: Apache-2.0
"""Scalars in compiled programs: what is done to compute them once changes them by no more than rounding."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt import scalars, tree


def test_packing_gives_back_what_went_in():
    a = {
        "f": jnp.float32(1.5),
        "g": jnp.float64(jnp.nan),
        "i": jnp.int32(2**31 - 1),
        "b": jnp.bool_(True),
        "v": jnp.ones(3),
    }
    a["k"] = jax.random.key(0)
    pack, unpack = scalars.packing(a)
    assert len(jax.tree.leaves(pack(a))) == 5  # two floats, one vector of integers, the array, the key
    back = unpack(pack(a))
    assert jax.tree.map(lambda x: x.dtype, back) == jax.tree.map(lambda x: x.dtype, a)
    for name in ("f", "g", "i", "b", "v"):
        np.testing.assert_array_equal(back[name], a[name])


ODD_NUMBERS = [0.0, -0.0, 1.5, -3e300, 3e-308, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("witness", [False, True])
@pytest.mark.parametrize("compile_", [jax.jit, lambda f: f], ids=["jit", "eager"])
def test_settled_scalars_keep_every_bit_and_dtype(witness, compile_):
    given = {f"f{i}": jnp.asarray(x) for i, x in enumerate(ODD_NUMBERS)}
    given |= {
        "single": jnp.float32(-2e-38),
        "count": jnp.int32(-7),
        "big": jnp.int32(2**31 - 1),
        "flag": jnp.bool_(True),
    }
    given |= {"array": jnp.arange(3.0), "key": jax.random.key(0)}
    settled = compile_(scalars.settled)(given, jnp.bool_(witness))
    assert jax.tree.structure(settled) == jax.tree.structure(given)
    for name, before in given.items():
        after = settled[name]
        assert after.dtype == before.dtype
        if name == "key":
            before, after = jax.random.key_data(before), jax.random.key_data(after)
        assert np.asarray(after).tobytes() == np.asarray(before).tobytes(), name


def test_settled_scalars_have_the_derivative_of_the_identity_and_go_through_vmap():
    np.testing.assert_array_equal(jax.grad(lambda x: 3 * scalars.settled(x, x > 0))(2.0), 3.0)
    np.testing.assert_array_equal(
        jax.vmap(lambda x: scalars.settled(x, x > 0))(jnp.arange(-2.0, 2.0)), jnp.arange(-2.0, 2.0)
    )


def test_a_settled_chain_of_decisions_stands_once_in_the_program():
    def chain(s):
        for i in range(30):
            s = jnp.where(s > i, s * 1.5 - i, s + 0.3 * i)
        return s

    def lines(leaves, settle):
        def act(xs, s):
            decided = chain(s)
            decided = scalars.settled(decided, s > 0) if settle else decided
            return [jnp.where(decided > 0, x * decided, x) for x in xs]

        xs = [jnp.ones((4, 4))] * leaves
        return jax.jit(act).lower(xs, jnp.float32(1)).compile().as_text().count("\n")

    repeated = lines(8, settle=False) - lines(4, settle=False)
    once = lines(8, settle=True) - lines(4, settle=True)
    assert repeated > 4 * 30  # else there is nothing to settle any more
    assert once < repeated / 4


FIRST = {"finite": 2.0, "nan": np.nan, "inf": np.inf}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
@pytest.mark.parametrize("compile_", [jax.jit, lambda f: f], ids=["jit", "eager"])
@pytest.mark.parametrize("leaves", [1, scalars.MANY_LEAVES, scalars.MANY_TERMS])
def test_the_total_of_many_leaves_is_that_of_few(leaves, compile_, first):
    a = [jnp.asarray([first, -1.0])] + [jnp.asarray([-float(i), 0.5]) for i in range(1, leaves)]
    whole = np.concatenate(a)
    add = functools.partial(scalars.combined, operator.add, zero=jnp.zeros(2))
    np.testing.assert_array_equal(compile_(tree.vdot)(a, a), np.sum(whole * whole))
    np.testing.assert_array_equal(compile_(tree.max_abs)(a), np.max(np.abs(whole)))
    np.testing.assert_array_equal(compile_(add)(a), np.sum(whole.reshape(-1, 2), axis=0))


def test_the_total_of_many_leaves_has_a_derivative_and_goes_through_vmap():
    a = [jnp.asarray([float(i), -1.0]) for i in range(scalars.MANY_TERMS)]
    for x, slope in zip(a, jax.grad(lambda a: tree.vdot(a, a))(a), strict=True):
        np.testing.assert_array_equal(slope, 2 * x)
    np.testing.assert_array_equal(jax.vmap(lambda t: tree.vdot(a, tree.scale(t, a)))(jnp.arange(3.0)), [0, 148, 296])
    of_lanes = jax.vmap(jax.hessian(lambda t: tree.max_abs(a) * tree.vdot(tree.scale(t, a), tree.scale(t, a))))
    np.testing.assert_array_equal(of_lanes(jnp.arange(3.0)), 7 * 2 * 148.0)


@pytest.mark.parametrize("leaves", [scalars.MANY_LEAVES, scalars.MANY_TERMS])
def test_a_total_of_nothing_is_empty(leaves):
    rows, a = [jnp.zeros((0, 3))] * leaves, [jnp.ones(3)] * leaves
    assert jax.jit(tree.stacked_vdot)(rows, a).shape == (0,)


def test_lanes_have_no_branch_and_add_up_once():
    leaves = scalars.MANY_TERMS

    def reductions(total):
        text = jax.jit(total).lower([jnp.ones((7, 3, 5))] * leaves).compile().as_text()
        return text.count(" conditional("), text.count(" reduce(")

    assert reductions(jax.vmap(lambda a: tree.vdot(a, a))) == (0, leaves)
    assert reductions(lambda a: tree.vdot(a, a))[0] == 1


@pytest.mark.parametrize("total", [lambda a: tree.vdot(a, a), tree.max_abs], ids=["vdot", "max_abs"])
def test_the_reduction_of_a_leaf_stands_once_in_the_program_and_by_itself(total):
    leaves = scalars.MANY_TERMS
    text = jax.jit(lambda a: total(a) + 1).lower([jnp.ones((3, 5))] * leaves).compile().as_text()
    reductions = [computation.count(" reduce(") for computation in text.split("\n}")]
    assert sum(reductions) == leaves
    assert max(reductions) == 1

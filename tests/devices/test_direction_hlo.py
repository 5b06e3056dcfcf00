# SPDX-License-Identifier: Apache-2.0
"""How many reductions over devices a direction, and one trip of a solver, makes: read off the compiled programs.

XLA before the version that jax 0.10 brings does not join reductions that could go together. There each product of the
table is one by itself, for each leaf; that their number does not depend on the memory holds everywhere.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from layouts import JOINS_REDUCTIONS, KINDS, count_reductions, make_mesh, tree_on, use_mesh
from test_sharding import check_layout, compile_solve

import jopt
from jopt import tree
from jopt.linalg.limited_memory import TWO_LOOP_MOST, choose, empty, gram, two_loop

every_kind = pytest.mark.parametrize("kind", KINDS)

LEAVES = {
    "one leaf": {"a": ((16, 8), ("x",))},
    "three leaves": {"a": ((16, 8), ("x",)), "b": ((3, 32), (None, "x")), "c": ((3,), ())},
}


def laid_out(leaves, kind):
    mesh = make_mesh("one axis", kind)
    return {
        name: jax.device_put(
            jnp.linspace(1, 2, int(np.prod(shape))).reshape(shape), NamedSharding(mesh, PartitionSpec(*spec))
        )
        for name, (shape, spec) in LEAVES[leaves].items()
    }


def compile_direction(product, memory, params):
    history = empty(params, memory, product=product)
    return jax.jit(product).lower(history, params, params, params).compile(), history


QUICK = {("three leaves", 10, "auto")}


@pytest.mark.parametrize(
    ("leaves", "memory", "kind"),
    [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
        for case in itertools.product(LEAVES, (5, 10), KINDS)
    ],
)
def test_the_inner_products_of_a_direction_are_one_reduction_whatever_the_memory(leaves, memory, kind):
    params = laid_out(leaves, kind)
    program, history = compile_direction(gram, memory, params)
    count = count_reductions(program.as_text())
    spread = sum(any(spec) for _, spec in LEAVES[leaves].values())
    if JOINS_REDUCTIONS:
        assert count == 1
    else:
        assert count == spread * (3 if kind == "auto" and leaves == "one leaf" else 1)  # of many leaves these are short
    _, u = program(history, params, params, params)
    for x, out in zip(jax.tree.leaves(params), jax.tree.leaves(u), strict=True):
        np.testing.assert_allclose(out, x, rtol=1e-12)  # s = y = g: the secant equation
        assert out.sharding.is_equivalent_to(x.sharding, x.ndim)


@pytest.mark.slow
def test_the_recursion_waits_for_a_reduction_in_each_of_its_loops():
    # Two loops of m trips with one each, and the products of the new pair: the measure that the form above is held to.
    params = laid_out("one leaf", "auto")
    text = compile_direction(two_loop, 5, params)[0].as_text()
    assert count_reductions(text, "while/body") == 2
    assert count_reductions(text) >= 3


@every_kind
def test_parameters_spread_by_their_type_take_the_form_with_one_reduction_traced_or_not(kind):
    mesh = make_mesh("one axis", kind)
    params = {"a": jax.device_put(jnp.arange(8.0), NamedSharding(mesh, PartitionSpec("x")))}
    assert params["a"].size <= TWO_LOOP_MOST
    assert tree.is_sharded(params["a"])
    assert choose(params) is (gram if kind == "explicit" else two_loop)
    assert choose({"c": laid_out("three leaves", kind)["c"]}) is two_loop
    init = jopt.scale_by_lbfgs().init
    with use_mesh(mesh):
        assert jax.tree.structure(init(params)) == jax.tree.structure(jax.eval_shape(init, params))


def test_one_trip_of_lbfgs_gathers_nothing_and_makes_five_reductions():
    text, out, shardings = compile_solve("lbfgs", "one axis", "auto")
    check_layout(text, out, shardings, tree_on("one axis", "auto"))
    if JOINS_REDUCTIONS:
        # Value and slope of the trial; its largest gradient entry and step; the table; the largest entry of the gradient
        # to go on from; the new slope and the length of that gradient.
        assert count_reductions(text, "while/body") == count_reductions(text) == 5


@pytest.mark.slow
def test_one_iteration_of_conjugate_gradients_gathers_nothing_and_makes_two_reductions():
    text, out, shardings = compile_solve("trust-ncg", "one axis", "explicit")
    check_layout(text, out, shardings, tree_on("one axis", "explicit"))
    if JOINS_REDUCTIONS:
        # <d, H d> and |r|^2, of which the second waits for the first.
        assert count_reductions(text, "while/body/cond/branch_1_fun/while/body") == 2
        # Two for the trial and one for the mean in its gradient; then one for a shorter step, or three around the
        # iterations for a new one.
        assert count_reductions(text, "while/body") == 2 + 1 + 1 + 3 + 2

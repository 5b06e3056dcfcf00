# SPDX-License-Identifier: Apache-2.0
"""The suite of optimizer steps: the same work for all, on the trees and with the bytes that it says."""

import inspect
import types

import jax
import numpy as np
import pytest

from jopt.bench import steps, turns
from jopt.bench.suites import Scope


@pytest.mark.parametrize(
    ("name", "factor"), [("sgd", 3), ("momentum", 5), ("adam", 7), ("amsgrad", 9), ("adadelta", 7), ("lion", 5)]
)
def test_least_bytes_count_each_array_of_the_state_twice(name, factor):
    assert steps.least_bytes(steps.RECIPES[name], 1000, "float32") == factor * 4 * 1000  # Adam: 28 n
    assert steps.least_bytes(steps.RECIPES[name], 1000, "float64") == factor * 8 * 1000


# Multiplications, additions and divisions on paper: x - a g; m = b m + g before it; Adam's 3 for m, 4 for v, 2 to correct
# both, and eps, the quotient, the rate and the sum.
@pytest.mark.parametrize(("name", "count"), [("sgd", 2), ("momentum", 4), ("adam", 13)])
def test_operations_are_those_on_paper(name, count):
    assert steps.flops(name) == count
    heat = next(heat for heat in steps.heats(Scope(quick=True)) if heat.case.startswith("adam"))
    assert {contender.flops for contender in heat.contenders} == {13 * heat.size}


def test_the_tree_is_a_transformer_of_the_size_asked_for():
    shapes = steps.transformer(16_000_000, steps.LAYERS)
    leaves = steps._leaves(shapes)
    assert len(shapes) == 24
    assert {len(layer) for layer in shapes.values()} == {12}
    assert sum(int(np.prod(shape)) for shape in leaves) == pytest.approx(16e6, rel=0.02)


def test_every_recipe_meets_both_kinds_of_tree():
    heats = steps.heats(Scope())
    assert [heat.case for heat in heats] == [
        f"{name}, {kind} 16M" for name in steps.RECIPES for kind in ("leaf", "tree")
    ]
    for heat in heats:
        name = heat.case.split(",")[0]
        assert [contender.name for contender in heat.contenders[:2]] == [f"optax {name}", f"jopt {name}"]
        assert heat.unit == "step"
    quick = steps.heats(Scope(quick=True))
    assert [heat.case for heat in quick] == [
        f"{name}, {kind} 1M" for name in steps.QUICK_RECIPES for kind in ("leaf", "tree")
    ]
    assert all(heat.size == pytest.approx(1e6, rel=0.05) for heat in quick)


@pytest.mark.parametrize("name", steps.RECIPES)
def test_both_packages_do_the_same_arithmetic(name):
    recipe = steps.RECIPES[name]
    shapes = {"a": (3,)}
    ends = [steps._by_jax(factory, shapes, "float64") for factory in (recipe.optax, recipe.jopt)]
    for _ in range(3):
        (one, _), (other, _) = (ready.run() for ready in ends)
    np.testing.assert_allclose(one["a"], other["a"], rtol=1e-12)
    assert np.all(one["a"] != 1)


# Its NAdam has a momentum that changes, and its Adagrad and Amsgrad keep the small number elsewhere.
@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw", "adamax", "adadelta"])
def test_torch_does_the_same_arithmetic(name):
    pytest.importorskip("torch")
    recipe = steps.RECIPES[name]
    ours, theirs = steps._by_jax(recipe.optax, (3,), "float64"), steps._by_torch(recipe, (3,), "float64")
    for _ in range(3):
        params, (tensor,) = ours.run()[0], theirs.run()
    rtol = 5e-2 if name == "rmsprop" else 1e-4  # torch keeps the small number outside the root
    np.testing.assert_allclose(np.asarray(params) - 1, tensor.numpy() - 1, rtol=rtol)


@pytest.mark.parametrize("name", [name for name, recipe in steps.RECIPES.items() if recipe.torch])
def test_torch_is_fused_wherever_it_can_be(name):
    torch = pytest.importorskip("torch")
    recipe = steps.RECIPES[name]
    assert recipe.fused == ("fused" in inspect.signature(getattr(torch.optim, recipe.torch)).parameters)


def test_torch_on_cuda_is_waited_for():
    waited = []
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(synchronize=lambda: waited.append(1)))
    jax.block_until_ready(steps.OnCuda(torch))
    assert waited == [1]


def test_torch_has_no_place_beside_another_device(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(steps.rivals, "torch_device", lambda: "")
    with pytest.raises(turns.Absent):
        steps._by_torch(steps.RECIPES["sgd"], (3,), "float32")


def test_parameters_are_in_the_precision_asked_for():
    run = steps._by_jax(steps.RECIPES["adam"].jopt, {"a": (3,), "b": (2, 2)}, "float32").run
    params, state = run()
    assert {x.dtype for x in jax.tree.leaves(params)} == {np.dtype("float32")}
    assert params["b"].shape == (2, 2)
    assert jax.tree.structure(run()) == jax.tree.structure((params, state))

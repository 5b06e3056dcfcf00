# SPDX-License-Identifier: Apache-2.0
"""The suite of training: all train the same network on the same data, and say how well."""

import jax
import numpy as np
import pytest

from jopt.bench import training, turns
from jopt.bench.suites import Scope
from jopt.problems import losses

WIDTH = 8


@pytest.fixture
def on_clusters(monkeypatch):
    """Train on clusters."""
    monkeypatch.setattr(training, "digits", training.clusters)


@pytest.mark.usefixtures("on_clusters")
def test_jopt_and_optax_reach_the_same_loss():
    recipe = training.RECIPES["adam"]
    one, other = (training._by_jax(recipe, factory, WIDTH, 2, "float64") for factory in (recipe.optax, recipe.jopt))
    assert one.figures["loss"] == pytest.approx(other.figures["loss"], rel=1e-9)
    assert one.figures["accuracy"] == other.figures["accuracy"] > 0.2  # by chance it is a tenth
    before = jax.tree.map(np.asarray, one.run()[0])
    after = one.run()[0]
    assert not np.array_equal(before["hidden"]["weight"], after["hidden"]["weight"])  # it goes on


@pytest.mark.usefixtures("on_clusters")
def test_torch_reaches_about_the_same_loss():
    pytest.importorskip("torch")
    recipe = training.RECIPES["adam"]
    ours = training._by_jax(recipe, recipe.jopt, WIDTH, 2, "float64")
    theirs = training._by_torch(recipe, WIDTH, 2, "float64")
    assert theirs.figures["loss"] == pytest.approx(ours.figures["loss"], rel=0.1)  # the order of the rows differs


def test_torch_has_no_place_beside_another_device(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(training.rivals, "torch_device", lambda: "")
    with pytest.raises(turns.Absent):
        training._by_torch(training.RECIPES["adam"], WIDTH, 1, "float32")


def test_torch_begins_with_the_same_network():
    torch = pytest.importorskip("torch")
    data = training.clusters("float64")
    outputs = training._torch_network(torch, WIDTH, "float64")(torch.from_numpy(data.features))
    expected = losses.network(training.start(WIDTH, "float64"), data.features)
    np.testing.assert_allclose(outputs.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_data_are_of_the_sizes_and_the_precision_said(precision):
    sizes = [
        (training.SAMPLES, training.FEATURES),
        (training.SAMPLES,),
        (training.TEST, training.FEATURES),
        (training.TEST,),
    ]
    for data in (training.clusters(precision), training.digits(precision)):
        assert [part.shape for part in data] == sizes
        assert [str(part.dtype) for part in data] == [precision, "int32", precision, "int32"]
        assert set(data.labels) == set(range(training.CLASSES))


def test_clusters_stand_in_for_the_digits(monkeypatch):
    monkeypatch.setattr(training.rivals, "usable", lambda _: False)
    np.testing.assert_array_equal(training.digits("float32").features, training.clusters("float32").features)


def test_cases_are_those_of_the_scope():
    heats = training.heats(Scope())
    assert [heat.case for heat in heats] == ["sgd", "adam", "adamw"]
    assert [contender.name for contender in heats[0].contenders][:2] == ["optax sgd", "jopt sgd"]
    assert {(heat.unit, heat.work) for heat in heats} == {("epoch", training.EPOCHS)}
    assert [heat.case for heat in training.heats(Scope(quick=True))] == ["adam"]

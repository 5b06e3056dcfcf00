# SPDX-License-Identifier: Apache-2.0
"""Epochs of a small network, in minibatches: the loop that most people write.

    outputs = tanh(X W1 + b1) W2 + b2        cross entropy, minibatches of `BATCH` rows, in an order drawn anew each epoch

The data are scikit-learn's handwritten digits, or random clusters of the same sizes where it is not installed. With JAX a
run is some epochs in one compiled program, a scan over minibatches in a scan over epochs, whose parameters and state
write to the memory of the last run's. torch runs its own loop over minibatches, with the data on the device, gradients
set to None and the fused optimizer (docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html), and on CUDA with
TensorFloat-32 in its products of matrices, as JAX has by default.

    loss, accuracy    after the epochs of the first run: over the training part, and the share of the test part that is
                      classified rightly; speed is not bought with other arithmetic
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jopt import optimizers, problems
from jopt.bench import rivals
from jopt.bench.suites import Scope, Suite
from jopt.bench.turns import Absent, Contender, Heat, Ready, compiled
from jopt.problems import losses
from jopt.types import Params

WIDTH, QUICK_WIDTH = 256, 64
BATCH = 32
EPOCHS, QUICK_EPOCHS = 10, 3
SEED = 0

SAMPLES, TEST, FEATURES, CLASSES = 1437, 360, 64, 10
"""Of the digits; those of the clusters are the same."""

SPREAD = 2.0
"""Of a cluster, over the distance scale of their centres: some samples lie nearer to another."""


class Recipe(NamedTuple):
    """A method, as each package calls it, with the same settings.

    Attributes:
      jopt: the factory.
      optax: the factory.
      torch: name of the class in torch.optim.
      rate: learning rate.
      settings: keywords of the factories.
      torch_settings: keywords of that class.
    """

    jopt: Callable[..., Any]
    optax: Callable[..., Any]
    torch: str
    rate: float
    settings: dict[str, Any] = {}  # noqa: RUF012 - never written to
    torch_settings: dict[str, Any] = {}  # noqa: RUF012 - likewise


DECAY = {"weight_decay": 1e-4}
RECIPES = {
    "sgd": Recipe(optimizers.sgd, optax.sgd, "SGD", 0.1, {"momentum": 0.9}, {"momentum": 0.9}),
    "adam": Recipe(optimizers.adam, optax.adam, "Adam", 1e-3),
    "adamw": Recipe(optimizers.adamw, optax.adamw, "AdamW", 1e-3, DECAY, DECAY),
}
"""The recipes by name, with customary settings."""

QUICK_RECIPES = ("adam",)


class Data(NamedTuple):
    """Training and test part, NumPy arrays or JAX's.

    Attributes:
      features: shape (samples, FEATURES).
      labels: int32, shape (samples,).
      test_features: shape (test, FEATURES).
      test_labels: int32, shape (test,).
    """

    features: Any
    labels: Any
    test_features: Any
    test_labels: Any


def digits(precision: str) -> Data:
    """Return the digits, or clusters where scikit-learn is not installed."""
    return Data(*problems.load_digits(dtype=precision)) if rivals.usable("sklearn") else clusters(precision)


def clusters(precision: str) -> Data:
    """Return random clusters of points, one for each class, of the sizes of the digits."""
    rng = np.random.default_rng(SEED)
    centres = rng.standard_normal((CLASSES, FEATURES))
    labels = rng.integers(0, CLASSES, SAMPLES + TEST).astype(np.int32)
    features = (centres[labels] + SPREAD * rng.standard_normal((len(labels), FEATURES))).astype(precision)
    return Data(features[:SAMPLES], labels[:SAMPLES], features[SAMPLES:], labels[SAMPLES:])


def heats(scope: Scope) -> tuple[Heat, ...]:
    """Return the heats: one for each recipe.

    Args:
      scope: what is asked for.
    """
    quick, full = (QUICK_WIDTH, QUICK_EPOCHS, QUICK_RECIPES), (WIDTH, EPOCHS, tuple(RECIPES))
    width, epochs, names = quick if scope.quick else full
    return tuple(_heat(name, width, epochs, scope.precision) for name in names)


def start(width: int, precision: str) -> Params:
    """Return the parameters at which all begin, NumPy arrays: `{"hidden": {"weight", "bias"}, "output": ...}`."""
    rng = np.random.default_rng(SEED)
    layers = {"hidden": (FEATURES, width), "output": (width, CLASSES)}
    return {
        name: {
            "weight": (rng.standard_normal((m, n)) / m**0.5).astype(precision),
            "bias": np.zeros(n, precision),
        }
        for name, (m, n) in layers.items()
    }


def _heat(name: str, width: int, epochs: int, precision: str) -> Heat:
    recipe = RECIPES[name]
    prepared = {
        f"optax {name}": functools.partial(_by_jax, recipe, recipe.optax, width, epochs, precision),
        f"jopt {name}": functools.partial(_by_jax, recipe, recipe.jopt, width, epochs, precision),
    }
    if rivals.usable("torch"):
        prepared[f"torch {name}"] = functools.partial(_by_torch, recipe, width, epochs, precision)
    size = sum(x.size for x in jax.tree.leaves(start(width, precision)))
    return Heat(name, size, "epoch", tuple(Contender(*item) for item in prepared.items()), epochs)


def _loss(params: Params, features: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean(losses.cross_entropy(losses.network(params, features), labels))


def _by_jax(recipe: Recipe, factory: Callable[..., Any], width: int, epochs: int, precision: str) -> Ready:
    method = factory(recipe.rate, **recipe.settings)
    params = jax.tree.map(jnp.asarray, start(width, precision))
    data = Data(*map(jnp.asarray, digits(precision)))
    run = functools.partial(_epochs, method, epochs)
    first = jax.tree.map(jnp.copy, (params, method.init(params), jax.random.key(SEED)))
    made = compiled(run, first, data.features, data.labels, donate=(0,))
    kept = [first]

    def go_on() -> Any:
        kept[0] = made.program(kept[0], data.features, data.labels)
        return kept[0]

    params = go_on()[0]
    loss = _loss(params, data.features, data.labels)
    accuracy = losses.accuracy(losses.network(params, data.test_features), data.test_labels)
    return made.ready(go_on, loss=float(loss), accuracy=float(accuracy))


def _epochs(
    method: Any, epochs: int, carry: tuple[Any, Any, Any], features: jax.Array, labels: jax.Array
) -> tuple[Any, Any, Any]:
    """Return parameters, state and key after so many epochs."""
    batches = len(features) // BATCH

    def step(carry: tuple[Any, Any], rows: jax.Array) -> tuple[tuple[Any, Any], None]:
        params, state = carry
        grads = jax.grad(_loss)(params, features[rows], labels[rows])
        updates, state = method.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    def epoch(carry: tuple[Any, Any, Any], _: None) -> tuple[tuple[Any, Any, Any], None]:
        params, state, key = carry
        key, own = jax.random.split(key)
        order = jax.random.permutation(own, len(features))[: batches * BATCH].reshape(batches, BATCH)
        (params, state), _ = jax.lax.scan(step, (params, state), order)
        return (params, state, key), None

    return jax.lax.scan(epoch, carry, None, length=epochs)[0]


def _by_torch(recipe: Recipe, width: int, epochs: int, precision: str) -> Ready:
    torch, device = importlib.import_module("torch"), rivals.torch_device()
    if not device:
        raise Absent
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    data = [torch.from_numpy(np.array(part)).to(device) for part in digits(precision)]
    features, labels, test_features, test_labels = (x.long() if x.dtype == torch.int32 else x for x in data)
    model = _torch_network(torch, width, precision).to(device)
    method = getattr(torch.optim, recipe.torch)(model.parameters(), lr=recipe.rate, fused=True, **recipe.torch_settings)
    loss_of = torch.nn.CrossEntropyLoss()
    batches = len(features) // BATCH

    def run() -> None:
        for _ in range(epochs):
            order = torch.randperm(len(features), device=device)
            for rows in order[: batches * BATCH].split(BATCH):
                method.zero_grad(set_to_none=True)
                loss_of(model(features[rows]), labels[rows]).backward()
                method.step()
        if device == "cuda":
            torch.cuda.synchronize()

    torch.manual_seed(SEED)
    run()
    with torch.no_grad():
        loss = float(loss_of(model(features), labels))
        accuracy = float((model(test_features).argmax(dim=1) == test_labels).double().mean())
    return Ready(run, figures={"loss": loss, "accuracy": accuracy}, repeats=1)  # it is warm


def _torch_network(torch: Any, width: int, precision: str) -> Any:
    """Return the same network with the same start."""
    dtype = getattr(torch, precision)
    hidden, output = (torch.nn.Linear(m, n, dtype=dtype) for m, n in ((FEATURES, width), (width, CLASSES)))
    with torch.no_grad():
        for layer, params in zip((hidden, output), start(width, precision).values(), strict=True):
            layer.weight.copy_(torch.from_numpy(params["weight"].T))
            layer.bias.copy_(torch.from_numpy(params["bias"]))
    return torch.nn.Sequential(hidden, torch.nn.Tanh(), output)


SUITE = Suite(
    "train",
    "Epochs of a small network in minibatches, beside optax and torch.",
    heats,
    columns=("loss", "accuracy"),
)

# SPDX-License-Identifier: Apache-2.0
"""Cost of one optimizer step: every recipe of jopt beside optax's of the same name and torch.optim's.

    step    (params, state), grads -> (params + updates, state)        with the gradient fixed, memory of the left written to

The parameters are one leaf, or a tree like a transformer's: layers of four attention matrices of d x d, two matrices
d x 4d of a perceptron with their biases, and the scales and shifts of two norms, about 12 d^2 each.

A step of these methods moves memory and computes next to nothing, so the bytes that it must move are its limit: each
parameter and each floating array of the state is read and written once, the gradient is read once,

    bytes = (2 + 1 + 2 k) n itemsize,        k = arrays like the parameters in jopt's state (28 n for Adam in float32).

torch runs on the same kind of device, as its documentation advises: `fused=True` where it has that, `foreach=True`
elsewhere on CUDA, its own choice on a CPU (docs.pytorch.org/docs/stable/optim.html, "Algorithms"). It has no Lion. Nobody
waits between the steps of a turn, as nobody does in training.
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

from jopt import optimizers
from jopt.bench import rivals
from jopt.bench.suites import Scope, Suite
from jopt.bench.turns import Absent, Contender, Heat, Ready, chained

RATE = 1e-3
MOMENTUM = 0.9
LAYERS, QUICK_LAYERS = 24, 6
EXPANSION = 4
"""Width of the perceptron over that of the layer, as is usual."""

SIZES = {"16M": 16_000_000}
QUICK_SIZES = {"1M": 1_000_000}
"""Numbers of parameters, by the name in the case."""

COUNTED = 1000
"""Parameters of a leaf whose operations are counted."""

GRADIENT = 1e-3
"""Every entry of the gradient: small enough that parameters stay finite over all turns."""


class Recipe(NamedTuple):
    """A method, as each package calls it.

    Attributes:
      jopt: the factory.
      optax: the factory.
      torch: name of the class in torch.optim, or empty.
      settings: keywords of that class.
      fused: whether that class takes `fused`.
    """

    jopt: Callable[..., Any]
    optax: Callable[..., Any]
    torch: str = ""
    settings: dict[str, Any] = {}  # noqa: RUF012 - never written to
    fused: bool = False


RECIPES = {
    "sgd": Recipe(optimizers.sgd, optax.sgd, "SGD", fused=True),
    "momentum": Recipe(
        optimizers.momentum,
        functools.partial(optax.sgd, momentum=MOMENTUM),
        "SGD",
        {"momentum": MOMENTUM},
        fused=True,
    ),
    "nesterov": Recipe(
        optimizers.nesterov,
        functools.partial(optax.sgd, momentum=MOMENTUM, nesterov=True),
        "SGD",
        {"momentum": MOMENTUM, "nesterov": True},
        fused=True,
    ),
    "adagrad": Recipe(optimizers.adagrad, optax.adagrad, "Adagrad", fused=True),
    "rmsprop": Recipe(optimizers.rmsprop, optax.rmsprop, "RMSprop", {"alpha": 0.9}),
    "adam": Recipe(optimizers.adam, optax.adam, "Adam", fused=True),
    "nadam": Recipe(optimizers.nadam, optax.nadam, "NAdam"),
    "adamw": Recipe(optimizers.adamw, optax.adamw, "AdamW", {"weight_decay": 1e-4}, fused=True),
    "nadamw": Recipe(optimizers.nadamw, optax.nadamw, "NAdam", {"weight_decay": 1e-4, "decoupled_weight_decay": True}),
    "amsgrad": Recipe(optimizers.amsgrad, optax.amsgrad, "Adam", {"amsgrad": True}, fused=True),
    "adamax": Recipe(optimizers.adamax, optax.adamax, "Adamax"),
    "adadelta": Recipe(optimizers.adadelta, optax.adadelta, "Adadelta"),
    "lion": Recipe(optimizers.lion, optax.lion),
}
"""The recipes by name."""

QUICK_RECIPES = ("sgd", "rmsprop", "adam", "adadelta")
"""With `--quick`."""


def heats(scope: Scope) -> tuple[Heat, ...]:
    """Return the heats: each recipe on one leaf and on the tree.

    Args:
      scope: what is asked for.
    """
    quick, full = (QUICK_RECIPES, QUICK_SIZES, QUICK_LAYERS), (tuple(RECIPES), SIZES, LAYERS)
    names, sizes, layers = quick if scope.quick else full
    makes = {"leaf": leaf, "tree": functools.partial(transformer, layers=layers)}
    forms = {f"{kind} {word}": make(size) for word, size in sizes.items() for kind, make in makes.items()}
    return tuple(
        _heat(name, f"{name}, {form}", shapes, scope.precision) for name in names for form, shapes in forms.items()
    )


def leaf(size: int) -> tuple[int, ...]:
    """Return the shape of one leaf of so many parameters."""
    return (size,)


def transformer(size: int, layers: int) -> dict[str, Any]:
    """Return the shapes of a tree of about so many parameters, in so many layers."""
    width = max(1, round((size / (layers * (4 + 2 * EXPANSION))) ** 0.5))
    square, vector = (width, width), (width,)
    attention = dict.fromkeys(("query", "key", "value", "out"), square)
    wide = EXPANSION * width
    perceptron = {"up": (width, wide), "up_bias": (wide,), "down": (wide, width), "down_bias": vector}
    norms = dict.fromkeys(("attention_scale", "attention_shift", "perceptron_scale", "perceptron_shift"), vector)
    return {f"layer_{i}": {**attention, **perceptron, **norms} for i in range(layers)}


def least_bytes(recipe: Recipe, size: int, precision: str) -> int:
    """Return the bytes that a step must move: see the formula above.

    Args:
      recipe: its state is jopt's.
      size: number of parameters, n.
      precision: of all arrays.
    """
    # Few parameters stand for all: the state is known without anything being allocated.
    few = jax.ShapeDtypeStruct((7,), jnp.float32)
    state = jax.eval_shape(recipe.jopt(RATE).init, few)
    like = sum(x.shape == few.shape and jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(state))
    return (3 + 2 * like) * size * np.dtype(precision).itemsize


@functools.cache
def flops(name: str) -> int:
    """Return the operations that a step of jopt's recipe takes for each parameter, roots apart, as XLA counts them.

    Args:
      name: of the recipe.
    """
    method = RECIPES[name].jopt(RATE)

    def count(n: int) -> float:
        x = jax.ShapeDtypeStruct((n,), jnp.float32)
        program = jax.jit(functools.partial(_step, method)).lower((x, jax.eval_shape(method.init, x)), x)
        return (program.cost_analysis() or {}).get("flops", 0.0)

    return round((count(2 * COUNTED) - count(COUNTED)) / COUNTED)  # those of the scalars are the same in both


def _heat(name: str, case: str, shapes: Any, precision: str) -> Heat:
    recipe = RECIPES[name]
    size = sum(int(np.prod(shape)) for shape in _leaves(shapes))
    least = least_bytes(recipe, size, precision)
    prepared = {
        f"optax {name}": functools.partial(_by_jax, recipe.optax, shapes, precision),
        f"jopt {name}": functools.partial(_by_jax, recipe.jopt, shapes, precision),
    }
    if recipe.torch and rivals.usable("torch"):
        prepared[f"torch {name}"] = functools.partial(_by_torch, recipe, shapes, precision)
    contenders = tuple(Contender(who, prepare, least, flops(name) * size) for who, prepare in prepared.items())
    return Heat(case, size, "step", contenders)


def _leaves(shapes: Any) -> list[tuple[int, ...]]:
    return jax.tree.leaves(shapes, is_leaf=lambda x: isinstance(x, tuple))


def _full(shapes: Any, value: float, precision: str) -> Any:
    return jax.tree.map(lambda s: jnp.full(s, value, precision), shapes, is_leaf=lambda x: isinstance(x, tuple))


def _step(method: Any, carry: tuple[Any, Any], grads: Any) -> tuple[Any, Any]:
    params, state = carry
    updates, state = method.update(grads, state, params)
    return optax.apply_updates(params, updates), state


def _by_jax(factory: Callable[..., Any], shapes: Any, precision: str) -> Ready:
    method = factory(RATE)
    params = _full(shapes, 1.0, precision)

    step = functools.partial(_step, method)
    # A copy of each array of the state: two that share their memory could not both be given away.
    state = jax.tree.map(jnp.copy, method.init(params))
    carry, grads = (params, state), _full(shapes, GRADIENT, precision)
    # JAX remembers how it traced functions of its own: now all find that done, not only those who come later.
    jax.eval_shape(step, carry, grads)
    return chained(step, carry, grads)


def _by_torch(recipe: Recipe, shapes: Any, precision: str) -> Ready:
    torch, device = importlib.import_module("torch"), rivals.torch_device()
    if not device:
        raise Absent
    dtype = getattr(torch, precision)
    params = [torch.ones(shape, dtype=dtype, device=device) for shape in _leaves(shapes)]
    for x in params:
        x.grad = torch.full_like(x, GRADIENT)
    factory = functools.partial(getattr(torch.optim, recipe.torch), params, lr=RATE, **recipe.settings)
    method = factory(**({"fused": True} if recipe.fused else {"foreach": True} if device == "cuda" else {}))

    def run() -> Any:
        method.step()
        return params if device == "cpu" else cuda

    cuda = OnCuda(torch)
    return Ready(run, queued=True)


class OnCuda:
    """Work of torch under way on CUDA, to be waited for as an array of JAX is."""

    def __init__(self, torch: Any) -> None:
        """Take the package."""
        self.torch = torch

    def block_until_ready(self) -> None:
        """Wait for all of it."""
        self.torch.cuda.synchronize()


SUITE = Suite("steps", "Cost of one optimizer step, beside optax and torch.optim.", heats, limited=True)

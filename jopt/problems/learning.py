# SPDX-License-Identifier: Apache-2.0
"""Regressions and a small network on given data: mean loss plus penalty (formulas in `jopt.problems.losses`).

Each is a finite sum: `terms(params, index)` are the losses of single samples, each with the whole penalty, so that the
mean over a batch is an unbiased estimate of the objective.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jopt import validate
from jopt.problems import losses
from jopt.problems.records import Problem, from_terms, frozen
from jopt.types import Params, described

_LOGISTIC = "Cox (1958), The regression analysis of binary sequences"
_MULTINOMIAL = "Cox (1966), Some procedures connected with the logistic qualitative response curve"
_NETWORK = "Rumelhart, Hinton, Williams (1986), Learning representations by back-propagating errors"

# Dalal, Fowlkes, Hoadley (1989), table 1: joint temperature in degrees Fahrenheit and whether any O-ring showed
# thermal distress, for the 23 flights before the accident.
_TEMPERATURE = (66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58)
_DISTRESS = (0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1)


@described
def logistic_regression(features: Any, labels: Any, *, l2: float = 0.0) -> Problem:
    """Return binary logistic regression; convex, strictly for l2 > 0 up to the bias.

    Params: {"weight": (d,), "bias": ()}. Start: 0, of value log 2. scikit-learn's objective is n times this one times
    its C, with l2 = 1 / (n C).

    Args:
      features: X, shape (n, d), finite.
      labels: y, shape (n,), whole numbers 0 and 1.
      l2: weight of the penalty, >= 0; the bias is free.

    Raises:
      ValueError: if a shape, a label or `l2` is out of its range.

    Reference: Cox (1958), The regression analysis of binary sequences, JRSS B 20(2); Bishop (2006), Pattern Recognition
      and Machine Learning, equation 4.90.
    """
    x, y = _data("logistic_regression", features, labels, 2)
    start = {"weight": np.zeros(x.shape[1]), "bias": np.zeros(())}
    return _regression("logistic_regression", losses.binary_cross_entropy, x, y, start, l2, source=_LOGISTIC)


@described
def challenger() -> Problem:
    """Return logistic regression on the O-rings of the space shuttle: tiny, published, badly scaled.

    Whether an O-ring suffered, by temperature in degrees Fahrenheit, on 23 flights; no penalty. The Hessian at the
    minimiser has a condition number of about 8e5. Published maximum likelihood: bias 15.0429, weight -0.2322, deviance
    20.315, which is 46 times the minimum; recorded with 40 digits and rounded.

    Reference: Dalal, Fowlkes, Hoadley (1989), Risk analysis of the space shuttle: pre-Challenger prediction of failure,
      JASA 84(408), doi:10.1080/01621459.1989.10478858.
    """
    x, y = _data("challenger", np.array(_TEMPERATURE, np.float64)[:, None], _DISTRESS, 2)
    return _regression(
        "challenger",
        losses.binary_cross_entropy,
        x,
        y,
        {"weight": np.zeros(1), "bias": np.zeros(())},
        0.0,
        source="Dalal, Fowlkes, Hoadley (1989), Risk analysis of the space shuttle",
        minimum=0.4416346236492789,
        minimisers=({"weight": np.array([-0.23216274421859647]), "bias": np.array(15.04290164770244)},),
    )


@described
def multinomial_regression(features: Any, labels: Any, *, classes: int, l2: float = 0.0) -> Problem:
    """Return multinomial logistic (softmax) regression; convex, and flat along equal shifts of all biases.

    Params: {"weight": (d, classes), "bias": (classes,)}. Start: 0, of value log(classes). scikit-learn's objective is n
    times this one times its C, with l2 = 1 / (n C).

    Args:
      features: X, shape (n, d), finite.
      labels: y, shape (n,), whole numbers from 0 to classes - 1.
      classes: number of classes, >= 2.
      l2: weight of the penalty, >= 0; the biases are free.

    Raises:
      ValueError: if a shape, a label, `classes` or `l2` is out of its range.

    Reference: Cox (1966), Some procedures connected with the logistic qualitative response curve; Bishop (2006),
      Pattern Recognition and Machine Learning, equation 4.108.
    """
    validate.integer("multinomial_regression", "classes", classes, low=2)
    x, y = _data("multinomial_regression", features, labels, classes)
    start = {"weight": np.zeros((x.shape[1], classes)), "bias": np.zeros(classes)}
    return _regression("multinomial_regression", losses.cross_entropy, x, y, start, l2, source=_MULTINOMIAL)


@described
def two_layer_network(
    features: Any, labels: Any, *, classes: int, width: int = 32, l2: float = 0.0, seed: int = 0
) -> Problem:
    """Return a classifier with one hidden layer of tanh units under cross-entropy; not convex, minimum unknown.

    Params: {"hidden": {"weight": (d, width), "bias": (width,)}, "output": {"weight": (width, classes), "bias":
    (classes,)}}. Start: biases 0, weights uniform in +-sqrt(6 / (fan in + fan out)).

    Args:
      features: X, shape (n, d), finite.
      labels: y, shape (n,), whole numbers from 0 to classes - 1.
      classes: number of classes, >= 2.
      width: number of hidden units, >= 1.
      l2: weight of the penalty, >= 0; the biases are free.
      seed: a whole number >= 0, of the start.

    Raises:
      ValueError: if a shape, a label or a setting is out of its range.

    Reference: Rumelhart, Hinton, Williams (1986), doi:10.1038/323533a0; the start: Glorot, Bengio (2010), Understanding
      the difficulty of training deep feedforward neural networks, equation 16.
    """
    name = "two_layer_network"
    validate.integer(name, "classes", classes, low=2)
    validate.integer(name, "width", width, low=1)
    validate.integer(name, "seed", seed)
    validate.number(name, "l2", l2, low=0.0)
    x, y = _data(name, features, labels, classes)
    rng = np.random.default_rng(seed)

    def per_sample(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        loss = losses.cross_entropy(losses.network(params, x), y)
        return loss + losses.penalty(l2, params["hidden"]["weight"], params["output"]["weight"])

    start = {"hidden": _layer(rng, x.shape[1], width), "output": _layer(rng, width, classes)}
    return from_terms(name, _terms(per_sample, x, y), len(y), (start,), source=_NETWORK)


def _regression(
    name: str, loss: Callable[..., Any], x: np.ndarray, y: np.ndarray, start: Params, l2: float, **known: Any
) -> Problem:
    validate.number(name, "l2", l2, low=0.0)

    def per_sample(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        return loss(losses.linear(params, x), y) + losses.penalty(l2, params["weight"])

    return from_terms(name, _terms(per_sample, x, y), len(y), (start,), **known)


def _terms(per_sample: Callable[..., jax.Array], x: np.ndarray, y: np.ndarray) -> Callable[..., jax.Array]:
    def terms(params: Params, index: Any = None) -> jax.Array:
        dtype = jax.tree.leaves(params)[0].dtype
        chosen = slice(None) if index is None else jnp.asarray(index)
        return per_sample(params, jnp.asarray(x, dtype)[chosen], jnp.asarray(y)[chosen])

    return terms


def _layer(rng: np.random.Generator, fan_in: int, fan_out: int) -> dict[str, np.ndarray]:
    limit = np.sqrt(6.0 / (fan_in + fan_out))
    return {"weight": rng.uniform(-limit, limit, (fan_in, fan_out)), "bias": np.zeros(fan_out)}


def _data(name: str, features: Any, labels: Any, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 features and int32 labels, read-only, or raise."""
    x, raw = frozen(np.asarray(features, np.float64)), np.asarray(labels)
    if x.ndim != 2 or not x.size or raw.shape != x.shape[:1]:
        msg = f"{name}: features and labels must have shapes (n, d) and (n,), n and d >= 1, got {x.shape} and {raw.shape}."
        raise ValueError(msg)
    if not np.isfinite(x).all():
        msg = f"{name}: features must be finite, got {int((~np.isfinite(x)).sum())} entries that are not."
        raise ValueError(msg)
    if not np.isin(raw, np.arange(classes)).all():
        msg = f"{name}: labels must be whole numbers from 0 to {classes - 1}, got {np.unique(raw)[:10].tolist()}."
        raise ValueError(msg)
    y = raw.astype(np.int32)
    y.setflags(write=False)
    return x, y

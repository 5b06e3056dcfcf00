# SPDX-License-Identifier: Apache-2.0
"""Models and losses of the learning problems, as functions of parameters and data.

    linear    z = X W + b
    network   z = tanh(X W1 + b1) W2 + b2
    binary    l_i = softplus(z_i) - y_i z_i                          y_i in {0, 1}
    classes   l_i = log sum_k exp(z_ik) - z_{i, y_i}                 y_i in {0, ..., K-1}
    penalty   (l2 / 2) sum over weights of w^2                       biases are free

Neither loss forms exp of a positive number, so neither overflows. The problems in this room close over their data,
which compiled code then holds as constants; for large data write the objective from these functions and pass the data
as arguments. Products run at highest precision: TensorFloat-32 would put a floor of about 1e-3 under the gradient.

Reference: Bishop (2006), Pattern Recognition and Machine Learning, sections 4.3.2, 4.3.4 and 5.1.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jopt.types import Params


def linear(params: Params, features: jax.Array) -> jax.Array:
    """Return the outputs of an affine map.

    Args:
      params: {"weight": (d,) or (d, k), "bias": () or (k,)}.
      features: X, shape (n, d), of the dtype of params.

    Returns:
      z, shape (n,) or (n, k).
    """
    return jnp.matmul(features, params["weight"], precision=jax.lax.Precision.HIGHEST) + params["bias"]


def network(params: Params, features: jax.Array) -> jax.Array:
    """Return the outputs of a network with one hidden layer of tanh units.

    Args:
      params: {"hidden": layer, "output": layer}, each layer as in `linear`.
      features: X, shape (n, d), of the dtype of params.

    Returns:
      z, shape (n, k).
    """
    return linear(params["output"], jnp.tanh(linear(params["hidden"], features)))


def binary_cross_entropy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the loss of each sample, for labels 0 and 1.

    Args:
      outputs: z, the log-odds of label 1, shape (n,).
      labels: y, integers, shape (n,).

    Returns:
      -log p(y_i), shape (n,), of the dtype of `outputs`.
    """
    return jax.nn.softplus(outputs) - labels.astype(outputs.dtype) * outputs


def cross_entropy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the loss of each sample, for labels 0, ..., k-1.

    Args:
      outputs: z, log-probabilities up to a constant for each row, shape (n, k).
      labels: y, integers, shape (n,).

    Returns:
      -log p(y_i), shape (n,), of the dtype of `outputs`.
    """
    # A comparison instead of an index: its derivative is a product, not a scatter.
    own = labels[:, None] == jnp.arange(outputs.shape[1], dtype=labels.dtype)
    return jax.nn.logsumexp(outputs, axis=1) - jnp.sum(jnp.where(own, outputs, 0.0), axis=1)


def penalty(l2: Any, *weights: jax.Array) -> jax.Array:
    """Return (l2 / 2) times the sum of the squares of all entries of the weights, of one dtype."""
    return jnp.asarray(l2).astype(weights[0].dtype) / 2.0 * sum(jnp.sum(w**2) for w in weights)


def accuracy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the share of samples whose largest output (shape (n, k)) is that of their label (shape (n,))."""
    return jnp.mean(jnp.argmax(outputs, axis=1) == labels, dtype=outputs.dtype)

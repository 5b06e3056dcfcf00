# SPDX-License-Identifier: Apache-2.0
r"""Products with Fisher information matrices, of a model's own predictions or of the losses on given labels.

The Fisher matrix is the covariance of the score, the gradient of log p(y | x), for labels y that the *model* draws. With
J_i the Jacobian of the outputs z_i of example i it is

    F = 1/N sum_i J_i' M_i J_i,      M_i = E[s s'],  s the gradient of log p(y | z_i) in z_i,

which needs no sampling for

    categorical   z = logits, p = softmax(z):      M = diag(p) - p p'
    gaussian      y ~ N(z, variance I):            M = I / variance.

Both are the Gauss-Newton matrices of the negative log-likelihood, whatever the labels (Martens 2020, section 9.2).

The *empirical* Fisher matrix takes the given labels in place of the model's: with g_i the gradient of the loss of
example i it is 1/N sum_i g_i g_i', the uncentred covariance of the gradients. It is another matrix: it measures noise
and vanishes where all examples are fitted, whether the loss is curved there or not (Kunstner et al. 2019).

References: Amari (1998), Natural gradient works efficiently in learning, Neural Comput. 10(2),
doi:10.1162/089976698300017746; Martens (2020), New insights and perspectives on the natural gradient method, JMLR 21,
arXiv:1412.1193; Kunstner, Balles and Hennig (2019), Limitations of the empirical Fisher approximation, NeurIPS,
arXiv:1905.12558.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.curvature.gauss_newton import Outputs, linear_model, sandwich
from jopt.linalg.operators import Operator
from jopt.types import Params

REDUCTIONS = ("mean", "sum")


def fisher(
    model: Callable[..., Outputs],
    x: Params,
    args: Any = (),
    *,
    family: str = "categorical",
    variance: float = 1.0,
    reduction: str = "mean",
) -> Operator:
    """Return the operator v -> F v of a model's own predictive distribution.

    Cost: one evaluation of the model now; little more than one gradient a product.

    Args:
      model: `model(x, *args) -> z`, an array with examples along its first axis: logits of shape (N, ..., classes), each
        row a prediction of its own, or means of shape (N, ...).
      x: a tree of floating arrays.
      args: further arguments of the model, a tuple (one argument alone need not be wrapped).
      family: "categorical" or "gaussian".
      variance: of each Gaussian output, > 0; the categorical family does not use it.
      reduction: "mean" or "sum" over the N examples.

    Returns:
      A function of one tree like x; symmetric, positive semidefinite.

    Raises:
      TypeError: if a leaf of `x` is not floating or z is no floating array.
      ValueError: if a setting is out of its range or z has too few axes.

    Reference: Martens (2020), sections 6 and 9.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import fisher
      >>> product = fisher(lambda x: x[None], jnp.zeros(2))  # p = (1/2, 1/2)
      >>> bool(jnp.allclose(product(jnp.array([1.0, 0.0])), jnp.array([0.25, -0.25])))
      True
    """
    validate.choice("fisher", "family", family, ("categorical", "gaussian"))
    validate.choice("fisher", "reduction", reduction, REDUCTIONS)
    validate.number("fisher", "variance", variance, low=0.0, low_open=True)
    linear = linear_model("fisher", "model", model, x, args)
    z = _array("fisher", "model", linear.outputs, axes=2 if family == "categorical" else 1)
    examples = z.shape[0] if reduction == "mean" else 1
    dtype = tree.wide(z.dtype)
    p = jax.nn.softmax(z.astype(dtype), axis=-1)

    def categorical(u: jax.Array) -> jax.Array:
        u = u.astype(dtype)
        return p * (u - jnp.sum(p * u, axis=-1, keepdims=True)) / examples

    def gaussian(u: jax.Array) -> jax.Array:
        return u.astype(dtype) / (jnp.asarray(variance).astype(dtype) * examples)

    return sandwich("fisher", x, linear, categorical if family == "categorical" else gaussian)


def empirical_fisher(losses: Callable[..., Any], x: Params, args: Any = (), *, reduction: str = "mean") -> Operator:
    """Return the operator v -> sum_i g_i <g_i, v>, g_i the gradients of single losses.

    It is J'J for the Jacobian J of the losses; no gradient of a single loss is formed. Cost: one evaluation now; about
    one gradient a product.

    Args:
      losses: `losses(x, *args) -> l`, the loss of each of N examples, shape (N,).
      x: a tree of floating arrays.
      args: further arguments of the losses, a tuple (one argument alone need not be wrapped).
      reduction: "mean" or "sum" over the N examples.

    Returns:
      A function of one tree like x; symmetric, positive semidefinite.

    Raises:
      TypeError: if a leaf of `x` is not floating or the losses are no floating array.
      ValueError: if `reduction` is neither word or the losses have no axis.

    Reference: Kunstner, Balles and Hennig (2019), equation 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import empirical_fisher
      >>> product = empirical_fisher(lambda x: jnp.array([1.0, 3.0]) * x, jnp.float32(0.0))
      >>> float(product(1.0))
      5.0
    """
    validate.choice("empirical_fisher", "reduction", reduction, REDUCTIONS)
    linear = linear_model("empirical_fisher", "losses", losses, x, args)
    values = _array("empirical_fisher", "losses", linear.outputs, axes=1)
    examples = values.shape[0] if reduction == "mean" else 1
    return sandwich("empirical_fisher", x, linear, lambda u: u.astype(tree.wide(u.dtype)) / examples)


def _array(function: str, argument: str, outputs: Outputs, axes: int) -> jax.Array:
    """Return the outputs if they are one array with at least so many axes."""
    if not isinstance(outputs, jax.Array):
        msg = f"{function}: {argument} must return one array, got {type(outputs).__name__}."
        raise TypeError(msg)
    if outputs.ndim < axes:
        layout = "(examples, classes)" if axes == 2 else "(examples,)"
        msg = f"{function}: {argument} must return an array of shape {layout}, got shape {outputs.shape}."
        raise ValueError(msg)
    return outputs

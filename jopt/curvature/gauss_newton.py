# SPDX-License-Identifier: Apache-2.0
r"""Gauss-Newton products: the curvature of a loss seen through the linearised model.

For f(x) = loss(model(x)), with J the Jacobian of the model and H the Hessian of the loss at its outputs,

    G v = J' H J v:      v -> J v -> H J v -> J' H J v.

G is the Hessian of f without the model's own curvature. It is positive semidefinite wherever the loss is convex in the
outputs, whatever the model. With the loss |r|^2 / 2 it is J'J. The model is linearised once, and J' is the transpose of
that linear program, so it stands once in the compiled program. A product costs less than one with the Hessian.

References: Schraudolph (2002), Fast curvature matrix-vector products for second-order gradient descent, Neural Comput.
14(7), doi:10.1162/08997660260028683; Martens (2010), Deep learning via Hessian-free optimization, ICML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.curvature.hvp import expanded
from jopt.linalg.operators import Operator
from jopt.types import Params, as_tuple

Outputs = Any
"""A tree of floating arrays: what a model returns."""


class LinearModel(NamedTuple):
    """A model at a point.

    Attributes:
      outputs: model(x), a tree of floating arrays.
      push: v -> J v, from trees like x to trees like the outputs.
      pull: u -> J'u, back.
    """

    outputs: Outputs
    push: Callable[[Params], Outputs]
    pull: Callable[[Outputs], Params]


def gauss_newton(model: Callable[..., Outputs], loss: Callable[[Outputs], Any], x: Params, args: Any = ()) -> Operator:
    """Return the operator v -> J' H J v of the function loss(model(x)).

    Cost: one evaluation of the model and of the loss's gradient now; little more than one gradient a product.

    Args:
      model: `model(x, *args) -> outputs`, a tree of floating arrays.
      loss: outputs -> real scalar, best convex; labels it closes over.
      x: a tree of floating arrays.
      args: further arguments of the model, a tuple (one argument alone need not be wrapped).

    Returns:
      A function of one tree like x; symmetric, positive semidefinite for a convex loss.

    Raises:
      TypeError: if a leaf of `x` or of the outputs is not floating, or the loss is no real scalar.

    Reference: Schraudolph (2002), section 3.2; Martens (2010), section 4.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import gauss_newton
      >>> product = gauss_newton(lambda x: x**2, lambda z: jnp.sum((z - 1.0) ** 2), jnp.array([1.0, 3.0]))
      >>> bool(jnp.allclose(product(jnp.ones(2)), jnp.array([8.0, 72.0])))
      True
    """
    linear = linear_model("gauss_newton", "model", model, x, args)
    middle = expanded("gauss_newton", loss, linear.outputs, (), has_aux=False, argument="loss").hvp
    return sandwich("gauss_newton", x, linear, middle)


def normal_operator(residual: Callable[..., Outputs], x: Params, args: Any = ()) -> Operator:
    """Return the operator v -> J'J v, J the Jacobian of a residual.

    It is the Gauss-Newton product of |r|^2 / 2. Cost: one evaluation of the residual now; little more than one gradient a product.

    Args:
      residual: `residual(x, *args) -> r`, a tree of floating arrays.
      x: a tree of floating arrays.
      args: further arguments of the residual, a tuple (one argument alone need not be wrapped).

    Returns:
      A function of one tree like x; symmetric, positive semidefinite.

    Raises:
      TypeError: if a leaf of `x` or of the residual is not floating.
      ValueError: if the residual is a single scalar.

    Reference: Björck (1996), Numerical Methods for Least Squares Problems, section 9.1, doi:10.1137/1.9781611971484.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import normal_operator
      >>> a = jnp.array([[1.0, 2.0], [0.0, 1.0], [1.0, 0.0]])
      >>> product = normal_operator(lambda x: a @ x - 1.0, jnp.zeros(2))
      >>> bool(jnp.allclose(product(jnp.ones(2)), a.T @ a @ jnp.ones(2)))
      True
    """
    linear = linear_model("normal_operator", "residual", residual, x, args)
    if [y.shape for y in jax.tree.leaves(linear.outputs)] == [()]:
        msg = (
            "normal_operator: residual must return the vector of residuals, got a scalar of shape (); "
            "return them before they are squared and summed, or take `hvp` of the sum."
        )
        raise ValueError(msg)
    return sandwich("normal_operator", x, linear, lambda u: u)


def linear_model(function: str, argument: str, model: Callable[..., Outputs], x: Params, args: Any) -> LinearModel:
    """Return a model at a point with its Jacobian and the transpose, from one evaluation.

    Args:
      function: whose name an error carries.
      argument: what it calls the model.
      model: `model(x, *args) -> outputs`.
      x: a tree of floating arrays.
      args: further arguments of the model, a tuple (one argument alone need not be wrapped).

    Raises:
      TypeError: if the model cannot be called, or a leaf of `x` or of the outputs is not floating.
    """
    if not callable(model):
        msg = f"{function}: {argument} must be a function {argument}(x, *args), got {type(model).__name__}."
        raise TypeError(msg)
    args, x = as_tuple(args), tree.as_parameters(function, "x", x)
    outputs, push = jax.linearize(lambda x: _outputs(function, argument, model(x, *args)), x)
    transposed = jax.linear_transpose(push, x)
    return LinearModel(outputs, push, lambda u: transposed(u)[0])


def sandwich(function: str, x: Params, linear: LinearModel, middle: Callable[[Outputs], Outputs]) -> Operator:
    """Return v -> J' M J v with a check of v; `function` is whose name an error carries."""
    x = tree.as_parameters(function, "x", x)

    def operator(v: Params) -> Params:
        v = tree.as_parameters(function, "v", v)
        tree.check_like(function, "v", v, "x", x)
        u = middle(linear.push(tree.cast(v, x)))
        return linear.pull(tree.cast(u, linear.outputs))

    return operator


def _outputs(function: str, argument: str, outputs: Any) -> Outputs:
    """Return the outputs as floating arrays, strongly typed."""

    def leaf(path: Any, y: Any) -> jax.Array:
        array = jnp.asarray(y)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            msg = (
                f"{function}: {argument} must return real floating arrays, "
                f"got {array.dtype}{list(array.shape)} at {jax.tree_util.keystr(path) or 'the root'}."
            )
            raise TypeError(msg)
        return array

    return tree.strong(jax.tree_util.tree_map_with_path(leaf, outputs))

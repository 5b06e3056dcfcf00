# SPDX-License-Identifier: Apache-2.0
"""The user's function, checked once at trace time: value and gradient, and products with the Hessian, from one evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.curvature.hvp import scalar_function
from jopt.linalg.box import Box
from jopt.types import Params, Scalar


class Point(NamedTuple):
    """A point and what was evaluated there; value, gradient and aux travel with it.

    Attributes:
      params: x, a tree of arrays.
      value: f(x), scalar.
      grad: the gradient at x, a tree like params.
      aux: what the objective returned beside the value; None unless has_aux.
    """

    params: Params
    value: Scalar
    grad: Params
    aux: Any


class Objective(NamedTuple):
    """A function of the parameters with its further arguments.

    Attributes:
      fun: `fun(params, *args) -> value`, or `-> (value, aux)` with has_aux; value a real scalar.
      args: further arguments, passed on as they are.
      has_aux: whether `fun` returns auxiliary output beside the value.
      bounds: the `jopt.linalg.Box` in which to minimise, two trees like the parameters; None without bounds.
    """

    fun: Callable[..., Any]
    args: tuple[Any, ...] = ()
    has_aux: bool = False
    bounds: Box | None = None

    def evaluate(self, params: Params) -> Point:
        """Return the point with its value, gradient and aux, from one evaluation.

        Raises:
          TypeError: at trace time, if the value is not a real scalar.
        """
        grad, (value, aux) = self._gradient(params)
        return Point(params, value, grad, aux)

    def linearize(self, params: Params) -> tuple[Point, Callable[[Params], Params]]:
        """Return the point as `evaluate` does, and v -> H v there, from one linearisation of the gradient.

        The nonlinear part is computed once; each product then costs the linear part alone. Differentiated forward over
        reverse, or reverse over reverse where a part of `fun` has a reverse rule alone (`jax.custom_vjp`).

        Raises:
          TypeError: at trace time, if the value is not a real scalar.
        """
        try:
            grad, hvp, (value, aux) = jax.linearize(self._gradient, params, has_aux=True)
        except Exception as error:
            if "custom_vjp" not in str(error):
                if self._has_gradient(params):
                    error.add_note(
                        "This method differentiates fun twice; method='lbfgs' needs first derivatives alone."
                    )
                raise
            grad, pull, (value, aux) = jax.vjp(self._gradient, params, has_aux=True)
            return Point(params, value, grad, aux), lambda v: pull(v)[0]
        return Point(params, value, grad, aux), hvp

    def _gradient(self, params: Params) -> tuple[Params, tuple[Scalar, Any]]:
        (value, aux), grad = jax.value_and_grad(self._checked(), has_aux=True)(params)
        return grad, (value, aux)

    def _has_gradient(self, params: Params) -> bool:
        """Return whether the gradient can be traced: what fails without it is no matter of second derivatives."""
        try:
            jax.eval_shape(self._gradient, params)
        except Exception:
            return False
        return True

    def value(self, params: Params) -> Scalar:
        """Return the value alone."""
        return self.outputs(params)[0]

    def outputs(self, params: Params) -> tuple[Scalar, Any]:
        """Return the value and the aux, None unless has_aux."""
        return self._checked()(params)

    def blank(self, params: Params) -> Point:
        """Return a point with the structure of `evaluate(params)`, of infinite value, without evaluating."""
        aux = jax.eval_shape(lambda p: self._checked()(p)[1], params) if self.has_aux else None
        return Point(
            params=params,
            value=jnp.full((), jnp.inf, tree.scalar_dtype(params)),
            grad=tree.zeros_like(params),
            aux=tree.zeros_like(aux),
        )

    def _checked(self) -> Callable[[Params], tuple[Scalar, Any]]:
        return scalar_function("minimize", self.fun, self.args, self.has_aux)


def data_of(objective: Any) -> dict[str, Any]:
    """Return the fields of an objective that are data, by name: all but functions, text and switches.

    Data is what a compiled solve takes as arguments and what derivatives are taken in; the rest is static.

    Args:
      objective: an `Objective` or `Residuals`.
    """
    return {name: x for name, x in objective._asdict().items() if not (callable(x) or isinstance(x, (str, bool)))}


def as_objective(fun: Any) -> Objective:
    """Return `fun` if it is an Objective already, otherwise the objective without further arguments."""
    return fun if isinstance(fun, Objective) else Objective(fun)

# SPDX-License-Identifier: Apache-2.0
r"""Products with the Hessian of an objective, v -> H v, linearised once and applied many times.

H v is the derivative of the gradient along v. Automatic differentiation composes it in three ways (Pearlmutter 1994
found the first):

    forward over reverse    the tangent of the gradient      d/dt grad f(x + t v)
    reverse over forward    the gradient of the tangent      grad_x (d/dt f(x + t v))
    reverse over reverse    the gradient of a product        grad_x <grad f(x), v>

All three run the nonlinear part of the program once, when the operator is made; a product then costs the linear part
alone, a small multiple of a gradient, whatever n. The first keeps no tape of a tape and is the default. The second serves
functions whose `jax.custom_jvp` rule calls something that has only a reverse rule, and the third any function whose
gradient has no forward rule.

Reference: Pearlmutter (1994), Fast exact multiplication by the Hessian, Neural Comput. 6(1),
doi:10.1162/neco.1994.6.1.147; Griewank and Walther (2008), Evaluating Derivatives, chapter 5,
doi:10.1137/1.9780898717761.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg.operators import Operator
from jopt.types import Params, Scalar, as_tuple


class Expansion(NamedTuple):
    """The quadratic model of an objective at a point, f(x + v) = value + <grad, v> + 1/2 <v, hvp(v)> + ...

    `hvp` is a function, so an expansion stays inside the `jit` that made it.

    Attributes:
      value: f(x), a scalar.
      grad: the gradient, a tree like x.
      hvp: v -> H v, trees like x.
      aux: what `fun` returned beside the value; None unless has_aux.
    """

    value: Scalar
    grad: Params
    hvp: Operator
    aux: Any


def hvp(
    fun: Callable[..., Any],
    x: Params,
    args: Any = (),
    *,
    mode: str = "forward-over-reverse",
    has_aux: bool = False,
) -> Operator:
    """Return the operator v -> H v, H the Hessian of a twice differentiable function at a point.

    Cost: one gradient now, with memory for what it keeps; about two gradients a product.

    Args:
      fun: `fun(x, *args) -> value`, a real scalar, or `-> (value, aux)` with `has_aux`.
      x: a tree of floating arrays.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      mode: "forward-over-reverse", "reverse-over-forward" or "reverse-over-reverse".
      has_aux: whether `fun` returns something beside the value.

    Returns:
      A function of one tree like x, symmetric to rounding. A v that is no such tree raises, with the path.

    Raises:
      TypeError: if a leaf of `x` is not floating, or `fun` does not return a real scalar.
      ValueError: if `mode` is none of the three.

    Reference: Pearlmutter (1994), equation 3; Griewank and Walther (2008), section 5.4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import hvp
      >>> product = hvp(lambda x: x[0] ** 2 * x[1], jnp.array([1.0, 3.0]))
      >>> bool(jnp.allclose(product(jnp.array([1.0, 0.0])), jnp.array([6.0, 2.0])))
      True
    """
    validate.choice("hvp", "mode", mode, _MODES)
    x = tree.as_parameters("hvp", "x", x)
    return _checked_product("hvp", x, _MODES[mode](scalar_function("hvp", fun, args, has_aux), x))


def expansion(fun: Callable[..., Any], x: Params, args: Any = (), *, has_aux: bool = False) -> Expansion:
    """Return value, gradient and Hessian-vector product of a function at a point, from one evaluation.

    Cost: one gradient now; about two gradients a product.

    Args:
      fun: `fun(x, *args) -> value`, a real scalar, or `-> (value, aux)` with `has_aux`.
      x: a tree of floating arrays.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      has_aux: whether `fun` returns something beside the value.

    Returns:
      An `Expansion`.

    Raises:
      TypeError: if a leaf of `x` is not floating, or `fun` does not return a real scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import expansion
      >>> at = expansion(lambda x: jnp.sum(x**3), jnp.array([1.0, 2.0]))
      >>> float(at.value), bool(jnp.allclose(at.hvp(at.grad), jnp.array([18.0, 144.0])))
      (9.0, True)
    """
    x = tree.as_parameters("expansion", "x", x)
    return expanded("expansion", fun, x, args, has_aux)


def expanded(
    function: str, fun: Callable[..., Any], x: Params, args: Any, has_aux: bool, argument: str = "fun"
) -> Expansion:
    """Return the expansion at a checked point; errors carry the name `function` and call `fun` the `argument`."""
    objective = scalar_function(function, fun, args, has_aux, argument)

    def gradient(x: Params) -> tuple[Params, Any]:
        (value, aux), grad = jax.value_and_grad(objective, has_aux=True)(x)
        return grad, (value, aux)

    grad, product, (value, aux) = jax.linearize(gradient, x, has_aux=True)
    return Expansion(value, grad, _checked_product(function, x, product), aux)


def checked_operator(function: str, argument: str, operator: Any) -> Operator:
    """Return a caller's operator with a check of what it returns; errors carry both names.

    Raises:
      TypeError: if it cannot be called, or when called returns a scalar, as an objective does.
      ValueError: when called, if A v is no tree like v.
    """
    if not callable(operator):
        msg = (
            f"{function}: {argument} must be an operator v -> A v, got {type(operator).__name__}; "
            "of a matrix make one by `lambda v: matrix @ v`, of an objective by `hvp(fun, x)`."
        )
        raise TypeError(msg)

    def product(v: Params) -> Params:
        out = operator(v)
        shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(a)] for a in (out, v)]
        if shapes[0] == [()] != shapes[1]:
            msg = (
                f"{function}: {argument} must be an operator v -> A v, but {argument}(v) is a scalar; "
                "of an objective make an operator by `hvp(fun, x)`."
            )
            raise TypeError(msg)
        tree.check_like(function, f"{argument}(v)", out, "v", v)
        return out

    return product


def scalar_function(
    function: str, fun: Callable[..., Any], args: Any, has_aux: bool, argument: str = "fun"
) -> Callable[[Params], tuple[Scalar, Any]]:
    """Return x -> (value, aux) with the value checked and in the dtype of the scalars of x.

    Args:
      function: whose name an error carries.
      fun: the user's function.
      args: its further arguments.
      has_aux: whether it returns a pair.
      argument: what an error calls the user's function.

    Raises:
      TypeError: if `fun` cannot be called, or while the result is traced, if `fun` does not return what it should.
    """
    if not callable(fun):
        msg = f"{function}: {argument} must be a function, got {type(fun).__name__}."
        raise TypeError(msg)
    validate.flag(function, "has_aux", has_aux)
    args = as_tuple(args)

    def objective(x: Params) -> tuple[Scalar, Any]:
        out = fun(x, *args)
        if has_aux and not (isinstance(out, tuple) and len(out) == 2):
            msg = f"{function}: with has_aux=True {argument} must return a pair (value, aux), got {type(out).__name__}."
            raise TypeError(msg)
        value, aux = out if has_aux else (out, None)
        return _real_scalar(function, argument, value).astype(tree.scalar_dtype(x)), aux

    return objective


def _real_scalar(function: str, argument: str, value: Any) -> jax.Array:
    if isinstance(value, (tuple, list, dict)):
        msg = (
            f"{function}: {argument} must return a real scalar, got a {type(value).__name__}; "
            "pass has_aux=True if it returns (value, aux)."
        )
        raise TypeError(msg)
    array = jnp.asarray(value)
    if array.shape != () or not jnp.issubdtype(array.dtype, jnp.floating):
        msg = (
            f"{function}: {argument} must return a real floating scalar of shape (), got {array.dtype}{list(array.shape)}; "
            "reduce it, for example with jnp.sum or jnp.mean."
        )
        raise TypeError(msg)
    return array


def _checked_product(function: str, x: Params, product: Operator) -> Operator:
    """Return the product with a check of its argument."""

    def operator(v: Params) -> Params:
        v = tree.as_parameters(function, "v", v)
        tree.check_like(function, "v", v, "x", x)
        return product(tree.cast(v, x))

    return operator


Objective = Callable[[Params], tuple[Scalar, Any]]


def _forward_over_reverse(objective: Objective, x: Params) -> Operator:
    return jax.linearize(_gradient(objective), x)[1]


def _reverse_over_forward(objective: Objective, x: Params) -> Operator:
    def gradient_of_tangent(v: Params) -> Params:
        return jax.grad(lambda x: jax.jvp(lambda x: objective(x)[0], (x,), (v,))[1])(x)

    # Linear in v: linearising at any v, here at zero, leaves the part that does not depend on v behind.
    return jax.linearize(gradient_of_tangent, tree.zeros_like(x))[1]


def _reverse_over_reverse(objective: Objective, x: Params) -> Operator:
    pullback = jax.vjp(_gradient(objective), x)[1]
    return lambda v: pullback(v)[0]


def _gradient(objective: Objective) -> Callable[[Params], Params]:
    return lambda x: jax.grad(objective, has_aux=True)(x)[0]


_MODES = {
    "forward-over-reverse": _forward_over_reverse,
    "reverse-over-forward": _reverse_over_forward,
    "reverse-over-reverse": _reverse_over_reverse,
}

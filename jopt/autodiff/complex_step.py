# SPDX-License-Identifier: Apache-2.0
r"""The complex step: a derivative from one value, without subtraction.

If f is real on the real line and holomorphic around x,

    Im f(x + i h v) / h = f'(x) v - h^2 f'''(x)[v, v, v] / 6 + ...

and nothing cancels, so h may be so small (here eps^2) that only rounding is left: the result is as exact as that of automatic
differentiation, and owes it nothing. It is wrong, without a sign, for a function that is not holomorphic (|x| and
max on complex numbers are something else). So it is used only where every elementary operation of the program is one of
`HOLOMORPHIC`, each of which a test holds to its derivative; `obstacle` names the first that is not.

Reference: Squire and Trapp (1998), Using complex variables to estimate derivatives of real functions, SIAM Rev. 40(1),
doi:10.1137/S003614459631241X; Martins, Sturdza and Alonso (2003), The complex-step derivative approximation,
doi:10.1145/838250.838251.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jopt import tree
from jopt.autodiff.differences import Directions, direction
from jopt.types import Params

# Arithmetic and functions. `pow` is not among them: on the left half plane its polar form loses the tiny imaginary part.
FUNCTIONS = frozenset({
    "acos", "add", "asin", "asinh", "atan", "atanh", "cos", "cosh", "cumsum", "div", "dot_general", "exp",
    "exp2", "expm1", "integer_pow", "log", "log1p", "logistic", "mul", "neg", "reduce_sum", "rsqrt",
    "scatter-add", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh",
})  # fmt: skip
# What moves numbers about.
STRUCTURE = frozenset({
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "dynamic_slice", "dynamic_update_slice",
    "gather", "iota", "pad", "reshape", "rev", "slice", "squeeze", "stop_gradient", "transpose",
})  # fmt: skip
# Calls, opened: what they hold must be holomorphic. Rules for derivatives are not used here. Names differ between versions of JAX.
CALLS = frozenset({
    "checkpoint", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr",
    "jit", "pjit", "remat", "remat2", "scan",
})  # fmt: skip
HOLOMORPHIC = FUNCTIONS | STRUCTURE | CALLS

_COMPLEX = {"float32": "complex64", "float64": "complex128"}


def obstacle(f: Callable[..., Any], x: Params) -> str:
    """Return why the complex step does not apply to f at x, or nothing if it does.

    Args:
      f: a function of one tree.
      x: a tree of floating arrays.

    Returns:
      The name of a primitive outside `HOLOMORPHIC`, or a sentence; empty where there is no obstacle.

    Example:
      >>> import jax.numpy as jnp
      >>> obstacle(jnp.abs, jnp.float32(1.0)), obstacle(jnp.sin, jnp.float32(1.0))
      ('abs', '')
    """
    for leaf in jax.tree.leaves(x):
        if leaf.dtype.name not in _COMPLEX:
            return f"{leaf.dtype.name} has no complex form"
    found = _first_foreign(jax.make_jaxpr(f)(x).jaxpr)
    if found:
        return found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of imaginary parts thrown away, which the list notices
            program = jax.make_jaxpr(f)(_complex(x))
    except Exception as error:  # whatever f raises, the answer is the same
        return f"f refuses complex numbers ({type(error).__name__})"
    return _first_foreign(program.jaxpr)


def complex_steps(
    f: Callable[..., Any], x: Params, weights: Any, directions: Directions, scales: Any, signs: Any
) -> jax.Array:
    """Return the derivatives of <weights, f> along directions, shape (d,). `obstacle(f, x)` must be empty.

    Args:
      f: a function of one tree.
      x: a tree of floating arrays.
      weights: a tree like f(x).
      directions: where to go.
      scales: the units, see `jopt.autodiff.differences.units`.
      signs: rows of signs, see `jopt.autodiff.differences.random_signs`.
    """
    vector, unravel = tree.ravel(x)
    h = float(jnp.finfo(vector.dtype).eps) ** 2

    def one(at: Directions) -> jax.Array:
        v = unravel(h * direction(at, scales, signs))
        point = jax.tree.map(jax.lax.complex, x, v)
        parts = jax.tree.map(lambda y: jnp.imag(y).astype(jnp.real(y).dtype), f(point))
        return tree.vdot(weights, parts) / h

    return jax.lax.map(one, directions)


def _complex(x: Params) -> Params:
    return jax.tree.map(lambda leaf: jax.lax.complex(leaf, jnp.zeros_like(leaf)), x)


def _first_foreign(program: Jaxpr) -> str:
    """Return the first primitive, in the order of execution, that is not known to be holomorphic."""
    for equation in _equations(program):
        name = equation.primitive.name
        touches = any(_is_number(v) for v in (*equation.invars, *equation.outvars))
        if touches and name not in HOLOMORPHIC:
            return name
        if name not in CALLS and any(map(_is_number, equation.invars)):
            kind = (
                jnp.complexfloating if any(_is_number(v, jnp.complexfloating) for v in equation.invars) else jnp.inexact
            )
            if not all(_is_number(v, kind) for v in equation.outvars):
                return f"{name} to {getattr(equation.outvars[0].aval, 'dtype', '')}"
    return ""


def _equations(program: Jaxpr) -> Iterator[JaxprEqn]:
    for equation in program.eqns:
        yield equation
        if equation.primitive.name in CALLS:
            for value in equation.params.values():
                if isinstance(value, (ClosedJaxpr, Jaxpr)):
                    yield from _equations(value.jaxpr if isinstance(value, ClosedJaxpr) else value)


def _is_number(variable: Any, kind: Any = jnp.inexact) -> bool:
    """Return whether a value is real or complex floating, or of the kind asked for; whole numbers, booleans and keys carry no derivative."""
    dtype = getattr(variable.aval, "dtype", None)
    return dtype is not None and bool(jnp.issubdtype(dtype, kind))

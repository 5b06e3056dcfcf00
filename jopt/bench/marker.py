# SPDX-License-Identifier: Apache-2.0
"""How often does a function stand in a program? A primitive that does nothing is put on its value, and counted.

What is counted are the copies that a compiler has to compile: a function that a loop calls counts once, one that a
program calls twice counts twice. Derivatives pass through it, so a copy of the gradient is one copy, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

marker_p = Primitive("marker")
marker_p.def_impl(lambda x: x)
marker_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(marker_p, lambda _, x: [x])
batching.defvectorized(marker_p)
ad.defjvp(marker_p, lambda tangent, _: tangent)


def marked(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with one marker on its value, so that each copy of it in a program is one marker."""
    return lambda params, *args: marker_p.bind(fun(params, *args))


def copies(function: Callable[..., Any], *args: Any) -> int:
    """Count the markers in the program of a function.

    Args:
      function: calls marked functions.
      *args: its arguments, or their descriptions.

    Example:
      >>> import jax
      >>> from jopt.bench.marker import copies, marked
      >>> fun = marked(lambda x: x**2)
      >>> copies(lambda x: fun(x) + jax.grad(fun)(x), 1.0)
      2
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def jaxprs_of(eqn: Any) -> list[Any]:
    """Return the programs among the parameters of an equation."""
    values = [v for value in eqn.params.values() for v in (value if isinstance(value, (tuple, list)) else [value])]
    return [getattr(v, "jaxpr", v) for v in values if hasattr(v, "eqns") or hasattr(v, "jaxpr")]


def _count(jaxpr: Any) -> int:
    inner = [_count(sub) for eqn in jaxpr.eqns for sub in jaxprs_of(eqn)]
    return sum(eqn.primitive is marker_p for eqn in jaxpr.eqns) + sum(inner)

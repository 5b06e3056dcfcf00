# SPDX-License-Identifier: Apache-2.0
"""A primitive that does nothing and can be counted: how often does a function stand in a program?"""

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

marker_p = Primitive("marker")
marker_p.def_impl(lambda x: x)
marker_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(marker_p, lambda _, x: [x])
batching.defvectorized(marker_p)
ad.defjvp(marker_p, lambda tangent, _: tangent)


def marked(fun):
    """Return fun with one marker on its value, so that each copy of fun in a program is one marker."""
    return lambda params, *args: marker_p.bind(fun(params, *args))


def copies(function, *args):
    """Count the markers in the jaxpr of `function(*args)` and in every jaxpr inside it."""
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr):
    inner = [_count(sub) for eqn in jaxpr.eqns for sub in jaxprs_of(eqn)]
    return sum(eqn.primitive is marker_p for eqn in jaxpr.eqns) + sum(inner)


def jaxprs_of(eqn):
    """Return the jaxprs among the parameters of an equation."""
    values = [v for value in eqn.params.values() for v in (value if isinstance(value, (tuple, list)) else [value])]
    return [getattr(v, "jaxpr", v) for v in values if hasattr(v, "eqns") or hasattr(v, "jaxpr")]

# SPDX-License-Identifier: Apache-2.0
"""The border of every first-order transformation: what trees come in, and whose name an error carries.

A factory decorated with `transformation` is `jopt.types.described`, and what it makes looks at its trees first:

- Each leaf of `params` and of `updates` is a real floating number or array. Python numbers, NumPy arrays and weakly
  typed ones become arrays with a dtype of their own, so that no stage has to ask what a leaf is.
- Where `update` gets `params`, the updates have their structure and shapes.

A tree that does not fit raises while `init` or `update` is traced and names the leaf. Leaves that are not there (None,
those that `optax.masked` took away) stay away. `chain` alone is not decorated: it may hold stages of optax that know
what to do with integers, and leaves the dtypes to its stages.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import jax

from jopt import tree
from jopt.types import Params, Transformation, Updates, described, naming

P = ParamSpec("P")


def transformation(factory: Callable[P, Transformation]) -> Callable[P, Transformation]:
    """Decorate a factory: what it makes is described, and checks the trees it gets."""

    @functools.wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> Transformation:
        return _checked(factory.__name__, factory(*args, **kwargs))

    return described(make)


def _checked(name: str, inner: Transformation) -> Transformation:
    """Return the transformation with the checks before it, and `name` before the errors of its stages."""

    def init(params: Params) -> Any:
        with naming(name):
            return inner.init(_arrays(name, "params", params))

    def update(updates: Updates, state: Any, params: Params = None, **extra: Any) -> tuple[Updates, Any]:
        with naming(name):
            updates = _arrays(name, "updates", updates)
            if params is not None:
                params = _arrays(name, "params", params)
                tree.check_like(name, "updates", updates, "params", params)
            return inner.update(updates, state, params, **extra)

    made = Transformation(init, update)
    made.stages, made.pairs, made.bounded = inner.stages, inner.pairs, inner.bounded
    return made


def _arrays(function: str, argument: str, a: Any) -> Any:
    """Return the tree with strongly typed floating arrays for leaves; descriptions of arrays stay what they are."""
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(a)):
        jax.eval_shape(functools.partial(tree.as_parameters, function, argument), a)
        return a
    return tree.as_parameters(function, argument, a)

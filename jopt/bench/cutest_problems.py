# SPDX-License-Identifier: Apache-2.0
"""CUTEst problems without constraints or with bounds alone, from the package sif2jax, and their split into two halves.

The full import of sif2jax takes a minute, since each of its 1,000 problems is made at import. `load` imports the one
family that is needed: it stands in bare packages, which have a path but run no `__init__`, for `sif2jax` and
`sif2jax.cutest` while it imports the modules of `FAMILIES`, and takes them away again.

`half(name)` is "even" or "odd" by the parity of the SHA-256 of the name, read as an integer: arbitrary, even-handed and
the same for everyone. Methods are tuned on the even half alone; the odd half then tells skill from fitting.

Reference: Gould, Orban and Toint (2015), CUTEst: a constrained and unconstrained testing environment with safe threads,
doi:10.1007/s10589-014-9687-3; sif2jax, https://github.com/johannahaffner/sif2jax.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jopt.linalg.box import Box, project

HALVES = ("even", "odd", "both")

FAMILIES = {
    "unconstrained": ("_unconstrained_minimisation.unconstrained_minimisation_problems",),
    "bounded": (
        "_bounded_minimisation.bounded_minimisation_problems",
        "_quadratic_problems.bounded_quadratic_problems",
    ),
}
"""Where sif2jax lists the problems of each family, within `sif2jax.cutest`."""

INFINITY = 1e20
"""Bounds of this size mean that there is none, in CUTEst as in most codes."""

QUICK = (
    "AKIVA", "BOX3", "BROWNDEN", "CLIFF", "DENSCHNA", "DENSCHNE", "EXPFIT", "HATFLDE", "HELIX", "KOWOSB", "ROSENBR",
    "SISSER",
)  # fmt: skip
"""A dozen problems of the even half, with few variables, that compile fast: for a first look."""

QUICK_BOUNDED = ("BRANIN", "HATFLDA", "HS110", "HS3MOD", "HS5", "JUDGEB", "LOGROS", "PALMER1")
"""A few such problems with bounds."""


class Problem(NamedTuple):
    """A problem as every solver gets it: a function of one flat vector.

    Attributes:
      name: in CUTEst.
      fun: `(n,) -> scalar`.
      x0: the standard start, projected onto the bounds, shape (n,).
      bounds: of the variables, each of shape (n,); None where there are none.
    """

    name: str
    fun: Callable[[jax.Array], jax.Array]
    x0: jax.Array
    bounds: Box | None = None

    @property
    def size(self) -> int:
        """Number of variables n."""
        return self.x0.size


def half(name: str) -> str:
    """Return "even" or "odd": the parity of the SHA-256 of a problem's name.

    Example:
      >>> half("ROSENBR"), half("BEALE")
      ('even', 'odd')
    """
    return "odd" if hashlib.sha256(name.encode()).digest()[-1] % 2 else "even"


def available() -> bool:
    """Whether sif2jax is installed; it is not imported."""
    return importlib.util.find_spec("sif2jax") is not None


def load(family: str = "unconstrained") -> dict[str, Any]:
    """Return sif2jax's problems of a family by name, in order of name.

    Their constants take the precision that JAX has when this is first called: enable x64 beforehand, or not.

    Args:
      family: "unconstrained" or "bounded".

    Raises:
      ImportError: if sif2jax is not installed.
    """
    if not available():
        msg = "load: the CUTEst problems come from sif2jax, which is not installed; pip install 'jopt[cutest]'"
        raise ImportError(msg)
    with _bare_packages("sif2jax", "sif2jax.cutest"):
        kinds = importlib.import_module("sif2jax._problem")  # some problems look for their class in the package itself
        for name in dir(kinds):
            setattr(sys.modules["sif2jax"], name, getattr(sys.modules["sif2jax"], name, getattr(kinds, name)))
        places = [place.split(".") for place in FAMILIES[family]]
        listed = [getattr(importlib.import_module(f"sif2jax.cutest.{module}"), name) for module, name in places]
    found: dict[str, Any] = {}
    for made in itertools.chain(*listed):
        found.setdefault(type(made).__name__, made)
    return dict(sorted(found.items()))


def load_bounded() -> dict[str, Any]:
    """Return sif2jax's problems with bounds and no other constraints, as `load` does."""
    return load("bounded")


def flat(name: str, made: Any, dtype: Any) -> Problem:
    """Return a problem of sif2jax as a function of one flat vector.

    Args:
      name: its name.
      made: what `load` returned under a name.
      dtype: floating dtype of the start.
    """
    x0, unravel = ravel_pytree(made.y0)
    args = made.args

    def fun(x: jax.Array) -> jax.Array:
        return jnp.asarray(made.objective(unravel(x), args))

    given = getattr(made, "bounds", None)
    if given is None:
        return Problem(name, fun, x0.astype(dtype))
    box = Box(*(_bound(side, dtype) for side in given))
    return Problem(name, fun, project(box, x0.astype(dtype)), box)


def _bound(side: Any, dtype: Any) -> jax.Array:
    """Return one side of the bounds as a vector, with infinity where there is none."""
    vector = ravel_pytree(side)[0].astype(dtype)
    return jnp.where(jnp.abs(vector) >= INFINITY, jnp.sign(vector) * jnp.inf, vector)


def sizes(problems: dict[str, Any]) -> dict[str, int]:
    """Return the number of variables of each problem, without computing its start."""
    starts = {name: jax.eval_shape(lambda made=made: made.y0) for name, made in problems.items()}
    return {name: sum(leaf.size for leaf in jax.tree.leaves(start)) for name, start in starts.items()}


@contextlib.contextmanager
def _bare_packages(*names: str) -> Iterator[None]:
    """Stand in packages that have a path but run nothing; where a package is imported already, it stays."""
    added = []
    for name in names:
        if name in sys.modules:
            continue
        parent, _, child = name.rpartition(".")
        paths = sys.modules[parent].__path__ if parent else None
        found = importlib.machinery.PathFinder.find_spec(name if not parent else f"{parent}.{child}", paths)
        if found is None or found.submodule_search_locations is None:
            msg = f"load: {name} is not the package it was in sif2jax 0.0.8; install that version."
            raise ImportError(msg)
        bare = importlib.machinery.ModuleSpec(name, None, is_package=True)
        bare.submodule_search_locations = list(found.submodule_search_locations)
        sys.modules[name] = importlib.util.module_from_spec(bare)
        added.append(name)
    try:
        yield
    finally:
        for name in added:  # so that a later `import sif2jax` finds the whole package
            del sys.modules[name]

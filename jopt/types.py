# SPDX-License-Identifier: Apache-2.0
"""The protocols of jopt: everything is a pure pair of functions over pytrees.

- `Transformation`: `init(params)`, `update(updates, state, params=None, **extra)`; optax's own type, so that either
  library's transformations serve in the other.
- `LineSearch`: `init(value, slope, first_step)`, `update(state, value, slope)`; it sees numbers only.
- `Solver`: `init(objective, params)`, `step(objective, state, tolerance=None)`; one step is one evaluation of the objective.

The three share `Described`: an object made by a factory decorated with `described` knows the factory's name and the
settings it was called with, prints as that call, and equals another object made by the same call. The last point lets
`jax.jit` take such an object as a static argument without compiling anew for each equal copy.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Self, TypeVar

import jax
import optax

Params = Any
"""A pytree of arrays: the parameters x."""

Updates = Any
"""A pytree like the parameters: gradients g, or updates u, which are added."""

Scalar = jax.Array
"""An array of shape ()."""

Count = Any
"""An int32 array of shape (): updates so far. (`Any`, because a field named count hides a method of tuples.)"""

ScalarOrSchedule = float | jax.Array | Callable[[Any], Any]
"""A number, or a function from the step number (from 0) to a number."""

GradientTransformation = optax.GradientTransformationExtraArgs
"""optax's protocol type, which is ours too."""

P = ParamSpec("P")
T = TypeVar("T", bound="Described")


class Described:
    """What an object made by a factory knows about the call that made it."""

    name: str = ""
    settings: Mapping[str, Any] = MappingProxyType({})

    def __repr__(self) -> str:
        arguments = (f"{key}={_show(value)}" for key, value in self.settings.items())
        return f"{self.name or type(self).__name__}({', '.join(arguments)})"

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Described) and type(self) is type(other) and self._key() == other._key()
        )

    def __ne__(self, other: object) -> bool:
        return not self == other  # a tuple brings its own, which would compare the functions

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        """Return the call as a hashable value, or the identity where there is none."""
        key = (self.name, _frozen(self.settings))
        try:
            hash(key)
        except TypeError:
            return id(self)
        return key if self.name else id(self)


def described(factory: Callable[P, T]) -> Callable[P, T]:
    """Decorate a factory: what it returns carries its name and the settings.

    So do its errors carry the name (`naming`).
    """
    signature = inspect.signature(factory)

    @functools.wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> T:
        with naming(factory.__name__):
            made = factory(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        made.name = factory.__name__
        made.settings = _flat(signature, bound.arguments)
        return made

    return make


@contextlib.contextmanager
def naming(function: str, instead_of: str = "") -> Iterator[None]:
    """Put a function's name before errors that come from a part of it.

    The message becomes "adamw: scale_by_adam: b1 must be ..."; the name `instead_of`, of a part that takes the same
    arguments, is left out.

    Only jopt's own errors about arguments, which begin with a function's name, are touched.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error.args[0]) if error.args else ""
        if _ERROR.match(text) and not text.startswith(f"{function}: "):
            error.args = (f"{function}: {text.removeprefix(f'{instead_of}: ')}", *error.args[1:])
        raise


_ERROR = re.compile(r"[a-z_0-9]+: .*\b(must|needs)\b")


def _flat(signature: inspect.Signature, arguments: dict[str, Any]) -> dict[str, Any]:
    """Spread `**kwargs`, and `*args` as `0=...`, into one mapping."""
    settings: dict[str, Any] = {}
    for key, value in arguments.items():
        kind = signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            settings.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            settings.update({str(i): v for i, v in enumerate(value)})
        else:
            settings[key] = value
    return _copied(settings)


def _copied(value: Any) -> Any:
    """Return plain containers as new ones, so that what the caller changes later does not change the description."""
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return {k: _copied(v) for k, v in value.items()} if type(value) is dict else value


def _frozen(value: Any) -> Any:
    """Return a value as a key: plain containers as tuples, and the type of everything.

    1, 1.0 and True compare equal but make different programs: hence the types.
    """
    items = [x for pair in value.items() for x in pair] if type(value) is dict else value
    return type(value), tuple(map(_frozen, items)) if type(value) in (list, tuple, dict) else value


def _show(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)


class Transformation(Described, optax.GradientTransformationExtraArgs):
    """optax's transformation pair that also knows its name, settings and stages.

    Being a tuple it is a pytree; tree operations rebuild it from its two functions and lose the description.

    Attributes:
      stages: the transformations of a positional chain, empty otherwise.
      pairs: for directions made from differences (see `jopt.transforms.quasi_newton.from_pairs`), the form that is
        told the differences instead of remembering the previous point; None otherwise.
      bounded: for directions, whether the update takes the extra `box`, the `jopt.linalg.Box` of the steps that keep
        within bounds, and returns u with -u in that box.
    """

    stages: tuple[GradientTransformation, ...] = ()
    pairs: Any = None
    bounded: bool = False

    if TYPE_CHECKING:  # optax's own types ask of an update that it takes every state, which none does

        def __new__(cls, init: Callable[..., Any], update: Callable[..., Any]) -> Self:
            """Make the pair."""
            ...

    def __repr__(self) -> str:
        if self.name == "chain" and self.stages:
            return f"chain({', '.join(map(repr, self.stages))})"
        return super().__repr__()


def stateless(function: Callable[[Updates, Params], Updates]) -> Transformation:
    """Return the stateless transformation from `(updates, params)` to updates."""

    def init(params: Params) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(updates: Updates, state: optax.EmptyState, params: Params = None, **extra: Any) -> Any:
        del extra
        return function(updates, params), state

    return Transformation(init, update)


class _LineSearchPair(NamedTuple):
    init: Callable[..., Any]
    update: Callable[..., Any]


class LineSearch(Described, _LineSearchPair):
    """How far to go, decided from numbers alone.

    `init(value, slope, first_step) -> state` takes phi(0), phi'(0) < 0 and the first trial;
    `update(state, value, slope) -> state` takes phi and phi' at `state.step`. All are scalars of one floating dtype.
    `state.step` is the next trial, or the decided step; `state.status` is a `jopt.status.SearchStatus` as int32.
    """


class _SolverPair(NamedTuple):
    init: Callable[..., Any]
    step: Callable[..., Any]


class Solver(Described, _SolverPair):
    """A method that reads the objective, one evaluation a step.

    `init(objective, params) -> state` evaluates nothing; `step(objective, state, tolerance=None) -> (state, info)` evaluates
    the objective once. The state holds what the next step needs; the info (`jopt.solvers.Info`) holds what the caller
    wants to know of this one: the point evaluated, whether it was accepted, and a status.

    `tolerance(grad_norm) -> gtol` foretells that the caller will stop at an accepted point with |g|_inf = grad_norm <= gtol:
    a direction that costs products is not made there, and before that not more exactly than it takes to get there. None
    foretells nothing. A state that finished so may be stepped on all the same.

    Attributes:
      bounded: whether the solver honours `objective.bounds`: every point it evaluates lies within them, and the gradient
        norm it reports is that of the projected gradient.
      run: how its loop is run, `(rebuild, values, limits, params, options, start) -> LoopState` with `rebuild(values)` the
        objective; None for `jopt.solvers.loop.run`.
    """

    bounded: bool = False
    run: Any = None


class _ByIdentity:
    """A callable without a hash, as a static argument that is equal to itself alone."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun

    def __call__(self, *args: Any) -> Any:
        return self.fun(*args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.fun is other.fun

    def __hash__(self) -> int:
        return id(self.fun)


def as_tuple(args: Any) -> tuple[Any, ...]:
    """Return the further arguments of a function as a tuple; one argument alone need not be wrapped."""
    return args if isinstance(args, tuple) else (args,)


def hashable(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, wrapped if it has no hash.

    So it can be a static argument of `jax.jit`.
    """
    try:
        hash(fun)
    except TypeError:
        return _ByIdentity(fun)
    return fun

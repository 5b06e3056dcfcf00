# SPDX-License-Identifier: Apache-2.0
"""Momentum: updates from a velocity v that remembers past gradients g with weight b = decay; v starts at zero.

    trace                v' = b v + g                u = v',                nesterov: u = b v' + g
    ema                  v' = b v + (1 - b) g        u = v',                debias:   u = v' / (1 - b^t), t from 1
    lookahead_momentum   v' = b v + (1 - b) g        u = b v' + (1 - b) g
    shifted_momentum     v' = b v - rate grad(params + b v)                 u = v'

The last is Nesterov's method as first written; it evaluates a gradient of its own. In the shifted variable
y = params + b v the same method reads y' = y + v' + b (v' - v), v' = b v - rate grad(y), which is
`chain(trace(b, nesterov=True), scale_by_learning_rate(rate))` applied to y. That form needs no extra gradient.

Sums are formed in float32 or wider; a velocity is stored in the dtype of its leaf, or in `accumulator_dtype`.

References: Polyak (1964), Some methods of speeding up the convergence of iteration methods,
doi:10.1016/0041-5553(64)90137-5 (heavy ball). Nesterov (1983), A method of solving a convex programming problem with
convergence rate O(1/k^2), Soviet Mathematics Doklady 27(2). Sutskever et al. (2013), On the importance of
initialization and momentum in deep learning, equations 3-4, ICML.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jopt import tree, validate
from jopt.transforms.checked import transformation
from jopt.transforms.precision import at_step, leafwise, one_minus_power
from jopt.types import Count, Params, ScalarOrSchedule, Transformation, Updates


class TraceState(NamedTuple):
    """State of `trace`.

    Attributes:
      trace: velocity v, a tree like the parameters.
    """

    trace: Updates


class EmaState(NamedTuple):
    """State of `ema`.

    Attributes:
      count: updates so far, int32.
      ema: running mean v without bias correction, a tree like the parameters.
    """

    count: Count
    ema: Updates


class LookaheadMomentumState(NamedTuple):
    """State of `lookahead_momentum`.

    Attributes:
      velocity: running mean v, a tree like the parameters.
    """

    velocity: Updates


class ShiftedMomentumState(NamedTuple):
    """State of `shifted_momentum`.

    Attributes:
      count: updates so far, int32.
      learning_rate: the rate last used (before the first update: the one that will be), in the scalar dtype.
      velocity: the last update v, a tree like the parameters.
    """

    count: Count
    learning_rate: jax.Array
    velocity: Updates


def trace_kernel(g: Any, v: Any, *, b: Any) -> tuple[Any, Any]:
    """Heavy ball: g gradient, v velocity, b decay."""
    v = b * v + g
    return v, v


def nesterov_kernel(g: Any, v: Any, *, b: Any) -> tuple[Any, Any]:
    """Heavy ball in Nesterov's shifted variable."""
    v = b * v + g
    return b * v + g, v


def ema_kernel(g: Any, v: Any, *, b: Any, of_v: Any) -> tuple[Any, Any]:
    """Running mean: of_v corrects its bias."""
    v = b * v + (1.0 - b) * g
    return of_v * v, v


def lookahead_kernel(g: Any, v: Any, *, b: Any) -> tuple[Any, Any]:
    """Running mean, looking one step ahead."""
    v = b * v + (1.0 - b) * g
    return b * v + (1.0 - b) * g, v


def shifted_kernel(g: Any, v: Any, *, b: Any, rate: Any) -> tuple[Any, Any]:
    """Nesterov as first written: g is the gradient at the shifted point."""
    v = b * v - rate * g
    return v, v


@transformation
def trace(decay: float, nesterov: bool = False, accumulator_dtype: Any = None) -> Transformation:
    """Accumulate gradients in a decaying sum: the heavy ball, v' = b v + g.

    Args:
      decay: b, in [0, 1).
      nesterov: whether the update is b v' + g instead of v'.
      accumulator_dtype: floating dtype to store v in; None stores each leaf in its own.

    Returns:
      A transformation with a `TraceState`.

    Raises:
      ValueError: if `decay` is outside its range.
      TypeError: if a setting has the wrong type.

    Reference: Polyak (1964); Sutskever et al. (2013), equations 3-4 in the shifted variable (see the module).
    """
    stored = _check("trace", decay, accumulator_dtype)
    kernel = nesterov_kernel if validate.flag("trace", "nesterov", nesterov) else trace_kernel

    def init(params: Params) -> TraceState:
        return TraceState(tree.zeros_like(params, stored))

    def update(updates: Updates, state: TraceState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        u, v = leafwise("trace", kernel, updates, state.trace, b=decay)
        return u, TraceState(v)

    return Transformation(init, update)


@transformation
def ema(decay: float, debias: bool = True, accumulator_dtype: Any = None) -> Transformation:
    """Replace gradients by their exponential running mean, v' = b v + (1 - b) g.

    Args:
      decay: b, in [0, 1).
      debias: whether to divide the update by 1 - b^t, t counting updates from 1, which makes a constant gradient its
        own mean from the first step on. The mean in the state is never divided.
      accumulator_dtype: floating dtype to store v in; None stores each leaf in its own.

    Returns:
      A transformation with an `EmaState`.

    Raises:
      ValueError: if `decay` is outside its range.
      TypeError: if a setting has the wrong type.

    Reference: Kingma and Ba (2015), Adam, section 3 (the bias correction), arXiv:1412.6980.
    """
    stored = _check("ema", decay, accumulator_dtype)
    validate.flag("ema", "debias", debias)

    def init(params: Params) -> EmaState:
        return EmaState(jnp.zeros((), jnp.int32), tree.zeros_like(params, stored))

    def update(updates: Updates, state: EmaState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        t = optax.safe_increment(state.count)
        dtype = tree.scalar_dtype((updates, state.ema))
        of_v = 1.0 / one_minus_power(decay, t, dtype) if debias else 1.0
        u, v = leafwise("ema", ema_kernel, updates, state.ema, b=decay, of_v=of_v)
        return u, EmaState(t, v)

    return Transformation(init, update)


@transformation
def lookahead_momentum(decay: float, *, accumulator_dtype: Any = None) -> Transformation:
    """Smooth gradients and look one step ahead.

    v' = b v + (1 - b) g, u = b v' + (1 - b) g.

    Alike Nesterov's method, but not equal to it (`shifted_momentum` is). There is no bias correction.

    Args:
      decay: b, in [0, 1).
      accumulator_dtype: floating dtype to store v in; None stores each leaf in its own.

    Raises:
      ValueError: if `decay` is outside its range.
      TypeError: if a setting has the wrong type.

    Reference: Dozat (2016), Incorporating Nesterov momentum into Adam, ICLR workshop, section 2.
    """
    stored = _check("lookahead_momentum", decay, accumulator_dtype)

    def init(params: Params) -> LookaheadMomentumState:
        return LookaheadMomentumState(tree.zeros_like(params, stored))

    def update(updates: Updates, state: LookaheadMomentumState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        u, v = leafwise("lookahead_momentum", lookahead_kernel, updates, state.velocity, b=decay)
        return u, LookaheadMomentumState(v)

    return Transformation(init, update)


@transformation
def shifted_momentum(
    learning_rate: ScalarOrSchedule, *, decay: float = 0.9, accumulator_dtype: Any = None
) -> Transformation:
    """Take Nesterov's step, with the gradient at the shifted point.

    v' = b v - rate grad(params + b v), u = v'.

    The point shifts by the velocity, so the velocity has the unit of the parameters and the learning rate is a setting
    of this stage: no `scale_by_learning_rate` follows. The gradient that comes in was taken at the unshifted point and
    is not used: let this stage be the first of a chain. A stage after it sees finished updates, which are added; what
    it changes does not return into the velocity. A penalty on the parameters belongs in `value_fn`.

    Its `update` needs `params` and the extra argument `value_fn`, a function from a tree like the parameters to a
    scalar. Each update costs one gradient of `value_fn`, and one more copy of it in the compiled program.

    Args:
      learning_rate: a number >= 0, or a function from the number of updates so far (from 0) to one.
      decay: b, in [0, 1); the value in the signature is Polyak's usual one.
      accumulator_dtype: floating dtype to store v in; None stores each leaf in its own.

    Returns:
      A transformation whose `update` needs `params` and the extra `value_fn`.

    Raises:
      ValueError: if a setting is outside its range; by `update`, if `params` or `value_fn` is missing.
      TypeError: if a setting has the wrong type.

    Reference: Nesterov (1983); Sutskever et al. (2013), equations 3-4.
    """
    stored = _check("shifted_momentum", decay, accumulator_dtype)
    if not callable(learning_rate):
        validate.number("shifted_momentum", "learning_rate", learning_rate, low=0.0, high_open=True)

    rate_at = functools.partial(at_step, "shifted_momentum", "learning_rate", learning_rate)

    def init(params: Params) -> ShiftedMomentumState:
        count = jnp.zeros((), jnp.int32)
        return ShiftedMomentumState(count, rate_at(count, tree.scalar_dtype(params)), tree.zeros_like(params, stored))

    def update(updates: Updates, state: ShiftedMomentumState, params: Params = None, **extra: Any) -> Any:
        value_fn = _check_context(params, extra.get("value_fn"))
        rate = rate_at(state.count, state.learning_rate.dtype)
        gradient = jax.grad(value_fn)(tree.axpy(decay, state.velocity, params))
        u, v = leafwise("shifted_momentum", shifted_kernel, gradient, state.velocity, b=decay, rate=rate)
        return tree.cast(u, updates), ShiftedMomentumState(optax.safe_increment(state.count), rate, v)

    return Transformation(init, update)


def _check(function: str, decay: Any, accumulator_dtype: Any) -> Any:
    """Check the settings that all have, and return the dtype to store in."""
    validate.number(function, "decay", decay, low=0.0, high=1.0, high_open=True)
    return validate.floating_dtype(function, "accumulator_dtype", accumulator_dtype)


def _check_context(params: Params, value_fn: Any) -> Callable[[Params], Any]:
    validate.given("shifted_momentum", "params", params, hint="Call update(updates, state, params, value_fn=...).")
    validate.given("shifted_momentum", "value_fn", value_fn, hint="Pass the function of params that is minimized.")
    if not callable(value_fn):
        msg = f"shifted_momentum: value_fn must be a function of params, got {value_fn!r}."
        raise TypeError(msg)
    return value_fn

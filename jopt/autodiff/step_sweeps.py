# SPDX-License-Identifier: Apache-2.0
r"""The V-shaped curve: the error of a difference against its step.

With phi(t) = f(x + t d) and values rounded to a relative error eps (half the machine epsilon), the differences err by

    centred    (phi(h) - phi(-h)) / (2 h)     at most  eps |f| / h  +  |phi'''| h^2 / 6
    forward    (phi(h) - phi(0)) / h          at most  2 eps |f| / h  +  |phi''| h / 2

Round-off falls with h, with slope -1 in logarithmic axes; truncation rises, with slope 2 or 1. The sums are least at

    centred    h = (3 eps |f| / |phi'''|)^(1/3),     error  3/2 eps |f| / h
    forward    h = 2 (eps |f| / |phi''|)^(1/2),      error  4 eps |f| / h

which are of order eps^(1/3) and eps^(2/3), and of order eps^(1/2) and eps^(1/2).

Reference: Gill, Murray and Wright (1981), Practical Optimization, section 8.6; Nocedal and Wright (2006), Numerical
Optimization, section 8.1, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jopt import report, tree
from jopt.autodiff.differences import fresh
from jopt.curvature.hvp import scalar_function
from jopt.types import Params


class StepSweep(NamedTuple):
    """Errors of differences at many steps, and what theory predicts; `jopt.viz.step_sweep` draws it.

    Attributes:
      value: f(x).
      derivative: <grad f(x), d> by automatic differentiation.
      eps: relative error of a rounded value: half the machine epsilon of f(x) or of x, whichever is larger.
      second: estimate of the second derivative along d; 0 where it is lost in round-off.
      third: estimate of the third.
      centred_step: predicted best step of the centred difference; infinite where `third` is 0.
      centred_bound: predicted error there.
      forward_step: predicted best step of the forward difference; infinite where `second` is 0.
      forward_bound: predicted error there.
      steps: the steps h, decreasing powers of two; shape (K,).
      centred: errors of the centred differences, shape (K,); NaN or infinite where a value is.
      forward: errors of the forward differences, shape (K,).
    """

    value: float
    derivative: float
    eps: float
    second: float
    third: float
    centred_step: float
    centred_bound: float
    forward_step: float
    forward_bound: float
    steps: np.ndarray
    centred: np.ndarray
    forward: np.ndarray

    __repr__ = report.record


def step_sweep(f: Callable[[Params], Any], x: Params, direction: Params) -> StepSweep:
    """Compare centred and forward differences with the derivative at every step, from round-off to truncation.

    Cost: one compiled program; 56 values of f in float32, 114 in float64, and one gradient.

    Args:
      f: a function of one tree, with a real scalar as its value; pure.
      x: a tree of floating arrays, at least one entry.
      direction: a tree like x, finite and not zero: d. The steps go from the size of x relative to it, 1 for x = 0, down
        to eps of that.

    Returns:
      A `StepSweep`.

    Raises:
      TypeError: if `f` cannot be called or does not return a real scalar, or a leaf of `x` or `direction` is not floating.
      ValueError: if `x` is empty, or `direction` is no tree like `x`, zero or not finite.

    Reference: Gill, Murray and Wright (1981), section 8.6.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import step_sweep
      >>> sweep = step_sweep(jnp.exp, jnp.float32(1.0), jnp.float32(1.0))
      >>> bool(sweep.centred.min() < sweep.forward.min())
      True
    """
    x = tree.as_parameters("step_sweep", "x", x)
    direction = tree.as_parameters("step_sweep", "direction", direction)
    tree.check_like("step_sweep", "direction", direction, "x", x)
    if not tree.size(x):
        msg = "step_sweep: x must hold at least one number, got none."
        raise ValueError(msg)
    f = fresh(f)
    objective = scalar_function("step_sweep", f, (), False, "f")
    eps = max(tree.coarsest_eps(x), tree.coarsest_eps(jax.eval_shape(f, x) if callable(f) else x))
    length, size = float(tree.max_abs(direction)), float(tree.max_abs(x))
    if not 0 < length < math.inf:
        msg = f"step_sweep: direction must be finite and not zero, got a largest entry of {length}."
        raise ValueError(msg)
    jax.eval_shape(objective, x)
    top = 2.0 ** round(math.log2((size if 0 < size < math.inf else 1.0) / length))
    steps = top * 2.0 ** -np.arange(round(-math.log2(eps)) + 5.0)
    wide = tree.scalar_dtype(x)
    along = jax.jit(lambda *points: _along(objective, *points))
    made = along(x, direction, np.concatenate([steps, -steps, [0.0]]).astype(wide))
    values, derivative = np.asarray(made[0], np.float64), float(made[1])
    return _swept(steps, values, derivative, eps / 2)


def _along(objective: Callable[..., Any], x: Params, direction: Params, ts: Any) -> tuple[jax.Array, jax.Array]:
    values = jax.lax.map(lambda t: objective(tree.axpy(t, direction, x))[0], ts)
    grad = jax.grad(objective, has_aux=True)(x)[0]
    return values, tree.vdot(grad, direction)


def _swept(steps: np.ndarray, values: np.ndarray, derivative: float, eps: float) -> StepSweep:
    count = len(steps)
    plus, minus, value = values[:count], values[count:-1], float(values[-1])
    with np.errstate(all="ignore"):
        centred = np.abs((plus - minus) / (2 * steps) - derivative)
        forward = np.abs((plus - value) / steps - derivative)
        level = eps * np.maximum(np.maximum(np.abs(plus), np.abs(minus)), abs(value))
        second = _settled((plus - 2 * value + minus) / steps**2, 4 * level / steps**2)
        # From steps 2 h and h; the first has none of twice its size.
        odd = (plus - minus) / 2
        third = _settled((odd[:-1] - 2 * odd[1:]) / steps[1:] ** 3, 3 * level[:-1] / steps[1:] ** 3)
    noise = eps * abs(value)
    centred_step = (3 * noise / abs(third)) ** (1 / 3) if third else math.inf
    forward_step = 2 * math.sqrt(noise / abs(second)) if second else math.inf
    centred_bound, forward_bound = 1.5 * _over(noise, centred_step), 4 * _over(noise, forward_step)
    return StepSweep(
        value, derivative, eps, second, third, centred_step, centred_bound, forward_step, forward_bound, steps, centred,
        forward,
    )  # fmt: skip


def _settled(estimates: np.ndarray, rounding: np.ndarray) -> float:
    """Return the estimate that changes least from one step to the next and beyond round-off, 0 if it drowns there."""
    change = np.abs(np.diff(estimates)) + rounding[1:]
    change = np.where(np.isfinite(change), change, np.inf)
    at = int(change.argmin()) + 1
    found = float(estimates[at])
    return found if np.isfinite(change[at - 1]) and abs(found) > change[at - 1] else 0.0


def _over(noise: float, step: float) -> float:
    return noise / step if step else 0.0

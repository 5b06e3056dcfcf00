# SPDX-License-Identifier: Apache-2.0
"""Rates adapted to each entry by the squares of its gradients.

With g the gradient, t = 1, 2, ... the number of the update, and products and roots entry by entry:

    scale_by_rss       s' = s + g^2,                       u = g / root(s')
    scale_by_rms       v' = decay v + (1 - decay) g^2,     u = g / root(v^)
    scale_by_stddev    the same with the variance of g about its decayed mean in the place of v^
    scale_by_adadelta  v' = rho v + (1 - rho) g^2,         u = sqrt(D + eps) / sqrt(v' + eps) g,
                       D' = rho D + (1 - rho) u^2

Here v^ = v' / (1 - decay^t) with bias correction and v^ = v' without. The small number stands inside or outside the
square root,

    root(v) = sqrt(v + eps_root) + eps

and is called accordingly in `over_root` and in `jopt.transforms.adam`; the transformations of this file take optax's
one number `eps` and the switch `eps_in_sqrt`, which says which of the two it is. With eps = 0 an entry all of whose
gradients have been zero stays where it is (0/0 = 0), and its derivative is zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jopt import tree, validate
from jopt.transforms.checked import transformation
from jopt.transforms.precision import filled, is_zero, leafwise, number, one_minus_power, times
from jopt.types import Count, Params, Transformation, Updates


class ScaleByRssState(NamedTuple):
    """State of `scale_by_rss`.

    Attributes:
      sum_of_squares: s, the initial value plus the sum of all squared gradients, a tree like the parameters.
    """

    sum_of_squares: Updates


class ScaleByRmsState(NamedTuple):
    """State of `scale_by_rms`.

    Attributes:
      count: updates so far, int32.
      nu: v, the decayed mean of squared gradients, a tree like the parameters.
    """

    count: Count
    nu: Updates


class ScaleByStddevState(NamedTuple):
    """State of `scale_by_stddev`.

    Attributes:
      count: updates so far, int32.
      mu: the decayed mean of the gradients, bias-corrected if asked for, a tree like the parameters.
      var: the decayed sum of squared deviations from the mean at the time, a tree like the parameters.
    """

    count: Count
    mu: Updates
    var: Updates


class ScaleByAdadeltaState(NamedTuple):
    """State of `scale_by_adadelta`.

    Attributes:
      e_g: v, the decayed mean of squared gradients, a tree like the parameters.
      e_x: D, the decayed mean of squared updates, a tree like the parameters.
    """

    e_g: Updates
    e_x: Updates


def blend(decay: Any, old: jax.Array, new: jax.Array) -> jax.Array:
    """Return the exponential average decay old + (1 - decay) new."""
    return new if is_zero(decay) else decay * old + (1.0 - decay) * new


def over_root(numerator: jax.Array, square: jax.Array, eps: Any, eps_root: Any) -> jax.Array:
    """Return numerator / (sqrt(square + eps_root) + eps).

    0/0 is 0 where both small numbers are the number 0.
    """
    if not is_zero(eps):
        return numerator / (jnp.sqrt(square if is_zero(eps_root) else square + eps_root) + eps)
    if not is_zero(eps_root):
        return numerator * jax.lax.rsqrt(square + eps_root)
    # The inner where keeps the branch not taken finite, so that its derivative is 0 as well. A NaN is not zero.
    zero = square == 0.0
    return jnp.where(zero, 0.0, numerator * jax.lax.rsqrt(jnp.where(zero, 1.0, square)))


def rss_kernel(g: Any, s: Any, *, eps: Any, eps_root: Any) -> tuple[Any, ...]:
    """Adagrad: g gradient, s sum of squares."""
    s = s + g * g
    return over_root(g, s, eps, eps_root), s


def rms_kernel(g: Any, v: Any, *, decay: Any, weight: Any, eps: Any, eps_root: Any) -> tuple[Any, ...]:
    """RMSProp: g gradient, v second moment, weight = v^ / v'."""
    v = blend(decay, v, g * g)
    return over_root(g, times(weight, v), eps, eps_root), v


def stddev_kernel(
    g: Any, mean: Any, s: Any, *, decay: Any, gain: Any, spread: Any, weight: Any, eps: Any, eps_root: Any
) -> tuple[Any, ...]:
    """Centred RMSProp: g gradient, mean m^, s sum of squares S.

    gain k, spread w and weight 1 / c' are those of `scale_by_stddev`.
    """
    mean = mean + gain * (g - mean)
    s = decay * s + spread * jax.lax.square(g - mean)
    return over_root(g, times(weight, s), eps, eps_root), mean, s


def adadelta_kernel(g: Any, v: Any, d: Any, *, rho: Any, eps: Any) -> tuple[Any, ...]:
    """Adadelta: g gradient, v second moment of gradients, d second moment of updates.

    Where rho > 0 the update is written in D', from which D + eps = (D' + rho eps) (v' + eps) / (rho (v' + eps) +
    (1 - rho) g^2): all terms are positive. So nothing reads D after D' is there, and D' can take the place of D. In D,
    a compiler keeps the quotient, or a copy of D, in an array of its own.
    """
    square = g * g
    v = blend(rho, v, square)
    after = blend(rho, d, (d + eps) * square / (v + eps))
    if is_zero(rho):
        return jnp.sqrt((d + eps) / (v + eps)) * g, v, after
    tiny = float(jnp.finfo(v.dtype).tiny)  # for a rho of 0 that is not known to be 0: there D' = 0 where g = 0
    below = rho * (v + eps) + ((1.0 - rho) * square + tiny)
    return g * jnp.sqrt(after + rho * eps) * jax.lax.rsqrt(below), v, after


@transformation
def scale_by_rss(
    initial_accumulator_value: float = 0.1, eps: float = 1e-7, *, eps_in_sqrt: bool = True, nu_dtype: Any = None
) -> Transformation:
    """Divide by the root of the sum of all squared gradients: Adagrad.

    u = g / sqrt(s' + eps), or g / (sqrt(s') + eps), with s' = s + g^2.

    Args:
      initial_accumulator_value: s before the first update, >= 0.
      eps: the small number, >= 0.
      eps_in_sqrt: whether `eps` stands inside the square root or outside.
      nu_dtype: floating dtype in which s is stored; None: the parameters' own.

    Returns:
      A transformation with a `ScaleByRssState`.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if the dtype is not floating.

    Reference:
      Duchi, Hazan and Singer (2011), Adaptive subgradient methods for online learning and stochastic optimization,
      Figure 1, JMLR 12.
    """
    name = "scale_by_rss"
    check_small(name, initial_accumulator_value=initial_accumulator_value, eps=eps)
    nu_dtype = validate.floating_dtype(name, "nu_dtype", nu_dtype)
    smalls = placed(name, eps, eps_in_sqrt)

    def init(params: Params) -> ScaleByRssState:
        return ScaleByRssState(filled(params, initial_accumulator_value, nu_dtype))

    def update(updates: Updates, state: ScaleByRssState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        u, s = leafwise(name, rss_kernel, updates, state.sum_of_squares, **smalls)
        return u, ScaleByRssState(s)

    return Transformation(init, update)


@transformation
def scale_by_rms(
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide by the root of the decayed mean of squared gradients: RMSProp.

    u = g / sqrt(v^ + eps), or g / (sqrt(v^) + eps), with v' = decay v + (1 - decay) g^2 and v^ = v' / (1 - decay^t)
    with bias correction, v^ = v' without. The centred form is `scale_by_stddev`, whose state is larger.

    Args:
      decay: weight of the past in the mean, in [0, 1).
      eps: the small number, >= 0.
      initial_scale: v before the first update, >= 0.
      eps_in_sqrt: whether `eps` stands inside the square root or outside.
      bias_correction: whether to divide v by 1 - decay^t.
      nu_dtype: floating dtype in which v is stored; None: the parameters' own.

    Returns:
      A transformation with a `ScaleByRmsState`.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if the dtype is not floating.

    Reference:
      Tieleman and Hinton (2012), Neural networks for machine learning, lecture 6.5.
    """
    name = "scale_by_rms"
    check_decays(name, decay=decay)
    check_small(name, eps=eps, initial_scale=initial_scale)
    validate.flag(name, "bias_correction", bias_correction)
    nu_dtype = validate.floating_dtype(name, "nu_dtype", nu_dtype)
    smalls = placed(name, eps, eps_in_sqrt)

    def init(params: Params) -> ScaleByRmsState:
        return ScaleByRmsState(jnp.zeros((), jnp.int32), filled(params, initial_scale, nu_dtype))

    def update(updates: Updates, state: ScaleByRmsState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        t = optax.safe_increment(state.count)
        weight = 1.0 / one_minus_power(decay, t, tree.scalar_dtype((updates, state.nu))) if bias_correction else 1.0
        u, v = leafwise(name, rms_kernel, updates, state.nu, decay=decay, weight=weight, **smalls)
        return u, ScaleByRmsState(t, v)

    return Transformation(init, update)


@transformation
def scale_by_stddev(
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide by the decayed standard deviation of the gradients: centred RMSProp.

    As `scale_by_rms` with v^ - m^^2 in the place of v^, where m' = decay m + (1 - decay) g and m^ is corrected when v^
    is. That difference is not formed, because rounding makes it negative when the gradient hardly varies. The
    deviations from the mean are summed instead, which is the same number and never negative:

        m^' = m^ + k (g - m^),     S' = decay S + w (g - m^')^2,    v^ - m^^2 = S' / c'
        k = (1 - decay) / c',      w = (1 - decay) c' / (decay c)

    with c = 1 - decay^(t-1), c' = 1 - decay^t with bias correction and c = c' = 1 without; w = 0 where the denominator
    is, for there g = m^'.

    Note: with bias correction the first deviation is zero, so that the first update is g / sqrt(eps).

    Args:
      decay: weight of the past in the means, in [0, 1).
      eps: the small number, >= 0.
      initial_scale: S before the first update, >= 0.
      eps_in_sqrt: whether `eps` stands inside the square root or outside.
      bias_correction: whether to correct both means for their start.
      mu_dtype: floating dtype in which the mean is stored; None: the parameters' own.
      nu_dtype: floating dtype in which S is stored; None: the parameters' own.

    Returns:
      A transformation with a `ScaleByStddevState`.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if a dtype is not floating.

    Reference:
      Graves (2013), Generating sequences with recurrent neural networks, equations 38-40, arXiv:1308.0850.
      West (1979), Updating mean and variance estimates: an improved method, doi:10.1145/359146.359153.
    """
    name = "scale_by_stddev"
    check_decays(name, decay=decay)
    check_small(name, eps=eps, initial_scale=initial_scale)
    validate.flag(name, "bias_correction", bias_correction)
    mu_dtype = validate.floating_dtype(name, "mu_dtype", mu_dtype)
    nu_dtype = validate.floating_dtype(name, "nu_dtype", nu_dtype)
    smalls = placed(name, eps, eps_in_sqrt)

    def init(params: Params) -> ScaleByStddevState:
        mean, var = tree.zeros_like(params, mu_dtype), filled(params, initial_scale, nu_dtype)
        return ScaleByStddevState(jnp.zeros((), jnp.int32), mean, var)

    def update(updates: Updates, state: ScaleByStddevState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        t = optax.safe_increment(state.count)
        dtype = tree.scalar_dtype((updates, state.mu, state.var))
        d = number(decay, dtype)
        before, after = (one_minus_power(d, n, dtype) if bias_correction else 1.0 for n in (state.count, t))
        denominator = jnp.asarray(d * before, dtype)
        spread = jnp.where(denominator == 0.0, 0.0, (1.0 - d) * after / jnp.where(denominator == 0.0, 1.0, denominator))
        scalars = {"decay": d, "gain": (1.0 - d) / after, "spread": spread, "weight": 1.0 / after}
        u, mean, var = leafwise(name, stddev_kernel, updates, state.mu, state.var, **scalars, **smalls)
        return u, ScaleByStddevState(t, mean, var)

    return Transformation(init, update)


@transformation
def scale_by_adadelta(rho: float = 0.9, eps: float = 1e-6, *, nu_dtype: Any = None) -> Transformation:
    """Multiply by the ratio of past updates to gradients: Adadelta.

    The sizes compared are decayed root mean squares.

    u = sqrt(D + eps) / sqrt(v' + eps) g, which has the unit of the parameters: scaling the objective by any factor
    leaves it unchanged, apart from eps.

    Args:
      rho: weight of the past in both means, in [0, 1).
      eps: the small number, > 0: it starts the motion, since D is 0 at first.
      nu_dtype: floating dtype in which both means are stored; None: the parameters' own.

    Returns:
      A transformation with a `ScaleByAdadeltaState`.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if the dtype is not floating.

    Reference:
      Zeiler (2012), ADADELTA: an adaptive learning rate method, Algorithm 1, arXiv:1212.5701.
    """
    name = "scale_by_adadelta"
    check_decays(name, rho=rho)
    hint = "With eps = 0 the first update is zero, and so is every later one."
    validate.number(name, "eps", eps, low=0.0, low_open=True, high_open=True, hint=hint)
    nu_dtype = validate.floating_dtype(name, "nu_dtype", nu_dtype)

    def init(params: Params) -> ScaleByAdadeltaState:
        return ScaleByAdadeltaState(tree.zeros_like(params, nu_dtype), tree.zeros_like(params, nu_dtype))

    def update(updates: Updates, state: ScaleByAdadeltaState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        u, *means = leafwise(name, adadelta_kernel, updates, *state, rho=rho, eps=eps)
        return u, ScaleByAdadeltaState(*means)

    return Transformation(init, update)


def placed(function: str, eps: Any, eps_in_sqrt: bool) -> dict[str, Any]:
    """Return the small number under the name of its place."""
    inside = validate.flag(function, "eps_in_sqrt", eps_in_sqrt)
    return {"eps": 0.0, "eps_root": eps} if inside else {"eps": eps, "eps_root": 0.0}


def check_decays(function: str, **decays: Any) -> None:
    """Check that every decay lies in [0, 1)."""
    for argument, value in decays.items():
        validate.number(function, argument, value, low=0.0, high=1.0, high_open=True)


def check_small(function: str, **smalls: Any) -> None:
    """Check that every small number is finite and >= 0."""
    for argument, value in smalls.items():
        validate.number(function, argument, value, low=0.0, high_open=True)

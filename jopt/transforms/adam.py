# SPDX-License-Identifier: Apache-2.0
"""Adam and its relatives: a decayed mean of gradients, with a rate for each entry.

With g the gradient, t = 1, 2, ... the number of the update, products and roots entry by entry,
m' = b1 m + (1 - b1) g, and m^ = m' / (1 - b1^t):

    scale_by_adam      v' = b2 v + (1 - b2) g^2,                    u = m^ / (sqrt(v^ + eps_root) + eps)
    scale_by_amsgrad   the same with the largest v^ so far in the place of v^
    scale_by_lp_adam   r' = ((b2 r)^p + (1 - b2^p) |g|^p)^(1/p),    u = m^ / (r^ + eps)
    scale_by_adamax    r' = max(b2 r, |g| + eps),                   u = m^ / r'
    scale_by_lion      u = sign(b1 m + (1 - b1) g),                 m' = b2 m + (1 - b2) g

Here v^ = v' / (1 - b2^t) and r^ = r' / (1 - b2^(p t))^(1/p). AMSGrad is a transformation of its own, not a switch of
`scale_by_adam`, because its maximum is an array as large as the parameters that Adam would carry for nothing.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jopt import tree, validate
from jopt.transforms.adaptive import blend, check_decays, check_small, over_root
from jopt.transforms.checked import transformation
from jopt.transforms.precision import is_zero, leafwise, number, one_minus_power, times
from jopt.types import Count, Params, Transformation, Updates


class ScaleByAdamState(NamedTuple):
    """State of `scale_by_adam`, `scale_by_lp_adam` and `scale_by_adamax`.

    Attributes:
      count: updates so far, int32.
      mu: m, the decayed mean of gradients, a tree like the parameters.
      nu: v, the decayed mean of squared gradients, or r, the decayed norm, a tree like the parameters.
    """

    count: Count
    mu: Updates
    nu: Updates


class ScaleByAmsgradState(NamedTuple):
    """State of `scale_by_amsgrad`.

    Attributes:
      count: updates so far, int32.
      mu: m, the decayed mean of gradients, a tree like the parameters.
      nu: v, the decayed mean of squared gradients, a tree like the parameters.
      nu_max: the largest v, bias-corrected if asked for, so far, a tree like the parameters.
    """

    count: Count
    mu: Updates
    nu: Updates
    nu_max: Updates


class ScaleByLionState(NamedTuple):
    """State of `scale_by_lion`.

    Attributes:
      mu: m, the decayed mean of gradients, a tree like the parameters.
    """

    mu: Updates


def adam_kernel(
    g: Any, m: Any, v: Any, *, b1: Any, b2: Any, of_m: Any, of_v: Any, eps: Any, eps_root: Any
) -> tuple[Any, ...]:
    """Adam: g gradient, m and v moments; m^ = of_m m' and v^ = of_v v'."""
    m, v = blend(b1, m, g), blend(b2, v, g * g)
    return over_root(times(of_m, m), times(of_v, v), eps, eps_root), m, v


def nadam_kernel(
    g: Any, m: Any, v: Any, *, b1: Any, b2: Any, of_m: Any, of_g: Any, of_v: Any, eps: Any, eps_root: Any
) -> tuple[Any, ...]:
    """Nadam: as Adam with m^ = of_m m' + of_g g."""
    m, v = blend(b1, m, g), blend(b2, v, g * g)
    return over_root(of_m * m + of_g * g, times(of_v, v), eps, eps_root), m, v


def amsgrad_kernel(
    g: Any, m: Any, v: Any, top: Any, *, b1: Any, b2: Any, of_m: Any, of_v: Any, eps: Any, eps_root: Any
) -> tuple[Any, ...]:
    """AMSGrad: g gradient, m and v moments, top the largest v^.

    m^ = of_m m' and v^ = of_v v'.
    """
    m, v = blend(b1, m, g), blend(b2, v, g * g)
    top = jnp.maximum(top, times(of_v, v))
    return over_root(times(of_m, m), top, eps, eps_root), m, v, top


def lp_kernel(
    g: Any, m: Any, r: Any, *, p: float, b1: Any, b2: Any, of_m: Any, of_g: Any, of_r: Any, eps: Any
) -> tuple[Any, ...]:
    """Adam in the L^p norm: g gradient, m moment, r norm.

    m^ = of_m m', and r' is the p-norm of (b2 r, of_g g).
    """
    m, r = blend(b1, m, g), p_norm(b2 * r, of_g * jnp.abs(g), p)
    return _quotient(of_m * m, of_r * r + eps, eps), m, r


def adamax_kernel(g: Any, m: Any, r: Any, *, b1: Any, b2: Any, of_m: Any, eps: Any) -> tuple[Any, ...]:
    """Adamax: g gradient, m moment, r decayed maximum; m^ = of_m m'."""
    m, r = blend(b1, m, g), jnp.maximum(b2 * r, jnp.abs(g) + eps)
    return _quotient(of_m * m, r, eps), m, r


def lion_kernel(g: Any, m: Any, *, b1: Any, b2: Any) -> tuple[Any, ...]:
    """Lion: g gradient, m moment.

    b2 (b1 m + (1 - b1) g) = b1 m' + (b2 - b1) g, which for 0 < b1 <= b2 has the sign of the mean and loses no digits.
    Read from m' the update leaves m to be overwritten; read from m, a compiler copies m first.
    """
    after = blend(b2, m, g)
    if isinstance(b1, float) and isinstance(b2, float) and 0.0 < b1 <= b2:
        return jnp.sign(b1 * after + (b2 - b1) * g), after
    return jnp.sign(blend(b1, m, g)), after


def p_norm(a: jax.Array, b: jax.Array, p: float) -> jax.Array:
    """Return (a^p + b^p)^(1/p) for a, b >= 0, the maximum for infinite p.

    No power a^p is formed, which could overflow.
    """
    large = jnp.maximum(a, b)
    if math.isinf(p):
        return large
    ratio = jnp.minimum(a, b) / jnp.where(large == 0.0, 1.0, large)
    return large * jnp.exp(jnp.log1p(ratio**p) / p)


@transformation
def scale_by_adam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
    *,
    bias_correction: bool = True,
    nesterov: bool = False,
) -> Transformation:
    """Divide the mean of gradients by the root of that of squares: Adam, Nadam.

    Both means are exponentially decayed.

    u = m^ / (sqrt(v^ + eps_root) + eps), with v^ = v' / (1 - b2^t) and

        m^ = m' / (1 - b1^t)                                                  Adam
        m^ = b1 m' / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)                 Nadam

    and without the denominators if there is no bias correction.

    Note: with eps = eps_root = 0 an entry all of whose gradients have been zero stays where it is. To differentiate
    through the update where v^ = 0, take eps_root > 0, or both 0.

    Args:
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the mean of squared gradients, in [0, 1).
      eps: the small number outside the square root, >= 0.
      eps_root: the small number inside the square root, >= 0.
      mu_dtype: floating dtype in which m is stored; None: the parameters' own.
      nu_dtype: floating dtype in which v is stored; None: the parameters' own.
      bias_correction: whether to correct both means for their start at zero.
      nesterov: whether to take Nadam's mean.

    Returns:
      A transformation with a `ScaleByAdamState`.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if a dtype is not floating.

    Reference:
      Kingma and Ba (2015), Adam: a method for stochastic optimization, Algorithm 1, arXiv:1412.6980.
      Dozat (2016), Incorporating Nesterov momentum into Adam, Algorithm 2, ICLR workshop.
    """
    name = "scale_by_adam"
    check_decays(name, b1=b1, b2=b2)
    check_small(name, eps=eps, eps_root=eps_root)
    mu_dtype, nu_dtype = _dtypes(name, mu_dtype, nu_dtype)
    validate.flag(name, "bias_correction", bias_correction)
    kernel = nadam_kernel if validate.flag(name, "nesterov", nesterov) else adam_kernel

    def update(updates: Updates, state: ScaleByAdamState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        t = optax.safe_increment(state.count)
        dtype = tree.scalar_dtype((updates, state.mu, state.nu))
        b = number(b1, dtype)
        of_m, of_v = _correction(b, t, dtype, bias_correction), _correction(b2, t, dtype, bias_correction)
        weights = {"of_m": of_m, "of_v": of_v}
        if nesterov:
            of_next = _correction(b, optax.safe_increment(t), dtype, bias_correction)
            weights = {"of_m": b * of_next, "of_g": (1.0 - b) * of_m, "of_v": of_v}
        settings = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
        u, mu, nu = leafwise(name, kernel, updates, state.mu, state.nu, **settings, **weights)
        return u, ScaleByAdamState(t, mu, nu)

    return Transformation(_init(mu_dtype, nu_dtype), update)


@transformation
def scale_by_amsgrad(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the mean of gradients by the largest root mean square: AMSGrad.

    Both means are exponentially decayed.

    u = m^ / (sqrt(v_max' + eps_root) + eps) with v_max' = max(v_max, v^): the rate of an entry never grows.

    Args:
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the mean of squared gradients, in [0, 1).
      eps: the small number outside the square root, >= 0.
      eps_root: the small number inside the square root, >= 0.
      mu_dtype: floating dtype in which m is stored; None: the parameters' own.
      bias_correction_mu: whether m^ = m' / (1 - b1^t) or m^ = m', as in the paper.
      bias_correction_nu: whether v^ = v' / (1 - b2^t) or v^ = v', as in the paper.
      nu_dtype: floating dtype in which v and v_max are stored; None: the parameters' own.

    Returns:
      A transformation with a `ScaleByAmsgradState`.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if a dtype is not floating.

    Reference:
      Reddi, Kale and Kumar (2018), On the convergence of Adam and beyond, Algorithm 2, arXiv:1904.09237.
    """
    name = "scale_by_amsgrad"
    check_decays(name, b1=b1, b2=b2)
    check_small(name, eps=eps, eps_root=eps_root)
    mu_dtype, nu_dtype = _dtypes(name, mu_dtype, nu_dtype)
    validate.flag(name, "bias_correction_mu", bias_correction_mu)
    validate.flag(name, "bias_correction_nu", bias_correction_nu)

    def init(params: Params) -> ScaleByAmsgradState:
        adam = _init(mu_dtype, nu_dtype)(params)
        return ScaleByAmsgradState(*adam, nu_max=tree.zeros_like(params, nu_dtype))

    def update(updates: Updates, state: ScaleByAmsgradState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        t = optax.safe_increment(state.count)
        dtype = tree.scalar_dtype((updates, state.mu, state.nu))
        of_m, of_v = _correction(b1, t, dtype, bias_correction_mu), _correction(b2, t, dtype, bias_correction_nu)
        settings = {"b1": b1, "b2": b2, "of_m": of_m, "of_v": of_v, "eps": eps, "eps_root": eps_root}
        u, *moments = leafwise(name, amsgrad_kernel, updates, state.mu, state.nu, state.nu_max, **settings)
        return u, ScaleByAmsgradState(t, *moments)

    return Transformation(init, update)


@transformation
def scale_by_lp_adam(
    p: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the decayed mean of gradients by their decayed L^p norm.

    This is the family from Adam to Adamax.

    u = m^ / (r^ + eps), with r the decayed norm of the gradients so far,

        r'^p = b2^p r^p + (1 - b2^p) |g|^p,    r^ = r' / (1 - b2^(p t))^(1/p)

    p = 2 is `scale_by_adam` with b2^2 as its b2; p = infinity is Adamax with eps in the denominator. The power r^p,
    which the usual form stores, overflows in float32 where p log|g| > 88.7 (|g| = 100 and p = 20, say), and underflows
    for small gradients; r itself, which is stored here, has the size of a gradient for every p.

    Args:
      p: order of the norm, a Python number in [1, infinity].
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the norm, in [0, 1).
      eps: the small number in the denominator, >= 0.
      mu_dtype: floating dtype in which m is stored; None: the parameters' own.
      nu_dtype: floating dtype in which r is stored; None: the parameters' own.

    Returns:
      A transformation with a `ScaleByAdamState`, whose `nu` is r.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if a dtype is not floating.

    Reference:
      Kingma and Ba (2015), Adam: a method for stochastic optimization, section 7.1, arXiv:1412.6980.
    """
    name = "scale_by_lp_adam"
    p = float(validate.number(name, "p", p, low=1.0))
    check_decays(name, b1=b1, b2=b2)
    check_small(name, eps=eps)
    mu_dtype, nu_dtype = _dtypes(name, mu_dtype, nu_dtype)

    def update(updates: Updates, state: ScaleByAdamState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        t = optax.safe_increment(state.count)
        dtype = tree.scalar_dtype((updates, state.mu, state.nu))
        of_g = one_minus_power(b2, p, dtype) ** (1.0 / p)
        of_r = one_minus_power(b2, p * jnp.asarray(t).astype(dtype), dtype) ** (-1.0 / p)
        settings = {
            "p": p,
            "b1": b1,
            "b2": b2,
            "of_m": _correction(b1, t, dtype),
            "of_g": of_g,
            "of_r": of_r,
            "eps": eps,
        }
        u, mu, nu = leafwise(name, lp_kernel, updates, state.mu, state.nu, **settings)
        return u, ScaleByAdamState(t, mu, nu)

    return Transformation(_init(mu_dtype, nu_dtype), update)


@transformation
def scale_by_adamax(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, mu_dtype: Any = None, nu_dtype: Any = None
) -> Transformation:
    """Divide the decayed mean of gradients by their decayed maximum: Adamax.

    u = m^ / r' with r' = max(b2 r, |g| + eps), which needs no correction.

    Note: with eps = 0 an entry all of whose gradients have been zero stays where it is.

    Args:
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the maximum, in [0, 1).
      eps: the small number, >= 0.
      mu_dtype: floating dtype in which m is stored; None: the parameters' own.
      nu_dtype: floating dtype in which r is stored; None: the parameters' own.

    Returns:
      A transformation with a `ScaleByAdamState`, whose `nu` is r.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if a dtype is not floating.

    Reference:
      Kingma and Ba (2015), Adam: a method for stochastic optimization, Algorithm 2, arXiv:1412.6980.
    """
    name = "scale_by_adamax"
    check_decays(name, b1=b1, b2=b2)
    check_small(name, eps=eps)
    mu_dtype, nu_dtype = _dtypes(name, mu_dtype, nu_dtype)

    def update(updates: Updates, state: ScaleByAdamState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        t = optax.safe_increment(state.count)
        of_m = _correction(b1, t, tree.scalar_dtype((updates, state.mu, state.nu)))
        settings = {"b1": b1, "b2": b2, "of_m": of_m, "eps": eps}
        u, mu, nu = leafwise(name, adamax_kernel, updates, state.mu, state.nu, **settings)
        return u, ScaleByAdamState(t, mu, nu)

    return Transformation(_init(mu_dtype, nu_dtype), update)


@transformation
def scale_by_lion(b1: float = 0.9, b2: float = 0.99, mu_dtype: Any = None) -> Transformation:
    """Take the sign of a mean of gradients that leans to the newest: Lion.

    u = sign(b1 m + (1 - b1) g), then m' = b2 m + (1 - b2) g.

    Args:
      b1: weight of the past in the direction, in [0, 1).
      b2: weight of the past in the mean that is kept, in [0, 1).
      mu_dtype: floating dtype in which m is stored; None: the parameters' own.

    Returns:
      A transformation with a `ScaleByLionState`.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if the dtype is not floating.

    Reference:
      Chen et al. (2023), Symbolic discovery of optimization algorithms, Algorithm 2, arXiv:2302.06675.
    """
    name = "scale_by_lion"
    check_decays(name, b1=b1, b2=b2)
    mu_dtype = validate.floating_dtype(name, "mu_dtype", mu_dtype)

    def init(params: Params) -> ScaleByLionState:
        return ScaleByLionState(tree.zeros_like(params, mu_dtype))

    def update(updates: Updates, state: ScaleByLionState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        u, mu = leafwise(name, lion_kernel, updates, state.mu, b1=b1, b2=b2)
        return u, ScaleByLionState(mu)

    return Transformation(init, update)


def _init(mu_dtype: Any, nu_dtype: Any) -> Any:
    """Return the init of the transformations whose state is `ScaleByAdamState`."""

    def init(params: Params) -> ScaleByAdamState:
        count = jnp.zeros((), jnp.int32)
        return ScaleByAdamState(count, tree.zeros_like(params, mu_dtype), tree.zeros_like(params, nu_dtype))

    return init


def _dtypes(function: str, mu_dtype: Any, nu_dtype: Any) -> tuple[Any, Any]:
    check = validate.floating_dtype
    return check(function, "mu_dtype", mu_dtype), check(function, "nu_dtype", nu_dtype)


def _correction(decay: Any, t: Any, dtype: Any, asked: bool = True) -> Any:
    """Return 1 / (1 - decay^t), the factor that makes a decayed mean one of weight 1; or 1 if not asked for."""
    return 1.0 / one_minus_power(decay, t, dtype) if asked else 1.0


def _quotient(numerator: jax.Array, denominator: jax.Array, eps: Any) -> jax.Array:
    """Return the quotient, with 0/0 = 0 where `eps`, a part of the denominator, is the number 0."""
    if not is_zero(eps):
        return numerator / denominator
    zero = denominator == 0.0
    return jnp.where(zero, 0.0, numerator / jnp.where(zero, 1.0, denominator))

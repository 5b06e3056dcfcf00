# SPDX-License-Identifier: Apache-2.0
"""The named first-order methods, each a chain of a few transformations.

    sgd, momentum, nesterov     [trace ->] rate
    adagrad                     scale_by_rss -> rate
    rmsprop                     scale_by_rms or scale_by_stddev -> rate [-> trace]
    adam, nadam, adamax, ...    scale_by_adam (or its relative) -> rate
    adamw, nadamw, lion         scale_by_... -> add_decayed_weights -> rate
    adadelta                    add_decayed_weights -> scale_by_adadelta -> rate

where rate is `scale_by_learning_rate`, which makes a descent step of a gradient. What leaves such a chain is added to
the parameters, with `optax.apply_updates`. Signatures and defaults are optax's where optax has the recipe; arguments
that only jopt has follow by keyword. Every setting is explained with the transformation that takes it.

Wherever there is a `learning_rate`, it is a number >= 0 or a function from the number of updates so far (from 0) to
one; the rate last used stands in the state.
"""

from __future__ import annotations

from typing import Any

from jopt import validate
from jopt.combinators.chaining import chain
from jopt.transforms.adam import (
    scale_by_adam,
    scale_by_adamax,
    scale_by_amsgrad,
    scale_by_lion,
)
from jopt.transforms.adaptive import scale_by_adadelta, scale_by_rms, scale_by_rss, scale_by_stddev
from jopt.transforms.checked import transformation
from jopt.transforms.elementary import identity, scale_by_learning_rate
from jopt.transforms.momentum import trace
from jopt.transforms.weight_decay import add_decayed_weights
from jopt.types import ScalarOrSchedule, Transformation

ZEILER_RATE = 1.0
"""The rate of Adadelta, whose steps need none: Zeiler (2012), Algorithm 1, arXiv:1212.5701."""


@transformation
def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: float | None = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
) -> Transformation:
    """Step along the negative gradient, with momentum if asked for.

    Args:
      learning_rate: a number >= 0, or a schedule.
      momentum: weight of the past in the velocity, in [0, 1); None: no velocity is kept.
      nesterov: whether the velocity looks one step ahead (see `trace`).
      accumulator_dtype: floating dtype in which the velocity is stored; None: the parameters' own.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Robbins and Monro (1951), A stochastic approximation method, doi:10.1214/aoms/1177729586.
    """
    validate.flag("sgd", "nesterov", nesterov)
    validate.floating_dtype("sgd", "accumulator_dtype", accumulator_dtype)
    velocity = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return chain(velocity, scale_by_learning_rate(learning_rate))


@transformation
def momentum(learning_rate: ScalarOrSchedule, decay: float = 0.9, accumulator_dtype: Any = None) -> Transformation:
    """Step along a decaying sum of gradients: the heavy ball, `sgd` with momentum.

    Args:
      learning_rate: a number >= 0, or a schedule.
      decay: weight of the past in the velocity, in [0, 1).
      accumulator_dtype: floating dtype in which the velocity is stored; None: the parameters' own.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Polyak (1964), Some methods of speeding up the convergence of iteration methods,
      doi:10.1016/0041-5553(64)90137-5.
    """
    return chain(trace(decay, False, accumulator_dtype), scale_by_learning_rate(learning_rate))


@transformation
def nesterov(learning_rate: ScalarOrSchedule, decay: float = 0.9, accumulator_dtype: Any = None) -> Transformation:
    """Step along a decaying sum of gradients that looks one step ahead.

    This is Nesterov's method in the shifted variable, `sgd` with `nesterov=True`; `shifted_momentum` is the form with
    the shifted gradient.

    Args:
      learning_rate: a number >= 0, or a schedule.
      decay: weight of the past in the velocity, in [0, 1).
      accumulator_dtype: floating dtype in which the velocity is stored; None: the parameters' own.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Sutskever et al. (2013), On the importance of initialization and momentum in deep learning, section 3, ICML.
    """
    return chain(trace(decay, True, accumulator_dtype), scale_by_learning_rate(learning_rate))


@transformation
def adagrad(
    learning_rate: ScalarOrSchedule, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> Transformation:
    """Divide by the root of the sum of all squared gradients (`scale_by_rss`).

    Args:
      learning_rate: a number >= 0, or a schedule.
      initial_accumulator_value: the sum before the first update, >= 0.
      eps: the small number inside the square root, >= 0.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Duchi, Hazan and Singer (2011), Adaptive subgradient methods for online learning and stochastic optimization,
      Figure 1, JMLR 12.
    """
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))


@transformation
def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: float | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Transformation:
    """Divide by the decayed root mean square of gradients (`scale_by_rms`).

    The momentum follows the learning rate: v' = momentum v - rate g / sqrt(...), and v' is added to the parameters.

    Args:
      learning_rate: a number >= 0, or a schedule.
      decay: weight of the past in the mean, in [0, 1).
      eps: the small number, >= 0.
      initial_scale: the mean before the first update, >= 0.
      eps_in_sqrt: whether `eps` stands inside the square root or outside.
      centered: whether to take the variance in the place of the mean square (`scale_by_stddev`).
      momentum: weight of the past in the velocity, in [0, 1); None: no velocity is kept.
      nesterov: whether the velocity looks one step ahead (see `trace`).
      bias_correction: whether to correct the mean for its start.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Tieleman and Hinton (2012), Neural networks for machine learning, lecture 6.5.
      Graves (2013), Generating sequences with recurrent neural networks, equations 38-40, arXiv:1308.0850.
    """
    validate.flag("rmsprop", "nesterov", nesterov)
    scaling = scale_by_stddev if validate.flag("rmsprop", "centered", centered) else scale_by_rms
    return chain(
        scaling(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum, nesterov),
    )


@transformation
def adam(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
) -> Transformation:
    """Divide the mean of gradients by their root mean square (`scale_by_adam`).

    Args:
      learning_rate: a number >= 0, or a schedule.
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the mean of squared gradients, in [0, 1).
      eps: the small number outside the square root, >= 0.
      eps_root: the small number inside the square root, >= 0.
      mu_dtype: floating dtype in which the first mean is stored; None: the parameters' own.
      nesterov: whether to take Nadam's mean.
      nu_dtype: floating dtype in which the second mean is stored; None: the parameters' own.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Kingma and Ba (2015), Adam: a method for stochastic optimization, Algorithm 1, arXiv:1412.6980.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def nadam(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    nu_dtype: Any = None,
) -> Transformation:
    """Take `adam` with Nesterov momentum.

    Args:
      learning_rate: a number >= 0, or a schedule.
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the mean of squared gradients, in [0, 1).
      eps: the small number outside the square root, >= 0.
      eps_root: the small number inside the square root, >= 0.
      mu_dtype: floating dtype in which the first mean is stored; None: the parameters' own.
      nesterov: whether to take Nadam's mean.
      nu_dtype: floating dtype in which the second mean is stored; None: the parameters' own.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Dozat (2016), Incorporating Nesterov momentum into Adam, Algorithm 2, ICLR workshop.
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype)


@transformation
def adamw(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
) -> Transformation:
    """Take `adam` with weight decay that its denominators do not touch.

    Args:
      learning_rate: a number >= 0, or a schedule.
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the mean of squared gradients, in [0, 1).
      eps: the small number outside the square root, >= 0.
      eps_root: the small number inside the square root, >= 0.
      mu_dtype: floating dtype in which the first mean is stored; None: the parameters' own.
      weight_decay: a number >= 0, or a schedule; the decay of one update is this times the rate.
      mask: which leaves decay (see `add_decayed_weights`); None: all.
      nesterov: whether to take Nadam's mean.
      nu_dtype: floating dtype in which the second mean is stored; None: the parameters' own.

    Returns:
      A transformation whose `update` needs `params`.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Loshchilov and Hutter (2019), Decoupled weight decay regularization, Algorithm 2, arXiv:1711.05101.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = True,
    nu_dtype: Any = None,
) -> Transformation:
    """Take `adamw` with Nesterov momentum.

    Args:
      learning_rate: a number >= 0, or a schedule.
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the mean of squared gradients, in [0, 1).
      eps: the small number outside the square root, >= 0.
      eps_root: the small number inside the square root, >= 0.
      mu_dtype: floating dtype in which the first mean is stored; None: the parameters' own.
      weight_decay: a number >= 0, or a schedule; the decay of one update is this times the rate.
      mask: which leaves decay (see `add_decayed_weights`); None: all.
      nesterov: whether to take Nadam's mean.
      nu_dtype: floating dtype in which the second mean is stored; None: the parameters' own.

    Returns:
      A transformation whose `update` needs `params`.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Dozat (2016), Incorporating Nesterov momentum into Adam, Algorithm 2, ICLR workshop.
      Loshchilov and Hutter (2019), Decoupled weight decay regularization, Algorithm 2, arXiv:1711.05101.
    """
    return adamw(
        learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov, nu_dtype=nu_dtype
    )


@transformation
def amsgrad(
    learning_rate: ScalarOrSchedule,
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
    """Take Adam with denominators that never shrink (`scale_by_amsgrad`).

    Args:
      learning_rate: a number >= 0, or a schedule.
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the mean of squared gradients, in [0, 1).
      eps: the small number outside the square root, >= 0.
      eps_root: the small number inside the square root, >= 0.
      mu_dtype: floating dtype in which the first mean is stored; None: the parameters' own.
      bias_correction_mu: whether to correct the first mean for its start.
      bias_correction_nu: whether to correct the second mean for its start, before the maximum.
      nu_dtype: floating dtype in which the second mean and its maximum are stored; None: the parameters' own.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Reddi, Kale and Kumar (2018), On the convergence of Adam and beyond, Algorithm 2, arXiv:1904.09237.
    """
    settings = (b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu)
    return chain(scale_by_amsgrad(*settings, nu_dtype=nu_dtype), scale_by_learning_rate(learning_rate))


@transformation
def adamax(learning_rate: ScalarOrSchedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Transformation:
    """Divide the mean of gradients by their decayed maximum (`scale_by_adamax`).

    Args:
      learning_rate: a number >= 0, or a schedule.
      b1: weight of the past in the mean of gradients, in [0, 1).
      b2: weight of the past in the maximum, in [0, 1).
      eps: the small number, >= 0.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Kingma and Ba (2015), Adam: a method for stochastic optimization, Algorithm 2, arXiv:1412.6980.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@transformation
def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Any = None,
) -> Transformation:
    """Multiply by the ratio of past updates to gradients (`scale_by_adadelta`).

    The weight decay is added to the gradient, before the scaling.

    Args:
      learning_rate: a number >= 0, or a schedule; None: `ZEILER_RATE`, a descent step as for any number.
      rho: weight of the past in both means, in [0, 1).
      eps: the small number, > 0.
      weight_decay: a number >= 0, or a schedule.
      weight_decay_mask: which leaves decay (see `add_decayed_weights`); None: all.

    Returns:
      A transformation whose `update` needs `params`.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Zeiler (2012), ADADELTA: an adaptive learning rate method, Algorithm 1, arXiv:1212.5701.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(ZEILER_RATE if learning_rate is None else learning_rate),
    )


@transformation
def lion(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.99,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule = 1e-3,
    mask: Any = None,
) -> Transformation:
    """Step by the sign of a mean of gradients (`scale_by_lion`), with decay.

    Args:
      learning_rate: a number >= 0, or a schedule; the size of every entry of the step.
      b1: weight of the past in the direction, in [0, 1).
      b2: weight of the past in the mean that is kept, in [0, 1).
      mu_dtype: floating dtype in which the mean is stored; None: the parameters' own.
      weight_decay: a number >= 0, or a schedule; the decay of one update is this times the rate.
      mask: which leaves decay (see `add_decayed_weights`); None: all.

    Returns:
      A transformation whose `update` needs `params`.

    Raises:
      ValueError: if a number is out of its range.

    Reference:
      Chen et al. (2023), Symbolic discovery of optimization algorithms, Algorithm 2, arXiv:2302.06675.
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate)
    )

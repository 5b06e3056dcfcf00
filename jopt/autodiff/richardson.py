# SPDX-License-Identifier: Apache-2.0
r"""Derivatives from values alone, with their errors: the arithmetic, in float64 on the host.

Given phi(t) = f(x + t v) at t = 0 and +-h_k, h_0 > h_1 > ..., the centred difference

    D_k0 = (phi(h_k) - phi(-h_k)) / (2 h_k) = phi'(0) + phi'''(0) h_k^2 / 6 + ...

errs by truncation, which falls with h, and by round-off, noise / h, which grows. Its best single step balances the two,
at h of order eps^(1/3) and an error of order eps^(2/3). Richardson's extrapolation cancels the even powers of h one by one,

    D_kl = D_k,l-1 + (D_k,l-1 - D_k-1,l-1) / ((h_k-l / h_k)^2 - 1),

so that larger steps serve, with less round-off. Each entry of this tableau carries two estimates: of truncation (Ridders:
the larger of its distances from the two entries that it was made of), and of round-off, the bound on the noise of the
values carried through the same formula.

The entry of least sum is the best of those made of steps at which f is smooth. Which are they? Steps beyond a kink, or
beyond the period of an oscillation, can agree among themselves and be wrong. So the best entry is found anew for every
largest step h_k, and the answer is the one with the largest h_k that agrees, within the sum of both errors, with each one
of smaller h_k (Lepskii's rule).

At a kink at x itself the two one-sided differences keep their distance, J = (phi(h) + phi(-h) - 2 phi(0)) / h, while for a
differentiable function J vanishes with h: a kink is where J stays, down to the smallest h at which noise would let it show.
Noise larger than measured makes jumps too, but of any sign and growing as 1 / h.

References: Richardson (1911), The approximate arithmetical solution by finite differences, doi:10.1098/rsta.1911.0009;
Ridders (1982), Accurate computation of F'(x) and F'(x) F''(x), Adv. Eng. Softw. 4(2),
doi:10.1016/S0141-1195(82)80057-0; Lepskii (1991), On a problem of adaptive estimation in Gaussian white noise,
doi:10.1137/1135065; Moré and Wild (2011), Estimating computational noise, doi:10.1137/100786125.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

# Bound on the noise of a value, in standard deviations.
DEVIATIONS = 4.0
# A jump of slope counts if it is so many times the noise of its own difference.
VISIBLE = 8.0
# The jump of a kink stays from step to step; that of |t|^p, 1 < p, falls as h^(p - 1), that of a smooth function as h.
STAYS = 0.75
# It keeps its sign and grows by less than this from step to step, that of |t|^p, 1/3 < p < 1, by 8^(1 - p); noise by about 8.
GROWS = 4.0
# Third differences of independent noise have this many times its standard deviation: 1 + 9 + 9 + 1 under the root.
_THIRD = math.sqrt(20.0)
# Half of normally distributed numbers are smaller than this many standard deviations.
_MEDIAN = 0.6745


class Estimates(NamedTuple):
    """What values along `d` lines tell about the derivative; all fields of shape (d,).

    Attributes:
      centred: the centred difference at the step asked for; NaN where it could not be formed.
      centred_error: its estimated error.
      derivative: the extrapolated derivative; NaN where no two steps gave finite values.
      error: its estimated error.
      kink: whether the one-sided derivatives at 0 differ.
      left: the one-sided difference from below at the step that decided about the kink.
      right: the one from above.
      slack: bound on the error of these two.
      reach: that step: a kink nearer than it looks the same.
    """

    centred: np.ndarray
    centred_error: np.ndarray
    derivative: np.ndarray
    error: np.ndarray
    kink: np.ndarray
    left: np.ndarray
    right: np.ndarray
    slack: np.ndarray
    reach: np.ndarray


class Line(NamedTuple):
    """Values along d lines at K pairs of steps, from the largest to the smallest.

    Attributes:
      plus: phi(h_k), shape (d, K).
      minus: phi(-h_k), shape (d, K).
      centre: phi(0), shape (d,).
      up: the distance gone to the first, shape (d, K); where it is not positive the pair is left out.
      down: that to the second, likewise.
    """

    plus: np.ndarray
    minus: np.ndarray
    centre: np.ndarray
    up: np.ndarray
    down: np.ndarray


def noise_level(values: np.ndarray, eps: float) -> np.ndarray:
    """Return bounds on the random part of m functions, from rows of equally spaced values that are close together.

    Third differences of a smooth function at so small a distance vanish and leave the noise. Their median, instead of
    their mean square, is hardly moved by a kink among the points. Noise does not depend on the spacing, what is left of a
    smooth function or a kink grows with it, and at a small one rounding errors repeat: so the middle one of several
    spacings counts, without those that are so small that most values are equal.

    Args:
      values: shape (rows, spacings, points, m), points >= 7; what is not finite says nothing of its function.
      eps: the machine epsilon of the values.

    Returns:
      The largest of the rows' estimates, at least eps times the largest value; shape (m,), zero where no value is finite.

    Reference: Moré and Wild (2011), section 2, with the median for the mean.

    Example:
      >>> import numpy as np
      >>> level = noise_level(1e-3 * np.random.default_rng(0).standard_normal((1, 1, 99, 1)), 1e-16)
      >>> bool(2e-3 < level[0] < 8e-3)
      True
    """
    values = np.where(np.isfinite(values).all(axis=2, keepdims=True), values, 0.0)
    deviations = np.median(np.abs(np.diff(values, 3, axis=2)), axis=2) / (_MEDIAN * _THIRD)
    counted = np.sort(np.where(deviations > 0, deviations, np.inf), axis=1)
    middle = np.isfinite(counted).sum(axis=1, keepdims=True) // 2
    middle = np.take_along_axis(counted, np.minimum(middle, counted.shape[1] - 1), axis=1)[:, 0]
    largest = np.where(np.isfinite(middle), middle, 0.0).max(axis=0)
    return np.maximum(DEVIATIONS * largest, eps * np.abs(values).max(axis=(0, 1, 2)))


def estimates(line: Line, noise: np.ndarray | float, eps: float, pick: int) -> Estimates:
    """Return the derivatives at 0 along lines, with their errors.

    Args:
      line: the values.
      noise: bound on the noise of phi near 0, shape () or (d,).
      eps: the machine epsilon of the values; their noise is at least eps |phi|.
      pick: which step the plain centred difference takes, in [1, K).

    Example:
      >>> import numpy as np
      >>> h = 2.0 ** -np.arange(3.0, 30.0, 3.0)[None]
      >>> line = Line(np.exp(h), np.exp(-h), np.ones(1), h, h)
      >>> at = estimates(line, 1e-16, 2.2e-16, 5)
      >>> bool(abs(at.derivative[0] - 1) < at.error[0] < 1e-11), bool(at.kink[0])
      (True, False)
    """
    usable = np.isfinite(line.plus) & np.isfinite(line.minus) & (line.up > 0) & (line.down > 0)
    with np.errstate(all="ignore"):
        h = np.where(usable, (line.up + line.down) / 2, np.nan)
        largest = np.maximum(np.maximum(np.abs(line.plus), np.abs(line.minus)), np.abs(line.centre)[:, None])
        level = np.maximum(np.broadcast_to(noise, line.centre.shape)[:, None], eps * largest)
        difference, rounding = (line.plus - line.minus) / (2 * h), level / h
        derivative, error = _chosen(*_tableau(difference, rounding, h))
        ratio = (h[:, pick - 1] / h[:, pick]) ** 2
        truncation = np.abs(difference[:, pick] - difference[:, pick - 1]) / (ratio - 1)
        return Estimates(
            difference[:, pick], rounding[:, pick] + truncation, derivative, error, *_kinks(line, level, usable)
        )


def _tableau(difference: np.ndarray, rounding: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the extrapolated values and their errors, of shape (d, K, K).

    Entry [:, k, l] is made of the steps k - l to k; where there is none, or no error estimate (l = 0), the error is infinite.
    """
    d, count = h.shape
    values, round_off = np.full((d, count, count), np.nan), np.full((d, count, count), np.nan)
    errors = np.full((d, count, count), np.inf)
    values[:, :, 0], round_off[:, :, 0] = difference, rounding
    for k in range(1, count):
        for column in range(1, k + 1):
            ratio = (h[:, k - column] / h[:, k]) ** 2
            new, old = values[:, k, column - 1], values[:, k - 1, column - 1]
            values[:, k, column] = value = new + (new - old) / (ratio - 1)
            round_off[:, k, column] = (ratio * round_off[:, k, column - 1] + round_off[:, k - 1, column - 1]) / (
                ratio - 1
            )
            total = np.maximum(np.abs(value - new), np.abs(value - old)) + round_off[:, k, column]
            errors[:, k, column] = np.where(np.isfinite(total), total, np.inf)
    return values, errors


def _chosen(values: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best entry of the tableau by Lepskii's rule, and its error; NaN and infinity where there is none."""
    d, count, _ = values.shape
    first = np.subtract.outer(np.arange(count), np.arange(count))  # the largest step that entry (k, l) was made of
    flat = values.reshape(d, -1)
    best, bound = np.full((count, d), np.nan), np.full((count, d), np.inf)
    for k in range(count):
        allowed = np.where(first >= k, errors, np.inf).reshape(d, -1)
        at = allowed.argmin(axis=1)
        bound[k] = allowed[np.arange(d), at]
        best[k] = np.where(np.isfinite(bound[k]), flat[np.arange(d), at], np.nan)
    value, error = np.full(d, np.nan), np.full(d, np.inf)
    for k in reversed(range(count)):
        apart = np.abs(best[k] - best[k + 1 :]) > bound[k] + bound[k + 1 :]
        good = np.isfinite(bound[k]) & ~apart.any(axis=0)
        value, error = np.where(good, best[k], value), np.where(good, bound[k], error)
    return value, error


def _kinks(
    line: Line, level: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return whether there is a kink at 0, and the one-sided differences that say so with their error bound."""
    centre = line.centre[:, None]
    right, left = (line.plus - centre) / line.up, (centre - line.minus) / line.down
    signed = np.where(usable, right - left, 0.0)
    jump = np.abs(signed)
    slack = np.where(usable, 2 * level / np.minimum(line.up, line.down), np.inf)
    d, count = jump.shape
    rows = np.arange(d)
    seen = jump > VISIBLE * slack
    last = np.where(seen.any(axis=1), count - 1 - seen[:, ::-1].argmax(axis=1), 0)
    before, earlier = np.maximum(last - 1, 0), np.maximum(last - 2, 0)
    stays = np.ones(d, bool)
    for small, large in ((last, before), (before, earlier)):
        quotient = signed[rows, small] / signed[rows, large]
        stays &= (quotient >= STAYS) & (quotient <= GROWS)
    smaller = np.arange(count) > last[:, None]
    vanished = (smaller & (STAYS * jump[rows, last][:, None] > VISIBLE * slack)).any(axis=1)
    kink = seen[rows, last] & seen[rows, earlier] & (last >= 2) & stays & ~vanished
    bound = slack[rows, last] + (1 - STAYS) * jump[rows, last]
    return kink, left[rows, last], right[rows, last], bound, line.up[rows, last]

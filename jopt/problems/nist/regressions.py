# SPDX-License-Identifier: Apache-2.0
"""Nine fits with certified answers, two starts each: the first far from the answer, the second near it.

    r(b) = model(b, x) - y,   b the parameters, (x, y) the observations

The values certified by NIST were computed in multiple precision and are given with eleven digits. At the certified
parameters the sum of squares of each file's data is the certified one to ten digits, which is how the data, the starts'
problems and the certified values have been checked against each other.

Source: NIST Statistical Reference Datasets, nonlinear regression (public domain), https://www.itl.nist.gov/div898/strd/nls/
nls_main.shtml; McCullough (1998), Assessing the reliability of statistical software, The American Statistician 52(4),
doi:10.1080/00031305.1998.10480595. The observations agree with those of the CUTEst problems of the same names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import resources
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import validate
from jopt.problems.records import frozen


class Regression(NamedTuple):
    """A fit with what is known of it; the arrays are read-only float64 NumPy arrays.

    Attributes:
      name: NIST's name in lower case.
      model: (b, x) -> y, for b of shape (n,) and x of shape (m,).
      x: predictor, shape (m,).
      y: response, shape (m,).
      starts: the two starts of NIST, each of shape (n,).
      certified: the certified parameters, shape (n,), to eleven digits.
      sum_of_squares: the certified sum of squares, which is twice the cost.
    """

    name: str
    model: Callable[[jax.Array, jax.Array], jax.Array]
    x: np.ndarray
    y: np.ndarray
    starts: tuple[np.ndarray, np.ndarray]
    certified: np.ndarray
    sum_of_squares: float

    def residual(self, b: Any) -> jax.Array:
        """Return model(b, x) - y, shape (m,), in the dtype of b."""
        b = jnp.asarray(b)
        return self.model(b, jnp.asarray(self.x, b.dtype)) - jnp.asarray(self.y, b.dtype)


class _Entry(NamedTuple):
    model: Callable[[jax.Array, jax.Array], jax.Array]
    starts: tuple[tuple[float, ...], tuple[float, ...]]
    certified: tuple[float, ...]
    sum_of_squares: float


def _saturation(b: jax.Array, x: jax.Array) -> jax.Array:
    return b[0] * -jnp.expm1(-b[1] * x)


def _chwirut(b: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.exp(-b[0] * x) / (b[1] + b[2] * x)


def _three_decays(b: jax.Array, x: jax.Array) -> jax.Array:
    return b[0] * jnp.exp(-b[1] * x) + b[2] * jnp.exp(-b[3] * x) + b[4] * jnp.exp(-b[5] * x)


def _two_peaks(b: jax.Array, x: jax.Array) -> jax.Array:
    peaks = b[2] * jnp.exp(-(((x - b[3]) / b[4]) ** 2)) + b[5] * jnp.exp(-(((x - b[6]) / b[7]) ** 2))
    return b[0] * jnp.exp(-b[1] * x) + peaks


def _two_decays(b: jax.Array, x: jax.Array) -> jax.Array:
    return b[0] + b[1] * jnp.exp(-x * b[3]) + b[2] * jnp.exp(-x * b[4])


def _growth(b: jax.Array, x: jax.Array) -> jax.Array:
    return b[0] / (1 + jnp.exp(b[1] - b[2] * x)) ** (1 / b[3])


def _cubic_over_cubic(b: jax.Array, x: jax.Array) -> jax.Array:
    return (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / (1 + x * (b[4] + x * (b[5] + x * b[6])))


def _peak(b: jax.Array, x: jax.Array) -> jax.Array:
    return b[0] / b[1] * jnp.exp(-(((x - b[2]) / b[1]) ** 2) / 2)


def _power(b: jax.Array, x: jax.Array) -> jax.Array:
    return b[0] * (b[1] + x) ** (-1 / b[2])


_ENTRIES = {
    "misra1a": _Entry(
        _saturation,
        ((500.0, 0.0001), (250.0, 0.0005)),
        (2.3894212918e02, 5.5015643181e-04),
        1.2455138894e-01,
    ),
    "chwirut2": _Entry(
        _chwirut,
        ((0.1, 0.01, 0.02), (0.15, 0.008, 0.010)),
        (1.6657666537e-01, 5.1653291286e-03, 1.2150007096e-02),
        5.1304802941e02,
    ),
    "lanczos3": _Entry(
        _three_decays,
        ((1.2, 0.3, 5.6, 5.5, 6.5, 7.6), (0.5, 0.7, 3.6, 4.2, 4.0, 6.3)),
        (8.6816414977e-02, 9.5498101505e-01, 8.4400777463e-01, 2.9515951832e00, 1.5825685901e00, 4.9863565084e00),
        1.6117193594e-08,
    ),
    "gauss1": _Entry(
        _two_peaks,
        ((97.0, 0.009, 100.0, 65.0, 20.0, 70.0, 178.0, 16.5), (94.0, 0.0105, 99.0, 63.0, 25.0, 71.0, 180.0, 20.0)),
        (
            9.8778210871e01, 1.0497276517e-02, 1.0048990633e02, 6.7481111276e01,
            2.3129773360e01, 7.1994503004e01, 1.7899805021e02, 1.8389389025e01,
        ),
        1.3158222432e03,
    ),
    "mgh17": _Entry(
        _two_decays,
        ((50.0, 150.0, -100.0, 1.0, 2.0), (0.5, 1.5, -1.0, 0.01, 0.02)),
        (3.7541005211e-01, 1.9358469127e00, -1.4646871366e00, 1.2867534640e-02, 2.2122699662e-02),
        5.4648946975e-05,
    ),
    "rat43": _Entry(
        _growth,
        ((100.0, 10.0, 1.0, 1.0), (700.0, 5.0, 0.75, 1.3)),
        (6.9964151270e02, 5.2771253025e00, 7.5962938329e-01, 1.2792483859e00),
        8.7864049080e03,
    ),
    "hahn1": _Entry(
        _cubic_over_cubic,
        ((10.0, -1.0, 0.05, -1e-5, -0.05, 0.001, -1e-6), (1.0, -0.1, 0.005, -1e-6, -0.005, 1e-4, -1e-7)),
        (
            1.0776351733e00, -1.2269296921e-01, 4.0863750610e-03, -1.4262662514e-06,
            -5.7609940901e-03, 2.4053735503e-04, -1.2314450199e-07,
        ),
        1.5324382854e00,
    ),
    "eckerle4": _Entry(
        _peak,
        ((1.0, 10.0, 500.0), (1.5, 5.0, 450.0)),
        (1.5543827178e00, 4.0888321754e00, 4.5154121844e02),
        1.4635887487e-03,
    ),
    "bennett5": _Entry(
        _power,
        ((-2000.0, 50.0, 0.8), (-1500.0, 45.0, 0.85)),
        (-2.5235058043e03, 4.6736564644e01, 9.3218483193e-01),
        5.2404744073e-04,
    ),
}  # fmt: skip

NAMES = tuple(_ENTRIES)
"""The names that `load` knows."""


@functools.cache
def load(name: str) -> Regression:
    """Return a fit of the collection by name.

    Args:
      name: one of `NAMES`, NIST's name in lower case.

    Raises:
      ValueError: if there is no such fit; the message lists them.

    Example:
      >>> from jopt.problems import nist
      >>> fit = nist.load("misra1a")
      >>> fit.x.shape, fit.certified.shape
      ((14,), (2,))
    """
    entry = _ENTRIES[validate.choice("load", "name", name, NAMES)]
    text = resources.files("jopt.problems.nist").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    data = np.loadtxt(text.splitlines(), delimiter=",", comments="#")
    x, y = (frozen(column) for column in data.T)
    first, second = (frozen(start) for start in entry.starts)
    return Regression(name, entry.model, x, y, (first, second), frozen(entry.certified), entry.sum_of_squares)

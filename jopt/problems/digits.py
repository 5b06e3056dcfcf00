# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits, bundled with scikit-learn (nothing is downloaded), and two problems on them.

1,797 images of 8 x 8 pixels with values 0 to 16, ten classes, about 180 of each: the test part of the data set of the
UCI Machine Learning Repository. scikit-learn is imported when the data are asked for, not before.

Reference: Alpaydin, Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
doi:10.24432/C50P49.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jopt import validate
from jopt.problems.learning import multinomial_regression, two_layer_network
from jopt.problems.records import Problem
from jopt.types import described

CLASSES = 10
"""The digits 0 to 9."""

_DATA = "Alpaydin, Kaynak (1998), Optical Recognition of Handwritten Digits"
_SAMPLES = 1797
_BRIGHTEST = 16.0  # the value of a full pixel in the data set
_TEST = 360  # a fifth of the samples

# Least value of `digits_regression()` with its default settings, by scikit-learn 1.9.1: LogisticRegression(
# C=1/(n l2), solver="newton-cholesky", tol=1e-10), where the gradient is 1e-11.
_DEFAULT = {"l2": 1e-3, "test": _TEST, "split_seed": 0}
_DEFAULT_MINIMUM = 0.264098506554064


class Digits(NamedTuple):
    """The data, split; read-only NumPy arrays.

    Attributes:
      train_images: pixels in [0, 1], shape (1797 - test, 64).
      train_labels: digits, int32, shape (1797 - test,).
      test_images: pixels in [0, 1], shape (test, 64).
      test_labels: digits, int32, shape (test,).
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_digits(*, test: int = _TEST, seed: int = 0, dtype: str = "float32") -> Digits:
    """Return the digits, split at random but always in the same way for the same seed.

    Args:
      test: number of test samples, from 0 to 1796.
      seed: a whole number >= 0, of the split.
      dtype: "float32" or "float64"; the pixels, sixteenths, are exact in both.

    Raises:
      ImportError: if scikit-learn is not installed.
      ValueError: if a setting is out of its range.
    """
    validate.integer("load_digits", "test", test, high=_SAMPLES - 1)
    validate.integer("load_digits", "seed", seed)
    validate.choice("load_digits", "dtype", dtype, ("float32", "float64"))
    images, labels = _bundled()
    # The raw stream of PCG64 is the same in every version of NumPy; those of its Generator methods are not (NEP 19).
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    split = {"test": order[:test], "train": order[test:]}
    parts = {}
    for part, rows in split.items():
        parts[f"{part}_images"] = (images[rows] / _BRIGHTEST).astype(dtype)
        parts[f"{part}_labels"] = labels[rows].astype(np.int32)
    for array in parts.values():
        array.setflags(write=False)
    return Digits(**parts)


@described
def digits_regression(*, l2: float = 1e-3, test: int = _TEST, split_seed: int = 0) -> Problem:
    """Return multinomial regression on the training digits: 650 parameters.

    The minimum is recorded for the default settings, as scikit-learn finds it; it is None for others.

    Args:
      l2: weight of the penalty, >= 0.
      test: number of samples held out, as in `load_digits`.
      split_seed: seed of the split, as in `load_digits`.

    Raises:
      ImportError: if scikit-learn is not installed.
      ValueError: if a setting is out of its range.
    """
    validate.number("digits_regression", "l2", l2, low=0.0)
    data = load_digits(test=test, seed=split_seed, dtype="float64")
    known = {"l2": l2, "test": test, "split_seed": split_seed} == _DEFAULT
    made = multinomial_regression(data.train_images, data.train_labels, classes=CLASSES, l2=l2)
    return made._replace(source=f"{_DATA}; model: {made.source}", minimum=_DEFAULT_MINIMUM if known else None)


@described
def digits_network(
    *, width: int = 32, l2: float = 1e-3, seed: int = 0, test: int = _TEST, split_seed: int = 0
) -> Problem:
    """Return a two-layer network on the training digits: 2,410 parameters at 32 hidden units.

    Args:
      width: number of hidden units, >= 1.
      l2: weight of the penalty, >= 0.
      seed: seed of the start.
      test: number of samples held out, as in `load_digits`.
      split_seed: seed of the split, as in `load_digits`.

    Raises:
      ImportError: if scikit-learn is not installed.
      ValueError: if a setting is out of its range.
    """
    data = load_digits(test=test, seed=split_seed, dtype="float64")
    made = two_layer_network(data.train_images, data.train_labels, classes=CLASSES, width=width, l2=l2, seed=seed)
    return made._replace(source=f"{_DATA}; model: {made.source}")


def _bundled() -> tuple[Any, Any]:
    try:
        from sklearn import datasets
    except ImportError as error:
        msg = "load_digits: the data ship with scikit-learn, which is not installed; pip install 'jopt[race]'"
        raise ImportError(msg) from error
    bunch: Any = datasets.load_digits()
    return bunch.data, bunch.target

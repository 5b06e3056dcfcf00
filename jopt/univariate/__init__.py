# SPDX-License-Identifier: Apache-2.0
"""Functions of one variable: their minima and zeros.

- newton.py: `newton` and `secant`, to a point where the slope vanishes.
- zero.py: `bisection` and `brent_zero`, to a zero between two ends of opposite sign.
- minimum.py: `golden_section` and `brent_minimum`, to a minimum between two ends, from values alone.
- engine.py: the loop that they share; record.py: what they return, `Record` and `Path`.

Each is one compiled program with one copy of the function, and works inside `jit` and `vmap`. A minimum is also a zero of
the slope, so `bisection(jax.grad(fun), low, high)` finds one too.
"""

from jopt.univariate.minimum import brent_minimum, golden_section
from jopt.univariate.newton import newton, secant
from jopt.univariate.record import Path, Record, Sample
from jopt.univariate.zero import bisection, brent_zero

__all__ = [
    "Path", "Record", "Sample", "bisection", "brent_minimum", "brent_zero", "golden_section", "newton", "secant",
]  # fmt: skip

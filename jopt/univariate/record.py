# SPDX-License-Identifier: Apache-2.0
"""What a solve in one variable evaluates and returns."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from jopt.status import Status
from jopt.types import Scalar

_ADVICE = {
    Status.CONVERGED: "Converged: the slope is at most gtol in size, and the curvature is not negative.",
    Status.STEP: "Converged: the bracket is as narrow as xtol and rtol ask for, or its zero is exact.",
    Status.NONFINITE: (
        "A value, slope or step is not finite where it is needed (a step is not where the curvature vanishes). "
        "Start elsewhere, or keep the function inside its domain."
    ),
    Status.STALLED: "The next point is the one before: the tolerance is below round-off. Raise it, or use float64.",
    Status.MAX_ITERATIONS: "Not converged: maxiter reached. Raise maxiter; steps held by neither safeguard nor bracket may also cycle.",
}


class Sample(NamedTuple):
    """A point and what was evaluated there; scalars.

    Attributes:
      x: the point.
      value: f(x).
      slope: f'(x), None where the method does not read it.
      curvature: f''(x), or the secant's estimate of it; None where the method knows neither.
    """

    x: Scalar
    value: Scalar
    slope: Any = None
    curvature: Any = None


class Path(NamedTuple):
    """One row for each evaluation, in order; NaN where there was none. Shape (maxiter + opening evaluations,).

    Attributes:
      x: points evaluated.
      value: f there.
      low: lower end of the bracket after the evaluation; None without a bracket.
      high: upper end.
    """

    x: jax.Array
    value: jax.Array
    low: Any
    high: Any


class Record(NamedTuple):
    """The outcome of a solve in one variable: a pytree, so it passes through `jit` and `vmap`.

    Attributes:
      x: the answer: where the test holds on success, otherwise the last good point.
      value: f(x).
      slope: f'(x), None where the method does not read it.
      curvature: f''(x), the secant's estimate of it, or None.
      low: lower end of the last bracket, None without one.
      high: upper end of it.
      nit: evaluations after the opening ones (the start, or both ends), int32.
      nfev: evaluations, int32.
      status: a `jopt.Status` as int32.
      success: whether the test holds at x, bool.
      path: a `Path`, None unless asked for.
    """

    x: Scalar
    value: Scalar
    slope: Any
    curvature: Any
    low: Any
    high: Any
    nit: jax.Array
    nfev: jax.Array
    status: jax.Array
    success: jax.Array
    path: Path | None

    @property
    def message(self) -> Any:
        """What happened and what to try, as text; a list for a batch. Needs concrete values, so not under `jit`."""
        if isinstance(self.status, Tracer):
            msg = "Record: the message needs concrete values; read it outside jit and vmap, or use `status` inside."
            raise TypeError(msg)
        return _messages(np.asarray(self.status))


def _messages(status: np.ndarray) -> Any:
    if status.ndim == 0:
        reason = Status(int(status))
        return _ADVICE.get(reason, reason.advice)
    return [_messages(s) for s in status]

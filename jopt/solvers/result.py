# SPDX-License-Identifier: Apache-2.0
"""What a solve returns, under SciPy's names."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from jopt.solvers.loop import History, LoopState
from jopt.status import Status
from jopt.types import Params, Scalar

PROJECTED = " The start lay outside the bounds and was projected onto them."


class Result(NamedTuple):
    """The outcome of a solve: a pytree, so it passes through `jit` and `vmap`.

    On success `x` is the point where the test held; otherwise the finite point of least value seen (the start, if none
    was finite). `fun`, `jac` and `aux` belong to `x`.

    Attributes:
      x: parameters, a tree like x0.
      fun: value at x, scalar.
      jac: gradient at x, a tree like x0. Within bounds too the gradient itself; the test looks at
        `jopt.linalg.projected_gradient(box, x, jac)`.
      nit: accepted steps, int32.
      nfev: evaluations of the value, int32.
      njev: evaluations of the gradient (each comes with a value), int32.
      nhev: Hessian-vector products, int32.
      status: a `jopt.Status` as int32.
      success: whether a requested test holds at x, bool.
      aux: auxiliary output of the objective at x, None unless has_aux.
      history: a `History`, None unless asked for.
      state: the loop's last state, a `jopt.LoopState`: what `resume=` goes on from.
      projected: whether the start lay outside the bounds and was projected onto them, bool, false where a solve was
        taken up; None without bounds.
    """

    x: Params
    fun: Scalar
    jac: Params
    nit: jax.Array
    nfev: jax.Array
    njev: jax.Array
    nhev: jax.Array
    status: jax.Array
    success: jax.Array
    aux: Any
    history: History | None
    state: LoopState | None
    projected: jax.Array | None = None

    @property
    def message(self) -> Any:
        """What happened and what to try, as text; a list for a batch. Needs concrete values, so not under `jit`."""
        status = _concrete(self.status)
        projected = False if self.projected is None else np.asarray(self.projected)
        return _messages(status, np.broadcast_to(projected, status.shape))

    def raise_on_failure(self) -> Result:
        """Return the result if every solve in it succeeded, otherwise raise.

        Raises:
          RuntimeError: with the message of the first solve that failed.
          TypeError: under `jit` or `vmap`, where there is nothing to look at yet.
        """
        statuses = [Status(int(s)) for s in np.ravel(_concrete(self.status))]
        failed = [i for i, status in enumerate(statuses) if not status.success]
        if failed:
            first = statuses[failed[0]]
            lane = f" in lane {failed[0]} ({len(failed)} of {len(statuses)} failed)" if len(statuses) > 1 else ""
            msg = f"not solved: {first.name}{lane}: {first.advice}"
            raise RuntimeError(msg)
        return self

    def _is_concrete(self) -> bool:
        """Return whether there is a status to read: not under `jit`, and not in a tangent, whose status is a float0."""
        status = self.status
        return (
            isinstance(status, (jax.Array, np.ndarray)) and not isinstance(status, Tracer) and status.dtype == np.int32
        )

    def __repr__(self) -> str:
        rows = {name: value for name, value in self._asdict().items() if name != "state" and value is not None}
        if self._is_concrete():
            rows = {"message": self.message, "reason": _names(np.asarray(self.status))} | rows
        width = max(map(len, rows))
        return "\n".join(f"{name:>{width}}: {value}" for name, value in rows.items())


def make_result(state: LoopState) -> Result:
    """Return the result of a loop that has ended."""
    return Result(
        x=state.best.params,
        fun=state.best.value,
        jac=state.best.grad,
        nit=state.nit,
        nfev=state.nfev,
        njev=state.nfev,
        nhev=state.nhev,
        status=state.status,
        success=(state.status >= Status.CONVERGED) & (state.status <= Status.TARGET),
        aux=state.best.aux,
        history=state.history,
        state=state,
    )


def _concrete(status: jax.Array) -> np.ndarray:
    if isinstance(status, Tracer):
        msg = "Result: the message needs concrete values; read it outside jit and vmap, or use `status` inside."
        raise TypeError(msg)
    return np.asarray(status)


def _names(status: np.ndarray) -> Any:
    return Status(int(status)).name if status.ndim == 0 else [_names(s) for s in status]


def _messages(status: np.ndarray, projected: np.ndarray) -> Any:
    if status.ndim == 0:
        return Status(int(status)).advice + (PROJECTED if projected else "")
    return [_messages(*each) for each in zip(status, projected, strict=True)]

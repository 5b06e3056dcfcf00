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


class Result(NamedTuple):
    """The outcome of a solve: a pytree, so it passes through `jit` and `vmap`.

    On success `x` is the point where the test held; otherwise the finite point of least value seen (the start, if none
    was finite). `fun`, `jac` and `aux` belong to `x`.

    Attributes:
      x: parameters, a tree like x0.
      fun: value at x, scalar.
      jac: gradient at x, a tree like x0.
      nit: accepted steps, int32.
      nfev: evaluations of the value, int32.
      njev: evaluations of the gradient (each comes with a value), int32.
      nhev: Hessian-vector products, int32.
      status: a `jopt.Status` as int32.
      success: whether a requested test holds at x, bool.
      aux: auxiliary output of the objective at x, None unless has_aux.
      history: a `History`, None unless asked for.
      state: the solver's last state.
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
    state: Any

    @property
    def message(self) -> Any:
        """What happened and what to try, as text; a list for a batch. Needs concrete values, so not under `jit`."""
        return _messages(np.asarray(self.status))

    def raise_on_failure(self) -> Result:
        """Return the result if every solve in it succeeded, otherwise raise.

        Raises:
          RuntimeError: with the message of the first solve that failed.
        """
        failed = [Status(int(s)) for s in np.ravel(np.asarray(self.status)) if not Status(int(s)).success]
        if failed:
            msg = f"minimize: {failed[0].name}: {failed[0].advice}"
            raise RuntimeError(msg)
        return self

    def __repr__(self) -> str:
        if isinstance(self.status, Tracer):
            return f"Result(x={self.x!r}, fun={self.fun!r}, status={self.status!r})"
        rows = {"message": self.message}
        rows |= {name: value for name, value in self._asdict().items() if name != "state" and value is not None}
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
        state=state.solver,
    )


def _messages(status: np.ndarray) -> Any:
    if status.ndim == 0:
        return Status(int(status)).advice
    return [_messages(s) for s in status]

# SPDX-License-Identifier: Apache-2.0
"""A callback within a compiled program: it may look, but not stop the solve.

Under `jit`, `vmap` or `grad` there is no Python between the trips of the loop. The callback then sits in the program as an
unordered `jax.debug.callback` behind a condition, called once for each lane of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jopt import tree
from jopt.solvers import bounds
from jopt.solvers.info import Info
from jopt.solvers.loop import LoopState
from jopt.status import Status
from jopt.types import Params


class Iteration(NamedTuple):
    """What a callback gets, on the host.

    Attributes:
      nit: accepted steps.
      nfev: evaluations of value and gradient.
      nhev: Hessian-vector products.
      status: a `jopt.Status`, RUNNING until the last call.
      value: at the point just accepted; in the last call at the point that is returned.
      grad_norm: |g|_inf there; with bounds, of the projected gradient.
      step_norm: |x - x_previous|_inf of the last trial; infinity at the start.
      params: that point, a tree like x0 of NumPy arrays.
      elapsed: seconds since the solve began, compilation left out; None under a trace.
      state: a `jopt.LoopState` to go on from by `resume=`, on the device; None under a trace.
    """

    nit: int
    nfev: int
    nhev: int
    status: Status
    value: float
    grad_norm: float
    step_norm: float
    params: Params
    elapsed: float | None
    state: LoopState | None

    def __repr__(self) -> str:
        """Return one line without the parameters and the state, so that `callback=print` tells a solve's course."""
        counts = f"nit={self.nit}, nfev={self.nfev}, nhev={self.nhev}, status={self.status.name}"
        sizes = f"value={self.value:.8g}, grad_norm={self.grad_norm:.2e}, step_norm={self.step_norm:.2e}"
        return f"Iteration({counts}, {sizes}{'' if self.elapsed is None else f', elapsed={self.elapsed:.3f}'})"


class Observer(NamedTuple):
    """Calls a callback from within the program; static.

    Attributes:
      function: the name of the call, for errors.
      callback: `Iteration -> anything but True`, with a hash.
      every: accepted steps between calls, >= 1.
    """

    function: str
    callback: Callable[[Iteration], Any]
    every: int

    def __call__(self, objective: Any, before: LoopState, after: LoopState, info: Info) -> None:
        """Put the call into the trip that is being traced, where it is due."""
        over = after.status != Status.RUNNING
        stepped = (after.nit > before.nit) & (after.nit % self.every == 0)
        # A lane of a batch that has ended still makes trips, and every lane calls: hence `due` among the arguments.
        due = (before.status == Status.RUNNING) & (over | stepped)

        def tell() -> None:
            best = after.best._replace(aux=None)
            shown = tree.where(over, best, tree.cast(info.point._replace(aux=None), best))
            counts = (after.nit, after.nfev, after.nhev, after.status)
            grad_norm = bounds.grad_norm(getattr(objective, "bounds", None), shown)
            numbers = (shown.value, grad_norm, info.step_norm)
            jax.debug.callback(self.tell, due, counts, numbers, shown.params)

        jax.lax.cond(due, tell, lambda: None)

    def tell(self, due: Any, counts: Any, numbers: Any, params: Any) -> None:
        """Call the callback with host values.

        Raises:
          RuntimeError: if it asks for a stop, which a compiled program cannot grant.
        """
        if not bool(due):
            return
        params = jax.tree.map(np.asarray, params)
        if says_stop(self.callback(iteration(counts, numbers, params))):
            msg = f"{self.function}: callback must not return True under jit, vmap or grad, where it can only observe; {way_out(self.function)} to stop a solve, or set maxiter, maxfev or target."
            raise RuntimeError(msg)


def iteration(
    counts: Any, numbers: Any, params: Params, elapsed: float | None = None, state: LoopState | None = None
) -> Iteration:
    """Return what a callback gets of (nit, nfev, nhev, status) and (value, grad_norm, step_norm)."""
    nit, nfev, nhev, status = (int(n) for n in counts)
    value, grad_norm, step_norm = (float(x) for x in numbers)
    return Iteration(nit, nfev, nhev, Status(status), value, grad_norm, step_norm, params, elapsed, state)


def says_stop(answer: Any) -> bool:
    """Return whether a callback asked for a stop: True, of Python, NumPy or JAX; a count or a list is no answer."""
    if isinstance(answer, (jax.Array, np.ndarray)):
        return answer.dtype == np.bool_ and answer.shape == () and bool(answer)
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


def way_out(function: str) -> str:
    """Return what to do where Python is wanted between trips."""
    return f"call {function} outside jit, vmap and grad"

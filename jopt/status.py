# SPDX-License-Identifier: Apache-2.0
"""Why a solve or a search ended, and for each reason a sentence that says what to try."""

from __future__ import annotations

import enum
from typing import Any

import jax
import jax.numpy as jnp


class Status(enum.IntEnum):
    """Why a solve ended; carried through compiled code as an int32 scalar."""

    RUNNING = 0
    CONVERGED = 1
    STEP = 2
    DECREASE = 3
    RELATIVE_DECREASE = 4
    TARGET = 5
    MAX_ITERATIONS = 6
    MAX_EVALUATIONS = 7
    TIME = 8
    STOPPED = 9
    STALLED = 10
    SEARCH_FAILED = 11
    NONFINITE = 12
    UNBOUNDED = 13
    SADDLE = 14
    MAXIMUM = 15
    NO_BRACKET = 16
    INFEASIBLE = 17

    @property
    def success(self) -> bool:
        """Whether a requested test holds at the point returned."""
        return Status.CONVERGED <= self <= Status.TARGET

    @property
    def advice(self) -> str:
        """What happened, and what to try."""
        return _ADVICE[self]


_ADVICE = {
    Status.RUNNING: "Still running: the loop has not reached a decision; call step again.",
    Status.CONVERGED: "Converged: the largest entry of the gradient (within bounds: of the projected gradient) is at most gtol.",
    Status.STEP: "Stopped as asked: the last step moved no parameter by more than xtol.",
    Status.DECREASE: "Stopped as asked: the last step lowered the value by no more than ftol.",
    Status.RELATIVE_DECREASE: "Stopped as asked: the last step lowered the value by no more than frtol times its size.",
    Status.TARGET: "Stopped as asked: the value reached target.",
    Status.MAX_ITERATIONS: "Not converged: maxiter reached. Raise maxiter, or rescale the parameters.",
    Status.MAX_EVALUATIONS: "Not converged: maxfev reached. Raise maxfev, or rescale the parameters.",
    Status.TIME: "Not converged: the time limit was reached. Raise it, or go on from the returned state.",
    Status.STOPPED: "Stopped by the callback.",
    Status.STALLED: (
        "Stalled: neither the value nor the gradient improves any more, so round-off is larger than gtol asks for. "
        "Raise gtol, use float64, or subtract a constant offset from the objective."
    ),
    Status.SEARCH_FAILED: (
        "No acceptable step was found, however short: round-off is larger than gtol asks for (raise gtol, use float64), or "
        "the gradient is not that of the value (a non-smooth or noisy objective, a wrong custom derivative)."
    ),
    Status.NONFINITE: (
        "The objective, its gradient or its curvature is not finite where it is needed. The finite point of least value is returned (the "
        "start, if there is none); start elsewhere, use a smaller step, or keep the objective inside its domain."
    ),
    Status.UNBOUNDED: "The objective falls without bound along the path taken. Add a regulariser or bounds.",
    Status.SADDLE: (
        "The gradient vanishes but the requested second-order check found negative curvature. "
        'Go on from there with second_order="escape", or start elsewhere.'
    ),
    Status.MAXIMUM: "The slope vanishes but the curvature is negative: a maximum. Start elsewhere; a safeguarded method then descends.",
    Status.NO_BRACKET: "The values at both ends have the same sign, so they bracket no zero. Choose other ends.",
    Status.INFEASIBLE: (
        "No point lies within the bounds: a lower bound is above its upper bound, or one is NaN or infinite on the wrong side. "
        "Nothing was evaluated; mend the bounds."
    ),
}


class SearchStatus(enum.IntEnum):
    """Where a line search stands; carried through compiled code as an int32 scalar."""

    SEARCHING = 0
    ACCEPTED = 1
    STEP_TOO_SMALL = 2
    STEP_TOO_LARGE = 3
    TOO_MANY_TRIALS = 4
    INTERVAL_TOO_SMALL = 5
    NOT_DESCENT = 6
    UNBOUNDED = 7

    @property
    def advice(self) -> str:
        """What happened."""
        return _SEARCH_ADVICE[self]


_SEARCH_ADVICE = {
    SearchStatus.SEARCHING: "Still searching.",
    SearchStatus.ACCEPTED: "The step passes the test that the search advertises.",
    SearchStatus.STEP_TOO_SMALL: "Failed: the next step would be too small to change the point.",
    SearchStatus.STEP_TOO_LARGE: "Failed: the largest admissible step still asks for a larger one.",
    SearchStatus.TOO_MANY_TRIALS: "Failed: no trial within the budget passed the test.",
    SearchStatus.INTERVAL_TOO_SMALL: "Failed: round-off keeps the bracket from shrinking to an acceptable step.",
    SearchStatus.NOT_DESCENT: "Failed: the slope at zero is not negative, so this is no descent direction.",
    SearchStatus.UNBOUNDED: "Failed: the value is minus infinity at the trial step, or falls for as far as the search goes.",
}


class KrylovStatus(enum.IntEnum):
    """Why a solve with an operator ended (`jopt.linalg`); carried through compiled code as an int32 scalar."""

    RUNNING = 0
    CONVERGED = 1
    MAX_ITERATIONS = 2
    NEGATIVE_CURVATURE = 3
    BOUNDARY = 4
    NONFINITE = 5
    NOT_SYMMETRIC = 6
    LITTLE_PROGRESS = 7
    INDEFINITE_PRECONDITIONER = 8

    @property
    def advice(self) -> str:
        """What happened."""
        return _KRYLOV_ADVICE[self]


_KRYLOV_ADVICE = {
    KrylovStatus.RUNNING: "Still running.",
    KrylovStatus.CONVERGED: "The residual is as small as asked.",
    KrylovStatus.MAX_ITERATIONS: "The budget of products was spent first. Raise maxiter, or precondition.",
    KrylovStatus.NEGATIVE_CURVATURE: "A direction with <d, A d> <= 0 was met, so A is not positive definite.",
    KrylovStatus.BOUNDARY: "The step reached the trust-region boundary.",
    KrylovStatus.NONFINITE: "A product or the right-hand side is not finite; the last finite iterate is returned.",
    KrylovStatus.NOT_SYMMETRIC: "The operator is not symmetric: <u, A v> and <v, A u> differ. Symmetrise it.",
    KrylovStatus.LITTLE_PROGRESS: "The model's value hardly falls any more, by the measure that was asked for.",
    KrylovStatus.INDEFINITE_PRECONDITIONER: "The preconditioner is not positive definite: <r, M r> <= 0. Take |d| of a diagonal, or mend it.",
}


def first_of(*cases: tuple[jax.Array, Any], otherwise: int) -> jax.Array:
    """Return the status of the first `(condition, status)` whose condition holds, as int32."""
    chosen = jnp.int32(otherwise)
    for condition, status in reversed(cases):
        chosen = jnp.where(condition, jnp.int32(status), chosen)
    return chosen

# SPDX-License-Identifier: Apache-2.0
"""What every result must satisfy, whatever the problem: asked of what the solve has seen, and of long double."""

import jax.numpy as jnp
import numpy as np
import wild

from jopt import Status
from jopt.linalg import Box, projected_gradient


def assert_honest(name, x0, d, limits, result, bounds=None):
    """Assert that a result of `wild.solve` is what jopt promises of results; return its status."""
    status, seen = Status(int(result.status)), wild.seen(result)
    finite = np.isfinite(seen.value) & np.all(np.isfinite(seen.grad.astype(seen.value.dtype)), axis=-1)
    x, jac = np.asarray(result.x["x"]), np.asarray(result.jac["x"])
    assert status is not Status.RUNNING
    assert bool(result.success) == status.success
    assert x.dtype == x0.dtype
    assert jac.dtype == x0.dtype
    assert result.x["none"].shape == (0,)
    _check_counters(result, seen, limits, status)
    start = x0 if bounds is None else np.clip(x0, *bounds)
    _same(seen.x[0], start)  # the first evaluation is the start
    if bounds is not None:
        assert np.all((seen.x >= bounds[0]) & (seen.x <= bounds[1]) | np.isnan(seen.x)), "a trial out of bounds"
    if status.success:
        _check_certificate(status, seen, finite, x, jac, result, limits, bounds)
    else:
        _check_best(seen, finite, x, result)
    _check_afresh(name, d, x, result)
    return status


def _same(a, b):
    """Assert equality, NaN being NaN in bfloat16, too."""
    np.testing.assert_array_equal(np.asarray(a).astype(np.float64), np.asarray(b).astype(np.float64))


def _check_counters(result, seen, limits, status):
    nit, nfev = int(result.nit), int(result.nfev)
    assert nfev == int(result.njev) == len(seen.value) >= 1
    assert nit == max(0, int(np.sum(seen.accepted[1:])))
    assert nit < nfev <= limits.maxfev
    assert nit <= limits.maxiter
    assert int(result.nhev) >= 0
    assert status is not Status.MAX_EVALUATIONS or nfev == limits.maxfev
    assert status is not Status.MAX_ITERATIONS or nit == limits.maxiter


def _check_certificate(status, seen, finite, x, jac, result, limits, bounds):
    """The test that is said to hold, holds at the last accepted point, in the precision of the solve, exactly."""
    dtype = seen.value.dtype
    accepted = np.flatnonzero(seen.accepted)
    here = accepted[-1]
    assert here == len(seen.value) - 1  # it ended where the test held
    assert finite[here]
    _same(x, seen.x[here])
    _same(jac, seen.grad[here])
    assert result.fun == seen.value[here]
    with np.errstate(over="ignore", invalid="ignore"):
        limit = {name: np.asarray(getattr(limits, name), dtype) for name in ("gtol", "xtol", "ftol", "frtol", "target")}
        if status is Status.CONVERGED:
            assert np.max(np.abs(_flat(x, jac, bounds))).astype(dtype) <= limit["gtol"]
            return
        if status is Status.TARGET:
            assert seen.value[here] <= limit["target"]
            return
        assert len(accepted) > 1, f"{status.name} at the start, where there was no step"
        before = accepted[-2]
        change = np.abs(seen.value[before] - seen.value[here])
        if status is Status.STEP:
            assert np.max(np.abs(seen.x[here] - seen.x[before])).astype(dtype) <= limit["xtol"]
        if status is Status.DECREASE:
            assert change <= limit["ftol"]
        if status is Status.RELATIVE_DECREASE:  # |f_previous| is known by a sum with one rounding of its own
            rounding = 2 * jnp.finfo(dtype).eps * np.longdouble(change + np.abs(seen.value[before]))
            assert change <= limit["frtol"] * (np.abs(np.longdouble(seen.value[before])) + rounding)


def _flat(x, jac, bounds):
    """Return the gradient, or the projected one."""
    if bounds is None:
        return jac
    box = Box(*(jnp.broadcast_to(jnp.asarray(b, x.dtype), x.shape) for b in bounds))
    return np.asarray(projected_gradient(box, jnp.asarray(x), jnp.asarray(jac)))


def _check_best(seen, finite, x, result):
    """The point returned is the finite one of least value among all that were evaluated, or the start."""
    best = int(np.argmin(np.where(finite, seen.value, np.inf))) if np.any(finite) else 0
    _same(x, seen.x[best])
    _same(result.fun, seen.value[best])
    _same(np.asarray(result.jac["x"]), seen.grad[best])
    assert not finite[0] or result.fun <= seen.value[0]


def _check_afresh(name, d, x, result):
    """Value and gradient are those of the function at x, up to the rounding of their evaluation."""
    if not (np.isfinite(result.fun) and np.all(np.isfinite(x.astype(np.float64)))):
        return
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    with np.errstate(all="ignore"):
        fresh = wild.fresh(x.astype(np.float64), d, dtype, squares=name in wild.LEAST_SQUARES)
        jac = np.asarray(result.jac["x"]).astype(np.longdouble)
        slack = fresh.grad_error + float(jnp.finfo(x.dtype).eps) * abs(fresh.grad)
        value_off = abs(np.longdouble(result.fun) - fresh.value) - fresh.value_error
        off = abs(jac - fresh.grad) - slack
        off = np.where(abs(fresh.grad) + slack > float(jnp.finfo(x.dtype).max), 0, off)  # beyond the range: infinite
    # Where the bound itself is not finite, rounding may make anything of the formula there.
    assert not value_off > 0, (result.fun, fresh)
    assert not np.any(off > 0), (jac, fresh)

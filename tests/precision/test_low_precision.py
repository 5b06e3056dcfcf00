# SPDX-License-Identifier: Apache-2.0
"""Solves in half precision: a finite point, and a status that is true of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status, tree
from jopt.linalg import steihaug
from jopt.status import KrylovStatus

HALVES = ["bfloat16", "float16"]
METHODS = ["lbfgs", "trust-ncg", "newton-cg", "newton", "adam", "trust-ncg within bounds", "lm"]

# (start of the valley, weight, start of the bowl): far, near, and where squares leave float16
STARTS = [(-1.2, 10.0, 0.0), (1e-3, 1.0, 1e-4), (30.0, 100.0, 1.0)]


def residual(p, weight):
    a, b, weight = p["a"], p["b"], weight.astype(p["a"].dtype)
    return [weight * (a[1:] - jnp.square(a[:-1])), 1 - a[:-1], (weight * b).astype(b.dtype)]


def fun(p, weight):
    return sum(jnp.sum(jnp.square(r)) for r in residual(p, weight))


@functools.cache
def solver_of(method):
    """Return a call that solves from `(x, (weight,))`, one program for each dtype."""
    common = {"maxiter": 100, "gtol": 1e-3}
    if method == "lm":
        return functools.partial(jopt.least_squares, residual, **common)
    if method == "adam":
        return functools.partial(jopt.minimize, fun, method=jopt.adam(0.1), **common)
    name, *within = method.split(" ", 1)
    bounds = (-2.0, 100.0) if within else None
    return functools.partial(jopt.minimize, fun, method=name, bounds=bounds, **common)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_ends_at_a_finite_point_with_a_true_status(dtype, method):
    for valley, weight, bowl in STARTS:
        x = {"a": jnp.full(4, valley, dtype), "b": jnp.full(2, bowl, dtype)}
        result = solver_of(method)(x, (np.float32(weight),))
        status = Status(int(result.status))
        assert all(np.isfinite(np.asarray(v, np.float32)).all() for v in jax.tree.leaves(result.x)), status
        assert {v.dtype for v in jax.tree.leaves((result.x, result.jac))} == {jnp.dtype(dtype)}
        scale = 0.5 if method == "lm" else 1.0
        value, grad = jax.value_and_grad(lambda p, w=weight: fun(p, np.float32(w)))(result.x)
        if status == Status.NONFINITE:  # said of a start, or its neighbours, that this dtype cannot hold
            assert not np.isfinite(float(value)) or dtype == "float16"
            assert valley == 30.0
            continue
        assert float(value) * scale <= float(fun(x, np.float32(weight))) * scale
        if bool(result.success):
            assert status == Status.CONVERGED
            # Two programs round differently, by some eps of the largest terms.
            slack = 100 * weight * float(jnp.finfo(dtype).eps)
            assert scale * float(tree.max_abs(grad)) <= 1e-3 + slack
        else:
            assert status in (Status.SEARCH_FAILED, Status.STALLED, Status.MAX_ITERATIONS)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e4])
def test_conjugate_gradients_in_a_ball_keep_within_the_range_of_float16(unit):
    # radius / |g| times a product is 1e6 to 1e10 here, and float16 ends at 65504.
    h = jnp.asarray([1.0, 2.0, 4.0], jnp.float32)
    g = (unit * jnp.asarray([1.0, -2.0, 0.5])).astype(jnp.float16)
    run = steihaug(lambda v: (h * v).astype(jnp.float16), g, radius=1e6 * unit if unit < 1e4 else 6e4, rtol=1e-2)
    assert int(run.status) == KrylovStatus.CONVERGED
    assert run.step.step.dtype == jnp.float16
    np.testing.assert_allclose(run.step.step, -g.astype(jnp.float32) / h, rtol=0.05, atol=1e-7)


def test_the_steepest_direction_has_no_nan_where_the_largest_entry_is_zero_in_a_leafs_dtype():
    # The largest entry, 1e-12, is zero in float16: divided by that, the flat leaf's zero was NaN.
    def fun(p):  # falls nowhere, whatever its gradient says
        x = p["wide"]
        return jnp.sum(1e-12 * (2 * jax.lax.stop_gradient(x) - x)) + jnp.sum(0 * p["flat"]).astype(jnp.float32)

    x = {"wide": jnp.ones(2, jnp.float32), "flat": jnp.ones(2, jnp.float16)}
    result = jopt.minimize(fun, x, method="gradient-descent", gtol=0.0, maxiter=5)
    assert all(np.isfinite(np.asarray(v)).all() for v in jax.tree.leaves(result.x))
    assert Status(int(result.status)) in (Status.SEARCH_FAILED, Status.STALLED)

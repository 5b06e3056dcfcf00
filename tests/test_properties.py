# SPDX-License-Identifier: Apache-2.0
"""Properties on random inputs: a certificate is a certificate, an accepted step passes its test."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import jopt
from jopt import SearchStatus, Status

finite = {"allow_nan": False, "allow_infinity": False}
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)


def rough(x, a):
    """Return a function with flat parts, a cliff (NaN), hills and an unbounded direction, by its coefficients."""
    smooth = jnp.sum(a[0] * x**4 + a[1] * x**2 + a[2] * jnp.sin(3.0 * x) + a[3] * x)
    return jnp.where(jnp.abs(x[0]) < 50.0, smooth, jnp.nan)


@SETTINGS
@given(
    coefficients=st.lists(st.floats(-3.0, 3.0, **finite), min_size=4, max_size=4),
    start=st.lists(st.floats(-60.0, 60.0, **finite), min_size=2, max_size=2),
    gtol=st.sampled_from([0.0, 1e-9, 1e-5, 1e-1]),
    single=st.booleans(),
)
@pytest.mark.parametrize("method", ["lbfgs", jopt.adam(0.1)], ids=["lbfgs", "adam"])
def test_success_is_a_certificate(method, coefficients, start, gtol, single):
    dtype = jnp.float32 if single else jnp.float64
    a, x0 = jnp.asarray(coefficients, dtype), jnp.asarray(start, dtype)
    result = jopt.minimize(rough, x0, (a,), method, gtol=jnp.asarray(gtol, dtype), maxfev=jnp.int32(200))
    value, grad = compiled(result.x, a)
    start_value = float(compiled(x0, a)[0])
    assert result.x.dtype == dtype
    status = Status(int(result.status))
    assert bool(result.success) == status.success
    if status is Status.CONVERGED:
        assert float(jnp.max(jnp.abs(grad))) <= gtol * (1 + 1e-3) + 1e-5 * single
    if np.isfinite(start_value):
        assert np.isfinite(float(value))
        assert status.success or float(result.fun) <= start_value
    else:
        assert status in {Status.NONFINITE, Status.UNBOUNDED}


compiled = jax.jit(jax.value_and_grad(rough))


def phi(a, c):
    """Return a line with hills by its coefficients; it falls at 0."""
    return -jnp.abs(c[0]) * a / (1.0 + a**2) + c[1] ** 2 * a**2 + 0.1 * c[2] * jnp.sin(c[3] * a) ** 2


SEARCHES = {
    "backtracking": jopt.linesearch.backtracking(noise=0.0),
    "weak": jopt.linesearch.weak_wolfe(noise=0.0),
    "strong": jopt.linesearch.strong_wolfe(noise=0.0),
}


def whole_search(search):
    @jax.jit
    def run(c, first):
        value, slope = jax.value_and_grad(phi)(0.0, c)
        state = search.init(value, slope, first)
        update = lambda s: search.update(s, *jax.value_and_grad(phi)(s.step, c))  # noqa: E731
        return value, slope, jax.lax.while_loop(lambda s: s.status == SearchStatus.SEARCHING, update, state)

    return run


RUNS = {name: whole_search(search) for name, search in SEARCHES.items()}
line = jax.jit(jax.value_and_grad(phi))


@SETTINGS
@given(
    c=st.lists(st.floats(0.01, 10.0, **finite), min_size=4, max_size=4),
    first=st.floats(-4.0, 4.0, **finite),
)
@pytest.mark.parametrize("name", SEARCHES)
def test_an_accepted_step_passes_its_test_afresh(name, c, first):
    c = jnp.asarray(c, jnp.float64)
    value0, slope0, state = RUNS[name](c, jnp.float64(10.0**first))
    if SearchStatus(int(state.status)) is not SearchStatus.ACCEPTED:
        assert float(line(state.step, c)[0]) <= float(value0)
        return
    value, slope = line(state.step, c)
    rounding = 1e-12 * (1 + abs(float(value0)) + abs(float(value)))
    assert float(state.step) > 0
    assert float(value) <= float(value0 + 1e-4 * state.step * slope0) + rounding
    bound = 0.9 * abs(float(slope0)) + rounding
    if name == "strong":
        assert abs(float(slope)) <= bound
    if name == "weak":
        assert float(slope) >= -bound

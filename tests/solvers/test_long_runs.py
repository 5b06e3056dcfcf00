# SPDX-License-Identifier: Apache-2.0
"""Many calls with new data: nothing is traced again and no memory grows."""

import gc
import os
import pathlib
import tracemalloc

import jax
import jax.numpy as jnp
import pytest

import jopt
from jopt import Status

pytestmark = pytest.mark.slow

CALLS = 100_000
FEW = 1_000
LEAK = 1024  # bytes a call that must show
STATM = pathlib.Path("/proc/self/statm")
TRACES = []


def bowl(x, centre):
    TRACES.append(1)
    return jnp.sum((x - centre) ** 2)


def resident():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settle():
    gc.collect()
    return len(jax.live_arrays())


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc")
def test_a_hundred_thousand_calls_of_a_jitted_solve():
    solve = jax.jit(lambda x, centre: jopt.minimize(bowl, x, (centre,), jopt.sgd(0.5), maxiter=3))
    x = jnp.zeros(2)

    def call(times):
        for i in range(times):
            result = solve(x, float(i))
        return float(result.x[0])

    assert call(5_000) == pytest.approx(4_999.0)
    TRACES.clear()
    arrays, before = settle(), resident()
    assert call(CALLS) == pytest.approx(CALLS - 1.0)
    assert settle() == arrays
    assert resident() - before < CALLS * LEAK / 4
    assert TRACES == []


def grown(call):
    """Return how many arrays and how many of Python's bytes a thousand calls leave behind, and how often they trace."""
    for i in range(20):
        call(i)
    arrays = settle()
    TRACES.clear()
    tracemalloc.start()
    try:
        call(0)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for i in range(FEW):
            call(i)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return settle() - arrays, after - before, len(TRACES)


def ignore(it):
    return it.nit > 1


CASES = {
    "plain": {"method": jopt.sgd(0.5)},
    "lbfgs": {"method": "lbfgs"},
    "trust-ncg": {"method": "trust-ncg"},
    "callback": {"method": jopt.sgd(0.2), "callback": ignore},
    "time limit": {"method": jopt.sgd(0.2), "time_limit": 1e9},
    "history": {"method": jopt.sgd(0.5), "history": True, "maxiter": 4},
}


@pytest.mark.parametrize("name", CASES)
def test_a_thousand_calls_of_minimize(name):
    settings = {"maxiter": 5, **CASES[name]}
    x = jnp.zeros(2)
    arrays, size, traces = grown(lambda i: jopt.minimize(bowl, x, (float(i),), **settings))
    assert traces == 0
    assert arrays == 0
    assert size < FEW * LEAK / 4


def test_a_thousand_calls_that_go_on():
    x = jnp.zeros(2)
    kept = [jopt.minimize(bowl, x, (1.0,), jopt.sgd(0.1), maxiter=1).state]

    def call(i):
        result = jopt.minimize(bowl, x, (1.0,), jopt.sgd(0.1), gtol=0.0, maxiter=i, resume=kept[0])
        assert Status(int(result.status)) is Status.MAX_ITERATIONS
        kept[0] = result.state

    arrays, size, traces = grown(call)
    assert (arrays, traces) == (0, 0)
    assert size < FEW * LEAK / 4


def test_a_leak_would_show():
    kept = []
    arrays, size, _ = grown(lambda i: kept.append((bytes(LEAK), jnp.zeros(1) + i)))
    assert arrays >= FEW
    assert size > FEW * LEAK / 4

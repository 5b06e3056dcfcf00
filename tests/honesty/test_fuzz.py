# SPDX-License-Identifier: Apache-2.0
"""Random problems, starts and limits: no result claims what does not hold, and nothing raises.

`JOPT_FUZZ_EXAMPLES` sets the number of problems for each method and dtype; above the default they are drawn at random.
"""

import os

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
import wild
from honest import assert_honest
from hypothesis import HealthCheck, given, settings

from jopt import Status

EXAMPLES = int(os.environ.get("JOPT_FUZZ_EXAMPLES", "0"))
MORE = 120


def fuzz(default):
    """Return the profile: the same problems each time, unless a number of them was asked for."""
    return settings(
        max_examples=EXAMPLES or default,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def quadratic(rng, n=wild.N, m=wild.M):
    """Definite, indefinite or singular, with a condition number of up to 10^12."""
    spectrum = 10.0 ** rng.uniform(-6, 6, m) * rng.choice([1.0, 1.0, 1.0, 0.0, -1.0], m)
    return {"a": rng.normal(size=(m, n)), "shift": rng.normal(size=m), "weight": spectrum}


def rosenbrock(rng, n=wild.N, m=wild.M):
    a, b, steep = np.zeros((m, n)), np.zeros((m, n)), 10.0 ** rng.uniform(0, 2)
    a[0, 1] = a[1, 2] = steep
    b[0, 0] = b[1, 1] = -steep
    a[2, 0] = a[3, 1] = -1.0
    return {"a": a, "b": b, "shift": np.array([0.0, 0.0, 1.0, 1.0]), "weight": np.full(m, 2.0)}


def of_kind(kind):
    def family(rng, n=wild.N, m=wild.M):
        size = 10.0 ** rng.uniform(-2, 1)
        return {
            "kind": kind,
            "a": rng.normal(size=(m, n)),
            "b": rng.normal(size=(m, n)) * rng.choice([0.0, 0.1]),
            "shift": rng.normal(size=m) + (kind == wild.BARRIER),
            "weight": size * rng.choice([1.0, 1.0, 1.0, -1.0], m),
            "slope": rng.normal(size=n) * rng.choice([0.0, 1.0]),
            "power": rng.choice([1.0, 1.5, 2.5, 3.0, 4.0]),
        }

    return family


FAMILIES = {
    "quadratic": quadratic,
    "rosenbrock": rosenbrock,
    "logistic": of_kind(wild.SOFTPLUS),
    "exponentials": of_kind(wild.EXP),
    "powers": of_kind(wild.POWER),
    "barrier": of_kind(wild.BARRIER),
    "waves": of_kind(wild.WAVE),
}


@st.composite
def problems(draw):
    """Draw (family, seed, exponent of f's scale, wall, value behind it)."""
    family = draw(st.sampled_from(sorted(FAMILIES)))
    wall = draw(st.sampled_from([np.inf, np.inf, 0.5, 3.0, 50.0]))
    behind = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0]))
    return family, draw(st.integers(0, 10**6)), draw(st.sampled_from([0, 0, 0, 3, -3, 12, -12, 30, -30])), wall, behind


starts = st.one_of(
    st.lists(st.floats(-5.0, 5.0, width=32), min_size=wild.N, max_size=wild.N),
    st.tuples(*[st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e6, -1e12, 1e30, -3e38])] * wild.N),
    st.tuples(*[st.sampled_from([0.0, 1.0, 1e200, np.inf, -np.inf, np.nan])] * wild.N),
    st.just((0.0,) * wild.N),
)
exponents = st.integers(-18, 3).map(lambda k: 10.0**k)
off = st.just(wild.OFF)
limits = st.builds(
    wild.Limits,
    gtol=st.one_of(exponents, st.sampled_from([0.0, 1e30, np.inf])),
    xtol=st.one_of(off, off, st.just(0.0), exponents, st.just(np.inf)),
    ftol=st.one_of(off, off, st.just(0.0), exponents, st.just(np.inf)),
    frtol=st.one_of(off, off, st.just(0.0), exponents),
    target=st.one_of(st.just(-np.inf), st.just(-np.inf), st.floats(-10.0, 10.0), st.just(np.inf)),
    maxiter=st.one_of(st.just(1000), st.integers(0, 20)),
    maxfev=st.one_of(st.just(120), st.integers(1, 20)),
)


def judge(name, dtype, problem, start, asked, box=None):
    """Solve one problem and check the result."""
    family, seed, exponent, wall, behind = problem
    fields = FAMILIES[family](np.random.default_rng(seed))
    d = wild.data(jnp.promote_types(dtype, jnp.float32), scale=10.0**exponent, wall=wall, behind=behind, **fields)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        x0 = np.asarray(start).astype(jnp.dtype(dtype))
        x0 = np.where(abs(x0) < jnp.finfo(dtype).tiny, np.zeros_like(x0), x0)  # XLA takes subnormal numbers for zero
        bounds = None if box is None else tuple(np.asarray(side).astype(x0.dtype) for side in box)
    return assert_honest(name, x0, d, asked, wild.solve(name, x0, d, asked, bounds), bounds)


FAST = [
    ("lbfgs", "float32"),
    ("trust-ncg", "float64"),
    ("newton-cg", "float32"),
    ("adam", "float64"),
    ("lm", "float64"),
]
OTHERS = [
    (name, dtype)
    for name in (*wild.METHODS, *wild.LEAST_SQUARES)
    for dtype in ("float32", "float64")
    if (name, dtype) not in FAST
]
# Compilation is what these cost: without a number of examples each method is seen in one more dtype.
SLOW = OTHERS if EXAMPLES else list(dict(OTHERS[::-1]).items())
HALF = ("lbfgs", "trust-ncg", "lm")


@pytest.mark.parametrize(("name", "dtype"), FAST)
@fuzz(100)
@given(problem=problems(), start=starts, asked=limits)
def test_results_are_honest(name, dtype, problem, start, asked):
    judge(name, dtype, problem, start, asked)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), SLOW)
@fuzz(MORE)
@given(problem=problems(), start=starts, asked=limits)
def test_results_of_every_method_are_honest(name, dtype, problem, start, asked):
    judge(name, dtype, problem, start, asked)


@pytest.mark.slow
@pytest.mark.parametrize("name", HALF)
@fuzz(MORE)
@given(problem=problems(), start=starts, asked=limits)
def test_results_in_bfloat16_are_honest(name, problem, start, asked):
    judge(name, "bfloat16", problem, start, asked)


def test_the_step_of_a_fixed_rate_is_how_far_the_point_moved():
    """Adam's first update is a little below 0.1; 0.1 beside 0.7 is rounded to more than that, and is no STEP by 0.1."""
    asked = wild.Limits(gtol=1.0, xtol=0.1, maxfev=120)
    assert judge("adam", "float64", ("exponentials", 2, 0, np.inf, np.nan), (0.7, -1.0, 50.0), asked) is Status.STEP


@st.composite
def boxes(draw):
    """Draw lower and upper, with infinities and fixed entries among them."""
    lower = [draw(st.sampled_from([-np.inf, -2.0, -0.5, 0.0, 0.3])) for _ in range(wild.N)]
    return lower, [low + draw(st.sampled_from([0.0, 0.5, 4.0, np.inf])) if low > -np.inf else 1.0 for low in lower]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"] if EXAMPLES else ["float64"])
@pytest.mark.parametrize("name", wild.BOUNDED)
@fuzz(MORE)
@given(problem=problems(), start=starts, asked=limits, box=boxes())
def test_results_within_bounds_are_honest(name, dtype, problem, start, asked, box):
    judge(name, dtype, problem, start, asked, box)

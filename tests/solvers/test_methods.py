# SPDX-License-Identifier: Apache-2.0
"""Every problem of the catalogue by every method, with the failures declared; an unexpected success fails too."""

import jax
import jax.numpy as jnp
import pytest

import jopt
from jopt import Status, problems

GTOL = 1e-6
MAXFEV = 3000

METHODS = {
    "trust-ncg": jopt.trust_ncg(),
    "newton-cg": jopt.newton_cg(),
    "lbfgs": jopt.lbfgs(),
    "gradient-descent": jopt.gradient_descent(),
    "adam": jopt.adam(0.02),
}

# All but the digits, which the race solves.
PROBLEMS = {name: problems.get(name) for name in problems.names() if not name.startswith("digits")}

# Steepest descent and adam creep along elongated valleys; a function without a minimum has no success.
FAILURES = {
    ("rosenbrock", "gradient-descent"): Status.MAX_EVALUATIONS,
    ("rosenbrock", "adam"): Status.MAX_EVALUATIONS,
    ("beale", "adam"): Status.MAX_EVALUATIONS,
    ("powell_singular", "gradient-descent"): Status.MAX_EVALUATIONS,
    ("powell_singular", "adam"): Status.MAX_EVALUATIONS,
    ("wood", "gradient-descent"): Status.MAX_EVALUATIONS,
    ("wood", "adam"): Status.MAX_EVALUATIONS,
    ("challenger", "gradient-descent"): Status.MAX_EVALUATIONS,
    ("challenger", "adam"): Status.MAX_EVALUATIONS,
    ("monkey_saddle", "trust-ncg"): Status.UNBOUNDED,
    ("monkey_saddle", "newton-cg"): Status.UNBOUNDED,
    ("monkey_saddle", "lbfgs"): Status.UNBOUNDED,
    ("monkey_saddle", "gradient-descent"): Status.UNBOUNDED,
    ("monkey_saddle", "adam"): Status.MAX_EVALUATIONS,
}


# Two problems for a first look; each pair is a program of its own.
FIRST = ("rosenbrock", "himmelblau")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "problem", [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in PROBLEMS]
)
def test_reaches_a_recorded_minimum(problem, method):
    case = PROBLEMS[problem]
    start = case.start(jnp.float64)
    result = jopt.minimize(case.fun, start, method=METHODS[method], gtol=GTOL, maxfev=MAXFEV, maxiter=MAXFEV)
    grad = max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(jax.grad(case.fun)(result.x)))
    assert Status(int(result.status)) is FAILURES.get((problem, method), Status.CONVERGED)
    assert bool(result.success) == (grad <= GTOL), "success is a certificate"
    if result.success:
        assert float(result.fun) == pytest.approx(float(case.minimum), abs=1e-7)


def test_the_failures_are_of_problems_and_methods_that_exist():
    assert {p for p, _ in FAILURES} <= set(PROBLEMS)
    assert {m for _, m in FAILURES} <= set(METHODS)


def test_beale_from_the_far_start_ends_at_the_minimum_or_runs_away_truthfully():
    # From (-3, 3) a valley falls to 0.452... at infinity; whichever way it takes, no success without the certificate.
    beale = problems.beale()
    result = jopt.minimize(beale.fun, beale.start(jnp.float64, 1), gtol=1e-10, maxfev=500)
    grad = float(jnp.max(jnp.abs(jax.grad(beale.fun)(result.x))))
    assert bool(result.success) == (grad <= 1e-10)
    assert float(result.fun) == pytest.approx(0.452, abs=1e-2)
    assert float(jnp.max(jnp.abs(result.x))) > 10.0

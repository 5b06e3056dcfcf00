# SPDX-License-Identifier: Apache-2.0
"""A race that nobody ran, for the tests of what is done with one."""

import math

from jopt import bench


def made_up_run(problem="regression", method="lbfgs", *, status="CONVERGED", **fields):
    """Return a run of five accepted points whose figures are all different."""
    history = bench.Curve(
        (1, 2, 4, 5, 8), (0.1, 0.2, 0.4, 0.5, 0.8), (2.3, 1.1, 0.7, 0.5, 0.25), (1.0, 0.5, 0.2, 0.1, 3e-6)
    )
    known = {
        "made_by": f"{method}(memory=7)",
        "final_loss": 0.2512345,
        "grad_norm": 3.4e-6,
        "test_accuracy": 0.9750000238418579,
        "steps": 41,
        "evaluations": 987,
        "compile_s": 12.3456,
        "run_s": 0.0654,
        "status": status,
        "success": status == "CONVERGED",
        "message": f"The advice for {status}.",
        "history": history,
    }
    return bench.Run(problem=problem, method=method, **(known | fields))


def made_up_race(*runs, **settings):
    """Return a race of these runs, by default of two methods on two problems."""
    if not runs:
        statuses = {"adam": "MAX_EVALUATIONS", "lbfgs": "CONVERGED"}
        runs = tuple(made_up_run(p, m, status=s) for p in ("regression", "network") for m, s in statuses.items())
    return bench.Race(bench.Settings(**settings), "cpu: test", {"jax": "0.0.1", "jopt": "0.0.2"}, tuple(runs))


def diverged_run():
    """Return a run that met NaN at once."""
    figures = {"final_loss": math.nan, "grad_norm": math.inf, "test_accuracy": 0.1}
    return made_up_run(method="sgd", status="NONFINITE", history=bench.Curve((), (), (), ()), **figures)

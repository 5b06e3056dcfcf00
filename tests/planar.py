# SPDX-License-Identifier: Apache-2.0
"""Records that nobody measured, for the tests of pictures."""

from types import SimpleNamespace

import numpy as np

STARTS = ((2.0, -2.0), (-3.0, 3.0))


def landscape(low=-4.0, high=4.0, cells=21):
    """Return |x|^2 over a square."""
    grid = np.linspace(low, high, cells)
    return SimpleNamespace(x=grid, y=grid, values=grid[:, None] ** 2 + grid**2)


def run(method, start=STARTS[0], steps=6, success=True, shrink=0.5, **fields):
    """Return a run whose points shrink towards zero."""
    points = np.asarray(start) * shrink ** np.arange(steps + 1)[:, None]
    spent = 1 + 2 * np.arange(steps + 1)
    known = {"method": method, "start": start, "points": points, "evaluations": spent, "success": success}
    return SimpleNamespace(**known, **fields)


def race(methods=("gd", "adam"), starts=STARTS, **fields):
    """Return a race of these methods from these starts; the first method does not pass its test."""
    runs = tuple(run(m, s, success=i > 0) for s in starts for i, m in enumerate(methods))
    known = {
        "problem": "bowl()", "starts": np.asarray(starts), "minimisers": np.zeros((1, 2)), "minimum": 0.0,
        "landscape": landscape(), "runs": runs,
    }  # fmt: skip
    return SimpleNamespace(**(known | fields))


def row(contender, size, *seconds, case="leaf", least_bytes=0, flops=0, unit="step"):
    """Return a row of a benchmark."""
    return SimpleNamespace(
        contender=contender, size=size, seconds=seconds, case=case, least_bytes=least_bytes, flops=flops, unit=unit
    )


def stochastic():
    """Return stochastic paths."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    return SimpleNamespace(
        minima=corners, hull=corners, best=np.array([0.3, 0.3]), rate=0.1, stochastic=run("sgd").points,
        full=run("gd", shrink=0.7).points, landscape=landscape(),
    )  # fmt: skip


def newton():
    """Return Newton's models of t^4 from 2 and 4/3."""
    t, grid = np.array([2.0, 4.0 / 3.0, 8.0 / 9.0]), np.linspace(-1.0, 3.0, 41)
    return SimpleNamespace(
        points=t, values=t**4, slopes=4 * t**3, curvatures=12 * t**2, grid=grid, curve=grid**4, status="MAX_ITERATIONS"
    )


def surface(loss="squared error"):
    """Return a loss surface."""
    return SimpleNamespace(loss=loss, landscape=landscape(), best=np.zeros(2))

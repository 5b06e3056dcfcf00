# SPDX-License-Identifier: Apache-2.0
"""What optimizers do on problems in the plane: the points they go through, for pictures.

    x_0 = start,    x_k+1 = what the method makes of x_k,    until |g(x_k)|_inf <= gtol, k = steps, or trouble

- Each method is one compiled program, whose arguments are all starts; it runs the loop of `jopt.minimize`, with the same
  decisions and the same statuses, and writes down every accepted point.
- A run that meets a value or gradient that is not finite ends before it, and its status says so.
- gtol is the root of the rounding unit of the precision in use (JAX's default one), not relative to the first gradient, as
  it is in `minimize`: from Beale's walls that would end the solve in single precision far from the minimum.

The learning rates. Those of methods that divide by the size of past gradients are lengths in the plane and stand in `RATES`.
Those of gradient descent and its two relatives are of the kind 1/curvature, and would blow up or stand still on another
problem. They are `SHARES` over L, the largest curvature at the starts and at the known minimisers, rounded to two digits:

    rate = share / L,    L = max over these points of |H(x)|_2

Both were picked by hand on Beale's function from (2, -2) and (-3, 3), where L is about 2.5e4.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt import problems, tree, validate
from jopt.bench import circumstances
from jopt.bench.planar_records import Landscape, PlanarRace, PlanarRun, from_json, to_json
from jopt.problems import Problem
from jopt.solvers import loop
from jopt.solvers.minimize import as_solver
from jopt.solvers.stopping import Stopping

SHARES = {"gd": 1.5, "momentum": 1.0, "nesterov": 1.0}
"""Learning rates in multiples of 1/L, picked by hand on Beale's function; a rate of 2/L is where descent turns unstable."""

RATES = {"adagrad": 1.0, "rmsprop": 0.02, "rmsprop-momentum": 0.01, "adam": 0.2}
"""Learning rates, picked by hand on Beale's function."""

MOMENTUM = 0.9
"""Weight of the past where a method has one: the customary value, not tuned."""

PACKAGES = ("jax", "jaxlib", "optax")
"""Packages whose versions a race names."""

CELLS = 201
"""Grid points along each side of a landscape."""

MARGIN = 0.25
"""Ground around the starts and minimisers, in parts of the longer side of their box; twice as much where paths go there."""

__all__ = [
    "CELLS", "MARGIN", "METHODS", "MOMENTUM", "PACKAGES", "RATES", "SHARES", "Landscape", "PlanarRace", "PlanarRun", "follow",
    "from_json", "landscape", "largest_curvature", "planar", "race_planar", "to_json",
]  # fmt: skip

METHODS: dict[str, Callable[[float], Any]] = {
    "gd": jopt.sgd,
    "momentum": lambda rate: jopt.momentum(rate, MOMENTUM),
    "nesterov": lambda rate: jopt.nesterov(rate, MOMENTUM),
    "adagrad": jopt.adagrad,
    "rmsprop": jopt.rmsprop,
    "rmsprop-momentum": lambda rate: jopt.rmsprop(rate, momentum=MOMENTUM),
    "adam": jopt.adam,
    "newton-cg": lambda _: jopt.newton_cg(),
    "lbfgs": lambda _: jopt.lbfgs(),
}
"""The methods by name: functions from a learning rate to what `jopt.minimize` takes as its method."""


def race_planar(
    problem: Problem | str,
    starts: Any = None,
    methods: Sequence[str] = (),
    steps: int = 1000,
    *,
    rates: Mapping[str, float] | None = None,
) -> PlanarRace:
    """Run methods side by side on a problem with two variables.

    Args:
      problem: a record of `jopt.problems` whose params are one vector of two entries, or the name of one.
      starts: points, shape (s, 2), s >= 1; None means the first two of the problem.
      methods: names of `METHODS`, in the order they are run; empty means all.
      steps: accepted steps at most, >= 1.
      rates: learning rates >= 0 by method, where they are to differ from those of this module.

    Raises:
      ValueError: for an unknown name, a problem that is not in the plane, starts that are not finite points of it, or a
        number out of its range.
      TypeError: if a number is none.

    Example:
      >>> from jopt.bench import trajectories
      >>> race = trajectories.race_planar("booth", methods=["lbfgs"], steps=50)
      >>> race.runs[0].success, race.runs[0].distance < 1e-3
      (True, True)
    """
    name = "race_planar"
    problem = planar(name, problem)
    points = _starts(name, problem, starts)
    words = tuple(dict.fromkeys(validate.sequence(name, "methods", methods))) or tuple(METHODS)
    chosen = [validate.choice(name, "methods", word, METHODS) for word in words]
    given = dict(rates or {})
    for word, rate in given.items():
        validate.choice(name, "rates", word, METHODS)
        validate.number(name, f"rates[{word!r}]", rate, low=0.0)
    if any(word in SHARES and word not in given for word in chosen):
        curvature = largest_curvature(problem.fun, np.concatenate([points, _minimisers(problem)]))
        given = {word: float(f"{share / curvature:.1e}") for word, share in SHARES.items()} | given
    entrants = {word: METHODS[word]((RATES | given).get(word, 0.0)) for word in chosen}
    return follow(problem, points, entrants, steps)


def follow(
    problem: Problem | str,
    starts: Any,
    entrants: Mapping[str, Any],
    steps: int,
) -> PlanarRace:
    """Run given methods side by side on a problem with two variables.

    Args:
      problem: as in `race_planar`.
      starts: as in `race_planar`.
      entrants: by name, what `jopt.minimize` takes as its method.
      steps: accepted steps at most, >= 1.

    Raises:
      ValueError: as `race_planar`, or if there are no entrants.
      TypeError: if a number is none, or an entrant is no method.
    """
    name = "follow"
    problem = planar(name, problem)
    points = _starts(name, problem, starts)
    validate.integer(name, "steps", steps, low=1)
    if not entrants:
        msg = f"{name}: entrants must hold at least one method, got none."
        raise ValueError(msg)
    at = jnp.asarray(points, jnp.result_type(float))
    gtol = float(jnp.finfo(at.dtype).eps) ** 0.5
    minimisers = _minimisers(problem)
    runs = {word: _runs(word, method, problem.fun, at, steps, gtol, minimisers) for word, method in entrants.items()}
    by_start = tuple(runs[word][i] for i in range(len(points)) for word in entrants)
    known = problem.minimum is not None and math.isfinite(problem.minimum)
    return PlanarRace(
        problem=repr(problem),
        steps=steps,
        gtol=gtol,
        starts=points,
        minimisers=minimisers,
        minimum=float(problem.minimum) if known and problem.minimum is not None else math.nan,
        landscape=landscape(problem.fun, *_around(points, problem, by_start)),
        runs=by_start,
        device=circumstances.device(),
        versions=circumstances.versions(PACKAGES),
    )


def planar(function: str, problem: Problem | str) -> Problem:
    """Return a problem of the plane, or raise naming the function that needs it."""
    found = problems.get(problem) if isinstance(problem, str) else problem
    if not isinstance(found, Problem):
        msg = f"{function}: problem must be a name or a record of jopt.problems, got {problem!r}."
        raise TypeError(msg)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(found.starts[0])]
    if shapes != [(2,)]:
        msg = (
            f"{function}: problem must have one vector of two entries as its params, such as beale or rosenbrock, got "
            f"{found!r} with leaves of shapes {shapes}."
        )
        raise ValueError(msg)
    return found


def largest_curvature(fun: Callable[[jax.Array], Any], points: np.ndarray) -> float:
    """Return the largest spectral norm of the Hessian at some points, shape (k, 2); 1 where it is 0 or not finite."""
    hessians = np.asarray(jax.jit(jax.vmap(jax.hessian(fun)))(jnp.asarray(points, jnp.result_type(float))))
    largest = max((float(np.max(np.abs(np.linalg.eigvalsh(h)))) for h in hessians if np.isfinite(h).all()), default=0.0)
    return largest or 1.0


def landscape(fun: Callable[[jax.Array], Any], low: Any, high: Any, cells: int = CELLS) -> Landscape:
    """Return a function over a rectangle.

    Args:
      fun: x, shape (2,) -> a scalar.
      low: left and lower end, shape (2,).
      high: right and upper end, shape (2,).
      cells: points along each side, >= 2.
    """
    x, y = (np.linspace(low[i], high[i], cells) for i in range(2))
    ground = jnp.asarray(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), jnp.result_type(float))
    values = np.asarray(jax.jit(jax.vmap(fun))(ground), np.float64)
    return Landscape(x, y, values.reshape(cells, cells))


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def _paths(fun: Any, solver: Any, starts: jax.Array, steps: int, gtol: jax.Array) -> Any:
    """Return rows of points, values and evaluations of each start, and the last state."""
    objective = jopt.Objective(fun, (), False)
    stopping = Stopping(gtol=gtol, maxiter=steps)

    def body(carry: Any) -> Any:
        before, rows = carry
        state, info = loop.trip(solver, objective, stopping, before)
        kept = info.accepted | (before.nfev == 0)
        new = (info.point.params, info.point.value, state.nfev)
        return state, tuple(
            row.at[state.nit].set(jnp.where(kept, x, row[state.nit])) for row, x in zip(rows, new, strict=True)
        )

    def from_one(start: jax.Array) -> Any:
        state = loop.begin(solver, objective, start)
        rows = (
            jnp.zeros((steps + 1, 2), start.dtype),
            jnp.zeros(steps + 1, tree.scalar_dtype(start)),
            jnp.zeros(steps + 1, jnp.int32),
        )
        state, rows = jax.lax.while_loop(lambda carry: carry[0].status == jopt.Status.RUNNING, body, (state, rows))
        return rows, state.nit, state.nhev, state.status

    return jax.lax.map(from_one, starts)


def _runs(
    word: str, method: Any, fun: Any, starts: jax.Array, steps: int, gtol: float, minimisers: np.ndarray
) -> list[PlanarRun]:
    solver = as_solver(method)
    found = jax.device_get(_paths(fun, solver, starts, steps, jnp.asarray(gtol, starts.dtype)))
    return [_run(word, repr(method), minimisers, *jax.tree.map(lambda x, i=i: x[i], found)) for i in range(len(starts))]


def _run(word: str, made_by: str, minimisers: np.ndarray, rows: Any, nit: Any, nhev: Any, status: Any) -> PlanarRun:
    points, values, evaluations = (np.asarray(row[: int(nit) + 1]) for row in rows)
    reason = jopt.Status(int(status))
    gaps = np.linalg.norm(minimisers - points[-1].astype(np.float64), axis=1)
    return PlanarRun(
        method=word,
        made_by=made_by,
        start=(float(points[0, 0]), float(points[0, 1])),
        points=points.astype(np.float64),
        values=values.astype(np.float64),
        evaluations=evaluations,
        products=int(nhev),
        status=reason.name,
        success=reason.success,
        message=reason.advice,
        distance=float(np.min(gaps)) if len(gaps) else math.nan,
    )


def _minimisers(problem: Problem) -> np.ndarray:
    return np.reshape(np.asarray(problem.minimisers, np.float64), (-1, 2))


def _starts(function: str, problem: Problem, starts: Any) -> np.ndarray:
    points = np.asarray(problem.starts[:2] if starts is None else starts, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        msg = f"{function}: starts must be finite points of the plane, shape (s, 2), s >= 1, got {starts!r}."
        raise ValueError(msg)
    return points


def _around(starts: np.ndarray, problem: Problem, runs: Sequence[PlanarRun]) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a rectangle around what matters; a path that runs away does not stretch it."""
    known = (*problem.minimisers, *problem.local_minimisers, *problem.stationary)
    marks = np.concatenate([starts, np.reshape(np.asarray(known, np.float64), (-1, 2))])
    low, high = marks.min(0), marks.max(0)
    room = MARGIN * (float((high - low).max()) or 1.0)
    paths = np.concatenate([run.points for run in runs])
    near = paths[((paths >= low - 2 * room) & (paths <= high + 2 * room)).all(1)]
    marks = np.concatenate([marks, near])
    return marks.min(0) - room, marks.max(0) + room

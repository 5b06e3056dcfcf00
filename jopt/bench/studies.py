# SPDX-License-Identifier: Apache-2.0
"""Small studies for pictures: what a textbook shows of descent, as records that `jopt.viz` draws.

    learning_rates    gradient descent on Rosenbrock's function, rates fixed and times 0.99^t
    momentum_weights  v' = b v + (1 - b) g, x' = x - 0.001 / (1 - b) v' for b = 0, 0.5, 0.9
    zig_zag           steepest descent with exact line search: <g_k+1, g_k> = 0
    loss_surface      f = s(w2 s(w1 x)), s the logistic function, under squared error and under cross entropy
    newton_models     f(t_k) + f'(t_k) (t - t_k) + f''(t_k)/2 (t - t_k)^2, whose vertex is t_k+1

The first three are races in the plane (`jopt.bench.trajectories`), so `jopt.viz.trajectories` draws and animates them.

Reference: Liquet, Moka, Nazarathy (2024), Mathematical Engineering of Deep Learning, CRC Press, chapter 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt import linesearch, univariate, validate
from jopt.bench import trajectories
from jopt.bench.planar_records import Landscape, PlanarRace
from jopt.problems import Problem, losses

DECAY = 0.99
"""Factor by which the decaying rates fall in each step, as in the reference."""

LOSSES = {
    "squared error": lambda outputs, targets: (jax.nn.sigmoid(outputs) - targets) ** 2,
    "cross entropy": losses.binary_cross_entropy,
}
"""Losses of a sample by name: (log-odds, targets in [0, 1]) -> losses, all of shape (n,)."""

TRUTH = (2.0, -3.0)
"""The weights whose outputs are the targets of the loss surface, and so its one minimiser; any with w2 != 0 would do."""

SPAN = 4.0
"""The inputs of the loss surface lie evenly between plus and minus this."""


class LossSurface(NamedTuple):
    """The mean loss of a network with two weights.

    Attributes:
      loss: name of the loss.
      landscape: over w1 and w2, less its value at `best`, so that both losses are 0 there.
      best: the weights of least loss, shape (2,).
    """

    loss: str
    landscape: Landscape
    best: np.ndarray


class NewtonModels(NamedTuple):
    """The parabolas of Newton's method in one variable; k + 1 points.

    Attributes:
      points: t_0, ..., t_k, shape (k + 1,).
      values: f at these.
      slopes: f' at these.
      curvatures: f'' at these.
      grid: where `curve` is taken, increasing, shape (c,).
      curve: f on the grid.
      status: name of a `jopt.Status`: how the method ended.
    """

    points: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    curvatures: np.ndarray
    grid: np.ndarray
    curve: np.ndarray
    status: str


def learning_rates(
    rates: Sequence[float] = (0.005, 0.0025), *, start: Sequence[float] = (0.2, 0.2), steps: int = 1000
) -> PlanarRace:
    """Run gradient descent on Rosenbrock's function, with each rate fixed and with each times 0.99^t.

    At the minimum descent is stable for rates below 2/1002, so a larger one that stays fixed cannot settle there.

    Args:
      rates: learning rates at the first step, each > 0.
      start: of all runs, shape (2,).
      steps: at most, >= 1.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if a number is none.

    Reference:
      Liquet, Moka, Nazarathy (2024), Mathematical Engineering of Deep Learning, section 4.1.
    """
    entrants: dict[str, Any] = {}
    for rate in validate.sequence("learning_rates", "rates", rates):
        validate.number("learning_rates", "rates", rate, low=0.0, low_open=True)
        entrants[f"{rate:g}"] = jopt.sgd(rate)
    for rate in rates:
        entrants[f"{rate:g} x {DECAY:g}^t"] = jopt.sgd(jopt.schedules.exponential_decay(rate, 1, DECAY))
    return trajectories.follow("rosenbrock", [start], entrants, steps)


def momentum_weights(
    weights: Sequence[float] = (0.0, 0.5, 0.9),
    *,
    rate: float = 0.001,
    start: Sequence[float] = (0.2, 0.2),
    steps: int = 1000,
) -> PlanarRace:
    """Run smoothed momentum on Rosenbrock's function, with the learning rate that makes up for the smoothing.

        v' = b v + (1 - b) g,      x' = x - rate / (1 - b) v'

    so that the newest gradient always counts `rate`: this is the heavy ball with that rate.

    Args:
      weights: b of each run, in [0, 1).
      rate: of the newest gradient, > 0.
      start: of all runs, shape (2,).
      steps: at most, >= 1.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if a number is none.

    Reference:
      Liquet, Moka, Nazarathy (2024), Mathematical Engineering of Deep Learning, equations 4.16 and 4.17.
    """
    validate.number("momentum_weights", "rate", rate, low=0.0, low_open=True)
    entrants = {}
    for b in validate.sequence("momentum_weights", "weights", weights):
        validate.number("momentum_weights", "weights", b, low=0.0, high=1.0, high_open=True)
        entrants[f"b = {b:g}"] = jopt.chain(jopt.ema(b, debias=False), jopt.scale_by_learning_rate(rate / (1.0 - b)))
    return trajectories.follow("rosenbrock", [start], entrants, steps)


def zig_zag(
    problem: Problem | str = "rosenbrock", *, start: Sequence[float] = (-0.4, -0.2), steps: int = 30
) -> PlanarRace:
    """Run steepest descent with exact line search: each step is at right angles to the one before.

    Args:
      problem: with two variables, or its name.
      start: shape (2,).
      steps: at most, >= 1.

    Raises:
      ValueError: for a problem that is not in the plane, or a number out of its range.
      TypeError: if a number is none.

    Reference:
      Liquet, Moka, Nazarathy (2024), Mathematical Engineering of Deep Learning, equation 4.43.
    """
    method = jopt.gradient_descent(search=linesearch.exact())
    return trajectories.follow(problem, [start], {"exact line search": method}, steps)


def loss_surface(
    loss: str = "squared error", *, reach: float = 8.0, samples: int = 41, cells: int = 121
) -> LossSurface:
    """Return the mean loss of the network f = s(w2 s(w1 x)) over its two weights, s the logistic function.

    The targets are the network's own outputs at `TRUTH`, so both losses are least there and differ in all else: far out the
    squared error is flat, the cross entropy steep.

    Args:
      loss: "squared error" or "cross entropy".
      reach: the weights go from minus to plus this, > 0.
      samples: number of inputs, evenly between plus and minus `SPAN`, >= 2.
      cells: grid points along each weight, >= 2.

    Raises:
      ValueError: for an unknown loss, or a number out of its range.
      TypeError: if a number is none.

    Reference:
      Glorot, Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, figure 5 (the
      plateaus of the squared error).
    """
    name = "loss_surface"
    of_sample = LOSSES[validate.choice(name, "loss", loss, LOSSES)]
    validate.number(name, "reach", reach, low=0.0, low_open=True)
    validate.integer(name, "samples", samples, low=2)
    validate.integer(name, "cells", cells, low=2)
    inputs = np.linspace(-SPAN, SPAN, samples)

    def outputs(w: Any) -> jax.Array:
        return w[1] * jax.nn.sigmoid(w[0] * jnp.asarray(inputs, w.dtype))

    def mean(w: jax.Array) -> jax.Array:
        targets = jax.nn.sigmoid(outputs(jnp.asarray(TRUTH, w.dtype)))
        return jnp.mean(of_sample(outputs(w), targets))

    ground = trajectories.landscape(mean, (-reach, -reach), (reach, reach), cells)
    least = float(mean(jnp.asarray(TRUTH, jnp.result_type(float))))
    return LossSurface(loss, ground._replace(values=ground.values - least), np.asarray(TRUTH))


def newton_models(
    fun: Callable[[Any], Any],
    start: float,
    *,
    steps: int = 4,
    window: tuple[float, float] | None = None,
    cells: int = 400,
) -> NewtonModels:
    """Return the first parabolas of Newton's method in one variable.

    Args:
      fun: a real scalar -> a real scalar, twice differentiable by JAX.
      start: where the method begins.
      steps: of the method at most, >= 1.
      window: ends of the grid on which `fun` is taken; None means around the points.
      cells: points of the grid, >= 2.

    Raises:
      ValueError: if a number is out of its range.
      TypeError: if a number is none, or `fun` not a function of one scalar giving one.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, section 3.3, doi:10.1007/978-0-387-40065-5.

    Example:
      >>> from jopt.bench import studies
      >>> models = studies.newton_models(lambda t: (t - 3.0) ** 2 * (t + 3.0), 1.5, steps=2)
      >>> bool(np.allclose(models.points, [1.5, 5.25, 3.5956], atol=1e-3))
      True
    """
    validate.integer("newton_models", "steps", steps, low=1)
    validate.integer("newton_models", "cells", cells, low=2)
    record = univariate.newton(fun, start, path=True, maxiter=steps)
    path: Any = record.path
    points = path.x[: int(record.nfev)]
    low, high = (float(jnp.min(points)), float(jnp.max(points))) if window is None else window
    room = trajectories.MARGIN * ((high - low) or 1.0) if window is None else 0.0
    grid = jnp.linspace(low - room, high + room, cells).astype(points.dtype)
    slope = jax.grad(fun)
    at_points = (jax.vmap(f)(points) for f in (fun, slope, jax.grad(slope)))
    arrays = [np.asarray(x, np.float64) for x in (points, *at_points, grid, jax.vmap(fun)(grid))]
    return NewtonModels(*arrays, status=jopt.Status(int(record.status)).name)

# SPDX-License-Identifier: Apache-2.0
"""What a race in the plane returns, and its JSON form.

The JSON form is one object, in strict JSON (a number that is not finite is written as null), with `schema` and the fields of
`PlanarRace`; arrays are lists of lists, row by row, and records are objects with the fields' names.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import jax
import numpy as np

from jopt.bench.lines import number, with_null

SCHEMA = 1
"""Version of the JSON form; raised when a field changes its meaning or goes."""


class Landscape(NamedTuple):
    """An objective over a rectangle.

    Attributes:
      x: first coordinates, increasing, shape (c,).
      y: second coordinates, increasing, shape (r,).
      values: f(x_j, y_i), shape (r, c).
    """

    x: np.ndarray
    y: np.ndarray
    values: np.ndarray


class PlanarRun(NamedTuple):
    """One method from one start.

    Attributes:
      method: its name.
      made_by: the call that made it, with its settings.
      start: where it began.
      points: the start and each accepted point, shape (k + 1, 2).
      values: of the objective at these, shape (k + 1,).
      evaluations: of value and gradient until each of these, whole numbers, shape (k + 1,).
      products: Hessian-vector products in all.
      status: name of a `jopt.Status`.
      success: whether the gradient test holds at the last point.
      message: what happened and what to try.
      distance: from the last point to the nearest known minimiser; NaN where none is known.
    """

    method: str
    made_by: str
    start: tuple[float, float]
    points: np.ndarray
    values: np.ndarray
    evaluations: np.ndarray
    products: int
    status: str
    success: bool
    message: str
    distance: float


class PlanarRace(NamedTuple):
    """Runs on one problem in the plane, with what is needed to draw and to repeat them.

    Attributes:
      problem: the call that made the problem.
      steps: accepted steps at most.
      gtol: largest gradient entry that ends a run.
      starts: where the runs began, shape (s, 2).
      minimisers: those known, shape (m, 2).
      minimum: the least value, NaN where it is unknown or there is none.
      landscape: the objective around the starts and minimisers.
      runs: one for each start and method.
      device: what JAX says of the device.
      versions: of Python and the packages, by name.
    """

    problem: str
    steps: int
    gtol: float
    starts: np.ndarray
    minimisers: np.ndarray
    minimum: float
    landscape: Landscape
    runs: tuple[PlanarRun, ...]
    device: str
    versions: dict[str, str]


def to_json(race: PlanarRace) -> str:
    """Return a race as one object of strict JSON; a number that is not finite is null."""
    form = {"schema": SCHEMA, **race._asdict(), "landscape": race.landscape._asdict()}
    form["runs"] = [run._asdict() for run in race.runs]
    plain = jax.tree.map(lambda x: x.tolist() if isinstance(x, np.ndarray) else x, form)
    return json.dumps(with_null(plain), allow_nan=False) + "\n"


def from_json(text: str) -> PlanarRace:
    """Return the race that `to_json` wrote; null becomes NaN where a number belongs.

    Raises:
      ValueError: if the text is not JSON, or not of this schema.
    """
    form = json.loads(text)
    if not isinstance(form, dict) or form.pop("schema", None) != SCHEMA:
        msg = f"from_json: not a planar race of schema {SCHEMA}: {text[:80]!r}."
        raise ValueError(msg)
    ground = Landscape(**{key: np.asarray(x, np.float64) for key, x in form.pop("landscape").items()})
    runs = tuple(_restored(**fields) for fields in form.pop("runs"))
    arrays = {key: np.reshape(np.asarray(form.pop(key), np.float64), (-1, 2)) for key in ("starts", "minimisers")}
    return PlanarRace(landscape=ground, runs=runs, minimum=number(form.pop("minimum")), **arrays, **form)


def _restored(start: Any, points: Any, values: Any, evaluations: Any, distance: Any, **fields: Any) -> PlanarRun:
    return PlanarRun(
        start=tuple(start),
        points=np.asarray(points, np.float64),
        values=np.asarray(values, np.float64),
        evaluations=np.asarray(evaluations, np.int32),
        distance=number(distance),
        **fields,
    )

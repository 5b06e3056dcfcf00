# SPDX-License-Identifier: Apache-2.0
"""What a race returns, and its JSON form.

The JSON form is one object, in strict JSON (a number that is not finite is written as null):

    schema      1; raised when a field changes its meaning or goes
    settings    {dataset, evaluations, precision, gtol, seed, problems, methods}, as in `Settings`
    device      what JAX says of the device that ran it
    versions    {python, jax, jaxlib, optax, jopt}
    runs        a list, one object for each problem and method, in the order they ran:
                {problem, method, made_by, final_loss, grad_norm, test_accuracy, steps, evaluations, compile_s, run_s,
                status, success, message, history: {evaluations, seconds, loss, grad_norm}}, as in `Run` and `Curve`
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from jopt.bench.lines import number, with_null

SCHEMA = 1
"""Version of the JSON form."""


class Settings(NamedTuple):
    """What a race was asked for.

    Attributes:
      dataset: name of the data; there is "digits".
      evaluations: evaluations of value and gradient that each method may spend, >= 2.
      precision: "float64" or "float32", of parameters and data.
      gtol: gradient tolerance, as in `jopt.minimize`, >= 0; None means jopt's default.
      seed: of the network's start, >= 0.
      problems: names of problems, in the order they are run; empty means all.
      methods: names of methods, in the order they are run; empty means all.
    """

    dataset: str = "digits"
    evaluations: int = 1000
    precision: str = "float64"
    gtol: float | None = None
    seed: int = 0
    problems: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


class Curve(NamedTuple):
    """The course of a run: one entry for the start and one for each accepted step.

    Attributes:
      evaluations: evaluations spent until then.
      seconds: run time until then, taken in proportion to the evaluations (each trip of the loop makes one).
      loss: value of the objective.
      grad_norm: largest entry of its gradient.
    """

    evaluations: tuple[int, ...]
    seconds: tuple[float, ...]
    loss: tuple[float, ...]
    grad_norm: tuple[float, ...]


class Run(NamedTuple):
    """One method on one problem.

    Attributes:
      problem: name of the problem.
      method: name of the method.
      made_by: the call that made the method, with its settings.
      final_loss: objective at the point returned.
      grad_norm: largest entry of the gradient there.
      test_accuracy: share of the test samples classified rightly there.
      steps: accepted steps.
      evaluations: evaluations of value and gradient.
      compile_s: seconds to trace and compile the whole solve.
      run_s: seconds to run it, the median of some repetitions.
      status: name of a `jopt.Status`.
      success: whether a requested test holds at the point returned.
      message: what happened and what to try.
      history: the course.
    """

    problem: str
    method: str
    made_by: str
    final_loss: float
    grad_norm: float
    test_accuracy: float
    steps: int
    evaluations: int
    compile_s: float
    run_s: float
    status: str
    success: bool
    message: str
    history: Curve

    @property
    def finite(self) -> bool:
        """Whether the run met finite numbers alone."""
        figures = (self.final_loss, self.grad_norm, self.test_accuracy)
        return all(map(math.isfinite, figures)) and self.status not in {"NONFINITE", "UNBOUNDED"}


class Race(NamedTuple):
    """All runs of a race, with what is needed to repeat it.

    Attributes:
      settings: what was asked for, with the problems and methods that ran.
      device: what JAX says of the device.
      versions: of Python and the packages, by name.
      runs: one for each problem and method, in the order they ran.
    """

    settings: Settings
    device: str
    versions: dict[str, str]
    runs: tuple[Run, ...]


def to_json(race: Race) -> str:
    """Return a race in the JSON form of this module."""
    runs = [run._asdict() | {"history": run.history._asdict()} for run in race.runs]
    form = {"schema": SCHEMA, **race._asdict(), "settings": race.settings._asdict(), "runs": runs}
    return json.dumps(with_null(form), allow_nan=False) + "\n"


def from_json(text: str) -> Race:
    """Return the race that `to_json` wrote; null becomes NaN where a number belongs.

    Raises:
      ValueError: if the text is not JSON, or not of this schema.
    """
    form = json.loads(text)
    if not isinstance(form, dict) or form.get("schema") != SCHEMA:
        found = form.get("schema") if isinstance(form, dict) else type(form).__name__
        msg = f"from_json: schema must be {SCHEMA}, got {found!r}."
        raise ValueError(msg)
    settings: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in form["settings"].items()}
    runs = tuple(_run(**fields) for fields in form["runs"])
    return Race(Settings(**settings), form["device"], form["versions"], runs)


def _run(history: dict[str, Any], **fields: Any) -> Run:
    curve = Curve(**{key: tuple(map(number, column)) for key, column in history.items()})
    return Run(history=curve, **{key: number(x) for key, x in fields.items()})

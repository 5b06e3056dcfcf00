# SPDX-License-Identifier: Apache-2.0
"""The CUTEst benchmark: jopt's methods and rivals on its problems, one solve at a time, each judged afresh.

What is measured, and how:

- Solvers take turns on each problem, in a process of its own with one thread (`jopt.bench.workers`); past the limit the
  process is killed, which counts as a failure, and the race goes on in a new one. A fresh process comes every
  `PROBLEMS_PER_PROCESS` problems, too, which bounds the memory that compiled programs hold.
- `compile_s` is the time to trace and compile. `run_s` is the least time of some solves, the first of which warms up what a
  first run starts: `REPEATS` or more until `LEAST_S` seconds are spent, but none after `ENOUGH_S`. Each ends when its
  results are there.
- Value and gradient at the start and at the point returned come from a program of the benchmark's own. In float32 the
  values come from a second process in float64, too. Within bounds the gradient is the projected one, and a point outside
  them has no value. `jopt.bench.scores` judges from these alone.
"""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp

from jopt import validate
from jopt.bench import circumstances, cutest_problems, rivals
from jopt.bench.cutest_records import FILE, Header, Race, Row, Settings, resume
from jopt.bench.entrants import Answer, Budget, Entrant
from jopt.bench.suites import PACKAGES
from jopt.bench.workers import Failure, Worker
from jopt.linalg.box import project, projected_gradient

REPEATS = 4
LEAST_S = 0.05
ENOUGH_S = 1.0
PROBLEMS_PER_PROCESS = 25

JUDGE_S = 60.0
"""Seconds that the float64 process may take to compile the objective and evaluate one point."""

LISTING_S = 120.0
"""Seconds that the process may take to say what it has at hand."""

Report = Callable[[int, int, str], None]
"""Called as `(solves done, solves in all, the one that begins)`."""


class Cast(NamedTuple):
    """Who runs on what.

    Attributes:
      problems: function of nothing that loads problems by name, with the attributes of sif2jax's.
      entrants: function of nothing that returns `Entrant`s by name.
    """

    problems: Callable[[], dict[str, Any]] = cutest_problems.load
    entrants: Callable[[], dict[str, Entrant]] = rivals.entrants


class Listing(NamedTuple):
    """What a process of the benchmark has at hand.

    Attributes:
      sizes: number of variables by problem.
      solvers: names.
      device: what JAX says of the device.
    """

    sizes: dict[str, int]
    solvers: tuple[str, ...]
    device: str


class Bench:
    """The side of the benchmark that runs in the process: answers `list`, `solve` and `judge`.

    Args:
      precision: "float64" or "float32".
      cast: who runs on what.
    """

    def __init__(self, precision: str, cast: Cast) -> None:
        warnings.simplefilter("ignore")  # sif2jax asks for float64 in float32 too; this process is ours alone
        jax.config.update("jax_enable_x64", precision == "float64")
        self._dtype = jnp.dtype(precision)
        self._problems = cast.problems()
        self._entrants = cast.entrants()
        self._prepared = functools.lru_cache(maxsize=1)(self._prepare)

    def __call__(self, request: tuple[Any, ...]) -> Any:
        """Answer a request: what is wanted, and the arguments of the method for it."""
        what, *arguments = request
        return {"list": self.listing, "solve": self.solve, "judge": self.judge}[what](*arguments)

    def listing(self) -> Listing:
        """Return what is at hand."""
        return Listing(cutest_problems.sizes(self._problems), tuple(self._entrants), circumstances.device())

    def solve(self, problem: str, solver: str, budget: Budget) -> tuple[Row, list[float]]:
        """Return the row of a solve, and the point for a judge of another precision."""
        made, value_and_grad, (fun0, grad0) = self._prepared(problem)
        entrant = self._entrants[solver]
        compile_s, solve = entrant.build(made.fun, made.x0, budget._replace(bounds=made.bounds))
        answer, run_s = _timed(solve, made.x0)
        fun, grad = value_and_grad(answer.x)
        row = Row(
            problem,
            made.size,
            solver,
            fun0=fun0,
            grad0=grad0,
            fun=fun,
            grad=grad,
            exact_fun0=fun0,
            exact_fun=fun,
            claimed=bool(answer.claimed),
            word=entrant.word(int(answer.code)),
            nit=int(answer.nit),
            nfev=int(answer.nfev),
            nhev=int(answer.nhev),
            compile_s=compile_s,
            run_s=run_s,
        )
        return row, [float(entry) for entry in answer.x]

    def judge(self, problem: str, x: list[float]) -> tuple[float, float]:
        """Return the values at the start and at a point."""
        made, value_and_grad, (fun0, _) = self._prepared(problem)
        return fun0, value_and_grad(jnp.asarray(x, made.x0.dtype))[0]

    def _prepare(self, name: str) -> tuple[Any, Any, tuple[float, float]]:
        made = cutest_problems.flat(name, self._problems[name], self._dtype)

        def judged(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            value, grad = jax.value_and_grad(made.fun)(x)
            if made.bounds is None:
                return value, grad
            inside = jnp.all(project(made.bounds, x) == x)
            return jnp.where(inside, value, jnp.nan), projected_gradient(made.bounds, x, grad)

        program = jax.jit(judged).lower(made.x0).compile()

        def value_and_grad(x: jax.Array) -> tuple[float, float]:
            value, grad = program(x)
            return float(value), float(jnp.max(jnp.abs(grad)))

        return made, value_and_grad, value_and_grad(made.x0)


def _timed(solve: Callable[[jax.Array], Answer], x0: jax.Array) -> tuple[Answer, float]:
    """Return the answer and the least seconds of some solves."""
    seconds: list[float] = []
    while True:
        begin = time.perf_counter()
        answer = solve(x0)
        seconds.append(time.perf_counter() - begin)
        spent = sum(seconds)
        if spent >= ENOUGH_S or (spent >= LEAST_S and len(seconds) >= REPEATS):
            return answer, min(seconds)


def race_cutest(
    settings: Settings = Settings(),  # noqa: B008 - immutable
    path: Path | None = None,
    report: Report | None = None,
    *,
    mixed: bool = False,
    cast: Cast = Cast(),  # noqa: B008 - immutable
) -> Race:
    """Run each method on each problem, judge and measure.

    Args:
      settings: what to run.
      path: file of rows: those that it holds are not run again, new ones are added as they come. None keeps no file.
      report: told of each solve as it begins, and of the end.
      mixed: whether to add to a file that other versions, another commit or another device began.
      cast: who runs on what.

    Returns:
      The race, with the names of what ran in its settings.

    Raises:
      ValueError: if a setting is out of its range, a name is unknown, or the file is of another task.
      TypeError: if a number is none.
      RuntimeError: if the process cannot start, as where sif2jax is not installed.
    """
    check(settings)
    with Worker(functools.partial(Bench, settings.precision, cast)) as worker:
        listing = worker.ask(("list",), LISTING_S)
        if not isinstance(listing, Listing):
            _give_up(listing)
        settings = chosen(settings, listing)
        header = _header(settings, listing.device)
        headers, rows = ((header,), ()) if path is None else resume(path, header, mixed=mixed)
        with Worker(functools.partial(Bench, "float64", cast)) as judge:
            new = _run(settings, listing, rows, worker, None if settings.precision == "float64" else judge, report)
            for row in new:
                rows = (*rows, row)
                if path is not None:
                    FILE.append(path, row)
    wanted = {(name, method) for name in settings.names for method in settings.methods}
    return Race(settings, headers, tuple(row for row in rows if (row.problem, row.solver) in wanted))


def check(settings: Settings) -> None:
    """Raise if a setting is out of its range.

    Raises:
      ValueError: if it is.
      TypeError: if a number is none.
    """
    name = "race_cutest"
    validate.choice(name, "half", settings.half, cutest_problems.HALVES)
    validate.choice(name, "precision", settings.precision, ("float32", "float64"))
    validate.integer(name, "max_n", settings.max_n, low=1)
    validate.integer(name, "maxiter", settings.maxiter, low=1)
    validate.number(name, "gtol", settings.gtol, low=0.0)
    validate.number(name, "limit", settings.limit, low=0.0, low_open=True)


def chosen(settings: Settings, listing: Listing) -> Settings:
    """Return the settings with the names of what will run filled in.

    A problem that is named runs whatever its half and size: whoever names it knows.

    Raises:
      ValueError: if a name is unknown, or no problem is left.
    """
    function = "race_cutest"
    methods = tuple(dict.fromkeys(settings.methods or listing.solvers))
    hint = "A rival takes part where its package is installed: pip install 'jopt[cutest]'."
    for method in methods:
        validate.choice(function, "methods", method, listing.solvers, hint=hint)
    for name in settings.names:
        validate.choice(function, "names", name, listing.sizes)
    names = tuple(dict.fromkeys(settings.names)) or tuple(
        name
        for name, size in listing.sizes.items()
        if size <= settings.max_n and settings.half in {"both", cutest_problems.half(name)}
    )
    if not names:
        msg = f"{function}: no problem of the half {settings.half!r} has at most {settings.max_n} variables."
        raise ValueError(msg)
    return settings._replace(names=names, methods=methods)


def _give_up(failure: Failure) -> NoReturn:
    msg = f"race_cutest: the problems could not be listed: {failure.text}"
    raise RuntimeError(msg)


def _run(
    settings: Settings,
    listing: Listing,
    rows: Iterable[Row],
    worker: Worker,
    judge: Worker | None,
    report: Report | None,
) -> Iterable[Row]:
    """Yield the rows that are missing, in turns on each problem."""
    done = {(row.problem, row.solver) for row in rows}
    budget = Budget(settings.gtol, settings.maxiter)
    total = len(settings.names) * len(settings.methods)
    count = 0
    for i, name in enumerate(settings.names):
        missing = [method for method in settings.methods if (name, method) not in done]
        count += len(settings.methods) - len(missing)
        if i and i % PROBLEMS_PER_PROCESS == 0:
            for process in filter(None, (worker, judge)):
                process.refresh()
        for method in missing:
            if report is not None:
                report(count, total, f"{name}, {method}")
            answer = worker.ask(("solve", name, method, budget), settings.limit)
            count += 1
            yield _row(name, listing.sizes[name], method, answer, judge)
    if report is not None:
        report(total, total, "done")


def _row(name: str, size: int, method: str, answer: Any, judge: Worker | None) -> Row:
    if isinstance(answer, Failure):
        return Row(name, size, method, error=f"{answer.kind}: {answer.text}")
    row, x = answer
    if judge is None:
        return row
    values = judge.ask(("judge", name, x), JUDGE_S)
    exact_fun0, exact_fun = (math.nan, math.nan) if isinstance(values, Failure) else values
    return row._replace(exact_fun0=exact_fun0, exact_fun=exact_fun)


def _header(settings: Settings, device: str) -> Header:
    task = (settings.precision, settings.gtol, settings.maxiter, settings.limit)
    return Header(*task, device, circumstances.versions(PACKAGES), circumstances.commit(), settings.family)

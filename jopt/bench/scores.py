# SPDX-License-Identifier: Apache-2.0
"""Judging a CUTEst benchmark: what counts as solved, whose word was true, who is faster.

Solved, in float64: at the point returned, evaluated afresh, |g|_inf <= 2 gtol + 1e-9 |g0|_inf, and the value is not above
that of the start. The slack is for round-off: a gradient from another compiled program differs in its last digits, and
on badly scaled problems by far more than gtol, so that a solve that met its test would fail ours by chance. `Summary`
counts beside it the solves that meet |g|_inf <= gtol to the letter.

Solved, in float32: f(x) - f* <= 1e-4 (f(x0) - f*), with f in float64 and f* the least value that any solver reached;
round-off in single precision makes a test on the gradient a matter of luck.

Times are compared by the geometric mean of their ratio over the problems that both solved, and by performance profiles:
rho_s(tau) is the share of all problems that solver s solved within tau times the time of the fastest on each.

Reference: Dolan and Moré (2002), Benchmarking optimization software with performance profiles,
doi:10.1007/s101070100263; the decrease test: Moré and Wild (2009), Benchmarking derivative-free optimization algorithms,
equation (2.2), doi:10.1137/080724083.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jopt.bench.cutest_records import Race, Row

SLACK = 2.0
"""Times gtol: for round-off between the solver's program and the judge's."""

ROUNDING = 1e-9
"""Of |g0|_inf: round-off in gradients of badly scaled problems, where terms of the size of g0 cancel."""

VALUE_ROUNDING = 1e-12
"""Of |f0|: round-off in the value, by which a point may lie above the start."""

DECREASE = 1e-4
"""Of the decrease from the start to the least value known: what may be missing in float32."""

LARGE = 1000
"""Variables from which a problem counts as large."""

Verdicts = Mapping[tuple[str, str], bool]
"""Whether solved, by problem and solver."""


class Ratio(NamedTuple):
    """A geometric mean of ratios.

    Attributes:
      mean: of the first's figures over the second's; NaN if there are none.
      over: number of problems it is taken over.
    """

    mean: float
    over: int


class Profile(NamedTuple):
    """A performance profile: a step function, constant from each ratio to the next.

    Attributes:
      ratios: tau >= 1, increasing: time over that of the fastest.
      shares: rho(tau), the share of problems solved within that ratio.
    """

    ratios: tuple[float, ...]
    shares: tuple[float, ...]


class Summary(NamedTuple):
    """One solver over all problems.

    Attributes:
      solver: its name.
      problems: that all solvers of the race ran.
      solved: of these.
      strict: with |g|_inf <= gtol to the letter, and no error.
      false_claims: success claimed where the gradient, judged afresh, is not small.
      errors: time-outs, crashes and exceptions.
      nit: median iterations over the problems it solved; NaN if none.
      nfev: median evaluations over these.
      nhev: median Hessian-vector products over these.
      compile_s: median seconds of compilation, over all without an error.
      run_s: median seconds of a solve over the problems it solved.
      time: seconds over those of the solver compared with, over the problems both solved.
      evaluations: evaluations likewise.
      products: Hessian-vector products likewise, where both made some.
    """

    solver: str
    problems: int
    solved: int
    strict: int
    false_claims: int
    errors: int
    nit: float
    nfev: float
    nhev: float
    compile_s: float
    run_s: float
    time: Ratio
    evaluations: Ratio
    products: Ratio


def at_tolerance(row: Row, gtol: float) -> bool:
    """Whether the gradient at the point returned, judged afresh, is small up to round-off."""
    if row.error or not all(map(math.isfinite, (row.fun, row.grad, row.grad0))):
        return False
    return row.grad <= SLACK * gtol + ROUNDING * row.grad0


def false_claim(row: Row, gtol: float) -> bool:
    """Whether the solver claimed success where the gradient is not small."""
    return row.claimed and not at_tolerance(row, gtol)


def stationary(row: Row, gtol: float) -> bool:
    """Whether a float64 solve counts as solved: its gradient is small and its value not above the start's."""
    not_above = row.fun <= row.fun0 + VALUE_ROUNDING * abs(row.fun0)
    return at_tolerance(row, gtol) and not_above


def decreased(row: Row, least: float) -> bool:
    """Whether a float32 solve counts as solved: it made nearly all of the decrease that is possible.

    Args:
      row: of the solve.
      least: f*, the least value known, in float64.
    """
    if row.error or not math.isfinite(row.exact_fun):
        return False
    return row.exact_fun - least <= DECREASE * max(row.exact_fun0 - least, sys.float_info.min)


def least_values(rows: Iterable[Row]) -> dict[str, float]:
    """Return the least finite value in float64 that any solver reached, by problem."""
    least: dict[str, float] = {}
    for row in rows:
        if math.isfinite(row.exact_fun):
            least[row.problem] = min(row.exact_fun, least.get(row.problem, math.inf))
    return least


def verdicts(race: Race, reference: Iterable[Row] = ()) -> dict[tuple[str, str], bool]:
    """Return for each problem and solver whether it counts as solved.

    Args:
      race: whose rows are judged.
      reference: rows of other races, such as a float64 one, whose values count for f* in float32.
    """
    gtol = race.settings.gtol
    if race.settings.precision == "float64":
        return {(row.problem, row.solver): stationary(row, gtol) for row in race.rows}
    least = least_values([*race.rows, *reference])
    return {(row.problem, row.solver): decreased(row, least.get(row.problem, math.inf)) for row in race.rows}


def complete(race: Race) -> dict[str, dict[str, Row]]:
    """Return the rows by problem and solver, of the problems that all solvers of the race ran."""
    table: dict[str, dict[str, Row]] = {}
    for row in race.rows:
        table.setdefault(row.problem, {})[row.solver] = row
    return {problem: rows for problem, rows in table.items() if all(name in rows for name in race.settings.methods)}


def geometric_mean(ratios: Sequence[float]) -> Ratio:
    """Return the geometric mean of positive ratios, with their number."""
    if not ratios:
        return Ratio(math.nan, 0)
    return Ratio(math.exp(statistics.fmean(map(math.log, ratios))), len(ratios))


def ratio(race: Race, solved: Verdicts, first: str, second: str, *, field: str = "run_s", least_size: int = 0) -> Ratio:
    """Return how the figures of two solvers compare over the problems that both solved.

    Args:
      race: the race.
      solved: its verdicts.
      first: the solver above the line.
      second: the solver below it.
      field: of `Row`; problems where it is not positive for both are left out.
      least_size: variables at least.
    """
    pairs = [
        (getattr(rows[first], field), getattr(rows[second], field))
        for problem, rows in complete(race).items()
        if rows[first].size >= least_size and solved[problem, first] and solved[problem, second]
    ]
    return geometric_mean([one / other for one, other in pairs if one > 0 and other > 0])


def profiles(times: Mapping[str, Sequence[float]]) -> dict[str, Profile]:
    """Return the performance profile of each solver (Dolan and Moré 2002, equation 2.1).

    Args:
      times: for each solver its positive time on each problem, in one order of problems; infinity where it did not solve
        it. A problem that nobody solved counts in the shares all the same.

    Example:
      >>> profiles({"a": [1.0, 4.0], "b": [2.0, float("inf")]})["b"]
      Profile(ratios=(1.0, 2.0), shares=(0.0, 0.5))
    """
    best = [min(column) for column in zip(*times.values(), strict=True)]
    made = {}
    for solver, own in times.items():
        ratios = sorted(t / b for t, b in zip(own, best, strict=True) if math.isfinite(t))
        steps = {1.0: 0.0} | {tau: (i + 1) / len(best) for i, tau in enumerate(ratios)}
        made[solver] = Profile(tuple(steps), tuple(steps.values()))
    return made


def profiles_of(race: Race, solved: Verdicts) -> dict[str, Profile]:
    """Return the performance profiles of a race, by run time, over the problems that all ran."""
    table = complete(race)
    return profiles(
        {
            name: [rows[name].run_s if solved[problem, name] else math.inf for problem, rows in table.items()]
            for name in race.settings.methods
        }
    )


def summaries(race: Race, solved: Verdicts, against: str) -> tuple[Summary, ...]:
    """Return a summary of each solver, in the order of the race.

    Args:
      race: the race.
      solved: its verdicts.
      against: the solver whose times the others' are divided by.
    """
    table = complete(race)
    made = []
    for name in race.settings.methods:
        rows = [by_solver[name] for by_solver in table.values()]
        good = [row for row in rows if solved[row.problem, name]]
        bad = [row for row in rows if row.error]
        made.append(
            Summary(
                solver=name,
                problems=len(rows),
                solved=len(good),
                strict=sum(row.grad <= race.settings.gtol for row in rows),
                false_claims=sum(false_claim(row, race.settings.gtol) for row in rows),
                errors=len(bad),
                nit=_median([row.nit for row in good]),
                nfev=_median([row.nfev for row in good]),
                nhev=_median([row.nhev for row in good]),
                compile_s=_median([row.compile_s for row in rows if not row.error]),
                run_s=_median([row.run_s for row in good]),
                time=ratio(race, solved, name, against),
                evaluations=ratio(race, solved, name, against, field="nfev"),
                products=ratio(race, solved, name, against, field="nhev"),
            )
        )
    return tuple(made)


def _median(numbers: Sequence[float]) -> float:
    return statistics.median(numbers) if numbers else math.nan

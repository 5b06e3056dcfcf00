# SPDX-License-Identifier: Apache-2.0
"""What solvers reach within a budget, and how their time grows with the size: pictures of a race without a rival.

    d_s(kappa) = share of the problems that solver s solved within kappa (n + 1) evaluations, n variables each

Here an evaluation is one of value and gradient, and a Hessian-vector product counts as another.

Reference: Moré and Wild (2009), Benchmarking derivative-free optimization algorithms, doi:10.1137/080724083.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jopt.bench import scores
from jopt.bench.cutest_records import Race


class DataProfile(NamedTuple):
    """A data profile: a step function, 0 before the first budget, constant from each to the next.

    Attributes:
      budgets: kappa > 0, increasing: evaluations over n + 1.
      shares: d(kappa), the share of problems solved within that budget.
    """

    budgets: tuple[float, ...]
    shares: tuple[float, ...]


def data_profiles(costs: Mapping[str, Sequence[float]], sizes: Sequence[int]) -> dict[str, DataProfile]:
    """Return the data profile of each solver.

    Args:
      costs: for each solver the evaluations it spent on each problem, in one order of problems; infinity where it did not
        solve it. A problem that nobody solved counts in the shares all the same.
      sizes: numbers of variables n of the problems, in that order.

    Example:
      >>> data_profiles({"a": [6.0, float("inf")]}, [2, 9])["a"]
      DataProfile(budgets=(2.0,), shares=(0.5,))
    """
    made = {}
    for solver, own in costs.items():
        budgets = sorted(spent / (n + 1) for spent, n in zip(own, sizes, strict=True) if math.isfinite(spent))
        steps = {kappa: (i + 1) / len(sizes) for i, kappa in enumerate(budgets)}
        made[solver] = DataProfile(tuple(steps), tuple(steps.values()))
    return made


def data_profiles_of(race: Race, solved: scores.Verdicts) -> dict[str, DataProfile]:
    """Return the data profiles of a race, over the problems that all ran.

    A solver that does not count its evaluations has none.

    Args:
      race: the race.
      solved: its verdicts.
    """
    table = scores.complete(race)
    sizes = [next(iter(rows.values())).size for rows in table.values()]
    costs = {}
    for name in race.settings.methods:
        spent = [(rows[name].nfev, max(rows[name].nhev, 0), solved[problem, name]) for problem, rows in table.items()]
        if all(nfev >= 0 for nfev, _, good in spent if good):
            costs[name] = [nfev + nhev if good else math.inf for nfev, nhev, good in spent]
    return data_profiles(costs, sizes)


def times_of(race: Race, solved: scores.Verdicts) -> dict[str, tuple[tuple[int, ...], tuple[float, ...]]]:
    """Return for each solver the sizes of the problems that it solved, increasing, and the seconds it needed.

    Args:
      race: the race.
      solved: its verdicts.
    """
    made = {}
    for name in race.settings.methods:
        points = sorted((row.size, row.run_s) for row in race.rows if row.solver == name and solved[row.problem, name])
        made[name] = (tuple(size for size, _ in points), tuple(seconds for _, seconds in points))
    return made

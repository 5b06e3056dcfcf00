# SPDX-License-Identifier: Apache-2.0
"""Measured comparisons; everything here returns records, which `jopt.viz` draws and the commands print.

What is shared: circumstances.py (device, versions, commit), lines.py (files of JSON lines).

- Suites (`jopt bench steps` and so on, `jopt bench all`): turns.py (the engine: programs timed in turn), measurements.py (the
  records, ratios, shares of the limit), suites.py (what a suite is, how one is run), registry.py (all by name); steps.py,
  directions.py, products.py, compiling.py, training.py, batch.py (one suite each); marker.py (counts copies of a function in
  a program); suite_tables.py, suite_pictures.py and
  suite_commands.py (for people).
- Races of solvers (`jopt bench solvers`, `cutest`, `ablation`): cutest.py (how they are run and judged), cutest_problems.py and
  catalogue_problems.py (the problems), entrants.py, rivals.py and host_rivals.py (who takes part), ablation.py (variants of
  the trust region), workers.py (the process that may be killed), counting.py (whether solvers count truly),
  cutest_records.py (rows and their file), scores.py (what counts as solved, ratios, performance profiles), data_profiles.py,
  cutest_tables.py and solver_commands.py (for people).
- Files of either, compared: compare.py (`jopt bench --compare`).
- `jopt race`: race.py and records.py (on the handwritten digits), trajectories.py and planar_records.py (in the plane),
  race_commands.py.
- Small studies for pictures: studies.py (learning rates, momentum, zig-zag, loss surfaces, Newton's parabolas), hulls.py
  (stochastic gradients and the convex hull of the minima).
- commands.py, __main__.py: the command line of this room.
"""

from jopt.bench.race import METHODS, PROBLEMS, check, race_digits
from jopt.bench.records import Curve, Race, Run, Settings, from_json, to_json

__all__ = [
    "METHODS", "PROBLEMS", "Curve", "Race", "Run", "Settings", "check", "from_json", "race_digits", "to_json",
]  # fmt: skip

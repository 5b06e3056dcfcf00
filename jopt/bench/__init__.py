# SPDX-License-Identifier: Apache-2.0
"""Measured comparisons on real problems; everything here returns records, which `jopt.viz` draws and `jopt race` prints.

- race.py: first-order chains against L-BFGS on the handwritten digits.
- records.py: what a race returns, and its JSON form.
- cutest.py: jopt's methods against other packages on CUTEst problems (`jopt bench cutest`), with cutest_problems.py (the
  problems and their halves), rivals.py (who takes part), workers.py (the process that may be killed), cutest_records.py
  (rows and their file), scores.py (what counts as solved, ratios, profiles), cutest_tables.py (for people).
- ablation.py: variants of the trust region against its default, on the same problems (`jopt bench ablation`).
- directions.py: the cost of one L-BFGS direction (`python -m jopt.bench directions`).
- batch.py: thousands of small problems at once (`python -m jopt.bench.batch`).
- commands.py, __main__.py: the command line of this room.
"""

from jopt.bench.race import METHODS, PROBLEMS, check, race_digits
from jopt.bench.records import Curve, Race, Run, Settings, from_json, to_json

__all__ = [
    "METHODS", "PROBLEMS", "Curve", "Race", "Run", "Settings", "check", "from_json", "race_digits", "to_json",
]  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""Measured comparisons on real problems; everything here returns records, which `jopt.viz` draws and `jopt race` prints.

- race.py: first-order chains against L-BFGS on the handwritten digits.
- records.py: what a race returns, and its JSON form.
"""

from jopt.bench.race import METHODS, PROBLEMS, check, race_digits
from jopt.bench.records import Curve, Race, Run, Settings, from_json, to_json

__all__ = [
    "METHODS", "PROBLEMS", "Curve", "Race", "Run", "Settings", "check", "from_json", "race_digits", "to_json",
]  # fmt: skip

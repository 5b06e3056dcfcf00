# SPDX-License-Identifier: Apache-2.0
"""Nonlinear regression from NIST's Statistical Reference Datasets: data, models, starts and certified parameters.

- regressions.py: `load(name)` returns a `Regression`; `NAMES` lists the nine; `*.csv` are the data.
"""

from jopt.problems.nist.regressions import NAMES, Regression, load

__all__ = ["NAMES", "Regression", "load"]

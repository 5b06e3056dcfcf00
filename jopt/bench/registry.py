# SPDX-License-Identifier: Apache-2.0
"""The suites of the benchmark, by name."""

from __future__ import annotations

from jopt.bench import batch, compiling, directions, products, steps, training

SUITES = {module.SUITE.name: module.SUITE for module in (steps, directions, products, compiling, training, batch)}
"""Every suite under the name that the command line takes."""

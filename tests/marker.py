# SPDX-License-Identifier: Apache-2.0
"""How often does a function stand in a program? The counter of the benchmarks, for the tests."""

from jopt.bench.marker import copies, jaxprs_of, marked, marker_p

__all__ = ["copies", "jaxprs_of", "marked", "marker_p"]

# SPDX-License-Identifier: Apache-2.0
"""Transformations made of transformations: `chain` (chaining.py)."""

from jopt.combinators.chaining import chain

__all__ = ["chain"]

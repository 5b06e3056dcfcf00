# SPDX-License-Identifier: Apache-2.0
"""Operators applied to vectors, knowing nothing of objectives.

- `limited_memory` (limited_memory.py): the L-BFGS matrix and its product with a vector, in two forms.
"""

from jopt.linalg import limited_memory

__all__ = ["limited_memory"]

# SPDX-License-Identifier: Apache-2.0
"""jopt (being laid out)."""

from optax import apply_updates

from jopt.combinators import chain

__version__ = "0.1.0"

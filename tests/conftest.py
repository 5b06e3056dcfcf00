# SPDX-License-Identifier: Apache-2.0
"""Settings of every test: 64-bit types allowed (float32 trees must stay float32 all the same), one CPU device."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import matplotlib

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")

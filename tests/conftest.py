# SPDX-License-Identifier: Apache-2.0
"""Settings of every test: 64-bit types allowed (float32 trees must stay float32 all the same), eight virtual CPU devices."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import matplotlib

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 8)  # before any of them is asked for; arrays live on the first unless placed
matplotlib.use("Agg")

# SPDX-License-Identifier: Apache-2.0
"""Settings of every test: 64-bit types allowed (float32 trees must stay float32 all the same), eight virtual CPU devices.

Every compiled program takes a few memory maps of its process, of which Linux allows 65,530: a process that runs all tests
would come near, and XLA then crashes. Between modules the programs are let go where there are many.
"""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import matplotlib

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 8)  # before any of them is asked for; arrays live on the first unless placed
matplotlib.use("Agg")

MAPS = Path("/proc/self/maps")
MANY_MAPS = 20_000


def pytest_runtest_teardown(item, nextitem):
    if nextitem is not None and nextitem.fspath != item.fspath and MAPS.exists():
        with MAPS.open() as lines:
            many = sum(1 for _ in lines) > MANY_MAPS
        if many:
            jax.clear_caches()

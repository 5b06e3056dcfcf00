# SPDX-License-Identifier: Apache-2.0
"""Under which circumstances figures were measured: device, versions, commit. Every header of the benchmarks says so."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import jax

import jopt


def device() -> str:
    """Return what JAX says of the first device, and of how many there are where it is several."""
    devices = jax.devices()
    kinds = dict.fromkeys((devices[0].platform, devices[0].device_kind))  # some call themselves by their platform alone
    return ": ".join(kinds) + (f" x {len(devices)}" if len(devices) > 1 else "")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python, of jopt, and of those of the packages that are installed."""
    installed = [name for name in packages if importlib.util.find_spec(name) is not None]
    known = {name: metadata.version(name) for name in installed}
    return {"python": platform.python_version(), "jopt": jopt.__version__, **known}


def commit() -> str | None:
    """Return the commit of jopt's repository, with "+changes" if its files differ; None where there is none."""
    root = Path(jopt.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    git = ["git", "--no-optional-locks", "-C", str(root)]
    try:
        known = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", "jopt"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return known.stdout.strip() + ("+changes" if changes.stdout.strip() else "")

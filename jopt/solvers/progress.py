# SPDX-License-Identifier: Apache-2.0
"""A progress bar on the standard error stream, drawn by `rich`; nothing is shown where that is no terminal."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator

# Seconds between drawings: ten a second look smooth, and a drawing costs about a millisecond.
REFRESH_SECONDS = 0.1

Show = Callable[[int, float, float, bool], None]
"""`show(nit, value, grad_norm, at_once)`."""


def require(function: str) -> None:
    """Raise unless bars can be drawn.

    Raises:
      ImportError: naming the extra to install.
    """
    if importlib.util.find_spec("rich") is None:
        msg = f"{function}: progress=True needs the package rich; install it with: pip install 'jopt[progress]'."
        raise ImportError(msg)


@contextlib.contextmanager
def bar(wanted: bool, total: int) -> Iterator[Show]:
    """Yield a function that shows where a solve stands; it does nothing where no bar is wanted or none can be seen."""
    if not wanted:
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.completed}/{task.total} steps"),
        BarColumn(),
        TextColumn("value {task.fields[value]:.6g}  gradient {task.fields[grad_norm]:.2e}"),
        TimeElapsedColumn(),
    )
    drawn = 0.0
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, value=float("nan"), grad_norm=float("nan"))

        def show(nit: int, value: float, grad_norm: float, at_once: bool) -> None:
            nonlocal drawn
            now = time.perf_counter()
            if at_once or now - drawn >= REFRESH_SECONDS:
                drawn = now
                progress.update(task, completed=nit, value=float(value), grad_norm=float(grad_norm), refresh=True)

        yield show

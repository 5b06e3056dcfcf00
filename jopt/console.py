# SPDX-License-Identifier: Apache-2.0
"""What the commands share: how they read words, check files, complain, print tables and show that they work.

A mistake of the user is answered in one line and with exit code 2 (`refusing`), trouble with a file, a package or a device
in one line and with exit code 1 (`complain`). typer and rich come with an extra; they are imported when they are used.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

PLATFORMS = ("cpu", "gpu", "cuda", "rocm", "tpu")
"""What `--platform` is likely to mean; JAX takes the names of its plugins, too."""

PLATFORM_HELP = "What to run on, such as cpu, gpu or tpu (default: what JAX prefers)."

STANDARD_OUTPUT = Path("-")

SETTINGS = {"help_option_names": ["-h", "--help"]}
"""Of every application of the command line."""
"""What stands for it where a file is asked for."""

Report = Callable[[int, int, str], None]
"""Called as `(done, in all, what begins)`."""


def words(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas, without blanks around them.

    Example:
      >>> words("adam, lbfgs,")
      ('adam', 'lbfgs')
    """
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def complain(message: str) -> int:
    """Print one line on standard error and return the exit code 1."""
    print(f"jopt: {message}", file=sys.stderr)
    return 1


def found(module: str) -> bool:
    """Whether a module is installed; it is not imported."""
    return importlib.util.find_spec(module) is not None


def lacks(what: str, needed: Mapping[str, str], extra: str) -> int:
    """Say in one line which packages are not installed, if any; return the exit code.

    Args:
      what: needs them, such as "jopt race".
      needed: names of packages by module.
      extra: of jopt, that brings them.
    """
    missing = [package for module, package in needed.items() if not found(module)]
    return complain(f"{what} needs {', '.join(missing)}; pip install 'jopt[{extra}]'") if missing else 0


def check_output(option: str, path: Path | None, endings: tuple[str, ...] = ()) -> None:
    """Raise unless a file can be written there; None stands for no file.

    Args:
      option: that names it, without dashes.
      path: of the file.
      endings: such as ".png", one of which the name must have; none means any.

    Raises:
      ValueError: if it has another ending, is a directory or "-", or cannot be written.
    """
    if path is None:
        return
    if path == STANDARD_OUTPUT:
        msg = f"--{option} must name a file, got '-': it cannot go to standard output."
        raise ValueError(msg)
    if endings and path.suffix.lower() not in endings:
        msg = f"--{option} must name a file that ends in {' or '.join(endings)}, got {str(path)!r}."
        raise ValueError(msg)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        msg = f"--{option} must name a file in a directory that exists and can be written, got {str(path)!r}."
        raise ValueError(msg)


def write(path: Path, writer: Callable[[Path], Any], out: Any) -> int:
    """Call `writer(path)`, say that the file is there or why not, and return the exit code.

    Args:
      path: of the file.
      writer: writes it; may raise OSError.
      out: a rich console.
    """
    try:
        writer(path)
    except OSError as error:
        return complain(f"{path} could not be written: {error.strerror or error}")
    out.print(f"wrote {path}", markup=False, soft_wrap=True)
    return 0


def write_text(path: Path, text: str, out: Any) -> int:
    """Write a text as `write` does, or print it where the path is that of standard output."""
    if path == STANDARD_OUTPUT:
        print(text, end="" if text.endswith("\n") else "\n")
        return 0
    return write(path, lambda path: path.write_text(text, encoding="utf-8"), out)


def write_figure(path: Path, figure: Any, out: Any) -> int:
    """Write a matplotlib figure as a PNG, as `write` does."""
    return write(path, lambda path: figure.savefig(path, format="png", dpi=150), out)


def terminal(width: int, *, stderr: bool = False) -> Any:
    """Return a rich console.

    Args:
      width: in columns, where there is no terminal to ask.
      stderr: whether on standard error.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else width, highlight=False, stderr=stderr)


def grid(names: Sequence[str], left: int = 1) -> Any:
    """Return an empty rich table.

    Args:
      names: of the columns; a name may take two lines.
      left: so many columns at the left hold words that are not broken, the others numbers.
    """
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, name in enumerate(names):
        made.add_column(name, justify="left" if i < left else "right", no_wrap=i < left, overflow="fold")
    return made


def markdown_grid(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table.

    Args:
      names: of the columns.
      rows: of cells.
    """
    lines = [[" ".join(name.split()) for name in names], ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@contextlib.contextmanager
def bar(shown: bool) -> Iterator[Report | None]:
    """Show a progress bar on standard error within a block.

    Args:
      shown: whether to.

    Yields:
      The function to report to; None where no bar is shown.
    """
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, what: progress.update(task, completed=done, total=total, description=what)


@contextlib.contextmanager
def refusing(*prefixes: str) -> Iterator[None]:
    """Answer ValueError and TypeError within a block as typer answers what it does not understand.

    Args:
      *prefixes: names of functions that messages begin with, which say nothing to the user of a command.
    """
    import typer

    try:
        yield
    except (ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        for prefix in prefixes:
            text = text.removeprefix(f"{prefix}: ")
        raise typer.BadParameter(text) from None


def start_device(platform: str = "") -> int:
    """Choose what JAX runs on and start it; return the exit code.

    Args:
      platform: such as "cpu" or "gpu"; empty leaves the choice to JAX.
    """
    try:
        if platform:
            jax.config.update("jax_platforms", jax_platforms(platform))
        devices = jax.devices()
    except RuntimeError as error:
        return complain_of_platform(platform, str(error))
    return lacks_platform(platform, devices[0].platform)


def complain_of_platform(platform: str, why: str) -> int:
    """Say in one line that JAX could not start, and return the exit code 1.

    Args:
      platform: that was asked for; empty means any.
      why: what JAX says, whose first line is told without its advice.
    """
    reason = why.strip().splitlines()[0].partition(" (set ")[0].removeprefix("RuntimeError: ")
    if not platform:
        return complain(f"JAX has no device to run on: {reason}")
    return complain(f"JAX has no platform {platform!r} to run on here{_meant(platform)}: {reason}")


def jax_platforms(platform: str) -> str:
    """Return what JAX is to be told, as its option or as the variable JAX_PLATFORMS, to run on a platform.

    JAX takes "gpu" for every vendor's at once and fails unless all are there, so the installed plugin decides between
    them. The CPU comes second: without it, callbacks to the host fail on an accelerator.

    Args:
      platform: such as "cpu", "gpu" or "cuda".

    Example:
      >>> jax_platforms("CPU"), jax_platforms("tpu")
      ('cpu', 'tpu,cpu')
    """
    name = platform.lower()
    if name == "gpu":
        plugins = metadata.entry_points(group="jax_plugins")
        name = "rocm" if any("rocm" in plugin.name for plugin in plugins) else "cuda"
    return name if name == "cpu" else f"{name},cpu"


def lacks_platform(platform: str, there: str) -> int:
    """Say in one line that JAX does not run on a platform, if so; return the exit code.

    Args:
      platform: that is asked for; empty means any.
      there: that of the device that JAX runs on, as it calls it.
    """
    if not platform or platform.lower() in {there, *_aliases(there)}:
        return 0
    return complain(f"JAX has no platform {platform!r} to run on here, or was told too late: it runs on {there!r}.")


def _aliases(platform: str) -> tuple[str, ...]:
    return {"gpu": ("cuda", "rocm"), "cuda": ("gpu",), "rocm": ("gpu",)}.get(platform, ())


def _meant(platform: str) -> str:
    """Return a suggestion for the name of a platform, in brackets, or nothing."""
    near = [] if platform in PLATFORMS else difflib.get_close_matches(platform.lower(), PLATFORMS, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""

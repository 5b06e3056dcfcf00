# SPDX-License-Identifier: Apache-2.0
"""What a program costs: operations counted, memory as the compiler plans it, seconds to compile and to run.

Operations come from `costs.py`. Memory is what the compiled program says of itself (`memory_analysis`): its temporary
arrays and its outputs, together the most that it holds beyond its arguments. Compilation is timed once, with tracing; a
persistent compilation cache of JAX shortens it. A run is timed from the call until its results are there, several times
after one that does not count; the median is kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import report
from jopt.autodiff.costs import count_operations

REFUSALS = (TypeError, ValueError, NotImplementedError)
"""What JAX raises where a function has no rule for a mode: of these a row keeps the reason."""

_RULELESS = "'custom_lin'"  # JAX's name, in its message, for what is left of a `jax.custom_vjp` that was differentiated

UNITS = ("B", "kB", "MB", "GB", "TB")
THOUSAND = 1000


class CostRow(NamedTuple):
    """What one program costs; None where it is not known.

    Attributes:
      name: what it computes, and how.
      operations: floating-point operations, loops of unknown length counted for one trip.
      loops: loops of unknown length among them.
      multiple: operations over those of the function; None where the function has none.
      peak_bytes: temporary arrays and outputs; None where the backend does not say.
      compile_s: seconds to trace and compile.
      run_s: seconds of a run, the median of some.
      note: why a figure is missing, else empty.
    """

    name: str
    operations: int | None = None
    loops: int = 0
    multiple: float | None = None
    peak_bytes: int | None = None
    compile_s: float | None = None
    run_s: float | None = None
    note: str = ""


class Limits(NamedTuple):
    """Up to what a program is run.

    Attributes:
      operations: counted.
      bytes: of temporary arrays and outputs, as the compiler plans them.
    """

    operations: float
    bytes: float


class CostTable(NamedTuple):
    """Costs side by side; it prints as a table, and `jopt.viz.cost_bars` draws it.

    Attributes:
      title: what is computed, with its sizes.
      device: what JAX says of the device that ran it.
      version: of JAX.
      rows: the programs, the function itself first.
    """

    title: str
    device: str
    version: str
    rows: tuple[CostRow, ...]

    def __repr__(self) -> str:
        header = ("", "operations", "x function", "peak memory", "compile s", "run s", "x function")
        unit = self.rows[0].run_s if self.rows else None
        top, *lines = report.columns(header, [_cells(row, unit) for row in self.rows])
        title = f"{self.title}; {self.device}, jax {self.version}"
        notes = (f"{row.name}: {row.note}" for row in self.rows if row.note)
        return "\n".join([title, top, "-" * len(top), *lines, *notes])

    __str__ = __repr__

    def row(self, name: str) -> CostRow:
        """Return the first row whose name is, or begins with, a name.

        Args:
          name: of a row, such as "reverse"; one that is equal wins.

        Returns:
          The row.

        Raises:
          KeyError: if there is none.
        """
        for row in (*(r for r in self.rows if r.name == name), *(r for r in self.rows if r.name.startswith(name))):
            return row
        raise KeyError(name)


def compared(
    title: str,
    programs: Mapping[str, Callable[..., Any]],
    args: tuple[Any, ...],
    repeats: int,
    limits: Limits,
) -> CostTable:
    """Return the costs of programs of the same arguments.

    Args:
      title: what is computed.
      programs: by name; the first is the unit of the others, and raises if it cannot be run.
      args: trees of arrays.
      repeats: runs whose median is kept, >= 1.
      limits: up to which a program is run; one beyond them is compiled only.

    Returns:
      A `CostTable`. A program that JAX refuses, or cannot compile or run for want of memory, has a row with the reason.
    """
    rows: list[CostRow] = []
    for name, program in programs.items():
        try:
            row = _measured(name, program, args, repeats, limits)
        except (*REFUSALS, jax.errors.JaxRuntimeError) as error:
            if not rows:
                raise
            row = CostRow(name, note=reason(error))
        unit = rows[0].operations if rows else row.operations
        rows.append(row._replace(multiple=row.operations / unit if unit and row.operations is not None else None))
    return CostTable(title, device_name(args), jax.__version__, tuple(rows))


def reason(error: Exception) -> str:
    """Return in a line why JAX refused a program."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if _RULELESS in line:
        return f"forward mode through a jax.custom_vjp, which has a rule for reverse mode alone ({line})"
    return line


def _measured(name: str, program: Callable[..., Any], args: tuple[Any, ...], repeats: int, limits: Limits) -> CostRow:
    count = count_operations(program, *args)
    start = time.perf_counter()
    compiled = jax.jit(lambda *args: program(*args)).lower(*args).compile()  # a new function: nothing is remembered
    compile_s = time.perf_counter() - start
    row = CostRow(name, count.total, count.loops, None, peak_bytes(compiled), compile_s)
    if count.total > limits.operations:
        most = text(limits.operations)
        return row._replace(note=f"not run: {text(count.total)} operations are more than the limit of {most}")
    if row.peak_bytes is not None and row.peak_bytes > limits.bytes:
        most = size_text(limits.bytes)
        return row._replace(note=f"not run: {size_text(row.peak_bytes)} of memory are more than the limit of {most}")
    try:
        return row._replace(run_s=seconds(compiled, args, repeats))
    except jax.errors.JaxRuntimeError as error:
        return row._replace(note=f"not run to its end: {reason(error)}")


def seconds(run: Callable[..., Any], args: Iterable[Any], repeats: int) -> float:
    """Return the median time of some runs, after one that does not count."""
    jax.block_until_ready(run(*args))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run(*args))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_bytes(compiled: Any) -> int | None:
    """Return the bytes of a compiled program's temporary arrays and outputs, None where the backend does not say."""
    try:
        analysis = compiled.memory_analysis()
        return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)
    except (AttributeError, NotImplementedError, RuntimeError):
        return None


def device_name(args: Any) -> str:
    """Return what JAX says of the device that a program of these arguments runs on, and of how many where it is several."""
    entry = jnp.ravel(jax.tree.leaves(args)[0])[:1]  # computed where such a program is
    devices = sorted(entry.devices(), key=lambda device: device.id)
    platform, kind = devices[0].platform, devices[0].device_kind
    several = f" x {len(devices)}" if len(devices) > 1 else ""
    return (platform if platform == kind else f"{platform} ({kind})") + several


def text(number: float) -> str:
    """Return a number of operations in few characters: with commas up to seven digits, then with three."""
    return f"{number:,.0f}" if number < 10 * THOUSAND**2 else f"{number:.2e}"


def size_text(bytes_: float) -> str:
    """Return a number of bytes with a decimal unit."""
    unit = 0
    while bytes_ >= THOUSAND and unit < len(UNITS) - 1:
        bytes_, unit = bytes_ / THOUSAND, unit + 1
    return f"{bytes_:.3g} {UNITS[unit]}"


def _cells(row: CostRow, unit: float | None) -> tuple[str, ...]:
    def cell(value: float | None, form: Callable[[float], str]) -> str:
        return "-" if value is None else form(value)

    ratio = row.run_s / unit if row.run_s is not None and unit else None
    return (
        row.name,
        cell(row.operations, text) + (" a trip" if row.loops else ""),
        cell(row.multiple, lambda x: f"{x:.2f}"),
        cell(row.peak_bytes, size_text),
        cell(row.compile_s, lambda x: f"{x:.3f}"),
        cell(row.run_s, lambda x: f"{x:.2e}"),
        cell(ratio, lambda x: f"{x:.2f}"),
    )

# SPDX-License-Identifier: Apache-2.0
"""What the CUTEst benchmark records, and its file of JSON lines (`jopt.bench.lines`), from which a run is resumed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from jopt.bench.lines import Format

SCHEMA = 1
"""Version of the file; raised when a field changes its meaning or goes."""


class Settings(NamedTuple):
    """What the benchmark was asked for.

    Attributes:
      half: "even", "odd" or "both": which problems, by the parity of the SHA-256 of the name.
      max_n: variables at most.
      names: problems; empty means all of the half.
      methods: names of solvers, in the order they take turns; empty means all that are there.
      precision: "float64" or "float32", of the solves.
      gtol: tolerance on |g|_inf that solvers are asked for; within bounds g is the projected gradient, here and below.
      maxiter: iterations that each may make.
      limit: seconds that compilation and repeated runs of one solve may take together.
      family: "unconstrained" or "bounded".
    """

    half: str = "even"
    max_n: int = 5000
    names: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    precision: str = "float64"
    gtol: float = 1e-6
    maxiter: int = 2000
    limit: float = 60.0
    family: str = "unconstrained"


class Header(NamedTuple):
    """How the rows that follow were measured.

    Attributes:
      precision: of the solves.
      gtol: tolerance that the solvers were asked for.
      maxiter: iterations each might make.
      limit: seconds for one solve, compilation included.
      device: what JAX says of the device.
      versions: of Python and the packages, by name.
      commit: of jopt, with "+changes" if its files differed from it; None where there is no repository.
      family: of the problems.
    """

    precision: str
    gtol: float
    maxiter: int
    limit: float
    device: str
    versions: dict[str, str]
    commit: str | None
    family: str = "unconstrained"

    @property
    def task(self) -> tuple[Any, ...]:
        """What the solvers were asked to do: rows that differ in this must never stand in one table."""
        return (self.precision, self.gtol, self.maxiter, self.limit, self.family)


class Row(NamedTuple):
    """One solver on one problem.

    Attributes:
      problem: name in CUTEst.
      size: number of variables.
      solver: name of the solver.
      fun0: value at the start.
      grad0: |g|_inf at the start.
      fun: value at the point returned, evaluated afresh in the precision of the solve.
      grad: |g|_inf there, evaluated afresh likewise.
      exact_fun0: value at the start in float64.
      exact_fun: value at the point returned in float64.
      claimed: whether the solver said that its own test holds.
      word: the solver's status.
      nit: iterations.
      nfev: evaluations as the solver counts them, -1 where it does not.
      nhev: Hessian-vector products.
      compile_s: seconds to trace and compile.
      run_s: seconds of the solve, the least of some repetitions.
      error: "timeout", "crash" or "error" with what happened, or empty. A row with an error holds no figures.
    """

    problem: str
    size: int
    solver: str
    fun0: float = math.nan
    grad0: float = math.nan
    fun: float = math.nan
    grad: float = math.nan
    exact_fun0: float = math.nan
    exact_fun: float = math.nan
    claimed: bool = False
    word: str = ""
    nit: int = -1
    nfev: int = -1
    nhev: int = -1
    compile_s: float = math.nan
    run_s: float = math.nan
    error: str = ""


class Race(NamedTuple):
    """The rows of a benchmark, with what is needed to repeat it.

    Attributes:
      settings: what was asked for, with the problems and methods that ran.
      headers: how it was measured; more than one if the file was added to under other circumstances.
      rows: one for each problem and method that was asked for and has been run.
    """

    settings: Settings
    headers: tuple[Header, ...]
    rows: tuple[Row, ...]


FILE = Format("a race of solvers", SCHEMA, Header, Row)
"""The JSON-lines form of these records."""


def resume(path: Path, header: Header, *, mixed: bool = False) -> tuple[tuple[Header, ...], tuple[Row, ...]]:
    """Make a file ready for rows measured as `header` says, and return the headers and rows it then holds.

    Args:
      path: the file; it is made if it is not there.
      header: of the rows to come; written if it differs from the last one in the file.
      mixed: whether to add to rows that other versions, another commit or another device made.

    Raises:
      ValueError: if the file holds rows of another task, or of other circumstances without `mixed`.
    """
    headers, rows = FILE.read(path)
    for other in headers:
        if other.task != header.task:
            msg = f"resume: {path} holds rows of another task ({_task(other)}, not {_task(header)}); name another file."
            raise ValueError(msg)
        if other != header and not mixed:
            msg = (
                f"resume: {path} holds rows of another {_difference(other, header)}; name another file, or let both stand "
                "in one with mixed (--mixed)."
            )
            raise ValueError(msg)
    text = path.read_bytes() if path.exists() else b""
    if not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])
    if not headers or headers[-1] != header:
        FILE.append(path, header)
        headers = (*headers, header)
    return headers, rows


def _task(header: Header) -> str:
    return (
        f"{header.family}, {header.precision}, gtol {header.gtol:g}, maxiter {header.maxiter}, limit {header.limit:g} s"
    )


def _difference(one: Header, other: Header) -> str:
    """Return in what two headers of the same task differ, for people."""
    named = [
        f"{key} ({getattr(one, key)!r})" for key in ("device", "commit") if getattr(one, key) != getattr(other, key)
    ]
    changed = sorted(one.versions.items() - other.versions.items())
    return " and ".join(named + [f"{name} ({version})" for name, version in changed]) or "set of packages"

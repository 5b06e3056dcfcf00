# SPDX-License-Identifier: Apache-2.0
r"""Forward against reverse mode over sizes: n inputs, m outputs, and where forward overtakes reverse in cost.

Forward mode takes n passes for a Jacobian and reverse mode m, so their costs are about a + b n and a + c m: equal along
a line through the plane of the sizes. The sweep finds that line for a family of functions, by operations and by run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import tree, validate
from jopt.autodiff.costs import count_operations
from jopt.autodiff.measuring import device_name, seconds
from jopt.autodiff.modes import sized
from jopt.autodiff.products import jacobian

SIZES = (1, 4, 16, 64, 256)
Family = Callable[[int, int], tuple[Callable[[Any], Any], Any]]
"""(n, m) -> (f, x) with n entries in x and m in f(x)."""


class SizeSweep(NamedTuple):
    """Costs of Jacobians over sizes; it prints as a table, and `jopt.viz.size_sweep` draws it.

    Attributes:
      sizes_in: numbers of inputs n, ascending, shape (N,).
      sizes_out: numbers of outputs m, ascending, shape (M,).
      forward_operations: of the Jacobian by forward mode, shape (M, N).
      reverse_operations: by reverse mode, shape (M, N).
      forward_s: seconds of a run by forward mode, shape (M, N); NaN where not timed.
      reverse_s: by reverse mode, shape (M, N).
      device: what JAX says of the device that ran it.
      version: of JAX.
    """

    sizes_in: np.ndarray
    sizes_out: np.ndarray
    forward_operations: np.ndarray
    reverse_operations: np.ndarray
    forward_s: np.ndarray
    reverse_s: np.ndarray
    device: str
    version: str

    @property
    def operations_ratio(self) -> np.ndarray:
        """Operations of forward over those of reverse mode, shape (M, N)."""
        return self.forward_operations / self.reverse_operations

    @property
    def time_ratio(self) -> np.ndarray:
        """Run time of forward over that of reverse mode, shape (M, N); NaN where not timed."""
        return self.forward_s / self.reverse_s

    def overtakes(self) -> dict[int, int | None]:
        """Return for each m the least n of the sweep at which forward mode has more operations, None where at none."""
        found: dict[int, int | None] = {}
        for m, row in zip(self.sizes_out, self.operations_ratio, strict=True):
            above = np.flatnonzero(row > 1)
            found[int(m)] = int(self.sizes_in[above[0]]) if above.size else None
        return found

    def __repr__(self) -> str:
        timed = bool(np.isfinite(self.forward_s).any())
        header = ["outputs \\ inputs", *map(str, self.sizes_in), "forward has more operations"]
        rows = []
        for m, own, row in zip(self.sizes_out, self.overtakes().values(), self._cells(timed), strict=True):
            rows.append([str(m), *row, "nowhere" if own is None else f"from {own} inputs"])
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
        what = "operations" + (", run time" if timed else "")
        where = f"{self.device}, jax {self.version}"
        return "\n".join([f"Jacobian: forward over reverse mode ({what}); {where}", *lines])

    __str__ = __repr__

    def _cells(self, timed: bool) -> list[list[str]]:
        if not timed:
            return [[f"{a:.2f}" for a in row] for row in self.operations_ratio]
        pairs = zip(self.operations_ratio, self.time_ratio, strict=True)
        return [[f"{a:.2f}, {b:.2f}" for a, b in zip(*rows, strict=True)] for rows in pairs]


def sine_family(n: int, m: int) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
    """Return x -> sin(A x) with A of shape (m, n) and normal entries / sqrt(n), and an x of normal entries.

    Args:
      n: inputs, >= 1.
      m: outputs, >= 1.

    Example:
      >>> from jopt.autodiff.size_sweeps import sine_family
      >>> f, x = sine_family(3, 2)
      >>> x.shape, f(x).shape
      ((3,), (2,))
    """
    random = np.random.default_rng(0)
    matrix, x = random.standard_normal((m, n)) / np.sqrt(n), random.standard_normal(n)
    a = jnp.asarray(matrix, jnp.float32)
    return lambda x: jnp.sin(a @ x), jnp.asarray(x, jnp.float32)


def sweep(
    sizes_in: Iterable[int] = SIZES,
    sizes_out: Iterable[int] = SIZES,
    *,
    family: Family = sine_family,
    timed: bool = True,
    repeats: int = 5,
) -> SizeSweep:
    """Compare forward with reverse mode over numbers of inputs and outputs, as `jopt.autodiff.jacobian` computes them.

    Cost: nothing but counts, or with `timed` two compilations and 2 (`repeats` + 1) runs for each pair of sizes.

    Args:
      sizes_in: numbers of inputs n, each >= 1.
      sizes_out: numbers of outputs m, each >= 1.
      family: (n, m) -> (f, x) with n entries in x and m in f(x).
      timed: whether to run, or only to count operations.
      repeats: runs whose median is kept, >= 1.

    Returns:
      A `SizeSweep`, its sizes ascending.

    Raises:
      TypeError: if `family` cannot be called, or sizes are no lists of whole numbers.
      ValueError: if a list is empty, a size or `repeats` less than 1, or the family's f and x have other sizes.

    Example:
      >>> from jopt.autodiff import sweep
      >>> sweep([2, 8, 32], [8], timed=False).overtakes()
      {8: 32}
    """
    columns, rows = _sizes("sizes_in", sizes_in), _sizes("sizes_out", sizes_out)
    validate.flag("sweep", "timed", timed)
    validate.integer("sweep", "repeats", repeats, low=1)
    if not callable(family):
        msg = f"sweep: family must be a function (n, m) -> (f, x), got {type(family).__name__}."
        raise TypeError(msg)
    counts, times = np.zeros((2, len(rows), len(columns))), np.full((2, len(rows), len(columns)), np.nan)
    for i, m in enumerate(rows):
        for j, n in enumerate(columns):
            f, x = _member(family, n, m)
            for k, mode in enumerate(("forward", "reverse")):
                program = _jacobian(f, mode)
                counts[k, i, j] = count_operations(program, x).total
                if timed:
                    times[k, i, j] = seconds(jax.jit(program), (x,), repeats)
    axes = np.array(columns), np.array(rows)
    return SizeSweep(*axes, counts[0], counts[1], times[0], times[1], device_name(), jax.__version__)


def _jacobian(f: Callable[[Any], Any], mode: str) -> Callable[[Any], Any]:
    return lambda x: jacobian(f, x, mode=mode)


def _sizes(argument: str, sizes: Any) -> list[int]:
    numbers = [
        int(validate.integer("sweep", argument, size, low=1)) for size in validate.sequence("sweep", argument, sizes)
    ]
    if not numbers:
        msg = f"sweep: {argument} must hold at least one size, got none."
        raise ValueError(msg)
    return sorted(set(numbers))


def _member(family: Family, n: int, m: int) -> tuple[Callable[[Any], Any], Any]:
    f, x = family(n, m)
    x, y = sized("sweep", f, x)
    found = (tree.size(x), tree.size(y))
    if found != (n, m):
        msg = f"sweep: family({n}, {m}) must have {n} inputs and {m} outputs, got {found[0]} and {found[1]}."
        raise ValueError(msg)
    return f, x

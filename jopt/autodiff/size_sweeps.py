# SPDX-License-Identifier: Apache-2.0
r"""Costs over sizes: forward against reverse mode, and where one overtakes the other; products with the Hessian.

Forward mode takes n passes for a Jacobian and reverse mode m, so their costs are about a + b n and a + c m: equal along
a line through the plane of the sizes. `sweep` finds that line for a family of functions, by operations and by run time.
`sweep_hvp` measures the compositions of the modes for one product H v, each a few times the cost of f whatever n, and
forward over forward with its n passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import report, tree, validate
from jopt.autodiff.compositions import PRODUCTS, compare_hvp
from jopt.autodiff.costs import count_operations
from jopt.autodiff.measuring import CostTable, device_name, seconds
from jopt.autodiff.modes import LIMIT, MEMORY_LIMIT, chosen_modes, sized
from jopt.autodiff.products import jacobian

SIZES = (1, 4, 16, 64, 256)
Family = Callable[[int, int], tuple[Callable[[Any], Any], Any]]
"""(n, m) -> (f, x) with n entries in x and m in f(x)."""


ScalarFamily = Callable[[int], tuple[Callable[[Any], Any], Any]]
"""n -> (f, x) with n entries in x and a scalar f(x)."""


class HvpCosts(NamedTuple):
    """Costs of products with the Hessian by size; it prints table by table, and `jopt.viz.hvp_costs` draws it.

    Attributes:
      sizes: numbers of inputs n, ascending, shape (N,).
      tables: what `jopt.autodiff.compare_hvp` measures at each.
    """

    sizes: tuple[int, ...]
    tables: tuple[CostTable, ...]

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.tables))

    __str__ = __repr__


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
        """Operations of forward over those of reverse mode, shape (M, N); NaN where neither has any, inf where reverse has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.forward_operations / self.reverse_operations

    @property
    def time_ratio(self) -> np.ndarray:
        """Run time of forward over that of reverse mode, shape (M, N); NaN where not timed."""
        return self.forward_s / self.reverse_s

    def overtakes(self) -> dict[int, int | None]:
        """Return for each m the least n of the sweep at which forward mode has more operations, None where at none."""
        found: dict[int, int | None] = {}
        for m, more in zip(self.sizes_out, self.forward_operations > self.reverse_operations, strict=True):
            above = np.flatnonzero(more)
            found[int(m)] = int(self.sizes_in[above[0]]) if above.size else None
        return found

    def __repr__(self) -> str:
        timed = bool(np.isfinite(self.forward_s).any())
        header = ["outputs \\ inputs", *map(str, self.sizes_in), "forward has more operations"]
        rows = []
        for m, own, row in zip(self.sizes_out, self.overtakes().values(), self._cells(timed), strict=True):
            rows.append([str(m), *row, "nowhere" if own is None else f"from {own} inputs"])
        what = "operations" + (", run time" if timed else "")
        where = f"{self.device}, jax {self.version}"
        return "\n".join(
            [f"Jacobian: forward over reverse mode ({what}); {where}", *report.columns(header, rows, left=())]
        )

    __str__ = __repr__

    def _cells(self, timed: bool) -> list[list[str]]:
        figures = [self.operations_ratio, self.time_ratio] if timed else [self.operations_ratio]
        rows = zip(*figures, strict=True)
        return [[", ".join(map(_text, cell)) for cell in zip(*row, strict=True)] for row in rows]


def _text(ratio: float) -> str:
    return f"{ratio:.2f}" if np.isfinite(ratio) else "-"


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


def sine_sum_family(n: int) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
    """Return x -> the sum of sin(A x), with the square A and the x of `sine_family`.

    Args:
      n: inputs, >= 1.

    Example:
      >>> from jopt.autodiff.size_sweeps import sine_sum_family
      >>> f, x = sine_sum_family(3)
      >>> x.shape, f(x).shape
      ((3,), ())
    """
    f, x = sine_family(n, n)
    return lambda x: jnp.sum(f(x)), x


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
    device = ""
    counts, times = np.zeros((2, len(rows), len(columns))), np.full((2, len(rows), len(columns)), np.nan)
    for i, m in enumerate(rows):
        for j, n in enumerate(columns):
            f, x = _member(family, n, m)
            device = device_name(x)
            for k, mode in enumerate(("forward", "reverse")):
                program = _jacobian(f, mode)
                counts[k, i, j] = count_operations(program, x).total
                if timed:
                    times[k, i, j] = seconds(jax.jit(program), (x,), repeats)
    axes = np.array(columns), np.array(rows)
    return SizeSweep(*axes, counts[0], counts[1], times[0], times[1], device, jax.__version__)


def sweep_hvp(
    sizes: Iterable[int] = SIZES,
    *,
    family: ScalarFamily = sine_sum_family,
    modes: Iterable[str] = PRODUCTS,
    repeats: int = 5,
    limit: float = LIMIT,
    memory_limit: float = MEMORY_LIMIT,
) -> HvpCosts:
    """Measure the ways to one product of the Hessian with a vector over numbers of inputs.

    Cost: for each size a compilation and `repeats` + 1 runs of the function, of its gradient and for each mode.

    Args:
      sizes: numbers of inputs n, each >= 1.
      family: n -> (f, x) with n entries in x and a real scalar f(x).
      modes: some of those of `jopt.autodiff.compare_hvp`.
      repeats: runs whose median is kept, >= 1.
      limit: operations up to which a row is run, > 0; one that has more is counted and compiled only.
      memory_limit: bytes of temporary arrays and outputs up to which a row is run, > 0, where the backend tells them.

    Returns:
      An `HvpCosts`, its sizes ascending.

    Raises:
      TypeError: if `family` cannot be called, or `sizes` is no list of whole numbers.
      ValueError: if `sizes` is empty, a size or `repeats` less than 1, a mode unknown, or the family's x has another size.

    Example:
      >>> from jopt.autodiff import sweep_hvp
      >>> few, many = sweep_hvp([4, 32], modes=["reverse-over-reverse"], repeats=1).tables
      >>> abs(many.row("reverse-over-reverse").multiple / few.row("reverse-over-reverse").multiple - 1) < 0.2
      True
    """
    numbers, chosen = _sizes("sizes", sizes, "sweep_hvp"), chosen_modes("sweep_hvp", modes, PRODUCTS)
    if not callable(family):
        msg = f"sweep_hvp: family must be a function n -> (f, x), got {type(family).__name__}."
        raise TypeError(msg)
    tables = []
    for n in numbers:
        f, x = family(n)
        table = compare_hvp(f, x, modes=chosen, repeats=repeats, limit=limit, memory_limit=memory_limit)
        if tree.size(x) != n:
            msg = f"sweep_hvp: family({n}) must have {n} inputs, got {tree.size(x)}."
            raise ValueError(msg)
        tables.append(table)
    return HvpCosts(tuple(numbers), tuple(tables))


def _jacobian(f: Callable[[Any], Any], mode: str) -> Callable[[Any], Any]:
    return lambda x: jacobian(f, x, mode=mode)


def _sizes(argument: str, sizes: Any, function: str = "sweep") -> list[int]:
    numbers = [
        int(validate.integer(function, argument, size, low=1)) for size in validate.sequence(function, argument, sizes)
    ]
    if not numbers:
        msg = f"{function}: {argument} must hold at least one size, got none."
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

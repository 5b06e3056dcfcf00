# SPDX-License-Identifier: Apache-2.0
r"""What a primitive costs: floating-point operations from shapes alone.

    elementwise                1 for each output, transcendental functions too; x^k as many products as repeated squaring
    dot_general                2 M N K
    conv_general_dilated       2 for each product of a weight and an entry of the input (not of its padding or its holes)
    sums and other reductions  1 for each input; windows 1 for each entry of each window
    cumulative sums            1 for each input
    sort                       n log2 n; top_k n log2 k
    fft                        5 N log2 N, half of that where one side is real
    scatter-add and the like   1 for each update
    cholesky                   1/3 n^3                       triangular_solve  n^2 for each right-hand side
    lu                         2/3 n^3                       qr, geqrf         4/3 n^3 for R, and as much for Q
    eigh                       9 n^3                         eig, schur        25 n^3; eigenvalues alone 10 n^3
    svd (m >= n)               14 m n^2 + 8 n^3; full 4 m^2 n + 8 m n^2 + 9 n^3; values alone 4 m n^2 - 4/3 n^3
    moving data                0: reshapes, slices, gathers, changes of dtype

Rectangular factors count as the loops over their columns run, and the Q of qr only where something needs it.
Arithmetic of integers and booleans alone counts 0. Complex numbers count like real ones.

References: Golub and Van Loan (2013), Matrix Computations, 4th edition, sections 3.2, 4.2, 5.2, 7.5, 8.3 and figure 8.6.1
(the matrix factorisations); Cooley and Tukey (1965), Math. Comput. 19, doi:10.1090/S0025-5718-1965-0178586-1 (fft).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

TRANSCENDENTAL = frozenset({
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e", "cbrt", "cos", "cosh",
    "digamma", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "igamma", "igammac", "lgamma", "log", "log1p",
    "logistic", "polygamma", "pow", "regularized_incomplete_beta", "rsqrt", "sin", "sinh", "sqrt", "tan", "tanh",
    "zeta",
})  # fmt: skip
"""Elementwise functions that are no single arithmetic operation; they count 1 and are listed apart."""

ELEMENTWISE = frozenset({
    "abs", "add", "add_any", "and", "ceil", "clamp", "div", "eq", "eq_to", "floor", "ge", "gt", "is_finite", "le",
    "le_to", "lt", "lt_to", "max", "min", "mul", "mulhi", "ne", "neg", "nextafter", "not", "or", "rem", "round",
    "select_n", "sign", "square", "sub", "xor",
})  # fmt: skip

MOVES = frozenset({
    "all_gather", "bitcast_convert_type", "broadcast", "broadcast_in_dim", "complex", "concatenate", "conj",
    "convert_element_type", "copy", "copy_p", "copy_to_host", "create_token", "device_put", "dynamic_slice",
    "dynamic_update_slice", "empty", "expand_dims", "gather", "get", "imag", "iota", "mesh_cast", "name",
    "optimization_barrier", "pad", "pbroadcast", "pcast", "pvary", "real", "reduce_precision", "reshape",
    "reshard", "rev", "scatter", "sharding_constraint", "slice", "split", "squeeze", "stop_gradient", "swap",
    "tile", "transpose", "unstack",
})  # fmt: skip

REDUCTIONS = frozenset({
    "argmax", "argmin", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "reduce_and", "reduce_max",
    "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "reduce_xor",
})  # fmt: skip
"""Primitives that cost 1 for each input; cumulative ones are run one after the other."""

FFT = 5  # operations of a complex transform over N log2 N: a butterfly has ten for two numbers


def cost(equation: JaxprEqn, used: Sequence[bool]) -> int | None:
    """Return the operations of an equation without a program within, None where its primitive is not in the table.

    Args:
      equation: of a jaxpr.
      used: for each output, whether something needs it.
    """
    name = equation.primitive.name
    if name in MOVES or not _has_floats(equation):
        return 0
    if name in ELEMENTWISE or name in TRANSCENDENTAL:
        return outputs(equation)
    if name in REDUCTIONS:
        return size(equation.invars[0])
    if name == "qr":
        return _qr(equation, wants_q=used[0])
    rule = _RULES.get(name.replace("-", "_"))
    return None if rule is None else int(rule(equation))


def outputs(equation: JaxprEqn) -> int:
    """Return the number of entries of all outputs."""
    return sum(size(v) for v in equation.outvars)


def window(equation: JaxprEqn) -> int:
    """Return the number of entries of a reduction's window."""
    return math.prod(equation.params["window_dimensions"])


def size(variable: Any) -> int:
    """Return the number of entries of a value."""
    return math.prod(_shape(variable))


def _has_floats(equation: JaxprEqn) -> bool:
    dtypes = (getattr(v.aval, "dtype", None) for v in (*equation.invars, *equation.outvars))
    return any(dtype is not None and jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes)


def _shape(variable: Any) -> tuple[int, ...]:
    return getattr(variable.aval, "shape", ())


def _integer_pow(equation: JaxprEqn) -> int:
    power = int(equation.params["y"])
    products = max(0, abs(power).bit_length() + abs(power).bit_count() - 2)
    return outputs(equation) * (products + (power < 0))


def _dot_general(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = _shape(equation.invars[0])
    return 2 * outputs(equation) * math.prod(shape[axis] for axis in contracted)


def _conv(equation: JaxprEqn) -> int:
    """Count the products that have an entry of the input: along each axis the pairs of an output and a weight."""
    params = equation.params
    numbers = params["dimension_numbers"]
    (image, kernel), out = map(_shape, equation.invars), _shape(equation.outvars[0])
    pairs = 1
    for axis, (low, _) in enumerate(params["padding"]):
        n, k, m = (s[d[2 + axis]] for s, d in zip((image, kernel, out), numbers, strict=True))
        at = np.arange(m)[:, None] * params["window_strides"][axis]
        at = at + np.arange(k) * params["rhs_dilation"][axis] - low
        spread = params["lhs_dilation"][axis]
        pairs *= int(np.sum((at >= 0) & (at < n * spread) & (at % spread == 0)))
    batch, features, inner = out[numbers[2][0]], out[numbers[2][1]], kernel[numbers[1][1]]
    return 2 * batch * features * inner * pairs


def _sort(equation: JaxprEqn) -> int:
    length = _shape(equation.invars[0])[equation.params["dimension"]]
    return size(equation.invars[0]) * _log2(length)


def _top_k(equation: JaxprEqn) -> int:
    return size(equation.invars[0]) * max(1, _log2(int(equation.params["k"])))


def _fft(equation: JaxprEqn) -> float:
    lengths, kind = equation.params["fft_lengths"], equation.params["fft_type"]
    points = math.prod(lengths)
    batch = math.prod(_shape(equation.invars[0])[: -len(lengths)])
    real = "RFFT" in str(getattr(kind, "name", kind))
    return batch * FFT * points * math.log2(max(points, 1)) / (2 if real else 1)


def _matrices(equation: JaxprEqn) -> tuple[int, int, int]:
    """Return how many matrices the first operand holds, and their rows and columns."""
    *batch, m, n = _shape(equation.invars[0])
    return math.prod(batch), m, n


def _cubes(share: float) -> Callable[[JaxprEqn], float]:
    def rule(equation: JaxprEqn) -> float:
        batch, _, n = _matrices(equation)
        return batch * share * n**3

    return rule


def _elimination(share: int) -> Callable[[JaxprEqn], float]:
    """Return a rule: `share` operations for each entry that a step of an elimination by columns changes."""

    def rule(equation: JaxprEqn) -> float:
        batch, m, n = _matrices(equation)
        return batch * share * _entries(m, n, min(m, n))

    return rule


def _entries(m: int, n: int, steps: int) -> float:
    """Return the leading terms of the entries that so many steps change, on a matrix that loses a row and a column in each."""
    return m * n * steps - (m + n) * steps**2 / 2 + steps**3 / 3


def _qr(equation: JaxprEqn, *, wants_q: bool) -> int:
    """Count Householder's reflections on the matrix, and on the columns of Q where something needs it."""
    batch, m, n = _matrices(equation)
    share, steps = 4, min(m, n)
    own = _entries(m, _shape(equation.outvars[0])[-1], steps) if wants_q else 0
    return int(batch * share * (_entries(m, n, steps) + own))


def _eig(equation: JaxprEqn) -> int:
    batch, _, n = _matrices(equation)
    vectors = equation.params["compute_left_eigenvectors"] or equation.params["compute_right_eigenvectors"]
    return batch * (25 if vectors else 10) * n**3


def _svd(equation: JaxprEqn) -> float:
    batch, *sides = _matrices(equation)
    m, n = max(sides), min(sides)
    if not equation.params["compute_uv"]:
        return batch * (4 * m * n**2 - 4 * n**3 / 3)
    if equation.params["full_matrices"]:
        return batch * (4 * m**2 * n + 8 * m * n**2 + 9 * n**3)
    return batch * (14 * m * n**2 + 8 * n**3)


def _triangular_solve(equation: JaxprEqn) -> int:
    return size(equation.invars[1]) * _shape(equation.invars[0])[-1]


def _tridiagonal_solve(equation: JaxprEqn) -> int:
    """Count Thomas's elimination: 3 for each row, and 5 for each unknown."""
    return 3 * size(equation.invars[1]) + 5 * size(equation.invars[3])


def _windows(equation: JaxprEqn) -> int:
    return size(equation.outvars[0]) * window(equation)


def _select_and_scatter_add(equation: JaxprEqn) -> int:
    return size(equation.invars[0]) * (window(equation) + 1)


def _updates(equation: JaxprEqn) -> int:
    return size(equation.invars[2])


def _log2(n: int) -> int:
    return max(0, n - 1).bit_length()


_RULES: dict[str, Callable[[JaxprEqn], float]] = {
    "addupdate": lambda equation: size(equation.invars[1]),
    "cholesky": _cubes(1 / 3),
    "conv_general_dilated": _conv,
    "dot_general": _dot_general,
    "eig": _eig,
    "eigh": _cubes(9),
    "fft": _fft,
    "geqrf": _elimination(4),
    "hessenberg": _cubes(10 / 3),
    "householder_product": _elimination(4),
    "integer_pow": _integer_pow,
    "lu": _elimination(2),
    "reduce_window_max": _windows,
    "reduce_window_min": _windows,
    "reduce_window_sum": _windows,
    "scatter_add": _updates,
    "scatter_max": _updates,
    "scatter_min": _updates,
    "scatter_mul": _updates,
    "scatter_sub": _updates,
    "schur": _cubes(25),
    "select_and_gather_add": _windows,
    "select_and_scatter_add": _select_and_scatter_add,
    "sort": _sort,
    "svd": _svd,
    "top_k": _top_k,
    "triangular_solve": _triangular_solve,
    "tridiagonal": _cubes(4 / 3),
    "tridiagonal_solve": _tridiagonal_solve,
}

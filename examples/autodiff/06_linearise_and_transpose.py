# SPDX-License-Identifier: Apache-2.0
r"""Linearise and transpose: reverse mode from forward mode, with no second table of derivative rules.

Forward mode turns a program for f into one for (x, v) -> (f(x), J v). Look at what it computes on the tangent side:
products with numbers that depend on x alone, and sums. Nothing else; J v is linear in v. So let the tangents be not
numbers but *names of cells*, and write down what would be done to them: running f once at x leaves a **linear
program**, a list of instructions of one kind,

    cell[d] += c * cell[s]          written (d, c, s), on cells that start at zero.

Applied to v it gives J v. This is **linearisation**.

As a matrix, the instruction is I + c e_d e_s', where e_k is the k-th unit vector, and the program is a product of such
matrices, E_K ... E_2 E_1. Its transpose is E_1' E_2' ... E_K': the same instructions in the opposite order, each
transposed; and (I + c e_d e_s')' = I + c e_s e_d' is the instruction (s, c, d). So **transposition** is to read the
list backwards with source and destination exchanged: one line. The transposed program maps w to J' w, as the walk over
the tape of 03_tape did. A value used twice becomes a sum of two contributions, a sum becomes a value used twice, and
transposing twice gives the program back.

JAX is built so: `jax.vjp` is `jax.linearize`, then `jax.linear_transpose`. A primitive needs a derivative rule for jvp,
and a transpose rule only if it is linear.

References: Radul, Paszke, Frostig, Johnson and Maclaurin (2023), You only linearize once: tangents transpose to
gradients, doi:10.1145/3571236, arXiv:2204.10923; Griewank and Walther (2008), Evaluating Derivatives, chapter 3,
doi:10.1137/1.9780898717761 (the product of elementary matrices).
"""

import importlib
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)

# From the file beside this one: sin, cos, ... and their derivatives.
RULES = importlib.import_module("02_dual_numbers").RULES


class Linear(NamedTuple):
    """A linear map as a program: put v into the `inputs`, carry out the `steps` in order, read the `outputs`."""

    cells: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[tuple[int, float, int], ...]


def apply(program, v):
    """Return the product of a linear program and a vector."""
    cell = [0.0] * program.cells
    for i, a in zip(program.inputs, v, strict=True):
        cell[i] += a
    for d, c, s in program.steps:
        cell[d] += c * cell[s]
    return [cell[i] for i in program.outputs]


def transpose(program):
    """Return the transposed program: the steps backwards, with source and destination exchanged."""
    steps = tuple((s, c, d) for d, c, s in reversed(program.steps))
    return Linear(program.cells, program.outputs, program.inputs, steps)


class Traced:
    """A dual number whose tangent is a new cell of the program being written: sum of c * tangent of a, over `terms`."""

    def __init__(self, primal, trace, terms=()):
        self.primal, self.trace, self.cell = primal, trace, trace["cells"]
        trace["cells"] += 1
        trace["steps"].extend((self.cell, c, a.cell) for c, a in terms if isinstance(a, Traced))

    # Forward mode, rule for rule as in 02_dual_numbers; only the tangent is written down instead of computed.

    def __add__(self, other):
        return Traced(self.primal + primal(other), self.trace, [(1.0, self), (1.0, other)])

    def __mul__(self, other):
        return Traced(self.primal * primal(other), self.trace, [(primal(other), self), (self.primal, other)])

    def __truediv__(self, other):
        quotient = self.primal / primal(other)
        return Traced(quotient, self.trace, [(1.0 / primal(other), self), (-quotient / primal(other), other)])

    def __sub__(self, other):
        return self + other * -1.0

    __radd__ = __add__
    __rmul__ = __mul__


def primal(a):
    """Return the value of a traced or plain number."""
    return a.primal if isinstance(a, Traced) else a


def elementary(name):
    """Return the function of that name on traced numbers."""
    value, derivative = RULES[name]
    return lambda a: (
        Traced(value(a.primal), a.trace, [(derivative(a.primal), a)]) if isinstance(a, Traced) else value(a)
    )


sin, cos, exp, log, sqrt, tanh = map(elementary, RULES)


def linearise(f, x):
    """Return f(x) and the linear program of v -> J v, for a function of a list of numbers that returns a list."""
    trace = {"cells": 0, "steps": []}
    inputs = [Traced(a, trace) for a in x]
    outputs = [y if isinstance(y, Traced) else Traced(y, trace) for y in f(inputs)]
    cells = tuple(a.cell for a in inputs), tuple(y.cell for y in outputs)
    return [y.primal for y in outputs], Linear(trace["cells"], *cells, tuple(trace["steps"]))


def show(program):
    """Return the program as text."""
    lines = [f"  t{d} += {c:10.4f} * t{s}" for d, c, s in program.steps]
    names = [", ".join(f"t{i}" for i in cells) for cells in (program.inputs, program.outputs)]
    return "\n".join([f"  inputs {names[0]}", *lines, f"  outputs {names[1]}"])


def main():
    """Print a linear program and its transpose, and the same pair as JAX makes it."""
    t = [math.pi / 6, 2.0, 5.0]
    _, tangents = linearise(lambda t: [sin(t[0] * t[1]) + exp(t[1] + t[2]) - 2.0 * t[2]], t)
    adjoints = transpose(tangents)
    print(f"C = sin(t1 t2) + exp(t2 + t3) - 2 t3, linearised at (pi/6, 2, 5)\n{show(tangents)}")
    print(f"\ntransposed\n{show(adjoints)}")

    gradient = apply(adjoints, [1.0])
    print("\napplied to 1:", [round(g, 6) for g in gradient])
    expected = [1.0, math.pi / 12 + math.exp(7.0), math.exp(7.0) - 2.0]
    assert all(math.isclose(a, b, rel_tol=1e-15) for a, b in zip(gradient, expected, strict=True))
    assert transpose(adjoints) == tangents

    # The defining property of a transpose, <w, J v> = <J' w, v>, which also checks any jvp against any vjp.
    v, w = [0.3, -1.0, 0.7], [2.0]
    left = sum(a * b for a, b in zip(w, apply(tangents, v), strict=True))
    right = sum(a * b for a, b in zip(apply(adjoints, w), v, strict=True))
    assert math.isclose(left, right, rel_tol=1e-14)

    # JAX's own. The letters before the semicolon are what depends on x, computed once; the rest is linear.
    with_jax, point = lambda t: jnp.sin(t[0]) * t[1], (jnp.array(0.5), jnp.array(2.0))
    _, linear = jax.linearize(with_jax, point)
    backward = jax.linear_transpose(linear, point)
    print("\nsin(t1) t2 linearised by JAX\n", jax.make_jaxpr(linear)(point))
    print("transposed\n", jax.make_jaxpr(backward)(1.0))
    for a, b in zip(backward(1.0)[0], jax.vjp(with_jax, point)[1](1.0)[0], strict=True):
        assert a == b, "vjp is linearise, then transpose"


if __name__ == "__main__":
    main()

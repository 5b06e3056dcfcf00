# SPDX-License-Identifier: Apache-2.0
r"""A tape: reverse mode in eighty lines, without recursion.

Run the program once and write down, for every elementary operation, which values went in and how strongly each of them
moves the result:

    a_k = phi(a_i, a_j)        partials  c_i = dphi/da_i,  c_j = dphi/da_j.

That list is the tape (Wengert's list). Let the adjoint of a value be the rate at which the output changes with it,
w_k = dy/da_k. The output's own adjoint is 1. A value acts on the output only through its users, so its adjoint is the
sum over them:

    w_i = sum over users k of   c_ik w_k.

An operation's inputs stand before it on the tape. So one walk from the end to the start meets each value after all
its users, when its adjoint is complete, and hands each input its share. No recursion, no sorting: the order in which
the program ran, reversed. A chain of 100,000 operations is a loop of 100,000 trips.

The walk makes one multiplication and one addition for each edge of the graph, so the **gradient in all n variables
costs a small multiple of the function, whatever n is**; that is the cheap gradient principle. The price is memory: the
whole tape lives until the walk has passed it (see 10_memory_against_recomputation).

References: Linnainmaa (1976), Taylor expansion of the accumulated rounding error, doi:10.1007/BF01931367; Baur and
Strassen (1983), The complexity of partial derivatives, doi:10.1016/0304-3975(83)90110-X; Griewank and Walther (2008),
Evaluating Derivatives, section 3.2, doi:10.1137/1.9780898717761.
"""

import math
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the tape: an operation by name, the rows of its inputs, and its partial derivatives by them."""

    name: str
    inputs: tuple[int, ...]
    partials: tuple[float, ...]


class Variable:
    """A number that writes on a tape what is done with it."""

    def __init__(self, tape, value, name="input", inputs=(), partials=()):
        self.tape, self.value, self.row = tape, value, len(tape)
        tape.append(Row(name, inputs, partials))

    def __add__(self, other):
        return binary("add", self, other, lambda a, b: (a + b, 1.0, 1.0))

    def __mul__(self, other):
        return binary("mul", self, other, lambda a, b: (a * b, b, a))

    def __truediv__(self, other):
        return binary("div", self, other, lambda a, b: (a / b, 1.0 / b, -a / b**2))

    def __rtruediv__(self, other):
        return binary("div", self, other, lambda a, b: (b / a, -b / a**2, 1.0 / a))

    def __pow__(self, n):
        return Variable(self.tape, self.value**n, "pow", (self.row,), (n * self.value ** (n - 1),))

    def __neg__(self):
        return Variable(self.tape, -self.value, "neg", (self.row,), (-1.0,))

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__


def binary(name, a, b, rule):
    """Record an operation of two numbers of which the first is a variable; a plain number leaves no trace."""
    if isinstance(b, Variable):
        value, *partials = rule(a.value, b.value)
        return Variable(a.tape, value, name, (a.row, b.row), tuple(partials))
    value, partial, _ = rule(a.value, b)
    return Variable(a.tape, value, name, (a.row,), (partial,))


def unary(name, value, derivative):
    """Return a recorded function of one variable; the derivative is given the argument and the value."""

    def function(a):
        if not isinstance(a, Variable):
            return value(a)
        y = value(a.value)
        return Variable(a.tape, y, name, (a.row,), (derivative(a.value, y),))

    return function


sin = unary("sin", math.sin, lambda a, _: math.cos(a))
cos = unary("cos", math.cos, lambda a, _: -math.sin(a))
exp = unary("exp", math.exp, lambda _, y: y)
log = unary("log", math.log, lambda a, _: 1.0 / a)
sqrt = unary("sqrt", math.sqrt, lambda _, y: 0.5 / y)
tanh = unary("tanh", math.tanh, lambda _, y: 1.0 - y**2)


def vjp(f, x):
    """Return f(x) and the function w -> J' w, for a function of a list of numbers that returns a list."""
    tape = []
    inputs = [Variable(tape, a) for a in x]
    outputs = [y if isinstance(y, Variable) else Variable(tape, y) for y in f(inputs)]

    def pullback(w):
        adjoints = [0.0] * len(tape)
        for y, weight in zip(outputs, w, strict=True):
            adjoints[y.row] += weight
        for row, adjoint in zip(reversed(tape), reversed(adjoints), strict=True):  # reads each adjoint when complete
            for i, partial in zip(row.inputs, row.partials, strict=True):
                adjoints[i] += partial * adjoint
        return adjoints[: len(x)]

    return [y.value for y in outputs], pullback


def main():
    """Print the tape of a textbook's function, and run the walk over a long one."""
    t = [math.pi / 6, 2.0, 5.0]
    tape = []

    def f(t):
        y = sin(t[0] * t[1]) + exp(t[1] + t[2]) - 2.0 * t[2]
        tape.extend(y.tape)  # for a look at it below
        return [y]

    _, pullback = vjp(f, t)
    print("the tape of C = sin(t1 t2) + exp(t2 + t3) - 2 t3 at (pi/6, 2, 5)\nrow operation inputs  partials")
    for k, row in enumerate(tape):
        print(f"{k:3d} {row.name:9s} {row.inputs!s:7s} {', '.join(f'{c:.4f}' for c in row.partials)}")

    gradient = pullback([1.0])
    print("\none walk back gives the whole gradient:", [round(g, 6) for g in gradient])
    expected = [1.0, math.pi / 12 + math.exp(7.0), math.exp(7.0) - 2.0]
    assert all(math.isclose(a, b, rel_tol=1e-15) for a, b in zip(gradient, expected, strict=True))

    assert [k for k, row in enumerate(tape) if 1 in row.inputs] == [3, 5], "t2 has two users: two shares, summed"

    def long(x):  # a chain of 100,000 operations
        y = x[0]
        for _ in range(50_000):
            y = sin(y) + x[1]
        return [y]

    (value,), pullback = vjp(long, [0.3, 0.5])
    gradient = pullback([1.0])
    print(f"\nafter 100,000 operations: value {value:.12f}, derivative by the shift {gradient[1]:.12f}")

    # By then the chain stands at the fixed point y = sin(y) + s, whose derivative is 1 / (1 - cos(y)).
    assert math.isclose(gradient[1], 1.0 / (1.0 - math.cos(value)), rel_tol=1e-12)


if __name__ == "__main__":
    main()

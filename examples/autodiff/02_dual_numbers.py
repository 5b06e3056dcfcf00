# SPDX-License-Identifier: Apache-2.0
r"""Dual numbers: forward mode in sixty lines.

Carry with every number a the rate at which it changes, written a + b e with a new unit e whose square is zero.
Ordinary algebra then does calculus. For the product,

    (a + b e)(c + d e) = a c + (a d + b c) e,

and the coefficient of e is the product rule. For a smooth function, Taylor's series stops after its second term
because e^2 = 0:

    f(a + b e) = f(a) + f'(a) b e,

which is the chain rule. So a program for numbers, run on dual numbers instead, returns its value and, beside it, its
derivative along the direction that its inputs were given. Nothing is approximated: there is no step h. This is
**forward mode**; a is called the primal, b the tangent, and what one run makes of two vectors,

    (x, v)  ->  (f(x), J v),

is a Jacobian-vector product, or jvp. Its price is about that of running f twice, whatever the number of outputs, and
its memory twice that of f: a tangent is dead as soon as its primal is. But one run has one direction: a gradient in n
variables takes n runs.

References: Clifford (1873), Preliminary sketch of biquaternions, doi:10.1112/plms/s1-4.1.381 (the unit e); Wengert
(1964), A simple automatic derivative evaluation program, doi:10.1145/355586.364791 (the method, in two pages);
Griewank and Walther (2008), Evaluating Derivatives, section 3.1, doi:10.1137/1.9780898717761.
"""

import math
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)


def comparison(name):
    """Return a comparison of primals: a branch depends on values alone."""
    return lambda a, b: getattr(operator, name)(a.primal, dual(b).primal)


class Dual(NamedTuple):
    """The number primal + tangent e, where e^2 = 0."""

    primal: float
    tangent: float

    # Each operation is one line of algebra. The left operand is always dual; the right one may be a plain number,
    # which `dual` reads as a constant, a number that does not change.

    def __add__(self, other):
        a, (c, d) = self, dual(other)
        return Dual(a.primal + c, a.tangent + d)

    def __mul__(self, other):
        a, (c, d) = self, dual(other)
        return Dual(a.primal * c, a.tangent * c + a.primal * d)

    def __truediv__(self, other):
        # q = a / c means q c = a, so q. c + q c. = a. by the product rule; solve for q.
        a, (c, d) = self, dual(other)
        quotient = a.primal / c
        return Dual(quotient, (a.tangent - quotient * d) / c)

    def __pow__(self, n):
        return Dual(self.primal**n, n * self.primal ** (n - 1) * self.tangent)  # n is a plain number

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -dual(other)

    def __rsub__(self, other):
        return dual(other) - self

    def __rtruediv__(self, other):
        return dual(other) / self

    __radd__ = __add__
    __rmul__ = __mul__
    __lt__, __le__, __eq__, __ne__, __ge__, __gt__ = map(comparison, ["lt", "le", "eq", "ne", "ge", "gt"])


def dual(a):
    """Return a number as a dual one; a plain number is a constant, with tangent 0."""
    return a if isinstance(a, Dual) else Dual(a, 0.0)


# A smooth function of one variable is known by its value and its derivative. This table is all the calculus there is.
RULES = {
    "sin": (math.sin, math.cos),
    "cos": (math.cos, lambda a: -math.sin(a)),
    "exp": (math.exp, math.exp),
    "log": (math.log, lambda a: 1.0 / a),
    "sqrt": (math.sqrt, lambda a: 0.5 / math.sqrt(a)),
    "tanh": (math.tanh, lambda a: 1.0 - math.tanh(a) ** 2),
}


def elementary(name):
    """Return the function of that name, extended to dual numbers by f(a + b e) = f(a) + f'(a) b e."""
    value, derivative = RULES[name]
    return lambda a: Dual(value(dual(a).primal), derivative(dual(a).primal) * dual(a).tangent)


sin, cos, exp, log, sqrt, tanh = map(elementary, RULES)


def jvp(f, x, v):
    """Return f(x) and J v, for a function of a list of numbers that returns a list."""
    outputs = [dual(y) for y in f([Dual(a, b) for a, b in zip(x, v, strict=True)])]
    return [y.primal for y in outputs], [y.tangent for y in outputs]


def main():
    """Differentiate a textbook's function along each coordinate and print what one run carries."""
    t = [math.pi / 6, 2.0, 5.0]

    def steps(t):
        """Return every intermediate value of C = sin(t1 t2) + exp(t2 + t3) - 2 t3, the last one being C."""
        a1, a2, a3 = t[0] * t[1], t[1] + t[2], -2.0 * t[2]
        a4, a5 = sin(a1), exp(a2)
        return [a1, a2, a3, a4, a5, a4 + a5 + a3]

    print("C = sin(t1 t2) + exp(t2 + t3) - 2 t3 along t2, at (pi/6, 2, 5)\n\n    primal      tangent")
    for i, (value, tangent) in enumerate(zip(*jvp(steps, t, [0.0, 1.0, 0.0]), strict=True), start=1):
        print(f"a{i} {value:12.6f} {tangent:12.6f}")

    assert math.isclose(tangent, math.pi / 12 + math.exp(7.0), rel_tol=1e-15), "what a pencil finds in the last row"

    # One run for each variable: three here, a million for a million weights. Reverse mode, in the next file, needs one.
    unit = [[float(i == j) for j in range(3)] for i in range(3)]
    gradient = [jvp(steps, t, e)[1][-1] for e in unit]
    print("\ngradient, one run for each entry:", [round(g, 6) for g in gradient])

    def with_jax(t):
        return jnp.sin(t[0] * t[1]) + jnp.exp(t[1] + t[2]) - 2.0 * t[2]

    assert jnp.allclose(jnp.array(gradient), jax.grad(with_jax)(jnp.array(t)), rtol=1e-14)

    # Dual numbers pass through loops and branches. Newton's iteration for the square root of a knows nothing of
    # derivatives, and yet its tangent converges to that of the root, 1 / (2 sqrt(a)).
    def root(a):
        """Return the square root of a by Newton's iteration."""
        x = a if a > 1.0 else 1.0
        for _ in range(8):
            x = 0.5 * (x + a / x)
        return x

    (value,), (tangent,) = jvp(lambda x: [root(x[0])], [9.0], [1.0])
    print(f"\nNewton's square root of 9: {value:.12f}, with derivative {tangent:.12f}")
    assert math.isclose(tangent, 1.0 / 6.0, rel_tol=1e-12)


if __name__ == "__main__":
    main()

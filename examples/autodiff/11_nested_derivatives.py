# SPDX-License-Identifier: Apache-2.0
r"""Nested derivatives, and how two of them get confused.

Dual numbers compose, it seems, for free: a second derivative is the derivative of a function that takes derivatives.
Try it on

    d/dx [ x * d/dy (x + y) ]   at x = 1.

The inner derivative is 1 whatever x is, so this is d/dx [x] = 1. The dual numbers of 02_dual_numbers say 2.

What went wrong? The outer derivative runs its function on x = 1 + e. The inner one runs y -> x + y on y = 1 + e, with
*its* e, and finds x + y = 2 + 2 e. Both perturbations carry the same name and were added: the inner derivative takes
for its own what belongs to the outer one. This is **perturbation confusion**, the capture of a variable, as when one
puts into an integral a formula that contains the variable of integration; and the cure is the same, a fresh name.

So let every derivative that is taken have a unit of its own, e1, e2, ..., each with square zero, and the products of
different ones not. A number then is a dual number over the numbers of earlier units,

    primal + tangent e_k,       where primal and tangent may contain e_1, ..., e_(k-1), and never e_k.

An operation works on the latest unit of its operands; for that unit an operand that lacks it is a constant, even if it
is a dual number itself. That is all: a comparison of tags in one function.

Numbers with k units carry 2^k coefficients, so k-th derivatives in one direction are better made from truncated Taylor
series (k + 1 coefficients). And tags are not the last word: a derivative of a function that *returns a function* can
let a unit escape and come back (Manzyuk et al.).

References: Siskind and Pearlmutter (2005), Perturbation confusion and referential transparency: correct functional
implementation of forward-mode AD, Implementation and Application of Functional Languages (IFL); Manzyuk et al. (2019),
Perturbation confusion in forward automatic differentiation of higher-order functions, arXiv:1211.4892;
Griewank and Walther (2008), Evaluating Derivatives, chapter 13 (Taylor series), doi:10.1137/1.9780898717761.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)


class Dual(NamedTuple):
    """The number primal + tangent e_tag; the parts are plain numbers, or dual ones with lower tags."""

    tag: int
    primal: object
    tangent: object

    def __add__(self, other):
        tag, (a, b), (c, d) = common(self, other)
        return Dual(tag, a + c, b + d)

    def __mul__(self, other):
        tag, (a, b), (c, d) = common(self, other)
        return Dual(tag, a * c, b * c + a * d)

    def __truediv__(self, other):
        tag, (a, b), (c, d) = common(self, other)
        return Dual(tag, a / c, (b - a / c * d) / c)

    def __rtruediv__(self, other):
        return Dual(self.tag, other, 0.0) / self

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + other * -1.0

    def __rsub__(self, other):
        return other + -self

    __radd__ = __add__
    __rmul__ = __mul__


def common(a, b):
    """Return the latest unit of two numbers and both in the form (primal, tangent) of that unit."""
    tag = max(a.tag, b.tag if isinstance(b, Dual) else a.tag)
    return tag, parts(a, tag), parts(b, tag)


def parts(a, tag):
    """Return primal and tangent of a number, seen by one unit: what lacks that unit is a constant."""
    return (a.primal, a.tangent) if isinstance(a, Dual) and a.tag == tag else (a, 0.0)


def elementary(value, derivative):
    """Return a function on plain and dual numbers; its derivative is made of such functions, and has one in turn."""

    def function(a):
        if not isinstance(a, Dual):
            return value(a)
        return Dual(a.tag, function(a.primal), derivative(a.primal) * a.tangent)

    return function


sin = elementary(math.sin, lambda a: cos(a))
cos = elementary(math.cos, lambda a: -sin(a))
exp = elementary(math.exp, lambda a: exp(a))
log = elementary(math.log, lambda a: 1.0 / a)
sqrt = elementary(math.sqrt, lambda a: 0.5 / sqrt(a))
tanh = elementary(math.tanh, lambda a: 1.0 - tanh(a) * tanh(a))

fresh = itertools.count(1)


def derivative(f, *, tags=True):
    """Return the derivative of a function of one number; without tags all derivatives share one unit, wrongly."""

    def df(x):
        tag = next(fresh) if tags else 0
        return parts(f(Dual(tag, x, 1.0)), tag)[1]

    return df


def untagged(f):
    """Return the derivative by dual numbers that have one unit for all."""
    return derivative(f, tags=False)


def main():
    """Show the confusion, its cure, and high derivatives by nesting."""
    for name, d in (("one unit for all", untagged), ("a unit for each", derivative), ("jax.grad", jax.grad)):
        nested = d(lambda x, d=d: x * d(lambda y: x + y)(1.0))(1.0)
        print(f"d/dx [x d/dy (x + y)] at 1, {name:16s}: {float(value_of(nested))}")
        assert value_of(nested) == (2.0 if d is untagged else 1.0)

    assert untagged(lambda x: x * x * x)(2.0) == 12.0, "without nesting, one unit is enough"

    # The same wherever a slope is taken at a point that does not move: x d/dq sin(x q) at q = 2 is x^2 cos(2 x).
    def slope(d, sine):
        return lambda x: x * d(lambda q: sine(x * q))(2.0)

    wrong, right = untagged(slope(untagged, sin)), derivative(slope(derivative, sin))
    print(f"\nd/dx [x d/dq sin(x q) at q = 2], at 0.7: {right(0.7):.12f}, with one unit {value_of(wrong(0.7)):.12f}")
    assert math.isclose(right(0.7), 1.4 * math.cos(1.4) - 2.0 * 0.49 * math.sin(1.4), rel_tol=1e-13)
    assert not math.isclose(value_of(wrong(0.7)), right(0.7), rel_tol=1e-2)

    # Nesting as deep as one likes: the n-th derivative of exp(sin x).
    f, g = (lambda x: exp(sin(x))), (lambda x: jnp.exp(jnp.sin(x)))
    for n in range(1, 6):
        f, g = derivative(f), jax.grad(g)
        print(f"derivative {n} of exp(sin x) at 1: {f(1.0):+.12f}, a number of {2**n} coefficients")
        assert math.isclose(f(1.0), float(g(1.0)), rel_tol=1e-12)


def value_of(a):
    """Return the plain number inside nested dual ones."""
    return value_of(a.primal) if isinstance(a, Dual) else a


if __name__ == "__main__":
    main()

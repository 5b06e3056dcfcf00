# SPDX-License-Identifier: Apache-2.0
r"""Three ways to a derivative: numerical, symbolic and automatic.

The function is the logistic map iterated k times, u_0 = x and u_(j+1) = 4 u_j (1 - u_j): three operations a step (four
for the formulas below, which have no subtraction: 1 - u is 1 + (-1) u), and a polynomial of degree 2^k. Its closed
form, u_k = sin^2(2^k arcsin sqrt(x)), checks everything.

**Numerical.** (f(x + h) - f(x)) / h needs nothing but f. Its error is h |f''| / 2 (truncation) plus about eps |f| / h
from subtracting nearly equal numbers (round-off), least near h = sqrt(2 eps |f / f''|), where half the digits are left;
centred differences, (f(x + h) - f(x - h)) / (2 h), keep two thirds. In n variables it takes n + 1 or 2 n runs.

**Symbolic.** Apply the rules of calculus to the formula. Exact, but the product rule writes each factor twice, (u v)'
= u' v + u v', so derivatives of long products are far longer than these: *expression swell*, measured below as a
formula is written on paper (a tree) and with each distinct subexpression counted once (a graph).

**Automatic.** Apply the rules to the values, operation by operation, as the program runs. Exact to rounding, for any
program, loops and branches included, at a fixed multiple of its operations.

The second table: on paper u_k doubles at each step, and its derivative grows faster still. In the graph there is *no
swell*: a constant number of operations a step, as in automatic differentiation. Swell comes from writing formulas
without names for their parts (Laue 2019).

References: Griewank and Walther (2008), Evaluating Derivatives, chapter 1, doi:10.1137/1.9780898717761; Baydin,
Pearlmutter, Radul and Siskind (2018), Automatic differentiation in machine learning: a survey, JMLR 18(153), section 2
(the logistic map); Laue (2019), On the equivalence of automatic and symbolic differentiation, arXiv:1904.02990.
"""

import functools
import math
import operator
from dataclasses import dataclass

import jax

jax.config.update("jax_enable_x64", True)


def logistic(x, k):
    """Return u_k, for x a number, an array or a formula."""
    for _ in range(k):
        x = 4.0 * x * (1.0 - x)
    return x


def closed_form(x, k):
    """Return u_k and its derivative by x."""
    angle = 2.0**k * math.asin(math.sqrt(x))
    return math.sin(angle) ** 2, 2.0**k * math.sin(2.0 * angle) / math.sqrt(4.0 * x * (1.0 - x))


@dataclass(frozen=True, eq=False)
class Formula:
    """An operation ("+", "sin", ...) on formulas, the variable "x", or a "constant", whose part is its value."""

    operation: str
    parts: tuple

    # The zeros and ones that nobody would write are left out, so that the swell below is not theirs.
    def __add__(self, other):
        a, b = self, formula(other)
        return b if a is ZERO else a if b is ZERO else make("+", a, b)

    def __mul__(self, other):
        a, b = self, formula(other)
        return ZERO if ZERO in {a, b} else b if a is ONE else a if b is ONE else make("*", a, b)

    def __sub__(self, other):
        return self + -1.0 * formula(other)

    def __rsub__(self, other):
        return formula(other) + -1.0 * self

    __radd__ = __add__
    __rmul__ = __mul__


@functools.cache  # equal parts, equal formula: a subexpression that occurs twice is one object
def make(operation, *parts):
    """Return the formula of an operation; the same object every time it is asked for."""
    return Formula(operation, parts)


def formula(a):
    """Return a number as a formula."""
    return a if isinstance(a, Formula) else make("constant", float(a))


X, ZERO, ONE = make("x"), formula(0.0), formula(1.0)
sin, cos, exp = (lambda a, name=name: make(name, formula(a)) for name in ("sin", "cos", "exp"))

DERIVATIVES = {
    "constant": lambda _: ZERO,
    "x": lambda: ONE,
    "+": lambda a, b: derivative(a) + derivative(b),
    "*": lambda a, b: derivative(a) * b + a * derivative(b),
    "sin": lambda a: cos(a) * derivative(a),
    "cos": lambda a: -1.0 * sin(a) * derivative(a),
    "exp": lambda a: exp(a) * derivative(a),
}


@functools.cache
def derivative(a):
    """Return the formula of the derivative by x."""
    return DERIVATIVES[a.operation](*a.parts)


def fold(a, combine):
    """Return combine(part, results of its parts) for a formula, each distinct part visited once."""
    results = {}

    def visit(part):
        if part not in results:
            results[part] = combine(part, [visit(p) for p in part.parts if isinstance(p, Formula)])
        return results[part]

    return visit(a), results


VALUES = {"+": operator.add, "*": operator.mul, "sin": math.sin, "cos": math.cos, "exp": math.exp}


def evaluate(a, x):
    """Return the value of a formula."""
    own = {"x": lambda _: x, "constant": lambda part: part.parts[0]}
    return fold(a, lambda p, values: VALUES[p.operation](*values) if values else own[p.operation](p))[0]


def operations(a):
    """Return the number of operations in a formula, written out on paper and with equal parts counted once."""
    on_paper, parts = fold(a, lambda _, counts: (len(counts) > 0) + sum(counts))
    return on_paper, sum(part.operation not in {"x", "constant"} for part in parts)


def main():
    """Measure the error of differences and the length of derivatives."""
    x, k = 0.3, 6
    slope = closed_form(x, k)[1]
    print(f"numerical: relative error of the derivative of u_{k} at {x}\n    h     forward   centred")
    errors = []
    for h in (10.0**-digits for digits in range(3, 13)):
        below, here, above = (logistic(x + side * h, k) for side in (-1, 0, 1))
        errors.append([abs(d / slope - 1.0) for d in ((above - here) / h, (above - below) / (2.0 * h))])
        print(f"{h:.0e}    {errors[-1][0]:.1e}   {errors[-1][1]:.1e}")
    forward, centred = map(min, zip(*errors, strict=True))
    assert 1e-11 < forward < 1e-5, "about half the digits"
    assert centred < 0.1 * forward, "about two thirds"
    assert errors[-1][0] > 10.0 * forward, "smaller steps are worse"

    print("\noperations    on paper: u_k, derivative     as a graph: u_k, derivative     JAX: u_k, both together")
    for k in (1, 2, 4, 8, 12):
        u = logistic(X, k)
        u_jax = functools.partial(logistic, k=k)
        paper, graph = zip(operations(u), operations(derivative(u)), strict=True)
        jaxprs = [jax.make_jaxpr(g)(x).eqns for g in (u_jax, jax.value_and_grad(u_jax))]
        print(f"k = {k:2d}", *(f"{a:19,d} {b:10,d}" for a, b in (paper, graph, map(len, jaxprs))))
        symbolic, automatic = evaluate(derivative(u), x), float(jax.grad(u_jax)(x))
        assert math.isclose(symbolic, closed_form(x, k)[1], rel_tol=1e-9)
        assert math.isclose(symbolic, automatic, rel_tol=1e-12)
    assert paper[1] > 1000 * graph[1], "swell on paper"
    assert graph[1] <= 12 * k, "none in the graph"


if __name__ == "__main__":
    main()

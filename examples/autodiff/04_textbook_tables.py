# SPDX-License-Identifier: Apache-2.0
r"""The tables of a textbook, reproduced.

Most chapters on automatic differentiation print one function with a table for each mode. This one is

    C = sin(t1 t2) + exp(t2 + t3) - 2 t3        at (t1, t2, t3) = (pi/6, 2, 5).

`jopt.autodiff` makes such tables of any function that JAX can trace; here they are held against the numbers that a
pencil finds.

**The forward table**, along v = (0, 1, 0), that is by t2. Each row is an operation; its tangent follows from those of
its operands by one rule of calculus.

    t1, t2, t3                 the tangents are v: 0, 1, 0
    a1 = t1 t2 = pi/3          t1. t2 + t1 t2. = pi/6                   the product rule; t1 does not move
    a2 = t2 + t3 = 7           t2. + t3. = 1
    a3 = 2 t3 = 10             2 t3. = 0                                t3 does not move: zero, and no harm done
    a4 = sin a1 = sqrt(3)/2    cos(a1) a1. = (1/2) (pi/6) = pi/12       the chain rule, one link at a time
    a5 = exp a2 = e^7          exp(a2) a2. = e^7
    a6 = a4 + a5               a4. + a5. = pi/12 + e^7
    a7 = a6 - a3 = C           a6. - a3. = pi/12 + e^7                  dC/dt2

A book may write a3 = -2 t3 and add it: then a3 is -10 and its adjoint below is +1. (It may also make one row of the
last two.)

**The reverse table** has the same values, and then the adjoints a* = dC/da from the last row up. An operation hands to
each operand its own adjoint times its partial derivative by that operand.

    a7* = 1                    how C moves with C
    a6* = 1,  a3* = -1         from a7 = a6 - a3
    a5* = 1,  a4* = 1          from a6 = a4 + a5
    a2* = e^7                  from a5 = exp a2: exp(a2) a5*
    a1* = 1/2                  from a4 = sin a1: cos(a1) a4*
    t1* = 1                    from a1 = t1 t2: t2 a1* = 2 / 2
    t2* = e^7 + pi/12          used twice: a2* from a2 = t2 + t3, and t1 a1* = (pi/6) / 2 from a1 = t1 t2
    t3* = e^7 - 2              used twice: a2* again, and 2 a3* = -2 from a3 = 2 t3

One pass gave the whole gradient (1, pi/12 + e^7, e^7 - 2); the forward table gave its middle entry, and two more such
tables would give the rest. (The last row that is printed, t, is the three entries put together again.)

With several outputs reverse mode starts from a weight for each. The second function, of two outputs, is

    g(t) = (t1 - 7 t2 + 5 t3, t2 t3)            at (2.5, 2.1, 1.4).

References: Liquet, Moka and Nazarathy (2024), Mathematical Engineering of Deep Learning, section 4.4; Griewank and
Walther (2008), Evaluating Derivatives, sections 3.1 and 3.2, doi:10.1137/1.9780898717761.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jopt.autodiff import forward_table, jvp, parse, parse_point, partial_derivative, reverse_table, vjp

jax.config.update("jax_enable_x64", True)

cost = parse("sin(t1*t2) + exp(t2+t3) - 2*t3")  # any function of JAX will do; this one calls its entries t1, t2, t3
t = jnp.asarray(parse_point("pi/6, 2, 5"))

root, e7 = math.sqrt(3.0) / 2.0, math.exp(7.0)
BY_HAND = {  # value, tangent by t2, adjoint
    "t1": (math.pi / 6.0, 0.0, 1.0),
    "t2": (2.0, 1.0, math.pi / 12.0 + e7),
    "t3": (5.0, 0.0, e7 - 2.0),
    "a1": (math.pi / 3.0, math.pi / 6.0, 0.5),
    "a2": (7.0, 1.0, e7),
    "a3": (10.0, 0.0, -1.0),
    "a4": (root, math.pi / 12.0, 1.0),
    "a5": (e7, e7, 1.0),
    "a6": (root + e7, math.pi / 12.0 + e7, 1.0),
    "a7": (root + e7 - 10.0, math.pi / 12.0 + e7, 1.0),
}

forward = forward_table(cost, t, jnp.array([0.0, 1.0, 0.0]))
print(f"C = sin(t1 t2) + exp(t2 + t3) - 2 t3 at (pi/6, 2, 5), along t2\n\n{forward}")
assert [row.name for row in forward.rows] == list(BY_HAND)
for row, (value, tangent, _) in zip(forward.rows, BY_HAND.values(), strict=True):
    assert jnp.isclose(row.value, value, rtol=1e-14), row.name
    assert jnp.isclose(row.tangent, tangent, rtol=1e-14), row.name

reverse = reverse_table(cost, t)
print(f"\n{reverse}")
adjoints = {adjoint.name: adjoint for adjoint in reverse.adjoints}
assert list(adjoints) == ["a7", "a6", "a5", "a4", "a3", "a2", "a1", "t1", "t2", "t3", "t"]
for name, (_, _, adjoint) in BY_HAND.items():
    assert jnp.isclose(adjoints[name].value, adjoint, rtol=1e-14), name

# What is used twice has two contributions, and its adjoint is their sum.
for name in ("t2", "t3"):
    users, amounts = zip(*adjoints[name].contributions, strict=True)
    print(f"\n{name} is used by {' and '.join(users)}", end="")
    assert len(users) == 2
    assert jnp.isclose(sum(amounts), adjoints[name].value, rtol=1e-15)
assert jnp.allclose(reverse.derivative, jnp.array([1.0, math.pi / 12.0 + e7, e7 - 2.0]), rtol=1e-14)
assert jnp.isclose(forward.derivative, reverse.derivative[1], rtol=1e-15)

# The numbers are JAX's own.
assert forward.derivative == jax.jvp(cost, (t,), (jnp.array([0.0, 1.0, 0.0]),))[1]
assert jnp.array_equal(reverse.derivative, jax.grad(cost)(t))

# Forward mode needs a table for each entry of the gradient.
tables = [forward_table(cost, t, v) for v in np.eye(3)]
print("\n\nthe gradient, entry by entry from three forward tables:", [round(float(a.derivative), 6) for a in tables])
assert jnp.allclose(jnp.stack([table.derivative for table in tables]), reverse.derivative, rtol=1e-14)


def g(t):
    """Return (t1 - 7 t2 + 5 t3, t2 t3)."""
    return jnp.stack([t[0] - 7.0 * t[1] + 5.0 * t[2], t[1] * t[2]])


t = jnp.array([2.5, 2.1, 1.4])
by_t2, first = jnp.array([0.0, 1.0, 0.0]), jnp.array([1.0, 0.0])
column, row = forward_table(g, t, by_t2), reverse_table(g, t, first)
print(f"\ng = (t1 - 7 t2 + 5 t3, t2 t3) at (2.5, 2.1, 1.4), along t2: column 2 of the Jacobian\n\n{column}")
print(f"\nand with the weights (1, 0): row 1 of the Jacobian\n\n{row}")
assert jnp.array_equal(column.derivative, jnp.array([-7.0, 1.4]))
assert jnp.array_equal(row.derivative, jnp.array([1.0, -7.0, 5.0]))
assert jnp.array_equal(jvp(g, t, by_t2), column.derivative)
assert jnp.array_equal(vjp(g, t, first), row.derivative)
assert partial_derivative(g, t, 1, 2) == 2.1, "output 2 by input 3, counted from 0"

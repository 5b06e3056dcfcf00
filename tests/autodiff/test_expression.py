# SPDX-License-Identifier: Apache-2.0
"""The expression parser: what it computes, in which order, and what it refuses."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.autodiff import forward_table, parse, parse_point
from jopt.autodiff.expression import FUNCTIONS, LENGTH

T = (0.3, 0.7, 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "sin(t1*t2) + exp(t2+t3) - 2*t3", "t1 - t2 - t3", "t1/t2/t3", "-t1**2", "2**-t1", "t1**t2**t3", "(t1+t2)*-t3",
        "+t1", "t3", "1e-3*t1 + .5", "pi*t1 + e", "maximum(t1, t2) - minimum(t1, 0.1)", "t1**2.5 + t2**3 + t3**-2",
        "sqrt(2)*t1 + 2**0.5", "where(t1 < t2, t1, 3) + where(t1 >= 0.3, 0, 5)", "arctan2(t1, 2) + hypot(3, t1)",
    ],
)  # fmt: skip
def test_value_equals_python(text):
    names = {name: getattr(np, name) for name in FUNCTIONS} | {
        "pi": math.pi,
        "e": math.e,
        "t1": T[0],
        "t2": T[1],
        "t3": T[2],
    }
    expected = eval(text, {}, names)  # the texts above
    np.testing.assert_allclose(parse(text)(jnp.array(T)), expected, rtol=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_that_of_jax_numpy_on_variables_and_numbers(name):
    values = [0.3, 0.7, 0.5][: FUNCTIONS[name]]
    variables, numbers = ["t1", "t2", "t3"][: len(values)], [str(v) for v in values]
    if name == "where":
        variables[0], values[0] = "t1 > 0.2", True
        numbers = []
    if name == "arccosh":
        values, numbers = [1.3], ["1.3"]
    expected = getattr(jnp, name)(*values)
    t = jnp.array([*values, 0.7, 0.5]) if name != "where" else jnp.array(T)
    np.testing.assert_allclose(parse(f"{name}({', '.join(variables)})")(t), expected, rtol=1e-14)
    if numbers:
        np.testing.assert_allclose(parse_point(f"{name}({', '.join(numbers)})"), [expected], rtol=1e-14)


def test_function_is_traceable_and_differentiable():
    f = parse("t1**3 * t2")
    np.testing.assert_allclose(jax.jit(jax.grad(f))(jnp.array([-2.0, 5.0])), [60.0, -8.0])
    assert jax.vmap(f)(jnp.ones((4, 2))).shape == (4,)


def test_dtype_follows_t_and_whole_numbers_are_floating():
    assert parse("sin(t1) + 1/3")(jnp.ones(1, jnp.float32)).dtype == jnp.float32
    assert parse("where(t1 > 0, 1, 2)")(jnp.ones(1, jnp.float32)).dtype == jnp.float32
    assert parse("7")(jnp.ones(0, jnp.float32)).dtype == jnp.float32
    assert float(parse("t1/2")(jnp.array([1]))) == 0.5
    with jax.numpy_dtype_promotion("strict"):
        assert parse("2*sin(t1) + t1**2")(jnp.ones(1, jnp.float32)).dtype == jnp.float32


def test_operations_come_level_by_level():
    f = parse("exp(t1*t2) * (t1 + 1) - t2")
    table = forward_table(f, jnp.array([1.0, 2.0]), jnp.ones(2))
    assert [row.formula for row in table.rows[2:]] == ["t1 * t2", "t1 + 1", "exp(a1)", "a3 * a2", "a4 - t2"]


def test_expression_knows_its_text_and_names():
    f = parse("t3 + 1")
    assert repr(f) == "parse('t3 + 1')"
    assert f.size == 3
    assert f.entry_names == ("t1", "t2", "t3")
    assert float(f(jnp.arange(5.0))) == 3.0


@pytest.mark.parametrize("shape", [(), (2,), (3, 1)])
def test_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"parse: t must be a vector of at least 3 entries, got shape"):
        parse("t3")(jnp.ones(shape))


def test_complex_vectors_are_refused():
    with pytest.raises(TypeError, match=r"parse: t must be real numbers, got complex64\[1\]"):
        parse("t1")(jnp.ones(1, jnp.complex64))


def test_long_sums_are_flat():
    assert float(parse("+".join(f"t{i}" for i in range(1, 401)))(jnp.arange(400.0))) == 399 * 200
    assert float(parse("t1" + "-1" * 900)(jnp.ones(1))) == -899.0
    with pytest.raises(ValueError, match="'x' must be"):
        parse("t1+x" + "+t1" * 300)


def test_point_is_in_the_order_given():
    np.testing.assert_array_equal(parse_point("pi/6,2,5"), [math.pi / 6, 2, 5])
    np.testing.assert_array_equal(parse_point(" -1e-3 "), [-1e-3])
    for text in ("t1, 2", "2, x", "(1, 2), 3", ""):
        with pytest.raises(ValueError, match="parse: "):
            parse_point(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("t1.real", "t1.real"), ("__import__('os')", "__import__('os')"), ("sin.__class__", "sin.__class__"), ("t1[0]", "t1[0]"),
        ("t_1", "t_1"), ("_", "_"), ("x", "x"), ("t0", "t0"), ("t1000", "t1000"), ("t01", "t01"), ("T1", "T1"), ("sin", "sin"),
        ("eval(t1)", "eval(t1)"), ("jnp.sin(t1)", "jnp.sin(t1)"), ("(lambda: 1)()", "(lambda: 1)()"), ("lambda t: t", "lambda t: t"),
        ("[t1 for t1 in t2]", "[t1 for t1 in t2]"), ("{t1}", "{t1}"), ("'a'", "'a'"), ("b'a'", "b'a'"), ("f'{t1}'", "f'{t1}'"),
        ("1j", "1j"), ("True", "True"), ("None", "None"), ("...", "..."), ("t1 if t2 else t3", "t1 if t2 else t3"),
        ("t1 and t2", "t1 and t2"), ("not t1", "not t1"), ("~t1", "~t1"), ("t1 // t2", "t1 // t2"), ("t1 % t2", "t1 % t2"),
        ("t1 @ t2", "t1 @ t2"), ("t1 << 2", "t1 << 2"), ("t1 < t2", "t1 < t2"), ("(t1 := 2)", "t1 := 2"), ("sin(*t1)", "*t1"),
        ("sin(x=t1)", "sin(x=t1)"), ("sin(t1, out=t2)", "sin(t1, out=t2)"), ("sin(t1, t2)", "sin(t1, t2)"), ("sin()", "sin()"),
        ("where(t1, 1, 2)", "t1"), ("where(t1 < t2 < t3, 1, 2)", "t1 < t2 < t3"), ("where(1 < 2, 1, 2)", "1 < 2"),
        ("where(t1 == t2, 1, 2)", "t1 == t2"), ("maximum(t1)", "maximum(t1)"), ("t1, t2", "t1, t2"), ("sin(t1)(t2)", "sin(t1)(t2)"),
        ("t1 + y", "y"), ("9**9**9", "9**9**9"), ("1e400*t1", "1e400"), ("1/0", "1/0"), ("log(0)", "log(0)"),
        ("(-8)**0.5", "(-8)**0.5"), ("sqrt(-1)*t1", "sqrt(-1)"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_part(text, part):
    with pytest.raises(ValueError, match=r"parse: .* must be") as caught:
        parse(text)
    assert repr(part) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "t1 +",
        "import os",
        "t1; t2",
        "t1 = 2",
        "def f(): pass",
        "t1\x00",
        "((((t1)",
        "sin t1",
        "0777",
        "9" * 400 + "e",
    ],
)
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(ValueError, match="parse: text must be an expression such as"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["(" * 900 + "t1" + ")" * 900, "-" * 1500 + "t1", "sin(" * 300 + "t1" + ")" * 300, "2**" * 500 + "t1", "[" * 1999],
)
def test_deep_nesting_is_refused(text):
    with pytest.raises(ValueError, match=r"parse: .* must be (nested at most|an expression)"):
        parse(text)


def test_long_foreign_and_wrong_text_is_refused():
    with pytest.raises(ValueError, match=f"at most {LENGTH} characters of ASCII, got {LENGTH + 2} characters"):
        parse("t1" + " " * LENGTH)
    with pytest.raises(ValueError, match="characters of ASCII, got '\uff53'"):
        parse("\uff53in(t1)")
    with pytest.raises(TypeError, match="parse: text must be text, got 3"):
        parse(3)
    with pytest.raises(ValueError, match="a finite real number"):
        parse("9" * 1000)

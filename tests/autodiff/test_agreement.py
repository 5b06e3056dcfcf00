# SPDX-License-Identifier: Apache-2.0
"""Whether a table has the numbers of JAX: rounding is let pass, faults are not."""

import jax.numpy as jnp
import numpy as np
import pytest

from jopt.autodiff import forward_table, reverse_table, sweeps
from jopt.autodiff.agreement import agreeing
from jopt.autodiff.program import trace
from jopt.autodiff.tables import Row, Table

X = jnp.float32(0.3)


def compare(own, of, largest=0.0):
    """Return the table with the value of(x) that is accepted for JAX's value `own`."""

    def make(leaves, way):
        del way
        value = jnp.float32(of(np.float64(leaves[0])))
        return Table("primal", "", (Row("x", "", "input", jnp.float32(largest)),), (), value, None)

    return agreeing("table", trace(lambda x: x, X), [X], (jnp.float32(own), None), make)


def test_numbers_that_are_not_those_of_jax_are_an_error(monkeypatch):
    evaluated = sweeps.as_function
    wrong = lambda equation: lambda *x: [y * 1.01 for y in evaluated(equation)(*x)]  # noqa: E731
    monkeypatch.setattr(sweeps, "as_function", wrong)
    monkeypatch.setattr(sweeps, "_EVALUATIONS", {})
    for table in (lambda f: reverse_table(f, 1.5), lambda f: forward_table(f, 1.5, 1.0)):
        with pytest.raises(RuntimeError, match=r"_table: the table must have the numbers of JAX, .* please report it"):
            table(lambda x: x * x)


def test_where_rounding_is_amplified_other_numbers_are_no_error():
    wild = lambda x: np.sin(1e9 * x)  # noqa: E731
    assert compare(wild(np.float64(X) + 3e-8), wild).exact is False
    with pytest.raises(RuntimeError, match="table: the table must have the numbers of JAX"):
        compare(1.01, lambda x: 1.0 + 0.0 * x)


def test_a_millionth_of_the_largest_number_is_let_pass():
    assert compare(1.0, lambda x: 1.0 + 0.0 * x).exact is True
    assert compare(1.0 + 5e-7, lambda x: 1.0 + 0.0 * x).exact is False
    with pytest.raises(RuntimeError, match="off by 1e-05"):
        compare(1.0 + 1e-5, lambda x: 1.0 + 0.0 * x)
    assert compare(1.0 + 1e-5, lambda x: 1.0 + 0.0 * x, largest=100.0).exact is False


def test_a_number_where_jax_has_none_is_an_error():
    for own, given in ((np.inf, 1.0), (1.0, np.inf), (np.nan, 1.0), (np.inf, -np.inf)):
        with pytest.raises(RuntimeError, match="off by inf"):
            compare(own, lambda x, given=given: given + 0.0 * x)
    assert compare(np.nan, lambda x: np.nan * x).exact is True

# SPDX-License-Identifier: Apache-2.0
"""Evaluations and Hessian-vector products: what solvers report is what an objective counts."""

import casts
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.bench import counting, rivals
from jopt.bench.counting import Check
from jopt.bench.entrants import Answer, Entrant
from jopt.bench.workers import Failure
from jopt.solvers.methods import METHODS


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_of_jopt_counts_truly(name):
    made = counting.check(name, rivals.by_jopt(METHODS[name]))
    assert made.true, str(made)
    assert made.evaluations > 10
    assert (made.products > 0) is (name in {"newton", "newton-cg", "trust-ncg", "trust-exact", "dogleg"})


@pytest.mark.parametrize(
    "name", [name if name.startswith("scipy") else pytest.param(name, marks=pytest.mark.slow) for name in rivals.RIVALS]
)
@pytest.mark.filterwarnings("ignore")
def test_every_rival_counts_truly(name):
    pytest.importorskip(rivals.RIVALS[name].package)
    made = counting.check(name, rivals.RIVALS[name])
    assert made.true, str(made)
    assert made.evaluations > 10
    assert (made.products > 0) is name.endswith("-ncg") or name == "scipy-newton-cg"


def test_what_is_done_with_the_objective_is_counted():
    fun, counts = counting.counting(lambda x: jnp.sum(x**3))
    x = jnp.array([1.0, 2.0])

    def spent(function, *args):
        counts.clear()
        found = jax.block_until_ready(function(*args))
        jax.effects_barrier()
        return found, dict(counts)

    assert spent(fun, x) == (9.0, {"values": 1})
    (_, grad), told = spent(jax.jit(jax.value_and_grad(fun)), x)
    np.testing.assert_allclose(grad, [3.0, 12.0])
    assert told == {"values": 1, "gradients": 1}
    product, told = spent(lambda x, v: jax.jvp(jax.grad(fun), (x,), (v,))[1], x, x)
    np.testing.assert_allclose(product, [6.0, 24.0])
    assert told == {"linearisations": 1, "products": 1}

    def twice(x):
        _, times_hessian = jax.linearize(jax.grad(fun), x)
        return times_hessian(x), times_hessian(2 * x)

    assert spent(twice, x)[1] == {"linearisations": 1, "products": 2}
    hessian, told = spent(jax.hessian(fun), x)
    np.testing.assert_allclose(hessian, [[6.0, 0.0], [0.0, 12.0]])
    assert told["products"] == 2


def lying(nfev, nhev):
    """Return an entrant that evaluates once and reports as it likes."""

    def build(fun, x0, budget):
        del x0, budget
        return 0.0, lambda start: Answer(start + fun(start) * 0, True, 1, nfev, nhev)

    return Entrant("jopt", build)


@pytest.mark.parametrize(("nfev", "true"), [(2, True), (1, False)])
def test_a_linearisation_where_the_value_is_known_is_an_evaluation(nfev, true):
    def build(fun, x0, budget):
        del x0, budget

        def solve(x):
            value, (grad, times_hessian) = fun(x), jax.linearize(jax.grad(fun), x)
            return Answer(times_hessian(times_hessian(grad)) + value, True, 1, nfev, 2)

        return 0.0, solve

    made = counting.check("re-evaluates", Entrant("jopt", build))
    assert (made.evaluations, made.products, made.true) == (2, 2, true)


def test_false_counts_are_found_and_told():
    assert counting.check("honest", lying(1, 0)).true
    made = counting.check("liar", lying(7, 2))
    assert made == Check("liar", 7, 1, 2, 0)
    assert not made.true
    assert not counting.check("other", lying(1, 2)).true
    told = counting.told({"honest": Check("honest", 1, 1, 0, 0), "liar": made, "gone": Failure("crash", "it died")})
    assert told.splitlines() == [
        "evaluations and products checked against an objective that counts, and true: honest",
        "not true: liar: 7 + 2 reported, 1 + 0 counted",
        "could not be checked: gone: crash",
    ]
    assert counting.told({}) == ""


def test_solvers_are_checked_in_a_process_of_their_own():
    reported = []
    found = counting.check_all(
        ["right", "raiser"], "float64", casts.entrants, report=lambda *told: reported.append(told)
    )
    assert found["right"] == Check("right", 4, 0, 5, 0)
    assert found["raiser"].kind == "error"
    assert reported == [(0, 2, "counts of right"), (1, 2, "counts of raiser")]

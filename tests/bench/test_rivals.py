# SPDX-License-Identifier: Apache-2.0
"""Who takes part in the CUTEst benchmark, and that they are counted truly; the variants of the ablation."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.bench import ablation, rivals
from jopt.bench.rivals import Budget
from jopt.linalg.box import Box
from jopt.solvers.methods import METHODS


def test_every_method_of_jopt_takes_part_and_rivals_that_can_be_imported(monkeypatch):
    monkeypatch.setattr(rivals, "usable", lambda package: package in {"optax", "scipy"})
    names = list(rivals.entrants())
    assert names[: len(METHODS)] == [f"jopt-{name}" for name in METHODS]
    assert names[len(METHODS) :] == ["optax-lbfgs", "scipy-lbfgsb", "scipy-trust-ncg", "scipy-newton-cg"]


def test_a_package_is_usable_only_if_its_import_succeeds(tmp_path, monkeypatch):
    (tmp_path / "broken_by_new_jax.py").write_text("raise AttributeError('gone')")
    (tmp_path / "talkative.py").write_text("import warnings; warnings.warn('old', DeprecationWarning)")
    monkeypatch.syspath_prepend(tmp_path)
    assert rivals.usable("talkative")
    assert not rivals.usable("broken_by_new_jax")
    assert not rivals.usable("never_installed")


def rosenbrock(x):
    return 100 * jnp.sum((x[1:] - x[:-1] ** 2) ** 2) + jnp.sum((1 - x[:-1]) ** 2)


START = (-1.2, 1.0, 1.0)
QUICK = ("jopt-lbfgs", "scipy-lbfgsb", "scipy-trust-ncg", "scipy-newton-cg")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in rivals.RIVALS if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
@pytest.mark.filterwarnings("ignore")
def test_solvers_answer_in_their_own_words(name):
    entrant = rivals.by_jopt(METHODS["lbfgs"]) if name == "jopt-lbfgs" else rivals.RIVALS[name]
    pytest.importorskip(entrant.package)
    x0 = jnp.array(START)
    compile_s, solve = entrant.build(rosenbrock, x0, Budget(1e-6, 500))
    answer = solve(x0)
    assert answer.x.dtype == x0.dtype
    assert compile_s > 0
    assert entrant.word(int(answer.code)) == ("CONVERGED" if name == "jopt-lbfgs" else "0")
    if name == "optimistix-nonlinear-cg":  # it crawls along the valley, and does not count its iterations
        assert not answer.claimed
        assert (int(answer.nit), int(answer.nfev)) == (-1, 500)
        return
    assert bool(answer.claimed)
    np.testing.assert_allclose(answer.x, 1.0, atol=1e-4)
    assert 0 < int(answer.nit) <= int(answer.nfev)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("backend", "cuda", "expected"),
    [("cpu", True, "cpu"), ("cpu", False, "cpu"), ("gpu", True, "cuda"), ("gpu", False, ""), ("tpu", True, "")],
)
def test_torch_runs_where_jax_does_or_nowhere(monkeypatch, backend, cuda, expected):
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: cuda))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(rivals.jax, "default_backend", lambda: backend)
    assert rivals.torch_device() == expected


def test_torch_keeps_the_precision_and_ends_by_the_gradient_alone():
    pytest.importorskip("torch")
    x0 = jnp.array(START, jnp.float32)
    answer = rivals.RIVALS["torch-lbfgs"].build(rosenbrock, x0, Budget(1e-2, 500))[1](x0)
    assert answer.x.dtype == jnp.float32
    np.testing.assert_array_equal(
        x0, jnp.array(START, jnp.float32)
    )  # tensors share memory, and the start is not theirs
    assert answer.claimed
    assert float(jnp.max(jnp.abs(jax.grad(rosenbrock)(answer.x)))) <= 1e-2
    ended = rivals.RIVALS["torch-lbfgs"].build(rosenbrock, x0, Budget(1e-2, 3))[1](x0)
    assert not ended.claimed
    assert ended.nit == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jopt-lbfgs", *rivals.BOUNDED])
@pytest.mark.filterwarnings("ignore")
def test_those_for_bounds_stay_within_them(name):
    entrant = rivals.by_jopt(METHODS["lbfgs"]) if name == "jopt-lbfgs" else rivals.BOUNDED[name]
    pytest.importorskip(entrant.package)
    bounds = Box(jnp.array([-2.0, -jnp.inf]), jnp.array([0.5, jnp.inf]))
    fun = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2  # noqa: E731
    x0 = jnp.array([-1.2, 1.0])
    answer = entrant.build(fun, x0, Budget(1e-6, 500, bounds))[1](x0)
    np.testing.assert_allclose(answer.x, [0.5, 0.25], atol=1e-5)
    assert answer.x[0] <= 0.5
    assert answer.claimed


def test_methods_that_take_bounds_take_part_where_there_are_some(monkeypatch):
    monkeypatch.setattr(rivals, "usable", lambda package: package == "scipy")
    bounded = [f"jopt-{name}" for name, factory in METHODS.items() if factory().bounded]
    assert {"jopt-lbfgs", "jopt-trust-ncg", "jopt-newton-cg"} <= set(bounded)
    assert list(rivals.bounded_entrants()) == [*bounded, "scipy-lbfgsb", "scipy-tnc"]


def test_no_success_is_claimed_where_iterations_ran_out():
    x0 = jnp.array(START)
    _, solve = rivals.RIVALS["scipy-trust-ncg"].build(rosenbrock, x0, Budget(1e-6, 2))
    answer = solve(x0)
    assert not answer.claimed
    assert answer.nit == 2
    first = int(answer.nhev)
    assert int(solve(x0).nhev) == first > 0  # counted anew in each solve


def test_variants_of_the_ablation_are_made_by_their_settings(monkeypatch):
    made = []
    monkeypatch.setitem(METHODS, "trust-ncg", lambda **settings: made.append(settings) or "a solver")
    entrants = ablation.entrants({"default": {}, "tight": {"forcing": 0.1}})
    assert made == [{}, {"forcing": 0.1}]
    assert list(entrants) == ["default", "tight"]


@pytest.mark.skipif("trust-ncg" not in METHODS, reason="there is no trust region yet")
def test_table_of_variants_begins_with_the_default_and_every_setting_exists():
    assert list(ablation.entrants()) == list(ablation.VARIANTS)
    assert next(iter(ablation.VARIANTS)) == ablation.DEFAULT
    assert ablation.VARIANTS[ablation.DEFAULT] == {}

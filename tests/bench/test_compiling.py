# SPDX-License-Identifier: Apache-2.0
"""The suite of compilations: every turn compiles a function that JAX has not seen, and counts are true."""

import jax
import numpy as np
import pytest

from jopt.bench import compiling
from jopt.bench.suites import Scope

PROGRAM = """
HloModule jit_f

%fused_computation (p: f32[3]) -> f32[3] {
  %p = f32[3]{0} parameter(0)
  %tanh.1 = f32[3]{0} tanh(%p)
  ROOT %add.1 = f32[3]{0} add(%tanh.1, %p)
}

%region_0 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add.2 = f32[] add(%a, %b)
}

%body (c: (s32[], f32[3])) -> (s32[], f32[3]) {
  %c = (s32[], f32[3]{0}) parameter(0)
  %x = f32[3]{0} get-tuple-element(%c), index=1
  %fusion.1 = f32[3]{0} fusion(%x), kind=kLoop, calls=%fused_computation
  ROOT %t = (s32[], f32[3]{0}) tuple(%x, %fusion.1)
}

ENTRY %main (y: f32[3]) -> f32[] {
  %y = f32[3]{0} parameter(0)
  %w = (s32[], f32[3]{0}) while(%y), condition=%cond, body=%body
  %copy.1 = f32[3]{0} copy(%y)
  ROOT %reduce = f32[] reduce(%copy.1, %y), dimensions={0}, to_apply=%region_0
}
"""


def test_kernels_are_what_is_launched_not_what_is_within():
    assert compiling.kernels(PROGRAM) == 3  # the fusion in the loop, the copy, the sum


def test_kernels_of_a_program_that_does_one_thing_are_few():
    text = jax.jit(lambda x: x + 1).lower(np.ones(3)).compile().as_text()
    assert compiling.kernels(text) == 1


def small(make):
    return compiling._prepared(make, compiling.rosenbrock(), "float64", lambda: None)


def test_every_turn_traces_and_compiles_anew(monkeypatch):
    seen = []

    def make(fun):
        seen.append(fun)
        return jax.value_and_grad(fun)

    ready = small(make)
    assert ready.repeats == 1
    assert {key: ready.figures[key] for key in ("traces", "copies")} == {"traces": 1, "copies": 1}
    assert ready.figures["kernels"] >= 1
    compiled = []
    monkeypatch.setattr(compiling, "compiled", lambda program, _: compiled.append(program))
    ready.run()
    ready.run()
    assert len(compiled) == 2
    assert len({id(fun) for fun in seen}) == len(seen)


def test_the_base_is_compiled_for_nothing_before_the_first_and_then_no_more(monkeypatch):
    problem = compiling.rosenbrock()
    heat = compiling._heat("case", problem, {"a": jax.value_and_grad, "b": jax.value_and_grad}, "float64")
    made, own = [], compiling.compiled
    monkeypatch.setattr(compiling, "compiled", lambda *args: made.append(args) or own(*args))
    lengths = []
    for contender in heat.contenders:
        contender.prepare()
        lengths.append(len(made))
    assert lengths == [2, 3]


def test_copies_are_those_of_the_solver():
    assert small(lambda fun: lambda x: (fun(x), jax.value_and_grad(fun)(x))).figures["copies"] == 2
    adam = small(compiling.OURS["jopt adam"])
    assert adam.figures["copies"] == 1
    assert adam.trace_s > 0


def test_the_product_counts_as_one_linearisation():
    assert small(compiling.OURS["jax value_and_grad, hvp"]).figures["copies"] == 1


@pytest.mark.parametrize("problem", [compiling.network(2), compiling.logistic(), compiling.rosenbrock()])
def test_objectives_are_scalars_in_the_precision_of_their_parameters(problem):
    for precision in ("float32", "float64"):
        out = jax.eval_shape(jax.value_and_grad(problem.fun), problem.shapes(precision))
        assert out[0].shape == ()
        assert {leaf.dtype for leaf in jax.tree.leaves(out)} == {np.dtype(precision)}


def test_cases_are_those_of_the_scope():
    heats = compiling.heats(Scope())
    assert [heat.case for heat in heats] == ["network, 24 layers", "rosenbrock 10", "logistic"]
    assert {heat.contenders[0].name for heat in heats} == {compiling.BASE}
    assert {"jopt lbfgs", "jopt trust-ncg", "jopt newton-cg", "jopt adam", "optax lbfgs"} <= {
        contender.name for contender in heats[0].contenders
    }
    assert "optimistix bfgs" not in {contender.name for contender in heats[0].contenders}
    quick = compiling.heats(Scope(quick=True))
    assert {contender.name for heat in quick for contender in heat.contenders} == compiling.QUICK
    assert {heat.rounds for heat in quick} == {compiling.QUICK_ROUNDS}

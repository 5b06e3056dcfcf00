# SPDX-License-Identifier: Apache-2.0
"""Methods on problems in the plane: the points are those of the formulas, and records hold what they say."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import problems
from jopt.bench import trajectories

STEPS = 25
BEALE = problems.beale()
STARTS = ((2.0, -2.0), (-3.0, 3.0))


SOME = ("gd", "momentum", "adam", "newton-cg", "lbfgs")


@pytest.fixture(scope="module")
def race():
    return trajectories.race_planar("beale", methods=SOME, steps=STEPS)


@pytest.fixture(scope="module")
def everyone():
    return trajectories.race_planar("beale", steps=3)


def of(race, method, start=STARTS[0]):
    (run,) = [run for run in race.runs if run.method == method and run.start == start]
    return run


def test_methods_run_in_the_order_asked_from_the_first_two_starts(race):
    assert [(run.start, run.method) for run in race.runs] == [(s, m) for s in STARTS for m in SOME]
    assert race.problem == "beale()"
    assert race.steps == STEPS
    np.testing.assert_array_equal(race.starts, STARTS)
    assert f"learning_rate={trajectories.RATES['adam']}," in of(race, "adam").made_by


@pytest.mark.slow
def test_every_method_runs_unless_some_are_asked_for(everyone):
    assert [(run.start, run.method) for run in everyone.runs] == [(s, m) for s in STARTS for m in trajectories.METHODS]
    names = "gd momentum nesterov adagrad rmsprop rmsprop-momentum adam newton-cg lbfgs"
    assert list(trajectories.METHODS) == names.split()


def test_runs_begin_at_the_start_and_hold_the_values_of_their_points(race):
    value = jax.jit(jax.vmap(BEALE.fun))
    for run in race.runs:
        assert tuple(run.points[0]) == run.start
        padded = np.resize(run.points, (STEPS + 1, 2))  # one shape, one program
        np.testing.assert_allclose(run.values, np.asarray(value(padded))[: len(run.points)], rtol=1e-10)
        assert len(run.points) == len(run.values) == len(run.evaluations) <= STEPS + 1
        assert run.evaluations[0] == 1
        assert (np.diff(run.evaluations) >= 1).all()
        np.testing.assert_allclose(run.distance, np.linalg.norm(run.points[-1] - [3.0, 0.5]))
        assert run.success == (jopt.Status[run.status].success)
        assert run.message == jopt.Status[run.status].advice


def test_gradient_descent_and_momentum_are_their_formulas(race):
    slope = jax.jit(jax.grad(BEALE.fun))
    rates = {name: trajectories.SHARES[name] for name in ("gd", "momentum")}
    curvature = max(np.linalg.norm(jax.hessian(BEALE.fun)(jnp.array(x)), 2) for x in (*STARTS, (3.0, 0.5)))
    for name, weight in (("gd", 0.0), ("momentum", trajectories.MOMENTUM)):
        rate = float(f"{rates[name] / curvature:.1e}")
        assert f"learning_rate={rate}" in of(race, name).made_by
        x, velocity = np.array(STARTS[1]), np.zeros(2)
        for point in of(race, name, STARTS[1]).points[:10]:
            np.testing.assert_allclose(point, x, rtol=1e-9)
            velocity = weight * velocity + np.asarray(slope(x))
            x = x - rate * velocity


@pytest.mark.slow
@pytest.mark.parametrize("method", trajectories.RATES)
def test_the_documented_rates_are_those_that_run(everyone, method):
    assert f"learning_rate={trajectories.RATES[method]}," in of(everyone, method).made_by


def test_momentum_is_what_tells_the_two_forms_of_rmsprop_apart():
    plain, with_momentum = (repr(trajectories.METHODS[name](0.01)) for name in ("rmsprop", "rmsprop-momentum"))
    assert "momentum=None" in plain
    assert "momentum=0.9" in with_momentum


def test_a_run_is_the_solve_of_minimize(race):
    result = jopt.minimize(BEALE.fun, jnp.array(STARTS[0]), method="newton-cg", gtol=race.gtol, maxiter=STEPS)
    run = of(race, "newton-cg")
    np.testing.assert_allclose(run.points[-1], result.x, rtol=1e-9)
    counts = (len(run.points) - 1, run.evaluations[-1], run.products, run.status)
    assert counts == (int(result.nit), int(result.nfev), int(result.nhev), "CONVERGED")
    assert run.success
    assert run.distance < 1e-6


def test_gtol_is_the_root_of_the_rounding_unit(race):
    np.testing.assert_allclose(race.gtol, np.finfo(np.float64).eps ** 0.5)


def test_landscape_is_the_objective_around_what_matters(race):
    ground = race.landscape
    assert ground.values.shape == (len(ground.y), len(ground.x)) == (trajectories.CELLS,) * 2
    for i, j in ((0, 0), (7, 30), (-1, 3)):
        np.testing.assert_allclose(ground.values[i, j], BEALE.fun(jnp.array([ground.x[j], ground.y[i]])), rtol=1e-10)
    for x, y in (*STARTS, (3.0, 0.5)):
        assert ground.x[0] < x < ground.x[-1]
        assert ground.y[0] < y < ground.y[-1]
    assert race.minimum == 0.0
    np.testing.assert_array_equal(race.minimisers, [[3.0, 0.5]])


def test_json_is_strict_and_brings_everything_back(race):
    nowhere = race._replace(minimum=np.nan, runs=(race.runs[0]._replace(distance=np.nan), *race.runs[1:]))
    text = trajectories.to_json(nowhere)
    json.loads(text, parse_constant=pytest.fail)
    again = trajectories.from_json(text)
    assert np.isnan(again.minimum)
    assert np.isnan(again.runs[0].distance)
    jax.tree.map(np.testing.assert_array_equal, tuple(again), tuple(nowhere))
    with pytest.raises(ValueError, match="from_json: not a planar race of schema 1"):
        trajectories.from_json('{"schema": 0}')


def test_a_run_that_meets_what_is_not_finite_ends_before_it():
    race = trajectories.race_planar("monkey_saddle", [(1.0, 0.1)], ["gd"], steps=60, rates={"gd": 0.5})
    (run,) = race.runs
    assert run.status in {"NONFINITE", "UNBOUNDED"}
    assert not run.success
    assert 2 < len(run.points) < 61
    assert np.isfinite(run.points).all()
    assert np.isfinite(run.values).all()
    assert np.isnan(run.distance)  # it has no minimiser
    assert np.isnan(race.minimum)
    assert np.abs(run.points).max() > 1e10  # it ran off, and did not stretch the landscape
    assert np.abs([race.landscape.x, race.landscape.y]).max() < 10


def test_a_start_without_a_value_is_kept():
    problem = problems.from_formula("root", lambda x: jnp.sum(jnp.sqrt(x)), ((1.0, 1.0),), source="none")
    (run,) = trajectories.race_planar(problem, [(-1.0, 1.0)], ["gd"], steps=3).runs
    assert run.status == "NONFINITE"
    np.testing.assert_array_equal(run.points, [[-1.0, 1.0]])
    assert np.isnan(run.values).all()


def test_a_path_ends_where_the_gradient_vanishes():
    race = trajectories.follow(
        "booth", [(0.0, 0.0), (1.0, 3.0)], {"mine": jopt.sgd(0.05), "yours": jopt.sgd(0.01)}, steps=400
    )
    assert [run.method for run in race.runs] == ["mine", "yours"] * 2
    assert [run.status for run in race.runs if run.method == "mine"] == ["CONVERGED"] * 2
    assert len(race.runs[2].points) == 1
    assert race.runs[0].made_by == repr(jopt.sgd(0.05))


WRONG = {
    "method": ({"methods": ["adamm"]}, ValueError, r"methods must be one of .*Did you mean 'adam'\?"),
    "methods": ({"methods": "adam"}, TypeError, "methods must be a list"),
    "problem": ({"problem": "beal"}, ValueError, "Did you mean 'beale'"),
    "high": ({"problem": "wood"}, ValueError, r"must have one vector of two entries .*got wood\(\)"),
    "tree": ({"problem": "challenger"}, ValueError, "must have one vector of two entries"),
    "kind": ({"problem": 3}, TypeError, "problem must be a name or a record"),
    "starts": ({"starts": (2.0, -2.0)}, ValueError, r"starts must be finite points of the plane, shape \(s, 2\)"),
    "nan": ({"starts": [(2.0, np.nan)]}, ValueError, "starts must be finite points"),
    "none": ({"starts": np.zeros((0, 2))}, ValueError, "starts must be finite points"),
    "steps": ({"steps": 0}, ValueError, "steps must be"),
    "rate": ({"rates": {"gd": -1.0}}, ValueError, "rates"),
    "rates": ({"rates": {"gdd": 1.0}}, ValueError, "rates must be one of .*Did you mean 'gd'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_refused_by_name(case):
    settings, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        trajectories.race_planar(**({"problem": "beale", "methods": ["gd"], "steps": 2} | settings))


def test_nobody_cannot_be_followed():
    with pytest.raises(ValueError, match="follow: entrants must hold at least one method"):
        trajectories.follow("beale", STARTS, {}, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["rosenbrock", "himmelblau", "peaks", "booth", "quartic_saddle", "double_well", "finite_sum"]
)
def test_no_method_blows_up_on_a_problem_bounded_below(name):
    race = trajectories.race_planar(name, methods=[m for m in trajectories.METHODS if m not in {"newton-cg", "lbfgs"}])
    for run in race.runs:
        assert run.status in {"CONVERGED", "MAX_ITERATIONS"}, run.method
        assert run.values[-1] < run.values[0]
        assert np.abs(run.points).max() < 100

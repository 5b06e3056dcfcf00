# SPDX-License-Identifier: Apache-2.0
"""Many problems at once: lanes of `jax.vmap(minimize)` and of `minimize_batch` against solves one by one."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import counted, evaluations

import jopt
from jopt import Status
from jopt.solvers.lanes import packed
from jopt.solvers.least_squares import LEAST_SQUARES_METHODS
from jopt.solvers.methods import METHODS

COUNTS = ("status", "success", "nit", "nfev", "njev", "nhev")
# Solves one by one, vmapped and in working lanes are compiled apart, and sum in other orders. What that may change in a
# converged solve is what a few dozen steps make of an error of rounding.
CLOSE = {"float64": 1e-9, "float32": 1e-3}


def valley(x, stretch):
    """Rosenbrock's function in three dimensions with a scale for each."""
    return jnp.sum(stretch * (x[1:] - x[:-1] ** 2) ** 2) + jnp.sum((1 - x[:-1]) ** 2)


STRETCH = jnp.array([3.0, 10.0])
# At the minimum; nowhere; near; so far away that the steps are spent first.
STARTS = jnp.array([[1.0, 1.0, 1.0], [jnp.nan, 0.0, 0.0], [0.9, 0.9, 1.0], [-6.0, 7.0, 9.0]])
ENDS = [Status.CONVERGED, Status.NONFINITE, Status.CONVERGED, Status.MAX_ITERATIONS]


def assert_lane(batch, lane, alone, rtol):
    for name in COUNTS:
        assert getattr(batch, name)[lane] == getattr(alone, name), (name, lane)
    for name in ("x", "fun"):
        ours, theirs = getattr(batch, name)[lane], getattr(alone, name)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_lanes_of_vmap_end_for_themselves_as_solves_one_by_one_do(name):
    gtol = 1e-2 if name == "gradient-descent" else 1e-5
    solve = jax.jit(lambda x0, steps: jopt.minimize(valley, x0, STRETCH, name, gtol=gtol, maxiter=steps))
    batch = jax.jit(jax.vmap(solve, in_axes=(0, None)))
    enough = solve(STARTS[2], jnp.int32(3000)).nit  # for the near start
    found = batch(STARTS, enough)
    assert [Status(int(s)) for s in found.status] == ENDS
    assert found.nit[0] == 0
    for lane, x0 in enumerate(STARTS):
        assert_lane(found, lane, solve(x0, enough), CLOSE["float64"])
    # Company that runs on does not change a lane that has ended: the same program gives the same bits.
    shorter = batch(STARTS.at[3].set(STARTS[2]), enough)
    longer = batch(STARTS, 3 * enough)
    chex.assert_trees_all_equal(*jax.tree.map(lambda x: x[:3], (longer, shorter)))
    assert int(longer.nfev[3]) > int(shorter.nfev[3])


def test_a_batch_holds_a_success_and_a_failure_side_by_side():
    found = jopt.minimize_batch(valley, STARTS, STRETCH, jopt.sgd(1e-3), in_axes=None, lanes=2, gtol=1e-5, maxiter=2)
    assert [Status(int(s)) for s in found.status] == [*ENDS[:2], Status.MAX_ITERATIONS, Status.MAX_ITERATIONS]
    assert found.message == [Status(int(s)).advice for s in found.status]
    assert list(found.success) == [True, False, False, False]
    with pytest.raises(RuntimeError, match="NONFINITE in lane 1 \\(3 of 4 failed\\)"):
        found.raise_on_failure()


def decay(x, rate):
    return jnp.sum(rate * x**2) / 2


CHAIN = jopt.chain(jopt.trace(0.5), jopt.scale_by_learning_rate(0.1))
RATES = jnp.asarray(np.random.default_rng(0).uniform(0.3, 3.0, 13))
BEGIN = jnp.ones((13, 2))


@functools.cache
def lanes_one_by_one(size, history=False):
    solve = jax.jit(lambda x0, rate: jopt.minimize(decay, x0, (rate,), CHAIN, gtol=1e-3, maxiter=300, history=history))
    return [solve(BEGIN[i], RATES[i]) for i in range(size)]


@pytest.mark.slow
def test_a_chain_solves_each_lane_as_alone():
    found = jax.jit(jax.vmap(lambda x0, rate: jopt.minimize(decay, x0, (rate,), CHAIN, gtol=1e-3, maxiter=300)))(
        BEGIN, RATES
    )
    for lane, alone in enumerate(lanes_one_by_one(13)):
        assert_lane(found, lane, alone, CLOSE["float64"])
    assert len(set(map(int, found.nit))) > 5


@pytest.mark.parametrize("lanes", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 13, 50))])
def test_working_lanes_give_the_answers_of_solves_one_by_one(lanes):
    found = jopt.minimize_batch(decay, BEGIN, RATES, CHAIN, lanes=lanes, gtol=1e-3, maxiter=300, history=True)
    for lane, alone in enumerate(lanes_one_by_one(13, history=True)):
        assert_lane(found, lane, alone, CLOSE["float64"])
        np.testing.assert_array_equal(found.history.nfev[lane], alone.history.nfev)
        np.testing.assert_allclose(found.history.fun[lane], alone.history.fun, rtol=1e-9)
        np.testing.assert_array_equal(found.state.nit[lane], alone.state.nit)
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, i=lane: x[i], found.state.solver), alone.state.solver, rtol=1e-6
        )
    assert found.state.solver.params.shape == (13, 2)


def test_cost_follows_the_mean_problem_and_not_the_slowest():
    rates = jnp.full(20, 3.0).at[7].set(0.3)  # one that takes ten times as long
    ask = {"gtol": 1e-3, "maxiter": 1000}
    starts, watched = jnp.ones((20, 2)), counted(decay)
    side_by_side, all_lanes = evaluations(
        lambda: jax.vmap(lambda x0, rate: jopt.minimize(watched, x0, (rate,), CHAIN, **ask))(starts, rates)
    )
    found, few = evaluations(lambda: jopt.minimize_batch(watched, starts, rates, CHAIN, lanes=4, **ask))
    chex.assert_trees_all_equal(found.nfev, side_by_side.nfev)
    slowest, total = int(jnp.max(found.nfev)), int(jnp.sum(found.nfev))
    assert all_lanes == 20 * slowest
    assert total <= few <= total + 4 * slowest  # what ends last idles the other lanes, no more
    assert all_lanes > 3 * few


def with_aux(x, data, offset):
    residual = data["a"] @ x - data["b"] + offset
    return jnp.sum(residual**2) / 2, {"residual": residual, "largest": jnp.max(jnp.abs(x))}


def least_squares_data(number, dtype):
    rng = np.random.default_rng(3)
    make = functools.partial(jnp.asarray, dtype=dtype)
    return {
        "a": make(rng.standard_normal((number, 4, 2)) + 2 * np.eye(4, 2)),
        "b": make(rng.standard_normal((number, 4))),
    }


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_shared_and_own_arguments_trees_and_aux_in_their_own_precision(dtype):
    data, offset = least_squares_data(9, dtype), jnp.asarray(0.5, dtype)
    with jax.numpy_dtype_promotion("strict"):
        found = jopt.minimize_batch(
            with_aux, jnp.zeros((9, 2), dtype), (data, offset), jopt.sgd(0.05), in_axes=(0, None), lanes=4, has_aux=True
        )
    assert found.success.all()
    for lane in range(9):
        exact = np.linalg.lstsq(
            np.asarray(data["a"][lane], float), np.asarray(data["b"][lane], float) - 0.5, rcond=None
        )[0]
        np.testing.assert_allclose(found.x[lane], exact, atol=2e-3 if dtype == "float32" else 1e-7)
        residual = np.asarray(data["a"][lane] @ found.x[lane] - data["b"][lane] + offset)
        np.testing.assert_allclose(found.aux["residual"][lane], residual, atol=CLOSE[dtype])
    assert {x.dtype.name for x in jax.tree.leaves(found)} <= {dtype, "int32", "bool"}
    assert found.aux["largest"].shape == (9,)


@pytest.mark.slow
def test_entries_of_in_axes_may_be_trees():
    data, offset = least_squares_data(3, "float64"), jnp.asarray(0.5)
    shared = data | {"a": data["a"][0]}
    ask = {"has_aux": True, "lanes": 2, "method": jopt.sgd(0.02), "gtol": 1e-6}
    found = jopt.minimize_batch(
        with_aux, jnp.zeros((3, 2)), (shared, offset), in_axes=({"a": None, "b": 0}, None), **ask
    )
    exact = [np.linalg.lstsq(np.asarray(shared["a"]), np.asarray(b) - 0.5, rcond=None)[0] for b in shared["b"]]
    np.testing.assert_allclose(found.x, exact, atol=1e-5)


TRACES = []


def traced(x, rate):
    TRACES.append(1)
    return decay(x, rate)


def test_new_values_trace_nothing_anew_and_the_batch_is_one_program_under_jit():
    solve = functools.partial(jopt.minimize_batch, traced, method=CHAIN, lanes=4, maxiter=300)
    first = solve(BEGIN, RATES, gtol=1e-3)
    before = len(TRACES)
    second = solve(2 * BEGIN, RATES + 0.1, gtol=1e-4)
    assert len(TRACES) == before
    assert float(jnp.max(second.x)) < float(jnp.max(first.x))
    inside = jax.jit(lambda x0, rates: solve(x0, rates, gtol=1e-3))(BEGIN, RATES)
    chex.assert_trees_all_close((inside.x, inside.nit), (first.x, first.nit), rtol=1e-12)


def test_alone_a_packed_solver_is_the_solver_and_plain_solves_know_nothing_of_it():
    ask = {"gtol": 1e-3, "maxiter": np.int32(300)}
    plain = jopt.minimize(decay, BEGIN[0], (RATES[0],), CHAIN, **ask)
    alone = jopt.minimize(decay, BEGIN[0], (RATES[0],), packed(jopt.fixed_step(CHAIN)), **ask)
    chex.assert_trees_all_equal(plain, alone)
    program = str(jax.make_jaxpr(lambda x0: jopt.minimize(decay, x0, (1.0,), CHAIN))(BEGIN[0]))
    assert "custom_vmap" not in program
    assert packed(jopt.newton_cg(), 8) == packed(jopt.newton_cg(), 8)
    assert packed(jopt.newton_cg(), 8) != packed(jopt.newton_cg(), 9)
    with pytest.raises(ValueError, match="packed: lanes must be a whole number >= 1, got 0"):
        packed(jopt.newton_cg(), 0)


def to_centre(x, centre, scale):
    return jnp.sum(scale * (x - centre) ** 2) + jnp.sum(x - centre) ** 4


@pytest.mark.slow
def test_derivatives_are_those_of_each_problem():
    centres, scale = jnp.asarray(np.random.default_rng(1).standard_normal((5, 2))), jnp.array([1.0, 2.0])

    def solutions(centres, scale):
        found = jopt.minimize_batch(
            to_centre, jnp.zeros((5, 2)), (centres, scale), "bfgs", in_axes=(0, None), lanes=2, gtol=1e-10
        )
        return jnp.sum(found.x * jnp.arange(10.0).reshape(5, 2))

    by_centre, by_scale = jax.jit(jax.grad(solutions, (0, 1)))(centres, scale)
    np.testing.assert_allclose(by_centre, np.arange(10.0).reshape(5, 2), atol=1e-6)  # x = centre
    np.testing.assert_allclose(by_scale, 0.0, atol=1e-6)


def test_a_batch_goes_on_from_its_state():
    ask = {"method": CHAIN, "lanes": 4, "gtol": 1e-3}
    whole = jopt.minimize_batch(decay, BEGIN, RATES, maxiter=np.int32(300), **ask)
    part = jopt.minimize_batch(decay, BEGIN, RATES, maxiter=np.int32(5), **ask)
    assert (part.nit == 5).all()
    again = jopt.minimize_batch(decay, BEGIN, RATES, maxiter=np.int32(300), resume=part.state, **ask)
    chex.assert_trees_all_close((whole.x, whole.nit, whole.status), (again.x, again.nit, again.status), rtol=1e-12)


@pytest.mark.slow
def test_random_keys_in_a_state_travel_with_their_lane():
    noisy = jopt.chain(jopt.add_noise(1e-3, 0.55, jax.random.key(0)), jopt.scale_by_learning_rate(0.1))
    solve = functools.partial(jopt.minimize, decay, method=noisy, gtol=0.0, maxiter=np.int32(7))
    found = jopt.minimize_batch(decay, BEGIN[:5], RATES[:5], noisy, lanes=2, gtol=0.0, maxiter=np.int32(7))
    side_by_side = jax.vmap(lambda x0, rate: solve(x0, (rate,)))(BEGIN[:5], RATES[:5])
    chex.assert_trees_all_close(found.x, side_by_side.x, rtol=1e-12)


@pytest.mark.slow
def test_bounds_are_shared_or_each_problem_s_own():
    centres = jnp.array([[2.0, -3.0], [0.2, 0.1], [-4.0, 0.0]])
    uppers = jnp.array([1.0, 0.5, -0.5])
    ask = {"args": (centres, jnp.ones(2)), "method": "newton-cg", "in_axes": (0, None), "lanes": 2}
    shared = jopt.minimize_batch(quadratic, jnp.zeros((3, 2)), bounds=(-1.0, 0.5), **ask)
    np.testing.assert_allclose(shared.x, np.clip(centres, -1.0, 0.5), atol=1e-6)
    own = jopt.minimize_batch(quadratic, -jnp.ones((3, 2)), bounds=(None, uppers), bounds_axes=0, **ask)
    np.testing.assert_allclose(own.x, np.minimum(centres, uppers[:, None]), atol=1e-6)
    assert own.success.all()


def quadratic(x, centre, scale):
    return jnp.sum(scale * (x - centre) ** 2) / 2


def test_a_callback_observes_every_problem_and_nothing_else_may_be_asked_for_between_trips():
    ends = []

    def note(iteration):
        if iteration.status != Status.RUNNING:
            ends.append(iteration.nit)

    found = jopt.minimize_batch(decay, BEGIN[:3], RATES[:3], CHAIN, lanes=2, gtol=1e-2, callback=note, every=1000)
    jax.effects_barrier()
    assert sorted(ends) == sorted(map(int, found.nit))
    for setting in ({"progress": True}, {"time_limit": 1.0}):
        words = f"{next(iter(setting))} must not be set: all problems run in one program"
        with pytest.raises(ValueError, match=f"minimize_batch: {words}"):
            jopt.minimize_batch(decay, BEGIN[:3], RATES[:3], CHAIN, **setting)
        with pytest.raises(ValueError, match=f"multistart: {words}"):
            jopt.multistart(decay, BEGIN, (1.0,), CHAIN, **setting)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lanes": 0}, "lanes must be a whole number >= 1, got 0"),
        ({"x0": jnp.float32(1.0)}, "x0 must have a leading axis"),
        ({"x0": jnp.ones((0, 2))}, "x0 must have a leading axis"),
        (
            {"x0": {"a": jnp.ones((3, 2)), "b": jnp.ones((4, 2))}},
            r"x0\['b'\] must have a leading axis with one entry for each start \(3",
        ),
        ({"args": (jnp.ones(12),)}, r"args\[0\] must have a leading axis of length 13, as x0 has, got shape \(12,\)"),
        ({"args": (1.0,)}, r"args\[0\] must have a leading axis of length 13, as x0 has, got shape \(\)"),
        ({"in_axes": 1}, "in_axes must hold 0 for what has the leading axis and None for what is shared, got 1"),
        ({"in_axes": (0, 0)}, "in_axes must be 0, None, or a tuple with an entry for each of args"),
        (
            {"in_axes": (False,)},
            "in_axes must hold 0 for what has the leading axis and None for what is shared, got False",
        ),
        (
            {"bounds": (None, jnp.ones(12)), "bounds_axes": 0},
            r"bounds\[1\] must have .* length 13.*by None in bounds_axes",
        ),
        ({"gtol": -1.0}, "gtol must be in"),
        ({"method": "lbgfs"}, "method must be .*Did you mean 'lbfgs'"),
    ],
)
def test_what_is_wrong_is_named(wrong, message):
    call = {"x0": BEGIN, "args": (RATES,), "method": CHAIN} | wrong
    with pytest.raises(ValueError, match=f"minimize_batch: {message}"):
        jopt.minimize_batch(decay, **call)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_in_working_lanes_is_vmap_lane_for_lane(name):
    ask = {"gtol": 1e-3, "maxiter": np.int32(60)}
    starts = jnp.asarray(np.random.default_rng(2).uniform(-1.5, 1.5, (7, 3)))
    side_by_side = jax.vmap(lambda x0: jopt.minimize(valley, x0, STRETCH, name, **ask))(starts)
    found = jopt.minimize_batch(valley, starts, STRETCH, name, in_axes=None, lanes=3, **ask)
    for lane in range(7):
        assert_lane(found, lane, jax.tree.map(lambda x, i=lane: x[i], side_by_side), 1e-7)


def curve(p, t, y):
    return p[0] * jnp.exp(-p[1] * t) - y


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LEAST_SQUARES_METHODS))
def test_fits_end_for_themselves_as_one_by_one(name):
    t = jnp.linspace(0.0, 1.0, 9)
    truths = jnp.array([[3.0, 2.0], [1.0, 0.5], [2.0, jnp.nan], [5.0, 4.0]])
    data = jax.vmap(lambda p: curve(p, t, 0.0))(truths)
    starts = jnp.array([[1.0, 1.0], [1.0, 0.5], [1.0, 1.0], [-3.0, -2.0]])
    solve = jax.jit(lambda x0, y: jopt.least_squares(curve, x0, (t, y), name, gtol=1e-6, maxiter=6))
    found = jax.jit(jax.vmap(solve))(starts, data)
    assert len(set(map(int, found.status))) > 1
    for lane in range(4):
        assert_lane(found, lane, solve(starts[lane], data[lane]), CLOSE["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LEAST_SQUARES_METHODS))
def test_fits_in_working_lanes_are_vmap_lane_for_lane(name):
    t = jnp.linspace(0.0, 1.0, 9)
    rates = jnp.array([2.0, 0.5, 1.0, 3.0, 0.7])
    data = 3 * jnp.exp(-rates[:, None] * t)
    ask = {"method": name, "gtol": 1e-8, "has_aux": True, "loss": "huber"}

    def told(p, t, y):
        return curve(p, t, y), p

    side_by_side = jax.vmap(lambda x0, y: jopt.least_squares(told, x0, (t, y), **ask))(jnp.ones((5, 2)), data)
    found = jopt.least_squares_batch(told, jnp.ones((5, 2)), (t, data), in_axes=(None, 0), lanes=2, **ask)
    for lane in range(5):
        assert_lane(found, lane, jax.tree.map(lambda x, i=lane: x[i], side_by_side), CLOSE["float64"])
    np.testing.assert_allclose(found.x, np.stack([np.full(5, 3.0), rates], 1), rtol=1e-6)
    np.testing.assert_array_equal(found.aux[1], found.x)


@pytest.mark.slow
def test_cost_of_fits_follows_the_mean_too():
    misfit = counted(lambda x, centre: jnp.arctan(x - centre))
    ask = {"lanes": 3, "in_axes": 0, "gtol": 1e-6, "method": jopt.levenberg_marquardt(linear_solve="qr")}
    found, few = evaluations(
        lambda: jopt.least_squares_batch(misfit, jnp.zeros((12, 1)), jnp.full((12, 1), 0.1).at[4].set(30.0), **ask)
    )
    slowest, total = int(jnp.max(found.nfev)), int(jnp.sum(found.nfev))
    assert found.success.all()
    assert slowest > 2 * int(jnp.min(found.nfev))
    assert total <= few <= total + 3 * slowest


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"lanes": 0}, ValueError, "lanes must be a whole number >= 1"),
        ({"args": (jnp.ones(4),)}, ValueError, r"args\[0\] must have a leading axis of length 3"),
        ({"loss": "square"}, ValueError, "loss must be one of"),
        ({"time_limit": 1.0}, ValueError, "time_limit must not be set"),
        ({"method": jopt.newton_cg()}, TypeError, "method must be a name or a solver for least squares"),
        ({"method": packed(jopt.newton_cg())}, TypeError, "method must be a name or a solver for least squares"),
        ({"bounds": (0.0, 1.0)}, TypeError, "unexpected keyword argument 'bounds'"),
    ],
)
def test_what_is_wrong_with_fits_is_named(wrong, error, message):
    call = {"x0": jnp.ones((3, 2)), "args": (jnp.ones(3),)} | wrong
    prefix = r"least_squares\(\) got an " if "bounds" in wrong else "least_squares_batch: "
    with pytest.raises(error, match=f"{prefix}{message}"):
        jopt.least_squares_batch(lambda x, c: x - c, **call)

# SPDX-License-Identifier: Apache-2.0
"""Callbacks, progress bars and limits of time: what they see, that they change nothing, and what they may not."""

import functools
import importlib.util
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status
from jopt.solvers import watching
from jopt.solvers.methods import METHODS

# Eight numbers: of a loop that touches less than about 1 kB, XLA for CPU makes one kernel, which may round differently.
START = jnp.linspace(-1.2, 1.0, 8)
SGD = jopt.sgd(0.3, momentum=0.8)  # overshoots: the point after six steps, and after ten, is not the best


def rosenbrock(x, weight):
    return jnp.sum(weight * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def bowl(x, centre):
    return jnp.sum(jnp.linspace(1.0, 3.0, 8) * (x - centre) ** 2)


def valley(x, weight):
    return jnp.append(jnp.sqrt(weight) * (x[1:] - x[:-1] ** 2), 1.0 - x[:-1])


def slide(callback=None, centre=0.5, maxiter=10, **settings):
    """Ten steps of one small program, which most tests here share."""
    return jopt.minimize(
        bowl, START, (jnp.float64(centre),), SGD, gtol=0.0, maxiter=maxiter, callback=callback, **settings
    )


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(map(raw, jax.tree.leaves(a)), map(raw, jax.tree.leaves(b)), strict=True):
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


def raw(leaf):
    keys = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if keys else leaf)


def status(result):
    return Status(int(result.status))


# Nothing changes.

SLOW = pytest.mark.slow
RECIPES = {
    "adam": jopt.adam(1e-2),
    "noise": jopt.chain(jopt.add_noise(1e-3, 0.5, key=0), jopt.sgd(1e-3)),
    "direction": jopt.descent(jopt.scale_by_adam(), jopt.linesearch.backtracking()),
}
WATCHED = {
    **{name: functools.partial(jopt.minimize, rosenbrock, method=name) for name in METHODS},
    **{name: functools.partial(jopt.minimize, rosenbrock, method=recipe) for name, recipe in RECIPES.items()},
    "escape": functools.partial(jopt.minimize, rosenbrock, second_order="escape"),
    "lm": functools.partial(jopt.least_squares, valley),
    "gauss-newton": functools.partial(jopt.least_squares, valley, method="gauss-newton", loss="huber"),
}
QUICK = {"noise"}


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=SLOW) for n in WATCHED])
def test_a_watched_solve_gives_the_same_bits(name):
    solve = functools.partial(WATCHED[name], x0=START, args=(jnp.float64(100.0),), maxiter=25)
    seen = []
    watched = solve(callback=seen.append)
    assert_same_bits(watched, solve())
    assert [it.nit for it in seen[:-1]] == list(range(1, len(seen)))
    assert seen[-1].nit == int(watched.nit) > 3
    assert seen[-1].status == status(watched)


def test_with_nothing_asked_for_nothing_is_in_the_program():
    def program(**settings):
        return str(jax.make_jaxpr(lambda x: jopt.minimize(bowl, x, (0.5,), SGD, **settings))(START))

    plain = program()
    assert program(callback=None, every=3, progress=False, time_limit=None, resume=None) == plain
    assert "callback" not in plain
    assert program(callback=print).count("debug_callback[") == 1


def test_a_second_solve_with_new_data_and_a_new_callback_traces_nothing():
    traces = []

    def fun(x, centre):
        traces.append(1)
        return bowl(x, centre)

    for centre in (0.5, 1.0, 2.0):
        seen = []
        jopt.minimize(fun, START, (centre,), SGD, maxiter=3 + len(traces), callback=seen.append)
        assert seen
    assert len(traces) == 1  # so the objective stands once in the program, too


def test_a_watched_solve_stays_spread_over_its_devices_and_is_compiled_once():
    before = watching._advance._cache_size()
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("d",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d"))
    result = jopt.minimize(
        bowl, jax.device_put(START, spread), (0.5,), SGD, gtol=0.0, maxiter=3, callback=lambda _: None
    )
    arrays = [x for x in jax.tree.leaves(result) if x.shape == START.shape]
    assert len(arrays) == 6
    assert {str(x.sharding) for x in arrays} == {str(spread)}
    assert watching._advance._cache_size() == before + 1


# What is seen.


@pytest.mark.parametrize("how", ["outside", "jit"])
def test_a_callback_sees_the_rows_of_the_history(how):
    seen = []

    def solve(x):
        return jopt.minimize(bowl, x, (0.5,), SGD, gtol=0.0, maxiter=6, history=True, callback=seen.append)

    result = (jax.jit(solve) if how == "jit" else solve)(START)
    jax.effects_barrier()
    history = result.history
    assert sorted(it.nit for it in seen) == list(range(1, 7))
    for it in seen[:-1]:
        assert it.status is Status.RUNNING
        rows = (it.value, it.grad_norm, it.step_norm, it.nfev)
        assert rows == tuple(float(column[it.nit]) for column in history)
        assert it.value == pytest.approx(float(bowl(it.params, 0.5)), rel=1e-14)
        assert type(it.params) is np.ndarray
        assert (it.state is None) == (it.elapsed is None) == (how == "jit")
    last = seen[-1]
    assert (last.status, last.value) == (Status.MAX_ITERATIONS, float(result.fun))
    assert last.value < float(history.fun[6])  # the point that is returned, not the last
    np.testing.assert_array_equal(last.params, result.x)
    assert last.grad_norm == float(jnp.max(jnp.abs(result.jac)))


def test_an_iteration_prints_as_one_line_without_its_arrays():
    seen = jopt.Iteration(5, 6, 7, Status.CONVERGED, 0.25, 1e-5, jnp.inf, np.zeros(9), 0.5, None)
    numbers = "value=0.25, grad_norm=1.00e-05, step_norm=inf"
    assert repr(seen) == f"Iteration(nit=5, nfev=6, nhev=7, status=CONVERGED, {numbers}, elapsed=0.500)"
    assert repr(seen._replace(elapsed=None)).endswith("step_norm=inf)")


def test_every_spaces_the_calls_and_the_end_is_always_seen():
    for every, nits in ((1, list(range(1, 11))), (3, [3, 6, 9, 10]), (5, [5, 10]), (50, [10])):
        seen = []
        slide(seen.append, every=every)
        assert [it.nit for it in seen] == nits
        assert [it.elapsed for it in seen] == sorted(it.elapsed for it in seen)


@SLOW
def test_history_is_the_same_under_jit_and_in_each_lane_of_a_batch():
    def solve(x):
        return jopt.minimize(bowl, x, (0.5,), SGD, maxiter=5, gtol=0.0, history=True).history

    starts = jnp.stack([START, 2 * START, jnp.full(8, 0.5)])
    batch = jax.vmap(solve)(starts)
    for lane, start in enumerate(starts):
        alone = jax.jit(solve)(start)
        for column, of_batch in zip(alone, batch, strict=True):
            assert column.shape == (6,)
            np.testing.assert_allclose(of_batch[lane], column, rtol=1e-13)


# Stopping.


@pytest.mark.parametrize(
    "yes", [True, np.True_, np.asarray(True), jnp.bool_(True)], ids=["python", "numpy", "array", "jax"]
)
def test_true_stops_with_the_best_point(yes):
    seen = []

    def callback(it):
        seen.append(it)
        return yes if it.nit == 7 else None

    result = slide(callback)
    assert status(result) is Status.STOPPED
    assert not bool(result.success)
    assert int(result.nit) == len(seen) == 7
    assert float(result.fun) <= min(it.value for it in seen)


@pytest.mark.parametrize("no", [False, None, 1, "yes", [True], jnp.ones(2) > 0], ids=repr)
def test_anything_but_true_goes_on(no):
    assert status(slide(lambda _: no, every=4)) is Status.MAX_ITERATIONS


def test_a_stop_at_the_end_changes_nothing():
    assert_same_bits(slide(lambda it: it.status != Status.RUNNING), slide())


def test_an_exception_of_the_callback_brings_the_state_so_far():
    def callback(it):
        if it.nit == 4:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        slide(callback)
    assert "loop_state" in caught.value.__notes__[0]
    state = caught.value.loop_state
    assert int(state.nit) == 4
    assert_same_bits(slide(lambda _: None, resume=state), slide())


def test_a_limit_of_time():
    seen = []
    endless = functools.partial(jopt.minimize, rosenbrock, START, (100.0,), jopt.sgd(1e-7), gtol=0.0, maxiter=2**31 - 1)
    result = endless(callback=seen.append, every=100, time_limit=0.2)
    assert status(result) is Status.TIME
    assert seen[-1].status is Status.TIME
    assert seen[-1].elapsed >= 0.2
    assert int(result.nit) > 100
    assert status(slide(time_limit=1e9)) is Status.MAX_ITERATIONS
    assert status(slide(lambda _: time.sleep(0.02), time_limit=0.01)) is Status.TIME


def test_chunks_take_a_tenth_of_a_second_or_what_is_left():
    forever = float("inf")
    assert watching._next_trips(1000, 1000, 0.05, forever) == 2000
    assert watching._next_trips(1000, 1000, 1.0, forever) == 100
    assert watching._next_trips(1000, 1000, 10.0, forever) == 10
    assert watching._next_trips(10, 10, 1e-6, forever) == 80  # no faster than eightfold
    assert watching._next_trips(1000, 1000, 0.1, 0.02) == 200
    assert watching._next_trips(1000, 1000, 0.1, -1.0) == 1
    assert watching._next_trips(5, 0, 0.0, forever) == 5


# Under a trace.


def test_under_vmap_each_lane_is_seen_to_its_own_end():
    seen = []

    def solve(centre):
        return jopt.minimize(bowl, 0 * START, (centre,), SGD, gtol=0.3, callback=lambda it: seen.append(it), every=4)

    results = jax.vmap(solve)(jnp.asarray([0.0, 0.3, 3.0]))
    jax.effects_barrier()
    assert {status(r) for r in unstacked(results)} == {Status.CONVERGED}
    expected = [n for r in unstacked(results) for n in {*range(4, int(r.nit), 4), int(r.nit)}]
    assert sorted(it.nit for it in seen) == sorted(expected)
    ends = sorted((it.nit, it.value) for it in seen if it.status is Status.CONVERGED)
    assert ends == sorted((int(r.nit), float(r.fun)) for r in unstacked(results))


def unstacked(results):
    return [jax.tree.map(lambda x, i=i: x[i], results) for i in range(len(results.fun))]


@SLOW
def test_a_derivative_is_seen_and_is_what_it_was():
    seen = []

    def at(centre, callback):
        return jopt.minimize(bowl, START, (centre,), SGD, gtol=1e-8, callback=callback, every=10).x[0]

    assert float(jax.grad(at)(0.3, seen.append)) == pytest.approx(float(jax.grad(at)(0.3, None)), abs=1e-12)
    jax.effects_barrier()
    assert seen
    assert seen[0].state is None


def test_a_function_that_closes_over_a_traced_value_is_under_a_trace():
    seen = []

    def solve(centre, **settings):
        return jopt.minimize(lambda x: bowl(x, centre), START, (), SGD, maxiter=2, gtol=0.0, **settings).fun

    values = jax.vmap(functools.partial(solve, callback=seen.append))(jnp.asarray([0.3, 0.6]))
    jax.effects_barrier()
    assert values.shape == (2,)
    assert sorted(it.nit for it in seen) == [1, 1, 2, 2]
    with pytest.raises(ValueError, match="time_limit must not be set under jit"):
        jax.vmap(functools.partial(solve, time_limit=9.0))(jnp.ones(2))


def test_a_stop_under_jit_raises_and_names_the_way_out():
    solve = jax.jit(lambda x: jopt.minimize(bowl, x, (0.5,), SGD, maxiter=3, callback=lambda _: True))
    with pytest.raises(RuntimeError, match="minimize outside jit, vmap and grad to stop a solve"):  # noqa: PT012
        jax.block_until_ready(solve(START))
        jax.effects_barrier()


@pytest.mark.parametrize("settings", [{"progress": True}, {"time_limit": 1.0}], ids=["progress", "time_limit"])
@pytest.mark.parametrize(
    ("transform", "shape"), [(jax.jit, ()), (jax.vmap, (2,)), (jax.grad, ())], ids=["jit", "vmap", "grad"]
)
@pytest.mark.parametrize("call", [jopt.minimize, jopt.least_squares], ids=["minimize", "least_squares"])
def test_what_needs_python_between_trips_raises_under_a_trace(call, transform, shape, settings):
    fun, method = (bowl, SGD) if call is jopt.minimize else (valley, "lm")
    words = f"{call.__name__}: {next(iter(settings))} must not be set under jit, vmap or grad.*outside jit"
    with pytest.raises(ValueError, match=words):
        transform(lambda weight: call(fun, START, (weight,), method, **settings).fun)(jnp.ones(shape))


# The bar.


def test_a_bar_on_a_terminal_tells_the_end(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = slide(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "10/10 steps" in err
    assert_same_bits(result, slide())
    slide(progress=True, resume=result.state)  # over at once: no point is evaluated that could be shown
    assert f"value {float(result.fun):.6g}" in capsys.readouterr().err


def test_no_bar_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    slide(progress=True)
    assert capsys.readouterr() == ("", "")


def test_a_bar_without_rich_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"minimize: progress=True needs the package rich.*jopt\[progress\]"):
        slide(progress=True)


@pytest.mark.parametrize("call", [jopt.minimize, jopt.least_squares], ids=["minimize", "least_squares"])
@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"callback": 3}, TypeError, "callback must be a function of one jopt.Iteration, got 3"),
        ({"every": 0}, ValueError, "every must be a whole number >= 1, got 0"),
        ({"every": 1.5}, TypeError, "every must be a whole number"),
        ({"progress": "yes"}, TypeError, "progress must be True or False, got 'yes'"),
        ({"time_limit": 0.0}, ValueError, "time_limit must be in"),
        ({"time_limit": "long"}, TypeError, "time_limit must be a number"),
    ],
)
def test_bad_settings_are_named(call, settings, error, words):
    with pytest.raises(error, match=f"{call.__name__}: {words}"):
        call(valley, START, (1.0,), **settings)


def test_a_traced_setting_is_named():
    with pytest.raises(TypeError, match="minimize: time_limit must be a Python number, got a traced value"):
        jax.jit(lambda t: slide(time_limit=t))(1.0)
    with pytest.raises(TypeError, match="minimize: every must be a Python number, got a traced value"):
        jax.jit(lambda n: slide(every=n))(1)

# SPDX-License-Identifier: Apache-2.0
"""The engine of the benchmarks: whose turn it is, what a failure leaves, what is counted. No times are asserted."""

import collections
import functools
import itertools
import math
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.bench import turns
from jopt.bench.turns import Contender, Heat, Ready, run_heats


class Clock:
    """Stands for `time.perf_counter`: a run that ticks takes so many seconds."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(turns.time, "perf_counter", made)
    return made


def fake(name, log, clock, ticks, **figures):
    """Return a contender whose runs take the ticks, the last one for ever, and are logged."""
    ticks = list(ticks)

    def run():
        log.append(name)
        clock.now += ticks.pop(0) if len(ticks) > 1 else ticks[0]

    return Contender(name, lambda: Ready(run, 0.5, 0.25, 7, figures), least_bytes=11, flops=13)


def test_turns_go_back_and_forth_and_begin_with_each_in_turn(clock):
    log = []
    heat = Heat("case", 3, "step", tuple(fake(name, log, clock, [1.0]) for name in "abc"))
    list(run_heats("suite", [heat], rounds=7))
    rounds = "abc" + "cba" + "bca" + "acb" + "cab" + "bac" + "abc"
    assert "".join(log) == "aabbcc" + rounds  # two runs warm up


def test_each_follows_each_of_the_others_about_as_often():
    order = [name for number in range(6) for name in turns._order(("a", "b", "c"), number)]
    pairs = collections.Counter(itertools.pairwise(order))
    others = [pairs[one, other] for one, other in itertools.permutations("abc", 2)]
    assert max(others) - min(others) <= 1


class Result:
    """Stands for an array, which can be waited for."""

    def __init__(self, log):
        self.log = log

    def block_until_ready(self):
        self.log.append("waited")


@pytest.mark.parametrize(
    ("queued", "expected"), [(False, ["run", "waited"] * 3), (True, ["run"] * 3 + ["waited"])], ids=["each", "queued"]
)
def test_results_are_waited_for_before_the_clock_is_read(monkeypatch, queued, expected):
    log = []

    def run():
        log.append("run")
        return [Result(log)]

    monkeypatch.setattr(turns.time, "perf_counter", lambda: log.append("clock") or 0.0)
    turns._elapsed(Ready(run, queued=queued), 3)
    assert log == ["clock", *expected, "clock"]


def test_a_short_run_is_repeated_and_the_figure_is_that_of_one_unit(clock):
    log = []
    heat = Heat("case", 3, "step", (fake("a", log, clock, [5.0, turns.LEAST_S / 3.5]),), work=8.0)
    (row,) = run_heats("suite", [heat], rounds=2)
    assert len(log) == 2 + 2 * 4  # the first run is not counted: it starts what only a first run starts
    assert row.seconds == pytest.approx((turns.LEAST_S / 28,) * 2)


def test_a_row_holds_what_the_contender_told(clock):
    heat = Heat("case", 3, "step", (fake("a", [], clock, [1.0, 1.0, 1.0, 3.0], loss=0.5),))
    (row,) = run_heats("suite", [heat], rounds=2)
    assert row == turns.Row("suite", "case", 3, "a", "step", (1.0, 3.0), 0.5, 0.25, 7, 11, 13, {"loss": 0.5})


def broken(at):
    """Return a contender that fails in a run, or when it is prepared."""
    left = [at]

    def run():
        left[0] -= 1
        if left[0] <= 0:
            message = "no  good\n" + "!" * 1000
            raise RuntimeError(message)

    def prepare():
        if at == 0:
            run()
        return Ready(run)

    return Contender("broken", prepare, least_bytes=11)


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4], ids=["prepare", "first run", "second run", "first turn", "second turn"])
def test_a_contender_that_fails_leaves_a_row_with_its_error_and_the_others_go_on(clock, monkeypatch, at):
    monkeypatch.setattr(turns, "LEAST_S", 0.0)  # one run a turn
    log = []
    heats = [
        Heat("one", 3, "step", (broken(at), fake("a", log, clock, [1.0]))),
        Heat("two", 3, "step", (fake("b", log, clock, [1.0]),)),
    ]
    rows = list(run_heats("suite", heats, rounds=3))
    assert [(row.case, row.contender, len(row.seconds)) for row in rows] == [
        ("one", "broken", 0),
        ("one", "a", 3),
        ("two", "b", 3),
    ]
    assert rows[0].error.startswith("RuntimeError: no good !!!")
    assert len(rows[0].error) == turns.LONGEST_TEXT
    assert rows[0].least_bytes == 11
    assert [row.error for row in rows[1:]] == ["", ""]


def test_each_contender_is_announced_and_the_end(clock):
    told = []
    contenders = tuple(fake(name, [], clock, [1.0]) for name in "ab")
    heats = [Heat("one", 3, "step", contenders), Heat("two", 3, "step", contenders[:1])]
    list(run_heats("suite", heats, 1, lambda *report: told.append(report)))
    assert told == [(0, 3, "one, a"), (1, 3, "one, b"), (2, 3, "two, a"), (3, 3, "done")]


def test_what_a_heat_held_is_let_go_before_the_next_begins():
    class Held:
        """Something that can be watched."""

    alive = []

    def prepare():
        alive.append(sum(held() is not None for held in seen))
        held = Held()
        seen.append(weakref.ref(held))
        return Ready(functools.partial(id, held))

    seen = []
    contenders = (Contender("a", prepare), Contender("b", prepare))
    list(run_heats("suite", [Heat(case, 1, "step", contenders) for case in ("one", "two")], 1))
    assert alive == [0, 1, 0, 1]


def test_compiled_tells_what_the_compiler_plans():
    made = turns.compiled(lambda x, y: x + y, jnp.ones(1000, jnp.float32), jnp.ones(1000, jnp.float32))
    assert made.program(jnp.ones(1000, jnp.float32), jnp.ones(1000, jnp.float32))[0] == 2
    assert made.trace_s > 0
    assert made.compile_s > 0
    assert made.peak_bytes is None or made.peak_bytes >= 12_000
    run = jnp.zeros
    ready = made.ready(run, loss=1)
    assert ready == Ready(run, made.trace_s, made.compile_s, made.peak_bytes, {"loss": 1})


def test_a_chained_contender_goes_on_from_where_it_stopped():
    start, by = jnp.zeros(2), jnp.ones(2)
    ready = turns.chained(lambda state, by: state + by, start, by)
    assert [float(ready.run()[0]) for _ in range(3)] == [1.0, 2.0, 3.0]
    assert ready.queued
    assert start.is_deleted()  # its memory was given to the first run
    assert not by.is_deleted()


def test_compiled_anew_each_time():
    traced = []

    def function(x):
        traced.append(x)
        return x

    for _ in range(2):
        turns.compiled(function, jax.ShapeDtypeStruct((2,), "float32"))
    assert len(traced) == 2


def test_what_is_compiled_is_not_read_from_a_cache_nor_written_to_one(tmp_path):
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: jax.config.values[name] for name in names}
    try:
        for name, value in zip(names, (str(tmp_path), 0.0, -1), strict=True):
            jax.config.update(name, value)
        turns.compilation_cache.reset_cache()
        turns.compiled(lambda x: x * 7, jax.ShapeDtypeStruct((3,), "float32"))
        assert list(tmp_path.iterdir()) == []
        assert jax.config.values["jax_enable_compilation_cache"]
        jax.jit(lambda x: x * 11).lower(np.ones(3)).compile()
        assert list(tmp_path.iterdir()) != []
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        turns.compilation_cache.reset_cache()


def test_copy_rate_counts_what_is_read_and_what_is_written(clock, monkeypatch):
    def chained(*_):
        def run():
            clock.now += turns.LEAST_S / 2

        return Ready(run)

    monkeypatch.setattr(turns, "chained", chained)
    assert turns.copy_rate(100) == pytest.approx(2 * 400 / (turns.LEAST_S / 2))
    assert math.isfinite(turns.copy_rate(1))
    assert turns.flop_rate(50) == pytest.approx(2 * 50**3 / (turns.LEAST_S / 2))


def test_products_of_matrices_give_the_rate_of_operations(monkeypatch):
    asked = []
    monkeypatch.setattr(turns, "_median_seconds", lambda ready: asked.append(ready.run()) or 0.5)
    assert turns.flop_rate(8) == 2 * 8**3 / 0.5
    np.testing.assert_array_equal(asked[0], np.ones((8, 8)))
    monkeypatch.setattr(turns, "MULTIPLIED", {jax.default_backend(): 4})
    assert turns.flop_rate() == 2 * 4**3 / 0.5
    monkeypatch.setattr(turns, "MULTIPLIED", {})
    monkeypatch.setattr(turns, "MULTIPLIED_ELSEWHERE", 16)
    assert turns.flop_rate() == 2 * 16**3 / 0.5


def test_a_contender_that_has_no_place_here_leaves_no_row(clock):
    def prepare():
        raise turns.Absent

    heat = Heat("case", 3, "step", (Contender("away", prepare), fake("a", [], clock, [1.0])))
    assert [(row.contender, row.error) for row in run_heats("suite", [heat], 1)] == [("a", "")]
    assert list(run_heats("suite", [heat._replace(contenders=heat.contenders[:1])], 1)) == []


def test_work_of_a_contender_of_its_own_goes_before_that_of_the_heat(clock):
    own = Contender("a", lambda: fake("a", [], clock, [8.0]).prepare()._replace(work=4.0))
    rows = list(run_heats("suite", [Heat("case", 3, "step", (own, fake("b", [], clock, [8.0])), work=2.0)], 1))
    assert [row.seconds for row in rows] == [(2.0,), (4.0,)]

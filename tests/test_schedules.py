# SPDX-License-Identifier: Apache-2.0
import contextlib
import inspect
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jopt import schedules
from jopt.schedules.kernels import LAST_COUNT, cosine, linear
from jopt.transforms import elementary
from tests.support import tolerance

ROUNDING = tolerance(jnp.float64)
COUNTS = np.arange(-4, 60, dtype=np.int32)
STEPS = np.maximum(COUNTS, 0)  # a count before 0 is 0

# Steps of which XLA's product with the reciprocal misses 1: in float32 41, 47, 55, 61; in float64 49.
AWKWARD = (41, 47, 49, 55, 61)

CYCLES = [
    {"init_value": 0.1, "peak_value": 1.0, "warmup_steps": 3, "decay_steps": 10},
    {
        "init_value": 0.2,
        "peak_value": 0.5,
        "warmup_steps": 0,
        "decay_steps": 15,
        "end_value": 0.1,
        "exponent": 2.0,
    },
    {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 5, "decay_steps": 20},
]

# One call of each factory, with settings that all differ from the defaults in effect, and for each setting another value.
CALLS = {
    "constant_schedule": ({"value": 0.3}, {"value": 0.4}),
    "linear_schedule": (
        {"init_value": 1.0, "end_value": 0.1, "transition_steps": 20, "transition_begin": 5},
        {"init_value": 2.0, "end_value": 0.2, "transition_steps": 21, "transition_begin": 6},
    ),
    "linear_to_floor": (
        {"init_value": 1.0, "end_value": 0.01, "tau": 30},
        {"init_value": 2.0, "end_value": 0.02, "tau": 31},
    ),
    "polynomial_schedule": (
        {"init_value": 1.0, "end_value": 0.1, "power": 2.0, "transition_steps": 20, "transition_begin": 5},
        {"init_value": 2.0, "end_value": 0.2, "power": 1.0, "transition_steps": 21, "transition_begin": 6},
    ),
    "cosine_decay_schedule": (
        {"init_value": 1.0, "decay_steps": 40, "alpha": 0.1, "exponent": 2.0},
        {"init_value": 2.0, "decay_steps": 41, "alpha": 0.0, "exponent": 1.0},
    ),
    "exponential_decay": (
        {
            "init_value": 1.0,
            "transition_steps": 10,
            "decay_rate": 0.5,
            "transition_begin": 5,
            "staircase": True,
            "end_value": 0.1,
        },
        {
            "init_value": 2.0,
            "transition_steps": 9,
            "decay_rate": 0.4,
            "transition_begin": 6,
            "staircase": False,
            "end_value": None,
        },
    ),
    "step_schedule": (
        {"init_value": 1.0, "transition_steps": 10, "decay_rate": 0.5},
        {"init_value": 2.0, "transition_steps": 9, "decay_rate": 0.4},
    ),
    "inverse_time_schedule": (
        {"init_value": 1.0, "transition_steps": 10, "decay_rate": 0.5, "transition_begin": 5, "staircase": True},
        {"init_value": 2.0, "transition_steps": 9, "decay_rate": 0.4, "transition_begin": 6, "staircase": False},
    ),
    "inverse_sqrt_schedule": (
        {"peak_value": 1.0, "warmup_steps": 10, "init_value": 0.1},
        {"peak_value": 2.0, "warmup_steps": 11, "init_value": 0.0},
    ),
    "join_schedules": (
        {"schedules": [0.5, schedules.step_schedule(1.0, 10, 0.5)], "boundaries": [7]},
        {"schedules": [0.6, schedules.step_schedule(1.0, 10, 0.5)], "boundaries": [8]},
    ),
    "piecewise_constant_schedule": (
        {"init_value": 1.0, "boundaries_and_scales": {20: 0.1, 10: 0.5}},
        {"init_value": 2.0, "boundaries_and_scales": None},
    ),
    "piecewise_interpolate_schedule": (
        {"interpolate_type": "linear", "init_value": 1.0, "boundaries_and_scales": {20: 0.1, 10: 0.5}},
        {"interpolate_type": "cosine", "init_value": 2.0, "boundaries_and_scales": None},
    ),
    "warmup": (
        {"schedule": schedules.step_schedule(1.0, 10, 0.5), "steps": 7, "init_value": 0.1},
        {"schedule": 1.0, "steps": 8, "init_value": 0.0},
    ),
    "warmup_constant_schedule": (
        {"init_value": 0.1, "peak_value": 1.0, "warmup_steps": 10},
        {"init_value": 0.2, "peak_value": 2.0, "warmup_steps": 0},
    ),
    "warmup_cosine_decay_schedule": (
        {
            "init_value": 0.1,
            "peak_value": 1.0,
            "warmup_steps": 10,
            "decay_steps": 40,
            "end_value": 0.2,
            "exponent": 2.0,
        },
        {"init_value": 0.0, "peak_value": 2.0, "warmup_steps": 0, "decay_steps": 41, "end_value": 0.0, "exponent": 1.0},
    ),
    "warmup_exponential_decay_schedule": (
        {
            "init_value": 0.1,
            "peak_value": 1.0,
            "warmup_steps": 7,
            "transition_steps": 10,
            "decay_rate": 0.5,
            "transition_begin": 5,
            "staircase": True,
            "end_value": 0.2,
        },
        {
            "init_value": 0.2,
            "peak_value": 2.0,
            "warmup_steps": 0,
            "transition_steps": 9,
            "decay_rate": 0.4,
            "transition_begin": 6,
            "staircase": False,
            "end_value": None,
        },
    ),
    "warmup_stable_decay": (
        {
            "peak_value": 1.0,
            "warmup_steps": 7,
            "stable_steps": 20,
            "decay_steps": 10,
            "init_value": 0.1,
            "end_value": 0.2,
            "exponent": 0.5,
        },
        {
            "peak_value": 2.0,
            "warmup_steps": 0,
            "stable_steps": 0,
            "decay_steps": 11,
            "init_value": 0.0,
            "end_value": 0.0,
            "exponent": 1.0,
        },
    ),
    "sgdr_schedule": ({"cosine_kwargs": CYCLES}, {"cosine_kwargs": CYCLES[:2]}),
    "warm_restarts_schedule": (
        {"init_value": 1.0, "first_decay_steps": 5, "growth": 3, "peak_factor": 0.5, "alpha": 0.1},
        {"init_value": 2.0, "first_decay_steps": 6, "growth": 1, "peak_factor": 1.0, "alpha": 0.0},
    ),
    "triangular_schedule": (
        {"init_value": 0.1, "peak_value": 1.0, "half_cycle_steps": 7, "peak_factor": 0.5},
        {"init_value": 0.2, "peak_value": 2.0, "half_cycle_steps": 8, "peak_factor": 1.0},
    ),
    "cosine_onecycle_schedule": (
        {
            "transition_steps": 50,
            "peak_value": 1.0,
            "pct_start": 0.4,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
        {"transition_steps": 49, "peak_value": 2.0, "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4},
    ),
    "linear_onecycle_schedule": (
        {
            "transition_steps": 50,
            "peak_value": 1.0,
            "pct_start": 0.4,
            "pct_final": 0.7,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
        {
            "transition_steps": 49,
            "peak_value": 2.0,
            "pct_start": 0.3,
            "pct_final": 0.85,
            "div_factor": 25.0,
            "final_div_factor": 1e4,
        },
    ),
}
NAMES = sorted(CALLS)
SHARED_WITH_OPTAX = [name for name in NAMES if hasattr(optax.schedules, name)]


def make(name, **other):
    return getattr(schedules, name)(**{**CALLS[name][0], **other})


def values(schedule, counts=COUNTS):
    return np.asarray(schedule(counts), np.float64)


def without_x64():
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(False)
    from jax.experimental import disable_x64

    return disable_x64()


def close(actual, expected, rtol=ROUNDING):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.max(np.abs(expected)))


def test_every_factory_is_called_here_with_every_setting():
    assert set(NAMES) == set(schedules.__all__) - {"Schedule"}
    for name in NAMES:
        settings = set(inspect.signature(getattr(schedules, name)).parameters)
        assert settings == set(CALLS[name][0]) == set(CALLS[name][1]), name


# Against optax, step by step


def test_every_schedule_of_optax_is_here_with_its_signature():
    theirs = {name for name in dir(optax.schedules) if re.search(r"^[a-z].*(_schedules?|_decay)$", name)}
    assert theirs == set(SHARED_WITH_OPTAX)
    for name in theirs:
        ours = inspect.signature(getattr(schedules, name)).parameters
        optaxs = inspect.signature(getattr(optax.schedules, name)).parameters
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in optaxs.values()], name


def assert_as_optax(name, settings):
    ours = getattr(schedules, name)(**settings)
    if name == "join_schedules":
        settings = {
            **settings,
            "schedules": [optax.constant_schedule(0.5), optax.exponential_decay(1.0, 10, 0.5, 0, True)],
        }
    theirs = getattr(optax, name, None) or getattr(optax.schedules, name)
    # Float64 counts, because from int32 ones optax computes in float32 even where 64-bit types are allowed.
    expected = jax.vmap(theirs(**settings))(jnp.asarray(STEPS, jnp.float64))
    close(values(ours), np.broadcast_to(expected, COUNTS.shape))


@pytest.mark.parametrize("name", SHARED_WITH_OPTAX)
def test_values_are_optaxs(name):
    assert_as_optax(name, CALLS[name][0])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("polynomial_schedule", {"power": 0.5}),
        ("exponential_decay", {"staircase": False}),
        ("exponential_decay", {"end_value": None}),
        ("exponential_decay", {"decay_rate": 1.5, "end_value": 4.0, "staircase": False}),
        ("cosine_decay_schedule", {"alpha": 0.0, "exponent": 1.0}),
        ("piecewise_constant_schedule", {"boundaries_and_scales": {0: 0.5, 59: 0.0}}),
        ("piecewise_interpolate_schedule", {"interpolate_type": "cosine"}),
        ("piecewise_interpolate_schedule", {"boundaries_and_scales": {0: 0.5, 20: 2.0}}),
        ("cosine_onecycle_schedule", {"pct_start": 0.0}),
        ("warmup_cosine_decay_schedule", {"warmup_steps": 0}),
        ("warmup_exponential_decay_schedule", {"staircase": False, "end_value": None}),
    ],
)
def test_values_are_optaxs_for_other_settings(name, other):
    assert_as_optax(name, {**CALLS[name][0], **other})


def test_warm_restarts_are_optaxs_joined_cosines():
    ours = schedules.warm_restarts_schedule(0.8, 4, growth=2, peak_factor=0.5, alpha=0.25)
    cycles = [
        {"init_value": 0.0, "peak_value": top, "warmup_steps": 0, "decay_steps": 4 * 2**i, "end_value": top / 4}
        for i, top in enumerate([0.8, 0.4, 0.2, 0.1])
    ]
    close(values(ours), jax.vmap(optax.sgdr_schedule(cycles))(jnp.asarray(STEPS, jnp.float64)))


# Against closed forms, where optax has none


def triangle(t, low, high, half, factor):
    cycle = np.floor(1 + t / (2 * half))
    return low + (high - low) * np.maximum(0.0, 1 - np.abs(t / half - 2 * cycle + 1)) * factor ** (cycle - 1)


def warm_stable_decay(t, exponent):
    fall = np.clip((t - 27) / 10, 0.0, 1.0) ** exponent
    return np.where(t < 7, 0.1 + (1.0 - 0.1) * t / 7, 1.0 + (0.2 - 1.0) * fall)


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (make("step_schedule"), lambda t: 0.5 ** (t // 10)),
        (make("linear_to_floor"), lambda t: np.where(t < 30, (1 - t / 30) * 1.0 + t / 30 * 0.01, 0.01)),
        (make("inverse_time_schedule"), lambda t: 1 / (1 + 0.5 * (np.maximum(t - 5, 0) // 10))),
        (make("inverse_time_schedule", staircase=False), lambda t: 1 / (1 + 0.5 * np.maximum(t - 5, 0) / 10)),
        (
            make("inverse_sqrt_schedule"),
            lambda t: np.where(t < 10, 0.1 + 0.9 * t / 10, np.sqrt(10 / np.maximum(t, 1))),
        ),
        (make("warmup"), lambda t: np.where(t < 7, 0.1 + 0.9 * t / 7, 0.5 ** ((t - 7) // 10))),
        (make("warmup", steps=0), lambda t: 0.5 ** (t // 10)),
        (make("warmup", schedule=2.0), lambda t: np.where(t < 7, 0.1 + 1.9 * t / 7, 2.0)),
        (make("warmup_constant_schedule", warmup_steps=0), np.ones_like),
        (make("warmup_stable_decay"), lambda t: warm_stable_decay(t, 0.5)),
        (make("warmup_stable_decay", exponent=1.0), lambda t: warm_stable_decay(t, 1.0)),
        (make("triangular_schedule"), lambda t: triangle(t, 0.1, 1.0, 7, 0.5)),
        (make("triangular_schedule", peak_factor=1.0), lambda t: triangle(t, 0.1, 1.0, 7, 1.0)),
        (
            make("warm_restarts_schedule", growth=1, peak_factor=1.0),
            lambda t: 0.1 + 0.9 * (1 + np.cos(np.pi * (t % 5) / 5)) / 2,
        ),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_values_are_the_formulas(schedule, formula):
    close(values(schedule), formula(STEPS.astype(np.float64)))


def test_transformer_rate_is_the_inverse_square_root_with_steps_from_one():
    width, warmup_steps = 512, 20
    schedule = schedules.inverse_sqrt_schedule((width * warmup_steps) ** -0.5, warmup_steps)
    n = np.arange(1.0, 65.0)
    close(values(schedule, np.arange(1, 65)), width**-0.5 * np.minimum(n**-0.5, n * warmup_steps**-1.5))


# Every setting matters


@pytest.mark.parametrize(("name", "setting"), [(name, setting) for name in NAMES for setting in CALLS[name][1]])
def test_every_setting_is_distinguishable(name, setting):
    other = {setting: CALLS[name][1][setting]}
    assert np.any(np.abs(values(make(name, **other)) - values(make(name))) > 1e-6)


# Ends, boundaries, restarts, order


def test_both_ends_are_hit_exactly_also_in_compiled_code():
    start, end = 0.1, 0.7

    @jax.jit
    def ends(begin):
        curves = [(curve, steps) for curve in (linear, cosine) for steps in AWKWARD]
        return [[curve(begin + gone, start, end, 3, steps) for gone in (0, steps)] for curve, steps in curves]

    for context in (without_x64, contextlib.nullcontext):
        with context():
            for first, last in ends(jnp.int32(3)):
                assert (first, last) == (jnp.asarray(start), jnp.asarray(end))


@pytest.mark.parametrize("steps", AWKWARD)
def test_stairs_are_at_whole_multiples_in_compiled_code(steps):
    # floor(count / steps) with a rounded reciprocal is late by a step at some of them.
    with without_x64():
        curve = jax.jit(schedules.exponential_decay(1.0, steps, 0.5, staircase=True))
        for multiple in (1, 2, 3):
            assert curve(steps * multiple - 1) == 0.5 ** (multiple - 1)
            assert curve(steps * multiple) == 0.5**multiple


@pytest.mark.parametrize(
    ("name", "other", "begin", "end", "rising"),
    [
        ("linear_schedule", {}, 5, 25, False),
        ("linear_schedule", {"end_value": 3.0}, 5, 25, True),
        ("linear_to_floor", {}, 0, 30, False),
        ("polynomial_schedule", {}, 5, 25, False),
        ("cosine_decay_schedule", {}, 0, 40, False),
        ("exponential_decay", {"staircase": False}, 5, 38, False),
        ("exponential_decay", {"staircase": False, "decay_rate": 1.1, "end_value": None}, 5, 59, True),
        ("inverse_time_schedule", {"staircase": False}, 5, 59, False),
        ("inverse_sqrt_schedule", {}, 0, 10, True),
        ("inverse_sqrt_schedule", {}, 10, 59, False),
        ("warmup_constant_schedule", {}, 0, 10, True),
        ("warmup_cosine_decay_schedule", {}, 10, 40, False),
        ("warmup_stable_decay", {}, 0, 7, True),
        ("warmup_stable_decay", {}, 27, 37, False),
        ("cosine_onecycle_schedule", {}, 0, 20, True),
        ("cosine_onecycle_schedule", {}, 20, 50, False),
        ("linear_onecycle_schedule", {}, 0, 20, True),
        ("linear_onecycle_schedule", {}, 20, 50, False),
        ("triangular_schedule", {}, 0, 7, True),
        ("triangular_schedule", {}, 7, 14, False),
        ("warm_restarts_schedule", {}, 5, 19, False),
    ],
)
def test_values_are_strictly_monotonic_within_a_phase(name, other, begin, end, rising):
    steps = np.diff(values(make(name, **other))[(begin <= COUNTS) & (end >= COUNTS)])
    assert np.all(steps > 0 if rising else steps < 0)


@pytest.mark.parametrize(
    ("name", "flat"),
    [
        ("linear_schedule", [(-4, 5), (25, 59)]),
        ("linear_to_floor", [(-4, 0), (30, 59)]),
        ("polynomial_schedule", [(-4, 5), (25, 59)]),
        ("cosine_decay_schedule", [(-4, 0), (40, 59)]),
        ("exponential_decay", [(-4, 14), (15, 24), (45, 59)]),
        ("inverse_time_schedule", [(-4, 14), (15, 24)]),
        ("warmup_stable_decay", [(7, 27), (37, 59)]),
        ("cosine_onecycle_schedule", [(50, 59)]),
        ("linear_onecycle_schedule", [(50, 59)]),
        ("sgdr_schedule", [(45, 59)]),
    ],
)
def test_values_are_exactly_constant_outside(name, flat):
    for first, last in flat:
        assert len(set(values(make(name))[(first <= COUNTS) & (last >= COUNTS)])) == 1


def test_join_changes_at_its_boundaries_and_shifts_the_count():
    clocks = [lambda t: t, lambda t: 100 + t, lambda t: 200.0 + t, lambda t: 300 + t]
    joined = schedules.join_schedules(clocks, [4, 10, 10])
    expected = [*range(4), *(100 + t for t in range(6)), *(300 + t for t in range(6))]
    np.testing.assert_array_equal(values(joined, np.arange(16)), expected)


def test_pieces_never_see_a_negative_count():
    # A curve that is not finite before its start would otherwise spoil derivatives through `where`.
    seen = []

    def spy(count):
        seen.append(int(jnp.min(count)))
        return count

    schedules.join_schedules([spy, spy], [30])(COUNTS)
    schedules.warmup(spy, 30)(COUNTS)
    assert seen == [0, 0, 0]


def test_restarts_come_after_growing_periods():
    for growth, starts in ((1, [0, 5, 10, 15]), (2, [0, 5, 15, 35]), (3, [0, 5, 20])):
        found = values(schedules.warm_restarts_schedule(0.3, 5, growth=growth))[COUNTS >= 0]
        peaks = [t for t in range(len(found)) if found[t] == 0.3]
        assert [t for t in starts if t < 60] == peaks[: len(starts)]
        assert len(peaks) == (12 if growth == 1 else {2: 4, 3: 3}[growth])


def test_restarts_are_exact_up_to_the_last_count():
    schedule = schedules.warm_restarts_schedule(1.0, 1)
    with without_x64():
        for power in (10, 24, 25, 30):  # from 2^24 on, float32 does not hold all integers
            first = 2**power - 1
            assert schedule(first) == 1.0
            assert schedule(first - 1) < 1e-5
            close(float(schedule(first + 2 ** (power - 1))), 0.5, tolerance(jnp.float32))


def test_one_cycle_touches_its_three_levels():
    found = values(make("linear_onecycle_schedule"))[COUNTS >= 0]
    close(found[[0, 20, 35, 50, 55]], [0.1, 1.0, 0.1, 1e-3, 1e-3])
    assert np.argmax(found) == 20
    found = values(make("linear_onecycle_schedule", pct_final=1.0))[COUNTS >= 0]
    close(found[[49, 50]], [0.13, 1e-3])  # no third phase: straight to the last value
    found = values(make("cosine_onecycle_schedule"))[COUNTS >= 0]
    close(found[[0, 20, 50, 55]], [0.1, 1.0, 1e-3, 1e-3])


# Large counts and small weights


@pytest.mark.parametrize("name", NAMES)
def test_values_are_finite_at_the_last_count_and_beyond_it(name):
    with without_x64():
        last = float(make(name)(LAST_COUNT))
        assert math.isfinite(last)
        assert float(make(name)(2**70)) == float(make(name)(np.uint64(2**63))) == last


def test_weights_keep_their_digits_in_float32():
    steps = 10**6
    with without_x64():
        close(float(schedules.linear_schedule(0.0, 1.0, steps)(1)), 1e-6, tolerance(jnp.float32))
        close(float(schedules.linear_schedule(1.0, 0.0, steps)(steps - 1)), 1e-6, tolerance(jnp.float32))
        near_zero = float(schedules.cosine_decay_schedule(1.0, steps)(steps - 1))
        close(near_zero, (math.pi / 2 / steps) ** 2, tolerance(jnp.float32))


def test_integers_beyond_float32_do_not_move_an_end():
    with without_x64():
        schedule = schedules.linear_schedule(0.0, 1.0, 3, transition_begin=LAST_COUNT - 3)
        found = np.asarray(schedule(np.asarray([LAST_COUNT - 4, LAST_COUNT - 3, LAST_COUNT - 2, LAST_COUNT])))
        close(found, [0.0, 0.0, 1 / 3, 1.0], tolerance(jnp.float32))
        whole = schedules.linear_schedule(1.0, 0.0, LAST_COUNT)
        assert (whole(0), whole(LAST_COUNT)) == (1.0, 0.0)
        close(float(whole(LAST_COUNT - 1)), 1 / LAST_COUNT, tolerance(jnp.float32))


# Counts, dtypes, compilation


@pytest.mark.parametrize("name", NAMES)
def test_all_kinds_of_counts_give_the_same_value(name):
    schedule = make(name)
    table = schedule(np.arange(64).reshape(8, 8))
    assert table.shape == (8, 8)
    for count in (22, np.int64(22), np.uint8(22), jnp.int32(22), jnp.uint32(22), np.asarray(22)):
        value = schedule(count)
        assert value.shape == ()
        close(float(value), float(table[2, 6]))
    assert schedule(-3) == schedule(0)


def test_values_have_the_default_float_dtype_and_are_weakly_typed():
    for promotion in ("standard", "strict"):
        with jax.numpy_dtype_promotion(promotion):
            for name in NAMES:
                made = jax.eval_shape(make(name), jax.ShapeDtypeStruct((), jnp.int32))
                assert (made.dtype, made.weak_type) == (jnp.float64, True), name
                product = jax.eval_shape(lambda t, g, name=name: make(name)(t) * g, jnp.int32(0), jnp.float32(1))
                assert product.dtype == jnp.float32, name
    with without_x64():
        assert all(make(name)(3).dtype == jnp.float32 for name in ("constant_schedule", "linear_schedule"))


def test_one_trace_serves_all_counts_and_agrees_with_eager_code():
    traces = []

    @jax.jit
    def all_at(count):
        traces.append(count)
        return [make(name)(count) for name in NAMES]

    for count in (0, 22, 59):
        for name, value in zip(NAMES, all_at(jnp.int32(count)), strict=True):
            close(float(value), float(values(make(name))[count + 4]), 1e-11)
    assert len(traces) == 1


def test_settings_may_be_traced():
    slope = jax.grad(lambda start: schedules.linear_schedule(start, 0.0, 10)(3))(1.0)
    close(slope, 0.7)
    bounded = jax.grad(lambda start: schedules.exponential_decay(start, 10, 0.5, end_value=0.1)(10))(1.0)
    close(bounded, 0.5)
    assert jax.grad(lambda start: schedules.linear_to_floor(start, 0.1, 10)(10))(1.0) == 0.0


def test_an_array_setting_gives_its_dtype():
    assert schedules.linear_schedule(jnp.float32(1.0), 0.0, 10)(3).dtype == jnp.float32
    assert schedules.constant_schedule(np.float32(0.1))(3).dtype == jnp.float64


@pytest.mark.parametrize("count", [2.0, True, np.float32(1), jnp.ones(2), "3", None])
def test_other_counts_are_refused(count):
    with pytest.raises(TypeError, match="linear_schedule: count must be a whole number"):
        make("linear_schedule")(count)


# The description


@pytest.mark.parametrize("name", NAMES)
def test_prints_as_its_call_and_equals_its_copy(name):
    schedule = make(name)
    again = eval(repr(schedule), {key: getattr(schedules, key) for key in schedules.__all__})
    assert isinstance(schedule, schedules.Schedule)
    assert schedule == again
    assert hash(schedule) == hash(again)
    for setting, value in CALLS[name][1].items():
        assert schedule != make(name, **{setting: value})


def test_an_equal_copy_does_not_compile_anew():
    traces = []

    def at(schedule, count):
        traces.append(count)
        return schedule(count)

    compiled = jax.jit(at, static_argnums=0)
    for name in ("linear_schedule", "piecewise_constant_schedule"):
        traces.clear()
        compiled(make(name), 3)
        compiled(make(name), 4)
        assert len(traces) == 1


def test_settings_changed_later_change_nothing():
    jumps = {10: 0.5}
    schedule = schedules.piecewise_constant_schedule(1.0, jumps)
    jumps[20] = 0.1
    assert schedule.settings["boundaries_and_scales"] == {10: 0.5}
    assert schedule(30) == 0.5
    assert schedule != schedules.piecewise_constant_schedule(1.0, jumps)


# With transformations


def test_a_schedule_is_a_learning_rate_in_jopt_and_in_optax():
    schedule = schedules.warmup(schedules.step_schedule(1.0, 2, 0.5), 2, init_value=0.5)
    gradient = jnp.asarray([1.0, -2.0], jnp.float32)
    for method in (
        elementary.scale_by_learning_rate(schedule),
        optax.sgd(schedule),
        optax.inject_hyperparams(optax.sgd)(learning_rate=schedule),
    ):
        state, rates = method.init(gradient), []
        for _ in range(6):
            update, state = method.update(gradient, state, gradient)
            assert update.dtype == jnp.float32
            rates.append(-float(update[0]))
        assert rates == [0.5, 0.75, 1.0, 1.0, 0.5, 0.5]


# Wrong settings

VALUES = {"init_value", "end_value", "peak_value", "value"}
LENGTHS = {"transition_steps", "decay_steps", "tau", "first_decay_steps", "half_cycle_steps", "growth"}
DELAYS = {"transition_begin", "warmup_steps", "stable_steps", "steps"}
FACTORS = {"power", "exponent", "decay_rate", "peak_factor", "div_factor", "final_div_factor"}
FRACTIONS = {"alpha", "pct_start", "pct_final"}


def wrong_settings():
    for name in NAMES:
        for setting in CALLS[name][0]:
            if setting in VALUES:
                yield from ((name, setting, value, ValueError) for value in (math.nan, math.inf))
                yield name, setting, "0.1", TypeError
            elif setting in LENGTHS | DELAYS:
                yield name, setting, 0 if setting in LENGTHS else -1, ValueError
                yield name, setting, 2**31, ValueError
                yield name, setting, 1.5, TypeError
            elif setting in FACTORS:
                yield from ((name, setting, value, ValueError) for value in (0.0, -1.0, math.inf, math.nan))
            elif setting in FRACTIONS:
                yield from ((name, setting, value, ValueError) for value in (-0.1, 1.1, math.nan))


@pytest.mark.parametrize(("name", "setting", "value", "error"), list(wrong_settings()))
def test_a_wrong_setting_raises_with_function_argument_and_value(name, setting, value, error):
    with pytest.raises(error, match=rf"^{name}: {setting} must be .*{re.escape(repr(value))}"):
        make(name, **{setting: value})


STEP = schedules.step_schedule(1.0, 10, 0.5)


@pytest.mark.parametrize(
    ("name", "other", "error", "message"),
    [
        ("linear_to_floor", {"end_value": 1.5}, ValueError, r"end_value must be in \[0, 1\], got 1.5"),
        ("linear_to_floor", {"init_value": -1.0}, ValueError, "init_value must be in .*-1.0"),
        ("exponential_decay", {"end_value": 1.5}, ValueError, "end_value must be .*1.5. It bounds a falling"),
        ("exponential_decay", {"decay_rate": 2.0}, ValueError, "end_value must be .*0.1. It bounds a growing"),
        ("warmup_cosine_decay_schedule", {"warmup_steps": 40}, ValueError, r"decay_steps must be .*41.*got 40"),
        ("linear_onecycle_schedule", {"pct_final": 0.3}, ValueError, r"pct_final must be in \[0.4, 1\], got 0.3"),
        ("triangular_schedule", {"half_cycle_steps": 2**30}, ValueError, "half_cycle_steps must be .*1073741824"),
        ("triangular_schedule", {"peak_factor": 1.5}, ValueError, r"peak_factor must be in \(0, 1\], got 1.5"),
        ("warm_restarts_schedule", {"peak_factor": 1.5}, ValueError, r"peak_factor must be in \(0, 1\], got 1.5"),
        ("join_schedules", {"boundaries": [7, 9]}, ValueError, "boundaries must .* got 2 for 2 schedules"),
        ("join_schedules", {"schedules": [], "boundaries": []}, ValueError, "boundaries must .* got 0 for 0 schedules"),
        ("join_schedules", {"schedules": [1, 2, 3], "boundaries": [9, 7]}, ValueError, r"not fall, got \[9, 7\]"),
        ("join_schedules", {"boundaries": 3}, TypeError, r"boundaries must be a list, got 3 \(int\)"),
        ("join_schedules", {"schedules": 2.0}, TypeError, r"schedules must be a list, got 2.0 \(float\)"),
        ("join_schedules", {"schedules": "linear"}, TypeError, "schedules must be a list, got 'linear'"),
        ("sgdr_schedule", {"cosine_kwargs": 1.0}, TypeError, "cosine_kwargs must be a list, got 1.0"),
        ("sgdr_schedule", {"cosine_kwargs": CYCLES[0]}, TypeError, "cosine_kwargs must be a list, got {"),
        ("exponential_decay", {"staircase": "no"}, TypeError, "staircase must be True or False, got 'no'"),
        ("inverse_time_schedule", {"staircase": 1}, TypeError, "staircase must be True or False, got 1"),
        ("warmup_exponential_decay_schedule", {"staircase": None}, TypeError, "staircase must be True or False"),
        ("constant_schedule", {"value": True}, TypeError, "value must be a number .*True"),
        ("join_schedules", {"boundaries": [-1]}, ValueError, r"boundaries\[0\] must be .*-1"),
        ("join_schedules", {"boundaries": [1.5]}, TypeError, r"boundaries\[0\] must be .*1.5"),
        ("join_schedules", {"schedules": [STEP, "cosine"]}, TypeError, r"schedules\[1\] must be .*'cosine'"),
        ("join_schedules", {"schedules": [STEP, math.nan]}, ValueError, r"schedules\[1\] must be .*nan"),
        ("warmup", {"schedule": None}, TypeError, "schedule must be .*None"),
        ("piecewise_constant_schedule", {"boundaries_and_scales": [(1, 2)]}, TypeError, r"boundaries_and_scales .*\(1"),
        ("piecewise_constant_schedule", {"boundaries_and_scales": {-1: 0.5}}, ValueError, "boundaries_and_scales .*-1"),
        ("piecewise_constant_schedule", {"boundaries_and_scales": {"5": 1}}, TypeError, "boundaries_and_scales .*'5'"),
        ("piecewise_constant_schedule", {"boundaries_and_scales": {5: -1}}, ValueError, r"scales\[5\] must .*-1"),
        ("piecewise_interpolate_schedule", {"boundaries_and_scales": {5: -1}}, ValueError, r"scales\[5\] must .*-1"),
        ("piecewise_interpolate_schedule", {"interpolate_type": "cosin"}, ValueError, "Did you mean 'cosine'"),
        ("sgdr_schedule", {"cosine_kwargs": []}, ValueError, "cosine_kwargs must have at least one"),
        ("sgdr_schedule", {"cosine_kwargs": [3]}, TypeError, r"cosine_kwargs\[0\] must be .*got 3"),
        (
            "sgdr_schedule",
            {"cosine_kwargs": [{"decay_steps": 3}]},
            TypeError,
            r"cosine_kwargs\[0\] must be .*peak_value",
        ),
        ("sgdr_schedule", {"cosine_kwargs": [{**CYCLES[0], "x": 1}]}, TypeError, r"cosine_kwargs\[0\] must be .*'x'"),
        (
            "sgdr_schedule",
            {"cosine_kwargs": [CYCLES[0], {**CYCLES[0], "decay_steps": 2}]},
            ValueError,
            r"cosine_kwargs\[1\]: decay_steps must be .*got 2",
        ),
        (
            "sgdr_schedule",
            {"cosine_kwargs": 2 * [{**CYCLES[0], "decay_steps": 2**30}]},
            ValueError,
            "the sum of decay_steps",
        ),
    ],
)
def test_settings_that_do_not_fit_raise(name, other, error, message):
    with pytest.raises(error, match=f"^{name}: .*{message}"):
        make(name, **other)

# SPDX-License-Identifier: Apache-2.0
"""A line search with a limit, on functions of one number: what it accepts there, and what it never does."""

import jax
import jax.numpy as jnp
import pytest

from jopt import linesearch
from jopt.solvers.limited_search import DECREASE, update_within
from jopt.status import SearchStatus

SEARCHES = [
    linesearch.strong_wolfe(),
    linesearch.strong_wolfe(curvature=0.1),
    linesearch.weak_wolfe(),
    linesearch.hager_zhang(),
    linesearch.exact(),
    linesearch.backtracking(),
]
LINES = {
    "parabola with its minimum at 4": lambda a: (a - 4.0) ** 2,
    "ever steeper": lambda a: -a - a**2,
    "wavy": lambda a: -a - jnp.sin(3.0 * a),
    "wall after 1": lambda a: -a + jnp.maximum(a - 1.0, 0.0) ** 2 * 1e4,
}


update = jax.jit(update_within, static_argnums=0)


def run(search, line, limit, first):
    """Return the trials and the last state."""
    value, slope = jax.value_and_grad(line)(jnp.float64(0.0))
    state, trials = search.init(value, slope, jnp.minimum(first, limit)), []
    while state.status == SearchStatus.SEARCHING:
        trials.append(float(state.step))
        state = update(search, state, *jax.value_and_grad(line)(state.step), jnp.float64(limit))
    return trials, state


@pytest.mark.parametrize("search", SEARCHES, ids=repr)
@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_no_trial_is_beyond_the_limit_and_the_step_decreases_enough(search, line):
    trials, state = run(search, line, 2.0, 1.0)
    assert max(trials) <= 2.0
    assert len(trials) <= 20
    start, end = line(0.0), line(state.step)
    assert 0 < state.step <= 2.0
    assert end <= start + DECREASE * float(state.step * jax.grad(line)(0.0))
    # What ends short of the limit has passed the search's own test.
    assert state.step == 2.0 or state.status == SearchStatus.ACCEPTED


@pytest.mark.parametrize("search", SEARCHES[:5], ids=repr)
def test_a_trial_at_the_limit_that_still_falls_is_accepted_where_the_search_would_go_on(search):
    trials, state = run(search, LINES["ever steeper"], 2.0, 1.0)
    assert trials[-1] == float(state.step) == 2.0
    assert state.status == SearchStatus.ACCEPTED


def test_a_limit_that_is_not_met_changes_nothing():
    search, line = SEARCHES[1], LINES["parabola with its minimum at 4"]
    assert run(search, line, jnp.inf, 1.0)[0] == run(search, line, 1e9, 1.0)[0]
    state = search.init(*jax.value_and_grad(line)(jnp.float64(0.0)), jnp.float64(1.0))
    value, slope = jax.value_and_grad(line)(state.step)
    plain, limited = (
        search.update(state, value, slope),
        update_within(search, state, value, slope, jnp.float64(jnp.inf)),
    )
    assert jax.tree.all(jax.tree.map(lambda a, b: a == b, plain, limited))


def test_a_search_that_asks_for_more_than_there_is_ends_with_the_reason():
    # The slope at the limit says "falls", the value there is as at the start: not enough decrease, and nowhere to go.
    state = linesearch.weak_wolfe().init(jnp.float64(1.0), jnp.float64(-1.0), jnp.float64(1.0))
    never = linesearch.weak_wolfe()._replace(update=lambda s, *_: s._replace(step=2 * s.step))
    for value, step in ((0.99999, 1.0), (1.5, 0.0)):
        after = update_within(never, state, jnp.float64(value), jnp.float64(-1.0), jnp.float64(1.0))
        assert after.status == SearchStatus.STEP_TOO_LARGE
        assert after.step == step

# SPDX-License-Identifier: Apache-2.0
"""Elementary transformations: closed forms, optax, what the state shows, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import DTYPES, assert_trees_close, gradients, nested_tree, run

from jopt.transforms import elementary


def halving(count):
    """A schedule: 1, 1/2, 1/4, ..."""
    return 0.5**count


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (elementary.identity(), optax.identity()),
        (elementary.scale(-0.3), optax.scale(-0.3)),
        (elementary.scale_by_schedule(halving), optax.scale_by_schedule(halving)),
        (elementary.scale_by_learning_rate(0.3), optax.scale_by_learning_rate(0.3)),
        (elementary.scale_by_learning_rate(halving), optax.scale_by_learning_rate(halving)),
        (
            elementary.scale_by_learning_rate(0.3, flip_sign=False),
            optax.scale_by_learning_rate(0.3, flip_sign=False),
        ),
        (elementary.sign(), optax.scale_by_sign()),
    ],
    ids=lambda t: repr(t) if "jopt" in type(t).__module__ else "optax",
)
def test_equals_optax_over_ten_steps(ours, theirs, dtype):
    params, grads = nested_tree(dtype), gradients(dtype)
    for actual, expected in zip(run(ours, grads, params)[0], run(theirs, grads, params)[0], strict=True):
        assert_trees_close(actual, expected)


def test_known_numbers():
    g = jnp.array([2.0, -3.0, 0.0])
    for made, factors in [
        (elementary.identity(), (1.0, 1.0, 1.0)),
        (elementary.scale(-0.5), (-0.5, -0.5, -0.5)),
        (elementary.scale_by_schedule(halving), (1.0, 0.5, 0.25)),
        (elementary.scale_by_learning_rate(0.1), (-0.1, -0.1, -0.1)),
        (elementary.scale_by_learning_rate(halving), (-1.0, -0.5, -0.25)),
        (elementary.scale_by_learning_rate(halving, flip_sign=False), (1.0, 0.5, 0.25)),
    ]:
        for factor, u in zip(factors, run(made, [g] * 3, g)[0], strict=True):
            np.testing.assert_allclose(u, factor * g, rtol=1e-15, err_msg=repr(made))


def test_sign_of_zero_is_zero_and_nan_stays():
    (u,), _ = run(elementary.sign(), [jnp.array([2.0, -3.0, 0.0, jnp.nan])], jnp.zeros(4))
    np.testing.assert_array_equal(u, [1.0, -1.0, 0.0, np.nan])


def test_state_holds_the_rate_last_used():
    g = jnp.ones(2)
    made = elementary.scale_by_learning_rate(halving)
    state = made.init(g)
    assert float(state.learning_rate) == 1.0  # the one that will be used
    for used in (1.0, 0.5, 0.25):
        u, state = made.update(g, state)
        assert float(state.learning_rate) == used == -float(u[0])
    assert int(state.count) == 3


def test_rate_keeps_its_dtype_when_gradients_are_narrower_than_parameters():
    made = elementary.scale_by_learning_rate(0.1)
    state = made.init(jnp.ones(2, jnp.float64))
    u, after = made.update(jnp.ones(2, jnp.float32), state)
    assert u.dtype == jnp.float32
    assert after.learning_rate.dtype == state.learning_rate.dtype == jnp.float64
    assert float(after.learning_rate) == 0.1


def test_bfloat16_leaves_are_scaled_in_float32():
    # 1.005 is 1.0078125 in bfloat16: rounding the factor first would give 249 -> 249 or 250, the product is 248.2
    g = jnp.full(1, 247.0, jnp.bfloat16)
    (u,), _ = run(elementary.scale(1.005), [g], g)
    assert u.dtype == jnp.bfloat16
    assert float(u[0]) == 248.0
    assert float(g[0] * jnp.asarray(1.005, jnp.bfloat16)) == 249.0


def test_number_is_the_schedule_that_is_constant():
    grads = gradients(jnp.float64, 3)
    constant = run(elementary.scale_by_learning_rate(0.3), grads, grads[0])
    scheduled = run(elementary.scale_by_learning_rate(lambda count: 0.3 + 0 * count), grads, grads[0])
    assert jax.tree.structure(constant[1]) == jax.tree.structure(scheduled[1])
    assert_trees_close(scheduled[0], constant[0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: elementary.scale(float("nan")), ValueError, r"scale: step_size must be in \(-inf, inf\), got nan"),
        (lambda: elementary.scale(float("inf")), ValueError, r"scale: step_size .*got inf"),
        (lambda: elementary.scale("0.1"), TypeError, r"scale: step_size must be a number.*'0.1' \(str\)"),
        (lambda: elementary.scale_by_schedule(0.1), TypeError, "scale_by_schedule: step_size_fn must be a function"),
        (
            lambda: elementary.scale_by_learning_rate(-0.1),
            ValueError,
            r"scale_by_learning_rate: learning_rate must be in \[0, inf\), got -0.1",
        ),
        (lambda: elementary.scale_by_learning_rate(float("inf")), ValueError, "learning_rate must be in"),
        (lambda: elementary.scale_by_learning_rate(None), TypeError, "learning_rate must be a number"),
    ],
)
def test_wrong_setting_names_function_argument_value_and_range(make, error, message):
    with pytest.raises(error, match=message):
        make()

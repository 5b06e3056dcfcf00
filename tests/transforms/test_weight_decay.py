# SPDX-License-Identifier: Apache-2.0
"""Decoupled weight decay: the formula, masks in every form, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import DTYPES, assert_trees_close, gradients, nested_tree, run

from jopt.transforms.weight_decay import add_decayed_weights

MASK = {"layer": {"weight": True, "bias": False}, "gain": False, "unused": True}
PREFIX = {"layer": False, "gain": True, "unused": True}


def matrices(params):
    """Select the leaves with two axes."""
    return jax.tree.map(lambda p: p.ndim == 2, params)


def growing(count):
    """A schedule: 0.1, 0.2, ..."""
    return 0.1 * (count + 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", [None, MASK, PREFIX, matrices], ids=["all", "tree", "prefix", "function"])
@pytest.mark.parametrize("weight_decay", [0.3, growing], ids=["number", "schedule"])
def test_equals_optax_over_ten_steps(weight_decay, mask, dtype):
    params, grads = nested_tree(dtype), gradients(dtype)
    ours, theirs = (f(weight_decay, mask) for f in (add_decayed_weights, optax.add_decayed_weights))
    for actual, expected in zip(run(ours, grads, params)[0], run(theirs, grads, params)[0], strict=True):
        assert_trees_close(actual, expected)


def test_known_numbers():
    params, g = {"a": jnp.array([10.0]), "b": jnp.array([20.0])}, {"a": jnp.array([1.0]), "b": jnp.array([2.0])}
    for made, expected in [
        (add_decayed_weights(), (1.0, 2.0)),
        (add_decayed_weights(0.1), (2.0, 4.0)),
        (add_decayed_weights(0.1, {"a": True, "b": False}), (2.0, 2.0)),
        (add_decayed_weights(0.1, lambda p: {"a": False, "b": p["b"].ndim == 1}), (1.0, 4.0)),
        (add_decayed_weights(0.1, False), (1.0, 2.0)),
    ]:
        (u,), _ = run(made, [g], params)
        np.testing.assert_allclose((float(u["a"][0]), float(u["b"][0])), expected, rtol=1e-15)


def test_one_state_structure_whatever_the_settings():
    params = nested_tree(jnp.float32)
    states = [
        add_decayed_weights(w, m).init(params) for w in (0.0, 0.1, growing) for m in (None, MASK, PREFIX, matrices)
    ]
    assert len({jax.tree.structure(s) for s in states}) == 1


def test_decay_of_bfloat16_parameters_is_computed_in_float32():
    g, p = jnp.ones(1, jnp.bfloat16), jnp.full(1, 100.0, jnp.bfloat16)
    (u,), _ = run(add_decayed_weights(0.0999), [g], p)  # 0.0999 is 0.1001 in bfloat16
    assert u.dtype == jnp.bfloat16
    assert float(u[0]) == float(jnp.asarray(10.99, jnp.bfloat16))


def test_missing_parameters_are_asked_for():
    made = add_decayed_weights(0.1)
    with pytest.raises(ValueError, match="add_decayed_weights: update needs params, got None"):
        made.update(jnp.ones(2), made.init(jnp.ones(2)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: add_decayed_weights(-0.1), ValueError, r"add_decayed_weights: weight_decay must be in \[0, inf\)"),
        (lambda: add_decayed_weights("x"), TypeError, "add_decayed_weights: weight_decay must be a number"),
        (
            lambda: add_decayed_weights(0.1, {"a": [True, 1]}),
            TypeError,
            r"mask\['a'\]\[1\] must be True or False, got 1",
        ),
    ],
)
def test_wrong_setting_names_function_argument_value_and_range(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_mask_or_a_gradient_unlike_the_parameters_is_named():
    params = nested_tree(jnp.float32)
    with pytest.raises(ValueError, match="add_decayed_weights: mask must be a tree like params, or a prefix of it"):
        run(add_decayed_weights(0.1, {"layer": True}), [params], params)
    with pytest.raises(TypeError, match=r"add_decayed_weights: mask\['gain'\] must be True or False"):
        run(add_decayed_weights(0.1, lambda p: p), [params], params)
    wrong = {**params, "gain": jnp.zeros(2)}
    with pytest.raises(ValueError, match=r"add_decayed_weights: updates .*\['gain'\].*\(2,\).*params has shape \(\)"):
        run(add_decayed_weights(0.1), [wrong], params)

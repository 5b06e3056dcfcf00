# SPDX-License-Identifier: Apache-2.0
"""Both directions: optax's wrappers around our transformations, and optax's transformations in our chains.

Each wrapper is put around a pair that computes the same, ours and optax's; the numbers, and what the wrapper does with
the state, must agree.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import assert_trees_close, gradients, nested_tree, run

from jopt import optimizers
from jopt.combinators import chain
from jopt.transforms import adam, clipping, elementary, momentum, noise, plateau, weight_decay

PARAMS, GRADS = nested_tree(jnp.float64), gradients(jnp.float64, 5)
MASK = {"layer": {"weight": True, "bias": False}, "gain": True, "unused": True}
LABELS = {"layer": "fast", "gain": "slow", "unused": "slow"}


def halving(count):
    return 0.1 * 0.5**count


def ours():
    """Clipping, momentum, decay and a scheduled rate: stages with and without state, and one that needs params."""
    return chain(
        clipping.clip_by_global_norm(1.0),
        momentum.trace(0.9, nesterov=True),
        weight_decay.add_decayed_weights(0.01, MASK),
        elementary.scale_by_learning_rate(halving),
    )


def theirs():
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.trace(0.9, nesterov=True),
        optax.add_decayed_weights(0.01, MASK),
        optax.scale_by_learning_rate(halving),
    )


def mixed():
    """optax's chain of our stages."""
    return optax.chain(*ours().stages)


def mixed_the_other_way():
    """Our chain of optax's stages, one of them a chain itself."""
    return chain(
        optax.chain(optax.clip_by_global_norm(1.0), optax.trace(0.9, nesterov=True)),
        optax.add_decayed_weights(0.01, MASK),
        elementary.scale_by_learning_rate(halving),
    )


def compiled(made):
    """Compile the update: optax's conditionals would be compiled afresh in every uncompiled call."""
    return optax.GradientTransformationExtraArgs(made.init, jax.jit(optax.with_extra_args_support(made).update))


def assert_same_path(a, b, **extra):
    for actual, expected in zip(run(a, GRADS, PARAMS, **extra)[0], run(b, GRADS, PARAMS, **extra)[0], strict=True):
        assert_trees_close(actual, expected)


@pytest.mark.parametrize("made", [ours, mixed, mixed_the_other_way])
def test_chains_of_either_library_hold_stages_of_both(made):
    assert_same_path(made(), theirs())


WRAPPERS = {
    "masked": lambda t: optax.masked(t, MASK),
    "masked by function": lambda t: optax.masked(t, lambda p: jax.tree.map(lambda x: x.ndim == 2, p)),
    "partition": lambda t: optax.partition({"fast": t, "slow": optax.sgd(0.5)}, LABELS),
    "MultiSteps": lambda t: optax.MultiSteps(t, 2).gradient_transformation(),
    "apply_if_finite": lambda t: optax.apply_if_finite(t, 3),
    "flatten": optax.flatten,
    "with_extra_args_support": optax.with_extra_args_support,
    "conditionally_transform": lambda t: optax.conditionally_transform(t, lambda step: step % 2 == 0),
    "named_chain": lambda t: optax.named_chain(("first", t), ("second", optax.scale(2.0))),
}


def unmasked(factory):
    """Make the same chain without the inner mask, for wrappers that change the tree."""
    if factory is ours:
        return chain(
            momentum.trace(0.9), weight_decay.add_decayed_weights(0.01), elementary.scale_by_learning_rate(halving)
        )
    return optax.chain(optax.trace(0.9), optax.add_decayed_weights(0.01), optax.scale_by_learning_rate(halving))


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrapper_around_ours_equals_wrapper_around_theirs(wrap):
    assert_same_path(compiled(wrap(unmasked(ours))), compiled(wrap(unmasked(theirs))))


def test_masked_leaves_pass_and_the_others_do_not():
    (u,), _ = run(optax.masked(elementary.scale(2.0), MASK), [PARAMS], PARAMS)
    expected = jax.tree.map(lambda m, p: 2.0 * p if m else p, MASK, PARAMS)
    assert_trees_close(u, expected, rtol=1e-15)


def test_partition_of_our_recipes():
    ours_ = optax.partition({"fast": optimizers.adam(0.1), "slow": optimizers.sgd(0.5, momentum=0.9)}, LABELS)
    theirs_ = optax.partition({"fast": optax.adam(0.1), "slow": optax.sgd(0.5, momentum=0.9)}, LABELS)
    assert_same_path(ours_, theirs_)


def test_multi_steps_takes_the_mean_gradient_every_second_step():
    made = compiled(optax.MultiSteps(elementary.scale(-1.0), 2).gradient_transformation())
    updates, _ = run(made, GRADS[:2], PARAMS)
    assert_trees_close(updates[0], jax.tree.map(jnp.zeros_like, PARAMS))
    # optax accumulates in float32 unless asked otherwise
    assert_trees_close(updates[1], jax.tree.map(lambda a, b: -(a + b) / 2, *GRADS[:2]), rtol=1e-7)


def test_apply_if_finite_sees_what_our_clipping_lets_through():
    bad = {**GRADS[0], "gain": jnp.asarray(jnp.nan)}
    inner = chain(clipping.clip(1.0), clipping.clip_by_global_norm(1.0), momentum.trace(0.9))
    made = compiled(optax.apply_if_finite(inner, 3))
    updates, state = run(made, [GRADS[0], bad, GRADS[1]], PARAMS)
    without, _ = run(made, [GRADS[0], GRADS[1]], PARAMS)
    assert int(state.total_notfinite) == 1
    assert_trees_close(updates[1], jax.tree.map(jnp.zeros_like, PARAMS))
    assert_trees_close(updates[2], without[1])


def test_apply_if_finite_keeps_a_random_key():
    g = jnp.ones(2)
    made = optax.apply_if_finite(noise.add_noise(1.0, 0.5, 0), 3)
    (_, after), _ = run(compiled(made), [jnp.full(2, jnp.nan), g], g)
    (alone,), _ = run(noise.add_noise(1.0, 0.5, 0), [g], g)
    assert_trees_close(after, alone)


INJECTED = [
    (momentum.trace, optax.trace, {"decay": lambda count: 0.9 - 0.1 * count}),
    (momentum.ema, optax.ema, {"decay": lambda count: 0.9 - 0.1 * count}),
    (clipping.clip_by_global_norm, optax.clip_by_global_norm, {"max_norm": 0.5}),
    (clipping.clip, optax.clip, {"max_delta": halving}),
    (weight_decay.add_decayed_weights, optax.add_decayed_weights, {"weight_decay": halving}),
    (elementary.scale_by_learning_rate, optax.scale_by_learning_rate, {"learning_rate": halving}),
    (optimizers.adam, optax.adam, {"learning_rate": halving, "b1": 0.8}),
]


@pytest.mark.parametrize(("factory", "theirs_", "settings"), INJECTED, ids=[f.__name__ for f, _, _ in INJECTED])
def test_injected_settings_are_traced_through_ours(factory, theirs_, settings):
    assert_same_path(optax.inject_hyperparams(factory)(**settings), optax.inject_hyperparams(theirs_)(**settings))


def test_injected_plateau_takes_its_metric():
    settings = {"factor": 0.5, "patience": 2}
    injected = optax.inject_hyperparams(plateau.reduce_on_plateau)(**settings)
    assert_same_path(injected, plateau.reduce_on_plateau(**settings), value=1.0)


def test_an_injected_setting_can_be_changed_in_the_state():
    made = optax.inject_hyperparams(elementary.scale_by_learning_rate)(learning_rate=0.1)
    state = made.init(PARAMS)
    state.hyperparams["learning_rate"] = jnp.asarray(0.5)
    u, _ = made.update(GRADS[0], state, PARAMS)
    assert_trees_close(u, jax.tree.map(lambda g: -0.5 * g, GRADS[0]))


def test_the_rate_is_read_from_any_nesting_by_name():
    made = optax.chain(optax.masked(chain(momentum.trace(0.9), elementary.scale_by_learning_rate(halving)), MASK))
    _, state = run(made, GRADS[:2], PARAMS)
    np.testing.assert_allclose(optax.tree.get(state, "learning_rate"), 0.05)
    assert int(optax.tree.get(state, "count")) == 2


def test_optax_stages_with_extras_in_our_chain():
    ours_ = chain(adam.scale_by_adam(), optax.contrib.reduce_on_plateau(0.5, 2), elementary.scale(-0.1))
    theirs_ = optax.chain(optax.scale_by_adam(), optax.contrib.reduce_on_plateau(0.5, 2), optax.scale(-0.1))
    assert_same_path(compiled(ours_), compiled(theirs_), value=1.0)


def test_our_stages_with_extras_in_their_chain():
    def value_fn(p):
        return 0.5 * optax.tree.vdot(p, p)

    inner = (momentum.shifted_momentum(0.1), plateau.reduce_on_plateau(0.5, 2))
    assert_same_path(optax.chain(*inner), chain(*inner), value=1.0, value_fn=value_fn)


def test_a_fitted_line_is_the_same_with_either_library():
    x = jnp.linspace(-1, 1, 7)
    target = {"slope": 2.0, "offset": -1.0}

    def loss(p):
        return jnp.mean((p["slope"] * x + p["offset"] - (2.0 * x - 1.0)) ** 2)

    def fit(made, steps=150):
        def step(carry, _):
            p, state = carry
            u, state = made.update(jax.grad(loss)(p), state, p)
            return (optax.apply_updates(p, u), state), None

        start = {"slope": jnp.zeros(()), "offset": jnp.zeros(())}
        return jax.jit(lambda: jax.lax.scan(step, (start, made.init(start)), length=steps)[0][0])()

    fitted = fit(optimizers.sgd(0.3, momentum=0.5))
    assert_trees_close(fitted, fit(optax.sgd(0.3, momentum=0.5)))
    assert_trees_close(fitted, jax.tree.map(jnp.asarray, target), rtol=1e-9)

# SPDX-License-Identifier: Apache-2.0
"""`chain`: a monoid of transformations; states by position and by name; extras; errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import assert_trees_close, gradients, nested_tree, run

from jopt.combinators import chain
from jopt.transforms.clipping import clip, clip_by_global_norm
from jopt.transforms.elementary import identity, scale, scale_by_learning_rate
from jopt.transforms.momentum import shifted_momentum, trace
from jopt.transforms.plateau import reduce_on_plateau
from jopt.transforms.weight_decay import add_decayed_weights

A, B, C = clip_by_global_norm(1.0), trace(0.9), scale_by_learning_rate(0.1)
PARAMS, GRADS = nested_tree(jnp.float64), gradients(jnp.float64, 3)


def updates_of(made):
    return run(made, GRADS, PARAMS)[0]


def test_stages_apply_from_left_to_right():
    g = jnp.array([4.0])
    np.testing.assert_array_equal(run(chain(clip(1.0), scale(10.0)), [g], g)[0][0], [10.0])
    np.testing.assert_array_equal(run(chain(scale(10.0), clip(1.0)), [g], g)[0][0], [1.0])


def test_each_stage_keeps_its_own_state():
    state_a, state_b, state_c = (t.init(PARAMS) for t in (A, B, C))
    made = chain(A, B, C)
    state = made.init(PARAMS)
    for g in GRADS:
        u, state = made.update(g, state, PARAMS)
        by_hand, state_a = A.update(g, state_a, PARAMS)
        by_hand, state_b = B.update(by_hand, state_b, PARAMS)
        by_hand, state_c = C.update(by_hand, state_c, PARAMS)
        assert_trees_close(u, by_hand, rtol=0.0)
    assert jax.tree.structure(state) == jax.tree.structure((state_a, state_b, state_c))


def test_composition_is_associative_and_flat():
    flat = chain(A, B, C)
    for nested in (chain(chain(A, B), C), chain(A, chain(B, C)), chain(chain(chain(A), B), chain(C))):
        assert len(nested.stages) == 3
        assert jax.tree.structure(nested.init(PARAMS)) == jax.tree.structure(flat.init(PARAMS))
        assert repr(nested) == repr(flat)
        for actual, expected in zip(updates_of(nested), updates_of(flat), strict=True):
            assert_trees_close(actual, expected, rtol=0.0)


def test_identity_is_neutral():
    for made in (chain(identity(), B), chain(B, identity()), chain(B)):
        for actual, expected in zip(updates_of(made), updates_of(B), strict=True):
            assert_trees_close(actual, expected, rtol=0.0)


def test_the_empty_chain_is_the_identity_and_vanishes_in_another():
    assert_trees_close(updates_of(chain())[0], GRADS[0], rtol=0.0)
    assert chain().init(PARAMS) == ()
    assert chain(chain(), B, chain()).stages == (B,)
    assert repr(chain()) == "chain()"


def test_names_give_a_dict_of_states_in_the_order_given():
    made, positional = chain(clip=A, momentum=B, rate=C), chain(A, B, C)
    state = made.init(PARAMS)
    assert isinstance(state, dict)
    assert list(state) == ["clip", "momentum", "rate"]
    named, by_position = run(made, GRADS, PARAMS), run(positional, GRADS, PARAMS)
    for actual, expected in zip(named[0], by_position[0], strict=True):
        assert_trees_close(actual, expected, rtol=0.0)
    assert_trees_close(named[1]["momentum"], by_position[1][1], rtol=0.0)
    assert float(named[1]["rate"].learning_rate) == 0.1


def test_order_of_names_is_kept_through_jit():
    # a pytree dict sorts its keys: the order of the stages must come from the chain, not from the state
    g = jnp.array([4.0])
    made = chain(z=scale(10.0), a=clip(1.0))
    state = jax.jit(made.init)(g)
    u, state = jax.jit(made.update)(g, state)
    np.testing.assert_array_equal(u, [1.0])
    np.testing.assert_array_equal(made.update(g, state)[0], [1.0])


def test_a_named_chain_is_one_stage_of_a_positional_one():
    made = chain(A, chain(momentum=B), C)
    assert len(made.stages) == 3
    assert set(made.init(PARAMS)[1]) == {"momentum"}
    inside = chain(first=chain(A, B), rate=C)
    assert len(inside.init(PARAMS)["first"]) == 2
    for other in (made, inside):
        for actual, expected in zip(updates_of(other), updates_of(chain(A, B, C)), strict=True):
            assert_trees_close(actual, expected, rtol=0.0)


def test_extras_reach_the_stages_that_take_them_and_no_other():
    x = jnp.array([4.0])
    made = chain(
        shifted_momentum(0.1),  # takes params and value_fn
        optax.trace(0.0),  # takes neither
        reduce_on_plateau(0.5, patience=1),  # takes value
        optax.contrib.reduce_on_plateau(0.5, patience=1),  # takes value
        optax.add_decayed_weights(0.0),  # takes params by position
    )
    state = made.init(x)
    for expected in (-0.4, 0.25 * -(0.4 * 0.9 + 0.1 * (4.0 - 0.36))):
        u, state = made.update(x, state, x, value=1.0, value_fn=lambda p: 0.5 * jnp.vdot(p, p), unknown="extra")
        np.testing.assert_allclose(u, expected, rtol=1e-14)


def test_a_stage_that_lacks_an_extra_says_so_from_within():
    made = chain(A, add_decayed_weights(0.1))
    with pytest.raises(ValueError, match="add_decayed_weights: update needs params"):
        made.update(PARAMS, made.init(PARAMS))


def test_repr_is_the_call():
    assert (
        repr(chain(clip_by_global_norm(1.0), scale(-0.1)))
        == "chain(clip_by_global_norm(max_norm=1.0), scale(step_size=-0.1))"
    )
    assert repr(chain(down=scale(-0.1))) == "chain(down=scale(step_size=-0.1))"


def test_equal_calls_are_equal_and_hash_alike():
    for make in (lambda s: chain(clip(1.0), scale(s)), lambda s: chain(a=clip(1.0), b=scale(s))):
        assert make(0.1) == make(0.1)
        assert hash(make(0.1)) == hash(make(0.1))
        assert make(0.1) != make(0.2)
    assert chain(scale(0.1), clip(1.0)) != chain(clip(1.0), scale(0.1))
    assert chain(a=scale(0.1)) != chain(b=scale(0.1))


def test_an_equal_chain_is_the_same_static_argument():
    traces = []

    def step(made, g):
        traces.append(made)
        return made.update(g, made.init(g))[0]

    jitted = jax.jit(step, static_argnums=0)
    for _ in range(3):
        jitted(chain(scale(0.1)), jnp.ones(2))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chain(scale(0.1), 3), "chain: stage 1 must be a transformation .*got 3"),
        (lambda: chain(clip=clip), "chain: stage 'clip' must be a transformation .*was the factory not called"),
        (lambda: chain([scale(0.1)]), r"chain: stage 0 must be a transformation .*unpack it: chain\(\*stages\)"),
        (lambda: chain({"a": scale(0.1)}), r"chain: stage 0 must be .*unpack it: chain\(\*\*stages\)"),
        (lambda: chain(None), "chain: stage 0 must be a transformation .*got None"),
        (lambda: chain(scale(0.1), b=scale(0.1)), "chain: give the stages either by position or by name, not both"),
    ],
)
def test_a_wrong_stage_is_named(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_state_of_another_chain_is_refused():
    positional, named = chain(A, B), chain(a=A, b=B)
    with pytest.raises(ValueError, match=r"chain: state must be a tuple of 2, .*got tuple of 1"):
        positional.update(PARAMS, chain(A).init(PARAMS))
    with pytest.raises(ValueError, match=r"chain: state must be a tuple of 2, .*got dict of 2"):
        positional.update(PARAMS, named.init(PARAMS))
    with pytest.raises(ValueError, match=r"chain: state must be a tuple of 2, .*got None"):
        positional.update(PARAMS, None)
    with pytest.raises(ValueError, match=r"chain: state must be a dict of \['a', 'b'\], .*got \['a', 'c'\]"):
        named.update(PARAMS, chain(a=A, c=B).init(PARAMS))
    with pytest.raises(ValueError, match=r"chain: state must be a dict of \['a', 'b'\], .*got tuple"):
        named.update(PARAMS, positional.init(PARAMS))


@pytest.mark.parametrize("made", [chain(optax.scale(0.1)), chain(a=optax.scale(0.1)), chain()], ids=["1", "named", "0"])
def test_gradients_unlike_the_parameters_are_refused_whoever_made_the_stages(made):
    params = {"x": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"^chain: updates must be .*\['x'\].*\(3, 1\).*\(3,\)"):
        made.update({"x": jnp.ones((3, 1))}, made.init(params), params)


def test_integers_that_a_stage_knows_what_to_do_with_pass():
    params = {"x": jnp.ones(3), "n": jnp.arange(3)}
    made = chain(optax.masked(chain(B, C), {"x": True, "n": False}))
    u, _ = made.update(params, made.init(params), params)
    np.testing.assert_array_equal(u["n"], params["n"])
    np.testing.assert_allclose(u["x"], -0.1)

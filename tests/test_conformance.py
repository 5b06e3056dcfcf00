# SPDX-License-Identifier: Apache-2.0
"""What every first-order transformation and every recipe keeps, checked over the list of all of them.

The list is derived from the modules, so that a new factory must be entered in the table below, with the settings to
call it with and with variants of them that must share one state structure.
"""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assert_trees_close

import jopt.optimizers
import jopt.transforms
from jopt.combinators import chain

# Directions that learn from points have a battery of their own.
CURVED = {"quasi_newton", "conjugate", "newton", "line_search"}
DTYPES = ("float32", "float64", "bfloat16")


def schedule(count):
    return 0.1 / (1 + count.astype(jnp.float32))


def matrices(params):
    return jax.tree.map(lambda p: p.ndim == 2, params)


# name: (settings, variants of them that must have the same state structure)
TABLE = {
    "identity": ({}, []),
    "scale": ({"step_size": -0.1}, []),
    "sign": ({}, []),
    "scale_by_schedule": ({"step_size_fn": schedule}, []),
    "scale_by_learning_rate": ({"learning_rate": 0.1}, [{"learning_rate": schedule}, {"flip_sign": False}]),
    "trace": ({"decay": 0.9}, [{"nesterov": True}, {"accumulator_dtype": "float32"}]),
    "ema": ({"decay": 0.9}, [{"debias": False}, {"accumulator_dtype": "float32"}]),
    "lookahead_momentum": ({"decay": 0.9}, [{"accumulator_dtype": "float32"}]),
    "shifted_momentum": ({"learning_rate": 0.1}, [{"learning_rate": schedule}, {"accumulator_dtype": "float32"}]),
    "clip": ({"max_delta": 0.5}, []),
    "clip_by_global_norm": ({"max_norm": 0.5}, []),
    "clip_by_leaf_norm": ({"max_norm": 0.5}, []),
    "add_decayed_weights": (
        {"weight_decay": 0.1},
        [{"weight_decay": schedule}, {"weight_decay": 0.0}, {"mask": False}, {"mask": matrices}],
    ),
    "add_noise": ({"eta": 0.1, "gamma": 0.55, "key": 0}, [{"gamma": 0.0}]),
    "reduce_on_plateau": ({"factor": 0.5, "patience": 1}, [{"cooldown": 2}, {"accumulation_size": 3}]),
    "scale_by_rss": ({}, [{"eps_in_sqrt": False}, {"nu_dtype": "float32"}]),
    "scale_by_rms": ({}, [{"eps_in_sqrt": False}, {"bias_correction": True}, {"nu_dtype": "float32"}]),
    "scale_by_stddev": ({}, [{"eps_in_sqrt": False}, {"bias_correction": True}, {"nu_dtype": "float32"}]),
    "scale_by_adam": ({}, [{"bias_correction": False}, {"nesterov": True}, {"mu_dtype": "float32"}]),
    "scale_by_amsgrad": ({}, [{"bias_correction_mu": False}, {"bias_correction_nu": False}, {"nu_dtype": "float32"}]),
    "scale_by_lp_adam": ({"p": 3.0}, [{"p": 2.0}, {"mu_dtype": "float32"}]),
    "scale_by_adamax": ({}, [{"eps": 0.0}, {"mu_dtype": "float32"}]),
    "scale_by_adadelta": ({}, [{"nu_dtype": "float32"}]),
    "scale_by_lion": ({}, [{"mu_dtype": "float32"}]),
    "sgd": ({"learning_rate": 0.1, "momentum": 0.9}, [{"learning_rate": schedule}, {"nesterov": True}]),
    "momentum": ({"learning_rate": 0.1}, [{"learning_rate": schedule}]),
    "nesterov": ({"learning_rate": 0.1}, [{"learning_rate": schedule}]),
    "adagrad": ({"learning_rate": 0.1}, [{"learning_rate": schedule}]),
    "rmsprop": ({"learning_rate": 0.1}, [{"learning_rate": schedule}, {"bias_correction": True}]),
    "adam": ({"learning_rate": 0.1}, [{"learning_rate": schedule}, {"nesterov": True}]),
    "nadam": ({"learning_rate": 0.1}, [{"learning_rate": schedule}]),
    "adamw": ({"learning_rate": 0.1}, [{"learning_rate": schedule}, {"mask": matrices}]),
    "nadamw": ({"learning_rate": 0.1}, [{"learning_rate": schedule}, {"mask": matrices}]),
    "amsgrad": ({"learning_rate": 0.1}, [{"learning_rate": schedule}]),
    "adamax": ({"learning_rate": 0.1}, [{"learning_rate": schedule}]),
    "adadelta": ({"learning_rate": 0.1}, [{"weight_decay": 0.1}]),
    "lion": ({"learning_rate": 0.1}, [{"learning_rate": schedule}, {"mask": matrices}]),
}


def public_factories():
    """Return the decorated factories of the first-order rooms by name."""
    rooms = [m.name for m in pkgutil.iter_modules(jopt.transforms.__path__) if m.name not in CURVED]
    modules = [importlib.import_module(f"jopt.transforms.{name}") for name in rooms] + [jopt.optimizers]
    return {
        name: f
        for module in modules
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and hasattr(f, "__wrapped__") and not name.startswith("_")
    }


FACTORIES = public_factories()
every_factory = pytest.mark.parametrize("name", sorted(FACTORIES))


def make(name, **changes):
    return FACTORIES[name](**{**TABLE[name][0], **changes})


def value_fn(params):
    """A quadratic whose terms have each leaf's dtype."""
    terms = [jnp.sum(jnp.square(x).astype(jnp.float32)) for x in jax.tree.leaves(params)]
    return sum(terms, jnp.zeros((), jnp.float32))


EXTRAS = {"value": np.float32(1.0), "value_fn": value_fn, "unknown": "extra"}


def struct(shape, dtype):
    return jax.ShapeDtypeStruct(shape, dtype)


def trees():
    """Return descriptions of trees: nested ones in each dtype, of mixed dtypes, empty ones and scalars."""
    made = {f"nested {d}": {"a": [struct((2, 3), d), struct((3,), d)], "b": (struct((), d),)} for d in DTYPES}
    made |= {f"scalar {d}": struct((), d) for d in DTYPES}
    made["mixed"] = {d: struct((2,), d) for d in DTYPES}
    made["empty leaf"] = {"a": struct((0,), "float32"), "b": struct((2,), "float32")}
    made["empty"] = {}
    return made


def test_the_table_holds_every_public_factory_and_no_other():
    assert set(FACTORIES) == set(TABLE)


def shapes_of(tree):
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(x.shape, x.dtype) for x in leaves]


@every_factory
def test_shapes_and_dtypes_are_kept_under_strict_promotion(name):
    made = make(name)
    with jax.numpy_dtype_promotion("strict"):
        for label, tree in trees().items():
            state = jax.eval_shape(made.init, tree)
            updates, after = jax.eval_shape(lambda g, s, p: made.update(g, s, p, **EXTRAS), tree, state, tree)
            assert shapes_of(updates) == shapes_of(tree), label
            assert shapes_of(after) == shapes_of(state), label
            if "float64" not in label and label != "mixed":
                assert jnp.float64 not in {x.dtype for x in jax.tree.leaves(after)}, label


@every_factory
def test_one_state_structure_whatever_the_settings(name):
    tree = trees()["nested float32"]
    expected = jax.tree.structure(jax.eval_shape(make(name).init, tree))
    for variant in TABLE[name][1]:
        assert jax.tree.structure(jax.eval_shape(make(name, **variant).init, tree)) == expected, variant


def lanes():
    """Return parameters and three gradients for two lanes; one lane begins with a zero gradient, one ends with it."""
    rng = np.random.default_rng(0)
    shapes = {"w": (3,), "narrow": (3,), "b": ()}

    def draw(*lead):
        return {
            k: jnp.asarray(rng.standard_normal((*lead, *s)), "float32" if k == "narrow" else "float64")
            for k, s in shapes.items()
        }

    on = jnp.asarray([[1, 1, 0], [0, 1, 1]])
    grads = jax.tree.map(lambda g: g * on.reshape(2, 3, *[1] * (g.ndim - 2)).astype(g.dtype), draw(2, 3))
    return draw(2), grads


@every_factory
def test_compiled_scan_under_vmap_equals_the_loop_and_zero_gradients_give_finite_updates(name):
    made, traces = make(name), []

    def step(params, state, g):
        traces.append(name)
        return made.update(g, state, params, **EXTRAS)

    def path(params, grads):
        def body(state, g):
            updates, state = step(params, state, g)
            return state, updates

        return jax.lax.scan(body, made.init(params), grads)

    params, grads = lanes()
    state, updates = jax.jit(jax.vmap(path))(params, grads)
    assert len(traces) == 1
    assert all(np.isfinite(np.asarray(u)).all() for u in jax.tree.leaves(updates))
    for lane in range(2):
        p = jax.tree.map(lambda x, i=lane: x[i], params)
        s = made.init(p)
        initial = shapes_of(s)
        for t in range(3):
            u, s = step(p, s, jax.tree.map(lambda x, i=lane, j=t: x[i, j], grads))
            assert shapes_of(s) == initial
            assert_trees_close(jax.tree.map(lambda x, i=lane, j=t: x[i, j], updates), u)
    assert jax.tree.structure(state) == jax.tree.structure(s)


@every_factory
def test_describes_its_call(name):
    made = make(name)
    assert repr(made).startswith(f"{name}(")
    assert made == make(name)
    assert hash(made) == hash(make(name))
    assert made != chain(made)


@every_factory
def test_is_documented(name):
    doc = inspect.getdoc(FACTORIES[name]) or ""
    assert doc.splitlines()[0].endswith((".", ":"))
    for argument in inspect.signature(FACTORIES[name]).parameters:
        assert f"{argument}:" in doc or f"{argument}," in doc, argument

# SPDX-License-Identifier: Apache-2.0
"""What every first-order transformation and every recipe keeps, checked over the list of all of them.

The list is derived from the modules, so that a new factory must be entered in the table below, with the settings to
call it with and with variants of them that must share one state structure.
"""

import functools
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import assert_trees_close

import jopt.optimizers
import jopt.transforms
from jopt.combinators import chain

# Directions that learn from points have a battery of their own.
CURVED = {
    "conjugate",
    "dense_quasi_newton",
    "forcing",
    "hessian_free",
    "line_search",
    "newton",
    "newton_cg",
    "quasi_newton",
}
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
@pytest.mark.parametrize("leaf", [np.arange(3), 1, True, np.ones(2, complex)], ids=["int32", "int", "bool", "complex"])
def test_parameters_and_gradients_that_are_not_real_floating_raise_with_their_path(name, leaf):
    made = make(name)
    good, bad = {"a": [jnp.ones(3)], "b": 1.0}, {"a": [leaf], "b": 1.0}
    words = rf"^{name}: {{}}\['a'\]\[0\] must be real floating numbers, got "
    with pytest.raises(TypeError, match=words.format("params")):
        made.init(bad)
    with pytest.raises(TypeError, match=words.format("updates")):
        made.update(bad, made.init(good), None, **EXTRAS)
    with pytest.raises(TypeError, match=words.format("params")):
        made.update(good, made.init(good), bad, **EXTRAS)


@every_factory
def test_descriptions_of_arrays_are_parameters_too(name):
    made, like = make(name), struct((3,), "float32")
    assert shapes_of(made.init(like)) == shapes_of(made.init(jnp.ones(3, jnp.float32)))
    with pytest.raises(TypeError, match=f"^{name}: params must be real floating numbers"):
        made.init(struct((3,), "int32"))


@every_factory
def test_gradients_unlike_the_parameters_raise_with_their_path(name):
    made = make(name)
    params = {"a": [jnp.ones(3)], "b": jnp.ones(3)}
    state = made.init(params)
    for wrong, words in (
        ({"a": [jnp.ones((3, 1))], "b": jnp.ones(3)}, r"\['a'\]\[0\] updates has shape \(3, 1\) and params .*\(3,\)"),
        ({"a": [jnp.ones(3)]}, r"\['b'\] updates has nothing and params has shape \(3,\)"),
        ({"a": [None], "b": jnp.ones(3)}, r"\['a'\]\[0\] updates has nothing"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: updates must be a tree like params, but at {words}"):
            jax.eval_shape(lambda g: made.update(g, state, params, **EXTRAS), wrong)


@every_factory
def test_leaves_that_are_not_there_stay_away(name):
    made = make(name)
    params = {"a": None, "b": jnp.ones(3), "c": {}}
    updates, _ = made.update(params, made.init(params), params, **EXTRAS)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    masked = optax.masked(made, {"a": True, "n": False})
    params = {"a": jnp.ones(3), "n": jnp.arange(3)}
    updates, _ = masked.update(params, masked.init(params), params, **EXTRAS)
    assert updates["n"] is params["n"]
    assert updates["a"].shape == (3,)


@every_factory
def test_python_numbers_and_numpy_arrays_are_leaves(name):
    made = make(name)
    given = {"x": -1.2, "y": np.linspace(0.1, 1.0, 3)}
    params = jax.tree.map(lambda x: jax.lax.convert_element_type(x, jnp.asarray(x).dtype), given)
    state, expected = made.init(given), made.init(params)
    for _ in range(2):
        before = state
        u, state = made.update(given, state, given, **EXTRAS)
        v, expected = made.update(params, expected, params, **EXTRAS)
        assert_trees_close(u, v, rtol=0.0)
        assert [x.aval for x in jax.tree.leaves(state)] == [x.aval for x in jax.tree.leaves(before)]  # weak types too
    assert not any(x.weak_type for x in jax.tree.leaves(u))


FLAGS = [(n, p.name) for n, f in FACTORIES.items() for p in inspect.signature(f).parameters.values()
         if isinstance(p.default, bool)]  # fmt: skip


@pytest.mark.parametrize(("name", "flag"), FLAGS)
def test_switches_are_true_or_false(name, flag):
    for wrong in ("no", 1, None, jnp.bool_(True)):
        with pytest.raises(TypeError, match=rf"^{name}: .*{flag} must be True or False, got "):
            make(name, **{flag: wrong})
    for right in (True, False):  # a NumPy boolean is a boolean
        assert jax.tree.structure(make(name, **{flag: np.bool_(right)}).init(jnp.ones(2))) == jax.tree.structure(
            make(name, **{flag: right}).init(jnp.ones(2))
        )


NUMBERS = [(n, p.name) for n, f in FACTORIES.items() for p in inspect.signature(f).parameters.values()
           if p.name not in ("key", "mask", "weight_decay_mask", "step_size_fn", "patience", "cooldown", "accumulation_size")
           and not p.name.endswith("dtype") and not isinstance(p.default, bool)]  # fmt: skip


@pytest.mark.parametrize(("name", "setting"), NUMBERS)
def test_a_boolean_text_or_array_is_no_number(name, setting):
    for wrong in (True, np.bool_(False), "0.5", np.full(1, 0.5), jnp.full(2, 0.5)):
        with pytest.raises(TypeError, match=rf"^{name}: (\w+: )*\w+ must be a number in "):
            make(name, **{setting: wrong})


SCHEDULED = [(n, s) for n, f in FACTORIES.items() for s in ("learning_rate", "weight_decay", "step_size_fn")
             if s in inspect.signature(f).parameters]  # fmt: skip


@pytest.mark.parametrize(("name", "setting"), SCHEDULED)
def test_a_schedule_that_returns_no_scalar_raises(name, setting):
    def step(made, params):
        return made.update(params, made.init(params), params, **EXTRAS)

    for wrong, error, words in (
        (lambda _: jnp.ones(3), ValueError, r"must be a scalar, got shape \(3,\)"),
        (lambda _: None, TypeError, "must be a real number, got None"),
        (lambda _: "0.1", TypeError, "must be a real number, got '0.1'"),
        (lambda _: 1j, TypeError, "must be a real number, got 1j"),
    ):
        with pytest.raises(error, match=rf"^{name}: .*{setting}(\(count\))? {words}.* A schedule returns one number"):
            jax.eval_shape(functools.partial(step, make(name, **{setting: wrong})), jnp.ones(3))


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
    assert len(doc.splitlines()[0]) <= 79
    for argument in inspect.signature(FACTORIES[name]).parameters:
        assert f"{argument}:" in doc or f"{argument}," in doc, argument

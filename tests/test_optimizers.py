# SPDX-License-Identifier: Apache-2.0
"""Recipes: optax's signatures and numbers, and the textbook's variants."""

import inspect
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support import DTYPES, assert_trees_close, gradients, nested_tree, run
from transcription import relative_difference, transcribed

from jopt import optimizers as recipes
from jopt.combinators import chain
from jopt.transforms.adam import scale_by_adam
from jopt.transforms.elementary import scale_by_learning_rate


def schedule(t):
    return 0.1 / (1.0 + t)


def mask(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


SHARED = ["sgd", "adagrad", "rmsprop", "adam", "adamw", "nadam", "nadamw", "amsgrad", "adamax", "adadelta", "lion"]
ALL = [*SHARED, "momentum", "nesterov"]

ADAM_OPTIONS = [{"b1": 0.5}, {"b2": 0.5}, {"eps": 0.1}, {"eps_root": 0.1}]
DECAY_OPTIONS = [{"weight_decay": 0.1}, {"mask": mask}]
OPTIONS = {
    "sgd": [{"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}],
    "adagrad": [{"initial_accumulator_value": 1.0}, {"eps": 0.1}],
    "rmsprop": [
        *({"decay": 0.5}, {"eps": 0.1}, {"initial_scale": 0.5}, {"centered": True}, {"bias_correction": True}),
        *({"eps_in_sqrt": False, "eps": 0.1}, {"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}),
        {"centered": True, "momentum": 0.5, "eps": 0.1, "initial_scale": 0.5, "bias_correction": True},
    ],
    "adam": [*ADAM_OPTIONS, {"nesterov": True}],
    "nadam": [*ADAM_OPTIONS, {"nesterov": False}],
    "adamw": [*ADAM_OPTIONS, *DECAY_OPTIONS, {"nesterov": True}],
    "nadamw": [*ADAM_OPTIONS, *DECAY_OPTIONS, {"nesterov": False}],
    "amsgrad": [*ADAM_OPTIONS, {"bias_correction_mu": False}, {"bias_correction_nu": False}],
    "adamax": [{"b1": 0.5}, {"b2": 0.5}, {"eps": 0.1}],
    "adadelta": [{"rho": 0.5}, {"eps": 0.1}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "weight_decay_mask": mask}],
    "lion": [{"b1": 0.5}, {"b2": 0.5}, *DECAY_OPTIONS],
}
DTYPE_ARGUMENTS = ("accumulator_dtype", "mu_dtype", "nu_dtype")
STORED = [
    (name, a) for name in SHARED for a in DTYPE_ARGUMENTS if a in inspect.signature(getattr(recipes, name)).parameters
]


def make(name, library=recipes, rate=0.01, **options):
    return getattr(library, name)(rate, **options)


@pytest.mark.parametrize("name", SHARED)
def test_signature_starts_with_optaxs(name):
    theirs = list(inspect.signature(getattr(optax, name)).parameters.values())
    ours = list(inspect.signature(getattr(recipes, name)).parameters.values())
    positional = [p for p in theirs if p.kind is p.POSITIONAL_OR_KEYWORD]
    described = [(p.name, p.default, p.kind) for p in ours]
    assert described[: len(positional)] == [(p.name, p.default, p.kind) for p in positional]
    rest = described[len(positional) :]
    assert [(p.name, p.default, p.kind) for p in theirs[len(positional) :]] == rest[: len(theirs) - len(positional)]
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, _, kind in rest)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHARED)
def test_agrees_with_optax_by_default(name, dtype):
    grads, params = gradients(dtype), nested_tree(dtype)
    assert_trees_close(run(make(name), grads, params)[0], run(make(name, optax), grads, params)[0])


@pytest.mark.parametrize(("name", "options"), [(name, options) for name in SHARED for options in OPTIONS[name]])
def test_agrees_with_optax_at_every_option_and_each_matters(name, options):
    grads, params = gradients(jnp.float64, 30 if name == "lion" else 10), nested_tree(jnp.float64)
    updates, _ = run(make(name, **options), grads, params)
    assert_trees_close(updates, run(make(name, optax, **options), grads, params)[0])
    for left_out in options:
        others = {key: value for key, value in options.items() if key != left_out}
        if not (left_out == "momentum" and "nesterov" in others):  # which says nothing without momentum
            assert relative_difference(updates, run(make(name, **others), grads, params)[0]) > 1e-5


@pytest.mark.parametrize(("name", "argument"), STORED)
def test_moments_are_stored_in_the_dtype_asked_for(name, argument):
    options = {"momentum": 0.5} if name == "sgd" else {}
    params = nested_tree(jnp.float32)
    state = make(name, **{argument: "bfloat16"}, **options).init(params)[0]
    field = {"accumulator_dtype": "trace", "mu_dtype": "mu", "nu_dtype": "nu"}[argument]
    assert {x.dtype for x in jax.tree.leaves(getattr(state, field))} == {jnp.dtype("bfloat16")}
    default = make(name, **options).init(params)[0]
    assert {x.dtype for x in jax.tree.leaves(getattr(default, field))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(("name", "nesterov"), [("momentum", False), ("nesterov", True)])
def test_momentum_recipes_are_sgd_with_momentum(name, nesterov):
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    for options, decay in (({}, 0.9), ({"decay": 0.5}, 0.5)):
        theirs = optax.sgd(0.01, momentum=decay, nesterov=nesterov)
        assert_trees_close(run(make(name, **options), grads, params)[0], run(theirs, grads, params)[0])
    stored = make(name, accumulator_dtype="bfloat16").init(params)[0].trace
    assert {x.dtype for x in jax.tree.leaves(stored)} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("name", ALL)
def test_rate_may_be_a_schedule_and_stands_in_the_state(name):
    grads, params = gradients(jnp.float32, 4), nested_tree(jnp.float32)
    updates, state = run(make(name, rate=schedule), grads, params)
    if name in SHARED:
        assert_trees_close(updates, run(make(name, optax, rate=schedule), grads, params)[0])
    rates = [
        x for path, x in jax.tree_util.tree_leaves_with_path(state) if "learning_rate" in jax.tree_util.keystr(path)
    ]
    np.testing.assert_allclose(rates, [schedule(3)], rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_added_updates_descend(name):
    params = jax.tree.map(jnp.asarray, {"x": np.asarray([2.0, -3.0], np.float32)})
    optimizer = make(name) if name != "adadelta" else recipes.adadelta()
    (update,), _ = run(optimizer, [params], params)
    after = optax.apply_updates(params, update)
    assert jnp.all(jnp.abs(after["x"]) < jnp.abs(params["x"]))
    assert after["x"].dtype == jnp.float32


def test_adadelta_without_a_rate_has_rate_one():
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    assert_trees_close(run(recipes.adadelta(), grads, params)[0], run(optax.adadelta(1.0), grads, params)[0])


@pytest.mark.parametrize("name", ALL)
def test_bad_rate_raises(name):
    for rate in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="learning_rate must be in"):
            make(name, rate=rate)


@pytest.mark.parametrize("name", ALL)
def test_recipe_knows_its_name_and_flattens_into_a_chain(name):
    optimizer = make(name)
    assert repr(optimizer).startswith(f"{name}(learning_rate=0.01")
    assert len(chain(optimizer, scale_by_learning_rate(1.0)).stages) == len(optimizer.stages) + 1


def lecture_rmsprop(gs, momentum, nesterov, e=0.01, rho=0.99, nu=1e-6):
    """RMSProp with momentum as the lecture notes write it, and its Nesterov form in the shifted variable."""
    a = v = 0.0
    for g in gs:
        a = rho * a + (1 - rho) * g * g
        step = -e * g / np.sqrt(a + nu)
        v = momentum * v + step
        yield momentum * v + step if nesterov else v


@pytest.mark.parametrize("nesterov", [False, True])
def test_textbook_rmsprop_with_momentum(nesterov):
    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    ours = recipes.rmsprop(0.01, decay=0.99, eps=1e-6, momentum=0.5, nesterov=nesterov)
    expected = transcribed(lecture_rmsprop, grads, momentum=0.5, nesterov=nesterov)
    assert_trees_close(run(ours, grads, params)[0], expected)


def test_textbook_adam_without_bias_correction_and_eps_inside():
    def formula(gs, e=0.01, b=0.9, c=0.999, nu=1e-6):
        v = s = 0.0
        for g in gs:
            v, s = b * v + (1 - b) * g, c * s + (1 - c) * g * g
            yield -e * v / np.sqrt(s + nu)

    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    ours = chain(scale_by_adam(eps=0.0, eps_root=1e-6, bias_correction=False), scale_by_learning_rate(0.01))
    assert_trees_close(run(ours, grads, params)[0], transcribed(formula, grads))


def test_textbook_adagrad():
    def formula(gs, alpha=0.01, eps=1e-8):
        s = 0.0
        for g in gs:
            s = s + g * g
            yield -alpha * g / np.sqrt(s + eps)

    grads, params = gradients(jnp.float64), nested_tree(jnp.float64)
    ours = recipes.adagrad(0.01, initial_accumulator_value=0.0, eps=1e-8)
    assert_trees_close(run(ours, grads, params)[0], transcribed(formula, grads))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: recipes.sgd(0.1, momentum=2.0), ValueError, r"sgd: trace: decay must be in \[0, 1\), got 2"),
        (lambda: recipes.adamw(0.1, b1=-1), ValueError, r"adamw: scale_by_adam: b1 must be in \[0, 1\), got -1"),
        (lambda: recipes.nadam(0.1, b1=-1), ValueError, "nadam: adam: scale_by_adam: b1 must be in"),
        (
            lambda: recipes.adadelta(weight_decay_mask={"x": 3}),
            TypeError,
            r"adadelta: add_decayed_weights: mask\['x'\] must be True or False, got 3",
        ),
        (lambda: recipes.sgd(0.1, accumulator_dtype="x"), TypeError, "sgd: accumulator_dtype must be None or a float"),
        (lambda: recipes.adamw(0.1, mask=3), TypeError, "adamw: add_decayed_weights: mask must be True or False"),
    ],
)
def test_an_error_names_the_recipe_and_the_stage(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()


def test_an_error_of_an_update_names_the_recipe_and_the_stage():
    made, g = recipes.adamw(0.1), jnp.ones(2)
    with pytest.raises(ValueError, match=r"^adamw: add_decayed_weights: update needs params, got None"):
        made.update(g, made.init(g))


def test_the_errors_of_others_stay_as_they_are():
    def schedule_with_a_fault(_):
        msg = "no rate today"
        raise ValueError(msg)

    with pytest.raises(ValueError, match=r"^no rate today$"):
        recipes.sgd(schedule_with_a_fault).init(jnp.ones(2))
    with pytest.raises(TypeError, match="unexpected keyword argument 'no'"):
        recipes.sgd(0.1, no=1)


WITHOUT_X64 = """
import warnings
warnings.simplefilter("error")
import jax, numpy as np, optax, jopt

def value_fn(p):
    return (p["x"] - 1.0) ** 2 + ((p["y"] + 1.0) ** 2).sum()

params = {"x": 0.5, "y": np.linspace(0.0, 1.0, 3)}
grads = {"x": -1.0, "y": np.ones(3)}
made = [getattr(jopt, name)(0.1) for name in "sgd rmsprop adamw lion adadelta".split()]
made += [jopt.clip(0.5), jopt.clip_by_global_norm(np.float64(0.5)), jopt.shifted_momentum(np.float64(0.1))]
made += [jopt.scale_by_lbfgs(), jopt.chain(optax.scale(-0.1), jopt.reduce_on_plateau())]
for t in made:
    state, x = t.init(params), params
    for _ in range(2):
        updates, state = t.update(grads, state, x, value=np.float64(1.0), value_fn=value_fn)
        x = optax.apply_updates(x, updates)
    assert {a.dtype.name for a in jax.tree.leaves((updates, x))} == {"float32"}, t
    kept = {a.dtype.name for a in jax.tree.leaves(state) if not jax.numpy.issubdtype(a.dtype, jax.dtypes.extended)}
    assert kept <= {"float32", "int32", "bool"}, (t, kept)
result = jopt.minimize(value_fn, params)
assert result.success and result.x["y"].dtype == "float32", result
print("done")
"""


@pytest.mark.slow
def test_numpy_float64_and_python_floats_are_float32_without_a_warning_where_x64_is_off():
    environment = {key: value for key, value in os.environ.items() if key != "JAX_ENABLE_X64"}
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_X64], capture_output=True, text=True, check=False, env=environment
    )
    assert ran.stdout == "done\n", ran.stderr

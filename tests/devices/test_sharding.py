# SPDX-License-Identifier: Apache-2.0
"""Arrays of the size of a spread parameter stay spread, in every transformation and solver.

A program may hand over scalars and small tables. Methods that form a matrix need the whole vector: they are declared
here, and gather it.
"""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from layouts import (
    KINDS,
    MESHES,
    collectives,
    large_collectives,
    make_mesh,
    misplaced,
    spread_over,
    tree_on,
    use_mesh,
    whole_on,
)
from test_conformance import FACTORIES, make

import jopt
from jopt import tree
from jopt.linalg import lanczos, probes
from jopt.linalg.limited_memory import two_loop
from jopt.solvers.methods import METHODS

slow = pytest.mark.slow

# JAX 0.7 has no rule for writing an entry of an array on a mesh with explicit axes, and says so.
WRITES_ENTRIES = {"aux, history", "scale_by_lbfgs, two loops", "scale_by_newton_cg, lbfgs"}


def skip_what_jax_cannot_do(name, kind):
    if name in WRITES_ENTRIES and kind == "explicit" and jax.__version_info__ < (0, 8):
        pytest.skip("this JAX cannot write an entry of an array on explicit axes")


# An n x n matrix, or its eigenvectors, in the order of the raveled tree: each device makes all of it.
DENSE_TRANSFORMATIONS = {"scale_by_bfgs", "scale_by_dfp", "scale_by_newton", "scale_by_sr1"}
DENSE_METHODS = {"bfgs", "dfp", "dogleg", "newton", "trust-exact"}

CURVED = {
    "scale_by_gauss_newton_cg": jopt.scale_by_gauss_newton_cg,
    "scale_by_lbfgs": jopt.scale_by_lbfgs,
    "scale_by_lbfgs, two loops": functools.partial(jopt.scale_by_lbfgs, product=two_loop),
    "scale_by_lbfgs, in bfloat16": functools.partial(jopt.scale_by_lbfgs, history_dtype=jnp.bfloat16),
    "scale_by_line_search": functools.partial(jopt.scale_by_line_search, jopt.linesearch.strong_wolfe()),
    "scale_by_newton_cg": jopt.scale_by_newton_cg,
    "scale_by_newton_cg, hutchinson": functools.partial(jopt.scale_by_newton_cg, preconditioner="hutchinson"),
    "scale_by_newton_cg, jacobi": functools.partial(jopt.scale_by_newton_cg, preconditioner="jacobi"),
    "scale_by_newton_cg, lbfgs": functools.partial(jopt.scale_by_newton_cg, preconditioner="lbfgs"),
    "scale_by_nonlinear_cg": jopt.scale_by_nonlinear_cg,
}

LAYOUTS = [(mesh, kind) for mesh in MESHES for kind in KINDS]


def value(params):
    w, b = params["w"], params["b"]
    return jnp.sum((w - 1) ** 2 * (1 + 0.1 * w**2)) + jnp.sum(jnp.square(b)) + jnp.sum(b) * jnp.mean(w)


def residual(params):
    return {"a": params["w"] ** 2 - 2, "b": 3 * params["b"]}


def twice(v):
    return tree.scale(2, v)


def update_all(made, states, params):
    """Return the updates of many transformations and their states, each named in the program after its transformation."""
    answers = {}
    for name, transformation in made.items():
        with jax.named_scope(name.replace(" ", "_").replace(",", "")):
            extra = {"value": value(params), "grad": params, "value_fn": value, "hvp": twice, "gnvp": twice}
            answers[name] = transformation.update(params, states[name], params, **extra)
    return answers


def check_layout(text, out, shardings, params):
    """Assert that a program hands over nothing large, and that what comes out of it lies where the parameters do."""
    assert not large_collectives(text, params)
    assert not misplaced(out, params, shardings)


def check_transformations(made, params):
    states = {name: transformation.init(params) for name, transformation in made.items()}
    assert not misplaced(states, params)
    program = jax.jit(functools.partial(update_all, made))
    lowered = program.lower(states, params)
    compiled = lowered.compile()
    check_layout(compiled.as_text(), lowered.out_info, compiled.output_shardings, params)


def test_every_transformation_and_method_is_declared_here():
    curved = {name.split(",")[0] for name in CURVED} | DENSE_TRANSFORMATIONS
    assert {name for name in dir(jopt) if name.startswith("scale_by_")} <= curved | set(FACTORIES)
    assert set(METHODS) >= DENSE_METHODS


def test_a_gather_and_a_copy_on_every_device_are_seen():
    params = tree_on("two axes", "auto")
    gather = jax.jit(lambda p: p["w"], out_shardings=whole_on(make_mesh("two axes", "auto"))).lower(params).compile()
    assert large_collectives(gather.as_text(), params)
    copy = {"mu": params["w"], "nu": gather(params)[None]}
    assert [path for path, _ in misplaced(copy, params)] == ["['nu']"]


@pytest.mark.parametrize(
    ("mesh", "kind"),
    [pytest.param(*layout, marks=() if layout == ("two axes", "auto") else slow) for layout in LAYOUTS],
)
def test_first_order_transformations_and_recipes_keep_the_layout_and_gather_nothing(mesh, kind):
    check_transformations({name: make(name) for name in FACTORIES}, tree_on(mesh, kind))


@pytest.mark.parametrize(
    "names",
    [
        ["scale_by_lbfgs", "scale_by_nonlinear_cg"],
        pytest.param([name for name in CURVED if name not in WRITES_ENTRIES and "jacobi" not in name], marks=slow),
        pytest.param(sorted(WRITES_ENTRIES & set(CURVED)), marks=slow),
        # Its loop over unit vectors holds a vector of all entries, cut into leaves; none is handed over.
        pytest.param(["scale_by_newton_cg, jacobi"], marks=slow),
    ],
    ids=["pairs", "others", "loops over pairs", "jacobi"],
)
@pytest.mark.parametrize("kind", ["auto", pytest.param("explicit", marks=slow)])
def test_directions_keep_the_layout_and_gather_nothing(names, kind):
    skip_what_jax_cannot_do(names[0], kind)
    check_transformations({name: CURVED[name]() for name in names}, tree_on("two axes", kind))


def solve_by(method, params):
    if method in ("lm", "gauss-newton"):
        return jopt.least_squares(residual, params, method=method, maxiter=5)
    if method == "escape":
        return jopt.minimize(value, params, maxiter=5, second_order="escape")
    if method == "aux, history":
        return jopt.minimize(
            lambda p: (value(p), residual(p)), params, method="lbfgs", maxiter=5, has_aux=True, history=True
        )
    if method in BOUNDED:
        return jopt.minimize(value, params, method=BOUNDED[method], maxiter=5, bounds=(-1.0, 0.25))
    return jopt.minimize(value, params, method=method, maxiter=5)


@functools.cache
def compile_solve(method, mesh, kind, within=False, large=True):
    """Return the program of a solve: its text, what comes out, and how that is laid out."""
    params = tree_on(mesh, kind, large)
    with use_mesh(make_mesh(mesh, kind)) if within else contextlib.nullcontext():
        lowered = jax.jit(functools.partial(solve_by, method)).lower(params)
        compiled = lowered.compile()
    return compiled.as_text(), lowered.out_info, compiled.output_shardings


# With a memory whose tables are smaller than a part of the parameters.
BOUNDED = {"lbfgs, bounds": jopt.lbfgs(3), "newton-cg, bounds": "newton-cg", "trust-ncg, bounds": "trust-ncg"}
# L-BFGS and trust-ncg on one axis are seen in test_direction_hlo.py, among the tests that always run.
SOLVES = [*sorted(set(METHODS) - DENSE_METHODS), jopt.adam(0.1), jopt.sgd(0.1, momentum=0.9), "lm", "gauss-newton"]


@slow
@pytest.mark.parametrize(
    ("method", "mesh", "kind"),
    [
        (method, *layout)
        for i, method in enumerate([*SOLVES, "escape", "aux, history"])
        for layout in (LAYOUTS[i % 2], LAYOUTS[2 + (i + 1) % 2])
    ]
    + [(method, *layout) for method, layout in zip(BOUNDED, LAYOUTS, strict=False)],
    ids=str,
)
def test_solvers_keep_the_layout_and_gather_nothing(method, mesh, kind):
    skip_what_jax_cannot_do(method if isinstance(method, str) else "", kind)
    params = tree_on(mesh, kind)
    text, out, shardings = compile_solve(method, mesh, kind)
    check_layout(text, out, shardings, params)


@slow
@pytest.mark.parametrize("method", ["trust-ncg", "lm", "aux, history", "escape"])
def test_a_mesh_in_force_changes_nothing(method):
    skip_what_jax_cannot_do(method, "explicit")
    params = tree_on("one axis", "explicit")
    text, out, shardings = compile_solve(method, "one axis", "explicit", within=True)
    check_layout(text, out, shardings, params)


@slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", sorted(DENSE_METHODS))
def test_dense_methods_gather_and_return_the_parameters_as_they_were_laid_out(method, kind):
    params = tree_on("two axes", kind, large=False)
    text, out, shardings = compile_solve(method, "two axes", kind, large=False)
    assert large_collectives(text, params), "no longer a dense method"
    assert not misplaced((out.x, out.jac), params, (shardings.x, shardings.jac))


# The parts that explicit axes need -----------------------------------------------------------------------------------


def test_a_spread_tree_is_one_whole_vector_and_comes_back_as_it_was_laid_out():
    for kind in KINDS:
        params = tree_on("two axes", kind)
        vector, back = tree.ravel(params)
        np.testing.assert_array_equal(vector, np.concatenate([np.ones(3), np.full(64 * 16, 0.3)]))
        again = back(2 * vector)
        np.testing.assert_array_equal(again["w"], 2 * np.asarray(params["w"]))
        if kind == "explicit":  # else the layout is the compiler's
            assert vector.sharding.is_fully_replicated
            assert not misplaced(again, params)


def test_a_constant_beside_spread_leaves_is_of_their_mesh():
    constant = jnp.zeros(2)
    assert tree.beside(constant, jnp.ones(3)) is constant
    assert tree.beside(constant, tree_on("two axes", "auto")) is constant
    beside = tree.beside(constant, tree_on("two axes", "explicit"))
    assert jax.typeof(beside).sharding.mesh == jax.typeof(tree_on("two axes", "explicit")["w"]).sharding.mesh
    assert beside.sharding.is_fully_replicated


@slow
def test_a_random_start_for_lanczos_lies_where_the_parameters_do():
    params = tree_on("one axis", "explicit")

    def reduce_hessian(x):
        return lanczos(lambda v: jax.tree.map(jnp.multiply, x, v), probes.normal(jax.random.key(0), x), steps=2)

    form = jax.jit(reduce_hessian)(params)
    assert not misplaced(form.basis, params)
    assert 0.3 <= form.diagonal[0] <= 1  # a mean of the eigenvalues, which are the entries of params


# Data spread over a mesh ---------------------------------------------------------------------------------------------


def logistic(params, features, labels):
    margins = labels * (features @ params["w"] + params["b"])
    return jnp.mean(jnp.logaddexp(0, -margins)) + 0.01 * jnp.sum(params["w"] ** 2)


def misfit(params, features, labels):
    return jnp.tanh(features @ params["w"] + params["b"]) - labels


def solve_data(method, params, *data):
    if method == "least squares":
        return jopt.least_squares(misfit, params, data, maxiter=6)
    return jopt.minimize(logistic, params, data, method=method, maxiter=6)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("lbfgs", marks=slow),
        pytest.param("trust-ncg", marks=slow),
        pytest.param("newton-cg", marks=slow),
        pytest.param(jopt.adam(0.1), id="adam"),
        pytest.param("least squares", marks=slow),
    ],
)
def test_data_spread_over_a_mesh_give_the_answer_of_one_device(method):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((64, 5))
    data = features, np.sign(features @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) + rng.standard_normal(64))
    params = {"w": np.zeros(5), "b": np.zeros(())}
    mesh = make_mesh("one axis", "auto", devices=4)
    spread = jax.device_put(data, spread_over(mesh))
    assert {len(x.sharding.device_set) for x in spread} == {4}
    here = solve_data(method, params, *data)
    there = solve_data(method, jax.device_put(params, whole_on(mesh)), *spread)
    for name in ("nit", "nfev", "nhev", "status"):
        assert int(getattr(here, name)) == int(getattr(there, name)), name
    assert int(here.nit) == 6  # on the way, where a wrong sum would show, and not at the end, where all ways meet
    for a, b in zip(
        jax.tree.leaves((here.x, here.jac, here.fun)), jax.tree.leaves((there.x, there.jac, there.fun)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(there.x))


# Problems spread over a mesh ------------------------------------------------------------------------------------------


def bowl(x, rate):
    return jnp.sum(rate * x**2) / 2


def test_side_by_side_problems_stay_spread_and_wait_for_one_another_with_one_flag():
    mesh = make_mesh("one axis", "auto")
    batch = jax.device_put((jnp.ones((16, 2)), jnp.linspace(1.0, 5.0, 16)), spread_over(mesh))
    solve = jax.jit(jax.vmap(lambda x, rate: jopt.minimize(bowl, x, (rate,), jopt.sgd(0.1))))
    program = solve.lower(*batch).compile()
    assert [(kind, size) for kind, size, _ in collectives(program.as_text())] == [("all-reduce", 1)]
    found = program(*batch)
    assert found.x.sharding.is_equivalent_to(batch[0].sharding, 2)
    assert len(set(map(int, found.nit))) > 5


@slow
def test_each_device_refills_the_lanes_of_its_own_problems():
    mesh = make_mesh("one axis", "auto")
    batch = jax.device_put((jnp.ones((16, 2)), jnp.linspace(1.0, 5.0, 16)), spread_over(mesh))

    def solve(x, rate):
        return jopt.minimize_batch(bowl, x, (rate,), jopt.sgd(0.1), lanes=1)

    parts = PartitionSpec("x")
    local = jax.jit(jax.shard_map(solve, mesh=mesh, in_specs=parts, out_specs=parts, check_vma=False))
    program = local.lower(*batch).compile()
    assert collectives(program.as_text()) == []
    found, here = program(*batch), solve(*jax.device_get(batch))
    np.testing.assert_array_equal(found.nit, here.nit)
    np.testing.assert_allclose(found.x, here.x, rtol=1e-12)
    assert found.x.sharding.is_equivalent_to(batch[0].sharding, 2)

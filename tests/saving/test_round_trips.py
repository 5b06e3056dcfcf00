# SPDX-License-Identifier: Apache-2.0
"""A solve stopped after any trip, saved, and taken up by a new process gives the bits of the unbroken one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from saving_cases import CHAINS, SOLVERS, SOLVES, STOPS, bits, rosenbrock, solve, start, template

import jopt
from jopt.solvers.methods import METHODS

ocp = pytest.importorskip("orbax.checkpoint")

WORKER = Path(__file__).with_name("saving_worker.py")
SECONDS = 500  # for one process to import, compile and solve on a busy machine
QUICK = ["gradient-descent", "noise"]
GROUPS = {
    "methods": list(METHODS),
    "other solvers": [name for name in SOLVES if name not in {*METHODS, *CHAINS}],
    "chains": list(CHAINS),
}


def take_up_elsewhere(folder, cases):
    """Return what a new process says of solves that it took up where this one left them."""
    with ocp.StandardCheckpointer() as checkpointer:
        for index, case in enumerate(cases):
            checkpointer.save(folder / str(index), [solve(case, trips).state for trips in STOPS])
    command = [sys.executable, str(WORKER), str(folder), *cases]
    environment = {name: x for name, x in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "said.json").read_text())


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(QUICK, id="quick"),
        *(pytest.param(cases, id=name, marks=pytest.mark.slow) for name, cases in GROUPS.items()),
    ],
)
def test_a_new_process_goes_on_from_any_trip_with_the_bits_of_the_unbroken_solve(cases, tmp_path):
    said = take_up_elsewhere(tmp_path, cases)
    for case in cases:
        unbroken = solve(case)
        assert int(unbroken.nfev) > 1, case
        for trips, result in zip(STOPS, said[case], strict=True):
            assert result == bits(unbroken), (case, trips)


def test_the_groups_hold_every_solve_once():
    assert sorted(name for cases in GROUPS.values() for name in cases) == sorted(SOLVES)
    assert set(SOLVERS) <= set(GROUPS["other solvers"])


def test_the_stops_lie_within_searches_as_well_as_between_them():
    accepted = [int(solve("gradient-descent", trips).nit) for trips in STOPS]
    assert len(set(accepted)) < len(STOPS)
    assert len(set(accepted)) > 2


# The way without orbax that docs/saving.md shows.


def as_array(leaf):
    typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if typed else leaf)


def as_leaf(array, like):
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(array)
    return array.view(like.dtype)


@pytest.mark.parametrize("name", ["noise", "adam in bfloat16"])
def test_plain_numpy_files_keep_random_keys_and_bfloat16(name, tmp_path):
    state = CHAINS[name]().init(start())
    like = jax.eval_shape(CHAINS[name]().init, start())
    np.savez(tmp_path / "state.npz", *map(as_array, jax.tree.leaves(state)))
    with np.load(tmp_path / "state.npz") as saved:
        leaves = [as_leaf(*pair) for pair in zip(saved.values(), jax.tree.leaves(like), strict=True)]
    assert bits(jax.tree.unflatten(jax.tree.structure(like), leaves)) == bits(state)


def test_orbax_keeps_every_leaf_as_it_is(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        state = jopt.adam(1e-2).init({"w": jnp.ones(3, jnp.float16), "none": None})
        restored = saved_and_restored(checkpointer, tmp_path / "state", state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert bits(restored) == bits(state)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(restored))


def saved_and_restored(checkpointer, path, tree):
    checkpointer.save(path, tree)
    checkpointer.wait_until_finished()
    return checkpointer.restore(path, jax.eval_shape(lambda: tree))


def test_empty_parameters_are_saved_the_way_that_the_documentation_shows(tmp_path):
    state = jopt.adam(1e-2).init({"w": jnp.ones(0), "v": jnp.ones(2)})
    like = jax.eval_shape(lambda: state)
    with ocp.StandardCheckpointer() as checkpointer:
        with pytest.raises(
            ValueError, match="zero size"
        ):  # orbax; with a version that saves it, docs/saving.md can say less
            checkpointer.save(tmp_path / "empty", state)
        full = jax.tree.map(lambda leaf: leaf if leaf.size else None, state)
        restored = saved_and_restored(checkpointer, tmp_path / "full", full)
    filled = jax.tree.map(lambda x, leaf: jnp.zeros(x.shape, x.dtype) if leaf is None else leaf, like, restored)
    assert jax.tree.structure(filled) == jax.tree.structure(state)
    assert bits(filled) == bits(state)


def test_orbax_keeps_the_layout_over_devices_and_takes_another_from_the_template(tmp_path):
    mesh = Mesh(np.array(jax.devices()), ("x",))
    spread, whole = NamedSharding(mesh, PartitionSpec("x")), NamedSharding(mesh, PartitionSpec())
    optimizer, params = jopt.adam(1e-2), jax.device_put(jnp.ones(16), spread)
    state, like = optimizer.init(params), jax.eval_shape(optimizer.init, params)
    with ocp.StandardCheckpointer() as checkpointer:
        restored = saved_and_restored(checkpointer, tmp_path / "state", state)
        anew = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), like)
        moved = checkpointer.restore(tmp_path / "state", anew)
    assert restored[0].mu.sharding == state[0].mu.sharding == spread
    assert moved[0].mu.sharding == whole
    assert bits(restored) == bits(moved) == bits(state)


def test_a_state_of_other_shapes_is_refused_by_name(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), template("adam"))
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        state = checkpointer.restore(tmp_path / "state", template("adam"))
    with pytest.raises(ValueError, match="minimize: resume must be a tree like a state of this solve"):
        jopt.minimize(rosenbrock, start(), (2.0,), jopt.sgd(1e-3), resume=state)

# SPDX-License-Identifier: Apache-2.0
"""Every solver and every transformation keeps the dtypes it is given, whatever precision JAX allows, and widens nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dtype_matrix as matrix
import jax
import jax.numpy as jnp
import optax
import pytest

import jopt

SECONDS = 600  # for the worker to trace the whole matrix on a busy machine
NAMES = [f"{kind} {name}" for kind, (table, _) in matrix.LOOKS.items() for name in table]


@pytest.mark.parametrize("label", NAMES)
def test_dtypes_come_back_as_they_went_in(label):
    kind, name = label.split(" ", 1)
    look = matrix.LOOKS[kind][1]
    for dtypes in matrix.NARROW + matrix.WIDE:
        assert look(name, dtypes) == []


@pytest.fixture(scope="module")
def without_x64():
    """Return what a process with 64-bit types off finds wrong, by name."""
    environment = {name: x for name, x in os.environ.items() if name != "JAX_ENABLE_X64"} | {"JAX_PLATFORMS": "cpu"}
    worker = Path(matrix.__file__)
    ran = subprocess.run(
        [sys.executable, str(worker)], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_dtypes_come_back_as_they_went_in_with_64_bit_types_off(without_x64):
    assert set(without_x64) == set(NAMES)
    assert {name: wrong for name, wrong in without_x64.items() if wrong} == {}


def careless(fault):
    """Return a transformation that does one of the things that the matrix is there to find."""

    def init(params):
        del params
        return jnp.asarray(0.5) if fault == "weak" else jnp.zeros((), jnp.float32)

    def update(updates, state, params=None, **extra):
        del params, extra
        change = {
            "widened": lambda g: (g.astype("float64") / 3).astype(g.dtype),
            "updates": lambda g: g.astype("float32"),
            "promoted": lambda g: g * jnp.ones(g.shape, "int32"),
        }.get(fault, lambda g: g)
        return jax.tree.map(change, updates), state.astype("float64") if fault == "state" else state

    return optax.GradientTransformationExtraArgs(init, update)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("widened", r"['float64'] in the program"),
        ("updates", "updates: "),
        ("state", "state: "),
        ("weak", "weakly typed state"),
        ("promoted", "TypePromotionError"),
    ],
)
def test_the_matrix_sees_what_is_wrong(fault, words, monkeypatch):
    monkeypatch.setattr(matrix, "LOOKS", {"transformation": ({"careless": None}, matrix.look_at_transformation)})
    monkeypatch.setitem(matrix.TRANSFORMATIONS, "careless", lambda: careless(fault))
    (wrong,) = matrix.report([("float16", "float16")]).values()
    assert any(words in line for line in wrong)


def test_the_matrix_sees_what_is_wrong_within_the_loop_of_a_solve(monkeypatch):
    monkeypatch.setitem(matrix.SOLVERS, "careless", lambda: jopt.chain(careless("widened"), jopt.scale(-0.1)))
    assert any(
        "['float64'] in the program" in line for line in matrix.look_at_solver("careless", ("float16", "float16"))
    )

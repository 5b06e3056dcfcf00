# SPDX-License-Identifier: Apache-2.0
"""Meshes, a tree laid out on them, and what a compiled program says of its collectives."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MESHES = {"one axis": ((8,), ("x",)), "two axes": ((4, 2), ("x", "y"))}
KINDS = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
LARGE = {"w": (64, 16), "b": (3,)}
SMALL = {"w": (16, 2), "b": (3,)}

COLLECTIVE = re.compile(
    r"= (?P<result>.*?) (?P<kind>all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast)"
    r"(-start)?[(]"
)

# XLA from here on joins reductions that do not wait for one another into one.
JOINS_REDUCTIONS = tuple(int(part) for part in jax.__version__.split(".")[:2]) >= (0, 10)

use_mesh = getattr(jax.sharding, "use_mesh", None) or jax.sharding.set_mesh  # named anew after jax 0.7


@functools.cache
def make_mesh(name, kind, devices=8):
    shape, axes = MESHES[name]
    shape = shape if devices == 8 else (devices,)
    return Mesh(np.array(jax.devices()[:devices]).reshape(shape), axes, axis_types=(KINDS[kind],) * len(shape))


def spread_over(mesh):
    """Return the layout of a leaf whose first dimensions are spread over all axes of a mesh."""
    return NamedSharding(mesh, PartitionSpec(*mesh.axis_names))


def whole_on(mesh):
    return NamedSharding(mesh, PartitionSpec())


@functools.cache
def tree_on(name, kind, large=True):
    """Return a tree of which one leaf is spread over the devices of a mesh, and one is whole on each."""
    mesh, shapes = make_mesh(name, kind), LARGE if large else SMALL
    return {
        "w": jax.device_put(jnp.full(shapes["w"], 0.3), spread_over(mesh)),
        "b": jax.device_put(jnp.ones(shapes["b"]), whole_on(mesh)),
    }


def collectives(text):
    """Return (kind, largest result in entries, the line) of each collective of a compiled program."""
    found = []
    for line in text.splitlines():
        if match := COLLECTIVE.search(line):
            shapes = re.findall(r"\w+\[([\d,]*)\]", match["result"])
            sizes = [math.prod(int(n) for n in shape.split(",") if n) for shape in shapes]
            found.append((match["kind"], max(sizes), line.strip()))
    return found


def large_collectives(text, params):
    """Return the collectives that hand over as many entries as one device's part of the leaf w, or more."""
    part = params["w"].size // len(params["w"].sharding.device_set)
    return [line[:400] for _, size, line in collectives(text) if size >= part]


def count_reductions(text, where=""):
    """Return how many all-reduces a program has in operations whose name contains `where`."""
    kinds = [kind for kind, _, line in collectives(text) if where in line]
    assert set(kinds) <= {"all-reduce"}, kinds
    return len(kinds)


def misplaced(made, params, shardings=None):
    """Return the paths of the arrays in `made` that are shaped like stacks of the leaf w and not laid out like it."""
    w, wrong = params["w"], []
    shardings = jax.tree.map(lambda x: x.sharding, made) if shardings is None else shardings
    for (path, x), sharding in zip(jax.tree_util.tree_leaves_with_path(made), jax.tree.leaves(shardings), strict=True):
        ahead = len(x.shape) - w.ndim
        if ahead < 0 or tuple(x.shape[ahead:]) != w.shape:
            continue
        expected = NamedSharding(w.sharding.mesh, PartitionSpec(*[None] * ahead, *w.sharding.spec))
        if not sharding.is_equivalent_to(expected, len(x.shape)):
            wrong.append((jax.tree_util.keystr(path), sharding))
    return wrong

# SPDX-License-Identifier: Apache-2.0
"""Scalars in compiled programs: computed once, however many leaves read them, and carried together.

None of this changes a number by more than the rounding of a sum in another order. XLA fuses: each kernel computes anew what it reads if that seems cheap, and is compiled
with it; and a loop pays for each array that it carries. With many leaves both cost more than the work itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.custom_batching import custom_vmap

Tree = Any
T = TypeVar("T")

# From this number of leaves on, scalars that kernels of all leaves read are settled.
MANY_LEAVES = 3

# From this number of terms on, they are combined in a branch, which costs a CPU about a microsecond when it runs.
MANY_TERMS = 8


def combined(operation: Callable[[Any, Any], Any], terms: list[jax.Array], zero: jax.Array) -> jax.Array:
    """Return what an operation makes of `zero` and some terms, to the rounding of another order.

    On a CPU and of many terms it is the value of a branch, into which XLA cannot pull what the terms are made of: each
    leaf's reduction is then a kernel by itself, compiled once for all leaves of a shape, where otherwise some of them
    are compiled again in the kernel that adds them up, and that one again in each that reads the sum. Under `vmap`,
    where a branch is both branches and a choice, there is none.

    Args:
      operation: addition or a maximum; the same function at each call.
      terms: floating arrays of one shape.
      zero: what it makes of no terms, of their dtype; a scalar or of their shape.
    """
    if len(terms) < MANY_LEAVES or terms[0].size == 0 or not any(isinstance(x, Tracer) for x in terms):
        return functools.reduce(operation, terms, zero)
    if len(terms) < MANY_TERMS:
        return settled(functools.reduce(operation, terms, zero), _witness(terms[0]))
    return _traced_once(operation, zero, *terms)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _behind_a_branch(operation: Callable[[Any, Any], Any], zero: jax.Array, *terms: jax.Array) -> jax.Array:
    def combine(zero: jax.Array, *terms: jax.Array) -> jax.Array:
        return functools.reduce(operation, terms, zero)

    def branch(zero: jax.Array, *terms: jax.Array) -> jax.Array:
        # The second branch is the same in another order, or there would be none; it is taken where the first number of
        # all is not finite.
        return jax.lax.cond(
            _witness(terms[0]), combine, lambda zero, *terms: combine(zero, *reversed(terms)), zero, *terms
        )

    @custom_vmap
    def alone(zero: jax.Array, *terms: jax.Array) -> jax.Array:
        return jax.lax.platform_dependent(zero, *terms, cpu=branch, default=combine)

    @alone.def_vmap
    def of_lanes(size: int, is_own: Any, zero: jax.Array, *terms: jax.Array) -> tuple[jax.Array, bool]:
        axes = [0 if own else None for own in is_own]
        return jax.vmap(combine, axes, axis_size=size)(zero, *terms), True

    # Taken apart by `jax.grad` and without `jax.jit`, a branch would be compiled anew at each call.
    return (alone if any(isinstance(x, Tracer) for x in terms) else combine)(zero, *terms)


@_behind_a_branch.defjvp
def _derivative_without_a_branch(operation: Any, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    _, tangent = jax.jvp(lambda zero, *terms: functools.reduce(operation, terms, zero), primals, tangents)
    return _behind_a_branch(operation, *primals), tangent


# Totals of like terms are traced once a process.
_traced_once = jax.jit(_behind_a_branch, static_argnums=0, inline=True)


def _witness(x: jax.Array) -> jax.Array:
    return jnp.isfinite(x.ravel()[0])


def settled(a: T, witness: jax.Array) -> T:
    """Return scalars as they are (a subnormal one may become zero), computed once for all that read them.

    A compiler that fuses lets each kernel compute anew the scalars it reads: a chain of decisions then stands in the
    program as often as there are leaves to act on it, and is compiled as often. Divisions it does not repeat. So the
    scalars, packed, are divided by a one that it cannot know to be one. (`jax.lax.optimization_barrier` is gone
    before XLA fuses for a CPU.)

    Args:
      a: a tree of scalars and small floating arrays; random keys and arrays of other dtypes stay as they are.
      witness: a bool that is at hand, whatever its value: of it the one is made.

    Returns:
      The tree; outside a trace, where each number is computed once anyway, as it came.
    """
    if not any(isinstance(x, Tracer) for x in jax.tree.leaves(a)):
        return a
    pack, unpack = packing(a)
    vectors, rest = pack(a)
    arrays = [_through_one(x, witness) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in rest]
    return unpack(({carrier: _through_one(x, witness) for carrier, x in vectors.items()}, arrays))


def _through_one(vector: jax.Array, witness: jax.Array) -> jax.Array:
    """Return the vector, each entry divided by one."""
    one = 1 - jnp.minimum(witness.astype(vector.dtype), 0)
    return jax.lax.div(vector, jnp.broadcast_to(one, vector.shape))


def packing(example: Tree) -> tuple[Callable[[Tree], Any], Callable[[Any], Tree]]:
    """Return `pack` and `unpack` for trees like `example`.

    Scalars of one dtype travel as one vector.

    A loop pays for each array that it carries with a kernel or two a trip, however small the array is.
    """
    leaves, structure = jax.tree.flatten(example)
    carriers = [carrier_of(x) for x in leaves]

    def pack(a: Tree) -> tuple[dict[str, jax.Array], list[jax.Array]]:
        groups: dict[str, list[jax.Array]] = {}
        rest = []
        for x, carrier in zip(jax.tree.leaves(a), carriers, strict=True):
            if carrier is None:
                rest.append(x)
            else:
                groups.setdefault(carrier, []).append(x.astype(carrier))
        return {carrier: jnp.stack(xs) for carrier, xs in groups.items()}, rest

    def unpack(packed: tuple[dict[str, jax.Array], list[jax.Array]]) -> Tree:
        groups = {carrier: iter(range(xs.size)) for carrier, xs in packed[0].items()}
        rest = iter(packed[1])
        return structure.unflatten(
            next(rest) if carrier is None else packed[0][carrier][next(groups[carrier])].astype(x.dtype)
            for x, carrier in zip(leaves, carriers, strict=True)
        )

    return pack, unpack


def carrier_of(x: jax.Array) -> str | None:
    """Return the dtype of the vector in which a scalar travels, None for what travels by itself."""
    if x.shape != () or jnp.issubdtype(x.dtype, jax.dtypes.extended):
        return None
    return "int32" if x.dtype == jnp.bool_ else x.dtype.name


__all__ = ["carrier_of", "combined", "packing", "settled"]

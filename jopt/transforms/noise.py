# SPDX-License-Identifier: Apache-2.0
"""Annealed Gaussian noise: shake the gradients, less and less.

    u = g + z,   z ~ Normal(0, eta / (1 + t)^gamma) for every entry, independently;   t = updates so far, from 0

Each update splits the state's key into the next key and one key for each leaf, so that a stored state goes on with the
same noise, and no two leaves or steps share any.

Reference: Neelakantan et al. (2015), Adding gradient noise improves learning for very deep networks, equation 1,
arXiv:1511.06807; they take gamma = 0.55 and eta in {0.01, 0.3, 1.0}.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jopt import tree, validate
from jopt.transforms.checked import transformation
from jopt.types import Count, Params, Transformation, Updates


class AddNoiseState(NamedTuple):
    """State of `add_noise`.

    Attributes:
      count: updates so far, int32.
      key: random key of the next update.
    """

    count: Count
    key: jax.Array


def standard_deviation(eta: Any, gamma: Any, t: jax.Array, dtype: Any) -> jax.Array:
    """Return sqrt(eta / (1 + t)^gamma)."""
    return jnp.sqrt(jnp.asarray(eta).astype(dtype) / (1 + t.astype(dtype)) ** jnp.asarray(gamma).astype(dtype))


def normal_like(key: jax.Array, like: Updates) -> Updates:
    """Return independent standard normal entries, one key for each leaf.

    They are drawn in float32 or wider.
    """
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    draws = [jax.random.normal(k, x.shape, tree.wide(x.dtype)) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, draws)


@transformation
def add_noise(eta: float, gamma: float, key: jax.Array | int) -> Transformation:
    """Add Gaussian noise whose variance falls as a power of the step.

    Args:
      eta: variance at the first update, in [0, inf).
      gamma: power with which it falls, in [0, inf); 0 keeps it.
      key: a random key, or an integer to make one of; the noise is a function of it and of the step.

    Returns:
      A transformation whose state holds the random key.

    Raises:
      ValueError: if `eta` or `gamma` is outside its range.
      TypeError: if `eta` or `gamma` is not a number, or `key` not a random key.

    Reference: Neelakantan et al. (2015), equation 1.
    """
    validate.number("add_noise", "eta", eta, low=0.0, high_open=True)
    validate.number("add_noise", "gamma", gamma, low=0.0, high_open=True)
    _check_key(key)

    def init(params: Params) -> AddNoiseState:
        del params
        first = key if isinstance(key, jax.Array) else jax.random.key(key)
        return AddNoiseState(jnp.zeros((), jnp.int32), first)

    def update(updates: Updates, state: AddNoiseState, params: Params = None, **extra: Any) -> Any:
        del params, extra
        next_key, leaf_keys = jax.random.split(state.key)
        deviation = standard_deviation(eta, gamma, state.count, tree.scalar_dtype(updates))
        noisy = tree.axpy(deviation, normal_like(leaf_keys, updates), updates)
        return noisy, AddNoiseState(optax.safe_increment(state.count), next_key)

    return Transformation(init, update)


def _check_key(key: Any) -> None:
    if isinstance(key, jax.Array):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
        raw = key.dtype == jnp.uint32 and key.ndim == 1
        if typed or raw:
            return
    elif isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return
    msg = f"add_noise: key must be one random key such as jax.random.key(0), or a whole number, got {key!r}."
    raise TypeError(msg)

# SPDX-License-Identifier: Apache-2.0
"""The direction of lowest curvature, as a solver's second-order check asks for it.

A Krylov space of the gradient is blind to a direction that the gradient does not see, at a saddle approached along its
ridge for instance. A random start sees every direction.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, tree, validate
from jopt.curvature.hvp import checked_operator
from jopt.linalg import extremes, lanczos, probes, ritz, ritz_vector
from jopt.linalg.operators import Operator
from jopt.types import Params, Scalar


class LowestCurvature(NamedTuple):
    """The lowest eigenvalue seen; NaN, with a zero vector, if no product was finite.

    Attributes:
      value: <v, A v> at the vector, a scalar; never below the lowest eigenvalue but for rounding.
      error: the lowest eigenvalue is at least `value - error`, up to a chance of `jopt.linalg.extremes.CHANCE`. So
        `value > error` says that there is no negative curvature.
      rounding: what rounding may have done to `value`, a scalar. `value < -rounding` certifies negative curvature,
        however large `error` still is.
      vector: v, of unit length, a tree like x. Its sign is arbitrary.
      nhev: products made, int32.
      status: a `jopt.status.KrylovStatus` as int32, see `jopt.linalg.Tridiagonal`.
    """

    value: Scalar
    error: Scalar
    rounding: Scalar
    vector: Params
    nhev: jax.Array
    status: jax.Array

    __repr__ = report.record


def lowest_curvature(hvp: Operator, like: Params, key: jax.Array | int = 0, steps: int = 32) -> LowestCurvature:
    """Find the direction of lowest curvature from a random start.

    Cost: at most min(`steps`, n) products; memory for that many trees. Works under `jit` and `vmap`.

    Args:
      hvp: a symmetric operator, v -> H v.
      like: a tree of floating arrays that says what v is; its values are not used.
      key: a random key, or a whole number to make one of.
      steps: most products to make, >= 1.

    Returns:
      A `LowestCurvature`.

    Raises:
      TypeError: if an argument is not of its kind.
      ValueError: if `steps` is less than 1, `like` has no entries or H v is no tree like v.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import lowest_curvature
      >>> lowest = lowest_curvature(lambda v: jnp.array([3.0, -2.0]) * v, jnp.zeros(2))
      >>> bool(jnp.allclose(lowest.value, -2.0)), bool(jnp.allclose(abs(lowest.vector), jnp.array([0.0, 1.0]), atol=1e-3))
      (True, True)
    """
    like = tree.as_parameters("lowest_curvature", "like", like)
    hvp = checked_operator("lowest_curvature", "hvp", hvp)
    key = validate.random_key("lowest_curvature", "key", key)
    form = lanczos(hvp, probes.normal(key, like), steps)
    pairs = ritz(form)
    # Slots beyond the steps taken repeat a value inside the spectrum, so the first is a Ritz value; where all values are
    # equal every vector with a part in the basis will do, and the first may have none.
    first = jnp.argmax(jnp.where(pairs.values == pairs.values[0], pairs.weights, -1))
    ends = extremes(form, pairs)
    return LowestCurvature(
        value=ends.lowest,
        error=ends.lowest_error,
        rounding=ends.rounding,
        vector=ritz_vector(form, pairs.vectors[:, first]),
        nhev=form.nhev,
        status=form.status,
    )

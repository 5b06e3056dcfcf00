# SPDX-License-Identifier: Apache-2.0
"""The Hessian written out, for few parameters, and its diagonal, exact or estimated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.curvature.hvp import expanded
from jopt.linalg import hutchinson, operators
from jopt.types import Params

# Products that `hessian_diagonal` makes at once: enough to fill a machine's vector units, few enough to hold.
BATCH = 32


def hessian(fun: Callable[..., Any], x: Params, args: Any = (), *, has_aux: bool = False) -> jax.Array:
    """Return the Hessian as a matrix.

    Rows and columns are the entries of the leaves in the order of `jax.tree.leaves`, each leaf in row-major order, as
    `jopt.tree.ravel` writes a tree. Cost: one gradient and n products in one batch; memory for n trees.

    Args:
      fun: `fun(x, *args) -> value`, a real scalar, or `-> (value, aux)` with `has_aux`.
      x: a tree of floating arrays, n entries in all.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      has_aux: whether `fun` returns something beside the value.

    Returns:
      H, shape (n, n), symmetric to the last bit: the mean of what came out and its transpose.

    Raises:
      TypeError: if a leaf of `x` is not floating, or `fun` does not return a real scalar.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import hessian
      >>> h = hessian(lambda x: x["a"] * x["b"] ** 2, {"a": jnp.float32(1.0), "b": jnp.float32(3.0)})
      >>> bool(jnp.allclose(h, jnp.array([[0.0, 6.0], [6.0, 2.0]])))
      True
    """
    x = tree.as_parameters("hessian", "x", x)
    matrix = operators.dense(expanded("hessian", fun, x, args, has_aux).hvp, x)
    return (matrix + matrix.T) / 2


def hessian_diagonal(
    fun: Callable[..., Any],
    x: Params,
    args: Any = (),
    *,
    method: str = "exact",
    key: jax.Array | int = 0,
    samples: int = 16,
    has_aux: bool = False,
) -> Params:
    """Return the diagonal of the Hessian.

    Cost: one gradient, and n products for "exact" or `samples` products for "probing". For error bars take
    `jopt.linalg.hutchinson(hvp(fun, x), x)`, which is what "probing" does; it is exact where the Hessian is diagonal.

    Args:
      fun: `fun(x, *args) -> value`, a real scalar, or `-> (value, aux)` with `has_aux`.
      x: a tree of floating arrays, n entries in all.
      args: further arguments of `fun`, a tuple (one argument alone need not be wrapped).
      method: "exact" or "probing".
      key: a random key, or a whole number to make one of; "exact" does not use it.
      samples: the number of probes, >= 1; "exact" does not use it.
      has_aux: whether `fun` returns something beside the value.

    Returns:
      A tree like x.

    Raises:
      TypeError: if a leaf of `x` is not floating, or `fun` does not return a real scalar.
      ValueError: if `method` is neither word or `samples` less than 1.

    Reference: Bekas, Kokiopoulou and Saad (2007), An estimator for the diagonal of a matrix, Appl. Numer. Math. 57(11),
      doi:10.1016/j.apnum.2007.01.003.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import hessian_diagonal
      >>> bool(jnp.allclose(hessian_diagonal(lambda x: jnp.prod(x) ** 2, jnp.array([1.0, 3.0])), jnp.array([18.0, 2.0])))
      True
    """
    validate.choice("hessian_diagonal", "method", method, ("exact", "probing"))
    key = validate.random_key("hessian_diagonal", "key", key)
    validate.integer("hessian_diagonal", "samples", samples, low=1)
    x = tree.as_parameters("hessian_diagonal", "x", x)
    product = expanded("hessian_diagonal", fun, x, args, has_aux).hvp
    if method == "probing":
        return hutchinson(product, x, key, samples).diagonal
    vector, unravel = tree.ravel(x)
    slots = jnp.arange(vector.size, dtype=jnp.int32)

    def entry(i: jax.Array) -> jax.Array:
        e = (slots == i).astype(vector.dtype)
        return tree.ravel(product(unravel(e)))[0][i].astype(vector.dtype)

    return unravel(jax.lax.map(entry, slots, batch_size=min(BATCH, max(1, vector.size))))

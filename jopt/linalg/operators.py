# SPDX-License-Identifier: Apache-2.0
"""What an operator is here: a linear function of trees, v -> A v, known by its products alone.

`applied` calls one and looks at what comes back; `dense` writes it out as the matrix with columns A e_i.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.types import Params

Operator = Callable[[Params], Params]
"""`v -> A v`, where v and A v are trees of the same structure, shapes and dtypes."""


def applied(function: str, operator: Operator, v: Params) -> Params:
    """Return A v in the dtypes of v.

    Args:
      function: whose name an error carries.
      operator: `v -> A v`.
      v: tree of floating arrays.

    Raises:
      TypeError: if `operator` cannot be called.
      ValueError: if A v is no tree like v, naming the path and both shapes.
    """
    if not callable(operator):
        msg = (
            f"{function}: operator must be a function v -> A v, got {type(operator).__name__}; "
            "of a matrix make one by `lambda v: matrix @ v`."
        )
        raise TypeError(msg)
    product = operator(v)
    tree.check_like(function, "operator(v)", product, "v", v)
    return tree.cast(product, v)


def dense(operator: Operator, like: Params) -> jax.Array:
    """Return the matrix of an operator, for few parameters.

    Rows and columns are the entries of the leaves in the order of `jax.tree.leaves`, each leaf in row-major order, as
    `tree.ravel` writes a tree. Cost: n products, in one batch; memory for n trees beside the matrix.

    Args:
      operator: linear, `v -> A v`.
      like: a tree of floating arrays that says what v is; its values are not used. n >= 1 entries in all.

    Returns:
      A, shape (n, n), of `tree.scalar_dtype(like)`. It is not made symmetric.

    Raises:
      TypeError: if `operator` cannot be called or a leaf of `like` is not floating.
      ValueError: if A v is no tree like v.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.linalg import dense
      >>> bool(jnp.allclose(dense(lambda v: 2.0 * v[::-1], jnp.zeros(2)), jnp.array([[0.0, 2.0], [2.0, 0.0]])))
      True
    """
    vector, unravel = tree.ravel(tree.as_parameters("dense", "like", like))

    def column(e: jax.Array) -> jax.Array:
        return tree.ravel(applied("dense", operator, unravel(e)))[0].astype(vector.dtype)

    return jax.vmap(column, out_axes=1)(jnp.eye(vector.size, dtype=vector.dtype))

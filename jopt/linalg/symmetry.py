# SPDX-License-Identifier: Apache-2.0
r"""Is an operator symmetric? Two products tell.

For u and v with independent standard normal entries, <u, A v> - <v, A u> = u'(A - A')v has variance ||A - A'||_F^2, and
|A v|^2 has mean ||A||_F^2. So the quotient

    |<u, A v> - <v, A u>| / (|A v| + |A u|)

estimates ||A - A'||_F / (2 ||A||_F), whatever the dimension: it is of order 1 for a skew matrix and rounding for a
symmetric one. It is one draw, not a bound.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jopt import tree, validate
from jopt.linalg import probes
from jopt.linalg.operators import Operator, applied
from jopt.types import Params, Scalar


def asymmetry(operator: Operator, like: Params, key: jax.Array | int = 0) -> Scalar:
    """Estimate how far an operator is from symmetric, relative to its size.

    Cost: two products.

    Args:
      operator: linear, `v -> A v`.
      like: a tree of floating arrays that says what v is; its values are not used.
      key: a random key, or a whole number to make one of.

    Returns:
      The quotient above, a scalar >= 0; 0 for the zero operator, NaN where a product is not finite. Compare it with
      `symmetry_tolerance(like)`.

    Raises:
      TypeError: if `operator` cannot be called, a leaf of `like` is not floating or `key` is no key.
      ValueError: if A v is no tree like v.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.linalg import asymmetry, symmetry_tolerance
      >>> a = jnp.array([[2.0, 1.0], [0.0, 3.0]])
      >>> bool(asymmetry(lambda v: a @ v, jnp.zeros(2)) > symmetry_tolerance(jnp.zeros(2)))
      True
      >>> bool(asymmetry(lambda v: (a + a.T) @ v, jnp.zeros(2)) > symmetry_tolerance(jnp.zeros(2)))
      False
    """
    like = tree.as_parameters("asymmetry", "like", like)
    u, v = probes.normal(validate.random_key("asymmetry", "key", key), (like, like))
    a_u, a_v = applied("asymmetry", operator, u), applied("asymmetry", operator, v)
    (m_u, r_u), (m_v, r_v) = tree.scaled_norm(a_u), tree.scaled_norm(a_v)
    # Everything in units of the largest entry m, so that no product of a large operator leaves the range.
    m = jnp.maximum(m_u, m_v)
    crossed = tree.vdot(u, tree.scale(1 / m, a_v)) - tree.vdot(v, tree.scale(1 / m, a_u))
    total = m_u / m * r_u + m_v / m * r_v
    return jnp.abs(crossed) / jnp.where(total == 0, 1, total)


def symmetry_tolerance(like: Params) -> float:
    """Return the relative asymmetry from which an operator on trees like this counts as not symmetric.

    It is sqrt(eps) of the least precise leaf: half the digits, far above the rounding of a product and far below a
    wrong derivative.
    """
    return tree.coarsest_eps(like) ** 0.5

# SPDX-License-Identifier: Apache-2.0
r"""The user's residuals, checked once at trace time: cost, gradient and linear model from one evaluation.

    cost(x) = 1/2 f_scale^2 sum_i rho((r_i(x) / f_scale)^2),   1/2 |r(x)|^2 for the linear loss
    model(d) = 1/2 |J~ d + r~|^2,   its gradient at 0 is the cost's

`r` is linearised once: v -> J v is that linear map, u -> J'u its transpose. The residual itself stands once in the
program, however many products are made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jopt import tree
from jopt.solvers.objective import Objective, Point
from jopt.solvers.robust import Weighted, weigh
from jopt.types import Params, Scalar


class LinearModel(NamedTuple):
    """The residuals near a point, as the loss weighs them.

    Attributes:
      residual: r~, a tree like r.
      forward: v -> J~ v, from a tree like params to one like r.
      backward: u -> J~' u, the other way.
    """

    residual: Any
    forward: Callable[[Params], Any]
    backward: Callable[[Any], Params]


class Residuals(NamedTuple):
    """Residuals of the parameters, and the loss that weighs them.

    Attributes:
      fun: `fun(params, *args)` giving a tree of real floating arrays, the residuals before they are squared; or
        `(residuals, aux)` with has_aux.
      args: further arguments, passed on as they are.
      loss: a name in `jopt.solvers.robust.LOSSES`.
      f_scale: > 0: the size from which on a residual counts as an outlier, a scalar; not used by the linear loss.
      has_aux: whether `fun` returns auxiliary output beside the residuals; a point's aux is then both, as a pair.
    """

    fun: Callable[..., Any]
    args: tuple[Any, ...] = ()
    loss: str = "linear"
    f_scale: Any = 1.0
    has_aux: bool = False

    def residual(self, params: Params) -> Any:
        """Return the residuals, a tree, in the dtype of the parameters' scalars.

        Raises:
          TypeError: at trace time, if they are a scalar, or not real floating arrays.
        """
        return self._outputs(params)[0]

    def evaluate(self, params: Params) -> Point:
        """Return the point with its cost, gradient and, as aux, the residuals, from one evaluation."""
        residual, backward, aux = jax.vjp(self._outputs, params, has_aux=True)
        weighted = weigh(self.loss, self.f_scale, residual)
        return Point(params, weighted.value, backward(weighted.pull)[0], self._carried(residual, aux))

    def value(self, params: Params) -> Scalar:
        """Return the cost alone."""
        return weigh(self.loss, self.f_scale, self.residual(params)).value

    def blank(self, params: Params) -> Point:
        """Return a point with the structure of `evaluate(params)`, of infinite value, without evaluating."""
        shapes = self._carried(*jax.eval_shape(self._outputs, params))
        return Point(
            params=params,
            value=jnp.full((), jnp.inf, tree.scalar_dtype(params)),
            grad=tree.zeros_like(params),
            aux=tree.zeros_like(shapes),
        )

    def linearize(self, params: Params) -> tuple[Any, Weighted, LinearModel]:
        """Return a point's aux, what the loss makes of the residuals, and the model, from one linearisation."""
        residual, forward, aux = jax.linearize(self._outputs, params, has_aux=True)
        transposed = jax.linear_transpose(forward, params)
        weighted = weigh(self.loss, self.f_scale, residual)
        rows = weighted.rows
        model = LinearModel(
            residual=weighted.residual,
            forward=lambda v: _times(rows, forward(v)),
            backward=lambda u: transposed(_times(rows, u))[0],
        )
        return self._carried(residual, aux), weighted, model

    def among(self, aux: Any) -> Any:
        """Return the residuals among what a point carries as aux."""
        return aux[0] if self.has_aux else aux

    def _outputs(self, params: Params) -> tuple[Any, Any]:
        """Return the residuals and the user's aux, None without."""
        out, aux = self.fun(params, *self.args), None
        if self.has_aux:
            out, aux = _pair(out)
        return jax.tree.map(lambda r: r.astype(tree.scalar_dtype(params)), _checked(out)), aux

    def _carried(self, residual: Any, aux: Any) -> Any:
        return (residual, aux) if self.has_aux else residual

    def bend(self, params: Params, v: Params) -> Any:
        """Return the second derivative of t -> r(params + t v) at 0, a tree like r; the rows are not weighted."""

        def velocity(x: Params) -> Any:
            return jax.jvp(self.residual, (x,), (v,))[1]

        return jax.jvp(velocity, (params,), (v,))[1]


def as_residuals(solver: str, objective: Any) -> Residuals:
    """Return `objective` if it is `Residuals` already, otherwise those of a function without further arguments.

    Raises:
      TypeError: for the scalar objective of `minimize`.
    """
    if isinstance(objective, Objective):
        msg = f"{solver}: objective must be residuals, got a scalar objective; call jopt.least_squares, not jopt.minimize."
        raise TypeError(msg)
    return objective if isinstance(objective, Residuals) else Residuals(objective)


def dense_jacobian(model: LinearModel, params: Params) -> jax.Array:
    """Return J~, shape (m, n): n products with J where n <= m, otherwise m products with J'."""
    x, unravel = tree.ravel(params)
    r, unravel_r = tree.ravel(model.residual)
    if x.size <= r.size:
        columns = jax.vmap(lambda e: tree.ravel(model.forward(unravel(e)))[0].astype(x.dtype))
        return columns(jnp.eye(x.size, dtype=x.dtype)).T
    rows = jax.vmap(lambda e: tree.ravel(model.backward(unravel_r(e)))[0].astype(x.dtype))
    return rows(jnp.eye(r.size, dtype=r.dtype))


def _times(rows: Any, a: Any) -> Any:
    return a if rows is None else jax.tree.map(jnp.multiply, rows, a)


def _pair(out: Any) -> tuple[Any, Any]:
    """Return residuals and aux, or raise where there is no pair."""
    if isinstance(out, tuple) and len(out) == 2:
        return out
    msg = f"least_squares: residual must return (residuals, aux) with has_aux=True, got {type(out).__name__}."
    raise TypeError(msg)


def _checked(out: Any) -> Any:
    """Return the residuals as arrays, or raise naming what is wrong with them."""
    leaves = jax.tree_util.tree_leaves_with_path(out)
    for path, leaf in leaves:
        array = jnp.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            hint = "return real and imaginary parts" if jnp.iscomplexobj(array) else "return floating numbers"
            msg = f"least_squares: residual{jax.tree_util.keystr(path)} must be real floating arrays, got {array.dtype}{list(array.shape)}; {hint}."
            raise TypeError(msg)
    if len(leaves) == 1 and jnp.shape(leaves[0][1]) == ():
        msg = (
            "least_squares: residual must return the residuals before they are squared, an array or a tree of arrays, got a scalar; "
            "return the vector r of the cost 1/2 sum(r**2), or hand a scalar objective to jopt.minimize."
        )
        raise TypeError(msg)
    if not tree.size(jax.tree.map(jnp.asarray, out)):
        msg = "least_squares: residual must return at least one number, got an empty tree."
        raise TypeError(msg)
    return jax.tree.map(jnp.asarray, out)

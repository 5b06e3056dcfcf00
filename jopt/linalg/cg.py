# SPDX-License-Identifier: Apache-2.0
r"""Conjugate gradients: A x = b for a symmetric operator A, or the reason why not.

With r the residual b - A x, M the preconditioner (near to the inverse of A, positive definite) and z = M r, a step is

    alpha = <r, z> / <d, A d>,   x' = x + alpha d,   r' = r - alpha A d,   beta = <r', z'> / <r, z>,   d' = z' + beta d

It minimises the model q(x) = 1/2 <x, A x> - <b, x> over the span of the directions so far, which are A-conjugate
(<d_i, A d_j> = 0), while the residuals are M-orthogonal (<r_i, M r_j> = 0). Without rounding it ends in at most n steps.

A direction has no usable curvature when <d, A d> <= eps C |d|^2, in the norm of M^-1, with C the largest curvature
<d, A d> / |d|^2 met before: a test that knows no scale. |d|^2 follows from <r, z> + beta^2 |d|^2 without an inner product.

All is computed for b / max|b|, so that squares of long or short vectors neither overflow nor vanish.

References: Hestenes and Stiefel (1952), Methods of conjugate gradients for solving linear systems, J. Res. Nat. Bur.
Stand. 49(6), doi:10.6028/jres.049.044; Nocedal and Wright (2006), Numerical Optimization, Algorithm 5.3,
doi:10.1007/978-0-387-40065-5; Martens (2010), Deep learning via Hessian-free optimization, ICML, section 4.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jopt import report, scalars, tree, validate
from jopt.linalg.operators import Operator, applied
from jopt.linalg.symmetry import asymmetry, symmetry_tolerance
from jopt.status import KrylovStatus, first_of
from jopt.types import Params, Scalar

# Products allowed unless the caller says: twice the n that suffice without rounding, and some where n is tiny.
BUDGET_PER_UNKNOWN = 2
LEAST_BUDGET = 20

# Martens (2010), section 4.4: progress is judged over the last max(10, i / 10) iterations.
PROGRESS_LEAST = 10
PROGRESS_PART = 10


class CGResult(NamedTuple):
    """What a run returns.

    Attributes:
      x: the last finite iterate, a tree like b.
      residual: r = b - A x by recurrence, like b.
      direction: the last direction, like b. Where `status` is NEGATIVE_CURVATURE the one without positive curvature;
        x + a direction then lowers the model for every a > 0.
      curvature: <d, A d> / <d, d> of the direction of the last product.
      step: |<r, z> / <d, A d>| along that direction, where a model with the opposite sign of curvature has its minimum.
        Curvatures below sqrt(eps) of the largest met count as that; 1 where there is none at all.
      value: q(x) = 1/2 <x, A x> - <b, x>; not above 0 unless the run began at x0.
      residual_norm: |r| / |b|, 0 for b = 0.
      status: a `jopt.status.KrylovStatus`, int32.
      nhev: products made, int32.
      observed: what `observe` made of the directions.
    """

    x: Params
    residual: Params
    direction: Params
    curvature: Scalar
    step: Scalar
    value: Scalar
    residual_norm: Scalar
    status: jax.Array
    nhev: jax.Array
    observed: Any

    __repr__ = report.record


class _Run(NamedTuple):
    """What the iteration carries, in units of max|b|.

    Attributes:
      x: the iterate. r: the residual. d: the direction.
      rz: <r, z>. rr: |r|^2. dd: |d|^2 in the norm of M^-1. dad: <d, A d> of the last product.
      top: largest <d, A d> / |d|^2 so far.
      status: int32. k: products, int32.
      values: q after each product, shape (maxiter,); empty unless progress is judged.
      observed: what `observe` carries.
    """

    x: Params
    r: Params
    d: Params
    rz: Scalar
    rr: Scalar
    dd: Scalar
    dad: Scalar
    top: Scalar
    status: jax.Array
    k: jax.Array
    values: jax.Array
    observed: Any


def cg(
    operator: Operator,
    b: Params,
    *,
    x0: Params = None,
    rtol: Any = 1e-5,
    maxiter: Any = None,
    preconditioner: Operator | None = None,
    progress: float | None = None,
    observe: tuple[Callable[[Any, Params, Params], Any], Any] | None = None,
    key: jax.Array | int | None = None,
) -> CGResult:
    """Solve A x = b by preconditioned conjugate gradients.

    Assumes that A is symmetric; whether it is positive definite shows on the way. One product and one application of
    the preconditioner an iteration. The residual is the recurrence's, which rounding separates from the true one once
    it is below about eps cond(A) |b|. Under `vmap` the loop runs to the slowest lane.

    Args:
      operator: v -> A v on trees like `b`.
      b: right-hand side, a tree of floating arrays; bfloat16 leaves are computed in float32.
      x0: start, a tree like `b`; None means 0, which saves a product.
      rtol: stop where |b - A x| <= rtol |b|, in [0, 1); a number or a scalar.
      maxiter: products at most, >= 0; None means 2 n, and at least 20.
      preconditioner: r -> M r, linear, symmetric and positive definite, near to the inverse of A.
      progress: stop where the model's value fell by less than this part of itself for each of the last k = max(10, i/10)
        iterations i, >= 0. Takes `maxiter` as a Python number.
      observe: a pair `(function, initial)`: the function maps `(carried, d, A d)` to what is carried on, once a product.
      key: random key, or a whole number to make one of, for a check, before all else, that A is symmetric to sqrt(eps); it takes two more products.

    Returns:
      A `CGResult`. Its status is CONVERGED, MAX_ITERATIONS, NEGATIVE_CURVATURE, LITTLE_PROGRESS; NONFINITE where a
      product, a residual or b is not finite; INDEFINITE_PRECONDITIONER where <r, M r> <= 0; NOT_SYMMETRIC, with x = 0,
      where the check fails.

    Raises:
      ValueError: for a setting outside its range; at trace time for an operator or preconditioner whose tree is unlike b.
      TypeError: for a setting of the wrong type, or leaves that are not real floating arrays.

    Reference:
      Nocedal and Wright (2006), Numerical Optimization, Algorithm 5.3, doi:10.1007/978-0-387-40065-5.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.linalg import cg
      >>> solution = cg(lambda v: {"a": 2 * v["a"], "b": 4 * v["b"]}, {"a": jnp.ones(2), "b": jnp.ones(())})
      >>> bool(jnp.allclose(solution.x["b"], 0.25)), int(solution.nhev)
      (True, 2)
    """
    b = tree.as_parameters("cg", "b", b)
    _check(rtol, maxiter, preconditioner, progress, observe)
    budget = max(BUDGET_PER_UNKNOWN * tree.size(b), LEAST_BUDGET) if maxiter is None else maxiter
    unit = _unit(b)
    precondition = None if preconditioner is None else _preconditioning(preconditioner, b)
    right = _in_units(b, unit)
    start = None if x0 is None else _in_units(_as_start(x0, b), unit)
    rule = _Rule(
        target=jnp.square(jnp.asarray(rtol).astype(unit.dtype)) * tree.vdot(right, right),
        budget=jnp.asarray(budget, jnp.int32),
        eps=tree.coarsest_eps(b),
        warm=start is not None,
    )
    function, initial = observe or (None, None)
    run = _begin(right, start, precondition, rule, initial)
    run = run._replace(values=jnp.zeros(0 if progress is None else budget, unit.dtype))
    if key is not None:
        key = validate.random_key("cg", "key", key)
        run = run._replace(status=_unless_symmetric(operator, b, key, run.status))

    def trip(run: _Run) -> _Run:
        product = tree.cast(applied("cg", operator, tree.cast(run.d, b)), run.d)
        after = _step(run, product, precondition, rule)
        if progress is not None:
            after = _judge_progress(after, right, progress)
        if function is not None:
            after = after._replace(observed=tree.cast(function(run.observed, run.d, product), run.observed))
        return after

    run = jax.lax.while_loop(lambda run: run.status == KrylovStatus.RUNNING, trip, run)
    return _result(run, right, b, unit, spent=0 if key is None else 2)


class _Rule(NamedTuple):
    """When to stop: |r|^2 at most, products at most; rounding of the coarsest leaf; whether the run began at x0."""

    target: Scalar
    budget: jax.Array
    eps: float
    warm: bool


def _begin(b: Params, x0: Params, precondition: Any, rule: _Rule, observed: Any) -> _Run:
    """Return the carry before the first product.

    With a start that product is A x0: x0 is then the first direction, taken from 0 with step 1, so that the operator
    stands once in the program.
    """
    z = b if precondition is None else precondition(b)
    rr = tree.vdot(b, b)
    rz = rr if precondition is None else tree.vdot(b, z)
    status = first_of(
        (~jnp.isfinite(rz + rr), KrylovStatus.NONFINITE),
        (rr == 0, KrylovStatus.CONVERGED),
        (rz <= 0, KrylovStatus.INDEFINITE_PRECONDITIONER),
        (rule.budget <= 0, KrylovStatus.MAX_ITERATIONS),
        otherwise=KrylovStatus.RUNNING,
    )
    zero = jnp.zeros_like(rz)
    return _Run(
        x=tree.zeros_like(b), r=b, d=z if x0 is None else x0, rz=rz, rr=rr, dd=rz, dad=zero, top=zero,
        status=status, k=jnp.zeros((), jnp.int32), values=jnp.zeros(0, rz.dtype), observed=tree.strong(observed),
    )  # fmt: skip


def _step(run: _Run, product: Params, precondition: Any, rule: _Rule) -> _Run:
    """Return the carry after one product."""
    to_start = (run.k == 0) if rule.warm else jnp.bool_(False)
    dad = tree.vdot(run.d, product)
    flat = (dad <= rule.eps * run.top * run.dd) & ~to_start
    alpha = jnp.where(to_start, 1, run.rz / jnp.where(flat, 1, dad))
    good = jnp.isfinite(dad) & jnp.isfinite(alpha)
    took = good & ~flat
    alpha, took = scalars.settled((alpha, took), run.k > 0)
    x = jax.tree.map(lambda x, d: x + jnp.where(took, alpha.astype(x.dtype) * d, 0), run.x, run.d)
    r = jax.tree.map(lambda r, p: r - jnp.where(took, alpha.astype(r.dtype) * p, 0), run.r, product)
    z = r if precondition is None else precondition(r)
    rr = tree.vdot(r, r)
    rz = rr if precondition is None else tree.vdot(r, z)
    beta = jnp.where(to_start, 0, rz / run.rz)
    status = first_of(
        (~good | ~jnp.isfinite(rz + rr), KrylovStatus.NONFINITE),
        (flat, KrylovStatus.NEGATIVE_CURVATURE),
        (rr <= rule.target, KrylovStatus.CONVERGED),
        (rz <= 0, KrylovStatus.INDEFINITE_PRECONDITIONER),
        (run.k + 1 >= rule.budget, KrylovStatus.MAX_ITERATIONS),
        otherwise=KrylovStatus.RUNNING,
    )
    on = status == KrylovStatus.RUNNING  # otherwise the direction stays, for the caller
    return run._replace(
        x=x,
        r=r,
        d=jax.tree.map(lambda z, d: jnp.where(on, z + beta.astype(d.dtype) * d, d), z, run.d),
        rz=rz,
        rr=rr,
        dd=jnp.where(on, rz + beta * beta * run.dd, run.dd),
        dad=dad,
        top=jnp.where(to_start, run.top, jnp.maximum(run.top, dad / run.dd)),
        status=status,
        k=run.k + 1,
    )


def _judge_progress(run: _Run, b: Params, progress: float) -> _Run:
    """Return the carry with q written down, and LITTLE_PROGRESS where it has hardly fallen of late (Martens 2010)."""
    value = _model(run, b)
    values = run.values.at[run.k - 1].set(value)
    window = jnp.maximum(PROGRESS_LEAST, run.k // PROGRESS_PART)
    fell = (values[jnp.maximum(run.k - 1 - window, 0)] - value) / -value
    little = (run.k > window) & (value < 0) & (fell < progress * window.astype(value.dtype))
    little = little & (run.status == KrylovStatus.RUNNING)
    return run._replace(values=values, status=jnp.where(little, jnp.int32(KrylovStatus.LITTLE_PROGRESS), run.status))


def _model(run: _Run, b: Params) -> Scalar:
    """Return q(x) = -1/2 <x, b + r>."""
    return -0.5 * tree.vdot(run.x, jax.tree.map(lambda b, r: b + r, b, run.r))


def _result(run: _Run, right: Params, b: Params, unit: Scalar, spent: int) -> CGResult:
    rayleigh = run.dad / _nonzero(run.dd)
    least = float(jnp.finfo(unit.dtype).eps) ** 0.5 * jnp.maximum(run.top, jnp.abs(rayleigh)) * run.dd
    size = jnp.maximum(jnp.abs(run.dad), least)
    b_b = tree.vdot(right, right)
    return CGResult(
        x=_back(run.x, b, unit),
        residual=_back(run.r, b, unit),
        direction=_back(run.d, b, unit),
        curvature=run.dad / _nonzero(tree.vdot(run.d, run.d)),
        step=jnp.where(size > 0, run.rz / _nonzero(size), 1),
        value=_model(run, right) * unit * unit,
        residual_norm=jnp.sqrt(run.rr / _nonzero(b_b)),
        status=run.status,
        nhev=run.k + spent,
        observed=run.observed,
    )


def _unless_symmetric(operator: Operator, b: Params, key: jax.Array, status: jax.Array) -> jax.Array:
    """Return NOT_SYMMETRIC, or the status if random vectors find A symmetric to half the digits."""
    skew = asymmetry(operator, b, key) > symmetry_tolerance(b)
    return jnp.where(skew, jnp.int32(KrylovStatus.NOT_SYMMETRIC), status)


def _unit(b: Params) -> Scalar:
    """Return max|b|, within the range where its reciprocal is a normal number; 1 where it is no number."""
    low = float(jnp.finfo(tree.scalar_dtype(b)).tiny)
    top = tree.max_abs(b)
    return jnp.where(jnp.isnan(top), 1, jnp.clip(top, low, 1 / low))


def _in_units(a: Params, unit: Scalar) -> Params:
    def leaf(x: jax.Array) -> jax.Array:
        dtype = tree.wide(x.dtype)
        return x.astype(dtype) / unit.astype(dtype)

    return jax.tree.map(leaf, a)


def _back(a: Params, like: Params, unit: Scalar) -> Params:
    return jax.tree.map(lambda x, y: (x * unit.astype(x.dtype)).astype(y.dtype), a, like)


def _as_start(x0: Params, b: Params) -> Params:
    tree.check_like("cg", "x0", x0, "b", b)
    return tree.cast(tree.as_parameters("cg", "x0", x0), b)


def _preconditioning(function: Operator, b: Params) -> Operator:
    """Return r -> M r in the dtypes of the run, checked when traced; the function sees those of b."""

    def precondition(r: Params) -> Params:
        out = function(tree.cast(r, b))
        tree.check_like("cg", "preconditioner(r)", out, "b", b)
        return tree.cast(out, r)

    return precondition


def _nonzero(x: Scalar) -> Scalar:
    return jnp.where(x == 0, 1, x)


def _check(rtol: Any, maxiter: Any, preconditioner: Any, progress: Any, observe: Any) -> None:
    validate.number("cg", "rtol", rtol, low=0.0, high=1.0, high_open=True)
    if preconditioner is not None and not callable(preconditioner):
        msg = f"cg: preconditioner must be None or a function r -> M r, got {type(preconditioner).__name__}."
        raise TypeError(msg)
    if maxiter is not None:
        validate.integer("cg", "maxiter", maxiter, low=0)
    if progress is not None:
        validate.number("cg", "progress", progress, low=0.0)
        if isinstance(maxiter, Tracer):
            msg = "cg: maxiter must be a Python number where progress is judged, since it is the length of an array."
            raise TypeError(msg)
    if observe is not None and not (isinstance(observe, tuple) and len(observe) == 2 and callable(observe[0])):
        msg = f"cg: observe must be a pair (function, initial), got {observe!r}."
        raise TypeError(msg)

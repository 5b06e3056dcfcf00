# SPDX-License-Identifier: Apache-2.0
r"""The derivative of a solve with respect to its data, by the implicit function theorem.

At a minimum g(x, a) = 0, with g the gradient in x and a the data: `args`, and whatever traced values the function closes
over. Differentiating along a tangent a. of the data gives one linear system with the Hessian H = dg/dx,

    H x. = -(dg/da) a.,

which conjugate gradients solve from products v -> H v alone. It stands in `jax.lax.custom_linear_solve` as a symmetric
system, so the reverse mode is JAX's own transpose of the same line: one solve with H for a cotangent of x, then one
product with dg/da transposed. The other fields of a result follow,

    fun    (df/da) a.                       the envelope theorem: df/dx = g = 0 there; no system is solved for it
    jac    0                                the gradient stays zero
    aux    (d aux/dx) x. + (d aux/da) a.
    x0, limits, counters, history, state    no derivative

*Within bounds* the entries of x are either free, where g = 0 holds as above, or held by a bound, whose tangent b. is then
theirs. With F and A the free and the held ones,

    x._A = b._A,    H_FF x._F = -((dg/da) a.)_F - H_FA x._A

is one system with the same symmetric operator cut to F, and fun gets <g_A, b._A> in addition: a multiplier times the
movement of its bound. An entry is held where the projected gradient is its distance from a bound and not its gradient,
so that one which the solve leaves within gtol of its bound is seen as what it is. Where g = 0 on a bound the derivative has two
sides, and that with the entry free is taken; where lower = upper the entry is said to go with lower.

A solve that did not end CONVERGED has no such equation: its derivatives are NaN, and so are those for which the system has
no solution that conjugate gradients find (an indefinite H, or a singular one that does not match). A cotangent that is
exactly zero stays zero, so that a lane masked out of a batch does not spoil the gradient of the others.

Reference: Krantz and Parks (2013), The Implicit Function Theorem, doi:10.1007/978-1-4614-5981-1; Blondel et al. (2022),
Efficient and Modular Implicit Differentiation, arXiv:2105.15183, section 2.1; Milgrom and Segal (2002), Envelope Theorems
for Arbitrary Choice Sets, doi:10.1111/1468-0262.00296; Fiacco (1983), Introduction to Sensitivity and Stability Analysis in Nonlinear
Programming, section 3.2, for solutions within bounds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jopt import tree, validate
from jopt.linalg import cg
from jopt.linalg.box import Box
from jopt.solvers import loop, resuming
from jopt.solvers.objective import Point, data_of
from jopt.solvers.result import Result, make_result
from jopt.solvers.stopping import Stopping
from jopt.status import KrylovStatus, Status
from jopt.types import Params, Solver

MODES = ("implicit", "unrolled")

# The linear system is solved to a relative residual of eps to this power: 2e-12 in float64, 6e-6 in float32. It stands
# between sqrt(eps), the usual accuracy of the solve itself, and eps, which rounding does not let conjugate gradients reach.
RTOL_POWER = 0.75
# Products allowed, as multiples of the number of parameters: n suffice without rounding.
BUDGET_PER_UNKNOWN = 10
LEAST_BUDGET = 50


class Rule(NamedTuple):
    """How a solve is differentiated; all static.

    Attributes:
      trips: trips of the loop to unroll; None for the implicit function theorem.
      trust: whether solves that did not converge are differentiated as if they had.
    """

    trips: int | None = None
    trust: bool = False


def check(function: str, derivative: str, trust_unconverged: bool, maxfev: Any) -> Rule:
    """Return the rule, or raise naming the argument that is wrong.

    Raises:
      ValueError: for an unknown mode, or to unroll without a limit of evaluations.
      TypeError: if that limit is traced, or the switch not a boolean.
    """
    validate.choice(function, "derivative", derivative, MODES)
    trust = validate.flag(function, "trust_unconverged", trust_unconverged)
    if derivative == "implicit":
        return Rule(trust=trust)
    if maxfev is None:
        msg = f"{function}: maxfev must be given with derivative='unrolled', since it is the number of trips to unroll, got None."
        raise ValueError(msg)
    if isinstance(maxfev, Tracer):
        msg = f"{function}: maxfev must be a Python number with derivative='unrolled', since it is the length of a scan; got a traced value."
        raise TypeError(msg)
    return Rule(int(maxfev), trust)


def solve(
    solver: Solver,
    objective: Any,
    limits: Stopping,
    params: Params,
    options: loop.Options,
    rule: Rule,
    resume: loop.LoopState | None = None,
) -> Result:
    """Run a solver to its end, with derivatives as the rule says.

    Args:
      solver: the solver.
      objective: an `Objective` or `Residuals`: a tuple with the fields `fun` and `args` and the method `evaluate`;
        `jopt.solvers.objective.data_of` it is what to differentiate in.
      limits: when to stop.
      params: the start.
      options: what the loop does beside solving.
      rule: how to differentiate.
      resume: the state to go on from instead of the start; no derivative is taken in it.

    Returns:
      The result. The program is that of the loop alone until it is differentiated.
    """
    if resume is not None:
        options, resume = resuming.take_up(solver, objective, limits, params, options, resume)
    if rule.trips is not None:
        return make_result(loop.unrolled(solver, objective, limits, params, options, rule.trips, resume))
    fun, closed_over = _hoisted(objective.fun, (params, *objective.args))
    data = data_of(objective)

    def rebuild(values: Any) -> Any:
        closed_over, data = values
        return objective._replace(fun=functools.partial(fun, closed_over), **data)

    def solution(values: Any, params: Params, limits: Stopping, start: loop.LoopState | None) -> Result:
        if solver.run is not None:
            return make_result(solver.run(rebuild, values, limits, params, options, start))
        return make_result(loop.run(solver, rebuild(values), limits, params, options, start))

    differentiable = jax.custom_jvp(solution)

    def differentiate(primals: Any, tangents: Any) -> tuple[Result, Result]:
        result = differentiable(*primals)
        return result, _tangents(rebuild, primals[0], tangents[0], result, rule.trust)

    differentiable.defjvp(differentiate, symbolic_zeros=True)
    return differentiable((closed_over, data), params, limits, resume)


def as_solved(objective: Any, params: Params) -> Any:
    """Return an objective whose function is traced as `solve` traces it, so that a loop over it rounds alike."""
    fun, closed_over = _hoisted(objective.fun, (params, *objective.args))
    return objective._replace(fun=functools.partial(fun, closed_over))


def _tangents(rebuild: Callable[[Any], Any], values: Any, velocity: Any, result: Result, trust: bool) -> Result:
    """Return the tangent of a result along a tangent of the data."""
    # Written out: with symbolic zeros JAX 0.7.0 cannot leave out unused fields of a second derivative.
    still = jax.tree.map(zero_from_primal, result)
    leaves, structure = jax.tree.flatten(values)
    dots = jax.tree.leaves(velocity)
    moving = [i for i, dot in enumerate(dots) if not _is_zero(dot)]
    if not moving:
        return still
    a, a_dot = ([each[i] for i in moving] for each in (leaves, dots))

    def evaluate(x: Params, a: list[Any]) -> Point:
        moved = dict(zip(moving, a, strict=True))
        return rebuild(structure.unflatten([moved.get(i, leaf) for i, leaf in enumerate(leaves)])).evaluate(x)

    def value_and_grad(a: list[Any]) -> tuple[Any, Params]:
        point = evaluate(result.x, a)
        return point.value, point.grad

    ok = jnp.bool_(True) if trust else result.status == Status.CONVERGED
    value_dot, grad_dot = jax.jvp(value_and_grad, (a,), (a_dot,))[1]
    hvp = jax.linearize(lambda x: evaluate(x, a).grad, result.x)[1]
    # Zero, but in reverse mode too a function of the data, so that it is NaN where there is no derivative.
    jac_dot = jax.tree.map(lambda g: jnp.broadcast_to(0 * value_dot, g.shape).astype(g.dtype), result.jac)
    box, box_dot = values[1].get("bounds"), velocity[1].get("bounds")
    if box is None:
        x_dot = _solve_symmetric(hvp, tree.negative(grad_dot), ok, trust)
    else:
        held, by_bound = _held(box, box_dot, result, ok)
        right = tree.sub(by_bound, _only_where(held, tree.axpy(1, hvp(by_bound), grad_dot), False))
        cut = _cut(hvp, held)
        x_dot = _solve_symmetric(cut, right, ok, trust)
        value_dot = value_dot + tree.vdot(result.jac, by_bound)
        jac_dot = tree.axpy(1, jac_dot, _only_where(held, tree.axpy(1, hvp(x_dot), grad_dot), True))
    aux_dot = still.aux
    if result.aux is not None:
        aux_dot = jax.jvp(lambda x, a: evaluate(x, a).aux, (result.x, a), (x_dot, a_dot))[1]
    dots = {"x": x_dot, "fun": value_dot, "jac": jac_dot, "aux": aux_dot}
    if not trust:
        dots = jax.tree.map(lambda dot: dot if _is_zero(dot) else _only_if(ok, dot), dots)
    return still._replace(**dots)


def _held(box: Box, box_dot: Any, result: Result, ok: jax.Array) -> tuple[Params, Params]:
    """Return which entries a bound holds, and the tangents of those bounds, zero on the free entries.

    Where there is no derivative no entry is said to be held: such an entry would not depend on the data.
    """

    def leaf(x: Any, g: Any, low: Any, high: Any, low_dot: Any, high_dot: Any) -> tuple[jax.Array, jax.Array]:
        at_low, at_high = (g > x - low) | (low == high), g < x - high
        return (at_low | at_high) & ok, jnp.where(at_low, low_dot, jnp.where(at_high, high_dot, 0)).astype(x.dtype)

    moving = [
        jax.tree.map(_instantiated, side_dot, side, is_leaf=_is_zero)
        for side_dot, side in zip(box_dot, box, strict=True)
    ]
    held, by_bound = tree.map_unzip(leaf, 2, result.x, result.jac, *box, *moving)
    return held, by_bound


def _instantiated(dot: Any, primal: jax.Array) -> jax.Array:
    return jnp.zeros_like(primal) if _is_zero(dot) else dot


def _only_where(held: Params, a: Params, which: bool) -> Params:
    """Return a on the held entries, or on the others, and zero elsewhere."""
    return jax.tree.map(lambda h, x: jnp.where(h == which, x, 0), held, a)


def _cut(hvp: Callable[[Params], Params], held: Params) -> Callable[[Params], Params]:
    """Return v -> H_FF v_F + v_A."""

    def cut(v: Params) -> Params:
        product = hvp(_only_where(held, v, False))
        return jax.tree.map(lambda h, x, hx: jnp.where(h, x, hx), held, v, product)

    return cut


def _solve_symmetric(hvp: Callable[[Params], Params], right: Params, ok: jax.Array, trust: bool) -> Params:
    """Return the solution of H v = right, NaN where there is none to be had; differentiable and transposable."""
    budget = max(BUDGET_PER_UNKNOWN * tree.size(right), LEAST_BUDGET)

    def conjugate_gradients(matvec: Any, right: Params) -> Params:
        needed = jax.tree.map(lambda b: jnp.where(ok, b, 0), right)  # otherwise the loop is over at once
        # With a key the operator is first checked to be symmetric: a wrong derivative rule must not give a wrong answer.
        run = cg(matvec, needed, rtol=tree.coarsest_eps(right) ** RTOL_POWER, maxiter=budget, key=0)
        solved = (run.status != KrylovStatus.NONFINITE) if trust else (run.status == KrylovStatus.CONVERGED)
        return tree.where(solved & (ok | (tree.max_abs(right) == 0)), run.x, _nan_like(right))

    return jax.lax.custom_linear_solve(hvp, right, conjugate_gradients, symmetric=True)


def _only_if(ok: jax.Array, tangent: jax.Array) -> jax.Array:
    """Return a tangent, NaN where it is not to be had; of a cotangent, zeros stay.

    Written as a solve with the identity, which says apart what to do forwards and backwards: the product with 1 or NaN
    would make NaN of the zero cotangents of lanes that nobody reads.
    """

    def forwards(_: Any, right: jax.Array) -> jax.Array:
        return jnp.where(ok, right, jnp.nan)

    def backwards(_: Any, right: jax.Array) -> jax.Array:
        return jnp.where(ok | (right == 0), right, jnp.nan)

    return jax.lax.custom_linear_solve(lambda v: v, tangent, forwards, backwards)


def _hoisted(fun: Callable[..., Any], example: tuple[Any, ...]) -> tuple[Callable[..., Any], list[Any]]:
    """Return `(function of (values, *args), values)`, the values being the traced ones that `fun` closes over.

    A rule may be asked for when the trace that those belong to is over; as arguments of their own they are part of the
    data, and get their derivative. The function is traced here, once.
    """
    config: Any = jax.config
    if config.jax_disable_jit:  # nothing outlives its trace, and control flow wants concrete values
        return lambda _, *args: fun(*args), []
    # Through a function made here: JAX keeps traces by function, and with them the values closed over.
    closed, shapes = jax.make_jaxpr(lambda *args: fun(*args), return_shape=True)(*example)
    structure = jax.tree.structure(shapes)
    traced = [isinstance(c, Tracer) for c in closed.consts]

    def pure(values: list[Any], *args: Any) -> Any:
        rest = iter(values)
        consts = [next(rest) if is_traced else c for is_traced, c in zip(traced, closed.consts, strict=True)]
        return structure.unflatten(jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, consts))(*jax.tree.leaves(args)))

    return pure, [c for is_traced, c in zip(traced, closed.consts, strict=True) if is_traced]


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero) or jnp.result_type(tangent) == jax.dtypes.float0


def _nan_like(a: Params) -> Params:
    return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), a)

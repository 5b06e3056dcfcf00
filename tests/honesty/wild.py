# SPDX-License-Identifier: Apache-2.0
"""One function that is many problems by its data, a solver that writes down all it sees, and the same function in NumPy.

    r = A x + B x^2 + b,    f = scale (sum_i w_i phi(r_i) + <c, x>) + noise sin(10^5 sum_j x_j / s)

phi is r^2/2, log(1 + e^r), e^r, |r|^p, -log r (NaN below zero) or cos r, chosen by `kind`; beyond |x_0| > wall the value
is `behind`; `sign` multiplies all derivatives. As everything is data, a method is compiled once for each dtype.
"""

import collections
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt import tree
from jopt.solvers.least_squares import as_least_squares_solver
from jopt.solvers.methods import METHODS as NAMED
from jopt.solvers.minimize import as_solver

N, M = 3, 4
# Evaluations recorded at most; every solve in these tests has maxfev at most this.
ROOM = 1100
SQUARE, SOFTPLUS, EXP, POWER, BARRIER, WAVE = range(6)


class Data(NamedTuple):
    """The data of a problem; shapes (M, N), (M, N), (M,), (M,), (N,) and scalars."""

    a: np.ndarray
    b: np.ndarray
    shift: np.ndarray
    weight: np.ndarray
    slope: np.ndarray
    kind: np.ndarray
    power: np.ndarray
    scale: np.ndarray
    sign: np.ndarray
    noise: np.ndarray
    wall: np.ndarray
    behind: np.ndarray


def data(dtype, **fields):
    """Return data in a dtype; what is not given is nothing: no curvature, no wall, no noise."""
    nothing = Data(
        a=np.zeros((M, N)),
        b=np.zeros((M, N)),
        shift=np.zeros(M),
        weight=np.zeros(M),
        slope=np.zeros(N),
        kind=np.int32(SQUARE),
        power=2.0,
        scale=1.0,
        sign=1.0,
        noise=0.0,
        wall=np.inf,
        behind=0.0,
    )
    filled = nothing._replace(**fields)
    with np.errstate(over="ignore", under="ignore"):
        floats = (np.asarray(x, jnp.dtype(dtype)) for x in filled)
        return Data(*floats)._replace(kind=np.int32(filled.kind))


@jax.custom_jvp
def turned(value, sign):
    """Return the value; its derivative is `sign` times the true one."""
    del sign
    return value


@turned.defjvp
def _turned_jvp(primals, tangents):
    value, sign = primals
    return turned(value, sign), sign * tangents[0]


def terms(x, d):
    """Return phi(r), shape (M,). Each formula sees a harmless number where another one is meant."""
    bent = jnp.where(d.b == 0, 0 * d.b, d.b * x)  # so that b = 0 makes no NaN of a large x
    r = d.a @ x + bent @ x + d.shift
    of = [jnp.where(d.kind == k, r, 1) for k in range(6)]
    each = (of[0] * of[0] / 2, jnp.logaddexp(0 * r, of[1]), jnp.exp(of[2]), jnp.abs(of[3]) ** d.power)
    return jnp.select([d.kind == k for k in range(5)], [*each, -jnp.log(of[4])], jnp.cos(of[5]))


def wild(params, d):
    """Return the value; `params` is {"x": (N,), "none": (0,)}: a leaf without entries is always there."""
    x = params["x"].astype(d.scale.dtype)
    smooth = d.scale * (jnp.sum(d.weight * terms(x, d)) + jnp.sum(d.slope * x))
    ripple = d.noise * jax.lax.stop_gradient(jnp.sin(jnp.asarray(1e5, x.dtype) * jnp.sum(x)))
    return turned(jnp.where(jnp.abs(x[0]) > d.wall, d.behind, smooth + ripple), d.sign)


def wild_residual(params, d):
    """Return residuals, shape (M,), for least squares."""
    x = params["x"].astype(d.scale.dtype)
    smooth = turned(d.scale * d.weight * terms(x, d), d.sign)
    return jnp.where(jnp.abs(x[0]) > d.wall, d.behind, smooth)


class Seen(NamedTuple):
    """All evaluations of a solve in order, with a leading axis of length ROOM."""

    x: jax.Array
    value: jax.Array
    grad: jax.Array
    accepted: jax.Array


class Watched(NamedTuple):
    """A solver's state, what it has seen, and how often it was asked."""

    inner: object
    seen: Seen
    count: jax.Array


def watched(solver):
    """Return the solver with a state that records every evaluation."""

    def init(objective, params):
        x = params["x"]
        scalar = tree.scalar_dtype(params)
        seen = Seen(
            x=jnp.zeros((ROOM, *x.shape), x.dtype),
            value=jnp.zeros(ROOM, scalar),
            grad=jnp.zeros((ROOM, *x.shape), x.dtype),
            accepted=jnp.zeros(ROOM, bool),
        )
        return Watched(solver.init(objective, params), seen, jnp.zeros((), jnp.int32))

    def step(objective, state, tolerance=None):
        inner, info = solver.step(objective, state.inner, tolerance)
        row = Seen(info.point.params["x"], info.point.value, info.point.grad["x"], info.accepted)
        seen = jax.tree.map(lambda column, x: column.at[state.count].set(x.astype(column.dtype)), state.seen, row)
        return Watched(inner, seen, state.count + 1), info

    new = jopt.Solver(init, step)
    new.bounded = solver.bounded
    return new


METHODS = {name: name for name in NAMED} | {
    "adam": jopt.adam(0.1),
    "chain": jopt.descent(
        jopt.chain(jopt.clip_by_global_norm(1.0), jopt.scale_by_adam()), jopt.linesearch.strong_wolfe()
    ),
}
BOUNDED = ("lbfgs", "trust-ncg", "newton-cg")
LEAST_SQUARES = ("lm", "gauss-newton")


@functools.cache
def solver(name):
    """Return the watched solver of a name, one object for each."""
    if name in LEAST_SQUARES:
        return watched(as_least_squares_solver(name))
    return watched(as_solver(METHODS[name]))


# A limit that nothing reaches; only traced limits may be so.
OFF = -np.inf


class Limits(NamedTuple):
    """The limits of a solve; all are data of the program."""

    gtol: float = 0.0
    xtol: float = OFF
    ftol: float = OFF
    frtol: float = OFF
    target: float = -np.inf
    maxiter: int = 1000
    maxfev: int = ROOM


# How often each program was traced, by method and whether it has bounds.
TRACES = collections.Counter()


@functools.cache
def program(name):
    """Return the jitted public call of a method; what differs between problems is data, so it is compiled once a dtype."""

    @jax.jit
    def run(start, d, asked, bounds):
        TRACES[name, start["x"].dtype, bounds is not None] += 1
        if name in LEAST_SQUARES:
            return jopt.least_squares(wild_residual, start, (d,), solver(name), **asked)
        return jopt.minimize(wild, start, (d,), solver(name), bounds=bounds, **asked)

    return run


def solve(name, x0, d, limits, bounds=None):
    """Return the result of the public call; `name` is a method of `minimize` or of `least_squares`."""
    counts = {"maxiter": np.int32(limits.maxiter), "maxfev": np.int32(limits.maxfev)}
    asked = {name: np.float64(limit) for name, limit in limits._asdict().items()} | counts
    box = None if bounds is None else tuple({"x": side, "none": side[:0]} for side in bounds)
    return program(name)({"x": x0, "none": x0[:0]}, d, asked, box)


def seen(result):
    """Return what the solve has seen, as NumPy arrays with one row for each evaluation."""
    rows = result.state.solver
    return Seen(*(np.asarray(column)[: int(rows.count)] for column in rows.seen))


class Fresh(NamedTuple):
    """Value and gradient in extended precision, with bounds on what rounding in a dtype may make of them."""

    value: np.longdouble
    grad: np.ndarray
    value_error: np.longdouble
    grad_error: np.ndarray


def fresh(x, d, dtype, squares=False):
    """Evaluate in long double, with a bound on the error of the same evaluation in `dtype`.

    The error of r is gamma (|A| |x| + |B| x^2 + |b|) with gamma = k eps, k the roundings on the way; phi' is monotone (but
    for the cosine), so over that interval it changes by no more than between its ends. Numbers below the least normal
    one may become zero anywhere, which `least` stands for.
    """
    if abs(float(x[0])) > d.wall:
        behind = np.longdouble(d.behind)
        return Fresh(behind, np.zeros(N), np.longdouble(0), np.zeros(N))
    wide = lambda v: np.asarray(v, np.longdouble)  # noqa: E731
    x, a, b, shift, w, c, scale = map(wide, (x, d.a, d.b, d.shift, d.weight, d.slope, d.scale))
    info = jnp.finfo(dtype)
    gamma, least = (4 * (N + M) + 16) * wide(float(info.eps)), 64 * wide(float(info.tiny))
    r, jac = a @ x + b @ (x * x) + shift, a + 2 * b * x
    dr = gamma * (abs(a) @ abs(x) + abs(b) @ (x * x) + abs(shift)) + least
    djac = gamma * (abs(a) + 2 * abs(b) * abs(x)) + least
    phi, slope = _phi(r, d), _slope(r, d)
    ends = np.maximum(abs(_slope(r - dr, d) - slope), abs(_slope(r + dr, d) - slope))
    steepest = np.maximum(abs(_slope(r - dr, d)), abs(_slope(r + dr, d)))
    if d.kind == WAVE:
        ends, steepest = np.minimum(2, dr), np.ones(M)
    dslope = ends + gamma * abs(slope) + least
    dphi = steepest * dr + gamma * abs(phi) + least
    if squares:
        size = scale * w
        dslope = size**2 * (abs(phi) * dslope + dphi * abs(slope) + dphi * dslope + gamma * abs(phi * slope)) + least
        slope = size**2 * phi * slope
        value, dvalue = np.sum((size * phi) ** 2) / 2, np.sum(size**2 * (abs(phi) + dphi) * dphi)
        c, scale, w = 0 * c, wide(1), np.ones(M, np.longdouble)
        dvalue = dvalue + gamma * value
    else:
        value = scale * (np.sum(w * phi) + c @ x)
        dvalue = scale * (abs(w) @ (dphi + gamma * abs(phi)) + gamma * (abs(c) @ abs(x)))
    grad = scale * ((w * slope) @ jac + c)
    flat = abs(w) * (abs(slope) + dslope)
    dgrad = scale * ((abs(w) * dslope) @ abs(jac) + flat @ (djac + gamma * abs(jac)) + gamma * abs(c))
    dgrad = dgrad + least * (1 + scale) * (1 + (1 + abs(w)) @ ((1 + abs(slope))[:, None] * (1 + abs(jac))))
    noise = 2 * wide(d.noise) + least * (1 + scale) * (1 + np.sum(1 + abs(w)) + np.sum(abs(phi)))
    return Fresh(value, wide(d.sign) * grad, dvalue + noise, dgrad)


def _phi(r, d):
    with np.errstate(all="ignore"):
        power = np.longdouble(d.power)
        return [
            lambda: r * r / 2,
            lambda: np.logaddexp(np.longdouble(0), r),
            lambda: np.exp(r),
            lambda: abs(r) ** power,
            lambda: -np.log(r),
            lambda: np.cos(r),
        ][int(d.kind)]()


def _slope(r, d):
    with np.errstate(all="ignore"):
        power = np.longdouble(d.power)
        return [
            lambda: r,
            lambda: 1 / (1 + np.exp(-r)),
            lambda: np.exp(r),
            lambda: np.where(r == 0, 0, power * np.sign(r) * abs(r) ** (power - 1)),
            lambda: -1 / np.where(r > 0, r, np.nan),
            lambda: -np.sin(r),
        ][int(d.kind)]()

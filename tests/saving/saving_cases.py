# SPDX-License-Identifier: Apache-2.0
"""Solves whose states are saved, and what is compared of them: shared by the tests and by the process that goes on."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

import jopt
import jopt.optimizers
from jopt.linalg import limited_memory
from jopt.solvers.least_squares import LEAST_SQUARES_METHODS
from jopt.solvers.methods import METHODS

STOPS = (1, 2, 3, 4, 5, 7, 10)  # trips after which a solve is stopped: most of them lie within a search
TRIPS = 14


def start():
    return {"x": jnp.linspace(-1.2, 0.7, 5), "y": jnp.float32(0.5)}


def flat(params):
    return jnp.append(params["x"], params["y"].astype(jnp.float64))


def valley(params, weight):
    x = flat(params)
    return jnp.append(jnp.sqrt(weight) * (x[1:] - x[:-1] ** 2), 1.0 - x[:-1])


def rosenbrock(params, weight):
    return jnp.sum(jnp.square(valley(params, weight)))


def with_aux(params, weight):
    return rosenbrock(params, weight), {"last": params["y"], "rounded": jnp.round(params["x"]).astype(jnp.int8)}


def decay():
    return jopt.schedules.cosine_decay_schedule(1e-2, TRIPS)


RECIPES = dict(
    sorted(
        (name, factory)
        for name, factory in inspect.getmembers(jopt.optimizers, inspect.isfunction)
        if factory.__module__ == jopt.optimizers.__name__ and not name.startswith("_")
    )
)

CHAINS = {
    **{name: lambda factory=factory: factory(decay()) for name, factory in RECIPES.items()},
    "adam in bfloat16": lambda: jopt.adam(1e-2, mu_dtype=jnp.bfloat16),
    "sgd with momentum": lambda: jopt.sgd(decay(), momentum=0.9),
    "noise": lambda: jopt.chain(jopt.add_noise(1e-3, 0.5, key=0), jopt.sgd(1e-3)),
    "noise, old key": lambda: jopt.chain(jopt.add_noise(1e-3, 0.5, key=jax.random.PRNGKey(3)), jopt.sgd(1e-3)),
    "plateau": lambda: jopt.chain(jopt.sgd(1e-2), jopt.reduce_on_plateau(0.5, 1)),
    "named stages": lambda: jopt.chain(mean=jopt.scale_by_adam(), rate=jopt.scale_by_learning_rate(decay())),
    "gram": lambda: jopt.chain(jopt.scale_by_lbfgs(3, product=limited_memory.gram), jopt.scale_by_line_search()),
    "line search": lambda: jopt.chain(jopt.scale_by_lbfgs(3), jopt.scale_by_line_search()),
}

SOLVERS = {
    "newton-cg, hutchinson": lambda: jopt.newton_cg(preconditioner="hutchinson"),
    "lbfgs, hager-zhang": lambda: jopt.lbfgs(3, search=jopt.linesearch.hager_zhang(), history_dtype=jnp.bfloat16),
}

SOLVES = {
    **{name: functools.partial(jopt.minimize, rosenbrock, method=name) for name in METHODS},
    **{name: lambda *a, m=made, **k: jopt.minimize(rosenbrock, *a, method=m(), **k) for name, made in SOLVERS.items()},
    **{name: lambda *a, m=made, **k: jopt.minimize(rosenbrock, *a, method=m(), **k) for name, made in CHAINS.items()},
    **{name: functools.partial(jopt.least_squares, valley, method=name) for name in LEAST_SQUARES_METHODS},
    "lm, lsqr": lambda *a, **k: jopt.least_squares(
        valley, *a, method=jopt.levenberg_marquardt(linear_solve="lsqr"), loss="cauchy", **k
    ),
    "aux and history": functools.partial(
        jopt.minimize, with_aux, method="bfgs", has_aux=True, history=True, maxiter=20
    ),
    "lbfgs, bounds": functools.partial(jopt.minimize, rosenbrock, method="lbfgs", bounds=(-1.3, 0.8)),
    "trust-ncg, bounds": functools.partial(jopt.minimize, rosenbrock, method="trust-ncg", bounds=(-1.3, 0.8)),
}


def solve(name, trips=TRIPS, state=None):
    """Return the result of a solve from its start, or from a state, that ends after so many trips in all."""
    x0 = start() if state is None else jax.tree.map(jnp.zeros_like, start())
    return SOLVES[name](x0, (jnp.float64(2.0),), gtol=1e-13, maxfev=trips, resume=state)


def template(name):
    """Return the shapes and dtypes of the state of a solve; nothing is evaluated."""
    return jax.eval_shape(lambda: solve(name).state)


def bits(tree):
    """Return every array of a tree as text, under its path: the dtype, the shape and the bytes."""
    text = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        dtype = leaf.dtype
        leaf = np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(dtype, jax.dtypes.prng_key) else leaf)
        text[jax.tree_util.keystr(path)] = f"{dtype}{list(leaf.shape)} {leaf.tobytes().hex()}"
    return text

# SPDX-License-Identifier: Apache-2.0
"""The matrix of dtypes: what is traced for each solver and each transformation, and what is asked of it.

Nothing is compiled: the programs are traced and their types are read. Run as a program it looks at the whole matrix in a
process where 64-bit types are off, and prints what it found wrong as JSON, by name.
"""

import functools
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import test_conformance

import jopt
from jopt import tree
from jopt.solvers.least_squares import LEAST_SQUARES_METHODS, as_least_squares_solver
from jopt.solvers.methods import METHODS
from jopt.solvers.minimize import as_solver
from jopt.solvers.residuals import Residuals

MAXITER = 3

# dtypes of the two leaves, a tree each
NARROW = [("bfloat16", "bfloat16"), ("float16", "float16"), ("float32", "float32"), ("bfloat16", "float32")]
WIDE = [("float64", "float64"), ("float32", "float64")]

# Directions that learn from points and the extras that they ask for, beside those of test_conformance.
CURVED = {
    "scale_by_bfgs": jopt.scale_by_bfgs,
    "scale_by_dfp": jopt.scale_by_dfp,
    "scale_by_gauss_newton_cg": jopt.scale_by_gauss_newton_cg,
    "scale_by_lbfgs": jopt.scale_by_lbfgs,
    "scale_by_line_search": lambda: jopt.chain(jopt.scale(-1.0), jopt.scale_by_line_search()),
    "scale_by_newton": jopt.scale_by_newton,
    "scale_by_newton_cg": jopt.scale_by_newton_cg,
    "scale_by_newton_cg lbfgs": lambda: jopt.scale_by_newton_cg(preconditioner="lbfgs"),
    "scale_by_nonlinear_cg": jopt.scale_by_nonlinear_cg,
    "scale_by_sr1": jopt.scale_by_sr1,
}
TRANSFORMATIONS = {name: functools.partial(test_conformance.make, name) for name in test_conformance.TABLE} | CURVED

BOUNDED = ("lbfgs", "newton-cg", "trust-ncg")
CHAINS = {
    "chain": lambda: jopt.chain(jopt.clip_by_global_norm(1.0), jopt.scale_by_adam(), jopt.scale(-0.1)),
    "optax chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)),
    "descent of a chain": lambda: jopt.descent(
        jopt.chain(jopt.trace(0.9), jopt.scale_by_rms()), jopt.linesearch.backtracking()
    ),
}
SOLVERS = {
    **{name: functools.partial(as_solver, name) for name in METHODS},
    **CHAINS,
    **{f"{name} within bounds": functools.partial(as_solver, name) for name in BOUNDED},
    **{f"{name} of residuals": functools.partial(as_least_squares_solver, name) for name in LEAST_SQUARES_METHODS},
}


def described(dtypes):
    """Return a tree of two leaves without values."""
    return {"a": [jax.ShapeDtypeStruct((2, 2), dtypes[0])], "b": jax.ShapeDtypeStruct((3,), dtypes[1])}


def fun(params):
    """A smooth function whose terms have each leaf's dtype."""
    dtype = tree.scalar_dtype(params)
    return sum(jnp.sum(jnp.square(x - 1) + jnp.cos(x)).astype(dtype) for x in jax.tree.leaves(params))


def residual(params):
    return jax.tree.map(lambda x: jnp.sin(x) + 3 * x - 1, params)


def types(a):
    """Return structure, shapes, dtypes and whether each leaf is weakly typed, comparable and printable."""
    leaves, structure = jax.tree.flatten(a)
    return str(structure), [(x.shape, str(x.dtype), bool(getattr(x, "weak_type", False))) for x in leaves]


def dtypes_within(jaxpr):
    """Return the dtypes of all values in a program, save those of weakly typed scalars: Python's numbers."""
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    found = set()
    for equation in inner.eqns:
        found |= {v.aval.dtype for v in equation.outvars if hasattr(v.aval, "dtype") and _counts(v.aval)}
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            found |= dtypes_within(value) if _is_jaxpr(value) else set()
    return found


def _counts(aval):
    return aval.shape != () or not aval.weak_type


def _is_jaxpr(x):
    return hasattr(x, "eqns") or hasattr(x, "jaxpr")


def compare(label, found, expected):
    return [] if found == expected else [f"{label}: {found} instead of {expected}"]


def widened(dtypes, jaxpr):
    """Return a complaint if 64-bit numbers stand in the program for a tree that has none."""
    wide = sorted(map(str, dtypes_within(jaxpr) & {jnp.dtype("float64"), jnp.dtype("complex128")}))
    return [] if "float64" in dtypes or not wide else [f"{dtypes}: {wide} in the program"]


def look_at_transformation(name, dtypes):
    """Return what is wrong with one update on one tree: of its dtypes, those of its state, or within."""
    made, like = TRANSFORMATIONS[name](), described(dtypes)
    dtype = tree.scalar_dtype(like)
    extras = {"value": jnp.ones((), dtype), "value_fn": fun, "hvp": lambda v: v, "gnvp": lambda v: v}
    with jax.numpy_dtype_promotion("strict"):
        state = jax.eval_shape(made.init, like)
        step = jax.make_jaxpr(lambda g, s, p: made.update(g, s, p, grad=g, **extras), return_shape=True)
        jaxpr, (updates, after) = step(like, state, like)
    return (
        compare(f"{dtypes} updates", types(updates), types(like))
        + compare(f"{dtypes} state", types(after), types(state))
        + [f"{dtypes} init: weakly typed state" for _, _, weak in types(state)[1] if weak]
        + widened(dtypes, jaxpr)
    )


def look_at_solver(name, dtypes):
    """Return what is wrong with one whole solve on one tree: of the result's dtypes, the state's, or within."""
    like, solver = described(dtypes), as_solver(SOLVERS[name]())
    dtype = str(tree.scalar_dtype(like))
    solve, objective = functools.partial(jopt.minimize, fun), jopt.Objective(fun)
    if name.endswith("residuals"):
        solve, objective = functools.partial(jopt.least_squares, residual), Residuals(residual)
    settings = {"bounds": (-1.0, 0.5)} if name.endswith("bounds") else {}
    if settings:
        box = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), like)
        objective = objective._replace(bounds=jopt.linalg.Box(jax.tree.map(np.negative, box), box))
    # A chain of optax's is traced as optax is written, for the standard promotion, and widens within what it likes.
    theirs = name == "optax chain"
    with jax.numpy_dtype_promotion("standard" if theirs else "strict"):
        begun = jax.eval_shape(functools.partial(solver.init, objective), like)
        program = jax.make_jaxpr(
            lambda x: solve(x, method=solver, maxiter=MAXITER, history=True, **settings), return_shape=True
        )
        jaxpr, result = program(like)
    scalars = {"fun": result.fun, "gtol": result.state.gtol, "history": result.history.grad_norm}
    return (
        compare(f"{dtypes} x", types(result.x), types(like))
        + compare(f"{dtypes} jac", types(result.jac), types(like))
        + [f"{dtypes} {k}: {v.dtype}" for k, v in scalars.items() if str(v.dtype) != dtype or v.weak_type]
        + compare(f"{dtypes} state", types(result.state.solver), types(begun))
        + [f"{dtypes} init: weakly typed state" for _, _, weak in types(begun)[1] if weak]
        + ([] if theirs else widened(dtypes, jaxpr))
    )


LOOKS = {"transformation": (TRANSFORMATIONS, look_at_transformation), "solver": (SOLVERS, look_at_solver)}


def report(trees):
    """Return for each kind and name what is wrong on any of the trees; an exception is something wrong."""
    found = {}
    for kind, (table, look) in LOOKS.items():
        for name in table:
            wrong = found[f"{kind} {name}"] = []
            for dtypes in trees:
                try:
                    wrong += look(name, dtypes)
                except Exception as error:  # all of the matrix is to be seen
                    wrong.append(f"{dtypes}: {type(error).__name__}: {str(error)[:300]}")
    return found


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", len(sys.argv) > 1)
    json.dump(report(NARROW + WIDE if jax.config.jax_enable_x64 else NARROW), sys.stdout)

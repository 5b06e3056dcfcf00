# SPDX-License-Identifier: Apache-2.0
"""The structure of every state as text: what `state_structures.txt` freezes.

A change of it breaks what users have saved. If that is decided, say so in the changelog and write the file anew:

    python tests/saving/state_structures.py > tests/saving/state_structures.txt
"""

import inspect

import jax
import jax.numpy as jnp

import jopt
import jopt.optimizers
import jopt.transforms
from jopt.linalg import limited_memory
from jopt.solvers import loop
from jopt.solvers.least_squares import LEAST_SQUARES_METHODS
from jopt.solvers.methods import METHODS

# What factories need that have no default for it.
NEEDED = {
    "decay": 0.9, "eta": 0.1, "gamma": 0.5, "key": 0, "learning_rate": 0.1, "max_delta": 1.0, "max_norm": 1.0, "p": 3.0,
    "step_size": -0.1, "step_size_fn": lambda count: 1.0 / (1 + count), "weight_decay": 0.1,
}  # fmt: skip


def params():
    return {"b": jnp.ones((), jnp.float64), "w": jnp.ones(2, jnp.float32)}


def value(p):
    return jnp.sum(jnp.square(p["w"])).astype(jnp.float64) + p["b"] ** 2


def residual(p):
    return jnp.append(p["w"].astype(jnp.float64), p["b"])


def made(factory):
    """Return what a factory makes of its defaults, and of numbers where it has none."""
    needed = [
        p.name
        for p in inspect.signature(factory).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    return factory(**{name: NEEDED[name] for name in needed})


def recipes():
    return sorted(
        name
        for name, factory in inspect.getmembers(jopt.optimizers, inspect.isfunction)
        if factory.__module__ == jopt.optimizers.__name__ and not name.startswith("_")
    )


def stages():
    return sorted(jopt.transforms.__all__)


SEARCHES = ("backtracking", "exact", "hager_zhang", "strong_wolfe", "weak_wolfe")


def solver_states():
    """Yield a name and the state before the first trip, for every kind of solve."""
    objective, residuals = jopt.Objective(value), jopt.Residuals(residual)
    for name, factory in sorted(METHODS.items()):
        yield name, loop.begin(factory(), objective, params())
    for name, factory in sorted(LEAST_SQUARES_METHODS.items()):
        yield name, loop.begin(factory(), residuals, params())
    yield "lm, lsqr", loop.begin(jopt.levenberg_marquardt(linear_solve="lsqr"), residuals, params())
    yield "fixed step", loop.begin(jopt.fixed_step(jopt.adam(0.1)), objective, params())
    with_aux = jopt.Objective(lambda p: (value(p), p["w"]), (), True)
    yield (
        "fixed step, aux, history",
        loop.begin(jopt.fixed_step(jopt.sgd(0.1)), with_aux, params(), loop.Options(rows=3)),
    )


def states():
    """Yield a heading and a state: every solver's, recipe's, stage's and line search's, and some of their settings."""
    for name, state in solver_states():
        yield f"solve: {name}", state
    for name in recipes():
        yield f"recipe: {name}", made(getattr(jopt, name)).init(params())
    for name in stages():
        yield f"stage: {name}", made(getattr(jopt, name)).init(params())
    yield "stage: scale_by_lbfgs, gram", jopt.scale_by_lbfgs(product=limited_memory.gram).init(params())
    for forcing in ("eisenstat-walker-1", "eisenstat-walker-2", 0.1):
        yield f"stage: scale_by_newton_cg, forcing {forcing}", jopt.scale_by_newton_cg(forcing=forcing).init(params())
    for tool in ("jacobi", "hutchinson", "lbfgs"):
        yield f"stage: scale_by_newton_cg, {tool}", jopt.scale_by_newton_cg(preconditioner=tool).init(params())
    yield "stage: chain of names", jopt.chain(mean=jopt.ema(0.9), rate=jopt.scale_by_learning_rate(0.1)).init(params())
    for name in SEARCHES:
        search = getattr(jopt.linesearch, name)()
        yield f"search: {name}", search.init(jnp.float64(1.0), jnp.float64(-1.0), jnp.float64(1.0))


def lines(tree, path=""):
    """Yield a line for each node and each leaf of a tree.

    Raises:
      TypeError: for what is neither a NamedTuple, a tuple, a list, a dict, None nor an array.
    """
    kind = type(tree).__name__
    if tree is None:
        yield f"{path} None"
    elif isinstance(tree, jax.Array):
        yield f"{path} {tree.dtype}{list(tree.shape)}{' weak' if getattr(tree, 'weak_type', False) else ''}"
    elif isinstance(tree, tuple) and hasattr(tree, "_fields"):
        yield f"{path} {kind}"
        for name in tree._fields:
            yield from lines(getattr(tree, name), f"{path}.{name}")
    elif type(tree) in (tuple, list, dict):
        yield f"{path} {kind}"
        for key, child in tree.items() if kind == "dict" else enumerate(tree):
            yield from lines(child, f"{path}[{key!r}]")
    else:
        msg = f"{path} is {tree!r}"
        raise TypeError(msg)


def named_tuples(tree):
    """Return the types of all NamedTuples within a tree."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    found = {type(tree)} if hasattr(tree, "_fields") else set()
    return found.union(*map(named_tuples, tree)) if isinstance(tree, (tuple, list)) else found


def text():
    """Return all structures."""
    return "\n".join(f"[{heading}]\n" + "\n".join(lines(state)) + "\n" for heading, state in states())


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(text(), end="")

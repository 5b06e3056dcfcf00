# SPDX-License-Identifier: Apache-2.0
r"""Is this derivative right? Automatic differentiation against differences, with a tolerance that is measured.

`check_gradient` compares the derivative, for each entry of x or along random directions, with Richardson's extrapolation of
centred differences (`jopt.autodiff.richardson`); a plain centred difference, at a step near eps^(1/3) max(|x_j|, scale),
and, where the function is holomorphic, the complex step stand beside it. `check_hvp` does the same with the gradient for the
function and the Hessian-vector product for its derivative. The verdict is that of `jopt.autodiff.comparison`.

What they find: wrong custom rules, a stray `stop_gradient`, points where the function is not differentiable. What they cannot:
an error below the noise of f, which the report states for each comparison; and along random directions, one that their
signs cancel. `check_hvp` takes the gradient as it is: check that first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import tree, validate
from jopt.autodiff.comparison import (
    DIRECTION,
    Comparison,
    DerivativeCheck,
    HvpCheck,
    Outcome,
    badness,
    compared,
    concluded,
)
from jopt.autodiff.complex_step import complex_steps, obstacle
from jopt.autodiff.differences import (
    NOISE_DIRECTIONS,
    Directions,
    Quantity,
    along,
    coordinates,
    random_signs,
    sample,
    units,
)
from jopt.autodiff.products import checked
from jopt.curvature import hvp
from jopt.curvature.hvp import scalar_function
from jopt.linalg import asymmetry, probes, symmetry_tolerance
from jopt.types import Params, hashable


def check_gradient(
    f: Callable[[Params], Any],
    x: Params,
    *,
    mode: str = "reverse",
    scale: float | None = None,
    limit: int = 100,
    directions: int = 8,
    key: jax.Array | int = 0,
    batch: int | None = 32,
) -> DerivativeCheck:
    """Compare the gradient of a function with differences of its values.

    If x has more than `limit` entries, each leaf with more than `directions` of them is checked along so many random
    directions instead of entry by entry; where one of these is wrong, its range is divided until the entry is found.
    A function with several values is checked as their sum with random weights.

    Cost: one compiled program; 25 values of f a comparison in float32, 45 in float64, and five gradients.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value; pure.
      x: a tree of floating arrays, at least one entry.
      mode: "reverse" checks vjp, "forward" jvp.
      scale: the size below which an entry counts as small, > 0: steps are in proportion to max(|x_j|, scale). None takes
        the root mean square of each leaf, 1 for a leaf of zeros.
      limit: the number of entries up to which each is checked, >= 1.
      directions: random directions for each larger leaf, >= 1.
      key: a random key, or a whole number to make one of; for directions and weights.
      batch: trial points evaluated at once by `vmap`, >= 1; None evaluates one after another, for functions that are
        large or have no batching rule.

    Returns:
      A `DerivativeCheck`; `ok` says whether the derivative holds.

    Raises:
      TypeError: if `f` cannot be called, or a leaf of `x` or f(x) is not floating.
      ValueError: if `x` or f(x) is empty, `mode` is neither word or a number is out of range.

    Reference: see `jopt.autodiff.richardson`, `jopt.autodiff.complex_step` and `jopt.autodiff.differences`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jopt.autodiff import check_gradient
      >>> check_gradient(lambda x: jnp.sum(jnp.sin(x["w"])), {"w": jnp.arange(3.0)}).ok
      True
      >>> found = check_gradient(lambda x: x[0] * jax.lax.stop_gradient(x[1]), jnp.array([2.0, 3.0]))
      >>> found.ok, found.worst.path
      (False, 'x[1]')
    """
    name = "check_gradient"
    validate.choice(name, "mode", mode, _QUANTITIES)
    key = _settings(name, scale, directions, key, batch)
    validate.integer(name, "limit", limit, low=1)
    x, y = checked(name, f, x)
    _not_empty(name, x, y)
    f, scales, signs = hashable(f), units(x, scale), random_signs(key, directions, tree.size(x))
    single = [leaf.shape for leaf in jax.tree.leaves(y)] == [()]
    weights = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), y)
    weights = weights if single else probes.normal(jax.random.fold_in(key, 1), weights)
    chosen = _chosen_directions(x, limit, directions)
    problem = _Problem(_QUANTITIES[mode], f, x, weights, scales, signs, batch, obstacle(f, x))
    comparisons = problem.compare(chosen)
    wrong = max(comparisons, key=badness)
    if wrong.outcome is Outcome.WRONG:
        at = comparisons.index(wrong)
        comparisons += problem.narrow(Directions(*(field[at : at + 1] for field in chosen)), len(chosen.low))
    return concluded(comparisons, tree.size(x), problem.obstacle)


def check_hvp(
    f: Callable[[Params], Any],
    x: Params,
    *,
    mode: str = "forward-over-reverse",
    scale: float | None = None,
    directions: int = 4,
    key: jax.Array | int = 0,
    batch: int | None = 32,
) -> HvpCheck:
    """Compare products with the Hessian with differences of the gradient, and try whether they are symmetric.

    Every entry of H v is compared, along random directions v. A wrong rule for a second derivative may be symmetric, and
    one that is right is not wrong for the rounding of an asymmetry below `jopt.linalg.symmetry_tolerance`.

    Cost: one compiled program; 25 gradients a direction in float32, 45 in float64, and six linearisations.
    Memory: as many trees like x.

    Args:
      f: a function of one tree, with a real scalar as its value; pure.
      x: a tree of floating arrays, at least one entry.
      mode: a mode of `jopt.curvature.hvp`.
      scale: as for `check_gradient`.
      directions: how many, >= 1.
      key: a random key, or a whole number to make one of.
      batch: trial points at which gradients are taken at once by `vmap`, >= 1; None takes one after another.

    Returns:
      An `HvpCheck`.

    Raises:
      TypeError: if `f` cannot be called or does not return a real scalar, or a leaf of `x` is not floating.
      ValueError: if `x` is empty, `mode` is none of the three or a number is out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.autodiff import check_hvp
      >>> check_hvp(lambda x: jnp.sum(x[:-1] ** 2 * x[1:]), jnp.array([1.0, 2.0, 3.0])).ok
      True
    """
    name = "check_hvp"
    validate.choice(name, "mode", mode, _HESSIANS)
    key = _settings(name, scale, directions, key, batch)
    x, y = checked(name, f, x)
    _not_empty(name, x, y)
    jax.eval_shape(scalar_function(name, f, (), False, "f"), x)
    n, f = tree.size(x), hashable(f)
    chosen, signs = along(0, n, directions), random_signs(key, directions, n)
    samples = sample(_HESSIANS[mode], f, x, jnp.ones(y.shape, y.dtype), chosen, units(x, scale), signs, batch)
    entries = _names(x, coordinates(n))
    names = [f"(H v){entry.removeprefix('x')}{DIRECTION}{k}" for k in range(directions) for entry in entries]
    none = np.full((directions, n), np.nan)
    made = concluded(compared(samples, names, np.ones((directions, 1)), none), n, "H v is compared with gradients")
    skew, bound = float(asymmetry(hvp(f, x, mode=mode), x, jax.random.fold_in(key, 1))), symmetry_tolerance(x)
    symmetric = skew <= bound
    message = (
        made.message if symmetric or not made.ok else f"not symmetric: <u, H v> and <v, H u> differ; {made.message}"
    )
    return HvpCheck(
        made.ok and symmetric, message, made.worst, made.smooth, made.compared, n, skew, bound, made.comparisons
    )


class _Problem(NamedTuple):
    """One function at one point, as it is checked along any directions."""

    quantity: Quantity
    f: Callable[..., Any]
    x: Params
    weights: Any
    scales: np.ndarray
    signs: np.ndarray
    batch: int | None
    obstacle: str

    def compare(self, directions: Directions) -> list[Comparison]:
        """Return one comparison for each direction."""
        samples = sample(self.quantity, self.f, self.x, self.weights, directions, self.scales, self.signs, self.batch)
        steps = np.full(len(directions.low), np.nan)
        if not self.obstacle:
            scales = self.scales.astype(tree.scalar_dtype(self.x))
            made = complex_steps(self.f, self.x, self.weights, directions, scales, self.signs)
            steps = np.asarray(made, np.float64)
        single = directions.high - directions.low == 1
        unit = np.where(single, self.scales[0][directions.low], 1.0)
        return compared(samples, _names(self.x, directions), unit[:, None], steps[:, None])

    def narrow(self, wrong: Directions, parts: int) -> list[Comparison]:
        """Divide the range of a wrong direction, always on at its worst part, until that is one entry or agrees.

        The program is the one that `compare` has compiled, so there are as many parts as it had directions.
        """
        found: list[Comparison] = []
        low, high, row = int(wrong.low[0]), int(wrong.high[0]), wrong.row[0]
        while high - low > 1:
            cuts = np.linspace(low, high, max(parts, 2) + 1).round().astype(np.int32)
            ranges = Directions(
                cuts[:-1], cuts[1:], np.full(len(cuts) - 1, row, np.int32), np.zeros(len(cuts) - 1, bool)
            )
            comparisons = self.compare(ranges)
            worst = max(range(len(comparisons)), key=lambda k: badness(comparisons[k]))
            if comparisons[worst].outcome is not Outcome.WRONG:
                break
            found = [comparisons[worst]]
            low, high = int(cuts[worst]), int(cuts[worst + 1])
        return found


def _settings(name: str, scale: float | None, directions: int, key: jax.Array | int, batch: int | None) -> jax.Array:
    if scale is not None:
        validate.number(name, "scale", scale, low=0.0, low_open=True, high=float(np.finfo(np.float64).max))
    validate.integer(name, "directions", directions, low=1)
    if batch is not None:
        validate.integer(name, "batch", batch, low=1, hint="None evaluates one point after another.")
    return validate.random_key(name, "key", key)


def _not_empty(name: str, x: Params, y: Any) -> None:
    for argument, given in (("x", x), ("f(x)", y)):
        if not tree.size(given):
            msg = f"{name}: {argument} must hold at least one number, got none."
            raise ValueError(msg)


def _chosen_directions(x: Params, limit: int, directions: int) -> Directions:
    """Return what is checked: each entry, or random directions for large leaves."""
    everything = coordinates(tree.size(x))
    if tree.size(x) <= limit:
        return everything
    parts, start = [], 0
    for leaf in jax.tree.leaves(x):
        end = start + leaf.size
        if leaf.size <= directions:
            parts.append(Directions(*(field[start:end] for field in everything)))
        else:
            parts.append(along(start, end, directions))
        start = end
    return Directions(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def _names(x: Params, directions: Directions) -> list[str]:
    """Return the path of each direction's entry, or of its range with the direction's number."""
    paths, starts = [], [0]
    for path, leaf in jax.tree_util.tree_leaves_with_path(x):
        paths.append((f"x{jax.tree_util.keystr(path)}", leaf.shape))
        starts.append(starts[-1] + leaf.size)
    names = []
    for low, high, row in zip(directions.low, directions.high, directions.row, strict=True):
        at = int(np.searchsorted(starts, low, side="right")) - 1
        path, shape = paths[at]
        if high - low == 1:
            names.append(path + entry_name(shape, low - starts[at]))
        else:
            names.append(f"{path}, entries {low - starts[at]}:{high - starts[at]}{DIRECTION}{row - NOISE_DIRECTIONS}")
    return names


def entry_name(shape: tuple[int, ...], entry: int) -> str:
    """Return the index of an entry of an array, counted in row-major order, as Python writes it."""
    return f"[{', '.join(str(int(i)) for i in np.unravel_index(entry, shape))}]" if shape else ""


def _value(f: Callable[..., Any], x: Params, weights: Any) -> jax.Array:
    return tree.vdot(weights, f(x))[None]


def _reverse(f: Callable[..., Any], x: Params, weights: Any) -> Callable[[Params], jax.Array]:
    grad = jax.vjp(f, x)[1](weights)[0]
    # An entry that is not finite concerns no direction that leaves it alone.
    return lambda v: tree.vdot(jax.tree.map(lambda g, e: jnp.where(e == 0, jnp.zeros_like(g), g), grad, v), v)[None]


def _forward(f: Callable[..., Any], x: Params, weights: Any) -> Callable[[Params], jax.Array]:
    return lambda v: tree.vdot(weights, jax.jvp(f, (x,), (v,))[1])[None]


def _gradient(f: Callable[..., Any], x: Params, weights: Any) -> jax.Array:
    return tree.ravel(jax.vjp(f, x)[1](weights)[0])[0]


def _products(mode: str) -> Quantity:
    def derivative(f: Callable[..., Any], x: Params, weights: Any) -> Callable[[Params], jax.Array]:
        del weights
        product = hvp(f, x, mode=mode)
        return lambda v: tree.ravel(product(v))[0]

    return Quantity(_gradient, derivative)


_QUANTITIES = {"forward": Quantity(_value, _forward), "reverse": Quantity(_value, _reverse)}
_HESSIANS = {mode: _products(mode) for mode in ("forward-over-reverse", "reverse-over-forward", "reverse-over-reverse")}

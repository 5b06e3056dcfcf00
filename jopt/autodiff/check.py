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

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jopt import tree, validate
from jopt.autodiff.adjoint import Sides, beyond_scatter, nudged, sides
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
    evaluator,
    fresh,
    power_of_two,
    precision,
    random_signs,
    sample,
    units,
)
from jopt.autodiff.products import checked
from jopt.curvature import hvp
from jopt.curvature.hvp import scalar_function
from jopt.linalg import probes
from jopt.types import Params

# How far to go, in units of x, to see the size of a value that is zero at x: the largest step of a difference.
AWAY = 0.125


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
    A function with several values is checked as their sum with random weights, those of a leaf in proportion to one over
    its size.

    Cost: one compiled program; 25 values of f a comparison in float32, 45 in float64, and five gradients.

    Args:
      f: a function of one tree, with a tree of floating arrays as its value; pure.
      x: a tree of floating arrays, at least one entry.
      mode: "reverse" checks vjp, "forward" jvp.
      scale: the size below which an entry counts as small, > 0: steps are in proportion to max(|x_j|, scale). None takes
        the root mean square of each leaf, 1 for a leaf of zeros. A function with a pole much nearer than eps of that
        needs a smaller one.
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
    f = fresh(f)
    x, y = checked(name, f, x)
    _not_empty(name, x, y)
    scales, signs = units(x, scale), random_signs(key, directions, tree.size(x))
    weights = _weights(f, x, y, scales[0] * signs[0], jax.random.fold_in(key, 1))
    chosen = _chosen_directions(x, limit, directions)
    evaluate, imaginary = evaluator(_QUANTITIES[mode], f, batch), jax.jit(lambda *points: complex_steps(f, *points))
    problem = _Problem(evaluate, imaginary, x, weights, scales, signs, precision(f, x), obstacle(f, x))
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
    one that is right is not wrong for the rounding of an asymmetry below sqrt(eps), or within its scatter near x.

    Cost: one compiled program; 25 gradients a direction in float32, 45 in float64, five linearisations, and 18 products for the symmetry.
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
    f = fresh(f)
    x, y = checked(name, f, x)
    _not_empty(name, x, y)
    jax.eval_shape(scalar_function(name, f, (), False, "f"), x)
    n, scales, eps = tree.size(x), units(x, scale), precision(f, x)
    signs, evaluate = random_signs(key, directions, n), evaluator(_HESSIANS[mode], f, batch)
    names = [f"(H v){entry}{DIRECTION}{k}" for k in range(directions) for entry in _names("", x, coordinates(n))]

    def compare(chosen: Directions) -> list[Comparison]:
        samples = sample(evaluate, x, jnp.ones(y.shape, y.dtype), chosen, scales, signs, eps)
        return compared(samples, names, np.ones((directions, 1)), np.full((directions, n), np.nan))

    made = concluded(_closer(compare, along(0, n, directions), scales), n, "H v is compared with gradients")
    skew, bound = _asymmetry(f, x, mode, eps, jax.random.fold_in(key, 1)), eps**0.5
    symmetric = skew <= bound
    message = (
        made.message if symmetric or not made.ok else f"not symmetric: <u, H v> and <v, H u> differ; {made.message}"
    )
    return HvpCheck(
        made.ok and symmetric, message, made.worst, made.smooth, made.compared, n, skew, bound, made.comparisons
    )


def _asymmetry(f: Callable[..., Any], x: Params, mode: str, eps: float, key: jax.Array) -> float:
    """Return by how much <u, H v> and <v, H u> differ beyond their scatter, relative to the products' size."""
    unravel = tree.ravel(x)[1]

    def at(point: tuple[Any, Any]) -> Sides:
        x, factor = unravel(point[0]), point[1]
        product = hvp(f, x, mode=mode)
        u, v = tree.scale(factor, probes.normal(key, (x, x)))
        both = jax.lax.map(product, jax.tree.map(lambda *pair: jnp.stack(pair), u, v))
        h_u, h_v = (jax.tree.map(lambda leaf, k=k: leaf[k], both) for k in range(2))
        return jax.tree.map(lambda number: number[None], sides(u, h_v, h_u, v, factor))

    return float(beyond_scatter(jax.jit(lambda nearby: jax.lax.map(at, nearby))(nudged(x, eps))))


class _Problem(NamedTuple):
    """One function at one point, as it is checked along any directions."""

    evaluate: Callable[..., Any]
    imaginary: Callable[..., Any]
    x: Params
    weights: Any
    scales: np.ndarray
    signs: np.ndarray
    eps: float
    obstacle: str

    def compare(self, directions: Directions) -> list[Comparison]:
        """Return one comparison for each direction."""
        return _closer(self.compare_along, directions, self.scales)

    def compare_along(self, directions: Directions) -> list[Comparison]:
        """Return one comparison for each direction, in its unit."""
        samples = sample(self.evaluate, self.x, self.weights, directions, self.scales, self.signs, self.eps)
        steps = np.full(len(directions.low), np.nan)
        if not self.obstacle:
            scales = self.scales.astype(tree.scalar_dtype(self.x))
            steps = np.asarray(self.imaginary(self.x, self.weights, directions, scales, self.signs), np.float64)
        single = directions.high - directions.low == 1
        unit = np.where(single, self.scales[directions.relative.astype(int), directions.low], 1.0)
        return compared(samples, _names("x", self.x, directions), unit[:, None], steps[:, None])

    def narrow(self, wrong: Directions, parts: int) -> list[Comparison]:
        """Divide the range of a wrong direction, always on at its worst part, until that is one entry or agrees.

        The program is the one that `compare` has compiled: there are as many parts as it had directions.
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


def _closer(
    compare: Callable[[Directions], list[Comparison]], directions: Directions, scales: np.ndarray
) -> list[Comparison]:
    """Return comparisons along directions: where values are not finite, with steps in proportion to |x_j| alone.

    An entry far smaller than the rest of its leaf may be at the end of its range there.
    """
    made = compare(directions)
    lost = [one.outcome is Outcome.NONFINITE and np.isfinite(one.derivative) for one in made]
    movable = (directions.high - directions.low > 1) | (scales[1][directions.low] > 0)
    again = np.reshape(lost, (len(directions.low), -1)).any(axis=1) & movable
    if not again.any():
        return made
    nearer = compare(directions._replace(relative=directions.relative | again))
    return [
        b if gone and b.outcome is not Outcome.NONFINITE else a for a, b, gone in zip(made, nearer, lost, strict=True)
    ]


def _weights(f: Callable[..., Any], x: Params, y: Any, step: np.ndarray, key: jax.Array) -> Any:
    """Return the weights of the sum that stands for f: one for a scalar, else random and in proportion to 1 / size.

    The size of a leaf is the largest of its values at x and a step away, where a leaf that is zero at x is not.
    """
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), y)
    if tree.size(y) == 1:
        return ones
    weights = probes.normal(key, ones)
    if len(jax.tree.leaves(y)) == 1:
        return weights
    vector, unravel = tree.ravel(x)
    value = jax.jit(f)
    both = value(x), value(unravel(vector + (AWAY * step).astype(vector.dtype)))

    def scaled(weight: jax.Array, *values: jax.Array) -> jax.Array:
        size = np.abs(np.stack([np.asarray(part, np.float64) for part in values]))
        largest = np.where(np.isfinite(size), size, 0.0).max(initial=0.0)
        return weight * np.asarray(power_of_two(1.0 / largest) if largest > 0 else 1.0, weight.dtype)

    return jax.tree.map(scaled, weights, *both)


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


def _names(name: str, x: Params, directions: Directions) -> list[str]:
    """Return the path of each direction's entry, or of its range with the direction's number, in a tree of that name."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
    starts = list(itertools.accumulate((leaf.size for leaf in jax.tree.leaves(x)), initial=0))
    paths = list(zip(tree.paths(name, x), shapes, strict=True))
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

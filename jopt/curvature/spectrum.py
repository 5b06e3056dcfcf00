# SPDX-License-Identifier: Apache-2.0
r"""The spectrum of a symmetric operator: its ends, condition number, trace, diagonal and density.

The ends come from Lanczos runs of k steps from S random starts, trace and diagonal from S Hutchinson probes. The same
runs give the density of eigenvalues by stochastic Lanczos quadrature: for a start q on the unit sphere the mean of
q' f(A) q is tr f(A) / n, and with the Ritz values theta_i and the squares w_i of the first entries of T's eigenvectors
(Golub and Welsch 1969)

    tr f(A) / n  ~=  1/S sum_s sum_i w_si f(theta_si),

which f(x) = (a Gaussian around t) makes a smoothed density at t.

References: Golub and Meurant (2010), Matrices, Moments and Quadrature with Applications, chapters 3 and 11,
doi:10.1515/9781400833887; Golub and Welsch (1969), Calculation of Gauss quadrature rules, Math. Comp. 23(106),
doi:10.1090/S0025-5718-69-99647-1; Lin, Saad and Yang (2016), Approximating spectral densities of large matrices, SIAM
Rev. 58(1), section 3.2, doi:10.1137/130934283; Ghorbani, Krishnan and Xiao (2019), An investigation into neural net
optimization via Hessian eigenvalue density, ICML, arXiv:1901.10159.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jopt import report, tree, validate
from jopt.curvature.hvp import checked_operator
from jopt.linalg import extremes, hutchinson, lanczos, probes, ritz
from jopt.linalg.operators import Operator
from jopt.status import KrylovStatus, first_of
from jopt.types import Params, Scalar

# Widths of the Gaussian that the default grid reaches beyond the ends: its tail there is below 1e-3.
TAIL = 4.0


class Spectrum(NamedTuple):
    """What products tell of a symmetric operator on n variables; NaN where one was not finite.

    S is the number of samples and k that of Lanczos steps, at most n.

    Attributes:
      lowest: least Ritz value, a scalar; not below the lowest eigenvalue but for rounding.
      lowest_error: the least eigenvalue is at least `lowest - lowest_error`, up to a chance of
        `jopt.linalg.extremes.CHANCE`.
      highest: greatest Ritz value; not above the highest eigenvalue but for rounding.
      highest_error: the greatest eigenvalue is at most `highest + highest_error`, up to the same chance.
      condition: the end that is greater in size over the other, for ends of one sign; infinite otherwise. For a positive
        definite Hessian how elongated the contours are. Where the ends are not found yet, too small.
      trace: estimate of the sum of the eigenvalues.
      trace_error: its standard error.
      diagonal: estimate of the diagonal, a tree like x.
      diagonal_error: its standard errors, a tree like x.
      nodes: Ritz values, shape (S, k).
      weights: their weights in the quadrature, shape (S, k), each row of sum 1.
      asymmetry: largest relative asymmetry seen, see `jopt.linalg.Tridiagonal`.
      nhev: products made, int32.
      status: a `jopt.status.KrylovStatus` as int32: NONFINITE or NOT_SYMMETRIC if any run says so, CONVERGED if every
        run saw all that its start sees, MAX_ITERATIONS otherwise: then the errors say what is known.
    """

    lowest: Scalar
    lowest_error: Scalar
    highest: Scalar
    highest_error: Scalar
    condition: Scalar
    trace: Scalar
    trace_error: Scalar
    diagonal: Params
    diagonal_error: Params
    nodes: jax.Array
    weights: jax.Array
    asymmetry: Scalar
    nhev: jax.Array
    status: jax.Array

    def __repr__(self) -> str:
        rows = {
            "lowest": report.number(self.lowest, self.lowest_error),
            "highest": report.number(self.highest, self.highest_error),
            "condition": report.number(self.condition),
            "trace": report.number(self.trace, self.trace_error),
            "asymmetry": report.number(self.asymmetry),
            "nhev": report.number(self.nhev),
        }
        if report.is_concrete(self.status):
            status = KrylovStatus(int(self.status))
            spent = "All steps were made; more would narrow the errors of the ends."
            rows["status"] = f"{status.name}: {spent if status == KrylovStatus.MAX_ITERATIONS else status.advice}"
        return report.table("Spectrum", rows)


class Density(NamedTuple):
    """A smoothed density of eigenvalues, of integral 1.

    Attributes:
      grid: points t, shape (m,).
      density: share of eigenvalues per unit at t, shape (m,).
      error: its standard errors over the samples, shape (m,); infinite for one sample.
    """

    grid: jax.Array
    density: jax.Array
    error: jax.Array

    __repr__ = report.record


def spectrum(
    operator: Operator, like: Params, key: jax.Array | int = 0, *, steps: int = 32, samples: int = 8
) -> Spectrum:
    """Study the spectrum of a symmetric operator, such as `hvp(fun, x)`.

    Cost: at most `samples` (min(`steps`, n) + 1) products, one after another; memory for `steps` trees.

    Args:
      operator: linear and symmetric, `v -> A v`.
      like: a tree of floating arrays that says what v is; its values are not used.
      key: a random key, or a whole number to make one of.
      steps: k, Lanczos steps from each start, >= 1. More steps sharpen the ends and the density.
      samples: S, the number of starts and of probes, >= 1. More samples narrow the error bars.

    Returns:
      A `Spectrum`.

    Raises:
      TypeError: if an argument is not of its kind.
      ValueError: if `steps` or `samples` is less than 1, `like` has no entries or A v is no tree like v.

    Reference: Golub and Meurant (2010), chapters 3 and 11; Ghorbani, Krishnan and Xiao (2019), section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import hvp, spectrum
      >>> x = jnp.ones(3)
      >>> found = spectrum(hvp(lambda x: jnp.sum(jnp.array([1.0, 2.0, 5.0]) * x**2), x), x)
      >>> bool(jnp.allclose(found.condition, 5.0, rtol=1e-4)), bool(jnp.allclose(found.trace, 16.0))
      (True, True)
    """
    validate.integer("spectrum", "samples", samples, low=1)
    validate.integer("spectrum", "steps", steps, low=1)
    like = tree.as_parameters("spectrum", "like", like)
    operator = checked_operator("spectrum", "operator", operator)
    run_key, probe_key = jax.random.split(validate.random_key("spectrum", "key", key))

    def run(key: jax.Array) -> tuple:
        form = lanczos(operator, probes.normal(key, like), steps)
        pairs = ritz(form)
        return pairs.values, pairs.weights, extremes(form, pairs), form.asymmetry, form.nhev, form.status

    nodes, weights, ends, asymmetry, nhev, status = jax.lax.map(run, jax.random.split(run_key, samples))
    probed = hutchinson(operator, like, probe_key, samples)
    lowest, highest = jnp.min(ends.lowest), jnp.max(ends.highest)  # NaN if any run failed
    return Spectrum(
        lowest=lowest,
        lowest_error=lowest - jnp.min(ends.lowest - ends.lowest_error),
        highest=highest,
        highest_error=jnp.max(ends.highest + ends.highest_error) - highest,
        condition=_condition(lowest, highest),
        trace=probed.trace,
        trace_error=probed.trace_error,
        diagonal=probed.diagonal,
        diagonal_error=probed.diagonal_error,
        nodes=nodes,
        weights=weights,
        asymmetry=jnp.max(asymmetry),
        nhev=jnp.sum(nhev, dtype=jnp.int32) + probed.nhev,
        status=first_of(
            (jnp.any(status == KrylovStatus.NONFINITE), KrylovStatus.NONFINITE),
            (jnp.any(status == KrylovStatus.NOT_SYMMETRIC), KrylovStatus.NOT_SYMMETRIC),
            (jnp.all(status == KrylovStatus.CONVERGED), KrylovStatus.CONVERGED),
            otherwise=KrylovStatus.MAX_ITERATIONS,
        ),
    )


def spectral_density(
    found: Spectrum, grid: jax.Array | None = None, *, width: float | None = None, points: int = 256
) -> Density:
    """Return the density of the eigenvalues, smoothed by a Gaussian, from the quadrature of a `Spectrum`.

    Cost: no product.

    Args:
      found: what `spectrum` returned.
      grid: points t, shape (m,); None means `points` points from end to end and a little beyond.
      width: standard deviation of the Gaussian, > 0; None means the distance of the ends over the number of nodes, about
        what so many steps resolve.
      points: number of points where `grid` is None, >= 2.

    Returns:
      A `Density`.

    Raises:
      TypeError: if `found` is no `Spectrum`, `width` no number or `points` no whole number.
      ValueError: if a setting is out of its range or `grid` has another number of axes than one.

    Reference: Lin, Saad and Yang (2016), sections 2.1 and 3.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jopt.curvature import spectral_density, spectrum
      >>> found = spectrum(lambda v: jnp.array([1.0, 1.0, 5.0]) * v, jnp.zeros(3))
      >>> d = spectral_density(found, width=0.1)
      >>> bool(jnp.allclose(jnp.trapezoid(d.density, d.grid), 1.0, atol=1e-3))
      True
    """
    if width is not None:
        validate.number("spectral_density", "width", width, low=0.0, low_open=True)
    validate.integer("spectral_density", "points", points, low=2)
    if not isinstance(found, Spectrum):
        msg = (
            f"spectral_density: found must be what `spectrum` returned, got {type(found).__name__}; "
            "of an objective it is `spectrum(hvp(fun, x), x)`."
        )
        raise TypeError(msg)
    nodes, dtype = found.nodes, found.nodes.dtype
    if width is None:
        # Where all eigenvalues are one, a width that a float can still tell from it.
        least = jnp.maximum(jnp.max(jnp.abs(nodes)) * float(jnp.finfo(dtype).eps) ** 0.5, float(jnp.finfo(dtype).tiny))
        sigma = jnp.maximum((found.highest - found.lowest) / nodes.shape[1], least)
    else:
        sigma = jnp.asarray(width).astype(dtype)
    if grid is None:
        grid = jnp.linspace(found.lowest - TAIL * sigma, found.highest + TAIL * sigma, points, dtype=dtype)
    grid = jnp.asarray(grid).astype(dtype)
    if grid.ndim != 1:
        msg = f"spectral_density: grid must have shape (m,), got shape {grid.shape}."
        raise ValueError(msg)
    off = (grid[:, None, None] - nodes) / sigma
    rows = jnp.sum(found.weights * jnp.exp(-jnp.square(off) / 2), axis=-1) / (sigma * (2 * jnp.pi) ** 0.5)
    samples = nodes.shape[0]
    mean = jnp.mean(rows, axis=1)
    spread = jnp.sum(jnp.square(rows - mean[:, None]), axis=1)
    error = jnp.sqrt(spread / (samples * (samples - 1))) if samples > 1 else jnp.full_like(mean, jnp.inf)
    return Density(grid, mean, error)


def _condition(lowest: Scalar, highest: Scalar) -> Scalar:
    """Return the ratio of the ends by size, infinite for ends of different sign; NaN stays NaN."""
    ends = jnp.abs(jnp.stack([lowest, highest]))
    least, most = jnp.min(ends), jnp.max(ends)
    one_sign = (lowest > 0) | (highest < 0)
    return jnp.where(one_sign | jnp.isnan(most), most / jnp.where(least == 0, 1, least), jnp.inf)

# SPDX-License-Identifier: Apache-2.0
"""How far to go along a direction: searches that see numbers phi(a), phi'(a) and never a parameter.

A search is a pair `init(value, slope, first_step) -> state`, `update(state, value, slope) -> state`; evaluate phi and phi'
at `state.step` while `state.status` is SEARCHING (`jopt.status.SearchStatus`), and no more often than that.

Which file to open:

    backtracking      shorten the step until the value decreases enough (Armijo)
    weak_wolfe        double and bisect; for phi that need not be smooth
    strong_wolfe      bracket and interpolate (Moré and Thuente); for quasi-Newton and conjugate directions
    hager_zhang       secant steps on the slope; works on where values are noise
    exact             a zero of phi'; the least along the line
    first_trial       where a search begins: functions of what the last one found

    conditions        the tests a step must pass, and what noise in the values does to them
    interpolation     steps proposed by a line or a cubic through two trials
    machine           what all searches do with a trial: count it, leave a cliff, go back to the lowest, say why

To add a search write its `begin` and `refine` (see machine) and name the test it advertises.

Example:
  >>> import jax.numpy as jnp
  >>> from jopt.linesearch import exact
  >>> search = exact()
  >>> state = search.init(jnp.float32(9.0), jnp.float32(-6.0), jnp.float32(1.0))  # phi(a) = (a - 3)^2
  >>> while state.status == 0:
  ...     state = search.update(state, (state.step - 3) ** 2, 2 * (state.step - 3))
  >>> round(float(state.step), 5), int(state.trials)
  (3.0, 2)
"""

from jopt.linesearch.backtracking import backtracking
from jopt.linesearch.exact import exact
from jopt.linesearch.first_trial import (
    FirstTrialInfo,
    constant,
    keep_growing,
    quadratic_interpolation,
    slope_ratio,
    unit,
)
from jopt.linesearch.hager_zhang import hager_zhang
from jopt.linesearch.strong_wolfe import strong_wolfe
from jopt.linesearch.weak_wolfe import weak_wolfe

__all__ = [
    "FirstTrialInfo",
    "backtracking",
    "constant",
    "exact",
    "hager_zhang",
    "keep_growing",
    "quadratic_interpolation",
    "slope_ratio",
    "strong_wolfe",
    "unit",
    "weak_wolfe",
]

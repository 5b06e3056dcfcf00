# SPDX-License-Identifier: Apache-2.0
"""Fit a model to data: Levenberg-Marquardt, outliers, many fits at once, certified answers."""

import jax
import jax.numpy as jnp
import numpy as np

import jopt

jax.config.update("jax_enable_x64", True)


def residual(p, t, y):
    """Return the residuals of an exponential decay to a floor, before they are squared."""
    return p["size"] * jnp.exp(-p["rate"] * t) + p["floor"] - y


rng = np.random.default_rng(0)
t = np.linspace(0.0, 3.0, 40)
y = 2.0 * np.exp(-1.5 * t) + 0.5 + 0.02 * rng.standard_normal(40)
start = {"size": 1.0, "rate": 1.0, "floor": 0.0}

fit = jopt.least_squares(residual, start, (t, y))
print({name: round(float(value), 2) for name, value in fit.x.items()}, fit.message)
assert fit.success
assert abs(float(fit.x["rate"]) - 1.5) < 0.1

# A few late points are wrong: a robust loss hardly notices, the sum of squares does.
spoiled = y + np.where(np.arange(40) % 8 == 3, 0.5 * t, 0.0)
for loss in ("linear", "huber", "cauchy"):
    rate = float(jopt.least_squares(residual, start, (t, spoiled), loss=loss, f_scale=0.05).x["rate"])
    print(f"{loss:>7}: rate {rate:.2f}")
    assert (abs(rate - 1.5) < 0.1) == (loss != "linear")

# The solve is a pure function of its data: fit a hundred resampled data sets in one program, for an error bar.
noise = 0.02 * rng.standard_normal((100, 40))
batch = jax.vmap(lambda y: jopt.least_squares(residual, fit.x, (t, y)))(y + noise)
print(f"rate {float(fit.x['rate']):.2f} +- {float(jnp.std(batch.x['rate'])):.2f}")
assert batch.success.all()

# A fit with an answer certified to eleven digits. gtol=0 asks for all that rounding allows.
bennett = jopt.problems.nist.load("bennett5")
for geodesic in (False, True):
    method = jopt.levenberg_marquardt(geodesic=geodesic)
    hard = jopt.least_squares(bennett.residual, bennett.starts[0], method=method, gtol=0.0)
    print(f"bennett5, geodesic={geodesic}: {int(hard.nfev)} evaluations, {hard.message.split(':')[0]}")
    assert np.allclose(hard.x, bennett.certified, rtol=1e-6)

# SPDX-License-Identifier: Apache-2.0
"""One of several processes that solve the same problems together, and the problems.

Started as `process_worker.py COORDINATOR PROCESSES INDEX DEVICES CASE...`; prints one line of JSON.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jopt

ROWS, COLUMNS = 32, 8


def coupled(x):
    """Return a function of which every entry meets its neighbour, so that gradients cross from process to process."""
    return jnp.sum(jnp.cosh(x - 1) + 0.1 * x**4) + jnp.sum(jnp.square(x[1:] - x[:-1])) + jnp.sum(x) ** 2 / x.size


def logistic(x, features, labels):
    return jnp.mean(jnp.logaddexp(0, -labels * (features @ x))) + 0.01 * jnp.sum(x**2)


def misfit(x, features, labels):
    return jnp.tanh(features @ x) - labels


def problem():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((ROWS, COLUMNS))
    return features, np.sign(features @ rng.standard_normal(COLUMNS) + rng.standard_normal(ROWS))


# name: the solve, of a function that lays out arrays over the devices or leaves them whole
CASES = {
    "parameters, lbfgs": lambda put: jopt.minimize(
        coupled, put(np.linspace(-2, 2, 48), spread=True), method="lbfgs", maxiter=6
    ),
    "parameters, trust-ncg": lambda put: jopt.minimize(coupled, put(np.linspace(-2, 2, 48), spread=True), maxiter=6),
    "data, lbfgs": lambda put: jopt.minimize(logistic, put(np.zeros(COLUMNS)), data(put), method="lbfgs", maxiter=6),
    "data, newton-cg": lambda put: jopt.minimize(
        logistic, put(np.zeros(COLUMNS)), data(put), method="newton-cg", maxiter=6
    ),
    "data, adam": lambda put: jopt.minimize(
        logistic, put(np.zeros(COLUMNS)), data(put), method=jopt.adam(0.1), maxiter=20
    ),
    "data, least squares": lambda put: jopt.least_squares(misfit, put(np.zeros(COLUMNS)), data(put), maxiter=6),
}


def data(put):
    return tuple(put(part, spread=True) for part in problem())


def solve(case, devices):
    """Return what a solve over some devices says, in Python's numbers; arrays that are spread are first made whole."""
    mesh = Mesh(np.array(devices), ("x",))

    def put(array, spread=False):
        sharding = NamedSharding(mesh, PartitionSpec("x") if spread else PartitionSpec())
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    result = CASES[case](put)
    whole = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))(result.x)
    return {
        "x": np.asarray(whole).tolist(),
        "fun": float(result.fun),
        "counts": [int(n) for n in (result.status, result.nit, result.nfev, result.nhev)],
        "devices": len(result.x.sharding.device_set),
        "spread": not result.x.sharding.is_fully_replicated,
    }


def main():
    address, processes, index, devices, *cases = sys.argv[1:]
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", int(devices))
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, int(processes), int(index), initialization_timeout=60)
    said = {case: solve(case, jax.devices()) for case in cases}
    print(json.dumps({"processes": jax.process_count(), "cases": said}), flush=True)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main()

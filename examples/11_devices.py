# SPDX-License-Identifier: Apache-2.0
"""One script for one device, for one host with several, and for several hosts.

    python examples/11_devices.py                  # every device of this host: one CPU, or all of its accelerators
    python examples/11_devices.py --virtual 8      # one host whose CPU plays eight devices
    python examples/11_devices.py --coordinator HOST:PORT --processes 2 --process 0      # and --process 1 on the other

Nothing in the solve knows which of them it is. Arrays are laid out over a mesh of all devices of all processes; the
compiler makes of the one program what each device has to do, and of sums the reductions between them.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import jopt

ROWS, COLUMNS = 512, 64


def arguments():
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(description="Solve over all devices of all processes.")
    parser.add_argument("--virtual", type=int, help="devices that the CPU of this process plays")
    parser.add_argument("--coordinator", help="address HOST:PORT of process 0")
    parser.add_argument("--processes", type=int, help="how many there are")
    parser.add_argument("--process", type=int, help="which one this is, from 0")
    return parser.parse_args()


def connect(given):
    """Join the other processes, if there are any, and take the devices: before anything else asks for them."""
    jax.config.update("jax_enable_x64", True)
    if given.virtual:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", given.virtual)
    if given.coordinator:
        jax.config.update(
            "jax_cpu_collectives_implementation", "gloo"
        )  # how CPUs talk; accelerators have their own way
        jax.distributed.initialize(given.coordinator, given.processes, given.process)
    return jax.make_mesh((jax.device_count(),), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))


def lay_out(mesh, array, spec):
    """Return an array laid out over the mesh; each process hands over the parts that belong to its own devices."""
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), lambda index: array[index])


def loss(params, features, labels):
    """Return the penalised logistic loss, a mean over all rows wherever they are."""
    margins = labels * (features @ params)
    return jnp.mean(jnp.logaddexp(0.0, -margins)) + 0.005 * jnp.sum(params**2)


def chain_of_springs(params):
    """Return a function of many parameters in which neighbours meet, also those on different devices."""
    return jnp.sum(jnp.cosh(params)) - jnp.sum(params) + jnp.sum(jnp.square(params[1:] - params[:-1]))


def whole(mesh, array):
    """Return an array that is spread over devices, perhaps of other hosts, as one of NumPy's."""
    return np.asarray(jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))(array))


def say(text):
    """Print once, whatever the number of processes."""
    if jax.process_index() == 0:
        print(text)


mesh = connect(arguments())
everywhere, spread = PartitionSpec(), PartitionSpec("devices")
say(f"{jax.process_count()} process(es), {jax.device_count()} device(s)")

# Data spread, parameters whole: each device sums over its rows, and gradients are added up by the compiler.
rng = np.random.default_rng(0)
features = rng.standard_normal((ROWS, COLUMNS))
labels = np.sign(features @ rng.standard_normal(COLUMNS) + rng.standard_normal(ROWS))
data = lay_out(mesh, features, spread), lay_out(mesh, labels, spread)
together = jopt.minimize(loss, lay_out(mesh, np.zeros(COLUMNS), everywhere), data, gtol=1e-8)
alone = jopt.minimize(loss, np.zeros(COLUMNS), (features, labels), gtol=1e-8)
say(f"data spread, trust-ncg: {int(together.nit)} iterations; {together.message}")
assert together.success
assert int(together.nit) == int(alone.nit)
np.testing.assert_allclose(together.x, alone.x, atol=1e-7)

# Parameters spread: they stay so, and with them gradient, direction and the whole history of L-BFGS.
start = np.linspace(-2.0, 2.0, 1024)
together = jopt.minimize(chain_of_springs, lay_out(mesh, start, spread), method="lbfgs", gtol=1e-8)
alone = jopt.minimize(chain_of_springs, start, method="lbfgs", gtol=1e-8)
say(f"parameters spread, lbfgs: {int(together.nit)} iterations; {together.message}")
assert together.success
np.testing.assert_allclose(whole(mesh, together.x), alone.x, atol=1e-7)
held = [array for array in jax.tree.leaves(together) if array.size >= start.size]
assert max(array.ndim for array in held) == 3  # the pairs of L-BFGS: s and y, m of each, the parameters
for array in held:
    assert array.addressable_shards[0].data.size * jax.device_count() == array.size
say(f"each device holds 1/{jax.device_count()} of the parameters, of the gradient and of the history")

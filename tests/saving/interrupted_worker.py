# SPDX-License-Identifier: Apache-2.0
"""A process that solves, saves after every few steps, and goes on from the newest save when it is started again.

Started as `interrupted_worker.py FOLDER`. Prints "saved NIT" when a save is complete, and at the end "done SHA".
"""

import hashlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

import jopt

N = 500_000  # some 20 MB a state, so that a save takes a while
STEPS, EVERY, KEEP = 24, 2, 2
METHOD = jopt.adam(0.1)


def fun(x):
    return jnp.sum(jnp.cosh(x - 1) + 0.1 * x**4) + jnp.sum(jnp.square(x[1:] - x[:-1]))


def run(**settings):
    return jopt.minimize(fun, jnp.linspace(-2, 2, N), method=METHOD, gtol=0.0, maxiter=STEPS, **settings)


def template():
    return jax.eval_shape(lambda: run().state)


def manager(folder):
    """Return orbax's keeper of the last few saves; making one clears away what an interrupted save left."""
    return ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(max_to_keep=KEEP))


def newest(keeper):
    """Return the newest complete state, or None."""
    step = keeper.latest_step()
    return None if step is None else keeper.restore(step, args=ocp.args.StandardRestore(template()))


def digest(state):
    """Return a hash of the bits of all arrays."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        array = np.asarray(leaf)
        total.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return total.hexdigest()


def main():
    jax.config.update("jax_enable_x64", True)
    with manager(sys.argv[1]) as keeper:

        def save(it):
            if keeper.latest_step() == it.nit:
                return
            keeper.save(it.nit, args=ocp.args.StandardSave(it.state))
            keeper.wait_until_finished()
            print("saved", it.nit, flush=True)

        result = run(resume=newest(keeper), callback=save, every=EVERY)
        print("done", digest(result.state), flush=True)


if __name__ == "__main__":
    main()

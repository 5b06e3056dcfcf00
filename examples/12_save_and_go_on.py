# SPDX-License-Identifier: Apache-2.0
"""Save a solve while it runs, lose the process, and go on in a new one with the same bits.

    python examples/12_save_and_go_on.py           # plays both processes, one after the other
    python examples/12_save_and_go_on.py FOLDER    # solves, saving into FOLDER; started again, it goes on from there

The second form is what a long solve on a machine that may fail looks like. The saving is done by orbax, which writes each
save under another name and renames it when it is complete: a kill at any moment leaves the save before it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

import jopt

EVERY, KEEP = 20, 2  # accepted steps between saves, saves to keep
FAILS_AT = 60  # accepted steps after which the first process is lost, in the middle of a save
LOST = 3  # what it then leaves as its exit status


def valley(params, weight):
    """Return the chained Rosenbrock function of a tree of two arrays."""
    x = jnp.append(params["bend"], params["end"])
    return jnp.sum(weight * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def solve(**settings):
    """Return the result of the solve, whose function, start and method are the same in each process."""
    start = {"bend": jnp.linspace(-1.2, 1.0, 40), "end": jnp.zeros(2)}
    return jopt.minimize(valley, start, (100.0,), "lbfgs", gtol=1e-8, **settings)


def newest(keeper):
    """Return the state of the newest complete save, or None where there is none."""
    step = keeper.latest_step()
    if step is None:
        return None
    template = jax.eval_shape(lambda: solve().state)  # shapes and dtypes; evaluates nothing
    return keeper.restore(step, args=ocp.args.StandardRestore(template))


def solve_with_saves(folder, fails_at=None):
    """Solve, from the newest save if there is one, and save every so many steps."""
    with ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(max_to_keep=KEEP)) as keeper:

        def save(it):
            if it.nit != keeper.latest_step():
                keeper.save(
                    it.nit, args=ocp.args.StandardSave(it.state)
                )  # the files are written while the solve goes on
            if fails_at is not None and it.nit >= fails_at:
                os._exit(LOST)  # at once, with nothing put in order

        state = newest(keeper)
        begun = 0 if state is None else int(state.nit)
        return begun, solve(callback=save, every=EVERY, resume=state)


def same_bits(a, b):
    """Return whether all arrays of two trees are the same to the last bit."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def play_both():
    """Lose a process in the middle, go on in this one, and compare with a solve that nobody disturbed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions), __file__, folder, str(FAILS_AT)]
        lost = subprocess.run(command, capture_output=True, text=True, check=False)
        assert lost.returncode == LOST, lost.stderr
        print("the first process was lost and left", sorted(path.name for path in Path(folder).iterdir()))
        begun, result = solve_with_saves(folder)
    whole = solve()
    print("the second went on from step", begun, "and ended at step", int(result.nit), "-", result.message)
    assert begun >= FAILS_AT - EVERY  # a save begins when the one before it is complete
    assert bool(result.success)
    assert int(result.nit) > begun
    assert same_bits(result, whole), "the bits differ"
    print("x, value, gradient, counters and state have the bits of the solve that was never lost")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    if len(sys.argv) > 1:
        begun, result = solve_with_saves(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
        print(f"from step {begun} to step {int(result.nit)}: {result.message}")
    else:
        play_both()

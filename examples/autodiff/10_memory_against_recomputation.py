# SPDX-License-Identifier: Apache-2.0
r"""Memory against recomputation: how to walk backwards through a program that does not fit into memory.

Reverse mode meets the intermediate values last first, so it keeps them all: for a chain of L steps, L states. But any
state can be computed again from an earlier one. Keep a few (checkpoints), and pay with time:

    keep every state              L states             no step repeated
    keep every sqrt(L)-th         about 2 sqrt(L)      each step run once more
    keep s, placed optimally      s                    each step run at most r times more, where L <= C(s + r, s)

The second line: on the way back, the segments of sqrt(L) steps are run again one at a time, each with its own small
tape. The third (Griewank 1992) does to the segments what was done to the chain. Let b(s, r) be the longest chain that
s snapshots can reverse with no step run more than r extra times. Put the first snapshot after b(s, r - 1) steps: the
part before it has then s snapshots again and r - 1 runs left (it was run once to get there), the part behind it s - 1
snapshots and r runs. So b(s, r) = b(s, r - 1) + b(s - 1, r): Pascal's rule, and b(s, r) = C(s + r, s). Since C(2 s, s)
grows like 4^s, memory *and* repetition need to grow only like log L. The number of extra steps in all
is r L - C(s + r, s + 1).

In JAX `jax.checkpoint` marks what to run again; where it stands is the schedule. A step's own tape holds two arrays
here (tanh and its slope), so segments of n steps cost L / n + 2 n states, least near n = sqrt(L / 2). Note in the
first table that a checkpoint around the whole chain keeps next to nothing and saves nothing: when the backward pass
starts, it tapes everything at once. What counts is the peak, not what is kept.

References: Griewank (1992), Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
differentiation, doi:10.1080/10556789208805505; Griewank and Walther (2000), Algorithm 799: revolve,
doi:10.1145/347837.347846 (the counts); Chen, Xu, Zhang and Guestrin (2016), Training deep nets with sublinear memory
cost, arXiv:1604.06174.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.extend import core

jax.config.update("jax_enable_x64", True)

LENGTH = 256
weight = 0.9 * jnp.eye(64) + 0.1 * jnp.tri(64)
start = jnp.linspace(-1.0, 1.0, 64 * 32).reshape(64, 32)


def step(x):
    """Make one step of the chain."""
    return jnp.tanh(weight @ x)


def steps(x, n):
    """Make n steps."""
    return jax.lax.scan(lambda x, _: (step(x), None), x, length=n)[0]


def checkpointed(segment):
    """Return the chain in segments, of each of which only the first state is kept."""
    part = jax.checkpoint(functools.partial(steps, n=segment))
    return lambda x: jax.lax.scan(lambda x, _: (part(x), None), x, length=LENGTH // segment)[0]


def times(jaxpr, name):
    """Return how often an operation is carried out, which is once for every trip of the scans around it."""
    total = 0
    for eqn in jaxpr.eqns:
        inner = [p.jaxpr if isinstance(p, core.ClosedJaxpr) else p for p in eqn.params.values()]
        calls = sum(times(p, name) for p in inner if isinstance(p, core.Jaxpr))
        total += (eqn.primitive.name == name) + calls * eqn.params.get("length", 1)
    return total


def study(chain):
    """Return the gradient, the states kept between the passes, those at the peak ("-": not told), and the steps run."""

    def loss(x):
        return jnp.sum(chain(x) ** 2)

    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(jax.vjp(loss, start)[1])) / start.nbytes
    program = jax.jit(jax.grad(loss)).lower(start).compile()
    memory = program.memory_analysis()
    peak = memory.temp_size_in_bytes / start.nbytes if memory else math.nan
    return program(start), kept, peak, times(jax.make_jaxpr(jax.grad(loss))(start).jaxpr, "tanh")


chains = {"keep everything": functools.partial(steps, n=LENGTH)}
chains |= {f"segments of {n}": checkpointed(n) for n in (1, 4, 16, 64, 256)}
found = {name: study(chain) for name, chain in chains.items()}
print(f"jax.checkpoint on {LENGTH} steps; memory in states\n\n{'':18s} kept  at the peak  steps run")
for name, (_, kept, peak, run) in found.items():
    print(f"{name:16s} {kept:6.0f} {peak:12.0f} {run:10d}")

gradient, _, all_kept, run = found["keep everything"]
assert run == LENGTH
for name, figures in found.items():
    assert jnp.allclose(figures[0], gradient, rtol=1e-12, atol=1e-300), name
    assert figures[3] == (LENGTH if name == "keep everything" else 2 * LENGTH), name
    assert math.isnan(figures[2]) or found["segments of 16"][2] <= figures[2], "the square root needs the least"
assert math.isnan(all_kept) or found["segments of 16"][2] < 0.3 * all_kept
assert math.isnan(all_kept) or found["segments of 256"][2] > 0.9 * all_kept, "one checkpoint around all saves nothing"


# Optimal placement, from scratch. A snapshot after k steps leaves two shorter chains; the best k by dynamic
# programming.


@functools.cache
def plan(length, snapshots):
    """Return the fewest extra steps, and the k that needs them, to reverse a chain with so many states stored."""
    if length == 1:
        return 0, 0
    if snapshots == 0:
        return math.inf, 0
    return min((k + plan(length - k, snapshots - 1)[0] + plan(k, snapshots)[0], k) for k in range(1, length))


def reverse(x, length, snapshots, cotangent, counts):
    """Return the cotangent of x for a cotangent of the state after `length` steps; count snapshots and extra steps."""
    stored = length > 1  # a state that is used once, at once, need not be stored
    counts["stored"] += stored
    counts["peak"] = max(counts["peak"], counts["stored"])
    while length > 1:
        _, k = plan(length, snapshots)
        counts["steps"] += k
        cotangent = reverse(forward(x, k), length - k, snapshots - 1, cotangent, counts)
        length = k
    counts["stored"] -= stored
    return backward(x, cotangent)


forward = jax.jit(lambda x, k: jax.lax.fori_loop(0, k, lambda _, x: step(x), x))
backward = jax.jit(lambda x, cotangent: jax.vjp(step, x)[1](cotangent)[0])

print("\noptimal schedules\nstates stored   extra steps / L   r, where L <= C(s + r, s)")
for snapshots in (3, 4, 8, 16, 32):
    counts = {"stored": 0, "peak": 0, "steps": 0}
    result = reverse(start, LENGTH, snapshots, 2.0 * forward(start, LENGTH), counts)
    runs = next(r for r in range(LENGTH) if math.comb(snapshots + r, snapshots) >= LENGTH)
    print(f"{counts['peak']:13d} {counts['steps'] / LENGTH:17.2f} {runs:27d}")
    assert jnp.allclose(result, gradient, rtol=1e-12, atol=1e-300)
    assert counts["peak"] == snapshots
    assert counts["steps"] == plan(LENGTH, snapshots)[0] == runs * LENGTH - math.comb(snapshots + runs, snapshots + 1)

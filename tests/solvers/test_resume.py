# SPDX-License-Identifier: Apache-2.0
"""Going on from the state of a solve: the same bits as the unbroken one, the same honesty about what does not fit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jopt
from jopt import Status
from jopt.solvers.methods import METHODS

START = jnp.linspace(-1.2, 1.0, 8)
STEPS = 14
SLOW = pytest.mark.slow


def rosenbrock(x, weight):
    return jnp.sum(weight * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def valley(x, weight):
    return jnp.append(jnp.sqrt(weight) * (x[1:] - x[:-1] ** 2), 1.0 - x[:-1])


def saddle(x, weight):
    """A saddle at zero, which the start runs into along the other directions."""
    return weight * (jnp.sum(x[1:] ** 2) + x[0] ** 4 - x[0] ** 2)


def with_aux(x, weight):
    return rosenbrock(x, weight), {"last": x[-1], "rounded": jnp.round(x[0]).astype(jnp.int32)}


ESCAPING = START.at[0].set(0.0)
SGD = jopt.sgd(1e-3, momentum=0.9)
RECIPES = {
    "sgd": SGD,
    "adam": jopt.adam(1e-2),
    "noise": jopt.chain(jopt.add_noise(1e-3, 0.5, key=0), jopt.sgd(1e-3)),
    "plateau": jopt.chain(jopt.sgd(1e-3), jopt.reduce_on_plateau(0.5, 2)),
    "line search": jopt.chain(jopt.scale_by_lbfgs(3), jopt.scale_by_line_search()),
    "direction": jopt.descent(jopt.scale_by_adam(), jopt.linesearch.backtracking()),
}
SOLVES = {
    **{name: functools.partial(jopt.minimize, rosenbrock, x0=START, method=name) for name in METHODS},
    **{name: functools.partial(jopt.minimize, rosenbrock, x0=START, method=made) for name, made in RECIPES.items()},
    "aux": functools.partial(jopt.minimize, with_aux, x0=START, method=SGD, has_aux=True),
    "escape": functools.partial(jopt.minimize, saddle, x0=ESCAPING, second_order="escape"),
    **{
        f"{name}, bounds": functools.partial(jopt.minimize, rosenbrock, x0=START, method=name, bounds=(-1.2, 1.0))
        for name, make in METHODS.items()
        if make().bounded
    },
    "lm": functools.partial(jopt.least_squares, valley, x0=START),
    "lsqr": functools.partial(
        jopt.least_squares, valley, x0=START, method=jopt.levenberg_marquardt(linear_solve="lsqr"), loss="cauchy"
    ),
    "gauss-newton": functools.partial(jopt.least_squares, valley, x0=START, method="gauss-newton"),
}
QUICK = {"noise"}
solve = functools.partial(jopt.minimize, rosenbrock, START, method=SGD)


def raw(leaf):
    keys = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if keys else leaf)


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        x, y = raw(x), raw(y)
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), jax.tree_util.keystr(path)


def status(result):
    return Status(int(result.status))


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=SLOW) for n in SOLVES])
def test_taken_up_after_any_end_by_a_limit_the_bits_are_those_of_the_unbroken_run(name):
    run = functools.partial(SOLVES[name], args=(jnp.float64(2.0),), gtol=1e-12, maxfev=60)
    unbroken = run(maxiter=STEPS)
    broken = run(maxiter=3)
    assert status(broken) is Status.MAX_ITERATIONS
    assert_same_bits(run(maxiter=STEPS, resume=broken.state, x0=0 * START), unbroken)
    few = run(maxiter=STEPS, maxfev=5)
    assert status(few) is Status.MAX_EVALUATIONS
    twice = run(maxiter=STEPS, maxfev=6, resume=few.state)
    assert status(twice) is Status.MAX_EVALUATIONS
    assert int(twice.nfev) >= 6
    assert_same_bits(run(maxiter=STEPS, resume=twice.state), unbroken)


@pytest.mark.parametrize("history", [False, pytest.param(True, marks=SLOW)], ids=["plain", "history"])
def test_taken_up_after_a_stop_and_after_the_time_is_over(history):
    run = functools.partial(solve, (jnp.float64(2.0),), gtol=0.0, maxiter=STEPS, history=history)
    unbroken = run()
    stopped = run(callback=lambda it: it.nit == 5)
    assert (status(stopped), int(stopped.nit)) == (Status.STOPPED, 5)
    late = run(resume=stopped.state, time_limit=1e-9)
    assert status(late) is Status.TIME
    assert 5 <= int(late.nit) < STEPS
    assert_same_bits(run(resume=late.state), unbroken)
    seen = []
    assert_same_bits(run(resume=stopped.state, callback=seen.append, every=4), unbroken)
    assert [it.nit for it in seen] == [8, 12, 14]


@SLOW
@pytest.mark.parametrize("name", ["trust-ncg", "lbfgs", "bfgs", "lm", "line search", "escape"])
def test_a_solve_of_any_kind_is_taken_up_after_a_stop_and_after_the_time_is_over(name):
    run = functools.partial(SOLVES[name], args=(jnp.float64(2.0),), gtol=1e-12, maxiter=STEPS, maxfev=60)
    stopped = run(callback=lambda it: it.nit == 3)
    assert (status(stopped), int(stopped.nit)) == (Status.STOPPED, 3)
    late = run(resume=stopped.state, time_limit=1e-9)
    assert status(late) is Status.TIME
    assert_same_bits(run(resume=late.state), run())


@SLOW
def test_a_history_grows_with_the_limit_and_never_shrinks():
    run = functools.partial(solve, (2.0,), gtol=0.0, history=True)
    unbroken, broken = run(maxiter=STEPS), run(maxiter=3)
    assert_same_bits(run(maxiter=STEPS, resume=broken.state).history, unbroken.history)
    assert_same_bits(run(maxiter=3, resume=unbroken.state), unbroken)


@SLOW
def test_it_goes_on_under_jit_and_in_each_lane_of_a_batch():
    def run(x, weight, state=None, maxiter=STEPS):
        return jopt.minimize(rosenbrock, x, (weight,), SGD, gtol=0.0, maxiter=maxiter, resume=state)

    weights = jnp.asarray([1.0, 2.0, 3.0])
    starts = jnp.stack([START, 0.5 * START, -START])
    broken = jax.vmap(functools.partial(run, maxiter=4))(starts, weights)
    mended = jax.vmap(run)(0 * starts, weights, broken.state)
    whole = jax.vmap(run)(starts, weights)
    for a, b in zip(jax.tree.leaves(mended), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    assert_same_bits(jax.jit(run)(0 * START, 2.0, jax.jit(functools.partial(run, maxiter=4))(START, 2.0).state),
                     jax.jit(run)(START, 2.0))  # fmt: skip


def test_a_state_saved_as_plain_arrays_is_loaded_into_a_template(tmp_path):
    run = functools.partial(solve, (2.0,), gtol=0.0)
    np.savez(tmp_path / "state.npz", *jax.tree.leaves(run(maxiter=5).state))
    template = jax.eval_shape(lambda: run().state)
    with np.load(tmp_path / "state.npz") as saved:
        state = jax.tree.unflatten(jax.tree.structure(template), saved.values())
    assert_same_bits(run(maxiter=STEPS, resume=state), run(maxiter=STEPS))


def test_a_template_evaluates_nothing_and_fits():
    evaluated = []

    def fun(x):
        jax.debug.callback(lambda: evaluated.append(1))
        return jnp.sum(x**2)

    template = jax.eval_shape(lambda: jopt.minimize(fun, START, method="lbfgs").state)
    jax.effects_barrier()
    assert evaluated == []
    assert {type(leaf) for leaf in jax.tree.leaves(template)} == {jax.ShapeDtypeStruct}
    assert type(template) is jopt.LoopState


# What an ended solve does when it is taken up.


def test_an_ended_solve_stays_ended_until_its_test_fails():
    run = functools.partial(solve, (0.0,), maxiter=10_000)
    done = run(gtol=1e-2)
    assert status(done) is Status.CONVERGED
    assert_same_bits(run(gtol=1e-2, resume=done.state), done)
    closer = run(gtol=1e-4, resume=done.state)
    assert status(closer) is Status.CONVERGED
    assert closer.nit > done.nit
    assert float(jnp.max(jnp.abs(closer.jac))) <= 1e-4
    target = run(gtol=0.0, target=0.1)
    assert status(target) is Status.TARGET
    assert_same_bits(run(gtol=0.0, target=0.1, resume=target.state), target)
    assert run(gtol=0.0, target=0.01, resume=target.state).fun <= 0.01
    assert status(run(gtol=0.0, maxiter=int(target.nit) + 2, resume=target.state)) is Status.MAX_ITERATIONS


def test_a_default_tolerance_stays_that_of_the_first_point():
    done = solve((0.0,), maxiter=10_000)
    assert_same_bits(solve((0.0,), maxiter=10_000, resume=done.state), done)
    broken = solve((0.0,), maxiter=20)
    assert_same_bits(solve((0.0,), maxiter=10_000, resume=broken.state), done)


@pytest.mark.parametrize(
    "limit", [{"xtol": 1e-3}, *(pytest.param(x, marks=SLOW) for x in ({"ftol": 1e-3}, {"frtol": 1e-2}))], ids=str
)
def test_a_test_of_the_last_step_is_asked_of_the_next(limit):
    run = functools.partial(solve, (2.0,), gtol=0.0, maxiter=1000)
    ended = run(**limit)
    assert bool(ended.success)
    assert int(run(resume=ended.state, **limit).nit) > int(ended.nit)


def test_a_failure_stays_one():
    def cliff(x):
        return jnp.sum(jnp.where(x > 0, jnp.nan, -x))

    failed = jopt.minimize(cliff, START - 2.0, method=jopt.sgd(1.0), maxiter=5)
    assert status(failed) is Status.NONFINITE
    assert_same_bits(jopt.minimize(cliff, START, method=jopt.sgd(1.0), maxiter=9, resume=failed.state), failed)


@SLOW
@pytest.mark.parametrize("name", ["trust-ncg", "newton-cg", "lbfgs", "lm"])
def test_after_convergence_the_last_point_is_gone_on_from(name):
    run = functools.partial(SOLVES[name], args=(jnp.float64(2.0),), maxiter=200)
    done = run(gtol=1e-1)
    closer = run(gtol=1e-7, resume=done.state)
    assert (status(done), status(closer)) == (Status.CONVERGED, Status.CONVERGED)
    assert float(jnp.max(jnp.abs(closer.jac))) <= 1e-7
    assert closer.fun < done.fun


@SLOW
def test_a_derivative_goes_through_a_solve_taken_up():
    def minimum(weight, state):
        return jopt.minimize(
            lambda x, w: jnp.sum((x - w) ** 2), START, (weight,), jopt.sgd(0.25), gtol=1e-9, resume=state
        ).x[0]

    state = jopt.minimize(lambda x, w: jnp.sum((x - w) ** 2), START, (0.3,), jopt.sgd(0.25), maxiter=3).state
    assert float(jax.grad(minimum)(0.3, state)) == pytest.approx(1.0, rel=1e-9)


# What does not fit.


def state_of(fun=rosenbrock, start=START, method=SGD, **settings):
    """Return a state of zeros, without compiling the solve that would make one."""
    template = jax.eval_shape(lambda: jopt.minimize(fun, start, (2.0,), method, maxiter=0, **settings).state)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), template)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: state_of(start=START[:5]), ValueError, r"at .solver.params resume has shape \(5,\) and .* shape \(8,\)"),
        (lambda: state_of(method=jopt.adam(1e-2)), ValueError, "must be a tree like a state of this solve"),
        (lambda: state_of(method="lbfgs"), ValueError, r"at .solver.* resume has"),
        (lambda: state_of(start=START.astype(jnp.float32)), TypeError, r"resume.solver.params must be float64\[8\].*got float32\[8\]"),
        (lambda: state_of(history=True), ValueError, r"at .history.fun resume has shape \(1,\) .* nothing"),
        (lambda: state_of(with_aux, has_aux=True), ValueError, r"at .best.aux\['last'\] resume has shape \(\)"),
        (lambda: state_of().solver, TypeError, "resume must be the state of a result, such as result.state, got FixedStepState"),
        (lambda: jopt.minimize(rosenbrock, START, (2.0,), SGD, maxiter=0), TypeError, "must be the state of a result.*got Result"),
    ],
    ids=["shape", "chain", "method", "dtype", "history", "aux", "solver", "result"],
)  # fmt: skip
@pytest.mark.parametrize("watched", [{}, {"callback": print}], ids=["plain", "watched"])
def test_a_state_that_does_not_fit_is_named(make, error, words, watched):
    with pytest.raises(error, match=f"minimize: .*{words}"):
        solve((2.0,), resume=make(), **watched)


def test_a_state_without_its_history_is_named():
    with pytest.raises(ValueError, match=r"at .history.fun resume has nothing"):
        solve((2.0,), resume=state_of(), history=True, maxiter=3)


def test_least_squares_names_itself():
    with pytest.raises(ValueError, match="least_squares: resume must be a tree like"):
        jopt.least_squares(valley, START, (2.0,), resume=state_of())

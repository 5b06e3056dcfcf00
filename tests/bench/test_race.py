"""The race on the digits: the figures are those of the same methods run by hand, and L-BFGS converges."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jopt
from jopt import bench, problems
from jopt.bench import race as racing

BUDGET = 12


def rate(count):
    """Return the chain's rate: up to 0.1 in a tenth of the budget, down to 0 along half a cosine wave.

    (optax's schedule is not used: it computes in float32 from an int32 count.)
    """
    warmup = BUDGET // 10
    t = count.astype("float64")
    return jnp.where(t < warmup, 0.1 * t / warmup, 0.05 * (1 + jnp.cos(jnp.pi * (t - warmup) / (BUDGET - warmup))))


# The methods again, from optax's parts, with the numbers written out.
BY_HAND = {
    "sgd": optax.sgd(2.0, momentum=0.9),
    "chain": optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(),
        optax.add_decayed_weights(1e-4),
        optax.scale_by_schedule(lambda count: -rate(count)),
    ),
}


@pytest.fixture(scope="module")
def small():
    """Return a race on a tiny budget."""
    settings = bench.Settings(evaluations=BUDGET, gtol=1e-9, seed=4, problems=("network",), methods=("sgd", "chain"))
    return bench.race_digits(settings)


@pytest.fixture(scope="module")
def by_hand():
    """Return, for each method, losses, gradient norms and points of the loop written out."""
    problem, found = problems.digits_network(seed=4), {}
    value_and_grad = jax.jit(jax.value_and_grad(problem.fun))
    for method, optimizer in BY_HAND.items():
        params = problem.start("float64")
        state, course, update = optimizer.init(params), [], jax.jit(optimizer.update)
        for _ in range(BUDGET):
            value, grads = value_and_grad(params)
            course.append((float(value), max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(grads)), params))
            updates, state = update(grads, state, params)
            params = optax.apply_updates(params, updates)
        found[method] = course
    return found


@pytest.mark.slow
def test_courses_are_those_of_the_loops_written_out(small, by_hand):
    for run in small.runs:
        losses, norms, _ = zip(*by_hand[run.method], strict=True)
        np.testing.assert_allclose(run.history.loss, losses, rtol=1e-9)
        np.testing.assert_allclose(run.history.grad_norm, norms, rtol=1e-8)
        assert run.history.evaluations == tuple(range(1, BUDGET + 1))


def test_figures_belong_to_the_best_point(small, by_hand):
    data = problems.load_digits(dtype="float64")
    for run in small.runs:
        loss, norm, params = min(by_hand[run.method], key=lambda point: point[0])
        assert run.final_loss == min(run.history.loss) == pytest.approx(loss, rel=1e-9)
        assert run.grad_norm == pytest.approx(norm, rel=1e-8)
        guesses = np.argmax(np.asarray(problems.losses.network(params, data.test_images)), axis=1)
        assert run.test_accuracy == pytest.approx(np.mean(guesses == data.test_labels), abs=1e-12)


def test_all_methods_spend_the_same_budget(small):
    for run in small.runs:
        assert (run.evaluations, run.steps) == (BUDGET, BUDGET - 1)
        assert (run.status, run.success) == ("MAX_EVALUATIONS", False)
        assert run.message == jopt.Status.MAX_EVALUATIONS.advice


def test_seconds_are_the_run_time_in_proportion_to_evaluations(small):
    for run in small.runs:
        assert run.compile_s > 0.0
        assert run.run_s > 0.0
        np.testing.assert_allclose(run.history.seconds, run.run_s * np.arange(1, BUDGET + 1) / BUDGET, rtol=1e-12)


def test_record_says_what_ran_and_on_what(small):
    assert set(small.versions) == {"python", "jax", "jaxlib", "optax", "jopt"}
    assert small.versions["jax"] == jax.__version__
    assert small.device.startswith("cpu")
    assert small.runs[0].made_by.startswith("sgd(learning_rate=2.0, momentum=0.9")
    assert bench.from_json(bench.to_json(small)) == small


def test_runs_come_in_the_order_asked_for_and_are_reported_one_by_one(monkeypatch):
    history = SimpleNamespace(nfev=[1, 3, -1], fun=[2.0, 1.0, np.nan], grad_norm=[4.0, 3.0, np.nan])
    result = SimpleNamespace(status=1, nfev=3, nit=1, fun=1.0, jac=np.array([-3.0]), x=None, history=history)
    monkeypatch.setattr(racing, "_prepared", lambda *_: (None, lambda *_: 0.5, None))
    monkeypatch.setattr(racing, "_compiled", lambda *_: (lambda *_: None, 7.0))
    monkeypatch.setattr(racing, "_timed", lambda *_: (result, 6.0))
    reports = []
    race = bench.race_digits(bench.Settings(methods=("lbfgs", "sgd")), lambda *told: reports.append(told))
    order = [(p, m) for p in ("regression", "network") for m in ("lbfgs", "sgd")]
    assert [(run.problem, run.method) for run in race.runs] == order
    assert race.settings.problems == ("regression", "network")
    assert race.runs[0].history == bench.Curve((1, 3), (2.0, 6.0), (2.0, 1.0), (4.0, 3.0))
    assert (race.runs[0].compile_s, race.runs[0].run_s, race.runs[0].steps) == (7.0, 6.0, 1)
    assert {total for _, total, _ in reports} == {8}
    assert [done for done, _, what in reports if "value and gradient" not in what] == list(range(9))
    assert reports[1] == (0, 8, "regression, lbfgs: compile")
    assert reports[-1] == (8, 8, "done")


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "gtol"), [("float64", 1e-5), ("float32", None)])
def test_lbfgs_converges_on_the_regression(precision, gtol):
    asked = bench.Settings(precision=precision, gtol=gtol, problems=("regression",), methods=("lbfgs",))
    (run,) = bench.race_digits(asked).runs
    assert (run.status, run.success) == ("CONVERGED", True)
    eps = float(jnp.finfo(precision).eps)
    assert run.grad_norm <= (gtol or eps**0.5 * max(1.0, run.history.grad_norm[0]))
    minimum = problems.digits_regression().minimum
    assert -10 * eps < run.final_loss - minimum < (1e-6 if precision == "float64" else 3e-3)
    assert run.history.loss[0] == pytest.approx(np.log(10), rel=10 * eps)
    assert run.test_accuracy == pytest.approx(0.975)  # 351 of 360, as at scikit-learn's optimum
    assert run.evaluations < 300
    assert run.history.loss[-1] == run.final_loss
    assert run.history.evaluations[-1] == run.evaluations


def test_methods_are_the_ones_promised():
    sgd, adam, chain, lbfgs = (make(1000) for make in bench.METHODS.values())
    assert (sgd.name, sgd.settings["momentum"]) == ("sgd", 0.9)
    assert (adam.name, adam.settings["learning_rate"]) == ("adam", 0.03)
    stages = ["clip_by_global_norm", "scale_by_adam", "add_decayed_weights", "scale_by_learning_rate"]
    assert [stage.name for stage in chain.stages] == stages
    schedule = chain.stages[-1].settings["learning_rate"]
    assert schedule == jopt.schedules.warmup_cosine_decay_schedule(0.0, 0.1, 100, 1000)
    assert lbfgs == jopt.lbfgs()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", bench.PROBLEMS)
def test_precision_is_that_of_the_parameters(problem, dtype):
    start = racing.PROBLEMS[problem].start(0, dtype)
    assert {x.dtype for x in jax.tree.leaves(start)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 5), (0.3, 4), (2.0, 1)])
def test_short_runs_are_repeated_and_the_median_is_taken(monkeypatch, seconds, calls):
    now, made = [0.0], []

    def function(x):
        made.append(x)
        now[0] += seconds * (10 if len(made) == 2 else 1)  # an outlier, which the median ignores
        return x

    monkeypatch.setattr(racing, "ENOUGH_S", 1.0 if calls < 4 else 9.0 * seconds + 1.0)
    monkeypatch.setattr(racing.time, "perf_counter", lambda: now[0])
    result, median = racing._timed(function, 7)
    assert result == 7
    assert median == pytest.approx(seconds)
    assert made == [7] * calls


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"dataset": "digit"}, ValueError, "dataset must be one of 'digits', got 'digit'. Did you mean 'digits'?"),
        ({"evaluations": 1}, ValueError, "evaluations must be a whole number >= 2, got 1"),
        ({"evaluations": 2.5}, TypeError, "evaluations must be a whole number >= 2, got 2.5"),
        ({"precision": "float46"}, ValueError, "precision must be one of .*Did you mean 'float64'?"),
        ({"gtol": -1e-5}, ValueError, "gtol must be in"),
        ({"gtol": float("nan")}, ValueError, "gtol must be in"),
        ({"seed": -1}, ValueError, "seed must be a whole number >= 0"),
        ({"problems": ("networks",)}, ValueError, "problems must be one of .*Did you mean 'network'?"),
        ({"methods": ("adam", "lbfg")}, ValueError, "methods must be one of .*got 'lbfg'. Did you mean 'lbfgs'?"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_runs(settings, error, message):
    with pytest.raises(error, match=f"race_digits: {message}"):
        bench.race_digits(bench.Settings(**settings), pytest.fail)


def test_check_fills_in_names_once_each_in_the_order_asked_for():
    checked = bench.check(bench.Settings(methods=("lbfgs", "adam", "lbfgs")))
    assert checked.methods == ("lbfgs", "adam")
    assert checked.problems == tuple(bench.PROBLEMS)


def test_float64_is_refused_where_jax_has_it_off():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match=r"precision 'float64' needs jax\.config\.update"):
            bench.check(bench.Settings(precision="float64"))
        assert bench.check(bench.Settings(precision="float32")).precision == "float32"
    finally:
        jax.config.update("jax_enable_x64", True)

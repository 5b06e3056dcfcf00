# SPDX-License-Identifier: Apache-2.0
"""First-order chains against L-BFGS on the handwritten digits, every method with the same budget of evaluations.

    f(x) = 1/n sum_i cross_entropy(outputs(x, image_i), label_i) + (L2 / 2) |weights|^2        over the training part

    regression   outputs = X W + b                      650 parameters, convex: it has one least value
    network      outputs = tanh(X W1 + b1) W2 + b2      2,410 parameters, not convex

What is measured, and how:

- Each solve is one compiled program, whose arguments are the start and the data. `compile_s` is the time to trace and
  compile it; value and gradient alone are compiled beforehand, so that no method pays for the start of the backend.
- `run_s` is the time of the compiled program until its results are there: the median of up to `REPEATS` runs, fewer
  once `ENOUGH_S` seconds are spent. The programs return their history, which costs the same for all methods.
- Gradients are those of the full training part. One evaluation is one value with its gradient.
- The learning rates in `RATES` were picked by hand on these problems, one for both, out of a few values two or three
  times apart; L-BFGS runs with its defaults.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jopt
from jopt import problems, tree, validate
from jopt.bench import circumstances
from jopt.bench.records import Curve, Race, Run, Settings
from jopt.problems import losses

L2 = 1e-3
"""Weight of the penalty, the default of `jopt.problems.digits_regression`: without one there is no minimum."""

RATES = {"sgd": 2.0, "adam": 0.03, "chain": 0.1}
"""Learning rates (of the chain: the peak), picked by hand on these problems."""

MOMENTUM = 0.9
MAX_NORM = 1.0
WEIGHT_DECAY = 1e-4
WARMUP_SHARE = 0.1
"""Customary settings of the first-order methods, not tuned; the share is that of the budget spent on the warm-up."""

PACKAGES = ("jax", "jaxlib", "optax")
"""Packages whose versions a race names."""

REPEATS = 5
ENOUGH_S = 1.0

Report = Callable[[int, int, str], None]
"""Called as `(jobs done, jobs in all, the one that begins)`."""


class _Model(NamedTuple):
    """A learning problem without its data.

    Attributes:
      outputs: `(params, images) -> log-probabilities up to a constant`.
      penalised: `params -> the weights under the penalty`.
      start: `(seed, dtype) -> params`.
    """

    outputs: Callable[[Any, Any], jax.Array]
    penalised: Callable[[Any], tuple[jax.Array, ...]]
    start: Callable[[int, str], Any]


PROBLEMS = {
    "regression": _Model(
        losses.linear,
        lambda params: (params["weight"],),
        lambda seed, dtype: problems.digits_regression(l2=L2).start(dtype),  # noqa: ARG005 - it starts at zero
    ),
    "network": _Model(
        losses.network,
        lambda params: (params["hidden"]["weight"], params["output"]["weight"]),
        lambda seed, dtype: problems.digits_network(l2=L2, seed=seed).start(dtype),
    ),
}
"""The problems by name."""


def _composed(evaluations: int) -> Any:
    warmup = int(WARMUP_SHARE * evaluations)
    return jopt.chain(
        jopt.clip_by_global_norm(MAX_NORM),
        jopt.scale_by_adam(),
        jopt.add_decayed_weights(WEIGHT_DECAY),
        jopt.scale_by_learning_rate(
            jopt.schedules.warmup_cosine_decay_schedule(0.0, RATES["chain"], warmup, evaluations)
        ),
    )


METHODS: dict[str, Callable[[int], Any]] = {
    "sgd": lambda _: jopt.sgd(RATES["sgd"], momentum=MOMENTUM),
    "adam": lambda _: jopt.adam(RATES["adam"]),
    "chain": _composed,
    "lbfgs": lambda _: jopt.lbfgs(),
}
"""The methods by name: functions from the budget of evaluations to what `jopt.minimize` takes as its method."""


def check(settings: Settings) -> Settings:
    """Return the settings with the names of what will run filled in, or raise.

    Raises:
      ValueError: if a setting is out of its range, a name is unknown, or float64 is asked for while JAX has it off.
      TypeError: if a number is none.
    """
    name = "race_digits"
    validate.choice(name, "dataset", settings.dataset, ("digits",))
    validate.integer(name, "evaluations", settings.evaluations, low=2, hint="The start is one of them.")
    validate.choice(name, "precision", settings.precision, ("float32", "float64"))
    validate.integer(name, "seed", settings.seed)
    if settings.gtol is not None:
        validate.number(name, "gtol", settings.gtol, low=0.0)
    if settings.precision == "float64" and jnp.result_type(float) != jnp.float64:
        msg = f"{name}: precision 'float64' needs jax.config.update('jax_enable_x64', True) beforehand."
        raise ValueError(msg)
    chosen = {}
    for field, known in (("problems", PROBLEMS), ("methods", METHODS)):
        words = tuple(dict.fromkeys(getattr(settings, field) or known))
        chosen[field] = tuple(validate.choice(name, field, word, known) for word in words)
    return settings._replace(**chosen)


def race_digits(settings: Settings = Settings(), report: Report | None = None) -> Race:  # noqa: B008 - immutable
    """Run each method on each problem and measure.

    Args:
      settings: what to run.
      report: told of each job as it begins, and of the end; there are two jobs, compile and run, for each method on
        each problem.

    Raises:
      ValueError: if a setting is out of its range, a name is unknown, or float64 is asked for while JAX has it off.
      TypeError: if a number is none.
      ImportError: if scikit-learn, which holds the data, is not installed.
    """
    settings = check(settings)
    data = problems.load_digits(dtype=settings.precision)
    train, test = jax.device_put(((data.train_images, data.train_labels), (data.test_images, data.test_labels)))
    total = 2 * len(settings.problems) * len(settings.methods)
    runs: list[Run] = []

    def tell(jobs: int, what: str) -> None:
        if report is not None:
            report(2 * len(runs) + jobs, total, what)

    for problem in settings.problems:
        tell(0, f"{problem}: value and gradient")
        loss, score, x0 = _prepared(PROBLEMS[problem], settings, train, test)
        for name in settings.methods:
            method = METHODS[name](settings.evaluations)
            tell(0, f"{problem}, {name}: compile")
            solve, compile_s = _compiled(loss, method, settings, x0, train)
            tell(1, f"{problem}, {name}: run")
            result, run_s = _timed(solve, x0, train)
            accuracy = float(score(result.x, *test))
            runs.append(
                _run(result, accuracy, run_s, problem=problem, method=name, made_by=repr(method), compile_s=compile_s)
            )
    tell(0, "done")
    return Race(settings, circumstances.device(), circumstances.versions(PACKAGES), tuple(runs))


def _prepared(model: _Model, settings: Settings, train: Any, test: Any) -> tuple[Any, Any, Any]:
    """Return loss, compiled score and start of a problem, after compiling value and gradient once."""

    def loss(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        mean = jnp.mean(losses.cross_entropy(model.outputs(params, images), labels))
        return mean + losses.penalty(L2, *model.penalised(params))

    def score(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        return losses.accuracy(model.outputs(params, images), labels)

    x0 = model.start(settings.seed, settings.precision)
    jax.jit(jax.value_and_grad(loss)).lower(x0, *train).compile()
    return loss, jax.jit(score).lower(x0, *test).compile(), x0


def _compiled(loss: Any, method: Any, settings: Settings, x0: Any, train: Any) -> tuple[Any, float]:
    """Return the compiled solve and the seconds it took to trace and compile it."""
    budget = settings.evaluations
    solve = functools.partial(
        jopt.minimize, loss, method=method, gtol=settings.gtol, maxiter=budget, maxfev=budget, history=True
    )
    begin = time.perf_counter()
    compiled = jax.jit(lambda x, args: solve(x, args)).lower(x0, train).compile()
    return compiled, time.perf_counter() - begin


def _timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Return the result and the median of the seconds that some calls took."""
    seconds: list[float] = []
    result = None
    while len(seconds) < REPEATS and sum(seconds) < ENOUGH_S:
        begin = time.perf_counter()
        result = jax.block_until_ready(function(*args))
        seconds.append(time.perf_counter() - begin)
    return result, statistics.median(seconds)


def _run(result: Any, accuracy: float, run_s: float, **known: Any) -> Run:
    status, nfev = jopt.Status(int(result.status)), int(result.nfev)
    return Run(
        final_loss=float(result.fun),
        grad_norm=float(tree.max_abs(result.jac)),
        test_accuracy=accuracy,
        steps=int(result.nit),
        evaluations=nfev,
        run_s=run_s,
        status=status.name,
        success=status.success,
        message=status.advice,
        history=_curve(result.history, nfev, run_s),
        **known,
    )


def _curve(history: Any, nfev: int, run_s: float) -> Curve:
    spent = np.asarray(history.nfev)
    kept = spent >= 0
    columns = (spent, spent * (run_s / nfev), np.asarray(history.fun), np.asarray(history.grad_norm))
    return Curve(*(tuple(column[kept].tolist()) for column in columns))

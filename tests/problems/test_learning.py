"""Regressions against scikit-learn's and published optima; the network against central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.flatten_util import ravel_pytree
from sklearn.linear_model import LogisticRegression

from jopt import problems

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
BINARY = (X @ [1.0, -2.0, 0.5] + RNG.standard_normal(40) > 0.3).astype(int)
THREE = np.argmax(X @ RNG.standard_normal((3, 3)) + RNG.standard_normal((40, 3)), axis=1)
FACTORIES = {
    "logistic_regression": lambda x, y, **k: problems.logistic_regression(x, y, **k),
    "multinomial_regression": lambda x, y, **k: problems.multinomial_regression(x, y, classes=2, **k),
    "two_layer_network": lambda x, y, **k: problems.two_layer_network(x, y, classes=2, width=4, **k),
}


def _largest(tree):
    return max(np.abs(x).max() for x in jax.tree.leaves(tree))


def _sklearn(labels, l2):
    return LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-11, max_iter=10_000).fit(X, labels)


def test_gradient_of_logistic_regression_vanishes_at_scikit_learns_optimum():
    model = _sklearn(BINARY, 0.02)
    at = {"weight": jnp.asarray(model.coef_[0]), "bias": jnp.asarray(model.intercept_[0])}
    problem = problems.logistic_regression(X, BINARY, l2=0.02)
    assert _largest(jax.jit(jax.grad(problem.fun))(at)) < 1e-8


def test_gradient_of_multinomial_regression_vanishes_at_scikit_learns_optimum():
    model = _sklearn(THREE, 0.02)
    at = {"weight": jnp.asarray(model.coef_.T), "bias": jnp.asarray(model.intercept_)}
    problem = problems.multinomial_regression(X, THREE, classes=3, l2=0.02)
    assert _largest(jax.jit(jax.grad(problem.fun))(at)) < 1e-8


def test_challenger_minimiser_is_the_published_one():
    problem = problems.challenger()
    (at,) = problem.minimisers
    assert round(float(at["bias"]), 4) == 15.0429
    assert round(float(at["weight"][0]), 4) == -0.2322
    assert round(2 * 23 * problem.minimum, 3) == 20.315


def test_challenger_minimum_is_that_of_scipy_on_an_independent_formula():
    warm = np.array([66, 70, 69, 68, 67, 72, 73, 67, 78, 67, 75, 70, 81, 76, 79, 76])
    worn = np.array([70, 57, 63, 70, 53, 75, 58])

    def deviance(p):
        return (np.logaddexp(0, p[0] * warm + p[1]).sum() + np.logaddexp(0, -p[0] * worn - p[1]).sum()) / 23

    problem = problems.challenger()
    found = scipy.optimize.minimize(deviance, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
    assert found.fun == pytest.approx(problem.minimum, rel=1e-13)
    flat, restore = ravel_pytree(problem.minimiser())

    @jax.jit
    def derivatives(v):
        def fun(v):
            return problem.fun(restore(v))

        return fun(v), jax.grad(fun)(v), jax.hessian(fun)(v)

    value, gradient, hessian = derivatives(flat)
    assert float(value) == pytest.approx(problem.minimum, rel=1e-15)
    # temperatures up to 81, weight and bias rounded: the gradient cannot be smaller
    assert np.abs(gradient).max() < 81 * 23 * np.finfo(np.float64).eps
    assert np.linalg.cond(hessian) == pytest.approx(8e5, rel=0.1)


def test_regressions_start_at_the_log_of_the_number_of_classes():
    binary, three = (
        problems.logistic_regression(X, BINARY, l2=1.0),
        problems.multinomial_regression(X, THREE, classes=3),
    )
    assert float(jax.jit(binary.fun)(binary.starts[0])) == pytest.approx(np.log(2), rel=1e-15)
    assert float(jax.jit(three.fun)(three.starts[0])) == pytest.approx(np.log(3), rel=1e-15)
    assert jax.tree.map(np.shape, binary.starts[0]) == {"weight": (3,), "bias": ()}
    assert jax.tree.map(np.shape, three.starts[0]) == {"weight": (3, 3), "bias": (3,)}


@pytest.mark.parametrize("name", FACTORIES)
def test_gradient_is_that_of_central_differences(name):
    problem = FACTORIES[name](X, BINARY, l2=0.1)
    flat, restore = ravel_pytree(problem.start("float64"))
    both = jax.jit(jax.vmap(jax.value_and_grad(lambda v: problem.fun(restore(v)))))
    at = np.asarray(flat) + 0.1
    steps = 1e-5 * np.vstack([np.zeros((1, at.size)), np.eye(at.size), -np.eye(at.size)])
    values, gradients = both(at + steps)
    differences = (values[1 : at.size + 1] - values[at.size + 1 :]) / 2e-5
    np.testing.assert_allclose(gradients[0], differences, atol=1e-9)


@pytest.mark.parametrize("name", FACTORIES)
def test_mean_of_the_terms_is_the_value_and_an_index_chooses_samples(name):
    problem, alone = FACTORIES[name](X, BINARY, l2=0.1), FACTORIES[name](X[7:8], BINARY[7:8], l2=0.1)
    params = jax.tree.map(lambda x: x + 0.3, problem.starts[0])
    index = jnp.array([7, 0])
    value, terms, chosen, single = jax.jit(
        lambda p: (problem.fun(p), problem.terms(p), problem.terms(p, index), alone.fun(p))
    )(params)
    assert terms.shape == (problem.n_terms,) == (40,)
    np.testing.assert_allclose(np.mean(terms), value, rtol=1e-14)
    np.testing.assert_allclose(chosen, terms[index], rtol=1e-13)
    np.testing.assert_allclose(single, terms[7], rtol=1e-13)


@pytest.mark.parametrize("name", FACTORIES)
def test_penalty_counts_weights_and_leaves_biases_free(name):
    plain, penalised = (FACTORIES[name](X, BINARY, l2=l2) for l2 in (0.0, 0.1))
    params = jax.tree.map(lambda x: x + 0.3, plain.starts[0])
    weights = [x for path, x in jax.tree_util.tree_leaves_with_path(params) if path[-1].key == "weight"]
    expected = 0.05 * sum(float((w**2).sum()) for w in weights)
    difference = jax.jit(lambda p: penalised.fun(p) - plain.fun(p))(params)
    assert float(difference) == pytest.approx(expected, rel=1e-12)
    assert (plain.minimum, plain.minimisers) == (None, ())


def test_network_start_is_glorots_and_follows_width_and_seed():
    one, same, other = (problems.two_layer_network(X, THREE, classes=3, width=50, seed=s).starts[0] for s in (1, 1, 2))
    assert jax.tree.map(np.shape, one) == {
        "hidden": {"weight": (3, 50), "bias": (50,)},
        "output": {"weight": (50, 3), "bias": (3,)},
    }
    limit = np.sqrt(6 / 53)
    assert 0.9 * limit < np.abs(one["hidden"]["weight"]).max() <= limit
    assert not one["hidden"]["bias"].any()
    np.testing.assert_array_equal(one["output"]["weight"], same["output"]["weight"])
    assert (one["output"]["weight"] != other["output"]["weight"]).all()


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, 0], BINARY, r"features and labels must have shapes .* got \(40,\) and \(40,\)"),
        (X, BINARY[:3], r"got \(40, 3\) and \(3,\)"),
        (X[:0], BINARY[:0], "n and d >= 1"),
        (np.where(X > 2, np.nan, X), BINARY, "features must be finite, got"),
        (X, BINARY + 1, r"labels must be whole numbers from 0 to 1, got \[1, 2\]"),
        (X, BINARY - 0.5, "labels must be whole numbers"),
    ],
)
def test_data_out_of_range_are_refused(name, x, y, message):
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        FACTORIES[name](x, y)


@pytest.mark.parametrize("name", FACTORIES)
def test_negative_penalty_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}: l2 must be in"):
        FACTORIES[name](X, BINARY, l2=-1e-3)


@pytest.mark.parametrize("settings", [{"classes": 1}, {"classes": 2, "width": 0}, {"classes": 2, "seed": -1}])
def test_network_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=f"two_layer_network: {list(settings)[-1]} must be a whole number"):
        problems.two_layer_network(X, BINARY, **settings)


def test_fewer_than_two_classes_are_refused():
    with pytest.raises(ValueError, match="multinomial_regression: classes must be a whole number >= 2, got 1"):
        problems.multinomial_regression(X, BINARY, classes=1)

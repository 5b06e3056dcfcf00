"""The digits: what is in them, how they are split, and the optimum that scikit-learn finds."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets
from sklearn.linear_model import LogisticRegression

from jopt import problems


def test_training_and_test_part_make_up_the_bundled_data():
    data, whole = problems.load_digits(dtype="float64"), sklearn.datasets.load_digits()
    assert data.train_images.shape == (1437, 64)
    assert data.test_images.shape == (360, 64)
    joined = np.column_stack(
        [
            np.concatenate([data.train_images, data.test_images]) * 16,
            np.concatenate([data.train_labels, data.test_labels]),
        ]
    )
    expected = np.column_stack([whole.data, whole.target])
    assert sorted(map(tuple, joined)) == sorted(map(tuple, expected))
    assert (whole.data.shape, len(np.unique(whole.target))) == ((1797, 64), 10)


def test_pixels_lie_between_zero_and_one_and_every_class_is_in_both_parts():
    data = problems.load_digits()
    assert data.train_images.min() == 0.0
    assert data.train_images.max() == 1.0
    for labels in (data.train_labels, data.test_labels):
        assert np.bincount(labels).min() > 0.07 * len(labels)
        assert labels.dtype == np.int32


def test_split_follows_its_seed_and_size():
    one, same, other = (problems.load_digits(seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.test_images, same.test_images)
    assert (one.test_images != other.test_images).any()
    # the first labels, so that a change of the split is noticed wherever it comes from
    np.testing.assert_array_equal(one.test_labels[:10], [0, 6, 3, 8, 1, 8, 4, 1, 5, 8])
    everything = problems.load_digits(test=0)
    assert everything.train_images.shape == (1797, 64)
    assert everything.test_images.shape == (0, 64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_the_one_asked_for_and_loses_nothing(dtype):
    data = problems.load_digits(dtype=dtype)
    assert data.train_images.dtype == data.test_images.dtype == dtype
    np.testing.assert_array_equal(data.train_images * 16, np.round(data.train_images * 16))
    with pytest.raises(ValueError, match="read-only"):
        data.train_images[0] = 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test": -1}, r"test must be a whole number in \[0, 1796\], got -1"),
        ({"test": 1797}, r"test must be a whole number in \[0, 1796\], got 1797"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
        ({"dtype": "float63"}, "dtype must be one of 'float32', 'float64', got 'float63'. Did you mean 'float6?"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"load_digits: {message}"):
        problems.load_digits(**settings)


def test_missing_scikit_learn_is_said_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"load_digits: .* scikit-learn.*pip install 'jopt\[race\]'"):
        problems.load_digits()


def test_regression_minimum_is_scikit_learns():
    problem, data = problems.digits_regression(), problems.load_digits(dtype="float64")
    model = LogisticRegression(C=1 / (1e-3 * 1437), tol=1e-9, max_iter=10_000)
    model.fit(data.train_images, data.train_labels)
    at = {"weight": jnp.asarray(model.coef_.T), "bias": jnp.asarray(model.intercept_)}
    value, gradient = jax.jit(jax.value_and_grad(problem.fun))(at)
    assert float(value) == pytest.approx(problem.minimum, rel=1e-11)
    assert max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(gradient)) < 1e-7
    outputs = problems.losses.linear(at, data.test_images)
    share = float(problems.losses.accuracy(outputs, data.test_labels))
    assert share == pytest.approx(model.score(data.test_images, data.test_labels), rel=1e-15)


@pytest.mark.parametrize("settings", [{"l2": 1e-2}, {"test": 300}, {"split_seed": 1}])
def test_every_setting_of_the_regression_matters_and_clears_the_record(settings):
    default, other = problems.digits_regression(), problems.digits_regression(**settings)
    params = jax.tree.map(lambda x: jnp.sin(jnp.arange(1.0, x.size + 1)).reshape(x.shape), default.starts[0])
    assert default.minimum is not None
    assert other.minimum is None
    assert float(default.fun(params)) != float(other.fun(params))
    assert other.n_terms == 1797 - settings.get("test", 360)


@pytest.mark.parametrize("settings", [{"width": 8}, {"l2": 1e-2}, {"seed": 1}, {"test": 300}, {"split_seed": 1}])
def test_every_setting_of_the_network_matters(settings):
    default, other = problems.digits_network(), problems.digits_network(**settings)
    assert float(default.fun(default.start())) != float(other.fun(other.start()))
    assert other.starts[0]["hidden"]["weight"].shape == (64, settings.get("width", 32))
    assert repr(other) != repr(default)


@pytest.mark.parametrize("name", ["digits_regression", "digits_network"])
def test_value_follows_the_dtype_of_the_params_under_strict_promotion(name):
    problem = problems.get(name)
    with jax.numpy_dtype_promotion("strict"):
        value = jax.eval_shape(problem.fun, problem.start("float32"))
    assert value.dtype == "float32"
    assert "Alpaydin, Kaynak (1998)" in problem.source


def test_regression_refuses_a_negative_penalty():
    with pytest.raises(ValueError, match="digits_regression: l2 must be in"):
        problems.digits_regression(l2=-1.0)

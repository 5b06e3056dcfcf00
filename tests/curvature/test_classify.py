# SPDX-License-Identifier: Apache-2.0
"""Kinds of points, on functions whose Hessians are known; the largest stable step by stability itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt import problems
from jopt.curvature import PointKind, classify, hessian, largest_stable_step
from jopt.problems import losses
from jopt.status import KrylovStatus


def family(x, c, centre):
    """Return 1/2 sum c_i z_i^2 + z_0^4 + z_0 z_1^2, whose Hessian at zero is diag(c), of z = x - centre."""
    z = x - centre
    return jnp.sum(c * z**2) / 2 + z[0] ** 4 + z[0] * z[1] ** 2


KINDS = {
    (1.0, 2.0, 3.0): PointKind.MINIMUM,
    (-1.0, -2.0, -3.0): PointKind.MAXIMUM,
    (1.0, -2.0, 3.0): PointKind.SADDLE,
    (1.0, 0.0, 3.0): PointKind.UNDECIDED,
    (0.0, 0.0, 0.0): PointKind.UNDECIDED,
    (-1.0, 0.0, -1.0): PointKind.UNDECIDED,
    (np.nan, 1.0, 1.0): PointKind.UNDECIDED,
}


@jax.jit
@jax.vmap
def look(x, c, centre):
    return classify(family, x, (c, centre)), largest_stable_step(family, x, (c, centre))


@pytest.fixture(scope="module")
def batch():
    zeros = np.zeros((len(KINDS), 3))
    return look(zeros, np.array(list(KINDS)), zeros)[0]


def test_without_positive_curvature_every_step_is_stable():
    zeros = np.zeros((len(KINDS), 3))
    _, steps = look(zeros, np.array(list(KINDS)), zeros)
    np.testing.assert_allclose(
        np.asarray(steps)[[0, 1, 2, 3, 4, 6]], [2 / 3, np.inf, 2 / 3, 2 / 3, np.inf, np.nan], rtol=1e-9
    )
    assert float(steps[5]) > 1e14  # zero to rounding


def test_the_kind_is_decided_by_the_signs_of_the_eigenvalues(batch):
    assert [PointKind(int(kind)) for kind in batch.kind] == list(KINDS.values())


def test_the_ends_and_their_errors_are_those_of_the_hessian(batch):
    expected = np.array(list(KINDS))[:-1]
    np.testing.assert_allclose(batch.lowest[:-1], expected.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(batch.highest[:-1], expected.max(axis=1), atol=1e-12)
    assert (np.asarray(batch.lowest_error)[:-1] < 1e-6).all()
    assert batch.status.tolist()[:-1] == [KrylovStatus.CONVERGED] * (len(KINDS) - 1)
    assert int(batch.status[-1]) == KrylovStatus.NONFINITE
    assert np.isnan([batch.lowest[-1], batch.highest[-1], batch.highest_error[-1]]).all()
    assert np.asarray(batch.stationary).tolist() == [True] * (len(KINDS) - 1) + [False]


POINTS = {
    (0.0, 0.0): PointKind.SADDLE,
    (0.0, 0.5**0.5): PointKind.MINIMUM,
    (0.0, -(0.5**0.5)): PointKind.MINIMUM,
    (1.0, 0.0): PointKind.NOT_STATIONARY,
    (1e-12, 0.0): PointKind.SADDLE,
}


def test_points_of_the_quartic_saddle_and_of_the_monkey_saddle():
    quartic, monkey = problems.quartic_saddle().fun, problems.monkey_saddle().fun
    points = np.array([*POINTS, (0.0, 0.0)])
    is_monkey = np.arange(len(points)) == len(points) - 1
    batch = jax.jit(jax.vmap(lambda x, choice: classify(lambda x: jnp.where(choice, monkey(x), quartic(x)), x)))(
        points, is_monkey
    )
    assert [PointKind(int(kind)) for kind in batch.kind] == [*POINTS.values(), PointKind.UNDECIDED]
    np.testing.assert_allclose(batch.grad_norm[3:5], [2.0, 2e-12])
    assert np.asarray(batch.stationary).tolist() == [True, True, True, False, True, True]
    # A random start sees the curvature along (0, 1), which the gradient at (1, 0) does not.
    np.testing.assert_allclose(batch.lowest[3], -2.0, rtol=1e-12)
    assert (float(batch.lowest[-1]), float(batch.highest[-1])) == (0.0, 0.0)  # the monkey saddle has no Hessian


def test_gtol_says_what_counts_as_zero():
    def fun(x, c):
        return 50.0 * jnp.sum((x - c) ** 2)

    run = jax.jit(jax.vmap(lambda x, c, gtol: classify(fun, x, (c,), gtol=gtol).stationary))
    near = np.array([[1e-5, 0.0]] * 2)
    assert run(near, 0 * near, np.array([1.1e-3, 0.9e-3])).tolist() == [True, False]


def test_the_default_tolerance_is_what_half_the_digits_of_the_point_leave_uncertain():
    root = float(jnp.finfo("float64").eps) ** 0.5
    curvatures = np.broadcast_to([100.0, 50.0, 50.0], (len(KINDS), 3))
    for centre, scale in (([0.0, 0.0, 0.0], 1.0), ([0.0, 10.0, 0.0], 1000.0)):  # max(1, 100 |x|)
        offsets = np.zeros((len(KINDS), 3))
        offsets[:2, 0] = [0.95 * root * scale / 100.0, 1.05 * root * scale / 100.0]
        centres = np.broadcast_to(centre, (len(KINDS), 3))
        assert look(centres + offsets, curvatures, centres)[0].stationary[:2].tolist() == [True, False]


@jax.jit
def few_steps(c, key):
    """Classify a minimiser of many variables and say the largest stable step there."""

    def fun(x):
        return jnp.sum(c * x**2) / 2, None

    settings = {"steps": 6, "key": key, "has_aux": True}
    return classify(fun, jnp.zeros(c.shape), **settings), largest_stable_step(fun, jnp.zeros(c.shape), **settings)


def test_few_steps_do_not_decide_a_minimum_but_a_saddle():
    c = np.linspace(0.1, 50.0, 60)
    few, _ = few_steps(c, 0)
    assert int(few.kind) == PointKind.UNDECIDED
    assert int(few.nhev) == 6
    indefinite, _ = few_steps(c - 25.0, 0)
    assert float(indefinite.lowest_error) > 0.01
    assert int(indefinite.kind) == PointKind.SADDLE


def test_the_key_chooses_the_start():
    first, second = (few_steps(np.linspace(0.1, 50.0, 60), key)[0].lowest for key in (1, 2))
    assert float(first) != float(second)


def test_the_step_errs_on_the_stable_side():
    found, step = few_steps(np.linspace(0.1, 50.0, 60), 0)
    assert float(found.highest_error) > 1e-2
    assert float(step) == pytest.approx(2 / float(found.highest + found.highest_error))


@jax.custom_jvp
def with_wrong_derivative(x):
    return jnp.sum(x**2)


@with_wrong_derivative.defjvp
def _wrong(primals, tangents):
    field = jnp.array([[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]) @ primals[0]
    return with_wrong_derivative(primals[0]), jnp.sum(field * tangents[0])


def test_a_gradient_that_is_no_gradient_decides_nothing():
    found, step = jax.jit(
        lambda x: (classify(with_wrong_derivative, x), largest_stable_step(with_wrong_derivative, x))
    )(np.zeros(3))
    assert int(found.kind) == PointKind.UNDECIDED
    assert int(found.status) == KrylovStatus.NOT_SYMMETRIC
    assert np.isnan(step)
    assert "kind: UNDECIDED: Undecided: the products are not symmetric" in repr(found)


# The textbook: least squares through a sigmoid is not convex, cross-entropy is ------------------------------------------

INPUTS, LABELS = np.array([1.0, 10.0]), np.array([0, 1])


def squared_error(w):
    return jnp.sum((jax.nn.sigmoid(jnp.asarray(INPUTS) * w) - LABELS) ** 2)


def stationary_point(low, high):
    slope = jax.jit(jax.grad(squared_error))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if (slope(low) < 0) != (slope(middle) < 0) else (middle, high)
    return (low + high) / 2


def test_squared_error_logistic_regression_has_a_maximum_and_a_saddle_and_cross_entropy_has_neither():
    top, bottom = stationary_point(-5.0, -0.01), stationary_point(0.0, 2.0)

    def cross_entropy(w):
        return jnp.sum(losses.binary_cross_entropy(jnp.asarray(INPUTS) * w, jnp.asarray(LABELS)))

    @jax.jit
    @jax.vmap
    def kind(points):
        convex = jax.vmap(lambda w: hessian(cross_entropy, w))(points)
        return classify(lambda w: squared_error(w[0]) + squared_error(w[1]), points).kind, jnp.min(convex)

    kinds, least = kind(np.array([[top, top], [bottom, bottom], [top, bottom]]))
    assert kinds.tolist() == [PointKind.MAXIMUM, PointKind.MINIMUM, PointKind.SADDLE]
    assert (np.asarray(least) > 0).all()


# Records --------------------------------------------------------------------------------------------------------------


def test_it_prints_what_the_point_is_and_why(batch):
    text = repr(jax.tree.map(lambda x: x[2], batch))
    assert text.startswith("Classification:\n")
    assert "kind: SADDLE: A saddle: " in text
    assert "lowest: -2 +- " in text
    assert "status: CONVERGED" in text
    assert f"float64[{len(KINDS)}]" in repr(batch)
    texts = [repr(jax.tree.map(lambda x, i=i: x[i], batch)) for i in (3, 6)]
    assert "UNDECIDED: Undecided: an end of the spectrum is zero" in texts[0]
    assert "UNDECIDED: Undecided: the value, gradient or curvature is not finite here" in texts[1]


def test_every_kind_says_what_to_do():
    assert len({kind.advice for kind in PointKind}) == len(PointKind)
    assert "not symmetric" in PointKind.UNDECIDED.advice


# The largest stable step ----------------------------------------------------------------------------------------------


def test_gradient_descent_is_stable_exactly_below_the_largest_stable_step():
    problem = problems.quadratic(n=6, condition=30.0)
    x = problem.start("float64")
    rate = jax.jit(lambda x: largest_stable_step(problem.fun, x))(x)
    assert float(rate) == pytest.approx(2.0 / np.linalg.eigvalsh(problem.hessian)[-1], rel=1e-9)

    @jax.jit
    def last_value(rate):
        return problem.fun(jax.lax.fori_loop(0, 2000, lambda _, x: x - rate * jax.grad(problem.fun)(x), x))

    assert float(last_value(0.99 * rate)) < 1e-6 * float(problem.fun(x))
    assert float(last_value(1.01 * rate)) > 1e6 * float(problem.fun(x))


def test_single_precision_trees_keep_their_dtype():
    x = {"a": jnp.ones(2, "float32"), "b": jnp.ones((), "bfloat16")}

    def fun(x):
        return jnp.sum(x["a"] ** 2) + x["b"].astype("float32") ** 2

    with jax.numpy_dtype_promotion("strict"):
        found, step = jax.eval_shape(lambda x: (classify(fun, x), largest_stable_step(fun, x)), x)
    assert found.lowest.dtype == found.highest_error.dtype == found.grad_norm.dtype == step.dtype == jnp.float32
    assert found.kind.dtype == found.nhev.dtype == jnp.int32


def test_bad_arguments_raise():
    x = jnp.ones(2)
    with pytest.raises(ValueError, match=r"classify: gtol must be in \[0, inf\], got -1"):
        classify(jnp.sum, x, gtol=-1)
    with pytest.raises(TypeError, match="classify: key must be one random key"):
        classify(jnp.sum, x, key="0")
    with pytest.raises(ValueError, match="steps must be a whole number >= 1"):
        largest_stable_step(jnp.sum, x, steps=0)
    with pytest.raises(TypeError, match="largest_stable_step: fun must return a real floating scalar"):
        largest_stable_step(lambda x: x, x)
    with pytest.raises(TypeError, match="classify: x must be real floating numbers"):
        classify(jnp.sum, jnp.arange(2))

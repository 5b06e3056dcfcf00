"""The record: dtypes, immutability, checks of the params, what importing costs."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt import problems
from tests import support

PLAIN = [name for name in problems.names() if not name.startswith("digits")]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", PLAIN)
def test_value_and_gradient_follow_the_dtype_of_the_params(name, dtype):
    problem = problems.get(name)
    params = problem.start(dtype)
    with jax.numpy_dtype_promotion("strict"):
        value, gradient = jax.eval_shape(jax.value_and_grad(problem.fun), params)
    assert value.dtype == ("float32" if dtype == "bfloat16" else dtype)
    assert jax.tree.map(jnp.result_type, gradient) == jax.tree.map(jnp.result_type, params)
    if problem.terms is not None:
        assert jax.eval_shape(problem.terms, params).dtype == value.dtype


@pytest.mark.parametrize("name", ["rosenbrock", "quadratic", "challenger"])
def test_float32_value_is_the_rounded_float64_value(name):
    problem = problems.get(name)
    double, single = (problem.fun(problem.start(dtype)) for dtype in ("float64", "float32"))
    np.testing.assert_allclose(single, double, rtol=support.tolerance("float32"))
    assert float(single) != float(double)


def test_a_mixed_tree_is_computed_in_its_widest_dtype():
    problem = problems.challenger()
    mixed = {"weight": jnp.ones(1, jnp.float32), "bias": jnp.zeros((), jnp.float64)}
    with jax.numpy_dtype_promotion("strict"):
        value, gradient = jax.jit(jax.value_and_grad(problem.fun))(mixed)
    double = jax.jit(problem.fun)({"weight": jnp.ones(1), "bias": jnp.zeros(())})
    assert (value.dtype, gradient["weight"].dtype, gradient["bias"].dtype) == ("float64", "float32", "float64")
    assert float(value) == pytest.approx(float(double), rel=1e-15)


@pytest.mark.parametrize("name", PLAIN)
def test_objective_is_the_same_under_jit_and_vmap(name):
    problem = problems.get(name)
    batch = jax.tree.map(lambda x: jnp.stack([x, x + 0.5]), problem.start())
    single = [problem.fun(jax.tree.map(lambda x, i=i: x[i], batch)) for i in range(2)]
    np.testing.assert_allclose(jax.jit(jax.vmap(problem.fun))(batch), single, rtol=1e-13)


def test_start_and_minimiser_come_in_the_dtype_asked_for():
    problem = problems.beale()
    assert problem.start().dtype == jnp.result_type(float)
    assert problem.start("float32").dtype == "float32"
    assert problem.minimiser(jnp.bfloat16).dtype == "bfloat16"
    np.testing.assert_array_equal(problem.start(index=1), [-3.0, 3.0])
    np.testing.assert_array_equal(problems.himmelblau().minimiser(index=0), [3.0, 2.0])
    assert isinstance(problem.start(), jax.Array)


@pytest.mark.parametrize("method", ["start", "minimiser"])
def test_points_that_do_not_exist_are_refused(method):
    problem = problems.quartic_saddle()
    ask = getattr(problem, method)
    for index in (2, -1):
        with pytest.raises(ValueError, match=rf"quartic_saddle.{method}: index must be .* in \[0, 1\], got {index}"):
            ask(index=index)
    with pytest.raises(TypeError, match=f"quartic_saddle.{method}: dtype must be .* floating dtype .*, got 'int32'"):
        ask("int32")


def test_a_minimiser_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"monkey_saddle.minimiser: there is none on record"):
        problems.monkey_saddle().minimiser()


def test_params_unlike_the_start_are_refused_at_trace_time():
    with pytest.raises(ValueError, match=r"rosenbrock: params .*shape \(3,\) and the start has shape \(2,\)"):
        jax.jit(problems.rosenbrock().fun)(jnp.ones(3))
    with pytest.raises(ValueError, match=r"challenger: params must be a tree like the start.*'bias'"):
        problems.challenger().fun({"weight": jnp.ones(1)})
    with pytest.raises(ValueError, match="finite_sum: params"):
        problems.finite_sum().terms(jnp.ones(3))
    with pytest.raises(TypeError, match="beale: params must be real floating numbers, got int64"):
        problems.beale().fun(jnp.array([1, 2]))


def test_records_are_immutable():
    problem = problems.quadratic()
    with pytest.raises(AttributeError):
        problem.minimum = 1.0
    for array in (problem.starts[0], problem.minimisers[0], problem.hessian, problems.finite_sum().starts[0]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_the_callers_array_is_copied():
    scales = np.ones(1)
    problem = problems.finite_sum(scales, [[1.0, 1.0]])
    scales[0] = 7.0
    assert float(problem.terms(jnp.array([0.0, 1.0]))[0]) == 1.0


def test_repr_is_the_call_with_arrays_in_brief():
    assert repr(problems.rosenbrock(3)) == "rosenbrock(n=3)"
    assert repr(problems.finite_sum(np.ones(2), jnp.ones((2, 2), "float32"))) == (
        "finite_sum(a=<float64[2]>, u=<float32[2, 2]>)"
    )


def test_equal_calls_make_equal_records():
    assert problems.rosenbrock(3) == problems.rosenbrock(n=3)
    assert hash(problems.rosenbrock(3)) == hash(problems.rosenbrock(n=3))
    assert problems.rosenbrock(3) != problems.rosenbrock(4)


def test_own_problems_are_made_from_a_formula_or_from_terms():
    made = problems.from_formula("cubic", lambda p: p["a"] ** 3, [{"a": 2.0}], source="here", stationary=[{"a": 0.0}])
    assert float(made.fun(made.start())) == 8.0
    assert made.stationary[0]["a"].shape == ()
    assert repr(made) == "Problem()"
    again = problems.from_formula("cubic", lambda p: p["a"] ** 2, [{"a": 2.0}], source="here")
    assert made != again
    with pytest.raises(ValueError, match=r"Problem\.minimiser: there is none"):
        made.minimiser()
    sums = problems.from_terms("mean", lambda x, i: x[0] * jnp.arange(4.0)[slice(None) if i is None else i], 4, [[2.0]],
                               source="here", minimum=1.0)  # fmt: skip
    assert float(sums.fun(sums.start())) == 3.0
    assert float(sums.terms(sums.start(), 3)) == 6.0
    assert (sums.n_terms, sums.minimum, sums.source) == (4, 1.0, "here")


@pytest.mark.parametrize("name", PLAIN)
def test_source_has_author_and_year_or_publisher(name):
    assert any(year in problems.get(name).source for year in ("(1", "(2", "MathWorks"))


def test_importing_and_making_problems_starts_no_backend_and_imports_no_dataset():
    code = (
        "import sys\n"
        "from jopt import problems\n"
        "[problems.get(name) for name in problems.names() if not name.startswith('digits')]\n"
        "assert 'sklearn' not in sys.modules and 'scipy.optimize' not in sys.modules\n"
    )
    # any use of a backend fails on a platform that does not exist
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "JAX_PLATFORMS": "none_such"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

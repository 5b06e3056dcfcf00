# SPDX-License-Identifier: Apache-2.0
"""What every function of the room does with `args`, and with an objective where an operator belongs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt import curvature

X = np.array([1.0, 2.0])
C = np.array([2.0, 3.0])


def fun(x, c):
    return jnp.sum(c * x**2)


def outputs(x, c):
    return c * x


def logits(x, c):
    return (c * x)[None]


CALLS = {
    "hvp": lambda args: curvature.hvp(fun, X, args)(X),
    "expansion": lambda args: curvature.expansion(fun, X, args).grad,
    "hessian": lambda args: curvature.hessian(fun, X, args),
    "hessian_diagonal": lambda args: curvature.hessian_diagonal(fun, X, args),
    "gauss_newton": lambda args: curvature.gauss_newton(outputs, lambda z: jnp.sum(z**2), X, args)(X),
    "normal_operator": lambda args: curvature.normal_operator(outputs, X, args)(X),
    "fisher": lambda args: curvature.fisher(logits, X, args)(X),
    "empirical_fisher": lambda args: curvature.empirical_fisher(outputs, X, args)(X),
    "classify": lambda args: curvature.classify(fun, X, args, steps=2).highest,
    "largest_stable_step": lambda args: curvature.largest_stable_step(fun, X, args, steps=2),
}


def test_these_are_all_functions_with_args():
    public = (getattr(curvature, name) for name in curvature.__all__)
    assert {f.__name__ for f in public if "args" in getattr(f, "__annotations__", {})} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_one_argument_alone_need_not_be_wrapped(name):
    alone, wrapped = (str(jax.make_jaxpr(CALLS[name])(args)) for args in (C, (C,)))
    assert alone == wrapped


def test_a_number_is_an_argument_too():
    np.testing.assert_array_equal(curvature.hvp(fun, X, 3.0)(X), 6.0 * X)


@pytest.mark.parametrize(("name", "argument"), [("spectrum", "operator"), ("lowest_curvature", "hvp")])
def test_an_objective_is_no_operator(name, argument):
    function = getattr(curvature, name)
    with pytest.raises(TypeError, match=rf"{name}: .* {argument}\(v\) is a scalar; .* `hvp\(fun, x\)`"):
        function(lambda x: jnp.sum(x**2), X)
    with pytest.raises(TypeError, match=rf"{name}: {argument} must be an operator .*got ndarray; .* `hvp\(fun, x\)`"):
        function(np.eye(2), X)
    with pytest.raises(ValueError, match=rf"{name}: {argument}\(v\) must be a tree like v"):
        function(lambda v: v[:1], X)


def test_a_density_is_that_of_a_spectrum():
    with pytest.raises(
        TypeError, match=r"spectral_density: found must be .* got function; .*`spectrum\(hvp\(fun, x\), x\)`"
    ):
        curvature.spectral_density(curvature.hvp(fun, X, C), X)

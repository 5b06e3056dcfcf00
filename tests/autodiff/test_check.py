"""Checks of derivatives: right ones pass in both precisions, planted errors are found and named, kinks are kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jopt.autodiff import Outcome, check_gradient, check_hvp, check_products, step_sweep
from jopt.autodiff.complex_step import CALLS, FUNCTIONS, HOLOMORPHIC, STRUCTURE, _equations, complex_steps, obstacle
from jopt.autodiff.differences import coordinates, precision, step_ladder, units
from jopt.autodiff.richardson import Line, estimates, noise_level

RNG = np.random.default_rng(0)
POINT = RNG.standard_normal(5)
LAYERS = RNG.standard_normal((3, 5, 5)) / 2
TERMS = RNG.standard_normal(1000)


def network(x):
    """Return the energy of a small network of rectifiers and hyperbolic tangents."""
    layers = jnp.asarray(LAYERS, x.dtype)
    return jnp.sum(jnp.tanh(layers[2] @ jax.nn.relu(layers[1] @ jnp.tanh(layers[0] @ x))) ** 2)


def long_sum(x):
    """Return a sum of 1000 terms that cancel in part."""
    terms = jnp.asarray(TERMS, x.dtype)
    return jnp.sum(terms[:, None] * jnp.sin(x * jnp.arange(1000, dtype=x.dtype)[:, None] / 100))


def near_minimum(x):
    """Return |A x - b|^2 with A x = b at the point: residuals are round-off."""
    matrix = jnp.asarray(LAYERS[0], x.dtype)
    return jnp.sum((matrix @ x - jnp.asarray(LAYERS[0] @ POINT, x.dtype)) ** 2)


SMOOTH = {
    "exp": (lambda x: jnp.sum(jnp.exp(x)), POINT),
    "large": (lambda x: 1e6 * jnp.sum(jnp.sin(1e-6 * x)), 1e6 * POINT),
    "tiny": (lambda x: 1e-6 * jnp.sum(jnp.sin(1e6 * x)), 1e-6 * POINT),
    "long sum": (long_sum, POINT[:2]),
    "network": (network, POINT),
    "sin(1/x)": (lambda x: jnp.sum(jnp.sin(1 / x)), np.array([0.02, -0.1, 3.0])),
    "period of a step": (lambda x: jnp.sum(jnp.sin(64 * np.pi * x)), np.array([1.0, 0.5, 2.0])),
    "cancelling": (lambda x: jnp.sum(jnp.square(x + 1e3) - 1e6), POINT),
    "offset": (lambda x: jnp.sum(x**2) + 100, 1e-2 * POINT),
    "log of mixed sizes": (lambda x: jnp.sum(jnp.log(x)), np.array([1e6, 1e-3, 1.0])),
    "near a minimum": (near_minimum, POINT),
    "once differentiable": (lambda x: jnp.sum(jnp.abs(x) * jnp.sqrt(jnp.abs(x) + 1e-30)), np.array([0.0, 1.0])),
    "kink nearby": (lambda x: jnp.sum(jnp.abs(x - 1 - 1e-4)), np.ones(2)),
    "faster than its size": (lambda x: jnp.sum(jnp.sin(1 / x)), np.array([3e-4, 0.3])),
}


PRECISIONS = ["float32", pytest.param("float64", marks=pytest.mark.slow)]


QUICK = {"network", "log of mixed sizes", "near a minimum", "once differentiable"}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SMOOTH])
def test_right_gradients_pass(name, dtype):
    f, x = SMOOTH[name]
    check = check_gradient(f, jnp.asarray(x, dtype))
    assert check.ok, check
    assert check.smooth, check
    assert check.compared == check.entries == x.size


def custom(rule, derivative):
    """Return sum(x^3) with a rule of its own: `derivative(x)` stands for 3 x^2."""
    value = lambda x: jnp.sum(x**3)  # noqa: E731
    f = getattr(jax, f"custom_{rule}")(value)
    if rule == "vjp":
        f.defvjp(lambda x: (value(x), x), lambda x, w: (w * derivative(x),))
    else:
        f.defjvp(lambda x, v: (value(x[0]), jnp.sum(derivative(x[0]) * v[0])))
    return f


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("rule", ["vjp", "jvp"])
def test_a_wrong_custom_rule_is_found_and_the_entry_named(rule, dtype):
    wrong = custom(rule, lambda x: 3 * x**2 * jnp.where(jnp.arange(x.size) == 3, 1.001, 1.0).astype(x.dtype))
    x = jnp.arange(1.0, 6.0, dtype=dtype)
    check = check_gradient(wrong, x)
    assert not check.ok
    assert check.worst.path == "x[3]"
    assert check.worst.outcome is Outcome.WRONG
    assert abs(check.worst.derivative - 48.048) < 1e-4
    assert (
        abs(check.worst.difference - 48) <= check.worst.difference_error < 48 * (1e-3 if dtype == "float32" else 1e-10)
    )
    assert abs(check.worst.complex_step - 48) < (1e-4 if dtype == "float32" else 1e-12)
    assert [c.outcome for c in check.comparisons].count(Outcome.WRONG) == 1
    assert "x[3]: wrong derivative" in check.message


def test_a_rule_is_found_wrong_without_the_complex_step():
    def f(x):
        return custom("vjp", lambda x: 3.01 * x**2)(jnp.abs(x))

    check = check_gradient(f, jnp.arange(1.0, 4.0))
    assert check.complex_step == "abs"
    assert [c.outcome for c in check.comparisons] == [Outcome.WRONG] * 3
    assert all(np.isnan(c.complex_step) for c in check.comparisons)


def test_a_stray_stop_gradient_is_found_by_path_in_a_tree():
    def f(x):
        return jnp.sum(x["w"]) * jax.lax.stop_gradient(x["b"]["c"][1, 0])

    check = check_gradient(f, {"w": jnp.ones(2), "b": {"c": jnp.ones((2, 2))}, "s": jnp.array(1.0)})
    assert not check.ok
    assert check.worst.path == "x['b']['c'][1, 0]"
    assert (check.worst.derivative, round(check.worst.difference, 9)) == (0.0, 2.0)
    assert check.comparisons[-1].path == "x['w'][1]"
    assert check.comparisons[4].path == "x['s']"


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(
    ("f", "x", "kinks"),
    [
        (lambda x: jnp.sum(jnp.abs(x)), [0.0, 1.0, -2.0], [0]),
        (lambda x: jnp.sum(3 * jax.nn.relu(x)) + 1, [0.0, 1.0, -1.0], [0]),
        (jnp.max, [1.0, 0.5, 1.0], [0, 2]),
        (lambda x: jnp.sum(jnp.abs(x - 1 / 3)), [1 / 3, 1.0], [0]),
    ],
    ids=["abs", "relu", "max", "inner"],
)
def test_a_kink_is_said_to_be_one_and_is_no_error(f, x, kinks, dtype):
    check = check_gradient(f, jnp.array(x, dtype))
    assert check.ok, check
    assert not check.smooth
    assert [k for k, c in enumerate(check.comparisons) if c.outcome is Outcome.KINK] == kinks
    assert "not differentiable here" in check.message
    assert "slopes" in check.message
    worst = check.worst
    assert worst.left < worst.right
    assert worst.left <= worst.derivative <= worst.right


def test_at_a_kink_a_derivative_outside_the_slopes_is_wrong():
    @jax.custom_jvp
    def f(x):
        return jnp.sum(jnp.abs(x))

    # At a single zero the point itself is moved, and the derivative may jump: that is no excuse.
    f.defjvp(lambda x, v: (f(*x), jnp.sum(jnp.where(x[0] < 0, -2.0, 2.0) * v[0])))
    check = check_gradient(f, jnp.array([0.0]))
    assert check.worst.outcome is Outcome.WRONG


@pytest.mark.parametrize(
    ("f", "x", "path"),
    [
        (lambda x: jnp.sum(jnp.log(x)), [1.0, 0.0], "x[1]"),  # the value
        (lambda x: jnp.sum(jnp.sqrt(x)), [1.0, 0.0], "x[1]"),  # the derivative
        (lambda x: jnp.sum(jnp.where(x == 1, x, jnp.nan)), [1.0], "x[0]"),  # the neighbours
    ],
)
def test_what_is_not_finite_is_named_and_not_ok(f, x, path):
    check = check_gradient(f, jnp.array(x))
    assert not check.ok
    assert (check.worst.outcome, check.worst.path) == (Outcome.NONFINITE, path)
    assert "not finite" in check.message


def test_a_derivative_below_the_noise_is_said_to_be_lost():
    f = lambda x: jnp.sum(jnp.abs(x)) + 1e6  # noqa: E731  abs: without the complex step
    x = jnp.array([1e-3], jnp.float32)
    check = check_gradient(f, x)
    assert check.ok
    assert check.worst.outcome is Outcome.UNRESOLVED
    assert "lost in the round-off" in check.message
    assert check_gradient(f, x.astype(jnp.float64)).worst.outcome is Outcome.AGREES


def test_a_missing_derivative_that_cannot_be_seen_is_not_said_to_agree():
    stop = lambda x: jax.lax.stop_gradient(jnp.abs(x))  # noqa: E731
    check = check_gradient(lambda x: 1e6 * jnp.abs(x[0]) + stop(x[1]) + 0 * x[2], jnp.ones(3, jnp.float32))
    assert [c.outcome for c in check.comparisons] == [Outcome.AGREES, Outcome.UNRESOLVED, Outcome.AGREES]
    assert check.comparisons[0].path in str(check.comparisons[0])
    assert "to within" in str(check.comparisons[0])
    constant = check_gradient(lambda x: stop(x).sum() + 1e6, jnp.ones(1, jnp.float32))
    assert constant.worst.outcome is Outcome.UNRESOLVED


def test_outputs_of_all_sizes_are_checked():
    f = lambda x: {"loss": 1e5 * jnp.abs(x), "reg": jax.lax.stop_gradient(jnp.abs(x)), "zero": jnp.abs(x - 1)[0]}  # noqa: E731
    check = check_gradient(f, jnp.array([1.0, 2.0], jnp.float32))
    assert check.worst.outcome is Outcome.WRONG
    assert check.worst.path == "x[1]"


def test_a_part_in_half_precision_is_no_error():
    matrix = RNG.standard_normal((4, 3))

    def f(x):
        rounded = jax.jit(lambda x: jnp.asarray(matrix, jnp.bfloat16) @ x.astype(jnp.bfloat16))(x)
        return jnp.sum(jnp.tanh(rounded).astype(jnp.float32) ** 2)

    x = jnp.array([0.3, -0.7, 1.1], jnp.float32)
    assert precision(f, x) == float(jnp.finfo(jnp.bfloat16).eps)
    assert precision(jnp.sin, x) == float(jnp.finfo(jnp.float32).eps)
    assert check_gradient(f, x).ok
    assert check_products(f, x).ok


def test_an_entry_far_smaller_than_the_others_is_checked_in_its_own_unit():
    check = check_gradient(lambda x: jnp.sum(jnp.log(x)), jnp.array([1.0, 1e-12], jnp.float32))
    assert check.worst.outcome is Outcome.AGREES, check
    np.testing.assert_allclose(check.comparisons[1].difference, 1e12, rtol=1e-2)
    assert check.comparisons[1].step < 1e-12 < check.comparisons[0].step


def large(x):
    """Return a function with one missing derivative among 3000."""
    a = x["a"]
    return jnp.sum(jnp.sin(a) ** 2) + a[0, 0] * jax.lax.stop_gradient(a[17, 3]) + jnp.sum(x["b"] ** 2)


LARGE = {"a": 1.0 + jnp.arange(3000.0).reshape(60, 50) / 3000, "b": jnp.ones(3)}


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_large_leaves_are_checked_along_directions_and_the_entry_is_found(dtype):
    x = jax.tree.map(lambda leaf: leaf.astype(dtype), LARGE)
    check = check_gradient(large, x, directions=4)
    assert not check.ok
    assert check.worst.path == "x['a'][17, 3]"
    assert check.compared == 4 + 3 + 1
    assert check.comparisons[0].path == "x['a'], entries 0:3000, direction 0"
    assert check.comparisons[4].path == "x['b'][0]"


def test_limit_directions_and_key_choose_what_is_compared():
    f = lambda x: jnp.sum(jnp.abs(x) * x)  # noqa: E731
    x = jnp.arange(1.0, 7.0)
    assert check_gradient(f, x, limit=6).compared == 6
    few = check_gradient(f, x, limit=5, directions=2, key=jax.random.key(0))
    assert few.compared == 2
    other = check_gradient(f, x, limit=5, directions=2, key=1)
    assert few.worst.derivative != other.worst.derivative


def test_scale_is_the_size_of_a_step_at_zero():
    f = lambda x: jnp.sum(jnp.abs(x - 1) * x)  # noqa: E731
    steps = [check_gradient(f, jnp.zeros(2), scale=scale).worst.step for scale in (None, 2.0**10)]
    assert steps[0] == steps[1] / 2**10 == 2.0**-18  # near eps^(1/3)
    assert check_gradient(f, jnp.full(2, 4.0), scale=1.0).worst.step == 2.0**-16


def test_both_modes_are_checked():
    doubled = custom("vjp", lambda x: 6 * x**2)
    loop = lambda x: jax.lax.while_loop(lambda s: s < 10, lambda s: 2 * s, jnp.sum(x**2))  # noqa: E731
    x = jnp.array([1.0, 1.5])
    assert not check_gradient(doubled, x).ok
    with pytest.raises(TypeError, match="custom_vjp"):
        check_gradient(doubled, x, mode="forward")
    assert check_gradient(loop, x, mode="forward").ok
    with pytest.raises(ValueError, match="Reverse-mode"):
        check_gradient(loop, x)


def test_functions_of_several_values_are_checked_with_random_weights():
    def f(x):
        return {"y": jnp.sin(x), "z": x[0] * jax.lax.stop_gradient(x[1])}

    check = check_gradient(f, jnp.array([1.0, 2.0]))
    assert (check.ok, check.worst.path) == (False, "x[1]")
    assert check.worst.derivative != check_gradient(f, jnp.array([1.0, 2.0]), key=1).worst.derivative


def test_batch_none_serves_a_function_without_a_batching_rule():
    @jax.custom_jvp
    def f(x):
        return jax.pure_callback(lambda x: np.sum(np.sin(x)), jax.ShapeDtypeStruct((), x.dtype), x, vmap_method=None)

    f.defjvp(lambda x, v: (f(*x), jnp.sum(jnp.cos(x[0]) * v[0])))
    x = jnp.array([1.0, 2.0])
    assert check_gradient(f, x, batch=None).ok
    with pytest.raises(NotImplementedError, match=r"batch|vmap"):
        check_gradient(f, x, batch=4)


def test_one_program_serves_all_rounds_of_a_check():
    traced = []

    def f(x):
        traced.append(1)
        return jnp.sum(jnp.abs(x)) * jax.lax.stop_gradient(x[37])

    check = check_gradient(f, jnp.arange(1.0, 201.0), directions=2)
    assert check.worst.path == "x[37]"  # eight rounds
    assert len(traced) <= 6  # shape, precision, complex program, value twice, derivative


def test_a_check_sees_what_has_been_defined_anew():
    factor = 2.0
    f = jax.custom_jvp(lambda x: jnp.sum(jnp.abs(x) * x))

    def define():
        f.defjvp(lambda x, v: (f(*x), factor * jnp.sum(jnp.abs(x[0]) * v[0])))

    x = jnp.array([1.0, 2.0])
    define()
    assert check_gradient(f, x).ok
    factor = 1.5
    assert not check_gradient(f, x).ok
    define()
    assert check_gradient(f, x).worst.derivative == 3.0
    swept = [step_sweep(f, x, x)]
    products = lambda x: jax.custom_derivatives.linear_call(lambda _, v: 2.0 * v, lambda _, w: factor * w, (), x)  # noqa: E731
    found = [check_products(products, x).ok]
    factor = 2.0
    swept.append(step_sweep(f, x, x))
    found.append(check_products(products, x).ok)
    assert [sweep.derivative for sweep in swept] == [7.5, 10.0]
    assert found == [False, True]


def test_report_prints_the_verdict_and_a_table():
    check = check_gradient(lambda x: jnp.sum(jnp.abs(x)), jnp.arange(20.0))
    text = str(check)
    assert text.startswith("DerivativeCheck:\n")
    assert "ok: True" in text
    assert "complex step: none: abs" in text
    assert "x[0]     kink" in text
    assert text.endswith("... and 8 more, none worse")
    assert "complex step: yes" in str(check_gradient(lambda x: jnp.sum(x**2), jnp.ones(1)))
    assert len({outcome.advice for outcome in Outcome}) == len(Outcome)


# Complex step -------------------------------------------------------------------------------------------------

UNARY = {
    "acos": jnp.arccos, "asin": jnp.arcsin, "asinh": jnp.arcsinh,
    "atan": jnp.arctan, "atanh": jnp.arctanh, "cos": jnp.cos, "cosh": jnp.cosh, "exp": jnp.exp, "exp2": jnp.exp2,
    "expm1": jnp.expm1, "integer_pow": lambda x: x**3, "log": jnp.log, "log1p": jnp.log1p, "logistic": jax.lax.logistic,
    "neg": lambda x: -x, "rsqrt": jax.lax.rsqrt, "sin": jnp.sin, "sinh": jnp.sinh, "sqrt": jnp.sqrt,
    "square": jax.lax.square, "tan": jnp.tan, "tanh": jnp.tanh, "add": lambda x: x + x, "mul": lambda x: x * x,
    "sub": lambda x: 1 - x, "div": lambda x: 1 / x, "cumsum": jnp.cumsum, "reduce_sum": jnp.sum,
    "dot_general": lambda x: jnp.dot(x, x), "scatter-add": lambda x: x.at[0].add(x[1]),
    "broadcast_in_dim": lambda x: x[None] * x, "concatenate": lambda x: jnp.concatenate([x, x]),
    "convert_element_type": lambda x: x * jnp.arange(3).astype(x.dtype), "copy": lambda x: jnp.array(x, copy=True),
    "dynamic_slice": lambda x: jax.lax.dynamic_slice(x, (jnp.int32(1),), (2,)),
    "dynamic_update_slice": lambda x: jax.lax.dynamic_update_slice(x, x[:1] * 2, (jnp.int32(1),)),
    "gather": lambda x: x[jnp.array([0, 2])], "iota": lambda x: x * jax.lax.iota(x.dtype, 3),
    "pad": lambda x: jnp.pad(x, 1), "reshape": lambda x: x.reshape(3, 1), "rev": lambda x: x[::-1],
    "slice": lambda x: x[1:], "squeeze": lambda x: jax.lax.squeeze(x[:1], (0,)), "transpose": lambda x: jnp.outer(x, x).T,
    "checkpoint": jax.checkpoint(jnp.sin), "jit": jax.jit(jnp.sin), "custom_jvp_call": jax.nn.silu,
    "scan": lambda x: jax.lax.scan(lambda c, a: (c * a, c), x[0], x)[0],
}  # fmt: skip


@pytest.fixture(scope="module")
def complex_derivatives():
    """Return for each function its complex steps, and the same by forward mode, from one program."""
    functions = {name: f for name, f in UNARY.items() if f is not None}
    x = jnp.array([0.3, 0.5, 0.2])

    def every(x):
        return {name: jnp.ravel(f(x)) for name, f in functions.items()}

    shapes = jax.eval_shape(every, x)
    weights = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), shapes)
    h = float(jnp.finfo(x.dtype).eps) ** 2
    v = jnp.array([1.0, 2.0, -1.0])
    made = jax.jit(lambda x: jax.tree.map(lambda y: jnp.imag(y) / h, every(jax.lax.complex(x, h * v))))(x)
    expected = jax.jit(lambda x: jax.jvp(every, (x,), (v,))[1])(x)
    assert jax.tree.structure(weights) == jax.tree.structure(made)
    return made, expected


@pytest.mark.parametrize("name", [name for name, f in UNARY.items() if f is not None])
def test_every_listed_operation_is_holomorphic(name, complex_derivatives):
    made, expected = complex_derivatives
    np.testing.assert_allclose(made[name], expected[name], rtol=1e-13, atol=1e-15)
    assert obstacle(UNARY[name], jnp.array([0.3, 0.5, 0.2])) == ""


def test_the_list_is_what_is_tested():
    names = {
        "custom_vjp_call",
        "custom_vjp_call_jaxpr",
        "pjit",
        "remat",
        "remat2",
        "closed_call",
        "core_call",
    }  # other names of calls
    assert HOLOMORPHIC == FUNCTIONS | STRUCTURE | CALLS
    assert HOLOMORPHIC - names - {"stop_gradient"} <= set(UNARY)  # the last has a test of its own
    for name in (FUNCTIONS | STRUCTURE) - {"stop_gradient", "copy"}:
        program = jax.make_jaxpr(UNARY[name])(jnp.array([0.3, 0.5, 0.2])).jaxpr
        assert name in {equation.primitive.name for equation in _equations(program)}, name


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (jnp.abs, "abs"),
        (jnp.max, "reduce_max"),
        (lambda x: jax.jit(lambda x: jnp.sort(x))(x), "sort"),
        (lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), "gt"),
        (lambda x: x[x.astype(jnp.int32)], "convert_element_type to int32"),
        (lambda x: x**0.5 * x**1.7, "pow"),
        (lambda x: jnp.vdot(x, x), "conj"),  # of the complex program: the real one has none
        (lambda x: jnp.sum(x.astype(jnp.float64)), "convert_element_type to float64"),
        (lambda x: jax.lax.add(x, np.ones(2)), "f refuses complex numbers (TypeError)"),
    ],
)
def test_what_prevents_the_complex_step_is_named(f, reason):
    assert obstacle(f, jnp.array([0.5, 1.5])) == reason


def test_stop_gradient_does_not_stop_the_complex_step():
    f = lambda x: jax.lax.stop_gradient(x[0]) * x[1]  # noqa: E731
    check = check_gradient(f, jnp.array([2.0, 3.0]))
    assert (check.complex_step, [c.complex_step for c in check.comparisons]) == ("", [3.0, 2.0])


def test_half_precision_has_no_complex_form():
    assert obstacle(jnp.sin, jnp.ones(2, jnp.bfloat16)) == "bfloat16 has no complex form"


def test_complex_steps_are_exact_to_rounding():
    x = jnp.array([0.5, 2.0], jnp.float32)
    made = complex_steps(
        jnp.sum, x, jnp.float32(1), coordinates(2), units(x, None).astype(np.float32), np.ones((1, 2), np.int8)
    )
    np.testing.assert_array_equal(made, units(x, None)[0])


# Richardson ---------------------------------------------------------------------------------------------------


def line(phi, steps):
    h = np.asarray(steps)[None]
    return Line(phi(h), phi(-h), phi(np.zeros(1)), h, h)


STEPS, PICK = step_ladder(2.0**-52)


def test_extrapolation_cancels_even_powers():
    cubic = lambda t: 2 * t + 5 * t**3  # noqa: E731
    at = estimates(line(cubic, STEPS[:3]), 0.0, 0.0, 1)
    np.testing.assert_allclose(at.derivative, 2, rtol=1e-15)
    np.testing.assert_allclose(at.centred, 2 + 5 * STEPS[1] ** 2, rtol=1e-15)
    np.testing.assert_allclose(at.centred_error, 5 * STEPS[1] ** 2, rtol=1e-12)


@pytest.mark.parametrize("noise", [1e-12, 1e-8, 1e-4])
def test_error_bounds_hold_for_noisy_values(noise):
    rng = np.random.default_rng(1)
    phi = lambda t: np.exp(t) + noise * rng.uniform(-1, 1, (50, *t.shape[1:]))  # noqa: E731
    h = np.broadcast_to(STEPS, (50, len(STEPS)))
    at = estimates(Line(phi(h), phi(-h), phi(np.zeros(50)), h, h), noise, 1e-16, PICK)
    assert np.all(np.abs(at.derivative - 1) <= at.error)
    assert np.all(at.error < 1e4 * noise)
    assert not at.kink.any()


def test_steps_that_are_not_finite_or_went_nowhere_are_left_out():
    h = STEPS[None].copy()
    values = line(np.exp, STEPS)
    values.plus[0, :4] = np.inf
    values.up[0, -3:] = 0
    at = estimates(values._replace(plus=values.plus), 1e-16, 1e-16, PICK)
    np.testing.assert_allclose(at.derivative, 1, rtol=1e-8)
    none = estimates(values._replace(plus=np.full_like(h, np.nan)), 1e-16, 1e-16, PICK)
    assert np.isnan(none.derivative[0])
    assert np.isinf(none.error[0])


@pytest.mark.parametrize(("power", "kink"), [(1.0, True), (1.5, False), (2.0, False), (0.5, True)])
def test_a_kink_is_a_jump_that_stays(power, kink):
    assert estimates(line(lambda t: np.abs(t) ** power, STEPS), 0.0, 1e-16, PICK).kink[0] == kink


def test_round_off_beyond_its_bound_is_no_kink():
    rng = np.random.default_rng(2)
    up, down, centre = 1e-9 * rng.uniform(-1, 1, (3, 500, len(STEPS)))
    h = np.broadcast_to(STEPS, up.shape)
    at = estimates(Line(h + up, -h + down, centre[:, 0], h, h), 1e-13, 1e-16, PICK)
    assert at.kink.mean() < 0.01


def test_noise_is_measured_and_neither_slope_nor_kink_nor_lattice_is_noise():
    t = np.linspace(-1, 1, 12)[None, None, :, None] * np.array([1e-8, 1e-9, 1e-11])[None, :, None, None]
    rough = 1e-9 * np.random.default_rng(0).standard_normal(t.shape)
    assert noise_level(1 + 3 * t, 1e-16)[0] < 1e-14
    assert noise_level(1 + np.abs(t), 1e-16)[0] < 1e-14
    assert 1e-9 < noise_level(1 + t + rough, 1e-16)[0] < 1e-8
    assert (
        noise_level(np.sin(1e8 * t), 1e-16)[0] < 1e-2
    )  # the widest spacing is too wide for a function as fast as this
    stepped = np.round(t / 3e-9) * 3e-9  # at the smallest spacings all are equal: they do not count
    assert 1e-9 < noise_level(stepped, 1e-16)[0] < 1e-7
    assert noise_level(np.full_like(t, np.nan), 1e-16)[0] == 0


# Products with the Hessian, and the two modes ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_right_products_with_the_hessian_pass(dtype):
    x = {"a": jnp.asarray(POINT[:3], dtype), "b": jnp.asarray(0.7, dtype)}
    check = check_hvp(lambda x: jnp.sum(jnp.sin(x["a"] * x["b"]) * x["a"][0]), x, directions=2)
    assert check.ok, check
    assert check.smooth
    assert check.compared == 2 * 4
    assert check.asymmetry <= check.asymmetry_bound
    assert "asymmetry" in str(check)
    assert check.comparisons[3].path == "(H v)['b'], direction 0"


def second_order_wrong(x):
    """Return sum(x^3) with the right gradient, whose own derivative is wrong in entry 1."""

    @jax.custom_jvp
    def slope(x):
        return 3 * x**2

    slope.defjvp(lambda x, v: (slope(*x), 6 * x[0] * v[0] * jnp.array([1.0, 1.1, 1.0])))

    @jax.custom_jvp
    def f(x):
        return jnp.sum(x**3)

    f.defjvp(lambda x, v: (f(*x), jnp.sum(slope(x[0]) * v[0])))
    return f(x)


@pytest.mark.parametrize("mode", ["forward-over-reverse", pytest.param("reverse-over-reverse", marks=pytest.mark.slow)])
def test_a_wrong_second_derivative_is_found_where_the_gradient_is_right(mode):
    x = jnp.array([1.0, 2.0, 3.0])
    assert check_gradient(second_order_wrong, x).ok
    check = check_hvp(second_order_wrong, x, mode=mode)
    assert not check.ok
    assert check.worst.path.startswith("(H v)[1], direction")


def test_the_mode_of_the_product_is_the_one_asked_for():
    @jax.custom_vjp
    def f(x):
        return jnp.sum(x**3)

    f.defvjp(lambda x: (f(x), x), lambda x, w: (3 * w * x**2,))
    x = jnp.array([1.0, 2.0])
    assert check_hvp(f, x, directions=1).ok
    with pytest.raises((TypeError, NotImplementedError), match="custom"):
        check_hvp(f, x, mode="reverse-over-forward", directions=1)


def test_products_that_are_not_symmetric_are_said_to_be():
    @jax.custom_vjp
    def f(x):
        return x[0] * x[1]

    f.defvjp(lambda x: (f(x), x), lambda x, w: (w * jnp.stack([2 * x[1], x[0]]),))
    check = check_hvp(f, jnp.array([1.0, 2.0]))
    assert all(c.outcome is Outcome.AGREES for c in check.comparisons)  # with the gradient, which is wrong
    assert not check.ok
    assert "not symmetric" in check.message


def test_a_kink_of_the_gradient_is_said_to_be_one():
    check = check_hvp(lambda x: jnp.sum(jnp.abs(x) * x), jnp.array([1.0, 0.0, 2.0]), directions=1)
    assert check.ok
    assert not check.smooth
    assert check.worst.path == "(H v)[1], direction 0"


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_modes_of_a_function_of_trees_agree(dtype):
    x = {"a": jnp.asarray(POINT[:3], dtype), "b": jnp.asarray(0.7, dtype)}
    check = check_products(lambda x: (jnp.sin(x["a"]) * x["b"], jnp.sum(x["a"])), x)
    assert check.ok
    assert check.differences.shape == (2, 2)
    assert 0 <= check.difference < 10 * check.bound**2
    assert "one matrix" in str(check)


def test_modes_agree_in_trees_of_several_dtypes_and_under_strict_promotion():
    x = {"a": jnp.ones(2, jnp.float32), "b": jnp.ones(2, jnp.float64)}
    with jax.numpy_dtype_promotion("strict"):
        assert check_products(lambda x: jnp.sum(x["a"]).astype(jnp.float64) + jnp.sum(x["b"] ** 2), x).ok
        assert check_gradient(lambda x: jnp.sum(x["a"]).astype(jnp.float64) + jnp.sum(x["b"] ** 2), x).ok


def lopsided(x):
    """Return x["a"] x["b"] with a forward rule that is linear and a transpose that is not its own."""
    halved = jax.custom_derivatives.linear_call(lambda _, v: 2.0 * v, lambda _, w: 1.9 * w, (), x["b"])
    return {"y": x["a"] * 1.0, "z": x["a"] * halved}


def test_a_transpose_that_is_not_one_is_found_and_its_block_named():
    x = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([0.5, 0.3])}
    check = check_products(lopsided, x)
    assert not check.ok
    assert check.worst == "f(x)['z'] by x['b']"
    assert (check.differences > check.bound).tolist() == [[False, False], [False, True]]
    assert "differ" in check.message


def test_pairs_and_key_choose_the_probes():
    f = lambda x: jax.custom_derivatives.linear_call(lambda _, v: 2.0 * v, lambda _, w: 1.9 * w, (), x)  # noqa: E731
    x = jnp.array([0.5, 0.3])
    one, more, other = (check_products(f, x, pairs=p, key=k).difference for p, k in ((1, 0), (4, 0), (1, 1)))
    assert one != more
    assert one != other


INPUTS, WEIGHTS = RNG.standard_normal((6, 3)), RNG.standard_normal((3, 4))


def normalised(p):
    """Return logarithms of probabilities, which a shift c does not change: derivatives by a scalar c are round-off."""
    return jax.nn.log_softmax(jnp.asarray(INPUTS, jnp.float32) @ p["w"] + p["c"])


def test_a_block_that_is_zero_up_to_rounding_is_no_error():
    w = jnp.asarray(WEIGHTS, jnp.float32)
    check = check_products(normalised, {"w": w, "c": jnp.float32(0.3)})
    assert check.ok, check
    check = check_hvp(lambda c: normalised({"w": w, "c": c})[:, 0].sum(), jnp.float32(3.3), directions=2)
    assert check.ok, check


def test_a_missing_mode_is_said():
    x = jnp.array([1.0, 2.0])
    check = check_products(custom("vjp", lambda x: 3 * x**2), x)
    assert (check.ok, check.forward, check.reverse) == (False, False, True)
    assert "f has no forward mode" in check.message
    assert "custom_vjp" in check.message
    assert "mode='reverse'" in str(check)
    check = check_products(lambda x: jax.lax.while_loop(lambda s: s < 10, lambda s: 2 * s, jnp.sum(x**2)), x)
    assert (check.ok, check.forward, check.reverse) == (False, True, False)
    assert "f has no reverse mode" in check.message
    assert np.isnan(check.differences).all()


def test_products_that_are_not_finite_are_said_to_be():
    check = check_products(lambda x: jnp.sqrt(x), jnp.array([0.0, 1.0]))
    assert not check.ok
    assert "not finite" in check.message


# The step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "f", [jnp.exp, lambda x: jnp.sin(3 * x) + 2, lambda x: 1 / (1 + x**2)], ids=["exp", "sin", "rational"]
)
def test_the_curve_is_a_v_with_its_lowest_point_where_predicted(f, dtype):
    sweep = step_sweep(f, jnp.asarray(0.7, dtype), jnp.asarray(1.0, dtype))
    for name, order in (("centred", 2), ("forward", 1)):
        errors, step, bound = (getattr(sweep, field) for field in (name, f"{name}_step", f"{name}_bound"))
        right = (sweep.steps > 8 * step) & (sweep.steps < 0.3)
        assert right.sum() >= 2
        slope = np.polyfit(np.log(sweep.steps[right]), np.log(errors[right]), 1)[0]
        assert abs(slope - order) < 0.25, name
        # To the left rounding jumps about, and at some steps hits the mark: the curve is its envelope.
        left = (sweep.steps < step / 2) & (errors > 0)
        envelope = np.maximum.accumulate(errors[left])
        slope = np.polyfit(np.log(sweep.steps[left]), np.log(envelope), 1)[0]
        assert abs(slope + 1) < 0.35, name
        near = np.maximum(np.maximum(errors[2:], errors[1:-1]), errors[:-2])  # of three steps: no lucky one counts
        best = sweep.steps[1:-1][near.argmin()]
        assert 1 / 10 <= best / step <= 10, name
        assert 1 / 10 <= near.min() / bound <= 10, name


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_second_and_third_derivatives_are_estimated(dtype):
    sweep = step_sweep(lambda x: jnp.exp(2 * x["a"]), {"a": jnp.asarray(0.5, dtype)}, {"a": jnp.asarray(1.0, dtype)})
    np.testing.assert_allclose([sweep.second, sweep.third], np.e * np.array([4, 8]), rtol=0.05)
    np.testing.assert_allclose(sweep.derivative, 2 * np.e, rtol=1e-6)
    assert "centred_step" in str(sweep)


def test_where_there_is_no_truncation_the_best_step_is_infinite():
    sweep = step_sweep(lambda x: jnp.sum(3 * x), jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0]))
    assert (sweep.centred_step, sweep.forward_step) == (np.inf, np.inf)
    assert (sweep.centred_bound, sweep.forward_bound) == (0, 0)


def test_values_that_are_not_finite_have_no_error():
    sweep = step_sweep(jnp.log, jnp.array(1.0), jnp.array(1.0))
    assert not np.isfinite(sweep.centred[0])
    assert np.isfinite(sweep.centred[1:]).all()


# What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [check_gradient, check_hvp, check_products])
def test_what_is_no_function_of_floats_is_refused(check):
    name = check.__name__
    with pytest.raises(TypeError, match=f"{name}: f must be a function"):
        check(1.0, jnp.ones(2))
    with pytest.raises(TypeError, match=f"{name}: x must be real floating"):
        check(jnp.sum, jnp.arange(2))
    with pytest.raises(TypeError, match=rf"{name}: f\(x\) must be real floating"):
        check(lambda x: jnp.sum(x).astype(jnp.int32), jnp.ones(2))
    with pytest.raises(TypeError, match=f"{name}: key must be one random key"):
        check(jnp.sum, jnp.ones(2), key="0")


@pytest.mark.parametrize("check", [check_gradient, check_hvp])
def test_settings_out_of_range_are_refused(check):
    name = check.__name__
    with pytest.raises(ValueError, match=rf"{name}: scale must be in \(0"):
        check(jnp.sum, jnp.ones(2), scale=0.0)
    with pytest.raises(ValueError, match=f"{name}: directions must be a whole number >= 1"):
        check(jnp.sum, jnp.ones(2), directions=0)
    with pytest.raises(ValueError, match=f"{name}: batch must be a whole number >= 1"):
        check(jnp.sum, jnp.ones(2), batch=0)
    with pytest.raises(ValueError, match=f"{name}: mode must be one of"):
        check(jnp.sum, jnp.ones(2), mode="backward")
    with pytest.raises(ValueError, match=f"{name}: x must hold at least one number"):
        check(jnp.sum, jnp.zeros(0))


def test_further_settings_are_refused_out_of_range():
    with pytest.raises(ValueError, match="check_gradient: limit must be a whole number >= 1"):
        check_gradient(jnp.sum, jnp.ones(2), limit=0)
    with pytest.raises(ValueError, match=r"check_gradient: f\(x\) must hold at least one number"):
        check_gradient(lambda x: x[:0], jnp.ones(2))
    with pytest.raises(TypeError, match="check_hvp: f must return a real floating scalar"):
        check_hvp(jnp.sin, jnp.ones(2))
    with pytest.raises(ValueError, match="check_products: pairs must be a whole number >= 1"):
        check_products(jnp.sin, jnp.ones(2), pairs=0)
    with pytest.raises(ValueError, match="check_products: x must hold at least one array"):
        check_products(lambda _: jnp.float32(1), ())
    with pytest.raises(ValueError, match=r"step_sweep: direction must be a tree like x.*shape \(3,\).*shape \(2,\)"):
        step_sweep(jnp.sum, jnp.ones(2), jnp.ones(3))
    with pytest.raises(ValueError, match="step_sweep: x must hold at least one number"):
        step_sweep(jnp.sum, jnp.zeros(0), jnp.zeros(0))
    for wrong in (0.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="step_sweep: direction must be finite and not zero"):
            step_sweep(jnp.sum, jnp.ones(2), jnp.full(2, wrong))
    with pytest.raises(TypeError, match="step_sweep: f must return a real floating scalar"):
        step_sweep(jnp.sin, jnp.ones(2), jnp.ones(2))
    with pytest.raises(TypeError, match="step_sweep: f must be a function"):
        step_sweep(1.0, jnp.ones(2), jnp.ones(2))

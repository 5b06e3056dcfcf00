"""Counted operations: closed forms, XLA's own count where the conventions agree, and the table of costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jopt.autodiff import count_operations


def ones(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def total(f, *args):
    count = count_operations(f, *args)
    assert count.unknown == ()
    return count.total


X = ones(5, 4)


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: x + x * x, 40),
        (lambda x: jnp.where(x > 0, x, -x), 60),
        (lambda x: x**3, 40),
        (lambda x: x**8, 60),
        (lambda x: x**7, 80),
        (lambda x: x**-2, 40),
        (lambda x: lax.clamp(jnp.float32(0.0), x, jnp.float32(1.0)), 20),
        (lambda x: jnp.sum(x), 20),
        (lambda x: jnp.max(x, 0), 20),
        (lambda x: jnp.argmax(x, 0), 20),
        (lambda x: jnp.cumsum(x, 0), 20),
        (lambda x: jnp.sort(x, 0), 20 * 3),
        (lambda x: jnp.sort(x, 1), 20 * 2),
        (lambda x: lax.top_k(x, 3)[0], 20 * 2),
        (lambda x: lax.reduce(x, jnp.float32(0.0), lambda a, b: a + 2.0 * b, (0,)), 20 * 2),
        (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 1), "VALID"), 12 * 4),
        (lambda x: x.at[jnp.array([0, 2])].add(1.0), 8),
        (lambda x: x.at[jnp.array([0, 2])].set(1.0), 0),
        (lambda x: x.T.reshape(-1)[3:7].astype(jnp.float16), 0),
        (lambda x: x[::-1] + jnp.concatenate([x, x])[:5], 20),
    ],
)
def test_elementwise_reductions_and_moves(f, expected):
    assert total(f, X) == expected


def test_integers_alone_count_nothing():
    assert total(lambda i: i * i + 3, ones(7, dtype=jnp.int32)) == 0


def test_transcendental_functions_count_one_and_are_listed_apart():
    count = count_operations(lambda x: jnp.exp(x) * lax.pow(x, x) + 1.0, X)
    assert (count.total, count.transcendental) == (80, 40)
    assert count.by_primitive == {"add": 20, "exp": 20, "mul": 20, "pow": 20}


def test_matmul_is_two_m_n_k():
    assert total(jnp.matmul, ones(3, 4), ones(4, 5)) == 2 * 3 * 4 * 5
    assert total(jnp.matmul, ones(7, 3, 4), ones(7, 4, 5)) == 7 * 2 * 3 * 4 * 5
    assert total(lambda a: jnp.einsum("ij,ij->", a, a), ones(3, 4)) == 2 * 12
    assert total(lambda a: jnp.einsum("ij,ij->i", a, a), ones(3, 4)) == 2 * 12


N = 6


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda a: lax.linalg.cholesky(a, symmetrize_input=False), N**3 // 3),
        (lambda a: lax.linalg.triangular_solve(a, a[:, :2], left_side=True), N**2 * 2),
        (lambda a: lax.linalg.triangular_solve(a, a[:2], left_side=False), N**2 * 2),
        (lambda a: lax.linalg.lu(a)[0], 2 * N**3 // 3),
        (lambda a: lax.linalg.eigh(a, symmetrize_input=False)[1], 9 * N**3),
        (lambda a: lax.linalg.svd(a, compute_uv=False), 4 * N**3 - 4 * N**3 // 3),
        (lambda a: lax.linalg.svd(a, full_matrices=False)[0], 22 * N**3),
        (lambda a: lax.linalg.svd(a, full_matrices=True)[0], 21 * N**3),
        (lambda a: lax.linalg.eig(a)[0], 25 * N**3),
        (
            lambda a: lax.linalg.eig(a, compute_left_eigenvectors=False, compute_right_eigenvectors=False)[0],
            10 * N**3,
        ),
        (lambda a: jnp.linalg.qr(a, mode="r"), 4 * N**3 // 3),
        (lambda a: jnp.linalg.qr(a, mode="reduced"), 8 * N**3 // 3),
        (lambda a: jnp.linalg.qr(a, mode="reduced")[1], 4 * N**3 // 3),  # Q is dropped
        (lambda a: jnp.linalg.qr(a, mode="complete")[0], 8 * N**3 // 3),
        (lambda a: lax.linalg.tridiagonal_solve(a[0], a[1], a[2], a[:, :2]), 3 * N + 5 * 2 * N),
        (lambda a: jnp.fft.fft(a[0, :4]), 5 * 4 * 2),
        (lambda a: jnp.fft.rfft(a[:, :4]), N * 5 * 4 * 2 / 2),
    ],
)
def test_factorisations_and_transforms_count_their_leading_terms(f, expected):
    count = count_operations(f, ones(N, N))
    assert count.unknown == ()
    masks = {"mul", "ge", "select_n", "and", "triu", "tril"}  # of triangles, and factors of norms
    assert sum(n for name, n in count.by_primitive.items() if name not in masks) == expected


@pytest.mark.parametrize(("m", "n"), [(9, 3), (3, 9)])
@pytest.mark.parametrize("mode", ["r", "reduced", "complete"])
def test_qr_of_a_rectangle_is_golub_and_van_loans(m, n, mode):
    k = min(m, n)
    r = 2 * n**2 * (m - n / 3) if m >= n else 4 * (m**2 * n / 2 - m**3 / 6)  # algorithm 5.2.1
    q = {"r": 0, "reduced": 2 * k**2 * (m - k / 3), "complete": 4 * (m**2 * k - m * k**2 + k**3 / 3)}[mode]  # 5.1.6
    count = count_operations(lambda a: jnp.linalg.qr(a, mode=mode), ones(m, n))
    assert count.by_primitive["qr"] == pytest.approx(r + q, abs=1)


def test_convolution_counts_products_with_the_image_but_not_with_padding_or_holes():
    def conv(**more):
        return lambda x, w: lax.conv_general_dilated(x, w, **({"window_strides": (1,), "padding": "VALID"} | more))

    x, w = ones(2, 3, 8), ones(5, 3, 4)
    assert total(conv(), x, w) == 2 * 2 * 5 * 3 * (5 * 4)
    assert total(conv(window_strides=(2,)), x, w) == 2 * 2 * 5 * 3 * (3 * 4)
    assert total(conv(padding=[(3, 3)]), x, w) == 2 * 2 * 5 * 3 * (8 * 4)  # each entry meets each weight once
    assert total(conv(lhs_dilation=(2,), padding=[(3, 3)]), x, w) == 2 * 2 * 5 * 3 * (8 * 4)
    assert total(conv(rhs_dilation=(2,)), x, w) == 2 * 2 * 5 * 3 * (2 * 4)
    grouped = ones(6, 1, 4)
    assert total(conv(feature_group_count=3), x, grouped) == 2 * 2 * 6 * 1 * (5 * 4)


def test_a_network_layer_by_hand():
    def layer(w, b, x):
        return jax.nn.relu(x @ w + b)

    rows, fan_in, fan_out = 10, 4, 3
    expected = 2 * rows * fan_in * fan_out + rows * fan_out + rows * fan_out  # products, biases, maxima
    assert total(layer, ones(fan_in, fan_out), ones(fan_out), ones(rows, fan_in)) == expected


def flops(f, *args):
    """Return XLA's own count of a compiled program."""
    analysis = jax.jit(f).lower(*args).compile().cost_analysis()
    return (analysis[0] if isinstance(analysis, list) else analysis)["flops"]


def polynomial(x):
    return (x * x + 3.0) * x - x / 2.0


def layers(x):
    hidden = jnp.maximum(x @ jnp.ones((4, 16), x.dtype) * 2.0 + 1.0, 0.0)
    return hidden @ jnp.ones((16, 3), x.dtype)


def convolution(x, w):
    return lax.conv_general_dilated(x, w, (2,), [(3, 1)])


def convolutions_gradient(x, w):
    return jax.grad(lambda x, w: jnp.sum(convolution(x, w) ** 2), argnums=(0, 1))(x, w)


IMAGES = (ones(2, 3, 8), ones(5, 3, 4))


@pytest.mark.parametrize(
    ("f", "args"),
    [(polynomial, (X,)), (layers, (X,)), (convolution, IMAGES), (convolutions_gradient, IMAGES)],
)
def test_count_is_xlas_own_where_there_are_no_loops(f, args):
    assert total(f, *args) == flops(f, *args)


def scanned(x):
    return lax.scan(lambda h, _: (polynomial(h), None), x, length=50)[0]


def test_a_scan_counts_its_body_times_its_length_where_xla_takes_it_once():
    body = total(polynomial, X)
    assert total(scanned, X) == 50 * body
    assert flops(scanned, X) < 2 * body + 50
    nested = lax.scan
    assert total(lambda x: nested(lambda h, _: (scanned(h), None), x, length=3)[0], X) == 150 * body
    assert total(lambda x: lax.fori_loop(0, 50, lambda _, h: polynomial(h), x), X) == 50 * body


def test_a_while_loop_counts_one_trip_and_says_so():
    count = count_operations(lambda x: lax.while_loop(lambda h: jnp.sum(h) < 9.0, polynomial, x), X)
    assert count.total == total(polynomial, X) + 20 + 1
    assert count.loops == 1
    assert "a trip" in repr(count)
    assert "a trip" not in repr(count_operations(polynomial, X))


def test_a_while_loop_counts_its_whole_body_whatever_is_needed_of_it():
    def f(wanted):
        def program(x):
            return lax.while_loop(lambda s: s[0] < 9.0, lambda s: (s[0] + 1.0, jnp.sin(s[1])), (0.0, x))[wanted]

        return total(program, X)

    assert f(0) == f(1) == 1 + 1 + 20


def test_a_cond_counts_its_dearest_branch():
    def f(x):
        return lax.cond(x[0, 0] > 0, lambda x: x + 1.0, polynomial, x)

    assert total(f, X) == total(polynomial, X) + 1


def test_calls_and_custom_rules_count_what_they_do():
    assert total(jax.jit(polynomial), X) == total(polynomial, X)
    assert total(jax.checkpoint(polynomial), X) == total(polynomial, X)
    forward, reverse = jax.custom_jvp(polynomial), jax.custom_vjp(polynomial)
    forward.defjvp(lambda x, t: (x[0], t[0]))
    reverse.defvjp(lambda x: (x, None), lambda _, w: (w,))
    assert total(forward, X) == total(reverse, X) == total(polynomial, X)
    assert total(lambda b: lax.custom_linear_solve(polynomial, b, lambda _, b: b / 2.0), X) == 20


def test_a_checkpoint_shows_its_recomputation():
    def layer(x):
        return jnp.sin(jnp.cos(x))

    plain, again = (
        total(jax.grad(lambda x, layer=layer: jnp.sum(layer(layer(x)))), X) for layer in (layer, jax.checkpoint(layer))
    )
    assert plain < again <= plain + 2 * total(layer, X)


def test_what_no_output_needs_counts_nothing():
    assert total(lambda x: [jnp.exp(x), x + 1.0][1], X) == 20
    assert total(lambda x: jax.jit(lambda x: (jnp.exp(x), x + 1.0))(x)[1], X) == 20
    assert total(lambda x: jax.jvp(lambda x: 3.0 * x, (x,), (x,))[1], X) == 20

    def spare(carry, _):
        a, b, c = carry
        return (a + 1.0, b * a, jnp.sin(c)), jnp.exp(a)

    def f(wanted):
        def program(x):
            (a, b, c), stacked = lax.scan(spare, (x, x, x), length=10)
            return {"a": a, "b": b, "c": c, "stacked": stacked}[wanted]

        return program

    assert [total(f(wanted), X) for wanted in ("a", "b", "c", "stacked")] == [200, 400, 200, 400]


def test_an_unknown_primitive_counts_its_outputs_and_is_named():
    count = count_operations(lambda x: jax.pure_callback(np.asarray, X, x) * 2.0, X)
    assert count.total == 40
    assert count.unknown == ("pure_callback",)
    assert "pure_callback: counted as one for each output" in repr(count)


def test_record_prints_total_and_primitives_largest_first():
    text = repr(count_operations(lambda a, x: jnp.tanh(a @ x), ones(100, 40), ones(40)))
    assert text == (
        "OperationCount:\n           total: 8,100\n  transcendental: 100\n    by primitive: dot_general 8,000, tanh 100"
    )


def test_a_function_must_be_one():
    with pytest.raises(TypeError, match="count_operations: f must be a function, got int"):
        count_operations(3, 1.0)


def test_what_f_calls_may_change():
    inner = {"f": lambda x: x * x}

    def f(x):
        return inner["f"](x)

    before = total(f, X)
    inner["f"] = lambda x: x * x * x
    assert (before, total(f, X)) == (20, 40)

# SPDX-License-Identifier: Apache-2.0
"""The limited-memory BFGS matrix against dense matrices in long double, and what it promises of its pairs.

The oracle forms B by the definition, B <- V' B V + rho s s' from gamma I over the newest kept pairs.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import DTYPES, assert_trees_close, tolerance

from jopt import scalars, tree
from jopt.linalg import limited_memory
from jopt.linalg.limited_memory import empty, forget, gram, two_loop

N, MEMORY = 24, 6
FORMS = (two_loop, gram)
# The errors that the module states, in units of eps |B| |g|.
STATED = {two_loop: 10.0, gram: 30.0}

every_form = pytest.mark.parametrize("form", FORMS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


# Histories ------------------------------------------------------------------------------------------------------------


def dense(pairs):
    """Return B of the pairs, from old to new, in long double."""
    s, y = pairs[-1]
    matrix = np.eye(s.size, dtype=np.longdouble) * ((s @ y) / (y @ y))
    for s, y in pairs:
        rho = 1 / (s @ y)
        v = np.eye(s.size, dtype=np.longdouble) - rho * np.outer(y, s)
        matrix = v.T @ matrix @ v + rho * np.outer(s, s)
    return matrix


def long(*vectors):
    return tuple(np.asarray(v, np.longdouble) for v in vectors)


def hessian(rng, condition):
    q, _ = np.linalg.qr(rng.standard_normal((N, N)))
    return (q * np.logspace(0, -np.log10(condition), N)) @ q.T


def descent_run(rng, condition, *, quasi_newton=True, noise=0.0, steps=3 * MEMORY):
    """Return the pairs and gradients of a run on a quadratic, with exact line search and noise on the gradients."""
    a = hessian(rng, condition)
    x = rng.standard_normal(N)
    g, pairs, history = a @ x, [], []
    for _ in range(steps):
        matrix = dense([long(*p) for p in pairs[-MEMORY:]]) if pairs and quasi_newton else np.eye(N)
        d = -(matrix @ g).astype(float)
        s = -(g @ d) / (d @ a @ d) * d
        x = x + s
        after = a @ x
        after = after + noise * np.linalg.norm(after) * rng.standard_normal(N)
        y, g = after - g, after
        if s @ y > 1e-6 * np.linalg.norm(s) * np.linalg.norm(y):
            pairs.append((s, y))
        history.append((s, y, g))
    return history


def pairs_of(steps, a, rng):
    return [(s, a @ s, a @ rng.standard_normal(N)) for s in steps]


def random_steps(rng, condition):
    return pairs_of(rng.standard_normal((3 * MEMORY, N)), hessian(rng, condition), rng)


def collinear_steps(rng, condition):
    steps = rng.standard_normal(N) + 1e-4 * rng.standard_normal((3 * MEMORY, N))
    return pairs_of(steps, hessian(rng, condition), rng)


def steps_of_all_sizes(rng, condition):
    sizes = 10 ** rng.uniform(-6, 6, (3 * MEMORY, 1))
    return pairs_of(sizes * rng.standard_normal((3 * MEMORY, N)), hessian(rng, condition), rng)


HISTORIES = {
    "run, condition 10": lambda rng: descent_run(rng, 10),
    "run, condition 1e6": lambda rng: descent_run(rng, 1e6),
    "noisy run, condition 1e6": lambda rng: descent_run(rng, 1e6, noise=1e-3),
    "steepest descent, condition 1e6": lambda rng: descent_run(rng, 1e6, quasi_newton=False),
    "random, condition 10": lambda rng: random_steps(rng, 10),
    "random, condition 1e6": lambda rng: random_steps(rng, 1e6),
    "collinear, condition 1e6": lambda rng: collinear_steps(rng, 1e6),
    "all sizes, condition 1e6": lambda rng: steps_of_all_sizes(rng, 1e6),
}


@functools.cache
def stacked(kind, dtype, seed=0):
    """Return S, Y and G of a history, one row for each update."""
    history = HISTORIES[kind](np.random.default_rng(seed))
    return tuple(np.stack(rows).astype(dtype) for rows in zip(*history, strict=True))


@functools.partial(jax.jit, static_argnums=0)
def scan(form, history, triples):
    """Give the updates to a history; return it, and for each update B g and the number of pairs kept so far."""

    def step(history, triple):
        history, u = form(history, *triple)
        return history, (u, history.stored)

    return jax.lax.scan(step, history, triples)


def run(form, triples, memory=MEMORY, history_dtype=None):
    like = jax.tree.map(lambda rows: jnp.asarray(rows[0]), triples[0])
    history, (directions, stored) = scan(form, empty(like, memory, history_dtype, product=form), triples)
    return history, np.asarray(directions), np.asarray(stored)


def expected(triples, stored, memory=MEMORY):
    """Yield g, B g and |B| of the oracle for each update after which there is a pair."""
    kept = np.diff(stored, prepend=0) == 1
    pairs = []
    for i, (s, y, g) in enumerate(zip(*(long(*rows) for rows in triples), strict=True)):
        if kept[i]:
            pairs.append((s, y))
        if pairs:
            matrix = dense(pairs[-memory:])
            yield i, g, matrix @ g, np.linalg.norm(matrix.astype(float), 2)


def length(v):
    return float(np.sqrt(v @ v))


# Against the oracle ---------------------------------------------------------------------------------------------------


@every_form
@every_dtype
@pytest.mark.parametrize("kind", HISTORIES)
def test_both_forms_are_within_their_stated_error_of_dense_matrices_and_descend(form, dtype, kind):
    triples = stacked(kind, dtype)
    _, directions, stored = run(form, triples)
    assert stored[-1] > 2 * MEMORY  # slots were taken again
    assert directions.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    for i, g, u, norm in expected(triples, stored):
        (computed,) = long(directions[i])
        assert length(computed - u) <= STATED[form] * eps * norm * length(g), i
        assert computed @ g > 0, i


@every_form
@pytest.mark.parametrize("memory", [1, 3 * MEMORY + 5])
def test_any_memory_agrees_with_dense_matrices(form, memory):
    triples = stacked("random, condition 10", jnp.float64)
    _, directions, stored = run(form, triples, memory)
    for i, g, u, norm in expected(triples, stored, memory):
        assert length(directions[i] - u) <= STATED[form] * np.finfo(float).eps * norm * length(g), i


@every_form
@every_dtype
def test_long_vectors_agree_with_the_recursion_in_long_double(form, dtype):
    """A dense matrix would be too large; the recursion in long double is held against one on short vectors below."""
    n = 2048
    rng = np.random.default_rng(1)
    diagonal = np.linspace(1, 10, n)
    steps = rng.standard_normal((3, n))
    triples = tuple(rows.astype(dtype) for rows in (steps, diagonal * steps, rng.standard_normal((3, n))))
    _, directions, _ = run(form, triples, memory=2)
    pairs = [long(s, y) for s, y in zip(*triples[:2], strict=True)]
    (g,) = long(triples[2][-1])
    u = recursion(pairs[-2:], g)
    assert length(directions[-1] - u) <= STATED[form] * float(jnp.finfo(dtype).eps) * length(u)


def recursion(pairs, g):
    """Return B g by B <- V' B V + rho s s' applied to vectors."""
    if not pairs:
        return g
    s, y = pairs[-1]
    gamma = (s @ y) / (y @ y)

    def product(k, v):
        if k == 0:
            return gamma * v
        s, y = pairs[k - 1]
        rho = 1 / (s @ y)
        inner = product(k - 1, v - rho * y * (s @ v))
        return inner - rho * s * (y @ inner) + rho * s * (s @ v)

    return product(len(pairs), g)


def test_the_two_oracles_agree():
    s, y, g = stacked("random, condition 10", jnp.float64)
    pairs = [long(*pair) for pair in zip(s[:4], y[:4], strict=True)]
    (g,) = long(g[0])
    np.testing.assert_allclose((dense(pairs) @ g).astype(float), recursion(pairs, g).astype(float), rtol=1e-15)


def matrix_of(form, history):
    """Return B, column by column, in batches as long as the other histories, so that nothing is compiled anew."""
    rows = 3 * MEMORY
    columns = np.concatenate([np.eye(N), np.zeros((-N % rows, N))]).reshape(-1, rows, N)
    zeros = np.zeros((rows, N))
    return np.concatenate([scan(form, history, (zeros, zeros, batch))[1][0] for batch in columns])[:N]


@every_form
@pytest.mark.parametrize("kind", ["run, condition 1e6", "collinear, condition 1e6"])
def test_the_matrix_is_symmetric_and_positive_definite(form, kind):
    history, _, _ = run(form, stacked(kind, jnp.float64))
    matrix = matrix_of(form, history)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13 * np.abs(matrix).max())
    assert np.linalg.eigvalsh(0.5 * (matrix + matrix.T)).min() > 0


@every_form
@every_dtype
def test_the_newest_pair_satisfies_the_secant_equation(form, dtype):
    s, y, _ = stacked("random, condition 1e6", dtype)
    _, directions, _ = run(form, (s, y, y))
    error = np.linalg.norm(directions - s, axis=1) / np.linalg.norm(s, axis=1)
    # |B| |y| / |s| is at most about 1e3 here
    assert error.max() <= 1e3 * tolerance(dtype)
    assert error.max() <= 1e-2


# Which pairs are kept -------------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnums=0)
def small_update(form, history, s, y, g):
    return form(history, s, y, g)


def kept(form, s, y, dtype):
    s, y = jnp.asarray(s, dtype), jnp.asarray(y, dtype)
    history, u = small_update(form, empty(s, 2, product=form), s, y, jnp.ones_like(s))
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves((history, u)))
    return int(history.stored) == 1


@every_form
@every_dtype
@pytest.mark.parametrize("powers", [(0, 0), (-20, 0), (20, -30), (-30, 30), (40, 30), (-40, -30)])
def test_a_pair_is_kept_where_its_cosine_exceeds_eps_whatever_its_scale(form, dtype, powers):
    a, b = 2.0 ** powers[0], 2.0 ** powers[1]
    eps = float(jnp.finfo(dtype).eps)
    assert kept(form, [a, 0.0], [4 * eps * b, b], dtype)
    assert not kept(form, [a, 0.0], [eps / 4 * b, b], dtype)
    assert not kept(form, [a, 0.0], [0.0, b], dtype)
    assert not kept(form, [a, 0.0], [-b, b], dtype)


@every_form
@every_dtype
@pytest.mark.parametrize("size", ["smallest_subnormal", "tiny", "max"])
def test_extreme_magnitudes_make_no_nan(form, dtype, size):
    extreme = float(getattr(jnp.finfo(dtype), size))
    for s, y in ((extreme, extreme), (extreme, 1.0), (1.0, extreme), (extreme, 1 / max(extreme, 1e-30))):
        kept(form, [s, s], [y, y], dtype)  # asserts that everything stays finite


def bits(history):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(history)]


UNFIT = {
    "zero": (0.0, 0.0),
    "no step": (0.0, 1.0),
    "no change of the gradient": (1.0, 0.0),
    "negative curvature": (1.0, -1.0),
    "NaN in s": (np.nan, 1.0),
    "NaN in y": (1.0, np.nan),
    "infinite s": (np.inf, 1.0),
    "infinite y": (1.0, np.inf),
    "both infinite": (np.inf, np.inf),
    "opposite infinities": (np.inf, -np.inf),
}


@every_form
@pytest.mark.parametrize("entries", UNFIT.values(), ids=UNFIT)
def test_an_unfit_pair_leaves_the_history_bit_for_bit(form, entries):
    s, y, g = stacked("random, condition 10", jnp.float64)
    history, directions, _ = run(form, (s, y, g))
    bad_s, bad_y = np.zeros(N), np.zeros(N)
    bad_s[3], bad_y[3] = entries
    after, (u, _) = scan(form, history, (bad_s[None], bad_y[None], g[-1:]))
    assert bits(after) == bits(history)
    np.testing.assert_allclose(u[0], directions[-1], rtol=1e-12)


@pytest.mark.parametrize("g", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_does_not_come_between_a_pair_and_its_numbers(g):
    s, y, gradients = stacked("random, condition 10", jnp.float64)
    spoilt = gradients.copy()
    spoilt[4, 2] = g
    clean, _, _ = run(gram, (s, y, gradients))
    history, directions, _ = run(gram, (s, y, spoilt))
    assert bits(history) == bits(clean)
    assert np.isfinite(directions[5:]).all()


@every_form
def test_a_matrix_that_overflowed_recovers_once_its_pairs_have_left(form):
    """Pairs of cosine 1e-5 multiply |B| by 1e10 each, which leaves float32 after four of them."""
    rng = np.random.default_rng(0)
    s, y, g = stacked("random, condition 10", jnp.float32)
    steps = rng.standard_normal((MEMORY, N))
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    across = rng.standard_normal((MEMORY, N))
    across -= np.sum(across * steps, axis=1, keepdims=True) * steps
    nasty = tuple(np.asarray(v, np.float32) for v in (steps, across + 1e-5 * steps, across))
    both = tuple(np.concatenate([a, b[: 2 * MEMORY]]) for a, b in zip(nasty, (s, y, g), strict=True))
    _, directions, stored = run(form, both)
    assert stored[-1] == 3 * MEMORY
    assert not np.isfinite(directions[:MEMORY]).all()  # the history is as nasty as intended
    _, fresh, _ = run(form, (s, y, g))
    recovered, clean = directions[2 * MEMORY :], fresh[MEMORY : 2 * MEMORY]
    np.testing.assert_allclose(recovered, clean, rtol=0, atol=tolerance("float32") * np.abs(clean).max())


# Forgetting -----------------------------------------------------------------------------------------------------------


@every_form
def test_forgetting_gives_the_identity_and_later_pairs_work_as_in_a_fresh_history(form):
    s, y, g = stacked("run, condition 1e6", jnp.float64)
    history, _, _ = run(form, (s, y, g))
    assert bits(forget(history, jnp.bool_(False))) == bits(history)
    forgotten = forget(history, jnp.bool_(True))
    assert jax.tree.structure(forgotten) == jax.tree.structure(history)
    np.testing.assert_array_equal(matrix_of(form, forgotten), np.eye(N))
    later = stacked("random, condition 10", jnp.float64)
    _, (directions, stored) = scan(form, forgotten, later)
    _, fresh, fresh_stored = run(form, later)
    np.testing.assert_array_equal(stored, fresh_stored)
    np.testing.assert_allclose(directions, fresh, rtol=0, atol=1e-13 * np.abs(fresh).max())


@every_form
def test_without_a_pair_the_matrix_is_the_identity(form):
    np.testing.assert_array_equal(matrix_of(form, empty(jnp.zeros(N), MEMORY, product=form)), np.eye(N))


# Invariances ----------------------------------------------------------------------------------------------------------


@every_form
def test_a_multiple_of_the_objective_leaves_the_directions(form):
    s, y, g = stacked("run, condition 1e6", jnp.float32)
    _, directions, _ = run(form, (s, y, g))
    _, scaled, _ = run(form, (s, 2.0**20 * y, 2.0**20 * g))
    np.testing.assert_array_equal(scaled[1:], directions[1:])  # a power of two: exact. The first has B = I.


@every_form
def test_a_rotation_rotates_the_directions(form):
    s, y, g = stacked("random, condition 10", jnp.float64)
    q, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((N, N)))
    _, directions, _ = run(form, (s, y, g))
    _, rotated, _ = run(form, (s @ q.T, y @ q.T, g @ q.T))
    np.testing.assert_allclose(rotated, directions @ q.T, atol=1e-12 * np.abs(directions).max())


# Trees and dtypes -----------------------------------------------------------------------------------------------------


def as_tree(rows, dtypes=("float64",) * 4):
    """Cut vectors of length N into a nested tree with a matrix, a scalar and an empty leaf."""
    a, b, c, d = dtypes
    lead = rows.shape[:-1]
    return {
        "matrix": jnp.asarray(rows[..., :12].reshape(*lead, 3, 4), a),
        "rest": [jnp.asarray(rows[..., 12:-1], b), jnp.asarray(rows[..., :0], c)],
        "scalar": jnp.asarray(rows[..., -1], d),
    }


def as_vectors(tree_):
    parts = [tree_["matrix"].reshape(-1, 12), tree_["rest"][0], tree_["scalar"][:, None]]
    return np.concatenate([np.asarray(p, np.float64) for p in parts], axis=1)


def run_tree(form, triples, dtypes, history_dtype=None):
    trees = tuple(as_tree(rows, dtypes) for rows in triples)
    like = jax.tree.map(lambda rows: rows[0], trees[0])
    history, (directions, _) = scan(form, empty(like, MEMORY, history_dtype, product=form), trees)
    assert [x.dtype for x in jax.tree.leaves(directions)] == [x.dtype for x in jax.tree.leaves(like)]
    return history, as_vectors(directions)


@every_form
@pytest.mark.parametrize("narrow", [None, "bfloat16"])
def test_a_tree_is_the_vector_of_its_leaves(form, narrow):
    triples = stacked("random, condition 10", jnp.float64)
    dtypes = ("float64", narrow or "float64", "float64", "float64")
    rounded = tuple(as_vectors(as_tree(rows, dtypes)) for rows in triples)
    _, directions = run_tree(form, triples, dtypes)
    _, plain, _ = run(form, rounded)
    error = np.abs(directions - plain) / np.abs(plain).max()
    assert error.max() < tolerance(narrow or "float64")
    assert np.delete(error, range(12, N - 1), axis=1).max() < tolerance("float32" if narrow else "float64")


@every_form
@pytest.mark.parametrize("dtypes", [("float32",) * 4, ("bfloat16",) * 4, ("float32", "float64", "bfloat16", "float64")])
@pytest.mark.parametrize("history_dtype", [None, "bfloat16", "float32", "float64"])
def test_dtypes_are_kept_under_strict_promotion(form, dtypes, history_dtype):
    params = as_tree(np.ones(N), dtypes)
    with jax.numpy_dtype_promotion("strict"):
        before = jax.eval_shape(lambda: empty(params, MEMORY, history_dtype, product=form))
        after, u = jax.eval_shape(form, before, params, params, params)
    for a, b in ((after, before), (u, params)):
        assert jax.tree.map(lambda x: (x.shape, x.dtype), a) == jax.tree.map(lambda x: (x.shape, x.dtype), b)
    assert after.gamma.dtype == tree.scalar_dtype(params)
    assert {x.dtype for x in jax.tree.leaves(jax.eval_shape(limited_memory.stacked, after))} == {
        jnp.dtype(d) for d in (history_dtype and [history_dtype]) or dtypes
    }


@every_form
def test_an_empty_tree_is_admitted(form):
    history, u = jax.eval_shape(lambda: form(empty({}, MEMORY, product=form), {}, {}, {}))
    assert u == {}
    assert history.gamma.dtype == jnp.float32


@every_form
@every_dtype
@pytest.mark.parametrize("kind", ["random, condition 10", "run, condition 1e6", "collinear, condition 1e6"])
def test_a_bfloat16_history_is_the_matrix_of_the_rounded_pairs_and_descends(form, dtype, kind):
    s, y, g = stacked(kind, dtype)
    history, directions, stored = run(form, (s, y, g), history_dtype=jnp.bfloat16)
    assert limited_memory.stacked(history).nbytes == 2 * MEMORY * N * jnp.dtype(jnp.bfloat16).itemsize
    assert stored[-1] > MEMORY
    rounded = tuple(np.asarray(jnp.asarray(rows, jnp.bfloat16), dtype) for rows in (s, y))
    eps = float(jnp.finfo(dtype).eps)
    for i, g_, u, norm in expected((*rounded, g), stored):
        (computed,) = long(directions[i])
        assert length(computed - u) <= STATED[form] * eps * norm * length(g_), i
        assert computed @ g_ > 0, i


# Which form -----------------------------------------------------------------------------------------------------------


def test_the_form_is_chosen_by_the_size_of_the_whole_tree():
    small = limited_memory.TWO_LOOP_MOST
    assert limited_memory.choose(jnp.zeros(small)) is two_loop
    assert limited_memory.choose(jnp.zeros(small + 1)) is gram
    assert limited_memory.choose({"a": jnp.zeros(small), "b": jnp.zeros(())}) is gram
    assert limited_memory.choose(np.zeros(3)) is two_loop
    assert limited_memory.choose({}) is two_loop


@pytest.mark.parametrize(("form", "other"), [(two_loop, gram), (gram, two_loop)])
def test_the_history_of_the_other_form_is_refused(form, other):
    x = jnp.zeros(3)
    with pytest.raises(TypeError, match=f"{form.__name__}: history must be a .*product={form.__name__}"):
        form(empty(x, 2, product=other), x, x, x)


def test_the_form_is_chosen_by_the_sharding_known_to_a_trace():
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    chosen = []

    def trace(x):
        chosen.append(limited_memory.choose(x))
        return x

    for spec in (("x",), (None,)):
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
        jax.eval_shape(trace, jax.ShapeDtypeStruct((4,), jnp.float32, sharding=sharding))
    assert chosen == [gram, two_loop]


# Compiled programs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [512, 2048])
@every_form
def test_a_loop_updates_the_history_in_place(form, n):
    memory = 5

    def loop(history, x):
        def body(_, carry):
            history, x, s, y = carry
            g = x**3 + x
            history, u = form(history, s, y, g)
            after = x - 0.1 * u
            return history, after, after - x, after**3 + after - g

        return jax.lax.fori_loop(0, 5, body, (history, x, jnp.zeros_like(x), jnp.zeros_like(x)))

    x = jnp.ones(n)
    text = jax.jit(loop, donate_argnums=0).lower(empty(x, memory, product=form), x).compile().as_text()
    history = rf"f64\[(2,)?{memory},{n}\]\S*"
    assert re.search(rf"= {history} dynamic-update-slice\(", text)  # the pattern finds the history in this text
    assert not re.search(rf"= {history} copy\(", text)


@pytest.mark.parametrize("most", [0, N])
@pytest.mark.parametrize(
    "table",
    [
        limited_memory._by_vectors,
        limited_memory._by_sums,
        limited_memory._by_matrices,
    ],
)
def test_the_table_of_a_leaf_holds_every_inner_product(table, most, monkeypatch):
    monkeypatch.setattr(limited_memory, "ONE_PRODUCT_MOST", most)
    s, y, g = stacked("random, condition 10", jnp.float64)
    rows, s, y, g = np.concatenate([s[:4], y[:4]]), s[4], y[4], g[4]
    got = table(*map(jnp.asarray, (rows, s, y, g)))
    np.testing.assert_allclose(got[:-2, :2], np.stack([rows @ g, rows @ y], axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got[-2:], [[s @ g, s @ y, s @ s], [y @ g, y @ y, y @ s]], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("longer", [0, 1])
@pytest.mark.parametrize("leaves", [scalars.MANY_LEAVES - 1, scalars.MANY_LEAVES])
def test_products_with_many_short_leaves_are_sums(leaves, longer):
    x = [jax.ShapeDtypeStruct((limited_memory.SUMS_MOST + longer,), jnp.float32)] * leaves
    program = jax.jit(gram).lower(jax.eval_shape(lambda x: empty(x, MEMORY), x), x, x, x).compile().as_text()
    assert (" dot(" in program) is (longer == 1 or leaves < scalars.MANY_LEAVES)


@pytest.mark.parametrize("longer", [0, 1])
def test_of_long_vectors_no_matrices_are_made(longer):
    x = jax.ShapeDtypeStruct((limited_memory.ONE_PRODUCT_MOST + longer,), jnp.float32)
    rows = jax.ShapeDtypeStruct((2 * MEMORY, *x.shape), jnp.float32)
    program = jax.make_jaxpr(limited_memory._by_vectors)(rows, x, x, x)
    shapes = [v.aval.shape for e in program.eqns for v in e.outvars]
    assert ((3, *x.shape) in shapes) is (longer == 0)


@every_form
def test_a_batch_is_a_loop_over_its_lanes(form):
    lanes = [stacked(kind, jnp.float64) for kind in ("random, condition 10", "collinear, condition 1e6")]
    batch = tuple(np.stack(rows) for rows in zip(*lanes, strict=True))
    history = empty(jnp.zeros(N), MEMORY, product=form)
    _, (together, stored) = jax.vmap(lambda triples: scan(form, history, triples))(batch)
    for lane, directions, count in zip(lanes, together, stored, strict=True):
        _, alone, alone_stored = run(form, lane)
        np.testing.assert_array_equal(count, alone_stored)
        assert_trees_close(directions, jnp.asarray(alone), rtol=1e-10)

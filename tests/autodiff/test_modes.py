"""What the modes cost: all compositions agree, counts follow theory, and the advice follows the counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support import assert_trees_close

from jopt import tree
from jopt.autodiff import (
    advise,
    compare_checkpoint,
    compare_hvp,
    compare_modes,
    count_operations,
    jacobian,
    sine_family,
    sweep,
    sweep_hvp,
)
from jopt.autodiff.compositions import PRODUCTS, checkpoint_programs, hvp_programs
from jopt.autodiff.measuring import CostRow, CostTable, Limits, compared, device_name, peak_bytes, size_text, text
from jopt.autodiff.modes import MODES, jacobian_programs


def two_leaves(x):
    """Map a tree of seven entries to one of six."""
    w, b = x["w"], x["b"]
    return {"product": jnp.sin(w) @ b, "sum": jnp.sum(w) * jnp.exp(b), "one": b[0] * w[1, 0]}


POINT = {"w": jnp.array([[0.3, -1.2], [0.7, 0.1], [2.0, 0.5]], jnp.float32), "b": jnp.array([0.4, -0.9], jnp.float32)}


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 16])
def test_all_compositions_give_the_same_jacobian(k):
    vector, unravel = tree.ravel(POINT)
    flat = lambda v: tree.ravel(two_leaves(unravel(v)))[0]  # noqa: E731
    expected = np.asarray(jax.jacfwd(flat)(vector))
    np.testing.assert_allclose(jax.jacrev(flat)(vector), expected, rtol=1e-5, atol=1e-6)
    programs = jacobian_programs(two_leaves, jax.eval_shape(two_leaves, POINT), k)
    assert len(programs) == len(MODES)
    for name, program in programs.items():
        np.testing.assert_allclose(jax.jit(program)(POINT), expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def table():
    return compare_modes(two_leaves, POINT, k=3, repeats=1)


def test_rows_are_the_function_and_the_compositions(table):
    batches = ["forward, batches of 3", "linearised", "reverse", "reverse, batches of 3"]
    assert [row.name for row in table.rows] == ["function", "forward", *batches]
    assert table.title == "Jacobian, 6 x 8 (outputs x inputs)"
    assert table.version == jax.__version__
    assert table.device.startswith(jax.devices()[0].platform)
    for row in table.rows:
        assert row.operations > 0
        assert row.multiple == row.operations / table.rows[0].operations
        assert row.peak_bytes > 0
        assert row.compile_s > 0
        assert row.run_s > 0
        assert row.note == ""


def test_operations_are_those_of_the_programs(table):
    programs = jacobian_programs(two_leaves, jax.eval_shape(two_leaves, POINT), 3)
    for name, program in programs.items():
        assert table.row(name).operations == count_operations(program, POINT).total
    assert table.rows[0].operations == count_operations(two_leaves, POINT).total


def test_table_prints_every_figure_in_its_column(table):
    lines = str(table).splitlines()
    assert lines[0].startswith("Jacobian, 6 x 8 (outputs x inputs); cpu, jax ")
    header = ["operations", "x", "function", "peak", "memory", "compile", "s", "run", "s", "x", "function"]
    assert lines[1].split() == header
    row = next(line for line in lines if line.startswith("forward, batches of 3"))
    cells = row.removeprefix("forward, batches of 3").split()
    assert cells[0] == f"{table.row('forward, batches').operations:,}"
    assert cells[2:4] == size_text(table.row("forward, batches").peak_bytes).split()
    assert len({len(line) for line in lines[1:]}) == 1


def test_missing_figures_print_as_dashes_with_their_reason():
    rows = (CostRow("function", 10, 1, 1.0, None, 0.5, 0.25), CostRow("reverse", note="no rule"))
    lines = str(CostTable("T", "d", "v", rows)).splitlines()
    assert lines[3].split() == ["function", "10", "a", "trip", "1.00", "-", "0.500", "2.50e-01", "1.00"]
    assert lines[4].split() == ["reverse", *"------"]
    assert lines[5] == "reverse: no rule"


def test_row_is_found_by_its_name_or_how_it_begins(table):
    assert table.row("forward").name == "forward"
    assert table.row("forward,").name == "forward, batches of 3"
    with pytest.raises(KeyError):
        table.row("sideways")


class Backend:
    """A compiled program of a backend that says nothing of its memory."""

    def __init__(self, error):
        self.error = error

    def memory_analysis(self):
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [None, NotImplementedError(), RuntimeError("no")])
def test_a_backend_without_a_memory_analysis_has_no_figure(error):
    assert peak_bytes(Backend(error)) is None


def test_peak_memory_is_temporaries_and_outputs():
    compiled = jax.jit(lambda x: x[:, None] + x).lower(jnp.ones(100, jnp.float32)).compile()
    assert 40_000 <= peak_bytes(compiled) < 50_000


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0"), (1234567, "1,234,567"), (9999999, "9,999,999"), (1e7, "1.00e+07")]
)
def test_operations_as_text(number, expected):
    assert text(number) == expected


@pytest.mark.parametrize(("number", "expected"), [(12, "12 B"), (1500, "1.5 kB"), (2e6, "2 MB"), (3e16, "3e+04 TB")])
def test_bytes_as_text(number, expected):
    assert size_text(number) == expected


def operations(f, x, k=1):
    programs = jacobian_programs(f, jax.eval_shape(f, x), k)
    return {mode: count_operations(program, x).total for mode, program in zip(MODES, programs.values(), strict=True)}


def test_forward_grows_with_inputs_and_reverse_with_outputs():
    small, more_in, more_out = (operations(*sine_family(n, m)) for n, m in ((8, 8), (16, 8), (8, 16)))
    assert more_in["forward"] / small["forward"] == pytest.approx(4, rel=0.1)  # twice the passes, twice the function
    assert more_out["forward"] / small["forward"] == pytest.approx(2, rel=0.1)
    assert more_in["reverse"] / small["reverse"] == pytest.approx(2, rel=0.15)
    assert more_out["reverse"] / small["reverse"] == pytest.approx(4, rel=0.15)


def test_batches_and_linearising_evaluate_the_function_less_often():
    f, x = sine_family(12, 8)
    own, (one, three, all_) = count_operations(f, x).total, (operations(f, x, k) for k in (1, 3, 12))
    assert one["forward"] == one["forward-batched"]
    assert three["forward"] - three["forward-batched"] >= 7 * own  # four evaluations instead of twelve
    assert all_["forward-batched"] == pytest.approx(one["linearised"], rel=0.02)
    assert one["reverse"] == one["reverse-batched"] == three["reverse-batched"]


def test_gradient_by_reverse_is_a_few_functions_and_by_forward_n():
    f = lambda x: jnp.sum(jnp.exp(jnp.sin(x) * x))  # noqa: E731
    counted = operations(f, jnp.ones(100, jnp.float32))
    own = count_operations(f, jnp.ones(100, jnp.float32)).total
    assert counted["reverse"] <= 4 * own  # so on this f; not a bound where every operation counts one
    assert 100 * own <= counted["forward"] <= 100 * 2.5 * own


def test_modes_are_those_asked_for_in_that_order():
    table = compare_modes(jnp.sin, 1.0, modes=["reverse", "forward", "reverse"], repeats=1)
    assert [row.name for row in table.rows] == ["function", "reverse", "forward"]


def test_a_loop_of_unknown_length_is_a_trip_and_has_no_reverse_mode():
    def f(x):
        return lax.while_loop(lambda h: h < 100.0, lambda h: h * h + 1.0, x)

    table = compare_modes(f, jnp.float32(1.5), modes=["forward", "reverse"], repeats=1)
    assert table.row("forward").loops == 1
    assert table.row("reverse").operations is None
    assert "Reverse-mode differentiation does not work" in table.row("reverse").note
    assert "a trip" in str(table)
    assert advise(f, jnp.float32(1.5)).startswith(
        "Use forward mode: reverse mode has no rule for this function; 1 pass "
    )


def test_a_function_with_a_rule_for_reverse_alone_has_no_forward_mode():
    f = jax.custom_vjp(lambda x: x * x)
    f.defvjp(lambda x: (x * x, x), lambda x, w: (2.0 * x * w,))
    table = compare_modes(f, 1.5, modes=["forward", "reverse"], repeats=1)
    assert "custom_vjp" in table.row("forward").note
    assert table.row("reverse").run_s > 0
    assert advise(f, 1.5).startswith("Use reverse mode: forward mode has no rule for this function; 1 pass ")


def test_rows_beyond_the_limit_are_compiled_but_not_run():
    table = compare_modes(jnp.sin, jnp.ones(8), modes=["forward", "reverse"], repeats=1, limit=50)
    assert table.row("function").run_s > 0
    row = table.row("forward")
    assert row.run_s is None
    assert row.peak_bytes > 0
    assert row.note == f"not run: {row.operations} operations are more than the limit of 50"


def test_rows_that_plan_more_memory_than_the_limit_are_compiled_but_not_run():
    table = compare_modes(jnp.sin, jnp.ones(300, jnp.float32), modes=["reverse"], repeats=1, memory_limit=1e5)
    assert table.row("function").run_s > 0
    row = table.row("reverse")
    assert row.peak_bytes >= 300 * 300 * 4
    assert row.run_s is None
    assert row.note == f"not run: {size_text(row.peak_bytes)} of memory are more than the limit of 100 kB"
    assert row.operations > 0


def out_of_memory(*_):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 40000000000 bytes.\nmore")


def test_a_run_that_fails_for_memory_keeps_what_is_known(monkeypatch):
    monkeypatch.setattr("jopt.autodiff.measuring.seconds", out_of_memory)
    row = compare_modes(jnp.sin, 1.0, modes=["reverse"], repeats=1).row("reverse")
    assert row.operations > 0
    assert row.peak_bytes > 0
    assert row.run_s is None
    assert row.note == "not run to its end: RESOURCE_EXHAUSTED: Out of memory allocating 40000000000 bytes."


def test_a_compilation_that_fails_for_memory_is_a_row_with_the_reason():
    programs = {"function": jnp.sin, "large": out_of_memory}
    table = compared("T", programs, (jnp.float32(1.0),), 1, Limits(1e9, 1e9))
    assert table.rows[1] == CostRow("large", note="RESOURCE_EXHAUSTED: Out of memory allocating 40000000000 bytes.")


def test_device_is_that_of_the_arguments(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: pytest.fail("the first of all devices was asked"))
    assert device_name({"a": jnp.ones((2, 2)), "b": 1.0}) == "cpu"
    assert compare_modes(jnp.sin, 1.0, modes=["reverse"], repeats=1).device == "cpu"


def test_repeats_is_how_often_a_program_runs():
    calls = []

    def f(x):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum(x)

    compare_modes(f, jnp.ones(2), modes=["linearised"], repeats=4)
    jax.effects_barrier()
    assert len(calls) == 2 * 5  # the function and its linearisation, with one run each that does not count


def quartic(x):
    return jnp.sum(jnp.sin(x["a"]) ** 2 * x["b"]) + x["b"] ** 4


HESSIAN_POINT = {"a": jnp.array([0.3, -0.5, 1.1], jnp.float32), "b": jnp.float32(0.7)}


def test_all_products_with_the_hessian_agree():
    v = {"a": jnp.array([1.0, 2.0, -1.0], jnp.float32), "b": jnp.float32(0.5)}
    expected = jax.jvp(jax.grad(quartic), (HESSIAN_POINT,), (v,))[1]
    for name, program in hvp_programs(quartic).items():
        try:
            assert_trees_close(jax.jit(program)(HESSIAN_POINT, v), expected)
        except AssertionError as error:
            error.add_note(f"by {name}")
            raise


def test_hvp_forward_over_a_rule_for_reverse_alone_is_refused_in_plain_words():
    f = jax.custom_vjp(lambda x: x * x)
    f.defvjp(lambda x: (x * x, x), lambda x, w: (2.0 * x * w,))
    row = compare_hvp(f, 1.5, modes=["reverse-over-forward"], repeats=1).row("reverse-over-forward")
    assert row.note.startswith("forward mode through a jax.custom_vjp, which has a rule for reverse mode alone (")


def test_hvp_costs_a_few_gradients_by_three_ways_and_n_passes_by_the_fourth():
    x = jnp.linspace(0.0, 1.0, 30, dtype=jnp.float32)
    table = compare_hvp(lambda x: jnp.sum(jnp.sin(x) ** 3), x, repeats=1)
    assert [row.name for row in table.rows] == ["function", "gradient", *PRODUCTS]
    assert table.title == "Hessian-vector product, 30 inputs"
    gradient = table.row("gradient").operations
    for name in PRODUCTS[:3]:
        assert gradient < table.row(name).operations <= 5 * gradient
    assert table.row("forward-over-forward").operations > 30 * table.row("function").operations
    assert [r.name for r in compare_hvp(jnp.sum, x, modes=["reverse-over-reverse"], repeats=1).rows][2:] == [
        "reverse-over-reverse"
    ]


def test_hvp_over_sizes_is_a_table_for_each():
    modes = ["forward-over-reverse", "forward-over-forward"]
    costs = sweep_hvp([20, 5, 20], modes=modes, repeats=1, limit=10_000)
    assert costs.sizes == (5, 20)
    assert [table.title for table in costs.tables] == [f"Hessian-vector product, {n} inputs" for n in (5, 20)]
    (few, few_n), (many, many_n) = ([table.row(mode) for mode in modes] for table in costs.tables)
    assert many.multiple == pytest.approx(few.multiple, rel=0.2)
    assert many_n.multiple > 3 * few_n.multiple
    assert few_n.run_s > 0
    assert many_n.note.endswith("more than the limit of 10,000")
    assert str(costs) == "\n\n".join(map(str, costs.tables))


def layer(h):
    return jnp.sin(jnp.cos(h) * h)


H = jnp.linspace(0.1, 2.0, 64, dtype=jnp.float32)


@pytest.mark.parametrize("depth", [1, 7])
def test_gradients_agree_whatever_is_kept(depth):
    def plain(h):
        for _ in range(depth):
            h = layer(h)
        return jnp.sum(h * h) / 2

    expected = jax.grad(plain)(H)
    programs = checkpoint_programs(layer, depth)
    assert_trees_close(programs.pop("function")(H), plain(H))
    for program in programs.values():
        assert_trees_close(jax.jit(program)(H), expected)


def test_checkpoints_buy_memory_with_operations():
    costs = compare_checkpoint(layer, H, depth=[4, 100], repeats=1)
    assert costs.depths == (4, 100)
    assert costs.tables[1].title == "Gradient through 100 layers, blocks of 10"
    none, every, root = (costs.tables[1].row(n) for n in ("none", "every layer", "every sqrt(depth) layers"))
    assert none.peak_bytes > every.peak_bytes > 1.5 * root.peak_bytes
    own = costs.tables[1].row("function").operations
    for row in (every, root):
        assert none.operations < row.operations <= none.operations + 1.05 * own
    growth = [costs.tables[1].row(n).peak_bytes / costs.tables[0].row(n).peak_bytes for n in ("none", "every sqrt")]
    assert growth[0] > 2 * growth[1]
    assert str(costs) == "\n\n".join(map(str, costs.tables))
    assert compare_checkpoint(layer, H, depth=3, repeats=1).depths == (3,)


@pytest.fixture(scope="module")
def sizes():
    return sweep([32, 2, 8], [2, 8], timed=False)


def test_forward_overtakes_reverse_where_inputs_outnumber_outputs(sizes):
    assert sizes.sizes_in.tolist() == [2, 8, 32]
    assert sizes.overtakes() == {2: 8, 8: 32}
    assert sizes.operations_ratio[0, 0] <= 1 < sizes.operations_ratio[0, 2]
    for i, m in enumerate(sizes.sizes_out):
        for j, n in enumerate(sizes.sizes_in):
            f, x = sine_family(int(n), int(m))
            for counts, mode in ((sizes.forward_operations, "forward"), (sizes.reverse_operations, "reverse")):
                program = lambda x, f=f, mode=mode: jacobian(f, x, mode=mode)  # noqa: E731
                assert counts[i, j] == count_operations(program, x).total


def test_sweep_prints_its_grid_and_where_forward_overtakes(sizes):
    lines = str(sizes).splitlines()
    assert lines[0].startswith("Jacobian: forward over reverse mode (operations); cpu")
    assert lines[1].split()[:6] == ["outputs", "\\", "inputs", "2", "8", "32"]
    assert lines[2].split() == ["2", *(f"{r:.2f}" for r in sizes.operations_ratio[0]), "from", "8", "inputs"]
    assert "nowhere" in str(sweep([1], [4], timed=False))
    assert np.isnan(sizes.time_ratio).all()


def test_sweep_times_and_takes_any_family():
    def family(n, m):
        return lambda x: jnp.sum(x["a"]) * jnp.ones(m, jnp.float32), {"a": jnp.ones(n, jnp.float32)}

    timed = sweep([2], [3], family=family, repeats=1)
    assert timed.time_ratio.shape == (1, 1)
    assert (timed.forward_s > 0).all()
    assert (timed.reverse_s > 0).all()
    assert "operations, run time" in str(timed)
    assert timed.forward_operations[0, 0] != sweep([2], [3], timed=False).forward_operations[0, 0]


def test_sweep_of_what_needs_no_operation_has_no_ratio_and_no_warning():
    one = sweep([4, 8], [1], family=lambda n, _: (jnp.sum, jnp.ones(n)), timed=False)
    assert np.isinf(one.operations_ratio).all()
    assert one.overtakes() == {1: 4}
    assert str(one).splitlines()[2].split() == ["1", "-", "-", "from", "4", "inputs"]
    none = sweep([2], [2], family=lambda n, _: (lambda x: x[::-1], jnp.ones(n)), timed=False)
    assert none.overtakes() == {2: None}
    assert str(none).splitlines()[2].split() == ["2", "-", "nowhere"]


def test_advice_follows_the_shape_of_the_jacobian():
    tall, wide, scalar, square = (advise(*sine_family(n, m)) for n, m in ((4, 64), (64, 4), (64, 1), (16, 16)))
    assert tall.startswith("Use forward mode: for 4 inputs and 64 outputs the Jacobian takes ")
    assert wide.startswith("Use reverse mode: for 64 inputs and 4 outputs the Jacobian takes ")
    assert scalar.startswith("Use reverse mode: for 64 inputs and 1 output the Jacobian takes ")
    assert square.startswith(
        "Use forward mode: for 16 inputs and 16 outputs the Jacobian takes about as much either way, "
    )
    assert "in forward mode with all 16 tangents at once and" in square
    assert (
        "in reverse mode with all 16 cotangents at once; nothing is kept for a pass back, where reverse mode keeps"
        in square
    )
    assert "in reverse mode and" in scalar  # one cotangent
    for sentence in (tall, wide, scalar, square):
        assert sentence.count(". ") == 0
        assert sentence.endswith(".")


@pytest.mark.parametrize(("n", "m"), [(4, 64), (64, 4), (16, 16)])
def test_advice_has_the_counted_figures(n, m):
    f, x = sine_family(n, m)
    own, sentence = count_operations(f, x).total, advise(f, x)
    for mode in ("forward", "reverse"):
        count = count_operations(lambda x, mode=mode: jacobian(f, x, mode=mode), x).total
        assert f"{count:,}" in sentence
        assert f"({count / own:.3g} times the function's {own:,})" in sentence


def test_advice_follows_the_counts_and_not_the_sizes_alone():
    def dear(x):  # what has no derivative is evaluated once in either mode
        return x[:2] * lax.stop_gradient(jnp.sum(jnp.sin(jnp.outer(jnp.arange(1000.0), x))))

    assert advise(dear, jnp.ones(4)).startswith("Use forward mode: for 4 inputs and 2 outputs the Jacobian takes about")
    assert advise(lambda x: x[:2], jnp.ones(3)).startswith("Use forward mode: ")  # no operation either way


def test_what_is_there_anyway_is_not_kept():
    f, x = sine_family(64, 4)
    assert "reverse mode keeps 16 B between its passes" in advise(f, x)


def test_advice_proposes_checkpoints_for_a_long_loop_and_only_there():
    def steps(length):
        return lambda x: jnp.sum(lax.scan(lambda h, _: (layer(h), None), x, length=length)[0])

    long, short = advise(steps(500), H), advise(steps(2), H)
    assert "most of it for a loop of 500 steps: put jax.checkpoint around its body." in long
    assert "between its passes" in short
    assert "checkpoint" not in short
    assert "checkpoint" not in advise(lambda x: jnp.sum(jnp.sin(x)), H)
    assert "a loop of 500 steps: put" in advise(jax.jit(steps(500)), H)


def over(body, x, length):
    return jnp.sum(lax.scan(body, x, None, length=length)[0])


def squared(a):
    return jnp.sum(a * a)


def both(h, _):
    return h * 0.5, jnp.concatenate([h + 1.0, h + 2.0])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: over(jax.checkpoint(lambda h, _: (layer(h), None)), x, 500),  # it is there already
        lambda x: over(lambda h, _: (h * h, None), x, 500),  # the carry is all that is kept
        lambda x: over(lambda h, _: (jnp.sin(h), None), x, 500),  # as much is kept as the carry
        lambda x: over(lambda h, _: (jnp.sin(jax.checkpoint(layer)(h)), None), x, 500),  # it is around half the body
        lambda x: squared(lax.scan(both, x, None, length=500)[1]),  # a result of the loop
        lambda x: jnp.sum(jnp.sin(jnp.outer(x, jnp.arange(1.0, 99.0)))) + over(lambda h, _: (h / 2.0, None), x, 64),
    ],
)
def test_advice_is_silent_on_checkpoints_that_would_keep_as_much(f):
    sentence = advise(f, H)
    assert sentence.startswith("Use reverse mode")
    assert "checkpoint" not in sentence


def test_advice_names_the_loop_that_most_is_kept_for():
    def f(x):
        return over(lambda h, _: (layer(h), None), x, 64) + over(lambda h, _: (layer(layer(h)), None), x, 300)

    assert "a loop of 300 steps" in advise(f, H)


def test_advice_without_any_mode_gives_jaxs_reason():
    with pytest.raises(
        ValueError, match=r"advise: .* a rule for neither mode: Pure callbacks do not support JVP"
    ) as caught:
        advise(lambda x: jax.pure_callback(np.sin, x, x), jnp.ones(3))
    assert str(caught.value).count("Pure callbacks") == 1


def test_advice_runs_nothing():
    runs = []

    def f(x):
        jax.debug.callback(lambda: runs.append(1))
        return jnp.sin(x)

    advise(f, jnp.ones(3))
    jax.effects_barrier()
    assert runs == []
    f(jnp.ones(3))
    jax.effects_barrier()
    assert runs == [1]  # a run is noticed


BAD_POINTS = [
    ((3, 1.0), TypeError, "f must be a function of one tree, got int"),
    ((jnp.sin, jnp.array([1, 2])), TypeError, "x must be"),
    ((lambda x: x > 0, 1.0), TypeError, r"f\(x\) must be real floating numbers, got bool"),
    ((jnp.sum, jnp.ones(0)), ValueError, "x must have at least one entry"),
    ((lambda x: x[:0], jnp.ones(2)), ValueError, r"f\(x\) must have at least one entry"),
]


@pytest.mark.parametrize("function", [compare_modes, advise])
@pytest.mark.parametrize(("arguments", "error", "message"), BAD_POINTS)
def test_bad_functions_and_points_are_refused(function, arguments, error, message):
    with pytest.raises(error, match=f"{function.__name__}: .*{message}"):
        function(*arguments)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"repeats": 0}, ValueError, "repeats must be a whole number >= 1, got 0"),
        ({"repeats": 1.5}, TypeError, "repeats must be a whole number"),
        ({"k": 0}, ValueError, "k must be a whole number >= 1, got 0"),
        ({"modes": ["sideways"]}, ValueError, "modes must be one of .*'sideways'"),
        ({"modes": "forward"}, TypeError, "modes must be a list"),
        ({"modes": []}, ValueError, "modes must name at least one of"),
        ({"limit": 0}, ValueError, "limit must be in"),
        ({"memory_limit": 0}, ValueError, "memory_limit must be in"),
    ],
)
def test_bad_settings_of_compare_modes_are_refused(settings, error, message):
    with pytest.raises(error, match=f"compare_modes: {message}"):
        compare_modes(jnp.sin, 1.0, **settings)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: compare_hvp(3, 1.0), TypeError, "compare_hvp: f must be a function"),
        (lambda: compare_hvp(jnp.sin, jnp.ones(2)), TypeError, "compare_hvp: f must return a real floating scalar"),
        (lambda: compare_hvp(jnp.sin, 1), TypeError, "compare_hvp: x"),
        (lambda: compare_hvp(jnp.sin, 1.0, modes=["forward"]), ValueError, "compare_hvp: modes must be one of"),
        (lambda: compare_hvp(jnp.sin, 1.0, repeats=0), ValueError, "compare_hvp: repeats"),
        (lambda: compare_checkpoint(3, 1.0), TypeError, "compare_checkpoint: f must be a function"),
        (lambda: compare_checkpoint(jnp.sum, jnp.ones(2)), ValueError, r"compare_checkpoint: layer\(x\)"),
        (
            lambda: compare_checkpoint(lambda h: h.astype(jnp.float16), jnp.float32(1.0)),
            TypeError,
            r"compare_checkpoint: layer\(x\) must have the dtypes of x",
        ),
        (lambda: compare_checkpoint(jnp.sin, 1.0, depth=0), ValueError, "compare_checkpoint: depth must be"),
        (lambda: compare_checkpoint(jnp.sin, 1.0, depth=[]), ValueError, "compare_checkpoint: depth must hold"),
        (lambda: compare_checkpoint(jnp.sin, 1.0, depth=2, repeats=0), ValueError, "compare_checkpoint: repeats"),
        (lambda: sweep_hvp([]), ValueError, "sweep_hvp: sizes must hold at least one size"),
        (lambda: sweep_hvp([1], family=3), TypeError, "sweep_hvp: family must be a function n"),
        (lambda: sweep_hvp([1], modes=["forward"]), ValueError, "sweep_hvp: modes must be one of"),
        (
            lambda: sweep_hvp([2], family=lambda n: (jnp.sum, jnp.ones(n + 1)), modes=PRODUCTS[:1], repeats=1),
            ValueError,
            r"sweep_hvp: family\(2\) must have 2 inputs, got 3",
        ),
        (lambda: sweep([], [1]), ValueError, "sweep: sizes_in must hold at least one size"),
        (lambda: sweep([1], [0]), ValueError, "sweep: sizes_out must be a whole number >= 1"),
        (lambda: sweep(3, [1]), TypeError, "sweep: sizes_in must be a list"),
        (lambda: sweep([1], [1], repeats=0), ValueError, "sweep: repeats"),
        (lambda: sweep([1], [1], timed=1), TypeError, "sweep: timed must be True or False"),
        (lambda: sweep([1], [1], family=3), TypeError, "sweep: family must be a function"),
        (
            lambda: sweep([2], [3], family=lambda n, m: sine_family(m, n), timed=False),
            ValueError,
            r"sweep: family\(2, 3\) must have 2 inputs and 3 outputs, got 3 and 2",
        ),
    ],
)
def test_bad_settings_of_the_other_comparisons_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

# SPDX-License-Identifier: Apache-2.0
"""How a suite is run: names are checked and picked, the file grows as rows come, the header says how."""

import jax
import pytest

from jopt.bench import suites
from jopt.bench.measurements import FILE
from jopt.bench.suites import Scope, Suite, chosen, run_suite
from jopt.bench.turns import Contender, Heat, Ready


def fake_heats(scope):
    """Return two cases with contenders that do nothing; the second only where not quick."""

    def prepare():
        return Ready(lambda: None)

    both = tuple(Contender(name, prepare) for name in ("optax adam", "jopt adam"))
    heats = Heat("leaf 1M", 1, "step", both), Heat("tree 1M", 1, "step", both[1:])
    return heats[:1] if scope.quick else heats


FAKE = Suite("fake", "Nothing.", fake_heats, limited=True)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(suites, "copy_rate", lambda: 5.0)
    monkeypatch.setattr(suites, "flop_rate", lambda: 7.0)
    monkeypatch.setattr(suites.circumstances, "commit", lambda: "abc")
    yield
    jax.config.update("jax_enable_x64", True)


def names(heats):
    return [(heat.case, [contender.name for contender in heat.contenders]) for heat in heats]


def test_names_pick_cases_and_contenders():
    everything = [("leaf 1M", ["optax adam", "jopt adam"]), ("tree 1M", ["jopt adam"])]
    assert names(chosen(FAKE, Scope())) == everything
    assert names(chosen(FAKE, Scope(quick=True))) == everything[:1]
    assert names(chosen(FAKE, Scope(cases=("tree 1M",)))) == everything[1:]
    assert names(chosen(FAKE, Scope(contenders=("optax adam",)))) == [("leaf 1M", ["optax adam"])]


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        (Scope(cases=("leaf 1m",)), "cases must be one of.*Did you mean 'leaf 1M'"),
        (Scope(contenders=("jopt adan",)), "contenders must be one of.*Did you mean 'jopt adam'"),
        (Scope(precision="float3"), "precision must be one of.*Did you mean 'float32'"),
        (Scope(rounds=0), "rounds must"),
    ],
)
def test_unknown_names_and_wrong_numbers_are_refused(scope, told):
    with pytest.raises(ValueError, match=f"jopt bench fake: {told}"):
        chosen(FAKE, scope)


def test_rounds_are_a_whole_number():
    with pytest.raises(TypeError, match="rounds"):
        chosen(FAKE, Scope(rounds="many"))


def test_a_run_is_recorded_line_by_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    seen = []

    def report(*_):
        seen.append(len(path.read_text().splitlines()))

    measured = run_suite(FAKE, Scope(rounds=2), path, report)
    assert seen == [1, 1, 3, 4]  # the header, then the rows of each heat when it has ended
    assert FILE.read(path)[0] == (measured.header,)
    assert [(row.suite, row.case, row.contender) for row in measured.rows] == [
        ("fake", "leaf 1M", "optax adam"),
        ("fake", "leaf 1M", "jopt adam"),
        ("fake", "tree 1M", "jopt adam"),
    ]
    assert [len(row.seconds) for row in measured.rows] == [2, 2, 2]
    header = measured.header
    assert (header.suite, header.precision, header.quick, header.rounds) == ("fake", "float32", False, 2)
    assert (header.copy_rate, header.flop_rate, header.commit) == (5.0, 7.0, "abc")
    assert {"python", "jopt", "jax"} <= set(header.versions)
    assert header.device == f"cpu x {jax.device_count()}"


def test_the_header_tells_the_rounds_that_were_run():
    few = FAKE._replace(heats=lambda scope: tuple(heat._replace(rounds=2) for heat in fake_heats(scope)))
    measured = run_suite(few, Scope(rounds=5))
    assert measured.header.rounds == 2
    assert {len(row.seconds) for row in measured.rows} == {2}
    assert run_suite(few, Scope(rounds=1)).header.rounds == 1


def test_without_a_file_nothing_is_kept_and_only_limited_suites_measure_the_copy():
    header = run_suite(FAKE._replace(limited=False), Scope(rounds=1)).header
    assert (header.copy_rate, header.flop_rate) == (None, None)


@pytest.mark.parametrize("precision", suites.PRECISIONS)
def test_precision_is_set_before_anything_is_prepared(precision):
    seen = []

    def prepare():
        seen.append(jax.numpy.zeros(()).dtype)
        return Ready(lambda: None)

    suite = FAKE._replace(heats=lambda _: (Heat("case", 1, "step", (Contender("jopt x", prepare),)),))
    run_suite(suite, Scope(precision, rounds=1))
    assert seen == [precision]

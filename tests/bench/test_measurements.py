# SPDX-License-Identifier: Apache-2.0
"""What is read from the rows: medians with spread, ratios round by round, shares of the limit."""

import math

import pytest

from jopt.bench.measurements import FILE, Header, Row, Spread, spread, summaries


def row(contender, seconds, case="leaf", **more):
    return Row("steps", case, 8, contender, "step", seconds, **more)


def test_spread_is_median_least_and_largest():
    assert spread((3.0, 1.0, 8.0)) == Spread(3.0, 1.0, 8.0)
    assert spread((1.0, 2.0)) == Spread(1.5, 1.0, 2.0)
    assert all(map(math.isnan, spread(())))


def test_ratio_is_taken_round_by_round():
    base, other = summaries([row("a", (1.0, 10.0, 100.0)), row("b", (1.0, 5.0, 25.0))])
    assert other.ratio == Spread(2.0, 1.0, 4.0)
    assert base.ratio == Spread(1.0, 1.0, 1.0)
    assert other.seconds == Spread(5.0, 1.0, 25.0)


def test_seconds_above_the_base_are_taken_round_by_round():
    base, other = summaries([row("a", (1.0, 2.0, 3.0)), row("b", (1.5, 4.0, 4.0))])
    assert other.above == Spread(1.0, 0.5, 2.0)
    assert base.above == Spread(0.0, 0.0, 0.0)


def test_the_base_is_the_first_of_its_case_or_the_one_named():
    rows = [row("a", (4.0,)), row("b", (2.0,)), row("b", (6.0,), "tree"), row("a", (3.0,), "tree")]
    assert [s.ratio.median for s in summaries(rows)] == [1.0, 2.0, 1.0, 2.0]
    assert [s.ratio.median for s in summaries(rows, against="a")] == [1.0, 2.0, 0.5, 1.0]
    assert [s.ratio.median for s in summaries(rows, against="z")] == [1.0, 2.0, 1.0, 2.0]
    assert [s.row for s in summaries(rows)] == rows


def test_a_row_without_seconds_has_no_figures_nor_has_what_stands_beside_it():
    failed, other = summaries([row("a", (), error="no"), row("b", (2.0,))], copy_rate=1.0)
    assert math.isnan(failed.seconds.median)
    assert math.isnan(other.ratio.median)
    assert other.seconds.median == 2.0


def test_compilation_is_compared_as_a_whole():
    rows = [
        row("a", (1.0,), trace_s=1.0, compile_s=3.0),
        row("b", (1.0,), trace_s=1.0, compile_s=1.0),
        row("c", (1.0,)),
    ]
    assert [s.compilation for s in summaries(rows)[:2]] == [1.0, 2.0]
    assert math.isnan(summaries(rows)[2].compilation)


@pytest.mark.parametrize(("rate", "least", "limit"), [(200.0, 100, 0.25), (None, 100, math.nan), (200.0, 0, math.nan)])
def test_limit_is_the_time_of_a_copy_of_the_least_bytes_over_the_time(rate, least, limit):
    (found,) = summaries([row("a", (1.0, 2.0, 3.0), least_bytes=least)], copy_rate=rate)
    assert found.limit == pytest.approx(limit, nan_ok=True)


def test_rows_and_headers_survive_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    header = Header("steps", "float32", False, 7, "cpu", {"jax": "1"}, None, 1e9)
    one = row("a", (1.0, 2.0), trace_s=0.5, compile_s=1.0, peak_bytes=3, least_bytes=4, figures={"loss": 0.5})
    for record in (header, one, row("b", (), error="RuntimeError: no")):
        FILE.append(path, record)
    headers, (first, second) = FILE.read(path)
    assert headers == (header,)
    assert first == one
    assert second.error == "RuntimeError: no"
    assert math.isnan(second.compile_s)

# SPDX-License-Identifier: Apache-2.0
"""The file of the CUTEst benchmark: rows survive it, and rows of different kinds do not meet in it."""

import json
import math

import pytest

from jopt.bench.cutest_records import FILE, Header, Row, resume

HEADER = Header("float64", 1e-6, 2000, 60.0, "cpu", {"jax": "1"}, "abc")


def test_records_survive_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert FILE.read(path) == ((), ())
    rows = (
        Row("P", 3, "s", 1.0, 2.0, -math.inf, math.nan, claimed=True, nit=3, run_s=0.25),
        Row("Q", 1, "t", error="crash: x"),
    )
    assert resume(path, HEADER) == ((HEADER,), ())
    for row in rows:
        FILE.append(path, row)
    headers, found = resume(path, HEADER)
    assert headers == (HEADER,)
    for row, other in zip(rows, found, strict=True):
        expected = [math.nan if isinstance(x, float) and math.isinf(x) else x for x in row]
        assert str(list(other)) == str(expected)  # text, since NaN differs from itself
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_a_file_of_other_circumstances_is_added_to_only_when_asked(tmp_path):
    path = tmp_path / "rows.jsonl"
    resume(path, HEADER)
    FILE.append(path, Row("P", 3, "s"))
    before = path.read_bytes()
    for change, told in (
        ({"commit": "def"}, r"another commit \('abc'\); name another file.*--mixed"),
        ({"device": "gpu"}, r"another device \('cpu'\)"),
        ({"versions": {"jax": "2"}}, r"another jax \(1\)"),
        ({"versions": {"jax": "1", "new": "1"}}, "another set of packages"),
    ):
        with pytest.raises(ValueError, match=told):
            resume(path, HEADER._replace(**change))
    for change in ({"precision": "float32"}, {"gtol": 1e-5}, {"maxiter": 7}, {"limit": 1.0}):
        with pytest.raises(ValueError, match="another task"):
            resume(path, HEADER._replace(**change), mixed=True)
    assert path.read_bytes() == before
    other = HEADER._replace(commit="def")
    headers, rows = resume(path, other, mixed=True)
    assert headers == (HEADER, other)
    assert len(rows) == 1
    assert len(path.read_text().splitlines()) == 3
    assert resume(path, other, mixed=True)[0] == (HEADER, other)


@pytest.mark.parametrize(
    "line",
    ["not json", "[1]", '{"kind": "header", "schema": 0}', '{"kind": "row"}', '{"kind": "row", "colour": 1}', ""],
)
def test_a_file_of_something_else_is_refused_naming_the_line(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{FILE.to_line(HEADER)}\n{line}\n")
    with pytest.raises(ValueError, match=r"line 2 of .* is no record of a race of solvers"):
        FILE.read(path)
    assert FILE.from_line(FILE.to_line(HEADER)) == HEADER

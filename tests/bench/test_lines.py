# SPDX-License-Identifier: Apache-2.0
"""Files of measurements: strict JSON lines that survive a torn end and refuse what they do not know."""

import json
import math
from typing import NamedTuple

import pytest

from jopt.bench.lines import Format, number, with_null


class Header(NamedTuple):
    """A header with each kind of field."""

    name: str
    known: dict
    rate: float | None = None


class Row(NamedTuple):
    """A row with each kind of field."""

    name: str
    seconds: tuple[float, ...] = ()
    value: float = math.nan
    count: int | None = None


FILE = Format("a test", 3, Header, Row)
HEADER = Header("h", {"jax": "1"})
ROW = Row("r", (1.0, 2.0), 0.5, 4)


def test_records_survive_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert FILE.read(path) == ((), ())
    for record in (HEADER, ROW, HEADER._replace(rate=2.5)):
        FILE.append(path, record)
    assert FILE.read(path) == ((HEADER, HEADER._replace(rate=2.5)), (ROW,))
    kinds = [json.loads(line, parse_constant=pytest.fail)["kind"] for line in path.read_text().splitlines()]
    assert kinds == ["header", "row", "header"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_null_and_nan_again(value):
    line = FILE.to_line(ROW._replace(value=value, seconds=(1.0, value), count=None))
    assert json.loads(line, parse_constant=pytest.fail)["seconds"] == [1.0, None]
    back = FILE.from_line(line)
    assert math.isnan(back.value)
    assert back.seconds[0] == 1.0
    assert math.isnan(back.seconds[1])
    assert back.count is None  # null is NaN only where a float belongs
    assert FILE.from_line(FILE.to_line(HEADER)).rate is None


def test_a_torn_last_line_is_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    whole = FILE.to_line(ROW)
    for end in (whole[:-3], whole):
        path.write_text(f"{whole}\n{end}")
        assert FILE.read(path) == ((), (ROW,))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "Expecting value"),
        ("no json", "Expecting value"),
        ("[1]", "not a line of a test of schema 3"),
        ('{"kind": "header", "schema": 2, "name": "h", "known": {}}', "not a line of a test of schema 3"),
        ('{"kind": "header", "name": "h", "known": {}}', "not a line of a test of schema 3"),
        ('{"kind": "header", "schema": 3, "name": "h"}', "a header lacks known"),
        ('{"kind": "row"}', "a row lacks name"),
        ('{"kind": "row", "name": "r", "colour": 1}', "a row holds colour, which this version does not know"),
        ('{"kind": "other"}', "not a line of a test of schema 3"),
    ],
)
def test_a_line_of_something_else_is_refused_naming_it(tmp_path, line, why):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{FILE.to_line(HEADER)}\n{line}\n{FILE.to_line(ROW)}\n")
    with pytest.raises(ValueError, match=rf"line 2 of .*rows.jsonl is no record of a test: .*{why}"):
        FILE.read(path)


def test_with_null_reaches_into_trees():
    assert with_null({"a": (1.0, [math.nan, "x"]), "b": {"c": math.inf}}) == {"a": [1.0, [None, "x"]], "b": {"c": None}}
    assert number(2) == 2
    assert math.isnan(number(None))

# SPDX-License-Identifier: Apache-2.0
"""Files of measurements: strict JSON, one object a line, headers and rows.

    header    {"kind": "header", "schema": 1, ...} with the fields of a header: how the rows below it were measured
    row       {"kind": "row", ...} with the fields of a row; a number that is not finite is null

A line is written as soon as what it tells has ended. A last line that is torn, as by a power cut, is dropped.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints


class Format(NamedTuple):
    """The records of one kind of file.

    Attributes:
      what: whose file it is, for messages: "a CUTEst benchmark".
      schema: its version; raised when a field changes its meaning or goes.
      header: NamedTuple type of its headers.
      row: NamedTuple type of its rows.
    """

    what: str
    schema: int
    header: Any
    row: Any

    def to_line(self, record: Any) -> str:
        """Return a record as one line, without the line's end."""
        kind = {"kind": "header", "schema": self.schema} if isinstance(record, self.header) else {"kind": "row"}
        return json.dumps(kind | with_null(record._asdict()), allow_nan=False)

    def from_line(self, line: str) -> Any:
        """Return the record that `to_line` wrote.

        Raises:
          ValueError: if the line is not JSON, not of this schema, or a field is missing or unknown.
        """
        fields = json.loads(line)
        kind = fields.pop("kind", None) if isinstance(fields, dict) else None
        if kind == "header" and fields.pop("schema", None) == self.schema:
            return self.header(**_restored(self.header, fields))
        if kind == "row":
            return self.row(**_restored(self.row, fields))
        msg = f"from_line: not a line of {self.what} of schema {self.schema}: {line[:80]!r}."
        raise ValueError(msg)

    def read(self, path: Path) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the headers and rows of a file; nothing of one that is not there.

        Raises:
          ValueError: if a line other than a torn last one is no record, naming it.
        """
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        records = []
        for number, line in enumerate(text.split("\n")[:-1], 1):  # what follows the last end of line is torn, or empty
            try:
                records.append(self.from_line(line))
            except ValueError as error:
                msg = f"read: line {number} of {path} is no record of {self.what}: {error}"
                raise ValueError(msg) from None
        headers = tuple(record for record in records if isinstance(record, self.header))
        return headers, tuple(record for record in records if isinstance(record, self.row))

    def append(self, path: Path, record: Any) -> None:
        """Add a record to a file, on disk at once."""
        with path.open("a", encoding="utf-8") as file:
            file.write(self.to_line(record) + "\n")


def with_null(x: Any) -> Any:
    """Return a tree of dicts and sequences in which numbers that are not finite are None."""
    if isinstance(x, dict):
        return {key: with_null(y) for key, y in x.items()}
    if isinstance(x, list | tuple):
        return [with_null(y) for y in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def number(x: Any) -> Any:
    """Return NaN for None, which stands for it in JSON."""
    return math.nan if x is None else x


def _restored(record: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields as their types say: null is NaN where a float belongs, lists are tuples."""
    unknown = [key for key in fields if key not in record._fields]
    missing = [key for key in record._fields if key not in fields and key not in record._field_defaults]
    if unknown or missing:
        told = (
            f"lacks {', '.join(missing)}"
            if missing
            else f"holds {', '.join(unknown)}, which this version does not know"
        )
        msg = f"from_line: a {record.__name__.lower()} {told}."
        raise ValueError(msg)
    kinds = get_type_hints(record)
    made = {}
    for key, value in fields.items():
        value = number(value) if kinds.get(key) is float else value
        made[key] = tuple(map(number, value)) if isinstance(value, list) else value
    return made

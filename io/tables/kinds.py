"""Kinds: of which type a column is that holds what is known of sources.

    truth       all values are true or false
    whole       all are whole numbers
    number      all are numbers
    text        all are texts
    mixed       they are of several kinds: texts, and the others as JSON says them
    json        all are lists or objects, as JSON; the column's metadata says so

So one list may say ``1999`` where another says ``"unknown"``: the column has texts, whichever of
the two came first.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from finecut.io.held import OF_SOURCE

TRUTH, WHOLE, NUMBER, TEXT = "truth", "whole", "number", "text"
MIXED, NESTED = "mixed", "json"
TYPES: Final[Mapping[str, pa.DataType]] = {
    TRUTH: pa.bool_(),
    WHOLE: pa.int64(),
    NUMBER: pa.float64(),
    TEXT: pa.string(),
    MIXED: pa.string(),
    NESTED: pa.string(),
}
#: What the field of a column of JSON has in its metadata.
MARK: Final = {b"finecut": NESTED.encode()}


class Kinds:
    """The kinds of all fields, as more and more sources are seen."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def add(self, metadata: Mapping[str, Any]) -> None:
        for name, value in metadata.items():
            kind = kind_of(value)
            self.known[name] = joined(self.known.get(name, kind), kind)

    def columns(self) -> list[pa.Field]:
        """A column for each field, by name."""
        return [
            pa.field(f"{OF_SOURCE}{name}", TYPES[kind], metadata=MARK if kind == NESTED else None)
            for name, kind in sorted(self.known.items())
        ]


def kind_of(value: object) -> str:
    """The kind of a value.

    >>> [kind_of(value) for value in (True, 3, 2.5, "3", [3])]
    ['truth', 'whole', 'number', 'text', 'json']
    """
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, int):
        return WHOLE
    if isinstance(value, float):
        return NUMBER
    return TEXT if isinstance(value, str) else NESTED


def joined(one: str, other: str) -> str:
    """The kind of a column that has both.

    >>> joined("whole", "number"), joined("whole", "text")
    ('number', 'mixed')
    """
    if one == other:
        return one
    return NUMBER if {one, other} == {WHOLE, NUMBER} else MIXED


def in_columns(metadata: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """What is known of a source, in its columns of a table."""
    columns = {f"{OF_SOURCE}{name}": value for name, value in metadata.items()}
    return {
        name: _as(schema.field(name).type, value)
        for name, value in columns.items()
        if name in schema.names
    }


def out_of_columns(row: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """The same back: what the columns of a row say of a source."""
    return {
        name.removeprefix(OF_SOURCE): json.loads(value) if is_json(schema.field(name)) else value
        for name, value in row.items()
        if name.startswith(OF_SOURCE) and value is not None
    }


def is_json(field: pa.Field) -> bool:
    return (field.metadata or {}).items() >= MARK.items()


def _as(kind: pa.DataType, value: Any) -> Any:
    if pa.types.is_string(kind) and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return float(value) if pa.types.is_floating(kind) else value

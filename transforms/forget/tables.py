"""Rows of tables that speak of sources."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finecut.io.tables.parquet import from_parquet
from finecut.transforms.forget.mentions import Mentions


def texts_of(data: bytes) -> pa.Table:
    """The columns of a Parquet file that hold texts: vectors are much larger, and say nothing."""
    schema = pq.read_schema(io.BytesIO(data))
    names = [field.name for field in schema if _has_text(field.type)]
    return from_parquet(data, columns=names, partitioning=None)


def speaks(table: pa.Table, mentions: Mentions) -> bool:
    """Whether anything in a table, or what it says of itself, speaks of the sources."""
    said = b"\n".join(v for pair in (table.schema.metadata or {}).items() for v in pair)
    return bool(_rows(table, mentions)) or mentions.in_bytes(said)


def without_rows(table: pa.Table, mentions: Mentions) -> pa.Table:
    """The rows that do not."""
    gone = _rows(table, mentions)
    left = table.filter(pa.array([row not in gone for row in range(len(table))], pa.bool_()))
    for place, field in enumerate(left.schema):
        if pa.types.is_dictionary(field.type):
            # A dictionary keeps the words that no row has any more.
            words = left.column(place).cast(field.type.value_type).dictionary_encode()
            left = left.set_column(place, field.name, words)
    return left


def without_sources(catalogue: pa.Table, mentions: Mentions) -> pa.Table:
    """The rows of a catalogue's file that are of other sources."""
    said = {
        "id": mentions.ids,
        "chunk": mentions.ids,
        "source_video": mentions.names,
        "video": mentions.relatives,
    }
    stays = pa.array([True] * len(catalogue), pa.bool_())
    for name, theirs in said.items():
        are = pc.is_in(catalogue.column(name), value_set=pa.array(sorted(theirs), pa.string()))
        stays = pc.and_not(stays, are)
    return catalogue.filter(stays)


def _rows(table: pa.Table, mentions: Mentions) -> set[int]:
    """The numbers of the rows that do."""
    return {
        row
        for column in table.columns
        if _has_text(column.type)
        for row, value in enumerate(column.to_pylist())
        if value is not None and mentions.in_value(_plain(value))
    }


def _has_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _has_text(kind.value_type)
    if pa.types.is_nested(kind):
        return any(_has_text(kind.field(place).type) for place in range(kind.num_fields))
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _plain(value: Any) -> Any:
    """A map's pairs as lists."""
    return [*map(_plain, value)] if isinstance(value, tuple | list) else value

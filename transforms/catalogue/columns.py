"""Rows of the catalogue as tables, and those as files that every reader of Parquet understands.

All files have all columns, so that they can be read together.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from finecut.io.errors import UserError
from finecut.transforms.catalogue.fields import COLUMNS, Kind, Records, Row, lines_of

#: Counts up when a column is removed or means something else. Columns may be added.
SCHEMA_VERSION: Final = 1
#: Where a file says which version it is of.
VERSION_KEY: Final = b"finecut.catalogue"
#: Rows that readers get or leave together.
ROWS_OF_GROUP: Final = 64 * 1024


class CatalogueTooNew(UserError, ValueError):
    """A catalogue was written by a later version of finecut."""


def _arrow(kind: Kind) -> pa.DataType:
    if isinstance(kind, Records):
        return pa.list_(pa.struct([(name, _arrow(each)) for name, each in kind.fields]))
    return pa.type_for_alias(kind)


SCHEMA: Final = pa.schema([(column.name, _arrow(column.kind)) for column in COLUMNS])
EMPTY: Final = pa.Table.from_batches([], SCHEMA)


def from_lines(lines: bytes) -> pa.Table:
    """Rows that are JSON, as a table: chunk by chunk, and those of a chunk in the order of the
    video.
    """
    if not lines:
        return EMPTY
    table = pj.read_json(
        pa.BufferReader(lines),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=pj.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore"),
    )
    return in_order(table.select(SCHEMA.names))


def table_of(rows: Iterable[Row]) -> pa.Table:
    """By way of JSON: Arrow asks of values in Python whether they are pandas', and imports that."""
    return from_lines(lines_of(rows))


def texts(values: Iterable[str]) -> pa.Array:
    """An array of texts, without asking whether they are pandas'."""
    data = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, data)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(ends), pa.py_buffer(b"".join(data)))


def in_order(table: pa.Table) -> pa.Table:
    keys = [(name, "ascending") for name in ("chunk", "start", "end", "id")]
    return table if table.num_rows < 2 else table.sort_by(keys)


def to_bytes(table: pa.Table) -> bytes:
    """A file of the catalogue."""
    said = {VERSION_KEY: str(SCHEMA_VERSION).encode()}
    large = table.num_rows > ROWS_OF_GROUP // 64
    out = pa.BufferOutputStream()
    pq.write_table(
        table.combine_chunks().replace_schema_metadata(said),
        out,
        compression="zstd" if large else "snappy",
        row_group_size=ROWS_OF_GROUP,
        # Of a chunk they help nobody, and a column costs more with them than its values do.
        use_dictionary=large,
        write_statistics=large,
    )
    return bytes(out.getvalue())


def from_bytes(data: bytes, path: str, columns: Iterable[str] | None = None) -> pa.Table:
    """The rows of a file of the catalogue, with these columns or all; those that an older version
    did not have are empty.
    """
    file = pq.ParquetFile(pa.BufferReader(data))
    there = file.schema_arrow
    refuse_newer(there.metadata, path)
    wanted = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    known = {*there.names}
    table = file.read(columns=[n for n in wanted.names if n in known], use_threads=False)
    found = [
        _as(field.type, table.column(field.name))
        if field.name in known
        else pa.nulls(table.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(found, schema=wanted)


def _as(kind: pa.DataType, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as its type is now; in an older file, its records may have had fewer fields."""
    if column.type == kind:
        return column  # casting it would cost more than reading it did
    if not pa.types.is_list(kind):
        return column.cast(kind)
    record, parts = kind.value_type, []
    for part in column.chunks:
        values = part.values
        known = {name: number for number, name in enumerate(field.name for field in values.type)}
        fields = [
            _as(field.type, pa.chunked_array([values.field(known[field.name])])).combine_chunks()
            if field.name in known
            else pa.nulls(len(values), field.type)
            for field in record
        ]
        records = pa.StructArray.from_arrays(fields, fields=list(record))
        parts.append(pa.ListArray.from_arrays(part.offsets, records))
    return pa.chunked_array(parts, kind)


def refuse_newer(metadata: Mapping[bytes, bytes] | None, path: str) -> None:
    version = int((metadata or {}).get(VERSION_KEY, b"1"))
    if version > SCHEMA_VERSION:
        raise CatalogueTooNew(
            f"{path} is of version {version} of the catalogue, and this finecut knows version "
            f"{SCHEMA_VERSION}. Usually the dataset was written by a later version: install that "
            "one"
        )

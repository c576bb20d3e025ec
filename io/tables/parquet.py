"""Vectors on the shelf: one Parquet file per chunk, one pickle per clip.

A table says in its metadata which model its vectors are of (``finecut.algorithm``, ``.model``,
``.revision``, ``.dimension``), so that nobody compares vectors of two models.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.storage import files as shelf

PARQUET = ".parquet"
NO_FACTS: Mapping[str, str] = MappingProxyType({})
SCHEMA = pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float32()))])


#: What a table's facts are called in its metadata.
PREFIX = "finecut."


def embedding_table(
    rows: Sequence[tuple[str, Sequence[float]]], facts: Mapping[str, str] = NO_FACTS
) -> bytes:
    """A Parquet file with the columns ``id`` and ``embedding`` (a list of float32).

    ``facts`` go into the file's metadata.
    """
    table = pa.table(
        {
            "id": pa.array([identifier for identifier, _ in rows], pa.string()),
            "embedding": pa.array([vector for _, vector in rows], pa.list_(pa.float32())),
        },
        schema=SCHEMA,
    )
    if facts:
        table = table.replace_schema_metadata({PREFIX + key: said for key, said in facts.items()})
    return to_parquet(table)


def to_parquet(
    table: pa.Table, row_group_size: int | None = None, compression: str = "snappy"
) -> bytes:
    """A table as the bytes of a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table, out, compression=compression, row_group_size=row_group_size)
    return out.getvalue()


def from_parquet(data: bytes, **settings: Any) -> pa.Table:
    """The table that these bytes of a Parquet file hold."""
    return pq.read_table(io.BytesIO(data), **settings)


def tables_in(folder: str) -> list[str]:
    """The Parquet files that lie in a folder, in order."""
    return [path for path in shelf.files_in(folder) if path.endswith(PARQUET)]


def rows_of(table: bytes) -> list[tuple[str, list[float]]]:
    """The rows that :func:`embedding_table` was given."""
    read = from_parquet(table, columns=["id", "embedding"])
    ids, vectors = (read.column(name).to_pylist() for name in ("id", "embedding"))
    return list(zip(ids, vectors, strict=True))


def facts_of(table: bytes) -> dict[str, str]:
    """What :func:`embedding_table` was told about its vectors; nothing of others' tables."""
    metadata = pq.read_schema(io.BytesIO(table)).metadata or {}
    named = {key.decode(): said.decode() for key, said in metadata.items()}
    return {key.removeprefix(PREFIX): v for key, v in named.items() if key.startswith(PREFIX)}


def embedding_pickle(vector: Sequence[float]) -> bytes:
    """A float32 array of shape (1, D), pickled: written because readers expect it, never read."""
    return pickle.dumps(np.asarray([vector], dtype=np.float32), protocol=4)

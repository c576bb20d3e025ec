"""Vectors on the shelf: one Parquet file per chunk, one pickle per clip."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float32()))])


def embedding_table(rows: Sequence[tuple[str, Sequence[float]]]) -> bytes:
    """A Parquet file with the columns ``id`` and ``embedding`` (a list of float32)."""
    table = pa.table(
        {
            "id": pa.array([identifier for identifier, _ in rows], pa.string()),
            "embedding": pa.array([vector for _, vector in rows], pa.list_(pa.float32())),
        },
        schema=SCHEMA,
    )
    out = io.BytesIO()
    pq.write_table(table, out, compression="snappy")
    return out.getvalue()


def embedding_pickle(vector: Sequence[float]) -> bytes:
    """A float32 array of shape (1, D), pickled: written because readers expect it, never read."""
    return pickle.dumps(np.asarray([vector], dtype=np.float32), protocol=4)

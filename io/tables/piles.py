"""Piles: vectors laid down by the cluster they belong to; each cluster's are read in one go.

    pile      ▕ cluster 0 ▏ cluster 3 ▏ 4 ▏ … ▏      one file: what one worker read, sorted
    cluster 3   = a slice of this pile + one of each other

A slice is an Arrow stream by itself. Piles lie in staging: they are gone when the run has ended.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finecut.io.storage import files as shelf

#: What the columns of a table of vectors may be called; the second as other programs have it.
ID, EMBEDDINGS = "id", ("embedding", "embeddings")
#: Rows of a table that are read at once.
AT_ONCE = 4096


class Rows(NamedTuple):
    """Vectors and what is known of them, one row each."""

    ids: NDArray[np.str_]
    vectors: NDArray[np.float32]
    #: From the centroid of the row's own cluster: 1 less the cosine.
    distances: NDArray[np.float32]
    #: Whether the row is at home in the cluster it lies in.
    home: NDArray[np.bool_]
    #: The larger, the better the clip; 0 where nobody knows.
    merits: NDArray[np.uint64]

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> "Rows":
        return Rows._make(column[which] for column in self)


def together(parts: list[Rows]) -> Rows:
    """The same rows in one."""
    return Rows(*map(np.concatenate, zip(*parts, strict=True)))


def to_bytes(rows: Rows) -> bytes:
    """A slice."""
    vectors = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(rows.vectors).ravel()), rows.vectors.shape[1]
    )
    batch = pa.record_batch(
        {
            "id": pa.array(rows.ids.tolist(), pa.string()),
            "vector": vectors,
            "distance": pa.array(rows.distances, pa.float32()),
            "home": pa.array(rows.home, pa.bool_()),
            "merit": pa.array(rows.merits, pa.uint64()),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def from_bytes(data: bytes) -> Rows:
    """What :func:`to_bytes` made a slice of."""
    [batch] = pa.ipc.open_stream(data)
    ids, vectors, distances, home, merits = batch.columns
    return Rows(
        np.array(ids.to_pylist(), np.str_),
        vectors.values.to_numpy().reshape(len(batch), -1),
        distances=distances.to_numpy(),
        home=home.to_numpy(zero_copy_only=False),
        merits=merits.to_numpy(),
    )


def read_vectors(path: str, column: str = "") -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """The rows of a table, some thousand at a time; a row without a vector is zeros. With
    ``column``, the vectors in this column of a table of a pack: only of clips that have one.

    Raises ``ValueError`` with a sentence if it is no table of vectors.
    """
    if not shelf.is_file(path):
        raise ValueError(f"{path} is a folder, pipe or device, not a table of vectors")
    try:
        with shelf.open_source(path) as file, pq.ParquetFile(file) as table:
            names = table.schema_arrow.names
            if column and column not in names:
                return  # no clip of this chunk has one
            found = column or next((name for name in EMBEDDINGS if name in names), None)
            if ID not in names or found is None:
                raise ValueError(
                    f"{path} is not a table of vectors: it has the columns {', '.join(names)}, "
                    f"but needs {ID} and {EMBEDDINGS[0]}"
                )
            for batch in table.iter_batches(AT_ONCE, columns=[ID, found]):
                rows = batch.filter(batch.column(found).is_valid()) if column else batch
                ids = rows.column(ID).cast(pa.string()).to_pylist()
                yield ids, _vectors(rows.column(found), path)
    except (pa.ArrowException, OSError) as error:
        # Damaged pages are an OSError of no number; what has one is the disk's trouble.
        if isinstance(error, OSError) and (error.errno is not None or shelf.is_remote(path)):
            raise
        raise ValueError(
            f"{path} cannot be read ({error}): usually a copy was cut short. Copy it again"
        ) from error


def _vectors(column: pa.Array, path: str) -> NDArray[np.float32]:
    lists = column.cast(pa.large_list(pa.float32()))
    lengths = {length for length in pc.list_value_length(lists).unique().to_pylist() if length}
    if len(lengths) > 1:
        raise ValueError(
            f"{path} contains vectors of {sorted(lengths)} numbers, so they come from two models"
        )
    if not lengths:
        return np.zeros((len(lists), 0), np.float32)
    vectors = np.zeros((len(lists), *lengths), np.float32)
    there = pc.fill_null(pc.list_value_length(lists), 0).to_numpy() > 0
    numbers = pc.fill_null(lists.flatten(), float("nan")).to_numpy(zero_copy_only=False)
    vectors[there] = numbers.reshape(-1, *lengths)
    return vectors

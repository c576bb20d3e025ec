"""Tables that workers divide among each other, by way of files.

    a worker's rows ──divided──▶ one Arrow file, a batch for each part
    a part of all files ──gathered──▶ a table

Each row has the number of its part. So nobody holds all rows, on engines that keep what flows in
memory, too.
"""

import io
from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf

#: Files that are read at the same time.
READERS: Final = 8

Numbers = NDArray[np.int64]


def divided(table: pa.Table, numbers: Numbers, ranges: int) -> bytes:
    """The file of a part: a batch for each range, of the rows whose number it is."""
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(ranges), side="right")
    rows = table.take(pa.array(order)).combine_chunks()
    out, start = io.BytesIO(), 0
    settings = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with pa.ipc.new_file(out, table.schema, options=settings) as file:
        for end in ends.tolist():
            file.write_batch(_batch(rows.slice(start, end - start)))
            start = end
    return out.getvalue()


def _batch(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [as_one(column) for column in table.columns], schema=table.schema
    )


def as_one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def gathered(paths: Iterable[str], number: int, schema: pa.Schema) -> pa.Table:
    """What all parts have of a range."""

    def read(path: str) -> pa.Table:
        with shelf.open_source(path) as file:
            return pa.Table.from_batches([pa.ipc.open_file(file).get_batch(number)])

    return pa.concat_tables([schema.empty_table(), *in_order(read, paths, READERS)])

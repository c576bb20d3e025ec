"""Reading the catalogue: slice by slice, on however many workers there are.

    slices(layout) ─▶ Slice, Slice, …   of some 80,000 rows at most
    rows_in(slice, layout, columns) ─▶ a table, with one row of each clip

Whoever reads need not care for what a compaction has left undone: rows of a chunk's own file stand
above those of the large files. Nor does it matter whether there is a catalogue: where it was never
complete (:func:`~finecut.transforms.catalogue.compact.is_complete`), slices are of documents, and
give the same rows, but more slowly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.transforms.catalogue.buckets import Bucket, Files, buckets_of, chunk_of, failed_path
from finecut.transforms.catalogue.chunks import rows_at
from finecut.transforms.catalogue.columns import EMPTY, from_bytes, table_of, texts
from finecut.transforms.catalogue.compact import is_complete
from finecut.transforms.catalogue.loose import read_loose
from finecut.transforms.catalogue.on_workers import batched

#: Documents of chunks that are one slice, of a dataset without a catalogue.
DOCUMENTS: Final = 100


@dataclass(frozen=True)
class Slice:
    """A part of the rows; no two have a clip in common."""

    bucket: Bucket | None = None
    #: Documents of chunks, by path.
    documents: tuple[str, ...] = ()


def slices(layout: Layout) -> Iterator[Slice]:
    """The rows of all clips that belong to chunks: kept and rejected ones."""
    if is_complete(layout):
        yield from (Slice(bucket) for bucket in buckets_of(Files.of(layout)))
        return
    for paths in batched(Output(layout).chunks(), DOCUMENTS):
        yield Slice(documents=tuple(paths))


def rows_in(piece: Slice, layout: Layout, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a slice; give the columns that you need, since others cost time and memory.

    Documents that cannot be read are a :class:`~finecut.io.dataset.places.NoDataset`.
    """
    if piece.bucket is not None:
        return _in_bucket(piece.bucket, columns)
    output = Output(layout)
    found = [row for path in piece.documents for row in rows_at(path, output)[1]]
    return _only(table_of(found), columns)


def failed_rows(layout: Layout, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of clips that failed and belong to no chunk; none where there is no catalogue."""
    return _read(failed_path(layout), columns)


@dataclass(eq=False, repr=False)
class ReadCatalogue(beam.PTransform[beam.PCollection[Any], beam.PCollection[pa.Table]]):
    """One element, which comes when the dataset may be read → tables with these columns, as
    :func:`rows_in` gives them, on all workers.
    """

    layout: Layout
    columns: Sequence[str] | None = None

    def expand(self, once: beam.PCollection[Any]) -> beam.PCollection[pa.Table]:
        layout, columns = self.layout, self.columns
        return (
            once
            | "Slices" >> beam.FlatMap(lambda _: slices(layout)).with_output_types(Slice)
            | "Share out slices" >> beam.Reshuffle()
            | "Rows"
            >> beam.Map(lambda piece: rows_in(piece, layout, columns)).with_output_types(pa.Table)
        )


def _in_bucket(bucket: Bucket, columns: Sequence[str] | None) -> pa.Table:
    """What is newer stands above what is older, chunk by chunk."""
    wanted = None if columns is None else list(dict.fromkeys((*columns, "chunk")))
    found = [read_loose(bucket.loose, wanted)]
    seen = {chunk for path in bucket.loose if (chunk := chunk_of(path))}
    for path in (bucket.file, *reversed(bucket.ancestors)):
        if path is None:
            continue
        older = _read(path, wanted)
        if seen:
            values = texts(sorted(seen))
            older = older.filter(pc.invert(pc.is_in(older.column("chunk"), value_set=values)))
        if bucket.prefix and path != bucket.file:
            older = older.filter(pc.starts_with(older.column("chunk"), bucket.prefix))
        seen.update(older.column("chunk").unique().to_pylist())
        found.append(older)
    return _only(pa.concat_tables(found), columns)


def _only(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    return table if columns is None else table.select(list(columns))


def _read(path: str, columns: Sequence[str] | None) -> pa.Table:
    data = shelf.read_if_there(path)
    return _only(EMPTY, columns) if data is None else from_bytes(data, path, columns)

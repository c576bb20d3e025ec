"""Compacting: rows of many chunks go into few large files.

    catalogue/clips.parquet        ─┐
    catalogue/chunks/4a05….parquet ─┼─▶ catalogue/clips.parquet, with one row of each clip
    catalogue/chunks/…             ─┘   failures/*.jsonl ─▶ catalogue/failed.parquet

A chunk's own file is removed when its rows stand in the large one, so whatever is killed, no row is
lost: until the next compaction some stand in both. The result follows from what the chunks' files
say, and not from the order or number of compactions.

A dataset that an older version or another program wrote has no catalogue, or one of its new videos
only. So the first compaction adds what is missing, from documents (:func:`missing_chunks`).
"""

import io
import json
from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finecut.io.dataset.output import Output, chunk_named, read_document
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.catalogue.buckets import (
    MOST_CHUNKS,
    Bucket,
    Files,
    buckets_of,
    children_of,
    chunk_of,
    failed_path,
    path_of,
)
from finecut.transforms.catalogue.chunks import enter, rows_in_document
from finecut.transforms.catalogue.columns import (
    EMPTY,
    SCHEMA_VERSION,
    from_bytes,
    in_order,
    table_of,
    texts,
    to_bytes,
)
from finecut.transforms.catalogue.loose import read_loose
from finecut.transforms.catalogue.rows import rows_of_failure
from finecut.transforms.find.lists import failures_on
from finecut.transforms.resume.note import clips_in


def compact(layout: Layout, own: Shelf, most: int = MOST_CHUNKS) -> None:
    """Compact the catalogue that lies there, and complete it if it never was complete."""
    for path in missing_chunks(layout):
        add_missing(path, Output(layout), own)
    superseded: set[str] = set()
    for bucket in buckets_of(Files.of(layout), most):
        superseded.update(compact_bucket(bucket, layout, own, most))
    finish(superseded, layout, own)


def finish(superseded: Iterable[str], layout: Layout, own: Shelf) -> None:
    """What follows when all buckets are compacted."""
    own.remove(*sorted(set(superseded)))
    own.remove_emptied(layout.catalogue_chunks())
    own.remove_emptied(layout.catalogue_rows())
    write_failed(layout, own)
    if not _is_said_complete(layout):
        _say_complete(layout, own)


def compact_bucket(
    bucket: Bucket, layout: Layout, own: Shelf, most: int = MOST_CHUNKS
) -> tuple[str, ...]:
    """Merge a bucket into its file, or into several if it has too many chunks; the files come back
    that are superseded when all buckets are done.
    """
    if not bucket.has_news:
        return ()
    newer = _loose(bucket)
    older = [_read(path) for path in bucket.ancestors]
    if _count(bucket, newer, older) <= most:
        targets = [bucket.prefix]
    else:
        targets = [*children_of(bucket.prefix)]
        older = [*older, *([] if bucket.file is None else [_read(bucket.file)])]
    for prefix in targets:
        merge = partial(_merged, prefix, newer=newer, older=older, path=path_of(prefix, layout))
        own.update(path_of(prefix, layout), merge)
    if len(targets) > 1 and bucket.file is not None:
        own.remove(bucket.file)
    own.remove(*bucket.loose)
    count("chunks compacted", len(bucket.loose))
    return bucket.ancestors


_Newer = tuple[frozenset[str], pa.Table]


def _loose(bucket: Bucket) -> _Newer:
    """The chunks that have files of their own, and the rows in those."""
    return frozenset(filter(None, map(chunk_of, bucket.loose))), read_loose(bucket.loose)


def _read(path: str) -> pa.Table:
    data = shelf.read_if_there(path)
    return EMPTY if data is None else from_bytes(data, path)


def _count(bucket: Bucket, newer: _Newer, older: Iterable[pa.Table]) -> int:
    """How many chunks have rows in a bucket."""
    chunks = {*newer[1].column("chunk").to_pylist()}
    found = [table.column("chunk").unique().to_pylist() for table in older]
    if bucket.file is not None and (data := shelf.read_if_there(bucket.file)) is not None:
        column = pq.ParquetFile(io.BytesIO(data)).read(columns=["chunk"]).column("chunk")
        found.append(column.unique().to_pylist())
    for each in found:
        chunks.update(chunk for chunk in each if chunk not in newer[0])
    return sum(chunk.startswith(bucket.prefix) for chunk in chunks)


def _merged(
    prefix: str, there: bytes, *, newer: _Newer, older: Iterable[pa.Table], path: str
) -> bytes:
    """The file with this prefix: what is there, and what is newer or older than that."""
    chunks, rows = newer
    tables = [rows]
    seen = set(chunks)
    base = from_bytes(there, path) if there else EMPTY
    for table in (base, *reversed(list(older))):
        left = _without(table, seen)
        seen.update(left.column("chunk").unique().to_pylist())
        tables.append(left)
    every = pa.concat_tables(tables)
    if prefix:
        every = every.filter(pc.starts_with(every.column("chunk"), prefix))
    return to_bytes(in_order(every)) if every.num_rows else b""


def _without(table: pa.Table, chunks: Iterable[str]) -> pa.Table:
    values = texts(sorted(chunks))
    return table.filter(pc.invert(pc.is_in(table.column("chunk"), value_set=values)))


# ── what no chunk's file says ────────────────────────────────────────────────────────────────────


def is_complete(layout: Layout) -> bool:
    """Whether all chunks that there are documents of have been entered, and nobody has removed the
    catalogue since: what is said of it stands in another folder.
    """
    if not _is_said_complete(layout):
        return False
    places = (layout.catalogue(), layout.catalogue_rows())
    return any(map(shelf.exists, places)) or not shelf.exists(layout.processed_clip_chunks())


def _is_said_complete(layout: Layout) -> bool:
    # Read and not asked for: of what is not there, a store would list what lies below it.
    return shelf.read_if_there(layout.catalogue_facts()) is not None


def begin_catalogue(layout: Layout, own: Shelf) -> None:
    """Say of a dataset in which there is nothing yet that nothing is missing in its catalogue, so
    that its first compaction need not look for it; and of one whose catalogue was removed that it
    has to, before new rows look like all there are.
    """
    if is_complete(layout):
        return
    if shelf.exists(layout.processed_clip_chunks()):
        own.remove(layout.catalogue_facts())
    else:
        _say_complete(layout, own)


def _say_complete(layout: Layout, own: Shelf) -> None:
    said = json.dumps({"schema": SCHEMA_VERSION}, indent=4)
    own.write(layout.catalogue_facts(), said.encode())


def missing_chunks(layout: Layout) -> Iterator[str]:
    """The documents of chunks that may not be in the catalogue, by path: none of a catalogue that
    was complete once, since then every chunk is entered when it is closed.
    """
    if shelf.exists(layout.processed_clip_chunks()) and not is_complete(layout):
        yield from Output(layout).chunks()


def add_missing(path: str, output: Output, own: Shelf) -> bool:
    """Enter a chunk whose document lies there, unless it has been; false if it cannot be read.

    Such a chunk is left out, and told of: ``finecut verify`` names all that is wrong.
    """
    layout = output.layout
    try:
        said = read_document(path)
        chunk = chunk_named(said, path)
        files = (layout.catalogue_lines(chunk), layout.catalogue_chunk(chunk))
        if not clips_in(said) or any(map(shelf.exists, files)):
            return True
        rows = rows_in_document(said, path, output)
    except NoDataset as error:
        LOG.error("%s: its clips are not in the catalogue", error)
        count("chunks not catalogued")
        return False
    enter(chunk, rows, layout, own, again=False)
    return True


def write_failed(layout: Layout, own: Shelf) -> None:
    """Enter the clips that failed, as the lists of failures say."""
    seen: set[str] = set()
    tables = [EMPTY]
    for path in shelf.files_in(layout.failures()):
        rows = []
        for failure in failures_on(shelf.read_if_there(path) or b"", path):
            lost = [] if not failure.lost_shots else _still_lost(failure.source.relative, layout)
            for row in rows_of_failure(failure) if failure.lost_shots else ():
                if row["id"] not in seen and row["id"] not in lost:
                    seen.add(row["id"])
                    rows.append(row)
        tables.append(table_of(rows))
    every = pa.concat_tables(tables)
    data = to_bytes(in_order(every)) if every.num_rows else b""
    own.update(failed_path(layout), lambda _: data)


def _still_lost(relative: str, layout: Layout) -> set[str]:
    """The clips that there are of a video by now, whatever a list says: another run made them."""
    found: set[str] = set()
    index = 0
    while said := usable_json(layout.processed_clip_chunk(relative, index)):
        found |= clips_in(said)
        index += 1
    return found

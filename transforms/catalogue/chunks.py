"""The rows of a chunk: written with it, and read back from documents.

    clips of a chunk ─▶ .finecut/rows/<chunk>.jsonl ─▶ processed_clip_chunks/…
           of a stream  catalogue/chunks/<chunk>.parquet

A batch compacts the catalogue at its end, and until then nobody reads it; lines of JSON cost it a
third of what a Parquet file costs. A stream has no end.

A chunk's own file says all there is of the chunk: it stands above what the catalogue's large files
say of it, also if it has no rows. So whoever changes a chunk writes its file anew, and compaction
(:mod:`finecut.transforms.catalogue.compact`) takes that over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from finecut.io.dataset.output import Document, Entry, Output, chunk_named, read_document
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout, chunk_id, chunk_numbered, embedding_folder
from finecut.io.records import Clip, Video
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.packs import PackedClip, PackTable
from finecut.transforms.catalogue.fields import Row, lines_of
from finecut.transforms.catalogue.rows import OF_VIDEO, Made, Whereabouts, made_file, row_of
from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.write.documents import clip_document, video_document
from finecut.transforms.write.writing import Writing


@dataclass(frozen=True)
class Lying:
    """Where clips lie that were just written."""

    #: Whether their files were written, and not only what is known of them.
    uploads: bool = True
    #: Where they lie in packs, by id.
    packed: Mapping[str, PackedClip] = field(default_factory=dict)


def write_rows(clips: Sequence[Clip], lying: Lying, writing: Writing) -> None:
    """Write the rows of these clips, all there are of a chunk."""
    chunk, video, layout = clips[0].chunk, facts_of(clips[0].video), writing.layout
    rows = [
        row_of(clip_document(clip, layout), _where(clip, lying, layout), video) for clip in clips
    ]
    say = enter_table if writing.streams else enter
    say(chunk.id, rows, layout, writing.shelf, again=chunk.again)


def enter(
    chunk: str, rows: Iterable[Row], layout: Layout, own: Shelf, *, again: bool = True
) -> None:
    """Say of a chunk that these are its rows; ``again``, if something was said of it before."""
    own.write(layout.catalogue_lines(chunk), lines_of(rows))
    if again:
        own.remove(layout.catalogue_chunk(chunk))


def enter_table(
    chunk: str, rows: Iterable[Row], layout: Layout, own: Shelf, *, again: bool = True
) -> None:
    """The same for readers that do not wait for a compaction."""
    # Arrow takes its time to be imported, and a batch needs it at its end only.
    from finecut.transforms.catalogue.columns import table_of, to_bytes

    own.write(layout.catalogue_chunk(chunk), to_bytes(table_of(rows)))
    if again:
        own.remove(layout.catalogue_lines(chunk))


def drop_rows(chunks: Iterable[str], layout: Layout, own: Shelf) -> None:
    """Say of these chunks that there is nothing of them any more."""
    for chunk in chunks:
        enter(chunk, (), layout, own)


def drop_video(names: Iterable[str], number: int, layout: Layout, own: Shelf) -> None:
    """Say so of the first chunks of videos with these names."""
    drop_rows((chunk_id(name, index) for name in names for index in range(number)), layout, own)


def facts_of(video: Video) -> dict[str, Any]:
    """What rows have of a video, under the names of its document."""
    document = video_document(video, 0, 0)
    return {key: document[key] for key in OF_VIDEO.values()}


def known_of(relative: str, layout: Layout) -> Mapping[str, Any]:
    """The same, from the document of a video, or from the note of one that is not finished."""
    if document := usable_json(layout.processed_video(relative)):
        return document
    noted = (usable_json(layout.open_video(relative)) or {}).get("video")
    return noted if isinstance(noted, Mapping) else {}


def _where(clip: Clip, lying: Lying, layout: Layout) -> Whereabouts:
    where = Whereabouts(clip.video.source.relative, clip.chunk.id, clip.kept)
    if clip.id in lying.packed:
        folders = map(embedding_folder, clip.vectors if clip.kept else ())
        return in_pack(where, lying.packed[clip.id], folders, layout)
    path = layout.clip(clip.id, clip.kept) if lying.uploads and clip.file is not None else None
    made = [*clip.artefacts] if clip.kept else []
    vectors = [layout.embedding(name, clip.id) for name in clip.vectors] if clip.kept else []
    made += [layout.inside(path) for path in vectors]
    return replace(
        where,
        clip=path and layout.inside(path),
        meta=layout.inside(layout.meta(clip.id)),
        artefacts=tuple(map(made_file, made)),
    )


def in_pack(
    where: Whereabouts, row: PackedClip, vectors: Iterable[str], layout: Layout
) -> Whereabouts:
    """Where a clip lies of which this is the row in a pack; it has vectors of these folders."""
    table = layout.inside(layout.pack_table(where.chunk))
    made = [
        Made(each.path.partition("/")[0], row.pack or "", each.offset, each.size)
        for each in row.files
    ]
    return replace(
        where,
        clip=None if row.offset is None else row.pack,
        clip_offset=row.offset,
        meta=table,
        artefacts=(*made, *(Made(folder, table) for folder in vectors)),
    )


# ── from documents ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class OfChunk:
    """What the rows of a chunk have in common."""

    #: The path of its video below the input.
    relative: str
    id: str
    #: What is known of its video.
    video: Mapping[str, Any]


def rows_of_chunk(chunk: OfChunk, entries: Iterable[Entry], layout: Layout) -> list[Row]:
    """The rows of a chunk's clips, of which these are the documents."""
    if layout.packed:
        return _rows_in_pack(chunk, entries, layout)
    folders = [folder.rsplit("/", 1)[-1] for folder in shelf.folders_in(layout.root)]
    return [
        _row(
            entry,
            Whereabouts(
                video=chunk.relative,
                chunk=chunk.id,
                kept=entry.kept,
                clip=_if_there(layout.clip(entry.id, entry.kept), layout),
                meta=layout.inside(layout.meta(entry.id)),
                artefacts=tuple(map(made_file, artefacts_of(entry, folders, layout))),
            ),
            chunk,
        )
        for entry in entries
    ]


def _rows_in_pack(chunk: OfChunk, entries: Iterable[Entry], layout: Layout) -> list[Row]:
    entries = list(entries)
    table = Output(layout).table(chunk.id) if entries else PackTable.of((), {})
    rows = {clip.id: clip for clip in table.clips()}
    having = {folder: {*table.vectors(folder)} for folder in table.folders()}
    found = []
    for entry in entries:
        where = Whereabouts(video=chunk.relative, chunk=chunk.id, kept=entry.kept)
        vectors = [folder for folder, ids in having.items() if entry.kept and entry.id in ids]
        found.append(_row(entry, in_pack(where, rows[entry.id], vectors, layout), chunk))
    return found


def _row(entry: Entry, where: Whereabouts, chunk: OfChunk) -> Row:
    return row_of(entry.document, where, chunk.video, entry.id)


def rows_at(path: str, output: Output) -> tuple[str, list[Row]]:
    """The id of the chunk whose document lies there, and the rows of its clips; what cannot be read
    is a :class:`NoDataset`.
    """
    said = read_document(path)
    return chunk_named(said, path), rows_in_document(said, path, output)


def rows_in_document(said: Document, path: str, output: Output) -> list[Row]:
    """The rows of the clips of a chunk whose document, which lies there, has been read."""
    layout = output.layout
    relative = relative_of(path, layout)
    chunk = OfChunk(relative, chunk_named(said, path), known_of(relative, layout))
    return rows_of_chunk(chunk, output.entries_in(said, path), layout)


def relative_of(path: str, layout: Layout) -> str:
    """The path of the video whose chunk's document lies there, below the input."""
    named = chunk_numbered(path.removeprefix(f"{layout.processed_clip_chunks()}/"))
    if named is None:
        raise NoDataset(
            f"{path} is not named as documents of chunks are, by a video and a number. Usually it "
            "was put there by hand: remove it"
        )
    return named[0]


def artefacts_of(entry: Entry, folders: Iterable[str], layout: Layout) -> Iterator[str]:
    """The files that there are of a kept clip, besides the clip's own, by paths below the dataset;
    ``folders`` are the dataset's.
    """
    said = {"span_uuid": entry.id, "windows": [*_usable_windows(entry.document)]}
    for folder in folders if entry.kept else ():
        for artefact in ARTEFACTS:
            if artefact.per == "chunk" or not artefact.lies_in(folder):
                continue
            for path in artefact.paths_in(folder, said):
                if shelf.exists(layout.below(path)):
                    yield path


def _usable_windows(document: Mapping[str, Any]) -> Iterator[Mapping[str, int]]:
    windows = document.get("windows")
    for window in windows if isinstance(windows, list) else ():
        if isinstance(window, Mapping):
            first, last = window.get("start_frame"), window.get("end_frame")
            if type(first) is int and type(last) is int:
                yield {"start_frame": first, "end_frame": last}


def _if_there(path: str, layout: Layout) -> str | None:
    return layout.inside(path) if shelf.exists(path) else None

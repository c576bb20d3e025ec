"""Unpacking: of a packed dataset comes one of files, byte for byte as it would have been written.

    packs/<chunk>.tar, .parquet ─▶ clips/, metas/, previews/, <model>_embd/, <model>_embd_parquet/
                                   the chunk's rows of the catalogue, then the chunk's document
    all else                    ─▶ the same; documents of videos last

The catalogue says where files lie, so it is made anew. What is copied keeps the order of writing:
whatever is killed, what lies there is whole, and ``.finecut/unpacking.json`` stays until all is.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from finecut.io.dataset.output import Output, chunk_named, clips_named, read_document
from finecut.io.dataset.places import Place
from finecut.io.layout import (
    CATALOGUE,
    PACKS,
    TABLES,
    VECTORS,
    Layout,
    clip_path_is_sharded,
)
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.packs import PackedClip, PackTable
from finecut.io.tables.parquet import embedding_pickle, embedding_table
from finecut.transforms.beam.metrics import count
from finecut.transforms.catalogue.chunks import enter, known_of, relative_of
from finecut.transforms.catalogue.rows import Whereabouts, made_file, row_of

#: What is not copied: it is made anew, or is of a packed dataset only.
ELSEWHERE: Final = (
    *(f"{PACKS}/", f"{CATALOGUE}/", ".staging/", "processed_clip_chunks/"),
    *(".finecut/layout.json", ".finecut/catalogue.json", ".finecut/watch/", "report/"),
)
VIDEOS: Final = "processed_videos/"


@dataclass(frozen=True)
class Unpacking:
    """From where to where."""

    output: Output
    layout: Layout
    shelf: Shelf


def note_of(layout: Layout) -> str:
    """What says that something is being unpacked here, and from where."""
    return layout.below(".finecut/unpacking.json")


def unpack_chunk(path: str, unpacking: Unpacking) -> int:
    """Make files of the chunk whose document lies there; how many clips it has."""
    output, layout, own = unpacking.output, unpacking.layout, unpacking.shelf
    said = read_document(path)
    chunk, named = chunk_named(said, path), dict(clips_named(said, path))
    relative = relative_of(path, output.layout)
    if named:
        table = output.table(chunk)
        there, video = output.pack(chunk), known_of(relative, output.layout)
        having = {folder: table.vectors(folder) for folder in table.folders()}
        rows = []
        for id, kept in named.items():
            output.packed_entry(id, kept, chunk, there)  # which tells of what is missing or broken
            clip = replace(there[id], kept=kept)
            folders = [folder for folder, of in having.items() if kept and id in of]
            rows.append(_written(clip, folders, Whereabouts(relative, chunk, kept), unpacking))
        kept_ids = [id for id, kept in named.items() if kept]
        for folder in having:
            _write_vectors(table, folder, kept_ids, chunk=chunk, unpacking=unpacking)
        enter(chunk, [row_of(document, where, video) for document, where in rows], layout, own)
    place = layout.processed_clip_chunk(relative, said["clip_chunk_index"])
    own.write(place, shelf.read(path))
    count("clips unpacked", len(named))
    return len(named)


def _written(
    clip: PackedClip, folders: list[str], where: Whereabouts, unpacking: Unpacking
) -> tuple[Mapping[str, Any], Whereabouts]:
    """Write the files of a clip, but for its vectors; its document, and where all of it lies."""
    own, document = unpacking.shelf, json.loads(clip.document)
    sharded = clip_path_is_sharded(str(document.get("clip_location", "")))
    layout = replace(unpacking.layout, shard_prefix=sharded)
    made = [f"{folder}/{clip.id}{VECTORS.suffix}" for folder in folders]
    final = None
    archive = unpacking.output.layout.below(clip.pack or "")
    if clip.offset is not None:
        final = layout.clip(clip.id, clip.kept)
        own.write(final, Place(archive, clip.offset, clip.size).read())
    for each in clip.files if clip.kept else ():
        own.write(layout.below(each.path), Place(archive, each.offset, each.size).read())
        made.append(each.path)
    own.write(layout.meta(clip.id), clip.document)
    return {**document, "span_uuid": clip.id}, replace(
        where,
        clip=final and layout.inside(final),
        meta=layout.inside(layout.meta(clip.id)),
        artefacts=tuple(map(made_file, made)),
    )


def _write_vectors(
    table: PackTable, folder: str, kept: list[str], *, chunk: str, unpacking: Unpacking
) -> None:
    """Write the vectors of a folder: a pickle for each clip, and the table of the chunk."""
    own, layout, there = unpacking.shelf, unpacking.layout, table.vectors(folder)
    rows = [(id, there[id].tolist()) for id in there if id in kept]
    for id, vector in rows:
        own.write(layout.below(VECTORS.path_in(folder, id)), embedding_pickle(vector))
    if rows:
        path = layout.below(TABLES.path_in(f"{folder}_parquet", chunk))
        own.write(path, embedding_table(rows, table.facts.get(folder)))


def others(output: Output) -> Iterator[str]:
    """The files that are copied as they are, by path: not those that belong to clips and chunks,
    nor the documents of videos.
    """
    for path in shelf.files_below(output.root):
        if not output.layout.inside(path).startswith((*ELSEWHERE, VIDEOS)):
            yield path


def copy(path: str, unpacking: Unpacking) -> None:
    """Copy a file that is the same in both layouts."""
    final = unpacking.layout.below(unpacking.output.layout.inside(path))
    unpacking.shelf.write(final, shelf.read(path))

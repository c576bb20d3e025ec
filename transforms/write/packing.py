"""Packing: the files of a chunk go into one archive, and what is known of its clips into one table.

    clips of a chunk, their files staged
      1. the archive is made on this machine
      2. where an earlier attempt left another one: the chunk's document goes, and its rows
      3. packs/<chunk>.tar        written once, under its final name
      4. packs/<chunk>.parquet    says what lies where in it
      5. the rows of the catalogue, and the chunk's document, as of files (:mod:`close`)
      6. what was staged is removed

So a document of a chunk is only there while table and archive belong together, whoever is killed.
A clip that cannot be packed costs itself: the archive is written without it.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from finecut.io.dataset.arrangement import decide
from finecut.io.dataset.places import Place
from finecut.io.layout import embedding_folder
from finecut.io.records import Clip, Failure, Written
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.packs import (
    CLIP,
    BadPack,
    Member,
    PackedClip,
    PackTable,
    Vectors,
    member_name,
)
from finecut.io.tables.shards import Tar
from finecut.transforms.beam.guard import attempted, guarded
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.beam.sharing import of_run
from finecut.transforms.catalogue.chunks import drop_rows
from finecut.transforms.embed.one_model import claim, facts
from finecut.transforms.write.archive import Added, Archive
from finecut.transforms.write.branches import ARTEFACTS, CLIPS, EMBEDDINGS, METAS, model_of
from finecut.transforms.write.documents import clip_document, serialise
from finecut.transforms.write.writing import Writing

#: What failures call it; by this name whoever watches counts clips.
STEP: Final = "PublishClips"
FLOAT: Final = 4


class ClipChanged(Exception):
    """A staged clip is not what was cut."""


class Packing(NamedTuple):
    """What became of the clips of a chunk."""

    #: Those that are in the pack, by id.
    packed: Mapping[str, PackedClip]
    written: tuple[Written, ...]
    failures: tuple[Failure, ...]


def pack(clips: Iterable[Clip], writing: Writing) -> Packing:
    """Write the pack of a chunk that has these clips; what is no clip's fault is raised."""
    clips = sorted({clip.id: clip for clip in clips}.values(), key=lambda clip: clip.planned.index)
    layout, own, chunk = writing.layout, writing.shelf, clips[0].chunk.id
    of_run(own.staging).once("arrangement", partial(decide, layout, own))
    before = table_there(layout.pack_table(chunk))
    with own.bench() as bench:
        path = bench / "pack.tar"
        with path.open("wb") as file:
            archive = Archive(Tar(file))
            outcomes = list(_added(clips, archive, before, writing=writing))
            archive.tar.close()
        final = layout.pack(chunk)
        if before is None or not _lies_there(before, archive.digest, path, place=final):
            if before is not None:
                withdraw(clips[0], writing)
            _publish(path, final, own, bool(archive.members))
        path.unlink(missing_ok=True)
    rows = {each.id: each for each in outcomes if isinstance(each, PackedClip)}
    there = [clip for clip in clips if clip.id in rows]
    table = PackTable.of(rows.values(), vectors_of(there), archive.digest)
    size = own.write(layout.pack_table(chunk), table.to_bytes())
    LOG.debug("packed %s: %d clips, a table of %d bytes", chunk, len(rows), size)
    return Packing(
        packed=rows,
        written=tuple(each for clip in there for each in _receipts(clip, rows[clip.id], writing)),
        failures=tuple(each for each in outcomes if isinstance(each, Failure)),
    )


def table_there(path: str) -> PackTable | None:
    """The table that lies there; one that cannot be read is as good as none, but for its archive,
    of which nothing is known.
    """
    data = shelf.read_if_there(path)
    if data is None:
        return None
    try:
        return PackTable.read(data)
    except BadPack as error:
        LOG.error("%s %s: its chunk is written again", path, error)
        return PackTable.of((), {}, digest="unknown")


def _added(
    clips: Sequence[Clip], archive: Archive, before: PackTable | None, *, writing: Writing
) -> Iterator[PackedClip | Failure]:
    """Each clip, in the archive, or why it is not."""
    old = {} if before is None else {clip.id: clip for clip in before.clips()}
    for clip in clips:
        size, members = archive.tar.size, len(archive.members)
        add = partial(_add, clip, archive, old.get(clip.id), writing=writing)
        lost = partial(tuple[str, ...], [clip.id])
        [outcome] = guarded(STEP, clip.video.source, add, lost, weather=writing.weather)
        if archive.tar.broken is not None:
            raise archive.tar.broken  # this machine's disk is in trouble, and not the clip
        if isinstance(outcome, Failure):
            archive.rewind(size, members)
        yield outcome


def _add(
    clip: Clip, archive: Archive, old: PackedClip | None, *, writing: Writing
) -> Iterator[PackedClip]:
    layout = writing.layout
    document = serialise(clip_document(clip, layout))
    if old is not None and (old.document != document or old.pack is None):
        old = None
    for algorithm in clip.vectors if clip.kept else ():
        claim(writing.shelf, layout, algorithm, model_of(clip, algorithm))
    own = None
    if writing.upload_clips and clip.staged is not None and clip.file is not None:
        staged = Place(clip.staged, 0, clip.file.num_bytes)
        packed = None if old is None else Place(layout.below(old.pack or ""), old.offset, old.size)
        own = _add_one(archive, f"{clip.id}{CLIP}", staged, packed)
        if clip.file.sha256 not in ("", own.digest):
            raise ClipChanged(
                f"the file of clip {clip.id} is not the one that was cut (its SHA-256 is "
                f"{own.digest[:12]}… instead of {clip.file.sha256[:12]}…). Usually a disk is "
                "damaged, or another program wrote to the staging folder: run the same command "
                "again"
            )
    held = {} if old is None else {each.path: each for each in old.files}
    files = []
    for below, path in sorted(clip.artefacts.items()) if clip.kept else ():
        packed = None
        if old is not None and below in held:
            packed = Place(layout.below(old.pack or ""), held[below].offset, held[below].size)
        added = _add_one(archive, member_name(clip.id, below), Place(path), packed)
        files.append(Member(below, added.offset, added.size))
    yield PackedClip(
        id=clip.id,
        kept=clip.kept,
        document=document,
        pack=layout.pack(clip.chunk.id).removeprefix(layout.below("")) if own or files else None,
        offset=None if own is None else own.offset,
        size=None if own is None else own.size,
        files=tuple(files),
    )


def _add_one(archive: Archive, name: str, staged: Place, packed: Place | None) -> Added:
    """Add a file as it was staged; if a bundle is done again that had come further than this, from
    the pack in which it is.
    """
    try:
        return archive.add(name, staged)
    except FileNotFoundError:
        if packed is None or packed.offset is None:
            raise
        return archive.add(name, packed)


def _lies_there(before: PackTable, digest: str, path: Path, *, place: str) -> bool:
    """Whether the archive that lies there is the one that was made now."""
    names = {clip.pack for clip in before.clips() if clip.pack is not None}
    if before.digest != digest or not all(place.endswith(f"/{name}") for name in names):
        return False
    with contextlib.suppress(FileNotFoundError):
        return not digest or shelf.size_of(place) == path.stat().st_size
    return False


def withdraw(clip: Clip, writing: Writing) -> None:
    """Take back what is promised of the clip's chunk, whose archive is about to become another."""
    layout, source = writing.layout, clip.video.source
    writing.shelf.remove(
        layout.processed_video(source.relative),
        layout.processed_clip_chunk(source.relative, clip.chunk.index),
    )
    drop_rows([clip.chunk.id], layout, writing.shelf)


def _publish(path: Path, final: str, own: Shelf, has_members: bool) -> None:
    if has_members:
        own.publish(str(path), final)
    else:
        own.remove(final)


def vectors_of(clips: Sequence[Clip]) -> dict[str, Vectors]:
    """The vectors of kept clips by the names of their folders."""
    kept = [clip for clip in clips if clip.kept]
    found = {}
    for algorithm in sorted({name for clip in kept for name in clip.vectors}):
        having = [clip for clip in kept if algorithm in clip.vectors]
        said = facts(algorithm, model_of(having[0], algorithm))
        by_clip = {clip.id: clip.vectors[algorithm] for clip in having}
        found[embedding_folder(algorithm)] = Vectors(said, by_clip)
    return found


def _receipts(clip: Clip, row: PackedClip, writing: Writing) -> Iterator[Written]:
    layout, chunk = writing.layout, clip.chunk.id
    archive, table = layout.pack(chunk), layout.pack_table(chunk)

    def receipt(kind: str, path: str, size: int) -> Written:
        return Written(kind, clip.id, chunk=chunk, path=path, num_bytes=size)

    if row.size is not None:
        yield receipt(CLIPS, archive, row.size)
    yield from (receipt(ARTEFACTS, archive, each.size) for each in row.files)
    yield receipt(METAS, table, len(row.document))
    if clip.kept:
        yield from (receipt(EMBEDDINGS, table, FLOAT * len(v)) for v in clip.vectors.values())


# ── what is staged ───────────────────────────────────────────────────────────────────────────────


def staged_of(clip: Clip) -> list[str]:
    """The files of a clip that wait for being packed."""
    return [*([] if clip.staged is None else [clip.staged]), *clip.artefacts.values()]


def clear(clips: Iterable[Clip], writing: Writing) -> None:
    """Remove what was staged of clips that are packed; what stays, the run's end removes."""
    paths = [path for clip in clips for path in staged_of(clip)]
    with contextlib.suppress(OSError):
        writing.shelf.remove(*paths)


def within_reach(clip: Clip, writing: Writing) -> Clip:
    """The clip, its staged files where another machine can pack them. What cannot be put there is
    told of where it is missed.
    """

    def shared(path: str) -> str:
        if not writing.shelf.waits_here(path):
            return path
        there = attempted(partial(writing.shelf.share, Path(path)))
        return path if isinstance(there, Exception) else there

    return clip.replace(
        staged=None if clip.staged is None else shared(clip.staged),
        artefacts={below: shared(path) for below, path in clip.artefacts.items()},
    )

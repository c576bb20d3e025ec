"""Packs: the table of a chunk, the archives that it names, and what its clips have in them.

    a chunk's document ─▶ its table ─▶ clips, as files are checked ─▶ findings with places in packs
                              └─ Archive(path, by) ──┐
    packs/, listed ─────────── Archive(path) ────────┴─ by path ─▶ what no table names

Several chunks may share an archive, so whose it is, is asked for archives, not for owners.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from finecut.io.dataset.places import Place
from finecut.io.layout import chunk_id, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.on_disk import NotAFile
from finecut.io.tables.packs import BadPack, PackedClip, PackTable
from finecut.io.tables.shards import TAR
from finecut.transforms.catalogue.chunks import in_pack
from finecut.transforms.catalogue.rows import Whereabouts, row_of
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.catalogue import digests_of, named_in
from finecut.transforms.verify.checks.clips import Chunk
from finecut.transforms.verify.checks.documents import document_in
from finecut.transforms.verify.checks.findings import (
    ANYTHING,
    Checked,
    Claim,
    Finding,
    Told,
    Verifying,
    share_of,
)
from finecut.transforms.verify.checks.held import Packed, wrong_with_end, wrong_with_member
from finecut.transforms.verify.checks.shapes import Document
from finecut.transforms.verify.checks.vectors import Signed, Table, check_table, models_of

LISTS: Final = ("clips", "filtered_clips")


@dataclass(frozen=True)
class Archive:
    """A file in ``packs/``, and what speaks of it: nothing, of one that lies there."""

    path: str
    by: str = ""


Check = Callable[[Chunk, Verifying], Iterator[Any]]


def check_packed(
    chunk: Chunk, relative: str, check_clips: Check, verifying: Verifying
) -> Iterator[Any]:
    """All that is to be said of the clips of a chunk, which lie in its pack."""
    listed = {id: key == "clips" for key in LISTS for id in chunk.document[key]}
    if not listed:
        return
    name = table_of(chunk, verifying)
    yield Archive(name, chunk.path)
    held = held_at(name, verifying)
    if isinstance(held, Finding):
        yield held
        yield from _anything(listed, chunk)
        return
    yield from (Archive(path, chunk.path) for path in held.archives)
    yield from _wrong_with_rows(held, listed)
    yield from _wrong_in_archives(held, verifying)
    for outcome in check_clips(chunk, replace(verifying, files=held)):
        if isinstance(outcome, Finding):
            yield replace(outcome, path=held.named(outcome.path))
        elif not isinstance(outcome, Claim):
            yield outcome
    for owned in _owned(chunk, relative, held, verifying):
        yield owned if isinstance(owned, Claim) else (share_of(owned.owner), owned)


def owned_in_pack(chunk: Chunk, relative: str, verifying: Verifying) -> Iterator[Claim | Told]:
    """What a chunk promises of its clips, and what their rows in the catalogue have to be."""
    listed = [id for key in LISTS for id in chunk.document[key]]
    held = held_at(table_of(chunk, verifying), verifying) if listed else None
    if isinstance(held, Packed):
        yield from _owned(chunk, relative, held, verifying)
    else:
        yield from _anything(listed, chunk)


def _anything(ids: Iterable[str], chunk: Chunk) -> Iterator[Claim]:
    return (Claim(id, chunk.path, (ANYTHING,)) for id in ids if is_clip_id(id))


def table_of(chunk: Chunk, verifying: Verifying) -> str:
    key = chunk_id(chunk.document["video"], chunk.index)
    return verifying.below(verifying.layout.pack_table(key))


def held_at(name: str, verifying: Verifying) -> Packed | Finding:
    """What the table says that lies there, or what is wrong with it."""
    try:
        data = shelf.read_if_there(verifying.layout.below(name))
        if data is None:
            return Finding("table-missing", name, "is missing", "a document of its chunk is there")
        return Packed.of(name, PackTable.read(data), verifying.layout)
    except (BadPack, NotAFile, pa.ArrowException) as error:
        return Finding("table-broken", name, str(error)[:200], "should be the table of a pack")


def _owned(
    chunk: Chunk, relative: str, held: Packed, verifying: Verifying
) -> Iterator[Claim | Told]:
    """Where each clip lies, as its table says, and what its row has to be."""
    layout, key = verifying.layout, chunk_id(chunk.document["video"], chunk.index)
    video = usable_json(layout.processed_video(relative))
    having = {folder: {*held.table.vectors(folder)} for folder in held.table.folders()}
    for id, kept in ((id, key == "clips") for key in LISTS for id in chunk.document[key]):
        clip = held.rows.get(id)
        document = {} if clip is None else _document_of(clip)
        if clip is None or not document:
            yield Claim(id, chunk.path, (ANYTHING,))
            continue
        folders = [folder for folder, ids in having.items() if kept and id in ids]
        where = in_pack(Whereabouts(relative, key, kept), clip, folders, layout)
        row = row_of(document, where, video or {}, id)
        places = tuple(named_in(row))
        yield Claim(id, chunk.path, places, places)
        if verifying.has_catalogue:
            digest, facts = digests_of(row)
            yield Told(id, f"{held.name} ({id})", digest, facts if video else "")


def _document_of(clip: PackedClip) -> Document:
    """Its document, empty if it is none; what is wrong with it is said when clips are checked."""
    document, wrong = document_in(clip.document, clip.id, "a document of a clip", shapes.CLIP)
    return {} if wrong else document


def _wrong_with_rows(held: Packed, listed: Mapping[str, bool]) -> Iterator[Finding]:
    """Rows of a table against the list of its chunk's document."""
    should = "should have one row for each clip that the document of its chunk lists"
    for id in held.doubled():
        yield Finding("table-differs", held.name, f"has several rows of {id}", should)
    for id, clip in held.rows.items():
        if id not in listed:
            yield Finding("table-differs", held.name, f"has a row of {id}", should)
        elif clip.kept != listed[id]:
            verdict = "kept" if clip.kept else "rejected"
            wrong = "lists it among the others"
            yield Finding("table-differs", held.name, f"says that {id} is {verdict}", wrong)


def _wrong_in_archives(held: Packed, verifying: Verifying) -> Iterator[Finding]:
    """Whether the archives are there that a table names, and have what it says where it says."""
    there = {}
    for path in held.archives:
        there[path] = shelf.exists(verifying.layout.below(path))
        if not there[path]:
            yield Finding("pack-broken", path, "is missing", f"{held.name} names it")
    members = [(path, place) for path, place in held.members.items() if there.get(place.path)]

    def wrong_with(member: tuple[str, Place]) -> tuple[str, str] | None:
        path, place = member
        below = verifying.layout.below(place.path)
        return wrong_with_member(place._replace(path=below), held.in_archive[path])

    for (path, _), wrong in zip(members, verifying.each(wrong_with, members), strict=True):
        if wrong is not None:
            yield Finding("pack-differs", held.named(path), *wrong)


# ── archives ─────────────────────────────────────────────────────────────────────────────────────


def check_archive(path: str, verifying: Verifying) -> Iterator[Finding | Archive | Checked]:
    """A file in the folder of packs, by itself."""
    yield Archive(verifying.below(path))
    if not path.endswith(TAR):
        return
    yield Checked({"archives": 1})
    if (wrong := wrong_with_end(path)) is not None:
        yield Finding("pack-broken", verifying.below(path), *wrong)


def wrong_with_archive(path: str, by: Iterable[str]) -> Iterator[Finding]:
    """Whether anything speaks of a file in the folder of packs.

    >>> [*wrong_with_archive("packs/a.tar", ["", "processed_clip_chunks/a.mp4_0.json"])]
    []
    """
    if not any(by):
        yield Finding(
            "orphan", path, "belongs to no chunk", "no document of a chunk, and no table, names it"
        )


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────


def vectors_in_pack(chunk: Chunk, verifying: Verifying) -> Iterator[Finding | Signed | Checked]:
    """The vectors of all kept clips of a chunk, of every model: columns of its table."""
    held = verifying.files
    assert isinstance(held, Packed)
    kept = {clip.id: clip for clip in chunk.clips if clip.kept}
    promised = {folder for clip in kept.values() for folder in models_of(clip)}
    for folder in sorted({*verifying.vectors, *promised, *held.table.folders()}):
        try:
            rows = held.table.vectors(folder)
        except (pa.ArrowException, ValueError, AttributeError) as error:
            wrong = f"its column {folder} has no vectors ({str(error)[:200]})"
            yield Finding("table-broken", held.name, wrong, "should be lists of numbers")
            continue
        facts = held.table.facts.get(folder, {})
        table = Table(held.name, [*rows], [*rows.values()], facts)
        if rows:
            yield from check_table(table, folder, kept, verifying)
        chunk.num_vectors += len(rows)
        chunk.with_vectors |= {*kept} & {*rows}
        for id in sorted({id for id, clip in kept.items() if folder in models_of(clip)} - {*rows}):
            yield Finding(
                "vector-missing",
                f"{held.name} ({id})",
                f"has no vector in the column {folder}",
                "its clip's document names the model of its vector",
            )
    yield Checked({"vectors": chunk.num_vectors})

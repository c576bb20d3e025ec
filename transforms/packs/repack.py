"""Repacking: archives lose what nobody wants any more, and small ones are put together.

    tables of all chunks ─▶ groups of chunks ─▶ for each group
        packs/<digest>.tar             files of kept clips, as they lie in the old archives
        packs/<chunk>.parquet          of each chunk: names the new archive
        catalogue/chunks/<chunk>.…     the chunk's rows
        old archives                   removed, when no table names them

A new archive has a name of its own, so until a chunk's table is replaced, in one step, all that it
says is true. Killed anywhere, some chunks are in the new archive and some in the old ones; archives
that no table names are removed by the next one.

What is dropped are files of clips that are rejected, and of those that no document of a chunk lists
any more. Rejected clips keep their documents.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from finecut.io.dataset.output import Output, chunk_named, clips_named, read_document
from finecut.io.dataset.places import Place
from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.packs import CLIP, Member, PackedClip, member_name
from finecut.io.tables.shards import Tar
from finecut.transforms.beam.metrics import count
from finecut.transforms.catalogue.chunks import enter, rows_at
from finecut.transforms.packs.mending import mend_rows
from finecut.transforms.write.archive import Archive

#: Tables that are read at the same time.
READERS: Final = 8
#: What tables say of archives that were repacked: they are not those of their chunks.
REPACKED: Final = "repacked"


class Held(NamedTuple):
    """A chunk, and what its archives hold of it."""

    #: The path of its document.
    path: str
    archives: tuple[str, ...]
    #: Bytes of files that are wanted, and of those that are not.
    wanted: int
    unwanted: int


@dataclass(frozen=True)
class Group:
    """Chunks whose files are to lie in one archive."""

    paths: tuple[str, ...]
    #: Also files that nobody wants any more.
    everything: bool = False


class Regrouped(NamedTuple):
    """What became of a group."""

    chunks: int
    dropped: int


def groups(output: Output, least: int) -> Iterator[Group]:
    """The chunks that have to be repacked: those of an archive that holds what nobody wants, and of
    archives together that hold less than ``least`` bytes each.
    """
    archives: dict[tuple[str, ...], list[Held]] = {}
    for held in in_order(lambda path: held_of(path, output), output.chunks(), READERS):
        if held.archives:
            archives.setdefault(held.archives, []).append(held)
    waiting: list[Held] = []
    for chunks in archives.values():
        if sum(each.wanted for each in chunks) >= least:
            yield from _group(chunks)
            continue
        waiting += chunks
        if sum(each.wanted for each in waiting) >= least:
            yield from _group(waiting)
            waiting = []
    yield from _group(waiting)


def _group(chunks: Sequence[Held]) -> Iterator[Group]:
    """A group, unless it is as it should be: all in one archive, and nothing else there."""
    if len({each.archives for each in chunks}) > 1 or any(each.unwanted for each in chunks):
        yield Group(tuple(each.path for each in chunks))


def held_of(path: str, output: Output) -> Held:
    """What archives hold of the chunk whose document lies there."""
    said = read_document(path)
    kept = dict(clips_named(said, path))
    rows = list(output.pack(chunk_named(said, path)).values()) if kept else []
    wanted = sum(_bytes(row) for row in rows if kept.get(row.id))
    archives = sorted({row.pack for row in rows if row.pack})
    return Held(path, tuple(archives), wanted, sum(map(_bytes, rows)) - wanted)


def _bytes(row: PackedClip) -> int:
    return (row.size or 0) + sum(each.size for each in row.files)


def regroup(group: Group, output: Output, own: Shelf) -> Regrouped:
    """Write the archive of a group, then what says what lies where in it."""
    layout, dropped = output.layout, 0
    chunks: dict[str, list[PackedClip]] = {}
    with own.bench() as bench:
        path = bench / "pack.tar"
        with path.open("wb") as file:
            archive = Archive(Tar(file))
            for document in group.paths:
                said = read_document(document)
                kept, chunk = dict(clips_named(said, document)), chunk_named(said, document)
                rows = list(output.pack(chunk).values())
                wanted = {row.id for row in rows if group.everything or kept.get(row.id)}
                chunks[chunk] = [
                    _moved(replace(row, kept=kept[row.id]), row.id in wanted, archive, output)
                    for row in rows
                    if row.id in kept
                ]
                dropped += sum(1 for row in rows if row.pack and row.id not in wanted)
            archive.tar.close()
        name = layout.below(f"packs/{archive.digest[:32]}.tar")
        if archive.members:
            own.publish(str(path), name)
        path.unlink(missing_ok=True)
    pack = layout.inside(name)
    for document, (chunk, rows) in zip(group.paths, chunks.items(), strict=True):
        moved = [replace(row, pack=pack if row.pack is not None else None) for row in rows]
        table = output.table(chunk).with_clips(moved, REPACKED)
        own.write(layout.pack_table(chunk), table.to_bytes())
        enter(chunk, rows_at(document, output)[1], layout, own)
    count("chunks repacked", len(chunks))
    return Regrouped(len(chunks), dropped)


def _moved(row: PackedClip, wanted: bool, archive: Archive, output: Output) -> PackedClip:
    """A clip with its files in the new archive, if they are wanted."""
    if not wanted or row.pack is None:
        return replace(row, pack=None, offset=None, size=None, files=())
    old = output.layout.below(row.pack)
    own = None
    if row.offset is not None:
        own = archive.add(f"{row.id}{CLIP}", Place(old, row.offset, row.size))
    files = []
    for each in row.files:
        added = archive.add(member_name(row.id, each.path), Place(old, each.offset, each.size))
        files.append(Member(each.path, added.offset, added.size))
    return replace(
        row,
        offset=None if own is None else own.offset,
        size=None if own is None else own.size,
        files=tuple(files),
    )


def unnamed(output: Output, without: Collection[str] = ()) -> list[str]:
    """Archives that no table names, or none but those of the chunks that are left out."""
    files = shelf.files_in(output.layout.packs())
    chunks = [Path(path).stem for path in files if path.endswith(".parquet")]
    chunks = [chunk for chunk in chunks if chunk not in without]
    named = {
        output.layout.below(row.pack)
        for rows in in_order(lambda chunk: list(output.pack(chunk).values()), chunks, READERS)
        for row in rows
        if row.pack
    }
    return [path for path in files if path.endswith(".tar") and path not in named]


def settle(output: Output, own: Shelf) -> int:
    """Remove them, when the catalogue names none of them either; how many there were."""
    paths = unnamed(output)
    mend_rows(output, own, going=paths)
    own.remove(*paths)
    return len(paths)

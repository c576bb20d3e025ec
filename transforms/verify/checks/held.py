"""Where what belongs to the clips of a chunk lies: in files, or in a pack.

Checks ask for it by the paths that it has among files (``metas/v0/….json``, ``clips/….mp4``,
``previews/…``); of a packed dataset, the table of the chunk says where in which archive that is.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from finecut.io.dataset.output import CLIP
from finecut.io.dataset.places import Place
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.tables.packs import PackedClip, PackTable, member_name

#: Pieces of a member that are read together.
PIECE: Final = 4 << 20


class Files:
    """Each is a file."""

    def place(self, path: str, layout: Layout) -> Place | None:
        """Where it lies, or would; ``None`` if it is known that it does not."""
        return Place(layout.below(path))

    def read(self, path: str, layout: Layout) -> bytes | None:
        """Its bytes: fewer, where they end too early, and ``None`` if there are none."""
        return shelf.read_if_there(layout.below(path))

    def may_have(self, folder: str, folders: frozenset[str]) -> bool:
        """Whether there may be files of a folder; ``folders`` are those of the output."""
        return folder in folders

    def named(self, path: str) -> str:
        """What findings call it."""
        return path


@dataclass(frozen=True)
class Packed(Files):
    """Each lies in the pack of a chunk."""

    #: The path of its table, below the root.
    name: str
    table: PackTable
    rows: Mapping[str, PackedClip] = field(default_factory=dict)
    #: What lies in archives, and what is written in the table, by the paths of files.
    members: Mapping[str, Place] = field(default_factory=dict)
    documents: Mapping[str, bytes] = field(default_factory=dict)
    #: What findings call each of them, and archives.
    names: Mapping[str, str] = field(default_factory=dict)
    in_archive: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, table: PackTable, layout: Layout) -> "Packed":
        """What a chunk's table, which lies there, says; paths of archives are below the root."""
        rows = {clip.id: clip for clip in table.clips()}
        members: dict[str, Place] = {}
        documents, names, in_archive = {}, {}, {}
        for clip in rows.values():
            meta = layout.inside(layout.meta(clip.id))
            documents[meta], names[meta] = clip.document, f"{name} ({clip.id})"
            for path, member, place in _members_of(clip, layout):
                members[path], in_archive[path] = place, member
                names[path] = f"{place.path} ({member})"
        return cls(
            name,
            table,
            rows=rows,
            members=members,
            documents=documents,
            names=names,
            in_archive=in_archive,
        )

    def place(self, path: str, layout: Layout) -> Place | None:
        place = self.members.get(path)
        return None if place is None else place._replace(path=layout.below(place.path))

    def read(self, path: str, layout: Layout) -> bytes | None:
        if path in self.documents:
            return self.documents[path]
        place = self.place(path, layout)
        if place is None:
            return None
        try:
            return b"".join(place.pieces(PIECE))
        except FileNotFoundError:
            return None

    def may_have(self, folder: str, folders: frozenset[str]) -> bool:
        return any(path.startswith(f"{folder}/") for path in self.members)

    def named(self, path: str) -> str:
        return self.names.get(path, path)

    @property
    def archives(self) -> list[str]:
        """The archives that its rows name."""
        return sorted({clip.pack for clip in self.rows.values() if clip.pack})

    def doubled(self) -> list[str]:
        """The ids of clips with several rows."""
        ids = Counter(self.table.table["id"].to_pylist())
        return sorted(id for id, number in ids.items() if number > 1)


def _members_of(clip: PackedClip, layout: Layout) -> Iterator[tuple[str, str, Place]]:
    """The path, the name in the archive, and the place of each file of a clip."""
    pack = clip.pack or ""
    if clip.offset is not None:
        path = layout.inside(layout.clip(clip.id, clip.kept))
        yield path, f"{clip.id}{CLIP}", Place(pack, clip.offset, clip.size)
    for each in clip.files:
        place = Place(pack, each.offset, each.size)
        yield each.path, member_name(clip.id, each.path), place


def wrong_with_member(place: Place, name: str) -> tuple[str, str] | None:
    """What is wrong with a member of an archive by its header, and what it should be."""
    start = (place.offset or 0) - tarfile.BLOCKSIZE
    header = shelf.read_part(place.path, max(0, start), tarfile.BLOCKSIZE)
    try:
        said = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    except tarfile.HeaderError:
        return "there is no file at that place of the archive", f"should be {name}"
    if (said.name, said.size) != (name, place.size):
        return (
            f"at that place is {said.name}, {said.size:,} bytes",
            f"should be {name}, {place.size:,} bytes",
        )
    return None


def wrong_with_end(path: str) -> tuple[str, str] | None:
    """Whether an archive ends as tars do: with two empty blocks."""
    size, least = shelf.size_of(path), 2 * tarfile.BLOCKSIZE
    end = shelf.read_part(path, max(0, size - least), least)
    if size % tarfile.BLOCKSIZE or end != bytes(least):
        return f"ends after {size:,} bytes, within a file", "should end with two empty blocks"
    return None

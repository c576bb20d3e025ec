"""Packs: the files of a chunk's clips in one archive, and all that is known of them in one table.

packs/<chunk>.tar       <clip>.mp4, <clip>.previews.0_255.webp, <clip>.thumbnails.jpg, …
packs/<chunk>.parquet   a row for each clip, in the order of the video: its document, where its
                        files lie in an archive, and its vectors

The table is a chunk's, whichever archive its rows name: :mod:`finecut.transforms.repack` puts the
files of several chunks into one. What changes later (a verdict, a document) changes the table and
no archive. The archive is written before the table, and neither has anything in it of the time, the
machine or the user.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finecut.io.layout import OF_VECTORS, check_relative, is_clip_id
from finecut.io.tables.parquet import PREFIX, to_parquet

#: Counts up when a table means something else than it used to.
VERSION: Final = 1
VERSION_KEY, FACTS_KEY, DIGEST_KEY = (f"{PREFIX}{name}" for name in ("packs", "vectors", "tar"))
KEPT, REJECTED = "kept", "rejected"
CLIP: Final = ".mp4"

Floats = NDArray[np.float32]
Facts = Mapping[str, str]

_MEMBERS: Final = pa.list_(
    pa.struct([("path", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])
)
SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("verdict", pa.string()),
        ("document", pa.string()),
        ("pack", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("files", _MEMBERS),
    ]
)
_VECTOR: Final = pa.list_(pa.float32())


class BadPack(ValueError):
    """A table that is none of packs; the message says what is wrong (``is no table …``)."""


class Member(NamedTuple):
    """A file in an archive, by the path that it has as a file of its own."""

    path: str
    offset: int
    size: int


@dataclass(frozen=True)
class PackedClip:
    """A clip in a pack."""

    id: str
    kept: bool
    document: bytes
    #: The archive of its files, below the dataset; nothing if it has none.
    pack: str | None = None
    #: Where in it the clip's own file lies, if it has one.
    offset: int | None = None
    size: int | None = None
    files: tuple[Member, ...] = ()


class Vectors(NamedTuple):
    """Vectors of one model by clip, and what is known of the model."""

    facts: Facts
    of_clips: Mapping[str, Sequence[float] | Floats]


def member_name(clip: str, path: str) -> str:
    """What a file of a clip is called in an archive. What stands before the first dot is the key by
    which WebDataset knows what belongs together.

    >>> member_name("d2d0", "thumbnails/d2d0.jpg"), member_name("d2d0", "previews/d2d0/0_255.webp")
    ('d2d0.thumbnails.jpg', 'd2d0.previews.0_255.webp')
    """
    folder, _, name = path.partition("/")
    return f"{clip}.{folder}.{name.removeprefix(clip).lstrip('./')}"


@dataclass(frozen=True)
class PackTable:
    """The table of a chunk."""

    table: pa.Table

    @classmethod
    def of(
        cls, clips: Iterable[PackedClip], vectors: Mapping[str, Vectors], digest: str = ""
    ) -> "PackTable":
        """The table of these clips; ``vectors`` by the names of their folders, and ``digest`` tells
        archives with other bytes apart.
        """
        clips = list(clips)
        columns: dict[str, pa.Array] = {
            field.name: pa.array([_value(clip, field.name) for clip in clips], field.type)
            for field in SCHEMA
        }
        for folder, one in sorted(vectors.items()):
            columns[folder] = pa.array([one.of_clips.get(clip.id) for clip in clips], _VECTOR)
        facts = {folder: dict(one.facts) for folder, one in sorted(vectors.items())}
        said = {VERSION_KEY: str(VERSION), FACTS_KEY: json.dumps(facts), DIGEST_KEY: digest}
        return cls(pa.table(columns).replace_schema_metadata(said))

    @classmethod
    def read(cls, data: bytes, columns: Sequence[str] | None = None) -> "PackTable":
        """The table that these bytes are, or those of these columns that it has, or
        :class:`BadPack`.
        """
        try:
            file = pq.ParquetFile(io.BytesIO(data))
            there = file.schema_arrow.names
            wanted = None if columns is None else [name for name in columns if name in there]
            table = file.read(columns=wanted, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise BadPack(f"is not a Parquet table ({error})") from error
        version = (table.schema.metadata or {}).get(VERSION_KEY.encode(), b"")
        if not version.isdigit() or (columns is None and not {*SCHEMA.names} <= {*there}):
            raise BadPack("is not the table of a pack")
        if int(version) > VERSION:
            raise BadPack(
                f"is of version {int(version)} of packs, and this finecut knows version {VERSION}: "
                "install a later one"
            )
        if columns is None:
            _refuse_foreign(table)
        return cls(table)

    @property
    def digest(self) -> str:
        return self._said(DIGEST_KEY)

    @property
    def facts(self) -> dict[str, Facts]:
        """What is known of the models of its vectors, by folder."""
        found = json.loads(self._said(FACTS_KEY) or "{}")
        return {folder: dict(facts) for folder, facts in found.items()}

    def _said(self, key: str) -> str:
        return str((self.table.schema.metadata or {}).get(key.encode(), b"").decode())

    def clips(self) -> list[PackedClip]:
        """Its rows, in order."""
        return [
            PackedClip(
                id=row["id"],
                kept=row["verdict"] == KEPT,
                document=row["document"].encode(),
                pack=row["pack"],
                offset=row["offset"],
                size=row["size"],
                files=tuple(Member(**member) for member in row["files"] or ()),
            )
            for row in self.table.select(SCHEMA.names).to_pylist()
        ]

    def folders(self) -> list[str]:
        """The folders whose vectors it has."""
        return [name for name in self.table.column_names if name.endswith(OF_VECTORS)]

    def vectors(self, folder: str) -> dict[str, Floats]:
        """The vectors of a folder by clip, in order; none if it has none."""
        return vectors_in(self.table, folder) if folder in self.table.column_names else {}

    def with_clips(self, clips: Iterable[PackedClip], digest: str | None = None) -> "PackTable":
        """The same vectors with other rows: of all these clips, or of some."""
        wanted = list(clips)
        vectors = {
            folder: Vectors(facts, self.vectors(folder)) for folder, facts in self.facts.items()
        }
        return PackTable.of(wanted, vectors, self.digest if digest is None else digest)

    def to_bytes(self) -> bytes:
        return to_parquet(self.table, compression="zstd")


def _refuse_foreign(table: pa.Table) -> None:
    """Refuse names that lead elsewhere, as nobody's but a foreign table has them."""
    rows = table.select(["id", "pack", "files"]).to_pylist()
    paths = {row["pack"] for row in rows} | {each["path"] for row in rows for each in row["files"]}
    try:
        for name in (*filter(None, paths), *table.column_names):
            check_relative(name)
    except ValueError as error:
        raise BadPack(f"cannot be used: {error}") from error
    if not all(is_clip_id(row["id"]) for row in rows):
        raise BadPack("has a clip whose id is none")


def vectors_in(table: pa.Table, column: str) -> dict[str, Floats]:
    """The vectors in this column by the column ``id``, of rows that have one; an Arrow error, if it
    has no lists of numbers.
    """
    ids, found = table["id"].to_pylist(), table[column].combine_chunks().cast(_VECTOR)
    return {
        id: np.asarray(vector.values, np.float32)
        for id, vector in zip(ids, found, strict=True)
        if vector.is_valid
    }


def _value(clip: PackedClip, column: str) -> Any:
    if column == "verdict":
        return KEPT if clip.kept else REJECTED
    if column == "document":
        return clip.document.decode()
    value = getattr(clip, column)
    return [member._asdict() for member in value] if column == "files" else value

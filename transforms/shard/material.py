"""The material of shards: which clips are wanted, and what a clip's members are made of."""

import hashlib
import io
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from finecut.io.dataset.output import Entry, NoDataset, Output
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.parquet import rows_of
from finecut.io.tables.shards import ShardFolder, size_in_tar
from finecut.transforms.filter.rules import Rule
from finecut.transforms.shard.bins import Binning
from finecut.transforms.shard.plan import DIGEST_BYTES

#: In place of a caption or an embedder: none of them.
NONE: Final = "none"
#: Members are named by ids, and what follows the first dot is taken for the kind of member.
_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


class ClipChanged(Exception):
    """A clip is not what the dataset says, or said a moment ago."""


@dataclass(frozen=True)
class Sharding:
    """Which clips of which dataset are wanted, and where they go."""

    output: Output
    folder: ShardFolder
    shelf: Shelf
    rules: tuple[Rule, ...] = ()
    #: Clips without these are left out.
    needs: tuple[str, ...] = ()
    #: Take those that are marked, too.
    invalid: bool = False
    #: Which caption goes along: empty for the first that a clip has, or ``none``.
    caption: str = ""
    #: Whose vectors go along, if any.
    algorithm: str | None = None
    bins: Binning = field(default_factory=Binning)
    seed: int = 0
    #: A list of clips to leave out, as :mod:`finecut.io.tables.drops` reads them.
    drops: str | None = None
    #: Whether somebody wants to know which clips went for another one.
    grouped: bool = False
    threads: int = 6


class Material(NamedTuple):
    """What a clip's members are made of; its film stays where it is."""

    entry: Entry
    document: bytes
    caption: str | None
    vector: Vector | None
    num_bytes: int
    #: What the document says of the film's bytes; or, if it says nothing, the file's version.
    film: str

    @property
    def small(self) -> dict[str, bytes]:
        """The members after the film."""
        id = self.entry.id
        members = {f"{id}.json": self.document}
        if self.caption is not None:
            members[f"{id}.txt"] = self.caption.encode()
        if self.vector is not None:
            members[f"{id}.npy"] = npy(self.vector)
        return members

    @property
    def size(self) -> int:
        """Bytes of all members in an archive."""
        sizes = {name: len(data) for name, data in self.small.items()}
        return size_in_tar({f"{self.entry.id}.mp4": self.num_bytes, **sizes})

    @property
    def digest(self) -> str:
        said = hashlib.sha256(f"{self.entry.id} {self.num_bytes} {self.film}".encode())
        for name, data in self.small.items():
            said.update(f" {name} {len(data)} ".encode())
            said.update(data)
        return said.hexdigest()[: 2 * DIGEST_BYTES]


def npy(vector: Vector) -> bytes:
    """A vector as a ``.npy`` file."""
    out = io.BytesIO()
    np.lib.format.write_array(out, vector, version=(1, 0), allow_pickle=False)
    return out.getvalue()


def caption_of(entry: Entry, wanted: str) -> str | None:
    """The text that goes along with a clip, if it has one."""
    said = {} if wanted == NONE else entry.captions
    if wanted:
        said = {name: said[name] for name in (wanted, f"{wanted}_caption") if name in said}
    return next(map(storable, said.values()), None)


def storable(text: object) -> str:
    r"""The text as UTF-8 can say it: names of files need not be, and models say what they like.

    >>> storable("a\udcff.mp4")
    'a\\udcff.mp4'
    """
    return str(text).encode(errors="backslashreplace").decode()


class Tables:
    """Vectors, by chunk; a table that was read is kept for the clips that follow."""

    KEPT: Final = 32

    def __init__(self, output: Output, algorithm: str | None) -> None:
        self._output, self._algorithm = output, algorithm
        self._read: dict[str, Mapping[str, Vector]] = {}
        #: Clips are fetched by several threads.
        self._lock = threading.Lock()

    def vector(self, clip: str, chunk: str) -> Vector | None:
        if self._algorithm is None:
            return None
        with self._lock:
            table = self._read.get(chunk)
        if table is None:
            table = _vectors_in(self._output.layout.embedding_parquet(self._algorithm, chunk))
            with self._lock:
                while len(self._read) >= self.KEPT:
                    del self._read[next(iter(self._read))]
                self._read[chunk] = table
        return table.get(clip)


def _vectors_in(path: str) -> dict[str, Vector]:
    data = shelf.read_if_there(path)
    try:
        rows = [] if data is None else rows_of(data)
        return {id: np.asarray(v, np.float32) for id, v in rows if v}
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise NoDataset(
            f"{path} is not a table of vectors ({error}). Usually a copy was cut short: finecut "
            "verify lists everything that is wrong"
        ) from error


def entry_of(clip: str, chunk: str, output: Output) -> Entry:
    if not _KEY.fullmatch(clip):
        raise NoDataset(
            f"{clip!r} cannot be the name of a clip's files: ids consist of letters, digits, - "
            "and _. Usually the document that lists it was not written by finecut"
        )
    return output.entry(clip, True, chunk)


def material_of(entry: Entry, sharding: Sharding, tables: Tables) -> Material:
    """What the clip's members are made of; its file has to be what the document says."""
    said = entry.document
    try:
        size = shelf.size_of(entry.path)
        film = str(said.get("sha256") or shelf.version_of(entry.path))
    except FileNotFoundError as error:
        raise ClipChanged(
            f"{entry.path} is missing, although its document says that it exists. Usually files "
            "were removed by hand, or a copy is incomplete: copy it again, or curate its video "
            "again"
        ) from error
    if size != said.get("num_bytes", size):
        raise ClipChanged(
            f"{entry.path} has {size} bytes instead of the {said['num_bytes']} in its document. "
            "Usually a copy was cut short: copy it again, or curate its video again"
        )
    return Material(
        entry=entry,
        # Not by serialise(): documents of others may hold numbers that ours must not.
        document=json.dumps(dict(said), indent=4).encode("ascii"),
        caption=caption_of(entry, sharding.caption),
        vector=tables.vector(entry.id, entry.chunk),
        num_bytes=size,
        film=film,
    )

"""The material of shards: which clips are wanted, which bin each goes to, and what a clip's members
are made of.

    bins = binning(["resolution", "duration"], {"duration": (2, 10)})
    bins.bin_of(1280, 720, 4.0)                  # 'res720-1080_sec2-10'

The first bin of an axis has no lower edge and the last none above, so every clip has one; what is
not known of a clip is a bin of its own.
"""

import hashlib
import io
import math
import re
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from finecut.io.dataset.output import Entry, Output
from finecut.io.dataset.places import NoDataset
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.shards import ShardFolder, size_in_tar
from finecut.transforms.filter.rules import Rule
from finecut.transforms.shard.plan import DIGEST_BYTES
from finecut.transforms.write.documents import document_bytes, told_of_document

#: Tables of chunks that are kept for the clips that follow.
KEPT_TABLES: Final = 32
#: In place of a caption or an embedder: none of them.
NONE: Final = "none"
#: Members are named by ids, and what follows the first dot is taken for the kind of member.
_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

RESOLUTION, ASPECT, DURATION = AXES = ("resolution", "aspect", "duration")
#: Where bins of an axis end and the next begin: pixels of the shorter side, width by height,
#: seconds.
EDGES: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {RESOLUTION: (480, 720, 1080), ASPECT: (0.8, 1.25), DURATION: (2, 5, 10, 30)}
)
#: How an axis is called in the name of a bin.
SHORT: Final = MappingProxyType({RESOLUTION: "res", ASPECT: "aspect", DURATION: "sec"})
UP, UNKNOWN = "up", "unknown"

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


class ClipChanged(Exception):
    """A clip is not what the dataset says, or said a moment ago."""


@dataclass(frozen=True)
class Binning:
    """The axes that clips are sorted by, each with its edges; none: all are in one bin."""

    axes: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def bin_of(self, width: float | None, height: float | None, seconds: float | None) -> str:
        """The name of a clip's bin: a folder, or nothing where there are no bins.

        >>> binning(["aspect"]).bin_of(1080, 1920, 4.0)
        'aspect0-0.8'
        """
        return "_".join(
            _place(axis, edges, (seconds,) if axis == DURATION else (width, height))
            for axis, edges in self.axes
        )


def binning(
    names: Collection[str], edges: Mapping[str, Sequence[float]] = MappingProxyType({})
) -> Binning:
    """Bins by these axes, in their usual order; edges that are not given are the usual ones."""
    return Binning(
        tuple((axis, tuple(edges.get(axis) or EDGES[axis])) for axis in AXES if axis in names)
    )


def parse_edges(words: Sequence[str]) -> tuple[float, ...]:
    """Edges as they are written in a command, in rising order, or a ``ValueError``.

    >>> parse_edges(["2", "7.5"])
    (2.0, 7.5)
    """
    try:
        edges = tuple(map(float, words))
    except ValueError:
        edges = ()
    rising = all(one < other for one, other in zip((0.0, *edges), edges, strict=False))
    if len(edges) != len(words) or not rising or not all(map(math.isfinite, edges)):
        raise ValueError(
            f"{' '.join(words)!r} cannot be edges: give numbers above 0, each larger than the "
            "one before, as in 2 5 10"
        )
    return edges


def _place(axis: str, edges: Sequence[float], sizes: Sequence[float | None]) -> str:
    """The name of the bin on one axis, of a clip of this duration or of this width and height."""
    known = [n for n in sizes if isinstance(n, int | float) and math.isfinite(n) and n > 0]
    if len(known) < len(sizes):
        return f"{SHORT[axis]}-{UNKNOWN}"
    index = bisect_right(edges, known[0] / known[1] if axis == ASPECT else min(known))
    below = f"{edges[index - 1]:.12g}" if index else "0"
    above = f"{edges[index]:.12g}" if index < len(edges) else UP
    return f"{SHORT[axis]}{below}-{above}"


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
    #: How many bytes documents take to say where the dataset was written.
    place_bytes: int = 0
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
        others = small_members(self.entry.id, self.caption, self.vector)
        return {f"{self.entry.id}.json": self.document, **others}

    @property
    def members(self) -> "Members":
        return members_of(self.num_bytes, self.film, self.entry.document, self.small)


class Told(NamedTuple):
    """What the plan has to know of a document."""

    num_bytes: int
    digest: str


class Members(NamedTuple):
    """What the plan has to know of a clip's members; of the film and the document, no more than
    their sizes and digests."""

    num_bytes: int
    film: str
    document: Told
    others: Mapping[str, bytes]

    def size(self, clip: str) -> int:
        """Bytes of all members in an archive."""
        large = {f"{clip}.mp4": self.num_bytes, f"{clip}.json": self.document.num_bytes}
        return size_in_tar(large | {name: len(data) for name, data in self.others.items()})

    def digest(self, clip: str) -> str:
        """Stands for all bytes of all members."""
        said = f"{clip} {self.num_bytes} {self.film} {self.document.digest}".encode()
        for name, data in self.others.items():
            said += f" {name} {len(data)} ".encode() + data
        return hashlib.sha256(said).hexdigest()[: 2 * DIGEST_BYTES]


def members_of(
    num_bytes: int, film: str, document: Mapping[str, Any], small: Mapping[str, bytes]
) -> Members:
    """A film of this size and digest, and small members by their names, the document among them."""
    size = sum(len(data) for name, data in small.items() if name.endswith(".json"))
    others = {name: data for name, data in small.items() if not name.endswith(".json")}
    return Members(num_bytes, film, Told(size, told_of_document(document)[1]), others)


def small_members(clip: str, caption: str | None, vector: Vector | None) -> dict[str, bytes]:
    """The members besides the film and the document."""
    said = {} if caption is None else {f"{clip}.txt": caption.encode()}
    return said if vector is None else said | {f"{clip}.npy": npy(vector)}


def npy(vector: Vector) -> bytes:
    """A vector as a ``.npy`` file."""
    out = io.BytesIO()
    np.lib.format.write_array(out, vector, version=(1, 0), allow_pickle=False)
    return out.getvalue()


def caption_of(captions: Mapping[str, str], wanted: str) -> str | None:
    """The text that goes along with a clip, if it has one: of the captioner that is wanted, or of
    the first by name.

    >>> caption_of({"b_caption": "B", "a_caption": "A"}, ""), caption_of({"b_caption": "B"}, "b")
    ('A', 'B')
    """
    names = sorted(captions)
    if wanted:
        names = [name for name in (wanted, f"{wanted}_caption") if name in captions]
    return storable(captions[names[0]]) if names and wanted != NONE else None


def storable(text: object) -> str:
    r"""The text as UTF-8 can say it: names of files need not be, and models say what they like.

    >>> storable("a\udcff.mp4")
    'a\\udcff.mp4'
    """
    return str(text).encode(errors="backslashreplace").decode()


class Tables:
    """What lies in a table for each chunk: vectors, and in packs, clips. A table that was read is
    kept for the clips that follow.
    """

    def __init__(self, output: Output, algorithm: str | None) -> None:
        self._output, self._algorithm = output, algorithm
        self._vectors = lru_cache(maxsize=KEPT_TABLES)(output.vectors)
        self._packs = lru_cache(maxsize=KEPT_TABLES)(output.pack)

    def vector(self, clip: str, chunk: str) -> Vector | None:
        if self._algorithm is None:
            return None
        vector = self._vectors(self._algorithm, chunk).get(clip)
        return None if vector is None or not len(vector) else vector

    def entry(self, clip: str, chunk: str) -> Entry:
        """A clip that is kept."""
        if not is_key(clip):
            raise NoDataset(
                f"{clip!r} cannot be the name of a clip's files: ids consist of letters, digits, - "
                "and _. Usually the document that lists it was not written by finecut"
            )
        if self._output.layout.packed:
            return self._output.packed_entry(clip, True, chunk, self._packs(chunk))
        return self._output.entry(clip, True, chunk)


def is_key(id: str) -> bool:
    """Whether members can be named by this id."""
    return _KEY.fullmatch(id) is not None


def missing(path: str) -> ClipChanged:
    return ClipChanged(
        f"{path} is missing, although its document says that it exists. Usually files were removed "
        "by hand, or a copy is incomplete: copy it again, or curate its video again"
    )


def material_of(entry: Entry, sharding: Sharding, tables: Tables) -> Material:
    """What the clip's members are made of; its file has to be what the document says."""
    said = entry.document
    if entry.is_packed and not entry.has_film:
        raise missing(f"the clip {entry.id} in {entry.path}")
    try:
        size = entry.film.num_bytes()
        film = str(said.get("sha256") or shelf.version_of(entry.path))
    except FileNotFoundError as error:
        raise missing(entry.path) from error
    if size != said.get("num_bytes", size):
        raise ClipChanged(
            f"{entry.path} has {size} bytes instead of the {said['num_bytes']} in its document. "
            "Usually a copy was cut short: copy it again, or curate its video again"
        )
    return Material(
        entry=entry,
        document=document_bytes(said),
        caption=caption_of(entry.captions, sharding.caption),
        vector=tables.vector(entry.id, entry.chunk),
        num_bytes=size,
        film=film,
    )

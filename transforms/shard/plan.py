"""Planning shards: which clip goes into which, in what order, under what name.

    candidates ──by id──▶ ranges ──each sorted──▶ packed, bin by bin ──▶ 00000 00001 …

Nothing but the dataset and the options enters a plan: not the order in which workers looked, nor
how many there were, nor how many ranges. A shard's digest stands for every byte that goes into it.

What is here are plain values; :mod:`ranges` has the files that workers sort, and :mod:`making` the
pipelines.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Changes when the same clips would make other bytes.
FORMAT: Final = b"finecut shard 1"
DIGEST_BYTES: Final = 16
#: Digits of a shard's number, where they are enough.
DIGITS: Final = 5

Sizes = NDArray[np.int64]
Digests = np.ndarray[tuple[int, ...], np.dtype[np.void]]


@dataclass(frozen=True)
class Candidate:
    """A clip that goes into a shard, as the plan knows it."""

    id: str
    #: Key of its chunk, by which its vector is found.
    chunk: str
    source: str
    start: float
    bin: str
    #: Bytes of its members in an archive.
    size: int
    #: Where it stands when clips are mixed.
    order: int
    #: Stands for all bytes of all members, in hexadecimal.
    digest: str


@dataclass(frozen=True)
class PlannedClip:
    id: str
    chunk: str
    digest: str


@dataclass(frozen=True)
class ShardPlan:
    """What a shard is to hold: the unit of work."""

    name: str
    digest: str
    clips: tuple[PlannedClip, ...]


@dataclass(frozen=True, order=True)
class Piece:
    """Consecutive clips of a range: its number, where they start, and where they end."""

    range: int
    start: int
    end: int


@dataclass(frozen=True)
class Draft:
    """A shard, by the places of its clips."""

    name: str
    pieces: tuple[Piece, ...]
    #: Bytes of their members.
    num_bytes: int


def mixed_order(clip: str, seed: int) -> int:
    """Where a clip stands when neighbours are to come from different videos."""
    said = hashlib.blake2b(f"{seed} {clip}".encode(), digest_size=8).digest()
    return int.from_bytes(said, "big")


# ── packing ──────────────────────────────────────────────────────────────────────────────────────


#: The clips of a shard, and their bytes.
Packed = tuple[tuple[Piece, ...], int]


@dataclass
class Packer:
    """The shards of a bin, of which the clips come range by range, in order; so full that the next
    clip would have too many bytes or be one too many (0 clips: any number).

    What is larger than a shard may be has one to itself.
    """

    most_bytes: int
    most_clips: int = 0
    #: Those that are full, and the one that is not.
    full: list[Packed] = field(default_factory=list)
    open: list[Piece] = field(default_factory=list)
    _bytes: int = 0
    _clips: int = 0

    def add(self, number: int, first: int, sizes: Sizes) -> None:
        """The clips of these sizes follow, which begin in this range at the place ``first``."""
        until = np.cumsum(sizes)
        start, before, count = 0, 0, len(until)
        while start < count:
            end = self._as_many_as_fit(until, start, before)
            if end > start:
                self.open.append(Piece(number, first + start, first + end))
                self._bytes += int(until[end - 1]) - before
                self._clips += end - start
                start, before = end, int(until[end - 1])
            if start < count:
                self._close()

    def shards(self) -> list[Packed]:
        """All of them, when there are no more clips."""
        self._close()
        return self.full

    def _as_many_as_fit(self, until: Sizes, start: int, before: int) -> int:
        room = self.most_bytes - self._bytes
        end = int(np.searchsorted(until, before + room, side="right"))
        if self.most_clips:
            end = min(end, start + self.most_clips - self._clips)
        return max(end, start if self.open else start + 1)

    def _close(self) -> None:
        if self.open:
            self.full.append((tuple(self.open), self._bytes))
        self.open, self._bytes, self._clips = [], 0, 0


def packed(sizes: Sequence[int], most_bytes: int, most_clips: int = 0) -> Iterator[int]:
    """Where each shard ends, of clips that are all in one range.

    >>> list(packed([4, 4, 4, 20, 1], most_bytes=10))
    [2, 3, 4, 5]
    """
    packer = Packer(most_bytes, most_clips)
    packer.add(0, 0, np.asarray(sizes, np.int64))
    return (pieces[-1].end for pieces, _ in packer.shards())


def named(bins: Mapping[str, Sequence[Packed]]) -> Iterator[Draft]:
    """The shards of all bins, each counted from 0."""
    for bin, shards in sorted(bins.items()):
        digits = max(DIGITS, len(str(len(shards) - 1)))
        for number, (pieces, size) in enumerate(shards):
            yield Draft(posixpath.join(bin, f"{number:0{digits}d}"), pieces, size)


def place_of_shard(name: str) -> tuple[str, str]:
    """By which shards are in the order of the plan: bin by bin.

    >>> sorted(["a-b/00000", "a/00001", "a/00000"], key=place_of_shard)
    ['a/00000', 'a/00001', 'a-b/00000']
    """
    bin, _, number = name.rpartition("/")
    return bin, number


def without_holes(pieces: Iterable[Piece], holes: Iterable[Piece]) -> Iterator[Piece]:
    """What is left of pieces of one range when these pieces of it are taken out.

    >>> [*without_holes([Piece(0, 0, 9)], [Piece(0, 2, 4), Piece(0, 4, 5)])]
    [Piece(range=0, start=0, end=2), Piece(range=0, start=5, end=9)]
    """
    gone = sorted(holes)
    for piece in pieces:
        start = piece.start
        for hole in gone:
            if hole.end <= start or hole.start >= piece.end:
                continue
            if hole.start > start:
                yield Piece(piece.range, start, hole.start)
            start = hole.end
        if start < piece.end:
            yield Piece(piece.range, start, piece.end)


# ── digests ──────────────────────────────────────────────────────────────────────────────────────


def digest_of(name: str, digests: Sequence[str]) -> str:
    """Stands for a shard of this name whose clips have these digests, in hexadecimal."""
    said = FORMAT + f" {name} {len(digests)} ".encode() + bytes.fromhex("".join(digests))
    return hashlib.sha256(said).hexdigest()


def plan_of(name: str, rows: Iterable[Mapping[str, Any]]) -> ShardPlan:
    """The plan of a shard with these clips."""
    clips = tuple(PlannedClip(row["id"], row["chunk"], row["digest"].hex()) for row in rows)
    return ShardPlan(name, digest_of(name, [clip.digest for clip in clips]), clips)

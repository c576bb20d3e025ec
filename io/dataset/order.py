"""The listing: which clips there are, in arrays, so that millions fit: 21 bytes for each. An
object for each would take a hundred times as much, in every process.

And their order: which clip comes when, and which worker reads it::

    ids ──seed, epoch──▶ order          the same for everybody
                         order[0] order[1] order[2] order[3] order[4] …
    of 2 ranks              A        B        A        B        A
    of A's 2 workers       A0                A1                A0

No library's random numbers are in it: an order is the same for ever, whatever is installed.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from finecut.io.dataset.places import NoDataset
from finecut.io.process.threads import in_order

A = TypeVar("A")
B = TypeVar("B")

Keys = NDArray[np.uint64]
Places = NDArray[np.int64]

#: The constants of SplitMix64, which deals numbers out evenly and never gives one twice.
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = (1 << 64) - 1
#: Documents read at the same time: who waits for a disk or a store needs no processor.
READERS: Final = 16


class Listed(NamedTuple):
    """A clip, before anything of it was read."""

    id: str
    kept: bool
    #: Where it is listed: the number of its chunk's document, or of its row.
    place: int


@dataclass(frozen=True)
class Listing:
    """Clips by their numbers from 0 on."""

    #: The 16 bytes of each id.
    ids: NDArray[np.uint8]
    kept: NDArray[np.bool_]
    places: NDArray[np.int32]

    @classmethod
    def of(cls, clips: Iterable[Listed]) -> Self:
        """All of these, each id once."""
        ids, kept, places = bytearray(), bytearray(), []
        for clip in clips:
            ids += _bytes_of(clip.id)
            kept.append(clip.kept)
            places.append(clip.place)
        rows = np.frombuffer(bytes(ids), np.uint8).reshape(-1, 16)
        # A list of cuts may name a span twice: that is one clip, and not to be seen twice.
        _, first = np.unique(rows, axis=0, return_index=True)
        first.sort()
        return cls(
            rows[first],
            np.frombuffer(bytes(kept), np.bool_)[first],
            np.array(places, np.int32)[first],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, number: int) -> str:
        return str(uuid.UUID(bytes=self.ids[number].tobytes()))

    @property
    def keys(self) -> Keys:
        """What clips are shuffled by: the first half of their ids, which are digests."""
        return np.ascontiguousarray(self.ids[:, :8]).view(np.uint64)[:, 0]

    @property
    def digest(self) -> str:
        """What is the same for the same clips in the same order, and for no others."""
        return hashlib.blake2b(self.ids.tobytes(), digest_size=8).hexdigest()


def ahead(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """``map``, by several threads, in order, and never far ahead of their reader."""
    return in_order(work, items, READERS, each=4)


def _bytes_of(id: str) -> bytes:
    try:
        return uuid.UUID(id).bytes
    except ValueError as error:
        raise NoDataset(
            f"{id!r} is listed as a clip, but it is not an id: the ids of clips are UUIDs. "
            "Usually a document was edited by hand"
        ) from error


@dataclass(frozen=True)
class Share:
    """A reader: one of the workers of one of the ranks."""

    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        for name, one, all_ in (
            ("rank", self.rank, self.world),
            ("worker", self.worker, self.workers),
        ):
            if not 0 <= one < all_:
                raise ValueError(f"{name}={one} is out of range for {all_}: numbers count from 0")

    def __str__(self) -> str:
        return f"worker {self.worker} of {self.workers} of rank {self.rank} of {self.world}"


def shuffled(keys: Keys, seed: int, epoch: int) -> Places:
    """The places of the keys in an order that follows from them, the seed and the epoch alone.

    A key that is left out changes nothing in the order of the others.
    """
    start = int(_mixed(np.array([(seed + 1) * _STEP & _WORD], np.uint64))[0])
    salt = np.uint64((start + (epoch + 1) * _STEP) & _WORD)
    return np.argsort(_mixed(keys ^ _mixed(np.array([salt], np.uint64))), kind="stable")


def part(order: Places, share: Share, even: bool = False) -> Places:
    """What this reader reads, in order; with ``even``, every rank has the same number.

    >>> part(np.arange(7), Share(rank=1, world=2)).tolist()
    [1, 3, 5]
    >>> part(np.arange(7), Share(rank=0, world=2, worker=1, workers=2)).tolist()
    [2, 6]
    """
    if even:
        order = order[: len(order) // share.world * share.world]
    # A copy: what others read is let go of.
    return order[share.rank :: share.world][share.worker :: share.workers].copy()


def size_of_part(count: int, share: Share, even: bool = False) -> int:
    """How many of ``count`` clips this reader reads.

    >>> size_of_part(7, Share(rank=1, world=2)), size_of_part(7, Share(rank=1, world=2), even=True)
    (3, 3)
    """
    if even:
        count = count // share.world * share.world
    of_rank = len(range(share.rank, count, share.world))
    return len(range(share.worker, of_rank, share.workers))


def _mixed(keys: Keys) -> Keys:
    with np.errstate(over="ignore"):
        keys = keys + np.uint64(_STEP)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(_FIRST)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(_SECOND)
        return keys ^ (keys >> np.uint64(31))

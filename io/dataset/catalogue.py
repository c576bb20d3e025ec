"""The catalogue: which clips there are, in arrays, so that millions fit: 21 bytes for each.

An object for each would take a hundred times as much, in every process.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from finecut.io.dataset.order import Keys
from finecut.io.dataset.output import NoDataset
from finecut.io.process.threads import in_order

A = TypeVar("A")
B = TypeVar("B")

#: Documents read at the same time: who waits for a disk or a store needs no processor.
READERS: Final = 16


class Listed(NamedTuple):
    """A clip, before anything of it was read."""

    id: str
    kept: bool
    #: Where it is listed: the number of its chunk's document, or of its row.
    place: int


@dataclass(frozen=True)
class Catalogue:
    """Clips by their numbers from 0 on."""

    #: The 16 bytes of each id.
    ids: NDArray[np.uint8]
    kept: NDArray[np.bool_]
    places: NDArray[np.int32]

    @staticmethod
    def of(clips: Iterable[Listed]) -> Catalogue:
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
        return Catalogue(
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

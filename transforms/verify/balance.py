"""Balance: whether what documents promise is what lies there, without bringing the two together.

    a file that a document lists, and that is there   −┐
    a file that a listing names                       +┤
    a row that a document asks for                    −├─▶ a sum for each share of the owners
    a row of the catalogue                            +┤
    …                                                  ┘   0: both sides hold the same

What is added is a digest of each, with a secret in it, so that nobody can make files whose digests
cancel out. The sums of 65,536 shares are a megabyte, however many clips there are. Only what
belongs to shares that do not balance is brought together, and looked at one by one.

A sum cannot tell whether one side is a part of the other. For that, digests of ids are brought
together in 256 ranges, but only if something besides documents speaks of clips, or a document lists
clips of which there is nothing at all.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from finecut.io.layout import OF_TABLES
from finecut.io.records import CODING
from finecut.transforms.verify.checks.findings import (
    ANYTHING,
    DIGITS,
    Claim,
    Entered,
    Mention,
    Told,
    Verifying,
    digest_of_owner,
)

#: A share, and what is added to its sum.
_RECORD: Final = np.dtype([("share", ">u2"), ("digest", "<u8", (2,))])
SHARES: Final = 16**DIGITS
#: Bytes of records that wait to be added up.
WAITING: Final = 4 << 20
_LENGTH: Final = 16

Sums = NDArray[np.uint64]
#: Who speaks of a clip: a document that lists it, or that lists it and says no more, another table,
#: or the catalogue, of a clip that failed.
Speaker = Literal["listed", "anything", "mentioned", "failed"]
SPEAKERS: Final[tuple[Speaker, ...]] = ("listed", "anything", "mentioned", "failed")


class Books:
    """Sums of what a worker has seen, and the ids that have to be brought together."""

    def __init__(self, verifying: Verifying) -> None:
        self._verifying = verifying
        self._sides = {1: bytearray(), -1: bytearray()}
        self._sums: Sums | None = None
        self._ids: dict[tuple[int, int], bytearray] = defaultdict(bytearray)
        #: Whom the file that is being entered speaks of, and of whom there are files.
        self._owners: dict[str, Speaker] = {}
        self._seen: set[str] = set()

    def there(self, owner: str, path: str) -> None:
        """Enter a file that lies there."""
        self._add(1, owner, ("file", path))

    def enter(self, entry: Claim | Told | Entered | Mention) -> None:
        """Enter what a file says."""
        match entry:
            case Claim():
                self._claim(entry)
            case Told():
                self._add(-1, entry.owner, ("row", entry.row, entry.facts))
            case Entered():
                self._row(entry)
            case Mention():
                self._name("mentioned", entry.ids)

    def close_file(self) -> None:
        """All of a file has been entered."""
        for owner, speaker in self._owners.items():
            names = speaker == "listed" and owner not in self._seen
            if names or self._verifying.names_clips:
                self._name(speaker, (owner,))
        self._owners.clear()
        self._seen.clear()

    def _claim(self, claim: Claim) -> None:
        if ANYTHING in claim.paths:
            self._owners.setdefault(claim.owner, "anything")
            return
        self._owners[claim.owner] = "listed"
        if claim.there:
            self._seen.add(claim.owner)
        for path in claim.there:
            if not self._verifying.layout.packed:  # else they are no files of their own
                self._add(-1, claim.owner, ("file", path))
            if self._verifying.has_catalogue and not _is_table(path):
                self._add(1, claim.owner, ("named", path))

    def _row(self, row: Entered) -> None:
        if row.files is None:
            self._name("failed", (row.owner,))
            return
        self._add(1, row.owner, ("row", row.row, row.facts))
        for path in row.files:
            self._add(-1, row.owner, ("named", path))

    def _name(self, speaker: Speaker, ids: Iterable[str]) -> None:
        place = SPEAKERS.index(speaker)
        for id in ids:
            digest = digest_of_owner(id)
            self._ids[digest[0], place] += digest

    def _add(self, sign: int, owner: str, said: tuple[str, ...]) -> None:
        data = "\0".join((owner, *said)).encode(*CODING)
        secret = self._verifying.secret
        side = self._sides[sign]
        side += digest_of_owner(owner)[:2]
        side += hashlib.blake2b(data, digest_size=_LENGTH, key=secret).digest()
        if len(side) > WAITING:
            self._add_up()

    def _add_up(self) -> None:
        self._sums = no_sums() if self._sums is None else self._sums
        for sign, side in self._sides.items():
            found = np.frombuffer(bytes(side), _RECORD)
            (np.add if sign > 0 else np.subtract).at(self._sums, found["share"], found["digest"])
            side.clear()

    def sums(self) -> bytes:
        """The sums that are not zero, packed."""
        self._add_up()
        assert self._sums is not None
        [shares] = np.nonzero(self._sums.any(axis=1))
        packed = np.zeros(len(shares), _RECORD)
        packed["share"], packed["digest"] = shares, self._sums[shares]
        return packed.tobytes()

    def ids(self) -> Iterator[tuple[int, bytes]]:
        """The ids by their ranges: who speaks of them, and their digests."""
        for (part, speaker), digests in self._ids.items():
            yield part, bytes([speaker]) + bytes(digests)


def _is_table(path: str) -> bool:
    """A chunk's, of which no row of the catalogue speaks."""
    return path.partition("/")[0].endswith(OF_TABLES)


def no_sums() -> Sums:
    return np.zeros((SHARES, 2), np.uint64)


def add(sums: Sums, packed: bytes) -> Sums:
    """The same sums, with those that :meth:`Books.sums` packed."""
    found = np.frombuffer(packed, _RECORD)
    sums[found["share"]] += found["digest"]  # each share is there once
    return sums


def name_of(share: int) -> str:
    """A share, as owners name theirs.

    >>> name_of(0x1f)
    '001f'
    """
    return f"{share:0{DIGITS}x}"


class AddUp(beam.CombineFn):
    """Packed sums → the shares that do not balance."""

    def create_accumulator(self) -> Sums:
        return no_sums()

    def add_input(self, sums: Sums, packed: bytes) -> Sums:
        return add(sums, packed)

    def merge_accumulators(self, several: Iterable[Sums]) -> Sums:
        total = no_sums()
        for sums in several:
            total += sums
        return total

    def extract_output(self, sums: Sums) -> tuple[str, ...]:
        return tuple(name_of(share) for share in np.nonzero(sums.any(axis=1))[0].tolist())


def unbalanced_by_ids(packed: Iterable[bytes]) -> set[str]:
    """The shares of a range in which two documents list a clip, something speaks of one that none
    lists, or a clip has failed and is listed.
    """
    parts: dict[Speaker, list[bytes]] = {speaker: [] for speaker in SPEAKERS}
    for each in packed:
        parts[SPEAKERS[each[0]]].append(each[1:])
    several = {
        speaker: np.frombuffer(b"".join(data), f"S{_LENGTH}") for speaker, data in parts.items()
    }
    listed, counts = np.unique(several["listed"], return_counts=True)
    known = np.union1d(listed, several["anything"])
    wrong = np.concatenate(
        [
            listed[counts > 1],
            np.setdiff1d(several["mentioned"], known),
            np.intersect1d(several["failed"], listed),
        ]
    )
    return {bytes(each)[:2].hex() for each in wrong}

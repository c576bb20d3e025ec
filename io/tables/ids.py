"""Millions of ids of clips in memory: 16 bytes each, sorted, where texts in a set take 294.

    "ce2f3d69-8b98-57fe-98fe-70d008e354f3"  ─▶  ce 2f 3d 69 8b 98 57 fe 98 fe 70 d0 08 e3 54 f3

The order of the bytes is that of the texts.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import islice
from typing import Any, Final

import numpy as np

from finecut.io.layout import is_clip_id

#: Bytes of an id, and how NumPy calls so many.
SIZE: Final = 16
RECORD: Final = np.dtype(f"S{SIZE}")
#: Ids that are texts at the same time.
BLOCK: Final = 1 << 16
#: Where the dashes are in the text of an id, between the digits.
_GROUPS: Final = (slice(8), slice(8, 12), slice(12, 16), slice(16, 20), slice(20, 32))

Records = np.ndarray[Any, Any]


class IdSet(Set[str]):
    """A set of ids that does not change; it is iterated in order.

    >>> ids = IdSet(["ce2f3d69-8b98-57fe-98fe-70d008e354f3"] * 2)
    >>> len(ids), *ids, "ce2f3d69-8b98-57fe-98fe-70d008e354f4" in ids, "a.mp4" in ids
    (1, 'ce2f3d69-8b98-57fe-98fe-70d008e354f3', False, False)
    """

    __slots__ = ("_records",)

    def __init__(self, ids: Iterable[str] = ()) -> None:
        records = packed(ids)
        records.sort()
        twice = records[1:] == records[:-1]
        if twice.any():
            records = records[np.concatenate([[True], ~twice])]
        self._records = records

    def __contains__(self, id: object) -> bool:
        return place_of(id, self._records) is not None

    def __iter__(self) -> Iterator[str]:
        return texts_of(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __eq__(self, other: object) -> bool:
        """As sets are: whatever holds the same ids is equal."""
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def nbytes(self) -> int:
        return int(self._records.nbytes)


class IdMap(Mapping[str, str]):
    """Ids by ids; of several for the same, the last counts.

    >>> first, other = (f"ce2f3d69-8b98-57fe-98fe-70d008e354f{n}" for n in "01")
    >>> IdMap([(first, first), (first, other)])[first] == other
    True
    """

    __slots__ = ("_keys", "_values")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        flat = packed(id for pair in pairs for id in pair).reshape(-1, 2)
        order = np.argsort(flat[:, 0], kind="stable")
        keys = flat[order, 0]
        last = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
        self._keys, self._values = keys[last], flat[order[last], 1]

    def __getitem__(self, id: str) -> str:
        place = place_of(id, self._keys)
        if place is None:
            raise KeyError(id)
        return next(texts_of(self._values[place : place + 1]))

    def __iter__(self) -> Iterator[str]:
        return texts_of(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def packed(ids: Iterable[str]) -> Records:
    """These ids, one after the other."""
    data, rest = bytearray(), iter(ids)
    while block := "".join(islice(rest, BLOCK)):
        data += bytes.fromhex(block.replace("-", ""))
    return np.frombuffer(data, RECORD)


def place_of(id: object, records: Records) -> int | None:
    """Where an id is among records that are sorted, if it is."""
    if not is_clip_id(id):
        return None
    wanted = np.frombuffer(bytes.fromhex(str(id).replace("-", "")), RECORD)[0]
    place = int(np.searchsorted(records, wanted))
    return place if place < len(records) and records[place] == wanted else None


def texts_of(records: Records) -> Iterator[str]:
    """The ids again."""
    for start in range(0, len(records), BLOCK):
        digits = records[start : start + BLOCK].tobytes().hex()
        for at in range(0, len(digits), 2 * SIZE):
            one = digits[at : at + 2 * SIZE]
            yield "-".join([one[group] for group in _GROUPS])

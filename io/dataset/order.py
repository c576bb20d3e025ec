"""Order: which clip comes when, and which worker reads it. Functions on plain arrays.

    ids ──seed, epoch──▶ order          the same for everybody
                         order[0] order[1] order[2] order[3] order[4] …
    of 2 ranks              A        B        A        B        A
    of A's 2 workers       A0                A1                A0

No library's random numbers are in it: an order is the same for ever, whatever is installed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Places = NDArray[np.int64]

#: The constants of SplitMix64, which deals numbers out evenly and never gives one twice.
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = (1 << 64) - 1


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
    own: Places = order[share.rank :: share.world][share.worker :: share.workers].copy()
    return own


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
        mixed: Keys = keys ^ (keys >> np.uint64(31))
        return mixed

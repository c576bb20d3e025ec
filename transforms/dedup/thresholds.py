"""Thresholds: how far apart the vectors of copies may be, by embedder, and how that was measured.

One table. ``benchmarks/copies.py`` measures a line of it again: it alters clips in eleven ways and
prints how near each kind of copy is to its original, and clips that are no copies to each other.
The thresholds of pictures, which hold for every embedder, stand in :mod:`.pictures`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from finecut.transforms.option import LITE


@dataclass(frozen=True)
class Threshold:
    """Clips of a cosine of at least ``1 - eps`` are duplicates, or likely ones."""

    #: Where their pictures are compared as well: most copies have to be as near.
    confirmed: float
    #: Where vectors alone decide: hardly anything else may be as near.
    alone: float
    #: On what it rests.
    measured: str


THRESHOLDS: Final[Mapping[str, Threshold]] = {
    # 19 of 20 real copies have a cosine of 0.64 and more, whatever was done to them; clips of
    # different films hardly ever have 0.6. From 0.9 on pairs of different clips are few.
    LITE: Threshold(0.4, 0.1, "benchmarks/copies.py: 100 painted clips, 25 of ten real films"),
}
#: Of every other embedder.
GUESSED: Final = Threshold(0.2, 0.05, "not measured: a careful guess, check groups.parquet")


def threshold_of(algorithm: str) -> Threshold:
    """What suits the vectors of an embedder.

    >>> threshold_of("efficientnet-lite0").confirmed, threshold_of("cosmos-embed1-224p").alone
    (0.4, 0.05)
    """
    return THRESHOLDS.get(algorithm, GUESSED)

"""Bins and packing: which shard a clip goes to. Functions on plain values.

    bins = binning(["resolution", "duration"], {"duration": (2, 10)})
    bins.bin_of(1280, 720, 4.0)                  # 'res720-1080_sec2-10'
    list(packed(sizes, most_bytes=10**9))        # where each shard ends

The first bin of an axis has no lower edge and the last none above, so every clip has one; what is
not known of a clip is a bin of its own.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

RESOLUTION, ASPECT, DURATION = AXES = ("resolution", "aspect", "duration")
#: Where bins of an axis end and the next begin: pixels of the shorter side, width by height,
#: seconds.
EDGES: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {RESOLUTION: (480, 720, 1080), ASPECT: (0.8, 1.25), DURATION: (2, 5, 10, 30)}
)
#: How an axis is called in the name of a bin.
SHORT: Final = MappingProxyType({RESOLUTION: "res", ASPECT: "aspect", DURATION: "sec"})
UP, UNKNOWN = "up", "unknown"


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
    names: Iterable[str], edges: Mapping[str, Sequence[float]] = MappingProxyType({})
) -> Binning:
    """Bins by these axes, in their usual order; edges that are not given are the usual ones."""
    wanted = set(names)
    return Binning(
        tuple((axis, tuple(edges.get(axis) or EDGES[axis])) for axis in AXES if axis in wanted)
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


def packed(sizes: Sequence[int], most_bytes: int, most_clips: int = 0) -> Iterator[int]:
    """Where each shard ends, so that none has more bytes or clips than this; 0 clips: any number.

    What is larger than a shard may be has one to itself.

    >>> list(packed([4, 4, 4, 20, 1], most_bytes=10))
    [2, 3, 4, 5]
    """
    until = np.cumsum(np.asarray(sizes, np.int64))
    start, before, count = 0, 0, len(until)
    while start < count:
        end = int(np.searchsorted(until, before + most_bytes, side="right"))
        if most_clips:
            end = min(end, start + most_clips)
        start = max(end, start + 1)
        before = int(until[start - 1])
        yield start


def _place(axis: str, edges: Sequence[float], sizes: Sequence[float | None]) -> str:
    """The name of the bin on one axis, of a clip of this duration or of this width and height."""
    known = [n for n in sizes if isinstance(n, int | float) and math.isfinite(n) and n > 0]
    if len(known) < len(sizes):
        return f"{SHORT[axis]}-{UNKNOWN}"
    value = known[0] / known[1] if axis == ASPECT else min(known)
    index = bisect_right(edges, value)
    below = f"{edges[index - 1]:.12g}" if index else "0"
    above = f"{edges[index]:.12g}" if index < len(edges) else UP
    return f"{SHORT[axis]}{below}-{above}"

"""Choosing: which videos are looked at, and which parts of them.

    all videos, by the work that a second of them is

    ├────a────┼─b─┼──c──┼──────d──────┼─e─┼───f───┤        as long as their share of all
         ▲            ▲          ▲            ▲            the sample: in the middle of equal parts
    └─ a speaks ─┘└─ c ──┘└─── d ────┘└───── f ───┘        each speaks for those nearest to it

A video's share is half by its work, on which time and bytes depend, and half by its length, on
which the number of clips does. So each share is as likely to be looked at wherever it is, and what
is unlike the rest speaks only for what is like it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from finecut.io.records import Video
from finecut.pipeline.commands.estimate.places import Looked, looked_at
from finecut.transforms.amount import work_of
from finecut.transforms.split.scenes import Detection, Piece
from finecut.transforms.split.spans import Splitting, chunks_of

#: Seconds of each video that are cut, and of all of them together where they are few.
EACH_SECONDS, ALL_SECONDS = 20.0, 120.0
#: A video from which more is cut is looked at in several places, so many seconds at each.
PLACE_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Chosen:
    """Pieces that were chosen, by the names of their videos: where a sample is cut."""

    by_name: dict[str, tuple[Piece, ...]]

    def prepare(self) -> None:
        """Nothing has to be loaded."""

    def pieces(self, video: Video) -> Sequence[Piece]:
        return self.by_name.get(video.name, ())


@dataclass(frozen=True)
class Foreseen:
    """What will be cut of a video."""

    clips: float
    chunks: float
    #: Of all clips together.
    seconds: float

    def times(self, share: float) -> "Foreseen":
        return Foreseen(self.clips * share, self.chunks * share, self.seconds * share)


def strata(videos: Sequence[Video], number: int) -> list[tuple[Video, list[Video]]]:
    """So many videos (or fewer), each with those that it speaks for, itself among them."""
    ordered = sorted(videos, key=lambda video: (work_of(video, 1.0), video.name))
    ends = list(accumulate(_shares(ordered)))
    if len(ordered) <= number:
        return [(video, [video]) for video in ordered]
    parts = [ends[-1] * (part + 0.5) / number for part in range(number)]
    places = sorted({bisect_left(ends, part) for part in parts})
    middles = [(ends[place] + (ends[place - 1] if place else 0.0)) / 2 for place in places]
    borders = [(one + other) / 2 for one, other in pairwise(middles)]
    speaking: list[tuple[Video, list[Video]]] = [(ordered[place], []) for place in places]
    for place, video in enumerate(ordered):
        middle = (ends[place] + (ends[place - 1] if place else 0.0)) / 2
        own = places.index(place) if place in places else bisect_right(borders, middle)
        speaking[own][1].append(video)
    return speaking


def _shares(videos: Sequence[Video]) -> list[float]:
    """How large a part each video is of all."""
    # What claims to have no length is some work, too.
    lengths = [max(video.duration, 0.1) for video in videos]
    works = [work_of(video, length) for video, length in zip(videos, lengths, strict=True)]
    length, work = sum(lengths), sum(works)
    return [
        own / length + done / work if work else own / length
        for own, done in zip(lengths, works, strict=True)
    ]


def pieces_of(video: Video, splitting: Splitting) -> Looked:
    """Where a video is cut, as far as is looked."""
    cutter = splitting.cutter
    if isinstance(cutter, Detection):
        return looked_at(video, cutter)
    pieces = list(cutter.pieces(video))
    return Looked(pieces, pieces, video.duration, video.duration)


def foreseen(video: Video, pieces: Sequence[Piece], splitting: Splitting) -> Foreseen:
    """What a run would make of a video that is cut there."""
    known = Splitting(Chosen({video.name: tuple(pieces)}), splitting.limit, splitting.chunk_seconds)
    chunks = chunks_of(video, known)
    clips = [clip for chunk in chunks for clip in chunk.clips]
    number = len(chunks) if clips else 0
    return Foreseen(len(clips), number, sum(clip.span.length for clip in clips))


def some_of(pieces: Sequence[Piece], seconds: float) -> tuple[Piece, ...]:
    """Pieces that add up to about so many seconds: all, or neighbours in a few places."""
    each = tuple(dict.fromkeys(pieces))
    lengths = [piece.span.length for piece in each]
    if sum(lengths) <= 1.5 * seconds:
        return each
    places = max(1, round(seconds / PLACE_SECONDS))
    ends = list(accumulate(lengths))
    taken: dict[Piece, None] = {}
    for place in range(places):
        begin = ends[-1] * (place + 0.5) / places - seconds / places / 2
        number, held = bisect_right(ends, max(0.0, begin)), 0.0
        while number < len(each) and held < seconds / places:
            held += lengths[number]
            taken[each[number]] = None
            number += 1
    return tuple(sorted(taken, key=lambda piece: (piece.span, piece.first)))

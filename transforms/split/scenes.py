"""Scenes: from marks on frames (something changes here) to the spans that become clips.

    marks    0 0 0 0 1 0 0 0 0 0 0 0 1 1 1 0 0 0 0        a cut, then a dissolve
    scenes   [──────)  [────────────)      [──────)       the marked frames belong to no scene

Everything here counts frames and touches no film. Numbers are those of the reference, save one:
``crop`` takes its seconds off the two ends of a scene, where the transition may still be visible;
the reference takes them off both ends of *every piece* that a long scene is cut into, which leaves
holes in the middle of scenes. ``crop_pieces`` does as the reference does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from finecut.io.records import Span

Frames = tuple[int, int]

#: Times are floats: what misses a border by less than this has reached it.
NEARLY = 1e-6


class Piece(NamedTuple):
    """What becomes a planned clip: the frames it is named by, and the seconds that are cut."""

    first: int
    end: int
    span: Span


@dataclass(frozen=True)
class Trimming:
    """What becomes of scenes that are too short or too long, in seconds; 0 switches a rule off."""

    least: float = 2.0
    most: float = 10.0
    #: ``stride`` cuts a long scene into pieces, ``truncate`` keeps its beginning.
    mode: str = "stride"
    crop: float = 0.5
    crop_pieces: bool = False


def scenes_of(marks: Iterable[bool], entire: bool) -> Iterator[Frames]:
    """The scenes between the marks, ``[start, end)``, each as soon as it is known.

    The last one ends with the last but one frame, as in the reference. Without any transition the
    film is one scene if ``entire``, else none.

    >>> list(scenes_of([False, False, True, False, False, False], entire=True))
    [(0, 2), (3, 5)]
    """
    start, before, emitted, count = 0, False, False, 0
    for index, mark in enumerate(marks):
        if before and not mark:
            start = index
        elif mark and not before and index:
            yield start, index
            emitted = True
        before, count = mark, index + 1
    if emitted:
        if not before:
            yield start, count - 1
    elif entire and count:
        yield 0, count


def trimmed(scene: Frames, framerate: float, trimming: Trimming) -> Iterator[Frames]:
    """What is left of a scene: cropped, not too long, not too short.

    >>> list(trimmed((0, 900), 30.0, Trimming(2, 10, "stride", 0.5)))
    [(15, 315), (315, 615), (615, 885)]
    """
    least = int(trimming.least * framerate)
    crop = int(trimming.crop * framerate)
    if not trimming.crop_pieces:
        scene = (scene[0] + crop, scene[1] - crop)
    for start, end in _pieces(scene, framerate, least, trimming):
        inner = (start + crop, end - crop) if trimming.crop_pieces else (start, end)
        if inner[1] - inner[0] >= max(least, 1):
            yield inner


def _pieces(scene: Frames, framerate: float, least: int, trimming: Trimming) -> Iterator[Frames]:
    start, end = scene
    if not trimming.most:
        yield scene
        return
    # A limit of less than a frame would never come to an end.
    most = max(1, int(trimming.most * framerate))
    if trimming.mode == "truncate":
        yield start, min(start + most, end)
        return
    for begin in range(start, end, most):
        piece = (begin, min(begin + most, end))
        if piece[1] - piece[0] >= least:
            yield piece


def trimmed_in_time(
    scene: Frames, times: Sequence[float], end: float, trimming: Trimming
) -> Iterator[Frames]:
    """The same for a film without a constant rate: lengths are counted on the clock.

    ``times`` says when each frame is shown, and the film is over at ``end``.
    """

    def frame_at(seconds: float) -> int:
        return bisect_left(times, seconds - NEARLY)

    def shown(frame: int) -> float:
        return times[frame] if frame < len(times) else end

    def length(first: int, last: int) -> float:
        return shown(last) - shown(first) + NEARLY

    def cropped(first: int, last: int) -> Frames:
        return frame_at(shown(first) + trimming.crop), frame_at(shown(last) - trimming.crop)

    first, last = scene if trimming.crop_pieces or not trimming.crop else cropped(*scene)
    pieces: list[Frames] = []
    while first < last and (not trimming.most or len(pieces) == 0 or trimming.mode == "stride"):
        # At least one frame, or it would never come to an end.
        until = max(frame_at(shown(first) + trimming.most), first + 1) if trimming.most else last
        pieces.append((first, min(until, last)))
        first = pieces[-1][1]
    for piece in pieces:
        if length(*piece) < trimming.least:
            continue
        inner = cropped(*piece) if trimming.crop_pieces and trimming.crop else piece
        if inner[0] < inner[1] and length(*inner) >= trimming.least:
            yield inner

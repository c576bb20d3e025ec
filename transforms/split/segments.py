"""Watching a long film in segments, and putting together what was seen.

    segments   0 ──watched──▶ marks, times ─┐
               1 ──watched──▶ marks, times ─┼─joined──▶ marks, times of the film ──▶ pieces
               2 ──watched──▶ marks, times ─┘

The pieces are those that :mod:`scenes` finds when it watches the film as a whole: see
:mod:`~finecut.io.media.frames.segments`.
"""

import base64
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import chain, groupby, islice, pairwise
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from finecut.io.media.frames.segments import Notes
from finecut.io.records import Segment, Video, Watched
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.cut.isolated import isolated, isolated_segment, segments_of
from finecut.transforms.split.content import Black
from finecut.transforms.split.scenes import (
    Detection,
    Piece,
    Shown,
    marks,
    pieces_between,
    told,
)
from finecut.transforms.split.scenes import watched as counted_film

T = TypeVar("T")

STEP: Final = "split"


def divided(video: Video, detection: Detection) -> list[Segment]:
    """The segments of a film; one of all of it, if it is short or cannot be divided."""
    if video.duration < 2 * detection.segment_seconds:
        return [Segment(video)]
    divide = partial(segments_of, grain=detection.grain, film=detection.film)
    made = isolated(STEP, video.source, divide, video, limits=detection.limits)
    segments = list(made)
    notes = [getattr(each, "note", "") or getattr(each, "message", "") for each in segments]
    if any(notes):
        LOG.info("%s is watched as a whole: %s", video.name, " ".join(notes))
        return [Segment(video)]
    # What a child says of the video is not believed.
    return [
        replace(segment, video=video, number=number, count=len(segments))
        for number, segment in enumerate(segments)
    ]


def watched(segment: Segment, detection: Detection) -> Watched:
    """What is seen of a segment."""
    notes = Notes()
    film = isolated_segment(STEP, segment, notes, limits=detection.limits, film=detection.film)
    counted = counted_film(_told(film, segment), segment.video, segment.count)
    seen = seen_in(counted, segment, detection)
    return replace(
        seen,
        opening=notes.opening,
        closing=notes.closing,
        promised=tuple(notes.promised),
        odd=notes.odd,
    )


def _told(film: Iterable[T], segment: Segment) -> Iterator[T]:
    """The same frames; only the segment's own count as so much of the video."""
    frames, framerate = iter(film), segment.video.framerate
    yield from islice(frames, segment.start - segment.first)
    size = None if segment.end is None else segment.end - segment.start
    yield from told(islice(frames, size), framerate)
    yield from frames


def seen_in(
    film: Iterable[tuple[Fraction, NDArray[np.uint8]]], segment: Segment, detection: Detection
) -> Watched:
    """What is seen of the frames of a segment."""
    asked = None if segment.end is None else segment.end - segment.lead - segment.first
    size = None if segment.end is None else segment.end - segment.start
    before = segment.start - segment.first
    black = Black(continues=segment.first > 0, asked=asked)
    times: list[Fraction] = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for seconds, frame in film:
            times.append(seconds)
            yield frame

    pictures = frames()
    runs = _runs(islice(marks(pictures, detection, black), size), segment.start)
    found = tuple(chain.from_iterable(runs))
    for _ in pictures:
        pass  # behind the last one that was asked for
    return Watched(
        segment,
        times=_packed(times[before : None if size is None else before + size]),
        marks=found,
        black_until=segment.first + black.until if black.until else 0,
        leaves_black=black.leaves,
    )


def why_apart(parts: Sequence[Watched]) -> str:
    """Why all segments of a film, in order, cannot be put together; nothing if they can."""
    for part in parts:
        if part.odd:
            return f"{part.odd} (segment {part.segment.number + 1} of {part.segment.count})"
    for one, other in pairwise(parts):
        if one.closing != other.opening:
            number = other.segment.number
            return f"segments {number} and {number + 1} differ where they overlap"
    return ""


def joined(video: Video, parts: Sequence[Watched], detection: Detection) -> Iterator[Piece]:
    """The pieces of a film of which all segments were watched, in order."""
    shown, marked, black = Shown(video.framerate), bytearray(), False
    for part in parts:
        start = len(marked)
        times, own = frames_of(part)
        for seconds in times:
            shown.add(seconds)
        marked.extend(own)
        if black and part.black_until > start:
            end = min(part.black_until, len(marked))
            marked[start:end] = b"\1" * (end - start)
        black = black if part.leaves_black is None else part.leaves_black
    yield from pieces_between(map(bool, marked), shown, detection, parts[-1].promised)


def frames_of(part: Watched) -> tuple[list[float], bytearray]:
    """When each frame of a segment is shown, and whether the scene changes there."""
    times = list(_unpacked(part.times))
    marked = bytearray(len(times))
    for first, last in zip(part.marks[::2], part.marks[1::2], strict=True):
        begin = first - part.segment.start
        end = min(last + 1 - part.segment.start, len(marked))
        marked[begin:end] = b"\1" * (end - begin)
    return times, marked


def _runs(marks: Iterable[bool], start: int) -> Iterator[tuple[int, int]]:
    """First and last frame of each stretch of marks, counted from this frame."""
    for marked, run in groupby(enumerate(marks, start), key=lambda pair: pair[1]):
        if marked:
            frames = [index for index, _ in run]
            yield frames[0], frames[-1]


def _packed(times: Sequence[Fraction]) -> str:
    """Times as text: few bytes where frames come at a steady rate."""
    whole = math.lcm(*(seconds.denominator for seconds in times))
    ticks = np.array([int(seconds * whole) for seconds in times], np.int64)
    steps = zlib.compress(np.diff(ticks, prepend=np.int64(0)).astype("<i8").tobytes())
    return f"{whole} {base64.b64encode(steps).decode()}"


def _unpacked(text: str) -> Iterator[float]:
    whole, _, steps = text.partition(" ")
    ticks = np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(steps)), "<i8"))
    return (tick / int(whole) for tick in ticks.tolist())

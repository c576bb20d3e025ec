"""Places: where in a video scenes are looked for, and what is found there.

    video    ├──────▓▓▓▓──────────────▓▓▓▓──────────────▓▓▓▓──────┤
    watched         ▓▓▓▓▓▓▓▓▓▓▓▓                one after the other, as one shorter video
    scenes          [──)[─────)[)

A film's first minutes are titles, and unlike the rest, so the places are spread over all of it.
What is between them is left out as if it did not exist: a scene that is cut off at the end of a
place goes on with the one that the next begins in, so as many scenes a second are found as there
are, and a long one is as long. A piece of two places is counted, and never cut.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from finecut.io.records import Span, Video, Watched
from finecut.transforms.cut.isolated import isolated_frames
from finecut.transforms.split.scenes import Detection, Piece, Shown, detected, pieces_between
from finecut.transforms.split.segments import divided, frames_of, watched

#: Seconds of each video in which scenes are detected, and at how many places of a longer one.
WATCHED_SECONDS, PLACES = 120.0, 3


@dataclass(frozen=True)
class Looked:
    """What was found in a video, as far as was looked."""

    #: On the clock of what was watched, as if there were nothing else.
    found: Sequence[Piece]
    #: Those of them that can be cut, where they are in the video.
    there: Sequence[Piece]
    #: How many of its seconds were looked at, and watched for it: neighbours have a say, too.
    seconds: float
    seconds_watched: float


def looked_at(video: Video, detection: Detection) -> Looked:
    """What is found in all of a short video, or in a few places of a longer one."""
    if video.duration > WATCHED_SECONDS:
        finer = replace(detection, segment_seconds=WATCHED_SECONDS / PLACES)
        segments = divided(video, finer)
        count = len(segments)
        if count > PLACES:
            chosen = [segments[(2 * n + 1) * count // (2 * PLACES)] for n in range(PLACES)]
            parts = [watched(segment, finer) for segment in chosen]
            if not any(part.odd for part in parts):
                return _together(video, parts, finer)
    return _beginning(video, detection)


def _beginning(video: Video, detection: Detection) -> Looked:
    """Of a short video, and of one that can only be watched from its beginning."""
    seconds = min(WATCHED_SECONDS, video.duration)
    frames = max(1, round(seconds * video.framerate))
    film = isolated_frames("split", video, limits=detection.limits, film=detection.film)
    pieces = list(detected(islice(film, frames), video.framerate, detection))
    return Looked(pieces, pieces, seconds, seconds)


def _together(video: Video, parts: Sequence[Watched], detection: Detection) -> Looked:
    """The places, one after the other."""
    shown, marked = Shown(video.framerate), bytearray()
    #: Where each begins: its frame and second in what was watched, and how far from there it is.
    firsts, offsets, shifts = list[int](), list[int](), list[float]()
    for part in parts:
        times, own = frames_of(part)
        begin = len(marked)
        firsts.append(begin)
        offsets.append(part.segment.start - begin)
        shifts.append(times[0] - begin / video.framerate)
        for seconds in times:
            shown.add(seconds - shifts[-1])
        marked.extend(own)
    found = list(pieces_between(map(bool, marked), shown, detection, ()))

    def there() -> Iterator[Piece]:
        for piece in found:
            place = bisect_right(firsts, piece.first) - 1
            if place == bisect_right(firsts, piece.end - 1) - 1:
                span, shift = piece.span, shifts[place]
                yield Piece(
                    piece.first + offsets[place],
                    piece.end + offsets[place],
                    Span(span.start + shift, span.end + shift),
                )

    rate = video.framerate
    around = sum(part.segment.start - part.segment.first + part.segment.tail for part in parts)
    seconds = len(marked) / rate
    return Looked(found, list(there()), seconds, seconds + around / rate)

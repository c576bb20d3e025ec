"""Segments: a long video is watched in parts, which together see what one look at all of it sees.

    the video     │0 ───────────── 1 ───────────── 2 ──────────────│
    segment 1            │·····├───────────────┤·····│
                         lead       its own       tail

Each begins with a key frame that is shown before its lead. Lead and tail are watched because they
have a say in what the frames beside them are, and for another reason: neighbours see the same
frames there, one coming from far before and the other fresh from a key frame. Their times, pictures
and places in the file have to be the same. If they are, so is all that follows, and the frames were
counted rightly. If not (a hole in the file, a clock that jumps, a key frame that is none), the
video is watched as a whole.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from typing import BinaryIO

import av
import numpy as np

from finecut.io.media.clock import Times, earliest
from finecut.io.media.frame_view import Bytes
from finecut.io.media.frames.small_pictures import Shrinking
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.seeking import OpenSource, first_key_shown, opened, seek_before
from finecut.io.media.source import decode, packets, stamp
from finecut.io.records import Segment, Video

#: Packets whose places are remembered until their pictures come out of the decoder.
MOST_PLACES = 1024
DIGEST_BYTES = 16
#: About how long a segment is. Each costs opening the video, decoding from a key frame, and
#: watching what lies around it.
SEGMENT_SECONDS = 300.0
#: A key frame may lie so much of a segment before its first frame. All between is decoded for
#: nothing, and where key frames are rare, would be again for each segment.
FAR = 1 / 20
#: Clips get their sound elsewhere.
SILENT = "none"


@dataclass(frozen=True)
class Grain:
    """How a video can be divided so that a detector sees the same: counted in frames."""

    #: Segments begin at multiples of this.
    align: int
    lead: int
    tail: int
    seconds: float = SEGMENT_SECONDS

    @property
    def least(self) -> int:
        """The fewest frames of a segment."""
        return self.lead + self.tail + self.align


@dataclass
class Notes:
    """What is known of a segment when it has been watched."""

    promised: list[float] = field(default_factory=list)
    #: Digests of what it shares with the segments before and after it.
    opening: str = ""
    closing: str = ""
    #: Why it cannot be put together with the others.
    odd: str = ""


class Whole(Exception):
    """Why a video is watched as a whole."""


TOO_FEW_KEYS = (
    "its frames cannot be decoded without those long before: it has no index, or hardly any key "
    "frames"
)


# ── dividing ─────────────────────────────────────────────────────────────────────────────────────


def plan_segments(
    file: str | BinaryIO, video: Video, grain: Grain, limits: Limits = USUAL_LIMITS
) -> Iterator[Segment]:
    """The segments of a video: one, if it is shorter than two, or cannot be divided."""
    try:
        yield from _segments(file, video, grain, limits)
    except Whole as reason:
        yield Segment(video, note=str(reason))


def _segments(
    file: str | BinaryIO, video: Video, grain: Grain, limits: Limits
) -> Iterator[Segment]:
    if video.duration < 2 * grain.seconds:
        yield Segment(video)
        return
    with opened(file, video, limits, SILENT) as source:
        if getattr(file, "is_copied", False):
            raise Whole("it cannot be read in parts where it lies, so each would copy all of it")
        total, shown = _frames(file, source, video)
        starts = _starts(total, grain, total / video.duration)
        if len(starts) < 2:
            yield Segment(video)
            return
        starts = list(_near_keys(source, starts, shown, grain))
        if len(starts) < 2:
            raise Whole(TOO_FEW_KEYS)
        firsts = [max(start - grain.lead, 0) for start in starts]
    for number, (start, first) in enumerate(zip(starts, firsts, strict=True)):
        end = starts[number + 1] if number + 1 < len(starts) else None
        yield Segment(
            video,
            number=number,
            count=len(starts),
            start=start,
            end=end,
            lead=grain.lead,
            tail=grain.tail,
            at=float(shown(first)),
        )


def _near_keys(
    source: OpenSource, starts: Sequence[int], shown: Callable[[int], Fraction], grain: Grain
) -> Iterator[int]:
    """The same, or earlier ones where their frames would be decoded from far before; a stretch
    without any key frame belongs to one segment.
    """
    if seek_before(source, float(shown(starts[-1] - grain.lead))):
        raise Whole(TOO_FEW_KEYS)
    last = starts[0]
    yield last
    for start in starts[1:]:
        first = _near_key(source, start - grain.lead, shown, grain)
        moved = -(-(first + grain.lead) // grain.align) * grain.align
        if moved - last >= grain.least:
            yield moved
            last = moved


def _near_key(
    source: OpenSource, frame: int, shown: Callable[[int], Fraction], grain: Grain
) -> int:
    """This frame, or the key frame before it if that is far."""
    at = shown(frame)
    if _is_near(source, at, grain):
        return frame
    key = None if seek_before(source, float(at)) else first_key_shown(source, float(at))
    if key is None:
        return 0
    return bisect_left(range(frame), key, key=shown) if at - key > FAR * grain.seconds else frame


def _is_near(source: OpenSource, at: Fraction, grain: Grain) -> bool:
    """Whether a key frame lies near before this second: by the index, or else at the first look.

    (The index knows when frames are decoded, which is before they are shown; of containers without
    one, only the key frames that were met.)
    """
    tick, entries = source.clock.pts(float(at)), source.stream.index_entries
    found = entries.search_timestamp(tick, backward=True, any_frame=False)
    near = FAR * grain.seconds
    if found >= 0 and 0 <= at - source.clock.seconds(entries[found].timestamp) <= near:
        return True
    with suppress(av.error.FFmpegError):
        source.container.seek(tick, stream=source.stream, backward=True)
        key = first_key_shown(source, float(at))
        return key is not None and 0 <= at - key <= near
    return False


def _frames(
    file: str | BinaryIO, source: OpenSource, video: Video
) -> tuple[int, Callable[[int], Fraction]]:
    """How many there are, about, and when each is shown."""
    rate, clock = source.clock.rate, source.clock
    if rate is not None:
        return int(video.duration * rate), lambda frame: frame / rate
    if not isinstance(file, str) and not getattr(file, "is_near", False):
        raise Whole("it has no constant rate, and all of it would be fetched to count its frames")
    times = Times(source.container, source.stream, source.limits)
    for _ in times.noted(packets(source.container, source.stream)):
        pass
    ticks = np.sort(np.frombuffer(times.ticks, np.int64)) if times.ticks else np.zeros(0, np.int64)
    ticks = ticks[ticks >= clock.first_pts]
    if times.unsaid or not len(ticks) or not np.diff(ticks).all():
        raise Whole("it has no constant rate, and its packets do not say when each frame is shown")
    return len(ticks), lambda frame: clock.seconds(int(ticks[frame]))


def _starts(total: int, grain: Grain, rate: float) -> list[int]:
    """The first frames of segments of about the same length."""
    number = total // max(round(grain.seconds * rate), grain.least)
    starts = (round(part * total / number / grain.align) for part in range(number))
    return [grain.align * start for start in starts]


# ── watching ─────────────────────────────────────────────────────────────────────────────────────


def watch_segment(
    file: str | BinaryIO, segment: Segment, notes: Notes, limits: Limits = USUAL_LIMITS
) -> Iterator[tuple[Fraction, Bytes]]:
    """The frames of a segment and around it: when each is shown, and its small picture.

    As :func:`~.small_pictures.watch` sees them; where that is not sure, ``notes.odd`` says why.
    """
    with opened(file, segment.video, limits, SILENT) as source:
        duration = source.stream.duration
        notes.promised[:] = [] if duration is None else [float(duration * source.clock.time_base)]
        if segment.first and seek_before(source, segment.at):
            notes.odd = "no key frame was found before a segment"
            return
        seams = _Seams(segment)
        shrunk, index = Shrinking(), segment.first
        for seconds, frame, place in _timed(source, segment, notes):
            limits.refuse_frames(index + 1)
            picture = shrunk(frame)
            seams.see(index, seconds, place, picture)
            yield seconds, picture
            index += 1
            if index == segment.until:
                break
        else:
            if segment.until is not None:
                notes.odd = notes.odd or "it ends earlier than expected"
        notes.opening, notes.closing = seams.digests()


class _Seams:
    """Digests of the frames that a segment shares with its neighbours."""

    def __init__(self, segment: Segment) -> None:
        end = segment.end
        self._opening = range(segment.first, segment.start + segment.tail if segment.number else 0)
        self._closing = range(0) if end is None else range(end - segment.lead, end + segment.tail)
        self._digests = [blake2b(digest_size=DIGEST_BYTES) for _ in range(2)]

    def see(self, index: int, seconds: Fraction, place: int, picture: Bytes) -> None:
        for digest, shared in zip(self._digests, (self._opening, self._closing), strict=True):
            if index in shared:
                digest.update(f"{seconds} {place} ".encode() + picture.tobytes())

    def digests(self) -> list[str]:
        return [digest.hexdigest() for digest in self._digests]


def _timed(
    source: OpenSource, segment: Segment, notes: Notes
) -> Iterator[tuple[Fraction, av.VideoFrame, int]]:
    """The segment's frames: when each is shown, and where in the file its packet lies."""
    begin, last = earliest(Fraction(segment.at)), Fraction(0)
    tick: int | None = None
    for frame, place in _decoded(source):
        pts = stamp(source.container, frame)
        if pts is None:
            if not segment.first and tick is None:
                continue  # second 0 is the first frame with a time
            notes.odd = "a frame has no time"
            return
        seconds = source.clock.seconds(pts)
        if tick is None and segment.first and seconds < begin:
            continue
        # Ticks are compared faster than fractions; two of them may be the same moment.
        if tick is not None and (pts <= tick or seconds == last):
            notes.odd = "its timestamps jump back"
            return
        tick, last = pts, seconds
        yield seconds, frame, place


def _decoded(source: OpenSource) -> Iterator[tuple[av.VideoFrame, int]]:
    """All frames from here on, each with the place of its packet, or -1 where that is not known."""
    places: dict[int | None, int] = {}
    for packet in packets(source.container, source.stream):
        if len(places) > MOST_PLACES:
            places.clear()
        places[packet.pts] = -1 if packet.pos is None else packet.pos
        for frame in decode(packet, source.limits) or ():
            yield frame, places.pop(frame.pts, -1)

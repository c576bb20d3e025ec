"""How often a film shows a picture: what the times of its packets say, not what a header promises.

Matroska, WebM and AVI name one rate, or none and FFmpeg guesses it from the first pictures. Screen
recorders and telephones leave pictures out all the same, AVI by entries that hold none::

    promised   |0   |1   |2   |3   |4   |5   |6   |7         30 a second
    packets    |0   |1   |2             |5        |7         a gap: the rate is not constant

All packets are read (AVI: its index), and none is decoded. Of a film that has to be fetched only
the beginning is, since all of it would be fetched once more.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from finecut.io.media.limits import Limits
from finecut.io.media.wholeness import is_known, is_unbroken

Packet: TypeAlias = "av.Packet[Any]"

#: Bytes of packets that are read of a film which has to be fetched.
MOST_FETCHED = 16 << 20
#: By how much of a picture's length a gap may differ from it; containers round, too.
UNEVEN = 0.25
#: By how much the rate may differ from the promised one: less than 29.97 from 30.
DRIFT = 0.0005
AVI = "avi"


@dataclass(frozen=True)
class Pace:
    """What the packets' times say."""

    #: Pictures a second, all of one length or on the average.
    framerate: float
    #: How many there are, if they were counted.
    num_frames: int | None = None
    #: They keep no constant rate.
    uneven: bool = False


class Times:
    """When the packets of a film say that their pictures are shown, noted while they are read."""

    def __init__(self, container: InputContainer, stream: VideoStream, limits: Limits) -> None:
        self.container, self.stream, self._limits = container, stream, limits
        self._is_avi = container.format.name == AVI
        codec: Any = stream.codec_context
        self._hides = HIDES.get(codec.codec.canonical_name)
        self.ticks = array("q")
        self.num_bytes = 0
        #: Where the last packet lies in the file.
        self.place = 0
        #: A picture has no time, so that nothing follows from the others.
        self.unsaid = False

    def noted(self, packets: Iterable[Packet]) -> Iterator[Packet]:
        for packet in packets:
            size = packet.size
            hidden = self._hides is not None and size and self._hides(packet)
            if size and not packet.is_discard and not hidden:
                # AVI has decoding times only; they count the pictures as they are shown.
                tick = packet.dts if self._is_avi else packet.pts
                self.unsaid |= tick is None
                self.ticks.append(tick or 0)
                self.num_bytes += size
                self.place = packet.pos or 0
                self._limits.refuse_frames(len(self.ticks))
            yield packet


def pace_of(
    file: str | BinaryIO, times: Times, rest: Iterator[Packet], first: int, seconds: float
) -> Pace | None:
    """The pace of a film that is this long; ``None`` where its times do not show it.

    ``rest`` are the packets that follow those of ``times``, ``first`` is the tick at which the
    first picture is shown. Other formats have an index that counted the pictures (MP4), or packets
    that may be half a picture (MPEG-TS).
    """
    container, stream = times.container, times.stream
    if not is_known(container.format.name):
        return None
    base = stream.time_base or Fraction(1)
    indexed = array("q", _indexed(container, stream))
    most = math.inf if isinstance(file, str) else MOST_FETCHED
    whole = bool(indexed) or all(times.num_bytes <= most for _ in times.noted(rest))
    ticks = indexed or times.ticks
    shown = np.unique(np.frombuffer(ticks, np.int64)) if ticks else np.zeros(0, np.int64)
    if not indexed:  # an index says when pictures are decoded, which is a little earlier
        shown = shown[shown >= first]
    if times.unsaid:
        return None
    for rate in (stream.average_rate, stream.base_rate):
        if rate and is_even(shown, base, rate):
            return Pace(rate.numerator / rate.denominator)
    # What looks like a gap may be a hole in the file, and then the pictures are missing.
    if container.format.name != AVI and not is_unbroken(file, times.place):
        return None
    number, span = len(shown), float((int(shown[-1]) - int(shown[0])) * base)
    if not whole or seconds <= span:
        return Pace((number - 1) / span, None, uneven=True)
    return Pace(number / seconds, number, uneven=True)


def is_even(ticks: NDArray[np.int64], base: Fraction, rate: Fraction) -> bool:
    """Whether pictures that are shown at these ticks, in order, keep this rate.

    >>> is_even(np.array([0, 33, 67, 100]), Fraction(1, 1000), Fraction(30))
    True
    >>> is_even(np.array([0, 33, 100, 133]), Fraction(1, 1000), Fraction(30))
    False
    """
    if len(ticks) < 2:
        return True
    usual, tick = float(1 / rate), float(base)
    gaps = np.diff(ticks) * tick
    allowed = max(tick, usual * UNEVEN) * 1.001
    span = float(ticks[-1] - ticks[0]) * tick
    strayed = abs(span - len(gaps) * usual)
    return bool(np.all(np.abs(gaps - usual) <= allowed)) and strayed <= max(allowed, span * DRIFT)


def _indexed(container: InputContainer, stream: VideoStream) -> Iterator[int]:
    """Of AVI, when each picture is shown: its index counts all entries, and leaves out empty ones.

    (Matroska's index holds key frames only.)
    """
    if container.format.name == AVI:
        yield from (entry.timestamp for entry in stream.index_entries if entry.size)


def _vp8_hides(packet: Packet) -> bool:
    return not memoryview(packet)[0] & 0x10


def _vp9_hides(packet: Packet) -> bool:
    data = memoryview(packet)
    if data[-1] & 0xE0 == 0xC0:
        return False  # several frames in one, and one of them is shown
    flags = data[0] if data[0] & 0x30 != 0x30 else data[0] << 1
    return not flags & 0x0A


#: Codecs in which a packet may hold a picture that only others are made of, and how it says so.
HIDES: dict[str, Callable[[Packet], bool]] = {"vp8": _vp8_hides, "vp9": _vp9_hides}

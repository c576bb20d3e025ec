"""The time of films: when a picture is shown, and how often one is.

A :class:`Clock` turns ticks into exact seconds since the first frame, and into ticks of a clip.
Containers round. Matroska keeps milliseconds, so frame 61 of a 30 fps film says 2.033 although it
is shown at 2.0333…; a cut at that very frame would put it on the wrong side. When the whole film
has one frame rate, a time within one tick of the frame grid therefore *is* the grid's time::

    grid    0        1/30       2/30       3/30
            |─────────|──────────|──────────|──
    ticks   0        33         67        100       (milliseconds)

With a variable frame rate there is no grid, and the ticks are taken as they are.

The pace of a film is what the times of its packets say, not what a header promises.
Matroska, WebM and AVI name one rate, or none and FFmpeg guesses it from the first pictures. Screen
recorders and telephones leave pictures out all the same, AVI by entries that hold none::

    promised   |0   |1   |2   |3   |4   |5   |6   |7         30 a second
    packets    |0   |1   |2             |5        |7         a gap: the rate is not constant

All packets are read (AVI: its index), and none is decoded. Of a film that has to be fetched only
the beginning is, since all of it would be fetched once more.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, BinaryIO, TypeAlias

import av
import numpy as np

from finecut.io.media.containers import is_known, is_unbroken
from finecut.io.media.limits import Limits

Packet: TypeAlias = "av.Packet[Any]"

#: Bounds of spans are floats (``frame / rate``), frame times are exact: a bound that misses its
#: frame by less than a microsecond means that frame.
NEARLY = Fraction(1, 1_000_000)

#: Clips get at least this many ticks a second, so that off-grid times stay true to 0.1 ms.
LEAST_TICKS = 10_000
MOST_TICKS = 1_000_000

#: Bytes of packets that are read of a film which has to be fetched.
MOST_FETCHED = 16 << 20
#: By how much of a picture's length a gap may differ from it; containers round, too.
UNEVEN = 0.25
#: By how much the rate may differ from the promised one: less than 29.97 from 30.
DRIFT = 0.0005
AVI = "avi"


@dataclass(frozen=True)
class Clock:
    """The time of one video stream."""

    time_base: Fraction
    first_pts: int
    #: Frame rate of the grid all frames lie on, ``None`` for a variable frame rate.
    rate: Fraction | None

    def seconds(self, pts: int) -> Fraction:
        """Exact seconds since the first frame."""
        return Fraction(*self._shown(pts))

    def pts(self, seconds: float) -> int:
        """The tick at (or just before) which this second falls."""
        return self.first_pts + int(Fraction(seconds) / self.time_base)

    @property
    def slack(self) -> Fraction:
        """How far before a border a tick may lie that means it: ticks may have been rounded."""
        whole = self.rate.numerator if self.rate else self.time_base.denominator
        return self.clip_time_base / 2 if whole > MOST_TICKS else NEARLY

    def ticker(self) -> Callable[[int], int]:
        """What turns ticks of the film into ticks of a clip's clock that began with the film.

        The same as ``round(seconds(pts) / clip_time_base)`` in whole numbers: films that are only
        copied have little else to do for each picture.
        """
        shown, fine = self._shown, self.clip_time_base.denominator

        def tick(pts: int) -> int:
            part, whole = shown(pts)
            return _nearest(part * fine, whole)

        return tick

    @cached_property
    def _shown(self) -> Callable[[int], tuple[int, int]]:
        """What turns ticks into seconds, as the two numbers of a fraction; asked of every picture.

        The time of the nearest frame of the grid, if one is near.
        """
        first, (up, down) = self.first_pts, self.time_base.as_integer_ratio()
        if self.rate is None:
            return lambda pts: ((pts - first) * up, down)
        frames, over = self.rate.as_integer_ratio()
        # As far from the grid as a tick may lie, in parts of a tick's and the rate's denominator.
        allowed = int(min(self.time_base, 1 / self.rate / 4) * down * frames)
        whole = down * over

        def on_grid(pts: int) -> tuple[int, int]:
            ticks = (pts - first) * up
            index = _nearest(ticks * frames, whole)
            if abs(index * whole - ticks * frames) <= allowed:
                return index * over, frames
            return ticks, down

        return on_grid

    @property
    def clip_time_base(self) -> Fraction:
        """A time base in which every time of this clock (minus another one) is a whole number."""
        whole = self.rate.numerator if self.rate else self.time_base.denominator
        if whole > MOST_TICKS:
            return Fraction(1, 90_000)
        return Fraction(1, whole * -(-LEAST_TICKS // whole))


def _nearest(part: int, whole: int) -> int:
    """As ``round(Fraction(part, whole))``: halves go to the even neighbour."""
    floor, rest = divmod(part, whole)
    return floor + (2 * rest > whole or (2 * rest == whole and floor % 2))


def earliest(border: Fraction) -> Fraction:
    """From when on a frame is at or past this border of a span.

    So a frame belongs to ``[start, end)`` from ``earliest(start)`` until ``earliest(end)``.
    """
    return border - NEARLY


# ── how often a film shows a picture ─────────────────────────────────────────────────────────────


class Times:
    """When the packets of a film say that their pictures are shown, noted while they are read."""

    def __init__(
        self, container: av.container.InputContainer, stream: av.VideoStream, limits: Limits
    ) -> None:
        self.container, self.stream, self._limits = container, stream, limits
        self._is_avi = container.format.name == AVI
        self._hides = HIDES.get(stream.codec_context.codec.canonical_name)
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
) -> tuple[float, int | None, bool] | None:
    """How many pictures a second a film of this length shows, of one length or on the average; how
    many there are, if they were counted; and whether they keep no constant rate. ``None`` where the
    times do not show it.

    ``rest`` are the packets that follow those of ``times``, ``first`` is the tick at which the
    first picture is shown. Other formats have an index that counted the pictures (MP4), or packets
    that may be half a picture (MPEG-TS).
    """
    container, stream = times.container, times.stream
    if not is_known(container.format.name):
        return None
    base = stream.time_base or Fraction(1)
    # AVI's index counts all entries, also the empty ones; Matroska's holds key frames only.
    entries = stream.index_entries if container.format.name == AVI else ()
    indexed = array("q", (entry.timestamp for entry in entries if entry.size))
    most = math.inf if isinstance(file, str) or getattr(file, "is_near", False) else MOST_FETCHED
    whole = bool(indexed) or all(times.num_bytes <= most for _ in times.noted(rest))
    ticks = indexed or times.ticks
    shown = np.unique(np.frombuffer(ticks, np.int64)) if ticks else np.zeros(0, np.int64)
    if not indexed:  # an index says when pictures are decoded, which is a little earlier
        shown = shown[shown >= first]
    if times.unsaid:
        return None
    for rate in (stream.average_rate, stream.base_rate):
        if rate and is_even(shown, base, rate):
            return rate.numerator / rate.denominator, None, False
    # What looks like a gap may be a hole in the file, and then the pictures are missing.
    if container.format.name != AVI and not is_unbroken(file, times.place):
        return None
    number, span = len(shown), float((int(shown[-1]) - int(shown[0])) * base)
    if not whole or seconds <= span:
        return (number - 1) / span, None, True
    return number / seconds, number, True


def is_even(ticks: np.typing.NDArray[np.int64], base: Fraction, rate: Fraction) -> bool:
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
    return bool(np.all(np.abs(gaps - usual) <= allowed)) and (
        abs(span - len(gaps) * usual) <= max(allowed, span * DRIFT)
    )


def _vp9_hides(packet: Packet) -> bool:
    data = memoryview(packet)
    if data[-1] & 0xE0 == 0xC0:
        return False  # several frames in one, and one of them is shown
    flags = data[0] if data[0] & 0x30 != 0x30 else data[0] << 1
    return not flags & 0x0A


#: Codecs in which a packet may hold a picture that only others are made of, and how it says so.
HIDES: dict[str, Callable[[Packet], bool]] = {
    "vp8": lambda packet: not memoryview(packet)[0] & 0x10,
    "vp9": _vp9_hides,
}

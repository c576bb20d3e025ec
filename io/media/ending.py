"""How a film ends: cut off, or with a picture that stands still until the end that was promised.

    promised   ├──────────────────────────────────────┤
    pictures   │ │ │ │ │ │ │ │                           cut off, or the last one shown for so long?

MP4 says of every picture how long it is shown. Matroska and AVI say only how long the film is,
which is believed when their file is all there, and none of what it holds was lost.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from finecut.io.media.clock import Clock
from finecut.io.media.wholeness import is_known, is_whole


class Ending:
    """Notes every packet and picture of one pass, and knows the end when there are no more."""

    def __init__(
        self,
        file: str | BinaryIO,
        container: InputContainer,
        stream: VideoStream,
        clock: Clock,
        promised: float,
    ) -> None:
        self._file, self._form, self._clock = file, container.format.name, clock
        self._promised = Fraction(promised)
        #: Ticks: when the last picture is shown, when the one that lasts longest is over, and when
        #: the last that a packet holds should be shown.
        self._last = self._over = self._due = clock.first_pts
        self._stream = stream

    def read(self, packet: av.Packet[Any], damaged: bool) -> None:
        if not packet.size:
            return
        # What AVI says is when pictures are decoded, all of which come out of the decoder later.
        due = packet.dts if self._form == "avi" else packet.pts
        if due is not None and (damaged or self._form != "avi") and due > self._due:
            self._due = due

    def passed(self, packet: av.Packet[Any]) -> None:
        """It was not decoded, and is taken for a picture as its container describes it."""
        self.read(packet, damaged=packet.is_corrupt)
        if packet.size:
            self.saw(packet.pts, packet.duration)

    def saw(self, tick: int | None, ticks: int | None) -> None:
        """A picture is shown from this tick on, for this many."""
        if tick is None:
            return
        self._last = max(self._last, tick)
        self._over = max(self._over, tick + (ticks or 0))

    def lasts_until(self, seconds: Fraction) -> bool:
        """Whether the last picture is shown so long, in seconds of the film."""
        return self._last >= self._due and self.seconds >= seconds

    @cached_property
    def seconds(self) -> Fraction:
        """When the film is over, as far as it can be believed."""
        over = (self._over - self._clock.first_pts) * self._clock.time_base
        if over >= self._promised or not is_known(self._form):
            return over
        # Where the part begins that the last key frame lies in; the demuxer has noted it.
        place = max((entry.pos for entry in self._stream.index_entries), default=0)
        return self._promised if is_whole(self._file, self._form, place) else over

"""A source video, opened to make clips of it: where they begin, and how the film ends.

It is cut off, or ends with a picture that stands still until the end that was promised::

    promised   ├──────────────────────────────────────┤
    pictures   │ │ │ │ │ │ │ │                           cut off, or the last one shown for so long?

MP4 says of every picture how long it is shown. Matroska and AVI say only how long the film is,
which is believed when their file is all there, and none of what it holds was lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, BinaryIO

import av

from finecut.io.media.clock import Clock
from finecut.io.media.codecs import SOFTWARE
from finecut.io.media.containers import descriptions, has_several, is_known, is_locked, is_whole
from finecut.io.media.limits import Limits
from finecut.io.media.sound import Listener, why_left_out
from finecut.io.media.source import (
    DECODE_THREADS,
    MATROSKA_KEY,
    clock_of,
    ignore_other_streams,
    open_film,
    packets,
    timed,
    track_of,
)
from finecut.io.records import Video

#: Seconds of film to read past a point before what is still missing there is given up: the sound of
#: a finished clip in a badly interleaved file, or a key frame.
PATIENCE = 10
#: How far back a seek tries, in seconds, until it lands on a key frame at or before the cut.
SEEK_BACK = (0, 1, 5, 20, 60)
#: Seconds of sound read ahead of a clip, beside what a decoder wants to hear: what is heard
#: with a picture may be written before it.
SOUND_AHEAD = 0.25
#: Files without presentation times (AVI) are only trusted to land this early.
SEEK_MARGIN = Fraction(1, 2)


class Ending:
    """Notes every packet and picture of one pass, and knows the end when there are no more."""

    def __init__(
        self,
        file: str | BinaryIO,
        container: av.container.InputContainer,
        stream: av.VideoStream,
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
        # What AVI says is when pictures are decoded, all of which come out of the decoder later.
        due = packet.dts if self._form == "avi" else packet.pts
        if packet.size and due is not None and (damaged or self._form != "avi"):
            self._due = max(self._due, due)

    def passed(self, packet: av.Packet[Any]) -> None:
        """It was not decoded, and is taken for a picture as its container describes it."""
        self.read(packet, damaged=packet.is_corrupt)
        if packet.size:
            self.saw(packet.pts, packet.duration)

    def saw(self, tick: int | None, ticks: int | None) -> None:
        """A picture is shown from this tick on, for this many."""
        if tick is not None:
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


@dataclass(frozen=True)
class OpenSource:
    """One way through one source video."""

    container: av.container.InputContainer
    stream: av.VideoStream
    clock: Clock
    #: The sound that clips get, if any.
    listener: Listener | None
    #: What each clip's record notes of the sound: why it has no sound although the film has some.
    facts: dict[str, str]
    ending: Ending
    limits: Limits
    #: Whether its pictures are described in more than one way.
    changes: bool

    @property
    def rate(self) -> Fraction:
        return self.stream.average_rate or self.stream.base_rate or Fraction(25)

    @property
    def run_in(self) -> Fraction:
        """Seconds of sound that a decoder wants before the first that is heard."""
        return self.listener.run_in if self.listener else Fraction(0)

    def sound_complete(self, until: Fraction, heard: Fraction, seen: Fraction) -> bool:
        """Whether a clip that is heard until then has all the sound it can expect."""
        return self.listener is None or heard >= until or seen >= until + PATIENCE

    def packets(self) -> Iterator[av.Packet[av.VideoStream] | av.Packet[av.AudioStream]]:
        """Those of its pictures and of its sound, as they lie in the file."""
        sound = [self.listener.stream] if self.listener else []
        yield from packets(self.container, self.stream, *sound)


@contextmanager
def opened(
    file: str | BinaryIO, video: Video, limits: Limits, audio: str, decoder: str = SOFTWARE
) -> Iterator[OpenSource]:
    """The source video, from which clips get this kind of ``audio`` (see ``Encoding``)."""
    described = descriptions(file)
    with open_film(file, limits, decoder=decoder) as container:
        stream = track_of(container, video)
        clock = clock_of(stream, video)
        sound = next(iter(container.streams.audio), None) if audio != "none" else None
        locked = sound and (is_locked(described, sound.id) or MATROSKA_KEY in sound.metadata)
        note = why_left_out(sound, audio, locked=bool(locked)) if sound else ""
        sound = None if note else sound
        ignore_other_streams(container, {s.index for s in (stream, sound) if s is not None})
        stream.thread_type = "AUTO"
        # Threads of the processor would only hold pictures of the GPU back.
        stream.codec_context.thread_count = 1 if stream.codec_context.is_hwaccel else DECODE_THREADS
        yield OpenSource(
            container=container,
            stream=stream,
            clock=clock,
            listener=Listener(sound, video.first_pts * clock.time_base, audio) if sound else None,
            facts={"sound": note} if note else {},
            ending=Ending(file, container, stream, clock, promised=video.duration),
            limits=limits,
            changes=has_several(described, stream.id),
        )


def rewind(container: av.container.InputContainer) -> None:
    """Go to the beginning, which is before 0 where the clock of MPEG-TS wrapped.

    A second before it, since that is when the first picture is shown, and it is decoded earlier.
    """
    start = container.start_time or 0
    container.seek(start - av.time_base if start < 0 else 0, backward=True)


def heard_from(source: OpenSource, start: float) -> float:
    """Where to read from for pictures from ``start`` on, so that their sound is not met midway.

    Containers go to the sound that is heard when the key frame is shown, some to what is written
    behind it; what a decoder wants to hear before that would be missing.
    """
    return start - float(source.run_in) - SOUND_AHEAD if source.listener else start


def seek_before(source: OpenSource, start: float) -> bool:
    """Go to a key frame shown at or before ``start``; to the beginning when none can be found.

    Whether it is the beginning. A container that was just opened is there already.
    """
    if start <= 0:
        return True
    for back in SEEK_BACK:
        target = source.clock.pts(start - back)
        if target <= source.clock.first_pts:
            break
        with suppress(av.error.FFmpegError):
            if _lands_before(source, target, start):
                return False
    rewind(source.container)
    return True


def _lands_before(source: OpenSource, target: int, start: float) -> bool:
    """Seek to this tick; whether pictures are shown from there, and none first after ``start``."""
    for first_shown in (first_key_shown, _first_decoded):
        source.container.seek(target, stream=source.stream, backward=True)
        landed = first_shown(source, start)
        if landed is None or landed > start:
            return False
    source.container.seek(target, stream=source.stream, backward=True)
    return True


def _first_decoded(source: OpenSource, _limit: float) -> Fraction | None:
    """When the first frame is shown that the decoder gives from here.

    After a recovery point (H.264 without real key frames) it holds frames back until they are
    whole again, which may be later than the cut.
    """
    shown = timed(source.container, source.stream, source.clock, source.limits)
    return next((seconds for seconds, _ in shown), None)


def first_key_shown(source: OpenSource, limit: float) -> Fraction | None:
    """When the next key frame is shown; streams without an index land between two of them."""
    for packet in packets(source.container, source.stream):
        if packet.pts is not None:
            shown = source.clock.seconds(packet.pts)
        elif packet.dts is not None:
            shown = source.clock.seconds(packet.dts) + SEEK_MARGIN
        else:
            return None
        if packet.is_keyframe or shown > limit + PATIENCE:
            return shown
    return None

"""Glancing: looking at a few frames of a finished clip, those that are cheap to decode.

    clip      I  P  b  b  P  b  b  P  b  b  P  …  b │ I  P  b  b  …      two seconds or so to each I
    decoded   I  P        P                         │ I  P               one in 16, from each I on
    wanted    ↑     ↑        ↑     ↑                     ↑               and none beyond what is

Clips that are copied were not decoded, so nobody has seen their frames. To see every one of them
would cost what copying saves. A glance decodes, after each key frame, a sixteenth of the frames up
to the next one, and leaves out those that no other frame needs. Whoever looks on takes the nearest
of these. The clip's own file is read, so that a glance at it finds the same frames at any time.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import BinaryIO, Protocol, overload

import av
from av.codec.context import Flags2
from av.video.stream import VideoStream

from finecut.io.media.clip_file import Packet
from finecut.io.media.clock import Clock
from finecut.io.media.cutting import CutShot
from finecut.io.media.frame_view import Look, Onlooker, Scalers
from finecut.io.media.limits import USUAL_LIMITS, FilmError, Limits
from finecut.io.media.memory import let_go, let_go_of_frames
from finecut.io.media.picture import Upright, display_matrix, stored
from finecut.io.media.remux import h264
from finecut.io.media.source import (
    constant_rate,
    decode,
    flushed,
    ignore_other_streams,
    open_film,
    packets,
    video_stream,
)
from finecut.io.records import ClipFile, Shot

#: One frame in so many is decoded, but no fewer than these after a key frame: one to compare it
#: with. Where motion is estimated from neighbours, these come only after some more were decoded.
SHARE, LEAST, LEAST_FOR_PAIRS = 16, 1, 5
#: Codecs whose decoders tell the vectors they follow.
WITH_VECTORS = frozenset({"h264", "mpeg4"})


class Glancer(Onlooker, Protocol):
    """Sees some frames of one clip."""

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        """All frames are shown at these times: the numbers of those it would like to see."""

    def more(self, times: Sequence[Fraction]) -> int:
        """Frames shown at these times can be had next: how many it wants, from the first on.

        It is asked again when it has seen them, about those that are left.
        """


MakeGlancer = Callable[[Shot, ClipFile], Glancer]


def glance(
    result: CutShot,
    make: MakeGlancer | None,
    vectors: bool = False,
    limits: Limits = USUAL_LIMITS,
) -> CutShot:
    """The same, after a glance at its clip; what goes wrong there is not the clip's trouble."""
    if make is None or result.path is None or result.file is None:
        return result
    try:
        glance_at(str(result.path), make(result.shot, result.file), vectors, limits)
    except (OSError, ValueError, ArithmeticError, LookupError, RuntimeError, FilmError) as error:
        return dataclasses.replace(result, unseen=f"looking at the clip broke off ({error})")
    finally:
        let_go()
    return result


def glance_at(
    file: str | BinaryIO, glancer: Glancer, vectors: bool = False, limits: Limits = USUAL_LIMITS
) -> None:
    """Show it the frames of this clip that it wants, or those near them."""
    with open_film(file, limits, own=True) as container:
        stream = video_stream(container)
        ignore_other_streams(container, {stream.index})
        assert stream.time_base is not None
        clock = Clock(stream.time_base, 0, constant_rate(stream))
        clip = [
            packet
            for packet in packets(container, stream)
            if packet.size and packet.pts is not None
        ]
        glancing = _Glance(stream, clock, clip, glancer, vectors, limits)
        for section in _sections(clip):
            glancing.see(section)
    if not glancing.seen:
        raise ValueError("none of its pictures could be decoded")
    glancer.end()


def _sections(clip: Sequence[Packet]) -> Iterator[list[Packet]]:
    """From key frame to key frame, without what is shown before it."""
    section: list[Packet] = []
    for packet in clip:
        if packet.is_keyframe and section:
            yield section
            section = []
        if not section or (packet.pts or 0) > (section[0].pts or 0):
            section.append(packet)
    if section:
        yield section


class _Times(Sequence[Fraction]):
    """When the frames of a clip are shown; fractions are dear, so only of those that are asked."""

    def __init__(self, clock: Clock, ticks: Sequence[int]) -> None:
        self._clock, self._ticks = clock, ticks
        self._known: dict[int, Fraction] = {}

    def __len__(self) -> int:
        return len(self._ticks)

    @overload
    def __getitem__(self, number: int) -> Fraction: ...

    @overload
    def __getitem__(self, number: slice) -> list[Fraction]: ...

    def __getitem__(self, number: int | slice) -> Fraction | list[Fraction]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        tick = self._ticks[number]
        if tick not in self._known:
            self._known[tick] = self._clock.seconds(tick)
        return self._known[tick]


class _Glance:
    """One clip, section by section."""

    def __init__(
        self,
        stream: VideoStream,
        clock: Clock,
        clip: Sequence[Packet],
        glancer: Glancer,
        vectors: bool,
        limits: Limits,
    ) -> None:
        self.stream, self.clock, self.glancer, self.limits = stream, clock, glancer, limits
        self.context = stream.codec_context
        self.delay = self.context.reorder_depth
        self.context.thread_count = 1  # so little is decoded in a row that threads only wait
        codec = self.context.codec.canonical_name
        self.header = h264.header(self.context.extradata) if codec == "h264" else None
        self.pairs = vectors and codec not in WITH_VECTORS
        if vectors and not self.pairs:
            self.context.flags2 |= Flags2.export_mvs
        if not self.pairs:
            self.context.skip_frame = "NONREF"
        ticks = sorted(packet.pts for packet in clip if packet.pts is not None)
        wanted = glancer.wants(_Times(clock, ticks))
        # Ticks, since whole numbers are compared quicker than fractions.
        self.tick = tick = clock.ticker()
        self.wanted = sorted(tick(ticks[number]) for number in wanted)
        self.upright: Upright | None = None
        self.scalers = Scalers()
        self.seen = 0

    def see(self, section: Sequence[Packet]) -> None:
        """Show what is wanted of a section; for each further go it is decoded from its start."""
        needed, end = self._cheap(section)
        if not end:
            return
        shown = set[int]()
        count = self._more(section, needed)
        self._show(section[: [*needed, end][count]], shown)
        while more := self._more(section, needed[count:]):
            count += more
            self._show(section[: [*needed, end][count]], shown)

    def _more(self, section: Sequence[Packet], needed: Sequence[int]) -> int:
        times = [self.clock.seconds(section[place].pts or 0) for place in needed]
        return self.glancer.more(times) if times else 0

    def _show(self, section: Sequence[Packet], shown: set[int]) -> None:
        """Decode these, and show the frames that were not shown yet."""
        clings = False
        for frame in self._decoded(section):
            if frame.pts is None or frame.pts in shown:
                continue
            look = Look(frame, self._make_upright(frame), self.scalers)
            self.glancer.see(look, self.clock.seconds(frame.pts))
            self.seen += 1
            shown.add(frame.pts)
            clings |= look.clings
            del look
        if clings:
            let_go_of_frames()

    def _cheap(self, section: Sequence[Packet]) -> tuple[Sequence[int], int]:
        """Where frames lie that can be had after the key frame, and where the last of them ends.

        As far as anything is wanted, and allowed. Without a header nobody knows here which of them
        the decoder will leave out, so they are had all at once or not at all.
        """
        first = reached = self.tick(section[0].pts or 0)
        until = self._last_wanted(first, self.tick(max(packet.pts or 0 for packet in section)))
        if until is None and self.seen:
            return (), 0
        most = max(LEAST_FOR_PAIRS if self.pairs else LEAST, len(section) // SHARE)
        place, needed = 1, list[int]()
        while until is not None and place < len(section) and reached < until:
            if self._is_needed(section[place]):
                if len(needed) == most:
                    break
                needed.append(place)
                reached = max(reached, self.tick(section[place].pts or 0))
            place += 1
        return needed if self.header is not None else (), place

    def _last_wanted(self, first: int, last: int) -> int | None:
        """The last wanted picture between these two, if any is."""
        place = bisect_right(self.wanted, last)
        return self.wanted[place - 1] if place and self.wanted[place - 1] >= first else None

    def _is_needed(self, packet: Packet) -> bool:
        """Whether other frames need this one, so that it is decoded."""
        if self.header is None:
            return True
        return h264.is_reference(h264.units(bytes(packet), self.header.length_size))

    def _decoded(self, section: Sequence[Packet]) -> Iterator[av.VideoFrame]:
        if not section:
            return
        for packet in section:
            yield from decode(packet, self.limits) or ()
        yield from flushed(self.context)
        self.context.flush_buffers()
        # Flushed decoders forget how many pictures wait, and would lose some.
        self.context.reorder_depth = self.delay

    def _make_upright(self, frame: av.VideoFrame) -> av.VideoFrame:
        matrix = self.upright.first.matrix if self.upright else display_matrix(frame)
        source = stored(frame, self.stream.sample_aspect_ratio, matrix)
        if self.upright is None:
            self.upright = Upright(source)
        return self.upright(frame, source)

"""Copying: clips made of a film's own packets, without encoding them again, or hardly.

    film     I────────I────────I────────I────────I────────      I  a key frame
    shot          ▕▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▏
    copy     ▕────────┼────────┼────────▏                       from key frame to key frame
    smart         ▕░░░┼────────┼──────░▏                        ░ encoded: exactly the shot

``copy`` decodes nothing. A clip begins with the last key frame at or before its shot and ends where
a key frame begins at or after its end; its record says which span of the film that is. ``smart``
holds exactly the frames of the shot: those from its start to the next key frame are encoded anew,
and the few at its end that wait for pictures after it. Films and shots that cannot be copied are
encoded as usual, and their records say why.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from finecut.io.media.clip_file import Packet
from finecut.io.media.clock import Clock
from finecut.io.media.codecs.decoders import SOFTWARE
from finecut.io.media.codecs.encoders import Encoding, PictureFormat
from finecut.io.media.cutting import (
    ENCODING_ERRORS,
    LONG_STILL,
    PATIENCE,
    CutShot,
    cut,
    first_key_shown,
    heard_from,
    seek_before,
    sound_stream,
    telling,
)
from finecut.io.media.ending import Ending
from finecut.io.media.frame_view import MakeOnlooker
from finecut.io.media.frames.cheap_frames import MakeGlancer, glance
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.memory import let_go
from finecut.io.media.picture import YCGCO, Stored, display_matrix, filters, stored, upright_size
from finecut.io.media.remux import h264
from finecut.io.media.remux.mp4 import descriptions, has_several
from finecut.io.media.remux.sections import OPEN_GROUPS, Section, Sections
from finecut.io.media.remux.splicing import PROFILES, Patch, Patcher, Piece, Refused, SplicedWriter
from finecut.io.media.remux.steady import Steady, steady
from finecut.io.media.sound import Heard, Listener
from finecut.io.media.source import (
    DECODE_THREADS,
    clock_of,
    decode,
    flushed,
    ignore_other_streams,
    open_film,
    packets,
    rewind,
)
from finecut.io.records import ClipFile, Shot, Span, Transcoded, Video

ENCODE, COPY, SMART = MODES = "encode", "copy", "smart"
#: What a record says of a clip.
COPIED, SPLICED, ENCODED = "copied", "smart", "encoded"

#: Codecs that MP4 holds and players play.
COPYABLE = frozenset({"h264", "hevc", "vp9", "av1", "mpeg4"})
#: Those whose track has to have a header.
WITH_HEADER = frozenset({"h264", "hevc", "av1", "mpeg4"})
H264 = "h264"

#: Shots that have to be encoded are cut in one pass if they lie so near to each other, in seconds.
NEAR = 10


def transcode(
    how: str,
    file: str | BinaryIO,
    video: Video,
    shots: Sequence[Shot],
    encoding: Encoding,
    folder: Path,
    onlooker: MakeOnlooker | None = None,
    glancer: MakeGlancer | None = None,
    vectors: bool = False,
    limits: Limits = USUAL_LIMITS,
    decoder: str = SOFTWARE,
) -> Iterator[CutShot]:
    """Make ``folder/<id>.mp4`` of these shots, as :func:`cut` does, by copying what can be copied.

    Who looks on at clips that are encoded sees every frame; whom ``glancer`` makes sees those of a
    copied clip that are cheap to decode.
    """
    if how == ENCODE:
        yield from cut(file, video, shots, encoding, folder, onlooker, vectors, limits, decoder)
        return
    refused: dict[Shot, str] = {}
    for shot, outcome in _copied(how, file, video, shots, encoding, folder, limits):
        if isinstance(outcome, str):
            refused[shot] = outcome
        else:
            yield glance(outcome, glancer, vectors, limits)
    for near in _groups(refused):
        if not isinstance(file, str):
            file.seek(0)
        again = cut(file, video, near, encoding, folder, onlooker, vectors, limits, decoder)
        for result in again:
            yield _with(result, Transcoded(ENCODED, refused[result.shot]))


def _groups(shots: Iterable[Shot]) -> Iterator[list[Shot]]:
    """Shots that lie near to each other, so that nothing long between them is decoded in vain."""
    near: list[Shot] = []
    until = -math.inf
    for shot in sorted(shots, key=lambda shot: shot.span):
        if near and shot.span.start > until + NEAR:
            yield near
            near = []
        near.append(shot)
        until = max(until, shot.span.end)
    if near:
        yield near


def _with(result: CutShot, transcoded: Transcoded) -> CutShot:
    if result.file is None:
        return result
    return dataclasses.replace(result, file=dataclasses.replace(result.file, transcoded=transcoded))


def _copied(
    how: str,
    file: str | BinaryIO,
    video: Video,
    shots: Sequence[Shot],
    encoding: Encoding,
    folder: Path,
    limits: Limits,
) -> Iterator[tuple[Shot, CutShot | str]]:
    """Each shot with what became of it, or with why it cannot be copied."""
    if not shots:
        return
    described = descriptions(file)
    with open_film(file, limits) as container:
        stream = container.streams[video.stream_index]
        assert isinstance(stream, VideoStream)
        assert stream.time_base is not None
        clock = clock_of(stream, video)
        sound, said = sound_stream(container, encoding, described)
        ignore_other_streams(container, {s.index for s in (stream, sound) if s is not None})
        start = min(shot.span.start for shot in shots)
        listener = None
        if sound is not None:
            listener = Listener(sound, video.first_pts * stream.time_base, encoding.audio)
        try:
            if has_several(described, stream.id):
                raise Refused("its track describes its pictures in more than one way")
            header = _header(container, stream)
            watch = _watch(stream)
            delay = stream.codec_context.reorder_depth
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = DECODE_THREADS
            patcher = None
            if how == SMART:
                theirs = joinable(stream, header)
                form = _form(container, stream, clock, limits)
                patcher = Patcher(encoding, form, theirs, delay)
                # The first picture was decoded to see what they are like.
                _rewind(container)
            from_start = _go_before(container, stream, clock, start, listener, limits)
            stream.codec_context.reorder_depth = delay
        except (Refused, h264.BadUnits) as reason:
            yield from ((shot, str(reason)) for shot in shots)
            return
        sections = Sections(container, clock, header, how == SMART, from_start, limits, watch)
        desk = _Desk(container, stream, clock, listener, header, patcher, folder, delay, limits)
        desk.ending = Ending(file, container, stream, clock, video.duration)
        for shot, outcome in desk.run(shots, sections):
            yield shot, outcome if isinstance(outcome, str) else telling(outcome, said)


def _go_before(
    container: InputContainer,
    stream: VideoStream,
    clock: Clock,
    start: float,
    listener: Listener | None,
    limits: Limits,
) -> bool:
    """Go to where a clip from ``start`` on may begin, and before its sound; whether that is the
    film's beginning. Where it is snapped to a key frame, its sound begins there, too.
    """
    from_start = seek_before(container, stream, clock, start, limits)
    if from_start or listener is None:
        return from_start
    key = first_key_shown(container, stream, clock, start)
    # seek_before takes a container for one at its beginning where it has nowhere to go.
    _rewind(container)
    start = heard_from(start if key is None else float(key), listener)
    return seek_before(container, stream, clock, start, limits)


# ── what can be copied ───────────────────────────────────────────────────────────────────────────


def _header(container: InputContainer, stream: VideoStream) -> h264.Header | None:
    """The parameter sets of H.264; raises what keeps this film from being copied."""
    codec = stream.codec_context.codec.canonical_name
    if codec not in COPYABLE:
        raise Refused(f"its pictures are {codec}, which players do not expect in MP4")
    if stream.codec_context.colorspace == YCGCO:
        raise Refused("its colours are YCgCo, which hardly any player knows")
    if container.format.name == "avi":
        raise Refused("AVI does not say when pictures are shown")
    if codec in WITH_HEADER and not stream.codec_context.extradata:
        raise Refused("the film keeps its parameter sets to itself until it is played")
    return h264.header(stream.codec_context.extradata) if codec == H264 else None


def _watch(stream: VideoStream) -> Steady | None:
    """Who sees whether packets are as the header says; asked before anything is decoded."""
    context = stream.codec_context
    size = (context.width, context.height)
    return steady(context.codec.canonical_name, context.extradata, size)


def joinable(stream: VideoStream, header: h264.Header | None) -> h264.Header:
    """The header, if pictures of this film can be encoded anew so that they fit between its own."""
    if header is None:
        codec = stream.codec_context.codec.canonical_name
        raise Refused(f"its pictures are {codec}, and only H.264 is cut so")
    sets = [h264.picture_set(unit) for unit in header.sps]
    for said in sets:
        if said.profile not in PROFILES or (said.chroma, said.depth) != (1, 8):
            raise Refused(f"its profile of H.264 ({said.profile}) is not one of 8-bit 4:2:0 films")
        if not said.whole_frames:
            raise Refused("it is interlaced, or may be")
        if said.size != sets[0].size:
            raise Refused("its pictures change their size")
    return header


def _form(
    container: InputContainer, stream: VideoStream, clock: Clock, limits: Limits
) -> PictureFormat:
    """What its pictures are like, when they are as clips are anyway."""
    first = _first_picture(container, stream, limits)
    width, height = upright_size(first)
    if filters(first, (width, height)):
        raise Refused(
            "its pictures are turned, not square in their pixels, odd in size or of a range or "
            "format that clips do not have"
        )
    rate = stream.average_rate or stream.base_rate or Fraction(25)
    colours = (first.primaries, first.transfer, first.colorspace)
    return PictureFormat(width, height, rate, clock.clip_time_base, *colours)


def _rewind(container: InputContainer) -> None:
    try:
        rewind(container)
    except av.error.FFmpegError as error:
        raise Refused(f"it cannot be read from its beginning twice ({error})") from error


def _first_picture(container: InputContainer, stream: VideoStream, limits: Limits) -> Stored:
    for packet in packets(container, stream):
        for frame in decode(packet, limits) or ():
            return stored(frame, stream.sample_aspect_ratio, display_matrix(frame))
    raise Refused("none of its pictures could be decoded")


# ── which packets ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Part:
    """What a clip takes of a section."""

    #: So many packets as they are.
    copied: int = 0
    #: Pictures shown from one tick until another, encoded: before the copied ones, or after.
    encoded: tuple[int, int] | None = None
    #: When the last of all these is over, and whether the clip ends there.
    ends: int | None = None
    last: bool = False


def copied_part(section: Section, end: int) -> Part:
    """All of the section: a clip that is only copied ends with a section."""
    last = section.ends is None or section.ends >= end
    return Part(len(section.packets), None, section.ends, last)


def exact_part(section: Section, start: int, end: int) -> Part:
    """What of the section is shown in ``[start, end)``; its key frame is the first it shows.

    >>> section = Section(0, True, [None] * 5, [0, 3, 1, 2, 4], following=5, ends=5)
    >>> exact_part(section, 0, 3)
    Part(copied=1, encoded=(1, 3), ends=3, last=True)
    >>> exact_part(section, 0, 4)
    Part(copied=4, encoded=None, ends=4, last=True)
    """
    ends = section.ends
    if start > section.first:
        if ends is None or ends >= end:
            raise Refused(OPEN_GROUPS if section.is_open else "no key frame lies within the shot")
        return Part(0, (start, ends) if max(section.shown) >= start else None, ends)
    if ends is not None and ends <= end:
        return Part(len(section.packets), None, ends, ends == end)
    order = sorted(section.shown)
    wanted = sum(tick < end for tick in order)
    if wanted == len(order):
        return Part(wanted, None, None if ends is None else min(ends, end), True)
    copied, latest = 0, section.first
    for place, tick in enumerate(section.shown[:wanted]):
        latest = max(latest, tick)
        if latest == order[place] and latest < end:
            copied = place + 1
    encoded = (order[copied], end) if copied < wanted else None
    return Part(copied, encoded, min(order[wanted], end), True)


class _Take:
    """A shot on its way to becoming a clip."""

    def __init__(self, shot: Shot, start: int, end: int) -> None:
        self.shot, self.start, self.end = shot, start, end
        self.writer: SplicedWriter | None = None
        #: Whether the section was seen in which it begins.
        self.covered = False
        self.pictures_done = False
        #: When the last of its pictures is shown, when they are over, and how many were encoded.
        self.last, self.upto = 0, Fraction(0)
        #: When its sound is over, if not with its pictures.
        self.sound_until: Fraction | None = None
        self.film_ended = False
        #: And the last picture is shown much longer than the others.
        self.stands = False
        self.num_encoded = 0
        #: The number of the first piece of sound that it did not hear yet.
        self.unheard = 0

    @property
    def hears_until(self) -> Fraction:
        return self.upto if self.sound_until is None else self.sound_until

    def drop(self) -> None:
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None


class _Desk:
    """One way through one source, on which packets are handed out to takes."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        clock: Clock,
        listener: Listener | None,
        header: h264.Header | None,
        patcher: Patcher | None,
        folder: Path,
        delay: int,
        limits: Limits,
    ) -> None:
        self.container, self.stream, self.clock = container, stream, clock
        self.listener, self.header, self.patcher = listener, header, patcher
        self.folder, self.delay, self.limits = folder, delay, limits
        self.base = clock.clip_time_base
        self.tick = clock.ticker()
        self.usual = 1 / (stream.average_rate or stream.base_rate or Fraction(25))
        self.waiting: deque[_Take] = deque()
        #: When the last of them is over.
        self.end = 0
        self.open: list[_Take] = []
        #: Sound that takes may still want, and the number of the first piece of it.
        self.pieces: deque[Heard] = deque()
        self.first_piece = 0
        self.heard = self.seen = Fraction(-1)
        self.ending: Ending | None = None

    def run(
        self, shots: Sequence[Shot], sections: Sections
    ) -> Iterator[tuple[Shot, CutShot | str]]:
        self.waiting.extend(self._take(shot) for shot in sorted(shots, key=lambda s: s.span))
        self.end = max(take.end for take in self.waiting)
        try:
            yield from self._through(sections)
            yield from self._finished(film_over=True)
            for take in self._left():
                yield self._refuse(take, sections.why_nothing)
        finally:
            for take in self.open:
                take.drop()

    def _through(self, sections: Sections) -> Iterator[tuple[Shot, CutShot | str]]:
        wanted = [self.stream, *([self.listener.stream] if self.listener else [])]
        for packet in packets(self.container, *wanted):
            if packet.stream.index == self.stream.index and self.ending is not None:
                self.ending.passed(packet)
            if packet.stream.index != self.stream.index:
                self._hear(packet)
            elif (section := sections.take(packet)) is not None:
                yield from self._offer(section)
            yield from self._finished()
            if not self.open and not self.waiting:
                return
            if (reason := sections.hopeless(self.end)) is not None:
                yield from [self._refuse(take, reason) for take in self._left()]
                return
        for section in sections.rest():
            yield from self._offer(section)

    def _left(self) -> list[_Take]:
        """All takes of which the pictures are not complete."""
        self.open.extend(self.waiting)
        self.waiting.clear()
        return [take for take in self.open if not take.pictures_done]

    def _take(self, shot: Shot) -> _Take:
        # A picture belongs to [start, end) when it has reached the one and not the other.
        start, end = (
            math.ceil((Fraction(at) - self.clock.slack) / self.base)
            for at in (shot.span.start, shot.span.end)
        )
        return _Take(shot, start, end)

    # ── pictures ──

    def _offer(self, section: Section) -> Iterator[tuple[Shot, CutShot | str]]:
        """Let every take have of this section what it wants."""
        self.seen = (section.first if section.ends is None else section.ends) * self.base
        while self.waiting and (
            section.following is None or self.waiting[0].start < section.following
        ):
            self.open.append(self.waiting.popleft())
        plans: list[tuple[_Take, Part, Patch | None]] = []
        for take in [take for take in self.open if not take.pictures_done]:
            try:
                plans.append(self._plan(take, section))
            except Refused as reason:
                yield self._refuse(take, str(reason))
        self._decode(section, [patch for _, _, patch in plans if patch is not None])
        for take, part, patch in plans:
            try:
                self._add(take, section, part, patch)
            except Refused as reason:
                yield self._refuse(take, str(reason))
            except ENCODING_ERRORS as error:
                yield self._refuse(take, f"its packets could not be written ({error})")
        self._let_go_of_sound(section)

    def _plan(self, take: _Take, section: Section) -> tuple[_Take, Part, Patch | None]:
        if section.why_not is not None:
            raise Refused(section.why_not)
        take.covered |= section.opens_film or section.first <= take.start
        if not take.covered:
            raise Refused("no key frame that a player could begin with lies before the shot")
        if section.ends is None and take.start > max(section.shown):
            raise Refused("the film shows nothing there")
        if self.patcher is None:
            return take, copied_part(section, take.end), None
        part = exact_part(section, take.start, take.end)
        return take, part, None if part.encoded is None else self.patcher.patch(*part.encoded)

    def _decode(self, section: Section, patches: Sequence[Patch]) -> None:
        """Show these pictures of the section to who encodes them."""
        if not patches:
            return
        context = self.stream.codec_context
        wanted = {tick for patch in patches for tick in section.shown if patch.wants(tick)}
        for packet in (*section.packets, None):
            frames = flushed(context) if packet is None else decode(packet, self.limits) or []
            for frame in frames:
                tick = None if frame.pts is None else self.tick(frame.pts)
                if tick in wanted:
                    for patch in patches:
                        patch.show(frame, tick)
                    wanted.discard(tick)
            if not wanted:
                break
        context.flush_buffers()
        # Flushed decoders forget how many pictures wait, and would lose some.
        context.reorder_depth = self.delay

    def _add(self, take: _Take, section: Section, part: Part, patch: Patch | None) -> None:
        pieces: list[Piece] = []
        if patch is not None:
            pieces = patch.pieces()
            take.num_encoded += len(pieces)
            if len(pieces) != sum(map(patch.wants, section.shown)):
                raise Refused("not all of its pictures could be decoded where it is cut")
        copied = self._as_they_are(section, part.copied, take.writer is None)
        pieces = copied + pieces if part.copied else pieces
        if not pieces:
            if part.last:
                raise Refused("the film shows no new frame there")
            return
        if take.writer is None:
            take.writer = self._begin(take, min(piece.shown for piece in pieces))
        take.last = max(take.last, *(piece.shown for piece in pieces))
        take.pictures_done, take.film_ended = part.last, part.ends is None
        take.upto = take.last * self.base + self.usual
        if part.ends is not None:
            take.upto = part.ends * self.base
        elif self.patcher is not None:
            take.sound_until = Fraction(take.shot.span.end)  # it may outlast the pictures
        take.stands = self._stands_still(take, take.upto + LONG_STILL)
        if take.stands and self.ending is not None:
            take.upto = max(take.upto, min(self.ending.seconds, Fraction(take.shot.span.end)))
        take.writer.add(pieces, self._over(take, part))
        self._catch_up(take)

    def _over(self, take: _Take, part: Part) -> int:
        """When the last picture of what is added is over: at the next one, or with the clip."""
        if part.ends is not None and not part.last:
            return part.ends
        return take.last + max(1, round(self._last_length(take) / self.base))

    def _as_they_are(self, section: Section, count: int, first: bool) -> list[Piece]:
        pieces = [
            Piece(tick, packet)
            for tick, packet in zip(section.shown[:count], section.packets[:count], strict=True)
            # Leading pictures need the section before, which the clip does not have.
            if not first or tick >= section.first
        ]
        if self.patcher is None:
            return pieces
        assert self.header is not None
        return [Piece(p.shown, self._plain(p.packet, self.header)) for p in pieces]

    def _plain(self, packet: Packet, header: h264.Header) -> Packet:
        """The packet as a track with several parameter sets has it: none among its units."""
        parts = h264.units(bytes(packet), header.length_size)
        kept = [part for part in parts if h264.kind(part) not in h264.SETS]
        if header.length_size == h264.LENGTH_SIZE and len(kept) == len(parts):
            return packet
        plain = av.Packet(h264.packed(kept))
        plain.is_keyframe = packet.is_keyframe
        return plain

    def _begin(self, take: _Take, first: int) -> SplicedWriter:
        # Numbered from what is there: pieces that were let go were too early for this take.
        take.unheard = self.first_piece
        header = None if self.patcher is None else self.patcher.header
        path = self.folder / f"{take.shot.id}.mp4"
        return SplicedWriter(path, self.stream, header, self.base, first, self.delay, self.listener)

    # ── sound ──

    def _hear(self, packet: Packet) -> None:
        assert self.listener is not None
        for piece in self.listener.hear(packet):
            self.heard = piece.end
            self.pieces.append(piece)
        for take in self.open:
            if take.pictures_done:
                self._catch_up(take)

    def _catch_up(self, take: _Take) -> None:
        """Let it hear what lies beside the pictures it has."""
        if self.listener is None or take.writer is None:
            return
        earliest, until = take.writer.start - self.listener.run_in, take.hears_until
        place = max(0, take.unheard - self.first_piece)
        while place < len(self.pieces):
            piece = self.pieces[place]
            if piece.start >= until or (piece.end > until and not take.pictures_done):
                break
            if piece.end > earliest:
                take.writer.hear(piece, until)
            place += 1
        take.unheard = self.first_piece + place

    def _let_go_of_sound(self, section: Section) -> None:
        """Takes that are yet to begin do so with a later section."""
        if section.following is None or self.listener is None:
            return
        over = section.following * self.base - self.listener.run_in
        heard = min((take.unheard for take in self.open), default=math.inf)
        while self.pieces and self.pieces[0].end <= over and self.first_piece < heard:
            self.pieces.popleft()
            self.first_piece += 1

    # ── the end ──

    def _finished(self, film_over: bool = False) -> Iterator[tuple[Shot, CutShot | str]]:
        for take in list(self.open):
            if take.pictures_done and (film_over or self._sound_complete(take)):
                self.open.remove(take)
                try:
                    yield take.shot, self._finish(take)
                except ENCODING_ERRORS as error:
                    take.drop()
                    yield take.shot, f"its packets could not be written ({error})"

    def _sound_complete(self, take: _Take) -> bool:
        if self.listener is None:
            return True
        return self.heard >= take.hears_until or self.seen >= take.hears_until + PATIENCE

    def _finish(self, take: _Take) -> CutShot:
        assert take.writer is not None
        start = take.writer.start
        file = take.writer.close(self._last_length(take))
        path, take.writer = take.writer.path, None
        let_go()
        span = None
        if self.patcher is None:
            span = Span(float(start), float(take.upto))
        how = COPIED if self.patcher is None else SPLICED
        result = CutShot(take.shot, path, file, damage=self._damage(take, start, file))
        return _with(result, Transcoded(how, frames_encoded=take.num_encoded, span=span))

    def _last_length(self, take: _Take) -> Fraction:
        """How long the clip shows its last picture: as long as an encoded one does."""
        upto = take.upto
        if self.clock.rate is not None and not take.stands:
            return self.usual
        if self.patcher is not None:
            upto = min(upto, Fraction(take.shot.span.end))
        return max(self.base, upto - take.last * self.base)

    def _stands_still(self, take: _Take, until: Fraction) -> bool:
        """Whether the film's last picture is this clip's, too, and is shown so long."""
        return take.film_ended and self.ending is not None and self.ending.lasts_until(until)

    def _damage(self, take: _Take, start: Fraction, file: ClipFile) -> str | None:
        """What is missing although the film should have it, as far as packets tell."""
        end = Fraction(take.shot.span.end)
        if self._stands_still(take, end - self.usual):
            return None
        if self.clock.rate is None:
            if take.film_ended and self.heard <= take.upto and end - take.upto > 1:
                return f"the film breaks off {float(end - take.upto):.1f} s before the clip's end"
            return None
        wanted = int((max(end, take.upto) - start) * self.clock.rate)
        ended = take.film_ended and self.heard >= end
        if file.num_frames < wanted - 1 and not ended:
            return f"{file.num_frames} of {wanted} frames are there; the others are missing"
        return None

    def _refuse(self, take: _Take, reason: str) -> tuple[Shot, str]:
        take.drop()
        self.open.remove(take)
        return take.shot, reason

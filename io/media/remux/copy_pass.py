"""One pass over the packets of a film, section by section, that makes clips of them.

sections  ──▶ plan: which packets a clip copies, which pictures it has encoded
          ──▶ decode, if any clip wants pictures ──▶ encode ──▶ write
sound     ──▶ kept while a clip may want it      ────────────▶ write
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av

from finecut.io.media.clip_file import Packet
from finecut.io.media.cutting import ENCODING_ERRORS, LONG_STILL, CutClip
from finecut.io.media.limits import let_go
from finecut.io.media.remux import h264
from finecut.io.media.remux.sections import (
    Part,
    Refused,
    Section,
    Sections,
    copied_part,
    exact_part,
)
from finecut.io.media.remux.splicing import Copyable, Patch, Piece, SplicedWriter
from finecut.io.media.seeking import OpenSource
from finecut.io.media.sound import Heard
from finecut.io.media.source import decoded_alone
from finecut.io.records import ClipFile, PlannedClip, Span, Transcoded

#: What a record says of a clip.
COPIED, SPLICED = "copied", "smart"


class _OpenClip:
    """A planned clip on its way to becoming a clip."""

    def __init__(self, clip: PlannedClip, start: int, end: int) -> None:
        self.planned, self.start, self.end = clip, start, end
        self.writer: SplicedWriter | None = None
        #: Whether the section was seen in which it begins.
        self.covered = False
        self.pictures_done = False
        #: When the last of its pictures is shown, when they are over, and how many were encoded.
        self.last, self.upto = 0, Fraction(0)
        #: When its sound is over: with its pictures, or later.
        self.hears_until = Fraction(0)
        self.film_ended = False
        #: And the last picture is shown much longer than the others.
        self.stands = False
        self.num_encoded = 0
        #: The number of the first piece of sound that it did not hear yet.
        self.unheard = 0

    def drop(self) -> None:
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None


class CopyPass:
    """One way through one source, on which packets are handed out to clips."""

    def __init__(self, source: OpenSource, film: Copyable, folder: Path) -> None:
        self.source, self.clock, self.ending = source, source.clock, source.ending
        self.listener, self.patcher = source.listener, film.patcher
        self.film, self.folder = film, folder
        self.base = self.clock.clip_time_base
        self.tick = self.clock.ticker()
        self.usual = 1 / source.rate
        self.waiting: deque[_OpenClip] = deque()
        #: When the last of them is over.
        self.end = 0
        self.open: list[_OpenClip] = []
        #: Sound that clips may still want, and the number of the first piece of it.
        self.pieces: deque[Heard] = deque()
        self.first_piece = 0
        self.heard = self.seen = Fraction(-1)

    def run(
        self, clips: Sequence[PlannedClip], sections: Sections
    ) -> Iterator[tuple[PlannedClip, CutClip | str]]:
        self.waiting.extend(self._open(clip) for clip in sorted(clips, key=lambda s: s.span))
        self.end = max(clip.end for clip in self.waiting)
        try:
            yield from self._through(sections)
            yield from self._finished(film_over=True)
            for clip in self._left():
                yield self._refuse(clip, sections.why_nothing)
        finally:
            for clip in self.open:
                clip.drop()

    def _through(self, sections: Sections) -> Iterator[tuple[PlannedClip, CutClip | str]]:
        for packet in self.source.packets():
            if packet.stream.index != self.source.stream.index:
                self._hear(packet)
            else:
                self.ending.passed(packet)
                if (section := sections.take(packet)) is not None:
                    yield from self._offer(section)
            yield from self._finished()
            if not self.open and not self.waiting:
                return
            if (reason := sections.hopeless(self.end)) is not None:
                yield from [self._refuse(clip, reason) for clip in self._left()]
                return
        for section in sections.rest():
            yield from self._offer(section)

    def _left(self) -> list[_OpenClip]:
        """All clips of which the pictures are not complete."""
        self.open.extend(self.waiting)
        self.waiting.clear()
        return [clip for clip in self.open if not clip.pictures_done]

    def _open(self, clip: PlannedClip) -> _OpenClip:
        # A picture belongs to [start, end) when it has reached the one and not the other.
        start, end = (
            math.ceil((Fraction(at) - self.clock.slack) / self.base)
            for at in (clip.span.start, clip.span.end)
        )
        return _OpenClip(clip, start, end)

    # ── pictures ──

    def _offer(self, section: Section) -> Iterator[tuple[PlannedClip, CutClip | str]]:
        """Let every clip have of this section what it wants."""
        self.seen = (section.first if section.ends is None else section.ends) * self.base
        while self.waiting and (
            section.following is None or self.waiting[0].start < section.following
        ):
            self.open.append(self.waiting.popleft())
        plans: list[tuple[_OpenClip, Part, Patch | None]] = []
        for clip in [clip for clip in self.open if not clip.pictures_done]:
            try:
                plans.append(self._plan(clip, section))
            except Refused as reason:
                yield self._refuse(clip, str(reason))
        self._decode(section, [patch for _, _, patch in plans if patch is not None])
        for clip, part, patch in plans:
            try:
                self._add(clip, section, part, patch)
            except Refused as reason:
                yield self._refuse(clip, str(reason))
            except ENCODING_ERRORS as error:
                yield self._refuse(clip, f"its packets could not be written ({error})")
        self._let_go_of_sound(section)

    def _plan(self, clip: _OpenClip, section: Section) -> tuple[_OpenClip, Part, Patch | None]:
        if section.why_not is not None:
            raise Refused(section.why_not)
        clip.covered |= section.opens_film or section.first <= clip.start
        if not clip.covered:
            raise Refused("there is no key frame before the clip at which a player could begin")
        if section.ends is None and clip.start > max(section.shown):
            raise Refused("the video shows nothing there")
        if self.patcher is None:
            return clip, copied_part(section, clip.end), None
        part = exact_part(section, clip.start, clip.end)
        return clip, part, None if part.encoded is None else self.patcher.patch(*part.encoded)

    def _decode(self, section: Section, patches: Sequence[Patch]) -> None:
        """Show these pictures of the section to the patches that encode them."""
        if not patches:
            return
        context = self.source.stream.codec_context
        wanted = {tick for patch in patches for tick in section.shown if patch.wants(tick)}
        for frame in decoded_alone(context, section.packets, self.source.limits):
            tick = None if frame.pts is None else self.tick(frame.pts)
            if tick in wanted:
                for patch in patches:
                    patch.show(frame, tick)
                wanted.discard(tick)
            if not wanted:
                break

    def _add(self, clip: _OpenClip, section: Section, part: Part, patch: Patch | None) -> None:
        pieces: list[Piece] = []
        if patch is not None:
            pieces = patch.pieces()
            clip.num_encoded += len(pieces)
            if len(pieces) != sum(map(patch.wants, section.shown)):
                raise Refused("not all of its frames could be decoded at the cuts")
        copied = self._as_they_are(section, part.copied, clip.writer is None)
        pieces = copied + pieces if part.copied else pieces
        if not pieces:
            if part.last:
                raise Refused("the video shows no new frame there")
            return
        if clip.writer is None:
            clip.writer = self._begin(clip, min(piece.shown for piece in pieces))
        clip.last = max(clip.last, *(piece.shown for piece in pieces))
        clip.pictures_done, clip.film_ended = part.last, part.ends is None
        over = clip.last * self.base + self.usual
        clip.upto = over if part.ends is None else part.ends * self.base
        clip.stands = self._stands_still(clip, clip.upto + LONG_STILL)
        if clip.stands:
            clip.upto = max(clip.upto, min(self.ending.seconds, Fraction(clip.planned.span.end)))
        clip.hears_until = clip.upto
        if part.ends is None and self.patcher is not None:
            clip.hears_until = Fraction(clip.planned.span.end)
        # When its last picture is over: with the clip, or at the next one.
        tick = clip.last + max(1, round(self._last_length(clip) / self.base))
        clip.writer.add(pieces, tick if part.ends is None or part.last else part.ends)
        self._catch_up(clip)

    def _as_they_are(self, section: Section, count: int, first: bool) -> list[Piece]:
        pieces = [
            Piece(tick, packet)
            for tick, packet in zip(section.shown[:count], section.packets[:count], strict=True)
            # Leading pictures need the section before, which the clip does not have.
            if not first or tick >= section.first
        ]
        if self.patcher is None:
            return pieces
        assert self.film.header is not None
        return [Piece(p.shown, _plain(p.packet, self.film.header)) for p in pieces]

    def _begin(self, clip: _OpenClip, first: int) -> SplicedWriter:
        # Numbered from what is there: pieces that were let go were too early for this clip.
        clip.unheard = self.first_piece
        header = None if self.patcher is None else self.patcher.header
        return SplicedWriter(
            self.folder / f"{clip.planned.id}.mp4",
            self.source,
            header,
            first=first,
            delay=self.film.delay,
        )

    # ── sound ──

    def _hear(self, packet: Packet) -> None:
        assert self.listener is not None
        for piece in self.listener.hear(packet):
            self.heard = piece.end
            self.pieces.append(piece)
        for clip in self.open:
            if clip.pictures_done:
                self._catch_up(clip)

    def _catch_up(self, clip: _OpenClip) -> None:
        """Let it hear what lies beside the pictures it has."""
        if self.listener is None or clip.writer is None:
            return
        earliest, until = clip.writer.start - self.listener.run_in, clip.hears_until
        place = max(0, clip.unheard - self.first_piece)
        while place < len(self.pieces):
            piece = self.pieces[place]
            if piece.start >= until or (piece.end > until and not clip.pictures_done):
                break
            if piece.end > earliest:
                clip.writer.hear(piece, until)
            place += 1
        clip.unheard = self.first_piece + place

    def _let_go_of_sound(self, section: Section) -> None:
        """Clips that are yet to begin do so with a later section."""
        if section.following is None or self.listener is None:
            return
        over = section.following * self.base - self.listener.run_in
        heard = min((clip.unheard for clip in self.open), default=math.inf)
        while self.pieces and self.pieces[0].end <= over and self.first_piece < heard:
            self.pieces.popleft()
            self.first_piece += 1

    # ── the end ──

    def _finished(self, film_over: bool = False) -> Iterator[tuple[PlannedClip, CutClip | str]]:
        for clip in list(self.open):
            if clip.pictures_done and (
                film_over or self.source.sound_complete(clip.hears_until, self.heard, self.seen)
            ):
                self.open.remove(clip)
                try:
                    yield clip.planned, self._finish(clip)
                except ENCODING_ERRORS as error:
                    clip.drop()
                    yield clip.planned, f"its packets could not be written ({error})"

    def _finish(self, clip: _OpenClip) -> CutClip:
        assert clip.writer is not None
        start = clip.writer.start
        file = clip.writer.close(self._last_length(clip))
        path, clip.writer = clip.writer.path, None
        let_go()
        how, span = SPLICED, None
        if self.patcher is None:
            how, span = COPIED, Span(float(start), float(clip.upto))
        result = CutClip(clip.planned, path, file, damage=self._damage(clip, start, file))
        return result.noting(transcoded=Transcoded(how, frames_encoded=clip.num_encoded, span=span))

    def _last_length(self, clip: _OpenClip) -> Fraction:
        """How long the clip shows its last picture: as long as an encoded one does."""
        upto = clip.upto
        if self.clock.rate is not None and not clip.stands:
            return self.usual
        if self.patcher is not None:
            upto = min(upto, Fraction(clip.planned.span.end))
        return max(self.base, upto - clip.last * self.base)

    def _stands_still(self, clip: _OpenClip, until: Fraction) -> bool:
        """Whether the film's last picture is this clip's, too, and is shown until then."""
        return clip.film_ended and self.ending.lasts_until(until)

    def _damage(self, clip: _OpenClip, start: Fraction, file: ClipFile) -> str | None:
        """What is missing although the film should have it, as far as packets show."""
        end = Fraction(clip.planned.span.end)
        if self._stands_still(clip, end - self.usual):
            return None
        if self.clock.rate is None:
            if clip.film_ended and self.heard <= clip.upto and end - clip.upto > 1:
                return f"the video ends {float(end - clip.upto):.1f} s before the end of the clip"
            return None
        wanted = int((max(end, clip.upto) - start) * self.clock.rate)
        if file.num_frames < wanted - 1 and not (clip.film_ended and self.heard >= end):
            return f"{file.num_frames} of {wanted} frames are there; the others are missing"
        return None

    def _refuse(self, clip: _OpenClip, reason: str) -> tuple[PlannedClip, str]:
        clip.drop()
        self.open.remove(clip)
        return clip.planned, reason


def _plain(packet: Packet, header: h264.Header) -> Packet:
    """The packet as a track with several parameter sets has it: none among its units."""
    parts = h264.units(bytes(packet), header.length_size)
    kept = [part for part in parts if h264.kind(part) not in h264.SETS]
    if header.length_size == h264.LENGTH_SIZE and len(kept) == len(parts):
        return packet
    plain = av.Packet(h264.packed(kept))
    plain.is_keyframe = packet.is_keyframe
    return plain

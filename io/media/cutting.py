"""The cut: one source opened once, decoded once, and out of that single pass all clips of a reel.

    source   ──decode──▶ frame ─┬─▶ clip 1 (open)          spans may overlap: a frame goes to
                                ├─▶ clip 2 (open)          every clip that shows it, and to who
                                │     └─▶ its onlooker     looks on
             ──demux───▶ sound ─┴─▶ clips whose span it touches, also those not begun yet

A clip holds exactly the frames with ``start ≤ t < end``, the first of them at time 0. It is handed
out as soon as its pictures and its sound are complete, so memory holds the clips in progress and
nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.audio.stream import AudioStream
from av.codec.context import Flags2
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from finecut.io.media.clip_file import ClipWriter
from finecut.io.media.clock import NEARLY, Clock, earliest
from finecut.io.media.codecs.decoders import SOFTWARE
from finecut.io.media.codecs.encoders import Encoding, PictureFormat
from finecut.io.media.ending import Ending
from finecut.io.media.frame_view import Look, MakeOnlooker, Onlooker, Scalers
from finecut.io.media.limits import USUAL_LIMITS, FilmError, Limits
from finecut.io.media.memory import let_go, let_go_of_frames
from finecut.io.media.picture import Stored, Upright, display_matrix, stored
from finecut.io.media.remux.mp4 import Descriptions, descriptions, has_several, is_locked
from finecut.io.media.sound import Heard, Listener, why_left_out
from finecut.io.media.source import (
    DECODE_THREADS,
    MATROSKA_KEY,
    clock_of,
    decode,
    ignore_other_streams,
    open_film,
    packets,
    rewind,
    stamp,
)
from finecut.io.records import ClipFile, Shot, Video

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
#: Seconds from which on a picture at the end that lasts longer than the others is a still.
LONG_STILL = 1
#: What breaks in an encoder: FFmpeg's own errors, and Python's, some of which are FFmpeg's, too.
ENCODING_ERRORS = (av.error.FFmpegError, OSError, ValueError)


@dataclass(frozen=True)
class CutShot:
    """What became of one shot: a file and its facts, or a sentence that says why not."""

    shot: Shot
    path: Path | None = None
    file: ClipFile | None = None
    #: An accident, in one sentence.
    error: str | None = None
    #: Not an accident: the film shows no new frame in this span.
    empty: str | None = None
    #: What is missing in the clip although the film should have it.
    damage: str | None = None
    #: Why its onlooker did not see all of it.
    unseen: str | None = None


def cut(
    file: str | BinaryIO,
    video: Video,
    shots: Sequence[Shot],
    encoding: Encoding,
    folder: Path,
    onlooker: MakeOnlooker | None = None,
    vectors: bool = False,
    limits: Limits = USUAL_LIMITS,
    decoder: str = SOFTWARE,
) -> Iterator[CutShot]:
    """Cut these shots into ``folder/<id>.mp4``, each yielded when its file is complete.

    Whom ``onlooker`` makes for a shot is shown every frame of its clip; with ``vectors`` the
    decoder also hands over the motion vectors it follows.
    """
    if not shots:
        return
    described = descriptions(file)
    with open_film(file, limits, decoder=decoder) as container:
        stream = container.streams[video.stream_index]
        assert isinstance(stream, VideoStream)
        assert stream.time_base is not None
        clock = clock_of(stream, video)
        sound, said = sound_stream(container, encoding, described)
        ignore_other_streams(container, {s.index for s in (stream, sound) if s is not None})
        stream.thread_type = "AUTO"
        # Threads of the processor would only hold pictures of the GPU back.
        stream.codec_context.thread_count = 1 if stream.codec_context.is_hwaccel else DECODE_THREADS
        if vectors:
            stream.codec_context.flags2 |= Flags2.export_mvs
        listener = None
        if sound is not None:
            listener = Listener(sound, video.first_pts * stream.time_base, encoding.audio)
        start = min(shot.span.start for shot in shots)
        # FFmpeg hands on the next header where it first comes to it, and not after a seek.
        if not has_several(described, stream.id):
            seek_before(container, stream, clock, heard_from(start, listener), limits)
        ending = Ending(file, container, stream, clock, video.duration)
        work = _Pass(container, stream, clock, listener, encoding, folder, onlooker, limits, ending)
        for result in work.run(shots):
            yield telling(result, said)


class _Take:
    """A shot on its way to becoming a clip."""

    def __init__(self, shot: Shot, run_in: Fraction) -> None:
        self.shot = shot
        self.start, self.end = Fraction(shot.span.start), Fraction(shot.span.end)
        # Asked about each picture and each piece of sound, so reckoned once.
        self.shows_from, self.shows_until = earliest(self.start), earliest(self.end)
        self.hears_from = self.start - run_in
        self.writer: ClipWriter | None = None
        self.upright: Upright | None = None
        self.error: str | None = None
        self.last = Fraction(0)
        #: When the film shows its next frame after this take, once that is known.
        self.next_shown: Fraction | None = None
        self.pictures_done = False
        self.damaged_packets = 0
        self.onlooker: Onlooker | None = None
        self.unseen: str | None = None
        self._first = Fraction(0)
        self._early: list[Heard] = []

    def hear(self, piece: Heard) -> None:
        if self.writer is None:
            # Pictures come out of the decoder later than sound: wait until second 0 is known.
            self._early.append(piece)
        else:
            self.writer.hear(piece)

    def begin(self, writer: ClipWriter, seconds: Fraction, run_in_from: Fraction) -> None:
        self.writer = writer
        self._first = seconds
        for piece in self._early:
            if piece.end > run_in_from:
                writer.hear(piece)
        self._early.clear()

    def show(self, picture: av.VideoFrame, seconds: Fraction, look: Look) -> None:
        assert self.writer is not None
        if self.writer.show(picture, seconds):
            self._look(look, seconds)
        self.last = seconds

    def _look(self, look: Look, seconds: Fraction) -> None:
        if self.onlooker is not None:
            self._attend(self.onlooker.see, look, seconds - self._first)

    def end_looking(self) -> None:
        if self.onlooker is not None:
            self._attend(self.onlooker.end)

    def _attend(self, work: Callable[..., None], *given: Any) -> None:
        """Let the onlooker do something; its troubles are not the clip's."""
        try:
            work(*given)
        except (OSError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
            self.onlooker = None
            self.unseen = f"looking at the clip broke off ({error})"

    def fail(self, error: Exception) -> None:
        """This clip is lost, and only this one."""
        self.error = (
            f"the clip could not be encoded ({error}). Usually the disk is full, the encoder found "
            "no room within --max-memory-mb, or it or MP4 refuses this picture or sound; make "
            "room, try the default encoder, or --audio aac."
        )
        self.drop()

    def drop(self) -> None:
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None
        self.onlooker = None


class _Pass:
    """One way through one source."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        clock: Clock,
        listener: Listener | None,
        encoding: Encoding,
        folder: Path,
        make_onlooker: MakeOnlooker | None,
        limits: Limits,
        ending: Ending,
    ) -> None:
        self.container, self.stream, self.clock, self.ending = container, stream, clock, ending
        self.listener, self.encoding, self.folder = listener, encoding, folder
        self.make_onlooker, self.scalers = make_onlooker, Scalers()
        self.limits, self.shown = limits, 0
        self.rate = stream.average_rate or stream.base_rate or Fraction(25)
        self.run_in = listener.run_in if listener else Fraction(0)
        #: By the first picture of a clip; and how all are turned.
        self.uprights: dict[Stored, Upright] = {}
        self.turn: tuple[int, int, int, int] | None = None
        #: Takes whose time has not come, by start; a long reel has many, so none is touched early.
        self.waiting: deque[_Take] = deque()
        self.open: list[_Take] = []
        #: Frames until the one whose vectors were read can be let go; 0: there is none.
        self.clinging = 0
        self.seen = Fraction(-1)
        self.heard = Fraction(-1)

    def run(self, shots: Sequence[Shot]) -> Iterator[CutShot]:
        self.waiting.extend(
            _Take(shot, self.run_in) for shot in sorted(shots, key=lambda shot: shot.span)
        )
        try:
            for packet in self._packets():
                self._take_in(packet)
                yield from self._finished()
                if not self.open and not self.waiting:
                    return
            self.open.extend(self.waiting)
            self.waiting.clear()
            while self.open:
                yield self._finish(self.open.pop(0))
        finally:
            for take in self.open:
                take.drop()

    def _packets(self) -> Iterator[av.Packet[Any]]:
        wanted: list[Stream] = [self.stream]
        if self.listener is not None:
            wanted.append(self.listener.stream)
        yield from packets(self.container, *wanted)

    def _take_in(self, packet: av.Packet[Any]) -> None:
        # Not packet.stream_index: the packets that flush the decoders all say 0 there.
        if packet.stream.index != self.stream.index:
            assert self.listener is not None
            for piece in self.listener.hear(packet):
                self._hear(piece)
            return
        frames = decode(packet, self.limits)
        self.ending.read(packet, damaged=frames is None)
        if frames is None:
            for take in self.open:
                take.damaged_packets += 1
        for frame in frames or ():
            self.shown += 1
            self.limits.refuse_frames(self.shown)
            self._show(frame)

    def _hear(self, piece: Heard) -> None:
        self.heard = piece.end
        for take in chain(self.open, self.waiting):
            if take.hears_from >= piece.end:
                break
            if piece.start < take.end and take.error is None:
                self._attempt(take, take.hear, piece)

    def _show(self, frame: av.VideoFrame) -> None:
        pts = stamp(self.container, frame)
        if pts is None and self.seen < 0:
            return  # the probe did not count it either: second 0 is the first frame with a time
        seconds = self.seen + 1 / self.rate if pts is None else self.clock.seconds(pts)
        self.seen = seconds
        self.ending.saw(pts, frame.duration)
        while self.waiting and seconds >= self.waiting[0].shows_from:
            self.open.append(self.waiting.popleft())
        looks: dict[Upright, Look] = {}
        source: Stored | None = None
        for take in self.open:
            if take.pictures_done or take.error is not None:
                continue
            if seconds >= take.shows_until:
                take.pictures_done, take.next_shown = True, seconds
            elif seconds >= take.shows_from:
                source = source or self._stored(frame)
                self._attempt(take, self._show_in, take, seconds, (frame, source), looks)
        self._let_go_of_frames(looks.values())

    def _let_go_of_frames(self, looks: Iterable[Look]) -> None:
        """Onlookers hold the last frame they saw, so one that clings is free two frames later."""
        if any(look.clings for look in looks):
            self.clinging = 2
        elif self.clinging:
            self.clinging -= 1
            if not self.clinging:
                let_go_of_frames()

    def _show_in(
        self,
        take: _Take,
        seconds: Fraction,
        decoded: tuple[av.VideoFrame, Stored],
        looks: dict[Upright, Look],
    ) -> None:
        """Show the frame in a clip, as upright as its first one was made; clips share the work."""
        frame, source = decoded
        if take.upright is None:
            take.upright = self.uprights.setdefault(source, Upright(source))
        look = looks.get(take.upright)
        if look is None:
            picture = take.upright(frame, source)
            look = looks[take.upright] = Look(frame, picture, self.scalers)
        if take.writer is None:
            self._begin(take, take.upright, seconds)
        take.show(look.picture, seconds, look)

    def _attempt(self, take: _Take, work: Callable[..., None], *given: Any) -> None:
        """Do something for one take; what breaks there costs no other."""
        try:
            work(*given)
        except ENCODING_ERRORS as error:
            take.fail(error)
        except FilmError as error:  # pictures that are like no other before them
            take.error = str(error)
            take.drop()

    def _begin(self, take: _Take, upright: Upright, seconds: Fraction) -> None:
        form = PictureFormat(
            *upright.size,
            self.rate,
            self.clock.clip_time_base,
            upright.first.primaries,
            upright.first.transfer,
            upright.colorspace,
        )
        path = self.folder / f"{take.shot.id}.mp4"
        writer = ClipWriter(path, self.encoding, form, seconds, take.end, self.listener)
        take.begin(writer, seconds, seconds - self.run_in)
        if self.make_onlooker is not None:
            take.onlooker = self.make_onlooker(take.shot)

    def _stored(self, frame: av.VideoFrame) -> Stored:
        if self.turn is None:
            self.turn = display_matrix(frame)
        return stored(frame, self.stream.sample_aspect_ratio, self.turn)

    def _finished(self) -> Iterator[CutShot]:
        for take in list(self.open):
            if take.error is not None or (take.pictures_done and self._sound_complete(take)):
                self.open.remove(take)
                yield self._finish(take)

    def _sound_complete(self, take: _Take) -> bool:
        if self.listener is None:
            return True
        return self.heard >= take.end or self.seen >= take.end + PATIENCE

    def _finish(self, take: _Take) -> CutShot:
        if take.error is not None:
            return CutShot(take.shot, error=take.error)
        if take.writer is None:
            return self._without_frames(take)
        path = take.writer.path
        take.end_looking()
        try:
            file = take.writer.close(self._last_length(take))
        except ENCODING_ERRORS as error:
            take.fail(error)
            return CutShot(take.shot, error=take.error)
        take.writer = None
        let_go()
        damage = self._damage(take, file.num_frames)
        return CutShot(take.shot, path, file, damage=damage, unseen=take.unseen)

    def _last_length(self, take: _Take) -> Fraction:
        """How long the clip shows its last picture: until the next one, or until its own end."""
        usual = 1 / self.rate
        following = take.next_shown
        if following is None and self.ending.lasts_until(take.last + LONG_STILL):
            following = self.ending.seconds
        elif self.clock.rate is not None:
            return usual
        following = take.last + usual if following is None else following
        return min(following, take.end) - take.last

    def _without_frames(self, take: _Take) -> CutShot:
        span = f"between {float(take.start):g} s and {float(take.end):g} s"
        if self._film_goes_on(take):
            return CutShot(take.shot, empty=f"the film shows no new frame {span}")
        return CutShot(
            take.shot,
            error=f"the source shows no frame {span}. Usually the file was cut off, or its header "
            "promises more than it holds.",
        )

    def _film_goes_on(self, take: _Take) -> bool:
        """Whether what is missing was never there: later pictures were seen, or sound was heard.

        (The length of some containers is that of their sound, which may outlast the pictures.) Or
        the last picture is shown for so long.
        """
        seen = take.next_shown is not None or self.heard > take.start
        return seen or self.ending.lasts_until(take.start + NEARLY)

    def _stands_still(self, take: _Take) -> bool:
        """Whether the film ends with a picture that is shown until this clip is over."""
        return self.ending.lasts_until(take.end - 1 / self.rate)

    def _damage(self, take: _Take, num_frames: int) -> str | None:
        if take.damaged_packets:
            return (
                f"{take.damaged_packets} packets of the source are damaged here; the frames they "
                "held are missing"
            )
        if self.clock.rate is not None:
            wanted = int((take.end - take.start) * self.clock.rate)
            ended = take.next_shown is None and (self.heard >= take.end or self._stands_still(take))
            if num_frames < wanted - 1 and not ended:
                return f"{num_frames} of {wanted} frames could be decoded; the others are missing"
        elif take.end - take.last > LONG_STILL and not (
            take.next_shown is not None or self.heard > take.start or self._stands_still(take)
        ):
            return f"the film breaks off {float(take.end - take.last):.1f} s before the clip's end"
        return None


def sound_stream(
    container: InputContainer, encoding: Encoding, described: Descriptions
) -> tuple[AudioStream | None, str]:
    """The film's sound, if clips get it; or why they have none although there is some."""
    first = next(iter(container.streams.audio), None)
    if encoding.audio == "none" or first is None:
        return None, ""
    locked = is_locked(described, first.id) or MATROSKA_KEY in first.metadata
    said = "left out: it is encrypted" if locked else why_left_out(first, encoding.audio)
    return (None, said) if said else (first, "")


def telling(result: CutShot, said: str) -> CutShot:
    """The same, saying this of its sound, if there is something to say."""
    if not said or result.file is None:
        return result
    return replace(result, file=replace(result.file, sound=said))


def heard_from(start: float, listener: Listener | None) -> float:
    """Where to read from for pictures from ``start`` on, so that their sound is not met midway.

    Containers go to the sound that is heard when the key frame is shown, some to what is written
    behind it; what a decoder wants to hear before that would be missing.
    """
    return start if listener is None else start - float(listener.run_in) - SOUND_AHEAD


def seek_before(
    container: InputContainer, stream: VideoStream, clock: Clock, start: float, limits: Limits
) -> bool:
    """Go to a key frame shown at or before ``start``; to the beginning when none can be found.

    Whether it is the beginning. A container that was just opened is there already.
    """
    if start <= 0:
        return True
    for back in SEEK_BACK:
        target = clock.pts(start - back)
        if target <= clock.first_pts:
            break
        try:
            container.seek(target, stream=stream, backward=True)
            landed = first_key_shown(container, stream, clock, start)
            if landed is None or landed > start:
                continue
            container.seek(target, stream=stream, backward=True)
            landed = _first_decoded(container, stream, clock, limits)
            container.seek(target, stream=stream, backward=True)
        except av.error.FFmpegError:
            continue
        if landed is not None and landed <= start:
            return False
    rewind(container)
    return True


def _first_decoded(
    container: InputContainer, stream: VideoStream, clock: Clock, limits: Limits
) -> Fraction | None:
    """When the first frame is shown that the decoder gives from here.

    After a recovery point (H.264 without real key frames) it holds frames back until they are
    whole again, which may be later than the cut.
    """
    for packet in packets(container, stream):
        for frame in decode(packet, limits) or ():
            pts = stamp(container, frame)
            if pts is not None:
                return clock.seconds(pts)
    return None


def first_key_shown(
    container: InputContainer, stream: VideoStream, clock: Clock, limit: float
) -> Fraction | None:
    """When the next key frame is shown; streams without an index land between two of them."""
    for packet in packets(container, stream):
        if packet.pts is not None:
            shown = clock.seconds(packet.pts)
        elif packet.dts is not None:
            shown = clock.seconds(packet.dts) + SEEK_MARGIN
        else:
            return None
        if packet.is_keyframe or shown > limit + PATIENCE:
            return shown
    return None

"""The cut: one source opened once, decoded once, and out of that single pass all clips of a reel.

    source   ──decode──▶ frame ─┬─▶ clip 1 (open)          spans may overlap: a frame goes to
                                ├─▶ clip 2 (open)          every clip that shows it
             ──demux───▶ sound ─┴─▶ clips whose span it touches, also those not begun yet

A clip holds exactly the frames with ``start ≤ t < end``, the first of them at time 0. It is handed
out as soon as its pictures and its sound are complete, so memory holds the clips in progress and
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from finecut.io.film.clipfile import ClipWriter
from finecut.io.film.clock import Clock, within
from finecut.io.film.encoders import Encoding, PictureFormat
from finecut.io.film.picture import Upright, stored
from finecut.io.film.sound import Heard, Listener
from finecut.io.film.source import (
    DECODE_THREADS,
    constant_rate,
    decode,
    ignore_other_streams,
    open_film,
)
from finecut.io.records import ClipFile, Shot, Video

#: Seconds of film to read past a point before what is still missing there is given up: the sound of
#: a finished clip in a badly interleaved file, or a key frame.
PATIENCE = 10
#: How far back a seek tries, in seconds, until it lands on a key frame at or before the cut.
SEEK_BACK = (0, 1, 5, 20, 60)
#: Files without presentation times (AVI) are only trusted to land this early.
SEEK_MARGIN = Fraction(1, 2)


@dataclass(frozen=True)
class CutShot:
    """What became of one shot: a file and its facts, or a sentence that says why not."""

    shot: Shot
    path: Path | None = None
    file: ClipFile | None = None
    error: str | None = None
    #: Packets of the source that could not be decoded while this clip was cut.
    damaged: int = 0


def cut(
    file: str | BinaryIO, video: Video, shots: Sequence[Shot], encoding: Encoding, folder: Path
) -> Iterator[CutShot]:
    """Cut these shots into ``folder/<id>.mp4``, each yielded when its file is complete."""
    if not shots:
        return
    with open_film(file) as container:
        stream = container.streams[video.stream_index]
        assert isinstance(stream, VideoStream)
        assert stream.time_base is not None
        clock = Clock(stream.time_base, video.first_pts, constant_rate(stream))
        sound = _sound_stream(container, encoding)
        ignore_other_streams(container, {s.index for s in (stream, sound) if s is not None})
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = DECODE_THREADS
        _seek(container, stream, clock, min(shot.span.start for shot in shots))
        listener = None
        if sound is not None:
            listener = Listener(sound, video.first_pts * stream.time_base, encoding.audio)
        yield from _Pass(container, stream, clock, listener, encoding, folder, video).run(shots)


class _Take:
    """A shot on its way to becoming a clip."""

    def __init__(self, shot: Shot) -> None:
        self.shot = shot
        self.writer: ClipWriter | None = None
        self.error: str | None = None
        self.last = Fraction(0)
        self.last_length = Fraction(0)
        self.pictures_done = False
        self.damaged = 0
        self._early: list[Heard] = []

    @property
    def start(self) -> float:
        return self.shot.span.start

    @property
    def end(self) -> float:
        return self.shot.span.end

    def hear(self, piece: Heard) -> None:
        if self.writer is None:
            # Pictures come out of the decoder later than sound: wait until second 0 is known.
            self._early.append(piece)
        else:
            self.writer.hear(piece)

    def begin(self, writer: ClipWriter, run_in_from: Fraction) -> None:
        self.writer = writer
        for piece in self._early:
            if piece.end > run_in_from:
                writer.hear(piece)
        self._early.clear()

    def finish(self) -> CutShot:
        if self.error is None and self.writer is None:
            self.error = (
                f"the source shows no frame between {self.start:g} s and {self.end:g} s. Usually "
                "the file was cut off, or its header promises more than it holds."
            )
        if self.error is not None or self.writer is None:
            self.drop()
            return CutShot(self.shot, error=self.error, damaged=self.damaged)
        try:
            facts = self.writer.close(self.last_length)
        except av.error.FFmpegError as error:
            self.fail(error)
            self.drop()
            return CutShot(self.shot, error=self.error, damaged=self.damaged)
        return CutShot(self.shot, self.writer.path, facts, damaged=self.damaged)

    def fail(self, error: av.error.FFmpegError) -> None:
        self.error = (
            f"the clip could not be encoded ({error.strerror}). Usually the disk is full or the "
            "encoder refuses these settings; try the default encoder."
        )

    def drop(self) -> None:
        if self.writer is not None:
            self.writer.abandon()


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
        video: Video,
    ) -> None:
        self.container, self.stream, self.clock = container, stream, clock
        self.listener, self.encoding, self.folder, self.video = listener, encoding, folder, video
        self.rate = stream.average_rate or Fraction(25)
        self.upright: Upright | None = None
        self.takes: list[_Take] = []
        self.seen = Fraction(-1)
        self.heard = Fraction(-1)

    def run(self, shots: Sequence[Shot]) -> Iterator[CutShot]:
        self.takes = [_Take(shot) for shot in sorted(shots, key=lambda shot: shot.span)]
        try:
            for packet in self._packets():
                self._take_in(packet)
                yield from self._finished()
                if not self.takes:
                    return
            for take in self.takes:
                self._end_pictures(take, None)
            while self.takes:
                yield self.takes.pop(0).finish()
        finally:
            for take in self.takes:
                take.drop()

    def _packets(self) -> Iterator[av.Packet[Any]]:
        wanted: list[Stream] = [self.stream]
        if self.listener is not None:
            wanted.append(self.listener.stream)
        yield from self.container.demux(*wanted)

    def _take_in(self, packet: av.Packet[Any]) -> None:
        if packet.stream_index != self.stream.index:
            assert self.listener is not None
            for piece in self.listener.hear(packet):
                self._hear(piece)
            return
        frames = decode(packet)
        if frames is None:
            for take in self.takes:
                take.damaged += take.writer is not None
        for frame in frames or ():
            self._show(frame)

    def _hear(self, piece: Heard) -> None:
        assert self.listener is not None
        self.heard = piece.end
        for take in self.takes:
            if piece.end > Fraction(take.start) - self.listener.run_in and piece.start < take.end:
                take.hear(piece)

    def _show(self, frame: av.VideoFrame) -> None:
        untimed = self.seen + 1 / self.rate
        seconds = untimed if frame.pts is None else self.clock.seconds(frame.pts)
        self.seen = seconds
        picture: av.VideoFrame | None = None
        for take in self.takes:
            if take.pictures_done or take.error is not None:
                continue
            if within(seconds, take.start, take.end):
                picture = picture or self._make_upright(frame)
                self._show_in(take, picture, seconds)
            elif seconds >= take.start:
                self._end_pictures(take, seconds)

    def _show_in(self, take: _Take, picture: av.VideoFrame, seconds: Fraction) -> None:
        try:
            if take.writer is None:
                self._begin(take, picture, seconds)
            assert take.writer is not None
            take.writer.show(picture, seconds)
            take.last = seconds
        except av.error.FFmpegError as error:
            take.fail(error)

    def _begin(self, take: _Take, picture: av.VideoFrame, seconds: Fraction) -> None:
        form = PictureFormat(
            picture.width,
            picture.height,
            self.rate,
            self.clock.clip_time_base,
            picture.color_primaries,
            picture.color_trc,
            picture.colorspace,
        )
        path = self.folder / f"{take.shot.id}.mp4"
        writer = ClipWriter(path, self.encoding, form, seconds, Fraction(take.end), self.listener)
        run_in = self.listener.run_in if self.listener else Fraction(0)
        take.begin(writer, seconds - run_in)

    def _make_upright(self, frame: av.VideoFrame) -> av.VideoFrame:
        source = stored(frame, self.stream.sample_aspect_ratio)
        if self.upright is None:
            self.upright = Upright(source)
        return self.upright(frame, source)

    def _end_pictures(self, take: _Take, next_shown: Fraction | None) -> None:
        """No more frames for this take; ``next_shown`` is when the film shows another one."""
        take.pictures_done = True
        take.last_length = 1 / self.rate
        if self.clock.rate is None and next_shown is not None:
            take.last_length = next_shown - take.last

    def _finished(self) -> Iterator[CutShot]:
        for take in list(self.takes):
            if take.error is not None or (take.pictures_done and self._sound_complete(take)):
                self.takes.remove(take)
                yield take.finish()

    def _sound_complete(self, take: _Take) -> bool:
        if self.listener is None:
            return True
        return self.heard >= take.end or self.seen >= take.end + PATIENCE


def _sound_stream(container: InputContainer, encoding: Encoding) -> AudioStream | None:
    if encoding.audio == "none":
        return None
    first = next(iter(container.streams.audio), None)
    # A track FFmpeg has no decoder for can neither be timed nor re-encoded.
    return first if first is not None and first.codec_context.sample_rate else None


def _seek(container: InputContainer, stream: VideoStream, clock: Clock, start: float) -> None:
    """Go to a key frame shown at or before ``start``; to the beginning when none can be found."""
    if start <= 0:
        return
    for back in SEEK_BACK:
        target = clock.pts(start - back)
        if target <= clock.first_pts:
            break
        try:
            container.seek(target, stream=stream, backward=True)
            landed = _first_key_shown(container, stream, clock, start)
            container.seek(target, stream=stream, backward=True)
        except av.error.FFmpegError:
            continue
        if landed is not None and landed <= start:
            return
    container.seek(0, backward=True)


def _first_key_shown(
    container: InputContainer, stream: VideoStream, clock: Clock, limit: float
) -> Fraction | None:
    """When the next key frame is shown; streams without an index land between two of them."""
    for packet in container.demux(stream):
        if packet.pts is not None:
            shown = clock.seconds(packet.pts)
        elif packet.dts is not None:
            shown = clock.seconds(packet.dts) + SEEK_MARGIN
        else:
            return None
        if packet.is_keyframe or shown > limit + PATIENCE:
            return shown
    return None

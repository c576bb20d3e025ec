"""The cut: one source opened once, decoded once, and out of that single pass all clips of a chunk.

    source   ──decode──▶ frame ─┬─▶ clip 1 (open)          spans may overlap: a frame goes to
                                ├─▶ clip 2 (open)          every clip that shows it, and to its
                                │     └─▶ its observer     observer
             ──demux───▶ sound ─┴─▶ clips whose span it touches, also those not begun yet

A clip holds exactly the frames with ``start ≤ t < end``, the first of them at time 0. It is handed
out as soon as its pictures and its sound are complete, so memory holds the clips in progress and
nothing else.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self

import av

from finecut.io.media.clip_file import ClipWriter
from finecut.io.media.clock import NEARLY, earliest
from finecut.io.media.codecs import SOFTWARE, Encoding, PictureFormat
from finecut.io.media.frame_view import (
    FrameView,
    Observer,
    Sampler,
    Scalers,
    Stored,
    Upright,
    display_matrix,
    stored,
)
from finecut.io.media.limits import USUAL_LIMITS, FilmError, Limits, let_go, let_go_of_frames
from finecut.io.media.seeking import OpenSource, heard_from, opened, seek_before
from finecut.io.media.sound import Heard
from finecut.io.media.source import decode, stamp
from finecut.io.records import ClipFile, PlannedClip, Video

ENCODE, COPY, SMART = "encode", "copy", "smart"
#: Seconds from which on a picture at the end that lasts longer than the others is a still.
LONG_STILL = 1
#: What breaks in an encoder: FFmpeg's own errors, and Python's, some of which are FFmpeg's, too.
ENCODING_ERRORS = (av.error.FFmpegError, OSError, ValueError)
#: What may break in an observer.
OBSERVING_ERRORS = (OSError, ValueError, ArithmeticError, LookupError, RuntimeError)
UNSEEN = "measuring the clip failed ({})"


@dataclass(frozen=True)
class Recipe:
    """How clips are made, in which folder, and what observes their frames."""

    folder: Path
    encoding: Encoding
    #: Whether they are encoded, copied, or copied but for their ends.
    mode: str = ENCODE
    #: Sees every frame of a clip that is encoded.
    observer: Callable[[PlannedClip], Observer] | None = None
    #: Sees those frames of a copied clip that are cheap to decode.
    sampler: Callable[[PlannedClip, ClipFile], Sampler] | None = None
    #: Whether they are shown the motion vectors that the decoder follows, too.
    vectors: bool = False
    limits: Limits = USUAL_LIMITS
    decoder: str = SOFTWARE
    #: Tell how far it is whenever so many seconds of clips were made; 0: never.
    tells: float = 0.0


@dataclass(frozen=True)
class CutClip:
    """What became of one planned clip: a file and its facts, or a sentence that says why not.

    Or how far it is: with ``made``, nothing has become of it yet.
    """

    planned: PlannedClip
    path: Path | None = None
    file: ClipFile | None = None
    #: An accident, in one sentence.
    error: str | None = None
    #: Not an accident: the film shows no new frame in this span.
    empty: str | None = None
    #: What is missing in the clip although the film should have it.
    damage: str | None = None
    #: Why its observer did not see all of it.
    unseen: str | None = None
    #: So many more seconds of clips.
    made: float = 0.0

    def noting(self, **facts: Any) -> Self:
        """The same, with these facts about its file, if it has one."""
        return self if self.file is None else replace(self, file=replace(self.file, **facts))


def cut(
    file: str | BinaryIO, video: Video, clips: Sequence[PlannedClip], recipe: Recipe
) -> Iterator[CutClip]:
    """Encode these planned clips into ``<id>.mp4``, each yielded when its file is complete."""
    if not clips:
        return
    with opened(
        file, video, recipe.limits, recipe.encoding.audio, decoder=recipe.decoder
    ) as source:
        if recipe.vectors:
            source.stream.codec_context.flags2 |= av.codec.context.Flags2.export_mvs
        # FFmpeg hands on the next header where it first comes to it, and not after a seek.
        if not source.changes:
            seek_before(source, heard_from(source, min(clip.span.start for clip in clips)))
        for result in _CutPass(source, recipe).run(clips):
            yield result.noting(**source.facts)


class _OpenClip:
    """A planned clip on its way to becoming a clip."""

    def __init__(self, clip: PlannedClip, run_in: Fraction) -> None:
        self.planned = clip
        self.start, self.end = Fraction(clip.span.start), Fraction(clip.span.end)
        # Asked about each picture and each piece of sound, so reckoned once.
        self.shows_from, self.shows_until = earliest(self.start), earliest(self.end)
        self.hears_from = self.start - run_in
        self.writer: ClipWriter | None = None
        self.upright: Upright | None = None
        self.error: str | None = None
        self.last = Fraction(0)
        #: When the film shows its next frame after this clip, once that is known.
        self.next_shown: Fraction | None = None
        self.damaged_packets = 0
        self.observer: Observer | None = None
        self.unseen: str | None = None
        self._early: list[Heard] = []

    def hear(self, piece: Heard) -> None:
        if self.writer is None:
            # Pictures come out of the decoder later than sound: wait until second 0 is known.
            self._early.append(piece)
        else:
            self.writer.hear(piece)

    def begin(self, writer: ClipWriter, run_in: Fraction) -> None:
        self.writer = writer
        for piece in self._early:
            if piece.end > writer.start - run_in:
                writer.hear(piece)
        self._early.clear()

    def show(self, view: FrameView, seconds: Fraction) -> None:
        assert self.writer is not None
        if self.writer.show(view.picture, seconds) and self.observer is not None:
            self.observe(self.observer.see, view, seconds - self.writer.start)
        self.last = seconds

    def observe(self, work: Callable[..., None], *given: Any) -> None:
        """Let the observer do something; its troubles are not the clip's."""
        try:
            work(*given)
        except OBSERVING_ERRORS as error:
            self.observer = None
            self.unseen = UNSEEN.format(error)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """What breaks herein costs this clip, and no other."""
        try:
            yield
        except ENCODING_ERRORS as error:
            self.error = (
                f"the clip could not be encoded ({error}). Usually the disk is full, the encoder "
                "needs more memory than --max-memory-mb allows, or the encoder or MP4 does not "
                "support this picture or sound; make room, try the default encoder, or --audio "
                "aac."
            )
        except FilmError as error:  # pictures that are like no other before them
            self.error = str(error)
        if self.error is not None:
            self.drop()

    def drop(self) -> None:
        if self.writer is not None:
            self.writer.abandon()
            self.writer = None
        self.observer = None


class _CutPass:
    """One way through one source."""

    def __init__(self, source: OpenSource, recipe: Recipe) -> None:
        self.source, self.recipe = source, recipe
        self.clock, self.ending, self.rate = source.clock, source.ending, source.rate
        self.scalers, self.shown = Scalers(), 0
        #: By the first picture of a clip; and how all are turned.
        self.uprights: dict[Stored, Upright] = {}
        self.turn: tuple[int, int, int, int] | None = None
        #: Clips whose time has not come, by start; a long chunk has many, so none is touched early.
        self.waiting: deque[_OpenClip] = deque()
        self.open: list[_OpenClip] = []
        #: Frames until the one whose vectors were read can be let go; 0: nothing waits.
        self.clinging = 0
        #: Frames since it was told how far this is, half when shown, and half when encoded.
        self.made = 0.0
        self.seen = Fraction(-1)
        self.heard = Fraction(-1)

    def run(self, clips: Sequence[PlannedClip]) -> Iterator[CutClip]:
        self.waiting.extend(
            _OpenClip(clip, self.source.run_in) for clip in sorted(clips, key=lambda c: c.span)
        )
        try:
            for packet in self.source.packets():
                self._take_in(packet)
                seconds = self.made / float(self.rate)
                if self.open and 0 < self.recipe.tells <= seconds:
                    yield CutClip(self.open[0].planned, made=seconds)
                    self.made = 0.0
                yield from self._finished()
                if not self.open and not self.waiting:
                    return
            self.open.extend(self.waiting)
            self.waiting.clear()
            while self.open:
                yield self._finish(self.open.pop(0))
        finally:
            for clip in self.open:
                clip.drop()

    def _take_in(self, packet: "av.Packet[Any]") -> None:
        # Not packet.stream_index: the packets that flush the decoders all say 0 there.
        if packet.stream.index != self.source.stream.index:
            assert self.source.listener is not None
            for piece in self.source.listener.hear(packet):
                self._hear(piece)
            return
        frames = decode(packet, self.source.limits)
        self.ending.read(packet, damaged=frames is None)
        if frames is None:
            for clip in self.open:
                clip.damaged_packets += 1
        for frame in frames or ():
            self.shown += 1
            self.source.limits.refuse_frames(self.shown)
            self._show(frame)

    def _hear(self, piece: Heard) -> None:
        self.heard = piece.end
        for clip in chain(self.open, self.waiting):
            if clip.hears_from >= piece.end:
                break
            if piece.start < clip.end and clip.error is None:
                with clip.alone():
                    clip.hear(piece)

    def _show(self, frame: av.VideoFrame) -> None:
        pts = stamp(self.source.container, frame)
        if pts is None and self.seen < 0:
            return  # the probe did not count it either: second 0 is the first frame with a time
        seconds = self.seen + 1 / self.rate if pts is None else self.clock.seconds(pts)
        self.seen = seconds
        self.ending.saw(pts, frame.duration)
        while self.waiting and seconds >= self.waiting[0].shows_from:
            self.open.append(self.waiting.popleft())
        views: dict[Upright, FrameView] = {}
        lies: Stored | None = None
        for clip in self.open:
            if clip.next_shown is None and clip.error is None:
                if seconds >= clip.shows_until:
                    clip.next_shown = seconds
                elif seconds >= clip.shows_from:
                    lies = lies or self._stored(frame)
                    with clip.alone():
                        self._show_in(clip, seconds, (frame, lies), views)
        self._let_go_of_frames(views.values())

    def _let_go_of_frames(self, views: Iterable[FrameView]) -> None:
        """Observers hold the last frame they saw, so one that clings is free two frames later."""
        if any(view.clings for view in views):
            self.clinging = 2
        elif self.clinging:
            self.clinging -= 1
            if not self.clinging:
                let_go_of_frames()

    def _show_in(
        self,
        clip: _OpenClip,
        seconds: Fraction,
        decoded: tuple[av.VideoFrame, Stored],
        views: dict[Upright, FrameView],
    ) -> None:
        """Show the frame in a clip, as upright as its first one was made; clips share the work."""
        frame, lies = decoded
        if clip.upright is None:
            clip.upright = self.uprights.setdefault(lies, Upright(lies))
        view = views.get(clip.upright)
        if view is None:
            view = views[clip.upright] = FrameView(frame, clip.upright(frame, lies), self.scalers)
        if clip.writer is None:
            self._begin(clip, clip.upright, seconds)
        assert clip.writer is not None
        encoded = clip.writer.encoded
        clip.show(view, seconds)
        # The encoder looks at about forty before it gives the first one back.
        self.made += (1 + clip.writer.encoded - encoded) / 2

    def _begin(self, clip: _OpenClip, upright: Upright, seconds: Fraction) -> None:
        writer = ClipWriter(
            self.recipe.folder / f"{clip.planned.id}.mp4",
            self.recipe.encoding,
            PictureFormat.of(upright.first, self.rate, self.clock.clip_time_base),
            self.source.listener,
            span=(seconds, clip.end),
        )
        clip.begin(writer, self.source.run_in)
        if self.recipe.observer is not None:
            clip.observer = self.recipe.observer(clip.planned)

    def _stored(self, frame: av.VideoFrame) -> Stored:
        if self.turn is None:
            self.turn = display_matrix(frame)
        return stored(frame, self.source.stream.sample_aspect_ratio, self.turn)

    def _finished(self) -> Iterator[CutClip]:
        for clip in list(self.open):
            if clip.error is not None or (
                clip.next_shown is not None
                and self.source.sound_complete(clip.end, self.heard, self.seen)
            ):
                self.open.remove(clip)
                yield self._finish(clip)

    def _finish(self, clip: _OpenClip) -> CutClip:
        if clip.error is None and clip.writer is None:
            return self._without_frames(clip)
        if clip.writer is not None:
            path = clip.writer.path
            if clip.observer is not None:
                clip.observe(clip.observer.end)
            with clip.alone():
                file = clip.writer.close(self._last_length(clip))
                clip.writer = None
                let_go()
                damage = self._damage(clip, file.num_frames)
                return CutClip(clip.planned, path, file, damage=damage, unseen=clip.unseen)
        return CutClip(clip.planned, error=clip.error)

    def _last_length(self, clip: _OpenClip) -> Fraction:
        """How long the clip shows its last picture: until the next one, or until its own end."""
        usual = 1 / self.rate
        following = clip.next_shown
        if following is None and self.ending.lasts_until(clip.last + LONG_STILL):
            following = self.ending.seconds
        elif self.clock.rate is not None:
            return usual
        return min(following or clip.last + usual, clip.end) - clip.last

    def _without_frames(self, clip: _OpenClip) -> CutClip:
        span = f"between {float(clip.start):g} s and {float(clip.end):g} s"
        if self._film_goes_on(clip) or self.ending.lasts_until(clip.start + NEARLY):
            return CutClip(clip.planned, empty=f"the video shows no new frame {span}")
        return CutClip(
            clip.planned,
            error=f"the source shows no frame {span}. Usually the file was cut off, or its "
            "header promises more than it contains.",
        )

    def _film_goes_on(self, clip: _OpenClip) -> bool:
        """Whether what is missing was never there: later pictures were seen, or sound was heard.

        (The length of some containers is that of their sound, which may outlast the pictures.)
        """
        return clip.next_shown is not None or self.heard > clip.start

    def _stands_still(self, clip: _OpenClip) -> bool:
        """Whether the film ends with a picture that is shown until this clip is over."""
        return self.ending.lasts_until(clip.end - 1 / self.rate)

    def _damage(self, clip: _OpenClip, num_frames: int) -> str | None:
        if clip.damaged_packets:
            return (
                f"{clip.damaged_packets} packets of the source are damaged here; their frames "
                "are missing"
            )
        if self.clock.rate is not None:
            wanted = int((clip.end - clip.start) * self.clock.rate)
            ended = clip.next_shown is None and (self.heard >= clip.end or self._stands_still(clip))
            if num_frames < wanted - 1 and not ended:
                return f"{num_frames} of {wanted} frames could be decoded; the others are missing"
        elif clip.end - clip.last > LONG_STILL and not (
            self._film_goes_on(clip) or self._stands_still(clip)
        ):
            return f"the video ends {float(clip.end - clip.last):.1f} s before the end of the clip"
        return None

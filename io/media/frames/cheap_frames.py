"""Cheap frames: a few frames of a finished clip, those that cost little to decode.

    clip      I  P  b  b  P  b  b  P  b  b  P  …  b │ I  P  b  b  …      two seconds or so to each I
    decoded   I  P        P                         │ I  P               one in 16, from each I on
    wanted    ↑     ↑        ↑     ↑                     ↑               and none beyond what is

Clips that are copied were not decoded, so nobody has seen their frames. To see every one of them
would cost what copying saves. So after each key frame a sixteenth of the frames up to the next one
is decoded, without those that no other frame needs, and a sampler takes the nearest of these. The
clip's own file is read, so that the same frames are found at any time.
"""

import dataclasses
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import BinaryIO

import av

from finecut.io.media.clip_file import Packet
from finecut.io.media.clock import Clock
from finecut.io.media.cutting import OBSERVING_ERRORS, UNSEEN, CutClip, Recipe
from finecut.io.media.frame_view import FrameView, Sampler, Scalers, Upright, display_matrix, stored
from finecut.io.media.frames.contact_sheet import Lazy
from finecut.io.media.limits import USUAL_LIMITS, FilmError, Limits, let_go, let_go_of_frames
from finecut.io.media.remux import h264
from finecut.io.media.source import decoded_alone, open_clip, packets

#: One frame in N is decoded, but no fewer than these after a key frame: one to compare it
#: with. Where motion is estimated from neighbours, these come only after some more were decoded.
SHARE, LEAST, LEAST_FOR_PAIRS = 16, 1, 5
#: Codecs whose decoders export the vectors they follow.
WITH_VECTORS = frozenset({"h264", "mpeg4"})


def sample(result: CutClip, recipe: Recipe) -> CutClip:
    """The same, after frames of its clip were shown; what goes wrong is not the clip's trouble."""
    if recipe.sampler is None or result.path is None or result.file is None:
        return result
    try:
        sampler = recipe.sampler(result.planned, result.file)
        show_cheap_frames(str(result.path), sampler, recipe.vectors, recipe.limits)
    except (*OBSERVING_ERRORS, FilmError) as error:
        return dataclasses.replace(result, unseen=UNSEEN.format(error))
    finally:
        let_go()
    return result


def show_cheap_frames(
    file: str | BinaryIO, sampler: Sampler, vectors: bool = False, limits: Limits = USUAL_LIMITS
) -> None:
    """Show it the frames of this clip that it wants, or those near them."""
    # So little is decoded in a row that threads would only wait.
    with open_clip(file, limits, threads=1, own=True) as (container, stream, clock):
        clip = [
            packet
            for packet in packets(container, stream)
            if packet.size and packet.pts is not None
        ]
        sampling = _Sampling(stream, clock, sampler, vectors=vectors, limits=limits)
        sampling.ask([packet.pts for packet in clip if packet.pts is not None])
        for section in _sections(clip):
            sampling.show(section)
    if not sampling.seen:
        raise ValueError("none of its frames could be decoded")
    sampler.end()


def show_key_frames(
    file: str | BinaryIO, sampler: Sampler, most: int, limits: Limits = USUAL_LIMITS
) -> None:
    """Show it some of a clip's key frames, evenly chosen: what costs least to see of a clip."""
    with open_clip(file, limits, threads=1, own=True) as (container, stream, clock):
        keys = [
            packet
            for packet in packets(container, stream)
            if packet.size and packet.pts is not None and packet.is_keyframe
        ]
        sampling = _Sampling(stream, clock, sampler, vectors=False, limits=limits)
        for place in sorted({len(keys) * (2 * number + 1) // (2 * most) for number in range(most)}):
            sampling.show_all(keys[place : place + 1])
    if not sampling.seen:
        raise ValueError("none of its key frames could be decoded")
    sampler.end()


def _sections(clip: Sequence[Packet]) -> Iterator[list[Packet]]:
    """From key frame to key frame, without what is shown before it."""
    keys = (place for place, packet in enumerate(clip) if packet.is_keyframe)
    for start, end in pairwise(sorted({0, *keys, len(clip)})):
        first = clip[start].pts or 0
        yield [clip[start], *(p for p in clip[start + 1 : end] if (p.pts or 0) > first)]


class _Sampling:
    """One clip, section by section."""

    def __init__(
        self, stream: av.VideoStream, clock: Clock, sampler: Sampler, vectors: bool, limits: Limits
    ) -> None:
        self.stream, self.clock, self.sampler, self.limits = stream, clock, sampler, limits
        self.context = stream.codec_context
        codec = self.context.codec.canonical_name
        self.header = h264.header(self.context.extradata) if codec == "h264" else None
        self.pairs = vectors and codec not in WITH_VECTORS
        if vectors and not self.pairs:
            self.context.flags2 |= av.codec.context.Flags2.export_mvs
        if not self.pairs:
            self.context.skip_frame = "NONREF"
        #: When those that are wanted are shown, in ticks: whole numbers are compared quicker.
        self.wanted: list[int] = []
        self.tick = clock.ticker()
        self.upright: Upright | None = None
        self.scalers = Scalers()
        self.seen = 0

    def ask(self, ticks: list[int]) -> None:
        """Ask which of the frames shown at these ticks are wanted."""
        ticks.sort()
        # Fractions are dear, so only those are made that somebody asks for.
        times = Lazy(cache(lambda number: self.clock.seconds(ticks[number])), len(ticks))
        self.wanted = sorted(self.tick(ticks[number]) for number in self.sampler.wants(times))

    def show(self, section: Sequence[Packet]) -> None:
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
        return self.sampler.more(times) if times else 0

    def show_all(self, section: Sequence[Packet]) -> None:
        """Show every frame of a section."""
        self._show(section, set())

    def _show(self, section: Sequence[Packet], shown: set[int]) -> None:
        """Decode these, and show the frames that were not shown yet."""
        clings = False
        for frame in decoded_alone(self.context, section, self.limits):
            if frame.pts is not None and frame.pts not in shown:
                matrix = self.upright.first.matrix if self.upright else display_matrix(frame)
                lies = stored(frame, self.stream.sample_aspect_ratio, matrix)
                self.upright = self.upright or Upright(lies)
                view = FrameView(frame, self.upright(frame, lies), self.scalers)
                self.sampler.see(view, self.clock.seconds(frame.pts))
                self.seen += 1
                shown.add(frame.pts)
                clings |= view.clings
                del view
        if clings:
            let_go_of_frames()

    def _cheap(self, section: Sequence[Packet]) -> tuple[Sequence[int], int]:
        """Where frames lie that can be had after the key frame, and where the last of them ends.

        As far as anything is wanted, and allowed. Without a header nobody knows here which of them
        the decoder will leave out, so they are had all at once or not at all.
        """
        first = reached = self.tick(section[0].pts or 0)
        # The last wanted picture among these, if any is.
        place = bisect_right(self.wanted, self.tick(max(packet.pts or 0 for packet in section)))
        until = self.wanted[place - 1] if place and self.wanted[place - 1] >= first else None
        if until is None and self.seen:
            return (), 0
        most = max(LEAST_FOR_PAIRS if self.pairs else LEAST, len(section) // SHARE)
        place, needed = 1, list[int]()
        while until is not None and place < len(section) and reached < until:
            if self.header is None or h264.is_reference(
                h264.units(bytes(section[place]), self.header.length_size)
            ):
                if len(needed) == most:
                    break
                needed.append(place)
                reached = max(reached, self.tick(section[place].pts or 0))
            place += 1
        return needed if self.header is not None else (), place

"""Splicing: a clip made of packets as they are in the source, and of a few pictures encoded anew.

    source     I──────────────I──────────────I──────────────I────
    clip            ▕░░░░░░░░░▏──────────────▏─────────▕░▏          ░ encoded, ─ copied
                   start                              end

The encoded pictures have parameter sets of their own, under another number (see :mod:`h264`), and
each stretch begins with an IDR. Decoding times are made anew: with *d* pictures waiting to be shown
in order, the i-th packet is decoded when the picture d places before is shown. That is early enough
for every packet if no picture waits longer, and the same for copied and encoded ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from finecut.io.media.clip_file import Mp4Writer, Packet
from finecut.io.media.codecs import Encoding, PictureFormat, configure, encoder_options
from finecut.io.media.remux import h264
from finecut.io.media.remux.sections import Refused
from finecut.io.media.seeking import OpenSource
from finecut.io.media.sound import Heard
from finecut.io.records import ClipFile

#: What encodes where copied H.264 begins and ends in the middle of a group of pictures.
ENCODER = "libx264"
#: The number of an H.264 profile → what the encoder calls it.
PROFILES = {66: "baseline", 77: "main", 100: "high"}


@dataclass(frozen=True)
class Piece:
    """A packet of a clip's pictures, and the tick at which it is shown."""

    shown: int
    packet: Packet


class Patcher:
    """Encodes short stretches of pictures so that they fit between copied ones."""

    def __init__(
        self, encoding: Encoding, form: PictureFormat, theirs: h264.Header, delay: int
    ) -> None:
        number = theirs.free_number()
        if number is None:
            raise Refused("all ids of parameter sets are in use")
        self._encoding, self._form = encoding, form
        self._options = _options(encoding, h264.picture_set(theirs.sps[0]), number, delay)
        trial = self._open()
        self.header = theirs.joined(_fitting(h264.header(trial.extradata), theirs, delay))

    def _open(self) -> VideoCodecContext:
        context = VideoCodecContext.create(ENCODER, "w")
        assert isinstance(context, VideoCodecContext)
        context.options = dict(self._options)
        configure(context, self._encoding, self._form)
        context.flags |= Flags.global_header
        context.open()
        return context

    def patch(self, first: int, end: int) -> Patch:
        """What takes the pictures shown from one tick until another."""
        return Patch(self._open(), self._form.time_base, first, end)


class Patch:
    """One such stretch."""

    def __init__(
        self, context: VideoCodecContext, time_base: Fraction, first: int, end: int
    ) -> None:
        self.first, self.end = first, end
        self.taken: set[int] = set()
        self._context, self._time_base = context, time_base
        self._pieces: list[Piece] = []

    def wants(self, tick: int) -> bool:
        return self.first <= tick < self.end

    def show(self, frame: av.VideoFrame, tick: int) -> None:
        if not self.wants(tick) or tick in self.taken:
            return
        self.taken.add(tick)
        frame.pts, frame.time_base, frame.pict_type = tick, self._time_base, 0
        self._keep(self._context.encode(frame))

    def pieces(self) -> list[Piece]:
        """All packets, in the order of decoding."""
        self._keep(self._context.encode(None))
        return self._pieces

    def _keep(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            parts = h264.units(bytes(packet), None)
            shown = av.Packet(h264.packed(part for part in parts if h264.shows(part)))
            shown.is_keyframe = packet.is_keyframe
            assert packet.pts is not None
            self._pieces.append(Piece(packet.pts, shown))


def _options(
    encoding: Encoding, source: h264.PictureSet, number: int, delay: int
) -> dict[str, str]:
    options = encoder_options(encoding)
    options["profile"], options["level"] = PROFILES[source.profile], f"{source.level / 10:g}"
    extra = [options["x264-params"]] if "x264-params" in options else []
    extra.append(f"sps-id={number}")
    if delay < 2:  # no picture waits longer than the source's do
        extra.append("bframes=0" if delay < 1 else "b-pyramid=none")
    options["x264-params"] = ":".join(extra)
    return options


def _fitting(ours: h264.Header, theirs: h264.Header, delay: int) -> h264.Header:
    """Our sets, saying the same as the source's of how many pictures wait."""
    source, own = h264.picture_set(theirs.sps[0]), h264.picture_set(ours.sps[0])
    reorder = max(own.reorder or 0, delay if source.reorder is None else source.reorder)
    kept = max(own.kept or own.references, source.kept or 0, reorder)
    return h264.Header((h264.with_order(ours.sps[0], reorder, kept),), ours.pps, None)


class SplicedWriter(Mp4Writer):
    """Takes packets of one clip in the order of decoding, and closes into its facts.

    Ticks count from the film's second 0; those of the clip begin with ``first``.
    """

    _decoding_times_are_made = True

    def __init__(
        self, path: Path, source: OpenSource, extradata: bytes | None, first: int, delay: int
    ) -> None:
        time_base, template = source.clock.clip_time_base, source.stream
        super().__init__(path, time_base)
        self._first, self.start = first, first * time_base
        self._like = template.codec_context
        self._track = self._container.add_stream_from_template(template, opaque=True)
        if extradata is not None:
            self._track.codec_context.extradata = extradata
        if self._like.codec.canonical_name == "hevc":
            self._track.codec_context.codec_tag = "hvc1"  # what all players know
        self._track.time_base = time_base
        usual = round(1 / (template.average_rate or 25) / time_base)
        #: When the last few pictures are shown: as many as wait.
        self._before = [-usual * place for place in range(delay, 0, -1)]
        self._add_sound(source.listener)

    def add(self, pieces: Sequence[Piece], ends: int) -> None:
        """Add packets that are shown after all that were added before, until a tick."""
        shown = [piece.shown - self._first for piece in pieces]
        ordered = sorted(shown)
        # Of B-frames at the end of a clip the one decoded last is not the one shown last.
        length = {tick: end - tick for tick, end in pairwise((*ordered, ends - self._first))}
        order = self._before + ordered
        for piece, tick, decoded in zip(pieces, shown, order, strict=False):
            if tick < decoded:
                raise Refused("frames wait longer to be shown than the video declares")
            self._mux_held()
            self._hold(piece.packet, tick, decoded, length[tick])
        self._before = order[len(pieces) :]
        self._last_tick = max(self._last_tick, *shown)
        self._num_frames += len(pieces)

    def hear(self, piece: Heard, until: Fraction) -> None:
        """Add this piece of the film's sound, of a clip that goes on until then."""
        if self._sound is not None:
            self._sound.add(piece, self.start, until)

    def close(self, last_length: Fraction) -> ClipFile:
        """Finish the file; the last picture is shown for ``last_length`` seconds."""
        return self._finish(self._end(last_length), self._like)

"""Splicing: a clip made of packets as they are in the source, and of a few pictures encoded anew.

First of all: whether a film's packets can be copied into MP4, and encoded ones fit between them.

    source     I──────────────I──────────────I──────────────I────
    clip            ▕░░░░░░░░░▏──────────────▏─────────▕░▏          ░ encoded, ─ copied
                   start                              end

The encoded pictures have parameter sets of their own, under another number (see :mod:`h264`), and
each stretch begins with an IDR. Decoding times are made anew: with *d* pictures waiting to be shown
in order, the i-th packet is decoded when the picture d places before is shown. That is early enough
for every packet if no picture waits longer, and the same for copied and encoded ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from finecut.io.media.clip_file import Mp4Writer, Packet
from finecut.io.media.codecs import Encoding, PictureFormat, configure, encoder_options
from finecut.io.media.frame_view import YCGCO, display_matrix, filters, stored, upright_size
from finecut.io.media.remux import h264
from finecut.io.media.remux.sections import Refused
from finecut.io.media.remux.steady import Steady, steady
from finecut.io.media.seeking import OpenSource, rewind
from finecut.io.media.sound import Heard
from finecut.io.media.source import decoded
from finecut.io.records import ClipFile

#: Codecs that MP4 holds and players play, of which VP9 alone says nothing in its track's header.
COPYABLE = frozenset({"h264", "hevc", "vp9", "av1", "mpeg4"})
#: What encodes where copied H.264 begins and ends in the middle of a group of pictures.
ENCODER = "libx264"
#: The number of an H.264 profile → what the encoder calls it.
PROFILES = {66: "baseline", 77: "main", 100: "high"}


@dataclass(frozen=True)
class Copyable:
    """A film that can be copied."""

    #: Of H.264: its parameter sets.
    header: h264.Header | None
    #: Sees whether packets are as the header says.
    watch: Steady | None
    #: How many pictures wait to be shown in order.
    delay: int
    #: Encodes what lies between copied packets, if clips have to be exact.
    patcher: "Patcher | None"


def copyable(source: OpenSource, encoding: Encoding, exact: bool) -> Copyable:
    """Raises what keeps this film from being copied. Nothing of it was decoded yet."""
    context = source.stream.codec_context
    header = _header(source)
    watch = steady(context.codec.canonical_name, context.extradata, (context.width, context.height))
    delay = context.reorder_depth
    patcher = None
    if exact:
        # Asked first: it costs nothing, and names the better reason.
        theirs = joinable(source.stream, header)
        patcher = Patcher(encoding, _form(source), theirs, delay)
        # The first picture was decoded to see what they are like.
        rewind_again(source)
    return Copyable(header, watch, delay, patcher)


def rewind_again(source: OpenSource) -> None:
    try:
        rewind(source.container)
    except av.error.FFmpegError as error:
        raise Refused(f"it cannot be read twice from its beginning ({error})") from error


def _header(source: OpenSource) -> h264.Header | None:
    """The parameter sets of H.264."""
    context = source.stream.codec_context
    codec = context.codec.canonical_name
    troubles = {
        "its track has more than one sample description": source.changes,
        f"its video is {codec}, which players do not expect in MP4": codec not in COPYABLE,
        "its colours are YCgCo, which hardly any player supports": context.colorspace == YCGCO,
        "AVI does not record when frames are shown": source.container.format.name == "avi",
        "the parameter sets of the video are not in its header": (
            codec != "vp9" and not context.extradata
        ),
    }
    for trouble, is_so in troubles.items():
        if is_so:
            raise Refused(trouble)
    return h264.header(context.extradata) if codec == "h264" else None


def joinable(stream: VideoStream, header: h264.Header | None) -> h264.Header:
    """The header, if pictures of this film can be encoded anew so that they fit between its own."""
    if header is None:
        codec = stream.codec_context.codec.canonical_name
        raise Refused(f"its video is {codec}, and smart cutting supports only H.264")
    sets = [h264.picture_set(unit) for unit in header.sps]
    for each in sets:
        if each.profile not in PROFILES or (each.chroma, each.depth) != (1, 8):
            raise Refused(f"its H.264 profile ({each.profile}) is not one for 8-bit 4:2:0 video")
        if not each.whole_frames:
            raise Refused("it is interlaced, or may be")
        if each.size != sets[0].size:
            raise Refused("its frames change their size")
    return header


def _form(source: OpenSource) -> PictureFormat:
    """What its pictures are like, when they are as clips are anyway."""
    frame = next(decoded(source.container, source.stream, source.limits), None)
    if frame is None:
        raise Refused("none of its frames could be decoded")
    first = stored(frame, source.stream.sample_aspect_ratio, display_matrix(frame))
    if filters(first, upright_size(first)):
        raise Refused(
            "its frames are rotated, have non-square pixels or an odd size, or have a range or "
            "format that clips do not have"
        )
    return PictureFormat.of(first, source.rate, source.clock.clip_time_base)


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
        self.header = theirs.joined(_fitting(h264.header(self._open().extradata), theirs, delay))

    def _open(self) -> VideoCodecContext:
        context = VideoCodecContext.create(ENCODER, "w")
        assert isinstance(context, VideoCodecContext)
        context.options = dict(self._options)
        configure(context, self._encoding, self._form)
        context.flags |= Flags.global_header
        context.open()
        return context

    def patch(self, first: int, end: int) -> "Patch":
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
    # No picture waits longer than the source's do.
    order = ("bframes=0", "b-pyramid=none", "")[min(delay, 2)]
    said = (options.get("x264-params"), f"sps-id={number}", order)
    options["x264-params"] = ":".join(filter(None, said))
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
        for piece, tick, due in zip(pieces, shown, order, strict=False):
            if tick < due:
                raise Refused("frames wait longer to be shown than the video declares")
            self._mux_held()
            self._hold(piece.packet, tick, due, length[tick])
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

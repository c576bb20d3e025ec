"""Whether packets of a film can be copied into MP4, and whether encoded ones fit between them."""

from __future__ import annotations

from dataclasses import dataclass

import av
from av.video.stream import VideoStream

from finecut.io.media.codecs import Encoding, PictureFormat
from finecut.io.media.frame_view import YCGCO, Stored, display_matrix, filters, stored, upright_size
from finecut.io.media.remux import h264
from finecut.io.media.remux.sections import Refused
from finecut.io.media.remux.splicing import PROFILES, Patcher
from finecut.io.media.remux.steady import Steady, steady
from finecut.io.media.seeking import OpenSource, rewind
from finecut.io.media.source import decoded

#: Codecs that MP4 holds and players play.
COPYABLE = frozenset({"h264", "hevc", "vp9", "av1", "mpeg4"})
#: Those whose track has to have a header.
WITH_HEADER = frozenset({"h264", "hevc", "av1", "mpeg4"})
H264 = "h264"


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
    patcher: Patcher | None


def copyable(source: OpenSource, encoding: Encoding, exact: bool) -> Copyable:
    """Raises what keeps this film from being copied. Nothing of it was decoded yet."""
    context = source.stream.codec_context
    if source.changes:
        raise Refused("its track has more than one sample description")
    header = _header(source)
    size = (context.width, context.height)
    watch = steady(context.codec.canonical_name, context.extradata, size)
    delay = context.reorder_depth
    patcher = None
    if exact:
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
        f"its video is {codec}, which players do not expect in MP4": codec not in COPYABLE,
        "its colours are YCgCo, which hardly any player supports": context.colorspace == YCGCO,
        "AVI does not record when frames are shown": source.container.format.name == "avi",
        "the parameter sets of the video are not in its header": (
            codec in WITH_HEADER and not context.extradata
        ),
    }
    for trouble, is_so in troubles.items():
        if is_so:
            raise Refused(trouble)
    return h264.header(context.extradata) if codec == H264 else None


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
    first = _first_picture(source)
    if filters(first, upright_size(first)):
        raise Refused(
            "its frames are rotated, have non-square pixels or an odd size, or have a range or "
            "format that clips do not have"
        )
    return PictureFormat.of(first, source.rate, source.clock.clip_time_base)


def _first_picture(source: OpenSource) -> Stored:
    for frame in decoded(source.container, source.stream, source.limits):
        return stored(frame, source.stream.sample_aspect_ratio, display_matrix(frame))
    raise Refused("none of its frames could be decoded")

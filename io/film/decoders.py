"""Decoders: who makes pictures of a film's packets, the processor or the GPU beside it.

    software    FFmpeg's own; they tell the motion vectors that they follow
    nvdec       the GPU's, through FFmpeg: headers are read here, pictures are made there and
                fetched (8 bits as nv12); what it does not know is decoded here after all

Both make the same pictures of the same packets, since codecs leave nothing open.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import av
from av.codec import Codec
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext

from finecut.io.film.looking import plane

DECODERS = SOFTWARE, NVDEC = "software", "nvdec"
#: All contexts of a process are one, which is not made anew for each film.
SHARED = {"primary_ctx": "1"}
#: The picture that is tried: of a codec and size that every one of these GPUs decodes.
TRIED, SIDE, GREY = "h264", 256, 90


class DecoderMissing(Exception):
    """The decoder asked for cannot be used here."""


def hardware(decoder: str) -> HWAccel | None:
    """What a film is opened with so that this decoder is used."""
    return None if decoder == SOFTWARE else _device()[0]


@cache
def _device() -> tuple[HWAccel, HWAccel]:
    """The one, and what is held as long as the process: else each film would set up the GPU."""
    accelerated = HWAccel("cuda", allow_software_fallback=True, options={**SHARED})
    return accelerated, accelerated.create(Codec(TRIED, "r"))


def require_decoder(decoder: str) -> None:
    """Raise :class:`DecoderMissing` unless a picture can be decoded with it, rightly."""
    if decoder == SOFTWARE:
        return
    try:
        frame = _decoded(HWAccel("cuda", allow_software_fallback=False, options={**SHARED}))
    except (av.error.FFmpegError, NotImplementedError, RuntimeError) as error:
        raise DecoderMissing(
            f"decoder {decoder!r} cannot be used: it does not start here ({error}). It needs an "
            "NVIDIA GPU and its driver's video library (libnvcuvid.so.1) on every machine that "
            "cuts: leave --decoder out, and films are decoded by the processor."
        ) from error
    seen = plane(frame, 0)
    if abs(int(seen.min()) - GREY) > 2 or abs(int(seen.max()) - GREY) > 2:
        raise DecoderMissing(
            f"decoder {decoder!r} cannot be used: a grey picture came back with other values "
            f"({seen.min()} to {seen.max()} instead of {GREY}). Its driver is broken: leave "
            "--decoder out, or install another driver."
        )


def _decoded(accelerated: HWAccel | None) -> av.VideoFrame:
    """A picture, there and back."""
    writing = VideoCodecContext.create("libx264", "w")
    reading = VideoCodecContext.create(TRIED, "r", accelerated)
    assert isinstance(writing, VideoCodecContext)
    assert isinstance(reading, VideoCodecContext)
    writing.width = writing.height = SIDE
    writing.pix_fmt, writing.time_base = "yuv420p", Fraction(1, 30)
    picture = av.VideoFrame(SIDE, SIDE, "yuv420p")
    for part, value in zip(picture.planes, (GREY, 128, 128), strict=True):
        part.update(bytes([value]) * part.buffer_size)
    picture.pts = 0
    packets = [*writing.encode(picture), *writing.encode(None)]
    frames = [frame for packet in [*packets, None] for frame in reading.decode(packet)]
    if not frames:
        raise RuntimeError("no picture came back")
    return frames[0]

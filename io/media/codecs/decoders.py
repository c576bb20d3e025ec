"""Decoders: what makes pictures of a film's packets, the processor or the GPU beside it.

    software    FFmpeg's own; they export the motion vectors that they follow
    nvdec       the GPU's, through FFmpeg: headers are read here, pictures are made there and
                fetched (8 bits as nv12); what it does not know is decoded here after all

H.264, HEVC and VP9 say bit by bit what the pictures are, so both make the same. AV1 is decoded here
in any case: FFmpeg's decoder for it that comes first knows no GPU.
"""

from __future__ import annotations

from functools import cache

import av
from av.codec import Codec
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext

from finecut.io.errors import UserError
from finecut.io.media.codecs.encoders import GREY, Encoding, encoded_picture
from finecut.io.media.frame_view import plane

DECODERS = SOFTWARE, NVDEC = "software", "nvdec"
#: All contexts of a process are one, which is not made anew for each film. FFmpeg refuses it where
#: somebody else, as torch, has set it up otherwise.
SHARED, OWN = {"primary_ctx": "1"}, dict[str, str]()
#: The codec that is tried.
TRIED = "h264"
#: What may be raised where no GPU can be set up; the last one by an FFmpeg without CUDA.
TROUBLE = (av.error.FFmpegError, RuntimeError, NotImplementedError)


class DecoderMissing(UserError):
    """The decoder asked for cannot be used here."""

    @classmethod
    def because(cls, decoder: str, reason: str) -> DecoderMissing:
        return cls(
            f"decoder {decoder!r} cannot be used: {reason}. It needs an NVIDIA GPU, its driver "
            "and the driver's video library (libcuda.so.1, libnvcuvid.so.1) on every machine "
            "that cuts. Leave --decoder out to decode on the processor."
        )


def hardware(decoder: str) -> HWAccel | None:
    """What a film is opened with so that this decoder is used."""
    if decoder == SOFTWARE:
        return None
    try:
        return _device()[0]
    except TROUBLE as error:
        raise DecoderMissing.because(decoder, f"the GPU cannot be set up ({error})") from error


@cache
def _device() -> tuple[HWAccel, HWAccel]:
    """The one, and what is held as long as the process: else each film would set up the GPU."""
    shared = HWAccel("cuda", allow_software_fallback=True, options={**SHARED})
    try:
        return shared, shared.create(Codec(TRIED, "r"))
    except av.error.FFmpegError:
        own = HWAccel("cuda", allow_software_fallback=True, options={**OWN})
        return own, own.create(Codec(TRIED, "r"))


def require_decoder(decoder: str) -> None:
    """Raise :class:`DecoderMissing` unless a picture can be decoded with it, rightly."""
    if decoder == SOFTWARE:
        return
    try:
        frame = _decoded(HWAccel("cuda", allow_software_fallback=False, options={**OWN}))
    except TROUBLE as error:
        raise DecoderMissing.because(decoder, f"it does not start here ({error})") from error
    seen = plane(frame, 0)
    if abs(int(seen.min()) - GREY) > 2 or abs(int(seen.max()) - GREY) > 2:
        found = f"{seen.min()} to {seen.max()}"
        reason = f"a picture of grey {GREY} came back as {found}, so the driver is broken"
        raise DecoderMissing.because(decoder, reason)


def _decoded(accelerated: HWAccel | None) -> av.VideoFrame:
    """A picture, there and back; by the processor if there is nothing else."""
    context = VideoCodecContext.create(TRIED, "r", accelerated)
    assert isinstance(context, VideoCodecContext)
    if accelerated is not None and not context.is_hwaccel:
        raise RuntimeError("this FFmpeg was built without CUDA")
    packets = [*encoded_picture(Encoding()), None]
    frame = next((frame for packet in packets for frame in context.decode(packet)), None)
    if frame is None:
        raise RuntimeError("no picture came back")
    return frame

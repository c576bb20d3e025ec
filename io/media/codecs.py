"""Codecs: which encoders and decoders there are, and the options of each.

The defaults of encoders aim at clips that look like their source at a few times real time per core:

    libx264      preset veryfast   crf 21     libsvtav1     preset 8             crf 32
    libx265      preset superfast  crf 24     libvpx-vp9    deadline good, cpu 4 crf 31
    h264_nvenc   preset p4         cq 21      libopenh264   0.1 bit per pixel

The number of encoder threads is part of the bytes an encoder writes, so it is a fixed number and
never "as many as this machine has". They wait for their turn, like everybody's: see :func:`opened`.

Pictures are made of a film's packets by the processor, or by the GPU beside it:

    software    FFmpeg's own; they export the motion vectors that they follow
    nvdec       the GPU's, through FFmpeg: headers are read here, pictures are made there and
                fetched (8 bits as nv12); what it does not know is decoded here after all

H.264, HEVC and VP9 say bit by bit what the pictures are, so both make the same. AV1 is decoded here
in any case: FFmpeg's decoder for it that comes first knows no GPU.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Self, cast

import av
from av.codec.hwaccel import HWAccel

from finecut.io.errors import UserError
from finecut.io.media.frame_view import Stored, clip_colorspace, plane, upright_size

REAL_TIME_ENCODER = "libsvtav1"
#: One entry for each thread of this process; Linux has it.
THREADS = Path("/proc/self/task")
#: Every core has a worker. Threads of one encoder wait for each other: two cost 8 % more CPU.
DEFAULT_THREADS = 1
#: For encoders without a constant quality mode.
BITS_PER_PIXEL = 0.1
#: The picture that encoders and decoders are tried with: of a size that every GPU knows.
SIDE, GREY = 256, 90
#: What Linux says of the processor.
_CPU = Path("/proc/cpuinfo")

# x264's AVX-512 code for macroblock trees gives other bytes from run to run (1 in 3 encodes of a
# 426x240 film, also with one thread); its AVX2 code never did, and is as fast. All other code
# paths of x264 give the same bytes, so machines of all kinds agree.
_AVX512 = _CPU.exists() and "avx512" in _CPU.read_text()
_SAME_BYTES_X264 = {"x264-params": "asm=avx2"} if _AVX512 else {}


@dataclass(frozen=True)
class EncoderProfile:
    """Which options of an encoder are its preset and quality, and which others it gets."""

    presets: tuple[str, ...] = ()
    #: The option that takes one of them, or the quality, and what it is by default.
    preset: tuple[str, str] | None = None
    quality: tuple[str, int] | None = None
    worst: int = 51
    options: Mapping[str, str] = field(default_factory=dict)
    #: Further options that only make sense when no bit rate is asked for.
    quality_mode: Mapping[str, str] = field(default_factory=dict)


_X26X = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
_NVENC = {
    "rc": "vbr",
    "tune": "hq",
    "b_ref_mode": "middle",
    "temporal-aq": "1",
    "spatial-aq": "1",
    "rc-lookahead": "20",
}

PROFILES = {
    "libx264": EncoderProfile(
        presets=_X26X,
        preset=("preset", "veryfast"),
        quality=("crf", 21),
        options=_SAME_BYTES_X264,
    ),
    "libx265": EncoderProfile(
        presets=_X26X,
        preset=("preset", "superfast"),
        quality=("crf", 24),
        options={"x265-params": "log-level=0"},
    ),
    "libsvtav1": EncoderProfile(
        presets=tuple(map(str, range(14))),
        preset=("preset", "8"),
        quality=("crf", 32),
        worst=63,
    ),
    "libvpx-vp9": EncoderProfile(
        presets=tuple(map(str, range(9))),
        preset=("cpu-used", "4"),
        quality=("crf", 31),
        worst=63,
        options={"deadline": "good", "row-mt": "1", "tile-columns": "2"},
        quality_mode={"b": "0"},
    ),
    "h264_nvenc": EncoderProfile(
        presets=tuple(f"p{i}" for i in range(1, 8)),
        preset=("preset", "p4"),
        quality=("cq", 21),
        options=_NVENC,
    ),
    "libopenh264": EncoderProfile(),
}


class EncoderMissing(UserError):
    """The encoder asked for cannot be used here."""


@dataclass(frozen=True)
class Encoding:
    """Everything that decides what a clip's bytes are, apart from its pictures and sound."""

    encoder: str = "libx264"
    preset: str | None = None
    crf: int | None = None
    #: Bits per second; ``None`` means constant quality.
    bit_rate: int | None = None
    threads: int = DEFAULT_THREADS
    #: ``copy`` where MP4 allows (else AAC), ``aac`` always, ``none``.
    audio: str = "copy"


@dataclass(frozen=True)
class PictureFormat:
    """What the encoder is fed: yuv420p of this size, with times in ``time_base``."""

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    #: FFmpeg's numbers of their primaries, transfer and matrix; 2: unknown.
    colours: tuple[int, int, int] = (2, 2, 2)

    @classmethod
    def of(cls, source: Stored, rate: Fraction, time_base: Fraction) -> Self:
        """That of a clip whose first picture lies in memory like this."""
        return cls(
            *upright_size(source),
            rate,
            time_base,
            colours=(source.primaries, source.transfer, clip_colorspace(source)),
        )


def why_unusable(encoding: Encoding) -> str | None:
    """``None`` if one small picture can be encoded so, else the reason."""
    if encoding.encoder not in av.codecs_available:
        return "this FFmpeg was built without it"
    try:
        encoded_picture(encoding)
    except av.error.FFmpegError as error:
        return f"it does not start here ({error.strerror})"
    return None


def require_encoder(encoding: Encoding) -> None:
    """Raise :class:`EncoderMissing`, saying what can be had instead, if this cannot be encoded."""
    profile = PROFILES[encoding.encoder]
    if encoding.preset is not None and encoding.preset not in profile.presets:
        known = (
            f"{encoding.encoder} has {', '.join(profile.presets)}"
            if profile.presets
            else f"{encoding.encoder} has no presets, so leave it out"
        )
        raise EncoderMissing(f"--preset {encoding.preset} is unknown: {known}.")
    if encoding.crf is not None and encoding.crf > profile.worst:
        raise EncoderMissing(
            f"--crf {encoding.crf} is out of range: {encoding.encoder} accepts 0 (best) to "
            f"{profile.worst}."
        )
    reason = why_unusable(encoding)
    if reason is not None:
        usable = [name for name in PROFILES if why_unusable(Encoding(name)) is None]
        raise EncoderMissing(
            f"encoder {encoding.encoder!r} cannot be used: {reason}. "
            f"Encoders that work here: {', '.join(usable)}."
        )


def configure(context: av.VideoCodecContext, encoding: Encoding, picture: PictureFormat) -> None:
    """Set size, rate, colours and threads on an encoder that is not open yet."""
    context.width, context.height = picture.width, picture.height
    context.pix_fmt = "yuv420p"
    context.framerate = picture.rate
    context.time_base = picture.time_base
    context.color_range = 1
    context.color_primaries, context.color_trc, context.colorspace = picture.colours
    context.sample_aspect_ratio = Fraction(1)
    context.thread_count = encoding.threads
    # PyAV's own choice cuts each picture in slices: larger clips, and more waiting.
    context.thread_type = "FRAME"
    context.flags |= av.codec.context.Flags.bitexact
    if encoding.bit_rate is not None:
        context.bit_rate = encoding.bit_rate
    elif PROFILES[encoding.encoder].quality is None:
        context.bit_rate = int(picture.width * picture.height * picture.rate * BITS_PER_PIXEL)


def encoder_options(encoding: Encoding) -> dict[str, str]:
    """The private options of the encoder for these settings."""
    profile = PROFILES[encoding.encoder]
    options = dict(profile.options)
    if profile.preset:
        option, usual = profile.preset
        options[option] = encoding.preset or usual
    if encoding.bit_rate is None and profile.quality:
        option, quality = profile.quality
        options[option] = str(quality if encoding.crf is None else encoding.crf)
        options |= profile.quality_mode
    return options


def encoded_picture(encoding: Encoding) -> list["av.Packet[av.VideoStream]"]:
    """A small grey picture, encoded so."""
    picture = PictureFormat(SIDE, SIDE, Fraction(30), Fraction(1, 30))
    context = cast(av.VideoCodecContext, av.VideoCodecContext.create(encoding.encoder, "w"))
    context.options = encoder_options(encoding)
    configure(context, encoding, picture)
    opened(context)
    frame = av.VideoFrame(SIDE, SIDE, "yuv420p")
    for part, value in zip(frame.planes, (GREY, 128, 128), strict=True):
        part.update(bytes([value]) * part.buffer_size)
    frame.pts, frame.time_base = 0, picture.time_base
    return [*context.encode(frame), *context.encode(None)]


def opened(context: av.CodecContext) -> None:
    """Open this encoder, whose threads are all made now.

    SVT-AV1 makes its threads real-time threads where it may, as root may, and with them the thread
    that opens it, for good. Then nothing else runs on their cores: no other worker, no progress, no
    Ctrl-C.
    """
    if context.codec.name != REAL_TIME_ENCODER or not THREADS.exists():
        context.open()
        return
    before, usual = _policies(), os.sched_getscheduler(0)
    real_time = {os.SCHED_FIFO, os.SCHED_RR}
    try:
        context.open()
    finally:
        for thread, policy in _policies().items():
            due = before.get(thread, usual)
            if policy in real_time and due not in real_time:
                # It may have ended.
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setscheduler(thread, due, os.sched_param(0))


def _policies() -> dict[int, int]:
    """How each thread of this process is scheduled."""
    found = {}
    for entry in THREADS.iterdir():
        thread = int(entry.name)
        with contextlib.suppress(ProcessLookupError):
            found[thread] = os.sched_getscheduler(thread)
    return found


# ── decoders ─────────────────────────────────────────────────────────────────────────────────────

DECODERS = SOFTWARE, NVDEC = "software", "nvdec"
#: The codec that is tried.
TRIED = "h264"
#: What may be raised where no GPU can be set up; the last one by an FFmpeg without CUDA.
TROUBLE = (av.error.FFmpegError, RuntimeError, NotImplementedError)


class DecoderMissing(UserError):
    """The decoder asked for cannot be used here."""

    @classmethod
    def because(cls, decoder: str, reason: str) -> Self:
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
    # All contexts of a process are one, which is not made anew for each film. FFmpeg refuses it
    # where somebody else, as torch, has set it up otherwise.
    shared, own = (
        HWAccel("cuda", allow_software_fallback=True, options=options)
        for options in (dict[str, object](primary_ctx="1"), None)
    )
    try:
        return shared, shared.create(av.Codec(TRIED, "r"))
    except av.error.FFmpegError:
        return own, own.create(av.Codec(TRIED, "r"))


def require_decoder(decoder: str) -> None:
    """Raise :class:`DecoderMissing` unless a picture can be decoded with it, rightly."""
    if decoder == SOFTWARE:
        return
    try:
        frame = _decoded(HWAccel("cuda", allow_software_fallback=False))
    except TROUBLE as error:
        raise DecoderMissing.because(decoder, f"it does not start here ({error})") from error
    seen = plane(frame, 0)
    if abs(int(seen.min()) - GREY) > 2 or abs(int(seen.max()) - GREY) > 2:
        found = f"a picture of grey {GREY} came back as {seen.min()} to {seen.max()}"
        raise DecoderMissing.because(decoder, f"{found}, so the driver is broken")


def _decoded(accelerated: HWAccel | None) -> av.VideoFrame:
    """A picture, there and back; by the processor if there is nothing else."""
    context = cast(av.VideoCodecContext, av.VideoCodecContext.create(TRIED, "r", accelerated))
    if accelerated is not None and not context.is_hwaccel:
        raise RuntimeError("this FFmpeg was built without CUDA")
    packets = [*encoded_picture(Encoding()), None]
    frame = next((frame for packet in packets for frame in context.decode(packet)), None)
    if frame is None:
        raise RuntimeError("no picture came back")
    return frame

"""Encoders: which there are, and the options of each.

The defaults aim at clips that look like their source at a few times real time per core:

    libx264      preset veryfast   crf 21     libsvtav1     preset 8             crf 32
    libx265      preset superfast  crf 24     libvpx-vp9    deadline good, cpu 4 crf 31
    h264_nvenc   preset p4         cq 21      libopenh264   0.1 bit per pixel

The number of encoder threads is part of the bytes an encoder writes, so it is a fixed number and
never "as many as this machine has".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from finecut.io.errors import UserError
from finecut.io.media.codecs.thread_priority import opened
from finecut.io.media.picture import Stored, clip_colorspace, upright_size

#: Every core has a worker. Threads of one encoder wait for each other: two cost 8 % more CPU.
DEFAULT_THREADS = 1
#: For encoders without a constant quality mode.
BITS_PER_PIXEL = 0.1
#: The picture that encoders and decoders are tried with: of a size that every GPU knows.
SIDE, GREY = 256, 90


def _has_avx512() -> bool:
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "avx512" in cpu.read_text()


# x264's AVX-512 code for macroblock trees gives other bytes from run to run (1 in 3 encodes of a
# 426x240 film, also with one thread); its AVX2 code never did, and is as fast. All other code
# paths of x264 give the same bytes, so machines of all kinds agree.
_SAME_BYTES_X264 = {"x264-params": "asm=avx2"} if _has_avx512() else {}


@dataclass(frozen=True)
class EncoderProfile:
    """Which options of an encoder are its preset and quality, and which others it gets."""

    name: str
    presets: tuple[str, ...] = ()
    preset_option: str | None = None
    preset: str | None = None
    quality_option: str | None = None
    quality: int | None = None
    worst: int = 51
    options: Mapping[str, str] = field(default_factory=dict)
    #: Further options that only make sense when no bit rate is asked for.
    quality_mode: Mapping[str, str] = field(default_factory=dict)


_X26X = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
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
    profile.name: profile
    for profile in (
        EncoderProfile(
            "libx264",
            presets=_X26X,
            preset_option="preset",
            preset="veryfast",
            quality_option="crf",
            quality=21,
            options=_SAME_BYTES_X264,
        ),
        EncoderProfile(
            "libx265",
            presets=_X26X,
            preset_option="preset",
            preset="superfast",
            quality_option="crf",
            quality=24,
            options={"x265-params": "log-level=0"},
        ),
        EncoderProfile(
            "libsvtav1",
            presets=tuple(map(str, range(14))),
            preset_option="preset",
            preset="8",
            quality_option="crf",
            quality=32,
            worst=63,
        ),
        EncoderProfile(
            "libvpx-vp9",
            presets=tuple(map(str, range(9))),
            preset_option="cpu-used",
            preset="4",
            quality_option="crf",
            quality=31,
            worst=63,
            options={"deadline": "good", "row-mt": "1", "tile-columns": "2"},
            quality_mode={"b": "0"},
        ),
        EncoderProfile(
            "h264_nvenc",
            presets=tuple(f"p{i}" for i in range(1, 8)),
            preset_option="preset",
            preset="p4",
            quality_option="cq",
            quality=21,
            options=_NVENC,
        ),
        EncoderProfile("libopenh264"),
    )
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
    def of(cls, source: Stored, rate: Fraction, time_base: Fraction) -> PictureFormat:
        """That of a clip whose first picture lies in memory like this."""
        colours = (source.primaries, source.transfer, clip_colorspace(source))
        return cls(*upright_size(source), rate, time_base, colours)


def usable_encoders() -> list[str]:
    """The encoders that really work here, tried one after the other."""
    return [name for name in PROFILES if why_unusable(Encoding(encoder=name)) is None]


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
        known = f"presets of {profile.name}: {', '.join(profile.presets)}"
        if not profile.presets:
            known = f"{profile.name} has no presets: leave it out"
        raise EncoderMissing(f"preset {encoding.preset!r} is unknown; {known}.")
    if encoding.crf is not None and encoding.crf > profile.worst:
        raise EncoderMissing(
            f"quality {encoding.crf} is out of range; {profile.name} goes from 0 (best) to "
            f"{profile.worst}."
        )
    reason = why_unusable(encoding)
    if reason is not None:
        raise EncoderMissing(
            f"encoder {profile.name!r} cannot be used: {reason}. "
            f"Encoders that work here: {', '.join(usable_encoders())}."
        )


def configure(context: VideoCodecContext, encoding: Encoding, picture: PictureFormat) -> None:
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
    context.flags |= Flags.bitexact
    bit_rate = encoding.bit_rate
    if bit_rate is None and PROFILES[encoding.encoder].quality_option is None:
        bit_rate = int(picture.width * picture.height * picture.rate * BITS_PER_PIXEL)
    if bit_rate is not None:
        context.bit_rate = bit_rate


def encoder_options(encoding: Encoding) -> dict[str, str]:
    """The private options of the encoder for these settings."""
    profile = PROFILES[encoding.encoder]
    options = dict(profile.options)
    preset = encoding.preset or profile.preset
    if profile.preset_option and preset:
        options[profile.preset_option] = preset
    if encoding.bit_rate is None and profile.quality_option:
        quality = profile.quality if encoding.crf is None else encoding.crf
        options[profile.quality_option] = str(quality)
        options.update(profile.quality_mode)
    return options


def encoded_picture(encoding: Encoding) -> list[av.Packet[VideoStream]]:
    """A small grey picture, encoded so."""
    picture = PictureFormat(SIDE, SIDE, Fraction(30), Fraction(1, 30))
    context = VideoCodecContext.create(encoding.encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.options = encoder_options(encoding)
    configure(context, encoding, picture)
    opened(context)
    frame = av.VideoFrame(SIDE, SIDE, "yuv420p")
    for part, value in zip(frame.planes, (GREY, 128, 128), strict=True):
        part.update(bytes([value]) * part.buffer_size)
    frame.pts, frame.time_base = 0, picture.time_base
    return [*context.encode(frame), *context.encode(None)]

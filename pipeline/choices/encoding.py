"""How the clips are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from finecut.transforms.option import ENCODE, option

SOFTWARE, NVDEC = DECODERS = "software", "nvdec"
X264: Final = "libx264"
ENCODERS: Final = (X264, "libx265", "libsvtav1", "libvpx-vp9", "h264_nvenc", "libopenh264")
#: Encode all pictures of a clip; copy them; encode only those between key frames and cuts.
ENCODE_ALL, COPY, SMART = TRANSCODES = "encode", "copy", "smart"
MOST_ENCODER_THREADS, MOST_BIT_RATE = 64, 1_000_000_000


def parse_bit_rate(text: str) -> int:
    """Bits per second: ``4000000``, ``4000K`` or ``4M``."""
    scale = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower())
    number = float(text[:-1] if scale else text)
    if not math.isfinite(number):
        raise ValueError(text)
    return int(number * (scale or 1))


@dataclass(frozen=True, kw_only=True)
class EncodeChoices:
    transcode: str = option(
        "encode",
        ENCODE,
        "How to make clips: encode them, copy them from key frame to key frame (200 times real "
        "time, but slightly longer than planned), or copy all but the frames at both ends "
        "(exactly as planned); what cannot be copied is encoded, and its document says why.",
        choices=TRANSCODES,
    )

    decoder: str = option(
        SOFTWARE,
        ENCODE,
        "What decodes source videos: the processor, or the GPU of each worker. GPUs do not "
        "return motion vectors, so motion is then estimated from pixels.",
        choices=DECODERS,
    )

    encoder: str = option("libx264", ENCODE, "The video encoder for the clips.", choices=ENCODERS)

    preset: str | None = option(
        None,
        ENCODE,
        "The encoder's own preset, from fast to small (libx264: ultrafast … veryslow).",
        metavar="NAME",
        shown="veryfast for libx264",
    )

    crf: int | None = option(
        None,
        ENCODE,
        "Constant quality; lower is better.",
        metavar="N",
        shown="21 for libx264",
        least=0,
    )

    bit_rate: int | None = option(
        None,
        ENCODE,
        "Encode at this many bits per second (4M, 800K) instead of at constant quality.",
        metavar="RATE",
        shown="constant quality",
        parse=parse_bit_rate,
        above=0,
        most=MOST_BIT_RATE,
    )

    use_input_bit_rate: bool = option(
        False, ENCODE, "Encode each clip at the bit rate of its source."
    )

    encoder_threads: int = option(
        1,
        ENCODE,
        "Threads of one encoder. They affect the bytes that it writes, so keep the number "
        "for the same output.",
        metavar="N",
        above=0,
        most=MOST_ENCODER_THREADS,
    )

    audio: str = option(
        "copy",
        ENCODE,
        "Sound of the clips: copied where MP4 allows it (otherwise AAC), always AAC, or none.",
        choices=("copy", "aac", "none"),
    )

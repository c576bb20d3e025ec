"""Decoding a clip or a preview from its first picture to its last, to see whether it is whole."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from av.audio.stream import AudioStream

from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.source import (
    DAMAGED,
    DECODE_THREADS,
    decode,
    has_decoder,
    ignore_other_streams,
    open_film,
    packets,
    video_stream,
)
from finecut.io.process.child import beat

#: What a WebP may be made of: a reader passes over everything else, a damaged frame too.
WEBP_PARTS = {b"VP8X", b"ANIM", b"ANMF", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"EXIF", b"XMP "}


@dataclass(frozen=True)
class Watched:
    """What a clip is, after all of it was decoded."""

    width: int
    height: int
    framerate: float
    num_frames: int
    video_codec: str
    #: Packets and pictures that the decoder refused or marked as damaged.
    damaged: int
    #: Packets of sound that could not be decoded.
    damaged_sound: int


def watch_clip(
    source: str | BinaryIO, limits: Limits = USUAL_LIMITS, closely: bool = False
) -> Watched:
    """What there is to know of a clip; what is no clip raises as :func:`open_film` does.

    ``closely``: also what only may be damage, and sound. It is for files of which nothing else says
    that their bytes are as they were written: what was copied from a film may always have been so.
    """
    with open_film(source, limits) as container:
        stream = video_stream(container)
        sound = next(iter(container.streams.audio), None) if closely else None
        heard = [] if sound is None or not has_decoder(sound) else [sound]
        ignore_other_streams(container, {stream.index, *(each.index for each in heard)})
        context = stream.codec_context
        if closely:
            # What a decoder hides from whoever watches has to show here.
            context.options = {**context.options, "err_detect": "explode"}
        context.thread_count = DECODE_THREADS
        seen, damaged, damaged_sound = 0, 0, 0
        size = (context.width, context.height)
        for packet in packets(container, stream, *heard):
            if isinstance(packet.stream, AudioStream):
                try:
                    packet.decode()
                except DAMAGED:
                    damaged_sound += 1
                continue
            frames = decode(packet, limits)
            damaged += frames is None
            for frame in frames or ():
                seen += 1
                damaged += frame.is_corrupt or (frame.width, frame.height) != size
        return Watched(
            width=size[0],
            height=size[1],
            framerate=float(stream.average_rate or 0),
            num_frames=seen,
            video_codec=context.codec.canonical_name,
            damaged=damaged,
            damaged_sound=damaged_sound,
        )


@dataclass(frozen=True)
class Moving:
    """An animated picture, after all of it was decoded."""

    width: int
    height: int
    num_frames: int
    #: How long one round takes; 0 for a picture that does not move.
    seconds: float


def read_webp(data: bytes, most_pixels: int) -> Moving:
    """What an animated WebP shows; one that is damaged raises what Pillow raises."""
    from PIL import Image  # only needed to read previews

    _check_parts(data)
    with Image.open(io.BytesIO(data), formats=("WEBP",)) as picture:
        width, height = picture.size
        if width * height > most_pixels:
            raise ValueError(f"it has {width} by {height} pixels, so it is not a preview")
        count, milliseconds = int(getattr(picture, "n_frames", 1)), 0.0
        for index in range(count):
            picture.seek(index)
            picture.load()
            beat()
            milliseconds += float(picture.info.get("duration", 0))
    return Moving(width, height, count, milliseconds / 1000)


def _check_parts(data: bytes) -> None:
    place = 12  # behind RIFF, the length, WEBP
    while place < len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name not in WEBP_PARTS:
            raise ValueError(f"it contains a part {name!r} that WebP does not have")
        place += 8 + size + size % 2

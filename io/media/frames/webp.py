"""Animated WebP: the moving picture that every browser shows without a player."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av

from finecut.io.media.frame_view import Bytes
from finecut.io.media.frames.contact_sheet import Sheet
from finecut.io.process.child import beat

#: WebP times are in milliseconds.
TICKS = 1000
#: What a WebP may be made of: a reader passes over everything else, a damaged frame too.
PARTS = {b"VP8X", b"ANIM", b"ANMF", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"EXIF", b"XMP "}
#: 6 is the smallest file at 28 times the effort of this.
EFFORT = 4


def write_webp(
    path: Path, sheet: Sheet, indices: Sequence[int], height: int, rate: float, quality: int
) -> None:
    """Write these frames of a sheet, shown at the pace of the film, for ever again.

    They are at most ``height`` high; a sheet that is lower is not enlarged. The last one is shown
    for about ``1 / rate`` seconds (the encoder takes the mean of the others).
    """
    height = max(2, min(height, sheet.height) // 2 * 2)
    width = max(2, round(sheet.width * height / sheet.height / 2) * 2)
    with av.open(str(path), "w", format="webp", options={"loop": "0"}) as container:
        options = {"quality": str(quality), "compression_level": str(EFFORT)}
        stream = container.add_stream("libwebp_anim", rate=TICKS, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        ticks = [round((sheet.seconds[i] - sheet.seconds[indices[0]]) * TICKS) for i in indices]
        ticks.append(ticks[-1] + round(TICKS / rate))
        for index, (begin, end) in zip(indices, pairwise(ticks), strict=True):
            frame = _picture(sheet.frames[index], sheet, width, height)
            frame.pts, frame.duration, frame.time_base = begin, end - begin, Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _picture(planes: Bytes, sheet: Sheet, width: int, height: int) -> av.VideoFrame:
    """In the colours of standard definition, because WebP knows no others."""
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    return frame.reformat(
        width,
        height,
        src_colorspace=sheet.matrix,
        dst_colorspace="ITU601",
        interpolation="AREA",
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
    return Moving(width, height, count, milliseconds / TICKS)


def _check_parts(data: bytes) -> None:
    place = 12  # behind RIFF, the length, WEBP
    while place < len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name not in PARTS:
            raise ValueError(f"it contains a part {name!r} that WebP does not have")
        place += 8 + size + size % 2

"""Small pictures: of a film, for detectors of scenes; of a clip, to compare it and to preview it.

watch         every frame, upright and tiny
thumbnails    a few tiny grey ones, which tell whether two clips show the same; colour_pictures are
              larger, for models that tell it
write_webp    some of a contact sheet as an animated WebP: the moving picture that every browser
              shows without a player
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from finecut.io.media.frame_view import (
    SQUARE,
    UNTURNED,
    YCGCO,
    Bytes,
    Scalers,
    Stored,
    Upright,
    display_matrix,
    pixels,
    plane,
    refuse_matrix,
    stored,
)
from finecut.io.media.frames.contact_sheet import NoSheet, Sheet
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.source import decoded, open_clip, stamp, timed
from finecut.io.records import Video

#: The size all scene detectors here are made for, whatever the shape of the film.
WIDTH, HEIGHT = 48, 27
#: WebP times are in milliseconds.
TICKS = 1000
#: 6 is the smallest file at 28 times the effort of this.
EFFORT = 4


def watch(
    file: str | BinaryIO,
    video: Video,
    promised: list[float] | None = None,
    limits: Limits = USUAL_LIMITS,
) -> Iterator[tuple[Fraction, Bytes]]:
    """Every frame of the film: when it is shown, and its picture in RGB, 27 by 48.

    ``promised`` receives the length that the track itself claims, in seconds, if it claims one
    (that of some containers is the length of their sound).
    """
    shrunk, seen = Shrinking(), Fraction(-1)
    with open_clip(file, limits, of=video) as (container, stream, clock):
        if promised is not None and stream.duration is not None:
            promised.append(float(stream.duration * clock.time_base))
        rate = stream.average_rate or stream.base_rate or Fraction(25)
        for shown, frame in enumerate(decoded(container, stream, limits), 1):
            limits.refuse_frames(shown)
            pts = stamp(container, frame)
            if pts is None and seen < 0:
                continue  # as the cut does: second 0 is the first frame with a time
            seen = seen + 1 / rate if pts is None else clock.seconds(pts)
            yield seen, shrunk(frame)


class Shrinking:
    """Makes small pictures of a film's frames, upright as its first one."""

    def __init__(self) -> None:
        self._scalers, self._rare = Scalers(), dict[Stored, Upright]()
        self._matrix: tuple[int, int, int, int] | None = None

    def __call__(self, frame: av.VideoFrame) -> Bytes:
        matrix = self._matrix = self._matrix or display_matrix(frame)
        size = (WIDTH, HEIGHT) if matrix[0] else (HEIGHT, WIDTH)
        return turned(pixels(self._scalers(_plain(frame, self._rare), *size, "rgb24")), matrix)


def _plain(frame: av.VideoFrame, rare: dict[Stored, Upright]) -> av.VideoFrame:
    """The frame such that a scaler reads its colours rightly; all but rare ones are so."""
    refuse_matrix(frame.colorspace)
    if frame.colorspace != YCGCO:
        return frame
    source = stored(frame, SQUARE, UNTURNED)
    return rare.setdefault(source, Upright(source))(frame, source)


def turned(picture: Bytes, matrix: tuple[int, int, int, int]) -> Bytes:
    """The picture turned upright by the signs of a display matrix (see :mod:`frame_view`)."""
    a, b, c, d = matrix
    if a == 0:
        # Rows become columns, so what mirrored the one now mirrors the other.
        picture = picture.swapaxes(0, 1)
        a, d = c, b
    if a < 0:
        picture = picture[:, ::-1]
    if d < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def thumbnails(
    file: str | BinaryIO, rate: int, most: int, side: int, limits: Limits = USUAL_LIMITS
) -> Bytes:
    """``rate`` pictures a second of the first ``most`` moments, whatever shape the film has.

    At each moment the picture that is shown then: a slower film shows the same one twice.
    """
    scalers = Scalers()

    def draw(frame: av.VideoFrame) -> Bytes:
        return plane(scalers(frame, side, side, "gray"), 0).copy()

    return _at_moments(file, rate, most, draw=draw, limits=limits)


def colour_pictures(
    file: str | BinaryIO,
    rate: int,
    most: int,
    *,
    size: tuple[int, int],
    limits: Limits = USUAL_LIMITS,
) -> Bytes:
    """The same in RGB, upright, and of this width and height."""
    scalers, rare = Scalers(), dict[Stored, Upright]()

    def draw(frame: av.VideoFrame) -> Bytes:
        matrix = display_matrix(frame)
        stored_size = size if matrix[0] else size[::-1]
        return turned(pixels(scalers(_plain(frame, rare), *stored_size, "rgb24")), matrix).copy()

    return _at_moments(file, rate, most, draw=draw, limits=limits)


def _at_moments(
    file: str | BinaryIO,
    rate: int,
    most: int,
    *,
    draw: Callable[[av.VideoFrame], Bytes],
    limits: Limits,
) -> Bytes:
    taken: list[Bytes] = []
    first, last = Fraction(-1), Fraction(0)
    shown: Bytes | None = None
    with open_clip(file, limits) as (container, stream, clock):
        for seconds, frame in timed(container, stream, clock, limits):
            first = seconds if first < 0 else first
            last = seconds - first
            # What was shown until now was shown at all moments before this one.
            while shown is not None and Fraction(len(taken), rate) < last:
                taken.append(shown)
                if len(taken) == most:
                    return np.stack(taken)
            if Fraction(len(taken), rate) < last + Fraction(1, rate):
                shown = draw(frame)
        if shown is None:
            raise NoSheet("the clip shows no frame, so there is nothing to sample")
    # For how long the last one is shown, nobody knows.
    if Fraction(len(taken), rate) <= last:
        taken.append(shown)
    return np.stack(taken)


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
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        ticks = [round((sheet.seconds[i] - sheet.seconds[indices[0]]) * TICKS) for i in indices]
        ticks.append(ticks[-1] + round(TICKS / rate))
        for index, (begin, end) in zip(indices, pairwise(ticks), strict=True):
            # In the colours of standard definition, because WebP knows no others.
            frame = av.VideoFrame.from_ndarray(sheet.frames[index], format="yuv420p").reformat(
                width,
                height,
                src_colorspace=sheet.matrix,
                dst_colorspace="ITU601",
                interpolation="AREA",
            )
            frame.pts, frame.duration, frame.time_base = begin, end - begin, Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

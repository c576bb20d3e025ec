"""A film as detectors of scenes want it: every frame, upright and tiny."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from finecut.io.media.frame_view import Bytes, Scalers, pixels
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.picture import Plain, display_matrix
from finecut.io.media.source import (
    DECODE_THREADS,
    clock_of,
    decoded,
    ignore_other_streams,
    open_film,
    stamp,
    track_of,
)
from finecut.io.records import Video

#: The size all scene detectors here are made for, whatever the shape of the film.
WIDTH, HEIGHT = 48, 27


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
    scalers, plain = Scalers(), Plain()
    with open_film(file, limits) as container:
        stream = track_of(container, video)
        clock = clock_of(stream, video)
        ignore_other_streams(container, {stream.index})
        if promised is not None and stream.duration is not None:
            promised.append(float(stream.duration * clock.time_base))
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = DECODE_THREADS
        matrix: tuple[int, int, int, int] | None = None
        seen = Fraction(-1)
        rate = stream.average_rate or stream.base_rate or Fraction(25)
        for shown, frame in enumerate(decoded(container, stream, limits), 1):
            limits.refuse_frames(shown)
            pts = stamp(container, frame)
            if pts is None and seen < 0:
                continue  # as the cut does: second 0 is the first frame with a time
            seen = seen + 1 / rate if pts is None else clock.seconds(pts)
            matrix = matrix or display_matrix(frame)
            size = (WIDTH, HEIGHT) if matrix[0] else (HEIGHT, WIDTH)
            yield seen, turned(pixels(scalers(plain(frame), *size, "rgb24")), matrix)


def turned(picture: Bytes, matrix: tuple[int, int, int, int]) -> Bytes:
    """The picture turned upright by the signs of a display matrix (see :mod:`picture`)."""
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

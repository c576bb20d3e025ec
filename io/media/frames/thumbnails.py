"""Glimpses: a clip as a few tiny grey pictures, enough to tell whether two clips show the same."""

from __future__ import annotations

from fractions import Fraction
from typing import BinaryIO

import numpy as np

from finecut.io.media.clock import Clock
from finecut.io.media.frame_view import Bytes, Scalers, plane
from finecut.io.media.frames.contact_sheet import NoSheet
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.source import (
    DECODE_THREADS,
    constant_rate,
    decode,
    ignore_other_streams,
    open_film,
    packets,
    video_stream,
)


def glimpses(
    file: str | BinaryIO, rate: int, most: int, side: int, limits: Limits = USUAL_LIMITS
) -> Bytes:
    """``rate`` pictures a second of the first ``most`` moments, whatever shape the film has.

    At each moment the picture that is shown then: a slower film shows the same one twice.
    """
    taken: list[Bytes] = []
    scalers = Scalers()
    with open_film(file, limits) as container:
        stream = video_stream(container)
        ignore_other_streams(container, {stream.index})
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = DECODE_THREADS
        assert stream.time_base is not None
        clock, first = Clock(stream.time_base, 0, constant_rate(stream)), Fraction(-1)
        last = Fraction(0)
        shown: Bytes | None = None
        for packet in packets(container, stream):
            for frame in decode(packet, limits) or ():
                if frame.pts is None:
                    continue
                seconds = clock.seconds(frame.pts)
                first = seconds if first < 0 else first
                last = seconds - first
                # What was shown until now was shown at all moments before this one.
                while shown is not None and Fraction(len(taken), rate) < last:
                    taken.append(shown)
                    if len(taken) == most:
                        return np.stack(taken)
                if Fraction(len(taken), rate) < last + Fraction(1, rate):
                    shown = plane(scalers(frame, side, side, "gray"), 0).copy()
        if shown is None:
            raise NoSheet("the clip shows no frame, so there is nothing to look at")
    # For how long the last one is shown, nobody knows.
    if Fraction(len(taken), rate) <= last:
        taken.append(shown)
    return np.stack(taken)

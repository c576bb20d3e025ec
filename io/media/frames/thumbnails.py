"""Thumbnails: a few tiny grey pictures of a clip, which tell whether two clips show the same."""

from __future__ import annotations

from fractions import Fraction
from typing import BinaryIO

import numpy as np

from finecut.io.media.frame_view import Bytes, Scalers, plane
from finecut.io.media.frames.contact_sheet import NoSheet
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.source import decoded, open_clip


def thumbnails(
    file: str | BinaryIO, rate: int, most: int, side: int, limits: Limits = USUAL_LIMITS
) -> Bytes:
    """``rate`` pictures a second of the first ``most`` moments, whatever shape the film has.

    At each moment the picture that is shown then: a slower film shows the same one twice.
    """
    taken: list[Bytes] = []
    scalers, first, last = Scalers(), Fraction(-1), Fraction(0)
    shown: Bytes | None = None
    with open_clip(file, limits) as (container, stream, clock):
        for frame in decoded(container, stream, limits):
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
            raise NoSheet("the clip shows no frame, so there is nothing to sample")
    # For how long the last one is shown, nobody knows.
    if Fraction(len(taken), rate) <= last:
        taken.append(shown)
    return np.stack(taken)

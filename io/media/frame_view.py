"""Decoded frames as observers see them: what a frame gives away cheaply while a clip is cut.

The cut decodes every frame once. A :class:`FrameView` is one of these frames; an :class:`Observer`
sees every frame of its clip, in order, and takes from it what it came for: a smaller picture, the
grey plane as it lies in memory, the motion vectors the decoder followed. Nothing is converted
before it is asked for, since most frames are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
from av.sidedata.motionvectors import MotionVectors
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from finecut.io.media.picture import YCGCO
from finecut.io.records import ClipFile, PlannedClip

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

#: FFmpeg's numbers of the kinds of pictures.
KINDS = {1: "I", 2: "P", 3: "B"}


class Observer(Protocol):
    """Sees every frame of one clip."""

    def see(self, view: FrameView, seconds: Fraction) -> None:
        """This frame is shown this many seconds after the clip's first one."""

    def end(self) -> None:
        """There are no more frames."""


class Sampler(Observer, Protocol):
    """Sees some frames of one clip: those that are cheap to decode."""

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        """All frames are shown at these times: the numbers of those it would like to see."""

    def more(self, times: Sequence[Fraction]) -> int:
        """Frames shown at these times can be had next: how many it wants, from the first on.

        It is asked again when it has seen them, about those that are left.
        """


MakeObserver = Callable[[PlannedClip], Observer]
MakeSampler = Callable[[PlannedClip, ClipFile], Sampler]


class Scalers:
    """One scaler for each size that is asked for: making one costs more than using it."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, str], VideoReformatter] = {}

    def __call__(self, frame: av.VideoFrame, width: int, height: int, form: str) -> av.VideoFrame:
        scaler = self._made.setdefault((width, height, form), VideoReformatter())
        # The scaler does not know this one; of such frames only the grey plane is asked for.
        matrix = Colorspace.ITU601 if frame.colorspace == YCGCO else None
        return scaler.reformat(
            frame, width, height, form, src_colorspace=matrix, interpolation="AREA"
        )


class FrameView:
    """One frame on its way through the cut."""

    def __init__(self, decoded: av.VideoFrame, picture: av.VideoFrame, scalers: Scalers) -> None:
        #: As the source stores it, which is what motion vectors count in; and as the clip shows it.
        self.decoded, self.picture = decoded, picture
        self._scalers = scalers
        #: Noted now: the encoder overwrites it.
        self.kind = KINDS.get(decoded.pict_type, "")
        self._small: dict[tuple[int, int], Bytes] = {}
        #: Whether the frame stays in memory until the collector runs: its side data was read.
        self.clings = False
        self._vectors: NDArray[Any] | None = None

    def vectors(self) -> NDArray[Any] | None:
        """The codec's motion vectors; ``None`` when it has none (or none for this frame)."""
        if not self.clings:
            self.clings = True
            found = self.decoded.side_data.get("MOTION_VECTORS")
            self._vectors = found.to_ndarray() if isinstance(found, MotionVectors) else None
        return self._vectors

    def luma(self) -> Bytes:
        """The grey plane of the clip's picture, as it lies in memory: do not change it."""
        return plane(self.picture, 0)

    def small_luma(self, width: int, height: int) -> Bytes:
        """The grey plane of the stored picture, shrunk."""
        size = (width, height)
        if size not in self._small:
            self._small[size] = plane(self._scalers(self.decoded, width, height, "gray"), 0)
        return self._small[size]

    def shrunk(self, width: int, height: int) -> Bytes:
        """The clip's picture as yuv420p of this (even) size: three planes below each other."""
        return pixels(self._scalers(self.picture, width, height, "yuv420p"))


def pixels(frame: av.VideoFrame) -> Bytes:
    """The whole picture of an 8-bit format, copied."""
    return np.asarray(frame.to_ndarray(), np.uint8)


def plane(frame: av.VideoFrame, index: int) -> Bytes:
    """A plane without the padding at the end of its rows; no copy."""
    part = frame.planes[index]
    rows = np.frombuffer(part, np.uint8).reshape(-1, part.line_size)  # type: ignore[call-overload]
    return np.asarray(rows[: part.height, : part.width])

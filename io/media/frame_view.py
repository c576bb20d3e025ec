"""Looking: what a decoded frame gives away cheaply, to whoever looks on while a clip is cut.

The cut decodes every frame once. A :class:`Look` is one of these frames; an :class:`Onlooker` is
shown every look of its clip, in order, and takes from it what it came for: a smaller picture, the
grey plane as it lies in memory, the motion vectors the decoder followed. Nothing is converted
before it is asked for, since most frames are not.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
from av.sidedata.motionvectors import MotionVectors
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from finecut.io.media.picture import YCGCO
from finecut.io.records import Shot

Bytes = NDArray[np.uint8]

#: FFmpeg's numbers of the kinds of pictures.
KINDS = {1: "I", 2: "P", 3: "B"}


class Onlooker(Protocol):
    """Sees every frame of one clip."""

    def see(self, look: Look, seconds: Fraction) -> None:
        """This frame is shown so many seconds after the clip's first one."""

    def end(self) -> None:
        """There are no more frames."""


MakeOnlooker = Callable[[Shot], Onlooker]


class Scalers:
    """One scaler for each size that is asked for: making one costs more than using it."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, str], VideoReformatter] = {}

    def __call__(self, frame: av.VideoFrame, width: int, height: int, form: str) -> av.VideoFrame:
        scaler = self._made.setdefault((width, height, form), VideoReformatter())
        # The scaler does not know this one; of such frames only the grey plane is asked for.
        matrix = Colorspace.ITU601 if frame.colorspace == YCGCO else None
        return scaler.reformat(frame, width, height, form, matrix, interpolation="AREA")


class Look:
    """One frame on its way through the cut."""

    def __init__(self, decoded: av.VideoFrame, picture: av.VideoFrame, scalers: Scalers) -> None:
        self._decoded, self._picture, self._scalers = decoded, picture, scalers
        #: Noted now: the encoder overwrites it.
        self.kind = KINDS.get(decoded.pict_type, "")
        self._small: dict[tuple[int, int], Bytes] = {}
        self._vectors: tuple[NDArray[Any] | None] | None = None

    @property
    def picture(self) -> av.VideoFrame:
        """As the clip shows it."""
        return self._picture

    @property
    def clings(self) -> bool:
        """Whether the frame stays in memory until the collector runs: its side data was read."""
        return self._vectors is not None

    @property
    def width(self) -> int:
        """Of the picture as the clip shows it."""
        return self._picture.width

    @property
    def height(self) -> int:
        return self._picture.height

    @property
    def stored_width(self) -> int:
        """Of the picture as the source stores it: what motion vectors count in."""
        return self._decoded.width

    @property
    def stored_height(self) -> int:
        return self._decoded.height

    @property
    def colorspace(self) -> int:
        return int(self._picture.colorspace)

    def vectors(self) -> NDArray[Any] | None:
        """The codec's motion vectors; ``None`` when it has none (or none for this frame)."""
        if self._vectors is None:
            found = self._decoded.side_data.get("MOTION_VECTORS")
            self._vectors = (found.to_ndarray() if isinstance(found, MotionVectors) else None,)
        return self._vectors[0]

    def luma(self) -> Bytes:
        """The grey plane of the clip's picture, as it lies in memory: look, do not touch."""
        return plane(self._picture, 0)

    def small_luma(self, width: int, height: int) -> Bytes:
        """The grey plane of the stored picture, shrunk."""
        size = (width, height)
        if size not in self._small:
            self._small[size] = plane(self._scalers(self._decoded, width, height, "gray"), 0)
        return self._small[size]

    def shrunk(self, width: int, height: int) -> Bytes:
        """The clip's picture as yuv420p of this (even) size: three planes below each other."""
        return pixels(self._scalers(self._picture, width, height, "yuv420p"))


def pixels(frame: av.VideoFrame) -> Bytes:
    """The whole picture of an 8-bit format, copied."""
    return np.asarray(frame.to_ndarray(), np.uint8)


def plane(frame: av.VideoFrame, index: int) -> Bytes:
    """A plane without the padding at the end of its rows; no copy."""
    part = frame.planes[index]
    rows = np.frombuffer(part, np.uint8).reshape(-1, part.line_size)  # type: ignore[call-overload]
    seen: Bytes = rows[: part.height, : part.width]
    return seen

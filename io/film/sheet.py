"""The contact sheet: a few small frames of a clip, all that later steps look at.

    clip    ▕▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▏   300 frames of 1280x720
    sheet    ▪    ▪    ▪    ▪    ▪    ▪         11 frames of 426x240, each with its number and time

It is drawn during the cut's only decode pass (:class:`SheetMaker` looks on). Who finds no sheet any
more draws it from the clip's own file: :func:`sheet_from_file`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np

from finecut.io.film.clock import Clock
from finecut.io.film.looking import Bytes, Look, Scalers, pixels
from finecut.io.film.picture import BT709, HIGH_DEFINITION, UNSAID
from finecut.io.film.sampling import Ticker
from finecut.io.film.source import DECODE_THREADS, constant_rate, decode, open_film, video_stream

#: Number of a colour matrix → what the scaler calls it; all others are standard definition.
_MATRIX = {1: "ITU709", 4: "FCC", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}


class NoSheet(Exception):
    """A clip that shows no frame to draw."""


@dataclass(frozen=True)
class SheetForm:
    """What is on a sheet: so many frames a second, and how large they have to be at the least."""

    rate: float
    #: Of the picture, upright.
    height: int = 0
    #: Of its shorter side.
    side: int = 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height on the sheet: never enlarged, both even."""
        wanted = max(self.height / height, self.side / min(width, height))
        scale = min(1.0, wanted)
        return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


@dataclass(frozen=True)
class Sheet:
    """The frames of a clip that were taken, as yuv420p."""

    width: int
    height: int
    colorspace: int
    #: Which frames of the clip these are, and when each is shown, in seconds.
    indices: tuple[int, ...]
    seconds: tuple[float, ...]
    #: ``[frames, height * 3 / 2, width]``
    frames: Bytes

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def matrix(self) -> str:
        """What the scaler calls the matrix of the colours."""
        return _MATRIX.get(self.colorspace, "ITU601")

    def rgb(self, index: int) -> Bytes:
        """One frame of the sheet, in RGB."""
        frame = av.VideoFrame.from_ndarray(self.frames[index], format="yuv420p")
        return pixels(frame.reformat(format="rgb24", src_colorspace=self.matrix))

    def nearest(self, rate: float) -> list[int]:
        """Frames of the sheet at so many a second, or all when it has fewer."""
        taken: list[int] = []
        target, end = Fraction(0), self.seconds[-1] + 0.5 / rate
        while target < end:
            best = min(range(len(self)), key=lambda i: abs(self.seconds[i] - target))
            if not taken or taken[-1] != best:
                taken.append(best)
            target += 1 / Fraction(rate)
        return taken

    def to_bytes(self) -> bytes:
        head = [self.width, self.height, self.colorspace, self.indices, self.seconds]
        return json.dumps(head).encode() + b"\n" + self.frames.tobytes()

    @staticmethod
    def from_bytes(data: bytes) -> Sheet:
        head, _, body = data.partition(b"\n")
        width, height, colorspace, indices, seconds = json.loads(head)
        frames = np.frombuffer(body, np.uint8).reshape(len(indices), height * 3 // 2, width)
        return Sheet(width, height, colorspace, tuple(indices), tuple(seconds), frames)


class SheetMaker:
    """Looks on while a clip is cut, and draws its sheet."""

    def __init__(self, form: SheetForm) -> None:
        self._form = form
        self._ticker = Ticker(form.rate)
        self._size = (0, 0)
        self._colorspace = UNSAID
        #: The frame before: whether it is taken is known when the next one comes.
        self._last: tuple[Look, Fraction] | None = None
        self._count = 0
        self._taken: list[tuple[int, float, Bytes]] = []

    def see(self, look: Look, seconds: Fraction) -> None:
        if self._last is None:
            self._size = self._form.size(look.width, look.height)
            self._colorspace = _said(look.colorspace, look.height)
        taken = self._ticker.passed(seconds)
        if taken:
            self._take()
        self._last = (look, seconds)
        self._count += 1

    def sheet(self) -> Sheet:
        """The sheet, when the clip is over."""
        if self._ticker.ended():
            self._take()
        if not self._taken:
            raise NoSheet("the clip shows no frame, so there is nothing to look at")
        indices, seconds, frames = zip(*self._taken, strict=True)
        width, height = self._size
        return Sheet(width, height, self._colorspace, indices, seconds, np.stack(frames))

    def _take(self) -> None:
        assert self._last is not None
        look, seconds = self._last
        self._taken.append((self._count - 1, float(seconds), look.shrunk(*self._size)))


def sheet_from_file(file: str | BinaryIO, form: SheetForm) -> Sheet:
    """Draw the sheet of a clip from its file."""
    maker, scalers = SheetMaker(form), Scalers()
    with open_film(file) as container:
        stream = video_stream(container)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = DECODE_THREADS
        assert stream.time_base is not None
        clock = Clock(stream.time_base, 0, constant_rate(stream))
        for packet in container.demux(stream):
            for frame in decode(packet) or ():
                if frame.pts is not None:
                    maker.see(Look(frame, frame, scalers), clock.seconds(frame.pts))
    return maker.sheet()


def _said(colorspace: int, height: int) -> int:
    """The matrix of the colours; what does not say is taken for what players take it for."""
    return BT709 if colorspace == UNSAID and height >= HIGH_DEFINITION else colorspace

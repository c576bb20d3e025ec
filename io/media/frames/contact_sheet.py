"""Sampling: which frames of a clip are taken, and the contact sheet they are drawn on.

    frames   0   1   2   3   4   5   6   7   8   9            first at 0 s, last at 9/30 s
    targets  |         |         |         |         (|)      every 1/rate s, and one more when the
    taken    0         ↑2        ↑5        ↑7         9       last frame is nearly half a step past

The frame shown nearest to each target is taken (the earlier one of two equally near), as in the
reference. :func:`sampled_indices` knows all times beforehand; :class:`Ticker` sees the
frames one after the other, and takes the same ones.

The contact sheet is a few small frames of a clip, all that later steps see::

    clip    ▕▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▏   300 frames of 1280x720
    sheet    ▪    ▪    ▪    ▪    ▪    ▪         11 frames of 426x240, each with its number and time

It is drawn during the cut's only decode pass (by :class:`SheetMaker`). If it is gone, it is drawn
again from the clip's own file: :func:`sheet_from_file`.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, takewhile
from typing import BinaryIO, TypeVar, overload

import av
import numpy as np

from finecut.io.media.frame_view import (
    UNKNOWN,
    Bytes,
    FrameView,
    Scalers,
    matrix_name,
    matrix_number,
    pixels,
)
from finecut.io.media.source import open_clip, timed

T = TypeVar("T")

Seconds = Fraction | float

#: Times may have been rounded to floats: two that differ by less are equally far.
NEARLY = Fraction(1, 10**9)


class Lazy(Sequence[T]):
    """A sequence whose items are made when they are asked for."""

    def __init__(self, make: Callable[[int], T], count: int) -> None:
        self._make, self._numbers = make, range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, which: int) -> T: ...

    @overload
    def __getitem__(self, which: slice) -> list[T]: ...

    def __getitem__(self, which: int | slice) -> T | list[T]:
        if isinstance(which, slice):
            return [self._make(number) for number in self._numbers[which]]
        return self._make(self._numbers[which])


def sampled_indices(times: Sequence[Seconds], rate: Seconds) -> list[int]:
    """The frames nearest to ``first, first + 1/rate, …`` up to half a step past the last frame.

    A frame that is nearest to several targets is named once.

    >>> len(sampled_indices([Fraction(i, 30) for i in range(300)], 1))
    11
    """
    step = Ticker(rate).step
    if not times:
        return []
    end = times[-1] + step / 2 - NEARLY
    moments = (Fraction(times[0]) + number * step for number in count())
    within = takewhile(lambda moment: moment < end, moments)
    return list(dict.fromkeys(nearest_indices(times, within)))


def nearest_indices(times: Sequence[Seconds], moments: Iterable[Seconds]) -> list[int]:
    """For each of some moments the frame shown nearest to it; one frame may serve several.

    >>> nearest_indices([0.0, 1.0, 2.0], [0.2, 0.5, 0.6, 9.0])
    [0, 0, 1, 2]
    """
    return [_nearest(times, moment) for moment in moments]


def _nearest(times: Sequence[Seconds], moment: Seconds) -> int:
    after = bisect_left(times, moment)
    is_nearer = after < len(times) and (
        after == 0 or times[after] - moment < moment - times[after - 1] - NEARLY
    )
    return after if is_nearer else after - 1


class Moments:
    """Whether each frame is nearest to one of these moments, known when the next one comes.

    Give it the times as they come; :meth:`passed` answers about the frame *before* this one, and
    :meth:`ended` about the last.
    """

    def __init__(self, moments: Iterable[Seconds]) -> None:
        self._left: Iterator[Fraction] = iter(sorted(Fraction(moment) for moment in moments))
        self._target = next(self._left, None)
        self._previous: Fraction | None = None

    def passed(self, seconds: Fraction) -> bool:
        """A frame is shown now: whether the one before it is taken."""
        previous, self._previous = self._previous, seconds
        if previous is None:
            return False
        taken = False
        while self._target is not None and (
            self._target - previous <= seconds - self._target + NEARLY
        ):
            taken = True
            self._target = next(self._left, None)
        return taken

    def ended(self) -> bool:
        """There are no more frames: whether the last one is taken."""
        return self._target is not None


class Ticker(Moments):
    """The same for moments at this rate, from the first frame on."""

    def __init__(self, rate: Seconds) -> None:
        super().__init__(())
        if not rate > 0:
            raise ValueError(f"{rate} frames a second cannot be sampled: give a rate above 0.")
        self.step = 1 / Fraction(rate)

    def passed(self, seconds: Fraction) -> bool:
        if self._previous is None:
            self._left = (seconds + number * self.step for number in count())
            self._target = next(self._left)
        return super().passed(seconds)

    def ended(self) -> bool:
        if self._target is None or self._previous is None:
            return False
        return self._target < self._previous + self.step / 2 - NEARLY


# ── the contact sheet ────────────────────────────────────────────────────────────────────────────


class NoSheet(ValueError):
    """A clip that shows no frame to draw."""


@dataclass(frozen=True)
class SheetForm:
    """What is on a sheet: frames at these rates, and how large they have to be at the least."""

    #: Frames a second, for each step that needs some.
    rates: tuple[float, ...]
    #: Of the picture, upright.
    height: int = 0
    #: Of its shorter side.
    side: int = 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height on the sheet: never enlarged, both even."""
        scale = min(1.0, max(self.height / height, self.side / min(width, height)))
        return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one clip beside its rates."""

    #: Seconds into the clip.
    moments: tuple[float, ...] = ()
    #: Frames by their numbers.
    frames: frozenset[int] = frozenset()


NOTHING_MORE = Wanted()


@dataclass(frozen=True)
class Sheet:
    """The frames of a clip that were taken, as yuv420p."""

    width: int
    height: int
    colorspace: int
    #: Which frames of the clip these are, and when each is shown, in seconds.
    indices: tuple[int, ...]
    seconds: tuple[float, ...]
    #: ``[height * 3 / 2, width]`` each.
    frames: tuple[Bytes, ...]
    #: Whether those that were wanted were taken; else others near them may have been.
    exact: bool = True

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def matrix(self) -> str:
        """What the scaler calls the matrix of the colours."""
        return matrix_name(self.colorspace)

    def rgb(self, index: int, side: int | None = None) -> Bytes:
        """One frame of the sheet, in RGB, its shorter side not above ``side``."""
        frame = av.VideoFrame.from_ndarray(self.frames[index], format="yuv420p")
        width, height = self.width, self.height
        if side is not None and min(width, height) > side:
            width, height = SheetForm((), side=side).size(width, height)
        return pixels(
            frame.reformat(width, height, "rgb24", src_colorspace=self.matrix, interpolation="AREA")
        )

    def pictures(self, places: Sequence[int], side: int | None = None) -> Lazy[Bytes]:
        """Frames in RGB, each made when it is asked for."""
        return Lazy(lambda number: self.rgb(places[number], side), len(places))

    def at_rate(self, rate: float) -> list[int]:
        """Frames at this rate: of one of the sheet's rates, those that were taken for it."""
        return sampled_indices(self.seconds, rate)

    def near(self, moments: Sequence[float]) -> list[int]:
        """Frames nearest to these moments, one for each: those that were taken for them."""
        return nearest_indices(self.seconds, moments)

    def numbered(self, frames: Sequence[int]) -> list[int]:
        """Where the frames of these numbers are on the sheet; all have to be on it.

        Of a sheet that is not exact, those next to them.
        """
        if not self.exact:
            return nearest_indices(self.indices, frames)
        places = {number: place for place, number in enumerate(self.indices)}
        return [places[number] for number in frames]

    def to_parts(self) -> list[Bytes | bytes]:
        """Everything, in pieces to be written one after the other."""
        head = [self.width, self.height, self.colorspace, self.indices, self.seconds, self.exact]
        return [json.dumps(head).encode() + b"\n", *self.frames]

    @staticmethod
    def from_bytes(data: bytes) -> "Sheet":
        body = data.index(b"\n") + 1
        width, height, colorspace, indices, seconds, exact = json.loads(data[:body])
        frames = np.frombuffer(data, np.uint8, offset=body)
        return Sheet(
            width=width,
            height=height,
            colorspace=colorspace,
            indices=tuple(indices),
            seconds=tuple(seconds),
            frames=tuple(frames.reshape(len(indices), height * 3 // 2, width)),
            exact=exact,
        )


class SheetMaker:
    """Sees the frames of a clip while it is cut, and draws its sheet."""

    def __init__(self, form: SheetForm, wanted: Wanted = NOTHING_MORE) -> None:
        self._form = form
        self._tickers: list[Moments] = [Ticker(rate) for rate in form.rates]
        if wanted.moments:
            self._tickers.append(Moments(wanted.moments))
        self._moments, self._wanted_frames = wanted.moments, wanted.frames
        self._size = (0, 0)
        self._colorspace = UNKNOWN
        #: The frame before: whether it is taken is known when the next one comes.
        self._last: tuple[FrameView, Fraction] | None = None
        self._number = -1
        #: When each frame of the clip is shown, if it sees only some of them.
        self._times: Sequence[Fraction] | None = None
        self._taken: list[tuple[int, float, Bytes]] = []

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        """Of frames that are shown at these times, those it would take if it were shown all."""
        moments = [times[number] for number in self._wanted_frames if number < len(times)]
        wanted = {*self._wanted_frames, *nearest_indices(times, self._moments)}
        wanted.update(*(sampled_indices(times, rate) for rate in self._form.rates))
        self._times, self._wanted_frames = times, frozenset()
        if moments:
            self._tickers.append(Moments(moments))
        return {number for number in wanted if number < len(times)}

    def more(self, times: Sequence[Fraction]) -> int:
        return len(times)

    def see(self, view: FrameView, seconds: Fraction) -> None:
        if self._last is None:
            self._size = self._form.size(view.picture.width, view.picture.height)
            self._colorspace = matrix_number(int(view.picture.colorspace), view.picture.height)
        # Each of them has to know of this frame, and any may want the one before.
        self._take_last([ticker.passed(seconds) for ticker in self._tickers])
        self._last = (view, seconds)
        self._number = (
            self._number + 1 if self._times is None else bisect_left(self._times, seconds)
        )

    def end(self) -> None:
        self._take_last([ticker.ended() for ticker in self._tickers])
        self._last = None

    def sheet(self) -> Sheet:
        """The sheet, when the clip is over."""
        if not self._taken:
            raise NoSheet("the clip shows no frame, so there is nothing to sample")
        indices, seconds, frames = zip(*self._taken, strict=True)
        return Sheet(
            *self._size,
            self._colorspace,
            indices=indices,
            seconds=seconds,
            frames=frames,
            exact=self._times is None,
        )

    def _take_last(self, wanted: list[bool]) -> None:
        """Take the frame before, if any ticker wants it, or it is wanted by its number."""
        if self._last and (any(wanted) or self._number in self._wanted_frames):
            view, seconds = self._last
            self._taken.append((self._number, float(seconds), view.shrunk(*self._size)))


def sheet_from_file(file: str | BinaryIO, form: SheetForm, wanted: Wanted = NOTHING_MORE) -> Sheet:
    """Draw the sheet of a clip from its file."""
    maker, scalers = SheetMaker(form, wanted), Scalers()
    with open_clip(file) as (container, stream, clock):
        for seconds, frame in timed(container, stream, clock):
            maker.see(FrameView(frame, frame, scalers), seconds)
    maker.end()
    return maker.sheet()

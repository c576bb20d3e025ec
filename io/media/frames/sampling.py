"""Sampling: which frames of a clip are taken at a rate.

    frames   0   1   2   3   4   5   6   7   8   9            first at 0 s, last at 9/30 s
    targets  |         |         |         |         (|)      every 1/rate s, and one more when the
    taken    0         ↑2        ↑5        ↑7         9       last frame is nearly half a step past

The frame shown nearest to each target is taken (the earlier one of two equally near), as in the
reference. :func:`sampled_indices` knows all times beforehand; :class:`Ticker` sees the
frames one after the other, and takes the same ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import TypeVar, overload

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
    taken: list[int] = []
    ticker = Ticker(rate)
    if not times:
        return []
    target = Fraction(times[0])
    while target < times[-1] + ticker.step / 2 - NEARLY:
        nearest = _nearest(times, target)
        if not taken or taken[-1] != nearest:
            taken.append(nearest)
        target += ticker.step
    return taken


def nearest_indices(times: Sequence[Seconds], moments: Sequence[Seconds]) -> list[int]:
    """For each of some moments the frame shown nearest to it; one frame may serve several.

    >>> nearest_indices([0.0, 1.0, 2.0], [0.2, 0.5, 0.6, 9.0])
    [0, 0, 1, 2]
    """
    return [_nearest(times, moment) for moment in moments]


def _nearest(times: Sequence[Seconds], moment: Seconds) -> int:
    after = bisect_left(times, moment)
    if after == len(times):
        return after - 1
    if after == 0 or times[after] - moment < moment - times[after - 1] - NEARLY:
        return after
    return after - 1


class Moments:
    """Whether each frame is nearest to one of these moments, known when the next one comes.

    Give it the times as they come; :meth:`passed` answers about the frame *before* this one, and
    :meth:`ended` about the last.
    """

    def __init__(self, moments: Iterable[Seconds]) -> None:
        self._left = iter(sorted(Fraction(moment) for moment in moments))
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
            self._target = self._following(self._target)
        return taken

    def _following(self, _target: Fraction) -> Fraction | None:
        return next(self._left, None)

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
            self._target = seconds
        return super().passed(seconds)

    def _following(self, target: Fraction) -> Fraction:
        return target + self.step

    def ended(self) -> bool:
        if self._target is None or self._previous is None:
            return False
        return self._target < self._previous + self.step / 2 - NEARLY

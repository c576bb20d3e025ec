"""When a frame is shown: ticks → exact seconds since the first frame, and back to ticks of a clip.

Containers round. Matroska keeps milliseconds, so frame 61 of a 30 fps film says 2.033 although it
is shown at 2.0333…; a cut at that very frame would put it on the wrong side. When the whole film
has one frame rate, a time within one tick of the frame grid therefore *is* the grid's time::

    grid    0        1/30       2/30       3/30
            |─────────|──────────|──────────|──
    ticks   0        33         67        100       (milliseconds)

With a variable frame rate there is no grid, and the ticks are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

#: Bounds of spans are floats (``frame / rate``), frame times are exact: a bound that misses its
#: frame by less than a microsecond means that frame.
NEARLY = Fraction(1, 1_000_000)

#: Clips get at least this many ticks a second, so that off-grid times stay true to 0.1 ms.
LEAST_TICKS = 10_000
MOST_TICKS = 1_000_000


@dataclass(frozen=True)
class Clock:
    """The time of one video stream."""

    time_base: Fraction
    first_pts: int
    #: Frame rate of the grid all frames lie on, ``None`` for a variable frame rate.
    rate: Fraction | None

    def seconds(self, pts: int) -> Fraction:
        """Exact seconds since the first frame."""
        index = None if self._grid is None else self._grid.nearest(pts - self.first_pts)
        if index is None or self.rate is None:
            base = self.time_base
            return Fraction((pts - self.first_pts) * base.numerator, base.denominator)
        return Fraction(index * self.rate.denominator, self.rate.numerator)

    def pts(self, seconds: float) -> int:
        """The tick at (or just before) which this second falls."""
        return self.first_pts + int(Fraction(seconds) / self.time_base)

    @property
    def slack(self) -> Fraction:
        """How far before a border a tick may lie that means it: ticks may have been rounded."""
        whole = self.rate.numerator if self.rate else self.time_base.denominator
        return self.clip_time_base / 2 if whole > MOST_TICKS else NEARLY

    def ticker(self) -> Callable[[int], int]:
        """What turns ticks of the film into ticks of a clip's clock that began with the film.

        The same as ``round(seconds(pts) / clip_time_base)`` in whole numbers: films that are only
        copied have little else to do for each picture.
        """
        base, first, rate, grid = self.time_base, self.first_pts, self.rate, self._grid
        fine = self.clip_time_base.denominator

        def tick(pts: int) -> int:
            index = None if grid is None else grid.nearest(pts - first)
            if index is None or rate is None:
                return _nearest((pts - first) * base.numerator * fine, base.denominator)
            return _nearest(index * rate.denominator * fine, rate.numerator)

        return tick

    @cached_property
    def _grid(self) -> _Grid | None:
        return None if self.rate is None else _Grid(self.time_base, self.rate)

    @property
    def clip_time_base(self) -> Fraction:
        """A time base in which every time of this clock (minus another one) is a whole number."""
        whole = self.rate.numerator if self.rate else self.time_base.denominator
        if whole > MOST_TICKS:
            return Fraction(1, 90_000)
        return Fraction(1, whole * -(-LEAST_TICKS // whole))


class _Grid:
    """The frames of a film with one rate, in whole numbers: every picture is asked about."""

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        #: Times the one and by the other, ticks are frames.
        self._up = time_base.numerator * rate.numerator
        self._down = time_base.denominator * rate.denominator
        #: As far from the grid as a tick may lie, in parts of a tick's and the rate's denominator.
        self._allowed = int(min(time_base, 1 / rate / 4) * time_base.denominator * rate.numerator)

    def nearest(self, ticks: int) -> int | None:
        """The number of the frame shown this long after the first, if one is near."""
        place = ticks * self._up
        index = _nearest(place, self._down)
        return index if abs(index * self._down - place) <= self._allowed else None


def _nearest(part: int, whole: int) -> int:
    """As ``round(Fraction(part, whole))``: halves go to the even neighbour."""
    floor, rest = divmod(part, whole)
    return floor + (2 * rest > whole or (2 * rest == whole and floor % 2))


def earliest(border: Fraction) -> Fraction:
    """From when on a frame is at or past this border of a span.

    So a frame belongs to ``[start, end)`` from ``earliest(start)`` until ``earliest(end)``.
    """
    return border - NEARLY

"""What is true of a painted film: when its frames are shown, and what changes where."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from finecut.io.media.testfilm.scenery import Scene

Number: TypeAlias = "Fraction | float | int"

# A time this close to a frame means that frame: 1/30 as a float is not 1/30.
SAME = Fraction(1, 1_000_000)


@dataclass(frozen=True)
class Transition:
    """How one scene becomes the next, in how many seconds, half of them on each side of the cut."""

    kind: Literal["cut", "dissolve", "fade"] = "cut"
    seconds: Number = 0


@dataclass(frozen=True)
class Flash:
    """Some frames, from the one shown at a time on, that are nearly white."""

    at: Number
    frames: int = 2


@dataclass(frozen=True)
class Crossing:
    """A transition in its place: its picture is the old scene's until start, the new's from end."""

    kind: Literal["cut", "dissolve", "fade"]
    start: float
    end: float

    def progress(self, at: Number) -> float:
        """How far the transition has come at a time, from 0 to 1."""
        if self.start == self.end:
            return float(at >= self.start)
        return min(max((float(at) - self.start) / (self.end - self.start), 0.0), 1.0)


@dataclass(frozen=True)
class Painting:
    """What is true of a painted film; times in seconds from its first frame."""

    path: str
    width: int
    height: int
    rate: Fraction
    times: tuple[Fraction, ...]
    duration: Fraction
    cuts: tuple[float, ...]
    scenes: tuple[Scene, ...]
    codec: str
    pix_fmt: str
    start: Fraction = Fraction(0)
    rotation: int = 0
    sample_aspect_ratio: Fraction = Fraction(1)
    full_range: bool = False
    sound: str | None = None
    sound_start: Fraction = Fraction(0)
    sample_rate: int = 48000
    beeps: tuple[float, ...] = ()
    #: One for each cut.
    transitions: tuple[Crossing, ...] = ()
    flashes: tuple[Flash, ...] = ()

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once the picture is turned, before square pixels."""
        size = (self.width, self.height)
        return size[::-1] if self.rotation % 180 else size

    def indices_between(self, start: Number, end: Number) -> range:
        """The frames first shown in [start, end); a microsecond is forgiven at both ends."""
        first, last = (bisect_left(self.times, Fraction(at) - SAME) for at in (start, end))
        return range(first, max(first, last))

    @property
    def scene_starts(self) -> tuple[int, ...]:
        """The index of each scene's first frame."""
        return (0, *(bisect_left(self.times, Fraction(cut) - SAME) for cut in self.cuts))

    def scene_of(self, index: int) -> int:
        """The number of the scene that a frame belongs to."""
        return bisect_right(self.scene_starts, index) - 1

    @property
    def changing(self) -> tuple[range, ...]:
        """For each cut the frames that change: those blended or darkened, or the last before it."""
        return tuple(
            range(first - 1, first)
            if crossing.start == crossing.end
            else range(
                bisect_right(self.times, Fraction(crossing.start) + SAME),
                bisect_left(self.times, Fraction(crossing.end) - SAME),
            )
            for first, crossing in zip(self.scene_starts[1:], self.transitions, strict=True)
        )

    @property
    def flashing(self) -> tuple[range, ...]:
        """For each flash its frames."""
        firsts = (bisect_left(self.times, Fraction(flash.at) - SAME) for flash in self.flashes)
        return tuple(
            range(first, first + flash.frames)
            for first, flash in zip(firsts, self.flashes, strict=True)
        )

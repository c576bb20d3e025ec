"""Shots without a model: which frames of a film belong to a transition from one shot to the next.

``transitions()`` takes the whole film as small pictures, one by one, and gives one bool for each,
in order and at most 160 frames later.  Its convention is TransNetV2's::

    hard cut        a a a a b b b b          dissolve  a a a x x x b b      fade  a a d ■ d b b
                    . . . X . . . .                    . . . X X X . .            . . X X X . .

    the last frame of the old shot           the frames that show both      the frames that are dark

so a shot ends where a run of X begins, and the next one begins with the frame after the run.

*Cuts.*  The step from one frame to the next is measured with tolerance for motion: a pixel counts
only by how far it lies outside of all that the 3×3 pixels around its place show in the other frame.
What slides by less than a pixel a frame costs nothing, an edge that runs costs little, a new
picture costs much.  It also has to be new everywhere: the picture is looked at in 3×6 cells, and
the square mean root over them makes a hand in front of the lens count for less than a cut.  A step
is a cut if it is several times as large as those around it, and if the picture does not come back
after a moment, as it does after the flash of a camera.

*Dissolves.*  In a dissolve every pixel is on the straight way from its old value to its new one, so
the frame in the middle of a window differs from both ends in the same direction.  Where something
moves, pixels change when an edge passes, the first half of the window and the second half change
different pixels, and the directions have nothing in common::

    value of a pixel   in a dissolve  ▁▁▂▃▄▅▆▇██    where an edge passes  ▁▁▁▁██████
    and of the next                   ▇▇▆▆▅▄▃▃▂▂                          ▁▁▁▁▁▁▁███

A picture that only became lighter or darker is no new picture: what a gain explains is taken out
before.  The directions are compared in cells, so that a caption has no more to say than its
place, and need to agree the less the more different the ends are.  Windows of several lengths are
tried, and the run is as long as the way is straight.  Shots that run fast while they dissolve are
missed: their pixels' ways are bent.

*Fades.*  A picture that is black all over between two shots, for however long, or flat white for
fewer than :data:`REACH` frames, with the frames that lead into it and out of it.  Black that is the
beginning or the end of the film divides nothing and is left alone; only black at the end that lasts
longer than the detector looks ahead is a run to the film's end.

A film may also be seen in parts, each with :data:`LEAD` frames before it and :data:`TAIL` behind
it. Then nothing is missing but whether a part that begins with black begins between two shots: the
part before it knows (:class:`Black`).

What happens at a frame depends on :data:`REACH` frames on either side and marks as many at most,
so memory is constant, and nothing depends on where the blocks lie in which frames are worked on.
(Parts begin where a block of the whole does, so that even sums are added up in the same order.)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from finecut.io.media.frame_view import Array
from finecut.io.media.frames.small_pictures import HEIGHT, WIDTH
from finecut.transforms.split.distances import (
    NEW,
    REACH,
    cells_between,
    distances,
    pooled,
    steps,
)
from finecut.transforms.split.rolling import Rolling
from finecut.transforms.split.ways import Ways

_BLOCK = 64
#: Where a part of a film may begin; how many frames there have to be before the first whose verdict
#: is that on the whole (blocks until they are worked on alike, and what their frames mark), and
#: behind the last.
ALIGN, LEAD, TAIL = _BLOCK, 2 * _BLOCK, 2 * _BLOCK
# A picture is new when this share of its cells is.
_ENOUGH = 0.3
# Neighbours on each side that a step is compared with.
_AROUND = 6
# The picture has come back when it is as near as this to the one before, in parts of the step.
_BACK = 0.4
# How much brighter than the shot the frames of a flash are, and how much less bright moving things
# may make a few of their pixels.
_LIT, _DIMMER = 15.0, 8
# Half the lengths of the windows in which dissolves are looked for.
_HALVES = (3, 6, 12, 20)
# In a flat picture the luma differs by less than this, but for text, a logo or noise in this
# share of it.
_FLAT, _OUTLIERS = 16.0, 0.08


@dataclass(frozen=True)
class Content:
    """When a change is a transition; distances are levels of 255."""

    #: How many times as large as the steps around it a cut is.
    ratio: float = 4.0
    #: What is added to the steps around, so that noise in a still picture is no cut.
    floor: float = 0.3
    #: Flashes of up to this many frames are overlooked.
    longest_flash: int = 3
    #: How straight the way of a dissolve has to be: the cosine between its halves, for ends whose
    #: distance is 6; twice the distance makes up for 0.1.
    straightness: float = 0.7
    #: How far the ends of a dissolve have to be apart: pixel by pixel but for a gain, and with
    #: tolerance for motion. Captions that fade in, and cameras that adapt to the light, are less.
    least_change: float = 8.5
    least_distance: float = 7.0
    #: The highest luma of a black picture, and the lowest of a white one.
    black: float = 16.0
    white: float = 205.0


@dataclass
class Black:
    """What one part of a film cannot know of black, and tells the next one."""

    #: The part is not the first.
    continues: bool = False
    #: The frame with which the next part begins, counted in this one.
    asked: int | None = None
    #: Frames before this one are marked, too, if the part begins between two shots; and whether the
    #: next part does (``None``: if this one does).
    until: int = 0
    leaves: bool | None = False


def transitions(
    frames: Iterable[npt.NDArray[np.uint8]],
    settings: Content = Content(),
    black: Black | None = None,
) -> Iterator[bool]:
    """For each frame, [27, 48, 3] in RGB, whether it belongs to a transition."""
    window = _Window(settings, black or Black())
    source = iter(frames)
    while block := list(islice(source, _BLOCK)):
        window.take(block)
        yield from window.decided()
    window.ended = True
    yield from window.decided()


class _Window:
    """The frames that still have a say, what was measured on them, and what is marked so far."""

    def __init__(self, settings: Content, black: Black) -> None:
        self.settings, self.black = settings, black
        self.ended = False
        self.first = 0  # the number of the oldest frame that is kept
        self.judged = 0  # what happens before this frame has left its marks
        self.given = 0  # the number of the next frame to give
        self.pictures = Rolling((HEIGHT, WIDTH, 3), np.uint8)
        self.ways = Ways(_HALVES)
        self.step = np.zeros(0, np.float32)
        self.light = np.zeros(0, np.float32)
        self.flat = np.zeros(0, np.int8)
        self.marks = np.zeros(0, bool)
        self.blank = False  # inside a black or white that divides two shots
        self.unsure = black.continues  # inside a black that may do so

    @property
    def total(self) -> int:
        """How many frames there were so far."""
        return self.first + len(self.pictures)

    def take(self, block: list[npt.NDArray[np.uint8]]) -> None:
        """Measure new frames, and let go of those that have no say any more."""
        is_first = not self.total
        old = max(min(self.given, self.judged - 2 * REACH) - self.first, 0)
        self.first += old
        fresh = np.stack(block, out=self.pictures.grow(old, len(block)))
        # The step into the first new frame needs the last old one; the film's first has none.
        step = steps(self.pictures[-len(block) - (not is_first) :])
        if is_first:
            step = np.concatenate([np.full(1, np.nan, np.float32), step])
        luma = fresh @ np.array([0.299, 0.587, 0.114], np.float32)
        self.ways.take(old, fresh)
        self.step = np.concatenate([self.step[old:], step])
        self.light = np.concatenate([self.light[old:], luma.mean((1, 2))])
        self.flat = np.concatenate([self.flat[old:], _flatness(luma, self.settings)])
        self.marks = np.concatenate([self.marks[old:], np.zeros(len(fresh), bool)])

    def decided(self) -> Iterator[bool]:
        """The verdicts on all frames that no later frame can change."""
        ready = self.total if self.ended else max(self.total - REACH, self.judged)
        if ready > self.judged:
            places = range(self.judged - self.first, ready - self.first)
            self._mark_cuts(places)
            self._mark_dissolves(places)
            self._mark_fades(places)
            self.judged = ready
        until = self.total if self.ended else max(ready - REACH, self.given)
        verdicts = self.marks[self.given - self.first : until - self.first]
        self.given = until
        yield from verdicts.tolist()

    # ── cuts ────────────────────────────────────────────────────────────────────────────────────

    def _mark_cuts(self, places: range) -> None:
        here = np.arange(places.start, places.stop)
        usual = _usual(self.step, here)
        large = self.step[here] >= self.settings.ratio * (usual + self.settings.floor)
        for place in here[large].tolist():
            cells = cells_between(self.pictures[[place - 1]], self.pictures[[place]])
            if (cells > NEW).mean() >= _ENOUGH and not self._comes_back(place):
                self.marks[place - 1] = True

    def _comes_back(self, place: int) -> bool:
        """Whether what was seen before this step, or just before that, is seen again just after."""
        last = place - 1
        near = _BACK * self._distance(last, place)
        # The strange frames lie behind the step or before it: it leads into them or out. A shot
        # that is shown again after three frames of another is no flash.
        return any(
            (gone < 3 or self._lit(one, two)) and self._distance(one, two) < near
            for gone in range(1, self.settings.longest_flash + 1)
            for one, two in ((last, place + gone), (last - gone, place))
            if one >= 0 and two < len(self.pictures)
        )

    def _lit(self, one: int, two: int) -> bool:
        """Whether all frames between two of a shot are brighter, and nearly everywhere."""
        strange = self.pictures[one + 1 : two].astype(np.int16)
        brighter = (strange + _DIMMER >= self.pictures[one]).mean((1, 2, 3))
        calm = max(self.light[one], self.light[two])
        return bool(brighter.min() > 0.9 and self.light[one + 1 : two].min() > calm + _LIT)

    def _distance(self, one: int, two: int) -> float:
        return float(distances(self.pictures[[one]], self.pictures[[two]])[0])

    # ── dissolves ───────────────────────────────────────────────────────────────────────────────

    def _mark_dissolves(self, places: range) -> None:
        for half in _HALVES:
            last = min(places.stop, len(self.pictures) - half)
            middle = range(max(places.start, half), last)
            if not middle:
                continue
            straight, apart, agreeing = self.ways.straightness(middle, half)
            likely = (straight > 0) & (apart > self.settings.least_change)
            where = np.flatnonzero(likely) + middle.start
            likely[likely] = self._straight_enough(where, half, straight[likely])
            for number in np.flatnonzero(likely).tolist():
                run = self.ways.straight_run(agreeing[:, number], middle[number], half)
                self.marks[run.start : run.stop] = True

    def _straight_enough(self, middle: Array, half: int, straight: Array) -> npt.NDArray[np.bool_]:
        cells = cells_between(self.pictures[middle - half], self.pictures[middle + half])
        distance = pooled(cells)
        everywhere = (cells > NEW).mean((1, 2)) >= _ENOUGH
        bonus = 0.1 * np.log2(np.maximum(distance, 0.1) / 6)
        return (
            everywhere
            & (distance > self.settings.least_distance)
            & (straight + bonus > self.settings.straightness)
        )

    # ── fades ───────────────────────────────────────────────────────────────────────────────────

    def _mark_fades(self, places: range) -> None:
        for place in places:
            flat = int(self.flat[place])
            before = int(self.flat[place - 1]) if place else flat
            self.unsure &= flat < 0
            if self.blank and before and not flat:
                self.marks[place : self._lit_again(place)] = True
                self.blank = False
            if flat and flat != before:
                self.blank = self._divides(place)
            if self.blank:
                self.marks[place] = True
            self._tell(place, flat)

    def _tell(self, place: int, flat: int) -> None:
        """What the parts before this one and after it need to know."""
        index, black = self.first + place, self.black
        if self.unsure:
            black.until = index + 1
        elif 0 < black.until == index and not flat:
            black.until = self.first + self._lit_again(place)
        if index == black.asked:
            black.leaves = None if self.unsure else self.blank

    def _lit_again(self, place: int) -> int:
        """Until where the frames belong to a fade that lead out of what ends at this place."""
        return min(_slope_end(self.light, place - 1, 1), place + REACH)

    def _divides(self, place: int) -> bool:
        """Whether the black or white that begins here is more than a flash or the film's end."""
        kind = self.flat[place]
        same = self.flat[place : place + REACH] == kind
        length = len(same) if same.all() else int(np.argmin(same))
        after = place + length
        endless = self.ended and after == len(self.flat)
        # White for longer is a bright place, not a transition.
        if endless or (kind > 0 and length == REACH):
            return False
        start = _slope_end(self.light, place, -1)
        if length <= self.settings.longest_flash and start == place - 1:
            sudden = _slope_end(self.light, after - 1, 1) <= after
            if sudden and self._distance(start, after) < _BACK * self._distance(start, place):
                return False
        # A slope begins after the last full frame; without one that frame is the cut's.
        self.marks[max(start + (start < place - 1), place - REACH, 0) : place] = True
        return True


def _flatness(luma: Array, settings: Content) -> npt.NDArray[np.int8]:
    """-1 for black pictures, 1 for white ones, 0 for those that show something."""
    size = HEIGHT * WIDTH
    few = round(size * _OUTLIERS)
    ordered = np.partition(luma.reshape(-1, size), (few, size - few), axis=1)
    lowest, highest = ordered[:, few], ordered[:, size - few]
    calm = highest - lowest < _FLAT
    white = calm & (lowest > settings.white)
    black = calm & (highest < settings.black)
    return white.astype(np.int8) - black.astype(np.int8)


def _usual(step: Array, here: Array) -> Array:
    """What the steps around each of these are like: their median, or half a neighbour."""
    around = np.concatenate([np.arange(-_AROUND, 0), np.arange(1, _AROUND + 1)])
    unknown = np.full(_AROUND, np.nan, np.float32)
    near = np.concatenate([unknown, step, unknown])[here[:, None] + _AROUND + around]
    beside = np.fmax.reduce(near[:, _AROUND - 1 : _AROUND + 1], axis=1)
    near.sort(axis=1)  # what is not known comes last
    known = np.count_nonzero(~np.isnan(near), axis=1)
    median = near[np.arange(len(near)), np.maximum(known - 1, 0) // 2]
    return np.nan_to_num(np.fmax(median, beside / 2))


def _slope_end(light: Array, place: int, way: int) -> int:
    """The first full frame on this way from a black or white one, at the end of the slope."""
    sign = 1 if light[place] < 128 else -1
    steepest = 0.0
    while 0 <= place + way < len(light):
        # Over three frames: encoders let the light of a slope stand still for one.
        ahead = min(max(place + 3 * way, 0), len(light) - 1)
        rise = sign * float(light[ahead] - light[place]) / 3
        if rise < max(0.25 * steepest, 0.2):
            break
        steepest = max(steepest, rise)
        place += way
    return place

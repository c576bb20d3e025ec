"""Pictures: whether two clips show the same, by what is seen and not by what a model says of them.

Vectors tell what a clip looks like, and neighbours of one film look much alike: for most models no
cosine tells a clip that was encoded twice from the next one of the same street. So what is near is
looked at once more, as 16 · 16 grey squares, four times a second::

    what is shown   ▚▞▚▞  each picture against the other at that moment, its brightness taken away
    what changes    ·─▸·  the same, less what stays the same all the time: what moves, and how

Both have to agree, at the same shift in time (up to half a second), and with the same edges: up to
15 % of one of the two may be cut off, it may be mirrored, may have black bars, and a logo in one of
its corners. Which of these may be the case, the mean pictures of the two tell first; only the few
best are compared picture by picture.

A camera that stands still shows the same room all day, and what changes tells who is in it. Where
hardly anything changes in either, what is shown has to agree better instead: two clips of an empty
street are the same, one of them with a car is not.
"""

from collections.abc import Iterator
from functools import cached_property
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finecut.io.media.frame_view import Bytes

Grey = NDArray[np.float32]

#: Pictures that are kept of a clip: how many a second, of the first 16 seconds, and of what size.
RATE, MOST, SIDE = 8, 128, 32
#: The squares that are compared, and every which picture is.
GRID: Final = 16
EVERY: Final = 2
#: How much later one may begin, in pictures; half a second.
SHIFT: Final = 4
#: What may be cut off, and where: nowhere, or that share, from the middle or an edge.
CROPS: Final = (0.025, 0.05, 0.075, 0.1, 0.125, 0.15)
PLACES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
VIEWS: Final = ((0.0, 0.0, 0.0), *product(CROPS, PLACES, PLACES))
#: So alike are what is shown and what changes.
SHOWN, CHANGES = 0.9, 0.65
#: What changes has to be more alike where it is no more than that share of what is shown: all
#: clips of that camera show the same otherwise.
STILL, CHANGES_OF_A_STILL_CAMERA = 0.25, 0.74
#: Where no square changes more (levels of grey, standard deviation), what is shown has to be so
#: alike. Noise and encoders make it 1 to 3, whatever moves 15 and more.
QUIET, SHOWN_QUIETLY = 4.0, 0.95
#: Less contrast than this is one colour; two of them are alike if they are about as bright.
FLAT, AS_BRIGHT = 2.0, 16.0
#: Two whose mean pictures agree less are not compared, and of the others so many ways at most.
HOPELESS, WAYS = 0.5, 12
#: The part of the longer clip that both have to show.
OVERLAP: Final = 0.75
#: Rows and columns at the edges that are never brighter are a bar, and the most that they can take.
DARK, WIDEST = 28.0, 0.35
#: Squares of a corner, in which a logo may be.
CORNER: Final = 5
_LITTLE: Final = 1e-6


class Calm(NamedTuple):
    """How little happens in two clips."""

    #: Hardly anything changes in either.
    quiet: bool = False
    #: What stays the same is most of either: the camera stands still.
    still: bool = False


class Likeness(NamedTuple):
    """How alike two clips are, at best: what is shown, and what changes."""

    shown: float
    changes: float
    calm: Calm = Calm()
    #: What sets them apart otherwise: "mirrored", "bars", "cropped", "logo", "later".
    how: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        if self.calm.quiet:
            return self.shown >= SHOWN_QUIETLY
        return self.shown >= SHOWN and self.changes >= (
            CHANGES_OF_A_STILL_CAMERA if self.calm.still else CHANGES
        )


UNLIKE: Final = Likeness(0.0, 0.0)


class _Seen(NamedTuple):
    """Pictures of a clip as they are compared: ``[pictures, squares]``."""

    #: Each without its mean, and its length; where that is too short to say anything.
    shown: Grey
    length: Grey
    flat: NDArray[np.bool_]
    mean: Grey
    #: Each also without what stays the same.
    changes: Grey


class Box(NamedTuple):
    """A part of the picture, in its pixels; they need not be whole ones."""

    top: float = 0.0
    bottom: float = SIDE
    left: float = 0.0
    right: float = SIDE


WHOLE: Final = Box()


class Way(NamedTuple):
    """How two clips may be made to look the same."""

    #: How alike their mean pictures are then.
    promise: float
    one: int
    other: int
    mirrored: bool
    trimmed: bool

    @property
    def how(self) -> tuple[str, ...]:
        said = {"mirrored": self.mirrored, "bars": self.trimmed, "cropped": self.one or self.other}
        return tuple(word for word, is_so in said.items() if is_so)


#: Nothing was done to either.
PLAIN: Final = Way(0.0, 0, 0, mirrored=False, trimmed=False)


class Thumbnails:
    """A clip, ready to be compared; views with cut edges are made when they are asked for."""

    def __init__(self, pictures: Bytes) -> None:
        self.pictures = pictures.astype(np.float32)
        self._views: dict[bool, _Seen] = {}
        self._means: dict[bool, Grey] = {}

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def quiet(self) -> bool:
        """Whether hardly anything changes, in the whole of it: a car that leaves in the first half
        second makes it another clip than one of the empty street."""
        return bool(self.view(0).changes.std(axis=0).max() < QUIET)

    @cached_property
    def still(self) -> bool:
        """Whether most of what is shown is the same all the time."""
        seen = self.view(0)
        return float(np.square(seen.changes).sum()) < STILL * float(np.square(seen.shown).sum())

    @cached_property
    def box(self) -> Box:
        """What is no black bar."""
        brightest, mean = self.pictures.max(axis=0), self.pictures.mean(axis=0)
        top, bottom = _edges(brightest.max(axis=1), mean.mean(axis=1))
        left, right = _edges(brightest.max(axis=0), mean.mean(axis=0))
        return Box(top, bottom, left=left, right=right)

    def view(self, number: int, trimmed: bool = False) -> _Seen:
        if number:
            return _seen(_cropped(self.pictures, VIEWS[number], self._box(trimmed)))
        # Compared with each neighbour; others are too many to be remembered.
        if trimmed not in self._views:
            self._views[trimmed] = _seen(_cropped(self.pictures, VIEWS[0], self._box(trimmed)))
        return self._views[trimmed]

    def means(self, trimmed: bool) -> Grey:
        """The mean picture in each of the views, of length 1; 0 where it is one colour."""
        if trimmed not in self._means:
            mean, box = self.pictures.mean(axis=0), self._box(trimmed)
            rows = np.stack([_cropped(mean, view, box).ravel() for view in VIEWS])
            rows -= rows.mean(axis=1, keepdims=True)
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            self._means[trimmed] = np.where(
                lengths < FLAT * GRID, 0, rows / np.maximum(lengths, _LITTLE)
            ).astype(np.float32)
        return self._means[trimmed]

    def _box(self, trimmed: bool) -> Box:
        return self.box if trimmed else WHOLE


def likeness(one: Thumbnails, other: Thumbnails) -> Likeness:
    """How alike the two are at best; symmetric."""
    if min(len(one), len(other)) < OVERLAP * max(len(one), len(other)):
        return UNLIKE
    calm = Calm(one.quiet and other.quiet, one.still and other.still)
    best = _aligned(one.view(0), other.view(0), calm)
    if best.same:
        return best
    ways = _ways(one, other)
    # Of a pale picture a logo may be most; what changes agrees in spite of it.
    if best.changes >= CHANGES and not any(way[1:] == PLAIN[1:] for way in ways):
        ways = [PLAIN, *ways]
    for way in ways:
        a, b = one.view(way.one, way.trimmed), other.view(way.other, way.trimmed)
        b = _flipped(b) if way.mirrored else b
        best = max(best, _with(_aligned(a, b, calm), way.how), key=_rank)
        if best.same:
            break
        # A logo stands still: where all does, it cannot be told from what was put there.
        if not (calm.quiet or way.one or way.other):
            for corner in CORNERS:
                found = _aligned(_without(a, corner), _without(b, corner), calm)
                best = max(best, _with(found, (*way.how, "logo")), key=_rank)
    return best


def _ways(one: Thumbnails, other: Thumbnails) -> list[Way]:
    """The most promising ways in which the two may show the same, the best one first."""
    found = []
    for trimmed in (False, True) if {one.box, other.box} != {WHOLE} else (False,):
        here, there = one.means(trimmed), other.means(trimmed)
        for mirrored in (False, True):
            seen = _mirrored(there) if mirrored else there
            promises = [(float(here[0] @ seen[v]), 0, v) for v in range(len(VIEWS))]
            promises += [(float(here[v] @ seen[0]), v, 0) for v in range(1, len(VIEWS))]
            found += [
                Way(promise, a, b, mirrored=mirrored, trimmed=trimmed)
                for promise, a, b in promises
                if promise >= HOPELESS
            ]
    return sorted(found, key=lambda way: (-way.promise, way[1:]))[:WAYS]


def _with(found: Likeness, how: tuple[str, ...]) -> Likeness:
    return found._replace(how=(*how, *found.how))


def _rank(found: Likeness) -> tuple[bool, float]:
    return found.same, found.shown + found.changes


def _aligned(one: _Seen, other: _Seen, calm: Calm) -> Likeness:
    """The best of all shifts in time, also by half a picture where that may help."""
    best = _shifted(one, other, calm)
    if best.same or best.shown < HOPELESS:
        return best
    halves = (_shifted(_between(one), other, calm), _shifted(one, _between(other), calm))
    return max(best, *(half._replace(how=("later",)) for half in halves), key=_rank)


def _between(seen: _Seen) -> _Seen:
    """What would be seen half a picture later."""
    if len(seen.shown) < 2:
        return seen
    middle = (seen.shown[1:] + seen.shown[:-1]) / np.float32(2)
    return _of_squares(np.asarray(middle + seen.mean[1:, None], np.float32))


def _shifted(one: _Seen, other: _Seen, calm: Calm) -> Likeness:
    """The best of all shifts by whole pictures."""
    found = [UNLIKE]
    longer = max(len(one.shown), len(other.shown))
    for shift in range(-SHIFT, SHIFT + 1):
        a, b = max(0, shift), max(0, -shift)
        count = min(len(one.shown) - a, len(other.shown) - b)
        # A short clip is not short for being shifted.
        if count > 0 and count >= OVERLAP * longer - SHIFT:
            found.append(
                _compared(_part(one, a, count), _part(other, b, count))._replace(
                    calm=calm, how=("later",) if shift else ()
                )
            )
    return max(found, key=_rank)


def _part(seen: _Seen, begin: int, count: int) -> _Seen:
    columns: Iterator[Any] = (column[begin : begin + count : EVERY] for column in seen)
    return _Seen(*columns)


def _compared(one: _Seen, other: _Seen) -> Likeness:
    products = np.einsum("tp,tp->t", one.shown, other.shown)
    shown = products / np.maximum(one.length * other.length, _LITTLE)
    as_bright = np.abs(one.mean - other.mean) < AS_BRIGHT
    shown = np.where(one.flat | other.flat, one.flat & other.flat & as_bright, shown)
    energies = [float(np.square(seen.changes).sum()) for seen in (one, other)]
    together = float(np.vdot(one.changes, other.changes))
    changes = together / max(float(np.sqrt(energies[0] * energies[1])), _LITTLE)
    return Likeness(float(shown.mean()), changes)


def _seen(pictures: Grey) -> _Seen:
    return _of_squares(pictures.reshape(len(pictures), -1))


def _of_squares(rows: Grey) -> _Seen:
    mean = rows.mean(axis=1)
    shown = rows - mean[:, None]
    length = np.linalg.norm(shown, axis=1)
    return _Seen(
        shown,
        length=length,
        flat=length < FLAT * GRID,
        mean=mean,
        changes=shown - shown.mean(axis=0),
    )


def _edges(brightest: Grey, mean: Grey) -> tuple[float, float]:
    """Where bars end and begin along one side, from what its rows are at most and in the mean."""
    bright = np.flatnonzero(brightest > DARK)
    if not len(bright):
        return WHOLE.top, WHOLE.bottom
    first, last = int(bright[0]), int(bright[-1])
    if first > WIDEST * SIDE or SIDE - 1 - last > WIDEST * SIDE or last - first < SIDE // 4:
        return WHOLE.top, WHOLE.bottom
    # Of the outermost row that is bright, a part may be bar: it is as much darker than the next.
    begin, end = float(first), float(last + 1)
    if first:
        begin += 1 - min(1.0, float(mean[first] / max(mean[first + 1], 1.0)))
    if last + 1 < SIDE:
        end -= 1 - min(1.0, float(mean[last] / max(mean[last - 1], 1.0)))
    return begin, end


def _mirrored(rows: Grey) -> Grey:
    """The same with left and right swapped."""
    return rows.reshape(len(rows), GRID, GRID)[:, :, ::-1].reshape(len(rows), -1)


def _flipped(seen: _Seen) -> _Seen:
    return seen._replace(shown=_mirrored(seen.shown), changes=_mirrored(seen.changes))


def _corner(down: bool, across: bool) -> NDArray[np.bool_]:
    rest = np.ones((GRID, GRID), bool)
    rest[-CORNER if down else 0 :, -CORNER if across else 0 :][:CORNER, :CORNER] = False
    return rest.ravel()


#: The squares that are left without each of the corners.
CORNERS: Final = tuple(_corner(*place) for place in product((False, True), repeat=2))


def _without(seen: _Seen, corner: NDArray[np.bool_]) -> _Seen:
    return _of_squares(seen.shown[:, corner] + seen.mean[:, None])


def _cropped(pictures: Grey, view: tuple[float, float, float], box: Box = WHOLE) -> Grey:
    """The squares of what is left of a box when that share of height and width is cut off."""
    share, top, left = view
    down = _matrix(share, top, box.top, box.bottom)
    across = _matrix(share, left, box.left, box.right)
    return np.asarray(np.matmul(np.matmul(down, pictures), across.T), np.float32)


def _matrix(share: float, place: float, begin: float, end: float) -> Grey:
    """From the rows of a picture to the mean over each square of what is left of them."""
    edges = begin + (end - begin) * (share * place + (1 - share) * np.arange(GRID + 1) / GRID)
    pixels = np.arange(SIDE)
    inside = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    parts = np.maximum(inside, 0)
    return (parts / parts.sum(axis=1, keepdims=True)).astype(np.float32)

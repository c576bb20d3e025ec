"""Pictures: whether two clips show the same, by what is seen and not by what a model says of them.

Vectors tell what a clip looks like, and neighbours of one film look much alike: for most models no
cosine tells a clip that was encoded twice from the next one of the same street. So what is near is
looked at once more, as 16 · 16 grey squares, four times a second::

    what is shown   ▚▞▚▞  each picture against the other at that moment, its brightness taken away
    what changes    ·─▸·  the same, less what stays the same all the time: what moves, and how

Both have to agree, at the same shift in time (up to half a second) and with the same edges (up to a
tenth of one of the two may be cut off). Where hardly anything changes in either, what is shown has
to agree better instead: two clips of an empty street are the same, one of them with a car is not.
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
CROPS: Final = (0.05, 0.1)
PLACES: Final = (0.0, 0.5, 1.0)
VIEWS: Final = ((0.0, 0.0, 0.0), *product(CROPS, PLACES, PLACES))
#: So alike are what is shown and what changes.
SHOWN, CHANGES = 0.9, 0.65
#: Where no square changes more (levels of grey, standard deviation), what is shown has to be so
#: alike. Noise and encoders make it 1 to 3, whatever moves 15 and more.
QUIET, SHOWN_QUIETLY = 4.0, 0.95
#: Less contrast than this is one colour; two of them are alike if they are about as bright.
FLAT, AS_BRIGHT = 2.0, 16.0
#: What agrees less without any crop does not agree with one.
HOPELESS: Final = 0.3
#: The part of the longer clip that both have to show.
OVERLAP: Final = 0.75
_LITTLE: Final = 1e-6


class Likeness(NamedTuple):
    """How alike two clips are, at best: what is shown, and what changes."""

    shown: float
    changes: float
    #: Whether hardly anything changes in either.
    quiet: bool = False

    @property
    def same(self) -> bool:
        if self.quiet:
            return self.shown >= SHOWN_QUIETLY
        return self.shown >= SHOWN and self.changes >= CHANGES


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


class Thumbnails:
    """A clip, ready to be compared; views with cut edges are made when they are asked for."""

    def __init__(self, pictures: Bytes) -> None:
        self.pictures = pictures.astype(np.float32)
        self._views: dict[int, _Seen] = {}

    def __len__(self) -> int:
        return len(self.pictures)

    @cached_property
    def quiet(self) -> bool:
        """Whether hardly anything changes, in the whole of it: a car that leaves in the first half
        second makes it another clip than one of the empty street."""
        return bool(self.view(0).changes.std(axis=0).max() < QUIET)

    def view(self, number: int) -> _Seen:
        if number not in self._views:
            self._views[number] = _seen(_cropped(self.pictures, *VIEWS[number]))
        return self._views[number]


def likeness(one: Thumbnails, other: Thumbnails) -> Likeness:
    """How alike the two are at best; symmetric."""
    if min(len(one), len(other)) < OVERLAP * max(len(one), len(other)):
        return UNLIKE
    quiet = one.quiet and other.quiet
    best = _aligned(one.view(0), other.view(0), quiet)
    if best.same or best.shown < HOPELESS:
        return best
    for number in range(1, len(VIEWS)):
        for a, b in ((number, 0), (0, number)):
            best = max(best, _aligned(one.view(a), other.view(b), quiet), key=_rank)
    return best


def _rank(found: Likeness) -> tuple[bool, float]:
    return found.same, found.shown + found.changes


def _aligned(one: _Seen, other: _Seen, quiet: bool) -> Likeness:
    """The best of all shifts in time."""
    found = [UNLIKE]
    longer = max(len(one.shown), len(other.shown))
    for shift in range(-SHIFT, SHIFT + 1):
        a, b = max(0, shift), max(0, -shift)
        count = min(len(one.shown) - a, len(other.shown) - b)
        # A short clip is not short for being shifted.
        if count > 0 and count >= OVERLAP * longer - SHIFT:
            found.append(
                _compared(_part(one, a, count), _part(other, b, count))._replace(quiet=quiet)
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
    rows = pictures.reshape(len(pictures), -1)
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


def _cropped(pictures: Grey, share: float, top: float, left: float) -> Grey:
    """The squares of what is left when that share of height and width is cut off."""
    down, across = (_matrix(share, place) for place in (top, left))
    return np.asarray(np.matmul(np.matmul(down, pictures), across.T), np.float32)


def _matrix(share: float, place: float) -> Grey:
    """From the rows of a picture to the mean over each square of what is left of them."""
    edges = SIDE * (share * place + (1 - share) * np.arange(GRID + 1) / GRID)
    pixels = np.arange(SIDE)
    inside = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    parts = np.maximum(inside, 0)
    return (parts / parts.sum(axis=1, keepdims=True)).astype(np.float32)

"""Measuring quality: what is wrong with the pictures of a clip, seen at a few moments.

:class:`QualityMeter` looks at the luma of some frames of a clip, two a second or so, and keeps a
few numbers of each. It reads every pixel once or twice in bytes; all dearer sums are over a sample
of rows and columns, so 720p costs about two milliseconds a frame.

=============  ====  ====  ======================================================================
score          good  bad   how it is found
=============  ====  ====  ======================================================================
``sharpness``  ≥ .2  < .06 how much of the rise of the strongest edges falls on one pixel, against
                           a slope as long as the ruler, which scores 0. Rows and columns; pictures
                           above 540 rows are measured in steps of two pixels and so on, so that
                           sizes can be compared
``exposure``   1     0     mean worth of the pixels' luma: 1 from 60 to 200, falling to 0 at black
                           and at white
``blockiness`` 0     1     steps of luma across the borders of 8x8 blocks against those inside:
                           0 if they are alike, 1 if there are none inside. Steep ones are not
                           counted, for they belong to the scene
``blackness``  0     1     share of pixels that are nearly black
``letterbox``  0     .5    share of the picture under bars: rows and columns at the edges that are
                           black in all samples and end in one straight step
``frozen``     0     1     share of neighbouring samples between which nothing changed anywhere,
                           in a small thumbnail
=============  ====  ====  ======================================================================

All lie in 0..1. The first four are means over the samples, of the picture inside of black bars, so
that bars count as bars and as nothing else. A clip of which one frame was seen is not frozen, and
one that is black from edge to edge has no bars.

What the quality filter asks of them is :data:`finecut.transforms.steps.quality.QUALITY_RULES`.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from finecut.io.media.frame_view import Array, FrameView
from finecut.io.media.frames.contact_sheet import Ticker, sampled_indices

#: Luma up to this is nearly black: 16 is black in video range, and encoders blur the edge.
BLACK: Final = 24
#: A bar is followed by rows of which at least this part is brighter.
BESIDE: Final = 0.5
#: Rows after a bar that an encoder may have darkened.
RINGING: Final = 4

#: About this many rows, and columns, stand for all of them.
LINES: Final = 64
#: Pixels at whose ends the rise of an edge is read.
RULER: Final = 7
#: A rise of less luma than this is no edge.
LEAST_RISE: Final = 10
#: Steps of luma are counted up to this when looking for blocks.
STEEP: Final = 12
#: A thumbnail is this many cells wide and high.
THUMBNAIL: Final = 32
#: Two samples are alike if no cell of their thumbnails differs by more levels than this.
ALIKE: Final = 1.5

# What each level of luma is worth: points of a line.
_WORTH: Final = np.interp(np.arange(256), (18, 60, 200, 234), (0.0, 1.0, 1.0, 0.0))


class ClipQuality:
    """The quality of the last frame of each part of a clip."""

    def __init__(self, rate: float) -> None:
        self._ticker = Ticker(rate)
        self._meter = QualityMeter()
        self._last: FrameView | None = None
        self._rate = rate

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        return set(sampled_indices(times, self._rate))

    def more(self, times: Sequence[Fraction]) -> int:
        """All: it gains by every frame."""
        return len(times)

    def see(self, view: FrameView, seconds: Fraction) -> None:
        if self._ticker.passed(seconds):
            self._measure()
        self._last = view

    def scores(self) -> dict[str, float]:
        if self._ticker.ended():
            self._measure()
        return self._meter.scores()

    def _measure(self) -> None:
        assert self._last is not None
        self._meter.see(self._last.luma())


class QualityMeter:
    """The scores of a clip, from the luma of its frames as they come."""

    def __init__(self) -> None:
        self._seen = 0
        self._sums = dict.fromkeys(("sharpness", "exposure", "blockiness", "blackness"), 0.0)
        self._alike = 0
        self._thumbnail: Array | None = None
        #: The brightest pixel, and the largest share of pixels that are not black, which each row
        #: and each column has had so far.
        self._edges: list[Array] = []

    def see(self, luma: Array) -> None:
        """Take another frame into account: its plane of luma, 8 bits in video range."""
        if luma.ndim != 2 or min(luma.shape) < 2 or luma.dtype != np.uint8:
            raise ValueError(
                f"A picture of shape {luma.shape} and type {luma.dtype} cannot be measured: give "
                "only the luma plane, in bytes, at least two pixels wide and high."
            )
        edges = _edges(luma)
        self._compare(luma, edges)
        picture = _within(luma, edges)
        self._sums["sharpness"] += _sharpness(picture)
        self._sums["blockiness"] += _blockiness(luma)
        sparse = _sparse(picture)
        counts = np.bincount(sparse.ravel(), minlength=256) / sparse.size
        self._sums["exposure"] += float(counts @ _WORTH)
        self._sums["blackness"] += float(counts[: BLACK + 1].sum())
        self._seen += 1

    def _compare(self, luma: Array, edges: list[Array]) -> None:
        """What this frame has in common with those before it."""
        thumbnail = _thumbnail(luma)
        if not self._seen:
            self._edges = edges
        else:
            for ever, now in zip(self._edges, edges, strict=True):
                if ever.shape != now.shape:
                    raise ValueError(
                        f"A picture of shape {luma.shape} cannot be measured along with others "
                        "of another size: use one meter per size."
                    )
                np.maximum(ever, now, out=ever)
            assert self._thumbnail is not None
            self._alike += bool(np.abs(thumbnail - self._thumbnail).max() <= ALIKE)
        self._thumbnail = thumbnail

    def scores(self) -> dict[str, float]:
        """All scores, or none if no frame was seen."""
        if not self._seen:
            return {}
        scores = {name: min(1.0, max(0.0, s / self._seen)) for name, s in self._sums.items()}
        scores["letterbox"] = self._letterbox()
        scores["frozen"] = self._alike / max(1, self._seen - 1)
        return scores

    def _letterbox(self) -> float:
        top, bottom, left, right = _bars(self._edges)
        height, width = self._edges[0].size, self._edges[2].size
        return 1 - (height - top - bottom) * (width - left - right) / (height * width)


def _edges(luma: Array) -> list[Array]:
    """Of each row, then of each column: its brightest pixel and the share of those not black."""
    bright = (luma > BLACK).view(np.uint8)
    # Whole numbers are added several times faster than they are averaged.
    kind = np.min_scalar_type(max(luma.shape))
    shares = [bright.sum(axis=axis, dtype=kind) / np.float32(luma.shape[axis]) for axis in (1, 0)]
    return [luma.max(axis=1), shares[0], luma.max(axis=0), shares[1]]


def _bar(peaks: Array, shares: Array) -> int:
    """How many lines from the first on are a black bar."""
    brighter = np.flatnonzero(peaks > BLACK)
    if not brighter.size:
        return 0
    first = int(brighter[0])
    # The dark of a night ends here and there, at a star or a hill; a bar ends all along.
    return first if shares[first : first + RINGING].max() >= BESIDE else 0


def _bars(edges: list[Array]) -> tuple[int, int, int, int]:
    """How many lines of bars there are above, below, left and right."""
    row_peaks, row_shares, column_peaks, column_shares = edges
    return (
        _bar(row_peaks, row_shares),
        _bar(row_peaks[::-1], row_shares[::-1]),
        _bar(column_peaks, column_shares),
        _bar(column_peaks[::-1], column_shares[::-1]),
    )


def _within(luma: Array, edges: list[Array]) -> Array:
    """The picture inside of the bars it has in this frame."""
    top, bottom, left, right = _bars(edges)
    within: Array = luma[top : luma.shape[0] - bottom, left : luma.shape[1] - right]
    return within if min(within.shape) > 1 else luma


def _sparse(picture: Array) -> Array:
    """Every N-th pixel both ways, a few ten thousand in all."""
    step = max(1, min(picture.shape) // 180)
    return picture[step // 2 :: step, step // 2 :: step]


def _thumbnail(luma: Array) -> Array:
    """Means over a coarse grid of cells."""
    sparse = _sparse(luma)
    rows, columns = (np.unique(np.arange(THUMBNAIL) * s // THUMBNAIL) for s in sparse.shape)
    sums = np.add.reduceat(sparse, rows, axis=0, dtype=np.float32)
    sums = np.add.reduceat(sums, columns, axis=1)
    return sums / np.outer(
        np.diff(rows, append=sparse.shape[0]), np.diff(columns, append=sparse.shape[1])
    )


def _lines(plane: Array, pair: int) -> Array:
    """A sample of rows (of columns in a picture laid down): each the sum of ``pair`` neighbours."""
    step = max(1, (plane.shape[0] - pair + 1) // LINES)
    starts = np.arange(step // 2, plane.shape[0] - pair + 1, step)
    first, *others = (plane[starts + beside].astype(np.int16) for beside in range(pair))
    return sum(others, start=first)


def _sharpness(picture: Array) -> float:
    """How steep the strongest edges are, from rows and columns together."""
    # Of two lines side by side, noise halves its power while edges mostly stay.
    pair = 2 if min(picture.shape) > 2 else 1
    step = max(1, round(min(picture.shape) / 540))
    found = [_edges_along(_lines(plane, pair)[:, ::step], pair) for plane in (picture, picture.T)]
    rise, steep = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not rise.size:
        return 0.0
    strong = rise >= max(LEAST_RISE, np.percentile(rise[::4], 99) / 2)
    rise, steep = rise[strong], steep[strong]
    if not rise.size:
        return 0.0
    share = np.clip(steep, 0, rise).sum() / rise.sum()
    return float(max(0.0, (share - 1 / RULER) / (1 - 1 / RULER)))


def _edges_along(lines: Array, pair: int) -> tuple[Array, Array]:
    """At each place of each line: the rise along the ruler, and the steepest step of it."""
    ruler = min(RULER, lines.shape[1] - 1)
    if ruler < 2:
        return np.empty(0), np.empty(0)
    steps = np.abs(np.diff(lines, axis=1))
    places = steps.shape[1] - ruler + 1
    steepest = steps[:, :places].copy()
    for shift in range(1, ruler):
        np.maximum(steepest, steps[:, shift : shift + places], out=steepest)
    rise = np.abs(lines[:, ruler:] - lines[:, :-ruler])
    # The steepest of several steps has caught some noise: about twice what steps are elsewhere.
    noise = 2 * np.median(steps[:, ::4])
    return rise.ravel() / pair, (steepest.ravel() - noise) / pair


def _blockiness(luma: Array) -> float:
    """Steps at every eighth pixel against the others."""
    border = inside = 0.0
    for plane in (luma, luma.T):
        steps = np.minimum(np.abs(np.diff(_lines(plane, 1), axis=1)), STEEP).mean(axis=0)
        at_border = np.arange(1, steps.size + 1) % 8 == 0
        if at_border.any():
            border += float(steps[at_border].mean())
            inside += float(steps[~at_border].mean())
    # A tenth of a level either way is what rounding does.
    return max(0.0, border - inside) / (border + inside + 0.1)

"""Measuring motion: how far things move from one frame to the next, seen at a few moments.

Encoders look for motion anyway, and some decoders hand out what they found: *vectors*, each of
which says where a block of the picture comes from. They cost next to nothing to read
(:func:`vector_field`). Decoders that keep them to themselves (VP9, AV1, HEVC, intra-only codecs)
give pixels, and from two small neighbouring pictures :func:`estimate_field` finds what an encoder
would have found. Both say the same of the same film, in the same unit.

    clip     I  b  b  P  b  b  P  b  b  P  …         twice a second, or as often as asked
             ▲─────────▲                             ▼
             └ reference         MotionSampler ──▶ vectors of this P, or two neighbours' luma
               3 frames back                         ▼
                                               vector_field / estimate_field ──▶ Field
                                                     ▼
                                               MotionMeter ──▶ two scores of the clip

=============================  ====================================================================
score                          meaning
=============================  ====================================================================
``motion_global_mean``         displacement per frame, as a part of width + height, averaged over
                               the picture and over all moments looked at. 0 is a still; 0.001 is
                               2 pixels per frame at 1280x720
``motion_per_patch_min_256``   the same of the patch of 256x256 pixels that moves least: 0 where a
                               part of the picture rests, as under a logo or before a fixed camera
=============================  ====================================================================

The unit is the reference's, whose thresholds (0.00098 and 0.000001) therefore keep their meaning,
and so is the drawing of vectors: parts of the picture that an encoder made anew, without a vector,
count as resting. Otherwise than there, moments are taken from the whole clip and not from its first
half, displacements are per frame however far back the encoder looked, blocks beyond the edge of
the picture are not drawn along it, and the mean of a patch is the mean of a patch and not the four
pixels in its middle. A rest of less than half a patch at the right or lower edge belongs to its
neighbour, so any picture has at least one patch.

Two things vectors do not say: which of several earlier frames is meant (taken is the one before,
which encoders nearly always use), and what moved between clips (nothing is compared with a frame
before the clip's first).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array: TypeAlias = npt.NDArray[Any]

PATCH: Final = 256

#: Blocks that are drawn, in this order, later ones over earlier ones.
SHAPES: Final = ((8, 8), (16, 16), (16, 8), (8, 16))
#: All of these are made of such cells.
CELL: Final = 8


# ── fields ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Field:
    """How far each cell of a picture moved per frame, as a part of width + height.

    Cells lie side by side from the upper left; those that jut out over the right or lower edge
    count by what lies inside.
    """

    magnitudes: Array
    width: int
    height: int
    cell: tuple[float, float]

    def sums(self, columns: Array, rows: Array) -> Array:
        """Sum over the pixels of each rectangle between these edges."""
        down, across = self.magnitudes.shape
        over = _overlaps(columns, np.minimum(np.arange(across + 1) * self.cell[0], self.width))
        under = _overlaps(rows, np.minimum(np.arange(down + 1) * self.cell[1], self.height))
        summed: Array = under @ self.magnitudes @ over.T
        return summed


def _overlaps(edges: Array, cells: Array) -> Array:
    """What length of each stretch between edges lies in each cell."""
    ends = np.minimum(edges[1:, None], cells[None, 1:])
    starts = np.maximum(edges[:-1, None], cells[None, :-1])
    overlaps: Array = np.maximum(ends - starts, 0.0)
    return overlaps


def vector_field(vectors: Array, width: int, height: int, distance: int = 1) -> Field:
    """The field that a decoder's motion vectors draw.

    ``vectors`` are records as FFmpeg exports them; ``distance`` is how many frames back they
    point. Where there is no vector nothing moves.
    """
    if distance < 1:
        raise ValueError(
            f"Motion vectors that point {distance} frames back have no length per frame: the "
            "distance to the frame they point to is 1 or more."
        )
    across, down = -(-width // CELL), -(-height // CELL)
    grid = np.zeros((down, across))
    scale = np.maximum(vectors["motion_scale"].astype(np.float64), 1)
    lengths = np.hypot(vectors["motion_x"] / scale, vectors["motion_y"] / scale)
    lengths /= distance * (width + height)
    wide, high = vectors["w"].astype(np.intp), vectors["h"].astype(np.intp)
    lefts = (vectors["dst_x"] - wide // 2) // CELL
    tops = (vectors["dst_y"] - high // 2) // CELL
    for shape in SHAPES:
        drawn = np.flatnonzero((wide == shape[0]) & (high == shape[1]))
        if drawn.size:
            _draw(grid, lefts[drawn], tops[drawn], shape, lengths[drawn])
    return Field(grid, width, height, (CELL, CELL))


def _draw(grid: Array, left: Array, top: Array, shape: tuple[int, int], lengths: Array) -> None:
    """Fill the cells of blocks of one shape; of two in the same place the later one counts."""
    down, across = grid.shape
    for row in range(shape[1] // CELL):
        for column in range(shape[0] // CELL):
            x, y = left + column, top + row
            inside = (x >= 0) & (x < across) & (y >= 0) & (y < down)
            grid[y[inside], x[inside]] = lengths[inside]


# ── estimating ───────────────────────────────────────────────────────────────────────────────────
#
#   level 2, a quarter of the size    every displacement within reach, for 4x4 pixels and around
#   level 1, half of it               one pixel around what level 2 found, for 8x8 pixels
#   level 0, the small picture        the same, then the fraction of a pixel from the gradients
#
# A block of 8x8 pixels at level 1 is one of 4x4 at level 2 and four at level 0.

BLOCK: Final = 8
#: Displacements up to this part of each side are found.
REACH: Final = 1 / 8
#: A pixel is told from those so far around it, in such parts of a level.
AROUND: Final = 16
PARTS: Final = 2
#: A block has moved only if that explains at least this part of how it changed …
EXPLAINED: Final = 0.3
#: … and so much of it per pixel, in squared levels of luma: less is an encoder's noise.
NOISE: Final = 0.05
#: A block with slopes below so many times the noise has no features …
PLAIN: Final = 12.0
#: … and moves with those so many blocks around it.
FILL: Final = 4
#: If fewer of them than this part have features, it moves less, since so little is known.
LENT: Final = 0.25


def estimate_field(previous: Array, current: Array, width: int, height: int) -> Field:
    """What an encoder's vectors would say of two neighbouring frames, from their luma.

    Both are small pictures of the same size, about 320 pixels wide; displacements are those of
    the full size, ``width`` x ``height``. What stays as it is does not move, nor what changes in
    a way that no displacement explains.
    """
    if previous.shape != current.shape or current.ndim != 2 or not current.size:
        raise ValueError(
            f"Motion cannot be estimated between pictures of the shapes {previous.shape} and "
            f"{current.shape}: both must be planes of luma of one size, scaled alike."
        )
    small = current.shape
    then, now = _whole(previous), _whole(current)
    before, after = _pyramid(then), _pyramid(now)
    found = _settled(_search(before[2], after[2]))
    found = _settled(_refined(before[1], after[1], 2 * found))
    found = np.repeat(np.repeat(found, 2, axis=0), 2, axis=1)
    found = _fraction(then, now, _refined(before[0], after[0], 2 * found))
    rows, columns = -(-small[0] // BLOCK), -(-small[1] // BLOCK)
    scale = np.array([height / small[0], width / small[1]])
    # What is continued beyond the edge to whole blocks is no place anything can have come from.
    moved = np.clip(found[:rows, :columns], -np.array(small), small) * scale
    lengths = np.hypot(moved[..., 0], moved[..., 1]) / (width + height)
    return Field(lengths, width, height, (BLOCK * scale[1], BLOCK * scale[0]))


def _whole(luma: Array) -> Array:
    """The picture continued to whole blocks at every level."""
    rows, columns = (-side % (2 * BLOCK) for side in luma.shape)
    return np.pad(luma, ((0, rows), (0, columns)), mode="edge").astype(np.float32)


def _pyramid(luma: Array) -> list[Array]:
    """The picture, half of it and a quarter, told from what is around each pixel.

    So neither a fade nor a change of exposure looks like motion.
    """
    levels = [np.rint(PARTS * (luma - _around(luma, AROUND))).astype(np.int16)]
    for _ in range(2):
        levels.append((_pooled(levels[-1], 2) + 2) >> 2)
    return levels


def _around(plane: Array, reach: int) -> Array:
    """The mean of the square around each place, whose sides are ``2 * reach + 1``."""
    for _ in range(2):
        summed = np.pad(plane, ((reach + 1, reach), (0, 0)), mode="edge").cumsum(axis=0)
        # Turned, so that the second time is about the other axis.
        plane = ((summed[2 * reach + 1 :] - summed[: -2 * reach - 1]) / (2 * reach + 1)).T
    return plane


def _pooled(plane: Array, side: int) -> Array:
    """The sum of each square; slices added up are many times as fast as a sum over axes."""
    rows = sum(plane[..., first::side, :] for first in range(1, side)) + plane[..., ::side, :]
    pooled: Array = sum(rows[..., first::side] for first in range(1, side)) + rows[..., ::side]
    return pooled


def _search(before: Array, after: Array) -> Array:
    """For each block of 4x4 pixels the displacement of the block and its surroundings."""
    reach = [max(1, round(side * REACH)) for side in after.shape]
    tall, broad = (2 * r + 1 for r in reach)
    # In bytes, since this is most of the work. Axes: displacement down and across, picture.
    now, then = (np.clip(plane + 128, 0, 255).astype(np.uint8) for plane in (after, before))
    padded = np.pad(then, [(r, r) for r in reach], mode="edge")
    shifted = sliding_window_view(padded, now.shape)
    changed = np.maximum(shifted, now)
    changed -= np.minimum(shifted, now)
    rows, columns = (side // 4 for side in now.shape)
    costs = _with_neighbours(_pooled(changed.astype(np.uint16), 4))
    costs = costs.reshape(tall * broad, rows, columns)
    zero = reach[0] * broad + reach[1]
    best = costs.argmin(axis=0)
    least = np.take_along_axis(costs, best[None], axis=0)[0]
    # A quarter of a level per pixel of the twelve by twelve: between equals nothing moves.
    best[least.astype(np.int32) + 72 > costs[zero]] = zero
    found: Array = np.stack([best // broad - reach[0], best % broad - reach[1]], axis=-1)
    return found


def _with_neighbours(costs: Array) -> Array:
    """Each block's costs and those of the eight around it."""
    padded = np.pad(costs, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
    down = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    around: Array = down[..., :-2] + down[..., 1:-1] + down[..., 2:]
    return around


def _refined(before: Array, after: Array, found: Array) -> Array:
    """The best of the nine displacements around the one found, or none, of each 8x8 block."""
    windows, blocks = _windows(before, found, 1), np.ascontiguousarray(_blocks(after))
    costs = np.stack(
        [
            _difference(windows[..., y : y + BLOCK, x : x + BLOCK], blocks)
            for y in range(3)
            for x in range(3)
        ]
    )
    # The one found is where the neighbours point, and wins among equals.
    costs[4] -= BLOCK * BLOCK // 2
    best = costs.argmin(axis=0)
    least = np.take_along_axis(costs, best[None], axis=0)[0]
    better = found + np.stack([best // 3 - 1, best % 3 - 1], axis=-1)
    still = _difference(_blocks(before), blocks)
    better[still <= least + BLOCK * BLOCK // 2] = 0
    refined: Array = better
    return refined


def _difference(one: Array, other: Array) -> Array:
    """The sum over each block of how much its pixels differ."""
    apart = np.abs(one - other).reshape(*other.shape[:2], BLOCK * BLOCK)
    # As a product with ones, for a sum over a short axis is slow.
    difference: Array = apart.astype(np.float32) @ np.ones(BLOCK * BLOCK, np.float32)
    return difference


def _fraction(before: Array, after: Array, found: Array) -> Array:
    """Displacements to a fraction of a pixel; exactly 0 where that explains a block as well.

    The change that is left after the whole pixels is set against the slope of the luma (least
    squares, with a pull towards zero where there is hardly any slope).
    """
    windows = _windows(before, found, 1)
    inner = windows[..., 1:-1, 1:-1]
    down = _even(windows[..., 2:, 1:-1] - windows[..., :-2, 1:-1]) / 2
    across = _even(windows[..., 1:-1, 2:] - windows[..., 1:-1, :-2]) / 2
    blocks = _blocks(after)
    left = _even(blocks - inner)
    noise = BLOCK * BLOCK * NOISE
    yy, xx, yx = _dot(down, down), _dot(across, across), _dot(down, across)
    yl, xl = _dot(down, left), _dot(across, left)
    scale = (yy + noise) * (xx + noise) - yx * yx
    y = np.clip(((xx + noise) * yl - yx * xl) / scale, -0.75, 0.75)
    x = np.clip(((yy + noise) * xl - yx * yl) / scale, -0.75, 0.75)
    still = _even(blocks - _blocks(before))
    unmoved = _dot(still, still)
    rest = _dot(left, left) - (y * yl + x * xl)
    moves = unmoved - rest > EXPLAINED * unmoved + noise
    exact = np.where(moves[..., None], found + np.stack([y, x], axis=-1), 0.0)
    return _filled(_settled(exact), moves | (yy + xx > PLAIN * noise))


def _filled(found: Array, sure: Array) -> Array:
    """Blocks without features move with those around them: they tell nothing themselves.

    An encoder does the same, for it costs the least to say.
    """
    weights = sure.astype(np.float64)
    share = _around(weights, FILL)
    lent = [_around(found[..., axis] * weights, FILL) / np.maximum(share, LENT) for axis in (0, 1)]
    filled: Array = np.where(sure[..., None], found, np.stack(lent, axis=-1))
    return filled


def _even(blocks: Array) -> Array:
    """Blocks without their mean: brighter or darker is no motion."""
    rows, columns, _, _ = blocks.shape
    flat = blocks.reshape(rows, columns, BLOCK * BLOCK)
    even: Array = (flat - flat.mean(axis=2, keepdims=True)).reshape(blocks.shape)
    return even


def _dot(one: Array, other: Array) -> Array:
    product: Array = np.einsum("abij,abij->ab", one, other)
    return product


def _blocks(plane: Array) -> Array:
    rows, columns = (side // BLOCK for side in plane.shape)
    return plane.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)


def _windows(plane: Array, found: Array, rim: int) -> Array:
    """Each block, and a rim around it, from where it lay before."""
    reach = int(np.abs(found).max()) + rim
    padded = np.pad(plane, reach, mode="edge")
    windows = sliding_window_view(padded, (BLOCK + 2 * rim, BLOCK + 2 * rim))
    rows, columns = found.shape[:2]
    y = np.arange(rows)[:, None] * BLOCK + found[..., 0] + reach - rim
    x = np.arange(columns)[None, :] * BLOCK + found[..., 1] + reach - rim
    picked: Array = windows[y, x]
    return picked


def _settled(found: Array) -> Array:
    """Each displacement the middle one of its surroundings: a lone one is a chance likeness."""
    padded = np.pad(found, [(1, 1), (1, 1), (0, 0)], mode="edge")
    rows, columns = found.shape[:2]
    around = np.stack([padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)])
    around.sort(axis=0)
    middle: Array = around[4]
    return middle


# ── the meter ────────────────────────────────────────────────────────────────────────────────────


class MotionMeter:
    """The two scores of a clip, from fields as they come; it holds one number per patch."""

    def __init__(self, width: int, height: int) -> None:
        if min(width, height) < 1:
            raise ValueError(
                f"A picture of {width}x{height} has nothing in it that could move: say the size "
                "of the frames that are looked at."
            )
        self._columns, self._rows = _edges(width), _edges(height)
        self._size = (width, height)
        self._sums = np.zeros((self._rows.size - 1, self._columns.size - 1))
        #: Moments that were taken into account.
        self.seen = 0

    def see(self, field: Field) -> None:
        """Take another moment of the clip into account."""
        if (field.width, field.height) != self._size:
            raise ValueError(
                f"Motion in a picture of {field.width}x{field.height} cannot be added to that in "
                f"pictures of {self._size[0]}x{self._size[1]}: use one meter for each size."
            )
        self._sums += field.sums(self._columns, self._rows)
        self.seen += 1

    def scores(self) -> dict[str, float]:
        """Both scores; 0 if no moment was seen, since a clip of one frame is a still."""
        width, height = self._size
        areas = np.outer(np.diff(self._rows), np.diff(self._columns))
        seen = max(1, self.seen)
        return {
            "motion_global_mean": float(self._sums.sum() / (seen * width * height)),
            "motion_per_patch_min_256": float((self._sums / areas).min() / seen),
        }


def _edges(side: int) -> Array:
    """Where patches begin and end: every 256 pixels, the last one longer or shorter."""
    edges = np.arange(max(1, (side + PATCH // 2) // PATCH) + 1) * PATCH
    edges[-1] = side
    return edges


# ── the sampler ──────────────────────────────────────────────────────────────────────────────────


#: Multiples of it are as evenly spread over the turns as can be, and never fall into step.
GOLDEN_RATIO: Final = Fraction(618, 1000)


class Act(Enum):
    """What to do with a frame."""

    NOTHING = "nothing"
    #: Read its vectors, which point ``distance`` frames back.
    VECTORS = "vectors"
    #: Keep its luma: the next frame is compared with it.
    KEEP = "keep"
    #: Compare its luma with the one kept.
    ESTIMATE = "estimate"


@dataclass(frozen=True)
class Answer:
    """The sampler's answer about one frame."""

    act: Act = Act.NOTHING
    distance: int = 1


class MotionSampler:
    """Which frames of a clip to look at, told of each in the order in which they are shown.

    At every tick, about ``1 / rate`` seconds apart, the next P-frame's vectors are read: it points
    to the last frame before it that is not a B-frame, which has to belong to the clip. If none
    comes within half that time, or if P-frames here are known to bring no vectors, two neighbouring
    frames are compared. The first of them is kept one frame earlier.

    Ticks are not quite regular. Films whose frame rate was raised show every fourth or fifth frame
    twice, and a regular beat could find those pairs every time, or never.
    """

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ValueError(
                f"Motion cannot be looked at {rate:g} times per second: use a rate above 0, as 2."
            )
        self._interval = 1 / Fraction(rate)
        self._due = Fraction(0)
        #: Frames since the last one that is no B-frame; 0 before the first of the clip.
        self._distance = 0
        self._last: str = ""
        self._kept = False
        #: Whether P-frames were seen to bring vectors, or to bring none.
        self._sighted = self._blind = False

    def see(self, seconds: Fraction, kind: str, has_vectors: Callable[[], bool]) -> Answer:
        """What to do with the frame shown so long after the clip's first one.

        ``kind`` is "I", "P", "B" or anything else; ``has_vectors`` is asked of P-frames only, and
        only when their vectors would be read.
        """
        look = self._look(seconds, kind, has_vectors)
        if kind != "B":
            self._distance = 1
        elif self._distance:
            self._distance += 1
        self._last = kind
        return look

    def _look(self, seconds: Fraction, kind: str, has_vectors: Callable[[], bool]) -> Answer:
        if self._kept:
            self._kept = False
            self._pass(seconds)
            return Answer(Act.ESTIMATE)
        if seconds < self._due:
            return Answer()
        bare = False
        if kind == "P" and self._distance and not self._blind:
            if has_vectors():
                self._sighted = True
                self._pass(seconds)
                return Answer(Act.VECTORS, self._distance)
            # An encoder may make a whole P-frame anew; one that always does has no vectors.
            bare, self._blind = True, not self._sighted
        late = seconds - self._due >= self._interval / 2
        # Two I-frames side by side: a codec that knows no others, or nearly so.
        if bare or self._blind or late or self._last == kind == "I":
            self._kept = True
            return Answer(Act.KEEP)
        return Answer()

    def _pass(self, seconds: Fraction) -> None:
        """The next tick after this moment is due.

        Each comes in the first half of its turn, so that there is time for it before the next.
        """
        turn = seconds // self._interval + 1
        self._due = (turn + turn * GOLDEN_RATIO % 1 / 2) * self._interval

"""Fields of motion: drawn by a decoder's vectors, or estimated from two neighbouring pictures.

Estimates are what an encoder's vectors would say, for films whose decoder keeps its vectors to
itself (VP9, AV1, HEVC) or has none (MJPEG …)::

    level 2, a quarter of the size    every displacement within reach, for 4x4 pixels and around
    level 1, half of it               one pixel around what level 2 found, for 8x8 pixels
    level 0, the small picture        the same, then the fraction of a pixel from the gradients

A block of 8x8 pixels at level 1 is one of 4x4 at level 2 and four at level 0.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from finecut.io.media.frame_view import Array

#: Blocks that are drawn, in this order, later ones over earlier ones.
SHAPES: Final = ((8, 8), (16, 16), (16, 8), (8, 16))
#: All of these are made of such cells.
CELL: Final = 8

BLOCK: Final = 8
#: Displacements up to this part of each side are found.
REACH: Final = 1 / 8
#: A pixel is compared with those within this distance, in such parts of a level.
AROUND: Final = 16
PARTS: Final = 2
#: A block has moved only if that explains at least this part of how it changed …
EXPLAINED: Final = 0.3
#: … and so much of it per pixel, in squared levels of luma: less is an encoder's noise.
NOISE: Final = 0.05
#: A block with slopes below this many times the noise has no features …
PLAIN: Final = 12.0
#: … and moves with the blocks within this distance.
FILL: Final = 4
#: If fewer of them than this part have features, it moves less, since so little is known.
LENT: Final = 0.25


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
        return under @ self.magnitudes @ over.T


def _overlaps(edges: Array, cells: Array) -> Array:
    """What length of each stretch between edges lies in each cell."""
    ends = np.minimum(edges[1:, None], cells[None, 1:])
    starts = np.maximum(edges[:-1, None], cells[None, :-1])
    return np.maximum(ends - starts, 0.0)


def vector_field(vectors: Array, width: int, height: int, distance: int = 1) -> Field:
    """The field that a decoder's motion vectors draw.

    ``vectors`` are records as FFmpeg exports them; ``distance`` is how many frames back they
    point. Where there is no vector nothing moves.
    """
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
            _draw(grid, shape, (lefts[drawn], tops[drawn]), lengths[drawn])
    return Field(grid, width, height, (CELL, CELL))


def _draw(
    grid: Array, shape: tuple[int, int], corners: tuple[Array, Array], lengths: Array
) -> None:
    """Fill the cells of blocks of one shape; of two in the same place the later one counts."""
    down, across = grid.shape
    for row in range(shape[1] // CELL):
        for column in range(shape[0] // CELL):
            x, y = corners[0] + column, corners[1] + row
            inside = (x >= 0) & (x < across) & (y >= 0) & (y < down)
            grid[y[inside], x[inside]] = lengths[inside]


# ── estimating ───────────────────────────────────────────────────────────────────────────────────


def estimate_field(previous: Array, current: Array, width: int, height: int) -> Field:
    """What an encoder's vectors would say of two neighbouring frames, from their luma.

    Both are small pictures of the same size, about 320 pixels wide; displacements are those of
    the full size, ``width`` x ``height``. What stays as it is does not move, nor what changes in
    a way that no displacement explains.
    """
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
    """The picture, half of it and a quarter, relative to what is around each pixel.

    So neither a fade nor a change of exposure counts as motion.
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
    return sum(rows[..., first::side] for first in range(1, side)) + rows[..., ::side]


def _search(before: Array, after: Array) -> Array:
    """For each block of 4x4 pixels the displacement of the block and its surroundings."""
    reach = [max(1, round(side * REACH)) for side in after.shape]
    tall, broad = (2 * r + 1 for r in reach)
    # In bytes, since this is most of the work. Axes: displacement down and across, picture.
    now, then = (np.clip(plane + 128, 0, 255).astype(np.uint8) for plane in (after, before))
    shifted = sliding_window_view(np.pad(then, [(r, r) for r in reach], mode="edge"), now.shape)
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
    return np.stack([best // broad - reach[0], best % broad - reach[1]], axis=-1)


def _with_neighbours(costs: Array) -> Array:
    """Each block's costs and those of the eight around it."""
    padded = np.pad(costs, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
    down = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return down[..., :-2] + down[..., 1:-1] + down[..., 2:]


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
    better[_difference(_blocks(before), blocks) <= least + BLOCK * BLOCK // 2] = 0
    return better


def _difference(one: Array, other: Array) -> Array:
    """The sum over each block of how much its pixels differ."""
    apart = np.abs(one - other).reshape(*other.shape[:2], BLOCK * BLOCK)
    # As a product with ones, for a sum over a short axis is slow.
    return apart.astype(np.float32) @ np.ones(BLOCK * BLOCK, np.float32)


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
    """Blocks without features move with those around them: they show nothing themselves.

    An encoder does the same, for it costs the least to say.
    """
    weights = sure.astype(np.float64)
    share = _around(weights, FILL)
    lent = [_around(found[..., axis] * weights, FILL) / np.maximum(share, LENT) for axis in (0, 1)]
    return np.where(sure[..., None], found, np.stack(lent, axis=-1))


def _even(blocks: Array) -> Array:
    """Blocks without their mean: brighter or darker is no motion."""
    rows, columns, _, _ = blocks.shape
    flat = blocks.reshape(rows, columns, BLOCK * BLOCK)
    return (flat - flat.mean(axis=2, keepdims=True)).reshape(blocks.shape)


def _dot(one: Array, other: Array) -> Array:
    return np.einsum("abij,abij->ab", one, other)


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
    return windows[y, x]


def _settled(found: Array) -> Array:
    """Each displacement the middle one of its surroundings: a lone one is a chance likeness."""
    padded = np.pad(found, [(1, 1), (1, 1), (0, 0)], mode="edge")
    rows, columns = found.shape[:2]
    around = np.stack([padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)])
    around.sort(axis=0)
    return around[4]

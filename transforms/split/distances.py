"""How different pictures are from each other, and how straight the way between them is.

Distances tolerate motion: a pixel counts only by how far it lies outside of all that the 3×3 pixels
around its place show in the other picture. (What they are for: :mod:`content`.)
"""

import numpy as np
import numpy.typing as npt

from finecut.io.media.frame_view import Array
from finecut.io.media.frames.small_pictures import HEIGHT, WIDTH

#: Frames on either side of a frame that may have a say in what it is.
REACH = 48
#: A cell is new from this distance on.
NEW = 1.0
# The cells that all have to be new in a cut, and those whose ways are compared in a dissolve; the
# height and the width can be divided by both.
_CELLS = (3, 6)
_SMALL_CELLS = (9, 6)


def _spread(pictures: Array, widest: np.ufunc) -> Array:
    """For each pixel the widest value of the 3×3 around it."""
    across = pictures.copy()
    widest(across[:, :, 1:], pictures[:, :, :-1], out=across[:, :, 1:])
    widest(across[:, :, :-1], pictures[:, :, 1:], out=across[:, :, :-1])
    both = across.copy()
    widest(both[:, 1:], across[:, :-1], out=both[:, 1:])
    widest(both[:, :-1], across[:, 1:], out=both[:, :-1])
    return both


def _range(pictures: Array) -> tuple[Array, Array]:
    """For each pixel the lowest and the highest value around it."""
    return _spread(pictures, np.minimum), _spread(pictures, np.maximum)


def _cells(ones: Array, twos: Array, one: tuple[Array, Array], two: tuple[Array, Array]) -> Array:
    """How strange each cell of some pictures is to that of others and the other way round.

    ``one`` and ``two`` are their ranges.
    """
    # What lies above the highest or below the lowest; of the two one is 0.
    outside = np.maximum(ones, two[1]) - two[1]
    outside += two[0] - np.minimum(ones, two[0])
    other = np.maximum(twos, one[1]) - one[1]
    other += one[0] - np.minimum(twos, one[0])
    down, across = _CELLS
    both = outside.astype(np.uint16) + other
    cells = both.reshape((-1, down, HEIGHT // down, across, WIDTH // across, 3))
    return cells.mean((2, 4, 5), dtype=np.float32) / 2


def cells_between(ones: Array, twos: Array) -> Array:
    """How strange each cell of a picture is to that of another, for pictures in pairs."""
    return _cells(ones, twos, _range(ones), _range(twos))


def pooled(cells: Array) -> Array:
    """One number for each picture's cells, large only if most of them are."""
    return np.sqrt(cells).mean((1, 2)) ** 2


def distances(ones: Array, twos: Array) -> Array:
    """The distances between pictures in pairs."""
    return pooled(cells_between(ones, twos))


def steps(pictures: Array) -> Array:
    """The distances from each picture to the next."""
    low, high = _range(pictures)
    return pooled(_cells(pictures[:-1], pictures[1:], (low[:-1], high[:-1]), (low[1:], high[1:])))


def products(pictures: Array) -> Array:
    """For each small cell the product of every picture with every other, per value: [cells, n, n].

    All that is asked about the ways of dissolves are sums of these.
    """
    down, across = _SMALL_CELLS
    shown = pictures.astype(np.float32)
    shown -= shown.mean((1, 2), keepdims=True)
    parts = shown.reshape((-1, down, HEIGHT // down, across, WIDTH // across, 3))
    cells = parts.transpose((1, 3, 0, 2, 4, 5)).reshape(down * across, len(pictures), -1)
    return cells @ cells.transpose(0, 2, 1) / np.float32(cells.shape[2])


def straightness(products: Array, middle: Array, half: int) -> tuple[Array, Array, Array]:
    """For windows a…m…b: cosine of m-a and b-m, distance of a and b, and cells that agree."""
    a, m, b = middle - half, middle, middle + half
    aa, mm, bb = products[:, a, a], products[:, m, m], products[:, b, b]
    am, ab, mb = products[:, a, m], products[:, a, b], products[:, m, b]
    first, second = aa + mm - 2 * am, bb + mm - 2 * mb
    # Half a level of difference or less has no direction; identical frames have none at all.
    cosine = (mb - mm - ab + am) / np.sqrt(np.maximum(first, 0.5) * np.maximum(second, 0.5))
    # What is left of the difference when one end is made as light as the other.
    shared, one, two = ab.sum(0), aa.sum(0), bb.sum(0)
    to_b, to_a = shared / np.maximum(one, 1e-3), shared / np.maximum(two, 1e-3)
    left = np.minimum(bb - 2 * to_b * ab + to_b**2 * aa, aa - 2 * to_a * ab + to_a**2 * bb)
    weights = np.maximum(left, 0) ** 0.25
    straight = (cosine * weights).sum(0) / np.maximum(weights.sum(0), 1e-3)
    return straight, weights.mean(0) ** 2, cosine > 0.3


def straight_run(products: Array, agreeing: npt.NDArray[np.bool_], middle: int, half: int) -> range:
    """The frames on the way that leads through this window; none if most of it is one step."""
    start, end = middle - half, middle + half
    way = (products[agreeing, :, end] - products[agreeing, :, start]).sum(0)
    way = (way - way[start]) / max(float(way[end] - way[start]), 1e-3)
    steps = np.diff(way)
    least = 0.3 / (2 * half)
    low = high = middle
    while low > max(middle - REACH, 0) and steps[low - 1] > least:
        low -= 1
    while high < min(middle + REACH, len(steps)) and steps[high] > least:
        high += 1
    # A cut is one step, or two when a change of rate has mixed two frames.
    largest = 0.55 if high - low <= 3 else 0.35
    outer = steps[min(low, start) : max(high, end)]
    if np.abs(outer).max() > largest * (way[high] - way[low]):
        return range(0)
    return range(low + 1, high)

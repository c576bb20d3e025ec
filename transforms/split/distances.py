"""How different pictures are from each other.

Distances tolerate motion: a pixel counts only by how far it lies outside of all that the 3×3 pixels
around its place show in the other picture. (What they are for: :mod:`content`.)
"""

import numpy as np

from finecut.io.media.frame_view import Array
from finecut.io.media.frames.small_pictures import HEIGHT, WIDTH

#: Frames on either side of a frame that may have a say in what it is.
REACH = 48
#: A cell is new from this distance on.
NEW = 1.0
# The cells that all have to be new in a cut; the height and the width can be divided by both.
_CELLS = (3, 6)


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

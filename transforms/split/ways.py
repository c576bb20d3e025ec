"""How straight the way is from one picture to another, cell by cell (see :mod:`content`).

All that is asked about ways are products of two pictures, summed up in each cell. Windows have few
lengths, so each picture is multiplied only with itself and a few before it, once, when it comes.
Few sums of 72 values are no work for the library behind NumPy's matrix products: its threads wait
for each other by spinning, and took more processor time than all else that a detector does. And
each of these sums is added up by itself, so it does not matter which pictures came together.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from finecut.io.media.frame_view import Array
from finecut.io.media.frames.small_pictures import HEIGHT, WIDTH
from finecut.transforms.split.distances import REACH
from finecut.transforms.split.rolling import Rolling

# The cells whose ways are compared; the height and the width can be divided by both.
_CELLS: Final = (9, 6)
_NUMBER: Final = _CELLS[0] * _CELLS[1]
_VALUES: Final = HEIGHT * WIDTH * 3 // _NUMBER


class Ways:
    """What is remembered of a row of pictures, to be asked for the ways between them.

    ``halves`` are half the lengths of the windows.
    """

    def __init__(self, halves: Sequence[int]) -> None:
        lags = sorted({0, *halves, *(2 * half for half in halves)})
        self._shown = Rolling((_NUMBER, _VALUES), np.float32)
        #: Products of each picture with the one so many before it: [cells, pictures].
        self._products = {lag: np.zeros((_NUMBER, 0), np.float32) for lag in lags}

    def take(self, old: int, fresh: Array) -> None:
        """Forget so many of the oldest pictures, and remember fresh ones."""
        _put_in_cells(fresh, self._shown.grow(old, len(fresh)))
        for lag, known in self._products.items():
            made = _products(self._shown[:], lag, len(fresh))
            self._products[lag] = np.concatenate([known[:, old:], made], axis=1)

    def straightness(self, middle: range, half: int) -> tuple[Array, Array, Array]:
        """For windows a…m…b: cosine of m-a and b-m, distance of a and b, and cells that agree."""
        a, m, b = (_slice(middle, by) for by in (-half, 0, half))
        squares, near, far = (self._products[lag] for lag in (0, half, 2 * half))
        aa, mm, bb = squares[:, a], squares[:, m], squares[:, b]
        am, ab, mb = near[:, m], far[:, b], near[:, b]
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

    def straight_run(self, agreeing: npt.NDArray[np.bool_], middle: int, half: int) -> range:
        """The frames on the way that leads through this window; none if most of it is one step."""
        begin = max(middle - REACH, 0)
        shown = self._shown[begin : middle + REACH + 1]
        start, end, here = middle - half - begin, middle + half - begin, middle - begin
        # Nothing is taken out of all cells: what does not agree has no say.
        whole = (shown[end] - shown[start]) * agreeing[:, None]
        way = np.einsum("nck,ck->n", shown, whole) / np.float32(_VALUES)
        way = (way - way[start]) / max(float(way[end] - way[start]), 1e-3)
        steps = np.diff(way)
        least = 0.3 / (2 * half)
        low = high = here
        while low > 0 and steps[low - 1] > least:
            low -= 1
        while high < len(steps) and steps[high] > least:
            high += 1
        # A cut is one step, or two when a change of rate has mixed two frames.
        largest = 0.55 if high - low <= 3 else 0.35
        outer = steps[min(low, start) : max(high, end)]
        if np.abs(outer).max() > largest * (way[high] - way[low]):
            return range(0)
        return range(begin + low + 1, begin + high)


def _slice(middle: range, by: int) -> slice:
    return slice(middle.start + by, middle.stop + by)


def _put_in_cells(pictures: Array, room: Array) -> None:
    """What each small cell shows, less the mean of the picture: [pictures, cells, values]."""
    down, across = _CELLS
    # Whole numbers, whose sums are exact, and first over what lies far apart: three times as fast.
    rows = pictures.reshape(-1, HEIGHT, WIDTH * 3).sum(1, dtype=np.uint16)
    total = rows.reshape(-1, WIDTH, 3).sum(1, dtype=np.uint32).astype(np.float32)
    mean = (total / np.float32(HEIGHT * WIDTH))[:, None, None, None, None]
    parts = pictures.reshape((-1, down, HEIGHT // down, across, WIDTH // across, 3))
    cells = room.reshape((-1, down, across, HEIGHT // down, WIDTH // across, 3))
    np.subtract(parts.transpose((0, 1, 3, 2, 4, 5)), mean, out=cells)


def _products(shown: Array, lag: int, fresh: int) -> Array:
    """Those of the last pictures with the one so many before each, per value; 0 without one."""
    first = max(len(shown) - fresh, lag)
    before = shown[first - lag : max(len(shown) - lag, 0)]
    made = np.zeros((_NUMBER, fresh), np.float32)
    np.einsum("nck,nck->cn", shown[first:], before, out=made[:, fresh - len(before) :])
    return made / np.float32(_VALUES)

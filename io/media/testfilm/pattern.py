"""The number every painted frame carries, and how to read it back.

A painted frame (see :mod:`finecut.io.media.testfilm.paint`) ends in a quiet strip of dark and light
cells, one twentieth of the picture high and as wide as the picture::

    | light dark | 20 cells: index, highest bit first | 8 cells: checksum | dark dark |

Everything is placed in parts of the width and height, so the strip outlives re-encoding,
another bit depth or chroma format, the loss of one row or column, and scaling, also by
different factors in the two directions.  Dark and light are measured on the strip itself,
so range and contrast do not matter.  The checksum and the end cells, which differ, make a
strip that is mirrored, upside down or blended from two frames unreadable instead of wrong.

``read_index(frame)`` reads an upright frame and refuses any other; ``find_index(frame)``
tries the eight ways a picture can lie and also says which one it was::

    index = read_index(frame)
    index, lie = find_index(frame)      # lie == UPRIGHT, or how the picture lies

A frame is an ``av.VideoFrame`` in any pixel format, an RGB array (height, width, 3), or a
grey array (height, width).
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import av
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Picture: TypeAlias = "av.VideoFrame | Array"

INDEX_BITS = 20
CHECK_BITS = 8
CELLS = 2 + INDEX_BITS + CHECK_BITS + 2
LARGEST_INDEX = 2**INDEX_BITS - 1
# Far enough apart to survive coarse quantisers, yet no hard black and white at the foot of
# the picture.
DARK, LIGHT = 44, 196
# Cells are read as far inside as this, in parts of a cell and of the picture's height, so
# that neither a neighbour nor the picture above bleeds into the reading.
_ACROSS = np.array([0.44, 0.5, 0.56])
_DOWN = 1 - np.array([0.036, 0.030, 0.024, 0.018, 0.012])
_LEAST_CONTRAST = 24.0
_UNSURE = 0.12


class Orientation(NamedTuple):
    """How a picture lies: mirrored left to right first, then turned counter-clockwise."""

    turned: int
    mirrored: bool


UPRIGHT = Orientation(0, False)
ORIENTATIONS = tuple(
    Orientation(turned, flip) for flip in (False, True) for turned in (0, 90, 180, 270)
)


def strip_height(height: int) -> int:
    """Rows of the strip in a picture of this height: even, to fit 4:2:0 chroma."""
    return max(6, 2 * round(height / 40))


def checksum(index: int) -> int:
    """CRC-8 (polynomial 0x07) of the index bits, started so that zero is not all dark."""
    crc = 0xFF
    for shift in (16, 8, 0):
        crc ^= (index >> shift) & 0xFF
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def cells(index: int) -> Array:
    """The strip's cells for an index, left to right: 1 light, 0 dark."""
    if not 0 <= index <= LARGEST_INDEX:
        raise ValueError(
            f"A painted frame cannot carry the index {index}: the strip has {INDEX_BITS} bits, "
            f"so the index must lie between 0 and {LARGEST_INDEX}."
        )
    word = (0b10 << (INDEX_BITS + CHECK_BITS)) | (index << CHECK_BITS) | checksum(index)
    shifts = np.arange(CELLS - 1, -1, -1)
    return ((word << 2) >> shifts) & 1


def strip_row(index: int, width: int) -> Array:
    """One row of the strip as luma values for limited-range video."""
    levels = np.where(cells(index), LIGHT, DARK).astype(np.uint8)
    return levels[(2 * np.arange(width) + 1) * CELLS // (2 * width)]


def grey(picture: Picture) -> Array:
    """The picture as a two-dimensional array of brightness."""
    if isinstance(picture, av.VideoFrame):
        return picture.to_ndarray(format="gray")
    array: Array = np.asarray(picture)
    if array.ndim == 3 and array.shape[2] == 3:
        weighed: Array = array @ np.array([0.299, 0.587, 0.114])
        return weighed
    if array.ndim == 2:
        return array
    raise ValueError(
        f"A picture to read an index from cannot have the shape {array.shape}: give "
        "(height, width, 3) for RGB or (height, width) for grey."
    )


def read_index(frame: Picture) -> int:
    """The index of an upright painted frame; ValueError if there is none to read."""
    index, why = _decode(grey(frame))
    if index is None:
        raise ValueError(
            f"No frame index can be read from this picture: {why}. If it may be turned or "
            "mirrored, use find_index()."
        )
    return index


def find_index(frame: Picture) -> tuple[int, Orientation]:
    """The index of a painted frame in any orientation, and how the frame lies."""
    picture = grey(frame)
    for lie in ORIENTATIONS:
        index, _ = _decode(_set_upright(picture, lie))
        if index is not None:
            return index, lie
    height, width = picture.shape
    raise ValueError(
        f"No frame index can be found in this picture of {width}x{height} pixels in any of its "
        "8 orientations: it was not painted, or lost its strip to cropping, blur or scaling."
    )


def _set_upright(picture: Array, lie: Orientation) -> Array:
    turned_back = np.rot90(picture, -lie.turned // 90)
    return turned_back[:, ::-1] if lie.mirrored else turned_back


def _decode(picture: Array) -> tuple[int | None, str]:
    """The index of an upright grey picture, or None and the reason."""
    height, width = picture.shape
    columns = ((np.arange(CELLS)[:, None] + _ACROSS) * (width / CELLS)).astype(int)
    rows = (_DOWN * height).astype(int)
    patches = picture[np.ix_(rows, columns.ravel())].astype(float)
    values = patches.reshape(len(rows), CELLS, -1).mean(axis=(0, 2))
    light, dark = values[0], values[[1, -2, -1]].max()
    contrast = light - dark
    if contrast < _LEAST_CONTRAST:
        return None, f"the strip's end cells differ by {contrast:.0f} of 255 levels only"
    place = (values - dark) / contrast
    if np.any(np.abs(place - 0.5) < _UNSURE):
        return None, "a cell is neither dark nor light, as when two frames were blended"
    word = int("".join("1" if cell else "0" for cell in place > 0.5), 2)
    index = (word >> (CHECK_BITS + 2)) & LARGEST_INDEX
    wanted = int("".join(map(str, cells(index))), 2)
    if word != wanted:
        return None, "the checksum or the end cells are wrong"
    return index, ""

"""The number every painted frame carries.

A painted frame (see :mod:`finecut.io.media.testfilm.paint`) ends in a quiet strip of dark and light
cells, one twentieth of the picture high and as wide as the picture::

    | light dark | 20 cells: index, highest bit first | 8 cells: checksum | dark dark |

Everything is placed in parts of the width and height, so the strip outlives re-encoding,
another bit depth or chroma format, the loss of one row or column, and scaling, also by
different factors in the two directions.  Dark and light are measured on the strip itself,
so range and contrast do not matter.  The checksum and the end cells, which differ, make a
strip that is mirrored, upside down or blended from two frames unreadable instead of wrong.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

INDEX_BITS = 20
CHECK_BITS = 8
CELLS = 2 + INDEX_BITS + CHECK_BITS + 2
LARGEST_INDEX = 2**INDEX_BITS - 1
# Far enough apart to survive coarse quantisers, yet no hard black and white at the foot of
# the picture.
DARK, LIGHT = 44, 196


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
            f"A test frame cannot carry the index {index}: the strip has {INDEX_BITS} bits, so "
            f"the index must be between 0 and {LARGEST_INDEX}."
        )
    word = (0b10 << (INDEX_BITS + CHECK_BITS)) | (index << CHECK_BITS) | checksum(index)
    shifts = np.arange(CELLS - 1, -1, -1)
    return ((word << 2) >> shifts) & 1


def strip_row(index: int, width: int) -> Array:
    """One row of the strip as luma values for limited-range video."""
    levels = np.where(cells(index), LIGHT, DARK).astype(np.uint8)
    return levels[(2 * np.arange(width) + 1) * CELLS // (2 * width)]

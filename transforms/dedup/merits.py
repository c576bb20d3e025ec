"""Merits: which of several copies is the best one, as the catalogue has it; no file is opened.

    valid ▸ more pixels ▸ more bits for each of them ▸ longer ▸ in the frame rate of its source

One number for each clip, in which what counts more stands higher, so that a comparison of two
numbers compares all of that::

    ▕ valid ▏ pixels ▏ pixels of the source ▏ bits per pixel ▏ seconds ▏ rate kept ▏ a 1 ▏
        1       26             8                   14            13          1        1

Pixels that were made larger than the source has them, or that are black bars, are none; and among
clips that were all made equally small, the one of the larger source comes first. Bits and seconds
are compared to about 1 and 3 %: less is no merit. 0 is a clip of which nothing is known.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.layout import Layout
from finecut.transforms.catalogue.buckets import chunk_of
from finecut.transforms.catalogue.reading import Slice, rows_in, slices

Merits = NDArray[np.uint64]

#: What is asked of the catalogue.
COLUMNS: Final = (
    "id",
    "valid",
    "width",
    "height",
    "letterbox",
    "num_bytes",
    "num_frames",
    "framerate",
    "width_source",
    "height_source",
    "framerate_source",
)
#: Bits of each part.
PIXELS, SOURCE, DENSITY, LENGTH = 26, 8, 14, 13
#: Steps of the source's pixels within a doubling.
STEPS: Final = 8
#: Frame rates that differ by no more than this are the same one (24000/1001 and 24 are not).
SAME_RATE: Final = 5e-4
_FLOAT_BITS: Final = 31


def merits_in(rows: pa.Table) -> Merits:
    """The merit of each row of the catalogue (:data:`COLUMNS`).

    >>> row = {name: [1] for name in COLUMNS} | {"width": [64], "height": [36]}
    >>> large = row | {"width": [128], "height": [72], "width_source": [999]}
    >>> bool(merits_in(pa.table(row)) < merits_in(pa.table(large)))
    True
    """
    area = _numbers(rows, "width") * _numbers(rows, "height")
    source = _numbers(rows, "width_source") * _numbers(rows, "height_source")
    source = np.where(source > 0, source, area)
    seen = np.minimum(area, source) * (1 - np.clip(_numbers(rows, "letterbox"), 0, 1))
    frames, rate = _numbers(rows, "num_frames"), _numbers(rows, "framerate")
    bits = 8 * _numbers(rows, "num_bytes") / np.maximum(area * frames, 1)
    seconds = np.where(rate > 0, frames / np.maximum(rate, 1e-9), 0)
    original = np.abs(rate - _numbers(rows, "framerate_source")) <= SAME_RATE * rate
    parts = (
        (pc.fill_null(rows["valid"].cast(pa.bool_()), False).to_numpy(), 1),
        (seen, PIXELS),
        (STEPS * np.log2(np.maximum(source, 1)), SOURCE),
        (_coarsely(bits, DENSITY), DENSITY),
        (_coarsely(seconds, LENGTH), LENGTH),
        (original, 1),
        (np.ones(len(rows)), 1),
    )
    found = np.zeros(len(rows), np.uint64)
    for values, width in parts:
        whole = np.minimum(np.round(np.asarray(values, np.float64)), (1 << width) - 1)
        found = (found << np.uint64(width)) | whole.astype(np.uint64)
    return found


def _numbers(rows: pa.Table, name: str) -> NDArray[np.float64]:
    """Nothing is 0, and so is what is no number or less than nothing."""
    values = pc.fill_null(rows[name].cast(pa.float64()), 0.0).to_numpy()
    return np.asarray(np.where(np.isfinite(values), np.maximum(values, 0), 0), np.float64)


def _coarsely(values: NDArray[np.float64], width: int) -> NDArray[np.uint32]:
    """The first bits of each as a float: they are in the same order as the numbers."""
    return values.astype(np.float32).view(np.uint32) >> np.uint32(_FLOAT_BITS - width)


def merits_of(ids: NDArray[np.str_], tables: Sequence[str], layout: Layout) -> Merits:
    """The merits of clips whose vectors lie in these tables; 0 of those that nobody knows.

    Tables that are named after their chunks are those of few slices of the catalogue; of others,
    all slices are read, one at a time.
    """
    found = np.zeros(len(ids), np.uint64)
    chunks = [chunk_of(table) for table in tables]
    wanted, order = pa.array(ids.tolist(), pa.string()), np.argsort(ids, kind="stable")
    for piece in slices(layout):
        if not _may_have(piece, chunks):
            continue
        rows = rows_in(piece, layout, COLUMNS)
        rows = rows.filter(pc.is_in(rows["id"], value_set=wanted))
        if len(rows):
            told, merits = np.array(rows["id"].to_pylist(), np.str_), merits_in(rows)
            begins, ends = (np.searchsorted(ids[order], told, side) for side in ("left", "right"))
            # Usually one; an id may stand in two tables.
            for shift in range(int((ends - begins).max())):
                there = begins + shift < ends
                found[order[begins[there] + shift]] = merits[there]
    return found


def _may_have(piece: Slice, chunks: Sequence[str | None]) -> bool:
    prefix = "" if piece.bucket is None else piece.bucket.prefix
    return any(chunk is None or chunk.startswith(prefix) for chunk in chunks)

"""Clips that look alike: the duplicates that ``finecut dedup`` found, and each clip's nearest."""

from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finecut.io.dataset.output import Output
from finecut.io.storage import files as shelf
from finecut.io.tables.parquet import from_parquet, rows_of
from finecut.pipeline.page import Chunks
from finecut.transforms.report.columns import number, packed
from finecut.transforms.report.nearby import NOBODY, nearby

ROWS_OF_ALIKE = 4096
#: More bytes of vectors than this are not compared: they would not fit into a small machine.
MOST_VECTORS: Final = 1_000_000_000
#: What the end of every run may spend on neighbours: the command itself has more time.
FEW_VECTORS: Final = 4096


def write_duplicates(chunks: Chunks, root: str, rows: Mapping[str, int]) -> int:
    """What ``finecut dedup`` found; the number of groups of look-alikes."""
    members: dict[Any, list[tuple[int, bool, float]]] = {}
    for group, clip, kept, cosine in _groups(f"{root}/dedup/groups.parquet"):
        if clip in rows:
            members.setdefault(group, []).append((rows[clip], bool(kept), number(cosine)))
    groups = sorted(
        (some for some in members.values() if len(some) > 1),
        key=lambda some: (-len(some), min(row for row, _, _ in some)),
    )
    if groups:
        flat = [
            member
            for some in groups
            for member in sorted(some, key=lambda one: (not one[1], -one[2], one[0]))
        ]
        chunks.add(
            "groups",
            {
                "sizes": packed(array("I", [len(some) for some in groups])),
                "row": packed(array("I", [row for row, _, _ in flat])),
                "kept": packed(array("B", [kept for _, kept, _ in flat])),
                "cosine": packed(array("f", [cosine for _, _, cosine in flat])),
            },
        )
    return len(groups)


def write_alike(
    chunks: Chunks, output: Output, rows: Mapping[str, int], *, count: int, most: int, few: bool
) -> str:
    """The nearest of each of ``count`` clips; by whose vectors, or nothing if there are none.

    ``few``: only where there are few of them.
    """
    for algorithm in output.algorithms():
        where, vectors = _vectors(output.tables(algorithm), rows, FEW_VECTORS if few else None)
        if len(where) > 1:
            _write_nearest(chunks, where, vectors, count=count, most=min(most, len(where) - 1))
            return algorithm
    return ""


def _write_nearest(
    chunks: Chunks,
    where: NDArray[np.int64],
    vectors: NDArray[np.float16],
    *,
    count: int,
    most: int,
) -> None:
    found = nearby(vectors, most)
    rows = np.full((count, most), NOBODY, np.int32)
    rows[where] = np.where(found.rows == NOBODY, NOBODY, where[found.rows])
    percent = np.zeros((count, most), np.uint8)
    percent[where] = np.round(found.cosines * 100)
    for start in range(0, count, ROWS_OF_ALIKE):
        part = slice(start, start + ROWS_OF_ALIKE)
        chunks.add(
            "alike",
            {
                "most": most,
                "row": packed(array("i", rows[part].astype("=i4").tobytes())),
                "percent": packed(array("B", percent[part].tobytes())),
            },
        )


def _groups(path: str) -> list[tuple[Any, str, bool, float]]:
    with suppress(pa.ArrowException, OSError):  # another program's, or cut short
        if (data := shelf.read_if_there(path)) is not None:
            table = from_parquet(data, columns=["group", "id", "kept", "cosine"])
            return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return []


def _vectors(
    tables: Sequence[str], rows: Mapping[str, int], most: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """The rows that have a vector, and the vectors; nothing if they are too many to compare."""
    where: dict[int, int] = {}
    vectors = np.empty((0, 0), np.float16)
    for path in tables:
        for clip, vector in _table(path):
            if not len(vectors):
                vectors = np.empty((len(rows), len(vector)), np.float16)
            if clip not in rows or rows[clip] in where or len(vector) != vectors.shape[1]:
                continue
            # Divided by the largest: numbers of four bytes need not fit into two.
            vectors[len(where)] = vector / max(float(np.abs(vector).max()), 1e-12)
            where[rows[clip]] = len(where)
            if len(where) * vectors.shape[1] * 2 > MOST_VECTORS or (most and len(where) > most):
                return np.empty(0, np.int64), vectors[:0]
    return np.fromiter(where, np.int64, len(where)), vectors[: len(where)]


def _table(path: str) -> list[tuple[str, NDArray[np.float32]]]:
    """The vectors of a table; none of one that is broken, or another's."""
    try:
        data = shelf.read_if_there(path)
        rows = [] if data is None else rows_of(data)
        vectors = [(str(clip), np.asarray(vector or (), np.float32)) for clip, vector in rows]
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError):
        return []
    return [(clip, np.nan_to_num(vector)) for clip, vector in vectors if vector.size]

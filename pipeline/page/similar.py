"""Clips that look alike: the duplicates that ``finecut dedup`` found, and each clip's nearest."""

from collections.abc import Iterable, Iterator
from math import isqrt
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finecut.io.dataset.output import Output
from finecut.io.layout import is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.parquet import PARQUET, rows_of
from finecut.io.tables.parted import tables_of
from finecut.transforms.dedup.clusters import Floats, Indices, fit, nearest, normalised
from finecut.transforms.report.columns import number, packed
from finecut.transforms.report.parts import Writing

Table = list[tuple[str, NDArray[np.float32]]]

ROWS_OF_ALIKE = 4096
#: More bytes of vectors than this are not compared: they would not fit into a small machine.
MOST_VECTORS: Final = 1_000_000_000
#: What the end of every run may spend on neighbours: the command itself has more time.
FEW_VECTORS: Final = 4096


#: What may set two copies apart, as ``duplicates.js`` knows it.
HOW: Final = ("mirrored", "bars", "cropped", "logo", "later", "model")
#: Of a pair whose pictures nobody has compared.
UNCOMPARED: Final = (0, 0, 0)


class Rows:
    """Where each clip is in the page's columns: sixteen bytes and a number for each."""

    def __init__(self, ids: bytes) -> None:
        found = np.frombuffer(ids, "V16")
        self._order = np.argsort(found.view(">u8").reshape(-1, 2)[:, 0], kind="stable")
        self._heads = found.view(">u8").reshape(-1, 2)[self._order, 0].astype(np.uint64)
        self._ids = found

    def __len__(self) -> int:
        return len(self._ids)

    def of(self, clip: object) -> int | None:
        """The row of a clip, if the page shows it."""
        if not is_clip_id(clip):
            return None
        wanted = bytes.fromhex(str(clip).replace("-", ""))
        head = np.uint64(int.from_bytes(wanted[:8], "big"))
        place = int(np.searchsorted(self._heads, head))
        while place < len(self) and self._heads[place] == head:
            if self._ids[self._order[place]].tobytes() == wanted:
                return int(self._order[place])
            place += 1
        return None


class Member(NamedTuple):
    """A clip of a group."""

    row: int
    kept: bool
    cosine: float
    #: It, and the one that stays for it, the lesser id first.
    pair: tuple[str, str]


def write_duplicates(chunks: Writing, root: str, rows: Rows) -> int:
    """What ``finecut dedup`` found; the number of groups of look-alikes."""
    members: dict[Any, list[Member]] = {}
    for group, clip, kept, kept_id, cosine in _groups(f"{root}/dedup/groups.parquet"):
        if (row := rows.of(clip)) is not None:
            pair = min(clip, str(kept_id)), max(clip, str(kept_id))
            members.setdefault(group, []).append(Member(row, bool(kept), number(cosine), pair))
    groups = sorted(
        (some for some in members.values() if len(some) > 1),
        key=lambda some: (-len(some), min(member.row for member in some)),
    )
    if groups:
        flat = [
            member
            for some in groups
            for member in sorted(some, key=lambda one: (not one.kept, -one.cosine, one.row))
        ]
        whys = _whys(f"{root}/dedup/likeness.parquet", {one.pair for one in flat if not one.kept})
        why = np.array([whys.get(member.pair, UNCOMPARED) for member in flat], "u1")
        chunks.add(
            "groups",
            {
                "sizes": packed(np.array([len(some) for some in groups], "<u4")),
                "row": packed(np.array([member.row for member in flat], "<u4")),
                "kept": packed(np.array([member.kept for member in flat], "u1")),
                "cosine": packed(np.array([member.cosine for member in flat], "<f4")),
                "why": packed(why),
            },
        )
    return len(groups)


def write_alike(
    chunks: Writing, output: Output, rows: Rows, *, count: int, most: int, few: bool
) -> str:
    """The nearest of each of ``count`` clips; by whose vectors, or nothing if there are none.

    ``few``: only where there are few of them.
    """
    for algorithm in output.algorithms():
        tables = _tables(output, algorithm)
        where, vectors = _vectors(tables, rows, FEW_VECTORS if few else None)
        if len(where) > 1:
            _write_nearest(chunks, where, vectors, count=count, most=min(most, len(where) - 1))
            return algorithm
    return ""


def _write_nearest(
    chunks: Writing,
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
                "row": packed(rows[part].astype("<i4")),
                "percent": packed(percent[part]),
            },
        )


def _whys(path: str, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Of these pairs: how alike their pictures are and what changes in them, in per cent, and what
    sets them apart otherwise, a bit for each of :data:`HOW`.
    """
    found = {}
    try:
        for table in tables_of(path, ["first", "second", "same", "shown", "changes", "how"]):
            for first, second, same, *alike, how in zip(
                *(column.to_pylist() for column in table.columns), strict=True
            ):
                if same and (first, second) in wanted:
                    shown, changes = (round(100 * min(1, max(0, number(n)))) for n in alike)
                    said = str(how or "").split(", ")
                    bits = sum(1 << bit for bit, word in enumerate(HOW) if word in said)
                    found[first, second] = (shown, changes, bits)
    except (pa.ArrowException, OSError) as error:  # another program's, or of an earlier version
        pass_on_outlasted(error)
    return found


def _groups(path: str) -> list[tuple[Any, str, bool, str, float]]:
    try:
        tables = tables_of(path, ["group", "id", "kept", "kept_id", "cosine"])
        columns = ((column.to_pylist() for column in table.columns) for table in tables)
        return [row for some in columns for row in zip(*some, strict=True)]
    except (pa.ArrowException, OSError) as error:  # another program's, or cut short
        pass_on_outlasted(error)
        return []


def _vectors(
    tables: Iterable[Table], rows: Rows, most: int | None
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """The rows that have a vector, and the vectors; nothing if they are too many to compare."""
    where: dict[int, int] = {}
    vectors = np.empty((0, 0), np.float16)
    for table in tables:
        for clip, vector in table:
            if not len(vectors):
                vectors = np.empty((min(len(rows), most or len(rows)) + 1, len(vector)), np.float16)
            row = rows.of(clip)
            if row is None or row in where or len(vector) != vectors.shape[1]:
                continue
            # Divided by the largest: numbers of four bytes need not fit into two.
            vectors[len(where)] = vector / max(float(np.abs(vector).max()), 1e-12)
            where[row] = len(where)
            if len(where) * vectors.shape[1] * 2 > MOST_VECTORS or (most and len(where) > most):
                return np.empty(0, np.int64), vectors[:0]
    return np.fromiter(where, np.int64, len(where)), vectors[: len(where)]


def _tables(output: Output, algorithm: str) -> Iterator[Table]:
    for path in output.tables(algorithm):
        yield _table(path, algorithm, output)


def _table(path: str, algorithm: str, output: Output) -> Table:
    """The vectors of a table; none of one that is broken, or another's."""
    try:
        if output.layout.packed:
            found = output.vectors(algorithm, path.rpartition("/")[2].removesuffix(PARQUET))
            return [(clip, np.nan_to_num(vector)) for clip, vector in found.items()]
        data = shelf.read_if_there(path)
        rows = [] if data is None else rows_of(data)
        vectors = [(str(clip), np.asarray(vector or (), np.float32)) for clip, vector in rows]
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        pass_on_outlasted(error)
        return []
    return [(clip, np.nan_to_num(vector)) for clip, vector in vectors if vector.size]


#: So many are compared all with all.
FEW: Final = 4096
#: Vectors that clusters are found from, for each cluster.
SAMPLE: Final = 32
#: Clusters a vector looks for its neighbours in.
VISITS: Final = 2
ROWS: Final = 1024
NOBODY: Final = -1


class Nearby(NamedTuple):
    """For each row the nearest others, the nearest first (:data:`NOBODY` where there are fewer)."""

    rows: NDArray[np.int32]
    cosines: Floats


def nearby(vectors: NDArray[np.floating], most: int, few: int = FEW) -> Nearby:
    """The nearest others of each row, at most that many; rows that point nowhere have none.

    Few vectors are compared all with all. Many are compared with those of the clusters around them
    only, which misses a neighbour now and then and costs a fraction.
    """
    found = Nearby(
        np.full((len(vectors), most), NOBODY, np.int32),
        np.zeros((len(vectors), most), np.float32),
    )
    for asking, among in _rooms(vectors, few):
        others = normalised(vectors[among])
        for start in range(0, len(asking), ROWS):
            rows = asking[start : start + ROWS]
            _enter(found, rows, among, normalised(vectors[rows]) @ others.T)
    return found


def _rooms(vectors: NDArray[np.floating], few: int) -> Iterator[tuple[Indices, Indices]]:
    """Which rows are compared with which."""
    count = len(vectors)
    if count <= few:
        yield np.arange(count), np.arange(count)
        return
    clusters = isqrt(count)
    step = max(1, count // (clusters * SAMPLE))
    centroids = fit(normalised(vectors[::step]), clusters)
    homes = np.concatenate(
        [
            nearest(normalised(vectors[start : start + ROWS]), centroids, VISITS)[0]
            for start in range(0, count, ROWS)
        ]
    )
    for cluster in range(len(centroids)):
        at_home = np.flatnonzero(homes[:, 0] == cluster)
        around = np.flatnonzero((homes == cluster).any(axis=1))
        if len(at_home):
            yield at_home, around


def _enter(found: Nearby, rows: Indices, among: Indices, products: Floats) -> None:
    """Write down the best of these products."""
    products[rows[:, None] == among[None, :]] = -2  # nobody is his own neighbour
    most = min(found.rows.shape[1], products.shape[1])
    best = np.argsort(-products, axis=1, kind="stable")[:, :most]
    cosines = np.take_along_axis(products, best, axis=1)
    worth = cosines > 0
    found.rows[rows, :most] = np.where(worth, among[best], NOBODY)
    found.cosines[rows, :most] = np.where(worth, np.minimum(cosines, 1), 0)

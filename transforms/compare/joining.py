"""Which clips of two outputs are the same: by id, and where paths differ by name and span.

    rows of A ─▶ 64 files by id ─┐                       ┌─▶ pairs
    rows of B ─▶ 64 files by id ─┴─▶ joined file by file ┤
                                                         └─▶ the rest, in 64 files by name and span
                                                             ─▶ joined again ─▶ pairs, and the rest

Only the rows of one file of either side are in memory. Ids are made of the path of the video, so
the same videos below another folder have other ids.
"""

import base64
import json
import posixpath
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from finecut.transforms.catalogue.fields import Row
from finecut.transforms.compare.pairs import VECTORS

#: Files that the rows of a side are shared out to.
BUCKETS: Final = 64


class Pair(NamedTuple):
    """A clip as either side has it; ``None`` where one has none."""

    a: Row | None
    b: Row | None
    by_id: bool = False


def by_id(row: Row) -> str:
    return str(row["id"])


def by_place(row: Row) -> str:
    """The name of its video, and its span.

    >>> by_place({"source_video": "/in/x.mp4", "video": "x.mp4", "start": 0, "end": 2.5})
    'x.mp4 0.000 2.500'
    """
    name = posixpath.basename(str(row["source_video"] or row["video"]).replace("\\", "/"))
    span = (f"{seconds:.3f}" if seconds is not None else "?" for seconds in _span(row))
    return " ".join((name, *span))


def _span(row: Row) -> tuple[Any, Any]:
    return row["start"], row["end"]


class Side:
    """The rows of an output on this disk, shared out by a key."""

    def __init__(self, folder: Path, key: Callable[[Row], str]) -> None:
        self.folder, self.key = folder, key
        folder.mkdir(parents=True)

    def put(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        with ExitStack() as opened:
            files: dict[int, Any] = {}
            for row in rows:
                bucket = zlib.crc32(self.key(row).encode()) % BUCKETS
                if bucket not in files:
                    path = self._path(bucket)
                    files[bucket] = opened.enter_context(path.open("a", encoding="utf-8"))
                files[bucket].write(f"{json.dumps(_packed(row))}\n")

    def bucket(self, number: int) -> Iterator[Row]:
        path = self._path(number)
        if path.exists():
            with path.open(encoding="utf-8") as lines:
                yield from (_unpacked(json.loads(line)) for line in lines)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:02d}.jsonl"


def joined(a: Side, b: Side, folder: Path) -> Iterator[Pair]:
    """All clips of two sides that are shared out by id: pairs, and those that only one has."""
    rest_a, rest_b = Side(folder / "rest-a", by_place), Side(folder / "rest-b", by_place)
    for number in range(BUCKETS):
        # What comes later stands above what came before.
        ours = {by_id(row): row for row in a.bucket(number)}
        theirs = {by_id(row): row for row in b.bucket(number)}
        yield from (Pair(ours[id], theirs[id], by_id=True) for id in ours if id in theirs)
        rest_a.put(row for id, row in ours.items() if id not in theirs)
        rest_b.put(row for id, row in theirs.items() if id not in ours)
    for number in range(BUCKETS):
        yield from pairs_by_place(rest_a.bucket(number), rest_b.bucket(number))


def pairs_by_place(a: Iterable[Row], b: Iterable[Row]) -> Iterator[Pair]:
    """The same of clips whose ids nobody shares. Of several at the same place (videos of the same
    name in several folders) the first belongs to the first, in the order of their paths.
    """
    ours, theirs = _at_places(a), _at_places(b)
    for place in sorted({*ours, *theirs}):
        here, there = ours.get(place, []), theirs.get(place, [])
        both = min(len(here), len(there))
        yield from (Pair(x, y) for x, y in zip(here[:both], there[:both], strict=True))
        yield from (Pair(row, None) for row in here[both:])
        yield from (Pair(None, row) for row in there[both:])


def _at_places(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[by_place(row)].append(row)
    for several in found.values():
        several.sort(key=lambda row: (str(row["video"]), by_id(row)))
    return found


def _packed(row: Row) -> Row:
    vectors = row.get(VECTORS) or {}
    return row | {VECTORS: {name: base64.b64encode(v).decode() for name, v in vectors.items()}}


def _unpacked(row: Row) -> Row:
    return row | {VECTORS: {name: base64.b64decode(v) for name, v in row[VECTORS].items()}}

"""Pictures: clips of near pairs are looked at, and each pair is compared by what was seen."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finecut.io.media.frames.small_pictures import thumbnails
from finecut.io.storage import files as shelf
from finecut.io.tables.parquet import from_parquet, to_parquet
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.dedup import alike
from finecut.transforms.dedup.alike import Thumbnails, likeness
from finecut.transforms.dedup.clustering import PAIRS
from finecut.transforms.dedup.folder import LIKENESS, Deduping, table_at
from finecut.transforms.dedup.graph import Graph, candidates, rank_of, read_graph

#: Pairs that are compared in one go, and clips that are looked at.
PAIRS_AT_ONCE, CLIPS_AT_ONCE = 2000, 100
#: Clips whose pictures a process remembers: a hundred kilobytes each, and a megabyte of views.
REMEMBERED: Final = 128

LIKENESS_SCHEMA: Final = pa.schema(
    [
        ("first", pa.string()),
        ("second", pa.string()),
        #: Null where one of the two could not be looked at.
        ("same", pa.bool_()),
        ("shown", pa.float32()),
        ("changes", pa.float32()),
    ]
)


@dataclass(frozen=True)
class Batch:
    """Pairs of a staged table: one of its groups of rows."""

    path: str
    group: int


class Seen(NamedTuple):
    """How many pairs were compared, are the same, and could not be looked at."""

    compared: int = 0
    same: int = 0
    unseen: int = 0


def near_pairs(deduping: Deduping) -> Graph:
    return read_graph(deduping.files(PAIRS), 1 - deduping.eps)


def known_likeness(deduping: Deduping) -> pa.Table:
    """What an earlier run saw of the same clips; what it could not see is looked for again."""
    table = table_at(deduping.path(LIKENESS), LIKENESS_SCHEMA) if deduping.again else None
    if table is None:
        return LIKENESS_SCHEMA.empty_table()
    return table.filter(pc.is_valid(pc.field("same")))


def _names(table: pa.Table) -> list[tuple[str, str]]:
    first, second = (table.column(name).to_pylist() for name in ("first", "second"))
    return list(zip(first, second, strict=True))


def to_compare(deduping: Deduping) -> tuple[list[Batch], list[tuple[str, ...]]]:
    """The pairs whose pictures were not compared yet, and the clips that are in them."""
    graph = near_pairs(deduping)
    wanted = candidates(graph, rank_of(graph, deduping.clustering))
    known = {*_names(known_likeness(deduping))}
    pairs = [pair for pair in graph.named(wanted) if pair not in known]
    count("pairs to compare", len(pairs))
    if not pairs:
        return [], []
    first, second = zip(*pairs, strict=True)
    path = deduping.clustering.staged("candidates")
    table = pa.table({"first": first, "second": second})
    deduping.clustering.own.write(path, to_parquet(table, PAIRS_AT_ONCE))
    clips = sorted({*first, *second})
    return (
        [Batch(path, group) for group in range(-(-len(pairs) // PAIRS_AT_ONCE))],
        [tuple(clips[n : n + CLIPS_AT_ONCE]) for n in range(0, len(clips), CLIPS_AT_ONCE)],
    )


def look(clips: Iterable[str], deduping: Deduping) -> int:
    """Lay down the clips' tiny pictures; how many clips have some."""
    seen = sum(_look(clip, deduping) for clip in clips)
    count("clips looked at", seen)
    return seen


def _look(clip: str, deduping: Deduping) -> bool:
    layout = deduping.clips
    assert layout is not None
    if "/" in clip:
        return False  # no id of ours: it would lead elsewhere
    path = layout.clip(clip)

    def seen() -> bytes:
        with shelf.open_source(path) as file:
            return thumbnails(file, alike.RATE, alike.MOST, alike.SIDE).tobytes()

    data = attempted(seen)
    if isinstance(data, Exception):
        LOG.info("not looked at: %s (%s)", path, data)
        return False
    deduping.clustering.own.write(_thumbnails_path(clip, deduping), data)
    return True


def _thumbnails_path(clip: str, deduping: Deduping) -> str:
    return deduping.clustering.staged(f"looks/{clip[:2]}/{clip}")


@lru_cache(maxsize=REMEMBERED)
def _thumbnails(path: str) -> Thumbnails | None:
    data = shelf.read_if_there(path)
    if data is None:
        return None
    return Thumbnails(np.frombuffer(data, np.uint8).reshape(-1, alike.SIDE, alike.SIDE))


def compare(batch: Batch, deduping: Deduping) -> str:
    """Compare the pictures of each pair; where what they say is laid down."""
    table = pq.ParquetFile(io.BytesIO(shelf.read(batch.path)))
    rows = []
    for first, second in _names(table.read_row_group(batch.group)):
        one, other = (_thumbnails(_thumbnails_path(clip, deduping)) for clip in (first, second))
        count("pairs compared")
        row: dict[str, Any] = {"first": first, "second": second}
        if one is not None and other is not None:
            found = likeness(one, other)
            row |= {"same": found.same, "shown": found.shown, "changes": found.changes}
        rows.append(row)
    path = deduping.clustering.staged(f"likeness/{batch.group}")
    table = pa.Table.from_pylist(rows, LIKENESS_SCHEMA)
    deduping.clustering.own.write(path, to_parquet(table))
    return path


def the_same(graph: Graph, deduping: Deduping, compared: Iterable[str]) -> tuple[Graph, Seen]:
    """The pairs whose pictures are the same, by what lies at these paths and what was known."""
    tables = [from_parquet(shelf.read(path)) for path in sorted(compared)]
    table = pa.concat_tables([known_likeness(deduping), *tables])
    table = table.sort_by([("first", "ascending"), ("second", "ascending")])
    deduping.clustering.own.write(deduping.path(LIKENESS), to_parquet(table))
    answers = dict(zip(_names(table), table.column("same").to_pylist(), strict=True))
    pairs = graph.named()
    asked = [answers[pair] for pair in pairs if pair in answers]
    same = np.array([answers.get(pair) is True for pair in pairs], bool)
    seen = Seen(compared=len(asked), same=int(same.sum()), unseen=asked.count(None))
    return graph._replace(pairs=graph.pairs.take(same)), seen

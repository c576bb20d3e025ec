"""Looking at clips on workers, slice by slice of the catalogue: what would come of each chunk; and
which videos there are. :mod:`deciding` brings both together.
"""

import heapq
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

import numpy as np
import pyarrow as pa

from finecut.io.dataset.output import JSON, Output
from finecut.io.layout import Layout, is_clip_id
from finecut.io.records import CODING, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.divided import divided
from finecut.io.tables.ids import packed
from finecut.transforms.beam.metrics import count
from finecut.transforms.catalogue.on_workers import batched
from finecut.transforms.catalogue.reading import Slice, rows_in
from finecut.transforms.catalogue.rows import text
from finecut.transforms.refilter.from_rows import COLUMNS, ChunkOfRows, chunks_in
from finecut.transforms.refilter.judging import (
    OVERLAPPING,
    Refiltering,
    changed,
    overlapping,
    verdicts_and_reasons,
)
from finecut.transforms.refilter.rewriting import SAMPLE
from finecut.transforms.refilter.telling import keeper_of, keepers_in, stays, told_of

#: Videos that one worker decides on together, about; and that are listed together.
VIDEOS_OF_RANGE, BATCH = 2000, 10_000

VIDEOS: Final = pa.schema([("key", pa.string()), ("video", pa.binary()), ("open", pa.bool_())])
CHUNKS: Final = pa.schema(
    [
        ("video", pa.string()),
        ("chunk", pa.string()),
        ("start", pa.float64()),
        ("clips", pa.int64()),
        ("changes", pa.bool_()),
        #: Why clips of it cannot be judged, with their numbers, as JSON.
        ("reasons", pa.string()),
        ("yields", pa.string()),
        #: Scores of some of its clips, as JSON.
        ("sample", pa.string()),
    ]
)


@dataclass(frozen=True)
class Looking:
    """How videos are looked at."""

    refiltering: Refiltering
    #: Where workers put what they know.
    tray: Shelf
    #: How the newest run made videos, where nobody asks their documents: in a dry run.
    base: str = ""

    @property
    def layout(self) -> Layout:
        return self.refiltering.layout


@dataclass(frozen=True)
class Seen:
    """What a worker put down of a slice."""

    path: str
    #: The clips for which duplicates go that would be kept otherwise, once for each; and those of
    #: such clips that are kept.
    wanted: str = ""
    staying: str = ""


# ── what there is ────────────────────────────────────────────────────────────────────────────────


def videos_of(layout: Layout) -> Iterator[list[tuple[str, bool]]]:
    """All videos, by their paths below the input, and whether a run has left them open."""
    finished = _below(layout.processed_videos(), lambda _: Output(layout).videos())
    open_ones = {*_below(layout.open_videos(), shelf.files_below)}
    listed = sorted({*finished, *open_ones})
    return batched(((video, video in open_ones) for video in listed), BATCH)


def _below(folder: str, listed: Callable[[str], Iterable[str]]) -> list[str]:
    return [
        path[len(folder) + 1 :].removesuffix(JSON)
        for path in (listed(folder) if shelf.exists(folder) else ())
    ]


def _range_of(video: str, ranges: int) -> int:
    return zlib.crc32(video.encode()) * ranges >> 32


def _put_down(
    rows: list[dict[str, Any]], key: str, schema: pa.Schema, to: tuple[Shelf, int]
) -> str:
    tray, ranges = to
    numbers = np.array([_range_of(row[key], ranges) for row in rows], np.int64)
    path = f"{tray.root}/{key}/{uuid4().hex}.arrow"
    tray.write(path, divided(pa.Table.from_pylist(rows, schema), numbers, ranges))
    return path


def list_down(videos: Sequence[tuple[str, bool]], ranges: int, looking: Looking) -> str:
    rows = [
        {"key": str(text(video)), "video": video.encode(*CODING), "open": is_open}
        for video, is_open in videos
    ]
    return _put_down(rows, "key", VIDEOS, (looking.tray, ranges))


# ── slice by slice ───────────────────────────────────────────────────────────────────────────────


def look_at_slice(piece: Slice, ranges: int, looking: Looking) -> Seen:
    """Judge the clips of a slice of the catalogue, chunk by chunk."""
    refiltering, tray = looking.refiltering, looking.tray
    rows: list[dict[str, Any]] = []
    wanted: list[str] = []
    staying: list[str] = []
    dropping = refiltering.dropping
    keepers = frozenset(keepers_in(dropping).values()) if dropping is not None else frozenset()
    for chunk in chunks_in(rows_in(piece, looking.layout, COLUMNS), looking.layout):
        rows.append(judged(chunk, refiltering))
        for entry in chunk.entries if keepers else ():
            if (keeper := keeper_of(entry, refiltering)) is not None:
                wanted.append(keeper)
            if entry.id in keepers and stays(entry, refiltering, refiltering.drops):
                staying.append(entry.id)
        count("clips judged", len(chunk.entries))
    _leave_few(rows)
    return Seen(
        _put_down(rows, "video", CHUNKS, (tray, ranges)),
        *(_ids_down(ids, tray) if keepers else "" for ids in (wanted, staying)),
    )


def judged(chunk: ChunkOfRows, refiltering: Refiltering) -> dict[str, Any]:
    """What is put down of a chunk."""
    entries = chunk.entries
    verdicts, reasons = verdicts_and_reasons(entries, refiltering)
    if refiltering.unordered and overlapping(entries):
        reasons[OVERLAPPING] = 0
    after = {
        entry.id: changed(entry, verdicts.get(entry.id), refiltering.layout) for entry in entries
    }
    yields = told_of(entries, after, refiltering, 0)
    return {
        "video": chunk.video,
        "chunk": chunk.chunk,
        "start": entries[0].span[0],
        "clips": len(entries),
        "changes": any(after[entry.id].document != entry.document for entry in entries),
        "reasons": json.dumps(dict(reasons)) if reasons else None,
        "yields": to_json(replace(yields, sample={})),
        "sample": yields.sample,
    }


def _leave_few(rows: list[dict[str, Any]]) -> None:
    """Of the scores of all clips, leave those of the first by their ids."""
    first = {*heapq.nsmallest(SAMPLE, (id for row in rows for id in row["sample"]))}
    for row in rows:
        few = {id: scores for id, scores in row["sample"].items() if id in first}
        row["sample"] = json.dumps(few) if few else None


def _ids_down(ids: Iterable[str], tray: Shelf) -> str:
    path = f"{tray.root}/keepers/{uuid4().hex}"
    tray.write(path, packed(filter(is_clip_id, ids)).tobytes())
    return path

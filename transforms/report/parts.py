"""Parts: the clips of a page in the order of their sources, some 65,000 to each part.

    Told of a slice ─▶ its clips, by part ─▶ all of a part, in order ─▶ tiles, and sprites to draw

A part is what one worker makes. Where there are more clips than a page shows, whole sources are
left out, evenly by their digests.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from finecut.io.storage.publishing import Shelf
from finecut.transforms.report.columns import ids_of, packed, script, short
from finecut.transforms.report.counting import Totals, digest_of, numbers, span_of
from finecut.transforms.report.lost import spans_of_lost
from finecut.transforms.report.pictures import Sprite, sprites_of
from finecut.transforms.report.sources import told_in
from finecut.transforms.report.tiles import Words, tiles_of_clips, tiles_of_scores, tiles_of_texts

ROWS_OF_PART: Final = 65_536
ROWS_OF_SOURCES: Final = 2_048
#: The page's folder of data.
DATA: Final = "data"
#: States of a source.
DONE, EMPTY, FAILED, UNFINISHED = range(4)
EVERY: Final = 2**64


@dataclass(frozen=True)
class Showing:
    """What all parts of a page have in common."""

    #: Where the page goes.
    folder: str
    words: Words
    #: The first source of each part but the first one.
    borders: tuple[str, ...] = ()
    #: Sources with a smaller digest are shown.
    below: int = EVERY
    #: Planned clips that failed, by the name of their source.
    lost: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: Length and distance of clips that were cut at regular distances.
    stride: tuple[float, float] | None = None
    #: Digests of the videos that are finished.
    finished: frozenset[int] = frozenset()
    #: Width of a picture; 0 leaves them out.
    pictures: int = 0
    #: Sprites that are there already, and of how many clips others are drawn in a part.
    drawn: frozenset[str] = frozenset()
    to_draw: int | None = None


class Made(NamedTuple):
    """What was made of a part."""

    part: int
    clips: int
    sources: int
    #: Names of its tiles by their kinds, and the first row of each within the part.
    names: Mapping[str, list[str]]
    starts: Mapping[str, list[int]]
    #: The ids of its clips, in order, in base64.
    ids: str
    #: Digests of its videos, and the names of sources that failed in part.
    videos: list[int]
    failed: list[str]
    sprites: list[str]


def borders_of(totals: Totals, most: int) -> tuple[int, tuple[str, ...]]:
    """Up to which digest sources are shown, and where parts begin."""
    below = EVERY
    if totals.clips > most:
        below = EVERY * most // totals.clips
    counts = {video: count for video, count in totals.sample.items() if digest_of(video) < below}
    shown = min(totals.clips, most)
    parts = -(-shown // ROWS_OF_PART)
    sums = np.cumsum([counts[video] for video in sorted(counts)] or [0])
    places = np.searchsorted(sums, [sums[-1] * part / parts for part in range(1, parts)])
    found = {sorted(counts)[place] for place in places} if counts else set()
    return below, tuple(sorted(found))


def shared_out(clips: pa.Table, showing: Showing) -> Iterator[tuple[int, bytes]]:
    """The clips that are shown, by the part that they belong to."""
    videos = clips.column("video").combine_chunks().dictionary_encode()
    names = videos.dictionary.to_pylist()
    part = [
        bisect_right(showing.borders, name) if digest_of(name) < showing.below else -1
        for name in names
    ]
    parts = np.asarray(part, np.int64)[np.asarray(videos.indices)]
    for number in sorted({*part} - {-1}):
        yield number, to_bytes(clips.filter(pa.array(parts == number)))


def to_bytes(clips: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with pa.ipc.new_stream(out, clips.schema, options=options) as stream:
        stream.write_table(clips)
    return bytes(out.getvalue())


def part_of(pieces: Iterable[bytes]) -> pa.Table:
    """The clips of a part in the order in which they are shown."""
    tables = [pa.ipc.open_stream(piece).read_all() for piece in pieces]
    keys = [(name, "ascending") for name in ("video", "start", "end", "id")]
    return pa.concat_tables(tables).sort_by(keys).combine_chunks()


def make_part(
    number: int, clips: pa.Table, showing: Showing, own: Shelf
) -> tuple[Made, list[Sprite]]:
    """Write the tiles of a part, and say which sprites are missing."""
    writing = Writing(own, showing.folder)
    starts = np.flatnonzero(_begins(clips)).tolist()
    source = np.cumsum(_begins(clips)) - 1
    for row, tile in tiles_of_clips(clips, source, showing.words):
        writing.add("clips", tile, row)
    for kind, row, tile in tiles_of_scores(clips, showing.words):
        writing.add(kind, tile, row)
    sprites = [*_drawable(sprites_of(clips, showing.pictures), showing)]
    for row, tile in tiles_of_texts(clips, sprites):
        writing.add("texts", tile, row)
    told = [*sources_of(clips, starts, showing)]
    writing.add_rows("sources", told, ROWS_OF_SOURCES)
    made = Made(
        part=number,
        clips=clips.num_rows,
        sources=len(told),
        names=writing.names,
        starts=writing.starts,
        ids=packed(ids_of(clips.column("id"))),
        videos=[
            digest_of(video) for video in clips.column("video").take(pa.array(starts)).to_pylist()
        ],
        failed=[row["name"] for row in told if row["state"] == FAILED],
        sprites=[sprite.name for sprite in sprites if sprite.name],
    )
    missing = [one for one in sprites if one.name and one.name not in showing.drawn]
    return made, missing


def _begins(clips: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether a clip is the first one of its source."""
    codes = np.asarray(clips.column("video").combine_chunks().dictionary_encode().indices)
    return np.diff(codes, prepend=-1) != 0


def _drawable(sprites: Iterable[Sprite], showing: Showing) -> Iterator[Sprite]:
    """The same; without a name where it would take too long to draw them now."""
    left = showing.to_draw
    for sprite in sprites:
        if sprite.name and sprite.name not in showing.drawn and left is not None:
            left -= sprite.clips
            if left < 0:
                yield sprite._replace(name="")
                continue
        yield sprite


class Writing:
    """Tiles on their way to the shelf, each under a name that says what is in it."""

    def __init__(self, own: Shelf, folder: str) -> None:
        self.own, self.folder = own, folder
        self.names: dict[str, list[str]] = {}
        self.starts: dict[str, list[int]] = {}

    def add(self, kind: str, columns: Mapping[str, Any], first: int = 0) -> None:
        names = self.names.setdefault(kind, [])
        data = script(kind, len(names), columns)
        names.append(f"{kind}-{len(names):04d}.{sha256(data).hexdigest()[:12]}.js")
        self.starts.setdefault(kind, []).append(first)
        self.own.write(f"{self.folder}/{DATA}/{names[-1]}", data)

    def of(self, kind: str) -> tuple[list[str], list[int]]:
        """The names of what was written of a kind, and where each begins."""
        return self.names.get(kind, []), self.starts.get(kind, [])

    def add_rows(self, kind: str, rows: Sequence[Mapping[str, Any]], at_once: int) -> None:
        """Rows that have the same keys, in as many tiles as they need."""
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            self.add(kind, {key: [row[key] for row in some] for key in some[0]}, start)


# ── sources ──────────────────────────────────────────────────────────────────────────────────────


def sources_of(
    clips: pa.Table, starts: Sequence[int], showing: Showing
) -> Iterator[Mapping[str, Any]]:
    """What became of each source; ``first`` is the row of its first clip within the part."""
    firsts = clips.take(pa.array(starts)).select(["video", "source_video", "source"]).to_pylist()
    begin, end = span_of(clips)
    rates, promised = numbers(clips, "framerate_source"), numbers(clips, "source_duration")
    for row, (first, last) in zip(firsts, pairwise([*starts, clips.num_rows]), strict=True):
        name = short(row["source_video"])
        lost = showing.lost.get(name, frozenset())
        spans = spans_of_lost(
            name,
            lost,
            float(rates[first]),
            known=[*zip(begin[first:last], end[first:last], strict=True)] if lost else (),
            stride=showing.stride,
        )
        done = digest_of(row["video"]) in showing.finished
        yield source_row(
            name,
            FAILED if name in showing.lost else DONE if done else UNFINISHED,
            showing,
            first=int(first),
            count=int(last - first),
            seconds=max(float(end[last - 1]), float(promised[first])),
            spans=spans,
            told=told_in(row["source"]),
        )


def source_row(
    name: str,
    state: int,
    showing: Showing,
    *,
    seconds: float,
    told: list[list[str]],
    first: int = 0,
    count: int = 0,
    spans: Sequence[tuple[float, float]] = (),
) -> Mapping[str, Any]:
    return {
        "name": name,
        "state": state,
        "seconds": round(seconds, 3),
        "first": first,
        "count": count,
        "lost": len(showing.lost.get(name, ())),
        "spans": [[round(float(start), 3), round(float(end), 3)] for start, end in spans],
        "told": told,
    }

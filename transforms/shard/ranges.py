"""Ranges: files in which workers bring the clips of a plan into order, none of which is large.

    parts    what a worker saw, divided by range       one Arrow file each, a batch for each range
    ranges   what all workers saw, a range to itself   one Parquet file each, in order, by bins

A range holds some 200,000 clips, whatever the number of all is, so sorting takes the same memory.
Clips are divided by a hash of their ids, which is also where they stand when clips are mixed: so
what is listed twice meets in one range, and ranges are as large as each other. Where clips of a
video stay together, ranges that are sorted by id are divided once more, by sources.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.divided import as_one
from finecut.transforms.shard.plan import DIGEST_BYTES, Piece, Sizes

#: Clips of a range, about.
RANGE_ROWS: Final = 200_000
#: Clips that are read of a range together.
GROUP_ROWS: Final = 8192
#: Files that are read at the same time.
READERS: Final = 8
#: Places of each part by which sources are divided.
SAMPLE: Final = 64

CANDIDATES: Final = pa.schema(
    [
        ("id", pa.string()),
        ("chunk", pa.string()),
        ("source", pa.string()),
        ("start", pa.float64()),
        ("bin", pa.string()),
        ("size", pa.int64()),
        ("order", pa.uint64()),
        ("digest", pa.binary(DIGEST_BYTES)),
        #: Of a clip that could not be looked at: its failure, as JSON.
        ("trouble", pa.string()),
    ]
)
#: What writers ask a range for.
PLANNED: Final = ("id", "chunk", "digest")

Numbers = NDArray[np.int64]
#: A place between sources: a source, and a second of it.
Border = tuple[str, float]


def ranges_for(rows: int) -> int:
    """How many ranges so many clips are divided into."""
    return max(1, -(-rows // RANGE_ROWS))


def range_of(orders: NDArray[np.uint64], ranges: int) -> Numbers:
    """The range of each clip, by where it stands when clips are mixed.

    >>> range_of(np.array([0, 2**63, 2**64 - 1], np.uint64), 4).tolist()
    [0, 2, 3]
    """
    high = orders >> np.uint64(32)
    return ((high * np.uint64(ranges)) >> np.uint64(32)).astype(np.int64)


# ── parts ────────────────────────────────────────────────────────────────────────────────────────


def candidate_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), CANDIDATES)


class Settled(NamedTuple):
    """What became of the clips of a range."""

    #: Those that go into shards, each once.
    clips: pa.Table
    #: What could not be looked at, and is not fine by another of its listings.
    failed: list[str]
    #: How many listings there are besides.
    twice: int


def settled(table: pa.Table) -> Settled:
    """Each id once: what is fine stands above what is not, and the first chunk above others."""
    broken = pc.is_valid(table["trouble"])
    keys = [(name, "ascending") for name in ("id", "broken", "chunk")]
    table = table.append_column("broken", broken).sort_by(keys).combine_chunks()
    single = table.filter(_first_of_each(table["id"]))
    fine = single.filter(pc.invert(single["broken"])).drop_columns(["broken"])
    failed = single.filter(single["broken"])["trouble"].to_pylist()
    return Settled(fine, failed, len(table) - len(single))


def _first_of_each(ids: pa.ChunkedArray) -> pa.Array:
    """Which of these sorted ids is another than the one before."""
    flat = as_one(ids)
    other = pc.not_equal(flat.slice(1), flat.slice(0, max(0, len(flat) - 1)))
    return pa.concat_arrays([pa.array([True]).slice(0, len(flat)), other])


# ── by source ────────────────────────────────────────────────────────────────────────────────────


def sample_of(table: pa.Table) -> tuple[Border, ...]:
    """Some places in the order of sources, the same number of clips apart."""
    rows = table.select(["source", "start"]).sort_by(
        [("source", "ascending"), ("start", "ascending")]
    )
    places = np.unique(np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64))
    some = rows.take(pa.array(places))
    return tuple(zip(some["source"].to_pylist(), some["start"].to_pylist(), strict=True))


def borders_of(samples: Iterable[Border], ranges: int) -> list[Border]:
    """Where the ranges after the first begin, so that they are about as large as each other."""
    known = sorted(samples)
    places = (len(known) * number // ranges for number in range(1, ranges))
    return [known[place] for place in places] if known else []


def range_by_source(table: pa.Table, borders: Sequence[Border]) -> Numbers:
    """The range of each clip."""
    if not borders:
        return np.zeros(len(table), np.int64)
    pairs = zip(table["source"].to_pylist(), table["start"].to_pylist(), strict=True)
    ranked = sorted((pair, place) for place, pair in enumerate(pairs))
    found = np.empty(len(ranked), np.int64)
    number = 0
    for pair, place in ranked:
        while number < len(borders) and borders[number] <= pair:
            number += 1
        found[place] = number
    return found


# ── ranges ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Section:
    """The clips of a range that are in one bin."""

    bin: str
    start: int
    end: int


def path_of(tray: Shelf, number: int) -> str:
    return f"{tray.root}/ranges/{number:06d}.parquet"


def in_order_of_bins(clips: pa.Table, mixed: bool) -> tuple[pa.Table, tuple[Section, ...]]:
    """The clips of a range as they go into shards, and where its bins are."""
    order = ["order"] if mixed else ["source", "start"]
    rows = clips.sort_by([(name, "ascending") for name in ("bin", *order, "id")])
    bins, sections, start = rows["bin"].combine_chunks(), [], 0
    for run in pc.run_end_encode(bins).values.to_pylist() if len(bins) else ():
        end = start + pc.sum(pc.equal(bins, run)).as_py()
        sections.append(Section(run, start, end))
        start = end
    return rows, tuple(sections)


def range_bytes(rows: pa.Table) -> bytes:
    """The file of a range."""
    out = io.BytesIO()
    table = rows.select([*PLANNED, "size"])
    pq.write_table(
        table, out, compression="zstd", row_group_size=GROUP_ROWS, use_dictionary=["chunk"]
    )
    return out.getvalue()


def sizes_in(path: str) -> Sizes:
    """The sizes of all clips of a range."""
    with shelf.open_source(path) as file:
        table = pq.ParquetFile(file).read(columns=["size"], use_threads=False)
    sizes: Sizes = table["size"].to_numpy()
    return sizes


def clips_in(pieces: Iterable[Piece], tray: Shelf) -> Iterator[dict[str, Any]]:
    """The clips of these pieces."""
    for table in in_order(lambda piece: _clips_of(piece, tray), pieces, READERS):
        yield from table.to_pylist()


def _clips_of(piece: Piece, tray: Shelf) -> pa.Table:
    first, last = piece.start // GROUP_ROWS, (piece.end - 1) // GROUP_ROWS
    with shelf.open_source(path_of(tray, piece.range)) as file:
        groups = [*range(first, last + 1)]
        table = pq.ParquetFile(file).read_row_groups(groups, [*PLANNED], use_threads=False)
    return table.slice(piece.start - first * GROUP_ROWS, piece.end - piece.start)

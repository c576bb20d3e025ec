"""Planning shards: which clip goes into which, in what order, under what name.

This is done in one place, on rows that say no more of a clip than it takes: 100 bytes in Arrow, and
375 at the peak, while they are sorted. So 20 million clips take 8 GB (2 million were measured: 0.75
GB, 4 seconds). Documents, vectors and films stay where they are.

    candidates ──sorted──▶ bin by bin ──packed──▶ 00000 00001 … ──digests──▶ which are to be written

Nothing but the dataset and the options enters a plan: not the order in which workers looked, nor
how many there were. A shard's digest stands for every byte that goes into it.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.tables.parquet import from_parquet, to_parquet

#: Changes when the same clips would make other bytes.
FORMAT: Final = b"finecut shard 1"
DIGEST_BYTES: Final = 16
#: Clips whose plans are handed to workers together.
PLAN_ROWS: Final = 200_000
#: Digits of a shard's number, where they are enough.
DIGITS: Final = 5

_TEXT = pa.dictionary(pa.int32(), pa.string())
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
    ]
)
_REPEATED: Final = ("chunk", "source", "bin")
PLANNED: Final = pa.schema(
    [
        ("shard", _TEXT),
        ("digest_of_shard", _TEXT),
        ("id", pa.string()),
        ("chunk", _TEXT),
        ("digest", pa.binary(DIGEST_BYTES)),
    ]
)


@dataclass(frozen=True)
class Candidate:
    """A clip that goes into a shard, as the plan knows it."""

    id: str
    #: Key of its chunk, by which its vector is found.
    chunk: str
    source: str
    start: float
    bin: str
    #: Bytes of its members in an archive.
    size: int
    #: Where it stands when clips are mixed.
    order: int
    #: Stands for all bytes of all members, in hexadecimal.
    digest: str


@dataclass(frozen=True)
class PlannedClip:
    id: str
    chunk: str
    digest: str


@dataclass(frozen=True)
class ShardPlan:
    """What a shard is to hold: the unit of work."""

    name: str
    digest: str
    clips: tuple[PlannedClip, ...]


@dataclass(frozen=True)
class Shards:
    """All shards of a folder: consecutive rows of ``clips``, by where they end."""

    clips: pa.Table
    names: tuple[str, ...]
    ends: tuple[int, ...]
    digests: tuple[str, ...]

    def rows(self, index: int) -> pa.Table:
        start = self.ends[index - 1] if index else 0
        return self.clips.slice(start, self.ends[index] - start)


def mixed_order(clip: str, seed: int) -> int:
    """Where a clip stands when neighbours are to come from different videos."""
    return int(hashlib.blake2b(f"{seed} {clip}".encode(), digest_size=8).hexdigest(), 16)


def candidate_table(rows: Iterable[Candidate]) -> bytes:
    """Candidates as a Parquet file."""
    told = [asdict(row) | {"digest": bytes.fromhex(row.digest)} for row in rows]
    return to_parquet(pa.Table.from_pylist(told, CANDIDATES), compression="zstd")


def read_candidates(data: bytes) -> pa.Table:
    """The same as a table, with what stands there again and again as a dictionary."""
    return from_parquet(data, read_dictionary=list(_REPEATED))


def in_order_of_shards(tables: Sequence[pa.Table], mixed: bool) -> tuple[pa.Table, int]:
    """All candidates, each id once, in the order in which they go into shards; and how many were
    listed more than once."""
    if not tables:
        return _ranked(pa.Table.from_pylist([], CANDIDATES)), 0
    table = _ranked(pa.concat_tables(tables).unify_dictionaries().combine_chunks())
    table = table.sort_by([("id", "ascending"), ("chunk rank", "ascending")])
    single = table.filter(_first_of_each(table["id"]))
    order = ["order"] if mixed else ["source rank", "start"]
    keys = [(name, "ascending") for name in ("bin rank", *order, "id")]
    return single.sort_by(keys).combine_chunks(), len(table) - len(single)


def shards_of(clips: pa.Table, most_bytes: int, most_clips: int) -> Shards:
    """Clips that are in order, packed: bin by bin, each counted from 0."""
    sizes = clips["size"].to_numpy()
    digests = _digests(clips)
    names: list[str] = []
    ends: list[int] = []
    for bin, start, end in _runs(clips):
        local = list(packed(sizes[start:end], most_bytes, most_clips))
        digits = max(DIGITS, len(str(len(local) - 1)))
        names += [posixpath.join(bin, f"{number:0{digits}d}") for number in range(len(local))]
        ends += [start + at for at in local]
    of_shards = [
        digest_of_shard(name, digests[start:end])
        for name, (start, end) in zip(names, pairwise([0, *ends]), strict=True)
    ]
    return Shards(clips, tuple(names), tuple(ends), tuple(of_shards))


def packed(sizes: Sequence[int], most_bytes: int, most_clips: int = 0) -> Iterator[int]:
    """Where each shard ends, so that none has more bytes or clips than this; 0 clips: any number.

    What is larger than a shard may be has one to itself.

    >>> list(packed([4, 4, 4, 20, 1], most_bytes=10))
    [2, 3, 4, 5]
    """
    until = np.cumsum(np.asarray(sizes, np.int64))
    start, before, count = 0, 0, len(until)
    while start < count:
        end = int(np.searchsorted(until, before + most_bytes, side="right"))
        if most_clips:
            end = min(end, start + most_clips)
        start = max(end, start + 1)
        before = int(until[start - 1])
        yield start


def digest_of_shard(name: str, digests: np.ndarray[tuple[int, ...], np.dtype[np.void]]) -> str:
    """Stands for a shard of this name whose clips have these digests."""
    said = FORMAT + f" {name} {len(digests)} ".encode() + digests.tobytes()
    return hashlib.sha256(said).hexdigest()


def digest_of(name: str, digests: Sequence[str]) -> str:
    """The same for digests in hexadecimal."""
    return digest_of_shard(name, np.frombuffer(bytes.fromhex("".join(digests)), f"V{DIGEST_BYTES}"))


def without(clips: pa.Table, ids: Iterable[str]) -> pa.Table:
    """The clips that are not among these."""
    gone = pa.array(sorted(ids), pa.string())
    return clips.filter(pc.invert(pc.is_in(clips["id"], gone))).combine_chunks()


def plan_tables(shards: Shards, wanted: Iterable[int]) -> Iterator[bytes]:
    """The plans of these shards as Parquet files of a size to be handed out."""
    held: list[pa.Table] = []
    for index in wanted:
        held.append(_plan(shards, index))
        if sum(map(len, held)) >= PLAN_ROWS:
            yield _parquet(held)
            held = []
    if held:
        yield _parquet(held)


def read_plans(data: bytes) -> Iterator[ShardPlan]:
    """The plans in such a file."""
    rows = from_parquet(data).to_pylist()
    for (name, digest), clips in groupby(rows, key=itemgetter("shard", "digest_of_shard")):
        planned = (PlannedClip(row["id"], row["chunk"], row["digest"].hex()) for row in clips)
        yield ShardPlan(name, digest, tuple(planned))


def _plan(shards: Shards, index: int) -> pa.Table:
    clips = shards.rows(index)
    columns = {
        "shard": [shards.names[index]] * len(clips),
        "digest_of_shard": [shards.digests[index]] * len(clips),
        "id": clips["id"],
        "chunk": clips["chunk"].cast(pa.string()),
        "digest": clips["digest"],
    }
    return pa.table(columns).cast(PLANNED)


def _parquet(tables: Sequence[pa.Table]) -> bytes:
    return to_parquet(pa.concat_tables(tables).unify_dictionaries(), compression="zstd")


def _ranked(table: pa.Table) -> pa.Table:
    """With a number for each text that is repeated, in the order of the texts: quick to sort by."""
    for name in _REPEATED:
        column = table[name].combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        ranks = np.argsort(np.argsort(np.array(column.dictionary.to_pylist(), object)))
        codes = column.indices.to_numpy(zero_copy_only=False)
        table = table.append_column(f"{name} rank", pa.array(ranks[codes].astype(np.int64)))
    return table


def _first_of_each(ids: pa.ChunkedArray) -> pa.Array:
    """Which of these sorted ids is another than the one before."""
    flat = ids.combine_chunks()
    other = pc.not_equal(flat.slice(1), flat.slice(0, max(0, len(flat) - 1)))
    return pa.concat_arrays([pa.array([True]).slice(0, len(flat)), other])


def _runs(clips: pa.Table) -> Iterator[tuple[str, int, int]]:
    """Each bin, and where its clips start and end."""
    ranks = clips["bin rank"].to_numpy()
    borders = [0, *(np.flatnonzero(np.diff(ranks)) + 1).tolist(), len(ranks)]
    return (
        (str(clips["bin"][start].as_py()), start, end)
        for start, end in pairwise(borders)
        if start < end
    )


def _digests(clips: pa.Table) -> np.ndarray[tuple[int, ...], np.dtype[np.void]]:
    """The clips' digests as one block of bytes."""
    column = clips["digest"].combine_chunks()
    values = column.buffers()[1]
    if values is None or not len(column):
        return np.empty(0, f"V{DIGEST_BYTES}")
    return np.frombuffer(values, f"V{DIGEST_BYTES}")[column.offset : column.offset + len(column)]

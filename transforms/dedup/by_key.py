"""By key: rows of tables that belong together are brought together, however many there are.

    pairs ─▶ lay(…, by="first") ─▶ one file  ▕ bucket 0 ▏ bucket 1 ▏ … ▏   a Part of it for each
    the parts of bucket 1, of all files ─▶ rows_of(…) ─▶ one table

Which bucket a key belongs to follows from the key alone. Parts travel through a GroupByKey, rows
rest in staging: the local runner would hold them in memory otherwise, four times their size. How
many buckets there are follows from the number of rows, so that each fits into the memory of any
worker; nothing that is found depends on it.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.transforms.dedup.clusters import Indices, Settled

Numbers = NDArray[np.uint64]

#: Pairs in a bucket, about: with both their ends a hundred megabytes at most.
BUCKET_PAIRS: Final = 1 << 18
MOST_BUCKETS: Final = 4096
#: Rows that are laid down in one file.
ROWS_AT_ONCE: Final = 1 << 19
#: What the letters of a key are multiplied with (FNV), and what mixes the sum (SplitMix64).
_BASE: Final = np.uint64(0x100000001B3)
_MIXERS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Part:
    """Rows of one bucket, laid down in a file that may hold those of others, too."""

    kind: str
    path: str
    offset: int
    length: int
    rows: int


#: A part, and the bucket that it belongs to.
Keyed = tuple[int, Part]


def buckets_for(settled: Settled, most: int = BUCKET_PAIRS) -> int:
    """How many buckets these clusters need, if so many pairs are about enough for one."""
    # Earlier versions did not count pairs: there are some for each vector.
    pairs = 8 * settled.items if settled.pairs is None else settled.pairs
    rows = max(pairs, settled.items)
    return min(MOST_BUCKETS, max(1, -(-rows // most)))


def numbers_of(keys: pa.Array | pa.ChunkedArray, seed: int = 0) -> Numbers:
    """A number for each text that looks drawn by chance, and is always the same.

    >>> one, other, again = numbers_of(pa.array(["a", "longer", "a"])).tolist()
    >>> one == again, one == other
    (True, False)
    """
    texts = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    found = np.empty(len(texts), np.uint64)
    # Texts of one length are a matrix of letters; usually all ids are.
    for length in np.unique(lengths).tolist():
        which = np.flatnonzero(lengths == length)
        some = texts if len(which) == len(texts) else texts.take(pa.array(which))
        found[which] = _mixed(_letters(some, length), seed)
    return found


def _letters(texts: pa.Array, length: int) -> NDArray[np.uint8]:
    """One row for each text, all of which have so many bytes."""
    _, offsets, data = texts.buffers()
    first = np.frombuffer(offsets, np.int32)[texts.offset] if length else 0
    number = len(texts) * length
    letters = np.frombuffer(data, np.uint8, number, first) if number else np.zeros(0, np.uint8)
    return letters.reshape(len(texts), length)


def _mixed(letters: NDArray[np.uint8], seed: int) -> Numbers:
    found = np.full(len(letters), seed, np.uint64)
    with np.errstate(over="ignore"):
        for column in letters.T:
            found = found * _BASE + column
        for shift, mixer in _MIXERS:
            found = (found ^ (found >> np.uint64(shift))) * np.uint64(mixer)
    return found ^ (found >> np.uint64(31))


def lay(table: pa.Table, by: str, kind: str, place: "Place") -> Iterator[Keyed]:
    """Lay the rows of a table down by the bucket that this column says."""
    if not len(table):
        return
    buckets = (numbers_of(table.column(by)) % np.uint64(place.buckets)).astype(np.int64)
    order = np.argsort(buckets, kind="stable")
    borders = np.flatnonzero(np.diff(buckets[order], prepend=-1, append=-1))
    rows = table.take(pa.array(order)).combine_chunks()
    out = io.BytesIO()
    path = f"{place.folder}/{kind}"
    for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        offset = out.tell()
        _write(rows.slice(start, end - start), out)
        length = out.tell() - offset
        yield int(buckets[order[start]]), Part(kind, path, offset, length, rows=end - start)
    place.own.write(path, out.getvalue())


def lay_here(table: pa.Table, bucket: int, kind: str, place: "Place") -> Iterator[Keyed]:
    """Lay rows down that all belong to one bucket."""
    if len(table):
        out = io.BytesIO()
        _write(table, out)
        path = f"{place.folder}/{kind}"
        place.own.write(path, out.getvalue())
        yield bucket, Part(kind, path, 0, out.tell(), rows=len(table))


def lay_slices(table: pa.Table, most: int, kind: str, place: "Place") -> Iterator[Part]:
    """Lay rows down in parts of at most so many, in their order."""
    if not len(table):
        return
    out, path = io.BytesIO(), f"{place.folder}/{kind}"
    for start in range(0, len(table), most):
        offset, some = out.tell(), table.slice(start, most)
        _write(some, out)
        yield Part(kind, path, offset, out.tell() - offset, rows=len(some))
    place.own.write(path, out.getvalue())


class Place(NamedTuple):
    """Where rows are laid down, and in how many buckets; nobody else lays any in this folder."""

    folder: str
    buckets: int
    own: Shelf


def _write(table: pa.Table, out: io.BytesIO) -> None:
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)


def rows_of(parts: Iterable[Part], kind: str, schema: pa.Schema) -> pa.Table:
    """The rows of all parts of this kind; in whichever order the parts came."""
    wanted = sorted((p for p in parts if p.kind == kind), key=lambda p: (p.path, p.offset))
    return pa.concat_tables([schema.empty_table(), *map(read, wanted)]).combine_chunks()


def read(part: Part) -> pa.Table:
    return pa.ipc.open_stream(shelf.read_part(part.path, part.offset, part.length)).read_all()


def in_blocks(tables: Iterable[pa.Table], most: int = ROWS_AT_ONCE) -> Iterator[pa.Table]:
    """The same rows in tables of about that many: many small ones are put together."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= most:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


@dataclass(eq=False, repr=False)
class Together(beam.PTransform[Any, beam.PCollection[Any]]):
    """Several collections of parts by bucket → each bucket, and all parts of it."""

    def expand(self, parts: Any) -> beam.PCollection[Any]:
        return (
            parts
            | "All" >> beam.Flatten()
            # Whose keys engines can compare.
            | "Keyed" >> beam.Map(_itself).with_output_types(Keyed)
            | "Buckets" >> beam.GroupByKey()
        )


def _itself(keyed: Keyed) -> Keyed:
    return keyed


class Coded(NamedTuple):
    """Columns of texts as numbers, in the order of the texts."""

    names: pa.Array
    columns: list[Indices]

    def texts(self, which: NDArray[np.integer]) -> pa.Array:
        return self.names.take(pa.array(which))


def coded(columns: Sequence[pa.ChunkedArray | pa.Array]) -> Coded:
    """These columns, each text by its number among all of them.

    >>> found = coded([pa.array(["b", "c"]), pa.array(["c", "a"])])
    >>> found.names.to_pylist(), [column.tolist() for column in found.columns]
    (['a', 'b', 'c'], [[1, 2], [2, 0]])
    """
    arrays = [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns]
    both = pa.concat_arrays(arrays).dictionary_encode()
    order = pc.sort_indices(both.dictionary).to_numpy()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    codes = places[both.indices.to_numpy()]
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return Coded(both.dictionary.take(pa.array(order)), np.split(codes, ends))

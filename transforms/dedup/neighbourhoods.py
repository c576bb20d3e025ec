"""Neighbourhoods: from tables of vectors to clusters on the shelf and the near pairs among them.

    tables ─▶ Portion ─▶ Sampled ─▶ Fitted (centroids) ─▶ Slice ─▶ Piece ─▶ Compared ─▶ Settled
    ═══ shelf ═══════════ a sample ══ centroids.npy ═════ piles ═══ pieces ══ clusters, pairs ══════

Records travel, bytes rest: no vector goes from step to step. Each portion of the tables is laid
down in a pile sorted by clusters (:mod:`finecut.io.tables.piles`), and what travels says where in
it a cluster's slice is. A GroupByKey over the vectors themselves would do the same, but the local
runner holds what flows through one in memory, four times its size; so memory does not grow with the
number of vectors, and a store is asked for parts of files only.

What is laid down where depends on the tables and never on the number of workers, so the same tables
give the same bytes.
"""

import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise as neighbouring
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import TaggedOutput
from apache_beam.typehints import List as BeamList
from apache_beam.typehints import Tuple as BeamTuple
from numpy.typing import NDArray

from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables import piles
from finecut.io.tables.piles import Rows
from finecut.transforms.beam.metrics import count
from finecut.transforms.dedup.clusters import Floats, Indices, fit, nearest, normalised
from finecut.transforms.dedup.near import lots, nearest_before, neighbours, ranked

#: Folders and files of what is written, as the reference calls them where it has them.
CLUSTERS, PAIRWISE, PAIRS = "kmeans_results", "pairwise_results", "pairs"
CENTROIDS = "kmeans_centroids.npy"
PARQUET = ".parquet"
TROUBLES, POINTLESS = "troubles", "pointless"

#: Tables are dealt in portions: at most so many in one, and at least so many portions.
MOST_TABLES, LEAST_PORTIONS = 64, 8
#: A pile is closed at so many bytes of vectors.
PILE_BYTES: Final = 32 << 20
#: The sample that centroids are fitted to: at most so many vectors, and bytes of them.
SAMPLE_ROWS, SAMPLE_BYTES = 32_768, 128 << 20
#: A cluster for so many vectors, and no more clusters than that: what is larger is split later.
CLUSTER_ROWS, MOST_CLUSTERS = 1000, 1024
#: Below this comparing all with all is quicker.
FEW: Final = 2000
#: What is compared at once: larger clusters are split.
PIECE_ROWS, PIECE_BYTES = 8192, 96 << 20
#: How often what is too large is split, before it is just divided.
DEPTH: Final = 3
#: Those of a crowd that lie in all of its parts: the first ones by each ranking.
LEADERS: Final = 16
#: Draws samples, whatever else is drawn.
SAMPLING: Final = 7

PAIR_SCHEMA: Final = pa.schema(
    [
        ("first", pa.string()),
        ("second", pa.string()),
        ("cosine", pa.float32()),
        ("first_distance", pa.float32()),
        ("second_distance", pa.float32()),
    ]
)


@dataclass(frozen=True)
class Clustering:
    """What vectors are clustered and compared with."""

    own: Shelf
    #: The folder of tables.
    tables: str
    #: ``None``: as many as suit the number of vectors.
    clusters: int | None = None
    #: In so many clusters, the nearest ones, each vector meets others.
    probes: int = 4
    #: Pairs of a lower cosine are not kept.
    floor: float = 0.7
    keep: str = "hard"
    seed: int = 42
    piece_rows: int = PIECE_ROWS
    #: What is said of the vectors, in the tables that hold them.
    facts: tuple[tuple[str, str], ...] = ()

    def path(self, name: str) -> str:
        return f"{self.own.root}/{name}"

    def staged(self, name: str) -> str:
        return f"{self.own.staging}/{name}"

    def cluster(self, centroid: int, number: int) -> str:
        return self.path(f"{CLUSTERS}/centroid={centroid}/{number}{PARQUET}")

    def pairs(self, centroid: int, number: int) -> str:
        return self.path(f"{PAIRS}/{centroid}_{number}{PARQUET}")

    def pairwise(self, centroid: int) -> str:
        return self.path(f"{PAIRWISE}/cluster_{centroid}{PARQUET}")


# ── the records ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Portion:
    """Tables that one worker reads."""

    index: int
    tables: tuple[str, ...]
    #: How many portions there are.
    of: int


@dataclass(frozen=True)
class Sampled:
    """A portion's part of the sample rests at ``path``."""

    portion: int
    path: str
    rows: int
    dimension: int
    num_bytes: int


@dataclass(frozen=True)
class Fitted:
    """Centroids rest at ``path``."""

    path: str
    clusters: int
    dimension: int
    digest: str


@dataclass(frozen=True)
class Trouble:
    """A table that is left out, and why."""

    table: str
    said: str


@dataclass(frozen=True)
class Slice:
    """Vectors of one cluster: part of a pile."""

    centroid: int
    path: str
    offset: int
    length: int
    home: int
    visiting: int

    @property
    def rows(self) -> int:
        return self.home + self.visiting


@dataclass(frozen=True)
class Piece:
    """What is compared at once: a cluster, or a part of one that is too large."""

    centroid: int
    number: int
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class Compared:
    """A piece's vectors, and the near pairs among them, are on the shelf."""

    centroid: int
    number: int
    items: int
    pairs: int


@dataclass(frozen=True)
class Settled:
    """All clusters are on the shelf."""

    dimension: int
    items: int
    #: Vectors that point nowhere (zeros, no numbers): nobody's duplicates, in no cluster.
    pointless: int
    #: Each centroid that anybody is at home at, and the number of its pieces.
    pieces: tuple[tuple[int, int], ...]
    troubles: tuple[str, ...] = ()


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def portions(tables: Sequence[str]) -> list[Portion]:
    """Consecutive tables, however many workers there are."""
    size = min(MOST_TABLES, max(1, -(-len(tables) // LEAST_PORTIONS)))
    parts = [tuple(tables[start : start + size]) for start in range(0, len(tables), size)]
    return [Portion(index, part, len(parts)) for index, part in enumerate(parts)]


class _Read(NamedTuple):
    """Some thousand vectors: those that point somewhere, and how many do not."""

    ids: NDArray[np.str_]
    vectors: Floats
    pointless: int


def _read(tables: Iterable[str]) -> Iterator[_Read | Trouble]:
    for table in tables:
        try:
            for ids, vectors in piles.read_vectors(table):
                rows = normalised(vectors)
                somewhere = rows.any(axis=1)
                named = np.array(ids, np.str_)[somewhere]
                yield _Read(named, rows[somewhere], len(rows) - len(named))
        except ValueError as error:
            yield Trouble(table, str(error))


def sampled(portion: Portion, clustering: Clustering) -> Sampled:
    """The vectors of the portion whose ids drew the lowest lots, laid down."""
    lowest: Rows | None = None
    rows = dimension = 0
    for read in _read(portion.tables):
        if isinstance(read, Trouble) or not len(read.ids):
            continue
        width = read.vectors.shape[1]
        if lowest is not None and width != dimension:
            continue  # said when it is laid down
        dimension, rows = width, rows + len(read.ids)
        part = _unplaced(read)
        part = part if lowest is None else piles.together([lowest, part])
        most = min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * width)) // portion.of + 1
        lowest = part.take(np.sort(np.argsort(lots(part.ids, SAMPLING), kind="stable")[:most]))
    path = clustering.staged(f"sample/{portion.index}")
    size = clustering.own.write(path, piles.to_bytes(lowest)) if lowest is not None else 0
    return Sampled(portion.index, path, rows, dimension, size)


def _unplaced(read: _Read) -> Rows:
    nowhere = np.zeros(len(read.ids), np.float32)
    return Rows(read.ids, read.vectors, nowhere, nowhere.astype(bool))


# ── centroids ────────────────────────────────────────────────────────────────────────────────────


def fitted(samples: Iterable[Sampled], clustering: Clustering) -> Fitted:
    """Centroids of the whole sample, on the shelf."""
    found = sorted((s for s in samples if s.rows), key=lambda sample: sample.portion)
    counts: dict[int, int] = {}
    for sample in found:
        counts[sample.dimension] = counts.get(sample.dimension, 0) + sample.rows
    dimension = max(counts, key=lambda width: counts[width], default=1)
    rows = [
        piles.from_bytes(shelf.read(sample.path))
        for sample in found
        if sample.dimension == dimension
    ]
    if rows:
        sample_rows = piles.together(rows)
        vectors = sample_rows.vectors[np.argsort(sample_rows.ids, kind="stable")]
    else:
        vectors = np.zeros((0, dimension), np.float32)
    total = counts.get(dimension, 0)
    centroids = fit(vectors, clustering.clusters or usual_clusters(total), clustering.seed)
    out = io.BytesIO()
    np.save(out, centroids)
    path = clustering.path(CENTROIDS)
    clustering.own.write(path, out.getvalue())
    digest = hashlib.sha256(out.getvalue()).hexdigest()
    return Fitted(path, len(centroids), dimension, digest)


def usual_clusters(rows: int) -> int:
    """How many clusters suit so many vectors: none is large, and few are very small.

    >>> usual_clusters(1999), usual_clusters(200_000), usual_clusters(10**9)
    (1, 200, 1024)
    """
    return 1 if rows < FEW else min(MOST_CLUSTERS, rows // CLUSTER_ROWS)


@lru_cache(maxsize=4)
def centroids_at(path: str, _digest: str) -> Floats:
    """Read once in a process, and not for each portion."""
    centroids: Floats = np.load(io.BytesIO(shelf.read(path)))
    return centroids


# ── laying down ──────────────────────────────────────────────────────────────────────────────────


class Laid(NamedTuple):
    """What became of a portion."""

    slices: list[Slice]
    pointless: int
    troubles: list[Trouble]


def laid(portion: Portion, centroids: Floats, clustering: Clustering) -> Laid:
    """The portion's vectors in piles, each in its nearest clusters."""
    result = Laid([], 0, [])
    waiting: list[Rows] = []
    homes: list[Indices] = []
    number = pointless = 0

    def lay() -> None:
        nonlocal number
        if waiting:
            path = clustering.staged(f"piles/{portion.index}_{number}")
            pile = _pile(piles.together(waiting), np.concatenate(homes), path, clustering.own)
            result.slices.extend(pile)
            number += 1
            waiting.clear()
            homes.clear()

    for read in _read(portion.tables):
        if isinstance(read, Trouble):
            result.troubles.append(read)
            continue
        pointless += read.pointless
        if len(read.ids) and read.vectors.shape[1] != centroids.shape[1]:
            result.troubles.append(_of_another_model(portion, read, centroids))
            continue
        if not len(read.ids):
            continue
        own = nearest(read.vectors, centroids, clustering.probes)[0]
        cosines = np.einsum(
            "ij,ij->i", read.vectors.astype(np.float64), centroids[own[:, 0]], dtype=np.float64
        )
        distances = (1 - cosines).astype(np.float32)
        waiting.append(Rows(read.ids, read.vectors, distances, np.ones(len(own), bool)))
        homes.append(own)
        if sum(rows.vectors.nbytes for rows in waiting) >= PILE_BYTES:
            lay()
    lay()
    return result._replace(pointless=pointless)


def _of_another_model(portion: Portion, read: _Read, centroids: Floats) -> Trouble:
    return Trouble(
        portion.tables[0],
        f"{len(read.ids)} vectors in {portion.tables[0]} or the tables after it have "
        f"{read.vectors.shape[1]} numbers and most others {centroids.shape[1]}: those of two "
        "models cannot be compared. Usually tables were copied into one folder",
    )


def _pile(rows: Rows, own: Indices, path: str, shelf_of: Shelf) -> list[Slice]:
    """Rows laid down at the clusters named for each, the first of which it is at home in."""
    clusters = own.ravel()
    which = np.repeat(np.arange(len(own)), own.shape[1])
    home = np.zeros(own.shape, bool)
    home[:, 0] = True
    at_home = home.ravel() & rows.home[which]
    order = np.argsort(clusters, kind="stable")
    borders = np.flatnonzero(np.diff(clusters[order], prepend=-1, append=-1))
    data, slices, offset = [], [], 0
    for start, end in neighbouring(borders.tolist()):
        here = order[start:end]
        part = rows.take(which[here])._replace(home=at_home[here])
        blob = piles.to_bytes(part)
        num_home = int(part.home.sum())
        centroid = int(clusters[here[0]])
        slices.append(Slice(centroid, path, offset, len(blob), num_home, len(here) - num_home))
        data.append(blob)
        offset += len(blob)
    shelf_of.write(path, b"".join(data))
    return slices


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────


def pieces(
    centroid: int, slices: Iterable[Slice], clustering: Clustering, dimension: int
) -> Iterator[Piece]:
    """The cluster, if it can be held and compared at once; else the parts it is split into."""
    ordered = sorted(slices, key=lambda s: (s.path, s.offset))
    most = max(2, min(clustering.piece_rows, PIECE_BYTES // (4 * dimension)))
    parts = _divided(ordered, f"pieces/{centroid}", clustering, most, DEPTH)
    number = 0
    for part in parts:
        # Without anybody at home there is nobody to compare with the visitors.
        if any(slice_.home for slice_ in part):
            named = tuple(dataclasses.replace(slice_, centroid=centroid) for slice_ in part)
            yield Piece(centroid, number, named)
            number += 1


def _divided(
    slices: list[Slice], name: str, clustering: Clustering, most: int, depth: int
) -> Iterator[list[Slice]]:
    rows = sum(slice_.rows for slice_ in slices)
    if rows <= most:
        yield slices
        return
    again = _split(slices, name, clustering, most, rows) if depth else {}
    if not again or max(sum(s.rows for s in part) for part in again.values()) > 0.9 * rows:
        # They all point the same way: no border lies between them.
        yield from _dealt(slices, name, clustering, most)
        return
    for number, part in sorted(again.items()):
        yield from _divided(part, f"{name}.{number}", clustering, most, depth - 1)


def _split(
    slices: list[Slice], name: str, clustering: Clustering, most: int, rows: int
) -> dict[int, list[Slice]]:
    """The same rows at centroids of their own, fitted to a part of them."""
    share = max(1, rows * 4 // SAMPLE_ROWS)
    some = [part.take(lots(part.ids, SAMPLING) % np.uint64(share) == 0) for part in _open(slices)]
    sample = piles.together(some)
    sample = sample.take(np.argsort(sample.ids, kind="stable"))
    centroids = fit(sample.vectors, -(-2 * rows // most), clustering.seed)
    if len(centroids) < 2:
        return {}
    found: dict[int, list[Slice]] = {}
    for number, part in enumerate(_open(slices)):
        # Visitors visit one part only: each visit is paid for in all who live there.
        own = nearest(part.vectors, centroids, min(2, clustering.probes))[0]
        path = clustering.staged(f"{name}/{number}")
        for slice_ in _pile(part, own, path, clustering.own):
            found.setdefault(slice_.centroid, []).append(slice_)
    return found


def _dealt(
    slices: list[Slice], name: str, clustering: Clustering, most: int
) -> Iterator[list[Slice]]:
    """The rows in equal parts, each with the first ones of all as visitors: they are who stays."""
    leaders = _leaders(slices, clustering.seed)
    waiting: list[Rows] = []
    number = 0

    def lay(rows: Rows, others: Rows) -> list[Slice]:
        both = piles.together([rows, others])
        path = clustering.staged(f"{name}/dealt_{number}")
        return _pile(both, np.zeros((len(both.ids), 1), np.int64), path, clustering.own)

    for part in _open(slices):
        waiting.append(part)
        rows = piles.together(waiting)
        while len(rows.ids) >= most:
            yield lay(rows.take(np.arange(most)), _without(leaders, rows.ids[:most]))
            rows = rows.take(np.arange(most, len(rows.ids)))
            number += 1
        waiting = [rows]
    [rest] = waiting
    if len(rest.ids):
        yield lay(rest, _without(leaders, rest.ids))


def _without(leaders: Rows, ids: NDArray[np.str_]) -> Rows:
    return leaders.take(~np.isin(leaders.ids, ids))


def _leaders(slices: list[Slice], seed: int) -> Rows:
    first: Rows | None = None
    for part in _open(slices):
        rows = part if first is None else piles.together([first, part])
        chosen = np.unique(np.concatenate([order[:LEADERS] for order in rankings(rows, seed)]))
        first = rows.take(chosen)
    assert first is not None
    return first._replace(home=np.zeros(len(first.ids), bool))


def rankings(rows: Rows, seed: int) -> list[Indices]:
    """The rows in the order of each rule."""
    hard = ranked(rows.distances, rows.ids, "hard", seed)
    return [hard, hard[::-1], ranked(rows.distances, rows.ids, "random", seed)]


def _open(slices: Iterable[Slice]) -> Iterator[Rows]:
    for slice_ in slices:
        data = shelf.read_part(slice_.path, slice_.offset, slice_.length)
        yield piles.from_bytes(data)


# ── comparing ────────────────────────────────────────────────────────────────────────────────────


def compared(piece: Piece, clustering: Clustering) -> Compared:
    """The piece's vectors and near pairs, as tables."""
    rows = piles.together(list(_open(piece.slices)))
    # Those at home first; the order in which slices came is forgotten.
    rows = rows.take(np.lexsort((rows.ids, ~rows.home)))
    home = int(rows.home.sum())
    own = clustering.own
    own.write(
        clustering.cluster(piece.centroid, piece.number),
        cluster_table(rows.take(np.arange(home)), clustering.facts),
    )
    near = neighbours(rows.vectors, home, clustering.floor, rankings(rows, clustering.seed))
    others = rows.ids[near.first] != rows.ids[near.second]
    first, second = near.first[others], near.second[others]
    swap = rows.ids[first] > rows.ids[second]
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    order = np.lexsort((rows.ids[second], rows.ids[first]))
    first, second = first[order], second[order]
    table = pa.table(
        {
            "first": rows.ids[first].tolist(),
            "second": rows.ids[second].tolist(),
            "cosine": near.cosine[others][order],
            "first_distance": rows.distances[first],
            "second_distance": rows.distances[second],
        },
        schema=PAIR_SCHEMA,
    )
    own.write(clustering.pairs(piece.centroid, piece.number), to_parquet(table))
    return Compared(piece.centroid, piece.number, home, len(first))


def cluster_table(rows: Rows, facts: Iterable[tuple[str, str]] = ()) -> bytes:
    """Who is at home in a cluster, with the columns the reference has."""
    dimension = rows.vectors.shape[1]
    offsets = np.arange(len(rows.ids) + 1, dtype=np.int32) * dimension
    vectors = pa.ListArray.from_arrays(offsets, np.ascontiguousarray(rows.vectors).ravel())
    # Of vectors of length 1 the one distance follows from the other.
    euclidean = np.sqrt(2 * np.maximum(rows.distances.astype(np.float64), 0))
    table = pa.table(
        {
            "id": pa.array(rows.ids.tolist(), pa.string()),
            "embedding": vectors,
            "l2_dist_to_cent": euclidean.astype(np.float32),
            "cosine_dist_to_cent": rows.distances,
        }
    )
    metadata = {f"finecut.{name}": said for name, said in facts}
    return to_parquet(table.replace_schema_metadata(metadata or None))


def to_parquet(table: pa.Table, row_group_size: int | None = None) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="snappy", row_group_size=row_group_size)
    return out.getvalue()


def pairwise(centroid: int, count_of: int, clustering: Clustering) -> int:
    """The reference's table of a cluster, from what lies on the shelf: for each item the nearest
    of those that are ranked before it. The number of its rows.

    Of a cluster that was split, those of the same part.
    """
    parts = []
    for number in range(count_of):
        rows = _at_home(clustering.cluster(centroid, number))
        order = ranked(rows.distances, rows.ids, clustering.keep, clustering.seed)
        ids = rows.ids[order]
        found, cosines = nearest_before(rows.vectors[order])
        columns = {"id": ids.tolist(), "max_id": ids[found].tolist(), "cosine_sim_score": cosines}
        parts.append(pa.table(columns))
    table = pa.concat_tables(parts)
    clustering.own.write(clustering.pairwise(centroid), to_parquet(table))
    return len(table)


def _at_home(path: str) -> Rows:
    table = pq.read_table(io.BytesIO(shelf.read(path)))
    column = table.column("embedding").combine_chunks()
    vectors = column.values.to_numpy().reshape(len(table), -1)
    distances = table.column("cosine_dist_to_cent").to_numpy()
    ids = np.array(table.column("id").to_pylist(), np.str_)
    return Rows(ids, vectors, distances, np.ones(len(ids), bool))


# ── the transforms ───────────────────────────────────────────────────────────────────────────────


class Cluster(beam.PTransform[Any, beam.PCollection[Settled]]):
    """The folder of tables → one :class:`Settled`, when all clusters are on the shelf.

    ``settle`` is told of it first: what it writes is there when the record comes out.
    """

    def __init__(self, clustering: Clustering, settle: Callable[[Settled], None]) -> None:
        super().__init__()
        self.clustering, self.settle = clustering, settle

    def expand(self, begin: Any) -> beam.PCollection[Settled]:
        clustering = self.clustering
        dealt = (
            begin
            | "Folder" >> beam.Create([clustering.tables])
            | "Portions" >> beam.FlatMap(_portions_in).with_output_types(Portion)
            | "Deal" >> beam.Reshuffle()
        )
        fit_all = (
            dealt
            | "Sample" >> beam.Map(sampled, clustering).with_output_types(Sampled)
            | "All samples" >> Together(Sampled)
            | "Fit" >> beam.Map(fitted, clustering).with_output_types(Fitted)
        )
        lay = dealt | "Lay down" >> beam.ParDo(
            _Lay(clustering), beam.pvalue.AsSingleton(fit_all)
        ).with_outputs(TROUBLES, POINTLESS, main="slices")
        found = (
            lay.slices
            | "By cluster" >> beam.Map(_by_cluster).with_output_types(tuple[int, Slice])
            | "Clusters" >> beam.GroupByKey()
            | "Pieces"
            >> beam.FlatMap(
                _pieces, clustering, beam.pvalue.AsSingleton(fit_all)
            ).with_output_types(Piece)
            | "Deal pieces" >> beam.Reshuffle()
            | "Compare" >> beam.Map(_compare, clustering).with_output_types(Compared)
        )
        return fit_all | "Settle" >> beam.Map(
            _settle,
            self.settle,
            beam.pvalue.AsList(found),
            beam.pvalue.AsList(lay[TROUBLES]),
            beam.pvalue.AsList(lay[POINTLESS]),
        ).with_output_types(Settled)


class Rank(beam.PTransform[beam.PCollection[Settled], beam.PCollection[int]]):
    """Settled clusters → the reference's tables of them; how many rows each has."""

    def __init__(self, clustering: Clustering) -> None:
        super().__init__()
        self.clustering = clustering

    def expand(self, settled: beam.PCollection[Settled]) -> beam.PCollection[int]:
        return (
            settled
            | "Each" >> beam.FlatMap(_each_cluster).with_output_types(tuple[int, int])
            | "Deal" >> beam.Reshuffle()
            | "Pairwise" >> beam.Map(_pairwise, self.clustering).with_output_types(int)
        )


class Together(beam.PTransform[beam.PCollection[Any], beam.PCollection[Any]]):
    """Records → one list of all of them."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind: Any = kind

    def expand(self, records: beam.PCollection[Any]) -> beam.PCollection[Any]:
        kind: Any = self.kind
        keyed: Any = BeamTuple[int, kind]
        return (
            records
            | "One key" >> beam.Map(_one_key).with_output_types(keyed)
            | "Gather" >> beam.GroupByKey()
            | "Values" >> beam.Map(_values).with_output_types(BeamList[kind])
        )


class _Lay(beam.DoFn):
    def __init__(self, clustering: Clustering) -> None:
        super().__init__()
        self.clustering = clustering

    def process(self, portion: Portion, fit_all: Fitted) -> Iterable[Any]:
        done = laid(portion, centroids_at(fit_all.path, fit_all.digest), self.clustering)
        count("vectors laid down", sum(slice_.home for slice_ in done.slices))
        yield from done.slices
        for trouble in done.troubles:
            yield TaggedOutput(TROUBLES, trouble)
        yield TaggedOutput(POINTLESS, done.pointless)


def _portions_in(folder: str) -> list[Portion]:
    found = portions(tables_in(folder))
    count("portions", len(found))
    return found


def tables_in(folder: str) -> list[str]:
    """The tables of a folder, in order."""
    return [path for path in shelf.files_in(folder) if path.endswith(PARQUET)]


def _by_cluster(slice_: Slice) -> tuple[int, Slice]:
    return slice_.centroid, slice_


def _pieces(
    cluster: tuple[int, Iterable[Slice]], clustering: Clustering, fit_all: Fitted
) -> list[Piece]:
    centroid, slices = cluster
    found = list(pieces(centroid, slices, clustering, fit_all.dimension))
    count("pieces", len(found))
    return found


def _compare(piece: Piece, clustering: Clustering) -> Compared:
    done = compared(piece, clustering)
    count("pieces compared")
    count("vectors compared", done.items)
    return done


def _settle(
    fit_all: Fitted,
    settle: Callable[[Settled], None],
    found: list[Compared],
    troubles: list[Trouble],
    pointless: list[int],
) -> Settled:
    numbers: dict[int, int] = {}
    for piece in found:
        numbers[piece.centroid] = numbers.get(piece.centroid, 0) + 1
    settled = Settled(
        fit_all.dimension,
        sum(piece.items for piece in found),
        sum(pointless),
        tuple(sorted(numbers.items())),
        tuple(sorted({trouble.said for trouble in troubles})),
    )
    settle(settled)
    return settled


def _each_cluster(settled: Settled) -> tuple[tuple[int, int], ...]:
    return settled.pieces


def _pairwise(cluster: tuple[int, int], clustering: Clustering) -> int:
    rows = pairwise(*cluster, clustering)
    count("clusters ranked")
    return rows


def _one_key(record: Any) -> tuple[int, Any]:
    return 0, record


def _values(group: tuple[int, Iterable[Any]]) -> list[Any]:
    return list(group[1])

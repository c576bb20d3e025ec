"""Pieces: centroids are fitted, vectors laid down by them, and clusters split until they are small.

Centroids are fitted to a sample of the vectors, which depends on their ids and on no worker.

A GroupByKey over the vectors themselves would do the same as piles, but the local runner holds what
flows through one in memory, four times its size. So each portion of the tables is laid down in a
pile sorted by clusters (:mod:`finecut.io.tables.piles`), and what travels says where in it a
cluster's slice is: memory does not grow with the number of vectors, and a store reads parts of
files only.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables import piles
from finecut.io.tables.parquet import tables_in
from finecut.transforms.beam.metrics import count
from finecut.transforms.dedup.clusters import (
    CENTROIDS,
    SAMPLING,
    Clustering,
    Fitted,
    Floats,
    Indices,
    Piece,
    Portion,
    Sampled,
    Slice,
    fit,
    nearest,
    normalised,
)
from finecut.transforms.dedup.merits import merits_of
from finecut.transforms.dedup.near import Standing, lots, ranked

#: Tables are dealt in portions: at most that many in one, and at least that many portions.
MOST_TABLES, LEAST_PORTIONS = 64, 8
#: The sample that centroids are fitted to: at most that many vectors, and bytes of them.
SAMPLE_ROWS, SAMPLE_BYTES = 32_768, 128 << 20
#: A cluster for that many vectors, and no more clusters than that: what is larger is split later.
CLUSTER_ROWS, MOST_CLUSTERS = 1000, 1024
#: Below this comparing all with all is quicker.
FEW: Final = 2000


def portions_in(folder: str) -> list[Portion]:
    """The tables of a folder, some consecutive ones each, however many workers there are."""
    tables = tables_in(folder)
    size = min(MOST_TABLES, max(1, -(-len(tables) // LEAST_PORTIONS)))
    parts = [tuple(tables[start : start + size]) for start in range(0, len(tables), size)]
    return [Portion(index, part, len(parts)) for index, part in enumerate(parts)]


@dataclass
class Laid:
    """What became of a portion."""

    slices: list[Slice] = field(default_factory=list)
    #: Vectors that point nowhere.
    pointless: int = 0
    #: Why tables, or parts of them, are left out.
    troubles: list[str] = field(default_factory=list)


def _vectors_of(
    portion: Portion, column: str, result: Laid
) -> Iterator[tuple[NDArray[np.str_], Floats]]:
    """Ids and vectors that point somewhere, some thousand at once; the result notes the others."""
    for table in portion.tables:
        try:
            for ids, vectors in piles.read_vectors(table, column):
                rows = normalised(vectors)
                somewhere = rows.any(axis=1)
                result.pointless += int((~somewhere).sum())
                if somewhere.any():
                    yield np.array(ids, np.str_)[somewhere], rows[somewhere]
        except ValueError as error:
            result.troubles.append(str(error))


def sampled(portion: Portion, clustering: Clustering) -> Sampled:
    """The vectors of the portion whose ids drew the lowest lots, laid down."""
    lowest: list[piles.Rows] = []
    rows = dimension = 0
    for ids, vectors in _vectors_of(portion, clustering.column, Laid()):
        width = vectors.shape[1]
        if lowest and width != dimension:
            continue  # it is named when it is laid down
        dimension, rows = width, rows + len(ids)
        nowhere = np.zeros(len(ids), np.float32)
        # A sample is of vectors alone: the rest says nothing yet.
        drawn = piles.Rows(
            ids,
            vectors,
            distances=nowhere,
            home=nowhere.astype(bool),
            merits=nowhere.astype(np.uint64),
        )
        part = piles.together([*lowest, drawn])
        most = min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * width)) // portion.of + 1
        lowest = [part.take(np.sort(np.argsort(lots(part.ids, SAMPLING), kind="stable")[:most]))]
    path = clustering.staged(f"sample/{portion.index}")
    for found in lowest:
        clustering.own.write(path, piles.to_bytes(found))
    return Sampled(portion.index, path, rows, dimension)


def fitted(samples: Iterable[Sampled], clustering: Clustering) -> Fitted:
    """Centroids of the whole sample, on the shelf."""
    found = sorted((s for s in samples if s.rows), key=lambda sample: sample.portion)
    counts = sum((Counter({sample.dimension: sample.rows}) for sample in found), Counter[int]())
    [(dimension, total)] = counts.most_common(1) or [(1, 0)]
    vectors = np.zeros((0, dimension), np.float32)
    if total:
        paths = [sample.path for sample in found if sample.dimension == dimension]
        rows = piles.together([piles.from_bytes(shelf.read(path)) for path in paths])
        vectors = rows.vectors[np.argsort(rows.ids, kind="stable")]
    out = io.BytesIO()
    np.save(out, fit(vectors, clustering.clusters or usual_clusters(total), clustering.seed))
    path = clustering.path(CENTROIDS)
    clustering.own.write(path, out.getvalue())
    return Fitted(path, dimension, hashlib.sha256(out.getvalue()).hexdigest())


def usual_clusters(rows: int) -> int:
    """How many clusters suit that many vectors: none is large, and few are very small.

    >>> usual_clusters(1999), usual_clusters(200_000), usual_clusters(10**9)
    (1, 200, 1024)
    """
    return 1 if rows < FEW else min(MOST_CLUSTERS, rows // CLUSTER_ROWS)


@lru_cache(maxsize=4)
def centroids_at(fit_all: Fitted) -> Floats:
    """Read once in a process, and not for each portion."""
    return np.asarray(np.load(io.BytesIO(shelf.read(fit_all.path))), np.float32)


#: A pile is closed at that many bytes of vectors.
PILE_BYTES: Final = 32 << 20
#: What is compared at once, besides the limit on rows.
PIECE_BYTES: Final = 96 << 20
#: How often what is too large is split, before it is just divided, and into how many at least: in
#: each part lie also the visitors of others, and of few parts each would have nearly all.
DEPTH, LEAST_PARTS = 3, 8
#: Those of a crowd that lie in all of its parts: the first ones by each ranking.
LEADERS: Final = 16


# ── laying down ──────────────────────────────────────────────────────────────────────────────────


def laid(portion: Portion, clustering: Clustering, fit_all: Fitted) -> Laid:
    """The portion's vectors in piles, each in its nearest clusters."""
    result = Laid()
    for number, pile in enumerate(
        _in_piles(_placed(portion, centroids_at(fit_all), clustering, result))
    ):
        rows, nearest_of = zip(*pile, strict=True)
        path = clustering.staged(f"piles/{portion.index}_{number}")
        together = piles.together(list(rows))
        if clustering.catalogue is not None:
            merits = merits_of(together.ids, portion.tables, clustering.catalogue)
            together = together._replace(merits=merits)
        result.slices += _laid_at(np.concatenate(nearest_of), together, path, clustering.own)
    count("vectors laid down", sum(slice_.home for slice_ in result.slices))
    return result


def _placed(
    portion: Portion, centroids: Floats, clustering: Clustering, result: Laid
) -> Iterator[tuple[piles.Rows, Indices]]:
    """Vectors, and the nearest clusters of each; what has no place goes into the result."""
    for ids, vectors in _vectors_of(portion, clustering.column, result):
        if vectors.shape[1] != centroids.shape[1]:
            result.troubles.append(
                f"{len(ids)} vectors in {portion.tables[0]} or the tables after it have "
                f"{vectors.shape[1]} numbers, but most others have {centroids.shape[1]}: vectors "
                "of two models cannot be compared. Usually tables were copied into one folder"
            )
            continue
        own = nearest(vectors, centroids, clustering.probes)[0]
        cosines = np.einsum(
            "ij,ij->i", vectors.astype(np.float64), centroids[own[:, 0]], dtype=np.float64
        )
        yield (
            piles.Rows(
                ids,
                vectors,
                distances=(1 - cosines).astype(np.float32),
                home=np.ones(len(own), bool),
                merits=np.zeros(len(own), np.uint64),
            ),
            own,
        )


def _in_piles(
    placed: Iterable[tuple[piles.Rows, Indices]],
) -> Iterator[list[tuple[piles.Rows, Indices]]]:
    waiting: list[tuple[piles.Rows, Indices]] = []
    for each in placed:
        waiting.append(each)
        if sum(rows.vectors.nbytes for rows, _ in waiting) >= PILE_BYTES:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _laid_at(own: Indices, rows: piles.Rows, path: str, shelf_of: Shelf) -> list[Slice]:
    """piles.Rows laid down at the clusters named for each, the first of which it is at home in."""
    clusters = own.ravel()
    which = np.repeat(np.arange(len(own)), own.shape[1])
    home = np.zeros(own.shape, bool)
    home[:, 0] = rows.home
    order = np.argsort(clusters, kind="stable")
    borders = np.flatnonzero(np.diff(clusters[order], prepend=-1, append=-1))
    data, slices, offset = [], [], 0
    for start, end in pairwise(borders.tolist()):
        here = order[start:end]
        part = rows.take(which[here])._replace(home=home.ravel()[here])
        data.append(piles.to_bytes(part))
        at_home = int(part.home.sum())
        slices.append(
            Slice(
                int(clusters[here[0]]),
                path,
                offset=offset,
                length=len(data[-1]),
                home=at_home,
                visiting=len(here) - at_home,
            )
        )
        offset += len(data[-1])
    shelf_of.write(path, b"".join(data))
    return slices


# ── splitting ────────────────────────────────────────────────────────────────────────────────────


class Splitting(NamedTuple):
    """How a cluster that is too large is split."""

    clustering: Clustering
    #: The folder of its parts, in staging.
    name: str
    #: piles.Rows that can be compared at once.
    most: int
    #: How often it may still be split.
    depth: int = DEPTH


def pieces(
    cluster: tuple[int, Iterable[Slice]], clustering: Clustering, fit_all: Fitted
) -> Iterator[Piece]:
    """The cluster, if it can be held and compared at once; else the parts it is split into."""
    centroid, slices = cluster
    most = max(2, min(clustering.piece_rows, PIECE_BYTES // (4 * fit_all.dimension)))
    # Where no vector is at home there is nothing to compare with the visitors.
    inhabited = (
        part
        for part in _divided(
            sorted(slices, key=lambda s: (s.path, s.offset)),
            Splitting(clustering, f"pieces/{centroid}", most),
        )
        if any(slice_.home for slice_ in part)
    )
    for number, part in enumerate(inhabited):
        count("pieces")
        yield Piece(centroid, number, tuple(replace(slice_, centroid=centroid) for slice_ in part))


def _divided(slices: list[Slice], splitting: Splitting) -> Iterator[list[Slice]]:
    rows = sum(slice_.rows for slice_ in slices)
    if rows <= splitting.most:
        yield slices
        return
    again = _split(slices, splitting, rows) if splitting.depth else {}
    if not again or max(sum(s.rows for s in part) for part in again.values()) > 0.9 * rows:
        # They all point the same way: no border lies between them.
        yield from _dealt(slices, splitting)
        return
    for number, part in sorted(again.items()):
        name = f"{splitting.name}.{number}"
        yield from _divided(part, splitting._replace(name=name, depth=splitting.depth - 1))


def _split(slices: list[Slice], splitting: Splitting, rows: int) -> dict[int, list[Slice]]:
    """The same rows at centroids of their own, fitted to a part of them."""
    clustering = splitting.clustering
    share = max(1, rows * 4 // SAMPLE_ROWS)
    some = [part.take(lots(part.ids, SAMPLING) % np.uint64(share) == 0) for part in opened(slices)]
    sample = piles.together(some)
    sample = sample.take(np.argsort(sample.ids, kind="stable"))
    parts = max(LEAST_PARTS, -(-2 * rows // splitting.most))
    centroids = fit(sample.vectors, parts, clustering.seed)
    found: dict[int, list[Slice]] = {}
    for number, part in enumerate(opened(slices) if len(centroids) > 1 else ()):
        own = nearest(part.vectors, centroids, min(2, clustering.probes))[0]
        for slice_ in _laid_at(
            own, part, clustering.staged(f"{splitting.name}/{number}"), clustering.own
        ):
            found.setdefault(slice_.centroid, []).append(slice_)
    return found


def _dealt(slices: list[Slice], splitting: Splitting) -> Iterator[list[Slice]]:
    """The rows in equal parts, each with the first ones of all as visitors, since those stay."""
    clustering = splitting.clustering
    leaders = _leaders(slices, clustering.seed)
    for number, rows in enumerate(_in_equal_parts(slices, splitting.most)):
        both = piles.together([rows, leaders.take(~np.isin(leaders.ids, rows.ids))])
        yield _laid_at(
            np.zeros((len(both.ids), 1), np.int64),
            both,
            clustering.staged(f"{splitting.name}/dealt_{number}"),
            clustering.own,
        )


def _in_equal_parts(slices: list[Slice], most: int) -> Iterator[piles.Rows]:
    rest: piles.Rows | None = None
    for part in opened(slices):
        rest = part if rest is None else piles.together([rest, part])
        while len(rest.ids) >= most:
            yield rest.take(np.arange(most))
            rest = rest.take(np.arange(most, len(rest.ids)))
    if rest is not None and len(rest.ids):
        yield rest


def _leaders(slices: list[Slice], seed: int) -> piles.Rows:
    first: list[piles.Rows] = []
    for part in opened(slices):
        rows = piles.together([*first, part])
        chosen = np.unique(np.concatenate([order[:LEADERS] for order in rankings(rows, seed)]))
        first = [rows.take(chosen)._replace(home=np.zeros(len(chosen), bool))]
    return first[0]


def rankings(rows: piles.Rows, seed: int) -> list[Indices]:
    """The rows in the order of each rule."""
    standing = Standing(rows.ids, rows.distances, rows.merits)
    hard, best, drawn = (ranked(standing, keep, seed) for keep in ("hard", "best", "random"))
    return [hard, hard[::-1], best, drawn]


def opened(slices: Iterable[Slice]) -> Iterator[piles.Rows]:
    """The rows of each slice."""
    return (piles.from_bytes(shelf.read_part(s.path, s.offset, s.length)) for s in slices)

"""Centroids: fitted to a sample of the vectors, which depends on their ids and on no worker."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finecut.io.storage import files as shelf
from finecut.io.tables import piles
from finecut.io.tables.parquet import tables_in
from finecut.transforms.dedup.clustering import (
    CENTROIDS,
    SAMPLING,
    Clustering,
    Fitted,
    Portion,
    Sampled,
)
from finecut.transforms.dedup.clusters import Floats, fit, normalised
from finecut.transforms.dedup.near import lots

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


class Read(NamedTuple):
    """Some thousand vectors: those that point somewhere, and how many do not."""

    ids: NDArray[np.str_]
    vectors: Floats
    pointless: int


def read_vectors(tables: Iterable[str]) -> Iterator[Read | str]:
    """The vectors of these tables; and of a table that is left out, why."""
    for table in tables:
        try:
            for ids, vectors in piles.read_vectors(table):
                rows = normalised(vectors)
                somewhere = rows.any(axis=1)
                named = np.array(ids, np.str_)[somewhere]
                yield Read(named, rows[somewhere], len(rows) - len(named))
        except ValueError as error:
            yield str(error)


def sampled(portion: Portion, clustering: Clustering) -> Sampled:
    """The vectors of the portion whose ids drew the lowest lots, laid down."""
    lowest: piles.Rows | None = None
    rows = dimension = 0
    for read in read_vectors(portion.tables):
        if isinstance(read, str) or not len(read.ids):
            continue
        width = read.vectors.shape[1]
        if lowest is not None and width != dimension:
            continue  # it is named when it is laid down
        dimension, rows = width, rows + len(read.ids)
        nowhere = np.zeros(len(read.ids), np.float32)
        part = piles.Rows(read.ids, read.vectors, nowhere, nowhere.astype(bool))
        part = part if lowest is None else piles.together([lowest, part])
        most = min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * width)) // portion.of + 1
        lowest = part.take(np.sort(np.argsort(lots(part.ids, SAMPLING), kind="stable")[:most]))
    path = clustering.staged(f"sample/{portion.index}")
    if lowest is not None:
        clustering.own.write(path, piles.to_bytes(lowest))
    return Sampled(portion.index, path, rows, dimension)


def fitted(samples: Iterable[Sampled], clustering: Clustering) -> Fitted:
    """Centroids of the whole sample, on the shelf."""
    found = sorted((s for s in samples if s.rows), key=lambda sample: sample.portion)
    counts: Counter[int] = Counter()
    for sample in found:
        counts[sample.dimension] += sample.rows
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
    centroids: Floats = np.load(io.BytesIO(shelf.read(fit_all.path)))
    return centroids

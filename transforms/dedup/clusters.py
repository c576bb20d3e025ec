"""Clusters: vectors that point in about the same direction, found without comparing all with all.

    a sample ──k-means‖──▶ seeds ──mini-batches──▶ centroids        fit()
    every vector ──exactly──▶ its nearest centroids                 nearest()

All vectors have length 1, so that the dot product is the cosine. Everything is decided by the seed
and the vectors; the number of workers changes nothing.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finecut.io.layout import Layout
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.parquet import PARQUET

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

#: Rows that are multiplied at once: a few megabytes of products.
ROWS: Final = 4096
#: k-means‖: the number of rounds, in each of which about twice as many seeds as wanted are drawn.
ROUNDS: Final = 5
OVERSAMPLING: Final = 2.0
#: Vectors that move the centroids at once, and how often the whole sample is gone through.
BATCH: Final = 4096
PASSES: Final = 8
#: Shorter than this a vector points nowhere; nearer than that, two point the same way.
NOTHING: Final = 1e-12
SAME: Final = 1e-6


def normalised(vectors: NDArray[np.floating]) -> Floats:
    """The same directions with length 1; what points nowhere, or is no number, becomes zero."""
    rows = np.asarray(vectors, np.float32)
    rows = np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, np.float32(0))
    # Divided by the largest first: squares of large numbers are no numbers any more.
    rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True, initial=0), NOTHING)
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), NOTHING)).astype(
        np.float32
    )


def nearest(vectors: Floats, centroids: Floats, most: int = 1) -> tuple[Indices, Floats]:
    """The nearest centroids of each vector, the nearest first, and their cosines.

    Of equally near ones the first counts, so that equal vectors are always neighbours.
    """
    most = min(most, len(centroids))
    found = np.empty((len(vectors), most), np.int64)
    cosines = np.empty((len(vectors), most), np.float32)
    for start in range(0, len(vectors), ROWS):
        products = vectors[start : start + ROWS] @ centroids.T
        for rank in range(most):
            best = products.argmax(axis=1)
            rows = np.arange(len(products))
            found[start : start + ROWS, rank] = best
            cosines[start : start + ROWS, rank] = products[rows, best]
            products[rows, best] = -np.inf
    return found, cosines


def fit(sample: Floats, clusters: int, seed: int = 42) -> Floats:
    """Centroids of length 1, at most that many; fewer where the sample has fewer directions."""
    somewhere = sample[sample.any(axis=1)]
    if not len(somewhere):
        return np.zeros((1, sample.shape[1]), np.float32)
    sample, dice = somewhere, np.random.default_rng(seed)
    centroids = seeds(sample, clusters, dice)
    weights = np.zeros(len(centroids))
    order = np.arange(len(sample))
    for _ in range(PASSES):
        dice.shuffle(order)
        for start in range(0, len(order), BATCH):
            centroids = _moved(centroids, weights, sample[order[start : start + BATCH]])
    return centroids


def _moved(centroids: Floats, weights: NDArray[np.float64], batch: Floats) -> Floats:
    """Centroids after they met a batch: each goes towards its own, less the more it met before."""
    own = nearest(batch, centroids)[0][:, 0]
    counts = np.bincount(own, minlength=len(centroids)).astype(float)
    sums = np.zeros_like(centroids, np.float64)
    np.add.at(sums, own, batch)
    weights += counts
    met = counts > 0
    share = (counts[met] / weights[met])[:, None]
    moved = centroids.astype(np.float64)
    moved[met] = (1 - share) * moved[met] + share * (sums[met] / counts[met][:, None])
    again = normalised(moved)
    # A centroid of opposite directions points nowhere: it stays where it was.
    lost = ~again.any(axis=1)
    again[lost] = centroids[lost]
    return again


def seeds(sample: Floats, wanted: int, dice: np.random.Generator) -> Floats:
    """k-means‖: many seeds drawn far from each other, of which the best spread are taken."""
    candidates = sample[[int(dice.integers(len(sample)))]]
    far = _distances(sample, candidates)
    for _ in range(ROUNDS):
        total = far.sum()
        if total <= NOTHING:
            break
        drawn = dice.random(len(sample)) < OVERSAMPLING * wanted * far / total
        if drawn.any():
            candidates = np.concatenate([candidates, sample[drawn]])
            far = np.minimum(far, _distances(sample, sample[drawn]))
    weights = np.bincount(nearest(sample, candidates)[0][:, 0], minlength=len(candidates))
    return _spread(candidates, weights.astype(float), wanted, dice)


def _spread(
    candidates: Floats, weights: NDArray[np.float64], wanted: int, dice: np.random.Generator
) -> Floats:
    """k-means++ among few: each next one by chance, the likelier the farther from those taken."""
    taken = [int(np.argmax(weights))]
    far = _distances(candidates, candidates[taken])
    while len(taken) < min(wanted, len(candidates)):
        chances = weights * far
        total = chances.sum()
        if total <= NOTHING:
            break
        taken.append(int(np.searchsorted(np.cumsum(chances / total), dice.random())))
        taken[-1] = min(taken[-1], len(candidates) - 1)
        far = np.minimum(far, _distances(candidates, candidates[taken[-1:]]))
    return candidates[taken]


def _distances(vectors: Floats, centroids: Floats) -> NDArray[np.float64]:
    """How far each is from the nearest: 0 the same direction, 2 the opposite."""
    distances = 1.0 - nearest(vectors, centroids)[1][:, 0].astype(np.float64)
    return np.where(distances < SAME, 0.0, distances)


#: Folders and files of what is written, as the reference calls them where it has them.
CLUSTERS, PAIRWISE, PAIRS = "kmeans_results", "pairwise_results", "pairs"
CENTROIDS: Final = "kmeans_centroids.npy"
#: What is compared at once: larger clusters are split, and a few pairs lost at their borders.
PIECE_ROWS: Final = 32_768
#: Draws samples, whatever else is drawn.
SAMPLING: Final = 7


PAIR_SCHEMA: Final = pa.schema(
    [
        ("first", pa.string()),
        ("second", pa.string()),
        ("cosine", pa.float32()),
        ("first_distance", pa.float32()),
        ("second_distance", pa.float32()),
        ("first_merit", pa.uint64()),
        ("second_merit", pa.uint64()),
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
    #: In how many clusters, the nearest ones, each vector meets others.
    probes: int = 4
    #: Pairs of a lower cosine are not kept.
    floor: float = 0.7
    keep: str = "best"
    seed: int = 42
    piece_rows: int = PIECE_ROWS
    #: What is known of the vectors, for the metadata of the tables that hold them.
    facts: tuple[tuple[str, str], ...] = ()
    #: The column of vectors in tables of packs; tables of vectors have one of their own.
    column: str = ""
    #: The dataset whose catalogue says how good clips are; ``None``: nobody does.
    catalogue: Layout | None = None

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


@dataclass(frozen=True)
class Fitted:
    """Centroids rest at ``path``."""

    path: str
    dimension: int
    digest: str


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
class Settled:
    """All clusters are on the shelf."""

    dimension: int
    items: int
    #: Vectors that point nowhere (zeros, no numbers): nobody's duplicates, in no cluster.
    pointless: int
    #: Each centroid that any vector is at home at, and the number of its pieces.
    pieces: tuple[tuple[int, int], ...]
    troubles: tuple[str, ...] = ()
    #: Near pairs in all tables of them; some met in several clusters. Earlier versions did not
    #: count them.
    pairs: int | None = None

    @property
    def places(self) -> list[tuple[int, int]]:
        """Each piece, by its centroid and number."""
        return [(centroid, n) for centroid, count in self.pieces for n in range(count)]

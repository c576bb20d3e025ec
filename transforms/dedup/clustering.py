"""Clustering: what vectors are clustered and compared with, and the records that travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from finecut.io.storage.publishing import Shelf
from finecut.io.tables.parquet import PARQUET

#: Folders and files of what is written, as the reference calls them where it has them.
CLUSTERS, PAIRWISE, PAIRS = "kmeans_results", "pairwise_results", "pairs"
CENTROIDS: Final = "kmeans_centroids.npy"
#: What is compared at once: larger clusters are split.
PIECE_ROWS: Final = 8192
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
    #: In how many clusters, the nearest ones, each vector meets others.
    probes: int = 4
    #: Pairs of a lower cosine are not kept.
    floor: float = 0.7
    keep: str = "hard"
    seed: int = 42
    piece_rows: int = PIECE_ROWS
    #: What is known of the vectors, for the metadata of the tables that hold them.
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

    @property
    def places(self) -> list[tuple[int, int]]:
        """Each piece, by its centroid and number."""
        return [(centroid, n) for centroid, count in self.pieces for n in range(count)]

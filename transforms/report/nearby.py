"""Nearby: the nearest others of each vector, for people who look around.

Few vectors are compared all with all. Many are compared with those of the clusters around them
only, which misses a neighbour now and then and costs a fraction. (Whether two clips are *the same*
is for :mod:`near` to say.)
"""

from collections.abc import Iterator
from math import isqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finecut.transforms.dedup.clusters import Floats, Indices, fit, nearest, normalised

#: So many are compared all with all.
FEW: Final = 4096
#: Vectors that clusters are found from, for each cluster.
SAMPLE: Final = 32
#: Clusters a vector looks for its neighbours in.
VISITS: Final = 2
ROWS: Final = 1024
NOBODY: Final = -1


class Nearby(NamedTuple):
    """For each row the nearest others, the nearest first (:data:`NOBODY` where there are fewer)."""

    rows: NDArray[np.int32]
    cosines: Floats


def nearby(vectors: NDArray[np.floating], most: int, few: int = FEW) -> Nearby:
    """The nearest others of each row, at most that many; rows that point nowhere have none."""
    found = Nearby(
        np.full((len(vectors), most), NOBODY, np.int32),
        np.zeros((len(vectors), most), np.float32),
    )
    for asking, among in _rooms(vectors, few):
        others = normalised(vectors[among])
        for start in range(0, len(asking), ROWS):
            rows = asking[start : start + ROWS]
            _enter(found, rows, among, normalised(vectors[rows]) @ others.T)
    return found


def _rooms(vectors: NDArray[np.floating], few: int) -> Iterator[tuple[Indices, Indices]]:
    """Which rows are compared with which."""
    count = len(vectors)
    if count <= few:
        yield np.arange(count), np.arange(count)
        return
    clusters = isqrt(count)
    step = max(1, count // (clusters * SAMPLE))
    centroids = fit(normalised(vectors[::step]), clusters)
    homes = np.concatenate(
        [
            nearest(normalised(vectors[start : start + ROWS]), centroids, VISITS)[0]
            for start in range(0, count, ROWS)
        ]
    )
    for cluster in range(len(centroids)):
        at_home = np.flatnonzero(homes[:, 0] == cluster)
        around = np.flatnonzero((homes == cluster).any(axis=1))
        if len(at_home):
            yield at_home, around


def _enter(found: Nearby, rows: Indices, among: Indices, products: Floats) -> None:
    """Write down the best of these products."""
    products[rows[:, None] == among[None, :]] = -2  # nobody is his own neighbour
    most = min(found.rows.shape[1], products.shape[1])
    best = np.argsort(-products, axis=1, kind="stable")[:, :most]
    cosines = np.take_along_axis(products, best, axis=1)
    worth = cosines > 0
    found.rows[rows, :most] = np.where(worth, among[best], NOBODY)
    found.cosines[rows, :most] = np.where(worth, np.minimum(cosines, 1), 0)

"""Pieces: vectors laid down by their clusters, and clusters split to what can be compared at once.

A GroupByKey over the vectors themselves would do the same, but the local runner holds what flows
through one in memory, four times its size. So each portion of the tables is laid down in a pile
sorted by clusters (:mod:`finecut.io.tables.piles`), and what travels says where in it a cluster's
slice is: memory does not grow with the number of vectors, and a store reads parts of files only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables import piles
from finecut.transforms.beam.metrics import count
from finecut.transforms.dedup.centroids import SAMPLE_ROWS, Read, centroids_at, read_vectors
from finecut.transforms.dedup.clustering import SAMPLING, Clustering, Fitted, Piece, Portion, Slice
from finecut.transforms.dedup.clusters import Floats, Indices, fit, nearest
from finecut.transforms.dedup.near import lots, ranked

#: A pile is closed at that many bytes of vectors.
PILE_BYTES: Final = 32 << 20
#: What is compared at once, besides the limit on rows.
PIECE_BYTES: Final = 96 << 20
#: How often what is too large is split, before it is just divided.
DEPTH: Final = 3
#: Those of a crowd that lie in all of its parts: the first ones by each ranking.
LEADERS: Final = 16


# ── laying down ──────────────────────────────────────────────────────────────────────────────────


@dataclass
class Laid:
    """What became of a portion."""

    slices: list[Slice] = field(default_factory=list)
    #: Vectors that point nowhere.
    pointless: int = 0
    #: Why tables, or parts of them, are left out.
    troubles: list[str] = field(default_factory=list)


def laid(portion: Portion, clustering: Clustering, fit_all: Fitted) -> Laid:
    """The portion's vectors in piles, each in its nearest clusters."""
    result = Laid()
    placed = _placed(portion, centroids_at(fit_all), clustering.probes, result)
    for number, pile in enumerate(_in_piles(placed)):
        rows, nearest_of = zip(*pile, strict=True)
        path = clustering.staged(f"piles/{portion.index}_{number}")
        result.slices += _laid_at(
            np.concatenate(nearest_of), piles.together(list(rows)), path, clustering.own
        )
    count("vectors laid down", sum(slice_.home for slice_ in result.slices))
    return result


def _placed(
    portion: Portion, centroids: Floats, probes: int, result: Laid
) -> Iterator[tuple[piles.Rows, Indices]]:
    """Vectors, and the nearest clusters of each; what has no place goes into the result."""
    for read in read_vectors(portion.tables):
        if isinstance(read, str):
            result.troubles.append(read)
            continue
        result.pointless += read.pointless
        if not len(read.ids):
            continue
        if read.vectors.shape[1] != centroids.shape[1]:
            result.troubles.append(_of_another_model(portion, read, centroids))
            continue
        own = nearest(read.vectors, centroids, probes)[0]
        cosines = np.einsum(
            "ij,ij->i", read.vectors.astype(np.float64), centroids[own[:, 0]], dtype=np.float64
        )
        distances = (1 - cosines).astype(np.float32)
        yield piles.Rows(read.ids, read.vectors, distances, np.ones(len(own), bool)), own


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


def _of_another_model(portion: Portion, read: Read, centroids: Floats) -> str:
    return (
        f"{len(read.ids)} vectors in {portion.tables[0]} or the tables after it have "
        f"{read.vectors.shape[1]} numbers, but most others have {centroids.shape[1]}: vectors of "
        "two models cannot be compared. Usually tables were copied into one folder"
    )


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
    ordered = sorted(slices, key=lambda s: (s.path, s.offset))
    most = max(2, min(clustering.piece_rows, PIECE_BYTES // (4 * fit_all.dimension)))
    parts = _divided(ordered, Splitting(clustering, f"pieces/{centroid}", most))
    # Where no vector is at home there is nothing to compare with the visitors.
    inhabited = (part for part in parts if any(slice_.home for slice_ in part))
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
    centroids = fit(sample.vectors, -(-2 * rows // splitting.most), clustering.seed)
    found: dict[int, list[Slice]] = {}
    for number, part in enumerate(opened(slices) if len(centroids) > 1 else ()):
        # Visitors visit one part only: each visit is paid for in all that live there.
        own = nearest(part.vectors, centroids, min(2, clustering.probes))[0]
        path = clustering.staged(f"{splitting.name}/{number}")
        for slice_ in _laid_at(own, part, path, clustering.own):
            found.setdefault(slice_.centroid, []).append(slice_)
    return found


def _dealt(slices: list[Slice], splitting: Splitting) -> Iterator[list[Slice]]:
    """The rows in equal parts, each with the first ones of all as visitors, since those stay."""
    clustering = splitting.clustering
    leaders = _leaders(slices, clustering.seed)
    for number, rows in enumerate(_in_equal_parts(slices, splitting.most)):
        others = leaders.take(~np.isin(leaders.ids, rows.ids))
        both = piles.together([rows, others])
        path = clustering.staged(f"{splitting.name}/dealt_{number}")
        yield _laid_at(np.zeros((len(both.ids), 1), np.int64), both, path, clustering.own)


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
    first: piles.Rows | None = None
    for part in opened(slices):
        rows = part if first is None else piles.together([first, part])
        chosen = np.unique(np.concatenate([order[:LEADERS] for order in rankings(rows, seed)]))
        first = rows.take(chosen)
    assert first is not None
    return first._replace(home=np.zeros(len(first.ids), bool))


def rankings(rows: piles.Rows, seed: int) -> list[Indices]:
    """The rows in the order of each rule."""
    hard = ranked(rows.distances, rows.ids, "hard", seed)
    return [hard, hard[::-1], ranked(rows.distances, rows.ids, "random", seed)]


def opened(slices: Iterable[Slice]) -> Iterator[piles.Rows]:
    """The rows of each slice."""
    for slice_ in slices:
        yield piles.from_bytes(shelf.read_part(slice_.path, slice_.offset, slice_.length))

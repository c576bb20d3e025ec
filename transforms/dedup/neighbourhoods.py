"""Neighbourhoods: from tables of vectors to clusters on the shelf and the near pairs among them.

    tables ─▶ Portion ─▶ Sampled ─▶ Fitted (centroids) ─▶ Slice ─▶ Piece ─▶ Compared ─▶ Settled
    ═══ shelf ═══════════ a sample ══ centroids.npy ═════ piles ═══ pieces ══ clusters, pairs ══════

Records travel, bytes rest: no vector goes from step to step. What is laid down where depends on the
tables and never on the number of workers, so the same tables give the same bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsList, AsSingleton, TaggedOutput

from finecut.io.storage import files as shelf
from finecut.io.tables import piles
from finecut.io.tables.parquet import PREFIX, from_parquet, to_parquet
from finecut.transforms.beam.metrics import count
from finecut.transforms.dedup.clusters import (
    PAIR_SCHEMA,
    Clustering,
    Fitted,
    Piece,
    Portion,
    Sampled,
    Settled,
    Slice,
)
from finecut.transforms.dedup.near import Standing, nearest_before, neighbours, ranked
from finecut.transforms.dedup.pieces import (
    fitted,
    laid,
    opened,
    pieces,
    portions_in,
    rankings,
    sampled,
)

TROUBLES, POINTLESS = "troubles", "pointless"
#: How the reference's tables are ranked where it has no such rule.
REFERENCE: Final = {"best": "hard"}


# ── comparing ────────────────────────────────────────────────────────────────────────────────────


#: A piece's centroid, and how many vectors are at home and how many near pairs are in it.
Found = tuple[int, int, int]


def compared(piece: Piece, clustering: Clustering) -> Found:
    """The piece's vectors and near pairs, as tables."""
    rows = piles.together(list(opened(piece.slices)))
    # Those at home first; the order in which slices came is forgotten.
    rows = rows.take(np.lexsort((rows.ids, ~rows.home)))
    home = int(rows.home.sum())
    clustering.own.write(
        clustering.cluster(piece.centroid, piece.number),
        cluster_table(rows.take(np.arange(home)), clustering.facts),
    )
    near = neighbours(rows.vectors, home, clustering.floor, rankings(rows, clustering.seed))
    near = near.take(rows.ids[near.first] != rows.ids[near.second])
    swap = rows.ids[near.first] > rows.ids[near.second]
    first = np.where(swap, near.second, near.first)
    second = np.where(swap, near.first, near.second)
    order = np.lexsort((rows.ids[second], rows.ids[first]))
    first, second = first[order], second[order]
    table = pa.table(
        {
            "first": rows.ids[first].tolist(),
            "second": rows.ids[second].tolist(),
            "cosine": near.cosine[order],
            "first_distance": rows.distances[first],
            "second_distance": rows.distances[second],
            "first_merit": rows.merits[first],
            "second_merit": rows.merits[second],
        },
        schema=PAIR_SCHEMA,
    )
    clustering.own.write(clustering.pairs(piece.centroid, piece.number), to_parquet(table))
    count("pieces compared")
    count("vectors compared", home)
    return piece.centroid, home, len(table)


def cluster_table(rows: piles.Rows, facts: Iterable[tuple[str, str]]) -> bytes:
    """What is at home in a cluster, with the columns the reference has."""
    offsets = np.arange(len(rows.ids) + 1, dtype=np.int32) * rows.vectors.shape[1]
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
    return to_parquet(
        table.replace_schema_metadata({f"{PREFIX}{name}": fact for name, fact in facts} or None)
    )


def pairwise(cluster: tuple[int, int], clustering: Clustering) -> int:
    """The reference's table of a cluster (and how many pieces it has), from what lies on the shelf:
    for each item the nearest of those that are ranked before it. The number of its rows.

    Of a cluster that was split, those of the same part. The reference knows nothing of clips but
    their vectors: it has no ``best``, and these tables are ranked as by ``hard`` then.
    """
    (centroid, number_of_pieces), parts = cluster, []
    for number in range(number_of_pieces):
        rows = _at_home(clustering.cluster(centroid, number))
        standing = Standing(rows.ids, rows.distances, rows.merits)
        rows = rows.take(
            ranked(standing, REFERENCE.get(clustering.keep, clustering.keep), clustering.seed)
        )
        found, cosines = nearest_before(rows.vectors)
        parts.append(
            pa.table(
                {
                    "id": rows.ids.tolist(),
                    "max_id": rows.ids[found].tolist(),
                    "cosine_sim_score": cosines,
                }
            )
        )
    table = pa.concat_tables(parts)
    clustering.own.write(clustering.pairwise(centroid), to_parquet(table))
    count("clusters ranked")
    return len(table)


def _at_home(path: str) -> piles.Rows:
    table = from_parquet(shelf.read(path))
    vectors = table.column("embedding").combine_chunks().values.to_numpy()
    return piles.Rows(
        np.array(table.column("id").to_pylist(), np.str_),
        vectors.reshape(len(table), -1),
        distances=table.column("cosine_dist_to_cent").to_numpy(),
        home=np.ones(len(table), bool),
        merits=np.zeros(len(table), np.uint64),
    )


# ── the transforms ───────────────────────────────────────────────────────────────────────────────


class Cluster(beam.PTransform[Any, beam.PCollection[Settled]]):
    """The folder of tables → one :class:`Settled`, when all clusters are on the shelf.

    ``settle`` gets it first: what it writes is there when the record comes out.
    """

    def __init__(self, clustering: Clustering, settle: Callable[[Settled], None]) -> None:
        super().__init__()
        self.clustering, self.settle = clustering, settle

    def expand(self, begin: Any) -> beam.PCollection[Settled]:
        clustering = self.clustering
        folder = begin | "Folder" >> beam.Create([clustering.tables])
        dealt = (
            folder
            | "Portions" >> beam.FlatMap(portions_in).with_output_types(Portion)
            | "Deal" >> beam.Reshuffle()
        )
        samples = dealt | "Sample" >> beam.Map(sampled, clustering).with_output_types(Sampled)
        fit_all = folder | "Fit" >> beam.Map(
            lambda _, found: fitted(found, clustering), AsList(samples)
        ).with_output_types(Fitted)
        lay = dealt | "Lay down" >> beam.FlatMap(
            _lay, clustering, AsSingleton(fit_all)
        ).with_outputs(TROUBLES, POINTLESS, main="slices")
        found = (
            lay.slices
            | "By cluster"
            >> beam.Map(lambda slice_: (slice_.centroid, slice_)).with_output_types(
                tuple[int, Slice]
            )
            | "Clusters" >> beam.GroupByKey()
            | "Pieces"
            >> beam.FlatMap(pieces, clustering, AsSingleton(fit_all)).with_output_types(Piece)
            | "Deal pieces" >> beam.Reshuffle()
            | "Compare" >> beam.Map(compared, clustering).with_output_types(Found)
        )
        return fit_all | "Settle" >> beam.Map(
            _settle,
            self.settle,
            found=AsList(found),
            troubles=AsList(lay[TROUBLES]),
            pointless=AsList(lay[POINTLESS]),
        ).with_output_types(Settled)


def rank(settled: beam.PCollection[Settled], clustering: Clustering) -> beam.PCollection[int]:
    """Settled clusters → the reference's tables of them; how many rows each has."""
    return (
        settled
        | "Each cluster"
        >> beam.FlatMap(lambda each: each.pieces).with_output_types(tuple[int, int])
        | "Deal clusters" >> beam.Reshuffle()
        | "Rank clusters" >> beam.Map(pairwise, clustering).with_output_types(int)
    )


def _lay(portion: Portion, clustering: Clustering, fit_all: Fitted) -> Iterator[Any]:
    done = laid(portion, clustering, fit_all)
    yield from done.slices
    yield from (TaggedOutput(TROUBLES, trouble) for trouble in done.troubles)
    yield TaggedOutput(POINTLESS, done.pointless)


def _settle(
    fit_all: Fitted,
    settle: Callable[[Settled], None],
    *,
    found: list[Found],
    troubles: list[str],
    pointless: list[int],
) -> Settled:
    settled = Settled(
        fit_all.dimension,
        items=sum(items for _, items, _ in found),
        pointless=sum(pointless),
        pieces=tuple(sorted(Counter(centroid for centroid, _, _ in found).items())),
        troubles=tuple(sorted({*troubles})),
        pairs=sum(pairs for _, _, pairs in found),
    )
    settle(settled)
    return settled

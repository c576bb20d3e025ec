"""Dedup: clips that show the same, found by their vectors and, where there are, by their pictures.

    tables ─▶ Cluster ─▶ Settled ─▶ Rank                    the reference's tables
                            └─▶ Candidates ─▶ look, compare ─▶ Decide ─▶ Deduped
                                (near pairs)  (their pictures)  what stays, groups, the list

Everything lies below one folder::

    kmeans_results/centroid=<k>/<n>.parquet    id, embedding (length 1), l2_ and cosine_dist_to_cent
    kmeans_centroids.npy
    pairwise_results/cluster_<k>.parquet       id, max_id, cosine_sim_score
    pairs/<k>_<n>.parquet                      near pairs above a floor: a threshold can be changed
    likeness.parquet                           what comparing the pictures of pairs said
    duplicates/<12 letters>.parquet            id: the clips to remove, and nothing else
    groups.parquet                             group, id, kept, kept_id, cosine
    keepers.parquet                            id, kept_id: of those rejected since, if any
    state.json                                 what the clusters were made of
    summary.json                               what was found; written last, it is the promise

In a pipeline of your own::

    pipeline | Dedup(Deduping(Clustering(Shelf(out, staging), "dataset/x_embd_parquet"), eps=0.1))
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsList, TaggedOutput

from finecut.io.layout import GROUPS
from finecut.io.tables.drops import DUPLICATES
from finecut.io.tables.parquet import PARQUET, tables_in, to_parquet
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.dedup.clustering import CLUSTERS, PAIRS, PAIRWISE, Settled
from finecut.transforms.dedup.folder import (
    SUMMARY,
    UNSEEN,
    Deduped,
    Deduping,
    pairwise_tables,
    read_state,
    write_state,
)
from finecut.transforms.dedup.graph import rank_of, verdict
from finecut.transforms.dedup.neighbourhoods import Cluster, rank
from finecut.transforms.dedup.pictures import (
    Seen,
    compare,
    look,
    near_pairs,
    the_same,
    to_compare,
)
from finecut.transforms.dedup.rejected import Carried, Documents, carried


def decided(settled: Settled, deduping: Deduping, compared: list[str]) -> Deduped:
    """Write the list, the groups and the figures."""
    own = deduping.clustering.own
    graph = near_pairs(deduping)
    rank = rank_of(graph, deduping.clustering)
    same, seen = graph, Seen()
    if deduping.clips is not None:
        same, seen = the_same(graph, deduping, compared)
    nothing = Deduped(
        items=0,
        pointless=0,
        clusters=0,
        pairs=len(graph.pairs.first),
        **seen._asdict(),
        groups=0,
        removed=0,
        carried=0,
        seconds=None,
        eps=deduping.eps,
        path="",
    )
    if seen.compared and seen.compared == seen.unseen:
        # An empty list would say that there are no duplicates.
        own.write(deduping.clustering.staged(UNSEEN), str(seen.unseen).encode())
        return nothing
    found = verdict(same, rank, deduping.eps)
    rejected, seconds, troubles = Carried([], []), None, [*settled.troubles]
    if deduping.dataset is not None:
        documents = Documents(deduping.dataset)
        rejected = carried(deduping, documents, {*found.removed})
        seconds = documents.seconds(found.removed)
        troubles += sorted({*documents.troubles})
    own.write(deduping.path(GROUPS), to_parquet(found.groups))
    deduped = replace(
        nothing,
        items=settled.items,
        pointless=settled.pointless,
        clusters=len(settled.pieces),
        groups=len({*found.groups.column("group").to_pylist()}),
        removed=len(found.removed),
        carried=len(rejected.ids),
        seconds=seconds,
        path=_write_list(deduping, sorted({*found.removed, *rejected.ids})),
        troubles=tuple(troubles),
        released=len(rejected.released),
    )
    summary = {
        **asdict(deduped),
        "path": deduped.path.removeprefix(f"{own.root}/"),
        "troubles": troubles,
        "told": dict(deduping.told),
    }
    own.write(deduping.path(SUMMARY), json.dumps(summary, indent=4).encode())
    return deduped


def _write_list(deduping: Deduping, ids: list[str]) -> str:
    """The list, and none beside it: what drops the listed clips reads all that lies there."""
    names = sorted(path.rsplit("/", 1)[-1] for path in tables_in(deduping.clustering.tables))
    name = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    path = deduping.path(f"{DUPLICATES}/{name}{PARQUET}")
    table = pa.table({"id": pa.array(ids, pa.string())})
    deduping.clustering.own.write(path, to_parquet(table, max(1, len(ids) // 10)))
    deduping.remove_others(DUPLICATES, {path})
    return path


# ── the transform ────────────────────────────────────────────────────────────────────────────────


class Dedup(beam.PTransform[Any, beam.PCollection[Deduped]]):
    """The folder of tables → one :class:`Deduped`, when all is written."""

    def __init__(self, deduping: Deduping) -> None:
        super().__init__()
        self.deduping = deduping

    def expand(self, begin: Any) -> beam.PCollection[Deduped]:
        deduping = self.deduping
        if deduping.again:
            settled = begin | "As it was" >> beam.Create([settled_before(deduping)])
        else:
            settled = begin | Cluster(deduping.clustering, partial(_settle, deduping))
        if not deduping.ranked:
            rows = rank(settled, deduping.clustering)
            settled = settled | "Ranked" >> beam.Map(
                _ranked, deduping, AsList(rows)
            ).with_output_types(Settled)
        compared: Any = []
        if deduping.clips is not None:
            compared = AsList(_compared(settled, deduping))
        return settled | "Decide" >> beam.Map(decided, deduping, compared).with_output_types(
            Deduped
        )


def _compared(settled: beam.PCollection[Settled], deduping: Deduping) -> beam.PCollection[str]:
    """Settled clusters → where it lies what the pictures of their near pairs say."""
    asked = settled | "Candidates" >> beam.FlatMap(_asked, deduping).with_outputs(
        "clips", main="batches"
    )
    looked = (
        asked.clips
        | "Deal clips" >> beam.Reshuffle()
        | "Look" >> beam.Map(look, deduping).with_output_types(int)
    )
    return (
        asked.batches
        | "Deal batches" >> beam.Reshuffle()
        # Only when all clips were looked at.
        | "Compare"
        >> beam.Map(lambda batch, _: compare(batch, deduping), AsList(looked)).with_output_types(
            str
        )
    )


def settled_before(deduping: Deduping) -> Settled:
    """The clusters that lie there."""
    state = read_state(deduping.clustering.own.root)
    assert state is not None
    assert state.settled is not None
    return state.settled


def _settle(deduping: Deduping, settled: Settled) -> None:
    """Remove what other clusters left, and note what lies here now."""
    clustering = deduping.clustering
    deduping.remove_others(CLUSTERS, {clustering.cluster(*place) for place in settled.places})
    deduping.remove_others(PAIRS, {clustering.pairs(*place) for place in settled.places})
    write_state(deduping, settled, is_ranked=False)


def _ranked(settled: Settled, deduping: Deduping, rows: list[int]) -> Settled:
    """Noted when all clusters are ranked."""
    deduping.remove_others(PAIRWISE, pairwise_tables(settled, deduping.clustering))
    write_state(deduping, settled, is_ranked=True)
    LOG.info("ranked %d vectors", sum(rows))
    return settled


def _asked(_settled: Settled, deduping: Deduping) -> Iterator[Any]:
    batches, clips = to_compare(deduping)
    yield from batches
    for part in clips:
        yield TaggedOutput("clips", part)

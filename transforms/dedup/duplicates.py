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

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsIter, AsList, AsSingleton

from finecut.transforms.beam.metrics import LOG
from finecut.transforms.dedup.beside import BringTogether
from finecut.transforms.dedup.by_key import Keyed, Part
from finecut.transforms.dedup.clusters import CLUSTERS, PAIRS, PAIRWISE, Settled
from finecut.transforms.dedup.components import Label
from finecut.transforms.dedup.confirming import Confirm, Seen
from finecut.transforms.dedup.folder import (
    SUMMARY,
    UNSEEN,
    Deduped,
    Deduping,
    pairwise_tables,
    read_state,
    write_state,
)
from finecut.transforms.dedup.neighbourhoods import Cluster, rank
from finecut.transforms.dedup.rejected import Figures, MeetRejected
from finecut.transforms.dedup.tables import Lay, Tables, list_at
from finecut.transforms.dedup.verdicts import Judge


@dataclass(eq=False, repr=False)
class Dedup(beam.PTransform[Any, beam.PCollection[Deduped]]):
    """The folder of tables → one :class:`Deduped`, when all is written."""

    deduping: Deduping

    def expand(self, begin: Any) -> beam.PCollection[Deduped]:
        deduping = self.deduping
        if deduping.again:
            settled = begin | "As it was" >> beam.Create([settled_before(deduping)])
        else:
            settled = begin | Cluster(deduping.clustering, partial(_settle, deduping))
        if not deduping.ranked:
            settled = settled | "Ranked" >> beam.Map(
                _ranked, deduping, AsList(rank(settled, deduping.clustering))
            ).with_output_types(Settled)
        beside = settled | "Near" >> BringTogether(deduping)
        same, nothing = beside.near, begin | "Nothing" >> beam.Create([])
        seen = told = keepers = figures = nothing
        if deduping.clips is not None:
            same, seen, told = settled | "Pictures" >> Confirm(deduping, beside)
        labels = settled | "Groups" >> Label(deduping, same)
        groups, number, removed = settled | "Verdicts" >> Judge(deduping, same, labels)
        if deduping.dataset is not None:
            meeting = MeetRejected(deduping, deduping.dataset, removed)
            listed, keepers, figures = settled | "Rejected" >> meeting
        else:
            listed = removed | "Listed" >> beam.Map(_part).with_output_types(Part)
        looked = AsSingleton(seen | "Looked at" >> beam.CombineGlobally(_all_seen))
        tables = Tables(told, keepers, groups, listed)
        written = settled | "Write" >> Lay(deduping, tables, looked)
        return settled | "Decide" >> beam.Map(
            decided,
            deduping,
            seen=looked,
            pairs=AsIter(beside.pairs),
            groups=AsIter(number),
            removed=AsIter(removed),
            figures=AsIter(figures),
            _written=AsList(written),
        ).with_output_types(Deduped)


def decided(
    settled: Settled,
    deduping: Deduping,
    *,
    seen: Seen,
    pairs: Iterable[int],
    groups: Iterable[int],
    removed: Iterable[Keyed],
    figures: Iterable[Figures],
    _written: object,
) -> Deduped:
    """Write the figures, when all tables are written."""
    own = deduping.clustering.own
    deduped = Deduped(
        items=0,
        pointless=0,
        clusters=0,
        pairs=sum(pairs),
        **seen._asdict(),
        groups=0,
        removed=0,
        carried=0,
        seconds=None,
        eps=deduping.eps,
        path="",
    )
    if seen.is_blind:
        # An empty list would say that there are no duplicates.
        own.write(deduping.clustering.staged(UNSEEN), str(seen.unseen).encode())
        return deduped
    counted = list(figures)
    looked_up = deduping.dataset is not None
    troubles = {trouble for each in counted for trouble in each.troubles}
    gone = sum(part.rows for _, part in removed)
    carried = sum(each.carried for each in counted)
    deduped = replace(
        deduped,
        items=settled.items,
        pointless=settled.pointless,
        clusters=len(settled.pieces),
        groups=sum(groups),
        removed=gone,
        carried=carried,
        seconds=round(math.fsum(each.seconds for each in counted), 3) if looked_up else None,
        path=list_at(deduping, gone + carried),
        troubles=(*settled.troubles, *sorted(troubles)),
        released=sum(each.released for each in counted),
    )
    summary = {
        **asdict(deduped),
        "path": deduped.path.removeprefix(f"{own.root}/"),
        "troubles": [*deduped.troubles],
        "told": dict(deduping.told),
    }
    own.write(deduping.path(SUMMARY), json.dumps(summary, indent=4).encode())
    return deduped


def _part(keyed: Keyed) -> Part:
    return keyed[1]


def _all_seen(some: Iterable[Seen]) -> Seen:
    return Seen(*map(sum, zip(Seen(), *some, strict=True)))


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

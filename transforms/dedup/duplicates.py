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
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsList

from finecut.io.dataset.output import Entry, NoDataset, Output, clips_named, read_document
from finecut.io.layout import GROUPS, Layout, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.tables.drops import DUPLICATES
from finecut.io.tables.parquet import PARQUET, tables_in, to_parquet
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.dedup.clusters import CLUSTERS, PAIRS, PAIRWISE, Settled
from finecut.transforms.dedup.folder import (
    KEEPERS,
    SUMMARY,
    UNSEEN,
    Deduped,
    Deduping,
    pairwise_tables,
    read_state,
    table_at,
    write_state,
)
from finecut.transforms.dedup.near import GROUP_SCHEMA, rank_of, verdict
from finecut.transforms.dedup.neighbourhoods import Cluster, rank
from finecut.transforms.dedup.pictures import (
    CLIPS,
    Seen,
    compare,
    look,
    near_pairs,
    the_same,
    to_compare,
)
from finecut.transforms.filter.clips import DUPLICATE
from finecut.transforms.verify.checks.shapes import CHUNK, misfit


def decided(settled: Settled, deduping: Deduping, compared: list[str]) -> Deduped:
    """Write the list, the groups and the figures."""
    own = deduping.clustering.own
    graph = near_pairs(deduping)
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
    found = verdict(same, rank_of(graph, deduping.clustering), deduping.eps)
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
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    path = deduping.path(f"{DUPLICATES}/{digest[:12]}{PARQUET}")
    deduping.clustering.own.write(
        path, to_parquet(pa.table({"id": pa.array(ids, pa.string())}), max(1, len(ids) // 10))
    )
    deduping.remove_others(DUPLICATES, {path})
    return path


# ── the transform ────────────────────────────────────────────────────────────────────────────────


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
        looks = deduping.clips is not None
        compared: Any = AsList(_compared(settled, deduping)) if looks else []
        return settled | "Decide" >> beam.Map(decided, deduping, compared).with_output_types(
            Deduped
        )


def _compared(settled: beam.PCollection[Settled], deduping: Deduping) -> beam.PCollection[str]:
    """Settled clusters → where it lies what the pictures of their near pairs say."""
    asked = settled | "Candidates" >> beam.FlatMap(to_compare, deduping).with_outputs(
        CLIPS, main="batches"
    )
    looked = (
        asked[CLIPS]
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


# ── rejected: clips that the dataset has rejected as duplicates, which have no vectors any more ───

KEEPER_SCHEMA: Final = pa.schema([("id", pa.string()), ("kept_id", pa.string())])
#: Documents that are read side by side.
READERS: Final = 16


class Carried(NamedTuple):
    """Clips that were rejected as duplicates."""

    #: They would come back if they left the list.
    ids: list[str]
    #: They should: a rule has rejected the clips that they went for since.
    released: list[str]


class Documents:
    """A dataset's documents; what cannot be used is left out, and named in ``troubles``."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.troubles: list[str] = []

    def rejected(self) -> dict[str, str]:
        """The rejected clips, and by what each was rejected."""
        if not shelf.exists(self.layout.processed_clip_chunks()):
            return {}
        with ThreadPoolExecutor(READERS) as readers:
            found = [
                id
                for part in readers.map(self._rejected_in, Output(self.layout).chunks())
                for id in part
            ]
            reasons = [
                str(said.get("filtered_by") or "") for said in readers.map(self._of_clip, found)
            ]
        return dict(zip(found, reasons, strict=True))

    def seconds(self, clips: list[str]) -> float:
        """How long these clips are together."""
        with ThreadPoolExecutor(READERS) as readers:
            return round(sum(readers.map(self._length, clips)), 3)

    def _rejected_in(self, chunk: str) -> list[str]:
        try:
            said = read_document(chunk)
            if (wrong := misfit(chunk, said, CHUNK)) is not None:
                self.troubles.append(wrong)
            return [id for id, kept in clips_named(said, chunk) if not kept]
        except NoDataset as error:
            self.troubles.append(str(error))
            return []

    def _length(self, clip: str) -> float:
        said = self._of_clip(clip)
        if "duration_span" not in said:
            return 0.0
        try:
            start, end = Entry(clip, kept=True, path="", chunk="", document=said).span
        except NoDataset as error:
            self.troubles.append(str(error))
            return 0.0
        return end - start

    def _of_clip(self, clip: str) -> Mapping[str, Any]:
        """What is known of a clip; nothing of one without a document."""
        try:
            # Tables of other programs may have ids that lead elsewhere.
            return (read_json(self.layout.meta(clip)) if is_clip_id(clip) else None) or {}
        except BadDocument as error:
            self.troubles.append(str(error))
            return {}


def carried(deduping: Deduping, documents: Documents, removed: set[str]) -> Carried:
    """The clips that the dataset has rejected as duplicates, whichever list they were on."""
    rejected = documents.rejected()
    keepers = _known_keepers(deduping, documents.layout)
    clips = sorted(id for id, by in rejected.items() if by == DUPLICATE and id not in removed)
    # Before the groups that say so are replaced.
    known = {id: keepers[id] for id in clips if id in keepers}
    table = pa.table({"id": [*known], "kept_id": [*known.values()]}, schema=KEEPER_SCHEMA)
    own, path = deduping.clustering.own, deduping.path(KEEPERS)
    if known:
        own.write(path, to_parquet(table))
    else:
        own.remove(path)
    stay = [id for id in clips if still_goes(id, keepers, rejected)]
    return Carried(stay, sorted({*clips} - {*stay}))


def still_goes(clip: str, keepers: Mapping[str, str], rejected: Mapping[str, str]) -> bool:
    """Whether the clip that this one went for is kept, or goes for one that is, as far as known.

    >>> still_goes("b", {"b": "a"}, {"b": "duplicate"})
    True
    >>> still_goes("b", {"b": "a"}, {"b": "duplicate", "a": "motion"})
    False
    """
    met = set()
    while clip in keepers and clip not in met:
        met.add(clip)
        clip = keepers[clip]
        if clip not in rejected:
            return True
        if rejected[clip] != DUPLICATE:
            return False
    return clip not in met  # in a circle nobody stays


def _known_keepers(deduping: Deduping, layout: Layout) -> dict[str, str]:
    """Which clips others went for, as earlier runs noted; the one in this folder counts most."""
    found: dict[str, str] = {}
    for root in (layout.dedup(), deduping.clustering.own.root):
        for name, schema in ((KEEPERS, KEEPER_SCHEMA), (GROUPS, GROUP_SCHEMA)):
            table = table_at(f"{root}/{name}", schema) or schema.empty_table()
            columns = (table.column(key).to_pylist() for key in ("id", "kept_id"))
            found |= {id: keeper for id, keeper in zip(*columns, strict=True) if id != keeper}
    return found

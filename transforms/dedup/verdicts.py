"""Verdicts: who stays of what hangs together, for as many groups at once as fit into a bucket.

    same (pairs by item) + labels ─▶ labelled ─▶ by label ─▶ sentenced ─▶ groups, removed

All pairs of a group are in one bucket then, so each is judged as if there were no other.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsSingleton, TaggedOutput

from finecut.io.layout import GROUPS
from finecut.transforms.dedup.beside import Bucket, place_of
from finecut.transforms.dedup.by_key import Keyed, Part, Together, lay, lay_here, read, rows_of
from finecut.transforms.dedup.clusters import PAIR_SCHEMA, Settled
from finecut.transforms.dedup.components import LABEL, LABELS, with_labels
from finecut.transforms.dedup.folder import Deduping
from finecut.transforms.dedup.near import graph_of, rank_of, verdict

#: Kinds of parts: pairs with their label, and clips to be removed.
LABELLED, REMOVED = "labelled", "removed"
#: The tag of how many groups there are.
NUMBER: Final = "number"

PAIR_OF_GROUP: Final = PAIR_SCHEMA.append(pa.field("label", pa.string()))
IDS: Final = pa.schema([("id", pa.string())])


def labelled(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """The pairs whose first ids are in a bucket, by the label of that."""
    home, parts = bucket
    parts = list(parts)
    pairs = pa.concat_tables(
        [PAIR_SCHEMA.empty_table(), *(read(part) for part in parts if part.kind != LABEL)]
    )
    # Each stands there from both of its ends.
    pairs = pairs.filter(pc.less(pairs.column("first"), pairs.column("second")))
    pairs = pairs.append_column("label", pairs.column("first"))
    named = with_labels(pairs, "first", rows_of(parts, LABEL, LABELS))
    yield from lay(named, "label", LABELLED, place_of(f"labelled/{home}", deduping, settled))


def sentenced(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """The groups of a bucket, whole ones; and, tagged, who goes, and how many groups there are."""
    home, parts = bucket
    graph = graph_of(rows_of(parts, LABELLED, PAIR_OF_GROUP))
    found = verdict(graph, rank_of(graph, deduping.clustering), deduping.eps)
    place = place_of(f"sentenced/{home}", deduping, settled)
    yield TaggedOutput(NUMBER, len(found.groups.column("group").unique()))
    yield from (part for _, part in lay_here(found.groups, home, GROUPS, place))
    removed = pa.table([pa.array(found.removed, pa.string())], schema=IDS)
    yield from (TaggedOutput(REMOVED, keyed) for keyed in lay(removed, "id", REMOVED, place))


class Verdicts(NamedTuple):
    """Who goes, and why."""

    #: Parts with whole groups.
    groups: beam.PCollection[Part]
    #: How many groups, bucket by bucket.
    number: beam.PCollection[int]
    #: Parts by id.
    removed: beam.PCollection[Keyed]


class Judge(beam.PTransform[Any, Any]):
    """Settled clusters, and parts by item of pairs and of labels → :class:`Verdicts`."""

    def __init__(
        self, deduping: Deduping, same: beam.PCollection[Keyed], labels: beam.PCollection[Keyed]
    ) -> None:
        super().__init__()
        self.deduping, self.same, self.labels = deduping, same, labels

    def expand(self, settled: beam.PCollection[Settled]) -> Any:
        deduping, side = self.deduping, AsSingleton(settled)
        found = (
            (
                (self.same, self.labels)
                | "With labels" >> Together()
                | "Label pairs" >> beam.FlatMap(labelled, deduping, side).with_output_types(Keyed),
            )
            | "By label" >> Together()
            | "Sentence"
            >> beam.FlatMap(sentenced, deduping, side).with_outputs(REMOVED, NUMBER, main=GROUPS)
        )
        return Verdicts(found[GROUPS], found[NUMBER], found[REMOVED])

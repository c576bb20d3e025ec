"""Beside: the near pairs of all clusters, brought to both of their ends.

    pairs of pieces ─▶ laid down at both ends ─▶ each item with all that is near it
                                                  ├─▶ near      the pairs, each once
                                                  └─▶ wanted    those whose pictures are compared

Which pairs of an item are compared depends on all that is near it, and on nothing else: so no
worker has to see more than the items of one bucket.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsSingleton, TaggedOutput

from finecut.io.storage import files as shelf
from finecut.io.tables.parquet import from_parquet
from finecut.transforms.catalogue.on_workers import batched
from finecut.transforms.dedup.by_key import (
    Keyed,
    Part,
    Place,
    Together,
    buckets_for,
    in_blocks,
    lay,
    lay_here,
    rows_of,
)
from finecut.transforms.dedup.clusters import PAIR_SCHEMA, Indices, Settled
from finecut.transforms.dedup.folder import Deduping
from finecut.transforms.dedup.near import Graph, closest, graph_of, rank_of

#: Pieces whose pairs one worker lays down.
PIECES: Final = 64
#: Kinds of parts: pairs at one of their ends; each pair once; those to be compared.
ENDS, NEAR, WANTED = "ends", "near", "wanted"
#: The tag of how many pairs there are.
PAIRS: Final = "pairs"

#: The columns of a pair whose second becomes its first.
SWAPPED: Final = (
    *("second", "first", "cosine"),
    *("second_distance", "first_distance", "second_merit", "first_merit"),
)

Places = tuple[tuple[int, int], ...]
Bucket = tuple[int, Iterable[Part]]


class Beside(NamedTuple):
    """What is near each other."""

    #: Parts by the bucket of each pair's first id: each pair once, or, where vectors alone decide,
    #: at both of its ends.
    near: beam.PCollection[Keyed]
    #: Parts of the same buckets.
    wanted: beam.PCollection[Keyed]
    #: How many pairs there are, bucket by bucket.
    pairs: beam.PCollection[int]


def both_ways(pairs: pa.Table) -> pa.Table:
    """Each pair twice: with either of the two as the first."""
    swapped = [pairs.column(name) for name in SWAPPED]
    return pa.concat_tables([pairs, pa.table(swapped, schema=PAIR_SCHEMA)])


def place_of(name: str, deduping: Deduping, settled: Settled) -> Place:
    """Where a step lays rows down under this name."""
    own = deduping.clustering.own
    buckets = buckets_for(settled, deduping.bucket_pairs)
    return Place(deduping.clustering.staged(name), buckets, own)


def spread(places: Places, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """The pairs of these pieces that are near enough, at both of their ends."""
    for number, block in enumerate(in_blocks(_near_in(places, deduping))):
        centroid, piece = places[0]
        place = place_of(f"ends/{centroid}_{piece}_{number}", deduping, settled)
        yield from lay(both_ways(block), "first", ENDS, place)


def _near_in(places: Places, deduping: Deduping) -> Iterator[pa.Table]:
    least = pc.field("cosine") >= np.float32(1 - deduping.eps)
    for place in places:
        yield from_parquet(shelf.read(deduping.clustering.pairs(*place))).filter(least)


def gathered(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """All that is near the items of a bucket: the pairs, and which of them are wanted."""
    number, parts = bucket
    ends = rows_of(parts, ENDS, PAIR_SCHEMA)
    graph = graph_of(ends)
    forwards = graph.pairs.first < graph.pairs.second
    place = place_of(f"beside/{number}", deduping, settled)
    yield TaggedOutput(PAIRS, int(forwards.sum()))
    # Where vectors alone decide, the pairs are where they will be judged already.
    here = graph.rows if deduping.clips is None else graph.rows[forwards]
    yield from lay_here(ends.take(pa.array(here)), number, NEAR, place)
    if deduping.clips is not None:
        asked = _wanted(ends, graph, rank_of(graph, deduping.clustering))
        yield from (TaggedOutput(WANTED, k) for k in lay(asked, "first", WANTED, place))


def _wanted(ends: pa.Table, graph: Graph, rank: Indices) -> pa.Table:
    """The pairs that are compared, by their ids; some twice, once for each of their ends."""
    item, other, cosine = graph.pairs
    forwards, ids = item < other, ends.select(["first", "second"])
    wanted = closest(item, rank[other], cosine)
    there = ids.take(pa.array(graph.rows[wanted & forwards]))
    back = ids.take(pa.array(graph.rows[wanted & ~forwards])).select(["second", "first"])
    return pa.concat_tables([there, back.rename_columns(["first", "second"])])


class BringTogether(beam.PTransform[beam.PCollection[Settled], Any]):
    """Settled clusters → :class:`Beside`."""

    def __init__(self, deduping: Deduping) -> None:
        super().__init__()
        self.deduping = deduping

    def expand(self, settled: beam.PCollection[Settled]) -> Any:
        deduping, known = self.deduping, AsSingleton(settled)
        ends = (
            settled
            | "Pieces of pairs" >> beam.FlatMap(_portions).with_output_types(Places)
            | "Deal pairs" >> beam.Reshuffle()
            | "To both ends" >> beam.FlatMap(spread, deduping, known).with_output_types(Keyed)
        )
        found = (
            (ends,)
            | "By item" >> Together()
            | "Beside"
            >> beam.FlatMap(gathered, deduping, known).with_outputs(WANTED, PAIRS, main=NEAR)
        )
        return Beside(found[NEAR], found[WANTED], found[PAIRS])


def _portions(settled: Settled) -> Iterator[Places]:
    return map(tuple, batched(settled.places, PIECES))

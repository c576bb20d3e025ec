"""Components: what hangs together by near pairs gets one label, although nobody sees all pairs.

    edges ─▶ hooked      each item at the one of its neighbourhood with the lowest number
          ─▶ linked      edges between those, which are far fewer: most groups are one by now
    … ROUNDS times; what is left then is joined in one place
          ─▶ named       and labels are handed back, round by round

Numbers are drawn by id, anew in each round. So even of the longest chain a round leaves half, and
of a million that are all alike one. An item whose neighbourhood was contracted is connected to the
same as before, and to nothing else; so labels are exact, however many rounds there are.
"""

from collections.abc import Iterator
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsSingleton, TaggedOutput

from finecut.transforms.dedup.beside import Bucket, place_of
from finecut.transforms.dedup.by_key import (
    Keyed,
    Part,
    Together,
    coded,
    lay,
    lay_here,
    numbers_of,
    read,
    rows_of,
)
from finecut.transforms.dedup.clusters import Indices, Settled
from finecut.transforms.dedup.folder import Deduping
from finecut.transforms.dedup.near import groups_among, inverse

#: How often edges are contracted before the rest is joined in one place.
ROUNDS: Final = 2
#: Kinds of parts: edges between labels, from both of their ends; the label of each item; what
#: neighbours say of theirs; items that ask for the label of their label; and the answer.
EDGE, MAP, SAID, ASKS, LABEL = "edge", "map", "said", "asks", "label"

EDGES: Final = pa.schema([("first", pa.string()), ("second", pa.string())])
LABELS: Final = pa.schema([("item", pa.string()), ("label", pa.string())])


def hooked(bucket: Bucket, number: int, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """The label of each item of a bucket, and, tagged, what its neighbours have to know of it."""
    home, parts = bucket
    edges = pa.concat_tables([read(part).select(EDGES.names) for part in parts])
    names, (item, other) = coded([edges.column("first"), edges.column("second")])
    order = np.lexsort((np.arange(len(names)), numbers_of(names, number)))
    rank = inverse(order)
    least = rank.copy()
    np.minimum.at(least, item, rank[other])
    items = np.unique(item)
    place = place_of(f"hooked/{number}/{home}", deduping, settled)
    labels = [names.take(pa.array(items)), names.take(pa.array(order[least[items]]))]
    yield from lay_here(pa.table(labels, schema=LABELS), home, MAP, place)
    pairs = np.unique(other * len(names) + order[least[item]])
    others, label = np.divmod(pairs, len(names))
    said = pa.table([names.take(pa.array(c)) for c in (others, label)], schema=LABELS)
    yield from (TaggedOutput(SAID, keyed) for keyed in lay(said, "item", SAID, place))


def linked(bucket: Bucket, number: int, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """The edges between labels that items of a bucket and their neighbours have."""
    home, parts = bucket
    parts = list(parts)
    own, said = rows_of(parts, MAP, LABELS), rows_of(parts, SAID, LABELS)
    columns = [table.column(name) for table in (own, said) for name in LABELS.names]
    names, (item, label, neighbour, other) = coded(columns)
    label_of = np.empty(len(names), np.int64)
    label_of[item] = label
    first = label_of[neighbour]
    apart = first != other
    one, two = np.divmod(np.unique(first[apart] * len(names) + other[apart]), max(1, len(names)))
    edges = pa.table([names.take(pa.array(c)) for c in (one, two)], schema=EDGES)
    yield from lay(edges, "first", EDGE, place_of(f"linked/{number}/{home}", deduping, settled))


def joined(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """The labels of all that is left, in one place."""
    edges = rows_of(bucket[1], EDGE, EDGES)
    names, (one, other) = coded([edges.column("first"), edges.column("second")])
    label = groups_among(len(names), one, other)
    table = pa.table([names, names.take(pa.array(label))], schema=LABELS)
    yield from lay(table, "item", LABEL, place_of("joined", deduping, settled))


def asking(
    keyed: Keyed, number: int, deduping: Deduping, settled: Settled, left: int
) -> Iterator[Any]:
    """The items of a round, where the label of their label is known; tagged if it has none."""
    home, part = keyed
    place = place_of(f"asking/{number}/{home}", deduping, settled)
    if left:
        yield from lay(read(part), "label", ASKS, place)
    else:
        yield from (TaggedOutput(LABEL, k) for k in lay_here(read(part), home, LABEL, place))


def named(bucket: Bucket, number: int, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """Each item that asks, with the label of its label."""
    home, parts = bucket
    parts = list(parts)
    asks, known = rows_of(parts, ASKS, LABELS), rows_of(parts, LABEL, LABELS)
    place = place_of(f"named/{number}/{home}", deduping, settled)
    yield from lay(with_labels(asks, "label", known), "item", LABEL, place)


def with_labels(table: pa.Table, by: str, labels: pa.Table) -> pa.Table:
    """The items of a table with their labels: what they have in this column if nothing else."""
    columns = [table.column(by), labels.column("item"), labels.column("label")]
    names, (asked, item, label) = coded(columns)
    label_of = np.arange(len(names))
    label_of[item] = label
    found: Indices = label_of[asked]
    return table.set_column(table.column_names.index("label"), "label", names.take(pa.array(found)))


class Label(beam.PTransform[Any, beam.PCollection[Keyed]]):
    """Settled clusters, and parts by item of pairs at both of their ends → parts by item: each with
    its label, which all that hangs together have in common.
    """

    def __init__(self, deduping: Deduping, edges: beam.PCollection[Keyed]) -> None:
        super().__init__()
        self.deduping, self.edges = deduping, edges

    def expand(self, settled: beam.PCollection[Settled]) -> beam.PCollection[Keyed]:
        deduping, side, edges = self.deduping, AsSingleton(settled), self.edges
        maps, left = [], []
        for number in range(ROUNDS):
            said = (
                (edges,)
                | f"Edges {number}" >> Together()
                | f"Hook {number}"
                >> beam.FlatMap(hooked, number, deduping, side).with_outputs(SAID, main=MAP)
            )
            edges = (
                (said[MAP], said[SAID])
                | f"Labels {number}" >> Together()
                | f"Link {number}"
                >> beam.FlatMap(linked, number, deduping, side).with_output_types(Keyed)
            )
            maps.append(said[MAP])
            left.append(edges | f"Left {number}" >> beam.combiners.Count.Globally())
        labels = (
            (edges | "In one place" >> beam.MapTuple(_in_one_place),)
            | "Left" >> Together()
            | "Join" >> beam.FlatMap(joined, deduping, side).with_output_types(Keyed)
        )
        for number in reversed(range(ROUNDS)):
            asked = maps[number] | f"Ask {number}" >> beam.FlatMap(
                asking, number, deduping, side, left=AsSingleton(left[number])
            ).with_outputs(LABEL, main=ASKS)
            answered = (
                (asked[ASKS], labels)
                | f"Asked {number}" >> Together()
                | f"Name {number}"
                >> beam.FlatMap(named, number, deduping, side).with_output_types(Keyed)
            )
            labels = (asked[LABEL], answered) | f"Named {number}" >> beam.Flatten()
        return labels


def _in_one_place(_bucket: int, part: Part) -> Keyed:
    return 0, part

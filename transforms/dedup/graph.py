"""Graph: the near pairs of all clusters, which of them are looked at, and what stays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.storage import files as shelf
from finecut.io.tables.parquet import from_parquet
from finecut.transforms.dedup.clustering import PAIR_SCHEMA, Clustering
from finecut.transforms.dedup.clusters import Indices
from finecut.transforms.dedup.near import Pairs, chosen, groups, ranked

#: How many of an item's likely duplicates are compared: the nearest, and those ranked first.
NEAREST, FIRST = 16, 4

GROUP_SCHEMA: Final = pa.schema(
    [
        ("group", pa.string()),
        ("id", pa.string()),
        ("kept", pa.bool_()),
        ("kept_id", pa.string()),
        ("cosine", pa.float32()),
    ]
)


class Graph(NamedTuple):
    """Items that have near ones, by number, and the pairs of them."""

    ids: NDArray[np.str_]
    distances: NDArray[np.float32]
    pairs: Pairs

    def named(self, which: NDArray[np.bool_] | None = None) -> list[tuple[str, str]]:
        """The pairs (or those of them), by ids."""
        pairs = self.pairs if which is None else self.pairs.take(which)
        first, second = self.ids[pairs.first], self.ids[pairs.second]
        return list(zip(first.tolist(), second.tolist(), strict=True))


def read_graph(paths: Iterable[str], least: float) -> Graph:
    """All pairs of at least this cosine in these tables, each once."""
    near = pc.field("cosine") >= np.float32(least)
    tables = (from_parquet(shelf.read(path)).filter(near) for path in sorted(paths))
    table = pa.concat_tables([PAIR_SCHEMA.empty_table(), *tables])
    both = pa.concat_arrays(
        [table.column(name).combine_chunks() for name in ("first", "second")]
    ).dictionary_encode()
    names = np.array(both.dictionary.to_pylist(), np.str_)
    order = np.argsort(names)
    first, second = np.split(inverse(order)[both.indices.to_numpy()], 2)
    distances = np.empty(len(names), np.float32)
    distances[first] = table.column("first_distance").to_numpy()
    distances[second] = table.column("second_distance").to_numpy()
    # Two that met in two clusters are one pair.
    _, once = np.unique(first * len(names) + second, return_index=True)
    cosine = table.column("cosine").to_numpy()
    return Graph(names[order], distances, Pairs(first[once], second[once], cosine[once]))


def inverse(order: Indices) -> Indices:
    """The place of each number in an order of them."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def rank_of(graph: Graph, clustering: Clustering) -> Indices:
    """The place of each item in the one order of all items."""
    return inverse(ranked(graph.distances, graph.ids, clustering.keep, clustering.seed))


def candidates(graph: Graph, rank: Indices) -> NDArray[np.bool_]:
    """The pairs to be looked at: of each item the nearest, and those ranked first.

    Of equally near ones the first by rank: of a thousand black clips all are compared with the one
    that stays.
    """
    first, second, cosine = graph.pairs
    item, other = np.append(first, second), np.append(second, first)
    near, pair = np.tile(cosine, 2), np.tile(np.arange(len(first)), 2)
    wanted = np.zeros(len(first), bool)
    for keys, most in (((rank[other], -near), NEAREST), ((rank[other],), FIRST)):
        order = np.lexsort((*keys, item))
        begins = np.flatnonzero(np.diff(item[order], prepend=-1))
        place = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
        wanted[pair[order][place < most]] = True
    return wanted


class Verdict(NamedTuple):
    """What goes, and the groups that it is in."""

    removed: list[str]
    groups: pa.Table


def verdict(graph: Graph, rank: Indices, eps: float) -> Verdict:
    """Of each pair that is near enough one goes, unless what it is near to goes itself."""
    number = len(graph.ids)
    done = chosen(number, graph.pairs, rank, eps)
    group = groups(number, graph.pairs, eps)
    rows = np.flatnonzero(np.bincount(group, minlength=number)[group] > 1)
    # By group, as its first-ranked is, and by rank within.
    first = np.full(number, np.iinfo(np.int64).max)
    np.minimum.at(first, group[rows], rank[rows])
    rows = rows[np.lexsort((rank[rows], first[group[rows]]))]
    heads = inverse(rank)[first[group[rows]]]
    stays = done.kept == np.arange(number)
    table = pa.table(
        {
            "group": graph.ids[heads].tolist(),
            "id": graph.ids[rows].tolist(),
            "kept": stays[rows],
            "kept_id": graph.ids[done.kept[rows]].tolist(),
            "cosine": done.cosine[rows],
        },
        schema=GROUP_SCHEMA,
    )
    return Verdict(sorted(graph.ids[~stays].tolist()), table)

"""Near: which vectors of a cluster are nearly the same, and which one of them stays.

    a cluster ──blockwise──▶ pairs of cosine ≥ floor          neighbours()
    all pairs of all clusters, ranked ──▶ what stays          chosen()

A vector is at home in its nearest cluster and a visitor in some others, so that two that lie on
both sides of a border meet anyway. What is removed is removed for one that stays: no chain of
look-alikes takes away the last of them.

Of thousands that are all alike (black pictures) each has thousands of neighbours, and all pairs of
them would be millions. So of a crowd only those pairs are kept that decide: the nearest ones, and
at each of some levels of likeness those that come first in any of the rankings, since a vector goes
if the first of those that are near enough stays.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finecut.transforms.dedup.by_key import coded
from finecut.transforms.dedup.clusters import Clustering, Floats, Indices

#: Rows compared at once where all rows are: a block of products takes 16 MB.
ROWS: Final = 2048
#: Products at once, where few rows meet many others.
PRODUCTS: Final = 4_000_000
#: Pairs whose cosine is computed once more, exactly, at once.
EXACTLY: Final = 2048
#: With more neighbours than this a vector is in a crowd; then that many of the nearest are kept.
CROWD: Final = 64
NEAREST: Final = 24
#: And at each of these levels that many of those that come first.
LEVELS: Final = (0.0, 0.8, 0.9, 0.95, 0.99)
FIRST: Final = 2
#: By how much products of blocks may be off.
ROUGHLY: Final = 1e-4


class Pairs(NamedTuple):
    """Near vectors: numbers of two rows each, and their cosine."""

    first: Indices
    second: Indices
    cosine: Floats

    def take(self, which: NDArray[np.bool_]) -> Self:
        return self._replace(
            first=self.first[which], second=self.second[which], cosine=self.cosine[which]
        )


def neighbours(
    vectors: Floats, home: int, floor: float, orders: Sequence[Indices] = (), crowd: int = CROWD
) -> Pairs:
    """Pairs of the first ``home`` rows with all rows, of a cosine of at least ``floor``.

    Each pair once, the lower number first, in order. ``orders`` are rankings of the rows (their
    numbers, the first one first), by which pairs of a crowd are chosen.
    """
    found = [np.empty((0, 2), np.int64)]
    step = max(1, PRODUCTS // max(1, len(vectors)))
    for top in range(0, home, step):
        products = vectors[top : min(home, top + step)] @ vectors.T
        rows = np.arange(len(products))
        products[rows, rows + top] = -np.inf
        near = products >= floor - ROUGHLY
        crowded = near.sum(axis=1) > crowd
        found.append(np.argwhere(near & ~crowded[:, None]) + np.array([top, 0]))
        if crowded.any():
            products[~near] = -np.inf
            of_crowd = _of_a_crowd(products[crowded], orders)
            of_crowd[:, 0] = rows[crowded][of_crowd[:, 0]] + top
            found.append(of_crowd)
    met = np.concatenate(found)
    # One number for each pair: sorting rows takes ten times as long.
    keys = np.unique(met.min(axis=1) * len(vectors) + met.max(axis=1)) if len(met) else met[:, 0]
    first, second = np.divmod(keys, max(1, len(vectors)))
    cosine = _cosines(vectors, first, second)
    return Pairs(first, second, cosine).take(cosine >= np.float32(floor))


def _of_a_crowd(products: Floats, orders: Sequence[Indices]) -> Indices:
    """Rows and columns of the pairs that decide."""
    count = len(products)
    nearest = min(NEAREST, products.shape[1] - 1)
    columns = [np.argpartition(-products, nearest, axis=1)[:, :nearest]]
    for order in orders:
        ranked = products[:, order]
        for level in LEVELS:
            near = ranked >= level - ROUGHLY
            for _ in range(FIRST):
                first = near.argmax(axis=1)
                near[np.arange(count), first] = False
                columns.append(order[first][:, None])
    chosen = np.concatenate(columns, axis=1)
    pairs = np.stack([np.repeat(np.arange(count), chosen.shape[1]), chosen.ravel()], axis=1)
    # Where nobody reaches a level, the first of all was named instead.
    return pairs[np.isfinite(products[pairs[:, 0], pairs[:, 1]])]


def _cosines(vectors: Floats, first: Indices, second: Indices) -> Floats:
    """Cosines to the last digit, whatever blocks the rows were in."""
    cosines = np.empty(len(first), np.float32)
    for start in range(0, len(first), EXACTLY):
        part = slice(start, start + EXACTLY)
        one, other = vectors[first[part]], vectors[second[part]]
        cosines[part] = (one.astype(np.float64) * other).sum(axis=1)
    return np.minimum(cosines, np.float32(1))


def nearest_before(vectors: Floats) -> tuple[Indices, Floats]:
    """For each row the nearest of those before it and their cosine, as the reference has it.

    Where nothing comes before, or nothing on this side, it is the row itself and 0.
    """
    found = np.arange(len(vectors))
    cosines = np.zeros(len(vectors), np.float32)
    for top in range(0, len(vectors), ROWS):
        rows = vectors[top : top + ROWS]
        for left in range(0, top + 1, ROWS):
            products = rows @ vectors[left : left + ROWS].T
            if left == top:
                products[np.triu_indices(len(rows), m=products.shape[1])] = 0
            best = products.argmax(axis=1)
            cosine = products[np.arange(len(rows)), best]
            better = cosine > cosines[top : top + ROWS]
            found[top : top + ROWS][better] = best[better] + left
            cosines[top : top + ROWS][better] = cosine[better]
    return found, np.where(
        cosines > 0, _cosines(vectors, found, np.arange(len(vectors))), np.float32(0)
    )


class Standing(NamedTuple):
    """What rows are ranked by."""

    ids: NDArray[np.str_]
    #: From the centroid of each one's cluster.
    distances: NDArray[np.floating]
    #: The larger, the better the clip.
    merits: NDArray[np.uint64]


def ranked(rows: Standing, keep: str, seed: int) -> Indices:
    """What comes first is kept: ``best`` the one of the highest merit, ``hard`` the farthest from
    its centroid, ``easy`` the nearest.

    ``random`` draws by the id, so that the order of two does not depend on what else is there.
    """
    if keep == "random":
        return np.lexsort((rows.ids, lots(rows.ids, seed)))
    if keep == "best":
        return np.lexsort((rows.ids, ~rows.merits))
    order = np.lexsort((rows.ids, rows.distances))
    return order[::-1] if keep == "hard" else order


def lots(ids: Sequence[str] | NDArray[np.str_], seed: int) -> NDArray[np.uint64]:
    """A number for each id that looks drawn by chance, and is always the same."""
    drawn = (hashlib.blake2b(f"{seed} {id}".encode(), digest_size=8).digest() for id in ids)
    return np.frombuffer(b"".join(drawn), ">u8").astype(np.uint64)


class Chosen(NamedTuple):
    """What became of each row: the one that stays for it (itself if it stays), and their cosine."""

    kept: Indices
    cosine: Floats


def chosen(count: int, near: Pairs, rank: Indices, eps: float) -> Chosen:
    """Rows in the order of their rank: each stays unless one that stays is as near as 1 - eps.

    Of several that stay, the nearest is named.
    """
    one, other, how = near.take(near.cosine >= np.float32(1 - eps))
    swap = rank[one] > rank[other]
    earlier, later = np.where(swap, other, one), np.where(swap, one, other)
    # By the rank of the later one: whether the earlier ones stay is known by then.
    order = np.argsort(rank[later], kind="stable")
    gone = bytearray(count)
    for before, row in zip(earlier[order].tolist(), later[order].tolist(), strict=True):
        if not gone[before]:
            gone[row] = 1
    return _nearest_that_stay(
        np.frombuffer(gone, np.uint8).astype(bool),
        np.append(one, other),
        np.append(other, one),
        np.tile(how, 2),
    )


def _nearest_that_stay(
    goes: NDArray[np.bool_], row: Indices, other: Indices, how: Floats
) -> Chosen:
    useful = goes[row] & ~goes[other]
    row, other, how = row[useful], other[useful], how[useful]
    order = np.lexsort((other, -how, row))
    which, first = np.unique(row[order], return_index=True)
    kept, cosine = np.arange(len(goes)), np.ones(len(goes), np.float32)
    kept[which], cosine[which] = other[order][first], how[order][first]
    return Chosen(kept, cosine)


def groups(count: int, near: Pairs, eps: float) -> Indices:
    """The group of each row, by the lowest number in it: what is near is in one group."""
    one, other, _ = near.take(near.cosine >= np.float32(1 - eps))
    return groups_among(count, one, other)


def groups_among(count: int, one: Indices, other: Indices) -> Indices:
    """The same by all of these links."""
    group = np.arange(count)
    while True:
        lower = np.minimum(group[one], group[other])
        joined = group.copy()
        for side in (one, other):
            np.minimum.at(joined, group[side], lower)
            np.minimum.at(joined, side, lower)
        joined = joined[joined]
        if (joined == group).all():
            return group
        group = joined


#: How many of an item's likely duplicates are compared: the nearest, and those ranked first.
CLOSEST, EARLIEST = 16, 4

GROUP_SCHEMA: Final = pa.schema(
    [
        ("group", pa.string()),
        ("id", pa.string()),
        ("kept", pa.bool_()),
        ("kept_id", pa.string()),
        ("cosine", pa.float32()),
    ]
)
#: And by what they are ranked.
RANKED_GROUPS: Final = GROUP_SCHEMA.append(pa.field("distance", pa.float32())).append(
    pa.field("merit", pa.uint64())
)


class Graph(NamedTuple):
    """Items that have near ones, by number in the order of their ids, and the pairs of them."""

    standing: Standing
    pairs: Pairs
    #: In which row of its table each pair stands.
    rows: Indices

    @property
    def ids(self) -> NDArray[np.str_]:
        return self.standing.ids


def graph_of(table: pa.Table) -> Graph:
    """The pairs of this table, each once: two that met in two clusters are one pair.

    Of pairs that stand there both ways, both are kept.
    """
    names, (first, second) = coded([table.column("first"), table.column("second")])
    distances, merits = np.empty(len(names), np.float32), np.empty(len(names), np.uint64)
    for which, name in ((first, "first"), (second, "second")):
        distances[which] = table.column(f"{name}_distance").to_numpy()
        merits[which] = table.column(f"{name}_merit").to_numpy()
    _, once = np.unique(first * len(names) + second, return_index=True)
    return Graph(
        Standing(np.array(names.to_pylist(), np.str_), distances, merits),
        Pairs(first[once], second[once], table.column("cosine").to_numpy()[once]),
        once,
    )


def inverse(order: Indices) -> Indices:
    """The place of each number in an order of them."""
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def rank_of(graph: Graph, clustering: Clustering) -> Indices:
    """The place of each item in the one order of all items."""
    return inverse(ranked(graph.standing, clustering.keep, clustering.seed))


def closest(item: Indices, rank: Indices, cosine: Floats) -> NDArray[np.bool_]:
    """Which of those beside each item are looked at: the nearest, and those ranked first.

    ``rank`` and ``cosine`` are of those beside it. Of equally near ones the first by rank: of a
    thousand black clips all are compared with the one that stays.
    """
    wanted = np.zeros(len(item), bool)
    for keys, most in (((rank, -cosine), CLOSEST), ((rank,), EARLIEST)):
        order = np.lexsort((*keys, item))
        begins = np.flatnonzero(np.diff(item[order], prepend=-1))
        place = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
        wanted[order[place < most]] = True
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
    first = np.full(number, np.iinfo(np.int64).max)
    np.minimum.at(first, group[rows], rank[rows])
    stays = done.kept == np.arange(number)
    table = pa.table(
        {
            "group": graph.ids[inverse(rank)[first[group[rows]]]].tolist(),
            "id": graph.ids[rows].tolist(),
            "kept": stays[rows],
            "kept_id": graph.ids[done.kept[rows]].tolist(),
            "cosine": done.cosine[rows],
            "distance": graph.standing.distances[rows],
            "merit": graph.standing.merits[rows],
        },
        schema=RANKED_GROUPS,
    )
    return Verdict(sorted(graph.ids[~stays].tolist()), table)


def in_order(groups_of: pa.Table, clustering: Clustering) -> pa.Table:
    """Whole groups in the order of those that are ranked first in them, and by rank within."""
    if not len(groups_of):
        return GROUP_SCHEMA.empty_table()
    names, (ids, named) = coded([groups_of.column("id"), groups_of.column("group")])
    distances, merits = np.empty(len(names), np.float32), np.empty(len(names), np.uint64)
    distances[ids] = groups_of.column("distance").to_numpy()
    merits[ids] = groups_of.column("merit").to_numpy()
    standing = Standing(np.array(names.to_pylist(), np.str_), distances, merits)
    rank = inverse(ranked(standing, clustering.keep, clustering.seed))
    order = np.lexsort((rank[ids], rank[named]))
    return groups_of.take(pa.array(order)).select(GROUP_SCHEMA.names)

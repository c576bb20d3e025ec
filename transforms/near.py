"""Near: which vectors of a cluster are nearly the same, and which one of them stays.

    a cluster ──blockwise──▶ pairs of cosine ≥ floor          pairs()
    all pairs of all clusters, ranked ──▶ who stays           chosen()

A vector is at home in its nearest cluster and a visitor in some others, so that two that lie on
both sides of a border meet anyway. What is removed is removed for one that stays: no chain of
look-alikes takes away the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finecut.transforms.clusters import Floats, Indices

#: Rows compared at once: a block of products takes 16 MB.
ROWS: Final = 2048


class Pairs(NamedTuple):
    """Near vectors: numbers of two rows each, and their cosine."""

    first: Indices
    second: Indices
    cosine: Floats


def pairs(vectors: Floats, floor: float) -> Pairs:
    """Each two rows of a cosine of at least ``floor``, once, the lower number first."""
    blocks = list(_blocks(vectors, floor))
    if not blocks:
        empty = np.empty(0, np.int64)
        return Pairs(empty, empty, np.empty(0, np.float32))
    return Pairs(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _blocks(vectors: Floats, floor: float) -> Iterator[Pairs]:
    for top in range(0, len(vectors), ROWS):
        rows = vectors[top : top + ROWS]
        for left in range(top, len(vectors), ROWS):
            products = rows @ vectors[left : left + ROWS].T
            first, second = np.nonzero(products >= floor)
            if top == left:
                above = first < second
                first, second = first[above], second[above]
            yield Pairs(first + top, second + left, products[first, second])


def nearest_before(vectors: Floats) -> tuple[Indices, Floats]:
    """For each row the nearest of those before it and their cosine, as the reference has it.

    Where there is none before, or none on this side, it is the row itself and 0.
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
    return found, np.minimum(cosines, 1)


def ranked(distances: NDArray[np.floating], ids: NDArray[np.str_], keep: str, seed: int) -> Indices:
    """Who comes first is kept: ``hard`` the farthest from its centroid, ``easy`` the nearest."""
    if keep == "random":
        by_name = np.argsort(ids, kind="stable")
        return by_name[np.random.default_rng(seed).permutation(len(ids))]
    order = np.lexsort((ids, distances))
    return order[::-1] if keep == "hard" else order


class Chosen(NamedTuple):
    """What became of each row: the one that stays for it (itself if it stays), and their cosine."""

    kept: Indices
    cosine: Floats


def chosen(count: int, near: Pairs, rank: Indices, eps: float) -> Chosen:
    """Rows in the order of their rank: each stays unless one that stays is as near as 1 - eps."""
    kept, cosine = np.arange(count), np.zeros(count, np.float32)
    close = near.cosine >= np.float32(1 - eps)
    one, other, how = near.first[close], near.second[close], near.cosine[close]
    swap = rank[one] > rank[other]
    one, other = np.where(swap, other, one), np.where(swap, one, other)
    # By the rank of the later one: whether the earlier ones stay is known by then.
    order = np.lexsort((one, -how, rank[other]))
    stays = np.ones(count, bool)
    for earlier, later, value in zip(one[order], other[order], how[order], strict=True):
        if stays[later] and stays[earlier]:
            stays[later], kept[later], cosine[later] = False, earlier, value
    return Chosen(kept, cosine)


def groups(count: int, near: Pairs, eps: float) -> Indices:
    """The group of each row, by the lowest number in it: who is near somebody is in one group."""
    root = np.arange(count)

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = int(root[row])
        return row

    close = near.cosine >= np.float32(1 - eps)
    for one, other in zip(near.first[close], near.second[close], strict=True):
        a, b = find(int(one)), find(int(other))
        root[max(a, b)] = min(a, b)
    return np.array([find(row) for row in range(count)], np.int64)

"""Neighbours among vectors: what clusters, probes and ranks find, against looking at all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecut.transforms.dedup import clusters, near
from finecut.transforms.dedup.clusters import Floats, fit, nearest, normalised
from finecut.transforms.dedup.near import (
    Pairs,
    Standing,
    chosen,
    groups,
    nearest_before,
    neighbours,
    ranked,
)


def directions(count: int, size: int = 32, seed: int = 0) -> Floats:
    return normalised(np.random.default_rng(seed).normal(size=(count, size)))


def planted(count: int, size: int = 64, noise: float = 0.2) -> tuple[Floats, set[tuple[int, int]]]:
    """Vectors without any order among them, and a near copy of every fifth."""
    dice = np.random.default_rng(3)
    vectors = dice.normal(size=(count, size))
    copies = vectors[::5] + noise * dice.normal(size=(len(vectors[::5]), size))
    truth = {(5 * i, count + i) for i in range(len(copies))}
    return normalised(np.concatenate([vectors, copies])), truth


# ── clusters ─────────────────────────────────────────────────────────────────────────────────────


def test_lengths_are_one_and_what_is_no_direction_is_zero() -> None:
    rows = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [1e30, 1e30], [1e-30, 0]])
    lengths = np.linalg.norm(normalised(rows), axis=1)
    assert lengths == pytest.approx([1, 0, 0, 0, 1, 0], abs=1e-6)


def test_the_nearest_are_those_of_all() -> None:
    vectors, centroids = directions(5000), directions(40, seed=1)
    found, cosines = nearest(vectors, centroids, 3)
    products = vectors @ centroids.T
    assert (found == np.argsort(-products, axis=1)[:, :3]).all()
    assert cosines == pytest.approx(-np.sort(-products, axis=1)[:, :3])
    assert nearest(vectors[:2], centroids[:2], 9)[0].shape == (2, 2)


def test_clear_clusters_are_found() -> None:
    centres = directions(12, seed=5)
    dice = np.random.default_rng(0)
    truth = dice.integers(12, size=3000)
    vectors = normalised(centres[truth] + 0.05 * dice.normal(size=(3000, 32)))
    centroids = fit(vectors[::3], 12)
    assert len(centroids) == 12
    found = nearest(vectors, centroids)[0][:, 0]
    assert len({*zip(found.tolist(), truth.tolist(), strict=True)}) == 12


def test_the_same_vectors_give_the_same_clusters() -> None:
    sample = directions(3000)
    assert (fit(sample, 20, seed=1) == fit(sample, 20, seed=1)).all()
    assert (fit(sample, 20, seed=1) != fit(sample, 20, seed=2)).any()


@pytest.mark.parametrize("sample", [directions(1), np.repeat(directions(1), 50, 0)])
def test_fewer_directions_than_clusters_are_fewer_clusters(sample: Floats) -> None:
    assert len(fit(sample, 10)) == 1
    assert len(fit(np.zeros((9, 4), np.float32), 3)) == 1


# ── pairs ────────────────────────────────────────────────────────────────────────────────────────


@given(
    count=st.integers(0, 40),
    share=st.floats(0, 1),
    floor=st.floats(-1, 1),
    products=st.integers(1, 500),
)
def test_neighbours_are_those_of_all(count: int, share: float, floor: float, products: int) -> None:
    vectors, home = directions(count, 3), round(share * count)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(near, "PRODUCTS", products)
        found = neighbours(vectors, home, floor)
    cosines = vectors @ vectors.T
    of_home = {(i, j) for i in range(home) for j in range(i + 1, count)}
    sure = {pair for pair in of_home if cosines[pair] >= floor + 1e-5}
    may = {pair for pair in of_home if cosines[pair] >= floor - 1e-5}
    got = [*zip(found.first.tolist(), found.second.tolist(), strict=True)]
    assert got == sorted({*got})
    assert sure <= {*got} <= may
    assert found.cosine == pytest.approx([cosines[pair] for pair in got], abs=1e-6)


def test_of_a_crowd_those_pairs_are_kept_that_decide() -> None:
    """Two crowds in one cluster: each loses all but its first, whichever rule says who is first."""
    dice = np.random.default_rng(0)
    centres = np.repeat(directions(2, 16), 700, axis=0)
    vectors = normalised(centres + 0.01 * dice.normal(size=centres.shape))
    vectors = vectors[dice.permutation(len(vectors))]
    forwards = np.arange(len(vectors))
    orders = [forwards, forwards[::-1], dice.permutation(len(vectors))]
    found = neighbours(vectors, len(vectors), 0.7, orders)
    assert len(found.first) < 60 * len(vectors), "a crowd blew up"
    for order in orders:
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        kept = chosen(len(vectors), found, rank, 0.05).kept
        assert len(set(kept.tolist())) == 2
    assert len(set(groups(len(vectors), found, 0.05).tolist())) == 2


@given(count=st.integers(1, 40), rows=st.integers(1, 50))
def test_the_nearest_before_is_that_of_all_before(count: int, rows: int) -> None:
    vectors = directions(count, 3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(near, "ROWS", rows)
        found, cosines = nearest_before(vectors)
    products = np.triu(vectors @ vectors.T, 1)
    best = products.max(axis=0)
    assert cosines == pytest.approx(np.maximum(best, 0), abs=1e-5)
    for row in range(count):
        if cosines[row] > 0:
            assert found[row] < row
            assert products[found[row], row] == pytest.approx(best[row], abs=1e-5)
        else:
            assert found[row] == row


def test_probes_find_what_lies_across_borders() -> None:
    """Among vectors without any order, where borders are everywhere."""
    vectors, truth = planted(6000)
    centroids = fit(vectors[::4], 12)
    recall = {}
    for probes in (1, 4):
        own = nearest(vectors, centroids, probes)[0]
        found = set()
        for cluster in range(len(centroids)):
            rows = np.nonzero((own == cluster).any(axis=1))[0]
            # Those at home first, as where clusters are compared.
            rows = rows[np.argsort(own[rows, 0] != cluster, kind="stable")]
            met = neighbours(vectors[rows], int((own[rows, 0] == cluster).sum()), 0.9)
            ends = np.sort(np.stack([rows[met.first], rows[met.second]]), axis=0)
            found |= {*zip(*ends.tolist(), strict=True)}
        recall[probes] = len(found & truth) / len(truth)
        assert not found - truth
    assert recall[1] < 0.95, "the borders prove nothing"
    assert recall[4] >= 0.99


# ── who stays ────────────────────────────────────────────────────────────────────────────────────

IDS = np.array(["c", "a", "d", "b"])
STANDING = Standing(IDS, np.array([0.3, 0.1, 0.2, 0.1]), np.array([7, 9, 0, 9], np.uint64))
TURNED = Standing(IDS[::-1], STANDING.distances[::-1], STANDING.merits[::-1])


def test_the_rule_says_who_comes_first() -> None:
    assert IDS[ranked(STANDING, "hard", 42)].tolist() == ["c", "d", "b", "a"]
    assert IDS[ranked(STANDING, "best", 42)].tolist() == ["a", "b", "c", "d"]
    assert IDS[ranked(STANDING, "easy", 42)].tolist() == ["a", "b", "d", "c"]
    orders = {tuple(IDS[ranked(STANDING, "random", seed)]) for seed in range(20)}
    assert len(orders) > 5
    turned = IDS[ranked(STANDING, "random", 1)].tolist()
    assert IDS[::-1][ranked(TURNED, "random", 1)].tolist() == turned


def linked(*links: tuple[int, int, float]) -> Pairs:
    first, second, cosine = zip(*links, strict=True)
    return Pairs(np.array(first), np.array(second), np.array(cosine, np.float32))


def test_a_chain_keeps_what_only_looks_like_the_removed() -> None:
    """0 is like 1 and 1 like 2: without 1, 2 is like nobody that stays."""
    near = linked((0, 1, 0.97), (1, 2, 0.98))
    found = chosen(4, near, np.arange(4), eps=0.05)
    assert found.kept.tolist() == [0, 2, 2, 3]
    assert found.cosine.tolist() == pytest.approx([1, 0.98, 1, 1])
    assert groups(4, near, eps=0.05).tolist() == [0, 0, 0, 3]


def test_what_is_removed_names_the_nearest_that_stays() -> None:
    """Also one that is ranked after it."""
    near = linked((0, 2, 0.96), (1, 2, 0.99), (0, 3, 0.999), (2, 3, 0.9))
    found = chosen(4, near, np.arange(4), eps=0.05)
    assert found.kept.tolist() == [0, 1, 1, 0]
    turned = chosen(4, near, np.array([3, 2, 1, 0]), eps=0.05)
    assert turned.kept.tolist() == [3, 2, 2, 3]
    later = chosen(3, linked((0, 1, 0.96), (1, 2, 0.99)), np.arange(3), eps=0.05)
    assert later.kept.tolist() == [0, 2, 2]


@given(count=st.integers(1, 30), eps=st.floats(0, 1), seed=st.integers(0, 100))
def test_nobody_is_removed_for_nothing(count: int, eps: float, seed: int) -> None:
    vectors = directions(count, 3, seed)
    near = neighbours(vectors, count, -1)
    rank = np.random.default_rng(seed).permutation(count)
    found = chosen(count, near, rank, eps)
    stays = found.kept == np.arange(count)
    assert stays[found.kept].all(), "what is kept for another stays itself"
    products = vectors @ vectors.T
    for row in np.nonzero(~stays)[0]:
        assert products[row, found.kept[row]] >= 1 - eps - 1e-5
        assert products[row, found.kept[row]] >= products[row][stays].max() - 1e-5
        assert (products[row][stays & (rank < rank[row])] >= 1 - eps - 1e-5).any()
    for row in np.nonzero(stays)[0]:
        earlier = stays & (rank < rank[row])
        assert not (products[row][earlier] >= 1 - eps + 1e-5).any()
    assert clusters.normalised(vectors) == pytest.approx(vectors, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_groups_are_what_hangs_together(links: list[tuple[int, int]]) -> None:
    links = [link for link in links if link[0] != link[1]]
    near = linked(*((one, other, 1.0) for one, other in links)) if links else linked((0, 1, 0.0))
    group = {row: {row} for row in range(20)}
    for one, other in links:
        both = group[one] | group[other]
        group.update(dict.fromkeys(both, both))
    assert groups(20, near, eps=0.5).tolist() == [min(group[row]) for row in range(20)]

"""By key: what many buckets find is what the plain functions find in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import identifier, write_tables

from finecut.io.layout import GROUPS
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.drops import keepers_of, read_drops
from finecut.io.tables.parted import files_of, tables_of
from finecut.transforms.dedup.by_key import Place, coded, lay, numbers_of, rows_of
from finecut.transforms.dedup.clusters import Clustering, Floats, normalised
from finecut.transforms.dedup.duplicates import Dedup
from finecut.transforms.dedup.folder import Deduping
from finecut.transforms.dedup.near import GROUP_SCHEMA, graph_of, in_order, rank_of, verdict
from finecut.transforms.dedup.rejected import ends_well


def chains(count: int, length: int) -> Floats:
    """Vectors in chains of so many: each like the next one, and unlike the one after a few."""
    dice = np.random.default_rng(7)
    found = []
    for _ in range(count // length):
        start, turn = dice.normal(size=(2, 24))
        steps = 0.3 * np.arange(length)[:, None]
        found.append(np.cos(steps) * start + np.sin(steps) * turn)
    return normalised(np.concatenate(found))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chains")
    vectors = chains(600, 12)
    order = np.random.default_rng(1).permutation(len(vectors))
    ids = [identifier(int(number)) for number in order]
    write_tables(folder, ids, vectors, 4)
    return folder


def found_in(folder: Path, tables: Path, keep: str, **others: Any) -> Deduping:
    own = Shelf(str(folder), str(folder / ".staging" / "x"))
    clustering = Clustering(own, str(tables), clusters=6, keep=keep)
    deduping = Deduping(clustering, eps=0.08, **others)
    with beam.Pipeline() as pipeline:
        pipeline | Dedup(deduping)
    return deduping


@pytest.mark.parametrize("keep", ["best", "hard", "easy", "random"])
def test_many_buckets_find_what_one_place_finds(keep: str, tables: Path, tmp_path: Path) -> None:
    """Also in chains that run through many buckets, and in tables of many files."""
    deduping = found_in(tmp_path, tables, keep, bucket_pairs=40, file_rows=100)
    pairs = pa.concat_tables([pq.read_table(path) for path in (tmp_path / "pairs").iterdir()])
    near = pairs.filter(pc.greater_equal(pairs["cosine"], np.float32(1 - deduping.eps)))
    graph = graph_of(near)
    clustering = deduping.clustering
    truth = verdict(graph, rank_of(graph, clustering), deduping.eps)
    assert len(graph.ids) > 500, "nothing hangs together"
    assert max(np.unique(truth.groups["group"].to_numpy(), return_counts=True)[1]) > 6
    files = files_of(str(tmp_path / GROUPS))
    assert len(files) > 5
    found = pa.concat_tables(tables_of(str(tmp_path / GROUPS)))
    whole = in_order(truth.groups, clustering)
    assert found.sort_by("id").equals(whole.sort_by("id"))
    for path in files:
        group = {*pq.read_table(path, partitioning=None)["group"].to_pylist()}
        assert not group & {
            one
            for other in files
            if other != path
            for one in pq.read_table(other, partitioning=None)["group"].to_pylist()
        }, "a group is torn"
    assert read_drops([str(tmp_path)]) == {*truth.removed}
    assert {*keepers_of([str(tmp_path)])} == {*truth.removed}
    assert pq.read_table(tmp_path / GROUPS, partitioning=None).num_rows == len(whole)


@pytest.mark.slow
def test_one_file_is_what_many_were_and_nothing_stays_of_them(tables: Path, tmp_path: Path) -> None:
    found_in(tmp_path / "some", tables, "hard", bucket_pairs=40)
    found_in(tmp_path / "one", tables, "hard")
    for name in (GROUPS, "summary.json"):
        assert (tmp_path / "some" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    found_in(tmp_path / "one", tables, "hard", bucket_pairs=40, file_rows=100)
    assert len([*(tmp_path / "one" / GROUPS).iterdir()]) > 5
    assert len([*(tmp_path / "one/duplicates").iterdir()]) > 5
    found_in(tmp_path / "one", tables, "hard")
    for name in (GROUPS, "summary.json"):
        assert (tmp_path / "some" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert len([*(tmp_path / "one/duplicates").iterdir()]) == 1
    assert pq.read_schema(tmp_path / "one" / GROUPS).equals(GROUP_SCHEMA)


@given(st.lists(st.text(max_size=9), max_size=50), st.integers(1, 9))
def test_a_number_follows_from_the_text_alone(texts: list[str], start: int) -> None:
    whole = numbers_of(pa.array(texts, pa.string()))
    part = numbers_of(pa.array(["before", *texts], pa.string()).slice(start))
    assert part.tolist() == whole[start - 1 :].tolist()
    by_text = dict(zip(texts, whole.tolist(), strict=True))
    assert [by_text[text] for text in texts] == whole.tolist()


@given(st.lists(st.text("abc", max_size=3), max_size=30))
def test_numbers_of_texts_are_in_their_order(texts: list[str]) -> None:
    names, (codes,) = coded([pa.array(texts, pa.string())])
    assert names.to_pylist() == sorted({*texts})
    assert [names[code].as_py() for code in codes.tolist()] == texts


def test_rows_come_back_by_bucket_and_all_of_one_key_together(tmp_path: Path) -> None:
    own = Shelf(str(tmp_path), str(tmp_path / ".staging" / "x"))
    table = pa.table({"id": [f"{number % 30}" for number in range(300)], "n": [*range(300)]})
    parts = list(lay(table, "id", "kind", Place(f"{tmp_path}/laid", 7, own)))
    assert len(parts) == 7
    seen: dict[str, int] = {}
    for bucket, part in parts:
        rows = rows_of([part], "kind", table.schema)
        assert rows_of([part], "other", table.schema).num_rows == 0
        for id in rows["id"].to_pylist():
            assert seen.setdefault(id, bucket) == bucket
    rows = rows_of((part for _, part in parts), "kind", table.schema)
    assert rows.sort_by("n").equals(table)


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_a_chain_ends_where_its_last_one_does(length: int) -> None:
    leads = {str(number): str(number + 1) for number in range(length)}
    assert ends_well("0", leads, {str(length): True})
    assert not ends_well("0", leads, {str(length): False})
    assert not ends_well("0", {**leads, str(length): "0"}, {})

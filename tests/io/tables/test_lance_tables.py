"""Lance tables of clips: a query for the nearest vectors finds what comparing each finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from finecut.io.storage.publishing import Shelf
from finecut.io.tables import lance_tables
from finecut.io.tables.lance_tables import CLIP_FILE, groups_of, index_vectors, with_clips
from finecut.io.tables.shards import Tar, write_lance

lance = pytest.importorskip("lance")

ROWS, SIZE, K = 9000, 64, 10


@pytest.fixture(scope="module")
def vectors() -> np.ndarray[Any, np.dtype[np.float32]]:
    """About fifty things, and a tenth of the rows about nothing."""
    dice = np.random.default_rng(3)
    about = dice.normal(size=(50, SIZE))[dice.integers(0, 50, ROWS)]
    made = (about + dice.normal(size=(ROWS, SIZE))).astype(np.float32)
    made[dice.random(ROWS) < 0.1] = np.nan
    return made


def table_of(vectors: np.ndarray[Any, np.dtype[np.float32]]) -> pa.Table:
    nobody = np.isnan(vectors).any(axis=1)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(np.nan_to_num(vectors).ravel()), vectors.shape[1], mask=pa.array(nobody)
    )
    return pa.table({"id": [f"{at:06}" for at in range(len(vectors))], "vector": column})


def kinds_in(table: Any) -> list[str]:
    return [each.index_type for each in table.describe_indices()]


def asked(table: Any, vector: np.ndarray[Any, np.dtype[np.float32]]) -> list[str]:
    nearest = {"column": "vector", "q": vector, "k": K, "metric": "cosine"}
    more = {"nprobes": 20, "refine_factor": 10}
    found = table.to_table(columns=["id", "_distance"], nearest=nearest | more)
    return list(found["id"].to_pylist())


def brute_force(vectors: np.ndarray[Any, np.dtype[np.float32]], number: int) -> list[list[str]]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.nan_to_num(vectors / lengths @ (vectors[:number] / lengths[:number]).T, nan=-2)
    return [[f"{at:06}" for at in np.argsort(-column)[:K]] for column in cosines.T]


@pytest.mark.parametrize("least", [1000, ROWS + 1], ids=["indexed", "one by one"])
def test_the_nearest_are_found(
    least: int, vectors: np.ndarray[Any, np.dtype[np.float32]], tmp_path: Path
) -> None:
    path = str(tmp_path / "clips.lance")
    lance.write_dataset(table_of(vectors), path)
    assert index_vectors(path, least=least) == (least == 1000)
    table = lance.dataset(path)
    kinds = kinds_in(table)
    assert kinds == (["IVF_PQ"] if least == 1000 else [])
    expected = brute_force(vectors, 40)
    there = [at for at in range(40) if not np.isnan(vectors[at]).any()]
    found = [len({*asked(table, vectors[at])} & {*expected[at]}) / K for at in there]
    # What is compared one by one is exact, but for ties.
    assert np.mean(found) >= (0.9 if kinds else 0.999)
    assert all(asked(table, vectors[at])[0] == f"{at:06}" for at in there)


def test_what_is_published_has_its_index(
    vectors: np.ndarray[Any, np.dtype[np.float32]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_vectors, "__defaults__", (1000,))
    own = Shelf(str(tmp_path), f"{tmp_path}/.staging/run")
    whole = table_of(vectors)
    groups: Iterator[pa.Table] = (whole.slice(at, 2000) for at in range(0, ROWS, 2000))
    write_lance(own, f"{tmp_path}/clips.lance", groups)
    table = lance.dataset(f"{tmp_path}/clips.lance")
    assert table.count_rows() == ROWS
    assert kinds_in(table) == ["IVF_PQ"]
    at = next(at for at in range(ROWS) if not np.isnan(vectors[at]).any())
    assert asked(table, vectors[at])[0] == f"{at:06}"


def test_vectors_of_several_lengths_and_no_vectors_have_no_index(tmp_path: Path) -> None:
    several = pa.array([[1.0], [1.0, 2.0]], pa.list_(pa.float32()))
    for name, columns in (("a", {"vector": several}), ("b", {"id": ["a", "b"]})):
        lance.write_dataset(pa.table(columns), str(tmp_path / name))
        assert not index_vectors(str(tmp_path / name), least=1)


def test_lengths_that_nothing_divides() -> None:
    assert [groups_of(size) for size in (8, 16, 2560, 1021)] == [None, 2, 320, None]


@pytest.mark.parametrize("together", [1, 10, 1 << 20])
def test_clips_are_those_of_the_shards(
    together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lance_tables, "BYTES", together)
    said = {f"clip-{at}": bytes([at]) * (at * 7 % 23) for at in range(12)}
    rows = []
    for name, clips in (("00000.tar", [*said][:5]), ("00001.tar", [*said][5:])):
        with (tmp_path / name).open("wb") as file:
            tar = Tar(file)
            for clip in clips:
                place = tar.add(f"{clip}.mp4", said[clip])
                rows.append((clip, name, place, len(said[clip])))
            tar.close()
    columns = zip(*rows, strict=True)
    index = pa.table(dict(zip(("id", "shard", "offset", "num_bytes"), columns, strict=True)))
    groups = list(with_clips([index.slice(0, 7), index.slice(7)], str(tmp_path)))
    assert len(groups) == (2 if together == 1 << 20 else len(groups))
    assert all(sum(map(len, g[CLIP_FILE].to_pylist())) <= max(together, 22) for g in groups)
    own = Shelf(str(tmp_path), f"{tmp_path}/.staging/run")
    write_lance(own, f"{tmp_path}/clips.lance", iter(groups))
    table = lance.dataset(f"{tmp_path}/clips.lance")
    ids = table.to_table(columns=["id"])["id"].to_pylist()
    blobs = table.take_blobs(CLIP_FILE, indices=range(len(ids)))
    assert {id: blob.readall() for id, blob in zip(ids, blobs, strict=True)} == said

"""The same on a store: what is left there is what is left on a disk, object by object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_store import FaultyStore
from forgetting import BROKEN, GONE, Made, forgotten, made, tree

from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf

OUTPUT = "gs://bucket/out"
#: Removed on a store, since it would have to read everything again; or made by chance.
ELSE = ("report/", ".finecut/forgotten.json", "shards/clips.lance/", "shards/.finecut/lance.json")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    yield store
    store.close()


def objects() -> dict[str, bytes]:
    paths = shelf.files_below(OUTPUT)
    return {path.removeprefix(f"{OUTPUT}/"): shelf.read(path) for path in paths}


def files(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(root).items() if not name.endswith("/")}


@pytest.mark.slow
def test_a_store_has_what_a_disk_has(store: FaultyStore, tmp_path: Path) -> None:
    data: Made = made(tmp_path)
    own = Shelf(OUTPUT, f"{OUTPUT}/.staging/test")
    for name, content in files(data.root).items():
        own.write(f"{OUTPUT}/{name}", content.replace(str(data.root).encode(), OUTPUT.encode()))
    here, there = forgotten(data.root, GONE, BROKEN), forgotten(OUTPUT, GONE, BROKEN)
    assert (there.names, there.left) == (here.names, [])
    of_store = {n: d for n, d in objects().items() if not n.startswith(ELSE)}
    of_disk = {n: d for n, d in files(data.root).items() if not n.startswith(ELSE)}
    assert of_store.keys() == of_disk.keys()
    same = [n for n in of_store if n.endswith((".tar", ".mp4", ".parquet", ".jsonl"))]
    assert [n for n in same if of_store[n] != of_disk[n]] == []
    gone = [name for name in objects() if GONE in name or name.startswith("report/")]
    assert gone == []
    assert "finecut report" in there.page

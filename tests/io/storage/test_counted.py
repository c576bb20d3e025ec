"""A bucket that is a folder, and counts: objects as in any store, and a line for each request."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from finecut.io.storage import files as shelf
from finecut.io.storage.counted import CountedStore, bucket_in, objects_in, requests_in
from finecut.io.storage.publishing import Shelf


@pytest.fixture
def bucket(tmp_path: Path) -> str:
    return bucket_in(tmp_path)


def asked(folder: Path) -> Counter[str]:
    return Counter(request.kind for request in requests_in(folder))


def test_what_is_published_lies_there_and_every_request_is_counted(
    bucket: str, tmp_path: Path
) -> None:
    own = Shelf(f"{bucket}/out", f"{bucket}/out/.staging/run")
    own.write(f"{bucket}/out/a b.json", b"{}")
    assert asked(tmp_path) == {"write": 1}
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    own.publish(own.stage(clip), f"{bucket}/out/clips/clip.mp4", 4)
    assert asked(tmp_path) == {"write": 3, "read": 2, "delete": 1}
    assert not clip.exists()
    assert shelf.read(f"{bucket}/out/clips/clip.mp4") == b"clip"
    assert shelf.read_part(f"{bucket}/out/clips/clip.mp4", 1, 2) == b"li"
    below = [path for path in objects_in(tmp_path).rglob("*") if path.is_file()]
    assert {path.name for path in below} == {"a b.json", "clip.mp4"}
    assert requests_in(tmp_path)[0].uri == f"{bucket}/out/a b.json"


def test_it_lists_finds_and_removes_as_stores_do(bucket: str) -> None:
    store = CountedStore()
    for name in ("one.json", "in/two.json", "in/deep/three.txt"):
        store.create(f"{bucket}/{name}", name.encode())
    assert {path.removeprefix(bucket) for path in shelf.files_below(bucket)} == {
        "/one.json",
        "/in/two.json",
        "/in/deep/three.txt",
    }
    assert shelf.files_in(f"{bucket}/in") == [f"{bucket}/in/two.json"]
    assert shelf.folders_in(f"{bucket}/in") == [f"{bucket}/in/deep"]
    assert shelf.matching(f"{bucket}/in/*.json") == [f"{bucket}/in/two.json"]
    assert shelf.size_of(f"{bucket}/one.json") == 8
    assert not shelf.exists(f"{bucket}/none.json")
    assert shelf.read_if_there(f"{bucket}/none.json") is None
    shelf.delete([f"{bucket}/one.json", f"{bucket}/none.json"])
    assert not shelf.exists(f"{bucket}/one.json")

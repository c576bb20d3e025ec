"""Each file of a folder is in one of its parts, on a disk and on stores."""

from __future__ import annotations

from pathlib import Path

import pytest
import store_places
from faulty_store import FaultyStore
from seaweed import Seaweed
from store_places import reached

from finecut.io.storage import files as shelf
from finecut.io.storage.counted import bucket_in
from finecut.io.storage.parts import begins_with_folder, files_within, parts
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.stores import ALL, Span

#: Those of clips, some in folders, and what else may lie among them.
NAMES = (
    *(f"{digit}{digit}d2.mp4" for digit in "0123456789abcdef"),
    *(
        "4",
        "f",
        "v0/4",
        "4a/4a01.mp4",
        "4a/deep/4a02.mp4",
        "v0/0d.json",
        "v0/8d.json",
        "v0/fd.json",
    ),
    *("Ö.mp4", "z", "A.mp4", " space", "v1/zzz"),
)


def folder_in(root: str) -> str:
    own = Shelf(root, f"{root}/.staging/run")
    for name in NAMES:
        own.write(f"{root}/clips/{name}", name.encode())
    own.write(f"{root}/clips-of-others/a.mp4", b"")
    return f"{root}/clips"


def assert_parted(folder: str) -> None:
    for digits, beginning in ((0, ""), (1, ""), (2, ""), (1, "v0/"), (1, "4a/")):
        listed = [path for span in parts(digits, beginning) for path in files_within(folder, span)]
        assert sorted(listed) == sorted(f"{folder}/{name}" for name in NAMES)


def test_each_file_of_a_disk_is_in_one_part(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "linked.mp4").symlink_to(folder / "z")
    (folder / "entered").symlink_to(folder / "v0", target_is_directory=True)
    assert sorted(files_within(str(folder), ALL)) == sorted(shelf.files_below(str(folder)))
    for digits in (0, 1, 2):
        listed = [path for span in parts(digits) for path in files_within(str(folder), span)]
        assert sorted(listed) == sorted(shelf.files_below(str(folder)))


def test_only_folders_that_may_have_some_are_entered() -> None:
    names = [f"{digit}{other}" for digit in "0123456789abcdef" for other in "0f"]
    assert [name for name in names if Span("4", "5").holds_some_below(name)] == ["40", "4f"]
    assert [name for name in names if Span("f").holds_some_below(name)] == ["f0", "ff"]
    assert [name for name in ("v0", "v1") if Span("v0/4", "v0/5").holds_some_below(name)] == ["v0"]
    assert Span("v0/f").holds_some_below("v1")


def test_a_folder_that_begins_with_folders(tmp_path: Path) -> None:
    assert not begins_with_folder(str(tmp_path / "none"))
    (tmp_path / "some").mkdir()
    assert not begins_with_folder(str(tmp_path / "some"))
    (tmp_path / "some/4a").mkdir()
    assert begins_with_folder(f"{tmp_path}/some/")


def test_each_object_that_is_counted_is_in_one_part(tmp_path: Path) -> None:
    assert_parted(folder_in(bucket_in(tmp_path)))


def test_each_object_of_google_is_in_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    try:
        assert_parted(folder_in("gs://bucket/out"))
    finally:
        store.close()


def test_each_object_of_s3_is_in_one_part(s3: str) -> None:
    assert_parted(folder_in(f"{s3}/out"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["az", "gs"])
def test_each_object_of_another_server_is_in_one_part(kind: str, seaweed_server: Seaweed) -> None:
    with store_places.named(kind, seaweed_server) as place, reached(place):
        assert_parted(folder_in(f"{place.root}/out"))

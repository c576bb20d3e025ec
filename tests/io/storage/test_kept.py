"""Files that wait on this machine until they are published to a store."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from faulty_store import FaultyStore

from finecut.io.storage import files as shelf
from finecut.io.storage.kept import kept_of, sweep_kept
from finecut.io.storage.publishing import Shelf

ROOT = "gs://bucket/out"
FINAL = f"{ROOT}/clips/a.mp4"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    yield store
    store.close()


@pytest.fixture
def own() -> Shelf:
    return Shelf(ROOT, f"{ROOT}/.staging/test", keeps=True)


def made(own: Shelf, data: bytes) -> str:
    """A file as a step makes and stages it."""
    with own.bench() as bench:
        (bench / "a.mp4").write_bytes(data)
        return own.stage(bench / "a.mp4")


def test_a_kept_file_is_sent_once_and_gone(store: FaultyStore, own: Shelf) -> None:
    kept = kept_of(own)
    assert kept is not None
    staged = made(kept.shelf(own), b"clip")
    assert own.publish(staged, FINAL, 4) == 4
    assert [method for method, _, _ in store.asked] == ["POST"]
    assert list(Path(kept.folder).iterdir()) == []
    # Done again after it was done, it is done.
    assert own.publish(staged, FINAL, 4) == 4
    with pytest.raises(FileNotFoundError):
        own.publish(staged, f"{ROOT}/clips/b.mp4", 4)
    assert shelf.read(FINAL) == b"clip"


def test_what_lies_there_is_replaced_as_it_was_seen(store: FaultyStore, own: Shelf) -> None:
    kept = kept_of(own)
    assert kept is not None
    own.write(FINAL, b"old")
    store.asked.clear()
    own.publish(made(kept.shelf(own), b"new clip"), FINAL, 8)
    assert [method for method, _, _ in store.asked] == ["POST", "GET", "POST"]
    assert shelf.read(FINAL) == b"new clip"


def test_a_lost_answer_is_asked_for_again(store: FaultyStore, own: Shelf) -> None:
    kept = kept_of(own)
    assert kept is not None
    troubles = iter(["503", "cut"])
    store.spoiled = lambda method, path: next(troubles, "")
    own.publish(made(kept.shelf(own), b"clip"), FINAL, 4)
    assert shelf.read(FINAL) == b"clip"


def test_a_kept_file_that_nobody_wants_is_removed(own: Shelf) -> None:
    kept = kept_of(own)
    assert kept is not None
    own.remove(made(kept.shelf(own), b"clip"))
    assert list(Path(kept.folder).iterdir()) == []


def test_of_a_chunk_only_what_is_wanted_is_kept(own: Shelf) -> None:
    kept = kept_of(own)
    assert kept is not None
    with kept.apart(own) as (apart, wanted):
        wanted.add(made(apart, b"clip"))
        made(apart, b"of a child that died")
    assert [str(path) for path in Path(kept.folder).rglob("*.mp4")] == [*wanted]

    def cut() -> Generator[str, None, None]:
        with kept.apart(own) as (apart, also):
            for _ in range(2):
                also.add(staged := made(apart, b"clip"))
                yield staged

    chunk = cut()
    next(chunk)
    chunk.close()  # the bundle is given up
    assert [str(path) for path in Path(kept.folder).rglob("*.mp4")] == [*wanted]
    sweep_kept(own.staging)
    assert list(Path(kept.folder).iterdir()) == []


def test_the_folder_lasts_as_long_as_somebody_has_it(own: Shelf) -> None:
    one, other = kept_of(own), kept_of(own)
    assert one is not None
    assert one is other
    folder = Path(one.folder)
    assert folder.is_dir()
    del one, other
    gc.collect()
    assert not folder.exists()
    assert kept_of(Shelf("/out", "/out/.staging/test")) is None
